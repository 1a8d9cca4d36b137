//! What of an object's JSON the oracle looks at.

use serde_json::Value;

pub const FINALIZER: &str = "ras-operator.dev/broker";
pub const INTENT: &str = "ras-operator.dev/create-intent";
pub const FORCE_ORPHAN: &str = "ras-operator.dev/force-orphan";

pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string)
}

pub fn has_finalizer(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|name| name == FINALIZER))
}

pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

/// The id that it records with an origin: without one it owns nothing.
pub fn owned_id(object: &Value) -> Option<i64> {
    object["status"]["origin"].as_str()?;
    object["status"]["id"].as_i64()
}

pub fn is_observer(object: &Value) -> bool {
    text(object, "/spec/managementPolicy") == "ObserveOnly"
}

pub fn is_suspended(object: &Value) -> bool {
    object["spec"]["suspend"] == true
}

/// Whether its broker goes with it.
pub fn takes_broker_along(object: &Value) -> bool {
    let policy = text(object, "/spec/deletionPolicy");
    let is_orphan = policy == "Orphan" || policy.is_empty() && text(object, "/status/origin") == "Adopted";
    !is_orphan && !is_observer(object) && annotation(object, FORCE_ORPHAN) != Some("true")
}

fn found<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_)
}

/// Status and reason of a condition.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = found(object, type_)?;
    Some((found["status"].as_str()?, found["reason"].as_str()?))
}

pub fn is_true(object: &Value, type_: &str) -> bool {
    condition(object, type_).is_some_and(|(status, _)| status == "True")
}

/// Whether status speaks about the spec as it is.
pub fn is_current(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// What it says about being ready.
pub fn words(object: &Value) -> &str {
    found(object, "Ready").map(|ready| text(ready, "/message")).unwrap_or_default()
}

/// The number of the farm that a broker names.
pub fn farm_of(broker: &Value) -> usize {
    number_of(text(broker, "/spec/farmRef/name"))
}

/// The number of the farm with this name.
pub fn number_of(farm: &str) -> usize {
    farm.trim_start_matches("farm-").parse().unwrap_or_default()
}

/// Its conditions in one line.
pub fn summary(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let told = conditions.into_iter().flatten().map(|condition| {
        format!("{}={}/{}", text(condition, "/type"), text(condition, "/status"), text(condition, "/reason"))
    });
    let id = &object["status"]["id"];
    let (generation, seen) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
    format!(
        "{} (uid {}, id {id}, {}, generation {generation}/{seen}{}): {}",
        name(object),
        uid(object).trim_start_matches("00000000-0000-4000-8000-0000"),
        text(object, "/spec/server"),
        if is_going(object) { ", going" } else { "" },
        told.collect::<Vec<_>>().join(" ")
    )
}

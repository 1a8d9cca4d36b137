//! What a write makes of an object: which fields it may touch, what the server adds, and when it is refused.

use serde_json::{Map, Value, json};

use super::kinds::{Kind, NAMESPACES};
use super::object::{counted, finalizers, is_going, meta, set, set_meta};
use super::refusal::{self, Fault, Refusal};
use super::request::Part;

/// What only a deletion sets.
const ENDING: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/// What an update comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Update {
    /// This is to be kept.
    Keep(Value),
    /// The last finalizer of an object that was to go is gone.
    Remove(Value),
}

/// A body as it is understood: of this kind, under this name, without what the schema does not know.
pub(super) fn decoded(
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    mut body: Value,
) -> Result<Value, Refusal> {
    if !body.is_object() {
        return Err(refusal::bad_request("the body is no object"));
    }
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.name.clone())] {
        if body.get(field).and_then(Value::as_str).is_some_and(|given| given != expected) {
            return Err(refusal::bad_request(format!("{field} does not match the path")));
        }
        body[field] = expected.into();
    }
    kind.schema.prune(&mut body);
    kind.schema.fill(&mut body);
    tidy(kind, &mut body);
    if kind.plural == "secrets" {
        encode_secret(&mut body);
    }
    named(namespace, name, body)
}

/// What the server holds in types of its own loses what is empty.
fn tidy(kind: &Kind, body: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    // A `null` in a map of texts is an empty text.
    for part in ["data", "stringData"] {
        let texts = body.get_mut(part).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
        texts.filter(|text| text.is_null()).for_each(|text| *text = "".into());
    }
    let drop_empty = |value: &mut Value| {
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, inner| !is_empty(inner));
        }
    };
    drop_empty(&mut body["metadata"]);
    if !kind.has_status() {
        if let Some(spec) = body.get_mut("spec") {
            drop_empty(spec);
        }
        if kind.plural == "leases" && body["spec"].is_null() {
            body["spec"] = json!({});
        }
        for part in ["data", "stringData"] {
            if body.get(part).is_some_and(is_empty) {
                set(body, part, None);
            }
        }
    }
}

/// Name and namespace of the body are those of the path, or are not given.
pub(super) fn named(namespace: Option<&str>, name: &str, mut body: Value) -> Result<Value, Refusal> {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    let given = meta(&body, "name").to_owned();
    if !name.is_empty() && !given.is_empty() && given != name {
        return Err(refusal::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    if !name.is_empty() {
        set_meta(&mut body, "name", Some(name.into()));
    }
    let given = meta(&body, "namespace").to_owned();
    match namespace {
        Some(namespace) if !given.is_empty() && given != namespace => Err(refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => {
            set_meta(&mut body, "namespace", namespace.map(Value::from));
            Ok(body)
        }
    }
}

/// A Secret's `stringData` is a way to write, and is never kept.
fn encode_secret(secret: &mut Value) {
    if secret["type"].is_null() {
        secret["type"] = "Opaque".into();
    }
    let Some(texts) = secret["stringData"].as_object().cloned() else { return };
    for (name, text) in texts {
        let bytes = text.as_str().unwrap_or_default().as_bytes().to_vec();
        secret["data"][name] = json!(k8s_openapi::ByteString(bytes));
    }
    set(secret, "stringData", None);
}

/// A new object, complete but for its version.
pub(super) fn created(kind: &Kind, mut object: Value, uid: &str, now: &str) -> Result<Value, Refusal> {
    for field in ENDING.into_iter().chain(["resourceVersion"]) {
        set_meta(&mut object, field, None);
    }
    set_meta(&mut object, "uid", Some(uid.into()));
    set_meta(&mut object, "creationTimestamp", Some(now.into()));
    if kind.has_status() {
        set(&mut object, "status", None);
        set_meta(&mut object, "generation", Some(1.into()));
    }
    if kind.plural == NAMESPACES {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
        object["status"]["phase"] = "Active".into();
    }
    let faults = kind.faults(&object, None);
    if faults.is_empty() { Ok(object) } else { Err(refusal::invalid(kind, meta(&object, "name"), faults)) }
}

/// What becomes of `old` when `new` is written over it.
pub(super) fn updated(kind: &Kind, part: Part, old: &Value, new: Value) -> Result<Update, Refusal> {
    let name = meta(old, "name");
    let version = meta(&new, "resourceVersion");
    if version.is_empty() && !kind.is_overwritable {
        let fault = Fault::invalid("metadata.resourceVersion", "0x0: must be specified for an update");
        return Err(refusal::invalid_called(kind, name, &kind.plural, vec![fault]));
    }
    if !version.is_empty() && version != meta(old, "resourceVersion") {
        return Err(refusal::outdated(kind, name));
    }
    let mut new = confined(kind, part, old, new);
    let faults = faults(kind, old, &new);
    if !faults.is_empty() {
        return Err(refusal::invalid(kind, name, faults));
    }
    set_meta(&mut new, "resourceVersion", old["metadata"].get("resourceVersion").cloned());
    let is_over = is_going(&new) && finalizers(&new).is_empty();
    Ok(if is_over { Update::Remove(new) } else { Update::Keep(new) })
}

/// Leaves of `new` only what this part of the object may change.
fn confined(kind: &Kind, part: Part, old: &Value, mut new: Value) -> Value {
    let taken = |object: &Value, field: &str| object.get(field).cloned();
    match part {
        Part::Status => {
            let status = taken(&new, "status");
            new = old.clone();
            set(&mut new, "status", status);
        }
        Part::Main if kind.has_status() => set(&mut new, "status", taken(old, "status")),
        Part::Main => {}
    }
    for field in ["creationTimestamp", "generation"] {
        set_meta(&mut new, field, old["metadata"].get(field).cloned());
    }
    for field in ENDING {
        if let Some(value) = old["metadata"].get(field) {
            set_meta(&mut new, field, Some(value.clone()));
        }
    }
    if meta(&new, "uid").is_empty() {
        set_meta(&mut new, "uid", old["metadata"].get("uid").cloned());
    }
    if kind.has_status() && counted(old) != counted(&new) {
        raise_generation(&mut new);
    }
    new
}

fn faults(kind: &Kind, old: &Value, new: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    for field in ["uid"].into_iter().chain(ENDING) {
        if old["metadata"].get(field) != new["metadata"].get(field) {
            faults.push(Fault::invalid(&format!("metadata.{field}"), "field is immutable"));
        }
    }
    let had = finalizers(old);
    if is_going(old) && finalizers(new).iter().any(|finalizer| !had.contains(finalizer)) {
        faults.push(Fault::new(
            "metadata.finalizers",
            "FieldValueForbidden",
            "Forbidden: no new finalizers can be added if the object is being deleted",
        ));
    }
    faults.extend(kind.faults(new, Some(old)));
    faults
}

/// The object, marked to go as soon as its finalizers are gone.
pub(super) fn marked(mut object: Value, now: &str) -> Value {
    if !is_going(&object) {
        raise_generation(&mut object);
        set_meta(&mut object, "deletionTimestamp", Some(now.into()));
        set_meta(&mut object, "deletionGracePeriodSeconds", Some(0.into()));
    }
    object
}

/// Kinds whose generation counts nothing have none.
fn raise_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        set_meta(object, "generation", Some((generation + 1).into()));
    }
}

//! What may be written to each field, read off the CRD's own schema: values at the bounds that the API server must take,
//! and values beyond them that it must refuse.

use kube::CustomResourceExt;
use ras_operator::crd::RasBroker;
use serde_json::{Value, json};

/// The Secret that objects may name for an agent's installation.
pub(super) const AGENT_ACCOUNT: &str = "agent-account";

/// One value for one field; `null` takes the field away.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Such as `install.agent`.
    pub(super) path: String,
    pub(super) value: Value,
    /// Whether the API server must take it on an object that exists.
    pub(super) valid: bool,
}

impl Choice {
    /// The merge patch of the spec.
    pub(super) fn patch(&self) -> Value {
        self.path.rsplit('.').fold(self.value.clone(), |inner, name| json!({ name: inner }))
    }
}

/// Every choice for every field of a broker's spec.
pub(super) fn choices() -> Vec<Choice> {
    let crd = serde_json::to_value(RasBroker::crd()).expect("a CRD");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut choices = Vec::new();
    object("", schema, &mut choices);
    choices
}

fn object(path: &str, schema: &Value, choices: &mut Vec<Choice>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let mut add = |value: Value, valid| choices.push(Choice { path: path.clone(), value, valid });
        if is_immutable(&path) {
            // Of the right form, and another than the one that stands.
            elsewhere(&path).into_iter().chain([Value::Null]).for_each(|value| add(value, false));
            continue;
        }
        add(Value::Null, !required.contains(&name.as_str()));
        for (value, valid) in values(&path, field) {
            add(value, valid);
        }
        if field["type"] == "object" {
            object(&path, field, choices);
        }
    }
}

/// These name the broker, and every object here has them from its first version on.
fn is_immutable(path: &str) -> bool {
    matches!(path, "farmRef" | "server" | "siteId")
}

fn elsewhere(path: &str) -> Vec<Value> {
    match path {
        "farmRef" => vec![json!({"name": "another"})],
        "server" => vec![json!("another.corp.example"), json!("192.0.2.200")],
        _ => vec![json!(99)],
    }
}

/// Values of a field by what its schema says, and for texts by what they mean.
///
/// # Panics
/// Where a field is new: somebody must say what may stand in it.
fn values(path: &str, schema: &Value) -> Vec<(Value, bool)> {
    if let Some(all) = schema["enum"].as_array() {
        let valid = all.iter().filter(|value| !value.is_null()).map(|value| (value.clone(), true));
        return valid.chain([(json!("Nonsense"), false), (json!(""), false), (json!(1), false)]).collect();
    }
    match schema["type"].as_str() {
        Some("boolean") => {
            vec![(json!(true), true), (json!(false), true), (json!("true"), false), (json!(1), false)]
        }
        Some("integer") => integers(schema),
        Some("object") => vec![(json!("text"), false), (json!([]), false)],
        Some("array") => lists(path, schema),
        Some("string") => texts(path, schema),
        other => panic!("{path} has type {other:?}: say here what may stand in it"),
    }
}

fn integers(schema: &Value) -> Vec<(Value, bool)> {
    let bound =
        |name: &str| schema[name].as_f64().map(|bound| format!("{bound:.0}").parse::<i64>().expect("whole"));
    let (least, most) = (bound("minimum").expect("a minimum"), bound("maximum").expect("a maximum"));
    vec![
        (json!(least), true),
        (json!(most), true),
        (json!(least - 1), false),
        (json!(most + 1), false),
        (json!("1"), false),
        (json!(1.5), false),
    ]
}

fn texts(path: &str, schema: &Value) -> Vec<(Value, bool)> {
    let longest = usize::try_from(schema["maxLength"].as_u64().expect("a longest text")).expect("a length");
    let mut texts = match path {
        "description" => vec![
            (json!(""), true),
            (json!("first floor"), true),
            (json!("Größe: \"weit\" \u{1F680}"), true),
            (json!("x".repeat(longest)), true),
        ],
        "ip" => vec![
            (json!("203.0.113.7"), true),
            (json!("2001:db8::7"), true),
            (json!("203.0.113.700"), false),
            (json!("cb.corp.example"), false),
            (json!(""), false),
        ],
        path if path.ends_with("credentialsSecretRef.name") => {
            vec![(json!(AGENT_ACCOUNT), true), (json!("Not_A_Name"), false), (json!(""), false)]
        }
        // Beside siteId, which every object here has.
        "siteName" => vec![(json!("Elsewhere"), false)],
        _ => panic!("{path} is a text of a new kind: say here what may stand in it"),
    };
    texts.extend([(json!("x".repeat(longest + 1)), false), (json!(7), false), (json!({}), false)]);
    texts
}

fn lists(path: &str, schema: &Value) -> Vec<(Value, bool)> {
    assert_eq!(path, "alternativeIPs", "a list of a new kind: say here what may stand in it");
    let longest = schema["maxItems"].as_u64().expect("a longest list");
    let addresses = |count: u64| (0..count).map(|last| format!("198.51.100.{last}")).collect::<Vec<_>>();
    vec![
        (json!([]), true),
        (json!(["198.51.100.9"]), true),
        (json!(["gateway.corp.example", "2001:db8::9", "198.51.100.8"]), true),
        (json!(addresses(longest)), true),
        (json!(addresses(longest + 1)), false),
        (json!(["198.51.100.9", "198.51.100.9"]), false),
        (json!(["198.51.100.8,198.51.100.9"]), false),
        (json!(["198.51.100.8;198.51.100.9"]), false),
        (json!([""]), false),
        (json!([7]), false),
        (json!("198.51.100.9"), false),
    ]
}

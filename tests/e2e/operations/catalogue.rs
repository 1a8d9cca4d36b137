//! What may be written to each field of a kind, read off the CRD's own schema: values at the bounds that the API server
//! must take, and values beyond them that it must refuse.

mod broker;
mod farm;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

pub(super) use self::broker::choices as of_brokers;
pub(super) use self::farm::{AUTHORITY, choices as of_farms};
use crate::world::merge;

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
    /// What the same patch sets, because the field cannot stand without it.
    beside: Value,
}

impl Choice {
    /// The merge patch of the spec.
    pub(super) fn patch(&self) -> Value {
        let mut patch = self.beside.clone();
        merge(
            &mut patch,
            self.path.rsplit('.').fold(self.value.clone(), |inner, name| json!({ name: inner })),
        );
        patch
    }
}

/// Values, each with whether the API server must take it.
type Values = Vec<(Value, bool)>;

/// What a kind's schema does not say of its fields.
struct Meaning {
    /// Values by what they mean: of every text and list, and of fields about which the type says too little.
    values: fn(&str, &Value) -> Option<Values>,
    /// Fields that nothing may change, once they are set: any value is refused.
    fixed: &'static [&'static str],
    beside: fn(&str) -> Value,
}

impl Meaning {
    /// Every choice for every field of the spec.
    fn choices(&self, crd: CustomResourceDefinition) -> Vec<Choice> {
        let crd = serde_json::to_value(crd).expect("a CRD");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut choices = Vec::new();
        self.object("", schema, &mut choices);
        choices
    }

    fn object(&self, path: &str, schema: &Value, choices: &mut Vec<Choice>) {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let beside = (self.beside)(&path);
            let mut add = |value: Value, valid| {
                choices.push(Choice { path: path.clone(), value, valid, beside: beside.clone() });
            };
            let is_fixed = self.fixed.contains(&path.as_str());
            add(Value::Null, !required.contains(&name.as_str()) && !is_fixed);
            for (value, valid) in self.values(&path, field) {
                add(value, valid);
            }
            if field["type"] == "object" && !is_fixed {
                self.object(&path, field, choices);
            }
        }
    }

    /// # Panics
    /// Where a field is new: somebody must say what may stand in it.
    fn values(&self, path: &str, schema: &Value) -> Values {
        if let Some(meant) = (self.values)(path, schema) {
            return meant.into_iter().chain(of_no_text(path, schema)).collect();
        }
        if let Some(all) = schema["enum"].as_array() {
            let valid = all.iter().filter(|value| !value.is_null()).map(|value| (value.clone(), true));
            return valid
                .chain([(json!("Nonsense"), false), (json!(""), false), (json!(1), false)])
                .collect();
        }
        match schema["type"].as_str() {
            Some("boolean") => {
                vec![(json!(true), true), (json!(false), true), (json!("true"), false), (json!(1), false)]
            }
            Some("integer") => integers(schema),
            Some("object") => vec![(json!("text"), false), (json!([]), false)],
            other => panic!("{path} has type {other:?}: say here what may stand in it"),
        }
    }
}

/// What no text may be.
fn of_no_text(path: &str, schema: &Value) -> Values {
    if schema["type"] != "string" {
        return Vec::new();
    }
    let mut refused = vec![(json!(7), false), (json!({}), false)];
    if schema["enum"].is_null() {
        let longest = schema["maxLength"].as_u64().unwrap_or_else(|| panic!("{path} has no longest text"));
        refused.push((json!("x".repeat(usize::try_from(longest).expect("a length") + 1)), false));
    }
    refused
}

fn integers(schema: &Value) -> Values {
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

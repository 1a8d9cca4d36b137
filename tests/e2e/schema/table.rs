//! Reads `table.yaml` as a list of single cases.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// A manifest, or a change of one, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// The object as it is stored before, where the case is a change.
    pub(crate) stored: Option<Value>,
    pub(crate) object: Value,
    /// Nothing: it is accepted.
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    #[allow(dead_code, reason = "against a real API server both parts are judged")]
    pub(crate) by: By,
    pub(crate) words: String,
}

/// Which part of the schema refuses. In process only the rules can be judged.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Rule,
    Schema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    minimal: BTreeMap<String, Value>,
    values: Vec<Values>,
    manifests: Vec<Manifest>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    kind: String,
    field: Vec<String>,
    #[serde(default)]
    accepted: Vec<Value>,
    #[serde(default)]
    refused: Vec<Value>,
    by: Option<By>,
    words: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    kind: String,
    spec: Value,
    by: Option<By>,
    words: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
    kind: String,
    #[serde(default)]
    stored: Value,
    #[serde(rename = "change")]
    patch: Value,
    by: Option<By>,
    words: Option<String>,
}

/// Every case of the table.
pub(crate) fn cases() -> Vec<Case> {
    let table: Table = serde_saphyr::from_str(include_str!("table.yaml")).expect("a valid table");
    let Table { minimal, values, manifests, changes } = table;
    let values = values.into_iter().flat_map(|row| row.cases(&minimal));
    let manifests = manifests.into_iter().map(|row| row.case(&minimal));
    let changes = changes.into_iter().map(|row| row.case(&minimal));
    values.chain(manifests).chain(changes).collect()
}

impl Values {
    fn cases(self, minimal: &BTreeMap<String, Value>) -> Vec<Case> {
        let refusal = refusal(self.by, self.words.clone());
        assert_eq!(refusal.is_some(), !self.refused.is_empty(), "{:?}", self.field);
        let accepted = self.accepted.iter().map(|value| (value, None));
        let refused = self.refused.iter().map(|value| (value, refusal.clone()));
        accepted
            .chain(refused)
            .map(|(value, refusal)| Case {
                name: format!("{} {}: {value}", self.kind, self.field.join(".")),
                kind: self.kind.clone(),
                stored: None,
                object: object(&self.kind, &patched(&minimal[&self.kind], &self.patch(value))),
                refusal,
            })
            .collect()
    }

    fn patch(&self, value: &Value) -> Value {
        let wrap = |inner: Value, key: &String| json!({ key: inner });
        self.field.iter().rev().fold(value.clone(), wrap)
    }
}

impl Manifest {
    fn case(self, minimal: &BTreeMap<String, Value>) -> Case {
        Case {
            object: object(&self.kind, &patched(&minimal[&self.kind], &self.spec)),
            stored: None,
            refusal: refusal(self.by, self.words),
            name: self.name,
            kind: self.kind,
        }
    }
}

impl Change {
    fn case(self, minimal: &BTreeMap<String, Value>) -> Case {
        let stored = patched(&minimal[&self.kind], &self.stored);
        Case {
            object: object(&self.kind, &patched(&stored, &self.patch)),
            stored: Some(object(&self.kind, &stored)),
            refusal: refusal(self.by, self.words),
            name: self.name,
            kind: self.kind,
        }
    }
}

fn refusal(by: Option<By>, words: Option<String>) -> Option<Refusal> {
    assert_eq!(by.is_some(), words.is_some(), "{words:?}");
    by.zip(words).map(|(by, words)| Refusal { by, words })
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "ras-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": "subject" },
        "spec": spec,
    })
}

/// RFC 7396, except that an object in the patch stays what it is where there is nothing to patch.
fn patched(target: &Value, patch: &Value) -> Value {
    let (Some(target), Some(patch)) = (target.as_object(), patch.as_object()) else {
        return if patch.is_null() { target.clone() } else { patch.clone() };
    };
    let mut result = target.clone();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let before = result.get(key).cloned().unwrap_or(Value::Null);
            result.insert(key.clone(), patched(&before, value));
        }
    }
    Value::Object(result)
}

//! Reading and changing the metadata of an object that is plain JSON.

use serde_json::{Value, json};

/// The text at a path of metadata; empty where there is none.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether the object waits for its finalizers to go.
pub(super) fn is_going(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// Sets a field of metadata, or takes it away.
pub(super) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    set(&mut object["metadata"], field, value);
}

/// Sets a field of an object, or takes it away.
pub(super) fn set(object: &mut Value, field: &str, value: Option<Value>) {
    if !object.is_object() {
        *object = json!({});
    }
    if let Some(fields) = object.as_object_mut() {
        match value {
            Some(value) => drop(fields.insert(field.to_owned(), value)),
            None => drop(fields.remove(field)),
        }
    }
}

/// The object without what the generation does not count.
pub(super) fn counted(object: &Value) -> Value {
    let mut object = object.clone();
    set(&mut object, "metadata", None);
    set(&mut object, "status", None);
    object
}

/// Lays a merge patch over a value, as RFC 7396 has it.
pub(super) fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Some(fields) = value.as_object_mut() else { return };
    for (name, inner) in patch {
        if inner.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), inner);
        }
    }
}

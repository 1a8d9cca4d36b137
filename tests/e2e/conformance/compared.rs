//! Answers in a form in which two servers can be held against each other: versions and uids by their order, no times,
//! no wording.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::server::Answer;

/// All answers of one server to one sequence.
pub(super) fn comparable(answers: &[Answer]) -> Vec<Answer> {
    let bodies: Vec<(u16, Value)> =
        answers.iter().map(|answer| (answer.code, essence(answer.body.clone()))).collect();
    let mut versions = BTreeSet::new();
    let mut uids = BTreeMap::new();
    for (_, body) in &bodies {
        visit(body, &mut |field, value| match field {
            "resourceVersion" => drop(value.parse::<u64>().map(|version| versions.insert(version))),
            "uid" if !uids.contains_key(value) => drop(uids.insert(value.to_owned(), uids.len())),
            _ => {}
        });
    }
    let versions: BTreeMap<u64, usize> =
        versions.into_iter().enumerate().map(|(rank, version)| (version, rank)).collect();
    bodies
        .into_iter()
        .map(|(code, mut body)| {
            rename(&mut body, &versions, &uids);
            Answer { code, body }
        })
        .collect()
}

/// Takes out what need not be the same.
fn essence(mut body: Value) -> Value {
    if body["status"] == "Failure" {
        return refusal(&body);
    }
    if body.get("items").is_some() {
        // Of the whole server, on which others write as well; and items carry no kind on the real one.
        body["metadata"] = Value::Null;
        for item in body["items"].as_array_mut().into_iter().flatten() {
            for field in ["kind", "apiVersion"] {
                item.as_object_mut().and_then(|item| item.remove(field));
            }
        }
    }
    for event in body.as_array_mut().into_iter().flatten() {
        if event["type"] == "BOOKMARK" {
            event["object"] = Value::Null;
        } else {
            event["object"] = essence(event["object"].take());
        }
    }
    body
}

fn refusal(body: &Value) -> Value {
    let details = &body["details"];
    let causes = details["causes"].as_array().into_iter().flatten();
    let causes: BTreeSet<String> =
        causes.map(|cause| format!("{} {}", cause["field"], cause["reason"])).collect();
    json!({
        "code": body["code"], "reason": body["reason"],
        "name": details["name"], "group": details["group"], "kind": details["kind"],
        "causes": causes,
    })
}

fn visit(value: &Value, look: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if let Some(text) = inner.as_str() {
                    look(name, text);
                }
                visit(inner, look);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rename(value: &mut Value, versions: &BTreeMap<u64, usize>, uids: &BTreeMap<String, usize>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match (name.as_str(), inner.as_str()) {
                    ("resourceVersion", Some(text)) => {
                        let rank = text.parse().ok().and_then(|version: u64| versions.get(&version));
                        *inner = json!(rank);
                    }
                    ("uid", Some(text)) => *inner = json!(uids.get(text)),
                    ("creationTimestamp" | "deletionTimestamp", Some(_)) => *inner = "a time".into(),
                    _ => rename(inner, versions, uids),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, versions, uids)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

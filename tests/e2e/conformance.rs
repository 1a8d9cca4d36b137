//! The model of the API server, held against the real one: the same random requests, and the same answers but for what
//! is given out by each server itself.
//!
//! `RAS_OPERATOR_SEED=<n>` plays one sequence again and prints it; `RAS_OPERATOR_EXPLORE=full` plays many.

mod compared;
mod random;
mod sequence;
mod server;

use std::collections::BTreeSet;

use futures::StreamExt;
use serde_json::Value;

use self::compared::comparable;
use self::sequence::{Step, sequence};
use self::server::{Answer, Server};
use crate::api_server::ApiServer;
use crate::support::control_plane;
use crate::support::control_plane::ControlPlane;

/// The real server has two processors and other work.
const AT_A_TIME: usize = 8;

#[tokio::test]
async fn the_model_answers_as_the_real_server_does() {
    let plane = control_plane().await;
    let seeds = seeds();
    let count = seeds.len();
    let played: Vec<(u64, usize, Option<String>)> = futures::stream::iter(seeds)
        .map(|seed| async move {
            let steps = sequence(seed);
            (seed, steps.len(), difference(plane, seed, &steps).await)
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let requests: usize = played.iter().map(|(_, requests, _)| requests).sum();
    let wrong: Vec<_> =
        played.iter().filter_map(|(seed, _, found)| found.as_ref().map(|found| (*seed, found))).collect();
    println!("conformance: {count} sequences, {requests} requests, {} differ", wrong.len());
    for (seed, found) in wrong.iter().take(40) {
        println!("RAS_OPERATOR_SEED={seed}\n{found}\n");
    }
    let seeds: Vec<u64> = wrong.iter().map(|(seed, _)| *seed).collect();
    assert!(wrong.is_empty(), "the model differs from the real server with the seeds {seeds:?}");
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = std::env::var("RAS_OPERATOR_SEED").ok().and_then(|text| text.parse().ok()) {
        return vec![seed];
    }
    let is_full = std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full");
    (1..=if is_full { 1_000 } else { 200 }).collect()
}

/// The first answer in which the servers differ, with all that led to it.
async fn difference(plane: &ControlPlane, seed: u64, steps: &[Step]) -> Option<String> {
    let namespace = plane.namespace(&format!("conformance-{seed}")).await;
    let model = ApiServer::new(jiff::Timestamp::now);
    model.create_namespace(&namespace);
    let mut model = Server::new(model.client(), &namespace);
    let mut real = Server::new(plane.admin(), &namespace);
    let kind = steps[0].kind;
    let (model_begin, real_begin) = (model.now(kind).await, real.now(kind).await);

    let (mut modelled, mut answered) = (Vec::new(), Vec::new());
    for step in steps {
        // A watch of the real server is read for as many events as the model told.
        let expected = model.ask(step, None).await;
        let events = expected.body.as_array().map(Vec::len);
        answered.push(real.ask(step, events).await);
        modelled.push(expected);
    }
    modelled.push(model.history(kind, &model_begin).await);
    answered.push(real.history(kind, &real_begin).await);
    first_difference(steps, &comparable(&modelled), &comparable(&answered))
}

fn first_difference(steps: &[Step], modelled: &[Answer], answered: &[Answer]) -> Option<String> {
    let index = modelled.iter().zip(answered).position(|(modelled, answered)| modelled != answered)?;
    let mut text = String::new();
    for (number, answer) in answered.iter().enumerate().take(index + 1) {
        let step = steps
            .get(number)
            .map_or("the whole watch".to_owned(), |step| format!("{} {:?}", step.name, step.call));
        text += &format!("{number}: {step}\n");
        if number < index {
            text += &format!("   {} {}\n", answer.code, shortened(&answer.body));
        }
    }
    let (modelled, answered) = (&modelled[index], &answered[index]);
    text += &format!("   model answers {}, the real server {}\n", modelled.code, answered.code);
    unlike("", &modelled.body, &answered.body, &mut text);
    Some(text)
}

/// Says where two bodies differ.
fn unlike(path: &str, modelled: &Value, answered: &Value, text: &mut String) {
    if modelled == answered {
        return;
    }
    let keys = |value: &Value| -> Option<BTreeSet<String>> {
        match value {
            Value::Object(fields) => Some(fields.keys().cloned().collect()),
            Value::Array(items) => Some((0..items.len()).map(|index| index.to_string()).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    };
    let (Some(in_model), Some(in_real)) = (keys(modelled), keys(answered)) else {
        *text += &format!("   {path}: model {modelled}, real {answered}\n");
        return;
    };
    for key in in_model.union(&in_real) {
        let at = |value: &Value| value.pointer(&format!("/{key}")).cloned().unwrap_or_default();
        unlike(&format!("{path}/{key}"), &at(modelled), &at(answered), text);
    }
}

fn shortened(body: &Value) -> String {
    body.to_string().chars().take(400).collect()
}

/// Lays a merge patch over a value; what is `null` in it stays so.
fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let inner = base.remove(name).unwrap_or(Value::Null);
                base.insert(name.clone(), merged(inner, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

//! The model of the API server, held against the real one: the same random requests, and the same answers but for what
//! is given out by each server itself.
//!
//! `RAS_OPERATOR_SEED=<n>` plays one sequence again and prints it; `RAS_OPERATOR_EXPLORE=full` plays many.

mod compared;
mod scripted;
mod sequence;
mod server;
mod troubles;
mod watching;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use ras_operator::clock::Clock;
use serde_json::Value;

use self::compared::comparable;
use self::sequence::{Step, sequence};
use self::server::{Answer, Server};
use self::watching::Until;
use crate::api_server::ApiServer;
use crate::support::control_plane;
use crate::support::control_plane::ControlPlane;

/// The real server has two processors and other work.
const AT_A_TIME: usize = 8;

/// Answers without which the comparison would say little.
const TELLING: [u16; 7] = [200, 201, 400, 404, 409, 422, 500];

/// What came of one sequence.
struct Played {
    seed: u64,
    /// The real server's answers.
    answers: Vec<Answer>,
    difference: Option<String>,
}

#[tokio::test]
async fn the_model_answers_as_the_real_server_does() {
    let plane = control_plane().await;
    let seeds = seeds();
    let is_many = seeds.len() > 100;
    let played: Vec<Played> = futures::stream::iter(seeds)
        .map(|seed| play(plane, seed))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let mut wrong: Vec<_> =
        played.iter().filter_map(|played| Some((played.seed, played.difference.as_ref()?))).collect();
    wrong.sort_unstable();
    for (seed, found) in wrong.iter().take(3) {
        println!("RAS_OPERATOR_SEED={seed} replays this\n{found}\n");
    }
    let codes = tally(&played);
    let seeds: Vec<u64> = wrong.iter().map(|(seed, _)| *seed).collect();
    assert!(wrong.is_empty(), "the model differs from the real server with the seeds {seeds:?}");
    assert!(!is_many || TELLING.iter().all(|code| codes.contains_key(code)), "seen only {codes:?}");
}

/// Counts the answers by their code, and says what was seen.
fn tally(played: &[Played]) -> BTreeMap<u16, usize> {
    let mut codes = BTreeMap::new();
    let answers = || played.iter().flat_map(|played| &played.answers);
    // Zero stands for what was not asked: a watch from a version that was never seen.
    for answer in answers().filter(|answer| answer.code != 0) {
        *codes.entry(answer.code).or_insert(0) += 1;
    }
    let events: usize = answers().filter_map(|answer| answer.body.as_array()).map(Vec::len).sum();
    println!(
        "conformance: {} sequences, {} requests answered {codes:?}, {events} watch events, {} sequences differ",
        played.len(),
        codes.values().sum::<usize>(),
        played.iter().filter(|played| played.difference.is_some()).count(),
    );
    codes
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    if let Some(seed) = number("RAS_OPERATOR_SEED") {
        return vec![seed];
    }
    let is_full = std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full");
    let count = number("RAS_OPERATOR_SEEDS").unwrap_or(if is_full { 1_000 } else { 200 });
    let base = number("RAS_OPERATOR_SEED_BASE").unwrap_or(1);
    (base..base + count).collect()
}

async fn play(plane: &ControlPlane, seed: u64) -> Played {
    let steps = sequence(seed);
    let kind = steps[0].kind;
    let (mut model, mut real) = servers(plane, &format!("conformance-{seed}")).await;
    let (model_begin, real_begin) = (model.now(kind).await, real.now(kind).await);
    let (mut modelled, mut answers) = (Vec::new(), Vec::new());
    for step in &steps {
        // A watch of the real server is read for as many events as the model told.
        let expected = model.ask(step, None).await;
        let events = expected.body.as_array().map(Vec::len);
        let mut answer = real.ask(step, events).await;
        // The real server looks at its cache first. If that still has the version which the request names, and the
        // write would leave the object as it really is, it answers with that object; a moment later it would refuse.
        if expected.code == 409 && real.knew(step.name, &answer) {
            real.unsee(step.name);
            answer = expected.clone();
        }
        answers.push(answer);
        modelled.push(expected);
    }
    modelled.push(model.watch_from(kind, &model_begin).await.read(Until::Last).await);
    answers.push(real.watch_from(kind, &real_begin).await.read(Until::Last).await);
    let difference = first_difference(&steps, &comparable(&modelled), &comparable(&answers));
    Played { seed, answers, difference }
}

/// The model and the real server, each with the same new namespace.
async fn servers(plane: &ControlPlane, stem: &str) -> (Server, Server) {
    let namespace = plane.namespace(stem).await;
    let model = modelled(&namespace);
    (Server::new(model.client(), &namespace), Server::new(plane.admin(), &namespace))
}

fn modelled(namespace: &str) -> ApiServer {
    let model = ApiServer::new(|| Clock::MACHINE.now().wall);
    model.create_namespace(namespace);
    model
}

/// The first answer in which the servers differ, with all that led to it.
fn first_difference(steps: &[Step], modelled: &[Answer], answered: &[Answer]) -> Option<String> {
    let index = modelled.iter().zip(answered).position(|(modelled, answered)| modelled != answered)?;
    let mut lines = Vec::new();
    for (number, answer) in answered.iter().enumerate().take(index + 1) {
        match steps.get(number) {
            Some(Step { kind: _, name, call }) => lines.push(format!("{number}: {name} {call:?}")),
            None => lines.push(format!("{number}: all events")),
        }
        if number < index {
            lines.push(format!("   {} {}", answer.code, shortened(&answer.body)));
        }
    }
    let (modelled, answered) = (&modelled[index], &answered[index]);
    lines.push(format!("   the model answers {}, the real server {}", modelled.code, answered.code));
    unlike("", &modelled.body, &answered.body, &mut lines);
    Some(lines.join("\n"))
}

/// Says where two bodies differ.
fn unlike(path: &str, modelled: &Value, answered: &Value, lines: &mut Vec<String>) {
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
        return lines.push(format!("   {path}: model {modelled}, real {answered}"));
    };
    for key in in_model.union(&in_real) {
        let at = |value: &Value| {
            let key = key.replace('~', "~0").replace('/', "~1");
            value.pointer(&format!("/{key}")).cloned().unwrap_or_default()
        };
        unlike(&format!("{path}/{key}"), &at(modelled), &at(answered), lines);
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

//! How much of the machine a farm can take: whatever it answers, and however often, the process stays within what its
//! container is given.

use std::{collections::BTreeMap, path::Path};

use ras_operator::simulator::{Effect, Fault};
use serde_json::{Value, json};

use super::{BROKERS, LATER, ready, requests, world};
use crate::support::eventually;
use crate::world::World;

/// The largest answer that is read, in bytes: `docs/reliability.md`.
const BODY: u64 = 16 << 20;
/// The most rows that are read of one list.
const ROWS: usize = 1 << 16;
/// How often answers that are too large are played, and such as are not.
const HUGE_ROUNDS: usize = 4;
const ROUNDS: usize = 8;

const READS: [&str; 3] = ["/api/Site", BROKERS, "/api/Agent"];

/// What the deployed container may use, in bytes.
fn limit() -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/deployment.yaml");
    let text = std::fs::read_to_string(path).expect("the deployment");
    let deployment: Value = serde_saphyr::from_str(&text).expect("YAML");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let limit = container["resources"]["limits"]["memory"].as_str().expect("a limit");
    limit.strip_suffix("Mi").and_then(|mebibytes| mebibytes.parse::<u64>().ok()).expect("in Mi") << 20
}

/// The most memory that the operator has had resident since it started, in bytes.
fn peak(world: &World) -> u64 {
    let pid = world.operator.as_ref().expect("an operator").pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Plays the fault on each list that the operator reads, until all have been played.
async fn play(world: &World, round: &str, effects: impl Fn() -> Effect) {
    for route in READS {
        world.farm().fault(Fault::new(effects()).on("GET", route));
    }
    // A reconcile that is asked for looks at once, whatever pause the farm is in.
    let mut asked = 0;
    eventually(&format!("all are played: {round}"), LATER, async || {
        asked += 1;
        world.annotate_farm("ras-operator.dev/reconcile-requested-at", &format!("{round}.{asked}")).await;
        if world.farm().faults().is_empty() { Ok(()) } else { Err(world.farm().faults().len()) }
    })
    .await;
}

/// As many rows as are read at most, none of them known from the round before.
fn crowd(round: usize) -> Effect {
    let row = |index: usize| json!({"id": 1_000_000 + round * ROWS + index, "siteId": 1, "server": format!("r{round}-{index}.corp.example")});
    let rows: Vec<Value> = (0..ROWS).map(row).collect();
    let headers = BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]);
    Effect::Answer { status: 200, headers, body: Value::from(rows).to_string() }
}

#[tokio::test]
async fn whatever_a_farm_answers_and_however_often_the_memory_it_takes_is_bounded() {
    let world = world("memory").await;
    world.create_broker("cb1", json!({"description": "kept"})).await;
    let id = ready(&world, "cb1").await;
    let at_rest = peak(&world);

    for round in 0..HUGE_ROUNDS {
        play(&world, &format!("huge {round}"), || Effect::Huge { bytes: 200_000_000 }).await;
    }
    // What is read of an answer is copied as it grows, and the allocator keeps some of what it was given back.
    let huge = peak(&world) - at_rest;
    assert!(huge <= 6 * BODY, "{huge} bytes for answers of which {BODY} are read");

    let mut peaks = Vec::new();
    for round in 0..ROUNDS {
        play(&world, &format!("rows {round}"), || crowd(round)).await;
        peaks.push(peak(&world));
    }
    println!("at rest {at_rest}, huge answers {huge} more, then with {ROWS} rows {peaks:?}");
    let (halfway, end) = (peaks[ROUNDS / 2 - 1], peaks[ROUNDS - 1]);
    assert!(end <= limit(), "{peaks:?} of {}", limit());
    // The rows of four rounds take twice as much; what an allocator keeps varies by a quarter of it.
    assert!(end - halfway <= 8 * BODY, "it grows from round to round: {peaks:?}");

    assert_eq!(ready(&world, "cb1").await, id);
    assert!(requests(&world, "DELETE", super::BROKER).is_empty());
}

//! What the seeds have found, each told as the shortest story that shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::Fault;
use serde_json::json;

use crate::objects::is_true;
use crate::run::Run;
use crate::seeds::in_runtime;
use crate::settling::settle;
use crate::step::{Planned, Stage, Step};
use crate::world::Setting;

const SETTING: Setting = Setting {
    farms: 1,
    period: Duration::from_secs(10),
    timeout: Duration::from_secs(2),
    mode: "Auto",
    old: 0,
    threshold: 2,
    elects: false,
    replicas: 1,
};

/// A world with one broker that is planned.
fn begin() -> (Run, Stage) {
    let run = Run::begin(SETTING, fastrand::Rng::with_seed(1), BTreeMap::new());
    let spec = json!({"description": "one", "deletionPolicy": "Delete"});
    let planned = Planned { name: "b0".to_owned(), farm: 0, server: "b0.corp.test".to_owned(), spec };
    let stage = Stage::new(vec![planned], &run.world);
    (run, stage)
}

fn calls(run: &Run, what: &str) -> usize {
    run.world.network.with_trace(|trace| trace.lines().iter().filter(|line| line.contains(what)).count())
}

#[test]
fn a_create_that_is_refused_again_and_again_is_tried_with_growing_pauses() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        run.world.farms[0].fault(Fault::status(400).on("POST", "/api/Broker").always());
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_mins(10)).await;
        // 2, 4, 8, ... 256 seconds apart.
        let tried = calls(&run, "POST /api/Broker?");
        assert!((5..=9).contains(&tried), "{tried} POSTs in ten minutes");
    });
}

#[test]
fn when_the_primary_moves_the_next_write_finds_it() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::PrimaryMoves(0)).await;
        stage.play(&mut run, &Step::Edit(0, json!({"description": "two"}))).await;
        run.rest(Duration::from_secs(30)).await;
        assert_eq!(run.world.farms[0].broker_named("b0.corp.test").unwrap().description, "two");
        assert!(is_true(&run.world.brokers()[0], "Ready"));
    });
}

#[test]
fn what_was_sent_to_a_row_that_vanished_is_sent_to_the_one_that_replaces_it() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.play(&mut run, &Step::Create(0)).await;
        while calls(&run, "PUT /api/Broker/") == 0 {
            run.rest(Duration::from_millis(20)).await;
        }
        run.rest(Duration::from_millis(100)).await;
        stage.play(&mut run, &Step::PersonDeletes(0)).await;
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert!(is_true(&run.world.brokers()[0], "Ready"));
    });
}

#[test]
fn an_api_server_that_was_restored_is_written_to_in_its_own_versions() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.play(&mut run, &Step::Create(0)).await;
        stage.play(&mut run, &Step::Backup).await;
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::Restore).await;
        stage.play(&mut run, &Step::Edit(0, json!({"suspend": true}))).await;
        run.rest(Duration::from_mins(1)).await;
        let written = calls(&run, "PATCH namespaces/default/rasbrokers/b0");
        assert!(written < 20, "{written} writes");
    });
}

#[test]
fn a_deletion_does_not_wait_for_a_wall_clock_that_is_behind() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::WallClock(SignedDuration::from_hours(-1))).await;
        stage.play(&mut run, &Step::Delete(0)).await;
        run.rest(Duration::from_secs(30)).await;
        assert!(run.world.brokers().is_empty());
        assert!(run.world.farms[0].broker_named("b0.corp.test").is_none());
    });
}

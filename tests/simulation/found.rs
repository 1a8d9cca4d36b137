//! What the seeds have found, each told as the shortest story that shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::{Effect, Fault};
use serde_json::json;

use crate::fate::{Outage, Weather};
use crate::objects::{condition, is_current, is_true, words};
use crate::run::Run;
use crate::seeds::in_runtime;
use crate::settling::settle;
use crate::step::{Planned, Stage, Step};
use crate::world::{NAMESPACE, Setting};

/// A world with one broker that is planned.
fn begin() -> (Run, Stage) {
    begin_in(Setting::PLAIN)
}

fn begin_in(setting: Setting) -> (Run, Stage) {
    let run = Run::begin(setting, fastrand::Rng::with_seed(1), BTreeMap::new());
    let spec = json!({"description": "one", "deletionPolicy": "Delete"});
    let planned = Planned { name: "b0".to_owned(), farm: 0, server: "b0.corp.test".to_owned(), spec };
    let stage = Stage::new(vec![planned], &run.world);
    (run, stage)
}

/// The same, and the broker is made.
async fn made() -> (Run, Stage) {
    let (mut run, mut stage) = begin();
    stage.play(&mut run, &Step::Create(0)).await;
    run.rest(Duration::from_secs(20)).await;
    (run, stage)
}

fn calls(run: &Run, what: &str) -> usize {
    run.world.network.with_trace(|trace| trace.lines().iter().filter(|line| line.contains(what)).count())
}

/// Waits until the trace tells of another such call.
async fn leaves(run: &mut Run, what: &str) {
    let sent = calls(run, what);
    for _ in 0..10_000 {
        if calls(run, what) > sent {
            return;
        }
        run.rest(Duration::from_millis(1)).await;
    }
    panic!("no {what}");
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
        let (mut run, mut stage) = made().await;
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
        leaves(&mut run, "PUT /api/Broker/").await;
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
        let written = calls(&run, "PATCH namespaces/farms/rasbrokers/b0");
        assert!(written < 20, "{written} writes");
    });
}

#[test]
fn a_deletion_does_not_wait_for_a_wall_clock_that_is_behind() {
    in_runtime(async {
        let (mut run, mut stage) = made().await;
        stage.play(&mut run, &Step::WallClock(SignedDuration::from_hours(-1))).await;
        stage.play(&mut run, &Step::Delete(0)).await;
        run.rest(Duration::from_secs(30)).await;
        assert!(run.world.brokers().is_empty());
        assert!(run.world.farms[0].broker_named("b0.corp.test").is_none());
    });
}

#[test]
fn after_a_restore_an_object_that_needs_no_write_is_read_again() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.play(&mut run, &Step::Create(0)).await;
        // Made, and nothing was said of it yet.
        stage.play(&mut run, &Step::Backup).await;
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::Restore).await;
        run.rest(Duration::from_mins(2)).await;
        assert!(is_true(&run.world.brokers()[0], "Ready"));
        assert!(is_true(&run.world.api.list("RasFarm")[0], "Ready"));
    });
}

#[test]
fn an_endpoint_that_changes_under_a_write_of_the_farms_status_is_gone_to() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        run.rest(Duration::from_secs(20)).await;
        // Both are on their way at once: the write of status meets another version, and the object is read again.
        run.world.network.set_weather(Weather {
            watch: 1_000,
            timeout: Setting::PLAIN.timeout,
            ..Weather::default()
        });
        let elsewhere = json!({"spec": {"endpoint": "https://farm-0-b.test", "fallbackEndpoints": []}});
        stage.play(&mut run, &Step::FarmSpec(0, elsewhere)).await;
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_mins(3)).await;
        let reached = &run.world.api.list("RasFarm")[0]["status"]["connectedServer"];
        assert_eq!(reached, "second.farm-0.test");
    });
}

#[test]
fn while_the_api_server_takes_no_write_the_farm_is_looked_at_all_the_same() {
    in_runtime(async {
        let (mut run, mut stage) = made().await;
        let timeout = Setting::PLAIN.timeout;
        let refuses = Weather { outage: Some(Outage::Writes), timeout, ..Weather::default() };
        run.world.network.set_weather(refuses);
        let before = calls(&run, "GET /api/Broker");
        // Neither can the farm's status be written, nor a batch be opened for the broker that waits for one.
        stage.play(&mut run, &Step::FarmSpec(0, json!({"spec": {"requestTimeout": "3s"}}))).await;
        stage.play(&mut run, &Step::Edit(0, json!({"description": "two"}))).await;
        run.rest(Duration::from_mins(2)).await;
        let lists = calls(&run, "GET /api/Broker") - before;
        assert!(lists >= 5, "{lists} lists in two minutes with a period of ten seconds");
    });
}

#[test]
fn what_somebody_else_writes_into_a_status_that_lacks_it_is_taken_out_once() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.brokers[0].spec = json!({"managementPolicy": "ObserveOnly"});
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::ForgeId(0)).await;
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert!(run.world.brokers()[0]["status"]["id"].is_null());
    });
}

#[test]
fn an_answer_that_comes_after_a_newer_version_was_watched_does_not_replace_it() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        run.rest(Duration::from_secs(20)).await;
        let suspend = |suspend: bool| Step::FarmSpec(0, json!({"spec": {"suspend": suspend}}));
        let written = calls(&run, "PATCH namespaces/farms/rasfarms/farm-0/status");
        stage.play(&mut run, &suspend(true)).await;
        run.world.network.set_weather(Weather {
            slow: 1_000,
            timeout: Setting::PLAIN.timeout,
            ..Weather::default()
        });
        // The farm's status is written, and before that is answered the farm is resumed.
        leaves(&mut run, "  200 ").await;
        assert!(calls(&run, "PATCH namespaces/farms/rasfarms/farm-0/status") > written);
        stage.play(&mut run, &suspend(false)).await;
        run.rest(Duration::from_mins(1)).await;
        assert!(is_current(&run.world.api.list("RasFarm")[0]));
    });
}

#[test]
fn a_change_that_arrives_after_a_later_one_does_not_stand() {
    in_runtime(async {
        let (mut run, mut stage) = made().await;
        stage.play(&mut run, &Step::Edit(0, json!({"description": "two"}))).await;
        leaves(&mut run, "GET /api/Broker/").await;
        // Every call is late from here on, and nothing else happens.
        let fair = Weather { timeout: Setting::PLAIN.timeout, ..Weather::default() };
        run.world.network.set_weather(Weather { farm: 1_000, writes: 1, left_out: !(1 << 5), ..fair });
        leaves(&mut run, "PUT /api/Broker/").await;
        run.world.network.set_weather(fair);
        stage.play(&mut run, &Step::Edit(0, json!({"description": "three"}))).await;
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert_eq!(run.world.farms[0].broker_named("b0.corp.test").unwrap().description, "three");
    });
}

#[test]
fn a_process_that_begins_with_an_older_world_knows_what_is_pending() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        run.rest(Duration::from_secs(20)).await;
        // What the farm's status says is from before the broker's batch, in the first list of a watch.
        stage.play(&mut run, &Step::CacheLags(true)).await;
        stage.play(&mut run, &Step::Create(0)).await;
        leaves(&mut run, "POST /api/Broker?").await;
        run.rest(Duration::from_millis(100)).await;
        stage.play(&mut run, &Step::Crash).await;
        run.rest(Duration::from_mins(2)).await;
        assert!(is_true(&run.world.brokers()[0], "Ready"));
        assert!(!run.world.farms[0].is_pending());
    });
}

#[test]
fn what_is_to_stay_is_not_taken_back_because_it_was_decided_on_before() {
    let past_its_finalizer = [Step::Edit(0, json!({"deletionPolicy": "Orphan"})), Step::SweepAway(0)];
    let without_one = [Step::Strip(0), Step::Delete(0)];
    for steps in [past_its_finalizer, without_one] {
        in_runtime(async {
            let (mut run, mut stage) = begin();
            run.rest(Duration::from_secs(20)).await;
            run.world.farms[0].fault(Fault::new(Effect::Delay { millis: 1_000 }).on("POST", "/api/Broker"));
            stage.play(&mut run, &Step::Create(0)).await;
            leaves(&mut run, "POST /api/Broker?").await;
            // All of it before the id of its row is known.
            for step in &steps {
                stage.play(&mut run, step).await;
                run.rest(Duration::from_millis(100)).await;
            }
            run.rest(Duration::from_mins(1)).await;
            assert!(run.world.brokers().is_empty());
            assert!(run.world.farms[0].broker_named("b0.corp.test").is_some());
            assert_eq!(calls(&run, "DELETE /api/Broker"), 0);
        });
    }
}

#[test]
fn an_object_that_is_back_is_not_taken_for_one_that_has_left_its_row() {
    in_runtime(async {
        let (mut run, mut stage) = made().await;
        stage.play(&mut run, &Step::Backup).await;
        let fair = Weather { timeout: Setting::PLAIN.timeout, ..Weather::default() };
        run.world.network.set_weather(Weather { outage: Some(Outage::Farms), ..fair });
        stage.play(&mut run, &Step::SweepAway(0)).await;
        run.rest(Duration::from_secs(5)).await;
        stage.play(&mut run, &Step::Restore).await;
        run.rest(Duration::from_secs(5)).await;
        run.world.network.set_weather(fair);
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert!(is_true(&run.world.brokers()[0], "Ready"));
        assert_eq!(calls(&run, "DELETE /api/Broker"), 0);
    });
}

#[test]
fn an_object_whose_deletion_is_held_goes_with_its_kind() {
    in_runtime(async {
        let (mut run, mut stage) = made().await;
        stage.play(&mut run, &Step::Edit(0, json!({"suspend": true}))).await;
        stage.play(&mut run, &Step::Delete(0)).await;
        run.rest(Duration::from_secs(5)).await;
        assert!(is_true(&run.world.brokers()[0], "DeletionHeld"));
        // It is marked already: nothing is told of it.
        stage.play(&mut run, &Step::RemoveKind(0)).await;
        run.rest(run.world.setting.period * 2).await;
        assert!(run.world.brokers().is_empty());
        assert!(run.world.farms[0].broker_named("b0.corp.test").is_some());
    });
}

#[test]
fn a_farms_status_that_is_not_what_was_written_last_is_written_again() {
    in_runtime(async {
        let (mut run, _) = begin();
        run.rest(Duration::from_secs(20)).await;
        let world = &run.world;
        // As a write of the operator's own does that comes late.
        let lost = json!({"conditions": null});
        world.person("lose status of", world.api.patch_status("RasFarm", NAMESPACE, "farm-0", &lost));
        run.rest(Duration::from_secs(20)).await;
        assert!(is_true(&run.world.api.list("RasFarm")[0], "Ready"));
    });
}

#[test]
fn what_was_said_of_a_row_is_not_said_of_the_one_that_is_adopted_in_its_place() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.brokers[0].spec["adoptionPolicy"] = "IfExists".into();
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(20)).await;
        assert!(is_true(&run.world.brokers()[0], "Ready"));
        stage.play(&mut run, &Step::PersonDeletes(0)).await;
        stage.play(&mut run, &Step::PersonAdds(0)).await;
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert_eq!(run.world.oracle.lock().wrong, Vec::<String>::new());
    });
}

/// A process is killed while its POST is under way, which the farm carries out long after the quarantine: nobody makes
/// another attempt meanwhile, or each of them is refused.
async fn created_too_late(setting: Setting, retries: bool) -> (Run, Stage) {
    let (mut run, mut stage) = begin_in(setting);
    run.rest(Duration::from_secs(20)).await;
    run.world.farms[0].fault(Fault::new(Effect::Delay { millis: 90_000 }).on("POST", "/api/Broker"));
    if retries {
        run.world.farms[0].fault(Fault::status(400).on("POST", "/api/Broker").always());
    }
    stage.play(&mut run, &Step::Create(0)).await;
    leaves(&mut run, "POST /api/Broker?").await;
    if !retries {
        stage.play(&mut run, &Step::Edit(0, json!({"suspend": true}))).await;
    }
    stage.play(&mut run, &Step::Crash).await;
    run.rest(Duration::from_secs(70)).await;
    assert!(run.world.brokers()[0]["status"]["id"].is_null(), "the quarantine is over, and no row is there");
    run.rest(Duration::from_mins(2)).await;
    assert!(run.world.brokers()[0]["status"]["id"].is_i64(), "{}", run.world.brokers()[0]);
    (run, stage)
}

#[test]
fn a_broker_that_a_farm_creates_later_than_is_waited_for_is_applied_as_well() {
    for retries in [false, true] {
        in_runtime(async {
            let (mut run, mut stage) = created_too_late(Setting::PLAIN, retries).await;
            assert!(!run.world.farms[0].is_pending(), "retries: {retries}");
            stage.play(&mut run, &Step::Edit(0, json!({"suspend": false}))).await;
            assert_eq!(settle(&mut run).await, Vec::<String>::new());
            assert!(is_true(&run.world.brokers()[0], "Ready"));
        });
    }
}

/// No list shows the row yet when another POST is sent, which the farm refuses for the sake of that very row.
#[test]
fn a_row_of_a_lost_post_that_keeps_off_the_next_one_is_ours() {
    let mut refused = 0;
    for seconds in 14..30 {
        in_runtime(async {
            let (mut run, mut stage) = begin();
            let timeout = Setting::PLAIN.timeout;
            let lag = Duration::from_secs(12);
            run.world.network.set_weather(Weather { lag, timeout, ..Weather::default() });
            run.rest(Duration::from_secs(20)).await;
            let late = Effect::Delay { millis: seconds * 1_000 };
            run.world.farms[0].fault(Fault::new(late).on("POST", "/api/Broker"));
            stage.play(&mut run, &Step::Create(0)).await;
            leaves(&mut run, "POST /api/Broker?").await;
            stage.play(&mut run, &Step::Crash).await;
            run.rest(Duration::from_mins(3)).await;
            assert!(
                is_true(&run.world.brokers()[0], "Ready"),
                "{seconds} s late: {}",
                run.world.brokers()[0]
            );
            assert_eq!(settle(&mut run).await, Vec::<String>::new(), "{seconds} s late");
            let journal = run.world.farms[0].journal();
            let posts = journal.iter().filter(|entry| entry.method == "POST" && entry.route == "/api/Broker");
            refused += posts.filter(|entry| entry.status == Some(409)).count();
            assert_eq!(run.end(Vec::new()).wrong, Vec::<String>::new(), "{seconds} s late");
        });
    }
    assert!(refused > 0, "no POST met the row");
}

#[test]
fn what_may_be_pending_beside_a_broker_that_came_too_late_is_left_to_a_person() {
    in_runtime(async {
        let (mut run, mut stage) = created_too_late(Setting::SHARED, false).await;
        assert!(run.world.farms[0].is_pending());
        let farm = &run.world.api.list("RasFarm")[0];
        assert_eq!(condition(farm, "Ready"), Some(("False", "ForeignPendingChanges")));
        assert!(words(farm).contains("has created a broker for this operator"), "{}", words(farm));
        assert!(!is_true(&run.world.brokers()[0], "Ready"), "not before it is applied");
        stage.play(&mut run, &Step::Edit(0, json!({"suspend": false}))).await;
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert!(is_true(&run.world.brokers()[0], "Ready"));
    });
}

#[test]
fn an_object_that_was_told_to_be_gone_and_is_back_as_it_was_is_looked_at() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        run.rest(Duration::from_secs(20)).await;
        let timeout = Setting::PLAIN.timeout;
        let refuses = Weather { outage: Some(Outage::Writes), timeout, ..Weather::default() };
        run.world.network.set_weather(refuses);
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(1)).await;
        stage.play(&mut run, &Step::Backup).await;
        // Nothing was written to it: it goes at once, and comes back in the same version.
        stage.play(&mut run, &Step::Delete(0)).await;
        run.rest(Duration::from_secs(30)).await;
        stage.play(&mut run, &Step::Restore).await;
        run.world.network.set_weather(Weather { timeout, ..Weather::default() });
        run.rest(Duration::from_mins(1)).await;
        assert!(is_true(&run.world.brokers()[0], "Ready"));
    });
}

#[test]
fn a_change_of_a_dead_process_that_arrives_after_the_next_ones_apply_is_applied_before_it_counts() {
    in_runtime(async {
        let (mut run, mut stage) = begin();
        stage.brokers[0].spec = json!({"enabled": false});
        stage.play(&mut run, &Step::Create(0)).await;
        // What a POST cannot carry follows in a PUT, which is late: within the quarantine, and after an Apply. The next
        // process does not send it as well before it is certain that nothing else lowers the site.
        leaves(&mut run, "GET /api/Broker/").await;
        run.world.farms[0].fault(Fault::new(Effect::Delay { millis: 38_000 }).on("PUT", "/api/Broker/{id}"));
        leaves(&mut run, "PUT /api/Broker/").await;
        stage.play(&mut run, &Step::Crash).await;
        leaves(&mut run, "POST /api/Settings/apply").await;
        assert!(run.world.farms[0].broker_named("b0.corp.test").unwrap().enabled, "not yet");
        assert_eq!(settle(&mut run).await, Vec::<String>::new());
        assert_eq!(run.world.oracle.lock().wrong, Vec::<String>::new());
        assert!(is_true(&run.world.brokers()[0], "Ready"));
    });
}

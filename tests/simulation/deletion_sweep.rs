//! A broker that is created and deleted at once: the deletion comes at each moment of each call that the creation makes,
//! by itself, with a crash before or after it, and past a finalizer that the API server overlooks.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use ras_operator::simulator::{Effect, Fault, When};
use serde_json::json;

use crate::crash_sweep::{FREEZE, SLEEP};
use crate::network::{Moment, Point, Strike};
use crate::run::Run;
use crate::seeds::{Outcome, in_parallel, in_runtime, is_full, number};
use crate::settling::{clean, settle};
use crate::step::{Planned, Stage, Step};
use crate::trace::call_with;
use crate::world::Setting;

const NAME: &str = "new";
/// How many of the runs with a crash as well are played where not all are.
const CRASHES: usize = 240;

type Strikes = BTreeMap<Point, Strike>;

/// Creates one broker in a world at rest; answers what came of it, and the calls that were made of it.
fn play(replicas: usize, strikes: &Strikes) -> (Outcome, std::ops::Range<usize>) {
    play_in(setting(replicas), strikes, &[])
}

fn setting(replicas: usize) -> Setting {
    Setting { elects: replicas > 1, replicas, ..Setting::SHARED }
}

/// The same in such a world, where the farm has these faults.
fn play_in(setting: Setting, strikes: &Strikes, faults: &[Fault]) -> (Outcome, std::ops::Range<usize>) {
    in_runtime(async {
        let mut run = Run::begin(setting, fastrand::Rng::with_seed(7), strikes.clone());
        let spec = json!({"description": "one", "deletionPolicy": "Delete"});
        let planned = Planned { name: NAME.to_owned(), farm: 0, server: format!("{NAME}.corp.test"), spec };
        let mut stage = Stage::new(vec![planned], &run.world);
        run.rest(Duration::from_secs(20)).await;
        for fault in faults {
            run.world.farms[0].fault(fault.clone());
        }
        let first = run.world.network.calls() + 1;
        stage.play(&mut run, &Step::Create(0)).await;
        run.rest(Duration::from_secs(3)).await;
        let last = run.world.network.calls();
        run.rest(Duration::from_secs(22)).await;
        let mut wrong = settle(&mut run).await;
        if wrong.is_empty() {
            wrong = clean(&mut run).await;
        }
        (run.end(wrong), first..last + 1)
    })
}

/// The calls of an undisturbed creation, and its trace.
fn undisturbed(replicas: usize) -> (std::ops::Range<usize>, Vec<String>) {
    let (outcome, calls) = play(replicas, &Strikes::new());
    assert!(outcome.wrong.is_empty(), "undisturbed: {:?}", outcome.wrong);
    (calls, outcome.lines)
}

fn points(calls: std::ops::Range<usize>) -> Vec<Point> {
    calls.flat_map(|call| Moment::ALL.map(|moment| (call, moment))).collect()
}

fn sweep(jobs: &[(usize, Strikes)]) {
    let failures = Mutex::new(Vec::new());
    in_parallel(jobs, |(replicas, strikes)| {
        let (outcome, _) = play(*replicas, strikes);
        let is_well = outcome.wrong.is_empty();
        if !is_well {
            let lines = if std::env::var("RAS_OPERATOR_TRACE").is_ok() {
                outcome.lines.join("\n")
            } else {
                String::new()
            };
            let wrong = outcome.wrong.join("\n  ");
            failures.lock().push(format!("{lines}\n{replicas} replicas with {strikes:?}:\n  {wrong}"));
        }
        is_well
    });
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{} of {} runs failed:{}", failures.len(), jobs.len(), failures.join(""));
}

#[test]
fn deleted_at_any_moment_of_its_creation_it_leaves_no_row() {
    let jobs: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|replicas| {
            let points = points(undisturbed(replicas).0);
            points.into_iter().map(move |point| (replicas, [(point, Strike::Delete(NAME))].into()))
        })
        .collect();
    println!("{} deletions", jobs.len());
    sweep(&jobs);
}

/// Longer than a Lease: whoever wakes up may not be the leader any more.
#[test]
fn asleep_at_any_moment_of_its_creation_nothing_is_written_without_the_lease() {
    let points = points(undisturbed(2).0);
    let jobs: Vec<_> = [SLEEP, FREEZE]
        .into_iter()
        .flat_map(|strike| points.iter().map(move |point| (2, [(*point, strike)].into())))
        .collect();
    println!("{} times asleep", jobs.len());
    sweep(&jobs);
}

#[test]
fn deleted_and_killed_at_any_moments_of_its_creation_it_leaves_no_row() {
    let mut jobs: Vec<(usize, Strikes)> = Vec::new();
    for replicas in [1, 2] {
        let points = points(undisturbed(replicas).0);
        for deletion in &points {
            for crash in points.iter().filter(|crash| *crash != deletion) {
                jobs.push((replicas, [(*deletion, Strike::Delete(NAME)), (*crash, Strike::Crash)].into()));
            }
        }
    }
    let all = jobs.len();
    if !is_full() {
        fastrand::Rng::with_seed(number("RAS_OPERATOR_SEED_BASE").unwrap_or(1)).shuffle(&mut jobs);
        jobs.truncate(CRASHES);
    }
    println!("{} of {all} deletions with a crash", jobs.len());
    sweep(&jobs);
}

/// From the moment in which the finalizer stands the API server may take the object away under it.
fn past_the_finalizer(strike: Strike) {
    let (calls, lines) = undisturbed(1);
    let intent = (call_with(&lines, "PATCH namespaces/farms/rasbrokers/new").unwrap(), Moment::AfterCommit);
    let points = points(calls).into_iter().filter(|point| *point >= intent);
    let jobs: Vec<_> = points.map(|point| (1, [(point, strike)].into())).collect();
    println!("{} times {strike:?}", jobs.len());
    sweep(&jobs);
}

#[test]
fn swept_away_past_its_finalizer_at_any_moment_it_leaves_no_row() {
    past_the_finalizer(Strike::SweepAway(NAME));
}

/// Another object under the name of one that went owns nothing of it.
#[test]
fn replaced_past_its_finalizer_at_any_moment_it_leaves_the_next_one_nothing() {
    past_the_finalizer(Strike::Replace(NAME));
}

/// The row that was just made for an object that has gone is deleted at once; a deletion that fails is tried again.
#[test]
fn swept_away_and_its_deletion_refused_or_lost_at_first_it_leaves_no_row() {
    let (_, lines) = undisturbed(1);
    let creation = call_with(&lines, "POST /api/Broker?").unwrap();
    let faults = [
        Fault::status(503),
        Fault::status(409).times(3),
        Fault::new(Effect::Reset),
        Fault::new(Effect::Reset).after_commit(),
        Fault::new(Effect::Hang),
        Fault::new(Effect::Hang).after_commit(),
        Fault::new(Effect::Unauthorized),
    ];
    for fault in faults {
        let fault = fault.on("DELETE", "/api/Broker/{id}");
        let strikes = [((creation, Moment::AfterCommit), Strike::SweepAway(NAME))].into();
        let (outcome, _) = play_in(setting(1), &strikes, std::slice::from_ref(&fault));
        assert!(outcome.wrong.is_empty(), "{fault:?}: {:?}\n{}", outcome.wrong, outcome.lines.join("\n"));
        let sent = outcome.lines.iter().filter(|line| line.contains("DELETE /api/Broker/")).count();
        let least = if fault.when == When::AfterCommit { 1 } else { 2 };
        assert!(sent >= least, "{fault:?} was not met: {}", outcome.lines.join("\n"));
    }
}

/// An answer alone is no end: the list and the read by id decide. However often it is sent, it is one deletion.
#[test]
fn a_deletion_that_was_answered_and_not_done_is_sent_again_until_the_row_is_gone() {
    let fault = Fault::status(204).times(2).on("DELETE", "/api/Broker/{id}");
    let (_, lines) = undisturbed(1);
    let applied = (call_with(&lines, "POST /api/Settings/apply").unwrap(), Moment::AfterAnswer);
    let strikes = [(applied, Strike::Delete(NAME))].into();
    let (outcome, _) = play_in(Setting { threshold: 1, ..setting(1) }, &strikes, &[fault]);
    assert!(outcome.wrong.is_empty(), "{:?}\n{}", outcome.wrong, outcome.lines.join("\n"));
    let sent = outcome.lines.iter().filter(|line| line.contains("DELETE /api/Broker/")).count();
    assert_eq!(sent, 3, "{}", outcome.lines.join("\n"));
    let held = outcome.lines.iter().find(|line| line.contains("deletionProtection"));
    assert_eq!(held, None, "it was counted twice");
}

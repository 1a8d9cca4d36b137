//! Runs by seed: some hundreds in each test run, as many as one likes by hand.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cluster::rebuild;
use crate::fate;
use crate::log;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::settling::{clean, settle};
use crate::step::Stage;

/// Seeds of a usual test run.
const USUAL: u64 = 300;
/// One seed in so many is played under kube's own controllers as well.
const WITH_KUBES_CONTROLLERS: usize = 5;
/// Of one seed in so many the log is searched for secrets.
const WITH_LOG: u64 = 10;
/// How often a long run says how far it is.
const BETWEEN_WORDS: Duration = Duration::from_mins(1);

/// What came of a run.
pub struct Outcome {
    pub wrong: Vec<String>,
    pub lines: Vec<String>,
    pub hash: u64,
    pub faults: BTreeMap<String, u64>,
    pub calls: usize,
}

/// Plays the scenario of a seed.
pub fn play(seed: u64) -> Outcome {
    let _log = seed.is_multiple_of(WITH_LOG).then(log::keep);
    let mut random = fastrand::Rng::with_seed(seed);
    let scenario = Scenario::of(&mut random);
    play_out(scenario, random)
}

/// The same with kube's controllers, in whatever order these do things.
fn play_with_kubes_controllers(seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scenario = Scenario::of(&mut random);
    scenario.setting.runs_kubes_controllers = true;
    play_out(scenario, random)
}

fn play_out(scenario: Scenario, random: fastrand::Rng) -> Outcome {
    in_runtime(async move {
        let mut run = Run::begin(scenario.setting, random, BTreeMap::new());
        let mut stage = Stage::new(scenario.brokers, &run.world);
        for (pause, step) in &scenario.script {
            run.rest(*pause).await;
            stage.play(&mut run, step).await;
        }
        run.rest(Duration::from_secs(5)).await;
        stage.calm(&run);
        let mut wrong = rebuild(&mut run, &mut stage).await;
        if wrong.is_empty() {
            wrong = settle(&mut run).await;
        }
        if wrong.is_empty() {
            wrong = clean(&mut run).await;
        }
        run.end(wrong)
    })
}

/// Runs a future in virtual time, which passes only when nothing else can be done.
pub fn in_runtime<T>(run: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(run)
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Whether everything is to be explored that can be.
pub fn is_full() -> bool {
    std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full")
}

/// Does all jobs, on as many threads as there are cores, and says now and then how many are done. Each says whether all
/// was well; where one counterexample is enough, none is begun after it.
pub fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(&T) -> bool + Sync) {
    let is_one_enough = std::env::var("RAS_OPERATOR_FAIL_FAST").is_ok();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let told = Mutex::new(Instant::now());
    let tell = || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = told.lock();
        if told.elapsed() > BETWEEN_WORDS {
            println!("  {done} of {}", jobs.len());
            *told = Instant::now();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !work(job) && is_one_enough {
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                    tell();
                }
            });
        }
    });
}

/// The seeds of this test run.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number("RAS_OPERATOR_SEED") {
        return vec![seed];
    }
    let count = number("RAS_OPERATOR_SEEDS").unwrap_or_else(|| if is_full() { 2_000 } else { USUAL });
    let base = number("RAS_OPERATOR_SEED_BASE").unwrap_or(1);
    (base..base + count).collect()
}

/// Every accident that a run may have: a usual number of seeds has each of them.
fn missing(faults: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let steps = "Create Twin Edit Promote Delete Recreate ForceOrphan Strip ForgeId LoseStatus Backup Restore FarmSpec \
                 RotateSecret WrongSecret DeleteSecret PersonAdds PersonEdits PersonDeletes PersonEditsElsewhere \
                 PersonApplies PersonLocks PrimaryMoves Crash Terminate Isolate Sleep WallClock FarmClock Weather \
                 Guid EndSessions CutWatches ExpireWatches CacheLags Hold SweepAway Replace EndNamespace RemoveKind PersonMarks PersonDoubles FarmBackup FarmRestore FarmGone OtherVersion";
    let steps = steps.split_whitespace().filter(|step| !faults.contains_key(&format!("step: {step}")));
    let settings = ["a second cluster", "another reading", "a log that is searched"].iter();
    fate::KINDS
        .iter()
        .chain(settings)
        .copied()
        .filter(|kind| !faults.contains_key(*kind))
        .chain(steps)
        .collect()
}

fn failed(seed: u64, wrong: &[String], lines: &[String]) -> String {
    let wrong = wrong.join("\n  ");
    let lines = if std::env::var("RAS_OPERATOR_SEED").is_ok() { lines.join("\n") } else { String::new() };
    format!("{lines}\nseed {seed} (RAS_OPERATOR_SEED={seed} replays it):\n  {wrong}")
}

#[test]
fn whatever_happens_the_invariants_hold_and_everything_settles() {
    let seeds = seeds();
    let (failures, totals) =
        (Mutex::new(Vec::new()), Mutex::new((BTreeMap::<String, u64>::new(), 0, 0.0_f64)));
    let began = Instant::now();
    in_parallel(&seeds, |seed| {
        let own = Instant::now();
        let mut is_well = false;
        match catch_unwind(AssertUnwindSafe(|| play(*seed))) {
            Ok(outcome) => {
                is_well = outcome.wrong.is_empty();
                if !is_well {
                    failures.lock().push((*seed, failed(*seed, &outcome.wrong, &outcome.lines)));
                }
                let mut totals = totals.lock();
                for (kind, count) in outcome.faults {
                    *totals.0.entry(kind).or_default() += count;
                }
                totals.1 += outcome.calls;
                totals.2 = totals.2.max(own.elapsed().as_secs_f64());
            }
            Err(_panicked) => failures.lock().push((*seed, format!("seed {seed} panicked"))),
        }
        is_well
    });
    let (faults, calls, slowest) = totals.into_inner();
    println!(
        "{} seeds, {calls} calls in {:?}, the slowest took {slowest:.2} s; {faults:#?}",
        seeds.len(),
        began.elapsed()
    );
    let mut failures = failures.into_inner();
    failures.sort();
    let shown: Vec<String> = failures.iter().map(|(_, text)| text.clone()).collect();
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{}", failures.len(), seeds.len(), shown.join("\n"));
    if seeds.len() as u64 >= USUAL {
        assert_eq!(missing(&faults), Vec::<&str>::new(), "accidents that no seed had");
    }
}

/// What a seed does here it does once: kube's controllers do not replay.
#[test]
fn whatever_happens_under_kubes_own_controllers_everything_settles() {
    let seeds: Vec<u64> = seeds().into_iter().rev().step_by(WITH_KUBES_CONTROLLERS).collect();
    let failures = Mutex::new(Vec::new());
    in_parallel(&seeds, |seed| {
        let outcome = play_with_kubes_controllers(*seed);
        let is_well = outcome.wrong.is_empty();
        if !is_well {
            failures.lock().push(failed(*seed, &outcome.wrong, &outcome.lines));
        }
        is_well
    });
    let failures = failures.into_inner();
    println!("{} seeds under kube's own controllers", seeds.len());
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{}",
        failures.len(),
        seeds.len(),
        failures.join("\n")
    );
}

#[test]
fn a_seed_does_the_same_each_time() {
    for seed in [3, 4, 5] {
        let (first, second) = (play(seed), play(seed));
        let differs = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
        let around = differs.map(|at| (&first.lines[at], &second.lines[at]));
        assert_eq!(first.hash, second.hash, "seed {seed} differs at line {differs:?}: {around:?}");
    }
}

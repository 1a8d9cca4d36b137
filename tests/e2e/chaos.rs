//! Random scenarios on the built operator, a real API server behind proxies, and a simulated farm: users and people at
//! the console do things, answers are lost on both sides, replicas are killed and frozen. Then faults stop, and whatever
//! happened, everything comes to what the objects say.
//!
//! `RAS_OPERATOR_SEED=7` plays one scenario, `RAS_OPERATOR_SEED_BASE=1000` those after another number, and
//! `RAS_OPERATOR_EXPLORE=full` a hundred. A seed determines what happens and when, not how the machine keeps up: the same
//! seed may end otherwise on a second run.

mod oracle;
mod record;
mod scenario;
mod stage;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use self::scenario::Scenario;
use self::stage::Stage;

/// They mostly wait, so there may be more than there are cores.
const AT_A_TIME: usize = 12;

/// Scenarios of a usual run, and of a full one.
const USUAL: usize = 24;
const FULL: usize = 100;

/// What came of a scenario.
struct Played {
    restarts: usize,
    takeovers: usize,
    met: usize,
    farm_met: usize,
    posts: usize,
    settled: Duration,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = number("RAS_OPERATOR_SEED") {
        return vec![seed];
    }
    let is_full = std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full");
    let base = number("RAS_OPERATOR_SEED_BASE").unwrap_or_default();
    let count = if is_full { FULL } else { USUAL };
    (base + 1..).take(count).collect()
}

/// Each scenario has a runtime of its own, as each test has; `None` where it failed, which has been said by then.
fn play_alone(seed: u64) -> Option<Played> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(seed))));
    if played.is_err() {
        let Scenario { seed, replicas, steps } = Scenario::of(seed);
        let steps: Vec<String> = steps.iter().map(|(pause, step)| format!("  {pause:?} {step:?}")).collect();
        let steps = steps.join("\n");
        eprintln!(
            "scenario {seed} failed with {replicas} replicas, again with RAS_OPERATOR_SEED={seed}:\n{steps}"
        );
    }
    played.ok()
}

async fn play(seed: u64) -> Played {
    let scenario = Scenario::of(seed);
    let mut stage = Stage::set(&scenario).await;
    match AssertUnwindSafe(on_stage(&mut stage, &scenario)).catch_unwind().await {
        Ok(played) => played,
        Err(panic) => {
            eprintln!("scenario {seed} is told in {:?}", record::keep(&stage, seed));
            resume_unwind(panic)
        }
    }
}

async fn on_stage(stage: &mut Stage, scenario: &Scenario) -> Played {
    for (pause, step) in &scenario.steps {
        tokio::time::sleep(*pause).await;
        stage.play(step).await;
    }
    let (restarts, met) = (stage.restarts, stage.met());
    stage.faults_stop();
    let stopped = Instant::now();
    oracle::settles(stage).await;
    let journal = stage.world.farm().journal();
    Played {
        restarts,
        takeovers: stage.takeovers().await,
        met,
        farm_met: journal.iter().filter(|entry| entry.fault.is_some()).count(),
        posts: journal.iter().filter(|entry| entry.method == "POST" && entry.route == "/api/Broker").count(),
        settled: stopped.elapsed(),
    }
}

#[test]
fn whatever_happens_everything_settles_once_faults_stop() {
    let (began, seeds) = (Instant::now(), seeds());
    let (waiting, well, failed) =
        (Mutex::new(seeds.iter().copied()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(seed) = next(&waiting) {
                    match play_alone(seed) {
                        Some(played) => well.lock().expect("no thread panics").push(played),
                        None => failed.lock().expect("no thread panics").push(seed),
                    }
                }
            });
        }
    });
    let (well, failed) =
        (well.into_inner().expect("no thread panics"), failed.into_inner().expect("no thread panics"));
    let sum = |count: fn(&Played) -> usize| well.iter().map(count).sum::<usize>();
    // Not by `println`, which is shown of a test that fails only.
    let closing = format!(
        "black box: {} of {} scenarios settled (seeds {} to {}), {} restarts, {} times another replica \
         took over, {} faults before the API server and {} on \
         the farm met, {} POSTs; the slowest settled {:.0?} after the last fault; {:.0?} in all",
        well.len(),
        seeds.len(),
        seeds.first().expect("a seed"),
        seeds.last().expect("a seed"),
        sum(|played| played.restarts),
        sum(|played| played.takeovers),
        sum(|played| played.met),
        sum(|played| played.farm_met),
        sum(|played| played.posts),
        well.iter().map(|played| played.settled).max().unwrap_or_default(),
        began.elapsed(),
    );
    writeln!(std::io::stderr(), "{closing}").expect("a line on stderr");
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
    // One alone may have none of them.
    let had: [fn(&Played) -> usize; 5] = [
        |played| played.restarts,
        |played| played.takeovers,
        |played| played.met,
        |played| played.farm_met,
        |played| played.posts,
    ];
    assert!(seeds.len() < USUAL || had.into_iter().all(|count| sum(count) > 0), "{closing}");
}

fn next(waiting: &Mutex<impl Iterator<Item = u64>>) -> Option<u64> {
    waiting.lock().expect("no thread panics").next()
}

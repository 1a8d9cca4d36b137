//! Each workflow, once for each moment of each of its calls: there the process is killed, or the machine sleeps for
//! longer than a quarantine and a Lease last, and what is on its way arrives before it wakes up or afterwards. The
//! invariants are those of the seeds, and each ends as it should.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use ras_operator::simulator::{CreateTwin, Switch};
use serde_json::{Value, json};

use crate::log;
use crate::network::{Moment, Network, Point, Strike};
use crate::objects::{is_true, summary, words};
use crate::run::Run;
use crate::seeds::{Outcome, in_parallel, in_runtime, is_full};
use crate::settling::{clean, settle};
use crate::step::{Planned, Stage, Step};
use crate::trace::call_with;
use crate::world::Setting;

/// Longer than a quarantine (17 s here) and a Lease.
const LONG: Duration = Duration::from_mins(1);
pub const SLEEP: Strike = Strike::Sleep(LONG);
pub const FREEZE: Strike = Strike::Freeze(LONG);
/// Which two strikes may befall one run.
const TWICE: [[Strike; 2]; 7] = [
    [Strike::Crash, Strike::Crash],
    [SLEEP, SLEEP],
    [FREEZE, FREEZE],
    [Strike::Crash, SLEEP],
    [Strike::Crash, FREEZE],
    [SLEEP, Strike::Crash],
    [FREEZE, Strike::Crash],
];
/// How many runs are played: in full, and else.
type Most = [usize; 2];

/// Pairs of them.
const PAIRS: Most = [usize::MAX, 160];
/// Pairs of which one is somebody who tampers.
const TAMPERED_PAIRS: Most = [2_000, 60];
/// Those whose second strike meets what only a run that was struck does.
const RECOVERIES: Most = [2_000, 100];
/// Runs that somebody tampers with.
const TAMPERINGS: Most = [usize::MAX, 300];
/// Runs in which the API server is restored.
const RESTORES: Most = [usize::MAX, 150];
/// More readings of the clock than there are between an answer and the call that follows.
const READINGS: usize = 6;

/// Something that users or persons want done, from a world at rest to a world at rest.
struct Workflow {
    name: &'static str,
    setting: Setting,
    /// The object that it is about.
    object: &'static str,
    before: Vec<Step>,
    steps: Vec<Step>,
    end: End,
}

/// What a workflow leads to, whenever its process is killed or its machine sleeps.
#[derive(Clone, Copy)]
enum End {
    /// All objects are ready.
    Ready,
    /// One of two is, and the other waits for it.
    OneReady,
    Gone,
}

impl End {
    fn is_reached(self, objects: &[Value]) -> bool {
        let ready = objects.iter().filter(|object| is_true(object, "Ready")).count();
        match self {
            Self::Ready => !objects.is_empty() && ready == objects.len(),
            Self::OneReady => objects.len() == 2 && ready == 1,
            Self::Gone => objects.is_empty(),
        }
    }
}

fn planned(server: &str, spec: Value) -> Planned {
    let name = server.split('.').next().unwrap_or_default().to_owned();
    Planned { name, farm: 0, server: server.to_owned(), spec }
}

/// 0 is to be created, 1 is to be adopted; 2 is the second broker of the farm, which has an endpoint of its own; 3 is to
/// come first; on the server of 4 an agent is installed.
fn brokers() -> Vec<Planned> {
    vec![
        planned("new.corp.test", json!({"description": "one", "deletionPolicy": "Delete"})),
        planned("old-0.corp.test", json!({"adoptionPolicy": "Required", "enabled": true})),
        planned("second.farm-0.test", json!({"adoptionPolicy": "Required"})),
        planned("first.corp.test", json!({"deletionPolicy": "Delete"})),
        planned("pushed.corp.test", json!({"install": {"agent": true}, "deletionPolicy": "Delete"})),
    ]
}

fn workflows() -> Vec<Workflow> {
    let made = || vec![Step::Create(0)];
    let edited =
        ras_operator::simulator::Edit { description: Some("by hand".to_owned()), ..Default::default() };
    // Nothing but the protocol keeps a second row from such a farm.
    let mut readings = Setting::SHARED.readings;
    readings[0] = Some(Switch::CreateTwin(CreateTwin::SecondRow));
    let takes_twins = Setting { readings, ..Setting::SHARED };
    let on = |setting: Setting, name: &'static str, object, before, steps| {
        let end = match name {
            "delete" => End::Gone,
            "conflict" => End::OneReady,
            _ => End::Ready,
        };
        Workflow { name, setting, object, before, steps, end }
    };
    let workflow = |name, object, before, steps| on(Setting::SHARED, name, object, before, steps);
    vec![
        workflow("create", "new", vec![], made()),
        workflow("update", "new", made(), vec![Step::Edit(0, json!({"description": "two"}))]),
        workflow("delete", "new", made(), vec![Step::Delete(0)]),
        workflow("adopt", "old-0", vec![], vec![Step::Create(1)]),
        workflow("drift", "new", made(), vec![Step::PersonEdits(0, edited), Step::PersonApplies(0)]),
        workflow(
            "rotation",
            "new",
            made(),
            vec![Step::RotateSecret(0), Step::Edit(0, json!({"description": "two"}))],
        ),
        workflow("conflict", "new", vec![], vec![Step::Create(0), Step::Twin(0, "twin")]),
        workflow("re-create", "new", made(), vec![Step::PersonDeletes(0)]),
        on(takes_twins.clone(), "create where twins are taken", "new", vec![], made()),
        on(takes_twins, "re-create where twins are taken", "new", made(), vec![Step::PersonDeletes(0)]),
        workflow("install", "pushed", vec![], vec![Step::Create(4)]),
        workflow(
            "order",
            "new",
            vec![Step::Create(0), Step::Create(3)],
            vec![Step::Edit(0, json!({"priority": 2})), Step::Edit(3, json!({"priority": 1}))],
        ),
        workflow("promote", "second", vec![Step::Create(2)], vec![Step::Promote(2)]),
    ]
}

/// How long each call takes follows from it, and which pairs are tried where not all are.
fn base() -> u64 {
    crate::seeds::number("RAS_OPERATOR_SEED_BASE").unwrap_or(7)
}

/// Runs a workflow with these strikes; answers what came of it, and the points that its steps have.
fn play(workflow: &Workflow, strikes: BTreeMap<Point, Strike>) -> (Outcome, Vec<Point>) {
    let of_process = |strike: &Strike| {
        matches!(strike, Strike::Crash | Strike::Sleep(_) | Strike::Freeze(_) | Strike::Blink(_))
    };
    let is_of_processes = strikes.values().all(of_process);
    let is_restored = strikes.values().any(|strike| matches!(strike, Strike::Restore | Strike::RestoreAll));
    let is_all_restored = strikes.values().any(|strike| *strike == Strike::RestoreAll);
    in_runtime(async {
        let mut run = Run::begin(workflow.setting.clone(), fastrand::Rng::with_seed(base()), strikes);
        let mut stage = Stage::new(brokers(), &run.world);
        for step in &workflow.before {
            stage.play(&mut run, step).await;
        }
        run.rest(Duration::from_secs(20)).await;
        stage.play(&mut run, &Step::Backup).await;
        let first = run.world.network.calls() + 1;
        for step in &workflow.steps {
            stage.play(&mut run, step).await;
        }
        run.rest(Duration::from_secs(25)).await;
        let points =
            (first..=run.world.network.calls()).flat_map(|call| moments(&run.world.network, call)).collect();
        if is_restored {
            // So is the Secret, perhaps to a password of before.
            stage.play(&mut run, &Step::RotateSecret(0)).await;
        }
        if is_all_restored {
            // What was written and not applied nobody knows of any more but a person.
            for (place, farm) in run.world.farms.iter().enumerate() {
                farm.apply_as_person("console");
                run.world.look(place);
            }
        }
        let mut wrong = settle(&mut run).await;
        let objects = run.world.brokers();
        if is_of_processes && !workflow.end.is_reached(&objects) {
            let shown = objects.iter().map(|object| format!("{}: {}", summary(object), words(object)));
            wrong.push(format!("it ends otherwise: {}", shown.collect::<Vec<_>>().join("; ")));
        }
        if wrong.is_empty() {
            wrong = clean(&mut run).await;
        }
        (run.end(wrong), points)
    })
}

/// Where a call can be struck. Before a read is answered nobody has learnt or changed anything since the call before.
fn moments(network: &Network, call: usize) -> Vec<Point> {
    let moments = if network.is_command(call) { &Moment::ALL[..] } else { &[Moment::AfterAnswer] };
    moments.iter().map(|moment| (call, *moment)).collect()
}

/// One run to play: which workflow, and what befalls it.
type Job = (usize, BTreeMap<Point, Strike>);

fn points(workflows: &[Workflow]) -> Vec<Vec<Point>> {
    let of = |workflow: &Workflow| {
        let (outcome, points) = play(workflow, BTreeMap::new());
        assert!(outcome.wrong.is_empty(), "{}, undisturbed: {:?}", workflow.name, outcome.wrong);
        points
    };
    workflows.iter().map(of).collect()
}

/// Whether the log of such a run is searched for secrets: a tenth of those with one strike, which comes anywhere.
fn is_searched(strikes: &BTreeMap<Point, Strike>) -> bool {
    strikes.len() == 1 && strikes.keys().all(|(call, _)| call.is_multiple_of(10))
}

fn sweep(workflows: &[Workflow], jobs: &[Job]) {
    let failures = Mutex::new(Vec::new());
    in_parallel(jobs, |(workflow, strikes)| {
        let workflow = &workflows[*workflow];
        let _log = is_searched(strikes).then(log::keep);
        let (outcome, _) = play(workflow, strikes.clone());
        let is_well = outcome.wrong.is_empty();
        if !is_well {
            let lines = if std::env::var("RAS_OPERATOR_TRACE").is_ok() {
                outcome.lines.join("\n")
            } else {
                String::new()
            };
            failures.lock().push(format!(
                "{lines}\n{} with {strikes:?}:\n  {}",
                workflow.name,
                outcome.wrong.join("\n  ")
            ));
        }
        is_well
    });
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{} of {} runs failed:{}", failures.len(), jobs.len(), failures.join(""));
}

#[test]
fn killed_or_asleep_at_any_moment_of_a_workflow_it_ends_as_it_should() {
    let workflows = workflows();
    let jobs = once_each(&workflows, |_| vec![Strike::Crash, SLEEP, FREEZE], [usize::MAX; 2]);
    println!("{} runs with one strike each", jobs.len());
    sweep(&workflows, &jobs);
}

/// Without a crash: the process knows what it has done.
#[test]
fn tampered_with_at_any_moment_of_a_workflow_its_object_ends_as_it_should() {
    let workflows = workflows();
    let of = |name| [Strike::Strip(name), Strike::ForgeId(name), Strike::LoseStatus(name)].to_vec();
    let jobs = once_each(&workflows, of, TAMPERINGS);
    println!("{} runs in which somebody tampers", jobs.len());
    sweep(&workflows, &jobs);
}

/// To what it was before the workflow began; alone, or together with the process, as where all of a cluster is.
#[test]
fn restored_at_any_moment_of_a_workflow_it_ends_as_it_should() {
    let workflows = workflows();
    let jobs = once_each(&workflows, |_| vec![Strike::Restore, Strike::RestoreAll], RESTORES);
    println!("{} runs in which the API server is restored", jobs.len());
    sweep(&workflows, &jobs);
}

/// Every moment of every workflow with each of these strikes, which may be about its object; so many of them where not
/// all are played.
fn once_each(workflows: &[Workflow], strikes: fn(&'static str) -> Vec<Strike>, most: Most) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (workflow, points) in points(workflows).iter().enumerate() {
        for point in points {
            let strikes = strikes(workflows[workflow].object);
            jobs.extend(strikes.into_iter().map(|strike| (workflow, [(*point, strike)].into())));
        }
    }
    fastrand::Rng::with_seed(base()).shuffle(&mut jobs);
    jobs.truncate(most[usize::from(!is_full())]);
    jobs
}

#[test]
fn killed_or_asleep_twice_at_any_moments_of_a_workflow_it_ends_as_it_should() {
    let workflows = workflows();
    let jobs = twice_each(&workflows, |_| TWICE.to_vec(), PAIRS);
    sweep(&workflows, &jobs);
}

/// What is stripped, together with a crash, nobody can know any more.
#[test]
fn tampered_with_and_killed_at_any_moments_of_a_workflow_its_object_ends_as_it_should() {
    let workflows = workflows();
    let of = |name| {
        let tampered = [Strike::ForgeId(name), Strike::LoseStatus(name)];
        tampered.into_iter().flat_map(|strike| [[strike, Strike::Crash], [Strike::Crash, strike]]).collect()
    };
    let jobs = twice_each(&workflows, of, TAMPERED_PAIRS);
    sweep(&workflows, &jobs);
}

/// Any two moments of every workflow with each of these strikes; so many of them where not all are played. What comes after
/// the first strike is another run: its calls count on from there.
fn twice_each(workflows: &[Workflow], strikes: fn(&'static str) -> Vec<[Strike; 2]>, most: Most) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (workflow, points) in points(workflows).iter().enumerate() {
        // Those of usual farms are as many as there is time for.
        if workflows[workflow].setting.readings != Setting::SHARED.readings {
            continue;
        }
        let strikes = strikes(workflows[workflow].object);
        for (index, first) in points.iter().enumerate() {
            let later = points[index + 1..].iter().filter(|later| later.0 > first.0);
            let pair =
                |second: &Point, [one, two]: [Strike; 2]| BTreeMap::from([(*first, one), (*second, two)]);
            let pairs = later.flat_map(|second| strikes.iter().map(move |strikes| pair(second, *strikes)));
            jobs.extend(pairs.map(|pair| (workflow, pair)));
        }
    }
    let (all, base) = (jobs.len(), base());
    fastrand::Rng::with_seed(base).shuffle(&mut jobs);
    jobs.truncate(most[usize::from(!is_full())]);
    println!("{} of {all} pairs of strikes, chosen by RAS_OPERATOR_SEED_BASE={base}", jobs.len());
    jobs
}

/// What a process does that takes over is longer than what the one before it left undone.
#[test]
fn killed_or_asleep_again_in_what_follows_the_first_time_it_ends_as_it_should() {
    let workflows = workflows();
    let points = points(&workflows);
    let mut random = fastrand::Rng::with_seed(base());
    let jobs: Vec<(usize, Point, [Strike; 2], u64)> = (0..RECOVERIES[usize::from(!is_full())])
        .map(|_| {
            let workflow = random.usize(..workflows.len());
            let first = points[workflow][random.usize(..points[workflow].len())];
            (workflow, first, TWICE[random.usize(..TWICE.len())], random.u64(..))
        })
        .collect();
    let second = |(workflow, first, [one, two], draw): &(usize, Point, [Strike; 2], u64)| {
        let last = points[*workflow].last()?.0;
        let (_, mut later) = play(&workflows[*workflow], [(*first, *one)].into());
        later.retain(|point| point.0 > last);
        let index = fastrand::Rng::with_seed(*draw).usize(..later.len().max(1));
        Some((*workflow, [(*first, *one), (*later.get(index)?, *two)].into()))
    };
    let found = Mutex::new(BTreeMap::new());
    let numbered: Vec<_> = jobs.iter().enumerate().collect();
    in_parallel(&numbered, |(number, job)| {
        found.lock().extend(second(job).map(|job| (*number, job)));
        true
    });
    let struck: Vec<Job> = found.into_inner().into_values().collect();
    println!("{} of {} second strikes meet what the first one led to", struck.len(), jobs.len());
    assert!(struck.len() * 2 > jobs.len());
    sweep(&workflows, &struck);
}

/// Asleep between the answer to what was written down and the reading of the clock before the call, it does not call.
/// Asleep after that, the call leaves late: nothing can be done about it.
#[test]
fn what_was_written_down_is_not_sent_where_the_machine_slept_in_between() {
    for (name, sent) in [("create", "POST /api/Broker?"), ("promote", "/promote")] {
        let workflows = workflows();
        let workflow = workflows.iter().find(|workflow| workflow.name == name).unwrap();
        let (undisturbed, _) = play(workflow, BTreeMap::new());
        let call = call_with(&undisturbed.lines, sent).unwrap();
        // Right before it the farm may be read, by others.
        let is_write = |call: &usize| call_with(&undisturbed.lines, &format!("#{call} api: PATCH")).is_some();
        let written = (1..call).rev().find(is_write).unwrap();
        let is_unsent = |readings: &usize| {
            let strike = ((written, Moment::AfterAnswer), Strike::Blink(*readings));
            let (outcome, _) = play(workflow, [strike].into());
            assert!(outcome.wrong.is_empty(), "{name}, {readings}: {:?}", outcome.wrong);
            call_with(&outcome.lines, sent) != Some(call)
        };
        let unsent: Vec<usize> = (0..READINGS).filter(is_unsent).collect();
        assert!(!unsent.is_empty(), "{name} is sent however late\n{}", undisturbed.lines.join("\n"));
        println!("{name}: not sent where the machine slept before reading {unsent:?}");
    }
}

#[test]
fn a_workflow_does_the_same_each_time() {
    for workflow in workflows() {
        let [(first, _), (second, _)] = [(), ()].map(|()| play(&workflow, BTreeMap::new()));
        let differs = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
        let around = differs.map(|at| (&first.lines[at], &second.lines[at]));
        assert_eq!(first.hash, second.hash, "{} differs at line {differs:?}: {around:?}", workflow.name);
    }
}

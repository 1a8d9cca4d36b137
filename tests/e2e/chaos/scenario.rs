//! What happens in a scenario, as a value that its seed determines.

use std::time::Duration;

use ras_operator::simulator::{self, Effect};

use crate::support::fault_proxy::{Fault, Rule};
use crate::support::random::Random;

/// The objects that users make. Two of them mean one server.
pub(super) const NAMES: [&str; 4] = ["cb1", "cb2", "cb3", "twin"];

/// A scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) replicas: usize,
    /// Each with the pause before it.
    pub(super) steps: Vec<(Duration, Step)>,
}

/// One thing that somebody does, or that goes wrong.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A user applies an object with this description and switch.
    Apply {
        name: &'static str,
        description: usize,
        enabled: bool,
    },
    /// A user deletes an object.
    Delete(&'static str),
    /// A person adds a broker for the server of this object.
    Add(&'static str),
    /// A person removes the broker of this object.
    Remove(&'static str),
    /// A person changes the broker of this object.
    Edit(&'static str),
    /// A status is lost, as in a restored backup.
    LoseStatus(&'static str),
    /// The farm plays a fault.
    Farm(simulator::Fault),
    /// The farm ends all sessions.
    EndSessions,
    /// The farm takes connections, or not.
    Reachable(bool),
    /// The API server plays a fault for a replica.
    Cluster(usize, Rule),
    CutWatches(usize),
    ExpireWatches(usize),
    HoldWatch(usize, &'static str),
    ReleaseWatches(usize),
    RepeatEvents(usize),
    /// A replica is killed, and started anew.
    Kill(usize),
    Freeze(usize),
    Thaw(usize),
}

impl Scenario {
    /// The scenario of this seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Random::new(seed);
        let replicas = if dice.chance(35) { 2 } else { 1 };
        let mut steps = Vec::new();
        // There is always something to lose.
        for name in NAMES.into_iter().take(2) {
            steps.push((dice.millis(0, 300), apply(&mut dice, name)));
        }
        let rounds = dice.below(8) + 12;
        for round in 0..rounds {
            if replicas == 2 && round == rounds / 2 {
                steps.extend(outlasted(&mut dice));
            }
            let pause = dice.millis(30, 900);
            let replica = usize::from(replicas == 2 && dice.chance(50));
            for step in draw(&mut dice, replica) {
                steps.push((pause, step));
            }
        }
        Self { seed, replicas, steps }
    }
}

/// One replica stands still for longer than its Lease is good for, and than a quarantine, while the other meets more.
fn outlasted(dice: &mut Random) -> Vec<(Duration, Step)> {
    let replica = dice.below(2);
    let mut steps = vec![(dice.millis(30, 900), Step::Freeze(replica))];
    for _ in 0..9 {
        let pause = dice.millis(2_000, 2_500);
        steps.extend(draw(dice, 1 - replica).into_iter().map(|step| (pause, step)));
    }
    steps.push((Duration::ZERO, Step::Thaw(replica)));
    steps
}

fn apply(dice: &mut Random, name: &'static str) -> Step {
    Step::Apply { name, description: dice.below(5), enabled: dice.chance(80) }
}

fn draw(dice: &mut Random, replica: usize) -> Vec<Step> {
    let name = dice.of(&NAMES);
    match dice.below(100) {
        0..22 => vec![apply(dice, name)],
        22..30 => vec![Step::Delete(name)],
        30..33 => vec![Step::Add(name)],
        33..37 => vec![Step::Remove(name)],
        37..41 => vec![Step::Edit(name)],
        41..43 => vec![Step::LoseStatus(name)],
        43..63 => vec![Step::Farm(farm_fault(dice))],
        63..65 => vec![Step::EndSessions],
        65..67 => vec![Step::Reachable(false), Step::Reachable(true)],
        67..83 => vec![Step::Cluster(replica, rule(dice, name))],
        83..85 => vec![Step::CutWatches(replica)],
        85..87 => vec![Step::ExpireWatches(replica)],
        87..90 => {
            let held = dice.of(&["rasbrokers", "rasfarms"]);
            vec![Step::HoldWatch(replica, held), apply(dice, name), Step::ReleaseWatches(replica)]
        }
        90..91 => vec![Step::RepeatEvents(replica)],
        91..95 => vec![Step::Kill(replica)],
        _ => vec![Step::Freeze(replica), apply(dice, name), Step::Thaw(replica)],
    }
}

/// Not among them are a logon that is refused, since two of these are all that is tried in a quarter of an hour, and a
/// refusal of what was done all the same.
fn farm_fault(dice: &mut Random) -> simulator::Fault {
    let logon = ("POST", "/api/Session/logon");
    let (method, route) = dice.of(&[
        ("POST", "/api/Broker"),
        ("POST", "/api/Broker"),
        ("POST", "/api/Broker"),
        ("PUT", "/api/Broker/{id}"),
        ("DELETE", "/api/Broker/{id}"),
        ("GET", "/api/Broker/{id}"),
        ("GET", "/api/Broker"),
        ("GET", "/api/Agent"),
        ("POST", "/api/Settings/apply"),
        logon,
    ]);
    let after = dice.chance(50);
    let fault = match dice.below(10) {
        0 | 1 => simulator::Fault::new(Effect::Reset),
        2 => simulator::Fault::new(Effect::Hang),
        3 => simulator::Fault::new(Effect::Garbage),
        4 => simulator::Fault::new(Effect::Truncate),
        5 | 6 => {
            let pause = dice.millis(200, 9_000).as_millis();
            simulator::Fault::new(Effect::Delay { millis: u64::try_from(pause).expect("a short pause") })
        }
        7 if (method, route) != logon && !after => simulator::Fault::new(Effect::Unauthorized),
        _ => simulator::Fault::status(dice.of(if after { &[500, 503] } else { &[503, 429] })),
    };
    let fault = if after { fault.after_commit() } else { fault };
    fault.on(method, route).times(if dice.chance(30) { 2 } else { 1 })
}

fn rule(dice: &mut Random, name: &str) -> Rule {
    let fault = match dice.below(10) {
        0..3 => Fault::Lost,
        3 => Fault::Unsent,
        4 => Fault::Hung,
        5 => Fault::Late(dice.millis(200, 5_000)),
        6 => Fault::Slow(dice.millis(200, 4_000)),
        _ => Fault::Refused(dice.of(&[409, 422, 429, 500, 503, 504, 403, 401])),
    };
    let rule = Rule::new(fault);
    match dice.below(10) {
        0..3 => rule.on("patch", "rasbrokers").of(name),
        3..6 => rule.on("patch", "rasbrokers/status").of(name),
        6 => rule.on("patch", "rasfarms/status"),
        7 => rule.on("get", "secrets"),
        8 => rule.on("create", "events"),
        _ => rule.times(3),
    }
}

//! A scenario out of a seed: which farms and brokers, what happens to them, and when.

use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::Edit;
use serde_json::{Value, json};

use crate::fate::Weather;
use crate::step::{Planned, Step};
use crate::world::Setting;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub setting: Setting,
    pub brokers: Vec<Planned>,
    /// Each after a pause.
    pub script: Vec<(Duration, Step)>,
}

/// Which accidents a scenario may have: what the protocol cannot survive together is not mixed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    /// Processes die, machines sleep.
    Crashes,
    /// People tamper with objects behind the operator's back.
    Tampering,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        // With one process the Lease costs calls and shows little.
        let replicas = if random.u8(..4) == 0 { 2 } else { 1 };
        let setting = Setting {
            farms: if random.u8(..4) == 0 { 2 } else { 1 },
            period: Duration::from_secs(random.u64(10..=30)),
            timeout: Duration::from_secs(random.u64(2..=5)),
            mode: if random.u8(..3) == 0 { "Auto" } else { "Guarded" },
            old: 2,
            threshold: random.u64(0..4),
            elects: replicas > 1,
            replicas,
        };
        let theme = if random.u8(..3) == 0 && !setting.elects { Theme::Tampering } else { Theme::Crashes };
        let brokers: Vec<Planned> =
            (0..random.usize(1..=6)).map(|number| planned(number, &setting, random)).collect();
        let mut script = Vec::new();
        for number in 0..brokers.len() {
            script.push((pause(random), Step::Create(number)));
            if random.u8(..3) == 0 {
                script.push((pause(random), step(theme, &setting, brokers.len(), random)));
            }
        }
        for _ in 0..random.usize(3..14) {
            script.push((pause(random), step(theme, &setting, brokers.len(), random)));
        }
        // Once more, for those whose name was not free yet.
        script.push((Duration::from_secs(20), Step::Create(0)));
        Self { setting, brokers, script }
    }
}

fn planned(number: usize, setting: &Setting, random: &mut fastrand::Rng) -> Planned {
    let is_old = random.u8(..4) == 0;
    let server = if is_old {
        format!("old-{}.corp.test", random.usize(..setting.old))
    } else {
        format!("b{number}.corp.test")
    };
    let mut spec = json!({});
    for _ in 0..random.u8(..3) {
        let (name, value) = field(random);
        spec[name] = value;
    }
    match random.u8(..8) {
        0 => spec["adoptionPolicy"] = "Required".into(),
        1..=3 => spec["adoptionPolicy"] = "IfExists".into(),
        _ => {}
    }
    match random.u8(..8) {
        0 => spec["deletionPolicy"] = "Orphan".into(),
        1 | 2 => spec["deletionPolicy"] = "Delete".into(),
        _ => {}
    }
    if random.u8(..10) == 0 {
        spec["managementPolicy"] = "ObserveOnly".into();
    }
    Planned { name: format!("b{number}"), farm: random.usize(..setting.farms), server, spec }
}

fn field(random: &mut fastrand::Rng) -> (&'static str, Value) {
    match random.u8(..6) {
        0 => ("enabled", random.bool().into()),
        1 => ("standby", random.bool().into()),
        2 => ("ip", format!("10.0.0.{}", random.u8(1..9)).into()),
        3 => ("alternativeIPs", json!([format!("10.1.0.{}", random.u8(1..9)), "10.1.1.1"])),
        _ => ("description", format!("text {}", random.u8(..9)).into()),
    }
}

/// From "at the same time" to "after everything has settled".
fn pause(random: &mut fastrand::Rng) -> Duration {
    let longest = [1, 100, 1_000, 5_000, 40_000][random.usize(..5)];
    Duration::from_millis(random.u64(..=longest))
}

fn step(theme: Theme, setting: &Setting, brokers: usize, random: &mut fastrand::Rng) -> Step {
    match random.u8(..10) {
        0..=3 => of_user(setting, brokers, random),
        4 | 5 => of_person(setting, brokers, random),
        6 | 7 => weather(setting, random),
        8 => of_world(setting, random),
        _ if theme == Theme::Crashes => match random.u8(..if setting.elects { 8 } else { 6 }) {
            0 => Step::Terminate,
            6 | 7 => Step::Isolate(random.u8(..3) > 0),
            1 | 2 => Step::Sleep(Duration::from_secs(random.u64(3..120))),
            _ => Step::Crash,
        },
        _ => {
            let broker = random.usize(..brokers);
            match random.u8(..6) {
                0 | 1 => Step::Strip(broker),
                2 => Step::ForgeId(broker),
                3 => Step::LoseStatus(broker),
                4 => Step::Backup,
                _ => Step::Restore,
            }
        }
    }
}

fn of_user(setting: &Setting, brokers: usize, random: &mut fastrand::Rng) -> Step {
    let broker = random.usize(..brokers);
    let farm = random.usize(..setting.farms);
    match random.u8(..16) {
        0..=4 => {
            let (name, value) = field(random);
            Step::Edit(broker, json!({name: value}))
        }
        5 | 6 => Step::Delete(broker),
        7 => Step::Recreate(broker),
        8 => Step::Twin(broker, ["twin-a", "twin-b"][random.usize(..2)]),
        9 => Step::ForceOrphan(broker),
        10 => Step::Edit(broker, json!({"suspend": random.bool()})),
        11 => {
            let policy = if random.bool() { "ObserveOnly" } else { "Managed" };
            Step::Edit(broker, json!({"managementPolicy": policy}))
        }
        12 => Step::Edit(broker, json!({"deletionPolicy": if random.bool() { "Orphan" } else { "Delete" }})),
        13 => match random.u8(..3) {
            0 => Step::RotateSecret(farm),
            1 => Step::WrongSecret(farm),
            _ => Step::DeleteSecret(farm),
        },
        14 => Step::FarmSpec(farm, json!({"spec": {"suspend": random.bool()}})),
        _ => Step::Create(broker),
    }
}

fn of_person(setting: &Setting, brokers: usize, random: &mut fastrand::Rng) -> Step {
    let broker = random.usize(..brokers);
    let farm = random.usize(..setting.farms);
    match random.u8(..9) {
        0 => Step::PersonAdds(broker),
        1 | 2 => {
            let edit = match random.u8(..3) {
                0 => Edit { enabled: Some(random.bool()), ..Edit::default() },
                1 => Edit { standby: Some(random.bool()), ..Edit::default() },
                _ => Edit { description: Some("by hand".to_owned()), ..Edit::default() },
            };
            Step::PersonEdits(broker, edit)
        }
        3 | 4 => Step::PersonDeletes(broker),
        5 => Step::PersonEditsElsewhere(farm),
        6 => Step::PersonApplies(farm),
        7 => Step::PersonLocks(broker),
        _ => Step::PrimaryMoves(farm),
    }
}

fn weather(setting: &Setting, random: &mut fastrand::Rng) -> Step {
    let fair = Weather { timeout: setting.timeout, ..Weather::default() };
    let mut often = || [0, 30, 100, 300][random.usize(..4)];
    let stormy = Weather { kubernetes: often(), farm: often(), watch: often(), slow: often(), ..fair };
    Step::Weather(match random.u8(..8) {
        0 => Weather { unreachable: true, ..fair },
        1 => Weather { forbidden: true, ..fair },
        2 => fair,
        _ => stormy,
    })
}

fn of_world(setting: &Setting, random: &mut fastrand::Rng) -> Step {
    let farm = random.usize(..setting.farms);
    match random.u8(..6) {
        0 => Step::EndSessions(farm),
        1 => Step::CutWatches,
        2 => Step::ExpireWatches,
        3 => Step::Guid(farm, random.bool()),
        4 => Step::WallClock(SignedDuration::from_secs(random.i64(-4_000..4_000))),
        _ => Step::FarmClock(farm, SignedDuration::from_secs(random.i64(-60..60))),
    }
}

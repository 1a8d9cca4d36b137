//! What may happen in a seed, and how likely each of it is. Half of the seeds have a bit of everything; the others leave
//! some kinds out and turn others up, which leads to states that a uniform mix never reaches (swarm testing).

use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::Edit;
use serde_json::json;

use crate::fate::{Outage, Weather};
use crate::scenario::field;
use crate::step::Step;
use crate::world::Setting;

/// Which seeds have a kind of step: what the protocol cannot survive together is not mixed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Any,
    /// Processes die, machines sleep.
    Crashes,
    /// The same, where there are processes to choose from.
    Elections,
    /// People tamper with objects behind the operator's back.
    Tampering,
}

/// What a step is drawn from.
struct Scene<'a> {
    mix: &'a Mix,
    broker: usize,
    farm: usize,
}

type Draw = fn(&Scene<'_>, &mut fastrand::Rng) -> Step;

/// How often each kind of step is usual, in 565.
const KINDS: [(u32, Theme, Draw); 51] = [
    // Users.
    (60, Theme::Any, |scene, random| {
        let (name, value) = field(random);
        // Two clusters that state an order of one site undo what the other does without an end.
        let is_order = scene.mix.is_shared && name == "priority";
        let (name, value) = if is_order { ("description", "first".into()) } else { (name, value) };
        Step::Edit(scene.broker, json!({name: value}))
    }),
    (24, Theme::Any, |scene, _| Step::Delete(scene.broker)),
    (12, Theme::Any, |scene, _| Step::Recreate(scene.broker)),
    (12, Theme::Any, |scene, random| Step::Twin(scene.broker, ["twin-a", "twin-b"][random.usize(..2)])),
    (12, Theme::Any, |scene, _| Step::ForceOrphan(scene.broker)),
    (8, Theme::Any, |scene, _| Step::Hold(scene.broker)),
    (4, Theme::Any, |scene, _| Step::SweepAway(scene.broker)),
    (4, Theme::Any, |scene, _| Step::Replace(scene.broker)),
    (12, Theme::Any, |scene, random| Step::Edit(scene.broker, json!({"suspend": random.bool()}))),
    (12, Theme::Any, |scene, random| {
        let policy = if random.bool() { "ObserveOnly" } else { "Managed" };
        Step::Edit(scene.broker, json!({"managementPolicy": policy}))
    }),
    (12, Theme::Any, |scene, random| {
        let policy = if random.bool() { "Orphan" } else { "Delete" };
        Step::Edit(scene.broker, json!({"deletionPolicy": policy}))
    }),
    (4, Theme::Any, |scene, _| Step::RotateSecret(scene.farm)),
    (4, Theme::Any, |scene, _| Step::WrongSecret(scene.farm)),
    (4, Theme::Any, |scene, _| Step::DeleteSecret(scene.farm)),
    (12, Theme::Any, |scene, random| Step::FarmSpec(scene.farm, json!({"spec": {"suspend": random.bool()}}))),
    (12, Theme::Any, |scene, _| Step::Create(scene.broker)),
    (6, Theme::Any, |scene, _| Step::Promote(scene.broker)),
    // Persons at the farm.
    (12, Theme::Any, |scene, _| Step::PersonAdds(scene.broker)),
    (7, Theme::Any, |scene, random| {
        Step::PersonEdits(scene.broker, Edit { enabled: Some(random.bool()), ..Edit::default() })
    }),
    (7, Theme::Any, |scene, random| {
        Step::PersonEdits(scene.broker, Edit { standby: Some(random.bool()), ..Edit::default() })
    }),
    (7, Theme::Any, |scene, _| {
        let edit = Edit { description: Some("by hand".to_owned()), ..Edit::default() };
        Step::PersonEdits(scene.broker, edit)
    }),
    (21, Theme::Any, |scene, _| Step::PersonDeletes(scene.broker)),
    (10, Theme::Any, |scene, _| Step::PersonEditsElsewhere(scene.farm)),
    (10, Theme::Any, |scene, _| Step::PersonApplies(scene.farm)),
    (10, Theme::Any, |scene, _| Step::PersonLocks(scene.broker)),
    (10, Theme::Any, |scene, _| Step::PrimaryMoves(scene.farm)),
    (8, Theme::Any, |scene, _| Step::PersonMarks(scene.broker)),
    (6, Theme::Any, |scene, _| Step::PersonDoubles(scene.broker)),
    (10, Theme::Any, |scene, _| Step::FarmBackup(scene.farm)),
    (10, Theme::Any, |scene, _| Step::FarmRestore(scene.farm)),
    (3, Theme::Any, |scene, _| Step::FarmGone(scene.farm)),
    (8, Theme::Any, |scene, _| Step::OtherVersion(scene.broker)),
    // The world.
    (96, Theme::Any, |scene, random| scene.mix.weather(random)),
    (8, Theme::Any, |scene, _| Step::EndSessions(scene.farm)),
    (8, Theme::Any, |_, _| Step::CutWatches),
    (8, Theme::Any, |_, _| Step::ExpireWatches),
    (8, Theme::Any, |_, random| Step::CacheLags(random.u8(..3) > 0)),
    (6, Theme::Any, |_, random| Step::EndNamespace(random.u8(..))),
    (4, Theme::Any, |_, random| Step::RemoveKind(random.usize(..))),
    (8, Theme::Any, |scene, random| Step::Guid(scene.farm, random.bool())),
    (8, Theme::Any, |_, random| Step::WallClock(SignedDuration::from_secs(random.i64(-4_000..4_000)))),
    (8, Theme::Any, |scene, random| {
        Step::FarmClock(scene.farm, SignedDuration::from_secs(random.i64(-60..60)))
    }),
    // The operator's processes and their machine.
    (24, Theme::Crashes, |_, _| Step::Crash),
    (8, Theme::Crashes, |_, _| Step::Terminate),
    (16, Theme::Crashes, |_, random| Step::Sleep(Duration::from_secs(random.u64(3..120)))),
    (12, Theme::Elections, |_, random| Step::Isolate(random.u8(..3) > 0)),
    // What nobody should do.
    (16, Theme::Tampering, |scene, _| Step::Strip(scene.broker)),
    (8, Theme::Tampering, |scene, _| Step::ForgeId(scene.broker)),
    (8, Theme::Tampering, |scene, _| Step::LoseStatus(scene.broker)),
    (8, Theme::Tampering, |_, _| Step::Backup),
    (8, Theme::Tampering, |_, _| Step::Restore),
];

/// How likely what is in one seed.
pub struct Mix {
    weights: Vec<u32>,
    farms: usize,
    /// Whether another cluster manages them, too.
    is_shared: bool,
    weather: Weather,
    is_stormy: bool,
}

impl Mix {
    /// The mix of a seed.
    pub fn of(setting: &Setting, random: &mut fastrand::Rng) -> Self {
        let tampers = random.u8(..3) == 0 && !setting.elects;
        let is_swarm = random.bool();
        let is_stormy = random.u8(..4) == 0;
        let mut weight = |usual: u32, theme: Theme| {
            let times = if is_swarm { [0, 0, 1, 5][random.usize(..4)] } else { 1 };
            let is_had = match theme {
                Theme::Any => true,
                Theme::Crashes => !tampers,
                Theme::Elections => setting.elects,
                Theme::Tampering => tampers,
            };
            usual * times * u32::from(is_had)
        };
        let weights = KINDS.iter().map(|(usual, theme, _)| weight(*usual, *theme)).collect();
        let left_out = if is_swarm { random.u32(..) } else { 0 };
        let writes = if is_stormy { 3 } else { 1 };
        let weather = Weather { timeout: setting.timeout, left_out, writes, ..Weather::default() };
        Self { weights, farms: setting.farms, is_shared: setting.clusters > 1, weather, is_stormy }
    }

    /// What happens next.
    pub fn step(&self, brokers: usize, random: &mut fastrand::Rng) -> Step {
        let scene = Scene { mix: self, broker: random.usize(..brokers), farm: random.usize(..self.farms) };
        let mut left = random.u32(..self.weights.iter().sum::<u32>().max(1));
        for (weight, (_, _, draw)) in self.weights.iter().zip(KINDS) {
            if left < *weight {
                return draw(&scene, random);
            }
            left -= weight;
        }
        self.weather(random)
    }

    /// Another weather. A stormy seed is never without faults.
    pub fn weather(&self, random: &mut fastrand::Rng) -> Step {
        let fair = self.weather;
        let degrees = if self.is_stormy { [30, 100, 100, 300] } else { [0, 30, 100, 300] };
        let often = |random: &mut fastrand::Rng| degrees[random.usize(..4)];
        let lag = Duration::from_secs([0, 0, 2, 12][random.usize(..4)]);
        let stormy = Weather {
            kubernetes: often(random),
            farm: often(random),
            watch: often(random),
            slow: often(random),
            lag,
            ..fair
        };
        let without = |outage| Weather { outage: Some(outage), ..fair };
        Step::Weather(match random.u8(..18) {
            0 => without(Outage::Farms),
            1 => without(Outage::Writes),
            3 => Weather { outage: Some(Outage::Events), ..stormy },
            4 => without(Outage::Sessions),
            2 if !self.is_stormy => fair,
            _ => stormy,
        })
    }
}

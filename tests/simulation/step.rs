//! What happens in a run beside the operator's own work: users, persons at the farm, and the world.

#![allow(clippy::wildcard_enum_match_arm, reason = "a step that nobody plays ends the run")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::{Account, Backup, Edit, LogonAnswer, Rights};
use serde_json::{Value, json};

use crate::api_server::Revision;
use crate::clock;
use crate::cluster;
use crate::console;
use crate::fate::Weather;
use crate::objects::{name, uid};
use crate::run::Run;
use crate::users;
use crate::world::{CLUSTERS, NAMESPACE, World, home, password_of};

/// One thing that happens. Brokers are named by their number in the scenario.
#[derive(Clone, Debug)]
pub enum Step {
    Create(usize),
    /// A second object for the server of another one.
    Twin(usize, &'static str),
    Edit(usize, Value),
    Delete(usize),
    /// Deleted, and created again at once.
    Recreate(usize),
    ForceOrphan(usize),
    Strip(usize),
    /// Somebody writes another broker's id into status.
    ForgeId(usize),
    LoseStatus(usize),
    Backup,
    Restore,
    /// Somebody asks that the broker be made the primary.
    Promote(usize),
    FarmSpec(usize, Value),
    RotateSecret(usize),
    WrongSecret(usize),
    DeleteSecret(usize),
    /// Somebody else's finalizer is put on it.
    Hold(usize),
    /// It goes past its finalizer.
    SweepAway(usize),
    /// It does, and another one comes under its name.
    Replace(usize),
    /// The namespace ends; objects of some kinds are deleted, a bit for each.
    EndNamespace(u8),
    /// One of our definitions is deleted.
    RemoveKind(usize),
    /// New watches begin with the world as it is now, however it changes, or with the present one again.
    CacheLags(bool),
    PersonAdds(usize),
    PersonEdits(usize, Edit),
    PersonDeletes(usize),
    PersonEditsElsewhere(usize),
    PersonApplies(usize),
    PersonLocks(usize),
    /// A person marks a broker for deletion, and does not apply that.
    PersonMarks(usize),
    /// A person makes a second row for a server.
    PersonDoubles(usize),
    FarmBackup(usize),
    FarmRestore(usize),
    /// A farm is gone for ever.
    FarmGone(usize),
    /// Status and intent are as another version of the operator writes them.
    OtherVersion(usize),
    PrimaryMoves(usize),
    Crash,
    Terminate,
    /// A process is cut off from the API server, or all reach it again.
    Isolate(bool),
    Sleep(Duration),
    WallClock(SignedDuration),
    FarmClock(usize, SignedDuration),
    Weather(Weather),
    Guid(usize, bool),
    EndSessions(usize),
    CutWatches,
    ExpireWatches,
}

impl Step {
    /// Under which name it is counted.
    pub fn kind(&self) -> String {
        let told = format!("{self:?}");
        format!("step: {}", told.split('(').next().unwrap_or_default())
    }
}

/// An object of the scenario.
#[derive(Clone, Debug)]
pub struct Planned {
    pub name: String,
    pub farm: usize,
    pub server: String,
    pub spec: Value,
}

/// What is kept while a script is played.
#[derive(Default)]
pub struct Stage {
    pub brokers: Vec<Planned>,
    farm_backups: BTreeMap<usize, Backup>,
    guids: Vec<String>,
    passwords: u32,
    /// Farms where a person has left something that is not applied.
    foreign: BTreeSet<usize>,
}

impl Stage {
    /// The stage of these brokers.
    pub fn new(brokers: Vec<Planned>, world: &World) -> Self {
        let guids = world.farms.iter().map(ras_operator::simulator::FarmHandle::guid).collect();
        let (farm_backups, foreign) = (BTreeMap::new(), BTreeSet::new());
        Self { brokers, farm_backups, guids, passwords: 0, foreign }
    }

    /// Plays a step.
    pub async fn play(&mut self, run: &mut Run, step: &Step) {
        let (kind, on) = (step.kind(), format!("{step:?}"));
        run.world.network.fault(&kind, &on);
        match step {
            Step::Crash => run.crash(run.any()).await,
            Step::Terminate => run.renew(run.any()).await,
            Step::Isolate(one) => run.isolate(one.then(|| run.any())),
            Step::Sleep(span) => run.sleep(*span).await,
            Step::WallClock(by) => clock::set_wall_off(*by),
            Step::Weather(weather) => run.world.network.set_weather(*weather),
            Step::CutWatches => run.world.api.cut_watches(),
            Step::ExpireWatches => {
                run.world.api.begin_watches_with(None);
                run.world.api.expire_watches();
            }
            Step::CacheLags(lags) => {
                let snapshot = run.world.api.snapshot();
                run.world.api.begin_watches_with(lags.then_some(&snapshot));
            }
            Step::EndNamespace(kinds) => cluster::end_namespace(&run.world, *kinds),
            Step::RemoveKind(number) => cluster::remove_kind(&run.world, *number),
            Step::Backup => run.world.back_up(),
            Step::Restore => run.world.restore(Revision::Raised),
            _ => self.act(&run.world, step),
        }
    }

    /// What people do.
    fn act(&mut self, world: &World, step: &Step) {
        match step {
            Step::RotateSecret(farm) => self.rotate(world, *farm),
            Step::WrongSecret(farm) => world.set_secret(CLUSTERS[0], *farm, Some("wrong")),
            Step::DeleteSecret(farm) => world.set_secret(CLUSTERS[0], *farm, None),
            Step::FarmSpec(farm, patch) => {
                let farm = format!("farm-{farm}");
                world.person("edit", world.api.patch("RasFarm", NAMESPACE, &farm, patch.clone()));
            }
            // A farm that is first met under another GUID is that farm from then on.
            Step::Guid(farm, _) if !is_met(world, *farm) => {}
            Step::Guid(farm, is_other) => {
                let guid = if *is_other { "0ther" } else { &self.guids[*farm] };
                world.farms[*farm].set_guid(guid);
            }
            Step::EndSessions(farm) => world.farms[*farm].end_sessions(),
            Step::FarmClock(farm, by) => world.farms[*farm].advance_clock(*by),
            _ => self.at_farm(world, step),
        }
    }

    /// What persons do at a farm.
    fn at_farm(&mut self, world: &World, step: &Step) {
        match step {
            Step::PersonEditsElsewhere(farm) => {
                let edit = Edit {
                    description: Some(format!("{}", clock::elapsed().as_millis())),
                    ..Edit::default()
                };
                drop(world.farms[*farm].edit(2, edit));
                self.foreign.insert(*farm);
                world.look(*farm);
            }
            Step::PersonApplies(farm) => {
                world.farms[*farm].apply_as_person("console");
                self.foreign.remove(farm);
                world.look(*farm);
            }
            Step::PrimaryMoves(farm) => {
                let secondary =
                    world.farms[*farm].broker(2).filter(|row| !row.is_primary()).map_or(1, |row| row.id);
                drop(world.farms[*farm].swap_primary("console", secondary));
                world.oracle.lock().moved_primary(*farm);
                self.foreign.insert(*farm);
                world.look(*farm);
            }
            Step::FarmBackup(farm) => drop(self.farm_backups.insert(*farm, world.farms[*farm].backup())),
            Step::FarmGone(farm) => world.network.lose_farm(*farm),
            Step::FarmRestore(farm) => {
                if let Some(backup) = self.farm_backups.get(farm) {
                    world.restore_farm(*farm, backup);
                    // What was not applied when it was saved nobody else knows of.
                    world.farms[*farm].apply_as_person("console");
                }
            }
            Step::PersonAdds(broker)
            | Step::PersonDeletes(broker)
            | Step::PersonLocks(broker)
            | Step::PersonMarks(broker)
            | Step::PersonDoubles(broker) => {
                let planned = self.brokers[*broker].clone();
                self.foreign.insert(planned.farm);
                console::play(world, step, &planned);
            }
            Step::PersonEdits(broker, edit) => {
                let planned = &self.brokers[*broker];
                self.foreign.insert(planned.farm);
                let farm = &world.farms[planned.farm];
                if let Some(row) = farm.broker_named(&planned.server) {
                    drop(farm.edit(row.id, edit.clone()));
                    world.oracle.lock().edited(planned.farm, row.id);
                    world.look(planned.farm);
                }
            }
            _ => self.of_object(world, step),
        }
    }

    /// What users do to broker objects.
    fn of_object(&self, world: &World, step: &Step) {
        match step {
            Step::Create(number) => users::create(world, &self.brokers[*number]),
            Step::Twin(number, twin) => users::twin(world, &self.brokers[*number], twin),
            Step::Edit(number, patch) => {
                users::patch(world, "edit", &self.brokers[*number].name, json!({"spec": patch}));
            }
            Step::Delete(number) => users::delete(world, &self.brokers[*number].name),
            Step::Recreate(number) => {
                users::delete(world, &self.brokers[*number].name);
                users::create(world, &self.brokers[*number]);
            }
            Step::ForceOrphan(number) => users::force_orphan(world, &self.brokers[*number].name),
            Step::Promote(number) => users::promote(world, &self.brokers[*number]),
            Step::Hold(number) => users::hold(world, &self.brokers[*number].name),
            Step::Strip(number) => users::strip(world, &self.brokers[*number].name),
            Step::ForgeId(number) => {
                let id = 1 + i64::try_from(*number).unwrap_or_default() % 3;
                users::forge_id(world, &self.brokers[*number].name, id);
            }
            Step::LoseStatus(number) => {
                users::lose_status(world, &self.brokers[*number].name);
            }
            Step::OtherVersion(number) => users::as_of_another_version(world, &self.brokers[*number].name),
            Step::SweepAway(number) | Step::Replace(number) => {
                let name = &self.brokers[*number].name;
                if let Some(object) = world.api.get("RasBroker", home(name), name) {
                    world.oracle.lock().may_leave_row(uid(&object));
                }
                let is_replaced = matches!(step, Step::Replace(_));
                if is_replaced { users::replace(world, name) } else { users::sweep_away(world, name) }
            }
            other => unreachable!("{other:?} is played elsewhere"),
        }
    }

    fn rotate(&mut self, world: &World, farm: usize) {
        self.passwords += 1;
        let password = password_of(farm, self.passwords);
        for cluster in world.clusters() {
            world.farms[farm].set_account(account(cluster.1, &password));
            world.set_secret(*cluster, farm, Some(&password));
        }
    }

    /// Everything that was removed is there again. What was written for objects that are gone is nobody's, and a person
    /// applies it.
    pub fn come_back(&mut self, world: &World) {
        for (place, farm) in world.farms.iter().enumerate() {
            self.rotate(world, place);
            farm.apply_as_person("console");
            world.look(place);
        }
        self.brokers.iter().for_each(|planned| users::create(world, planned));
    }

    /// Everything that stands in the way of rest is taken away; what users want stays.
    pub fn calm(&mut self, run: &Run) {
        run.isolate(None);
        let world = &run.world;
        world.api.begin_watches_with(None);
        world.network.say("calm");
        world.network.set_weather(Weather { timeout: world.setting.timeout, ..Weather::default() });
        for (place, farm) in world.farms.iter().enumerate() {
            farm.clear_faults();
            let name = format!("farm-{place}");
            farm.set_guid(
                &recorded_guid(world, NAMESPACE, place).unwrap_or_else(|| self.guids[place].clone()),
            );
            for row in farm.brokers() {
                farm.unlock_broker(row.id);
                if world.oracle.lock().is_double(place, row.id) {
                    drop(farm.remove_broker(row.id));
                    world.oracle.lock().removed(place, row.id);
                    self.foreign.insert(place);
                }
            }
            self.rotate(world, place);
            for (namespace, _) in world.clusters() {
                let resumed = json!({"spec": {"suspend": false}});
                world.person("resume", world.api.patch("RasFarm", namespace, &name, resumed));
            }
            // What the operator itself has written it applies itself.
            if self.foreign.contains(&place) {
                farm.apply_as_person("console");
            }
            world.look(place);
        }
        for object in world.brokers() {
            if object["spec"]["suspend"] == true {
                let patch = json!({"spec": {"suspend": false}});
                world.person(
                    "resume",
                    world.api.patch("RasBroker", home(name(&object)), name(&object), patch),
                );
            }
        }
    }
}

/// The farm's object names the endpoints of its first two brokers. Where another was promoted, a person does what the
/// status asks for; and where logons do not tell to which broker they lead, it must be the first.
pub fn make_reachable(world: &World) {
    for (place, farm) in world.farms.iter().enumerate() {
        let is_silent =
            matches!(farm.switches().logon_answer, LogonAnswer::TokenOnly | LogonAnswer::WithoutConnection);
        let last = if is_silent { 1 } else { 2 };
        if farm.brokers().iter().any(|row| row.site_id == 1 && row.is_primary() && row.id > last) {
            drop(farm.swap_primary("console", 1));
            farm.apply_as_person("console");
            world.oracle.lock().moved_primary(place);
            world.look(place);
        }
    }
}

/// The GUID that a cluster has recorded of a farm.
fn recorded_guid(world: &World, namespace: &str, farm: usize) -> Option<String> {
    let object = world.api.get("RasFarm", namespace, &format!("farm-{farm}"))?;
    Some(object["status"]["farmGUID"].as_str()?.to_owned())
}

/// Whether all clusters have met a farm.
fn is_met(world: &World, farm: usize) -> bool {
    world.clusters().iter().all(|(namespace, _)| recorded_guid(world, namespace, farm).is_some())
}

fn account(name: &str, password: &str) -> Account {
    Account { username: name.to_owned(), password: password.to_owned(), rights: Rights::Root }
}

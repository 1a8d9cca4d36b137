//! What happens in a run beside the operator's own work: users, persons at the farm, and the world.

#![allow(clippy::wildcard_enum_match_arm, reason = "a step that nobody plays ends the run")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::{Account, Backup, Edit, LogonAnswer, NewRow, Rights};
use serde_json::{Value, json};

use crate::api_server::{Revision, Snapshot};
use crate::clock;
use crate::cluster;
use crate::fate::Weather;
use crate::objects::{FORCE_ORPHAN, name, uid};
use crate::run::{Run, broker};
use crate::world::{ACCOUNT, NAMESPACE, PASSWORD, World};

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
    pub backup: Option<Snapshot>,
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
        Self { brokers, backup: None, farm_backups, guids, passwords: 0, foreign }
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
            Step::Backup => self.backup = Some(run.world.api.snapshot()),
            Step::Restore => self.restore(&run.world),
            _ => self.act(&run.world, step),
        }
    }

    /// What people do.
    fn act(&mut self, world: &World, step: &Step) {
        match step {
            Step::RotateSecret(farm) => self.rotate(world, *farm),
            Step::WrongSecret(farm) => world.set_secret(*farm, Some("wrong")),
            Step::DeleteSecret(farm) => world.set_secret(*farm, None),
            Step::FarmSpec(farm, patch) => {
                let farm = format!("farm-{farm}");
                world.person("edit", world.api.patch("RasFarm", NAMESPACE, &farm, patch.clone()));
            }
            // A farm that is first met under another GUID is that farm from then on.
            Step::Guid(farm, _) if recorded_guid(world, *farm).is_none() => {}
            Step::Guid(farm, is_other) => {
                let guid = if *is_other { "0ther" } else { &self.guids[*farm] };
                world.farms[*farm].set_guid(guid);
            }
            Step::EndSessions(farm) => world.farms[*farm].end_sessions(),
            Step::FarmClock(farm, by) => world.farms[*farm].advance_clock(*by),
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
            Step::FarmRestore(farm) => {
                if let Some(backup) = self.farm_backups.get(farm) {
                    world.restore_farm(*farm, backup);
                }
            }
            Step::PersonAdds(broker)
            | Step::PersonDeletes(broker)
            | Step::PersonLocks(broker)
            | Step::PersonMarks(broker)
            | Step::PersonDoubles(broker) => {
                let planned = self.brokers[*broker].clone();
                self.foreign.insert(planned.farm);
                at_console(world, step, &planned);
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
        let api = &world.api;
        match step {
            Step::Create(number) => create(world, &self.brokers[*number]),
            Step::Twin(number, twin) => {
                let planned = Planned { name: (*twin).to_owned(), ..self.brokers[*number].clone() };
                create(world, &Planned { server: planned.server.to_uppercase(), ..planned });
            }
            Step::Edit(number, patch) => {
                let patch = json!({"spec": patch});
                world.person("edit", api.patch("RasBroker", NAMESPACE, &self.brokers[*number].name, patch));
            }
            Step::Delete(number) => delete(world, &self.brokers[*number].name),
            Step::Recreate(number) => {
                delete(world, &self.brokers[*number].name);
                create(world, &self.brokers[*number]);
            }
            Step::ForceOrphan(number) => {
                let patch = json!({"metadata": {"annotations": {FORCE_ORPHAN: "true"}}});
                world.person(
                    "annotate",
                    api.patch("RasBroker", NAMESPACE, &self.brokers[*number].name, patch),
                );
                delete(world, &self.brokers[*number].name);
            }
            Step::Strip(number) => {
                world.person("strip", api.strip("RasBroker", NAMESPACE, &self.brokers[*number].name));
            }
            Step::ForgeId(number) => {
                let status = json!({"id": 1 + i64::try_from(*number).unwrap_or_default() % 3});
                let name = &self.brokers[*number].name;
                world.person("forge", api.patch_status("RasBroker", NAMESPACE, name, &status));
            }
            Step::LoseStatus(number) => {
                let status = json!({"id": null, "origin": null, "siteId": null, "farmGUID": null, "observed": null,
                    "conditions": null, "role": null, "agent": null});
                let name = &self.brokers[*number].name;
                world.person("lose status of", api.patch_status("RasBroker", NAMESPACE, name, &status));
            }
            Step::Promote(number) => promote(world, &self.brokers[*number]),
            Step::Hold(number) => hold(world, &self.brokers[*number].name),
            Step::SweepAway(number) | Step::Replace(number) => {
                let name = &self.brokers[*number].name;
                if let Some(object) = api.get("RasBroker", NAMESPACE, name) {
                    world.oracle.lock().may_leave_row(uid(&object));
                }
                if matches!(step, Step::Replace(_)) { replace(world, name) } else { sweep_away(world, name) }
            }
            other => unreachable!("{other:?} is played elsewhere"),
        }
    }

    fn rotate(&mut self, world: &World, farm: usize) {
        self.passwords += 1;
        let password = format!("{PASSWORD} {}", self.passwords);
        world.farms[farm].set_account(account(&password));
        world.set_secret(farm, Some(&password));
    }

    /// Everything that was removed is there again. What was written for objects that are gone is nobody's, and a person
    /// applies it.
    pub fn come_back(&mut self, world: &World) {
        for (place, farm) in world.farms.iter().enumerate() {
            self.rotate(world, place);
            farm.apply_as_person("console");
            world.look(place);
        }
        self.brokers.iter().for_each(|planned| create(world, planned));
    }

    fn restore(&self, world: &World) {
        let Some(backup) = &self.backup else { return };
        let before = world.brokers();
        world.api.restore(backup, Revision::Raised);
        let after = world.brokers();
        let mut oracle = world.oracle.lock();
        let lost: Vec<&str> =
            before.iter().map(uid).filter(|key| !after.iter().any(|object| uid(object) == *key)).collect();
        oracle.restored(&lost, &after);
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
            farm.set_guid(&recorded_guid(world, place).unwrap_or_else(|| self.guids[place].clone()));
            for row in farm.brokers() {
                farm.unlock_broker(row.id);
                if world.oracle.lock().is_double(place, row.id) {
                    drop(farm.remove_broker(row.id));
                    world.oracle.lock().removed(place, row.id);
                    self.foreign.insert(place);
                }
            }
            self.rotate(world, place);
            let resumed = json!({"spec": {"suspend": false}});
            world.person("resume", world.api.patch("RasFarm", NAMESPACE, &name, resumed));
            // What the operator itself has written it applies itself.
            if self.foreign.contains(&place) {
                farm.apply_as_person("console");
            }
            world.look(place);
        }
        for object in world.brokers() {
            if object["spec"]["suspend"] == true {
                let patch = json!({"spec": {"suspend": false}});
                world.person("resume", world.api.patch("RasBroker", NAMESPACE, name(&object), patch));
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

fn recorded_guid(world: &World, farm: usize) -> Option<String> {
    let object = world.api.get("RasFarm", NAMESPACE, &format!("farm-{farm}"))?;
    Some(object["status"]["farmGUID"].as_str()?.to_owned())
}

fn create(world: &World, planned: &Planned) {
    let Planned { name, farm, server, spec } = planned;
    world.person("create", world.api.create(broker(name, *farm, server, spec)));
}

/// What tells the servers of another site than the first.
fn site_label(planned: &Planned) -> String {
    planned.spec["siteId"].as_i64().filter(|id| *id > 1).map(|id| format!("site-{id}.")).unwrap_or_default()
}

/// The request's name is that of its broker.
fn promote(world: &World, planned: &Planned) {
    let account = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "my-account", "namespace": NAMESPACE},
        "stringData": {"email": "owner@corp.test", "password": PASSWORD},
    });
    let request = json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBrokerPromotion",
        "metadata": {"name": planned.name, "namespace": NAMESPACE},
        "spec": {
            "brokerRef": {"name": planned.name},
            "accountSecretRef": {"name": "my-account"},
            "expectedPrimary": format!("primary.{}farm-{}.test", site_label(planned), planned.farm),
            "notAfter": (clock::world() + Duration::from_mins(10)).to_string(),
        },
    });
    world.person("create", world.api.create(account));
    world.person("create", world.api.create(request));
}

/// Deletes an object; without a finalizer it is gone at once.
pub fn delete(world: &World, name: &str) {
    let Some(before) = world.api.get("RasBroker", NAMESPACE, name) else { return };
    match world.api.delete("RasBroker", NAMESPACE, name) {
        Ok(going) if going["kind"] == "RasBroker" => world.person("delete", Ok(going)),
        Ok(_gone) => {
            world.network.say(&format!("person: delete {name}, gone at once"));
            world.oracle.lock().lost(uid(&before));
        }
        Err(refusal) => world.person("delete", Err(refusal)),
    }
}

/// A finalizer that is not ours.
const HOLD: &str = "example.test/hold";

/// Somebody else wants to be asked before an object goes.
fn hold(world: &World, name: &str) {
    let Some(object) = world.api.get("RasBroker", NAMESPACE, name) else { return };
    let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.push(HOLD.into());
    let patch = json!({"metadata": {"finalizers": finalizers}});
    world.person("hold", world.api.patch("RasBroker", NAMESPACE, name, patch));
}

/// Nobody else wants to be asked any more.
pub fn release_holds(world: &World) {
    for object in world.brokers() {
        let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let before = finalizers.len();
        finalizers.retain(|finalizer| finalizer != HOLD);
        if finalizers.len() < before {
            let patch = json!({"metadata": {"finalizers": finalizers}});
            world.person("release", world.api.patch("RasBroker", NAMESPACE, name(&object), patch));
        }
    }
}

/// An object goes although it has a finalizer, as it may where the two cross: kubernetes/kubernetes#77988.
pub fn sweep_away(world: &World, name: &str) {
    let Ok(gone) = world.api.sweep_away("RasBroker", NAMESPACE, name) else { return };
    world.network.say(&format!("{name} is swept away"));
    world.oracle.lock().lost(uid(&gone));
}

/// It goes as well, and another one for the same server comes under its name.
pub fn replace(world: &World, name: &str) {
    let Some(before) = world.api.get("RasBroker", NAMESPACE, name) else { return };
    sweep_away(world, name);
    let again = json!({
        "apiVersion": before["apiVersion"], "kind": before["kind"],
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": before["spec"],
    });
    world.person("create", world.api.create(again));
}

fn at_console(world: &World, step: &Step, planned: &Planned) {
    let farm = &world.farms[planned.farm];
    let row = farm.broker_named(&planned.server);
    match (step, row) {
        (Step::PersonAdds(_), None) => {
            let site_id = planned.spec["siteId"].as_i64();
            let row = NewRow { server: planned.server.clone(), site_id, ..NewRow::default() };
            drop(farm.add_broker(&row));
        }
        (Step::PersonDeletes(_), Some(row))
            if !row.marked_for_deletion && farm.remove_broker(row.id).is_ok() =>
        {
            farm.apply_as_person("console");
            world.oracle.lock().removed(planned.farm, row.id);
        }
        (Step::PersonMarks(_), Some(row))
            if !row.marked_for_deletion && farm.remove_broker(row.id).is_ok() =>
        {
            world.oracle.lock().removed(planned.farm, row.id);
        }
        (Step::PersonDoubles(_), Some(row)) => {
            let double = farm.double("console", row.id);
            world.oracle.lock().doubled(planned.farm, double.unwrap_or_default(), &planned.server);
        }
        (Step::PersonLocks(_), Some(row)) => farm.lock_broker("console", row.id),
        _ => {}
    }
    world.look(planned.farm);
}

fn account(password: &str) -> Account {
    Account { username: ACCOUNT.to_owned(), password: password.to_owned(), rights: Rights::Root }
}

//! Rules about the order in which things are sent. What the farm and the objects show in the end may be right by luck;
//! these are looked at when a call leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::network::Call;
use crate::objects::{
    FINALIZER, INTENT, annotation, farm_of, is_going, name, number_of, owned_id, takes_broker_along, text,
    uid,
};
use crate::world::World;

/// No list that is older is good enough for an intent; what is between the two takes no time.
const FRESH: Duration = Duration::from_millis(10_100);

/// The operator's own limit for what it sends on the strength of an answer.
const IN_TIME: Duration = Duration::from_millis(5_100);

/// How long a Lease is good from when it was renewed, to those who would like to have it.
const LEASE: Duration = Duration::from_secs(15);

/// What one process has seen and has on its way, by farm.
#[derive(Default)]
pub struct Order {
    identity: String,
    namespace: &'static str,
    listed: BTreeMap<usize, Duration>,
    /// The last read by id of a row, if nothing was sent to the row since.
    read: BTreeMap<(usize, i64), Read>,
    /// By the name of an object, what the API server last answered about it.
    known: BTreeMap<String, Known>,
    writing: BTreeMap<usize, usize>,
    /// Rows that an installation has made: whatever is sent to them in its turn nobody waits for either.
    installed: BTreeSet<(usize, i64)>,
    applying: BTreeMap<usize, usize>,
    /// Farms of which it has said itself that something is pending: what an earlier process has said, a late word of that
    /// one may take back.
    told: BTreeSet<usize>,
}

/// How a read by id was answered.
struct Read {
    status: u16,
    /// Whose row it showed.
    server: String,
}

/// What a process has heard about an object.
#[derive(Default)]
struct Known {
    at: Duration,
    uid: String,
    server: String,
    owned: Option<i64>,
    /// Whether one that was known before is not there any more: then what it has left may go.
    has_gone: bool,
}

/// What a call is to the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Apply,
    Other,
}

/// Whether it installs or removes an agent: nobody waits for that.
fn is_slow(call: &Call) -> bool {
    call.path.contains("noInstall=false") || call.path.contains("noUninstall=false")
}

fn kind(call: &Call, is_slow: bool) -> Kind {
    match call.method.as_str() {
        "POST" if call.path == "/api/Settings/apply" => Kind::Apply,
        "POST" | "PUT" | "DELETE" if call.path.starts_with("/api/Broker") && !is_slow => Kind::Write,
        _ => Kind::Other,
    }
}

fn is_release(body: &Value) -> bool {
    let finalizers = body["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| finalizers.iter().all(|name| name != FINALIZER))
}

/// Whether an intent is of the attempt that the object shows.
pub fn is_of_attempt(intent: &str, object: &Value) -> bool {
    let attempt = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default()["attempt"].clone();
    annotation(object, INTENT).is_some_and(|last| attempt(last) == attempt(intent))
}

fn path(call: &Call) -> &str {
    call.path.split('?').next().unwrap_or_default()
}

impl Order {
    /// That of the process which calls itself so, and sees this namespace.
    pub fn of(identity: &str, namespace: &'static str) -> Self {
        Self { identity: identity.to_owned(), namespace, ..Self::default() }
    }

    /// A call leaves for a farm; answers what is wrong with that.
    pub fn leaves(&mut self, farm: usize, call: &Call, world: &World) -> Option<&'static str> {
        let rules = [
            self.out_of_order(farm, call, world),
            self.on_hearsay(farm, call)
                .then_some("a change for an object that was not asked about before it"),
            (!self.leads(call, world)).then_some("a write of a process that has lost its Lease"),
        ];
        rules.into_iter().flatten().next()
    }

    /// Whether nobody else may write meanwhile: sessions anybody may open and close.
    fn leads(&self, call: &Call, world: &World) -> bool {
        let is_free = !call.is_write() || call.path.starts_with("/api/Session/");
        is_free || !world.setting.elects || world.leads(&self.identity, LEASE)
    }

    /// Whether a change leaves for no object that the API server has just answered about and whose row was just read:
    /// what was watched and listed may be of long ago.
    fn on_hearsay(&self, farm: usize, call: &Call) -> bool {
        let id = call.row();
        let read = id.and_then(|id| self.read.get(&(farm, id)));
        let is_change =
            matches!(call.method.as_str(), "PUT" | "DELETE") && path(call).starts_with("/api/Broker/");
        let now = clock::elapsed();
        let is_asked = |known: &Known| {
            // What is left of an object is deleted once another one is there under its name, or none.
            let is_left = call.method == "DELETE" && (known.has_gone || known.owned.is_none());
            let is_its = read.is_some_and(|read| read.server == known.server);
            (known.owned == id && is_its || is_left) && now.saturating_sub(known.at) <= IN_TIME
        };
        is_change && !self.known.values().any(is_asked)
    }

    fn out_of_order(&mut self, farm: usize, call: &Call, world: &World) -> Option<&'static str> {
        let count = |counts: &BTreeMap<usize, usize>| counts.get(&farm).copied().unwrap_or_default();
        let (writing, applying) = (count(&self.writing), count(&self.applying));
        match self.kind(farm, call) {
            Kind::Apply => {
                *self.applying.entry(farm).or_default() += 1;
                (writing + applying > 0).then_some("an Apply while a write or another Apply is on its way")
            }
            Kind::Write => {
                *self.writing.entry(farm).or_default() += 1;
                let row = call.row().filter(|_| call.method != "POST");
                let is_read = row.is_none_or(|id| self.has_read(farm, id, 200));
                let object =
                    world.api.get("RasFarm", self.namespace, &format!("farm-{farm}")).unwrap_or_default();
                let is_pending = object["status"]["pendingApply"].is_object() || world.was_restored();
                if !is_read {
                    Some("a change of a row that was not read by id before it")
                } else if !self.told.contains(&farm) {
                    Some("a write of a process that has not said itself that something is pending")
                } else {
                    (!is_pending).then_some("a write that pendingApply does not tell of")
                }
            }
            Kind::Other => None,
        }
    }

    /// A call is over, whatever came of it.
    pub fn ends(&mut self, farm: usize, call: &Call) {
        let counts = match self.kind(farm, call) {
            Kind::Write => &mut self.writing,
            Kind::Apply => &mut self.applying,
            Kind::Other => return,
        };
        if let Some(count) = counts.get_mut(&farm) {
            *count -= 1;
        }
    }

    fn kind(&self, farm: usize, call: &Call) -> Kind {
        let is_of_installation =
            || call.method == "DELETE" && call.row().is_some_and(|id| self.installed.contains(&(farm, id)));
        kind(call, is_slow(call) || is_of_installation())
    }

    fn has_read(&self, farm: usize, id: i64, status: u16) -> bool {
        self.read.get(&(farm, id)).is_some_and(|read| read.status == status)
    }

    /// A farm answered.
    pub fn answered(&mut self, farm: usize, call: &Call, status: u16, body: &[u8]) {
        let is_list = call.path == "/api/Broker";
        if call.method == "GET" && is_list && status == 200 {
            self.listed.insert(farm, clock::elapsed());
        }
        if call.method == "POST" && is_slow(call) {
            let row: Value = serde_json::from_slice(body).unwrap_or_default();
            self.installed.extend(row["id"].as_i64().map(|id| (farm, id)));
        }
        if let Some(id) = call.row().filter(|_| !call.path.ends_with("/promote")) {
            // A read is good for one change.
            self.read.remove(&(farm, id));
            if call.method == "GET" {
                let row: Value = serde_json::from_slice(body).unwrap_or_default();
                let server = text(&row, "/server").to_lowercase();
                self.read.insert((farm, id), Read { status, server });
            }
        }
    }

    /// The API server answered about an object, or that there is none.
    pub fn told(&mut self, call: &Call, object: Option<&Value>) {
        let farm = object.filter(|object| object["kind"] == "RasFarm" && call.method == "PATCH");
        if let Some(farm) = farm.filter(|farm| farm["status"]["pendingApply"].is_object()) {
            self.told.insert(number_of(name(farm)));
        }
        let Some(name) = path(call).split("/rasbrokers/").nth(1).and_then(|rest| rest.split('/').next())
        else {
            return;
        };
        let known = self.known.entry(name.to_owned()).or_default();
        let before = std::mem::take(known);
        let uid = object.map_or_else(|| before.uid.clone(), |object| uid(object).to_owned());
        let has_gone = before.has_gone || object.is_none() || !before.uid.is_empty() && before.uid != uid;
        let server = object.map_or(before.server, |object| text(object, "/spec/server").to_lowercase());
        let owned = object.and_then(owned_id);
        *known = Known { at: clock::elapsed(), uid, server, owned, has_gone };
    }

    /// Whether this process has read the row that the object owns, if it owns one, and it was not there. None of these
    /// need be read: an id that is another server's, or another object's, and one whose server has another row by now.
    fn is_gone(&self, farm: usize, object: &Value, world: &World) -> bool {
        let server = text(object, "/spec/server");
        owned_id(object).is_none_or(|id| {
            // A person's second row may have gone since, and an id may be another row's.
            let is_replaced = world.oracle.lock().is_unclear(farm)
                || world.farms[farm].broker_named(server).is_some_and(|row| row.id != id);
            let is_others =
                world.farms[farm].broker(id).is_some_and(|row| !row.server.eq_ignore_ascii_case(server));
            let owns_it = |other: &Value| {
                uid(other) != uid(object) && farm_of(other) == farm && owned_id(other) == Some(id)
            };
            is_replaced || is_others || world.brokers().iter().any(owns_it) || self.has_read(farm, id, 404)
        })
    }

    /// A write leaves for the API server; answers what is wrong with that.
    pub fn tells(&self, call: &Call, body: &Value, world: &World) -> Option<&'static str> {
        let is_ours = ["/rasbrokers/", "/rasfarms/"].iter().any(|kind| call.path.contains(kind));
        if call.method != "PATCH" || !is_ours {
            return None;
        }
        if !body["metadata"]["resourceVersion"].is_string() {
            return Some("a write without the version on which it was decided");
        }
        let name = path(call).rsplit('/').next().unwrap_or_default();
        let object = world.api.get("RasBroker", self.namespace, name)?;
        // What was decided on another version is refused.
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return None;
        }
        let farm_name = object["spec"]["farmRef"]["name"].as_str()?;
        let farm = farm_name.strip_prefix("farm-")?.parse().ok()?;
        if is_release(body)
            && is_going(&object)
            && takes_broker_along(&object)
            && world.api.has_definition("RasBroker")
            && !self.is_gone(farm, &object, world)
        {
            return Some("a release of an object whose row was not found gone by id");
        }
        let intent = body["metadata"]["annotations"][INTENT].as_str()?;
        // No POST follows what is said of an attempt afterwards.
        if intent.contains("\"refused\":\"") || is_of_attempt(intent, &object) {
            return None;
        }
        if !self.is_gone(farm, &object, world) {
            return Some("an intent for a row that was not found gone by id");
        }
        let finalizers =
            world.api.get("RasFarm", self.namespace, farm_name)?["metadata"]["finalizers"].clone();
        let is_claimed =
            finalizers.as_array().is_some_and(|all| all.iter().any(|one| one == "ras-operator.dev/in-use"));
        if !is_claimed && !world.was_restored() {
            return Some("an intent for a farm that does not carry the finalizer");
        }
        let is_fresh = self.listed.get(&farm).is_some_and(|at| clock::elapsed().saturating_sub(*at) <= FRESH);
        (!is_fresh).then_some("an intent on a list that is too old")
    }
}

//! Everything that a decision about one broker is made of, as one value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::canonical::{ServerName, address_set, canonical_address};
use super::desired::{Desired, Field, Fields, Value};
use super::intent::Intent;
use super::order::Place;
use crate::clock::Now;
use crate::crd::condition::{ConditionType, Reason};
use crate::crd::{ObservedBroker, RasBroker, RasBrokerStatus, annotation, finalizer};
use crate::farm::view::{FarmView, Hold, Unapplied};
use crate::ras;

/// How long a DELETE that was answered and applied, and whose row is still there, is left alone.
const DELETE_PAUSE: Duration = Duration::from_mins(1);

/// The observed world of one broker.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object, as last answered or watched.
    pub object: ObjectFacts,
    /// Its farm.
    pub farm: FarmView,
    /// What this process did and has not yet seen settled.
    pub memory: Memory,
    /// Other objects that may mean the same broker.
    pub rivals: Vec<Rival>,
    /// Deletion marks of all terminating objects of the farm that need a DELETE and have sent none, this one's included.
    pub deletions: Vec<Timestamp>,
    /// Where the broker belongs in the order of its site; only looked for where the object states a priority.
    pub place: Option<Place>,
    /// How many of the farm's managed brokers vanished at once.
    pub vanished: usize,
    /// Whether another object of the same site is about to raise its broker; looked at only where the next step would
    /// lower this one.
    pub raising: bool,
    /// The state of the CRD, read only for objects that are being deleted.
    pub crd: CrdState,
}

/// The object's own facts.
#[derive(Clone, Debug)]
pub struct ObjectFacts {
    /// Namespace, for messages.
    pub namespace: String,
    /// Name, for messages.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was deleted, if it was.
    pub deleted: Option<Timestamp>,
    /// Whether our finalizer stands on it.
    pub finalizer: bool,
    /// The create intent.
    pub intent: Option<Intent>,
    /// The last status.
    pub status: RasBrokerStatus,
    /// The spec in its valid form.
    pub desired: Desired,
}

/// Whether objects of this kind are being removed by the removal of their definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrdState {
    /// It stands.
    Present,
    /// It is being deleted: its objects are orphaned, not deleted in the farm.
    Terminating,
    /// It could not be read.
    Unreadable,
}

/// Another object that may mean the same broker, reduced to what decides between the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// How it may be named in a message: only objects of the same namespace are.
    pub shown: Option<String>,
    /// Whether its key is equal, or only similar.
    pub same_key: bool,
    /// Whether it comes before this object.
    pub precedes: bool,
    /// What it has to show.
    pub claim: Claim,
}

/// What an object has to show for a broker, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Its status names this row, which is in the list.
    Row(i64),
    /// A POST of it may be on its way, or its answer.
    Intent,
    /// Its status names a row that is not in the list.
    Id,
    /// Nothing.
    Nothing,
}

/// What this process remembers of one uid; lost with the process, and safe to lose.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When this process first looked at the object. What an earlier one sent for it was sent before.
    pub known_since: Option<Duration>,
    /// Whether this process was the first to show that the object is being deleted, so that it knows of each DELETE.
    pub began_deletion: bool,
    /// The attempt whose intent was seen, and when first: the quarantine is counted from here.
    pub intent_seen: Option<(u32, Duration)>,
    /// The last intent itself: a POST is on its way whoever takes the annotation off.
    pub intent: Option<Intent>,
    /// Until when a DELETE whose answer did not come may still take effect.
    pub delete_unanswered: Option<Duration>,
    /// The same of a change.
    pub update_unanswered: Option<Duration>,
    /// When the deletion mark was first seen: the API server's clock and ours may differ by any time.
    pub deletion_seen: Option<Duration>,
    /// The id that a DELETE of ours was answered for.
    pub deleted: Option<i64>,
    /// Whether any DELETE of ours may have arrived: the farm counts it among those that were sent from then on.
    pub delete_sent: bool,
    /// The last change that the farm answered to.
    pub update: Option<SentUpdate>,
    /// The last move that the farm answered to.
    pub moved: Option<SentMove>,
    /// The last refusal or failure, until it is time to try again.
    pub failure: Option<Failure>,
    /// What is written and not applied.
    pub unapplied: Option<Unapplied>,
    /// The `reconcile-requested-at` value that stands on the object, and when it was first seen.
    pub asked: Option<(String, Duration)>,
    /// Whether a read by id found the recorded row gone after both lists did.
    pub confirmed_gone: Option<i64>,
    /// Since when the spec asks for what lowers the service of the site, on the clock that counts suspend.
    pub lowering_since: Option<Duration>,
    /// How many passes in a row ended in an error.
    pub failures: u32,
}

/// A change that was sent and answered.
#[derive(Clone, Debug, PartialEq)]
pub struct SentUpdate {
    /// The generation that wanted it.
    pub generation: i64,
    /// What was sent.
    pub fields: Fields,
    /// Whether an earlier change, whose answer did not come or is not known of, may have arrived after it.
    pub in_doubt: bool,
    /// What the farm showed once it was applied; unset until then.
    pub settled: Option<Fields>,
}

/// A move in the order of the site that was sent and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentMove {
    /// The generation that wanted it.
    pub generation: i64,
    /// The place where the broker belonged.
    pub wanted: i64,
    /// The place from which it was moved, by this step or by those before it since the last Apply.
    pub from: i64,
    /// The place where this move put it.
    pub reached: i64,
    /// The place that the farm showed once it was applied, if that is no nearer; unset until then.
    pub settled: Option<i64>,
}

/// A step that did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The generation it was made for: an edited spec is tried at once.
    pub generation: i64,
    /// What to show.
    pub hold: Hold,
    /// When to try again, on the clock that counts suspend.
    pub retry_at: Duration,
    /// How often it failed in a row.
    pub count: u32,
    /// Whether it was the API server that refused: then no other step is tried meanwhile.
    pub is_denial: bool,
}

impl ObjectFacts {
    /// Reads an object.
    pub fn of(broker: &RasBroker) -> Self {
        let metadata = &broker.metadata;
        let uid = metadata.uid.clone().unwrap_or_default();
        let note = metadata.annotations.as_ref().and_then(|all| all.get(annotation::CREATE_INTENT));
        let intent = Intent::read(note.map(String::as_str), &uid);
        let status = broker.status.clone().unwrap_or_default();
        let recorded = status.site_id.or_else(|| intent.as_ref().map(|intent| intent.site_id));
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid,
            generation: metadata.generation.unwrap_or_default(),
            deleted: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            finalizer: has_finalizer(broker),
            desired: super::desired::desired(broker, recorded),
            intent,
            status,
        }
    }

    /// The site that was resolved before, if one was.
    pub fn recorded_site(&self) -> Option<i64> {
        self.status.site_id.or_else(|| self.intent.as_ref().map(|intent| intent.site_id))
    }

    /// Whether a row is for the server of this object, in the site that was recorded.
    pub fn means(&self, row: &ras::Broker) -> bool {
        let is_elsewhere = self.recorded_site().is_some_and(|site| site != row.site_id);
        ServerName::new(&row.server) == self.desired.name && !is_elsewhere
    }

    /// The intent of a POST that may have created something which no status names yet.
    pub fn unresolved_intent(&self) -> Option<&Intent> {
        let owned = self.owned_id();
        self.intent
            .as_ref()
            .filter(|intent| intent.refused.is_none() && (owned.is_none() || owned == intent.replaces))
    }

    /// A reconcile that was asked for and not answered yet.
    pub fn request(&self) -> Option<&str> {
        let asked = self.desired.requests.reconcile.as_deref();
        asked.filter(|asked| Some(*asked) != self.status.last_handled_reconcile_at.as_deref())
    }

    /// Whether the last status says that this generation is in the farm and applied.
    pub fn was_synced(&self) -> bool {
        let synced = |shown: &Condition| {
            shown.type_ == ConditionType::Synced.as_str()
                && shown.status == "True"
                && shown.observed_generation == Some(self.generation)
        };
        self.status.conditions.iter().any(synced)
    }

    /// What the last status says under `type_` with this reason.
    pub fn shown(&self, type_: ConditionType, reason: Reason) -> Option<&str> {
        let mut conditions = self.status.conditions.iter();
        let same = |shown: &&Condition| shown.type_ == type_.as_str() && shown.reason == reason.as_str();
        conditions.find(same).map(|shown| shown.message.as_str())
    }

    /// Whether the deletion was begun, by whichever process: each shows so before its first DELETE, and from then on
    /// either that it works on it or what it waits for. What it was worked on for before it was marked is none of that.
    pub fn shows_deletion(&self) -> bool {
        let is_held =
            |shown: &Condition| shown.type_ == ConditionType::DeletionHeld.as_str() && shown.status == "True";
        self.deleted.is_some()
            && (self.shown(ConditionType::Reconciling, Reason::Deleting).is_some()
                || self.status.conditions.iter().any(is_held))
    }

    /// The id that is ours: one that a status with an origin names. An id alone owns nothing.
    pub fn owned_id(&self) -> Option<i64> {
        self.status.origin.and(self.status.id)
    }
}

impl Memory {
    /// Takes in what the object and its farm show by now.
    pub fn observe(&mut self, object: &ObjectFacts, view: &FarmView, unapplied: Option<Unapplied>, now: Now) {
        self.known_since.get_or_insert(now.boot);
        self.unapplied = unapplied;
        if object.deleted.is_some() {
            self.deletion_seen.get_or_insert(now.boot);
        }
        self.intent = object.intent.clone().or_else(|| self.intent.take());
        if let Some(intent) = &object.intent
            && self.intent_seen.is_none_or(|(attempt, _)| attempt != intent.attempt)
        {
            self.intent_seen = Some((intent.attempt, now.boot));
        }
        self.note_request(object, now);
        self.settle(object, view, now);
        if let FarmView::Up(facts) = view {
            let lowers = super::plan::site_to_lower(object, facts).is_some();
            self.lowering_since = lowers.then(|| self.lowering_since.unwrap_or(now.boot));
        }
    }

    /// Whether the last step for this generation failed.
    pub fn has_failed(&self, generation: i64) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.generation == generation)
    }

    /// A request that was not seen before voids what is remembered of earlier tries.
    fn note_request(&mut self, object: &ObjectFacts, now: Now) {
        let Some(asked) = object.desired.requests.reconcile.as_deref() else { return };
        if self.asked.as_ref().is_none_or(|(known, _)| known != asked) {
            self.asked = Some((asked.to_owned(), now.boot));
            self.update = None;
            self.moved = None;
            self.failure = None;
        }
    }

    /// Takes note of what an Apply brought: a change is settled by the first row that is seen after it.
    fn settle(&mut self, object: &ObjectFacts, view: &FarmView, now: Now) {
        let FarmView::Up(facts) = view else { return };
        // Another server under the recorded id is not what was sent to, nor what was to be gone.
        let is_same = |row: &&Arc<ras::Broker>| object.means(row);
        let row = object.status.id.and_then(|id| facts.snapshot.row(id)).filter(is_same);
        if row.is_none() {
            // What was sent went with its row: one that is created in its place knows nothing of it.
            self.update = None;
            self.moved = None;
        }
        if self.unapplied.is_some() {
            return;
        }
        if let (Some(update), Some(row)) = (&mut self.update, row)
            && update.settled.is_none()
        {
            update.settled = Some(row_fields(row));
        }
        // What the row shows may be of the earlier change: that proves nothing, and what differs is sent again.
        self.update.take_if(|update| update.in_doubt && update.settled.is_some());
        self.moved = self.moved.take().zip(row).and_then(|(moved, row)| moved.after_apply(row.priority));
        if self.deleted.is_some() && self.deleted == row.map(|row| row.id) {
            self.deleted = None;
            let text = "The farm answered the deletion and still lists the broker after the Apply: it is sent again a \
                        minute later. If this goes on, look at the broker in the RAS Console.";
            self.failure = Some(Failure {
                generation: object.generation,
                hold: Hold::new(Reason::Deleting, text),
                retry_at: now.boot + DELETE_PAUSE,
                count: 1,
                is_denial: false,
            });
        }
        if row.is_some() {
            self.confirmed_gone = None;
        }
    }
}

impl SentMove {
    /// The same as one more step of a series. Only where the series began a list has shown: in between, rows that no
    /// list shows yet make the places that the steps are reckoned to reach wrong.
    #[must_use]
    pub fn following(self, earlier: Option<Self>) -> Self {
        let is_of_series = |earlier: &Self| {
            (earlier.generation, earlier.wanted, earlier.settled) == (self.generation, self.wanted, None)
        };
        Self { from: earlier.filter(is_of_series).map_or(self.from, |earlier| earlier.from), ..self }
    }

    /// What is left to remember of it once it is applied and the farm shows this place. Another place than the one
    /// reached says nothing: what was moved since, by whomever, shifts the others. A farm that brings it no nearer at all
    /// is not asked again and again.
    fn after_apply(self, shown: Option<i64>) -> Option<Self> {
        let Some(shown) = shown else { return Some(self) };
        let has_come_nearer = self.wanted.abs_diff(shown) < self.wanted.abs_diff(self.from);
        let is_new = self.settled.is_none();
        (!(is_new && has_come_nearer)).then_some(Self { settled: self.settled.or(Some(shown)), ..self })
    }
}

/// Whether our finalizer stands on the object.
pub fn has_finalizer(broker: &RasBroker) -> bool {
    broker.metadata.finalizers.iter().flatten().any(|name| name == finalizer::BROKER)
}

/// Whether a call that installs or removes this object's agent may be on its way.
pub fn may_be_installing(broker: &RasBroker) -> bool {
    let object = ObjectFacts::of(broker);
    let installs = object.desired.install.agent && object.unresolved_intent().is_some();
    let removes = object.desired.uninstall.agent && object.deleted.is_some() && object.owned_id().is_some();
    object.finalizer && (installs || removes)
}

/// What a row says of the fields that can be managed, in canonical form; what it leaves out is left out.
pub fn row_fields(row: &ras::Broker) -> Fields {
    shown_fields(&observed_row(row))
}

/// The same of a row that a status shows.
pub fn shown_fields(shown: &ObservedBroker) -> Fields {
    let flag = |field, value: Option<bool>| value.map(|flag| (field, Value::Flag(flag)));
    let ip = shown.ip.as_deref().map(canonical_address);
    let addresses = address_set(shown.alternative_ips.iter().flatten().map(String::as_str));
    [
        flag(Field::Enabled, shown.enabled),
        flag(Field::Standby, shown.standby),
        // A description that is absent is one that is empty: a spec that clears it must find it cleared.
        Some((Field::Description, Value::Text(shown.description.clone().unwrap_or_default()))),
        Some((Field::Ip, Value::Text(ip.unwrap_or_default()))),
        Some((Field::AlternativeIps, Value::Addresses(addresses))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a status shows of a row.
pub fn observed_row(row: &ras::Broker) -> ObservedBroker {
    let addresses = row.alternative_ips.as_deref().map(|text| address_set([text]));
    ObservedBroker {
        server: row.server.clone(),
        site_id: row.site_id,
        enabled: row.enabled,
        standby: row.standby,
        description: row.description.clone(),
        ip: row.ip.clone(),
        alternative_ips: addresses.map(|set| set.into_iter().collect()),
        time_create: row.time_create.clone(),
        admin_create: row.admin_create.clone(),
        time_last_mod: row.time_last_mod.clone(),
        admin_last_mod: row.admin_last_mod.clone(),
    }
}

/// The managed fields that are not as they should be: wanted and observed.
pub fn differences(wanted: &Fields, row: &ras::Broker) -> BTreeMap<Field, (Value, Option<Value>)> {
    let observed = row_fields(row);
    wanted
        .iter()
        .filter(|(field, value)| observed.get(field) != Some(value))
        .map(|(field, value)| (*field, (value.clone(), observed.get(field).cloned())))
        .collect()
}

/// Whether a row may be the same machine as `name` or one of `addresses` under another spelling.
pub fn may_be_same_machine(row: &ras::Broker, name: &ServerName, addresses: &[String]) -> bool {
    let row_name = ServerName::new(&row.server);
    let row_ip = row.ip.as_deref().map(canonical_address).filter(|ip| !ip.is_empty());
    let is_address = |text: &str| addresses.iter().any(|address| address == text) || name.as_str() == text;
    row_name.may_be(name) || row_ip.as_deref().is_some_and(is_address) || is_address(row_name.as_str())
}

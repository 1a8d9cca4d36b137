//! A world of values: one object, the rows of one farm, and an executor that does what a step says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ras_operator::broker::desired::{Field, Fields, Value};
use ras_operator::broker::intent::Intent;
use ras_operator::broker::observe::{
    Claim, CrdState, Memory, ObjectFacts, Observed, Rival, SentMove, SentUpdate, differences, has_finalizer,
    observed_row,
};
use ras_operator::broker::order;
use ras_operator::broker::plan::{Plan, Released, Step, plan};
use ras_operator::clock::Now;
use ras_operator::crd::condition::ConditionType;
use ras_operator::crd::{ApplyMode, MoveForm, Origin, RasBroker, RasBrokerStatus, annotation, finalizer};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{DeletionLimits, FarmFacts, FarmView, Hold, Unapplied};
use ras_operator::ras;

use crate::laws;

/// The account that the operator uses.
pub(crate) const ACCOUNT: &str = "svc";
/// The farm.
pub(crate) const GUID: &str = "farm";
/// More steps than any world needs to come to rest.
const MOST_ROUNDS: usize = 80;

/// How the farm treats what it is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    /// Fields whose PUT is answered and changes nothing.
    pub(crate) ignores: BTreeSet<&'static str>,
    /// Whether a deleted row is hidden before it is applied.
    pub(crate) hides_deleted: bool,
}

/// Everything there is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) broker: Option<RasBroker>,
    pub(crate) rows: Vec<ras::Broker>,
    pub(crate) habits: Habits,
    pub(crate) hold: Option<Hold>,
    pub(crate) mode: ApplyMode,
    pub(crate) rivals: Vec<Rival>,
    pub(crate) threshold: usize,
    pub(crate) boot: Duration,
    pub(crate) snapshot: Snapshot,
    pub(crate) memory: Memory,
    pub(crate) unapplied: Option<Unapplied>,
    pub(crate) writes: usize,
    pub(crate) ever_owned: BTreeSet<i64>,
    pub(crate) violations: Vec<String>,
    pub(crate) is_at_rest: bool,
}

impl World {
    pub(crate) fn now(&self) -> Now {
        Now { wall: start() + self.boot, boot: self.boot }
    }

    pub(crate) fn pass_time(&mut self, time: Duration) {
        self.boot += time;
    }

    pub(crate) fn owned_id(&self) -> Option<i64> {
        self.broker.as_ref().and_then(|broker| ObjectFacts::of(broker).owned_id())
    }

    /// The fields that are set and that the farm has otherwise.
    pub(crate) fn managed_differences(&self) -> Vec<Field> {
        let Some(broker) = &self.broker else { return Vec::new() };
        let object = ObjectFacts::of(broker);
        let row = object.owned_id().and_then(|id| self.rows.iter().find(|row| row.id == id));
        row.map(|row| differences(&object.desired.fields, row).into_keys().collect()).unwrap_or_default()
    }

    /// The farm is listed, as an actor does it.
    pub(crate) fn list(&mut self) {
        let rows = self.rows.iter().filter(|row| !self.is_hidden(row)).cloned().collect();
        self.snapshot = self.snapshot.next(rows, self.boot, Some(self.now().wall));
    }

    /// Whether the farm's lists leave out this row.
    pub(crate) fn is_hidden(&self, row: &ras::Broker) -> bool {
        self.habits.hides_deleted && row.marked_for_deletion == Some(true)
    }

    /// Runs until nothing is left to do, or for too long.
    pub(crate) fn run(&mut self) {
        self.is_at_rest = false;
        for _ in 0..MOST_ROUNDS {
            let Some(broker) = self.broker.clone() else {
                self.is_at_rest = true;
                return;
            };
            let observed = self.observe(&broker);
            let plan = plan(&observed, self.now());
            self.violations.extend(laws::broken(&observed, &plan, self));
            let said = self.report(&plan);
            match plan.step.clone() {
                Some(step) => self.execute(&observed, &step),
                None if self.world_moves(&plan) => {}
                None => {
                    self.is_at_rest = true;
                    let again = ras_operator::broker::plan::plan(&self.observe(&broker_of(self)), self.now());
                    if said && again.status.is_some() && again.status != broker_of(self).status {
                        self.violations.push(format!("says two things of one world: {again:#?}"));
                    }
                    return;
                }
            }
        }
    }

    pub(crate) fn observe(&mut self, broker: &RasBroker) -> Observed {
        let object = ObjectFacts::of(broker);
        let farm = FarmView::Up(Arc::new(self.facts()));
        let now = self.now();
        self.memory.observe(&object, &farm, self.unapplied, now);
        let place = order::stated(broker).and_then(|(site, stated)| {
            order::place(
                &self.snapshot,
                site.site_id,
                stated.id,
                std::slice::from_ref(&stated),
                MoveForm::Step,
            )
        });
        let is_lost = object.owned_id().is_some_and(|id| self.snapshot.row(id).is_none());
        Observed {
            deletions: object.deleted.into_iter().collect(),
            vanished: usize::from(is_lost),
            object,
            farm,
            memory: self.memory.clone(),
            rivals: self.rivals.clone(),
            raising: false,
            crd: CrdState::Present,
            place,
        }
    }

    fn facts(&self) -> FarmFacts {
        let facts = facts_of(&self.snapshot, self.now());
        let deletions = DeletionLimits { threshold: self.threshold, ..facts.deletions };
        FarmFacts { hold: self.hold.clone(), mode: self.mode, deletions, ..facts }
    }

    /// Takes over the plan's status; whether it is news.
    fn report(&mut self, plan: &Plan) -> bool {
        let (Some(broker), Some(status)) = (&mut self.broker, &plan.status) else { return false };
        let news = broker.status.as_ref() != Some(status);
        broker.status = Some(status.clone());
        news
    }

    /// Without a step: what others do meanwhile, in the order in which it would happen.
    fn world_moves(&mut self, plan: &Plan) -> bool {
        if self.unapplied.is_some() && self.mode != ApplyMode::Manual {
            self.apply();
            return true;
        }
        if plan.needs_list {
            let before = self.snapshot.clone();
            self.boot += Duration::from_millis(50);
            self.list();
            // Only what a list changes wakes anybody.
            if !before.changed_keys(&self.snapshot).is_empty() {
                return true;
            }
        }
        if let Some(pause) = plan.requeue {
            self.boot += pause.max(Duration::from_millis(10));
            // What another object has sent is settled in time.
            let open = self.rivals.iter_mut().filter(|rival| rival.claim == Claim::Intent);
            open.for_each(|rival| rival.claim = Claim::Nothing);
            return true;
        }
        false
    }

    fn apply(&mut self) {
        self.rows.retain(|row| row.marked_for_deletion != Some(true));
        self.boot += Duration::from_secs(1);
        self.list();
        self.boot += Duration::from_secs(1);
        self.list();
        self.unapplied = None;
    }

    fn execute(&mut self, observed: &Observed, step: &Step) {
        self.boot += Duration::from_millis(5);
        match step {
            Step::Create { intent } => self.create(intent),
            Step::Claim => self.set_finalizer(true),
            Step::Record { row, origin } => {
                self.record(row, *origin);
                self.memory.update = None;
            }
            Step::Update { id, fields } => self.update(observed, *id, fields),
            Step::Move { id, to } => self.move_row(observed, *id, *to),
            Step::Delete { row } => self.delete(row.id),
            Step::ConfirmGone { id } => {
                let found = self.rows.iter().find(|row| row.id == *id && !self.is_hidden(row));
                let is_other = found.is_none_or(|row| !observed.object.means(row));
                if found.is_none() {
                    self.snapshot.remove(*id);
                }
                self.memory.confirmed_gone = is_other.then_some(*id);
            }
            Step::Release { outcome: Released::Deleted | Released::Orphaned | Released::NeverCreated } => {
                self.release();
            }
        }
    }

    fn create(&mut self, intent: &Intent) {
        self.boot += Duration::from_millis(5);
        if self.boot > self.snapshot.listed_at + Duration::from_secs(10) {
            // Not admitted: the list is renewed first, and everything is decided anew.
            return self.list();
        }
        self.set_finalizer(true);
        let broker = self.broker.as_mut().expect("an object");
        let text = serde_json::to_string(intent).expect("an intent");
        broker.metadata.annotations.get_or_insert_default().insert(annotation::CREATE_INTENT.into(), text);
        let id = self.rows.iter().map(|row| row.id).max().unwrap_or(0).max(100) + 1;
        let row = ras::Broker {
            id,
            server: intent.server.clone(),
            site_id: intent.site_id,
            enabled: Some(true),
            standby: Some(false),
            marked_for_deletion: Some(false),
            description: Some(String::new()),
            ip: Some("10.0.0.77".into()),
            alternative_ips: Some(String::new()),
            priority: Some(9),
            admin_create: Some(ACCOUNT.into()),
            admin_last_mod: Some(ACCOUNT.into()),
            time_create: Some(self.now().wall.to_string()),
            time_last_mod: Some(self.now().wall.to_string()),
        };
        self.rows.push(row.clone());
        self.writes += 1;
        self.unapplied = Some(Unapplied::Created);
        self.snapshot.put(row.clone());
        self.record(&row, Origin::Created);
    }

    fn record(&mut self, row: &ras::Broker, origin: Origin) {
        self.ever_owned.insert(row.id);
        let broker = self.broker.as_mut().expect("an object");
        let mut status = broker.status.clone().unwrap_or_default();
        status.id = Some(row.id);
        status.origin = Some(origin);
        status.site_id = Some(row.site_id);
        status.farm_guid = Some(GUID.into());
        status.observed = Some(observed_row(row));
        broker.status = Some(status);
    }

    fn update(&mut self, observed: &Observed, id: i64, fields: &Fields) {
        self.writes += 1;
        let row = self.rows.iter_mut().find(|row| row.id == id).expect("a row");
        let mut shown = row.clone();
        for (field, value) in fields {
            set(&mut shown, *field, value);
            if !self.habits.ignores.contains(field.name()) {
                set(row, *field, value);
            }
        }
        self.snapshot.put(shown);
        self.unapplied = self.unapplied.or(Some(Unapplied::Updated));
        self.memory.update = Some(SentUpdate {
            generation: observed.object.generation,
            fields: fields.clone(),
            in_doubt: false,
            settled: None,
        });
    }

    fn move_row(&mut self, observed: &Observed, id: i64, to: ras::Move) {
        self.writes += 1;
        let site = self.rows.iter().find(|row| row.id == id).expect("a row").site_id;
        let place = |snapshot: &Snapshot| snapshot.row(id).and_then(|row| row.priority).expect("a place");
        let from = place(&self.snapshot);
        let shifted = self.snapshot.move_row(site, id, to);
        if !self.habits.ignores.contains("priority") {
            for row in &mut self.rows {
                let new = shifted.iter().find(|shifted| shifted.id == row.id);
                row.priority = new.map_or(row.priority, |new| new.priority);
            }
        }
        self.unapplied = self.unapplied.or(Some(Unapplied::Moved));
        self.memory.moved = Some(SentMove {
            generation: observed.object.generation,
            wanted: observed.place.as_ref().expect("a place").wanted,
            from,
            reached: place(&self.snapshot),
            settled: None,
        });
    }

    fn delete(&mut self, id: i64) {
        self.writes += 1;
        let row = self.rows.iter_mut().find(|row| row.id == id).expect("a row");
        row.marked_for_deletion = Some(true);
        self.unapplied = Some(Unapplied::Deleted);
        self.memory.deleted = Some(id);
    }

    fn release(&mut self) {
        let broker = self.broker.as_mut().expect("an object");
        if broker.metadata.deletion_timestamp.is_some() {
            self.broker = None;
            return;
        }
        let status = broker.status.clone().unwrap_or_default();
        broker.status = Some(RasBrokerStatus { origin: None, ..status });
        self.set_finalizer(false);
    }

    fn set_finalizer(&mut self, present: bool) {
        let broker = self.broker.as_mut().expect("an object");
        if has_finalizer(broker) == present {
            return;
        }
        let all = broker.metadata.finalizers.get_or_insert_default();
        all.retain(|name| name != finalizer::BROKER);
        if present {
            all.push(finalizer::BROKER.to_owned());
        }
    }
}

/// What a farm shows that answers and keeps nothing back.
pub(crate) fn facts_of(snapshot: &Snapshot, now: Now) -> FarmFacts {
    FarmFacts {
        identity: GUID.into(),
        default_site: Ok(1),
        sites: vec![(1, Some("Site".into())), (2, None)],
        snapshot: Arc::new(snapshot.clone()),
        account: ACCOUNT.into(),
        farm_time: now.wall,
        deletions: DeletionLimits { window: Duration::from_mins(10), ..DeletionLimits::default() },
        ..FarmFacts::default()
    }
}

fn broker_of(world: &World) -> RasBroker {
    world.broker.clone().expect("an object")
}

/// When every world begins.
pub(crate) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// Sets a field of a row.
pub(crate) fn set(row: &mut ras::Broker, field: Field, value: &Value) {
    let flag = match value {
        Value::Flag(flag) => Some(*flag),
        Value::Text(_) | Value::Addresses(_) => None,
    };
    match field {
        Field::Enabled => row.enabled = flag,
        Field::Standby => row.standby = flag,
        Field::Description => row.description = Some(value.to_string()),
        Field::Ip => row.ip = Some(value.to_string()),
        Field::AlternativeIps => row.alternative_ips = Some(value.to_string()),
    }
}

/// Status and reason of a condition.
pub(crate) fn shows(broker: &RasBroker, type_: ConditionType) -> Option<(&str, &str)> {
    let mut conditions = broker.status.iter().flat_map(|status| &status.conditions);
    let shown = conditions.find(|condition| condition.type_ == type_.as_str())?;
    Some((&shown.status, &shown.reason))
}

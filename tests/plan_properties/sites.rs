//! Farms of several brokers, under any edits and in any order of decisions, calls and Applies: what serves a site is
//! never taken from it, one change that lowers it goes at a time, and everything that may be done is done.

#[path = "served.rs"]
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ras_operator::broker::desired::{Field, Fields};
use ras_operator::broker::observe::{
    CrdState, Failure, Memory, ObjectFacts, Observed, SentUpdate, observed_row,
};
use ras_operator::broker::plan::{
    Plan, Step, deletion_of, may_raise, plan, raises, site_to_lower, update_of,
};
use ras_operator::clock::Now;
use ras_operator::crd::condition::Reason;
use ras_operator::crd::{Origin, RasBroker, annotation, finalizer};
use ras_operator::farm::service::{Change, Service, Sites, Wait};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{FarmFacts, FarmView, Hold, Unapplied};
use ras_operator::kubernetes::ObjectKey;
use ras_operator::ras;
use serde_json::json;

use crate::edits::{Act, Beginning, Luck, OBJECTS, Spec, beginning};
use crate::model::{ACCOUNT, GUID, facts_of, set, start};

/// More than anything takes that comes to rest.
const LONG: Duration = Duration::from_mins(40);

#[derive(Debug)]
struct Farm {
    objects: BTreeMap<usize, RasBroker>,
    luck: Vec<Luck>,
    memories: Vec<Memory>,
    rows: Vec<ras::Broker>,
    snapshot: Snapshot,
    sites: Sites,
    unapplied: BTreeMap<usize, Unapplied>,
    /// What each row served when it was last applied.
    committed: BTreeMap<i64, Service>,
    /// What lowered a site since the last Apply.
    lowered: Vec<Change>,
    decided: BTreeMap<usize, (Observed, Step)>,
    woken: BTreeSet<usize>,
    timers: BTreeMap<usize, Duration>,
    list_asked: bool,
    boot: Duration,
    violations: Vec<String>,
}

fn key(index: usize) -> ObjectKey {
    ObjectKey::new("ns", format!("cb{index}"))
}

fn server(index: usize) -> String {
    format!("cb{index}.corp.example")
}

fn row(id: i64, server: String, site_id: i64, priority: i64) -> ras::Broker {
    ras::Broker {
        id,
        server,
        site_id,
        priority: Some(priority),
        enabled: Some(true),
        standby: Some(false),
        admin_create: Some(ACCOUNT.into()),
        time_create: Some("2026-01-01T00:00:00Z".into()),
        ..ras::Broker::default()
    }
}

fn object(index: usize, site_id: i64, spec: &Spec) -> RasBroker {
    let mut broker: RasBroker = serde_json::from_value(json!({
        "apiVersion": "ras-operator.dev/v1alpha1",
        "kind": "RasBroker",
        "metadata": {
            "name": format!("cb{index}"), "namespace": "ns", "uid": index.to_string(), "generation": 1,
            "finalizers": [finalizer::BROKER],
        },
        "spec": {"farmRef": {"name": "north"}, "server": server(index), "siteId": site_id},
    }))
    .expect("an object");
    edit(&mut broker, spec);
    broker
}

fn edit(broker: &mut RasBroker, spec: &Spec) {
    broker.spec.enabled = spec.enabled;
    broker.spec.standby = spec.standby;
    broker.spec.suspend = spec.suspend;
    broker.metadata.generation = broker.metadata.generation.map(|generation| generation + 1);
    let notes = broker.metadata.annotations.get_or_insert_default();
    notes.remove(annotation::SKIP_AVAILABILITY_CHECK);
    if spec.insists {
        notes.insert(annotation::SKIP_AVAILABILITY_CHECK.into(), "true".into());
    }
}

impl Farm {
    fn of(beginning: &Beginning) -> Self {
        let primary = |place: usize| {
            let id = i64::try_from(place).unwrap() + 1;
            let row = row(id, format!("primary{id}.corp.example"), id, 0);
            ras::Broker { enabled: Some(beginning.primaries[place]), ..row }
        };
        let mut farm = Self {
            objects: BTreeMap::new(),
            luck: beginning.objects.iter().map(|member| member.luck).collect(),
            memories: vec![Memory::default(); OBJECTS],
            rows: vec![primary(0), primary(1)],
            snapshot: Snapshot::default(),
            sites: Sites::default(),
            unapplied: BTreeMap::new(),
            committed: BTreeMap::new(),
            lowered: Vec::new(),
            decided: BTreeMap::new(),
            woken: (0..OBJECTS).collect(),
            timers: BTreeMap::new(),
            list_asked: false,
            boot: Duration::from_hours(10),
            violations: Vec::new(),
        };
        for (index, member) in beginning.objects.iter().enumerate() {
            let mut broker = object(index, member.site_id, &member.spec);
            if let Some((enabled, standby)) = member.row {
                let id = 10 + i64::try_from(index).unwrap();
                let row = row(id, server(index), member.site_id, id);
                let row = ras::Broker { enabled: Some(enabled), standby: Some(standby), ..row };
                record(&mut broker, &row);
                farm.rows.push(row);
            }
            farm.objects.insert(index, broker);
        }
        farm.commit();
        farm.list();
        farm
    }

    fn now(&self) -> Now {
        Now { wall: start() + self.boot, boot: self.boot }
    }

    fn facts(&self) -> FarmFacts {
        FarmFacts { service: self.sites.changes(), ..facts_of(&self.snapshot, self.now()) }
    }

    fn list(&mut self) {
        self.boot += Duration::from_millis(10);
        let next = self.snapshot.next(self.rows.clone(), self.boot, Some(self.now().wall));
        let changed = self.snapshot.changed_keys(&next);
        self.sites.listed(self.boot);
        if !self.unapplied.is_empty() {
            next.rows().for_each(|row| self.sites.seen(&self.snapshot, row));
        }
        self.snapshot = next;
        if !changed.is_empty() {
            self.sites.moved();
        }
        let concerned = |index: &usize| changed.iter().any(|key| key.name.as_str() == server(*index));
        self.woken.extend((0..OBJECTS).filter(concerned));
        self.list_asked = false;
    }

    fn apply(&mut self) {
        self.rows.retain(|row| row.marked_for_deletion != Some(true));
        self.lowered.clear();
        self.commit();
        self.sites.applied(self.boot, true, |_| false);
        let settling = std::mem::take(&mut self.unapplied);
        self.list();
        self.boot += Duration::from_secs(1);
        self.list();
        self.woken.extend(settling.into_keys());
    }

    /// As `Context::observe` and `Context::glance` do it.
    fn observe(&mut self, index: usize) -> Observed {
        let view = FarmView::Up(Arc::new(self.facts()));
        let mut observed = self.glance(index, &view);
        self.memories[index] = observed.memory.clone();
        let FarmView::Up(facts) = &view else { unreachable!() };
        if let Some(site) = site_to_lower(&observed.object, facts) {
            let others = self.objects.iter().filter(|(other, _)| **other != index);
            let mut candidates = others.filter(|(_, broker)| may_raise(broker, facts, site));
            observed.raising = candidates.any(|(other, _)| raises(&self.glance(*other, &view), self.now()));
        }
        observed
    }

    fn glance(&self, index: usize, view: &FarmView) -> Observed {
        let object = ObjectFacts::of(&self.objects[&index]);
        let mut memory = self.memories[index].clone();
        memory.observe(&object, view, self.unapplied.get(&index).copied(), self.now());
        let is_lost = object.owned_id().is_some_and(|id| self.snapshot.row(id).is_none());
        Observed {
            deletions: object.deleted.into_iter().collect(),
            vanished: usize::from(is_lost),
            object,
            farm: view.clone(),
            memory,
            rivals: Vec::new(),
            raising: false,
            place: None,
            crd: CrdState::Present,
        }
    }

    /// One pass up to its step, as `Context::work_on` does it; whether there is one.
    fn decide(&mut self, index: usize) -> bool {
        if !self.objects.contains_key(&index) {
            return false;
        }
        let observed = self.observe(index);
        let plan = plan(&observed, self.now());
        self.raises_come_first(&observed, &plan);
        let is_news = self.report(index, &plan);
        self.list_asked |= plan.needs_list;
        self.timers.remove(&index);
        if let Some(after) = plan.requeue {
            self.timers.insert(index, self.boot + after.max(Duration::from_millis(10)));
        }
        match plan.step {
            Some(step) => {
                self.decided.insert(index, (observed, step));
                return true;
            }
            None if plan.waits_for_others => {
                let FarmView::Up(facts) = &observed.farm else { unreachable!() };
                self.sites.join(&key(index), facts.service.moves);
            }
            None if is_news => self.sites.moved(),
            None => {}
        }
        false
    }

    fn report(&mut self, index: usize, plan: &Plan) -> bool {
        let broker = self.objects.get_mut(&index).expect("an object");
        let Some(status) = &plan.status else { return false };
        let news = broker.status.as_ref() != Some(status);
        broker.status = Some(status.clone());
        news
    }

    /// The call of a step that was decided at some time before.
    fn call(&mut self, index: usize) {
        let Some((observed, step)) = self.decided.remove(&index) else { return };
        if !self.objects.contains_key(&index) {
            return;
        }
        self.boot += Duration::from_millis(5);
        let before = self.services();
        match &step {
            Step::Update { id, fields } => self.update(index, &observed, *id, fields),
            Step::Delete { row } => self.delete(index, &observed, row),
            Step::Create { .. } => self.create(index),
            Step::Claim | Step::Move { .. } => {}
            Step::Record { row, .. } => record(self.objects.get_mut(&index).expect("an object"), row),
            Step::ConfirmGone { id } => {
                let is_gone = self.rows.iter().all(|row| row.id != *id);
                self.memories[index].confirmed_gone = is_gone.then_some(*id);
            }
            Step::Release { .. } => {
                if self.objects[&index].metadata.deletion_timestamp.is_some() {
                    self.objects.remove(&index);
                    self.sites.leave(&key(index));
                }
            }
        }
        self.sites.moved();
        let insists = observed.object.desired.requests.skip_availability_check;
        for (site, was) in before {
            let is = self.services()[&site];
            if is < was && !insists {
                self.violations.push(format!("{step:?} takes site {site} from {was:?} to {is:?}"));
            }
        }
        if !self.timers.contains_key(&index) {
            self.woken.insert(index);
        }
    }

    fn commit(&mut self) {
        self.committed = self.rows.iter().map(|row| (row.id, Service::of(row))).collect();
    }

    /// The farm's admission, as `Farm::admit_change` does it: what others wait for from now on, unless it is refused.
    fn admitted(&mut self, index: usize, change: Change) -> Result<Option<Change>, Wait> {
        match self.sites.changes().wait(&self.snapshot, &change) {
            Some(wait) => Err(wait),
            None => Ok(self.sites.begin(&key(index), &self.snapshot, change).then_some(change)),
        }
    }

    /// How a write goes, for those who have no luck.
    fn fails(&mut self, index: usize, observed: &Observed, change: Option<Change>) -> bool {
        let memory = &mut self.memories[index];
        match self.luck[index] {
            Luck::Good | Luck::Ignored => {
                memory.failures = 0;
                return false;
            }
            Luck::Refused => {
                memory.failure = Some(Failure {
                    generation: observed.object.generation,
                    hold: Hold::new(Reason::Updating, "It was refused."),
                    retry_at: self.boot + Duration::from_mins(2),
                    count: 1,
                    is_denial: false,
                });
            }
            Luck::Silent => {
                memory.failures += 1;
                self.timers.insert(index, self.boot + Duration::from_secs(20));
            }
        }
        if let Some(change) = change {
            self.sites.end(&key(index), &change, false);
        }
        true
    }

    /// A change that the farm has taken. What undoes a raise that is not seen yet is on record, and takes nothing away.
    fn end(&mut self, index: usize, change: Option<Change>, lowers: bool) {
        let Some(change) = change else { return };
        if lowers {
            self.lower(change);
        }
        self.sites.end(&key(index), &change, true);
    }

    fn update(&mut self, index: usize, observed: &Observed, id: i64, fields: &Fields) {
        let FarmView::Up(facts) = &observed.farm else { unreachable!() };
        let Some(seen) = facts.snapshot.row(id).cloned() else { return };
        let change = update_of(&observed.object.desired, &seen, fields);
        let lowers = self.sites.changes().lowers(&self.snapshot, &change);
        let Ok(change) = self.admitted(index, change) else { return };
        if self.fails(index, observed, change) {
            return;
        }
        let mut shown = seen.as_ref().clone();
        for (field, value) in fields {
            set(&mut shown, *field, value);
            let is_kept = self.luck[index] == Luck::Ignored && *field == Field::Enabled;
            if let Some(row) = self.rows.iter_mut().find(|row| row.id == id && !is_kept) {
                set(row, *field, value);
            }
        }
        self.end(index, change, lowers);
        self.sites.raised(&key(index), &self.snapshot, &shown);
        self.snapshot.put(shown);
        self.unapplied.entry(index).or_insert(Unapplied::Updated);
        self.memories[index].update = Some(SentUpdate {
            generation: observed.object.generation,
            fields: fields.clone(),
            in_doubt: false,
            settled: None,
        });
        self.memories[index].failure = None;
    }

    fn delete(&mut self, index: usize, observed: &Observed, row: &ras::Broker) {
        let is_there = self.rows.iter().any(|other| other.id == row.id);
        let change = deletion_of(&observed.object.desired, row);
        let lowers = self.sites.changes().lowers(&self.snapshot, &change);
        let Ok(change) = self.admitted(index, change) else { return };
        if !is_there || self.fails(index, observed, change) {
            if let Some(change) = change {
                self.sites.end(&key(index), &change, false);
            }
            return;
        }
        self.end(index, change, lowers);
        for row in self.rows.iter_mut().filter(|other| other.id == row.id) {
            row.marked_for_deletion = Some(true);
        }
        self.unapplied.insert(index, Unapplied::Deleted);
        self.memories[index].deleted = Some(row.id);
    }

    fn create(&mut self, index: usize) {
        let observed = self.observe(index);
        if self.boot > self.snapshot.listed_at + Duration::from_secs(10) {
            return self.list();
        }
        if self.fails(index, &observed, None) {
            return;
        }
        let id =
            100 + i64::try_from(self.rows.len() + usize::try_from(self.boot.as_millis()).unwrap()).unwrap();
        let site_id = self.objects[&index].spec.site_id.unwrap_or(1);
        let row = row(id, server(index), site_id, id);
        self.sites.raised(&key(index), &self.snapshot, &row);
        self.rows.push(row.clone());
        self.snapshot.put(row.clone());
        self.unapplied.insert(index, Unapplied::Created);
        record(self.objects.get_mut(&index).expect("an object"), &row);
    }

    fn is_unsettled(&self, index: usize) -> bool {
        self.memories[index].update.as_ref().is_some_and(|update| update.settled.is_none())
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Decide(index) => drop(self.decide(*index)),
            Act::Call(index) => self.call(*index),
            Act::Apply => self.apply(),
            Act::List => self.list(),
            Act::Pass(millis) => self.boot += Duration::from_millis(*millis),
            Act::Edit(index, spec) => {
                if let Some(broker) = self.objects.get_mut(index) {
                    edit(broker, spec);
                    self.woken.insert(*index);
                }
            }
            Act::Delete(index) => {
                let now = self.now().wall;
                if let Some(broker) = self.objects.get_mut(index) {
                    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
                    broker.metadata.deletion_timestamp.get_or_insert(time);
                    self.woken.insert(*index);
                }
            }
            // What a person undoes before anybody looked is taken for what the farm made of it.
            Act::Touch(index, _) if self.is_unsettled(*index) => {}
            Act::Touch(index, enabled) => {
                let name = server(*index);
                for row in self.rows.iter_mut().filter(|row| row.server == name) {
                    row.enabled = Some(*enabled);
                    self.committed.entry(row.id).and_modify(|known| *known = Service::of(row));
                }
                self.list();
            }
        }
    }

    /// Only who is woken looks again. Whether all comes to rest, but for those who have no luck.
    fn settle(&mut self) -> bool {
        let end = self.boot + LONG;
        for _ in 0..5_000 {
            self.woken.extend(
                self.sites.call().iter().filter_map(|called| (0..OBJECTS).find(|i| key(*i) == *called)),
            );
            if let Some(index) = self.woken.pop_first() {
                if self.decide(index) {
                    self.call(index);
                }
            } else if !self.unapplied.is_empty() {
                self.apply();
            } else if self.list_asked {
                self.list();
            } else if let Some((&index, &at)) = self.timers.iter().min_by_key(|(_, at)| **at) {
                if at > end {
                    return true;
                }
                self.boot = self.boot.max(at);
                self.timers.remove(&index);
                self.woken.insert(index);
            } else {
                return true;
            }
        }
        false
    }
}

fn record(broker: &mut RasBroker, row: &ras::Broker) {
    let mut status = broker.status.clone().unwrap_or_default();
    status.id = Some(row.id);
    status.origin = Some(Origin::Created);
    status.site_id = Some(row.site_id);
    status.farm_guid = Some(GUID.into());
    status.observed = Some(observed_row(row));
    broker.status = Some(status);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_site_stays_served_and_everything_that_may_be_done_is_done(beginning in beginning()) {
        let mut farm = Farm::of(&beginning);
        for act in &beginning.acts {
            farm.act(act);
        }
        let rests = farm.settle();
        prop_assert!(farm.violations.is_empty(), "{:#?}\nfrom {beginning:#?}", farm.violations);
        prop_assert!(rests, "no rest\nfrom {beginning:#?}\nto {farm:#?}");
        prop_assert_eq!(farm.unserved(), Vec::<String>::new(), "from {:#?}\nto {:#?}", beginning, farm);
    }
}

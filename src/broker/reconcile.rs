//! One reconcile: a table of contents.

mod known;
mod others;
mod repetition;
mod swept;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use thiserror::Error;

use self::repetition::Repetition;
use super::cache::{Brokers, farm_of};
use super::execute::{Executor, Progress, StepError};
use super::observe::{CrdState, Failure, Memory, ObjectFacts, Observed, Rival};
use super::plan::{Plan, own_row, plan};
use super::rivals::{rival, site_of, takes_part};
use crate::clock::Clock;
use crate::crd::condition::ConditionType;
use crate::crd::{RasBroker, RasBrokerStatus};
use crate::events::{Event, Events, Kind};
use crate::farm::handle::Farm;
use crate::farm::registry::Farms;
use crate::farm::view::FarmView;
use crate::kubernetes::{self, CallError, ObjectKey, limited};
use crate::telemetry::{self, Trouble};

/// Steps of one broker in one go; a farm that keeps changing under our hands must not hold a worker for ever.
const MOST_STEPS: usize = 12;
/// How long it then waits: others take their turn, and the Apply of what it has written does not go out meanwhile.
const BREATH: Duration = Duration::from_millis(100);
/// How long a step rests that was done some times in a row, and is to be done again as if it had not been: an API server
/// or a farm that takes something and shows it otherwise would be asked without a pause.
const FRUITLESS: Duration = Duration::from_secs(10);
/// How often an object that is stalled for want of a farm is looked at.
const UNKNOWN_PERIOD: Duration = Duration::from_mins(1);
/// How long a reading of the CRD is good for.
const CRD_AGE: Duration = Duration::from_secs(5);

/// Objects that went past their finalizers, by the key that they had.
pub type Swept = Mutex<HashMap<ObjectKey, Arc<RasBroker>>>;

/// When a broker is to be looked at again although nothing has changed; `None` for never.
pub type Again = Option<Duration>;

/// Why a reconcile did not come to its end.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The API server did not take a write.
    #[error("failed to write the broker's status")]
    Status(#[from] CallError),
    /// A step was not done.
    #[error("failed to carry out a step")]
    Step(#[from] StepError),
}

/// What reconciles share.
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct Context {
    /// The API server.
    pub kubernetes: Client,
    /// All brokers.
    pub brokers: Arc<Brokers>,
    /// All farms.
    pub farms: Arc<Farms>,
    /// Events.
    pub events: Events,
    /// Time.
    pub clock: Clock,
    /// What this process remembers of each uid.
    pub memories: Mutex<HashMap<String, Memory>>,
    /// Objects that went past their finalizers, and whose rows have not been deleted yet.
    pub swept: Swept,
    /// What the API server last refused, by object.
    pub troubles: Mutex<HashMap<ObjectKey, Trouble>>,
    /// The last reading of the CRD.
    pub crd: tokio::sync::Mutex<Option<(Duration, CrdState)>>,
}

impl Context {
    /// Brings one broker nearer to its spec, after what another one under its name has left.
    pub async fn reconcile(&self, key: &ObjectKey) -> Result<Again, ReconcileError> {
        self.clear_up(key).await;
        let again = self.reconcile_object(key).await?;
        let left = self.swept.lock().contains_key(key).then_some(swept::LOOK);
        Ok(again.into_iter().chain(left).min())
    }

    async fn reconcile_object(&self, key: &ObjectKey) -> Result<Again, ReconcileError> {
        let Some(uid) = self.brokers.get(key).and_then(|broker| broker.uid()) else {
            return Ok(None);
        };
        let result = self.work_on(key).await;
        match self.brokers.get(key).filter(|broker| broker.uid().as_ref() == Some(&uid)) {
            Some(broker) => self.note_outcome(&broker, &uid, result.is_err()),
            None if self.swept.lock().contains_key(key) => {}
            // What is gone by now may have been forgotten before the last step was remembered.
            None => drop(self.memories.lock().remove(&uid)),
        }
        result
    }

    /// Those that wait for this broker do so only for a few failures.
    fn note_outcome(&self, broker: &RasBroker, uid: &str, failed: bool) {
        if let Some(memory) = self.memories.lock().get_mut(uid) {
            memory.failures = if failed { memory.failures.saturating_add(1) } else { 0 };
        }
        if failed {
            self.move_sites(broker);
        }
    }

    /// Brokers that wait for others of their site look again.
    fn move_sites(&self, broker: &RasBroker) {
        if let Some(farm) = self.farms.get(&farm_of(broker)) {
            farm.move_sites();
        }
    }

    async fn work_on(&self, key: &ObjectKey) -> Result<Again, ReconcileError> {
        let mut steps = Repetition::default();
        for _ in 0..MOST_STEPS {
            if !self.farms.may_act() {
                return Ok(None);
            }
            let Some(broker) = self.known(key).await? else { return Ok(None) };
            self.wake_restated();
            let farm = self.farms.get(&farm_of(&broker));
            let mut observed = self.observe(key, &broker, farm.as_ref()).await;
            let now = self.clock.now();
            self.wake_mover(&observed, key);
            let plan = plan(&observed, now);
            tracing::debug!(broker = %key, ?plan, "planned");
            // Steps are fenced by the version on which they were decided, or the one that the report made of it.
            let Some(reported) = self.report(&broker, &plan).await? else { continue };
            let is_news = !Arc::ptr_eq(&reported, &broker);
            self.note_beginning(&mut observed, &reported);
            let broker = reported;
            if plan.needs_list
                && let Some(farm) = &farm
            {
                farm.ask_for_list();
            }
            let period = farm.as_ref().map_or(UNKNOWN_PERIOD, |farm| farm.period());
            let Some(step) = &plan.step else {
                if let Some(farm) = &farm {
                    farm.withdraw(key);
                    await_others(farm, key, &observed, &plan, is_news);
                }
                return Ok(rest(&plan, period));
            };
            if steps.is_fruitless(step, &broker) {
                tracing::debug!(broker = %key, "a step is done and to be done again, and nothing comes of it");
                return Ok(Some(FRUITLESS));
            }
            let mut memory = observed.memory.clone();
            let executor = self.executor(key, &broker, &observed, farm.as_ref());
            let progress = executor.execute(step, &mut memory).await;
            let is_known = self.remember(&observed.object, &mut memory, &progress);
            match progress {
                Ok(Progress::Done) => self.move_sites(&broker),
                Ok(Progress::Queued) => return Ok(rest(&plan, period)),
                Err(StepError::Kubernetes(error)) if !error.is_denied() => {
                    return self.refresh(key, &broker, error).await;
                }
                Err(error) if error.hold(&observed.object).is_some() => {
                    self.move_sites(&broker);
                    if !is_known {
                        tracing::warn!(broker = %key, error = telemetry::chain(&error), "a step failed, trying again");
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(BREATH))
    }

    fn executor<'a>(
        &'a self,
        key: &'a ObjectKey,
        broker: &'a Arc<RasBroker>,
        observed: &'a Observed,
        farm: Option<&'a Arc<Farm>>,
    ) -> Executor<'a> {
        Executor {
            kubernetes: &self.kubernetes,
            brokers: &self.brokers,
            events: &self.events,
            swept: &self.swept,
            clock: self.clock,
            farm,
            key,
            broker,
            observed,
            is_left: false,
        }
    }

    /// Says how a reconcile ended, where it did not end as the one before.
    pub fn tell(&self, key: &ObjectKey, result: Result<&Again, &ReconcileError>) {
        let mut troubles = self.troubles.lock();
        let Err(error) = result else {
            troubles.remove(key);
            return;
        };
        let text = telemetry::chain(error);
        if troubles.entry(key.clone()).or_default().is_news(&text) {
            tracing::warn!(broker = %key, error = text, "a reconcile failed, trying again");
        }
    }

    async fn observe(&self, key: &ObjectKey, broker: &Arc<RasBroker>, farm: Option<&Arc<Farm>>) -> Observed {
        let mut object = ObjectFacts::of(broker);
        if let (Some(farm), true) = (farm, self.is_asked_anew(&object)) {
            // What the farm lacked may have come with an upgrade.
            farm.try_lacks_again();
        }
        let view = farm.map_or(FarmView::Missing, |farm| farm.view());
        let crd = if object.deleted.is_some() { self.crd_state().await } else { CrdState::Present };
        if let (Some(farm), FarmView::Up(facts), false) = (farm, &view, object.was_synced())
            && let Some(row) = own_row(&object, facts)
        {
            farm.arrived(key, row.id);
        }
        let unapplied = farm.and_then(|farm| farm.unapplied(key, object.was_synced()));
        let memory = self.recall(&object, &view, unapplied);
        object.intent = object.intent.or_else(|| memory.intent.clone());
        let (deletions, vanished) = self.farm_wide(broker, &object, &view);
        let (rivals, place) = (self.rivals(broker, &view), self.place(broker, &view));
        let raising = self.is_raising(key, broker, &object, &view);
        Observed { rivals, place, object, farm: view, memory, deletions, vanished, raising, crd }
    }

    fn is_asked_anew(&self, object: &ObjectFacts) -> bool {
        let memories = self.memories.lock();
        let known = memories.get(&object.uid).and_then(|memory| memory.asked.as_ref());
        object.request().is_some_and(|asked| known.is_none_or(|(known, _)| known != asked))
    }

    /// What this process remembers, brought up to what the farm shows by now.
    fn recall(
        &self,
        object: &ObjectFacts,
        view: &FarmView,
        unapplied: Option<crate::farm::view::Unapplied>,
    ) -> Memory {
        let now = self.clock.now();
        let mut memories = self.memories.lock();
        let memory = memories.entry(object.uid.clone()).or_default();
        memory.observe(object, view, unapplied, now);
        memory.clone()
    }

    /// Where the first word of a deletion is this process's, fenced by a version without one, it knows of each DELETE.
    fn note_beginning(&self, observed: &mut Observed, reported: &RasBroker) {
        if observed.object.shows_deletion() || !ObjectFacts::of(reported).shows_deletion() {
            return;
        }
        observed.memory.began_deletion = true;
        if let Some(memory) = self.memories.lock().get_mut(&observed.object.uid) {
            memory.began_deletion = true;
        }
    }

    /// Answers whether the step failed as it did the last time.
    fn remember(
        &self,
        object: &ObjectFacts,
        memory: &mut Memory,
        progress: &Result<Progress, StepError>,
    ) -> bool {
        let now = self.clock.now();
        let last = memory.failure.as_ref().map(|failure| failure.hold.clone());
        memory.failure = match progress {
            Ok(Progress::Done) => None,
            // Nothing was tried: the next failure is one more in the row.
            Ok(Progress::Queued) => memory.failure.take(),
            Err(error) => error.hold(object).map(|hold| {
                let count = memory.failure.as_ref().map_or(0, |failure| failure.count) + 1;
                let retry_at = now.boot + error.pause(count);
                let is_denial = matches!(error, StepError::Kubernetes(_));
                Failure { generation: object.generation, hold, retry_at, count, is_denial }
            }),
        };
        self.memories.lock().insert(object.uid.clone(), memory.clone());
        memory.failure.as_ref().is_some_and(|failure| last.as_ref() == Some(&failure.hold))
    }

    /// Deletion marks that still need a DELETE, and how many brokers vanished; looked at only where it matters.
    fn farm_wide(
        &self,
        broker: &RasBroker,
        object: &ObjectFacts,
        view: &FarmView,
    ) -> (Vec<jiff::Timestamp>, usize) {
        let FarmView::Up(facts) = view else { return (Vec::new(), 0) };
        let is_lost = |status: &RasBrokerStatus| {
            status.origin.and(status.id).is_some_and(|id| facts.snapshot.row(id).is_none())
        };
        // Deletions are counted before a DELETE is sent, and what vanished before it is created again. Not more often:
        // each count goes over the whole farm, and a crowd of deletions would make that every broker times every broker.
        if object.deleted.is_some() == is_lost(&object.status) {
            return (Vec::new(), 0);
        }
        let sent = self.memories.lock();
        if sent.get(&object.uid).is_some_and(|memory| memory.deleted.is_some()) {
            return (Vec::new(), 0);
        }
        let all = self.brokers.of_farm(&farm_of(broker));
        let unsent = |broker: &&Arc<RasBroker>| {
            let uid = broker.metadata.uid.as_deref().unwrap_or_default();
            super::observe::has_finalizer(broker) && sent.get(uid).is_none_or(|memory| !memory.delete_sent)
        };
        let mark = |broker: &Arc<RasBroker>| broker.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let deletions =
            all.iter().filter(unsent).filter(|broker| needs_delete(broker)).filter_map(mark).collect();
        let living = all.iter().filter(|broker| broker.metadata.deletion_timestamp.is_none());
        let vanished = living.filter(|broker| broker.status.as_ref().is_some_and(is_lost)).count();
        (deletions, vanished)
    }

    fn rivals(&self, broker: &RasBroker, view: &FarmView) -> Vec<Rival> {
        let FarmView::Up(facts) = view else { return Vec::new() };
        if !takes_part(broker) {
            return Vec::new();
        }
        let site = site_of(broker, facts);
        let similar = self.brokers.similar(broker);
        let same_farm = |other: &&Arc<RasBroker>| {
            takes_part(other)
                && self.farms.get(&farm_of(other)).is_some_and(|farm| match farm.view() {
                    FarmView::Up(theirs) => {
                        theirs.identity == facts.identity && site_of(other, &theirs) == site
                    }
                    FarmView::Missing | FarmView::Starting | FarmView::Down(_) => {
                        farm_of(other) == farm_of(broker)
                    }
                })
        };
        similar.iter().filter(same_farm).filter_map(|other| rival(broker, other, facts)).collect()
    }

    /// The CRD, read by name at most once per few seconds, and only for objects that are being deleted. Whoever comes
    /// while it is read waits for that reading: deletions come in crowds.
    async fn crd_state(&self) -> CrdState {
        let mut last = self.crd.lock().await;
        let asked = self.clock.now();
        if let Some((at, state)) = *last
            && asked.since(at) < CRD_AGE
        {
            return state;
        }
        let api = Api::<CustomResourceDefinition>::all(self.kubernetes.clone());
        let call = api.get_opt("rasbrokers.ras-operator.dev");
        let (at, state) = match limited("get", "CustomResourceDefinition", call).await {
            Ok(Some(crd)) if crd.metadata.deletion_timestamp.is_none() => (asked, CrdState::Present),
            Ok(Some(_)) => (asked, CrdState::Terminating),
            // As of now: those who waited for a call that timed out must not each wait for one of their own.
            Ok(None) | Err(_) => (self.clock.now(), CrdState::Unreadable),
        };
        *last = Some((at.boot, state));
        state
    }

    /// Writes the status where it is not what it was, and tells of transitions. Answers the version that stands now, or
    /// none where somebody else made another one: then everything is decided anew.
    async fn report(
        &self,
        broker: &Arc<RasBroker>,
        plan: &Plan,
    ) -> Result<Option<Arc<RasBroker>>, ReconcileError> {
        let Some(status) = &plan.status else { return Ok(Some(Arc::clone(broker))) };
        let last = broker.status.clone().unwrap_or_default();
        if last == *status {
            return Ok(Some(Arc::clone(broker)));
        }
        match kubernetes::apply_status(&self.kubernetes, broker.as_ref(), status).await {
            Ok(mut answered) => {
                answered.metadata.managed_fields = None;
                let answered = Arc::new(answered);
                self.brokers.put_answer(Arc::clone(&answered));
                for event in transitions(&last, status) {
                    self.events.publish(answered.as_ref(), &event);
                }
                Ok(Some(answered))
            }
            Err(error) => {
                let key = ObjectKey::of(broker.as_ref());
                self.refresh(&key, broker, error).await.map(|_| None)
            }
        }
    }
}

/// A broker that waits for others of its site is woken when one of them moved; what it did itself may wake those.
fn await_others(farm: &Farm, key: &ObjectKey, observed: &Observed, plan: &Plan, is_news: bool) {
    match &observed.farm {
        FarmView::Up(facts) if plan.waits_for_others => farm.await_site(key, facts.service.moves),
        FarmView::Missing | FarmView::Starting | FarmView::Down(_) | FarmView::Up(_) if is_news => {
            farm.move_sites();
        }
        FarmView::Missing | FarmView::Starting | FarmView::Down(_) | FarmView::Up(_) => {}
    }
}

/// What is stalled is looked at each period, since its cause may lie in what wakes nobody; and so is a deletion that is
/// held, since nobody tells that the CRD is being deleted, with which its object may go.
fn rest(plan: &Plan, period: Duration) -> Again {
    let waits = plan.findings.stalled.is_some() || plan.findings.held.is_some();
    let look = plan.requeue.or_else(|| waits.then_some(period));
    // Never at once: a time that has just passed must not spin.
    look.map(|after| after.max(Duration::from_millis(10)))
}

/// Whether an object is being deleted, and its broker with it.
pub fn needs_delete(broker: &RasBroker) -> bool {
    let status = broker.status.as_ref();
    let orphaned = match broker.spec.deletion_policy {
        Some(crate::crd::DeletionPolicy::Orphan) => true,
        Some(crate::crd::DeletionPolicy::Delete) => false,
        None => status.and_then(|status| status.origin) == Some(crate::crd::Origin::Adopted),
    };
    broker.metadata.deletion_timestamp.is_some()
        && !orphaned
        && status.is_some_and(|status| status.id.is_some())
}

/// Events for what has become true between two statuses.
fn transitions(last: &RasBrokerStatus, next: &RasBrokerStatus) -> Vec<Event> {
    let reason = |status: &RasBrokerStatus, type_: ConditionType| {
        let found = status.conditions.iter().find(|condition| condition.type_ == type_.as_str());
        found.map(|condition| (condition.reason.clone(), condition.message.clone()))
    };
    let told = [
        (ConditionType::Drifted, Kind::DriftDetected, None),
        (ConditionType::DeletionHeld, Kind::DeletionHeld, None),
        (ConditionType::Stalled, Kind::ResourceConflict, Some("ResourceConflict")),
    ];
    told.into_iter()
        .filter_map(|(type_, kind, only)| {
            let (now, message) = reason(next, type_)?;
            let was = reason(last, type_).map(|(was, _)| was);
            let is_new = was.as_ref() != Some(&now) && only.is_none_or(|only| only == now);
            is_new.then(|| Event::warning(kind, message))
        })
        .collect()
}

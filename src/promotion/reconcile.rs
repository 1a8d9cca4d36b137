//! One reconcile of a promotion: a table of contents.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;

use super::execute::{self, Progress};
use super::observe::{Candidate, Memory, Observed, Request, rival};
use super::plan::{Plan, plan};
use crate::broker::cache::Brokers;
use crate::broker::reconcile::Again;
use crate::clock::Clock;
use crate::crd::condition::ConditionType;
use crate::crd::{PromotionPhase, RasBrokerPromotion, RasBrokerPromotionStatus};
use crate::events::{Event, Events, Kind};
use crate::farm::handle::Farm;
use crate::farm::registry::Farms;
use crate::farm::view::FarmView;
use crate::kubernetes::{self, CallError, ObjectKey};

/// Steps of one promotion in one go.
const MOST_STEPS: usize = 4;
/// How long until a farm that did not take a promotion yet is asked again; it keeps the turn for ten times as long.
const TURN: Duration = Duration::from_millis(200);

/// What reconciles share.
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct Context {
    /// The API server.
    pub kubernetes: Client,
    /// All promotions, as watched.
    pub promotions: Store<RasBrokerPromotion>,
    /// All brokers.
    pub brokers: Arc<Brokers>,
    /// All farms.
    pub farms: Arc<Farms>,
    /// Events.
    pub events: Events,
    /// Time.
    pub clock: Clock,
    /// What this process wrote and remembers, by uid.
    pub known: Mutex<HashMap<String, Known>>,
}

/// What this process knows of one promotion beyond what was watched.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The version that its own last write was answered with.
    pub written: Option<Arc<RasBrokerPromotion>>,
    /// What it remembers.
    pub memory: Memory,
}

impl Context {
    /// Brings one promotion nearer to its end.
    pub async fn reconcile(&self, key: &ObjectKey) -> Result<Again, CallError> {
        self.forget_the_gone();
        let key = ObjectRef::new(&key.name).within(&key.namespace);
        let Some(mut object) = self.promotions.get(&key) else { return Ok(None) };
        for _ in 0..MOST_STEPS {
            if !self.farms.may_act() {
                return Ok(None);
            }
            object = self.newest(&object);
            let (observed, farm) = self.observe(&object);
            let plan = plan(&observed, self.clock.now());
            tracing::debug!(promotion = %ObjectKey::of(object.as_ref()), ?plan, "planned");
            if let Some(status) = &plan.status
                && let Err(error) = self.report(&object, status).await
            {
                return self.after(&object, error).await;
            }
            tell(farm.as_ref(), &observed, &plan);
            let (Some(send), Some(farm)) = (&plan.send, &farm) else {
                return Ok(plan.requeue);
            };
            let mut memory = observed.memory.clone();
            let progress = execute::execute(self, &object, farm, send, &mut memory).await;
            self.with(&object, |known| known.memory = memory);
            match progress {
                Ok(Progress::Done) => {}
                Ok(Progress::Queued) => return Ok(Some(TURN)),
                Err(error) => return self.after(&object, error).await,
            }
        }
        Ok(Some(TURN))
    }

    fn observe(&self, object: &Arc<RasBrokerPromotion>) -> (Observed, Option<Arc<Farm>>) {
        let request = Request::of(object);
        let key = ObjectKey::new(&request.namespace, &request.spec.broker_ref.name);
        let broker = self.brokers.get(&key).map(|broker| Candidate::of(&broker));
        let sent_to = request.status.attempt.as_ref().map(|attempt| &attempt.farm);
        let farm = sent_to.or_else(|| broker.as_ref().map(|broker| &broker.farm));
        let farm = farm.and_then(|farm| self.farms.get(&ObjectKey::new(&request.namespace, farm)));
        let boot = self.clock.now().boot;
        let memory = self.with(object, |known| {
            known.memory.observe(&request, boot);
            known.memory.clone()
        });
        let all: Vec<_> = self.promotions.state().iter().map(|other| self.newest(other)).collect();
        let rival = rival(object, &all, &self.brokers).map(|other| other.name_any());
        let view = farm.as_ref().map_or(FarmView::Missing, |farm| farm.view());
        (Observed { request, broker, farm: view, rival, memory }, farm)
    }

    /// Writes the status where it is not what it was.
    async fn report(
        &self,
        object: &Arc<RasBrokerPromotion>,
        status: &RasBrokerPromotionStatus,
    ) -> Result<(), CallError> {
        if object.status.as_ref() == Some(status) {
            return Ok(());
        }
        self.write(object, status).await
    }

    /// Writes the status, fenced, and tells of what has changed in it.
    pub(super) async fn write(
        &self,
        object: &Arc<RasBrokerPromotion>,
        status: &RasBrokerPromotionStatus,
    ) -> Result<(), CallError> {
        let mut answered = kubernetes::apply_status(&self.kubernetes, object.as_ref(), status).await?;
        answered.metadata.managed_fields = None;
        let answered = Arc::new(answered);
        self.with(&answered, |known| known.written = Some(Arc::clone(&answered)));
        if let Some(event) = transition(object.status.as_ref(), status) {
            self.events.publish(answered.as_ref(), &event);
        }
        Ok(())
    }

    /// After a conflict the object is read again; work goes on only if it is still the same one.
    async fn after(&self, object: &Arc<RasBrokerPromotion>, error: CallError) -> Result<Again, CallError> {
        if error.is_not_found() {
            return Ok(None);
        }
        if !error.is_conflict() {
            return Err(error);
        }
        let found =
            kubernetes::get::<RasBrokerPromotion>(&self.kubernetes, &ObjectKey::of(object.as_ref())).await?;
        match found.filter(|found| found.metadata.uid == object.metadata.uid) {
            Some(found) => {
                let found = Arc::new(found);
                self.with(&found, |known| known.written = Some(Arc::clone(&found)));
                Ok(Some(Duration::from_millis(10)))
            }
            None => Ok(None),
        }
    }

    /// The newer of what was watched and what this process was last answered.
    fn newest(&self, watched: &Arc<RasBrokerPromotion>) -> Arc<RasBrokerPromotion> {
        let known = self.known.lock();
        let written = watched.uid().and_then(|uid| known.get(&uid)?.written.clone());
        written.filter(|written| version(written) > version(watched)).unwrap_or_else(|| Arc::clone(watched))
    }

    fn with<T>(&self, object: &RasBrokerPromotion, what: impl FnOnce(&mut Known) -> T) -> T {
        what(self.known.lock().entry(object.uid().unwrap_or_default()).or_default())
    }

    /// Nobody tells a controller what is gone.
    fn forget_the_gone(&self) {
        let all = self.promotions.state();
        self.known.lock().retain(|uid, _| all.iter().any(|object| object.uid().as_ref() == Some(uid)));
    }
}

/// The farm knows whether a promotion may be under way.
fn tell(farm: Option<&Arc<Farm>>, observed: &Observed, plan: &Plan) {
    let Some(farm) = farm else { return };
    match &plan.running {
        Some(promoting) => farm.promotion_runs(promoting.clone()),
        None => farm.promotion_over(&observed.request.uid),
    }
    if plan.needs_list {
        farm.ask_for_list();
    }
}

/// Resource versions of one kind are ordered.
fn version(object: &RasBrokerPromotion) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The event for what has become true between two statuses.
fn transition(last: Option<&RasBrokerPromotionStatus>, next: &RasBrokerPromotionStatus) -> Option<Event> {
    let was = last.and_then(|status| status.phase);
    let phase = next.phase.filter(|phase| Some(*phase) != was)?;
    let ready = next.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    let note = ready.map(|ready| ready.message.clone()).unwrap_or_default();
    match phase {
        PromotionPhase::Promoting => Some(Event::normal(Kind::PromotionStarted, note)),
        PromotionPhase::Succeeded => Some(Event::normal(Kind::PromotionSucceeded, note)),
        PromotionPhase::Failed => Some(Event::warning(Kind::PromotionFailed, note)),
        PromotionPhase::Pending | PromotionPhase::Applying => None,
    }
}

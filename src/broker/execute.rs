//! Carries out one step. There is no choice to make here: what may be done was decided by the plan, and a permit
//! of the farm is needed for each call.

mod change;
mod take_back;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource, ResourceExt};
use thiserror::Error;

use super::cache::Brokers;
use super::intent::{Intent, is_in_time};
use super::observe::{Memory, ObjectFacts, Observed, observed_row};
use super::plan::{Released, Step};
use super::reconcile::Swept;
use super::rivals;
use crate::clock::Clock;
use crate::crd::condition::Reason;
use crate::crd::{Origin, RasBroker, RasBrokerStatus, annotation, finalizer};
use crate::events::{Event, Events, Kind};
use crate::farm::batch::Pace;
use crate::farm::handle::Farm;
use crate::farm::permit::Permit;
use crate::farm::queue::Need;
use crate::farm::view::{FarmView, Hold};
use crate::kubernetes::{self, CallError, MetadataChange, ObjectKey};
use crate::ras::{self, Credentials, Outcome};

/// What one PUT needs.
const WRITE: Need = Need { calls: 1, writes: true, fresh_list: false, pace: Pace::Ordinary };

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done: look again.
    Done,
    /// The farm will call when it is this broker's turn.
    Queued,
}

/// Why a step was not done.
#[derive(Debug, Error)]
pub enum StepError {
    /// The API server did not take a write. Nothing was sent to the farm on the strength of it.
    #[error("failed to write to the API server")]
    Kubernetes(#[from] CallError),
    /// The farm refused, or did not answer.
    #[error("failed to change the farm")]
    Farm(#[source] Box<ras::Error>),
    /// A Secret that the step needs is not usable.
    #[error("failed to read the credentials for the agent")]
    Credentials(Hold),
    /// The answer to the intent's write came too late to act on: the process may have been frozen meanwhile.
    #[error("failed to send in time after the intent was written")]
    TooLate,
}

impl From<ras::Error> for StepError {
    fn from(error: ras::Error) -> Self {
        Self::Farm(Box::new(error))
    }
}

/// Where steps are carried out.
pub(super) struct Executor<'a> {
    pub(super) kubernetes: &'a Client,
    pub(super) brokers: &'a Brokers,
    pub(super) events: &'a Events,
    pub(super) swept: &'a Swept,
    pub(super) clock: Clock,
    pub(super) farm: Option<&'a Arc<Farm>>,
    pub(super) key: &'a ObjectKey,
    pub(super) broker: &'a Arc<RasBroker>,
    pub(super) observed: &'a Observed,
    /// Whether the object has gone past its finalizer, and this is about what it has left.
    pub(super) is_left: bool,
}

impl Executor<'_> {
    /// Carries out `step`; what it learns goes into `memory`.
    pub(super) async fn execute(&self, step: &Step, memory: &mut Memory) -> Result<Progress, StepError> {
        match step {
            Step::Create { intent } => self.create(intent, memory).await,
            Step::Claim => self.claim().await,
            Step::Record { row, origin } => self.record(row, *origin, memory).await,
            Step::Update { id, fields } => self.update(*id, fields, memory).await,
            Step::Move { id, to } => self.move_row(*id, *to, memory).await,
            Step::Delete { row } => self.delete(row, memory).await,
            Step::ConfirmGone { id } => self.confirm_gone(*id, memory).await,
            Step::Release { outcome } => self.release(*outcome).await,
        }
    }

    fn permit(&self, need: Need) -> Option<Permit> {
        self.farm.and_then(|farm| farm.admit(self.key, need))
    }

    /// Whether the object still is what was decided on. What is watched may be of long ago, on a replica that has just
    /// taken over, or where a watch is silent: nothing of the farm is changed for one that wants something else by now,
    /// or has let its broker go.
    /// After it nothing but the call is waited for.
    pub(super) async fn stands(&self, permit: &Permit) -> Result<bool, StepError> {
        permit.ready().await;
        let stands = if self.is_left { self.is_gone().await } else { self.is_as_decided().await? };
        Ok(stands && self.may_act())
    }

    /// Whether this replica leads still, and is to go on: whatever was waited for may have taken longer than its Lease is
    /// good for.
    fn may_act(&self) -> bool {
        self.farm.is_some_and(|farm| farm.may_act())
    }

    async fn is_as_decided(&self) -> Result<bool, StepError> {
        let identity = |broker: &RasBroker| (broker.uid(), broker.resource_version());
        let found = kubernetes::get::<RasBroker>(self.kubernetes, self.key).await?;
        let is_same = found.is_some_and(|found| identity(&found) == identity(self.broker));
        if !is_same {
            self.brokers.distrust(self.key);
        }
        Ok(is_same)
    }

    /// The create protocol: intent, deadline, one POST, id first.
    async fn create(&self, intent: &Intent, memory: &mut Memory) -> Result<Progress, StepError> {
        let install = &self.observed.object.desired.install;
        let credentials = install.credentials_secret_ref.as_ref().filter(|_| install.agent);
        let credentials = self.agent_credentials("install", credentials).await?;
        let pace = pace(install.agent);
        let Some(permit) = self.permit(Need { calls: 1, writes: true, fresh_list: true, pace }) else {
            return Ok(Progress::Queued);
        };
        let object = self.write_intent(self.broker, intent).await?;
        let followed = self.brokers.follow(&object);
        let written_at = self.clock.now().boot;
        memory.intent_seen = Some((intent.attempt, written_at));
        memory.intent = Some(intent.clone());
        let request = ras::NewBroker {
            server: intent.server.clone(),
            site_id: intent.site_id,
            no_install: !install.agent,
            no_restart: !install.restart,
            no_firewall_rules: !install.firewall_rules,
            credentials,
        };
        if !self.may_act() || !is_in_time(written_at, self.clock.now()) {
            self.write_refusal(&object, intent, "it was not sent in time").await?;
            return Err(StepError::TooLate);
        }
        if self.has_lost_the_race(intent) {
            self.write_refusal(&object, intent, "another object for the same server was faster").await?;
            return Ok(Progress::Done);
        }
        match permit.create(&request).await {
            Ok(row) => {
                // Settled by its row: what follows is reported as the creation it is part of.
                let object = match self.write_identity(&object, &row, Origin::Created).await {
                    Ok(object) => object,
                    Err(_) if self.is_gone().await => {
                        let last = followed.last().unwrap_or(object);
                        return Ok(self.take_back(&permit, &last, &row, memory).await);
                    }
                    Err(error) => return Err(error),
                };
                let object = self.settle_intent(&object, intent, row.id).await?;
                // What was sent to a row before this one says nothing about it.
                memory.update = None;
                let note = format!("Created Connection Broker {:?} (id {}).", row.server, row.id);
                self.events.publish(object.as_ref(), &Event::normal(Kind::CreatedExternalResource, note));
                Ok(Progress::Done)
            }
            Err(error) if error.outcome() == Outcome::Unknown => Err(error.into()),
            Err(error) => {
                if let Some(farm) = self.farm.filter(|_| error.is_conflict()) {
                    // Somebody was faster: the list says who.
                    farm.ask_for_list();
                }
                self.write_refusal(&object, intent, &error.to_string()).await?;
                Err(error.into())
            }
        }
    }

    /// Whether another object's intent for the same server was acknowledged before this one's: what was decided on may
    /// be from before that object was known.
    fn has_lost_the_race(&self, intent: &Intent) -> bool {
        let FarmView::Up(facts) = &self.observed.farm else { return false };
        let others = self.brokers.similar(self.broker);
        others.iter().any(|other| rivals::has_come_first(intent, other, facts))
    }

    async fn write_intent(
        &self,
        object: &Arc<RasBroker>,
        intent: &Intent,
    ) -> Result<Arc<RasBroker>, StepError> {
        let text = serde_json::to_string(intent).unwrap_or_default();
        let change = MetadataChange {
            finalizers: kubernetes::finalizers_with(object.as_ref(), finalizer::BROKER, true),
            annotations: [(annotation::CREATE_INTENT, text)].into(),
        };
        Ok(self.take(kubernetes::patch_metadata(self.kubernetes, object.as_ref(), &change).await?))
    }

    /// A definite refusal ends the attempt: nothing is in quarantine, and nothing carries our mark.
    async fn write_refusal(
        &self,
        object: &Arc<RasBroker>,
        intent: &Intent,
        why: &str,
    ) -> Result<(), StepError> {
        let refused = Intent { refused: Some(why.chars().take(200).collect()), ..intent.clone() };
        self.write_intent(object, &refused).await.map(drop)
    }

    /// A farm may give the id of a row that vanished to the one in its place. Then the id tells nobody that the attempt
    /// brought one: the intent does.
    async fn settle_intent(
        &self,
        object: &Arc<RasBroker>,
        intent: &Intent,
        id: i64,
    ) -> Result<Arc<RasBroker>, StepError> {
        let mut object = Arc::clone(object);
        if intent.replaces != Some(id) {
            return Ok(object);
        }
        let settled = Intent { replaces: None, ..intent.clone() };
        loop {
            match self.write_intent(&object, &settled).await {
                Err(StepError::Kubernetes(error)) if error.is_conflict() => {
                    object = self.again(&object, error).await?;
                }
                written => return written,
            }
        }
    }

    /// The id goes to status before anything else.
    async fn write_identity(
        &self,
        object: &Arc<RasBroker>,
        row: &ras::Broker,
        origin: Origin,
    ) -> Result<Arc<RasBroker>, StepError> {
        let status = self.identity(object, row, origin);
        let status = super::plan::recorded(self.observed, status, row, origin, self.clock.now());
        self.write_status(object, &status).await
    }

    /// The status of an object to which this row belongs.
    fn identity(&self, object: &RasBroker, row: &ras::Broker, origin: Origin) -> RasBrokerStatus {
        let mut status = object.status.clone().unwrap_or_default();
        status.id = Some(row.id);
        status.origin = Some(origin);
        status.site_id = Some(row.site_id);
        status.observed = Some(observed_row(row));
        if let FarmView::Up(facts) = &self.observed.farm {
            status.farm_guid = Some(facts.identity.clone());
        }
        status
    }

    async fn write_status(
        &self,
        object: &Arc<RasBroker>,
        status: &RasBrokerStatus,
    ) -> Result<Arc<RasBroker>, StepError> {
        let mut object = Arc::clone(object);
        loop {
            match kubernetes::apply_status(self.kubernetes, object.as_ref(), status).await {
                Ok(answered) => return Ok(self.take(answered)),
                // Somebody touched the object: the id must not be lost for that.
                Err(error) if error.is_conflict() => object = self.again(&object, error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the object again after a conflict; another uid is another object.
    async fn again(&self, object: &Arc<RasBroker>, conflict: CallError) -> Result<Arc<RasBroker>, StepError> {
        match kubernetes::get::<RasBroker>(self.kubernetes, self.key).await? {
            Some(found) if found.metadata.uid == object.metadata.uid => Ok(self.take(found)),
            Some(_) | None => Err(conflict.into()),
        }
    }

    async fn claim(&self) -> Result<Progress, StepError> {
        // The farm must carry its own finalizer before the first of its brokers does, which a batch sees to. Beyond that
        // nothing is written to the farm, so nobody's pending changes matter, and a batch would cost a logon.
        let is_claimed = self.farm.is_some_and(|farm| farm.is_claimed());
        if !is_claimed && self.permit(Need { calls: 0, ..WRITE }).is_none() {
            return Ok(Progress::Queued);
        }
        let finalizers = kubernetes::finalizers_with(self.broker.as_ref(), finalizer::BROKER, true);
        let change = MetadataChange { finalizers, ..MetadataChange::default() };
        self.take(kubernetes::patch_metadata(self.kubernetes, self.broker.as_ref(), &change).await?);
        Ok(Progress::Done)
    }

    async fn record(
        &self,
        row: &ras::Broker,
        origin: Origin,
        memory: &mut Memory,
    ) -> Result<Progress, StepError> {
        let mut object = self.write_identity(self.broker, row, origin).await?;
        if let Some(intent) = self.observed.object.intent.as_ref().filter(|_| origin == Origin::Created) {
            object = self.settle_intent(&object, intent, row.id).await?;
        }
        memory.update = None;
        if let Some(farm) = self.farm.filter(|_| origin == Origin::Created) {
            farm.found(self.key, row.id);
        }
        if origin == Origin::Adopted {
            let note = format!("Adopted Connection Broker {:?} (id {}).", row.server, row.id);
            self.events.publish(object.as_ref(), &Event::normal(Kind::AdoptedExternalResource, note));
        }
        Ok(Progress::Done)
    }

    async fn confirm_gone(&self, id: i64, memory: &mut Memory) -> Result<Progress, StepError> {
        let Some(permit) = self.permit(Need { writes: false, ..WRITE }) else {
            return Ok(Progress::Queued);
        };
        let found = permit.get(id).await?;
        let is_its = found.is_some_and(|row| self.observed.object.means(&row));
        memory.confirmed_gone = (!is_its).then_some(id);
        Ok(Progress::Done)
    }

    /// Takes the finalizer off; an object that lives on forgets what it owned.
    async fn release(&self, outcome: Released) -> Result<Progress, StepError> {
        let mut object = Arc::clone(self.broker);
        if object.meta().deletion_timestamp.is_none() {
            let status = object.status.clone().unwrap_or_default();
            object = self.write_status(&object, &RasBrokerStatus { origin: None, ..status }).await?;
        }
        let server = &self.broker.spec.server;
        let event = match outcome {
            Released::Deleted => Some((
                Kind::DeletedExternalResource,
                format!("Connection Broker {server:?} is gone from the farm."),
            )),
            Released::Orphaned => Some((
                Kind::OrphanedExternalResource,
                format!("Connection Broker {server:?} is let go and stays in the farm."),
            )),
            Released::NeverCreated => None,
        };
        if let Some((kind, note)) = event {
            self.events.publish(object.as_ref(), &Event::normal(kind, note));
        }
        let finalizers = kubernetes::finalizers_with(object.as_ref(), finalizer::BROKER, false);
        let change = MetadataChange { finalizers, ..MetadataChange::default() };
        match kubernetes::patch_metadata(self.kubernetes, object.as_ref(), &change).await {
            Ok(answered) => self.take_released(answered),
            Err(error) if error.is_not_found() => self.brokers.remove(&object),
            Err(error) => return Err(error.into()),
        }
        if let Some(farm) = self.farm {
            farm.touch();
        }
        Ok(Progress::Done)
    }

    /// The last finalizer's removal is answered with an object that no longer exists.
    fn take_released(&self, answered: RasBroker) {
        if answered.metadata.deletion_timestamp.is_some() && answered.finalizers().is_empty() {
            self.brokers.remove(&answered);
        } else {
            self.take(answered);
        }
    }

    fn take(&self, answered: RasBroker) -> Arc<RasBroker> {
        let mut answered = answered;
        answered.metadata.managed_fields = None;
        let answered = Arc::new(answered);
        self.brokers.put_answer(Arc::clone(&answered));
        answered
    }

    async fn agent_credentials(
        &self,
        field: &str,
        reference: Option<&crate::crd::SecretRef>,
    ) -> Result<Option<Credentials>, StepError> {
        let Some(reference) = reference else { return Ok(None) };
        let key = ObjectKey::new(&self.key.namespace, &reference.name);
        let secret: Option<Secret> = kubernetes::secret(self.kubernetes, &key).await?;
        let missing = || {
            let text = format!(
                "Secret {:?} does not exist: create it, or correct spec.{field}.credentialsSecretRef.",
                reference.name
            );
            Hold::new(Reason::SecretNotFound, text)
        };
        let secret = secret.ok_or_else(|| StepError::Credentials(missing()))?;
        crate::farm::settings::credentials(&reference.name, &secret)
            .map(|account| Some(account.credentials))
            .map_err(StepError::Credentials)
    }
}

impl StepError {
    /// What to show of it, with the reason of the work it belongs to; `None` for what is nobody's business but the log's.
    pub fn hold(&self, object: &ObjectFacts) -> Option<Hold> {
        match self {
            Self::Kubernetes(error) if error.is_denied() => Some(Hold::new(
                working(object),
                format!(
                    "The API server refuses what is needed for this object: {}. Give the operator's account the \
                     rights of its ClusterRole, and let admission policies and webhooks pass finalizers and \
                     annotations of ras-operator.dev. It is tried again with growing pauses.",
                    error.words()
                ),
            )),
            Self::Kubernetes(_) | Self::TooLate => None,
            Self::Credentials(hold) => Some(Hold::new(working(object), hold.message.clone())),
            Self::Farm(error) if error.is_unauthorized() || error.is_rate_limited() => None,
            Self::Farm(error) if error.is_forbidden() => Some(Hold::new(
                Reason::Forbidden,
                format!(
                    "The farm refused: {error}. Give its RAS account the right to view, add, modify and delete brokers of this site."
                ),
            )),
            Self::Farm(error) => Some(Hold::new(
                working(object),
                format!(
                    "The farm refused or did not answer: {error}. It is tried again with growing pauses."
                ),
            )),
        }
    }

    /// How long to wait before the same step is tried again, after `count` failures in a row.
    pub fn pause(&self, count: u32) -> Duration {
        let growing = Duration::from_secs(2_u64.saturating_pow(count.min(8)).min(300));
        match self {
            Self::Farm(error) => error.retry_after().unwrap_or(growing),
            Self::Kubernetes(_) | Self::Credentials(_) | Self::TooLate => {
                growing.min(Duration::from_secs(30))
            }
        }
    }
}

fn pace(installs: bool) -> Pace {
    if installs { Pace::Install } else { Pace::Ordinary }
}

/// The reason of the work that a step belongs to.
fn working(object: &ObjectFacts) -> Reason {
    if object.owned_id().is_some() { Reason::Updating } else { Reason::Creating }
}

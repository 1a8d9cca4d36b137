//! One task per farm: it owns the session, polls, opens batches, applies and reports. Brokers make their own
//! writes; everything that concerns the farm as a whole happens here, one thing at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::connect;
use super::handle::{Farm, Wake};
use super::report;
use super::settings::FarmPolicy;
use super::snapshot::RowKey;
use super::state::{Link, Task, Trouble};
use crate::broker::cache::Brokers;
use crate::broker::canonical::ServerName;
use crate::crd::condition::{ConditionType, Status};
use crate::crd::{PendingApply, RasFarm, finalizer};
use crate::events::{Event, Events, Kind};
use crate::kubernetes::{self, CallError, MetadataChange, ObjectKey};
use crate::metrics::{ApplyOutcome, FarmName, Metrics};
use crate::ras::{self, Observer, Outcome};

/// Pause after a call to the API server that failed.
const KUBERNETES_PAUSE: Duration = Duration::from_secs(5);
/// How long after the first list that follows an Apply the second one confirms what is gone.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// The actor of one farm.
pub(super) struct Actor {
    pub(super) farm: Arc<Farm>,
    pub(super) kubernetes: Client,
    pub(super) brokers: Arc<Brokers>,
    pub(super) policy: FarmPolicy,
    pub(super) observer: Observer,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) wake: Wake,
    pub(super) stop: CancellationToken,
}

impl Actor {
    /// Runs until stopped; then logs off.
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() && self.farm.may_act() {
            let now = self.farm.clock.now();
            let (called, overdue, task) = {
                let mut state = self.farm.state.lock();
                (state.call(now), state.is_newly_overdue(now), state.next(now))
            };
            self.wake_brokers(called);
            if overdue {
                self.wake_all();
            }
            self.perform(task).await;
        }
        self.drain().await;
    }

    async fn perform(&self, task: Task) {
        match task {
            Task::Connect => self.connect().await,
            Task::Poll => self.poll().await,
            Task::List => {
                self.list().await;
            }
            Task::OpenBatch => self.open_batch().await,
            Task::Apply => self.apply().await,
            Task::CloseBatch => self.close_batch(),
            Task::Report => self.report().await,
            Task::Rest(rest) => self.rest(rest).await,
        }
    }

    async fn rest(&self, rest: Duration) {
        // An hour is for ever: the actor is notified of everything that matters.
        let rest = rest.min(Duration::from_secs(3600));
        tokio::select! {
            () = self.farm.changed.notified() => {}
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }

    /// Calls that are not idempotent finish; then the session is given back.
    async fn drain(&self) {
        while self.farm.state.lock().batch.in_flight() > 0 {
            self.farm.changed.notified().await;
        }
        let link = self.farm.state.lock().link.take();
        if let Some(link) = link {
            self.log_off(&link).await;
        }
    }

    async fn log_off(&self, link: &Link) {
        self.give_back(&link.client, &link.session.token).await;
    }

    /// Ends a session: each one is visible to the farm's administrators, and may count towards a limit.
    pub(super) async fn give_back(&self, client: &ras::Client, token: &ras::AuthToken) {
        self.metrics.session_closed(&self.name());
        if let Err(error) = client.logoff(token).await {
            tracing::debug!(farm = %self.farm.key, reason = error.reason(), "failed to log off from the farm");
        }
    }

    fn wake_brokers(&self, keys: impl IntoIterator<Item = ObjectKey>) {
        for key in keys {
            // The receiver goes only with the process.
            drop(self.wake.send(key));
        }
    }

    pub(super) fn wake_all(&self) {
        self.wake_brokers(
            self.brokers.of_farm(&self.farm.key).iter().map(|broker| ObjectKey::of(broker.as_ref())),
        );
    }

    /// Wakes the brokers whose row changed.
    fn wake_changed(&self, changed: &HashSet<RowKey>) {
        if changed.is_empty() {
            return;
        }
        let names: HashSet<&ServerName> = changed.iter().map(|key| &key.name).collect();
        let brokers = self.brokers.of_farm(&self.farm.key);
        let concerned = brokers.iter().filter(|broker| names.contains(&ServerName::new(&broker.spec.server)));
        self.wake_brokers(concerned.map(|broker| ObjectKey::of(broker.as_ref())));
    }

    /// Logs on with what the object and its Secret say now, and takes the first list.
    async fn connect(&self) {
        let old = self.farm.state.lock().link.take();
        if let Some(old) = old {
            self.log_off(&old).await;
        }
        match connect::connect(self).await {
            Ok((link, sites)) => {
                {
                    let mut state = self.farm.state.lock();
                    state.link = Some(link);
                    state.session_expired = false;
                    state.sites = sites;
                    state.logons.record_success();
                }
                self.list_all().await;
            }
            Err(trouble) => self.troubled(trouble).await,
        }
    }

    /// The farm is usable (again) once its brokers and agents are listed.
    fn usable_again(&self) {
        let now = self.farm.clock.now();
        let was_open;
        {
            let mut state = self.farm.state.lock();
            state.down_since = None;
            state.overdue_told = false;
            was_open = std::mem::take(&mut state.circuit_told);
            if state.pending.is_some() && state.batch.is_closed() {
                // Written before a restart and not applied yet: it is ours.
                state.batch.open(now.boot, true);
            }
            state.unreported = true;
        }
        if was_open {
            self.events.publish(
                self.object().as_ref(),
                &Event::normal(Kind::CircuitClosed, "The farm can be used again."),
            );
        }
        self.wake_all();
    }

    /// The farm cannot be used: it is told once, on the farm.
    pub(super) async fn troubled(&self, trouble: Trouble) {
        let now = self.farm.clock.now();
        let (is_news, opened) = {
            let mut state = self.farm.state.lock();
            state.down_since.get_or_insert(now.boot);
            state.unreported = true;
            let news = state.trouble.as_ref().is_none_or(|old| old.hold != trouble.hold);
            state.trouble = Some(trouble.clone());
            let opened = state.breaker.is_open() && !state.circuit_told;
            state.circuit_told |= opened;
            (news, opened)
        };
        if opened {
            let note = "The farm did not answer several times in a row: it is probed with growing pauses.";
            self.events.publish(self.object().as_ref(), &Event::warning(Kind::CircuitOpened, note));
        }
        if is_news {
            tracing::warn!(farm = %self.farm.key, reason = trouble.hold.reason.as_str(), message = trouble.hold.message, "the farm cannot be used");
            self.events.publish(
                self.object().as_ref(),
                &Event::warning(Kind::CannotConnectToFarm, &trouble.hold.message),
            );
            // Brokers decide for themselves whether this is worth a word.
            self.wake_all();
        }
    }

    /// Once per period: the Secret, brokers and agents, whatever the number of brokers.
    async fn poll(&self) {
        if self.secret_changed().await {
            self.farm.state.lock().session_expired = true;
            return;
        }
        if self.needs_fresh_logon() {
            self.look_for_foreign_changes().await;
        }
        self.list_all().await;
    }

    async fn list_all(&self) {
        let (was_troubled, was_listed) = {
            let state = self.farm.state.lock();
            (state.trouble.is_some(), state.is_listed())
        };
        if !self.list().await {
            return;
        }
        self.list_agents().await;
        let now = self.farm.clock.now();
        {
            let mut state = self.farm.state.lock();
            state.polled_at = Some(now.boot);
            self.metrics.farm_succeeded(&self.name(), now.wall.as_second());
            let asked = state.reconcile_asked().map(str::to_owned);
            state.unreported |= asked.is_some();
            state.reconcile_handled = asked.or_else(|| state.reconcile_handled.take());
        }
        if was_troubled || !was_listed {
            self.usable_again();
        }
    }

    async fn secret_changed(&self) -> bool {
        let known = self.farm.state.lock().link.as_ref().map(|link| link.secret_version.clone());
        match super::settings::account(&self.kubernetes, &self.object()).await {
            Ok(account) => Some(account.version) != known,
            Err(hold) => {
                // The session still works; what is missing is said, and costs nothing until the next logon.
                tracing::warn!(farm = %self.farm.key, message = hold.message, "the farm's Secret cannot be read");
                false
            }
        }
    }

    /// Lists the brokers, and answers whether that worked; if not, it has been taken care of.
    async fn list(&self) -> bool {
        let Some(link) = self.link() else { return false };
        let asked = self.farm.clock.now();
        match link.client.list_brokers(&link.session.token).await {
            Ok(answer) => {
                let changed = {
                    let mut state = self.farm.state.lock();
                    state.note(None, answer.date, self.farm.clock.now());
                    state.breaker.record_success();
                    state.refusals = 0;
                    state.trouble = None;
                    state.take_list(answer.value, asked.boot, answer.date)
                };
                self.wake_changed(&changed);
                true
            }
            Err(error) => {
                self.failed(&error).await;
                false
            }
        }
    }

    async fn list_agents(&self) {
        let Some(link) = self.link() else { return };
        match link.client.list_agents(&link.session.token).await {
            Ok(answer) => {
                let changed = {
                    let mut state = self.farm.state.lock();
                    let next = state.snapshot.with_agents(answer.value);
                    let changed = state.snapshot.changed_keys(&next);
                    state.snapshot = Arc::new(next);
                    changed
                };
                self.wake_changed(&changed);
            }
            Err(error) => {
                tracing::debug!(farm = %self.farm.key, reason = error.reason(), "the farm's agents cannot be listed");
            }
        }
    }

    /// What a failed read of the farm means.
    async fn failed(&self, error: &ras::Error) {
        let now = self.farm.clock.now();
        let trouble = {
            let mut state = self.farm.state.lock();
            state.note(Some(error), None, now);
            // The session ran out: one logon, and only if its session is refused too is that trouble.
            state.refusals = if error.is_unauthorized() { state.refusals + 1 } else { 0 };
            if state.refusals == 1 {
                return;
            }
            connect::trouble_of(&mut state, error, now)
        };
        self.troubled(trouble).await;
    }

    /// Opens a batch: nobody deletes the farm from under it, nobody else's changes are applied with it, and that
    /// something is on its way is written down before the first write.
    async fn open_batch(&self) {
        if let Err(error) = self.claim_farm().await {
            return self.kubernetes_failed(&error).await;
        }
        let guarded = {
            let state = self.farm.state.lock();
            state.is_guarded() && state.pending.is_none()
        };
        if guarded && !self.look_for_foreign_changes().await {
            return;
        }
        let now = self.farm.clock.now();
        let pending = self.farm.state.lock().pending.clone();
        let is_pending = pending.is_some();
        if !is_pending {
            let brokers = i64::try_from(self.farm.state.lock().queue.len()).unwrap_or(i64::MAX);
            let since = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.wall);
            self.farm.state.lock().pending = Some(PendingApply { since, brokers });
            if let Err(error) = self.write_status().await {
                self.farm.state.lock().pending = None;
                return self.kubernetes_failed(&error).await;
            }
        }
        let now = self.farm.clock.now();
        self.farm.state.lock().batch.open(now.boot, is_pending);
    }

    /// `in-use` stands on the farm before the first broker's finalizer.
    async fn claim_farm(&self) -> Result<(), CallError> {
        let object = self.object();
        if let Some(finalizers) = kubernetes::finalizers_with(object.as_ref(), finalizer::IN_USE, true) {
            let change = MetadataChange { finalizers: Some(finalizers), ..MetadataChange::default() };
            self.take_object(kubernetes::patch_metadata(&self.kubernetes, object.as_ref(), &change).await?);
        }
        Ok(())
    }

    fn needs_fresh_logon(&self) -> bool {
        let state = self.farm.state.lock();
        let manual = state.object.spec.apply.mode == crate::crd::ApplyMode::Manual;
        state.foreign.is_some() || (manual && state.pending.is_some())
    }

    /// Logs on anew, which is the only way to see whether changes are pending; answers whether the way is free.
    async fn look_for_foreign_changes(&self) -> bool {
        if let Err(trouble) = connect::renew(self).await {
            self.troubled(trouble).await;
            return false;
        }
        let (was_held, is_held, applied) = {
            let mut state = self.farm.state.lock();
            let was = state.foreign.take().is_some();
            let enabled = state.link.as_ref().and_then(|link| link.session.apply_settings_enabled);
            let applied = state.pending.is_some() && enabled == Some(false) && state.batch.in_flight() == 0;
            if state.is_guarded() && state.pending.is_none() {
                state.foreign = report::foreign_changes(&state, enabled);
            }
            (was, state.foreign.is_some(), applied)
        };
        if applied {
            self.everything_applied().await;
        }
        if was_held != is_held {
            self.farm.touch();
            self.wake_all();
        }
        !is_held
    }

    async fn apply(&self) {
        let Some(link) = self.link() else { return };
        let asked = {
            let mut state = self.farm.state.lock();
            state.batch.applying();
            state.apply_asked().map(str::to_owned)
        };
        let answer = link.client.apply(&link.session.token).await;
        let now = self.farm.clock.now();
        self.farm.state.lock().note(
            answer.as_ref().err(),
            answer.as_ref().ok().and_then(|answer| answer.date),
            now,
        );
        self.metrics.applied(&self.name(), apply_outcome(answer.as_ref().err()));
        match answer {
            Ok(_) => {
                {
                    let mut state = self.farm.state.lock();
                    state.apply_handled = asked.or_else(|| state.apply_handled.take());
                    state.apply_trouble = None;
                }
                self.everything_applied().await;
                self.learn_whether_the_guard_works().await;
            }
            Err(error) => self.apply_failed(&error, asked),
        }
    }

    fn apply_failed(&self, error: &ras::Error, asked: Option<String>) {
        tracing::warn!(farm = %self.farm.key, reason = error.reason(), error = %error, "failed to apply the farm's settings");
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        state.batch.apply_failed(now.boot);
        state.apply_trouble = Some(report::apply_failed(&state.object, error));
        if error.outcome() == Outcome::Refused && !error.is_unauthorized() {
            // An Apply that was asked for by a person is answered by its refusal: it is not repeated for ever.
            state.apply_handled = asked.or_else(|| state.apply_handled.take());
        }
        state.unreported = true;
        drop(state);
        self.wake_all();
    }

    /// Everything written so far is committed: list at once, once more a second later where rows are to be gone,
    /// and read the agents, so that nobody waits for the next period.
    async fn everything_applied(&self) {
        let deleted = {
            let now = self.farm.clock.now();
            let mut state = self.farm.state.lock();
            state.batch.applied();
            match state.unanswered_until.take_if(|until| *until > now.boot) {
                // A write without an answer may still arrive: another Apply follows when it no longer can.
                Some(until) => state.batch.open(until, true),
                None => state.pending = None,
            }
            state.applied_at = Some(now.boot);
            state.unreported = true;
            std::mem::take(&mut state.own_deletes)
        };
        if self.list().await && !deleted.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(CONFIRMATION) => {}
                () = self.stop.cancelled() => return,
            }
            self.list().await;
        }
        self.list_agents().await;
        let brokers: Vec<ObjectKey> = self.farm.state.lock().unapplied.drain().map(|(key, _)| key).collect();
        self.wake_brokers(brokers);
    }

    /// Once per process: a farm whose logon still shows pending changes right after an Apply cannot be guarded.
    async fn learn_whether_the_guard_works(&self) {
        let unknown = {
            let state = self.farm.state.lock();
            state.is_guarded() && state.guard_works.is_none() && state.batch.is_closed()
        };
        if !unknown || connect::renew(self).await.is_err() {
            return;
        }
        let mut state = self.farm.state.lock();
        let enabled = state.link.as_ref().and_then(|link| link.session.apply_settings_enabled);
        state.guard_works = Some(enabled == Some(false));
        state.unreported = true;
    }

    fn close_batch(&self) {
        let mut state = self.farm.state.lock();
        state.batch.applied();
        state.pending = None;
        state.unreported = true;
    }

    async fn report(&self) {
        if self.object().metadata.deletion_timestamp.is_some() {
            self.let_go_of_farm().await;
        }
        match self.write_status().await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => self.farm.state.lock().unreported = false,
            Err(error) => self.kubernetes_failed(&error).await,
        }
    }

    /// The farm's finalizer goes when no broker that carries ours names it.
    async fn let_go_of_farm(&self) {
        let brokers = self.brokers.of_farm(&self.farm.key);
        if brokers.iter().any(|broker| crate::broker::observe::has_finalizer(broker)) {
            return;
        }
        let object = self.object();
        let Some(finalizers) = kubernetes::finalizers_with(object.as_ref(), finalizer::IN_USE, false) else {
            return;
        };
        let change = MetadataChange { finalizers: Some(finalizers), ..MetadataChange::default() };
        match kubernetes::patch_metadata(&self.kubernetes, object.as_ref(), &change).await {
            Ok(object) => self.take_object(object),
            Err(error) => self.kubernetes_failed(&error).await,
        }
    }

    /// Writes the status where it is not what it was.
    pub(super) async fn write_status(&self) -> Result<(), CallError> {
        let now = self.farm.clock.now();
        let brokers = self.brokers.of_farm(&self.farm.key);
        self.count_brokers(&brokers);
        let (object, status) = {
            let mut state = self.farm.state.lock();
            state.unreported = false;
            state.reported_at = Some(now.boot);
            (Arc::clone(&state.object), report::status(&state, &brokers, now))
        };
        if object.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let answered = kubernetes::apply_status(&self.kubernetes, object.as_ref(), &status).await;
        if answered.is_err() {
            self.farm.state.lock().unreported = true;
        }
        self.take_object(answered?);
        Ok(())
    }

    /// A write that met another version reads the object again; anything else waits a little.
    async fn kubernetes_failed(&self, error: &CallError) {
        if !error.is_conflict() {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(farm = %self.farm.key, %error, cause, "a call to the API server failed");
            return self.rest(KUBERNETES_PAUSE).await;
        }
        match kubernetes::get::<RasFarm>(&self.kubernetes, &self.farm.key).await {
            Ok(Some(object)) if object.uid().as_deref() == Some(&self.farm.uid) => {
                self.take_object(object);
                self.farm.touch();
            }
            Ok(_) => self.farm.state.lock().unreported = false,
            Err(_) => self.rest(KUBERNETES_PAUSE).await,
        }
    }

    fn take_object(&self, object: RasFarm) {
        self.farm.state.lock().set_object(Arc::new(object));
    }

    pub(super) fn object(&self) -> Arc<RasFarm> {
        Arc::clone(&self.farm.state.lock().object)
    }

    fn link(&self) -> Option<Link> {
        self.farm.state.lock().link.clone()
    }

    pub(super) fn name(&self) -> FarmName {
        FarmName::new(&self.farm.key.namespace, &self.farm.key.name)
    }

    /// The gauges that follow from the brokers' conditions; counted where the status is.
    fn count_brokers(&self, brokers: &[Arc<crate::crd::RasBroker>]) {
        for type_ in
            [ConditionType::Ready, ConditionType::Synced, ConditionType::Stalled, ConditionType::Drifted]
        {
            for status in [Status::True, Status::False, Status::Unknown] {
                let has = |broker: &&Arc<crate::crd::RasBroker>| {
                    let conditions = broker.status.iter().flat_map(|status| &status.conditions);
                    conditions.into_iter().any(|condition| {
                        condition.type_ == type_.as_str() && condition.status == status.as_str()
                    })
                };
                let count = i64::try_from(brokers.iter().filter(has).count()).unwrap_or(i64::MAX);
                self.metrics.brokers(&self.name(), type_, status, count);
            }
        }
    }
}

fn apply_outcome(error: Option<&ras::Error>) -> ApplyOutcome {
    match error.map(ras::Error::outcome) {
        None => ApplyOutcome::Success,
        Some(Outcome::Refused) => ApplyOutcome::Refused,
        Some(Outcome::Unknown) => ApplyOutcome::Unknown,
        Some(Outcome::NotSent) => ApplyOutcome::NotSent,
    }
}

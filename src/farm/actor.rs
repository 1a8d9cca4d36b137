//! One task per farm: it owns the session, polls, opens batches, applies and reports. Brokers make their own
//! writes; everything that concerns the farm as a whole happens here, one thing at a time. What is done is in
//! `poll` (look), `tend` (settings of sites), `commit` (batches and Apply) and `publish` (the farm's object).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::handle::{Farm, Wake};
use super::registry::version;
use super::settings::FarmPolicy;
use super::snapshot::RowKey;
use super::state::{Link, Task};
use crate::broker::cache::Brokers;
use crate::broker::canonical::ServerName;
use crate::crd::RasFarm;
use crate::events::Events;
use crate::kubernetes::ObjectKey;
use crate::metrics::{FarmName, Metrics};
use crate::ras::{self, Connector, Observer};

/// How long a logoff may take: a farm that does not answer forgets the session by itself.
const LOGOFF_LIMIT: Duration = Duration::from_secs(5);
/// The same when the process ends, which idle takes no more than two seconds.
const LAST_LOGOFF_LIMIT: Duration = Duration::from_millis(1_500);

/// The actor of one farm.
pub(super) struct Actor {
    pub(super) farm: Arc<Farm>,
    pub(super) kubernetes: Client,
    pub(super) brokers: Arc<Brokers>,
    pub(super) policy: FarmPolicy,
    pub(super) connector: Connector,
    pub(super) observer: Observer,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) wake: Wake,
}

impl Actor {
    /// Runs until stopped; then logs off.
    pub(super) async fn run(self) {
        while self.farm.may_act() {
            let now = self.farm.clock.now();
            let (called, news, task) = {
                let mut state = self.farm.state.lock();
                let overdue = state.is_newly_overdue(now);
                (state.call(now), state.is_news_for_all() || overdue, state.next(now))
            };
            self.wake_brokers(called);
            if news {
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
                self.settle();
            }
            Task::OpenBatch => self.open_batch().await,
            Task::Apply => self.apply().await,
            Task::ReadSettings => self.read_settings().await,
            Task::WriteSettings => self.write_settings().await,
            Task::GiveBack => self.give_back_retired().await,
            Task::Report => self.report().await,
            Task::Rest(rest) => self.rest(rest).await,
        }
    }

    async fn rest(&self, rest: Duration) {
        // An hour is for ever: the actor is notified of everything that matters.
        let rest = rest.min(Duration::from_hours(1));
        tokio::select! {
            biased;
            () = self.farm.changed.notified() => {}
            () = self.farm.stop.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }

    /// Calls that are not idempotent finish; then the session is given back.
    async fn drain(&self) {
        while !self.farm.state.lock().batch.is_idle() {
            self.farm.changed.notified().await;
        }
        {
            let mut state = self.farm.state.lock();
            let link = state.link.take();
            state.retired.extend(link);
        }
        self.give_back_retired().await;
    }

    /// Logs off from the sessions that nothing uses any more.
    async fn give_back_retired(&self) {
        loop {
            let retired = self.farm.state.lock().take_retired();
            let Some(link) = retired else { return };
            self.give_back(&link.client, &link.session.token).await;
        }
    }

    /// Waits until the limit allows a call; `false` when stopped: then no new call is made.
    pub(super) async fn turn(&self) -> bool {
        tokio::select! {
            biased;
            () = self.farm.stop.cancelled() => false,
            () = self.farm.turn() => true,
        }
    }

    /// A call that only reads: it waits for the limit, and is given up when the actor is to stop.
    pub(super) async fn read<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        if !self.turn().await {
            return None;
        }
        tokio::select! {
            biased;
            answer = call => Some(answer),
            () = self.farm.stop.cancelled() => None,
        }
    }

    /// Ends a session: each one is visible to the farm's administrators, and may count towards a limit.
    pub(super) async fn give_back(&self, client: &ras::Client, token: &ras::AuthToken) {
        self.metrics.session_closed(&self.name());
        let limit = if self.farm.stop.is_cancelled() { LAST_LOGOFF_LIMIT } else { LOGOFF_LIMIT };
        // Not held back by the limit when the process ends; otherwise it counts as any other call.
        self.turn().await;
        match tokio::time::timeout(limit, client.logoff(token)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(farm = %self.farm.key, reason = error.reason(), "failed to log off from the farm");
            }
            Err(_elapsed) => {
                tracing::debug!(farm = %self.farm.key, "the farm did not answer a logoff");
            }
        }
    }

    pub(super) fn wake_brokers(&self, keys: impl IntoIterator<Item = ObjectKey>) {
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
    pub(super) fn wake_changed(&self, changed: &HashSet<RowKey>) {
        if changed.is_empty() {
            return;
        }
        let names: HashSet<&ServerName> = changed.iter().map(|key| &key.name).collect();
        let brokers = self.brokers.of_farm(&self.farm.key);
        let concerned = brokers.iter().filter(|broker| names.contains(&ServerName::new(&broker.spec.server)));
        self.wake_brokers(concerned.map(|broker| ObjectKey::of(broker.as_ref())));
        self.wake_misplaced(changed);
    }

    /// Takes over what a write was answered with, unless a newer version was watched before the answer came.
    pub(super) fn take_object(&self, object: RasFarm) {
        let mut state = self.farm.state.lock();
        if version(&object) >= version(&state.object) {
            state.set_object(Arc::new(object));
        }
    }

    pub(super) fn object(&self) -> Arc<RasFarm> {
        Arc::clone(&self.farm.state.lock().object)
    }

    pub(super) fn link(&self) -> Option<Link> {
        self.farm.state.lock().link.clone()
    }

    pub(super) fn name(&self) -> FarmName {
        FarmName::new(&self.farm.key.namespace, &self.farm.key.name)
    }
}

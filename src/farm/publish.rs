//! The farm's object: its status, its finalizer, and the gauges that follow from its brokers.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::actor::Actor;
use super::registry::version;
use super::report;
use crate::broker::observe::has_finalizer;
use crate::crd::condition::{ConditionType, Status};
use crate::crd::{RasBroker, RasFarm, finalizer};
use crate::kubernetes::{self, CallError, MetadataChange};

/// Pause after a call to the API server that failed.
const KUBERNETES_PAUSE: Duration = Duration::from_secs(5);

impl Actor {
    pub(super) async fn report(&self) {
        if self.object().metadata.deletion_timestamp.is_some()
            && let Err(error) = self.let_go_of_farm().await
        {
            return self.report_failed(&error).await;
        }
        match self.write_current_status().await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => self.farm.state.lock().unreported = false,
            Err(error) => self.report_failed(&error).await,
        }
    }

    /// A report that failed is tried again after a pause, in which the farm is looked at as ever.
    async fn report_failed(&self, error: &CallError) {
        let now = self.farm.clock.now();
        {
            let mut state = self.farm.state.lock();
            state.unreported = true;
            state.reported_at = Some(now.boot);
        }
        if error.is_conflict() && self.read_again().await.is_ok_and(|same| same) {
            return;
        }
        self.note_trouble(error);
    }

    /// The farm's finalizer goes when no broker that carries ours names it. The last word has the API server: what
    /// was watched may lag, right after the start by everything.
    async fn let_go_of_farm(&self) -> Result<(), CallError> {
        let object = self.object();
        let Some(finalizers) = kubernetes::finalizers_with(object.as_ref(), finalizer::IN_USE, false) else {
            return Ok(());
        };
        let busy = !self.farm.state.lock().batch.is_idle();
        let brokers = self.brokers.of_farm(&self.farm.key);
        if busy || brokers.iter().any(|broker| has_finalizer(broker)) || self.is_used().await? {
            return Ok(());
        }
        let change = MetadataChange { finalizers: Some(finalizers), ..MetadataChange::default() };
        match kubernetes::patch_metadata(&self.kubernetes, object.as_ref(), &change).await {
            Ok(object) => self.take_object(object),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn is_used(&self) -> Result<bool, CallError> {
        let api = Api::<RasBroker>::namespaced(self.kubernetes.clone(), &self.farm.key.namespace);
        let of_farm = ListParams::default().fields(&format!("spec.farmRef.name={}", self.farm.key.name));
        match kubernetes::limited("list", "RasBroker", api.list(&of_farm)).await {
            Ok(brokers) => Ok(brokers.iter().any(has_finalizer)),
            // The kind itself was removed, and all its objects with it.
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the status before a step that depends on it: somebody's change of the object meanwhile is no reason to
    /// do without.
    pub(super) async fn must_write_status(&self) -> Result<(), CallError> {
        match self.write_status().await {
            Err(error) if error.is_conflict() => {
                self.read_again().await?;
                self.write_status().await
            }
            answered => answered,
        }
    }

    async fn write_current_status(&self) -> Result<(), CallError> {
        let is_doubted = self.farm.state.lock().doubted;
        if is_doubted {
            self.read_again().await?;
        }
        self.write_status().await
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
        self.farm.state.lock().kubernetes_trouble.is_over();
        Ok(())
    }

    /// A write that met another version reads the object again; anything else waits a little.
    pub(super) async fn kubernetes_failed(&self, error: &CallError) {
        if error.is_conflict() && self.read_again().await.is_ok_and(|same| same) {
            return self.farm.touch();
        }
        self.note_trouble(error);
        // Not cut short by a broker that queues: each would be another try.
        tokio::select! {
            biased;
            () = self.farm.stop.cancelled() => {}
            () = tokio::time::sleep(KUBERNETES_PAUSE) => {}
        }
    }

    fn note_trouble(&self, error: &CallError) {
        let text = crate::telemetry::chain(error);
        if self.farm.state.lock().kubernetes_trouble.is_news(&text) {
            tracing::warn!(farm = %self.farm.key, error = text, "a call to the API server failed, trying again");
        }
    }

    /// Begins where the process before it ended. What a status carries on may have been watched long ago, by a standby,
    /// and the first list of a watch is from a cache that may lag.
    pub(super) async fn take_over(&self) {
        while self.farm.may_act() {
            let before = self.object();
            match kubernetes::get::<RasFarm>(&self.kubernetes, &self.farm.key).await {
                Ok(Some(object)) if object.uid().as_deref() == Some(&self.farm.uid) => {
                    let mut state = self.farm.state.lock();
                    let object = newest(&before, &state.object, object);
                    return state.resume(object);
                }
                // The watch will say so.
                Ok(_) => return,
                Err(error) => self.kubernetes_failed(&error).await,
            }
        }
    }

    /// Takes over the object as it is now, and answers whether it is still the same one.
    async fn read_again(&self) -> Result<bool, CallError> {
        let before = self.object();
        match kubernetes::get::<RasFarm>(&self.kubernetes, &self.farm.key).await? {
            Some(object) if object.uid().as_deref() == Some(&self.farm.uid) => {
                let mut state = self.farm.state.lock();
                let object = newest(&before, &state.object, object);
                state.set_object(object);
                Ok(true)
            }
            // The watch will say so.
            Some(_) | None => Ok(false),
        }
    }

    /// The gauges that follow from the brokers' conditions; counted where the status is.
    fn count_brokers(&self, brokers: &[Arc<RasBroker>]) {
        for type_ in
            [ConditionType::Ready, ConditionType::Synced, ConditionType::Stalled, ConditionType::Drifted]
        {
            for status in [Status::True, Status::False, Status::Unknown] {
                let has = |broker: &&Arc<RasBroker>| {
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

/// What was read while `before` was known, unless a newer version has been watched meanwhile. Where none has, an API
/// server that was restored has older versions than are known: what was read is true all the same.
fn newest(before: &Arc<RasFarm>, known: &Arc<RasFarm>, read: RasFarm) -> Arc<RasFarm> {
    let is_overtaken = !Arc::ptr_eq(before, known) && version(&read) < version(known);
    if is_overtaken { Arc::clone(known) } else { Arc::new(read) }
}

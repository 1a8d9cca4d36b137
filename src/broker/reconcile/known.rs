//! What is known of brokers: what is watched and what is read, and who looks again because of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Again, Context, ReconcileError};
use crate::broker::cache::farm_of;
use crate::crd::RasBroker;
use crate::kubernetes::{self, CallError, ObjectKey};

impl Context {
    /// Asks for a reconcile of every broker of a farm.
    pub fn wake_brokers_of(&self, farm: &ObjectKey) {
        for broker in self.brokers.of_farm(farm) {
            self.farms.wake(ObjectKey::of(broker.as_ref()));
        }
    }

    /// An object that kept others off its key is gone, or means another one now.
    pub(super) fn wake_rivals(&self, broker: &RasBroker) {
        for other in self.brokers.similar(broker) {
            self.farms.wake(ObjectKey::of(other.as_ref()));
        }
    }

    /// Takes over a watched version. No trigger looks at the status, which is ours: one that we did not write, such as
    /// that of a restored backup, is looked at here.
    pub fn see(&self, broker: RasBroker) {
        let (key, farm) = (ObjectKey::of(&broker), farm_of(&broker));
        let known = self.brokers.get(&key);
        let watched = Arc::new(broker);
        self.brokers.put(Arc::clone(&watched));
        let is_news = self.brokers.get(&key).is_some_and(|newest| Arc::ptr_eq(&newest, &watched));
        if is_news && known.is_some_and(|known| known.status != watched.status) {
            self.farms.wake(key);
        }
        self.wake_restated();
        self.touch(&farm);
    }

    /// A list has this version: one that is older than what is known is looked into.
    pub fn doubt(&self, listed: &RasBroker) {
        if self.brokers.doubt(listed) {
            self.farms.wake(ObjectKey::of(listed));
        }
    }

    /// Forgets an object that is gone.
    pub fn lose(&self, broker: &RasBroker) {
        self.brokers.remove(broker);
        if let Some(uid) = &broker.metadata.uid {
            self.memories.lock().remove(uid);
        }
        self.troubles.lock().remove(&ObjectKey::of(broker));
        self.wake_rivals(broker);
        self.wake_restated();
        if let Some(farm) = self.farms.get(&farm_of(broker)) {
            farm.lose(&ObjectKey::of(broker));
        }
    }

    /// The farm counts its brokers anew.
    pub(super) fn touch(&self, farm: &ObjectKey) {
        if let Some(farm) = self.farms.get(farm) {
            farm.touch();
        }
    }

    /// After a conflict, or where there is no such object any more, it is read again; work goes on only if it is there.
    pub(super) async fn refresh(
        &self,
        key: &ObjectKey,
        broker: &RasBroker,
        error: CallError,
    ) -> Result<Again, ReconcileError> {
        if !error.is_conflict() && !error.is_not_found() {
            return Err(error.into());
        }
        self.read_again(key, broker).await?;
        Ok(Some(Duration::from_millis(10)))
    }

    /// The object as it is known, which is read before where that is doubted.
    pub(super) async fn known(&self, key: &ObjectKey) -> Result<Option<Arc<RasBroker>>, CallError> {
        if let Some(broker) = self.brokers.get(key).filter(|_| self.brokers.is_doubted(key)) {
            self.read_again(key, &broker).await?;
        }
        Ok(self.brokers.get(key))
    }

    /// What is known of the object is not to be relied on.
    pub(super) async fn read_again(&self, key: &ObjectKey, broker: &RasBroker) -> Result<(), CallError> {
        match kubernetes::get::<RasBroker>(&self.kubernetes, key).await? {
            Some(mut found) => {
                found.metadata.managed_fields = None;
                self.brokers.correct(broker, Arc::new(found));
            }
            // The watch may be late.
            None => self.lose(broker),
        }
        Ok(())
    }
}

//! An object that went while its broker was being created, in spite of its finalizer.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Executor, Progress, StepError};
use crate::broker::observe::{Memory, ObjectFacts};
use crate::broker::plan::may_take_back;
use crate::crd::{Origin, RasBroker};
use crate::events::{Event, Kind};
use crate::farm::permit::Permit;
use crate::{kubernetes, ras, telemetry};

impl Executor<'_> {
    /// Whether the object is certainly not there any more. A deletion that was under way when the finalizer was written
    /// may not have seen it: <https://github.com/kubernetes/kubernetes/issues/77988>.
    pub(super) async fn is_gone(&self) -> bool {
        match kubernetes::get::<RasBroker>(self.kubernetes, self.key).await {
            Ok(found) => found.is_none_or(|found| found.metadata.uid != self.broker.metadata.uid),
            Err(_) => false,
        }
    }

    /// The row that was just made goes as well, before anybody counts on it: there is no object that could say later
    /// whose it was. `object` is what was seen of it last: a person may have said meanwhile that the broker stays.
    pub(super) async fn take_back(
        &self,
        permit: &Permit,
        object: &RasBroker,
        row: &ras::Broker,
        memory: &mut Memory,
    ) -> Progress {
        tracing::warn!(broker = %self.key, id = row.id, "an object went while its broker was being created");
        let what = format!("Connection Broker {:?} (id {})", row.server, row.id);
        let gone = "was created for this object, which was deleted in the same moment";
        let marked = self.clock.now().wall;
        let event = if !may_take_back(&ObjectFacts::of(object), self.observed.crd) {
            Event::normal(Kind::OrphanedExternalResource, format!("{what} {gone}: it stays in the farm."))
        } else if let Err(error) = self.delete_just_made(permit, row, marked, memory).await {
            tracing::warn!(broker = %self.key, id = row.id, error = telemetry::chain(&error), "its broker is left for now");
            self.leave(object, row, marked);
            let note = format!(
                "{what} {gone}. Its deletion failed, and is tried again until the operator ends: if it is there after \
                 that, delete it in the RAS console."
            );
            Event::warning(Kind::OrphanedExternalResource, note)
        } else {
            Event::normal(Kind::DeletedExternalResource, format!("{what} {gone}: it is deleted again."))
        };
        self.events.publish(object, &event);
        self.brokers.remove(object);
        Progress::Done
    }

    async fn delete_just_made(
        &self,
        permit: &Permit,
        row: &ras::Broker,
        marked: Timestamp,
        memory: &mut Memory,
    ) -> Result<(), StepError> {
        let removal = self.removal().await?;
        if self.read_again(permit, row).await?.is_none() {
            return Ok(());
        }
        permit.ready().await;
        if !self.may_act() {
            return Err(StepError::TooLate);
        }
        self.send_delete(permit, row, &removal, marked, memory).await
    }

    /// The row is left to be cleared up as that of an object that was deleted.
    fn leave(&self, object: &RasBroker, row: &ras::Broker, marked: Timestamp) {
        let mut left = object.clone();
        left.metadata.deletion_timestamp = Some(Time(marked));
        left.status = Some(self.identity(object, row, Origin::Created));
        self.swept.lock().insert(self.key.clone(), Arc::new(left));
    }
}

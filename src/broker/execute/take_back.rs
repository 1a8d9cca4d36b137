//! An object that went while its broker was being created, in spite of its finalizer.

use super::{Executor, Progress, StepError};
use crate::broker::plan::may_take_back;
use crate::crd::RasBroker;
use crate::events::{Event, Kind};
use crate::farm::handle::Permit;
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
    /// whose it was.
    pub(super) async fn take_back(&self, permit: &Permit, row: &ras::Broker) -> Progress {
        tracing::warn!(broker = %self.key, id = row.id, "an object went while its broker was being created");
        let what = format!("Connection Broker {:?} (id {})", row.server, row.id);
        let gone = "was created for this object, which was deleted in the same moment";
        let event = if !may_take_back(self.observed) {
            Event::normal(Kind::OrphanedExternalResource, format!("{what} {gone}: it stays in the farm."))
        } else if let Err(error) = self.delete_just_made(permit, row).await {
            tracing::warn!(broker = %self.key, id = row.id, error = telemetry::chain(&error), "its broker may be left");
            let note = format!("{what} {gone}. It could not be deleted again: delete it in the RAS console.");
            Event::warning(Kind::OrphanedExternalResource, note)
        } else {
            Event::normal(Kind::DeletedExternalResource, format!("{what} {gone}: it is deleted again."))
        };
        self.events.publish(self.broker.as_ref(), &event);
        self.brokers.remove(self.broker);
        Progress::Done
    }

    async fn delete_just_made(&self, permit: &Permit, row: &ras::Broker) -> Result<(), StepError> {
        let removal = self.removal().await?;
        if self.is_still_there(permit, row).await? {
            permit.delete(row.id, &removal, self.clock.now().wall).await?;
        }
        Ok(())
    }
}

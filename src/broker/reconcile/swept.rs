//! What is left of an object that the API server took away past its finalizer: its row goes as if the object had been
//! marked. It is known to this process alone, so there is nothing to write, and nobody to tell.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Context;
use crate::broker::cache::farm_of;
use crate::broker::execute::Executor;
use crate::broker::observe::{ObjectFacts, has_finalizer};
use crate::broker::plan::{Step, may_take_back, plan};
use crate::crd::RasBroker;
use crate::kubernetes::ObjectKey;

/// How often it is looked at until its DELETE is answered.
pub(super) const LOOK: Duration = Duration::from_secs(1);

impl Context {
    /// Forgets an object that is gone, but for a row that its deletion has not seen: then it is looked at once more, and
    /// true is answered. Whoever is held by a finalizer is marked before it goes.
    pub fn lose_watched(&self, broker: &RasBroker) -> bool {
        let is_swept =
            has_finalizer(broker) && broker.metadata.deletion_timestamp.is_none() && self.farms.may_act();
        self.lose(broker);
        if !is_swept {
            return false;
        }
        let (key, server) = (ObjectKey::of(broker), &broker.spec.server);
        let owns = ObjectFacts::of(broker).owned_id().is_some();
        tracing::warn!(broker = %key, server, owns, "an object went in spite of its finalizer");
        if owns {
            let mut left = broker.clone();
            left.metadata.deletion_timestamp = Some(Time(self.clock.now().wall));
            self.swept.lock().insert(key.clone(), Arc::new(left));
            self.farms.wake(key);
        }
        owns
    }

    /// Deletes the row that an object under this key has left.
    pub(super) async fn clear_up(&self, key: &ObjectKey) {
        let left = self.swept.lock().get(key).cloned();
        let Some(broker) = left.filter(|_| self.farms.may_act()) else { return };
        if self.brokers.get(key).is_some_and(|known| known.metadata.uid == broker.metadata.uid) {
            // It is there again, where the API server was restored.
            self.swept.lock().remove(key);
            return;
        }
        let farm = self.farms.get(&farm_of(&broker));
        let observed = self.observe(key, &broker, farm.as_ref()).await;
        let plan = plan(&observed, self.clock.now());
        tracing::debug!(broker = %key, ?plan, "planned for what is left");
        if let Some(farm) = farm.as_ref().filter(|_| plan.needs_list) {
            farm.ask_for_list();
        }
        let mut memory = observed.memory.clone();
        let waits = match &plan.step {
            // Nobody can lift what was put on the object.
            _ if !may_take_back(&observed.object, observed.crd) => false,
            None => memory.deleted.is_none(),
            Some(step @ Step::Delete { row }) if !self.is_owned(key, &broker, row.id) => {
                let executor =
                    Executor { is_left: true, ..self.executor(key, &broker, &observed, farm.as_ref()) };
                let progress = executor.execute(step, &mut memory).await;
                self.remember(&observed.object, &mut memory, &progress);
                memory.deleted.is_none()
            }
            // It is gone, or not ours to delete.
            Some(_) => false,
        };
        if !waits {
            self.swept.lock().remove(key);
            self.memories.lock().remove(&observed.object.uid);
        }
    }

    /// Whether an object that is there has this row by now: one of this name, or one that names its server, perhaps by
    /// another object for the same farm.
    fn is_owned(&self, key: &ObjectKey, left: &RasBroker, id: i64) -> bool {
        let others = self.brokers.similar(left);
        others.iter().chain(&self.brokers.get(key)).any(|other| has_row(other, left, id))
    }
}

/// Whether an object owns the row with this id in the farm of another one; where one of them does not say in which farm its
/// id is recorded, that may be the same.
fn has_row(broker: &RasBroker, of: &RasBroker, id: i64) -> bool {
    let guid = |broker: &RasBroker| broker.status.as_ref().and_then(|status| status.farm_guid.clone());
    let is_same = guid(broker).zip(guid(of)).is_none_or(|(one, other)| one == other);
    ObjectFacts::of(broker).owned_id() == Some(id) && is_same
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn broker(farm: &str, status: &serde_json::Value) -> RasBroker {
        let spec = json!({"farmRef": {"name": farm}, "server": "cb1"});
        let object = json!({"metadata": {"name": "b", "uid": farm}, "spec": spec, "status": status});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_row_that_another_farms_object_has_adopted_is_its_own_in_the_same_farm_alone() {
        let left = broker("north", &json!({"id": 7, "origin": "Created", "farmGUID": "g"}));
        let adopted = |guid: &str, id| json!({"id": id, "origin": "Adopted", "farmGUID": guid});
        assert!(has_row(&broker("south", &adopted("g", 7)), &left, 7));
        assert!(!has_row(&broker("south", &adopted("g", 8)), &left, 7));
        assert!(!has_row(&broker("south", &adopted("other", 7)), &left, 7));
        assert!(!has_row(&broker("south", &json!({"id": 7, "farmGUID": "g"})), &left, 7), "let go");
    }
}

//! What the other objects of a site are about to do: whoever would lower the site lets those go first who raise it.

use super::Context;
use crate::broker::cache::farm_of;
use crate::broker::observe::{CrdState, ObjectFacts, Observed};
use crate::broker::plan::{may_raise, raises, site_to_lower};
use crate::clock::Now;
use crate::crd::RasBroker;
use crate::farm::view::FarmView;
use crate::kubernetes::ObjectKey;

impl Context {
    /// Whether another object of the site is about to raise its broker. Looked at only where it matters, in full only for
    /// those that may, and for as long as none was found.
    pub(super) fn is_raising(
        &self,
        key: &ObjectKey,
        broker: &RasBroker,
        object: &ObjectFacts,
        view: &FarmView,
    ) -> bool {
        let FarmView::Up(facts) = view else { return false };
        let Some(site) = site_to_lower(object, facts) else { return false };
        let now = self.clock.now();
        let others = self.brokers.of_farm(&farm_of(broker));
        let others = others.iter().filter(|other| ObjectKey::of(other.as_ref()) != *key);
        others
            .filter(|other| may_raise(other, facts, site))
            .any(|other| raises(&self.glance(other, view, now), now))
    }

    /// What another object's next pass will look at.
    fn glance(&self, broker: &RasBroker, view: &FarmView, now: Now) -> Observed {
        let mut object = ObjectFacts::of(broker);
        let farm = self.farms.get(&farm_of(broker));
        let unapplied = farm.and_then(|farm| farm.unapplied(&ObjectKey::of(broker), object.was_synced()));
        let mut memory = self.memories.lock().get(&object.uid).cloned().unwrap_or_default();
        memory.observe(&object, view, unapplied, now);
        object.intent = object.intent.or_else(|| memory.intent.clone());
        let (deletions, vanished) = self.farm_wide(broker, &object, view);
        let (rivals, crd) = (self.rivals(broker, view), CrdState::Present);
        Observed {
            object,
            farm: view.clone(),
            memory,
            rivals,
            place: None,
            deletions,
            vanished,
            raising: false,
            crd,
        }
    }
}

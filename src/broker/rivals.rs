//! Other objects that may mean the same broker: who they are, and who comes first. Pure.

use kube::ResourceExt;

use super::canonical::{ServerName, canonical_address};
use super::observe::{ObjectFacts, Rival, has_finalizer};
use crate::crd::{ManagementPolicy, RasBroker};
use crate::farm::view::FarmFacts;

/// Whether an object takes part at all: one that only observes does so only until it has let go.
pub(super) fn takes_part(broker: &RasBroker) -> bool {
    match broker.spec.management_policy {
        ManagementPolicy::Managed => true,
        ManagementPolicy::ObserveOnly => has_finalizer(broker),
    }
}

/// The site that an object's broker is in, as far as it is known.
pub(super) fn site_of(broker: &RasBroker, default_site: Option<i64>) -> Option<i64> {
    ObjectFacts::of(broker).recorded_site().or(broker.spec.site_id).or(default_site)
}

/// Reduces another object to what decides between the two; `None` where it is another machine.
pub fn rival(own: &RasBroker, other: &RasBroker, facts: &FarmFacts) -> Option<Rival> {
    let (own_name, other_name) = (ServerName::new(&own.spec.server), ServerName::new(&other.spec.server));
    let same_key = own_name == other_name;
    let address = |broker: &RasBroker| broker.spec.ip.as_deref().map(canonical_address).unwrap_or_default();
    let same_address = !address(own).is_empty() && address(own) == address(other);
    let crossed = address(own) == other_name.as_str() || address(other) == own_name.as_str();
    if !(same_key || own_name.may_be(&other_name) || same_address || crossed) {
        return None;
    }
    let shown = (own.namespace() == other.namespace()).then(|| other.name_any());
    Some(Rival { shown, same_key, precedes: rank(other, facts) < rank(own, facts) })
}

/// Who keeps a key: the one whose status holds the row's id, else the one with an unresolved intent, else the oldest.
fn rank(broker: &RasBroker, facts: &FarmFacts) -> (bool, bool, Option<jiff::Timestamp>, String, String) {
    let object = ObjectFacts::of(broker);
    let holds_row = object.owned_id().is_some_and(|id| facts.snapshot.row(id).is_some());
    let holds_intent = object.intent.as_ref().is_some_and(super::intent::Intent::may_have_created);
    let created = broker.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (!holds_row, !(holds_row || holds_intent), created, object.namespace, object.name)
}

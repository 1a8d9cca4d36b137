//! What a step does to the service of its site, and what keeps it back: an enabled broker stays, what raises a site
//! comes first, what lowers it goes one at a time. The rules are in [`crate::farm::service`].

use std::time::Duration;

use super::{Step, message, plan};
use crate::broker::desired::{Desired, Field, Fields, Value};
use crate::broker::observe::{ObjectFacts, Observed};
use crate::broker::rivals::site_of;
use crate::clock::Now;
use crate::crd::condition::{ConditionType, Reason};
use crate::crd::{ManagementPolicy, RasBroker};
use crate::farm::service::{Change, Kind, Service, Wait};
use crate::farm::snapshot::RowKey;
use crate::farm::view::{FarmFacts, FarmView, Hold};
use crate::ras;

/// How long a change that lowers a site is kept back at first: what was applied together with it arrives one by one,
/// and what raises the site is to be seen by then.
pub const TOGETHER: Duration = Duration::from_secs(2);

/// How many passes in a row may fail before nobody waits for the broker any more.
const PATIENCE: u32 = 3;

/// The fields that decide how much a broker serves.
pub(super) fn is_service(field: Field) -> bool {
    match field {
        Field::Enabled | Field::Standby => true,
        Field::Description | Field::Ip | Field::AlternativeIps => false,
    }
}

/// What a broker serves once `fields` are sent: one that has this row, or a new one.
fn with_fields(row: Option<&ras::Broker>, fields: &Fields) -> Service {
    let flag = |field| match fields.get(&field) {
        Some(Value::Flag(flag)) => Some(*flag),
        Some(Value::Text(_) | Value::Addresses(_)) | None => None,
    };
    let (enabled, standby) = row.map(|row| (row.enabled, row.standby)).unwrap_or_default();
    Service::with(flag(Field::Enabled).or(enabled), flag(Field::Standby).or(standby))
}

/// What a PUT of `fields` does to the site.
pub fn update_of(desired: &Desired, row: &ras::Broker, fields: &Fields) -> Change {
    change_of(desired, row, Kind::Update, with_fields(Some(row), fields))
}

/// What a DELETE does to the site.
pub fn deletion_of(desired: &Desired, row: &ras::Broker) -> Change {
    change_of(desired, row, Kind::Delete, Service::Off)
}

fn change_of(desired: &Desired, row: &ras::Broker, kind: Kind, to: Service) -> Change {
    let insists = desired.requests.skip_availability_check;
    Change { site_id: row.site_id, id: row.id, kind, to, insists }
}

/// The site that this object's next steps may lower.
pub fn site_to_lower(object: &ObjectFacts, facts: &FarmFacts) -> Option<i64> {
    let row = object.owned_id().and_then(|id| facts.snapshot.row(id))?;
    let change = if object.deleted.is_some() {
        deletion_of(&object.desired, row)
    } else {
        update_of(&object.desired, row, &object.desired.fields)
    };
    facts.service.lowers(&facts.snapshot, &change).then_some(row.site_id)
}

/// Why this change must not be made now, if so. A raise that is possible comes before everything.
pub(super) fn wait(observed: &Observed, facts: &FarmFacts, change: &Change) -> Option<Wait> {
    let lowers = facts.service.lowers(&facts.snapshot, change);
    if lowers && observed.raising { Some(Wait::Raise) } else { facts.service.wait(&facts.snapshot, change) }
}

/// What to show of a PUT that waits: the work is on its way, but for the last broker, which waits for a person.
pub(super) fn update_hold(object: &ObjectFacts, wait: Wait) -> Hold {
    match wait {
        Wait::Raise => Hold::new(Reason::Updating, message::RAISE_FIRST),
        Wait::Turn => Hold::new(Reason::Updating, message::NOT_YET),
        Wait::Last => message::last_stays(object),
    }
}

/// What to show of a deletion that waits.
pub(super) fn deletion_hold(object: &ObjectFacts, wait: Wait) -> Hold {
    match wait {
        Wait::Raise => Hold::new(Reason::AvailabilityGuard, message::RAISE_FIRST),
        Wait::Turn => Hold::new(Reason::AvailabilityGuard, message::NOT_YET),
        Wait::Last => message::last_enabled(object),
    }
}

/// Whether an object may be about to raise its broker in this site: cheap, and asked of all objects of a farm.
pub fn may_raise(broker: &RasBroker, facts: &FarmFacts, site_id: i64) -> bool {
    let takes_part = broker.metadata.deletion_timestamp.is_none()
        && broker.spec.management_policy == ManagementPolicy::Managed;
    if !takes_part || broker.spec.suspend || is_stalled(broker) {
        return false;
    }
    let owned = broker.status.as_ref().and_then(|status| status.origin.and(status.id));
    match owned.and_then(|id| facts.snapshot.row(id)) {
        Some(row) => {
            let raises = broker.spec.enabled == Some(true) && row.enabled == Some(false)
                || broker.spec.standby == Some(false) && row.standby == Some(true);
            raises && row.site_id == site_id
        }
        None => site_of(broker, facts) == Some(site_id),
    }
}

/// Whether the last word on this generation was that a person is needed.
fn is_stalled(broker: &RasBroker) -> bool {
    let conditions = broker.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|shown| {
        shown.type_ == ConditionType::Stalled.as_str()
            && shown.observed_generation == broker.metadata.generation
    })
}

/// Whether the next step of an object, which is possible now, leads to a broker that serves more. One whose passes keep
/// failing is not waited for, whatever they fail on.
pub fn raises(observed: &Observed, now: Now) -> bool {
    let FarmView::Up(facts) = &observed.farm else { return false };
    if observed.memory.failures >= PATIENCE {
        return false;
    }
    let object = &observed.object;
    let row = object.owned_id().and_then(|id| facts.snapshot.row(id)).or_else(|| {
        let site_id = super::live::site(observed, &object.desired, facts).ok()?;
        let key = RowKey { site_id, name: object.desired.name.clone() };
        facts.snapshot.with_key(&key).first().copied()
    });
    let row = row.map(AsRef::as_ref);
    let before = row.map(Service::of).unwrap_or_default();
    match plan(observed, now).step {
        Some(Step::Update { fields, .. }) => before < with_fields(row, &fields),
        Some(Step::Create { .. } | Step::Claim | Step::Record { .. } | Step::ConfirmGone { .. }) => {
            before < with_fields(row, &object.desired.fields)
        }
        Some(Step::Move { .. } | Step::Delete { .. } | Step::Release { .. }) | None => false,
    }
}

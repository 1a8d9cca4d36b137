//! Objects that are being deleted: a deletion ends, or says what it waits for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ownership::{Ownership, elsewhere, find};
use super::settled::waiting_failure;
use super::{Draft, LISTED_WITHIN, Plan, Released, Step, availability, message};
use crate::broker::desired::Desired;
use crate::broker::findings::Findings;
use crate::broker::observe::{Claim, CrdState, ObjectFacts, Observed, Rival};
use crate::clock::Now;
use crate::crd::condition::Reason;
use crate::crd::{DeletionPolicy, ManagementPolicy, Origin};
use crate::farm::service::Wait;
use crate::farm::snapshot::RowKey;
use crate::farm::view::{DeletionLimits, FarmFacts, FarmView, Hold, Unapplied};
use crate::ras;

/// How long deletions are gathered before the first is sent, so that a mass deletion is seen as one.
pub const GATHERING: Duration = Duration::from_secs(5);

/// The plan for an object that is being deleted.
pub(super) fn plan(observed: &Observed, now: Now) -> Plan {
    let object = &observed.object;
    if !object.finalizer {
        return Plan::silent();
    }
    if is_never_created(object) {
        return Plan::silent().then(Step::Release { outcome: Released::NeverCreated });
    }
    if is_orphaned(object, observed.crd) {
        let own = quarantine_left(observed, now).map(|left| (left, message::quarantine()));
        let earlier = || earlier_delete_left(observed, now).map(|left| (left, message::earlier_delete()));
        return match own.or_else(earlier) {
            Some((left, hold)) => held(observed, hold, now).after(left),
            None => Plan::silent().then(Step::Release { outcome: Released::Orphaned }),
        };
    }
    match waits_for(observed) {
        Err(None) => Plan::silent(),
        Err(Some(hold)) => held(observed, hold, now),
        Ok((desired, facts)) => in_farm(observed, desired, facts, now),
    }
}

/// No POST of this object can have made anything, and it adopted nothing.
pub(super) fn is_never_created(object: &ObjectFacts) -> bool {
    let may_exist = object.intent.as_ref().is_some_and(crate::broker::intent::Intent::may_have_created);
    object.owned_id().is_none() && !may_exist
}

/// Whether a row goes with its object that is gone, which nobody can ask any more: one whose finalizer a person took off
/// was let go.
pub fn may_take_back(object: &ObjectFacts, crd: CrdState) -> bool {
    let desired = &object.desired;
    object.finalizer && !(is_orphaned(object, crd) || desired.requests.deletion_protection || desired.suspend)
}

/// Whether the broker stays in the farm. Unset means: what we made goes, what we adopted stays.
fn is_orphaned(object: &ObjectFacts, crd: CrdState) -> bool {
    let desired = &object.desired;
    let by_policy = match desired.deletion {
        Some(DeletionPolicy::Orphan) => true,
        Some(DeletionPolicy::Delete) => false,
        None => object.status.origin == Some(Origin::Adopted),
    };
    by_policy
        || desired.requests.force_orphan
        || desired.management == ManagementPolicy::ObserveOnly
        || crd == CrdState::Terminating
}

/// Everything that holds a deletion back before its row is even looked at; `Err(None)` waits in silence.
fn waits_for(observed: &Observed) -> Result<(&Desired, &FarmFacts), Option<Hold>> {
    let object = &observed.object;
    let desired = &object.desired;
    if desired.requests.deletion_protection {
        return Err(Some(message::deletion_protected(object)));
    }
    if desired.suspend {
        return Err(Some(message::deletion_suspended(object)));
    }
    let facts = match &observed.farm {
        FarmView::Up(facts) if facts.snapshot.is_empty() => {
            return Err(Some(message::deletion_waits(object, &message::empty_list().message)));
        }
        FarmView::Up(facts) => facts,
        FarmView::Starting => return Err(None),
        FarmView::Down(outage) => return Err(Some(message::deletion_waits(object, &outage.hold.message))),
        FarmView::Missing => return Err(Some(message::deletion_without_farm(object))),
    };
    match &facts.hold {
        Some(hold) if hold.reason == Reason::Suspended => Err(Some(message::deletion_suspended(object))),
        Some(hold) => Err(Some(message::deletion_waits(object, &hold.message))),
        None => Ok((desired, facts)),
    }
}

fn in_farm(observed: &Observed, desired: &Desired, facts: &FarmFacts, now: Now) -> Plan {
    let object = &observed.object;
    let Some(site_id) = object.recorded_site() else {
        return Plan::silent().then(Step::Release { outcome: Released::NeverCreated });
    };
    let key = RowKey { site_id, name: desired.name.clone() };
    // Another object for this server that comes before this one, by this claim.
    let first = |claim| {
        let comes_first = |rival: &&Rival| rival.same_key && rival.precedes && rival.claim == claim;
        observed.rivals.iter().find(comes_first)
    };
    match find(object, facts, &key) {
        // Of two objects with a claim to one row, which both mean it by their intents, one deletes it.
        Ownership::Ours(row) | Ownership::Marked(row) if first(Claim::Row(row.id)).is_some() => {
            after_quarantine(observed, facts, now, || {
                Plan::silent().then(Step::Release { outcome: Released::Orphaned })
            })
        }
        Ownership::Ours(row) => remove(observed, desired, facts, &row, now),
        Ownership::Marked(row) => match first(Claim::Intent) {
            Some(rival) => {
                held(observed, message::made_by_rival(object, rival), now).after(LISTED_WITHIN).with_list()
            }
            None => Plan::silent().then(Step::Record { row: (*row).clone(), origin: Origin::Created }),
        },
        // Our row is gone and somebody made another: theirs is left alone.
        Ownership::Foreign(_) | Ownership::Ambiguous(_) => after_quarantine(observed, facts, now, || {
            Plan::silent().then(Step::Release { outcome: Released::Deleted })
        }),
        // Some farms hide a row as soon as it is deleted; it is gone only once that is applied.
        Ownership::Vanished { .. } if observed.memory.unapplied == Some(Unapplied::Deleted) => {
            wait_for_removal(observed, desired, facts, now)
        }
        Ownership::Vanished { id } => {
            after_quarantine(observed, facts, now, || gone(observed, facts, &key, id, now))
        }
        Ownership::Absent => after_quarantine(observed, facts, now, || {
            if facts.snapshot.is_absent(&key) {
                Plan::silent().then(Step::Release { outcome: Released::NeverCreated })
            } else {
                deleting(observed, facts, now).with_list()
            }
        }),
    }
}

fn after_quarantine(observed: &Observed, facts: &FarmFacts, now: Now, then: impl FnOnce() -> Plan) -> Plan {
    match in_doubt(observed, facts, now) {
        Some(left) => held(observed, message::quarantine(), now).after(left).with_list(),
        None => then(),
    }
}

/// The finalizer goes only after two lists and a read by id found nothing.
fn gone(observed: &Observed, facts: &FarmFacts, key: &RowKey, id: i64, now: Now) -> Plan {
    if !facts.snapshot.is_absent(key) {
        deleting(observed, facts, now).with_list()
    } else if let Some(row) = elsewhere(facts, key, id) {
        let why = message::elsewhere(row, key.site_id).message;
        held(observed, message::deletion_waits(&observed.object, &why), now)
    } else if let Some(plan) = after_failure(observed, now) {
        plan
    } else if observed.memory.confirmed_gone == Some(id) {
        Plan::silent().then(Step::Release { outcome: Released::Deleted })
    } else {
        Plan::silent().then(Step::ConfirmGone { id })
    }
}

fn remove(observed: &Observed, desired: &Desired, facts: &FarmFacts, row: &ras::Broker, now: Now) -> Plan {
    let object = &observed.object;
    if observed.memory.deleted == Some(row.id) {
        return wait_for_removal(observed, desired, facts, now);
    }
    if let Some(plan) = after_failure(observed, now) {
        return plan;
    }
    if let Some(left) = in_doubt(observed, facts, now) {
        return held(observed, message::quarantine(), now).after(left).with_list();
    }
    if row.priority == Some(0) {
        return held(observed, message::primary_stays(object), now);
    }
    let change = availability::deletion_of(desired, row);
    let wait = availability::wait(observed, facts, &change);
    if wait == Some(Wait::Last) {
        return behind_others(observed, Wait::Last, now);
    }
    mass_hold(observed, desired, facts, now).unwrap_or_else(|| match wait {
        Some(wait) => behind_others(observed, wait, now),
        // What is said of one that failed stands until it succeeds: the two would take turns for ever.
        None if observed.object.shows_deletion() && observed.memory.has_failed(object.generation) => {
            Plan::silent().then(Step::Delete { row: row.clone() })
        }
        None => deleting(observed, facts, now).then(Step::Delete { row: row.clone() }),
    })
}

fn behind_others(observed: &Observed, wait: Wait, now: Now) -> Plan {
    held(observed, availability::deletion_hold(&observed.object, wait), now).behind_others()
}

/// A step that failed waits for its time to be tried again.
pub(super) fn after_failure(observed: &Observed, now: Now) -> Option<Plan> {
    let (findings, left) = waiting_failure(&observed.object, &observed.memory, now)?;
    let why = findings.reconciling.or(findings.stalled).map(|hold| hold.message).unwrap_or_default();
    Some(held(observed, message::deletion_waits(&observed.object, &why), now).after(left))
}

/// What many deletions at once hold back, if anything.
fn mass_hold(observed: &Observed, desired: &Desired, facts: &FarmFacts, now: Now) -> Option<Plan> {
    let object = &observed.object;
    let marked = object.deleted.unwrap_or(now.wall);
    let age = observed.memory.deletion_seen.map_or(Duration::ZERO, |seen| now.since(seen));
    Some(match clearance(marked, &observed.deletions, &facts.deletions, age) {
        Clearance::Gathering(left) => deleting(observed, facts, now).after(left),
        Clearance::Held(count) => {
            let hold = message::mass_deletion(object, &desired.farm, count, facts.deletions.threshold);
            held(observed, hold, now)
        }
        Clearance::Go if observed.crd == CrdState::Unreadable && is_one_of_many(observed, facts) => {
            held(observed, message::crd_unreadable(object), now).after(GATHERING)
        }
        Clearance::Go => return None,
    })
}

fn is_one_of_many(observed: &Observed, facts: &FarmFacts) -> bool {
    observed.deletions.len() + facts.deletions.sent.len() > 1
}

fn wait_for_removal(observed: &Observed, desired: &Desired, facts: &FarmFacts, now: Now) -> Plan {
    let manual = facts.mode == crate::crd::ApplyMode::Manual;
    if manual && observed.memory.unapplied == Some(Unapplied::Deleted) {
        let hold = message::awaiting_apply(&observed.object, &desired.farm);
        return Draft::of(&observed.object).shows(Findings::reconciling(hold), now);
    }
    deleting(observed, facts, now)
}

fn held(observed: &Observed, hold: Hold, now: Now) -> Plan {
    Draft::of(&observed.object).shows(Findings::held(hold), now)
}

fn deleting(observed: &Observed, facts: &FarmFacts, now: Now) -> Plan {
    let hold = message::deleting(&observed.object.desired, facts);
    Draft::of(&observed.object).shows(Findings::reconciling(hold), now)
}

/// How long a request of this object may still take effect in the farm.
pub(super) fn quarantine_left(observed: &Observed, now: Now) -> Option<Duration> {
    let end = quarantine_end(observed, now)?;
    end.checked_sub(now.boot).filter(|left| !left.is_zero())
}

/// How long a DELETE of an earlier process may still take effect, where the object shows that one began to delete it.
fn earlier_delete_left(observed: &Observed, now: Now) -> Option<Duration> {
    let object = &observed.object;
    let installs = object.desired.uninstall.agent;
    if observed.memory.began_deletion || !object.shows_deletion() {
        return None;
    }
    if matches!(observed.farm, FarmView::Starting) {
        return Some(GATHERING);
    }
    let since = observed.memory.known_since.unwrap_or(now.boot);
    (since + observed.farm.limits().quarantine(installs)).checked_sub(now.boot).filter(|left| !left.is_zero())
}

/// The same, and a moment longer until two lists are from after the end: what arrived last must be seen, and one list
/// may lack a row that is there.
pub(super) fn in_doubt(observed: &Observed, facts: &FarmFacts, now: Now) -> Option<Duration> {
    let end = quarantine_end(observed, now)?;
    let unseen = (facts.snapshot.listed_before < end).then_some(LISTED_WITHIN);
    quarantine_left(observed, now).or(unseen)
}

/// Until when a request may take effect: a POST without an answer, counted from when this process first saw its
/// intent, or a DELETE without one.
fn quarantine_end(observed: &Observed, now: Now) -> Option<Duration> {
    let post = observed.object.unresolved_intent().map(|intent| {
        // An intent that was never seen before starts its quarantine now.
        let seen = observed.memory.intent_seen.filter(|(attempt, _)| *attempt == intent.attempt);
        seen.map_or(now.boot, |(_, at)| at) + intent.quarantine()
    });
    post.max(observed.memory.delete_unanswered)
}

/// Whether a deletion may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    /// Others may follow: look again after this long.
    Gathering(Duration),
    /// Too many at once; this many were counted.
    Held(usize),
    /// It may be sent.
    Go,
}

/// Judges the deletion marked at `marked`, which this process has known for `age`, among all `unsent` ones (itself
/// included): if any window that holds this mark holds more than the threshold, none that is unsent goes. What is held
/// depends on marks alone, so that a set that is held stays held, also after a restart, until it is allowed.
pub fn clearance(
    marked: Timestamp,
    unsent: &[Timestamp],
    limits: &DeletionLimits,
    age: Duration,
) -> Clearance {
    if limits.threshold == 0 || limits.allowed_before.is_some_and(|until| marked <= until) {
        return Clearance::Go;
    }
    if let Some(left) = GATHERING.checked_sub(age).filter(|left| !left.is_zero()) {
        return Clearance::Gathering(left);
    }
    let count = most_in_one_window(marked, unsent.iter().chain(&limits.sent), limits.window);
    if count > limits.threshold { Clearance::Held(count) } else { Clearance::Go }
}

fn most_in_one_window<'a>(
    marked: Timestamp,
    all: impl Iterator<Item = &'a Timestamp>,
    window: Duration,
) -> usize {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
    let mut near: Vec<Timestamp> =
        all.copied().filter(|at| at.duration_since(marked).abs() <= window).collect();
    near.sort_unstable();
    let from_each = near.iter().enumerate().filter(|(_, start)| **start <= marked).map(|(index, start)| {
        let end = near.partition_point(|at| at.duration_since(*start) <= window);
        if near[..end].last().is_some_and(|last| *last >= marked) { end - index } else { 0 }
    });
    from_each.max().unwrap_or_default()
}

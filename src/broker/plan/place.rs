//! The place of a broker that states a priority: what is to be done about it, and how that is shown.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::broker::observe::{ObjectFacts, Observed};
use crate::clock::Now;
use crate::crd::Drift;
use crate::crd::condition::{ConditionType, Reason};
use crate::farm::view::FarmFacts;
use crate::kubernetes::ObjectKey;
use crate::ras;

/// The field's name in spec and status.
pub(super) const FIELD: &str = "priority";

/// What is to be done about a broker's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placing {
    /// Nothing: it is where it belongs, or nothing is asked.
    Kept,
    /// Nothing: it is the primary, of which a stated priority says nothing.
    Primary,
    /// It is its turn to be moved.
    Move(ras::Move),
    /// Others are moved first.
    Waits,
    /// It is its turn once others have come of which nothing is known yet.
    Gathers,
    /// Nothing for this long: a move without an answer may still take effect.
    InDoubt(Duration),
    /// Nothing: the farm took the move, and the broker is no nearer to its place.
    Ignored,
    /// Nothing: the farm has no such call, or does not show in which order its brokers are.
    Unsupported,
}

impl Placing {
    /// What is to be done about the place of `row`, which is ours.
    pub(super) fn of(observed: &Observed, facts: &FarmFacts, row: &ras::Broker, now: Now) -> Self {
        let Observed { object, memory, place, .. } = observed;
        let place = match (object.desired.priority, row.priority, place) {
            (None, ..) => return Self::Kept,
            (Some(_), Some(0), _) => return Self::Primary,
            (Some(_), Some(_), Some(place)) => place,
            (Some(_), None, _) | (Some(_), Some(_), None) => return Self::Unsupported,
        };
        let turn = place.turn.as_ref().filter(|turn| is_of(&turn.key, object)).map(|turn| turn.to);
        let is_there = row.priority == Some(place.wanted);
        let moved = memory
            .moved
            .filter(|moved| moved.generation == object.generation && moved.wanted == place.wanted);
        // What a list shows before the Apply proves nothing.
        let was_put = memory.unapplied.is_some() && moved.is_some_and(|moved| moved.reached == place.wanted);
        if (is_there && (turn.is_none() || facts.moves.lacking)) || was_put {
            return Self::Kept;
        }
        if facts.moves.lacking {
            return Self::Unsupported;
        }
        let Some(to) = turn else { return Self::Waits };
        if moved.is_some_and(|moved| moved.settled == row.priority) {
            return Self::Ignored;
        }
        let certain = facts.moves.not_before;
        if now.boot < certain || facts.snapshot.listed_at < certain {
            return Self::InDoubt(certain.saturating_sub(now.boot));
        }
        if place.gathers { Self::Gathers } else { Self::Move(to) }
    }

    /// Whether moves are to come that put the broker in its place.
    pub(super) fn is_under_way(self) -> bool {
        match self {
            Self::Move(_) | Self::Waits | Self::Gathers => true,
            Self::Kept | Self::Primary | Self::InDoubt(_) | Self::Ignored | Self::Unsupported => false,
        }
    }

    /// What is told of the place, where it is not as it was although the spec is.
    pub(super) fn drift(self, observed: &Observed, row: &ras::Broker, now: Now) -> Option<Drift> {
        let Observed { object, memory, place, .. } = observed;
        let known = object.status.drift.iter().find(|drift| drift.field == FIELD);
        let wanted = place.as_ref()?.wanted;
        let known = known.filter(|drift| drift.desired == wanted.to_string());
        match self {
            Self::Kept if memory.unapplied.is_some() => return known.cloned(),
            Self::Kept | Self::Primary => return None,
            Self::Move(_)
            | Self::Waits
            | Self::Gathers
            | Self::InDoubt(_)
            | Self::Ignored
            | Self::Unsupported => {}
        }
        // Only what had come to rest there was moved away: on the way others pass through its place.
        if known.is_none() && !(object.was_synced() && object.status.priority == Some(wanted)) {
            return None;
        }
        let seen = row.priority.map(|priority| priority.to_string()).unwrap_or_default();
        // On its way to its place it is still the same drift.
        let same = known.filter(|drift| drift.observed == seen || memory.unapplied.is_some());
        Some(same.cloned().unwrap_or_else(|| Drift {
            field: FIELD.to_owned(),
            desired: wanted.to_string(),
            observed: seen,
            since: Time(now.wall),
            changed_by: moved_by(object, row),
        }))
    }

    /// Whether the farm was found to have no such call, and nothing has shown yet that it has one now.
    pub(super) fn is_tried_again(self, observed: &Observed) -> bool {
        self.is_under_way()
            && observed.memory.unapplied.is_none()
            && observed.object.shown(ConditionType::Synced, Reason::Unsupported).is_some()
    }
}

fn is_of(key: &ObjectKey, object: &ObjectFacts) -> bool {
    key.namespace == object.namespace && key.name == object.name
}

/// Who moved the broker: a row that was only shifted by the move of another shows who changed it before.
fn moved_by(object: &ObjectFacts, row: &ras::Broker) -> Option<String> {
    let shown = object.status.observed.as_ref().and_then(|shown| shown.time_last_mod.as_ref());
    row.admin_last_mod.clone().filter(|_| shown != row.time_last_mod.as_ref())
}

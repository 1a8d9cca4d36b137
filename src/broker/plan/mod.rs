//! The decision: a pure function from what is observed to what is done next. The executor makes no choice, and
//! the same value is what tests assert, what is logged, and what a dry run would print.

mod availability;
mod deletion;
mod live;
mod message;
mod ownership;
mod place;
mod settled;

use std::time::Duration;

use serde::Serialize;

use super::desired::Fields;
use super::findings::{Findings, Readiness};
use super::intent::Intent;
use super::observe::{Memory, ObjectFacts, Observed, observed_row};
use crate::clock::Now;
use crate::crd::condition::{ConditionType, Reason};
use crate::crd::{AgentStatus, Drift, Origin, RasBrokerStatus, Role};
use crate::farm::view::{FarmFacts, FarmView, Hold, Outage};
use crate::ras;

pub use availability::{TOGETHER, deletion_of, may_raise, raises, site_to_lower, update_of};
pub use deletion::{Clearance, GATHERING, clearance, may_take_back};
pub(crate) use ownership::own_row;

/// How old a list may be on which a POST is decided.
pub const FRESH: Duration = Duration::from_secs(10);

/// How long a list that was asked for may take before its outcome is looked for.
const LISTED_WITHIN: Duration = Duration::from_millis(500);

/// One thing to do. Steps that write to the farm are done only with a permit of the farm.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the intent (and the finalizer), POST, and put the id into status.
    Create {
        /// The intent to write before.
        intent: Intent,
    },
    /// Put the finalizer on an object whose broker is to be adopted.
    Claim,
    /// Put a row's id into status as ours.
    Record {
        /// The row.
        row: ras::Broker,
        /// How it became ours.
        origin: Origin,
    },
    /// PUT what differs.
    Update {
        /// The row's id.
        id: i64,
        /// The fields that differ, as wanted.
        fields: Fields,
    },
    /// Move the row in the order of its site.
    Move {
        /// The row's id.
        id: i64,
        /// Where it goes.
        to: ras::Move,
    },
    /// Read the row afresh, and DELETE it if it is still the one that is ours.
    Delete {
        /// The row that must still be there.
        row: ras::Broker,
    },
    /// Read by id whether a row that both lists lack is gone.
    ConfirmGone {
        /// The recorded id.
        id: i64,
    },
    /// Take the finalizer off, and forget what was recorded where the object lives on.
    Release {
        /// What became of the broker.
        outcome: Released,
    },
}

/// What became of a broker whose object is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Released {
    /// It is gone from the farm.
    Deleted,
    /// It stays in the farm.
    Orphaned,
    /// There never was one.
    NeverCreated,
}

/// What a pass decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do next; the world is observed anew afterwards.
    pub step: Option<Step>,
    /// The status to show before the step; `None` leaves it as it is.
    pub status: Option<RasBrokerStatus>,
    /// What the status says, in terms of conditions; empty where `status` is `None`.
    pub findings: Findings,
    /// When to look again without any change, if ever.
    pub requeue: Option<Duration>,
    /// Whether the farm must be listed again before anything can be decided.
    pub needs_list: bool,
    /// Whether it waits for other brokers of its site.
    pub waits_for_others: bool,
}

/// Decides what to do next for one broker.
pub fn plan(observed: &Observed, now: Now) -> Plan {
    let is_deleted = observed.object.deleted.is_some();
    let plan = if is_deleted { deletion::plan(observed, now) } else { live::plan(observed, now) };
    if plan.step.is_none() || !observed.memory.failure.as_ref().is_some_and(|failure| failure.is_denial) {
        return plan;
    }
    let after_failure = if is_deleted { deletion::after_failure } else { live::after_failure };
    after_failure(observed, now).unwrap_or(plan)
}

/// Shared by both halves: builds plans whose status starts from the last one.
pub(super) struct Draft<'a> {
    object: &'a ObjectFacts,
    status: RasBrokerStatus,
}

impl<'a> Draft<'a> {
    fn of(object: &'a ObjectFacts) -> Self {
        Self { object, status: object.status.clone() }
    }

    /// Takes over what a row and its agent show.
    fn seen(mut self, facts: &FarmFacts, row: &ras::Broker) -> Self {
        let agent = facts.snapshot.agent(&super::canonical::ServerName::new(&row.server));
        self.status.agent = agent.map(|agent| AgentStatus {
            state: agent.state.name().into_owned(),
            version: agent.version.clone(),
        });
        self.status.id = Some(row.id);
        self.status.priority = row.priority;
        self.status.role =
            row.priority.map(|priority| if priority == 0 { Role::Primary } else { Role::Secondary });
        self.status.marked_for_deletion = row.marked_for_deletion;
        self.status.site_id = Some(row.site_id);
        self.status.farm_guid = Some(facts.identity.clone());
        self.status.observed = Some(observed_row(row));
        self
    }

    /// Forgets a row that is not there.
    fn unseen(mut self) -> Self {
        let kept = RasBrokerStatus {
            observed_generation: self.status.observed_generation,
            conditions: std::mem::take(&mut self.status.conditions),
            last_handled_reconcile_at: self.status.last_handled_reconcile_at.take(),
            site_id: self.status.site_id,
            farm_guid: self.status.farm_guid.take(),
            ..RasBrokerStatus::default()
        };
        self.status = kept;
        self
    }

    fn drift(mut self, drift: Vec<Drift>) -> Self {
        self.status.drift = drift;
        self
    }

    fn origin(mut self, origin: Option<Origin>) -> Self {
        self.status.origin = origin;
        self
    }

    /// A reconcile that was asked for counts as handled once it was decided on a list from after the request.
    fn handled(mut self, memory: &Memory, facts: &FarmFacts) -> Self {
        if let Some(asked) = self.object.request()
            && is_fresh(memory, facts)
        {
            self.status.last_handled_reconcile_at = Some(asked.to_owned());
        }
        self
    }

    /// The plan that shows `findings`.
    fn shows(self, findings: Findings, now: Now) -> Plan {
        let Self { object, mut status } = self;
        status.observed_generation = object.generation;
        let verdicts = findings.verdicts(&status.conditions);
        status.conditions =
            crate::crd::condition::merge(&status.conditions, &verdicts, object.generation, now.wall);
        Plan { status: Some(status), findings, ..Plan::default() }
    }
}

impl Plan {
    /// Nothing to do and nothing to say.
    fn silent() -> Self {
        Self::default()
    }

    fn then(self, step: Step) -> Self {
        Self { step: Some(step), ..self }
    }

    fn after(self, requeue: Duration) -> Self {
        Self { requeue: Some(requeue), ..self }
    }

    fn at_latest(self, requeue: Option<Duration>) -> Self {
        Self { requeue: self.requeue.into_iter().chain(requeue).min(), ..self }
    }

    /// It waits for other brokers of its site, and looks again when one of them moved.
    fn behind_others(self) -> Self {
        Self { waits_for_others: true, ..self }
    }

    /// The list is asked for, and looked at also where it changes nothing: what both lists lack wakes nobody.
    fn with_list(self) -> Self {
        Self { needs_list: true, requeue: self.requeue.or(Some(LISTED_WITHIN)), ..self }
    }

    /// The same on a newer list, which is looked for soon whatever else was to be waited for.
    fn on_newer_list(self) -> Self {
        let requeue = self.requeue.map_or(LISTED_WITHIN, |requeue| requeue.min(LISTED_WITHIN));
        self.after(requeue).with_list()
    }
}

/// Whether the list is from after the request that stands on the object.
fn is_fresh(memory: &Memory, facts: &FarmFacts) -> bool {
    memory.asked.as_ref().is_none_or(|(_, at)| facts.snapshot.listed_at >= *at)
}

/// What to show while a farm cannot be used: nothing for a while, so that a restart of the farm does not ripple
/// through every object; at once where there is something new to say.
fn outage(observed: &Observed, outage: &Outage, now: Now) -> Plan {
    let object = &observed.object;
    let stalled = outage.hold.reason == Reason::FarmMismatch;
    // That the farm's object is missing was true a moment ago, and would send somebody looking for it.
    let missing = message::farm_missing(object);
    let was_missing = object.shown(ConditionType::Reconciling, missing.reason) == Some(&missing.message);
    let is_news = object.status.conditions.is_empty()
        || object.status.observed_generation != object.generation
        || was_missing;
    if !(stalled || outage.overdue || is_news) {
        return Plan::silent();
    }
    let findings = if stalled {
        Findings::stalled(outage.hold.clone())
    } else {
        let hold = Hold::new(Reason::WaitingForFarm, outage.hold.message.clone());
        Findings { readiness: Readiness::Unknown, ..Findings::reconciling(hold) }
    };
    Draft::of(object).shows(findings, now)
}

/// The facts of a farm that answers, or the plan for one that does not.
fn usable(observed: &Observed, now: Now) -> Result<&FarmFacts, Box<Plan>> {
    let plan = match &observed.farm {
        // Each farm has a primary, so a list without any row is one that was not read.
        FarmView::Up(facts) if facts.snapshot.is_empty() => {
            Draft::of(&observed.object).shows(Findings::reconciling(message::empty_list()), now)
        }
        FarmView::Up(facts) if now.since(facts.snapshot.listed_at) > facts.stale_after => {
            Plan::silent().with_list()
        }
        FarmView::Up(facts) => return Ok(facts),
        FarmView::Starting => Plan::silent(),
        FarmView::Down(why) => outage(observed, why, now),
        FarmView::Missing => Draft::of(&observed.object)
            .shows(Findings::reconciling(message::farm_missing(&observed.object)), now),
    };
    Err(Box::new(plan))
}

/// The status with which a row is recorded. After a POST it is exactly what the next pass would say, so that it says
/// nothing; where a row is adopted, what was said is kept unless it was said of another row.
pub(super) fn recorded(
    observed: &Observed,
    status: RasBrokerStatus,
    row: &ras::Broker,
    origin: Origin,
    now: Now,
) -> RasBrokerStatus {
    let desired = &observed.object.desired;
    let is_another = observed.object.status.id.is_some_and(|id| id != row.id);
    let hold = match origin {
        Origin::Created => message::creating(desired),
        Origin::Adopted if is_another => message::adopted(desired),
        Origin::Adopted => return status,
    };
    let FarmView::Up(facts) = &observed.farm else { return status };
    let fresh = ObjectFacts { status: status.clone(), ..observed.object.clone() };
    let plan = Draft::of(&fresh)
        .seen(facts, row)
        .handled(&observed.memory, facts)
        .shows(Findings::reconciling(hold), now);
    plan.status.unwrap_or(status)
}

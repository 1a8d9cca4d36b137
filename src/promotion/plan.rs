//! The decision: a pure function from what is observed to what is done next. The executor makes no choice.
//!
//! `Pending` is the only phase in which anything is sent, and what may have been sent stands under `Promoting` before
//! it is. From there no way leads back but one: this process knows for certain that nothing reached the farm.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::message;
use super::observe::{Candidate, Fate, Observed, Request};
use crate::broker::agent::{Health, health};
use crate::broker::canonical::ServerName;
use crate::broker::plan::{FRESH, own_row};
use crate::clock::Now;
use crate::crd::condition::{self, ConditionType, Reason, Status, Verdict};
use crate::crd::{PromotionAttempt, PromotionPhase, RasBrokerPromotionStatus};
use crate::farm::view::{FarmFacts, FarmView, Hold, Promoting};
use crate::ras;

/// How long a promotion that the farm answered may take until a list shows it: services of a server start.
pub const SHOWN_WITHIN: Duration = Duration::from_mins(5);
/// How often what is waited for is looked at. It costs no call.
const LOOK: Duration = Duration::from_secs(1);
/// How long a list that was asked for may take before it is looked for.
const LISTED_WITHIN: Duration = Duration::from_millis(300);
/// How often the priorities are read while the outcome is open.
const OUTCOME_LOOK: Duration = Duration::from_secs(2);

/// What a pass decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The status to show; `None` leaves it as it is.
    pub status: Option<RasBrokerPromotionStatus>,
    /// The promotion to send.
    pub send: Option<Send>,
    /// The promotion of which the farm must know that it may be under way; else it must know that it is not.
    pub running: Option<Promoting>,
    /// Whether the farm must be listed again before anything can be decided.
    pub needs_list: bool,
    /// When to look again without any change, if ever.
    pub requeue: Option<Duration>,
}

/// One promotion, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Send {
    /// The status that must be stored before.
    pub status: RasBrokerPromotionStatus,
    /// What is sent.
    pub attempt: PromotionAttempt,
    /// The list on which this was decided.
    pub listed_at: Duration,
    /// Nothing is sent after this.
    pub not_after: Timestamp,
}

impl Send {
    /// The promotion as its farm knows it.
    pub fn promoting(&self, request: &Request) -> Promoting {
        promoting(&self.attempt, request)
    }
}

/// Decides what to do next for one promotion.
pub fn plan(observed: &Observed, now: Now) -> Plan {
    match observed.request.status.phase {
        None | Some(PromotionPhase::Pending) => pending(observed, now),
        Some(PromotionPhase::Promoting) => promoting_plan(observed, now),
        Some(PromotionPhase::Applying) => applying(observed, now),
        Some(PromotionPhase::Succeeded | PromotionPhase::Failed) => Plan::default(),
    }
}

/// Why nothing is sent now.
enum Not {
    /// It may still be.
    Yet(Hold),
    /// It will not be.
    Ever(Hold),
    /// The broker is the primary already.
    Needed(String),
    /// That cannot be said before there is a list of now.
    Known { needs_list: bool },
}

fn pending(observed: &Observed, now: Now) -> Plan {
    let request = &observed.request;
    match candidate_row(observed, now).and_then(|found| fit(observed, &found, now).map(|()| found)) {
        Ok(found) => sending(request, &found, now),
        Err(Not::Yet(hold)) => Plan {
            status: Some(unfinished(request, PromotionPhase::Pending, None, &hold, now)),
            requeue: Some(LOOK),
            ..Plan::default()
        },
        Err(Not::Ever(hold)) => finished(request, Err(&hold), now),
        Err(Not::Needed(server)) => {
            finished(request, Ok((server.as_str(), &message::already_primary(&server))), now)
        }
        Err(Not::Known { needs_list }) => {
            Plan { needs_list, requeue: Some(LISTED_WITHIN), ..Plan::default() }
        }
    }
}

/// The broker's row in a farm that answers, and the row of its site's primary.
struct Found<'a> {
    candidate: &'a Candidate,
    facts: &'a FarmFacts,
    row: Arc<ras::Broker>,
    primary: Arc<ras::Broker>,
    not_after: Timestamp,
}

/// Finds the rows, on a list of now, and holds them against what the request expects.
fn candidate_row(observed: &Observed, now: Now) -> Result<Found<'_>, Not> {
    let request = &observed.request;
    let not_after = request.not_after().ok_or_else(|| Not::Ever(message::unreadable_time(request)))?;
    let is_late = now.wall > not_after;
    let wait = |hold: Hold| Err(if is_late { Not::Ever(message::expired(request)) } else { Not::Yet(hold) });
    let Some(candidate) = &observed.broker else { return wait(message::no_broker(request)) };
    if candidate.object.deleted.is_some() || candidate.observe_only {
        return Err(Not::Ever(message::not_ours(request, candidate.observe_only)));
    }
    let facts = match &observed.farm {
        FarmView::Up(facts) => facts,
        FarmView::Starting => return Err(Not::Known { needs_list: false }),
        FarmView::Down(outage) => return wait(message::farm_down(&outage.hold)),
        FarmView::Missing => return wait(message::farm_missing(&candidate.farm)),
    };
    let Some(row) = own_row(&candidate.object, facts) else { return wait(message::no_row(request)) };
    let is_of_now = observed.memory.asked.is_none_or(|asked| facts.snapshot.listed_at >= asked)
        && now.since(facts.snapshot.listed_at) <= FRESH;
    if !is_of_now {
        return match kept_back(observed, candidate, facts) {
            Some(hold) => wait(hold),
            None => Err(Not::Known { needs_list: true }),
        };
    }
    if row.priority == Some(0) {
        return Err(Not::Needed(row.server.clone()));
    }
    let Some(primary) = primary_of(facts, row.site_id) else { return wait(message::no_primary(row.site_id)) };
    if is_late {
        return Err(Not::Ever(message::expired(request)));
    }
    if ServerName::new(&primary.server) != ServerName::new(&request.spec.expected_primary) {
        return Err(Not::Ever(message::unexpected_primary(request, &primary.server)));
    }
    Ok(Found { candidate, facts, row, primary, not_after })
}

/// Whether the broker may be the primary, and nothing stands in the way now.
fn fit(observed: &Observed, found: &Found<'_>, now: Now) -> Result<(), Not> {
    let Found { candidate, facts, row, primary: _, not_after: _ } = found;
    if row.enabled == Some(false) || row.marked_for_deletion == Some(true) {
        return Err(Not::Ever(message::out_of_use(row)));
    }
    let agent = facts.snapshot.agent(&ServerName::new(&row.server));
    match agent.map(|agent| (health(agent.state, false, row.standby == Some(true)), agent.state)) {
        Some((
            Health::Leaving | Health::Unreachable | Health::Version | Health::Account | Health::Broken,
            state,
        )) => return Err(Not::Ever(message::unhealthy(row, &state.name()))),
        Some((Health::Passing | Health::NotApplied | Health::Restart, state)) => {
            return Err(Not::Yet(message::settling(row, &state.name())));
        }
        None if facts.snapshot.has_agents() => {
            return Err(Not::Yet(message::settling(row, "not reported by the farm")));
        }
        // An agent list that cannot be read says nothing against anybody.
        Some((Health::Healthy, _)) | None => {}
    }
    if let Some(rival) = &observed.rival {
        return Err(Not::Ever(message::rival(rival, row.site_id)));
    }
    if let Some(hold) = kept_back(observed, candidate, facts) {
        return Err(Not::Yet(hold));
    }
    match &observed.memory.pause {
        Some((hold, until)) if *until > now.boot => Err(Not::Yet(hold.clone())),
        Some(_) | None => Ok(()),
    }
}

/// Whatever may hold a promotion back, asked in one place. A session that is not on the primary does not: the primary
/// may be dead, and what is not applied could be applied only after the promotion.
fn kept_back(observed: &Observed, candidate: &Candidate, facts: &FarmFacts) -> Option<Hold> {
    let is_own = |running: &Promoting| running.uid == observed.request.uid;
    if candidate.object.desired.suspend {
        return Some(message::broker_suspended(&observed.request));
    }
    if facts.terminating {
        return Some(message::farm_terminating(&candidate.farm));
    }
    if let Some(hold) = &facts.hold
        && hold.reason != Reason::NotPrimary
        && !facts.promoting.as_ref().is_some_and(is_own)
    {
        return Some(message::farm_holds(hold));
    }
    (facts.unapplied && facts.primary != Some(false)).then(|| message::unapplied(&candidate.farm))
}

fn sending(request: &Request, found: &Found<'_>, now: Now) -> Plan {
    let Found { candidate, facts, row, primary, not_after } = found;
    let attempt = PromotionAttempt {
        farm: candidate.farm.clone(),
        farm_guid: facts.identity.clone(),
        site_id: row.site_id,
        id: row.id,
        server: row.server.clone(),
    };
    let hold = message::promoting(&attempt, &primary.server);
    let mut status = unfinished(request, PromotionPhase::Promoting, Some(attempt.clone()), &hold, now);
    status.start_time = Some(whole_seconds(now));
    status.previous_primary = Some(primary.server.clone());
    let send = Send { status, attempt, listed_at: facts.snapshot.listed_at, not_after: *not_after };
    Plan { send: Some(send), requeue: Some(LISTED_WITHIN), ..Plan::default() }
}

/// It may have been sent: the farm's priorities tell what came of it.
fn promoting_plan(observed: &Observed, now: Now) -> Plan {
    let Observed { request, farm, memory, broker: _, rival: _ } = observed;
    let Some(attempt) = &request.status.attempt else {
        return finished(request, Err(&message::no_record()), now);
    };
    let quarantine = match &memory.fate {
        Some(Fate::NotSent(why)) => return not_sent(request, why, now),
        Some(Fate::Refused(hold)) => return finished(request, Err(hold), now),
        Some(Fate::Answered) => SHOWN_WITHIN,
        Some(Fate::Lost) | None => Duration::ZERO,
    };
    let running = Some(promoting(attempt, request));
    let waits = |hold: &Hold| {
        let status = unfinished(request, PromotionPhase::Promoting, Some(attempt.clone()), hold, now);
        let running = running.clone();
        Plan {
            status: Some(status),
            running,
            needs_list: true,
            requeue: Some(OUTCOME_LOOK),
            ..Plan::default()
        }
    };
    let facts = match farm {
        FarmView::Up(facts) if facts.identity == attempt.farm_guid => facts,
        FarmView::Up(_) => return waits(&message::other_farm(attempt)),
        FarmView::Starting => return Plan { running, requeue: Some(LOOK), ..Plan::default() },
        FarmView::Down(outage) => return waits(&message::outcome_unreadable(&outage.hold)),
        FarmView::Missing => return waits(&message::outcome_needs_farm(&attempt.farm)),
    };
    let row = facts.snapshot.row(attempt.id);
    if row.is_some_and(|row| row.priority == Some(0) && row.server == attempt.server) {
        let hold = message::applying(attempt);
        let status = unfinished(request, PromotionPhase::Applying, Some(attempt.clone()), &hold, now);
        return Plan { status: Some(status), requeue: Some(LISTED_WITHIN), ..Plan::default() };
    }
    let is_over = memory
        .seen
        .is_some_and(|seen| facts.snapshot.listed_at > seen + facts.limits.quarantine(false) + quarantine);
    if is_over {
        let primary = primary_of(facts, attempt.site_id).map(|primary| primary.server.clone());
        return finished(request, Err(&message::not_promoted(attempt, primary.as_deref())), now);
    }
    let previous = request.status.previous_primary.as_deref().unwrap_or_default();
    waits(&match memory.fate {
        Some(Fate::Answered) => message::promoting(attempt, previous),
        Some(Fate::Lost | Fate::NotSent(_) | Fate::Refused(_)) | None => message::quarantine(attempt),
    })
}

/// Nothing reached the farm, which only the process that tried can know.
fn not_sent(request: &Request, why: &str, now: Now) -> Plan {
    let mut status = unfinished(request, PromotionPhase::Pending, None, &message::not_sent(why), now);
    status.start_time = None;
    status.previous_primary = None;
    Plan { status: Some(status), requeue: Some(LOOK), ..Plan::default() }
}

/// The broker is the primary: what the promotion changed is applied with everything else of ours. What others write
/// after that Apply is not waited for.
fn applying(observed: &Observed, now: Now) -> Plan {
    let request = &observed.request;
    let Some(attempt) = &request.status.attempt else {
        return finished(request, Err(&message::no_record()), now);
    };
    let hold = match &observed.farm {
        FarmView::Up(facts) if !(facts.unapplied && facts.service.is_promoted(attempt.id)) => {
            let hold = message::promoted(attempt, request.status.previous_primary.as_deref());
            return finished(request, Ok((attempt.server.as_str(), &hold)), now);
        }
        FarmView::Up(facts) => message::apply_waits(request, attempt, facts),
        FarmView::Starting => return Plan { requeue: Some(LOOK), ..Plan::default() },
        FarmView::Down(outage) => message::outcome_unreadable(&outage.hold),
        FarmView::Missing => message::outcome_needs_farm(&attempt.farm),
    };
    let status = unfinished(request, PromotionPhase::Applying, Some(attempt.clone()), &hold, now);
    Plan { status: Some(status), requeue: Some(LOOK), ..Plan::default() }
}

fn promoting(attempt: &PromotionAttempt, request: &Request) -> Promoting {
    Promoting {
        site: attempt.site_id,
        name: request.name.clone(),
        uid: request.uid.clone(),
        server: attempt.server.clone(),
    }
}

fn primary_of(facts: &FarmFacts, site: i64) -> Option<Arc<ras::Broker>> {
    let mut rows = facts.snapshot.rows();
    rows.find(|row| row.site_id == site && row.priority == Some(0)).cloned()
}

/// A status that goes on.
fn unfinished(
    request: &Request,
    phase: PromotionPhase,
    attempt: Option<PromotionAttempt>,
    hold: &Hold,
    now: Now,
) -> RasBrokerPromotionStatus {
    let verdicts = [
        verdict(ConditionType::Ready, Status::False, hold),
        verdict(ConditionType::Reconciling, Status::True, hold),
    ];
    RasBrokerPromotionStatus { phase: Some(phase), attempt, ..with_conditions(request, &verdicts, now) }
}

/// The last status: the new primary with what to say of it, or why there is none.
fn finished(request: &Request, outcome: Result<(&str, &Hold), &Hold>, now: Now) -> Plan {
    let (phase, verdicts) = match outcome {
        Ok((_, hold)) => (
            PromotionPhase::Succeeded,
            vec![
                verdict(ConditionType::Ready, Status::True, hold),
                verdict(ConditionType::Complete, Status::True, hold),
            ],
        ),
        Err(hold) => (
            PromotionPhase::Failed,
            vec![
                verdict(ConditionType::Ready, Status::False, hold),
                verdict(ConditionType::Stalled, Status::True, hold),
                verdict(ConditionType::Failed, Status::True, hold),
            ],
        ),
    };
    let status = RasBrokerPromotionStatus {
        phase: Some(phase),
        completion_time: Some(whole_seconds(now)),
        new_primary: outcome.ok().map(|(server, _)| server.to_owned()),
        ..with_conditions(request, &verdicts, now)
    };
    Plan { status: Some(status), ..Plan::default() }
}

fn with_conditions(request: &Request, verdicts: &[Verdict], now: Now) -> RasBrokerPromotionStatus {
    let last = request.status.clone();
    RasBrokerPromotionStatus {
        conditions: condition::merge(&last.conditions, verdicts, request.generation, now.wall),
        observed_generation: request.generation,
        ..last
    }
}

fn verdict(type_: ConditionType, status: Status, hold: &Hold) -> Verdict {
    Verdict { type_, status, reason: hold.reason, message: hold.message.clone() }
}

/// Kubernetes keeps whole seconds: a fraction would look like a change for ever.
fn whole_seconds(now: Now) -> Time {
    Time(Timestamp::from_second(now.wall.as_second()).unwrap_or(now.wall))
}

#[cfg(test)]
mod tests;

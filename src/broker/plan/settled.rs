//! A row that is ours: what differs, what may be sent, and what the conditions say when nothing is left to send.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::place::{self, Placing};
use super::{Draft, Plan, Step, TOGETHER, availability, message};
use crate::broker::agent::{Health, health};
use crate::broker::canonical::ServerName;
use crate::broker::desired::{Desired, Field, Fields, Value};
use crate::broker::findings::{Findings, Readiness};
use crate::broker::observe::{
    Memory, ObjectFacts, Observed, SentUpdate, differences, row_fields, shown_fields,
};
use crate::clock::Now;
use crate::crd::condition::{ConditionType, Reason};
use crate::crd::{ApplyMode, Drift};
use crate::farm::service::{Change, Wait};
use crate::farm::view::{FarmFacts, Hold, Unapplied};
use crate::ras;

/// Pause while more brokers come: shorter than the quiet after which a batch is applied.
const GATHERING_ORDER: Duration = Duration::from_millis(200);

type Difference = (Field, Value, Option<Value>);

/// What differs between spec and row, sorted by what may be done about it.
#[derive(Debug, Default)]
struct Differences {
    /// May be sent.
    send: Vec<Difference>,
    /// Were sent, answered and applied, and still differ.
    ignored: Vec<Difference>,
    /// RAS forbids them on the primary.
    forbidden: Vec<Field>,
    /// Would lower the service of the site, which must not be now.
    waiting: Vec<Difference>,
    /// Why so.
    wait: Option<Wait>,
}

impl Differences {
    fn is_done(&self) -> bool {
        self.send.is_empty() && self.waiting.is_empty()
    }

    /// Keeps back what must not lower the service of the site now; the rest is sent meanwhile.
    fn guarded(mut self, wait: Option<Wait>) -> Self {
        self.wait = wait;
        if wait.is_some() {
            self.waiting = self.send.extract_if(.., |(field, ..)| availability::is_service(*field)).collect();
        }
        self
    }

    fn to_send(&self) -> Fields {
        self.send.iter().map(|(field, wanted, _)| (*field, wanted.clone())).collect()
    }
}

/// The plan for a row that is ours.
pub(super) fn plan(
    observed: &Observed,
    desired: &Desired,
    facts: &FarmFacts,
    row: &ras::Broker,
    now: Now,
) -> Plan {
    let object = &observed.object;
    let differences = sorted_differences(object, &observed.memory, desired, row);
    let change = availability::update_of(desired, row, &differences.to_send());
    let differences = differences.guarded(availability::wait(observed, facts, &change));
    let gathers = until_seen_together(observed, facts, &change, now).filter(|_| differences.wait.is_none());
    let placing = Placing::of(observed, facts, row, now);
    let shown = look(observed, facts, row, &differences, placing).handled(&observed.memory, facts);
    if row.marked_for_deletion == Some(true) {
        return shown.shows(Findings::reconciling(message::marked(row)), now);
    }
    let mut drift = drift_of(object, &observed.memory, row, &differences, now);
    drift.extend(placing.drift(observed, row, now));
    let shown = shown.drift(drift.clone());
    let step = next_step(&differences, placing, row).filter(|_| gathers.is_none());
    let Some(step) = step.filter(|_| !desired.suspend && facts.hold.is_none()) else {
        let is_behind = gathers.is_some() || differences.wait.is_some();
        let findings = resting(observed, desired, facts, row, &Rest { differences, placing, drift });
        let rests = looking_again(shown.shows(findings, now), placing).at_latest(gathers);
        return if is_behind { rests.behind_others() } else { rests };
    };
    let drifted = drifted(&drift);
    if let Some(failure) = waiting_failure(object, &observed.memory, now) {
        return shown.shows(Findings { drifted, ..failure.0 }, now).after(failure.1);
    }
    let findings = if differences.send.is_empty() && placing.is_tried_again(observed) {
        Findings::unsynced(message::priority_unsupported())
    } else if is_being_created(object, &observed.memory) {
        Findings::reconciling(message::creating(desired))
    } else {
        Findings::reconciling(under_way(&observed.memory, &differences, placing))
    };
    shown.shows(Findings { drifted, ..findings }, now).then(step)
}

/// How long until what was applied together with a change that lowers the site is seen too. What was seen and goes
/// before it is in the farm by now: then both belong to one Apply.
fn until_seen_together(
    observed: &Observed,
    facts: &FarmFacts,
    change: &Change,
    now: Now,
) -> Option<Duration> {
    if !facts.service.lowers(&facts.snapshot, change) || facts.service.is_raised(change.site_id) {
        return None;
    }
    TOGETHER.checked_sub(now.since(observed.memory.lowering_since?)).filter(|left| !left.is_zero())
}

/// A PUT comes before a move: both are of one batch.
fn next_step(differences: &Differences, placing: Placing, row: &ras::Broker) -> Option<Step> {
    if !differences.send.is_empty() {
        return Some(Step::Update { id: row.id, fields: differences.to_send() });
    }
    match placing {
        Placing::Move(to) => Some(Step::Move { id: row.id, to }),
        Placing::Kept
        | Placing::Primary
        | Placing::Waits
        | Placing::Gathers
        | Placing::InDoubt(_)
        | Placing::Ignored
        | Placing::Unsupported => None,
    }
}

/// A move is decided on a list from after all that may still take effect, and when all are there that it concerns.
fn looking_again(plan: Plan, placing: Placing) -> Plan {
    match placing {
        Placing::InDoubt(left) if left.is_zero() => plan.with_list(),
        Placing::InDoubt(left) => plan.after(left),
        Placing::Gathers => plan.after(GATHERING_ORDER),
        Placing::Kept
        | Placing::Primary
        | Placing::Move(_)
        | Placing::Waits
        | Placing::Ignored
        | Placing::Unsupported => plan,
    }
}

/// What is being changed, from the first write to the Apply.
fn under_way(memory: &Memory, differences: &Differences, placing: Placing) -> Hold {
    let sent = memory.update.as_ref().filter(|_| memory.unapplied.is_some());
    let to_send: BTreeSet<Field> = differences.send.iter().map(|(field, ..)| *field).collect();
    let fields = if to_send.is_empty() {
        sent.into_iter().flat_map(|sent| sent.fields.keys().copied()).collect()
    } else {
        to_send
    };
    let was_moved = memory.moved.is_some_and(|moved| moved.settled.is_none())
        || memory.unapplied == Some(Unapplied::Moved);
    let is_moved = placing.is_under_way() || (memory.unapplied.is_some() && was_moved);
    message::updating(fields.into_iter(), is_moved)
}

/// Whether the creation has not come to its end: fields that a POST cannot carry are part of it, also where an Apply
/// came between POST and PUT.
fn is_being_created(object: &ObjectFacts, memory: &Memory) -> bool {
    let told = object.status.conditions.iter().any(|condition| {
        condition.type_ == ConditionType::Reconciling.as_str()
            && condition.reason == Reason::Creating.as_str()
            && condition.observed_generation == Some(object.generation)
    });
    told || memory.unapplied == Some(Unapplied::Created)
}

/// What the status shows of the row. Until the Apply that is on its way, or that ends a creation, has gone through it
/// stands still: what it brings is shown once, together with what comes of it.
fn look<'a>(
    observed: &'a Observed,
    facts: &FarmFacts,
    row: &ras::Broker,
    differences: &Differences,
    placing: Placing,
) -> Draft<'a> {
    let (object, memory) = (&observed.object, &observed.memory);
    let is_to_do = !differences.send.is_empty() || placing.is_under_way();
    let is_unfinished = is_to_do && is_being_created(object, memory);
    let on_its_way = (memory.unapplied.is_some() || is_unfinished) && facts.mode != ApplyMode::Manual;
    let draft = Draft::of(object);
    if on_its_way && object.status.observed.is_some() && object.status.id == Some(row.id) {
        draft
    } else {
        draft.seen(facts, row)
    }
}

/// A step that failed lately and whose time to be tried again has not come.
pub(super) fn waiting_failure(
    object: &ObjectFacts,
    memory: &Memory,
    now: Now,
) -> Option<(Findings, Duration)> {
    let failure = memory.failure.as_ref()?;
    let left = failure.retry_at.checked_sub(now.boot).filter(|left| !left.is_zero())?;
    if failure.generation != object.generation {
        return None;
    }
    let is_stalled = failure.hold.reason == Reason::Forbidden;
    let show = if is_stalled { Findings::stalled } else { Findings::reconciling };
    Some((show(failure.hold.clone()), left))
}

fn sorted_differences(
    object: &ObjectFacts,
    memory: &Memory,
    desired: &Desired,
    row: &ras::Broker,
) -> Differences {
    let mut sorted = Differences::default();
    for (field, (wanted, seen)) in differences(&desired.fields, row) {
        if is_forbidden(field, &wanted, row) {
            sorted.forbidden.push(field);
            continue;
        }
        match last_try(object, memory, field, &wanted, seen.as_ref()) {
            LastTry::None => sorted.send.push((field, wanted, seen)),
            LastTry::NotApplied => {}
            LastTry::Ignored => sorted.ignored.push((field, wanted, seen)),
        }
    }
    sorted
}

/// What became of this value when it was last sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastTry {
    /// It was not sent, or the spec or the row changed since.
    None,
    /// It was answered and waits for its Apply; what the list shows meanwhile proves nothing.
    NotApplied,
    /// It was answered and applied, and the farm kept what it has.
    Ignored,
}

/// The primary can be neither disabled nor put in standby (administrator's guide, "Configuring RAS Connection
/// Brokers").
fn is_forbidden(field: Field, wanted: &Value, row: &ras::Broker) -> bool {
    row.priority == Some(0)
        && matches!(
            (field, wanted),
            (Field::Enabled, Value::Flag(false)) | (Field::Standby, Value::Flag(true))
        )
}

fn last_try(
    object: &ObjectFacts,
    memory: &Memory,
    field: Field,
    wanted: &Value,
    seen: Option<&Value>,
) -> LastTry {
    let same =
        |sent: &&SentUpdate| sent.generation == object.generation && sent.fields.get(&field) == Some(wanted);
    match memory.update.as_ref().filter(same).map(|sent| &sent.settled) {
        Some(Some(settled)) if settled.get(&field) == seen => LastTry::Ignored,
        Some(None) if memory.unapplied.is_some() => LastTry::NotApplied,
        Some(Some(_) | None) | None => LastTry::None,
    }
}

/// What differs although it was in the farm before: somebody changed it there. Entries stay until their correction is
/// applied.
fn drift_of(
    object: &ObjectFacts,
    memory: &Memory,
    row: &ras::Broker,
    differences: &Differences,
    now: Now,
) -> Vec<Drift> {
    if differences.is_done() && differences.ignored.is_empty() {
        let kept = object.status.drift.iter().filter(|drift| drift.field != place::FIELD);
        return if memory.unapplied.is_some() { kept.cloned().collect() } else { Vec::new() };
    }
    let all = differences.send.iter().chain(&differences.waiting).chain(&differences.ignored);
    all.filter_map(|difference| drift_entry(object, row, difference, now)).collect()
}

fn drift_entry(object: &ObjectFacts, row: &ras::Broker, difference: &Difference, now: Now) -> Option<Drift> {
    let (field, wanted, seen) = difference;
    let seen = seen.as_ref().map(ToString::to_string).unwrap_or_default();
    let known = object.status.drift.iter().find(|drift| drift.field == field.name());
    let known = known.filter(|drift| drift.desired == wanted.to_string());
    if known.is_none() && !was_as_wanted(object, *field, wanted) {
        return None;
    }
    let same = known.filter(|drift| drift.observed == seen);
    Some(same.cloned().unwrap_or_else(|| Drift {
        field: field.name().to_owned(),
        desired: wanted.to_string(),
        observed: seen,
        since: Time(now.wall),
        changed_by: row.admin_last_mod.clone(),
    }))
}

/// Whether the farm was last seen with the value that is wanted: only then is a difference somebody else's doing.
fn was_as_wanted(object: &ObjectFacts, field: Field, wanted: &Value) -> bool {
    let shown = object.status.observed.as_ref().map(shown_fields);
    shown.is_some_and(|shown| shown.get(&field) == Some(wanted))
}

fn drifted(drift: &[Drift]) -> Option<String> {
    let describe = |entry: &Drift| {
        let by =
            entry.changed_by.as_deref().map(|who| format!(", last changed by {who}")).unwrap_or_default();
        format!("{} is {:?} and should be {:?}{by}", entry.field, entry.observed, entry.desired)
    };
    let list = drift.iter().map(describe).collect::<Vec<_>>().join("; ");
    if list.is_empty() { None } else { Some(format!("The farm was changed outside: {list}.")) }
}

/// What nothing is sent of.
struct Rest {
    differences: Differences,
    placing: Placing,
    drift: Vec<Drift>,
}

/// What to show when nothing is sent.
fn resting(
    observed: &Observed,
    desired: &Desired,
    facts: &FarmFacts,
    row: &ras::Broker,
    rest: &Rest,
) -> Findings {
    let Rest { differences, placing, drift } = rest;
    let drifted = drifted(drift);
    let is_to_do = !differences.is_done() || placing.is_under_way();
    if let Some(findings) = resting_on_hold(desired, facts, is_to_do) {
        return Findings { drifted, ..findings };
    }
    let doubt = matches!(placing, Placing::InDoubt(_)).then(message::quarantine);
    let unapplied = || unapplied(&observed.object, &observed.memory, desired, facts);
    let waits = || {
        let moves = placing.is_under_way() && !placing.is_tried_again(observed);
        // What is to be sent and was not waits only for what was applied together with it.
        let waits = moves || !differences.send.is_empty();
        waits.then(|| {
            if is_being_created(&observed.object, &observed.memory) {
                message::creating(desired)
            } else {
                under_way(&observed.memory, differences, *placing)
            }
        })
    };
    if let Some(hold) = doubt.or_else(unapplied).or_else(waits) {
        return Findings { drifted, ..Findings::reconciling(hold) };
    }
    let kept = differences.wait.map(|wait| availability::update_hold(&observed.object, wait));
    if let Some(hold) = kept.clone().filter(|_| differences.wait != Some(Wait::Last)) {
        return Findings { drifted, ..Findings::reconciling(hold) };
    }
    let unsynced = if !differences.forbidden.is_empty() {
        Some(message::primary_cannot(&differences.forbidden))
    } else if kept.is_some() {
        kept
    } else if !differences.ignored.is_empty() {
        Some(message::ignored(&differences.ignored))
    } else {
        misplaced(observed, *placing, row)
    };
    let waiting =
        ailing_agent(facts, row).map(|(state, health)| message::agent(&observed.object, &state, health));
    let remark = (*placing == Placing::Primary).then_some(message::PRIORITY_OF_PRIMARY);
    Findings { unsynced, drifted, synced_anyway: true, reconciling: waiting, remark, ..Findings::default() }
}

/// Why the broker stays where it does not belong.
fn misplaced(observed: &Observed, placing: Placing, row: &ras::Broker) -> Option<Hold> {
    match placing {
        Placing::Ignored => observed.place.as_ref().map(|place| message::place_ignored(place.wanted, row)),
        Placing::Unsupported | Placing::Waits | Placing::Gathers | Placing::Move(_) => {
            Some(message::priority_unsupported())
        }
        Placing::Kept | Placing::Primary | Placing::InDoubt(_) => None,
    }
}

/// A suspended object rests whatever the farm says; another hold shows only where it keeps something back.
fn resting_on_hold(desired: &Desired, facts: &FarmFacts, something_to_send: bool) -> Option<Findings> {
    let hold = if desired.suspend { Some(message::suspended()) } else { facts.hold.clone() }?;
    if hold.reason == Reason::Suspended {
        return Some(Findings { readiness: Readiness::Kept, ..Findings::unsynced(hold) });
    }
    something_to_send.then(|| Findings::reconciling(hold.waiting()))
}

fn unapplied(object: &ObjectFacts, memory: &Memory, desired: &Desired, facts: &FarmFacts) -> Option<Hold> {
    let change = memory.unapplied?;
    if let Some(hold) = facts.hold.as_ref().filter(|hold| hold.reason != Reason::Suspended) {
        // What keeps the Apply back is the farm's to say.
        return Some(hold.waiting());
    }
    Some(match (facts.mode, change) {
        (ApplyMode::Manual, _) => message::awaiting_apply(object, &desired.farm),
        (ApplyMode::Auto | ApplyMode::Guarded, Unapplied::Deleted) => message::deleting(desired, facts),
        (ApplyMode::Auto | ApplyMode::Guarded, _) if is_being_created(object, memory) => {
            message::creating(desired)
        }
        (ApplyMode::Auto | ApplyMode::Guarded, _) if is_known(memory) => {
            under_way(memory, &Differences::default(), Placing::Kept)
        }
        (
            ApplyMode::Auto | ApplyMode::Guarded,
            Unapplied::Created | Unapplied::Updated | Unapplied::Moved,
        ) => message::applying(Reason::Updating),
    })
}

/// Whether this process knows what it has written.
fn is_known(memory: &Memory) -> bool {
    memory.update.is_some() || memory.moved.is_some() || memory.unapplied == Some(Unapplied::Moved)
}

/// The state of an agent that is not as it should be, and what it means. An agent list that could not be read, or that
/// names no servers, lowers nothing.
pub(super) fn ailing_agent(facts: &FarmFacts, row: &ras::Broker) -> Option<(String, Health)> {
    let agent = facts.snapshot.agent(&ServerName::new(&row.server));
    let Some(agent) = agent else {
        let unseen = || ("not reported by the farm".to_owned(), Health::Unreachable);
        return facts.snapshot.has_agents().then(unseen);
    };
    let seen = row_fields(row);
    let disabled = seen.get(&Field::Enabled) == Some(&Value::Flag(false));
    let standby = seen.get(&Field::Standby) == Some(&Value::Flag(true));
    let health = health(agent.state, disabled, standby);
    (health != Health::Healthy).then(|| (agent.state.name().into_owned(), health))
}

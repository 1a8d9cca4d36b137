//! A row that is ours: what differs, what may be sent, and what the conditions say when nothing is left to send.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

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
use crate::farm::service::Wait;
use crate::farm::view::{FarmFacts, Hold, Unapplied};
use crate::ras;

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
    let lowers = facts.service.lowers(&facts.snapshot, &change);
    let differences = differences.guarded(availability::wait(observed, facts, &change));
    let shown = look(observed, facts, row, &differences).handled(&observed.memory, facts);
    if row.marked_for_deletion == Some(true) {
        return shown.shows(Findings::reconciling(message::marked(row)), now);
    }
    let drift = drift_of(object, &observed.memory, row, &differences, now);
    let shown = shown.drift(drift.clone());
    if differences.send.is_empty() || desired.suspend || facts.hold.is_some() {
        let findings = resting(observed, desired, facts, row, &differences, &drift);
        let rests = shown.shows(findings, now);
        return if differences.wait.is_some() { rests.behind_others() } else { rests };
    }
    if let Some(failure) = waiting_failure(object, &observed.memory, now) {
        let findings = Findings { drifted: drifted(&drift), ..failure.0 };
        return shown.shows(findings, now).after(failure.1);
    }
    let hold = if is_being_created(object, &observed.memory) {
        message::creating(desired)
    } else {
        message::updating(differences.send.iter().map(|(field, ..)| *field))
    };
    let findings = Findings { drifted: drifted(&drift), ..Findings::reconciling(hold) };
    let updating = shown.shows(findings, now);
    match until_seen_together(observed, facts, row, now).filter(|_| lowers && differences.wait.is_none()) {
        Some(left) => updating.behind_others().after(left),
        None => updating.then(Step::Update { id: row.id, fields: differences.to_send() }),
    }
}

/// How long until what was applied together with a change that lowers the site is seen too. What was seen and goes
/// before it is in the farm by now: then both belong to one Apply.
fn until_seen_together(
    observed: &Observed,
    facts: &FarmFacts,
    row: &ras::Broker,
    now: Now,
) -> Option<Duration> {
    let since = observed.memory.lowering_since.filter(|_| !facts.service.is_raised(row.site_id))?;
    TOGETHER.checked_sub(now.since(since)).filter(|left| !left.is_zero())
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
) -> Draft<'a> {
    let (object, memory) = (&observed.object, &observed.memory);
    let is_unfinished = !differences.send.is_empty() && is_being_created(object, memory);
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
        return if memory.unapplied.is_some() { object.status.drift.clone() } else { Vec::new() };
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

/// What to show when nothing is sent.
fn resting(
    observed: &Observed,
    desired: &Desired,
    facts: &FarmFacts,
    row: &ras::Broker,
    differences: &Differences,
    drift: &[Drift],
) -> Findings {
    let drifted = drifted(drift);
    if let Some(findings) = resting_on_hold(desired, facts, !differences.is_done()) {
        return Findings { drifted, ..findings };
    }
    if let Some(hold) = unapplied(&observed.object, &observed.memory, desired, facts) {
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
        desired.priority.filter(|place| Some(*place) != row.priority).map(|_| message::priority_unsupported())
    };
    let waiting = agent_state(facts, row).map(|state| message::agent(&state));
    Findings { unsynced, drifted, synced_anyway: true, reconciling: waiting, ..Findings::default() }
}

/// A suspended object rests whatever the farm says; another hold shows only where it keeps something back.
fn resting_on_hold(desired: &Desired, facts: &FarmFacts, something_to_send: bool) -> Option<Findings> {
    let hold = if desired.suspend { Some(message::suspended()) } else { facts.hold.clone() }?;
    if hold.reason == Reason::Suspended {
        return Some(Findings { readiness: Readiness::Kept, ..Findings::unsynced(hold) });
    }
    something_to_send.then(|| Findings::reconciling(Hold::new(Reason::WaitingForFarm, hold.message)))
}

fn unapplied(object: &ObjectFacts, memory: &Memory, desired: &Desired, facts: &FarmFacts) -> Option<Hold> {
    let change = memory.unapplied?;
    if let Some(hold) = facts.hold.as_ref().filter(|hold| hold.reason != Reason::Suspended) {
        // What keeps the Apply back is the farm's to say.
        return Some(Hold::new(Reason::WaitingForFarm, hold.message.clone()));
    }
    Some(match (facts.mode, change) {
        (ApplyMode::Manual, _) => message::awaiting_apply(object, &desired.farm),
        (ApplyMode::Auto | ApplyMode::Guarded, Unapplied::Deleted) => message::deleting(),
        (ApplyMode::Auto | ApplyMode::Guarded, Unapplied::Created | Unapplied::Updated) => {
            match &memory.update {
                Some(_) | None if is_being_created(object, memory) => message::creating(desired),
                Some(sent) => message::updating(sent.fields.keys().copied()),
                None => message::applying(Reason::Updating),
            }
        }
    })
}

/// The state of an agent that is not as it should be. An agent list that could not be read, or that names no servers,
/// lowers nothing.
pub(super) fn agent_state(facts: &FarmFacts, row: &ras::Broker) -> Option<String> {
    let agent = facts.snapshot.agent(&ServerName::new(&row.server));
    let Some(agent) = agent else {
        return facts.snapshot.has_agents().then(|| "not reported by the farm".to_owned());
    };
    let seen = row_fields(row);
    let disabled = seen.get(&Field::Enabled) == Some(&Value::Flag(false));
    let standby = seen.get(&Field::Standby) == Some(&Value::Flag(true));
    match health(agent.state, disabled, standby) {
        Health::Healthy => None,
        Health::InProgress | Health::Broken => Some(agent.state.name().into_owned()),
    }
}

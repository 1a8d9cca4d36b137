//! From the compact state to what the product's decisions are made of, and back. Every decision here is the
//! product's: `plan`, `settle`, `rival`, `needs_delete`, `Batch`. Decisions are remembered by their inputs, since
//! many states differ in what one decision does not look at.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ras_operator::broker::desired::{Field, Value};
use ras_operator::broker::observe::{CrdState, ObjectFacts, Observed};
use ras_operator::broker::plan::{
    FRESH, Plan, Released, Step, deletion_of, may_raise, plan, raises, site_to_lower, update_of,
};
use ras_operator::broker::reconcile::needs_delete;
use ras_operator::broker::rivals::rival;
use ras_operator::clock::Now;
use ras_operator::crd::condition::Reason;
use ras_operator::crd::{ApplyMode, RasBroker};
use ras_operator::farm::batch::{Batch, Due, Pace};
use ras_operator::farm::service::{Change, Kind, Service, Sites};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{DeletionLimits, FarmFacts, FarmView, Hold, Outage, TimeLimits};
use ras_operator::kubernetes::ObjectKey;
use ras_operator::ras;

use crate::forms::{broker, made, memory, recorded, remembered, row, snapshot, unapplied};
use crate::memo::Memo;
use crate::scenario::{Rule, Scenario};
use crate::world::{
    Changed, Gathered, Id, Intended, Listed, Lowers, Object, Recorded, Remembered, Row, SLOTS, Todo, Written,
};

/// One tick is longer than the send deadline, so that whoever sleeps through one is too late.
pub const TICK: Duration = Duration::from_secs(6);
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// None of its calls takes longer than another.
const LIMITS: TimeLimits = TimeLimits { request: REQUEST_TIMEOUT, install: REQUEST_TIMEOUT };
/// Ages stop growing here: past every limit that is compared with them.
pub const OLD: u8 = 4;
/// How many ticks after it was sent a call may still take effect: request timeout and slack, 13 s.
pub const LATEST: u8 = 2;
pub const FARM: &str = "farm";
pub const ACCOUNT: &str = "svc";
pub const SITE: i64 = 1;

/// The clocks, at every moment of the model.
pub fn now() -> Now {
    Now { wall: Timestamp::constant(1_800_000_000, 0), boot: Duration::from_secs(1_000_000) }
}

pub fn ago(age: u8) -> Duration {
    now().boot - TICK * u32::from(age)
}

pub fn age_of(at: Duration) -> u8 {
    u8::try_from(now().since(at).as_secs() / TICK.as_secs()).unwrap_or(OLD).min(OLD)
}

/// All that one decision looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub slot: usize,
    pub objects: [Option<Object>; SLOTS],
    pub listed: Option<Listed>,
    pub down: bool,
    pub held: bool,
    pub memory: Remembered,
    pub unapplied: Option<Written>,
    pub other_deleted: bool,
    pub other_memory: Remembered,
    pub other_unapplied: Option<Written>,
    pub sent: u8,
    pub inherits: bool,
    pub changes: Vec<Changed>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub memory: Remembered,
    /// A status that is to be written; `None` where it shows what it showed.
    pub report: Option<Recorded>,
    pub todo: Option<Todo>,
    pub needs_list: bool,
    /// Why nothing more is done: the reason shown as the strongest, `None` where all is well.
    pub rests_on: Option<Reason>,
    /// Whether the object waits for a quarantine to end.
    pub waits: bool,
}

static DECIDED: Memo<(Scenario, Look), Decision> = Memo::new();

/// The product's decision on this view.
pub fn decide(scenario: Scenario, look: &Look) -> Decision {
    let key = (scenario, look.clone());
    if let Some(known) = DECIDED.get(&key) {
        return known;
    }
    let decision = decide_anew(scenario, look);
    DECIDED.insert(key, decision.clone());
    decision
}

fn decide_anew(scenario: Scenario, look: &Look) -> Decision {
    let Some(object) = &look.objects[look.slot] else {
        unreachable!("nothing is decided about an object that is not known")
    };
    let broker = broker(scenario, look.slot, object);
    let facts = ObjectFacts::of(&broker);
    let view = farm_view(scenario, look);
    let mut memory = memory(&look.memory, facts.generation);
    memory.deletion_seen = object.deleted.map(ago);
    memory.observe(&facts, &view, look.unapplied.map(unapplied), now());
    let other =
        look.objects[1 - look.slot].as_ref().map(|object| self::broker(scenario, 1 - look.slot, object));
    let rivals = match (&view, &other) {
        (FarmView::Up(farm), Some(other)) if !scenario.breaks(Rule::Rivals) => {
            rival(&broker, other, farm).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let own_deleted = memory.deleted.is_some();
    let unsent = [(Some(&broker), own_deleted), (other.as_ref(), look.other_deleted)];
    let deletions = unsent
        .into_iter()
        .filter_map(|(broker, sent)| broker.filter(|_| !sent))
        .filter(|broker| ras_operator::broker::observe::has_finalizer(broker) && needs_delete(broker))
        .filter_map(|broker| broker.metadata.deletion_timestamp.as_ref().map(|time| time.0))
        .collect();
    let deletions: Vec<_> = deletions;
    let remembered = remembered(object, &memory);
    if scenario.breaks(Rule::Quarantine) {
        memory.intent_seen = memory.intent_seen.map(|(attempt, _)| (attempt, ago(100)));
    }
    if scenario.breaks(Rule::DeleteQuarantine) {
        memory.delete_unanswered = None;
    }
    if scenario.breaks(Rule::TwoLists) {
        memory.confirmed_gone = facts.status.id;
    }
    let raising = match (&view, &other) {
        (FarmView::Up(farm), Some(other)) => site_to_lower(&facts, farm).is_some_and(|site| {
            may_raise(other, farm, site) && raises(&glance(scenario, look, (other, &broker), &view), now())
        }),
        _ => false,
    };
    let vanished = usize::from(facts.owned_id().is_some());
    let observed = Observed {
        object: facts,
        farm: view,
        memory,
        rivals,
        deletions,
        vanished,
        raising,
        crd: CrdState::Present,
        place: None,
    };
    decision(object, &observed.object, look, remembered, plan(&observed, now()))
}

/// `Context::glance`: what the next pass of the other object will look at.
fn glance(
    scenario: Scenario,
    look: &Look,
    (broker, other): (&RasBroker, &RasBroker),
    view: &FarmView,
) -> Observed {
    let object = ObjectFacts::of(broker);
    let mut memory = memory(&look.other_memory, object.generation);
    memory.observe(&object, view, look.other_unapplied.map(unapplied), now());
    let rivals = match view {
        FarmView::Up(farm) if !scenario.breaks(Rule::Rivals) => {
            rival(broker, other, farm).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let vanished = usize::from(object.owned_id().is_some());
    Observed {
        object,
        farm: view.clone(),
        memory,
        rivals,
        deletions: Vec::new(),
        vanished,
        raising: false,
        crd: CrdState::Present,
        place: None,
    }
}

/// Whether the farm lets go a change of what a row serves, and if so, whether it is one that others wait for.
pub fn may_change(scenario: Scenario, look: &Look, id: Id, kind: Lowers) -> Option<bool> {
    let FarmView::Up(farm) = farm_view(scenario, look) else { return None };
    let object = look.objects[look.slot].as_ref()?;
    let desired = ObjectFacts::of(&broker(scenario, look.slot, object)).desired;
    let row = farm.snapshot.row(id.into())?;
    let fields = [(Field::Enabled, Value::Flag(kind == Lowers::Enabled))].into();
    let change = match kind {
        Lowers::Enabled | Lowers::Seen | Lowers::Disabled => update_of(&desired, row, &fields),
        Lowers::Deleted => deletion_of(&desired, row),
    };
    let mut sites = sites(scenario, look);
    let waits = sites.changes().wait(&farm.snapshot, &change).is_some();
    (!waits).then(|| sites.begin(&key_of(look.slot), &farm.snapshot, change))
}

fn key_of(slot: usize) -> ObjectKey {
    ObjectKey::new("default", format!("b{slot}"))
}

/// The real record of what was changed and is not applied, from the compact one.
fn sites(scenario: Scenario, look: &Look) -> Sites {
    let mut sites = Sites::new(look.inherits);
    for Changed { slot, id, kind, is_on_its_way, applied: _ } in &look.changes {
        let key = key_of(usize::from(*slot));
        let before = Row {
            id: *id,
            made: 0,
            server: scenario.servers[usize::from(*slot)],
            by_us: true,
            enabled: !matches!(kind, Lowers::Enabled | Lowers::Seen),
            marked: false,
            serves: false,
            owner: None,
        };
        let after = row(scenario, &Row { enabled: true, ..before.clone() });
        let snapshot = Snapshot::default().next(vec![row(scenario, &before)], ago(OLD), None);
        let kind = match kind {
            Lowers::Enabled => {
                sites.raised(&key, &snapshot, &after);
                continue;
            }
            Lowers::Seen => {
                sites.seen(&snapshot, &after);
                continue;
            }
            Lowers::Disabled => Kind::Update,
            Lowers::Deleted => Kind::Delete,
        };
        let change = Change { site_id: SITE, id: (*id).into(), kind, to: Service::Off, insists: false };
        sites.begin(&key, &snapshot, change);
        if !is_on_its_way {
            sites.end(&key, &change, true);
        }
    }
    sites
}

fn decision(object: &Object, facts: &ObjectFacts, look: &Look, memory: Remembered, plan: Plan) -> Decision {
    let Plan { step, status, findings, requeue: _, needs_list, waits_for_others: _ } = plan;
    let strongest = findings.held.or(findings.stalled).or(findings.reconciling).or(findings.unsynced);
    let rests_on = strongest.map(|hold| hold.reason);
    let shown = status.map(|status| recorded(facts, status)).filter(|status| *status != object.status);
    Decision {
        memory,
        report: shown,
        todo: step.map(|step| todo(look, step)),
        needs_list,
        rests_on,
        waits: rests_on == Some(Reason::Quarantine),
    }
}

fn todo(look: &Look, step: Step) -> Todo {
    let row = |row: &ras::Broker| {
        let mut rows = look.listed.iter().flat_map(|listed| &listed.rows);
        rows.rfind(|known| i64::from(known.id) == row.id)
            .cloned()
            .unwrap_or_else(|| unreachable!("a step names a row that is not listed"))
    };
    let id = |id: i64| Id::try_from(id).unwrap_or_default();
    match step {
        Step::Create { intent } => Todo::Create(Intended {
            uid: intent.uid.parse().unwrap_or_default(),
            attempt: u8::try_from(intent.attempt).unwrap_or(u8::MAX),
            lost: intent.lost_since.is_some(),
            refused: intent.refused.is_some(),
            recreated: intent.recreated.is_some(),
            replaces: intent.replaces.map(id),
        }),
        Step::Claim => Todo::Claim,
        Step::Record { row: found, origin } => Todo::Record(row(&found), made(origin)),
        Step::Update { id: found, fields } => {
            Todo::Update(id(found), fields.get(&Field::Enabled) == Some(&Value::Flag(true)))
        }
        Step::Move { .. } => unreachable!("no object states a priority"),
        Step::Delete { row: found } => Todo::Delete(row(&found)),
        Step::ConfirmGone { id: found } => Todo::ConfirmGone(id(found)),
        Step::Release { outcome } => Todo::Release { stays: outcome == Released::Orphaned },
    }
}

fn farm_view(scenario: Scenario, look: &Look) -> FarmView {
    let Some(listed) = &look.listed else { return FarmView::Starting };
    if look.down {
        let hold = Hold::new(Reason::FarmUnreachable, "It does not answer.");
        return FarmView::Down(Outage { hold, overdue: false, limits: LIMITS });
    }
    FarmView::Up(Arc::new(FarmFacts {
        identity: FARM.into(),
        default_site: Ok(SITE),
        snapshot: Arc::new(snapshot(scenario, listed)),
        account: ACCOUNT.into(),
        farm_time: now().wall,
        limits: LIMITS,
        hold: look.held.then(|| Hold::new(Reason::ReconcileError, "The last Apply failed.")),
        mode: ApplyMode::Auto,
        deletions: DeletionLimits {
            threshold: scenario.threshold.into(),
            window: Duration::from_secs(600),
            allowed_before: None,
            sent: vec![now().wall; look.sent.into()],
        },
        service: sites(scenario, look).changes(),
        ..FarmFacts::default()
    }))
}

/// Whether a POST may be decided on a list of this age.
pub fn is_fresh(scenario: Scenario, age: u8) -> bool {
    scenario.breaks(Rule::FreshList) || TICK * u32::from(age) <= FRESH
}

/// The real batch, brought to where the compact one stands.
fn batch(gathered: Gathered, in_flight: usize) -> Batch {
    let start = now().boot;
    let mut batch = Batch::default();
    match gathered {
        Gathered::Closed => {}
        Gathered::Open { dirty, wait } => batch.open(start + TICK * u32::from(wait), dirty),
        Gathered::Applying => {
            batch.open(start, true);
            batch.applying();
        }
        Gathered::Failed => {
            batch.open(start, true);
            batch.applying();
            batch.apply_failed(start, true);
        }
    }
    (0..in_flight).for_each(|_| batch.begin(Pace::Ordinary));
    batch
}

/// Whether another write may be sent.
pub fn admits(gathered: Gathered) -> bool {
    batch(gathered, 0).admits(now().boot, ApplyMode::Auto)
}

/// What the batch does once nothing has happened for a while that is short beside a tick.
pub fn due(gathered: Gathered, in_flight: usize) -> Due {
    batch(gathered, in_flight).due(now().boot + Duration::from_secs(3), 0, ApplyMode::Auto, false)
}

//! From the compact state to what the product decides on, and back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ras_operator::clock::Now;
use ras_operator::crd::condition::Reason as Why;
use ras_operator::crd::{
    ApplyMode, PromotionAttempt, PromotionPhase, RasBroker, RasBrokerPromotion, RasBrokerPromotionStatus,
};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{FarmFacts, FarmView, Hold, TimeLimits};
use ras_operator::promotion::observe::{self, Candidate, Memory, Observed, Request};
use ras_operator::promotion::plan::{Plan, plan};
use ras_operator::ras;
use serde_json::json;

/// One tick is longer than the send deadline, so that whoever sleeps through one is too late.
const TICK: Duration = Duration::from_secs(6);
/// Send deadline, this and slack are three ticks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const NOW: Duration = Duration::from_secs(1_000_000);

/// What the status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    New,
    Pending,
    Promoting,
    Quarantine,
    Applying,
    Succeeded,
    Failed(Reason),
}

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    Refused,
    NotPromoted,
    Other,
}

/// What became of a call, as the process that made it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Answered,
    Lost,
    NotSent,
    Refused,
}

/// What one process knows when it decides. Times are ages in ticks, which stop growing where nothing compares them any
/// more, so that there are finitely many states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    /// Since the request, and that it may have been sent, were first seen.
    pub(crate) asked: Option<u8>,
    pub(crate) seen: Option<u8>,
    pub(crate) fate: Option<Fate>,
    /// The last list: its age, and whether it showed the broker as the primary.
    pub(crate) listed: Option<(u8, bool)>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Decision {
    pub(crate) shows: Option<Step>,
    pub(crate) sends: bool,
    pub(crate) known: Known,
}

/// Where ages stop.
pub(crate) const OLD: u8 = 5;

fn ago(age: u8) -> Duration {
    NOW.saturating_sub(TICK * u32::from(age))
}

fn age(at: Duration) -> u8 {
    u8::try_from(NOW.saturating_sub(at).as_secs() / TICK.as_secs()).unwrap().min(OLD)
}

thread_local! {
    /// Many states differ in what a decision does not look at.
    static DECIDED: RefCell<HashMap<(Step, Known), Decision>> = RefCell::default();
}

/// The product's decision of a process that takes `step` for the object's state.
pub(crate) fn decide(step: Step, known: Known) -> Decision {
    let decided = DECIDED.with_borrow(|decided| decided.get(&(step, known)).copied());
    decided.unwrap_or_else(|| {
        let decision = decide_anew(step, known);
        DECIDED.with_borrow_mut(|decided| decided.insert((step, known), decision));
        decision
    })
}

fn decide_anew(step: Step, known: Known) -> Decision {
    let now = Now { wall: Timestamp::constant(1_800_000_000, 0), boot: NOW };
    let request = request(step);
    let mut memory = Memory {
        asked: known.asked.map(ago),
        seen: known.seen.map(ago),
        fate: known.fate.map(fate),
        pause: None,
    };
    memory.observe(&request, now.boot);
    let farm =
        known.listed.map_or(FarmView::Starting, |(at, promoted)| FarmView::Up(Arc::new(facts(at, promoted))));
    let candidate = Some(candidate());
    let observed = Observed { request, broker: candidate, farm, rival: None, memory: memory.clone() };
    let Plan { status, send, running: _, needs_list: _, requeue: _ } = plan(&observed, now);
    let known = Known {
        asked: memory.asked.map(age),
        seen: memory.seen.map(age),
        fate: memory.fate.and(known.fate),
        listed: known.listed,
    };
    Decision { shows: status.map(|status| step_of(&status)), sends: send.is_some(), known }
}

fn fate(fate: Fate) -> observe::Fate {
    match fate {
        Fate::Answered => observe::Fate::Answered,
        Fate::Lost => observe::Fate::Lost,
        Fate::NotSent => observe::Fate::NotSent("why".into()),
        Fate::Refused => observe::Fate::Refused(Hold::new(Why::Refused, "No.")),
    }
}

fn request(step: Step) -> Request {
    let object: RasBrokerPromotion = serde_json::from_value(json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBrokerPromotion",
        "metadata": {"name": "go", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {
            "brokerRef": {"name": "two"}, "accountSecretRef": {"name": "a"},
            "expectedPrimary": "cb1", "notAfter": "2100-01-01T00:00:00Z",
        },
    }))
    .unwrap();
    let phase = match step {
        Step::New => None,
        Step::Pending => Some(PromotionPhase::Pending),
        Step::Promoting | Step::Quarantine => Some(PromotionPhase::Promoting),
        Step::Applying => Some(PromotionPhase::Applying),
        Step::Succeeded => Some(PromotionPhase::Succeeded),
        Step::Failed(_) => Some(PromotionPhase::Failed),
    };
    let was_sent = !matches!(step, Step::New | Step::Pending);
    let attempt = PromotionAttempt {
        farm: "north".into(),
        farm_guid: "farm".into(),
        site_id: 1,
        id: 2,
        server: "cb2".into(),
    };
    let status = RasBrokerPromotionStatus {
        phase,
        attempt: was_sent.then_some(attempt),
        ..RasBrokerPromotionStatus::default()
    };
    Request { status, ..Request::of(&object) }
}

fn step_of(status: &RasBrokerPromotionStatus) -> Step {
    let reason =
        status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().reason.as_str();
    match status.phase.unwrap() {
        PromotionPhase::Pending => Step::Pending,
        PromotionPhase::Promoting if reason == "Quarantine" => Step::Quarantine,
        PromotionPhase::Promoting => Step::Promoting,
        PromotionPhase::Applying => Step::Applying,
        PromotionPhase::Succeeded => Step::Succeeded,
        PromotionPhase::Failed => Step::Failed(match reason {
            "Refused" => Reason::Refused,
            "NotPromoted" => Reason::NotPromoted,
            _ => Reason::Other,
        }),
    }
}

fn candidate() -> Candidate {
    let broker: RasBroker = serde_json::from_value(json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBroker",
        "metadata": {"name": "two", "namespace": "ns", "uid": "b", "generation": 1},
        "spec": {"farmRef": {"name": "north"}, "server": "cb2"},
        "status": {"id": 2, "origin": "Adopted", "siteId": 1, "farmGUID": "farm", "observedGeneration": 1},
    }))
    .unwrap();
    Candidate::of(&broker)
}

fn facts(at: u8, promoted: bool) -> FarmFacts {
    let row = |id, server: &str, is_primary: bool| ras::Broker {
        id,
        server: server.into(),
        site_id: 1,
        priority: Some(i64::from(!is_primary)),
        enabled: Some(true),
        ..ras::Broker::default()
    };
    let rows = vec![row(1, "cb1", !promoted), row(2, "cb2", promoted)];
    FarmFacts {
        identity: "farm".into(),
        default_site: Ok(1),
        snapshot: Arc::new(Snapshot::default().next(rows, ago(at), None)),
        account: "svc".into(),
        farm_time: Timestamp::constant(1_800_000_000, 0),
        limits: TimeLimits { request: REQUEST_TIMEOUT, install: REQUEST_TIMEOUT },
        mode: ApplyMode::Auto,
        ..FarmFacts::default()
    }
}

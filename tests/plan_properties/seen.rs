//! What is seen of an object and its farm, to be decided on, and what decisions show.

use ras_operator::broker::intent::Intent;
use ras_operator::broker::observe::{Observed, observed_row};
use ras_operator::broker::plan::{GATHERING, Plan};
use ras_operator::clock::Now;
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::crd::{Origin, RasBrokerStatus};
use ras_operator::farm::view::{FarmFacts, FarmView};
use ras_operator::ras;
use serde_json::{Value, json};

use crate::model::{ACCOUNT, GUID, start};
use crate::start::{example, primary};

/// Our row, made by our account in these worlds' time.
pub(crate) fn ours() -> ras::Broker {
    ras::Broker {
        id: 7,
        server: "CB1.corp.example".into(),
        site_id: 1,
        priority: Some(1),
        admin_create: Some(ACCOUNT.into()),
        time_create: Some("2026-01-01T00:00:00Z".into()),
        ..ras::Broker::default()
    }
}

/// What is seen of an object with this spec beside these rows.
pub(crate) fn seen(spec: &Value, rows: Vec<ras::Broker>) -> (Observed, Now) {
    let mut world = example(spec, rows);
    let broker = world.broker.clone().expect("an object");
    (world.observe(&broker), world.now())
}

/// The same of an object whose status names our row.
pub(crate) fn owning(spec: &Value) -> (Observed, Now) {
    let (mut observed, now) = seen(spec, vec![ours()]);
    observed.object.status = RasBrokerStatus {
        id: Some(7),
        origin: Some(Origin::Created),
        site_id: Some(1),
        farm_guid: Some(GUID.into()),
        observed: Some(observed_row(&ours())),
        ..RasBrokerStatus::default()
    };
    (observed, now)
}

/// The same of an object that was deleted a while ago.
pub(crate) fn deleting() -> (Observed, Now) {
    let (mut observed, now) = owning(&json!({}));
    observed.object.deleted = Some(start());
    observed.deletions = vec![start()];
    observed.memory.deletion_seen = Some(now.boot.saturating_sub(GATHERING));
    (observed, now)
}

/// Changes what is seen of the farm.
pub(crate) fn facts(observed: &mut Observed, change: impl FnOnce(&mut FarmFacts)) {
    let FarmView::Up(facts) = &observed.farm else { panic!("the farm is up") };
    let mut changed = facts.as_ref().clone();
    change(&mut changed);
    observed.farm = FarmView::Up(changed.into());
}

/// The farm is listed again, and nothing has changed in it.
pub(crate) fn listed_again(observed: &mut Observed, now: Now) {
    facts(observed, |facts| {
        let rows = facts.snapshot.rows().map(|row| row.as_ref().clone()).collect();
        facts.snapshot = facts.snapshot.next(rows, now.boot, None).into();
    });
}

pub(crate) fn lost_intent() -> Intent {
    Intent {
        uid: "uid-1".into(),
        attempt: 1,
        farm_guid: GUID.into(),
        site_id: 1,
        server: "cb1.corp.example".into(),
        account: ACCOUNT.into(),
        farm_time: start(),
        quarantine_seconds: 45,
        lost_since: None,
        refused: None,
        recreated: None,
        replaces: None,
    }
}

pub(crate) fn shows(plan: &Plan, type_: ConditionType) -> Option<(&str, &str)> {
    let mut conditions = plan.status.iter().flat_map(|status| &status.conditions);
    let shown = conditions.find(|condition| condition.type_ == type_.as_str())?;
    Some((&shown.status, &shown.reason))
}

pub(crate) fn assert_waits(plan: &Plan, type_: ConditionType, reason: Reason) {
    assert_eq!(plan.step, None);
    assert_eq!(shows(plan, type_), Some(("True", reason.as_str())), "{plan:#?}");
}

/// A broker of ours that two lists and a read by id found gone.
pub(crate) fn vanished() -> (Observed, Now) {
    let (mut observed, now) = owning(&json!({}));
    facts(&mut observed, |facts| {
        let once = facts.snapshot.next(vec![primary()], now.boot, None);
        facts.snapshot = once.next(vec![primary()], now.boot, None).into();
    });
    observed.memory.confirmed_gone = Some(7);
    observed.vanished = 1;
    (observed, now)
}

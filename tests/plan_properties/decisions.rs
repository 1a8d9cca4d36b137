//! Single decisions, as tables.

use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::broker::intent::Intent;
use ras_operator::broker::observe::{Claim, Failure, Observed, Rival};
use ras_operator::broker::plan::{Plan, Released, Step, plan};
use ras_operator::clock::Now;
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::crd::{Origin, annotation};
use ras_operator::farm::view::{FarmView, Hold, Outage, TimeLimits};
use ras_operator::ras;
use serde_json::json;

use crate::model::{GUID, start};
use crate::seen::{
    assert_waits, deleting, facts, listed_again, lost_intent, ours, owning, seen, shows, vanished,
};
use crate::start::{example, primary};

#[test]
fn after_a_lost_answer_nothing_is_sent_before_the_quarantine_is_over() {
    let (mut observed, now) = seen(&json!({}), Vec::new());
    observed.object.intent = Some(lost_intent());
    observed.memory.intent_seen = Some((1, now.boot));
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::Quarantine);
    let mut later = Now { boot: now.boot + Duration::from_secs(44), ..now };
    assert_waits(&plan(&observed, later), ConditionType::Reconciling, Reason::Quarantine);
    later.boot += Duration::from_secs(1);
    // What arrived at the very end is only in a list from after it.
    assert_waits(&plan(&observed, later), ConditionType::Reconciling, Reason::Quarantine);
    listed_again(&mut observed, later);
    // And one list may lack a row that is there.
    assert_waits(&plan(&observed, later), ConditionType::Reconciling, Reason::Quarantine);
    listed_again(&mut observed, later);
    let Some(Step::Create { intent }) = plan(&observed, later).step else { panic!("a new attempt") };
    assert_eq!((intent.attempt, intent.lost_since), (2, Some(start())));

    observed.object.deleted = Some(start());
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::Quarantine);
    observed.object.desired.requests.force_orphan = true;
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::Quarantine);
    let released = plan(&observed, later).step;
    assert_eq!(released, Some(Step::Release { outcome: Released::Orphaned }));
}

#[test]
fn what_vanished_is_created_again_only_where_that_is_no_quarrel() {
    let with = |origin, count| {
        let (mut observed, now) = vanished();
        observed.object.status.origin = Some(origin);
        observed.vanished = count;
        (observed, now)
    };
    let cases = [
        ("ours, once", true, with(Origin::Created, 1)),
        ("adopted", false, with(Origin::Adopted, 1)),
        ("two at once", true, with(Origin::Created, 2)),
        ("many at once", false, with(Origin::Created, 3)),
    ];
    for (what, is_created, (observed, now)) in cases {
        assert_created_again(what, is_created, &observed, now);
    }
    for (minutes, is_created) in [(10, false), (70, true)] {
        let (mut observed, now) = vanished();
        let recreated = now.wall.saturating_sub(SignedDuration::from_mins(minutes)).ok();
        observed.object.intent = Some(Intent { recreated, replaces: Some(6), ..lost_intent() });
        assert_created_again(&format!("again after {minutes} minutes"), is_created, &observed, now);
    }
    let (mut observed, now) = vanished();
    observed.memory.confirmed_gone = None;
    assert_eq!(plan(&observed, now).step, Some(Step::ConfirmGone { id: 7 }), "a list alone proves nothing");
}

/// Each farm has a primary: a list without it was not read.
#[test]
fn a_list_without_any_row_says_nothing_of_a_broker() {
    for (what, (mut observed, now)) in [("wanted", vanished()), ("deleted", deleting())] {
        observed.memory.confirmed_gone = Some(7);
        facts(&mut observed, |facts| {
            let once = facts.snapshot.next(Vec::new(), now.boot, None);
            facts.snapshot = once.next(Vec::new(), now.boot, None).into();
        });
        assert_eq!(plan(&observed, now).step, None, "{what}");
    }
}

#[test]
fn what_was_listed_long_ago_says_nothing_until_the_farm_is_listed_again() {
    let (mut observed, mut now) = owning(&json!({"description": "one"}));
    assert!(plan(&observed, now).status.is_some());
    // As after a machine's sleep.
    now.boot += Duration::from_hours(1);
    let stale = plan(&observed, now);
    assert_eq!((stale.status, stale.step, stale.needs_list), (None, None, true));
    listed_again(&mut observed, now);
    assert!(plan(&observed, now).status.is_some());
}

/// What is left to a person is done once the person asks.
fn assert_created_again(what: &str, is_created: bool, observed: &Observed, now: Now) {
    let decided = plan(observed, now);
    if is_created {
        assert!(matches!(decided.step, Some(Step::Create { .. })), "{what}: {decided:#?}");
        return;
    }
    assert_waits(&decided, ConditionType::Stalled, Reason::ExternallyDeleted);
    let mut asked = observed.clone();
    asked.object.desired.requests.reconcile = Some("now".into());
    assert!(matches!(plan(&asked, now).step, Some(Step::Create { .. })), "{what}, on request");
}

#[test]
fn a_lost_answer_of_a_repeated_creation_is_in_quarantine_too() {
    let (mut observed, now) = vanished();
    let Some(Step::Create { intent }) = plan(&observed, now).step else { panic!("created again") };
    assert_eq!(intent.replaces, Some(7));
    observed.memory.intent_seen = Some((intent.attempt, now.boot));
    observed.object.intent = Some(intent);
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::Quarantine);
    // What the lost call made after all is recognised, and nothing is made twice.
    let made = ras::Broker { id: 8, time_create: Some(now.wall.to_string()), ..ours() };
    facts(&mut observed, |facts| {
        facts.snapshot = facts.snapshot.next(vec![primary(), made], now.boot, None).into();
    });
    let step = plan(&observed, now).step;
    assert!(matches!(step, Some(Step::Record { row, origin: Origin::Created }) if row.id == 8));
}

#[test]
fn a_row_is_ours_only_by_account_time_and_farm() {
    let (mut observed, now) = seen(&json!({}), vec![ours()]);
    observed.object.intent = Some(lost_intent());
    assert!(matches!(plan(&observed, now).step, Some(Step::Record { origin: Origin::Created, .. })));
    let table = [
        ("another account", ras::Broker { admin_create: Some("bob".into()), ..ours() }, GUID),
        ("long before", ras::Broker { time_create: Some("2025-12-31T00:00:00Z".into()), ..ours() }, GUID),
        ("meant for another farm", ours(), "another"),
    ];
    for (what, row, farm_guid) in table {
        let (mut observed, now) = seen(&json!({}), vec![row]);
        observed.object.intent = Some(Intent { farm_guid: farm_guid.into(), ..lost_intent() });
        let later = Now { boot: now.boot + Duration::from_mins(2), ..now };
        observed.memory.intent_seen = Some((1, now.boot));
        listed_again(&mut observed, later);
        listed_again(&mut observed, later);
        let decided = plan(&observed, later);
        assert_eq!(shows(&decided, ConditionType::Stalled), Some(("True", "AlreadyExists")), "{what}");
    }
}

#[test]
fn a_row_under_the_recorded_id_is_ours_only_by_server_site_and_time() {
    let others = [
        ("server", ras::Broker { server: "cb9.corp.example".into(), ..ours() }),
        ("site", ras::Broker { site_id: 2, ..ours() }),
        ("time", ras::Broker { time_create: Some("2026-01-01T00:00:01Z".into()), ..ours() }),
    ];
    for (what, row) in others {
        for (mut observed, now) in [owning(&json!({"description": "changed"})), deleting()] {
            let before = plan(&observed, now).step;
            assert!(matches!(before, Some(Step::Update { .. } | Step::Delete { .. })), "{before:?}");
            facts(&mut observed, |facts| {
                let once = facts.snapshot.next(vec![primary(), row.clone()], now.boot, None);
                facts.snapshot = once.next(vec![primary(), row.clone()], now.boot, None).into();
            });
            let step = plan(&observed, now).step;
            assert!(!matches!(step, Some(Step::Update { .. } | Step::Delete { .. })), "{what}: {step:?}");
        }
    }
}

#[test]
fn an_id_from_another_farm_is_void() {
    let (mut observed, now) = owning(&json!({}));
    facts(&mut observed, |facts| facts.identity = "rebuilt".into());
    assert_waits(&plan(&observed, now), ConditionType::Stalled, Reason::AlreadyExists);
}

#[test]
fn a_row_that_may_be_the_same_machine_in_another_spelling_keeps_us_from_making_another() {
    let rows = [
        (true, "CB1", "", 1),
        (true, "other.corp.example", "10.0.0.2", 1),
        (true, "10.0.0.2", "", 1),
        (false, "CB1", "", 2),
        (false, "cb11.corp.example", "10.0.0.3", 1),
    ];
    for (is_similar, server, ip, site_id) in rows {
        let (server, ip) = (server.into(), Some(ip.into()));
        let row = ras::Broker { id: 9, server, ip, site_id, ..ras::Broker::default() };
        let (observed, now) = seen(&json!({"ip": "10.0.0.2"}), vec![row.clone()]);
        let plan = plan(&observed, now);
        if is_similar {
            assert_waits(&plan, ConditionType::Stalled, Reason::ResourceConflict);
        } else {
            assert!(matches!(plan.step, Some(Step::Create { .. })), "{row:?}: {plan:#?}");
        }
    }
}

/// The others wait, too, and to name one of them would send somebody in a circle.
#[test]
fn of_several_objects_that_come_first_the_one_that_acts_is_named() {
    let (mut observed, now) = seen(&json!({}), vec![ours()]);
    let rival =
        |name: &str, claim| Rival { shown: Some(name.to_owned()), same_key: true, precedes: true, claim };
    for place in 0..3 {
        observed.rivals = vec![rival("waits", Claim::Nothing), rival("waits-too", Claim::Id)];
        observed.rivals.insert(place, rival("acts", Claim::Row(7)));
        let told = plan(&observed, now).status.expect("a status").conditions;
        assert!(told.iter().all(|condition| condition.message.contains("\"acts\"")), "{place}: {told:#?}");
    }
}

#[test]
fn what_a_farm_keeps_back_is_shown_and_nothing_is_created_meanwhile() {
    let (mut observed, now) = seen(&json!({}), Vec::new());
    facts(&mut observed, |facts| facts.terminating = true);
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::WaitingForFarm);
    facts(&mut observed, |facts| {
        facts.terminating = false;
        facts.hold = Some(Hold::new(Reason::ForeignPendingChanges, "why"));
    });
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::WaitingForFarm);
    facts(&mut observed, |facts| facts.snapshot = facts.snapshot.next(Vec::new(), now.boot, None).into());
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::WaitingForFarm);
}

#[test]
fn an_outage_is_told_at_once_to_who_is_new_and_to_others_when_it_lasts() {
    let (mut observed, now) = owning(&json!({}));
    let down = |reason, overdue| {
        FarmView::Down(Outage { hold: Hold::new(reason, "why"), overdue, limits: TimeLimits::default() })
    };
    observed.farm = down(Reason::FarmUnreachable, false);
    assert_eq!(
        shows(&plan(&observed, now), ConditionType::Ready),
        Some(("Unknown", "WaitingForFarm")),
        "new"
    );
    observed.object.status = plan(&observed, now).status.expect("a status");
    assert_eq!(plan(&observed, now), Plan::default(), "known, and not for long");
    observed.farm = down(Reason::FarmUnreachable, true);
    let overdue = plan(&observed, now);
    assert_eq!(shows(&overdue, ConditionType::Ready), Some(("Unknown", "WaitingForFarm")));
    assert_eq!(shows(&overdue, ConditionType::Stalled), None, "an outage stalls nobody");
    observed.farm = down(Reason::FarmMismatch, false);
    assert_waits(&plan(&observed, now), ConditionType::Stalled, Reason::FarmMismatch);
    observed.farm = FarmView::Starting;
    assert_eq!(plan(&observed, now), Plan::default());
}

#[test]
fn a_request_is_answered_on_a_list_from_after_it() {
    let (mut observed, now) = owning(&json!({}));
    observed.object.desired.requests.reconcile = Some("now".into());
    observed.memory.asked = Some(("now".into(), now.boot + Duration::from_millis(1)));
    let early = plan(&observed, now);
    assert!(early.needs_list && early.requeue.is_some());
    assert_eq!(early.status.and_then(|status| status.last_handled_reconcile_at), None);
    facts(&mut observed, |facts| {
        let listed = now.boot + Duration::from_millis(2);
        facts.snapshot = facts.snapshot.next(vec![primary(), ours()], listed, None).into();
    });
    let answered = plan(&observed, now);
    assert!(!answered.needs_list);
    assert_eq!(answered.status.and_then(|status| status.last_handled_reconcile_at).as_deref(), Some("now"));
}

#[test]
fn of_two_requests_the_later_one_counts() {
    let table = [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("1700000000", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.5Z"),
        ("by hand", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("by hand", "neither", "by hand"),
    ];
    for (own, flux, expected) in table {
        let mut world = example(&json!({}), Vec::new());
        let mut broker = world.broker.clone().expect("an object");
        let annotations = broker.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::RECONCILE_REQUESTED_AT.into(), own.into());
        annotations.insert(annotation::FLUX_REQUESTED_AT.into(), flux.into());
        assert_eq!(world.observe(&broker).object.request(), Some(expected));
    }
}

/// The same server under the same id, and the site is another one by now: that is nobody else's, and nothing that is gone.
#[test]
fn a_broker_that_is_in_another_site_by_now_is_neither_changed_nor_made_again() {
    let (mut observed, now) = owning(&json!({"description": "changed"}));
    let moved = ras::Broker { site_id: 2, ..ours() };
    facts(&mut observed, |facts| {
        let once = facts.snapshot.next(vec![primary(), moved.clone()], now.boot, None);
        facts.snapshot = once.next(vec![primary(), moved.clone()], now.boot, None).into();
    });
    observed.memory.confirmed_gone = Some(7);
    assert_waits(&plan(&observed, now), ConditionType::Stalled, Reason::ResourceConflict);
    observed.object.deleted = Some(start());
    let held = plan(&observed, now);
    assert_eq!(held.step, None, "its finalizer stays");
    let told = held.status.expect("a status").conditions;
    assert!(told.iter().any(|condition| condition.message.contains("in site 2")), "{told:#?}");
    assert!(!observed.object.means(&moved) && observed.object.means(&ours()));
}

/// A farm may write a server's name in another way than it was given.
#[test]
fn a_broker_that_vanished_is_not_made_again_beside_what_may_be_the_same_machine() {
    let (mut observed, now) = vanished();
    let other = ras::Broker { id: 9, server: "CB1".into(), ..ours() };
    facts(&mut observed, |facts| {
        let once = facts.snapshot.next(vec![primary(), other.clone()], now.boot, None);
        facts.snapshot = once.next(vec![primary(), other.clone()], now.boot, None).into();
    });
    assert_waits(&plan(&observed, now), ConditionType::Stalled, Reason::ResourceConflict);
}

/// Whoever may edit an object can write anything there.
#[test]
fn an_intent_with_the_largest_numbers_there_are_is_waited_for_and_no_longer_than_any_call_may_take() {
    let (mut observed, now) = seen(&json!({}), Vec::new());
    let intent = Intent { attempt: u32::MAX, quarantine_seconds: u64::MAX, ..lost_intent() };
    observed.memory.intent_seen = Some((u32::MAX, now.boot));
    observed.object.intent = Some(intent);
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::Quarantine);
    let later = Now { boot: now.boot + Duration::from_hours(3), ..now };
    listed_again(&mut observed, later);
    listed_again(&mut observed, later);
    let step = plan(&observed, later).step;
    assert!(matches!(step, Some(Step::Create { intent }) if intent.attempt == u32::MAX));
}

#[test]
fn a_deletion_that_keeps_failing_is_told_once_and_so_is_its_failure() {
    let (mut observed, now) = deleting();
    let told = told_of_failures(&mut observed, now, |observed, step| {
        assert!(matches!(step, Step::Delete { .. }), "{step:?}: {observed:#?}");
    });
    assert_eq!(told, [(1, false), (1, true)]);
}

/// A step is tried five times, and fails; answers before which tries and after which something else was told.
fn told_of_failures(
    observed: &mut Observed,
    mut now: Now,
    tried: impl Fn(&mut Observed, Step),
) -> Vec<(u32, bool)> {
    let mut told = Vec::new();
    for count in 1..=5 {
        for has_failed in [false, true] {
            let plan = plan(observed, now);
            if let Some(status) = plan.status.filter(|status| *status != observed.object.status) {
                observed.object.status = status;
                told.push((count, has_failed));
            }
            let Some(step) = plan.step else {
                assert!(has_failed, "nothing is tried");
                continue;
            };
            assert!(!has_failed, "it rests after a try: {step:?}");
            tried(observed, step);
            observed.memory.failure = Some(Failure {
                generation: observed.object.generation,
                hold: Hold::new(Reason::Creating, "No."),
                retry_at: now.boot + Duration::from_secs(2),
                count,
                is_denial: false,
            });
        }
        now.boot += Duration::from_secs(3);
    }
    told
}

/// What the API server does not take it is not asked for again at once, whatever the step was.
#[test]
fn while_the_api_server_refuses_what_is_needed_no_step_is_taken() {
    let stripped = |(mut observed, now): (Observed, Now)| {
        observed.object.finalizer = false;
        (observed, now)
    };
    let marked = |(mut observed, now): (Observed, Now)| {
        observed.object.intent = Some(lost_intent());
        (observed, now)
    };
    let let_go = |(mut observed, now): (Observed, Now)| {
        observed.object.desired.requests.force_orphan = true;
        (observed, now)
    };
    let all = [
        seen(&json!({}), Vec::new()),
        stripped(owning(&json!({}))),
        marked(seen(&json!({}), vec![ours()])),
        owning(&json!({"description": "changed"})),
        vanished(),
        deleting(),
        let_go(deleting()),
    ];
    for (mut observed, now) in all {
        let step = plan(&observed, now).step;
        assert!(step.is_some(), "{observed:#?}");
        observed.memory.failure = Some(Failure {
            generation: observed.object.generation,
            hold: Hold::new(Reason::Updating, "It may not."),
            retry_at: now.boot + Duration::from_secs(2),
            count: 1,
            is_denial: true,
        });
        let waits = plan(&observed, now);
        assert_eq!((&waits.step, waits.requeue), (&None, Some(Duration::from_secs(2))), "before {step:?}");
        let told = waits.status.expect("a status").conditions;
        assert!(told.iter().any(|condition| condition.message.contains("It may not.")), "{told:#?}");
        let later = Now { boot: now.boot + Duration::from_secs(3), ..now };
        assert_eq!(plan(&observed, later).step, step);
    }
}

#[test]
fn an_installation_that_keeps_failing_is_told_once_and_so_is_its_failure() {
    let (mut observed, now) = seen(&json!({"install": {"agent": true}}), Vec::new());
    let told = told_of_failures(&mut observed, now, |observed, step| {
        let Step::Create { intent } = step else { panic!("{step:?}") };
        observed.object.intent = Some(Intent { refused: Some("no".into()), ..intent });
    });
    assert_eq!(told, [(1, false), (1, true)]);
}

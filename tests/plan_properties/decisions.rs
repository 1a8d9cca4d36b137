//! Single decisions, as tables.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ras_operator::broker::intent::Intent;
use ras_operator::broker::observe::{CrdState, Failure, Observed, observed_row};
use ras_operator::broker::plan::{
    Clearance, GATHERING, Plan, Released, Step, clearance, may_take_back, plan,
};
use ras_operator::clock::Now;
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::crd::{Origin, RasBrokerStatus, annotation};
use ras_operator::farm::view::{DeletionLimits, FarmFacts, FarmView, Hold, Outage, TimeLimits, Unapplied};
use ras_operator::ras;
use serde_json::{Value, json};

use crate::model::{ACCOUNT, GUID, start};
use crate::start::{example, primary};

fn limits(threshold: usize) -> DeletionLimits {
    DeletionLimits { threshold, window: Duration::from_mins(10), ..DeletionLimits::default() }
}

fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn judged(marks: &[i64], limits: &DeletionLimits, now: i64) -> Vec<Clearance> {
    let unsent: Vec<Timestamp> = marks.iter().map(|mark| at(*mark)).collect();
    let age = |mark: &i64| Duration::from_secs(u64::try_from(now - mark).unwrap());
    marks.iter().map(|mark| clearance(at(*mark), &unsent, limits, age(mark))).collect()
}

#[test]
fn a_deletion_waits_for_others_before_it_goes() {
    assert_eq!(judged(&[0], &limits(2), 0), [Clearance::Gathering(GATHERING)]);
    assert_eq!(judged(&[0], &limits(2), 4), [Clearance::Gathering(Duration::from_secs(1))]);
    assert_eq!(judged(&[0], &limits(2), 5), [Clearance::Go]);
    assert_eq!(judged(&[0], &limits(0), 0), [Clearance::Go], "0 is off");
}

#[test]
fn more_than_the_threshold_within_the_window_are_held_for_as_long_as_it_takes() {
    let three = [0, 100, 200];
    for now in [300, 3_000, 300_000] {
        assert_eq!(judged(&three, &limits(2), now), [Clearance::Held(3); 3], "{now}");
    }
    assert_eq!(judged(&three, &limits(3), 300), [Clearance::Go; 3]);
    let apart = [0, 700, 1_400];
    assert_eq!(judged(&apart, &limits(2), 2_000), [Clearance::Go; 3], "never three in ten minutes");
    let chain = [0, 400, 800];
    let [first, middle, last] = judged(&chain, &limits(2), 2_000)[..] else { panic!("three") };
    assert_eq!((first, middle, last), (Clearance::Go, Clearance::Go, Clearance::Go), "two in any window");
    assert_eq!(judged(&[0, 400, 500, 800], &limits(2), 2_000)[3], Clearance::Held(3));
}

#[test]
fn what_was_sent_counts_and_what_was_allowed_does_not() {
    let sent = DeletionLimits { sent: vec![at(0), at(1)], ..limits(2) };
    assert_eq!(judged(&[100], &sent, 200), [Clearance::Held(3)]);
    let allowed = DeletionLimits { allowed_before: Some(at(150)), ..limits(2) };
    assert_eq!(
        judged(&[0, 100, 150, 200], &allowed, 300),
        [Clearance::Go, Clearance::Go, Clearance::Go, Clearance::Held(4)],
        "only what was deleted before that time"
    );
}

/// Our row, made by our account in these worlds' time.
fn ours() -> ras::Broker {
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
fn seen(spec: &Value, rows: Vec<ras::Broker>) -> (Observed, Now) {
    let mut world = example(spec, rows);
    let broker = world.broker.clone().expect("an object");
    (world.observe(&broker), world.now())
}

/// The same of an object whose status names our row.
fn owning(spec: &Value) -> (Observed, Now) {
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
fn deleting() -> (Observed, Now) {
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
fn listed_again(observed: &mut Observed, now: Now) {
    facts(observed, |facts| {
        let rows = facts.snapshot.rows().map(|row| row.as_ref().clone()).collect();
        facts.snapshot = facts.snapshot.next(rows, now.boot, None).into();
    });
}

fn lost_intent() -> Intent {
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

fn shows(plan: &Plan, type_: ConditionType) -> Option<(&str, &str)> {
    let mut conditions = plan.status.iter().flat_map(|status| &status.conditions);
    let shown = conditions.find(|condition| condition.type_ == type_.as_str())?;
    Some((&shown.status, &shown.reason))
}

fn assert_waits(plan: &Plan, type_: ConditionType, reason: Reason) {
    assert_eq!(plan.step, None);
    assert_eq!(shows(plan, type_), Some(("True", reason.as_str())), "{plan:#?}");
}

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

/// A broker of ours that two lists and a read by id found gone.
fn vanished() -> (Observed, Now) {
    let (mut observed, now) = owning(&json!({}));
    facts(&mut observed, |facts| {
        let once = facts.snapshot.next(vec![primary()], now.boot, None);
        facts.snapshot = once.next(vec![primary()], now.boot, None).into();
    });
    observed.memory.confirmed_gone = Some(7);
    observed.vanished = 1;
    (observed, now)
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
fn a_row_is_ours_only_by_account_and_time() {
    let (mut observed, now) = seen(&json!({}), vec![ours()]);
    observed.object.intent = Some(lost_intent());
    assert!(matches!(plan(&observed, now).step, Some(Step::Record { origin: Origin::Created, .. })));
    let table = [
        ("another account", ras::Broker { admin_create: Some("bob".into()), ..ours() }),
        ("long before", ras::Broker { time_create: Some("2025-12-31T00:00:00Z".into()), ..ours() }),
    ];
    for (what, row) in table {
        let (mut observed, now) = seen(&json!({}), vec![row]);
        observed.object.intent = Some(Intent { refused: None, ..lost_intent() });
        let later = Now { boot: now.boot + Duration::from_mins(2), ..now };
        observed.memory.intent_seen = Some((1, now.boot));
        listed_again(&mut observed, later);
        listed_again(&mut observed, later);
        let decided = plan(&observed, later);
        assert_eq!(shows(&decided, ConditionType::Stalled), Some(("True", "AlreadyExists")), "{what}");
    }
}

#[test]
fn an_id_from_another_farm_is_void() {
    let (mut observed, now) = owning(&json!({}));
    facts(&mut observed, |facts| facts.identity = "rebuilt".into());
    assert_waits(&plan(&observed, now), ConditionType::Stalled, Reason::AlreadyExists);
}

#[test]
fn an_unanswered_delete_holds_the_finalizer_whatever_the_farm_and_the_policy() {
    let (mut observed, now) = deleting();
    observed.memory.delete_unanswered = Some(now.boot + Duration::from_secs(45));
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::Quarantine);
    observed.object.desired.requests.force_orphan = true;
    let hold = Hold::new(Reason::FarmUnreachable, "why");
    observed.farm = FarmView::Down(Outage { hold, overdue: false, limits: TimeLimits::default() });
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::Quarantine);
    let later = Now { boot: now.boot + Duration::from_secs(45), ..now };
    assert!(matches!(plan(&observed, later).step, Some(Step::Release { outcome: Released::Orphaned })));
}

#[test]
fn a_delete_of_an_earlier_process_holds_the_finalizer_as_its_own_does() {
    let (mut observed, now) = deleting();
    observed.memory.known_since = Some(now.boot);
    let released = Some(Step::Release { outcome: Released::Orphaned });
    let sent = plan(&observed, now);
    assert!(matches!(sent.step, Some(Step::Delete { .. })));
    observed.object.desired.requests.force_orphan = true;
    assert_eq!(plan(&observed, now).step, released, "nobody has begun to delete it");

    let shown = sent.status.expect("what is shown before the DELETE");
    observed.object.status = shown.clone();
    for condition in &mut observed.object.status.conditions {
        condition.reason = Reason::Updating.to_string();
    }
    assert_eq!(plan(&observed, now).step, released, "it was marked while it was worked on");

    observed.object.status = shown;
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::Quarantine);
    observed.memory.began_deletion = true;
    assert_eq!(
        plan(&observed, now).step,
        released,
        "nobody has begun but this process, which has sent nothing"
    );
    observed.memory.began_deletion = false;
    let later = Now { boot: now.boot + Duration::from_secs(45), ..now };
    assert_eq!(plan(&observed, later).step, released, "what an earlier process sent has arrived by now");

    let hold = Hold::new(Reason::FarmUnreachable, "why");
    observed.farm = FarmView::Down(Outage { hold, overdue: false, limits: TimeLimits::default() });
    assert_eq!(plan(&observed, later).step, released);
    observed.object.desired.uninstall.agent = true;
    assert_waits(&plan(&observed, later), ConditionType::DeletionHeld, Reason::Quarantine);
    observed.farm = FarmView::Starting;
    assert_waits(&plan(&observed, later), ConditionType::DeletionHeld, Reason::Quarantine);
}

#[test]
fn the_last_that_serves_is_kept_until_somebody_insists() {
    let (mut observed, now) = deleting();
    let delete =
        |observed: &Observed| matches!(plan(observed, now).step, Some(Step::Delete { row }) if row.id == 7);
    assert!(delete(&observed), "the primary serves");
    let idle = ras::Broker { enabled: Some(false), ..primary() };
    facts(&mut observed, |facts| {
        facts.snapshot = facts.snapshot.next(vec![idle, ours()], now.boot, None).into();
    });
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::AvailabilityGuard);
    observed.object.desired.requests.skip_availability_check = true;
    assert!(delete(&observed));
    let promoted = ras::Broker { priority: Some(0), ..ours() };
    facts(&mut observed, |facts| facts.snapshot = facts.snapshot.next(vec![promoted], now.boot, None).into());
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::AvailabilityGuard);
}

#[test]
fn while_the_definition_goes_its_objects_leave_their_brokers() {
    let (mut observed, now) = deleting();
    observed.crd = CrdState::Terminating;
    assert_eq!(plan(&observed, now).step, Some(Step::Release { outcome: Released::Orphaned }));
    observed.crd = CrdState::Unreadable;
    assert!(matches!(plan(&observed, now).step, Some(Step::Delete { .. })), "one alone may go");
    observed.deletions.push(start());
    assert_waits(&plan(&observed, now), ConditionType::DeletionHeld, Reason::FarmUnavailable);
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

#[test]
fn a_row_that_the_farm_hides_is_gone_only_once_its_deletion_is_applied() {
    let (mut observed, now) = deleting();
    facts(&mut observed, |facts| {
        let once = facts.snapshot.next(vec![primary()], now.boot, None);
        facts.snapshot = once.next(vec![primary()], now.boot, None).into();
    });
    observed.memory.confirmed_gone = Some(7);
    observed.memory.unapplied = Some(Unapplied::Deleted);
    assert_waits(&plan(&observed, now), ConditionType::Reconciling, Reason::Deleting);
    observed.memory.unapplied = None;
    assert_eq!(plan(&observed, now).step, Some(Step::Release { outcome: Released::Deleted }));
}

/// An object that went while its broker was being created, in spite of its finalizer, cannot be asked any more.
#[test]
fn a_row_that_was_just_made_goes_with_its_object_unless_something_on_it_said_otherwise() {
    let judged = |spec: &Value, notes: &[(&str, &str)]| {
        let mut world = example(spec, vec![primary()]);
        let mut broker = world.broker.clone().expect("an object");
        let notes = notes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        broker.metadata.annotations.get_or_insert_default().extend(notes);
        may_take_back(&world.observe(&broker))
    };
    assert!(judged(&json!({}), &[]) && judged(&json!({"deletionPolicy": "Delete"}), &[]));
    assert!(!judged(&json!({"deletionPolicy": "Orphan"}), &[]));
    assert!(!judged(&json!({"suspend": true}), &[]));
    assert!(!judged(&json!({}), &[(annotation::FORCE_ORPHAN, "true")]));
    assert!(!judged(&json!({}), &[(annotation::DELETION_PROTECTION, "true")]));
}

#[test]
fn an_installation_that_keeps_failing_is_told_once_and_so_is_its_failure() {
    let (mut observed, mut now) = seen(&json!({"install": {"agent": true}}), Vec::new());
    let mut told = Vec::new();
    for count in 1..=5 {
        for has_failed in [false, true] {
            let plan = plan(&observed, now);
            if let Some(status) = plan.status.filter(|status| *status != observed.object.status) {
                observed.object.status = status;
                told.push((count, has_failed));
            }
            match plan.step {
                Some(Step::Create { intent }) if !has_failed => {
                    observed.object.intent = Some(Intent { refused: Some("no".into()), ..intent });
                    let (hold, retry_at) =
                        (Hold::new(Reason::Creating, "No."), now.boot + Duration::from_secs(2));
                    let generation = observed.object.generation;
                    observed.memory.failure = Some(Failure { generation, hold, retry_at, count });
                }
                step => assert_eq!((step, has_failed), (None, true), "it rests after a try"),
            }
        }
        now.boot += Duration::from_secs(3);
    }
    assert_eq!(told, [(1, false), (1, true)]);
}

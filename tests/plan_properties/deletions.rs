//! Decisions on objects that are being deleted, as tables.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ras_operator::broker::observe::{Claim, CrdState, ObjectFacts, Observed, Rival};
use ras_operator::broker::plan::{Clearance, GATHERING, Released, Step, clearance, may_take_back, plan};
use ras_operator::clock::Now;
use ras_operator::crd::annotation;
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::farm::view::{DeletionLimits, FarmView, Hold, Outage, TimeLimits, Unapplied};
use ras_operator::ras;
use serde_json::{Value, json};

use crate::model::start;
use crate::seen::{assert_waits, deleting, facts, lost_intent, ours};
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
    observed.memory.confirmed_gone = None;
    assert_eq!(plan(&observed, now).step, Some(Step::ConfirmGone { id: 7 }), "lists alone prove nothing");
}

/// An object's row was replaced by one of another object for the same server: both have an intent that fits it.
#[test]
fn a_row_that_another_object_holds_stays_and_one_that_it_may_have_made_is_waited_for() {
    let (mut observed, now) = deleting();
    let mut planned = |recorded, claim| {
        observed.rivals = vec![Rival { shown: None, same_key: true, precedes: true, claim }];
        (observed.object.status.id, observed.object.intent) = (Some(recorded), Some(lost_intent()));
        plan(&observed, now)
    };
    let released = Some(Step::Release { outcome: Released::Orphaned });
    assert_eq!(planned(6, Claim::Row(7)).step, released);
    assert_eq!(planned(7, Claim::Row(7)).step, released);
    assert_waits(&planned(6, Claim::Intent), ConditionType::DeletionHeld, Reason::Quarantine);
    for claim in [Claim::Row(5), Claim::Id, Claim::Nothing] {
        assert!(matches!(planned(6, claim).step, Some(Step::Record { .. })), "{claim:?}");
    }
}

/// An object that went while its broker was being created, in spite of its finalizer, cannot be asked any more.
#[test]
fn a_row_that_was_just_made_goes_with_its_object_unless_something_on_it_said_otherwise() {
    let judged = |spec: &Value, notes: &[(&str, &str)]| {
        let world = example(spec, vec![primary()]);
        let mut broker = world.broker.clone().expect("an object");
        let notes = notes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        broker.metadata.annotations.get_or_insert_default().extend(notes);
        may_take_back(&ObjectFacts::of(&broker), CrdState::Present)
    };
    assert!(judged(&json!({}), &[]) && judged(&json!({"deletionPolicy": "Delete"}), &[]));
    assert!(!judged(&json!({"deletionPolicy": "Orphan"}), &[]));
    assert!(!judged(&json!({"suspend": true}), &[]));
    assert!(!judged(&json!({}), &[(annotation::FORCE_ORPHAN, "true")]));
    assert!(!judged(&json!({}), &[(annotation::DELETION_PROTECTION, "true")]));
}

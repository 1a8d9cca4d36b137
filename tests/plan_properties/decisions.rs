//! Single decisions, as tables.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ras_operator::broker::plan::{Clearance, GATHERING, clearance};
use ras_operator::farm::view::DeletionLimits;

use crate::model::start;

fn limits(threshold: usize) -> DeletionLimits {
    DeletionLimits { threshold, window: Duration::from_mins(10), ..DeletionLimits::default() }
}

fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn judged(marks: &[i64], limits: &DeletionLimits, now: i64) -> Vec<Clearance> {
    let unsent: Vec<Timestamp> = marks.iter().map(|mark| at(*mark)).collect();
    unsent.iter().map(|mark| clearance(*mark, &unsent, limits, at(now))).collect()
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

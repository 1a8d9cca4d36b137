//! The place of a broker that states a priority: decisions as tables, and several objects of one site together.

use std::time::Duration;

use proptest::prelude::*;
use ras_operator::broker::canonical::ServerName;
use ras_operator::broker::observe::{Observed, SentMove, observed_row};
use ras_operator::broker::order::{self, Place, Stated};
use ras_operator::broker::plan::{Plan, Step, plan};
use ras_operator::clock::Now;
use ras_operator::crd::condition::{ConditionType, Reason, Status, Verdict, merge};
use ras_operator::crd::{MoveForm, Origin, RasBrokerStatus};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{Hold, Unapplied};
use ras_operator::kubernetes::ObjectKey;
use ras_operator::ras;
use serde_json::json;

use crate::model::GUID;
use crate::seen::facts;
use crate::start::{example, primary};

fn row(id: i64, place: i64) -> ras::Broker {
    ras::Broker {
        id,
        server: format!("cb{id}.corp.example"),
        site_id: 1,
        priority: Some(place),
        time_create: Some("2026-01-01T00:00:00Z".into()),
        ..ras::Broker::default()
    }
}

fn says(id: i64, priority: i64) -> Stated {
    let name = ServerName::new(&row(id, 0).server);
    Stated { key: ObjectKey::new("ns", format!("cb{id}")), id, name, priority, rests: false }
}

/// What is seen by the object of row `id`, settled before and listed just now.
fn seen(id: i64, rows: &[ras::Broker], stated: &[Stated], form: MoveForm) -> (Observed, Now) {
    let own = rows.iter().find(|row| row.id == id).expect("a row").clone();
    let mut world = example(&json!({"server": own.server}), Vec::new());
    let broker = world.broker.clone().expect("an object");
    let (mut observed, now) = (world.observe(&broker), world.now());
    observed.object.name = format!("cb{id}");
    observed.object.desired.priority =
        stated.iter().find(|stated| stated.id == id).map(|stated| stated.priority);
    observed.object.status = RasBrokerStatus {
        id: Some(id),
        origin: Some(Origin::Created),
        site_id: Some(1),
        farm_guid: Some(GUID.into()),
        priority: own.priority,
        observed: Some(observed_row(&own)),
        ..RasBrokerStatus::default()
    };
    let all = rows.iter().cloned().chain([primary()].into_iter().filter(|one| own.id != one.id)).collect();
    let snapshot = Snapshot::default().next(all, now.boot, None);
    observed.place = order::place(&snapshot, 1, id, stated, form);
    facts(&mut observed, |facts| {
        facts.snapshot = snapshot.clone().into();
        facts.moves.form = form;
    });
    (observed, now)
}

/// 2 and 3 are the wrong way round; this is what `id` sees of it.
fn swapped(id: i64) -> (Observed, Now) {
    seen(id, &[row(3, 1), row(2, 2)], &[says(2, 1), says(3, 2)], MoveForm::Step)
}

fn shows(plan: &Plan, type_: ConditionType) -> Option<(&str, &str, &str)> {
    let mut conditions = plan.status.iter().flat_map(|status| &status.conditions);
    let shown = conditions.find(|condition| condition.type_ == type_.as_str())?;
    Some((&shown.status, &shown.reason, &shown.message))
}

fn synced(plan: &Plan) -> (&str, &str) {
    let (status, reason, _) = shows(plan, ConditionType::Synced).expect("Synced is shown");
    (status, reason)
}

const UP: Option<Step> = Some(Step::Move { id: 2, to: ras::Move::Up });

#[test]
fn one_is_moved_and_the_other_waits_and_both_say_the_same() {
    let plans = [2, 3].map(|id| {
        let (observed, now) = swapped(id);
        plan(&observed, now)
    });
    assert_eq!((plans[0].step.clone(), plans[1].step.clone()), (UP, None));
    for plan in &plans {
        assert_eq!(synced(plan), ("False", "Updating"));
        assert_eq!(shows(plan, ConditionType::Drifted), None, "it was never where it belongs");
    }
    let text = |plan: &Plan| shows(plan, ConditionType::Reconciling).map(|shown| shown.2.to_owned());
    assert_eq!(text(&plans[0]), text(&plans[1]));
}

#[test]
fn in_the_right_order_nothing_is_sent_and_until_the_apply_nothing_is_ready() {
    let (mut observed, now) = seen(2, &[row(2, 1), row(3, 2)], &[says(2, 1), says(3, 2)], MoveForm::Step);
    let settled = plan(&observed, now);
    assert_eq!((settled.step.clone(), synced(&settled)), (None, ("True", "ReconcileSuccess")));
    observed.memory.unapplied = Some(Unapplied::Moved);
    assert_eq!(synced(&plan(&observed, now)), ("False", "Updating"));
}

#[test]
fn a_stated_priority_says_nothing_of_the_primary() {
    let (observed, now) = seen(2, &[row(2, 0), row(3, 1)], &[says(2, 5), says(3, 7)], MoveForm::Step);
    let decided = plan(&observed, now);
    assert_eq!((decided.step.clone(), synced(&decided)), (None, ("True", "ReconcileSuccess")));
    let (_, _, text) = shows(&decided, ConditionType::Synced).expect("Synced");
    assert!(text.contains("spec.priority"), "{text}");
    assert_eq!(decided.status.map(|status| status.drift.len()), Some(0));
}

#[test]
fn a_place_that_was_right_and_is_not_is_drift() {
    for id in [2, 3] {
        let (mut observed, now) = swapped(id);
        observed.object.status.priority = Some(id - 1);
        let passing = plan(&observed, now).status.expect("a status").drift;
        assert!(passing.is_empty(), "it only passed through: {passing:?}");
        let object = &mut observed.object;
        let rest = Verdict {
            type_: ConditionType::Synced,
            status: Status::True,
            reason: Reason::ReconcileSuccess,
            message: String::new(),
        };
        object.status.conditions = merge(&[], &[rest], object.generation, now.wall);
        let drift = plan(&observed, now).status.expect("a status").drift;
        assert_eq!(drift.len(), 1, "{drift:?}");
        assert_eq!(
            (drift[0].desired.clone(), drift[0].observed.clone()),
            ((id - 1).to_string(), (4 - id).to_string())
        );
    }
}

#[test]
fn where_the_farm_has_no_call_it_says_so_and_rests() {
    for id in [2, 3] {
        let (mut observed, now) = swapped(id);
        facts(&mut observed, |facts| facts.moves.lacking = true);
        let told = plan(&observed, now);
        assert_eq!((told.step.clone(), synced(&told)), (None, ("False", "Unsupported")));
        // It is tried again, and shown as before until the farm has answered.
        facts(&mut observed, |facts| facts.moves.lacking = false);
        observed.object.status = told.status.expect("a status");
        let again = plan(&observed, now);
        assert_eq!((again.step.is_some(), synced(&again)), (id == 2, ("False", "Unsupported")));
    }
}

#[test]
fn after_a_lost_answer_a_move_waits_for_a_list_from_after_the_quarantine() {
    let (mut observed, now) = swapped(2);
    let end = now.boot + Duration::from_secs(45);
    facts(&mut observed, |facts| facts.moves.not_before = end);
    let waits = plan(&observed, now);
    assert_eq!((waits.step.clone(), synced(&waits)), (None, ("False", "Quarantine")));
    assert_eq!(waits.requeue, Some(Duration::from_secs(45)));
    let later = Now { boot: end, ..now };
    let stale = plan(&observed, later);
    assert_eq!((stale.step.clone(), stale.needs_list), (None, true), "the list is from before");
    facts(&mut observed, |facts| {
        let rows = facts.snapshot.rows().map(|row| row.as_ref().clone()).collect();
        facts.snapshot = facts.snapshot.next(rows, end, None).into();
    });
    assert_eq!(plan(&observed, later).step, UP);
}

#[test]
fn a_move_that_the_farm_took_and_did_not_make_is_not_repeated_until_something_changes() {
    let (mut observed, now) = swapped(2);
    let sent =
        SentMove { generation: observed.object.generation, wanted: 1, from: 2, reached: 1, settled: None };
    // What a list shows before the Apply proves nothing.
    observed.memory.moved = Some(sent);
    observed.memory.unapplied = Some(Unapplied::Moved);
    assert_eq!(plan(&observed, now).step, None);
    observed.memory.unapplied = None;
    observed.memory.moved = Some(SentMove { settled: Some(2), ..sent });
    let ignored = plan(&observed, now);
    assert_eq!((ignored.step.clone(), synced(&ignored)), (None, ("False", "ReconcileError")));
    observed.memory.moved = Some(SentMove { settled: Some(4), ..sent });
    assert_eq!(plan(&observed, now).step, UP, "the order has changed since");
    observed.memory.moved = Some(SentMove { settled: Some(2), generation: -7, ..sent });
    assert_eq!(plan(&observed, now).step, UP, "the spec has changed since");
}

#[test]
fn only_a_move_that_brought_the_broker_no_nearer_is_taken_for_ignored() {
    let rows = [row(5, 1), row(6, 2), row(3, 3), row(2, 4), row(7, 5)];
    // Seen at the fourth place and wanted at the first: a later move of another may have shifted it.
    for (from, reached, is_ignored) in [(3, 2, true), (4, 3, true), (5, 4, false), (5, 2, false)] {
        let (mut observed, now) = seen(2, &rows, &[says(2, 1)], MoveForm::Step);
        let generation = observed.object.generation;
        let moved = SentMove { generation, wanted: 1, from, reached, settled: None };
        observed.memory.moved = Some(moved);
        observed.memory.observe(&observed.object, &observed.farm, Some(Unapplied::Moved), now);
        assert_eq!(observed.memory.moved, Some(moved), "before the Apply a list proves nothing");
        observed.memory.observe(&observed.object, &observed.farm, None, now);
        assert_eq!(plan(&observed, now).step.is_none(), is_ignored, "from {from} to {reached}");
    }
}

/// A row that no list shows yet stands before ours: the last step seems to begin where it ends.
#[test]
fn a_series_of_steps_is_judged_from_where_it_began() {
    let rows = [row(5, 1), row(6, 2), row(2, 3), row(3, 4), row(7, 5)];
    let (mut observed, now) = seen(2, &rows, &[says(2, 1)], MoveForm::Step);
    let generation = observed.object.generation;
    let step = |wanted, from| SentMove { generation, wanted, from, reached: from - 1, settled: None };
    for (earlier, is_ignored) in [
        (None, true),
        (Some(step(1, 5)), false),
        (Some(step(2, 5)), true),
        (Some(SentMove { settled: Some(4), ..step(1, 5) }), true),
        (Some(SentMove { generation: -7, ..step(1, 5) }), true),
    ] {
        observed.memory.moved = Some(step(1, 3).following(earlier));
        observed.memory.observe(&observed.object, &observed.farm, None, now);
        assert_eq!(plan(&observed, now).step.is_none(), is_ignored, "after {earlier:?}");
    }
}

#[test]
fn nothing_is_moved_while_more_are_coming_or_while_the_farm_is_held() {
    let (mut observed, now) = swapped(2);
    let place = observed.place.clone().expect("a place");
    observed.place = Some(Place { gathers: true, ..place.clone() });
    let gathers = plan(&observed, now);
    assert_eq!((gathers.step.clone(), synced(&gathers)), (None, ("False", "Updating")));
    assert!(gathers.requeue.is_some());
    observed.place = Some(place);
    facts(&mut observed, |facts| {
        facts.hold = Some(Hold::new(ras_operator::crd::condition::Reason::ForeignPendingChanges, "why"));
    });
    let held = plan(&observed, now);
    assert_eq!((held.step.clone(), synced(&held)), (None, ("False", "WaitingForFarm")));
    facts(&mut observed, |facts| facts.hold = None);
    observed.object.desired.suspend = true;
    assert_eq!(plan(&observed, now).step, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever looks first, and however often: one object at a time has a move, it is one of its own row, and the site
    /// ends in order.
    #[test]
    fn a_site_comes_to_order_and_the_primary_is_never_moved(
        shuffled in Just(vec![2_i64, 3, 4, 5, 6]).prop_shuffle(),
        stated in proptest::collection::vec(proptest::option::of(1_i64..4), 5),
        promoted in proptest::option::of(2_i64..7),
        number: bool,
    ) {
        let form = if number { MoveForm::Number } else { MoveForm::Step };
        let stated: Vec<Stated> =
            (2..).zip(stated).filter_map(|(id, priority)| Some(says(id, priority?))).collect();
        let mut rows: Vec<ras::Broker> = shuffled.iter().zip(1..).map(|(id, place)| row(*id, place)).collect();
        for row in &mut rows {
            if promoted == Some(row.id) {
                row.priority = Some(0);
            }
        }
        for round in 0.. {
            prop_assert!(round < 30, "it does not end: {rows:?}");
            let mut steps = Vec::new();
            for stated_one in &stated {
                let (observed, now) = seen(stated_one.id, &rows, &stated, form);
                let decided = plan(&observed, now);
                if let Some(step) = &decided.step {
                    steps.push((stated_one.id, step.clone()));
                } else if shows(&decided, ConditionType::Reconciling).is_none() {
                    prop_assert_eq!(synced(&decided).0, "True");
                }
            }
            let [(own, Step::Move { id, to })] = steps.as_slice() else {
                prop_assert!(steps.is_empty(), "{steps:?}");
                break;
            };
            prop_assert_eq!(own, id, "its own row");
            prop_assert_ne!(Some(*id), promoted);
            let mut snapshot = Snapshot::default().next(rows.clone(), Duration::ZERO, None);
            snapshot.move_row(1, *id, *to);
            rows = snapshot.rows().map(|row| row.as_ref().clone()).collect();
        }
        rows.retain(|row| row.priority != Some(0));
        rows.sort_by_key(|row| row.priority);
        let rank = |id: i64| stated.iter().find(|stated| stated.id == id).map_or((9, 0), |stated| (stated.priority, id));
        prop_assert!(rows.is_sorted_by_key(|row| rank(row.id)), "{rows:?}");
    }
}

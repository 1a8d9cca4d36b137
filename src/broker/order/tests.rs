use std::collections::{BTreeSet, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// A site of up to six secondaries, in any order; each may state a priority.
fn sites() -> impl Strategy<Value = Vec<(i64, Option<u8>)>> {
    let stated = proptest::option::weighted(0.7, 1_u8..5);
    proptest::collection::vec(stated, 0..=6).prop_flat_map(|stated| {
        let rows: Vec<_> = (10..).zip(stated).collect();
        Just(rows).prop_shuffle()
    })
}

fn ids(site: &[(i64, Option<u8>)]) -> Vec<i64> {
    site.iter().map(|(id, _)| *id).collect()
}

fn wanted_of(site: &[(i64, Option<u8>)]) -> Vec<i64> {
    let stated: HashMap<i64, u8> = site.iter().filter_map(|(id, stated)| Some((*id, (*stated)?))).collect();
    wanted(&ids(site), |id| stated.get(&id).map(|priority| (*priority, id)))
}

fn movable(site: &[(i64, Option<u8>)]) -> usize {
    site.iter().filter(|(_, stated)| stated.is_some()).count()
}

/// The farm, written anew: what a call makes of an order.
fn farm_does(order: &[i64], id: i64, to: ras::Move) -> Vec<i64> {
    let at = order.iter().position(|other| *other == id).unwrap();
    let mut order = order.to_vec();
    match to {
        ras::Move::Up if at > 0 => order.swap(at, at - 1),
        ras::Move::Up => {}
        ras::Move::To(place) => {
            order.remove(at);
            order.insert(usize::try_from(place).unwrap() - 1, id);
        }
    }
    order
}

/// Makes the moves one after the other, as they are decided.
fn carried_out(site: &[(i64, Option<u8>)], form: MoveForm) -> (Vec<i64>, Vec<(i64, ras::Move)>) {
    let (wanted, mut order, mut moves) = (wanted_of(site), ids(site), Vec::new());
    while let Some((id, to)) = next_move(&order, &order, &wanted, movable(site), form) {
        let next = farm_does(&order, id, to);
        assert_eq!(next, moved(&order, id, to), "what is expected of the farm");
        assert!(moves.len() < 40, "it does not end: {site:?}");
        order = next;
        moves.push((id, to));
    }
    (order, moves)
}

/// The fewest moves there are, by trying all.
fn fewest(site: &[(i64, Option<u8>)], moves: impl Fn(&[i64]) -> Vec<(i64, ras::Move)>) -> usize {
    let (start, goal) = (ids(site), wanted_of(site));
    let (mut seen, mut queue) = (HashSet::from([start.clone()]), VecDeque::from([(start, 0)]));
    while let Some((order, depth)) = queue.pop_front() {
        if order == goal {
            return depth;
        }
        for (id, to) in moves(&order) {
            let next = farm_does(&order, id, to);
            if seen.insert(next.clone()) {
                queue.push_back((next, depth + 1));
            }
        }
    }
    unreachable!("every order can be reached")
}

fn to_any_place(ids: impl Iterator<Item = i64>, order: &[i64]) -> Vec<(i64, ras::Move)> {
    let places = i64::try_from(order.len()).unwrap();
    ids.flat_map(|id| (1..=places).map(move |place| (id, ras::Move::To(place)))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_lead_to_the_wanted_order_and_there_are_no_fewer(site in sites()) {
        let (order, moves) = carried_out(&site, MoveForm::Step);
        prop_assert_eq!(&order, &wanted_of(&site));
        // A step down of one is a step up of another: all swaps of neighbours, strangers' too.
        let any = |order: &[i64]| order.iter().map(|id| (*id, ras::Move::Up)).collect();
        prop_assert_eq!(moves.len(), fewest(&site, any));
        if ids(&site) == wanted_of(&site) {
            prop_assert_eq!(moves.len(), 0);
        }
    }

    #[test]
    fn numbers_lead_to_the_wanted_order_with_the_fewest_moves_of_own_rows(site in sites()) {
        let (order, moves) = carried_out(&site, MoveForm::Number);
        prop_assert_eq!(&order, &wanted_of(&site));
        let own = |id: &i64| site.iter().any(|(other, stated)| other == id && stated.is_some());
        let any = |order: &[i64]| to_any_place(order.iter().copied().filter(own), order);
        prop_assert_eq!(moves.len(), fewest(&site, any));
        let distinct: BTreeSet<i64> = moves.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(distinct.len(), moves.len(), "no row twice");
    }

    #[test]
    fn where_all_state_a_priority_numbers_take_the_fewest_moves_of_any_row(site in sites()) {
        let all: Vec<_> = site.iter().map(|(id, stated)| (*id, Some(stated.unwrap_or(9)))).collect();
        let any = |order: &[i64]| to_any_place(order.iter().copied(), order);
        prop_assert_eq!(carried_out(&all, MoveForm::Number).1.len(), fewest(&all, any));
    }

    #[test]
    fn strangers_keep_their_order_and_are_never_moved(site in sites(), number: bool) {
        let form = if number { MoveForm::Number } else { MoveForm::Step };
        let (order, moves) = carried_out(&site, form);
        let is_stranger = |id: &i64| site.iter().any(|(other, stated)| other == id && stated.is_none());
        let strangers = |order: Vec<i64>| order.into_iter().filter(is_stranger).collect::<Vec<_>>();
        prop_assert_eq!(strangers(order), strangers(ids(&site)));
        prop_assert!(!moves.iter().any(|(id, _)| is_stranger(id)));
    }

    #[test]
    fn what_is_left_out_of_account_stands_in_nobodys_way(site in sites(), out in 0_usize..7, number: bool) {
        let form = if number { MoveForm::Number } else { MoveForm::Step };
        let left_out = ids(&site).get(out).copied();
        let counted: Vec<_> = site.iter().filter(|(id, _)| Some(*id) != left_out).copied().collect();
        let (wanted, mut order) = (wanted_of(&counted), ids(&site));
        for _ in 0..40 {
            let present: Vec<i64> = order.iter().filter(|id| Some(**id) != left_out).copied().collect();
            let next = next_move(&order, &present, &wanted, movable(&counted), form);
            let Some((id, to)) = next else {
                prop_assert_eq!(present, wanted);
                return Ok(());
            };
            prop_assert_ne!(Some(id), left_out);
            order = farm_does(&order, id, to);
        }
        prop_assert!(false, "it does not end");
    }
}

fn row(id: i64, priority: i64) -> ras::Broker {
    ras::Broker {
        id,
        server: format!("cb{id}.corp.example"),
        site_id: 1,
        priority: Some(priority),
        ..ras::Broker::default()
    }
}

fn says(id: i64, priority: i64) -> Stated {
    let name = ServerName::new(&row(id, 0).server);
    Stated { key: ObjectKey::new("ns", format!("cb{id}")), id, name, priority, rests: false }
}

/// The site's primary, and secondaries 2 to 5 in this order.
fn site(order: [i64; 4]) -> Snapshot {
    let rows = order.into_iter().zip(1..).map(|(id, place)| row(id, place)).chain([row(1, 0)]);
    Snapshot::default().next(rows.collect(), std::time::Duration::ZERO, None)
}

fn turn_in(order: [i64; 4], stated: &[Stated]) -> Option<(String, ras::Move)> {
    let (snapshot, number) = (site(order), MoveForm::Number);
    let order = snapshot.order(1);
    let site = Site::new(&snapshot, &order, stated);
    let turn = site.next(&order, number).and_then(|next| site.turn(next));
    assert_eq!(turn.is_none(), concerned(&snapshot, 1, stated, number).is_empty());
    turn.map(|turn| (turn.key.name, turn.to))
}

#[test]
fn equal_priorities_go_by_server_and_a_right_order_asks_for_nothing() {
    let stated = [says(5, 7), says(2, 7), says(4, 1)];
    assert_eq!(turn_in([4, 2, 5, 3], &stated), None);
    assert_eq!(turn_in([4, 5, 2, 3], &stated), Some(("cb5".into(), ras::Move::To(3))));
}

#[test]
fn the_primary_has_no_place_and_what_its_object_states_moves_nobody() {
    let stated = [says(1, 9), says(2, 1)];
    assert_eq!(turn_in([2, 3, 4, 5], &stated), None);
    assert_eq!(place(&site([3, 2, 4, 5]), 1, 1, &stated, MoveForm::Step), None);
    assert_eq!(turn_in([3, 2, 4, 5], &stated), Some(("cb2".into(), ras::Move::To(1))));
}

#[test]
fn an_object_that_rests_keeps_its_place_and_nobody_passes_it_for_nothing() {
    let resting = |id, priority| Stated { rests: true, ..says(id, priority) };
    assert_eq!(turn_in([2, 3, 4, 5], &[resting(2, 1), says(3, 2), says(4, 3)]), None);
    assert_eq!(turn_in([3, 2, 4, 5], &[resting(2, 1), says(3, 2), says(4, 3)]), None, "nor is it moved");
    assert_eq!(
        turn_in([2, 4, 3, 5], &[resting(2, 1), says(3, 2), says(4, 3)]),
        Some(("cb4".into(), ras::Move::To(3))),
    );
    assert_eq!(
        turn_in([2, 5, 4, 3], &[resting(2, 1), says(4, 3)]),
        Some(("cb4".into(), ras::Move::To(2))),
        "the one that rests stays the first"
    );
}

#[test]
fn a_forged_id_and_a_row_on_its_way_out_do_not_count() {
    let forged = Stated { id: 3, ..says(2, 1) };
    assert_eq!(turn_in([2, 3, 4, 5], &[forged]), None);
    let rows = vec![row(1, 0), ras::Broker { marked_for_deletion: Some(true), ..row(2, 1) }, row(3, 2)];
    let snapshot = Snapshot::default().next(rows, std::time::Duration::ZERO, None);
    assert_eq!(concerned(&snapshot, 1, &[says(3, 1)], MoveForm::Step), []);
}

#[test]
fn who_is_out_of_place_or_shifted_waits_for_the_apply() {
    let stated = [says(2, 1), says(3, 2), says(4, 3), says(5, 4)];
    let seen = place(&site([2, 4, 5, 3]), 1, 4, &stated, MoveForm::Number).unwrap();
    assert_eq!(seen.wanted, 3);
    assert_eq!(seen.turn.map(|turn| (turn.key.name, turn.to)), Some(("cb3".into(), ras::Move::To(2))));
    let concerned: Vec<_> = seen.concerned.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(concerned, ["cb4", "cb5", "cb3"]);
}

//! The farm's state as a machine, played on in any order (`game`), and single situations of it.

mod game;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use self::game::*;
use super::*;
use crate::crd::PendingApply;
use crate::crd::condition::Reason;
use crate::farm::handle::Farm;
use crate::farm::permit::Admission;
use crate::farm::report;
use crate::farm::service::{Change, Kind, Service};
use crate::farm::state::Trouble;
use crate::farm::view::{Hold, Promoting, Unapplied};
use crate::leader::Authority;
use crate::ras::{self};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Whatever happens in whatever order: the limit holds, an Apply is alone, nothing is written while held, and in
    /// the end everybody had its turn and everything written is applied.
    #[test]
    fn everybody_has_a_turn_and_no_rule_is_broken(requests in 1_u32..9, keeps: bool, moves in moves()) {
        let mut game = Game::new("Auto", requests);
        if keeps {
            game.has_settings();
        }
        play(&mut game, "Auto", moves);
        game.state.set_object(object("Auto", false, requests));
        while game.state.foreign.is_some() {
            game.act();
            // A call that does not land keeps what the limit has reserved for it.
            game.land(Pace::Ordinary);
            game.land(Pace::Install);
            game.now += ms(100);
            play(&mut game, "Auto", vec![Move::Foreign(false)]);
        }
        game.play_on();
        game.assert_limit();
        prop_assert_eq!((game.puts, game.setting.enabled), (usize::from(keeps), Some(keeps)));
    }

    /// Without a write there is no Apply, and at rest there are two calls per period and nothing else.
    #[test]
    fn rest_costs_two_calls_a_period(requests in 2_u32..9, seconds in 70_u64..300) {
        let mut game = Game::new("Guarded", requests);
        for _ in 0..seconds * 10 {
            game.act();
            game.now += ms(100);
        }
        game.assert_limit();
        prop_assert_eq!(game.applies, 0);
        let periods = usize::try_from(seconds / 60).unwrap();
        let polls = game.grants.len() - 2;
        prop_assert!(polls <= periods * 2 && polls + 2 >= periods * 2, "{} calls", polls);
    }
}

/// A busy farm does not keep a promotion waiting: what comes after it waits for it.
#[test]
fn a_promotion_goes_before_brokers_that_come_after_it() {
    // Also where the limit allows less than a batch takes to open and to close again.
    for requests in [1, 9] {
        let mut game = Game::new("Auto", requests);
        game.promotion = Promotion::Asked;
        let mut number = 0;
        while game.promotions == 0 {
            number += 1;
            game.arrive(number % 12, CREATE);
            for _ in 0..10 {
                game.act();
                game.reconcile();
                game.promote();
                game.land(Pace::Ordinary);
                game.now += ms(20);
            }
            assert!(
                number < 600,
                "not within two minutes: {:?} {:?}",
                game.state.promotions,
                game.state.batch
            );
        }
        game.play_on();
        game.assert_limit();
    }
}

#[test]
fn a_promotion_that_nobody_asks_about_any_more_ends_by_itself() {
    let mut game = Game::new("Auto", 9);
    game.list();
    game.state.polled_at = Some(game.now);
    let promoting = Promoting { site: 1, name: "go".into(), uid: "u".into(), server: "two".into() };
    game.state.batch.open(game.now, false);
    assert!(game.state.admit_promotion(promoting, game.now, game.now()));
    assert!(game.state.hold().is_some());
    game.state.unreported = false;
    let Task::Rest(rest) = game.state.next(game.now()) else { panic!("nothing is due") };
    assert!(rest <= Duration::from_secs(45), "it is looked at when it is over: {rest:?}");
    game.now += Duration::from_secs(45);
    game.state.next(game.now());
    assert_eq!(game.state.hold(), None);
}

/// What a logon said is asked anew when a list shows that it is so no more, and not before.
#[test]
fn another_primary_in_the_list_ends_what_the_logon_said() {
    let rows = |first: i64| {
        let row = |id, server: &str, priority| ras::Broker {
            id,
            server: server.into(),
            site_id: 1,
            priority: Some(priority),
            ..ras::Broker::default()
        };
        vec![row(1, "one", first), row(2, "two", 1 - first)]
    };
    for (said, server, expires) in [(true, "ONE", true), (false, "two", true), (true, "two", false)] {
        let mut game = Game::new("Auto", 9);
        let mut link = link();
        link.session.connected_server = Some(server.into());
        link.session.primary_broker_connection = Some(said);
        game.state.take_link(link, Vec::new());
        game.state.take_list(rows(0), game.now, None);
        assert!(!game.state.session_expired);
        game.state.take_list(rows(1), game.now, None);
        assert_eq!(game.state.session_expired, expires, "{said} of {server}");
    }
}

/// Of more sites than an object has room for, those are shown whose settings are kept.
#[test]
fn a_farm_of_any_number_of_sites_has_a_status_that_can_be_written() {
    let mut game = Game::new("Auto", 9);
    let site = |id| ras::Site { id, name: Some("x".repeat(1 << 16)), licensing_site: false };
    let (first, kept) = (-300, 1);
    game.state.take_link(link(), (first..=kept).map(site).collect());
    game.list();
    game.state.polled_at = Some(game.now);
    let status = report::status(&game.state, &[], game.now());
    let ids: Vec<i64> = status.sites.iter().map(|site| site.id).collect();
    assert_eq!(ids.iter().filter(|id| **id == kept).count(), 1);
    assert!(
        ids.is_sorted() && ids[..ids.len() - 1].iter().zip(first..).all(|(id, by_id)| *id == by_id),
        "{ids:?}"
    );
    let bytes = serde_json::to_string(&status).unwrap().len();
    assert!(bytes < 100_000, "{bytes} bytes");
}

#[test]
fn a_manual_batch_takes_writes_for_as_long_as_a_person_takes() {
    let mut game = Game::new("Manual", 9);
    game.arrive(1, CREATE);
    for _ in 0..200 {
        game.act();
        game.reconcile();
        game.land(Pace::Ordinary);
        game.now += ms(500);
    }
    assert!(game.needs.is_empty());
    game.arrive(2, CREATE);
    for _ in 0..100 {
        game.act();
        game.reconcile();
        game.land(Pace::Ordinary);
        game.now += ms(100);
    }
    assert!(game.needs.is_empty(), "{:?}", game.state.batch);
    assert_eq!(game.applies, 0);
}

#[test]
fn a_reader_that_is_short_of_calls_does_not_make_a_held_farm_spin() {
    let mut game = Game::new("Auto", 1);
    game.act();
    while game.doing.is_some() {
        game.act();
        game.now += ms(100);
    }
    game.state.foreign = Some(Hold::new(Reason::ForeignPendingChanges, "somebody"));
    assert!(game.state.is_news_for_all());
    game.arrive(1, READ);
    game.reconcile();
    assert_eq!(game.state.call(game.now()), [], "no call is free: it is not called in vain");
}

#[test]
fn a_look_that_was_asked_for_is_not_repeated_when_it_fails() {
    let mut game = Game::new("Auto", 9);
    let mut object = object("Auto", false, 9).as_ref().clone();
    object.metadata.annotations =
        Some([("ras-operator.dev/reconcile-requested-at".to_owned(), "now".to_owned())].into());
    game.state.set_object(Arc::new(object));
    let hold = Hold::new(Reason::FarmUnreachable, "down");
    let retry_at = game.now + Duration::from_mins(1);
    game.state.trouble = Some(Trouble { hold, retry_at });
    game.state.unreported = false;
    assert_eq!(game.state.next(game.now()), Task::Poll, "asked for");
    assert!(matches!(game.state.next(game.now()), Task::Rest(_)), "once");
}

/// The API server may refuse to have one opened again and again.
#[test]
fn a_batch_that_cannot_be_opened_keeps_no_farm_from_being_looked_at() {
    let mut game = Game::new("Auto", 9);
    game.list();
    game.state.polled_at = Some(game.now);
    game.state.unreported = false;
    game.arrive(1, DELETE);
    game.reconcile();
    assert_eq!(game.state.next(game.now()), Task::OpenBatch);
    game.now += game.state.object.spec.resync_period.get() * 2;
    assert_eq!(game.state.next(game.now()), Task::Poll);
}

#[test]
fn the_circuit_closes_when_its_probe_succeeds() {
    let mut game = Game::new("Auto", 9);
    for _ in 0..3 {
        game.state.breaker.record_failure(game.now, 0.0);
    }
    let hold = Hold::new(Reason::FarmUnreachable, "down");
    game.state.trouble = Some(Trouble { hold, retry_at: game.now });
    game.state.unreported = false;
    assert!(game.state.breaker.is_open());
    assert_eq!(game.state.next(game.now()), Task::Poll);
    game.list();
    assert!(!game.state.breaker.is_open());
}

/// Two brokers were decided at the same moment: the farm lets one of them go.
#[test]
fn of_two_changes_that_lower_a_site_the_second_is_decided_anew() {
    let (clock, workers) = (crate::clock::Clock::MACHINE, Arc::new(tokio::sync::Semaphore::new(1)));
    let farm = Arc::new(Farm::new(
        object("Auto", false, 25),
        ms(0),
        workers,
        clock,
        Authority::always(),
        CancellationToken::new(),
    ));
    {
        let mut state = farm.state.lock();
        let now = clock.now();
        state.take_link(link(), Vec::new());
        let row = |id| ras::Broker { id, server: format!("s{id}"), ..primary() };
        drop(state.take_list([1, 2, 3].map(row).to_vec(), now.boot, None));
        state.polled_at = Some(now.boot);
        state.batch.open(now.boot, false);
    }
    let admit = |id| {
        let change = Change { site_id: 1, id, kind: Kind::Update, to: Service::Off, insists: false };
        farm.admit_change(&ObjectKey::new("ns", format!("b{id}")), DELETE, change)
    };
    let Admission::Granted(permit) = admit(2) else { panic!("the first goes") };
    assert!(matches!(admit(3), Admission::Overtaken));
    drop(permit);
    assert!(matches!(admit(3), Admission::Granted(_)), "nothing was sent after all");
}

/// A list shows what a call that was not answered has raised, or a person: it counts with the Apply that is to come.
#[test]
fn what_a_list_shows_to_serve_more_counts_with_the_apply_that_is_to_come() {
    let mut game = Game::new("Auto", 9);
    game.act();
    let now = game.now();
    let row = |id, enabled| ras::Broker { id, server: format!("s{id}"), enabled: Some(enabled), ..primary() };
    let lowers = |state: &FarmState| {
        let change = Change { site_id: 1, id: 2, kind: Kind::Update, to: Service::Off, insists: false };
        state.service.changes().wait(&state.snapshot, &change).is_none()
    };
    let state = &mut game.state;
    state.polled_at = Some(now.boot);
    drop(state.take_list(vec![row(2, true), row(3, false)], now.boot, None));
    assert!(!lowers(state), "the last");
    state.ledger.pending = Some(PendingApply { since: Time(now.wall), brokers: 1 });
    drop(state.take_list(vec![row(2, true), row(3, true)], now.boot, None));
    assert!(!lowers(state), "it is not applied");
    state.close_batch();
    assert!(lowers(state), "nothing of ours is to be applied");
}

#[test]
fn what_is_answered_while_an_apply_is_on_its_way_counts_as_applied_only_after_the_next() {
    let mut game = Game::new("Auto", 9);
    game.act();
    let now = game.now();
    let [early, late] = ["early", "late"].map(|name| ObjectKey::new("ns", name));
    let state = &mut game.state;
    state.ledger.wrote(&early, Unapplied::Updated);
    assert_eq!(state.apply_now(now), Task::Apply);
    state.ledger.wrote(&late, Unapplied::Created);
    state.ledger.applied(now.boot);
    assert_eq!(state.ledger.settle(now.boot).0, [(early, Unapplied::Updated)].into());
    assert_eq!(state.apply_now(now), Task::Apply);
    state.ledger.applied(now.boot);
    assert_eq!(state.ledger.settle(now.boot).0, [(late, Unapplied::Created)].into());
}

#[test]
fn what_is_applied_and_not_listed_since_is_not_settled() {
    let mut game = Game::new("Auto", 9);
    game.act();
    let (now, key) = (game.now(), ObjectKey::new("ns", "one"));
    let ledger = &mut game.state.ledger;
    ledger.wrote(&key, Unapplied::Updated);
    ledger.begin_round(now.boot);
    ledger.applied(now.boot);
    let before = now.boot.saturating_sub(Duration::from_millis(1));
    assert_eq!((ledger.settle(before).0.len(), ledger.of(&key)), (0, Some(Unapplied::Updated)));
    assert_eq!((ledger.settle(now.boot).0.len(), ledger.of(&key)), (1, None));
}

#[test]
fn what_was_not_answered_is_applied_by_an_apply_that_begins_when_it_cannot_arrive_any_more() {
    let mut game = Game::new("Auto", 9);
    game.act();
    let (now, key) = (game.now(), ObjectKey::new("ns", "lost"));
    let later = Now { boot: now.boot + Duration::from_secs(17), ..now };
    let state = &mut game.state;
    state.ledger.wrote(&key, Unapplied::Created);
    state.ledger.unanswered(&key);
    state.ledger.expect_late_until(later.boot);
    for (begins, is_applied) in [(now, false), (later, true)] {
        // An installation that is on its way is pending beside it.
        state.ledger.pending = Some(PendingApply { since: Time(now.wall), brokers: 1 });
        assert_eq!(state.apply_now(begins), Task::Apply);
        state.ledger.applied(now.boot);
        assert_eq!(!state.ledger.is_open(&key), is_applied);
    }
}

/// A row of ours that came into the list by no write of this process is applied by a batch of its own; one that was in
/// the first list may have been applied long ago, and one that came before an Apply was.
#[test]
fn what_is_found_to_have_come_since_the_last_apply_is_applied() {
    let row = |id, server: &str| ras::Broker { id, server: server.into(), site_id: 1, ..primary() };
    let key = ObjectKey::new("ns", "late");
    let mut game = Game::new("Auto", 9);
    game.list();
    game.state.polled_at = Some(game.now);
    game.state.unreported = false;
    assert!(!game.state.ledger.found(&key, primary().id), "it was there before this process");
    let rows = vec![primary(), row(2, "late"), row(3, "later")];
    game.state.take_list(rows, game.now, None);
    assert!(matches!(game.state.next_of_farm(game.now()), Task::Rest(_)), "nobody says that it is ours");
    assert!(game.state.ledger.found(&key, 2));
    assert_eq!(game.state.next_of_farm(game.now()), Task::OpenBatch);
    game.state.batch.open(game.now, true);
    game.now += ms(600);
    assert_eq!(game.state.next_of_farm(game.now()), Task::Apply);
    game.state.ledger.applied(game.now);
    game.state.batch.applied(game.now, None);
    assert!(!game.state.ledger.found(&ObjectKey::new("ns", "later"), 3), "that Apply was of the whole farm");
    assert!(matches!(game.state.next_of_farm(game.now()), Task::Rest(_)));
}

/// While something that an earlier process has sent may still come, a row that is another than it was has come of it: its
/// fields as well as its place, in a list as well as in a read by id. A row that took another's id has come in any case.
#[test]
fn what_may_have_come_of_an_earlier_process_is_known_however_it_is_seen() {
    let row = |description: &str, priority, time: &str| ras::Broker {
        description: Some(description.into()),
        priority: Some(priority),
        time_create: Some(time.into()),
        ..ras::Broker { id: 2, server: "two".into(), ..primary() }
    };
    let before = row("", 1, "then");
    let cases = [
        (before.clone(), false, false),
        (row("changed", 1, "then"), true, false),
        (row("", 2, "then"), true, false),
        (row("", 1, "now"), true, true),
    ];
    for (seen, has_come, always) in cases {
        for (inherits, reads) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut game = Game::new("Auto", 9);
            game.state.service = crate::farm::service::Sites::new(inherits);
            game.state.take_list(vec![before.clone()], game.now, None);
            game.state.polled_at = Some(game.now);
            if reads {
                game.state.take_row(seen.clone(), game.now());
            } else {
                game.state.take_list(vec![seen.clone()], game.now, None);
            }
            let arrived = game.state.ledger.arrived(&ObjectKey::new("ns", "two"), 2);
            assert_eq!(arrived, if inherits { has_come } else { always }, "{seen:?} {inherits} {reads}");
        }
    }
}

#[test]
fn a_session_that_was_replaced_is_given_back_after_its_last_call() {
    let mut game = Game::new("Auto", 9);
    let installing = game.state.link.as_ref().unwrap().calls.token();
    game.state.take_link(link(), Vec::new());
    assert_ne!(game.state.next(game.now()), Task::GiveBack);
    assert!(game.state.take_retired().is_none());
    drop(installing);
    assert_eq!(game.state.next(game.now()), Task::GiveBack);
    assert!(game.state.take_retired().is_some() && game.state.take_retired().is_none());
}

#[test]
fn installations_leave_the_places_of_others_free_and_wait_for_a_worker_of_their_own() {
    let mut game = Game::new("Auto", 100);
    game.act();
    while game.doing.is_some() {
        game.act();
    }
    game.state.ledger.pending = Some(PendingApply {
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(game.now().wall),
        brokers: 1,
    });
    game.state.batch.open(game.now, false);
    let key = |number: usize| ObjectKey::new("ns", format!("b{number}"));
    let now = game.now();
    let admitted = (0..6).filter(|number| game.state.admit(&key(*number), INSTALL, now)).count();
    assert_eq!(admitted, INSTALLS);
    assert_eq!(game.state.call(now), [], "the others wait");
    game.state.batch.end(game.now, Pace::Install);
    let all = Arc::clone(&game.state.workers).try_acquire_many_owned(2).unwrap();
    assert_eq!(game.state.call(now), [], "farms elsewhere keep all the workers that may wait");
    drop(all);
    assert_eq!(game.state.call(now).len(), 2);
    assert!(game.state.admit(&key(9), CREATE, now) || game.state.call(now).contains(&key(9)));
}

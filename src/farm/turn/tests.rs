//! The farm's state as a machine: brokers, a farm and an actor play on it with a clock of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::crd::condition::Reason;
use crate::crd::{Capability, PendingApply, RasFarm};
use crate::farm::handle::{Admission, Farm};
use crate::farm::limiter::Take;
use crate::farm::service::{Change, Kind, Service};
use crate::farm::state::{Link, Trouble};
use crate::farm::view::{Hold, Promoting, Unapplied};
use crate::leader::Authority;
use crate::ras::{self, AuthToken};

const START: Duration = Duration::from_secs(1_000_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(boot: Duration) -> Now {
    Now { wall: Timestamp::from_second(1_800_000_000).unwrap() + boot.saturating_sub(START), boot }
}

fn object(mode: &str, suspend: bool, requests: u32) -> Arc<RasFarm> {
    let spec = json!({
        "endpoint": "https://farm.example:20443",
        "credentialsSecretRef": {"name": "account"},
        "rateLimit": {"requests": requests, "window": "2s"},
        "apply": {"mode": mode},
        "suspend": suspend,
        "sites": [{"id": 1, "autoPromotion": {"enabled": true}}],
    });
    Arc::new(RasFarm::new("north", serde_json::from_value(spec).unwrap()))
}

fn link() -> Link {
    let config = ras::ClientConfig {
        endpoint: ras::parse_endpoint("https://farm.example:20443").unwrap(),
        tls: ras::TlsConfig::default(),
        request_timeout: Duration::from_secs(30),
        install_timeout: Duration::from_mins(15),
        hosts: ras::HostPolicy::new::<String>(&[]),
        api: ras::ApiPaths::default(),
    };
    let session = ras::Session {
        token: AuthToken::new("token".into()).unwrap(),
        apply_settings_enabled: Some(false),
        farm_guid: None,
        farm_name: None,
        connected_server: None,
        licensing_server: None,
        domain: None,
        primary_broker_connection: Some(true),
        licensing_server_connection: None,
        connected_site_id: None,
        settings_id: None,
        session_id: None,
    };
    Link {
        client: ras::Client::new(config).unwrap(),
        session,
        account: "administrator".into(),
        secret_name: "account".into(),
        secret_version: "1".into(),
        calls: tokio_util::task::TaskTracker::new(),
        identity: "guid".into(),
        credentials: ras::Credentials { username: "administrator".into(), password: "x".into() },
    }
}

fn primary() -> ras::Broker {
    ras::Broker { id: 1, server: "one".into(), site_id: 1, ..ras::Broker::default() }
}

const CREATE: Need = Need { calls: 1, writes: true, fresh_list: true, pace: Pace::Ordinary };
const DELETE: Need = Need { calls: 2, fresh_list: false, ..CREATE };
const READ: Need = Need { writes: false, fresh_list: false, ..CREATE };
const INSTALL: Need = Need { pace: Pace::Install, ..CREATE };

/// What the actor is in the middle of: a task and the calls that it has still to take.
type Doing = (Task, usize);

/// A promotion, which no call of others may go beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promotion {
    No,
    Asked,
    /// Its call is on its way.
    Sent,
    /// It was answered, and its outcome is not seen yet.
    Open,
}

fn is_short_write(need: &Need) -> bool {
    need.writes && need.pace == Pace::Ordinary
}

struct Game {
    promotion: Promotion,
    promotions: usize,
    state: FarmState,
    now: Duration,
    requests: u32,
    doing: Option<Doing>,
    awake: VecDeque<ObjectKey>,
    needs: BTreeMap<ObjectKey, Need>,
    /// Admitted calls, and whether each has written.
    flying: Vec<Need>,
    grants: Vec<Duration>,
    unapplied: usize,
    /// What the Apply that is on its way commits.
    committing: usize,
    applies: usize,
    /// What the farm has of the setting that its object keeps.
    setting: ras::PromotionSettings,
    puts: usize,
}

impl Game {
    fn new(mode: &str, requests: u32) -> Self {
        let mut state = FarmState::new(
            object(mode, false, requests),
            Duration::from_mins(5),
            Arc::new(Semaphore::new(2)),
        );
        state.take_link(link(), Vec::new());
        state.capabilities.note(Capability::PromotionSettings, Err(Some(404)));
        Self {
            promotion: Promotion::No,
            promotions: 0,
            state,
            now: START,
            requests,
            doing: None,
            awake: VecDeque::new(),
            needs: BTreeMap::new(),
            flying: Vec::new(),
            grants: Vec::new(),
            unapplied: 0,
            committing: 0,
            applies: 0,
            setting: ras::PromotionSettings { enabled: Some(false), ..ras::PromotionSettings::default() },
            puts: 0,
        }
    }

    /// The same farm with the call that the object's setting needs.
    fn has_settings(&mut self) {
        self.state.capabilities.note(Capability::PromotionSettings, Ok(()));
    }

    fn now(&self) -> Now {
        at(self.now)
    }

    fn arrive(&mut self, number: usize, need: Need) {
        let key = ObjectKey::new("ns", format!("b{number}"));
        if self.needs.insert(key.clone(), need).is_none() {
            self.awake.push_back(key);
        }
    }

    /// One turn of the actor: a decision, or the next call of what it is doing.
    fn act(&mut self) {
        let Some((task, calls)) = self.doing.take() else { return self.decide() };
        if calls == 0 {
            return self.finish(task);
        }
        let granted = self.state.limiter.take(self.now) == Take::Granted;
        if granted {
            self.grants.push(self.now);
        }
        self.doing = Some((task, calls - usize::from(granted)));
    }

    fn decide(&mut self) {
        let now = self.now();
        self.awake.extend(self.state.call(now));
        if self.state.is_news_for_all() {
            self.awake.extend(self.needs.keys().cloned());
        }
        let task = self.state.next(now);
        let calls = match task {
            Task::Apply => {
                assert!(!self.flying.iter().any(is_short_write), "an Apply beside a write");
                self.committing = std::mem::take(&mut self.unapplied);
                assert!(!self.is_promoting(), "an Apply before it is known who the primary is");
                1
            }
            Task::Connect => 4,
            Task::Poll => 2,
            Task::List | Task::OpenBatch | Task::ReadSettings | Task::WriteSettings => 1,
            Task::GiveBack => {
                drop(self.state.take_retired());
                return;
            }
            Task::Report => {
                self.state.unreported = false;
                self.state.reported_at = Some(self.now);
                return;
            }
            Task::Rest(rest) => {
                assert!(!rest.is_zero(), "the actor spins");
                return;
            }
        };
        self.doing = Some((task, calls));
    }

    fn finish(&mut self, task: Task) {
        let now = self.now();
        match task {
            Task::Connect | Task::Poll => {
                let was_down = self.state.trouble.is_some();
                self.list();
                self.state.site_settings.reread();
                self.state.polled_at = Some(self.now);
                if was_down {
                    self.awake.extend(self.needs.keys().cloned());
                }
            }
            Task::List => self.list(),
            Task::OpenBatch => {
                let was_pending = self.state.pending.is_some();
                let since = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.wall);
                self.state.pending.get_or_insert(PendingApply { since, brokers: 1 });
                self.state.batch.open(self.now, was_pending);
            }
            Task::Apply => {
                assert!(!self.flying.iter().any(is_short_write), "a write beside an Apply");
                self.applies += 1;
                self.committing = 0;
                self.state.batch.applied(self.now, None);
                if self.state.batch.is_closed() {
                    self.state.pending = None;
                }
                self.state.site_settings.applied();
                self.list();
            }
            Task::ReadSettings => {
                let Some(site) = self.state.settings_to_read() else { return };
                let wanted = self.state.wanted_settings().of_site.remove(&site).unwrap();
                self.state.site_settings.take_shown(site, &wanted, &self.setting, now.wall);
            }
            Task::WriteSettings => self.write_settings(now),
            Task::GiveBack | Task::Report | Task::Rest(_) => unreachable!("done at once"),
        }
    }

    fn write_settings(&mut self, now: Now) {
        let mode = self.state.object.spec.apply.mode;
        let due = self.state.settings_to_write(now).filter(|_| self.state.batch.admits(now.boot, mode));
        let Some((site, settings)) = due else { return };
        assert!(self.state.hold().is_none() && self.state.pending.is_some(), "a setting written while held");
        self.state.batch.touch(self.now);
        self.setting = crate::farm::site_settings::change(&settings);
        let generation = self.state.generation();
        self.state.site_settings.take_written(site, settings, generation);
        self.puts += 1;
        self.unapplied += 1;
    }

    fn list(&mut self) {
        self.state.trouble = None;
        self.state.breaker.record_success();
        drop(self.state.take_list(vec![primary()], self.now, None));
    }

    /// One broker looks at the farm and tries its step.
    fn reconcile(&mut self) {
        let Some(key) = self.awake.pop_front() else { return };
        let Some(need) = self.needs.get(&key).copied() else { return };
        if self.state.trouble.is_some() || (need.writes && self.state.hold().is_some()) {
            return;
        }
        let now = self.now();
        if !self.state.admit(&key, need, now) {
            return;
        }
        assert!(!need.writes || self.state.hold().is_none(), "a write while held");
        assert!(!need.writes || !self.is_promoting(), "a write before it is known who the primary is");
        assert!(!matches!(self.doing, Some((Task::Apply | Task::OpenBatch, _))) || !need.writes);
        let installs = self.flying.iter().filter(|other| other.pace == Pace::Install).count();
        assert!(need.pace == Pace::Ordinary || installs < 4, "too many installations");
        assert!(!need.writes || self.state.pending.is_some(), "a write before it was written down");
        let granted = need.calls.min(usize::try_from(self.requests).unwrap());
        self.grants.extend(std::iter::repeat_n(self.now, granted));
        self.flying.push(need);
        self.needs.remove(&key);
    }

    fn is_promoting(&self) -> bool {
        matches!(self.promotion, Promotion::Sent | Promotion::Open)
    }

    /// The promotion's own reconcile: it looks again and again.
    fn promote(&mut self) {
        match self.promotion {
            Promotion::No => {}
            Promotion::Asked => {
                let promoting =
                    Promoting { site: 1, name: "go".into(), uid: "u".into(), server: "two".into() };
                let (listed_at, now) = (self.state.snapshot.listed_at, self.now());
                if !self.state.admit_promotion(promoting, listed_at, now) {
                    self.state.list_asked |= now.since(listed_at) > FRESH;
                    return;
                }
                assert!(self.flying.is_empty() && self.unapplied == 0, "it goes alone");
                assert!(self.state.pending.is_some(), "a promotion before it was written down");
                assert!(!matches!(self.doing, Some((Task::Apply | Task::OpenBatch, _))));
                self.grants.push(self.now);
                self.promotion = Promotion::Sent;
            }
            Promotion::Sent => {
                self.unapplied += 1;
                self.state.batch.touch(self.now);
                self.state.batch.end(self.now, Pace::Ordinary);
                self.promotion = Promotion::Open;
            }
            Promotion::Open => {
                self.state.promotions.over("u");
                self.promotions += 1;
                self.promotion = Promotion::No;
            }
        }
    }

    /// One call comes back.
    fn land(&mut self, pace: Pace) {
        let Some(index) = self.flying.iter().position(|need| need.pace == pace) else { return };
        let need = self.flying.remove(index);
        if need.writes {
            assert!(self.state.pending.is_some(), "an unanswered write, and nothing says so");
            self.unapplied += 1;
            self.state.batch.touch(self.now);
        }
        self.state.batch.end(self.now, pace);
    }

    fn assert_limit(&self) {
        let requests = usize::try_from(self.requests).unwrap();
        for window in self.grants.windows(requests + 1) {
            assert!(
                window[requests].saturating_sub(window[0]) >= ms(2_000),
                "more calls in a window than allowed"
            );
        }
    }

    /// Everybody does what it can, in turns, until nobody has anything left to do.
    fn play_on(&mut self) {
        for turn in 0..20_000 {
            self.act();
            self.reconcile();
            self.promote();
            self.land(Pace::Ordinary);
            if turn % 500 == 0 {
                self.land(Pace::Install);
            }
            self.now += ms(20);
            if self.needs.is_empty()
                && self.promotion == Promotion::No
                && self.flying.is_empty()
                && self.unapplied + self.committing == 0
                && self.state.batch.is_closed()
                && self.state.settings_to_read().is_none()
                && self.state.settings_to_write(self.now()).is_none()
            {
                return;
            }
        }
        panic!("not done in 400 s: {:?} {:?} {:?}", self.needs, self.state.queue, self.state.batch);
    }
}

#[derive(Clone, Debug)]
enum Move {
    Arrive(usize, u8),
    Act,
    Reconcile,
    Land(Pace),
    Pass(u64),
    Suspend(bool),
    Foreign(bool),
    Down,
    AskForPromotion,
    Promote,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0_usize..12, 0_u8..4).prop_map(|(number, kind)| Move::Arrive(number, kind)),
        8 => Just(Move::Act),
        6 => Just(Move::Reconcile),
        4 => Just(Move::Land(Pace::Ordinary)),
        1 => Just(Move::Land(Pace::Install)),
        4 => (0_u64..900).prop_map(Move::Pass),
        1 => any::<bool>().prop_map(Move::Suspend),
        1 => any::<bool>().prop_map(Move::Foreign),
        1 => Just(Move::Down),
        1 => Just(Move::AskForPromotion),
        4 => Just(Move::Promote),
    ];
    proptest::collection::vec(one, 1..250)
}

fn play(game: &mut Game, mode: &str, moves: Vec<Move>) {
    for one in moves {
        match one {
            Move::Arrive(number, kind) => {
                game.arrive(number, [CREATE, DELETE, READ, INSTALL][usize::from(kind)]);
            }
            Move::Act => game.act(),
            Move::Reconcile => game.reconcile(),
            Move::Land(pace) => game.land(pace),
            Move::AskForPromotion if game.promotion == Promotion::No => game.promotion = Promotion::Asked,
            Move::AskForPromotion => {}
            Move::Promote => game.promote(),
            Move::Pass(millis) => game.now += ms(millis),
            Move::Suspend(suspend) => game.state.set_object(object(mode, suspend, game.requests)),
            // It is the actor that finds out, and it tells before it looks again.
            Move::Foreign(_) if game.doing.is_some() || game.state.told_hold != game.state.hold() => {}
            Move::Foreign(foreign) => {
                let hold = Hold::new(Reason::ForeignPendingChanges, "somebody");
                game.state.foreign = foreign.then_some(hold);
            }
            // Only what the actor does can show it.
            Move::Down if game.doing.is_some() => {}
            Move::Down => {
                let hold = Hold::new(Reason::FarmUnreachable, "down");
                game.state.trouble = Some(Trouble { hold, retry_at: game.now + ms(700) });
            }
        }
    }
}

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
    let farm = Arc::new(Farm::new(object("Auto", false, 25), ms(0), workers, clock, Authority::always()));
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

#[test]
fn what_is_answered_while_an_apply_is_on_its_way_counts_as_applied_only_after_the_next() {
    let mut game = Game::new("Auto", 9);
    game.act();
    let now = game.now();
    let [early, late] = ["early", "late"].map(|name| ObjectKey::new("ns", name));
    let state = &mut game.state;
    state.wrote(&early, Unapplied::Updated);
    assert_eq!(state.apply_now(now), Task::Apply);
    state.wrote(&late, Unapplied::Created);
    assert_eq!(state.take_applied(), [(early, Unapplied::Updated)].into());
    assert_eq!(state.apply_now(now), Task::Apply);
    assert_eq!(state.take_applied(), [(late, Unapplied::Created)].into());
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
    game.state.pending = Some(PendingApply {
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

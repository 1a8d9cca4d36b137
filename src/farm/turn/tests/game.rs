//! Brokers, a farm and an actor that play on the farm's state, with a clock of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Semaphore;

use super::super::*;
use crate::crd::condition::Reason;
use crate::crd::{Capability, PendingApply, RasFarm};
use crate::farm::limiter::Take;
use crate::farm::state::{Link, Trouble};
use crate::farm::view::{Hold, Promoting};
use crate::ras::{self, AuthToken};

pub(super) const START: Duration = Duration::from_secs(1_000_000);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn at(boot: Duration) -> Now {
    Now { wall: Timestamp::from_second(1_800_000_000).unwrap() + boot.saturating_sub(START), boot }
}

pub(super) fn object(mode: &str, suspend: bool, requests: u32) -> Arc<RasFarm> {
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

pub(super) fn link() -> Link {
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

pub(super) fn primary() -> ras::Broker {
    ras::Broker { id: 1, server: "one".into(), site_id: 1, ..ras::Broker::default() }
}

pub(super) const CREATE: Need = Need { calls: 1, writes: true, fresh_list: true, pace: Pace::Ordinary };
pub(super) const DELETE: Need = Need { calls: 2, fresh_list: false, ..CREATE };
pub(super) const READ: Need = Need { writes: false, fresh_list: false, ..CREATE };
pub(super) const INSTALL: Need = Need { pace: Pace::Install, ..CREATE };

/// What the actor is in the middle of: a task and the calls that it has still to take.
pub(super) type Doing = (Task, usize);

/// A promotion, which no call of others may go beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promotion {
    No,
    Asked,
    /// Its call is on its way.
    Sent,
    /// It was answered, and its outcome is not seen yet.
    Open,
}

pub(super) fn is_short_write(need: &Need) -> bool {
    need.writes && need.pace == Pace::Ordinary
}

pub(super) struct Game {
    pub(super) promotion: Promotion,
    pub(super) promotions: usize,
    pub(super) state: FarmState,
    pub(super) now: Duration,
    pub(super) requests: u32,
    pub(super) doing: Option<Doing>,
    pub(super) awake: VecDeque<ObjectKey>,
    pub(super) needs: BTreeMap<ObjectKey, Need>,
    /// Admitted calls, and whether each has written.
    pub(super) flying: Vec<Need>,
    pub(super) grants: Vec<Duration>,
    pub(super) unapplied: usize,
    /// What the Apply that is on its way commits.
    pub(super) committing: usize,
    pub(super) applies: usize,
    /// What the farm has of the setting that its object keeps.
    pub(super) setting: ras::PromotionSettings,
    pub(super) puts: usize,
}

impl Game {
    pub(super) fn new(mode: &str, requests: u32) -> Self {
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
    pub(super) fn has_settings(&mut self) {
        self.state.capabilities.note(Capability::PromotionSettings, Ok(()));
    }

    pub(super) fn now(&self) -> Now {
        at(self.now)
    }

    pub(super) fn arrive(&mut self, number: usize, need: Need) {
        let key = ObjectKey::new("ns", format!("b{number}"));
        if self.needs.insert(key.clone(), need).is_none() {
            self.awake.push_back(key);
        }
    }

    /// One turn of the actor: a decision, or the next call of what it is doing.
    pub(super) fn act(&mut self) {
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

    pub(super) fn decide(&mut self) {
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

    pub(super) fn finish(&mut self, task: Task) {
        let now = self.now();
        match task {
            Task::Connect | Task::Poll => {
                let was_down = self.state.trouble.is_some();
                self.list();
                let wanted = self.state.wanted_settings();
                self.state.site_settings.reread(&wanted);
                self.state.polled_at = Some(self.now);
                if was_down {
                    self.awake.extend(self.needs.keys().cloned());
                }
            }
            Task::List => self.list(),
            Task::OpenBatch => {
                let was_pending = self.state.ledger.pending.is_some();
                let since = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.wall);
                self.state.ledger.pending.get_or_insert(PendingApply { since, brokers: 1 });
                self.state.batch.open(self.now, was_pending);
            }
            Task::Apply => {
                assert!(!self.flying.iter().any(is_short_write), "a write beside an Apply");
                self.applies += 1;
                self.committing = 0;
                self.state.batch.applied(self.now, None);
                if self.state.batch.is_closed() {
                    self.state.ledger.pending = None;
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

    pub(super) fn write_settings(&mut self, now: Now) {
        let mode = self.state.object.spec.apply.mode;
        let due = self.state.settings_to_write(now).filter(|_| self.state.batch.admits(now.boot, mode));
        let Some((site, settings)) = due else { return };
        assert!(
            self.state.hold().is_none() && self.state.ledger.pending.is_some(),
            "a setting written while held"
        );
        self.state.batch.touch(self.now);
        self.setting = crate::farm::site_settings::change(&settings);
        let generation = self.state.generation();
        self.state.site_settings.take_written(site, settings, generation);
        self.puts += 1;
        self.unapplied += 1;
    }

    pub(super) fn list(&mut self) {
        self.state.trouble = None;
        self.state.breaker.record_success();
        drop(self.state.take_list(vec![primary()], self.now, None));
    }

    /// One broker looks at the farm and tries its step.
    pub(super) fn reconcile(&mut self) {
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
        assert!(!need.writes || self.state.ledger.pending.is_some(), "a write before it was written down");
        self.flying.push(need);
        self.needs.remove(&key);
    }

    pub(super) fn is_promoting(&self) -> bool {
        matches!(self.promotion, Promotion::Sent | Promotion::Open)
    }

    /// The promotion's own reconcile: it looks again and again.
    pub(super) fn promote(&mut self) {
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
                assert!(self.state.ledger.pending.is_some(), "a promotion before it was written down");
                assert!(!matches!(self.doing, Some((Task::Apply | Task::OpenBatch, _))));
                self.spend(1);
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
    pub(super) fn land(&mut self, pace: Pace) {
        let Some(index) = self.flying.iter().position(|need| need.pace == pace) else { return };
        let need = self.flying.remove(index);
        // As late as can be.
        self.spend(need.calls.min(usize::try_from(self.requests).unwrap()));
        if need.writes {
            assert!(self.state.ledger.pending.is_some(), "an unanswered write, and nothing says so");
            self.unapplied += 1;
            self.state.batch.touch(self.now);
        }
        self.state.batch.end(self.now, pace);
    }

    /// Calls that were admitted go out.
    pub(super) fn spend(&mut self, calls: usize) {
        for _ in 0..calls {
            self.state.limiter.spend(self.now);
            self.grants.push(self.now);
        }
    }

    pub(super) fn assert_limit(&self) {
        let requests = usize::try_from(self.requests).unwrap();
        for window in self.grants.windows(requests + 1) {
            assert!(
                window[requests].saturating_sub(window[0]) >= ms(2_000),
                "more calls in a window than allowed"
            );
        }
    }

    /// Everybody does what it can, in turns, until nobody has anything left to do.
    pub(super) fn play_on(&mut self) {
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
pub(super) enum Move {
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

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
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

pub(super) fn play(game: &mut Game, mode: &str, moves: Vec<Move>) {
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

//! The farm's state as a value: what is known, what waits, and what the actor does next. No I/O.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::batch::{Batch, Pace};
use super::breaker::{Breaker, BreakerConfig};
use super::capability::Capabilities;
use super::ledger::Ledger;
use super::limiter::RateLimiter;
use super::moves::MovesState;
use super::promote::Promotions;
use super::queue::Queue;
use super::service::Sites;
use super::settings::connection;
use super::site_settings::SiteSettings;
use super::snapshot::{RowKey, Snapshot};
use super::view::Hold;
use crate::broker::canonical::ServerName;
use crate::broker::observe::row_fields;
use crate::clock::Now;
use crate::crd::condition::Reason;
use crate::crd::{Capability, FailedLogons, RasFarm, annotation};
use crate::ras::{self, LogonLimit};

/// Three failures in a row, or within a minute, are no accident; a minute is the longest a recovered farm waits.
const BREAKER: BreakerConfig = BreakerConfig {
    threshold: 3,
    window: Duration::from_mins(1),
    first_delay: Duration::from_secs(2),
    longest_delay: Duration::from_mins(1),
    probe_timeout: Duration::from_mins(2),
};

/// A logon that is in use.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: ras::Client,
    pub(super) session: ras::Session,
    /// Brokers' calls that are on their way with this session: it is given back after the last of them.
    pub(super) calls: TaskTracker,
    pub(super) account: String,
    pub(super) secret_name: String,
    pub(super) secret_version: String,
    pub(super) identity: String,
    /// Kept until the farm's last broker is gone: its Secret may be deleted before the brokers are.
    pub(super) credentials: ras::Credentials,
}

impl Link {
    /// Whether no call is on its way with this session.
    pub(super) fn is_unused(&self) -> bool {
        self.calls.is_empty()
    }
}

/// Why the farm cannot be used, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) hold: Hold,
    pub(super) retry_at: Duration,
}

/// What the actor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Read settings and Secret, log on, list.
    Connect,
    /// Look at the Secret, list brokers and agents.
    Poll,
    /// List brokers.
    List,
    /// Make sure that only our own changes will be applied, and write down that some are on their way.
    OpenBatch,
    /// Send one Apply.
    Apply,
    /// Read the settings of one site.
    ReadSettings,
    /// Write the settings of one site.
    WriteSettings,
    /// Log off from sessions that were replaced and are not used any more.
    GiveBack,
    /// Write the farm's status.
    Report,
    /// Nothing for this long, unless something happens.
    Rest(Duration),
}

/// Everything known of one farm.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a phase")]
pub(super) struct FarmState {
    pub(super) object: Arc<RasFarm>,
    pub(super) link: Option<Link>,
    /// Sessions that were replaced: each is given back after the last call that uses it.
    pub(super) retired: Vec<Link>,
    /// Reconciles of all farms that may wait for an agent to be installed or removed.
    pub(super) workers: Arc<Semaphore>,
    pub(super) trouble: Option<Trouble>,
    /// Since when the farm has not been usable.
    pub(super) down_since: Option<Duration>,
    pub(super) overdue_told: bool,
    /// Whether an event said that calls have stopped.
    pub(super) circuit_told: bool,
    pub(super) unavailable_after: Duration,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) sites: Vec<ras::Site>,
    pub(super) limiter: RateLimiter,
    pub(super) breaker: Breaker,
    pub(super) logons: LogonLimit,
    pub(super) batch: Batch,
    pub(super) queue: Queue,
    pub(super) promotions: Promotions,
    pub(super) ledger: Ledger,
    /// What of the sites' service is changed and not applied, and who waits for that.
    pub(super) service: Sites,
    pub(super) moves: MovesState,
    /// Why no write is sent although the farm answers.
    pub(super) foreign: Option<Hold>,
    /// Why the last Apply of our own changes did not go through.
    pub(super) apply_trouble: Option<Hold>,
    /// Why an Apply that was asked for, while nothing of ours was pending, did not go through.
    pub(super) asked_apply_refused: Option<String>,
    /// What is wrong with the Secret while the session that it gave still works.
    pub(super) secret_trouble: Option<Hold>,
    /// What the API server last refused.
    pub(super) kubernetes_trouble: crate::telemetry::Trouble,
    /// The hold that brokers were told of.
    pub(super) told_hold: Option<Hold>,
    /// Whether the object changed in a way that all brokers show.
    pub(super) object_news: bool,
    /// The last look at the farm that was asked for and taken, answered or not.
    pub(super) look_taken: Option<String>,
    /// Sites that brokers are in and the list of sites lacked when it was last read.
    pub(super) unknown_sites: BTreeSet<i64>,
    /// Whether `applySettingsEnabled` was seen to fall after an Apply; `None` until it was looked at.
    pub(super) guard_works: Option<bool>,
    pub(super) learnt_account: Option<String>,
    pub(super) capabilities: Capabilities,
    /// What the farm shows of the settings that the object keeps.
    pub(super) site_settings: SiteSettings,
    pub(super) apply_handled: Option<String>,
    pub(super) reconcile_handled: Option<String>,
    pub(super) polled_at: Option<Duration>,
    pub(super) list_asked: bool,
    pub(super) session_expired: bool,
    /// Whether the object names other ways to connect than those that were tried last: until they are, nothing is
    /// said about this generation.
    pub(super) starting_over: bool,
    /// How often in a row a list was refused with 401.
    pub(super) refusals: u32,
    pub(super) date: Option<(Timestamp, Duration)>,
    pub(super) unreported: bool,
    /// Whether a list had an older version of the object than is known: it is read before it is written.
    pub(super) doubted: bool,
    pub(super) reported_at: Option<Duration>,
}

impl FarmState {
    /// The state at start: what the last status says is taken over, the rest is unknown.
    pub(super) fn new(object: Arc<RasFarm>, unavailable_after: Duration, workers: Arc<Semaphore>) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let logons = status.failed_logons.map(logon_failures);
        let (requests, window) = rate_limit(&object);
        Self {
            link: None,
            retired: Vec::new(),
            workers,
            trouble: None,
            down_since: None,
            overdue_told: false,
            circuit_told: false,
            unavailable_after,
            snapshot: Arc::default(),
            sites: Vec::new(),
            limiter: RateLimiter::new(requests, window),
            breaker: Breaker::new(BREAKER),
            logons: LogonLimit::new(logons),
            batch: Batch::default(),
            queue: Queue::default(),
            promotions: Promotions::default(),
            service: Sites::new(status.pending_apply.is_some()),
            ledger: Ledger::inherit(status.pending_apply),
            moves: MovesState::default(),
            foreign: None,
            apply_trouble: None,
            asked_apply_refused: None,
            secret_trouble: None,
            kubernetes_trouble: crate::telemetry::Trouble::default(),
            told_hold: None,
            object_news: false,
            look_taken: None,
            unknown_sites: BTreeSet::new(),
            guard_works: None,
            learnt_account: status.account,
            capabilities: Capabilities::new(&status.capabilities),
            site_settings: SiteSettings::new(&status.sites),
            apply_handled: status.last_handled_apply_at,
            reconcile_handled: status.last_handled_reconcile_at,
            polled_at: None,
            list_asked: false,
            session_expired: false,
            starting_over: false,
            refusals: 0,
            date: None,
            unreported: true,
            doubted: false,
            reported_at: None,
            object,
        }
    }

    /// Starts anew from the newest version of the object. Brokers may have queued meanwhile.
    pub(super) fn resume(&mut self, object: Arc<RasFarm>) {
        let queue = std::mem::take(&mut self.queue);
        let workers = Arc::clone(&self.workers);
        *self = Self { queue, ..Self::new(object, self.unavailable_after, workers) };
    }

    /// Takes over another version of the object.
    pub(super) fn set_object(&mut self, object: Arc<RasFarm>) {
        let allowed = |object: &RasFarm| object.annotations().get(annotation::ALLOW_MASS_DELETION).cloned();
        self.object_news |= self.object.spec != object.spec
            || self.object.metadata.deletion_timestamp != object.metadata.deletion_timestamp
            || allowed(&self.object) != allowed(&object);
        self.unreported |= self.object.metadata.generation != object.metadata.generation
            || self.object.metadata.annotations != object.metadata.annotations
            || self.object.metadata.deletion_timestamp != object.metadata.deletion_timestamp;
        let before = std::mem::replace(&mut self.object, object);
        self.doubted = false;
        let (requests, window) = rate_limit(&self.object);
        self.limiter.configure(requests, window);
        self.compare_connection(&before);
    }

    /// Where what a session depends on has changed since, another is opened at once, whatever the pauses were.
    pub(super) fn compare_connection(&mut self, before: &RasFarm) {
        if connection(before) == connection(&self.object) {
            return;
        }
        self.session_expired = true;
        self.starting_over = true;
        self.try_lacks_again();
        self.breaker = Breaker::new(BREAKER);
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = Duration::ZERO;
        }
    }

    /// Takes over a session in place of the one before it. Nothing that was known of another farm is kept.
    pub(super) fn take_link(&mut self, link: Link, sites: Vec<ras::Site>) {
        if self.identity().is_some_and(|known| known != link.identity) {
            self.forget_farm();
        }
        self.session_expired = false;
        self.starting_over = false;
        self.sites = sites;
        self.unknown_sites.clear();
        self.capabilities.forget_lack(Capability::PromotionSettings);
        // The account is taken again.
        let spared = self.foreign.take_if(|hold| hold.reason == Reason::AuthenticationFailed);
        self.unreported |= spared.is_some();
        self.replace_link(link);
    }

    /// The session before it is given back once it is not used any more: an installation may take as long as fifteen
    /// others take.
    pub(super) fn replace_link(&mut self, link: Link) {
        self.retired.extend(self.link.replace(link));
    }

    /// A replaced session that is not used any more.
    pub(super) fn take_retired(&mut self) -> Option<Link> {
        let index = self.retired.iter().position(Link::is_unused)?;
        Some(self.retired.swap_remove(index))
    }

    /// A write without an answer may take effect for as long as its quarantine lasts: another Apply follows then.
    pub(super) fn expect_late_writes(&mut self, now: Now, pace: Pace) {
        self.ledger.expect_late_until(now.boot + self.limits().quarantine(pace == Pace::Install));
    }

    /// How long a write of a moment that was not answered may still take effect.
    pub(super) fn late_writes(&self) -> Duration {
        self.limits().quarantine(false)
    }

    /// The farm's recorded identity.
    pub(super) fn identity(&self) -> Option<String> {
        let accepted = self.link.as_ref().map(|link| link.identity.clone());
        accepted.or_else(|| self.object.status.as_ref().and_then(|status| status.farm_guid.clone()))
    }

    fn forget_farm(&mut self) {
        self.snapshot = Arc::default();
        self.polled_at = None;
        self.capabilities = Capabilities::default();
        self.site_settings = SiteSettings::default();
        self.moves = MovesState { sites: std::mem::take(&mut self.moves.sites), ..MovesState::default() };
        self.ledger.forget();
        self.service.forget();
        self.batch.close();
        self.foreign = None;
        self.apply_trouble = None;
        self.guard_works = None;
        self.learnt_account = None;
    }

    /// Whether the session is on the primary; `None` where the farm does not say.
    pub(super) fn primary(&self) -> Option<bool> {
        self.link.as_ref().and_then(|link| link.session.primary_broker_connection)
    }

    /// Whether a list of this process has been taken over.
    pub(super) fn is_listed(&self) -> bool {
        self.polled_at.is_some()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.object.annotations().get(name).map(String::as_str)
    }

    fn request(&self, name: &str) -> Option<&str> {
        self.annotation(name).map(annotation::request)
    }

    /// An Apply that was asked for and not answered yet.
    pub(super) fn apply_asked(&self) -> Option<&str> {
        self.request(annotation::APPLY_REQUESTED_AT)
            .filter(|asked| Some(*asked) != self.apply_handled.as_deref())
    }

    /// A look at the farm that was asked for and not done yet.
    pub(super) fn reconcile_asked(&self) -> Option<&str> {
        let asked = self
            .request(annotation::RECONCILE_REQUESTED_AT)
            .or_else(|| self.request(annotation::FLUX_REQUESTED_AT));
        asked.filter(|asked| Some(*asked) != self.reconcile_handled.as_deref())
    }

    /// Takes over a list that was asked for at `asked`; answers which rows changed.
    pub(super) fn take_list(
        &mut self,
        rows: Vec<ras::Broker>,
        asked: Duration,
        date: Option<Timestamp>,
    ) -> HashSet<RowKey> {
        let mut next = self.snapshot.next(rows, asked, date);
        for row in self.ledger.rows_since(asked) {
            next.put(row.clone());
        }
        self.list_asked = false;
        // Most rows are as they were, which costs no look at their names.
        let is_new =
            |row: &&Arc<ras::Broker>| self.snapshot.row(row.id) != Some(row) && self.has_arrived(row);
        let arrivals: Vec<i64> = next.rows().filter(is_new).map(|row| row.id).collect();
        self.ledger.listed(|id| next.row(id).is_some(), arrivals);
        self.session_expired |= self.is_overtaken_by(&next);
        let mut changed = self.snapshot.changed_keys(&next);
        self.service.listed(asked);
        if self.ledger.pending.is_some() && self.is_listed() {
            next.rows().for_each(|row| self.service.seen(&self.snapshot, row));
        }
        self.snapshot = Arc::new(next);
        if !changed.is_empty() {
            self.service.moved();
        }
        self.unreported |= !changed.is_empty();
        changed.extend(self.take_order());
        changed
    }

    /// Whether what was known lacks this row, or shows another one in its place: also one of other values, while something
    /// that an earlier process has sent may still come.
    fn has_arrived(&self, row: &ras::Broker) -> bool {
        let is_same = |before: &ras::Broker| {
            RowKey::of(before) == RowKey::of(row) && before.time_create == row.time_create
        };
        let is_as_it_was =
            |before: &ras::Broker| row_fields(before) == row_fields(row) && before.priority == row.priority;
        self.is_listed()
            && self
                .snapshot
                .row(row.id)
                .is_none_or(|before| !is_same(before) || self.service.may_inherit() && !is_as_it_was(before))
    }

    /// Whether what the logon said of the session's broker, that it is the primary or that it is not, was so in the
    /// last list and is not in this one: then it is asked anew.
    fn is_overtaken_by(&self, next: &Snapshot) -> bool {
        let Some(session) = self.link.as_ref().map(|link| &link.session) else { return false };
        let (Some(said), Some(server)) = (session.primary_broker_connection, &session.connected_server)
        else {
            return false;
        };
        let server = ServerName::new(server);
        let shown = |snapshot: &Snapshot| {
            let mut rows = snapshot.rows().filter(|row| ServerName::new(&row.server) == server);
            rows.next().and_then(|row| row.priority).map(|priority| priority == 0)
        };
        shown(&self.snapshot) == Some(said) && shown(next) == Some(!said)
    }

    /// Takes over a row that a read by id was answered with.
    pub(super) fn take_row(&mut self, row: ras::Broker, now: Now) {
        if self.has_arrived(&row) {
            self.ledger.arrives(row.id);
        }
        if self.ledger.pending.is_some() {
            self.service.seen(&self.snapshot, &row);
        }
        self.put_row(row, now);
    }

    /// Takes over a row that a write was answered with.
    pub(super) fn put_row(&mut self, row: ras::Broker, now: Now) {
        let row = self.snapshot.by_itself(row);
        self.ledger.put_row(row.clone(), now.boot);
        Arc::make_mut(&mut self.snapshot).put(row);
    }

    /// Takes over what any answer tells beside what was asked.
    pub(super) fn note(&mut self, error: Option<&ras::Error>, date: Option<Timestamp>, now: Now) {
        if let Some(date) = date {
            self.date = Some((date, now.boot));
        }
        let Some(error) = error else { return };
        self.session_expired |= error.is_unauthorized();
        self.note_limit(error, now);
        // A call without an answer is a reason to look whether the farm still answers at all.
        self.list_asked |= error.outcome() == ras::Outcome::Unknown && self.trouble.is_none();
    }

    /// Leaves the farm alone for as long as it asks.
    pub(super) fn note_limit(&mut self, error: &ras::Error, now: Now) {
        if error.is_rate_limited() {
            let pause = error.retry_after().unwrap_or_else(|| self.object.spec.rate_limit.window.get());
            self.limiter.retry_after(now.boot + pause);
        }
    }

    /// The farm's own clock, as of its last answer.
    pub(super) fn farm_time(&self, now: Now) -> Timestamp {
        let Some((date, at)) = self.date else { return now.wall };
        let passed = jiff::SignedDuration::try_from(now.since(at)).unwrap_or_default();
        date.saturating_add(passed).unwrap_or(now.wall)
    }
}

fn logon_failures(told: FailedLogons) -> ras::LogonFailures {
    ras::LogonFailures {
        secret_version: told.secret_version,
        count: u32::try_from(told.count).unwrap_or(u32::MAX),
        last: told.last.0,
    }
}

fn rate_limit(object: &RasFarm) -> (u32, Duration) {
    let limit = &object.spec.rate_limit;
    (u32::try_from(limit.requests).unwrap_or(1), limit.window.get())
}

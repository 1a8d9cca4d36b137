//! The farm's state as a value: what is known, what waits, and what the actor does next. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::batch::{Batch, Due};
use super::breaker::{Breaker, BreakerConfig};
use super::limiter::{RateLimiter, Take};
use super::queue::{Need, Queue};
use super::snapshot::{RowKey, Snapshot};
use super::view::{DeletionLimits, FarmFacts, FarmView, Hold, Outage, Unapplied};
use crate::broker::intent::quarantine_of;
use crate::clock::Now;
use crate::crd::condition::Reason;
use crate::crd::{ApplyMode, PendingApply, RasFarm, Separator, annotation};
use crate::kubernetes::ObjectKey;
use crate::ras::{self, LogonLimit};

/// Calls of brokers on their way at one time to one farm: RAS is an administration service, not a database.
const PLACES: usize = 8;
/// A list is renewed a little before it is too old to create on.
const LIST_RENEWAL: Duration = Duration::from_secs(8);
/// Status is written at most this often, but for what must be written before a step.
const REPORT_PAUSE: Duration = Duration::from_secs(5);

/// The shortest rest of an actor that waits for a free call.
const SHORT: Duration = Duration::from_millis(50);

const BREAKER: BreakerConfig = BreakerConfig {
    threshold: 3,
    window: Duration::from_secs(60),
    first_delay: Duration::from_secs(2),
    longest_delay: Duration::from_secs(60),
    probe_timeout: Duration::from_secs(120),
};

/// A logon that is in use.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: ras::Client,
    pub(super) session: ras::Session,
    pub(super) account: String,
    pub(super) secret_version: String,
    pub(super) identity: String,
    /// Kept until the farm's last broker is gone: its Secret may be deleted before the brokers are.
    pub(super) credentials: ras::Credentials,
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
    /// Forget a batch in which nothing reached the farm.
    CloseBatch,
    /// Write the farm's status.
    Report,
    /// Nothing for this long, unless something happens.
    Rest(Duration),
}

/// Everything known of one farm.
#[derive(Debug)]
pub(super) struct FarmState {
    pub(super) object: Arc<RasFarm>,
    pub(super) link: Option<Link>,
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
    pub(super) unapplied: HashMap<ObjectKey, Unapplied>,
    pub(super) own_deletes: HashSet<i64>,
    /// Rows written since a list was asked for: laid over a list that may be from before them.
    pub(super) written: Vec<(Duration, ras::Broker)>,
    pub(super) sent_deletions: Vec<Timestamp>,
    /// Why no write is sent although the farm answers.
    pub(super) foreign: Option<Hold>,
    /// Why the last Apply did not go through.
    pub(super) apply_trouble: Option<Hold>,
    /// Whether `applySettingsEnabled` was seen to fall after an Apply; `None` until it was looked at.
    pub(super) guard_works: Option<bool>,
    pub(super) pending: Option<PendingApply>,
    pub(super) learnt_account: Option<String>,
    pub(super) applied_at: Option<Duration>,
    pub(super) apply_handled: Option<String>,
    pub(super) reconcile_handled: Option<String>,
    pub(super) polled_at: Option<Duration>,
    pub(super) list_asked: bool,
    pub(super) session_expired: bool,
    /// How often in a row a list was refused with 401.
    pub(super) refusals: u32,
    /// Until when a write without an answer may still take effect.
    pub(super) unanswered_until: Option<Duration>,
    pub(super) date: Option<(Timestamp, Duration)>,
    pub(super) unreported: bool,
    pub(super) reported_at: Option<Duration>,
}

impl FarmState {
    /// The state at start: what the last status says is taken over, the rest is unknown.
    pub(super) fn new(object: Arc<RasFarm>, unavailable_after: Duration) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let logons = status.failed_logons.map(|failed| ras::LogonFailures {
            secret_version: failed.secret_version,
            count: u32::try_from(failed.count).unwrap_or(u32::MAX),
            last: failed.last.0,
        });
        let (requests, window) = rate_limit(&object);
        Self {
            link: None,
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
            unapplied: HashMap::new(),
            own_deletes: HashSet::new(),
            written: Vec::new(),
            sent_deletions: Vec::new(),
            foreign: None,
            apply_trouble: None,
            guard_works: None,
            pending: status.pending_apply,
            learnt_account: status.account,
            applied_at: None,
            apply_handled: status.last_handled_apply_at,
            reconcile_handled: status.last_handled_reconcile_at,
            polled_at: None,
            list_asked: false,
            session_expired: false,
            refusals: 0,
            unanswered_until: None,
            date: None,
            unreported: true,
            reported_at: None,
            object,
        }
    }

    /// Takes over another version of the object; whether its spec changed.
    pub(super) fn set_object(&mut self, object: Arc<RasFarm>) -> bool {
        let changed = self.object.spec != object.spec;
        self.unreported |= self.object.metadata.generation != object.metadata.generation
            || self.object.metadata.annotations != object.metadata.annotations
            || self.object.metadata.deletion_timestamp != object.metadata.deletion_timestamp;
        self.object = object;
        let (requests, window) = rate_limit(&self.object);
        self.limiter.configure(requests, window);
        changed
    }

    /// Whether a list of this process has been taken over.
    pub(super) fn is_listed(&self) -> bool {
        self.polled_at.is_some()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.object.annotations().get(name).map(String::as_str)
    }

    /// An Apply that was asked for and not answered yet.
    pub(super) fn apply_asked(&self) -> Option<&str> {
        self.annotation(annotation::APPLY_REQUESTED_AT)
            .filter(|asked| Some(*asked) != self.apply_handled.as_deref())
    }

    /// A look at the farm that was asked for and not done yet.
    pub(super) fn reconcile_asked(&self) -> Option<&str> {
        let asked = self
            .annotation(annotation::RECONCILE_REQUESTED_AT)
            .or_else(|| self.annotation(annotation::FLUX_REQUESTED_AT));
        asked.filter(|asked| Some(*asked) != self.reconcile_handled.as_deref())
    }

    /// What the actor does next. Taking a grant of the limiter is part of the decision.
    pub(super) fn next(&mut self, now: Now) -> Task {
        let report_at = self.reported_at.map_or(now.boot, |at| at + REPORT_PAUSE);
        if self.unreported && report_at <= now.boot && (self.is_listed() || self.trouble.is_some()) {
            return Task::Report;
        }
        let report_in = if self.unreported { report_at.saturating_sub(now.boot) } else { Duration::MAX };
        match self.next_of_farm(now) {
            Task::Rest(rest) => Task::Rest(rest.min(report_in).max(Duration::from_millis(1))),
            task => task,
        }
    }

    fn next_of_farm(&mut self, now: Now) -> Task {
        let connected = self.link.is_some() && !self.session_expired;
        if let Some(trouble) = &self.trouble {
            let rest = trouble.retry_at.saturating_sub(now.boot);
            return match (rest.is_zero() || self.reconcile_asked().is_some(), connected) {
                // A session that was good before may be good still: a list finds out.
                (true, true) => Task::Poll,
                (true, false) => Task::Connect,
                (false, _) => Task::Rest(rest.min(self.overdue_in(now))),
            };
        }
        if !connected {
            return Task::Connect;
        }
        let rest = match self.next_of_batch(now) {
            Ok(task) => return self.granted(task, now),
            Err(rest) => rest,
        };
        let poll_at = self.polled_at.map_or(now.boot, |at| at + self.object.spec.resync_period.get());
        if poll_at <= now.boot || self.reconcile_asked().is_some() {
            return self.granted(Task::Poll, now);
        }
        if self.list_asked {
            return self.granted(Task::List, now);
        }
        Task::Rest(rest.min(poll_at - now.boot))
    }

    fn next_of_batch(&mut self, now: Now) -> Result<Task, Duration> {
        let stale = now.since(self.snapshot.listed_at) > LIST_RENEWAL;
        if stale && self.queue.any(|need| need.fresh_list) {
            return Ok(Task::List);
        }
        let asked = self.apply_asked().is_some();
        let due = self.batch.due(now.boot, self.queue.len(), self.object.spec.apply.mode, asked);
        let wait = match due {
            Due::Apply if !self.object.spec.suspend => return Ok(Task::Apply),
            Due::Close => return Ok(Task::CloseBatch),
            Due::At(at) => at.saturating_sub(now.boot),
            Due::Apply | Due::Never => Duration::MAX,
        };
        if self.batch.is_closed() && self.queue.any(|need| need.writes) && self.hold().is_none() {
            return Ok(Task::OpenBatch);
        }
        // Whoever waits only for a free call is called when there is one.
        let call = if self.queue.len() > 0 { self.limiter.wait(now.boot).max(SHORT) } else { Duration::MAX };
        Err(wait.min(call))
    }

    /// The actor's own calls go through the same limit as everybody's.
    fn granted(&mut self, task: Task, now: Now) -> Task {
        let calls = match task {
            Task::List | Task::Connect => 1,
            Task::Poll | Task::OpenBatch => 2,
            Task::Apply => 3,
            Task::CloseBatch | Task::Report | Task::Rest(_) => 0,
        };
        if self.limiter.available(now.boot) < calls.min(self.limiter.limit()) {
            return Task::Rest(self.limiter.wait(now.boot).max(SHORT));
        }
        self.take(calls, now);
        task
    }

    fn take(&mut self, calls: usize, now: Now) {
        for _ in 0..calls {
            // A limit below what one task needs is stretched by that task, rather than never met.
            if self.limiter.take(now.boot) != Take::Granted {
                break;
            }
        }
    }

    fn overdue_in(&self, now: Now) -> Duration {
        match self.down_since {
            Some(since) if !self.overdue_told => (since + self.unavailable_after).saturating_sub(now.boot),
            Some(_) | None => Duration::MAX,
        }
    }

    /// Whether the farm has been down for so long that its brokers must say so, told once.
    pub(super) fn is_newly_overdue(&mut self, now: Now) -> bool {
        let newly = !self.overdue_told && self.overdue_in(now).is_zero();
        self.overdue_told |= newly;
        newly
    }

    /// The brokers whose turn it is.
    pub(super) fn call(&mut self, now: Now) -> Vec<ObjectKey> {
        if self.hold().is_some() || self.trouble.is_some() {
            return self.queue.call_all();
        }
        let writable = self.batch.admits(now.boot);
        let fresh = now.since(self.snapshot.listed_at) <= LIST_RENEWAL;
        let places = PLACES.saturating_sub(self.batch.in_flight());
        let calls = self.limiter.available(now.boot);
        self.queue
            .call(now.boot, calls, places, |need| (writable || !need.writes) && (fresh || !need.fresh_list))
    }

    /// Whether a broker's step may make its calls now. If not, the broker is queued, and called when it may.
    pub(super) fn admit(&mut self, key: &ObjectKey, need: Need, now: Now) -> bool {
        let usable = self.link.is_some() && self.trouble.is_none() && !self.session_expired;
        let writable = !need.writes || (self.batch.admits(now.boot) && self.hold().is_none());
        let fresh = !need.fresh_list || now.since(self.snapshot.listed_at) <= crate::broker::plan::FRESH;
        let free = self.batch.in_flight() < PLACES
            && self.limiter.available(now.boot) >= need.calls.min(self.limiter.limit());
        if usable && writable && fresh && free && self.queue.is_turn_of(key) {
            self.take(need.calls, now);
            self.queue.leave(key);
            self.batch.begin();
            return true;
        }
        self.queue.join(key, need);
        false
    }

    /// Whatever keeps writes back although the farm answers.
    pub(super) fn hold(&self) -> Option<Hold> {
        let name = self.object.name_any();
        if self.object.spec.suspend {
            let text = format!(
                "RasFarm {name:?} is suspended: nothing is written to the farm until its spec.suspend is false."
            );
            return Some(Hold::new(Reason::Suspended, text));
        }
        let primary = self.link.as_ref().and_then(|link| link.session.primary_broker_connection);
        if primary == Some(false) {
            let text = format!(
                "RasFarm {name:?} is connected to a broker that is not the primary, which takes no changes: point \
                 spec.endpoint, or one of spec.fallbackEndpoints, at the primary's RAS Web Administration Service."
            );
            return Some(Hold::new(Reason::NotPrimary, text));
        }
        self.foreign.clone().or_else(|| self.apply_trouble.clone())
    }

    /// Takes over a list that was asked for at `asked`; answers which rows changed.
    pub(super) fn take_list(
        &mut self,
        rows: Vec<ras::Broker>,
        asked: Duration,
        date: Option<Timestamp>,
    ) -> HashSet<RowKey> {
        let mut next = self.snapshot.next(rows, asked, date);
        self.written.retain(|(at, _)| *at >= asked);
        for (_, row) in &self.written {
            next.put(row.clone());
        }
        self.list_asked = false;
        let changed = self.snapshot.changed_keys(&next);
        self.snapshot = Arc::new(next);
        self.unreported |= !changed.is_empty();
        changed
    }

    /// Takes over a row that a write or a read by id was answered with.
    pub(super) fn put_row(&mut self, row: ras::Broker, now: Now) {
        self.written.push((now.boot, row.clone()));
        Arc::make_mut(&mut self.snapshot).put(row);
    }

    /// Takes over what any answer tells beside what was asked.
    pub(super) fn note(&mut self, error: Option<&ras::Error>, date: Option<Timestamp>, now: Now) {
        if let Some(date) = date {
            self.date = Some((date, now.boot));
        }
        let Some(error) = error else { return };
        self.session_expired |= error.is_unauthorized();
        if error.is_rate_limited() {
            let pause = error.retry_after().unwrap_or_else(|| self.object.spec.rate_limit.window.get());
            self.limiter.retry_after(now.boot + pause);
        }
        // A call without an answer is a reason to look whether the farm still answers at all.
        self.list_asked |= error.outcome() == ras::Outcome::Unknown && self.trouble.is_none();
    }

    /// The farm's own clock, as of its last answer.
    pub(super) fn farm_time(&self, now: Now) -> Timestamp {
        let Some((date, at)) = self.date else { return now.wall };
        let passed = jiff::SignedDuration::try_from(now.since(at)).unwrap_or_default();
        date.saturating_add(passed).unwrap_or(now.wall)
    }

    /// What brokers see.
    pub(super) fn view(&self, now: Now) -> FarmView {
        if let Some(trouble) = &self.trouble {
            return FarmView::Down(Outage { hold: trouble.hold.clone(), overdue: self.overdue_told });
        }
        match &self.link {
            Some(link) if self.is_listed() => FarmView::Up(Arc::new(self.facts(link, now))),
            Some(_) | None => FarmView::Starting,
        }
    }

    fn facts(&self, link: &Link, now: Now) -> FarmFacts {
        let spec = &self.object.spec;
        let licensing = self.sites.iter().find(|site| site.licensing_site).map(|site| site.id);
        FarmFacts {
            identity: link.identity.clone(),
            default_site: spec.site_id.or(licensing),
            sites: self.sites.iter().map(|site| (site.id, site.name.clone())).collect(),
            snapshot: Arc::clone(&self.snapshot),
            account: link.account.clone(),
            learnt_account: self.learnt_account.clone(),
            farm_time: self.farm_time(now),
            quarantine: quarantine_of(spec.request_timeout.get()),
            separator: match spec.api.alternative_ips_separator {
                Some(Separator::Semicolon) => ';',
                // The REST reference says comma; every administrator's guide says semicolon.
                Some(Separator::Comma) | None => ',',
            },
            hold: self.hold(),
            terminating: self.object.metadata.deletion_timestamp.is_some(),
            mode: spec.apply.mode,
            applied_at: self.applied_at,
            deletions: self.deletion_limits(),
        }
    }

    fn deletion_limits(&self) -> DeletionLimits {
        let protection = &self.object.spec.deletion_protection;
        let allowed = self.annotation(annotation::ALLOW_MASS_DELETION).and_then(|text| text.parse().ok());
        DeletionLimits {
            threshold: usize::try_from(protection.threshold).unwrap_or_default(),
            window: protection.window.get(),
            allowed_before: allowed,
            sent: self.sent_deletions.clone(),
        }
    }

    /// Whether pending changes of others keep our writes back.
    pub(super) fn is_guarded(&self) -> bool {
        self.object.spec.apply.mode == ApplyMode::Guarded && self.guard_works != Some(false)
    }

    /// A row that somebody else marked for deletion, which an Apply of ours would remove.
    pub(super) fn foreign_mark(&self) -> Option<&ras::Broker> {
        let foreign = |row: &&Arc<ras::Broker>| {
            row.marked_for_deletion == Some(true) && !self.own_deletes.contains(&row.id)
        };
        self.snapshot.rows().find(foreign).map(Arc::as_ref)
    }
}

fn rate_limit(object: &RasFarm) -> (u32, Duration) {
    let limit = &object.spec.rate_limit;
    (u32::try_from(limit.requests).unwrap_or(1), limit.window.get())
}

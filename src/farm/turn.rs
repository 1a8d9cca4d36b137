//! Whose turn it is: what the actor does next, and which broker may make its calls. Decided on the state alone.

use std::time::Duration;

use super::batch::{Due, Pace};
use super::queue::Need;
use super::state::{FarmState, Link, Task};
use crate::broker::plan::FRESH;
use crate::clock::Now;
use crate::kubernetes::ObjectKey;

/// Calls of brokers on their way at one time to one farm: RAS is an administration service, not a database.
const PLACES: usize = 8;
/// The same of calls that install or remove an agent, beside the others: each keeps a server and the farm busy for
/// minutes.
const INSTALLS: usize = 4;
/// Status is written at most this often, but for what must be written before a step.
const REPORT_PAUSE: Duration = Duration::from_secs(5);
/// The shortest rest of an actor that waits for a free call.
const SHORT: Duration = Duration::from_millis(50);
/// What a poll calls: brokers and agents.
const POLL_CALLS: usize = 2;

impl FarmState {
    /// What the actor does next. What must not be overtaken by a broker is done here, under the same lock: a batch
    /// that is being applied or closed takes no write any more.
    pub(super) fn next(&mut self, now: Now) -> Task {
        let promotion_ends_in = self.promotions.expire(now);
        if self.retired.iter().any(Link::is_unused) {
            return Task::GiveBack;
        }
        let report_at = self.reported_at.map_or(now.boot, |at| at + REPORT_PAUSE);
        let is_known = (self.is_listed() || self.trouble.is_some()) && !self.starting_over;
        if self.unreported && report_at <= now.boot && is_known {
            return Task::Report;
        }
        let report_in =
            if self.unreported && is_known { report_at.saturating_sub(now.boot) } else { Duration::MAX };
        match self.next_of_farm(now) {
            Task::Rest(rest) => {
                Task::Rest(rest.min(report_in).min(promotion_ends_in).max(Duration::from_millis(1)))
            }
            task @ (Task::Connect
            | Task::Poll
            | Task::List
            | Task::OpenBatch
            | Task::Apply
            | Task::ReadSettings
            | Task::WriteSettings
            | Task::GiveBack
            | Task::Report) => task,
        }
    }

    fn next_of_farm(&mut self, now: Now) -> Task {
        if let Some(trouble) = &self.trouble {
            let rest = trouble.retry_at.saturating_sub(now.boot);
            return if rest.is_zero() || self.is_look_asked() {
                self.probe(now)
            } else {
                Task::Rest(rest.min(self.overdue_in(now)))
            };
        }
        if !self.is_connected() {
            return self.granted(Task::Connect, now);
        }
        // Where no call is free for it, what is free is for the others.
        if self.is_neglected(now) && self.granted(Task::Poll, now) == Task::Poll {
            return Task::Poll;
        }
        let rest = match self.next_of_batch(now) {
            Ok(task) => return task,
            Err(rest) => rest,
        };
        let poll_in = self.poll_in(now);
        if poll_in.is_zero() || self.is_look_asked() {
            let task = self.granted(Task::Poll, now);
            return self.look(task);
        }
        if self.list_asked {
            return self.granted(Task::List, now);
        }
        if self.settings_to_read().is_some() {
            return self.granted(Task::ReadSettings, now);
        }
        Task::Rest(rest.min(poll_in).min(self.site_settings.retry_in(now)))
    }

    /// One look at a farm in trouble. A session that was good before may be good still: then a list finds out.
    fn probe(&mut self, now: Now) -> Task {
        let task = if self.is_connected() { Task::Poll } else { Task::Connect };
        let task = self.granted(task, now);
        if !matches!(task, Task::Rest(_)) {
            self.breaker.probe(now.boot);
        }
        self.look(task)
    }

    /// A look that a person asked for is taken at once, and once: if it fails, the pauses go on as before.
    fn look(&mut self, task: Task) -> Task {
        if !matches!(task, Task::Rest(_)) {
            self.look_taken = self.reconcile_asked().map(str::to_owned);
        }
        task
    }

    fn is_look_asked(&self) -> bool {
        self.reconcile_asked().is_some_and(|asked| self.look_taken.as_deref() != Some(asked))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some() && !self.session_expired
    }

    /// A batch that cannot be opened, because the API server takes no write, is tried again and again: that must not keep
    /// the farm from being looked at. Writes come first for one period, and no longer.
    fn is_neglected(&self, now: Now) -> bool {
        let period = self.object.spec.resync_period.get();
        self.polled_at.is_some_and(|at| at + period * 2 <= now.boot)
    }

    fn poll_in(&self, now: Now) -> Duration {
        let poll_at = self.polled_at.map_or(now.boot, |at| at + self.object.spec.resync_period.get());
        poll_at.saturating_sub(now.boot)
    }

    fn next_of_batch(&mut self, now: Now) -> Result<Task, Duration> {
        let stale = now.since(self.snapshot.listed_at) > FRESH;
        if stale && self.queue.any(|need| need.fresh_list) {
            return Ok(self.granted(Task::List, now));
        }
        let mode = self.object.spec.apply.mode;
        let has_settings = self.settings_to_write(now).is_some();
        let promotes = self.promotions.is_awaited(now);
        if has_settings && !promotes && self.batch.admits(now.boot, mode) {
            return Ok(self.granted(Task::WriteSettings, now));
        }
        let asked = self.apply_asked().is_some();
        // A promotion does not wait until everybody before it has been served, and its batch waits for it.
        let queued = match (promotes, self.batch.is_dirty()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => self.queue.len() + usize::from(has_settings),
        };
        let due = self.batch.due(now.boot, queued, mode, asked);
        let wait = match due {
            Due::Apply if self.may_apply() => return Ok(self.apply_now(now)),
            Due::Close => {
                self.close_batch();
                Duration::ZERO
            }
            Due::At(at) => at.saturating_sub(now.boot),
            Due::Apply | Due::Never => Duration::MAX,
        };
        // Where no batch is open for it, what is not applied was found or inherited, and not sent just now.
        let waits = has_settings || self.queue.any(|need| need.writes) || self.ledger.awaits_apply();
        let writers = waits && self.hold().is_none();
        if self.batch.is_closed() && (writers || self.wants_batch_for_promotion(now)) {
            return Ok(self.granted(Task::OpenBatch, now));
        }
        // Whoever waits only for a free call is called when there is one.
        let call = if self.queue.is_empty() { Duration::MAX } else { self.limiter.wait(now.boot).max(SHORT) };
        Err(wait.min(call))
    }

    fn apply_now(&mut self, now: Now) -> Task {
        let task = self.granted(Task::Apply, now);
        if task == Task::Apply {
            self.batch.applying();
            self.ledger.begin_round(now.boot);
        }
        task
    }

    /// An Apply is a write: none while suspended, none to a broker that is not the primary, and none before it is seen
    /// which one that is.
    fn may_apply(&self) -> bool {
        !self.object.spec.suspend && self.primary() != Some(false) && self.promotions.running().is_none()
    }

    /// Forgets a batch in which nothing reached the farm.
    fn close_batch(&mut self) {
        self.batch.close();
        self.ledger.pending = None;
        self.service.nothing_written();
        self.unreported = true;
    }

    /// The actor's own calls go through the same limit as everybody's: a task begins when all its calls could be
    /// made, and takes each as it makes it.
    fn granted(&self, task: Task, now: Now) -> Task {
        let calls = match task {
            Task::List | Task::ReadSettings | Task::WriteSettings => 1,
            Task::Poll | Task::OpenBatch => POLL_CALLS,
            Task::Apply => 3,
            // Logon, sites, brokers, agents.
            Task::Connect => 4,
            Task::GiveBack | Task::Report | Task::Rest(_) => 0,
        };
        if self.limiter.available(now.boot) < calls.min(self.limiter.limit()) {
            return Task::Rest(self.limiter.wait(now.boot).max(SHORT));
        }
        task
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

    /// Whether something that all brokers show has changed, told once: what holds writes back, or what the object
    /// says about all of them.
    pub(super) fn is_news_for_all(&mut self) -> bool {
        let hold = self.hold();
        let changed = self.told_hold != hold;
        self.told_hold = hold;
        self.unreported |= changed;
        let ended = self.promotions.take_ended();
        std::mem::take(&mut self.object_news) || ended || changed
    }

    /// The brokers whose turn it is.
    pub(super) fn call(&mut self, now: Now) -> Vec<ObjectKey> {
        let mut called: Vec<ObjectKey> = self.service.call().into_iter().collect();
        if self.trouble.is_some() {
            called.extend(self.queue.call_all());
            return called;
        }
        if !self.is_connected() || !self.is_listed() {
            return called;
        }
        // Writers that are held must say so; readers go on as ever.
        if self.hold().is_some() {
            called.extend(self.queue.release(|need| need.writes));
        }
        let writable =
            self.batch.admits(now.boot, self.object.spec.apply.mode) && !self.promotions.is_awaited(now);
        let fresh = now.since(self.snapshot.listed_at) <= FRESH;
        let places = PLACES.saturating_sub(self.batch.in_flight(Pace::Ordinary));
        let installs = self.takes_install() && self.workers.available_permits() > 0;
        // A stream of brokers must not starve the poll.
        let reserved = if self.poll_in(now).is_zero() { POLL_CALLS } else { 0 };
        let limit = self.limiter.limit();
        let calls = self.limiter.available(now.boot).saturating_sub(reserved);
        let may_go = |need: &Need| {
            let paced = installs || need.pace == Pace::Ordinary;
            (writable || !need.writes) && (fresh || !need.fresh_list) && paced
        };
        called.extend(self.queue.call(now.boot, calls, places, limit, may_go));
        called
    }

    fn takes_install(&self) -> bool {
        self.batch.in_flight(Pace::Install) < INSTALLS
    }

    /// Whether a broker's step may make its calls now. If not, the broker is queued, and called when it may.
    pub(super) fn admit(&mut self, key: &ObjectKey, need: Need, now: Now) -> bool {
        let usable = self.is_connected() && self.is_listed() && self.trouble.is_none();
        let mode = self.object.spec.apply.mode;
        let may_write =
            self.batch.admits(now.boot, mode) && self.hold().is_none() && !self.promotions.is_awaited(now);
        let writable = may_write || !need.writes;
        let fresh = !need.fresh_list || now.since(self.snapshot.listed_at) <= FRESH;
        let calls = need.calls.min(self.limiter.limit());
        let place = match need.pace {
            Pace::Ordinary => self.batch.in_flight(Pace::Ordinary) < PLACES,
            Pace::Install => self.takes_install(),
        };
        let free = place && self.limiter.available(now.boot) >= calls;
        if usable && writable && fresh && free && self.queue.is_turn_of(key) {
            self.limiter.reserve(calls);
            self.queue.leave(key);
            self.batch.begin(need.pace);
            return true;
        }
        self.queue.join(key, need);
        false
    }
}

#[cfg(test)]
mod tests;

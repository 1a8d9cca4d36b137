//! The Apply batch: own writes are gathered as in a group commit, since one Apply commits the whole farm. Pure.

use std::time::Duration;

use crate::crd::ApplyMode;

/// Apply goes out once no own write has been in flight or queued for this long: longer than the gap between two
/// writes of one burst, too short for a person to notice.
const QUIET: Duration = Duration::from_millis(500);
/// The longest that a batch gathers.
const LONGEST: Duration = Duration::from_secs(30);
/// First and longest pause between two tries of an Apply that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No write may be sent.
    #[default]
    Closed,
    /// Writes may be sent.
    Open,
    /// An Apply is on its way; writes that come meanwhile belong to the next batch.
    Applying,
}

/// The own writes that the next Apply commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    phase: Phase,
    first: Option<Duration>,
    last: Duration,
    in_flight: usize,
    installs: Installs,
    /// Whether a write may have reached the farm.
    dirty: bool,
    /// Whether a write was answered while an Apply was on its way: the next one commits it.
    overtaken: bool,
    failures: u32,
    retry_at: Duration,
}

/// Calls on their way that install or remove an agent. They take minutes, and nobody else's Apply waits that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Installs {
    in_flight: usize,
    /// How many of them are from before the batch: it does not wait for them at all.
    older: usize,
}

/// A kind of call, by how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A moment.
    Ordinary,
    /// Minutes: an agent is installed or removed meanwhile.
    Install,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before something changes.
    Never,
    /// Look again then.
    At(Duration),
    /// Send one Apply.
    Apply,
    /// Nothing reached the farm: there is nothing to apply.
    Close,
}

impl Batch {
    /// Opens for writes; `pending` says that a write from before is waiting for its Apply.
    pub fn open(&mut self, now: Duration, pending: bool) {
        *self = Self {
            phase: Phase::Open,
            first: pending.then_some(now),
            last: now,
            in_flight: self.in_flight,
            installs: Installs { older: self.installs.in_flight, ..self.installs },
            dirty: pending,
            overtaken: false,
            failures: 0,
            retry_at: Duration::ZERO,
        };
    }

    /// Whether a batch is open or being applied.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether writes may be sent.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a write may have reached the farm and waits for an Apply.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether another write may be sent now. A batch that waits for a person's Apply takes writes until then.
    pub fn admits(&self, now: Duration, mode: ApplyMode) -> bool {
        let gathering =
            mode == ApplyMode::Manual || self.first.is_none_or(|first| now.saturating_sub(first) < LONGEST);
        self.phase == Phase::Open && gathering && self.failures == 0
    }

    /// A call begins.
    pub fn begin(&mut self, pace: Pace) {
        match pace {
            Pace::Ordinary => self.in_flight += 1,
            Pace::Install => self.installs.in_flight += 1,
        }
    }

    /// A write may have reached the farm.
    pub fn touch(&mut self, now: Duration) {
        self.dirty = true;
        self.last = now;
        self.overtaken |= self.phase == Phase::Applying;
        self.first = Some(self.first.map_or(now, |first| first.min(now)));
    }

    /// A call ended.
    pub fn end(&mut self, now: Duration, pace: Pace) {
        match pace {
            Pace::Ordinary => self.in_flight = self.in_flight.saturating_sub(1),
            Pace::Install => {
                let in_flight = self.installs.in_flight.saturating_sub(1);
                // Which one ended is not told: one too many that is not waited for costs an Apply.
                self.installs = Installs { in_flight, older: self.installs.older.min(in_flight) };
            }
        }
        self.last = now;
    }

    /// How many calls of this pace are on their way.
    pub fn in_flight(&self, pace: Pace) -> usize {
        match pace {
            Pace::Ordinary => self.in_flight,
            Pace::Install => self.installs.in_flight,
        }
    }

    /// Whether no call is on its way.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.installs.in_flight == 0
    }

    /// What to do now. In `Manual` mode a batch stays open until an Apply is asked for.
    pub fn due(&self, now: Duration, queued: usize, mode: ApplyMode, asked: bool) -> Due {
        if self.phase == Phase::Applying || self.in_flight > 0 {
            return Due::Never;
        }
        if asked {
            return if self.retry_at <= now { Due::Apply } else { Due::At(self.retry_at) };
        }
        if self.phase == Phase::Closed {
            return Due::Never;
        }
        let gathers = queued > 0 || self.installs.in_flight > self.installs.older;
        let quiet = if gathers { self.first.unwrap_or(self.last) + LONGEST } else { self.last + QUIET };
        let at = quiet.max(self.retry_at);
        match (self.dirty, mode) {
            (true, ApplyMode::Manual) => Due::Never,
            (true, ApplyMode::Auto | ApplyMode::Guarded) if at <= now => Due::Apply,
            // What an installation writes needs an open batch when it is answered.
            (false, _) if self.installs.in_flight > 0 => Due::Never,
            (false, _) if at <= now => Due::Close,
            (true | false, _) => Due::At(at),
        }
    }

    /// How often in a row its Apply has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An Apply goes out.
    pub fn applying(&mut self) {
        self.phase = Phase::Applying;
    }

    /// It was answered: everything written before it is committed. The next batch is open at once where a write was
    /// answered meanwhile, where one without an answer may take effect until `late`, and where an installation is still
    /// on its way.
    pub fn applied(&mut self, now: Duration, late: Option<Duration>) {
        let overtaken = self.overtaken;
        self.close();
        match late {
            _ if overtaken => self.open(now, true),
            Some(until) => self.open(until, true),
            None if self.installs.in_flight > 0 => self.open(now, false),
            None => {}
        }
    }

    /// Nothing is to be applied. Calls may still be on their way.
    pub fn close(&mut self) {
        *self = Self { in_flight: self.in_flight, installs: self.installs, ..Self::default() };
    }

    /// It was not, or refused: it is tried again after a pause, if there is something of ours to apply.
    pub fn apply_failed(&mut self, now: Duration, ours: bool) {
        let factor = 2_u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.phase = if ours { Phase::Open } else { Phase::Closed };
        self.dirty = ours;
        self.retry_at = now + RETRY.0.saturating_mul(factor).min(RETRY.1);
    }

    /// A person is to apply: the batch takes writes again.
    pub fn leave_to_person(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: ApplyMode = ApplyMode::Auto;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn written(millis: u64) -> Batch {
        let mut batch = Batch::default();
        batch.open(at(0), false);
        batch.begin(Pace::Ordinary);
        batch.touch(at(millis));
        batch.end(at(millis), Pace::Ordinary);
        batch
    }

    #[test]
    fn apply_waits_for_half_a_second_of_quiet() {
        let batch = written(100);
        assert_eq!(batch.due(at(200), 0, AUTO, false), Due::At(at(600)));
        assert_eq!(batch.due(at(600), 0, AUTO, false), Due::Apply);
    }

    #[test]
    fn a_steady_stream_is_applied_after_thirty_seconds_and_takes_no_more() {
        let batch = written(100);
        assert_eq!(batch.due(at(20_000), 3, AUTO, false), Due::At(at(30_100)));
        assert!(batch.admits(at(30_000), AUTO) && !batch.admits(at(30_100), AUTO));
        assert!(batch.admits(at(90_000), ApplyMode::Manual), "a person may take longer");
        assert_eq!(batch.due(at(30_100), 3, AUTO, false), Due::Apply);
    }

    #[test]
    fn nothing_is_applied_while_a_write_is_on_its_way_or_another_apply_is() {
        let mut batch = written(100);
        batch.begin(Pace::Ordinary);
        assert_eq!(batch.due(at(90_000), 0, AUTO, true), Due::Never);
        batch.end(at(90_000), Pace::Ordinary);
        batch.applying();
        assert_eq!(batch.due(at(99_000), 0, AUTO, true), Due::Never);
        assert!(!batch.admits(at(99_000), AUTO));
    }

    #[test]
    fn a_read_on_its_way_outlives_the_batch() {
        let mut batch = written(100);
        batch.applying();
        batch.begin(Pace::Ordinary);
        batch.applied(at(1_000), None);
        assert!(batch.is_closed());
        batch.open(at(1_000), false);
        assert_eq!(batch.in_flight(Pace::Ordinary), 1);
        assert_eq!(batch.due(at(90_000), 0, AUTO, false), Due::Never);
    }

    fn installing(mut batch: Batch) -> Batch {
        batch.begin(Pace::Install);
        batch
    }

    #[test]
    fn an_installation_is_waited_for_no_longer_than_any_batch_gathers() {
        let batch = installing(written(100));
        assert_eq!(batch.due(at(20_000), 0, AUTO, false), Due::At(at(30_100)));
        assert_eq!(batch.due(at(30_100), 0, AUTO, false), Due::Apply);
        assert_eq!(batch.due(at(200), 0, AUTO, true), Due::Apply, "asked for");
    }

    #[test]
    fn an_installation_from_before_a_batch_is_not_waited_for_at_all() {
        let mut batch = installing(written(100));
        batch.applying();
        batch.applied(at(31_000), None);
        assert!(batch.admits(at(90_000), AUTO), "what it writes belongs to a batch that is open");
        assert_eq!(
            batch.due(at(900_000), 0, AUTO, false),
            Due::Never,
            "nothing is to be applied, nor to be closed"
        );
        batch.begin(Pace::Ordinary);
        batch.touch(at(900_000));
        batch.end(at(900_000), Pace::Ordinary);
        assert_eq!(batch.due(at(900_500), 0, AUTO, false), Due::Apply);
        let batch = installing(batch);
        assert_eq!(batch.due(at(900_500), 0, AUTO, false), Due::At(at(930_000)), "a new one is");
    }

    #[test]
    fn an_installation_that_ends_has_an_apply_of_its_own_and_a_refused_one_none() {
        for (written_, due) in [(true, Due::Apply), (false, Due::Close)] {
            let mut batch = installing(written(100));
            batch.applying();
            batch.applied(at(31_000), None);
            if written_ {
                batch.touch(at(40_000));
            }
            batch.end(at(40_000), Pace::Install);
            assert_eq!(batch.due(at(40_500), 0, AUTO, false), due);
        }
    }

    #[test]
    fn what_is_answered_while_an_apply_is_on_its_way_is_committed_by_the_next() {
        let mut batch = installing(written(100));
        batch.applying();
        batch.touch(at(31_000));
        batch.end(at(31_000), Pace::Install);
        batch.applied(at(32_000), None);
        assert_eq!(batch.due(at(32_500), 0, AUTO, false), Due::Apply);
        batch.applying();
        batch.applied(at(33_000), None);
        assert!(batch.is_closed());
    }

    #[test]
    fn a_write_that_may_come_late_delays_nobody_elses_apply() {
        let mut batch = written(100);
        batch.applying();
        batch.applied(at(1_000), Some(at(900_000)));
        assert_eq!(batch.due(at(2_000), 0, AUTO, false), Due::At(at(900_500)));
        batch.begin(Pace::Ordinary);
        batch.touch(at(5_000));
        batch.end(at(5_000), Pace::Ordinary);
        assert_eq!(batch.due(at(5_500), 0, AUTO, false), Due::Apply);
        assert_eq!(
            batch.due(at(5_500), 3, AUTO, false),
            Due::At(at(35_000)),
            "not thirty seconds after the late one"
        );
    }

    #[test]
    fn an_apply_that_was_only_asked_for_is_not_repeated_as_if_it_were_ours() {
        let mut batch = Batch::default();
        assert_eq!(batch.due(at(0), 0, AUTO, true), Due::Apply);
        batch.applying();
        batch.apply_failed(at(0), false);
        assert_eq!(batch.due(at(1), 0, AUTO, true), Due::At(at(2_000)), "asked again, it waits");
        assert_eq!(batch.due(at(90_000), 0, AUTO, false), Due::Never);
    }

    #[test]
    fn a_batch_that_wrote_nothing_is_closed_without_an_apply() {
        let mut batch = Batch::default();
        batch.open(at(0), false);
        assert_eq!(batch.due(at(500), 0, AUTO, false), Due::Close);
    }

    #[test]
    fn manual_applies_on_request_only() {
        let batch = written(100);
        assert_eq!(batch.due(at(90_000), 0, ApplyMode::Manual, false), Due::Never);
        assert_eq!(batch.due(at(90_000), 0, ApplyMode::Manual, true), Due::Apply);
    }

    #[test]
    fn a_failed_apply_is_tried_again_with_growing_pauses_and_takes_no_writes_meanwhile() {
        let mut batch = written(0);
        let mut now = at(1_000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            batch.applying();
            batch.apply_failed(now, true);
            assert!(!batch.admits(now, AUTO));
            let Due::At(next) = batch.due(now, 0, AUTO, false) else { panic!("tried again at once") };
            pauses.push(next.saturating_sub(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 120, 120]);
    }
}

//! The farm's own clock: audit times, the `Date` header, idle sessions and the rate limit all read it.
//!
//! It is set apart from the caller's clock on purpose, so that a test can give a farm that is an hour
//! behind, or let a day pass in no time.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that runs or stands, and can be set and advanced either way.
#[derive(Debug)]
pub(super) struct FarmClock {
    base: Timestamp,
    /// When `base` was true; `None` while the clock stands.
    running_since: Option<Instant>,
}

impl FarmClock {
    /// Starts at `start`, or at the machine's time.
    pub(super) fn new(start: Option<Timestamp>, frozen: bool) -> Self {
        Self { base: start.unwrap_or_else(machine_time), running_since: (!frozen).then(Instant::now) }
    }

    /// The farm's time, in whole milliseconds as RAS writes it.
    pub(super) fn now(&self) -> Timestamp {
        let exact = self.running_since.map_or(self.base, |since| saturating_add(self.base, elapsed(since)));
        Timestamp::from_millisecond(exact.as_millisecond()).unwrap_or(exact)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.running_since.is_none()
    }

    pub(super) fn set(&mut self, time: Timestamp) {
        self.base = time;
        self.running_since = self.running_since.map(|_| Instant::now());
    }

    pub(super) fn advance(&mut self, by: SignedDuration) {
        self.set(saturating_add(self.now(), by));
    }

    pub(super) fn freeze(&mut self, frozen: bool) {
        self.base = self.now();
        self.running_since = (!frozen).then(Instant::now);
    }
}

fn elapsed(since: Instant) -> SignedDuration {
    SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX)
}

fn saturating_add(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or_else(|_| if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge at which the simulated farm's clock takes its first value"
)]
fn machine_time() -> Timestamp {
    Timestamp::now()
}

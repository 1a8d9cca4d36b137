//! How many calls a farm gets: at most `requests` in any interval of `window`. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

/// Whether a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Now; it is counted.
    Granted,
    /// Not before this time has passed; nothing is counted.
    WaitFor(Duration),
}

/// Remembers the grants of the last window, rather than a level that fills up: a bucket that starts full and is
/// refilled meanwhile lets almost twice its size through in one window, and RAS counts per window.
///
/// Times are durations since boot, from a clock that counts suspend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimiter {
    requests: usize,
    window: Duration,
    grants: VecDeque<Duration>,
    blocked_until: Duration,
}

impl RateLimiter {
    /// At most `requests` (at least one) in any interval of `window`.
    pub fn new(requests: u32, window: Duration) -> Self {
        Self {
            requests: at_least_one(requests),
            window,
            grants: VecDeque::new(),
            blocked_until: Duration::ZERO,
        }
    }

    /// Changes the limit. What was granted in the last window stays counted.
    pub fn configure(&mut self, requests: u32, window: Duration) {
        self.requests = at_least_one(requests);
        self.window = window;
    }

    /// Takes one grant, or says how long to wait for it.
    pub fn take(&mut self, now: Duration) -> Take {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Take::WaitFor(wait);
        }
        // A clock that went back must not make the grants unordered.
        let granted = self.grants.back().map_or(now, |latest| now.max(*latest));
        self.grants.push_back(granted);
        let surplus = self.grants.len().saturating_sub(self.requests);
        self.grants.drain(..surplus);
        Take::Granted
    }

    /// How long until a grant could be taken; zero for now. Nothing is counted.
    pub fn wait(&self, now: Duration) -> Duration {
        let free_at = match self.grants.len().checked_sub(self.requests) {
            // The grant that leaves the window to make room.
            Some(index) => self
                .grants
                .get(index)
                .map_or(Duration::ZERO, |grant| grant.saturating_add(self.window)),
            None => Duration::ZERO,
        };
        free_at.max(self.blocked_until).saturating_sub(now)
    }

    /// The farm asked for silence until then.
    pub fn retry_after(&mut self, until: Duration) {
        self.blocked_until = self.blocked_until.max(until);
    }
}

fn at_least_one(requests: u32) -> usize {
    usize::try_from(requests).unwrap_or(usize::MAX).max(1)
}

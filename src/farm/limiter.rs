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

/// Remembers the calls of the last window, rather than a level that fills up: a bucket that starts full and is
/// refilled meanwhile lets almost twice its size through in one window, and RAS counts per window.
///
/// Times are durations since boot, from a clock that counts suspend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimiter {
    requests: usize,
    window: Duration,
    grants: VecDeque<Duration>,
    /// Grants that somebody has in hand: the farm counts a call from when it arrives, and these may be used at any moment.
    reserved: usize,
    blocked_until: Duration,
}

impl RateLimiter {
    /// At most `requests` (at least one) in any interval of `window`.
    pub fn new(requests: u32, window: Duration) -> Self {
        Self {
            requests: at_least_one(requests),
            window,
            grants: VecDeque::new(),
            reserved: 0,
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
        self.count(now);
        Take::Granted
    }

    /// Takes grants to be used later, of which so many must be [`Self::available`].
    pub fn reserve(&mut self, grants: usize) {
        self.reserved += grants;
    }

    /// A grant that was reserved is used.
    pub fn spend(&mut self, now: Duration) {
        self.give_back(1);
        self.count(now);
    }

    /// Grants that were reserved are not needed.
    pub fn give_back(&mut self, grants: usize) {
        self.reserved = self.reserved.saturating_sub(grants);
    }

    fn count(&mut self, now: Duration) {
        // A clock that went back must not make the grants unordered.
        let granted = self.grants.back().map_or(now, |latest| now.max(*latest));
        self.grants.push_back(granted);
        let surplus = self.grants.len().saturating_sub(self.requests);
        self.grants.drain(..surplus);
    }

    /// How long until a grant could be taken; zero for now. Where all are reserved nobody knows, and it is a window.
    /// Nothing is counted.
    pub fn wait(&self, now: Duration) -> Duration {
        let room = self.requests.saturating_sub(self.reserved);
        if room == 0 {
            return self.window.max(self.blocked_until.saturating_sub(now));
        }
        let free_at = match self.grants.len().checked_sub(room) {
            // The grant that leaves the window to make room.
            Some(index) => {
                self.grants.get(index).map_or(Duration::ZERO, |grant| grant.saturating_add(self.window))
            }
            None => Duration::ZERO,
        };
        free_at.max(self.blocked_until).saturating_sub(now)
    }

    /// How many grants could be taken now. Nothing is counted.
    pub fn available(&self, now: Duration) -> usize {
        if self.blocked_until > now {
            return 0;
        }
        let counted = self.grants.iter().filter(|grant| **grant + self.window > now).count();
        self.requests.saturating_sub(counted + self.reserved)
    }

    /// At most this many in any window.
    pub fn limit(&self) -> usize {
        self.requests
    }

    /// The farm asked for silence until then.
    pub fn retry_after(&mut self, until: Duration) {
        self.blocked_until = self.blocked_until.max(until);
    }
}

fn at_least_one(requests: u32) -> usize {
    usize::try_from(requests).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_full_window_waits_for_its_oldest_grant_to_leave() {
        let mut limiter = RateLimiter::new(2, ms(100));
        assert_eq!(limiter.take(ms(0)), Take::Granted);
        assert_eq!(limiter.take(ms(30)), Take::Granted);
        assert_eq!(limiter.take(ms(40)), Take::WaitFor(ms(60)));
        assert_eq!(limiter.take(ms(100)), Take::Granted);
        assert_eq!(limiter.take(ms(100)), Take::WaitFor(ms(30)));
    }

    #[test]
    fn retry_after_stops_all_until_then_and_is_never_shortened() {
        let mut limiter = RateLimiter::new(5, ms(100));
        limiter.retry_after(ms(500));
        limiter.retry_after(ms(200));
        assert_eq!(limiter.take(ms(100)), Take::WaitFor(ms(400)));
        assert_eq!(limiter.take(ms(500)), Take::Granted);
    }

    #[test]
    fn a_changed_limit_counts_what_was_granted() {
        let mut limiter = RateLimiter::new(3, ms(100));
        for _ in 0..3 {
            assert_eq!(limiter.take(ms(10)), Take::Granted);
        }
        limiter.configure(1, ms(100));
        assert_eq!(limiter.take(ms(50)), Take::WaitFor(ms(60)));
        limiter.configure(4, ms(100));
        assert_eq!(limiter.take(ms(50)), Take::Granted);
        assert_eq!(limiter.take(ms(50)), Take::WaitFor(ms(60)));
    }

    #[test]
    fn a_limit_of_nothing_is_one_so_that_work_goes_on() {
        assert_eq!(RateLimiter::new(0, ms(100)).take(ms(0)), Take::Granted);
    }

    #[test]
    fn asking_for_the_wait_counts_nothing() {
        let limiter = RateLimiter::new(1, ms(100));
        assert_eq!(limiter.wait(ms(0)), Duration::ZERO);
        assert_eq!(limiter, RateLimiter::new(1, ms(100)));
    }

    proptest! {
        /// Whatever is reserved and used later, or given back.
        #[test]
        fn no_window_sees_more_calls_than_allowed_however_late_a_grant_is_used(
            requests in 1_u32..8,
            window in 1_u64..200,
            steps in proptest::collection::vec((0_u64..60, 0_u8..4), 1..300),
        ) {
            let mut limiter = RateLimiter::new(requests, ms(window));
            let (mut now, mut in_hand, mut calls) = (0, 0, Vec::new());
            for (step, act) in steps {
                now += step;
                match act {
                    0 if limiter.available(ms(now)) > 0 => {
                        limiter.reserve(1);
                        in_hand += 1;
                    }
                    1 if in_hand > 0 => {
                        limiter.spend(ms(now));
                        in_hand -= 1;
                        calls.push(now);
                    }
                    2 if in_hand > 0 => {
                        limiter.give_back(1);
                        in_hand -= 1;
                    }
                    3 if limiter.take(ms(now)) == Take::Granted => calls.push(now),
                    _ => {}
                }
            }
            for (index, start) in calls.iter().enumerate() {
                let inside = calls[index..].iter().filter(|call| **call < start + window).count();
                prop_assert!(inside <= requests as usize);
            }
        }

        #[test]
        fn no_window_sees_more_than_allowed(
            requests in 1_u32..8,
            window in 1_u64..200,
            steps in proptest::collection::vec(0_u64..60, 1..300),
        ) {
            let mut limiter = RateLimiter::new(requests, ms(window));
            let (mut now, mut granted) = (0, Vec::new());
            for step in steps {
                now += step;
                if limiter.take(ms(now)) == Take::Granted {
                    granted.push(now);
                }
            }
            for (index, start) in granted.iter().enumerate() {
                let inside = granted[index..].iter().filter(|grant| **grant < start + window).count();
                prop_assert!(inside <= requests as usize);
            }
        }

        /// Whoever waits as told is served, and never a moment later than needed.
        #[test]
        fn a_wait_is_enough_and_not_too_long(requests in 1_u32..5, window in 1_u64..100, takes in 1_usize..50) {
            let mut limiter = RateLimiter::new(requests, ms(window));
            let mut now = Duration::ZERO;
            for _ in 0..takes {
                if let Take::WaitFor(wait) = limiter.take(now) {
                    prop_assert!(wait <= ms(window));
                    prop_assert_eq!(limiter.wait((now + wait).saturating_sub(Duration::from_nanos(1))), Duration::from_nanos(1));
                    now += wait;
                    prop_assert_eq!(limiter.take(now), Take::Granted);
                }
            }
        }

        #[test]
        fn a_clock_that_goes_back_grants_no_more(times in proptest::collection::vec(0_u64..100, 1..100)) {
            let mut limiter = RateLimiter::new(3, ms(1000));
            let granted = times.iter().filter(|time| limiter.take(ms(**time)) == Take::Granted).count();
            prop_assert!(granted <= 3);
        }
    }
}

//! Stops calls to a farm that is down, and looks again with one probe per step of a growing delay.
//! Pure: time and randomness are arguments.

use std::collections::VecDeque;
use std::time::Duration;

/// When to stop, and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures within `window`, or in a row, that open the breaker; at least one.
    pub threshold: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// The first delay.
    pub first_delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// When a probe without a result is given up, so that a lost one cannot keep the breaker shut for ever.
    pub probe_timeout: Duration,
}

/// Whether a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The farm is believed to be up.
    Admitted,
    /// This one call is to find out.
    Probe,
    /// Not before this time has passed.
    WaitFor(Duration),
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Calls stop.
    Opened,
    /// Calls go again.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration, step: u32 },
    HalfOpen { since: Duration, step: u32 },
}

/// Times are durations since boot, from a clock that counts suspend.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Within the window, or in a row.
    failures: VecDeque<Duration>,
    consecutive: u32,
}

impl Breaker {
    /// Closed.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed, failures: VecDeque::new(), consecutive: 0 }
    }

    /// Whether calls are stopped, probe or not.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { .. } | State::HalfOpen { .. } => true,
        }
    }

    /// Asks for a call. `Probe` is given once per step, and its result must be reported.
    pub fn admit(&mut self, now: Duration) -> Admission {
        let (free_at, step) = match self.state {
            State::Closed => return Admission::Admitted,
            State::Open { until, step } => (until, step),
            State::HalfOpen { since, step } => (since.saturating_add(self.config.probe_timeout), step),
        };
        if now < free_at {
            return Admission::WaitFor(free_at.saturating_sub(now));
        }
        self.state = State::HalfOpen { since: now, step };
        Admission::Probe
    }

    /// A call goes out to find out whether the farm is back, due or asked for; its result must be reported.
    pub fn probe(&mut self, now: Duration) {
        if let State::Open { until: _, step } = self.state {
            self.state = State::HalfOpen { since: now, step };
        }
    }

    /// A call was answered. While the breaker waits it changes nothing: a call that was sent before the farm went
    /// down says nothing of now.
    pub fn record_success(&mut self) -> Option<Transition> {
        self.consecutive = 0;
        match self.state {
            State::Closed | State::Open { .. } => None,
            State::HalfOpen { .. } => {
                self.state = State::Closed;
                self.failures.clear();
                Some(Transition::Closed)
            }
        }
    }

    /// A call failed. `jitter` is between 0 and 1, and shortens the delay by up to a half, so that the farms of one
    /// broken network do not come back in step.
    pub fn record_failure(&mut self, now: Duration, jitter: f64) -> Option<Transition> {
        match self.state {
            State::Closed => {
                self.count(now);
                if !self.is_tripped() {
                    return None;
                }
                self.open(now, 0, jitter);
                Some(Transition::Opened)
            }
            State::Open { .. } => None,
            State::HalfOpen { since: _, step } => {
                self.open(now, step.saturating_add(1), jitter);
                None
            }
        }
    }

    fn count(&mut self, now: Duration) {
        self.consecutive = self.consecutive.saturating_add(1);
        self.failures.push_back(now);
        let oldest = now.saturating_sub(self.config.window);
        self.failures.retain(|failure| *failure >= oldest);
    }

    /// In a row, too: where calls are few, a window never holds enough of them.
    fn is_tripped(&self) -> bool {
        let threshold = self.config.threshold.max(1);
        self.consecutive >= threshold
            || self.failures.len() >= usize::try_from(threshold).unwrap_or(usize::MAX)
    }

    fn open(&mut self, now: Duration, step: u32, jitter: f64) {
        let BreakerConfig { threshold: _, window: _, first_delay, longest_delay, probe_timeout: _ } =
            self.config;
        let doubled = first_delay.saturating_mul(2_u32.saturating_pow(step.min(31)));
        let delay = shortened(doubled.min(longest_delay), jitter);
        self.state = State::Open { until: now.saturating_add(delay), step };
    }
}

fn shortened(delay: Duration, jitter: f64) -> Duration {
    let factor = 1.0 - jitter.clamp(0.0, 1.0) / 2.0;
    // A jitter that is no number leaves the delay as it is.
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        threshold: 3,
        window: Duration::from_mins(1),
        first_delay: Duration::from_secs(2),
        longest_delay: Duration::from_secs(10),
        probe_timeout: Duration::from_secs(30),
    };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        assert_eq!(breaker.record_failure(now, 0.0), None);
        assert_eq!(breaker.record_failure(now, 0.0), None);
        assert_eq!(breaker.record_failure(now, 0.0), Some(Transition::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_however_far_apart() {
        let mut breaker = Breaker::new(CONFIG);
        assert_eq!(breaker.record_failure(s(0), 0.0), None);
        assert_eq!(breaker.record_failure(s(1000), 0.0), None);
        assert_eq!(breaker.record_failure(s(2000), 0.0), Some(Transition::Opened));
    }

    #[test]
    fn failures_within_the_window_open_it_though_others_succeed() {
        let mut breaker = Breaker::new(CONFIG);
        for (second, expected) in [(0, None), (30, None), (59, Some(Transition::Opened))] {
            assert_eq!(breaker.record_success(), None);
            assert_eq!(breaker.record_failure(s(second), 0.0), expected);
        }
    }

    #[test]
    fn old_failures_with_successes_between_are_forgotten() {
        let mut breaker = Breaker::new(CONFIG);
        for second in [0, 61, 122, 183] {
            assert_eq!(breaker.record_failure(s(second), 0.0), None);
            assert_eq!(breaker.record_success(), None);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_probe_goes_out_per_step_and_the_delay_doubles_to_its_limit() {
        let mut breaker = opened_at(s(0));
        let mut now = s(0);
        for delay in [2, 4, 8, 10, 10] {
            assert_eq!(breaker.admit(now), Admission::WaitFor(s(delay)));
            now += s(delay);
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.admit(now), Admission::WaitFor(CONFIG.probe_timeout));
            assert_eq!(breaker.record_failure(now, 0.0), None);
        }
    }

    #[test]
    fn an_answered_probe_closes_it_and_all_is_forgotten() {
        let mut breaker = opened_at(s(0));
        assert_eq!(breaker.admit(s(2)), Admission::Probe);
        assert_eq!(breaker.record_success(), Some(Transition::Closed));
        assert_eq!(breaker, Breaker::new(CONFIG));
    }

    #[test]
    fn a_probe_without_a_result_is_given_up() {
        let mut breaker = opened_at(s(0));
        assert_eq!(breaker.admit(s(2)), Admission::Probe);
        assert_eq!(breaker.admit(s(31)), Admission::WaitFor(s(1)));
        assert_eq!(breaker.admit(s(32)), Admission::Probe);
    }

    #[test]
    fn late_results_of_earlier_calls_change_nothing() {
        let mut breaker = opened_at(s(0));
        assert_eq!(breaker.record_success(), None);
        assert_eq!(breaker.record_failure(s(1), 0.0), None);
        assert_eq!(breaker.admit(s(1)), Admission::WaitFor(s(1)));
    }

    #[test]
    fn jitter_shortens_by_at_most_a_half_and_nonsense_by_nothing() {
        assert_eq!(shortened(s(8), 0.0), s(8));
        assert_eq!(shortened(s(8), 0.5), s(6));
        assert_eq!(shortened(s(8), 7.0), s(4));
        assert_eq!(shortened(s(8), f64::NAN), s(8));
        assert_eq!(shortened(Duration::MAX, 0.0), Duration::MAX);
    }

    proptest! {
        /// A farm that stays down costs one call per step, and a step is never longer than the longest delay.
        #[test]
        fn a_farm_that_is_down_is_probed_and_never_forgotten(jitters in proptest::collection::vec(0.0..1.0, 1..40)) {
            let mut breaker = opened_at(s(0));
            let mut now = s(0);
            for jitter in jitters {
                if let Admission::WaitFor(wait) = breaker.admit(now) {
                    prop_assert!(wait <= CONFIG.longest_delay && wait >= CONFIG.first_delay / 2);
                    now += wait;
                }
                prop_assert_eq!(breaker.admit(now), Admission::Probe);
                breaker.record_failure(now, jitter);
                prop_assert!(breaker.is_open());
            }
        }

        /// Whatever happens, some time later a call is let through.
        #[test]
        fn it_never_locks_for_ever(events in proptest::collection::vec((0_u8..3, 0_u64..40), 0..60)) {
            let mut breaker = Breaker::new(CONFIG);
            let mut now = s(0);
            for (event, step) in events {
                now += s(step);
                match event {
                    0 => drop(breaker.admit(now)),
                    1 => drop(breaker.record_success()),
                    _ => drop(breaker.record_failure(now, 0.3)),
                }
            }
            let longest = CONFIG.longest_delay.max(CONFIG.probe_timeout);
            prop_assert!(!matches!(breaker.admit(now + longest), Admission::WaitFor(_)));
        }
    }
}

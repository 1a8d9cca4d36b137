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
        Self {
            config,
            state: State::Closed,
            failures: VecDeque::new(),
            consecutive: 0,
        }
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
            State::HalfOpen { since, step } => {
                (since.saturating_add(self.config.probe_timeout), step)
            }
        };
        if now < free_at {
            return Admission::WaitFor(free_at.saturating_sub(now));
        }
        self.state = State::HalfOpen { since: now, step };
        Admission::Probe
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
        let BreakerConfig {
            threshold: _,
            window: _,
            first_delay,
            longest_delay,
            probe_timeout: _,
        } = self.config;
        let doubled = first_delay.saturating_mul(2_u32.saturating_pow(step.min(31)));
        let delay = shortened(doubled.min(longest_delay), jitter);
        self.state = State::Open {
            until: now.saturating_add(delay),
            step,
        };
    }
}

fn shortened(delay: Duration, jitter: f64) -> Duration {
    let factor = 1.0 - jitter.clamp(0.0, 1.0) / 2.0;
    // A jitter that is no number leaves the delay as it is.
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

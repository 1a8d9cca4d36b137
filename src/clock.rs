//! The one place that asks for the time. Every decision takes a [`Now`] as an argument.

use std::time::Duration;

use jiff::Timestamp;

/// One reading of both clocks, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time, for what is written into objects and compared with what others wrote.
    pub wall: Timestamp,
    /// Time since boot, suspend included, for deadlines: it never jumps, and a machine that slept has aged.
    pub boot: Duration,
}

impl Now {
    /// How long ago `earlier` was on the clock that counts suspend; zero if it lies ahead.
    pub fn since(&self, earlier: Duration) -> Duration {
        self.boot.saturating_sub(earlier)
    }
}

/// Where the time is read.
#[derive(Clone, Copy, Debug)]
pub struct Clock(fn() -> Now);

impl Clock {
    /// The machine's clocks.
    pub const MACHINE: Self = Self(machine_time);

    /// Clocks that somebody else keeps.
    pub const fn new(read: fn() -> Now) -> Self {
        Self(read)
    }

    /// Both clocks, now.
    pub fn now(self) -> Now {
        (self.0)()
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the edge where time enters")]
fn machine_time() -> Now {
    Now { wall: Timestamp::now(), boot: boot_time() }
}

/// `CLOCK_BOOTTIME` where there is one: a process resumed after an hour of suspend must know that its
/// deadlines have passed, and `CLOCK_MONOTONIC` would say that no time went by.
fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

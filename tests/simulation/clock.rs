//! The time of one run. Timers are tokio's, which stand still while nothing is due; on top of that the machine of the
//! operator may sleep, and its wall clock may be set.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ras_operator::clock::Now;
use tokio::time::Instant;

const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

thread_local! {
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How long the machine has slept: time that passed for the world and for no timer.
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// How far the operator's wall clock is off.
    static WALL_OFF: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
    /// How many readings from now the machine falls asleep, and for how long.
    static ASLEEP_AT: Cell<Option<(usize, Duration)>> = const { Cell::new(None) };
}

/// A run begins on this thread.
pub fn start() {
    ORIGIN.set(Some(Instant::now()));
    SLEPT.set(Duration::ZERO);
    WALL_OFF.set(SignedDuration::ZERO);
    ASLEEP_AT.set(None);
}

/// Since the start of the run.
pub fn elapsed() -> Duration {
    let origin = ORIGIN.get().unwrap_or_else(Instant::now);
    Instant::now().saturating_duration_since(origin) + SLEPT.get()
}

/// The same without the time that the operator's machine slept.
pub fn awake() -> Duration {
    elapsed().saturating_sub(SLEPT.get())
}

/// The world's time, as the API server and the farms have it.
pub fn world() -> Timestamp {
    START + elapsed()
}

/// The operator's clocks.
pub fn operators() -> Now {
    match ASLEEP_AT.take() {
        Some((0, span)) => sleep_machine(span),
        Some((left, span)) => ASLEEP_AT.set(Some((left - 1, span))),
        None => {}
    }
    Now { wall: world() + WALL_OFF.get(), boot: Duration::from_secs(1_000) + elapsed() }
}

/// The machine slept for so long.
pub fn sleep_machine(span: Duration) {
    SLEPT.set(SLEPT.get() + span);
}

/// The machine will sleep for so long right before its clock is read once more after so many readings.
pub fn sleep_after_readings(count: usize, span: Duration) {
    ASLEEP_AT.set(Some((count, span)));
}

/// Somebody set the machine's wall clock.
pub fn set_wall_off(by: SignedDuration) {
    WALL_OFF.set(by);
}

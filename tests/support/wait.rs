//! Waiting for a condition, never for a length of time.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;

const BETWEEN_LOOKS: Duration = Duration::from_millis(60);

/// Looks until `look` answers `Ok`, and gives back what it saw.
///
/// # Panics
/// After `limit`, with what was seen last.
pub(crate) async fn eventually<T, S: Debug>(
    what: &str,
    limit: Duration,
    look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    within(what, limit, look).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// As [`eventually`], with a failure instead of a panic.
pub(crate) async fn within<T, S: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> Result<T, Failure> {
    let end = Instant::now() + limit;
    let mut last = "not one look was answered".to_owned();
    // A look that is ready at once would never be cut short.
    while Instant::now() < end {
        match timeout(end.saturating_duration_since(Instant::now()), look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = format!("last seen: {seen:#?}"),
            Err(_elapsed) => break,
        }
        // A look that never waits is never cut short.
        if Instant::now() >= end {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Err(Failure::new(format!("not within {limit:?}: {what}; {last}")))
}

/// Looks for the whole of `length` and fails at the first `Err`: for what must *not* happen.
///
/// # Panics
/// As soon as `look` answers `Err`.
pub(crate) async fn stays<S: Debug>(
    what: &str,
    length: Duration,
    mut look: impl AsyncFnMut() -> Result<(), S>,
) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        if let Err(seen) = look().await {
            panic!("did not stay so for {length:?}: {what}; seen: {seen:#?}");
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

//! Waiting for a condition, never for a length of time.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep, timeout};

const BETWEEN_LOOKS: Duration = Duration::from_millis(60);

/// Looks until `look` answers `Ok`, and gives back what it saw.
///
/// # Panics
/// After `limit`, with what was seen last.
pub(crate) async fn eventually<T, S: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let end = Instant::now() + limit;
    let mut last = None;
    while let Ok(seen) = timeout(end.saturating_duration_since(Instant::now()), look()).await {
        match seen {
            Ok(value) => return value,
            Err(seen) => last = Some(seen),
        }
        sleep(BETWEEN_LOOKS).await;
    }
    match last {
        Some(seen) => panic!("not within {limit:?}: {what}; last seen: {seen:#?}"),
        None => panic!("not within {limit:?}: {what}; not one look was answered"),
    }
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

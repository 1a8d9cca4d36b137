//! A connection over which the process has slept is not used. Whether a request may still be sent was looked at before
//! the connection was opened, which may take seconds; the timer that bounds these stands still with the machine.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use tower::{BoxError, Service};

use crate::clock::Clock;

/// Opens connections, and gives only those that were ready in time.
#[derive(Clone, Debug)]
pub(super) struct Awake<S> {
    pub(super) inner: S,
    pub(super) clock: Clock,
    /// The longest that one may take, on the clock that counts suspend.
    pub(super) limit: Duration,
}

/// Nothing was sent.
#[derive(Debug, Error)]
#[error("the process stood still while it was connecting")]
struct Slept;

impl<S, Target> Service<Target> for Awake<S>
where
    S: Service<Target, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let Self { inner, clock, limit } = self;
        let (clock, limit, began) = (*clock, *limit, clock.now().boot);
        let connecting = inner.call(target);
        async move {
            let connection = connecting.await?;
            if clock.now().since(began) > limit { Err(Slept.into()) } else { Ok(connection) }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use jiff::Timestamp;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::clock::Now;

    static SECONDS: AtomicU64 = AtomicU64::new(0);

    fn time() -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, boot: Duration::from_secs(SECONDS.load(Ordering::Relaxed)) }
    }

    #[tokio::test]
    async fn a_connection_that_was_slept_over_is_not_used() {
        let inner = service_fn(|seconds: u64| async move {
            SECONDS.fetch_add(seconds, Ordering::Relaxed);
            Ok::<_, BoxError>(seconds)
        });
        let awake = Awake { inner, clock: Clock::new(time), limit: Duration::from_secs(10) };
        assert_eq!(awake.clone().oneshot(10).await.expect("a connection"), 10);
        let slept = awake.oneshot(11).await.expect_err("no connection");
        assert!(slept.is::<Slept>());
    }
}

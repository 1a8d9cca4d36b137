//! How long this process may count on the Lease: shared by the renewal and by all who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{RENEW_DEADLINE, RETRY_PERIOD};
use crate::clock::Clock;

/// The term of one leadership. It can be prolonged while it lasts, and never begins anew.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// In milliseconds of boot time.
    until: Arc<AtomicU64>,
    ended: CancellationToken,
    clock: Clock,
}

impl Term {
    /// A term that began with a write to the Lease sent at `sent`, in boot time.
    pub(super) fn new(sent: Duration, clock: Clock) -> Self {
        let until = Arc::new(AtomicU64::new(deadline(sent)));
        Self { until, ended: CancellationToken::new(), clock }
    }

    /// Prolongs the term by a renewal sent at `sent`; too late once it is over.
    pub(super) fn renew(&self, sent: Duration) {
        if !self.is_over() {
            self.until.store(deadline(sent), Ordering::Release);
        }
    }

    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(super) fn left(&self) -> Duration {
        if self.ended.is_cancelled() {
            return Duration::ZERO;
        }
        let until = Duration::from_millis(self.until.load(Ordering::Acquire));
        until.saturating_sub(self.clock.now().boot)
    }

    /// Waits for the end. It neither trusts the renewal to tell it, which may hang, nor a timer to
    /// be in time, which stands still while the machine is suspended.
    pub(super) async fn over(&self) {
        while !self.is_over() {
            let pause = self.left().min(RETRY_PERIOD);
            drop(timeout(pause, self.ended.cancelled()).await);
        }
    }
}

fn deadline(sent: Duration) -> u64 {
    u64::try_from((sent + RENEW_DEADLINE).as_millis()).unwrap_or(u64::MAX)
}

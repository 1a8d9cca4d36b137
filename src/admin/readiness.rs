//! Whether the process can do its work, as `/readyz` tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A handle on the readiness of the process. Cheap to clone; all clones share the same state.
///
/// A standby replica is ready too: ready means that it could work, not that it does.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// What `/readyz` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadinessState {
    /// The caches are not synced yet.
    Starting,
    /// Work can be done.
    Ready,
    /// The process is about to end.
    Draining,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// The caches are synced. Has no effect while draining.
    pub fn synced(&self) {
        self.0.fetch_max(READY, Ordering::AcqRel);
    }

    /// The process is about to end; there is no way back.
    pub fn draining(&self) {
        self.0.fetch_max(DRAINING, Ordering::AcqRel);
    }

    /// The present state.
    pub fn state(&self) -> ReadinessState {
        match self.0.load(Ordering::Acquire) {
            STARTING => ReadinessState::Starting,
            READY => ReadinessState::Ready,
            // The state only ever grows, and nothing is greater.
            _ => ReadinessState::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_unready_and_never_leaves_draining() {
        let readiness = Readiness::default();
        assert_eq!(readiness.state(), ReadinessState::Starting);
        readiness.synced();
        assert_eq!(readiness.state(), ReadinessState::Ready);
        readiness.draining();
        readiness.synced();
        assert_eq!(readiness.state(), ReadinessState::Draining);
    }
}

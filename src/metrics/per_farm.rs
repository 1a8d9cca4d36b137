//! A family of series that each belong to one farm, and can be removed with it.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;

use super::{FarmLabels, FarmName};

/// A family that remembers which label sets each farm has: the library can remove a series only
/// by its whole label set.
pub(super) struct PerFarm<L, M> {
    family: Family<(FarmLabels, L), M>,
    seen: Arc<Mutex<HashMap<FarmName, HashSet<L>>>>,
}

impl<L: Clone + Eq + Hash, M: Default> Default for PerFarm<L, M> {
    fn default() -> Self {
        Self { family: Family::default(), seen: Arc::default() }
    }
}

impl<L, M> PerFarm<L, M>
where
    L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static,
    M: Clone + Default,
{
    /// What the registry encodes.
    pub(super) fn family(&self) -> Family<(FarmLabels, L), M> {
        self.family.clone()
    }

    /// The series of this farm with these labels.
    pub(super) fn at(&self, farm: &FarmName, labels: L) -> M {
        // The lock is held until the series exists, so that `forget` cannot miss it in between.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(farm.clone()).or_default().insert(labels.clone());
        self.family.get_or_create_owned(&(FarmLabels::of(farm), labels))
    }

    /// Removes the series of this farm.
    pub(super) fn forget(&self, farm: &FarmName) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for labels in seen.remove(farm).unwrap_or_default() {
            self.family.remove(&(FarmLabels::of(farm), labels));
        }
    }
}

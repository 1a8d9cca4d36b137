//! What was done so far, read off the deeds themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::user::{self, Deed, User};

const PAIRS: &str = "pairs";

/// Deeds by kind, and the fields that were set at once.
#[derive(Debug, Default)]
pub(super) struct Done {
    counts: BTreeMap<&'static str, usize>,
    pairs: BTreeSet<BTreeSet<String>>,
}

impl Done {
    pub(super) fn deed(&mut self, deed: &Deed) {
        let (kind, number) = match deed {
            Deed::Change(patches) if patches.len() == user::SEQUENCE => {
                ("in sequences of eight", patches.len())
            }
            Deed::Change(patches) => ("changes", patches.len()),
            Deed::Pair(_) => (PAIRS, 1),
            Deed::Refused(patches) => ("refused", patches.len()),
            Deed::Delete => ("deletions", 1),
            Deed::Create(_) => ("creations", 1),
            Deed::Rollback => ("rollbacks", 1),
        };
        self.count(kind, number);
        if let Deed::Pair(patch) = deed {
            let fields = fields("", patch);
            assert_eq!(fields.len(), 2, "{patch}");
            self.pairs.insert(fields);
        }
    }

    pub(super) fn count(&mut self, kind: &'static str, number: usize) {
        *self.counts.entry(kind).or_default() += number;
    }

    pub(super) fn total(&self) -> usize {
        self.counts.values().sum()
    }

    pub(super) fn line(&self, user: &User) -> String {
        let (valid, refused) = user.choices();
        format!(
            "({:?}): each of {valid} valid and {refused} refused values at least once: {}; {} of {} pairs of fields",
            self.counts,
            user.is_through(),
            self.pairs.len(),
            user.pairs(),
        )
    }

    /// Whatever the seed, no pair comes again before all came. How many are drawn is left to the seed: in a full run
    /// about four times as many as there are, and one that drew too few would fail here.
    ///
    /// # Panics
    /// Where something was left out.
    pub(super) fn leaves_nothing_out(&self, user: &User, full: bool) {
        assert!(user.is_through(), "some values were never drawn");
        let drawn = self.counts.get(PAIRS).copied().unwrap_or_default();
        assert!(drawn > 0, "no two fields were set at once");
        assert_eq!(self.pairs.len(), drawn.min(user.pairs()), "different pairs of fields, of {drawn} drawn");
        assert!(!full || self.pairs.len() == user.pairs(), "only {} pairs of fields", self.pairs.len());
    }
}

/// The fields that a patch sets or takes away.
fn fields(within: &str, patch: &Value) -> BTreeSet<String> {
    let Some(object) = patch.as_object() else { return BTreeSet::from([within.to_owned()]) };
    let below = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    object.iter().flat_map(|(name, inner)| fields(&below(name), inner)).collect()
}

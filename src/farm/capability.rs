//! What of the unpublished part of the API this farm has. Nothing is asked only to find out where asking would change
//! something: then the first use tells.

use std::collections::BTreeMap;

use crate::crd::Capability;

/// What the farm was seen to have, and to lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities(BTreeMap<Capability, bool>);

impl Capabilities {
    /// Goes on from what the farm's status lists.
    pub(super) fn new(listed: &[Capability]) -> Self {
        Self(listed.iter().map(|capability| (*capability, true)).collect())
    }

    /// Takes over how a call went that needs `capability`, where an error is its HTTP status if it has one: an answer
    /// shows that it is there, 404 and 405 that it is not, and other errors say nothing. Whether that is news.
    pub(super) fn note(&mut self, capability: Capability, answer: Result<(), Option<u16>>) -> bool {
        let has = match answer {
            Ok(()) => true,
            Err(Some(404 | 405)) => false,
            Err(_) => return false,
        };
        self.0.insert(capability, has) != Some(has)
    }

    /// Whether the farm is known to lack it.
    pub(super) fn lacks(&self, capability: Capability) -> bool {
        self.0.get(&capability) == Some(&false)
    }

    /// Whatever the farm was seen to lack, this call is tried once more.
    pub(super) fn forget_lack(&mut self, capability: Capability) {
        if self.lacks(capability) {
            self.0.remove(&capability);
        }
    }

    /// Another path, or another version of the farm, may have what was lacking. Whether anything was.
    pub(super) fn forget_lacks(&mut self) -> bool {
        let known = self.0.len();
        self.0.retain(|_, has| *has);
        self.0.len() < known
    }

    /// What is there, in the order of the definition.
    pub(super) fn listed(&self) -> Vec<Capability> {
        self.0.iter().filter(|(_, has)| **has).map(|(capability, _)| *capability).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_missing_paths_are_remembered_and_other_errors_say_nothing() {
        let mut known = Capabilities::new(&[Capability::Apply]);
        assert!(known.note(Capability::Priority, Err(Some(404))));
        assert!(!known.note(Capability::Priority, Err(Some(403))), "no news");
        assert!(known.lacks(Capability::Priority) && !known.lacks(Capability::Promote));
        assert!(known.note(Capability::Priority, Ok(())), "an upgraded farm has it");
        assert_eq!(known.listed(), [Capability::Apply, Capability::Priority]);
    }

    #[test]
    fn what_was_lacking_is_tried_again_after_a_change() {
        let mut known = Capabilities::default();
        known.note(Capability::Promote, Err(Some(405)));
        assert!(known.forget_lacks());
        assert!(!known.lacks(Capability::Promote) && !known.forget_lacks());
        assert_eq!(known.listed(), []);
    }
}

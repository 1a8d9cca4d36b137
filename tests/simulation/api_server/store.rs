//! What etcd and the watch cache keep: objects, one revision over all of them, and the changes since the last
//! compaction.

use std::collections::BTreeMap;

use serde_json::Value;

use super::apply::Owners;

/// Where an object is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// `plural.group` of its kind.
    pub(super) resource: String,
    /// Empty for cluster-wide kinds.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object as it was written: without its version, and without the defaults that came later.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) owners: Owners,
    pub(super) revision: u64,
}

/// One change of one object, as watches tell it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    /// Before it, in the version that was.
    pub(super) before: Option<Value>,
    /// After it; a deletion leaves nothing.
    pub(super) after: Option<Value>,
}

/// Everything that outlives the server's process.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) revision: u64,
    /// Changes up to this revision are forgotten.
    pub(super) compacted: u64,
    pub(super) objects: BTreeMap<Key, Stored>,
    pub(super) changes: Vec<Change>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self { revision: 1, compacted: 1, objects: BTreeMap::new(), changes: Vec::new() }
    }

    /// Objects of a kind, in one namespace or in all, in the order of a list.
    pub(super) fn of<'a>(
        &'a self,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
        self.objects.iter().filter(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|namespace| namespace == key.namespace)
        })
    }

    /// The next revision, under which a change is about to be written.
    pub(super) fn advance(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// Forgets all changes so far.
    pub(super) fn compact(&mut self) {
        self.compacted = self.revision;
        self.changes.clear();
    }
}

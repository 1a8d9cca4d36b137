//! What befalls a cluster as a whole.

use serde_json::json;

use super::ApiServer;
use super::kinds::{CRDS, KINDS};
use super::object::is_going;
use super::request::kind_named;
use super::store::Store;

/// All objects as they were at one time.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot(Store);

/// Which versions there are after a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// They count on from the snapshot: the same number may mean two versions, and a watch from a number that was not
    /// reached again stays silent.
    AsThen,
    /// They go on far above all that were given out, as `etcdutl --bump-revision --mark-compacted` does it.
    Raised,
}

impl ApiServer {
    /// Makes a namespace.
    pub(crate) fn create_namespace(&self, name: &str) {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create(manifest).expect("a namespace is created");
    }

    /// A namespace begins to end: nothing can be created in it any more. What is in it goes by [`Self::sweep`].
    pub(crate) fn terminate_namespace(&self, name: &str) {
        self.delete("Namespace", "", name).expect("a namespace that is there");
    }

    /// Deletes all objects of a kind in a namespace, as the namespace's end does, kind by kind.
    pub(crate) fn sweep(&self, kind: &str, namespace: &str) {
        let now = (self.now)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.state.lock().delete_all(kind_named(kind), Some(namespace), &now);
    }

    /// Deletes a definition, and with it all objects that it made; it is gone when they are.
    pub(crate) fn delete_definition(&self, kind: &str) {
        let name = kind_named(kind).definition.as_ref().expect("a kind of the project");
        self.delete("CustomResourceDefinition", "", name).expect("a definition that is there");
    }

    /// Whether a kind's definition is there, and is not going.
    pub(crate) fn has_definition(&self, kind: &str) -> bool {
        let name = kind_named(kind).definition.as_ref().expect("a kind of the project");
        self.get("CustomResourceDefinition", "", name).is_some_and(|definition| !is_going(&definition))
    }

    /// Ends a namespace in which nothing is any more, and makes what is missing: the namespace, and definitions.
    pub(crate) fn make_whole(&self, namespace: &str) {
        if self.get("Namespace", "", namespace).is_some_and(|namespace| is_going(&namespace)) {
            drop(self.sweep_away("Namespace", "", namespace));
        }
        if self.get("Namespace", "", namespace).is_none() {
            self.create_namespace(namespace);
        }
        for definition in CRDS.iter() {
            // What is there already stays.
            drop(self.create(definition.clone()));
        }
    }

    /// Forgets all changes so far: a watch from before is told to begin anew.
    pub(crate) fn compact(&self) {
        self.state.lock().store.compact();
    }

    /// Ends all watches, as lost connections do; they can go on from where they were.
    pub(crate) fn cut_watches(&self) {
        self.state.lock().watchers.cut(None);
    }

    /// Ends all watches; they must begin anew.
    pub(crate) fn expire_watches(&self) {
        let mut state = self.state.lock();
        state.store.compact();
        let revision = state.store.revision;
        state.watchers.expire(revision);
    }

    /// Tells all watches how far they have seen.
    pub(crate) fn send_bookmarks(&self) {
        let state = self.state.lock();
        state.watchers.bookmark(state.store.revision);
    }

    /// New watches begin with an older world and then catch up, as those of a server do whose cache lags: that is what
    /// they ask for with version 0. `None` ends it. History since the snapshot must not be compacted.
    pub(crate) fn begin_watches_with(&self, snapshot: Option<&Snapshot>) {
        self.state.lock().behind = snapshot.map(|snapshot| snapshot.0.clone());
    }

    /// How many watches are open.
    pub(crate) fn open_watches(&self) -> usize {
        self.state.lock().watchers.count()
    }

    /// All objects as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.state.lock().store.clone())
    }

    /// Everything is again as it was; all connections are lost.
    pub(crate) fn restore(&self, snapshot: &Snapshot, revision: Revision) {
        let mut state = self.state.lock();
        let reached = state.store.revision;
        state.store = snapshot.0.clone();
        state.behind = None;
        if revision == Revision::Raised {
            state.store.revision = reached + 1_000_000;
        }
        // The watch cache of a server that has just started knows no earlier changes.
        state.store.compact();
        state.watchers.cut(None);
    }

    /// The last version that was given out.
    pub(crate) fn revision(&self) -> u64 {
        self.state.lock().store.revision
    }

    /// The plural names of all kinds, for those who go through all of them.
    pub(crate) fn kinds() -> Vec<&'static str> {
        KINDS.iter().map(|kind| kind.name.as_str()).collect()
    }
}

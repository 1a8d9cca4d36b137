//! Watches: one per namespace, or one over all, brought into one order. What a list lacks is told as a deletion, for
//! the namespace that was listed alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};

use crate::kubernetes::{Namespaced, ObjectKey};

/// The longest that a watch which failed rests.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Where a watch looks: one namespace, or all of them.
pub type Scope = Option<Arc<str>>;

/// An event of the watch of one scope.
pub type Watched<K> = Result<(Scope, watcher::Event<K>), watcher::Error>;

/// The watches over these namespaces; none stands for all.
pub fn watch<K>(client: &Client, namespaces: &[String]) -> SelectAll<BoxStream<'static, Watched<K>>>
where
    K: Namespaced + Send + 'static,
{
    futures::stream::select_all(scopes(namespaces).into_iter().map(|scope| {
        let api: Api<K> = match &scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        watcher(api, watcher::Config::default().streaming_lists())
            .backoff(Pauses::default())
            .modify(|object| object.meta_mut().managed_fields = None)
            .map(move |event| event.map(|event| (scope.clone(), event)))
            .boxed()
    }))
}

/// kube's own pauses between two tries, of which the longest are up to a minute. That is too long to be blind, for what
/// costs one request: a kind that is added again is refused once more before it is served.
#[derive(Default)]
struct Pauses(watcher::DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The scopes that these namespaces make.
pub fn scopes(namespaces: &[String]) -> Vec<Scope> {
    if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|name| Some(name.as_str().into())).collect()
    }
}

/// What an event of any scope means for a cache over all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<K> {
    /// The object is there, in this version.
    Seen(K),
    /// The same, by a list: whatever newer version is known, from before it, is one that never was. An API server that
    /// was restored from a backup has such lists.
    InList(K),
    /// The object is gone.
    Gone(K),
    /// A scope was listed: whatever else is known in it is gone.
    Listed(Scope, HashSet<ObjectKey>),
    /// A list begins.
    Listing,
}

/// Gathers what the lists of each scope hold.
#[derive(Debug)]
pub struct Lists {
    /// Scopes that were never listed whole.
    missing: HashSet<Scope>,
    listing: HashMap<Scope, HashSet<ObjectKey>>,
}

impl Lists {
    /// No scope was listed yet.
    pub fn new(namespaces: &[String]) -> Self {
        Self { missing: scopes(namespaces).into_iter().collect(), listing: HashMap::new() }
    }

    /// Whether every scope was listed once.
    pub fn are_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Takes over an event.
    pub fn take<K: Namespaced>(&mut self, scope: Scope, event: watcher::Event<K>) -> Change<K> {
        match event {
            watcher::Event::Init => {
                self.listing.insert(scope, HashSet::new());
                Change::Listing
            }
            watcher::Event::InitApply(object) => {
                self.listing.entry(scope).or_default().insert(ObjectKey::of(&object));
                Change::InList(object)
            }
            watcher::Event::InitDone => {
                self.missing.remove(&scope);
                let listed = self.listing.remove(&scope).unwrap_or_default();
                Change::Listed(scope, listed)
            }
            watcher::Event::Apply(object) => Change::Seen(object),
            watcher::Event::Delete(object) => Change::Gone(object),
        }
    }
}

/// The watches of several scopes as the watch of one, for a reflector: nothing is told before every scope was listed
/// once.
pub fn as_one<K>(
    watched: impl Stream<Item = Watched<K>> + Send + 'static,
    namespaces: &[String],
) -> BoxStream<'static, watcher::Result<watcher::Event<K>>>
where
    K: Namespaced + Send + 'static,
{
    let mut merged = Merged { lists: Lists::new(namespaces), known: HashMap::new() };
    watched
        .flat_map(move |event| {
            let events = match event {
                Ok((scope, event)) => merged.take(scope, event).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(events)
        })
        .boxed()
}

/// What is known of the objects of all scopes.
struct Merged<K> {
    lists: Lists,
    known: HashMap<ObjectKey, K>,
}

impl<K: Namespaced> Merged<K> {
    fn take(&mut self, scope: Scope, event: watcher::Event<K>) -> Vec<watcher::Event<K>> {
        let was_complete = self.lists.are_complete();
        let change = self.lists.take(scope, event);
        let events = match change {
            Change::Listing => Vec::new(),
            Change::Seen(object) | Change::InList(object) => {
                self.known.insert(ObjectKey::of(&object), object.clone());
                vec![watcher::Event::Apply(object)]
            }
            Change::Gone(object) => {
                self.known.remove(&ObjectKey::of(&object));
                vec![watcher::Event::Delete(object)]
            }
            Change::Listed(scope, listed) => {
                let is_gone = |key: &ObjectKey| is_in(&scope, key) && !listed.contains(key);
                let gone = self.known.extract_if(|key, _| is_gone(key));
                gone.map(|(_, object)| watcher::Event::Delete(object)).collect()
            }
        };
        match (was_complete, self.lists.are_complete()) {
            (true, _) => events,
            (false, false) => Vec::new(),
            (false, true) => {
                let all = self.known.values().cloned().map(watcher::Event::InitApply);
                std::iter::once(watcher::Event::Init).chain(all).chain([watcher::Event::InitDone]).collect()
            }
        }
    }
}

/// Whether an object of this key is in the scope.
pub fn is_in(scope: &Scope, key: &ObjectKey) -> bool {
    scope.as_deref().is_none_or(|namespace| namespace == key.namespace)
}

/// What triggers a reconcile needs to know of an object: without spec and status it costs a fraction of the memory.
pub fn metadata_of<K: Namespaced>(object: &K) -> PartialObjectMeta<K> {
    PartialObjectMeta { types: None, metadata: object.meta().clone(), _phantom: std::marker::PhantomData }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.into());
        object.metadata.name = Some(name.into());
        object
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_another() {
        let mut lists = Lists::new(&["a".into(), "b".into()]);
        let (a, b): (Scope, Scope) = (Some("a".into()), Some("b".into()));
        lists.take(a.clone(), Event::<ConfigMap>::Init);
        lists.take(b.clone(), Event::<ConfigMap>::Init);
        lists.take(a.clone(), Event::InitApply(object("a", "one")));
        lists.take(b.clone(), Event::InitApply(object("b", "two")));
        let listed = lists.take(a.clone(), Event::<ConfigMap>::InitDone);
        assert_eq!(listed, Change::Listed(a.clone(), [ObjectKey::new("a", "one")].into()));
        assert!(!lists.are_complete());
        assert!(is_in(&a, &ObjectKey::new("a", "x")) && !is_in(&a, &ObjectKey::new("b", "two")));
        lists.take(b, Event::<ConfigMap>::InitDone);
        assert!(lists.are_complete());
    }

    #[test]
    fn a_list_that_begins_anew_forgets_what_it_had() {
        let mut lists = Lists::new(&[]);
        lists.take(None, Event::InitApply(object("a", "old")));
        lists.take(None, Event::<ConfigMap>::Init);
        lists.take(None, Event::InitApply(object("a", "new")));
        let listed = lists.take(None, Event::<ConfigMap>::InitDone);
        assert_eq!(listed, Change::Listed(None, [ObjectKey::new("a", "new")].into()));
    }

    #[test]
    fn several_scopes_are_told_as_one_and_nothing_before_all_were_listed() {
        let mut merged = Merged { lists: Lists::new(&["a".into(), "b".into()]), known: HashMap::new() };
        let (a, b): (Scope, Scope) = (Some("a".into()), Some("b".into()));
        for event in [Event::Init, Event::InitApply(object("a", "one")), Event::InitDone] {
            assert!(merged.take(a.clone(), event).is_empty());
        }
        assert!(merged.take(a.clone(), Event::Delete(object("a", "one"))).is_empty());
        assert!(merged.take(a.clone(), Event::Apply(object("a", "two"))).is_empty());
        assert!(merged.take(b.clone(), Event::Init).is_empty());
        let all = merged.take(b, Event::InitDone);
        let expected = [Event::Init, Event::InitApply(object("a", "two")), Event::InitDone];
        assert_eq!(format!("{all:?}"), format!("{expected:?}"), "what went before is not among it");
        // A list of one scope, later: what it lacks is told as gone.
        for event in [Event::Init, Event::InitApply(object("a", "three"))] {
            merged.take(a.clone(), event);
        }
        let gone = merged.take(a, Event::InitDone);
        assert_eq!(format!("{gone:?}"), format!("{:?}", [Event::Delete(object("a", "two"))]));
    }
}

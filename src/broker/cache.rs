//! The brokers as this process knows them: what was watched, overlaid by what its own writes were answered with,
//! and the indices that make a look-up cost what it finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use parking_lot::RwLock;

use super::canonical::{ServerName, canonical_address};
use super::order::{SiteKey, Stated, is_new, stated};
use crate::crd::RasBroker;
use crate::kubernetes::ObjectKey;

/// All brokers, shared. A reconcile never acts on a version from before its own last write.
#[derive(Debug, Default)]
pub struct Brokers {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<ObjectKey, Arc<RasBroker>>,
    by_farm: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    by_token: HashMap<String, BTreeSet<ObjectKey>>,
    stated: HashMap<SiteKey, BTreeMap<ObjectKey, Stated>>,
    /// By farm, those that state a priority and of which nothing has been said yet.
    new: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Sites where what is stated has changed since somebody asked.
    restated: BTreeSet<SiteKey>,
    /// Those of which a list had an older version than is known.
    doubted: BTreeSet<ObjectKey>,
    /// The last versions of those that are followed.
    followed: HashMap<ObjectKey, Arc<RasBroker>>,
}

/// An object of which the last version is remembered, as long as this lives, also where it is gone by then.
#[derive(Debug)]
pub struct Followed<'a> {
    brokers: &'a Brokers,
    key: ObjectKey,
}

impl Followed<'_> {
    /// The last version.
    pub fn last(&self) -> Option<Arc<RasBroker>> {
        self.brokers.inner.read().followed.get(&self.key).cloned()
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.brokers.inner.write().followed.remove(&self.key);
    }
}

impl Brokers {
    /// Takes over a watched version, unless a newer one is known.
    pub fn put(&self, broker: Arc<RasBroker>) {
        self.inner.write().put(broker);
    }

    /// The same of a version that a call was answered with. One that comes after its object was told to be gone brings
    /// nothing back: nobody would ever tell again.
    pub fn put_answer(&self, broker: Arc<RasBroker>) {
        let mut inner = self.inner.write();
        if inner.has(&broker) {
            inner.put(broker);
        }
    }

    /// Remembers what becomes of an object.
    pub fn follow(&self, broker: &Arc<RasBroker>) -> Followed<'_> {
        let key = ObjectKey::of(broker.as_ref());
        self.inner.write().followed.insert(key.clone(), Arc::clone(broker));
        Followed { brokers: self, key }
    }

    /// A list has this version. Where a newer one is known, either the list was on its way when that was answered, or the
    /// API server was restored: only reading the object tells. Answers whether that is so.
    pub fn doubt(&self, listed: &RasBroker) -> bool {
        let mut inner = self.inner.write();
        let key = ObjectKey::of(listed);
        let is_older = inner.objects.get(&key).is_some_and(|known| version(known) > version(listed));
        if is_older {
            inner.doubted.insert(key);
        }
        is_older
    }

    /// What is known of the object is not what stands: it is read before anything else is decided on it.
    pub fn distrust(&self, key: &ObjectKey) {
        self.inner.write().doubted.insert(key.clone());
    }

    /// Whether the object is to be read before anything is decided on what is known of it.
    pub fn is_doubted(&self, key: &ObjectKey) -> bool {
        self.inner.read().doubted.contains(key)
    }

    /// Takes over what was read because `doubted` met another version, or a list had an older one: whatever is known is not
    /// it. An API server that was restored has versions from before it, which no comparison would ever let in. What was
    /// watched while the object was read is compared as ever.
    pub fn correct(&self, doubted: &RasBroker, broker: Arc<RasBroker>) {
        let mut inner = self.inner.write();
        let key = ObjectKey::of(broker.as_ref());
        let is_there = inner.objects.contains_key(&key);
        if inner.objects.get(&key).is_some_and(|known| version(known) == version(doubted)) {
            inner.forget(&key);
        }
        inner.doubted.remove(&key);
        if is_there {
            inner.put(broker);
        }
    }

    /// Takes over a deletion; a new object under the same name stays.
    pub fn remove(&self, broker: &RasBroker) {
        let mut inner = self.inner.write();
        let key = ObjectKey::of(broker);
        inner.note_last(broker);
        if inner.has(broker) {
            inner.note_restated(Some(broker), None);
            inner.forget(&key);
        }
    }

    /// The brokers that `is_missing` from a list, which are gone.
    pub fn missing(&self, is_missing: impl Fn(&ObjectKey) -> bool) -> Vec<Arc<RasBroker>> {
        let inner = self.inner.read();
        inner
            .objects
            .iter()
            .filter(|(key, _)| is_missing(key))
            .map(|(_, broker)| Arc::clone(broker))
            .collect()
    }

    /// The newest known version.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<RasBroker>> {
        self.inner.read().objects.get(key).cloned()
    }

    /// The brokers that name this farm.
    pub fn of_farm(&self, farm: &ObjectKey) -> Vec<Arc<RasBroker>> {
        let inner = self.inner.read();
        inner
            .by_farm
            .get(farm)
            .into_iter()
            .flatten()
            .filter_map(|key| inner.objects.get(key))
            .cloned()
            .collect()
    }

    /// The brokers of a site that state a priority, whichever `RasFarm` they name.
    pub fn stated(&self, site: &SiteKey) -> Vec<Stated> {
        self.inner.read().stated.get(site).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Whether a broker of this farm states a priority and has not been looked at yet.
    pub fn awaits_more(&self, farm: &ObjectKey) -> bool {
        self.inner.read().new.contains_key(farm)
    }

    /// The sites where what is stated has changed since this was asked last.
    pub fn take_restated(&self) -> BTreeSet<SiteKey> {
        if self.inner.read().restated.is_empty() {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.inner.write().restated)
    }

    /// Other brokers that may mean the same machine, in any farm.
    pub fn similar(&self, broker: &RasBroker) -> Vec<Arc<RasBroker>> {
        let own = ObjectKey::of(broker);
        let inner = self.inner.read();
        let keys: BTreeSet<&ObjectKey> =
            tokens(broker).iter().filter_map(|token| inner.by_token.get(token)).flatten().collect();
        keys.into_iter()
            .filter(|key| **key != own)
            .filter_map(|key| inner.objects.get(key))
            .cloned()
            .collect()
    }
}

impl Inner {
    fn has(&self, broker: &RasBroker) -> bool {
        let known = self.objects.get(&ObjectKey::of(broker));
        known.is_some_and(|known| known.metadata.uid == broker.metadata.uid)
    }

    fn put(&mut self, broker: Arc<RasBroker>) {
        let key = ObjectKey::of(broker.as_ref());
        self.note_last(&broker);
        if self.objects.get(&key).is_some_and(|known| version(known) > version(&broker)) {
            return;
        }
        self.note_restated(self.objects.get(&key).map(Arc::clone).as_deref(), Some(&broker));
        self.forget(&key);
        self.by_farm.entry(farm_of(&broker)).or_default().insert(key.clone());
        for token in tokens(&broker) {
            self.by_token.entry(token).or_default().insert(key.clone());
        }
        if is_new(&broker) {
            self.new.entry(farm_of(&broker)).or_default().insert(key.clone());
        }
        if let Some((site, stated)) = stated(&broker) {
            self.stated.entry(site).or_default().insert(key.clone(), stated);
        }
        self.objects.insert(key, broker);
    }

    fn note_last(&mut self, broker: &RasBroker) {
        let last = self.followed.get_mut(&ObjectKey::of(broker));
        let is_same = |last: &&mut Arc<RasBroker>| last.metadata.uid == broker.metadata.uid;
        if let Some(last) = last.filter(is_same).filter(|last| version(broker) > version(last)) {
            *last = Arc::new(broker.clone());
        }
    }

    fn note_restated(&mut self, before: Option<&RasBroker>, after: Option<&RasBroker>) {
        let (before, after) = (before.and_then(stated), after.and_then(stated));
        if before != after {
            self.restated.extend([before, after].into_iter().flatten().map(|(site, _)| site));
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.doubted.remove(key);
        let Some(broker) = self.objects.remove(key) else { return };
        unlink(&mut self.by_farm, &farm_of(&broker), key);
        unlink(&mut self.new, &farm_of(&broker), key);
        for token in tokens(&broker) {
            unlink(&mut self.by_token, &token, key);
        }
        if let Some((site, _)) = stated(&broker)
            && let Some(others) = self.stated.get_mut(&site)
        {
            others.remove(key);
            if others.is_empty() {
                self.stated.remove(&site);
            }
        }
    }
}

fn unlink<K: std::hash::Hash + Eq>(index: &mut HashMap<K, BTreeSet<ObjectKey>>, at: &K, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

/// Resource versions of one kind are ordered; comparing them is sound since Kubernetes 1.35 says so, and was before.
fn version(broker: &RasBroker) -> u64 {
    broker.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The farm that a broker names.
pub fn farm_of(broker: &RasBroker) -> ObjectKey {
    ObjectKey::new(broker.namespace().unwrap_or_default(), broker.spec.farm_ref.name.clone())
}

/// What two spellings of one machine have in common: the name, its first label, the address.
fn tokens(broker: &RasBroker) -> Vec<String> {
    let name = ServerName::new(&broker.spec.server);
    let mut tokens: Vec<String> = name.tokens().map(str::to_owned).collect();
    tokens.extend(broker.spec.ip.as_deref().map(canonical_address).filter(|ip| !ip.is_empty()));
    tokens
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn broker(version: &str, spec: &serde_json::Value) -> Arc<RasBroker> {
        let mut all = json!({"farmRef": {"name": "north"}, "server": "cb1"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let mut broker = RasBroker::new("cb1", serde_json::from_value(all).unwrap());
        broker.metadata.uid = Some("u1".to_owned());
        broker.metadata.resource_version = Some(version.to_owned());
        Arc::new(broker)
    }

    #[test]
    fn an_answer_that_comes_late_brings_no_object_back() {
        let brokers = Brokers::default();
        let (first, answer) = (broker("1", &json!({})), broker("2", &json!({})));
        let key = ObjectKey::of(first.as_ref());
        brokers.put(Arc::clone(&first));
        brokers.put_answer(Arc::clone(&answer));
        assert_eq!(brokers.get(&key), Some(Arc::clone(&answer)));
        brokers.remove(&answer);
        brokers.put_answer(broker("3", &json!({})));
        brokers.correct(&answer, broker("3", &json!({})));
        assert_eq!(brokers.get(&key), None);
        brokers.put(broker("4", &json!({})));
        assert!(brokers.get(&key).is_some(), "what is watched is there");
    }

    #[test]
    fn of_what_is_followed_the_last_version_is_known_as_long_as_that() {
        let brokers = Brokers::default();
        let first = broker("1", &json!({}));
        brokers.put(Arc::clone(&first));
        let followed = brokers.follow(&first);
        brokers.put(broker("2", &json!({"deletionPolicy": "Orphan"})));
        let last = broker("3", &json!({"deletionPolicy": "Orphan", "suspend": true}));
        brokers.remove(&last);
        brokers.put(broker("2", &json!({})));
        assert_eq!(followed.last(), Some(last));
        drop(followed);
        assert!(brokers.inner.read().followed.is_empty());
    }
}

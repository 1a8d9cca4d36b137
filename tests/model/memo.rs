//! What was found out once, for all explorations and their threads.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{LazyLock, Mutex, PoisonError};

const SHARDS: usize = 64;

type Shard<K, V> = Mutex<HashMap<K, V>>;

/// A map that threads share.
pub struct Memo<K, V> {
    shards: LazyLock<Vec<Shard<K, V>>>,
}

impl<K: Hash + Eq, V: Clone> Memo<K, V> {
    pub const fn new() -> Self {
        Self { shards: LazyLock::new(|| (0..SHARDS).map(|_| Mutex::default()).collect()) }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        self.shard(key).lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub fn insert(&self, key: K, value: V) {
        self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    fn shard(&self, key: &K) -> &Shard<K, V> {
        let hash = fingerprint(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

/// What stands for a value where the value itself would take too much room, as in the checker.
pub fn fingerprint(value: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

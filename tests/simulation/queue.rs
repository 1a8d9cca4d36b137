//! A controller, of brokers or of promotions, in an order that is the same each time: one entry for each key, at most so many at a
//! time, again when asked to. What kube's does with wall-clock time and hash maps, this does with neither.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use ras_operator::broker::reconcile::Again;
use ras_operator::kubernetes::{Namespaced, ObjectKey};
use ras_operator::runtime::{Reconcile, Signals, Work};
use tokio::time::Instant;

/// As the product's: what is asked for within this time is done once.
const DEBOUNCE: Duration = Duration::from_millis(50);
#[derive(Default)]
struct Queue {
    due: BTreeMap<ObjectKey, Instant>,
    running: BTreeSet<ObjectKey>,
    futures: FuturesUnordered<BoxFuture<'static, (ObjectKey, Again)>>,
}

/// Reconciles what `work` tells of until it is to stop.
pub async fn control<K: Namespaced + 'static>(work: Work<K>) {
    let Work { mut triggers, store, mut woken, reconcile, concurrency, signals } = work;
    let Signals { begun, stop } = signals;
    let mut queue = Queue::default();
    let mut has_begun = false;
    loop {
        queue.start(&reconcile, usize::from(concurrency));
        let next = queue.next();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(trigger) = triggers.next() => {
                if let Ok(object) = trigger {
                    queue.ask(ObjectKey::of(&object), DEBOUNCE);
                }
            }
            Some(key) = woken.recv() => queue.ask(key, DEBOUNCE),
            () = begun.cancelled(), if !has_begun => {
                has_begun = true;
                let all: BTreeSet<ObjectKey> =
                    store.state().iter().map(|object| ObjectKey::of(object.as_ref())).collect();
                for key in all {
                    queue.ask(key, DEBOUNCE);
                }
            }
            Some((key, again)) = queue.futures.next(), if !queue.futures.is_empty() => queue.done(key, again),
            () = tokio::time::sleep_until(next) => {}
        }
    }
    while queue.futures.next().await.is_some() {}
}

impl Queue {
    /// The earliest time that was asked for counts.
    fn ask(&mut self, key: ObjectKey, after: Duration) {
        let at = Instant::now() + after;
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    fn next(&self) -> Instant {
        let waiting = self.due.iter().filter(|(key, _)| !self.running.contains(*key));
        waiting.map(|(_, at)| *at).min().unwrap_or_else(|| Instant::now() + Duration::from_hours(1))
    }

    fn start(&mut self, reconcile: &Reconcile, concurrency: usize) {
        let now = Instant::now();
        let ready: Vec<ObjectKey> = self
            .due
            .iter()
            .filter(|(key, at)| **at <= now && !self.running.contains(*key))
            .map(|(key, _)| key.clone())
            .take(concurrency.saturating_sub(self.running.len()))
            .collect();
        for key in ready {
            self.due.remove(&key);
            self.running.insert(key.clone());
            self.futures.push(reconcile(key.clone()).map(|again| (key, again)).boxed());
        }
    }

    fn done(&mut self, key: ObjectKey, again: Again) {
        self.running.remove(&key);
        if let Some(after) = again {
            self.ask(key, after);
        }
    }
}

//! Whether the tasks that must not die are alive, as `/healthz` tells it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A register of tasks that must not die. Cheap to clone; all clones share the same register.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Register>);

/// The proof of life of one task, held by it for as long as it runs.
///
/// Dropping it without [`Heartbeat::finish`] (an early return, an abort, a cancelled future) is
/// the task's death, and `/healthz` fails from then on.
#[derive(Debug)]
#[must_use = "dropping it reports the task as dead"]
pub struct Heartbeat {
    register: Arc<Register>,
    key: u64,
}

#[derive(Debug, Default)]
struct Register {
    next: AtomicU64,
    tasks: Mutex<BTreeMap<u64, Task>>,
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    /// The longest silence that is healthy; `None` for a task that only waits.
    limit: Option<Duration>,
    pulse: Pulse,
}

#[derive(Debug)]
enum Pulse {
    Last(Instant),
    Dead,
}

impl Liveness {
    /// Watches a task until its [`Heartbeat`] is finished. With a `limit` it must also call
    /// [`Heartbeat::beat`] at least that often, else it counts as stuck.
    pub fn watch(&self, name: &'static str, limit: Option<Duration>) -> Heartbeat {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let pulse = Pulse::Last(Instant::now());
        self.0.with(|tasks| tasks.insert(key, Task { name, limit, pulse }));
        Heartbeat { register: Arc::clone(&self.0), key }
    }

    /// One sentence per task that is dead or stuck; empty when all are well.
    pub fn ailing(&self) -> Vec<String> {
        let now = Instant::now();
        self.0.with(|tasks| tasks.values().filter_map(|task| task.ailment(now)).collect())
    }
}

impl Heartbeat {
    /// The task made progress.
    pub fn beat(&self) {
        self.set(Pulse::Last(Instant::now()));
    }

    /// The task ends as intended and is no longer watched.
    pub fn finish(self) {
        self.register.with(|tasks| tasks.remove(&self.key));
    }

    fn set(&self, pulse: Pulse) {
        self.register.with(|tasks| {
            if let Some(task) = tasks.get_mut(&self.key) {
                task.pulse = pulse;
            }
        });
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.set(Pulse::Dead);
    }
}

impl Task {
    fn ailment(&self, now: Instant) -> Option<String> {
        let Self { name, limit, pulse } = self;
        match (pulse, limit) {
            (Pulse::Dead, _) => Some(format!("task {name} has died")),
            (Pulse::Last(_), None) => None,
            (Pulse::Last(last), Some(limit)) => {
                let silent = now.saturating_duration_since(*last);
                (silent > *limit).then(|| format!("task {name} is silent for more than {limit:?}"))
            }
        }
    }
}

impl Register {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, Task>) -> T) -> T {
        act(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_task_that_beats_in_time_is_well() {
        let liveness = Liveness::default();
        let heartbeat = liveness.watch("poller", Some(LIMIT));
        tokio::time::advance(LIMIT).await;
        assert_eq!(liveness.ailing(), Vec::<String>::new());
        heartbeat.beat();
        tokio::time::advance(LIMIT).await;
        assert_eq!(liveness.ailing(), Vec::<String>::new());
        heartbeat.finish();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_task_is_named_until_it_beats_again() {
        let liveness = Liveness::default();
        let heartbeat = liveness.watch("poller", Some(LIMIT));
        tokio::time::advance(LIMIT + Duration::from_millis(1)).await;
        assert_eq!(liveness.ailing(), ["task poller is silent for more than 10s"]);
        heartbeat.beat();
        assert_eq!(liveness.ailing(), Vec::<String>::new());
        heartbeat.finish();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_only_waits_may_be_silent_for_ever() {
        let liveness = Liveness::default();
        let heartbeat = liveness.watch("watch", None);
        tokio::time::advance(LIMIT * 1000).await;
        assert_eq!(liveness.ailing(), Vec::<String>::new());
        heartbeat.finish();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_heartbeat_is_a_death_and_a_finished_one_is_not() {
        let liveness = Liveness::default();
        liveness.watch("finished", None).finish();
        drop(liveness.watch("dropped", None));
        assert_eq!(liveness.ailing(), ["task dropped has died"]);
    }
}

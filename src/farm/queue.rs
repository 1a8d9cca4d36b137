//! Who waits for the farm: brokers queue without holding a worker, and are called when their turn comes, so that
//! one slow or limited farm delays no other. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::kubernetes::ObjectKey;

/// How long a broker that was called keeps its place: its reconcile may itself wait for a worker.
const CALLED_FOR: Duration = Duration::from_secs(10);

/// What a step needs of the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// How many calls it makes.
    pub calls: usize,
    /// Whether it writes, and so needs an open batch.
    pub writes: bool,
    /// Whether it must be decided on a fresh list.
    pub fresh_list: bool,
}

/// First come, first called.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(ObjectKey, Need)>,
    called: HashMap<ObjectKey, Duration>,
}

impl Queue {
    /// How many wait or were called and have not come yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.called.len()
    }

    /// Whether anyone waits with such a need.
    pub fn any(&self, needs: impl Fn(&Need) -> bool) -> bool {
        self.waiting.iter().any(|(_, need)| needs(need))
    }

    /// Whether `key` may go now: it was called, or nobody is before it.
    pub fn is_turn_of(&self, key: &ObjectKey) -> bool {
        self.called.contains_key(key) || self.waiting.is_empty()
    }

    /// `key` goes.
    pub fn leave(&mut self, key: &ObjectKey) {
        self.called.remove(key);
        self.waiting.retain(|(other, _)| other != key);
    }

    /// `key` waits.
    pub fn join(&mut self, key: &ObjectKey, need: Need) {
        self.called.remove(key);
        match self.waiting.iter_mut().find(|(other, _)| other == key) {
            Some(entry) => entry.1 = need,
            None => self.waiting.push_back((key.clone(), need)),
        }
    }

    /// Calls those whose turn it is, as long as `calls` and `places` last.
    pub fn call(
        &mut self,
        now: Duration,
        calls: usize,
        places: usize,
        may_go: impl Fn(&Need) -> bool,
    ) -> Vec<ObjectKey> {
        self.called.retain(|_, since| now.saturating_sub(*since) < CALLED_FOR);
        let mut places = places.saturating_sub(self.called.len());
        let mut calls = calls.saturating_sub(self.called.len());
        let mut called = Vec::new();
        let mut still = VecDeque::new();
        for (key, need) in self.waiting.drain(..) {
            if may_go(&need) && places > 0 && calls >= need.calls {
                places -= 1;
                calls -= need.calls;
                self.called.insert(key.clone(), now);
                called.push(key);
            } else {
                still.push_back((key, need));
            }
        }
        self.waiting = still;
        called
    }

    /// Calls everybody: the world changed, and each must decide anew.
    pub fn call_all(&mut self) -> Vec<ObjectKey> {
        self.called.clear();
        self.waiting.drain(..).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Need = Need { calls: 1, writes: true, fresh_list: false };

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn first_come_first_called_and_nobody_twice() {
        let mut queue = Queue::default();
        for name in ["a", "b", "a", "c"] {
            queue.join(&key(name), WRITE);
        }
        assert_eq!(queue.call(Duration::ZERO, 2, 8, |_| true), [key("a"), key("b")]);
        assert!(queue.is_turn_of(&key("a")) && !queue.is_turn_of(&key("c")));
        assert_eq!(queue.call(Duration::ZERO, 2, 8, |_| true), [], "two places are taken");
        queue.leave(&key("a"));
        assert_eq!(queue.call(Duration::ZERO, 2, 8, |_| true), [key("c")]);
    }

    #[test]
    fn who_was_called_and_does_not_come_loses_its_place() {
        let mut queue = Queue::default();
        queue.join(&key("a"), WRITE);
        queue.join(&key("b"), WRITE);
        assert_eq!(queue.call(Duration::ZERO, 1, 1, |_| true), [key("a")]);
        assert_eq!(queue.call(CALLED_FOR, 1, 1, |_| true), [key("b")]);
    }

    #[test]
    fn who_may_not_go_does_not_block_who_may() {
        let mut queue = Queue::default();
        queue.join(&key("writer"), WRITE);
        queue.join(&key("reader"), Need { writes: false, ..WRITE });
        assert_eq!(queue.call(Duration::ZERO, 9, 9, |need| !need.writes), [key("reader")]);
    }
}

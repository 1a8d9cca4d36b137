//! Who waits for the farm: brokers queue without holding a worker, and are called when their turn comes, so that
//! one slow or limited farm delays no other. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::batch::Pace;
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
    /// How long its calls take.
    pub pace: Pace,
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

    /// Whether nobody waits and nobody is awaited.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// `key` waits. Who was called and could not go after all is the first again.
    pub fn join(&mut self, key: &ObjectKey, need: Need) {
        let was_called = self.called.remove(key).is_some();
        match self.waiting.iter_mut().find(|(other, _)| other == key) {
            Some(entry) => entry.1 = need,
            None if was_called => self.waiting.push_front((key.clone(), need)),
            None => self.waiting.push_back((key.clone(), need)),
        }
    }

    /// Calls those whose turn it is, as long as `calls` and `places` last; `limit` is the most calls there can be.
    pub fn call(
        &mut self,
        now: Duration,
        calls: usize,
        places: usize,
        limit: usize,
        may_go: impl Fn(&Need) -> bool,
    ) -> Vec<ObjectKey> {
        self.called.retain(|_, since| now.saturating_sub(*since) < CALLED_FOR);
        let mut places = places.saturating_sub(self.called.len());
        let mut calls = calls.saturating_sub(self.called.len());
        let mut called = Vec::new();
        let mut still = VecDeque::new();
        for (key, need) in self.waiting.drain(..) {
            let needed = need.calls.min(limit);
            if !may_go(&need) || places == 0 {
                still.push_back((key, need));
            } else if calls < needed {
                // Calls are saved up for it: those who need fewer must not overtake it for ever.
                calls = 0;
                still.push_back((key, need));
            } else {
                places -= 1;
                calls -= needed;
                self.called.insert(key.clone(), now);
                called.push(key);
            }
        }
        self.waiting = still;
        called
    }

    /// Calls those with such a need, who do not go but must look again.
    pub fn release(&mut self, whom: impl Fn(&Need) -> bool) -> Vec<ObjectKey> {
        let (released, still) = self.waiting.drain(..).partition::<VecDeque<_>, _>(|(_, need)| whom(need));
        self.waiting = still;
        released.into_iter().map(|(key, _)| key).collect()
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

    const WRITE: Need = Need { calls: 1, writes: true, fresh_list: false, pace: Pace::Ordinary };

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn first_come_first_called_and_nobody_twice() {
        let mut queue = Queue::default();
        for name in ["a", "b", "a", "c"] {
            queue.join(&key(name), WRITE);
        }
        assert_eq!(queue.call(Duration::ZERO, 2, 8, 9, |_| true), [key("a"), key("b")]);
        assert!(queue.is_turn_of(&key("a")) && !queue.is_turn_of(&key("c")));
        assert_eq!(queue.call(Duration::ZERO, 2, 8, 9, |_| true), [], "two places are taken");
        queue.leave(&key("a"));
        assert_eq!(queue.call(Duration::ZERO, 2, 8, 9, |_| true), [key("c")]);
    }

    #[test]
    fn who_was_called_and_does_not_come_loses_its_place() {
        let mut queue = Queue::default();
        queue.join(&key("a"), WRITE);
        queue.join(&key("b"), WRITE);
        assert_eq!(queue.call(Duration::ZERO, 1, 1, 9, |_| true), [key("a")]);
        assert_eq!(queue.call(CALLED_FOR, 1, 1, 9, |_| true), [key("b")]);
    }

    #[test]
    fn who_needs_more_calls_is_not_overtaken_for_ever() {
        let mut queue = Queue::default();
        queue.join(&key("two"), Need { calls: 2, ..WRITE });
        queue.join(&key("one"), WRITE);
        assert_eq!(queue.call(Duration::ZERO, 1, 9, 9, |_| true), []);
        assert_eq!(queue.call(Duration::ZERO, 2, 9, 9, |_| true), [key("two")]);
    }

    #[test]
    fn who_needs_more_calls_than_there_can_be_goes_with_all_of_them() {
        let mut queue = Queue::default();
        queue.join(&key("two"), Need { calls: 2, ..WRITE });
        assert_eq!(queue.call(Duration::ZERO, 1, 9, 1, |_| true), [key("two")]);
    }

    #[test]
    fn who_was_called_in_vain_is_the_first_again() {
        let mut queue = Queue::default();
        queue.join(&key("a"), WRITE);
        queue.join(&key("b"), WRITE);
        assert_eq!(queue.call(Duration::ZERO, 1, 1, 9, |_| true), [key("a")]);
        queue.join(&key("a"), WRITE);
        assert_eq!(queue.call(Duration::ZERO, 1, 1, 9, |_| true), [key("a")]);
    }

    #[test]
    fn who_may_not_go_does_not_block_who_may() {
        let mut queue = Queue::default();
        queue.join(&key("writer"), WRITE);
        queue.join(&key("reader"), Need { writes: false, ..WRITE });
        assert_eq!(queue.call(Duration::ZERO, 9, 9, 9, |need| !need.writes), [key("reader")]);
    }
}

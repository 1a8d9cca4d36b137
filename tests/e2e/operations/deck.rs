//! Cards in an order that a seed determines, and in another one each time they are through.

use crate::support::random::Random;

/// Deals each card before any comes again.
#[derive(Debug)]
pub(super) struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
    dealt: usize,
}

impl<T: Clone> Deck<T> {
    pub(super) fn new(all: Vec<T>) -> Self {
        Self { left: all.clone(), all, dealt: 0 }
    }

    pub(super) fn all(&self) -> &[T] {
        &self.all
    }

    pub(super) fn draw(&mut self, random: &mut Random) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        self.dealt += 1;
        self.left.swap_remove(random.below(self.left.len()))
    }

    /// Whether each card was dealt.
    pub(super) fn is_through(&self) -> bool {
        self.dealt >= self.all.len()
    }
}

#[test]
fn each_card_comes_before_any_comes_again_and_a_seed_replays() {
    for seed in 0..100 {
        let deal = || {
            let (mut deck, mut random) = (Deck::new((0..20).collect()), Random::new(seed));
            let mut deal = || (0..20).map(|_| deck.draw(&mut random)).collect::<Vec<u8>>();
            [deal(), deal()]
        };
        let rounds = deal();
        assert_ne!(rounds[0], rounds[1], "seed {seed}: the order is another one each time");
        for mut round in rounds.clone() {
            round.sort_unstable();
            assert!(round.into_iter().eq(0..20), "seed {seed}");
        }
        assert_eq!(deal(), rounds, "seed {seed}");
    }
}

//! A user who writes to objects what their schema allows, and what it does not: drawn from a seed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::catalogue::{Choice, of_brokers};
use super::deck::Deck;
use crate::support::random::Random;

/// How many changes are made at once, without a look at what comes of the ones before.
pub(super) const SEQUENCE: usize = 8;

/// What is done to one object in one round.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Merge patches of the spec, one right after the other.
    Change(Vec<Value>),
    /// A merge patch that sets two fields at once.
    Pair(Value),
    /// Patches that must be refused, and change nothing.
    Refused(Vec<Value>),
    /// The object is deleted.
    Delete,
    /// The object is created with this laid over what names it.
    Create(Value),
    /// The spec as it was after an earlier round.
    Rollback,
}

/// Draws deeds. By themselves, each valid and each refused choice comes before any comes again, and so does each pair of
/// fields; the steps of a sequence are drawn one by one.
#[derive(Debug)]
pub(super) struct User {
    random: Random,
    valid: Deck<Choice>,
    refused: Deck<Choice>,
    pairs: Deck<[String; 2]>,
}

impl User {
    pub(super) fn new(seed: u64) -> Self {
        let (valid, refused): (Vec<_>, Vec<_>) = of_brokers().into_iter().partition(|choice| choice.valid);
        let pairs = Deck::new(pairs(&valid));
        Self { random: Random::new(seed), valid: Deck::new(valid), refused: Deck::new(refused), pairs }
    }

    /// How many choices there are of each kind.
    pub(super) fn choices(&self) -> (usize, usize) {
        (self.valid.all().len(), self.refused.all().len())
    }

    /// How many pairs of fields may be set at once.
    pub(super) fn pairs(&self) -> usize {
        self.pairs.all().len()
    }

    /// Whether every choice was drawn by itself.
    pub(super) fn is_through(&self) -> bool {
        self.valid.is_through() && self.refused.is_through()
    }

    fn valid(&mut self) -> Value {
        self.valid.draw(&mut self.random).patch()
    }

    fn refused(&mut self) -> Value {
        self.refused.draw(&mut self.random).patch()
    }

    /// What to do with an object that is there; `owns` says whether a broker in the farm is its own.
    pub(super) fn deed(&mut self, owns: bool, may_delete: bool) -> Deed {
        match self.random.below(20) {
            // One that lost its broker gets it back now and then, or there would be little to see.
            0..10 if !owns => {
                Deed::Change(vec![json!({"managementPolicy": "Managed", "adoptionPolicy": "IfExists"})])
            }
            0..7 => Deed::Change(vec![self.valid()]),
            7..11 => self.pair(),
            11..14 => Deed::Refused((0..4).map(|_| self.refused()).collect()),
            14 | 15 if may_delete => Deed::Delete,
            14..18 => Deed::Rollback,
            _ if owns => Deed::Change((0..SEQUENCE).map(|_| self.step().patch()).collect()),
            _ => Deed::Change(vec![self.valid()]),
        }
    }

    /// The next pair of fields, each with any of its values.
    fn pair(&mut self) -> Deed {
        let mut both = json!({});
        for path in self.pairs.draw(&mut self.random) {
            let values: Vec<&Choice> = self.valid.all().iter().filter(|choice| choice.path == path).collect();
            crate::world::merge(&mut both, self.random.of(&values).patch());
        }
        Deed::Pair(both)
    }

    /// A step of a sequence: any choice, whatever came before. Whether an object that observes for a moment lets go
    /// depends on the moment.
    fn step(&mut self) -> Choice {
        loop {
            let choice = self.random.of(self.valid.all());
            if choice.path != "managementPolicy" {
                return choice;
            }
        }
    }

    /// A new object: three fields of its spec.
    pub(super) fn creation(&mut self) -> Deed {
        let mut spec = json!({});
        for _ in 0..3 {
            let choice = self.valid.draw(&mut self.random);
            if !choice.value.is_null() {
                crate::world::merge(&mut spec, choice.patch());
            }
        }
        Deed::Create(spec)
    }
}

/// Every two fields that one patch can set: all but a field and a part of it.
fn pairs(valid: &[Choice]) -> Vec<[String; 2]> {
    let paths: BTreeSet<&str> = valid.iter().map(|choice| choice.path.as_str()).collect();
    let mut pairs = Vec::new();
    for first in &paths {
        let part = format!("{first}.");
        let others = paths.iter().filter(|path| *path > first && !path.starts_with(&part));
        pairs.extend(others.map(|second| [(*first).to_owned(), (*second).to_owned()]));
    }
    pairs
}

#[test]
fn any_two_fields_follow_each_other_in_sequences() {
    let mut user = User::new(1);
    let steps: Vec<String> = (0..40_000).map(|_| user.step().path).collect();
    let seen: BTreeSet<(&String, &String)> = steps.iter().zip(&steps[1..]).collect();
    let others =
        user.valid.all().iter().map(|choice| &choice.path).filter(|path| *path != "managementPolicy");
    let fields = others.collect::<BTreeSet<_>>().len();
    assert_eq!(seen.len(), fields * fields, "of {fields} fields");
}

//! A user who writes to objects what their schema allows, and what it does not: drawn from a seed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::catalogue::{Choice, choices};
use crate::support::random::Random;

/// How many changes are made at once, without a look at what comes of the ones before.
pub(super) const SEQUENCE: usize = 8;

/// What is done to one object in one round.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Merge patches of the spec, one right after the other.
    Change(Vec<Value>),
    /// Patches that must be refused, and change nothing.
    Refused(Vec<Value>),
    /// The object is deleted.
    Delete,
    /// The object is created with this laid over what names it.
    Create(Value),
    /// The spec as it was after an earlier round.
    Rollback,
}

/// Draws deeds, so that each valid and each refused choice comes before any comes again.
#[derive(Debug)]
pub(super) struct User {
    random: Random,
    valid: Vec<Choice>,
    refused: Vec<Choice>,
    next_valid: usize,
    next_refused: usize,
    /// Pairs of fields that were changed together.
    pub(super) pairs: BTreeSet<(String, String)>,
}

impl User {
    pub(super) fn new(seed: u64) -> Self {
        let (valid, refused) = choices().into_iter().partition(|choice| choice.valid);
        let mut user = Self {
            random: Random::new(seed),
            valid,
            refused,
            next_valid: 0,
            next_refused: 0,
            pairs: BTreeSet::new(),
        };
        user.shuffle();
        user
    }

    fn shuffle(&mut self) {
        for list in [&mut self.valid, &mut self.refused] {
            for place in (1..list.len()).rev() {
                list.swap(place, self.random.below(place + 1));
            }
        }
    }

    /// How many choices there are of each kind.
    pub(super) fn choices(&self) -> (usize, usize) {
        (self.valid.len(), self.refused.len())
    }

    /// Whether every choice was drawn.
    pub(super) fn is_through(&self) -> bool {
        self.next_valid >= self.valid.len() && self.next_refused >= self.refused.len()
    }

    fn valid(&mut self) -> Choice {
        let choice = self.valid[self.next_valid % self.valid.len()].clone();
        self.next_valid += 1;
        choice
    }

    fn refused(&mut self) -> Choice {
        let choice = self.refused[self.next_refused % self.refused.len()].clone();
        self.next_refused += 1;
        choice
    }

    /// What to do with an object that is there; `owns` says whether a broker in the farm is its own.
    pub(super) fn deed(&mut self, owns: bool, may_delete: bool) -> Deed {
        match self.random.below(20) {
            // One that lost its broker gets it back now and then, or there would be little to see.
            0..10 if !owns => {
                Deed::Change(vec![json!({"managementPolicy": "Managed", "adoptionPolicy": "IfExists"})])
            }
            0..7 => Deed::Change(vec![self.valid().patch()]),
            7..11 => self.pair(),
            11..14 => Deed::Refused((0..4).map(|_| self.refused().patch()).collect()),
            14 | 15 if may_delete => Deed::Delete,
            14..18 => Deed::Rollback,
            _ if owns => Deed::Change((0..SEQUENCE).map(|_| self.step()).collect()),
            _ => Deed::Change(vec![self.valid().patch()]),
        }
    }

    fn pair(&mut self) -> Deed {
        let first = self.valid();
        let second = self.valid();
        if first.path.split('.').next() == second.path.split('.').next() {
            return Deed::Change(vec![first.patch(), second.patch()]);
        }
        self.pairs.insert((
            first.path.clone().min(second.path.clone()),
            first.path.clone().max(second.path.clone()),
        ));
        let mut both = first.patch();
        crate::world::merge(&mut both, second.patch());
        Deed::Change(vec![both])
    }

    /// A step of a sequence. Whether an object that observes for a moment lets go depends on the moment.
    fn step(&mut self) -> Value {
        loop {
            let choice = self.valid();
            if choice.path != "managementPolicy" {
                return choice.patch();
            }
        }
    }

    /// A new object: three fields of its spec.
    pub(super) fn creation(&mut self) -> Deed {
        let mut spec = json!({});
        for _ in 0..3 {
            let choice = self.valid();
            if !choice.value.is_null() {
                crate::world::merge(&mut spec, choice.patch());
            }
        }
        Deed::Create(spec)
    }
}

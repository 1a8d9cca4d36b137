//! The model of one promotion: the product's own plan under every interleaving of two processes, the API server and the
//! farm, with any two faults. What stands between two decisions mirrors `src/promotion/execute.rs` and
//! `src/promotion/reconcile.rs`; the decisions are `plan`, `Memory::observe` and the types of the product.

#![allow(clippy::unwrap_used, clippy::panic, reason = "trouble fails the test")]

mod decision;
mod world;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use decision::{Reason, Step};
use world::{Action, Rule, World};

/// The model with a rule switched off, if one is.
#[derive(Clone, Copy, Debug)]
struct Promotion {
    faults: u8,
    broken: Option<Rule>,
}

impl Model for Promotion {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.faults, self.broken)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("it is sent at most once", |_, world: &World| world.sent <= 1),
            Property::always("what is sent was written down before", |_, world: &World| !world.sent_unmarked),
            Property::always("a success is one", |_, world: &World| {
                world.stored != Step::Succeeded || world.is_promoted
            }),
            Property::always("it fails only when it can have no effect any more", |_, world: &World| {
                !matches!(world.stored, Step::Failed(_)) || (world.calls.is_empty() && !world.is_promoted)
            }),
            Property::always("it comes to its end", |_, world: &World| world.comes_to_its_end()),
            Property::sometimes("it succeeds", |_, world: &World| world.stored == Step::Succeeded),
            Property::sometimes("it fails", |_, world: &World| {
                world.stored == Step::Failed(Reason::NotPromoted)
            }),
            Property::sometimes("what was not sent is sent after all", |_, world: &World| {
                world.was_not_sent && world.sent == 1
            }),
        ]
    }
}

#[test]
fn any_two_faults_lead_to_at_most_one_call_and_an_outcome_that_is_true() {
    let began = Instant::now();
    let model = Promotion { faults: 2, broken: None };
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{} states, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    assert!(checker.is_done(), "it was not exhausted");
    for property in model.properties() {
        let found = checker.discovery(property.name);
        match (property.expectation, found) {
            (Expectation::Sometimes, Some(_)) | (Expectation::Always | Expectation::Eventually, None) => {}
            (Expectation::Sometimes, None) => panic!("never: {}", property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                panic!("broken: {}: {:#?}", property.name, path.into_actions());
            }
        }
    }
}

#[test]
fn without_any_one_rule_something_breaks() {
    for rule in Rule::ALL {
        let model = Promotion { faults: 2, broken: Some(rule) };
        let found = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken: Vec<_> = model
            .properties()
            .into_iter()
            .filter(|property| property.expectation == Expectation::Always)
            .filter_map(|property| {
                Some((property.name, found.discovery(property.name)?.into_actions().len()))
            })
            .collect();
        println!("without {rule:?}: {broken:?}");
        assert!(!broken.is_empty(), "nothing breaks without {rule:?}");
    }
}

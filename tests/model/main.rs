//! The model check: the product's decisions explored under every interleaving of processes, API server, farm and
//! people, with budgets of faults. `docs/model-check.md` says what is modelled and what is not.

#![allow(unreachable_pub, reason = "the modules of a test binary have no other users")]
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants,
    clippy::option_option,
    clippy::struct_excessive_bools,
    clippy::match_same_arms,
    clippy::unused_self,
    clippy::default_trait_access,
    clippy::needless_for_each,
    clippy::duration_suboptimal_units,
    clippy::unchecked_time_subtraction,
    clippy::cast_lossless,
    reason = "the interpreter is one table from calls and answers to what follows"
)]

mod explore;
mod facts;
mod interpreter;
mod scenario;
mod settling;
mod world;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use explore::Exploration;
use scenario::{Rule, Scenario};
use world::Fault;

/// Explores everything that can be reached, and tells what is wrong.
fn faults_found(name: &str, exploration: Exploration) -> Vec<&'static str> {
    let start = Instant::now();
    let checker = exploration.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    assert!(checker.is_done(), "{name} was not exhausted");
    let mut wrong = Vec::new();
    for property in exploration.properties() {
        match (property.expectation, checker.discovery(property.name)) {
            (Expectation::Sometimes, Some(_)) | (Expectation::Always | Expectation::Eventually, None) => {}
            (Expectation::Sometimes, None) => {
                println!("  NEVER: {}", property.name);
                wrong.push(property.name);
            }
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                println!("  BROKEN: {}", property.name);
                let last = path.last_state().clone();
                let actions: Vec<_> =
                    path.into_actions().into_iter().map(|action| format!("{action:?}")).collect();
                println!("    {}", actions.join("\n    "));
                println!("{last:?}");
                if property.name == settling::NAME {
                    settling::tell(&exploration, &last);
                }
                wrong.push(property.name);
            }
        }
    }
    wrong
}

const LARGER: [(&str, Scenario); 3] = [
    ("a farm that refuses twins", Scenario { unique: true, ..Scenario::ONE }),
    ("an object that adopts", Scenario::ADOPTS),
    ("two objects for one broker", Scenario::RIVALS),
];

/// `RAS_OPERATOR_EXPLORE=full`: everything, rather than what fits into a pipeline.
fn is_full() -> bool {
    std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full")
}

fn singles(name: &str, scenario: Scenario) -> Vec<&'static str> {
    let mut wrong = faults_found(name, Exploration::new(scenario, &[]));
    for fault in Fault::ALL {
        wrong.extend(faults_found(&format!("{name}, {fault:?}"), Exploration::new(scenario, &[(fault, 1)])));
    }
    wrong
}

#[test]
fn every_single_fault_is_exhausted() {
    let mut wrong = singles("one object", Scenario::ONE);
    for (name, scenario) in LARGER {
        wrong.extend(if is_full() {
            singles(name, scenario)
        } else {
            faults_found(name, Exploration::new(scenario, &[]))
        });
    }
    println!("longest way to rest: {:?} steps", settling::LONGEST);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// With each rule off, what breaks.
fn counterexample(rule: Rule, scenario: Scenario, faults: &[(Fault, u8)]) -> Option<(&'static str, usize)> {
    let exploration = Exploration::new(scenario.without(rule), faults);
    let checker =
        exploration.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| exploration.property(name).expectation == Expectation::Always)
        .filter(|(name, _)| *name != settling::NAME)
        .map(|(name, path)| (name, path.into_actions().len()))
        .collect();
    found.sort_by_key(|(_, steps)| *steps);
    found.first().copied()
}

#[test]
fn without_any_one_rule_something_breaks() {
    let cases = [
        (Rule::IntentFirst, Scenario::ONE, vec![(Fault::Crash, 1)]),
        (Rule::FinalizerFirst, Scenario::ONE, vec![]),
        (Rule::Quarantine, Scenario::ONE, vec![(Fault::Late, 1)]),
        (Rule::DeleteQuarantine, Scenario::ONE, vec![(Fault::Late, 1), (Fault::Orphan, 1)]),
        (Rule::Mark, Scenario::ONE, vec![(Fault::LoseRequest, 1), (Fault::PersonAdds, 1)]),
        (Rule::FreshList, Scenario::ONE, vec![(Fault::Late, 1)]),
        (Rule::TwoLists, Scenario::ONE, vec![(Fault::ShortList, 1)]),
        (Rule::ReadBeforeDelete, Scenario::ONE, vec![(Fault::PersonReplaces, 1)]),
        (Rule::Rivals, Scenario::RIVALS, vec![]),
        (Rule::Fence, Scenario::ONE, vec![(Fault::Lag, 1), (Fault::Recreate, 1)]),
        (Rule::SendDeadline, Scenario::ONE, vec![(Fault::Stop, 1), (Fault::FailOver, 1)]),
    ];
    let mut silent = Vec::new();
    for (rule, scenario, faults) in cases {
        let start = Instant::now();
        match counterexample(rule, scenario, &faults) {
            Some((property, steps)) => println!(
                "without {rule:?}: not {property:?}, after {steps} steps, {:.1} s",
                start.elapsed().as_secs_f64()
            ),
            None => silent.push(rule),
        }
    }
    assert!(silent.is_empty(), "nothing breaks without {silent:?}");
}

/// Pairs: all of them with `RAS_OPERATOR_EXPLORE=full`, else the one that `RAS_OPERATOR_SEED` draws.
#[test]
fn a_sample_of_pairs_of_faults_is_exhausted() {
    let pairs: Vec<(Fault, Fault)> = Fault::ALL
        .into_iter()
        .enumerate()
        .flat_map(|(index, first)| Fault::ALL[index + 1..].iter().map(move |second| (first, *second)))
        .collect();
    let seed: usize = std::env::var("RAS_OPERATOR_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let count = if is_full() { pairs.len() } else { 1 };
    println!("pairs drawn with RAS_OPERATOR_SEED={seed}");
    let mut wrong = Vec::new();
    // The stride has no factor in common with the 120 pairs, so that none is drawn twice.
    for index in 0..count {
        let (first, second) = pairs[(seed * 7 + index * 37) % pairs.len()];
        let exploration = Exploration::new(Scenario::ONE, &[(first, 1), (second, 1)]);
        let found = faults_found(&format!("one object, {first:?} and {second:?}"), exploration);
        wrong.extend(found.into_iter().map(|property| (first, second, property)));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

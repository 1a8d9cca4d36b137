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

mod ends;
mod explore;
mod facts;
mod faults;
mod forms;
mod interpreter;
mod memo;
mod passing;
mod process;
mod reached;
mod scenario;
mod servers;
mod settling;
mod world;

use std::io::Write as _;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use explore::Exploration;
use scenario::{Rule, Scenario};
use world::Fault;

/// What was explored in all.
#[derive(Default)]
struct Totals {
    spaces: usize,
    states: usize,
}

/// Explores everything that can be reached, and tells what is wrong.
fn faults_found(name: &str, exploration: Exploration, totals: &mut Totals) -> Vec<&'static str> {
    let start = Instant::now();
    let checker = exploration.checker().threads(2).spawn_bfs().join();
    totals.spaces += 1;
    totals.states += checker.unique_state_count();
    println!(
        "{name}: {} states, depth {}, {:.1} s; {} so far",
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64(),
        totals.states
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

/// What is explored without faults, and with each of them where everything is.
const LARGER: [(&str, Scenario); 3] = [
    ("a farm that refuses twins", Scenario { unique: true, ..Scenario::ONE }),
    ("an object that adopts", Scenario::ADOPTS),
    ("two objects for one broker", Scenario::RIVALS),
];

/// Pairs of faults that a pipeline explores.
const SAMPLE: usize = 6;

/// `RAS_OPERATOR_EXPLORE=full`: everything, rather than what fits into a pipeline.
fn is_full() -> bool {
    std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full")
}

/// Any two faults.
fn all_pairs() -> Vec<(Fault, Fault)> {
    let all = Fault::ALL.into_iter().enumerate();
    all.flat_map(|(index, first)| Fault::ALL[index + 1..].iter().map(move |second| (first, *second)))
        .collect()
}

/// One object's pairs: all of them with `RAS_OPERATOR_EXPLORE=full`, else those that `RAS_OPERATOR_SEED` draws.
fn pairs_of_one() -> Vec<(Fault, Fault)> {
    let all = all_pairs();
    if is_full() {
        return all;
    }
    let seed: usize = std::env::var("RAS_OPERATOR_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let drawn = format!("{SAMPLE} of {} pairs of faults drawn with RAS_OPERATOR_SEED={seed}\n", all.len());
    // Past the harness, which keeps what a green test says to itself.
    drop(std::io::stderr().write_all(drawn.as_bytes()));
    // The stride has no factor in common with the 120 pairs, so that none is drawn twice.
    (0..SAMPLE).map(|index| all[(seed * 13 + index * 37) % all.len()]).collect()
}

type Space = (String, Exploration);

fn space(name: &str, scenario: Scenario, faults: &[Fault]) -> Space {
    let told: Vec<String> =
        [name.to_owned()].into_iter().chain(faults.iter().map(|fault| format!("{fault:?}"))).collect();
    let budget: Vec<_> = faults.iter().map(|fault| (*fault, 1)).collect();
    (told.join(", "), Exploration::new(scenario, &budget))
}

fn spaces_of_one() -> Vec<Space> {
    let mut spaces = vec![space("one object", Scenario::ONE, &[])];
    spaces.extend(Fault::ALL.into_iter().map(|fault| space("one object", Scenario::ONE, &[fault])));
    for (first, second) in pairs_of_one() {
        // A person's twin of a broker whose answer is lost is one more gap, where a farm allows twins.
        let unique = [first, second].contains(&Fault::PersonAdds);
        spaces.push(space("one object", Scenario { unique, ..Scenario::ONE }, &[first, second]));
    }
    for (name, scenario) in LARGER {
        spaces.push(space(name, scenario, &[]));
        if is_full() {
            spaces.extend(Fault::ALL.into_iter().map(|fault| space(name, scenario, &[fault])));
        }
    }
    if is_full() {
        spaces.extend(pairs_of_rivals());
    }
    spaces
}

/// The faults of which the pairs of two objects for one broker are made: those after which processes know different
/// things of the two.
const OF_KNOWLEDGE: [Fault; 6] =
    [Fault::Crash, Fault::FailOver, Fault::Stop, Fault::Lag, Fault::Late, Fault::LoseAnswer];

fn pairs_of_rivals() -> impl Iterator<Item = Space> {
    let has = |fault: &Fault| OF_KNOWLEDGE.contains(fault);
    let pairs = all_pairs().into_iter().filter(move |(first, second)| has(first) && has(second));
    pairs.map(|(first, second)| space("two objects for one broker", Scenario::RIVALS, &[first, second]))
}

/// The faults of which a site's pairs are made: those of calls and processes, with which it is judged whether it stays
/// served. One at a time is enough of what people do there.
fn of_calls(fault: Fault) -> bool {
    let by_people = [
        Fault::PersonAdds,
        Fault::PersonDeletes,
        Fault::PersonEdits,
        Fault::PersonReplaces,
        Fault::Recreate,
        Fault::Orphan,
    ];
    !by_people.contains(&fault)
}

fn spaces_of_a_site() -> Vec<Space> {
    let name = "two brokers of one site";
    let mut spaces = vec![space(name, Scenario::SITE, &[])];
    spaces.extend(Fault::ALL.into_iter().map(|fault| space(name, Scenario::SITE, &[fault])));
    if is_full() {
        let pairs = all_pairs().into_iter().filter(|(first, second)| of_calls(*first) && of_calls(*second));
        spaces.extend(pairs.map(|(first, second)| space(name, Scenario::SITE, &[first, second])));
        let two_edits = Scenario { edits: 2, ..Scenario::SITE };
        spaces.push(space("two brokers of one site, two edits", two_edits, &[]));
    }
    spaces
}

#[test]
fn every_space_is_exhausted() {
    let start = Instant::now();
    let (mut wrong, mut totals) = (Vec::new(), Totals::default());
    for (name, exploration) in spaces_of_one().into_iter().chain(spaces_of_a_site()) {
        let found = faults_found(&name, exploration, &mut totals);
        wrong.extend(found.into_iter().map(|property| (name.clone(), property)));
    }
    println!("longest way to rest: {:?} steps", settling::LONGEST);
    println!(
        "in all: {} states in {} spaces, each exhausted, {:.0} s",
        totals.states,
        totals.spaces,
        start.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
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
        // The last one of them hurts nobody: it leaves something undone.
        .filter(|(name, _)| *name != settling::NAME || rule == Rule::ApplyAfterRestart)
        .map(|(name, path)| (name, path.into_actions().len()))
        .collect();
    found.sort_by_key(|(_, steps)| *steps);
    found.first().copied()
}

/// With the rule each of these spaces is among those that are exhausted, and nothing breaks there.
#[test]
fn without_any_one_rule_something_breaks() {
    let cases = [
        (Rule::IntentFirst, Scenario::ONE, vec![(Fault::Crash, 1)]),
        (Rule::FinalizerFirst, Scenario::ONE, vec![]),
        (Rule::Quarantine, Scenario::ONE, vec![(Fault::Late, 1)]),
        (Rule::DeleteQuarantine, Scenario::ONE, vec![(Fault::Late, 1), (Fault::Orphan, 1)]),
        (
            Rule::Mark,
            Scenario { unique: true, ..Scenario::ONE },
            vec![(Fault::LoseRequest, 1), (Fault::PersonAdds, 1)],
        ),
        (Rule::FreshList, Scenario::ONE, vec![(Fault::Late, 1)]),
        (Rule::TwoLists, Scenario::ONE, vec![(Fault::ShortList, 1)]),
        (Rule::ReadBeforeDelete, Scenario::ONE, vec![(Fault::PersonReplaces, 1)]),
        (Rule::ReadBeforePut, Scenario::SITE, vec![(Fault::PersonReplaces, 1)]),
        (Rule::Rivals, Scenario::RIVALS, vec![]),
        (Rule::Served, Scenario::SITE, vec![]),
        (Rule::Fence, Scenario::ONE, vec![(Fault::Lag, 1), (Fault::Recreate, 1)]),
        (Rule::SendDeadline, Scenario::ONE, vec![(Fault::Stop, 1), (Fault::FailOver, 1)]),
        (Rule::ApplyAfterRestart, Scenario::ONE, vec![(Fault::Crash, 1)]),
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

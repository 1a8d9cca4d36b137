//! `docs/agent-states.md` says what `broker::agent::health` does.

use ras_operator::broker::agent::{Health, health};
use ras_operator::ras::AgentState;

use crate::{page, table};

const PAGE: &str = "docs/agent-states.md";
const COMMAND: &str = "cargo test --test docs";

/// Every number that the vendor's enumeration could reach has been looked at.
const NUMBERS: std::ops::RangeInclusive<i64> = -100..=1_000;

/// How the tables call what a state means.
fn word(health: Health) -> String {
    match health {
        Health::Healthy => "healthy",
        Health::Passing => "passes",
        Health::NotApplied => "not applied",
        Health::Leaving => "leaving",
        Health::Restart => "**restart**",
        Health::Unreachable => "**unreachable**",
        Health::Version => "**version**",
        Health::Account => "**account**",
        Health::Broken => "**broken**",
    }
    .to_owned()
}

fn meaning(health: Health) -> Vec<String> {
    if health == Health::Healthy {
        return vec![word(health), "not kept down".to_owned(), "Nothing.".to_owned()];
    }
    vec![word(health), "`False`, reason `WaitingForAgent`".to_owned(), health.advice().to_owned()]
}

fn row(number: i64, name: &str) -> Vec<String> {
    let state = AgentState(number);
    vec![
        number.to_string(),
        name.to_owned(),
        word(health(state, false, false)),
        word(health(state, false, true)),
        word(health(state, true, false)),
    ]
}

fn named() -> Vec<(i64, String)> {
    let all = NUMBERS.map(|number| (number, AgentState(number).name().into_owned()));
    all.filter(|(number, name)| *name != number.to_string()).collect()
}

/// Broken, and no matter for a disabled broker.
fn is_plain(number: i64) -> bool {
    let state = AgentState(number);
    health(state, false, false) == Health::Broken
        && health(state, false, true) == Health::Broken
        && health(state, true, false) == Health::Healthy
}

#[test]
fn the_table_of_meanings_has_the_advice_that_brokers_show() {
    let head = ["meaning", "`Ready`", "what to do"];
    let rows = Health::ALL.map(meaning);
    page::hold(PAGE, "meanings", &table::render(&head, &rows), COMMAND);
}

#[test]
fn the_whole_enumeration_of_the_reference_has_names() {
    assert_eq!(named().len(), 71);
}

#[test]
fn the_table_of_states_is_what_the_operator_does() {
    let (plain, special): (Vec<_>, Vec<_>) = named().into_iter().partition(|(number, _)| is_plain(*number));
    let head = ["number", "state", "enabled broker", "broker in standby", "disabled broker"];
    let rows: Vec<_> = special.iter().map(|(number, name)| row(*number, &table::code(name))).collect();
    page::hold(PAGE, "states", &table::render(&head, &rows), COMMAND);

    let list: Vec<_> =
        plain.iter().map(|(number, name)| format!("{} ({number})", table::code(name))).collect();
    page::hold(PAGE, "plain-states", &format!("{}.", list.join(", ")), COMMAND);
}

#[test]
fn every_made_part_of_the_page_is_made_here() {
    assert_eq!(page::names(PAGE), ["meanings", "states", "plain-states"]);
}

#[test]
fn every_state_without_a_name_is_treated_as_the_page_says_of_the_others() {
    let unnamed = NUMBERS.filter(|number| AgentState(*number).name() == number.to_string());
    let special: Vec<i64> = unnamed.filter(|number| !is_plain(*number)).collect();
    assert_eq!(special, [0_i64; 0]);
}

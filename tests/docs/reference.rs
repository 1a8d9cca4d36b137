//! `docs/reference/README.md` has every annotation, reason, event, flag and metric, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::CommandFactory;
use ras_operator::cli::Cli;
use ras_operator::crd::condition::{ConditionType, Reason, Status};
use ras_operator::crd::finalizer;
use ras_operator::metrics::{
    ApplyOutcome, Code, Controller, FarmName, Metrics, ReconcileOutcome, Resource, Verb, WriteOutcome,
};

use crate::page;
use crate::table::{self, code};

const PAGE: &str = "docs/reference/README.md";
const COMMAND: &str = "cargo test --test docs";

fn words(heading: &str) -> BTreeSet<String> {
    table::first_words(&page::read(PAGE), heading)
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The values of a module's constants, read from its source: constants cannot be listed.
fn constants(file: &str) -> BTreeSet<String> {
    let text = page::read(file);
    let lines = text.lines().filter(|line| line.starts_with("pub const "));
    lines.map(|line| line.split('"').nth(1).expect("a text").to_owned()).collect()
}

#[test]
fn annotations() {
    assert_eq!(words("## Annotations"), constants("src/crd/annotation.rs"));
}

#[test]
fn finalizers() {
    assert_eq!(words("## Finalizers"), set([finalizer::BROKER, finalizer::IN_USE]));
}

#[test]
fn reasons() {
    assert_eq!(words("## Reasons"), set(Reason::ALL.iter().map(|reason| reason.as_str())));
}

#[test]
fn conditions() {
    assert_eq!(words("## Conditions"), set(ConditionType::ALL.iter().map(|type_| type_.as_str())));
}

/// The variants of `Kind`, read from its source.
#[test]
fn events() {
    let text = page::read("src/events.rs");
    let body = text.split_once("pub enum Kind {").and_then(|(_, rest)| rest.split_once('}')).expect("Kind").0;
    let variants = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    assert_eq!(words("## Events"), set(variants.map(|line| line.trim_end_matches(','))));
}

#[test]
fn every_made_part_of_the_page_is_made_here() {
    assert_eq!(page::names(PAGE), ["flags-run", "flags-crds"]);
}

#[test]
fn flags_of_run() {
    page::hold(PAGE, "flags-run", &flags("run"), COMMAND);
}

#[test]
fn flags_of_crds() {
    page::hold(PAGE, "flags-crds", &flags("crds"), COMMAND);
}

fn flags(command: &str) -> String {
    let cli = Cli::command();
    let command = cli.find_subcommand(command).expect("the command");
    let is_own = |arg: &&clap::Arg| !["help", "version"].contains(&arg.get_id().as_str());
    let rows: Vec<_> = command.get_arguments().filter(is_own).map(flag).collect();
    table::render(&["flag", "environment", "default", "meaning"], &rows)
}

fn flag(arg: &clap::Arg) -> Vec<String> {
    let long = format!("--{}", arg.get_long().expect("a long flag"));
    let environment = arg.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
    let default = arg.get_default_values().first().filter(|value| !value.is_empty());
    let shown = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let values: Vec<_> = shown.map(|value| code(value.get_name())).collect();
    let choice = if values.is_empty() { String::new() } else { format!(": {}", values.join(" or ")) };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    vec![
        code(&long),
        environment,
        default.map(|value| code(&value.to_string_lossy())).unwrap_or_default(),
        format!("{}{choice}", help.replace('|', "\\|")),
    ]
}

#[test]
fn metrics() {
    let shown = series(&filled());
    let text = page::read(PAGE);
    let rows = table::section(&text, "## Metrics").lines().filter(|line| line.starts_with("| `"));
    let written: BTreeMap<String, BTreeSet<String>> = rows.map(row).collect();
    assert_eq!(written, shown);
    // A metric that this test does not fill would not be shown.
    let source = page::read("src/metrics.rs");
    assert_eq!(source.matches("registry.register").count(), shown.len());
}

/// Name and labels as the page has them.
fn row(line: &str) -> (String, BTreeSet<String>) {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let labels = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
    (cells[1].trim_matches('`').to_owned(), labels.collect())
}

/// Every number counted once.
fn filled() -> String {
    let metrics = Metrics::new("0", "0");
    let farm = FarmName::new("ras", "north");
    let took = Duration::from_secs(1);
    metrics.reconciled(Controller::Broker, ReconcileOutcome::Success, took);
    metrics.farm_requested(&farm, ("GET", "/api/Broker"), Code::Status(200), took);
    metrics.session_opened(&farm);
    metrics.farm_succeeded(&farm, 1);
    metrics.applied(&farm, ApplyOutcome::Success);
    metrics.brokers(&farm, ConditionType::Ready, Status::True, 1);
    metrics.kubernetes_written(Resource::Events, Verb::Create, WriteOutcome::Success);
    metrics.text().expect("the metrics")
}

/// The names under which samples stand, and their labels; a histogram's parts are one.
fn series(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut found = BTreeMap::new();
    for (name, rest) in
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'))
    {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
        let name = base.filter(|base| types.get(base) == Some(&"histogram")).unwrap_or(name);
        let inner = rest.split_once('}').expect("labels").0;
        let labels = inner.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        let labels = labels.filter(|label| label != "le");
        found.entry(name.to_owned()).or_insert_with(BTreeSet::new).extend(labels);
    }
    found
}

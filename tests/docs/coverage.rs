//! `docs/api-coverage.md` has every call, as sure as `docs/api-assumptions.md` says, with tests that are there.

use std::collections::BTreeMap;

use ras_operator::ras::Route;

use crate::{named, page, table};

const PAGE: &str = "docs/api-coverage.md";
const HEADINGS: [&str; 2] = ["## Connection Brokers", "## Beside them"];

/// The rows of both tables.
fn rows() -> Vec<String> {
    let text = page::read(PAGE);
    let sections = HEADINGS.iter().flat_map(|heading| table::section(&text, heading).lines());
    sections.filter(|line| line.starts_with("| ") && line.contains("| `")).map(str::to_owned).collect()
}

/// Each call of these rows and how sure it is, the first word of that cell.
fn certainties<'a>(
    rows: impl Iterator<Item = &'a str>,
    call: usize,
    sure: usize,
) -> BTreeMap<String, String> {
    let pair = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let word = cells[sure].split([' ', ';']).next().unwrap_or_default();
        let word = word.trim_matches(|c: char| !c.is_alphabetic());
        (cells[call].trim_matches('`').to_owned(), word.to_owned())
    };
    rows.map(pair).collect()
}

#[test]
fn every_call_is_covered_once_and_as_sure_as_the_assumptions_say() {
    let rows = rows();
    let covered = certainties(rows.iter().map(String::as_str), 2, 4);
    let assumptions = page::read("docs/api-assumptions.md");
    let assumed = table::section(&assumptions, "## The calls").lines().filter(|line| line.starts_with("| `"));
    assert_eq!(covered, certainties(assumed, 1, 2));
    let mut calls: Vec<_> = Route::ALL.iter().map(ToString::to_string).collect();
    calls.sort();
    assert_eq!(covered.keys().cloned().collect::<Vec<_>>(), calls);
    assert_eq!(rows.len(), Route::ALL.len(), "a call stands twice");
}

#[test]
fn every_call_names_a_test_and_every_test_is_there() {
    for row in rows() {
        let tests = named::of_row(&row);
        assert!(!tests.is_empty(), "no test: {row}");
        named::hold(&tests, &["tests/e2e"]);
    }
}

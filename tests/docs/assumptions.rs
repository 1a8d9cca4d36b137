//! `docs/api-assumptions.md` has every call that the operator makes.

use std::collections::BTreeSet;

use ras_operator::ras::Route;

use crate::{page, table};

const PAGE: &str = "docs/api-assumptions.md";

#[test]
fn every_call_is_in_the_table_of_calls_and_no_other() {
    let calls: BTreeSet<String> = Route::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(table::first_words(&page::read(PAGE), "## The calls"), calls);
}

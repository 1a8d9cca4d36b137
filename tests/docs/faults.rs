//! `docs/reliability.md` names a test for each fault, and each of these tests is there.

use crate::{named, page};

const PAGE: &str = "docs/reliability.md";
/// Where the tests of the tables are.
const FOLDERS: [&str; 8] = [
    "tests/e2e/faults",
    "tests/e2e/cluster_faults",
    "tests/e2e",
    "tests/e2e/sites",
    "tests/simulation",
    "tests/plan_properties",
    "tests",
    "src",
];

#[test]
fn every_test_that_the_tables_name_is_there() {
    let tests = named::tests(&page::read(PAGE));
    assert!(tests.len() > 110, "only {} tests are named", tests.len());
    named::hold(&tests, &FOLDERS);
}

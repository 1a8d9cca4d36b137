//! `docs/reliability.md` names a test for each fault, and each of these tests is there.

use crate::page;

const PAGE: &str = "docs/reliability.md";
/// Where the tests of the tables are, below `tests/e2e/`.
const FOLDERS: [&str; 2] = ["faults", "cluster_faults"];

/// The last cells of the tables, such as `creation::a_post_that_commits_late_is_the_only_one`.
fn named() -> Vec<(String, String)> {
    let text = page::read(PAGE);
    let cells = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let tests = words.filter_map(|word| word.split_once("::"));
    tests.map(|(module, test)| (module.to_owned(), test.to_owned())).collect()
}

fn is_there(module: &str, test: &str) -> bool {
    FOLDERS.iter().any(|folder| {
        let path = page::path(&format!("tests/e2e/{folder}/{module}.rs"));
        std::fs::read_to_string(path).is_ok_and(|source| source.contains(&format!("async fn {test}()")))
    })
}

#[test]
fn every_test_that_the_tables_name_is_there() {
    let named = named();
    assert!(named.len() > 60, "only {} tests are named", named.len());
    let missing: Vec<_> = named.iter().filter(|(module, test)| !is_there(module, test)).collect();
    assert!(missing.is_empty(), "not there: {missing:#?}");
}

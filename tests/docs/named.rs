//! The tests that the tables of a page name, and whether they are there.

use crate::page;

/// A test, such as `creation::a_post_that_commits_late_is_the_only_one`.
pub(crate) struct Named {
    modules: String,
    function: String,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{}", self.modules, self.function)
    }
}

/// Those in the last cells of the page's tables.
pub(crate) fn tests(text: &str) -> Vec<Named> {
    text.lines().filter(|line| line.starts_with("| ")).flat_map(of_row).collect()
}

/// Those in the last cell of a row.
pub(crate) fn of_row(row: &str) -> Vec<Named> {
    let cell = row.rsplit('|').nth(1).unwrap_or_default();
    let words = cell.split('`').skip(1).step_by(2);
    let named = words.filter_map(|word| word.rsplit_once("::"));
    named
        .map(|(modules, function)| Named { modules: modules.to_owned(), function: function.to_owned() })
        .collect()
}

/// Whether it is a test below one of these folders.
fn is_there(named: &Named, folders: &[&str]) -> bool {
    let module = named.modules.replace("::", "/");
    let heads = ["#[tokio::test] async fn", "#[test] fn"].map(|head| format!("{head} {}()", named.function));
    folders.iter().any(|folder| {
        let path = page::path(&format!("{folder}/{module}.rs"));
        let source = std::fs::read_to_string(path).unwrap_or_default();
        let words = source.split_whitespace().collect::<Vec<_>>().join(" ");
        heads.iter().any(|head| words.contains(head))
    })
}

/// Fails for those that are not below any of these folders.
pub(crate) fn hold(named: &[Named], folders: &[&str]) {
    let missing: Vec<_> = named.iter().filter(|named| !is_there(named, folders)).collect();
    assert!(missing.is_empty(), "not there: {missing:#?}");
}

//! Markdown tables, written and read.

use std::collections::BTreeSet;

/// A table with aligned bars, as it reads in a terminal too.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}", "---|".repeat(head.len()));
    let body = rows.iter().map(|row| line(row));
    std::iter::once(line(&head)).chain([rule]).chain(body).collect::<Vec<_>>().join("\n")
}

/// A word as code.
pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The first words in code of the first cells of the tables in a section, which is from `heading` to the next of its
/// level.
pub(crate) fn first_words(text: &str, heading: &str) -> BTreeSet<String> {
    let cells = section(text, heading).lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|rest| Some(rest.split_once('`')?.0.to_owned())).collect()
}

/// From a heading to the next of its level or above.
pub(crate) fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}")) + 1;
    let level = heading.split(' ').next().unwrap_or_default().len();
    let is_next = |line: &str| {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        hashes > 0 && hashes <= level && line[hashes..].starts_with(' ')
    };
    let body = &text[start + heading.len()..];
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        if is_next(line) {
            break;
        }
        end += line.len();
    }
    &body[..end]
}

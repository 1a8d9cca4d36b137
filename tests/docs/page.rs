//! Pages of which a part is made by a run: between `<!-- made: NAME -->` and `<!-- end -->`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests of one binary write to one page at the same time.
static WRITING: Mutex<()> = Mutex::new(());

/// A file of this repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
pub(crate) fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether pages are to be brought up to date rather than held against what is so.
pub(crate) fn is_updating() -> bool {
    std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1")
}

/// The made part of this name.
pub(crate) fn made(page: &str, name: &str) -> String {
    let text = read(page);
    let (start, end) = bounds(&text, page, name);
    text[start..end].trim().to_owned()
}

/// The names of all made parts of a page, in their order.
pub(crate) fn names(page: &str) -> Vec<String> {
    let text = read(page);
    let marks = text.lines().filter_map(|line| line.strip_prefix("<!-- made: ")?.strip_suffix(" -->"));
    marks.map(str::to_owned).collect()
}

/// Holds a made part against what is so, or brings it up to date; `command` is how to do that.
pub(crate) fn hold(page: &str, name: &str, actual: &str, command: &str) {
    if is_updating() {
        return write(page, name, actual);
    }
    let written = made(page, name);
    assert!(
        written == actual.trim(),
        "{page} is out of date at {name:?}: run `UPDATE_DOCS=1 {command}`\n\n--- is\n{}\n\n--- page says\n{written}\n",
        actual.trim()
    );
}

/// Replaces a made part.
pub(crate) fn write(page: &str, name: &str, actual: &str) {
    let _alone: MutexGuard<'_, ()> = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = read(page);
    let (start, end) = bounds(&text, page, name);
    let next = format!("{}\n{}\n{}", &text[..start], actual.trim(), &text[end..]);
    fs::write(path(page), next).expect("the page is written");
}

/// Where a made part starts and ends, its markers apart.
fn bounds(text: &str, page: &str, name: &str) -> (usize, usize) {
    let mark = format!("<!-- made: {name} -->");
    let start = text.find(&mark).unwrap_or_else(|| panic!("{page} lacks the line {mark}")) + mark.len();
    let length = text[start..].find("<!-- end -->").unwrap_or_else(|| panic!("{page}: {mark} has no end"));
    (start, start + length)
}

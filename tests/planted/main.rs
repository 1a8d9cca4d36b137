//! Bugs that were planted to see a test fail: one patch each in `patches`, with the rule that it breaks and the layer
//! of tests that catches it. `tests/planted/run` plants them all; here they are only kept in step with
//! the sources.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const LAYERS: [&str; 6] = ["properties", "unit", "model", "ras_client", "simulation", "e2e"];

fn patches() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planted/patches");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut patches: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "patch")).collect();
    patches.sort();
    patches
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .filter(|value| !value.is_empty())
}

/// How many lines a patch takes away and puts in.
fn size(text: &str) -> (usize, usize) {
    let count = |sign: char, head: &str| {
        text.lines().filter(|line| line.starts_with(sign) && !line.starts_with(head)).count()
    };
    (count('-', "---"), count('+', "+++"))
}

#[test]
fn every_planted_bug_applies_to_the_sources() {
    let patches = patches();
    assert!(patches.len() >= 40, "only {} planted bugs", patches.len());
    let stale: Vec<String> = patches
        .iter()
        .filter_map(|patch| {
            let check = Command::new("git")
                .args(["apply", "--check"])
                .arg(patch)
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .unwrap();
            (!check.status.success()).then(|| String::from_utf8_lossy(&check.stderr).into_owned())
        })
        .collect();
    assert!(stale.is_empty(), "bring these in step with the sources:\n{}", stale.join(""));
}

#[test]
fn every_planted_bug_is_a_small_change_of_one_source_file_and_says_what_it_breaks() {
    let mut changes = BTreeSet::new();
    for patch in patches() {
        let text = std::fs::read_to_string(&patch).unwrap();
        let name = patch.file_stem().unwrap().to_string_lossy();
        let layer = header(&text, "Caught-by").and_then(|layer| layer.split(' ').next());
        assert!(header(&text, "Rule").is_some(), "{name} does not say which rule it breaks");
        assert!(layer.is_some_and(|layer| LAYERS.contains(&layer)), "{name}: unknown layer {layer:?}");
        let files: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
        assert!(matches!(files.as_slice(), [file] if file.starts_with("src/")), "{name} changes {files:?}");
        let (taken, put) = size(&text);
        assert!((1..=3).contains(&taken.max(put)), "{name} changes {taken} into {put} lines");
        let hunk: String = text.lines().skip_while(|line| !line.starts_with("@@")).skip(1).collect();
        assert!(changes.insert((files[0].to_owned(), hunk)), "{name} is there twice");
    }
}

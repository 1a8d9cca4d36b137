//! Every relative link of a page leads to a file, and to a heading where it names one.

use std::path::Path;

use crate::page;

/// All pages that people read.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(page::path(&folder)).expect("a folder").flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(name);
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push(name);
            }
        }
    }
    pages
}

/// The targets of `[text](target)` outside of code blocks.
fn targets(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            let links = line.split("](").skip(1);
            found.extend(links.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
    }
    found
}

/// A heading as forges make an anchor of it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for name in pages() {
        let text = page::read(&name);
        let folder = page::path(&name).parent().expect("a folder").to_owned();
        for target in targets(&text).into_iter().filter(|target| !target.starts_with("http")) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page::path(&name) } else { folder.join(file) };
            let is_there = path.exists()
                && (heading.is_empty()
                    || std::fs::read_to_string(&path).is_ok_and(|text| {
                        text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
                    }));
            if !is_there {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// What pages name of this repository, outside of links.
const PLACES: [&str; 5] = ["src/", "tests/", "docs/", "deploy/", "crds/"];

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut missing = Vec::new();
    for name in pages() {
        let text = page::read(&name);
        let words = text.split('`').filter(|word| PLACES.iter().any(|place| word.starts_with(place)));
        let words = words.filter(|word| !word.contains(['*', ' ']));
        missing.extend(words.filter(|word| !page::path(word).exists()).map(|word| format!("{name}: {word}")));
    }
    assert!(missing.is_empty(), "names of files that are not there: {missing:#?}");
}

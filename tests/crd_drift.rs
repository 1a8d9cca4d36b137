//! The committed `crds/` are what the types say. `UPDATE_CRDS=1 cargo test --test crd_drift` writes
//! them too, where the binary cannot be built.

#![allow(clippy::unwrap_used, reason = "trouble fails the test")]

use std::{collections::BTreeMap, fs, path::Path};

use ras_operator::crd;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

#[test]
fn the_committed_manifests_are_what_the_types_say() {
    if std::env::var_os("UPDATE_CRDS").is_some() {
        crd::write(Path::new(COMMITTED)).unwrap();
    }
    let generated = tempfile::tempdir().unwrap();
    crd::write(generated.path()).unwrap();
    let (committed, expected) = (content(Path::new(COMMITTED)), content(generated.path()));
    let stale: Vec<&String> = expected
        .keys()
        .chain(committed.keys())
        .filter(|name| committed.get(*name) != expected.get(*name))
        .collect();
    assert!(
        stale.is_empty(),
        "crds/ differs from src/crd in {stale:?}: run `make crds` and commit the result"
    );
}

#[test]
fn all_definitions_together_are_one_text_of_several_documents() {
    let text = crd::yaml().unwrap();
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    let names: Vec<&str> =
        documents.iter().filter_map(|document| document["metadata"]["name"].as_str()).collect();
    let expected = ["rasfarms", "rasbrokers", "rasbrokerpromotions"];
    assert_eq!(names, expected.map(|plural| format!("{plural}.ras-operator.dev")));
}

#[test]
fn what_is_printed_reads_back_as_the_same_definition() {
    for (crd, text) in crd::crds().iter().zip(crd::yaml().unwrap().split("---\n")) {
        let read: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, serde_json::to_value(crd).unwrap());
    }
}

fn content(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

//! Tells `--version` which commit the binary was built from.
//!
//! Never fails: outside a checkout of this repository (a source archive, a container build without
//! `.git`) the commit is taken from `RAS_OPERATOR_COMMIT`, and is `unknown` without it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RAS_OPERATOR_COMMIT");
    let commit = std::env::var("RAS_OPERATOR_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(checked_out_commit)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=RAS_OPERATOR_COMMIT={commit}");
}

/// The commit of this repository, never that of a repository that merely contains the sources.
fn checked_out_commit() -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let manifest = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let same = Path::new(&root).canonicalize().ok()? == Path::new(&manifest).canonicalize().ok()?;
    same.then_some(())?;
    // Each commit and checkout appends to this log, so that a stale commit is never shown.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

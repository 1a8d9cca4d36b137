//! The built binary at its edge: version, help, exit codes, and how it dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees only functions marked as tests as tests"
)]

use std::process::{Command, Output};

use ras_operator::cli::{COMMIT, LogFormat, VERSION};
use ras_operator::telemetry;

fn operator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ras-operator"));
    command.args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_version_names_the_commit() {
    let output = operator(&["--version"]);
    assert_eq!(stdout(&output), format!("ras-operator {VERSION} (commit {COMMIT})\n"));
}

#[test]
fn help_shows_examples() {
    for arguments in [&["--help"][..], &["run", "--help"], &["crds", "--help"]] {
        let output = operator(arguments);
        assert!(output.status.success());
        assert!(stdout(&output).contains("Examples:\n"), "{arguments:?}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_names_what_is_wrong() {
    for arguments in [&["run", "--no-such-flag"][..], &["run", "--log-format", "xml"], &["walk"], &[]] {
        let output = operator(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert!(stderr(&operator(&["run", "--no-such-flag"])).contains("--no-such-flag"));
}

#[test]
fn definitions_are_printed_or_written_to_files() {
    let printed = operator(&["crds"]);
    assert!(printed.status.success());
    assert_eq!(stdout(&printed), ras_operator::crd::yaml().unwrap());

    let folder = tempfile::tempdir().unwrap();
    let written = operator(&["crds", "--output", folder.path().to_str().unwrap()]);
    assert!(written.status.success());
    assert_eq!(stdout(&written), "");
    assert!(folder.path().join("kustomization.yaml").exists());

    let refused = operator(&["crds", "--output", "/nonexistent/folder"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).starts_with("ras-operator: failed to write /nonexistent/folder/"));
}

#[test]
fn a_log_filter_that_cannot_be_read_is_an_error_that_names_its_variable() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ras-operator"));
    let output = command.arg("run").env("RUST_LOG", "a=b=c").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("RUST_LOG"), "{}", stderr(&output));
}

const PANICS: &str = "PANICS";

/// Does nothing unless the test below runs it in a process of its own.
#[test]
fn panics_when_asked_to() {
    let Ok(what) = std::env::var(PANICS) else { return };
    telemetry::init(LogFormat::Json).unwrap();
    let task = std::thread::spawn(move || match what.as_str() {
        "literal" => panic!("a literal"),
        secret => panic!("the password is {secret}"),
    });
    drop(task.join());
    println!("outlived the panic");
}

#[test]
fn a_panic_ends_the_process_and_its_message_is_shown_only_if_it_can_hold_no_data() {
    let panicking = |what: &str| {
        let this = std::env::current_exe().unwrap();
        let arguments = ["--exact", "panics_when_asked_to", "--nocapture"];
        Command::new(this).args(arguments).env(PANICS, what).output().unwrap()
    };
    let literal = panicking("literal");
    assert!(stderr(&literal).contains("a literal"), "{}", stderr(&literal));
    let formatted = panicking("hunter2");
    assert!(stderr(&formatted).contains("tests/commands.rs"), "{}", stderr(&formatted));
    assert!(!stderr(&formatted).contains("hunter2"));
    for output in [literal, formatted] {
        assert_eq!(output.status.code(), Some(telemetry::PANIC_EXIT_CODE));
        assert!(!stdout(&output).contains("outlived"));
    }
}

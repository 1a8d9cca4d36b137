//! The process: sets up what is global, hands over to the library, and turns the result into an
//! exit code. 0 is success, 1 a failure, 2 a wrong command line, 101 a panic.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use ras_operator::cli::{self, Cli, Command, CrdsArgs, RunArgs};
use ras_operator::{crd, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    // Before the first TLS client: without a provider, or with two, making one panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail("failed to install the TLS provider");
    }
    match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Crds(args) => crds(&args),
    }
}

fn run(args: RunArgs) -> ExitCode {
    if let Err(error) = telemetry::init(args.log_format) {
        return fail(&telemetry::chain(&error));
    }
    tracing::info!(version = cli::VERSION, commit = cli::COMMIT, "starting");
    match run_to_end(args) {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = telemetry::chain(&*error), "stopped by an error");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run_to_end(args: RunArgs) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    operate(args, stop).await
}

/// Runs the operator until `stop` is cancelled and all that must be finished is finished.
async fn operate(args: RunArgs, stop: CancellationToken) -> Result<(), Failure> {
    Ok(ras_operator::runtime::run(args, stop).await?)
}

/// The first SIGTERM or SIGINT asks for an orderly end, the second ends the process at once.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("a signal came, draining; a second one aborts");
        token.cancel();
        next(&mut terminate, &mut interrupt).await;
        tracing::error!("a second signal came, aborting");
        std::process::exit(1);
    });
    Ok(stop)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn crds(args: &CrdsArgs) -> ExitCode {
    match args.output.as_deref().map_or_else(print_crds, write_crds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&telemetry::chain(&*error)),
    }
}

fn print_crds() -> Result<(), Failure> {
    use std::io::Write;
    std::io::stdout().write_all(crd::yaml()?.as_bytes())?;
    Ok(())
}

fn write_crds(directory: &Path) -> Result<(), Failure> {
    crd::write(directory)?;
    Ok(())
}

fn fail(message: &str) -> ExitCode {
    eprintln!("ras-operator: {message}");
    ExitCode::FAILURE
}

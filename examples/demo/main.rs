//! The operator at work on this machine: an API server, a farm and the built operator, and a tour of what it does.
//!
//! `place` is the cluster, `stage` the farm and the operator in it, `tour` the steps, `screen` how they are shown.
//! Everything is real but the farm: it is the simulator, over HTTPS.

mod made;
mod place;
mod screen;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tour;

use std::{future::Future, process::ExitCode};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    made::Made,
    place::Place,
    screen::Screen,
    stage::Stage,
    support::failure::{Failure, Result, While as _},
};

/// As a shell counts it for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Shows the operator at work: brings up an API server, a simulated farm and the operator, all on this machine.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// End after the tour instead of staying up
    #[arg(long)]
    once: bool,
    /// Use this context of your own kubeconfig instead of an API server of the demo's own
    #[arg(long, value_name = "CONTEXT")]
    cluster: Option<String>,
    /// Do not ask before that cluster is used
    #[arg(long)]
    yes: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Clients need a process-wide TLS provider; nothing was there before.
    let _first = rustls::crypto::ring::default_provider().install_default();
    match run(&arguments).await {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("\ndemo: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = interrupt()?;
    tokio::pin!(interrupt);
    let mut screen = Screen::default();
    let place = tokio::select! {
        place = place::find(arguments.cluster.as_deref(), arguments.yes, &mut screen) => place?,
        () = &mut interrupt => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let mut made = Made::default();
    let shown = tokio::select! {
        shown = show(&place, &mut made, &mut screen) => shown.map(Some),
        () = &mut interrupt => Ok(None),
    };
    let code = match &shown {
        Ok(Some(_)) if arguments.once => Ok(ExitCode::SUCCESS),
        Ok(Some(stage)) => {
            stage.say_how_to_go_on(&place)?;
            interrupt.await;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) => Ok(ExitCode::from(INTERRUPTED)),
        Err(_) => Err(()),
    };
    let failure = shown.err();
    made.remove_from(&place).await?;
    code.map_err(|()| failure.unwrap_or_else(|| Failure::new("failed without a word")))
}

/// Sets the stage and goes through the tour; the stage is kept for what comes after.
async fn show(place: &Place, made: &mut Made, screen: &mut Screen) -> Result<Stage> {
    let mut stage = stage::set(place, made, screen).await?;
    match tour::go(place, &mut stage, screen).await {
        Ok(()) => Ok(stage),
        Err(failure) => {
            eprintln!("\n\nThe end of the operator's log:\n{}", stage.operator.last_words());
            Err(failure)
        }
    }
}

/// Ends with the first Ctrl-C or SIGTERM; from then on neither ends the process by itself.
fn interrupt() -> Result<impl Future<Output = ()>> {
    let mut ctrl_c = signal(SignalKind::interrupt()).or_failed_to("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).or_failed_to("listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = ctrl_c.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

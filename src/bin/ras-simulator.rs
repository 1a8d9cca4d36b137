//! `ras-simulator`: a RAS farm to try manifests and pipelines against, started by hand.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ras_operator::simulator::{Simulator, SimulatorConfig, StartError, Switches};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  ras-simulator                                    one farm, ports as the system gives them
  ras-simulator --port 20443 --control-port 20444  the ports that the vendor's documents use
  ras-simulator --print-seed > farm.yaml           a seed file to start from
  ras-simulator --seed farm.yaml                   the farms of a seed file (YAML or JSON)

Without a seed file the account is `administrator` with the password `simulator`. With the simulator running:
  curl --cacert ras-simulator-ca.pem -H 'Content-Type: application/json; api-version=1.0' \\
    -d '{\"username\":\"administrator\",\"password\":\"simulator\"}' https://127.0.0.1:20443/api/Session/logon
  curl http://127.0.0.1:20444/                     every operation of the control interface
  curl http://127.0.0.1:20444/farms/0/journal      what the farm was asked
  curl -X PATCH -d '{\"deletedRow\":\"goneAtOnce\"}' http://127.0.0.1:20444/farms/0/switches
  curl -d '{\"method\":\"POST\",\"route\":\"/api/Broker\",\"when\":\"afterCommit\",\"effect\":{\"kind\":\"reset\"}}' \\
    http://127.0.0.1:20444/farms/0/faults";

/// A stand-in for the REST API of Parallels RAS farms, over HTTPS on 127.0.0.1.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// The farms to start with, as YAML or JSON.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,

    /// Port of the first farm's REST API, whatever the seed says; 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,

    /// Port of the control interface, whatever the seed says; 0 takes a free one.
    #[arg(long)]
    control_port: Option<u16>,

    /// Where the certificate of the simulator's own authority is written.
    #[arg(long, value_name = "FILE", default_value = "ras-simulator-ca.pem")]
    ca_file: PathBuf,

    /// Prints a seed file with every field, and ends.
    #[arg(long)]
    print_seed: bool,

    /// Prints every switch with its readings, and ends.
    #[arg(long)]
    list_switches: bool,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to understand the seed file {}", path.display())]
    Seed { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("failed to write the example seed")]
    PrintSeed(#[source] serde_saphyr::SerializeError),
    #[error("failed to start")]
    Start(#[source] StartError),
    #[error("failed to write the certificate to {}", path.display())]
    Certificate { path: PathBuf, source: std::io::Error },
    #[error("failed to wait for signals")]
    Signal(#[source] std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ras-simulator: {}", chain(&failure));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list_switches {
        print_switches();
        return Ok(());
    }
    let config = configuration(arguments)?;
    if arguments.print_seed {
        let seed = serde_saphyr::to_string(&config).map_err(Failure::PrintSeed)?;
        print!("{seed}");
        return Ok(());
    }
    let simulator = Simulator::start(config).await.map_err(Failure::Start)?;
    write_certificate(&arguments.ca_file, simulator.ca_pem())?;
    print_addresses(&simulator, &arguments.ca_file);
    wait_for_the_end().await.map_err(Failure::Signal)?;
    simulator.stop().await;
    Ok(())
}

fn configuration(arguments: &Arguments) -> Result<SimulatorConfig, Failure> {
    let mut config = match &arguments.seed {
        Some(path) => read_seed(path)?,
        None => SimulatorConfig::default(),
    };
    if let (Some(port), Some(farm)) = (arguments.port, config.farms.first_mut()) {
        farm.port = port;
    }
    config.control_port = arguments.control_port.unwrap_or(config.control_port);
    Ok(config)
}

fn read_seed(path: &Path) -> Result<SimulatorConfig, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    serde_saphyr::from_str(&text)
        .map_err(|source| Failure::Seed { path: path.to_owned(), source: Box::new(source) })
}

fn write_certificate(path: &Path, pem: &str) -> Result<(), Failure> {
    fs::write(path, pem).map_err(|source| Failure::Certificate { path: path.to_owned(), source })
}

fn print_addresses(simulator: &Simulator, ca_file: &Path) {
    for farm in simulator.farms() {
        let view = farm.view();
        println!("farm {} ({}): {}", view.name, view.guid, view.endpoints.join(" "));
    }
    println!("control: {}", simulator.control_url());
    let shown = fs::canonicalize(ca_file).unwrap_or_else(|_| ca_file.to_owned());
    println!("ca: {}", shown.display());
    println!("pin: {}", simulator.leaf_sha256());
}

fn print_switches() {
    for switch in Switches::describe() {
        println!("{}: {}", switch.name, switch.question);
        for reading in switch.readings {
            println!("    {}: {}", reading.name, reading.meaning);
        }
    }
}

async fn wait_for_the_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// The failure with its causes, once, at the edge.
fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

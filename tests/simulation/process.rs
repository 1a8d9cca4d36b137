//! The operator's processes: the product as it is, but for its controllers, which do not replay and are left out where a
//! run is to.

use std::sync::Arc;

use clap::Parser;
use ras_operator::admin::Probes;
use ras_operator::cli::{Cli, Command, RunArgs};
use ras_operator::clock::Clock;
use ras_operator::metrics::Metrics;
use ras_operator::runtime::{self, Operator, Outside, RunError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::Line;
use crate::world::{CLUSTERS, World};
use crate::{api_line, clock, farm_line, queue};

/// A process that runs, or has ended.
pub struct Process {
    pub line: Arc<Line>,
    /// The number of the cluster whose objects it sees.
    pub cluster: usize,
    stop: CancellationToken,
    pub task: JoinHandle<Result<(), RunError>>,
}

impl Process {
    /// Starts the process with this number, for the cluster with that one.
    pub fn start(world: &Arc<World>, number: usize, cluster: usize) -> Self {
        world.network.say(&format!("process {number} starts"));
        let identity = format!("process-{number}");
        let line = Arc::new(Line::new(Arc::clone(&world.network), &identity, CLUSTERS[cluster].0));
        let stop = CancellationToken::new();
        let outside = Outside {
            kubernetes: api_line::client(world, &line),
            connector: farm_line::connector(world, &line),
            clock: Clock::new(clock::operators),
            identity,
        };
        let (stopped, elects) = (stop.clone(), world.setting.elects);
        let runs_kubes_controllers = world.setting.runs_kubes_controllers;
        let task = tokio::spawn(async move {
            let args = RunArgs { leader_elect: elects, ..arguments(CLUSTERS[cluster].0) };
            let operator = Operator::new(outside, &args, Metrics::new("0", "0"), stopped);
            let probes = Probes::default();
            if runs_kubes_controllers {
                return operator.run(&args, &probes, runtime::control, runtime::control).await;
            }
            operator.run(&args, &probes, queue::control, queue::control).await
        });
        Self { line, cluster, stop, task }
    }

    /// SIGKILL: nothing of it is sent any more; what was sent goes on.
    pub fn kill(&self) {
        self.line.cut();
        self.task.abort();
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn arguments(namespace: &str) -> RunArgs {
    let watch = ["--watch-namespaces", namespace];
    let cli =
        Cli::try_parse_from(["ras-operator", "run", "--allowed-farm-hosts", "*.test"].iter().chain(&watch));
    match cli.unwrap().command {
        Command::Run(args) => args,
        Command::Crds(_) => unreachable!("the command is run"),
    }
}

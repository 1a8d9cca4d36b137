//! One run: a world, a script of what happens in it, and the way to rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ras_operator::runtime::RunError;
use ras_operator::simulator::FarmHandle;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api_server::Revision;
use crate::clock;
use crate::log;
use crate::network::{Network, Point, Strike};
use crate::panics;
use crate::process::Process;
use crate::seeds::Outcome;
use crate::users::{delete, forge_id, lose_status, replace, strip, sweep_away};
use crate::world::{Setting, World, home};

/// A world and the processes that work on it.
pub struct Run {
    pub world: Arc<World>,
    processes: Vec<Process>,
    started: usize,
}

impl Run {
    /// Begins.
    pub fn begin(setting: Setting, random: fastrand::Rng, strikes: BTreeMap<Point, Strike>) -> Self {
        clock::start();
        panics::watch();
        fastrand::seed(random.clone().u64(..));
        let world = World::new(setting, Network::new(random, strikes));
        let started = world.setting.replicas * world.setting.clusters;
        let processes = (1..=started)
            .map(|number| Process::start(&world, number, number % world.setting.clusters))
            .collect();
        Self { world, processes, started }
    }

    /// Lets time pass. Meanwhile processes that end are replaced, and strikes are carried out.
    pub async fn rest(&mut self, span: Duration) {
        let until = Instant::now() + span;
        loop {
            let network = Arc::clone(&self.world.network);
            let tasks = self.processes.iter_mut().map(|process| &mut process.task);
            tokio::select! {
                biased;
                () = network.struck.notified() => self.strike().await,
                (ended, index, _) = futures::future::select_all(tasks) => {
                    let told = ended.map(|ended| ended.map_err(|error| error.to_string()));
                    network.say(&format!("a process ended: {told:?}"));
                    if !matches!(told, Ok(Err(ref why)) if *why == RunError::LeadershipLost.to_string()) {
                        self.world.oracle.lock().accuse(&format!("a process ended: {told:?}"));
                    }
                    self.restart(index, Duration::from_millis(network.below(3_000))).await;
                }
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// The end: what was wrong on the way, and what is wrong now.
    pub fn end(self, mut wrong: Vec<String>) -> Outcome {
        self.processes.iter().for_each(Process::kill);
        let mut oracle = self.world.oracle.lock();
        if wrong.is_empty() {
            oracle.rest();
        }
        wrong.append(&mut oracle.wrong);
        wrong.extend(panics::seen());
        if let Some(log) = log::kept() {
            self.world.network.fault("a log that is searched", &format!("{} bytes", log.len()));
            wrong.extend(self.world.secret_in(&log).map(|secret| format!("a secret in the log, {secret}")));
        }
        let calls = self.world.network.calls();
        self.world.network.with_trace(|trace| Outcome {
            wrong,
            lines: trace.lines().to_vec(),
            hash: trace.hash(),
            faults: trace.faults().clone(),
            calls,
        })
    }

    async fn strike(&mut self) {
        for strike in self.world.network.take_due() {
            match strike {
                Strike::Crash => self.crash(self.struck()).await,
                Strike::Restore => self.world.restore(Revision::Raised),
                Strike::RestoreAll => {
                    self.world.restore(Revision::AsThen);
                    self.crash(self.struck()).await;
                }
                Strike::Sleep(span) => self.sleep(span).await,
                Strike::Freeze(span) => self.freeze(span),
                // The clock sees to it.
                Strike::Blink(_) => {}
                Strike::Delete(name) => delete(&self.world, name),
                Strike::SweepAway(name) => sweep_away(&self.world, name),
                Strike::Replace(name) => replace(&self.world, name),
                Strike::Strip(name) => strip(&self.world, name),
                Strike::ForgeId(name) => forge_id(&self.world, name, 1),
                Strike::LoseStatus(name) => lose_status(&self.world, name),
            }
        }
    }

    /// The process whose line was cut.
    fn struck(&self) -> usize {
        self.processes.iter().position(|process| !process.line.is_open()).unwrap_or_default()
    }

    /// One of the processes.
    pub fn any(&self) -> usize {
        usize::try_from(self.world.network.below(self.processes.len() as u64)).unwrap_or_default()
    }

    /// Kills a process, and starts another one a little later.
    pub async fn crash(&mut self, index: usize) {
        self.processes[index].kill();
        let pause =
            [50, 1_000, 5_000, 30_000][usize::try_from(self.world.network.below(4)).unwrap_or_default()];
        self.restart(index, Duration::from_millis(pause)).await;
    }

    /// Ends a process in good order, and starts another one.
    pub async fn renew(&mut self, index: usize) {
        self.processes[index].stop();
        drop((&mut self.processes[index].task).await);
        self.restart(index, Duration::from_millis(100)).await;
    }

    /// One of the processes does not reach the API server any more, or all do again.
    pub fn isolate(&self, index: Option<usize>) {
        for (place, process) in self.processes.iter().enumerate() {
            process.line.isolate(index == Some(place));
        }
    }

    async fn restart(&mut self, index: usize, pause: Duration) {
        self.processes[index].kill();
        tokio::time::sleep(pause).await;
        self.started += 1;
        let cluster = self.processes[index].cluster;
        self.processes[index] = Process::start(&self.world, self.started, cluster);
    }

    /// The machine sleeps. What is on its way arrives and is done before it wakes up, and no timer has run.
    pub async fn sleep(&mut self, span: Duration) {
        self.world.network.hurry.notify_waiters();
        breathe().await;
        self.world.farms.iter().for_each(FarmHandle::finish_installations);
        breathe().await;
        self.freeze(span);
    }

    /// The machine sleeps at once, and whatever is on its way is on its way still when it wakes up.
    fn freeze(&self, span: Duration) {
        self.world.network.say(&format!("the machine sleeps for {span:?}"));
        clock::sleep_machine(span);
        for farm in &self.world.farms {
            farm.advance_clock(jiff::SignedDuration::try_from(span).unwrap());
        }
    }
}

/// Lets whatever can go on do so, while no time passes.
async fn breathe() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// A broker object.
pub fn broker(object: &str, farm: usize, server: &str, spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBroker",
        "metadata": {"name": object, "namespace": home(object)},
        "spec": {"farmRef": {"name": format!("farm-{farm}")}, "server": server},
    });
    for (name, value) in spec.as_object().cloned().unwrap_or_default() {
        manifest["spec"][name] = value;
    }
    manifest
}

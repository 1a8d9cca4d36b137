//! The built operator as a process: with a ServiceAccount's kubeconfig, its log in a file, its ports on loopback.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{
    control_plane::free_ports,
    failure::{Failure, Result, While as _},
    process::Held,
};

const READY_WITHIN: Duration = Duration::from_mins(1);
/// Draining may take 25 s; more than this is a hang.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
/// What a container would not have, or what would decide instead of the test.
const NOT_INHERITED: [&str; 6] = [
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "POD_NAMESPACE",
    "RUST_LOG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
];

/// A running operator; dropping it kills it, and prints the end of its log where a test fails.
#[derive(Debug)]
pub(crate) struct Operator {
    process: Held,
    health: u16,
    metrics: u16,
}

/// How an operator ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
}

impl Operator {
    /// Starts `binary` for the namespace; `args` win over what is passed otherwise, and `NAME=value` among them is an
    /// environment variable. It is not waited for.
    pub(crate) fn launch(
        binary: &Path,
        kubeconfig: &Path,
        namespace: &str,
        args: &[&str],
        log: &Path,
    ) -> Result<Self> {
        let [health, metrics] = free_ports()?;
        let (args, variables): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with('-'));
        let mut command = Command::new(binary);
        command.arg("run").args(&args).env("KUBECONFIG", kubeconfig);
        for name in not_inherited() {
            command.env_remove(name);
        }
        command.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
        for (flag, value) in defaults(namespace, health, metrics) {
            if !args.iter().any(|given| given.split('=').next() == Some(flag)) {
                command.arg(format!("{flag}={value}"));
            }
        }
        let process = Held::start(&command, log, None)?;
        Ok(Self { process, health, metrics })
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_WITHIN;
        loop {
            if self.probe("/readyz").await == Some(200) {
                return Ok(());
            }
            if let Some(status) = self.process.exited() {
                let words = self.process.last_words(20);
                return Err(Failure::new(format!("failed to keep the operator running ({status}): {words}")));
            }
            if Instant::now() > end {
                let words = self.process.last_words(20);
                return Err(Failure::new(format!(
                    "failed to see the operator ready within {READY_WITHIN:?}: {words}"
                )));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The status code of a probe, where anything answers.
    pub(crate) async fn probe(&self, path: &str) -> Option<u16> {
        let answer = get(&format!("http://127.0.0.1:{}{path}", self.health)).await.ok()?;
        Some(answer.status().as_u16())
    }

    /// What `/metrics` says now.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let answer = get(&self.metrics_url()).await?;
        answer.text().await.or_failed_to("read the metrics")
    }

    /// Everything that it has logged so far.
    pub(crate) fn logs(&self) -> String {
        self.process.output()
    }

    /// The end of it.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words(25)
    }

    /// The file that it logs into.
    pub(crate) fn log(&self) -> &Path {
        self.process.log()
    }

    /// Where its metrics are.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics)
    }

    /// Its process id, for what `/proc` tells.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn stop(&mut self) -> Result<Stopped> {
        let start = Instant::now();
        self.process.terminate();
        while start.elapsed() < STOPPED_WITHIN {
            if let Some(status) = self.process.exited() {
                return Ok(Stopped { status, took: start.elapsed() });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::new(format!("failed to see the operator end within {STOPPED_WITHIN:?} of SIGTERM")))
    }

    /// Kills it outright, as a node that loses power would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it: it loses time, its connections stay open.
    pub(crate) fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after `freeze`.
    pub(crate) fn thaw(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends SIGTERM without waiting.
    pub(crate) fn terminate(&mut self) {
        self.process.terminate();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the operator's log:\n{}", self.process.last_words(60));
        }
    }
}

/// The binary under test: cargo's own in a test, and beside the running example in the demo.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_ras-operator") {
        return Ok(PathBuf::from(path));
    }
    let example = env::current_exe().or_failed_to("find out where this program is")?;
    let path = example.parent().and_then(Path::parent).map(|folder| folder.join("ras-operator"));
    path.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::new(
            "unable to find the operator's binary: run `cargo build --bin ras-operator` in the same profile",
        )
    })
}

fn defaults(namespace: &str, health: u16, metrics: u16) -> [(&'static str, String); 4] {
    [
        ("--watch-namespaces", namespace.to_owned()),
        ("--allowed-farm-hosts", "127.0.0.1,localhost".to_owned()),
        ("--health-probe-bind-address", format!("127.0.0.1:{health}")),
        ("--metrics-bind-address", format!("127.0.0.1:{metrics}")),
    ]
}

fn not_inherited() -> Vec<String> {
    let own = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("RAS_OPERATOR_"));
    own.chain(NOT_INHERITED.map(str::to_owned)).collect()
}

async fn get(url: &str) -> Result<reqwest::Response> {
    // Even plain HTTP needs one to build a client; whoever was first is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .or_failed_to("make an HTTP client")?;
    client.get(url).send().await.or_failed_to("ask the operator's own server")
}

//! etcd, kube-apiserver and kube-controller-manager as plain processes on loopback, as envtest does it.
//!
//! # Guarantees
//! Nothing of it outlives this process, whatever ends it; no port but loopback's; no file outside one temporary folder.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    audit::{self, AuditLog},
    binaries::Binaries,
    certificates::Certificates,
    cluster::Cluster,
    failure::{Failure, Result, While as _},
    kubeconfig,
    process::Held,
};

/// About 3 s on an idle machine; builds beside it may take the processor for a while.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// A port that was free when we looked may be taken by the time a server binds it.
const TRIES: usize = 3;
const ISSUER: &str = "https://kubernetes.default.svc";
/// What namespace deletion and garbage collection need. There are no pods here, so nothing else has work to do.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller";

/// A running control plane; dropping it ends it and removes its files.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    servers: Vec<Held>,
    cluster: Cluster,
    audit: AuditLog,
    collects: bool,
    /// Dropped after the servers that write into it.
    folder: TempDir,
}

impl ControlPlane {
    /// Starts the servers and waits until the API server says that it is ready.
    pub(crate) async fn start() -> Result<Self> {
        // Kubernetes clients need a process-wide TLS provider; another caller may have been first.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let binaries = Binaries::find();
        for _ in 1..TRIES {
            match Self::start_once(&binaries).await {
                Err(failure) if failure.chain().contains("address already in use") => {}
                settled @ (Ok(_) | Err(_)) => return settled,
            }
        }
        Self::start_once(&binaries).await
    }

    async fn start_once(binaries: &Binaries) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("ras-operator-control-plane-")
            .tempdir()
            .or_failed_to("create a temporary folder")?;
        let layout = Layout::make(folder.path())?;
        let content = kubeconfig::admin(&layout.api_url(), &layout.certificates);
        let cluster = Cluster::new(content, binaries.required("kubectl")?, folder.path()).await?;
        let mut servers = vec![
            layout.run("etcd", &layout.etcd(&binaries.required("etcd")?))?,
            layout.run("kube-apiserver", &layout.api_server(&binaries.required("kube-apiserver")?))?,
        ];
        wait_until_ready(&cluster, &mut servers).await?;
        let manager = binaries.optional("kube-controller-manager");
        if let Some(program) = &manager {
            servers.push(
                layout.run("kube-controller-manager", &controller_manager(program, cluster.kubeconfig()))?,
            );
        }
        let audit = AuditLog::at(layout.audit_log());
        Ok(Self { servers, cluster, audit, collects: manager.is_some(), folder })
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn audit_log(&self) -> &AuditLog {
        &self.audit
    }

    /// Whether deleted namespaces and orphaned objects go away: envtest's binaries lack the server that does it. A test
    /// that needs it is skipped then, and says so.
    pub(crate) fn collects_garbage(&self) -> bool {
        if !self.collects {
            eprintln!("skipped: these binaries have no kube-controller-manager");
        }
        self.collects
    }

    /// The temporary folder, with the servers' logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The servers' process ids.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Held::pid).collect()
    }
}

async fn wait_until_ready(cluster: &Cluster, servers: &mut [Held]) -> Result<()> {
    let client = cluster.client()?;
    let end = Instant::now() + READY_WITHIN;
    loop {
        let request = http::Request::get("/readyz").body(Vec::new()).or_failed_to("build a request")?;
        let look = tokio::time::timeout(Duration::from_secs(5), client.request_text(request));
        if matches!(look.await, Ok(Ok(_))) {
            return Ok(());
        }
        if let Some(ended) =
            servers.iter_mut().find_map(|server| server.exited().map(|_| server.last_words(15)))
        {
            return Err(Failure::new(format!("failed to keep the control plane running: {ended}")));
        }
        if Instant::now() > end {
            let words = servers.iter().map(|server| server.last_words(5)).collect::<Vec<_>>().join("\n");
            return Err(Failure::new(format!(
                "failed to see the API server ready within {READY_WITHIN:?}: {words}"
            )));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The files and ports of one control plane.
struct Layout {
    folder: PathBuf,
    certificates: Certificates,
    ports: [u16; 3],
}

impl Layout {
    fn make(folder: &Path) -> Result<Self> {
        let layout = Self {
            folder: folder.to_owned(),
            certificates: Certificates::make(&folder.join("certificates"))?,
            ports: free_ports()?,
        };
        fs::write(layout.audit_policy(), audit::POLICY).or_failed_to("write the audit policy")?;
        Ok(layout)
    }

    fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.yaml")
    }

    fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports[2])
    }

    fn run(&self, name: &str, command: &Command) -> Result<Held> {
        Held::start(command, &self.folder.join(format!("{name}.log")), Some(&self.folder))
    }

    fn etcd(&self, program: &Path) -> Command {
        let peer = format!("http://127.0.0.1:{}", self.ports[1]);
        let mut command = Command::new(program);
        flag(&mut command, "data-dir", self.folder.join("etcd").display());
        flag(&mut command, "listen-client-urls", self.etcd_url());
        flag(&mut command, "advertise-client-urls", self.etcd_url());
        flag(&mut command, "listen-peer-urls", &peer);
        flag(&mut command, "initial-advertise-peer-urls", &peer);
        flag(&mut command, "initial-cluster", format!("default={peer}"));
        // What a power cut would lose is of no use to anybody after one.
        flag(&mut command, "unsafe-no-fsync", true);
        command
    }

    fn api_server(&self, program: &Path) -> Command {
        let Certificates { authority, server, admin: _, service_account_key, service_account_public_key } =
            &self.certificates;
        let mut command = Command::new(program);
        flag(&mut command, "etcd-servers", self.etcd_url());
        flag(&mut command, "secure-port", self.ports[2]);
        flag(&mut command, "bind-address", "127.0.0.1");
        flag(&mut command, "advertise-address", "127.0.0.1");
        // It would refuse to publish a loopback address.
        flag(&mut command, "endpoint-reconciler-type", "none");
        flag(&mut command, "cert-dir", self.folder.join("certificates").display());
        flag(&mut command, "tls-cert-file", server.certificate.display());
        flag(&mut command, "tls-private-key-file", server.key.display());
        flag(&mut command, "client-ca-file", authority.display());
        flag(&mut command, "service-account-key-file", service_account_public_key.display());
        flag(&mut command, "service-account-signing-key-file", service_account_key.display());
        flag(&mut command, "service-account-issuer", ISSUER);
        flag(&mut command, "api-audiences", ISSUER);
        flag(&mut command, "authorization-mode", "RBAC");
        flag(&mut command, "service-cluster-ip-range", "10.0.0.0/24");
        flag(&mut command, "disable-admission-plugins", "ServiceAccount");
        flag(&mut command, "audit-policy-file", self.audit_policy().display());
        flag(&mut command, "audit-log-path", self.audit_log().display());
        command
    }
}

fn controller_manager(program: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(program);
    flag(&mut command, "kubeconfig", kubeconfig.display());
    flag(&mut command, "controllers", CONTROLLERS);
    flag(&mut command, "leader-elect", false);
    // It has nothing to serve.
    flag(&mut command, "secure-port", 0);
    command
}

fn flag(command: &mut Command, name: &str, value: impl std::fmt::Display) {
    command.arg(format!("--{name}={value}"));
}

/// Ports that were free a moment ago, none given twice. They lie below those that the kernel gives to whoever connects:
/// of these somebody may take one between its choice and its use.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    const FIRST: u32 = 16_000;
    const COUNT: u32 = 16_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Other processes begin elsewhere.
    let next = || std::process::id().wrapping_mul(97).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
    let mut ports = [0; N];
    for port in &mut ports {
        let mut candidates = (0..COUNT).filter_map(|_| u16::try_from(FIRST + next() % COUNT).ok());
        let free = candidates.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        *port = free.ok_or("all are taken").or_failed_to("find a free port on loopback")?;
    }
    Ok(ports)
}

//! Starts and stops a simulator: certificates, listeners, control interface.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certificate::Certificates;
use super::config::{FarmConfig, SimulatorConfig};
use super::farm::{Endpoint, FarmHandle};
use super::server::{Listening, Tasks, bind, listen};
use super::state::FarmState;

/// Why a simulator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A configuration that no farm can have.
    #[error("failed to use the configuration: {0}")]
    Configuration(String),
    /// No certificate could be made.
    #[error("failed to make the certificates")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the certificate.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// A port is taken.
    #[error("failed to listen on 127.0.0.1:{port}")]
    Listen {
        /// The port; 0 for any.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
}

/// A running simulator. Dropping it ends all its tasks and closes its ports.
pub struct Simulator {
    farms: Vec<FarmHandle>,
    certificates: Certificates,
    control: SocketAddr,
    tasks: Tasks,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Simulator");
        debug.field("farms", &self.farms).field("control", &self.control);
        debug.finish_non_exhaustive()
    }
}

impl Simulator {
    /// Makes a certificate authority, binds a port for each endpoint and one for the control interface,
    /// and serves them.
    pub async fn start(config: SimulatorConfig) -> Result<Self, StartError> {
        check(&config)?;
        let certificates = Certificates::new(&config.certificate_names)?;
        let acceptor = TlsAcceptor::from(certificates.server.clone());
        let tasks = Tasks { stop: CancellationToken::new(), tracker: TaskTracker::new() };
        let mut farms = Vec::new();
        for (place, farm) in config.farms.iter().enumerate() {
            farms.push(start_farm(farm, place, &acceptor, &tasks).await?);
        }
        let (listener, control) = listener(config.control_port).await?;
        drop(tasks.spawn(super::control::serve(listener, farms.clone(), tasks.clone())));
        Ok(Self { farms, certificates, control, tasks })
    }

    /// The certificate authority that a client has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.certificates.ca_pem
    }

    /// SHA-256 of the served certificate, in hex.
    pub fn leaf_sha256(&self) -> &str {
        &self.certificates.leaf_sha256
    }

    /// SHA-256 of the served certificate's public key (its SPKI), in hex.
    pub fn leaf_key_sha256(&self) -> &str {
        &self.certificates.leaf_key_sha256
    }

    /// The control interface's base URL, `http://127.0.0.1:PORT`.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The farms, in the order of the configuration.
    pub fn farms(&self) -> &[FarmHandle] {
        &self.farms
    }

    /// A farm by its place.
    ///
    /// # Panics
    /// Where the configuration has no such farm.
    pub fn farm(&self, place: usize) -> &FarmHandle {
        &self.farms[place]
    }

    /// Ends all tasks and waits until they have ended.
    pub async fn stop(self) {
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
    }
}

async fn start_farm(
    config: &FarmConfig,
    place: usize,
    acceptor: &TlsAcceptor,
    tasks: &Tasks,
) -> Result<FarmHandle, StartError> {
    let state = FarmState::new(config, place);
    let (mut listeners, mut endpoints) = (Vec::new(), Vec::new());
    for (server, port) in endpoint_servers(&state, config) {
        let (bound, address) = listener(port).await?;
        listeners.push(bound);
        endpoints.push(Endpoint { address, server });
    }
    let handle = FarmHandle::new(state, endpoints);
    for (endpoint, listener) in listeners.into_iter().enumerate() {
        let at =
            Listening { farm: handle.0.clone(), endpoint, acceptor: acceptor.clone(), tasks: tasks.clone() };
        drop(tasks.spawn(listen(listener, at)));
    }
    Ok(handle)
}

/// The server that each endpoint is connected to, and its port: the primary of the licensing site, then others.
pub(super) fn endpoint_servers(
    state: &FarmState,
    config: &FarmConfig,
) -> impl Iterator<Item = (String, u16)> + use<> {
    let primary = state.primary_of(state.licensing_site());
    let first = (primary.map_or_else(String::new, |row| row.server.clone()), config.port);
    let others = config.secondary_endpoints.iter().map(|other| (other.server.clone(), other.port));
    std::iter::once(first).chain(others.collect::<Vec<_>>())
}

async fn listener(port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = bind(port).await;
    bound.map_err(|source| StartError::Listen { port, source })
}

fn check(config: &SimulatorConfig) -> Result<(), StartError> {
    if config.farms.is_empty() {
        return Err(StartError::Configuration("there is no farm".to_owned()));
    }
    config.farms.iter().try_for_each(check_farm)
}

fn check_farm(farm: &FarmConfig) -> Result<(), StartError> {
    let wrong = |what: String| Err(StartError::Configuration(format!("farm `{}`: {what}", farm.name)));
    if farm.sites.is_empty() {
        return wrong("there is no site".to_owned());
    }
    if farm.accounts.is_empty() {
        return wrong("there is no account".to_owned());
    }
    for (index, site) in farm.sites.iter().enumerate() {
        let earlier = farm.sites.iter().take(index);
        if site.id < 0 || earlier.clone().any(|other| site.id != 0 && other.id == site.id) {
            return wrong(format!("site `{}` has an id that is taken or negative", site.name));
        }
        if site.brokers.iter().any(|broker| broker.server.is_empty()) {
            return wrong(format!("site `{}` has a broker without a server", site.name));
        }
    }
    Ok(())
}

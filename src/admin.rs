//! The HTTP servers for probes and metrics, beside the data flow: they only read.
//!
//! # Guarantees
//!
//! `/readyz` answers 200 only between [`Readiness::synced`] and [`Readiness::draining`].
//! `/healthz` answers 200 only while each task under [`Liveness`] lives and, where it promised a
//! heartbeat, keeps it. Nothing secret is served: bodies hold task names and numbers only.
//!
//! # Caveats
//!
//! Probes must still be answered while the operator drains, so the token that stops
//! [`Listeners::serve`] is to be cancelled last. From then on open connections get
//! [`GRACE`], since an idle client must not hold up the end of the process.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::OptionFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::BindAddress;
use crate::metrics::Metrics;

mod liveness;
mod readiness;

pub use liveness::{Heartbeat, Liveness};
pub use readiness::{Readiness, ReadinessState};

/// How long open connections may last once the servers are stopped.
pub const GRACE: Duration = Duration::from_millis(500);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}, given by {flag}")]
pub struct BindError {
    /// The flag that names the address.
    pub flag: &'static str,
    /// The address as the flag gives it.
    pub address: BindAddress,
    #[source]
    source: io::Error,
}

/// The sockets, bound before any work starts, so that a taken port is found at once.
#[derive(Debug)]
pub struct Listeners {
    probes: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

/// What the probes tell.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Behind `/readyz`.
    pub readiness: Readiness,
    /// Behind `/healthz`.
    pub liveness: Liveness,
}

impl Listeners {
    /// Binds both addresses; a disabled one is left out.
    pub async fn bind(probes: &BindAddress, metrics: &BindAddress) -> Result<Self, BindError> {
        Ok(Self {
            probes: bind(probes, "--health-probe-bind-address").await?,
            metrics: bind(metrics, "--metrics-bind-address").await?,
        })
    }

    /// Where the probes are served, `None` when they are not.
    pub fn probe_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where the metrics are served, `None` when they are not.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` is cancelled, or until a server fails.
    pub async fn serve(self, probes: Probes, metrics: Metrics, stop: CancellationToken) -> io::Result<()> {
        let Self { probes: probe_listener, metrics: metrics_listener } = self;
        let probes: OptionFuture<_> =
            probe_listener.map(|listener| serve(listener, probe_routes(probes), stop.clone())).into();
        let metrics: OptionFuture<_> =
            metrics_listener.map(|listener| serve(listener, metrics_routes(metrics), stop.clone())).into();
        let served = async { tokio::try_join!(flatten(probes), flatten(metrics)).map(drop) };
        tokio::select! {
            result = served => result,
            () = grace_after(&stop) => Ok(()),
        }
    }
}

/// `/healthz` and `/readyz`.
pub fn probe_routes(probes: Probes) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(probes)
}

/// `/metrics`.
pub fn metrics_routes(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(show_metrics)).with_state(metrics)
}

async fn healthz(State(probes): State<Probes>) -> Response {
    let ailing = probes.liveness.ailing();
    if ailing.is_empty() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, ailing.join("\n") + "\n").into_response()
    }
}

async fn readyz(State(probes): State<Probes>) -> Response {
    match probes.readiness.state() {
        ReadinessState::Ready => (StatusCode::OK, "ok\n"),
        ReadinessState::Starting => (StatusCode::SERVICE_UNAVAILABLE, "caches are not synced\n"),
        ReadinessState::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
    .into_response()
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn flatten<F>(server: OptionFuture<F>) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    server.await.unwrap_or(Ok(()))
}

async fn grace_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

async fn bind(address: &BindAddress, flag: &'static str) -> Result<Option<TcpListener>, BindError> {
    let bound = match address {
        BindAddress::Disabled => return Ok(None),
        BindAddress::Any { port } => bind_any(*port).await,
        BindAddress::Host { host, port } => TcpListener::bind((host.as_str(), *port)).await,
    };
    bound.map(Some).map_err(|source| BindError { flag, address: address.clone(), source })
}

/// Both IP versions by one socket; IPv4 alone where the machine has no IPv6.
async fn bind_any(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests;

//! The way of one request to an endpoint and of its answer back. What is sent, how long it may take and what an answer
//! means is the client's affair.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tower::layer::layer_fn;

use super::awake::Awake;
use super::client::ClientConfig;
use super::endpoint::{self, ConfigError};
use super::resolver::FarmResolver;
use super::tls;
use crate::clock::Clock;

/// How long a connection may take, TLS included, so that a host that cannot be reached (nothing was sent) is told
/// from a farm that does not answer (anything may have happened).
const MAX_CONNECT: Duration = Duration::from_secs(10);

/// An installation is silent for minutes: what is on the way must not take the connection for a dead one.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Carries one request, at most once, and gives the answer once its headers are there.
pub type Transport =
    Arc<dyn Fn(reqwest::Request) -> BoxFuture<'static, reqwest::Result<reqwest::Response>> + Send + Sync>;

/// Makes the transport to the endpoint of these settings. Nothing is sent.
pub type Connector = Arc<dyn Fn(&ClientConfig) -> Result<Transport, ConfigError> + Send + Sync>;

/// Over HTTPS: a connection of its own for each request, to a server that is trusted.
pub fn https(config: &ClientConfig) -> Result<Transport, ConfigError> {
    let ClientConfig { endpoint, tls, request_timeout, install_timeout: _, hosts, api: _ } = config;
    let resolver = FarmResolver { host: endpoint::host(endpoint)?, policy: hosts.clone() };
    let http = http_client(tls::client_config(tls)?, resolver, *request_timeout)?;
    Ok(Arc::new(move |request| Box::pin(http.execute(request))))
}

/// # Why no pool, and no retry
/// The pool of hyper-util sends a request again when a re-used connection turns out to be closed before the request
/// was written, and reqwest offers no switch for that. A connection per call makes it impossible, for reads too,
/// whose calls are counted; at one list per farm and period the cost is a handshake. reqwest's own retries (HTTP/2
/// refusals only) are switched off by name, and HTTP/1.1 leaves them nothing to retry.
///
/// A redirect would carry `auth_token` to another host, and a proxy of the environment would see the queries.
fn http_client(
    tls: rustls::ClientConfig,
    resolver: FarmResolver,
    request_timeout: Duration,
) -> Result<reqwest::Client, ConfigError> {
    let limit = MAX_CONNECT.min(request_timeout / 2);
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver)
        .connect_timeout(limit)
        .connector_layer(layer_fn(move |inner| Awake { inner, clock: Clock::MACHINE, limit }))
        .tcp_keepalive(KEEPALIVE)
        .pool_max_idle_per_host(0)
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(true)
        .http1_only()
        .referer(false)
        .user_agent(concat!("ras-operator/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| ConfigError::Setup)
}

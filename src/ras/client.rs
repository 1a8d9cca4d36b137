//! Sends calls, in one place: `Client::exchange` holds the one timeout, the one redaction, the one count.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use url::Url;

use super::answer;
use super::cause::classify;
use super::endpoint::{self, ConfigError};
use super::error::{Error, ErrorKind, Malformed};
use super::hosts::HostPolicy;
use super::model::{Agent, Broker, Site};
use super::paths::ApiPaths;
use super::promotion_settings::PromotionSettings;
use super::receive::{self, ReadError, Received};
use super::request::{self, BrokerChange, Call, Move, NewBroker, Removal, Route};
use super::secret::{AuthToken, Credentials, MyAccount, Scrubber};
use super::session::Session;
use super::tls::{self, TlsConfig};
use super::transport::{Connector, Transport, https};

/// How long the words of a refusal are waited for. Its status alone says that nothing was done, and must not be lost
/// because the body hangs.
const MAX_ERROR_BODY_TIME: Duration = Duration::from_secs(2);
/// The vendor wants this on every request, GET included.
const JSON_V1: HeaderValue = HeaderValue::from_static("application/json; api-version=1.0");
const AUTH_TOKEN: HeaderName = HeaderName::from_static("auth_token");

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// From [`endpoint::parse_endpoint`].
    pub endpoint: Url,
    /// How the server is trusted.
    pub tls: TlsConfig,
    /// For one whole call: name, connection, TLS, request and answer.
    pub request_timeout: Duration,
    /// The same for a call that installs or removes an agent.
    pub install_timeout: Duration,
    /// Which hosts may be called.
    pub hosts: HostPolicy,
    /// Where the undocumented calls live.
    pub api: ApiPaths,
}

/// A success.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// The farm's own clock (HTTP `Date`).
    pub date: Option<Timestamp>,
}

/// One call as it went, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The endpoint.
    pub route: Route,
    /// `ok`, or [`Error::reason`].
    pub result: &'static str,
    /// The HTTP status of the answer, if one came.
    pub status: Option<u16>,
    /// From the first attempt to connect to the last byte that was read.
    pub elapsed: Duration,
}

/// Told of each call when it is over. A call that its caller drops is not told.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// A client for one endpoint of a farm. It holds no session and is cheap to clone.
///
/// # Guarantees
/// One call is at most one request on the wire. It is not repeated, not redirected and not proxied.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    base: Url,
    /// `Host` where it is not the URL's: with a `serverName` the server still sees the endpoint's host.
    host_header: Option<HeaderValue>,
    host: Arc<str>,
    hosts: HostPolicy,
    timeouts: Timeouts,
    api: ApiPaths,
    observer: Option<Observer>,
}

#[derive(Clone, Copy)]
struct Timeouts {
    ordinary: Duration,
    install: Duration,
}

impl Timeouts {
    fn of(self, call: &Call) -> Duration {
        if call.installs { self.install } else { self.ordinary }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.shared.base.as_str()).finish_non_exhaustive()
    }
}

/// Whether a success has a body worth reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    List,
    Object,
    Nothing,
}

impl Client {
    /// A client from its settings, over HTTPS. Nothing is sent.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let transport = https(&config)?;
        Self::build(config, transport, None)
    }

    /// As [`Self::new`], over the transport that `connector` makes; `observer` is told of every call.
    pub fn observed(
        config: ClientConfig,
        connector: &Connector,
        observer: Observer,
    ) -> Result<Self, ConfigError> {
        let transport = connector(&config)?;
        Self::build(config, transport, Some(observer))
    }

    fn build(
        config: ClientConfig,
        transport: Transport,
        observer: Option<Observer>,
    ) -> Result<Self, ConfigError> {
        let ClientConfig { endpoint, tls, request_timeout, install_timeout, hosts, api } = config;
        endpoint::check(&endpoint)?;
        let host = endpoint::host(&endpoint)?;
        let name = tls::server_name(&tls)?;
        let (base, host_header) = address(endpoint, name.as_ref())?;
        let timeouts = Timeouts { ordinary: request_timeout, install: install_timeout };
        let shared = Shared { transport, base, host_header, host, hosts, timeouts, api, observer };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a session.
    pub async fn logon(&self, credentials: &Credentials) -> Result<Answer<Session>, Error> {
        let call = request::logon(credentials);
        let scrubber = call.scrubber(&request::secrets_of(None, Some(credentials)));
        let received = self.send(&call, None, Expect::Object, &scrubber).await?;
        let Answer { value, date } = read(Route::Logon, received, answer::session)?;
        let session = Session { token: value.token.given_to(credentials), ..value };
        Ok(Answer { value: session, date })
    }

    /// Ends the session.
    pub async fn logoff(&self, token: &AuthToken) -> Result<Answer<()>, Error> {
        self.command(token, request::logoff()).await
    }

    /// All brokers of all sites: all rows, or an error.
    pub async fn list_brokers(&self, token: &AuthToken) -> Result<Answer<Vec<Broker>>, Error> {
        self.query(token, request::list_brokers(), answer::brokers).await
    }

    /// One broker; an answer about another id is an error.
    pub async fn get_broker(&self, token: &AuthToken, id: i64) -> Result<Answer<Broker>, Error> {
        self.query(token, request::get_broker(id), |body| answer::broker_with_id(body, id)).await
    }

    /// Creates a broker. Not idempotent: see [`Error::outcome`].
    pub async fn create_broker(
        &self,
        token: &AuthToken,
        broker: &NewBroker,
    ) -> Result<Answer<Broker>, Error> {
        self.query(token, request::create_broker(broker), answer::broker).await
    }

    /// Changes the fields that are set.
    pub async fn update_broker(
        &self,
        token: &AuthToken,
        id: i64,
        change: &BrokerChange,
    ) -> Result<Answer<()>, Error> {
        self.command(token, request::update_broker(id, change)).await
    }

    /// Removes a broker.
    pub async fn delete_broker(
        &self,
        token: &AuthToken,
        id: i64,
        removal: &Removal,
    ) -> Result<Answer<()>, Error> {
        self.command(token, request::delete_broker(id, removal)).await
    }

    /// All sites.
    pub async fn list_sites(&self, token: &AuthToken) -> Result<Answer<Vec<Site>>, Error> {
        self.query(token, request::list_sites(), answer::sites).await
    }

    /// What the farm says of its brokers, where it has such a call: their agents' states among it.
    pub async fn broker_status(&self, token: &AuthToken) -> Result<Answer<Vec<Agent>>, Error> {
        self.query(token, request::broker_status(&self.shared.api), answer::agents).await
    }

    /// The brokers' agents.
    pub async fn list_agents(&self, token: &AuthToken) -> Result<Answer<Vec<Agent>>, Error> {
        self.query(token, request::list_agents(), answer::agents).await
    }

    /// Commits pending settings of the whole farm.
    pub async fn apply(&self, token: &AuthToken) -> Result<Answer<()>, Error> {
        self.command(token, request::apply(&self.shared.api)).await
    }

    /// Moves a broker among the secondaries of its site. Not idempotent.
    pub async fn move_broker(&self, token: &AuthToken, id: i64, to: Move) -> Result<Answer<()>, Error> {
        self.command(token, request::move_broker(&self.shared.api, id, to)).await
    }

    /// How a site's brokers are promoted automatically; an answer about another site is an error.
    pub async fn get_promotion_settings(
        &self,
        token: &AuthToken,
        site: i64,
    ) -> Result<Answer<PromotionSettings>, Error> {
        let call = request::get_promotion_settings(&self.shared.api, site);
        self.query(token, call, |body| answer::promotion_settings(body, site)).await
    }

    /// Changes the settings that are set.
    pub async fn update_promotion_settings(
        &self,
        token: &AuthToken,
        site: i64,
        change: &PromotionSettings,
    ) -> Result<Answer<()>, Error> {
        self.command(token, request::update_promotion_settings(&self.shared.api, site, change)).await
    }

    /// Makes a broker the primary of its site. Not idempotent, and it may end the session.
    pub async fn promote_broker(
        &self,
        token: &AuthToken,
        id: i64,
        account: &MyAccount,
    ) -> Result<Answer<()>, Error> {
        let call = request::promote_broker(&self.shared.api, id, account);
        let [token_itself, farm_password] = token.secrets();
        let secrets = [token_itself, farm_password, &account.password];
        let Received { status: _, date, body: _ } =
            self.send(&call, Some(token), Expect::Nothing, &call.scrubber(&secrets)).await?;
        Ok(Answer { value: (), date })
    }

    async fn command(&self, token: &AuthToken, call: Call) -> Result<Answer<()>, Error> {
        let scrubber = call.scrubber(&request::secrets_of(Some(token), None));
        let Received { status: _, date, body: _ } =
            self.send(&call, Some(token), Expect::Nothing, &scrubber).await?;
        Ok(Answer { value: (), date })
    }

    async fn query<T>(
        &self,
        token: &AuthToken,
        call: Call,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Answer<T>, Error> {
        let scrubber = call.scrubber(&request::secrets_of(Some(token), None));
        let expect = if call.route.is_list() { Expect::List } else { Expect::Object };
        let received = self.send(&call, Some(token), expect, &scrubber).await?;
        read(call.route, received, parse)
    }

    /// The one place that sends.
    async fn send(
        &self,
        call: &Call,
        token: Option<&AuthToken>,
        expect: Expect,
        scrubber: &Scrubber,
    ) -> Result<Received, Error> {
        let started = Instant::now();
        let exchange = self.exchange(call, token, expect, scrubber);
        let result = match tokio::time::timeout(self.shared.timeouts.of(call), exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(call.route, ErrorKind::Timeout)),
        };
        self.observe(Observation {
            route: call.route,
            result: result.as_ref().map_or_else(Error::reason, |_| "ok"),
            status: result.as_ref().map_or_else(Error::status, |received| Some(received.status)),
            elapsed: started.elapsed(),
        });
        result
    }

    fn observe(&self, call: Observation) {
        let Observation { route, result, status, elapsed } = call;
        tracing::debug!(
            method = route.method_name(),
            endpoint = route.template(),
            result,
            status,
            ?elapsed,
            "called the farm"
        );
        if let Some(observer) = &self.shared.observer {
            observer(call);
        }
    }

    async fn exchange(
        &self,
        call: &Call,
        token: Option<&AuthToken>,
        expect: Expect,
        scrubber: &Scrubber,
    ) -> Result<Received, Error> {
        let fail = |error| {
            let (kind, cause) = classify(error, scrubber);
            Error::caused(call.route, kind, cause)
        };
        // A literal address never passes the resolver.
        let admitted = self.shared.hosts.check_host(&self.shared.host);
        admitted.map_err(|refusal| Error::new(call.route, ErrorKind::HostRefused(refusal)))?;
        let request = self.request(call, token).ok_or_else(|| Error::new(call.route, ErrorKind::Build))?;
        let response = (self.shared.transport)(request).await.map_err(fail)?;
        let words_time = MAX_ERROR_BODY_TIME.min(self.shared.timeouts.of(call) / 4);
        if !response.status().is_success() {
            let kind = receive::failure(response, scrubber, words_time).await;
            return Err(Error::new(call.route, kind));
        }
        let received = match expect {
            Expect::Nothing => receive::command(response, words_time).await,
            Expect::Object => receive::object(response).await,
            Expect::List => receive::list(response).await,
        };
        received.map_err(|error| match error {
            ReadError::TooLarge { limit } => Error::new(call.route, ErrorKind::TooLarge { limit }),
            ReadError::Page => {
                let page = Malformed::Shape { line: 1, column: 1 };
                Error::new(call.route, ErrorKind::Malformed(page))
            }
            ReadError::Transport(error) => fail(error),
        })
    }

    fn request(&self, call: &Call, token: Option<&AuthToken>) -> Option<reqwest::Request> {
        let Call { route: _, method, path, query, body, installs: _ } = call;
        let mut url = self.shared.base.clone();
        url.set_path(path);
        if !query.is_empty() {
            let pairs = query.iter().map(|(name, value)| (*name, value.expose()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        let mut request = reqwest::Request::new(method.clone(), url);
        request.headers_mut().insert(CONTENT_TYPE, JSON_V1);
        if let Some(host) = &self.shared.host_header {
            request.headers_mut().insert(HOST, host.clone());
        }
        if let Some(token) = token {
            request.headers_mut().insert(AUTH_TOKEN, token.header()?);
        }
        match body.text() {
            Some(text) => *request.body_mut() = Some(text.into()),
            // Some servers answer 411 where a method may have a body and no length is given; hyper gives none.
            None if matches!(*method, Method::POST | Method::PUT) => {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            None => {}
        }
        Some(request)
    }
}

/// The URL to call and the `Host` to send. A `serverName` that is a DNS name takes the place of the URL's host, which
/// is the only way to have it in SNI; the resolver still connects to the endpoint's host, and `Host` still names it.
/// One that is an address is only looked for in the certificate.
fn address(
    endpoint: Url,
    name: Option<&ServerName<'static>>,
) -> Result<(Url, Option<HeaderValue>), ConfigError> {
    let Some(ServerName::DnsName(name)) = name else {
        return Ok((endpoint, None));
    };
    let host = &endpoint[url::Position::BeforeHost..url::Position::AfterPort];
    let header =
        HeaderValue::from_str(host).map_err(|_| ConfigError::Endpoint("has a host that cannot be sent"))?;
    let mut base = endpoint.clone();
    base.set_host(Some(name.as_ref())).map_err(|_| ConfigError::ServerName(name.as_ref().to_owned()))?;
    Ok((base, Some(header)))
}

fn read<T>(
    route: Route,
    received: Received,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Answer<T>, Error> {
    let Received { status: _, date, body } = received;
    let value = parse(&body).map_err(|malformed| Error::new(route, ErrorKind::Malformed(malformed)))?;
    Ok(Answer { value, date })
}

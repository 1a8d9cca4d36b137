//! Every request as a value, built purely; [`super::client`] is the one place that sends it.
//!
//! Shapes: <https://docs.parallels.com/parallels-rest-api-20/api-reference/infrastructure/connection-brokers>.

use std::fmt;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::paths::{ApiCall, ApiPaths};
use super::promotion_settings::PromotionSettings;
use super::secret::{AuthToken, Credentials, MyAccount, Scrubber};

/// The kind of server whose agents are listed: `RASServerType` 7 is a Connection Broker.
pub(super) const BROKER_SERVER_TYPE: i64 = 7;

/// Every endpoint that is ever called: a closed set, fit for a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// Opens a session.
    Logon,
    /// Ends the session.
    Logoff,
    /// All brokers of all sites.
    ListBrokers,
    /// One broker by id.
    GetBroker,
    /// Adds a broker to a site.
    CreateBroker,
    /// Changes the given fields of a broker.
    UpdateBroker,
    /// Removes a broker.
    DeleteBroker,
    /// All sites.
    ListSites,
    /// The brokers' agents.
    ListAgents,
    /// The brokers' status; path and method may be set per farm.
    BrokerStatus,
    /// Commits pending settings; path and method may be set per farm.
    Apply,
    /// Moves a broker among the secondaries of its site; path, method and form may be set per farm.
    MoveBroker,
    /// How a site's brokers are promoted automatically; the path may be set per farm.
    GetPromotionSettings,
    /// Changes that; path and method may be set per farm.
    UpdatePromotionSettings,
    /// Makes a broker the primary of its site; path and method may be set per farm.
    PromoteBroker,
}

impl Route {
    /// All of them, in the order of their definition.
    pub const ALL: [Self; 15] = [
        Self::Logon,
        Self::Logoff,
        Self::ListBrokers,
        Self::GetBroker,
        Self::CreateBroker,
        Self::UpdateBroker,
        Self::DeleteBroker,
        Self::ListSites,
        Self::ListAgents,
        Self::BrokerStatus,
        Self::Apply,
        Self::MoveBroker,
        Self::GetPromotionSettings,
        Self::UpdatePromotionSettings,
        Self::PromoteBroker,
    ];

    /// Whether the answer is as long as the farm is large.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::ListBrokers | Self::ListSites | Self::ListAgents | Self::BrokerStatus)
    }

    /// The path without its values. For a call whose path is set per farm it is the default: a label must not
    /// grow with what users write.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Logon => "/api/Session/logon",
            Self::Logoff => "/api/Session/logoff",
            Self::ListBrokers | Self::CreateBroker => "/api/Broker",
            Self::GetBroker | Self::UpdateBroker | Self::DeleteBroker => "/api/Broker/{id}",
            Self::ListSites => "/api/Site",
            Self::ListAgents => "/api/Agent",
            Self::BrokerStatus => "/api/Broker/status",
            Self::Apply => "/api/Settings/apply",
            Self::MoveBroker => "/api/Broker/{id}/priority",
            Self::GetPromotionSettings | Self::UpdatePromotionSettings => "/api/BrokerPromotion/{id}",
            Self::PromoteBroker => "/api/Broker/{id}/promote",
        }
    }

    /// The method as a label.
    pub const fn method_name(self) -> &'static str {
        match self {
            Self::Logon | Self::Logoff | Self::CreateBroker | Self::Apply | Self::PromoteBroker => "POST",
            Self::ListBrokers
            | Self::GetBroker
            | Self::ListSites
            | Self::ListAgents
            | Self::BrokerStatus
            | Self::GetPromotionSettings => "GET",
            Self::UpdateBroker | Self::MoveBroker | Self::UpdatePromotionSettings => "PUT",
            Self::DeleteBroker => "DELETE",
        }
    }

    /// The method; the default one where it may be set per farm.
    pub const fn method(self) -> Method {
        match self {
            Self::Logon | Self::Logoff | Self::CreateBroker | Self::Apply | Self::PromoteBroker => {
                Method::POST
            }
            Self::ListBrokers
            | Self::GetBroker
            | Self::ListSites
            | Self::ListAgents
            | Self::BrokerStatus
            | Self::GetPromotionSettings => Method::GET,
            Self::UpdateBroker | Self::MoveBroker | Self::UpdatePromotionSettings => Method::PUT,
            Self::DeleteBroker => Method::DELETE,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.template())
    }
}

/// A broker to be created. The vendor's page contradicts itself on what an omitted switch means, so each
/// switch is always sent.
#[derive(Clone, Debug)]
pub struct NewBroker {
    /// FQDN, `NetBIOS` name or IP address.
    pub server: String,
    /// The site it joins.
    pub site_id: i64,
    /// Do not install the agent.
    pub no_install: bool,
    /// Do not restart the server.
    pub no_restart: bool,
    /// Do not add firewall rules.
    pub no_firewall_rules: bool,
    /// Who installs; the session's own account where absent.
    pub credentials: Option<Credentials>,
}

/// The fields to change; what is `None` is not sent and stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerChange {
    /// Whether the broker takes part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address that brokers use among themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// One string, joined by the farm's separator.
    #[serde(rename = "alternativeIPs", skip_serializing_if = "Option::is_none")]
    pub alternative_ips: Option<String>,
    /// Whether a secondary waits until another one fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,
}

/// How a broker is removed.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Leave the agent on the server.
    pub no_uninstall: bool,
    /// Who uninstalls; the session's own account where absent.
    pub credentials: Option<Credentials>,
}

/// A move among the secondaries of a site, in one of the two forms that the vendor's unpublished page may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// One place towards the primary: `MoveDirection` 0 of the order of logon hours. Down, 1, is never needed.
    Up,
    /// To this place, counted from 1; those after it close up.
    To(i64),
}

/// The value of one query parameter.
#[derive(Clone, Debug)]
pub enum Param {
    /// May be printed.
    Open(String),
    /// A password: `Debug` hides it.
    Secret(SecretString),
}

impl Param {
    pub(super) fn expose(&self) -> &str {
        match self {
            Self::Open(value) => value,
            Self::Secret(value) => value.expose_secret(),
        }
    }
}

/// The body as JSON text.
#[derive(Clone, Debug)]
pub enum Body {
    /// None.
    Empty,
    /// May be printed.
    Open(String),
    /// Holds a password: `Debug` hides it.
    Secret(SecretString),
}

impl Body {
    fn json(value: &impl Serialize) -> Self {
        // Our own plain structs always serialise; were one not to, the farm would refuse the empty body.
        serde_json::to_string(value).map_or(Self::Empty, Self::Open)
    }

    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Empty => None,
            Self::Open(text) => Some(text.clone()),
            Self::Secret(text) => Some(text.expose_secret().to_owned()),
        }
    }
}

/// One request, complete but for the session's token. Its query is in the order of the vendor's page.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which endpoint.
    pub route: Route,
    /// The HTTP method.
    pub method: Method,
    /// The path with its values.
    pub path: String,
    /// Parameters in the order in which they are sent.
    pub query: Vec<(&'static str, Param)>,
    /// The body.
    pub body: Body,
    /// Whether the farm installs or removes an agent before it answers, which takes minutes.
    pub installs: bool,
}

impl Call {
    fn new(route: Route) -> Self {
        let path = route.template().to_owned();
        Self { route, method: route.method(), path, query: Vec::new(), body: Body::Empty, installs: false }
    }

    fn for_id(route: Route, id: i64) -> Self {
        Self { path: with_id(route.template(), id), ..Self::new(route) }
    }

    fn configured(route: Route, call: &ApiCall) -> Self {
        Self { method: call.method.method(), path: call.path.clone(), ..Self::new(route) }
    }

    fn switch(mut self, name: &'static str, on: bool) -> Self {
        self.query.push((name, Param::Open(on.to_string())));
        self
    }

    fn account(mut self, credentials: Option<&Credentials>) -> Self {
        if let Some(Credentials { username, password }) = credentials {
            self.query.push(("username", Param::Open(username.clone())));
            self.query.push(("password", Param::Secret(password.clone())));
        }
        self
    }

    fn installing(self, installs: bool) -> Self {
        Self { installs, ..self }
    }

    fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// Knows every secret that goes out with this call.
    pub(super) fn scrubber(&self, secrets: &[&SecretString]) -> Scrubber {
        let mut scrubber = Scrubber::default();
        for (_, param) in &self.query {
            if let Param::Secret(value) = param {
                scrubber.add(value);
            }
        }
        for secret in secrets {
            scrubber.add(secret);
        }
        scrubber
    }
}

fn with_id(template: &str, id: i64) -> String {
    template.replace("{id}", &id.to_string())
}

/// Opens a session.
pub fn logon(credentials: &Credentials) -> Call {
    #[derive(Serialize)]
    struct NewSession<'a> {
        username: &'a str,
        password: &'a str,
    }
    let Credentials { username, password } = credentials;
    let session = NewSession { username, password: password.expose_secret() };
    let body = serde_json::to_string(&session).map_or(Body::Empty, |text| Body::Secret(text.into()));
    Call::new(Route::Logon).body(body)
}

/// Ends the session.
pub fn logoff() -> Call {
    Call::new(Route::Logoff)
}

/// All brokers. No filter is used: a list must show every row that might be ours.
pub fn list_brokers() -> Call {
    Call::new(Route::ListBrokers)
}

/// One broker by id.
pub fn get_broker(id: i64) -> Call {
    Call::for_id(Route::GetBroker, id)
}

/// Adds a broker. Other fields than server and site cannot be given on creation.
pub fn create_broker(broker: &NewBroker) -> Call {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct NewRow<'a> {
        server: &'a str,
        site_id: i64,
    }
    let NewBroker { server, site_id, no_install, no_restart, no_firewall_rules, credentials } = broker;
    Call::new(Route::CreateBroker)
        .switch("noInstall", *no_install)
        .account(credentials.as_ref())
        .switch("noRestart", *no_restart)
        .switch("noFireWallRules", *no_firewall_rules)
        .body(Body::json(&NewRow { server, site_id: *site_id }))
        .installing(!no_install)
}

/// Changes the fields that are set.
pub fn update_broker(id: i64, change: &BrokerChange) -> Call {
    Call::for_id(Route::UpdateBroker, id).body(Body::json(change))
}

/// Removes a broker.
pub fn delete_broker(id: i64, removal: &Removal) -> Call {
    let Removal { no_uninstall, credentials } = removal;
    Call::for_id(Route::DeleteBroker, id)
        .switch("noUninstall", *no_uninstall)
        .account(credentials.as_ref())
        .installing(!no_uninstall)
}

/// All sites.
pub fn list_sites() -> Call {
    Call::new(Route::ListSites)
}

/// The agents of all brokers.
pub fn list_agents() -> Call {
    let mut call = Call::new(Route::ListAgents);
    call.query.push(("serverType", Param::Open(BROKER_SERVER_TYPE.to_string())));
    call
}

/// The status of all brokers.
pub fn broker_status(paths: &ApiPaths) -> Call {
    Call::configured(Route::BrokerStatus, &paths.status)
}

/// Commits pending settings.
pub fn apply(paths: &ApiPaths) -> Call {
    Call::configured(Route::Apply, &paths.apply)
}

/// Moves a broker among the secondaries of its site.
pub fn move_broker(paths: &ApiPaths, id: i64, to: Move) -> Call {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Wanted {
        Direction(i64),
        Priority(i64),
    }
    let wanted = match to {
        Move::Up => Wanted::Direction(0),
        Move::To(place) => Wanted::Priority(place),
    };
    let call = Call::configured(Route::MoveBroker, &paths.priority);
    let path = with_id(&call.path, id);
    Call { path, ..call }.body(Body::json(&wanted))
}

/// How a site's brokers are promoted automatically.
pub fn get_promotion_settings(paths: &ApiPaths, site: i64) -> Call {
    let call = Call::configured(Route::GetPromotionSettings, &paths.promotion_settings);
    Call { path: with_id(&call.path, site), method: Method::GET, ..call }
}

/// Changes the settings that are set.
pub fn update_promotion_settings(paths: &ApiPaths, site: i64, change: &PromotionSettings) -> Call {
    let call = Call::configured(Route::UpdatePromotionSettings, &paths.promotion_settings);
    Call { path: with_id(&call.path, site), ..call }.body(Body::json(change))
}

/// Makes a broker the primary of its site. RAS asks for the account under which its licence is registered.
pub fn promote_broker(paths: &ApiPaths, id: i64, account: &MyAccount) -> Call {
    #[derive(Serialize)]
    struct Promotion<'a> {
        email: &'a str,
        password: &'a str,
    }
    let MyAccount { email, password } = account;
    let promotion = Promotion { email, password: password.expose_secret() };
    let body = serde_json::to_string(&promotion).map_or(Body::Empty, |text| Body::Secret(text.into()));
    let call = Call::configured(Route::PromoteBroker, &paths.promote);
    let path = with_id(&call.path, id);
    Call { path, ..call }.body(body)
}

/// The secrets that go out with a call, besides those in its query.
pub(super) fn secrets_of<'a>(
    token: Option<&'a AuthToken>,
    credentials: Option<&'a Credentials>,
) -> Vec<&'a SecretString> {
    token.map(AuthToken::secrets).into_iter().flatten().chain(credentials.map(|c| &c.password)).collect()
}

#[cfg(test)]
mod tests;

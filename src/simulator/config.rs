//! What a simulator is started with: the seed file's content, and the arguments of an embedding test.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::switches::Switches;

/// One process: its farms, and where the control interface listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SimulatorConfig {
    /// The farms, each with a listener of its own.
    pub farms: Vec<FarmConfig>,
    /// Port of the control interface on 127.0.0.1; 0 takes a free one.
    pub control_port: u16,
    /// Further DNS names for the certificate, beside `localhost`, `127.0.0.1` and `::1`.
    pub certificate_names: Vec<String>,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self { farms: vec![FarmConfig::default()], control_port: 0, certificate_names: Vec::new() }
    }
}

impl SimulatorConfig {
    /// A simulator of one farm.
    pub fn one(farm: FarmConfig) -> Self {
        Self { farms: vec![farm], ..Self::default() }
    }
}

/// One farm as it is before the first request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FarmConfig {
    /// `farmName` at logon, and the name the control interface knows the farm by.
    pub name: String,
    /// `farmGUID` at logon; empty: one that is fixed by the farm's place in the list.
    pub guid: String,
    /// `domain` at logon, and the domain of accounts.
    pub domain: String,
    /// Port of the REST API on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Who may log on.
    pub accounts: Vec<Account>,
    /// The account that a promotion must come with; `null` for any.
    pub my_account: Option<MyAccount>,
    /// The sites; the first is the licensing site.
    pub sites: Vec<SiteConfig>,
    /// Servers of secondary brokers that have an API endpoint of their own.
    pub secondary_endpoints: Vec<SecondaryEndpoint>,
    /// `null` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Minutes without a request after which a session ends.
    pub session_idle_minutes: u32,
    /// More logons than this are refused; `null` for no limit.
    pub max_sessions: Option<u32>,
    /// Host names that the API answers to; empty for all.
    pub allowed_hosts: Vec<String>,
    /// Where the farm's clock starts, and whether it stands.
    pub clock: ClockConfig,
    /// Minutes east of UTC of the farm's local time.
    pub local_offset_minutes: i32,
    /// What agents and `WebService/version` report.
    pub version: String,
    /// Servers on which no agent is installed: `NotVerified` after Apply, unless the POST installs one.
    pub servers_without_agent: Vec<String>,
    /// Seconds that a POST takes which installs an agent, and a DELETE that removes one.
    pub install_seconds: u32,
    /// How the farm reads what the reference leaves open.
    pub switches: Switches,
}

impl Default for FarmConfig {
    fn default() -> Self {
        Self {
            name: "Farm".to_owned(),
            guid: String::new(),
            domain: "example.test".to_owned(),
            port: 0,
            accounts: vec![Account::default()],
            my_account: None,
            sites: vec![SiteConfig::default()],
            secondary_endpoints: Vec::new(),
            rate_limit: Some(RateLimit::default()),
            session_idle_minutes: 30,
            max_sessions: None,
            allowed_hosts: Vec::new(),
            clock: ClockConfig::default(),
            local_offset_minutes: 120,
            version: "20.0.0.25000".to_owned(),
            servers_without_agent: Vec::new(),
            install_seconds: 0,
            switches: Switches::default(),
        }
    }
}

/// An administrator.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// The bare user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// What the account may do.
    #[serde(default)]
    pub rights: Rights,
}

/// The account under which the farm's licence is registered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MyAccount {
    /// The e-mail address.
    pub email: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for MyAccount {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MyAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

impl fmt::Debug for Account {
    /// Without the password: a test's failure message may end in a public log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Account");
        debug.field("username", &self.username).field("rights", &self.rights);
        debug.finish_non_exhaustive()
    }
}

impl Default for Account {
    fn default() -> Self {
        Self { username: "administrator".to_owned(), password: "simulator".to_owned(), rights: Rights::Root }
    }
}

/// What an account may do; anything else gives 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rights {
    /// Everything.
    #[default]
    Root,
    /// Brokers and sites, but not Apply.
    WithoutApply,
    /// Reading.
    View,
}

/// A site with its brokers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteConfig {
    /// The id; 0 counts up from 1.
    #[serde(default)]
    pub id: i64,
    /// The name.
    pub name: String,
    /// The first is the primary; none gives one named after the site.
    #[serde(default)]
    pub brokers: Vec<BrokerConfig>,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self { id: 1, name: "Site".to_owned(), brokers: vec![BrokerConfig::new("cb-primary.example.test")] }
    }
}

/// A broker that is there, and applied, from the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BrokerConfig {
    /// FQDN, name or address.
    pub server: String,
    /// Out of use; the primary can only be so from the start, as no request does it.
    pub disabled: bool,
    /// Whether it stands by.
    pub standby: bool,
    /// Free text.
    pub description: String,
    /// Empty: filled in.
    pub ip: String,
    /// Further addresses, as they are stored.
    #[serde(rename = "alternativeIPs")]
    pub alternative_ips: String,
    /// `adminCreate`; empty: the first account.
    pub admin: String,
}

impl BrokerConfig {
    /// An enabled broker with nothing else set.
    pub fn new(server: &str) -> Self {
        Self { server: server.to_owned(), ..Self::default() }
    }
}

/// A further listener of the farm, connected to another broker than the primary.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecondaryEndpoint {
    /// The server of the broker it is connected to.
    pub server: String,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[serde(default)]
    pub port: u16,
}

/// So many requests in a fixed window of the farm's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per window.
    pub requests: u32,
    /// Seconds.
    pub window: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        // What RAS 21 documents.
        Self { requests: 50, window: 10 }
    }
}

/// The farm's clock at the start.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClockConfig {
    /// `null`: the machine's time.
    pub start: Option<Timestamp>,
    /// Whether it stands until it is advanced.
    pub frozen: bool,
}

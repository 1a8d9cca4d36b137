//! The command line: what a person or a manifest asks for, as plain validated data.
//!
//! Everything is checked here, once: whoever takes [`RunArgs`] needs no further parsing, and a
//! wrong value ends the process with exit code 2 and the flag's name before anything is started.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::crd::Duration;

/// The commit this binary was built from, `unknown` where the build could not tell.
pub const COMMIT: &str = env!("RAS_OPERATOR_COMMIT");
/// The package's version without the commit.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("RAS_OPERATOR_COMMIT"), ")");

const EXAMPLES: &str = "\
Examples:
  ras-operator crds | kubectl apply --server-side -f -
  ras-operator run
  ras-operator run --help";

const RUN_EXAMPLES: &str = "\
Examples:
  # against the cluster of the current kubeconfig, readable logs
  ras-operator run

  # in a cluster, two replicas, two namespaces, only these farms
  ras-operator run --leader-elect --log-format json --watch-namespaces ras-emea,ras-apac \\
    --allowed-farm-hosts 'farm.example.com,*.ras.example.com'

  # a farm simulator on this machine: loopback must be allowed by name
  ras-operator run --allowed-farm-hosts 127.0.0.1

A flag may also be given as an environment variable (shown beside it); the flag wins.
The cluster is the one of KUBECONFIG, else ~/.kube/config, else the pod's ServiceAccount.
RUST_LOG sets the log level (default: info).";

const CRDS_EXAMPLES: &str = "\
Examples:
  ras-operator crds | kubectl apply --server-side -f -
  ras-operator crds --output crds";

/// Keeps the Connection Brokers of Parallels RAS farms equal to Kubernetes objects.
#[derive(Debug, Clone, Parser)]
#[command(name = "ras-operator", version = LONG_VERSION, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `ras-operator`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM or SIGINT; a second signal aborts
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Print the custom resource definitions as YAML, or write them to files
    #[command(after_help = CRDS_EXAMPLES)]
    Crds(CrdsArgs),
}

/// What `ras-operator run` is told.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RunArgs {
    /// Namespaces to watch, separated by commas; all of them when empty
    #[arg(long, env = "RAS_OPERATOR_WATCH_NAMESPACES", default_value = "")]
    #[arg(hide_default_value = true, value_name = "NAMESPACES")]
    pub watch_namespaces: Namespaces,

    /// Work only while holding the Lease, so that several replicas may run
    #[arg(long, env = "RAS_OPERATOR_LEADER_ELECT", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub leader_elect: bool,

    /// How many brokers are reconciled at the same time
    #[arg(long, env = "RAS_OPERATOR_MAX_CONCURRENT_RECONCILES", value_name = "NUMBER")]
    #[arg(default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_concurrent_reconciles: u16,

    /// Where to serve /metrics: ":PORT" or "HOST:PORT"; "0" serves none
    #[arg(long, env = "RAS_OPERATOR_METRICS_BIND_ADDRESS", value_name = "ADDRESS")]
    #[arg(default_value = ":8080")]
    pub metrics_bind_address: BindAddress,

    /// Where to serve /healthz and /readyz: ":PORT" or "HOST:PORT"; "0" serves none
    #[arg(long, env = "RAS_OPERATOR_HEALTH_PROBE_BIND_ADDRESS", value_name = "ADDRESS")]
    #[arg(default_value = ":8081")]
    pub health_probe_bind_address: BindAddress,

    /// How log lines are written to standard error
    #[arg(long, env = "RAS_OPERATOR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// The only hosts that a farm may have, exact or *.suffix, separated by commas; any but
    /// loopback when absent
    #[arg(long, env = "RAS_OPERATOR_ALLOWED_FARM_HOSTS", value_name = "HOSTS")]
    pub allowed_farm_hosts: Option<FarmHosts>,

    /// Permit farms to set tls.insecureSkipVerify, which exposes their credentials
    #[arg(long, env = "RAS_OPERATOR_ALLOW_INSECURE_TLS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub allow_insecure_tls: bool,

    /// How long a farm may be unreachable before its brokers become Ready=Unknown
    #[arg(long, env = "RAS_OPERATOR_FARM_UNAVAILABLE_AFTER", value_name = "DURATION")]
    #[arg(default_value = "5m")]
    pub farm_unavailable_after: Duration,
}

/// What `ras-operator crds` is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CrdsArgs {
    /// Write one file per kind, and a kustomization, into this directory instead of printing
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// The namespaces to watch; empty stands for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<String>);

/// The hosts that a farm may have: never empty, lower case, each exact or `*.suffix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarmHosts(Vec<String>);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// Nowhere: the server is switched off.
    Disabled,
    /// On every address of the machine.
    Any {
        /// The TCP port; 0 lets the system choose one.
        port: u16,
    },
    /// On one address.
    Host {
        /// A host name or an IP address, without brackets.
        host: String,
        /// The TCP port; 0 lets the system choose one.
        port: u16,
    },
}

/// Why a flag's value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not the name of a namespace.
    #[error("{0:?} is not the name of a namespace")]
    Namespace(String),
    /// Not a host, or one with a scheme, port or misplaced wildcard.
    #[error("{0:?} is neither a host nor *.suffix; give it without scheme and port")]
    FarmHost(String),
    /// An empty list would read as "no restriction" to one person and "no farm" to another.
    #[error("the list names no host; leave the flag out to allow every host")]
    NoFarmHost,
    /// Not an address to listen on.
    #[error("{0:?} is none of \":PORT\", \"HOST:PORT\" and \"0\"")]
    BindAddress(String),
}

impl Namespaces {
    /// The names, in the order given; empty stands for all namespaces.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl FarmHosts {
    /// The patterns, in the order given: exact hosts and `*.suffix`.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for Namespaces {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        entries(text).map(namespace).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for FarmHosts {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hosts = entries(text).map(farm_host).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() { Err(ValueError::NoFarmHost) } else { Ok(Self(hosts)) }
    }
}

impl FromStr for BindAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::BindAddress(text.to_owned());
        if text == "0" {
            return Ok(Self::Disabled);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        if host.is_empty() {
            return Ok(Self::Any { port });
        }
        let host = bare_host(host).ok_or_else(refused)?;
        Ok(Self::Host { host, port })
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => formatter.write_str("0"),
            Self::Any { port } => write!(formatter, ":{port}"),
            Self::Host { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Host { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn namespace(name: &str) -> Result<String, ValueError> {
    if is_dns_label(name) { Ok(name.to_owned()) } else { Err(ValueError::Namespace(name.to_owned())) }
}

fn is_dns_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// One entry in the spelling of `url::Url::host_str`, which it will be compared with.
fn farm_host(entry: &str) -> Result<String, ValueError> {
    let refused = || ValueError::FarmHost(entry.to_owned());
    if let Ok(address) = entry.parse() {
        return Ok(url::Host::<String>::Ipv6(address).to_string());
    }
    let (wildcard, name) = match entry.strip_prefix("*.") {
        Some(suffix) => ("*.", suffix),
        None => ("", entry),
    };
    match url::Host::parse(name).map_err(|_| refused())? {
        url::Host::Domain(domain) if is_domain(&domain) => Ok(format!("{wildcard}{domain}")),
        url::Host::Ipv4(address) if wildcard.is_empty() => Ok(address.to_string()),
        url::Host::Ipv6(address) if wildcard.is_empty() => Ok(url::Host::<String>::Ipv6(address).to_string()),
        url::Host::Domain(_) | url::Host::Ipv4(_) | url::Host::Ipv6(_) => Err(refused()),
    }
}

/// What `url` accepts as a domain is wider than what resolves: `*` and empty labels pass there.
fn is_domain(domain: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    domain.split('.').all(is_label)
}

/// The host without the brackets that an IPv6 address needs beside a port.
fn bare_host(host: &str) -> Option<String> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let address: std::net::Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(address.to_string())
        }
        None => (!host.contains(':')).then(|| host.to_owned()),
    }
}

#[cfg(test)]
mod tests;

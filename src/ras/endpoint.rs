//! A farm's endpoint, from text to a checked URL.

use std::sync::Arc;

use url::Url;

/// The port of the RAS web administration service where the endpoint names none.
const DEFAULT_PORT: u16 = 20443;

/// Why a client cannot be made from its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The endpoint cannot be used.
    #[error("the endpoint {0}")]
    Endpoint(&'static str),
    /// The CA bundle cannot be used.
    #[error("the CA bundle {0}")]
    CaBundle(&'static str),
    /// The server name cannot be in a certificate.
    #[error("the server name {0:?} is neither a DNS name nor an IP address")]
    ServerName(String),
    /// A pin is no SHA-256.
    #[error("the pin {0:?} is not a SHA-256 in hex")]
    Pin(String),
    /// The machine has no certificate authorities of its own.
    #[error("no system certificate authorities were found; set a CA bundle or a pin")]
    NoSystemRoots,
    /// The TLS or HTTP library refused its settings.
    #[error("the HTTP client cannot be set up")]
    Setup,
}

/// Reads an endpoint; the port is 20443 where none is written. A written `:443` stays 443, which cannot be told
/// from the parsed URL alone.
pub fn parse_endpoint(text: &str) -> Result<Url, ConfigError> {
    if text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
    {
        return Err(ConfigError::Endpoint("holds a character that no URL has"));
    }
    let mut url = Url::parse(text).map_err(|_| ConfigError::Endpoint("is not a URL"))?;
    check(&url)?;
    if !names_port(text) {
        url.set_port(Some(DEFAULT_PORT))
            .map_err(|()| ConfigError::Endpoint("cannot have a port"))?;
    }
    Ok(url)
}

/// What every endpoint must be: https, a host, and nothing else.
pub(super) fn check(url: &Url) -> Result<(), ConfigError> {
    let wrong = match url {
        _ if url.scheme() != "https" => "is not https",
        _ if url.host().is_none() => "has no host",
        _ if !url.username().is_empty() || url.password().is_some() => {
            "holds credentials, which belong in the Secret"
        }
        _ if !matches!(url.path(), "" | "/") => "has a path",
        _ if url.query().is_some() || url.fragment().is_some() => "has a query or a fragment",
        _ => return Ok(()),
    };
    Err(ConfigError::Endpoint(wrong))
}

/// The host to connect to; an IPv6 address without its brackets, which no resolver understands.
pub(super) fn host(url: &Url) -> Result<Arc<str>, ConfigError> {
    let host = url.host_str().ok_or(ConfigError::Endpoint("has no host"))?;
    Ok(host.trim_start_matches('[').trim_end_matches(']').into())
}

/// Whether the text of an https URL without credentials names a port.
fn names_port(text: &str) -> bool {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let after_host = authority.rsplit(']').next().unwrap_or_default();
    after_host
        .split_once(':')
        .is_some_and(|(_, port)| !port.is_empty())
}

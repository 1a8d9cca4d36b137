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
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(ConfigError::Endpoint("holds a character that no URL has"));
    }
    let mut url = Url::parse(text).map_err(|_| ConfigError::Endpoint("is not a URL"))?;
    check(&url)?;
    if !names_port(text) {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| ConfigError::Endpoint("cannot have a port"))?;
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
    after_host.split_once(':').is_some_and(|(_, port)| !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> Option<u16> {
        parse_endpoint(text).unwrap().port_or_known_default()
    }

    #[test]
    fn the_port_is_20443_unless_one_is_written() {
        assert_eq!(port("https://ras.example.com"), Some(20443));
        assert_eq!(port("https://ras.example.com/"), Some(20443));
        assert_eq!(port("https://[fd12::1]"), Some(20443));
        assert_eq!(port("https://ras.example.com:"), Some(20443));
        assert_eq!(port("https://ras.example.com:443"), Some(443));
        assert_eq!(port("https://[fd12::1]:443/"), Some(443));
        assert_eq!(port("https://10.0.0.5:8443"), Some(8443));
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let wrong = [
            "",
            "ras.example.com",
            "http://ras.example.com",
            "https://",
            "https://u@h",
            "https://u:p@h",
            "https://h/api",
            "https://h?x=1",
            "https://h#x",
            "https://h h",
            "https://h\\x",
            "https://h:99999",
            " https://h",
            "ftp://h",
        ];
        for text in wrong {
            assert!(parse_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_does_not_quote_the_endpoint() {
        let error = parse_endpoint("https://user:canary@host").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn an_ipv6_host_has_no_brackets() {
        assert_eq!(&*host(&parse_endpoint("https://[fd12::1]").unwrap()).unwrap(), "fd12::1");
    }
}

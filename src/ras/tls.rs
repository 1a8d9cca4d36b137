//! From a farm's TLS settings to the TLS library's configuration.

use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::endpoint::ConfigError;
use super::verifier::{FarmVerifier, Pin};

/// How a farm's server is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM; takes the place of the system's authorities.
    pub ca_pem: Option<String>,
    /// The name in the certificate (and in SNI) where it is not the endpoint's host.
    pub server_name: Option<String>,
    /// Hex SHA-256 of the leaf certificate or of its public key. Without a CA a pin replaces the checks of chain
    /// and name; with one both must hold.
    pub pinned_sha256: Vec<String>,
    /// No check of chain and name. Pins still hold.
    pub insecure_skip_verify: bool,
}

/// The name to look for in the certificate where it is not the endpoint's host.
pub(super) fn server_name(config: &TlsConfig) -> Result<Option<ServerName<'static>>, ConfigError> {
    config.server_name.as_deref().map(parse_name).transpose()
}

/// The TLS library's configuration of these settings.
pub(super) fn client_config(config: &TlsConfig) -> Result<ClientConfig, ConfigError> {
    let TlsConfig { ca_pem, server_name: _, pinned_sha256, insecure_skip_verify } = config;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pins = pinned_sha256.iter().map(|pin| parse_pin(pin)).collect::<Result<Vec<_>, _>>()?;
    let chain = match ca_pem {
        _ if *insecure_skip_verify => None,
        Some(pem) => Some(chain_verifier(bundle_roots(pem)?, &provider)?),
        None if !pins.is_empty() => None,
        None => Some(system_verifier(&provider)?),
    };
    let name = server_name(config)?;
    // SNI carries DNS names only; for an address the endpoint's host must not stand in.
    let enable_sni = !matches!(name, Some(ServerName::IpAddress(_)));
    let verifier = FarmVerifier { chain, name, pins, provider: Arc::clone(&provider) };
    // The provider is given, never taken from a process default: whether one is set is not ours to know.
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConfigError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A resumed session skips the verifier, and its cache would cost memory per farm for one call in a while.
    config.resumption = Resumption::disabled();
    config.enable_sni = enable_sni;
    Ok(config)
}

fn chain_verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ConfigError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| ConfigError::Setup)
}

/// The machine's authorities, read once: a copy for each of a thousand farms would be the process's largest part.
/// A change of the machine's store takes effect with the next start.
fn system_verifier(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, ConfigError> {
    static SYSTEM: OnceLock<Result<Arc<WebPkiServerVerifier>, ConfigError>> = OnceLock::new();
    SYSTEM
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() { Err(ConfigError::NoSystemRoots) } else { chain_verifier(roots, provider) }
        })
        .clone()
}

/// Every certificate of the bundle, or an error: a bundle that is half understood would fail in a way nobody
/// could explain.
fn bundle_roots(pem: &str) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| ConfigError::CaBundle("is not PEM"))?;
        roots
            .add(certificate)
            .map_err(|_| ConfigError::CaBundle("holds a certificate that cannot be read"))?;
    }
    if roots.is_empty() {
        return Err(ConfigError::CaBundle("holds no certificate"));
    }
    Ok(roots)
}

fn parse_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::ServerName(name.to_owned()))
}

/// Hex, with or without the colons of `openssl x509 -fingerprint`.
fn parse_pin(text: &str) -> Result<Pin, ConfigError> {
    let invalid = || ConfigError::Pin(text.to_owned());
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    let mut pin = Pin::default();
    for (byte, pair) in pin.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(config: &TlsConfig) -> Result<(), ConfigError> {
        client_config(config).map(|_| ())
    }

    fn pinned(pin: &str) -> TlsConfig {
        TlsConfig { pinned_sha256: vec![pin.to_owned()], ..TlsConfig::default() }
    }

    #[test]
    fn pins_are_read_in_both_usual_spellings() {
        let plain = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        assert_eq!(parse_pin(&plain), Ok([0xab; 32]));
        assert_eq!(parse_pin(&colons), Ok([0xab; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &"é".repeat(32)] {
            assert!(trust(&pinned(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(trust(&pinned(&plain)), Ok(()));
    }

    #[test]
    fn a_bundle_that_is_not_wholly_understood_is_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "no pem", broken, "-----BEGIN CERTIFICATE-----\nAAAA"] {
            let config = TlsConfig { ca_pem: Some(pem.to_owned()), ..TlsConfig::default() };
            assert!(matches!(trust(&config), Err(ConfigError::CaBundle(_))), "{pem}");
        }
    }

    #[test]
    fn a_server_name_must_be_one() {
        let config =
            |name: &str| TlsConfig { server_name: Some(name.to_owned()), ..pinned(&"ab".repeat(32)) };
        assert_eq!(trust(&config("ras.example.com")), Ok(()));
        assert_eq!(trust(&config("10.0.0.5")), Ok(()));
        assert!(matches!(trust(&config("not a name")), Err(ConfigError::ServerName(_))));
    }
}

//! Decides whether a server's certificate holds: by its chain and name, by a pin, or by both.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

/// A SHA-256 of a leaf certificate or of its public key.
pub(super) type Pin = [u8; 32];

/// The checks of one farm.
#[derive(Debug)]
pub(super) struct FarmVerifier {
    /// Chain and name; `None` where a pin, or nothing, stands in for them.
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    /// The name to look for in the certificate, where it is not the URL's host.
    pub(super) name: Option<ServerName<'static>>,
    /// Any of them must match; empty for no pinning.
    pub(super) pins: Vec<Pin>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// A certificate that does not hold, with the fingerprint that a person can compare at the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct CertificateRefused {
    pub(super) leaf_sha256: String,
    pub(super) problem: String,
}

impl ServerCertVerifier for FarmVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            let name = self.name.as_ref().unwrap_or(asked);
            chain
                .verify_server_cert(leaf, intermediates, name, ocsp, now)
                .map_err(|error| refused(leaf, error.to_string()))?;
        }
        if self.pins.is_empty() || self.pins.iter().any(|pin| is_pinned(leaf, pin)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(refused(leaf, "it matches none of the pins".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
            .map_err(|error| refused(leaf, error.to_string()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
            .map_err(|error| refused(leaf, error.to_string()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Carries the fingerprint through the TLS library's own error type, to be found again at the other end.
fn refused(leaf: &CertificateDer<'_>, problem: String) -> rustls::Error {
    let refused = CertificateRefused { leaf_sha256: hex(sha256(leaf)), problem };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

fn is_pinned(leaf: &CertificateDer<'_>, pin: &Pin) -> bool {
    sha256(leaf) == *pin || public_key_sha256(leaf).is_some_and(|key| key == *pin)
}

/// Over the whole `SubjectPublicKeyInfo`, as HPKP and `openssl x509 -pubkey` have it.
fn public_key_sha256(leaf: &CertificateDer<'_>) -> Option<Pin> {
    let certificate = webpki::EndEntityCert::try_from(leaf).ok()?;
    Some(sha256(&certificate.subject_public_key_info()))
}

fn sha256(bytes: &[u8]) -> Pin {
    let mut hash = Pin::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn hex(bytes: Pin) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

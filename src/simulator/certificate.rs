//! The simulator's own certificate authority, made anew at each start, and the leaf that all farms serve.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::sha256::sha256_hex;
use super::start::StartError;

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The authority's certificate, and what the listeners need.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) leaf_sha256: String,
    pub(super) leaf_key_sha256: String,
    pub(super) server: Arc<ServerConfig>,
}

impl Certificates {
    pub(super) fn new(further_names: &[String]) -> Result<Self, StartError> {
        let ca_key = KeyPair::generate()?;
        let ca_parameters = authority();
        let ca = ca_parameters.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca_parameters, ca_key);
        let names = NAMES.iter().map(ToString::to_string);
        let names: Vec<String> = names.chain(further_names.iter().cloned()).collect();
        let leaf_key = KeyPair::generate()?;
        let leaf = leaf(names)?.signed_by(&leaf_key, &issuer)?;
        Ok(Self {
            ca_pem: ca.pem(),
            leaf_sha256: sha256_hex(leaf.der()),
            leaf_key_sha256: sha256_hex(&leaf_key.subject_public_key_info()),
            server: server_config(leaf.der().clone(), leaf_key.serialize_der())?,
        })
    }
}

fn authority() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "ras-simulator CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn leaf(names: Vec<String>) -> Result<CertificateParams, StartError> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, "ras-simulator");
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

fn server_config(leaf: CertificateDer<'static>, key: Vec<u8>) -> Result<Arc<ServerConfig>, StartError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)?;
    Ok(Arc::new(config))
}

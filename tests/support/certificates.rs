//! The keys and certificates of one control plane, made anew at each start.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::failure::{Result, While as _};

/// Paths of the PEM files.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: Pair,
    /// A client of the group `system:masters`.
    pub(crate) admin: Pair,
    pub(crate) service_account_key: PathBuf,
    pub(crate) service_account_public_key: PathBuf,
}

/// A certificate and its private key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).or_failed_to("create the folder of the certificates")?;
        let (authority, issuer) = authority(folder)?;
        let accounts = KeyPair::generate().or_failed_to("make the key of the service accounts")?;
        Ok(Self {
            authority,
            server: issue(folder, "server", &issuer, &server()?)?,
            admin: issue(folder, "admin", &issuer, &admin()?)?,
            service_account_key: write(folder, "accounts.key", &accounts.serialize_pem())?,
            service_account_public_key: write(folder, "accounts.pub", &accounts.public_key_pem())?,
        })
    }
}

fn authority(folder: &Path) -> Result<(PathBuf, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate().or_failed_to("make the key of the authority")?;
    let mut params = CertificateParams::new(Vec::new()).or_failed_to("describe the authority")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "control-plane");
    let certificate = params.self_signed(&key).or_failed_to("sign the authority")?;
    Ok((write(folder, "authority.crt", &certificate.pem())?, Issuer::new(params, key)))
}

fn server() -> Result<CertificateParams> {
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(String::from);
    let mut params = CertificateParams::new(names).or_failed_to("describe the API server's certificate")?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn admin() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).or_failed_to("describe the admin's certificate")?;
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn issue(
    folder: &Path,
    name: &str,
    issuer: &Issuer<'_, KeyPair>,
    params: &CertificateParams,
) -> Result<Pair> {
    let key = KeyPair::generate().or_failed_to("make a key")?;
    let certificate = params.signed_by(&key, issuer).or_failed_to("sign a certificate")?;
    Ok(Pair {
        certificate: write(folder, &format!("{name}.crt"), &certificate.pem())?,
        key: write(folder, &format!("{name}.key"), &key.serialize_pem())?,
    })
}

/// Private to the user, since most of these files are keys.
fn write(folder: &Path, name: &str, content: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let mut file: File = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .or_failed_to("create a key file")?;
    file.write_all(content.as_bytes()).or_failed_to("write a key file")?;
    Ok(path)
}

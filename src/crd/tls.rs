//! How a farm's certificate is verified.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_default, schema};

/// How the certificate of the farm's endpoints is verified.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caRef))").message("set only one of caBundle and caRef"))]
pub struct Tls {
    /// Certificates of the authorities that may have signed the farm's certificate, PEM encoded,
    /// at most 65,536 characters. Only these are trusted then. Unset: the authorities of caRef,
    /// else those of the operator's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pem_bundle")]
    pub ca_bundle: Option<String>,

    /// Where the PEM certificates of the authorities are kept instead of caBundle. Unset: the
    /// authorities of caBundle, else those of the operator's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,

    /// Host name or IP address that the farm's certificate must carry. Unset: the host of the
    /// endpoint that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::address")]
    pub server_name: Option<String>,

    /// SHA-256 digests, as 64 hexadecimal digits each, of the farm's leaf certificate or of its
    /// public key (the DER encoded SubjectPublicKeyInfo). One of them must match. Without caBundle
    /// and caRef a match replaces the check of chain and name; with one of them both must hold.
    /// Empty or unset: no pin is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::sha256_pins")]
    pub pinned_sha256: Vec<String>,

    /// Talks to the farm without any check of its certificate, so that whoever sits in between
    /// reads the RAS administrator's password. It has effect only where the operator runs with
    /// --allow-insecure-tls; otherwise the farm is stalled. Unset: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
}

/// Names the key of a Secret or ConfigMap that holds PEM certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct CaRef {
    /// Kind of the object: Secret or ConfigMap.
    pub kind: CaRefKind,

    /// Name of the object, in the namespace of this RasFarm.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,

    /// Key within the object, such as ca.crt.
    #[schemars(schema_with = "schema::data_key")]
    pub key: String,
}

/// What kind of object holds the certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaRefKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

//! Manifests as a person would write them, for tests to alter.

use serde_json::{Value, json};

const API_VERSION: &str = "ras-operator.dev/v1alpha1";

/// A farm whose credentials are in the Secret `<name>-credentials` and whose CA is given in place.
pub(crate) fn farm(name: &str, endpoint: &str, ca_bundle: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "RasFarm",
        "metadata": {"name": name},
        "spec": {
            "endpoint": endpoint,
            "credentialsSecretRef": {"name": credentials_name(name)},
            "tls": {"caBundle": ca_bundle},
        },
    })
}

/// The name of the Secret that `farm` names.
pub(crate) fn credentials_name(farm: &str) -> String {
    format!("{farm}-credentials")
}

/// Credentials of a farm.
pub(crate) fn secret(name: &str, username: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"username": username, "password": password},
    })
}

/// A broker of which nothing but its place is managed.
pub(crate) fn broker(name: &str, farm: &str, server: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "RasBroker",
        "metadata": {"name": name},
        "spec": {"farmRef": {"name": farm}, "server": server},
    })
}

/// The manifest with the field at a path such as `spec/install/agent` set; objects on the way are made.
pub(crate) fn with(mut manifest: Value, path: &str, value: impl Into<Value>) -> Value {
    let mut place = &mut manifest;
    for key in path.split('/') {
        place = &mut place[key];
    }
    *place = value.into();
    manifest
}

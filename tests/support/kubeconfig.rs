//! Kubeconfig files as values. They are written as JSON, which every YAML reader takes.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde_json::{Value, json};

use super::{
    certificates::Certificates,
    failure::{Failure, Result, While as _},
};

/// The admin's way in, by client certificate.
pub(crate) fn admin(server: &str, certificates: &Certificates) -> Value {
    let cluster = json!({"server": server, "certificate-authority": certificates.authority});
    let user = json!({
        "client-certificate": certificates.admin.certificate,
        "client-key": certificates.admin.key,
    });
    assemble(&cluster, &user, "default")
}

/// The same cluster, as another user and in another namespace.
pub(crate) fn with_token(of: &Value, token: &str, namespace: &str) -> Result<Value> {
    let cluster = of
        .pointer("/clusters/0/cluster")
        .ok_or_else(|| Failure::new("unable to find a cluster in the kubeconfig"))?;
    Ok(assemble(cluster, &json!({"token": token}), namespace))
}

fn assemble(cluster: &Value, user: &Value, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user", "namespace": namespace}}],
        "current-context": "context",
    })
}

/// Readable by the user only.
pub(crate) fn write(path: &Path, kubeconfig: &Value) -> Result<()> {
    let mut file: File = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .or_failed_to("create a kubeconfig")?;
    file.write_all(format!("{kubeconfig:#}\n").as_bytes()).or_failed_to("write a kubeconfig")
}

//! Lines that people paste, run as they would be: in a shell, as the cluster's admin.

use std::ffi::OsString;

use tokio::process::Command;

use crate::support::cluster::Cluster;

/// Runs a line and fails with what it complains of.
pub(crate) async fn run(cluster: &Cluster, line: &str) {
    let output = Command::new("sh")
        .args(["-ec", line])
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("PATH", path(cluster))
        .output()
        .await
        .expect("a shell");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {words}");
}

/// The shell's own, with the cluster's kubectl first.
fn path(cluster: &Cluster) -> OsString {
    let own = cluster.kubectl_program().parent().expect("a folder").to_owned();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).expect("a PATH")
}

//! What a condition tells people to paste into a shell does what it says.

use std::ffi::OsString;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::process::Command;

use crate::world::World;

/// Runs the line at the end of the message of the `Ready` condition, as the admin, in a shell.
pub(super) async fn paste(world: &World, conditions: &[Condition]) {
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").expect("a Ready condition");
    let start = ready.message.find("kubectl ").unwrap_or_else(|| panic!("no line in {:?}", ready.message));
    let line = &ready.message[start..];
    let cluster = world.plane.cluster();
    let output = Command::new("sh")
        .args(["-ec", line])
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("PATH", path(world))
        .output()
        .await
        .expect("a shell");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {words}");
}

/// The shell's own, with the cluster's kubectl first.
fn path(world: &World) -> OsString {
    let own = world.plane.cluster().kubectl_program().parent().expect("a folder").to_owned();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).expect("a PATH")
}

//! What the README tells people to apply is taken by a real API server, without a warning.

use std::path::Path;

use crate::support::{control_plane, kubectl};

fn folder(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

#[tokio::test]
async fn the_operator_is_applied_without_a_warning_and_a_second_time_nothing_changes() {
    let plane = control_plane().await;
    let folder = folder("deploy");
    let apply = ["apply", "--warnings-as-errors", "-k", &folder];
    kubectl(plane, &apply).await;
    let again = kubectl(plane, &apply).await;
    let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert_eq!(changed, [""; 0]);
}

#[tokio::test]
async fn the_samples_are_applied_to_a_namespace_without_a_warning() {
    let plane = control_plane().await;
    let namespace = plane.namespace("samples").await;
    let folder = folder("deploy/samples");
    let applied = kubectl(plane, &["apply", "--warnings-as-errors", "-n", &namespace, "-k", &folder]).await;
    assert_eq!(applied.lines().filter(|line| line.ends_with(" created")).count(), 5, "{applied}");
}

//! A deletion crosses the write of our finalizer. The real API server may have looked for finalizers before it and take
//! the object away after it: both are answered with success (kubernetes/kubernetes#77988).

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::scene::Scene;
use crate::faults::invariants::Watch;
use crate::faults::{LATER, gone};
use crate::support::eventually;
use crate::support::fault_proxy::{Fault, Rule};
use crate::world::server;

/// The deletion goes out this long before the finalizer is written. Some of them the server carries out past it.
const AHEAD: [u64; 6] = [1, 2, 3, 4, 6, 8];
const OF_EACH: usize = 5;

#[tokio::test]
async fn deletions_that_cross_the_write_of_the_finalizer_leave_no_row() {
    let scene = Scene::new("crossing").await;
    let watch = Watch::over(&scene);
    scene.patch_farm(json!({"spec": {"deletionProtection": {"threshold": 0}}})).await;
    let names: Vec<(String, u64)> =
        (0..OF_EACH).flat_map(|number| AHEAD.map(|ahead| (format!("cb{number}-{ahead}"), ahead))).collect();
    for (name, ahead) in &names {
        let slow = Rule::new(Fault::Slow(Duration::from_millis(*ahead)));
        scene.proxy.play(slow.on("patch", "rasbrokers").of(name).containing("create-intent"));
    }
    join_all(names.iter().map(|(name, _)| async {
        scene.create_broker(name, json!({"deletionPolicy": "Delete"})).await;
        let is_written = || scene.proxy.seen().iter().any(|seen| seen.verb == "patch" && seen.name == *name);
        while !is_written() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        scene.delete_broker(name).await;
    }))
    .await;
    for (name, _) in &names {
        gone(&scene, name).await;
    }
    eventually("no row is left", LATER, async || {
        let left: Vec<_> =
            names.iter().filter_map(|(name, _)| scene.farm().broker_named(&server(name))).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    scene.ends_well(&watch).await;
}

//! How often the farm's object is written.

use std::time::Duration;

use serde_json::json;

use crate::support::control_plane::ControlPlane;
use crate::support::stays;
use crate::world::World;

#[tokio::test]
async fn a_farms_status_is_written_at_most_once_in_five_seconds_beside_what_must_be_written_before_a_batch() {
    let world = World::new("coalesced").await;
    world.farm_ready().await;
    let mark = world.plane.audit_log().mark();
    let mut number = 0;
    stays("brokers come and are counted", Duration::from_secs(12), async || {
        number += 1;
        if number % 20 == 0 {
            world.create_broker(&format!("cb{number}"), json!({})).await;
        }
        Ok::<(), ()>(())
    })
    .await;
    let user = ControlPlane::user(&world.namespace);
    let calls = world.plane.audit_log().by(&user, mark);
    let writes =
        calls.iter().filter(|call| call.resource == "rasfarms" && call.subresource == "status").count();
    let batches = usize::try_from(world.seen(crate::farm_world::APPLY)).expect("a number") + 1;
    assert!(number > 60 && writes > 0, "{number} looks");
    assert!(writes <= batches + 4, "{writes} writes of the farm's status for {batches} batches in 12 s");
}

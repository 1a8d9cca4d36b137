//! What a condition tells people to paste into a shell does what it says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::shell;
use crate::world::World;

/// Runs the line at the end of the message of the `Ready` condition.
pub(super) async fn paste(world: &World, conditions: &[Condition]) {
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").expect("a Ready condition");
    let start = ready.message.find("kubectl ").unwrap_or_else(|| panic!("no line in {:?}", ready.message));
    shell::run(world.plane.cluster(), &ready.message[start..]).await;
}

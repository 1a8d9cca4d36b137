//! A cluster loses a namespace or a kind with everything in it, and gets them back.

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::objects::{farm_of, is_going, name, summary, text, uid, words};
use crate::run::Run;
use crate::settling::is_held;
use crate::step::{Stage, make_reachable};
use crate::users::{force_orphan, permit_deletions, release_holds};
use crate::world::{NAMESPACE, World, home};

/// Our kinds, in the order in which they are looked at.
const OURS: [&str; 3] = ["RasBroker", "RasBrokerPromotion", "RasFarm"];
/// What a namespace has in it.
const KINDS: [&str; 4] = ["Secret", "RasFarm", "RasBroker", "RasBrokerPromotion"];
/// How long everything is given to go by itself, where it can.
const PATIENCE: Duration = Duration::from_mins(3);
const BOUND: Duration = Duration::from_mins(20);

/// The namespace begins to end, or goes on with it: the objects of some kinds are deleted, a bit for each.
pub fn end_namespace(world: &World, kinds: u8) {
    world.api.terminate_namespace(NAMESPACE);
    let is_meant = |place: &usize| kinds >> place & 1 == 1;
    for place in (0..KINDS.len()).filter(is_meant) {
        losing(world, || world.api.sweep(KINDS[place], NAMESPACE));
    }
}

/// One of our kinds is removed, by its number: with it go its objects, whose brokers stay.
pub fn remove_kind(world: &World, number: usize) {
    let kind = OURS[number % OURS.len()];
    if !world.api.has_definition(kind) {
        return;
    }
    if kind == "RasBroker" {
        let mut oracle = world.oracle.lock();
        world.brokers().iter().for_each(|object| oracle.may_leave_row(uid(object)));
    }
    losing(world, || world.api.delete_definition(kind));
}

/// Tells the oracle which brokers begin to go, and which are gone at once.
fn losing(world: &World, act: impl FnOnce()) {
    let before = world.brokers();
    act();
    let after = world.brokers();
    let mut oracle = world.oracle.lock();
    for object in before {
        match after.iter().find(|left| uid(left) == uid(&object)) {
            Some(left) => oracle.saw(left, false),
            None => oracle.lost(uid(&object)),
        }
    }
}

/// What was removed comes to its end and is made again, as a repository of manifests is applied anew; answers what does
/// not end.
pub async fn rebuild(run: &mut Run, stage: &mut Stage) -> Vec<String> {
    if is_whole(&run.world) {
        return Vec::new();
    }
    let began = clock::elapsed();
    while let Some(left) = unfinished(&run.world) {
        if clock::elapsed() > began + BOUND {
            return vec![format!("a namespace or a kind does not end: {left}")];
        }
        release_holds(&run.world);
        make_reachable(&run.world);
        if clock::elapsed() > began + PATIENCE {
            permit_deletions(&run.world);
            let_go(&run.world);
        }
        run.rest(Duration::from_secs(5)).await;
    }
    run.world.network.say("what was removed is made again");
    run.world.api.make_whole(NAMESPACE);
    run.world.furnish();
    stage.come_back(&run.world);
    Vec::new()
}

/// Whether nothing was removed.
fn is_whole(world: &World) -> bool {
    let farms = world.api.list("RasFarm");
    OURS.iter().all(|kind| world.api.has_definition(kind))
        && !world.api.get("Namespace", "", NAMESPACE).is_none_or(|namespace| is_going(&namespace))
        && farms.len() == world.setting.farms * world.setting.clusters
        && !farms.iter().any(is_going)
}

/// Something that still stands in the way of an end.
fn unfinished(world: &World) -> Option<String> {
    let ends = world.api.get("Namespace", "", NAMESPACE).is_some_and(|namespace| is_going(&namespace));
    if ends {
        end_namespace(world, u8::MAX);
    }
    let goes = |object: &Value| ends && object["metadata"]["namespace"] == NAMESPACE || is_going(object);
    let left = |kind: &str| world.api.list(kind).into_iter().find(goes);
    // A farm that goes waits for those that use it.
    let is_needed = |kind: &str| {
        let goes = world.api.list("RasFarm").iter().any(is_going);
        (kind == "RasBroker" && goes).then(|| world.brokers().into_iter().next()).flatten()
    };
    OURS.iter()
        .find_map(|kind| left(kind).or_else(|| is_needed(kind)))
        .map(|object| format!("{}: {}", summary(&object), words(&object)))
}

/// What a person does where a farm cannot be worked with any more, or a broker must stay in its site.
fn let_go(world: &World) {
    let is_lost = |object: &Value| {
        let farm = world.api.get("RasFarm", home(name(object)), text(object, "/spec/farmRef/name"));
        world.network.is_gone(farm_of(object)) || farm.is_none_or(|farm| is_going(&farm))
    };
    for object in world.brokers().iter().filter(|object| is_lost(object) || is_held(world, object)) {
        force_orphan(world, name(object));
    }
}

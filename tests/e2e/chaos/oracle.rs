//! What is true of every scenario once faults have stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use ras_operator::crd::{RasBroker, annotation};

use super::scenario::NAMES;
use super::stage::{Stage, server_of};
use crate::faults::is_ready;
use crate::support::eventually;
use crate::world::condition;

/// A quarantine, a breaker's pauses, a Lease and a few growing pauses of one broker, one after the other.
const SETTLES_WITHIN: Duration = Duration::from_secs(150);

/// Waits until every object shows what it should, and every other one is gone; then nothing moves any more, and nothing
/// secret was put out.
pub(super) async fn settles(stage: &mut Stage) {
    eventually("everything settles", SETTLES_WITHIN, async || {
        // One that ran without its Lease ends late.
        stage.revive();
        let (mut wrong, mut reasons) = (Vec::new(), BTreeMap::new());
        for name in NAMES {
            let found = stage.brokers.get_opt(name).await.map_err(|error| vec![error.to_string()])?;
            match (stage.wanted.contains_key(name), found) {
                (false, None) => {}
                (true, Some(broker)) => {
                    ask_again(stage, name, &broker).await;
                    wrong.extend(misses(stage, name, &broker));
                    reasons.insert(name, condition(&broker, "Stalled").map(|(_, reason, _)| reason));
                }
                (_, found) => {
                    wrong.push(format!("{name}: {:#?}", found.map(|found| (found.metadata, found.status))));
                }
            }
        }
        wrong.extend(deadlocked(stage, &reasons));
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    })
    .await;
    stage.watch.settled(&stage.world).await;
    owners_are_right(stage).await;
    let texts = stage.everything_put_out().await;
    stage.aviary.nothing_is_put_out(&stage.world, &texts).await;
}

/// An edit right after a PUT looks like a farm that shows another value than it took: that is not sent again until
/// somebody asks.
async fn ask_again(stage: &mut Stage, name: &str, broker: &RasBroker) {
    let is_refused = condition(broker, "Synced").is_some_and(|(_, reason, _)| reason == "ReconcileError");
    if is_refused && stage.edited.remove(name) {
        stage.world.annotate_broker(name, annotation::RECONCILE_REQUESTED_AT, "now").await;
    }
}

/// What is not yet as it should be with this object.
fn misses(stage: &Stage, name: &str, broker: &RasBroker) -> Option<String> {
    let server = server_of(name);
    let stalled = condition(broker, "Stalled").map(|(_, reason, _)| reason);
    let may_be = |reason: &str| match reason {
        "AlreadyExists" => stage.strangers.contains(&server) || may_be_left(stage, &server),
        // Not both: the other one has it, or somebody else.
        "ResourceConflict" => is_twin(stage, name),
        "ExternallyDeleted" => stage.removals.get(&server).is_some_and(|count| *count >= 2),
        _ => false,
    };
    let is_current =
        broker.status.as_ref().map(|status| status.observed_generation) == broker.metadata.generation;
    let is_right = match &stalled {
        Some(reason) => is_current && may_be(reason),
        None => is_ready(broker) && is_in_farm(stage, name, broker),
    };
    (!is_right).then(|| format!("{name}: {:#?} {:#?}", broker.metadata.annotations, broker.status))
}

/// Of two objects that mean one server, not both wait for the other.
fn deadlocked(stage: &Stage, reasons: &BTreeMap<&str, Option<String>>) -> Option<String> {
    let waits = |name: &str| reasons.get(name).is_some_and(|why| why.as_deref() == Some("ResourceConflict"));
    (waits("cb1") && (waits("twin") || !stage.wanted.contains_key("twin"))).then(|| format!("{reasons:?}"))
}

/// Whether another object means the same server.
fn is_twin(stage: &Stage, name: &str) -> bool {
    stage.wanted.keys().any(|other| *other != name && server_of(other) == server_of(name))
}

/// Whether the row is the one of the status, as the spec says, and nobody else's.
fn is_in_farm(stage: &Stage, name: &str, broker: &RasBroker) -> bool {
    let Some(row) = stage.world.farm().broker_named(&server_of(name)) else { return false };
    let spec = &stage.wanted[name];
    let status = broker.status.as_ref();
    status.and_then(|status| status.id) == Some(row.id)
        && spec["description"] == row.description.as_str()
        && spec["enabled"] == row.enabled
        && !row.marked_for_deletion
        && !stage.strangers.contains(&row.server)
}

/// Whether a row of ours may have no owner: where an object goes past its finalizer, and a call that would have taken its
/// row along is lost as well, or the process.
fn may_be_left(stage: &Stage, server: &str) -> bool {
    let is_disturbed = || {
        stage.restarts > 0
            || stage.met() > 0
            || stage.world.farm().journal().iter().any(|entry| entry.fault.is_some())
    };
    stage.history.has_swept_away(server) && is_disturbed()
}

/// Each row but the primary has exactly one owner: a person, or one object.
async fn owners_are_right(stage: &Stage) {
    let all = stage.brokers.list(&kube::api::ListParams::default()).await.expect("a list");
    for row in stage.world.farm().brokers().into_iter().filter(|row| !row.is_primary()) {
        let owned = |broker: &&RasBroker| {
            let status = broker.status.as_ref().filter(|status| status.origin.is_some());
            status.and_then(|status| status.id) == Some(row.id)
        };
        let owners = all.iter().filter(owned).count() + usize::from(stage.strangers.contains(&row.server));
        let is_right = owners == 1 || owners == 0 && may_be_left(stage, &row.server);
        assert!(is_right, "{owners} owners of {row:#?}: {all:#?}");
    }
}

//! Events, on transitions only. A failed event never fails a reconcile; there is no cache that grows with every
//! object, since what is published is rare.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubernetesEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use crate::clock::Clock;
use crate::kubernetes::{Namespaced, limited};

/// The longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1_024;
/// How much of an object's name an event's begins with: what is generated after it must have room.
const NAME_LIMIT: usize = 57;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A broker was created.
    CreatedExternalResource,
    /// A broker was changed.
    UpdatedExternalResource,
    /// A broker was deleted.
    DeletedExternalResource,
    /// A broker was adopted.
    AdoptedExternalResource,
    /// A broker was let go and stays in the farm.
    OrphanedExternalResource,
    /// The farm was changed outside.
    DriftDetected,
    /// That change was undone.
    DriftCorrected,
    /// The farm cannot be used.
    CannotConnectToFarm,
    /// Calls to the farm stop.
    CircuitOpened,
    /// Calls to the farm go again.
    CircuitClosed,
    /// Two objects, or an object and a row, claim the same broker.
    ResourceConflict,
    /// A deletion waits.
    DeletionHeld,
    /// The farm's certificate is not checked.
    InsecureTransport,
    /// A broker is being made the primary.
    PromotionStarted,
    /// A broker was made the primary, or was it already.
    PromotionSucceeded,
    /// A broker was not made the primary.
    PromotionFailed,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    kind: Kind,
    warning: bool,
    note: String,
}

impl Event {
    /// Something went as it should.
    pub fn normal(kind: Kind, note: impl Into<String>) -> Self {
        Self { kind, warning: false, note: note.into() }
    }

    /// Something that a person may want to look at.
    pub fn warning(kind: Kind, note: impl Into<String>) -> Self {
        Self { kind, warning: true, note: note.into() }
    }
}

/// Publishes events.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: Arc<str>,
    clock: Clock,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Events").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// As much of a text as fits into so many bytes.
fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl Events {
    /// A publisher that names this replica.
    pub fn new(client: Client, instance: &str, clock: Clock) -> Self {
        Self { client, instance: instance.into(), clock }
    }

    /// Sends an event in the background.
    pub fn publish<K: Namespaced>(&self, object: &K, event: &Event) {
        let namespace = object.namespace().unwrap_or_default();
        let body = self.body(&object.object_ref(&()), &namespace, event);
        let api = Api::<KubernetesEvent>::namespaced(self.client.clone(), &namespace);
        tokio::spawn(async move {
            if let Err(error) = limited("create", "Event", api.create(&PostParams::default(), &body)).await {
                tracing::debug!(error = crate::telemetry::chain(&error), "an event could not be published");
            }
        });
    }

    fn body(&self, regarding: &ObjectReference, namespace: &str, event: &Event) -> KubernetesEvent {
        let name = regarding.name.clone().unwrap_or_default();
        KubernetesEvent {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", beginning(&name, NAME_LIMIT))),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some(format!("{:?}", event.kind)),
            event_time: Some(MicroTime(self.clock.now().wall)),
            note: Some(beginning(&event.note, NOTE_LIMIT).to_owned()),
            reason: Some(format!("{:?}", event.kind)),
            regarding: Some(regarding.clone()),
            reporting_controller: Some("ras-operator.dev/ras-operator".to_owned()),
            reporting_instance: Some(self.instance.to_string()),
            type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
            ..KubernetesEvent::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server counts bytes, and refuses an event that is too long without anybody hearing of it.
    #[test]
    fn an_events_words_are_cut_between_letters_to_what_the_api_server_takes() {
        assert_eq!(beginning(&"\u{e9}".repeat(600), NOTE_LIMIT), "\u{e9}".repeat(512));
        assert_eq!(beginning(&format!("x{}", "\u{e9}".repeat(600)), NOTE_LIMIT).len(), NOTE_LIMIT - 1);
        assert_eq!(beginning("short", NOTE_LIMIT), "short");
    }
}

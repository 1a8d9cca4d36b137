//! The edge to the API server: every write is fenced by the resourceVersion on which it was decided, every call
//! has a time limit, and nothing is retried out of sight.

pub mod client;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "ras-operator";
/// The API server answers in milliseconds; one that hangs must not hold an object for longer than this.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// Namespace and name of an object of a known kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a namespaced object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Why a call to the API server did not do what was asked.
#[derive(Debug, Error)]
pub enum CallError {
    /// It did not answer in time; a write may have been done.
    #[error("unable to get an answer from the API server within {} s", CALL_LIMIT.as_secs())]
    TimedOut,
    /// It took a write, and left out what was written.
    #[error("failed to write finalizers and annotations: something in the cluster takes them out again")]
    Altered,
    /// It refused, or could not be reached.
    #[error("failed to {verb} {what}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On which kind of object.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
}

impl CallError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Failed { source, .. } => {
                if let kube::Error::Api(status) = source.as_ref() {
                    Some(status)
                } else {
                    None
                }
            }
            Self::TimedOut | Self::Altered => None,
        }
    }

    /// What the API server says of it, without what its client adds for those who debug.
    pub fn words(&self) -> String {
        self.status().map_or_else(|| crate::telemetry::chain(self), |status| status.message.clone())
    }

    /// The object changed since the decision was made.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// The object is gone.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// The right to do this is missing.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// A right is missing, or something in the cluster does not let this write pass: it will not by itself.
    pub fn is_denied(&self) -> bool {
        let is_denial = |status: &kube::core::Status| matches!(status.code, 400 | 403 | 413 | 422);
        matches!(self, Self::Altered) || self.status().is_some_and(is_denial)
    }

    /// Whether the write was certainly not done.
    pub fn is_refused(&self) -> bool {
        self.status().is_some_and(|status| (400..500).contains(&status.code) && status.code != 408)
    }
}

/// Changes of an object's metadata, in one patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// The finalizers as they are to be; `None` leaves them.
    pub finalizers: Option<Vec<String>>,
    /// Annotations to set.
    pub annotations: BTreeMap<&'static str, String>,
}

/// The finalizers of `object` with or without `name`, where that is a change.
pub fn finalizers_with(object: &impl ResourceExt, name: &str, present: bool) -> Option<Vec<String>> {
    let current = object.finalizers();
    if current.iter().any(|other| other == name) == present {
        return None;
    }
    let mut changed: Vec<String> = current.iter().filter(|other| *other != name).cloned().collect();
    if present {
        changed.push(name.to_owned());
    }
    Some(changed)
}

/// Kinds that this edge works on.
pub trait Namespaced:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug
{
}

impl<K> Namespaced for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug
{
}

/// Reads an object; `None` when it does not exist.
pub async fn get<K: Namespaced>(client: &Client, key: &ObjectKey) -> Result<Option<K>, CallError> {
    let api = Api::<K>::namespaced(client.clone(), &key.namespace);
    limited("get", K::kind(&()), api.get_opt(&key.name)).await
}

/// Changes metadata by a merge patch: a server-side apply of the main resource would re-create a vanished object.
pub async fn patch_metadata<K: Namespaced>(
    client: &Client,
    object: &K,
    change: &MetadataChange,
) -> Result<K, CallError> {
    let mut metadata = json!({ "resourceVersion": object.resource_version() });
    if let Some(finalizers) = &change.finalizers {
        metadata["finalizers"] = json!(finalizers);
    }
    if !change.annotations.is_empty() {
        metadata["annotations"] = json!(change.annotations);
    }
    let api = api_of(client, object);
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let answered: K = limited("patch", K::kind(&()), api.patch(&object.name_any(), &params, &patch)).await?;
    if is_as_written(object, &answered, change) { Ok(answered) } else { Err(CallError::Altered) }
}

/// Whether the answer carries what was written: a webhook may have changed it on the way. Finalizers that were neither
/// there before nor written are others'.
fn is_as_written(before: &impl ResourceExt, answered: &impl ResourceExt, change: &MetadataChange) -> bool {
    let is_annotated =
        change.annotations.iter().all(|(key, value)| answered.annotations().get(*key) == Some(value));
    let Some(written) = &change.finalizers else { return is_annotated };
    let mut known = before.finalizers().iter().chain(written);
    is_annotated && known.all(|name| answered.finalizers().contains(name) == written.contains(name))
}

/// Replaces the status, fenced: server-side apply drops what this manager set before and leaves out now. What somebody
/// else has put there stays, and would be found at each look: it is taken out by a write of its own.
pub async fn apply_status<K: Namespaced + Serialize>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
) -> Result<K, CallError> {
    let body: Value = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": object.name_any(), "resourceVersion": object.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let answered: K = write_status(client, object, &params, &Patch::Apply(body)).await?;
    let left = excess(&json!(answered)["status"], &json!(status));
    if left.is_null() {
        return Ok(answered);
    }
    let metadata = json!({ "resourceVersion": answered.resource_version() });
    let patch = Patch::Merge(json!({ "metadata": metadata, "status": left }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    write_status(client, object, &params, &patch).await
}

async fn write_status<K: Namespaced>(
    client: &Client,
    object: &K,
    params: &PatchParams,
    patch: &Patch<Value>,
) -> Result<K, CallError> {
    let api = api_of(client, object);
    limited("update the status of", K::kind(&()), api.patch_status(&object.name_any(), params, patch)).await
}

/// What a merge patch must say to take out of `shown` what `wanted` does not have; null for nothing.
fn excess(shown: &Value, wanted: &Value) -> Value {
    match (shown, wanted) {
        (Value::Object(shown), Value::Object(wanted)) => {
            let more = shown.iter().filter_map(|(name, shown)| match wanted.get(name) {
                None | Some(Value::Null) => (!shown.is_null()).then(|| (name.clone(), Value::Null)),
                Some(wanted) => {
                    Some((name.clone(), excess(shown, wanted))).filter(|(_, left)| !left.is_null())
                }
            });
            let more: serde_json::Map<String, Value> = more.collect();
            if more.is_empty() { Value::Null } else { Value::Object(more) }
        }
        (Value::Array(shown), Value::Array(wanted)) if shown.len() > wanted.len() => json!(wanted),
        _ => Value::Null,
    }
}

fn api_of<K: Namespaced>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

/// Reads one Secret by name: there is no `list` or `watch` on Secrets, for that is the right to read them all.
pub async fn secret(client: &Client, key: &ObjectKey) -> Result<Option<Secret>, CallError> {
    get(client, key).await
}

/// Reads one `ConfigMap` by name.
pub async fn config_map(client: &Client, key: &ObjectKey) -> Result<Option<ConfigMap>, CallError> {
    get(client, key).await
}

/// Runs one call under the time limit.
pub async fn limited<T>(
    verb: &'static str,
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(CallError::Failed { verb, what: what.into(), source: Box::new(source) }),
        Err(_elapsed) => Err(CallError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;
    use crate::crd::{RasBroker, annotation, finalizer};

    fn object(finalizers: &[&str], intent: Option<&str>) -> RasBroker {
        let annotations = intent.map(|text| [(annotation::CREATE_INTENT.to_owned(), text.to_owned())].into());
        let finalizers = Some(finalizers.iter().map(|name| (*name).to_owned()).collect());
        let metadata = ObjectMeta { finalizers, annotations, ..ObjectMeta::default() };
        let spec = json!({"farmRef": {"name": "north"}, "server": "cb1"});
        RasBroker { metadata, spec: serde_json::from_value(spec).unwrap(), status: None }
    }

    /// A webhook may take out what is not to its taste, and answer with success.
    #[test]
    fn a_write_counts_only_if_its_answer_carries_what_was_written() {
        let before = object(&["of.others"], None);
        let intent = MetadataChange {
            finalizers: finalizers_with(&before, finalizer::BROKER, true),
            annotations: [(annotation::CREATE_INTENT, "{}".to_owned())].into(),
        };
        let all = ["of.others", finalizer::BROKER];
        assert!(is_as_written(&before, &object(&all, Some("{}")), &intent));
        assert!(is_as_written(&before, &object(&["added", all[1], all[0]], Some("{}")), &intent));
        for (finalizers, text) in [(&all[..], None), (&all[..], Some("{ }")), (&all[..1], Some("{}"))] {
            assert!(!is_as_written(&before, &object(finalizers, text), &intent), "{finalizers:?}, {text:?}");
        }
        let held = object(&all, Some("{}"));
        let finalizers = finalizers_with(&held, finalizer::BROKER, false);
        let release = MetadataChange { finalizers, ..MetadataChange::default() };
        assert!(is_as_written(&held, &object(&["of.others"], Some("{}")), &release));
        assert!(!is_as_written(&held, &held, &release));
    }
}

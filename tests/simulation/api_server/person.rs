//! The server as a person with kubectl sees it: at once, and past everything that stands between it and the operator.

use serde_json::{Value, json};

use super::ApiServer;
use super::object::meta;
use super::refusal::Refusal;
use super::request::{Manager, Part, Request, Selector, Verb, kind_named};
use super::state::Answer;
use super::store::Key;

impl ApiServer {
    /// Creates what a manifest says.
    pub(crate) fn create(&self, manifest: Value) -> Result<Value, Refusal> {
        let mut request = request(kind_of(&manifest), meta(&manifest, "namespace"), "", Verb::Get);
        request.verb = Verb::Create(manifest);
        self.asked(request)
    }

    /// Writes an object anew; without a `resourceVersion` over whatever is there, as `kubectl replace` does.
    pub(crate) fn replace(&self, mut object: Value) -> Result<Value, Refusal> {
        if meta(&object, "resourceVersion").is_empty()
            && let Some(there) = self.get(kind_of(&object), meta(&object, "namespace"), meta(&object, "name"))
        {
            object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
        }
        let (namespace, name) = (meta(&object, "namespace"), meta(&object, "name"));
        let mut request = request(kind_of(&object), namespace, name, Verb::Get);
        request.verb = Verb::Replace(object);
        self.asked(request)
    }

    /// The object, if there is one. `kind` as in a manifest; the namespace of a cluster-wide kind is empty.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.asked(request(kind, namespace, name, Verb::Get)).ok()
    }

    /// All objects of a kind, in all namespaces.
    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        let list = self.asked(request(kind, "", "", Verb::List(Selector::default())));
        list.map(|mut list| list["items"].take())
            .ok()
            .and_then(|items| items.as_array().cloned())
            .unwrap_or_default()
    }

    /// Lays a merge patch over an object.
    pub(crate) fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Value, Refusal> {
        self.asked(request(kind, namespace, name, Verb::Merge(patch)))
    }

    /// Lays a merge patch over an object's status.
    pub(crate) fn patch_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: &Value,
    ) -> Result<Value, Refusal> {
        let verb = Verb::Merge(json!({"status": status}));
        self.asked(Request { part: Part::Status, ..request(kind, namespace, name, verb) })
    }

    /// Deletes an object, without waiting until it is gone.
    pub(crate) fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        self.asked(request(kind, namespace, name, Verb::Delete(Value::Null)))
    }

    /// Ends a deletion that was begun when the object had no finalizer yet: what was put on it since is overlooked, as the
    /// real server does where the two cross.
    pub(crate) fn sweep_away(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let kind = kind_named(kind);
        let key = Key { resource: kind.resource(), namespace: namespace.to_owned(), name: name.to_owned() };
        self.state.lock().sweep_away(kind, &key)
    }

    /// Takes finalizers and annotations off by writing the rest anew, as a `kubectl replace` of the manifest does.
    pub(crate) fn strip(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let mut object = self.asked(request(kind, namespace, name, Verb::Get))?;
        object["metadata"]["finalizers"] = Value::Null;
        object["metadata"]["annotations"] = Value::Null;
        self.replace(object)
    }

    pub(super) fn asked(&self, request: Request) -> Result<Value, Refusal> {
        match self.answer(request)? {
            Answer::Body { body, .. } => Ok(body),
            Answer::Watch(_) => panic!("a person does not watch"),
        }
    }
}

fn request(kind: &str, namespace: &str, name: &str, verb: Verb) -> Request {
    Request {
        kind: kind_named(kind),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name.to_owned(),
        part: Part::Main,
        manager: Manager { name: "kubectl".to_owned(), force: false },
        verb,
    }
}

fn kind_of(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_else(|| panic!("an object without a kind: {object}"))
}

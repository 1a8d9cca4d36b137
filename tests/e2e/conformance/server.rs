//! One server, the model or the real one: makes requests of steps, and of answers what can be compared.

use std::collections::BTreeMap;

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::merged;
use super::sequence::{Call, Kind, Step, Uid, Version};
use super::watching::{Until, Watch};

/// A server, and what it has answered.
pub(super) struct Server {
    client: Client,
    namespace: String,
    /// Every version of each object that was answered.
    seen: BTreeMap<&'static str, Vec<Value>>,
}

/// What is compared: a code, and a body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Value,
}

/// How often a server is asked that is behind: it waits three seconds for its cache each time.
const MOST_RETRIES: usize = 10;

impl Server {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), seen: BTreeMap::new() }
    }

    /// Sends what the step asks for. A watch is read until it told `events` events; without, for what is there at once.
    pub(super) async fn ask(&mut self, step: &Step, events: Option<usize>) -> Answer {
        let mut answer = self.answer(step, events).await;
        for _ in 0..MOST_RETRIES {
            if !is_behind(&answer) {
                break;
            }
            answer = self.answer(step, events).await;
        }
        if !answer.body["metadata"]["uid"].is_null() {
            self.seen.entry(step.name).or_default().push(answer.body.clone());
        }
        answer
    }

    async fn answer(&self, step: &Step, events: Option<usize>) -> Answer {
        match &step.call {
            Call::WatchFrom { version, selector } => {
                let from = self.seen_version(step.name, Version::Seen(*version)).unwrap_or_default();
                if from.is_empty() {
                    return Answer { code: 0, body: Value::Null };
                }
                let query = format!("resourceVersion={from}&{selector}");
                self.watch(step.kind, &query, events.map_or(Until::Silence, Until::Count)).await
            }
            Call::WatchList => {
                // Without a version: for version 0, which kube asks for, the real server may show an older world.
                let query = "sendInitialEvents=true&allowWatchBookmarks=true\
                             &resourceVersionMatch=NotOlderThan";
                self.watch(step.kind, query, Until::Bookmark).await
            }
            Call::Get
            | Call::List { .. }
            | Call::Create { .. }
            | Call::Replace { .. }
            | Call::Merge { .. }
            | Call::Apply { .. }
            | Call::Delete { .. } => self.send(self.request(step)).await,
        }
    }

    /// The version of the collection as it is now.
    pub(super) async fn now(&self, kind: Kind) -> String {
        let request = Request::get(self.path(kind, "")).body(Body::empty()).expect("a request");
        let answer = self.send(request).await;
        answer.body["metadata"]["resourceVersion"].as_str().expect("a list has a version").to_owned()
    }

    /// Whether the answer tells of no change: a version that was seen before, the object as it was then.
    pub(super) fn knew(&self, name: &str, answer: &Answer) -> bool {
        let seen = self.seen.get(name).into_iter().flatten();
        answer.code == 200 && seen.filter(|seen| **seen == answer.body).count() > 1
    }

    /// The last answer is as if it had not been given.
    pub(super) fn unsee(&mut self, name: &str) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.pop();
        }
    }

    /// Sends a request as it is; `NAMESPACE` in its path stands for the server's own.
    pub(super) async fn raw(&self, method: Method, path: &str, body: &Value) -> Answer {
        let type_ = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let uri = path.replace("NAMESPACE", &self.namespace);
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, type_);
        self.send(request.body(body).expect("a request")).await
    }

    /// What happens in the namespace from this version on.
    pub(super) async fn watch_from(&self, kind: Kind, from: &str) -> Watch {
        self.open(kind, &format!("resourceVersion={from}")).await
    }

    fn path(&self, kind: Kind, name: &str) -> String {
        let name = if name.is_empty() { String::new() } else { format!("/{name}") };
        format!("{}/namespaces/{}/{}{name}", kind.prefix, self.namespace, kind.plural)
    }

    fn request(&self, step: &Step) -> Request<Body> {
        let Step { kind, name, call } = step;
        let path = self.path(*kind, name);
        let part = |status: &bool| if *status { format!("{path}/status") } else { path.clone() };
        let (method, uri, type_, body) = match call {
            Call::Get | Call::WatchFrom { .. } | Call::WatchList => (Method::GET, path, "", None),
            Call::List { selector } => {
                (Method::GET, format!("{}?{selector}", self.path(*kind, "")), "", None)
            }
            Call::Create { body } => {
                (Method::POST, self.path(*kind, ""), "application/json", Some(named(*kind, name, body)))
            }
            Call::Replace { status, whole, change, version, uid } => {
                let base = match self.seen.get(name).and_then(|seen| seen.last()) {
                    Some(seen) if *whole => seen.clone(),
                    _ => named(*kind, name, &json!({"metadata": {}})),
                };
                let mut body = merged(base, change);
                self.fence(&mut body, name, *version);
                match self.uid(name, *uid) {
                    Some(uid) => body["metadata"]["uid"] = uid.into(),
                    None => drop(body["metadata"].as_object_mut().and_then(|fields| fields.remove("uid"))),
                }
                (Method::PUT, part(status), "application/json", Some(body))
            }
            Call::Merge { status, change, version, manager } => {
                let mut body = change.clone();
                self.fence(&mut body, name, *version);
                let uri = format!("{}?fieldManager={manager}", part(status));
                (Method::PATCH, uri, "application/merge-patch+json", Some(body))
            }
            Call::Apply { status, body, version, manager, force } => {
                let mut body = named(*kind, name, body);
                self.fence(&mut body, name, *version);
                let uri = format!("{}?fieldManager={manager}&force={force}", part(status));
                (Method::PATCH, uri, "application/apply-patch+yaml", Some(body))
            }
            Call::Delete { version, uid } => {
                let preconditions = json!({
                    "uid": self.uid(name, *uid), "resourceVersion": self.seen_version(name, *version),
                });
                let options =
                    json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
                (Method::DELETE, path, "application/json", Some(options))
            }
        };
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string().into_bytes()));
        let request = Request::builder().method(method).uri(uri);
        let request = if type_.is_empty() { request } else { request.header(header::CONTENT_TYPE, type_) };
        request.body(body).expect("a request")
    }

    fn fence(&self, body: &mut Value, name: &str, version: Version) {
        match self.seen_version(name, version) {
            Some(version) => body["metadata"]["resourceVersion"] = version.into(),
            None => {
                if let Some(fields) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                    fields.remove("resourceVersion");
                }
            }
        }
    }

    fn seen_version(&self, name: &str, version: Version) -> Option<String> {
        let seen = self.seen.get(name)?;
        let object = match version {
            Version::Fresh => seen.last()?,
            Version::Seen(index) => &seen[index % seen.len()],
            Version::Absent => return None,
        };
        object["metadata"]["resourceVersion"].as_str().map(str::to_owned)
    }

    fn uid(&self, name: &str, uid: Uid) -> Option<String> {
        let seen = self.seen.get(name);
        let of = |object: Option<&Value>| object?["metadata"]["uid"].as_str().map(str::to_owned);
        match uid {
            Uid::Absent => None,
            Uid::Right => of(seen.and_then(|seen| seen.last())),
            Uid::First => of(seen.and_then(|seen| seen.first())),
            Uid::Wrong => Some("11111111-1111-4111-8111-111111111111".to_owned()),
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.client.send(request).await.expect("an answer");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let mut body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        forget_managers(&mut body);
        Answer { code, body }
    }

    async fn watch(&self, kind: Kind, query: &str, until: Until) -> Answer {
        self.open(kind, query).await.read(until).await
    }

    async fn open(&self, kind: Kind, query: &str) -> Watch {
        let uri = format!("{}?watch=true&timeoutSeconds=20&{query}", self.path(kind, ""));
        Watch::open(&self.client, uri).await
    }
}

/// Whether the real server says that its watch cache is behind by seconds, which it may be on a busy machine. It asks to be
/// asked again, as every client does.
fn is_behind(answer: &Answer) -> bool {
    answer.body.to_string().contains("ResourceVersionTooLarge")
}

fn named(kind: Kind, name: &str, body: &Value) -> Value {
    let head = json!({"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}});
    merged(head, body)
}

pub(super) fn forget_managers(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            if let Some(items) = fields.get_mut("items").and_then(Value::as_array_mut) {
                items.iter_mut().for_each(forget_managers);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
}

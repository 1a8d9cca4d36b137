//! The API server's audit log: the exact list of the calls that anybody made.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

/// Every request once it is answered, without bodies; a watch as soon as it streams.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// Reads the log that the API server writes. The server writes before it answers, so that what a client has seen done is
/// in the log.
#[derive(Debug, Clone)]
pub(crate) struct AuditLog(PathBuf);

/// A place in the log and its time, to ask later what came after it. A call that was answered before may be logged a moment
/// later than somebody saw what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    place: u64,
    at: jiff::Timestamp,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: String,
    /// Plural, such as `rasbrokers`; empty for a call to another path, such as `/readyz`.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) user: String,
    /// The HTTP status of the answer.
    pub(crate) code: u16,
    /// The path with its query.
    pub(crate) uri: String,
    /// When the server received it.
    pub(crate) at: Option<jiff::Timestamp>,
}

impl Call {
    /// In the form `patch rasbrokers/status 200`, for comparing lists.
    pub(crate) fn line(&self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{} {}", self.verb, self.resource, self.subresource, self.code)
    }

    /// Whether the call was one that changes something, allowed or not.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl AuditLog {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The log's end now.
    pub(crate) fn mark(&self) -> Mark {
        let place = std::fs::metadata(&self.0).map(|file| file.len()).unwrap_or_default();
        Mark { place, at: ras_operator::clock::Clock::MACHINE.now().wall }
    }

    /// Every call since the server's start.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.since(Mark::default())
    }

    /// The calls that were received after `mark`, in the order in which they were first logged.
    pub(crate) fn since(&self, mark: Mark) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut places = BTreeMap::new();
        for event in self.text_since(mark).lines().filter_map(|line| serde_json::from_str::<Event>(line).ok())
        {
            let id = event.audit_id.clone();
            let place = *places.entry(id).or_insert(calls.len());
            // A watch is logged at its start and at its end: one call, and its last word counts.
            match calls.get_mut(place) {
                Some(call) => *call = event.into(),
                None => calls.push(event.into()),
            }
        }
        calls.retain(|call| call.at.is_none_or(|at| at >= mark.at));
        calls
    }

    /// The calls of one user after `mark`.
    pub(crate) fn by(&self, user: &str, mark: Mark) -> Vec<Call> {
        self.since(mark).into_iter().filter(|call| call.user == user).collect()
    }

    fn text_since(&self, mark: Mark) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.0).and_then(|mut file| {
            file.seek(SeekFrom::Start(mark.place))?;
            file.read_to_end(&mut bytes)
        });
        read.unwrap_or_else(|error| panic!("failed to read the audit log {}: {error}", self.0.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    #[serde(default)]
    request_received_timestamp: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl From<Event> for Call {
    fn from(event: Event) -> Self {
        let Event {
            audit_id: _,
            verb,
            request_uri,
            user,
            object_ref,
            response_status,
            request_received_timestamp,
        } = event;
        let ObjectRef { resource, subresource, namespace, name } = object_ref;
        Self {
            verb,
            resource,
            subresource,
            namespace,
            name,
            user: user.username,
            code: response_status.code,
            uri: request_uri,
            at: request_received_timestamp,
        }
    }
}

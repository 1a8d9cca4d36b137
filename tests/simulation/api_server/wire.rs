//! Between HTTP and requests: what a client sends is understood, what it gets is spelled out.

use std::collections::BTreeMap;

use axum::body::Body;
use futures::StreamExt;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::refusal::{self, Refusal};
use super::request::{Manager, Part, Request, Selector, Verb, WatchOptions};
use super::state::Answer;

/// Understands a request.
pub(super) fn understood(parts: &http::request::Parts, body: &[u8]) -> Result<Request, Refusal> {
    let (kind, namespace, rest) = place(parts.uri.path()).ok_or_else(refusal::no_such_path)?;
    let (name, part) = match rest.as_slice() {
        [] => ("", Part::Main),
        [name] => (*name, Part::Main),
        [name, "status"] if kind.has_status() => (*name, Part::Status),
        _ => return Err(refusal::no_such_path()),
    };
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let verb = verb(parts, body, &query, name)?;
    let manager = Manager { name: query.text("fieldManager").to_owned(), force: query.is("force") };
    Ok(Request { kind, namespace: namespace.map(str::to_owned), name: name.to_owned(), part, manager, verb })
}

/// Kind, namespace, and what the path names within.
fn place(path: &str) -> Option<(&'static Kind, Option<&str>, Vec<&str>)> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let find = |plural: &str, is_namespaced: bool| {
        KINDS.iter().find(|kind| {
            (kind.group.as_str(), kind.version.as_str()) == (group, version)
                && kind.plural == plural
                && (kind.is_namespaced || !is_namespaced)
        })
    };
    if let ["namespaces", namespace, plural, rest @ ..] = rest
        && let Some(kind) = find(plural, true)
    {
        return Some((kind, Some(namespace), rest.to_vec()));
    }
    let [plural, rest @ ..] = rest else { return None };
    find(plural, false).map(|kind| (kind, None, rest.to_vec()))
}

fn verb(parts: &http::request::Parts, body: &[u8], query: &Query, name: &str) -> Result<Verb, Refusal> {
    let selector = || Selector::parse(query.text("fieldSelector"), query.text("labelSelector"));
    let object = || -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| refusal::bad_request(error.to_string()))
    };
    let verb = match (&parts.method, name) {
        (&Method::GET, "") if query.is("watch") => Verb::Watch(watch_options(query, selector())),
        (&Method::GET, "") => Verb::List(selector()),
        (&Method::GET, _) => Verb::Get,
        (&Method::POST, "") => Verb::Create(object()?),
        (&Method::PUT, _) => Verb::Replace(object()?),
        (&Method::DELETE, _) if !name.is_empty() => {
            Verb::Delete(if body.is_empty() { Value::Null } else { object()? })
        }
        (&Method::PATCH, _) => {
            let type_ = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            match type_ {
                Some("application/merge-patch+json") => Verb::Merge(object()?),
                Some("application/apply-patch+yaml") => Verb::Apply(object()?),
                _ => return Err(refusal::bad_request("the model knows no such patch")),
            }
        }
        _ => return Err(refusal::bad_request("the model knows no such request")),
    };
    Ok(verb)
}

fn watch_options(query: &Query, selector: Selector) -> WatchOptions {
    WatchOptions {
        selector,
        from: query.text("resourceVersion").parse().ok().filter(|from| *from > 0),
        initial: query.is("sendInitialEvents"),
        bookmarks: query.is("allowWatchBookmarks"),
        seconds: query.text("timeoutSeconds").parse().ok(),
    }
}

struct Query(BTreeMap<String, String>);

impl Query {
    fn of(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.text(name))
    }
}

/// Spells out an answer.
pub(super) fn spelled(answer: Result<Answer, Refusal>) -> Response<Body> {
    match answer {
        Ok(Answer::Body { code, body }) => response(code, Body::from(body.to_string().into_bytes())),
        Ok(Answer::Watch(lines)) => {
            response(200, Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>)))
        }
        Err(refusal) if refusal.code == 404 && refusal.reason.is_empty() => {
            response(refusal.code, Body::from(format!("{}\n", refusal.message).into_bytes()))
        }
        Err(refusal) => response(refusal.code, Body::from(status(&refusal).to_string().into_bytes())),
    }
}

/// A refusal as a body.
pub(super) fn status(refusal: &Refusal) -> Value {
    let mut body = serde_json::to_value(refusal).expect("a status is JSON");
    body["apiVersion"] = "v1".into();
    body["kind"] = "Status".into();
    body["metadata"] = json!({});
    body
}

fn response(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).expect("a code of HTTP");
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

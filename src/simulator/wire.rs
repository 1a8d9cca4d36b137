//! A request as the handlers see it, a reply as they give it, and what of a request may be kept.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use hyper::body::Bytes;
use serde_json::Value;
use url::form_urlencoded;

use super::refusal::Refusal;
use super::switches::Switches;

/// The media type of every answer, and of every request.
pub(super) const MEDIA_TYPE: &str = "application/json; api-version=1.0";

/// Query names whose values are never kept.
const SECRET_NAMES: [&str; 2] = ["username", "password"];

/// One request, read to its end.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) query: Vec<(String, String)>,
    pub(super) content_type: Option<String>,
    pub(super) host: Option<String>,
    pub(super) token: Option<String>,
    pub(super) body: Bytes,
    /// The farm's endpoint that it came to.
    pub(super) endpoint: usize,
    /// Path and query without secrets.
    pub(super) shown: String,
}

impl Request {
    pub(super) fn new(parts: &Parts, body: Bytes, endpoint: usize) -> Self {
        let header = |name: &str| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let query = parts.uri.query().unwrap_or("");
        Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
                .collect(),
            content_type: header(CONTENT_TYPE.as_str()),
            host: header(HOST.as_str()),
            token: header("auth_token"),
            body,
            endpoint,
            shown: shown(parts.uri.path(), query),
        }
    }

    /// A query value, by its name in lower case.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number of the query.
    pub(super) fn query_int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        let number = text.parse::<i32>().map_err(|_| malformed(name))?;
        Ok(Some(i64::from(number)))
    }

    /// A switch of the query: absent is `false`.
    pub(super) fn query_bool(&self, name: &str) -> Result<bool, Refusal> {
        match self.query(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(malformed(name)),
        }
    }

    /// The body as a JSON object whose names are among `known`.
    pub(super) fn object(
        &self,
        known: &[&str],
        strict: bool,
    ) -> Result<serde_json::Map<String, Value>, Refusal> {
        let Ok(Value::Object(object)) = serde_json::from_slice(&self.body) else {
            return Err(Refusal::Malformed("the body is not a JSON object".to_owned()));
        };
        match object.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if strict => Err(malformed(name)),
            Some(_) | None => Ok(object),
        }
    }

    /// Whether the media type is the API's.
    pub(super) fn has_media_type(&self) -> bool {
        let Some(content_type) = &self.content_type else {
            return false;
        };
        let mut parts = content_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("");
        essence.eq_ignore_ascii_case("application/json")
            && parts.any(|parameter| parameter.eq_ignore_ascii_case("api-version=1.0"))
    }
}

/// The refusal of a field or parameter.
pub(super) fn malformed(name: &str) -> Refusal {
    Refusal::Malformed(format!("`{name}`"))
}

fn shown(path: &str, query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let kept: Vec<String> = pairs.map(without_secret).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

fn without_secret(pair: &str) -> String {
    let name = pair.split('=').next().unwrap_or("");
    let decoded = form_urlencoded::parse(name.as_bytes()).next();
    let is_secret = decoded
        .is_some_and(|(decoded, _)| SECRET_NAMES.iter().any(|secret| decoded.eq_ignore_ascii_case(secret)));
    if is_secret { format!("{name}=***") } else { pair.to_owned() }
}

/// An answer before it is put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: BTreeMap::new(), body: Vec::new() }
    }

    /// An answer with a JSON body.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let mut reply = Self::empty(status);
        reply.body = body.to_string().into_bytes();
        reply.set("content-type", MEDIA_TYPE);
        reply
    }

    /// The answer of a refusal.
    pub(super) fn refusal(refusal: &Refusal, switches: &Switches) -> Self {
        let status = refusal.status(switches);
        match refusal.body(switches) {
            Some(body) => Self::json(status, &body),
            None => Self::empty(status),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

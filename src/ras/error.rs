//! How a call fails, and what a failure means for the one who made it.

use std::time::Duration;

use super::hosts::HostRefusal;
use super::request::Route;

/// A call that failed. `Display` holds the route template, never a URL, and no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to call {route}: {kind}")]
pub struct Error {
    /// The endpoint.
    pub route: Route,
    /// What went wrong.
    pub kind: ErrorKind,
    #[source]
    cause: Option<Cause>,
}

/// What a library below said, already scrubbed. Only its text is kept: the libraries' own errors carry URLs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cause(pub(super) Box<str>);

/// The kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The farm's host may not be called.
    #[error("{0}")]
    HostRefused(HostRefusal),
    /// The request could not be built.
    #[error("the request could not be built")]
    Build,
    /// The host's name has no address.
    #[error("unable to resolve the host name")]
    Resolve,
    /// No connection, or not in time.
    #[error("unable to connect")]
    Connect,
    /// A connection, but no TLS on it.
    #[error("unable to agree on TLS")]
    TlsHandshake,
    /// The server's certificate does not hold.
    #[error("unable to verify the server's certificate: {problem}")]
    TlsVerification {
        /// Lower-case hex SHA-256 of the leaf certificate.
        leaf_sha256: String,
        /// Why it does not hold.
        problem: String,
    },
    /// Sent, or begun to be sent, and not answered in time.
    #[error("no answer within the time limit")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer did")]
    Interrupted,
    /// A redirect: refused, because it would carry the token elsewhere.
    #[error("the farm answered {status}, and redirects are refused")]
    Redirected {
        /// The HTTP status.
        status: u16,
    },
    /// The farm answered with an error status.
    #[error("{0}")]
    Status(Refusal),
    /// A success whose body is larger than any farm's.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The largest body that is read.
        limit: usize,
    },
    /// A success whose body is not what the reference describes.
    #[error("the answer cannot be used: {0}")]
    Malformed(Malformed),
}

/// An error status and what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// How long the farm asks to wait; at most five minutes.
    pub retry_after: Option<Duration>,
    /// `code` of the vendor's second form of error body.
    pub code: Option<i64>,
    /// `detail`, `title` or `msg` of the body: one line, cut to 200 characters, without secrets.
    pub detail: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, retry_after: _, code: _, detail } = self;
        write!(f, "the farm answered {status}")?;
        if let Some(reason) = http::StatusCode::from_u16(*status).ok().and_then(|s| s.canonical_reason()) {
            write!(f, " {reason}")?;
        }
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

/// Why a body cannot be used. It never quotes the body: a token may stand where something else was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON of the expected shape.
    #[error("it is not the expected JSON at line {line}, column {column}")]
    Shape {
        /// From 1.
        line: usize,
        /// From 0.
        column: usize,
    },
    /// A field without which nothing may be concluded.
    #[error("item {item} has no usable `{field}`")]
    Missing {
        /// From 1.
        item: usize,
        /// Name in the JSON.
        field: &'static str,
    },
    /// Two rows with one id.
    #[error("id {0} occurs twice")]
    DuplicateId(i64),
    /// The row of another server or site than the one that a broker was to be made for.
    #[error("it is about another server or site than the one that was asked for")]
    OtherBroker,
    /// Another broker than the one asked for.
    #[error("it is about id {answered}, but {asked} was asked for")]
    OtherId {
        /// In the request.
        asked: i64,
        /// In the answer.
        answered: i64,
    },
}

/// What is known of a failed call's effect on the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was sent: no effect.
    NotSent,
    /// The farm answered that it did not do it.
    Refused,
    /// It may have been done: only the farm's state can tell.
    Unknown,
}

impl Error {
    /// A failure of which no library below had anything to say.
    pub fn new(route: Route, kind: ErrorKind) -> Self {
        Self { route, kind, cause: None }
    }

    pub(super) fn caused(route: Route, kind: ErrorKind, cause: Option<Cause>) -> Self {
        Self { route, kind, cause }
    }

    /// The session is unknown or over; on logon, the credentials are wrong.
    pub fn is_unauthorized(&self) -> bool {
        self.status() == Some(401)
    }

    /// The account lacks the right.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403)
    }

    /// There is no such object. On a list this is no statement about any object.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The farm has such an object already, or it is in a state that forbids the call.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Somebody is editing the object.
    pub fn is_locked(&self) -> bool {
        self.status() == Some(423)
    }

    /// Too many calls: 429, or 503 that says when to come back. The reference does not tell which RAS uses.
    pub fn is_rate_limited(&self) -> bool {
        match self.status() {
            Some(429) => true,
            Some(503) => self.retry_after().is_some(),
            Some(_) | None => false,
        }
    }

    /// How long the farm asks to wait, at most five minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// Whether the server's certificate did not hold.
    pub fn is_tls_verification(&self) -> bool {
        self.leaf_sha256().is_some()
    }

    /// The fingerprint to compare at the server, after a failed verification.
    pub fn leaf_sha256(&self) -> Option<&str> {
        match &self.kind {
            ErrorKind::TlsVerification { leaf_sha256, problem: _ } => Some(leaf_sha256),
            ErrorKind::HostRefused(_)
            | ErrorKind::Build
            | ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::TlsHandshake
            | ErrorKind::Timeout
            | ErrorKind::Interrupted
            | ErrorKind::Redirected { .. }
            | ErrorKind::Status(_)
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Malformed(_) => None,
        }
    }

    /// Whether the host may not be called at all, which only a change of settings can mend.
    pub fn is_host_refused(&self) -> bool {
        matches!(self.kind, ErrorKind::HostRefused(_))
    }

    /// A logon that the farm answered with a refusal of the account, and that its directory may have counted
    /// towards a lock-out: any 4xx except those that speak of the request and not of the account.
    pub fn is_failed_logon(&self) -> bool {
        self.route == Route::Logon
            && self.outcome() == Outcome::Refused
            && !matches!(self.status(), Some(404 | 405 | 413 | 414 | 415 | 421 | 429 | 431))
    }

    /// The HTTP status of an error answer.
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            ErrorKind::Status(refusal) => Some(refusal.status),
            ErrorKind::Redirected { status } => Some(*status),
            ErrorKind::HostRefused(_)
            | ErrorKind::Build
            | ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::TlsHandshake
            | ErrorKind::TlsVerification { .. }
            | ErrorKind::Timeout
            | ErrorKind::Interrupted
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Malformed(_) => None,
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.kind {
            ErrorKind::Status(refusal) => Some(refusal),
            ErrorKind::HostRefused(_)
            | ErrorKind::Build
            | ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::TlsHandshake
            | ErrorKind::TlsVerification { .. }
            | ErrorKind::Timeout
            | ErrorKind::Interrupted
            | ErrorKind::Redirected { .. }
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Malformed(_) => None,
        }
    }

    /// What is known of the call's effect. Where in doubt, `Unknown`.
    pub fn outcome(&self) -> Outcome {
        match &self.kind {
            ErrorKind::HostRefused(_)
            | ErrorKind::Build
            | ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::TlsHandshake
            | ErrorKind::TlsVerification { .. } => Outcome::NotSent,
            ErrorKind::Status(refusal) => refusal.outcome(),
            ErrorKind::Timeout
            | ErrorKind::Interrupted
            | ErrorKind::Redirected { .. }
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Malformed(_) => Outcome::Unknown,
        }
    }

    /// One word from a closed set, for metrics and log fields.
    pub fn reason(&self) -> &'static str {
        match &self.kind {
            ErrorKind::HostRefused(_) => "host_refused",
            ErrorKind::Build => "build",
            ErrorKind::Resolve => "resolve",
            ErrorKind::Connect => "connect",
            ErrorKind::TlsHandshake => "tls_handshake",
            ErrorKind::TlsVerification { .. } => "tls_verification",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Redirected { .. } => "redirected",
            ErrorKind::Status(refusal) => refusal.reason(),
            ErrorKind::TooLarge { .. } => "too_large",
            ErrorKind::Malformed(_) => "malformed",
        }
    }
}

impl Refusal {
    /// A 4xx says that nothing was done, except 408, which says that the server gave up waiting.
    fn outcome(&self) -> Outcome {
        match self.status {
            408 => Outcome::Unknown,
            400..=499 => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }

    fn reason(&self) -> &'static str {
        let other = if self.status < 500 { "refused" } else { "server_error" };
        match self.status {
            400 => "bad_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            408 => "request_timeout",
            409 => "conflict",
            423 => "locked",
            429 => "rate_limited",
            _ => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Error {
        let refusal = Refusal { status, retry_after: None, code: None, detail: None };
        Error::new(Route::CreateBroker, ErrorKind::Status(refusal))
    }

    #[test]
    fn only_an_answered_4xx_but_408_is_a_refusal() {
        for status in [400, 401, 403, 404, 409, 418, 423, 429, 499] {
            assert_eq!(answered(status).outcome(), Outcome::Refused, "{status}");
        }
        for status in [408, 500, 502, 503, 504, 599, 600] {
            assert_eq!(answered(status).outcome(), Outcome::Unknown, "{status}");
        }
    }

    #[test]
    fn each_status_is_told_apart() {
        assert!(answered(401).is_unauthorized() && !answered(403).is_unauthorized());
        assert!(answered(403).is_forbidden() && answered(404).is_not_found());
        assert!(answered(409).is_conflict() && answered(423).is_locked());
        assert!(answered(429).is_rate_limited() && !answered(503).is_rate_limited());
        assert_eq!(answered(418).reason(), "refused");
        assert_eq!(answered(599).reason(), "server_error");
    }

    #[test]
    fn a_503_with_retry_after_is_a_rate_limit_of_unknown_outcome() {
        let refusal =
            Refusal { status: 503, retry_after: Some(Duration::from_secs(3)), code: None, detail: None };
        let error = Error::new(Route::CreateBroker, ErrorKind::Status(refusal));
        assert!(error.is_rate_limited());
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[test]
    fn only_a_refusal_that_may_concern_the_account_is_a_failed_logon() {
        let logon = |status| Error { route: Route::Logon, ..answered(status) };
        for status in [400, 401, 403, 409, 423] {
            assert!(logon(status).is_failed_logon(), "{status}");
            assert!(!answered(status).is_failed_logon(), "{status}");
        }
        for status in [404, 408, 429, 500, 503] {
            assert!(!logon(status).is_failed_logon(), "{status}");
        }
    }

    #[test]
    fn display_tells_the_route_and_the_kind() {
        let refusal = Refusal { status: 409, retry_after: None, code: None, detail: Some("taken".into()) };
        let error = Error::new(Route::GetBroker, ErrorKind::Status(refusal));
        assert_eq!(
            error.to_string(),
            "failed to call GET /api/Broker/{id}: the farm answered 409 Conflict: taken"
        );
    }
}

//! Why a request is refused, and with which status and body under the farm's switches.

use serde_json::{Value, json};

use super::switches::{
    ErrorBody, GetDeleted, LockedStatus, MediaTypeRefusal, PrimaryRefusal, RateLimitStatus, Switches,
    UnknownSite, WrongPassword,
};

/// Everything that the farm says no to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSession,
    WrongPassword,
    WrongMyAccount,
    TooManySessions,
    NotAllowed,
    NotPrimary,
    HostNotAllowed,
    MediaType,
    Malformed(String),
    NoSuchBroker,
    NoSuchSite,
    NoSuchSession,
    NothingMatches,
    /// A row marked for deletion is treated as gone.
    MarkedIsGone,
    MarkedConflict,
    BrokerExists,
    SiteExists,
    UnknownSite,
    PrimaryProtected,
    /// Locked by this person.
    Locked(String),
    /// Over the rate limit, with the seconds that are left.
    RateLimited(i64),
    UnknownPath,
    OtherMethod,
}

impl Refusal {
    /// The status under these switches.
    pub(super) fn status(&self, switches: &Switches) -> u16 {
        match self {
            Self::NoSession => 401,
            Self::WrongPassword => match switches.wrong_password {
                WrongPassword::Status401 => 401,
                WrongPassword::Status400 => 400,
            },
            Self::NotAllowed | Self::NotPrimary => 403,
            Self::HostNotAllowed | Self::WrongMyAccount | Self::Malformed(_) => 400,
            Self::MediaType => match switches.media_type_refusal {
                MediaTypeRefusal::Status415 => 415,
                MediaTypeRefusal::Status400 => 400,
            },
            Self::NoSuchBroker => match switches.get_deleted {
                GetDeleted::Status404 => 404,
                GetDeleted::Status400 => 400,
            },
            Self::NoSuchSite
            | Self::NoSuchSession
            | Self::NothingMatches
            | Self::MarkedIsGone
            | Self::UnknownPath => 404,
            Self::MarkedConflict | Self::BrokerExists | Self::SiteExists => 409,
            Self::UnknownSite => match switches.unknown_site {
                UnknownSite::Status400 => 400,
                UnknownSite::Status404 => 404,
            },
            Self::PrimaryProtected => match switches.primary_refusal {
                PrimaryRefusal::Status400 => 400,
                PrimaryRefusal::Status409 => 409,
                PrimaryRefusal::Status403 => 403,
            },
            Self::Locked(_) => match switches.locked_status {
                LockedStatus::Status423 => 423,
                LockedStatus::Status409 => 409,
                LockedStatus::Status400 => 400,
            },
            Self::RateLimited(_) => match switches.rate_limit_status {
                RateLimitStatus::Status429 => 429,
                RateLimitStatus::Status503 => 503,
            },
            Self::TooManySessions => 503,
            Self::OtherMethod => 405,
        }
    }

    /// The body under these switches; `None` for none.
    pub(super) fn body(&self, switches: &Switches) -> Option<Value> {
        let status = self.status(switches);
        match switches.error_body {
            ErrorBody::Mixed if matches!(status, 401 | 404 | 409) => Some(self.problem_details(status)),
            ErrorBody::Mixed | ErrorBody::CodeMsg => Some(json!({ "code": 0, "msg": self.message() })),
            ErrorBody::Problem => Some(self.problem_details(status)),
            ErrorBody::Empty => None,
        }
    }

    fn problem_details(&self, status: u16) -> Value {
        json!({
            "type": format!("https://httpstatuses.io/{status}"),
            "title": title(status),
            "status": status,
            "detail": self.message(),
            "instance": null,
        })
    }

    /// The sentence for a person.
    pub(super) fn message(&self) -> String {
        match self {
            Self::NoSession => "No session: the token is missing, unknown or expired.",
            Self::WrongPassword | Self::WrongMyAccount => "invalid login or password",
            Self::TooManySessions => "There are too many sessions.",
            Self::NotAllowed => "The administrator lacks the permission.",
            Self::NotPrimary => "This Connection Broker is not the primary.",
            Self::HostNotAllowed => "The host name is not allowed.",
            Self::MediaType => "The media type must be application/json; api-version=1.0.",
            Self::Malformed(what) => return format!("The request is malformed: {what}."),
            Self::NoSuchBroker => "There is no such Connection Broker.",
            Self::NoSuchSite => "There is no such site.",
            Self::NoSuchSession => "There is no such session.",
            Self::NothingMatches => "Nothing matches.",
            Self::MarkedIsGone | Self::MarkedConflict => "The Connection Broker is marked for deletion.",
            Self::BrokerExists => "The site already has a Connection Broker on this server.",
            Self::SiteExists => "There already is a site with this name.",
            Self::UnknownSite => "The farm has no site with this id.",
            Self::PrimaryProtected => "The primary Connection Broker does not allow this.",
            Self::Locked(person) => return format!("The object is locked by {person}."),
            Self::RateLimited(_) => "Too many requests in the current window.",
            Self::UnknownPath => "There is no such path.",
            Self::OtherMethod => "The path does not have this method.",
        }
        .to_owned()
    }
}

fn title(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
}

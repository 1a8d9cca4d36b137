//! What the server answers where it does not do what was asked.

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails, StatusSummary};

use super::kinds::Kind;

/// A refusal, as the client reads it.
pub(crate) type Refusal = Box<Status>;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into() }
    }

    pub(super) fn invalid(field: &str, message: &str) -> Self {
        Self::new(field, "FieldValueInvalid", format!("Invalid value: {message}"))
    }

    fn cause(self) -> StatusCause {
        StatusCause { reason: self.reason.to_owned(), message: self.message, field: self.field }
    }
}

/// The path leads nowhere; the server has no `Status` for that, and the client makes one up.
pub(super) fn no_such_path() -> Refusal {
    refusal(404, "", "404 page not found".to_owned(), None)
}

pub(super) fn not_found(kind: &Kind, name: &str) -> Refusal {
    let details = details(kind, name, &kind.plural);
    refusal(404, "NotFound", format!("{} {name:?} not found", kind.resource()), Some(details))
}

pub(super) fn already_exists(kind: &Kind, name: &str, is_going: bool) -> Refusal {
    let prefix = if is_going { "object is being deleted: " } else { "" };
    let text = format!("{prefix}{} {name:?} already exists", kind.resource());
    refusal(409, "AlreadyExists", text, Some(details(kind, name, &kind.plural)))
}

/// The object is another than the one on which the caller decided.
pub(super) fn outdated(kind: &Kind, name: &str) -> Refusal {
    conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Refusal {
    let text = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource());
    refusal(409, "Conflict", text, Some(details(kind, name, &kind.plural)))
}

/// A deletion that was meant for another object, or another version of it.
pub(super) fn precondition(kind: &Kind, name: &str, field: &str) -> Refusal {
    let why = format!("the {field} in the precondition does not match the {field} in record");
    let text = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.name);
    refusal(409, "Conflict", text, Some(details(kind, name, &kind.name)))
}

/// Fields that other managers own, and that the caller did not force.
pub(super) fn owned_by_others(fields: &[(String, String)]) -> Refusal {
    let causes = fields.iter().map(|(manager, field)| StatusCause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {manager:?}"),
        field: field.clone(),
    });
    let details = StatusDetails { causes: causes.collect(), ..empty() };
    let text = format!("Apply failed with {} conflicts", fields.len());
    refusal(409, "Conflict", text, Some(details))
}

pub(super) fn invalid(kind: &Kind, name: &str, faults: Vec<Fault>) -> Refusal {
    invalid_called(kind, name, &kind.name, faults)
}

/// As [`invalid`], where the server calls the kind by its plural.
pub(super) fn invalid_called(kind: &Kind, name: &str, called: &str, faults: Vec<Fault>) -> Refusal {
    let texts: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    let text = format!("{}.{} {name:?} is invalid: {}", kind.name, kind.group, texts.join(", "));
    let causes = faults.into_iter().map(Fault::cause).collect();
    let details = StatusDetails { causes, ..details(kind, name, called) };
    refusal(422, "Invalid", text, Some(details))
}

/// What the server answers to an apply that its schema does not allow: as if the fault were its own.
pub(super) fn not_appliable(why: &str) -> Refusal {
    refusal(500, "", format!("failed to create typed patch object: {why}"), None)
}

pub(super) fn bad_request(why: impl Into<String>) -> Refusal {
    refusal(400, "BadRequest", why.into(), None)
}

/// Nothing new begins of a kind that goes.
pub(super) fn definition_goes(kind: &Kind, name: &str) -> Refusal {
    let why = "create not allowed while custom resource definition is terminating";
    let text = format!("{} {name:?} is forbidden: {why}", kind.resource());
    refusal(403, "Forbidden", text, Some(details(kind, name, &kind.plural)))
}

/// Nothing new begins in a namespace that ends.
pub(super) fn namespace_ends(kind: &Kind, name: &str, namespace: &str) -> Refusal {
    let text = format!(
        "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
        kind.resource()
    );
    let cause = StatusCause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    let details = StatusDetails { causes: vec![cause], ..details(kind, name, &kind.plural) };
    refusal(403, "Forbidden", text, Some(details))
}

/// The history from which to watch is no longer kept.
pub(super) fn expired(asked: u64, oldest: u64) -> Refusal {
    refusal(410, "Expired", format!("too old resource version: {asked} ({oldest})"), None)
}

fn refusal(code: u16, reason: &str, message: String, details: Option<StatusDetails>) -> Refusal {
    Box::new(Status {
        status: Some(StatusSummary::Failure),
        code,
        message,
        metadata: None,
        reason: reason.to_owned(),
        details,
    })
}

fn details(kind: &Kind, name: &str, called: &str) -> StatusDetails {
    StatusDetails { name: name.to_owned(), group: kind.group.clone(), kind: called.to_owned(), ..empty() }
}

fn empty() -> StatusDetails {
    StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}

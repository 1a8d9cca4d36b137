//! From the HTTP library's error to our kind of error. Its types are looked at, never its text.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use super::error::{Cause, ErrorKind};
use super::hosts::HostRefusal;
use super::secret::Scrubber;
use super::verifier::CertificateRefused;

/// What is kept of a library's text.
const MAX_TEXT: usize = 200;

/// The kind, and the innermost text, scrubbed. The error itself is dropped: it may carry the URL.
pub(super) fn classify(error: reqwest::Error, scrubber: &Scrubber) -> (ErrorKind, Option<Cause>) {
    let error = error.without_url();
    let kind = kind_of(&error, scrubber);
    let cause = match &kind {
        // These say it all themselves.
        ErrorKind::HostRefused(_) | ErrorKind::TlsVerification { .. } => None,
        ErrorKind::Build
        | ErrorKind::Resolve
        | ErrorKind::Connect
        | ErrorKind::TlsHandshake
        | ErrorKind::Timeout
        | ErrorKind::Interrupted
        | ErrorKind::Redirected { .. }
        | ErrorKind::Status(_)
        | ErrorKind::TooLarge { .. }
        | ErrorKind::Malformed(_) => Some(innermost(&error, scrubber)),
    };
    (kind, cause)
}

/// Only what surely happened before the first byte of the request is a kind that means "not sent".
fn kind_of(error: &reqwest::Error, scrubber: &Scrubber) -> ErrorKind {
    if error.is_builder() {
        return ErrorKind::Build;
    }
    if !error.is_connect() {
        return if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Interrupted };
    }
    if let Some(refusal) = find::<HostRefusal>(error) {
        return ErrorKind::HostRefused(refusal.clone());
    }
    match find::<rustls::Error>(error) {
        Some(tls) => tls_kind(tls, scrubber),
        None if error.is_dns() => ErrorKind::Resolve,
        None => ErrorKind::Connect,
    }
}

fn tls_kind(error: &rustls::Error, scrubber: &Scrubber) -> ErrorKind {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return ErrorKind::TlsHandshake;
    };
    let Some(CertificateRefused { leaf_sha256, problem }) = other.0.downcast_ref() else {
        return ErrorKind::TlsHandshake;
    };
    // The names in a certificate are the server's words.
    ErrorKind::TlsVerification { leaf_sha256: leaf_sha256.clone(), problem: scrubber.line(problem, MAX_TEXT) }
}

/// The chain from the outermost error inwards.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

/// An `io::Error` hides the error that it wraps from `source()`.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn innermost(error: &reqwest::Error, scrubber: &Scrubber) -> Cause {
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    Cause(scrubber.line(&text, MAX_TEXT).into())
}

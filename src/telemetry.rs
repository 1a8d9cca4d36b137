//! Logs to standard error, and what happens when something panics.
//!
//! # Guarantees
//!
//! No level and no `RUST_LOG` makes a dependency print what it was handed: the Kubernetes client
//! logs whole response bodies (a Secret among them) when one does not parse, and HTTP and TLS
//! libraries print headers and URLs at their finest levels. [`permitted`] stands beside the
//! user's filter, not inside it, so that no directive can outrank it.
//!
//! A panic ends the process, whatever task it happens in: half an operator that still holds the
//! Lease is worse than none. Its message is logged only if it is a literal of the program's text,
//! since a formatted one may hold anything.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, FromEnvError, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use crate::cli::LogFormat;

/// The exit code of a process that ended by a panic, as the Rust runtime itself uses it.
pub const PANIC_EXIT_CODE: i32 = 101;

/// The first two log whole bodies of answers at WARN, and their headers at TRACE; and each failed call at ERROR, as the
/// third does each try of a watch at WARN. Whoever made the call tells of it, once and in its own words.
const NEVER: [&str; 3] = ["kube_client::client", "kube_client::client::builder", "kube_runtime::watcher"];

/// Libraries that see credentials on the wire, with the finest level that shows none of them.
const CAPPED: [(&str, Level); 11] = [
    // Its spans carry the URL at DEBUG; what is left is about reloaded CA files.
    ("kube_client", Level::INFO),
    ("kube_core", Level::INFO),
    ("reqwest", Level::INFO),
    ("hyper", Level::INFO),
    ("hyper_util", Level::INFO),
    ("hyper_rustls", Level::INFO),
    ("rustls", Level::INFO),
    ("tokio_rustls", Level::INFO),
    ("h2", Level::INFO),
    ("tower", Level::INFO),
    ("tower_http", Level::INFO),
];

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` holds something that is not a list of directives.
    #[error("failed to read the log filter in RUST_LOG")]
    Filter(#[source] FromEnvError),
    /// Another subscriber was installed before.
    #[error("failed to install the log subscriber")]
    Install(#[source] TryInitError),
}

/// Sends logs to standard error, and makes every panic end the process.
///
/// To be called once, before anything is logged.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = user_filter()?.and(filter_fn(is_permitted));
    tracing_subscriber::registry()
        .with(lines(format).with_filter(filter))
        .try_init()
        .map_err(TelemetryError::Install)?;
    std::panic::set_hook(Box::new(die));
    Ok(())
}

/// Whether a record of this target and level may be printed at all.
pub fn permitted(target: &str, level: Level) -> bool {
    if NEVER.contains(&target) {
        return false;
    }
    let root = target.split("::").next().unwrap_or(target);
    CAPPED.iter().filter(|(library, _)| *library == root).all(|(_, finest)| level <= *finest)
}

fn is_permitted(metadata: &Metadata<'_>) -> bool {
    permitted(metadata.target(), *metadata.level())
}

fn user_filter() -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .map_err(TelemetryError::Filter)
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn die(panic: &PanicHookInfo<'_>) {
    let message = literal_message(panic).unwrap_or("(not shown: it may hold data)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(message, location, "the process ends because of a panic");
    std::process::exit(PANIC_EXIT_CODE);
}

/// A message that stands in the program's text; one that was formatted is a `String`.
fn literal_message<'a>(panic: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    panic.payload().downcast_ref::<&'static str>().copied()
}

/// Trouble that may last: it is worth a line when it begins and when it changes, not at each try.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// Whether this was not what was told last.
    pub fn is_news(&mut self, text: &str) -> bool {
        let is_news = self.0.as_deref() != Some(text);
        if is_news {
            self.0 = Some(text.to_owned());
        }
        is_news
    }

    /// The next trouble is news, whatever it is.
    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

/// An error and its causes in one line, for the edge where it is printed once. Libraries that tell the cause in the
/// error itself are not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string);
    causes.fold(
        error.to_string(),
        |text, cause| {
            if text.contains(&cause) { text } else { format!("{text}: {cause}") }
        },
    )
}

#[cfg(test)]
mod tests;

//! The one error of the support code: a sentence for a person, and what lies under it.

use std::{error::Error, fmt};

/// What could not be done; the causes follow as `source`.
#[derive(Debug)]
pub(crate) struct Failure {
    sentence: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }

    /// The sentence and every cause, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.sentence.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Says what was being done when another layer failed.
pub(crate) trait While<T> {
    fn or_failed_to(self, what: &str) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> While<T> for std::result::Result<T, E> {
    fn or_failed_to(self, what: &str) -> Result<T> {
        self.map_err(|error| Failure { sentence: format!("failed to {what}"), source: Some(error.into()) })
    }
}

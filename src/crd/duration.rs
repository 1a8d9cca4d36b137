//! A length of time as users write it in a manifest: `500ms`, `30s`, `1m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Milliseconds in each unit, in the only order in which units may follow each other.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// What the schema accepts. The digits are bounded so that neither CEL's duration nor arithmetic
/// on it can overflow: the longest value is about 73 years.
const PATTERN: &str = "^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$";

/// A length of time in whole milliseconds, written with the units h, m, s and ms, largest first.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(std::time::Duration);

impl Duration {
    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The value for use with timers.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<std::time::Duration> for Duration {
    /// What is finer than a millisecond is cut off, as it cannot be written.
    fn from(value: std::time::Duration) -> Self {
        let whole = value.subsec_millis() * 1_000_000;
        Self(std::time::Duration::new(value.as_secs(), whole))
    }
}

impl From<Duration> for String {
    fn from(value: Duration) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Duration {
    type Error = ParseDurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return formatter.write_str("0s");
        }
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(self.0.subsec_millis()), "ms"),
        ];
        for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(formatter, "{count}{unit}")?;
        }
        Ok(())
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError(text.to_owned());
        let milliseconds = milliseconds(text).ok_or_else(error)?;
        Ok(Self(std::time::Duration::from_millis(milliseconds)))
    }
}

/// A text that is no duration.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("failed to read {0:?} as a duration such as 30s, 1m or 1h30m")]
pub struct ParseDurationError(String);

/// The sum of all parts of the text, or nothing if it is not one or more parts, largest unit first.
fn milliseconds(text: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (count, unit, after) = split_part(rest)?;
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(count.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Splits `1h30m` into 1, `h` and `30m`.
fn split_part(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    Some((count.parse().ok()?, unit, after))
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A pattern cannot say "at least 1s" and let 60000ms and 0h5m pass, hence the rule. It is
        // silent where the pattern already refuses, so that there is one message, not two.
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": 40,
            "pattern": PATTERN,
            "x-kubernetes-validations": [{
                "rule": format!("!self.matches('{PATTERN}') || duration(self) >= duration('1s')"),
                "message": "must be a duration of at least 1s, such as 30s, 1m or 1h30m",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Option<u128> {
        let duration: Option<Duration> = text.parse().ok();
        duration.map(|duration| duration.get().as_millis())
    }

    #[test]
    fn the_written_forms_are_read() {
        let cases = [
            ("500ms", 500),
            ("30s", 30_000),
            ("1m", 60_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1h0m0s", 3_600_000),
            ("0h5m", 300_000),
            ("1h1m1s1ms", 3_661_001),
            ("0s", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let cases = [
            "",
            "1",
            "s",
            "1 s",
            "1.5h",
            "-1s",
            "+1s",
            "30m1h",
            "1s1s",
            "1S",
            "1d",
            "1us",
            "1sms",
            "99999999999999999999s",
            "18446744073709551615h",
            "1m ",
            "١s",
        ];
        for text in cases {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_shortest_form_is_written() {
        let cases = [("60s", "1m"), ("90s", "1m30s"), ("1500ms", "1s500ms"), ("1500m", "25h"), ("0h", "0s")];
        for (text, expected) in cases {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.to_string(), expected);
        }
    }

    #[test]
    fn the_error_shows_the_text_and_how_it_should_be() {
        let error = "soon".parse::<Duration>().unwrap_err();
        assert_eq!(error.to_string(), "failed to read \"soon\" as a duration such as 30s, 1m or 1h30m");
    }

    #[test]
    fn what_is_finer_than_a_millisecond_is_cut_off() {
        let duration = Duration::from(std::time::Duration::from_nanos(1_999_999));
        assert_eq!(duration.to_string(), "1ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0u64..=9_000_000_000_000) {
            let duration = Duration::from(std::time::Duration::from_millis(milliseconds));
            let text = serde_json::to_string(&duration).unwrap();
            prop_assert_eq!(serde_json::from_str::<Duration>(&text).unwrap(), duration);
        }

        /// What the API server lets in must never stop a watch because it cannot be read.
        #[test]
        fn what_the_schema_accepts_is_read(text in PATTERN.trim_matches(['^', '$'])) {
            prop_assert_eq!(text.is_empty(), text.parse::<Duration>().is_err());
        }
    }
}

//! Reads what servers of several versions may write where the reference says integer, boolean or string.
//! `null` and an absent field are the same. No error quotes the value: it may be a secret.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// How many characters of a text are kept. No spec can ask for as long a one, so that what is cut differs from it as the
/// whole does; and all that an object's status may quote of a farm is far below what the API server takes.
const MAX_TEXT: usize = 2_048;

/// A scalar of whatever type was sent.
enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        i64::try_from(value).map(Scalar::Int).map_err(|_| wrong("a number in range"))
    }

    /// Kept as text: a whole number such as `1.0` is read as such, a version such as `20.1` stays what it is.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(value))
    }
}

fn wrong<E: Error>(expected: &'static str) -> E {
    E::invalid_value(Unexpected::Other("another value"), &expected)
}

/// An integer, also written as a string; an empty string is absent.
pub(super) fn int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match deserializer.deserialize_any(ScalarVisitor)? {
        Scalar::Null => Ok(None),
        Scalar::Int(value) => Ok(Some(value)),
        Scalar::Text(text) if text.trim().is_empty() => Ok(None),
        Scalar::Text(text) => text.trim().parse().map(Some).map_err(|_| wrong("an integer")),
        Scalar::Bool(_) => Err(wrong("an integer")),
    }
}

/// A boolean, also as 0 or 1 or as a string; an empty string is absent.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match deserializer.deserialize_any(ScalarVisitor)? {
        Scalar::Null => Ok(None),
        Scalar::Bool(value) => Ok(Some(value)),
        Scalar::Int(0) => Ok(Some(false)),
        Scalar::Int(1) => Ok(Some(true)),
        Scalar::Int(_) => Err(wrong("a boolean")),
        Scalar::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(wrong("a boolean")),
        },
    }
}

/// The beginning of a string, also written as a number or a boolean.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let whole = whole_text(deserializer)?;
    // Not cut in place, which would keep the room that the rest took.
    Ok(whole.map(|text| match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }))
}

/// The same whole: a token is of no use otherwise, and a secret that is cut is not recognised.
pub(super) fn whole_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match deserializer.deserialize_any(ScalarVisitor)? {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Int(value) => Some(value.to_string()),
        Scalar::Text(text) => Some(text),
    })
}

/// An enumeration: a number, `"7"`, the reference's `"7 = Name"`, or the bare name, which is looked up.
/// What is not understood is absent.
pub(super) fn enumeration<'de, D: Deserializer<'de>>(
    deserializer: D,
    number_of: impl Fn(&str) -> Option<i64>,
) -> Result<Option<i64>, D::Error> {
    Ok(match deserializer.deserialize_any(ScalarVisitor)? {
        Scalar::Null | Scalar::Bool(_) => None,
        Scalar::Int(value) => Some(value),
        Scalar::Text(text) => {
            let first = text.split('=').next().unwrap_or_default().trim();
            first.parse().ok().or_else(|| number_of(first))
        }
    })
}

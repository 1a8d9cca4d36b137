//! How RAS promotes brokers of a site by itself.
//!
//! # Assumptions
//! The page "Broker Promotion" of the vendor's reference is in no public copy; the administrator's guide tells what
//! there is to set ("Managing Connection Brokers": on or off, after 15 minutes to 72 hours, failback), and not how it
//! is called on the wire. The three names below are guesses, and this is their one place. They do no harm where they
//! are wrong: a setting that an answer does not show is never sent.

use serde::{Deserialize, Serialize};

use super::lenient;

/// What an answer shows, or what a change sends; a setting that is `None` is not shown, or not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionSettings {
    /// Whether RAS promotes by itself at all.
    #[serde(
        rename = "enabled",
        default,
        deserialize_with = "lenient::flag",
        skip_serializing_if = "Option::is_none"
    )]
    pub enabled: Option<bool>,
    /// For how many minutes the primary must have been away.
    #[serde(
        rename = "afterMinutes",
        default,
        deserialize_with = "lenient::int",
        skip_serializing_if = "Option::is_none"
    )]
    pub after_minutes: Option<i64>,
    /// Whether the former primary becomes the primary again when it is back.
    #[serde(
        rename = "failback",
        default,
        deserialize_with = "lenient::flag",
        skip_serializing_if = "Option::is_none"
    )]
    pub failback: Option<bool>,
}

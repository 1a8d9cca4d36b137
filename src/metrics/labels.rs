//! The values that labels may have: closed, so that no series appears that nobody expected.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A farm as `namespace/name`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FarmName(Arc<str>);

impl FarmName {
    /// The name of the `RasFarm` `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }
}

impl fmt::Display for FarmName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl EncodeLabelValue for FarmName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(&self.0)
    }
}

/// How a request to a farm was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// With this HTTP status.
    Status(u16),
    /// Not at all, or unusably, for this reason: one of a closed set, never an error's text.
    Failed(&'static str),
}

impl Code {
    /// An answer with this status; those that nobody has registered are one.
    pub fn of(status: u16) -> Self {
        let is_registered = StatusCode::from_u16(status).is_ok_and(|code| code.canonical_reason().is_some());
        if is_registered { Self::Status(status) } else { Self::Failed("unregistered_status") }
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Status(status) => write!(encoder, "{status}"),
            Self::Failed(reason) => encoder.write_str(reason),
        }
    }
}

/// An enum that is a label value, with the text of each variant.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The text that the label shows.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                encoder.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// Which controller reconciled.
    Controller {
        /// The controller of `RasBroker` objects.
        Broker => "broker",
        /// The controller of `RasBrokerPromotion` objects.
        Promotion => "promotion",
    }
}

label! {
    /// How a reconcile ended.
    ReconcileOutcome {
        /// As planned, whether or not something had to be written.
        Success => "success",
        /// With an error.
        Error => "error",
    }
}

label! {
    /// How an Apply ended.
    ApplyOutcome {
        /// The farm answered that it is done.
        Success => "success",
        /// The farm answered that it will not.
        Refused => "refused",
        /// No usable answer came: it may have happened.
        Unknown => "unknown",
        /// It never reached the farm.
        NotSent => "not_sent",
    }
}

label! {
    /// What was written to the API server.
    Resource {
        /// The metadata of a `RasFarm`.
        Farms => "rasfarms",
        /// The status of a `RasFarm`.
        FarmsStatus => "rasfarms/status",
        /// The metadata of a `RasBroker`.
        Brokers => "rasbrokers",
        /// The status of a `RasBroker`.
        BrokersStatus => "rasbrokers/status",
        /// The status of a `RasBrokerPromotion`.
        PromotionsStatus => "rasbrokerpromotions/status",
        /// An Event.
        Events => "events",
    }
}

label! {
    /// How something was written to the API server.
    Verb {
        /// A new object.
        Create => "create",
        /// A change of an object.
        Patch => "patch",
    }
}

label! {
    /// How a write to the API server ended.
    WriteOutcome {
        /// It was stored.
        Success => "success",
        /// The object had changed meanwhile.
        Conflict => "conflict",
        /// The server refused it for another reason.
        Refused => "refused",
        /// No answer came: it may have been stored.
        Unknown => "unknown",
    }
}

//! The Kubernetes objects: what a user writes (`spec`), what the operator answers (`status`),
//! and the schema by which the API server judges both. No I/O except writing the generated
//! manifests; everything else in the crate reads these types.

#![allow(clippy::doc_markdown, reason = "`kubectl explain` prints the docs of the types as plain text")]
#![allow(clippy::duplicated_attributes, reason = "two printer columns may have the same type")]
#![allow(
    unreachable_pub,
    reason = "the derived schema holds a copy of the struct, with its `pub`, in a function"
)]

pub mod annotation;
mod broker;
mod broker_status;
pub mod condition;
mod duration;
mod farm;
mod farm_api;
mod farm_sites;
mod farm_status;
pub mod finalizer;
mod manifest;
mod promotion;
mod reference;
mod schema;
mod tls;

pub use broker::{
    AdoptionPolicy, DeletionPolicy, FarmRef, Install, ManagementPolicy, RasBroker, RasBrokerSpec, Uninstall,
};
pub use broker_status::{AgentStatus, Drift, ObservedBroker, Origin, RasBrokerStatus, Role};
pub use duration::{Duration, ParseDurationError};
pub use farm::{Apply, ApplyMode, DeletionProtection, RasFarm, RasFarmSpec, RateLimit};
pub use farm_api::{Api, ApiCall, ApiMethod, MoveCall, MoveForm, Separator};
pub use farm_sites::{AutoPromotion, SiteSettings};
pub use farm_status::{
    BrokerCounts, Capability, FailedLogons, ObservedAutoPromotion, PendingApply, RasFarmStatus, SiteStatus,
};
pub use manifest::{ManifestError, crds, write, yaml};
pub use promotion::{
    BrokerRef, PromotionAttempt, PromotionPhase, RasBrokerPromotion, RasBrokerPromotionSpec,
    RasBrokerPromotionStatus,
};
pub use reference::SecretRef;
pub use tls::{CaRef, CaRefKind, Tls};

/// The API group of every kind.
pub const GROUP: &str = "ras-operator.dev";

/// `observedGeneration` of a status that no operator has written yet: older than any generation,
/// so that a waiting `kubectl wait` or GitOps tool never takes it for an answer.
pub const NEVER_OBSERVED: i64 = -1;

/// For serde: the `observedGeneration` of a status without one.
const fn never_observed() -> i64 {
    NEVER_OBSERVED
}

/// For serde: leaves a value out that equals its default.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

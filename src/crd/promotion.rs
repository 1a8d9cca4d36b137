//! `RasBrokerPromotion`: one request to make a broker the primary of its site. It runs at most once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NEVER_OBSERVED, SecretRef, never_observed, schema};

/// One request to make a broker the primary of its site. It runs at most once, and cannot be changed:
/// for another try, create another object.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "ras-operator.dev",
    version = "v1alpha1",
    kind = "RasBrokerPromotion",
    plural = "rasbrokerpromotions",
    namespaced,
    status = "RasBrokerPromotionStatus",
    derive = "PartialEq",
    shortname = "rasp",
    category = "ras",
    selectable = ".spec.brokerRef.name",
    doc = "One request to make a Connection Broker of a Parallels RAS farm the primary of its site. It runs at most once.",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Pending, Promoting, Applying, Succeeded or Failed"
    ),
    printcolumn(
        name = "Broker",
        type_ = "string",
        json_path = ".spec.brokerRef.name",
        description = "The RasBroker that is to be the primary"
    ),
    printcolumn(
        name = "Previous",
        type_ = "string",
        json_path = ".status.previousPrimary",
        description = "Server of the primary before"
    ),
    printcolumn(
        name = "Primary",
        type_ = "string",
        json_path = ".status.newPrimary",
        description = "Server of the primary since"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the request is where it is"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "What is going on, and what to do next"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable: a promotion runs at most once; create another RasBrokerPromotion"))]
pub struct RasBrokerPromotionSpec {
    /// The RasBroker that is to be the primary of its site.
    pub broker_ref: BrokerRef,

    /// The Secret, in this namespace, with the Parallels My Account that RAS asks for: its keys
    /// email and password. It is read right before the promotion and sent to the farm once.
    pub account_secret_ref: SecretRef,

    /// Server of the broker that is the primary now. If another one is when the promotion is about
    /// to start, it fails and nothing is sent.
    #[schemars(schema_with = "schema::address")]
    pub expected_primary: String,

    /// The promotion never starts after this time, such as 2026-03-01T18:00:00Z. With it, a
    /// manifest that is kept and applied again later cannot promote again.
    #[schemars(schema_with = "schema::time")]
    pub not_after: String,
}

/// Names a RasBroker in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerRef {
    /// Name of the RasBroker, in the namespace of this object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// What became of the request. It is written by the operator only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RasBrokerPromotionStatus {
    /// Where the request is. Pending: nothing was sent. Promoting: the promotion was sent, or is
    /// about to be, and is never sent again. Applying: the broker is the primary, and changes are
    /// being applied. Succeeded and Failed are final. Unset: not looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<PromotionPhase>")]
    pub phase: Option<PromotionPhase>,

    /// When the promotion was sent to the farm. Unset: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the request came to its end. Unset: it has not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Server of the primary when the promotion was sent. Unset: nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_primary: Option<String>,

    /// Server of the primary when the request had succeeded. Unset: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_primary: Option<String>,

    /// What was sent, written down before: the outcome is looked for by it. Unset: nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<PromotionAttempt>,

    /// The metadata.generation that this status answers; -1 before the operator has looked.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,

    /// What is the case with this request: Ready; Reconciling while it goes on; Complete once it has
    /// succeeded; Failed and Stalled once it has failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl Default for RasBrokerPromotionStatus {
    fn default() -> Self {
        Self {
            phase: None,
            start_time: None,
            completion_time: None,
            previous_primary: None,
            new_primary: None,
            attempt: None,
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
        }
    }
}

/// Where a request is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromotionPhase {
    /// Nothing was sent.
    Pending,
    /// The promotion was sent, or is about to be.
    Promoting,
    /// The broker is the primary; changes are being applied.
    Applying,
    /// The broker is the primary.
    Succeeded,
    /// The request has come to its end without the broker being made the primary.
    Failed,
}

impl PromotionPhase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Pending | Self::Promoting | Self::Applying => false,
        }
    }
}

/// One promotion as it was sent: no secret, and enough to find its outcome.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct PromotionAttempt {
    /// Name of the RasFarm.
    pub farm: String,

    /// Identity of the farm in which id counts.
    #[serde(rename = "farmGUID")]
    pub farm_guid: String,

    /// Id of the site of the broker.
    pub site_id: i64,

    /// Id of the broker in the farm.
    pub id: i64,

    /// Server of the broker as the farm spells it.
    pub server: String,
}

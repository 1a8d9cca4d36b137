//! What the operator says about a broker.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NEVER_OBSERVED, never_observed, schema};

/// What the operator sees of the broker and does about it. It is written by the operator only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RasBrokerStatus {
    /// Id of the broker in the farm. Unset: no broker of the farm belongs to this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,

    /// Place of the broker in the order of its site; 0 is the primary. Unset: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,

    /// Whether the broker is marked for deletion in the farm, which the next Apply then carries
    /// out. Unset: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked_for_deletion: Option<bool>,

    /// The metadata.generation that this status answers; -1 before the operator has looked.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,

    /// How the broker came to belong to this object: Created or Adopted. Unset: it does not, so
    /// nothing is changed or deleted in the farm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<Origin>")]
    pub origin: Option<Origin>,

    /// Primary (priority 0) or Secondary. Unset: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<Role>")]
    pub role: Option<Role>,

    /// Id of the site to which the broker belongs; once recorded it wins over every default. Unset:
    /// not resolved yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<i64>,

    /// Identity of the farm in which id counts: its GUID, or uid: and the uid of the RasFarm where
    /// the farm gives none. Unset: not known yet.
    #[serde(default, rename = "farmGUID", skip_serializing_if = "Option::is_none")]
    pub farm_guid: Option<String>,

    /// The broker as the farm last showed it. Unset: it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedBroker>,

    /// The broker's agent as the farm last showed it. Unset: the farm shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,

    /// Fields in which the farm differs from spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,

    /// Value of the last answered annotation ras-operator.dev/reconcile-requested-at or
    /// reconcile.fluxcd.io/requestedAt. Unset: none was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// What is the case with this broker: Ready and Synced; and, only while they are true,
    /// Reconciling, Stalled, Drifted and DeletionHeld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl Default for RasBrokerStatus {
    fn default() -> Self {
        Self {
            id: None,
            priority: None,
            marked_for_deletion: None,
            observed_generation: NEVER_OBSERVED,
            origin: None,
            role: None,
            site_id: None,
            farm_guid: None,
            observed: None,
            agent: None,
            drift: Vec::new(),
            last_handled_reconcile_at: None,
            conditions: Vec::new(),
        }
    }
}

/// How a broker came to belong to its object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator created it in the farm.
    Created,
    /// It was in the farm already and was taken over.
    Adopted,
}

/// The part that a broker plays in its site.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one with priority 0.
    Primary,
    /// Any other.
    Secondary,
}

/// A broker as the farm shows it. What the farm does not say is unset.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObservedBroker {
    /// Server on which the broker runs, as the farm spells it.
    pub server: String,

    /// Id of the site to which the broker belongs.
    pub site_id: i64,

    /// Whether the broker takes part in the farm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Whether the broker stays idle until another one goes offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,

    /// Description of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// Address over which the brokers of a site talk to each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,

    /// Further addresses at which gateways may find the broker.
    #[serde(default, rename = "alternativeIPs", skip_serializing_if = "Option::is_none")]
    pub alternative_ips: Option<Vec<String>>,

    /// When the broker was created, as the farm writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_create: Option<String>,

    /// The account that created the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_create: Option<String>,

    /// When the broker was last changed, as the farm writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_last_mod: Option<String>,

    /// The account that last changed the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_last_mod: Option<String>,
}

/// The agent of a broker as the farm shows it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// State of the agent by its name in RAS, such as OK or Disconnected; the number where the
    /// name is not known.
    pub state: String,

    /// Version of the agent. Unset: the farm does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One field in which the farm differs from spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Name of the field in spec.
    pub field: String,

    /// The value that spec asks for.
    pub desired: String,

    /// The value that the farm has.
    pub observed: String,

    /// When the difference was first seen.
    pub since: Time,

    /// The account that last changed the broker in the farm. Unset: the farm does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

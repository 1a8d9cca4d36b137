//! What the operator says about a farm.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Drift, NEVER_OBSERVED, never_observed, schema};

/// What the operator sees of the farm. It is written by the operator only, at most once in 5s.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RasFarmStatus {
    /// What is the case with this farm: Ready, Reachable and Authenticated; and, only while they
    /// are true, Reconciling, Stalled, Drifted, InsecureTransport and
    /// AutoPromotionImpaired. Synced is there where spec.sites manages something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The metadata.generation that this status answers; -1 before the operator has looked.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,

    /// Name that the farm gives itself. Unset: not seen yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farm_name: Option<String>,

    /// Identity of the farm: the GUID from its logon answer, or uid: and the uid of this object
    /// where the farm gives none. While the farm shows another one, nothing is written to it. Unset:
    /// not seen yet.
    #[serde(default, rename = "farmGUID", skip_serializing_if = "Option::is_none")]
    pub farm_guid: Option<String>,

    /// The operator's RAS account as the farm spells it in the brokers that this account made.
    /// Unset: no broker was created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,

    /// Server that answered the last logon. Unset: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_server: Option<String>,

    /// Whether that server is the primary broker; only then brokers are written. Unset: the farm
    /// does not say, which counts as the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_connection: Option<bool>,

    /// The farm's sites, at most 128: those of spec.sites, then the others by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteStatus>,

    /// Numbers of brokers. Unset: no list was read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<BrokerCounts>,

    /// Calls that not every farm answers and this one is known to answer: Agents, Apply, Priority,
    /// Promote, Status, PromotionSettings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,

    /// Logons that the farm refused since the credentials last changed. They are limited, because
    /// they may lock the account. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_logons: Option<FailedLogons>,

    /// Changes of this operator that are written to the farm and not yet applied. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_apply: Option<PendingApply>,

    /// Value of the last answered annotation ras-operator.dev/reconcile-requested-at or
    /// reconcile.fluxcd.io/requestedAt. Unset: none was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Value of the last answered annotation ras-operator.dev/apply-requested-at. Unset: none was
    /// answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_apply_at: Option<String>,
}

impl Default for RasFarmStatus {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            observed_generation: NEVER_OBSERVED,
            farm_name: None,
            farm_guid: None,
            account: None,
            connected_server: None,
            primary_connection: None,
            sites: Vec::new(),
            brokers: None,
            capabilities: Vec::new(),
            failed_logons: None,
            pending_apply: None,
            last_handled_reconcile_at: None,
            last_handled_apply_at: None,
        }
    }
}

/// One site of the farm.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SiteStatus {
    /// Id of the site.
    pub id: i64,

    /// Name of the site. Unset: the farm gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Whether the farm's licensing server is in this site.
    pub licensing: bool,

    /// Server of the site's primary broker. Unset: no primary was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,

    /// Number of brokers in this site, whoever made them.
    pub brokers: i64,

    /// The settings of automatic promotion as the farm last showed them. Unset: spec.sites manages
    /// none of them, or they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_promotion: Option<ObservedAutoPromotion>,

    /// Settings in which the farm was changed outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
}

/// How RAS promotes brokers of a site by itself. What the farm does not say is unset.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObservedAutoPromotion {
    /// Whether RAS does so at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// For how long the primary must have been away, such as 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,

    /// Whether the former primary becomes the primary again when it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<bool>,
}

/// Numbers of brokers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerCounts {
    /// Brokers on the farm, whoever made them.
    pub total: i64,

    /// Brokers that a RasBroker object keeps.
    pub managed: i64,

    /// Managed brokers that are Ready.
    pub ready: i64,

    /// Managed brokers that differ from their object.
    pub drifted: i64,
}

/// A call that not every farm answers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// The list of agents can be read.
    Agents,
    /// Pending settings can be applied.
    Apply,
    /// Priorities can be changed.
    Priority,
    /// A broker can be made the primary.
    Promote,
    /// The brokers' status can be read.
    Status,
    /// The settings of automatic promotion can be read and written.
    PromotionSettings,
}

/// Logons that the farm refused.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FailedLogons {
    /// The resourceVersion of the Secret whose credentials were refused.
    pub secret_version: String,

    /// How many logons with these credentials were refused.
    pub count: i64,

    /// Time of the last refused logon.
    pub last: Time,
}

/// Changes that are written to the farm and not yet applied.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct PendingApply {
    /// Time of the first of these changes, or when a restarted operator found them.
    pub since: Time,

    /// Number of brokers that these changes concern.
    pub brokers: i64,
}

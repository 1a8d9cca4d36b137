//! Settings of a farm's sites that a `RasFarm` may keep.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, is_default, schema};

/// What is kept of one site of the farm.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.id) != has(self.name)").message("set exactly one of id and name"))]
pub struct SiteSettings {
    /// Id of the site, 1 to 2147483647. Unset: name counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub id: Option<i64>,

    /// Name of the site, 1 to 255 characters. It is compared exactly, upper and lower case included.
    /// Unset: id counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,

    /// How RAS makes another broker of the site the primary by itself. Unset: not managed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub auto_promotion: AutoPromotion,
}

/// How RAS makes another broker of a site the primary by itself, when the primary has been away for
/// a while. A field that is not set is not managed: it is neither written nor compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AutoPromotion {
    /// Whether RAS does so at all. It needs three active brokers in the site. Unset: not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// For how long the primary must have been away: a duration from 15m to 72h in hours and
    /// minutes, such as 30m or 1h30m. Unset: not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::promotion_delay")]
    pub after: Option<Duration>,

    /// Whether the former primary becomes the primary again when it is back. Unset: not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<bool>,
}

//! `RasBroker`: one Connection Broker as it should be.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RasBrokerStatus, SecretRef, schema};

/// One Connection Broker as it should be. A field that is not set is not managed: it is neither
/// written nor compared.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "ras-operator.dev",
    version = "v1alpha1",
    kind = "RasBroker",
    plural = "rasbrokers",
    namespaced,
    status = "RasBrokerStatus",
    derive = "PartialEq",
    shortname = "rasb",
    category = "ras",
    selectable = ".spec.farmRef.name",
    selectable = ".spec.server",
    doc = "One Connection Broker of one Parallels RAS farm in the same namespace.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the broker is as it should be, applied, and its agent healthy"
    ),
    printcolumn(
        name = "ID",
        type_ = "integer",
        json_path = ".status.id",
        description = "Id of the broker in the farm"
    ),
    printcolumn(
        name = "Server",
        type_ = "string",
        json_path = ".spec.server",
        description = "Server on which the broker runs"
    ),
    printcolumn(
        name = "Role",
        type_ = "string",
        json_path = ".status.role",
        description = "Primary or Secondary"
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".status.priority",
        description = "Place in the site's order; 0 is the primary"
    ),
    printcolumn(
        name = "Enabled",
        type_ = "boolean",
        json_path = ".status.observed.enabled",
        description = "Whether the farm has the broker enabled"
    ),
    printcolumn(
        name = "Farm",
        type_ = "string",
        json_path = ".spec.farmRef.name",
        description = "The RasFarm to which the broker belongs"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the broker is ready or not"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created"
    ),
    printcolumn(
        name = "Synced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Synced\")].status",
        priority = 1,
        description = "Whether every set field is in the farm and applied"
    ),
    printcolumn(
        name = "Standby",
        type_ = "boolean",
        json_path = ".status.observed.standby",
        priority = 1,
        description = "Whether the farm has the broker in standby"
    ),
    printcolumn(
        name = "Marked",
        type_ = "boolean",
        json_path = ".status.markedForDeletion",
        priority = 1,
        description = "Whether the broker is marked for deletion in the farm"
    ),
    printcolumn(
        name = "Agent",
        type_ = "string",
        json_path = ".status.agent.state",
        priority = 1,
        description = "State of the broker's agent"
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
#[x_kube(validation = Rule::new("!has(oldSelf.siteId) || (has(self.siteId) && self.siteId == oldSelf.siteId)").message("siteId is immutable: it may be added once, and neither changed nor removed").field_path(".siteId"))]
#[x_kube(validation = Rule::new("!has(oldSelf.siteName) || (has(self.siteName) && self.siteName == oldSelf.siteName)").message("siteName is immutable: it may be added once, and neither changed nor removed").field_path(".siteName"))]
#[x_kube(validation = Rule::new("!(has(self.siteId) && has(self.siteName))").message("set only one of siteId and siteName"))]
pub struct RasBrokerSpec {
    /// The RasFarm to which the broker belongs. Immutable.
    pub farm_ref: FarmRef,

    /// Server on which the broker runs: a host name (fully qualified or NetBIOS) or an IP address,
    /// at most 253 characters. Upper and lower case make no difference to the farm. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("server is immutable"))]
    #[schemars(schema_with = "schema::address")]
    pub server: String,

    /// Id of the farm's site to which the broker belongs, 1 to 2147483647. It may be added once,
    /// and then neither changed nor removed; one that contradicts status.siteId makes the broker
    /// Stalled. Unset: siteName, else siteId or siteName of the RasFarm, else the site of the farm's
    /// licensing server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub site_id: Option<i64>,

    /// Name of that site, instead of siteId, 1 to 255 characters. It is compared exactly, upper and
    /// lower case included, and looked up once; from then on status.siteId counts, also if the site
    /// is renamed. It may be added once, and then neither changed nor removed; the name of another
    /// site than status.siteId makes the broker Stalled. Unset: siteId counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub site_name: Option<String>,

    /// Whether the broker takes part in the farm. The primary cannot be disabled. Unset: not
    /// managed; a new broker is as RAS makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Description of the broker in the farm, at most 1024 characters. An empty text removes it.
    /// Unset: not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// IPv4 or IPv6 address over which the brokers of a site talk to each other. Unset: not
    /// managed; RAS resolves it from server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ip_address")]
    pub ip: Option<String>,

    /// Further addresses at which gateways may find the broker, at most 32: IP addresses or host
    /// names, each once, in any order. An empty list removes all. Unset: not managed.
    #[serde(default, rename = "alternativeIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::alternative_addresses")]
    pub alternative_ips: Option<Vec<String>>,

    /// Whether the broker stays idle until another one goes offline; for secondaries only. Unset:
    /// not managed; RAS puts a fourth broker of a site in standby by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,

    /// Order among the site's secondaries, 1 to 2147483647: those that state a priority come right
    /// after the primary, the lowest first and equal ones by server, and then the others as they
    /// are. It says nothing of the primary. Unset: not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub priority: Option<i64>,

    /// What RAS does on the server when the broker is created; a later change has no effect. Unset:
    /// nothing, so the agent must be installed by other means.
    #[serde(default)]
    pub install: Install,

    /// What RAS does on the server when the broker is deleted. Unset: nothing, so the agent stays
    /// installed.
    #[serde(default)]
    pub uninstall: Uninstall,

    /// What happens if the farm already has a broker for this server. Never leaves it alone, and
    /// this object is Stalled. IfExists takes it over if there is one, and otherwise creates it.
    /// Required takes it over and never creates one. Unset: Never.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// What happens to the broker in the farm when this object is deleted. Delete removes it.
    /// Orphan leaves it as it is. Unset: Delete for a broker that this object created, Orphan for
    /// one that it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<DeletionPolicy>")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Managed keeps the broker as this object says. ObserveOnly reports what the farm has and
    /// never writes to it; switching to it gives up the broker as Orphan does. Unset: Managed.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// Stops every write to the farm for this broker, its deletion included, while it is true.
    /// Unset: false.
    #[serde(default)]
    pub suspend: bool,
}

/// Names a RasFarm in the same namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq, Hash)]
pub struct FarmRef {
    /// Name of the RasFarm, in the namespace of this object. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("farmRef.name is immutable"))]
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// What RAS does on the server when a broker is created.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Whether RAS installs its agent on the server, which can take minutes. Unset: false.
    #[serde(default)]
    pub agent: bool,

    /// Whether RAS may restart the Windows server if the installation needs it. Unset: false.
    #[serde(default)]
    pub restart: bool,

    /// Whether RAS adds the rules that the agent needs to the server's firewall. Unset: false.
    #[serde(default)]
    pub firewall_rules: bool,

    /// The Secret, in this namespace, with the account that may install on the server: its keys
    /// username and password. Unset: the account of the RasFarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// What RAS does on the server when a broker is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Uninstall {
    /// Whether RAS removes its agent from the server. Unset: false.
    #[serde(default)]
    pub agent: bool,

    /// The Secret, in this namespace, with the account that may uninstall on the server: its keys
    /// username and password. Unset: the account of the RasFarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// What happens if the farm already has a broker for the server.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdoptionPolicy {
    /// It is left alone.
    #[default]
    Never,
    /// It is taken over; without one, it is created.
    IfExists,
    /// It is taken over; without one, nothing is created.
    Required,
}

/// What happens to the broker in the farm when its object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted too.
    Delete,
    /// It is left as it is.
    Orphan,
}

/// Whether the operator writes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagementPolicy {
    /// The broker is kept as its object says.
    #[default]
    Managed,
    /// The broker is only reported on.
    ObserveOnly,
}

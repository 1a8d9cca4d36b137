//! `RasFarm`: how one farm is reached, and the limits within which it may be changed.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Api, Duration, RasFarmStatus, SecretRef, SiteSettings, Tls, is_default, schema};

/// How one Parallels RAS farm is reached, and within which limits its brokers may be changed.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "ras-operator.dev",
    version = "v1alpha1",
    kind = "RasFarm",
    plural = "rasfarms",
    namespaced,
    status = "RasFarmStatus",
    derive = "PartialEq",
    shortname = "rasf",
    category = "ras",
    doc = "One Parallels RAS farm: how the operator reaches it, and what it sees of it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the farm is reachable and takes changes"
    ),
    printcolumn(
        name = "Farm",
        type_ = "string",
        json_path = ".status.farmName",
        description = "Name that the farm gives itself"
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.endpoint",
        description = "URL of the farm's REST API"
    ),
    printcolumn(
        name = "Brokers",
        type_ = "integer",
        json_path = ".status.brokers.total",
        description = "Brokers on the farm, whoever made them"
    ),
    printcolumn(
        name = "Managed",
        type_ = "integer",
        json_path = ".status.brokers.managed",
        description = "Brokers kept by this operator"
    ),
    printcolumn(
        name = "Drifted",
        type_ = "integer",
        json_path = ".status.brokers.drifted",
        description = "Managed brokers that differ from their object"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the farm is ready or not"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the object was created"
    ),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].status",
        priority = 1,
        description = "Whether an endpoint answers"
    ),
    printcolumn(
        name = "Authenticated",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Authenticated\")].status",
        priority = 1,
        description = "Whether the farm takes the credentials"
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
#[x_kube(validation = Rule::new("!has(self.fallbackEndpoints) || !self.fallbackEndpoints.exists(e, e.lowerAscii() == self.endpoint.lowerAscii())").message("fallbackEndpoints must not repeat endpoint").field_path(".fallbackEndpoints"))]
#[x_kube(validation = Rule::new("!(has(self.siteId) && has(self.siteName))").message("set only one of siteId and siteName"))]
#[x_kube(validation = Rule::new("!has(self.sites) || self.sites.all(a, self.sites.exists_one(b, has(a.id) ? has(b.id) && a.id == b.id : has(b.name) && a.name == b.name))").message("sites must not name a site twice").field_path(".sites"))]
pub struct RasFarmSpec {
    /// URL of the farm's REST API: https://host or https://host:port, where the host is a name or
    /// an IP address (IPv6 in brackets), without user, path or query. Without a port it is 20443.
    #[schemars(schema_with = "schema::https_origin")]
    pub endpoint: String,

    /// Further URLs of the same farm, at most 4, written like endpoint; they are tried in this
    /// order while endpoint does not answer, with the same credentials and TLS rules. Empty or
    /// unset: there is only endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::fallback_origins")]
    pub fallback_endpoints: Vec<String>,

    /// The Secret, in this namespace, with the RAS administrator's account: its keys username and
    /// password. The account should be used by this operator alone, because brokers that it made
    /// are recognised by it.
    pub credentials_secret_ref: SecretRef,

    /// How the certificate of endpoint and fallbackEndpoints is verified. Unset: by the authorities
    /// of the operator's system and the host name in the URL.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,

    /// Id of the site, 1 to 2147483647, to which brokers belong that name none. Unset: the site of
    /// the farm's licensing server. A change does not move brokers whose site is already recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub site_id: Option<i64>,

    /// Name of that site, instead of siteId, 1 to 255 characters. It is compared exactly, upper and
    /// lower case included, and looked up in the farm; brokers record the id that it leads to.
    /// Unset: siteId counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub site_name: Option<String>,

    /// Settings of the farm's sites that are kept as they are given here, each site once, at most
    /// 64. A site that is not named, and a setting that is not set, is left as it is. Empty or
    /// unset: none is managed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub sites: Vec<SiteSettings>,

    /// How often the farm's lists of brokers and agents are read: a duration of at least 1s, such
    /// as 30s, 1m or 1h30m. Unset: 1m.
    #[serde(default = "one_minute")]
    pub resync_period: Duration,

    /// How long one call to the farm may take before it is given up: a duration of at least 1s; no
    /// more than 10m counts. For calls that install or remove an agent see installTimeout. Unset:
    /// 30s.
    #[serde(default = "thirty_seconds")]
    pub request_timeout: Duration,

    /// The same for a call that installs an agent on its server (install.agent) or removes it from
    /// there (uninstall.agent), which can take minutes: a duration of at least 1s; no more than 2h
    /// counts, and where it is shorter than requestTimeout, that one does. Unset: 15m.
    #[serde(default = "fifteen_minutes")]
    pub install_timeout: Duration,

    /// How many calls are sent to the farm at most. Unset: 25 calls in 10s.
    #[serde(default)]
    pub rate_limit: RateLimit,

    /// When changes are made effective. Apply is farm-wide: it also commits what other
    /// administrators have left pending. Unset: mode Guarded.
    #[serde(default)]
    pub apply: Apply,

    /// How many brokers may be deleted within a time before deletions are held until a person
    /// allows them. Unset: 2 within 10m.
    #[serde(default)]
    pub deletion_protection: DeletionProtection,

    /// Stops every write to this farm, for all of its brokers, while it is true; the farm is still
    /// read. Unset: false.
    #[serde(default)]
    pub suspend: bool,

    /// Parts of the farm's REST API that differ between versions or are not published. Unset: what
    /// is known of RAS 19 to 21.
    #[serde(default, skip_serializing_if = "is_default")]
    pub api: Api,
}

/// How many calls are sent to the farm at most.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Number of calls allowed within window, 1 to 10000. Unset: 25.
    #[serde(default = "twenty_five")]
    #[schemars(range(min = 1, max = 10_000))]
    pub requests: i32,

    /// Length of the window: a duration of at least 1s. Unset: 10s.
    #[serde(default = "ten_seconds")]
    pub window: Duration,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: twenty_five(), window: ten_seconds() }
    }
}

/// When changes are made effective in the farm.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Apply {
    /// Auto applies after every batch of changes, whatever else is pending in the farm. Guarded
    /// does so too, but writes nothing while changes of somebody else are pending. Manual never
    /// applies by itself: brokers wait until somebody applies, or asks for it with the annotation
    /// ras-operator.dev/apply-requested-at. Unset: Guarded.
    #[serde(default)]
    pub mode: ApplyMode,
}

/// When the operator applies pending settings.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyMode {
    /// After every batch of changes.
    Auto,
    /// After every batch, but never together with pending changes of others.
    #[default]
    Guarded,
    /// Only on request.
    Manual,
}

/// The limit above which deletions are held.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct DeletionProtection {
    /// Number of brokers, 0 to 100000, that may be deleted within window. If more are to be
    /// deleted, none is, until the annotation ras-operator.dev/allow-mass-deletion allows it or
    /// this number is raised. 0 means no limit. Unset: 2.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 100_000))]
    pub threshold: i32,

    /// Time over which deletions are counted: a duration of at least 1s. Unset: 10m.
    #[serde(default = "ten_minutes")]
    pub window: Duration,
}

impl RasFarmSpec {
    /// What `requestTimeout` is where it is not given.
    pub const REQUEST_TIMEOUT: Duration = thirty_seconds();
    /// What `installTimeout` is where it is not given.
    pub const INSTALL_TIMEOUT: Duration = fifteen_minutes();
    /// The most that counts of `requestTimeout`: a call that is never answered keeps its connection, and what waits for
    /// it, as long.
    pub const LONGEST_REQUEST: std::time::Duration = std::time::Duration::from_mins(10);
    /// The same of `installTimeout`.
    pub const LONGEST_INSTALLATION: std::time::Duration = std::time::Duration::from_hours(2);

    /// How long any other call may take.
    pub fn request_limit(&self) -> std::time::Duration {
        self.request_timeout.get().min(Self::LONGEST_REQUEST)
    }

    /// How long a call that installs or removes an agent may take.
    pub fn install_limit(&self) -> std::time::Duration {
        self.install_timeout.get().min(Self::LONGEST_INSTALLATION).max(self.request_limit())
    }
}

impl Default for DeletionProtection {
    fn default() -> Self {
        Self { threshold: two(), window: ten_minutes() }
    }
}

const fn twenty_five() -> i32 {
    25
}

const fn two() -> i32 {
    2
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

const fn one_minute() -> Duration {
    Duration::from_secs(60)
}

const fn fifteen_minutes() -> Duration {
    Duration::from_secs(900)
}

const fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

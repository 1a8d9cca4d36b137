//! The raw spec becomes valid once: after this module nobody reads it again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use thiserror::Error;

use super::canonical::{ServerName, address_set, canonical_address};
use crate::crd::{
    AdoptionPolicy, DeletionPolicy, Install, ManagementPolicy, RasBroker, RasBrokerSpec, Uninstall,
    annotation,
};
use crate::farm::sites::SiteChoice;

/// A spec that passed admission but cannot be acted on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidSpec {
    /// An alternative address holds a separator, and would become two in the farm.
    #[error("spec.alternativeIPs holds {0:?}: give one address per entry, without comma or semicolon")]
    Separator(String),
    /// The spec names a site that is not the one the broker was made in.
    #[error(
        "{said}, but this broker was recorded in site {recorded}: a broker cannot change its site, and what names it \
         cannot be changed once it is set; delete this object and create another, with spec.deletionPolicy Orphan and \
         spec.adoptionPolicy IfExists if the broker is to stay"
    )]
    SiteContradicted {
        /// What the spec says, and the site that it means.
        said: String,
        /// What was recorded when the broker was first created or adopted.
        recorded: i64,
    },
}

/// A field of a Connection Broker that a PUT can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Whether the broker serves at all.
    Enabled,
    /// Whether it waits until another goes offline.
    Standby,
    /// Free text.
    Description,
    /// Address that other brokers use.
    Ip,
    /// Further addresses for gateways.
    AlternativeIps,
}

impl Field {
    /// The field's name in spec and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Standby => "standby",
            Self::Description => "description",
            Self::Ip => "ip",
            Self::AlternativeIps => "alternativeIPs",
        }
    }
}

/// A field's value in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `enabled`, `standby`.
    Flag(bool),
    /// `description`, `ip`.
    Text(String),
    /// `alternativeIPs`, whatever their order.
    Addresses(BTreeSet<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Text(text) => write!(formatter, "{text}"),
            Self::Addresses(set) => {
                write!(formatter, "{}", set.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The fields that are set, and so managed.
pub type Fields = BTreeMap<Field, Value>;

/// What a person asked for by annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// `deletion-protection: "true"`.
    pub deletion_protection: bool,
    /// `skip-availability-check: "true"`.
    pub skip_availability_check: bool,
    /// `force-orphan: "true"`.
    pub force_orphan: bool,
    /// `reconcile-requested-at`, or Flux's own.
    pub reconcile: Option<String>,
}

/// A spec in its valid form.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Why nothing can be made of it, if so. A deletion does not ask.
    pub invalid: Option<InvalidSpec>,
    /// Name of the `RasFarm` in the same namespace.
    pub farm: String,
    /// The server as written, which is what a POST sends.
    pub server: String,
    /// The same in canonical form, which is what rows are compared with.
    pub name: ServerName,
    /// The site, where the spec gives one.
    pub site: Option<SiteChoice>,
    /// The managed fields.
    pub fields: Fields,
    /// Place among the secondaries.
    pub priority: Option<i64>,
    /// What a POST may do to the server.
    pub install: Install,
    /// What a DELETE may do to the server.
    pub uninstall: Uninstall,
    /// What to do with a broker that is already there.
    pub adoption: AdoptionPolicy,
    /// What to do with the broker when the object goes; unset depends on where it came from.
    pub deletion: Option<DeletionPolicy>,
    /// Whether the farm is ever written to.
    pub management: ManagementPolicy,
    /// Whether work rests.
    pub suspend: bool,
    /// Annotations.
    pub requests: Requests,
}

/// Brings a spec into its valid form; `recorded_site` is the site that was resolved before, if one was.
pub fn desired(broker: &RasBroker, recorded_site: Option<i64>) -> Desired {
    // Destructured whole, so that a new field does not compile until it is handled here.
    let RasBrokerSpec {
        farm_ref,
        server,
        site_id,
        site_name,
        enabled,
        description,
        ip,
        alternative_ips,
        standby,
        priority,
        install,
        uninstall,
        adoption_policy,
        deletion_policy,
        management_policy,
        suspend,
    } = &broker.spec;
    let addresses = alternative_ips.as_deref().map(alternative_addresses).transpose();
    let fields = [
        enabled.map(|flag| (Field::Enabled, Value::Flag(flag))),
        standby.map(|flag| (Field::Standby, Value::Flag(flag))),
        description.clone().map(|text| (Field::Description, Value::Text(text))),
        ip.as_deref().map(|ip| (Field::Ip, Value::Text(canonical_address(ip)))),
        addresses.clone().unwrap_or_default(),
    ];
    Desired {
        invalid: contradiction(*site_id, recorded_site).or_else(|| addresses.err()),
        farm: farm_ref.name.clone(),
        server: server.clone(),
        name: ServerName::new(server),
        site: SiteChoice::of(*site_id, site_name.as_deref()),
        fields: fields.into_iter().flatten().collect(),
        priority: *priority,
        install: install.clone(),
        uninstall: uninstall.clone(),
        adoption: *adoption_policy,
        deletion: *deletion_policy,
        management: *management_policy,
        suspend: *suspend,
        requests: requests(broker),
    }
}

/// What a name contradicts is seen only where the farm's sites are known.
fn contradiction(wanted: Option<i64>, recorded: Option<i64>) -> Option<InvalidSpec> {
    let (wanted, recorded) = wanted.zip(recorded)?;
    let said = format!("spec.siteId is {wanted}");
    (wanted != recorded).then_some(InvalidSpec::SiteContradicted { said, recorded })
}

fn alternative_addresses(items: &[String]) -> Result<(Field, Value), InvalidSpec> {
    match items.iter().find(|item| item.contains([',', ';'])) {
        Some(item) => Err(InvalidSpec::Separator(item.clone())),
        None => Ok((Field::AlternativeIps, Value::Addresses(address_set(items.iter().map(String::as_str))))),
    }
}

fn requests(broker: &RasBroker) -> Requests {
    let annotations = broker.metadata.annotations.as_ref();
    let read = |name: &str| annotations.and_then(|all| all.get(name)).cloned();
    let is_true = |name: &str| read(name).as_deref() == Some("true");
    let request = |name: &str| read(name).map(|value| annotation::request(&value).to_owned());
    Requests {
        deletion_protection: is_true(annotation::DELETION_PROTECTION),
        skip_availability_check: is_true(annotation::SKIP_AVAILABILITY_CHECK),
        force_orphan: is_true(annotation::FORCE_ORPHAN),
        reconcile: later(request(annotation::RECONCILE_REQUESTED_AT), request(annotation::FLUX_REQUESTED_AT)),
    }
}

/// Of two requests the one made later: each annotation stays on the object after it was answered. A text that is
/// no time counts as the earliest.
fn later(own: Option<String>, flux: Option<String>) -> Option<String> {
    let (Some(own), Some(flux)) = (&own, &flux) else { return own.or(flux) };
    let is_later = time_of(flux) > time_of(own);
    Some(if is_later { flux.clone() } else { own.clone() })
}

/// RFC 3339, or seconds since 1970 as `date +%s` prints them.
fn time_of(text: &str) -> Option<Timestamp> {
    let seconds = || text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    text.parse().ok().or_else(seconds)
}

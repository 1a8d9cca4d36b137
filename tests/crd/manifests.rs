//! Manifests become values and values become the same manifests.

use std::fmt::Debug;

use ras_operator::crd::{
    AdoptionPolicy, Apply, DeletionProtection, Install, ManagementPolicy, RasBroker, RasBrokerPromotion,
    RasBrokerStatus, RasFarm, RasFarmStatus, RateLimit, Tls, Uninstall,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const FULL_FARM: &str = include_str!("farm.yaml");
const FULL_BROKER: &str = include_str!("broker.yaml");
const FULL_PROMOTION: &str = include_str!("promotion.yaml");

#[test]
fn a_full_farm_is_written_as_it_was_read() {
    written_as_read::<RasFarm>(FULL_FARM);
}

#[test]
fn a_full_broker_is_written_as_it_was_read() {
    written_as_read::<RasBroker>(FULL_BROKER);
}

#[test]
fn a_full_promotion_is_written_as_it_was_read() {
    written_as_read::<RasBrokerPromotion>(FULL_PROMOTION);
}

#[test]
fn a_minimal_farm_has_the_documented_defaults() {
    let farm: RasFarm = read(
        "apiVersion: ras-operator.dev/v1alpha1\nkind: RasFarm\nmetadata: {name: north}\nspec:\n  endpoint: https://ras01.example.com\n  credentialsSecretRef: {name: account}\n",
    );
    let spec = &farm.spec;
    assert_eq!(spec.fallback_endpoints, Vec::<String>::new());
    assert_eq!(spec.tls, Tls::default());
    assert_eq!(spec.site_id, None);
    assert_eq!(spec.resync_period.to_string(), "1m");
    assert_eq!(spec.request_timeout.to_string(), "30s");
    assert_eq!(spec.install_timeout.to_string(), "15m");
    assert_eq!(spec.install_limit(), std::time::Duration::from_mins(15));
    let RateLimit { requests, window } = &spec.rate_limit;
    assert_eq!((*requests, window.to_string()), (25, "10s".to_owned()));
    assert_eq!(spec.apply, Apply::default());
    let DeletionProtection { threshold, window } = &spec.deletion_protection;
    assert_eq!((*threshold, window.to_string()), (2, "10m".to_owned()));
    assert!(!spec.suspend);
    assert_eq!(farm.status, None);
    settled(&farm);
}

#[test]
fn a_minimal_broker_manages_nothing_and_touches_no_server() {
    let broker: RasBroker = read(
        "apiVersion: ras-operator.dev/v1alpha1\nkind: RasBroker\nmetadata: {name: two}\nspec:\n  farmRef: {name: north}\n  server: rasb02\n",
    );
    let spec = &broker.spec;
    assert_eq!((spec.enabled, spec.standby), (None, None));
    assert_eq!((&spec.description, &spec.ip), (&None, &None));
    assert_eq!((&spec.alternative_ips, spec.priority), (&None, None));
    assert_eq!(spec.install, Install::default());
    assert_eq!(spec.uninstall, Uninstall::default());
    assert_eq!(spec.adoption_policy, AdoptionPolicy::Never);
    assert_eq!(spec.deletion_policy, None);
    assert_eq!(spec.management_policy, ManagementPolicy::Managed);
    assert!(!spec.suspend);
    settled(&broker);
}

#[test]
fn an_empty_list_of_addresses_is_not_the_same_as_none() {
    let text = FULL_BROKER.replace("[10.0.1.12, \"2001:db8::12\"]", "[]");
    let broker: RasBroker = read(&text);
    assert_eq!(broker.spec.alternative_ips, Some(Vec::new()));
    let written = serde_json::to_value(&broker).unwrap();
    assert_eq!(written["spec"]["alternativeIPs"], json!([]));
}

#[test]
fn a_status_by_default_is_the_schemas_default() {
    let unwritten = json!({ "observedGeneration": -1 });
    assert_eq!(serde_json::to_value(RasFarmStatus::default()).unwrap(), unwritten);
    assert_eq!(serde_json::to_value(RasBrokerStatus::default()).unwrap(), unwritten);
    let (farm, broker): (RasFarmStatus, RasBrokerStatus) = (read("{}"), read("{}"));
    assert_eq!(farm, RasFarmStatus::default());
    assert_eq!(broker, RasBrokerStatus::default());
}

#[test]
fn no_value_is_ever_written_as_null() {
    for text in [FULL_FARM, FULL_BROKER, FULL_PROMOTION] {
        let value: Value = read(text);
        assert!(!value.to_string().contains("null"));
    }
    let unset = serde_json::to_string(&RasBroker::new("two", {
        let broker: RasBroker = read(FULL_BROKER);
        let mut spec = broker.spec;
        spec.enabled = None;
        spec.deletion_policy = None;
        spec
    }));
    assert!(!unset.unwrap().contains("null"));
}

fn written_as_read<T: Serialize + DeserializeOwned>(text: &str) {
    let (object, manifest): (T, Value) = (read(text), read(text));
    assert_eq!(serde_json::to_value(object).unwrap(), manifest);
}

/// Reading what was written changes nothing any more.
fn settled<T: Serialize + DeserializeOwned + PartialEq + Debug>(object: &T) {
    let written = serde_json::to_value(object).unwrap();
    assert_eq!(&serde_json::from_value::<T>(written).unwrap(), object);
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

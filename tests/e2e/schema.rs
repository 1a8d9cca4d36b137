//! The schema as the real API server judges by it, and the objects as kubectl shows them.

mod table;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use ras_operator::crd::{self, RasBroker, RasFarm, condition};
use serde_json::{Value, json};
use table::{Case, Refusal};

use crate::support::{control_plane, control_plane::ControlPlane, eventually, kubectl};

const SOON: Duration = Duration::from_secs(30);

const FULL_FARM: &str = include_str!("../crd/farm.yaml");
const FULL_BROKER: &str = include_str!("../crd/broker.yaml");

#[tokio::test]
async fn each_manifest_is_answered_as_the_table_says() {
    let plane = control_plane().await;
    let namespace = plane.namespace("schema").await;
    let mut wrong = Vec::new();
    for case in table::cases() {
        let answer = answer(plane, &namespace, &case).await;
        if !agrees(&answer, case.refusal.as_ref()) {
            let Case { name, refusal, .. } = case;
            wrong.push(format!("{name}: expected {refusal:?}, got {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_left_out_gets_its_default() {
    let plane = control_plane().await;
    let namespace = plane.namespace("defaults").await;
    let farm = created(plane, &namespace, "RasFarm", &minimal_farm()).await;
    assert_eq!(
        farm.data["spec"],
        json!({
            "endpoint": "https://ras01.example.com",
            "credentialsSecretRef": {"name": "account"},
            "resyncPeriod": "1m",
            "requestTimeout": "30s",
            "installTimeout": "15m",
            "rateLimit": {"requests": 25, "window": "10s"},
            "apply": {"mode": "Guarded"},
            "deletionProtection": {"threshold": 2, "window": "10m"},
            "suspend": false,
        })
    );
    let broker = created(plane, &namespace, "RasBroker", &minimal_broker("two")).await;
    assert_eq!(
        broker.data["spec"],
        json!({
            "farmRef": {"name": "north"},
            "server": "two.example.com",
            "install": {"agent": false, "restart": false, "firewallRules": false},
            "uninstall": {"agent": false},
            "adoptionPolicy": "Never",
            "managementPolicy": "Managed",
            "suspend": false,
        })
    );
    for object in [farm, broker] {
        assert_eq!(object.data["status"], json!({"observedGeneration": -1}));
    }
}

#[tokio::test]
async fn a_part_that_is_given_in_part_is_filled_up() {
    let plane = control_plane().await;
    let namespace = plane.namespace("partial").await;
    let mut farm = minimal_farm();
    farm["spec"]["rateLimit"] = json!({"requests": 5});
    farm["spec"]["deletionProtection"] = json!({"threshold": 0});
    let spec = created(plane, &namespace, "RasFarm", &farm).await.data["spec"].take();
    assert_eq!(spec["rateLimit"], json!({"requests": 5, "window": "10s"}));
    assert_eq!(spec["deletionProtection"], json!({"threshold": 0, "window": "10m"}));
}

#[tokio::test]
async fn null_is_the_same_as_leaving_the_field_out() {
    let plane = control_plane().await;
    let namespace = plane.namespace("null").await;
    let mut broker = minimal_broker("two");
    for field in ["enabled", "alternativeIPs", "siteId", "deletionPolicy", "install", "suspend"] {
        broker["spec"][field] = Value::Null;
    }
    let stored = created(plane, &namespace, "RasBroker", &broker).await;
    let plain = created(plane, &namespace, "RasBroker", &minimal_broker("three")).await;
    let mut expected = plain.data["spec"].clone();
    expected["server"] = json!("two.example.com");
    assert_eq!(stored.data["spec"], expected);
}

#[tokio::test]
async fn full_objects_and_statuses_are_stored_as_they_are_sent() {
    let plane = control_plane().await;
    let namespace = plane.namespace("full").await;
    for (kind, text) in [("RasFarm", FULL_FARM), ("RasBroker", FULL_BROKER)] {
        let manifest: Value = serde_saphyr::from_str(text).expect("a manifest");
        let stored = created(plane, &namespace, kind, &manifest).await;
        assert_eq!(stored.data["spec"], manifest["spec"]);
        let status = Patch::Merge(json!({"status": manifest["status"]}));
        let answer = objects(plane, &namespace, kind)
            .patch_status(&stored.name_any(), &PatchParams::default(), &status)
            .await
            .expect("the status is taken");
        assert_eq!(answer.data["status"], manifest["status"]);
    }
}

#[tokio::test]
async fn every_condition_that_can_be_said_is_taken() {
    let plane = control_plane().await;
    let namespace = plane.namespace("conditions").await;
    let broker = created(plane, &namespace, "RasBroker", &minimal_broker("two")).await;
    let all = objects(plane, &namespace, "RasBroker");
    for reason in condition::Reason::ALL {
        let conditions: Vec<Condition> =
            condition::ConditionType::ALL.iter().map(|type_| said(*type_, *reason)).collect();
        let status = Patch::Merge(json!({"status": {"conditions": conditions}}));
        let answer = all.patch_status(&broker.name_any(), &PatchParams::default(), &status).await;
        answer.unwrap_or_else(|error| panic!("{reason}: {error}"));
    }
}

#[tokio::test]
async fn brokers_are_selected_by_farm_and_by_server() {
    let plane = control_plane().await;
    let namespace = plane.namespace("fields").await;
    for name in ["two", "three"] {
        created(plane, &namespace, "RasBroker", &minimal_broker(name)).await;
    }
    let all = objects(plane, &namespace, "RasBroker");
    for (selector, expected) in [
        ("spec.farmRef.name=north", 2),
        ("spec.farmRef.name=south", 0),
        ("spec.server=two.example.com", 1),
        ("spec.farmRef.name=north,spec.server=three.example.com", 1),
    ] {
        let found = all.list(&ListParams::default().fields(selector)).await;
        assert_eq!(found.expect("a list").items.len(), expected, "{selector}");
    }
}

#[tokio::test]
async fn kubectl_shows_the_columns_of_the_design() {
    let plane = control_plane().await;
    let namespace = plane.namespace("columns").await;
    created(plane, &namespace, "RasFarm", &minimal_farm()).await;
    created(plane, &namespace, "RasBroker", &minimal_broker("two")).await;

    let narrow = kubectl(plane, &["get", "rasb", "-n", &namespace]).await;
    assert_eq!(head(&narrow), "NAME READY ID SERVER ROLE PRIORITY ENABLED FARM REASON AGE");
    let wide = kubectl(plane, &["get", "rasb", "-n", &namespace, "-o", "wide"]).await;
    assert_eq!(
        head(&wide),
        "NAME READY ID SERVER ROLE PRIORITY ENABLED FARM REASON AGE SYNCED STANDBY MARKED AGENT MESSAGE"
    );
    let farms = kubectl(plane, &["get", "rasf", "-n", &namespace]).await;
    assert_eq!(head(&farms), "NAME READY FARM ENDPOINT BROKERS MANAGED DRIFTED REASON AGE");
    let both = kubectl(plane, &["get", "ras", "-n", &namespace, "-o", "name"]).await;
    let names: Vec<&str> = both.lines().collect();
    assert_eq!(names, ["rasbroker.ras-operator.dev/two", "rasfarm.ras-operator.dev/north"]);
}

#[tokio::test]
async fn kubectl_explains_a_field_in_the_words_of_the_types() {
    let plane = control_plane().await;
    // The API server publishes a new kind's documentation some time after it serves the kind.
    let text = eventually("the kind is documented", SOON, async || {
        let _refreshed = kubectl(plane, &["api-resources", "--api-group", crd::GROUP]).await;
        plane.cluster().kubectl(["explain", "rasb.spec.deletionPolicy"]).await
    })
    .await;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Unset: Delete for a broker that this object created"), "{text}");
    assert!(text.contains("ENUM: Delete Orphan"), "{text}");
}

#[tokio::test]
async fn installing_the_manifests_gives_no_warning() {
    let plane = control_plane().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    kubectl(plane, &["apply", "--dry-run=server", "--warnings-as-errors", "-k", folder]).await;
}

#[tokio::test]
async fn a_misspelt_field_is_refused() {
    let plane = control_plane().await;
    let namespace = plane.namespace("unknown").await;
    let mut broker = minimal_broker("two");
    broker["spec"]["enabeld"] = json!(true);
    let params = PatchParams::apply("test").validation_strict();
    let answer = objects(plane, &namespace, "RasBroker").patch("two", &params, &Patch::Apply(broker)).await;
    let refusal = answer.expect_err("a refusal").to_string();
    assert!(refusal.contains("enabeld"), "{refusal}");
}

/// What the API server says to a case: nothing, or the words of its refusal.
async fn answer(plane: &ControlPlane, namespace: &str, case: &Case) -> Result<(), String> {
    let all = objects(plane, namespace, &case.kind);
    let Some(stored) = &case.stored else {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        return words(all.create(&dry_run, &dynamic(&case.object)).await);
    };
    let stored = created(plane, namespace, &case.kind, stored).await;
    let mut changed = dynamic(&case.object);
    changed.metadata.resource_version = stored.resource_version();
    let name = stored.name_any();
    let answer = words(all.replace(&name, &PostParams::default(), &changed).await);
    let deleted = all.delete(&name, &DeleteParams::default()).await;
    deleted.expect("the subject is deleted");
    answer
}

fn words(answer: kube::Result<DynamicObject>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_invalid() => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

fn agrees(answer: &Result<(), String>, expected: Option<&Refusal>) -> bool {
    match (answer, expected) {
        (Ok(()), None) => true,
        (Err(words), Some(refusal)) => words.contains(&refusal.words),
        (Ok(()), Some(_)) | (Err(_), None) => false,
    }
}

async fn created(plane: &ControlPlane, namespace: &str, kind: &str, manifest: &Value) -> DynamicObject {
    let all = objects(plane, namespace, kind);
    let answer = all.create(&PostParams::default(), &dynamic(manifest)).await;
    answer.unwrap_or_else(|error| panic!("{manifest}: {error}"))
}

/// Untyped, because a manifest that is to be refused may not fit the types either.
fn objects(plane: &ControlPlane, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        "RasFarm" => ApiResource::erase::<RasFarm>(&()),
        "RasBroker" => ApiResource::erase::<RasBroker>(&()),
        "RasBrokerPromotion" => ApiResource::erase::<ras_operator::crd::RasBrokerPromotion>(&()),
        other => panic!("no such kind: {other}"),
    };
    Api::namespaced_with(plane.admin(), namespace, &resource)
}

fn dynamic(manifest: &Value) -> DynamicObject {
    serde_json::from_value(manifest.clone()).expect("an object")
}

fn minimal_farm() -> Value {
    json!({
        "apiVersion": format!("{}/v1alpha1", crd::GROUP),
        "kind": "RasFarm",
        "metadata": {"name": "north"},
        "spec": {
            "endpoint": "https://ras01.example.com",
            "credentialsSecretRef": {"name": "account"},
        },
    })
}

fn minimal_broker(name: &str) -> Value {
    json!({
        "apiVersion": format!("{}/v1alpha1", crd::GROUP),
        "kind": "RasBroker",
        "metadata": {"name": name},
        "spec": {
            "farmRef": {"name": "north"},
            "server": format!("{name}.example.com"),
        },
    })
}

fn said(type_: condition::ConditionType, reason: condition::Reason) -> Condition {
    Condition {
        last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        message: String::new(),
        observed_generation: Some(1),
        reason: reason.to_string(),
        status: condition::Status::Unknown.to_string(),
        type_: type_.to_string(),
    }
}

/// The heading of a table, with single spaces.
fn head(table: &str) -> String {
    let heading = table.lines().next().unwrap_or_default();
    heading.split_whitespace().collect::<Vec<_>>().join(" ")
}

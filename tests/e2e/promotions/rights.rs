//! Who may promote, and where the account's password goes.

use kube::api::{Api, DeleteParams, PostParams};
use ras_operator::crd::{PromotionPhase, RasBroker, RasBrokerPromotion};
use serde_json::{Value, json};

use super::{PASSWORD, promote, sent, shows, world};
use crate::support::{control_plane, deploy, kubectl, objects};
use crate::world::World;

/// A person with this role in the namespace, by a real token.
async fn person(plane: &control_plane::ControlPlane, namespace: &str, role: &str) -> kube::Client {
    let name = format!("has-{role}");
    let manifests = json!([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]);
    let Value::Array(manifests) = manifests else { unreachable!("a list") };
    plane
        .cluster()
        .apply(&deploy::list(&manifests))
        .await
        .unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let kubeconfig = plane.cluster().kubeconfig_for(&name, namespace).await;
    crate::leader::client(&kubeconfig.unwrap_or_else(|failure| panic!("{}", failure.chain()))).await
}

fn request(namespace: &str, name: &str) -> RasBrokerPromotion {
    let manifest = json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBrokerPromotion",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "brokerRef": {"name": "cb2"}, "accountSecretRef": {"name": "my-account"},
            "expectedPrimary": "cb1", "notAfter": "2100-01-01T00:00:00Z",
        },
    });
    serde_json::from_value(manifest).expect("a promotion")
}

fn is_forbidden<T>(answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn the_right_to_promote_is_handed_out_apart_from_the_right_to_edit_brokers() {
    let plane = crate::support::control_plane().await;
    let namespace = plane.namespace("rights").await;
    for role in deploy::kustomize(plane.cluster(), "deploy").await.unwrap_or_else(|f| panic!("{}", f.chain()))
    {
        if role["kind"] == "ClusterRole" && role["metadata"]["name"] != "ras-operator" {
            let applied = plane.cluster().apply(&role.to_string()).await;
            applied.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        }
    }
    let broker: RasBroker = serde_json::from_value(objects::broker("cb2", "north", "cb2")).expect("a broker");
    let (params, delete) = (PostParams::default(), DeleteParams::default());
    // Role, may promote, may edit brokers, may see promotions.
    let table = [
        ("ras-operator-promote", true, false, true),
        ("ras-operator-edit", false, true, false),
        ("ras-operator-view", false, false, true),
    ];
    for (role, promotes, edits, sees) in table {
        let client = person(plane, &namespace, role).await;
        let promotions = Api::<RasBrokerPromotion>::namespaced(client.clone(), &namespace);
        let brokers = Api::<RasBroker>::namespaced(client.clone(), &namespace);
        let made = promotions.create(&params, &request(&namespace, "go")).await;
        assert_eq!(!is_forbidden(made), promotes, "{role}");
        assert_eq!(!is_forbidden(brokers.create(&params, &broker).await), edits, "{role}");
        assert_eq!(!is_forbidden(promotions.list(&kube::api::ListParams::default()).await), sees, "{role}");
        // Nobody writes what the operator answers, and nobody reads the account by this.
        let status = kube::api::Patch::Merge(json!({"status": {"phase": "Pending"}}));
        let patched = promotions.patch_status("go", &kube::api::PatchParams::default(), &status).await;
        assert!(is_forbidden(patched), "{role}");
        let secrets = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client, &namespace);
        assert!(is_forbidden(secrets.get("my-account").await), "{role}");
        if promotes {
            assert!(!is_forbidden(promotions.delete("go", &delete).await), "{role}");
        }
    }
}

#[tokio::test]
async fn the_password_is_in_the_one_request_and_nowhere_else() {
    let mut world = world("password").await;
    promote(&world, "go", "cb2", json!({})).await;
    shows(&world, "go", PromotionPhase::Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 1);
    let put_out = everything(&mut world).await;
    for secret in [PASSWORD, "My-Account+1", "My-Account%201"] {
        assert!(!put_out.contains(secret), "{secret} was put out");
    }
    assert!(put_out.contains("PromotionSucceeded"), "{put_out}");
}

/// Log, metrics, the farm's journal, and every object of the namespace that is not a Secret.
async fn everything(world: &mut World) -> String {
    let kinds = "events,rasfarms,rasbrokers,rasbrokerpromotions,configmaps";
    let objects = kubectl(world.plane, &["get", kinds, "-n", &world.namespace, "-o", "yaml"]).await;
    let journal = format!("{:?}", world.farm().journal());
    let metrics = world.running().metrics().await.expect("metrics");
    [world.running().logs(), metrics, objects, journal].join("\n")
}

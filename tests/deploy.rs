//! The manifests of `deploy/`: the least rights, a restricted pod, and flags that exist. They are
//! read as files, so that this needs neither a cluster nor kubectl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees only functions marked as tests as tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use kube::core::cel::validate_cel;
use ras_operator::cli::{BindAddress, Cli, Command as Subcommand, LogFormat, RunArgs};
use ras_operator::crd::{RasBroker, RasBrokerPromotion, RasFarm};
use ras_operator::leader::LEASE_NAME;
use serde_json::{Value, json};

const NAMESPACE: &str = "ras-operator-system";

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All manifests that the kustomization in this directory lists, without those of other directories.
fn manifests(name: &str) -> Vec<Value> {
    let directory = directory(name);
    let kustomization = read(&directory.join("kustomization.yaml")).remove(0);
    strings(&kustomization["resources"])
        .iter()
        .filter(|resource| !resource.starts_with(".."))
        .flat_map(|resource| read(&directory.join(resource)))
        .collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    manifests("deploy").into_iter().filter(|manifest| manifest["kind"] == kind).collect()
}

fn named(kind: &str, name: &str) -> Value {
    of_kind(kind).into_iter().find(|manifest| manifest["metadata"]["name"] == name).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn pod() -> Value {
    named("Deployment", "ras-operator")["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    pod()["containers"][0].clone()
}

fn run_arguments() -> RunArgs {
    let arguments = [vec!["ras-operator".to_owned()], strings(&container()["args"])].concat();
    match Cli::try_parse_from(arguments).unwrap().command {
        Subcommand::Run(args) => args,
        Subcommand::Crds(args) => panic!("parsed as {args:?}"),
    }
}

/// Every right of a role as `group/resource[:name] verb`, so that a new one has to be written here
/// before it can be granted.
fn rights(role: &Value) -> Vec<String> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["nonResourceURLs"], Value::Null);
        let names = strings(&rule["resourceNames"]);
        let names = if names.is_empty() { String::new() } else { format!(":{}", names.join(",")) };
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let verbs = strings(&rule["verbs"]).join(",");
                rights.push(format!("{group}/{resource}{names} {verbs}"));
            }
        }
    }
    rights
}

#[test]
fn the_operator_has_exactly_the_rights_that_it_needs() {
    assert_eq!(
        rights(&named("ClusterRole", "ras-operator")),
        [
            "ras-operator.dev/rasfarms get,list,watch,patch",
            "ras-operator.dev/rasbrokers get,list,watch,patch",
            "ras-operator.dev/rasbrokerpromotions get,list,watch",
            "ras-operator.dev/rasfarms/status patch",
            "ras-operator.dev/rasbrokers/status patch",
            "ras-operator.dev/rasbrokerpromotions/status patch",
            "/secrets get",
            "/configmaps get",
            "/namespaces get",
            "apiextensions.k8s.io/customresourcedefinitions:rasbrokers.ras-operator.dev get",
            "events.k8s.io/events create,patch",
        ]
    );
}

#[test]
fn the_lease_is_the_only_one_that_may_be_read_or_changed() {
    let role = named("Role", "ras-operator-leader-election");
    assert_eq!(role["metadata"]["namespace"], NAMESPACE);
    let expected = [
        "coordination.k8s.io/leases create".to_owned(),
        format!("coordination.k8s.io/leases:{LEASE_NAME} get,update"),
    ];
    assert_eq!(rights(&role), expected);
}

#[test]
fn nobody_gets_wildcards_or_may_list_secrets() {
    let roles = [of_kind("ClusterRole"), of_kind("Role")].concat();
    assert_eq!(roles.len(), 5);
    for right in roles.iter().flat_map(rights) {
        assert!(!right.contains('*'), "{right}");
        let reads_all = right.contains("secrets") && (right.contains("list") || right.contains("watch"));
        assert!(!reads_all, "{right}");
    }
}

#[test]
fn people_get_no_right_to_write_status_or_read_secrets() {
    for name in ["ras-operator-view", "ras-operator-edit", "ras-operator-promote"] {
        for right in rights(&named("ClusterRole", name)) {
            let kinds = ["rasfarms", "rasbrokers", "rasbrokerpromotions"]
                .map(|kind| format!("ras-operator.dev/{kind} "));
            assert!(kinds.iter().any(|kind| right.starts_with(kind.as_str())), "{right}");
        }
    }
}

#[test]
fn who_may_edit_brokers_may_not_promote_them() {
    let writes = |name: &str| -> Vec<String> {
        let rights = rights(&named("ClusterRole", name));
        rights.into_iter().filter(|right| right.contains("create") || right.contains("patch")).collect()
    };
    assert!(writes("ras-operator-view").is_empty());
    assert!(writes("ras-operator-edit").iter().all(|right| !right.contains("promotions")));
    assert!(writes("ras-operator-promote").iter().all(|right| right.contains("/rasbrokerpromotions ")));
    let labels = &named("ClusterRole", "ras-operator-promote")["metadata"]["labels"];
    assert_eq!(labels["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
    assert_eq!(labels["rbac.authorization.k8s.io/aggregate-to-edit"], Value::Null);
}

#[test]
fn the_sample_of_a_promotion_is_one_that_the_types_accept_and_is_not_applied_with_the_others() {
    let sample = read(&directory("deploy/samples/promotion.yaml"));
    let promotion: RasBrokerPromotion = serde_json::from_value(sample[1].clone()).unwrap();
    assert_eq!(json!(promotion.spec.account_secret_ref.name), sample[0]["metadata"]["name"]);
    assert!(promotion.spec.not_after.parse::<jiff::Timestamp>().is_ok());
    validate_cel(&promotion).unwrap();
    assert_known(&sample[1]["spec"], &json!(promotion)["spec"]);
    let kustomization = fs::read_to_string(directory("deploy/samples/kustomization.yaml")).unwrap();
    assert!(!kustomization.contains("promotion"));
}

#[test]
fn the_roles_are_bound_to_the_account_of_the_pod_and_to_nobody_else() {
    assert_eq!(pod()["serviceAccountName"], "ras-operator");
    let bindings = [of_kind("ClusterRoleBinding"), of_kind("RoleBinding")].concat();
    let bound: Vec<_> = bindings.iter().map(|binding| binding["roleRef"]["name"].clone()).collect();
    assert_eq!(bound, ["ras-operator", "ras-operator-leader-election"]);
    for binding in bindings {
        let account = json!([{ "kind": "ServiceAccount", "name": "ras-operator", "namespace": NAMESPACE }]);
        assert_eq!(binding["subjects"], account);
    }
}

#[test]
fn the_namespace_enforces_the_restricted_profile_and_the_pod_meets_it() {
    let labels = &named("Namespace", NAMESPACE)["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let (pod, container) = (pod(), container());
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
    for host in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert_eq!(pod[host], Value::Null, "{host}");
    }
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert!(container["resources"]["requests"]["memory"].is_string());
}

#[test]
fn the_flags_exist_and_say_what_several_replicas_need() {
    let args = run_arguments();
    assert!(args.leader_elect);
    assert_eq!(args.log_format, LogFormat::Json);
    assert!(!args.allow_insecure_tls);
    assert_eq!(args.watch_namespaces.as_slice(), [""; 0]);
}

#[test]
fn the_probes_ask_where_the_flags_let_the_servers_listen() {
    let (args, container) = (run_arguments(), container());
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        BindAddress::Any { port: port["containerPort"].as_u64().unwrap().try_into().unwrap() }
    };
    assert_eq!(args.health_probe_bind_address, port("probes"));
    assert_eq!(args.metrics_bind_address, port("metrics"));
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "probes" }));
    }
}

#[test]
fn an_orderly_end_has_the_time_that_it_may_take() {
    let seconds = pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
    // 25 s for calls that must not be cut off, then logoff, the release of the Lease and the servers.
    assert!(seconds >= 35);
}

#[test]
fn the_pod_knows_its_name_and_namespace() {
    let variables = container()["env"].clone();
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    let expected = json!([
        { "name": "POD_NAME", "valueFrom": field("metadata.name") },
        { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
    ]);
    assert_eq!(variables, expected);
}

#[test]
fn the_samples_are_a_farm_its_secret_and_three_brokers_that_the_types_accept() {
    let samples = manifests("deploy/samples");
    let kinds: Vec<_> = samples.iter().map(|sample| sample["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Secret", "RasFarm", "RasBroker", "RasBroker", "RasBroker"]);
    let farm: RasFarm = serde_json::from_value(samples[1].clone()).unwrap();
    assert_eq!(json!(farm.spec.credentials_secret_ref.name), samples[0]["metadata"]["name"]);
    validate_cel(&farm).unwrap();
    for sample in &samples[2..] {
        let broker: RasBroker = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(Some(broker.spec.farm_ref.name.as_str()), samples[1]["metadata"]["name"].as_str());
        validate_cel(&broker).unwrap();
        assert_known(&sample["spec"], &json!(broker)["spec"]);
    }
    assert_known(&samples[1]["spec"], &json!(farm)["spec"]);
}

/// A field that the types do not know is dropped in silence, by serde as by the API server.
fn assert_known(written: &Value, read: &Value) {
    for (name, value) in written.as_object().into_iter().flatten() {
        assert_ne!(read[name], Value::Null, "{name} is no field");
        assert_known(value, &read[name]);
    }
}

#[test]
fn the_samples_are_not_applied_with_the_operator() {
    let kustomization = read(&directory("deploy/kustomization.yaml")).remove(0);
    let resources = strings(&kustomization["resources"]);
    assert!(resources.contains(&"../crds".to_owned()));
    assert!(!resources.iter().any(|resource| resource.contains("samples")));
}

/// The kubectl that the tests build, else the one on the PATH; without either there is nothing to
/// render with, and the end-to-end tests render it again.
fn kubectl() -> Option<PathBuf> {
    let built = directory(".control-plane/bin/kubectl");
    let candidates = [built, PathBuf::from("kubectl")];
    candidates
        .into_iter()
        .find(|kubectl| Command::new(kubectl).arg("kustomize").arg("--help").output().is_ok())
}

#[test]
fn kubectl_renders_operator_and_samples() {
    let Some(kubectl) = kubectl() else { return };
    let render = |name: &str| -> Vec<Value> {
        let output = Command::new(&kubectl).arg("kustomize").arg(directory(name)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
    };
    let rendered = render("deploy");
    let definitions =
        rendered.iter().filter(|manifest| manifest["kind"] == "CustomResourceDefinition").count();
    assert_eq!(definitions, ras_operator::crd::crds().len());
    assert_eq!(rendered.len() - definitions, manifests("deploy").len());
    assert_eq!(render("deploy/samples").len(), 5);
}

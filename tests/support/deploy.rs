//! What this repository ships to a cluster: the CRDs of `crds/`, and the rights of `deploy/`.

use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    failure::{Failure, Result, While as _},
};

/// The kustomization that a user would apply.
const KUSTOMIZATION: &str = "deploy";

/// Applies those CRDs that the cluster lacks, waits until the API server serves them, and gives back their names. What
/// is there already may be newer than ours, and is not touched.
pub(crate) async fn install_crds(cluster: &Cluster) -> Result<Vec<String>> {
    let known = Api::<CustomResourceDefinition>::all(cluster.client()?);
    let (mut missing, mut names) = (Vec::new(), Vec::new());
    for crd in crds()? {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if known.get_opt(&name).await.or_failed_to("read a CRD")?.is_none() {
            missing.push(crd);
            names.push(name);
        }
    }
    if !missing.is_empty() {
        cluster.apply(&list(&missing)).await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd"].map(str::to_owned);
        cluster.kubectl(wait.iter().chain(&names)).await?;
    }
    Ok(names)
}

/// The CRDs of `crds/`, where a kustomization may lie beside them.
fn crds() -> Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let entries = fs::read_dir(&folder).or_failed_to(&format!("list {}", folder.display()))?;
    let mut found = Vec::new();
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let text = fs::read_to_string(&path).or_failed_to(&format!("read {}", path.display()))?;
        let manifests: Vec<Value> =
            serde_saphyr::from_multiple(&text).or_failed_to(&format!("read {}", path.display()))?;
        found.extend(manifests.into_iter().filter(|manifest| manifest["kind"] == "CustomResourceDefinition"));
    }
    Ok(found)
}

/// Several manifests as one.
pub(crate) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The operator's ServiceAccount in a namespace of its own, and what was made for it.
#[derive(Debug)]
pub(crate) struct Rights {
    pub(crate) account: String,
    made: String,
}

impl Rights {
    /// Makes `namespace` with the operator's ServiceAccount in it and exactly the rights that `deploy/` grants. It is
    /// for the operator, as `ras-operator-system` is: what it watches lies elsewhere, and may go without it. What is
    /// not in a namespace gets a name of its own, so that several operators do not share it.
    pub(crate) async fn install(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let rendered = render(cluster).await?;
        let moved: Vec<Value> = rendered.into_iter().map(|manifest| moved(manifest, namespace)).collect();
        let account = moved
            .iter()
            .find(|manifest| manifest["kind"] == "ServiceAccount")
            .and_then(|manifest| manifest["metadata"]["name"].as_str())
            .ok_or_else(|| Failure::new(format!("unable to find a ServiceAccount in {KUSTOMIZATION}")))?
            .to_owned();
        let made = list(&moved);
        cluster.apply(&made).await?;
        Ok(Self { account, made })
    }

    /// Removes all of it.
    pub(crate) async fn remove(&self, cluster: &Cluster) -> Result<()> {
        cluster.delete(&self.made).await
    }
}

/// What `kubectl kustomize` prints for a folder of this repository.
pub(crate) async fn kustomize(cluster: &Cluster, folder: &str) -> Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let text = cluster.kubectl([Path::new("kustomize"), &folder]).await?;
    serde_saphyr::from_multiple(&text).or_failed_to("read what kustomize printed")
}

async fn render(cluster: &Cluster) -> Result<Vec<Value>> {
    Ok(rights(&kustomize(cluster, KUSTOMIZATION).await?))
}

/// The namespace, the account, the bindings, and the roles that are bound; roles for people are not among them.
fn rights(manifests: &[Value]) -> Vec<Value> {
    let is_bound = |role: &Value| {
        manifests.iter().map(|manifest| &manifest["roleRef"]).any(|reference| {
            reference["kind"] == role["kind"] && reference["name"] == role["metadata"]["name"]
        })
    };
    let wanted = manifests.iter().filter(|manifest| match manifest["kind"].as_str() {
        Some("Namespace" | "ServiceAccount" | "RoleBinding" | "ClusterRoleBinding") => true,
        Some("Role" | "ClusterRole") => is_bound(manifest),
        Some(_) | None => false,
    });
    wanted.cloned().collect()
}

fn moved(mut manifest: Value, namespace: &str) -> Value {
    let kind = manifest["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "Namespace" {
        manifest["metadata"]["name"] = namespace.into();
    } else if kind.starts_with("Cluster") {
        rename(&mut manifest["metadata"]["name"], namespace);
    } else {
        manifest["metadata"]["namespace"] = namespace.into();
    }
    if manifest["roleRef"]["kind"] == "ClusterRole" {
        rename(&mut manifest["roleRef"]["name"], namespace);
    }
    let subjects = manifest.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        subject["namespace"] = namespace.into();
    }
    manifest
}

fn rename(name: &mut Value, namespace: &str) {
    if let Some(text) = name.as_str() {
        *name = format!("{text}:{namespace}").into();
    }
}

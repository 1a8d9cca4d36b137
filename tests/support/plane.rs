//! The tests' side: one control plane per test binary, a namespace per test, and panics instead of errors.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    control_plane::ControlPlane,
    deploy::{self, Rights},
    failure::{Failure, Result},
    operator::{self, Operator, Stopped},
};

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The control plane of this test binary, with the CRDs. It ends with the process.
pub(crate) async fn control_plane() -> &'static ControlPlane {
    PLANE.get_or_init(async || sure(prepared().await)).await
}

async fn prepared() -> Result<ControlPlane> {
    let plane = ControlPlane::start().await?;
    deploy::install_crds(plane.cluster()).await?;
    Ok(plane)
}

/// Runs kubectl as the admin and gives back what it printed; where a refusal is expected, `plane.cluster().kubectl`.
pub(crate) async fn kubectl(plane: &ControlPlane, args: &[&str]) -> String {
    sure(plane.cluster().kubectl(args).await)
}

impl ControlPlane {
    /// A client with every right, for the calling test's runtime.
    pub(crate) fn admin(&self) -> Client {
        sure(self.cluster().client())
    }

    /// Creates a namespace that no other test has.
    pub(crate) async fn namespace(&self, stem: &str) -> String {
        let name = format!("{stem}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespace: Namespace = serde_json::from_value(manifest).expect("a namespace");
        let all = Api::<Namespace>::all(self.admin());
        all.create(&PostParams::default(), &namespace).await.expect("the namespace is created");
        name
    }

    /// A kubeconfig of the ServiceAccount of the operator that watches `namespace`, with exactly the rights of
    /// `deploy/`.
    pub(crate) async fn kubeconfig_for_service_account(&self, namespace: &str) -> PathBuf {
        let home = Self::home(namespace);
        let rights = sure(Rights::install(self.cluster(), &home).await);
        sure(self.cluster().kubeconfig_for(&rights.account, &home).await)
    }

    /// The namespace of that account and of its Lease, beside the one that it watches.
    pub(crate) fn home(namespace: &str) -> String {
        format!("{namespace}-operator")
    }

    /// The name under which that account stands in the audit log.
    pub(crate) fn user(namespace: &str) -> String {
        format!("system:serviceaccount:{}:ras-operator", Self::home(namespace))
    }

    /// Creates what a manifest says; `K` is the type of the answer.
    pub(crate) async fn create<K>(&self, namespace: &str, manifest: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(manifest).expect("a manifest of this kind");
        let all = Api::<K>::namespaced(self.admin(), namespace);
        all.create(&PostParams::default(), &object).await.expect("the object is created")
    }
}

impl Operator {
    /// Starts the built operator for one namespace and waits until it is ready.
    pub(crate) async fn start(plane: &ControlPlane, namespace: &str, args: &[&str]) -> Self {
        let mut operator = Self::start_unready(plane, namespace, args).await;
        sure(operator.wait_until_ready().await);
        operator
    }

    /// Starts it without waiting, for what happens before it is ready.
    pub(crate) async fn start_unready(plane: &ControlPlane, namespace: &str, args: &[&str]) -> Self {
        let kubeconfig = plane.kubeconfig_for_service_account(namespace).await;
        Self::start_with(plane, &kubeconfig, namespace, args)
    }

    /// Starts it with a kubeconfig that is there already, without waiting.
    pub(crate) fn start_with(
        plane: &ControlPlane,
        kubeconfig: &Path,
        namespace: &str,
        args: &[&str],
    ) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = plane.folder().join(format!("operator-{namespace}-{number}.log"));
        sure(Self::launch(&sure(operator::binary()), kubeconfig, namespace, args, &log))
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        sure(self.wait_until_ready().await);
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn stopped(&mut self) -> Stopped {
        sure(self.stop().await)
    }
}

fn sure<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|failure: Failure| panic!("{}", failure.chain()))
}

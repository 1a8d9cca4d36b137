//! One Kubernetes cluster, seen through an admin's kubeconfig: ours on loopback, or the one that the demo was pointed at.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    failure::{Failure, Result, While as _},
    kubeconfig,
};

/// As long as a working day: the demo stays up until it is stopped.
const TOKEN_SECONDS: i64 = 12 * 60 * 60;

/// How to reach a cluster as its admin.
#[derive(Debug)]
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    content: Value,
    config: Config,
    kubectl: PathBuf,
    /// Scratch: kubeconfigs, logs, kubectl's cache.
    folder: PathBuf,
}

impl Cluster {
    /// Writes `content` as the admin's kubeconfig into `folder`. Nothing is sent yet.
    pub(crate) async fn new(content: Value, kubectl: PathBuf, folder: &Path) -> Result<Self> {
        let path = folder.join("admin.kubeconfig");
        kubeconfig::write(&path, &content)?;
        let read = Kubeconfig::read_from(&path).or_failed_to("read the admin's kubeconfig")?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .or_failed_to("use the admin's kubeconfig")?;
        Ok(Self { kubeconfig: path, content, config, kubectl, folder: folder.to_owned() })
    }

    /// A client of its own for the calling runtime: a client's worker ends with the runtime that made it, and every test
    /// has its own.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).or_failed_to("make a Kubernetes client")
    }

    /// The admin's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig of the same admin whose namespace is another, for a person's own kubectl.
    pub(crate) fn kubeconfig_in(&self, namespace: &str) -> Result<PathBuf> {
        let mut content = self.content.clone();
        content["contexts"][0]["context"]["namespace"] = namespace.into();
        let path = self.folder.join("kubeconfig");
        kubeconfig::write(&path, &content)?;
        Ok(path)
    }

    /// The API server's address.
    pub(crate) fn server(&self) -> &str {
        self.content.pointer("/clusters/0/cluster/server").and_then(Value::as_str).unwrap_or_default()
    }

    /// The file of the authority that signed the API server's certificate; empty where the kubeconfig names none.
    pub(crate) fn authority(&self) -> &Path {
        let path = self.content.pointer("/clusters/0/cluster/certificate-authority").and_then(Value::as_str);
        Path::new(path.unwrap_or_default())
    }

    /// The kubectl that is used.
    pub(crate) fn kubectl_program(&self) -> &Path {
        &self.kubectl
    }

    /// Where files that belong to this cluster may be put.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs kubectl as the admin, and gives back what it printed.
    pub(crate) async fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.kubectl_with_input(args, "").await
    }

    /// Sends manifests by server-side apply, as the field manager `kubectl`.
    pub(crate) async fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_with_input(["apply", "--server-side", "-f", "-"], manifests).await
    }

    /// Deletes what the manifests name, where it is there.
    pub(crate) async fn delete(&self, manifests: &str) -> Result<()> {
        let args = ["delete", "--ignore-not-found", "--timeout=60s", "-f", "-"];
        self.kubectl_with_input(args, manifests).await.map(drop)
    }

    async fn kubectl_with_input<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String> {
        let mut command = self.kubectl_command(args);
        let shown =
            command.as_std().get_args().skip(2).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().or_failed_to(&format!("start {}", self.kubectl.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that refuses its arguments ends without reading; its own words say more than a broken pipe.
            let _not_read = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.or_failed_to("wait for kubectl")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::new(format!("failed to run kubectl {shown}: {words}")))
    }

    /// Neither the user's own kubeconfig, nor their preferences, nor their cache.
    fn kubectl_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env_remove("KUBECONFIG").env("KUBECONFIG", &self.kubeconfig).env("KUBERC", "off");
        command.arg("--cache-dir").arg(self.folder.join("kubectl-cache")).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// A kubeconfig for a ServiceAccount that is there, with a token from the API server.
    pub(crate) async fn kubeconfig_for(&self, account: &str, namespace: &str) -> Result<PathBuf> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client()?, namespace);
        let spec =
            TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .or_failed_to(&format!("get a token for the service account {namespace}/{account}"))?;
        let token = answer.status.ok_or_else(|| Failure::new("unable to find a token in the answer"))?.token;
        let path = self.folder.join(format!("{namespace}.{account}.kubeconfig"));
        kubeconfig::write(&path, &kubeconfig::with_token(&self.content, &token, namespace)?)?;
        Ok(path)
    }
}

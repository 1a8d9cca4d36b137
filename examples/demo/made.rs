//! What the demo has made in a cluster that it does not own, and how it goes again.

use crate::{
    place::Place,
    stage::NAMESPACE,
    support::{cluster::Cluster, deploy::Rights, failure::Result},
};

/// Filled in as things are made, so that a tour that breaks off leaves nothing either.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) crds: Vec<String>,
    pub(crate) namespaces: Vec<&'static str>,
    pub(crate) rights: Option<Rights>,
}

impl Made {
    /// Removes all of it from a borrowed cluster; one of our own goes as a whole.
    pub(crate) async fn remove_from(self, place: &Place) -> Result<()> {
        let cluster = match place {
            Place::Own(_) => return Ok(()),
            Place::Borrowed(_) => place.cluster(),
        };
        println!("\nRemoving from the cluster what the demo made in it.");
        let Self { crds, namespaces, rights } = self;
        if namespaces.contains(&NAMESPACE) {
            release(cluster).await?;
        }
        if let Some(rights) = rights {
            rights.remove(cluster).await?;
        }
        if !namespaces.is_empty() {
            let delete = ["delete", "namespace", "--ignore-not-found", "--timeout=120s"];
            cluster.kubectl(delete.iter().chain(&namespaces)).await?;
        }
        remove_crds(cluster, &crds).await
    }
}

/// Takes the finalizers off: the farm that they guard ends with the demo.
async fn release(cluster: &Cluster) -> Result<()> {
    for name in objects(cluster, &["--namespace", NAMESPACE]).await? {
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        cluster.kubectl(["patch", "--namespace", NAMESPACE, "--type=merge", "--patch", patch, &name]).await?;
    }
    Ok(())
}

/// With a CRD go all its objects, so one that somebody has meanwhile begun to use stays.
async fn remove_crds(cluster: &Cluster, crds: &[String]) -> Result<()> {
    if crds.is_empty() {
        return Ok(());
    }
    if !objects(cluster, &["--all-namespaces"]).await?.is_empty() {
        println!("The CRDs stay: there are objects of theirs that the demo did not make.");
        return Ok(());
    }
    let delete = ["delete", "crd", "--ignore-not-found", "--timeout=60s"].map(str::to_owned);
    cluster.kubectl(delete.iter().chain(crds)).await.map(drop)
}

async fn objects(cluster: &Cluster, scope: &[&str]) -> Result<Vec<String>> {
    let get = ["get", "rasbrokers.ras-operator.dev,rasfarms.ras-operator.dev", "--output=name"];
    let printed = cluster.kubectl(get.iter().chain(scope)).await?;
    Ok(printed.lines().map(str::to_owned).collect())
}

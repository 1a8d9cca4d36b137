//! Which cluster the demo is in: one that it starts itself, or a context of the user's own kubeconfig.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    screen::Screen,
    stage::{NAMESPACE, OPERATOR_NAMESPACE},
    support::{
        cluster::Cluster,
        control_plane::ControlPlane,
        failure::{Failure, Result, While as _},
    },
};

/// A cluster to work in.
#[derive(Debug)]
pub(crate) enum Place {
    /// It goes with us.
    Own(Box<ControlPlane>),
    /// It stays, and must look afterwards as it did before.
    Borrowed(Box<Borrowed>),
}

/// A cluster of the user's.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) context: String,
    cluster: Cluster,
    /// Holds a copy of the credentials; removed when this is dropped.
    _folder: TempDir,
}

impl Place {
    pub(crate) fn cluster(&self) -> &Cluster {
        match self {
            Self::Own(plane) => plane.cluster(),
            Self::Borrowed(borrowed) => &borrowed.cluster,
        }
    }
}

/// Starts a control plane, or asks whether the named context may be used.
pub(crate) async fn find(context: Option<&str>, sure: bool, screen: &mut Screen) -> Result<Place> {
    match context {
        None => {
            println!(
                "A Kubernetes API server, a simulated RAS farm and ras-operator, all on this machine.\n"
            );
            let start = ControlPlane::start();
            let plane = screen.step("Start etcd and kube-apiserver on loopback", start).await?;
            Ok(Place::Own(Box::new(plane)))
        }
        Some(context) => {
            let borrowed = borrow(context).await?;
            ask(&borrowed, sure)?;
            Ok(Place::Borrowed(Box::new(borrowed)))
        }
    }
}

async fn borrow(context: &str) -> Result<Borrowed> {
    let kubeconfig = minified(context)?;
    let folder = tempfile::Builder::new()
        .prefix("ras-operator-demo-")
        .tempdir()
        .or_failed_to("create a temporary folder")?;
    let cluster = Cluster::new(kubeconfig, PathBuf::from("kubectl"), folder.path()).await?;
    Ok(Borrowed { context: context.to_owned(), cluster, _folder: folder })
}

/// The one context, with its credentials in place; the only time that the user's own kubeconfig is read.
fn minified(context: &str) -> Result<Value> {
    let output = Command::new("kubectl")
        .args(["config", "view", "--minify", "--flatten", "--raw", "--output=json", "--context", context])
        .output()
        .or_failed_to("start kubectl, which CLUSTER needs: install it, or leave CLUSTER out")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::new(format!("unable to use the context {context}: {words}")));
    }
    serde_json::from_slice(&output.stdout).or_failed_to("read what kubectl printed")
}

fn ask(borrowed: &Borrowed, sure: bool) -> Result<()> {
    println!("The demo will use your cluster:\n");
    println!("  context  {}", borrowed.context);
    println!("  server   {}\n", borrowed.cluster.server());
    println!("It makes the CRDs of ras-operator.dev where they are missing, the namespaces {NAMESPACE} and");
    println!(
        "{OPERATOR_NAMESPACE}, and a ServiceAccount with its roles; at the end it removes what it made."
    );
    println!("The farm and the operator run on this machine. An operator that is in the cluster already and");
    println!("watches every namespace would act on the demo's objects too.\n");
    if sure {
        return Ok(());
    }
    print!("Go on? Type yes: ");
    // Without a terminal the answer is no.
    let _unseen = io::stdout().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).or_failed_to("read the answer")?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::new("nothing was touched: the answer was not yes (in a script: YES=1)"))
}

//! The steps of the tour. Each does one thing and waits until the other side shows it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt as _, api::ListParams};
use ras_operator::{
    crd::{RasBroker, RasFarm},
    simulator::{Edit, Row},
};

use crate::{
    place::Place,
    screen::{Screen, table},
    stage::{NAMESPACE, Stage},
    support::{
        cluster::Cluster,
        failure::{Failure, Result, While as _},
        within,
    },
};

/// Each step takes seconds; this is for a machine that builds something beside it.
const LIMIT: Duration = Duration::from_secs(90);
const DESCRIPTION: &str = "Second broker, edited in Kubernetes";

/// Goes through all steps; an error is the first that was not seen.
pub(crate) async fn go(place: &Place, stage: &mut Stage, screen: &mut Screen) -> Result<()> {
    let cluster = place.cluster();
    let ready = wait_until_ready(cluster, stage, 3);
    screen.step("See the farm and its three brokers Ready: one adopted, two created", ready).await?;
    let count = wait_for_the_count(cluster, stage);
    screen.step("See the farm count them: its status is written at most once per 5 s", count).await?;
    show_both(cluster, stage).await?;
    screen.step("Edit ras-2 in Kubernetes: the farm has its new description", edit(cluster, stage)).await?;
    Screen::note(&format!("farm: ras-2.example.com is now \"{DESCRIPTION}\""));
    screen
        .step("Disable ras-2 by hand in the farm, as alice, and Apply: it is put right", disturb(stage))
        .await?;
    Screen::note(&format!(
        "farm: ras-2.example.com enabled again by {}",
        row(stage, "ras-2")?.admin_last_mod
    ));
    screen
        .step("Delete ras-3 in Kubernetes: it leaves the farm, then the cluster", delete(cluster, stage))
        .await?;
    let left = async {
        wait_until_ready(cluster, stage, 2).await?;
        wait_for_the_count(cluster, stage).await
    };
    screen.step("See the two that are left Ready, and counted", left).await?;
    show_both(cluster, stage).await
}

async fn wait_until_ready(cluster: &Cluster, stage: &mut Stage, expected: usize) -> Result<()> {
    let farms = Api::<RasFarm>::namespaced(cluster.client()?, NAMESPACE);
    let brokers = Api::<RasBroker>::namespaced(cluster.client()?, NAMESPACE);
    within("the farm and its brokers are Ready", LIMIT, async || {
        let mut missing = ended(stage);
        let farms = farms.list(&ListParams::default()).await.map_err(|error| vec![error.to_string()])?;
        let brokers = brokers.list(&ListParams::default()).await.map_err(|error| vec![error.to_string()])?;
        missing.extend(farms.iter().filter_map(farm_not_ready));
        missing.extend(brokers.iter().filter_map(broker_not_ready));
        if brokers.items.len() != expected {
            missing.push(format!("{} brokers", brokers.items.len()));
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    })
    .await
}

fn farm_not_ready(farm: &RasFarm) -> Option<String> {
    let conditions = farm.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    not_ready(&farm.name_any(), farm.metadata.generation, conditions)
}

fn broker_not_ready(broker: &RasBroker) -> Option<String> {
    let conditions = broker.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    not_ready(&broker.name_any(), broker.metadata.generation, conditions)
}

fn not_ready(name: &str, generation: Option<i64>, conditions: &[Condition]) -> Option<String> {
    let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else {
        return Some(format!("{name}: no condition yet"));
    };
    let is_current = ready.observed_generation >= generation;
    (!is_current || ready.status != "True").then(|| format!("{name}: {}: {}", ready.reason, ready.message))
}

/// A wait for a dead operator ends with this as what was last seen.
fn ended(stage: &mut Stage) -> Vec<String> {
    stage.operator.exited().map(|status| format!("the operator has ended: {status}")).into_iter().collect()
}

async fn edit(cluster: &Cluster, stage: &Stage) -> Result<()> {
    let patch = serde_json::json!({"spec": {"description": DESCRIPTION}}).to_string();
    cluster
        .kubectl(["patch", "rasbroker", "ras-2", "--namespace", NAMESPACE, "--type=merge", "--patch", &patch])
        .await?;
    let described = |row: &Row| row.description == DESCRIPTION;
    within("the farm has the new description", LIMIT, async || settled(stage, "ras-2", described)).await
}

async fn disturb(stage: &Stage) -> Result<()> {
    let edit = Edit { person: "alice".into(), enabled: Some(false), ..Edit::default() };
    stage.farm().edit(row(stage, "ras-2")?.id, edit).or_failed_to("edit the farm by hand")?;
    stage.farm().apply_as_person("alice");
    within("the farm has ras-2 enabled again", LIMIT, async || settled(stage, "ras-2", |row| row.enabled))
        .await
}

/// As wished, and applied.
fn settled(stage: &Stage, name: &str, wished: impl Fn(&Row) -> bool) -> std::result::Result<(), String> {
    let row = row(stage, name).map_err(|failure| failure.chain())?;
    match (wished(&row), stage.farm().is_pending()) {
        (true, false) => Ok(()),
        (true, true) => Err("written, but not applied".to_owned()),
        (false, _) => Err(format!("description {:?}, enabled {}", row.description, row.enabled)),
    }
}

async fn delete(cluster: &Cluster, stage: &Stage) -> Result<()> {
    let brokers = Api::<RasBroker>::namespaced(cluster.client()?, NAMESPACE);
    cluster.kubectl(["delete", "rasbroker", "ras-3", "--namespace", NAMESPACE, "--wait=false"]).await?;
    within("ras-3 is gone on both sides", LIMIT, async || {
        if let Ok(row) = row(stage, "ras-3") {
            return Err(format!("a row, marked for deletion: {}", row.marked_for_deletion));
        }
        match brokers.get_opt("ras-3").await {
            Ok(None) => Ok(()),
            Ok(Some(broker)) => Err(format!("an object with finalizers {:?}", broker.finalizers())),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

fn row(stage: &Stage, name: &str) -> Result<Row> {
    let server = format!("{name}.example.com");
    stage
        .farm()
        .broker_named(&server)
        .ok_or_else(|| Failure::new(format!("unable to find {server} in the farm")))
}

/// A farm's own status is written at most once per 5 s, so its numbers may be behind its brokers'.
async fn wait_for_the_count(cluster: &Cluster, stage: &Stage) -> Result<()> {
    let farms = Api::<RasFarm>::namespaced(cluster.client()?, NAMESPACE);
    let rows = i64::try_from(stage.farm().brokers().len()).or_failed_to("count the rows")?;
    within("the farm's status counts its brokers", LIMIT, async || {
        let farms = farms.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let status = farms.items.into_iter().next().and_then(|farm| farm.status);
        match status.and_then(|status| status.brokers) {
            Some(counts) if (counts.total, counts.managed, counts.ready) == (rows, rows, rows) => Ok(()),
            counts => Err(format!("{counts:?}")),
        }
    })
    .await
}

async fn show_both(cluster: &Cluster, stage: &Stage) -> Result<()> {
    let printed = cluster.kubectl(["get", "rasfarms,rasbrokers", "--namespace", NAMESPACE]).await?;
    Screen::block("$ kubectl get rasf,rasb", &printed);
    let mut rows = vec![
        ["ID", "SERVER", "PRIORITY", "ENABLED", "CREATED BY", "CHANGED BY", "DESCRIPTION"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(stage.farm().brokers().into_iter().map(|row| {
        let (id, priority, enabled) = (row.id.to_string(), row.priority.to_string(), row.enabled.to_string());
        vec![id, row.server, priority, enabled, row.admin_create, row.admin_last_mod, row.description]
    }));
    Screen::block("The farm's own list", &table(&rows));
    Ok(())
}

//! The operator can be removed without losing a broker, by what the README says.

use ras_operator::simulator::{FarmConfig, Simulator, SimulatorConfig};
use serde_json::json;

use crate::page;
use crate::shell;
use crate::support::{control_plane::ControlPlane, deploy, eventually};
use crate::world::{SOON, World, server};

const NAMES: [&str; 2] = ["cb1", "cb2"];

/// The lines of the README's way out that concern objects.
fn lines() -> Vec<String> {
    let text = page::read("README.md");
    let section = text.split("\n## Uninstall").nth(1).expect("the section");
    let block =
        section.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let lines = block.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.filter(|line| !line.contains(" -k ")).map(str::to_owned).collect()
}

async fn with_two_brokers(world: &World) {
    for name in NAMES {
        world.create_broker(name, json!({})).await;
    }
    for name in NAMES {
        world.ready(name).await;
    }
}

fn is_untouched(world: &World) {
    for name in NAMES {
        let row = world.farm().broker_named(&server(name)).expect("the broker stays");
        assert!(!row.marked_for_deletion, "{row:?}");
    }
    assert!(!world.writes().iter().any(|write| write.starts_with("DELETE")), "{:?}", world.writes());
}

#[tokio::test]
async fn the_readmes_lines_remove_every_object_and_no_broker() {
    let world = World::new("uninstall").await;
    with_two_brokers(&world).await;
    let lines = lines();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let line = line.replace("NAMESPACE", &world.namespace);
        // Where a line names an object, it is meant for each.
        let each = if line.contains(" NAME ") { &NAMES[..] } else { &[""] };
        for name in each {
            shell::run(world.plane.cluster(), &line.replace(" NAME ", &format!(" {name} "))).await;
        }
    }
    assert!(world.farms().list(&kube::api::ListParams::default()).await.expect("a list").items.is_empty());
    is_untouched(&world);
    // The farm's object is gone before its session is given back.
    eventually("the operator has logged off", SOON, async || {
        let sessions = world.farm().sessions();
        if sessions.is_empty() { Ok(()) } else { Err(sessions) }
    })
    .await;
}

/// On a control plane of its own: no other test has the kind any more.
#[tokio::test]
async fn removing_the_kind_removes_no_broker() {
    let plane = ControlPlane::start().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    // It ends with the process, as the shared one does.
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    deploy::install_crds(plane.cluster()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let farm = FarmConfig { rate_limit: None, ..FarmConfig::default() };
    let simulator = Simulator::start(SimulatorConfig::one(farm)).await.expect("the simulator starts");
    let namespace = plane.namespace("kind").await;
    let mut world = World { plane, namespace, simulator, operator: None };
    world.create_farm(json!({})).await;
    world.start_operator(&[]).await;
    with_two_brokers(&world).await;

    shell::run(plane.cluster(), "kubectl delete crd rasbrokers.ras-operator.dev --timeout=40s").await;
    is_untouched(&world);
    shell::run(
        plane.cluster(),
        &format!("kubectl delete rasfarms -n {} --all --timeout=40s", world.namespace),
    )
    .await;
    is_untouched(&world);
}

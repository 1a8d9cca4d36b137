//! A site is named by id or by name, on the farm or on the broker, and the spelling makes no difference.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use ras_operator::simulator::{BrokerConfig, FarmConfig, SiteConfig};
use serde_json::{Value, json};

use crate::farm_world::{farm_condition, message};
use crate::support::{eventually, objects, stays};
use crate::world::{FARM, SOON, World, condition, server};

const SITES: (&str, &str) = ("GET", "/api/Site");
const CREATE: (&str, &str) = ("POST", "/api/Broker");

/// A farm with these sites, the first of which is the licensing site.
fn farm(names: &[&str]) -> FarmConfig {
    let site = |(id, name): (i64, &&str)| SiteConfig {
        id,
        name: (*name).to_owned(),
        brokers: vec![BrokerConfig::new(&format!("primary{id}.corp.example"))],
    };
    FarmConfig { sites: (1..).zip(names).map(site).collect(), ..FarmConfig::default() }
}

async fn world(stem: &str, names: &[&str], spec: Value) -> World {
    World::with(stem, farm(names), spec).await
}

/// The site of the row that a broker's object made.
fn site_of(world: &World, name: &str) -> Option<i64> {
    world.farm().broker_named(&server(name)).map(|row| row.site_id)
}

/// What the API server says to a change that it does not take.
async fn refusal(world: &World, name: &str, spec: Value) -> String {
    let patch = Patch::Merge(json!({"spec": spec}));
    let answer = world.brokers().patch(name, &PatchParams::default(), &patch).await;
    answer.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn brokers_go_to_the_site_that_their_object_or_else_the_farms_names() {
    let world = world("named", &["Head office", "Branch", "branch"], json!({"siteName": "Branch"})).await;
    world.create_broker("cb1", json!({})).await;
    world.create_broker("cb2", json!({"siteName": "branch"})).await;
    world.create_broker("cb3", json!({"siteId": 1})).await;
    for (name, site) in [("cb1", 2), ("cb2", 3), ("cb3", 1)] {
        let status = world.ready(name).await.status.expect("a status");
        assert_eq!((status.site_id, site_of(&world, name)), (Some(site), Some(site)), "{name}");
    }
    assert_eq!(world.seen(SITES), 1, "read at the logon, and found there");

    // What was recorded wins over names that change hands.
    world.farm().rename_site(2, "Lab").expect("it is renamed");
    world.farm().apply_as_person("alice");
    world.annotate_farm("ras-operator.dev/reconcile-requested-at", "renamed").await;
    world
        .farm_is("the new name is seen", |farm| {
            let sites = farm.status.iter().flat_map(|status| &status.sites);
            sites.into_iter().any(|site| site.name.as_deref() == Some("Lab"))
        })
        .await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    assert!(message(&farm, "Stalled").contains("no site named \"Branch\"; it has 1 (Head office), 2 (Lab)"));
    world.edit_broker("cb1", json!({"description": "goes on"})).await;
    world.ready("cb1").await;
    assert_eq!(site_of(&world, "cb1"), Some(2));
    world.edit_broker("cb3", json!({"siteId": 1, "description": "its own site"})).await;
    world.ready("cb3").await;
    world.patch_farm(json!({"spec": {"siteName": "Lab"}})).await;
    world.farm_ready().await;
}

#[tokio::test]
async fn a_name_that_is_not_known_is_told_with_the_sites_there_are_and_heals_when_the_site_appears() {
    let world = world("unknown", &["Head office"], json!({})).await;
    world.create_broker("cb1", json!({"siteName": "Branch"})).await;
    let broker = world.broker_shows("cb1", "Stalled", "True", "InvalidSpec").await;
    let said = condition(&broker, "Stalled").expect("a condition").2;
    assert!(said.contains("no site named \"Branch\"; it has 1 (Head office)"), "{said}");
    assert!(said.contains("spec.siteName") && said.contains("upper and lower case"), "{said}");

    // Once per period, however often the object is looked at.
    world.patch_farm(json!({"spec": {"resyncPeriod": "1h"}})).await;
    world.farm_ready().await;
    let seen = world.seen(SITES);
    for number in 0..5 {
        world.edit_broker("cb1", json!({"description": format!("look {number}")})).await;
    }
    stays("the sites are not read for each look", Duration::from_secs(2), async || {
        if world.seen(SITES) == seen { Ok(()) } else { Err(world.seen(SITES)) }
    })
    .await;

    world.farm().add_site("Branch", "primary2.corp.example").expect("a site");
    world.farm().apply_as_person("alice");
    world.patch_farm(json!({"spec": {"resyncPeriod": "1s"}})).await;
    world.ready("cb1").await;
    assert_eq!(site_of(&world, "cb1"), Some(2));
    let seen = world.seen(SITES);
    stays("what is known is not read again", Duration::from_secs(3), async || {
        if world.seen(SITES) == seen { Ok(()) } else { Err(world.seen(SITES)) }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_two_sites_have_is_not_guessed_at() {
    let world = world("twins", &["Head office", "Branch", "Branch"], json!({})).await;
    world.create_broker("cb1", json!({"siteName": "Branch"})).await;
    let broker = world.broker_shows("cb1", "Stalled", "True", "InvalidSpec").await;
    let said = condition(&broker, "Stalled").expect("a condition").2;
    assert!(said.contains("more than one site named \"Branch\""), "{said}");
    assert!(said.contains("2 (Branch), 3 (Branch)") && said.contains("spec.siteId"), "{said}");
    assert_eq!(world.seen(CREATE), 0);
    world.farm().rename_site(3, "Lab").expect("it is renamed");
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    assert_eq!(site_of(&world, "cb1"), Some(2));
}

#[tokio::test]
async fn a_name_of_another_site_than_the_recorded_one_is_stalled() {
    let world = world("contradicts", &["Head office", "Branch"], json!({})).await;
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    world.create_broker("cb2", json!({})).await;
    world.ready("cb2").await;
    world.edit_broker("cb1", json!({"siteName": "Head office", "description": "right"})).await;
    world.ready("cb1").await;
    world.edit_broker("cb2", json!({"siteName": "Branch"})).await;
    let broker = world.broker_shows("cb2", "Stalled", "True", "InvalidSpec").await;
    let said = condition(&broker, "Stalled").expect("a condition").2;
    assert!(said.contains("spec.siteName is \"Branch\", which is site 2"), "{said}");
    assert!(said.contains("recorded in site 1"), "{said}");
    let changed = refusal(&world, "cb1", json!({"siteName": "Branch"})).await;
    assert!(changed.contains("siteName is immutable"), "{changed}");
    let both = refusal(&world, "cb1", json!({"siteId": 1})).await;
    assert!(both.contains("set only one of siteId and siteName"), "{both}");
}

/// The four spellings of one site: by the broker's id, by its name, by the farm's default id, and by its default name.
#[tokio::test]
async fn one_server_is_one_server_in_four_spellings_of_its_site() {
    let mut world = World::idle("spellings", farm(&["Head office", "Branch"])).await;
    world.create_farm(json!({"siteId": 2})).await;
    // Another object for the same farm, with another default.
    let mut other = objects::farm("south", &world.farm().endpoint(), world.simulator.ca_pem());
    other["spec"]["credentialsSecretRef"] = json!({"name": objects::credentials_name(FARM)});
    other["spec"]["siteName"] = "Branch".into();
    other["spec"]["resyncPeriod"] = "1s".into();
    world.apply(other).await;
    world.start_operator(&[]).await;

    let host = server("cb1");
    world.create_broker("cb1", json!({"siteId": 2})).await;
    world.ready("cb1").await;
    let same = [
        ("by-name", json!({"siteName": "Branch"})),
        ("by-default-id", json!({})),
        ("by-default-name", json!({"farmRef": {"name": "south"}})),
    ];
    for (name, spec) in same {
        let mut spec = spec;
        spec["server"] = host.clone().into();
        world.create_broker(name, spec).await;
        let broker = world.broker_shows(name, "Stalled", "True", "ResourceConflict").await;
        let said = condition(&broker, "Stalled").expect("a condition").2;
        assert!(said.contains("already manages this server"), "{name}: {said}");
    }
    world.create_broker("elsewhere", json!({"siteName": "Head office", "server": host})).await;
    world.ready("elsewhere").await;
    assert_eq!(world.seen(CREATE), 2, "one row for each site");
}

#[tokio::test]
async fn a_farm_whose_own_site_is_not_known_says_so_and_goes_on_with_the_rest() {
    let world = world("default", &["Head office"], json!({"siteName": "Branch"})).await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    assert_eq!(farm_condition(&farm, "Ready").map(|ready| ready.1).as_deref(), Some("InvalidSpec"));
    world.create_broker("cb1", json!({"siteId": 1})).await;
    world.ready("cb1").await;
    world.create_broker("cb2", json!({})).await;
    let broker = world.broker_shows("cb2", "Stalled", "True", "InvalidSpec").await;
    let said = condition(&broker, "Stalled").expect("a condition").2;
    assert!(
        said.contains("spec.siteName of RasFarm \"north\"") && said.contains("1 (Head office)"),
        "{said}"
    );
    world.patch_farm(json!({"spec": {"siteName": "Head office"}})).await;
    world.ready("cb2").await;
    eventually("the farm is ready", SOON, async || {
        let farm = world.farms().get(FARM).await.map_err(|error| error.to_string())?;
        match farm_condition(&farm, "Stalled") {
            None => Ok(()),
            Some(said) => Err(said.2),
        }
    })
    .await;
}

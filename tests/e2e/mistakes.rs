//! The mistakes that users make most, provoked one by one: what the objects then show is what
//! `docs/troubleshooting.md` says they do.
//!
//! `UPDATE_DOCS=1 make e2e` writes that page's blocks anew.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams};
use ras_operator::crd::Origin;
use ras_operator::simulator::{
    Account, ApplyPath, BrokerConfig, Edit, FarmConfig, NewRow, Rights, SiteConfig, Switches,
};
use serde_json::{Value, json};

use crate::page;
use crate::support::{eventually, objects};
use crate::world::{FARM, SOON, World};

mod paste;
mod shown;

use paste::paste;
use shown::{Shown, settled, shown};

const PAGE: &str = "docs/troubleshooting.md";
const PRIMARY: &str = "ras-1.example.com";

/// Every block of the page, so that none is left behind there without a run.
const ALL: [&str; 18] = [
    "wrong-password",
    "missing-secret",
    "missing-key",
    "wrong-authority",
    "wrong-port",
    "farm-down-broker",
    "missing-farm",
    "missing-site",
    "already-exists",
    "two-objects",
    "two-spellings",
    "agent-missing",
    "primary-deleted",
    "mass-deletion",
    "foreign-changes",
    "manual-apply",
    "apply-elsewhere",
    "account-without-rights",
];

/// A farm of one primary, as the page assumes it.
fn farm() -> FarmConfig {
    let site = SiteConfig { id: 1, name: "Head office".into(), brokers: vec![BrokerConfig::new(PRIMARY)] };
    FarmConfig {
        name: "North".into(),
        domain: "example.com".into(),
        sites: vec![site],
        ..FarmConfig::default()
    }
}

/// Namespace, farm and the farm's objects, before an operator looks at them.
async fn before_the_operator(spec: Value) -> World {
    let world = World::idle("mistakes", farm()).await;
    world.create_farm(spec).await;
    world
}

async fn world(spec: Value) -> World {
    World::with("mistakes", farm(), spec).await
}

/// Does what the broker's message says.
async fn paste_from_broker(world: &World, name: &str) {
    let broker = world.brokers().get(name).await.expect("the broker");
    paste(world, &broker.status.expect("a status").conditions).await;
}

/// Does what the farm's message says.
async fn paste_from_farm(world: &World) {
    let farm = world.farms().get(FARM).await.expect("the farm");
    paste(world, &farm.status.expect("a status").conditions).await;
}

async fn broker(world: &World, name: &str, server: &str, spec: Value) {
    let mut over = json!({"server": server});
    crate::world::merge(&mut over, spec);
    world.create_broker(name, over).await;
}

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.client(), &world.namespace)
}

/// Holds what the objects show against the page, once they show `expected` and no longer change.
async fn documented(world: &World, name: &str, objects: &[Shown<'_>]) {
    assert!(ALL.contains(&name), "{name} is not among the blocks of {PAGE}");
    let text = if page::is_updating() {
        settled(world, objects).await
    } else {
        let written = page::made(PAGE, name);
        let look = async || {
            let text = shown(world, objects).await;
            if text == written { Ok(text) } else { Err(Difference { written: written.clone(), text }) }
        };
        eventually(&format!("{PAGE} says at {name:?} what is shown"), SOON, look).await
    };
    page::hold(PAGE, name, &text, "make e2e");
}

/// Both sides of a page that is out of date.
struct Difference {
    written: String,
    text: String,
}

impl std::fmt::Debug for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { written, text } = self;
        write!(
            formatter,
            "\n--- shown\n{text}\n--- page says\n{written}\n(UPDATE_DOCS=1 make e2e writes it anew)"
        )
    }
}

#[test]
fn every_block_of_the_page_is_from_a_run() {
    assert_eq!(page::names(PAGE), ALL);
}

#[tokio::test]
async fn wrong_password() {
    let mut world = before_the_operator(json!({})).await;
    world.apply(objects::secret(&objects::credentials_name(FARM), "administrator", "wrong")).await;
    world.start_operator(&[]).await;
    world.farm_shows("Authenticated", "False", "AuthenticationFailed").await;
    documented(&world, "wrong-password", &[Shown::Farm]).await;
}

#[tokio::test]
async fn missing_secret() {
    let mut world = before_the_operator(json!({})).await;
    secrets(&world)
        .delete(&objects::credentials_name(FARM), &DeleteParams::default())
        .await
        .expect("deleted");
    world.start_operator(&[]).await;
    world.farm_shows("Authenticated", "False", "SecretNotFound").await;
    documented(&world, "missing-secret", &[Shown::Farm]).await;
}

#[tokio::test]
async fn missing_key() {
    let mut world = before_the_operator(json!({})).await;
    let name = objects::credentials_name(FARM);
    secrets(&world).delete(&name, &DeleteParams::default()).await.expect("deleted");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"user": "administrator", "password": "simulator"},
    });
    world.apply(secret).await;
    world.start_operator(&[]).await;
    world.farm_shows("Authenticated", "False", "SecretNotFound").await;
    documented(&world, "missing-key", &[Shown::Farm]).await;
}

#[tokio::test]
async fn wrong_authority() {
    let world = world(json!({"tls": {"caBundle": another_authority()}})).await;
    world.farm_shows("Reachable", "False", "TLSVerificationFailed").await;
    documented(&world, "wrong-authority", &[Shown::Farm]).await;
}

/// An authority that signed nothing of the farm's.
fn another_authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Another authority");
    params.self_signed(&key).expect("a certificate").pem()
}

#[tokio::test]
async fn wrong_port() {
    let mut world = before_the_operator(json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.farm().set_reachable(false);
    world.start_operator(&[]).await;
    world.farm_shows("Reachable", "False", "CircuitOpen").await;
    documented(&world, "wrong-port", &[Shown::Farm]).await;
    documented(&world, "farm-down-broker", &[Shown::Broker("ras-2")]).await;
}

#[tokio::test]
async fn missing_farm() {
    let mut world = World::idle("mistakes", farm()).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({"farmRef": {"name": "nroth"}})).await;
    world.start_operator(&[]).await;
    world.broker_shows("ras-2", "Ready", "False", "WaitingForFarm").await;
    documented(&world, "missing-farm", &[Shown::Broker("ras-2")]).await;
}

#[tokio::test]
async fn missing_site() {
    let world = world(json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({"siteId": 7})).await;
    world.broker_shows("ras-2", "Stalled", "True", "InvalidSpec").await;
    documented(&world, "missing-site", &[Shown::Broker("ras-2")]).await;
}

#[tokio::test]
async fn already_exists() {
    let world = world(json!({})).await;
    let row = NewRow { person: "alice".into(), server: "ras-2.example.com".into(), site_id: None };
    world.farm().add_broker(&row).expect("the row is taken");
    world.farm().apply_as_person("alice");
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Stalled", "True", "AlreadyExists").await;
    documented(&world, "already-exists", &[Shown::Broker("ras-2")]).await;
    paste_from_broker(&world, "ras-2").await;
    let adopted = world.ready("ras-2").await.status.and_then(|status| status.origin);
    assert_eq!(adopted, Some(Origin::Adopted));
}

#[tokio::test]
async fn two_objects() {
    let world = world(json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.ready("ras-2").await;
    broker(&world, "second", "RAS-2.example.com", json!({})).await;
    world.broker_shows("second", "Stalled", "True", "ResourceConflict").await;
    documented(&world, "two-objects", &[Shown::Broker("second")]).await;
}

#[tokio::test]
async fn two_spellings() {
    let world = world(json!({})).await;
    broker(&world, "ras-1", "ras-1", json!({})).await;
    world.broker_shows("ras-1", "Stalled", "True", "ResourceConflict").await;
    documented(&world, "two-spellings", &[Shown::Broker("ras-1")]).await;
}

#[tokio::test]
async fn agent_missing() {
    let farm = FarmConfig { servers_without_agent: vec!["ras-2.example.com".into()], ..farm() };
    let world = World::with("mistakes", farm, json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Reconciling", "True", "WaitingForAgent").await;
    documented(&world, "agent-missing", &[Shown::Broker("ras-2")]).await;
}

#[tokio::test]
async fn primary_deleted() {
    let world = world(json!({})).await;
    let policies = json!({"adoptionPolicy": "Required", "deletionPolicy": "Delete"});
    broker(&world, "ras-1", PRIMARY, policies).await;
    world.ready("ras-1").await;
    world.delete_broker("ras-1").await;
    world.broker_shows("ras-1", "DeletionHeld", "True", "AvailabilityGuard").await;
    documented(&world, "primary-deleted", &[Shown::Broker("ras-1")]).await;
    paste_from_broker(&world, "ras-1").await;
    world.gone("ras-1").await;
    assert!(world.farm().broker_named(PRIMARY).is_some(), "left in the farm");
}

#[tokio::test]
async fn mass_deletion() {
    let world = world(json!({})).await;
    let names = ["ras-2", "ras-3", "ras-4"];
    for name in names {
        broker(&world, name, &format!("{name}.example.com"), json!({})).await;
    }
    for name in names {
        world.ready(name).await;
    }
    world
        .brokers()
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .expect("deleted");
    world.broker_shows("ras-3", "DeletionHeld", "True", "MassDeletionBreaker").await;
    documented(&world, "mass-deletion", &[Shown::Broker("ras-3")]).await;
    paste_from_broker(&world, "ras-3").await;
    for name in names {
        world.gone(name).await;
    }
    assert_eq!(world.farm().brokers().len(), 1, "only the primary is left");
}

#[tokio::test]
async fn foreign_changes() {
    let world = world(json!({})).await;
    world.farm_shows("Ready", "True", "Available").await;
    let edit = Edit { person: "alice".into(), description: Some("not finished".into()), ..Edit::default() };
    world.farm().edit(1, edit).expect("the edit is taken");
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Reconciling", "True", "WaitingForFarm").await;
    world.farm_shows("Ready", "False", "ForeignPendingChanges").await;
    documented(&world, "foreign-changes", &[Shown::Farm, Shown::Broker("ras-2")]).await;
    paste_from_farm(&world).await;
    world.ready("ras-2").await;
    assert!(!world.farm().is_pending(), "alice's change is applied too");
}

#[tokio::test]
async fn manual_apply() {
    let world = world(json!({"apply": {"mode": "Manual"}})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Reconciling", "True", "WaitingForApply").await;
    documented(&world, "manual-apply", &[Shown::Broker("ras-2"), Shown::Farm]).await;
    paste_from_broker(&world, "ras-2").await;
    world.ready("ras-2").await;
}

#[tokio::test]
async fn apply_is_elsewhere() {
    let switches = Switches { apply_path: ApplyPath::FarmSettings, ..Switches::default() };
    let world = World::with("mistakes", FarmConfig { switches, ..farm() }, json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Reconciling", "True", "WaitingForApply").await;
    documented(&world, "apply-elsewhere", &[Shown::Farm, Shown::Broker("ras-2")]).await;
    let call = json!({"path": "/api/FarmSettings/apply", "method": "PUT"});
    world.patch_farm(json!({"spec": {"api": {"apply": call}}})).await;
    world.ready("ras-2").await;
}

#[tokio::test]
async fn the_account_may_only_look() {
    let account = Account { rights: Rights::View, ..Account::default() };
    let world = World::with("mistakes", FarmConfig { accounts: vec![account], ..farm() }, json!({})).await;
    broker(&world, "ras-2", "ras-2.example.com", json!({})).await;
    world.broker_shows("ras-2", "Stalled", "True", "Forbidden").await;
    documented(&world, "account-without-rights", &[Shown::Broker("ras-2")]).await;
    world.farm().set_account(Account::default());
    world.ready("ras-2").await;
}

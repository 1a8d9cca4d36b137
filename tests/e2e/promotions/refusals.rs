//! What is not sent, and what is said then.

use std::time::Duration;

use ras_operator::crd::PromotionPhase::{Failed, Pending, Succeeded};
use ras_operator::simulator::{Edit, FarmConfig, Fault, InferredCalls, Switches};
use serde_json::json;

use super::{account, condition, farm, promote, sent, shows, world, world_with};
use crate::support::{eventually, stays};
use crate::world::{SOON, World, server};

const WHILE: Duration = Duration::from_secs(3);

/// Waits for the refusal, and holds that nothing was sent and that the object is final.
async fn refused(world: &World, name: &str, reason: &str, words: &str) {
    let promotion = shows(world, name, Failed, reason).await;
    let (_, why, said) = condition(&promotion, "Failed").expect("Failed");
    assert_eq!(why, reason);
    assert!(said.contains(words), "{said}");
    assert_eq!(condition(&promotion, "Stalled").expect("Stalled").0, "True");
    assert_eq!(condition(&promotion, "Complete"), None);
    assert!(promotion.status.expect("a status").completion_time.is_some());
    assert!(sent(world).is_empty(), "{name} was sent");
}

async fn pending(world: &World, name: &str, reason: &str, words: &str) {
    let promotion = shows(world, name, Pending, reason).await;
    let said = condition(&promotion, "Reconciling").expect("Reconciling").2;
    assert!(said.contains(words), "{said}");
    assert!(sent(world).is_empty(), "{name} was sent");
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_sends_nothing() {
    let world = world("refused").await;
    promote(&world, "late", "cb2", json!({"notAfter": "2020-01-01T00:00:00Z"})).await;
    refused(&world, "late", "Expired", "spec.notAfter").await;

    promote(&world, "other-primary", "cb2", json!({"expectedPrimary": server("cb3")})).await;
    refused(&world, "other-primary", "UnexpectedPrimary", &server("cb1")).await;

    let id = world.farm().broker_named(&server("cb3")).expect("a row").id;
    world.farm().edit(id, Edit { enabled: Some(false), ..Edit::default() }).expect("it is disabled");
    world.farm().apply_as_person("alice");
    promote(&world, "disabled", "cb3", json!({})).await;
    refused(&world, "disabled", "NotEligible", "disabled").await;

    world.farm().set_agent_state(&server("cb2"), Some(-1));
    world.broker_shows("cb2", "Ready", "False", "WaitingForAgent").await;
    promote(&world, "unhealthy", "cb2", json!({})).await;
    refused(&world, "unhealthy", "NotEligible", "Disconnected").await;

    world.edit_broker("cb2", json!({"managementPolicy": "ObserveOnly"})).await;
    promote(&world, "observed", "cb2", json!({})).await;
    refused(&world, "observed", "NotEligible", "ObserveOnly").await;
    assert!(world.writes().is_empty(), "{:?}", world.writes());
    world.has_event("PromotionFailed").await;
}

#[tokio::test]
async fn what_may_come_by_itself_is_waited_for_until_the_time_is_over() {
    let world = world("waits").await;
    promote(&world, "nobody", "cb9", json!({})).await;
    pending(&world, "nobody", "NotFound", "cb9").await;

    world.edit_broker("cb2", json!({"suspend": true})).await;
    promote(&world, "suspended", "cb2", json!({})).await;
    pending(&world, "suspended", "Suspended", "spec.suspend").await;

    world.farm().set_reachable(false);
    world.farm_shows("Reachable", "False", "CircuitOpen").await;
    let soon = world.farm().now() + Duration::from_secs(10);
    promote(&world, "down", "cb3", json!({"notAfter": soon.to_string()})).await;
    pending(&world, "down", "WaitingForFarm", "fallbackEndpoints").await;
    refused(&world, "down", "Expired", "spec.notAfter").await;
    world.farm().set_reachable(true);
    world.farm_ready().await;
    stays("nothing is sent after its time", WHILE, async || match sent(&world).len() {
        0 => Ok(()),
        count => Err(count),
    })
    .await;
}

#[tokio::test]
async fn of_two_requests_for_a_site_the_older_runs_and_the_other_is_refused() {
    let world = world("two").await;
    world.edit_broker("cb2", json!({"suspend": true})).await;
    promote(&world, "first", "cb2", json!({})).await;
    pending(&world, "first", "Suspended", "spec.suspend").await;
    promote(&world, "second", "cb3", json!({})).await;
    refused(&world, "second", "ResourceConflict", "\"first\"").await;
    world.edit_broker("cb2", json!({"suspend": false})).await;
    shows(&world, "first", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_farm_without_the_call_says_so_and_names_the_field() {
    let switches = Switches { inferred_calls: InferredCalls::Absent, ..Switches::default() };
    let world = world_with("unsupported", FarmConfig { switches, ..farm() }, json!({})).await;
    promote(&world, "go", "cb2", json!({})).await;
    let failed = shows(&world, "go", Failed, "Unsupported").await;
    let said = condition(&failed, "Failed").expect("Failed").2;
    assert!(said.contains("spec.api.promote"), "{said}");
    let asked = |world: &World| {
        let journal = world.farm().journal();
        journal.iter().filter(|entry| entry.path.ends_with("/promote")).count()
    };
    assert_eq!(asked(&world), 1);
    let farm = world.farms().get(crate::world::FARM).await.expect("the farm").status.expect("a status");
    assert!(!format!("{:?}", farm.capabilities).contains("Promote"));
    // The farm goes on as before, and so do its brokers.
    world.edit_broker("cb3", json!({"description": "goes on"})).await;
    world.ready("cb3").await;
    assert_eq!(asked(&world), 1, "it is not tried again");
}

#[tokio::test]
async fn a_refusal_by_the_farm_ends_the_request_with_its_words_and_without_the_password() {
    let world = world("farm-refuses").await;
    account(&world, "Wrong-Password-1").await;
    promote(&world, "go", "cb2", json!({})).await;
    let failed = shows(&world, "go", Failed, "Refused").await;
    let said = condition(&failed, "Failed").expect("Failed").2;
    assert!(said.contains("invalid login or password"), "{said}");
    assert_eq!((sent(&world).len(), sent(&world)[0].status), (1, Some(400)));
    account(&world, super::PASSWORD).await;
    stays("it is not tried again with a better account", WHILE, async || match sent(&world).len() {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
    world.farm().fault(Fault::status(423).on(super::PROMOTE.0, super::PROMOTE.1));
    promote(&world, "again", "cb2", json!({})).await;
    shows(&world, "again", Failed, "Refused").await;
    promote(&world, "third", "cb2", json!({})).await;
    shows(&world, "third", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 3);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_waited_for_and_never_shown() {
    let world = world("my-account").await;
    promote(&world, "go", "cb2", json!({"accountSecretRef": {"name": "missing"}})).await;
    pending(&world, "go", "SecretNotFound", "\"missing\" does not exist").await;
    let half = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "missing"},
        "stringData": {"email": super::EMAIL},
    });
    world.apply(half).await;
    let api = super::promotions(&world);
    eventually("the missing key is named", SOON, async || {
        let said = condition(&api.get("go").await.map_err(|e| e.to_string())?, "Ready").expect("Ready").2;
        if said.contains("lacks the key \"password\"") { Ok(()) } else { Err(said) }
    })
    .await;
    let whole = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "missing"},
        "stringData": {"email": super::EMAIL, "password": super::PASSWORD},
    });
    world.apply(whole).await;
    shows(&world, "go", Succeeded, "Promoted").await;
}

/// `Guarded` commits nobody else's work, and a promotion ends in an Apply.
#[tokio::test]
async fn a_promotion_waits_for_pending_changes_of_others_and_for_own_unapplied_ones() {
    let world = world_with("guarded", farm(), json!({"apply": {"mode": "Guarded"}})).await;
    super::quiet(&world).await;
    let id = world.farm().broker_named(&server("cb3")).expect("a row").id;
    let edit = Edit { person: "alice".into(), description: Some("draft".into()), ..Edit::default() };
    world.farm().edit(id, edit).expect("the edit is taken");
    promote(&world, "go", "cb2", json!({})).await;
    pending(&world, "go", "WaitingForFarm", "did not make").await;
    world.farm().apply_as_person("alice");
    shows(&world, "go", Succeeded, "Promoted").await;

    world.patch_farm(json!({"spec": {"apply": {"mode": "Manual"}}})).await;
    world.edit_broker("cb3", json!({"description": "written"})).await;
    world.broker_shows("cb3", "Reconciling", "True", "WaitingForApply").await;
    promote(&world, "back", "cb1", json!({"expectedPrimary": server("cb2")})).await;
    shows(&world, "back", Pending, "WaitingForApply").await;
    assert_eq!(sent(&world).len(), 1);
    world.annotate_farm("ras-operator.dev/apply-requested-at", "one").await;
    shows(&world, "back", ras_operator::crd::PromotionPhase::Applying, "WaitingForApply").await;
    world.annotate_farm("ras-operator.dev/apply-requested-at", "two").await;
    shows(&world, "back", Succeeded, "Promoted").await;
    assert_eq!(sent(&world).len(), 2);
}

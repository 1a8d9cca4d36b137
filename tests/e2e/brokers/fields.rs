//! The fields of a broker: what is sent, what is left alone, what is drift, and what the farm does not take.

use ras_operator::simulator::{AlternativeIpsForm, Edit, FarmConfig, PutEmpty, Switch};
use serde_json::json;

use super::{
    broker_writes, count, edited_by, farm_is_left_alone, farm_with, id_of, last_path, message, object_is,
    object_was_written, object_writes, puts, row_is, told,
};
use crate::support::stays;
use crate::world::{World, condition};

const CREATED: [&str; 3] =
    ["patch rasbrokers 200", "patch rasbrokers/status 200", "patch rasbrokers/status 200"];

#[tokio::test]
async fn only_what_differs_is_written_on_either_side() {
    let world = World::new("sparse").await;
    let mark = world.plane.audit_log().mark();
    world.create_broker("cb1", json!({})).await;
    world.ready("cb1").await;
    assert_eq!(
        world.writes(),
        ["POST /api/Broker", "POST /api/Settings/apply"],
        "nothing is set, nothing is put"
    );
    let query = last_path(&world, "POST").to_lowercase();
    for switch in ["noinstall=true", "norestart=true", "nofirewallrules=true"] {
        assert!(query.contains(switch), "{query}");
    }
    object_was_written(&world, "cb1", mark, &CREATED).await;

    let mark = world.plane.audit_log().mark();
    world.edit_broker("cb1", json!({"description": "front"})).await;
    world.ready("cb1").await;
    world.edit_broker("cb1", json!({"enabled": false})).await;
    world.ready("cb1").await;
    assert_eq!(puts(&world), [json!({"description": "front"}), json!({"enabled": false})]);
    object_was_written(&world, "cb1", mark, &["patch rasbrokers/status 200"; 4]).await;
    assert_eq!(
        world.writes().iter().filter(|line| line.contains("apply")).count(),
        3,
        "one Apply per batch: {:?}",
        world.writes()
    );
}

#[tokio::test]
async fn further_fields_are_part_of_the_creation_and_only_an_installation_costs_a_write_of_status() {
    let world = World::new("whole").await;
    let mark = world.plane.audit_log().mark();
    let all = json!({
        "description": "all", "enabled": false, "ip": "10.1.0.9",
        "install": {"agent": true, "restart": true, "firewallRules": true}, "uninstall": {"agent": true},
    });
    world.create_broker("cb1", all).await;
    let broker = world.ready("cb1").await;
    assert_eq!(puts(&world), [json!({"description": "all", "enabled": false, "ip": "10.1.0.9"})]);
    let query = last_path(&world, "POST").to_lowercase();
    for switch in ["noinstall=false", "norestart=false", "nofirewallrules=false"] {
        assert!(query.contains(switch), "{query}");
    }
    // An installation, which may take minutes, is told before it begins; nothing else costs a write more.
    let told_first = [&["patch rasbrokers/status 200"], CREATED.as_slice()].concat();
    object_was_written(&world, "cb1", mark, &told_first).await;
    let observed = broker.status.and_then(|status| status.observed).expect("what was seen");
    assert_eq!((observed.enabled, observed.description.as_deref()), (Some(false), Some("all")));
    told(&world, "cb1", |told| told == ["CreatedExternalResource", "UpdatedExternalResource"]).await;

    world.delete_broker("cb1").await;
    world.gone("cb1").await;
    assert!(last_path(&world, "DELETE").to_lowercase().contains("nouninstall=false"));
}

#[tokio::test]
async fn drift_is_recorded_with_its_author_and_undone_once_that_is_possible() {
    let world = World::new("drifts").await;
    world.create_broker("cb1", json!({"description": "as written"})).await;
    let id = id_of(&world.ready("cb1").await);
    edited_by(&world, "alice", id, Edit { description: Some("by hand".into()), ..Edit::default() });
    // Alice keeps the broker open in her console, so nothing can be undone yet.
    world.farm().lock_broker("alice", id);
    let broker = world.broker_shows("cb1", "Drifted", "True", "DriftDetected").await;
    let status = broker.status.clone().expect("a status");
    let [drift] = status.drift.as_slice() else { panic!("{:?}", status.drift) };
    assert_eq!((drift.field.as_str(), drift.desired.as_str()), ("description", "as written"));
    assert_eq!((drift.observed.as_str(), drift.changed_by.as_deref()), ("by hand", Some("alice")));
    let since = drift.since.clone();
    assert_eq!(condition(&broker, "Ready").map(|ready| ready.0).as_deref(), Some("False"));

    let still = object_is(&world, "cb1", "the refusal is told", |broker| {
        condition(broker, "Reconciling").is_some_and(|(_, _, message)| message.contains("growing pauses"))
    })
    .await;
    assert_eq!(still.status.expect("a status").drift[0].since, since, "it is the same drift");
    world.farm().unlock_broker(id);
    let broker = world.ready("cb1").await;
    assert!(broker.status.as_ref().is_some_and(|status| status.drift.is_empty()));
    assert_eq!(condition(&broker, "Drifted"), None);
    assert_eq!(world.farm().broker(id).expect("the row").description, "as written");
    let once = |told: &[String]| count(told, "DriftDetected") == 1 && count(told, "DriftCorrected") == 1;
    told(&world, "cb1", once).await;
}

#[tokio::test]
async fn correcting_drift_costs_one_put_and_two_writes_of_status() {
    let world = World::new("cheap").await;
    world.create_broker("cb1", json!({"description": "as written", "enabled": true})).await;
    let id = id_of(&world.ready("cb1").await);
    let mark = world.plane.audit_log().mark();
    let before = puts(&world).len();
    edited_by(&world, "alice", id, Edit { enabled: Some(false), ..Edit::default() });
    row_is(&world, "the change is undone", id, |row| row.enabled).await;
    let is_settled = |broker: &ras_operator::crd::RasBroker| {
        object_writes(&world, "cb1", mark).len() >= 2
            && condition(broker, "Ready").is_some_and(|(status, ..)| status == "True")
    };
    object_is(&world, "cb1", "ready again", is_settled).await;
    assert_eq!(puts(&world)[before..], [json!({"enabled": true})]);
    object_was_written(&world, "cb1", mark, &["patch rasbrokers/status 200"; 2]).await;
}

#[tokio::test]
async fn a_field_that_is_not_set_is_nobodys_business() {
    let world = World::new("unset").await;
    world.create_broker("cb1", json!({"enabled": true})).await;
    let id = id_of(&world.ready("cb1").await);
    let before = broker_writes(&world);
    edited_by(
        &world,
        "alice",
        id,
        Edit { description: Some("hers".into()), standby: Some(true), ..Edit::default() },
    );
    let broker = object_is(&world, "cb1", "it is shown", |broker| {
        let observed = broker.status.as_ref().and_then(|status| status.observed.as_ref());
        observed.is_some_and(|observed| observed.description.as_deref() == Some("hers"))
    })
    .await;
    assert!(broker.status.as_ref().is_some_and(|status| status.drift.is_empty()));
    assert_eq!(condition(&broker, "Synced").map(|synced| synced.0).as_deref(), Some("True"));
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), before);
    world.ready("cb1").await;
}

#[tokio::test]
async fn a_list_of_addresses_is_the_same_list_with_either_separator() {
    for (form, separator) in [(AlternativeIpsForm::Semicolon, ","), (AlternativeIpsForm::AsSent, ";")] {
        let spec = json!({"api": {"alternativeIPsSeparator": separator}});
        let world = World::with("separator", FarmConfig::default(), spec).await;
        world.farm().set_switch(Switch::AlternativeIpsForm(form));
        world.create_broker("cb1", json!({"alternativeIPs": ["10.0.0.9", "CB1-alt.corp.example"]})).await;
        let id = id_of(&world.ready("cb1").await);
        let sent = format!("10.0.0.9{separator}cb1-alt.corp.example");
        assert_eq!(puts(&world), [json!({"alternativeIPs": sent})]);
        // Another order and spelling of the same is no difference.
        let other = "cb1-ALT.corp.example; 10.0.0.9".to_owned();
        edited_by(&world, "alice", id, Edit { alternative_ips: Some(other), ..Edit::default() });
        farm_is_left_alone(&world).await;
        world.edit_broker("cb1", json!({"alternativeIPs": []})).await;
        world.ready("cb1").await;
        assert_eq!(puts(&world).last(), Some(&json!({"alternativeIPs": ""})));
    }
}

#[tokio::test]
async fn what_the_farm_ignores_is_sent_once_and_named_with_both_values() {
    let world = World::new("ignored").await;
    world.farm().set_switch(Switch::PutEmpty(PutEmpty::Ignored));
    world.create_broker("cb1", json!({"description": "kept"})).await;
    world.ready("cb1").await;
    world.edit_broker("cb1", json!({"description": ""})).await;
    let broker = world.broker_shows("cb1", "Synced", "False", "ReconcileError").await;
    let text = message(&broker, "Synced");
    assert!(text.contains("description should be \"\" and is \"kept\""), "{text}");
    assert_eq!(
        condition(&broker, "Ready").map(|ready| (ready.0, ready.1)),
        Some(("False".into(), "ReconcileError".into()))
    );
    assert_eq!(puts(&world).len(), 2);
    farm_is_left_alone(&world).await;

    world.annotate_broker("cb1", "ras-operator.dev/reconcile-requested-at", "again").await;
    object_is(&world, "cb1", "it was tried once more", |_| puts(&world).len() == 3).await;
    object_is(&world, "cb1", "and answered", |broker| {
        broker.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("again")
    })
    .await;
    farm_is_left_alone(&world).await;
    world.broker_shows("cb1", "Synced", "False", "ReconcileError").await;
    world.edit_broker("cb1", json!({"description": "other"})).await;
    world.ready("cb1").await;
}

#[tokio::test]
async fn what_waits_for_somebodys_apply_is_not_sent_again_each_period() {
    let spec = json!({"apply": {"mode": "Manual"}});
    let world = World::with("manual", FarmConfig::default(), spec).await;
    world.farm().set_switch(Switch::PutEmpty(PutEmpty::Ignored));
    world.create_broker("cb1", json!({})).await;
    let waiting = world.broker_shows("cb1", "Reconciling", "True", "WaitingForApply").await;
    world
        .farm()
        .edit(id_of(&waiting), Edit { description: Some("kept".into()), ..Edit::default() })
        .expect("taken");
    world.farm().apply_as_person("alice");
    world.ready("cb1").await;
    world.edit_broker("cb1", json!({"description": ""})).await;
    world.broker_shows("cb1", "Reconciling", "True", "WaitingForApply").await;
    stays("it is sent once", super::A_WHILE, async || {
        let all = puts(&world);
        if all == [json!({"description": ""})] { Ok(()) } else { Err(all) }
    })
    .await;
    world.farm().apply_as_person("alice");
    world.broker_shows("cb1", "Synced", "False", "ReconcileError").await;
    assert_eq!(puts(&world).len(), 1);
}

#[tokio::test]
async fn the_primary_is_neither_disabled_nor_put_in_standby() {
    let world = World::with("primary", farm_with(vec![]), json!({})).await;
    let spec = json!({
        "server": "cb-primary.example.test", "adoptionPolicy": "IfExists",
        "enabled": false, "standby": true, "description": "first",
    });
    world.create_broker("cb0", spec).await;
    let broker = world.broker_shows("cb0", "Synced", "False", "ReconcileError").await;
    let text = message(&broker, "Synced");
    assert!(text.contains("primary") && text.contains("enabled and standby"), "{text}");
    assert_eq!(puts(&world), [json!({"description": "first"})], "the rest is done");
    farm_is_left_alone(&world).await;
}

#[tokio::test]
async fn an_agent_is_installed_with_an_account_of_its_own_once_that_is_there() {
    let world = World::new("install").await;
    let spec = json!({"install": {"agent": true, "credentialsSecretRef": {"name": "local-admin"}}});
    world.create_broker("cb1", spec).await;
    object_is(&world, "cb1", "it says which Secret is missing", |broker| {
        condition(broker, "Reconciling").is_some_and(|(_, reason, text)| {
            let names_it =
                text.contains("\"local-admin\"") && text.contains("spec.install.credentialsSecretRef");
            reason == "Creating" && names_it
        })
    })
    .await;
    farm_is_left_alone(&world).await;
    assert_eq!(broker_writes(&world), 0);
    world.apply(crate::support::objects::secret("local-admin", "CORP\\installer", "s3cret")).await;
    world.ready("cb1").await;
    let query = last_path(&world, "POST").to_lowercase();
    assert!(query.contains("username=***") && query.contains("password=***"), "{query}");
}

//! Settings of automatic promotion: kept field by field, in the farm's own batches, and told about.

use std::time::Duration;

use ras_operator::crd::RasFarm;
use ras_operator::simulator::{
    AutoPromotion, BrokerConfig, Effect, FarmConfig, Fault, JournalEntry, PromotionSettings, SiteConfig,
    Switches,
};
use serde_json::{Value, json};

use crate::farm_world::{APPLY, LIST, LOGON, farm_condition, message};
use crate::support::{eventually, stays};
use crate::world::{SOON, World, writes};

const READ: (&str, &str) = ("GET", "/api/BrokerPromotion/{id}");
const WRITE: (&str, &str) = ("PUT", "/api/BrokerPromotion/{id}");
const WHILE: Duration = Duration::from_secs(4);

/// A farm with two sites, of which the first has three active brokers, with this reading of the open question.
fn farm(reading: PromotionSettings) -> FarmConfig {
    let servers = ["one", "two", "three"].map(|name| BrokerConfig::new(&format!("{name}.corp.example")));
    let head = SiteConfig { name: "Head office".into(), brokers: servers.to_vec(), ..SiteConfig::default() };
    let branch = SiteConfig { id: 2, name: "Branch".into(), brokers: Vec::new() };
    let switches = Switches { promotion_settings: reading, ..Switches::default() };
    FarmConfig { sites: vec![head, branch], switches, ..FarmConfig::default() }
}

async fn keeping(stem: &str, sites: Value) -> World {
    World::with(stem, farm(PromotionSettings::Present), json!({"sites": sites})).await
}

async fn synced(world: &World) -> RasFarm {
    world.farm_says("Synced", "True", "ReconcileSuccess").await
}

/// The bodies of the writes so far.
fn bodies(world: &World) -> Vec<Value> {
    let is_write = |entry: &JournalEntry| (entry.method.as_str(), entry.route.as_str()) == WRITE;
    world.farm().journal().into_iter().filter(is_write).filter_map(|entry| entry.body).collect()
}

/// Somebody changes the first site in the console and applies.
fn changed_by_hand(world: &World, change: impl FnOnce(&mut AutoPromotion)) {
    let mut settings = world.farm().auto_promotion(1).expect("the site");
    change(&mut settings);
    world.farm().set_auto_promotion(1, settings).expect("it is taken");
    world.farm().apply_as_person("alice");
}

async fn nothing_is_written(world: &World) {
    let before = world.writes();
    stays("nothing is written", WHILE, async || match world.writes() {
        writes if writes == before => Ok(()),
        writes => Err(writes),
    })
    .await;
}

#[tokio::test]
async fn only_what_is_set_and_differs_is_written_and_applied_once() {
    let world =
        keeping("kept", json!([{"name": "Head office", "autoPromotion": {"enabled": true, "after": "30m"}}]))
            .await;
    let farm = synced(&world).await;
    assert_eq!(bodies(&world), [json!({"enabled": true})], "30 minutes is what it has");
    assert_eq!(world.writes(), ["PUT /api/BrokerPromotion/{id}", "POST /api/Settings/apply"]);
    assert!(!world.farm().is_pending());
    let sites = farm.status.as_ref().map(|status| status.sites.clone()).unwrap_or_default();
    let shown = sites[0].auto_promotion.clone().expect("what is seen");
    assert_eq!(
        (shown.enabled, shown.after.as_deref(), shown.failback),
        (Some(true), Some("30m"), Some(false))
    );
    assert_eq!((sites[1].auto_promotion.clone(), sites[0].drift.len()), (None, 0), "the other is not read");
    assert_eq!(farm_condition(&farm, "AutoPromotionImpaired"), None, "three brokers are right");
    let capabilities: Vec<_> =
        farm.status.iter().flat_map(|status| &status.capabilities).map(|one| format!("{one:?}")).collect();
    assert!(capabilities.contains(&"PromotionSettings".to_owned()), "{capabilities:?}");
    world.farm_ready().await;

    // At rest: one more read for each site and period, and nothing else.
    let version = world.farm_version().await;
    world.farm().clear_journal();
    eventually("three periods pass", SOON, async || match world.seen(LIST) {
        0..3 => Err(()),
        _ => Ok(()),
    })
    .await;
    let journal = world.farm().journal();
    let lines: Vec<_> = journal.iter().map(|entry| format!("{} {}", entry.method, entry.route)).collect();
    let period = ["GET /api/Broker", "GET /api/Agent", "GET /api/BrokerPromotion/{id}"];
    for (line, expected) in lines.iter().zip(rotated(&period, &lines[0])) {
        assert_eq!(line, expected, "{lines:?}");
    }
    assert_eq!(world.farm_version().await, version, "no write on the other side");

    // A setting that is taken out of the spec is left as it is.
    world
        .patch_farm(json!({"spec": {"sites": [{"name": "Head office", "autoPromotion": {"after": "1h"}}]}}))
        .await;
    synced(&world).await;
    assert_eq!(bodies(&world), [json!({"afterMinutes": 60})]);
    changed_by_hand(&world, |settings| settings.enabled = false);
    nothing_is_written(&world).await;
}

/// An endless period that begins with this line.
fn rotated<'a>(period: &'a [&'a str], first: &str) -> impl Iterator<Item = &'a str> {
    let at = period.iter().position(|line| *line == first).unwrap_or_default();
    period.iter().copied().cycle().skip(at)
}

#[tokio::test]
async fn a_farm_that_keeps_no_setting_is_not_asked_for_any() {
    let world =
        World::with("unmanaged", farm(PromotionSettings::Present), json!({"sites": [{"id": 1}]})).await;
    let farm = world.farm_ready().await;
    let wait = world.seen(LIST);
    eventually("two periods pass", SOON, async || match world.seen(LIST) - wait {
        0..2 => Err(()),
        _ => Ok(()),
    })
    .await;
    assert_eq!((world.seen(READ), world.seen(WRITE)), (0, 0));
    assert_eq!(farm.status.expect("a status").sites[0].auto_promotion, None);
}

#[tokio::test]
async fn what_is_changed_outside_is_told_and_undone() {
    let world =
        keeping("drift", json!([{"id": 1, "autoPromotion": {"failback": true, "enabled": true}}])).await;
    synced(&world).await;
    world.farm().fault(Fault::new(answer(423)).on(WRITE.0, WRITE.1).times(1));
    changed_by_hand(&world, |settings| settings.failback = false);
    let farm = world.farm_says("Drifted", "True", "DriftDetected").await;
    assert!(
        message(&farm, "Drifted").contains("autoPromotion.failback of site 1 (Head office) is \"false\"")
    );
    let drift = farm.status.expect("a status").sites[0].drift.clone();
    let [drift] = drift.as_slice() else { panic!("{drift:?}") };
    assert_eq!((drift.field.as_str(), drift.desired.as_str()), ("autoPromotion.failback", "true"));
    synced(&world).await;
    let farm = world.farm_is("no drift is left", |farm| farm_condition(farm, "Drifted").is_none()).await;
    assert!(farm.status.expect("a status").sites[0].drift.is_empty());
    assert!(world.farm().auto_promotion(1).expect("the site").failback);
    assert_eq!(bodies(&world).last(), Some(&json!({"failback": true})));
    world.has_event("DriftDetected").await;
    world.has_event("DriftCorrected").await;
    world.has_event("UpdatedExternalResource").await;
}

fn answer(status: u16) -> Effect {
    Effect::Answer { status, headers: Vec::new().into_iter().collect(), body: String::new() }
}

#[tokio::test]
async fn what_the_farm_ignores_is_sent_once_and_named_until_it_is_asked_for_again() {
    let mut world = World::idle("ignored", farm(PromotionSettings::Present)).await;
    world.farm().fault(Fault::new(answer(204)).on(WRITE.0, WRITE.1).always());
    world.create_farm(json!({"sites": [{"id": 2, "autoPromotion": {"after": "72h"}}]})).await;
    world.start_operator(&[]).await;
    let farm = world.farm_says("Synced", "False", "ReconcileError").await;
    let said = message(&farm, "Synced");
    assert!(
        said.contains("autoPromotion.after of site 2 (Branch) should be \"72h\" and is \"30m\""),
        "{said}"
    );
    assert_eq!(world.writes(), ["PUT /api/BrokerPromotion/{id}", "POST /api/Settings/apply"]);
    nothing_is_written(&world).await;
    world.farm_says("Ready", "True", "Available").await;

    world.farm().clear_faults();
    world.annotate_farm("ras-operator.dev/reconcile-requested-at", "again").await;
    synced(&world).await;
    assert_eq!(world.farm().auto_promotion(2).expect("the site").after_minutes, 72 * 60);
}

#[tokio::test]
async fn a_farm_without_the_call_says_so_and_everything_else_goes_on() {
    for (reading, words) in [
        (PromotionSettings::Absent, "spec.api.promotionSettings"),
        (PromotionSettings::OtherNames, "does not show what spec.sites sets"),
    ] {
        let sites = json!([{"id": 1, "autoPromotion": {"enabled": true}}]);
        let world = World::with("lacking", farm(reading), json!({"sites": sites})).await;
        let farm = world.farm_says("Synced", "False", "Unsupported").await;
        let said = message(&farm, "Synced");
        assert!(said.contains(words) && said.contains("Everything else is reconciled"), "{said}");
        world.farm_ready().await;
        world.create_broker("cb1", json!({})).await;
        world.ready("cb1").await;
        assert_eq!(world.seen(WRITE), 0);
        if reading == PromotionSettings::Absent {
            let logons = world.seen(LOGON);
            stays("it is asked once for each session", WHILE, async || {
                if world.seen(READ) <= logons { Ok(()) } else { Err(world.seen(READ)) }
            })
            .await;
            let switches = Switches { promotion_settings: PromotionSettings::Present, ..Switches::default() };
            world.farm().set_switches(switches);
            world.annotate_farm("ras-operator.dev/reconcile-requested-at", "upgraded").await;
            synced(&world).await;
        }
    }
}

#[tokio::test]
async fn settings_wait_where_everything_waits() {
    let world = keeping("waits", json!([{"id": 1, "autoPromotion": {"enabled": true}}])).await;
    synced(&world).await;
    let wanted = |enabled: bool| json!([{"id": 1, "autoPromotion": {"enabled": enabled}}]);

    world.patch_farm(json!({"spec": {"suspend": true, "sites": wanted(false)}})).await;
    world.farm_says("Synced", "False", "Suspended").await;
    nothing_is_written(&world).await;
    world.patch_farm(json!({"spec": {"suspend": false}})).await;
    synced(&world).await;

    // Somebody else's pending change would be applied with ours.
    let mut settings = world.farm().auto_promotion(2).expect("the site");
    settings.failback = true;
    world.farm().set_auto_promotion(2, settings).expect("it is taken");
    world.patch_farm(json!({"spec": {"sites": wanted(true)}})).await;
    let farm = world.farm_says("Synced", "False", "ForeignPendingChanges").await;
    assert_eq!(message(&farm, "Synced"), message(&farm, "Reconciling"));
    nothing_is_written(&world).await;
    world.farm().apply_as_person("alice");
    synced(&world).await;

    // Where a person applies, the change waits for that.
    world.patch_farm(json!({"spec": {"apply": {"mode": "Manual"}, "sites": wanted(false)}})).await;
    let farm = world.farm_says("Synced", "False", "WaitingForApply").await;
    assert!(message(&farm, "Synced").contains("ras-operator.dev/apply-requested-at"));
    let applies = world.seen(APPLY);
    world.annotate_farm("ras-operator.dev/apply-requested-at", "now").await;
    synced(&world).await;
    assert_eq!(world.seen(APPLY), applies + 1);
}

#[tokio::test]
async fn one_batch_takes_settings_and_brokers_together() {
    let mut world = World::idle("together", farm(PromotionSettings::Present)).await;
    world.farm().fault(Fault::new(Effect::Delay { millis: 1_500 }).on("POST", "/api/Broker").times(1));
    let on = json!({"enabled": true, "after": "15m", "failback": true});
    world
        .create_farm(
            json!({"sites": [{"id": 1, "autoPromotion": on}, {"name": "Branch", "autoPromotion": on}]}),
        )
        .await;
    world.create_broker("cb1", json!({})).await;
    world.start_operator(&[]).await;
    world.ready("cb1").await;
    let farm = synced(&world).await;
    let mut lines = writes(&world.farm().journal());
    assert_eq!(lines.pop().as_deref(), Some("POST /api/Settings/apply"), "one Apply, at the end");
    lines.sort();
    assert_eq!(lines, ["POST /api/Broker", "PUT /api/BrokerPromotion/{id}", "PUT /api/BrokerPromotion/{id}"]);

    // One site has four brokers, of which RAS has put one in standby; the other has one.
    let said = farm_condition(&farm, "AutoPromotionImpaired").expect("the warning");
    assert_eq!(said.1, "TooFewActiveBrokers");
    assert!(said.2.contains("site 2 (Branch) has 1: add or enable brokers"), "{said:?}");
    assert!(!said.2.contains("Head office"), "{said:?}");
    world.edit_broker("cb1", json!({"standby": false})).await;
    world.patch_farm(json!({"spec": {"sites": [{"id": 1, "autoPromotion": on}]}})).await;
    let farm = world.farm_says("AutoPromotionImpaired", "True", "TooManyActiveBrokers").await;
    assert!(message(&farm, "AutoPromotionImpaired").contains("site 1 (Head office) has 4"));
    world.edit_broker("cb1", json!({"standby": true})).await;
    world
        .farm_is("nothing is left to warn of", |farm| farm_condition(farm, "AutoPromotionImpaired").is_none())
        .await;
}

#[tokio::test]
async fn an_entry_that_means_no_site_or_one_that_another_means_is_not_kept() {
    let sites = json!([
        {"id": 1, "autoPromotion": {"failback": true}},
        {"name": "Lab", "autoPromotion": {"enabled": true}},
    ]);
    let world = keeping("entries", sites).await;
    let farm = world.farm_says("Stalled", "True", "InvalidSpec").await;
    let said = message(&farm, "Stalled");
    assert!(said.contains("no site named \"Lab\"; it has 1 (Head office), 2 (Branch)"), "{said}");
    assert!(said.contains("spec.sites[].name"), "{said}");
    eventually("the entry that is right is kept", SOON, async || {
        let settings = world.farm().auto_promotion(1);
        if settings.is_some_and(|settings| settings.failback) { Ok(()) } else { Err(settings) }
    })
    .await;
    world.farm().rename_site(1, "Lab").expect("it is renamed");
    world.farm().apply_as_person("alice");
    world
        .farm_is("both are told to mean one site", |farm| {
            farm_condition(farm, "Stalled")
                .is_some_and(|said| said.2.contains("Two entries of spec.sites mean site 1"))
        })
        .await;
    nothing_is_written(&world).await;
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_applied_and_a_restart_writes_nothing() {
    let mut world = World::idle("lost", farm(PromotionSettings::Present)).await;
    world.farm().fault(Fault::new(Effect::Reset).on(WRITE.0, WRITE.1).after_commit().times(1));
    world
        .create_farm(
            json!({"sites": [{"id": 1, "autoPromotion": {"enabled": true}}], "requestTimeout": "1s"}),
        )
        .await;
    world.start_operator(&[]).await;
    synced(&world).await;
    assert_eq!(world.seen(WRITE), 1, "what the farm shows is not sent again");
    eventually("it is applied", SOON, async || if world.farm().is_pending() { Err(()) } else { Ok(()) })
        .await;
    world
        .farm_is("nothing is pending any more", |farm| {
            farm.status.as_ref().is_some_and(|status| status.pending_apply.is_none())
        })
        .await;

    assert!(world.running().stopped().await.status.success());
    world.farm().clear_journal();
    let version = world.farm_version().await;
    world.start_operator(&[]).await;
    eventually("the settings are read again", SOON, async || match world.seen(READ) {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    nothing_is_written(&world).await;
    assert_eq!((world.seen(WRITE), world.farm_version().await), (0, version));
}

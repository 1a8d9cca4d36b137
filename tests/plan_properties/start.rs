//! Where a world may begin: any object, any rows, any habits of the farm.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::select;
use ras_operator::broker::canonical::ServerName;
use ras_operator::broker::observe::{Claim, Memory, Rival, observed_row};
use ras_operator::crd::condition::Reason;
use ras_operator::crd::{ApplyMode, RasBroker, annotation, finalizer};
use ras_operator::farm::snapshot::{RowKey, Snapshot};
use ras_operator::farm::view::Hold;
use ras_operator::ras;
use serde_json::{Value, json};

use crate::model::{ACCOUNT, GUID, Habits, World, start};

const UID: &str = "uid-1";
const SERVERS: &[&str] = &["cb1", "cb1.corp.example", "CB1.Corp.Example", "cb2.corp.example", "10.0.0.1"];
const ADDRESSES: &[&str] = &["10.0.0.1", "10.0.0.2"];
const LISTS: &[&str] = &["", "10.0.0.8", "10.0.0.8,10.0.0.9", "10.0.0.9; 10.0.0.8"];

/// Any world.
pub(crate) fn world() -> impl Strategy<Value = World> {
    (object(), rows(), surroundings(), habits())
        .prop_map(|(object, rows, around, habits)| assemble(&object, rows, around, habits))
}

/// A world in which nothing stands in the way of an object that is to exist.
pub(crate) fn obliging_world() -> impl Strategy<Value = World> {
    (object(), rows()).prop_map(|(mut object, rows)| {
        object.deleted = false;
        for key in ["suspend", "managementPolicy", "priority"] {
            object.spec.remove(key);
        }
        let mut world = assemble(&object, rows, Surroundings::default(), Habits::default());
        // Another serves each site: the last one is kept.
        let branch = "branch.corp.example".to_owned();
        world.rows.push(ras::Broker { id: 90, server: branch, site_id: 2, ..primary() });
        // The primary is another: what RAS forbids there is told and not done.
        for row in &mut world.rows {
            row.priority = Some(1);
            row.marked_for_deletion = None;
        }
        world.list();
        world
    })
}

/// A world with this spec laid over an object that manages nothing, beside a primary and these rows.
pub(crate) fn example(spec: &Value, rows: Vec<ras::Broker>) -> World {
    let mut object = Object { finalizer: true, ..Object::default() };
    object.spec.insert("farmRef", json!({"name": "north"}));
    object.spec.insert("server", json!("cb1.corp.example"));
    let mut all = vec![primary()];
    all.extend(rows);
    let mut world =
        assemble(&object, all, Surroundings { threshold: 2, ..Surroundings::default() }, Habits::default());
    let broker = world.broker.as_mut().expect("an object");
    let mut whole = serde_json::to_value(&broker.spec).expect("a spec");
    for (name, value) in spec.as_object().into_iter().flatten() {
        whole[name] = value.clone();
    }
    broker.spec = serde_json::from_value(whole).expect("a spec");
    world
}

/// The primary of every farm.
pub(crate) fn primary() -> ras::Broker {
    ras::Broker {
        id: 1,
        server: "primary.corp.example".into(),
        site_id: 1,
        priority: Some(0),
        admin_create: Some("bob".into()),
        ..ras::Broker::default()
    }
}

#[derive(Clone, Debug, Default)]
struct Object {
    spec: BTreeMap<&'static str, Value>,
    annotations: Vec<&'static str>,
    deleted: bool,
    finalizer: bool,
    /// The row, by its place, that status names as ours.
    owned: Option<(usize, &'static str)>,
    /// Whether an intent stands on it, and whether it was refused.
    intent: Option<bool>,
    asked: bool,
}

#[derive(Clone, Debug, Default)]
struct Surroundings {
    hold: Option<Hold>,
    manual: bool,
    rivals: Vec<Rival>,
    threshold: usize,
}

fn object() -> impl Strategy<Value = Object> {
    let marks = select(vec![
        vec![],
        vec![],
        vec![annotation::DELETION_PROTECTION],
        vec![annotation::SKIP_AVAILABILITY_CHECK],
        vec![annotation::FORCE_ORPHAN],
    ]);
    let owned = of((0_usize..5, select(&["Created", "Created", "Adopted", "Adopted", ""][..])));
    (spec(), marks, any::<bool>(), any::<bool>(), owned, of(any::<bool>()), any::<bool>()).prop_map(
        |(spec, annotations, deleted, finalizer, owned, intent, asked)| Object {
            spec,
            annotations,
            deleted,
            finalizer,
            owned,
            intent,
            asked,
        },
    )
}

fn spec() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let flag = || of(any::<bool>().prop_map(Value::from));
    let word = |words: &'static [&'static str]| select(words).prop_map(Value::from);
    let list = select(LISTS).prop_map(|text| {
        let items = text.split([',', ';']).map(str::trim).filter(|item| !item.is_empty());
        Value::from(items.collect::<Vec<_>>())
    });
    let fields = (
        flag(),
        flag(),
        of(word(&["", "one", "two"])),
        of(word(ADDRESSES)),
        of(list),
        weighted(0.1, Just(json!(3))),
        word(SERVERS),
    );
    let policies = (
        word(&["Never", "IfExists", "Required"]),
        of(word(&["Delete", "Orphan"])),
        weighted(0.2, Just(json!("ObserveOnly"))),
        weighted(0.2, Just(json!(true))),
        of(select(&[("siteId", 1), ("siteId", 2), ("siteName", 1)][..])),
    );
    (fields, policies).prop_map(|(fields, policies)| {
        let (enabled, standby, description, ip, list, priority, server) = fields;
        let (adoption, deletion, management, suspend, site) = policies;
        let all = [
            ("farmRef", Some(json!({"name": "north"}))),
            ("server", Some(server)),
            ("enabled", enabled),
            ("standby", standby),
            ("description", description),
            ("ip", ip),
            ("alternativeIPs", list),
            ("priority", priority),
            ("adoptionPolicy", Some(adoption)),
            ("deletionPolicy", deletion),
            ("managementPolicy", management),
            ("suspend", suspend),
        ];
        let site = site
            .map(|(field, id)| (field, Some(if field == "siteName" { json!("Site") } else { json!(id) })));
        all.into_iter().chain(site).filter_map(|(name, value)| Some((name, value?))).collect()
    })
}

fn rows() -> impl Strategy<Value = Vec<ras::Broker>> {
    vec(row(), 0..5).prop_map(|rows| {
        let mut kept: Vec<ras::Broker> = vec![primary()];
        for (row, id) in rows.into_iter().zip(2..) {
            // A farm has each key once.
            if kept.iter().all(|other| RowKey::of(other) != RowKey::of(&row)) {
                kept.push(ras::Broker { id, ..row });
            }
        }
        kept
    })
}

fn row() -> impl Strategy<Value = ras::Broker> {
    let flags = (of(any::<bool>()), of(any::<bool>()), weighted(0.1, Just(true)));
    let texts = (of(select(&["", "one", "three"][..])), of(select(ADDRESSES)), of(select(LISTS)));
    let place = (select(SERVERS), select(&[1_i64, 1, 2][..]), of(0_i64..4));
    let audit =
        (select(&[ACCOUNT, "bob"][..]), of(select(&["2026-01-01T00:00:00Z", "2020-05-05T00:00:00Z"][..])));
    (flags, texts, place, audit).prop_map(|(flags, texts, place, audit)| ras::Broker {
        id: 0,
        server: place.0.to_owned(),
        site_id: place.1,
        enabled: flags.0,
        standby: flags.1,
        marked_for_deletion: flags.2,
        description: texts.0.map(str::to_owned),
        ip: texts.1.map(str::to_owned),
        alternative_ips: texts.2.map(str::to_owned),
        priority: place.2,
        admin_create: Some(audit.0.to_owned()),
        admin_last_mod: None,
        time_create: audit.1.map(str::to_owned),
        time_last_mod: None,
    })
}

fn surroundings() -> impl Strategy<Value = Surroundings> {
    let hold =
        weighted(0.2, select(&[Reason::Suspended, Reason::NotPrimary][..]).prop_map(|r| Hold::new(r, "why")));
    let claims = [Claim::Nothing, Claim::Id, Claim::Intent, Claim::Row(2), Claim::Row(3)];
    let rival =
        (any::<bool>(), any::<bool>(), select(claims.to_vec())).prop_map(|(same_key, precedes, claim)| {
            Rival { shown: Some("other".into()), same_key, precedes, claim }
        });
    (hold, weighted(0.2, Just(())), vec(rival, 0..2), 0_usize..3).prop_map(
        |(hold, manual, rivals, threshold)| Surroundings {
            hold,
            manual: manual.is_some(),
            rivals,
            threshold,
        },
    )
}

fn habits() -> impl Strategy<Value = Habits> {
    let names = select(&["enabled", "standby", "description", "ip", "alternativeIPs", "priority"][..]);
    (btree_set(names, 0..2), any::<bool>())
        .prop_map(|(ignores, hides_deleted)| Habits { ignores, hides_deleted })
}

fn assemble(object: &Object, rows: Vec<ras::Broker>, around: Surroundings, habits: Habits) -> World {
    let mut world = World {
        broker: Some(broker(object, &rows)),
        rows,
        habits,
        hold: around.hold,
        mode: if around.manual { ApplyMode::Manual } else { ApplyMode::Guarded },
        rivals: around.rivals,
        threshold: around.threshold,
        boot: Duration::from_hours(10),
        snapshot: Snapshot::default(),
        memory: Memory::default(),
        unapplied: None,
        writes: 0,
        ever_owned: std::collections::BTreeSet::new(),
        violations: Vec::new(),
        is_at_rest: false,
    };
    world.list();
    world
}

fn broker(object: &Object, rows: &[ras::Broker]) -> RasBroker {
    let mut annotations: BTreeMap<&str, String> =
        object.annotations.iter().map(|name| (*name, "true".to_owned())).collect();
    if object.asked {
        annotations.insert(annotation::RECONCILE_REQUESTED_AT, "1700000000".into());
    }
    if let Some(refused) = object.intent {
        annotations.insert(annotation::CREATE_INTENT, intent(object, refused));
    }
    let finalizers: Vec<&str> = object.finalizer.then_some(finalizer::BROKER).into_iter().collect();
    let mut manifest = json!({
        "apiVersion": "ras-operator.dev/v1alpha1",
        "kind": "RasBroker",
        "metadata": {
            "name": "cb", "namespace": "ns", "uid": UID, "generation": 1,
            "annotations": annotations, "finalizers": finalizers,
        },
        "spec": object.spec,
    });
    if object.deleted {
        manifest["metadata"]["deletionTimestamp"] = json!((start() + Duration::from_hours(9)).to_string());
    }
    let mut broker: RasBroker = serde_json::from_value(manifest).expect("an object");
    own(&mut broker, object, rows);
    broker
}

fn intent(object: &Object, refused: bool) -> String {
    let mut intent = json!({
        "uid": UID, "attempt": 1, "farmGUID": GUID, "siteId": object.spec.get("siteId").cloned().unwrap_or_else(|| json!(1)),
        "server": object.spec["server"], "account": ACCOUNT, "farmTime": start(), "quarantineSeconds": 45,
    });
    if refused {
        intent["refused"] = "409".into();
    }
    intent.to_string()
}

/// What a status says that names a row: one with its key, or one that is gone. Without an origin it owns nothing.
fn own(broker: &mut RasBroker, object: &Object, rows: &[ras::Broker]) {
    let Some((place, origin)) = object.owned else { return };
    let site = broker.spec.site_id.unwrap_or(1);
    let key = RowKey { site_id: site, name: ServerName::new(&broker.spec.server) };
    let row = rows.iter().find(|row| RowKey::of(row) == key);
    let mut status = broker.status.clone().unwrap_or_default();
    let gone = 50 + i64::try_from(place).unwrap_or_default();
    // An id that leads to another's row was forged, or belongs to what was there before.
    let others = rows.iter().find(|row| place == 0 && RowKey::of(row) != key);
    status.id = Some(others.or(row).map_or(gone, |row| row.id));
    status.origin = serde_json::from_value(json!(origin)).ok();
    status.site_id = Some(site);
    status.farm_guid = Some(GUID.into());
    status.observed = row.map(observed_row);
    broker.status = Some(status);
}

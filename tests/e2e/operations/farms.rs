//! What may be said of a farm: each value of each field, two of them at once, eight in a row. With each, a broker is edited,
//! and must come to what a short function of the farm's spec says; then the farm is as before, and the edit must arrive.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams, PostParams};
use ras_operator::crd::{RasBroker, RasFarm};
use serde_json::{Value, json};

use super::catalogue::{AUTHORITY, Choice, of_farms};
use super::user::SEQUENCE;
use super::{FARMS, Fleet, ROUND, Subject, conditions, farm_name, leading, subjects};
use crate::support::eventually;
use crate::support::random::Random;
use crate::world::merge;

/// What a broker that is edited comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The farm has it, and works with it.
    Applied,
    /// The farm has it, and it waits for a person's Apply.
    Written,
    /// The farm has what it had, since nothing may be written.
    Held,
    /// The farm has what it had, since it is not talked to.
    OutOfReach,
}

/// Written for these tests, and sharing nothing with the operator. `own` is the spec with which all is well.
fn outcome(spec: &Value, own: &Value) -> Outcome {
    let (tls, apply) = (&spec["tls"], &spec["api"]["apply"]);
    let knows_authority = tls["caBundle"] == own["tls"]["caBundle"] || tls["caRef"]["name"] == AUTHORITY;
    let is_named = [Value::Null, "localhost".into(), "::1".into()].contains(&tls["serverName"]);
    let has_pins = tls["pinnedSha256"].as_array().is_some_and(|pins| !pins.is_empty());
    let is_trusted = knows_authority && is_named && !has_pins && tls["insecureSkipVerify"] != true;
    let is_led_there = ["endpoint", "credentialsSecretRef"].iter().all(|field| spec[field] == own[field]);
    let is_known = apply.is_null()
        || apply["path"] == "/api/Settings/apply" && [Value::Null, "POST".into()].contains(&apply["method"]);
    if !(is_trusted && is_led_there) {
        Outcome::OutOfReach
    } else if spec["suspend"] == true {
        Outcome::Held
    } else if spec["apply"]["mode"] == "Manual" || !is_known {
        Outcome::Written
    } else {
        Outcome::Applied
    }
}

impl Fleet {
    /// The authorities of the simulator in a Secret and in a `ConfigMap`.
    async fn keep_authority(&self) {
        let metadata = json!({"name": AUTHORITY, "namespace": self.namespace});
        let content = json!({"ca.crt": self.simulator.ca_pem()});
        let manifests = [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}),
        ];
        self.plane.cluster().apply(&crate::support::deploy::list(&manifests)).await.expect("authorities");
    }

    async fn farm_spec(&self, farm: usize) -> Value {
        let object = self.farms().get(&farm_name(farm)).await.expect("the farm's object");
        serde_json::to_value(&object.spec).expect("a spec")
    }

    /// The API server refuses what it must.
    async fn refuses(&self, farm: usize, choice: &Choice) {
        let patch = Patch::Merge(json!({"spec": choice.patch()}));
        match self.farms().patch(&farm_name(farm), &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {}
            other => panic!("{} = {}: {other:?}", choice.path, choice.value),
        }
    }

    /// Says something of a farm, or several things one right after the other, looks what comes of it, and takes it back.
    async fn try_out(&self, subject: &Subject, own: &Value, patches: &[Value], text: &str) -> Outcome {
        let farm = self.say(subject.farm, own, patches).await;
        self.decides_with(&farm).await;
        let expected = outcome(&serde_json::to_value(&farm.spec).expect("a spec"), own);
        let before = self.row(subject).expect("a row").description;
        let broker = self.describe(subject, text).await;
        let what = format!("{expected:?} with {patches:?}");
        let holds = if expected < Outcome::Held { text } else { &before };
        self.comes_to(&what, subject, &broker, (expected, holds)).await;
        self.put_back(subject.farm, own).await;
        self.comes_to(&format!("as before, after {what}"), subject, &broker, (Outcome::Applied, text)).await;
        expected
    }

    /// Lays patches over a farm's spec; those that contradict what stands must be refused. Answers what stands in the end.
    async fn say(&self, farm: usize, own: &Value, patches: &[Value]) -> RasFarm {
        let (api, name, params) = (self.farms(), farm_name(farm), PatchParams::default());
        let mut spec = own.clone();
        for patch in patches {
            let next = laid_over(&spec, patch);
            match api.patch(&name, &params, &Patch::Merge(json!({"spec": patch}))).await {
                Ok(_) if stands(&next) => spec = next,
                Err(kube::Error::Api(status)) if !stands(&next) && status.code == 422 => {}
                other => panic!("{patch} over {spec}: {other:?}"),
            }
        }
        api.get(&name).await.expect("the farm's object")
    }

    async fn describe(&self, subject: &Subject, text: &str) -> RasBroker {
        let patch = Patch::Merge(json!({"spec": {"description": text}}));
        let broker = self.brokers().patch(&subject.name(), &PatchParams::default(), &patch).await;
        broker.expect("the broker is edited")
    }

    async fn put_back(&self, farm: usize, own: &Value) {
        let patch = Patch::Merge(json!({"spec": leading(&self.farm_spec(farm).await, own)}));
        let patched = self.farms().patch(&farm_name(farm), &PatchParams::default(), &patch).await;
        self.decides_with(&patched.expect("the farm is as before")).await;
    }

    /// A broker of which the description is managed.
    async fn create(&self, subject: &Subject) {
        let text = "as it was made";
        let manifest = subject.manifest(&json!({"description": text}));
        let object: RasBroker = serde_json::from_value(manifest).expect("an object");
        let broker = self.brokers().create(&PostParams::default(), &object).await.expect("an object");
        self.comes_to("made", subject, &broker, (Outcome::Applied, text)).await;
    }

    /// Waits until the broker shows what it must of this version, and the farm holds this text.
    async fn comes_to(&self, what: &str, subject: &Subject, broker: &RasBroker, expected: (Outcome, &str)) {
        eventually(what, ROUND, async || {
            let found = self.brokers().get(&subject.name()).await.map_err(|error| error.to_string())?;
            let is_pending = self.simulator.farm(subject.farm).is_pending();
            let holds = self.row(subject).is_some_and(|row| row.description == expected.1);
            if shows(&found, broker.metadata.generation, expected.0)
                && holds
                && is_pending == (expected.0 == Outcome::Written)
            {
                return Ok(());
            }
            Err(format!("holds: {holds}, pending: {is_pending}{}", conditions(&found)))
        })
        .await;
    }
}

fn shows(broker: &RasBroker, generation: Option<i64>, outcome: Outcome) -> bool {
    let shown: Vec<&Condition> = broker
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .filter(|condition| condition.observed_generation == generation)
        .collect();
    let is = |type_: &str, status: &str, reasons: &[&str]| {
        shown.iter().any(|condition| {
            condition.type_ == type_
                && condition.status == status
                && reasons.contains(&condition.reason.as_str())
        })
    };
    match outcome {
        Outcome::Applied => {
            is("Ready", "True", &["Available"]) && is("Synced", "True", &["ReconcileSuccess"])
        }
        Outcome::Written => is("Reconciling", "True", &["WaitingForApply"]),
        Outcome::Held => is("Synced", "False", &["Suspended"]),
        Outcome::OutOfReach => is("Reconciling", "True", &["WaitingForFarm"]),
    }
}

/// Whether a spec contradicts itself, as far as two valid values can.
fn stands(spec: &Value) -> bool {
    let both = |one: &Value, other: &Value| !one.is_null() && !other.is_null();
    !both(&spec["siteId"], &spec["siteName"]) && !both(&spec["tls"]["caBundle"], &spec["tls"]["caRef"])
}

/// What a merge patch makes of a value.
fn laid_over(value: &Value, patch: &Value) -> Value {
    let Some(changes) = patch.as_object() else { return patch.clone() };
    let mut fields = value.as_object().cloned().unwrap_or_default();
    for (name, inner) in changes {
        let next = laid_over(&value[name], inner);
        fields.remove(name);
        if !next.is_null() {
            fields.insert(name.clone(), next);
        }
    }
    fields.into()
}

/// What is said of the farms: each valid value, then two at once, then eight in a row.
fn all_said(choices: &[Choice], random: &mut Random) -> Vec<Vec<Value>> {
    let is_full = std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full");
    let (pairs, sequences) = if is_full { (200, 60) } else { (24, 24) };
    let valid: Vec<Value> = choices.iter().filter(|choice| choice.valid).map(Choice::patch).collect();
    let mut said: Vec<Vec<Value>> = valid.iter().map(|patch| vec![patch.clone()]).collect();
    said.extend((0..pairs).map(|_| {
        let mut both = random.of(&valid);
        merge(&mut both, random.of(&valid));
        vec![both]
    }));
    said.extend((0..sequences).map(|_| (0..SEQUENCE).map(|_| random.of(&valid)).collect()));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_of_a_farm_an_edit_comes_to_what_that_says() {
    let seed = std::env::var("RAS_OPERATOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let fleet = Fleet::new("operations-farms").await;
    fleet.keep_authority().await;
    let of_each: Vec<Subject> = subjects().into_iter().filter(|subject| subject.site == 1).collect();
    let choices = of_farms();
    let refused: Vec<&Choice> = choices.iter().filter(|choice| !choice.valid).collect();
    let said = all_said(&choices, &mut Random::new(seed));
    let (fleet, refused, said) = (&fleet, &refused, &said);
    let shares = of_each.iter().map(|subject| async move {
        fleet.create(subject).await;
        let own = fleet.farm_spec(subject.farm).await;
        for choice in refused.iter().skip(subject.farm).step_by(FARMS) {
            fleet.refuses(subject.farm, choice).await;
        }
        assert_eq!(fleet.farm_spec(subject.farm).await, own, "what is refused changes nothing");
        let mut found = Vec::new();
        for (number, patches) in said.iter().enumerate().skip(subject.farm).step_by(FARMS) {
            found.push(fleet.try_out(subject, &own, patches, &format!("edit {number}")).await);
        }
        found
    });
    let found = shares.collect::<FuturesUnordered<_>>().collect::<Vec<_>>().await;
    let mut counts = BTreeMap::<Outcome, usize>::new();
    found.iter().flatten().for_each(|outcome| *counts.entry(*outcome).or_default() += 1);
    println!(
        "farms, with RAS_OPERATOR_SEED={seed}: {} values refused, {} times something said of one, and an edit came to {counts:?}",
        refused.len(),
        said.len()
    );
    assert_eq!(counts.values().sum::<usize>(), said.len());
    assert_eq!(counts.len(), 4, "each outcome: {counts:?}");
    for farm in 0..FARMS {
        let rows = fleet.simulator.farm(farm).brokers();
        assert_eq!(rows.iter().filter(|row| !row.is_primary()).count(), 1, "{rows:#?}");
    }
    fleet.kept_its_secrets().await;
}

//! Every operation that the schema allows, in every order a seed draws: single fields, pairs, bounds, refused values,
//! deletions, eight changes in a row, rollbacks. After each round each object must have come to rest, and the farm must
//! hold what a short function of the spec says (`expected`), nothing else. What may be said of a farm is gone through
//! value by value (`farms`).
//!
//! `RAS_OPERATOR_EXPLORE=full` makes 10,000 operations of 2,000, `RAS_OPERATOR_SEED` draws others.

mod catalogue;
mod deck;
mod done;
mod expected;
mod farms;
mod user;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use ras_operator::crd::{RasBroker, RasFarm};
use ras_operator::simulator::{BrokerConfig, FarmConfig, Row, Simulator, SimulatorConfig, SiteConfig};
use serde_json::{Value, json};

use self::done::Done;
use self::expected::{Expected, Shows};
use self::user::{Deed, User};
use crate::canaries::{AGENT_PASSWORD, Aviary, FARM_PASSWORD, objects_of};
use crate::support::control_plane::ControlPlane;
use crate::support::{Operator, control_plane, eventually, objects};
use crate::world::merge;

const FARMS: usize = 12;
/// One object in each site, so that no object waits for another.
const SITES: usize = 6;
/// How many calls to the API server are on their way at one time.
const AT_ONCE: usize = 12;
/// How long the objects of a round may take to come to rest: an Apply, twice, on a busy machine.
const ROUND: Duration = Duration::from_mins(1);

/// One object, and what is expected of it.
#[derive(Debug)]
struct Subject {
    farm: usize,
    site: usize,
    /// As the API server answered it last; `None` while there is no object.
    spec: Option<Value>,
    earlier: Option<Value>,
    expected: Expected,
    shows: Option<Shows>,
}

impl Subject {
    fn name(&self) -> String {
        format!("cb-{}-{}", self.farm, self.site)
    }

    fn server(&self) -> String {
        format!("{}.corp.example", self.name())
    }

    fn manifest(&self, spec: &Value) -> Value {
        let mut manifest = objects::broker(&self.name(), &farm_name(self.farm), &self.server());
        manifest["spec"]["siteId"] = json!(self.site);
        merge(&mut manifest["spec"], spec.clone());
        manifest
    }
}

fn farm_name(farm: usize) -> String {
    format!("farm-{farm}")
}

struct Fleet {
    plane: &'static ControlPlane,
    namespace: String,
    simulator: Simulator,
    operator: Operator,
}

impl Fleet {
    async fn new(stem: &str) -> Self {
        let plane = control_plane().await;
        let namespace = plane.namespace(stem).await;
        let farms = (0..FARMS).map(farm_config).collect();
        let simulator = Simulator::start(SimulatorConfig { farms, ..SimulatorConfig::default() }).await;
        let simulator = simulator.expect("the simulator starts");
        let mut manifests = vec![objects::secret(catalogue::AGENT_ACCOUNT, "CORP\\setup", AGENT_PASSWORD)];
        for farm in 0..FARMS {
            let name = farm_name(farm);
            manifests.push(objects::secret(&objects::credentials_name(&name), "svc-ras", FARM_PASSWORD));
            let mut object = objects::farm(&name, &simulator.farm(farm).endpoint(), simulator.ca_pem());
            let settings = json!({
                "rateLimit": {"requests": 10_000, "window": "1s"},
                "deletionProtection": {"threshold": 0},
            });
            merge(&mut object["spec"], settings);
            manifests.push(object);
        }
        for manifest in &mut manifests {
            manifest["metadata"]["namespace"] = namespace.clone().into();
        }
        let all = crate::support::deploy::list(&manifests);
        plane.cluster().apply(&all).await.expect("farms and Secrets are applied");
        let operator = Operator::start(plane, &namespace, &["RUST_LOG=trace"]).await;
        Self { plane, namespace, simulator, operator }
    }

    fn brokers(&self) -> Api<RasBroker> {
        Api::namespaced(self.plane.admin(), &self.namespace)
    }

    fn farms(&self) -> Api<RasFarm> {
        Api::namespaced(self.plane.admin(), &self.namespace)
    }

    async fn suspend(&self, farm: usize, suspend: bool) {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        let patched = self.farms().patch(&farm_name(farm), &PatchParams::default(), &patch).await;
        self.decides_with(&patched.expect("the farm is patched")).await;
    }

    /// Waits until what is decided from now on is decided with this spec of a farm.
    async fn decides_with(&self, farm: &RasFarm) {
        let name = farm.metadata.name.as_deref().expect("a name");
        eventually("the farm's spec was seen", ROUND, async || {
            let found = self.farms().get(name).await.map_err(|error| error.to_string())?;
            let seen = found.status.as_ref().map(|status| status.observed_generation);
            if seen >= farm.metadata.generation { Ok(()) } else { Err(format!("{:#?}", found.status)) }
        })
        .await;
    }

    /// Carries out one deed; answers the specs that the object had on the way, the last of which stands.
    async fn carry_out(&self, subject: &Subject, deed: Deed) -> Vec<Value> {
        let api = self.brokers();
        let name = subject.name();
        let mut specs = Vec::new();
        match deed {
            Deed::Change(patches) => {
                for patch in patches {
                    specs.push(self.patched(&name, &patch).await);
                }
            }
            Deed::Pair(patch) => specs.push(self.patched(&name, &patch).await),
            Deed::Refused(patches) => {
                for patch in patches {
                    let body = Patch::Merge(json!({"spec": patch}));
                    match api.patch(&name, &PatchParams::default(), &body).await {
                        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {}
                        other => panic!("{name} must not take {patch}: {other:?}"),
                    }
                }
            }
            Deed::Delete => {
                api.delete(&name, &DeleteParams::default()).await.expect("the object is deleted");
            }
            Deed::Create(spec) => {
                let object: RasBroker = serde_json::from_value(subject.manifest(&spec)).expect("an object");
                let created = api.create(&PostParams::default(), &object).await;
                specs.push(spec_of(&created.unwrap_or_else(|error| panic!("{spec}: {error}"))));
            }
            Deed::Rollback => {
                let back = rollback(subject.spec.as_ref().expect("a spec"), subject.earlier.as_ref());
                specs.push(self.patched(&name, &back).await);
            }
        }
        specs
    }

    async fn patched(&self, name: &str, patch: &Value) -> Value {
        let body = Patch::Merge(json!({"spec": patch}));
        let answer = self.brokers().patch(name, &PatchParams::default(), &body).await;
        spec_of(&answer.unwrap_or_else(|error| panic!("{name} must take {patch}: {error}")))
    }

    /// No password and no token is in what the operator logged and wrote.
    async fn kept_its_secrets(&self) {
        let mut aviary = Aviary::new();
        for farm in 0..FARMS {
            aviary.learn_tokens(self.simulator.farm(farm));
        }
        let log = self.operator.logs();
        println!("{} MB of log", log.len() >> 20);
        assert!(log.contains(" TRACE "), "the log was to hold everything");
        let metrics = self.operator.metrics().await.expect("metrics");
        aviary.nothing_is_in(&[log, metrics, objects_of(self.plane, &self.namespace).await]);
    }

    fn row(&self, subject: &Subject) -> Option<Row> {
        let rows = self.simulator.farm(subject.farm).brokers();
        rows.into_iter().find(|row| row.server == subject.server())
    }

    /// Waits until every object shows what it must, and compares the farm with what is expected in that moment.
    async fn come_to_rest(&self, subjects: &mut [Subject]) {
        let api = self.brokers();
        let mut open: Vec<usize> = (0..subjects.len()).collect();
        eventually("every object has come to rest", ROUND, async || {
            let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let found: BTreeMap<String, RasBroker> =
                list.items.into_iter().filter_map(|item| Some((item.metadata.name.clone()?, item))).collect();
            open.retain(|place| !is_at_rest(&subjects[*place], found.get(&subjects[*place].name())));
            match open.first() {
                None => Ok(()),
                Some(place) => {
                    let subject = &subjects[*place];
                    let conditions = found.get(&subject.name()).map(conditions).unwrap_or_default();
                    Err(format!("{} objects, the first: {subject:?}{conditions}", open.len()))
                }
            }
        })
        .await;
        for subject in subjects {
            let row = self.row(subject);
            if let Err(wrong) = subject.expected.meets(row.as_ref()) {
                panic!("{}: {wrong}; {subject:#?}", subject.name());
            }
        }
    }
}

fn farm_config(farm: usize) -> FarmConfig {
    let site = |id: usize| SiteConfig {
        id: i64::try_from(id).expect("an id"),
        name: format!("Site {id}"),
        brokers: vec![BrokerConfig::new(&format!("primary-{farm}-{id}.corp.example"))],
    };
    FarmConfig {
        name: farm_name(farm),
        rate_limit: None,
        sites: (1..=SITES).map(site).collect(),
        ..Aviary::farm()
    }
}

fn spec_of(object: &RasBroker) -> Value {
    serde_json::to_value(&object.spec).expect("a spec")
}

fn conditions(object: &RasBroker) -> String {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let line = |condition: &Condition| {
        format!("\n{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
    };
    conditions.into_iter().map(line).collect()
}

/// The merge patch that leads back to an earlier spec, or to the fields that name the broker alone.
fn rollback(spec: &Value, earlier: Option<&Value>) -> Value {
    let named = json!({"farmRef": spec["farmRef"], "server": spec["server"], "siteId": spec["siteId"]});
    leading(spec, earlier.unwrap_or(&named))
}

/// The merge patch that leads from one value to another.
fn leading(from: &Value, to: &Value) -> Value {
    let (Some(fields), Some(wanted)) = (from.as_object(), to.as_object()) else { return to.clone() };
    let gone =
        fields.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let wanted = wanted.iter().map(|(name, value)| (name.clone(), leading(&from[name], value)));
    gone.chain(wanted).collect()
}

fn is_at_rest(subject: &Subject, found: Option<&RasBroker>) -> bool {
    let (Some(object), Some(shows)) = (found, subject.shows) else {
        return found.is_none() && subject.shows.is_none();
    };
    let Some(status) = &object.status else { return false };
    let is = |type_: &str, wanted: &str| {
        status.conditions.iter().any(|condition| {
            condition.type_ == type_
                && condition.status == wanted
                && condition.observed_generation == object.metadata.generation
        })
    };
    let because = |reason: &str| status.conditions.iter().any(|condition| condition.reason == reason);
    match shows {
        Shows::Ready => is("Ready", "True") && is("Synced", "True"),
        Shows::Synced => is("Synced", "True") && (is("Ready", "True") || because("WaitingForAgent")),
        Shows::Suspended => is("Synced", "False") && because("Suspended"),
        Shows::Stalled => is("Stalled", "True"),
        Shows::Observed => status.origin.is_none() && (is("Ready", "True") || because("WaitingForAgent")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_schema_allows_the_farm_holds_what_the_spec_says() {
    let full = std::env::var("RAS_OPERATOR_EXPLORE").is_ok_and(|value| value == "full");
    let wanted = if full { 10_000 } else { 2_000 };
    let seed = std::env::var("RAS_OPERATOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("operations drawn with RAS_OPERATOR_SEED={seed}");
    let fleet = Fleet::new("operations").await;
    let foreign: Vec<Vec<Row>> = (0..FARMS).map(|farm| fleet.simulator.farm(farm).brokers()).collect();
    let mut user = User::new(seed);
    let mut subjects = subjects();
    let mut done = Done::default();
    let mut rounds = 0;
    while done.total() < wanted {
        let suspended = rounds % FARMS;
        fleet.suspend(suspended, true).await;
        done.count("farms suspended and resumed", 1);
        round(&fleet, &mut user, &mut subjects, suspended, &mut done).await;
        fleet.suspend(suspended, false).await;
        resume(&fleet, &mut subjects, suspended).await;
        rounds += 1;
    }
    let (total, line) = (done.total(), done.line(&user));
    println!("{total} operations in {rounds} rounds on {} objects {line}", subjects.len());
    done.leaves_nothing_out(&user, full);
    for (farm, before) in foreign.iter().enumerate() {
        let now = fleet.simulator.farm(farm).brokers();
        let others: Vec<&Row> = now.iter().filter(|row| row.is_primary()).collect();
        assert_eq!(others, before.iter().collect::<Vec<_>>(), "a primary was touched");
        assert!(!fleet.simulator.farm(farm).is_pending(), "something waits for an Apply");
    }
    fleet.kept_its_secrets().await;
}

fn subjects() -> Vec<Subject> {
    let places = (0..FARMS).flat_map(|farm| (1..=SITES).map(move |site| (farm, site)));
    let subject = |(farm, site)| Subject {
        farm,
        site,
        spec: None,
        earlier: None,
        expected: Expected::default(),
        shows: None,
    };
    places.map(subject).collect()
}

async fn round(fleet: &Fleet, user: &mut User, subjects: &mut [Subject], suspended: usize, done: &mut Done) {
    let deeds: Vec<Deed> = subjects
        .iter()
        .map(|subject| match &subject.spec {
            None => user.creation(),
            Some(spec) => {
                // A deletion would wait until the farm, or the object, is resumed.
                let may_delete = subject.farm != suspended && spec["suspend"] != true;
                user.deed(subject.expected.ours.is_some(), may_delete)
            }
        })
        .collect();
    for deed in &deeds {
        done.deed(deed);
    }
    let calls = subjects.iter().zip(deeds.clone()).map(|(subject, deed)| fleet.carry_out(subject, deed));
    let specs: Vec<Vec<Value>> = futures::stream::iter(calls).buffered(AT_ONCE).collect().await;
    for ((subject, deed), specs) in subjects.iter_mut().zip(deeds).zip(specs) {
        take(subject, &deed, specs, subject.farm == suspended);
    }
    fleet.come_to_rest(subjects).await;
}

fn take(subject: &mut Subject, deed: &Deed, mut specs: Vec<Value>, suspended: bool) {
    if matches!(deed, Deed::Delete) {
        let last = subject.spec.take().unwrap_or_default();
        subject.expected.delete(&last);
        (subject.earlier, subject.shows) = (None, None);
        return;
    }
    let Some(last) = specs.pop().or_else(|| subject.spec.clone()) else { return };
    subject.shows = Some(subject.expected.settle(&specs, &last, suspended));
    subject.earlier = subject.spec.replace(last);
}

/// What the objects of a farm do once it is written to again.
async fn resume(fleet: &Fleet, subjects: &mut [Subject], farm: usize) {
    for subject in subjects.iter_mut().filter(|subject| subject.farm == farm) {
        if let Some(spec) = &subject.spec {
            subject.shows = Some(subject.expected.settle(&[], spec, false));
        }
    }
    fleet.come_to_rest(subjects).await;
}

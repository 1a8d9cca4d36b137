//! Several farms in one simulator, many brokers, one operator: what costs are counted on.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use ras_operator::crd::{RasBroker, RasFarm};
use ras_operator::simulator::{BrokerConfig, FarmConfig, Simulator, SimulatorConfig, SiteConfig};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ledger::{Moment, Span};
use crate::support::control_plane::ControlPlane;
use crate::support::{Operator, control_plane, eventually, objects};
use crate::world::merge;

/// Number of farms.
pub(crate) const FARMS: usize = 6;
/// Number of brokers that each phase is about.
pub(crate) const BROKERS: usize = 300;
/// Brokers per farm.
pub(crate) const EACH: usize = BROKERS / FARMS;

/// The broker that each farm has besides.
pub(crate) const PRIMARY: &str = "primary.corp.example";

/// How long a phase may take; a phase alone on two cores takes a sixth of it.
const PHASE: Duration = Duration::from_mins(2);
/// Longer than any pause between two calls of one piece of work: a batch closes after 500 ms, a second list follows
/// the first by 1 s.
const QUIET: Duration = Duration::from_millis(1_600);
/// Writes of the test itself that are under way at one time.
const AT_ONCE: usize = 16;

/// The world of one run.
pub(crate) struct Fleet {
    plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) simulator: Simulator,
    operator: Option<Operator>,
}

impl Fleet {
    /// Farms that hold [`EACH`] brokers which somebody else made, and an operator that has connected to them and polls
    /// them once per hour.
    pub(crate) async fn new() -> Self {
        let plane = control_plane().await;
        let namespace = plane.namespace("counts").await;
        let farms = (0..FARMS).map(farm_config).collect();
        let simulator = Simulator::start(SimulatorConfig { farms, ..SimulatorConfig::default() }).await;
        let simulator = simulator.expect("the simulator starts");
        let mut fleet = Self { plane, namespace, simulator, operator: None };
        for place in 0..FARMS {
            fleet.create_farm(place).await;
        }
        let begin = fleet.now().await;
        fleet.start_operator().await;
        fleet.listed(&begin, 1).await;
        fleet.quiet(QUIET).await;
        fleet
    }

    async fn create_farm(&self, place: usize) {
        let name = farm_name(place);
        let secret = objects::secret(&objects::credentials_name(&name), "administrator", "simulator");
        let mut farm = objects::farm(&name, &self.simulator.farm(place).endpoint(), self.simulator.ca_pem());
        let settings = json!({
            "resyncPeriod": "1h",
            "rateLimit": {"requests": 10_000, "window": "1s"},
            "deletionProtection": {"threshold": 0},
        });
        merge(&mut farm["spec"], settings);
        let manifests = crate::support::deploy::list(&[self.here(secret), self.here(farm)]);
        self.plane.cluster().apply(&manifests).await.expect("farm and Secret are applied");
    }

    fn here(&self, mut manifest: Value) -> Value {
        manifest["metadata"]["namespace"] = self.namespace.clone().into();
        manifest
    }

    pub(crate) async fn start_operator(&mut self) {
        self.operator = Some(Operator::start(self.plane, &self.namespace, &[]).await);
    }

    /// SIGTERM; the process has ended when this returns.
    pub(crate) async fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("a running operator");
        let stopped = operator.stopped().await;
        assert!(stopped.status.success(), "{stopped:?} {}", operator.last_words());
    }

    fn brokers(&self) -> Api<RasBroker> {
        Api::namespaced(self.plane.admin(), &self.namespace)
    }

    /// Creates [`EACH`] objects in each farm, all at once; `spec` gives what is set beside farm and server.
    pub(crate) async fn create_brokers(&mut self, stem: &str, spec: impl Fn(usize) -> Value) {
        let api = self.brokers();
        let objects: Vec<RasBroker> = all().map(|(farm, number)| object(stem, farm, number, &spec)).collect();
        let calls = each(objects, async |object| api.create(&PostParams::default(), &object).await.map(drop));
        self.unseen(calls).await;
    }

    /// Deletes the objects of this stem, all at once.
    pub(crate) async fn delete_brokers(&mut self, stem: &str) {
        let api = self.brokers();
        let names = all().map(|(farm, number)| broker_name(stem, farm, number)).collect();
        let calls = each(names, async |name| api.delete(&name, &DeleteParams::default()).await.map(drop));
        self.unseen(calls).await;
    }

    /// The operator sees what `calls` do all at once: how many batches it takes must not depend on how fast the test
    /// itself is.
    async fn unseen(&mut self, calls: impl Future<Output = ()>) {
        let operator = self.operator.as_mut().expect("a running operator");
        operator.freeze();
        calls.await;
        operator.thaw();
    }

    pub(crate) async fn edit_broker(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.brokers().patch(name, &PatchParams::default(), &patch).await.expect("the broker is patched");
    }

    /// Sets the period of every farm.
    pub(crate) async fn set_resync(&self, period: &str) {
        let api = Api::<RasFarm>::namespaced(self.plane.admin(), &self.namespace);
        let patch = Patch::Merge(json!({"spec": {"resyncPeriod": period}}));
        let names = (0..FARMS).map(farm_name).collect();
        each(names, async |name| api.patch(&name, &PatchParams::default(), &patch).await.map(drop)).await;
    }

    /// Waits until all objects are ready at their present generation, and there are `count` of them.
    pub(crate) async fn all_ready(&self, count: usize) {
        let api = self.brokers();
        eventually(&format!("{count} brokers are ready"), PHASE, async || {
            // A list of everything costs the API server more than what is measured: it waits for a lull.
            self.quiet(QUIET / 4).await;
            let found = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let ready = found.items.iter().filter(|broker| is_ready(broker)).count();
            let lagging = found.items.iter().find(|broker| !is_ready(broker));
            if ready == count && found.items.len() == count {
                Ok(())
            } else {
                Err(format!("{ready} of {}; {:#?}", found.items.len(), lagging))
            }
        })
        .await;
    }

    /// Waits until no object is left.
    pub(crate) async fn all_gone(&self) {
        let api = self.brokers();
        eventually("all brokers are gone", PHASE, async || {
            self.quiet(QUIET / 4).await;
            let found = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            if found.items.is_empty() {
                Ok(())
            } else {
                Err(format!("{} left; {:#?}", found.items.len(), found.items[0]))
            }
        })
        .await;
    }

    /// Waits until every farm was asked for its brokers `count` times since `begin`.
    pub(crate) async fn listed(&self, begin: &Moment, count: usize) {
        eventually(&format!("every farm is listed {count} times"), PHASE, async || {
            let lists = self.span_of_farms(begin).into_iter().map(|farm| farm.count("GET /api/Broker"));
            let fewest = lists.min().unwrap_or_default();
            if fewest >= count { Ok(()) } else { Err(fewest) }
        })
        .await;
    }

    /// This moment, to be given to [`Self::since`].
    pub(crate) async fn now(&self) -> Moment {
        let (reconciles, ticks) = self.process().await;
        Moment {
            journals: self.simulator.farms().iter().map(super::ledger::last_sequence).collect(),
            audit: self.plane.audit_log().mark(),
            at: Instant::now(),
            reconciles,
            ticks,
        }
    }

    /// What the operator did since `begin`, once it has come to rest.
    pub(crate) async fn since(&self, begin: &Moment) -> Span {
        let length = self.quiet(QUIET).await - begin.at;
        let (reconciles, ticks) = self.process().await;
        let user = ControlPlane::user(&self.namespace);
        Span {
            farms: self.span_of_farms(begin),
            calls: self.plane.audit_log().by(&user, begin.audit),
            length,
            reconciles: reconciles - begin.reconciles,
            ticks: ticks - begin.ticks,
        }
    }

    fn span_of_farms(&self, begin: &Moment) -> Vec<super::ledger::FarmSpan> {
        let marks = self.simulator.farms().iter().zip(&begin.journals);
        marks.map(|(farm, mark)| super::ledger::FarmSpan(farm.journal_after(*mark))).collect()
    }

    /// Waits until no reconcile has ended for a while: what the farms are asked per period goes on.
    pub(crate) async fn no_reconciles(&self) {
        still("reconciles come to rest", QUIET, async || self.process().await.0).await;
    }

    /// Waits until nothing was asked of any farm and nothing reconciled for `length`, and gives the time of the last
    /// that was.
    async fn quiet(&self, length: Duration) -> Instant {
        still("the operator rests", length, async || {
            let requests: Vec<u64> =
                self.simulator.farms().iter().map(super::ledger::last_sequence).collect();
            (requests, self.process().await.0)
        })
        .await
    }

    /// Finished reconciles, and the processor's time in ticks of 10 ms; zero where no operator runs.
    async fn process(&self) -> (u64, u64) {
        let Some(operator) = &self.operator else { return (0, 0) };
        let metrics = operator.metrics().await.expect("metrics");
        let counts = metrics.lines().filter(|line| line.starts_with("ras_operator_reconciles_total"));
        let reconciles = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        (reconciles.sum(), super::ledger::processor_ticks(operator.pid()))
    }
}

fn farm_config(place: usize) -> FarmConfig {
    let seeded = (0..EACH).map(|number| BrokerConfig::new(&server("found", place, number)));
    let brokers = std::iter::once(BrokerConfig::new(PRIMARY)).chain(seeded).collect();
    let site = SiteConfig { brokers, ..SiteConfig::default() };
    FarmConfig { name: farm_name(place), sites: vec![site], rate_limit: None, ..FarmConfig::default() }
}

fn object(stem: &str, farm: usize, number: usize, spec: impl Fn(usize) -> Value) -> RasBroker {
    let name = broker_name(stem, farm, number);
    let mut manifest = objects::broker(&name, &farm_name(farm), &server(stem, farm, number));
    merge(&mut manifest["spec"], spec(number));
    serde_json::from_value(manifest).expect("a broker")
}

/// Every place: farm and number, farms in turn, so that all have work from the start.
fn all() -> impl Iterator<Item = (usize, usize)> {
    (0..EACH).flat_map(|number| (0..FARMS).map(move |farm| (farm, number)))
}

pub(crate) fn farm_name(place: usize) -> String {
    format!("farm-{place}")
}

pub(crate) fn broker_name(stem: &str, farm: usize, number: usize) -> String {
    format!("{stem}-{farm}-{number:02}")
}

pub(crate) fn server(stem: &str, farm: usize, number: usize) -> String {
    format!("{}.corp.example", broker_name(stem, farm, number))
}

fn is_ready(broker: &RasBroker) -> bool {
    let conditions = broker.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| {
        condition.type_ == "Ready"
            && condition.status == "True"
            && condition.observed_generation == broker.metadata.generation
    })
}

/// Waits until `look` has seen the same for `length`, and gives the time since when it has.
async fn still<T: PartialEq + Default + Clone + std::fmt::Debug>(
    what: &str,
    length: Duration,
    mut look: impl AsyncFnMut() -> T,
) -> Instant {
    let mut last = T::default();
    let mut since = Instant::now();
    eventually(what, PHASE, async || {
        let seen = look().await;
        if seen != last {
            (last, since) = (seen, Instant::now());
        }
        if since.elapsed() >= length { Ok(since) } else { Err(last.clone()) }
    })
    .await
}

async fn each<T>(items: Vec<T>, call: impl AsyncFn(T) -> kube::Result<()>) {
    let calls = futures::stream::iter(items).map(|item| call(item)).buffer_unordered(AT_ONCE);
    calls.try_collect::<()>().await.expect("the API server takes it");
}

//! The numbers that `/metrics` shows: written by every part, read by the admin server.
//!
//! # Guarantees
//!
//! Every label is a closed enum, a route template or the name of a farm, never the name of a
//! broker and never an error's text, so the number of series is bounded by farms times routes and
//! no secret can get in. [`Metrics::forget`] removes all series of a deleted farm.
//!
//! # Caveats
//!
//! Durations of farm requests are kept per route, not per farm: buckets for a thousand farms
//! would outweigh everything else that the operator remembers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::crd::condition::{ConditionType, Status};

mod labels;
mod per_farm;

pub use labels::{ApplyOutcome, Code, Controller, FarmName, ReconcileOutcome, Resource, Verb, WriteOutcome};
use per_farm::PerFarm;

/// Everything that is counted. Cheap to clone; all clones share the same numbers.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Family<ControllerLabels, Histogram, fn() -> Histogram>,
    farm_requests: PerFarm<RequestLabels, Counter>,
    farm_request_duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    farm_open_sessions: Family<FarmLabels, Gauge>,
    farm_last_success: Family<FarmLabels, Gauge>,
    farm_applies: PerFarm<ApplyLabels, Counter>,
    brokers: PerFarm<ConditionLabels, Gauge>,
    kubernetes_writes: Family<WriteLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: Controller,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: Controller,
    outcome: ReconcileOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FarmLabels {
    farm: FarmName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    endpoint: &'static str,
    code: Code,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApplyLabels {
    outcome: ApplyOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    resource: Resource,
    verb: Verb,
    outcome: WriteOutcome,
}

impl Metrics {
    /// All numbers at zero; `version` and `commit` are shown by `ras_operator_build_info`.
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        let mut inner = Inner::empty();
        inner.register(version, commit);
        Self(Arc::new(inner))
    }

    /// One finished reconcile and how long it took.
    pub fn reconciled(&self, controller: Controller, outcome: ReconcileOutcome, took: Duration) {
        let labels = ReconcileLabels { controller, outcome };
        self.0.reconciles.get_or_create(&labels).inc();
        let labels = ControllerLabels { controller };
        self.0.reconcile_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// One request to a farm. `endpoint` is the route's template, never a path with values in it.
    pub fn farm_requested(
        &self,
        farm: &FarmName,
        (method, endpoint): (&'static str, &'static str),
        code: Code,
        took: Duration,
    ) {
        let labels = RequestLabels { method, endpoint, code };
        self.0.farm_requests.at(farm, labels).inc();
        let labels = RouteLabels { method, endpoint };
        self.0.farm_request_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A logon to the farm succeeded.
    pub fn session_opened(&self, farm: &FarmName) {
        self.0.farm_open_sessions.get_or_create(&FarmLabels::of(farm)).inc();
    }

    /// A session ended: by logoff, or because the farm no longer knows it.
    pub fn session_closed(&self, farm: &FarmName) {
        self.0.farm_open_sessions.get_or_create(&FarmLabels::of(farm)).dec();
    }

    /// When the farm last answered a poll as it should, in seconds of Unix time.
    pub fn farm_succeeded(&self, farm: &FarmName, unix_seconds: i64) {
        self.0.farm_last_success.get_or_create(&FarmLabels::of(farm)).set(unix_seconds);
    }

    /// One Apply that was sent.
    pub fn applied(&self, farm: &FarmName, outcome: ApplyOutcome) {
        self.0.farm_applies.at(farm, ApplyLabels { outcome }).inc();
    }

    /// How many brokers of the farm have this condition with this status now.
    pub fn brokers(&self, farm: &FarmName, condition: ConditionType, status: Status, count: i64) {
        let labels = ConditionLabels { condition: condition.as_str(), status: status.as_str() };
        self.0.brokers.at(farm, labels).set(count);
    }

    /// One write to the API server that was answered, or given up.
    pub fn kubernetes_written(&self, resource: Resource, verb: Verb, outcome: WriteOutcome) {
        let labels = WriteLabels { resource, verb, outcome };
        self.0.kubernetes_writes.get_or_create(&labels).inc();
    }

    /// Removes every series of a deleted farm. Call it when the farm's actor has ended: what is
    /// counted afterwards starts the series anew.
    pub fn forget(&self, farm: &FarmName) {
        let Inner {
            registry: _,
            reconciles: _,
            reconcile_duration: _,
            farm_requests,
            farm_request_duration: _,
            farm_open_sessions,
            farm_last_success,
            farm_applies,
            brokers,
            kubernetes_writes: _,
        } = &*self.0;
        farm_requests.forget(farm);
        farm_applies.forget(farm);
        brokers.forget(farm);
        farm_open_sessions.remove(&FarmLabels::of(farm));
        farm_last_success.remove(&FarmLabels::of(farm));
    }

    /// The numbers in the `OpenMetrics` text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl FarmLabels {
    fn of(farm: &FarmName) -> Self {
        Self { farm: farm.clone() }
    }
}

impl Inner {
    fn empty() -> Self {
        Self {
            registry: Registry::with_prefix("ras_operator"),
            reconciles: Family::default(),
            reconcile_duration: Family::new_with_constructor(reconcile_buckets),
            farm_requests: PerFarm::default(),
            farm_request_duration: Family::new_with_constructor(request_buckets),
            farm_open_sessions: Family::default(),
            farm_last_success: Family::default(),
            farm_applies: PerFarm::default(),
            brokers: PerFarm::default(),
            kubernetes_writes: Family::default(),
        }
    }

    /// The encoder appends `_total` to counters, `_info` to infos and the unit where there is one.
    fn register(&mut self, version: &'static str, commit: &'static str) {
        let registry = &mut self.registry;
        let build = Info::new([("version", version), ("commit", commit)]);
        registry.register("build", "Version and commit of this operator", build);
        registry.register("reconciles", "Finished reconciles", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            self.reconcile_duration.clone(),
        );
        registry.register("kubernetes_writes", "Writes to the API server", self.kubernetes_writes.clone());
        registry.register("brokers", "RasBroker objects by condition and its status", self.brokers.family());
        self.register_farms();
    }

    fn register_farms(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "farm_requests",
            "Requests to farms by route and answer",
            self.farm_requests.family(),
        );
        registry.register_with_unit(
            "farm_request_duration",
            "How long requests to farms took, by route",
            Unit::Seconds,
            self.farm_request_duration.clone(),
        );
        registry.register(
            "farm_open_sessions",
            "Sessions that are open on the farm",
            self.farm_open_sessions.clone(),
        );
        registry.register_with_unit(
            "farm_last_success_timestamp",
            "When the farm last answered as it should, in Unix time",
            Unit::Seconds,
            self.farm_last_success.clone(),
        );
        registry.register("farm_applies", "Applies sent to farms", self.farm_applies.family());
    }
}

/// A reconcile without a call takes microseconds, one that waits for a farm up to a minute, for an installation longer.
fn reconcile_buckets() -> Histogram {
    Histogram::new([0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 900.0])
}

/// A farm answers a list within a second; `requestTimeout` is 30 s unless set otherwise, and `installTimeout` 15 m.
fn request_buckets() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 900.0])
}

#[cfg(test)]
mod tests;

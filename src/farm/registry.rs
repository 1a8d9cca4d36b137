//! All farms: one actor for each `RasFarm` object, started and stopped as the objects come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::Actor;
use super::handle::{Farm, Wake};
use super::settings::FarmPolicy;
use crate::broker::cache::Brokers;
use crate::clock::Clock;
use crate::crd::RasFarm;
use crate::events::{Event, Events, Kind};
use crate::kubernetes::ObjectKey;
use crate::leader::Authority;
use crate::metrics::{Code, FarmName, Metrics};
use crate::ras::{Connector, Observation};

/// What every actor is made with.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct FarmContext {
    /// The API server.
    pub kubernetes: Client,
    /// All brokers.
    pub brokers: Arc<Brokers>,
    /// What farms are allowed.
    pub policy: FarmPolicy,
    /// The way to farms.
    pub connector: Connector,
    /// `--farm-unavailable-after`.
    pub unavailable_after: Duration,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Metrics,
    /// Time.
    pub clock: Clock,
    /// Whether this process may act.
    pub authority: Authority,
    /// How many reconciles may wait for an agent to be installed or removed.
    pub workers: Arc<Semaphore>,
    /// Asks for reconciles.
    pub wake: Wake,
}

/// The farms that have an actor.
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct Farms {
    context: FarmContext,
    running: Arc<Mutex<BTreeMap<ObjectKey, Arc<Farm>>>>,
    tasks: TaskTracker,
    begun: CancellationToken,
    stop: CancellationToken,
}

impl Farms {
    /// No farms yet; `stop` ends all actors.
    pub fn new(context: FarmContext, stop: CancellationToken) -> Self {
        let begun = CancellationToken::new();
        Self { context, running: Arc::default(), tasks: TaskTracker::new(), begun, stop }
    }

    /// From here on farms are talked to; a standby only knows them.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Asks for a reconcile of a broker.
    pub fn wake(&self, broker: ObjectKey) {
        // The receiver goes only with the process.
        drop(self.context.wake.send(broker));
    }

    /// Whether this process may act: a standby may not yet; a leader that lost its Lease may not any more, nor one that is
    /// to stop.
    pub fn may_act(&self) -> bool {
        self.context.authority.may_act() && !self.stop.is_cancelled()
    }

    /// The farm with this key.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Farm>> {
        self.running.lock().get(key).map(Arc::clone)
    }

    /// Takes over a watched version of a farm.
    pub fn put(&self, object: Arc<RasFarm>) {
        let key = ObjectKey::of(object.as_ref());
        let mut running = self.running.lock();
        let same = running.get(&key).filter(|known| Some(&known.uid) == object.uid().as_ref());
        if let Some(known) = same {
            known.take(object, &self.context.events);
            return;
        }
        // A new object under an old name is another farm.
        if let Some(old) = running.remove(&key) {
            old.stop.cancel();
        }
        running.insert(key, self.start(object));
    }

    fn start(&self, object: Arc<RasFarm>) -> Arc<Farm> {
        warn_of_insecure_transport(&self.context.events, &object);
        let context = &self.context;
        let farm = Arc::new(Farm::new(
            object,
            context.unavailable_after,
            Arc::clone(&context.workers),
            context.clock,
            context.authority.clone(),
            self.stop.child_token(),
        ));
        let metrics = context.metrics.clone();
        let name = name_of(&farm.key);
        let actor = Actor {
            farm: Arc::clone(&farm),
            kubernetes: context.kubernetes.clone(),
            brokers: Arc::clone(&context.brokers),
            policy: context.policy.clone(),
            connector: Arc::clone(&context.connector),
            observer: Arc::new(move |call| observe(&metrics, &name, call)),
            events: context.events.clone(),
            metrics: context.metrics.clone(),
            wake: context.wake.clone(),
        };
        let begun = self.begun.clone();
        let (running, metrics, key) = (Arc::clone(&self.running), context.metrics.clone(), farm.key.clone());
        self.tasks.spawn(async move {
            // Stopped before it began: there is no session to give back.
            if actor.farm.stop.clone().run_until_cancelled(begun.cancelled()).await.is_some() {
                actor.take_over().await;
                actor.run().await;
            }
            // Only now: its logoff is still counted. A new farm of the same name goes on with the series.
            if !running.lock().contains_key(&key) {
                metrics.forget(&name_of(&key));
            }
        });
        farm
    }

    /// A list has this version. Where a newer one is known, either the list was on its way when that was answered, or the
    /// API server was restored: the object is read again.
    pub fn doubt(&self, listed: &RasFarm) {
        let Some(farm) = self.get(&ObjectKey::of(listed)) else { return };
        let is_older = {
            let mut state = farm.state.lock();
            let is_older = version(listed) < version(&state.object);
            state.doubted |= is_older;
            state.unreported |= is_older;
            is_older
        };
        if is_older {
            farm.changed.notify_one();
        }
    }

    /// Ends the farms whose object `is_gone`, by key and uid; answers which.
    pub fn remove(&self, is_gone: impl Fn(&ObjectKey, &str) -> bool) -> Vec<ObjectKey> {
        let ended =
            self.running.lock().extract_if(.., |key, farm| is_gone(key, &farm.uid)).collect::<Vec<_>>();
        for (_, farm) in &ended {
            farm.stop.cancel();
        }
        ended.into_iter().map(|(key, _)| key).collect()
    }

    /// Waits until every actor has logged off.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn name_of(key: &ObjectKey) -> FarmName {
    FarmName::new(&key.namespace, &key.name)
}

fn observe(metrics: &Metrics, farm: &FarmName, call: Observation) {
    let code = call.status.map_or(Code::Failed(call.result), Code::of);
    metrics.farm_requested(farm, (call.route.method_name(), call.route.template()), code, call.elapsed);
}

impl Farm {
    fn take(&self, object: Arc<RasFarm>, events: &Events) {
        {
            let mut state = self.state.lock();
            let is_older = version(&object) < version(&state.object);
            if is_older {
                return;
            }
            let insecure =
                !state.object.spec.tls.insecure_skip_verify && object.spec.tls.insecure_skip_verify;
            if insecure {
                warn_of_insecure_transport(events, &object);
            }
            // What is watched and is not what was written last is somebody else's, or came late.
            state.unreported |= state.object.status != object.status;
            state.set_object(object);
        }
        self.changed.notify_one();
    }
}

/// Which of two versions of one object is newer.
pub(super) fn version(object: &RasFarm) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn warn_of_insecure_transport(events: &Events, object: &RasFarm) {
    if object.spec.tls.insecure_skip_verify {
        let note = "The farm's certificate is not checked: spec.tls.insecureSkipVerify is true.";
        events.publish(object, &Event::warning(Kind::InsecureTransport, note));
    }
}

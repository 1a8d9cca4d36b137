//! Wires the parts: two watches feed the caches, one controller drives brokers, one actor drives each farm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::predicates;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::{BindError, Listeners, Liveness, Probes};
use crate::broker::cache::Brokers;
use crate::broker::reconcile::{Context, ReconcileError};
use crate::cli::{self, RunArgs};
use crate::clock::Clock;
use crate::crd::{RasBroker, RasFarm};
use crate::events::Events;
use crate::farm::registry::{FarmContext, Farms};
use crate::farm::settings::FarmPolicy;
use crate::kubernetes::{self, ObjectKey};
use crate::leader::{self, AcquireError, Authority, Leader, Leadership};
use crate::metrics::{Controller as ControllerLabel, Metrics, ReconcileOutcome};
use crate::ras::HostPolicy;
use crate::watch::{Change, Lists, is_in, metadata_of, watch};

/// How long a broker whose reconcile failed rests; the farm's and the plan's own pauses come on top of it.
const ERROR_PAUSE: Duration = Duration::from_secs(5);
/// How long calls that are not idempotent may take to finish once the process is told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// Why the operator cannot run, or stopped.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no usable access to the API server.
    #[error("failed to find the API server: set KUBECONFIG, or run in a cluster")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A port cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A task that must not end did.
    #[error("a task ended that must not: {0}")]
    Ended(&'static str),
    /// Another replica may be working from now on: this one ends at once.
    #[error("failed to keep the lease, so another replica may act: ending at once")]
    LeadershipLost,
    /// The servers of probes and metrics failed.
    #[error("failed to serve probes and metrics")]
    Serve(#[source] std::io::Error),
}

/// Runs the operator until `stop` is cancelled and everything that must be finished is finished.
pub async fn run(args: RunArgs, stop: CancellationToken) -> Result<(), RunError> {
    let listeners = Listeners::bind(&args.health_probe_bind_address, &args.metrics_bind_address).await?;
    let metrics = Metrics::new(cli::VERSION, cli::COMMIT);
    let client = kubernetes::client::connect(metrics.clone()).await.map_err(RunError::Config)?;
    let probes = Probes::default();
    // Probes answer until the last session is given back.
    let servers_stop = CancellationToken::new();
    let servers = tokio::spawn(listeners.serve(probes.clone(), metrics.clone(), servers_stop.clone()));
    let (readiness, stopping) = (probes.readiness.clone(), stop.clone());
    let draining = tokio::spawn(async move {
        stopping.cancelled().await;
        readiness.draining();
    });
    let ended = Operator::new(client, &args, metrics, stop).run(&args, &probes).await;
    draining.abort();
    servers_stop.cancel();
    match servers.await {
        Ok(served) => served.map_err(RunError::Serve)?,
        Err(_panicked) => return Err(RunError::Ended("probes and metrics")),
    }
    ended
}

/// The running parts.
struct Operator {
    client: Client,
    farms: Arc<Farms>,
    context: Arc<Context>,
    metrics: Metrics,
    woken: mpsc::UnboundedReceiver<ObjectKey>,
    authority: Authority,
    /// Ends reconciles.
    stop: CancellationToken,
    /// Ends the farms' actors, after the last reconcile.
    farms_stop: CancellationToken,
}

impl Operator {
    fn new(client: Client, args: &RunArgs, metrics: Metrics, stop: CancellationToken) -> Self {
        let (wake, woken) = mpsc::unbounded_channel();
        let brokers = Arc::new(Brokers::default());
        let events = Events::new(client.clone(), &leader::identity(Clock.now()), Clock);
        let authority = if args.leader_elect { Authority::default() } else { Authority::always() };
        let farms_stop = CancellationToken::new();
        let hosts =
            args.allowed_farm_hosts.as_ref().map(|hosts| hosts.as_slice().to_vec()).unwrap_or_default();
        let farms = FarmContext {
            kubernetes: client.clone(),
            brokers: Arc::clone(&brokers),
            policy: FarmPolicy {
                hosts: HostPolicy::new(&hosts),
                allow_insecure_tls: args.allow_insecure_tls,
            },
            unavailable_after: args.farm_unavailable_after.get(),
            events: events.clone(),
            metrics: metrics.clone(),
            clock: Clock,
            authority: authority.clone(),
            wake,
        };
        let farms = Arc::new(Farms::new(farms, farms_stop.clone()));
        let context = Context {
            kubernetes: client.clone(),
            brokers,
            farms: Arc::clone(&farms),
            events,
            clock: Clock,
            memories: Mutex::new(HashMap::new()),
            crd: tokio::sync::Mutex::new(None),
        };
        Self { client, farms, context: Arc::new(context), metrics, woken, authority, stop, farms_stop }
    }

    async fn run(self, args: &RunArgs, probes: &Probes) -> Result<(), RunError> {
        let election =
            lead(self.client.clone(), args.leader_elect, self.authority.clone(), self.stop.clone());
        let mut election = Box::pin(election);
        let (farms, stop, farms_stop) = (Arc::clone(&self.farms), self.stop.clone(), self.farms_stop.clone());
        let begun = CancellationToken::new();
        let mut leadership = None;
        let mut working = Box::pin(self.work(args, probes, begun.clone()));
        let ended = loop {
            tokio::select! {
                ended = &mut working => break ended,
                won = &mut election, if leadership.is_none() && !stop.is_cancelled() => {
                    begun.cancel();
                    farms.begin();
                    leadership = Some(won);
                }
                () = lost(leadership.as_ref()) => return Err(RunError::LeadershipLost),
            }
        };
        // Reconciles are done, or given up; now the sessions are given back, and then the Lease.
        farms_stop.cancel();
        drop(tokio::time::timeout(DRAIN_LIMIT, farms.drained()).await);
        if let Some(Some(leadership)) = leadership {
            leadership.release().await;
        }
        if stop.is_cancelled() { Ok(()) } else { ended }
    }

    /// Keeps the caches, and reconciles from `begun` on. Ends when stopped, or when a part ends that must not.
    async fn work(self, args: &RunArgs, probes: &Probes, begun: CancellationToken) -> Result<(), RunError> {
        let namespaces = args.watch_namespaces.as_slice().to_vec();
        let (farms_synced, farms_are_synced) = oneshot::channel();
        let farm_watch = watch_farms(
            self.client.clone(),
            namespaces.clone(),
            Arc::clone(&self.farms),
            Arc::clone(&self.context),
            farms_synced,
        );
        let farm_watch = guarded(&probes.liveness, "watch of farms", farm_watch);
        let (store, writer) = reflector::store::<PartialObjectMeta<RasBroker>>();
        let (brokers_synced, brokers_are_synced) = oneshot::channel();
        let stream = watch_brokers(&self.client, &namespaces, Arc::clone(&self.context), brokers_synced);
        let triggers =
            predicates::generation.combine(predicates::finalizers).combine(predicates::annotations);
        let stream =
            stream.reflect(writer).applied_objects().predicate_filter(triggers, PredicateConfig::default());
        let readiness = probes.readiness.clone();
        let all_synced = async move {
            if farms_are_synced.await.is_ok() && brokers_are_synced.await.is_ok() {
                readiness.synced();
            }
            std::future::pending::<()>().await;
        };
        let heartbeat = probes.liveness.watch("controller of brokers", None);
        let controlled = control(
            stream.boxed(),
            store,
            self.woken,
            &self.context,
            &self.metrics,
            args,
            (&self.stop, begun),
        );
        let ended = tokio::select! {
            () = controlled => Err(RunError::Ended("the controller of brokers")),
            () = farm_watch => Err(RunError::Ended("the watch of farms")),
            () = all_synced => Ok(()),
        };
        heartbeat.finish();
        ended
    }
}

/// Runs a task that must not end as one of its own, and reports its death to `/healthz`.
async fn guarded(liveness: &Liveness, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let heartbeat = liveness.watch(name, None);
    let task = tokio::spawn(task);
    // A task that panicked has said so itself.
    drop(AbortOnDropHandle::new(task).await);
    drop(heartbeat);
}

/// Waits for the right to act; with an election, for the Lease.
async fn lead(
    client: Client,
    elect: bool,
    authority: Authority,
    stop: CancellationToken,
) -> Option<Leadership> {
    if !elect {
        return None;
    }
    let namespace = leader::namespace(&client);
    let identity = leader::identity(Clock.now());
    match Leader::acquire(client, &namespace, &identity, stop).await {
        Ok(leadership) => {
            tracing::info!(identity, "won the lease");
            authority.begin(&leadership);
            Some(leadership)
        }
        // Stopped before it was won: nothing was begun, and there is nothing to wait for.
        Err(AcquireError::Stopped) => std::future::pending().await,
    }
}

async fn lost(leadership: Option<&Option<Leadership>>) {
    match leadership {
        Some(Some(leadership)) => leadership.lost().await,
        Some(None) | None => std::future::pending().await,
    }
}

/// Drives brokers until stopped, and lets what is under way finish.
async fn control(
    stream: BoxStream<'static, Result<PartialObjectMeta<RasBroker>, watcher::Error>>,
    store: Store<PartialObjectMeta<RasBroker>>,
    woken: mpsc::UnboundedReceiver<ObjectKey>,
    context: &Arc<Context>,
    metrics: &Metrics,
    args: &RunArgs,
    (stop, begun): (&CancellationToken, CancellationToken),
) {
    let config = controller::Config::default()
        .concurrency(args.max_concurrent_reconciles)
        .debounce(Duration::from_millis(50));
    let woken = futures::stream::unfold(woken, |mut woken| async move {
        let key = woken.recv().await?;
        Some((ObjectRef::<PartialObjectMeta<RasBroker>>::new(&key.name).within(&key.namespace), woken))
    });
    let shared = Arc::new((Arc::clone(context), metrics.clone()));
    // A standby keeps its caches and does nothing; when its time comes it looks at everything once.
    let all = futures::stream::once(begun.cancelled_owned()).chain(futures::stream::pending());
    let running = Controller::for_stream(stream, store)
        .with_config(config)
        .reconcile_on(woken)
        .reconcile_all_on(all)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |_, error, _| pause(error), shared)
        .for_each(|_| std::future::ready(()));
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    tokio::select! { () = running => {}, () = too_long => {} }
}

async fn reconcile(
    broker: Arc<PartialObjectMeta<RasBroker>>,
    shared: Arc<(Arc<Context>, Metrics)>,
) -> Result<Action, ReconcileError> {
    let (context, metrics) = shared.as_ref();
    let key = ObjectKey::of(broker.as_ref());
    let began = Instant::now();
    let result = context.reconcile(&key).await;
    let outcome = if result.is_ok() { ReconcileOutcome::Success } else { ReconcileOutcome::Error };
    metrics.reconciled(ControllerLabel::Broker, outcome, began.elapsed());
    if let Err(error) = &result {
        tracing::warn!(broker = %key, error = crate::telemetry::chain(error), "a reconcile failed");
    }
    result
}

fn pause(_error: &ReconcileError) -> Action {
    Action::requeue(ERROR_PAUSE)
}

/// Watched brokers go into the cache before anything is triggered by them, and what was watched tells the farms. What
/// comes out feeds the controller: metadata alone, since reconciles read the cache.
fn watch_brokers(
    client: &Client,
    namespaces: &[String],
    context: Arc<Context>,
    synced: oneshot::Sender<()>,
) -> impl Stream<Item = Trigger> + Send + 'static {
    let mut lists = Lists::new(namespaces);
    let mut synced = Some(synced);
    let events = watch::<RasBroker>(client, namespaces).flat_map(move |event| {
        let triggers = match event {
            Ok((scope, event)) => {
                let was_complete = lists.are_complete();
                let triggers = broker_triggers(&context, lists.take(scope, event), was_complete);
                if lists.are_complete() && !was_complete {
                    announce(&mut synced);
                    triggers.into_iter().chain([Ok(watcher::Event::InitDone)]).collect()
                } else {
                    triggers
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the watch of brokers was interrupted");
                Vec::new()
            }
        };
        futures::stream::iter(triggers)
    });
    futures::stream::once(std::future::ready(Ok(watcher::Event::Init))).chain(events)
}

type Trigger = Result<watcher::Event<PartialObjectMeta<RasBroker>>, watcher::Error>;

fn broker_triggers(context: &Context, change: Change<RasBroker>, was_complete: bool) -> Vec<Trigger> {
    match change {
        Change::Listing => Vec::new(),
        Change::Seen(broker) => {
            let metadata = metadata_of(&broker);
            context.see(broker);
            let event = if was_complete { watcher::Event::Apply } else { watcher::Event::InitApply };
            vec![Ok(event(metadata))]
        }
        Change::Gone(broker) => {
            context.lose(&broker);
            vec![Ok(watcher::Event::Delete(metadata_of(&broker)))]
        }
        Change::Listed(scope, listed) => {
            let gone = context.brokers.missing(|key| is_in(&scope, key) && !listed.contains(key));
            gone.iter().for_each(|broker| context.lose(broker));
            gone.iter().map(|broker| Ok(watcher::Event::Delete(metadata_of(broker.as_ref())))).collect()
        }
    }
}

fn announce(synced: &mut Option<oneshot::Sender<()>>) {
    if let Some(synced) = synced.take() {
        // Nobody listens any more when the process is already ending.
        synced.send(()).unwrap_or_default();
    }
}

/// Watched farms start and stop actors; a farm that goes wakes its brokers.
async fn watch_farms(
    client: Client,
    namespaces: Vec<String>,
    farms: Arc<Farms>,
    context: Arc<Context>,
    synced: oneshot::Sender<()>,
) {
    let mut synced = Some(synced);
    let mut lists = Lists::new(&namespaces);
    let mut events = watch::<RasFarm>(&client, &namespaces);
    while let Some(event) = events.next().await {
        let change = match event {
            Ok((scope, event)) => lists.take(scope, event),
            Err(error) => {
                tracing::warn!(%error, "the watch of farms was interrupted");
                continue;
            }
        };
        let gone = match change {
            Change::Listing => Vec::new(),
            Change::Seen(farm) => {
                farms.put(Arc::new(farm));
                Vec::new()
            }
            Change::Gone(farm) => farms
                .remove(|key, uid| *key == ObjectKey::of(&farm) && farm.metadata.uid.as_deref() == Some(uid)),
            Change::Listed(scope, listed) => {
                farms.remove(|key, _| is_in(&scope, key) && !listed.contains(key))
            }
        };
        gone.iter().for_each(|farm| context.wake_brokers_of(farm));
        if lists.are_complete() {
            announce(&mut synced);
        }
    }
}

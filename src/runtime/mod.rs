//! Wires the parts: watches feed the caches, one controller drives brokers and one promotions, one actor drives each
//! farm.

mod brokers;
mod control;
mod promotions;
mod sources;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::PartialObjectMeta;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::brokers::brokers;
pub use self::control::{Reconcile, Signals, Work, control};
use self::promotions::promotions;
use self::sources::watch_farms;
use crate::admin::{BindError, Listeners, Liveness, Probes};
use crate::broker::cache::Brokers;
use crate::broker::reconcile::Context;
use crate::cli::{self, RunArgs};
use crate::clock::Clock;
use crate::crd::{RasBroker, RasBrokerPromotion};
use crate::events::Events;
use crate::farm::registry::{FarmContext, Farms};
use crate::farm::settings::FarmPolicy;
use crate::kubernetes::{self, ObjectKey};
use crate::leader::{self, AcquireError, Authority, Leader, Leadership};
use crate::metrics::Metrics;
use crate::ras::{Connector, HostPolicy, https};

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
    let clock = Clock::MACHINE;
    let identity = leader::identity(clock.now());
    let outside = Outside { kubernetes: client, connector: Arc::new(https), clock, identity };
    let ended = Operator::new(outside, &args, metrics, stop).run(&args, &probes, control, control).await;
    draining.abort();
    servers_stop.cancel();
    match servers.await {
        Ok(served) => served.map_err(RunError::Serve)?,
        Err(_panicked) => return Err(RunError::Ended("probes and metrics")),
    }
    ended
}

/// What an operator finds outside of itself.
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct Outside {
    /// The API server.
    pub kubernetes: Client,
    /// The way to farms.
    pub connector: Connector,
    /// Time.
    pub clock: Clock,
    /// A name that no other process has.
    pub identity: String,
}

/// The running parts.
#[allow(missing_debug_implementations, reason = "kube's Client has none")]
pub struct Operator {
    outside: Outside,
    farms: Arc<Farms>,
    context: Arc<Context>,
    metrics: Metrics,
    woken: mpsc::UnboundedReceiver<ObjectKey>,
    authority: Authority,
    /// Ends reconciles.
    stop: CancellationToken,
    /// Ends the farms' actors, which wait for what reconciles have on its way.
    farms_stop: CancellationToken,
}

impl Operator {
    /// The parts, wired. Nothing is done yet.
    pub fn new(outside: Outside, args: &RunArgs, metrics: Metrics, stop: CancellationToken) -> Self {
        let Outside { kubernetes, connector, clock, identity } = &outside;
        let (wake, woken) = mpsc::unbounded_channel();
        let brokers = Arc::new(Brokers::default());
        let events = Events::new(kubernetes.clone(), identity, *clock);
        let authority = if args.leader_elect { Authority::default() } else { Authority::always() };
        let farms_stop = stop.child_token();
        let hosts =
            args.allowed_farm_hosts.as_ref().map(|hosts| hosts.as_slice().to_vec()).unwrap_or_default();
        let farms = FarmContext {
            kubernetes: kubernetes.clone(),
            brokers: Arc::clone(&brokers),
            connector: Arc::clone(connector),
            policy: FarmPolicy {
                hosts: HostPolicy::new(&hosts),
                allow_insecure_tls: args.allow_insecure_tls,
            },
            unavailable_after: args.farm_unavailable_after.get(),
            events: events.clone(),
            metrics: metrics.clone(),
            clock: *clock,
            authority: authority.clone(),
            // Half of the workers are left to everybody else.
            workers: Arc::new(Semaphore::new((usize::from(args.max_concurrent_reconciles) / 2).max(1))),
            wake,
        };
        let farms = Arc::new(Farms::new(farms, farms_stop.clone()));
        let context = Context {
            kubernetes: kubernetes.clone(),
            brokers,
            farms: Arc::clone(&farms),
            events,
            clock: *clock,
            memories: Mutex::new(HashMap::new()),
            swept: Mutex::new(HashMap::new()),
            troubles: Mutex::new(HashMap::new()),
            crd: tokio::sync::Mutex::new(None),
        };
        let context = Arc::new(context);
        Self { outside, farms, context, metrics, woken, authority, stop, farms_stop }
    }

    /// Works until stopped, or until a part ends that must not. When which broker is reconciled, and which promotion,
    /// is for the two controllers to decide.
    pub async fn run<B: Future<Output = ()>, P: Future<Output = ()>>(
        self,
        args: &RunArgs,
        probes: &Probes,
        control_brokers: impl FnOnce(Work<PartialObjectMeta<RasBroker>>) -> B,
        control_promotions: impl FnOnce(Work<RasBrokerPromotion>) -> P,
    ) -> Result<(), RunError> {
        let Outside { kubernetes, connector: _, clock, identity } = &self.outside;
        let candidate = args.leader_elect.then(|| (kubernetes.clone(), *clock, identity.clone()));
        let mut election = Box::pin(lead(candidate, self.authority.clone(), self.stop.clone()));
        let (farms, stop, farms_stop) = (Arc::clone(&self.farms), self.stop.clone(), self.farms_stop.clone());
        let begun = CancellationToken::new();
        let mut leadership = None;
        let control = (control_brokers, control_promotions);
        let mut working = Box::pin(self.work(args, probes, begun.clone(), control));
        let ended = loop {
            tokio::select! {
                biased;
                () = lost(leadership.as_ref()) => return Err(RunError::LeadershipLost),
                ended = &mut working => break ended,
                won = &mut election, if leadership.is_none() && !stop.is_cancelled() => {
                    begun.cancel();
                    farms.begin();
                    leadership = Some(won);
                }
            }
        };
        // Reconciles are done, or given up; the sessions are given back, and then the Lease.
        farms_stop.cancel();
        drop(tokio::time::timeout(DRAIN_LIMIT, farms.drained()).await);
        if let Some(Some(leadership)) = leadership {
            leadership.release().await;
        }
        if stop.is_cancelled() { Ok(()) } else { ended }
    }

    /// Keeps the caches, and reconciles from `begun` on. Ends when stopped, or when a part ends that must not.
    async fn work<B: Future<Output = ()>, P: Future<Output = ()>>(
        self,
        args: &RunArgs,
        probes: &Probes,
        begun: CancellationToken,
        control: (
            impl FnOnce(Work<PartialObjectMeta<RasBroker>>) -> B,
            impl FnOnce(Work<RasBrokerPromotion>) -> P,
        ),
    ) -> Result<(), RunError> {
        let namespaces = args.watch_namespaces.as_slice().to_vec();
        let (farms_synced, farms_are_synced) = oneshot::channel();
        let farm_watch = watch_farms(
            self.outside.kubernetes,
            namespaces.clone(),
            Arc::clone(&self.farms),
            Arc::clone(&self.context),
            farms_synced,
        );
        let farm_watch = guarded(&probes.liveness, "watch of farms", farm_watch);
        let signals = Signals { begun, stop: self.stop };
        let promotions = promotions(&self.context, &namespaces, self.metrics.clone(), signals.clone());
        let (brokers, brokers_are_synced) =
            brokers(self.context, args, self.metrics, self.woken, signals.clone());
        let readiness = probes.readiness.clone();
        let all_synced = async move {
            if farms_are_synced.await.is_ok() && brokers_are_synced.await.is_ok() {
                readiness.synced();
            }
            std::future::pending::<()>().await;
        };
        let heartbeat = probes.liveness.watch("controllers", None);
        let controlled = both(control.0(brokers), control.1(promotions), signals.stop);
        let ended = tokio::select! {
            biased;
            () = controlled => Err(RunError::Ended("the controllers")),
            () = farm_watch => Err(RunError::Ended("the watch of farms")),
            () = all_synced => Ok(()),
        };
        heartbeat.finish();
        ended
    }
}

/// Ends with whichever ends before; once they are told to stop, with both.
async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>, stop: CancellationToken) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    tokio::select! {
        biased;
        () = &mut one => if stop.is_cancelled() { other.await },
        () = &mut other => if stop.is_cancelled() { one.await },
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
    candidate: Option<(Client, Clock, String)>,
    authority: Authority,
    stop: CancellationToken,
) -> Option<Leadership> {
    let (client, clock, identity) = candidate?;
    let namespace = leader::namespace(&client);
    match Leader::acquire(client, &namespace, &identity, clock, stop).await {
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

//! Work on brokers: what is watched of them goes into the cache first, and then triggers reconciles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use tokio::sync::{mpsc, oneshot};

use super::control::{Reconcile, Signals, Work};
use super::sources::watch_brokers;
use crate::broker::reconcile::{Again, Context};
use crate::cli::RunArgs;
use crate::crd::RasBroker;
use crate::kubernetes::ObjectKey;
use crate::metrics::{Controller, Metrics, ReconcileOutcome};

/// How long a broker whose reconcile failed rests; the farm's and the plan's own pauses come on top of it.
const ERROR_PAUSE: Duration = Duration::from_secs(5);

/// What is to be done about brokers, and what tells once all were listed.
pub(super) fn brokers(
    context: Arc<Context>,
    args: &RunArgs,
    metrics: Metrics,
    woken: mpsc::UnboundedReceiver<ObjectKey>,
    signals: Signals,
) -> (Work<PartialObjectMeta<RasBroker>>, oneshot::Receiver<()>) {
    let (synced, are_synced) = oneshot::channel();
    let (store, writer) = reflector::store::<PartialObjectMeta<RasBroker>>();
    let stream =
        watch_brokers(&context.kubernetes, args.watch_namespaces.as_slice(), Arc::clone(&context), synced);
    let triggers = predicates::generation.combine(predicates::finalizers).combine(predicates::annotations);
    let stream =
        stream.reflect(writer).applied_objects().predicate_filter(triggers, PredicateConfig::default());
    let reconcile: Reconcile = Arc::new(move |key| {
        let (context, metrics) = (Arc::clone(&context), metrics.clone());
        async move { reconcile(&context, &metrics, &key).await }.boxed()
    });
    let concurrency = args.max_concurrent_reconciles;
    (Work { triggers: stream.boxed(), store, woken, reconcile, concurrency, signals }, are_synced)
}

async fn reconcile(context: &Context, metrics: &Metrics, key: &ObjectKey) -> Again {
    let began = Instant::now();
    let result = context.reconcile(key).await;
    let outcome = if result.is_ok() { ReconcileOutcome::Success } else { ReconcileOutcome::Error };
    metrics.reconciled(Controller::Broker, outcome, began.elapsed());
    context.tell(key, result.as_ref());
    result.unwrap_or(Some(ERROR_PAUSE))
}

//! The controller of brokers: which object is reconciled when, and how many at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;

use super::{DRAIN_LIMIT, Work};
use crate::broker::reconcile::{Context, ReconcileError};
use crate::crd::RasBroker;
use crate::kubernetes::ObjectKey;
use crate::metrics::{Controller as ControllerLabel, Metrics, ReconcileOutcome};

/// How long a broker whose reconcile failed rests; the farm's and the plan's own pauses come on top of it.
const ERROR_PAUSE: Duration = Duration::from_secs(5);

/// Drives brokers until stopped, and lets what is under way finish.
pub(super) async fn control(work: Work) {
    let Work { triggers, store, woken, context, metrics, concurrency, begun, stop } = work;
    let config = controller::Config::default().concurrency(concurrency).debounce(Duration::from_millis(50));
    let woken = futures::stream::unfold(woken, |mut woken| async move {
        let key = woken.recv().await?;
        Some((ObjectRef::<PartialObjectMeta<RasBroker>>::new(&key.name).within(&key.namespace), woken))
    });
    let shared = Arc::new((context, metrics));
    // A standby keeps its caches and does nothing; when its time comes it looks at everything once.
    let all = futures::stream::once(begun.cancelled_owned()).chain(futures::stream::pending());
    let running = Controller::for_stream(triggers, store)
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
    context.tell(&key, result.as_ref());
    result.map(|again| again.map_or_else(Action::await_change, Action::requeue))
}

fn pause(_error: &ReconcileError) -> Action {
    Action::requeue(ERROR_PAUSE)
}

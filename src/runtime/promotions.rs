//! The controller of promotions: few, and each a matter of minutes, so that one small controller looks at them often
//! rather than being told of everything that may concern them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sources::{flows, interrupted};
use super::{DRAIN_LIMIT, Work};
use crate::crd::RasBrokerPromotion;
use crate::kubernetes::{CallError, ObjectKey};
use crate::metrics::{Controller as ControllerLabel, Metrics, ReconcileOutcome};
use crate::promotion::reconcile::Context;
use crate::telemetry::Trouble;
use crate::watch::{as_one, watch};
use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector;

/// Promotions that are worked on at a time.
const CONCURRENT: u16 = 4;
/// How long a promotion whose reconcile failed rests.
const ERROR_PAUSE: Duration = Duration::from_secs(2);

/// Drives promotions until stopped, and lets a call that is under way finish.
pub(super) fn promote(work: &Work, namespaces: &[String]) -> impl Future<Output = ()> + use<> {
    let (brokers, metrics) = (&work.context, work.metrics.clone());
    let (begun, stop) = (work.begun.clone(), work.stop.clone());
    let (store, writer) = reflector::store::<RasBrokerPromotion>();
    let context = Context {
        kubernetes: brokers.kubernetes.clone(),
        promotions: store.clone(),
        brokers: Arc::clone(&brokers.brokers),
        farms: Arc::clone(&brokers.farms),
        events: brokers.events.clone(),
        clock: brokers.clock,
        known: parking_lot::Mutex::default(),
    };
    let watched = as_one(watch::<RasBrokerPromotion>(&brokers.kubernetes, namespaces), namespaces);
    let mut trouble = Trouble::default();
    let watched = watched.inspect(move |event| match event {
        Ok(event) => flows(event, &mut trouble),
        Err(error) => interrupted("promotions", error, &mut trouble),
    });
    let stream = watched.reflect(writer).applied_objects();
    // A standby does nothing; when its time comes it looks at everything once.
    let all = futures::stream::once(begun.cancelled_owned()).chain(futures::stream::pending());
    let running = Controller::for_stream(stream, store)
        .with_config(controller::Config::default().concurrency(CONCURRENT))
        .reconcile_all_on(all)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(ERROR_PAUSE), Arc::new((context, metrics)))
        .for_each(|_| std::future::ready(()));
    let too_long = async move {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    async move {
        tokio::select! { () = running => {}, () = too_long => {} }
    }
}

async fn reconcile(
    object: Arc<RasBrokerPromotion>,
    shared: Arc<(Context, Metrics)>,
) -> Result<Action, CallError> {
    let (context, metrics) = shared.as_ref();
    let began = Instant::now();
    let result = context.reconcile(&object).await;
    let outcome = if result.is_ok() { ReconcileOutcome::Success } else { ReconcileOutcome::Error };
    metrics.reconciled(ControllerLabel::Promotion, outcome, began.elapsed());
    if let Err(error) = &result {
        let promotion = ObjectKey::of(object.as_ref());
        tracing::warn!(%promotion, error = crate::telemetry::chain(error), "a reconcile failed");
    }
    result
}

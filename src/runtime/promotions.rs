//! Work on promotions: few, and each a matter of minutes, so that one small controller looks at them often rather than
//! being told of everything that may concern them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector;
use tokio::sync::mpsc;

use super::control::{Reconcile, Signals, Work};
use super::sources::{flows, interrupted};
use crate::broker;
use crate::broker::reconcile::Again;
use crate::crd::RasBrokerPromotion;
use crate::kubernetes::ObjectKey;
use crate::metrics::{Controller, Metrics, ReconcileOutcome};
use crate::promotion::reconcile::Context;
use crate::telemetry::Trouble;
use crate::watch::{as_one, watch};

/// Promotions that are worked on at a time.
const CONCURRENT: u16 = 4;
/// How long a promotion whose reconcile failed rests.
const ERROR_PAUSE: Duration = Duration::from_secs(2);

/// What is to be done about promotions, beside the work on brokers that `brokers` shares.
pub(super) fn promotions(
    brokers: &broker::reconcile::Context,
    namespaces: &[String],
    metrics: Metrics,
    signals: Signals,
) -> Work<RasBrokerPromotion> {
    let (store, writer) = reflector::store::<RasBrokerPromotion>();
    let context = Arc::new(Context {
        kubernetes: brokers.kubernetes.clone(),
        promotions: store.clone(),
        brokers: Arc::clone(&brokers.brokers),
        farms: Arc::clone(&brokers.farms),
        events: brokers.events.clone(),
        clock: brokers.clock,
        known: parking_lot::Mutex::default(),
    });
    let watched = as_one(watch::<RasBrokerPromotion>(&brokers.kubernetes, namespaces), namespaces);
    let mut trouble = Trouble::default();
    let watched = watched.inspect(move |event| match event {
        Ok(event) => flows(event, &mut trouble),
        Err(error) => interrupted("promotions", error, &mut trouble),
    });
    let reconcile: Reconcile = Arc::new(move |key| {
        let (context, metrics) = (Arc::clone(&context), metrics.clone());
        async move { reconcile(&context, &metrics, &key).await }.boxed()
    });
    Work {
        triggers: watched.reflect(writer).applied_objects().boxed(),
        store,
        // Nobody asks.
        woken: mpsc::unbounded_channel().1,
        reconcile,
        concurrency: CONCURRENT,
        signals,
    }
}

async fn reconcile(context: &Context, metrics: &Metrics, promotion: &ObjectKey) -> Again {
    let began = Instant::now();
    let result = context.reconcile(promotion).await;
    let outcome = if result.is_ok() { ReconcileOutcome::Success } else { ReconcileOutcome::Error };
    metrics.reconciled(Controller::Promotion, outcome, began.elapsed());
    if let Err(error) = &result {
        tracing::warn!(%promotion, error = crate::telemetry::chain(error), "a reconcile failed");
    }
    result.unwrap_or(Some(ERROR_PAUSE))
}

//! The controller of one kind: which object is reconciled when, and how many at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::DRAIN_LIMIT;
use crate::broker::reconcile::Again;
use crate::kubernetes::{Namespaced, ObjectKey};

/// What is asked for within this time is done once.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// One reconcile of the object with this key. It tells of its own failures.
pub type Reconcile = Arc<dyn Fn(ObjectKey) -> BoxFuture<'static, Again> + Send + Sync>;

/// When objects of a kind are reconciled, and how.
#[allow(missing_debug_implementations, reason = "a function has none")]
pub struct Work<K: Namespaced + 'static> {
    /// Objects whose change is a reason to look at them.
    pub triggers: BoxStream<'static, Result<K, watcher::Error>>,
    /// All objects.
    pub store: Store<K>,
    /// Objects that somebody asked to look at.
    pub woken: mpsc::UnboundedReceiver<ObjectKey>,
    /// Looks at one.
    pub reconcile: Reconcile,
    /// How many go on at the same time.
    pub concurrency: u16,
    /// When it begins and ends.
    pub signals: Signals,
}

/// When work begins and ends.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Once cancelled, all objects are looked at.
    pub begun: CancellationToken,
    /// Once cancelled, no other reconcile begins.
    pub stop: CancellationToken,
}

/// Reconciles until stopped, and lets what is under way finish.
pub async fn control<K: Namespaced + Send + Sync + 'static>(work: Work<K>) {
    let Work { triggers, store, woken, reconcile, concurrency, signals: Signals { begun, stop } } = work;
    let config = controller::Config::default().concurrency(concurrency).debounce(DEBOUNCE);
    let woken = futures::stream::unfold(woken, |mut woken| async move {
        let key = woken.recv().await?;
        Some((ObjectRef::<K>::new(&key.name).within(&key.namespace), woken))
    });
    // A standby keeps its caches and does nothing; when its time comes it looks at everything once.
    let all = futures::stream::once(begun.cancelled_owned()).chain(futures::stream::pending());
    let running = Controller::for_stream(triggers, store)
        .with_config(config)
        .reconcile_on(woken)
        .reconcile_all_on(all)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(look, |_, never, _| match *never {}, Arc::new(reconcile))
        .for_each(|_| std::future::ready(()));
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    tokio::select! { () = running => {}, () = too_long => {} }
}

async fn look<K: Namespaced>(object: Arc<K>, reconcile: Arc<Reconcile>) -> Result<Action, Infallible> {
    let again = reconcile(ObjectKey::of(object.as_ref())).await;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

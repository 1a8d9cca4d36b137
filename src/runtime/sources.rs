//! From what is watched to what is known: brokers go into the cache, farms get their actors, and what is left over
//! triggers reconciles.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use tokio::sync::oneshot;

use crate::broker::reconcile::Context;
use crate::crd::{RasBroker, RasFarm};
use crate::farm::registry::Farms;
use crate::kubernetes::ObjectKey;
use crate::telemetry::Trouble;
use crate::watch::{Change, Lists, is_in, metadata_of, watch};

/// Watched brokers go into the cache before anything is triggered by them, and what was watched tells the farms. What
/// comes out feeds the controller: metadata alone, since reconciles read the cache.
pub(super) fn watch_brokers(
    client: &Client,
    namespaces: &[String],
    context: Arc<Context>,
    synced: oneshot::Sender<()>,
) -> impl Stream<Item = Trigger> + Send + 'static {
    let mut lists = Lists::new(namespaces);
    let (mut synced, mut trouble) = (Some(synced), Trouble::default());
    let events = watch::<RasBroker>(client, namespaces).flat_map(move |event| {
        let triggers = match event {
            Ok((scope, event)) => {
                flows(&event, &mut trouble);
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
                interrupted("brokers", &error, &mut trouble);
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
        Change::InList(broker) => {
            context.doubt(&broker);
            vec![Ok(seen(context, broker, was_complete))]
        }
        Change::Seen(broker) => vec![Ok(seen(context, broker, was_complete))],
        Change::Gone(broker) => {
            if context.lose_watched(&broker) {
                // The controller works on what is in its store alone.
                return Vec::new();
            }
            vec![Ok(watcher::Event::Delete(metadata_of(&broker)))]
        }
        Change::Listed(scope, listed) => {
            let gone = context.brokers.missing(|key| is_in(&scope, key) && !listed.contains(key));
            for broker in &gone {
                context.lose(broker);
            }
            gone.iter().map(|broker| Ok(watcher::Event::Delete(metadata_of(broker.as_ref())))).collect()
        }
    }
}

fn seen(
    context: &Context,
    broker: RasBroker,
    was_complete: bool,
) -> watcher::Event<PartialObjectMeta<RasBroker>> {
    let metadata = metadata_of(&broker);
    if was_complete && context.brokers.get(&ObjectKey::of(&broker)).is_none() {
        // The filter of the triggers knows an object by its uid, also one that was told to be gone: such a one is back
        // after a restore, as it was, and passes it by nothing.
        context.farms.wake(ObjectKey::of(&broker));
    }
    context.see(broker);
    if was_complete { watcher::Event::Apply(metadata) } else { watcher::Event::InitApply(metadata) }
}

fn announce(synced: &mut Option<oneshot::Sender<()>>) {
    if let Some(synced) = synced.take() {
        // Nobody listens any more when the process is already ending.
        synced.send(()).unwrap_or_default();
    }
}

/// A watch that begins anew has not come back yet: that is said before the server is asked.
pub(super) fn flows<K>(event: &watcher::Event<K>, trouble: &mut Trouble) {
    if !matches!(event, watcher::Event::Init) {
        trouble.is_over();
    }
}

pub(super) fn interrupted(what: &'static str, error: &watcher::Error, trouble: &mut Trouble) {
    let error = if is_no_such_kind(error) {
        "the API server has no such kind: install the CRDs: kubectl apply --server-side -k crds".to_owned()
    } else {
        crate::telemetry::chain(error)
    };
    if trouble.is_news(&error) {
        tracing::warn!(what, error, "a watch was interrupted, trying again");
    }
}

/// A list of objects is answered with 404 only where their kind is not there.
fn is_no_such_kind(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(
        error,
        InitialListFailed(kube::Error::Api(status))
            | WatchStartFailed(kube::Error::Api(status))
            | WatchFailed(kube::Error::Api(status))
            if status.code == 404
    )
}

/// Watched farms start and stop actors; a farm that goes wakes its brokers.
pub(super) async fn watch_farms(
    client: Client,
    namespaces: Vec<String>,
    farms: Arc<Farms>,
    context: Arc<Context>,
    synced: oneshot::Sender<()>,
) {
    let (mut synced, mut trouble) = (Some(synced), Trouble::default());
    let mut lists = Lists::new(&namespaces);
    let mut events = watch::<RasFarm>(&client, &namespaces);
    while let Some(event) = events.next().await {
        let change = match event {
            Ok((scope, event)) => {
                flows(&event, &mut trouble);
                lists.take(scope, event)
            }
            Err(error) => {
                interrupted("farms", &error, &mut trouble);
                continue;
            }
        };
        let gone = match change {
            Change::Listing => Vec::new(),
            Change::InList(farm) => {
                farms.doubt(&farm);
                farms.put(Arc::new(farm));
                Vec::new()
            }
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
        for farm in &gone {
            context.wake_brokers_of(farm);
        }
        if lists.are_complete() {
            announce(&mut synced);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_list_that_is_not_there_is_a_kind_that_is_not_there() {
        let failed = |code| {
            let status = Status { code, ..Status::default() };
            watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        assert!(is_no_such_kind(&failed(404)));
        assert!(!is_no_such_kind(&failed(403)) && !is_no_such_kind(&watcher::Error::NoResourceVersion));
    }
}

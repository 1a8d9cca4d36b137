//! The model of the API server, held against the real one.

use futures::StreamExt;
use kube::api::{Api, PostParams};
use kube::runtime::watcher;
use ras_operator::crd::RasBroker;
use serde_json::json;

use crate::api_server::ApiServer;
use crate::support::objects;

#[tokio::test(start_paused = true)]
async fn a_client_works_over_the_model() {
    let server = ApiServer::new(|| "2026-01-01T00:00:00Z".parse().expect("a time"));
    let api: Api<RasBroker> = Api::namespaced(server.client(), "default");
    let broker: RasBroker =
        serde_json::from_value(objects::broker("a", "north", "a.corp.example")).expect("a broker");
    let broker = api.create(&PostParams::default(), &broker).await.expect("created");
    assert_eq!(broker.metadata.generation, Some(1));
    assert_eq!(broker.status.as_ref().map(|status| status.observed_generation), Some(-1));
    let answered = ras_operator::kubernetes::apply_status(
        &server.client(),
        &broker,
        &json!({"id": 7, "observedGeneration": 1}),
    )
    .await
    .expect("applied");
    assert_eq!(answered.status.and_then(|status| status.id), Some(7));
    let stale = ras_operator::kubernetes::apply_status(&server.client(), &broker, &json!({"id": 7})).await;
    assert!(stale.expect_err("stale").is_conflict());

    let mut events = Box::pin(watcher(api, watcher::Config::default().streaming_lists()));
    assert!(matches!(events.next().await, Some(Ok(watcher::Event::Init))));
    assert!(matches!(events.next().await, Some(Ok(watcher::Event::InitApply(_)))));
    assert!(matches!(events.next().await, Some(Ok(watcher::Event::InitDone))));
    server
        .patch("RasBroker", "default", "a", json!({"metadata": {"finalizers": ["x.y/z"]}}))
        .expect("patched");
    assert!(matches!(events.next().await, Some(Ok(watcher::Event::Apply(_)))));
    server.expire_watches();
    assert!(matches!(events.next().await, Some(Err(watcher::Error::WatchError(_)))));
    assert!(matches!(events.next().await, Some(Ok(watcher::Event::Init))));
    server.delete("RasBroker", "default", "a").expect("marked");
    server.strip("RasBroker", "default", "a").expect("stripped");
    assert!(server.list("RasBroker").is_empty());
}

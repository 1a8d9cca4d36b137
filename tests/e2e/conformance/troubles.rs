//! What befalls the model's cluster as a whole, which no test may do to the real server that others use.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use ras_operator::crd::RasBroker;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Revision};
use crate::support::objects;

type Events = Pin<Box<dyn Stream<Item = Result<Event<RasBroker>, watcher::Error>>>>;

fn server() -> ApiServer {
    ApiServer::new(|| "2026-01-01T00:00:00Z".parse().expect("a time"))
}

fn create(server: &ApiServer, name: &str) -> Value {
    let mut broker = objects::broker(name, "north", "a.corp.example");
    broker["metadata"]["namespace"] = "default".into();
    server.create(broker).expect("a broker is created")
}

fn watch(server: &ApiServer) -> Events {
    Box::pin(watcher(Api::all(server.client()), watcher::Config::default().streaming_lists()))
}

/// The next events, as short words.
async fn told(events: &mut Events, count: usize) -> Vec<String> {
    let name = |broker: &RasBroker| broker.metadata.name.clone().unwrap_or_default();
    let mut words = Vec::new();
    for event in events.take(count).collect::<Vec<_>>().await {
        words.push(match event {
            Ok(Event::Init) => "begins".to_owned(),
            Ok(Event::InitApply(broker)) => format!("has {}", name(&broker)),
            Ok(Event::InitDone) => "is complete".to_owned(),
            Ok(Event::Apply(broker)) => format!("sees {}", name(&broker)),
            Ok(Event::Delete(broker)) => format!("loses {}", name(&broker)),
            Err(error) => format!("{error:?}").chars().take_while(|letter| *letter != '(').collect(),
        });
    }
    words
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_goes_on_and_an_expired_one_begins_anew() {
    let server = server();
    create(&server, "a");
    let mut events = watch(&server);
    assert_eq!(told(&mut events, 3).await, ["begins", "has a", "is complete"]);
    server.cut_watches();
    create(&server, "b");
    assert_eq!(told(&mut events, 1).await, ["sees b"], "what happened meanwhile is told");
    server.expire_watches();
    create(&server, "c");
    let anew = ["WatchError", "begins", "has a", "has b", "has c", "is complete"];
    assert_eq!(told(&mut events, 6).await, anew);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over_and_goes_on_from_the_last_bookmark() {
    let server = server();
    create(&server, "a");
    let mut events = watch(&server);
    told(&mut events, 3).await;
    let began = tokio::time::Instant::now();
    let later = tokio::spawn({
        let server = server.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_secs(1_000)).await;
            assert_eq!(server.open_watches(), 1);
            create(&server, "b");
        }
    });
    assert_eq!(told(&mut events, 1).await, ["sees b"]);
    assert_eq!(began.elapsed().as_secs(), 1_000);
    later.await.expect("it was watched");
    server.send_bookmarks();
    server.compact();
    server.cut_watches();
    create(&server, "c");
    assert_eq!(told(&mut events, 1).await, ["sees c"], "the bookmark was after the compaction");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lags_shows_an_older_world_first() {
    let server = server();
    create(&server, "a");
    let before = server.snapshot();
    create(&server, "b");
    server.delete("RasBroker", "default", "a").expect("deleted");
    server.begin_watches_with(Some(&before));
    let mut events = watch(&server);
    assert_eq!(told(&mut events, 5).await, ["begins", "has a", "is complete", "sees b", "loses a"]);
}

#[tokio::test(start_paused = true)]
async fn a_restore_brings_back_what_was_and_only_raised_versions_tell_it_to_watches() {
    for (revision, told_of_it) in [(Revision::Raised, true), (Revision::AsThen, false)] {
        let server = server();
        create(&server, "a");
        let before = server.snapshot();
        let uid = server.get("RasBroker", "default", "a").expect("a broker")["metadata"]["uid"].clone();
        server.delete("RasBroker", "default", "a").expect("deleted");
        create(&server, "b");
        let mut events = watch(&server);
        told(&mut events, 3).await;
        server.restore(&before, revision);
        assert_eq!(server.list("RasBroker").len(), 1);
        assert_eq!(server.get("RasBroker", "default", "a").expect("back")["metadata"]["uid"], uid);
        assert_ne!(create(&server, "c")["metadata"]["uid"], uid, "no uid is given twice");
        if told_of_it {
            let anew = ["WatchError", "begins", "has a", "has c", "is complete"];
            assert_eq!(told(&mut events, 5).await, anew);
        } else {
            create(&server, "d");
            create(&server, "e");
            assert_eq!(told(&mut events, 1).await, ["sees e"], "versions that were given before pass unseen");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_told_in_the_same_way_each_time() {
    let play = async || {
        let server = server();
        let (mut first, mut second) = (watch(&server), watch(&server));
        let mut words = [told(&mut first, 2).await, told(&mut second, 2).await].concat();
        create(&server, "a");
        let patch = json!({"metadata": {"finalizers": ["ras-operator.dev/broker"]}});
        server.patch("RasBroker", "default", "a", patch).expect("patched");
        server.delete("RasBroker", "default", "a").expect("marked");
        server.strip("RasBroker", "default", "a").expect("stripped");
        for events in [&mut second, &mut first] {
            words.extend(told(events, 4).await);
        }
        (words, server.revision(), create(&server, "a"))
    };
    assert_eq!(play().await, play().await);
}

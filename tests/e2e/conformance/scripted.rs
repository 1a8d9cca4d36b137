//! What no random sequence may do to a server that others use: namespaces and definitions that go.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::compared::comparable;
use super::modelled;
use super::sequence::BROKER;
use super::server::{Answer, Server};
use super::watching::Until;
use crate::api_server::ApiServer;
use crate::support::control_plane::ControlPlane;
use crate::support::{control_plane, deploy, eventually, objects};

const SOON: Duration = Duration::from_secs(40);
const BROKERS: &str = "/apis/ras-operator.dev/v1alpha1/namespaces/NAMESPACE/rasbrokers";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rasbrokers.ras-operator.dev";

/// Both servers, and what each answered.
struct Pair {
    model: ApiServer,
    modelled: Server,
    real: Server,
    answers: Vec<(String, Answer, Answer)>,
}

impl Pair {
    async fn new(plane: &ControlPlane, stem: &str) -> Self {
        let namespace = plane.namespace(stem).await;
        let model = modelled(&namespace);
        let real = Server::new(plane.admin(), &namespace);
        Self { modelled: Server::new(model.client(), &namespace), model, real, answers: Vec::new() }
    }

    /// Asks both, and keeps what they answer.
    async fn ask(&mut self, method: Method, path: &str, body: Value) {
        let modelled = self.modelled.raw(method.clone(), path, &body).await;
        let real = self.real.raw(method.clone(), path, &body).await;
        self.answers.push((format!("{method} {path}"), modelled, real));
    }

    /// Waits until the real server has done what the model does at once.
    async fn catches_up(&self, what: &str, path: &str, is_so: impl Fn(&Answer) -> bool) {
        eventually(what, SOON, async || {
            let answer = self.real.raw(Method::GET, path, &Value::Null).await;
            if is_so(&answer) { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    fn agree(&self) {
        let asked: Vec<&String> = self.answers.iter().map(|(asked, _, _)| asked).collect();
        let modelled: Vec<Answer> = self.answers.iter().map(|(_, modelled, _)| modelled.clone()).collect();
        let real: Vec<Answer> = self.answers.iter().map(|(_, _, real)| real.clone()).collect();
        for ((asked, modelled), real) in asked.into_iter().zip(comparable(&modelled)).zip(comparable(&real)) {
            assert_eq!(modelled, real, "the model, and then the real server, answers {asked}");
        }
    }
}

fn is_going(answer: &Answer) -> bool {
    !answer.body["metadata"]["deletionTimestamp"].is_null()
}

fn kept(name: &str) -> Value {
    let mut broker = objects::broker(name, "north", "a.corp.example");
    broker["metadata"]["finalizers"] = json!(["ras-operator.dev/broker"]);
    broker
}

#[tokio::test]
async fn a_namespace_that_ends_takes_nothing_new_and_lets_go_what_it_has() {
    let mut pair = Pair::new(control_plane().await, "ending").await;
    let broker = format!("{BROKERS}/a");
    pair.ask(Method::POST, BROKERS, kept("a")).await;
    let namespace = pair.answers[0].2.body["metadata"]["namespace"].as_str().expect("a namespace").to_owned();
    pair.real.raw(Method::DELETE, "/api/v1/namespaces/NAMESPACE", &Value::Null).await;
    pair.model.terminate_namespace(&namespace);
    pair.model.sweep("RasBroker", &namespace);
    pair.catches_up("the broker is to go", &broker, is_going).await;

    pair.ask(Method::GET, &broker, Value::Null).await;
    pair.ask(Method::POST, BROKERS, kept("b")).await;
    let secret = json!({"metadata": {"name": "s"}});
    pair.ask(Method::POST, "/api/v1/namespaces/NAMESPACE/secrets", secret).await;
    let lease = json!({"metadata": {"name": "l"}});
    pair.ask(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/NAMESPACE/leases/l", lease).await;
    pair.ask(Method::PATCH, &broker, json!({"metadata": {"annotations": {"note": "one"}}})).await;
    let more = json!({"metadata": {"finalizers": ["ras-operator.dev/broker", "other.example/one"]}});
    pair.ask(Method::PATCH, &broker, more).await;
    pair.ask(Method::PATCH, &broker, json!({"metadata": {"finalizers": null}})).await;
    pair.ask(Method::GET, &broker, Value::Null).await;
    pair.ask(Method::POST, "/api/v1/namespaces/absent/secrets", json!({"metadata": {"name": "s"}})).await;
    pair.agree();
}

/// On a control plane of its own: no other test has the kind any more.
#[tokio::test]
async fn a_definition_that_goes_takes_its_objects_its_path_and_its_watches_with_it() {
    let plane = ControlPlane::start().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    deploy::install_crds(plane.cluster()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let mut pair = Pair::new(&plane, "kind").await;
    let broker = format!("{BROKERS}/a");
    pair.ask(Method::POST, BROKERS, kept("a")).await;
    let (modelled_begin, real_begin) = (pair.modelled.now(BROKER).await, pair.real.now(BROKER).await);
    pair.real.raw(Method::DELETE, DEFINITION, &Value::Null).await;
    pair.model.delete_definition("RasBroker");
    pair.catches_up("the broker is to go", &broker, is_going).await;

    pair.ask(Method::GET, &broker, Value::Null).await;
    pair.ask(Method::POST, BROKERS, kept("b")).await;
    let is_going_too = |pair: &Pair| {
        let definition = pair.model.get("CustomResourceDefinition", "", "rasbrokers.ras-operator.dev");
        definition.is_some_and(|definition| !definition["metadata"]["deletionTimestamp"].is_null())
    };
    assert!(is_going_too(&pair), "as the operator looks for it");
    pair.catches_up("the definition is to go", DEFINITION, is_going).await;

    let modelled = pair.modelled.watch_from(BROKER, &modelled_begin).await;
    let real = pair.real.watch_from(BROKER, &real_begin).await;
    pair.ask(Method::PATCH, &broker, json!({"metadata": {"finalizers": null}})).await;
    let (modelled, real) = (modelled.read(Until::End).await, real.read(Until::End).await);
    assert_ne!(modelled.code, 0, "the watch ends with the kind: {modelled:?}");
    pair.answers.push(("WATCH".to_owned(), modelled, real));
    pair.catches_up("the path is gone", BROKERS, |answer| answer.code == 404).await;
    pair.ask(Method::GET, BROKERS, Value::Null).await;
    pair.ask(Method::GET, &broker, Value::Null).await;
    pair.ask(Method::GET, DEFINITION, Value::Null).await;
    pair.agree();
}

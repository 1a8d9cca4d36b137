//! The client that everything uses: it repeats nothing that may have been sent, waits for nothing for ever, and counts
//! what it writes.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use crate::metrics::{Metrics, Resource, Verb, WriteOutcome};

/// How long the head of an answer is waited for. Calls have a limit of their own; a watch has none before its first
/// line, and one that never begins would leave the operator blind for ever.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A client for the cluster that `KUBECONFIG` or the pod's account names.
pub async fn connect(metrics: Metrics) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = Config::infer().await?;
    // Whether to repeat a call is decided where the call is understood.
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&Guarded(metrics)).build())
}

/// Bounds the wait for an answer, and counts writes by what their path names.
#[derive(Clone, Debug)]
pub struct Guarded(pub Metrics);

/// What [`Guarded`] makes of the way to the API server.
#[derive(Clone, Debug)]
pub struct GuardedService<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Layer<S> for Guarded {
    type Service = GuardedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardedService { inner, metrics: self.0.clone() }
    }
}

impl<S, B> Service<Request<Body>> for GuardedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let write = write_of(request.method(), request.uri().path());
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        async move {
            let answer: Result<_, BoxError> = match tokio::time::timeout(HEAD_LIMIT, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(elapsed) => Err(elapsed.into()),
            };
            if let Some((resource, verb)) = write {
                let status = answer.as_ref().map(|answer| answer.status().as_u16()).ok();
                metrics.kubernetes_written(resource, verb, outcome_of(status));
            }
            answer
        }
        .boxed()
    }
}

fn write_of(method: &Method, path: &str) -> Option<(Resource, Verb)> {
    let verb = match *method {
        Method::POST => Verb::Create,
        Method::PATCH => Verb::Patch,
        _ => return None,
    };
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let resource = match segments.as_slice() {
        [.., "rasfarms", _, "status"] => Resource::FarmsStatus,
        [.., "rasbrokers", _, "status"] => Resource::BrokersStatus,
        [.., "rasbrokerpromotions", _, "status"] => Resource::PromotionsStatus,
        [.., "rasfarms", _] => Resource::Farms,
        [.., "rasbrokers", _] => Resource::Brokers,
        [.., "events"] => Resource::Events,
        _ => return None,
    };
    Some((resource, verb))
}

fn outcome_of(status: Option<u16>) -> WriteOutcome {
    match status {
        Some(200..=299) => WriteOutcome::Success,
        Some(409) => WriteOutcome::Conflict,
        Some(408 | 500..=599) | None => WriteOutcome::Unknown,
        Some(_) => WriteOutcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Output;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn writes_are_named_by_their_path_and_reads_are_not_counted() {
        let base = "/apis/ras-operator.dev/v1alpha1/namespaces/status/rasbrokers/events";
        assert_eq!(write_of(&Method::PATCH, base), Some((Resource::Brokers, Verb::Patch)));
        let status = format!("{base}/status");
        assert_eq!(write_of(&Method::PATCH, &status), Some((Resource::BrokersStatus, Verb::Patch)));
        assert_eq!(write_of(&Method::GET, base), None);
        let events = "/apis/events.k8s.io/v1/namespaces/ns/events";
        assert_eq!(write_of(&Method::POST, events), Some((Resource::Events, Verb::Create)));
    }

    #[test]
    fn a_write_without_a_clear_answer_may_have_been_stored() {
        assert_eq!(outcome_of(None), WriteOutcome::Unknown);
        assert_eq!(outcome_of(Some(500)), WriteOutcome::Unknown);
        assert_eq!(outcome_of(Some(422)), WriteOutcome::Refused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_is_given_up() {
        let silent =
            tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<()>, BoxError>>());
        let mut service = Guarded(Metrics::new("0", "0")).layer(silent);
        let call = service.call(Request::new(Body::empty()));
        assert!(tokio::time::timeout(HEAD_LIMIT * 2, call).await.unwrap().is_err());
    }

    #[tokio::test]
    #[ignore = "the next one runs it, with a cluster of its own"]
    async fn a_call_is_made() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = connect(Metrics::new("0", "0")).await.unwrap();
        let call = client.request_text(Request::get("/version").body(Vec::new()).unwrap());
        let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{answer:?}");
    }

    /// The library repeats by itself what such a server refuses, unless it is told not to.
    #[tokio::test]
    async fn what_is_refused_for_now_is_not_repeated() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = json!({"server": format!("http://{}", server.local_addr().unwrap())});
        let config = json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--ignored", "kubernetes::client::tests::a_call_is_made"]);
        child.env("KUBECONFIG", kubeconfig).env_remove("HTTPS_PROXY").env_remove("https_proxy");
        let output = child.output();
        let (calls, output) = refused_meanwhile(&server, output).await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(calls, 1);
    }

    /// Refuses every call until `child` has ended; answers how many there were.
    async fn refused_meanwhile(
        server: &TcpListener,
        child: impl Future<Output = std::io::Result<Output>>,
    ) -> (usize, Output) {
        const REFUSAL: &[u8] =
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let mut child = std::pin::pin!(child);
        let mut calls = 0;
        loop {
            tokio::select! {
                output = &mut child => return (calls, output.unwrap()),
                stream = server.accept() => {
                    let (mut stream, _) = stream.unwrap();
                    calls += 1;
                    assert!(stream.read(&mut [0; 1 << 12]).await.unwrap() > 0);
                    stream.write_all(REFUSAL).await.unwrap();
                }
            }
        }
    }
}

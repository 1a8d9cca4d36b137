//! The operator's way to the API server.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, BodyStream, Collected, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body as Asked;
use kube::client::ClientBuilder;
use ras_operator::kubernetes::client::Guarded;
use ras_operator::metrics::Metrics;
use serde_json::{Value, json};
use tower::{BoxError, Service, ServiceExt};

use crate::api_server::ApiServer;
use crate::network::{Call, Line, Passage, Reached};
use crate::world::World;

/// A client whose calls go over `line`.
pub fn client(world: &Arc<World>, line: &Arc<Line>) -> Client {
    let (world, line) = (Arc::clone(world), Arc::clone(line));
    let service = tower::service_fn(move |request| call(Arc::clone(&world), Arc::clone(&line), request));
    ClientBuilder::new(service, "default").with_layer(&Guarded(Metrics::new("0", "0"))).build()
}

async fn call(
    world: Arc<World>,
    line: Arc<Line>,
    request: Request<Asked>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let call = Call { farm: None, method: parts.method.to_string(), path };
    let is_watch = call.path.contains("watch=true");
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    if line.is_open()
        && let Some(wrong) = line.order.lock().tells(&call, &told, &world)
    {
        world.oracle.lock().accuse(&format!("{wrong}: {}", call.line()));
    }
    if let Some(secret) = world.secret_in(&String::from_utf8_lossy(&body)) {
        world.oracle.lock().accuse(&format!("a secret in a write, {secret}: {}", call.line()));
    }
    let seen = call.clone();
    let watched = Arc::clone(&line);
    let asked = seen.clone();
    let deliver = move |_| {
        async move {
            let response = answer(&world.api, Request::from_parts(parts, Asked::from(body.to_vec()))).await;
            if is_watch {
                return Reached::Answer(watch(watched, &seen, response));
            }
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
            world.after_write(&seen, parts.status.as_u16(), &body);
            Reached::Answer(Response::from_parts(parts, Body::from(body.to_vec())))
        }
        .boxed()
    };
    match Arc::clone(&line).pass(call, deliver).await {
        Passage::Answered(response) => {
            Ok(if is_watch { response } else { heard(&line, &asked, response).await })
        }
        Passage::Refused(status) => Ok(refusal(status)),
        Passage::Broken => Err("the connection was reset".into()),
        Passage::NotConnected(_) => Err("the connection was refused".into()),
    }
}

/// What a process has heard is what it may act on.
async fn heard(line: &Line, call: &Call, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
    let object: Option<Value> =
        if parts.status.is_success() { serde_json::from_slice(&body).ok() } else { None };
    if object.is_some() || parts.status == http::StatusCode::NOT_FOUND {
        line.order.lock().told(call, object.as_ref());
    }
    Response::from_parts(parts, Body::from(body.to_vec()))
}

async fn answer(api: &ApiServer, request: Request<Asked>) -> Response<Body> {
    let mut service = api.service();
    let Ok(ready) = ServiceExt::<Request<Asked>>::ready(&mut service).await;
    let Ok(response) = ready.call(request).await;
    response
}

fn refusal(status: u16) -> Response<Body> {
    let reason = match status {
        403 => "Forbidden",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused on the way", "reason": reason, "code": status,
    });
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

type Lines = UnboundedReceiver<Result<Frame<Bytes>, std::convert::Infallible>>;

/// A watch is a call that never ends: its lines come after one another, and each may be hit.
fn watch(line: Arc<Line>, call: &Call, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let (sender, receiver): (_, Lines) = unbounded();
    let name = if call.path.contains("rasfarms") { "farms" } else { "brokers" };
    tokio::spawn(forward(line, name, body, sender));
    Response::from_parts(parts, Body::new(StreamBody::new(receiver)))
}

async fn forward(
    line: Arc<Line>,
    name: &'static str,
    body: Body,
    sender: UnboundedSender<Result<Frame<Bytes>, std::convert::Infallible>>,
) {
    let network = Arc::clone(line.network());
    let mut frames = BodyStream::new(body);
    while let Some(Ok(frame)) = frames.next().await {
        let Ok(bytes) = frame.into_data() else { continue };
        let mut lag = Duration::from_millis(1 + network.below(15));
        let mut copies = 1;
        if network.below(1_000) < network.weather().watch {
            let kind = ["watch: late", "watch: told twice", "watch: cut", "watch: silent, then cut"];
            let kind = kind[usize::try_from(network.below(4)).unwrap_or_default()];
            network.fault(kind, name);
            match kind {
                "watch: late" => lag = Duration::from_millis(500 + network.below(20_000)),
                "watch: told twice" => copies = 2,
                "watch: cut" => return,
                _ => {
                    tokio::time::sleep(Duration::from_millis(network.below(60_000))).await;
                    return;
                }
            }
        }
        tokio::time::sleep(lag).await;
        for _ in 0..copies {
            if !line.is_open() || sender.unbounded_send(Ok(Frame::data(bytes.clone()))).is_err() {
                return;
            }
        }
    }
}

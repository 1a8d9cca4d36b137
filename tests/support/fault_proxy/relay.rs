//! One request: read whole, met by a fault where one is meant for it, forwarded, answered.

use std::{io, sync::Arc};

use axum::body::{Body, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Fault, Seen, Shared, rule, target::target, watching};

/// What concerns one connection only, and what the HTTP libraries write by themselves.
const NOT_FORWARDED: [header::HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// An error of the handler ends the connection without an answer.
type Answer = Result<Response<Body>, io::Error>;

pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let handle = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), handle);
            stop.run_until_cancelled(connection).await.map(drop)
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (verb, route, name) = target(&parts.method, &parts.uri);
    let seen = Seen { at: Instant::now(), verb, route, name, fault: None, status: None };
    let (number, fault) = shared.enter(seen, &body);
    let request = Request::from_parts(parts, body);
    let answer = meet(&shared, request, number, fault).await;
    if let Ok(answer) = &answer {
        shared.lock().seen[number].status = Some(answer.status().as_u16());
    }
    answer
}

async fn meet(shared: &Arc<Shared>, request: Request<Bytes>, number: usize, fault: Option<Fault>) -> Answer {
    match fault {
        None => forward(shared, request, number).await,
        Some(Fault::Refused(status)) => refusal(status),
        Some(Fault::Unsent) => Err(lost()),
        Some(Fault::Hung) => std::future::pending().await,
        Some(Fault::Lost) => {
            forward(shared, request, number).await?;
            Err(lost())
        }
        Some(Fault::Late(pause)) => {
            let shared = Arc::clone(shared);
            // Whoever asked is gone by then, and with it the task of its connection.
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                forward(&shared, request, number).await.map(drop)
            });
            Err(lost())
        }
        Some(Fault::Slow(pause)) => {
            let shared = Arc::clone(shared);
            let late = tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                forward(&shared, request, number).await
            });
            late.await.map_err(io::Error::other)?
        }
    }
}

impl Shared {
    /// Writes the request down, and takes the fault that is meant for it.
    fn enter(&self, mut seen: Seen, body: &Bytes) -> (usize, Option<Fault>) {
        let mut state = self.lock();
        let fault = rule::take(&mut state.rules, &seen, &String::from_utf8_lossy(body));
        seen.fault = fault;
        state.seen.push(seen);
        (state.seen.len() - 1, fault)
    }
}

async fn forward(shared: &Shared, request: Request<Bytes>, number: usize) -> Answer {
    let (parts, body) = request.into_parts();
    let (is_watch, resource) = {
        let state = shared.lock();
        (state.seen[number].verb == "watch", state.seen[number].route.clone())
    };
    let url = format!("{}{}", shared.server, parts.uri);
    // Whether or not the operator lives to see the answer: what has come in is done.
    let sent = shared.upstream.request(parts.method, url).headers(kept(parts.headers)).body(body).send();
    let answered = tokio::spawn(sent).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let mut answer = Response::builder().status(answered.status());
    if let Some(headers) = answer.headers_mut() {
        *headers = kept(answered.headers().clone());
    }
    let body = if is_watch && answered.status() == StatusCode::OK {
        watching::stream(answered, resource, shared.flow.subscribe())
    } else {
        Body::from(answered.bytes().await.map_err(io::Error::other)?)
    };
    answer.body(body).map_err(io::Error::other)
}

fn kept(mut headers: HeaderMap) -> HeaderMap {
    for name in NOT_FORWARDED {
        headers.remove(name);
    }
    headers
}

fn refusal(status: u16) -> Answer {
    let reason = match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused by the test", "reason": reason, "code": status,
    });
    let mut answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if matches!(status, 429 | 503) {
        answer = answer.header(header::RETRY_AFTER, "1");
    }
    answer.body(Body::from(body.to_string())).map_err(io::Error::other)
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "lost on purpose")
}

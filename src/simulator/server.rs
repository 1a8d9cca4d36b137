//! The HTTPS side: one listener for each endpoint of a farm, and full control over each connection's end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::{Outcome, exchange};
use super::farm::Farm;
use super::wire::{Reply, Request};

/// The largest request body; the API's are under a kilobyte.
const BODY_LIMIT: usize = 1 << 20;

/// A client that does not finish its handshake by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Time for the first half of a truncated body to reach the client.
const TRUNCATION: Duration = Duration::from_millis(50);

type Body = BoxBody<Bytes, io::Error>;

/// Where the simulator's tasks live, and what ends them.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    pub(super) stop: CancellationToken,
    pub(super) tracker: TaskTracker,
}

impl Tasks {
    /// Runs a task until it ends or the simulator stops.
    pub(super) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { stop.run_until_cancelled(task).await })
    }
}

/// One endpoint of a farm.
#[derive(Clone)]
pub(super) struct Listening {
    pub(super) farm: Arc<Farm>,
    pub(super) endpoint: usize,
    pub(super) acceptor: TlsAcceptor,
    pub(super) tasks: Tasks,
}

/// Accepts connections until the simulator stops.
pub(super) async fn listen(listener: TcpListener, at: Listening) {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => accepted(stream, &at),
            // Out of descriptors: wait for some to be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn accepted(stream: TcpStream, at: &Listening) {
    let reachable = {
        let mut state = at.farm.lock();
        state.connections += 1;
        state.reachable && !state.dead_endpoints.contains(&at.endpoint)
    };
    if reachable {
        let at = at.clone();
        let tasks = at.tasks.clone();
        drop(tasks.spawn(async move { connection(stream, &at).await }));
    } else {
        reset(&stream);
    }
}

/// Makes the close that follows a TCP RST.
fn reset(stream: &TcpStream) {
    // Where the option cannot be set the peer sees an orderly close, which is no answer either.
    drop(stream.set_zero_linger());
}

async fn connection(stream: TcpStream, at: &Listening) {
    drop(stream.set_nodelay(true));
    let handshake = tokio::time::timeout(HANDSHAKE, at.acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        return;
    };
    let wants_reset = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (at, wants_reset) = (at.clone(), Arc::clone(&wants_reset));
        Box::pin(async move { serve(request, at, wants_reset).await })
            as Pin<Box<dyn Future<Output = Result<Response<Body>, io::Error>> + Send>>
    });
    let mut connection =
        http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service);
    let is_reset = tokio::select! {
        _ = poll_fn(|context| connection.poll_without_shutdown(context)) => false,
        () = wants_reset.notified() => true,
    };
    close(connection.into_parts().io.into_inner(), is_reset).await;
}

async fn close(mut stream: TlsStream<TcpStream>, is_reset: bool) {
    if is_reset {
        reset(stream.get_ref().0);
    } else {
        drop(stream.shutdown().await);
    }
}

async fn serve(
    request: http::Request<Incoming>,
    at: Listening,
    wants_reset: Arc<Notify>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return response(&Reply::empty(413));
    };
    let request = Request::new(&parts, body.to_bytes(), at.endpoint);
    let farm = Arc::clone(&at.farm);
    // A task of its own: a farm goes on with a request whose client has gone.
    let task = at.tasks.spawn(async move { exchange(&farm, &request).await });
    match task.await.ok().flatten() {
        Some(Outcome::Answer(reply)) => response(&reply),
        Some(Outcome::Truncated(reply)) => truncated(reply),
        Some(Outcome::Hang) => std::future::pending().await,
        Some(Outcome::Reset) | None => {
            wants_reset.notify_one();
            std::future::pending().await
        }
    }
}

fn response(reply: &Reply) -> Result<Response<Body>, io::Error> {
    let body = Full::new(Bytes::from(reply.body.clone()));
    let body = body.map_err(|never| match never {}).boxed();
    with_head(reply, body)
}

fn truncated(mut reply: Reply) -> Result<Response<Body>, io::Error> {
    let length = reply.body.len().max(2);
    reply.set("content-length", &length.to_string());
    let half = Bytes::copy_from_slice(reply.body.get(..length / 2).unwrap_or(b"["));
    let first = stream::once(async move { Ok(Frame::data(half)) });
    let end = stream::once(async {
        tokio::time::sleep(TRUNCATION).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    with_head(&reply, BodyExt::boxed(StreamBody::new(first.chain(end))))
}

fn with_head(reply: &Reply, body: Body) -> Result<Response<Body>, io::Error> {
    let status = StatusCode::from_u16(reply.status).map_err(io::Error::other)?;
    let mut builder = Response::builder().status(status);
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(body).map_err(io::Error::other)
}

/// A listener on loopback; port 0 takes a free one.
pub(super) async fn bind(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

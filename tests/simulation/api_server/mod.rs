//! A model of the Kubernetes API server, in process and without randomness of its own: what the operator talks to in
//! the simulation, and what `tests/e2e/conformance.rs` holds against the real server.
//!
//! A request passes `wire` (what is asked), `state` (what is there, and who is told), `registry` (what a write may
//! change), `schema` and `apply`, and is answered at one instant: nothing happens beside requests, but that watches end
//! when their time is over.
//!
//! # Caveats
//! Left out: `managedFields` in answers, rights, admission, paging of lists, garbage collection, `Orphan` and
//! `Foreground` deletion, and every kind and verb that neither the operator nor its tests use.

#![allow(dead_code, reason = "two test binaries each use a part of one model")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees only functions marked as tests as tests"
)]

mod apply;
mod fields;
mod kinds;
mod object;
mod person;
mod refusal;
mod registry;
mod request;
mod schema;
mod state;
mod store;
mod trouble;
mod watch;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;

use state::State;

#[allow(unused_imports, reason = "two test binaries each use a part of one model")]
pub(crate) use self::{
    refusal::Refusal,
    trouble::{Revision, Snapshot},
};

/// The server. Clones are the same server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl ApiServer {
    /// A server with the project's definitions and the namespace `default`; `now` stamps what is created and deleted.
    pub(crate) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let server = Self { state: Arc::new(Mutex::new(State::new())), now: Arc::new(now) };
        server.create_namespace("default");
        for definition in kinds::CRDS.iter() {
            server.create(definition.clone()).expect("a definition is created");
        }
        server
    }

    /// The server as HTTP: what it answers, it did when the future was first polled.
    pub(crate) fn service(&self) -> Service {
        Service(self.clone())
    }

    /// A client that reaches the server without detours.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.service(), "default")
    }

    fn answer(&self, request: request::Request) -> Result<state::Answer, Refusal> {
        let now = (self.now)();
        self.state.lock().answer(request, now)
    }
}

/// The server, as a `kube::Client` uses it.
#[derive(Clone)]
pub(crate) struct Service(ApiServer);

impl tower::Service<Request<Body>> for Service {
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.0.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body in memory").to_bytes();
            let answer = wire::understood(&parts, &body).and_then(|request| server.answer(request));
            Ok(wire::spelled(answer))
        }
        .boxed()
    }
}

//! What the end-to-end tests and the local demo stand on: a real API server on loopback, its calls as a list, the built
//! operator as a process, and manifests to feed it.
//!
//! `cluster`, `control_plane`, `process` and `operator` report what went wrong as values, because the demo shows it to a
//! person; `plane` is the tests' side of them, where trouble fails the test.

#![allow(dead_code, reason = "the tests and the demo each use a part of one implementation")]
#![allow(clippy::doc_markdown, reason = "names of Kubernetes kinds read better bare in prose")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees only functions marked as tests as tests"
)]

pub(crate) mod audit;
mod binaries;
pub(crate) mod canary;
mod certificates;
pub(crate) mod cluster;
pub(crate) mod control_plane;
pub(crate) mod deploy;
pub(crate) mod failure;
pub(crate) mod fault_proxy;
mod kubeconfig;
pub(crate) mod objects;
pub(crate) mod operator;
pub(crate) mod plane;
pub(crate) mod process;
pub(crate) mod random;
mod wait;

#[allow(unused_imports, reason = "the tests and the demo each use a part")]
pub(crate) use self::{
    operator::Operator,
    plane::{control_plane, kubectl},
    wait::{eventually, stays, within},
};

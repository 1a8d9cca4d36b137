//! The built operator against a real API server and a simulated farm, each over its real protocol.
//!
//! One binary, so that one control plane serves all; each test has its own namespace and its own farm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "trouble fails the test")]

#[path = "../simulation/api_server/mod.rs"]
mod api_server;
#[path = "../docs/page.rs"]
mod page;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod agents;
mod apply;
mod availability;
mod brokers;
mod canaries;
mod chaos;
mod cluster_faults;
mod coalesced;
mod conformance;
mod counts;
mod deploy;
mod examples;
mod farm_world;
mod farms;
mod faults;
mod ground;
mod leader;
mod lifecycle;
mod mistakes;
mod operations;
mod outage;
mod priorities;
mod promotions;
mod replicas;
mod schema;
mod scope;
mod shell;
mod sites;
mod uninstall;
mod world;

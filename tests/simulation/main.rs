//! The operator, an API server and farms in one process, with virtual time and accidents by a seed: what one seed does
//! it does each time. See `docs/reliability.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations,
    reason = "clippy sees only functions marked as tests as tests"
)]

mod api_line;
mod api_server;
#[path = "../support/canary.rs"]
#[expect(dead_code, reason = "no certificate has a key here")]
mod canary;
mod clock;
mod cluster;
mod console;
mod crash_sweep;
mod deletion_sweep;
mod farm_line;
mod fate;
mod found;
mod lag;
mod life;
mod log;
mod logons;
mod mix;
mod network;
mod objects;
mod oracle;
mod order;
mod panics;
mod process;
mod queue;
mod run;
mod scenario;
mod seeds;
mod settling;
mod step;
mod trace;
mod users;
mod world;

//! The simulator at HTTP level: what the vendor documents, each switch under each of its readings, faults,
//! and the control interface.
#![cfg(feature = "simulator")]
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "simulator/control.rs"]
mod control;
#[path = "simulator/documented.rs"]
mod documented;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/switches.rs"]
mod switches;
#[path = "simulator/world.rs"]
mod world;

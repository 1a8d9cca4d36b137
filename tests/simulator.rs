//! The simulator at HTTP level: what the vendor documents, and each switch under each of its readings.
#![cfg(feature = "simulator")]
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]

#[path = "simulator/documented.rs"]
mod documented;
#[path = "simulator/world.rs"]
mod world;

//! Keeps the Connection Brokers of Parallels RAS farms equal to Kubernetes objects.
//!
//! [`runtime`] wires the parts, [`broker`], [`promotion`] and [`farm`] decide and act, [`crd`] is what users write, and [`ras`] is
//! the farm's REST API, which knows nothing of Kubernetes.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod crd;
pub mod events;
pub mod farm;
pub mod kubernetes;
pub mod leader;
pub mod metrics;
pub mod promotion;
pub mod ras;
pub mod runtime;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod telemetry;
pub mod watch;

//! Keeps the Connection Brokers of Parallels RAS farms equal to Kubernetes objects.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod crd;
pub mod leader;
pub mod metrics;
pub mod telemetry;

//! Keeps the Connection Brokers of Parallels RAS farms equal to Kubernetes objects.

#[cfg(feature = "simulator")]
pub mod simulator;

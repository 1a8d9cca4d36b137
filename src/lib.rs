//! Keeps the Connection Brokers of Parallels RAS farms equal to Kubernetes objects.
pub mod farm;
pub mod ras;

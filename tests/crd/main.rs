//! The objects as a user meets them: their schema, what it refuses, and how manifests are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "trouble fails the test")]

mod manifests;
mod rules;
mod shape;

//! What the pages say is what is so: tables are held against the code, and every link leads somewhere.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the made tables anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees only functions marked as tests as tests"
)]

mod agents;
mod assumptions;
mod coverage;
mod faults;
mod links;
mod named;
mod page;
mod reference;
mod table;

//! One farm and what is done for it as a whole: session, lists, limits, Apply and status. Brokers see it as a
//! [`view::FarmView`] and write to it with a [`handle::Permit`].

mod actor;
mod agents;
pub mod batch;
pub mod breaker;
mod capability;
mod commit;
mod connect;
mod facts;
pub mod handle;
pub mod limiter;
pub mod moves;
mod poll;
mod publish;
pub mod queue;
pub mod registry;
mod report;
pub mod settings;
pub mod snapshot;
mod state;
mod turn;
pub mod view;

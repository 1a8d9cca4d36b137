//! One farm and what is done for it as a whole: session, lists, limits, Apply and status. Brokers see it as a
//! [`view::FarmView`] and write to it with a [`permit::Permit`].

mod actor;
mod agents;
pub mod batch;
pub mod breaker;
mod capability;
mod commit;
mod connect;
mod facts;
pub mod handle;
mod ledger;
pub mod limiter;
pub mod moves;
pub mod permit;
mod poll;
pub mod promote;
mod publish;
pub mod queue;
pub mod registry;
mod report;
pub mod service;
pub mod settings;
mod site_report;
mod site_settings;
pub mod sites;
pub mod snapshot;
mod state;
mod tend;
mod turn;
pub mod view;

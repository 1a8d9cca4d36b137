//! A farm to try and to test against: a stand-in for the RAS REST API, over HTTPS, with state.
//!
//! It is a product of its own, and shares no type or constant with the client. A request comes in through
//! `server`, is entered and met by faults in `exchange`, admitted in `handlers`, read in `calls`, done in
//! `rows` and `sessions`, and answered in the vendor's names by `bodies`. What the vendor's reference leaves
//! open is a switch ([`Switches`]). Tests hold a [`FarmHandle`]; by hand, the same operations are on the
//! control interface of the binary `ras-simulator`.

mod address;
mod bodies;
mod calls;
mod certificate;
mod clock;
mod config;
mod control;
mod events;
mod exchange;
mod farm;
mod fault;
mod handlers;
mod in_process;
mod journal;
mod limit;
mod person;
mod refusal;
mod route;
mod rows;
mod server;
mod sessions;
mod sha256;
mod site_settings;
mod start;
mod state;
mod switches;
mod wire;

pub use config::{
    Account, BrokerConfig, ClockConfig, FarmConfig, MyAccount, RateLimit, Rights, SecondaryEndpoint,
    SimulatorConfig, SiteConfig,
};
pub use exchange::Outcome;
pub use farm::{FarmHandle, FarmView, RowView};
pub use fault::{Effect, Fault, When};
pub use journal::{Counters, JournalEntry};
pub use person::{Backup, Edit, EditRefused, NewRow};
pub use sessions::OpenSession;
pub use site_settings::AutoPromotion;
pub use start::{Simulator, StartError};
pub use state::{Applied, LastApply, Row, Site};
pub use switches::*;
pub use wire::Reply;

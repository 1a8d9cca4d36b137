//! The client of the RAS REST API. It knows nothing of Kubernetes, holds no session and never repeats a call.
//!
//! A call goes one way through the modules: [`request`] builds it as a value, [`client`] sends it in one place
//! (by a [`transport`], over the TLS of [`tls`], to a host that [`hosts`] admits), and [`model`] or [`error`] says what came back.

mod answer;
mod awake;
mod cause;
pub mod client;
pub mod endpoint;
pub mod error;
pub mod hosts;
mod lenient;
pub mod model;
pub mod paths;
mod promotion_settings;
mod receive;
pub mod request;
mod resolver;
pub mod secret;
pub mod session;
pub mod tls;
pub mod transport;
mod verifier;

pub use client::{Answer, Client, ClientConfig, Observation, Observer};
pub use endpoint::{ConfigError, parse_endpoint};
pub use error::{Error, ErrorKind, Malformed, Outcome, Refusal};
pub use hosts::{HostPolicy, HostRefusal};
pub use model::{Agent, AgentState, Broker, Site};
pub use paths::{ApiCall, ApiMethod, ApiPaths};
pub use promotion_settings::PromotionSettings;
pub use request::{BrokerChange, Call, Move, NewBroker, Removal, Route};
pub use secret::{AuthToken, Credentials, MAX_CREDENTIAL, MyAccount};
pub use session::{LogonFailures, LogonLimit, LogonPermit, Session};
pub use tls::TlsConfig;
pub use transport::{Connector, https};

//! A farm without a wire, for those who carry the requests themselves, such as a simulated network.

use std::net::{Ipv4Addr, SocketAddr};

use http::request::Parts;
use hyper::body::Bytes;

use super::config::FarmConfig;
use super::exchange::{Outcome, exchange};
use super::farm::{Endpoint, FarmHandle};
use super::start::endpoint_servers;
use super::state::FarmState;
use super::wire::Request;

impl FarmHandle {
    /// A farm that listens nowhere; `place` tells it from others, as its place in a list of farms does.
    pub fn in_process(config: &FarmConfig, place: usize) -> Self {
        let state = FarmState::new(config, place);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let endpoints = endpoint_servers(&state, config)
            .map(|(server, _port)| Endpoint { address: nowhere, server })
            .collect();
        Self::new(state, endpoints)
    }

    /// What becomes of a request that came to an endpoint, 0 being the first. The farm goes on with it as long as this
    /// is awaited, whoever has lost interest in the answer.
    pub async fn exchange(&self, endpoint: usize, parts: &Parts, body: Bytes) -> Outcome {
        exchange(&self.0, &Request::new(parts, body, endpoint)).await
    }
}

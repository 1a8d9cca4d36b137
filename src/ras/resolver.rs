//! Finds a farm's addresses, and drops those that the host policy refuses. This happens at each connection,
//! so a name that changes its address later is checked again.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::hosts::{HostPolicy, HostRefusal};

/// Resolves to the one host that a client may call, whatever name the request asks for: with a `serverName`
/// the URL holds that name, and the connection still goes to the endpoint's host.
#[derive(Debug)]
pub(super) struct FarmResolver {
    pub(super) host: Arc<str>,
    pub(super) policy: HostPolicy,
}

impl Resolve for FarmResolver {
    fn resolve(&self, _name: Name) -> Resolving {
        let (host, policy) = (Arc::clone(&self.host), self.policy.clone());
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await?;
            let addresses = admitted(&policy, &host, found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be called; a refusal only where nothing else is left.
fn admitted(
    policy: &HostPolicy,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, HostRefusal> {
    let mut refusal = None;
    let mut admitted = Vec::new();
    for address in found {
        match policy.check_address(host, address.ip()) {
            Ok(()) => admitted.push(address),
            Err(refused) => refusal = Some(refused),
        }
    }
    match refusal {
        Some(refusal) if admitted.is_empty() => Err(refusal),
        Some(_) | None => Ok(admitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn refused_addresses_are_dropped_and_the_others_are_used() {
        let policy = HostPolicy::default();
        let found = addresses(&["127.0.0.1", "10.0.0.1", "::1"]);
        assert_eq!(admitted(&policy, "h", found.into_iter()), Ok(addresses(&["10.0.0.1"])));
    }

    #[test]
    fn a_host_with_refused_addresses_only_is_refused() {
        let found = addresses(&["127.0.0.1", "169.254.169.254"]);
        assert!(admitted(&HostPolicy::default(), "h", found.clone().into_iter()).is_err());
        assert_eq!(admitted(&HostPolicy::new(&["h"]), "h", found.clone().into_iter()), Ok(found));
    }
}

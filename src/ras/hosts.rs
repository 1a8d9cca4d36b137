//! Which hosts may be called. A `RasFarm` names its endpoint, so without this rule whoever may write one could
//! make the operator speak to the node's own services or to the cloud's metadata address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hosts and addresses that may be called.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HostPolicy {
    allowed: Vec<HostPattern>,
}

/// One entry of the allow list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    Suffix(String),
}

/// Why a host may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    /// There is an allow list, and the host is not on it.
    #[error("host {host} is not on the list of allowed farm hosts")]
    NotListed {
        /// As in the endpoint.
        host: String,
    },
    /// The host is, or resolves only to, addresses that a farm cannot have.
    #[error(
        "host {host} has the {kind} address {address}, which is refused unless the host is on the list of allowed farm hosts"
    )]
    Address {
        /// As in the endpoint.
        host: String,
        /// The address.
        address: IpAddr,
        /// What is wrong with it.
        kind: AddressKind,
    },
}

/// Addresses that are not a farm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// The machine itself.
    Loopback,
    /// The machine's own network segment, or a cloud's metadata service.
    LinkLocal,
    /// A cloud's metadata service outside the link-local range.
    Metadata,
    /// Many machines.
    Multicast,
    /// No machine.
    Unspecified,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
        })
    }
}

impl HostPolicy {
    /// From the allow list's entries: exact hosts or `*.suffix`. No entry means every host but the refused
    /// addresses; with entries, only these hosts, whatever their addresses.
    pub fn new<S: AsRef<str>>(allowed: &[S]) -> Self {
        let entries = allowed.iter().map(|entry| canonical(entry.as_ref())).filter(|entry| !entry.is_empty());
        Self { allowed: entries.map(HostPattern::parse).collect() }
    }

    /// Whether a host may be called as far as its spelling tells: the list, and literal addresses.
    pub fn check_host(&self, host: &str) -> Result<(), HostRefusal> {
        if !self.allowed.is_empty() {
            return self.check_listed(host);
        }
        match canonical(host).parse() {
            Ok(address) => self.check_address(host, address),
            Err(_) => Ok(()),
        }
    }

    /// Whether a host that passed [`Self::check_host`] may be called at this address.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), HostRefusal> {
        match forbidden(address) {
            Some(kind) if self.allowed.is_empty() => {
                Err(HostRefusal::Address { host: host.to_owned(), address, kind })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_listed(&self, host: &str) -> Result<(), HostRefusal> {
        let name = canonical(host);
        if self.allowed.iter().any(|pattern| pattern.matches(&name)) {
            return Ok(());
        }
        Err(HostRefusal::NotListed { host: host.to_owned() })
    }
}

impl HostPattern {
    fn parse(entry: String) -> Self {
        match entry.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => Self::Suffix(suffix.to_owned()),
            Some(_) | None => Self::Exact(entry),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        }
    }
}

/// Lower case, without the brackets of an IPv6 literal and the root's dot; addresses in their one spelling.
fn canonical(host: &str) -> String {
    let bare = host.trim().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => bare.to_ascii_lowercase(),
    }
}

fn forbidden(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6).or_else(|| embedded_v4(v6).and_then(forbidden_v4)),
    }
}

fn forbidden_v4(v4: Ipv4Addr) -> Option<AddressKind> {
    // The metadata service of one large cloud lives in shared address space, and that of another in a public range.
    const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    match v4 {
        _ if v4.is_loopback() => Some(AddressKind::Loopback),
        // 169.254.169.254 among them.
        _ if v4.is_link_local() => Some(AddressKind::LinkLocal),
        _ if v4.is_multicast() || v4.is_broadcast() => Some(AddressKind::Multicast),
        // All of 0.0.0.0/8 means "this host".
        _ if v4.octets()[0] == 0 => Some(AddressKind::Unspecified),
        ALIBABA_METADATA | AZURE_PLATFORM => Some(AddressKind::Metadata),
        _ => None,
    }
}

fn forbidden_v6(v6: Ipv6Addr) -> Option<AddressKind> {
    const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const GOOGLE_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);
    match v6 {
        _ if v6.is_loopback() => Some(AddressKind::Loopback),
        _ if v6.is_unspecified() => Some(AddressKind::Unspecified),
        _ if v6.is_multicast() => Some(AddressKind::Multicast),
        _ if v6.is_unicast_link_local() => Some(AddressKind::LinkLocal),
        AWS_METADATA | GOOGLE_METADATA => Some(AddressKind::Metadata),
        _ => None,
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address: the machine behind it is the same.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(joined(high, low))
        }
        [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> HostPolicy {
        HostPolicy::new::<&str>(&[])
    }

    #[test]
    fn addresses_that_no_farm_has_are_refused_in_every_form() {
        let refused = [
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
        ];
        for host in refused {
            assert!(open().check_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn private_and_public_addresses_and_names_pass() {
        for host in
            ["10.0.0.5", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd12::1", "2001:db8::1", "ras.example.com"]
        {
            assert_eq!(open().check_host(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_is_checked_again_by_its_address() {
        let refusal = open().check_address("ras.example.com", IpAddr::from([127, 0, 0, 1])).unwrap_err();
        let expected = "host ras.example.com has the loopback address 127.0.0.1, which is refused unless the host is \
                        on the list of allowed farm hosts";
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn with_a_list_only_its_hosts_pass_whatever_their_address() {
        let policy = HostPolicy::new(&["RAS.example.com.", "*.farm.test", "127.0.0.1", "[::1]"]);
        for host in [
            "ras.example.com",
            "ras.EXAMPLE.com.",
            "a.farm.test",
            "a.b.farm.test",
            "127.0.0.1",
            "::1",
            "[0:0::1]",
        ] {
            assert_eq!(policy.check_host(host), Ok(()), "{host}");
        }
        for host in [
            "farm.test",
            "xfarm.test",
            "example.com",
            "x.ras.example.com",
            "127.0.0.2",
            "10.0.0.5",
            "farm.test.evil",
        ] {
            assert!(policy.check_host(host).is_err(), "{host}");
        }
        assert_eq!(policy.check_address("a.farm.test", IpAddr::from([127, 0, 0, 1])), Ok(()));
    }

    #[test]
    fn blank_entries_are_no_list() {
        assert_eq!(HostPolicy::new(&["", " "]), open());
    }

    #[test]
    fn a_bare_star_admits_nothing() {
        assert!(HostPolicy::new(&["*"]).check_host("ras.example.com").is_err());
    }
}

//! The address that the farm fills in for a server: fixed by the name, so that two runs agree.

use std::net::{IpAddr, Ipv4Addr};

/// The server itself where it is an address, else one of 10.0.0.0/8.
pub(super) fn filled_in_address(server: &str) -> String {
    if let Ok(address) = server.parse::<IpAddr>() {
        return address.to_string();
    }
    let [_, a, b, c] = hash(&server.to_ascii_lowercase()).to_be_bytes();
    Ipv4Addr::new(10, a, b, c.max(1)).to_string()
}

/// FNV-1a: short, and the same on every machine.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

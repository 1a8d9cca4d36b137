//! SHA-256 in hex, for tokens and for the pins of a certificate.

use ring::digest;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// 64 hex digits in lower case.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| DIGITS.get(usize::from(digit))).map(|digit| char::from(*digit)).collect()
}

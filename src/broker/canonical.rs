//! One form for names and addresses, so that equal means equal: host name case and trailing dot,
//! spellings of an address, order and separator of a list.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// A server's name in canonical form: lower case, without a trailing dot, an address in its shortest spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(String);

impl ServerName {
    /// Brings any spelling into the canonical one. Every string has one; validity is the schema's concern.
    pub fn new(raw: &str) -> Self {
        Self(canonical_address(raw))
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether two spellings may name one machine: a bare name, and a full name that starts with it.
    pub fn may_be(&self, other: &Self) -> bool {
        self == other || self.is_first_label_of(other) || other.is_first_label_of(self)
    }

    /// What an index looks this name up under: itself and, for a host name, its first label.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        let label = self.first_label().filter(|label| *label != self.0);
        std::iter::once(self.0.as_str()).chain(label)
    }

    fn first_label(&self) -> Option<&str> {
        let is_address = self.0.parse::<IpAddr>().is_ok();
        if is_address { None } else { self.0.split('.').next() }
    }

    fn is_first_label_of(&self, other: &Self) -> bool {
        !self.0.contains('.') && other.first_label() == Some(self.as_str())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An address or host name in canonical form.
pub fn canonical_address(raw: &str) -> String {
    let trimmed = raw.trim();
    let without_dot = trimmed.strip_suffix('.').unwrap_or(trimmed);
    match without_dot.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_not_an_address) => without_dot.to_lowercase(),
    }
}

/// The set that a list of addresses means. The vendor's pages disagree on the separator (the REST reference
/// says comma, every administrator's guide says semicolon), so both are read.
pub fn address_set<'a>(items: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    items
        .into_iter()
        .flat_map(|item| item.split([',', ';']))
        .map(canonical_address)
        .filter(|address| !address.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn case_and_a_trailing_dot_do_not_make_another_server(name in "[a-z][a-z0-9-]{0,10}(\\.[a-z]{1,8}){0,3}") {
            let canonical = ServerName::new(&name);
            prop_assert_eq!(&ServerName::new(&name.to_uppercase()), &canonical);
            prop_assert_eq!(&ServerName::new(&format!("{name}.")), &canonical);
            prop_assert_eq!(&ServerName::new(canonical.as_str()), &canonical);
        }

        #[test]
        fn order_and_separator_do_not_make_another_list(
            list in proptest::collection::vec("(10|192)\\.[1-9]\\.[1-9]\\.[1-9]", 0..6), comma: bool,
        ) {
            let separator = if comma { "," } else { "; " };
            let mut reversed = list.clone();
            reversed.reverse();
            let joined = reversed.join(separator);
            prop_assert_eq!(address_set(list.iter().map(String::as_str)), address_set([joined.as_str()]));
        }
    }

    #[test]
    fn spellings_of_one_address_are_equal() {
        assert_eq!(ServerName::new("2001:DB8:0:0::1"), ServerName::new("2001:db8::1"));
        assert_eq!(ServerName::new("::ffff:10.0.0.1"), ServerName::new("10.0.0.1"));
    }

    #[test]
    fn a_bare_name_may_be_a_full_one_and_two_full_ones_may_not() {
        assert!(ServerName::new("RAS1").may_be(&ServerName::new("ras1.corp.example")));
        assert!(!ServerName::new("ras1.a.example").may_be(&ServerName::new("ras1.b.example")));
        assert!(!ServerName::new("10").may_be(&ServerName::new("10.0.0.1")));
    }
}

//! Which site is meant: by id, by name, or by the farm's default. Pure.

use crate::crd::RasFarmSpec;
use crate::crd::condition::Reason;

use super::view::Hold;

/// A site of the farm: its id, and its name where the farm gives one.
pub type NamedSite = (i64, Option<String>);

/// How a spec says which site it means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteChoice {
    /// `siteId`
    Id(i64),
    /// `siteName`
    Name(String),
}

impl SiteChoice {
    /// Of the two fields, of which the schema lets at most one be set.
    pub fn of(id: Option<i64>, name: Option<&str>) -> Option<Self> {
        id.map(Self::Id).or_else(|| name.map(|name| Self::Name(name.to_owned())))
    }

    /// The site that is meant. Names are compared byte for byte: whether RAS tells `Branch` from `branch` is not
    /// published, and a broker must never be made in a site whose name is only similar.
    pub fn resolve(&self, sites: &[NamedSite]) -> Result<i64, NoSite> {
        match self {
            // Where the account may not read the sites, an id still names one.
            Self::Id(id) if sites.is_empty() || sites.iter().any(|(known, _)| known == id) => Ok(*id),
            Self::Name(_) if sites.is_empty() => Err(NoSite::Unreadable(self.clone())),
            Self::Id(_) => Err(NoSite::Unknown(self.clone())),
            Self::Name(name) => {
                let mut named = sites.iter().filter(|(_, known)| known.as_ref() == Some(name));
                match (named.next(), named.next()) {
                    (Some((id, _)), None) => Ok(*id),
                    (None, _) => Err(NoSite::Unknown(self.clone())),
                    (Some(_), Some(_)) => Err(NoSite::Ambiguous(self.clone())),
                }
            }
        }
    }
}

impl std::fmt::Display for SiteChoice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "{id}"),
            Self::Name(name) => write!(formatter, "named {name:?}"),
        }
    }
}

/// Why it cannot be told which site is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSite {
    /// The farm has no such site.
    Unknown(SiteChoice),
    /// The farm has several sites of this name.
    Ambiguous(SiteChoice),
    /// The farm's sites could not be read, and every farm has one.
    Unreadable(SiteChoice),
    /// Nothing names a site, and the farm does not say which one is the licensing site.
    NoDefault,
}

/// Whose spec names the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The object's own.
    Own,
    /// The farm's, for brokers that name none.
    Farm(&'a str),
    /// An entry of the farm's `spec.sites`.
    Entry,
}

impl NoSite {
    /// What to tell whoever wrote it.
    pub fn hold(&self, whose: Whose<'_>, sites: &[NamedSite]) -> Hold {
        let (prefix, of) = match whose {
            Whose::Own => ("spec.site", String::new()),
            Whose::Farm(name) => ("spec.site", format!(" of RasFarm {name:?}")),
            Whose::Entry => ("spec.sites[].", String::new()),
        };
        let (id, name) = match whose {
            Whose::Own | Whose::Farm(_) => ("Id", "Name"),
            Whose::Entry => ("id", "name"),
        };
        let field = |choice: &SiteChoice| match choice {
            SiteChoice::Id(_) => format!("{prefix}{id}{of}"),
            SiteChoice::Name(_) => format!("{prefix}{name}{of}"),
        };
        // What names the site of a broker cannot be changed once it is set: advice to edit it would be refused.
        let (correct, instead) = match (whose, self) {
            (_, Self::NoDefault) => (String::new(), String::new()),
            (Whose::Own, Self::Unknown(choice) | Self::Ambiguous(choice) | Self::Unreadable(choice)) => (
                format!(
                    "{} cannot be changed: delete this object, and create it again with the right one",
                    field(choice)
                ),
                format!("delete this object and create it again with {prefix}{id}"),
            ),
            (
                Whose::Farm(_) | Whose::Entry,
                Self::Unknown(choice) | Self::Ambiguous(choice) | Self::Unreadable(choice),
            ) => (
                format!("Correct {}", field(choice)),
                format!("use {prefix}{id} instead of {}", field(choice)),
            ),
        };
        self.told(&list(sites), &correct, &instead)
    }

    /// What is wrong, what the farm `has`, and what to do about it.
    fn told(&self, has: &str, correct: &str, instead: &str) -> Hold {
        let invalid = |text| Hold::new(Reason::InvalidSpec, text);
        match self {
            Self::Unknown(choice) => {
                let exactly = match choice {
                    SiteChoice::Id(_) => "",
                    SiteChoice::Name(_) => "; names are compared exactly, upper and lower case included",
                };
                invalid(format!("The farm has no site {choice}; it has {has}. {correct}{exactly}."))
            }
            Self::Ambiguous(choice) => invalid(format!(
                "The farm has more than one site {choice}; it has {has}. Rename one of them in the RAS Console, or \
                 {instead}."
            )),
            Self::Unreadable(choice) => Hold::new(
                Reason::WaitingForFarm,
                format!(
                    "The farm's sites cannot be read, so the site {choice} cannot be looked up: check that the RAS \
                     account may view the sites, or {instead}."
                ),
            ),
            Self::NoDefault => invalid(format!(
                "The farm does not say which of its sites is the licensing site: set spec.siteId. It has {has}."
            )),
        }
    }
}

/// The sites that there are, for messages.
fn list(sites: &[NamedSite]) -> String {
    let named = sites.iter().map(shown);
    let list = named.collect::<Vec<_>>().join(", ");
    if list.is_empty() { "no sites that this account can see".into() } else { list }
}

/// One site, for messages.
pub(super) fn shown((id, name): &NamedSite) -> String {
    name.as_ref().map_or_else(|| id.to_string(), |name| format!("{id} ({name})"))
}

/// Where brokers go that name no site.
pub(super) fn default_site(
    spec: &RasFarmSpec,
    sites: &[NamedSite],
    licensing: Option<i64>,
) -> Result<i64, NoSite> {
    match SiteChoice::of(spec.site_id, spec.site_name.as_deref()) {
        Some(choice) => choice.resolve(sites),
        None => licensing.ok_or(NoSite::NoDefault),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(id: i64, name: &str) -> NamedSite {
        (id, Some(name.to_owned()))
    }

    fn name(name: &str) -> SiteChoice {
        SiteChoice::Name(name.to_owned())
    }

    #[test]
    fn a_name_that_is_only_similar_names_no_site() {
        let sites = [site(1, "Branch"), (2, None)];
        for other in ["branch", "Branch ", "Bran", "", "2"] {
            assert_eq!(name(other).resolve(&sites), Err(NoSite::Unknown(name(other))), "{other:?}");
        }
        assert_eq!(name("Branch").resolve(&sites), Ok(1));
    }

    #[test]
    fn whoever_wrote_it_reads_which_sites_there_are() {
        let sites = [site(1, "Head office"), site(2, "Branch"), site(3, "Branch")];
        let said =
            |choice: SiteChoice, whose| choice.resolve(&sites).unwrap_err().hold(whose, &sites).message;
        let all = "1 (Head office), 2 (Branch), 3 (Branch)";
        assert_eq!(
            said(SiteChoice::Id(7), Whose::Own),
            format!(
                "The farm has no site 7; it has {all}. spec.siteId cannot be changed: delete this object, and create it \
                 again with the right one."
            )
        );
        let unknown = said(name("Lab"), Whose::Farm("north"));
        assert!(unknown.contains(all) && unknown.contains("spec.siteName of RasFarm \"north\""), "{unknown}");
        let ambiguous = said(name("Branch"), Whose::Own);
        assert!(ambiguous.contains(all) && ambiguous.contains("again with spec.siteId"), "{ambiguous}");
        let of_farm = said(name("Branch"), Whose::Farm("north"));
        assert!(
            of_farm.contains("use spec.siteId instead of spec.siteName of RasFarm \"north\""),
            "{of_farm}"
        );
    }

    #[test]
    fn sites_that_cannot_be_read_are_trouble_that_may_pass() {
        assert_eq!(SiteChoice::Id(7).resolve(&[]), Ok(7));
        let error = name("Branch").resolve(&[]).unwrap_err();
        assert_eq!(error.hold(Whose::Own, &[]).reason, Reason::WaitingForFarm);
    }

    proptest! {
        /// Whatever a name leads to is the one site of that name.
        #[test]
        fn a_name_leads_to_the_only_site_that_has_it(
            sites in proptest::collection::btree_map(1i64..9, proptest::option::of("[ab]{1,2}"), 0..6),
            wanted in "[ab]{1,2}",
        ) {
            let sites: Vec<NamedSite> = sites.into_iter().collect();
            let having: Vec<i64> =
                sites.iter().filter(|(_, name)| name.as_ref() == Some(&wanted)).map(|(id, _)| *id).collect();
            let found = name(&wanted).resolve(&sites);
            match having.as_slice() {
                [one] => prop_assert_eq!(found, Ok(*one)),
                [] | [_, ..] => prop_assert!(found.is_err()),
            }
        }
    }
}

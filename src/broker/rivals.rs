//! Other objects that may mean the same broker: who they are, and who comes first. Pure.

use kube::ResourceExt;

use super::canonical::{ServerName, canonical_address};
use super::intent::Intent;
use super::observe::{Claim, ObjectFacts, Rival, has_finalizer};
use crate::crd::{ManagementPolicy, RasBroker};
use crate::farm::view::FarmFacts;

/// Whether an object takes part at all: one that only observes, or that is being deleted, does so only until it has let
/// go.
pub(super) fn takes_part(broker: &RasBroker) -> bool {
    let wants = broker.spec.management_policy == ManagementPolicy::Managed
        && broker.metadata.deletion_timestamp.is_none();
    wants || has_finalizer(broker)
}

/// The site that an object's broker is in, as far as it is known.
pub(super) fn site_of(broker: &RasBroker, facts: &FarmFacts) -> Option<i64> {
    let object = ObjectFacts::of(broker);
    object.recorded_site().or_else(|| match &object.desired.site {
        Some(choice) => choice.resolve(&facts.sites).ok(),
        None => facts.default_site.as_ref().ok().copied(),
    })
}

/// Reduces another object to what decides between the two; `None` where it is another machine.
pub fn rival(own: &RasBroker, other: &RasBroker, facts: &FarmFacts) -> Option<Rival> {
    let (own_name, other_name) = (ServerName::new(&own.spec.server), ServerName::new(&other.spec.server));
    let same_key = own_name == other_name;
    let address = |broker: &RasBroker| broker.spec.ip.as_deref().map(canonical_address).unwrap_or_default();
    let same_address = !address(own).is_empty() && address(own) == address(other);
    let crossed = address(own) == other_name.as_str() || address(other) == own_name.as_str();
    if !(same_key || own_name.may_be(&other_name) || same_address || crossed) {
        return None;
    }
    let shown = (own.namespace() == other.namespace()).then(|| other.name_any());
    let precedes = rank(other, facts) < rank(own, facts);
    Some(Rival { shown, same_key, precedes, claim: claim(other, facts) })
}

/// What an object has to show for a key.
fn claim(broker: &RasBroker, facts: &FarmFacts) -> Claim {
    let object = ObjectFacts::of(broker);
    match object.owned_id() {
        Some(id) if facts.snapshot.row(id).is_some() => Claim::Row(id),
        _ if object.unresolved_intent().is_some() => Claim::Intent,
        // One list may lack a row that is there, and where it has gone the object makes it again.
        Some(_) => Claim::Id,
        None => Claim::Nothing,
    }
}

/// Whether another object has a row where this intent is to make one, or may be about to.
pub(super) fn has_come_first(intent: &Intent, other: &RasBroker, facts: &FarmFacts) -> bool {
    let object = ObjectFacts::of(other);
    let site = (intent.farm_guid.as_str(), intent.site_id);
    let is_there = match claim(other, facts) {
        Claim::Row(_) => object.status.farm_guid.as_deref().zip(object.status.site_id) == Some(site),
        Claim::Intent => object
            .unresolved_intent()
            .is_some_and(|theirs| (theirs.farm_guid.as_str(), theirs.site_id) == site),
        Claim::Id | Claim::Nothing => false,
    };
    is_there && takes_part(other) && ServerName::new(&other.spec.server) == ServerName::new(&intent.server)
}

/// Who keeps a key: the one with the better claim, else the oldest.
fn rank(broker: &RasBroker, facts: &FarmFacts) -> (u8, Option<jiff::Timestamp>, String, String) {
    let claim = match claim(broker, facts) {
        Claim::Row(_) => 0,
        Claim::Intent => 1,
        Claim::Id => 2,
        Claim::Nothing => 3,
    };
    let created = broker.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (claim, created, broker.namespace().unwrap_or_default(), broker.name_any())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::crd::ApplyMode;
    use crate::farm::snapshot::Snapshot;
    use crate::ras;

    /// An object made at this minute, with an intent, and with an id that status names as ours.
    fn object(name: &str, minute: u32, intent: bool, id: Option<i64>) -> RasBroker {
        let mut manifest = json!({
            "apiVersion": "ras-operator.dev/v1alpha1",
            "kind": "RasBroker",
            "metadata": {
                "name": name, "namespace": "ns", "uid": name,
                "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
            },
            "spec": {"farmRef": {"name": "north"}, "server": "cb1.corp.example"},
        });
        if intent {
            let text = json!({
                "uid": name, "attempt": 1, "farmGUID": "g", "siteId": 1, "server": "cb1.corp.example",
                "account": "svc", "farmTime": "2026-01-01T00:00:00Z", "quarantineSeconds": 45,
            });
            manifest["metadata"]["annotations"] =
                json!({crate::crd::annotation::CREATE_INTENT: text.to_string()});
        }
        if let Some(id) = id {
            manifest["status"] = json!({"id": id, "origin": "Created", "siteId": 1});
        }
        serde_json::from_value(manifest).unwrap()
    }

    fn facts() -> FarmFacts {
        let row =
            ras::Broker { id: 7, server: "cb1.corp.example".into(), site_id: 1, ..ras::Broker::default() };
        FarmFacts {
            identity: "g".into(),
            default_site: Ok(1),
            sites: vec![(1, Some("Head office".into())), (2, Some("Branch".into()))],
            snapshot: Arc::new(Snapshot::default().next(vec![row], Duration::ZERO, None)),
            account: "svc".into(),
            mode: ApplyMode::Auto,
            ..FarmFacts::default()
        }
    }

    #[test]
    fn the_holder_of_the_row_comes_first_then_an_unresolved_intent_then_a_known_id_then_the_oldest() {
        let facts = facts();
        let order = [
            object("holds-the-row", 9, true, Some(7)),
            object("may-have-created", 8, true, None),
            object("its-row-is-gone", 7, true, Some(6)),
            object("older", 2, false, None),
            object("younger", 3, false, None),
        ];
        for pair in order.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            assert!(rival(second, first, &facts).unwrap().precedes, "{}", second.name_any());
            assert!(!rival(first, second, &facts).unwrap().precedes, "{}", first.name_any());
        }
    }

    #[test]
    fn who_has_a_row_or_may_have_one_where_an_intent_is_to_make_it_has_come_first() {
        let facts = facts();
        let intent = ObjectFacts::of(&object("own", 1, true, None)).intent.unwrap();
        let mut holder = object("holder", 1, false, Some(7));
        holder.status.as_mut().unwrap().farm_guid = Some("g".into());
        let sender = object("sender", 1, true, None);
        for first in [&holder, &sender] {
            assert!(has_come_first(&intent, first, &facts), "{}", first.name_any());
            let mut elsewhere = first.clone();
            elsewhere.spec.server = "cb2.corp.example".into();
            assert!(!has_come_first(&intent, &elsewhere, &facts), "another server");
            let (branch, farm) =
                (Intent { site_id: 2, ..intent.clone() }, Intent { farm_guid: "h".into(), ..intent.clone() });
            assert!(!has_come_first(&branch, first, &facts) && !has_come_first(&farm, first, &facts));
        }
        for other in [object("its-row-is-gone", 1, false, Some(6)), object("idle", 1, false, None)] {
            assert!(!has_come_first(&intent, &other, &facts), "{}", other.name_any());
        }
    }

    #[test]
    fn another_machine_is_no_rival_and_another_namespace_is_not_named() {
        let own = object("own", 1, false, None);
        let mut other = object("other", 2, false, None);
        other.metadata.namespace = Some("elsewhere".into());
        assert_eq!(rival(&own, &other, &facts()).unwrap().shown, None);
        other.spec.server = "cb2.corp.example".into();
        assert_eq!(rival(&own, &other, &facts()), None);
        other.spec.server = "CB1".into();
        assert!(rival(&own, &other, &facts()).is_some_and(|rival| !rival.same_key));
    }

    #[test]
    fn one_address_may_be_one_machine_whoever_gives_it_and_in_whatever_spelling() {
        let mut own = object("own", 1, false, None);
        own.spec.ip = Some("10.0.0.1".into());
        let mut other = object("other", 2, false, None);
        for (server, ip, is_rival) in [
            ("cb2.corp.example", Some("::ffff:10.0.0.1"), true),
            ("10.0.0.1", None, true),
            ("cb2.corp.example", Some("10.0.0.2"), false),
            ("10.0.0.2", None, false),
        ] {
            (other.spec.server, other.spec.ip) = (server.into(), ip.map(str::to_owned));
            for (one, two) in [(&own, &other), (&other, &own)] {
                let rival = rival(one, two, &facts());
                assert_eq!(rival.map(|rival| rival.same_key), is_rival.then_some(false), "{server} {ip:?}");
            }
        }
    }

    #[test]
    fn one_site_is_the_same_in_every_spelling_of_it() {
        let mut facts = facts();
        let mut broker = object("own", 1, false, None);
        let spellings = [(None, None), (Some(1), None), (None, Some("Head office"))];
        for default in [Ok(1), Ok(2)] {
            facts.default_site = default.clone();
            let sites = spellings.map(|(id, name)| {
                (broker.spec.site_id, broker.spec.site_name) = (id, name.map(str::to_owned));
                site_of(&broker, &facts)
            });
            assert_eq!(sites, [default.ok(), Some(1), Some(1)]);
        }
        broker.spec.site_name = Some("Lab".into());
        assert_eq!(site_of(&broker, &facts), None, "an unknown name does not fall back on the default");
        broker.status = serde_json::from_value(json!({"siteId": 2})).unwrap();
        assert_eq!(site_of(&broker, &facts), Some(2), "what was recorded wins");
    }

    #[test]
    fn an_observer_takes_part_until_it_has_let_go() {
        let mut broker = object("own", 1, false, None);
        assert!(takes_part(&broker));
        broker.spec.management_policy = ManagementPolicy::ObserveOnly;
        assert!(!takes_part(&broker));
        broker.metadata.finalizers = Some(vec![crate::crd::finalizer::BROKER.into()]);
        assert!(takes_part(&broker));
    }
}

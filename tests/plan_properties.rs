//! What holds for every decision about a broker, whatever the object and the farm look like: from any world the plan
//! comes to rest within a few steps and is silent from then on, and on the way it touches nothing that is not ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "trouble fails the test")]

#[path = "plan_properties/decisions.rs"]
mod decisions;
#[path = "plan_properties/deletions.rs"]
mod deletions;
#[path = "plan_properties/edits.rs"]
mod edits;
#[path = "plan_properties/laws.rs"]
mod laws;
#[path = "plan_properties/model.rs"]
mod model;
#[path = "plan_properties/places.rs"]
mod places;
#[path = "plan_properties/seen.rs"]
mod seen;
#[path = "plan_properties/sites.rs"]
mod sites;
#[path = "plan_properties/start.rs"]
mod start;

use proptest::prelude::*;
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::ras;

use model::shows;

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_world_comes_to_rest_and_then_stays_silent(mut world in start::world()) {
        let before = world.clone();
        world.run();
        prop_assert!(world.violations.is_empty(), "{:?}\nfrom {before:#?}\nto {world:#?}", world.violations);
        prop_assert!(world.is_at_rest, "no rest\nfrom {before:#?}\nto {world:#?}");
        // What was written is shown as it was meant until the farm is listed.
        world.list();
        world.run();
        let at_rest = (world.broker.clone(), world.rows.clone(), world.writes);
        // Hours go by, the farm is listed again and again.
        for _ in 0..4 {
            world.pass_time(std::time::Duration::from_mins(45));
            world.list();
            world.run();
        }
        prop_assert!(world.violations.is_empty(), "{:?}\nfrom {before:#?}", world.violations);
        prop_assert_eq!(&at_rest, &(world.broker.clone(), world.rows.clone(), world.writes), "not silent\nfrom {:#?}", before);
    }

    #[test]
    fn what_may_be_written_is_written(mut world in start::obliging_world()) {
        let before = world.clone();
        world.run();
        prop_assert!(world.violations.is_empty(), "{:?}\nfrom {before:#?}", world.violations);
        if let Some(broker) = &world.broker {
            let is_stalled = shows(broker, ConditionType::Stalled).is_some();
            let differs = world.managed_differences();
            prop_assert!(is_stalled || differs.is_empty(), "{differs:?}\nfrom {before:#?}\nto {world:#?}");
            let synced = shows(broker, ConditionType::Synced);
            let is_synced = synced == Some(("True", Reason::ReconcileSuccess.as_str()));
            prop_assert!(is_stalled || is_synced, "{synced:?}\nfrom {before:#?}\nto {world:#?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_at_the_end_as_it_was(mut world in start::world()) {
        let before = world.clone();
        let owned = world.owned_id();
        world.run();
        for row in &before.rows {
            // Somebody's own deletion takes effect with any Apply; that Guarded sends none is the farm's affair.
            let is_going = row.marked_for_deletion == Some(true);
            let is_ours = is_going || owned == Some(row.id) || world.ever_owned.contains(&row.id);
            // Places shift with the moves of others.
            let is_there = world.rows.iter().any(|other| ras::Broker { priority: row.priority, ..other.clone() } == *row);
            prop_assert!(is_ours || is_there, "{row:?} was changed\nfrom {before:#?}\nto {world:#?}");
        }
    }
}

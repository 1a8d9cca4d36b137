//! What an agent's state means for `Ready`, and what is to be done about it: it depends on what the broker is to be.

use crate::ras::AgentState;

/// What the agent's state says; each has its own advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// It passes by itself.
    Passing,
    /// The farm has settings for the broker that no Apply has committed.
    NotApplied,
    /// The next Apply removes the broker.
    Leaving,
    /// The server waits for a restart.
    Restart,
    /// The farm does not reach an agent: none is installed, or it does not run.
    Unreachable,
    /// The agent's version is not the farm's.
    Version,
    /// The farm may not sign in on the server.
    Account,
    /// Something else that a person must see to.
    Broken,
}

impl Health {
    /// All of them, in the order of their definition.
    pub const ALL: [Self; 9] = [
        Self::Healthy,
        Self::Passing,
        Self::NotApplied,
        Self::Leaving,
        Self::Restart,
        Self::Unreachable,
        Self::Version,
        Self::Account,
        Self::Broken,
    ];

    /// What a person does about it; nothing where it is as it should be.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Healthy => "",
            Self::Passing => {
                "This passes by itself; if it does not, see what the RAS Console says of the broker."
            }
            Self::NotApplied => {
                "The farm has settings for this broker that are not applied: they take effect with the next Apply."
            }
            Self::Leaving => {
                "The broker is marked for deletion, and the next Apply removes it. To keep it, undo the deletion in the \
                 RAS Console before anyone applies."
            }
            Self::Restart => "Restart the server: what was installed there is complete only then.",
            Self::Unreachable => {
                "Check that the server runs, and that the farm reaches it through its firewall and by its name."
            }
            Self::Version => "Bring the agent to the farm's version, in the RAS Console or on the server.",
            Self::Account => {
                "The farm's account was refused on the server: give it the right to sign in and install there, or \
                 correct it in the RAS Console."
            }
            Self::Broken => "See what the RAS Console says of the broker, and see to its server.",
        }
    }
}

/// Health of a broker's agent, given whether the broker is disabled or in standby in the farm.
///
/// The numbers are RAS's shared `AgentState` enumeration (REST API 19, RD Session Host page); which of them a
/// Connection Broker ever shows is inferred from their names. `docs/agent-states.md` has the table.
pub fn health(state: AgentState, disabled: bool, standby: bool) -> Health {
    match state.0 {
        // OK
        0 => Health::Healthy,
        // NotApplied
        24 => Health::NotApplied,
        // MarkedForDeletion
        26 => Health::Leaving,
        // Nobody waits for the agent of a broker that serves nobody.
        _ if disabled => Health::Healthy,
        // StandBy
        27 if standby => Health::Healthy,
        // RASScheduleInProgress, SysPrepInProgress, Synchronising, RASprepInProgress, InstallingRDSRole,
        // CloningInProgress, StandBy (not wanted), ImageOptimizationPending, ImageOptimization, UnderConstruction,
        // Provisioning, PendingRecreation, RemovingMembers, AddingMembers, DeleteInProgress, JoiningToHostPool,
        // AutoUpgradeInProgress, AutoUpgradeInitiated, DisabledFromSettings (not wanted): on their way
        4 | 8 | 10 | 18 | 20 | 25 | 27 | 49 | 50 | 52 | 55 | 61 | 62 | 63 | 64 | 66 | 67 | 68 | -2 => {
            Health::Passing
        }
        // RebootPending
        21 => Health::Restart,
        // ConnectionFailed, Unavailable, Disconnected, NotVerified, Unknown
        5 | 51 | -1 | -4 | -6 => Health::Unreachable,
        // NeedsDowngrade, InvalidHostVersion, NeedsUpdate, AutoUpgradeFailed, AutoUpgradeLimitReached
        23 | 32 | -5 | -7 | -8 => Health::Version,
        // InvalidCredentials
        6 => Health::Account,
        _ => Health::Broken,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An enabled broker, one in standby, a disabled one.
    fn thrice(number: i64) -> [Health; 3] {
        let state = AgentState(number);
        [(false, false), (false, true), (true, false)]
            .map(|(disabled, standby)| health(state, disabled, standby))
    }

    #[test]
    fn each_state_means_what_the_broker_is_to_be() {
        use Health::{Account, Broken, Healthy, Leaving, NotApplied, Passing, Restart, Unreachable, Version};
        for (number, wanted) in [
            (0, [Healthy, Healthy, Healthy]),
            (27, [Passing, Healthy, Healthy]),
            (-2, [Passing, Passing, Healthy]),
            (10, [Passing, Passing, Healthy]),
            (67, [Passing, Passing, Healthy]),
            (21, [Restart, Restart, Healthy]),
            (24, [NotApplied, NotApplied, NotApplied]),
            (26, [Leaving, Leaving, Leaving]),
            (-1, [Unreachable, Unreachable, Healthy]),
            (-4, [Unreachable, Unreachable, Healthy]),
            (-5, [Version, Version, Healthy]),
            (6, [Account, Account, Healthy]),
            (22, [Broken, Broken, Healthy]),
            (53, [Broken, Broken, Healthy]),
        ] {
            assert_eq!(thrice(number), wanted, "{number} {}", AgentState(number).name());
        }
    }

    #[test]
    fn every_class_but_the_healthy_one_has_advice_of_its_own() {
        let advice: std::collections::BTreeSet<_> = Health::ALL.map(Health::advice).into();
        assert_eq!(advice.len(), Health::ALL.len());
        assert!(Health::Healthy.advice().is_empty());
    }

    proptest! {
        #[test]
        fn a_number_without_a_name_is_shown_as_it_is_and_needs_a_person(number: i64) {
            let state = AgentState(number);
            prop_assume!(state.name() == number.to_string());
            prop_assert_eq!(thrice(number), [Health::Broken, Health::Broken, Health::Healthy]);
        }

        #[test]
        fn a_disabled_broker_waits_for_nothing_but_an_apply(number in -10_i64..120, standby: bool) {
            let found = health(AgentState(number), true, standby);
            prop_assert!(matches!(found, Health::Healthy | Health::NotApplied | Health::Leaving));
        }

        #[test]
        fn standby_excuses_standing_by_and_nothing_else(number in -10_i64..120) {
            let state = AgentState(number);
            prop_assume!(number != 27);
            prop_assert_eq!(health(state, false, true), health(state, false, false));
        }
    }
}

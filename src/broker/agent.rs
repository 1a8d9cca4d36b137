//! What an agent's state means for `Ready`: it depends on what the spec wants.

use crate::ras::AgentState;

/// What the agent's state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way.
    InProgress,
    /// Something that a person must see to.
    Broken,
}

/// Health of a broker's agent, given whether the broker is disabled or in standby in the farm.
///
/// The numbers are RAS's shared `AgentState` enumeration (REST API 19, RD Session Host page); which of them a
/// Connection Broker ever shows is inferred from their names. `docs/agent-states.md` has the table.
pub fn health(state: AgentState, disabled: bool, standby: bool) -> Health {
    match state.0 {
        // OK
        0 => Health::Healthy,
        // StandBy
        27 if standby => Health::Healthy,
        // DisabledFromSettings
        -2 if disabled => Health::Healthy,
        // RASScheduleInProgress, Synchronising, RebootPending, NotApplied, MarkedForDeletion, StandBy (not wanted),
        // AutoUpgradeInProgress, AutoUpgradeInitiated, DisabledFromSettings (not wanted): settings on their way
        4 | 10 | 21 | 24 | 26 | 27 | 67 | 68 | -2 => Health::InProgress,
        _ if disabled => Health::Healthy,
        _ => Health::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standby_and_disabled_are_healthy_where_they_hold() {
        assert_eq!(health(AgentState(27), false, true), Health::Healthy);
        assert_eq!(health(AgentState(27), false, false), Health::InProgress);
        assert_eq!(health(AgentState(-2), true, false), Health::Healthy);
        assert_eq!(health(AgentState(-2), false, false), Health::InProgress);
    }

    #[test]
    fn an_unreachable_agent_is_broken_unless_the_broker_is_disabled() {
        assert_eq!(health(AgentState(-1), false, false), Health::Broken);
        assert_eq!(health(AgentState(-1), true, false), Health::Healthy);
        assert_eq!(health(AgentState(12345), false, false), Health::Broken);
    }
}

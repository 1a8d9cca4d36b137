//! What the farm answers, as the rest of the program sees it.

use std::borrow::Cow;

/// A row of the broker list: <https://docs.parallels.com/parallels-rest-api-20/api-reference/infrastructure/connection-brokers>.
/// Dates stay text: their real format is not documented.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Unique in the farm.
    pub id: i64,
    /// FQDN, `NetBIOS` name or IP address, as it was given on creation.
    pub server: String,
    /// The site.
    pub site_id: i64,
    /// Whether it takes part.
    pub enabled: Option<bool>,
    /// Whether it waits until another one fails.
    pub standby: Option<bool>,
    /// Deleted, but not yet applied.
    pub marked_for_deletion: Option<bool>,
    /// Free text.
    pub description: Option<String>,
    /// The address that brokers use among themselves.
    pub ip: Option<String>,
    /// One string, as the farm has it.
    pub alternative_ips: Option<String>,
    /// 0 is the primary of its site.
    pub priority: Option<i64>,
    /// Who created it.
    pub admin_create: Option<String>,
    /// Who changed it last.
    pub admin_last_mod: Option<String>,
    /// When it was created.
    pub time_create: Option<String>,
    /// When it was changed last.
    pub time_last_mod: Option<String>,
}

/// A row of the site list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Unique in the farm.
    pub id: i64,
    /// As in the console.
    pub name: Option<String>,
    /// Whether it is the farm's licensing site.
    pub licensing_site: bool,
}

/// A row of the agent list. The reference shows it in part, so all but the state may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The server the agent runs on; what rows are matched by.
    pub server: Option<String>,
    /// A text, not a number, in the reference.
    pub id: Option<String>,
    /// The site.
    pub site_id: Option<i64>,
    /// What the farm thinks of it.
    pub state: AgentState,
    /// The agent's version.
    pub version: Option<String>,
}

/// `AgentState` of the vendor's reference; numbers without a name here are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentState(pub i64);

impl AgentState {
    /// Works.
    pub const OK: Self = Self(0);
    /// Taking over settings.
    pub const SYNCHRONISING: Self = Self(10);
    /// Waits for a restart.
    pub const REBOOT_PENDING: Self = Self(21);
    /// Not yet applied.
    pub const NOT_APPLIED: Self = Self(24);
    /// Deleted, but not yet applied.
    pub const MARKED_FOR_DELETION: Self = Self(26);
    /// Waits until another one fails.
    pub const STANDBY: Self = Self(27);
    /// Being upgraded.
    pub const AUTO_UPGRADE_IN_PROGRESS: Self = Self(67);
    /// About to be upgraded.
    pub const AUTO_UPGRADE_INITIATED: Self = Self(68);
    /// The farm does not reach it.
    pub const DISCONNECTED: Self = Self(-1);
    /// Disabled on purpose.
    pub const DISABLED_FROM_SETTINGS: Self = Self(-2);
    /// Never seen.
    pub const NOT_VERIFIED: Self = Self(-4);
    /// Nothing known; also what a row without a readable state has.
    pub const UNKNOWN: Self = Self(-6);

    /// The reference's name, or the number where it has none.
    pub fn name(self) -> Cow<'static, str> {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => Cow::Borrowed(name),
            None => Cow::Owned(self.0.to_string()),
        }
    }

    pub(super) fn number_of(name: &str) -> Option<i64> {
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
    }
}

/// The whole enumeration, which serves all kinds of server (REST API 19, RD Session Hosts).
const NAMES: &[(i64, &str)] = &[
    (0, "OK"),
    (1, "EnumSessionsFailed"),
    (2, "RDSRoleDisabled"),
    (3, "MaxNonCompletedSessions"),
    (4, "RASScheduleInProgress"),
    (5, "ConnectionFailed"),
    (6, "InvalidCredentials"),
    (7, "NeedsSysprep"),
    (8, "SysPrepInProgress"),
    (9, "CloningFailed"),
    (10, "Synchronising"),
    (13, "LogonDrainUntilRestart"),
    (14, "LogonDrain"),
    (15, "LogonDisabled"),
    (16, "ForcedDisconnect"),
    (17, "CloningCanceled"),
    (18, "RASprepInProgress"),
    (20, "InstallingRDSRole"),
    (21, "RebootPending"),
    (22, "PortMismatch"),
    (23, "NeedsDowngrade"),
    (24, "NotApplied"),
    (25, "CloningInProgress"),
    (26, "MarkedForDeletion"),
    (27, "StandBy"),
    (28, "UnsupportedVDIType"),
    (29, "FreeESXLicenseNotSupported"),
    (30, "ManagedESXNotSupported"),
    (32, "InvalidHostVersion"),
    (33, "NotJoined"),
    (35, "LicenseExpired"),
    (36, "JoinBroken"),
    (37, "InUse"),
    (38, "NotInUse"),
    (39, "Unsupported"),
    (40, "NoAvailableGateways"),
    (41, "EnrollServerNotInitialized"),
    (42, "EnrollmentUnavailable"),
    (43, "InvalidCAConfig"),
    (44, "InvalidEAUserCredentials"),
    (45, "InvalidESSettings"),
    (46, "FSLogixNotAvail"),
    (47, "NoDevices"),
    (48, "NeedsAttention"),
    (49, "ImageOptimizationPending"),
    (50, "ImageOptimization"),
    (51, "Unavailable"),
    (52, "UnderConstruction"),
    (53, "Broken"),
    (54, "NonRAS"),
    (55, "Provisioning"),
    (56, "Invalid"),
    (57, "FSLogixNeedsUpdate"),
    (58, "NoMembersAvailable"),
    (59, "MembersNeedUpdate"),
    (60, "FailedPerfCounters"),
    (61, "PendingRecreation"),
    (62, "RemovingMembers"),
    (63, "AddingMembers"),
    (64, "DeleteInProgress"),
    (66, "JoiningToHostPool"),
    (67, "AutoUpgradeInProgress"),
    (68, "AutoUpgradeInitiated"),
    (-8, "AutoUpgradeLimitReached"),
    (-7, "AutoUpgradeFailed"),
    (-6, "Unknown"),
    (-5, "NeedsUpdate"),
    (-4, "NotVerified"),
    (-3, "ServerDeleted"),
    (-2, "DisabledFromSettings"),
    (-1, "Disconnected"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_references_name_or_its_number() {
        assert_eq!(AgentState::OK.name(), "OK");
        assert_eq!(AgentState::DISABLED_FROM_SETTINGS.name(), "DisabledFromSettings");
        assert_eq!(AgentState(4711).name(), "4711");
        assert_eq!(AgentState::number_of("standby"), Some(27));
    }

    #[test]
    fn numbers_and_names_are_unique() {
        for (index, (number, name)) in NAMES.iter().enumerate() {
            assert!(
                NAMES[index + 1..].iter().all(|(n, text)| n != number && text != name),
                "{number} {name}"
            );
        }
    }
}

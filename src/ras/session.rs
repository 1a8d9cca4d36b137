//! What a logon answers, and how often one may be tried. Both are values: who holds the session, and where the
//! failures are written down, is the caller's affair.

use std::time::Duration;

use jiff::Timestamp;

use super::secret::AuthToken;

/// An administration session: <https://docs.parallels.com/landing/ras-rest-api-guide/api-reference/farm-settings/administrator-sessions/logon>.
/// The vendor's samples show only the token, so everything else may be missing.
#[derive(Clone, Debug)]
pub struct Session {
    /// Goes with every further call.
    pub token: AuthToken,
    /// Whether settings are pending.
    pub apply_settings_enabled: Option<bool>,
    /// The farm's identity.
    pub farm_guid: Option<String>,
    /// The farm's name.
    pub farm_name: Option<String>,
    /// The broker that serves this session.
    pub connected_server: Option<String>,
    /// The broker of the licensing site.
    pub licensing_server: Option<String>,
    /// The broker's domain.
    pub domain: Option<String>,
    /// Whether the session is on a site's primary broker.
    pub primary_broker_connection: Option<bool>,
    /// Whether the session is on the licensing server.
    pub licensing_server_connection: Option<bool>,
    /// The site of the connected broker.
    pub connected_site_id: Option<i64>,
    /// Counts changes of the settings.
    pub settings_id: Option<i64>,
    /// The session's id.
    pub session_id: Option<i64>,
}

/// Failed logons that are free: a typing error and its repetition, below any sensible lock-out threshold.
const FREE_FAILURES: u32 = 2;
/// After that, one logon per this time: lock-out counters are usually reset within it.
const INTERVAL: Duration = Duration::from_mins(15);

/// The failed logons with one version of the Secret. It outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogonFailures {
    /// Which version of the credentials.
    pub secret_version: String,
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub last: Timestamp,
}

/// Whether a logon may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogonPermit {
    /// Now.
    Allowed,
    /// Not before this time, or another version of the Secret.
    NotBefore(Timestamp),
}

/// Guards the account against lock-out: two failed logons per version of the Secret, then one every 15 minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogonLimit {
    failures: Option<LogonFailures>,
}

impl LogonLimit {
    /// Goes on from what was written down.
    pub fn new(failures: Option<LogonFailures>) -> Self {
        Self { failures }
    }

    /// What is to be written down.
    pub fn failures(&self) -> Option<&LogonFailures> {
        self.failures.as_ref()
    }

    /// Whether a logon with this version of the Secret may be tried now.
    pub fn check(&self, secret_version: &str, now: Timestamp) -> LogonPermit {
        match self.failures_of(secret_version) {
            Some(failures) if failures.count >= FREE_FAILURES => failures.permit(now),
            Some(_) | None => LogonPermit::Allowed,
        }
    }

    /// Counts a refused logon.
    pub fn record_failure(&mut self, secret_version: &str, now: Timestamp) {
        let count = self
            .failures_of(secret_version)
            .map_or(0, |failures| failures.count)
            .saturating_add(1);
        self.failures = Some(LogonFailures {
            secret_version: secret_version.to_owned(),
            count,
            last: now,
        });
    }

    /// Forgets the failures: the account works.
    pub fn record_success(&mut self) {
        self.failures = None;
    }

    fn failures_of(&self, secret_version: &str) -> Option<&LogonFailures> {
        self.failures
            .as_ref()
            .filter(|failures| failures.secret_version == secret_version)
    }
}

impl LogonFailures {
    /// A last failure further in the future than the interval is a clock that was set back: waiting for it might never
    /// end, so it counts as past.
    fn permit(&self, now: Timestamp) -> LogonPermit {
        let next = self.last.saturating_add(INTERVAL).unwrap_or(self.last);
        let ahead = self.last.duration_since(now).unsigned_abs();
        if next <= now || (self.last > now && ahead > INTERVAL) {
            return LogonPermit::Allowed;
        }
        LogonPermit::NotBefore(next)
    }
}

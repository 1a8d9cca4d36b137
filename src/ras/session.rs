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
        let count = self.failures_of(secret_version).map_or(0, |failures| failures.count).saturating_add(1);
        self.failures = Some(LogonFailures { secret_version: secret_version.to_owned(), count, last: now });
    }

    /// Forgets the failures: the account works.
    pub fn record_success(&mut self) {
        self.failures = None;
    }

    fn failures_of(&self, secret_version: &str) -> Option<&LogonFailures> {
        self.failures.as_ref().filter(|failures| failures.secret_version == secret_version)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn two_failures_are_free_and_then_a_quarter_of_an_hour_passes() {
        let mut limit = LogonLimit::default();
        assert_eq!(limit.check("1", at(0)), LogonPermit::Allowed);
        limit.record_failure("1", at(0));
        assert_eq!(limit.check("1", at(1)), LogonPermit::Allowed);
        limit.record_failure("1", at(1));
        assert_eq!(limit.check("1", at(2)), LogonPermit::NotBefore(at(901)));
        assert_eq!(limit.check("1", at(901)), LogonPermit::Allowed);
        limit.record_failure("1", at(901));
        assert_eq!(limit.check("1", at(902)), LogonPermit::NotBefore(at(1801)));
    }

    #[test]
    fn another_version_or_a_success_starts_anew() {
        let mut limit =
            LogonLimit::new(Some(LogonFailures { secret_version: "1".into(), count: 9, last: at(0) }));
        assert_eq!(limit.check("2", at(1)), LogonPermit::Allowed);
        limit.record_failure("2", at(1));
        assert_eq!(
            limit.failures(),
            Some(&LogonFailures { secret_version: "2".into(), count: 1, last: at(1) })
        );
        limit.record_success();
        assert_eq!(limit, LogonLimit::default());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lock_for_ever() {
        let limit =
            |last| LogonLimit::new(Some(LogonFailures { secret_version: "1".into(), count: 2, last }));
        assert_eq!(limit(at(1_000_000)).check("1", at(0)), LogonPermit::Allowed);
        assert_eq!(limit(at(60)).check("1", at(0)), LogonPermit::NotBefore(at(960)));
        assert_eq!(limit(Timestamp::MAX).check("1", at(0)), LogonPermit::Allowed);
    }

    proptest! {
        /// Whoever obeys, restarts and all, never fails three times within 15 minutes after the first two.
        #[test]
        fn failures_after_the_second_are_a_quarter_of_an_hour_apart(steps in proptest::collection::vec(0_i64..1200, 1..200)) {
            let (mut limit, mut now, mut failed) = (LogonLimit::default(), 0, Vec::new());
            for step in steps {
                now += step;
                limit = LogonLimit::new(limit.failures().cloned());
                if limit.check("1", at(now)) == LogonPermit::Allowed {
                    limit.record_failure("1", at(now));
                    failed.push(now);
                }
            }
            for pair in failed.windows(2).skip(1) {
                prop_assert!(pair[1] - pair[0] >= 900);
            }
        }

        /// The time that is named is enough.
        #[test]
        fn a_wait_ends(count in 0_u32..5, last in -2000_i64..2000) {
            let failures = LogonFailures { secret_version: "1".into(), count, last: at(last) };
            let limit = LogonLimit::new(Some(failures));
            if let LogonPermit::NotBefore(then) = limit.check("1", at(0)) {
                prop_assert!(then > at(0) && then <= at(1800));
                prop_assert_eq!(limit.check("1", then), LogonPermit::Allowed);
            }
        }
    }
}

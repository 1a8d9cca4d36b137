//! The create intent: what is written to a broker's annotation before its POST is sent, and what a row in
//! the farm must show to be recognised as the outcome of that POST.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::crd::RasFarmSpec;
use crate::ras;

/// How long after the answer to the intent's write the POST may still be sent.
const SEND_DEADLINE: Duration = Duration::from_secs(5);
/// Added to send deadline and request timeout: the slack for a farm that commits after it was given up on.
const COMMIT_SLACK: Duration = Duration::from_secs(10);
/// How far a row's `timeCreate` may lie before the mark's time: clocks of the farm's servers differ.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);

/// The annotation `ras-operator.dev/create-intent`, as JSON. It is kept after success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The object that this intent was made for; an annotation copied from another object means nothing.
    pub uid: String,
    /// Counts the POSTs that may have been sent for this uid, from 1.
    pub attempt: u32,
    /// Identity of the farm.
    #[serde(rename = "farmGUID")]
    pub farm_guid: String,
    /// The site that was resolved once, and wins from then on.
    pub site_id: i64,
    /// The server as sent.
    pub server: String,
    /// The RAS account that sends the POST.
    pub account: String,
    /// The farm's own clock when the intent was made.
    pub farm_time: Timestamp,
    /// How long a POST of this attempt may still arrive after this intent was first seen.
    pub quarantine_seconds: u64,
    /// `farm_time` of this uid's first attempt whose answer was lost. It is the time that a row's mark is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
    /// Why the farm definitely did not create anything in this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// When this uid was last created again after it had vanished from the farm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Timestamp>,
    /// The id of the vanished row that this attempt replaces: while status still names it, this attempt is unresolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<i64>,
}

impl Intent {
    /// Reads the annotation; one that is unreadable or made for another uid is no intent of this object.
    pub fn read(annotation: Option<&str>, uid: &str) -> Option<Self> {
        serde_json::from_str::<Self>(annotation?).ok().filter(|intent| intent.uid == uid)
    }

    /// Whether a POST of this object may have created a row that no status names yet.
    pub fn may_have_created(&self) -> bool {
        self.refused.is_none() || self.lost_since.is_some()
    }

    /// How long a POST may still be on its way after this intent was first seen: as was written down, and no longer than
    /// any call may take. Whoever may edit the object can write anything there.
    pub fn quarantine(&self) -> Duration {
        Duration::from_secs(self.quarantine_seconds).min(quarantine_of(RasFarmSpec::LONGEST_INSTALLATION))
    }

    /// The next attempt's `lost_since`: an attempt that was not refused and left no id was lost.
    pub fn carried_loss(&self) -> Option<Timestamp> {
        self.lost_since.or_else(|| self.refused.is_none().then_some(self.farm_time))
    }

    /// Whether `row` carries the mark of this intent: made by our account, and not before our first lost attempt.
    pub fn marks(&self, row: &ras::Broker, learnt_account: Option<&str>) -> bool {
        let made_by_us = row
            .admin_create
            .as_deref()
            .is_some_and(|creator| is_account(creator, &self.account, learnt_account));
        made_by_us && self.may_have_created() && self.is_in_time(row.time_create.as_deref())
    }

    /// A time without an offset is in a zone nobody knows, so it can neither prove nor disprove.
    fn is_in_time(&self, created: Option<&str>) -> bool {
        let marked = self.carried_loss().unwrap_or(self.farm_time);
        match created.and_then(|text| text.parse::<Timestamp>().ok()) {
            Some(created) => created >= marked.saturating_sub(CLOCK_SLACK).unwrap_or(Timestamp::MIN),
            None => true,
        }
    }
}

/// Whether what was written down at `written`, on the clock that counts suspend, may be sent still: others count the
/// time in which it may take effect from what they saw.
pub fn is_in_time(written: Duration, now: Now) -> bool {
    now.since(written) <= SEND_DEADLINE
}

/// Quarantine of a POST or DELETE with this request timeout.
pub fn quarantine_of(request_timeout: Duration) -> Duration {
    SEND_DEADLINE + request_timeout + COMMIT_SLACK
}

/// Whether the farm's spelling of a creator is our account: exactly the spelling learnt from a 201, or, before
/// one was seen, equal without domain and case. A spelling that is not like the account may be that of another one, which
/// was in the Secret before: then both will do.
fn is_account(creator: &str, account: &str, learnt: Option<&str>) -> bool {
    let resembles = |spelling: &str| bare_account(spelling) == bare_account(account);
    let is_elsewhere = |spelling: &str| domain(spelling).zip(domain(account)).is_some_and(|(a, b)| a != b);
    match learnt {
        Some(learnt) if resembles(learnt) && !is_elsewhere(learnt) => creator == learnt,
        Some(learnt) => creator == learnt || resembles(creator),
        None => resembles(creator),
    }
}

/// The first label of an account's domain, lower case, where it names one: `CORP\name` is `name@corp.example`.
fn domain(account: &str) -> Option<String> {
    let full = account.rsplit_once('\\').map(|(domain, _)| domain);
    let full = full.or_else(|| account.rsplit_once('@').map(|(_, domain)| domain))?;
    full.split('.').next().map(str::to_lowercase)
}

/// The account's name without `DOMAIN\` or `@domain`, lower case.
pub fn bare_account(account: &str) -> String {
    let after_domain = account.rsplit('\\').next().unwrap_or(account);
    after_domain.split('@').next().unwrap_or(after_domain).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        Intent {
            uid: "u1".into(),
            attempt: 1,
            farm_guid: "g".into(),
            site_id: 1,
            server: "b1".into(),
            account: "CORP\\Svc-RAS".into(),
            farm_time: "2026-01-01T12:00:00Z".parse().unwrap(),
            quarantine_seconds: 45,
            lost_since: None,
            refused: None,
            recreated: None,
            replaces: None,
        }
    }

    fn row(creator: &str, created: &str) -> ras::Broker {
        ras::Broker {
            id: 7,
            server: "b1".into(),
            site_id: 1,
            admin_create: Some(creator.into()),
            time_create: Some(created.into()),
            ..ras::Broker::default()
        }
    }

    #[test]
    fn what_was_written_down_is_sent_within_five_seconds_of_a_clock_that_counts_suspend() {
        let written = Duration::from_secs(100);
        let after = |span| Now { wall: Timestamp::UNIX_EPOCH, boot: written + Duration::from_millis(span) };
        assert!(is_in_time(written, after(0)) && is_in_time(written, after(5_000)));
        assert!(!is_in_time(written, after(5_001)) && !is_in_time(written, after(60_000)));
    }

    #[test]
    fn an_intent_of_another_uid_is_none() {
        let text = serde_json::to_string(&intent()).unwrap();
        assert_eq!(Intent::read(Some(&text), "u1"), Some(intent()));
        assert_eq!(Intent::read(Some(&text), "u2"), None);
        assert_eq!(Intent::read(Some("{"), "u1"), None);
    }

    #[test]
    fn the_account_is_recognised_in_every_usual_spelling_until_one_is_learnt() {
        let created = "2026-01-01T12:00:01Z";
        for creator in ["svc-ras", "SVC-RAS", "corp\\svc-ras", "svc-ras@corp.example"] {
            assert!(intent().marks(&row(creator, created), None), "{creator}");
        }
        assert!(!intent().marks(&row("alice", created), None));
        assert!(!intent().marks(&row("svc-ras", created), Some("CORP\\svc-ras")));
    }

    #[test]
    fn a_spelling_learnt_from_the_account_before_it_hides_no_row_of_the_one_that_took_its_place() {
        let created = "2026-01-01T12:00:01Z";
        for creator in ["svc-ras", "CORP\\former", "corp\\SVC-RAS"] {
            assert!(intent().marks(&row(creator, created), Some("CORP\\former")), "{creator}");
        }
        assert!(!intent().marks(&row("alice", created), Some("CORP\\former")));
        // One of the same name in another domain is another one as well.
        let moved = || Intent { account: "new\\svc-ras".into(), ..intent() };
        assert!(moved().marks(&row("NEW\\svc-ras", created), Some("CORP\\svc-ras")));
        let same = Intent { account: "svc-ras@corp.example".into(), ..intent() };
        assert!(!same.marks(&row("svc-ras", created), Some("CORP\\svc-ras")));
    }

    #[test]
    fn a_row_older_than_the_first_lost_attempt_is_not_ours() {
        assert!(!intent().marks(&row("svc-ras", "2026-01-01T11:54:00Z"), None));
        assert!(intent().marks(&row("svc-ras", "2026-01-01T11:56:00Z"), None));
        assert!(intent().marks(&row("svc-ras", "03/05/2019 05:30"), None), "no offset proves nothing");
        let later = Intent { lost_since: Some("2026-01-01T10:00:00Z".parse().unwrap()), ..intent() };
        assert!(later.marks(&row("svc-ras", "2026-01-01T10:00:10Z"), None));
    }

    #[test]
    fn nobody_can_write_down_a_quarantine_without_an_end() {
        let longest = Intent { quarantine_seconds: u64::MAX, ..intent() };
        assert_eq!(longest.quarantine(), Duration::from_secs(2 * 60 * 60 + 15));
        assert_eq!(intent().quarantine(), Duration::from_secs(45));
    }

    #[test]
    fn a_refused_attempt_gives_no_mark() {
        let refused = Intent { refused: Some("409".into()), ..intent() };
        assert!(!refused.marks(&row("svc-ras", "2026-01-01T12:00:01Z"), None));
        assert_eq!(refused.carried_loss(), None);
        assert_eq!(intent().carried_loss(), Some(intent().farm_time));
    }
}

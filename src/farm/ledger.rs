//! What we changed in the farm: from before the first call, over the Apply that commits it, to the list that shows it.
//! Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::view::Unapplied;
use crate::crd::PendingApply;
use crate::kubernetes::ObjectKey;
use crate::ras;

const A_DAY: Duration = Duration::from_hours(24);

/// A change that was answered, and the round it is of: the next one commits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    change: Unapplied,
    round: u64,
}

/// Our changes of one farm.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the object's status says of them, which outlives this process.
    pub(super) pending: Option<PendingApply>,
    /// Whether this process has ever said there itself that something is pending.
    pub(super) told: bool,
    /// Whether an earlier process wrote something that is not applied yet.
    pub(super) inherited: bool,
    unapplied: BTreeMap<ObjectKey, Written>,
    /// Counts Applies, ours and those that a logon may show.
    round: u64,
    /// When the last of them began.
    round_began: Duration,
    /// Of the unapplied ones those that may still arrive after the next Apply, since they were not answered.
    unanswered: HashSet<ObjectKey>,
    /// Until when a write without an answer may still take effect.
    unanswered_until: Option<Duration>,
    /// When the last Apply was answered, until a list from after it.
    applied_at: Option<Duration>,
    /// What an Apply has committed and no list has shown yet.
    settling: BTreeMap<ObjectKey, Unapplied>,
    /// Rows written since a list was asked for: laid over a list that may be from before them.
    rows: Vec<(Duration, ras::Broker)>,
    /// Rows that we deleted, as long as a list shows them.
    deleted: HashSet<i64>,
    /// Rows that were seen to come since the last Apply, made by whomever; and those that are another than they were while
    /// something of an earlier process may still arrive.
    arrivals: HashSet<i64>,
    /// Whether the next Apply commits a deletion.
    deletes_to_confirm: bool,
    /// Deletions that were sent, by broker and the time of its mark: one that is sent again is still one.
    sent_deletions: BTreeSet<(ObjectKey, Timestamp)>,
}

impl Ledger {
    /// Those of an earlier process, of which only the status tells.
    pub(super) fn inherit(pending: Option<PendingApply>) -> Self {
        Self { inherited: pending.is_some(), pending, ..Self::default() }
    }

    /// The address leads to another farm now, where none of this was written. Deletions count on.
    pub(super) fn forget(&mut self) {
        let sent_deletions = std::mem::take(&mut self.sent_deletions);
        *self = Self { round: self.round, sent_deletions, ..Self::default() };
    }

    /// A change was answered, or may have taken effect.
    pub(super) fn wrote(&mut self, broker: &ObjectKey, change: Unapplied) {
        self.record(broker, change);
        self.deletes_to_confirm |= change == Unapplied::Deleted;
    }

    fn record(&mut self, broker: &ObjectKey, change: Unapplied) {
        let round = self.round;
        let written = self.unapplied.entry(broker.clone()).or_insert(Written { change, round });
        *written = Written { change: written.change.max(change), round };
    }

    /// A change may still arrive after the next Apply.
    pub(super) fn unanswered(&mut self, broker: &ObjectKey) {
        self.unanswered.insert(broker.clone());
    }

    /// Another Apply follows when nothing can take effect any more.
    pub(super) fn expect_late_until(&mut self, until: Duration) {
        self.unanswered_until = self.unanswered_until.max(Some(until));
    }

    /// Until when a write without an answer may still take effect, where the last round began before that.
    pub(super) fn late_until(&mut self) -> Option<Duration> {
        self.unanswered_until = self.unanswered_until.filter(|until| *until > self.round_began);
        self.unanswered_until
    }

    /// The row with this id is found to be this broker's. Whether an Apply is to follow: none does where the row may long
    /// be applied, and was only not recorded.
    pub(super) fn found(&mut self, broker: &ObjectKey, id: i64) -> bool {
        let is_new = self.unanswered.remove(broker) | self.arrivals.remove(&id);
        if is_new {
            self.wrote(broker, Unapplied::Created);
        }
        is_new
    }

    /// The row with this id was not known, or was another.
    pub(super) fn arrives(&mut self, id: i64) {
        self.arrivals.insert(id);
    }

    /// The row with this id is this broker's, which was not known to be as it should. Whether it was seen to become another
    /// since the last Apply, so that another one is to follow.
    pub(super) fn arrived(&mut self, broker: &ObjectKey, id: i64) -> bool {
        let has_arrived = self.arrivals.remove(&id);
        if has_arrived {
            self.wrote(broker, Unapplied::Updated);
        }
        has_arrived
    }

    /// Whether an Apply of ours is due, by what was told before or by what is known now.
    pub(super) fn awaits_apply(&self) -> bool {
        self.pending.is_some() || !self.unapplied.is_empty()
    }

    /// How many brokers have something that is written and not applied.
    pub(super) fn unapplied(&self) -> usize {
        self.unapplied.len()
    }

    /// What is written for this broker and not applied, or applied and not listed.
    pub(super) fn of(&self, broker: &ObjectKey) -> Option<Unapplied> {
        let written = self.unapplied.get(broker).map(|written| written.change);
        written.or_else(|| self.settling.get(broker).copied())
    }

    /// Whether something of this broker waits for its Apply, or may still arrive.
    pub(super) fn is_open(&self, broker: &ObjectKey) -> bool {
        self.unanswered.contains(broker) || self.unapplied.contains_key(broker)
    }

    /// An Apply, or a logon that may show one, begins: what is answered from now on it need not contain.
    pub(super) fn begin_round(&mut self, now: Duration) {
        self.round += 1;
        self.round_began = now;
    }

    /// The Apply of the last round was answered. What was written meanwhile, or may still arrive, waits for the next
    /// one. Answers whether a deletion is committed by it.
    pub(super) fn applied(&mut self, now: Duration) -> bool {
        self.applied_at = Some(now);
        self.arrivals.clear();
        if self.late_until().is_none() {
            self.unanswered.clear();
        }
        let (round, unanswered) = (self.round, &self.unanswered);
        let is_applied =
            |key: &ObjectKey, written: &mut Written| written.round < round && !unanswered.contains(key);
        let applied = self.unapplied.extract_if(.., is_applied);
        self.settling.extend(applied.map(|(key, written)| (key, written.change)));
        std::mem::take(&mut self.deletes_to_confirm)
    }

    /// A list that was asked for at `listed_at` was read: whose changes it shows, and whether an earlier process's are
    /// among them. One from before the Apply shows nothing of it.
    pub(super) fn settle(&mut self, listed_at: Duration) -> (BTreeMap<ObjectKey, Unapplied>, bool) {
        if self.applied_at.take_if(|at| *at <= listed_at).is_none() {
            return (BTreeMap::new(), false);
        }
        (std::mem::take(&mut self.settling), std::mem::take(&mut self.inherited))
    }

    /// A row looks like this since `now`, whatever a list says that was asked for before.
    pub(super) fn put_row(&mut self, row: ras::Broker, now: Duration) {
        self.rows.retain(|(_, before)| before.id != row.id);
        self.rows.push((now, row));
    }

    /// The rows that a list asked for at `asked` may lack.
    pub(super) fn rows_since(&mut self, asked: Duration) -> impl Iterator<Item = &ras::Broker> {
        self.rows.retain(|(at, _)| *at >= asked);
        self.rows.iter().map(|(_, row)| row)
    }

    /// A DELETE is about to be sent for an object that was marked at `marked`: a list taken meanwhile must not see a
    /// stranger's mark in ours. Answers whether it is the first one. Of others those are forgotten that lie further back
    /// than any that wait are likely to: a `window`, and a day.
    pub(super) fn delete(
        &mut self,
        broker: &ObjectKey,
        id: i64,
        marked: Timestamp,
        window: Duration,
    ) -> bool {
        self.deleted.insert(id);
        self.record(broker, Unapplied::Deleted);
        let reach = SignedDuration::try_from(window.saturating_add(A_DAY)).unwrap_or(SignedDuration::MAX);
        self.sent_deletions.retain(|(_, at)| marked.duration_since(*at) <= reach);
        self.sent_deletions.insert((broker.clone(), marked))
    }

    /// The farm has certainly not carried it out.
    pub(super) fn take_back_delete(
        &mut self,
        broker: &ObjectKey,
        id: i64,
        marked: Timestamp,
        was_first: bool,
    ) {
        self.deleted.remove(&id);
        self.unapplied.remove(broker);
        if was_first {
            self.sent_deletions.remove(&(broker.clone(), marked));
        }
    }

    /// Whether the mark of this row is ours.
    pub(super) fn deletes(&self, id: i64) -> bool {
        self.deleted.contains(&id)
    }

    /// A list was taken over that shows these `arrivals`. A row that it lacks needs no memory, as its id may come back as
    /// another's.
    pub(super) fn listed(&mut self, is_listed: impl Fn(i64) -> bool, arrivals: Vec<i64>) {
        self.deleted.retain(|id| is_listed(*id));
        self.arrivals.retain(|id| is_listed(*id));
        self.arrivals.extend(arrivals);
    }

    /// When those were marked whose DELETE was sent.
    pub(super) fn sent_deletions(&self) -> impl Iterator<Item = Timestamp> {
        self.sent_deletions.iter().map(|(_, marked)| *marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(10);

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn delete(ledger: &mut Ledger, name: &str, hours: i64) -> bool {
        ledger.delete(&ObjectKey::new("ras", name), 7, at(hours), WINDOW)
    }

    #[test]
    fn a_deletion_that_is_sent_again_counts_once_and_a_refused_one_not_at_all() {
        let mut ledger = Ledger::default();
        assert!(delete(&mut ledger, "a", 0));
        assert!(!delete(&mut ledger, "a", 0), "again");
        assert!(delete(&mut ledger, "a", 1), "another object of its name");
        assert!(delete(&mut ledger, "b", 1));
        ledger.take_back_delete(&ObjectKey::new("ras", "b"), 7, at(1), true);
        assert_eq!(ledger.sent_deletions().collect::<Vec<_>>(), [at(0), at(1)]);
    }

    #[test]
    fn deletions_of_long_ago_are_forgotten() {
        let mut ledger = Ledger::default();
        for hour in 0..1_000 {
            delete(&mut ledger, "a", hour);
        }
        let kept: Vec<_> = ledger.sent_deletions().collect();
        assert_eq!(kept, (975..1_000).map(at).collect::<Vec<_>>());
        delete(&mut ledger, "late", 2);
        assert_eq!(ledger.sent_deletions().count(), 26, "a mark of long ago takes no other away");
    }

    #[test]
    fn of_a_row_that_is_read_again_and_again_the_last_is_kept() {
        let mut ledger = Ledger::default();
        for number in 0..100 {
            let row = ras::Broker { id: 7, description: Some(number.to_string()), ..ras::Broker::default() };
            ledger.put_row(row, Duration::from_secs(number));
        }
        ledger.put_row(ras::Broker { id: 8, ..ras::Broker::default() }, Duration::from_secs(99));
        let kept: Vec<_> =
            ledger.rows_since(Duration::ZERO).map(|row| (row.id, row.description.clone())).collect();
        assert_eq!(kept, [(7, Some("99".to_owned())), (8, None)]);
    }
}

//! Moves in the order of a site: one at a time, and after one without an answer none until it is certain what became
//! of it, since a move by one place must not be made twice.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::snapshot::RowKey;
use super::state::FarmState;
use super::view::{FarmView, Unapplied};
use crate::broker::observe::ObjectFacts;
use crate::broker::order::{self, SiteKey};
use crate::clock::Now;
use crate::crd::{Capability, RasBroker};
use crate::kubernetes::ObjectKey;
use crate::ras::{self, Outcome};

/// What is under way in the sites' orders.
#[derive(Debug, Default)]
pub(super) struct MovesState {
    /// Sites in which a move is on its way.
    pub(super) sites: BTreeSet<i64>,
    /// Until when it is not certain what a move has done: no other is made before that, and before a list from after it.
    pub(super) not_before: Duration,
    /// Rows that our moves shifted, and no list has shown since: their objects show the new place then.
    pub(super) shifted: HashSet<RowKey>,
}

/// One move of a row of this broker.
#[derive(Clone, Debug)]
pub struct Moving {
    /// The site.
    pub site_id: i64,
    /// The row.
    pub id: i64,
    /// Where it goes.
    pub to: ras::Move,
    /// The order on which it was decided.
    pub order: Arc<[i64]>,
    /// The objects that are in their place only once the site's moves are applied.
    pub concerned: Vec<ObjectKey>,
}

impl Moving {
    /// The order that it leads to.
    fn expected(&self) -> Vec<i64> {
        order::moved(&self.order, self.id, self.to)
    }
}

impl Actor {
    /// A row may be out of its place by the change of another.
    pub(super) fn wake_misplaced(&self, changed: &HashSet<RowKey>) {
        let view = self.farm.view();
        let FarmView::Up(facts) = view else { return };
        let sites: BTreeSet<i64> = changed.iter().map(|key| key.site_id).collect();
        for site_id in sites {
            let stated = self.brokers.stated(&SiteKey { identity: facts.identity.clone(), site_id });
            if stated.is_empty() {
                continue;
            }
            self.wake_brokers(order::concerned(&facts.snapshot, site_id, &stated, facts.moves.form));
            // The order may have come right, or be shown again, without a move of ours.
            let is_synced = |broker: Arc<RasBroker>| ObjectFacts::of(&broker).was_synced();
            let is_unsure = |key: &ObjectKey| !self.brokers.get(key).is_some_and(is_synced);
            self.wake_brokers(stated.into_iter().map(|stated| stated.key).filter(is_unsure));
        }
    }
}

impl FarmState {
    /// A move of an earlier process, or one without an answer, may take effect for as long as its quarantine lasts.
    pub(super) fn expect_late_moves(&mut self, now: Now) {
        self.moves.not_before = now.boot + self.late_writes();
    }

    /// Takes over what a move was answered with.
    pub(super) fn take_move(&mut self, moving: &Moving, answer: &Result<(), ras::Error>, now: Now) {
        match answer {
            Ok(()) => {
                self.note_moves(Ok(()));
                self.shift(moving, now);
                self.concern(moving, false);
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                self.expect_late_moves(now);
                self.concern(moving, true);
            }
            // A broker that has vanished gives the same answer as a call that there is not.
            Err(error) if error.is_not_found() => {}
            Err(error) => self.note_moves(Err(error.status())),
        }
    }

    /// A move was answered with 404, and the row was read by id after it: where it is there, the farm has no such call.
    /// No list is asked, since one may show a row that has gone.
    pub(super) fn take_missing(&mut self, is_there: bool) {
        self.list_asked = true;
        if is_there {
            self.note_moves(Err(Some(404)));
        }
    }

    /// A list that came while the move was on its way may show it already: a step must not be counted twice.
    fn shift(&mut self, moving: &Moving, now: Now) {
        let shown = self.snapshot.order(moving.site_id);
        if *shown == *moving.order {
            let shifted = Arc::make_mut(&mut self.snapshot).move_row(moving.site_id, moving.id, moving.to);
            self.moves.shifted.extend(shifted.iter().map(RowKey::of));
            for row in shifted {
                self.ledger.put_row(row, now.boot);
            }
        } else if *shown != *moving.expected() {
            // Where its row stands now is not known, and the next step would be counted from the wrong place.
            self.moves.not_before = self.moves.not_before.max(now.boot);
            self.list_asked = true;
        }
    }

    /// Whether nothing has come that a move was not decided on.
    pub(super) fn is_still(&self, moving: &Moving) -> bool {
        let is_certain = self.moves.not_before <= self.snapshot.listed_at;
        is_certain && *self.snapshot.order(moving.site_id) == *moving.order
    }

    /// The place where an answered move has put its row; none where others changed the order meanwhile.
    pub(super) fn reached(&self, moving: &Moving) -> Option<i64> {
        let is_as_expected = *self.snapshot.order(moving.site_id) == *moving.expected();
        self.snapshot.row(moving.id).filter(|_| is_as_expected)?.priority
    }

    /// Who stands where they belong by this move does so only once it is applied.
    fn concern(&mut self, moving: &Moving, is_lost: bool) {
        for key in &moving.concerned {
            self.ledger.wrote(key, Unapplied::Moved);
            if is_lost {
                self.ledger.unanswered(key);
            }
        }
    }

    /// A list has been taken over.
    pub(super) fn take_order(&mut self) -> HashSet<RowKey> {
        std::mem::take(&mut self.moves.shifted)
    }

    fn note_moves(&mut self, answer: Result<(), Option<u16>>) {
        let lacked = self.capabilities.lacks(Capability::Priority);
        self.unreported |= self.capabilities.note(Capability::Priority, answer);
        self.object_news |= lacked != self.capabilities.lacks(Capability::Priority);
    }

    /// What was lacking may be there by now.
    pub(super) fn try_lacks_again(&mut self) {
        self.object_news |= self.capabilities.forget_lacks();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::crd::RasFarm;

    fn at(seconds: u64) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, boot: Duration::from_secs(seconds) }
    }

    fn row(id: i64, place: i64) -> ras::Broker {
        let server = format!("cb{id}");
        ras::Broker { id, server, site_id: 1, priority: Some(place), ..ras::Broker::default() }
    }

    fn listed(rows: &[ras::Broker]) -> FarmState {
        let spec = json!({
            "endpoint": "https://farm.example:20443", "credentialsSecretRef": {"name": "account"},
        });
        let farm = RasFarm::new("north", serde_json::from_value(spec).unwrap());
        let mut state = FarmState::new(Arc::new(farm), Duration::from_mins(5), Arc::new(Semaphore::new(1)));
        state.take_list(rows.to_vec(), at(1).boot, None);
        state
    }

    fn moving() -> Moving {
        let concerned = vec![ObjectKey::new("ns", "cb2"), ObjectKey::new("ns", "cb3")];
        Moving { site_id: 1, id: 3, to: ras::Move::Up, order: [2, 3].into(), concerned }
    }

    fn refused(status: u16) -> ras::Error {
        let refusal = ras::Refusal { status, retry_after: None, code: None, detail: None };
        ras::Error::new(ras::Route::MoveBroker, ras::ErrorKind::Status(refusal))
    }

    #[test]
    fn a_404_means_that_there_is_no_such_call_only_if_the_row_is_there() {
        let rows = [row(1, 0), row(2, 1), row(3, 2)];
        for is_there in [true, false] {
            let mut state = listed(&rows);
            state.take_move(&moving(), &Err(refused(404)), at(10));
            assert!(!moving().concerned.iter().any(|key| state.ledger.is_open(key)));
            assert!(!state.capabilities.lacks(Capability::Priority), "it tells nothing by itself");
            state.take_missing(is_there);
            assert!(state.list_asked);
            assert_eq!(state.capabilities.lacks(Capability::Priority), is_there);
            assert_eq!(std::mem::take(&mut state.object_news), is_there, "all brokers show it");
            state.try_lacks_again();
            assert!(!state.capabilities.lacks(Capability::Priority));
            assert_eq!(state.object_news, is_there);
        }
        let mut state = listed(&rows);
        state.take_move(&moving(), &Err(refused(405)), at(10));
        assert!(state.capabilities.lacks(Capability::Priority));
    }

    #[test]
    fn an_answered_move_is_shown_at_once_and_told_with_the_next_list() {
        let mut state = listed(&[row(1, 0), row(2, 1), row(3, 2)]);
        state.take_move(&moving(), &Ok(()), at(10));
        assert_eq!(*state.snapshot.order(1), [3, 2]);
        assert!(
            moving().concerned.iter().all(|key| state.ledger.is_open(key)),
            "whoever is shifted waits for the Apply too"
        );
        assert_eq!(state.capabilities.listed(), [Capability::Priority]);
        // A list from before the move does not undo it; one from after it changes nothing, and still wakes both.
        state.take_list(vec![row(1, 0), row(2, 1), row(3, 2)], at(9).boot, None);
        assert_eq!(*state.snapshot.order(1), [3, 2]);
        state.moves.shifted.extend([2, 3].map(|id| RowKey::of(&row(id, 0))));
        let told = state.take_list(vec![row(1, 0), row(3, 1), row(2, 2)], at(11).boot, None);
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn a_step_that_a_list_shows_before_its_answer_is_counted_once() {
        let before = [row(1, 0), row(2, 1), row(3, 2), row(4, 3)];
        let after = [row(1, 0), row(2, 1), row(4, 2), row(3, 3)];
        let step = Moving { id: 4, order: [2, 3, 4].into(), ..moving() };
        for list in [&before, &after] {
            let mut state = listed(&before);
            state.take_list(list.to_vec(), at(10).boot, None);
            state.take_move(&step, &Ok(()), at(11));
            assert_eq!((&*state.snapshot.order(1), state.reached(&step)), (&[2, 4, 3][..], Some(2)));
            assert!(!state.list_asked);
        }
        // Somebody else moved another broker: what ours did is for a list to tell.
        let mut state = listed(&before);
        state.take_list(vec![row(1, 0), row(3, 1), row(2, 2), row(4, 3)], at(10).boot, None);
        state.take_move(&step, &Ok(()), at(11));
        assert_eq!((&*state.snapshot.order(1), state.reached(&step)), (&[3, 2, 4][..], None));
        assert!(state.list_asked);
        let next = Moving { order: state.snapshot.order(1), ..step };
        assert!(!state.is_still(&next), "no step is made before that list has come");
        state.take_list(vec![row(1, 0), row(3, 1), row(2, 2), row(4, 3)], at(11).boot, None);
        assert!(state.is_still(&next));
    }

    #[test]
    fn the_place_of_a_row_that_is_read_by_itself_is_for_a_list_to_tell() {
        let mut state = listed(&[row(1, 0), row(2, 1), row(3, 2)]);
        state.take_row(ras::Broker { enabled: Some(false), ..row(3, 1) }, at(11));
        assert_eq!(state.snapshot.row(3).unwrap().enabled, Some(false));
        assert_eq!(*state.snapshot.order(1), [2, 3], "no two have one place");
        // Asked for before that read and answered after it: the row is as it was read, in the place that is listed.
        state.take_list(vec![row(1, 0), row(3, 1), row(2, 2)], at(10).boot, None);
        assert_eq!(state.snapshot.row(3).unwrap().enabled, Some(false));
        assert_eq!(*state.snapshot.order(1), [3, 2]);
        // The place of the primary is its own.
        state.take_row(row(2, 0), at(12));
        assert_eq!(state.snapshot.row(2).unwrap().priority, Some(0));
    }
}

//! Moves in the order of a site: one at a time, and after one without an answer none until it is certain what became
//! of it, since a move by one place must not be made twice.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::snapshot::RowKey;
use super::state::FarmState;
use super::view::{FarmView, Unapplied};
use crate::broker::intent::quarantine_of;
use crate::broker::order::{self, SiteKey};
use crate::clock::Now;
use crate::crd::Capability;
use crate::kubernetes::ObjectKey;
use crate::ras::{self, Outcome};

/// What is under way in the sites' orders.
#[derive(Debug, Default)]
pub(super) struct MovesState {
    /// Sites in which a move is on its way.
    pub(super) sites: BTreeSet<i64>,
    /// Until when a move without an answer may still take effect.
    pub(super) not_before: Duration,
    /// Rows that our moves shifted, and no list has shown since: their objects show the new place then.
    pub(super) shifted: HashSet<RowKey>,
    /// A row whose move was answered with 404, and when: a list from after it tells whether the row has gone or the
    /// farm has no such call.
    pub(super) not_found: Option<(i64, Duration)>,
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
    /// The objects that are in their place only once the site's moves are applied.
    pub concerned: Vec<ObjectKey>,
}

impl Actor {
    /// A row may be out of its place by the change of another.
    pub(super) fn wake_misplaced(&self, changed: &HashSet<RowKey>) {
        let view = self.farm.view();
        let FarmView::Up(facts) = view else { return };
        let sites: BTreeSet<i64> = changed.iter().map(|key| key.site_id).collect();
        for site_id in sites {
            let stated = self.brokers.stated(&SiteKey { identity: facts.identity.clone(), site_id });
            if !stated.is_empty() {
                self.wake_brokers(order::concerned(&facts.snapshot, site_id, &stated, facts.moves.form));
            }
        }
    }
}

impl FarmState {
    /// A move of an earlier process, or one without an answer, may take effect for as long as its quarantine lasts.
    pub(super) fn expect_late_moves(&mut self, now: Now) {
        self.moves.not_before = now.boot + quarantine_of(self.object.spec.request_timeout.get());
    }

    /// Takes over what a move was answered with.
    pub(super) fn take_move(&mut self, moving: &Moving, answer: &Result<(), ras::Error>, now: Now) {
        match answer {
            Ok(()) => {
                self.note_moves(Ok(()));
                let shifted =
                    Arc::make_mut(&mut self.snapshot).move_row(moving.site_id, moving.id, moving.to);
                self.moves.shifted.extend(shifted.iter().map(RowKey::of));
                self.written.extend(shifted.into_iter().map(|row| (now.boot, row)));
                self.concern(moving, false);
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                self.expect_late_moves(now);
                self.concern(moving, true);
            }
            // A broker that has vanished gives the same answer as a call that there is not.
            Err(error) if error.is_not_found() => {
                self.moves.not_found = Some((moving.id, now.boot));
                self.list_asked = true;
            }
            Err(error) => self.note_moves(Err(error.status())),
        }
    }

    /// Who stands where they belong by this move does so only once it is applied.
    fn concern(&mut self, moving: &Moving, is_lost: bool) {
        for key in &moving.concerned {
            self.wrote(key, Unapplied::Moved);
            if is_lost {
                self.unanswered.insert(key.clone());
            }
        }
    }

    /// A list that was asked for at `asked` has been taken over.
    pub(super) fn take_order(&mut self, asked: Duration) -> HashSet<RowKey> {
        if let Some((id, _)) = self.moves.not_found.take_if(|(_, at)| *at <= asked)
            && self.snapshot.row(id).is_some()
        {
            self.note_moves(Err(Some(404)));
        }
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

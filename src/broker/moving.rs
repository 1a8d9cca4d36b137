//! The order of a site is the business of all who state a priority there: what puts it out of order may be the change
//! of another object, and each move is made by the object whose row is moved, once the one before it is answered.

use std::sync::Arc;

use super::cache::farm_of;
use super::execute::{Executor, Progress, StepError};
use super::observe::{Memory, Observed, SentMove};
use super::order::{self, Place};
use super::reconcile::Context;
use crate::crd::RasBroker;
use crate::events::{Event, Kind};
use crate::farm::moves::Moving;
use crate::farm::view::FarmView;
use crate::kubernetes::ObjectKey;
use crate::ras;

impl Context {
    /// Where a broker that states a priority belongs.
    pub(super) fn place(&self, broker: &RasBroker, view: &FarmView) -> Option<Place> {
        let (site, own) = order::stated(broker)?;
        let FarmView::Up(facts) = view else { return None };
        if site.identity != facts.identity {
            return None;
        }
        let stated = self.brokers.stated(&site);
        let place = order::place(&facts.snapshot, site.site_id, own.id, &stated, facts.moves.form)?;
        Some(Place { gathers: self.brokers.awaits_more(&farm_of(broker)), ..place })
    }

    /// Whoever moves next in this broker's site is woken, unless it is this broker.
    pub(super) fn wake_mover(&self, observed: &Observed, own: &ObjectKey) {
        let turn = observed.place.as_ref().and_then(|place| place.turn.as_ref());
        if let Some(turn) = turn.filter(|turn| turn.key != *own) {
            self.farms.wake(turn.key.clone());
        }
    }

    /// Where what is asked of a site has changed, all whom that concerns are woken.
    pub(super) fn wake_restated(&self) {
        for site in self.brokers.take_restated() {
            let stated = self.brokers.stated(&site);
            let any = stated.first().and_then(|stated| self.brokers.get(&stated.key));
            let farm = any.and_then(|any| self.farms.get(&farm_of(&any)));
            if let Some(FarmView::Up(facts)) = farm.map(|farm| farm.view()) {
                let keys = order::concerned(&facts.snapshot, site.site_id, &stated, facts.moves.form);
                for key in keys {
                    self.farms.wake(key);
                }
            }
        }
    }
}

impl Executor<'_> {
    /// Others may have moved since it was decided: then it is decided anew.
    pub(super) async fn move_row(
        &self,
        id: i64,
        to: ras::Move,
        memory: &mut Memory,
    ) -> Result<Progress, StepError> {
        let (FarmView::Up(facts), Some(place)) = (&self.observed.farm, &self.observed.place) else {
            return Ok(Progress::Done);
        };
        let (Some(farm), Some(row)) = (self.farm, facts.snapshot.row(id)) else { return Ok(Progress::Done) };
        let (order, concerned) = (Arc::clone(&place.order), place.concerned.clone());
        let moving = Moving { site_id: row.site_id, id, to, order, concerned };
        let Some(permit) = farm.admit_move(self.key, moving.site_id) else { return Ok(Progress::Queued) };
        let found = self.read_again(permit.calls(), row).await?;
        if found.is_none() || !self.stands(permit.calls()).await? || !permit.is_still(&moving) {
            return Ok(Progress::Done);
        }
        match permit.make(&moving).await {
            Ok(reached) => {
                memory.moved = row.priority.zip(reached).map(|(from, reached)| {
                    SentMove {
                        generation: self.observed.object.generation,
                        wanted: place.wanted,
                        from,
                        reached,
                        settled: None,
                    }
                    .following(memory.moved)
                });
                memory.failure = None;
                self.tell_if_there(row, place.wanted, reached);
                Ok(Progress::Done)
            }
            // It is known by now whether it is the row or the call that there is not, and who is concerned is woken.
            Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(Progress::Queued),
            Err(error) => Err(error.into()),
        }
    }

    /// One event for all the steps that a broker takes.
    fn tell_if_there(&self, row: &ras::Broker, wanted: i64, reached: Option<i64>) {
        if reached != Some(wanted) {
            return;
        }
        let drift = &self.observed.object.status.drift;
        let (kind, what) = if drift.iter().any(|drift| drift.field == "priority") {
            (Kind::DriftCorrected, "Corrected")
        } else {
            (Kind::UpdatedExternalResource, "Updated")
        };
        let note =
            format!("{what} priority of Connection Broker {:?} (id {}): {wanted}.", row.server, row.id);
        self.events.publish(self.broker.as_ref(), &Event::normal(kind, note));
    }
}

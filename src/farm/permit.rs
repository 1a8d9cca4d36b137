//! A broker's right to make calls: how a step is let in, and what it may send then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::Pace;
use super::handle::Farm;
use super::moves::Moving;
use super::queue::Need;
use super::service::Change;
use super::snapshot::RowKey;
use super::state::FarmState;
use super::view::Unapplied;
use crate::broker::canonical::ServerName;
use crate::kubernetes::ObjectKey;
use crate::ras::{self, Answer, AuthToken, BrokerChange, ErrorKind, Malformed, Outcome, Route};

impl Farm {
    /// A permit for one step, or a place in the queue: the broker is woken when its turn comes.
    pub fn admit(self: &Arc<Self>, broker: &ObjectKey, need: Need) -> Option<Permit> {
        self.let_in(&mut self.state.lock(), broker, need)
    }

    /// The same for a step that may change what serves a site. Whether it may be made now is asked once more where nobody
    /// can come between: of two that were decided at the same time, the second is decided anew.
    pub fn admit_change(self: &Arc<Self>, broker: &ObjectKey, need: Need, change: Change) -> Admission {
        let mut state = self.state.lock();
        if state.service.changes().wait(&state.snapshot, &change).is_some() {
            return Admission::Overtaken;
        }
        let Some(mut permit) = self.let_in(&mut state, broker, need) else { return Admission::Queued };
        let FarmState { service, snapshot, .. } = &mut *state;
        permit.change = service.begin(broker, snapshot, change).then_some(change);
        Admission::Granted(permit)
    }

    fn let_in(self: &Arc<Self>, state: &mut FarmState, broker: &ObjectKey, need: Need) -> Option<Permit> {
        if !self.may_act() {
            return None;
        }
        let worker = match need.pace {
            Pace::Ordinary => Ok(None),
            Pace::Install => Arc::clone(&state.workers).try_acquire_owned().map(Some),
        };
        let Ok(worker) = worker else {
            state.queue.join(broker, need);
            return None;
        };
        let admitted = state.admit(broker, need, self.clock.now());
        let permit = if admitted { self.permit(state, broker, need, worker) } else { None };
        if permit.is_none() {
            self.changed.notify_one();
        }
        permit
    }

    /// The permit of a step that was admitted, under the same lock: a session that is being replaced waits for those it
    /// has let go, and for no others.
    pub(super) fn permit(
        self: &Arc<Self>,
        state: &FarmState,
        broker: &ObjectKey,
        need: Need,
        worker: Option<OwnedSemaphorePermit>,
    ) -> Option<Permit> {
        let link = state.link.as_ref()?;
        Some(Permit {
            farm: Arc::clone(self),
            broker: broker.clone(),
            client: link.client.clone(),
            token: link.session.token.clone(),
            on_its_way: Some(link.calls.token()),
            pace: need.pace,
            _worker: worker,
            calls: AtomicUsize::new(need.calls.min(state.limiter.limit())),
            change: None,
            is_written: AtomicBool::new(false),
        })
    }

    /// A permit for a move in the order of a site, if nothing else is being moved there; whoever makes that move wakes
    /// the next.
    pub fn admit_move(self: &Arc<Self>, broker: &ObjectKey, site_id: i64) -> Option<MovePermit> {
        let need = Need { calls: 2, writes: true, fresh_list: true, pace: Pace::Ordinary };
        if !self.state.lock().moves.sites.insert(site_id) {
            return None;
        }
        let site = SiteToken { farm: Arc::clone(self), site_id };
        Some(MovePermit { permit: self.admit(broker, need)?, _site: site })
    }
}

/// Whether a step that changes what serves a site may make its calls.
#[derive(Debug)]
pub enum Admission {
    /// It may.
    Granted(Permit),
    /// The farm will call when it is this broker's turn.
    Queued,
    /// Not as things are now: it is decided anew.
    Overtaken,
}

/// The right to make one move in the order of a site.
#[derive(Debug)]
pub struct MovePermit {
    permit: Permit,
    _site: SiteToken,
}

/// The site is free again when this goes.
#[derive(Debug)]
struct SiteToken {
    farm: Arc<Farm>,
    site_id: i64,
}

impl Drop for SiteToken {
    fn drop(&mut self) {
        self.farm.state.lock().moves.sites.remove(&self.site_id);
    }
}

impl MovePermit {
    /// For the calls around the move.
    pub fn calls(&self) -> &Permit {
        &self.permit
    }

    /// Whether the order is still the one on which the move was decided.
    pub fn is_still(&self, moving: &Moving) -> bool {
        self.permit.farm.state.lock().is_still(moving)
    }

    /// Makes one move, and answers the priority that the row has then; none where others changed the order meanwhile.
    /// One that is answered with 404 is followed by a read of the row.
    /// Not idempotent.
    pub async fn make(self, moving: &Moving) -> Result<Option<i64>, ras::Error> {
        let Self { permit, _site } = self;
        permit.turn().await;
        let answer = permit.client.move_broker(&permit.token, moving.id, moving.to).await;
        let answer = permit.written(answer, Unapplied::Moved);
        let is_missing = answer.as_ref().is_err_and(ras::Error::is_not_found);
        let is_there = is_missing && permit.get(moving.id).await?.is_some();
        let mut state = permit.farm.state.lock();
        state.take_move(moving, &answer, permit.farm.clock.now());
        if is_missing {
            state.take_missing(is_there);
        }
        let reached = state.reached(moving);
        drop(state);
        answer.map(|()| reached)
    }
}

/// The right to make the calls of one step. Each method sends exactly one request; what it is answered is in the
/// snapshot before the method returns.
#[derive(Debug)]
pub struct Permit {
    pub(super) farm: Arc<Farm>,
    pub(super) broker: ObjectKey,
    pub(super) client: ras::Client,
    pub(super) token: AuthToken,
    /// Given up before the actor is told, which looks whether the session is still used.
    on_its_way: Option<TaskTrackerToken>,
    pace: Pace,
    _worker: Option<OwnedSemaphorePermit>,
    /// Calls that the limit has reserved for it.
    calls: AtomicUsize,
    /// What it lowers, on record from before the call until it is applied, or certainly not made.
    change: Option<Change>,
    /// Whether the write may have reached the farm.
    is_written: AtomicBool,
}

impl Permit {
    /// POST of a broker. An answer about another one says nothing of this one: only a list can tell what was made.
    pub async fn create(&self, broker: &ras::NewBroker) -> Result<ras::Broker, ras::Error> {
        self.turn().await;
        let answer = self.client.create_broker(&self.token, broker).await;
        let key = RowKey { site_id: broker.site_id, name: ServerName::new(&broker.server) };
        let answer = answer.and_then(|answer| {
            let is_its = RowKey::of(&answer.value) == key;
            let other = || ErrorKind::Malformed(Malformed::OtherBroker);
            if is_its { Ok(answer) } else { Err(ras::Error::new(Route::CreateBroker, other())) }
        });
        let row = self.written(answer, Unapplied::Created)?;
        let mut state = self.farm.state.lock();
        let FarmState { service, snapshot, .. } = &mut *state;
        service.raised(&self.broker, snapshot, &row);
        state.put_row(row.clone(), self.farm.clock.now());
        // The farm's spelling of our account, learnt from a row that is certainly ours.
        state.learnt_account = row.admin_create.clone().or_else(|| state.learnt_account.take());
        state.unreported = true;
        Ok(row)
    }

    /// PUT of what differs; `row` is what it is to look like.
    pub async fn update(&self, row: ras::Broker, change: &BrokerChange) -> Result<(), ras::Error> {
        self.turn().await;
        self.is_written.store(true, Ordering::Relaxed);
        let answer = self.client.update_broker(&self.token, row.id, change).await;
        self.written(answer, Unapplied::Updated)?;
        let mut state = self.farm.state.lock();
        let FarmState { service, snapshot, .. } = &mut *state;
        service.raised(&self.broker, snapshot, &row);
        state.put_row(row, self.farm.clock.now());
        Ok(())
    }

    /// GET by id; `None` where the farm answers that there is none.
    pub async fn get(&self, id: i64) -> Result<Option<ras::Broker>, ras::Error> {
        self.turn().await;
        let answer = self.client.get_broker(&self.token, id).await;
        match self.answered(answer) {
            Ok(row) => {
                self.farm.state.lock().take_row(row.clone(), self.farm.clock.now());
                Ok(Some(row))
            }
            Err(error) if error.is_not_found() => {
                Arc::make_mut(&mut self.farm.state.lock().snapshot).remove(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// DELETE by id of an object that was marked for deletion at `marked`.
    pub async fn delete(&self, id: i64, removal: &ras::Removal, marked: Timestamp) -> Result<(), ras::Error> {
        let is_first = {
            let mut state = self.farm.state.lock();
            let window = state.object.spec.deletion_protection.window.get();
            state.ledger.delete(&self.broker, id, marked, window)
        };
        self.turn().await;
        self.is_written.store(true, Ordering::Relaxed);
        let answer = self.client.delete_broker(&self.token, id, removal).await;
        let answered = self.written(answer, Unapplied::Deleted);
        if answered.as_ref().is_err_and(|error| error.outcome() != Outcome::Unknown) {
            self.farm.state.lock().ledger.take_back_delete(&self.broker, id, marked, is_first);
        }
        answered
    }

    /// Waits until the limit has room for one more call, where none is reserved any more: the next one does not wait then.
    /// So a change waits before it is looked whether it is still to be made, and not after.
    pub async fn ready(&self) {
        if self.calls.load(Ordering::Relaxed) == 0 {
            self.farm.reserve().await;
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A limit below what the step needs makes its later calls wait.
    pub(super) async fn turn(&self) {
        let spend = |calls: usize| calls.checked_sub(1);
        if self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            return self.farm.turn().await;
        }
        self.farm.state.lock().limiter.spend(self.farm.clock.now().boot);
    }

    /// An Apply is due after a write, unless the farm certainly did not do it.
    fn written<T>(&self, answer: Result<Answer<T>, ras::Error>, change: Unapplied) -> Result<T, ras::Error> {
        if answer.as_ref().is_err_and(ras::Error::is_forbidden) {
            // So answers a broker that is not the primary any more: only another logon shows which one is.
            self.farm.state.lock().session_expired = true;
        }
        let is_lost = answer.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown);
        self.is_written.store(answer.is_ok() || is_lost, Ordering::Relaxed);
        if answer.is_ok() || is_lost {
            let now = self.farm.clock.now();
            let mut state = self.farm.state.lock();
            state.batch.touch(now.boot);
            state.ledger.wrote(&self.broker, change);
            if is_lost {
                state.expect_late_writes(now, self.pace);
                state.ledger.unanswered(&self.broker);
            }
        }
        self.answered(answer)
    }

    /// Takes over what every answer tells: the farm's clock, an expired session, a wish to be left alone.
    pub(super) fn answered<T>(&self, answer: Result<Answer<T>, ras::Error>) -> Result<T, ras::Error> {
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        let date = answer.as_ref().ok().and_then(|answer| answer.date);
        // A session that was replaced meanwhile is over: that says nothing of the one in use.
        let replaced = state.link.as_ref().is_none_or(|link| !link.session.token.is_same(&self.token));
        let error = answer.as_ref().err().filter(|error| !(replaced && error.is_unauthorized()));
        state.note(error, date, now);
        answer.map(|answer| answer.value)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        drop(self.on_its_way.take());
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        state.batch.end(now.boot, self.pace);
        state.limiter.give_back(*self.calls.get_mut());
        if let Some(change) = &self.change {
            state.service.end(&self.broker, change, self.is_written.load(Ordering::Relaxed));
        }
        drop(state);
        self.farm.changed.notify_one();
    }
}

//! The farm as brokers use it: look, queue, and make one call with a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::limiter::Take;
use super::queue::Need;
use super::state::FarmState;
use super::view::{FarmView, Unapplied};
use crate::clock::Clock;
use crate::crd::{RasFarm, finalizer};
use crate::kubernetes::ObjectKey;
use crate::leader::Authority;
use crate::ras::{self, Answer, AuthToken, BrokerChange, Outcome};

/// Bounds of one wait for the limit.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(1);

/// Asks for a reconcile of the broker with this key.
pub type Wake = mpsc::UnboundedSender<ObjectKey>;

/// One farm: its state, shared between its actor and its brokers.
#[derive(Debug)]
pub struct Farm {
    /// Key of the `RasFarm`.
    pub key: ObjectKey,
    /// Uid of the `RasFarm`.
    pub uid: String,
    pub(super) state: Mutex<FarmState>,
    pub(super) changed: Notify,
    pub(super) clock: Clock,
    authority: Authority,
}

impl Farm {
    /// A farm of which only the object is known.
    pub(super) fn new(
        object: Arc<RasFarm>,
        unavailable_after: Duration,
        clock: Clock,
        authority: Authority,
    ) -> Self {
        Self {
            key: ObjectKey::of(object.as_ref()),
            uid: object.uid().unwrap_or_default(),
            state: Mutex::new(FarmState::new(object, unavailable_after)),
            changed: Notify::new(),
            clock,
            authority,
        }
    }

    /// What is known of the farm.
    pub fn view(&self) -> FarmView {
        self.state.lock().view(self.clock.now())
    }

    /// The farm's `resyncPeriod`.
    pub fn period(&self) -> Duration {
        self.state.lock().object.spec.resync_period.get()
    }

    /// What is written for this broker and not applied. What an earlier process wrote is not known in detail: whatever
    /// did not come to its end then may be a part of it.
    pub fn unapplied(&self, broker: &ObjectKey, was_synced: bool) -> Option<Unapplied> {
        let state = self.state.lock();
        let inherited = (state.inherited && !was_synced).then_some(Unapplied::Updated);
        state.unapplied.get(broker).or_else(|| state.settling.get(broker)).copied().or(inherited)
    }

    /// Whether the farm's object carries the finalizer that keeps it as long as brokers name it.
    pub fn is_claimed(&self) -> bool {
        let object = Arc::clone(&self.state.lock().object);
        object.metadata.deletion_timestamp.is_none()
            && object.finalizers().iter().any(|name| name == finalizer::IN_USE)
    }

    /// Asks for a list as soon as the limit allows; the brokers whose rows it changes are woken.
    pub fn ask_for_list(&self) {
        self.state.lock().list_asked = true;
        self.changed.notify_one();
    }

    /// Something that the farm's status shows has changed.
    pub fn touch(&self) {
        self.state.lock().unreported = true;
        self.changed.notify_one();
    }

    /// Whether this process may act, which a leader that lost its Lease may not.
    pub fn may_act(&self) -> bool {
        self.authority.may_act()
    }

    /// A broker that has nothing to do any more gives up its place in the queue: a batch must not be opened for it.
    pub fn withdraw(&self, broker: &ObjectKey) {
        self.state.lock().queue.leave(broker);
    }

    /// A permit for one step, or a place in the queue: the broker is woken when its turn comes.
    pub fn admit(self: &Arc<Self>, broker: &ObjectKey, need: Need) -> Option<Permit> {
        if !self.may_act() {
            return None;
        }
        let mut state = self.state.lock();
        let admitted = state.admit(broker, need, self.clock.now());
        let link = state.link.clone().filter(|_| admitted);
        // Under the lock: a session that is being replaced waits for those it has let go, and for no others.
        let link = link.map(|link| (link.calls.token(), link));
        let calls = need.calls.min(state.limiter.limit());
        drop(state);
        if link.is_none() {
            self.changed.notify_one();
        }
        link.map(|(on_its_way, link)| Permit {
            farm: Arc::clone(self),
            broker: broker.clone(),
            client: link.client,
            token: link.session.token,
            _on_its_way: on_its_way,
            calls: AtomicUsize::new(calls),
        })
    }

    /// Waits until the farm's limit allows one more call.
    pub(super) async fn turn(&self) {
        loop {
            let taken = self.state.lock().limiter.take(self.clock.now().boot);
            match taken {
                Take::Granted => return,
                // Looked at again soon: the limit may be raised meanwhile.
                Take::WaitFor(wait) => tokio::time::sleep(wait.clamp(SHORTEST, LONGEST)).await,
            }
        }
    }
}

/// The right to make the calls of one step. Each method sends exactly one request; what it is answered is in the
/// snapshot before the method returns.
#[derive(Debug)]
pub struct Permit {
    farm: Arc<Farm>,
    broker: ObjectKey,
    client: ras::Client,
    token: AuthToken,
    _on_its_way: TaskTrackerToken,
    /// Calls that the limit has granted already.
    calls: AtomicUsize,
}

impl Permit {
    /// POST of a broker.
    pub async fn create(&self, broker: &ras::NewBroker) -> Result<ras::Broker, ras::Error> {
        self.turn().await;
        let answer = self.client.create_broker(&self.token, broker).await;
        let row = self.written(answer, Unapplied::Created)?;
        let mut state = self.farm.state.lock();
        state.put_row(row.clone(), self.farm.clock.now());
        state.unapplied.insert(self.broker.clone(), Unapplied::Created);
        // The farm's spelling of our account, learnt from a row that is certainly ours.
        state.learnt_account = row.admin_create.clone().or_else(|| state.learnt_account.take());
        state.unreported = true;
        Ok(row)
    }

    /// PUT of what differs; `row` is what it is to look like.
    pub async fn update(&self, row: ras::Broker, change: &BrokerChange) -> Result<(), ras::Error> {
        self.turn().await;
        let answer = self.client.update_broker(&self.token, row.id, change).await;
        self.written(answer, Unapplied::Updated)?;
        let mut state = self.farm.state.lock();
        state.put_row(row, self.farm.clock.now());
        state.unapplied.entry(self.broker.clone()).or_insert(Unapplied::Updated);
        Ok(())
    }

    /// GET by id; `None` where the farm answers that there is none.
    pub async fn get(&self, id: i64) -> Result<Option<ras::Broker>, ras::Error> {
        self.turn().await;
        let answer = self.client.get_broker(&self.token, id).await;
        match self.answered(answer) {
            Ok(row) => {
                self.farm.state.lock().put_row(row.clone(), self.farm.clock.now());
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
        {
            let mut state = self.farm.state.lock();
            state.sent_deletions.push(marked);
            // Before the answer: a list taken meanwhile must not see a stranger's mark in ours.
            state.own_deletes.insert(id);
            state.deletes_to_confirm = true;
            state.unapplied.insert(self.broker.clone(), Unapplied::Deleted);
        }
        self.turn().await;
        let answer = self.client.delete_broker(&self.token, id, removal).await;
        let answered = self.written(answer, Unapplied::Deleted);
        if answered.as_ref().is_err_and(|error| error.outcome() != Outcome::Unknown) {
            let mut state = self.farm.state.lock();
            state.own_deletes.remove(&id);
            state.unapplied.remove(&self.broker);
            if let Some(index) = state.sent_deletions.iter().position(|at| *at == marked) {
                state.sent_deletions.swap_remove(index);
            }
        }
        answered
    }

    /// A limit below what the step needs makes its later calls wait.
    async fn turn(&self) {
        let spend = |calls: usize| calls.checked_sub(1);
        if self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            self.farm.turn().await;
        }
    }

    /// An Apply is due after a write, unless the farm certainly did not do it.
    fn written<T>(&self, answer: Result<Answer<T>, ras::Error>, change: Unapplied) -> Result<T, ras::Error> {
        if answer.as_ref().is_err_and(ras::Error::is_forbidden) {
            // So answers a broker that is not the primary any more: only another logon shows which one is.
            self.farm.state.lock().session_expired = true;
        }
        let is_lost = answer.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown);
        if answer.is_ok() || is_lost {
            let now = self.farm.clock.now();
            let mut state = self.farm.state.lock();
            state.batch.touch(now.boot);
            if is_lost {
                state.expect_late_writes(now);
                state.unapplied.entry(self.broker.clone()).or_insert(change);
                state.unanswered.insert(self.broker.clone());
            }
        }
        self.answered(answer)
    }

    /// Takes over what every answer tells: the farm's clock, an expired session, a wish to be left alone.
    fn answered<T>(&self, answer: Result<Answer<T>, ras::Error>) -> Result<T, ras::Error> {
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
        let now = self.farm.clock.now();
        self.farm.state.lock().batch.end(now.boot);
        self.farm.changed.notify_one();
    }
}

//! The farm as brokers use it: look at it, ask something of it, and tell it what was seen.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::limiter::Take;
use super::state::FarmState;
use super::view::{FarmView, Unapplied};
use crate::clock::Clock;
use crate::crd::{RasFarm, finalizer};
use crate::kubernetes::ObjectKey;
use crate::leader::Authority;

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
    /// Once it is cancelled nothing begins any more, and what is on its way finishes.
    pub(super) stop: CancellationToken,
}

impl Farm {
    /// A farm of which only the object is known.
    pub(super) fn new(
        object: Arc<RasFarm>,
        unavailable_after: Duration,
        workers: Arc<Semaphore>,
        clock: Clock,
        authority: Authority,
        stop: CancellationToken,
    ) -> Self {
        Self {
            key: ObjectKey::of(object.as_ref()),
            uid: object.uid().unwrap_or_default(),
            state: Mutex::new(FarmState::new(object, unavailable_after, workers)),
            changed: Notify::new(),
            clock,
            authority,
            stop,
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
        let inherited = (state.ledger.inherited && !was_synced).then_some(Unapplied::Updated);
        state.ledger.of(broker).or(inherited)
    }

    /// The row with this id is this broker's, which is not known to be as it should. Where what an earlier process has
    /// sent has just arrived there, nobody has applied it.
    pub fn arrived(&self, broker: &ObjectKey, id: i64) {
        self.apply_if(|state| state.service.may_inherit() && state.ledger.arrived(broker, id));
    }

    /// An Apply is to follow where this finds that something is written and not applied.
    fn apply_if(&self, is_unapplied: impl FnOnce(&mut FarmState) -> bool) {
        {
            let mut state = self.state.lock();
            if !is_unapplied(&mut state) {
                return;
            }
            state.batch.touch(self.clock.now().boot);
        }
        self.changed.notify_one();
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

    /// A row shows that a POST of this broker has taken effect whose answer nobody heard, however late: an Apply is to
    /// commit it.
    pub fn found(&self, broker: &ObjectKey, id: i64) {
        self.apply_if(|state| state.ledger.found(broker, id));
    }

    /// Whether this process may act, which a leader that lost its Lease may not, nor one that is to stop.
    pub fn may_act(&self) -> bool {
        self.authority.may_act() && !self.stop.is_cancelled()
    }

    /// A broker that has nothing to do any more gives up its place in the queue: a batch must not be opened for it.
    pub fn withdraw(&self, broker: &ObjectKey) {
        self.state.lock().queue.leave(broker);
    }

    /// A broker whose object is gone waits for nothing any more, and those that waited for it look again.
    pub fn lose(&self, broker: &ObjectKey) {
        {
            let mut state = self.state.lock();
            state.queue.leave(broker);
            state.service.leave(broker);
            state.service.moved();
        }
        self.touch();
    }

    /// A broker waits for others of its site, since it looked at the farm as of `moves`.
    pub fn await_site(&self, broker: &ObjectKey, moves: u64) {
        self.state.lock().service.join(broker, moves);
        self.changed.notify_one();
    }

    /// Something happened that other brokers may wait for.
    pub fn move_sites(&self) {
        self.state.lock().service.moved();
        self.changed.notify_one();
    }

    /// Somebody asked to look again: what the farm was found to lack may be there by now.
    pub fn try_lacks_again(&self) {
        self.state.lock().try_lacks_again();
        self.changed.notify_one();
    }

    /// Waits until the farm's limit allows one more call, and keeps it for whoever waits.
    pub(super) async fn reserve(&self) {
        loop {
            let wait = {
                let limiter = &mut self.state.lock().limiter;
                let wait = limiter.wait(self.clock.now().boot);
                if wait.is_zero() {
                    return limiter.reserve(1);
                }
                wait
            };
            tokio::time::sleep(wait.clamp(SHORTEST, LONGEST)).await;
        }
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

//! Promotions, as far as the farm is concerned: when one may be sent, that nothing else is written until its outcome is
//! seen, and the one call itself.
//!
//! A promotion is a write like others where the session is on the primary: it needs an open batch, and in `Guarded` mode
//! nobody else's pending changes. Where it is not, the primary may be dead, which is what promotions are for: then
//! neither can be had, and what is not applied yet cannot be before there is another primary.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Pace};
use super::handle::Farm;
use super::permit::Permit;
use super::queue::Need;
use super::state::FarmState;
use super::view::{Hold, Promoting};
use crate::broker::plan::FRESH;
use crate::clock::Now;
use crate::crd::Capability;
use crate::crd::condition::Reason;
use crate::kubernetes::ObjectKey;
use crate::ras::{self, MyAccount, Outcome};

/// How long a request for a turn counts: whoever asks, asks again well before.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// Promotions of one farm.
#[derive(Debug, Default)]
pub(super) struct Promotions {
    /// The one whose outcome is not known yet, and when it will be at the latest.
    running: Option<(Promoting, Duration)>,
    /// When one last asked for its turn.
    asked: Option<Duration>,
    /// Whether one came to its end since everybody was told: who was held up by it meanwhile looks again.
    ended: bool,
}

impl Promotions {
    /// The one whose outcome is not known yet.
    pub(super) fn running(&self) -> Option<&Promoting> {
        self.running.as_ref().map(|(promoting, _)| promoting)
    }

    /// Whether one waits for its turn.
    pub(super) fn is_awaited(&self, now: Now) -> bool {
        self.running.is_none() && self.asked.is_some_and(|at| now.since(at) < ASKED_FOR)
    }

    /// The outcome of the one with this uid is known; whether that is news.
    pub(super) fn over(&mut self, uid: &str) -> bool {
        let over = self.running.take_if(|(promoting, _)| promoting.uid == uid).is_some();
        self.ended |= over;
        over
    }

    /// Whether one came to its end, told once. What it held back may have come and gone between two looks.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Forgets one that nobody has asked about for so long that it can have no effect any more, and tells when that is
    /// to be looked at again.
    pub(super) fn expire(&mut self, now: Now) -> Duration {
        self.ended |= self.running.take_if(|(_, until)| *until <= now.boot).is_some();
        self.running.as_ref().map_or(Duration::MAX, |(_, until)| until.saturating_sub(now.boot))
    }
}

impl FarmState {
    /// What keeps a promotion back.
    pub(super) fn promotion_hold(&self) -> Option<Hold> {
        let hold = self.suspended().or_else(|| self.promotion_running());
        if self.primary() == Some(false) { hold } else { hold.or_else(|| self.unapplied_hold()) }
    }

    /// While the outcome of a promotion is not known, nobody knows which broker is the one to write to.
    pub(super) fn promotion_running(&self) -> Option<Hold> {
        let Promoting { site, name, server, uid: _ } = self.promotions.running()?;
        Some(Hold::new(
            Reason::Progressing,
            format!(
                "RasBrokerPromotion {name:?} is making Connection Broker {server:?} the primary of site {site}: nothing \
                 else is written to the farm until its outcome is seen."
            ),
        ))
    }

    /// Whether a batch is to be opened for a promotion that waits.
    pub(super) fn wants_batch_for_promotion(&self, now: Now) -> bool {
        self.promotions.is_awaited(now) && self.promotion_hold().is_none()
    }

    /// Whether a promotion that was decided on the list of `listed_at` may be sent now.
    pub(super) fn admit_promotion(&mut self, promoting: Promoting, listed_at: Duration, now: Now) -> bool {
        self.promotions.asked = Some(now.boot);
        let usable = self.is_connected() && self.is_listed() && self.trouble.is_none();
        let decided_on_this = self.snapshot.listed_at == listed_at && now.since(listed_at) <= FRESH;
        // An installation may take a quarter of an hour, which a site without a primary does not have.
        let installs = self.batch.in_flight(Pace::Install) > 0 && self.primary() != Some(false);
        let idle = self.batch.in_flight(Pace::Ordinary) == 0 && !installs;
        let free = self.limiter.available(now.boot) > 0 && idle;
        let writable = self.takes_promotion(&self.batch) && self.promotion_hold().is_none();
        if !(usable && decided_on_this && free && writable) {
            return false;
        }
        self.limiter.reserve(1);
        self.batch.begin(Pace::Ordinary);
        self.promotions.asked = None;
        self.promotions.running = Some((promoting, now.boot + self.late_writes()));
        true
    }

    /// Where the primary may be dead, what was written before can only be applied after the promotion.
    fn takes_promotion(&self, batch: &Batch) -> bool {
        batch.is_open() && (!batch.is_dirty() || self.primary() == Some(false))
    }

    /// Takes over how the call went: unless the farm certainly did nothing, an Apply is due.
    fn take_promotion(&mut self, broker: &ObjectKey, id: i64, result: Result<(), &ras::Error>, now: Now) {
        let answer = result.map_err(ras::Error::status);
        self.unreported |= self.capabilities.note(Capability::Promote, answer);
        if result.is_ok() || result.is_err_and(may_be_promoted) {
            self.batch.touch(now.boot);
            self.list_asked = true;
            if let Some(row) = self.snapshot.row(id) {
                self.service.promoted(broker, row);
            }
        }
        // By design. After an answer that was lost it is left alone: a logoff might cut off what is still under way,
        // and if it is over, the next list is refused.
        self.session_expired |= result.is_ok();
    }
}

/// Whether the broker may have been made the primary although the call failed. A promotion ends the session, so that
/// 401 may be the answer to one that was done.
pub fn may_be_promoted(error: &ras::Error) -> bool {
    error.outcome() == Outcome::Unknown || error.is_unauthorized()
}

impl Farm {
    /// A permit for the one call of a promotion that was decided on the list of `listed_at`. From then on the farm knows
    /// that it runs. If there is none now, it is to be asked for again soon.
    pub fn admit_promotion(
        self: &Arc<Self>,
        broker: &ObjectKey,
        promoting: Promoting,
        listed_at: Duration,
    ) -> Option<Permit> {
        if !self.may_act() {
            return None;
        }
        let permit = {
            let mut state = self.state.lock();
            let admitted = state.admit_promotion(promoting, listed_at, self.clock.now());
            let need = Need { calls: 1, writes: true, fresh_list: true, pace: Pace::Ordinary };
            if admitted { self.permit(&state, broker, need, None) } else { None }
        };
        self.changed.notify_one();
        permit
    }

    /// A promotion may have been sent, by whomever: nothing else is written until [`Self::promotion_over`], or until it
    /// can have no effect any more.
    pub fn promotion_runs(&self, promoting: Promoting) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let until = now.boot + state.late_writes();
        state.promotions.running = Some((promoting, until));
        drop(state);
        self.changed.notify_one();
    }

    /// The outcome of the promotion with this uid is known, or it was not sent.
    pub fn promotion_over(&self, uid: &str) {
        let over = self.state.lock().promotions.over(uid);
        if over {
            self.changed.notify_one();
        }
    }
}

impl Permit {
    /// The promotion of the broker with this id. Exactly one request, over whichever session there is.
    pub async fn promote(&self, id: i64, account: &MyAccount) -> Result<(), ras::Error> {
        self.turn().await;
        let answer = self.client.promote_broker(&self.token, id, account).await;
        let result = answer.as_ref().map(|_| ());
        self.farm.state.lock().take_promotion(&self.broker, id, result, self.farm.clock.now());
        self.answered(answer)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::crd::RasFarm;
    use crate::farm::service::{Change, Kind, Service, Wait};

    fn refused(status: u16) -> ras::Error {
        let refusal = ras::Refusal { status, retry_after: None, code: None, detail: None };
        ras::Error::new(ras::Route::PromoteBroker, ras::ErrorKind::Status(refusal))
    }

    fn listed() -> FarmState {
        let spec = json!({
            "endpoint": "https://farm.example:20443", "credentialsSecretRef": {"name": "account"},
        });
        let farm = RasFarm::new("north", serde_json::from_value(spec).unwrap());
        let mut state = FarmState::new(Arc::new(farm), Duration::from_mins(5), Arc::new(Semaphore::new(1)));
        let row = |id, place| ras::Broker {
            id,
            server: format!("cb{id}"),
            site_id: 1,
            priority: Some(place),
            ..ras::Broker::default()
        };
        state.take_list(vec![row(1, 0), row(2, 1), row(3, 2)], Duration::from_secs(1), None);
        state
    }

    #[test]
    fn what_lowers_the_site_waits_for_the_apply_of_a_promotion_that_may_have_been_done() {
        let lowers = Change { site_id: 1, id: 1, kind: Kind::Update, to: Service::Off, insists: false };
        let expired = refused(401);
        for (result, waits) in [(Ok(()), true), (Err(&expired), true), (Err(&refused(400)), false)] {
            let mut state = listed();
            let now = Now { wall: Timestamp::UNIX_EPOCH, boot: Duration::from_secs(10) };
            state.take_promotion(&ObjectKey::new("ns", "cb2"), 2, result, now);
            let wait = state.service.changes().wait(&state.snapshot, &lowers);
            assert_eq!(wait, waits.then_some(Wait::Turn), "{result:?}");
        }
    }
}

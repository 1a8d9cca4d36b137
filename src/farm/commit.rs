//! The batch of own writes: opened so that nobody else's changes are applied with them, committed by one Apply.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::actor::Actor;
use super::batch::Pace;
use super::connect::{self, NotConnected};
use super::report;
use super::state::FarmState;
use crate::crd::condition::Reason;
use crate::crd::{ApplyMode, Capability, PendingApply, finalizer};
use crate::kubernetes::{self, CallError, MetadataChange};
use crate::metrics::ApplyOutcome;
use crate::ras::{self, Outcome};

/// How long after the first list that follows an Apply the second one confirms what is gone.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// A farm may carry an Apply out a little after it has answered it.
const AFTER_APPLY: Duration = Duration::from_secs(3);

impl Actor {
    /// Opens a batch: nobody deletes the farm from under it, nobody else's changes are applied with it, and that
    /// something is on its way is written down before the first write.
    pub(super) async fn open_batch(&self) {
        if let Err(error) = self.claim_farm().await {
            return self.kubernetes_failed(&error).await;
        }
        if !self.is_free_to_write().await {
            return;
        }
        let (before, is_told) = {
            let state = self.farm.state.lock();
            (state.ledger.pending.clone(), state.ledger.pending.is_some() && state.ledger.told)
        };
        let was_pending = before.is_some();
        if !is_told && let Err(error) = self.write_pending().await {
            self.farm.state.lock().ledger.pending = before;
            return self.kubernetes_failed(&error).await;
        }
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        // A broker may have been found meanwhile that is to be applied.
        let awaits_apply = was_pending || state.ledger.unapplied() > 0;
        state.batch.open(now.boot, awaits_apply);
    }

    /// Also where an earlier process has said so, this one says it anew before its first write: a late word of that one,
    /// that all is applied, is of an older version then, and takes nothing out.
    async fn write_pending(&self) -> Result<(), CallError> {
        let now = self.farm.clock.now();
        {
            let mut state = self.farm.state.lock();
            let known = i64::try_from(state.queue.len() + state.ledger.unapplied()).unwrap_or(i64::MAX);
            let before = state.ledger.pending.as_ref();
            // How many an earlier process has written for, only what it said of it tells.
            let brokers = before.map_or(known, |before| before.brokers.max(known));
            // Kubernetes keeps whole seconds: a fraction would look like a change for ever.
            let newer = before.map_or(i64::MIN, |before| before.since.0.as_second() + 1);
            let since = Timestamp::from_second(now.wall.as_second().max(newer)).unwrap_or(now.wall);
            state.ledger.pending = Some(PendingApply { since: Time(since), brokers });
        }
        self.must_write_status().await?;
        self.farm.state.lock().ledger.told = true;
        Ok(())
    }

    /// `in-use` stands on the farm before the first broker's finalizer.
    async fn claim_farm(&self) -> Result<(), CallError> {
        let object = self.object();
        if let Some(finalizers) = kubernetes::finalizers_with(object.as_ref(), finalizer::IN_USE, true) {
            let change = MetadataChange { finalizers: Some(finalizers), ..MetadataChange::default() };
            self.take_object(kubernetes::patch_metadata(&self.kubernetes, object.as_ref(), &change).await?);
        }
        Ok(())
    }

    /// Whether what is waited for shows only in a new logon. Not while writes are on their way, which it may not show.
    pub(super) fn needs_fresh_logon(&self) -> bool {
        let state = self.farm.state.lock();
        let waits = state.object.spec.apply.mode == ApplyMode::Manual || state.apply_trouble.is_some();
        state.batch.in_flight(Pace::Ordinary) == 0
            && (state.foreign.is_some() || (waits && state.ledger.pending.is_some()))
    }

    /// Whether a batch may begin: in `Guarded` mode not with changes of others that its Apply would commit.
    async fn is_free_to_write(&self) -> bool {
        let (guarded, tells) = {
            let state = self.farm.state.lock();
            // A batch on another broker than the primary is for a promotion, after which alone anything can be applied.
            let guarded = state.object.spec.apply.mode == ApplyMode::Guarded
                && state.ledger.pending.is_none()
                && state.primary() != Some(false);
            (guarded, state.tells_pending())
        };
        if !guarded {
            return true;
        }
        // Where logons tell nothing, a row that somebody marked for deletion still does, in a list of just now.
        if !tells && !self.list().await {
            return false;
        }
        self.look_for_foreign_changes().await
    }

    /// Logs on anew, which is the only way to see whether changes are pending; answers whether the way is free.
    pub(super) async fn look_for_foreign_changes(&self) -> bool {
        let tells = {
            let mut state = self.farm.state.lock();
            // What is answered from now on, this logon need not show.
            state.ledger.begin_round(self.farm.clock.now().boot);
            state.tells_pending()
        };
        if tells && !self.renewed().await {
            return false;
        }
        let (is_held, applied) = {
            let mut state = self.farm.state.lock();
            let pending = if tells { state.applies_pending() } else { None };
            let still = state.batch.in_flight(Pace::Ordinary) == 0;
            let applied = state.ledger.awaits_apply() && pending == Some(false) && still;
            let guarded =
                state.object.spec.apply.mode == ApplyMode::Guarded && state.ledger.pending.is_none();
            state.foreign = if guarded { report::foreign_changes(&state, pending) } else { None };
            (state.foreign.is_some(), applied)
        };
        if applied {
            self.everything_applied().await;
        }
        !is_held
    }

    async fn renewed(&self) -> bool {
        match connect::renew(self).await {
            Ok(()) => true,
            Err(NotConnected::Trouble(trouble)) => {
                let mut state = self.farm.state.lock();
                let is_spared =
                    trouble.hold.reason == Reason::AuthenticationFailed && state.trouble.is_none();
                if is_spared {
                    // The session is good still: what is read goes on, and only writes wait for the account.
                    state.unreported |= state.foreign.as_ref() != Some(&trouble.hold);
                    state.foreign = Some(trouble.hold);
                    return false;
                }
                drop(state);
                self.troubled(trouble);
                false
            }
            Err(NotConnected::Stopped) => false,
        }
    }

    /// Sends one Apply. The batch takes no write since it was decided.
    pub(super) async fn apply(&self) {
        let Some(link) = self.link() else { return };
        if !self.turn().await || !self.farm.may_act() {
            return;
        }
        let asked = self.farm.state.lock().apply_asked().map(str::to_owned);
        let answer = link.client.apply(&link.session.token).await;
        let now = self.farm.clock.now();
        let date = answer.as_ref().ok().and_then(|answer| answer.date);
        self.farm.state.lock().note(answer.as_ref().err(), date, now);
        self.metrics.applied(&self.name(), apply_outcome(answer.as_ref().err()));
        match answer {
            Ok(_) => {
                {
                    let mut state = self.farm.state.lock();
                    state.apply_handled = asked.or_else(|| state.apply_handled.take());
                    // Whatever was pending is committed; the next batch looks again.
                    state.foreign = None;
                    state.asked_apply_refused = None;
                }
                self.everything_applied().await;
                self.learn_whether_the_guard_works().await;
            }
            Err(error) => self.apply_failed(&error, asked),
        }
    }

    fn apply_failed(&self, error: &ras::Error, asked: Option<String>) {
        tracing::warn!(farm = %self.farm.key, reason = error.reason(), error = %error, "failed to apply the farm's settings");
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        let ours = state.ledger.pending.is_some();
        state.batch.apply_failed(now.boot, ours);
        // A session that ran out is renewed, and the Apply sent again: only if that fails too is it worth a word.
        if !error.is_unauthorized() || state.batch.failures() > 1 {
            let hold = report::apply_failed(&state.object, error, ours);
            if ours {
                state.apply_trouble = Some(hold);
            } else if asked.is_some() {
                state.asked_apply_refused = Some(hold.message);
            }
        }
        // One that a person asked for was sent once and is answered, whatever the answer: it commits others' work.
        if error.outcome() != Outcome::NotSent && !error.is_unauthorized() {
            state.apply_handled = asked.or_else(|| state.apply_handled.take());
        }
        if state.object.spec.apply.mode == ApplyMode::Manual {
            state.batch.leave_to_person();
        }
        state.unreported = true;
    }

    /// Everything written so far is committed: list at once, once more a second later where rows are to be gone,
    /// and read the agents, so that nobody waits for the next period.
    async fn everything_applied(&self) {
        let deletes = {
            let now = self.farm.clock.now();
            let mut state = self.farm.state.lock();
            // A write without an answer may still arrive: another Apply follows when it no longer can.
            let late = state.ledger.late_until();
            state.batch.applied(now.boot, late);
            if state.batch.is_closed() {
                state.ledger.pending = None;
            }
            state.capabilities.note(Capability::Apply, Ok(()));
            state.apply_trouble = None;
            state.site_settings.applied();
            state.unreported = true;
            // What is written from now on belongs to the next Apply.
            let deletes = state.ledger.applied(now.boot);
            let FarmState { service, ledger, .. } = &mut *state;
            service.applied(now.boot, late.is_none(), |broker| ledger.is_open(broker));
            deletes
        };
        if self.list().await && deletes {
            tokio::select! {
                biased;
                () = self.farm.stop.cancelled() => return,
                () = tokio::time::sleep(CONFIRMATION) => {}
            }
            self.list().await;
        }
        self.list_agents().await;
        self.settle();
    }

    /// Whose changes are applied and listed by now look again.
    pub(super) fn settle(&self) {
        let (settled, inherited) = {
            let mut state = self.farm.state.lock();
            let listed_at = state.snapshot.listed_at;
            state.ledger.settle(listed_at)
        };
        if inherited { self.wake_all() } else { self.wake_brokers(settled.into_keys()) }
    }

    /// A farm whose logon still shows pending changes after an Apply cannot be guarded. What was found to work is
    /// not looked at again; what was not may have been a person's edit in that moment, and is.
    async fn learn_whether_the_guard_works(&self) {
        let first_time = {
            let state = self.farm.state.lock();
            let unproven =
                state.object.spec.apply.mode == ApplyMode::Guarded && state.guard_works != Some(true);
            if !unproven || !state.batch.is_closed() {
                return;
            }
            state.guard_works.is_none()
        };
        let mut works = self.shows_nothing_pending().await;
        if works == Some(false) && first_time {
            tokio::select! {
                biased;
                () = self.farm.stop.cancelled() => return,
                () = tokio::time::sleep(AFTER_APPLY) => {}
            }
            works = self.shows_nothing_pending().await;
        }
        let mut state = self.farm.state.lock();
        state.guard_works = works.or(state.guard_works);
        state.unreported = true;
    }

    /// What a new logon says; `None` where there is no telling now.
    async fn shows_nothing_pending(&self) -> Option<bool> {
        let tells = self.farm.state.lock().applies_pending().is_some();
        if !tells {
            return Some(false);
        }
        connect::renew(self).await.ok()?;
        Some(self.farm.state.lock().applies_pending() == Some(false))
    }
}

fn apply_outcome(error: Option<&ras::Error>) -> ApplyOutcome {
    match error.map(ras::Error::outcome) {
        None => ApplyOutcome::Success,
        Some(Outcome::Refused) => ApplyOutcome::Refused,
        Some(Outcome::Unknown) => ApplyOutcome::Unknown,
        Some(Outcome::NotSent) => ApplyOutcome::NotSent,
    }
}

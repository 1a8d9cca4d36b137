//! Looking at the farm: log on, list, and what a look that failed means.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::batch::Pace;
use super::connect::{self, NotConnected};
use super::settings::{self, Account};
use super::sites::SiteChoice;
use super::state::Trouble;
use super::view::Hold;
use crate::broker::observe::{has_finalizer, may_be_installing};
use crate::crd::condition::Reason;
use crate::crd::{RasBroker, RasFarm};
use crate::events::{Event, Kind};
use crate::ras::{self, AuthToken, Client, Outcome};

impl Actor {
    /// Logs on with what the object and its Secret say now, and takes the first list. What the object says otherwise by
    /// then asks for another logon.
    pub(super) async fn connect(&self) {
        let object = self.object();
        match connect::connect(self, &object).await {
            Ok((link, sites)) => {
                let has_other_sites = {
                    let mut state = self.farm.state.lock();
                    let has_others = state.sites != sites;
                    state.take_link(link, sites);
                    state.compare_connection(&object);
                    has_others
                };
                self.list_all().await;
                if has_other_sites {
                    // Where they could not be read before, nothing else tells those that name one.
                    self.wake_all();
                }
            }
            Err(NotConnected::Trouble(trouble)) => {
                self.troubled(trouble);
                self.farm.state.lock().compare_connection(&object);
            }
            Err(NotConnected::Stopped) => {}
        }
    }

    /// The farm's account. While brokers depend on the farm, an account that worked is kept when its Secret goes
    /// first, as it may where a namespace is deleted.
    pub(super) async fn account(&self, object: &RasFarm) -> Result<Account, Hold> {
        let missing = match settings::account(&self.kubernetes, object).await {
            Ok(account) => {
                self.farm.state.lock().secret_trouble = None;
                return Ok(account);
            }
            Err(hold) => hold,
        };
        let known = self.link().filter(|link| link.secret_name == object.spec.credentials_secret_ref.name);
        let needed = self.brokers.of_farm(&self.farm.key).iter().any(|broker| has_finalizer(broker));
        match known.filter(|_| needed) {
            Some(link) => {
                self.note_secret(Some(missing));
                Ok(Account { credentials: link.credentials, version: link.secret_version })
            }
            None => Err(missing),
        }
    }

    /// Once per period: the Secret, brokers and agents, whatever the number of brokers.
    pub(super) async fn poll(&self) {
        if self.must_connect_anew().await {
            self.farm.state.lock().session_expired = true;
            return;
        }
        if self.list_all().await && self.needs_fresh_logon() {
            self.look_for_foreign_changes().await;
        }
    }

    /// Whether the Secret changed, or the session is on a broker that was not the primary at its logon.
    async fn must_connect_anew(&self) -> bool {
        let known = self.farm.state.lock().link.as_ref().map(|link| link.secret_version.clone());
        match settings::account(&self.kubernetes, &self.object()).await {
            Ok(account) if Some(&account.version) != known.as_ref() => return true,
            Ok(_) => self.note_secret(None),
            // The session still works; what is missing is said, and costs nothing until the next logon.
            Err(hold) => self.note_secret(Some(hold)),
        }
        let state = self.farm.state.lock();
        state.primary() == Some(false) && state.trouble.is_none()
    }

    fn note_secret(&self, trouble: Option<Hold>) {
        let mut state = self.farm.state.lock();
        if state.secret_trouble == trouble {
            return;
        }
        if let Some(hold) = &trouble {
            tracing::warn!(farm = %self.farm.key, why = hold.message, "the farm's Secret cannot be used");
        }
        state.secret_trouble = trouble;
        state.unreported = true;
    }

    /// Brokers, agents, and sites where a broker is in one that is not known; whether it worked.
    async fn list_all(&self) -> bool {
        let (was_troubled, was_listed) = {
            let state = self.farm.state.lock();
            (state.trouble.is_some(), state.is_listed())
        };
        if !self.list().await {
            return false;
        }
        self.list_agents().await;
        self.list_new_sites().await;
        // Where the list right after an Apply failed, this is the first that shows what it brought.
        self.settle();
        let now = self.farm.clock.now();
        {
            let mut state = self.farm.state.lock();
            state.polled_at = Some(now.boot);
            self.metrics.farm_succeeded(&self.name(), now.wall.as_second());
            let asked = state.reconcile_asked().map(str::to_owned);
            let wanted = state.wanted_settings();
            state.site_settings.reread(&wanted);
            if asked.is_some() {
                state.unreported = true;
                state.site_settings.try_again();
                state.try_lacks_again();
            }
            state.reconcile_handled = asked.or_else(|| state.reconcile_handled.take());
        }
        if was_troubled || !was_listed {
            self.usable_again();
        }
        true
    }

    /// Lists the brokers, and answers whether that worked; if not, it has been taken care of.
    pub(super) async fn list(&self) -> bool {
        let Some(link) = self.link() else { return false };
        if !self.turn().await {
            return false;
        }
        let asked = self.farm.clock.now();
        let call = link.client.list_brokers(&link.session.token);
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            () = self.farm.stop.cancelled() => return false,
        };
        let now = self.farm.clock.now();
        match answer {
            Ok(answer) if answer.value.is_empty() => {
                let text = "The farm lists no broker at all, and every farm has at least its primary: nothing is \
                            concluded from that. Check that the RAS account may view the brokers of its sites.";
                let hold = Hold::new(Reason::FarmUnreachable, text);
                let trouble = connect::back_off(&mut self.farm.state.lock(), hold, Duration::default(), now);
                self.troubled(trouble);
                false
            }
            Ok(answer) => {
                let (was_empty, changed) = {
                    let mut state = self.farm.state.lock();
                    // The last row of a list that was short may have been found gone by id: all wait since.
                    let was_empty = state.is_listed() && state.snapshot.is_empty();
                    state.note(None, answer.date, now);
                    state.breaker.record_success();
                    state.refusals = 0;
                    state.trouble = None;
                    (was_empty, state.take_list(answer.value, asked.boot, answer.date))
                };
                if was_empty {
                    self.wake_all();
                } else {
                    self.wake_changed(&changed);
                }
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Sites are read at logon, and again when a broker is in one that is not known, when a spec names one that is not
    /// found, and on request: they change about as often as farms are built.
    async fn list_new_sites(&self) {
        let named = self.names_unknown_site();
        let (unknown, link) = {
            let state = self.farm.state.lock();
            let known: BTreeSet<i64> = state.sites.iter().map(|site| site.id).collect();
            let used = state.snapshot.rows().map(|row| row.site_id);
            let unknown: BTreeSet<i64> = used.filter(|id| !known.contains(id)).collect();
            let asked = state.reconcile_asked().is_some();
            if unknown.is_subset(&state.unknown_sites) && !named && !asked {
                return;
            }
            (unknown, state.link.clone())
        };
        let Some(link) = link else { return };
        let Some(sites) = self.sites(&link.client, &link.session.token).await else { return };
        {
            let mut state = self.farm.state.lock();
            state.unknown_sites = unknown;
            if state.sites == sites {
                return;
            }
            state.sites = sites;
            state.unreported = true;
        }
        self.wake_all();
    }

    /// Whether the farm's object, or a broker whose site is not settled, names a site that is not found.
    fn names_unknown_site(&self) -> bool {
        let (sites, of_farm) = {
            let state = self.farm.state.lock();
            (state.named_sites(), state.names_unknown_site())
        };
        let unknown = |broker: &Arc<RasBroker>| {
            let choice = SiteChoice::of(broker.spec.site_id, broker.spec.site_name.as_deref());
            let is_settled = broker.status.as_ref().is_some_and(|status| status.site_id.is_some());
            !is_settled && choice.is_some_and(|choice| choice.resolve(&sites).is_err())
        };
        of_farm || self.brokers.of_farm(&self.farm.key).iter().any(unknown)
    }

    /// The farm's sites, where they can be read.
    pub(super) async fn sites(&self, client: &Client, token: &AuthToken) -> Option<Vec<ras::Site>> {
        match self.read(client.list_sites(token)).await? {
            Ok(answer) => Some(answer.value),
            Err(error) => {
                self.farm.state.lock().note_limit(&error, self.farm.clock.now());
                tracing::debug!(farm = %self.farm.key, reason = error.reason(), "the farm's sites cannot be listed");
                None
            }
        }
    }

    /// The farm is usable (again) once its brokers and agents are listed.
    fn usable_again(&self) {
        let now = self.farm.clock.now();
        let brokers = self.brokers.of_farm(&self.farm.key);
        let installs = brokers.iter().any(|broker| may_be_installing(broker));
        let pace = if installs { Pace::Install } else { Pace::Ordinary };
        let was_open;
        {
            let mut state = self.farm.state.lock();
            state.down_since = None;
            state.overdue_told = false;
            was_open = std::mem::take(&mut state.circuit_told);
            if state.ledger.pending.is_some() && state.batch.is_closed() {
                // Written before a restart and not applied yet: it is ours, and something may still be on its way.
                state.expect_late_writes(now, pace);
                state.expect_late_moves(now);
            }
            state.unreported = true;
        }
        if was_open {
            self.events.publish(
                self.object().as_ref(),
                &Event::normal(Kind::CircuitClosed, "The farm can be used again."),
            );
        }
        self.wake_all();
    }

    /// What a failed read of the farm means.
    fn failed(&self, error: &ras::Error) {
        let now = self.farm.clock.now();
        let trouble = {
            let mut state = self.farm.state.lock();
            state.note(Some(error), None, now);
            // The session ran out: one logon, and only if its session is refused too is that trouble.
            state.refusals = if error.is_unauthorized() { state.refusals.saturating_add(1) } else { 0 };
            if state.refusals == 1 {
                return;
            }
            // Not reached at all: its address, certificate or authority may have changed, or another endpoint helps.
            let elsewhere = !state.object.spec.fallback_endpoints.is_empty();
            state.session_expired |= match error.outcome() {
                Outcome::NotSent => true,
                Outcome::Unknown => elsewhere,
                Outcome::Refused => false,
            };
            connect::trouble_of(&mut state, error, now)
        };
        self.troubled(trouble);
    }

    /// The farm cannot be used: it is told once, on the farm.
    pub(super) fn troubled(&self, trouble: Trouble) {
        let now = self.farm.clock.now();
        let hold = trouble.hold.clone();
        let (is_news, opened) = {
            let mut state = self.farm.state.lock();
            state.down_since.get_or_insert(now.boot);
            let news = state.trouble.as_ref().is_none_or(|old| old.hold != hold);
            state.unreported |= news;
            state.trouble = Some(trouble);
            state.starting_over = false;
            let opened =
                state.breaker.is_open() && hold.reason == Reason::FarmUnreachable && !state.circuit_told;
            state.circuit_told |= opened;
            state.unreported |= opened;
            (news, opened)
        };
        if opened {
            let note = "The farm did not answer several times in a row: it is probed with growing pauses.";
            self.events.publish(self.object().as_ref(), &Event::warning(Kind::CircuitOpened, note));
        }
        if is_news {
            tracing::warn!(farm = %self.farm.key, reason = hold.reason.as_str(), why = hold.message, "the farm cannot be used");
            let event = Event::warning(Kind::CannotConnectToFarm, &hold.message);
            self.events.publish(self.object().as_ref(), &event);
            // Brokers decide for themselves whether this is worth a word.
            self.wake_all();
        }
    }
}

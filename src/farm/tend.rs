//! Settings of sites that the farm's object keeps: one call at a time, as `site_settings` decides.

use super::actor::Actor;
use super::batch::Pace;
use super::site_report;
use super::site_settings::{self, Settings, Wanted, wanted_of};
use super::state::FarmState;
use crate::clock::Now;
use crate::crd::Capability;
use crate::events::{Event, Kind};
use crate::ras::{self, Outcome};

impl FarmState {
    /// What the object wants of its farm's sites.
    pub(super) fn wanted_settings(&self) -> Wanted {
        let entries = &self.object.spec.sites;
        if entries.is_empty() { Wanted::default() } else { wanted_of(entries, &self.named_sites()) }
    }

    pub(super) fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    /// The next site whose settings are to be read. A farm that lacks the call is not asked again.
    pub(super) fn settings_to_read(&self) -> Option<i64> {
        if self.object.spec.sites.is_empty() || self.capabilities.lacks(Capability::PromotionSettings) {
            return None;
        }
        self.site_settings.to_read(&self.wanted_settings())
    }

    /// The next site whose settings are to be written, and what with.
    pub(super) fn settings_to_write(&self, now: Now) -> Option<(i64, Settings)> {
        let rests = self.object.spec.sites.is_empty()
            || self.capabilities.lacks(Capability::PromotionSettings)
            || self.object.metadata.deletion_timestamp.is_some();
        if rests {
            return None;
        }
        let due = self.site_settings.to_write(&self.wanted_settings(), self.generation(), now)?;
        self.hold().is_none().then_some(due)
    }
}

impl Actor {
    /// Reads the settings of one site.
    pub(super) async fn read_settings(&self) {
        let Some(link) = self.link() else { return };
        let Some(site) = self.farm.state.lock().settings_to_read() else { return };
        let call = link.client.get_promotion_settings(&link.session.token, site);
        let Some(answer) = self.read(call).await else { return };
        let now = self.farm.clock.now();
        let drifted = {
            let mut state = self.farm.state.lock();
            state.unreported = true;
            match answer {
                Ok(answer) => {
                    state.note(None, answer.date, now);
                    state.capabilities.note(Capability::PromotionSettings, Ok(()));
                    let wanted = state.wanted_settings().of_site.remove(&site).unwrap_or_default();
                    let is_news = state.site_settings.take_shown(site, &wanted, &answer.value, now.wall);
                    is_news.then(|| site_report::drift_of_site(&state, site, &wanted))
                }
                Err(error) => {
                    self.settings_unreadable(&mut state, site, &error, now);
                    None
                }
            }
        };
        if let Some(note) = drifted {
            self.events.publish(self.object().as_ref(), &Event::warning(Kind::DriftDetected, note));
        }
    }

    /// No reason to log on anew, whatever the status: an expired session shows in the next list, and an account that
    /// may not read this would only be logged on for ever.
    fn settings_unreadable(&self, state: &mut FarmState, site: i64, error: &ras::Error, now: Now) {
        tracing::debug!(farm = %self.farm.key, site, reason = error.reason(), "the settings of a site cannot be read");
        state.note_limit(error, now);
        // Where the farm has shown another site's, it has the call.
        if !state.site_settings.any_read() {
            state.capabilities.note(Capability::PromotionSettings, Err(error.status()));
        }
        let hold = site_report::unreadable(state, site, error);
        state.site_settings.take_unreadable(site, hold);
    }

    /// Writes the settings of one site, as a part of the open batch.
    pub(super) async fn write_settings(&self) {
        let Some(link) = self.link() else { return };
        if !self.turn().await || !self.farm.may_act() {
            return;
        }
        let Some((site, settings, generation)) = self.begin_settings() else { return };
        let change = site_settings::change(&settings);
        let answer = link.client.update_promotion_settings(&link.session.token, site, &change).await;
        let now = self.farm.clock.now();
        let told = {
            let mut state = self.farm.state.lock();
            state.unreported = true;
            let told = match answer {
                Ok(answer) => {
                    state.note(None, answer.date, now);
                    state.batch.touch(now.boot);
                    let note = site_report::changed(&state, site, &settings);
                    let undoes = state.site_settings.take_written(site, settings, generation);
                    Some((if undoes { Kind::DriftCorrected } else { Kind::UpdatedExternalResource }, note))
                }
                Err(error) => {
                    self.settings_refused(&mut state, (site, settings, generation), &error, now);
                    None
                }
            };
            state.batch.end(now.boot, Pace::Ordinary);
            told
        };
        if let Some((kind, note)) = told {
            self.events.publish(self.object().as_ref(), &Event::normal(kind, note));
        }
    }

    /// What is written is decided once more when the call may go: the wait for it may have been a long one.
    fn begin_settings(&self) -> Option<(i64, Settings, i64)> {
        let now = self.farm.clock.now();
        let mut state = self.farm.state.lock();
        let mode = state.object.spec.apply.mode;
        let (site, settings) = state.settings_to_write(now).filter(|_| state.batch.admits(now.boot, mode))?;
        state.batch.begin(Pace::Ordinary);
        Some((site, settings, state.generation()))
    }

    fn settings_refused(
        &self,
        state: &mut FarmState,
        (site, settings, generation): (i64, Settings, i64),
        error: &ras::Error,
        now: Now,
    ) {
        tracing::warn!(farm = %self.farm.key, site, reason = error.reason(), "failed to write the settings of a site");
        state.note_limit(error, now);
        state.capabilities.note(Capability::PromotionSettings, Err(error.status()));
        let hold = site_report::refused(state, site, &settings, error);
        if error.outcome() == Outcome::Unknown {
            state.batch.touch(now.boot);
            state.expect_late_writes(now, Pace::Ordinary);
            state.site_settings.take_unanswered(site, settings, hold, generation, now);
        } else {
            state.site_settings.take_refused(site, hold, generation, now);
        }
    }
}

//! How a site's brokers are promoted automatically: the call for it, and what a person at the console does.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calls::{boolean, int32};
use super::farm::FarmHandle;
use super::person::EditRefused;
use super::refusal::Refusal;
use super::state::{FarmState, Site};
use super::switches::PromotionSettings;
use super::wire::{Reply, Request, malformed};

/// The shortest and the longest delay, in minutes (administrator's guide).
const DELAYS: std::ops::RangeInclusive<i64> = 15..=72 * 60;

/// How RAS promotes brokers of a site by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoPromotion {
    /// Whether it does at all.
    pub enabled: bool,
    /// For how many minutes the primary must have been away.
    pub after_minutes: i64,
    /// Whether the former primary becomes the primary again.
    pub failback: bool,
}

impl Default for AutoPromotion {
    /// As RAS comes: off, and 30 minutes.
    fn default() -> Self {
        Self { enabled: false, after_minutes: 30, failback: false }
    }
}

impl FarmState {
    fn site(&self, id: i64) -> Result<&Site, Refusal> {
        self.sites.iter().find(|site| site.id == id).ok_or(Refusal::NoSuchSite)
    }

    fn site_mut(&mut self, id: i64) -> Result<&mut Site, Refusal> {
        self.sites.iter_mut().find(|site| site.id == id).ok_or(Refusal::NoSuchSite)
    }

    pub(super) fn handle_promotion_settings(&self, id: i64) -> Result<Reply, Refusal> {
        let Site { auto_promotion, .. } = self.site(id)?;
        let AutoPromotion { enabled, after_minutes, failback } = *auto_promotion;
        let [on, after, back] = self.promotion_names();
        Ok(Reply::json(
            200,
            &json!({
                "siteId": self.integer(id),
                on: enabled,
                after: self.integer(after_minutes),
                back: failback,
            }),
        ))
    }

    pub(super) fn handle_update_promotion_settings(
        &mut self,
        id: i64,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let names = self.promotion_names();
        let body = request.object(&names, self.is_strict())?;
        let [on, after, back] = names;
        let now = self.site(id)?.auto_promotion;
        let wanted = AutoPromotion {
            enabled: boolean(&body, on)?.unwrap_or(now.enabled),
            after_minutes: int32(&body, after)?.unwrap_or(now.after_minutes),
            failback: boolean(&body, back)?.unwrap_or(now.failback),
        };
        if !DELAYS.contains(&wanted.after_minutes) {
            return Err(malformed(after));
        }
        self.set_auto_promotion(id, wanted)?;
        Ok(Reply::empty(204))
    }

    fn promotion_names(&self) -> [&'static str; 3] {
        match self.switches.promotion_settings {
            PromotionSettings::Absent | PromotionSettings::Present => ["enabled", "afterMinutes", "failback"],
            PromotionSettings::OtherNames => ["autoPromotion", "promotionTime", "autoFailback"],
        }
    }

    fn set_auto_promotion(&mut self, id: i64, wanted: AutoPromotion) -> Result<(), Refusal> {
        self.site_mut(id)?.auto_promotion = wanted;
        self.changed();
        Ok(())
    }
}

/// What is seen and done at the console.
impl FarmHandle {
    /// How a site's brokers are promoted automatically.
    pub fn auto_promotion(&self, site: i64) -> Option<AutoPromotion> {
        let state = self.0.lock();
        state.site(site).ok().map(|site| site.auto_promotion)
    }

    /// Changes that; it waits for an Apply, as a request's change does.
    pub fn set_auto_promotion(&self, site: i64, wanted: AutoPromotion) -> Result<(), EditRefused> {
        self.as_person("", |state, _author| state.set_auto_promotion(site, wanted))
    }

    /// Adds a site with its primary broker and gives the site's id.
    pub fn add_site(&self, name: &str, server: &str) -> Result<i64, EditRefused> {
        self.as_person("", |state, author| state.create_site(name, server, author))
    }

    /// Gives a site another name, also one that another site has.
    pub fn rename_site(&self, site: i64, name: &str) -> Result<(), EditRefused> {
        self.as_person("", |state, _author| {
            name.clone_into(&mut state.site_mut(site)?.name);
            state.changed();
            Ok(())
        })
    }
}

/// The settings that a body of the control interface gives.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SiteEdit {
    pub(super) name: Option<String>,
    pub(super) auto_promotion: Option<AutoPromotion>,
}

impl SiteEdit {
    pub(super) fn apply_to(self, farm: &FarmHandle, site: i64) -> Result<(), EditRefused> {
        let Self { name, auto_promotion } = self;
        if let Some(name) = name {
            farm.rename_site(site, &name)?;
        }
        auto_promotion.map_or(Ok(()), |wanted| farm.set_auto_promotion(site, wanted))
    }
}

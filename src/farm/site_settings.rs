//! The settings of a farm's sites that its object keeps: what is wanted, what the farm shows, and what follows from
//! the two. Pure; [`super::tend`] makes the calls, [`super::site_report`] tells of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sites::{NamedSite, NoSite, SiteChoice};
use super::view::Hold;
use crate::clock::Now;
use crate::crd::{self, AutoPromotion, Drift, ObservedAutoPromotion, SiteStatus};
use crate::ras::PromotionSettings;

/// First and longest pause before a write that was refused is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(5));

/// A setting of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    Enabled,
    After,
    Failback,
}

impl Setting {
    /// Its name below an entry of `spec.sites`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "autoPromotion.enabled",
            Self::After => "autoPromotion.after",
            Self::Failback => "autoPromotion.failback",
        }
    }
}

/// A setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    Minutes(i64),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Minutes(minutes) => formatter.write_str(&length(*minutes)),
        }
    }
}

/// The settings that are set, or shown.
pub(super) type Settings = BTreeMap<Setting, Value>;

/// As a manifest writes it; a number that is no length of time is shown as it is.
fn length(minutes: i64) -> String {
    match u64::try_from(minutes) {
        Ok(minutes) => crd::Duration::from_secs(minutes.saturating_mul(60)).to_string(),
        Err(_negative) => format!("{minutes}m"),
    }
}

fn settings(enabled: Option<bool>, after: Option<i64>, failback: Option<bool>) -> Settings {
    let all = [
        (Setting::Enabled, enabled.map(Value::Flag)),
        (Setting::After, after.map(Value::Minutes)),
        (Setting::Failback, failback.map(Value::Flag)),
    ];
    all.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect()
}

/// What a spec sets.
fn wanted(spec: &AutoPromotion) -> Settings {
    let AutoPromotion { enabled, after, failback } = spec;
    let minutes = after.map(|after| i64::try_from(after.get().as_secs() / 60).unwrap_or(i64::MAX));
    settings(*enabled, minutes, *failback)
}

/// What an answer shows.
fn shown(answer: &PromotionSettings) -> Settings {
    let PromotionSettings { enabled, after_minutes, failback } = answer;
    settings(*enabled, *after_minutes, *failback)
}

/// What an earlier status shows.
fn remembered(status: &ObservedAutoPromotion) -> Settings {
    let ObservedAutoPromotion { enabled, after, failback } = status;
    let length = after.as_deref().and_then(|text| text.parse::<crd::Duration>().ok());
    let minutes = length.and_then(|length| i64::try_from(length.get().as_secs() / 60).ok());
    settings(*enabled, minutes, *failback)
}

fn flag(settings: &Settings, setting: Setting) -> Option<bool> {
    match settings.get(&setting) {
        Some(Value::Flag(flag)) => Some(*flag),
        Some(Value::Minutes(_)) | None => None,
    }
}

fn minutes(settings: &Settings) -> Option<i64> {
    match settings.get(&Setting::After) {
        Some(Value::Minutes(minutes)) => Some(*minutes),
        Some(Value::Flag(_)) | None => None,
    }
}

/// The request that sends these settings and no others.
pub(super) fn change(settings: &Settings) -> PromotionSettings {
    PromotionSettings {
        enabled: flag(settings, Setting::Enabled),
        after_minutes: minutes(settings),
        failback: flag(settings, Setting::Failback),
    }
}

/// What `spec.sites` comes to, with the sites that the farm has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By site; only sites of which something is set.
    pub(super) of_site: BTreeMap<i64, Settings>,
    /// Entries that name no site.
    pub(super) lost: Vec<NoSite>,
    /// Sites that two entries name.
    pub(super) twice: Vec<i64>,
}

/// Resolves the entries of `spec.sites`. Of two that mean one site neither counts: they may contradict each other.
pub(super) fn wanted_of(entries: &[crd::SiteSettings], sites: &[NamedSite]) -> Wanted {
    let mut found = Wanted::default();
    for entry in entries {
        let crd::SiteSettings { id, name, auto_promotion } = entry;
        let Some(choice) = SiteChoice::of(*id, name.as_deref()) else { continue };
        match choice.resolve(sites) {
            Ok(site) if found.of_site.insert(site, wanted(auto_promotion)).is_some() => {
                found.twice.push(site);
            }
            Ok(_) => {}
            Err(why) => found.lost.push(why),
        }
    }
    found.of_site.retain(|site, settings| !settings.is_empty() && !found.twice.contains(site));
    found
}

/// A change that was sent and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    /// The generation that wanted it.
    generation: i64,
    settings: Settings,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// No answer came: where the farm shows it, it waits for an Apply; where it does not, it may be sent again.
    Unanswered,
    /// It waits for its Apply.
    Written,
    /// It was applied; the next answer shows what came of it.
    Applied,
    /// What the farm showed then.
    Settled(Settings),
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    generation: i64,
    hold: Hold,
    retry_at: Duration,
    count: u32,
}

/// What is known of one site's settings.
#[derive(Clone, Debug, Default)]
struct Known {
    /// What the farm last showed, perhaps to an earlier process.
    shown: Option<Settings>,
    /// Whether this process has read it, or tried to, since it had to.
    is_read: bool,
    /// Why it could not be read.
    unreadable: Option<Hold>,
    sent: Option<Sent>,
    refused: Option<Failure>,
    drift: Vec<Drift>,
}

/// What is to be made of one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// May be sent.
    pub(super) send: Settings,
    /// Were sent, and wait for their Apply or for what it brings.
    pub(super) unapplied: Settings,
    /// Were sent, answered and applied, and still differ.
    pub(super) ignored: Settings,
    /// Are not in the farm's answer, and so are never sent.
    pub(super) unshown: Settings,
}

/// What this process knows of the settings that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteSettings {
    sites: BTreeMap<i64, Known>,
}

impl SiteSettings {
    /// Goes on from what the last status shows.
    pub(super) fn new(sites: &[SiteStatus]) -> Self {
        let known = sites.iter().map(|site| {
            let shown = site.auto_promotion.as_ref().map(remembered);
            (site.id, Known { shown, drift: site.drift.clone(), ..Known::default() })
        });
        Self { sites: known.collect() }
    }

    /// All settings are to be read again. What is neither kept nor on its way any more is forgotten: a farm may number its
    /// sites anew as often as it likes.
    pub(super) fn reread(&mut self, wanted: &Wanted) {
        let is_on_its_way = |sent: &Sent| matches!(sent.phase, Phase::Written | Phase::Unanswered);
        self.sites.retain(|site, known| {
            wanted.of_site.contains_key(site) || known.sent.as_ref().is_some_and(is_on_its_way)
        });
        for known in self.sites.values_mut() {
            known.is_read = false;
        }
    }

    /// A person asks for another try of what was refused or ignored.
    pub(super) fn try_again(&mut self) {
        for known in self.sites.values_mut() {
            known.refused = None;
            known.sent.take_if(|sent| matches!(sent.phase, Phase::Settled(_)));
        }
    }

    /// Everything written so far is committed: what came of it is read at once.
    pub(super) fn applied(&mut self) {
        for known in self.sites.values_mut() {
            let written = known.sent.take_if(|sent| matches!(sent.phase, Phase::Written | Phase::Unanswered));
            let Some(sent) = written else { continue };
            known.is_read = false;
            if sent.phase == Phase::Written {
                known.sent = Some(Sent { phase: Phase::Applied, ..sent });
            }
        }
    }

    /// The first of these sites that is to be read.
    pub(super) fn to_read(&self, wanted: &Wanted) -> Option<i64> {
        let is_read = |site: &&i64| self.sites.get(site).is_some_and(|known| known.is_read);
        wanted.of_site.keys().find(|site| !is_read(site)).copied()
    }

    /// Whether this process has read the settings of any site.
    pub(super) fn any_read(&self) -> bool {
        self.sites.values().any(|known| known.is_read && known.unreadable.is_none())
    }

    /// The first of these sites that is to be written now, and what with.
    pub(super) fn to_write(&self, wanted: &Wanted, generation: i64, now: Now) -> Option<(i64, Settings)> {
        let due = |(site, wanted): (&i64, &Settings)| {
            let known = self.sites.get(site)?;
            let waits = known
                .refused
                .as_ref()
                .is_some_and(|failure| failure.generation == generation && failure.retry_at > now.boot);
            let send = self.differences(*site, wanted, generation).send;
            (known.is_read && known.unreadable.is_none() && !waits && !send.is_empty())
                .then_some((*site, send))
        };
        wanted.of_site.iter().find_map(due)
    }

    /// When a refused write is tried again, if one waits for that.
    pub(super) fn retry_in(&self, now: Now) -> Duration {
        let refused = self.sites.values().filter_map(|known| known.refused.as_ref());
        let waits = refused.map(|failure| failure.retry_at.saturating_sub(now.boot));
        waits.filter(|wait| !wait.is_zero()).min().unwrap_or(Duration::MAX)
    }

    /// Sorts what differs by what may be done about it.
    pub(super) fn differences(&self, site: i64, wanted: &Settings, generation: i64) -> Differences {
        let mut sorted = Differences::default();
        let Some(known) = self.sites.get(&site) else { return sorted };
        let Some(shown) = &known.shown else { return sorted };
        for (setting, value) in wanted {
            let same = known.sent.as_ref().filter(|sent| sent.settings.get(setting) == Some(value));
            // What is on its way is so whoever wanted it; what was ignored is tried again for another spec.
            let sent =
                same.filter(|sent| sent.generation == generation || !matches!(sent.phase, Phase::Settled(_)));
            let group = match (shown.get(setting), sent.map(|sent| &sent.phase)) {
                (None, _) => &mut sorted.unshown,
                (_, Some(Phase::Written | Phase::Applied)) => &mut sorted.unapplied,
                (Some(seen), Some(Phase::Unanswered)) if seen == value => &mut sorted.unapplied,
                (Some(seen), _) if seen == value => continue,
                (seen, Some(Phase::Settled(settled))) if settled.get(setting) == seen => &mut sorted.ignored,
                (Some(_), Some(Phase::Settled(_) | Phase::Unanswered) | None) => &mut sorted.send,
            };
            group.insert(*setting, *value);
        }
        sorted
    }

    /// Takes over what the farm shows of a site; whether that is drift which was not there before.
    pub(super) fn take_shown(
        &mut self,
        site: i64,
        wanted: &Settings,
        answer: &PromotionSettings,
        wall: Timestamp,
    ) -> bool {
        let known = self.sites.entry(site).or_default();
        let seen = shown(answer);
        let had_drift = !known.drift.is_empty();
        let in_flight =
            known.sent.as_ref().is_some_and(|sent| !matches!(sent.phase, Phase::Applied | Phase::Settled(_)));
        if !in_flight {
            known.drift = known.drift_of(wanted, &seen, wall);
        }
        if let Some(sent) = &mut known.sent
            && sent.phase == Phase::Applied
        {
            sent.phase = Phase::Settled(seen.clone());
        }
        known.shown = Some(seen);
        known.is_read = true;
        known.unreadable = None;
        !had_drift && !known.drift.is_empty()
    }

    /// The settings could not be read: until they are, nothing is written.
    pub(super) fn take_unreadable(&mut self, site: i64, hold: Hold) {
        let known = self.sites.entry(site).or_default();
        known.is_read = true;
        known.unreadable = Some(hold);
    }

    /// A write was answered, and counts as shown until the farm shows something else; whether it undoes drift.
    pub(super) fn take_written(&mut self, site: i64, settings: Settings, generation: i64) -> bool {
        let known = self.sites.entry(site).or_default();
        known.refused = None;
        known.shown.get_or_insert_default().extend(&settings);
        known.sent = Some(Sent { generation, settings, phase: Phase::Written });
        !known.drift.is_empty()
    }

    /// A write was refused: what is there is read before it is tried again.
    pub(super) fn take_refused(&mut self, site: i64, hold: Hold, generation: i64, now: Now) {
        let known = self.sites.entry(site).or_default();
        let count = known.refused.as_ref().map_or(0, |failure| failure.count);
        let pause = RETRY.0.saturating_mul(2_u32.saturating_pow(count.min(10))).min(RETRY.1);
        known.sent = None;
        known.is_read = false;
        known.refused = Some(Failure { generation, hold, retry_at: now.boot + pause, count: count + 1 });
    }

    /// A write was not answered, and may or may not be in the farm.
    pub(super) fn take_unanswered(
        &mut self,
        site: i64,
        settings: Settings,
        hold: Hold,
        generation: i64,
        now: Now,
    ) {
        self.take_refused(site, hold, generation, now);
        let known = self.sites.entry(site).or_default();
        known.sent = Some(Sent { generation, settings, phase: Phase::Unanswered });
    }

    /// Whether this process knows by now what the farm has.
    pub(super) fn is_known(&self, site: i64) -> bool {
        self.sites.get(&site).is_some_and(|known| known.is_read)
    }

    /// Why the settings of a site cannot be read.
    pub(super) fn unreadable(&self, site: i64) -> Option<&Hold> {
        self.sites.get(&site).and_then(|known| known.unreadable.as_ref())
    }

    /// Why the last write of this generation did not go through.
    pub(super) fn refused(&self, site: i64, generation: i64) -> Option<&Hold> {
        let failure = self.sites.get(&site).and_then(|known| known.refused.as_ref());
        failure.filter(|failure| failure.generation == generation).map(|failure| &failure.hold)
    }

    /// What the farm last showed of a setting.
    pub(super) fn seen(&self, site: i64, setting: Setting) -> Option<Value> {
        self.sites.get(&site)?.shown.as_ref()?.get(&setting).copied()
    }

    /// What a status shows of a site whose settings are kept.
    pub(super) fn observed(&self, site: i64) -> Option<ObservedAutoPromotion> {
        let shown = self.sites.get(&site)?.shown.as_ref()?;
        Some(ObservedAutoPromotion {
            enabled: flag(shown, Setting::Enabled),
            after: minutes(shown).map(length),
            failback: flag(shown, Setting::Failback),
        })
    }

    /// The drift of a site, as far as it is still drift from what is wanted.
    pub(super) fn drift(&self, site: i64, wanted: &Settings) -> Vec<Drift> {
        let still = |entry: &&Drift| {
            let mut settings = wanted.iter();
            settings
                .any(|(setting, value)| entry.field == setting.name() && entry.desired == value.to_string())
        };
        let drift = self.sites.get(&site).map(|known| known.drift.iter());
        drift.into_iter().flatten().filter(still).cloned().collect()
    }
}

impl Known {
    /// What differs although the farm showed it as wanted before: somebody changed it there.
    fn drift_of(&self, wanted: &Settings, seen: &Settings, wall: Timestamp) -> Vec<Drift> {
        let entry = |(setting, value): (&Setting, &Value)| {
            let observed = seen.get(setting).filter(|seen| *seen != value)?.to_string();
            let desired = value.to_string();
            let mut known = self.drift.iter();
            let known = known.find(|entry| entry.field == setting.name() && entry.desired == desired);
            // What was written and is seen for the first time since was perhaps never taken.
            let was_seen = self.sent.as_ref().is_none_or(|sent| sent.phase != Phase::Applied);
            let was_as_wanted =
                was_seen && self.shown.as_ref().is_some_and(|shown| shown.get(setting) == Some(value));
            if known.is_none() && !was_as_wanted {
                return None;
            }
            let same = known.filter(|entry| entry.observed == observed).cloned();
            // Kubernetes keeps whole seconds: a fraction would look like a change for ever.
            let since = Time(Timestamp::from_second(wall.as_second()).unwrap_or(wall));
            let field = setting.name().to_owned();
            Some(same.unwrap_or(Drift { field, desired, observed, since, changed_by: None }))
        };
        wanted.iter().filter_map(entry).collect()
    }
}

#[cfg(test)]
mod tests;

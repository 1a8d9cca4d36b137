//! What the farm's status says of its sites and of the settings that are kept. Pure.

use std::fmt::Write as _;

use super::report::apply_line;
use super::site_settings::{Differences, Setting, Settings, Value, Wanted};
use super::sites::{NoSite, SiteChoice, Whose, shown};
use super::state::FarmState;
use super::view::Hold;
use crate::crd::condition::{ConditionType, Reason, Status, Verdict};
use crate::crd::{ApplyMode, Capability, Drift};
use crate::ras;

/// With fewer active brokers than this RAS promotes none by itself, and it advises against more.
const ACTIVE_BROKERS: usize = 3;

/// What was found about sites, in terms of conditions.
#[derive(Debug, Default)]
pub(super) struct SiteFindings {
    /// A spec that cannot be carried out.
    pub(super) stalled: Option<Hold>,
    /// Work on settings that goes on.
    pub(super) reconciling: Option<Hold>,
    /// Whether the settings are in the farm; none where nothing is kept.
    pub(super) synced: Option<Verdict>,
    /// Settings that were changed outside.
    pub(super) drifted: Option<Hold>,
    /// Sites in which automatic promotion does not work as it should.
    pub(super) impaired: Option<Hold>,
}

/// Looks at everything that concerns the farm's sites. Before the first list it repeats what was said before.
pub(super) fn findings(state: &FarmState) -> SiteFindings {
    let wanted = state.wanted_settings();
    if !state.is_listed() {
        return SiteFindings { synced: last_synced(state), ..SiteFindings::default() };
    }
    let wrong = wrong(state, &wanted);
    let stalled = wrong.clone().filter(|hold| hold.reason == Reason::InvalidSpec);
    let unresolved = wrong.filter(|hold| hold.reason != Reason::InvalidSpec);
    if state.object.spec.sites.is_empty() {
        return SiteFindings { stalled, reconciling: unresolved, ..SiteFindings::default() };
    }
    let wrong = stalled.clone().or_else(|| unresolved.clone());
    let cause = wrong.map_or_else(|| cause(state, &wanted), Cause::Not);
    let working = match &cause {
        Cause::Working(hold) => Some(Hold::new(Reason::Progressing, hold.message.clone())),
        Cause::None | Cause::Not(_) | Cause::Unread => None,
    };
    SiteFindings {
        stalled,
        reconciling: unresolved.or(working),
        synced: synced(state, cause),
        drifted: drifted(state, &wanted),
        impaired: impaired(state, &wanted),
    }
}

/// Why the settings are not all in the farm and applied.
enum Cause {
    /// They are.
    None,
    /// Something keeps them off.
    Not(Hold),
    /// They are on their way.
    Working(Hold),
    /// They were not looked at yet.
    Unread,
}

/// What is wrong with how the object names its sites.
fn wrong(state: &FarmState, wanted: &Wanted) -> Option<Hold> {
    let sites = state.named_sites();
    let spec = &state.object.spec;
    let own = SiteChoice::of(spec.site_id, spec.site_name.as_deref());
    let default = own.and_then(|choice| choice.resolve(&sites).err());
    let default = default.map(|why: NoSite| why.hold(Whose::Own, &sites));
    let lost = wanted.lost.first().map(|why| why.hold(Whose::Entry, &sites));
    let twice = wanted.twice.first().map(|site| {
        let site = site_of(state, *site);
        let text =
            format!("Two entries of spec.sites mean site {site}, and neither is kept: remove one of them.");
        Hold::new(Reason::InvalidSpec, text)
    });
    default.or(lost).or(twice)
}

fn cause(state: &FarmState, wanted: &Wanted) -> Cause {
    if wanted.of_site.is_empty() {
        return Cause::None;
    }
    if state.capabilities.lacks(Capability::PromotionSettings) {
        return Cause::Not(unsupported());
    }
    let generation = state.generation();
    let known = wanted.of_site.keys().all(|site| state.site_settings.is_known(*site));
    let differences: Vec<(i64, Differences)> = wanted
        .of_site
        .iter()
        .map(|(site, settings)| (*site, state.site_settings.differences(*site, settings, generation)))
        .collect();
    let named = |of: fn(&Differences) -> &Settings| names(state, &differences, of);
    if let Some(hold) = wanted.of_site.keys().find_map(|site| state.site_settings.unreadable(*site)) {
        return Cause::Not(hold.clone());
    }
    if let Some(names) = named(|differences| &differences.unshown) {
        return Cause::Not(unshown(&names));
    }
    if state.object.spec.suspend {
        let text = "spec.suspend is true: no setting is written until it is false.";
        return Cause::Not(Hold::new(Reason::Suspended, text));
    }
    if !known {
        return Cause::Unread;
    }
    if let Some(names) = named(|differences| &differences.send) {
        return sending(state, wanted, &names);
    }
    if let Some(names) = named(|differences| &differences.unapplied) {
        return unapplied(state, &names);
    }
    if state.ledger.inherited {
        return unapplied(state, "what was written before a restart");
    }
    ignored(state, &differences).map_or(Cause::None, Cause::Not)
}

fn sending(state: &FarmState, wanted: &Wanted, names: &str) -> Cause {
    let generation = state.generation();
    let refused = wanted.of_site.keys().find_map(|site| state.site_settings.refused(*site, generation));
    if let Some(hold) = state.hold().as_ref().or(refused) {
        return Cause::Not(hold.clone());
    }
    let text = format!("The farm is being brought to spec.sites: {names}.");
    Cause::Working(Hold::new(Reason::Updating, text))
}

fn unapplied(state: &FarmState, names: &str) -> Cause {
    if let Some(hold) = state.hold() {
        return Cause::Not(hold);
    }
    match state.object.spec.apply.mode {
        ApplyMode::Manual => {
            let text = format!(
                "Written, and waiting for an Apply, which spec.apply.mode Manual leaves to a person: {names}. Apply in \
                 the RAS Console, or: {}",
                apply_line(&state.object)
            );
            Cause::Not(Hold::new(Reason::WaitingForApply, text))
        }
        ApplyMode::Auto | ApplyMode::Guarded => {
            let text =
                format!("Written to the farm, and taking effect with the Apply that follows: {names}.");
            Cause::Working(Hold::new(Reason::Updating, text))
        }
    }
}

fn ignored(state: &FarmState, differences: &[(i64, Differences)]) -> Option<Hold> {
    let mut list = Vec::new();
    for (site, of_site) in differences {
        for (setting, wanted) in &of_site.ignored {
            let seen = state.site_settings.seen(*site, *setting).map(|value| value.to_string());
            let seen = seen.unwrap_or_default();
            let (name, site) = (setting.name(), site_of(state, *site));
            list.push(format!("{name} of site {site} should be \"{wanted}\" and is \"{seen}\""));
        }
    }
    (!list.is_empty()).then(|| {
        let text = format!(
            "The farm accepted the change and shows another value: {}. It is not sent again until the spec or the \
             farm changes; compare with what RAS allows for this site.",
            list.join("; ")
        );
        Hold::new(Reason::ReconcileError, text)
    })
}

fn unsupported() -> Hold {
    Hold::new(
        Reason::Unsupported,
        format!(
            "This farm does not answer the call for the settings of automatic promotion ({}), whose path the vendor does \
             not publish: set it in spec.api.promotionSettings, or remove autoPromotion from spec.sites and set it in the \
             RAS Console. Everything else is reconciled.",
            ras::Route::UpdatePromotionSettings.template()
        ),
    )
}

fn unshown(names: &str) -> Hold {
    Hold::new(
        Reason::Unsupported,
        format!(
            "The farm's answer does not show what spec.sites sets, so that is not written: {names}. Set it in the RAS \
             Console, and remove it here. Everything else is reconciled."
        ),
    )
}

/// Why the settings of a site are not known.
pub(super) fn unreadable(state: &FarmState, site: i64, error: &ras::Error) -> Hold {
    let rights = if error.is_forbidden() { " Give the RAS account the right to view the site." } else { "" };
    let site = site_of(state, site);
    Hold::new(
        Reason::ReconcileError,
        format!(
            "The settings of automatic promotion of site {site} cannot be read: {error}.{rights} They are read again each \
             period, and not written until that works."
        ),
    )
}

/// Why a change did not go through.
pub(super) fn refused(state: &FarmState, site: i64, settings: &Settings, error: &ras::Error) -> Hold {
    let rights =
        if error.is_forbidden() { " Give the RAS account the right to modify the site." } else { "" };
    Hold::new(
        Reason::ReconcileError,
        format!(
            "The farm refused or did not answer the change of {}: {error}.{rights} It is tried again with growing pauses.",
            changed(state, site, settings)
        ),
    )
}

/// The settings and their site.
pub(super) fn changed(state: &FarmState, site: i64, settings: &Settings) -> String {
    let names: Vec<&str> = settings.keys().map(|setting| setting.name()).collect();
    format!("{} of site {}", names.join(", "), site_of(state, site))
}

fn names(
    state: &FarmState,
    differences: &[(i64, Differences)],
    of: fn(&Differences) -> &Settings,
) -> Option<String> {
    let some = differences.iter().filter(|(_, differences)| !of(differences).is_empty());
    let names: Vec<String> = some.map(|(site, differences)| changed(state, *site, of(differences))).collect();
    (!names.is_empty()).then(|| names.join("; "))
}

fn synced(state: &FarmState, cause: Cause) -> Option<Verdict> {
    let (status, hold) = match cause {
        Cause::None => {
            let text = "Every set field of spec.sites is in the farm and applied.";
            (Status::True, Hold::new(Reason::ReconcileSuccess, text))
        }
        Cause::Not(hold) | Cause::Working(hold) => (Status::False, hold),
        Cause::Unread => {
            return last_synced(state).or_else(|| {
                let text = "The settings of the farm's sites are being read.";
                Some(verdict(Status::Unknown, Hold::new(Reason::Progressing, text)))
            });
        }
    };
    Some(verdict(status, hold))
}

fn verdict(status: Status, hold: Hold) -> Verdict {
    Verdict { type_: ConditionType::Synced, status, reason: hold.reason, message: hold.message }
}

/// What was said of this generation before, which stands until there is something newer to say.
fn last_synced(state: &FarmState) -> Option<Verdict> {
    let conditions = state.object.status.iter().flat_map(|status| &status.conditions);
    let is_current = |generation: Option<i64>| generation == Some(state.generation());
    let mut said = conditions.into_iter().filter(|condition| is_current(condition.observed_generation));
    let said = said.find(|condition| condition.type_ == ConditionType::Synced.as_str())?;
    let status = Status::ALL.iter().find(|status| status.as_str() == said.status)?;
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == said.reason)?;
    Some(verdict(*status, Hold::new(*reason, said.message.clone())))
}

fn drifted(state: &FarmState, wanted: &Wanted) -> Option<Hold> {
    let drift = wanted.of_site.iter().map(|(site, settings)| drift_of_site(state, *site, settings));
    let list = drift.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
    (!list.is_empty())
        .then(|| Hold::new(Reason::DriftDetected, format!("The farm was changed outside: {list}.")))
}

/// What was changed outside in a site.
pub(super) fn drift_of_site(state: &FarmState, site: i64, wanted: &Settings) -> String {
    let name = site_of(state, site);
    let describe = |entry: Drift| {
        format!("{} of site {name} is {:?} and should be {:?}", entry.field, entry.observed, entry.desired)
    };
    state.site_settings.drift(site, wanted).into_iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// Sites whose number of active brokers is wrong for automatic promotion (administrator's guide, "Managing Connection
/// Brokers" and "Security").
fn impaired(state: &FarmState, wanted: &Wanted) -> Option<Hold> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for site in wanted.of_site.keys() {
        if state.site_settings.seen(*site, Setting::Enabled) != Some(Value::Flag(true)) {
            continue;
        }
        let rows = state.snapshot.rows().filter(|row| row.site_id == *site);
        let active = rows.filter(|row| is_active(row)).count();
        let list = if active < ACTIVE_BROKERS { &mut few } else { &mut many };
        if active != ACTIVE_BROKERS {
            list.push(format!("site {} has {active}", site_of(state, *site)));
        }
    }
    let mut text = String::new();
    if !few.is_empty() {
        text = format!(
            "RAS promotes a broker by itself only where at least three of a site are active (enabled and not in standby), \
             and {}: add or enable brokers there, or set autoPromotion.enabled to false.",
            few.join(", ")
        );
    }
    if !many.is_empty() {
        let space = if few.is_empty() { "" } else { " " };
        // Writing to a text cannot fail.
        let _written = write!(
            text,
            "{space}RAS advises against automatic promotion among more than three active brokers, and {}: put some in \
             standby, or set autoPromotion.enabled to false.",
            many.join(", ")
        );
    }
    let reason = if few.is_empty() { Reason::TooManyActiveBrokers } else { Reason::TooFewActiveBrokers };
    (!text.is_empty()).then(|| Hold::new(reason, text))
}

fn is_active(row: &ras::Broker) -> bool {
    row.enabled != Some(false) && row.standby != Some(true)
}

/// A site's id and, where it has one, its name.
fn site_of(state: &FarmState, site: i64) -> String {
    let name = state.sites.iter().find(|known| known.id == site).and_then(|known| known.name.clone());
    shown(&(site, name))
}

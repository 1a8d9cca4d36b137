//! What brokers see of the farm's state, and what keeps their writes back.

use std::sync::Arc;

use kube::ResourceExt;

use super::sites::{self, NamedSite, NoSite, SiteChoice};
use super::state::{FarmState, Link};
use super::view::{DeletionLimits, FarmFacts, FarmView, Hold, Moves, Outage, TimeLimits};
use crate::clock::Now;
use crate::crd::condition::Reason;
use crate::crd::{ApplyMode, Capability, Separator, annotation};
use crate::ras;

impl FarmState {
    /// Whatever keeps writes back although the farm answers, as its brokers see it.
    pub(super) fn hold(&self) -> Option<Hold> {
        self.suspended()
            .or_else(|| self.promotion_running())
            .or_else(|| self.not_primary())
            .or_else(|| self.unapplied_hold())
    }

    pub(super) fn suspended(&self) -> Option<Hold> {
        let name = self.object.name_any();
        let text = format!(
            "RasFarm {name:?} is suspended: nothing is written to the farm until its spec.suspend is false."
        );
        self.object.spec.suspend.then(|| Hold::new(Reason::Suspended, text))
    }

    fn not_primary(&self) -> Option<Hold> {
        let name = self.object.name_any();
        let text = format!(
            "RasFarm {name:?} is connected to a broker that is not the primary, which takes no changes: point \
             spec.endpoint, or one of spec.fallbackEndpoints, at the primary's RAS Web Administration Service. If the \
             primary is lost for good, a RasBrokerPromotion makes another broker the primary."
        );
        (self.primary() == Some(false)).then(|| Hold::new(Reason::NotPrimary, text))
    }

    /// Changes that are not applied, and why that keeps others back.
    pub(super) fn unapplied_hold(&self) -> Option<Hold> {
        // Where a person applies, an Apply that was refused keeps nothing back.
        let refused = self.apply_trouble.is_some() && self.object.spec.apply.mode != ApplyMode::Manual;
        self.foreign.clone().or_else(|| refused.then(|| unapplied(&self.object.name_any())))
    }

    /// What brokers see.
    pub(super) fn view(&self, now: Now) -> FarmView {
        if let Some(trouble) = &self.trouble {
            let hold = trouble.hold.clone();
            return FarmView::Down(Outage { hold, overdue: self.overdue_told, limits: self.limits() });
        }
        match &self.link {
            Some(link) if self.is_listed() => FarmView::Up(Arc::new(self.facts(link, now))),
            Some(_) | None => FarmView::Starting,
        }
    }

    /// How long the farm's calls may take.
    pub(super) fn limits(&self) -> TimeLimits {
        let spec = &self.object.spec;
        TimeLimits { request: spec.request_limit(), install: spec.install_limit() }
    }

    fn facts(&self, link: &Link, now: Now) -> FarmFacts {
        let spec = &self.object.spec;
        let sites = self.named_sites();
        FarmFacts {
            identity: link.identity.clone(),
            default_site: self.default_site(&sites),
            sites,
            snapshot: Arc::clone(&self.snapshot),
            account: link.account.clone(),
            learnt_account: self.learnt_account.clone(),
            farm_time: self.farm_time(now),
            stale_after: spec.resync_period.get() * 2,
            limits: self.limits(),
            separator: match spec.api.alternative_ips_separator {
                Some(Separator::Semicolon) => ';',
                // The REST reference says comma; every administrator's guide says semicolon.
                Some(Separator::Comma) | None => ',',
            },
            hold: self.hold(),
            primary: self.primary(),
            promoting: self.promotions.running().cloned(),
            unapplied: self.batch.is_dirty() || self.ledger.inherited,
            terminating: self.object.metadata.deletion_timestamp.is_some(),
            mode: spec.apply.mode,
            deletions: self.deletion_limits(),
            service: self.service.changes(),
            moves: Moves {
                form: spec.api.priority.as_ref().and_then(|call| call.form).unwrap_or_default(),
                lacking: self.capabilities.lacks(Capability::Priority),
                not_before: self.moves.not_before,
            },
        }
    }

    /// The farm's sites as they were last read.
    pub(super) fn named_sites(&self) -> Vec<NamedSite> {
        self.sites.iter().map(|site| (site.id, site.name.clone())).collect()
    }

    /// Where brokers go that name no site.
    pub(super) fn default_site(&self, sites: &[NamedSite]) -> Result<i64, NoSite> {
        let licensing = self.sites.iter().find(|site| site.licensing_site).map(|site| site.id);
        sites::default_site(&self.object.spec, sites, licensing)
    }

    /// Whether the farm's object names a site that is not found.
    pub(super) fn names_unknown_site(&self) -> bool {
        let spec = &self.object.spec;
        let sites = self.named_sites();
        let default = SiteChoice::of(spec.site_id, spec.site_name.as_deref());
        default.is_some_and(|choice| choice.resolve(&sites).is_err())
            || !self.wanted_settings().lost.is_empty()
    }

    fn deletion_limits(&self) -> DeletionLimits {
        let protection = &self.object.spec.deletion_protection;
        let allowed = self.annotation(annotation::ALLOW_MASS_DELETION).and_then(|text| text.parse().ok());
        DeletionLimits {
            threshold: usize::try_from(protection.threshold).unwrap_or_default(),
            window: protection.window.get(),
            allowed_before: allowed,
            sent: self.ledger.sent_deletions().collect(),
        }
    }

    /// What the last logon said of pending changes.
    pub(super) fn applies_pending(&self) -> Option<bool> {
        self.link.as_ref().and_then(|link| link.session.apply_settings_enabled)
    }

    /// Whether a new logon tells of pending changes. In `Guarded` mode not where it was seen to say so always.
    pub(super) fn tells_pending(&self) -> bool {
        let stuck = self.object.spec.apply.mode == ApplyMode::Guarded && self.guard_works == Some(false);
        self.applies_pending().is_some() && !stuck
    }

    /// A row that somebody else marked for deletion, which an Apply of ours would remove.
    pub(super) fn foreign_mark(&self) -> Option<&ras::Broker> {
        let foreign =
            |row: &&Arc<ras::Broker>| row.marked_for_deletion == Some(true) && !self.ledger.deletes(row.id);
        self.snapshot.rows().find(foreign).map(Arc::as_ref)
    }
}

/// Why an Apply did not go through, and how often, is the farm's to say.
fn unapplied(name: &str) -> Hold {
    let text = format!(
        "RasFarm {name:?} could not apply what was written, and writes nothing more until it can. Its status says why and \
         what to do; the Apply is tried again with growing pauses."
    );
    Hold::new(Reason::WaitingForApply, text)
}

//! What a broker's reconcile sees of its farm: a value, taken once per pass.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::service::Changes;
use super::sites::{NamedSite, NoSite};
use super::snapshot::Snapshot;
use crate::broker::intent::quarantine_of;
use crate::crd::condition::Reason;
use crate::crd::{ApplyMode, MoveForm, RasFarmSpec};

/// Something that keeps a step back, and what to do about it. Every guard, mode and window speaks in this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The reason shown in conditions.
    pub reason: Reason,
    /// A full sentence that says what is waited for and how to release it.
    pub message: String,
}

impl Hold {
    /// A hold with this reason and message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// What a broker shows that a hold of its farm keeps back.
    #[must_use]
    pub fn waiting(&self) -> Self {
        let waits_for_apply = self.reason == Reason::WaitingForApply;
        let reason = if waits_for_apply { Reason::WaitingForApply } else { Reason::WaitingForFarm };
        Self { reason, message: self.message.clone() }
    }
}

/// What is known of the farm.
#[derive(Clone, Debug)]
pub enum FarmView {
    /// There is no such `RasFarm`.
    Missing,
    /// The first logon and list are under way: nothing is known, and nothing is said yet.
    Starting,
    /// The farm cannot be used.
    Down(Outage),
    /// The farm answers.
    Up(Arc<FarmFacts>),
}

impl FarmView {
    /// How long the farm's calls may take, as far as that is known.
    pub fn limits(&self) -> TimeLimits {
        match self {
            Self::Missing | Self::Starting => TimeLimits::default(),
            Self::Down(outage) => outage.limits,
            Self::Up(facts) => facts.limits,
        }
    }
}

/// Why a farm cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The farm's own reason and message.
    pub hold: Hold,
    /// Whether it has lasted longer than `--farm-unavailable-after`.
    pub overdue: bool,
    /// How long its calls may take.
    pub limits: TimeLimits,
}

/// A farm that answers.
#[derive(Clone, Debug)]
pub struct FarmFacts {
    /// The farm's GUID, or `uid:<RasFarm uid>` where its logon answers give none.
    pub identity: String,
    /// Where brokers go that name no site.
    pub default_site: Result<i64, NoSite>,
    /// The farm's sites.
    pub sites: Vec<NamedSite>,
    /// Its brokers and agents.
    pub snapshot: Arc<Snapshot>,
    /// The RAS account in use.
    pub account: String,
    /// How the farm spells that account in `adminCreate`, once a 201 showed it.
    pub learnt_account: Option<String>,
    /// The farm's own clock, now.
    pub farm_time: Timestamp,
    /// How old a list says nothing any more: as after a machine's sleep.
    pub stale_after: Duration,
    /// How long its calls may take.
    pub limits: TimeLimits,
    /// What the farm separates `alternativeIPs` by.
    pub separator: char,
    /// Why no write may be sent, if so.
    pub hold: Option<Hold>,
    /// Whether the session is on the primary; unset where the farm does not say.
    pub primary: Option<bool>,
    /// The promotion whose outcome is not known yet.
    pub promoting: Option<Promoting>,
    /// Whether something of ours is written and not applied.
    pub unapplied: bool,
    /// Whether the `RasFarm` is being deleted.
    pub terminating: bool,
    /// How pending changes are applied.
    pub mode: ApplyMode,
    /// Mass deletion: how many, within what time, and up to when a person allowed more.
    pub deletions: DeletionLimits,
    /// What of the sites' service is changed and not applied.
    pub service: Changes,
    /// How brokers are moved in the order of their site, and what keeps that back.
    pub moves: Moves,
}

/// How brokers are moved in the order of their site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// What one call does.
    pub form: MoveForm,
    /// Whether the farm is known to have no such call.
    pub lacking: bool,
    /// What a move has done is not certain before: the next is decided on a list from after it.
    pub not_before: Duration,
}

impl Default for FarmFacts {
    /// A farm that answers, keeps nothing back, and of which nothing else is known.
    fn default() -> Self {
        Self {
            identity: String::new(),
            default_site: Err(NoSite::NoDefault),
            sites: Vec::new(),
            snapshot: Arc::default(),
            account: String::new(),
            learnt_account: None,
            farm_time: Timestamp::UNIX_EPOCH,
            stale_after: Duration::from_mins(10),
            limits: TimeLimits::default(),
            separator: ',',
            hold: None,
            primary: Some(true),
            promoting: None,
            unapplied: false,
            terminating: false,
            mode: ApplyMode::default(),
            deletions: DeletionLimits::default(),
            service: Changes::default(),
            moves: Moves::default(),
        }
    }
}

/// How long calls of a farm may take; by default as long as where its object does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// A call that takes a moment.
    pub request: Duration,
    /// One that installs or removes an agent.
    pub install: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { request: RasFarmSpec::REQUEST_TIMEOUT.get(), install: RasFarmSpec::INSTALL_TIMEOUT.get() }
    }
}

impl TimeLimits {
    /// How long a request may still take effect; one that `installs` or removes an agent takes longer.
    pub fn quarantine(&self, installs: bool) -> Duration {
        quarantine_of(if installs { self.install } else { self.request })
    }
}

/// A promotion that may have been sent, and whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoting {
    /// The site that gets another primary.
    pub site: i64,
    /// Name of the `RasBrokerPromotion`, for messages.
    pub name: String,
    /// Its uid: another object of that name is another request.
    pub uid: String,
    /// Server of the broker.
    pub server: String,
}

/// The limits of `spec.deletionProtection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionLimits {
    /// More than this many within the window are held; 0 is no limit.
    pub threshold: usize,
    /// The window.
    pub window: Duration,
    /// `allow-mass-deletion`: covers deletions made before that time.
    pub allowed_before: Option<Timestamp>,
    /// Deletion marks whose DELETE was sent lately.
    pub sent: Vec<Timestamp>,
}

/// A change of a broker that was written and is not applied yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unapplied {
    /// A move in the order of its site, of its own row or of others.
    Moved,
    /// A PUT.
    Updated,
    /// A POST.
    Created,
    /// A DELETE.
    Deleted,
}

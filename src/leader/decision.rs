//! What to do about the Lease: pure, the time is an argument.
//!
//! The clocks of two machines are never compared. A Lease is taken for expired only once its
//! `(holder, renewTime)` has stayed the same for its whole duration on the *local* clock, counted
//! from when this process first saw the pair.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::jiff::Timestamp;

use super::LEASE_DURATION;

/// The longest duration that is believed of somebody else's Lease.
const LONGEST_DURATION: Duration = Duration::from_mins(1);

/// What somebody wrote into the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// `None` where the Lease was released, or never held.
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    pub(super) duration: Duration,
}

/// The Lease as last seen, and since when it looks like that. `None`: there is no Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) record: Option<Record>,
    pub(super) since: Duration,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// There is no Lease: create it with this process as its holder.
    Create,
    /// The Lease is free or expired: become its holder.
    Take,
    /// This process is the holder: renew.
    Renew,
    /// Somebody else holds it, at least for this long.
    Wait(Duration),
}

impl Record {
    /// A duration that is absent, not positive or absurdly long is brought into bounds: another
    /// version may use another one, but nobody may hold the Lease for ever, or lose it at once.
    pub(super) fn of(spec: &LeaseSpec) -> Self {
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Self {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            duration: seconds.clamp(LEASE_DURATION, LONGEST_DURATION),
        }
    }
}

impl Seen {
    /// Lays a new reading, received at `now`, over what was seen before.
    pub(super) fn update(previous: Option<Self>, record: Option<Record>, now: Duration) -> Self {
        match previous {
            Some(previous) if previous.record == record => previous,
            Some(_) | None => Self { record, since: now },
        }
    }
}

/// What to do about a Lease that was seen like this. `now` must not be later than when the last
/// reading was asked for, so that time spent waiting for an answer never makes a Lease older.
pub(super) fn decide(seen: &Seen, now: Duration, me: &str) -> Action {
    let Seen { record, since } = seen;
    let Some(Record { holder, renewed: _, duration }) = record else {
        return Action::Create;
    };
    match holder {
        None => Action::Take,
        Some(holder) if holder == me => Action::Renew,
        Some(_) => match (*since + *duration).saturating_sub(now) {
            Duration::ZERO => Action::Take,
            left => Action::Wait(left),
        },
    }
}

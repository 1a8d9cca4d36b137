//! The farm's status: a pure function of its state and its brokers.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::site_report;
use super::state::FarmState;
use super::view::Hold;
use crate::broker::observe::has_finalizer;
use crate::clock::Now;
use crate::crd::condition::{self, ConditionType, Reason, Status, Verdict};
use crate::crd::{
    ApplyMode, BrokerCounts, FailedLogons, RasBroker, RasFarm, RasFarmStatus, SiteStatus, annotation,
};
use crate::ras;

/// How many sites are shown, and how many characters of a name: an object has room for no more than that for certain.
const SHOWN_SITES: usize = 128;
const SHOWN_NAME: usize = 255;
/// How many users of a farm that is being deleted are named.
const NAMED_USERS: usize = 5;

/// The status to show.
pub(super) fn status(state: &FarmState, brokers: &[Arc<RasBroker>], now: Now) -> RasFarmStatus {
    let last = state.object.status.clone().unwrap_or_default();
    let generation = state.object.metadata.generation.unwrap_or_default();
    let verdicts = verdicts(state, brokers);
    let session = state.link.as_ref().map(|link| &link.session);
    let is_listed = state.is_listed();
    RasFarmStatus {
        conditions: condition::merge(&last.conditions, &verdicts, generation, now.wall),
        observed_generation: generation,
        farm_name: session.and_then(|session| session.farm_name.clone()).or(last.farm_name),
        farm_guid: state.link.as_ref().map(|link| link.identity.clone()).or(last.farm_guid),
        account: state.learnt_account.clone(),
        connected_server: session.map_or(last.connected_server, |session| session.connected_server.clone()),
        primary_connection: session
            .map_or(last.primary_connection, |session| session.primary_broker_connection),
        sites: if is_listed { sites(state) } else { last.sites },
        brokers: if is_listed { Some(counts(state, brokers)) } else { last.brokers },
        capabilities: if is_listed { state.capabilities.listed() } else { last.capabilities },
        failed_logons: state.logons.failures().map(|failures| FailedLogons {
            secret_version: failures.secret_version.clone(),
            count: i64::from(failures.count),
            // Kubernetes keeps whole seconds: a fraction would look like a change for ever.
            last: Time(Timestamp::from_second(failures.last.as_second()).unwrap_or(failures.last)),
        }),
        pending_apply: state.ledger.pending.clone(),
        last_handled_reconcile_at: state.reconcile_handled.clone(),
        last_handled_apply_at: state.apply_handled.clone(),
    }
}

/// The farm's sites by id. Where they are too many, the ones whose settings are kept come first.
fn sites(state: &FarmState) -> Vec<SiteStatus> {
    let shown = |name: &str| name.chars().take(SHOWN_NAME).collect();
    let kept = state.wanted_settings().of_site;
    let empty = |id: i64| SiteStatus {
        id,
        name: None,
        licensing: false,
        primary: None,
        brokers: 0,
        auto_promotion: None,
        drift: Vec::new(),
    };
    let known = state.sites.iter().map(|site| {
        let (name, licensing) = (site.name.as_deref().map(shown), site.licensing_site);
        (site.id, SiteStatus { name, licensing, ..empty(site.id) })
    });
    let mut sites: BTreeMap<i64, SiteStatus> = known.collect();
    for (site, settings) in &kept {
        let status = sites.entry(*site).or_insert_with(|| empty(*site));
        status.auto_promotion = state.site_settings.observed(*site);
        status.drift = state.site_settings.drift(*site, settings);
    }
    for row in state.snapshot.rows() {
        let site = sites.entry(row.site_id).or_insert_with(|| empty(row.site_id));
        site.brokers += 1;
        if row.priority == Some(0) {
            site.primary = Some(shown(&row.server));
        }
    }
    let mut sites: Vec<SiteStatus> = sites.into_values().collect();
    sites.sort_by_key(|site| !kept.contains_key(&site.id));
    sites.truncate(SHOWN_SITES);
    sites.sort_by_key(|site| site.id);
    sites
}

fn counts(state: &FarmState, brokers: &[Arc<RasBroker>]) -> BrokerCounts {
    let count = |is: &dyn Fn(&RasBroker) -> bool| {
        i64::try_from(brokers.iter().filter(|broker| is(broker)).count()).unwrap_or(i64::MAX)
    };
    let has = |broker: &RasBroker, type_: ConditionType| {
        let conditions = broker.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|condition| condition.type_ == type_.as_str() && condition.status == "True")
    };
    BrokerCounts {
        total: i64::try_from(state.snapshot.len()).unwrap_or(i64::MAX),
        managed: count(&|broker| broker.status.as_ref().is_some_and(|status| status.origin.is_some())),
        ready: count(&|broker| has(broker, ConditionType::Ready)),
        drifted: count(&|broker| has(broker, ConditionType::Drifted)),
    }
}

fn verdicts(state: &FarmState, brokers: &[Arc<RasBroker>]) -> Vec<Verdict> {
    let refused = state.foreign.as_ref().filter(|hold| hold.reason == Reason::AuthenticationFailed);
    let trouble = state.trouble.as_ref().map(|trouble| &trouble.hold).or(refused);
    let mut verdicts = vec![reachable(state, trouble), authenticated(state, trouble)];
    let sites = site_report::findings(state);
    let stalled = trouble.filter(|hold| matches!(hold.reason, Reason::InvalidSpec | Reason::FarmMismatch));
    let stalled = stalled.or(sites.stalled.as_ref());
    let reconciling = reconciling(state, brokers).or(sites.reconciling);
    if let Some(hold) = &stalled {
        verdicts.push(verdict(ConditionType::Stalled, Status::True, hold));
    } else if let Some(hold) = &reconciling {
        verdicts.push(verdict(ConditionType::Reconciling, Status::True, hold));
    }
    if state.object.spec.tls.insecure_skip_verify {
        let text = "spec.tls.insecureSkipVerify is true: whoever is on the way can read the administrator's password. \
                    Give spec.tls.caBundle or spec.tls.pinnedSha256 instead.";
        let hold = Hold::new(Reason::InsecureSkipVerify, text);
        verdicts.push(verdict(ConditionType::InsecureTransport, Status::True, &hold));
    }
    verdicts.extend(sites.synced);
    verdicts.extend(sites.drifted.map(|hold| verdict(ConditionType::Drifted, Status::True, &hold)));
    let impaired = sites.impaired;
    verdicts.extend(impaired.map(|hold| verdict(ConditionType::AutoPromotionImpaired, Status::True, &hold)));
    verdicts.insert(0, ready(state, trouble.or(sites.stalled.as_ref()), reconciling.as_ref()));
    verdicts
}

fn ready(state: &FarmState, trouble: Option<&Hold>, reconciling: Option<&Hold>) -> Verdict {
    let waiting = reconciling.filter(|hold| hold.reason != Reason::Progressing);
    if let Some(hold) = trouble.or(waiting).or(state.apply_trouble.as_ref()) {
        return verdict(ConditionType::Ready, Status::False, hold);
    }
    if !state.is_listed() {
        let hold = Hold::new(Reason::Progressing, "The farm is being connected to.");
        return verdict(ConditionType::Ready, Status::Unknown, &hold);
    }
    if state.object.spec.suspend {
        let hold = Hold::new(
            Reason::Suspended,
            "The farm answers; spec.suspend is true, so nothing is written to it.",
        );
        return verdict(ConditionType::Ready, Status::True, &hold);
    }
    verdict(ConditionType::Ready, Status::True, &Hold::new(Reason::Available, available(state)))
}

/// What a reader should know of a farm that works: what its answers leave out changes how it is treated.
fn available(state: &FarmState) -> String {
    let session = state.link.as_ref().map(|link| &link.session);
    let mut text = "The farm answers and takes the account.".to_owned();
    if session.is_some_and(|session| session.primary_broker_connection.is_none()) {
        text.push_str(" Its logon does not say whether this is the primary broker; it is taken for it.");
    }
    let unguarded = state.guard_works == Some(false)
        || session.is_some_and(|session| session.apply_settings_enabled.is_none());
    if state.object.spec.apply.mode == ApplyMode::Guarded && unguarded {
        text.push_str(
            " Its logon does not say whether changes are pending, so spec.apply.mode Guarded acts as Auto: an Apply \
             also commits other administrators' pending changes.",
        );
    }
    if let Some(refused) = &state.asked_apply_refused {
        text.push(' ');
        text.push_str(refused);
    }
    text
}

fn reachable(state: &FarmState, trouble: Option<&Hold>) -> Verdict {
    let reachable = Hold::new(Reason::FarmReachable, "The farm answers.");
    match trouble {
        Some(hold) if matches!(hold.reason, Reason::FarmUnreachable) && state.breaker.is_open() => {
            let open = Hold::new(Reason::CircuitOpen, hold.message.clone());
            verdict(ConditionType::Reachable, Status::False, &open)
        }
        Some(hold)
            if matches!(
                hold.reason,
                Reason::FarmUnreachable | Reason::TLSVerificationFailed | Reason::RateLimited
            ) =>
        {
            verdict(ConditionType::Reachable, Status::False, hold)
        }
        Some(hold) if matches!(hold.reason, Reason::AuthenticationFailed | Reason::FarmMismatch) => {
            verdict(ConditionType::Reachable, Status::True, &reachable)
        }
        Some(hold) => verdict(ConditionType::Reachable, Status::Unknown, hold),
        None if state.is_listed() => verdict(ConditionType::Reachable, Status::True, &reachable),
        None => {
            let hold = Hold::new(Reason::Progressing, "The farm is being connected to.");
            verdict(ConditionType::Reachable, Status::Unknown, &hold)
        }
    }
}

fn authenticated(state: &FarmState, trouble: Option<&Hold>) -> Verdict {
    match trouble {
        Some(hold) if matches!(hold.reason, Reason::AuthenticationFailed | Reason::SecretNotFound) => {
            verdict(ConditionType::Authenticated, Status::False, hold)
        }
        Some(hold) if hold.reason == Reason::FarmMismatch => {
            let hold = Hold::new(Reason::Authenticated, "The farm takes the account.");
            verdict(ConditionType::Authenticated, Status::True, &hold)
        }
        Some(hold) => verdict(ConditionType::Authenticated, Status::Unknown, hold),
        None if state.link.is_some() => {
            let mut text = "The farm takes the account.".to_owned();
            if let Some(hold) = &state.secret_trouble {
                text.push_str(" It is kept in memory only: ");
                text.push_str(&hold.message);
            }
            let hold = Hold::new(Reason::Authenticated, text);
            verdict(ConditionType::Authenticated, Status::True, &hold)
        }
        None => {
            let hold = Hold::new(Reason::Progressing, "The farm is being connected to.");
            verdict(ConditionType::Authenticated, Status::Unknown, &hold)
        }
    }
}

fn reconciling(state: &FarmState, brokers: &[Arc<RasBroker>]) -> Option<Hold> {
    if state.object.metadata.deletion_timestamp.is_some() {
        return in_use(brokers);
    }
    let told_elsewhere = [Reason::Suspended, Reason::WaitingForApply, Reason::AuthenticationFailed];
    let of_farm = |hold: &Hold| !told_elsewhere.contains(&hold.reason);
    let hold = state.hold().filter(of_farm).or_else(|| state.apply_trouble.clone());
    match (hold, &state.asked_apply_refused) {
        (Some(hold), Some(refused)) => Some(Hold::new(hold.reason, format!("{} {refused}", hold.message))),
        (Some(hold), None) => Some(hold),
        (None, _) => waiting_for_apply(state),
    }
}

fn waiting_for_apply(state: &FarmState) -> Option<Hold> {
    let waits = state.ledger.pending.is_some() && state.object.spec.apply.mode == ApplyMode::Manual;
    waits.then(|| {
        let text = format!(
            "Changes are written and wait for an Apply. Apply in the RAS Console, or: {}",
            apply_line(&state.object)
        );
        Hold::new(Reason::Progressing, text)
    })
}

fn in_use(brokers: &[Arc<RasBroker>]) -> Option<Hold> {
    let users: Vec<String> =
        brokers.iter().filter(|broker| has_finalizer(broker)).map(|broker| broker.name_any()).collect();
    if users.is_empty() {
        return None;
    }
    let named = users.iter().take(NAMED_USERS).cloned().collect::<Vec<_>>().join(", ");
    let more = if users.len() > NAMED_USERS { ", ..." } else { "" };
    Some(Hold::new(
        Reason::Progressing,
        format!(
            "The farm is being deleted and is still used by {} RasBroker object(s): {named}{more}. It goes when they \
             are gone: delete them; deletionPolicy Orphan leaves their brokers in the farm.",
            users.len()
        ),
    ))
}

fn verdict(type_: ConditionType, status: Status, hold: &Hold) -> Verdict {
    Verdict { type_, status, reason: hold.reason, message: hold.message.clone() }
}

pub(super) fn apply_line(farm: &RasFarm) -> String {
    format!(
        "kubectl annotate --overwrite rasfarm -n {} {} {}=\"$(date +%s)\"",
        farm.namespace().unwrap_or_default(),
        farm.name_any(),
        annotation::APPLY_REQUESTED_AT
    )
}

/// Why `Guarded` sends nothing: changes that are not ours would be committed by our Apply.
pub(super) fn foreign_changes(state: &FarmState, apply_settings_enabled: Option<bool>) -> Option<Hold> {
    let mark = state.foreign_mark();
    if apply_settings_enabled != Some(true) && mark.is_none() {
        return None;
    }
    let what = match mark {
        Some(row) => {
            format!("Somebody marked Connection Broker {:?} (id {}) for deletion", row.server, row.id)
        }
        None if state.ledger.unapplied() > 0 => {
            "The farm has created a broker for this operator later than any answer \
             is waited for, and it is not applied. Changes of others may be pending beside it"
                .to_owned()
        }
        None => "There are pending changes in the farm that this operator did not make".to_owned(),
    };
    Some(Hold::new(
        Reason::ForeignPendingChanges,
        format!(
            "{what}, and an Apply would commit that too, so nothing is written. Apply or discard them in the RAS \
             Console, or apply everything: {}",
            apply_line(&state.object)
        ),
    ))
}

/// What to show when an Apply did not go through; `ours`: whether it is tried again by itself.
pub(super) fn apply_failed(farm: &RasFarm, error: &ras::Error, ours: bool) -> Hold {
    let what_to_do = if error.is_forbidden() {
        "Give the RAS account the right to apply settings, which every root administrator has"
    } else if error.is_not_found() {
        "The path of Apply is not in the vendor's public reference: set spec.api.apply.path to this farm's"
    } else if error.outcome() == ras::Outcome::Unknown {
        "If it goes on, look at the log of the RAS Web Administration Service"
    } else {
        "An object that is open in a RAS Console may lock it"
    };
    let next = if ours && farm.spec.apply.mode != ApplyMode::Manual {
        "; it is tried again with growing pauses.".to_owned()
    } else {
        format!(", and ask again: {}", apply_line(farm))
    };
    Hold::new(
        Reason::Progressing,
        format!("RasFarm {:?} could not apply changes: {error}. {what_to_do}{next}", farm.name_any()),
    )
}

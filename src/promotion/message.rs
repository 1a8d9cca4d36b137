//! What is said of a promotion, and what a person does about it.

use super::observe::Request;
use crate::crd::condition::Reason;
use crate::crd::{ApplyMode, PromotionAttempt, annotation};
use crate::farm::view::{FarmFacts, Hold};
use crate::ras;

/// How every refusal ends: an object cannot be changed and run again.
const ANEW: &str = "For another try create another RasBrokerPromotion.";

pub(super) fn unreadable_time(request: &Request) -> Hold {
    let text =
        format!("spec.notAfter {:?} is no time such as 2026-03-01T18:00:00Z. {ANEW}", request.spec.not_after);
    Hold::new(Reason::InvalidSpec, text)
}

pub(super) fn expired(request: &Request) -> Hold {
    let text = format!(
        "Nothing was sent until spec.notAfter ({}), and nothing will be. {ANEW}",
        request.spec.not_after
    );
    Hold::new(Reason::Expired, text)
}

pub(super) fn no_broker(request: &Request) -> Hold {
    let text = format!(
        "RasBroker {:?} does not exist: create it, or delete this object. It is waited for until spec.notAfter.",
        request.spec.broker_ref.name
    );
    Hold::new(Reason::NotFound, text)
}

pub(super) fn no_row(request: &Request) -> Hold {
    let text = format!(
        "RasBroker {:?} has no broker of its own in the farm: its conditions say why. It is waited for until \
         spec.notAfter.",
        request.spec.broker_ref.name
    );
    Hold::new(Reason::NotFound, text)
}

pub(super) fn not_ours(request: &Request, observe_only: bool) -> Hold {
    let why = if observe_only {
        "has spec.managementPolicy ObserveOnly, so nothing is written for it: set Managed before it is promoted"
    } else {
        "is being deleted"
    };
    let text = format!("RasBroker {:?} {why}. Nothing was sent. {ANEW}", request.spec.broker_ref.name);
    Hold::new(Reason::NotEligible, text)
}

pub(super) fn farm_missing(farm: &str) -> Hold {
    let text = format!("RasFarm {farm:?} does not exist: create it. It is waited for until spec.notAfter.");
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn farm_terminating(farm: &str) -> Hold {
    Hold::new(
        Reason::WaitingForFarm,
        format!("RasFarm {farm:?} is being deleted: no promotion is sent to it."),
    )
}

pub(super) fn farm_down(hold: &Hold) -> Hold {
    let text = format!(
        "Nothing was sent: {} It is waited for until spec.notAfter. If the primary is lost, name the RAS Web \
         Administration Service of another broker in spec.fallbackEndpoints of the RasFarm: a promotion goes over any.",
        hold.message
    );
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn farm_holds(hold: &Hold) -> Hold {
    let reason = if hold.reason == Reason::Suspended { Reason::Suspended } else { Reason::WaitingForFarm };
    Hold::new(reason, format!("Nothing was sent yet: {}", hold.message))
}

pub(super) fn broker_suspended(request: &Request) -> Hold {
    let text = format!(
        "RasBroker {:?} is suspended: nothing is sent until its spec.suspend is false, or until spec.notAfter.",
        request.spec.broker_ref.name
    );
    Hold::new(Reason::Suspended, text)
}

pub(super) fn unapplied(farm: &str) -> Hold {
    let text = format!(
        "RasFarm {farm:?} has changes that are written and not applied: the promotion is sent after their Apply. The \
         farm's conditions say what that waits for."
    );
    Hold::new(Reason::WaitingForApply, text)
}

pub(super) fn no_primary(site: i64) -> Hold {
    let text =
        format!("The farm shows no primary of site {site}: it is looked at again until spec.notAfter.");
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn unexpected_primary(request: &Request, primary: &str) -> Hold {
    let text = format!(
        "The primary is {primary:?}, and spec.expectedPrimary is {:?}: nothing was sent. If {primary:?} is to be \
         replaced, create another RasBrokerPromotion with it as spec.expectedPrimary.",
        request.spec.expected_primary
    );
    Hold::new(Reason::UnexpectedPrimary, text)
}

pub(super) fn out_of_use(row: &ras::Broker) -> Hold {
    let why =
        if row.enabled == Some(false) { "disabled: enable it" } else { "marked for deletion: undo that" };
    let text = format!(
        "Connection Broker {:?} is {why} before it is promoted. Nothing was sent. {ANEW}",
        row.server
    );
    Hold::new(Reason::NotEligible, text)
}

pub(super) fn unhealthy(row: &ras::Broker, state: &str) -> Hold {
    let text = format!(
        "The agent of Connection Broker {:?} is {state}: a primary must work. Nothing was sent. Mend it first. {ANEW}",
        row.server
    );
    Hold::new(Reason::NotEligible, text)
}

pub(super) fn settling(row: &ras::Broker, state: &str) -> Hold {
    let text = format!(
        "The agent of Connection Broker {:?} is {state}: it is waited for until spec.notAfter.",
        row.server
    );
    Hold::new(Reason::WaitingForAgent, text)
}

pub(super) fn rival(other: &str, site: i64) -> Hold {
    let text = format!(
        "RasBrokerPromotion {other:?} of site {site} was there first and has not come to its end: nothing was sent. \
         Wait for it, look at which broker is the primary then, and create another one if it is still needed."
    );
    Hold::new(Reason::ResourceConflict, text)
}

pub(super) fn already_primary(server: &str) -> Hold {
    Hold::new(
        Reason::AlreadyPrimary,
        format!("Connection Broker {server:?} is the primary already: nothing was sent."),
    )
}

pub(super) fn promoting(attempt: &PromotionAttempt, previous: &str) -> Hold {
    let PromotionAttempt { site_id, server, .. } = attempt;
    let text = format!(
        "Connection Broker {server:?} is being made the primary of site {site_id} in place of {previous:?}. It is sent \
         once; the farm's priorities show when it is done."
    );
    Hold::new(Reason::Promoting, text)
}

pub(super) fn quarantine(attempt: &PromotionAttempt) -> Hold {
    let text = format!(
        "The promotion of Connection Broker {:?} may have been sent, and its answer was lost: it is not sent again. \
         The farm's priorities are read until it can no longer take effect.",
        attempt.server
    );
    Hold::new(Reason::Quarantine, text)
}

pub(super) fn outcome_unreadable(hold: &Hold) -> Hold {
    let text = format!(
        "The outcome is read once the farm can be used; nothing is sent again. {} If the former primary is gone, name \
         the new one in spec.endpoint or spec.fallbackEndpoints of the RasFarm.",
        hold.message
    );
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn outcome_needs_farm(farm: &str) -> Hold {
    let text =
        format!("RasFarm {farm:?} does not exist, so the outcome cannot be read; nothing is sent again.");
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn other_farm(attempt: &PromotionAttempt) -> Hold {
    let text = format!(
        "RasFarm {:?} is another farm than the one to which the promotion was sent ({}), so its outcome cannot be read; \
         nothing is sent again.",
        attempt.farm, attempt.farm_guid
    );
    Hold::new(Reason::FarmMismatch, text)
}

pub(super) fn no_record() -> Hold {
    let text =
        format!("status.attempt is missing, so it is not known what was sent; nothing is sent again. {ANEW}");
    Hold::new(Reason::NotPromoted, text)
}

pub(super) fn not_sent(why: &str) -> Hold {
    let text = format!("Nothing reached the farm: {why}. It is tried again until spec.notAfter.");
    Hold::new(Reason::WaitingForFarm, text)
}

pub(super) fn too_late() -> &'static str {
    "the answer of the API server came too late to act on"
}

pub(super) fn applying(attempt: &PromotionAttempt) -> Hold {
    let text = format!(
        "Connection Broker {:?} is the primary; the farm's changes are being applied.",
        attempt.server
    );
    Hold::new(Reason::WaitingForApply, text)
}

pub(super) fn apply_waits(request: &Request, attempt: &PromotionAttempt, facts: &FarmFacts) -> Hold {
    let waits = facts.hold.as_ref().map(|hold| {
        if hold.reason != Reason::NotPrimary {
            return hold.message.clone();
        }
        format!(
            "The session is on another broker: name the RAS Web Administration Service of {:?} in spec.endpoint or \
             spec.fallbackEndpoints of RasFarm {:?}.",
            attempt.server, attempt.farm
        )
    });
    let by_person = (facts.mode == ApplyMode::Manual).then(|| {
        format!(
            "Apply in the RAS Console, or: kubectl annotate --overwrite rasfarm -n {} {} {}=\"$(date +%s)\"",
            request.namespace,
            attempt.farm,
            annotation::APPLY_REQUESTED_AT
        )
    });
    match waits.or(by_person) {
        Some(what) => Hold::new(
            Reason::WaitingForApply,
            format!(
                "Connection Broker {:?} is the primary, and the farm's changes wait for an Apply. {what}",
                attempt.server
            ),
        ),
        None => applying(attempt),
    }
}

pub(super) fn promoted(attempt: &PromotionAttempt, previous: Option<&str>) -> Hold {
    let PromotionAttempt { site_id, server, .. } = attempt;
    let text = format!(
        "Connection Broker {server:?} is the primary of site {site_id} in place of {:?}, and that is applied.",
        previous.unwrap_or_default()
    );
    Hold::new(Reason::Promoted, text)
}

pub(super) fn not_promoted(attempt: &PromotionAttempt, primary: Option<&str>) -> Hold {
    let primary =
        primary.map_or_else(|| "the farm shows no primary".to_owned(), |p| format!("{p:?} is the primary"));
    let text = format!(
        "The promotion of Connection Broker {:?} was sent and had no effect in the time that it may take: {primary} of \
         site {}. Look at the RAS Console. {ANEW}",
        attempt.server, attempt.site_id
    );
    Hold::new(Reason::NotPromoted, text)
}

pub(super) fn unsupported(farm: &str, error: &ras::Error) -> Hold {
    let or_broker = if error.is_not_found() { ", or the broker was removed a moment ago" } else { "" };
    let text = format!(
        "This farm has no such call{or_broker} ({error}): nothing was done. Its path is not in the vendor's public \
         reference: set spec.api.promote of RasFarm {farm:?} to this RAS version's, or promote in the RAS Console. {ANEW}"
    );
    Hold::new(Reason::Unsupported, text)
}

pub(super) fn refused(error: &ras::Error) -> Hold {
    let text = format!("The farm refused, and nothing was done: {error}. {ANEW}");
    Hold::new(Reason::Refused, text)
}

pub(super) fn account_missing(request: &Request, why: &str) -> Hold {
    let text = format!(
        "Nothing was sent: Secret {:?} {why}. It needs the keys email and password of the Parallels My Account under \
         which the farm is licensed.",
        request.spec.account_secret_ref.name
    );
    Hold::new(Reason::SecretNotFound, text)
}

//! The sentences that conditions show: each says what is going on and what to do next, and holds nothing that
//! changes from one try to the next.

use crate::broker::agent::Health;
use crate::broker::desired::{Desired, Field, InvalidSpec, Value};
use crate::broker::observe::{ObjectFacts, Rival};
use crate::crd::condition::Reason;
use crate::crd::{AdoptionPolicy, annotation};
use crate::farm::sites::SiteChoice;
use crate::farm::view::{FarmFacts, Hold};
use crate::ras;

pub(super) fn farm_missing(object: &ObjectFacts) -> Hold {
    Hold::new(
        Reason::WaitingForFarm,
        format!(
            "{}, or delete this object and create it again with the right spec.farmRef, which cannot be changed.",
            no_farm(object)
        ),
    )
}

pub(super) fn deletion_without_farm(object: &ObjectFacts) -> Hold {
    deletion_waits(object, &format!("{}.", no_farm(object)))
}

fn no_farm(object: &ObjectFacts) -> String {
    let (farm, namespace) = (&object.desired.farm, &object.namespace);
    format!("RasFarm {farm:?} does not exist in namespace {namespace:?}: create it")
}

pub(super) fn empty_list() -> Hold {
    Hold::new(
        Reason::WaitingForFarm,
        "The farm lists no Connection Broker at all, although each farm has a primary: check that the RAS account may \
         view them.",
    )
}

pub(super) fn annotate(kind: &str, namespace: &str, name: &str, key: &str, value: &str) -> String {
    format!("kubectl annotate --overwrite {kind} -n {namespace} {name} {key}={value}")
}

fn annotate_broker(object: &ObjectFacts, key: &str) -> String {
    annotate("rasbroker", &object.namespace, &object.name, key, "true")
}

pub(super) fn reconcile_line(object: &ObjectFacts) -> String {
    let key = annotation::RECONCILE_REQUESTED_AT;
    annotate("rasbroker", &object.namespace, &object.name, key, "\"$(date +%s)\"")
}

/// What an agent's state means for an object that only observes.
pub(super) fn agent_observed(state: &str, health: Health) -> Hold {
    Hold::new(Reason::WaitingForAgent, format!("The agent's state is {state}. {}", health.advice()))
}

/// The line that lets go of an object whose farm cannot be reached.
pub(super) fn orphan_line(object: &ObjectFacts) -> String {
    annotate_broker(object, annotation::FORCE_ORPHAN)
}

pub(super) fn suspended() -> Hold {
    Hold::new(Reason::Suspended, "spec.suspend is true: nothing is written to the farm until it is false.")
}

/// A name that leads to another site than the broker's.
pub(super) fn other_site(desired: &Desired, wanted: i64, recorded: i64) -> Hold {
    let said = match &desired.site {
        Some(SiteChoice::Name(name)) => format!("spec.siteName is {name:?}, which is site {wanted}"),
        Some(SiteChoice::Id(_)) | None => format!("spec.siteId is {wanted}"),
    };
    let invalid = InvalidSpec::SiteContradicted { said, recorded };
    Hold::new(Reason::InvalidSpec, format!("{invalid}."))
}

pub(super) fn already_exists(object: &ObjectFacts, row: &ras::Broker) -> Hold {
    let patch = r#"'{"spec":{"adoptionPolicy":"IfExists"}}'"#;
    Hold::new(
        Reason::AlreadyExists,
        format!(
            "The farm already has a Connection Broker {:?} (id {}), created by {}, not by this object. To adopt it: \
             kubectl patch rasbroker -n {} {} --type merge -p {patch}",
            row.server,
            row.id,
            row.admin_create.as_deref().unwrap_or("an unnamed administrator"),
            object.namespace,
            object.name,
        ),
    )
}

pub(super) fn ambiguous(desired: &Desired, count: usize) -> Hold {
    Hold::new(
        Reason::ResourceConflict,
        format!(
            "The farm lists {count} Connection Brokers named {:?} in one site: remove all but one in the RAS Console.",
            desired.server
        ),
    )
}

/// How another object may be named.
fn named(rival: &Rival) -> String {
    let name = rival.shown.as_deref();
    name.map_or_else(|| "A RasBroker in another namespace".to_owned(), |name| format!("RasBroker {name:?}"))
}

/// Whose broker it is that an object which goes might take for its own is not known yet.
pub(super) fn made_by_rival(object: &ObjectFacts, rival: &Rival) -> Hold {
    let who = named(rival);
    Hold::new(
        Reason::Quarantine,
        format!(
            "{who} means the same server and may have made its broker: the deletion goes on when that object shows \
             which broker is its own. If it is suspended, resume it. To let go of this object and leave the broker in \
             the farm: {}",
            orphan_line(object)
        ),
    )
}

pub(super) fn rival(rival: &Rival) -> Hold {
    let who = named(rival);
    let text = if rival.same_key {
        format!("{who} already manages this server in this farm: delete one of the two objects.")
    } else {
        format!(
            "{who} may mean the same machine under another spelling: give both the same spec.server, or delete one."
        )
    };
    Hold::new(Reason::ResourceConflict, text)
}

pub(super) fn similar_row(row: &ras::Broker, desired: &Desired) -> Hold {
    let ip = row.ip.as_deref().filter(|ip| !ip.is_empty()).map(|ip| format!(", ip {ip}")).unwrap_or_default();
    Hold::new(
        Reason::ResourceConflict,
        format!(
            "The farm's Connection Broker {:?} (id {}{ip}) may be the same machine as {:?}: use that spelling in a \
             new object to adopt it, or remove it in the RAS Console.",
            row.server, row.id, desired.server
        ),
    )
}

pub(super) fn elsewhere(row: &ras::Broker, recorded: i64) -> Hold {
    Hold::new(
        Reason::ResourceConflict,
        format!(
            "The farm shows Connection Broker {:?} (id {}) in site {}, and this object's is recorded in site {recorded}: \
             nothing is created or changed. If it is to stay there, delete this object with spec.deletionPolicy Orphan, \
             and create it anew with spec.siteId {} and spec.adoptionPolicy IfExists.",
            row.server, row.id, row.site_id, row.site_id
        ),
    )
}

pub(super) fn not_found(desired: &Desired) -> Hold {
    Hold::new(
        Reason::NotFound,
        format!(
            "The farm has no Connection Broker {:?} in this site, and this object must not create one \
             (managementPolicy ObserveOnly or adoptionPolicy Required): add it to the farm, or change the policy.",
            desired.server
        ),
    )
}

pub(super) fn externally_deleted(object: &ObjectFacts, why: &str) -> Hold {
    Hold::new(
        Reason::ExternallyDeleted,
        format!(
            "The broker was deleted in the farm by someone else; it is not created again because {why}. \
             To create it again: {}",
            reconcile_line(object)
        ),
    )
}

pub(super) fn creating(desired: &Desired) -> Hold {
    Hold::new(Reason::Creating, format!("The broker {:?} is being created in the farm.", desired.server))
}

/// Where another row was owned before: what was said of that one is not true of this one.
pub(super) fn adopted(desired: &Desired) -> Hold {
    Hold::new(
        Reason::Updating,
        format!(
            "The broker {:?} was adopted in place of another one; it is compared with the spec.",
            desired.server
        ),
    )
}

/// Shown before a call that may take minutes; the broker itself shows no more meanwhile.
pub(super) fn installing(desired: &Desired, facts: &FarmFacts) -> Hold {
    Hold::new(
        Reason::Creating,
        format!(
            "The broker {:?} is being created in the farm, and its agent installed on that server, which can take up to \
             {}. It goes on by itself; what the farm does meanwhile is shown in the RAS Console. Changes to this object \
             take effect afterwards.",
            desired.server,
            duration(facts.limits.install)
        ),
    )
}

pub(super) fn awaiting_removal(row: &ras::Broker, adoption: AdoptionPolicy) -> Hold {
    let then = match adoption {
        AdoptionPolicy::Never | AdoptionPolicy::IfExists => "it is created again once that one is gone",
        AdoptionPolicy::Required => "it is not adopted, and once it is gone this object creates none",
    };
    Hold::new(
        Reason::Creating,
        format!(
            "The farm's Connection Broker {:?} (id {}) is marked for deletion and goes with the next Apply: {then}.",
            row.server, row.id
        ),
    )
}

pub(super) fn marked(row: &ras::Broker) -> Hold {
    Hold::new(
        Reason::Progressing,
        format!(
            "Someone marked this broker (id {}) for deletion in the farm: it is removed at the next Apply. \
             To keep it, undo the deletion in the RAS Console before anyone applies.",
            row.id
        ),
    )
}

/// From the first write to the Apply; one broker that waits for the moves of others says the same as they do.
pub(super) fn updating(fields: impl Iterator<Item = Field>, is_moved: bool) -> Hold {
    let names = fields.map(Field::name).chain(is_moved.then_some(super::place::FIELD));
    let names = names.collect::<Vec<_>>().join(", ");
    let waits =
        if is_moved { " The brokers of a site wait for each other, and are moved one by one." } else { "" };
    Hold::new(Reason::Updating, format!("The farm is being brought to the spec: {names}.{waits}"))
}

pub(super) fn applying(reason: Reason) -> Hold {
    Hold::new(reason, "The change is written to the farm and takes effect with the Apply that follows.")
}

fn duration(duration: std::time::Duration) -> crate::crd::Duration {
    crate::crd::Duration::from(duration)
}

fn apply_line(object: &ObjectFacts, farm: &str) -> String {
    let key = annotation::APPLY_REQUESTED_AT;
    annotate("rasfarm", &object.namespace, farm, key, "\"$(date +%s)\"")
}

pub(super) fn awaiting_apply(object: &ObjectFacts, farm: &str) -> Hold {
    let line = apply_line(object, farm);
    Hold::new(
        Reason::WaitingForApply,
        format!(
            "The change is written and waits for an Apply, which commits all pending work of the farm; \
             spec.apply.mode of the farm is Manual. Apply in the RAS Console, or: {line}"
        ),
    )
}

pub(super) fn quarantine() -> Hold {
    Hold::new(
        Reason::Quarantine,
        "The farm did not answer a request that may still take effect: nothing is sent again until that is no longer \
         possible. This resolves by itself.",
    )
}

pub(super) fn ignored(differences: &[(Field, Value, Option<Value>)]) -> Hold {
    let list = differences.iter().map(|(field, wanted, seen)| {
        let seen =
            seen.as_ref().map_or_else(|| "nothing".to_owned(), |seen| format!("{:?}", seen.to_string()));
        format!("{} should be {:?} and is {seen}", field.name(), wanted.to_string())
    });
    Hold::new(
        Reason::ReconcileError,
        format!(
            "The farm accepted the change and shows another value: {}. It is not sent again until the spec or the \
             farm changes; compare with what RAS allows for this broker.",
            list.collect::<Vec<_>>().join("; ")
        ),
    )
}

pub(super) fn primary_cannot(fields: &[Field]) -> Hold {
    let names = fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(" and ");
    Hold::new(
        Reason::ReconcileError,
        format!(
            "This broker is the primary of its site, which RAS neither disables nor puts in standby: {names} is left \
             as it is. Promote another broker first, or remove the field from the spec."
        ),
    )
}

pub(super) fn priority_unsupported() -> Hold {
    Hold::new(
        Reason::Unsupported,
        "The broker is not where spec.priority puts it and the farm has no call to move it, or does not show its \
         order: move it in the RAS Console, remove the field, or set spec.api.priority of the RasFarm to this farm's \
         call. Everything else is reconciled.",
    )
}

pub(super) fn place_ignored(wanted: i64, row: &ras::Broker) -> Hold {
    let seen = row.priority.unwrap_or_default();
    Hold::new(
        Reason::ReconcileError,
        format!(
            "The farm accepted the move and shows another place: priority should be {wanted} and is {seen}. It is not \
             moved again until the spec or the order changes; check spec.api.priority.form of the RasFarm, which says \
             whether a call moves a broker by one place or to a number."
        ),
    )
}

/// Beside what is in the farm: a primary keeps its spec for the day on which it is a secondary again.
pub(super) const PRIORITY_OF_PRIMARY: &str =
    "spec.priority says nothing while this broker is the primary of its site.";

/// The same for a broker that is ours: where the next step is ours to offer, it is.
pub(super) fn agent(object: &ObjectFacts, state: &str, health: Health) -> Hold {
    let hold = agent_observed(state, health);
    let offer = match health {
        Health::NotApplied => {
            format!("To apply all pending work of the farm: {}", apply_line(object, &object.desired.farm))
        }
        Health::Unreachable => "Where the agent is missing, either install it on the server by hand, or delete this \
             object and create it again with spec.install.agent: true. A later change of spec.install has no effect."
            .to_owned(),
        Health::Healthy
        | Health::Passing
        | Health::Leaving
        | Health::Restart
        | Health::Version
        | Health::Account
        | Health::Broken => return hold,
    };
    Hold { message: format!("{} {offer}", hold.message), ..hold }
}

pub(super) fn deletion_protected(object: &ObjectFacts) -> Hold {
    let key = annotation::DELETION_PROTECTION;
    let line = format!("kubectl annotate rasbroker -n {} {} {key}-", object.namespace, object.name);
    Hold::new(Reason::DeletionProtected, format!("The object is protected. To delete its broker: {line}"))
}

pub(super) fn deletion_suspended(object: &ObjectFacts) -> Hold {
    Hold::new(
        Reason::Suspended,
        format!(
            "The deletion waits because this object or its farm is suspended: set spec.suspend to false, or let go of \
             the object and leave the broker in the farm: {}",
            orphan_line(object)
        ),
    )
}

pub(super) fn deletion_waits(object: &ObjectFacts, why: &str) -> Hold {
    Hold::new(
        Reason::FarmUnavailable,
        format!(
            "{why} The deletion goes on by itself when that is over. To let go of the object and leave the broker in \
             the farm: {}",
            orphan_line(object)
        ),
    )
}

pub(super) fn earlier_delete() -> Hold {
    Hold::new(
        Reason::Quarantine,
        "The operator was restarted, or another replica took over, while this was being deleted. A DELETE that it may \
         have sent before can still take effect: the object is let go when that is no longer possible. This resolves \
         by itself.",
    )
}

pub(super) fn deleting(desired: &Desired, facts: &FarmFacts) -> Hold {
    if !desired.uninstall.agent {
        return Hold::new(Reason::Deleting, "The broker is being deleted from the farm.");
    }
    Hold::new(
        Reason::Deleting,
        format!(
            "The broker is being deleted from the farm, and its agent removed from {:?}, which can take up to {}. It \
             goes on by itself; what the farm does meanwhile is shown in the RAS Console.",
            desired.server,
            duration(facts.limits.install)
        ),
    )
}

pub(super) fn primary_stays(object: &ObjectFacts) -> Hold {
    Hold::new(
        Reason::AvailabilityGuard,
        format!(
            "This broker is the primary of its site, which cannot be deleted: promote another broker first, or let go \
             of the object and leave the broker in the farm: {}",
            orphan_line(object)
        ),
    )
}

pub(super) fn last_enabled(object: &ObjectFacts) -> Hold {
    Hold::new(
        Reason::AvailabilityGuard,
        format!(
            "This is the last enabled broker of its site (one in standby does not count beside one in use): enable \
             another, or delete it all the same: {}",
            annotate_broker(object, annotation::SKIP_AVAILABILITY_CHECK)
        ),
    )
}

pub(super) fn last_stays(object: &ObjectFacts) -> Hold {
    Hold::new(
        Reason::ReconcileError,
        format!(
            "This is the last enabled broker of its site (one in standby does not count beside one in use), so it is \
             neither disabled nor put in standby: enable another, correct the spec, or change it all the same: {}",
            annotate_broker(object, annotation::SKIP_AVAILABILITY_CHECK)
        ),
    )
}

/// Enable before another is disabled.
pub(super) const RAISE_FIRST: &str = "Another broker of its site is being created, enabled or taken out of standby: \
                                      that comes first, and this change follows by itself, also if that one fails.";

/// One at a time.
pub(super) const NOT_YET: &str = "Another broker of its site is being disabled, put in standby, deleted or promoted: \
                                  that is applied first, and this change follows by itself. Where the farm's \
                                  spec.apply.mode is Manual, the Apply must be asked for.";

pub(super) fn mass_deletion(object: &ObjectFacts, farm: &str, count: usize, threshold: usize) -> Hold {
    let key = annotation::ALLOW_MASS_DELETION;
    let line = annotate("rasfarm", &object.namespace, farm, key, "\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"");
    Hold::new(
        Reason::MassDeletionBreaker,
        format!(
            "More brokers of this farm were deleted within spec.deletionProtection.window than its threshold of \
             {threshold} allows ({count}), so none that is left is deleted. To allow what was deleted until now: {line}"
        ),
    )
}

pub(super) fn crd_unreadable(object: &ObjectFacts) -> Hold {
    deletion_waits(
        object,
        "The CustomResourceDefinition rasbrokers.ras-operator.dev cannot be read, so it is not known whether it is \
         being removed, and more than one deletion at a time is held.",
    )
}

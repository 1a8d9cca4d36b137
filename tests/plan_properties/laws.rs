//! What no plan may contain, whatever the world.

use ras_operator::broker::canonical::ServerName;
use ras_operator::broker::desired::{Field, Value};
use ras_operator::broker::observe::{Claim, ObjectFacts, Observed, Rival, row_fields};
use ras_operator::broker::plan::{Plan, Step};
use ras_operator::crd::{AdoptionPolicy, DeletionPolicy, ManagementPolicy, Origin};
use ras_operator::farm::sites::SiteChoice;
use ras_operator::farm::snapshot::RowKey;
use ras_operator::ras;

use crate::model::{ACCOUNT, World};

/// The laws that this plan breaks.
pub(crate) fn broken(observed: &Observed, plan: &Plan, world: &World) -> Vec<String> {
    let Some(step) = &plan.step else { return Vec::new() };
    let object = &observed.object;
    let mut checks: Vec<(&str, bool)> = Vec::new();
    let writes =
        matches!(step, Step::Create { .. } | Step::Update { .. } | Step::Move { .. } | Step::Delete { .. });
    let is_rest = object.desired.suspend || world.hold.is_some();
    checks.push(("writes to the farm while that is held", !(writes && is_rest)));
    let only_observes = object.desired.management == ManagementPolicy::ObserveOnly;
    checks.push(("an observer only lets go", !only_observes || matches!(step, Step::Release { .. })));
    checks.push((
        "writes before its finalizer stands",
        object.finalizer || !writes || matches!(step, Step::Create { .. }),
    ));
    // Another spelling keeps nobody from a row that is there, only from making another.
    let creates = matches!(step, Step::Create { .. });
    let loses = observed.rivals.iter().any(|rival| rival.precedes && (rival.same_key || creates));
    checks.push(("acts beside the one that comes first", !(loses && writes && object.deleted.is_none())));
    match step {
        Step::Create { intent } => checks.extend([
            ("creates while it is being deleted", object.deleted.is_none()),
            ("creates what it must only adopt", object.desired.adoption != AdoptionPolicy::Required),
            ("creates beside a row with its key", rows_with_key(observed, world).next().is_none()),
            ("repeats an attempt", object.intent.as_ref().is_none_or(|last| last.attempt < intent.attempt)),
        ]),
        Step::Update { id, fields } => {
            let row = world.rows.iter().find(|row| row.id == *id);
            checks.push(("changes a row that is not ours", is_ours(observed, row)));
            checks.push((
                "changes what is being removed",
                row.is_none_or(|row| row.marked_for_deletion != Some(true)),
            ));
            let set = &object.desired.fields;
            let only_set = fields.iter().all(|(field, value)| set.get(field) == Some(value));
            checks.push(("changes a field that is not managed", only_set && !fields.is_empty()));
            checks.push((
                "does to the primary what RAS forbids",
                row.is_none_or(|row| is_allowed(row, fields)),
            ));
        }
        Step::Move { id, to: _ } => checks.extend(of_move(observed, world, *id)),
        Step::Delete { row } => {
            checks.push(("deletes what another object holds", !is_anothers(observed, row)));
            checks.extend(of_delete(observed, plan, world, row));
        }
        Step::Record { row, origin } => {
            checks.push(("takes what another object holds", !is_anothers(observed, row)));
            checks.extend(of_record(observed, row, *origin));
        }
        Step::Claim | Step::ConfirmGone { .. } | Step::Release { .. } => {}
    }
    checks.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| format!("{law}: {step:?}")).collect()
}

fn of_delete(
    observed: &Observed,
    plan: &Plan,
    world: &World,
    row: &ras::Broker,
) -> [(&'static str, bool); 7] {
    let object = &observed.object;
    [
        ("deletes what is to exist", object.deleted.is_some()),
        ("deletes a row that is not ours", is_ours(observed, Some(row))),
        ("deletes the primary", row.priority != Some(0)),
        ("deletes what it is to leave", !is_orphan(observed)),
        ("deletes before the object shows it", shows_deletion(observed, plan)),
        ("deletes what is protected", !object.desired.requests.deletion_protection),
        (
            "deletes the last that serves",
            object.desired.requests.skip_availability_check || serves_without(world, row),
        ),
    ]
}

/// Whether an object that comes first names this row.
fn is_anothers(observed: &Observed, row: &ras::Broker) -> bool {
    let holds = |rival: &Rival| rival.same_key && rival.precedes && rival.claim == Claim::Row(row.id);
    observed.rivals.iter().any(holds)
}

fn shows_deletion(observed: &Observed, plan: &Plan) -> bool {
    let object = observed.object.clone();
    let status = plan.status.clone().unwrap_or_else(|| object.status.clone());
    ObjectFacts { status, ..object }.shows_deletion()
}

fn of_move(observed: &Observed, world: &World, id: i64) -> [(&'static str, bool); 4] {
    let row = world.rows.iter().find(|row| row.id == id);
    [
        ("moves a row that is not ours", is_ours(observed, row)),
        ("moves without being asked", observed.object.desired.priority.is_some()),
        ("moves the primary", row.is_none_or(|row| row.priority != Some(0))),
        ("moves what is being removed", row.is_none_or(|row| row.marked_for_deletion != Some(true))),
    ]
}

fn of_record(observed: &Observed, row: &ras::Broker, origin: Origin) -> Vec<(&'static str, bool)> {
    let object = &observed.object;
    let key = ("takes another key", has_key(observed, row));
    match origin {
        Origin::Adopted => {
            vec![key, ("adopts against its policy", object.desired.adoption != AdoptionPolicy::Never)]
        }
        Origin::Created => vec![
            key,
            ("takes for its own what somebody made", row.admin_create.as_deref() == Some(ACCOUNT)),
            ("takes without an intent", object.intent.is_some()),
        ],
    }
}

fn has_key(observed: &Observed, row: &ras::Broker) -> bool {
    let object = &observed.object;
    let wanted = object.desired.site.as_ref().map(|site| match site {
        SiteChoice::Id(id) => *id,
        SiteChoice::Name(_) => 1,
    });
    let site = object.recorded_site().or(wanted).unwrap_or(1);
    RowKey::of(row) == RowKey { site_id: site, name: ServerName::new(&object.desired.server) }
}

fn rows_with_key<'a>(observed: &Observed, world: &'a World) -> impl Iterator<Item = &'a ras::Broker> {
    let observed = observed.clone();
    world.rows.iter().filter(move |row| has_key(&observed, row) && !world.is_hidden(row))
}

fn is_ours(observed: &Observed, row: Option<&ras::Broker>) -> bool {
    let status = &observed.object.status;
    row.is_some_and(|row| status.id == Some(row.id) && status.origin.is_some() && has_key(observed, row))
}

fn is_allowed(row: &ras::Broker, fields: &ras_operator::broker::desired::Fields) -> bool {
    let harm = [(Field::Enabled, Value::Flag(false)), (Field::Standby, Value::Flag(true))];
    row.priority != Some(0) || harm.iter().all(|(field, value)| fields.get(field) != Some(value))
}

fn is_orphan(observed: &Observed) -> bool {
    let object = &observed.object;
    match object.desired.deletion {
        Some(DeletionPolicy::Orphan) => true,
        Some(DeletionPolicy::Delete) => object.desired.requests.force_orphan,
        None => object.status.origin == Some(Origin::Adopted) || object.desired.requests.force_orphan,
    }
}

fn serves_without(world: &World, row: &ras::Broker) -> bool {
    let serves = |other: &&ras::Broker| {
        other.site_id == row.site_id
            && row_fields(other).get(&Field::Enabled) != Some(&Value::Flag(false))
            && other.marked_for_deletion != Some(true)
    };
    !serves(&row) || world.rows.iter().filter(serves).any(|other| other.id != row.id)
}

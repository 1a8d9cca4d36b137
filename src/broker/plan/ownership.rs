//! Which row of the farm is ours, if any.

use std::sync::Arc;

use crate::broker::canonical::ServerName;
use crate::broker::observe::ObjectFacts;
use crate::farm::snapshot::RowKey;
use crate::farm::view::FarmFacts;
use crate::ras;

/// What the farm's list says of one object's broker.
#[derive(Clone, Debug)]
pub(super) enum Ownership {
    /// The row that status names, and that is still what was recorded.
    Ours(Arc<ras::Broker>),
    /// A row that carries the mark of this object's intent and that no status names yet.
    Marked(Arc<ras::Broker>),
    /// Somebody's row with our key.
    Foreign(Arc<ras::Broker>),
    /// More than one row with our key.
    Ambiguous(usize),
    /// We had a row, and it is not in the list.
    Vanished {
        /// The recorded id.
        id: i64,
    },
    /// There is no row, and none was ever known.
    Absent,
}

/// Finds the row of `object` with key `key`.
pub(super) fn find(object: &ObjectFacts, facts: &FarmFacts, key: &RowKey) -> Ownership {
    let recorded = recorded_id(object, facts);
    if let Some(row) = recorded_row(object, facts, key) {
        return Ownership::Ours(Arc::clone(row));
    }
    // The id does not lead to our row: identity is taken again from key and mark.
    match (facts.snapshot.with_key(key).as_slice(), recorded) {
        ([], Some(id)) => Ownership::Vanished { id },
        ([], None) => Ownership::Absent,
        ([row], _) if is_marked(object, facts, row) => Ownership::Marked(Arc::clone(row)),
        ([row], _) => Ownership::Foreign(Arc::clone(row)),
        (rows, _) => Ownership::Ambiguous(rows.len()),
    }
}

/// The row that the id of a broker which vanished from its site leads to, where that is its server in another site.
pub(super) fn elsewhere<'a>(facts: &'a FarmFacts, key: &RowKey, id: i64) -> Option<&'a Arc<ras::Broker>> {
    let is_it =
        |row: &&Arc<ras::Broker>| ServerName::new(&row.server) == key.name && row.site_id != key.site_id;
    facts.snapshot.row(id).filter(is_it)
}

/// The row that the status of `object` names, where it is still what was recorded.
pub(crate) fn own_row(object: &ObjectFacts, facts: &FarmFacts) -> Option<Arc<ras::Broker>> {
    let key = RowKey { site_id: object.recorded_site()?, name: object.desired.name.clone() };
    recorded_row(object, facts, &key).map(Arc::clone)
}

fn recorded_row<'a>(
    object: &ObjectFacts,
    facts: &'a FarmFacts,
    key: &RowKey,
) -> Option<&'a Arc<ras::Broker>> {
    let row = recorded_id(object, facts).and_then(|id| facts.snapshot.row(id))?;
    is_recorded(object, row, key).then_some(row)
}

/// The id that was recorded in this very farm; one from before another GUID was accepted is void.
fn recorded_id(object: &ObjectFacts, facts: &FarmFacts) -> Option<i64> {
    let same_farm = object.status.farm_guid.as_deref().is_none_or(|guid| guid == facts.identity);
    object.owned_id().filter(|_| same_farm)
}

/// Whether a row under the recorded id is the recorded one: same server, same site, made at the same time.
pub(super) fn is_recorded(object: &ObjectFacts, row: &ras::Broker, key: &RowKey) -> bool {
    let recorded = object.status.observed.as_ref().and_then(|observed| observed.time_create.as_deref());
    let same_time = match (recorded, row.time_create.as_deref()) {
        (Some(recorded), Some(shown)) => recorded == shown,
        (None, _) | (_, None) => true,
    };
    same_time && row.site_id == key.site_id && ServerName::new(&row.server) == key.name
}

fn is_marked(object: &ObjectFacts, facts: &FarmFacts, row: &ras::Broker) -> bool {
    object.intent.as_ref().is_some_and(|intent| {
        intent.farm_guid == facts.identity && intent.marks(row, facts.learnt_account.as_deref())
    })
}

//! Who owns which fields, and server-side apply, which lives on it: a manager that no longer states a field takes it
//! away, unless somebody else states it too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{self, Differences, Fields, Step};
use super::kinds::{DEFINITIONS, Kind};
use super::object::meta;
use super::refusal::{self, Refusal};
use super::request::{Manager, Part};

/// Whose fields these are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    manager: String,
    /// Whether they were applied; else they were written in any other way.
    applies: bool,
    part: Part,
}

pub(super) type Owners = BTreeMap<Owner, Fields>;

/// Fields that nobody owns, for the server writes them.
const OWNERLESS: [&str; 6] =
    ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];

/// The owners after `old` was written over with `new`.
pub(super) fn written(
    kind: &Kind,
    part: Part,
    manager: &Manager,
    (old, owners): (&Value, &Owners),
    new: &Value,
) -> Owners {
    // What began without owners gets none by writing. Definitions are large, and nobody disputes their fields here.
    let is_new = meta(old, "uid").is_empty();
    if kind.plural == DEFINITIONS || owners.is_empty() && !is_new {
        return Owners::new();
    }
    let owner = Owner { manager: manager.name.clone(), applies: false, part };
    let found = counting(kind, part, fields::differences(&kind.schema, old, new));
    let mut owners = owners.clone();
    take(&mut owners, &owner, &found);
    let own = owners.entry(owner.clone()).or_default();
    own.retain(|path| !found.removed.contains(path));
    own.extend(found.changed);
    own.extend(found.added);
    owners.retain(|_, fields| !fields.is_empty());
    owners
}

/// What becomes of an object, and of its owners, when a manager applies `config` to it.
pub(super) fn applied(
    kind: &Kind,
    part: Part,
    manager: &Manager,
    (old, owners): (&Value, &Owners),
    config: &Value,
) -> Result<(Value, Owners), Refusal> {
    if let Some(why) = kind.schema.obstacle("", config) {
        return Err(refusal::not_appliable(&why));
    }
    let owner = Owner { manager: manager.name.clone(), applies: true, part };
    let mut owners = owners.clone();
    if owners.is_empty() && !meta(old, "uid").is_empty() {
        let first = Manager { name: "before-first-apply".to_owned(), force: false };
        owners = written(kind, part, &first, (&json!({}), &owners), old);
    }
    // With the name, which is never owned in the end, but holds the rest of metadata here.
    let stated = fields::stated(&kind.schema, config);
    let before = owners.insert(owner.clone(), stated).unwrap_or_default();
    let merged = fields::merged(&kind.schema, old, config);
    let new = pruned(kind, merged, &before, &owners);
    let found = counting(kind, part, fields::differences(&kind.schema, old, &new));
    if !manager.force {
        let conflicts = conflicts(&owners, &owner, &found);
        if !conflicts.is_empty() {
            return Err(refusal::owned_by_others(&conflicts));
        }
    }
    take(&mut owners, &owner, &found);
    owners.entry(owner).or_default().retain(|path| counts(kind, part, path));
    owners.retain(|_, fields| !fields.is_empty());
    Ok((new, owners))
}

/// Takes away what the manager stated before, and nobody states now.
fn pruned(kind: &Kind, merged: Value, before: &Fields, owners: &Owners) -> Value {
    if before.is_empty() {
        return merged;
    }
    let schema = &kind.schema;
    let all = |value: &Value| fields::with_parents(schema, &fields::stated(schema, value));
    let before = fields::with_parents(schema, before);
    let owned: Fields = owners.values().flatten().cloned().collect();
    let owned = fields::with_parents(schema, &owned);
    let there = all(&merged);

    let less = all(&fields::without(schema, &merged, &before));
    let unowned = there.difference(&less).filter(|path| !owned.contains(*path)).cloned().collect();
    let less = all(&fields::without(schema, &merged, &unowned));
    let stated_before = there.difference(&less).filter(|path| before.contains(*path)).cloned().collect();
    fields::without(schema, &merged, &stated_before)
}

/// Whoever owned what changed or is gone owns it no longer.
fn take(owners: &mut Owners, by: &Owner, found: &Differences) {
    for (_, fields) in owners.iter_mut().filter(|(owner, _)| *owner != by) {
        fields.retain(|path| {
            let is_in_removed = (1..=path.len()).any(|end| found.removed.contains(&path[..end]));
            !found.changed.contains(path) && !found.added.contains(path) && !is_in_removed
        });
    }
}

fn conflicts(owners: &Owners, by: &Owner, found: &Differences) -> Vec<(String, String)> {
    let others = owners.iter().filter(|(owner, _)| *owner != by);
    let contested = others.flat_map(|(owner, fields)| fields.iter().map(move |path| (owner, path)));
    contested
        .filter(|(_, path)| found.changed.contains(*path) || found.added.contains(*path))
        .map(|(owner, path)| (owner.manager.clone(), fields::spelled(path)))
        .collect()
}

fn counting(kind: &Kind, part: Part, found: Differences) -> Differences {
    let counting = |fields: Fields| fields.into_iter().filter(|path| counts(kind, part, path)).collect();
    let Differences { added, changed, removed } = found;
    Differences { added: counting(added), changed: counting(changed), removed: counting(removed) }
}

/// Whether a field can be owned through this part of an object.
fn counts(kind: &Kind, part: Part, path: &[Step]) -> bool {
    let name = |index: usize| match path.get(index) {
        Some(Step::Field(name)) => name.as_str(),
        Some(Step::Item(_)) | None => "",
    };
    match (name(0), part) {
        ("" | "apiVersion" | "kind", _) => false,
        ("metadata", Part::Main) => !name(1).is_empty() && !OWNERLESS.contains(&name(1)),
        ("status", Part::Main) => !kind.has_status(),
        ("status", Part::Status) | (_, Part::Main) => true,
        (_, Part::Status) => false,
    }
}

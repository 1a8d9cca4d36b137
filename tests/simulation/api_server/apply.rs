//! Server-side apply.

use serde_json::Value;

use super::kinds::Kind;
use super::object::{meta, set, set_meta};
use super::refusal::Refusal;
use super::registry;
use super::request::Part;

/// What becomes of `old` when a manager applies `patch` to a part of it.
pub(super) fn applied(
    kind: &Kind,
    _part: Part,
    old: &Value,
    patch: Value,
    _force: bool,
) -> Result<Value, Refusal> {
    let space = meta(old, "namespace");
    let patch = registry::decoded(kind, (!space.is_empty()).then_some(space), meta(old, "name"), patch)?;
    let mut new = old.clone();
    set(&mut new, "status", patch.get("status").cloned());
    let version = meta(&patch, "resourceVersion");
    if !version.is_empty() {
        set_meta(&mut new, "resourceVersion", Some(version.into()));
    }
    Ok(new)
}

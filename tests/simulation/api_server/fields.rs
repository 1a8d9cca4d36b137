//! Sets of fields, as server-side apply counts them: which fields a value has, how two values differ in them, and a
//! value without some of them. Follows `structured-merge-diff`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::Schema;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// An item of a list, by what tells it from the others.
    Item(String),
}

pub(super) type Path = Vec<Step>;
pub(super) type Fields = BTreeSet<Path>;

/// What became of fields between two values.
#[derive(Clone, Debug, Default)]
pub(super) struct Differences {
    pub(super) added: Fields,
    pub(super) changed: Fields,
    pub(super) removed: Fields,
}

/// The fields that a value states.
pub(super) fn stated(schema: &Schema, value: &Value) -> Fields {
    let mut fields = Fields::new();
    state(schema, value, &mut Path::new(), &mut fields);
    fields
}

fn state(schema: &Schema, value: &Value, path: &mut Path, fields: &mut Fields) {
    match value {
        Value::Object(inner) => {
            for (name, value) in inner {
                path.push(Step::Field(name.clone()));
                state(schema.field(name).unwrap_or(&ANY), value, path, fields);
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if is_empty || !schema.properties.contains_key(name) {
                    fields.insert(path.clone());
                }
                path.pop();
            }
        }
        Value::Array(items) if schema.is_keyed() => {
            for item in items {
                path.push(Step::Item(schema.key_of(item).unwrap_or_default()));
                state(schema.item(), item, path, fields);
                fields.insert(path.clone());
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            fields.insert(path.clone());
        }
    }
}

static ANY: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);

impl Schema {
    /// Whether each item of the list is a field of its own.
    pub(super) fn is_keyed(&self) -> bool {
        matches!(self.list_type.as_deref(), Some("map" | "set"))
    }

    pub(super) fn item(&self) -> &Self {
        self.items.as_deref().unwrap_or(&ANY)
    }

    fn keyed<'a>(&self, items: &'a [Value]) -> BTreeMap<String, &'a Value> {
        items.iter().map(|item| (self.key_of(item).unwrap_or_default(), item)).collect()
    }
}

/// How `new` differs from `old`.
pub(super) fn differences(schema: &Schema, old: &Value, new: &Value) -> Differences {
    let mut found = Differences::default();
    differ(schema, Some(old), Some(new), &mut Path::new(), &mut found);
    found
}

fn differ(
    schema: &Schema,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Path,
    found: &mut Differences,
) {
    let is_leaf = match (old, new) {
        (Some(old), Some(new)) => !has_parts(schema, old) && !has_parts(schema, new),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => return,
    };
    if is_leaf {
        if old != new {
            found.changed.insert(path.clone());
        }
        return;
    }
    if old.is_none() {
        found.added.insert(path.clone());
    } else if new.is_none() {
        found.removed.insert(path.clone());
    }
    let (old, new) = (parts(schema, old), parts(schema, new));
    let steps: BTreeSet<&Step> = old.keys().chain(new.keys()).collect();
    for step in steps {
        let inner = match step {
            Step::Field(name) => schema.field(name).unwrap_or(&ANY),
            Step::Item(_) => schema.item(),
        };
        path.push(step.clone());
        differ(inner, old.get(step).copied(), new.get(step).copied(), path, found);
        path.pop();
    }
}

/// Whether a value is compared part by part.
fn has_parts(schema: &Schema, value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(_) => schema.is_keyed(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn parts<'a>(schema: &Schema, value: Option<&'a Value>) -> BTreeMap<Step, &'a Value> {
    match value {
        Some(Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (Step::Field(name.clone()), value)).collect()
        }
        Some(Value::Array(items)) if schema.is_keyed() => {
            schema.keyed(items).into_iter().map(|(key, item)| (Step::Item(key), item)).collect()
        }
        Some(_) | None => BTreeMap::new(),
    }
}

/// The set, and with each field the named fields in which it lies.
pub(super) fn with_parents(schema: &Schema, fields: &Fields) -> Fields {
    let mut all = fields.clone();
    for path in fields {
        let mut schema = schema;
        for (index, step) in path.iter().enumerate() {
            let Step::Field(name) = step else {
                schema = schema.item();
                continue;
            };
            if schema.properties.contains_key(name) {
                all.insert(path[..=index].to_vec());
            }
            schema = schema.field(name).unwrap_or(&ANY);
        }
    }
    all
}

/// The value without these fields and all that lies in them.
pub(super) fn without(schema: &Schema, value: &Value, fields: &Fields) -> Value {
    remove(schema, value, &mut Path::new(), fields)
}

fn remove(schema: &Schema, value: &Value, path: &mut Path, fields: &Fields) -> Value {
    let concerns =
        |path: &Path| fields.range(path.clone()..).next().is_some_and(|next| next.starts_with(path));
    if !concerns(path) {
        return value.clone();
    }
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            let mut kept = Map::new();
            for (name, value) in inner {
                path.push(Step::Field(name.clone()));
                if !fields.contains(path) {
                    let inner = schema.field(name).unwrap_or(&ANY);
                    kept.insert(name.clone(), remove(inner, value, path, fields));
                }
                path.pop();
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::Array(items) if schema.is_keyed() && !items.is_empty() => {
            let mut kept = Vec::new();
            for item in items {
                path.push(Step::Item(schema.key_of(item).unwrap_or_default()));
                if !fields.contains(path) {
                    kept.push(remove(schema.item(), item, path, fields));
                }
                path.pop();
            }
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value.clone(),
    }
}

/// `over` laid over `base`, field by field; lists with keys item by item, in the order of `over`.
pub(super) fn merged(schema: &Schema, base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged_fields = base.clone();
            for (name, value) in over {
                let inner = schema.field(name).unwrap_or(&ANY);
                let value = base.get(name).map_or_else(|| value.clone(), |base| merged(inner, base, value));
                merged_fields.insert(name.clone(), value);
            }
            Value::Object(merged_fields)
        }
        (Value::Array(base), Value::Array(over)) if schema.is_keyed() => {
            Value::Array(merged_items(schema, base, over))
        }
        (_, over) => over.clone(),
    }
}

fn merged_items(schema: &Schema, base: &[Value], over: &[Value]) -> Vec<Value> {
    let (in_base, in_over) = (schema.keyed(base), schema.keyed(over));
    let key = |item: &Value| schema.key_of(item).unwrap_or_default();
    let taken = |name: &str| match (in_base.get(name), in_over.get(name)) {
        (Some(base), Some(over)) => merged(schema.item(), base, over),
        (_, Some(only)) | (Some(only), None) => (*only).clone(),
        (None, None) => Value::Null,
    };
    let mut shared = over.iter().map(key).filter(|name| in_base.contains_key(name));
    let mut next_shared = shared.next();
    let (mut base, mut over) = (base.iter().map(key).peekable(), over.iter().map(key).peekable());
    let mut done = BTreeSet::new();
    let mut items = Vec::new();
    loop {
        match (base.peek().cloned(), over.peek().cloned()) {
            (None, None) => return items,
            (Some(left), right) if !in_over.contains_key(&left) || right.is_none() => {
                base.next();
                if !in_over.contains_key(&left) {
                    items.push(taken(&left));
                }
            }
            // Shared with `over`, but not what comes next there; or told already.
            (Some(left), Some(right))
                if left != right && (done.contains(&left) || next_shared.as_ref() != Some(&left)) =>
            {
                base.next();
            }
            (left, Some(right)) => {
                if left.as_ref() == Some(&right) {
                    base.next();
                }
                over.next();
                if next_shared.as_ref() == Some(&right) {
                    next_shared = shared.next();
                }
                items.push(taken(&right));
                done.insert(right);
            }
            (Some(_), None) => drop(base.next()),
        }
    }
}

/// A path as conflicts name it: `.status.conditions[type="Ready"].status`.
pub(super) fn spelled(path: &Path) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Item(key) => {
            let pairs: BTreeMap<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if pairs.is_empty() { format!("[={key}]") } else { format!("[{}]", pairs.join(",")) }
        }
    });
    steps.collect()
}

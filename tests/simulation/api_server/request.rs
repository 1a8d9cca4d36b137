//! What can be asked of the server, as a value.

use serde_json::Value;

use super::kinds::{KINDS, Kind};
use super::refusal::{self, Refusal};

/// One request, understood.
#[derive(Clone)]
pub(crate) struct Request {
    pub(super) kind: &'static Kind,
    /// `None` for cluster-wide kinds, and for lists over all namespaces.
    pub(super) namespace: Option<String>,
    /// Empty where a collection is meant.
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) manager: Manager,
    pub(super) verb: Verb,
}

/// On whose behalf fields are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Manager {
    pub(super) name: String,
    /// Whether it takes fields that others own.
    pub(super) force: bool,
}

/// Which resource of an object is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The object itself.
    Main,
    /// Its status alone.
    Status,
}

/// What to do.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Get,
    List(Selector),
    Watch(WatchOptions),
    Create(Value),
    Replace(Value),
    Merge(Value),
    Apply(Value),
    Delete(Value),
}

/// How a watch begins, and when it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchOptions {
    pub(super) selector: Selector,
    /// `None` for any: then, and only then, what is there is told first.
    pub(super) from: Option<u64>,
    /// Whether to tell what is there, and then that this is all.
    pub(super) initial: bool,
    pub(super) bookmarks: bool,
    pub(super) seconds: Option<u64>,
}

/// Which objects of a collection are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    /// Path of a field, as JSON pointer, and its value.
    pub(super) fields: Vec<(String, String)>,
    pub(super) labels: Vec<(String, String)>,
}

impl Selector {
    /// Reads `a.b=c,...` of fields and of labels; no other operator is known.
    pub(super) fn parse(fields: &str, labels: &str) -> Self {
        let pairs = |text: &str| -> Vec<(String, String)> {
            text.split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.trim_start_matches('=').to_owned()))
                .collect()
        };
        let pointer = |(path, value): (String, String)| (format!("/{}", path.replace('.', "/")), value);
        Self { fields: pairs(fields).into_iter().map(pointer).collect(), labels: pairs(labels) }
    }

    /// Not every field can be asked for.
    pub(super) fn check(&self, kind: &Kind) -> Result<(), Refusal> {
        match self.fields.iter().find(|(path, _)| !kind.selectable.contains(path)) {
            Some((path, _)) => Err(refusal::bad_request(format!("field label not supported: {path}"))),
            None => Ok(()),
        }
    }

    pub(super) fn admits(&self, object: &Value) -> bool {
        let is =
            |found: Option<&Value>, wanted: &str| found.and_then(Value::as_str).unwrap_or_default() == wanted;
        self.fields.iter().all(|(path, value)| is(object.pointer(path), value))
            && self.labels.iter().all(|(name, value)| is(object["metadata"]["labels"].get(name), value))
    }
}

/// The kind of this name in `kind` of an object.
pub(super) fn kind_named(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("{name} is no kind of the model"))
}

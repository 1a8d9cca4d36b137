//! What a schema does to an object on its way in: unknown fields go, defaults come, and what is wrong is named.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::refusal::Fault;

/// A structural schema, as far as the project's definitions use one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) properties: BTreeMap<String, Self>,
    pub(super) additional_properties: Option<Box<Self>>,
    pub(super) items: Option<Box<Self>>,
    #[serde(rename = "x-kubernetes-list-type")]
    pub(super) list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub(super) list_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub(super) keeps_unknown: bool,
    pub(super) default: Option<Value>,
    required: Vec<String>,
    #[serde(rename = "enum")]
    one_of: Vec<Value>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    max_items: Option<usize>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    format: Option<String>,
    #[serde(deserialize_with = "compiled")]
    pattern: Option<Regex>,
}

fn compiled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map(Some).map_err(D::Error::custom)
}

impl Schema {
    /// The schema of what is at `name` in an object.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional_properties.as_deref())
    }

    /// Drops what the schema does not know, and every `null`; one in a map of texts is an empty text.
    pub(super) fn prune(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if self.additional_properties.is_some() {
                    fields.values_mut().filter(|inner| inner.is_null()).for_each(|inner| *inner = "".into());
                }
                fields.retain(|name, inner| {
                    !inner.is_null() && (self.keeps_unknown || self.field(name).is_some())
                });
                for (name, inner) in fields {
                    if let Some(schema) = self.field(name) {
                        schema.prune(inner);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for item in items {
                        schema.prune(item);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Fills in defaults, from the outside inwards.
    pub(super) fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, schema) in &self.properties {
                    if let Some(default) = &schema.default
                        && fields.get(name).is_none_or(Value::is_null)
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, inner) in fields {
                    if let Some(schema) = self.field(name) {
                        schema.fill(inner);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for item in items {
                        schema.fill(item);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// What keeps a value from being applied field by field: other than a write, an apply takes nothing that is unknown.
    pub(super) fn obstacle(&self, path: &str, value: &Value) -> Option<String> {
        if !value.is_null() && !self.has_type(value) {
            return Some(format!("{path}: of another type"));
        }
        match value {
            Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
                let path = joined(path, name);
                match self.field(name) {
                    Some(schema) => schema.obstacle(&path, inner),
                    None => (!self.keeps_unknown).then(|| format!("{path}: field not declared in schema")),
                }
            }),
            Value::Array(items) => {
                let mut seen = BTreeSet::new();
                let twice =
                    items.iter().filter_map(|item| self.key_of(item)).find(|key| !seen.insert(key.clone()));
                let inner = self.items.iter();
                let mut inner =
                    inner.flat_map(|schema| items.iter().map(move |item| schema.obstacle(path, item)));
                twice
                    .map(|key| format!("{path}: duplicate entries for key {key}"))
                    .or_else(|| inner.find_map(|it| it))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }

    /// What is wrong with the value, each with its path.
    pub(super) fn check(&self, path: &str, value: &Value, faults: &mut Vec<Fault>) {
        // Of an enum both is said of what has not even its type.
        if !self.one_of.is_empty() && !self.one_of.contains(value) {
            faults.push(Fault::new(path, "FieldValueNotSupported", format!("Unsupported value: {value}")));
        }
        if !self.has_type(value) {
            return faults.push(Fault::new(path, "FieldValueTypeInvalid", "Invalid value: of another type"));
        }
        match value {
            Value::Object(fields) => self.check_fields(path, fields, faults),
            Value::Array(items) => self.check_items(path, items, faults),
            Value::String(text) => self.check_text(path, text, faults),
            Value::Number(number) => self.check_number(path, number.as_f64().unwrap_or_default(), faults),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn has_type(&self, value: &Value) -> bool {
        match self.type_.as_deref() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            _ => true,
        }
    }

    fn check_fields(&self, path: &str, fields: &Map<String, Value>, faults: &mut Vec<Fault>) {
        for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
            faults.push(Fault::new(joined(path, name), "FieldValueRequired", "Required value"));
        }
        for (name, inner) in fields {
            if let Some(schema) = self.field(name) {
                schema.check(&joined(path, name), inner, faults);
            }
        }
    }

    fn check_items(&self, path: &str, items: &[Value], faults: &mut Vec<Fault>) {
        if self.max_items.is_some_and(|most| items.len() > most) {
            faults.push(Fault::new(path, "FieldValueTooMany", "Too many items"));
        }
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if self.key_of(item).is_some_and(|key| !seen.insert(key)) {
                faults.push(Fault::new(&path, "FieldValueDuplicate", "Duplicate value"));
            }
            if let Some(schema) = &self.items {
                schema.check(&path, item, faults);
            }
        }
    }

    fn check_text(&self, path: &str, text: &str, faults: &mut Vec<Fault>) {
        let length = text.chars().count();
        if self.min_length.is_some_and(|least| length < least) {
            faults.push(Fault::new(path, "FieldValueInvalid", "Invalid value: too short"));
        }
        if self.max_length.is_some_and(|most| length > most) {
            faults.push(Fault::new(path, "FieldValueTooLong", "Too long"));
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            faults.push(Fault::new(path, "FieldValueInvalid", "Invalid value: does not match the pattern"));
        }
        if self.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
            faults.push(Fault::new(
                path,
                "FieldValueTypeInvalid",
                "Invalid value: must be of type date-time",
            ));
        }
    }

    fn check_number(&self, path: &str, number: f64, faults: &mut Vec<Fault>) {
        let is_outside = self.minimum.is_some_and(|least| number < least)
            || self.maximum.is_some_and(|most| number > most);
        if is_outside {
            faults.push(Fault::new(path, "FieldValueInvalid", "Invalid value: out of range"));
        }
    }

    /// What tells an item of this list from the others; `None` where the list is one value.
    pub(super) fn key_of(&self, item: &Value) -> Option<String> {
        match self.list_type.as_deref() {
            Some("map") => {
                let key: BTreeMap<&str, &Value> =
                    self.list_keys.iter().map(|name| (name.as_str(), &item[name.as_str()])).collect();
                serde_json::to_string(&key).ok()
            }
            Some("set") => Some(item.to_string()),
            _ => None,
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

//! What the farm must hold for an object, as a short function of its specs: written for these tests, and sharing nothing
//! with the operator.

use std::collections::BTreeMap;

use ras_operator::simulator::Row;
use serde_json::{Value, json};

/// The fields of a row that a spec may manage.
const FIELDS: [&str; 5] = ["enabled", "standby", "description", "ip", "alternativeIPs"];

/// The values that a field of a row may have; `None` where the farm fills it in.
type Fields = BTreeMap<&'static str, Option<Vec<Value>>>;

/// How an object came by its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Created,
    Adopted,
}

/// What an object must show once it has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Ready,
    /// The agent was removed with an earlier broker of this server, and nobody installed it again.
    Synced,
    Suspended,
    Stalled,
    /// `ObserveOnly`: the row is reported.
    Observed,
}

/// What is expected of one object and its server.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) ours: Option<Ours>,
    pub(super) row: Option<Fields>,
    /// Whether this very object created the row: its intent knows it again after it was let go.
    made: bool,
    has_no_agent: bool,
}

impl Expected {
    /// Specs that stood for a while, and one that stands. What was in between may have reached the farm or not.
    pub(super) fn settle(&mut self, between: &[Value], spec: &Value, farm_suspended: bool) -> Shows {
        if spec["managementPolicy"] == "ObserveOnly" {
            self.ours = None;
            return if self.row.is_some() { Shows::Observed } else { Shows::Stalled };
        }
        let is_stuck = match &self.row {
            Some(_) => spec["adoptionPolicy"] == "Never" && !self.made,
            None => spec["adoptionPolicy"] == "Required",
        };
        if self.ours.is_none() && is_stuck {
            return Shows::Stalled;
        }
        let rests = farm_suspended || spec["suspend"] == true;
        if self.ours.is_none() && !rests {
            self.made |= self.row.is_none();
            self.ours = Some(if self.made { Ours::Created } else { Ours::Adopted });
            self.has_no_agent &= self.row.is_some() || spec["install"]["agent"] != true;
            self.row.get_or_insert_with(new_row);
        }
        if self.ours.is_some() {
            self.write(between, spec, rests);
        }
        match (rests, self.has_no_agent) {
            (true, _) => Shows::Suspended,
            (false, false) => Shows::Ready,
            (false, true) => Shows::Synced,
        }
    }

    fn write(&mut self, between: &[Value], spec: &Value, rests: bool) {
        let Some(row) = &mut self.row else { return };
        for field in FIELDS {
            let wanted = of_spec(spec, field).filter(|_| !rests);
            let passed = between.iter().filter_map(|spec| of_spec(spec, field));
            match wanted {
                Some(wanted) => drop(row.insert(field, Some(vec![wanted]))),
                // Not managed any more: the last that was written stays.
                None => {
                    if let Some(Some(values)) = row.get_mut(field) {
                        values.extend(passed);
                    }
                }
            }
        }
    }

    /// The object is deleted with this as its last spec.
    pub(super) fn delete(&mut self, spec: &Value) {
        let goes = match spec["deletionPolicy"].as_str() {
            Some("Delete") => true,
            Some(_) => false,
            None => self.ours == Some(Ours::Created),
        };
        self.made = false;
        if self.ours.take().is_some() && goes {
            self.row = None;
            self.has_no_agent |= spec["uninstall"]["agent"] == true;
        }
    }

    /// Compares with what the farm holds, and takes over what it chose.
    pub(super) fn meets(&mut self, found: Option<&Row>) -> Result<(), String> {
        let (expected, found) = match (&mut self.row, found) {
            (None, None) => return Ok(()),
            (Some(_), None) => return Err("the broker is not in the farm".to_owned()),
            (None, Some(row)) => return Err(format!("there is a broker that nobody asked for: {row:?}")),
            (Some(expected), Some(row)) => (expected, of_row(row)),
        };
        for (field, value) in found {
            let allowed = expected.entry(field).or_default();
            if allowed.as_ref().is_some_and(|allowed| !allowed.contains(&value)) {
                return Err(format!("{field} is {value}, and should be one of {allowed:?}"));
            }
            *allowed = Some(vec![value]);
        }
        Ok(())
    }
}

/// A broker as RAS makes it: in use, and the address is looked up.
fn new_row() -> Fields {
    let only = |value: Value| Some(vec![value]);
    [
        ("enabled", only(json!(true))),
        ("standby", only(json!(false))),
        ("description", only(json!(""))),
        ("ip", None),
        ("alternativeIPs", only(json!([]))),
    ]
    .into()
}

fn of_spec(spec: &Value, field: &str) -> Option<Value> {
    let value = spec.get(field).filter(|value| !value.is_null())?;
    Some(match value.as_array() {
        Some(list) => sorted(list.iter().filter_map(Value::as_str).collect()),
        None => value.clone(),
    })
}

fn of_row(row: &Row) -> [(&'static str, Value); 5] {
    let addresses = row.alternative_ips.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
    [
        ("enabled", json!(row.enabled)),
        ("standby", json!(row.standby)),
        ("description", json!(row.description)),
        ("ip", json!(row.ip)),
        ("alternativeIPs", sorted(addresses.collect())),
    ]
}

fn sorted(mut list: Vec<&str>) -> Value {
    list.sort_unstable();
    json!(list)
}

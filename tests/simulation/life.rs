//! The life of one object, and what a version of it asks for and permits.

use std::collections::BTreeSet;
use std::time::Duration;

use ras_operator::simulator::Row;
use serde_json::Value;

use crate::objects::{
    farm_of, has_finalizer, is_going, is_observer, is_suspended, owned_id, takes_broker_along, text,
};
use crate::world::is_operators;

/// How long a call may be on its way that was decided on what was true then.
pub const ON_ITS_WAY: Duration = Duration::from_secs(90);

/// All versions of one object, by its uid.
#[derive(Default)]
pub struct Life {
    /// Each since when the operator's machine was awake for so long: what it has sent may sleep with it.
    pub versions: Vec<(Duration, Value)>,
    pub gone: bool,
    /// A person took its finalizer off: whatever it owned is theirs to look after.
    pub stripped: bool,
    /// Somebody wrote another id into its status while lists lagged, or what told of its row is forgotten: nothing tells
    /// any more whose that is.
    pub forged: bool,
    /// Why its row may stay where it ends.
    pub leave: Option<Leave>,
    /// When an intent was written that was not sent yet.
    pub unsent: Option<Duration>,
    /// When the last POST was sent of which nothing certain is known.
    pub in_doubt: Option<Duration>,
    /// POSTs that were answered with 201.
    pub clean: usize,
    /// Rows of it that somebody else removed.
    pub removed: usize,
}

/// Why a row may stay although its object is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The operator took its finalizer off while it lived: whatever it owned is nobody's since.
    LetGo,
    /// Its kind went with it, or it went past its finalizer amid other faults.
    Excused,
}

impl Life {
    /// Whether its status ever named this row of a farm as its own.
    pub fn owns(&self, farm: usize, id: i64) -> bool {
        self.ever(|object| farm_of(object) == farm && owned_id(object) == Some(id))
    }

    /// Whether it went in spite of its finalizer, and its row is to go with it, as far as may have been seen.
    pub fn is_swept_away(&self, now: Duration) -> bool {
        let is_held = self.versions.last().is_some_and(|(_, object)| has_finalizer(object));
        self.gone && is_held && self.lately(now, takes_broker_along)
    }

    /// Whether it held of any version.
    pub fn ever(&self, holds: impl Fn(&Value) -> bool) -> bool {
        self.versions.iter().any(|(_, object)| holds(object))
    }

    /// Whether it held at a moment not longer ago than a call may take.
    pub fn lately(&self, now: Duration, holds: impl Fn(&Value) -> bool) -> bool {
        let since = now.saturating_sub(ON_ITS_WAY);
        let first = self.versions.iter().rposition(|(at, _)| *at <= since).unwrap_or_default();
        self.versions[first..].iter().any(|(_, object)| holds(object))
    }
}

/// Whether an object may change or delete its row.
pub fn may(method: &str, object: &Value) -> bool {
    let acts = !is_observer(object) && !is_suspended(object);
    acts && if method == "DELETE" {
        is_going(object) && takes_broker_along(object)
    } else {
        !is_going(object)
    }
}

/// Whether a row is what the spec asks for, and applied.
pub fn matches(object: &Value, row: &Row) -> bool {
    let spec = &object["spec"];
    let flag = |name: &str, is: bool| spec[name].as_bool().is_none_or(|wanted| wanted == is);
    let told = |name: &str, is: &str| spec[name].as_str().is_none_or(|wanted| wanted == is);
    let addresses = |list: &[Value]| -> BTreeSet<String> {
        list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect()
    };
    let has: BTreeSet<String> = row
        .alternative_ips
        .split([';', ',', ' '])
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    // The farm does not show which row it is that a person changed and did not apply.
    let is_persons = !is_operators(&row.admin_last_mod);
    let applied = is_persons
        || row.applied.as_ref().is_some_and(|applied| {
            spec["enabled"].as_bool().is_none_or(|wanted| applied.enabled == wanted)
                && spec["standby"].as_bool().is_none_or(|wanted| applied.standby == wanted)
        });
    applied
        && row.server.eq_ignore_ascii_case(text(object, "/spec/server"))
        && flag("enabled", row.enabled)
        && flag("standby", row.standby)
        && told("description", &row.description)
        && told("ip", &row.ip)
        && spec["alternativeIPs"].as_array().is_none_or(|wanted| addresses(wanted) == has)
}

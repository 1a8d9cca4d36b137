//! What can be made to go wrong, on which request, and how often.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A fault that waits for the requests it is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The HTTP method; `None` for any.
    #[serde(default)]
    pub method: Option<String>,
    /// The route template, in any case; `None` for any.
    #[serde(default)]
    pub route: Option<String>,
    /// So many matching requests are let through first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it is played on; `null` until it is cleared.
    #[serde(default = "once")]
    pub count: Option<u32>,
    /// Whether the farm has done the work when it is played.
    #[serde(default)]
    pub when: When,
    /// What happens.
    pub effect: Effect,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn once() -> Option<u32> {
    Some(1)
}

/// Before or after the farm does what the request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The farm never sees the request (a delay excepted: it is seen afterwards).
    #[default]
    BeforeCommit,
    /// The farm does the work; only the answer is affected.
    AfterCommit,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", deny_unknown_fields)]
pub enum Effect {
    /// This answer instead of the farm's.
    Answer {
        /// The status.
        status: u16,
        /// Headers; they replace the usual ones of the same name.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// 401 as for an expired session, and the session is ended.
    Unauthorized,
    /// A pause; the farm goes on with the request even if the client has given up.
    Delay {
        /// Milliseconds of real time.
        millis: u64,
    },
    /// The connection is reset (TCP RST) without an answer.
    Reset,
    /// No answer, and the connection stays open.
    Hang,
    /// 200 with a body that is no JSON.
    Garbage,
    /// 200 with a body of this many bytes of JSON.
    Huge {
        /// Bytes.
        bytes: usize,
    },
    /// The farm's status and headers and half of the body, then the end of the connection. Where there is no
    /// body, and before the commit, it is a reset.
    Truncate,
}

impl Effect {
    /// The name that the journal shows.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "answer",
            Self::Unauthorized => "unauthorized",
            Self::Delay { .. } => "delay",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::Garbage => "garbage",
            Self::Huge { .. } => "huge",
            Self::Truncate => "truncate",
        }
    }
}

impl Fault {
    /// Plays `effect` on the next request, before the farm sees it.
    pub fn new(effect: Effect) -> Self {
        Self { method: None, route: None, skip: 0, count: once(), when: When::BeforeCommit, effect }
    }

    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self::new(Effect::Answer { status, headers: BTreeMap::new(), body: String::new() })
    }

    /// Only on requests with this method and route template.
    #[must_use]
    pub fn on(mut self, method: &str, route: &str) -> Self {
        self.method = Some(method.to_owned());
        self.route = Some(route.to_owned());
        self
    }

    /// On so many requests.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Until it is cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.count = None;
        self
    }

    /// Lets so many matching requests through first.
    #[must_use]
    pub fn after_skipping(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Once the farm has done the work.
    #[must_use]
    pub fn after_commit(mut self) -> Self {
        self.when = When::AfterCommit;
        self
    }

    fn is_meant_for(&self, method: &str, route: &str) -> bool {
        let fits = |wanted: &Option<String>, actual: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(actual))
        };
        fits(&self.method, method) && fits(&self.route, route)
    }
}

/// What is played on one request.
#[derive(Debug, Clone)]
pub(super) struct Played {
    pub(super) effect: Effect,
    pub(super) when: When,
}

/// Takes the first fault that is meant for this request and due, and counts it down.
pub(super) fn take(faults: &mut Vec<Fault>, method: &str, route: &str) -> Option<Played> {
    let index = faults.iter_mut().position(|fault| fault.is_meant_for(method, route) && is_due(fault))?;
    let fault = faults.get_mut(index)?;
    let played = Played { effect: fault.effect.clone(), when: fault.when };
    if let Some(count) = &mut fault.count {
        *count = count.saturating_sub(1);
        if *count == 0 {
            faults.remove(index);
        }
    }
    Some(played)
}

fn is_due(fault: &mut Fault) -> bool {
    let due = fault.skip == 0;
    fault.skip = fault.skip.saturating_sub(1);
    due
}

//! What is played on which request, and how often.

use std::time::Duration;

use super::Seen;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The proxy answers in the server's stead, which never sees the request.
    Refused(u16),
    /// The server does the work; its answer is lost with the connection.
    Lost,
    /// The connection ends, and the server never sees the request.
    Unsent,
    /// Nobody answers, and the server never sees the request.
    Hung,
    /// The server sees the request so much later, and nobody waits for its answer any more: the connection ends at once.
    Late(Duration),
    /// The server sees the request so much later; its answer goes to whoever still waits.
    Slow(Duration),
}

/// A fault and the requests that it is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    fault: Fault,
    target: Option<(String, String)>,
    name: Option<String>,
    containing: Option<String>,
    skip: u32,
    count: Option<u32>,
}

impl Rule {
    /// Plays `fault` on the next request.
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, target: None, name: None, containing: None, skip: 0, count: Some(1) }
    }

    /// Only on requests such as `patch`, `rasbrokers/status`.
    pub(crate) fn on(mut self, verb: &str, route: &str) -> Self {
        self.target = Some((verb.to_owned(), route.to_owned()));
        self
    }

    /// Only on requests for the object of this name.
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only on requests whose body has this text.
    pub(crate) fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// On so many requests.
    pub(crate) fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Until everything is healed.
    pub(crate) fn always(mut self) -> Self {
        self.count = None;
        self
    }

    /// Lets so many such requests through first.
    pub(crate) fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    fn is_meant_for(&self, request: &Seen, body: &str) -> bool {
        let Self { fault: _, target, name, containing, skip: _, count: _ } = self;
        let fits = |(verb, route): &(String, String)| *verb == request.verb && *route == request.route;
        target.as_ref().is_none_or(fits)
            && name.as_ref().is_none_or(|name| *name == request.name)
            && containing.as_ref().is_none_or(|text| body.contains(text.as_str()))
    }
}

/// Takes the first fault that is meant for this request and due, and counts it down.
pub(super) fn take(rules: &mut Vec<Rule>, request: &Seen, body: &str) -> Option<Fault> {
    let place = rules.iter_mut().position(|rule| {
        let due = rule.skip == 0;
        let meant = rule.is_meant_for(request, body);
        rule.skip = rule.skip.saturating_sub(u32::from(meant));
        meant && due
    })?;
    let fault = rules[place].fault;
    if let Some(count) = &mut rules[place].count {
        *count = count.saturating_sub(1);
        if *count == 0 {
            rules.remove(place);
        }
    }
    Some(fault)
}

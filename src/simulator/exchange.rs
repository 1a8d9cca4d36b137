//! One request from arrival to answer: entered in the journal, met by a fault if one is due, and done.

use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;
use jiff::Timestamp;
use serde_json::Value;

use super::farm::Farm;
use super::fault::{Effect, Played, When, take};
use super::journal::JournalEntry;
use super::refusal::Refusal;
use super::route::{Route, find};
use super::state::FarmState;
use super::switches::InstallTiming;
use super::wire::{MEDIA_TYPE, Reply, Request};

/// What the connection is to do.
#[derive(Debug)]
pub enum Outcome {
    /// This answer.
    Answer(Reply),
    /// Half of the body, then the end of the connection.
    Truncated(Reply),
    /// The end of the connection.
    Reset,
    /// Nothing.
    Hang,
}

/// A request that has been entered in the journal.
struct Arrival {
    sequence: u64,
    route: Route,
    fault: Option<Played>,
}

/// The time that an agent takes to be installed or removed.
struct Installation {
    time: Duration,
    timing: InstallTiming,
}

impl Installation {
    async fn pass(&self, farm: &Farm, timing: InstallTiming) {
        if self.timing == timing {
            tokio::select! {
                biased;
                () = tokio::time::sleep(self.time) => {}
                () = farm.installed.notified() => {}
            }
        }
    }
}

/// Answers a request that came to an endpoint.
pub(super) async fn exchange(farm: &Farm, request: &Request) -> Outcome {
    let arrival = arrive(&mut farm.lock(), request);
    if let Some(played) = arrival.fault.as_ref().filter(|f| f.when == When::BeforeCommit)
        && let Some(outcome) = play(farm, request, &played.effect, None).await
    {
        return finish(farm, arrival.sequence, outcome);
    }
    let installation = installation(&farm.lock(), &arrival, request);
    installation.pass(farm, InstallTiming::AtTheEnd).await;
    let reply = commit(farm, &arrival, request);
    installation.pass(farm, InstallTiming::AtTheStart).await;
    if let Some(played) = arrival.fault.as_ref().filter(|f| f.when == When::AfterCommit)
        && let Some(outcome) = play(farm, request, &played.effect, Some(&reply)).await
    {
        return finish(farm, arrival.sequence, outcome);
    }
    finish(farm, arrival.sequence, Outcome::Answer(reply))
}

fn arrive(state: &mut FarmState, request: &Request) -> Arrival {
    let farm_time = state.now();
    let (route, template) = find(&state.switches, &request.method, &request.path);
    let fault = take(&mut state.faults, &request.method, &template);
    let token = request.token.as_deref();
    let entry = JournalEntry {
        sequence: 0,
        method: request.method.clone(),
        route: template,
        path: request.shown.clone(),
        body: kept_body(route, request),
        status: None,
        farm_time,
        session: token.and_then(|token| state.sessions.number(token)),
        endpoint: request.endpoint,
        commit: None,
        applied_by: None,
        fault: fault.as_ref().map(|played| played.effect.name().to_owned()),
    };
    Arrival { sequence: state.journal.arrived(entry), route, fault }
}

fn installation(state: &FarmState, arrival: &Arrival, request: &Request) -> Installation {
    let without = if arrival.route == Route::CreateBroker {
        request.query_bool("noinstall")
    } else if matches!(arrival.route, Route::DeleteBroker(_)) {
        request.query_bool("nouninstall")
    } else {
        Ok(true)
    };
    let time = if without.unwrap_or(true) { Duration::ZERO } else { state.agents.install_time };
    Installation { time, timing: state.switches.install_timing }
}

fn kept_body(route: Route, request: &Request) -> Option<Value> {
    if route.has_public_body() { serde_json::from_slice(&request.body).ok() } else { None }
}

fn commit(farm: &Farm, arrival: &Arrival, request: &Request) -> Reply {
    let server = farm.connected_server(request.endpoint);
    let mut state = farm.lock();
    let now = state.now();
    let before = state.commits;
    let reply = state.answer(arrival.route, request, server, now);
    let commit = (state.commits > before).then_some(state.commits);
    state.journal.committed(arrival.sequence, commit);
    reply
}

/// Plays a fault; `None` means that the request goes on.
async fn play(farm: &Farm, request: &Request, effect: &Effect, reply: Option<&Reply>) -> Option<Outcome> {
    let outcome = match effect {
        Effect::Delay { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            return None;
        }
        Effect::Answer { status, headers, body } => {
            let mut reply = Reply::empty(*status);
            reply.set("content-type", MEDIA_TYPE);
            for (name, value) in headers {
                reply.set(name, value);
            }
            reply.body = body.clone().into_bytes();
            Outcome::Answer(reply)
        }
        Effect::Unauthorized => Outcome::Answer(unauthorized(&mut farm.lock(), request)),
        Effect::Reset => Outcome::Reset,
        Effect::Hang => Outcome::Hang,
        Effect::Garbage => Outcome::Answer(raw_json(b"<html>\xff\xfe not json {".to_vec())),
        Effect::Huge { bytes } => Outcome::Answer(raw_json(huge(*bytes))),
        Effect::Truncate => match reply.filter(|reply| !reply.body.is_empty()) {
            Some(reply) => Outcome::Truncated(reply.clone()),
            None => Outcome::Reset,
        },
    };
    Some(outcome)
}

fn unauthorized(state: &mut FarmState, request: &Request) -> Reply {
    let token = request.token.as_deref();
    if let Some(id) = token.and_then(|token| state.sessions.number(token)) {
        state.sessions.end(id);
    }
    Reply::refusal(&Refusal::NoSession, &state.switches)
}

fn raw_json(body: Vec<u8>) -> Reply {
    let mut reply = Reply::empty(200);
    reply.set("content-type", MEDIA_TYPE);
    reply.body = body;
    reply
}

/// A JSON array of spaces, so that a client that reads on finds nothing wrong but the size.
fn huge(bytes: usize) -> Vec<u8> {
    let mut body = vec![b' '; bytes.max(2)];
    if let Some(first) = body.first_mut() {
        *first = b'[';
    }
    if let Some(last) = body.last_mut() {
        *last = b']';
    }
    body
}

fn finish(farm: &Farm, sequence: u64, mut outcome: Outcome) -> Outcome {
    let mut state = farm.lock();
    let now = state.now();
    match &mut outcome {
        Outcome::Answer(reply) | Outcome::Truncated(reply) => {
            reply.headers.entry("date".to_owned()).or_insert_with(|| http_date(now));
            state.journal.answered(sequence, reply.status);
        }
        Outcome::Reset | Outcome::Hang => {}
    }
    outcome
}

/// The `Date` header knows only the years from 1970 on.
fn http_date(now: Timestamp) -> String {
    fmt_http_date(SystemTime::from(now.max(Timestamp::UNIX_EPOCH)))
}

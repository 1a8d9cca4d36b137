//! The decision by tables and by a model of two processes; the calls against a small stateful
//! API server, in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::candidate::Candidate;
use super::decision::{Action, Record, Seen, decide};
use super::{AcquireError, LEASE_DURATION, LEASE_NAME, Leadership, RENEW_DEADLINE, RETRY_PERIOD, acquire};
use crate::clock::{Clock, Now};

const ME: &str = "me";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn record(holder: Option<&str>, renewed: i64) -> Record {
    Record {
        holder: holder.map(str::to_owned),
        renewed: Some(Timestamp::constant(renewed, 0)),
        duration: LEASE_DURATION,
    }
}

fn seen(record: Option<Record>, since: u64) -> Seen {
    Seen { record, since: seconds(since) }
}

#[test]
fn each_state_of_the_lease_has_its_action() {
    let table = [
        (None, 100, Action::Create),
        (Some(record(None, 0)), 100, Action::Take),
        (Some(record(Some(ME), 0)), 100, Action::Renew),
        (Some(record(Some("other"), 0)), 100, Action::Wait(seconds(15))),
        (Some(record(Some("other"), 0)), 114, Action::Wait(seconds(1))),
        (Some(record(Some("other"), 0)), 115, Action::Take),
    ];
    for (record, now, action) in table {
        assert_eq!(decide(&seen(record.clone(), 100), seconds(now), ME), action, "{record:?} at {now}");
    }
}

#[test]
fn a_reading_asked_for_before_the_first_sight_waits_for_longer_never_for_less() {
    let seen = seen(Some(record(Some("other"), 0)), 100);
    assert_eq!(decide(&seen, seconds(90), ME), Action::Wait(seconds(25)));
}

#[test]
fn a_renewal_by_the_other_starts_the_waiting_anew_and_its_wall_clock_does_not_matter() {
    let first = Seen::update(None, Some(record(Some("other"), 1_000)), seconds(100));
    let renewed = Seen::update(Some(first.clone()), Some(record(Some("other"), 5)), seconds(110));
    assert_eq!(renewed.since, seconds(110));
    let unchanged = Seen::update(Some(first), Some(record(Some("other"), 1_000)), seconds(110));
    assert_eq!(unchanged.since, seconds(100));
}

#[test]
fn a_foreign_duration_is_kept_within_bounds_and_an_empty_holder_is_none() {
    let duration = |seconds| {
        let spec = LeaseSpec { lease_duration_seconds: seconds, ..LeaseSpec::default() };
        Record::of(&spec).duration.as_secs()
    };
    let stated = [None, Some(-1), Some(1), Some(15), Some(30), Some(i32::MAX)];
    assert_eq!(stated.map(duration), [15, 15, 15, 15, 30, 60]);
    let spec = LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() };
    assert_eq!(Record::of(&spec).holder, None);
}

/// One process of the model.
#[derive(Default)]
struct Process {
    seen: Option<Seen>,
    held_until: Option<Duration>,
    /// The version of the Lease on which a write was decided that is not sent yet.
    pending: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Read(usize),
    Write(usize),
    Pass(u64),
}

/// Two processes and the Lease between them; the clock of the second is off by `skew` seconds.
#[derive(Default)]
struct World {
    time: u64,
    skew: u64,
    version: u64,
    lease: Option<Record>,
    processes: [Process; 2],
}

impl World {
    fn act(&mut self, next: Move) {
        match next {
            Move::Pass(passed) => self.time += passed,
            Move::Read(who) => self.read(who),
            Move::Write(who) => self.write(who),
        }
    }

    fn read(&mut self, who: usize) {
        let local = self.local(who);
        let process = &mut self.processes[who];
        let seen = Seen::update(process.seen.take(), self.lease.clone(), local);
        let action = decide(&seen, local, &who.to_string());
        process.pending = (!matches!(action, Action::Wait(_))).then_some(self.version);
        process.seen = Some(seen);
    }

    fn write(&mut self, who: usize) {
        let local = self.local(who);
        if self.processes[who].pending.take() != Some(self.version) {
            return;
        }
        // The wall clock of the second process stands still: it must not matter.
        let wall = if who == 0 { i64::try_from(self.time).unwrap() } else { 7 };
        let least = self.lease.as_ref().map_or(wall, |lease| lease.renewed.unwrap().as_second() + 1);
        self.lease = Some(record(Some(&who.to_string()), wall.max(least)));
        self.version += 1;
        self.processes[who].held_until = Some(local + RENEW_DEADLINE);
    }

    fn local(&self, who: usize) -> Duration {
        seconds(self.time + if who == 0 { 0 } else { self.skew })
    }

    fn holders(&self) -> usize {
        let holds =
            |who: &usize| self.processes[*who].held_until.is_some_and(|until| self.local(*who) < until);
        (0..2).filter(holds).count()
    }
}

/// Mostly reads with the write right behind them, as processes do when nothing is slow.
fn moves() -> impl Strategy<Value = Vec<Move>> {
    let who = || 0..2_usize;
    let step = prop_oneof![
        6 => who().prop_map(|who| vec![Move::Read(who), Move::Write(who)]),
        1 => who().prop_map(|who| vec![Move::Read(who)]),
        1 => who().prop_map(|who| vec![Move::Write(who)]),
        3 => (1..6_u64).prop_map(|passed| vec![Move::Pass(passed)]),
        1 => (6..40_u64).prop_map(|passed| vec![Move::Pass(passed)]),
    ];
    prop::collection::vec(step, 1..80).prop_map(|steps| steps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    /// Whatever the order and delay of reads and writes, and however far the clocks are apart, two
    /// processes never count on the Lease at the same time.
    #[test]
    fn two_processes_never_count_on_the_lease_together(moves in moves(), skew in 0..10_000_u64) {
        let mut world = World { skew, ..World::default() };
        for next in moves {
            world.act(next);
            prop_assert!(world.holders() < 2, "both hold at {}", world.time);
        }
    }
}

/// An API server that knows one Lease, and can be made to hang or to refuse.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<ServerState>>);

#[derive(Default)]
struct ServerState {
    lease: Option<Lease>,
    version: u64,
    hangs: bool,
    /// How long each answer takes.
    delay: Duration,
    failure: Option<StatusCode>,
    requests: Vec<Method>,
}

type Handle = tower_test::mock::Handle<Request<Body>, Response<Body>>;

impl Server {
    /// A server and a client of it.
    fn start() -> (Self, Client) {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let server = Self::default();
        tokio::spawn(server.clone().serve(handle));
        (server, Client::new(service, "default"))
    }

    async fn serve(self, mut handle: Handle) {
        while let Some((request, respond)) = handle.next_request().await {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if self.with(|state| state.hangs) {
                // Kept, so that the caller sees silence and not a closed connection.
                std::mem::forget(respond);
            } else {
                sleep(self.with(|state| state.delay)).await;
                respond.send_response(self.answer(&head.method, head.uri.path(), &body));
            }
        }
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> Response<Body> {
        assert!(path.starts_with("/apis/coordination.k8s.io/v1/namespaces/system/leases"), "{path}");
        self.with(|state| {
            state.requests.push(method.clone());
            if let Some(code) = state.failure {
                return refusal(code);
            }
            match (method, state.lease.clone()) {
                (&Method::GET, Some(lease)) => stored(&lease),
                (&Method::GET | &Method::PUT, None) => refusal(StatusCode::NOT_FOUND),
                (&Method::POST, None) => state.store(serde_json::from_slice(body).unwrap()),
                (&Method::PUT, Some(old)) => {
                    let new: Lease = serde_json::from_slice(body).unwrap();
                    if new.metadata.resource_version == old.metadata.resource_version {
                        state.store(new)
                    } else {
                        refusal(StatusCode::CONFLICT)
                    }
                }
                _ => refusal(StatusCode::CONFLICT),
            }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut ServerState) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// Somebody writes the Lease.
    fn hold(&self, holder: &str, renewed: i64) {
        let lease = json!({
            "metadata": { "name": LEASE_NAME },
            "spec": {
                "holderIdentity": holder,
                "renewTime": format!("2026-01-01T00:00:{renewed:02}.000000Z"),
                "leaseDurationSeconds": 15,
                "leaseTransitions": 4,
            },
        });
        self.with(|state| drop(state.store(serde_json::from_value(lease).unwrap())));
    }

    fn spec(&self) -> LeaseSpec {
        self.with(|state| state.lease.clone().unwrap().spec.unwrap())
    }

    fn holder(&self) -> Option<String> {
        self.spec().holder_identity
    }
}

impl ServerState {
    fn store(&mut self, mut lease: Lease) -> Response<Body> {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        let answer = stored(&lease);
        self.lease = Some(lease);
        answer
    }
}

fn stored(lease: &Lease) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(lease).unwrap()))
}

fn refusal(code: StatusCode) -> Response<Body> {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": "refused",
    });
    let body = Body::from(serde_json::to_vec(&status).unwrap());
    Response::builder().status(code).body(body).unwrap()
}

thread_local! {
    static ORIGIN: std::time::Instant = Instant::now().into_std();
}

/// Tokio's clock, which the tests pause and advance. Each test has a thread of its own.
fn paused_clock() -> Now {
    let passed = ORIGIN.with(|origin| Instant::now().into_std().saturating_duration_since(*origin));
    Now { wall: Timestamp::constant(1_800_000_000, 0), boot: seconds(1_000) + passed }
}

fn candidate(client: Client, identity: &str) -> Candidate {
    Candidate::new(client, "system", identity, Clock::new(paused_clock))
}

async fn win(client: Client) -> Leadership {
    acquire(candidate(client, ME), &CancellationToken::new()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_does_not_exist_is_created_and_then_renewed() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    assert!(leadership.is_held());
    let created = server.spec();
    assert_eq!(created.holder_identity.as_deref(), Some(ME));
    assert_eq!(created.lease_duration_seconds, Some(15));
    sleep(seconds(60)).await;
    assert!(leadership.is_held());
    let renewed = server.spec();
    assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(1), created.acquire_time));
    assert!(renewed.renew_time > created.renew_time, "a wall clock that stands still shows as renewal too");
    assert!(timeout(seconds(60), leadership.lost()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_silent_holder_is_taken_after_its_duration_and_not_before() {
    let (server, client) = Server::start();
    server.hold("other", 0);
    let begin = Instant::now();
    let leadership = win(client).await;
    let waited = begin.elapsed();
    assert!(waited >= LEASE_DURATION && waited <= LEASE_DURATION + RETRY_PERIOD, "{waited:?}");
    assert_eq!((server.holder().as_deref(), server.spec().lease_transitions), (Some(ME), Some(5)));
    assert!(leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_holder_that_renews_is_never_written() {
    let (server, client) = Server::start();
    server.hold("other", 0);
    let stop = CancellationToken::new();
    let waiting = tokio::spawn({
        let stop = stop.clone();
        async move { acquire(candidate(client, ME), &stop).await.map(drop) }
    });
    for renewed in 1..20 {
        sleep(seconds(10)).await;
        server.hold("other", renewed);
    }
    stop.cancel();
    assert_eq!(waiting.await.unwrap(), Err(AcquireError::Stopped));
    assert!(server.with(|state| state.requests.iter().all(|method| method == Method::GET)));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let (server, client) = Server::start();
    let first = win(client.clone()).await;
    let second = tokio::spawn(async move {
        acquire(candidate(client, "second"), &CancellationToken::new()).await.unwrap()
    });
    sleep(seconds(5)).await;
    assert_eq!(server.holder().as_deref(), Some(ME));
    first.release().await;
    assert_eq!(server.holder(), None);
    let released = Instant::now();
    let second = second.await.unwrap();
    assert!(released.elapsed() <= RETRY_PERIOD);
    assert!(second.is_held());
    assert_eq!((server.holder().as_deref(), server.spec().lease_transitions), (Some("second"), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_holds_now_is_lost_and_not_released() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    server.hold("other", 0);
    timeout(RETRY_PERIOD + seconds(1), leadership.lost()).await.unwrap();
    assert!(!leadership.is_held());
    leadership.release().await;
    assert_eq!(server.holder().as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_the_lease_at_the_renew_deadline() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    let renewed = Instant::now();
    server.with(|state| state.hangs = true);
    sleep(RENEW_DEADLINE.saturating_sub(seconds(1))).await;
    assert!(leadership.is_held());
    leadership.lost().await;
    assert!(!leadership.is_held());
    assert_eq!(renewed.elapsed().as_secs(), RENEW_DEADLINE.as_secs());
    // Back in time for nothing: a lost lease is not won back.
    server.with(|state| state.hangs = false);
    sleep(seconds(30)).await;
    assert!(!leadership.is_held());
}

/// Others count from when it was stored, which may be long before its answer.
#[tokio::test(start_paused = true)]
async fn a_renewal_counts_from_when_it_was_sent_however_long_its_answer_takes() {
    let (server, client) = Server::start();
    server.with(|state| state.delay = seconds(2));
    let leadership = win(client).await;
    let answered = Instant::now();
    server.with(|state| state.hangs = true);
    leadership.lost().await;
    assert_eq!(answered.elapsed().as_secs(), RENEW_DEADLINE.as_secs() - 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_task_that_never_runs_again_does_not_keep_the_lease() {
    let (_server, client) = Server::start();
    let leadership = win(client).await;
    leadership.renewal.abort();
    let begin = Instant::now();
    leadership.lost().await;
    assert!(begin.elapsed() <= RENEW_DEADLINE + seconds(1));
    assert!(!leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_survived() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    server.with(|state| state.failure = Some(StatusCode::INTERNAL_SERVER_ERROR));
    sleep(seconds(7)).await;
    server.with(|state| state.failure = None);
    sleep(seconds(30)).await;
    assert!(leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_edit_is_a_conflict_that_the_next_renewal_mends() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    server.with(|state| {
        let mut lease = state.lease.clone().unwrap();
        lease.metadata.annotations = Some([("note".to_owned(), "kept".to_owned())].into());
        drop(state.store(lease));
    });
    sleep(seconds(30)).await;
    assert!(leadership.is_held());
    let annotations = server.with(|state| state.lease.clone().unwrap().metadata.annotations);
    assert_eq!(annotations.unwrap()["note"], "kept");
}

#[tokio::test(start_paused = true)]
async fn a_release_ends_within_a_second_though_the_server_hangs() {
    let (server, client) = Server::start();
    let leadership = win(client).await;
    server.with(|state| state.hangs = true);
    let begin = Instant::now();
    leadership.release().await;
    assert!(begin.elapsed() <= seconds(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_leadership_is_dropped() {
    let (server, client) = Server::start();
    drop(win(client).await);
    advance(seconds(1)).await;
    let written = server.with(|state| state.version);
    sleep(seconds(60)).await;
    assert_eq!(server.with(|state| state.version), written);
}

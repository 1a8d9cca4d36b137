//! The calls to the API server: read the Lease, let [`decide`] say what to do, do that.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use super::decision::{Action, Record, Seen, decide};
use super::term::Term;
use super::{LEASE_NAME, RETRY_PERIOD};
use crate::clock::{Clock, Now};

/// Leaves room for more than one attempt within the renew deadline when the API server hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// `LEASE_DURATION` as the Lease states it.
const LEASE_SECONDS: i32 = 15;

/// Who asks for the Lease, and what it last saw.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    leases: Api<Lease>,
    identity: String,
    seen: Option<Seen>,
    /// What was last logged as going wrong, so that an outage is one line, not one per attempt.
    trouble: Option<String>,
    clock: Clock,
}

/// Why an attempt told nothing about who holds the Lease.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("failed to {verb} the lease")]
    Call {
        verb: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("failed to {verb} the lease in time")]
    Timeout { verb: &'static str },
}

/// Who holds the Lease, by the API server's answer.
enum Standing {
    /// This process, by a write that was sent at this boot time.
    Mine(Duration),
    Others,
}

impl Candidate {
    pub(super) fn new(client: Client, namespace: &str, identity: &str, clock: Clock) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self { leases, identity: identity.to_owned(), seen: None, trouble: None, clock }
    }

    /// Tries until the Lease is held.
    pub(super) async fn win(&mut self) -> Term {
        loop {
            match self.attempt().await {
                Ok(Standing::Mine(sent)) => {
                    tracing::info!(identity = self.identity, "holding the lease");
                    return Term::new(sent, self.clock);
                }
                Ok(Standing::Others) => self.trouble = None,
                Err(error) => self.report(&error),
            }
            sleep(RETRY_PERIOD).await;
        }
    }

    /// Renews until the Lease is lost.
    pub(super) async fn keep(mut self, term: Term) {
        while !term.is_over() {
            sleep(RETRY_PERIOD).await;
            match timeout(term.left(), self.attempt()).await {
                Ok(Ok(Standing::Mine(sent))) => {
                    self.trouble = None;
                    term.renew(sent);
                }
                Ok(Ok(Standing::Others)) => break,
                Ok(Err(error)) => self.report(&error),
                Err(_) => {}
            }
        }
        tracing::error!("lost the lease");
        term.end();
    }

    /// Clears the holder if that is still this process.
    pub(super) async fn release(&self) -> Result<(), AttemptError> {
        let lease = call("get", self.leases.get_opt(LEASE_NAME)).await?;
        let is_mine = |lease: &Lease| record(lease).holder.as_ref() == Some(&self.identity);
        let Some(lease) = lease.filter(is_mine) else {
            return Ok(());
        };
        let lease = without_holder(lease, self.clock.now());
        call("update", self.leases.replace(LEASE_NAME, &PostParams::default(), &lease)).await?;
        Ok(())
    }

    /// Looks at the Lease, and creates, takes or renews it where that is due.
    async fn attempt(&mut self) -> Result<Standing, AttemptError> {
        let asked = self.clock.now().boot;
        let lease = call("get", self.leases.get_opt(LEASE_NAME)).await?;
        let seen = Seen::update(self.seen.take(), lease.as_ref().map(record), self.clock.now().boot);
        let action = decide(&seen, asked, &self.identity);
        self.seen = Some(seen);
        match action {
            Action::Wait(_) => Ok(Standing::Others),
            Action::Create | Action::Take | Action::Renew => self.write(lease).await,
        }
    }

    /// A version conflict means that somebody else wrote meanwhile; the next attempt sees who.
    async fn write(&self, lease: Option<Lease>) -> Result<Standing, AttemptError> {
        let now = self.clock.now();
        let is_new = lease.is_none();
        let lease = with_holder(lease.unwrap_or_default(), &self.identity, now);
        let parameters = PostParams::default();
        if is_new {
            call("create", self.leases.create(&parameters, &lease)).await?;
        } else {
            call("update", self.leases.replace(LEASE_NAME, &parameters, &lease)).await?;
        }
        Ok(Standing::Mine(now.boot))
    }

    fn report(&mut self, error: &AttemptError) {
        let text = crate::telemetry::chain(error);
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!(error = text, "no answer about the lease, trying again");
            self.trouble = Some(text);
        }
    }
}

fn record(lease: &Lease) -> Record {
    lease.spec.as_ref().map_or_else(|| Record::of(&LeaseSpec::default()), Record::of)
}

/// The Lease held by `identity`; whatever others keep in it stays.
fn with_holder(lease: Lease, identity: &str, now: Now) -> Lease {
    let old = lease.spec.unwrap_or_default();
    let is_renewal = old.holder_identity.as_deref() == Some(identity);
    let time = Some(MicroTime(later_than(old.renew_time.as_ref(), now.wall)));
    let transitions = old.lease_transitions.unwrap_or_default();
    Lease {
        metadata: ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..lease.metadata },
        spec: Some(LeaseSpec {
            acquire_time: if is_renewal { old.acquire_time } else { time.clone() },
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_renewal))),
            renew_time: time,
            ..old
        }),
    }
}

/// Others see a renewal by a `renewTime` that changes, which must not fail for a wall clock that
/// stands still or was set back: then it grows by the least step that the Lease can express.
fn later_than(previous: Option<&MicroTime>, wall: Timestamp) -> Timestamp {
    let least = previous.and_then(|time| time.0.checked_add(SignedDuration::from_micros(1)).ok());
    least.map_or(wall, |least| least.max(wall))
}

fn without_holder(lease: Lease, now: Now) -> Lease {
    let old = lease.spec.unwrap_or_default();
    let renew_time = Some(MicroTime(later_than(old.renew_time.as_ref(), now.wall)));
    Lease { spec: Some(LeaseSpec { holder_identity: None, renew_time, ..old }), ..lease }
}

async fn call<T>(
    verb: &'static str,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, AttemptError> {
    match timeout(CALL_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|source| AttemptError::Call { verb, source }),
        Err(_) => Err(AttemptError::Timeout { verb }),
    }
}

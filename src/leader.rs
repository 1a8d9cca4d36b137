//! Leader election by a Lease, so that of several replicas one works.
//!
//! # Guarantees
//!
//! Two processes never hold the Lease at the same time, as far as [`Leadership::is_held`] tells:
//! a holder stops counting on it [`RENEW_DEADLINE`] after it *sent* its last successful renewal,
//! and nobody takes it sooner than [`LEASE_DURATION`] after that renewal was stored. Both are
//! measured by each process on its own clock, which counts suspend and never jumps; wall clocks
//! are written for people only. Every write carries the `resourceVersion` that it was decided on.
//!
//! A loss is final: the Lease is not won back, the process is to end and start anew.
//!
//! # Assumptions
//!
//! Clocks of different machines run at about the same speed: the margin is a third.
//! The identity is unique to the process; [`identity`] makes one. Nobody edits or deletes the Lease
//! by hand while it is held: the holder would notice only when it next renews.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::{Clock, Now};

mod candidate;
mod decision;
mod term;
#[cfg(test)]
mod tests;

use candidate::Candidate;
use term::Term;

/// The name of the Lease, which the role in `deploy/` names too.
pub const LEASE_NAME: &str = "ras-operator.ras-operator.dev";
/// How long the Lease is safe from others after it was renewed.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a holder may count on the Lease.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// The pause between two attempts to win or renew the Lease.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// An idle operator ends within 2 s, whether or not the API server answers.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// The process is to stop.
    #[error("stopped while waiting for the lease")]
    Stopped,
}

/// The way to leadership.
#[derive(Debug)]
pub struct Leader;

/// The right to act, as everything that sends asks for it. Cheap to clone; all clones share it.
#[derive(Debug, Clone, Default)]
pub struct Authority(Arc<OnceLock<Option<Term>>>);

impl Authority {
    /// Nobody else is expected to work: the right is there from now on.
    pub fn always() -> Self {
        let authority = Self::default();
        authority.grant(None);
        authority
    }

    /// The right begins, and lasts as long as this leadership.
    pub fn begin(&self, leadership: &Leadership) {
        self.grant(Some(leadership.term.clone()));
    }

    /// The right never comes twice: a process that lost it ends.
    fn grant(&self, term: Option<Term>) {
        self.0.set(term).unwrap_or_default();
    }

    /// Whether this process may act right now.
    pub fn may_act(&self) -> bool {
        self.0.get().is_some_and(|term| term.as_ref().is_none_or(|term| !term.is_over()))
    }
}

/// The Lease, held by this process and renewed in the background.
///
/// Dropping it stops the renewal without a release: others then wait for the Lease to expire.
#[derive(Debug)]
pub struct Leadership {
    candidate: Candidate,
    term: Term,
    renewal: JoinHandle<()>,
    stop_renewal: DropGuard,
}

impl Leader {
    /// Waits until the Lease is held, however long that takes, or until `stop`.
    ///
    /// Trouble with the API server is logged and tried again.
    pub async fn acquire(
        client: Client,
        namespace: &str,
        identity: &str,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Leadership, AcquireError> {
        let candidate = Candidate::new(client, namespace, identity, clock);
        acquire(candidate, &stop).await
    }
}

async fn acquire(mut candidate: Candidate, stop: &CancellationToken) -> Result<Leadership, AcquireError> {
    let won = stop.run_until_cancelled(candidate.win()).await;
    let term = won.ok_or(AcquireError::Stopped)?;
    let stop_renewal = CancellationToken::new();
    let renewal = Box::pin(candidate.clone().keep(term.clone()));
    let renewal = stop_renewal.clone().run_until_cancelled_owned(renewal);
    Ok(Leadership {
        candidate,
        term,
        renewal: tokio::spawn(async { renewal.await.unwrap_or_default() }),
        stop_renewal: stop_renewal.drop_guard(),
    })
}

impl Leadership {
    /// Whether nobody else can hold the Lease right now. False from the renew deadline on, even if
    /// the renewal hangs.
    pub fn is_held(&self) -> bool {
        !self.term.is_over()
    }

    /// Ends when the Lease is lost; the process is to end then.
    pub async fn lost(&self) {
        self.term.over().await;
    }

    /// Gives the Lease back, so that another replica need not wait for it to expire. To be called
    /// when all work has ended. Takes a second at most.
    pub async fn release(self) {
        let Self { candidate, term, renewal, stop_renewal } = self;
        term.end();
        drop(stop_renewal);
        let released = timeout(RELEASE_TIMEOUT, async {
            drop(renewal.await);
            candidate.release().await
        });
        match released.await {
            Ok(Ok(())) => tracing::info!("released the lease"),
            Ok(Err(error)) => {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(error, "failed to release the lease, it will expire");
            }
            Err(_) => tracing::warn!("failed to release the lease in time, it will expire"),
        }
    }
}

/// An identity that no other process has: a restarted container keeps its pod's name, and the
/// first process of every container has the same number.
pub fn identity(now: Now) -> String {
    let name = ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = name.as_deref().unwrap_or("ras-operator");
    format!("{name}_{}_{:x}", std::process::id(), now.wall.as_nanosecond())
}

/// Where the Lease lives: `POD_NAMESPACE`, else the kubeconfig's or the pod's own namespace, else
/// `default`.
pub fn namespace(client: &Client) -> String {
    std::env::var("POD_NAMESPACE")
        .ok()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| client.default_namespace().to_owned())
}

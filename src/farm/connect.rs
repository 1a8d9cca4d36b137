//! Logging on: with what the object and its Secret say now, to the first endpoint that is on the primary, and only
//! as the farm that was recorded.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio_util::task::TaskTracker;

use super::actor::Actor;
use super::breaker::Admission;
use super::settings;
use super::state::{FarmState, Link, Trouble};
use super::view::Hold;
use crate::clock::Now;
use crate::crd::condition::Reason;
use crate::crd::{RasFarm, annotation};
use crate::ras::{self, Answer, Client, LogonPermit, Session};

/// Longest pause before settings or a Secret that were wrong are read again; a shorter period shortens it.
const SETTINGS_PAUSE: Duration = Duration::from_secs(10);
/// Pause before the next probe while the breaker is still closed.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Why there is no session.
pub(super) enum NotConnected {
    /// The actor was told to stop.
    Stopped,
    /// The farm cannot be used.
    Trouble(Trouble),
}

/// An endpoint that took the account, as the farm that was recorded.
struct Found {
    client: Client,
    session: Session,
    identity: String,
}

fn settings_pause(object: &RasFarm) -> Duration {
    SETTINGS_PAUSE.min(object.spec.resync_period.get())
}

/// Logs on, and reads the sites.
pub(super) async fn connect(actor: &Actor, object: &RasFarm) -> Result<(Link, Vec<ras::Site>), NotConnected> {
    let later = |hold: Hold| {
        let retry_at = actor.farm.clock.now().boot + settings_pause(object);
        NotConnected::Trouble(Trouble { hold, retry_at })
    };
    let clients = settings::clients(actor, object).await.map_err(later)?;
    let account = actor.account(object).await.map_err(later)?;
    let Found { client, session, identity } = first_primary(actor, clients, &account).await?;
    let sites = actor.sites(&client, &session.token).await.unwrap_or_default();
    let settings::Account { credentials, version } = account;
    let account = credentials.username.clone();
    let secret_name = object.spec.credentials_secret_ref.name.clone();
    Ok((
        Link {
            client,
            session,
            calls: TaskTracker::new(),
            account,
            secret_name,
            secret_version: version,
            identity,
            credentials,
        },
        sites,
    ))
}

/// Logs on anew over the same endpoint.
pub(super) async fn renew(actor: &Actor) -> Result<(), NotConnected> {
    let Some(old) = actor.link() else { return Ok(()) };
    let session = log_on(actor, &old.client, &old.credentials, &old.secret_version)
        .await
        .map_err(|failure| failure.into_trouble(actor))?;
    if let Err(hold) = identify(actor, &session) {
        actor.give_back(&old.client, &session.token).await;
        let retry_at = actor.farm.clock.now().boot + settings_pause(&actor.object());
        return Err(NotConnected::Trouble(Trouble { hold, retry_at }));
    }
    // Brokers may be calling over the old session: a logoff now would have them refused.
    actor.farm.state.lock().replace_link(Link { session, calls: TaskTracker::new(), ..old });
    Ok(())
}

/// The first endpoint that answers as the primary of the recorded farm; else the first that answers as this farm.
async fn first_primary(
    actor: &Actor,
    clients: Vec<Client>,
    account: &settings::Account,
) -> Result<Found, NotConnected> {
    let mut second_best: Option<Found> = None;
    let mut mismatch = None;
    let mut failure = None;
    for client in clients {
        let session = match log_on(actor, &client, &account.credentials, &account.version).await {
            Ok(session) => session,
            Err(LogonFailure::Farm(error)) => {
                failure.get_or_insert(error);
                continue;
            }
            // A wrong password is wrong everywhere, and counts towards a lock-out.
            Err(refused @ (LogonFailure::Account(_) | LogonFailure::Stopped)) => {
                give_back(actor, second_best).await;
                return Err(refused.into_trouble(actor));
            }
        };
        match identify(actor, &session) {
            Err(hold) => {
                // Another farm gets nothing from us, not even an open session.
                actor.give_back(&client, &session.token).await;
                mismatch.get_or_insert(hold);
            }
            Ok(identity) if session.primary_broker_connection == Some(false) => {
                let found = Found { client, session, identity };
                let unused = if second_best.is_none() { second_best.replace(found) } else { Some(found) };
                give_back(actor, unused).await;
            }
            Ok(identity) => {
                give_back(actor, second_best).await;
                return Ok(Found { client, session, identity });
            }
        }
    }
    second_best.ok_or_else(|| nobody(actor, mismatch, failure))
}

async fn give_back(actor: &Actor, unused: Option<Found>) {
    if let Some(Found { client, session, identity: _ }) = unused {
        actor.give_back(&client, &session.token).await;
    }
}

/// No endpoint can be used: another farm behind one of them says more than silence behind the others.
fn nobody(actor: &Actor, mismatch: Option<Hold>, failure: Option<ras::Error>) -> NotConnected {
    let now = actor.farm.clock.now();
    let trouble = match (mismatch, failure) {
        (Some(hold), _) => Trouble { hold, retry_at: now.boot + settings_pause(&actor.object()) },
        (None, Some(error)) => trouble_of(&mut actor.farm.state.lock(), &error, now),
        (None, None) => Trouble {
            hold: Hold::new(Reason::InvalidSpec, "spec.endpoint is missing."),
            retry_at: Duration::MAX,
        },
    };
    NotConnected::Trouble(trouble)
}

/// Why one logon did not give a session.
enum LogonFailure {
    /// It was not tried: the actor was told to stop.
    Stopped,
    /// The account was refused, or is spared for a while.
    Account(Trouble),
    /// The farm did not answer as it should.
    Farm(ras::Error),
}

impl LogonFailure {
    fn into_trouble(self, actor: &Actor) -> NotConnected {
        match self {
            Self::Stopped => NotConnected::Stopped,
            Self::Account(trouble) => NotConnected::Trouble(trouble),
            Self::Farm(error) => {
                let now = actor.farm.clock.now();
                NotConnected::Trouble(trouble_of(&mut actor.farm.state.lock(), &error, now))
            }
        }
    }
}

/// One logon, if the limit on failed ones allows it. A failure is written down before the next may follow.
async fn log_on(
    actor: &Actor,
    client: &Client,
    credentials: &ras::Credentials,
    version: &str,
) -> Result<Session, LogonFailure> {
    let now = actor.farm.clock.now();
    // The lock must be free again in the branch.
    let permit = actor.farm.state.lock().logons.check(version, now.wall);
    if let LogonPermit::NotBefore(at) = permit {
        return Err(LogonFailure::Account(wait_for_logon(actor, at, now)));
    }
    if !actor.turn().await {
        return Err(LogonFailure::Stopped);
    }
    // Not given up when told to stop: a session nobody knows of could not be given back.
    let answer = client.logon(credentials).await;
    let now = actor.farm.clock.now();
    match answer {
        Ok(Answer { value: session, date }) => {
            actor.metrics.session_opened(&actor.name());
            let mut state = actor.farm.state.lock();
            state.note(None, date, now);
            state.logons.record_success();
            Ok(session)
        }
        Err(error) if error.is_failed_logon() => {
            let hold = authentication_failed(&actor.object().spec.credentials_secret_ref.name, &error);
            Err(LogonFailure::Account(write_down(actor, version, hold, now).await))
        }
        Err(error) => Err(LogonFailure::Farm(error)),
    }
}

async fn write_down(actor: &Actor, version: &str, hold: Hold, now: Now) -> Trouble {
    let trouble = Trouble { hold, retry_at: now.boot + settings_pause(&actor.object()) };
    {
        let mut state = actor.farm.state.lock();
        state.logons.record_failure(version, now.wall);
        state.unreported = true;
    }
    actor.troubled(trouble.clone());
    if let Err(error) = actor.must_write_status().await {
        tracing::warn!(farm = %actor.farm.key, %error, "a failed logon could not be written down");
    }
    trouble
}

/// The account is spared: its Secret is looked at again soon, the farm is not.
fn wait_for_logon(actor: &Actor, at: Timestamp, now: Now) -> Trouble {
    let state = actor.farm.state.lock();
    let hold = state.trouble.as_ref().map(|trouble| trouble.hold.clone());
    let hold = hold.filter(|hold| hold.reason == Reason::AuthenticationFailed).unwrap_or_else(|| {
        Hold::new(Reason::AuthenticationFailed, spared(&state.object.spec.credentials_secret_ref.name))
    });
    let left = Duration::try_from(at.duration_since(now.wall)).unwrap_or_default();
    Trouble { hold, retry_at: now.boot + left.min(settings_pause(&state.object)) }
}

fn spared(secret: &str) -> String {
    format!(
        "The farm refused the account in Secret {secret:?}: correct username and password there. To spare the account \
         a lock-out the same Secret is tried twice, and then once every 15 minutes; a changed Secret is tried at once."
    )
}

fn authentication_failed(secret: &str, error: &ras::Error) -> Hold {
    Hold::new(Reason::AuthenticationFailed, format!("{} The farm says: {error}.", spared(secret)))
}

/// Whether this is the farm that was recorded; the identity is never changed without being told to.
fn identify(actor: &Actor, session: &Session) -> Result<String, Hold> {
    let state = actor.farm.state.lock();
    let object = &state.object;
    let recorded = state.identity();
    let by_uid = format!("uid:{}", object.uid().unwrap_or_default());
    let shown = session.farm_guid.clone().filter(|guid| !guid.is_empty());
    let accepted = state.annotation(annotation::ACCEPT_FARM_GUID);
    let identity = shown.clone().unwrap_or_else(|| by_uid.clone());
    match recorded {
        Some(recorded) if recorded != identity && accepted != Some(identity.as_str()) => {
            Err(mismatch(object, &recorded, shown.as_deref(), &identity))
        }
        Some(_) | None => Ok(identity),
    }
}

fn mismatch(object: &RasFarm, recorded: &str, shown: Option<&str>, identity: &str) -> Hold {
    let what = shown
        .map_or_else(|| "gives no GUID any more".to_owned(), |guid| format!("says that it is farm {guid}"));
    Hold::new(
        Reason::FarmMismatch,
        format!(
            "The endpoint {what}, and this object was recorded as farm {recorded}: nothing is written to it. If the \
             farm was rebuilt or replaced on purpose: kubectl annotate --overwrite rasfarm -n {} {} {}={identity}",
            object.namespace().unwrap_or_default(),
            object.name_any(),
            annotation::ACCEPT_FARM_GUID,
        ),
    )
}

/// What a failed call means for the farm, and when it is probed next.
pub(super) fn trouble_of(state: &mut FarmState, error: &ras::Error, now: Now) -> Trouble {
    if error.is_rate_limited() {
        // The farm is there and says when to come back: that opens no circuit.
        let pause = error.retry_after().unwrap_or_else(|| state.object.spec.rate_limit.window.get());
        return Trouble { hold: outage(error), retry_at: now.boot + pause };
    }
    let asked = error.retry_after().unwrap_or_default();
    back_off(state, outage(error), asked, now)
}

/// The next look at a farm that did not answer as it should: with growing pauses, and not before it asks for.
pub(super) fn back_off(state: &mut FarmState, hold: Hold, asked: Duration, now: Now) -> Trouble {
    // Nothing secret hangs on it: farms of one broken network are only not to come back in step.
    let jitter = f64::from(now.boot.subsec_micros() % 1_000) / 1_000.0;
    state.breaker.record_failure(now.boot, jitter);
    let wait = match state.breaker.admit(now.boot) {
        Admission::Admitted => FIRST_RETRY,
        Admission::Probe => Duration::ZERO,
        Admission::WaitFor(wait) => wait,
    };
    Trouble { hold, retry_at: now.boot + wait.max(asked) }
}

fn outage(error: &ras::Error) -> Hold {
    if let Some(sha256) = error.leaf_sha256() {
        let text = format!(
            "The farm's certificate is not trusted ({error}). Give its authority in spec.tls.caBundle, or compare this \
             SHA-256 with the certificate on the server and, if it is the same, add it under spec.tls:\n\
             pinnedSha256: [\"{sha256}\"]"
        );
        return Hold::new(Reason::TLSVerificationFailed, text);
    }
    if error.is_host_refused() {
        let text =
            format!("{error}: correct spec.endpoint, or start the operator with --allowed-farm-hosts.");
        return Hold::new(Reason::InvalidSpec, text);
    }
    if error.is_rate_limited() {
        let text = "The farm limits the number of requests: lower spec.rateLimit, or raise the limit of its RAS Web Administration Service.";
        return Hold::new(Reason::RateLimited, text);
    }
    if error.is_unauthorized() {
        let text = "The farm takes the account and refuses the session that it gave: look at the RAS Web Administration Service's log.";
        return Hold::new(Reason::AuthenticationFailed, text);
    }
    let text = format!(
        "The farm cannot be used: {}. Check that spec.endpoint is its RAS Web Administration Service and that it runs.",
        error.kind
    );
    Hold::new(Reason::FarmUnreachable, text)
}

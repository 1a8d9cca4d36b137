//! Logging on: with what the object and its Secret say now, to the first endpoint that is on the primary, and only
//! as the farm that was recorded.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::actor::Actor;
use super::breaker::Admission;
use super::settings;
use super::state::{FarmState, Link, Trouble};
use super::view::Hold;
use crate::clock::Now;
use crate::crd::annotation;
use crate::crd::condition::Reason;
use crate::ras::{self, Answer, Client, LogonPermit, Session};

/// Pause before settings or a Secret that were wrong are read again.
const SETTINGS_PAUSE: Duration = Duration::from_secs(10);
/// Pause before the next probe while the breaker is still closed.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Logs on. Sites are read here and not per period: they change about as often as farms are built.
pub(super) async fn connect(actor: &Actor) -> Result<(Link, Vec<ras::Site>), Trouble> {
    let object = actor.object();
    let now = actor.farm.clock.now();
    let later = |hold: Hold| Trouble { hold, retry_at: now.boot + SETTINGS_PAUSE };
    let clients =
        settings::clients(&actor.kubernetes, &object, &actor.policy, &actor.observer).await.map_err(later)?;
    let account = settings::account(&actor.kubernetes, &object).await.map_err(later)?;
    let (client, answer) = first_primary(actor, clients, &account).await?;
    let Answer { value: session, date } = answer;
    let identity = match identify(actor, &session) {
        Ok(identity) => identity,
        Err(hold) => {
            // Another farm gets nothing from us, not even an open session.
            actor.give_back(&client, &session.token).await;
            return Err(later(hold));
        }
    };
    actor.farm.state.lock().note(None, date, now);
    let sites = match client.list_sites(&session.token).await {
        Ok(answer) => answer.value,
        Err(error) => {
            tracing::debug!(farm = %actor.farm.key, reason = error.reason(), "the farm's sites cannot be listed");
            Vec::new()
        }
    };
    let settings::Account { credentials, version } = account;
    let account = credentials.username.clone();
    Ok((Link { client, session, account, secret_version: version, identity, credentials }, sites))
}

/// Logs on anew over the same endpoint, and gives the old session back.
pub(super) async fn renew(actor: &Actor) -> Result<(), Trouble> {
    let Some(old) = actor.farm.state.lock().link.clone() else { return Ok(()) };
    let answer = log_on(actor, &old.client, &old.credentials, &old.secret_version).await?;
    let session = answer.value;
    if let Err(hold) = identify(actor, &session) {
        actor.give_back(&old.client, &session.token).await;
        return Err(Trouble { hold, retry_at: actor.farm.clock.now().boot + SETTINGS_PAUSE });
    }
    let token = old.session.token.clone();
    let client = old.client.clone();
    actor.farm.state.lock().link = Some(Link { session, ..old });
    actor.give_back(&client, &token).await;
    Ok(())
}

/// The first endpoint that answers as the primary; else the first that answers at all.
async fn first_primary(
    actor: &Actor,
    clients: Vec<Client>,
    account: &settings::Account,
) -> Result<(Client, Answer<Session>), Trouble> {
    let mut second_best: Option<(Client, Answer<Session>)> = None;
    let mut trouble = None;
    for client in clients {
        match log_on(actor, &client, &account.credentials, &account.version).await {
            Ok(answer) if answer.value.primary_broker_connection == Some(false) && second_best.is_none() => {
                second_best = Some((client, answer));
            }
            Ok(answer) => {
                if let Some((other, session)) = second_best {
                    actor.give_back(&other, &session.value.token).await;
                }
                return Ok((client, answer));
            }
            // A wrong password is wrong everywhere, and counts towards a lock-out.
            Err(error) if error.hold.reason == Reason::AuthenticationFailed => return Err(error),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    let none = || Trouble {
        hold: Hold::new(Reason::InvalidSpec, "spec.endpoint is missing."),
        retry_at: Duration::MAX,
    };
    second_best.ok_or_else(|| trouble.unwrap_or_else(none))
}

/// One logon, if the limit on failed ones allows it. A failure is written down before the next may follow.
async fn log_on(
    actor: &Actor,
    client: &Client,
    credentials: &ras::Credentials,
    version: &str,
) -> Result<Answer<Session>, Trouble> {
    let now = actor.farm.clock.now();
    if let LogonPermit::NotBefore(at) = actor.farm.state.lock().logons.check(version, now.wall) {
        return Err(wait_for_logon(actor, at, now));
    }
    let error = match client.logon(credentials).await {
        Ok(answer) => {
            actor.metrics.session_opened(&actor.name());
            return Ok(answer);
        }
        Err(error) => error,
    };
    let now = actor.farm.clock.now();
    if !error.is_failed_logon() {
        return Err(trouble_of(&mut actor.farm.state.lock(), &error, now));
    }
    let hold = authentication_failed(&actor.object().spec.credentials_secret_ref.name, &error);
    {
        let mut state = actor.farm.state.lock();
        state.logons.record_failure(version, now.wall);
        state.unreported = true;
        state.trouble = Some(Trouble { hold: hold.clone(), retry_at: now.boot + FIRST_RETRY });
    }
    if let Err(error) = actor.write_status().await {
        tracing::warn!(farm = %actor.farm.key, %error, "a failed logon could not be written down");
    }
    Err(Trouble { hold, retry_at: now.boot + SETTINGS_PAUSE })
}

/// The account is spared: its Secret is looked at again soon, the farm is not.
fn wait_for_logon(actor: &Actor, at: Timestamp, now: Now) -> Trouble {
    let state = actor.farm.state.lock();
    let hold = state.trouble.as_ref().map(|trouble| trouble.hold.clone());
    let hold = hold.filter(|hold| hold.reason == Reason::AuthenticationFailed).unwrap_or_else(|| {
        Hold::new(Reason::AuthenticationFailed, spared(&state.object.spec.credentials_secret_ref.name))
    });
    let left = Duration::try_from(at.duration_since(now.wall)).unwrap_or_default();
    Trouble { hold, retry_at: now.boot + left.min(SETTINGS_PAUSE) }
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
    let recorded = object.status.as_ref().and_then(|status| status.farm_guid.clone());
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

fn mismatch(object: &crate::crd::RasFarm, recorded: &str, shown: Option<&str>, identity: &str) -> Hold {
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
    // Nothing secret hangs on it: farms of one broken network are only not to come back in step.
    let jitter = f64::from(u32::try_from(now.boot.subsec_micros() % 1_000).unwrap_or_default()) / 1_000.0;
    state.breaker.record_failure(now.boot, jitter);
    let wait = match state.breaker.admit(now.boot) {
        Admission::Admitted => FIRST_RETRY,
        Admission::Probe => Duration::ZERO,
        Admission::WaitFor(wait) => wait,
    };
    let asked = error.retry_after().unwrap_or_default();
    Trouble { hold: outage(error), retry_at: now.boot + wait.max(asked) }
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
        "The farm cannot be used: {error}. Check that spec.endpoint is its RAS Web Administration Service and that it runs."
    );
    Hold::new(Reason::FarmUnreachable, text)
}

//! Sends one promotion. There is no choice to make here: the plan decided it, and what becomes of it is left in memory
//! for the next plan.
//!
//! # Guarantees
//! That it is about to be sent stands in the status, fenced by the version on which it was decided, before the one
//! request goes out; and that goes out within the send deadline of the answer to that write, or not at all.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use secrecy::SecretString;

use super::message;
use super::observe::{Fate, Memory, Request};
use super::plan::Send;
use super::reconcile::Context;
use crate::broker::intent::is_in_time;
use crate::crd::RasBrokerPromotion;
use crate::farm::handle::Farm;
use crate::farm::view::Hold;
use crate::kubernetes::{self, CallError, ObjectKey};
use crate::ras::{self, MyAccount};

/// How long a Secret that cannot be used is left alone.
const SECRET_PAUSE: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Look again.
    Done,
    /// The farm does not take it yet.
    Queued,
}

/// Carries out `send`; what it learns goes into `memory`.
pub(super) async fn execute(
    context: &Context,
    object: &Arc<RasBrokerPromotion>,
    farm: &Arc<Farm>,
    send: &Send,
    memory: &mut Memory,
) -> Result<Progress, CallError> {
    let request = Request::of(object);
    let account = match account(&context.kubernetes, &request).await {
        Ok(account) => account,
        Err(hold) => {
            memory.pause = Some((hold, context.clock.now().boot + SECRET_PAUSE));
            return Ok(Progress::Done);
        }
    };
    let broker = ObjectKey::new(&request.namespace, &request.spec.broker_ref.name);
    let promoting = send.promoting(&request);
    let Some(permit) = farm.admit_promotion(&broker, promoting, send.listed_at) else {
        return Ok(Progress::Queued);
    };
    if let Err(error) = context.write(object, &send.status).await {
        farm.promotion_over(&request.uid);
        return Err(error);
    }
    let written = context.clock.now();
    memory.seen = Some(written.boot);
    let now = context.clock.now();
    let fate = if farm.may_act() && is_in_time(written.boot, now) && now.wall <= send.not_after {
        let result = permit.promote(send.attempt.id, &account).await;
        Fate::of(result.as_ref().copied(), &send.attempt.farm)
    } else {
        Fate::NotSent(message::too_late().to_owned())
    };
    memory.fate = Some(fate);
    Ok(Progress::Done)
}

/// E-mail address and password, read by name right before they are sent; what is wrong is said without showing any of it.
async fn account(client: &Client, request: &Request) -> Result<MyAccount, Hold> {
    let wrong = |why: &str| message::account_missing(request, why);
    let key = ObjectKey::new(&request.namespace, &request.spec.account_secret_ref.name);
    let secret = kubernetes::secret(client, &key).await.map_err(|error| {
        wrong(if error.is_forbidden() { "may not be read by the operator" } else { "cannot be read now" })
    })?;
    read(&secret.ok_or_else(|| wrong("does not exist"))?).map_err(|why| wrong(&why))
}

fn read(secret: &Secret) -> Result<MyAccount, String> {
    let value = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        let bytes = bytes.ok_or_else(|| format!("lacks the key {key:?}"))?;
        let text = std::str::from_utf8(&bytes.0).map_err(|_| format!("has no UTF-8 text under {key:?}"))?;
        // Editors and `base64` add one line break.
        let text = text.strip_suffix('\n').map_or(text, |rest| rest.strip_suffix('\r').unwrap_or(rest));
        match text.len() {
            0 => Err(format!("is empty under {key:?}")),
            1..=ras::MAX_CREDENTIAL => Ok(text.to_owned()),
            _ => Err(format!("has more than {} bytes under {key:?}", ras::MAX_CREDENTIAL)),
        }
    };
    Ok(MyAccount { email: value("email")?, password: SecretString::from(value("password")?) })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    use super::*;

    fn secret(pairs: &[(&str, &[u8])]) -> Secret {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn an_account_is_read_without_a_trailing_line_break() {
        let account = read(&secret(&[("email", b"a@b.c\r\n"), ("password", b"p w\n")])).unwrap();
        assert_eq!((account.email.as_str(), account.password.expose_secret()), ("a@b.c", "p w"));
        assert!(!format!("{account:?}").contains("p w"));
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_named() {
        let why = |pairs: &[(&str, &[u8])]| read(&secret(pairs)).unwrap_err();
        assert_eq!(why(&[("email", b"a")]), "lacks the key \"password\"");
        assert_eq!(why(&[("email", b"\n"), ("password", b"p")]), "is empty under \"email\"");
        assert_eq!(why(&[("email", b"a"), ("password", &[0xff])]), "has no UTF-8 text under \"password\"");
    }
}

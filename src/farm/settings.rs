//! From a `RasFarm` and what it refers to, to clients and credentials.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Client, ResourceExt};
use secrecy::SecretString;

use super::actor::Actor;
use super::view::Hold;
use crate::crd::condition::Reason;
use crate::crd::{ApiCall, ApiMethod, CaRef, CaRefKind, RasFarm, RasFarmSpec, Tls, annotation};
use crate::kubernetes::{self, CallError, ObjectKey};
use crate::ras::{self, ApiPaths, ClientConfig, Credentials, HostPolicy, TlsConfig};

/// What a session depends on.
pub(super) fn connection(object: &RasFarm) -> impl PartialEq + use<> {
    let spec = &object.spec;
    (
        spec.endpoint.clone(),
        spec.fallback_endpoints.clone(),
        spec.credentials_secret_ref.clone(),
        spec.tls.clone(),
        spec.request_timeout,
        spec.install_limit(),
        spec.api.clone(),
        object.annotations().get(annotation::ACCEPT_FARM_GUID).cloned(),
    )
}

/// What the process allows its farms.
#[derive(Clone)]
pub struct FarmPolicy {
    /// `--allowed-farm-hosts`.
    pub hosts: HostPolicy,
    /// `--allow-insecure-tls`.
    pub allow_insecure_tls: bool,
}

impl fmt::Debug for FarmPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FarmPolicy")
            .field("allow_insecure_tls", &self.allow_insecure_tls)
            .finish_non_exhaustive()
    }
}

/// Credentials, and which version of the Secret they are from.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) credentials: Credentials,
    pub(crate) version: String,
}

/// One client per endpoint, in the order in which they are tried.
pub(super) async fn clients(actor: &Actor, farm: &RasFarm) -> Result<Vec<ras::Client>, Hold> {
    let tls = tls(&actor.kubernetes, farm, &actor.policy).await?;
    let spec = &farm.spec;
    let endpoints = std::iter::once(&spec.endpoint).chain(&spec.fallback_endpoints);
    endpoints.map(|endpoint| client(actor, endpoint, spec, &tls)).collect()
}

fn client(actor: &Actor, endpoint: &str, spec: &RasFarmSpec, tls: &TlsConfig) -> Result<ras::Client, Hold> {
    let invalid = |error: ras::ConfigError| {
        Hold::new(Reason::InvalidSpec, format!("Cannot use {endpoint:?}: {error}."))
    };
    let config = ClientConfig {
        endpoint: ras::parse_endpoint(endpoint).map_err(invalid)?,
        tls: tls.clone(),
        request_timeout: spec.request_limit(),
        install_timeout: spec.install_limit(),
        hosts: actor.policy.hosts.clone(),
        api: api_paths(spec),
    };
    ras::Client::observed(config, &actor.connector, Arc::clone(&actor.observer)).map_err(invalid)
}

fn api_paths(spec: &RasFarmSpec) -> ApiPaths {
    let mut paths = ApiPaths::default();
    let call = |given: &Option<ApiCall>| given.as_ref().map(|call| (call.path.clone(), call.method));
    let priority = spec.api.priority.as_ref().map(|call| (call.path.clone(), call.method));
    let overrides = [
        (call(&spec.api.apply), &mut paths.apply),
        (priority, &mut paths.priority),
        (call(&spec.api.promote), &mut paths.promote),
        (call(&spec.api.status), &mut paths.status),
        (call(&spec.api.promotion_settings), &mut paths.promotion_settings),
    ];
    for (given, used) in overrides {
        let Some((path, method)) = given else { continue };
        used.path = path;
        used.method = match method {
            Some(ApiMethod::Post) => ras::ApiMethod::Post,
            Some(ApiMethod::Put) => ras::ApiMethod::Put,
            Some(ApiMethod::Get) => ras::ApiMethod::Get,
            None => used.method,
        };
    }
    paths
}

async fn tls(kubernetes: &Client, farm: &RasFarm, policy: &FarmPolicy) -> Result<TlsConfig, Hold> {
    let Tls { ca_bundle, ca_ref, server_name, pinned_sha256, insecure_skip_verify } = &farm.spec.tls;
    if *insecure_skip_verify && !policy.allow_insecure_tls {
        let text = "spec.tls.insecureSkipVerify is refused: start the operator with --allow-insecure-tls, or give \
                    spec.tls.caBundle or spec.tls.pinnedSha256.";
        return Err(Hold::new(Reason::InvalidSpec, text));
    }
    let ca_pem = match ca_ref {
        Some(reference) => Some(authority(kubernetes, farm, reference).await?),
        None => ca_bundle.clone(),
    };
    Ok(TlsConfig {
        ca_pem,
        server_name: server_name.clone(),
        pinned_sha256: pinned_sha256.clone(),
        insecure_skip_verify: *insecure_skip_verify,
    })
}

async fn authority(kubernetes: &Client, farm: &RasFarm, reference: &CaRef) -> Result<String, Hold> {
    let key = ObjectKey::new(farm.namespace().unwrap_or_default(), &reference.name);
    let found = match reference.kind {
        CaRefKind::Secret => kubernetes::secret(kubernetes, &key).await.map(|secret| {
            secret.and_then(|secret: Secret| text_of(secret.data.as_ref()?.get(&reference.key)?))
        }),
        CaRefKind::ConfigMap => kubernetes::config_map(kubernetes, &key)
            .await
            .map(|map| map.and_then(|map: ConfigMap| map.data?.get(&reference.key).cloned())),
    };
    let kind = match reference.kind {
        CaRefKind::Secret => "Secret",
        CaRefKind::ConfigMap => "ConfigMap",
    };
    let missing = |why: String| {
        let text = format!(
            "spec.tls.caRef: {kind} {:?} {why}: it must hold PEM certificates under {:?}.",
            reference.name, reference.key
        );
        Hold::new(Reason::InvalidSpec, text)
    };
    match found {
        Ok(Some(pem)) => Ok(pem),
        Ok(None) => Err(missing("does not exist or lacks the key".into())),
        Err(error) if error.is_forbidden() => {
            Err(missing("cannot be read, for which the operator's ServiceAccount needs get on it".into()))
        }
        // It passes by itself, so it is no fault of the spec.
        Err(error) => {
            let text = format!(
                "spec.tls.caRef: {kind} {:?} cannot be read: {error}. It is tried again.",
                reference.name
            );
            Err(Hold::new(Reason::Progressing, text))
        }
    }
}

fn text_of(bytes: &ByteString) -> Option<String> {
    String::from_utf8(bytes.0.clone()).ok()
}

/// The farm's account, read by name. One trailing line break is dropped: editors and `base64` add it, and no
/// password ends in one.
pub(super) async fn account(kubernetes: &Client, farm: &RasFarm) -> Result<Account, Hold> {
    let name = &farm.spec.credentials_secret_ref.name;
    let key = ObjectKey::new(farm.namespace().unwrap_or_default(), name);
    let secret = kubernetes::secret(kubernetes, &key).await.map_err(|error| unreadable(name, &error))?;
    let secret = secret.ok_or_else(|| {
        secret_hold(format!("Secret {name:?} does not exist in namespace {:?}: create it with the keys username and password.", key.namespace))
    })?;
    credentials(name, &secret)
}

fn unreadable(name: &str, error: &CallError) -> Hold {
    if error.is_forbidden() {
        secret_hold(format!("The operator may not read Secret {name:?}: grant its ServiceAccount get on it."))
    } else {
        secret_hold(format!("Secret {name:?} cannot be read: {error}."))
    }
}

fn secret_hold(text: String) -> Hold {
    Hold::new(Reason::SecretNotFound, text)
}

/// Username and password out of a Secret; what is wrong is said without showing any of it.
pub(crate) fn credentials(name: &str, secret: &Secret) -> Result<Account, Hold> {
    let read = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        let bytes = bytes.ok_or_else(|| {
            secret_hold(format!("Secret {name:?} lacks the key {key:?}: it needs username and password."))
        })?;
        let text = text_of(bytes)
            .ok_or_else(|| secret_hold(format!("Secret {name:?}: the key {key:?} is not UTF-8 text.")))?;
        let text =
            text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
        if text.is_empty() {
            return Err(secret_hold(format!("Secret {name:?}: the key {key:?} is empty.")));
        }
        if text.len() > ras::MAX_CREDENTIAL {
            let most = ras::MAX_CREDENTIAL;
            return Err(secret_hold(format!(
                "Secret {name:?}: the key {key:?} is longer than {most} bytes: let it hold the account's {key} alone."
            )));
        }
        Ok(text.to_owned())
    };
    Ok(Account {
        credentials: Credentials {
            username: read("username")?,
            password: SecretString::from(read("password")?),
        },
        version: secret.resource_version().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &[u8])]) -> Secret {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    fn complaint(pairs: &[(&str, &[u8])]) -> String {
        credentials("s", &secret(pairs)).unwrap_err().message
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_named() {
        assert!(complaint(&[("username", b"u")]).contains("lacks the key \"password\""));
        assert!(complaint(&[("username", b""), ("password", b"p")]).contains("\"username\" is empty"));
        assert!(complaint(&[("username", b"u"), ("password", &[0xff])]).contains("not UTF-8"));
        assert!(complaint(&[("username", b"u"), ("password", b"\n")]).contains("\"password\" is empty"));
        let (longest, longer) = ([b'x'; ras::MAX_CREDENTIAL], [b'x'; ras::MAX_CREDENTIAL + 1]);
        assert!(credentials("s", &secret(&[("username", &longest), ("password", &longest)])).is_ok());
        assert!(complaint(&[("username", b"u"), ("password", &longer)]).contains("longer than 1024 bytes"));
    }

    #[test]
    fn one_trailing_line_break_is_not_part_of_a_password() {
        use secrecy::ExposeSecret;
        let account = credentials("s", &secret(&[("username", b"u\r\n"), ("password", b"p w\n")])).unwrap();
        assert_eq!(account.credentials.username, "u");
        assert_eq!(account.credentials.password.expose_secret(), "p w");
    }
}

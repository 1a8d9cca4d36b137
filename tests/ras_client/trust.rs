//! Which certificates are trusted, and what is said of the others.

use ras_operator::ras::{Client, Error, Outcome, TlsConfig};

use crate::server::{Server, header};
use crate::{LOCAL, answer, client, client_with, config, token, trusting};

/// Whether a list call gets through with these settings, and what TLS said if not.
async fn trusts(server: &Server, tls: TlsConfig) -> Result<(), Error> {
    client_with(server, tls).list_brokers(&token()).await.map(|_| ())
}

fn assert_untrusted(server: &Server, result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert!(error.is_tls_verification(), "{error:?}");
    assert_eq!(error.leaf_sha256(), Some(server.leaf_sha256.as_str()));
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn another_authority_fails_with_the_leafs_fingerprint() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let other = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    assert_untrusted(&server, trusts(&server, trusting(&other)).await);
    assert!(trusts(&server, trusting(&server)).await.is_ok());
}

#[tokio::test]
async fn the_systems_authorities_do_not_know_it_and_a_given_bundle_replaces_them() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    match Client::new(config(&format!("https://{}", server.address), TlsConfig::default())) {
        Ok(client) => assert_untrusted(&server, client.list_brokers(&token()).await.map(|_| ())),
        Err(error) => assert_eq!(error, ras_operator::ras::ConfigError::NoSystemRoots),
    }
}

#[tokio::test]
async fn a_pin_of_the_leaf_or_its_key_stands_in_for_an_authority() {
    let server = Server::start(&["other.example.com"], answer("200 OK", "", "[]")).await;
    let pinned = |pin: &str| TlsConfig { pinned_sha256: vec![pin.to_owned()], ..TlsConfig::default() };
    assert_untrusted(&server, trusts(&server, pinned(&"00".repeat(32))).await);
    assert!(trusts(&server, pinned(&server.leaf_sha256)).await.is_ok());
    assert!(trusts(&server, pinned(&server.key_sha256.to_uppercase())).await.is_ok());
    let mut either = pinned(&"00".repeat(32));
    either.pinned_sha256.push(server.leaf_sha256.clone());
    assert!(trusts(&server, either).await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_trusted_by_authority_and_key_and_not_by_the_old_ones_pin() {
    let mut server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let pinned = |pin: &str| TlsConfig { pinned_sha256: vec![pin.to_owned()], ..TlsConfig::default() };
    let by_authority = client(&server);
    let by_key = client_with(&server, pinned(&server.key_sha256));
    let by_leaf = client_with(&server, pinned(&server.leaf_sha256));
    for client in [&by_authority, &by_key, &by_leaf] {
        assert!(client.list_brokers(&token()).await.is_ok());
    }
    server.renew(2999);
    assert_untrusted(&server, by_leaf.list_brokers(&token()).await.map(|_| ()));
    assert!(by_authority.list_brokers(&token()).await.is_ok());
    assert!(by_key.list_brokers(&token()).await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_trusted_by_its_authority() {
    let mut server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let client = client(&server);
    assert!(client.list_brokers(&token()).await.is_ok());
    server.renew(2001);
    assert_untrusted(&server, client.list_brokers(&token()).await.map(|_| ()));
    server.renew(2999);
    assert!(client.list_brokers(&token()).await.is_ok());
}

#[tokio::test]
async fn with_an_authority_and_a_pin_both_must_hold() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let other = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let both = |ca: &Server, pin: &str| TlsConfig { pinned_sha256: vec![pin.to_owned()], ..trusting(ca) };
    assert_untrusted(&server, trusts(&server, both(&server, &other.leaf_sha256)).await);
    assert_untrusted(&server, trusts(&server, both(&other, &server.leaf_sha256)).await);
    assert!(trusts(&server, both(&server, &server.leaf_sha256)).await.is_ok());
}

#[tokio::test]
async fn without_verification_any_certificate_passes_but_a_pin_still_holds() {
    let server = Server::start(&["other.example.com"], answer("200 OK", "", "[]")).await;
    let skip = |pins: Vec<String>| TlsConfig {
        insecure_skip_verify: true,
        pinned_sha256: pins,
        ..TlsConfig::default()
    };
    assert_untrusted(&server, trusts(&server, skip(vec!["00".repeat(32)])).await);
    assert!(trusts(&server, skip(Vec::new())).await.is_ok());
}

#[tokio::test]
async fn a_server_name_is_verified_and_asked_for_while_host_stays_the_endpoints() {
    let server = Server::start(&["ras.example.com"], answer("200 OK", "", "[]")).await;
    assert_untrusted(&server, trusts(&server, trusting(&server)).await);
    let named = |name: &str| TlsConfig { server_name: Some(name.to_owned()), ..trusting(&server) };
    assert_untrusted(&server, trusts(&server, named("other.example.com")).await);
    assert!(trusts(&server, named("ras.example.com")).await.is_ok());
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(seen.sni.as_deref(), Some("ras.example.com"));
    assert_eq!(header(&seen.text, "host"), Some(server.address.to_string()));
}

#[tokio::test]
async fn a_server_name_that_is_an_address_is_verified_without_sni() {
    let server = Server::start(&["10.9.8.7"], answer("200 OK", "", "[]")).await;
    let tls = TlsConfig { server_name: Some("10.9.8.7".to_owned()), ..trusting(&server) };
    let client = Client::new(config(&format!("https://localhost:{}", server.address.port()), tls)).unwrap();
    client.list_brokers(&token()).await.unwrap();
    assert_eq!(server.requests()[0].sni, None);
}

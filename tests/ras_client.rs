//! The REST client on the wire: what it sends, whom it trusts, and what it makes of every kind of answer.
#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking, as the test does")]

#[path = "ras_client/server.rs"]
mod server;
#[path = "ras_client/trust.rs"]
mod trust;

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ras_operator::ras::{
    ApiPaths, AuthToken, BrokerChange, Client, ClientConfig, Connector, Credentials, Error, ErrorKind,
    HostPolicy, MyAccount, NewBroker, Outcome, Removal, Route, TlsConfig, https, parse_endpoint,
};
use server::{Script, Server, header};

const LOCAL: &[&str] = &["127.0.0.1", "localhost"];
const ROW: &str = r#"{"id":7,"server":"cb2.example.com","siteId":1}"#;
const PASSWORD: &str = "canary p&ss/word\"";
const TOKEN: &str = "canary-token";

fn answer(status: &str, headers: &str, body: &str) -> Script {
    let length = body.len();
    Script::Say(
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
            .into_bytes(),
    )
}

fn token() -> AuthToken {
    AuthToken::new(TOKEN.to_owned()).unwrap()
}

fn credentials() -> Credentials {
    Credentials { username: "svc".to_owned(), password: PASSWORD.into() }
}

fn new_broker() -> NewBroker {
    NewBroker {
        server: "cb2.example.com".to_owned(),
        site_id: 1,
        no_install: false,
        no_restart: true,
        no_firewall_rules: true,
        credentials: Some(credentials()),
    }
}

fn trusting(server: &Server) -> TlsConfig {
    TlsConfig { ca_pem: Some(server.ca_pem.clone()), ..TlsConfig::default() }
}

fn config(endpoint: &str, tls: TlsConfig) -> ClientConfig {
    ClientConfig {
        endpoint: parse_endpoint(endpoint).unwrap(),
        tls,
        request_timeout: Duration::from_secs(5),
        install_timeout: Duration::from_secs(5),
        hosts: HostPolicy::new(LOCAL),
        api: ApiPaths::default(),
    }
}

fn client_with(server: &Server, tls: TlsConfig) -> Client {
    Client::new(config(&format!("https://{}", server.address), tls)).unwrap()
}

fn client(server: &Server) -> Client {
    client_with(server, trusting(server))
}

/// Starts a server for one script, and creates a broker there.
async fn create_at(script: Script) -> (Server, Result<i64, Error>) {
    let server = Server::start(LOCAL, script).await;
    let result = client(&server).create_broker(&token(), &new_broker()).await;
    (server, result.map(|answer| answer.value.id))
}

/// Everything of an error that could ever be printed.
fn printed(error: &Error) -> String {
    let mut texts = vec![format!("{error} {error:?} {error:#?}")];
    let mut source = error.source();
    while let Some(inner) = source {
        texts.push(format!("{inner} {inner:?}"));
        source = inner.source();
    }
    texts.join(" ")
}

fn assert_no_secret(error: &Error) {
    let text = printed(error);
    for secret in ["canary", "p&ss", "p%26ss", "%2Fword", "?noInstall", "?noUninstall"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn a_create_is_sent_as_the_vendor_wants_it() {
    let (server, result) =
        create_at(answer("201 Created", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", ROW)).await;
    assert_eq!(result.unwrap(), 7);
    let [seen] = &server.requests()[..] else { panic!("one request") };
    let line = "POST /api/Broker?noInstall=false&username=svc&password=canary+p%26ss%2Fword%22&noRestart=true\
                &noFireWallRules=true HTTP/1.1";
    assert_eq!(seen.text.lines().next(), Some(line));
    assert_eq!(header(&seen.text, "content-type").as_deref(), Some("application/json; api-version=1.0"));
    assert_eq!(header(&seen.text, "auth_token").as_deref(), Some(TOKEN));
    assert_eq!(header(&seen.text, "host"), Some(server.address.to_string()));
    assert_eq!(header(&seen.text, "accept-encoding"), None);
    assert!(seen.text.ends_with(r#"{"server":"cb2.example.com","siteId":1}"#));
}

#[tokio::test]
async fn every_call_has_the_content_type_and_all_but_logon_the_token() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let (client, token) = (client(&server), token());
    drop(client.logon(&credentials()).await);
    drop(client.logoff(&token).await);
    drop(client.list_brokers(&token).await);
    drop(client.get_broker(&token, 7).await);
    drop(client.update_broker(&token, 7, &BrokerChange::default()).await);
    drop(client.delete_broker(&token, 7, &Removal { no_uninstall: true, credentials: None }).await);
    drop(client.list_sites(&token).await);
    drop(client.list_agents(&token).await);
    drop(client.apply(&token).await);
    let seen = server.requests();
    let lines: Vec<_> = seen.iter().filter_map(|seen| seen.text.lines().next()).collect();
    let expected = [
        "POST /api/Session/logon HTTP/1.1",
        "POST /api/Session/logoff HTTP/1.1",
        "GET /api/Broker HTTP/1.1",
        "GET /api/Broker/7 HTTP/1.1",
        "PUT /api/Broker/7 HTTP/1.1",
        "DELETE /api/Broker/7?noUninstall=true HTTP/1.1",
        "GET /api/Site HTTP/1.1",
        "GET /api/Agent?serverType=7 HTTP/1.1",
        "POST /api/Settings/apply HTTP/1.1",
    ];
    assert_eq!(lines, expected);
    for (index, seen) in seen.iter().enumerate() {
        assert_eq!(header(&seen.text, "content-type").as_deref(), Some("application/json; api-version=1.0"));
        assert_eq!(header(&seen.text, "auth_token").is_some(), index > 0, "{}", seen.text);
    }
    // A server may insist on a length wherever a method can have a body.
    assert_eq!(header(&seen[1].text, "content-length").as_deref(), Some("0"));
}

#[tokio::test]
async fn a_promotion_is_one_request_and_its_refusal_shows_neither_password_nor_token() {
    let echo = serde_json::to_string(&format!("no {PASSWORD} {TOKEN}")).unwrap();
    let server =
        Server::start(LOCAL, answer("400 Bad Request", "", &format!(r#"{{"code":0,"msg":{echo}}}"#))).await;
    let account = MyAccount { email: "a@b.c".to_owned(), password: PASSWORD.into() };
    let error = client(&server).promote_broker(&token(), 7, &account).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(error.to_string().contains("[redacted]"), "{error}");
    assert_no_secret(&error);
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(seen.text.lines().next(), Some("POST /api/Broker/7/promote HTTP/1.1"));
    assert_eq!(header(&seen.text, "auth_token").as_deref(), Some(TOKEN));
    assert_eq!(seen.text.matches("canary p&ss").count(), 1, "in the body, and once");
}

#[tokio::test]
async fn a_logon_and_the_farms_clock_are_read() {
    let headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let body = r#"{"authToken":"abc","farmGUID":"G","primaryBrokerConnection":true}"#;
    let server = Server::start(LOCAL, answer("200 OK", headers, body)).await;
    let answer = client(&server).logon(&credentials()).await.unwrap();
    assert_eq!(answer.date.unwrap().to_string(), "1994-11-06T08:49:37Z");
    assert_eq!(answer.value.farm_guid.as_deref(), Some("G"));
    assert!(!format!("{answer:?}").contains("abc"));
}

#[tokio::test]
async fn one_call_is_one_connection_and_one_request_though_the_server_would_keep_it() {
    let alive =
        format!("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n{ROW}", ROW.len());
    let server = Server::start(LOCAL, Script::Say(alive.into_bytes())).await;
    let client = client(&server);
    for _ in 0..3 {
        client.get_broker(&token(), 7).await.unwrap();
        client.create_broker(&token(), &new_broker()).await.unwrap();
    }
    assert_eq!((server.connections(), server.requests().len()), (6, 6));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_was_asked_for_exactly_once() {
    for script in [Script::Close, Script::Reset, Script::Say(b"HTTP/1.1 201 Cre".to_vec())] {
        let (server, result) = create_at(script).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind.clone(), error.outcome()),
            (ErrorKind::Interrupted, Outcome::Unknown),
            "{error:?}"
        );
        assert_no_secret(&error);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((server.connections(), server.requests().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_body_cut_short_is_unknown() {
    let cut = Script::Say(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"id\":7".to_vec());
    let (server, result) = create_at(cut).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind.clone(), error.outcome()), (ErrorKind::Interrupted, Outcome::Unknown));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn no_answer_within_the_timeout_is_unknown() {
    let half = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"id\"".to_vec();
    let cases = [(Vec::new(), false), (half, false), (Vec::new(), true)];
    for (said, installs) in cases {
        let server = Server::start(LOCAL, Script::SayAndHang(said)).await;
        let mut config = config(&format!("https://{}", server.address), trusting(&server));
        let short = if installs { &mut config.install_timeout } else { &mut config.request_timeout };
        *short = Duration::from_millis(400);
        let started = Instant::now();
        let broker = NewBroker { no_install: !installs, ..new_broker() };
        let error = Client::new(config).unwrap().create_broker(&token(), &broker).await.unwrap_err();
        assert_eq!((error.kind.clone(), error.outcome()), (ErrorKind::Timeout, Outcome::Unknown));
        assert!(started.elapsed() < Duration::from_secs(3));
        assert_no_secret(&error);
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_whose_words_hang_is_still_a_refusal() {
    let head = b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\n{".to_vec();
    let (_server, result) = create_at(Script::SayAndHang(head)).await;
    let error = result.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(error.outcome(), Outcome::Refused);
}

#[tokio::test]
async fn a_body_past_sixteen_mebibytes_is_not_read_on() {
    for head in ["Content-Length: 100000000\r\n", "Connection: close\r\n"] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let server = Server::start(LOCAL, Script::Flood(head.into_bytes())).await;
        let error = client(&server).list_brokers(&token()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge { limit: 16 << 20 });
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
}

/// Nothing is unpacked, so that nothing can be far larger than what arrived.
#[tokio::test]
async fn a_packed_body_is_no_answer() {
    let empty_list = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x8b, 0x8e, 0x05, 0x00, 0x29, 0xbb, 0x4c,
        0x0d, 0x02, 0x00, 0x00, 0x00,
    ];
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\nConnection: close\r\n\r\n";
    let script = Script::Say([head.as_bytes(), &empty_list].concat());
    let server = Server::start(LOCAL, script).await;
    let error = client(&server).list_brokers(&token()).await.unwrap_err();
    assert_eq!((error.reason(), error.outcome()), ("malformed", Outcome::Unknown));
}

#[tokio::test]
async fn a_command_does_not_wait_for_a_body_that_says_nothing() {
    let server =
        Server::start(LOCAL, Script::SayAndHang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()))
            .await;
    client(&server).apply(&token()).await.unwrap();
}

#[tokio::test]
async fn a_page_in_answer_to_a_command_is_no_success() {
    let page = "\n<!doctype html><title>Maintenance</title>";
    let long = format!("{page}{}", "x".repeat(100_000));
    let html = "Content-Type: Text/HTML; charset=utf-8\r\n";
    for (headers, body) in [("", page), ("", &long), ("", &format!("\u{feff}{page}")), (html, "Maintenance")]
    {
        let server = Server::start(LOCAL, answer("200 OK", headers, body)).await;
        let error = client(&server).apply(&token()).await.unwrap_err();
        let shown = &body[..body.len().min(20)];
        assert_eq!((error.reason(), error.outcome()), ("malformed", Outcome::Unknown), "{headers}{shown}");
    }
    let server = Server::start(LOCAL, answer("200 OK", html, "")).await;
    client(&server).apply(&token()).await.expect("no body is no page");
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<html>";
    let server = Server::start(LOCAL, Script::Say(cut.into())).await;
    let error = client(&server).apply(&token()).await.unwrap_err();
    assert_eq!((error.reason(), error.outcome()), ("malformed", Outcome::Unknown), "cut short");
}

#[tokio::test]
async fn the_password_that_opened_a_session_is_hidden_in_whatever_answer_it_comes_back() {
    let gate = Server::start(LOCAL, answer("200 OK", "", r#"{"authToken":"canary-token"}"#)).await;
    let token = client(&gate).logon(&credentials()).await.unwrap().value.token;
    let echo = serde_json::Value::from(format!("no, {PASSWORD} does not do")).to_string();
    let refusal = answer("500 Oh", "", &format!(r#"{{"code":0,"msg":{echo}}}"#));
    let server = Server::start(LOCAL, refusal).await;
    let error = client(&server).update_broker(&token, 7, &BrokerChange::default()).await.unwrap_err();
    assert_no_secret(&error);
    assert!(printed(&error).contains("no, [redacted] does not do"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_nobody_else_is_called() {
    let other = Server::start(LOCAL, answer("201 Created", "", ROW)).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: https://{}/api/Broker\r\n", other.address);
        let (server, result) = create_at(answer(status, &location, "")).await;
        let error = result.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Redirected { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn every_error_status_is_classified() {
    let cases = [
        ("400 Bad Request", "bad_request", Outcome::Refused),
        ("401 Unauthorized", "unauthorized", Outcome::Refused),
        ("403 Forbidden", "forbidden", Outcome::Refused),
        ("404 Not Found", "not_found", Outcome::Refused),
        ("408 Request Timeout", "request_timeout", Outcome::Unknown),
        ("409 Conflict", "conflict", Outcome::Refused),
        ("423 Locked", "locked", Outcome::Refused),
        ("429 Too Many Requests", "rate_limited", Outcome::Refused),
        ("500 Internal Server Error", "server_error", Outcome::Unknown),
        ("502 Bad Gateway", "server_error", Outcome::Unknown),
        ("503 Service Unavailable", "server_error", Outcome::Unknown),
    ];
    for (status, reason, outcome) in cases {
        let (server, result) =
            create_at(answer(status, "Retry-After: 900\r\n", r#"{"code":3,"msg":"because"}"#)).await;
        let error = result.unwrap_err();
        assert_eq!((error.reason(), error.outcome()), (reason, outcome), "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_mins(5)));
        assert!(error.to_string().ends_with(&format!("{status}: because")), "{error}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_used_is_unknown() {
    for body in ["", "null", "{}", "<html>", "[]", r#"{"id":7}"#] {
        let (_server, result) = create_at(answer("201 Created", "", body)).await;
        let error = result.unwrap_err();
        assert_eq!((error.reason(), error.outcome()), ("malformed", Outcome::Unknown), "{body}");
    }
}

#[tokio::test]
async fn no_error_repeats_a_secret_that_the_farm_echoes() {
    let echo = r#"{"title":"Conflict","status":409,
        "detail":"POST /api/Broker?noRestart=true&password=canary+p%26ss%2fword%22 canary p&ss/word\" canary-token",
        "instance":"/api/Broker?password=canary"}"#;
    let (_server, result) = create_at(answer("409 Conflict", "", echo)).await;
    let error = result.unwrap_err();
    assert_no_secret(&error);
    assert!(error.to_string().contains("password=[redacted] [redacted] [redacted]"), "{error}");
    let server = Server::start(LOCAL, answer("401 Unauthorized", "", echo)).await;
    let error = client(&server).logon(&credentials()).await.unwrap_err();
    assert!(error.is_failed_logon());
    assert!(!printed(&error).contains("p&ss"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_not_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        config(&format!("https://{free}"), TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() });
    let error = Client::new(config).unwrap().create_broker(&token(), &new_broker()).await.unwrap_err();
    assert_eq!((error.kind.clone(), error.outcome()), (ErrorKind::Connect, Outcome::NotSent));
    assert!(error.source().unwrap().to_string().contains("refused"));
    assert_no_secret(&error);
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_not_sent() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let mut config = config(&endpoint, TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() });
    config.request_timeout = Duration::from_millis(600);
    let error = Client::new(config).unwrap().create_broker(&token(), &new_broker()).await.unwrap_err();
    assert_eq!((error.kind.clone(), error.outcome()), (ErrorKind::Connect, Outcome::NotSent));
}

#[tokio::test]
async fn a_server_without_tls_is_not_sent() {
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let config = config(&endpoint, TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() });
    let error = Client::new(config).unwrap().create_broker(&token(), &new_broker()).await.unwrap_err();
    assert_eq!(
        (error.kind.clone(), error.outcome()),
        (ErrorKind::TlsHandshake, Outcome::NotSent),
        "{error:?}"
    );
    assert!(!error.is_tls_verification());
}

#[tokio::test]
async fn an_unknown_name_is_not_sent() {
    let mut config = config(
        "https://no-such-host.invalid",
        TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() },
    );
    config.hosts = HostPolicy::default();
    let error = Client::new(config).unwrap().list_brokers(&token()).await.unwrap_err();
    assert_eq!((error.kind.clone(), error.outcome()), (ErrorKind::Resolve, Outcome::NotSent), "{error:?}");
}

#[tokio::test]
async fn loopback_is_refused_unless_it_is_listed() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let mut config = config(&format!("https://{host}:{port}"), trusting(&server));
        config.hosts = HostPolicy::default();
        let error = Client::new(config).unwrap().list_brokers(&token()).await.unwrap_err();
        assert!(error.is_host_refused(), "{host} {error:?}");
        assert_eq!(error.outcome(), Outcome::NotSent);
    }
    let mut other = config(&format!("https://127.0.0.1:{port}"), trusting(&server));
    other.hosts = HostPolicy::new(&["ras.example.com"]);
    let error = Client::new(other).unwrap().list_brokers(&token()).await.unwrap_err();
    assert!(error.is_host_refused());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_is_refused_with_a_server_name_too() {
    let server = Server::start(&["ras.example.com"], answer("200 OK", "", "[]")).await;
    let tls = TlsConfig { server_name: Some("ras.example.com".to_owned()), ..trusting(&server) };
    let mut config = config(&format!("https://{}", server.address), tls);
    config.hosts = HostPolicy::default();
    let error = Client::new(config).unwrap().list_brokers(&token()).await.unwrap_err();
    assert!(error.is_host_refused());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn every_call_is_observed_once() {
    let server = Server::start(LOCAL, answer("404 Not Found", "", "")).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let seen = Arc::clone(&seen);
        Arc::new(move |call: ras_operator::ras::Observation| {
            seen.lock().unwrap().push((call.route, call.result));
        })
    };
    let config = config(&format!("https://{}", server.address), trusting(&server));
    let connector: Connector = Arc::new(https);
    let client = Client::observed(config, &connector, observer).unwrap();
    assert!(client.list_brokers(&token()).await.unwrap_err().is_not_found());
    assert!(client.apply(&token()).await.unwrap_err().is_not_found());
    assert_eq!(*seen.lock().unwrap(), [(Route::ListBrokers, "not_found"), (Route::Apply, "not_found")]);
}

/// What the next test runs in a process of its own.
#[tokio::test]
async fn a_call_goes_straight_to_the_farm() {
    let server = Server::start(LOCAL, answer("200 OK", "", "[]")).await;
    client(&server).list_brokers(&token()).await.unwrap();
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let nobody = "http://127.0.0.1:9";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_call_goes_straight_to_the_farm"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, nobody);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn the_debug_of_a_client_shows_no_more_than_its_endpoint() {
    let tls = TlsConfig { pinned_sha256: vec!["ab".repeat(32)], ..TlsConfig::default() };
    let client = Client::new(config("https://ras.example.com", tls)).unwrap();
    assert_eq!(format!("{client:?}"), r#"Client { endpoint: "https://ras.example.com:20443/", .. }"#);
}

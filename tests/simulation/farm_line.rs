//! The operator's way to the farms.

use std::io;
use std::sync::{Arc, OnceLock};

use futures::{FutureExt, StreamExt, stream};
use http::request::Parts;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use ras_operator::ras::{ClientConfig, Connector};
use ras_operator::simulator::{Outcome, Reply};
use reqwest::dns::{Name, Resolve, Resolving};
use rustls::CertificateError;
use serde_json::{Value, json};

use crate::clock;
use crate::fate::{Barrier, Fate, Shape};
use crate::network::{Call, Line, Passage, Reached};
use crate::world::World;

/// A connector whose calls go over `line`.
pub fn connector(world: &Arc<World>, line: &Arc<Line>) -> Connector {
    let (world, line) = (Arc::clone(world), Arc::clone(line));
    Arc::new(move |config: &ClientConfig| {
        let (world, line) = (Arc::clone(&world), Arc::clone(&line));
        let (farm, endpoint) = World::place_of(config.endpoint.host_str().unwrap_or_default());
        Ok(Arc::new(move |request: reqwest::Request| {
            call(Arc::clone(&world), Arc::clone(&line), (farm, endpoint), request).boxed()
        }))
    })
}

async fn call(
    world: Arc<World>,
    line: Arc<Line>,
    (farm, endpoint): (usize, usize),
    request: reqwest::Request,
) -> reqwest::Result<reqwest::Response> {
    let (parts, body) = http::Request::try_from(request)?.into_parts();
    let body = Bytes::copy_from_slice(body.as_bytes().unwrap_or_default());
    let call = Call { farm: Some(farm), method: parts.method.to_string(), path: shown(&parts) };
    let is_post = call.method == "POST" && call.path.split('?').next() == Some("/api/Broker");
    let server = server_of(&world, &parts, &call, &body);
    let maker = if is_post && line.is_open() {
        world.oracle.lock().sending(line.namespace, farm, &server)
    } else {
        None
    };
    let (seen, heard) = (call.clone(), Arc::clone(&world));
    let sent = Sent::new(&world, &line, &call);
    let post = maker.clone().map(|maker| (server.clone(), maker));
    let echo = format!("{} {}", parts.uri, String::from_utf8_lossy(&body));
    let left = clock::elapsed();
    let deliver = move |fate: Fate| {
        async move {
            let handle = &world.farms[farm];
            if let Fate::Played(fault) = &fate {
                handle.fault(fault.clone());
                world.played(farm, &seen, fault);
            }
            let post = post.as_ref().map(|(server, maker)| (server.as_str(), maker.as_str()));
            world.before_call(farm, &seen, post);
            let outcome = handle.exchange(endpoint, &parts, body).await;
            if let Outcome::Answer(reply) = &outcome {
                world.gave_token(farm, reply);
            }
            world.after_call(farm, left);
            match outcome {
                Outcome::Answer(reply) if matches!(fate, Fate::Shortened) => {
                    Reached::Answer((without_last_row(reply), Shape::Whole))
                }
                Outcome::Answer(reply) => {
                    let shape = if let Fate::Deformed(shape) = fate { shape } else { Shape::Whole };
                    Reached::Answer((world.delayed(farm, &seen, reply), shape))
                }
                Outcome::Truncated(reply) => Reached::Answer((reply, Shape::Cut)),
                Outcome::Reset => Reached::Broken,
                Outcome::Hang => Reached::Silent,
            }
        }
        .boxed()
    };
    let passage = Arc::clone(&line).pass(call, deliver).await;
    sent.answered(&passage);
    if let Some(maker) = &maker {
        learn(&heard, &server, maker, &passage);
    }
    match passage {
        Passage::Answered((reply, shape)) => Ok(response(&reply, shape)),
        Passage::Refused(status) => Ok(response(&refusal(status, &echo), Shape::Whole)),
        Passage::Broken => Err(interrupted().await),
        Passage::NotConnected(barrier) => Err(not_connected(barrier).await),
    }
}

/// The server that a body names. What is secret beside it is for this farm alone.
fn server_of(world: &World, parts: &Parts, call: &Call, body: &[u8]) -> String {
    let sent = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let token = parts.headers.get("auth_token").and_then(|token| token.to_str().ok());
    let password = sent["password"].as_str().filter(|_| call.path.ends_with("/logon"));
    world.check_secrets(call.farm.unwrap_or_default(), token, password);
    sent["server"].as_str().unwrap_or_default().to_owned()
}

/// The oracle learns what the sender of a POST knows of it.
fn learn(world: &World, server: &str, maker: &str, passage: &Passage<(Reply, Shape)>) {
    let mut oracle = world.oracle.lock();
    match passage {
        Passage::Answered((reply, Shape::Whole)) if reply.status == 201 && reply.body.len() > 2 => {
            oracle.certain(maker);
            oracle.created(maker, server);
        }
        Passage::Answered((Reply { status, .. }, _)) | Passage::Refused(status)
            if (400..500).contains(status) && *status != 408 =>
        {
            oracle.certain(maker);
        }
        Passage::NotConnected(_) => oracle.certain(maker),
        Passage::Answered(_) | Passage::Refused(_) | Passage::Broken => {}
    }
}

/// A call that has left, until its sender hears of it or does not wait any more.
struct Sent {
    line: Arc<Line>,
    call: Call,
}

impl Sent {
    fn new(world: &World, line: &Arc<Line>, call: &Call) -> Self {
        let farm = call.farm.unwrap_or_default();
        // From a process that is dead nothing leaves, but it is counted as that which did is.
        let wrong = line.order.lock().leaves(farm, call, world);
        if let Some(wrong) = wrong.filter(|_| line.is_open()) {
            world.oracle.lock().accuse(&format!("{wrong}: {}", call.line()));
        }
        Self { line: Arc::clone(line), call: call.clone() }
    }

    fn answered(&self, passage: &Passage<(Reply, Shape)>) {
        let (status, body) = match passage {
            Passage::Answered((reply, _)) => (reply.status, &*reply.body),
            Passage::Refused(status) => (*status, &[][..]),
            Passage::Broken | Passage::NotConnected(_) => return,
        };
        self.line.order.lock().answered(self.call.farm.unwrap_or_default(), &self.call, status, body);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.line.order.lock().ends(self.call.farm.unwrap_or_default(), &self.call);
    }
}

/// Path and query with only the names of what may be secret.
fn shown(parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.starts_with("password") { "password" } else { pair })
        .collect();
    if pairs.is_empty() {
        return parts.uri.path().to_owned();
    }
    format!("{}?{}", parts.uri.path(), pairs.join("&"))
}

/// Whoever refuses it repeats what was asked for, with the passwords that are in it. Who is sent elsewhere is sent to
/// where no farm is.
fn refusal(status: u16, echo: &str) -> Reply {
    let headers = [
        ("content-type".to_owned(), "application/json".to_owned()),
        ("location".to_owned(), "http://169.254.169.254/latest".to_owned()),
    ];
    let body = json!({"title": format!("refused on the way: {echo}")});
    Reply { status, headers: headers.into(), body: body.to_string().into_bytes() }
}

fn without_last_row(mut reply: Reply) -> Reply {
    if let Ok(Value::Array(mut rows)) = serde_json::from_slice(&reply.body) {
        rows.pop();
        reply.body = Value::Array(rows).to_string().into_bytes();
    }
    reply
}

fn response(reply: &Reply, shape: Shape) -> reqwest::Response {
    let mut builder = http::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    if shape == Shape::Packed {
        builder = builder.header("content-encoding", "gzip");
    }
    let body = match shape {
        Shape::Whole => reqwest::Body::from(reply.body.clone()),
        Shape::Cut => broken_off(Bytes::copy_from_slice(&reply.body[..reply.body.len() / 2])),
        // Nobody looks into it.
        Shape::Packed => reqwest::Body::from(&b"\x1f\x8b\x08\0"[..]),
        Shape::Deep => reqwest::Body::from("[".repeat(100_000)),
        Shape::Endless => {
            let blank = Bytes::from(vec![b' '; 1 << 20]);
            let frames = stream::repeat(blank).map(|blank| Ok::<_, io::Error>(Frame::data(blank)));
            reqwest::Body::wrap(StreamBody::new(frames))
        }
    };
    builder.body(body).unwrap().into()
}

fn broken_off(half: Bytes) -> reqwest::Body {
    let end = io::Error::from(io::ErrorKind::ConnectionReset);
    let frames = [Ok(Frame::data(half)), Err(end)];
    reqwest::Body::wrap(StreamBody::new(stream::iter(frames)))
}

/// What the library says where a connection ends before the answer.
async fn interrupted() -> reqwest::Error {
    let response: reqwest::Response = http::Response::new(broken_off(Bytes::new())).into();
    response.bytes().await.unwrap_err()
}

/// What the library says where there is no connection: it looks no further than to the name.
async fn not_connected(barrier: Barrier) -> reqwest::Error {
    static NOWHERE: OnceLock<reqwest::Client> = OnceLock::new();
    let client = NOWHERE.get_or_init(|| {
        let builder = reqwest::Client::builder().dns_resolver(Nobody).no_proxy();
        builder.tls_backend_preconfigured(no_trust()).build().unwrap()
    });
    client.get(format!("https://{barrier:?}.test")).send().await.unwrap_err()
}

fn no_trust() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Resolves nothing, for the reason that the name stands for.
struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, name: Name) -> Resolving {
        let reasons = [
            (Barrier::Refused, io::Error::from(io::ErrorKind::ConnectionRefused)),
            (Barrier::Expired, tls(CertificateError::Expired)),
            (Barrier::WrongName, tls(CertificateError::NotValidForName)),
            (Barrier::OtherAuthority, tls(CertificateError::UnknownIssuer)),
        ];
        let is_named = |barrier: &Barrier| name.as_str().eq_ignore_ascii_case(&format!("{barrier:?}.test"));
        let reason = reasons.into_iter().find(|(barrier, _)| is_named(barrier)).map(|(_, reason)| reason);
        let error = reason.unwrap_or_else(|| io::ErrorKind::NotFound.into());
        std::future::ready(Err(error.into())).boxed()
    }
}

fn tls(error: CertificateError) -> io::Error {
    io::Error::other(rustls::Error::InvalidCertificate(error))
}

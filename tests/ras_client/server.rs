//! A TLS server that does what its script says, byte for byte, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{Certificate, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What happens after a request was read whole.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// These bytes, then the end of the connection.
    Say(Vec<u8>),
    /// These bytes, and then nothing, with the connection open.
    SayAndHang(Vec<u8>),
    /// This head, and then zeros for as long as they are read.
    Flood(Vec<u8>),
    /// The connection ends in an orderly way.
    Close,
    /// The connection is reset.
    Reset,
}

/// What the server saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// As sent, body included.
    pub(crate) text: String,
    /// The name in SNI.
    pub(crate) sni: Option<String>,
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) leaf_sha256: String,
    pub(crate) key_sha256: String,
    names: Vec<String>,
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    shown: Arc<Mutex<TlsAcceptor>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    /// A server whose certificate is for these names, by an authority of its own.
    pub(crate) async fn start(names: &[&str], script: Script) -> Self {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_pem = ca_params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca_params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names.clone()).unwrap().signed_by(&key, &issuer).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            ca_pem,
            leaf_sha256: hex_sha256(leaf.der()),
            key_sha256: hex_sha256(&key.subject_public_key_info()),
            names,
            issuer,
            shown: Arc::new(Mutex::new(acceptor(&leaf, &key))),
            key,
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
        let shown = Arc::clone(&server.shown);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let acceptor = shown.lock().unwrap().clone();
                tokio::spawn(serve(acceptor, stream, script.clone(), Arc::clone(&seen)));
            }
        });
        server
    }

    /// From the next connection on another certificate is shown, of the same authority and for the same key, which
    /// is valid until the end of this year. What the server was asked before is forgotten.
    pub(crate) fn renew(&mut self, last_year: i32) {
        let mut leaf = CertificateParams::new(self.names.clone()).unwrap();
        leaf.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let leaf = leaf.signed_by(&self.key, &self.issuer).unwrap();
        self.leaf_sha256 = hex_sha256(leaf.der());
        *self.shown.lock().unwrap() = acceptor(&leaf, &self.key);
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

fn acceptor(leaf: &Certificate, key: &KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<Seen>>>) {
    let Ok(mut tls) = acceptor.accept(stream).await else {
        return;
    };
    let sni = tls.get_ref().1.server_name().map(ToOwned::to_owned);
    // A second request on the same connection would be seen too.
    while let Some(text) = read_request(&mut tls).await {
        seen.lock().unwrap().push(Seen { text, sni: sni.clone() });
        match &script {
            Script::Say(bytes) => {
                tls.write_all(bytes).await.unwrap();
                tls.flush().await.unwrap();
                if !String::from_utf8_lossy(bytes).contains("keep-alive") {
                    drop(tls.shutdown().await);
                    return;
                }
            }
            Script::SayAndHang(bytes) => {
                tls.write_all(bytes).await.unwrap();
                tls.flush().await.unwrap();
                std::future::pending::<()>().await;
            }
            Script::Flood(head) => {
                tls.write_all(head).await.unwrap();
                while tls.write_all(&[b' '; 1 << 13]).await.is_ok() {}
                return;
            }
            Script::Close => return,
            Script::Reset => {
                tls.get_ref().0.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else {
            continue;
        };
        let length = header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some(whole);
        }
    }
}

/// The value of a header in the head of a request.
pub(crate) fn header(text: &str, name: &str) -> Option<String> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn hex_sha256(bytes: &[u8]) -> String {
    let digits = digest(&SHA256, bytes);
    digits.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

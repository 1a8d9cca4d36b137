//! Stands between one operator and the real API server, and does what that server never does on demand: loses answers,
//! refuses, hangs, cuts and holds back watches. Tokens and rights stay real; the test itself talks to the real server.

mod relay;
mod rule;
mod target;
mod watching;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Duration, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::rule::{Fault, Rule};
use self::watching::Flow;
use super::cluster::Cluster;

/// A running proxy, on loopback; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    shared: Arc<Shared>,
    url: String,
    _stop: DropGuard,
}

/// One request that came to the proxy.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub(crate) verb: &'static str,
    /// Plural, with the subresource: `rasbrokers/status`.
    pub(crate) route: String,
    /// Empty where the request names no object.
    pub(crate) name: String,
    /// What was played on it.
    pub(crate) fault: Option<Fault>,
    /// What the operator was answered; `None` while it waits, or where it never was.
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    upstream: reqwest::Client,
    state: Mutex<State>,
    flow: watch::Sender<Flow>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

impl FaultProxy {
    /// Listens, and forwards to the API server of `cluster`.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let authority = fs::read(cluster.authority()).expect("the API server's authority");
        let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
        let upstream = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
        let shared = Arc::new(Shared {
            server: cluster.server().to_owned(),
            upstream: upstream.build().expect("an HTTP client"),
            state: Mutex::default(),
            flow: watch::Sender::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        tokio::spawn(relay::listen(listener, Arc::clone(&shared), stop.clone()));
        Self { shared, url, _stop: stop.drop_guard() }
    }

    /// Writes a copy of `kubeconfig` that leads through this proxy.
    pub(crate) fn lead_through(&self, kubeconfig: &Path, into: &Path) {
        let text = fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let mut content: Value = serde_json::from_str(&text).expect("JSON, as kubeconfigs of tests are");
        content["clusters"][0]["cluster"] = serde_json::json!({"server": self.url});
        fs::write(into, content.to_string()).expect("the kubeconfig is written");
    }

    /// Plays a rule from now on; of several that fit, the one that was added first.
    pub(crate) fn play(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// The rules that were not played, or not often enough.
    pub(crate) fn unplayed(&self) -> Vec<Rule> {
        self.shared.lock().rules.clone()
    }

    /// The API server is as good as gone: no request gets through, and no watch goes on.
    pub(crate) fn cut_off(&self) {
        self.play(Rule::new(Fault::Unsent).always());
        self.cut_watches();
    }

    /// Ends every watch without a word.
    pub(crate) fn cut_watches(&self) {
        self.shared.flow.send_modify(|flow| flow.cuts += 1);
    }

    /// Tells every watch that its version is too old, so that everything is listed anew.
    pub(crate) fn expire_watches(&self) {
        self.shared.flow.send_modify(|flow| flow.expiries += 1);
    }

    /// Holds back what watches of this resource tell; their connections stay open.
    pub(crate) fn hold_watch(&self, resource: &str) {
        self.shared.flow.send_modify(|flow| flow.held.extend([resource.to_owned()]));
    }

    /// Delivers what was held back, and holds nothing back any more.
    pub(crate) fn release_watches(&self) {
        self.shared.flow.send_modify(|flow| flow.held.clear());
    }

    /// Tells each event twice.
    pub(crate) fn repeat_events(&self, repeated: bool) {
        self.shared.flow.send_modify(|flow| flow.repeated = repeated);
    }

    /// From now on everything goes through, what was held back first.
    pub(crate) fn heal(&self) {
        self.shared.lock().rules.clear();
        self.repeat_events(false);
        self.release_watches();
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// The requests of this kind so far, such as `patch`, `rasbrokers/status`.
    pub(crate) fn requests(&self, verb: &str, route: &str) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|request| request.verb == verb && request.route == route).collect()
    }

    /// How many requests came in the last `length`.
    pub(crate) fn busy(&self, length: Duration) -> usize {
        self.shared.lock().seen.iter().filter(|request| request.at.elapsed() < length).count()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

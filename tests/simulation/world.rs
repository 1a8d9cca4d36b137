//! The world of one run: an API server, farms, the network between them and the operator, and an oracle that sees all.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use ras_operator::simulator::{
    Account, Backup, Effect, FarmConfig, FarmHandle, Fault, Reply, Rights, SecondaryEndpoint, SiteConfig,
    When,
};
use ras_operator::simulator::{BrokerConfig, ClockConfig, InferredCalls, RateLimit, Switch, Switches};
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Revision, Snapshot};
use crate::canary::Canaries;
use crate::clock;
use crate::lag::Lag;
use crate::network::{Call, Network};
use crate::objects::{name, uid};
use crate::oracle::Oracle;

/// Where the farms and their brokers are; the operator is elsewhere.
pub const NAMESPACE: &str = "farms";
/// Two operators that see nothing of each other, as those of two clusters: the namespace of each, and its account.
/// Persons have names of their own.
pub const CLUSTERS: [(&str, &str); 2] = [(NAMESPACE, "svc-operator"), ("elsewhere", "svc-other")];

/// Where the broker with this name is: those of the second cluster begin with a c.
pub fn home(name: &str) -> &'static str {
    CLUSTERS[usize::from(name.starts_with('c'))].0
}

/// Whether an operator has this account.
pub fn is_operators(account: &str) -> bool {
    CLUSTERS.iter().any(|(_, theirs)| *theirs == account)
}

pub const PASSWORD: &str = "correct horse battery";

/// A password of this farm's account, which no other farm's has.
pub fn password_of(place: usize, number: u32) -> String {
    format!("{PASSWORD} of farm-{place}, {number}")
}

/// What every password of a run begins with, wherever and however it may turn up.
static CANARIES: LazyLock<Canaries> = LazyLock::new(|| {
    let mut canaries = Canaries::default();
    canaries.add("a password", PASSWORD);
    canaries
});

/// How a run's farms and their objects are.
#[derive(Clone, Debug)]
pub struct Setting {
    pub farms: usize,
    /// What the farms make of what no reference says.
    pub readings: Readings,
    /// The most requests that a farm takes in ten seconds.
    pub quota: Option<u32>,
    /// How many clusters manage the farms, each with an operator of its own.
    pub clusters: usize,
    /// How many sites each farm has.
    pub sites: i64,
    pub period: Duration,
    pub timeout: Duration,
    pub mode: &'static str,
    /// Rows that a person made before.
    pub old: usize,
    /// The most deletions in a window that go by themselves.
    pub threshold: u64,
    /// Whether processes need the Lease.
    pub elects: bool,
    /// How many processes there are at a time.
    pub replicas: usize,
    /// Whether the processes have kube's controllers, so that the run does not replay.
    pub runs_kubes_controllers: bool,
}

/// Other readings of the reference than the usual ones.
pub type Readings = [Option<Switch>; 7];

impl Setting {
    /// One farm and one process, and nobody who was there before.
    pub const PLAIN: Self = Self {
        farms: 1,
        clusters: 1,
        sites: 1,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        readings: [None; 7],
        quota: None,
        mode: "Auto",
        old: 0,
        threshold: 2,
        elects: false,
        replicas: 1,
        runs_kubes_controllers: false,
    };
    /// The same with a row that a person made, whose unapplied work is to be left alone.
    pub const SHARED: Self = Self { mode: "Guarded", old: 1, ..Self::PLAIN };
}

/// The world.
pub struct World {
    pub api: ApiServer,
    pub farms: Vec<FarmHandle>,
    pub network: Arc<Network>,
    pub oracle: Mutex<Oracle>,
    /// The API server as it was once.
    backup: Mutex<Option<Snapshot>>,
    lags: Mutex<Vec<Lag>>,
    /// The tokens that each farm has given.
    tokens: Mutex<BTreeSet<(usize, String)>>,
    /// Whose the Lease is, and since when it stands as it is.
    lease: Mutex<(String, Duration)>,
    pub setting: Setting,
}

impl World {
    /// A world with its farms, their Secrets and their objects, and no broker object.
    pub fn new(setting: Setting, network: Network) -> Arc<Self> {
        let api = ApiServer::new(clock::world);
        let farms = (0..setting.farms).map(|place| farm(&setting, place)).collect();
        let oracle = Mutex::new(Oracle::new(setting.farms, setting.period, setting.timeout));
        let lags = Mutex::new((0..setting.farms).map(|_| Lag::default()).collect());
        let world = Self {
            api,
            farms,
            network: Arc::new(network),
            oracle,
            backup: Mutex::default(),
            lags,
            tokens: Mutex::default(),
            lease: Mutex::default(),
            setting,
        };
        if world.setting.clusters > 1 {
            world.network.fault("a second cluster", "all farms");
        }
        for reading in world.setting.readings.iter().flatten() {
            world.network.fault("another reading", &format!("the farms have {reading:?}"));
        }
        for (namespace, _) in world.clusters() {
            world.api.create_namespace(namespace);
        }
        (0..world.setting.farms).for_each(|place| world.look(place));
        world.furnish();
        Arc::new(world)
    }

    /// The objects of the farms, and their Secrets, are there.
    pub fn furnish(&self) {
        for cluster in self.clusters() {
            for place in 0..self.setting.farms {
                for object in
                    [secret(*cluster, place, &password_of(place, 0)), self.farm_object(cluster.0, place)]
                {
                    // What is there already stays.
                    drop(self.api.create(object));
                }
            }
        }
    }

    /// The namespace and the account of each cluster.
    pub fn clusters(&self) -> &'static [(&'static str, &'static str)] {
        &CLUSTERS[..self.setting.clusters]
    }

    fn farm_object(&self, namespace: &str, place: usize) -> Value {
        let Setting { period, timeout, mode, threshold, .. } = &self.setting;
        json!({
            "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasFarm",
            "metadata": {"name": format!("farm-{place}"), "namespace": namespace},
            "spec": {
                "endpoint": format!("https://farm-{place}.test"),
                "fallbackEndpoints": [format!("https://farm-{place}-b.test")],
                "credentialsSecretRef": {"name": format!("farm-{place}")},
                "tls": {"pinnedSha256": ["ab".repeat(32)]},
                "resyncPeriod": format!("{}s", period.as_secs()),
                "requestTimeout": format!("{}s", timeout.as_secs()),
                "installTimeout": format!("{}s", timeout.as_secs()),
                "rateLimit": {"requests": 100, "window": "10s"},
                "apply": {"mode": mode},
                "deletionProtection": {"threshold": threshold, "window": "1m"},
            },
        })
    }

    /// A person writes a farm's Secret, or takes it away.
    pub fn set_secret(&self, cluster: (&str, &str), place: usize, password: Option<&str>) {
        let name = format!("farm-{place}");
        let there = self.api.get("Secret", cluster.0, &name).is_some();
        let answer = match password {
            None => self.api.delete("Secret", cluster.0, &name),
            Some(password) if there => self.api.replace(secret(cluster, place, password)),
            Some(password) => self.api.create(secret(cluster, place, password)),
        };
        self.person("secret", answer);
    }

    /// The farm and endpoint behind a host.
    pub fn place_of(host: &str) -> (usize, usize) {
        let label = host.split('.').next().unwrap_or_default();
        let mut parts = label.split('-').skip(1);
        let place = parts.next().and_then(|place| place.parse().ok()).unwrap_or_default();
        (place, usize::from(parts.next().is_some()))
    }

    /// The oracle looks at a farm.
    pub fn look(&self, place: usize) {
        self.look_after(place, None);
    }

    /// Somebody takes a backup of the API server.
    pub fn back_up(&self) {
        *self.backup.lock() = Some(self.api.snapshot());
    }

    /// The API server is as it was when its last backup was taken, if there is one. Where its versions are as then, so is
    /// whoever ran in that cluster.
    pub fn restore(&self, revision: Revision) {
        let Some(backup) = self.backup.lock().clone() else { return };
        let before = self.brokers();
        self.api.restore(&backup, revision);
        let after = self.brokers();
        let is_lost = |key: &&str| !after.iter().any(|object| uid(object) == *key);
        let lost: Vec<&str> = before.iter().map(uid).filter(is_lost).collect();
        self.oracle.lock().restored(&lost, &after, revision == Revision::AsThen);
    }

    /// A farm is as it was when a backup was taken.
    pub fn restore_farm(&self, place: usize, backup: &Backup) {
        self.farms[place].restore(backup);
        let rows = self.farms[place].brokers();
        self.lags.lock()[place] = Lag::of(&rows);
        self.oracle.lock().farm_restored(place, rows);
    }

    fn look_after(&self, place: usize, due: Option<Duration>) {
        let rows = self.farms[place].brokers();
        self.lags.lock()[place].look(&rows, due);
        self.oracle.lock().look(place, rows);
    }

    /// What a farm's answer to a call looks like where its lists lag.
    pub fn delayed(&self, place: usize, call: &Call, reply: Reply) -> Reply {
        if call.method != "GET" || call.path != "/api/Broker" || reply.status != 200 {
            return reply;
        }
        self.lags.lock()[place].delay(reply, self.network.weather().lag)
    }

    /// A farm gets to see no password and no token but its own.
    pub fn check_secrets(&self, place: usize, token: Option<&str>, password: Option<&str>) {
        let own = format!("{PASSWORD} of farm-{place},");
        if password.is_some_and(|password| password.starts_with(PASSWORD) && !password.starts_with(&own)) {
            self.oracle.lock().accuse(&format!("farm {place} got to see the password of another one"));
        }
        if token.is_some_and(|token| !self.tokens.lock().contains(&(place, token.to_owned()))) {
            self.oracle.lock().accuse(&format!("farm {place} got to see a token that it did not give"));
        }
    }

    /// The password or token that is in a text, with what stands around it.
    pub fn secret_in(&self, text: &str) -> Option<String> {
        let token = || {
            let tokens = self.tokens.lock();
            let found = tokens.iter().find(|(_, token)| text.contains(token))?;
            Some(format!("a token of farm {}", found.0))
        };
        CANARIES.find(text).or_else(token)
    }

    /// A farm opens a session.
    pub fn gave_token(&self, place: usize, reply: &Reply) {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(token) = body["authToken"].as_str() {
            self.tokens.lock().insert((place, token.to_owned()));
        }
    }

    /// A call is about to reach a farm.
    pub fn before_call(&self, place: usize, call: &Call, post: Option<(&str, &str)>) {
        let mut oracle = self.oracle.lock();
        if let Some((server, maker)) = post {
            oracle.posted(place, server, maker);
        }
        if let ("PUT" | "DELETE", Some(id)) = (call.method.as_str(), call.row()) {
            oracle.written(place, &call.method, id);
        }
    }

    /// A farm does this with a call: it may say of a change that it is done, and leave the row as it was.
    pub fn played(&self, place: usize, call: &Call, fault: &Fault) {
        let is_left =
            fault.when == When::BeforeCommit && matches!(&fault.effect, Effect::Answer { status: 204, .. });
        if let Some(id) = call.row().filter(|_| is_left && call.method == "PUT") {
            self.oracle.lock().edited(place, id);
        }
    }

    /// A call that left at `left` has reached a farm.
    pub fn after_call(&self, place: usize, left: Duration) {
        // Of a quarantine this is what is left at a call's last moment to leave.
        self.look_after(place, Some(left + self.setting.timeout + Duration::from_secs(10)));
    }

    /// A write of the operator has reached the API server.
    pub fn after_write(&self, call: &Call, status: u16, body: &[u8]) {
        if !call.is_write() {
            return;
        }
        self.network.say(&format!("  {status} {}", told(call, body)));
        if status >= 300 {
            return;
        }
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        if call.path.contains("/rasbrokers/") {
            self.oracle.lock().saw(&object, true);
        }
        if call.path.contains("/leases") {
            let holder = object["spec"]["holderIdentity"].as_str().unwrap_or_default();
            *self.lease.lock() = (holder.to_owned(), clock::elapsed());
        }
    }

    /// Whether the Lease is this process's, and was renewed so short a time ago.
    pub fn leads(&self, identity: &str, within: Duration) -> bool {
        let (holder, renewed) = &*self.lease.lock();
        holder == identity && clock::elapsed().saturating_sub(*renewed) < within
    }

    /// Whether the API server forgot what it had been told.
    pub fn was_restored(&self) -> bool {
        self.oracle.lock().was_restored
    }

    /// A person does something to a broker object.
    pub fn person(&self, what: &str, answer: Result<Value, crate::api_server::Refusal>) {
        match answer {
            Ok(object) => {
                self.network.say(&format!("person: {what} {}", name(&object)));
                if object["kind"] == "RasBroker" {
                    self.oracle.lock().saw(&object, false);
                    if self.api.get("RasBroker", home(name(&object)), name(&object)).is_none() {
                        self.oracle.lock().lost(uid(&object));
                    }
                }
            }
            Err(refusal) => self.network.say(&format!("person: {what}: refused, {}", refusal.message)),
        }
    }

    /// All broker objects.
    pub fn brokers(&self) -> Vec<Value> {
        self.api.list("RasBroker")
    }
}

/// The Secret of a farm.
fn secret((namespace, account): (&str, &str), place: usize, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("farm-{place}"), "namespace": namespace},
        "stringData": {"username": account, "password": password},
    })
}

/// What a write made, in a line that is the same in each run.
fn told(call: &Call, body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match object["kind"].as_str() {
        Some("RasBroker") if call.path.contains("/status") => crate::objects::summary(&object),
        Some("RasBroker") => format!("{} {}", name(&object), object["metadata"]["annotations"]),
        Some("Event") => format!("{} {}", object["reason"], object["note"]),
        Some("Status") => object["message"].to_string(),
        _ => String::new(),
    }
}

fn farm(setting: &Setting, place: usize) -> FarmHandle {
    let account = |name: &str, password: &str| Account {
        username: name.to_owned(),
        password: password.to_owned(),
        rights: Rights::Root,
    };
    let primary = BrokerConfig::new(&format!("primary.farm-{place}.test"));
    let second = BrokerConfig::new(&format!("second.farm-{place}.test"));
    let old = (0..setting.old).map(|number| BrokerConfig::new(&format!("old-{number}.corp.test")));
    let brokers = [primary, second].into_iter().chain(old).collect();
    let mut switches = Switches { inferred_calls: InferredCalls::Present, ..Switches::default() };
    setting.readings.iter().flatten().for_each(|reading| switches.set(*reading));
    let config = FarmConfig {
        name: format!("Farm {place}"),
        accounts: [account("administrator", "unused")]
            .into_iter()
            .chain(CLUSTERS.map(|(_, name)| account(name, &password_of(place, 0))))
            .collect(),
        sites: [SiteConfig { id: 1, name: "Site".to_owned(), brokers }]
            .into_iter()
            .chain((2..=setting.sites).map(|id| SiteConfig {
                id,
                name: format!("Site {id}"),
                brokers: vec![
                    BrokerConfig::new(&format!("primary.site-{id}.farm-{place}.test")),
                    BrokerConfig::new(&format!("second.site-{id}.farm-{place}.test")),
                ],
            }))
            .collect(),
        secondary_endpoints: vec![SecondaryEndpoint { server: format!("second.farm-{place}.test"), port: 0 }],
        rate_limit: setting.quota.map(|requests| RateLimit { requests, window: 10 }),
        clock: ClockConfig { start: Some(clock::world()), frozen: false },
        install_seconds: 1,
        switches,
        ..FarmConfig::default()
    };
    FarmHandle::in_process(&config, place)
}

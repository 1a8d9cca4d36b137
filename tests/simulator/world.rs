//! One simulated farm and a plain HTTP client that is logged on to it.

use std::sync::Once;

use jiff::Timestamp;
use ras_operator::simulator::{
    Account, BrokerConfig, ClockConfig, FarmConfig, FarmHandle, Rights, SecondaryEndpoint, Simulator,
    SimulatorConfig, SiteConfig, Switch,
};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

/// The media type that every request must carry.
pub const MEDIA_TYPE: &str = "application/json; api-version=1.0";

/// The primary of the seeded farm.
pub const PRIMARY: &str = "cb1.example.test";

/// A secondary of the seeded farm.
pub const SECONDARY: &str = "cb2.example.test";

static PROVIDER: Once = Once::new();

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    async fn read(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("the body can be read"),
        }
    }

    /// The body as JSON; `null` where there is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A simulator of one farm, with a session.
#[derive(Debug)]
pub struct World {
    pub simulator: Simulator,
    pub client: Client,
    pub token: String,
    pub base: String,
}

impl World {
    /// The seeded farm: two brokers in site 1, its clock standing.
    pub async fn new() -> Self {
        Self::of(seed()).await
    }

    /// The seeded farm under one reading.
    pub async fn with(switch: Switch) -> Self {
        let world = Self::new().await;
        world.farm().set_switch(switch);
        world
    }

    pub async fn of(config: FarmConfig) -> Self {
        let config = SimulatorConfig::one(config);
        let simulator = Simulator::start(config).await.expect("it starts");
        let base = simulator.farm(0).endpoint();
        let mut world = Self { client: trusting(simulator.ca_pem()), simulator, token: String::new(), base };
        let body = world.logon().await;
        let token = body["authToken"].as_str();
        token.expect("a token").clone_into(&mut world.token);
        world.farm().clear_journal();
        world
    }

    /// The same farm seen at another endpoint, with a session of its own.
    pub async fn at(mut self, base: String) -> Self {
        self.base = base;
        let body = self.logon().await;
        body["authToken"].as_str().expect("a token").clone_into(&mut self.token);
        self
    }

    pub fn farm(&self) -> &FarmHandle {
        self.simulator.farm(0)
    }

    pub async fn logon(&self) -> Value {
        let answer = self.logon_as("administrator", "simulator").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    pub async fn logon_as(&self, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        self.send(Method::POST, "/api/Session/logon", Some(&body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn create(&self, server: &str) -> Answer {
        let body = json!({ "server": server });
        self.post("/api/Broker?noInstall=true", &body).await
    }

    /// Creates a broker and gives its id.
    pub async fn created(&self, server: &str) -> i64 {
        let answer = self.create(server).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        self.farm().broker_named(server).expect("the row").id
    }

    pub async fn apply(&self) -> Answer {
        self.send(Method::POST, "/api/Settings/apply", None).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let sent = self.try_send(method, path, body).await;
        Answer::read(sent.expect("an answer")).await
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<Response> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).header("content-type", MEDIA_TYPE);
        if !self.token.is_empty() {
            request = request.header("auth_token", &self.token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.send().await
    }

    /// A request with nothing but what the caller gives it.
    pub async fn bare(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("an answer")).await
    }
}

/// A client that trusts this authority and no other.
pub fn trusting(pem: &str) -> Client {
    PROVIDER.call_once(|| {
        let provider = rustls::crypto::ring::default_provider();
        provider.install_default().expect("the first provider");
    });
    let authority = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    let builder = Client::builder().no_proxy().tls_certs_only([authority]);
    builder.build().expect("a client")
}

/// The time at which the seeded farm's clock stands.
pub fn start() -> Timestamp {
    "2025-05-23T11:35:10.588Z".parse().expect("a time")
}

pub fn seed() -> FarmConfig {
    let viewer = Account { username: "viewer".to_owned(), password: "look".to_owned(), rights: Rights::View };
    let limited = Account {
        username: "limited".to_owned(),
        password: "almost".to_owned(),
        rights: Rights::WithoutApply,
    };
    FarmConfig {
        accounts: vec![Account::default(), viewer, limited],
        sites: vec![SiteConfig {
            id: 1,
            name: "Head office".to_owned(),
            brokers: vec![BrokerConfig::new(PRIMARY), BrokerConfig::new(SECONDARY)],
        }],
        secondary_endpoints: vec![SecondaryEndpoint { server: SECONDARY.to_owned(), port: 0 }],
        clock: ClockConfig { start: Some(start()), frozen: true },
        ..FarmConfig::default()
    }
}

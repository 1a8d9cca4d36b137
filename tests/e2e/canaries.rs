//! A farm whose secrets are easy to recognise, and the search for them in everything that an operator puts out.

use ras_operator::simulator::{Account, FarmConfig, FarmHandle};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::farm_world::LOGON;
use crate::support::canary::{Canaries, secret_part};
use crate::support::control_plane::ControlPlane;
use crate::support::{kubectl, objects};
use crate::world::{FARM, World, merge};

/// Characters that each encoding treats in its own way.
pub(crate) const FARM_PASSWORD: &str = "Kanari/9+%41 \"voegel\\pfeifen&laut=ü";
/// The one to install agents with.
pub(crate) const AGENT_PASSWORD: &str = "Zeisig 7/ä?+%2F\"schlaegt&im=Busch\\";
/// The one to remove agents with.
pub(crate) const REMOVAL_PASSWORD: &str = "Stieglitz'8;%2B~ruft#im`Ahorn/ö+\\\"";
/// The one of the account under which the licence is registered; each promotion sends it.
pub(crate) const LICENCE_PASSWORD: &str = "Gimpel=3 %2F'trillert&im/Wald+ö\"\\;";
/// One that is shorter than what is looked for of the others.
pub(crate) const SHORT_PASSWORD: &str = "Pf9!x";

/// A farm with these secrets, told to an operator in the usual ways.
#[derive(Debug)]
pub(crate) struct Aviary {
    canaries: Canaries,
    authority_key: String,
}

impl Aviary {
    /// Secrets of its own for this scenario.
    pub(crate) fn new() -> Self {
        let authority_key = KeyPair::generate().expect("a key").serialize_pem();
        let mut canaries = Canaries::default();
        canaries.add("the farm's password", FARM_PASSWORD);
        canaries.add("the password to install agents", AGENT_PASSWORD);
        canaries.add("the password to remove agents", REMOVAL_PASSWORD);
        canaries.add("the licence account's password", LICENCE_PASSWORD);
        canaries.add("the short password", SHORT_PASSWORD);
        canaries.add("the authority's key", secret_part(&authority_key));
        Self { canaries, authority_key }
    }

    /// The farm as it comes, with an account whose password is one of these.
    pub(crate) fn farm() -> FarmConfig {
        let account =
            Account { username: "svc-ras".into(), password: FARM_PASSWORD.into(), ..Account::default() };
        FarmConfig { accounts: vec![account], ..FarmConfig::default() }
    }

    /// The Secrets, and the farm's object with `spec` laid over its own. The authority's certificate lies in a Secret
    /// beside its key, as issuers leave it.
    pub(crate) async fn create_farm(&self, world: &World, spec: Value) {
        for (name, username, password) in [
            (objects::credentials_name(FARM), "svc-ras", FARM_PASSWORD),
            ("install".to_owned(), "CORP\\setup", AGENT_PASSWORD),
            ("uninstall".to_owned(), "CORP\\remover", REMOVAL_PASSWORD),
            ("short".to_owned(), "CORP\\short", SHORT_PASSWORD),
        ] {
            world.apply(objects::secret(&name, username, password)).await;
        }
        let authority = json!({"ca.crt": world.simulator.ca_pem(), "tls.key": self.authority_key});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "authority"}});
        world.apply(objects::with(secret, "stringData", authority)).await;
        let mut farm = objects::farm(FARM, &world.farm().endpoint(), world.simulator.ca_pem());
        farm["spec"]["tls"] = json!({"caRef": {"kind": "Secret", "name": "authority", "key": "ca.crt"}});
        farm["spec"]["requestTimeout"] = "2s".into();
        farm["spec"]["installTimeout"] = "2s".into();
        farm["spec"]["resyncPeriod"] = "1s".into();
        farm["spec"]["rateLimit"] = json!({"requests": 1000, "window": "1s"});
        merge(&mut farm["spec"], spec);
        world.apply(farm).await;
    }

    /// Fields of a broker that send both passwords for agents on their way.
    pub(crate) fn agents() -> Value {
        json!({"install": agent("install"), "uninstall": agent("uninstall")})
    }

    /// The same with the short one.
    pub(crate) fn agents_of_a_short_password() -> Value {
        json!({"install": agent("short"), "uninstall": agent("short")})
    }

    /// The text, unless one of the passwords or the key is in it.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        if self.canaries.find(&text).is_some() { "withheld: a secret is in it".to_owned() } else { text }
    }

    /// No secret is in these logs and metrics, nor in any object of the namespace that is not a Secret.
    ///
    /// # Panics
    /// Where one is, with what stands around it.
    pub(crate) async fn nothing_is_put_out(&mut self, world: &World, texts: &[String]) {
        self.learn_tokens(world.farm());
        self.nothing_is_in(texts);
        self.nothing_is_in(&[objects_of(world.plane, &world.namespace).await]);
    }

    /// Also looks for the token of each session that this farm has given out.
    pub(crate) fn learn_tokens(&mut self, farm: &FarmHandle) {
        let logons = farm.counters().requests(LOGON.0, LOGON.1);
        assert!(logons > 0, "nobody has logged on");
        for session in 1..=i64::try_from(logons).expect("a number") {
            self.canaries.add("a session's token", &token(&farm.guid(), session));
        }
    }

    /// # Panics
    /// Where a secret is in one of these texts, or a panic.
    pub(crate) fn nothing_is_in(&self, texts: &[String]) {
        for text in texts {
            if let Some(found) = self.canaries.find(text) {
                panic!("a secret was put out: {found}");
            }
            assert!(!text.contains("because of a panic"), "an operator panicked");
        }
    }
}

/// Every object of the namespace in which an operator may write something.
pub(crate) async fn objects_of(plane: &ControlPlane, namespace: &str) -> String {
    let kinds = "events,events.events.k8s.io,rasfarms,rasbrokers,rasbrokerpromotions,leases,configmaps";
    kubectl(plane, &["get", kinds, "-n", namespace, "-o", "json"]).await
}

fn agent(secret: &str) -> Value {
    json!({"agent": true, "credentialsSecretRef": {"name": secret}})
}

/// The simulator's tokens are a function of farm and session.
fn token(guid: &str, session: i64) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, format!("{guid}/{session}").as_bytes());
    let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

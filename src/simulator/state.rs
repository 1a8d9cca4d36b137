//! A farm's whole state, and its making from a configuration. The operations are in `rows` and `sessions`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::clock::FarmClock;
use super::config::{Account, BrokerConfig, FarmConfig, MyAccount, RateLimit};
use super::fault::Fault;
use super::journal::Journal;
use super::rows::Author;
use super::sessions::Sessions;
use super::site_settings::AutoPromotion;
use super::switches::Switches;

/// A row of the broker table, as a person at the console sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The id; never given twice, but where a backup is restored.
    pub id: i64,
    /// The server as it was given.
    pub server: String,
    /// The site.
    pub site_id: i64,
    /// 0 is the site's primary.
    pub priority: i64,
    /// In use.
    pub enabled: bool,
    /// In standby.
    pub standby: bool,
    /// Free text.
    pub description: String,
    /// The address.
    pub ip: String,
    /// Further addresses, as stored.
    #[serde(rename = "alternativeIPs")]
    pub alternative_ips: String,
    /// Goes with the next Apply.
    pub marked_for_deletion: bool,
    /// The bare name of the account that made it.
    pub admin_create: String,
    /// The bare name of the account that changed it last.
    pub admin_last_mod: String,
    /// When it was made, by the farm's clock.
    pub time_create: Timestamp,
    /// When it was changed last, by the farm's clock.
    pub time_last_mod: Timestamp,
    /// What the agent goes by: `None` before the row's first Apply.
    pub applied: Option<Applied>,
}

/// The part of a row that its agent has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// In use.
    pub enabled: bool,
    /// In standby.
    pub standby: bool,
}

impl Row {
    /// Whether this is the primary of its site.
    pub fn is_primary(&self) -> bool {
        self.priority == 0
    }
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Exactly one site of a farm is the licensing site.
    pub licensing_site: bool,
    /// The bare name of the account that made it.
    pub admin_create: String,
    /// When it was made.
    pub time_create: Timestamp,
    /// How its brokers are promoted automatically.
    pub auto_promotion: AutoPromotion,
}

/// The last Apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastApply {
    /// The account or person.
    pub by: String,
    /// When it was asked for.
    pub time: Timestamp,
}

/// What is known of agents besides what the rows say. Servers are in lower case.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// Servers without an agent.
    pub(super) missing: BTreeSet<String>,
    /// Servers whose agent reports this state whatever the row says.
    pub(super) forced: BTreeMap<String, i64>,
    /// How long it takes to install or remove one.
    pub(super) install_time: Duration,
}

/// The fixed window that requests are counted in.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) limit: Option<RateLimit>,
    pub(super) opened: Option<Timestamp>,
    pub(super) requests: u32,
}

/// Everything that a farm is.
#[derive(Debug)]
pub(super) struct FarmState {
    pub(super) name: String,
    pub(super) guid: String,
    pub(super) domain: String,
    pub(super) version: String,
    pub(super) accounts: Vec<Account>,
    pub(super) my_account: Option<MyAccount>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) local_offset_minutes: i32,
    pub(super) sites: Vec<Site>,
    pub(super) rows: Vec<Row>,
    pub(super) last_id: i64,
    /// Changes wait for an Apply.
    pub(super) pending: bool,
    /// Who asked for the last Apply, and when.
    pub(super) last_apply: Option<LastApply>,
    /// A deferred Apply does its work at this time.
    pub(super) apply_due: Option<Timestamp>,
    /// A deferred promotion of this broker takes effect at this time.
    pub(super) promotion_due: Option<(Timestamp, i64, Author)>,
    pub(super) settings_id: i64,
    /// Counts changes and Applies; the journal relates requests by it.
    pub(super) commits: u64,
    pub(super) agents: Agents,
    /// Row ids that somebody has locked, with the person.
    pub(super) locks: BTreeMap<i64, String>,
    pub(super) sessions: Sessions,
    pub(super) window: Window,
    pub(super) clock: FarmClock,
    pub(super) switches: Switches,
    pub(super) faults: Vec<Fault>,
    pub(super) journal: Journal,
    /// `false`: connections are reset as soon as they are made.
    pub(super) reachable: bool,
    /// The same of single endpoints, as where one server is down.
    pub(super) dead_endpoints: BTreeSet<usize>,
    pub(super) connections: u64,
}

impl FarmState {
    /// The farm as the configuration describes it; `place` is its place in the list, from 0.
    pub(super) fn new(config: &FarmConfig, place: usize) -> Self {
        let clock = FarmClock::new(config.clock.start, config.clock.frozen);
        let guid = if config.guid.is_empty() {
            format!("5a0c9b1e-7d42-4f6a-9c3e-{place:012x}")
        } else {
            config.guid.clone()
        };
        let mut state = Self {
            name: config.name.clone(),
            sessions: Sessions::new(&guid, config),
            guid,
            domain: config.domain.clone(),
            version: config.version.clone(),
            accounts: config.accounts.clone(),
            my_account: config.my_account.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
            local_offset_minutes: config.local_offset_minutes,
            sites: Vec::new(),
            rows: Vec::new(),
            last_id: 0,
            pending: false,
            last_apply: None,
            apply_due: None,
            promotion_due: None,
            settings_id: 1,
            commits: 0,
            agents: seed_agents(config),
            locks: BTreeMap::new(),
            window: Window { limit: config.rate_limit, opened: None, requests: 0 },
            clock,
            switches: config.switches,
            faults: Vec::new(),
            journal: Journal::default(),
            reachable: true,
            dead_endpoints: BTreeSet::new(),
            connections: 0,
        };
        state.seed_sites(config);
        state
    }

    /// The farm's time; a deferred Apply that is due is done on the way.
    pub(super) fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        if self.apply_due.is_some_and(|due| due <= now) {
            self.apply_due = None;
            self.apply_now();
        }
        if let Some((_, id, author)) = self.promotion_due.take_if(|(due, _, _)| *due <= now) {
            // A row that has gone meanwhile is promoted by nobody.
            drop(self.promote_now(id, &author));
        }
        now
    }

    /// The first account's name: what seeded rows are made by.
    fn seed_admin(&self) -> String {
        let first = self.accounts.first();
        first.map_or_else(|| "administrator".to_owned(), |a| a.username.clone())
    }

    fn seed_sites(&mut self, config: &FarmConfig) {
        let now = self.clock.now();
        for (index, site) in config.sites.iter().enumerate() {
            let next = self.sites.iter().map(|site| site.id).max().unwrap_or(0) + 1;
            let id = if site.id == 0 { next } else { site.id };
            self.sites.push(Site {
                id,
                name: site.name.clone(),
                licensing_site: index == 0,
                admin_create: self.seed_admin(),
                time_create: now,
                auto_promotion: AutoPromotion::default(),
            });
            if site.brokers.is_empty() {
                let server = format!("cb-site{id}.{}", self.domain);
                self.seed_broker(id, &BrokerConfig::new(&server), now);
            }
            for broker in &site.brokers {
                self.seed_broker(id, broker, now);
            }
        }
    }

    fn seed_broker(&mut self, site_id: i64, broker: &BrokerConfig, now: Timestamp) {
        let admin = if broker.admin.is_empty() { self.seed_admin() } else { broker.admin.clone() };
        let mut row = self.new_row(&broker.server, site_id, &admin, now);
        row.enabled = !broker.disabled;
        row.standby = broker.standby && !row.is_primary();
        row.description.clone_from(&broker.description);
        row.alternative_ips.clone_from(&broker.alternative_ips);
        if !broker.ip.is_empty() {
            row.ip.clone_from(&broker.ip);
        }
        row.applied = Some(Applied { enabled: row.enabled, standby: row.standby });
        self.rows.push(row);
    }
}

fn seed_agents(config: &FarmConfig) -> Agents {
    let servers = config.servers_without_agent.iter();
    Agents {
        missing: servers.map(|server| server.to_ascii_lowercase()).collect(),
        forced: BTreeMap::new(),
        install_time: Duration::from_secs(config.install_seconds.into()),
    }
}

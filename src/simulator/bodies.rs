//! The JSON of the answers, in the vendor's names, under the farm's switches.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use super::sessions::{LoggedOn, OpenSession};
use super::state::{FarmState, Row, Site};
use super::switches::{
    AdminSpelling, AgentFields, AgentId, ApplySettingsEnabled, EmptyText, Integers, LogonAnswer, TimeForm,
};

/// `RASServerType` of a broker.
pub(super) const SERVER_TYPE_BROKER: i64 = 7;

/// `AgentState` by name, for those that a broker's agent takes by itself.
mod agent_state {
    pub(super) const OK: i64 = 0;
    pub(super) const NOT_APPLIED: i64 = 24;
    pub(super) const MARKED_FOR_DELETION: i64 = 26;
    pub(super) const STAND_BY: i64 = 27;
    pub(super) const DISABLED_FROM_SETTINGS: i64 = -2;
    pub(super) const NOT_VERIFIED: i64 = -4;
}

impl FarmState {
    /// A broker as the API shows it.
    pub(super) fn broker_body(&self, row: &Row) -> Value {
        let Row {
            id,
            server,
            site_id,
            priority,
            enabled,
            standby,
            description,
            ip,
            alternative_ips,
            marked_for_deletion,
            admin_create,
            admin_last_mod,
            time_create,
            time_last_mod,
            applied: _,
        } = row;
        let body = json!({
            "id": self.integer(*id),
            "adminCreate": self.spelled(admin_create),
            "adminLastMod": self.spelled(admin_last_mod),
            "timeCreate": self.time(*time_create),
            "timeLastMod": self.time(*time_last_mod),
            "server": server,
            "enabled": enabled,
            "description": description,
            "siteId": self.integer(*site_id),
            "priority": self.integer(*priority),
            "ip": ip,
            "alternativeIPs": alternative_ips,
            "standby": standby,
            "markedForDeletion": marked_for_deletion,
        });
        self.with_empty_texts(body)
    }

    fn with_empty_texts(&self, mut body: Value) -> Value {
        let Some(fields) = body.as_object_mut() else {
            return body;
        };
        match self.switches.empty_text {
            EmptyText::EmptyString => {}
            EmptyText::Null => {
                let empty = fields.values_mut().filter(|value| **value == json!(""));
                empty.for_each(|value| *value = Value::Null);
            }
            EmptyText::Absent => fields.retain(|_, value| *value != json!("")),
        }
        body
    }

    /// A site as the API shows it.
    pub(super) fn site_body(&self, site: &Site) -> Value {
        let Site { id, name, licensing_site, admin_create, time_create, auto_promotion: _ } = site;
        json!({
            "id": self.integer(*id),
            "adminCreate": self.spelled(admin_create),
            "adminLastMod": self.spelled(admin_create),
            "timeCreate": self.time(*time_create),
            "timeLastMod": self.time(*time_create),
            "name": name,
            "licensingSite": licensing_site,
            "enableHttpHostAttackProtection": false,
        })
    }

    /// The agent of a broker as the API shows it.
    pub(super) fn agent_body(&self, row: &Row) -> Value {
        let id = match self.switches.agent_id {
            AgentId::RowId => row.id.to_string(),
            AgentId::Opaque => format!("agent-{:04x}", row.id + 0x1000),
        };
        let (server, version) = match self.switches.agent_fields {
            AgentFields::Server => ("server", "agentVer"),
            AgentFields::Name => ("name", "agentVersion"),
        };
        json!({
            "id": id,
            "siteId": self.integer(row.site_id),
            "agentState": self.integer(self.agent_state(row)),
            "serverType": self.integer(SERVER_TYPE_BROKER),
            server: row.server,
            version: self.version,
        })
    }

    /// The number that a broker's agent reports as its state.
    pub(super) fn agent_state(&self, row: &Row) -> i64 {
        let server = row.server.to_ascii_lowercase();
        if let Some(forced) = self.agents.forced.get(&server) {
            return *forced;
        }
        if row.marked_for_deletion {
            return agent_state::MARKED_FOR_DELETION;
        }
        let Some(applied) = row.applied else {
            return agent_state::NOT_APPLIED;
        };
        if !applied.enabled {
            agent_state::DISABLED_FROM_SETTINGS
        } else if self.agents.missing.contains(&server) {
            agent_state::NOT_VERIFIED
        } else if applied.standby {
            agent_state::STAND_BY
        } else {
            agent_state::OK
        }
    }

    /// The answer to a logon at an endpoint that is connected to `server`.
    pub(super) fn logon_body(&self, logged_on: &LoggedOn, server: &str) -> Value {
        let LoggedOn { token, session } = logged_on;
        if self.switches.logon_answer == LogonAnswer::TokenOnly {
            return json!({ "authToken": token });
        }
        let mut body = self.full_logon_body(session, server);
        body.insert("authToken".to_owned(), json!(token));
        match self.switches.apply_settings_enabled {
            ApplySettingsEnabled::Present => {}
            ApplySettingsEnabled::Absent => drop(body.remove("applySettingsEnabled")),
            ApplySettingsEnabled::AlwaysTrue => {
                body.insert("applySettingsEnabled".to_owned(), json!(true));
            }
        }
        match self.switches.logon_answer {
            LogonAnswer::Full | LogonAnswer::TokenOnly => {}
            LogonAnswer::WithoutFarmGuid => drop(body.remove("farmGUID")),
            LogonAnswer::WithoutConnection => {
                body.remove("primaryBrokerConnection");
                body.remove("licensingServerConnection");
            }
        }
        Value::Object(body)
    }

    fn full_logon_body(&self, session: &OpenSession, server: &str) -> Map<String, Value> {
        let connected = self.connected_row(server);
        let licensing = self.licensing_site();
        let site = connected.map_or(licensing, |row| row.site_id);
        let primary = connected.is_some_and(Row::is_primary);
        let licensing_server = self.primary_of(licensing).map(|row| row.server.clone());
        let body = json!({
            "localAuth": false,
            "userId": self.integer(session.user_id),
            "applySettingsEnabled": self.pending,
            "connectedSiteId": self.integer(site),
            "settingsId": self.integer(self.settings_id),
            "sessionId": self.integer(session.id),
            "connectedServer": server,
            "licensingServer": licensing_server.unwrap_or_default(),
            "primaryBrokerConnection": primary,
            "licensingServerConnection": primary && site == licensing,
            "domain": self.domain,
            "farmName": self.name,
            "farmGUID": self.guid,
        });
        match body {
            Value::Object(body) => body,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        }
    }

    /// An open session as the API shows it.
    pub(super) fn session_body(&self, session: &OpenSession) -> Value {
        json!({
            "id": self.integer(session.id),
            "userId": self.integer(session.user_id),
            "logonTime": self.time(session.logon_time),
            "ip": "127.0.0.1",
            "state": self.integer(0),
            "computerName": "ras-simulator",
            "language": "en_US",
        })
    }

    /// The row of the broker that an endpoint is connected to.
    pub(super) fn connected_row(&self, server: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.server.eq_ignore_ascii_case(server))
    }

    /// The primary broker of a site.
    pub(super) fn primary_of(&self, site: i64) -> Option<&Row> {
        self.rows.iter().find(|row| row.site_id == site && row.is_primary())
    }

    pub(super) fn integer(&self, number: i64) -> Value {
        match self.switches.integers {
            Integers::Numbers => json!(number),
            Integers::Strings => json!(number.to_string()),
        }
    }

    fn spelled(&self, username: &str) -> String {
        let domain = &self.domain;
        match self.switches.admin_spelling {
            AdminSpelling::BareUser => username.to_owned(),
            AdminSpelling::DomainUser => {
                let netbios = domain.split('.').next().unwrap_or(domain);
                format!("{}\\{username}", netbios.to_ascii_uppercase())
            }
            AdminSpelling::Upn => format!("{username}@{domain}"),
        }
    }

    fn time(&self, time: Timestamp) -> String {
        match self.switches.time_form {
            TimeForm::Utc => time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            TimeForm::LocalWithoutOffset => {
                let offset = Offset::from_seconds(self.local_offset_minutes.saturating_mul(60));
                let local = offset.unwrap_or(Offset::UTC).to_datetime(time);
                local.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string()
            }
        }
    }
}

//! From an answer's bytes to [`super::model`], or to a word on why not. Pure.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::Malformed;
use super::lenient;
use super::model::{Agent, AgentState, Broker, Site};
use super::promotion_settings::PromotionSettings;
use super::request::BROKER_SERVER_TYPE;
use super::secret::{AuthToken, Scrubber};
use super::session::Session;

/// More rows than any farm has: a smaller answer than the body limit could still fill the memory.
const MAX_ROWS: usize = 1 << 16;
/// What is kept of a vendor's text.
const MAX_DETAIL: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBroker {
    #[serde(default, deserialize_with = "lenient::int")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    server: Option<String>,
    #[serde(default, deserialize_with = "lenient::int")]
    site_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    standby: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    marked_for_deletion: Option<bool>,
    #[serde(default, deserialize_with = "lenient::text")]
    description: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    ip: Option<String>,
    #[serde(default, rename = "alternativeIPs", deserialize_with = "lenient::text")]
    alternative_ips: Option<String>,
    #[serde(default, deserialize_with = "lenient::int")]
    priority: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    admin_create: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    admin_last_mod: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    time_create: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    time_last_mod: Option<String>,
}

impl RawBroker {
    fn read(self, item: usize) -> Result<Broker, Malformed> {
        Ok(Broker {
            id: id32(self.id, item, "id")?,
            server: self
                .server
                .filter(|server| !server.trim().is_empty())
                .ok_or(Malformed::Missing { item, field: "server" })?,
            site_id: id32(self.site_id, item, "siteId")?,
            enabled: self.enabled,
            standby: self.standby,
            marked_for_deletion: self.marked_for_deletion,
            description: self.description,
            ip: self.ip,
            alternative_ips: self.alternative_ips,
            priority: self.priority,
            admin_create: self.admin_create,
            admin_last_mod: self.admin_last_mod,
            time_create: self.time_create,
            time_last_mod: self.time_last_mod,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSite {
    #[serde(default, deserialize_with = "lenient::int")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    licensing_site: Option<bool>,
}

/// The site that an answer is about, where it says so.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSiteOf {
    #[serde(default, deserialize_with = "lenient::int")]
    site_id: Option<i64>,
}

/// The reference shows this object in part; the names that tools show for server and version are all taken.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAgent {
    #[serde(default, deserialize_with = "lenient::text")]
    server: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::int")]
    site_id: Option<i64>,
    #[serde(default, deserialize_with = "agent_state")]
    agent_state: Option<i64>,
    #[serde(default, deserialize_with = "server_type")]
    server_type: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    agent_ver: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    agent_version: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    version: Option<String>,
}

fn agent_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    lenient::enumeration(deserializer, AgentState::number_of)
}

fn server_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    lenient::enumeration(deserializer, |name| {
        name.eq_ignore_ascii_case("broker").then_some(BROKER_SERVER_TYPE)
    })
}

impl RawAgent {
    /// A filter that the server does not know is ignored by it, so the type is looked at here too.
    fn is_broker(&self) -> bool {
        self.server_type.is_none_or(|kind| kind == BROKER_SERVER_TYPE)
    }

    fn read(self) -> Agent {
        Agent {
            server: self.server.or(self.name),
            id: self.id,
            site_id: self.site_id,
            state: self.agent_state.map_or(AgentState::UNKNOWN, AgentState),
            version: self.agent_version.or(self.agent_ver).or(self.version),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSession {
    #[serde(default, deserialize_with = "lenient::whole_text")]
    auth_token: Option<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    apply_settings_enabled: Option<bool>,
    #[serde(default, rename = "farmGUID", deserialize_with = "lenient::text")]
    farm_guid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    farm_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    connected_server: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    licensing_server: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    domain: Option<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    primary_broker_connection: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    licensing_server_connection: Option<bool>,
    #[serde(default, deserialize_with = "lenient::int")]
    connected_site_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::int")]
    settings_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::int")]
    session_id: Option<i64>,
}

impl RawSession {
    fn read(self) -> Result<Session, Malformed> {
        let token = self.auth_token.and_then(AuthToken::new);
        Ok(Session {
            token: token.ok_or(Malformed::Missing { item: 1, field: "authToken" })?,
            apply_settings_enabled: self.apply_settings_enabled,
            farm_guid: present(self.farm_guid),
            farm_name: present(self.farm_name),
            connected_server: present(self.connected_server),
            licensing_server: present(self.licensing_server),
            domain: present(self.domain),
            primary_broker_connection: self.primary_broker_connection,
            licensing_server_connection: self.licensing_server_connection,
            connected_site_id: self.connected_site_id,
            settings_id: self.settings_id,
            session_id: self.session_id,
        })
    }
}

/// An empty text says nothing: a farm with an empty GUID is a farm without one.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Ids are 32-bit integers in the reference; one outside is not an id.
fn id32(value: Option<i64>, item: usize, field: &'static str) -> Result<i64, Malformed> {
    value.filter(|id| i32::try_from(*id).is_ok()).ok_or(Malformed::Missing { item, field })
}

/// A JSON object. A derived struct would also take a list, field by field in order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

/// A JSON list of at most [`MAX_ROWS`] items.
struct Rows<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor(PhantomData))
    }
}

struct RowsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for RowsVisitor<T> {
    type Value = Rows<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Rows<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(Object(row)) = items.next_element()? {
            if rows.len() == MAX_ROWS {
                return Err(A::Error::custom("too many items"));
            }
            rows.push(row);
        }
        Ok(Rows(rows))
    }
}

fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    let Object(object) = parse(body)?;
    Ok(object)
}

/// The library's recursion limit stays on, and of its error only the place is kept: its text quotes the body.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body)
        .map_err(|error| Malformed::Shape { line: error.line(), column: error.column() })
}

fn unique(ids: impl Iterator<Item = i64>) -> Result<(), Malformed> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Malformed::DuplicateId(id));
        }
    }
    Ok(())
}

pub(super) fn session(body: &[u8]) -> Result<Session, Malformed> {
    parse_object::<RawSession>(body)?.read()
}

pub(super) fn broker(body: &[u8]) -> Result<Broker, Malformed> {
    parse_object::<RawBroker>(body)?.read(1)
}

/// The broker that was asked for, and no other.
pub(super) fn broker_with_id(body: &[u8], asked: i64) -> Result<Broker, Malformed> {
    let broker = broker(body)?;
    if broker.id == asked { Ok(broker) } else { Err(Malformed::OtherId { asked, answered: broker.id }) }
}

/// All rows or none: a list that is half understood would make brokers look absent.
pub(super) fn brokers(body: &[u8]) -> Result<Vec<Broker>, Malformed> {
    let Rows(raw) = parse::<Rows<RawBroker>>(body)?;
    let brokers =
        raw.into_iter().zip(1..).map(|(row, item)| row.read(item)).collect::<Result<Vec<_>, _>>()?;
    unique(brokers.iter().map(|broker| broker.id))?;
    Ok(brokers)
}

pub(super) fn sites(body: &[u8]) -> Result<Vec<Site>, Malformed> {
    let Rows(raw) = parse::<Rows<RawSite>>(body)?;
    let sites = raw.into_iter().zip(1..).map(|(row, item)| {
        let RawSite { id, name, licensing_site } = row;
        Ok(Site { id: id32(id, item, "id")?, name, licensing_site: licensing_site.unwrap_or(false) })
    });
    let sites = sites.collect::<Result<Vec<_>, Malformed>>()?;
    unique(sites.iter().map(|site| site.id))?;
    Ok(sites)
}

pub(super) fn agents(body: &[u8]) -> Result<Vec<Agent>, Malformed> {
    let Rows(raw) = parse::<Rows<RawAgent>>(body)?;
    Ok(raw.into_iter().filter(RawAgent::is_broker).map(RawAgent::read).collect())
}

/// The settings of the site that was asked for, and of no other.
pub(super) fn promotion_settings(body: &[u8], asked: i64) -> Result<PromotionSettings, Malformed> {
    let RawSiteOf { site_id } = parse_object(body)?;
    match site_id {
        Some(answered) if answered != asked => Err(Malformed::OtherId { asked, answered }),
        Some(_) | None => parse_object(body),
    }
}

/// Both forms of error body in one: `ProblemDetails` (`detail`, `title`), and `{code, msg}` of the samples.
#[derive(Deserialize, Default)]
struct RawProblem {
    #[serde(default, deserialize_with = "lenient::whole_text")]
    detail: Option<String>,
    #[serde(default, deserialize_with = "lenient::whole_text")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::whole_text")]
    msg: Option<String>,
    #[serde(default, deserialize_with = "lenient::int")]
    code: Option<i64>,
}

/// What an error body says, as far as it says anything: its code, and one clean line, without the full stop that the
/// sentence around it will have.
pub(super) fn problem(body: &[u8], scrubber: &Scrubber) -> (Option<i64>, Option<String>) {
    let RawProblem { detail, title, msg, code } = parse_object(body).unwrap_or_default();
    let text = [detail, msg, title].into_iter().flatten().map(|text| scrubber.line(&text, MAX_DETAIL));
    (code, text.map(without_full_stop).find(|text| !text.is_empty()))
}

/// A text that was cut ends in an ellipsis, which stays.
fn without_full_stop(text: String) -> String {
    match text.strip_suffix('.') {
        Some(rest) if !rest.ends_with('.') => rest.to_owned(),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests;

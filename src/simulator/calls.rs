//! Each call of the API: reads the request's parts, asks the state, gives the documented answer.

use serde_json::{Value, json};

use super::bodies::SERVER_TYPE_BROKER;
use super::config::MyAccount;
use super::handlers::Call;
use super::refusal::Refusal;
use super::rows::{Author, Change};
use super::state::FarmState;
use super::switches::{
    ApplyAnswer, CreatedBody, EmptyList, GetMarked, PriorityForm, PromotionSession, PutEmpty, PutNull,
    ServerFilter, UnknownFields,
};
use super::wire::{Reply, Request, malformed};

/// `serverType` for every type.
const SERVER_TYPE_ALL: i64 = -1;

/// The longest user name, server name and site name.
const NAME_LENGTH: usize = 255;

impl FarmState {
    pub(super) fn handle_logon(&mut self, call: &Call<'_>) -> Result<Reply, Refusal> {
        let strict = self.is_strict();
        let body = call.request.object(&["username", "password"], strict)?;
        let username = text(&body, "username")?.ok_or_else(|| malformed("username"))?;
        let password = text(&body, "password")?.ok_or_else(|| malformed("password"))?;
        if username.is_empty() || username.chars().count() > NAME_LENGTH {
            return Err(malformed("username"));
        }
        let endpoint = call.request.endpoint;
        let logged_on = self.logon(&username, &password, endpoint, call.now)?;
        Ok(Reply::json(200, &self.logon_body(&logged_on, call.server)))
    }

    pub(super) fn handle_logoff_other(&mut self, id: i64) -> Result<Reply, Refusal> {
        if self.sessions.end(id) { Ok(Reply::empty(204)) } else { Err(Refusal::NoSuchSession) }
    }

    pub(super) fn handle_sessions(&self) -> Reply {
        let sessions = self.sessions.list();
        let bodies: Vec<Value> = sessions.iter().map(|s| self.session_body(s)).collect();
        Reply::json(200, &Value::Array(bodies))
    }

    pub(super) fn handle_brokers(&self, request: &Request) -> Result<Reply, Refusal> {
        let site = request.query_int("siteid")?;
        let server = request.query("server");
        let rows = self.rows.iter().filter(|row| {
            site.is_none_or(|site| site == row.site_id)
                && server.is_none_or(|server| self.server_matches(server, &row.server))
        });
        self.list(rows.map(|row| self.broker_body(row)).collect())
    }

    fn server_matches(&self, wanted: &str, server: &str) -> bool {
        match self.switches.server_filter {
            ServerFilter::Exact => server.eq_ignore_ascii_case(wanted),
            ServerFilter::Substring => server.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()),
            ServerFilter::Ignored => true,
        }
    }

    fn list(&self, bodies: Vec<Value>) -> Result<Reply, Refusal> {
        if bodies.is_empty() && self.switches.empty_list == EmptyList::Status404 {
            Err(Refusal::NothingMatches)
        } else {
            Ok(Reply::json(200, &Value::Array(bodies)))
        }
    }

    pub(super) fn handle_broker(&self, id: i64) -> Result<Reply, Refusal> {
        let row = self.row(id).ok_or(Refusal::NoSuchBroker)?;
        if row.marked_for_deletion && self.switches.get_marked == GetMarked::NotFound {
            return Err(Refusal::MarkedIsGone);
        }
        Ok(Reply::json(200, &self.broker_body(row)))
    }

    pub(super) fn handle_create(&mut self, request: &Request, author: &Author) -> Result<Reply, Refusal> {
        let body = request.object(&["server", "siteId"], self.is_strict())?;
        let server = name(&body, "server")?.ok_or_else(|| malformed("server"))?;
        let site = int32(&body, "siteId")?.unwrap_or_else(|| self.licensing_site());
        let no_install = request.query_bool("noinstall")?;
        request.query_bool("norestart")?;
        request.query_bool("nofirewallrules")?;
        let id = self.create_broker(&server, site, author)?;
        if !no_install {
            self.agents.missing.remove(&server.to_ascii_lowercase());
        }
        let row = self.row(id).ok_or(Refusal::NoSuchBroker)?;
        Ok(self.created(self.broker_body(row)))
    }

    fn created(&self, mut body: Value) -> Reply {
        match self.switches.created_body {
            CreatedBody::Row => Reply::json(201, &body),
            CreatedBody::WithoutId => {
                if let Some(fields) = body.as_object_mut() {
                    fields.remove("id");
                }
                Reply::json(201, &body)
            }
            CreatedBody::Empty => Reply::empty(201),
        }
    }

    pub(super) fn handle_update(
        &mut self,
        id: i64,
        request: &Request,
        author: &Author,
    ) -> Result<Reply, Refusal> {
        let known = ["enabled", "description", "ip", "alternativeIPs", "standby"];
        let body = request.object(&known, self.is_strict())?;
        let text_or_null = |name: &str| self.changed_text(&body, name);
        let change = Change {
            enabled: boolean(&body, "enabled")?,
            standby: boolean(&body, "standby")?,
            description: text_or_null("description")?,
            ip: text_or_null("ip")?,
            alternative_ips: text_or_null("alternativeIPs")?,
        };
        self.check_lock(id)?;
        self.update_broker(id, &change, author)?;
        Ok(Reply::empty(204))
    }

    /// A text field of a PUT; `None` leaves it as it is.
    fn changed_text(&self, body: &Object, name: &str) -> Result<Option<String>, Refusal> {
        match body.get(name) {
            Some(Value::Null) if self.switches.put_null == PutNull::Clears => Ok(Some(String::new())),
            Some(Value::String(text)) if text.is_empty() => match self.switches.put_empty {
                PutEmpty::Clears => Ok(Some(String::new())),
                PutEmpty::Ignored => Ok(None),
                PutEmpty::Refused => Err(malformed(name)),
            },
            Some(_) | None => text(body, name),
        }
    }

    pub(super) fn handle_delete(
        &mut self,
        id: i64,
        request: &Request,
        author: &Author,
    ) -> Result<Reply, Refusal> {
        let no_uninstall = request.query_bool("nouninstall")?;
        self.check_lock(id)?;
        let server = self.row(id).map(|row| row.server.to_ascii_lowercase());
        self.delete_broker(id, author)?;
        if let Some(server) = server
            && !no_uninstall
        {
            self.agents.missing.insert(server);
        }
        Ok(Reply::empty(204))
    }

    fn check_lock(&self, id: i64) -> Result<(), Refusal> {
        match self.locks.get(&id) {
            Some(person) => Err(Refusal::Locked(person.clone())),
            None => Ok(()),
        }
    }

    /// One step up or down, as the sibling call for logon hours has it, or to a place.
    pub(super) fn handle_move(
        &mut self,
        id: i64,
        request: &Request,
        author: &Author,
    ) -> Result<Reply, Refusal> {
        let wanted = self.wanted_place(request)?;
        self.check_lock(id)?;
        let priority = self.row(id).ok_or(Refusal::NoSuchBroker)?.priority;
        self.set_priority(id, wanted(priority), author)?;
        Ok(Reply::empty(204))
    }

    /// Where the body puts a broker, by its present place.
    fn wanted_place(&self, request: &Request) -> Result<impl Fn(i64) -> i64 + use<>, Refusal> {
        let strict = self.is_strict();
        let (step, place) = match self.switches.priority_form {
            PriorityForm::Relative => {
                let body = request.object(&["direction"], strict)?;
                match int32(&body, "direction")? {
                    Some(0) => (-1, None),
                    Some(1) => (1, None),
                    Some(_) | None => return Err(malformed("direction")),
                }
            }
            PriorityForm::Absolute => {
                let body = request.object(&["priority"], strict)?;
                let place = int32(&body, "priority")?.filter(|place| *place > 0);
                (0, Some(place.ok_or_else(|| malformed("priority"))?))
            }
        };
        Ok(move |present| place.unwrap_or(present + step))
    }

    /// The vendor's promotion command asks for the account under which the licence is registered.
    pub(super) fn handle_promote(
        &mut self,
        id: i64,
        session: i64,
        request: &Request,
        author: &Author,
    ) -> Result<Reply, Refusal> {
        let body = request.object(&["email", "password"], self.is_strict())?;
        let email = text(&body, "email")?.ok_or_else(|| malformed("email"))?;
        let password = text(&body, "password")?.ok_or_else(|| malformed("password"))?;
        let fits =
            |account: &MyAccount| account.email.eq_ignore_ascii_case(&email) && account.password == password;
        if !self.my_account.as_ref().is_none_or(fits) {
            return Err(Refusal::WrongMyAccount);
        }
        self.check_lock(id)?;
        self.promote(id, author)?;
        if self.switches.promotion_session == PromotionSession::Ended {
            self.sessions.end(session);
        }
        Ok(Reply::empty(204))
    }

    pub(super) fn handle_sites(&self, request: &Request) -> Result<Reply, Refusal> {
        let name = request.query("name");
        let sites =
            self.sites.iter().filter(|site| name.is_none_or(|name| site.name.eq_ignore_ascii_case(name)));
        self.list(sites.map(|site| self.site_body(site)).collect())
    }

    pub(super) fn handle_site(&self, id: i64) -> Result<Reply, Refusal> {
        let site = self.sites.iter().find(|site| site.id == id);
        let site = site.ok_or(Refusal::NoSuchSite)?;
        Ok(Reply::json(200, &self.site_body(site)))
    }

    pub(super) fn handle_create_site(
        &mut self,
        request: &Request,
        author: &Author,
    ) -> Result<Reply, Refusal> {
        let body = request.object(&["server", "name"], self.is_strict())?;
        let server = name(&body, "server")?.ok_or_else(|| malformed("server"))?;
        let name = name(&body, "name")?.unwrap_or_else(|| server.clone());
        let id = self.create_site(&name, &server, author)?;
        let site = self.sites.iter().find(|site| site.id == id);
        let site = site.ok_or(Refusal::NoSuchSite)?;
        Ok(self.created(self.site_body(site)))
    }

    pub(super) fn handle_agents(&self, request: &Request) -> Result<Reply, Refusal> {
        let site = request.query_int("siteid")?;
        let server_type = request.query_int("servertype")?.unwrap_or(SERVER_TYPE_ALL);
        let wanted = server_type == SERVER_TYPE_ALL || server_type == SERVER_TYPE_BROKER;
        let rows = self.rows.iter().filter(|row| wanted && site.is_none_or(|site| site == row.site_id));
        self.list(rows.map(|row| self.agent_body(row)).collect())
    }

    pub(super) fn handle_apply(&mut self, author: &Author) -> Reply {
        self.apply(author);
        match self.switches.apply_answer {
            ApplyAnswer::Status204 => Reply::empty(204),
            ApplyAnswer::Status200 => Reply::json(200, &json!("Settings applied")),
        }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.switches.unknown_fields == UnknownFields::Refused
    }
}

pub(super) type Object = serde_json::Map<String, Value>;

fn text(body: &Object, name: &str) -> Result<Option<String>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(malformed(name)),
    }
}

/// A text that is neither empty nor too long.
fn name(body: &Object, name: &str) -> Result<Option<String>, Refusal> {
    let found = text(body, name)?;
    let fits = |text: &String| !text.is_empty() && text.chars().count() <= NAME_LENGTH;
    if found.as_ref().is_none_or(fits) { Ok(found) } else { Err(malformed(name)) }
}

pub(super) fn boolean(body: &Object, name: &str) -> Result<Option<bool>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(malformed(name)),
    }
}

pub(super) fn int32(body: &Object, name: &str) -> Result<Option<i64>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_i64().ok_or_else(|| malformed(name))?;
            i32::try_from(number).map_err(|_| malformed(name))?;
            Ok(Some(number))
        }
    }
}

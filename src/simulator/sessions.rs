//! Administrator sessions: one for each logon, until a logoff or until it has idled too long.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::config::{Account, FarmConfig, Rights};
use super::refusal::Refusal;
use super::sha256::sha256_hex;
use super::state::FarmState;
use super::switches::LogonUserForm;

/// An open session as the control interface shows it: without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenSession {
    /// The number; the `id` of `GET /api/Session` and the `session` of the journal.
    pub id: i64,
    /// The bare name of the account.
    pub username: String,
    /// The account's place in the list, from 1.
    pub user_id: i64,
    /// The farm's endpoint that it was opened at; the token is good there only.
    pub endpoint: usize,
    /// When it was opened.
    pub logon_time: Timestamp,
    /// When it was used last.
    pub last_used: Timestamp,
    /// What its account may do.
    pub rights: Rights,
}

#[derive(Debug)]
struct Session {
    token: String,
    seen: OpenSession,
}

/// The open sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    open: Vec<Session>,
    last_id: i64,
    idle: SignedDuration,
    maximum: Option<u32>,
    guid: String,
}

impl Sessions {
    pub(super) fn new(guid: &str, config: &FarmConfig) -> Self {
        Self {
            open: Vec::new(),
            last_id: 0,
            idle: SignedDuration::from_mins(i64::from(config.session_idle_minutes)),
            maximum: config.max_sessions,
            guid: guid.to_owned(),
        }
    }

    pub(super) fn set_idle(&mut self, idle: SignedDuration) {
        self.idle = idle;
    }

    /// Ends what has idled too long.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let idle = self.idle;
        self.open.retain(|session| now.duration_since(session.seen.last_used) < idle);
    }

    /// The session of a token, marked as used now.
    pub(super) fn touch(&mut self, token: &str, endpoint: usize, now: Timestamp) -> Option<OpenSession> {
        self.expire(now);
        let session = self
            .open
            .iter_mut()
            .find(|session| session.token == token && session.seen.endpoint == endpoint)?;
        session.seen.last_used = now;
        Some(session.seen.clone())
    }

    /// The number of the session that a token belongs to.
    pub(super) fn number(&self, token: &str) -> Option<i64> {
        let session = self.open.iter().find(|session| session.token == token);
        session.map(|session| session.seen.id)
    }

    /// Ends a session and tells whether there was one.
    pub(super) fn end(&mut self, id: i64) -> bool {
        let before = self.open.len();
        self.open.retain(|session| session.seen.id != id);
        self.open.len() < before
    }

    pub(super) fn end_all(&mut self) {
        self.open.clear();
    }

    pub(super) fn list(&self) -> Vec<OpenSession> {
        self.open.iter().map(|session| session.seen.clone()).collect()
    }

    fn is_full(&self) -> bool {
        self.maximum.is_some_and(|maximum| self.open.len() >= maximum as usize)
    }

    fn open(&mut self, account: (i64, &Account), endpoint: usize, now: Timestamp) -> LoggedOn {
        self.last_id += 1;
        let (user_id, account) = account;
        let token = token(&self.guid, self.last_id);
        let seen = OpenSession {
            id: self.last_id,
            username: account.username.clone(),
            user_id,
            endpoint,
            logon_time: now,
            last_used: now,
            rights: account.rights,
        };
        self.open.push(Session { token: token.clone(), seen: seen.clone() });
        LoggedOn { token, session: seen }
    }
}

/// A new session with the token, which is told only once.
#[derive(Debug)]
pub(super) struct LoggedOn {
    pub(super) token: String,
    pub(super) session: OpenSession,
}

impl FarmState {
    /// Opens a session.
    pub(super) fn logon(
        &mut self,
        username: &str,
        password: &str,
        endpoint: usize,
        now: Timestamp,
    ) -> Result<LoggedOn, Refusal> {
        self.sessions.expire(now);
        let bare = bare_name(username);
        if self.switches.logon_user_form == LogonUserForm::BareOnly && bare != username {
            return Err(Refusal::WrongPassword);
        }
        let found = (1..)
            .zip(&self.accounts)
            .find(|(_, account)| account.username.eq_ignore_ascii_case(bare) && account.password == password);
        let account = found.ok_or(Refusal::WrongPassword)?;
        if self.sessions.is_full() {
            return Err(Refusal::TooManySessions);
        }
        Ok(self.sessions.open(account, endpoint, now))
    }
}

/// `user` of `DOMAIN\user` and `user@domain`.
fn bare_name(username: &str) -> &str {
    let after_domain = username.rsplit('\\').next().unwrap_or(username);
    after_domain.split('@').next().unwrap_or(after_domain)
}

/// The same for the same farm and number, and long enough to be found in a log it should not be in.
fn token(guid: &str, number: i64) -> String {
    sha256_hex(format!("{guid}/{number}").as_bytes())
}

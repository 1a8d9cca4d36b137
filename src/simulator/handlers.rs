//! From a request to a reply: the checks that hold for every call, then the call itself.

use jiff::Timestamp;
use serde_json::json;

use super::config::Rights;
use super::refusal::Refusal;
use super::route::Route;
use super::rows::Author;
use super::sessions::OpenSession;
use super::state::{FarmState, Row};
use super::switches::{RateLimitRetryAfter, SecondaryWrites};
use super::wire::{Reply, Request};

/// A request that is being answered.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// The server of the broker that the endpoint is connected to.
    pub(super) server: &'a str,
    pub(super) now: Timestamp,
}

impl FarmState {
    /// Does what the request asks for and gives the answer.
    pub(super) fn answer(&mut self, route: Route, request: &Request, server: &str, now: Timestamp) -> Reply {
        let call = Call { request, server, now };
        match self.admit(&call).and_then(|()| self.call(route, &call)) {
            Ok(reply) => reply,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        let mut reply = Reply::refusal(refusal, &self.switches);
        if let Refusal::RateLimited(left) = refusal
            && self.switches.rate_limit_retry_after == RateLimitRetryAfter::Sent
        {
            reply.set("retry-after", &left.to_string());
        }
        reply
    }

    fn admit(&mut self, call: &Call<'_>) -> Result<(), Refusal> {
        self.window.count(call.now)?;
        if !self.is_allowed_host(call.request.host.as_deref()) {
            return Err(Refusal::HostNotAllowed);
        }
        if call.request.has_media_type() { Ok(()) } else { Err(Refusal::MediaType) }
    }

    fn is_allowed_host(&self, host: Option<&str>) -> bool {
        let name = host.and_then(|host| host.rsplit_once(':').map_or(Some(host), |(h, _)| Some(h)));
        self.allowed_hosts.is_empty()
            || name.is_some_and(|name| {
                let mut allowed = self.allowed_hosts.iter();
                allowed.any(|allowed| allowed.eq_ignore_ascii_case(name))
            })
    }

    fn call(&mut self, route: Route, call: &Call<'_>) -> Result<Reply, Refusal> {
        if route == Route::Logon {
            return self.handle_logon(call);
        }
        if route == Route::Unknown {
            return Err(Refusal::UnknownPath);
        }
        let session = self.authenticated(call)?;
        if route.is_write() {
            self.check_write(route, &session, call.server)?;
        }
        self.call_within(route, &session, call)
    }

    fn authenticated(&mut self, call: &Call<'_>) -> Result<OpenSession, Refusal> {
        let token = call.request.token.as_deref().ok_or(Refusal::NoSession)?;
        let endpoint = call.request.endpoint;
        let session = self.sessions.touch(token, endpoint, call.now);
        session.ok_or(Refusal::NoSession)
    }

    fn check_write(&self, route: Route, session: &OpenSession, server: &str) -> Result<(), Refusal> {
        match session.rights {
            Rights::Root => {}
            Rights::WithoutApply if route != Route::Apply => {}
            Rights::WithoutApply | Rights::View => return Err(Refusal::NotAllowed),
        }
        let on_primary = self.connected_row(server).is_some_and(Row::is_primary);
        let promotes = matches!(route, Route::PromoteBroker(_));
        if on_primary || promotes || self.switches.secondary_writes == SecondaryWrites::Accepted {
            Ok(())
        } else {
            Err(Refusal::NotPrimary)
        }
    }

    fn call_within(
        &mut self,
        route: Route,
        session: &OpenSession,
        call: &Call<'_>,
    ) -> Result<Reply, Refusal> {
        let author = Author { name: session.username.clone(), time: call.now };
        match route {
            Route::Logoff => {
                self.sessions.end(session.id);
                Ok(Reply::json(200, &json!("Logged off")))
            }
            Route::LogoffOther(id) => self.handle_logoff_other(id),
            Route::Sessions => Ok(self.handle_sessions()),
            Route::Brokers => self.handle_brokers(call.request),
            Route::Broker(id) => self.handle_broker(id),
            Route::CreateBroker => self.handle_create(call.request, &author),
            Route::UpdateBroker(id) => self.handle_update(id, call.request, &author),
            Route::DeleteBroker(id) => self.handle_delete(id, call.request, &author),
            Route::MoveBroker(id) => self.handle_move(id, call.request, &author),
            Route::PromoteBroker(id) => self.handle_promote(id, session.id, call.request, &author),
            Route::Sites => self.handle_sites(call.request),
            Route::Site(id) => self.handle_site(id),
            Route::CreateSite => self.handle_create_site(call.request, &author),
            Route::PromotionSettings(site) => self.handle_promotion_settings(site),
            Route::UpdatePromotionSettings(site) => self.handle_update_promotion_settings(site, call.request),
            Route::Agents | Route::BrokerStatus => self.handle_agents(call.request),
            Route::Apply => Ok(self.handle_apply(&author)),
            Route::Version => Ok(Reply::json(200, &json!({ "version": self.version }))),
            Route::OtherMethod => Err(Refusal::OtherMethod),
            Route::Logon | Route::Unknown => Err(Refusal::UnknownPath),
        }
    }
}

//! Which documented call a request is. Paths and query names compare in any case, as the vendor's samples do.

use super::switches::{ApplyPath, InferredCalls, PromotionSettings, Switches};

/// A call of the API; whatever is not one gives 404 or 405.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Logon,
    Logoff,
    LogoffOther(i64),
    Sessions,
    Brokers,
    CreateBroker,
    Broker(i64),
    UpdateBroker(i64),
    DeleteBroker(i64),
    BrokerStatus,
    MoveBroker(i64),
    PromoteBroker(i64),
    Sites,
    CreateSite,
    Site(i64),
    PromotionSettings(i64),
    UpdatePromotionSettings(i64),
    Agents,
    Apply,
    Version,
    /// The path is known, the method is not.
    OtherMethod,
    Unknown,
}

impl Route {
    /// Whether the call changes brokers, sites or the farm's settings.
    pub(super) fn is_write(self) -> bool {
        match self {
            Self::CreateBroker
            | Self::UpdateBroker(_)
            | Self::DeleteBroker(_)
            | Self::MoveBroker(_)
            | Self::PromoteBroker(_)
            | Self::CreateSite
            | Self::UpdatePromotionSettings(_)
            | Self::Apply => true,
            Self::Logon
            | Self::Logoff
            | Self::LogoffOther(_)
            | Self::Sessions
            | Self::Brokers
            | Self::Broker(_)
            | Self::BrokerStatus
            | Self::Sites
            | Self::Site(_)
            | Self::PromotionSettings(_)
            | Self::Agents
            | Self::Version
            | Self::OtherMethod
            | Self::Unknown => false,
        }
    }

    /// Whether the journal may keep the body: logon and promotion bodies hold passwords.
    pub(super) fn has_public_body(self) -> bool {
        matches!(
            self,
            Self::CreateBroker
                | Self::UpdateBroker(_)
                | Self::MoveBroker(_)
                | Self::CreateSite
                | Self::UpdatePromotionSettings(_)
        )
    }
}

/// The call and the route template for the journal.
pub(super) fn find(switches: &Switches, method: &str, path: &str) -> (Route, String) {
    let lower = path.trim_end_matches('/').to_ascii_lowercase();
    let segments: Vec<&str> = lower.split('/').skip(1).collect();
    let found = match segments.as_slice() {
        ["api", "session", rest @ ..] => session(method, rest),
        ["api", "broker", rest @ ..] => broker(switches, method, rest),
        ["api", "site", rest @ ..] => site(method, rest),
        ["api", "brokerpromotion", id] => promotion_settings(switches, method, id),
        ["api", "agent"] => Some((only(method, "GET", Route::Agents), "/api/Agent")),
        ["api", "webservice", "version"] => {
            Some((only(method, "GET", Route::Version), "/api/WebService/version"))
        }
        rest => apply(switches, method, rest),
    };
    let (route, template) = found.unwrap_or((Route::Unknown, "unknown"));
    (route, template.to_owned())
}

fn only(method: &str, wanted: &str, route: Route) -> Route {
    if method == wanted { route } else { Route::OtherMethod }
}

fn session(method: &str, rest: &[&str]) -> Option<(Route, &'static str)> {
    Some(match rest {
        [] => (only(method, "GET", Route::Sessions), "/api/Session"),
        ["logon"] => (only(method, "POST", Route::Logon), "/api/Session/logon"),
        ["logoff"] => (only(method, "POST", Route::Logoff), "/api/Session/logoff"),
        [id, "logoff"] => (only(method, "POST", Route::LogoffOther(int32(id)?)), "/api/Session/{id}/logoff"),
        _ => return None,
    })
}

fn broker(switches: &Switches, method: &str, rest: &[&str]) -> Option<(Route, &'static str)> {
    let inferred = switches.inferred_calls == InferredCalls::Present;
    Some(match rest {
        [] => (brokers(method), "/api/Broker"),
        ["status"] if inferred => (only(method, "GET", Route::BrokerStatus), "/api/Broker/status"),
        [id] => (one_broker(method, int32(id)?), "/api/Broker/{id}"),
        [id, "priority"] if inferred => {
            (only(method, "PUT", Route::MoveBroker(int32(id)?)), "/api/Broker/{id}/priority")
        }
        [id, "promote"] if inferred => {
            (only(method, "POST", Route::PromoteBroker(int32(id)?)), "/api/Broker/{id}/promote")
        }
        _ => return None,
    })
}

fn brokers(method: &str) -> Route {
    match method {
        "GET" => Route::Brokers,
        "POST" => Route::CreateBroker,
        _ => Route::OtherMethod,
    }
}

fn one_broker(method: &str, id: i64) -> Route {
    match method {
        "GET" => Route::Broker(id),
        "PUT" => Route::UpdateBroker(id),
        "DELETE" => Route::DeleteBroker(id),
        _ => Route::OtherMethod,
    }
}

fn site(method: &str, rest: &[&str]) -> Option<(Route, &'static str)> {
    Some(match rest {
        [] if method == "POST" => (Route::CreateSite, "/api/Site"),
        [] => (only(method, "GET", Route::Sites), "/api/Site"),
        [id] => (only(method, "GET", Route::Site(int32(id)?)), "/api/Site/{id}"),
        _ => return None,
    })
}

fn promotion_settings(switches: &Switches, method: &str, id: &str) -> Option<(Route, &'static str)> {
    let site = int32(id)?;
    let route = match (switches.promotion_settings, method) {
        (PromotionSettings::Absent, _) => return None,
        (PromotionSettings::Present | PromotionSettings::OtherNames, "GET") => Route::PromotionSettings(site),
        (PromotionSettings::Present | PromotionSettings::OtherNames, "PUT") => {
            Route::UpdatePromotionSettings(site)
        }
        (PromotionSettings::Present | PromotionSettings::OtherNames, _) => Route::OtherMethod,
    };
    Some((route, "/api/BrokerPromotion/{id}"))
}

fn apply(switches: &Switches, method: &str, rest: &[&str]) -> Option<(Route, &'static str)> {
    match (switches.apply_path, rest) {
        (ApplyPath::Settings, ["api", "settings", "apply"]) => {
            Some((only(method, "POST", Route::Apply), "/api/Settings/apply"))
        }
        (ApplyPath::FarmSettings, ["api", "farmsettings", "apply"]) => {
            Some((only(method, "PUT", Route::Apply), "/api/FarmSettings/apply"))
        }
        (ApplyPath::Settings | ApplyPath::FarmSettings | ApplyPath::Absent, _) => None,
    }
}

fn int32(text: &str) -> Option<i64> {
    text.parse::<i32>().ok().map(i64::from)
}

//! The calls that the vendor's public reference leaves open: path and method are settings, not constants.

use http::Method;

/// The methods that such a call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiMethod {
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `GET`
    Get,
}

impl ApiMethod {
    /// As the HTTP library names it.
    pub fn method(self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Get => Method::GET,
        }
    }
}

/// Path and method of one call; `{id}` in the path stands for the broker's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// Begins with `/api/`.
    pub path: String,
    /// Defaults to what siblings of the call use in the vendor's reference.
    pub method: ApiMethod,
}

impl ApiCall {
    /// A call from its parts.
    pub fn new(path: impl Into<String>, method: ApiMethod) -> Self {
        Self { path: path.into(), method }
    }
}

/// Where the undocumented calls live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPaths {
    /// Commits the farm's pending settings.
    pub apply: ApiCall,
    /// Moves a broker among the secondaries of its site.
    pub priority: ApiCall,
    /// Makes a secondary broker the primary of its site.
    pub promote: ApiCall,
    /// Reads the status of all brokers.
    pub status: ApiCall,
    /// Reads (always by `GET`) and writes how a site's brokers are promoted automatically; `{id}` is the site's.
    pub promotion_settings: ApiCall,
}

impl Default for ApiPaths {
    /// Assumptions: Apply follows the reference's headings, priority the documented
    /// `PUT /api/LogonHours/{id}/order`, promotion the vendor's PowerShell command, status the documented
    /// `GET /api/RDS/Host/status`. The settings of automatic promotion are named as their page is, as the documented
    /// `/api/LBSettings` of a site is; the site's id is in the path and not in a query, which a farm might ignore and
    /// so change another site.
    fn default() -> Self {
        Self {
            apply: ApiCall::new("/api/Settings/apply", ApiMethod::Post),
            priority: ApiCall::new("/api/Broker/{id}/priority", ApiMethod::Put),
            promote: ApiCall::new("/api/Broker/{id}/promote", ApiMethod::Post),
            status: ApiCall::new("/api/Broker/status", ApiMethod::Get),
            promotion_settings: ApiCall::new("/api/BrokerPromotion/{id}", ApiMethod::Put),
        }
    }
}

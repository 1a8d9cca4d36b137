//! What the vendor's published reference leaves open about a farm's REST API, and a user may
//! therefore have to say.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Parts of the farm's REST API that differ between versions or are not published.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// Character that separates the alternative addresses of a broker in what is sent to the farm:
    /// a comma or a semicolon. When reading, both are understood. Unset: a comma.
    #[serde(default, rename = "alternativeIPsSeparator", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<Separator>")]
    pub alternative_ips_separator: Option<Separator>,

    /// The call that applies all pending settings of the farm. Unset: POST /api/Settings/apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<ApiCall>,

    /// The call that moves a broker among the secondaries of its site, which is sent only where a
    /// spec.priority asks for it. Unset: PUT /api/Broker/{id}/priority, one place at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<MoveCall>,

    /// The call that makes a secondary broker the primary. Unset: POST /api/Broker/{id}/promote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<ApiCall>,

    /// The call that reads the status of the brokers, such as GET /api/Broker/status, from which
    /// the state of their agents is taken; a farm that answers it with 404 or 405 is asked for
    /// /api/Agent instead. Unset: the state of the agents is read from /api/Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ApiCall>,

    /// The call that reads and writes a site's settings of automatic promotion; {id} in its path
    /// stands for the site's id. It is read by GET, and method is how it is written. Unset:
    /// /api/BrokerPromotion/{id}, written by PUT.
    #[x_kube(validation = Rule::new("!has(self.method) || self.method != 'GET'").message("the settings are read by GET; method is how they are written: PUT or POST").field_path(".method"))]
    #[x_kube(validation = Rule::new("self.path.contains('{id}')").message("the path must say where the site's id stands: {id}").field_path(".path"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_settings: Option<ApiCall>,
}

/// One call of the farm's REST API.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// Path of the call below the endpoint: /api/ and then letters, slashes and braces, such as
    /// /api/Broker/{id}/promote, where {id} stands for the id of what the call is about.
    #[schemars(schema_with = "schema::api_path")]
    pub path: String,

    /// HTTP method of the call: POST, PUT or GET. Unset: the method that this call has in the
    /// RAS versions known to the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<ApiMethod>")]
    pub method: Option<ApiMethod>,
}

/// The call that moves a broker among the secondaries of its site.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct MoveCall {
    /// Path of the call below the endpoint: /api/ and then letters, slashes and braces, where {id}
    /// stands for the broker's id.
    #[schemars(schema_with = "schema::api_path")]
    pub path: String,

    /// HTTP method of the call: POST, PUT or GET. Unset: PUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<ApiMethod>")]
    pub method: Option<ApiMethod>,

    /// What one call does. Step moves the broker by one place; the body is {"direction": 0}, where
    /// 0 is up. Number puts it at a place, and those after it close up; the body is
    /// {"priority": n}, counted from 1. Unset: Step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<MoveForm>")]
    pub form: Option<MoveForm>,
}

/// What one call that moves a broker does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MoveForm {
    /// Moves it by one place.
    #[default]
    Step,
    /// Puts it at a place.
    Number,
}

/// HTTP method of a call.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum ApiMethod {
    /// POST.
    Post,
    /// PUT.
    Put,
    /// GET.
    Get,
}

/// What separates the alternative addresses of a broker.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A comma, as the REST reference says.
    #[serde(rename = ",")]
    Comma,
    /// A semicolon, as the administrator's guides say.
    #[serde(rename = ";")]
    Semicolon,
}

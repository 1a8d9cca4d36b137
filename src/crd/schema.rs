//! The parts of the schema that several fields share: what the API server refuses, in the words
//! that the user then reads.
//!
//! Every string and list of a spec has a bound, because the API server estimates the cost of a
//! rule from the largest value that the schema lets in.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Longest DNS name, and longest name of a Kubernetes object.
const NAME_LENGTH: u32 = 253;

/// `https://`, the longest DNS name and `:65535`.
const ORIGIN_LENGTH: u32 = 267;

/// Longest text of an IPv6 address.
const IP_LENGTH: u32 = 45;

/// A text that is a host name: labels of letters, digits, hyphens and underscores (which NetBIOS
/// names may hold), of which the last is no number, as `10.0.0.300` is not meant as a name.
const HOST_NAME: &str = "{}.matches('^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?([.][A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$') && !{}.matches('(^|[.])[0-9]+$')";

/// The schema of `T` for a field that may be left out. What is derived for an `Option` of an enum
/// loses the field's description.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An https URL of a host and perhaps a port, 1 to 65535; whether the host is a valid one is
/// judged apart.
const ORIGIN: &str = r"^https://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$";

/// Name of a Kubernetes object.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_LENGTH,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    })
}

/// Key in the data of a Secret or ConfigMap.
pub(super) fn data_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_LENGTH,
        "pattern": "^[-._a-zA-Z0-9]+$",
    })
}

/// A host name or an IP address.
pub(super) fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_LENGTH,
        "x-kubernetes-validations": [rule(
            &format!("isIP(self) || ({})", host_name("self")),
            "must be a host name (fully qualified or NetBIOS) or an IPv4 or IPv6 address, without port, trailing dot or spaces",
        )],
    })
}

/// An IP address.
pub(super) fn ip_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": IP_LENGTH,
        "x-kubernetes-validations": [rule("isIP(self)", "must be an IPv4 or IPv6 address")],
    })
}

/// A list of further addresses of a broker.
pub(super) fn alternative_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_LENGTH,
            "x-kubernetes-validations": [rule(
                &format!("isIP(self) || ({})", host_name("self")),
                "each alternative address must be one IPv4 or IPv6 address or host name, without separators (comma, semicolon, space)",
            )],
        },
        "x-kubernetes-validations": [each_once("alternativeIPs must not name an address twice")],
    })
}

/// An https URL without anything behind the port.
pub(super) fn https_origin(_: &mut SchemaGenerator) -> Schema {
    origin()
}

/// A list of https URLs, each once.
pub(super) fn fallback_origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 4,
        "items": origin(),
        "x-kubernetes-validations": [each_once("fallbackEndpoints must not name an endpoint twice")],
    })
}

/// PEM certificates.
pub(super) fn pem_bundle(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 65_536,
        "x-kubernetes-validations": [rule(
            "self.contains('-----BEGIN CERTIFICATE-----')",
            "caBundle must hold at least one PEM encoded certificate (-----BEGIN CERTIFICATE-----)",
        )],
    })
}

/// SHA-256 digests in hexadecimal.
pub(super) fn sha256_pins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "string",
            "minLength": 64,
            "maxLength": 64,
            "pattern": "^[0-9A-Fa-f]{64}$",
        },
    })
}

/// A duration of whole minutes, 15m to 72h: what RAS takes as the delay of an automatic promotion.
pub(super) fn promotion_delay(_: &mut SchemaGenerator) -> Schema {
    // Silent where the pattern already refuses, so that there is one message, not two.
    let pattern = "^([0-9]{1,2}h)?([0-9]{1,4}m)?$";
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 8,
        "pattern": pattern,
        "x-kubernetes-validations": [rule(
            &format!(
                "!self.matches('{pattern}') || (duration(self) >= duration('15m') && duration(self) <= duration('72h'))"
            ),
            "must be a duration from 15m to 72h, such as 30m or 1h30m",
        )],
    })
}

/// Path of a call below a farm's endpoint.
pub(super) fn api_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": "^/api/[A-Za-z{}/]+$",
    })
}

/// A point in time. Its text is read where it is used: an object whose time only the API server understands must not
/// end the watch of all.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "minLength": 1, "maxLength": 64 })
}

/// Conditions as every Kubernetes tool knows them, one of each type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One thing that is or is not the case.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "What this is about, such as Ready.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 316,
                },
                "status": {
                    "description": "Whether it is the case: True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "description": "The metadata.generation for which this was found.",
                    "type": "integer",
                    "format": "int64",
                },
                "lastTransitionTime": {
                    "description": "When status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
                "reason": {
                    "description": "Why, in one word for machines.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "What is going on and what to do next, in a sentence for people.",
                    "type": "string",
                    "maxLength": super::condition::MESSAGE_LENGTH,
                },
            },
        },
    })
}

fn origin() -> Schema {
    // The host is cut out by hand: for what CEL's `url()` returns the API server knows no bound,
    // and so refuses to estimate a rule on it.
    let in_brackets = "self.substring(9, self.indexOf(']'))";
    let plain = "self.substring(8, self.lastIndexOf(':') > 5 ? self.lastIndexOf(':') : size(self))";
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": ORIGIN_LENGTH,
        "x-kubernetes-validations": [rule(
            &format!(
                "self.matches(r'{ORIGIN}') && (self.startsWith('https://[') ? isIP({in_brackets}) : isIP({plain}) || ({}))",
                host_name(plain),
            ),
            "must be https://host or https://host:port, where the host is a name or an IP address (IPv6 in brackets), without user, path, query or fragment",
        )],
    })
}

fn host_name(of: &str) -> String {
    HOST_NAME.replace("{}", of)
}

/// Compared without regard to case, as neither the farm nor DNS makes a difference there.
fn each_once(message: &str) -> Value {
    rule("self.all(a, self.exists_one(b, b.lowerAscii() == a.lowerAscii()))", message)
}

fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

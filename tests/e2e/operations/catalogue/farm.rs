//! What the fields of a `RasFarm` mean.

use kube::CustomResourceExt;
use ras_operator::crd::RasFarm;
use serde_json::{Value, json};

use super::{AGENT_ACCOUNT, Choice, Meaning, Values};

/// The Secret, and the `ConfigMap`, under whose key `ca.crt` the simulator's authority stands.
pub(in super::super) const AUTHORITY: &str = "authority";

const NO_DURATIONS: [&str; 7] = ["", "1", "0s", "999ms", "5x", "1m1h", "-5s"];

/// Every choice for every field of a farm's spec.
pub(in super::super) fn choices() -> Vec<Choice> {
    Meaning { values, fixed: &[], beside }.choices(RasFarm::crd())
}

fn values(path: &str, schema: &Value) -> Option<Values> {
    let text = |valid: &[&str], refused: &[&str]| -> Values {
        let valid = valid.iter().map(|text| (json!(text), true));
        valid.chain(refused.iter().map(|text| (json!(text), false))).collect()
    };
    Some(match path {
        "endpoint" => text(
            &["https://127.0.0.1:9", "https://[::1]:9"],
            &[
                "",
                "http://127.0.0.1:9",
                "https://127.0.0.1:9/api",
                "https://svc@127.0.0.1:9",
                "https://127.0.0.1:0",
                "https://127.0.0.1:65536",
                "https://10.0.0.300",
            ],
        ),
        "fallbackEndpoints" => fallbacks(schema),
        "credentialsSecretRef.name" => text(&[AGENT_ACCOUNT], &["", "Not_A_Name"]),
        "tls.caBundle" => {
            let longest = usize::try_from(schema["maxLength"].as_u64()?).expect("a length");
            let begun = "-----BEGIN CERTIFICATE-----";
            let most = format!("{begun}{}", "\n".repeat(longest - begun.len()));
            text(&[begun, most.as_str()], &["", "no certificate"])
        }
        "tls.caRef.name" => text(&[AUTHORITY], &["", "Not_A_Name"]),
        "tls.caRef.key" => text(&["ca.crt"], &["", "not a key"]),
        "tls.serverName" => text(&["localhost", "::1", "other.corp.example"], &["", "10.0.0.300", "a:443"]),
        "tls.pinnedSha256" => pins(schema),
        "siteName" => text(&["Site 2", "x".repeat(255).as_str()], &[""]),
        "sites" => sites(schema),
        // Together with few requests a long one lets nothing through.
        "rateLimit.window" => text(&["1s", "1500ms"], &NO_DURATIONS),
        "resyncPeriod" | "requestTimeout" | "installTimeout" | "deletionProtection.window" => {
            text(&["1s", "1500ms", "1h30m", "99999h"], &NO_DURATIONS)
        }
        // Read by GET always; this is how they are written.
        "api.promotionSettings.method" => text(&["POST", "PUT"], &["GET", "", "Nonsense"]),
        "api.promotionSettings.path" => {
            text(&["/api/BrokerPromotion/{id}", "/api/Elsewhere/{id}"], &["", "/api/Nowhere", "/Broker/{id}"])
        }
        path if path.rsplit('.').next() == Some("path") => {
            let known = known_path(path)?;
            text(
                &[known, "/api/Elsewhere"],
                &["", "/", "api/Broker", "/api/Broker?id=1", "/api/../x", "/api/1"],
            )
        }
        _ => return None,
    })
}

/// Every call that a farm may name, as RAS has it.
fn known_path(path: &str) -> Option<&'static str> {
    Some(match path.split('.').nth(1)? {
        "apply" => "/api/Settings/apply",
        "priority" => "/api/Broker/{id}/priority",
        "promote" => "/api/Broker/{id}/promote",
        "status" => "/api/Broker/status",
        "promotionSettings" => "/api/BrokerPromotion/{id}",
        _ => return None,
    })
}

/// A method stands beside a path, and a reference to authorities in the place of the authorities themselves.
fn beside(path: &str) -> Value {
    let reference = json!({"kind": "Secret", "name": AUTHORITY, "key": "ca.crt"});
    match path.split('.').collect::<Vec<_>>()[..] {
        ["tls", "caRef"] => json!({"tls": {"caBundle": null}}),
        ["tls", "caRef", _] => json!({"tls": {"caBundle": null, "caRef": reference}}),
        ["api", call, _] => json!({"api": {call: {"path": known_path(path)}}}),
        _ => json!({}),
    }
}

fn fallbacks(schema: &Value) -> Values {
    let longest = schema["maxItems"].as_u64().expect("a longest list");
    let dead = |count: u64| (1..=count).map(|port| format!("https://127.0.0.1:{port}")).collect::<Vec<_>>();
    vec![
        (json!([]), true),
        (json!(dead(1)), true),
        (json!(dead(longest)), true),
        (json!(dead(longest + 1)), false),
        (json!(["https://127.0.0.1:9", "https://127.0.0.1:9"]), false),
        (json!(["http://127.0.0.1:9"]), false),
        (json!([""]), false),
        (json!("https://127.0.0.1:9"), false),
    ]
}

fn pins(schema: &Value) -> Values {
    let longest = schema["maxItems"].as_u64().expect("a longest list");
    let pins = |count: u64| (0..count).map(|pin| format!("{pin:064x}")).collect::<Vec<_>>();
    vec![
        (json!([]), true),
        (json!(pins(1)), true),
        (json!(pins(longest)), true),
        (json!(pins(longest + 1)), false),
        (json!(["ab"]), false),
        (json!(["z".repeat(64)]), false),
        (json!("0".repeat(64)), false),
    ]
}

fn sites(schema: &Value) -> Values {
    let longest = schema["maxItems"].as_u64().expect("a longest list");
    let sites = |count: u64| (1..=count).map(|id| json!({"id": id})).collect::<Vec<_>>();
    let promotes = |after: &str| json!({"enabled": true, "after": after, "failback": true});
    vec![
        (json!([]), true),
        (json!([{"id": 1, "autoPromotion": promotes("15m")}]), true),
        (json!([{"name": "Site 2", "autoPromotion": promotes("72h")}, {"id": 1}]), true),
        (json!(sites(longest)), true),
        (json!(sites(longest + 1)), false),
        (json!([{}]), false),
        (json!([{"id": 1, "name": "Site 1"}]), false),
        (json!([{"id": 1}, {"id": 1}]), false),
        (json!([{"id": 1, "autoPromotion": promotes("14m")}]), false),
        (json!([{"id": 1, "autoPromotion": promotes("73h")}]), false),
        (json!("1"), false),
    ]
}

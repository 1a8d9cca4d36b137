//! What the fields of a `RasBroker` mean.

use kube::CustomResourceExt;
use ras_operator::crd::RasBroker;
use serde_json::{Value, json};

use super::{AGENT_ACCOUNT, Choice, Meaning, Values};

/// Every choice for every field of a broker's spec.
pub(in super::super) fn choices() -> Vec<Choice> {
    // These name the broker, and every object here has them from its first version on.
    let fixed = &["farmRef", "server", "siteId"];
    Meaning { values, fixed, beside: |_| json!({}) }.choices(RasBroker::crd())
}

fn values(path: &str, schema: &Value) -> Option<Values> {
    Some(match path {
        "farmRef" => vec![(json!({"name": "another"}), false)],
        "server" => vec![(json!("another.corp.example"), false), (json!("192.0.2.200"), false)],
        "siteId" => vec![(json!(99), false)],
        // Beside siteId, which every object here has.
        "siteName" => vec![(json!("Elsewhere"), false)],
        "description" => {
            let longest = usize::try_from(schema["maxLength"].as_u64()?).expect("a length");
            vec![
                (json!(""), true),
                (json!("first floor"), true),
                (json!("Größe: \"weit\" \u{1F680}"), true),
                (json!("x".repeat(longest)), true),
            ]
        }
        "ip" => vec![
            (json!("203.0.113.7"), true),
            (json!("2001:db8::7"), true),
            (json!("203.0.113.700"), false),
            (json!("cb.corp.example"), false),
            (json!(""), false),
        ],
        "alternativeIPs" => addresses(schema),
        path if path.ends_with("credentialsSecretRef.name") => {
            vec![(json!(AGENT_ACCOUNT), true), (json!("Not_A_Name"), false), (json!(""), false)]
        }
        _ => return None,
    })
}

fn addresses(schema: &Value) -> Values {
    let longest = schema["maxItems"].as_u64().expect("a longest list");
    let addresses = |count: u64| (0..count).map(|last| format!("198.51.100.{last}")).collect::<Vec<_>>();
    vec![
        (json!([]), true),
        (json!(["198.51.100.9"]), true),
        (json!(["gateway.corp.example", "2001:db8::9", "198.51.100.8"]), true),
        (json!(addresses(longest)), true),
        (json!(addresses(longest + 1)), false),
        (json!(["198.51.100.9", "198.51.100.9"]), false),
        (json!(["198.51.100.8,198.51.100.9"]), false),
        (json!(["198.51.100.8;198.51.100.9"]), false),
        (json!([""]), false),
        (json!([7]), false),
        (json!("198.51.100.9"), false),
    ]
}

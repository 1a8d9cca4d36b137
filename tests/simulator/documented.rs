//! What the vendor's reference documents, and how RAS behaves by itself.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use ras_operator::simulator::{BrokerConfig, Edit, FarmConfig, NewRow, RateLimit, SiteConfig};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{MEDIA_TYPE, PRIMARY, SECONDARY, World, seed, start};

/// The vendor's example of a broker, as the page shows it.
const EXAMPLE: &str = r#"{
  "id": 1,
  "adminCreate": "text",
  "adminLastMod": "text",
  "timeCreate": "2025-05-23T11:35:10.588Z",
  "timeLastMod": "2025-05-23T11:35:10.588Z",
  "server": "text",
  "enabled": true,
  "description": "text",
  "siteId": 1,
  "priority": 1,
  "ip": "text",
  "alternativeIPs": "text",
  "standby": true,
  "markedForDeletion": true
}"#;

fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let fields = value.as_object().expect("an object").iter();
    fields
        .map(|(name, value)| {
            let kind = match value {
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_i64() => "integer",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Null => "null",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            (name.clone(), kind)
        })
        .collect()
}

#[tokio::test]
async fn brokers_have_the_fields_and_types_of_the_vendors_example() {
    let world = World::new().await;
    let example: Value = serde_json::from_str(EXAMPLE).expect("the example");
    let list = world.get("/api/Broker").await;
    assert_eq!(list.status, 200);
    assert_eq!(list.header("content-type"), Some(MEDIA_TYPE));
    for row in list.json().as_array().expect("an array") {
        assert_eq!(shape(row), shape(&example));
    }
    let one = world.get("/api/Broker/1").await.json();
    assert_eq!(shape(&one), shape(&example));
    let created = world.create("cb9.example.test").await;
    assert_eq!(created.status, 201);
    assert_eq!(shape(&created.json()), shape(&example));
    assert_eq!(created.json()["timeCreate"], example["timeCreate"]);
}

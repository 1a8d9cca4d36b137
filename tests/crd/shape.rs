//! What the generated schema must always be, whatever fields it grows.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use ras_operator::crd;
use serde_json::{Value, json};

#[test]
fn every_field_is_described() {
    let named = |(path, _): &(String, Value)| !path.ends_with("[]");
    for (path, schema) in all_fields().into_iter().filter(named) {
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.len() > 10, "{path} has no description");
        assert!(description.ends_with('.'), "{path}: {description}");
    }
}

#[test]
fn every_optional_field_of_a_spec_says_what_unset_means() {
    for crd in crd::crds() {
        let spec = schema(&crd)["properties"]["spec"].take();
        each_object(&spec, &mut |object| {
            let required = object["required"].as_array().cloned().unwrap_or_default();
            for (name, field) in object["properties"].as_object().into_iter().flatten() {
                let described = field["description"].as_str().unwrap_or_default();
                let says = described.to_lowercase().contains("unset:");
                assert_eq!(says, !required.contains(&json!(name)), "{name}: {described}");
            }
        });
    }
}

/// The API server estimates what a rule costs from the largest value that the schema lets in.
#[test]
fn everything_in_a_spec_is_bounded() {
    for (path, schema) in all_fields() {
        if path.contains(".status") && !path.contains(".spec") {
            continue;
        }
        let bounded = match schema["type"].as_str() {
            Some("string") => schema.get("maxLength").is_some() || schema.get("enum").is_some(),
            Some("array") => schema.get("maxItems").is_some(),
            Some("integer") => schema.get("minimum").is_some() && schema.get("maximum").is_some(),
            Some("object") => schema.get("properties").is_some(),
            Some("boolean") => true,
            other => panic!("{path} has the type {other:?}"),
        };
        assert!(bounded, "{path} is not bounded");
    }
}

/// A status that the API server refuses could never be written, whatever the farm says.
#[test]
fn nothing_that_a_farm_says_can_be_refused() {
    let ours = ["origin", "role", "phase", "capabilities", "conditions"];
    for (path, schema) in all_fields() {
        let (_, below) = path.split_once('.').unwrap();
        let field = below.strip_prefix("status.");
        let theirs = field.filter(|field| !ours.iter().any(|our| field.starts_with(our)));
        let limits = ["maxLength", "maxItems", "pattern", "enum", "maximum", "minimum", "minLength"];
        let limited = limits.iter().any(|limit| schema.get(limit).is_some());
        assert!(theirs.is_none() || !limited, "{path} is limited");
    }
}

#[test]
fn the_api_server_has_nothing_to_warn_about() {
    for (path, schema) in all_fields() {
        assert!(schema.get("nullable").is_none(), "{path} is nullable");
        let format = schema.get("format").and_then(Value::as_str);
        let known = [None, Some("int32"), Some("int64"), Some("date-time")];
        assert!(known.contains(&format), "{path} has the format {format:?}");
        for unwanted in ["anyOf", "oneOf", "allOf", "$ref"] {
            assert!(schema.get(unwanted).is_none(), "{path} has {unwanted}");
        }
    }
}

#[test]
fn a_status_that_nobody_has_written_says_so() {
    for crd in crd::crds() {
        let status = &schema(&crd)["properties"]["status"];
        assert_eq!(status["default"], json!({ "observedGeneration": -1 }));
    }
}

#[test]
fn the_names_are_those_that_users_type() {
    let names: Vec<Value> = crd::crds()
        .iter()
        .map(|crd| {
            let names = &crd.spec.names;
            json!([
                crd.spec.group,
                crd.spec.scope,
                names.kind,
                names.plural,
                names.short_names,
                names.categories
            ])
        })
        .collect();
    assert_eq!(
        names,
        [
            json!(["ras-operator.dev", "Namespaced", "RasFarm", "rasfarms", ["rasf"], ["ras"]]),
            json!(["ras-operator.dev", "Namespaced", "RasBroker", "rasbrokers", ["rasb"], ["ras"]]),
            json!([
                "ras-operator.dev",
                "Namespaced",
                "RasBrokerPromotion",
                "rasbrokerpromotions",
                ["rasp"],
                ["ras"]
            ]),
        ]
    );
}

#[test]
fn brokers_are_listed_with_the_columns_of_the_design() {
    let crds = crd::crds();
    let columns = crds[1].spec.versions[0].additional_printer_columns.iter().flatten();
    let (wide, narrow): (Vec<_>, Vec<_>) = columns.partition(|column| column.priority == Some(1));
    let names = |columns: Vec<&_>| -> Vec<String> {
        let name = |column: &&CustomResourceColumnDefinition| column.name.to_uppercase();
        columns.iter().map(name).collect()
    };
    assert_eq!(
        names(narrow),
        ["READY", "ID", "SERVER", "ROLE", "PRIORITY", "ENABLED", "FARM", "REASON", "AGE"]
    );
    assert_eq!(names(wide), ["SYNCED", "STANDBY", "MARKED", "AGENT", "MESSAGE"]);
}

#[test]
fn brokers_are_selected_by_farm_and_server() {
    let crds = crd::crds();
    let fields = crds[1].spec.versions[0].selectable_fields.iter().flatten();
    let paths: Vec<&str> = fields.map(|field| field.json_path.as_str()).collect();
    assert_eq!(paths, [".spec.farmRef.name", ".spec.server"]);
}

/// Every field of every kind below `spec` and `status`, and every item of a list (`[]`), with its
/// path.
fn all_fields() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for crd in crd::crds() {
        collect(&crd.spec.names.kind, &schema(&crd), &mut found);
    }
    found
}

fn collect(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push((path.clone(), field.clone()));
        collect(&path, field, found);
        if let Some(items) = field.get("items") {
            let path = format!("{path}[]");
            found.push((path.clone(), items.clone()));
            collect(&path, items, found);
        }
    }
}

fn each_object(schema: &Value, visit: &mut impl FnMut(&Value)) {
    if schema["properties"].is_object() {
        visit(schema);
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    for inner in properties.map(|(_, field)| field).chain(schema.get("items")) {
        each_object(inner, visit);
    }
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    let validation = crd.spec.versions[0].schema.as_ref().unwrap();
    serde_json::to_value(validation.open_api_v3_schema.as_ref()).unwrap()
}

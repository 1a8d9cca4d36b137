//! The CEL rules of the schema, judged in process: the quick half of `tests/e2e/schema.rs`.

#[path = "../e2e/schema/table.rs"]
mod table;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use ras_operator::crd;
use serde_json::Value;
use table::{By, Case};

#[test]
fn each_rule_accepts_and_refuses_as_the_table_says() {
    let crds = crd::crds();
    let wrong: Vec<String> = table::cases()
        .iter()
        .filter(|case| case.refusal.as_ref().is_none_or(|refusal| refusal.by == By::Rule))
        .filter_map(|case| disagreement(&crds, case))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How the answer differs from the expected one, if it does.
fn disagreement(crds: &[CustomResourceDefinition], case: &Case) -> Option<String> {
    let schema = schema(crds, &case.kind);
    let answer = Validator::new().validate(&schema, &case.object, case.stored.as_ref());
    let said: Vec<String> = answer
        .err()
        .into_iter()
        .flat_map(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            texts
        })
        .collect();
    let agrees = match &case.refusal {
        Some(refusal) => said.iter().any(|text| text.contains(&refusal.words)),
        None => said.is_empty(),
    };
    (!agrees).then(|| format!("{}: expected {:?}, got {said:?}", case.name, case.refusal))
}

fn schema(crds: &[CustomResourceDefinition], kind: &str) -> Value {
    let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).expect("a known kind");
    let validation = crd.spec.versions[0].schema.as_ref();
    serde_json::to_value(validation.and_then(|v| v.open_api_v3_schema.as_ref())).expect("a schema")
}

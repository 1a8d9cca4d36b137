//! The kinds that are served: a few of Kubernetes itself, and one for each definition of the project.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::ResourceExt;
use kube::core::cel::{CompiledSchema, ValidationErrors, compile_schema, validate_compiled};
use ras_operator::crd;
use serde_json::{Value, json};

use super::refusal::Fault;
use super::schema::Schema;

/// The name of definitions in a path.
pub(super) const DEFINITIONS: &str = "customresourcedefinitions";
/// The name of namespaces in a path.
pub(super) const NAMESPACES: &str = "namespaces";
/// Faults with which an object is too wrong for rules to be asked about it.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueTooLong",
    "FieldValueTooMany",
];

/// What is known of a kind.
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) name: String,
    pub(super) is_namespaced: bool,
    /// Whether a PUT without a version overwrites what is there.
    pub(super) is_overwritable: bool,
    /// Whether a PUT of what is not there creates it.
    pub(super) is_created_by_put: bool,
    /// Present for kinds that a definition made; its name.
    pub(super) definition: Option<String>,
    /// Fields by which its objects can be listed, as JSON pointers.
    pub(super) selectable: Vec<String>,
    pub(super) schema: Schema,
    rules: Option<CompiledSchema>,
}

impl Kind {
    /// `plural.group`, or the plural alone in the core group.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether the generation counts changes, and status is a resource of its own.
    pub(super) fn has_status(&self) -> bool {
        self.definition.is_some()
    }

    /// What is wrong with an object, on its own and as the successor of `old`.
    pub(super) fn faults(&self, new: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.schema.check("", new, &mut faults);
        let Some(rules) = &self.rules else { return faults };
        if faults.iter().any(|fault| BLOCKING.contains(&fault.reason)) {
            faults.push(Fault::invalid("<nil>", "null: some validation rules were not checked"));
        } else if old.is_none_or(|old| old["spec"] != new["spec"]) {
            // There are rules in specs alone, and what has passed once passes again; judging them takes long.
            let broken = validate_compiled(rules, new, old).err();
            let broken = broken.into_iter().flat_map(ValidationErrors::into_vec);
            faults.extend(broken.map(|error| Fault::invalid(&error.field_path, &error.message)));
        }
        faults
    }
}

/// The project's definitions, as they are installed.
pub(super) static CRDS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    crd::crds()
        .iter()
        .map(|definition| serde_json::to_value(definition).expect("a definition is JSON"))
        .collect()
});

/// All kinds.
pub(super) static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let builtin = [
        ("", "v1", NAMESPACES, "Namespace"),
        ("", "v1", "secrets", "Secret"),
        ("", "v1", "configmaps", "ConfigMap"),
        ("coordination.k8s.io", "v1", "leases", "Lease"),
        ("events.k8s.io", "v1", "events", "Event"),
        ("apiextensions.k8s.io", "v1", DEFINITIONS, "CustomResourceDefinition"),
    ];
    builtin.into_iter().map(builtin_kind).chain(crd::crds().iter().map(custom_kind)).collect()
});

fn builtin_kind((group, version, plural, kind): (&str, &str, &str, &str)) -> Kind {
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        name: kind.to_owned(),
        is_namespaced: ![NAMESPACES, DEFINITIONS].contains(&plural),
        is_overwritable: ["secrets", "configmaps", NAMESPACES, "events"].contains(&plural),
        is_created_by_put: plural == "leases" || plural == "events",
        definition: None,
        selectable: vec!["/metadata/name".to_owned(), "/metadata/namespace".to_owned()],
        schema: with_metadata(json!({"x-kubernetes-preserve-unknown-fields": true})),
        rules: None,
    }
}

fn custom_kind(definition: &CustomResourceDefinition) -> Kind {
    let version = &definition.spec.versions[0];
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut schema = serde_json::to_value(schema).expect("a schema is JSON");
    let rules = compile_schema(&schema);
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    Kind {
        group: definition.spec.group.clone(),
        version: version.name.clone(),
        plural: definition.spec.names.plural.clone(),
        name: definition.spec.names.kind.clone(),
        is_namespaced: definition.spec.scope == "Namespaced",
        is_overwritable: false,
        is_created_by_put: false,
        definition: Some(definition.name_any()),
        selectable: selectable(version),
        schema: with_metadata(schema),
        rules: Some(rules),
    }
}

fn selectable(version: &CustomResourceDefinitionVersion) -> Vec<String> {
    let own = version.selectable_fields.iter().flatten().map(|field| field.json_path.replace('.', "/"));
    own.chain(["/metadata/name".to_owned(), "/metadata/namespace".to_owned()]).collect()
}

fn with_metadata(mut schema: Value) -> Schema {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    schema["properties"]["metadata"] = json!({"type": "object", "properties": {
        "name": text(), "generateName": text(), "namespace": text(), "uid": text(), "resourceVersion": text(),
        "generation": {"type": "integer"}, "creationTimestamp": text(), "deletionTimestamp": text(),
        "deletionGracePeriodSeconds": {"type": "integer"}, "labels": texts(), "annotations": texts(),
        "finalizers": {"type": "array", "items": text(), "x-kubernetes-list-type": "set"},
        "ownerReferences": {
            "type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
        },
    }});
    serde_json::from_value(schema).expect("a schema that is understood")
}

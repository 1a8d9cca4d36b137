//! The `CustomResourceDefinition`s as they are installed: generated from the types, then brought
//! to the form that the API server takes without warnings.

use std::{io, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{CustomResourceExt, ResourceExt};

use super::{NEVER_OBSERVED, RasBroker, RasBrokerPromotion, RasFarm};

/// Formats that the API server knows; for any other it answers every install with a warning.
const KNOWN_FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// The head of every generated file.
const HEAD: &str = "# Generated from src/crd by `make crds`; edit the types instead.\n";

/// What can go wrong when the manifests are written.
#[derive(thiserror::Error, Debug)]
pub enum ManifestError {
    /// A definition has no YAML form.
    #[error("failed to print the definition of {name} as YAML")]
    Print {
        /// Name of the definition.
        name: String,
        /// What the YAML library says.
        source: serde_saphyr::ser::Error,
    },
    /// A file cannot be written.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// The definitions of all kinds, in the order in which they are to be installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [RasFarm::crd(), RasBroker::crd(), RasBrokerPromotion::crd()].map(finished).into()
}

/// All definitions as one YAML text of several documents, as `kubectl apply -f -` takes it.
pub fn yaml() -> Result<String, ManifestError> {
    let documents: Result<Vec<String>, ManifestError> = crds().iter().map(document).collect();
    Ok(documents?.join("---\n"))
}

/// Writes one file for each definition, and the `kustomization.yaml` that lists them.
pub fn write(directory: &Path) -> Result<(), ManifestError> {
    for (name, text) in files()? {
        let path = directory.join(name);
        std::fs::write(&path, text)
            .map_err(|source| ManifestError::Write { path: path.display().to_string(), source })?;
    }
    Ok(())
}

/// Name and content of each file of the directory `crds`.
fn files() -> Result<Vec<(String, String)>, ManifestError> {
    let mut files = Vec::new();
    for crd in crds() {
        files.push((format!("{}.yaml", crd.spec.names.plural), document(&crd)?));
    }
    files.push(("kustomization.yaml".to_owned(), kustomization(&files)));
    Ok(files)
}

fn document(crd: &CustomResourceDefinition) -> Result<String, ManifestError> {
    let text = serde_saphyr::to_string(crd)
        .map_err(|source| ManifestError::Print { name: crd.name_any(), source })?;
    Ok(format!("{HEAD}{text}"))
}

fn kustomization(files: &[(String, String)]) -> String {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let resources = names.join("\n  - ");
    format!(
        "{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {resources}\n"
    )
}

/// Brings a derived definition to the form in which it is installed.
fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let validation = version.schema.as_mut();
        if let Some(schema) = validation.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            default_status(schema);
        }
    }
    crd
}

/// The default stands on `status` itself: on the field within, it would have no effect as long as
/// there is no status.
fn default_status(root: &mut JSONSchemaProps) {
    let properties = root.properties.as_mut();
    if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": NEVER_OBSERVED })));
    }
}

/// Takes out what the derive macros say without being asked. `nullable` would let `null` stand in
/// an object as a third state beside set and unset; without it the API server drops the `null`.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    let known = |format: &String| KNOWN_FORMATS.contains(&format.as_str());
    schema.format = schema.format.take().filter(known);
    for inner in children(schema) {
        tidy(inner);
    }
}

/// The schemas directly below one. `allOf` and its like do not occur here.
fn children(schema: &mut JSONSchemaProps) -> Vec<&mut JSONSchemaProps> {
    let mut found: Vec<&mut JSONSchemaProps> = Vec::new();
    found.extend(schema.properties.iter_mut().flat_map(|map| map.values_mut()));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => found.push(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => found.extend(items.iter_mut()),
        None => {}
    }
    match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => found.push(values),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => {}
    }
    found
}

//! References to other objects. They never leave the namespace of the object that holds them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Names a Secret in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// Name of the Secret, in the namespace of this object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

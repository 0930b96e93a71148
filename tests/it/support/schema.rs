//! JSON Schema validation.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// A compiled JSON schema that is valid by the rules of its draft.
pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    pub(crate) fn new(schema: &Value) -> Self {
        const NAME: &str = "https://schema.invalid/";
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(NAME, schema.clone()).unwrap();
        let index = compiler.compile(NAME, &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// Validates a value; the error lists each violation with its location.
    pub(crate) fn validate(&self, value: &Value) -> Result<(), String> {
        self.schemas
            .validate(value, self.index)
            .map_err(|error| format!("{error:#}"))
    }

    /// Whether a value is valid.
    pub(crate) fn is_valid(&self, value: &Value) -> bool {
        self.validate(value).is_ok()
    }
}

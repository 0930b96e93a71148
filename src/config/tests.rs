//! The keys in the schema, the parser and the documentation, and the test suites of other projects.

pub(crate) mod conformance;
mod docs;
mod schema;

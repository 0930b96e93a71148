//! The keys in the schema, the parser and the documentation.

mod docs;
mod schema;

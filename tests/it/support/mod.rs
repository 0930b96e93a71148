//! Shared helpers of the integration tests.

pub mod archive;
pub mod attach;
pub mod authority;
pub mod codes;
mod date;
pub(crate) mod digest;
pub mod fake;
pub mod fleet;
pub mod forge;
pub mod hosted;
pub mod images;
pub mod layout;
pub mod machine;
pub(crate) mod markdown;
pub mod packages;
pub mod power;
pub mod pruned;
pub mod quickstart;
pub mod refusing;
pub mod registry;
pub mod repo;
pub mod runner;
pub mod scene;
pub mod schema;
pub mod shop;
pub mod skip;
pub mod strace;
pub mod terminal;
pub mod tls;
pub mod token;
pub mod tree;
pub mod tuf;
pub mod world;

pub use date::date;
pub use digest::Digest;

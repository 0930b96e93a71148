//! Shared helpers of the integration tests.

pub mod archive;
pub mod fake;
pub mod forge;
pub mod hosted;
pub mod images;
pub mod layout;
pub mod packages;
pub mod power;
pub mod pruned;
pub mod quickstart;
pub mod registry;
pub mod repo;
pub mod runner;
pub mod scene;
pub mod schema;
pub mod shop;
pub mod skip;
pub mod smoke;
pub mod stored;
pub mod strace;
pub mod terminal;
pub mod tls;
pub mod token;
pub mod tree;
pub mod world;

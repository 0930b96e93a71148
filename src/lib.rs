//! repin moves a set of container images from one verified build to another by rewriting every
//! digest pin in a repository, all or nothing, with the evidence that a reviewer needs.
//!
//! ```text
//! files (work tree, a commit, a branch's head) ──► config, pins found
//! registry (registries, layouts) ──► facts about images      git ──► facts about history
//!                 │
//!                 ▼        each stage: gather its facts, check them, stop if one fails
//!              checks ──► Approved | Stopped
//!                 │
//!                 ▼
//!               plan ──► new contents, counted
//!                 │
//!      ┌──────────┴───────────┐
//!      ▼                      ▼
//!    apply              pull_request          report renders each result
//!  (journal)         (branch, commit)         (diff, body, JSON)
//! ```
//!
//! One way, top to bottom. `checks::Approved` can only be created by a chain of checks, so no plan
//! exists for an unverified set; `plan::Plan` only with right counts. Renderers in `report` are
//! pure. The engine in `workflow` composes: it gathers the facts of a stage immediately before the
//! stage checks them, so that a typo costs no request. External text is escaped, and secrets are
//! redacted, only in `untrusted`. `tests/architecture` enforces which module may use which.
//!
//! These modules change something outside of the process. A command calls these only if an option
//! such as `--apply` or `--pr` requests it:
//!
//! - `apply` exchanges pinned files of the work tree; its lock and journal are in the git directory,
//!   or outside git in the directory `.repin` of the root;
//! - `git` commits exchanged files and pushes merges of branches;
//! - `forge`, for `pull_request` and `prune`, creates, updates and closes branches, pull requests,
//!   comments, labels and merges, and deletes packages;
//! - `registry`, for `prune`, deletes manifests;
//! - `workflow` writes the files that options name;
//! - `cli` writes trusted roots and the files of a step of GitHub Actions (`--format github`).
//!
//! These also do so without such an option:
//!
//! - `git` fetches objects that are missing for questions about history, and writes the objects of a
//!   trial merge;
//! - `workflow` creates and removes temporary directories for fetched repositories;
//! - `smoke` runs a container and removes it;
//! - `cli` writes configurations (`init`).

mod apply;
mod builds;
mod changes;
mod checks;
pub mod cli;
mod code;
mod config;
mod configurations;
#[cfg(test)]
#[path = "tests/conformance/mod.rs"]
mod conformance;
mod contents;
mod error;
mod files;
mod fleet;
mod forge;
mod freshness;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../fuzz/properties/mod.rs"]
pub mod fuzzing;
mod git;
mod history;
mod http;
mod input_file;
mod inventory;
mod layers;
mod oci;
mod outside;
mod pins;
mod plan;
mod prune;
mod pull_request;
mod registry;
mod report;
mod smoke;
#[cfg(test)]
#[path = "../tests/it/support"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the integration tests share these helpers"
)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]
mod support {
    pub(crate) mod archive;
    pub(crate) mod attach;
    pub(crate) mod authority;
    pub(crate) mod fake;
    pub(crate) mod forge;
    pub(crate) mod images;
    pub(crate) mod layout;
    pub(crate) mod machine;
    pub(crate) mod registry;
    pub(crate) mod repo;
    pub(crate) mod schema;
    pub(crate) mod strace;
    pub(crate) mod tls;
    pub(crate) mod token;

    pub(crate) use crate::oci::Digest;
}
mod text;
mod trust;
mod untrusted;
mod workflow;

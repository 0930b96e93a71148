//! repin moves a set of container images from one verified build to another by rewriting every
//! digest pin in a repository, all or nothing, with the evidence that a reviewer needs.
//!
//! # Rooms
//!
//! ```text
//!           app          commands, the engine, pull requests, fleets, documents, rendering
//!            │
//!          prune         protection, decision, deletion
//!            │
//!           core         pins, history, holds, checks, plan, apply
//!            │
//!          config        repin.yaml; makes the policies of the rooms that it uses
//!       ┌────┼──────┐
//! contents trust  forge  layers, packages │ signatures │ GitHub, GitLab, Gitea, Forgejo
//!       └──┬─┘  ┌───┤
//!         oci ──┘  git   registries and layouts │ the git command
//!          └────┬───┘
//!              base      errors, escaping, paths, files, HTTP
//! ```
//!
//! A room may use every room below it to which lines lead, and no other, except that `core` must not use `forge`;
//! `tests/architecture` enforces this.
//! `base` knows no git, registry or configuration; `oci`, `contents`, `trust`, `git` and `forge` do not know `repin.yaml`.
//! Only `app::cli` prints, exits, and reads the environment and the wall clock.
//!
//! # A promotion
//!
//! ```text
//! files (work tree, a commit, a branch's head) ──► config, pins found        core::pins
//! registry (registries, layouts) ──► facts about images      git ──► facts about history
//!                 │
//!                 ▼        each stage: gather its facts, check them, stop if one fails
//!              checks ──► Approved | Stopped                                 core::checks
//!                 │
//!                 ▼
//!               plan ──► new contents, counted                               core::plan
//!                 │
//!      ┌──────────┴───────────┐
//!      ▼                      ▼
//!    apply              pull_request          report renders each result
//!  (journal)         (branch, commit)         (diff, body, JSON)             app::report
//! ```
//!
//! One way, top to bottom. `checks::Approved` can only be created by a chain of checks, so no plan
//! exists for an unverified set; `plan::Plan` only with right counts. Renderers in `app::report` are
//! pure. The engine in `app::workflow` composes: it gathers the facts of a stage immediately before the
//! stage checks them, so that a typo costs no request. External text is escaped, and secrets are
//! redacted, only in `base::untrusted`.
//!
//! # Where is …
//!
//! - a pin found: `core/pins/find.rs`; judged: `core/checks/pins.rs`; planned: `core/plan`; applied: `core/apply`;
//! - an image judged: its tag, digest and labels in `core/checks/resolution.rs`, then signatures, contents and the smoke
//!   command; `app::workflow::engine` runs these stages, and `core/checks/remote.rs` judges images that are pinned already;
//! - a hold decided: `core/history/holds.rs`, with those of other sets in `core/history/other_sets.rs`; asked for a set by
//!   `History::hold` in the chain (`core/checks/chain/history.rs`), in `check --remote` (`workflow/history.rs`), by `newest`,
//!   `builds`, and by the commands that list sets; `core/checks/history.rs` makes it a verdict;
//! - a response of a forge a type: next to its request in `forge/github`, `forge/gitea` or `forge/gitlab`, or in
//!   `forge/shared.rs` if several send the same; those of many repositories at once in their `fleet`; by `Reply::expect`
//!   (`forge/http/reply.rs`);
//! - the way from `--pr` to the first request: `cli/commands/promote.rs` → `intent` (`cli/context.rs`) → `cli/change.rs` →
//!   `workflow/run.rs` → `BranchSite::open` (`workflow/site.rs`), which compares the forge with that of the base branches
//!   (`workflow/base.rs`) and selects the token (`workflow/connection.rs`) → `Base::read`
//!   (`pull_request/base.rs`) → `forge/client.rs` → the directory of the forge → `forge/http/mod.rs` → `base/http/client.rs`;
//! - the state that a crash leaves, and what the next run does: the table in `core/apply/state.rs`; after the files, a pull
//!   request is completed by the same command (`pull_request/reconcile/mod.rs`), and deletions by `prune/unfinished.rs`;
//! - a new check added: a function in `core/checks`, called by the stage of its subject, and by `remote.rs` and
//!   `cli/commands/check/remote.rs` if pinned images have it; a code in `base/codes.yaml`; its facts in `workflow`
//!   (CONTRIBUTING.md, "Adding a check").
//!
//! # What changes something outside of the process
//!
//! A command calls these only if an option such as `--apply` or `--pr` requests it:
//!
//! - `core::apply` exchanges pinned files of the work tree; its lock and journal are in the git directory,
//!   or outside git in the directory `.repin` of the root;
//! - `git` commits exchanged files, pushes such a commit (`--push`), and pushes merges of branches;
//! - `forge`, for `app::pull_request` and `prune`, creates, updates and closes branches, pull requests,
//!   comments, labels, issues and merges, starts workflows, and deletes packages and merged branches;
//! - `oci::registry`, for `prune`, deletes manifests and tags, and sets tags;
//! - `app::workflow` writes the files that options name;
//! - `app::cli` writes trusted roots and the files of a step of GitHub Actions (`--format github`).
//!
//! These also do so without such an option:
//!
//! - `git` fetches objects that are missing for questions about history (for pull requests into a repository of its own,
//!   beside the clone), and writes the objects of a trial merge;
//! - `oci::registry`, for `prune`, keeps immutable documents in the user's cache directory;
//! - `app::workflow` creates and removes temporary directories for fetched repositories;
//! - `core::smoke` runs a container and removes it;
//! - `app::cli` writes configurations (`init`).

mod app;
mod base;
mod config;
#[cfg(test)]
#[path = "tests/conformance/mod.rs"]
mod conformance;
mod contents;
mod core;
mod forge;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../fuzz/properties/mod.rs"]
pub mod fuzzing;
mod git;
mod oci;
mod prune;
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
    pub(crate) mod histories;
    pub(crate) mod images;
    pub(crate) mod layout;
    pub(crate) mod machine;
    pub(crate) mod registry;
    pub(crate) mod repo;
    pub(crate) mod schema;
    pub(crate) mod strace;
    pub(crate) mod sweep;
    pub(crate) mod tls;
    pub(crate) mod token;

    pub(crate) use crate::oci::Digest;
}
mod trust;

pub use app::cli;

//! The application that the commands share: the engine of promotions and rollbacks, and the services
//! of a run.
//!
//! [`run()`] takes a [`Goal`] through the engine and returns the result; the command line parses the
//! arguments and prints. `site` is the place of a run, `engine` the chain, `execution` and
//! `publication` are the effects, and `fleet` does the same for many repositories. `prune` deletes versions.
//! This module prints nothing: messages during a run go to a [`Console`]. It does not read the environment of
//! the process either: the command line passes an [`Environment`].

mod approval;
mod base;
mod base_branches;
pub(crate) mod base_policy;
mod branch_files;
mod build_order;
mod build_source;
pub(crate) mod builds;
mod caches;
pub(crate) mod changes;
mod commit;
mod commit_errors;
pub(crate) mod connection;
mod contracts;
mod engine;
pub(crate) mod environment;
mod execution;
pub(crate) mod fleet;
pub(crate) mod forge_overview;
mod head_on_forge;
mod history;
mod history_branch;
pub(crate) mod image_contents;
mod interruption;
mod known_heads;
mod newest;
mod newest_staged;
mod other_checkout;
pub(crate) mod output_file;
pub(crate) mod protection;
pub(crate) mod prune;
pub(crate) mod prune_backend;
mod publication;
mod push;
mod quick_test;
mod rehearsal;
mod repositories;
pub(crate) mod repository_sets;
mod request;
mod revision;
mod rollback_target;
mod run;
mod services;
mod settings;
mod shared_repository;
pub(crate) mod site;
mod smoke;
mod stage_sources;
pub(crate) mod stages;
mod tags;
pub(crate) mod trust;
pub(crate) mod untagged_pins;
mod verified_set;
mod wait;

pub(crate) use approval::{MergeCandidate, candidate};
pub(crate) use commit::git_restore;
pub(crate) use connection::{
    Access, FleetForge, MissingCredential, connect, connect_or_skip, connect_repository_or_skip,
    fleet_reader, no_token_error, sync_repository,
};
pub(crate) use contracts::Contracts;
pub(crate) use environment::{Console, Environment, Progress, Terminals};
pub(crate) use execution::{Effect, OpenedPull, Publication, exchange};
pub(crate) use forge_overview::{ForgeOverview, forge_overview, open_pulls};
pub(crate) use history::{SiteHistory, known_history};
pub(crate) use history_branch::{BranchRole, HistoryBranch, history_branch};
pub(crate) use interruption::{Event, Interruption};
pub(crate) use publication::{
    held_merge, merge_pending_warning, merge_refused_error, warn_of_silent_checks,
};
pub(crate) use push::fetch_branch;
pub(crate) use quick_test::{QuickTest, quick_test};
pub(crate) use rehearsal::{RehearsalChoice, rehearse};
pub(crate) use repositories::{OtherRepository, comparison_page};
pub(crate) use repository_sets::{begin, begin_at, lock, warn_if_interrupted};
pub(crate) use request::{
    ApplyMode, Goal, Intent, OpenRequest, Options, RevisionChoice, WaitRequest, check_image_name,
};
pub(crate) use revision::{RequestedRevision, revision};
pub(crate) use run::{RunResult, newest_revision, run};
pub(crate) use services::Services;
pub(crate) use settings::parse_mappings;
pub(crate) use site::{UnpushedAdoption, unpushed_adoption, unpushed_set};
pub(crate) use tags::{resolve_tags, resolved_images, select_tags};
pub(crate) use verified_set::{SetVerdict, verified_set};
pub(crate) use wait::{
    Awaited, MergeAuthority, merge_commit, note_wait, wait_document, wait_for_merge,
};

use crate::{
    base::error::{Class, Code, Error, Errors},
    core::{
        checks::{Check, Stopped},
        plan::PlanError,
    },
};

/// How often a pull request is planned if the base branch keeps moving.
const ATTEMPTS: usize = 3;

/// The cause of an early stop.
enum Stop {
    /// A stage of the chain refused the set.
    Chain(Stopped),
    /// The planner counted other pins.
    Count(Vec<Check>),
    /// A token or a secret is missing, and the run may be skipped.
    Unconfigured(String),
    /// The base branch moved after it was read.
    BaseMoved,
    Errors(Errors),
}

impl Stop {
    /// The checks, and the errors that stopped the run.
    fn into_parts(self) -> (Vec<Check>, Vec<Error>) {
        match self {
            Self::Chain(stopped) => (stopped.checks, stopped.errors),
            Self::Count(checks) => (checks, Vec::new()),
            Self::Unconfigured(reason) => {
                let error = Error::new(Class::Denied, Code::DENIED, reason);
                (Vec::new(), vec![error])
            }
            Self::BaseMoved => (Vec::new(), base_kept_moving().into_iter().collect()),
            Self::Errors(errors) => (Vec::new(), errors.into_iter().collect()),
        }
    }
}

impl From<Stopped> for Stop {
    fn from(stopped: Stopped) -> Self {
        Self::Chain(stopped)
    }
}

impl From<Errors> for Stop {
    fn from(errors: Errors) -> Self {
        Self::Errors(errors)
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Counts(checks) => Self::Count(checks),
            PlanError::Read(error) => Self::Errors(error.into()),
        }
    }
}

fn base_kept_moving() -> Errors {
    let message =
        format!("the base branch moved {ATTEMPTS} times while a change was planned against it");
    Errors::from(
        Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help("run the command again"),
    )
}

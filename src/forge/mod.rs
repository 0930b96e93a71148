//! Forges: GitHub, Gitea and Forgejo behind six traits, one for each capability.
//!
//! [`Forge`] is all six; code that needs one capability takes that trait. A forge declares missing
//! capabilities, so that no caller meets a 405. `pull_request` builds on these traits, once for all
//! forges. Nothing here reads the environment, and no plan is made here: changes come in, one
//! branch with one commit and one pull request come out; [`fleet`] reads many repositories. `http`
//! is the only place that sends anything.

mod audience;
mod branches;
mod checks;
pub mod fleet;
mod gates;
mod gitea;
mod github;
mod http;
mod issues;
mod merging;
mod packages;
mod pull_requests;
mod repository;
mod rights;
mod shared;
mod target;
mod token;
pub mod tracking_issue;
mod tree;

pub use audience::{Audience, NotFor};
pub use branches::{
    AheadCommits, BranchState, Branches, Commit, Comparison, Head, NewCommit, NewFile,
    PublishOutcome, SurveyedBase,
};
pub use checks::{Checks, Status, StatusKind, StatusResult};
pub use gates::{Gate, GateState, judge, read_gates, together};
pub use gitea::{Gitea, GiteaFleet};
pub use github::{Github, GithubFleet, is_workflow};
pub use http::{Settings, TIME};
pub use issues::{Claim, Issue, Issues};
pub use merging::{Merge, Merging, Queue};
pub use packages::{Links, Package, PackageVersion, VersionPages, Versions};
pub use pull_requests::{
    Comment, CreateOutcome, Edit, LabelOutcome, Mergeable, NewPull, Poll, Pull, PullRequests,
    PullState, Pulls, State, Transition,
};
pub use repository::{Ability, FileMode, PlannedWrites, Push, Repo, Repository, Signing};
pub use rights::{ANOTHER_TOKEN, Permission, RequiredRights, Right, Verdict};
pub use target::{Kind, Target, TargetError};
pub use token::{Token, TokenError, TokenFacts};
pub use tree::{Entry, Tree, blob_id};

/// All capabilities, for callers that need several.
pub trait Forge: Repository + Branches + PullRequests + Checks + Merging + Issues {}

impl<F: Repository + Branches + PullRequests + Checks + Merging + Issues> Forge for F {}

//! Forges: GitHub and Gitea or Forgejo behind six traits, one a capability.
//!
//! [`Forge`] is all six; whoever needs one capability takes that one. What a forge lacks it
//! declares, so that nobody meets a 405. `pull_request` is written on top, once for all.
//! Nothing here reads the environment, and no plan is made here: changes come in, one branch with
//! one commit and one pull request come out. `http` is the only place that sends anything.

mod audience;
mod branches;
mod checks;
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
    AheadCommits, BranchState, Branches, CarriedPull, Commit, Comparison, Head, NewCommit, NewFile,
    PublishOutcome,
};
pub use checks::{Checks, Status, StatusKind, StatusResult};
pub use gates::{Gate, GateState, judge, together};
pub use gitea::Gitea;
pub use github::{Github, is_workflow};
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
pub use token::{Token, TokenError};
pub use tree::{Entry, Tree, blob_id};

/// Everything that a forge is asked for, for callers that need several capabilities.
pub trait Forge: Repository + Branches + PullRequests + Checks + Merging + Issues {}

impl<F: Repository + Branches + PullRequests + Checks + Merging + Issues> Forge for F {}

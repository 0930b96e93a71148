//! Forges: GitHub, Gitea and Forgejo.
//!
//! [`Forge`] is the client of one repository, [`fleet::FleetReader`] reads many; both forward to
//! `github` and `gitea`, which have files of the same names. The other files contain the data of the
//! operations and the rules that all forges share. `pull_request` decides which operations a run
//! needs, once for all forges. Nothing here reads the environment; `http` sends every request.

mod audience;
mod branches;
mod checks;
mod client;
pub mod fleet;
mod gates;
mod gitea;
mod github;
mod http;
mod issues;
mod merging;
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
    AheadCommits, BranchState, Commit, Comparison, Head, NewCommit, NewFile, PublishOutcome,
    SurveyedBase,
};
pub use checks::{Status, StatusKind, StatusResult};
pub use client::{Capabilities, Forge};
pub use gates::{Gate, GateState, judge, read_gates, worst_state};
pub use github::{Links, Package, PackageVersion, VersionPages, Versions, is_workflow};
pub use http::{Settings, TIME};
pub use issues::{Claim, Issue};
pub use merging::{Merge, Queue};
pub use pull_requests::{
    Comment, CreateOutcome, Edit, LabelOutcome, Mergeable, NewPull, Poll, Pull, PullState, Pulls,
    State, Transition,
};
pub use repository::{Ability, FileMode, PlannedWrites, Push, Repo, Signing};
pub use rights::{ANOTHER_TOKEN, Permission, RequiredRights, Right, Verdict};
pub use target::{Kind, Target, TargetError};
pub use token::{Token, TokenError, TokenFacts};
pub use tree::{Tree, TreeEntry, blob_id};

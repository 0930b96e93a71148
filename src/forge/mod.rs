//! Forges: GitHub, GitLab, Gitea and Forgejo.
//!
//! [`Forge`] is the client of one repository, [`fleet::FleetReader`] that of many; both forward to
//! `github`, `gitea` and `gitlab`, which have files of the same names. The other files contain the data of
//! the operations and the rules that all forges share. `pull_request` decides which operations a
//! run needs, once for all forges. `http` sends every request.

mod checks;
mod client;
pub(crate) mod fleet;
mod gates;
mod gitea;
mod github;
mod gitlab;
mod http;
mod pull_requests;
mod refused_push;
mod repository;
mod shared;
mod target;
mod token;
pub(crate) mod tracking_issue;
mod words;
mod workflows;

pub(crate) use checks::{CheckStart, Status, StatusKind, StatusResult};
pub(crate) use client::{Forge, ImpliedGate};
pub(crate) use gates::{Gate, GateState, judge, read_gates, worst_state};
#[cfg(test)]
pub(crate) use github::{Links, VersionPages};
pub(crate) use github::{Package, PackageVersion};
pub(crate) use http::{DEFAULT_DEADLINE, Settings};
pub(crate) use pull_requests::{
    BranchCommit, Comment, CreateOutcome, Edit, Issue, Item, LabelOutcome, Merge, MergeMethod,
    Mergeable, MergedPull, Merger, NewPull, Poll, Pull, PullState, Pulls, Queue, Readiness,
    RunMark, Transition,
};
use pull_requests::{DraftPrefixes, EditNames};
pub(crate) use refused_push::{PushedBranch, RefusedPush};
pub(crate) use repository::{
    Ability, CommitSigner, FileMode, PlannedWrites, Push, Repo, Sign, SignedAttempt, SignedCommit,
    Signing, UnusedBranch,
};
pub(crate) use shared::{ANOTHER_TOKEN, Permission, RequiredRights, Right, Verdict};
pub(crate) use target::{Address, Kind, NO_DISPATCH, ServerFacts, Target, TargetError, is_tenant};
pub(crate) use token::Audience;
pub(crate) use token::{Token, TokenFacts};
pub(crate) use words::Words;
pub(crate) use workflows::is_workflow;

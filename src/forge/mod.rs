//! Forges: GitHub and Gitea or Forgejo behind one trait, and the pull request that carries a plan.
//!
//! [`Forge`] says what a forge is asked for; what one can't do it declares, so that nobody meets a
//! 405. [`pull_request`] is written on top of it, once for all. Nothing here reads the environment,
//! and no plan is made here: changes come in, one branch with one commit and one pull request come
//! out. `http` is the only place that sends anything.

mod alike;
mod audience;
mod gates;
mod gitea;
mod github;
mod http;
pub mod issue;
mod model;
mod packages;
mod rights;
mod target;
mod token;
mod tree;

use async_trait::async_trait;

use crate::{error::Error, http::Heard};

pub use audience::{Audience, NotFor};
pub use gates::{Gate, GateState, Said, Status, StatusKind, judge, together};
pub use gitea::Gitea;
pub use github::{Github, is_workflow};
pub use http::{Settings, TIME};
pub use model::{
    Ability, Ahead, Carried, Claim, Comment, Commit, Comparison, Created, Edit, Head, Issue,
    Labelled, Merge, Mergeable, Need, NewCommit, NewFile, NewPull, Poll, Published, Pull,
    PullState, Pulls, Queue, Repo, Signing, State, Was,
};
pub use packages::{Links, Package, PackageVersion, VersionPages, Versions};
pub use rights::{ANOTHER_TOKEN, Permission, Right, Verdict, Wanted};
pub use target::{Kind, Target, TargetError};
pub use token::{Token, TokenError};
pub use tree::{Entry, Tree, blob_id};

/// What a forge is asked for. Every listing is complete or an error; nothing is sent twice that
/// could happen twice.
#[async_trait(?Send)]
pub trait Forge {
    /// `GitHub` or `Gitea`, for messages.
    fn name(&self) -> &'static str;

    /// The repository, and what the token may do with it as far as that can be read.
    async fn repository(&self) -> Result<Repo, Error>;

    /// Whether the token may do what is needed, as far as that can be told without writing.
    async fn permit(&self, repo: &Repo, need: Need) -> Result<(), Error>;

    /// What the token may do, permission by permission, as far as that can be told without writing.
    async fn rights(&self, repo: &Repo, wanted: &Wanted) -> Result<Vec<Right>, Error>;

    /// What signs commits for `base`, where pins are in files with these paths and modes.
    async fn signing(&self, base: &str, files: &[(String, String)]) -> Result<Signing, Error>;

    /// What the forge said about the time, last.
    fn heard(&self) -> Option<Heard>;

    /// A branch's head; `None` if there is no such branch.
    async fn branch(&self, name: &str) -> Result<Option<Head>, Error>;

    /// All files of a commit's tree.
    async fn tree(&self, head: &Head) -> Result<Tree, Error>;

    /// The contents of blobs, verified, in the order asked for.
    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error>;

    /// Fails where the server is older than what repin supports.
    async fn supported(&self) -> Result<(), Error>;

    /// What `branch` has that `base` (its name and its head) has not. `exists`: a listing has just
    /// shown that the branch exists.
    async fn ahead(
        &self,
        base: (&str, &Head),
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error>;

    /// Makes one commit and puts it at `branch`, if that still is as it was. Where that closes the
    /// branch's pull request, it is open again afterwards.
    async fn publish(
        &self,
        commit: &NewCommit<'_>,
        branch: &str,
        was: &Was,
    ) -> Result<Published, Error>;

    /// Whether the forge refuses to merge a branch without a conflict as it is now, since its base
    /// moved and requires that branches are up to date. `pull`: its pull request, if it is open.
    async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error>;

    /// Whether the repository can have draft pull requests, as far as that can be told without
    /// opening one.
    async fn drafts(&self, repo: &Repo) -> Result<Ability, Error>;

    /// Whether pull requests that are opened or updated with this token start their checks, as far
    /// as that can be told.
    async fn starts_checks(&self) -> Result<Ability, Error>;

    /// Whether moving a branch back closes its pull request for a while.
    async fn moving_closes(&self) -> Result<bool, Error>;

    /// Whether a pull request stays open although this run deleted its branch and made it again.
    async fn stays_open(&self, pull: &Pull) -> Result<bool, Error>;

    /// Pull requests, filtered here and not only by the server.
    async fn pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error>;

    /// One pull request as it is now.
    async fn pull(&self, number: u64) -> Result<Option<Pull>, Error>;

    /// Opens a pull request; exactly once, whatever happens to the request.
    async fn create_pull(&self, new: &NewPull<'_>) -> Result<Created, Error>;

    /// Changes a pull request's text or state.
    async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error>;

    /// Makes a pull request a draft, or ready.
    async fn set_state(&self, pull: &Pull, state: State) -> Result<(), Error>;

    /// Adds labels, made if they are missing.
    async fn label(&self, number: u64, labels: &[String]) -> Result<Labelled, Error>;

    /// The comments of a pull request or issue, all of them.
    async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error>;

    /// A pause before something is looked at again that may not have arrived everywhere; longer
    /// with each round.
    async fn breathe(&self, round: u32);

    /// Adds a comment.
    async fn comment(&self, number: u64, text: &str) -> Result<(), Error>;

    /// The commit that a branch, a tag or a commit's name stands for; `None` if there is none.
    async fn commit(&self, reference: &str) -> Result<Option<String>, Error>;

    /// Everything that was reported about a commit, in no order.
    async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error>;

    /// The contexts that a branch requires; `None`: that can't be read.
    async fn required(&self, branch: &str) -> Result<Option<Vec<String>>, Error>;

    /// Merges a pull request as soon as what its base requires passes, if its head is still `head`.
    /// Whether that may be asked for is for [`merging`] to say.
    async fn auto_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error>;

    /// Fails where the configured method of merging is not allowed into a branch, as far as that
    /// can be told without merging.
    async fn admits(&self, base: &str) -> Result<(), Error>;

    /// Where a pull request is in the merge queue of its base.
    async fn queue(&self, pull: &Pull) -> Result<Queue, Error>;

    /// Whether a merge that is scheduled waits for required contexts that have not reported.
    fn waits_for_silent(&self) -> bool;

    /// Cancels a scheduled merge; `false`: none was scheduled.
    async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error>;

    /// Merges a pull request now, if its head is still `head`.
    async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error>;

    /// A pull request, unless it is as it was when `etag` was given.
    async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error>;

    /// Whether workflows can be started, as far as that can be told without starting one.
    async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error>;

    /// Starts a workflow on a branch.
    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error>;

    /// Makes a mark that can be made once; whether it is ours, also if it was made by an earlier
    /// attempt of ours.
    async fn claim(&self, claim: &Claim<'_>) -> Result<bool, Error>;

    /// Takes a mark of ours away again.
    async fn release(&self, claim: &Claim<'_>) -> Result<(), Error>;

    /// Deletes marks that are older than any run that could still ask for them.
    async fn expire_claims(&self) -> Result<(), Error>;

    /// All open issues (no pull requests).
    async fn issues(&self) -> Result<Vec<Issue>, Error>;

    /// Opens an issue.
    async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error>;

    /// Changes an issue's text, or closes it.
    async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error>;
}

//! The client of one repository on a forge.
//!
//! Each operation is forwarded to [`Github`], [`Gitea`] or [`Gitlab`]. Where only some of them have something
//! to do, the result for the others is here.

use super::{
    Ability, BranchCommit, CheckStart, Comment, CommitSigner, CreateOutcome, Edit, FileMode, Issue,
    Item, Kind, LabelOutcome, Merge, MergeMethod, MergedPull, NewPull, PlannedWrites, Poll, Pull,
    PullState, Pulls, Queue, Readiness, Repo, RequiredRights, Right, RunMark, Settings, Sign,
    SignedAttempt, SignedCommit, Signing, Status, Target, Token, UnusedBranch, Words,
    gitea::Gitea,
    github::Github,
    gitlab::{Gitlab, PIPELINE},
    shared::MISSING_BASE,
    target::NO_DISPATCH,
};
use crate::{
    base::{
        error::{Class, Error},
        http::{Policy, ServerTime},
    },
    git::NewFile,
};

/// The maximum number of reads until a server shows the head of a pull request, which takes it up to two seconds.
const MAX_HEAD_READS: u32 = 12;

/// A repository on a forge. The first operation sends the first request.
#[derive(Debug)]
pub(crate) enum Forge {
    Github(Github),
    /// Gitea or Forgejo.
    Gitea(Gitea),
    Gitlab(Gitlab),
}

/// The gate that a pull request has if neither its base nor the configuration requires one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImpliedGate {
    /// None: such a pull request is not merged.
    Missing,
    /// This context: the forge would merge at once what has not reported it.
    Context(&'static str),
    /// The configuration has an empty list of gates, on purpose.
    Waived,
}

/// The properties of a forge that are the same for all of its repositories and versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// The name in messages.
    pub name: &'static str,
    pub words: Words,
    /// Whether a scheduled merge requires contexts that have not reported.
    pub waits_for_silent_contexts: bool,
    /// Whether the forge checks a merge when it is scheduled, and not only when a status or a review
    /// arrives later.
    pub checks_when_scheduled: bool,
}

const GITHUB: Capabilities = Capabilities {
    name: Kind::Github.name(),
    words: Kind::Github.words(),
    waits_for_silent_contexts: true,
    checks_when_scheduled: true,
};

const GITEA: Capabilities = Capabilities {
    name: Kind::Gitea.name(),
    words: Kind::Gitea.words(),
    waits_for_silent_contexts: false,
    // Gitea does since 1.24. A direct merge is right on every version, so the version is not
    // requested.
    checks_when_scheduled: false,
};

const GITLAB: Capabilities = Capabilities {
    name: Kind::Gitlab.name(),
    words: Kind::Gitlab.words(),
    waits_for_silent_contexts: true,
    checks_when_scheduled: true,
};

macro_rules! forward {
    ($forge:expr, $client:ident => $call:expr) => {
        match $forge {
            Self::Github($client) => $call,
            Self::Gitea($client) => $call,
            Self::Gitlab($client) => $call,
        }
    };
}

impl Forge {
    /// The repository of `target`, with `method` as the merge method. `sign`: whether GitHub may be
    /// requested to sign commits.
    pub(crate) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
        sign: Sign,
    ) -> Result<Self, Error> {
        Ok(match target.kind {
            Kind::Github => Self::Github(Github::new(target, token, settings, method, sign)?),
            Kind::Gitea => Self::Gitea(Gitea::new(target, token, settings, method, sign)?),
            Kind::Gitlab => Self::Gitlab(Gitlab::new(target, token, settings, method, sign)?),
        })
    }

    pub(crate) fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Github(_) => &GITHUB,
            Self::Gitea(_) => &GITEA,
            Self::Gitlab(_) => &GITLAB,
        }
    }

    /// `GitHub`, `Gitea` or `GitLab`, for messages.
    pub(crate) fn name(&self) -> &'static str {
        self.capabilities().name
    }

    /// The forge's words for pull requests.
    pub(crate) fn words(&self) -> Words {
        self.capabilities().words
    }

    /// The server's clock at its last response.
    pub(crate) fn server_time(&self) -> Option<ServerTime> {
        forward!(self, client => client.http.server_time())
    }

    /// How often a request is attempted, and the pauses between two attempts.
    pub(crate) fn policy(&self) -> &Policy {
        forward!(self, client => client.http.policy())
    }

    /// Pauses until a change may be visible on every server of the forge; longer with each round.
    pub(crate) async fn back_off(&self, round: u32) {
        forward!(self, client => client.http.back_off(round).await);
    }
}

/// The repository, and the permissions of the token.
impl Forge {
    /// Fails if the server is older than the versions that repin supports.
    pub(crate) async fn check_version(&self) -> Result<(), Error> {
        match self {
            Self::Github(_) => Ok(()),
            Self::Gitea(gitea) => gitea.http.check_gitea_version().await,
            Self::Gitlab(gitlab) => gitlab.check_version().await,
        }
    }

    /// The repository, with the permissions that the forge reports.
    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
        forward!(self, client => client.repository().await)
    }

    /// The repository, and the state of the branch `head` if perhaps no pull request was ever opened from it.
    /// `base`: the target branch if it is not the default branch.
    pub(crate) async fn repository_before_pull(
        &self,
        base: Option<&str>,
        head: &str,
    ) -> Result<(Repo, Option<UnusedBranch>), Error> {
        match self {
            Self::Github(github) => github.repository_before_pull(base, head).await,
            Self::Gitea(gitea) => gitea.repository_before_pull().await,
            Self::Gitlab(gitlab) => Ok((gitlab.repository().await?, None)),
        }
    }

    /// Whether no pull request from `head`, the branch that [`Self::repository_before_pull`] returned, into `base` was ever
    /// opened; `false` if the forge does not tell.
    pub(crate) async fn is_unused(
        &self,
        branch: &UnusedBranch,
        base: &str,
        head: &str,
    ) -> Result<bool, Error> {
        match self {
            Self::Github(_) => Ok(true),
            Self::Gitea(gitea) => gitea.is_unused(branch, base, head).await,
            Self::Gitlab(_) => Ok(false),
        }
    }

    /// Fails if the token's missing permissions can be determined without a write.
    pub(crate) async fn check_permissions(
        &self,
        repo: &Repo,
        planned: PlannedWrites,
    ) -> Result<(), Error> {
        match self {
            Self::Github(github) => github.check_permissions(repo, planned).await,
            Self::Gitea(_) => Gitea::check_permissions(repo),
            Self::Gitlab(gitlab) => gitlab.check_permissions(repo).await,
        }
    }

    /// The permissions of the token, to the extent that reading can show them.
    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        forward!(self, client => client.rights(repo, required).await)
    }

    /// The signer of commits for `base` that change these files. GitLab, Gitea and Forgejo do not show whether a
    /// branch requires signatures.
    pub(crate) async fn signing(
        &self,
        base: &str,
        files: &[FileMode<'_>],
    ) -> Result<Signing, Error> {
        match self {
            Self::Github(github) => github.signing(base, files).await,
            Self::Gitea(gitea) => Ok(gitea.sign.unreported()),
            Self::Gitlab(gitlab) => Ok(gitlab.sign.unreported()),
        }
    }
}

/// Branches, and commits that the forge makes. `git` reads and writes everything else in a repository.
impl Forge {
    /// The head of a branch; `None` if the branch is missing.
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<String>, Error> {
        forward!(self, client => client.branch(name).await)
    }

    /// The commit of a branch, a tag or a commit id; `None` if it is missing.
    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        forward!(self, client => client.commit(reference).await)
    }

    /// The signer of a commit of these files for `base`; `protected`: whether the protection of the base requires
    /// signatures, if that is known. GitLab, Gitea and Forgejo do not sign what is pushed.
    pub(crate) async fn commit_signer(
        &self,
        base: &str,
        files: &[NewFile],
        protected: Option<bool>,
    ) -> Result<CommitSigner, Error> {
        match self {
            Self::Github(github) => github.commit_signer(base, files, protected).await,
            Self::Gitea(gitea) => Ok(gitea.sign.pusher()),
            Self::Gitlab(gitlab) => Ok(gitlab.sign.pusher()),
        }
    }

    /// Makes a commit that the forge signs.
    pub(crate) async fn sign_commit(
        &self,
        commit: &SignedCommit<'_>,
    ) -> Result<SignedAttempt, Error> {
        match self {
            Self::Github(github) => github.sign_commit(commit).await,
            Self::Gitea(_) | Self::Gitlab(_) => Err(Error::internal()),
        }
    }
}

/// Pull requests. Every listing is complete or an error, and a request that must not be repeated is
/// sent once.
impl Forge {
    /// Pull requests, filtered by repin even if the server filters them.
    pub(crate) async fn pulls(&self, filter: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        forward!(self, client => client.pulls(filter).await)
    }

    /// One pull request in its current state; `None` if it is missing.
    pub(crate) async fn pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        forward!(self, client => client.pull(number).await)
    }

    /// The merged pull request that brought a commit to a branch; `None` if there is none.
    pub(crate) async fn merged_pull(
        &self,
        commit: BranchCommit<'_>,
    ) -> Result<Option<MergedPull>, Error> {
        forward!(self, client => client.merged_pull(commit).await)
    }

    /// A pull request, unless it is unchanged since the server sent `etag`.
    pub(crate) async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        forward!(self, client => client.poll(number, etag).await)
    }

    /// Opens a pull request exactly once, even if a response is lost.
    pub(crate) async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        forward!(self, client => client.create_pull(new).await)
    }

    /// Changes the text of a pull request, or closes or reopens it.
    pub(crate) async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        forward!(self, client => client.edit_pull(number, edit).await)
    }

    /// Makes a pull request a draft, or ready for review.
    pub(crate) async fn set_state(&self, pull: &Pull, readiness: Readiness) -> Result<(), Error> {
        forward!(self, client => client.set_state(pull, readiness).await)
    }

    /// Adds labels, which are created if they are missing.
    pub(crate) async fn add_labels(
        &self,
        item: Item,
        labels: &[String],
    ) -> Result<LabelOutcome, Error> {
        forward!(self, client => client.add_labels(item, labels).await)
    }

    /// All comments of a pull request or issue.
    pub(crate) async fn comments(&self, item: Item) -> Result<Vec<Comment>, Error> {
        forward!(self, client => client.comments(item).await)
    }

    pub(crate) async fn add_comment(&self, item: Item, text: &str) -> Result<(), Error> {
        forward!(self, client => client.add_comment(item, text).await)
    }

    /// Whether the pull request shows this head of its branch. Other servers than GitHub update an open one in the
    /// background, and never a closed one; GitHub does so even if the client that pushed is killed.
    pub(crate) async fn shows_head(&self, pull: &Pull, head: &str) -> Result<bool, Error> {
        let max_reads = match pull.state {
            PullState::Open => MAX_HEAD_READS,
            PullState::Closed | PullState::Merged(_) => 1,
        };
        for read in 1..=max_reads {
            let (shows, http) = match self {
                Self::Github(_) => return Ok(true),
                Self::Gitlab(_) if pull.head_commit == head => return Ok(true),
                Self::Gitea(gitea) => (gitea.shows(pull.number, head).await?, &gitea.http),
                Self::Gitlab(gitlab) => (gitlab.shows(pull.number, head).await?, &*gitlab.http),
            };
            if shows {
                return Ok(true);
            }
            if read < max_reads {
                http.back_off(1).await;
            }
        }
        Ok(false)
    }
}

/// Reports about commits, and the contexts that branches require.
impl Forge {
    /// Every status and check run of a commit, in any order. `pull`: the pull request with this head, which has
    /// reports of its own on GitLab.
    pub(crate) async fn statuses(
        &self,
        commit: &str,
        pull: Option<u64>,
    ) -> Result<Vec<Status>, Error> {
        match self {
            Self::Github(github) => github.statuses(commit).await,
            Self::Gitea(gitea) => gitea.statuses(commit).await,
            Self::Gitlab(gitlab) => gitlab.statuses(commit, pull).await,
        }
    }

    /// The pull request whose reports count for a branch at a commit, besides those of the commit itself.
    pub(crate) async fn reporting_pull(
        &self,
        branch: &str,
        commit: &str,
        base: &str,
    ) -> Result<Option<u64>, Error> {
        match self {
            // Every report belongs to a commit.
            Self::Github(_) | Self::Gitea(_) => Ok(None),
            Self::Gitlab(gitlab) => gitlab.number_of(branch, commit, base).await,
        }
    }

    /// The gate of a pull request without other gates.
    pub(crate) fn implied_gate(&self) -> ImpliedGate {
        match self {
            Self::Github(_) | Self::Gitea(_) => ImpliedGate::Missing,
            Self::Gitlab(gitlab) if gitlab.merges_unchecked => ImpliedGate::Waived,
            Self::Gitlab(_) => ImpliedGate::Context(PIPELINE),
        }
    }

    /// The contexts that a branch requires; `None` if the token may not read them.
    pub(crate) async fn required_contexts(
        &self,
        branch: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        match self {
            Self::Github(github) => github.required_contexts(branch).await,
            Self::Gitea(gitea) => gitea.required_contexts(branch).await,
            Self::Gitlab(gitlab) => gitlab.required_contexts().await,
        }
    }

    /// Fails if the configured base branch does not exist.
    pub(crate) async fn check_base(&self, branch: &str) -> Result<(), Error> {
        if self.branch(branch).await?.is_some() {
            return Ok(());
        }
        let what = format!("{}: reading what {branch} requires", self.name());
        Err(Error::about(Class::Refused, what, "not found").help(MISSING_BASE))
    }

    /// Whether the forge may have deleted reports about a commit because of its age. Gitea and Forgejo keep statuses as
    /// long as the repository, GitLab unless a project limits the retention of pipelines.
    pub(crate) async fn may_have_expired(&self, commit: &str) -> Result<bool, Error> {
        match self {
            Self::Github(github) => github.may_have_expired(commit).await,
            Self::Gitea(_) | Self::Gitlab(_) => Ok(false),
        }
    }

    /// The start of the checks of pull requests that are opened or updated with this token, to the
    /// extent that reading can show it.
    pub(crate) async fn start_of_checks(&self) -> Result<CheckStart, Error> {
        match self {
            Self::Github(github) => github.start_of_checks().await,
            Self::Gitea(_) | Self::Gitlab(_) => Ok(CheckStart::Immediate),
        }
    }

    /// The pages of the workflow runs of a commit that start only after an approval; `None` if the
    /// token may not read them, or if the forge holds none.
    pub(crate) async fn runs_awaiting_approval(
        &self,
        commit: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        match self {
            Self::Github(github) => github.runs_awaiting_approval(commit).await,
            Self::Gitea(_) | Self::Gitlab(_) => Ok(None),
        }
    }
}

/// Merging. `pull_request::merging` decides whether a merge may be requested.
impl Forge {
    /// Fails if the base does not allow the configured merge method, to the extent that reading can
    /// show it.
    pub(crate) async fn check_merge_method(&self, base: &str) -> Result<(), Error> {
        match self {
            Self::Github(github) => github.check_merge_method(base).await,
            Self::Gitea(gitea) => gitea.check_merge_method().await,
            Self::Gitlab(gitlab) => gitlab.check_merge_method().await,
        }
    }

    /// Whether the forge refuses to merge a branch without a conflict in its current state, because
    /// its base moved and requires branches to be up to date. `pull`: its pull request, if it is open.
    pub(crate) async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error> {
        match self {
            Self::Github(github) => github.is_outdated(pull, base).await,
            Self::Gitea(_) => Ok(false),
            Self::Gitlab(gitlab) => gitlab.is_outdated(pull).await,
        }
    }

    /// Schedules the merge of a pull request for when its required contexts pass, if its head is
    /// still `head`.
    pub(crate) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        forward!(self, client => client.schedule_merge(pull, head).await)
    }

    /// Cancels a scheduled merge; `false` if none was scheduled.
    pub(crate) async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        forward!(self, client => client.cancel_merge(pull).await)
    }

    /// Merges a pull request now, if its head is still `head`.
    pub(crate) async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        forward!(self, client => client.merge(pull, head).await)
    }

    /// The position of a pull request in the merge queue of its base. Neither Gitea nor Forgejo has
    /// merge queues.
    pub(crate) async fn queue(&self, pull: &Pull) -> Result<Queue, Error> {
        match self {
            Self::Github(github) => github.queue(pull).await,
            Self::Gitea(_) => Ok(Queue::Missing),
            Self::Gitlab(gitlab) => gitlab.queue(pull).await,
        }
    }
}

/// Issues, and workflow runs with the claims by which exactly one run of repin starts them.
impl Forge {
    /// All open issues, without pull requests.
    pub(crate) async fn issues(&self) -> Result<Vec<Issue>, Error> {
        forward!(self, client => client.issues().await)
    }

    pub(crate) async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        forward!(self, client => client.open_issue(title, body).await)
    }

    /// Changes the text of an issue, or closes or reopens it.
    pub(crate) async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        forward!(self, client => client.edit_issue(number, edit).await)
    }

    /// Whether a workflow can be started, to the extent that reading can show it.
    pub(crate) async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error> {
        match self {
            Self::Github(github) => github.can_dispatch(workflow).await,
            Self::Gitea(gitea) => gitea.can_dispatch().await,
            Self::Gitlab(_) => Ok(Ability::No(NO_DISPATCH.to_owned())),
        }
    }

    /// Starts a workflow on a branch.
    pub(crate) async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        match self {
            Self::Github(github) => github.dispatch(workflow, branch).await,
            Self::Gitea(gitea) => gitea.dispatch(workflow, branch).await,
            Self::Gitlab(_) => Err(Error::internal()),
        }
    }

    /// Makes a claim, which only one run can; `true` if this run holds it, including by an earlier
    /// attempt of its own.
    pub(crate) async fn claim(&self, claim: &RunMark<'_>) -> Result<bool, Error> {
        match self {
            Self::Github(github) => github.claim(claim).await,
            Self::Gitea(gitea) => gitea.claim(claim).await,
            Self::Gitlab(_) => Err(Error::internal()),
        }
    }

    /// Deletes a claim of this run.
    pub(crate) async fn release(&self, claim: &RunMark<'_>) -> Result<(), Error> {
        match self {
            Self::Github(github) => github.release(claim).await,
            Self::Gitea(gitea) => gitea.release(claim).await,
            Self::Gitlab(_) => Err(Error::internal()),
        }
    }

    /// Deletes claims that are older than any active run. On GitHub, claims are invisible and are
    /// never deleted.
    pub(crate) async fn delete_old_claims(&self) -> Result<(), Error> {
        match self {
            Self::Github(_) | Self::Gitlab(_) => Ok(()),
            Self::Gitea(gitea) => gitea.delete_old_claims().await,
        }
    }
}

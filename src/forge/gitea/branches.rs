//! Branches, trees, contents, comparisons, and the choice of how a commit is published.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Deserialize;

use super::{
    Gitea, ObjectRow,
    commits::{Destination, may_have_changed, raced},
    nullable,
};
use crate::{
    base::error::Error,
    forge::{
        AheadCommits, BranchState, Commit, Comparison, Head, NewCommit, PublishOutcome, Tree,
        http::{MAX_PAGES, Paging},
    },
};

#[derive(Deserialize)]
pub(super) struct BranchRow {
    pub(super) commit: BranchCommitRow,
}

#[derive(Deserialize)]
pub(super) struct BranchCommitRow {
    pub(super) id: String,
}

#[derive(Deserialize)]
struct ComparisonRow {
    total_commits: usize,
    commits: Option<Vec<CommitRow>>,
}

#[derive(Deserialize)]
pub(super) struct CommitRow {
    sha: String,
    commit: CommitText,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectRow>,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    tree: Option<ObjectRow>,
}

impl CommitRow {
    /// The id of its tree; empty if the server does not report it.
    pub(super) fn tree(&self) -> String {
        let tree = self.commit.tree.as_ref();
        tree.map_or_else(String::new, |tree| tree.sha.clone())
    }
}

impl From<CommitRow> for Commit {
    fn from(row: CommitRow) -> Self {
        Self {
            id: row.sha,
            message: row.commit.message,
            parents: row.parents.into_iter().map(|parent| parent.sha).collect(),
        }
    }
}

/// The commits of a branch that its base does not contain.
enum BranchCommits {
    /// The newest first.
    Listed(Vec<CommitRow>),
    /// The branch is missing.
    Absent,
    /// The branch, at this head, has no commit in common with its base.
    Unrelated(String),
}

impl Gitea {
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<BranchRow> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| Head::of_commit(&branch.commit.id)))
    }

    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // The name of a branch may contain slashes, which `git/commits` does not accept.
        let is_name = !reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_name && let Some(head) = self.branch(reference).await? {
            return Ok(Some(head.commit));
        }
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("git/commits/{reference}"), what);
        let commit: Option<ObjectRow> = self.http.find(&request, &[404, 422]).await?;
        Ok(commit.map(|commit| commit.sha))
    }

    pub(crate) async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        let commit = &head.commit;
        if let Some(tree) = self.trees.borrow().get(commit) {
            return Ok(tree.clone());
        }
        let request = self.request(
            Method::GET,
            &format!("git/trees/{commit}"),
            format!("listing the files of {commit}"),
        );
        let listing = self.http.gitea_files(&request, MAX_PAGES).await?;
        let tree = match listing {
            Some(listing) if !listing.files.truncated => listing.files.tree,
            Some(_) => {
                return Err(Error::unavailable(
                    &request.what,
                    "the listing does not end",
                ));
            }
            None => return Err(Error::unavailable(&request.what, "the commit is missing")),
        };
        self.trees.borrow_mut().insert(commit.clone(), tree.clone());
        Ok(tree)
    }

    pub(crate) async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut contents = Vec::new();
        for id in ids {
            let what = format!("reading the content {id}");
            let request = self.request(Method::GET, &format!("git/blobs/{id}"), what);
            contents.push(self.http.content(&request, id).await?);
        }
        Ok(contents)
    }

    /// Requests the branch first unless it is known to exist: Forgejo before version 12 responds
    /// 500 if it is missing.
    pub(crate) async fn compare(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error> {
        if !exists && self.branch(branch).await?.is_none() {
            return Ok(Comparison::Absent);
        }
        let commits = match self.branch_commits(base, branch).await? {
            BranchCommits::Listed(commits) => commits,
            BranchCommits::Absent => return Ok(Comparison::Absent),
            BranchCommits::Unrelated(head) => return Ok(Comparison::Unrelated(head)),
        };
        if commits.is_empty() {
            return self.without_commits(base, base_head, branch).await;
        }
        let what = format!("Gitea: comparing {branch} with {base}");
        let merge_base = merge_base(&commits)
            .ok_or_else(|| Error::unavailable(&what, "a commit on it has no parent"))?;
        let head = commits[0].sha.clone();
        let base = self.tree(&Head::of_commit(&merge_base)).await?;
        let changed = base.changes_to(&self.tree(&Head::of_commit(&head)).await?);
        Ok(Comparison::Related(AheadCommits {
            head,
            merge_base,
            commits: commits.into_iter().rev().map(Commit::from).collect(),
            changed,
        }))
    }

    pub(crate) async fn publish(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        state: &BranchState,
    ) -> Result<PublishOutcome, Error> {
        // After a survey, the parent of the commit shows whether the base moved.
        if new.surveyed.is_none() && self.base_moved(new).await? {
            return Ok(PublishOutcome::BaseMoved);
        }
        let replace = *state != BranchState::Absent && self.version().await?.replaces_branches();
        let destination = Destination {
            from: new.base,
            to: Some(branch),
            replace,
        };
        match (state, new.pull) {
            (BranchState::Absent, None) => self.change_files(new, &destination).await,
            (BranchState::Behind(head), _) if *head == new.parent.commit => {
                let destination = Destination {
                    from: branch,
                    to: None,
                    replace: false,
                };
                let outcome = self.change_files(new, &destination).await?;
                self.wait_for_pull(new, outcome).await
            }
            (BranchState::Behind(head) | BranchState::Diverged(head), _) if replace => {
                if self.branch_moved(branch, head).await? {
                    return Ok(raced());
                }
                let outcome = self.change_files(new, &destination).await?;
                self.wait_for_pull(new, outcome).await
            }
            (BranchState::Behind(head) | BranchState::Diverged(head), None) => {
                // Before the request, because its response may be lost.
                *self.deleted.borrow_mut() = Some(branch.to_owned());
                if let Some(outcome) = self.delete_branch(branch, head).await? {
                    if matches!(outcome, PublishOutcome::Raced(_)) {
                        *self.deleted.borrow_mut() = None;
                    }
                    return Ok(outcome);
                }
                self.change_files(new, &destination)
                    .await
                    .map_err(may_have_changed)
            }
            (_, Some(pull)) => {
                self.recreate_with_pull(new, &destination, state, pull)
                    .await
            }
        }
    }

    pub(crate) async fn rebuilding_closes(&self, state: &BranchState) -> Result<bool, Error> {
        Ok(*state == BranchState::Absent || !self.version().await?.replaces_branches())
    }

    async fn branch_commits(&self, base: &str, branch: &str) -> Result<BranchCommits, Error> {
        let what = format!("comparing {branch} with {base}");
        let path = format!("compare/{base}...{branch}");
        let mut request = self.request(Method::GET, &path, what);
        // A failure is retried only if the histories are related.
        request.attempts = Some(1);
        let mut sent = self.http.send(&request).await;
        if sent.as_ref().is_err_and(|failure| failure.unsure) {
            if let Some(head) = self.unrelated(base, branch).await {
                return Ok(BranchCommits::Unrelated(head));
            }
            request.attempts = None;
            sent = self.http.send(&request).await;
        }
        let error = match sent {
            Ok(reply) if reply.status == 404 => reply.error(),
            Ok(reply) => {
                let comparison: ComparisonRow = reply.expect(&[200])?;
                let commits = comparison.commits.unwrap_or_default();
                if commits.len() != comparison.total_commits {
                    return Err(Error::unavailable(
                        &request.what,
                        "the list of commits is incomplete",
                    ));
                }
                return Ok(BranchCommits::Listed(commits));
            }
            Err(failure) => failure.error,
        };
        // Either the branch was deleted, or the server is too old to compare branches.
        if self.branch(branch).await?.is_none() {
            return Ok(BranchCommits::Absent);
        }
        self.check_version().await?;
        Err(error)
    }

    /// The head of `branch` if it has no commit in common with `base`: every parent of a commit
    /// that `base` does not contain is such a commit itself. Gitea 1.26 responds 500 to a
    /// comparison of unrelated histories, and shows the reason only to administrators.
    async fn unrelated(&self, base: &str, branch: &str) -> Option<String> {
        let head = self.branch(branch).await.ok()??.commit;
        let base = self.branch(base).await.ok()??.commit;
        let what = format!("listing the commits of {branch}");
        let request = self
            .request(Method::GET, "commits", what)
            .query("sha", &head)
            .query("not", base)
            .query("stat", false)
            .query("verification", false)
            .query("files", false);
        let commits: Vec<CommitRow> = self.http.pages(&request, Paging::Counted).await.ok()?;
        let ids: BTreeSet<&str> = commits.iter().map(|commit| &*commit.sha).collect();
        let mut parents = commits.iter().flat_map(|commit| &commit.parents);
        let is_unrelated = ids.contains(&*head) && parents.all(|parent| ids.contains(&*parent.sha));
        is_unrelated.then_some(head)
    }

    /// The comparison of a branch for which the server lists no commits: `base` contains it, or the
    /// two have no commit in common.
    async fn without_commits(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
    ) -> Result<Comparison, Error> {
        let Some(head) = self.branch(branch).await? else {
            return Ok(Comparison::Absent);
        };
        let is_behind = head.commit == base_head.commit
            || matches!(
                self.branch_commits(branch, base).await?,
                BranchCommits::Listed(commits) if !commits.is_empty()
            );
        if !is_behind {
            return Ok(Comparison::Unrelated(head.commit));
        }
        Ok(Comparison::Related(AheadCommits {
            merge_base: head.commit.clone(),
            head: head.commit,
            commits: Vec::new(),
            changed: BTreeMap::new(),
        }))
    }
}

/// The merge base, computed from the commits of the branch: the first parent outside of them on the
/// way back from the newest commit.
fn merge_base(commits: &[CommitRow]) -> Option<String> {
    let find = |id: &str| commits.iter().find(|commit| commit.sha == id);
    let mut commit = commits.first()?;
    // The number of steps is limited: a hostile server may list a cycle.
    for _ in commits {
        for parent in &commit.parents {
            if find(&parent.sha).is_none() {
                return Some(parent.sha.clone());
            }
        }
        commit = find(&commit.parents.first()?.sha)?;
    }
    None
}

//! Branches, trees, contents, comparisons, and the ways in which a commit is published.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::{
    Gitea,
    commits::{Destination, begun, raced},
    nullable,
};
use crate::{
    error::Error,
    forge::{
        AheadCommits, BranchState, Branches, Commit, Comparison, Head, NewCommit, PublishOutcome,
        Repository, Tree,
        http::{PAGES_MAX, Paging},
    },
};

#[derive(Deserialize)]
struct Branch {
    commit: BranchCommit,
}

#[derive(Deserialize)]
struct BranchCommit {
    id: String,
}

#[derive(Deserialize)]
struct ComparisonRow {
    total_commits: usize,
    commits: Option<Vec<CommitRow>>,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    commit: Message,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectName>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
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

/// The result of comparing two branches.
enum Listed {
    /// The commits that one has and the other lacks, the newest first.
    Commits(Vec<CommitRow>),
    /// One of the branches is missing.
    Absent,
    /// The branches have no commit in common; the head of the compared one.
    Unrelated(String),
}

#[async_trait(?Send)]
impl Branches for Gitea {
    async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| Head::of_commit(&branch.commit.id)))
    }

    async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // A branch's name may have slashes, which the other destination does not take.
        let named = !reference.bytes().all(|b| b.is_ascii_hexdigit());
        if named && let Some(head) = self.branch(reference).await? {
            return Ok(Some(head.commit));
        }
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("git/commits/{reference}"), what);
        let named: Option<ObjectName> = self.http.find(&request, &[404, 422]).await?;
        Ok(named.map(|named| named.sha))
    }

    async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        let commit = &head.commit;
        if let Some(tree) = self.trees.borrow().get(commit) {
            return Ok(tree.clone());
        }
        let request = self.request(
            Method::GET,
            &format!("git/trees/{commit}"),
            format!("listing the files of {commit}"),
        );
        let unread = |reason| Error::unavailable(&request.what, reason);
        let listed = self.http.gitea_files(&request, PAGES_MAX).await?;
        let listed = listed.ok_or_else(|| unread("the commit is missing"))?;
        if listed.files.truncated {
            return Err(unread("the listing does not end"));
        }
        let tree = listed.files.tree;
        self.trees.borrow_mut().insert(commit.clone(), tree.clone());
        Ok(tree)
    }

    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut contents = Vec::new();
        for id in ids {
            contents.push(self.read_blob(id).await?);
        }
        Ok(contents)
    }

    /// Unless it is known to exist, the branch is read first: servers before Forgejo 12 answer 500
    /// where it is missing.
    async fn ahead(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
        exists: bool,
    ) -> Result<Comparison, Error> {
        if !exists && self.branch(branch).await?.is_none() {
            return Ok(Comparison::Absent);
        }
        let commits = match self.listed(base, branch).await? {
            Listed::Commits(commits) => commits,
            Listed::Absent => return Ok(Comparison::Absent),
            Listed::Unrelated(head) => return Ok(Comparison::Unrelated(head)),
        };
        if commits.is_empty() {
            return self.without_commits(base, base_head, branch).await;
        }
        let what = format!("Gitea: comparing {branch} with {base}");
        let none = || Error::unavailable(&what, "a commit on it has no parent");
        let merge_base = merge_base(&commits).ok_or_else(none)?;
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

    async fn publish(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        was: &BranchState,
    ) -> Result<PublishOutcome, Error> {
        // A commit on a base that moved since a survey has another parent.
        if new.surveyed.is_none() && self.base_moved(new).await? {
            return Ok(PublishOutcome::BaseMoved);
        }
        let absent = *was == BranchState::Absent;
        let replace = !absent && self.version().await?.replaces_branches();
        let destination = Destination {
            from: new.base,
            to: Some(branch),
            replace,
        };
        match (was, new.pull) {
            (BranchState::Absent, None) => self.change_files(new, &destination).await,
            (BranchState::Behind(head), _) if *head == new.parent.commit => {
                let destination = Destination {
                    from: branch,
                    to: None,
                    replace: false,
                };
                let published = self.change_files(new, &destination).await?;
                self.follow(new, published).await
            }
            (BranchState::Behind(head) | BranchState::Diverged(head), _) if replace => {
                if self.is_elsewhere(branch, head).await? {
                    return Ok(raced());
                }
                let published = self.change_files(new, &destination).await?;
                self.follow(new, published).await
            }
            (BranchState::Behind(head) | BranchState::Diverged(head), None) => {
                if let Some(raced) = self.delete_branch(branch, head).await? {
                    return Ok(raced);
                }
                *self.deleted.borrow_mut() = Some(branch.to_owned());
                self.change_files(new, &destination).await.map_err(begun)
            }
            (_, Some(pull)) => self.carry(new, &destination, was, pull).await,
        }
    }

    async fn rebuilding_closes(&self, was: &BranchState) -> Result<bool, Error> {
        Ok(*was == BranchState::Absent || !self.version().await?.replaces_branches())
    }
}

impl Gitea {
    async fn read_blob(&self, id: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(
            Method::GET,
            &format!("git/blobs/{id}"),
            format!("reading the content {id}"),
        );
        self.http.content(&request, id).await
    }

    /// The commits of `branch` that `base` lacks.
    async fn listed(&self, base: &str, branch: &str) -> Result<Listed, Error> {
        let what = format!("comparing {branch} with {base}");
        let path = format!("compare/{base}...{branch}");
        let mut request = self.request(Method::GET, &path, what);
        // A failure is not retried before it is known that the histories are related.
        request.attempts = Some(1);
        let mut sent = self.http.send(&request).await;
        if sent.as_ref().is_err_and(|failure| failure.unsure) {
            if let Some(head) = self.unrelated(base, branch).await {
                return Ok(Listed::Unrelated(head));
            }
            request.attempts = None;
            sent = self.http.send(&request).await;
        }
        let failed = match sent {
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
                return Ok(Listed::Commits(commits));
            }
            Err(failure) => failure.error,
        };
        // Either the branch is gone by now, or the server cannot compare.
        if self.branch(branch).await?.is_none() {
            return Ok(Listed::Absent);
        }
        self.supported().await?;
        Err(failed)
    }

    /// The head of `branch` if it has no commit in common with `base`: every parent of a commit that
    /// `base` lacks is such a commit itself. Gitea 1.26 answers 500 to a comparison of unrelated
    /// histories, and shows the reason to administrators alone.
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
        let names: BTreeSet<&str> = commits.iter().map(|commit| &*commit.sha).collect();
        let mut parents = commits.iter().flat_map(|commit| &commit.parents);
        let closed = parents.all(|parent| names.contains(&*parent.sha));
        (closed && names.contains(&*head)).then_some(head)
    }

    /// A branch without commits of its own is behind its base, or has nothing in common with it: the
    /// server lists no commits for either.
    async fn without_commits(
        &self,
        base: &str,
        base_head: &Head,
        branch: &str,
    ) -> Result<Comparison, Error> {
        let Some(head) = self.branch(branch).await? else {
            return Ok(Comparison::Absent);
        };
        let head = head.commit;
        let behind = head == base_head.commit
            || matches!(self.listed(branch, base).await?, Listed::Commits(commits) if !commits.is_empty());
        if !behind {
            return Ok(Comparison::Unrelated(head));
        }
        Ok(Comparison::Related(AheadCommits {
            merge_base: head.clone(),
            head,
            commits: Vec::new(),
            changed: BTreeMap::new(),
        }))
    }
}

/// The last commit that both have, from the commits of the branch alone: the first parent outside of
/// them on the way back from the newest.
fn merge_base(commits: &[CommitRow]) -> Option<String> {
    let mut at = commits.first()?;
    for _ in commits {
        let listed = |parent: &ObjectName| commits.iter().find(|commit| commit.sha == parent.sha);
        if let Some(outside) = at.parents.iter().find(|parent| listed(parent).is_none()) {
            return Some(outside.sha.clone());
        }
        at = listed(at.parents.first()?)?;
    }
    None
}

//! Branches, trees, contents, comparisons, and the steps of publishing a commit.

use std::collections::{BTreeMap, HashMap};

use reqwest::Method;
use serde::Deserialize;

use super::{
    Github,
    graphql::{MAX_BLOBS, RefUpdate},
    repository,
    signed_commits::{self, CommitAttempt},
};
use crate::{
    base::error::Error,
    forge::{
        AheadCommits, BranchState, Commit, Comparison, Head, NewCommit, PublishOutcome, Tree,
        TreeEntry, blob_id,
        fleet::FileListing,
        http::{MAX_PAGES, PAGE},
    },
};

/// The maximum number of files in a comparison (REST API, "Compare two commits").
const MAX_FILES: usize = 300;

#[derive(Deserialize)]
pub(super) struct ObjectRow {
    pub(super) sha: String,
}

#[derive(Deserialize)]
pub(super) struct TreeRow {
    sha: String,
    #[serde(default)]
    truncated: bool,
    tree: Vec<EntryRow>,
}

#[derive(Deserialize)]
struct EntryRow {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct ComparisonRow {
    ahead_by: usize,
    merge_base_commit: ObjectRow,
    commits: Vec<CommitRow>,
    #[serde(default)]
    files: Vec<FileRow>,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    commit: Message,
    #[serde(default)]
    parents: Vec<ObjectRow>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct FileRow {
    sha: Option<String>,
    filename: String,
    status: String,
    previous_filename: Option<String>,
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

impl Github {
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let branch = self.branch_head(name).await?;
        Ok(branch.map(|branch| branch.head))
    }

    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("commits/{reference}"), what);
        let commit: Option<ObjectRow> = self.http.find(&request, &[404, 422]).await?;
        Ok(commit.map(|commit| commit.sha))
    }

    pub(crate) async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        let what = format!("listing the files of {}", head.commit);
        let request = self
            .request(Method::GET, &tree_path(head), what)
            .query("recursive", 1);
        let listing = listing(self.http.send(&request).await?.expect(&[200])?);
        if listing.truncated {
            let reason =
                "the forge's list of files is incomplete: it lists at most 100,000 files or 7 MB";
            return Err(Error::unavailable(&request.what, reason)
                .help("promote with --apply in a clone, and push"));
        }
        Ok(listing.tree)
    }

    pub(crate) async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut texts = Vec::new();
        if ids.len() > 1 {
            for ids in ids.chunks(MAX_BLOBS) {
                let Some(more) = self.texts(ids).await? else {
                    break;
                };
                texts.extend(more);
            }
        }
        texts.resize(ids.len(), None);
        let mut contents = Vec::new();
        for (id, text) in ids.iter().zip(texts) {
            // GraphQL returns only text, and alters text that is not valid UTF-8: the id shows it.
            contents.push(match text.map(String::into_bytes) {
                Some(content) if blob_id(&content, id) == *id => content,
                _ => {
                    let what = format!("reading the content {id}");
                    let request = self.request(Method::GET, &format!("git/blobs/{id}"), what);
                    self.http.content(&request, id).await?
                }
            });
        }
        Ok(contents)
    }

    pub(crate) async fn compare(
        &self,
        base_head: &Head,
        branch: &str,
    ) -> Result<Comparison, Error> {
        let path = format!("compare/{}...{branch}", base_head.commit);
        let request = self.request(
            Method::GET,
            &path,
            format!("comparing {branch} with its base"),
        );
        let reply = self
            .http
            .send(&request.clone().query("per_page", PAGE).query("page", 1))
            .await?;
        if reply.status == 404 {
            // The branch is missing or has no common ancestor with the base.
            if reply.text().contains("No common ancestor")
                && let Some(head) = self.branch(branch).await?
            {
                return Ok(Comparison::Unrelated(head.commit));
            }
            return Ok(Comparison::Absent);
        }
        let mut comparison: ComparisonRow = reply.expect(&[200])?;
        // The commits are paged, the oldest first; the first page contains all files.
        for page in 2..=MAX_PAGES {
            if comparison.commits.len() >= comparison.ahead_by {
                break;
            }
            let more = request.clone().query("per_page", PAGE).query("page", page);
            let more: ComparisonRow = self.http.send(&more).await?.expect(&[200])?;
            if more.commits.is_empty() || more.ahead_by != comparison.ahead_by {
                break;
            }
            comparison.commits.extend(more.commits);
        }
        if comparison.commits.len() != comparison.ahead_by {
            return Err(Error::unavailable(
                &request.what,
                "the list of commits is incomplete",
            ));
        }
        let merge_base = comparison.merge_base_commit.sha;
        let head = comparison
            .commits
            .last()
            .map_or_else(|| merge_base.clone(), |commit| commit.sha.clone());
        let changed = if comparison.files.len() < MAX_FILES {
            changed(comparison.files)
        } else {
            let base = self.tree(&Head::of_commit(&merge_base)).await?;
            base.changes_to(&self.tree(&Head::of_commit(&head)).await?)
        };
        Ok(Comparison::Related(AheadCommits {
            head,
            merge_base,
            commits: comparison.commits.into_iter().map(Commit::from).collect(),
            changed,
        }))
    }

    pub(crate) async fn publish(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        state: &BranchState,
    ) -> Result<PublishOutcome, Error> {
        let rules = self.read_rules(new.base).await?.unwrap_or_default();
        let surveyed = new.surveyed.is_some_and(|base| base.requires_signatures);
        let must_sign = rules.signatures || surveyed;
        let can_sign = self.sign_obstacle(signed_commits::modes(new)).is_none();
        let sign = (must_sign && can_sign).then_some(branch);
        let mut attempt = self.create_commit(new, sign).await?;
        if new.surveyed.is_none() {
            // The base is read as late as possible: it must be at the commit of the plan.
            let base = self.branch_head(new.base).await?;
            let Some(base) = base.filter(|base| base.head.commit == new.parent.commit) else {
                return Ok(PublishOutcome::BaseMoved);
            };
            // Rule sets do not contain the requirements of the protection.
            let is_signed = matches!(attempt, CommitAttempt::Commit { signed: true, .. });
            if !is_signed
                && !must_sign
                && base.protected
                && self.protection_requires_signatures(new.base).await?
            {
                if !can_sign {
                    return Err(self.unsigned(new));
                }
                attempt = self.create_commit(new, Some(branch)).await?;
                if matches!(attempt, CommitAttempt::Commit { signed: false, .. }) {
                    return Err(self.unsigned(new));
                }
            }
        }
        let commit = match attempt {
            CommitAttempt::Commit { signed: false, .. } if must_sign => {
                return Err(self.unsigned(new));
            }
            CommitAttempt::Commit { id, .. } => id,
            CommitAttempt::Raced(reason) => return Ok(PublishOutcome::Raced(reason)),
        };
        match state {
            BranchState::Absent => self.create_branch(new, branch, commit).await,
            BranchState::Behind(_) => self.forward_branch(new, branch, commit).await,
            BranchState::Diverged(from) => {
                match self.update_ref(new.repo, branch, from, &commit).await? {
                    RefUpdate::Done => Ok(PublishOutcome::Done(commit)),
                    RefUpdate::Refused(error) => Ok(PublishOutcome::Refused(
                        repository::of_branch(error, branch),
                    )),
                    RefUpdate::Unsupported => self.force_branch(new, branch, from, commit).await,
                }
            }
        }
    }
}

/// The path of a tree, by its id if that is known.
pub(super) fn tree_path(head: &Head) -> String {
    let id = if head.tree.is_empty() {
        &head.commit
    } else {
        &head.tree
    };
    format!("git/trees/{id}")
}

pub(super) fn listing(row: TreeRow) -> FileListing {
    let mut listing = FileListing {
        tree: Tree {
            id: row.sha,
            entries: BTreeMap::new(),
        },
        sizes: HashMap::new(),
        truncated: row.truncated,
    };
    for row in row.tree.into_iter().filter(|row| row.kind != "tree") {
        if let Some(size) = row.size {
            listing.sizes.insert(row.sha.clone(), size);
        }
        let (mode, id) = (row.mode, row.sha);
        listing
            .tree
            .entries
            .insert(row.path, TreeEntry { mode, id });
    }
    listing
}

fn changed(files: Vec<FileRow>) -> BTreeMap<String, Option<String>> {
    let mut changed = BTreeMap::new();
    for file in files {
        if let Some(previous) = file.previous_filename
            && file.status == "renamed"
        {
            changed.insert(previous, None);
        }
        let id = file.sha.filter(|_| file.status != "removed");
        changed.insert(file.filename, id);
    }
    changed
}

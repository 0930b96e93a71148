//! Branches, trees, contents, comparisons, and the order in which a commit is published.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::{
    Github,
    graphql::{AT_ONCE, Moved},
    refusal,
    signed_commits::{self, CommitAttempt},
};
use crate::{
    error::Error,
    forge::{
        AheadCommits, BranchState, Branches, Commit, Comparison, Entry, Head, NewCommit,
        PublishOutcome, Tree, blob_id,
        fleet::FileListing,
        http::{PAGE, PAGES_MAX},
    },
};

/// A comparison lists at most so many files (REST API, "Compare two commits").
const FILES_MAX: usize = 300;

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
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
    merge_base_commit: ObjectName,
    commits: Vec<CommitRow>,
    #[serde(default)]
    files: Vec<FileRow>,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    commit: Message,
    #[serde(default)]
    parents: Vec<ObjectName>,
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

#[async_trait(?Send)]
impl Branches for Github {
    async fn branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let branch = self.branch_head(name).await?;
        Ok(branch.map(|branch| branch.head))
    }

    async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("commits/{reference}"), what);
        let named: Option<ObjectName> = self.http.find(&request, &[404, 422]).await?;
        Ok(named.map(|named| named.sha))
    }

    async fn tree(&self, head: &Head) -> Result<Tree, Error> {
        let id = if head.tree.is_empty() {
            &head.commit
        } else {
            &head.tree
        };
        let what = format!("listing the files of {}", head.commit);
        let request = self
            .request(Method::GET, &format!("git/trees/{id}"), what)
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

    async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut contents = vec![None; ids.len()];
        if ids.len() > 1 {
            for (chunk, ids) in ids.chunks(AT_ONCE).enumerate() {
                let Some(texts) = self.texts(ids).await? else {
                    break;
                };
                for (at, text) in texts.into_iter().enumerate() {
                    // Only text comes this way, and what is not quite UTF-8 comes changed: the name
                    // shows it.
                    contents[chunk * AT_ONCE + at] = text
                        .map(String::into_bytes)
                        .filter(|content| blob_id(content, &ids[at]) == ids[at]);
                }
            }
        }
        let mut all = Vec::new();
        for (id, content) in ids.iter().zip(contents) {
            all.push(if let Some(content) = content {
                content
            } else {
                self.read_blob(id).await?
            });
        }
        Ok(all)
    }

    async fn ahead(
        &self,
        _base: &str,
        base_head: &Head,
        branch: &str,
        _exists: bool,
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
            // It answers 404 to a branch that is missing and to one without a common ancestor.
            return Ok(if reply.text().contains("No common ancestor") {
                let head = self.branch(branch).await?;
                head.map_or(Comparison::Absent, |head| {
                    Comparison::Unrelated(head.commit)
                })
            } else {
                Comparison::Absent
            });
        }
        let mut comparison: ComparisonRow = reply.expect(&[200])?;
        // The commits come in pages, the oldest first; the files all with the first.
        for page in 2..=PAGES_MAX {
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
        let changed = if comparison.files.len() < FILES_MAX {
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

    async fn publish(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        was: &BranchState,
    ) -> Result<PublishOutcome, Error> {
        let rules = self.read_rules(new.base).await?.unwrap_or_default();
        let required = rules.signatures || new.surveyed.is_some_and(|it| it.requires_signatures);
        let can_sign = self.sign_obstacle(signed_commits::modes(new)).is_none();
        let sign = (required && can_sign).then_some(branch);
        let mut made = self.objects(new, sign).await?;
        if new.surveyed.is_none() {
            // As late as can be: what was planned against is still there.
            let base = self.branch_head(new.base).await?;
            let Some(base) = base.filter(|base| base.head.commit == new.parent.commit) else {
                return Ok(PublishOutcome::BaseMoved);
            };
            // Rule sets do not show what a branch's protection requires.
            let signed = matches!(made, CommitAttempt::Commit { signed: true, .. });
            if !signed
                && !required
                && base.protected
                && self.protection_requires_signatures(new.base).await?
            {
                if !can_sign {
                    return Err(self.unsigned(new));
                }
                made = self.objects(new, Some(branch)).await?;
                if matches!(made, CommitAttempt::Commit { signed: false, .. }) {
                    return Err(self.unsigned(new));
                }
            }
        }
        let commit = match made {
            CommitAttempt::Commit { signed: false, .. } if required => {
                return Err(self.unsigned(new));
            }
            CommitAttempt::Commit { id, .. } => id,
            CommitAttempt::Raced(reason) => return Ok(PublishOutcome::Raced(reason)),
        };
        match was {
            BranchState::Absent => self.create_branch(new, branch, commit).await,
            BranchState::Behind(_) => self.forward_branch(new, branch, commit).await,
            BranchState::Diverged(from) => match self
                .update_ref(new.repo, branch, from, &commit)
                .await?
            {
                Moved::Yes => Ok(PublishOutcome::Done(commit)),
                Moved::No(error) => Ok(PublishOutcome::Refused(refusal::of_branch(error, branch))),
                Moved::Unknown => self.force_branch(new, branch, from, commit).await,
            },
        }
    }

    async fn rebuilding_closes(&self, _was: &BranchState) -> Result<bool, Error> {
        Ok(false)
    }
}

impl Github {
    async fn read_blob(&self, id: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(
            Method::GET,
            &format!("git/blobs/{id}"),
            format!("reading the content {id}"),
        );
        self.http.content(&request, id).await
    }
}

/// The files of a listing of a tree.
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
        listing.tree.entries.insert(row.path, Entry { mode, id });
    }
    listing
}

fn changed(files: Vec<FileRow>) -> BTreeMap<String, Option<String>> {
    let mut changed = BTreeMap::new();
    for file in files {
        if let (Some(previous), "renamed") = (file.previous_filename, file.status.as_str()) {
            changed.insert(previous, None);
        }
        let id = file.sha.filter(|_| file.status != "removed");
        changed.insert(file.filename, id);
    }
    changed
}

//! Reading: the repository, branches, trees, contents, and what a branch has that another has not.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;

use super::Github;
use crate::{
    error::Error,
    forge::{
        Ahead, Commit, Comparison, Entry, Head, Repo, Tree,
        http::{PAGE, PAGES_MAX, Request},
    },
};

/// A comparison lists at most so many files (REST API, "Compare two commits").
const FILES_MAX: usize = 300;

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: String,
    #[serde(default)]
    node_id: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    archived: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct Branch {
    commit: BranchCommit,
    #[serde(default)]
    protected: bool,
}

#[derive(Deserialize)]
struct BranchCommit {
    sha: String,
    commit: Inner,
}

#[derive(Deserialize)]
struct Inner {
    tree: Named,
}

#[derive(Deserialize)]
struct Named {
    sha: String,
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    truncated: bool,
    tree: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

#[derive(Deserialize)]
struct Comparing {
    ahead_by: usize,
    merge_base_commit: Named,
    commits: Vec<Compared>,
    #[serde(default)]
    files: Vec<ChangedFile>,
}

#[derive(Deserialize)]
struct Compared {
    sha: String,
    commit: Message,
    #[serde(default)]
    parents: Vec<Named>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct ChangedFile {
    sha: Option<String>,
    filename: String,
    status: String,
    previous_filename: Option<String>,
}

impl Github {
    pub(super) async fn read_repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let repository: Repository = reply.expect(&[200])?;
        // Only classic tokens have scopes; for one that has none the header is empty, for others it
        // says nothing.
        let scopes = reply.header("x-oauth-scopes").map(|scopes| {
            scopes
                .split(',')
                .map(str::trim)
                .filter(|scope| !scope.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let scopes = scopes.filter(|scopes| !scopes.is_empty() || self.http.token().has_scopes());
        Ok(Repo {
            full_name: repository.full_name,
            default_branch: repository.default_branch,
            node: repository.node_id,
            may_push: repository.permissions.map(|permissions| permissions.push),
            scopes,
            public: !repository.private,
            archived: repository.archived,
        })
    }

    /// Whether the token is an app's; what such a one may do can't be read.
    pub(super) async fn is_installation(&self) -> Result<bool, Error> {
        let what = "GitHub: asking whether the token is an app's";
        let request =
            Request::new(Method::GET, ["installation", "repositories"], what).query("per_page", 1);
        Ok(self.http.send(&request).await?.status == 200)
    }

    pub(super) async fn read_branch(&self, name: &str) -> Result<Option<Head>, Error> {
        let branch = self.read_protected(name).await?;
        Ok(branch.map(|(head, _)| head))
    }

    /// A branch's head, and whether the branch is protected.
    pub(super) async fn read_protected(&self, name: &str) -> Result<Option<(Head, bool)>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| {
            let head = Head {
                commit: branch.commit.sha,
                tree: branch.commit.commit.tree.sha,
            };
            (head, branch.protected)
        }))
    }

    pub(super) async fn read_tree(&self, head: &Head) -> Result<Tree, Error> {
        let id = if head.tree.is_empty() {
            &head.commit
        } else {
            &head.tree
        };
        let what = format!("listing the files of {}", head.commit);
        let request = self
            .request(Method::GET, &format!("git/trees/{id}"), what)
            .query("recursive", 1);
        let listing: Listing = self.http.send(&request).await?.expect(&[200])?;
        if listing.truncated {
            let why = "the forge leaves files out: there are more than it lists at once (100,000, or 7 MB)";
            return Err(Error::unavailable(&request.what, why)
                .help("promote with --apply in a clone, and push"));
        }
        let files = listing
            .tree
            .into_iter()
            .filter(|entry| entry.kind != "tree");
        let entries = files
            .map(|entry| {
                (
                    entry.path,
                    Entry {
                        mode: entry.mode,
                        id: entry.sha,
                    },
                )
            })
            .collect();
        Ok(Tree {
            id: listing.sha,
            entries,
        })
    }

    pub(super) async fn read_blob(&self, id: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(
            Method::GET,
            &format!("git/blobs/{id}"),
            format!("reading the content {id}"),
        );
        self.http.content(&request, id).await
    }

    pub(super) async fn compare(&self, base: &Head, branch: &str) -> Result<Comparison, Error> {
        let path = format!("compare/{}...{branch}", base.commit);
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
                let head = self.read_branch(branch).await?;
                head.map_or(Comparison::Absent, |head| {
                    Comparison::Unrelated(head.commit)
                })
            } else {
                Comparison::Absent
            });
        }
        let mut comparison: Comparing = reply.expect(&[200])?;
        // The commits come in pages, the oldest first; the files all with the first.
        for page in 2..=PAGES_MAX {
            if comparison.commits.len() >= comparison.ahead_by {
                break;
            }
            let more = request.clone().query("per_page", PAGE).query("page", page);
            let more: Comparing = self.http.send(&more).await?.expect(&[200])?;
            if more.commits.is_empty() || more.ahead_by != comparison.ahead_by {
                break;
            }
            comparison.commits.extend(more.commits);
        }
        if comparison.commits.len() != comparison.ahead_by {
            return Err(Error::unavailable(
                &request.what,
                "its list of commits is not complete",
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
            let tree = |commit: &str| Head {
                commit: commit.to_owned(),
                tree: String::new(),
            };
            self.read_tree(&tree(&merge_base))
                .await?
                .changes_to(&self.read_tree(&tree(&head)).await?)
        };
        let commits = comparison.commits.into_iter();
        let commits = commits
            .map(|commit| Commit {
                id: commit.sha,
                message: commit.commit.message,
                parents: commit
                    .parents
                    .into_iter()
                    .map(|parent| parent.sha)
                    .collect(),
            })
            .collect();
        Ok(Comparison::Related(Ahead {
            head,
            merge_base,
            commits,
            changed,
        }))
    }
}

fn changed(files: Vec<ChangedFile>) -> BTreeMap<String, Option<String>> {
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

//! The head, configuration and pull requests of a repository.

use serde::Deserialize;
use serde_json::Value;

use super::{GiteaFleet, Listed, moved_to, request};
use crate::{
    error::{Class, Error},
    forge::{
        Commit, Head, Pull, PullState, Repo,
        fleet::{
            BranchHead, CONFIG_MAX, ConfigFile, FileListing, RepositoryName, RepositoryState,
            Survey, SurveyRequest,
        },
        gitea::{
            nullable, pull_requests,
            repository::{RepositoryRow, no_pull_requests},
        },
        http::{Reply, Request},
    },
};

/// Pull requests of a page: what servers show at most by default.
const PULLS: usize = 50;
/// Configurations that are kept.
const CONFIGS: usize = 64;

#[derive(Deserialize)]
struct BranchRow {
    commit: BranchCommit,
}

#[derive(Deserialize)]
struct BranchCommit {
    id: String,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    commit: CommitText,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectName>,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    tree: Option<ObjectName>,
}

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
}

/// The pull requests of a repository, as far as the first page shows them.
struct PullPage {
    repository: Option<RepositoryRow>,
    pulls: Vec<Pull>,
    all: bool,
}

/// A response about a repository.
enum Look {
    Moved(String),
    Missing,
    There(Reply),
}

impl GiteaFleet {
    /// Sends a request that a renamed or missing repository answers in its own way.
    async fn look(&self, mut request: Request) -> Result<Look, Error> {
        request.may_move = true;
        let reply = self.http.send(&request).await?;
        Ok(match reply.status.as_u16() {
            301 | 302 | 307 | 308 => Look::Moved(self.http.clean(&moved_to(&reply))),
            // Without pull requests or commits, too.
            404 | 409 => Look::Missing,
            _ => Look::There(reply),
        })
    }

    pub(super) async fn survey_one(&self, request: &SurveyRequest) -> Result<Survey, Error> {
        let repository = &request.repository;
        let pulls = match self.pulls(repository).await? {
            Look::Moved(to) => return Ok(Survey::Moved(to)),
            Look::Missing => PullPage {
                repository: None,
                pulls: Vec::new(),
                all: false,
            },
            Look::There(reply) => pull_page(&reply, repository)?,
        };
        let row = match pulls.repository {
            Some(row) => row,
            None => match self
                .look(super::request(repository, "", "reading the state"))
                .await?
            {
                Look::Moved(to) => return Ok(Survey::Moved(to)),
                Look::Missing => return Ok(Survey::Missing),
                Look::There(reply) => reply.expect(&[200])?,
            },
        };
        // The name of an organization may redirect silently.
        if !repository.is(&row.full_name) {
            return Ok(Survey::Moved(row.full_name));
        }
        if row.archived {
            return Ok(Survey::Archived);
        }
        if row.empty {
            return Ok(Survey::Empty);
        }
        if row.has_pull_requests == Some(false) {
            return Ok(Survey::Failed(no_pull_requests(&row.full_name)));
        }
        let repo = Repo::from(row);
        let base = request
            .base
            .as_ref()
            .unwrap_or(&repo.default_branch)
            .clone();
        let Some(listed) = self.list_branch(repository, &base).await? else {
            return Ok(Survey::NoBase(base));
        };
        let config = self
            .config(repository, &request.config, &listed.files)
            .await?;
        let ours = |pull: &Pull| pull.own && pull.head == request.branch && pull.base == base;
        let newest_pull = pulls.pulls.iter().map(|pull| pull.number).max();
        let mut ours: Vec<Pull> = pulls.pulls.into_iter().filter(ours).collect();
        ours.sort_by_key(|pull| pull.number);
        let open = ours.iter().rev().find(|pull| pull.state == PullState::Open);
        let branch = match open {
            Some(pull) if pull.head_exists => {
                Some(self.commit(repository, &pull.head_commit).await?)
            }
            _ => None,
        };
        self.keep(repository, &listed);
        Ok(Survey::Present(Box::new(RepositoryState {
            repo,
            base,
            head: Head::of_commit(&listed.commit),
            config,
            branch,
            pulls: ours,
            all_pulls: pulls.all,
            newest_pull: newest_pull.unwrap_or(0),
            requires_signatures: false,
        })))
    }

    async fn pulls(&self, repository: &RepositoryName) -> Result<Look, Error> {
        let listing = request(repository, "pulls", "listing the pull requests")
            .query("state", "all")
            .query("sort", "recentupdate")
            .query("limit", PULLS)
            .query("page", 1);
        self.look(listing).await
    }

    /// The files at a branch's head; `None`: the branch is missing.
    async fn list_branch(
        &self,
        repository: &RepositoryName,
        branch: &str,
    ) -> Result<Option<Listed>, Error> {
        // By its whole name, since a tag may have the same. It is one part of the path, which some
        // proxies don't pass on.
        let name = format!("refs/heads/{branch}");
        if let Some(listed) = self.list_files(repository, &name).await? {
            return Ok(Some(listed));
        }
        let path = format!("branches/{branch}");
        let found: Option<BranchRow> = self
            .http
            .find(
                &request(repository, &path, "reading the base branch"),
                &[404],
            )
            .await?;
        match found {
            Some(row) => self.list_files(repository, &row.commit.id).await,
            None => Ok(None),
        }
    }

    async fn config(
        &self,
        repository: &RepositoryName,
        path: &str,
        files: &FileListing,
    ) -> Result<ConfigFile, Error> {
        let Some(entry) = files.tree.entries.get(path) else {
            return Ok(if files.truncated {
                ConfigFile::Unusable("the forge's list of files is incomplete".to_owned())
            } else {
                ConfigFile::Missing
            });
        };
        if !entry.is_file() {
            return Ok(ConfigFile::Unusable("it is not a regular file".to_owned()));
        }
        if files
            .sizes
            .get(&entry.id)
            .is_some_and(|size| *size > CONFIG_MAX)
        {
            return Ok(ConfigFile::too_large());
        }
        if let Some(known) = self.configs.borrow().get(&entry.id) {
            return Ok(ConfigFile::of(known.clone()));
        }
        let content = self.read_blob(repository, &entry.id).await?;
        let mut configs = self.configs.borrow_mut();
        if configs.len() < CONFIGS && content.len() as u64 <= CONFIG_MAX {
            configs.insert(entry.id.clone(), content.clone());
        }
        Ok(ConfigFile::of(content))
    }

    async fn commit(&self, repository: &RepositoryName, id: &str) -> Result<BranchHead, Error> {
        let path = format!("git/commits/{id}");
        let request = request(repository, &path, "reading the head of the branch")
            .query("stat", false)
            .query("files", false)
            .query("verification", false);
        let row: CommitRow = self.http.send(&request).await?.expect(&[200])?;
        Ok(BranchHead {
            commit: Commit {
                id: row.sha,
                message: row.commit.message,
                parents: row.parents.into_iter().map(|parent| parent.sha).collect(),
            },
            tree: row.commit.tree.map(|tree| tree.sha).unwrap_or_default(),
        })
    }
}

/// The pull requests of a response, and the repository that they are made to.
fn pull_page(reply: &Reply, repository: &RepositoryName) -> Result<PullPage, Error> {
    let rows: Vec<Option<Value>> = reply.expect_list()?;
    let what = || format!("Gitea: listing the pull requests of {repository}");
    let mut page = PullPage {
        repository: None,
        pulls: Vec::new(),
        all: !reply.more(crate::forge::http::Paging::Counted, rows.len()),
    };
    for row in rows {
        // Gitea lists null for an entry that it could not load.
        let Some(mut row) = row else {
            return Err(Error::unavailable(
                what(),
                "the listing contains a null entry",
            ));
        };
        if page.repository.is_none() {
            page.repository = RepositoryRow::deserialize(&row["base"]["repo"]).ok();
        }
        // Only what a pull request needs: the rest is the repository, over and over.
        if let Some(base) = row["base"].as_object_mut() {
            base.remove("repo");
        }
        let name = page.repository.as_ref().map(|row| row.full_name.clone());
        let name = name.unwrap_or_else(|| repository.to_string());
        let row = pull_requests::Row::deserialize(row)
            .map_err(|_| Error::about(Class::Unavailable, what(), "malformed response"))?;
        page.pulls.push(row.pull(&name));
    }
    Ok(page)
}

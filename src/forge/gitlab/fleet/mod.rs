//! Many projects of one GitLab by REST, with several requests for each.
//!
//! A file contains the commit of its branch, which saves a request for the branch.

use std::{cell::RefCell, collections::HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, Url};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    below_project,
    branches::{BranchRow, CommitRow},
    named_project,
    pull_requests::Row,
    repository::Project,
    unreadable_by_job,
};
use crate::{
    base::{
        error::{Class, Error},
        files::MAX_CONFIG_SIZE,
    },
    forge::{
        PullState, Repo, Settings, Token,
        fleet::{
            ConfigFile, ContentRequest, Contents, FileListing, Head, ListQuery, MAX_FILE,
            RepositoryList, RepositoryName, RepositoryState, Survey, SurveyRequest, SurveyedBranch,
        },
        http::{Http, Paging, Request},
        shared::verified,
        token::TokenHeader,
    },
    git::{AheadCommit, TreeEntry},
};

/// The maximum size of the text in a symbolic link, in bytes (`PATH_MAX` of Linux).
const MAX_LINK: usize = 4096;

/// The projects of one GitLab.
#[derive(Debug)]
pub(crate) struct GitlabFleet {
    http: Http,
    /// The numbers of projects that were read.
    numbers: RefCell<HashMap<RepositoryName, u64>>,
}

#[derive(Deserialize)]
struct FileRow {
    content: String,
    encoding: String,
    size: u64,
    commit_id: String,
}

#[derive(Deserialize)]
struct EntryRow {
    id: String,
    path: String,
    #[serde(rename = "type")]
    kind: String,
    mode: String,
}

#[derive(Deserialize)]
struct NumberRow {
    iid: u64,
}

/// A response about a project.
enum Found {
    Missing(Error),
    Moved(String),
    Present(Box<Project>),
}

impl GitlabFleet {
    pub(crate) fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(api, token, TokenHeader::Private, settings)?,
            numbers: RefCell::default(),
        })
    }

    async fn project(&self, repository: &RepositoryName) -> Result<Found, Error> {
        let what = format!("GitLab: reading the state of {repository}");
        let request = named_project(repository.to_string(), what);
        let reply = self.http.send(&request).await?;
        if reply.status == 404 {
            return Ok(Found::Missing(reply.error()));
        }
        if reply.is_redirect() {
            let new = self.http.gitlab_new_name(&reply).await;
            let new = new.unwrap_or_default().unwrap_or_default();
            return Ok(Found::Moved(self.http.clean(&new)));
        }
        let project: Project = reply.expect(&[200])?;
        let name = Repo::from(&project).full_name;
        if !repository.is(&name) {
            return Ok(Found::Moved(self.http.clean(&name)));
        }
        let mut numbers = self.numbers.borrow_mut();
        numbers.insert(repository.clone(), project.id);
        Ok(Found::Present(Box::new(project)))
    }

    async fn number(&self, repository: &RepositoryName) -> Result<Option<u64>, Error> {
        let known = self.numbers.borrow().get(repository).copied();
        if known.is_some() {
            return Ok(known);
        }
        Ok(match self.project(repository).await? {
            Found::Present(project) => Some(project.id),
            Found::Missing(_) | Found::Moved(_) => None,
        })
    }

    /// A request below a project.
    async fn request(
        &self,
        repository: &RepositoryName,
        path: &[&str],
        what: &str,
    ) -> Result<Request, Error> {
        let what = format!("GitLab: {what} of {repository}");
        let number = self.number(repository).await?.ok_or_else(|| {
            let reason = "the project does not exist, or the token may not read it";
            Error::about(Class::Denied, &what, reason)
        })?;
        Ok(below_project(Method::GET, number, path, what))
    }
}

impl GitlabFleet {
    pub(crate) async fn survey_one(&self, request: &SurveyRequest) -> Result<Survey, Error> {
        let repository = &request.repository;
        let project = match self.project(repository).await? {
            Found::Missing(error) if self.http.token().is_of_job() => {
                return Err(unreadable_by_job(error));
            }
            Found::Missing(_) => return Ok(Survey::Missing),
            Found::Moved(to) => return Ok(Survey::Moved(to)),
            Found::Present(project) => project,
        };
        let repo = Repo::from(&*project);
        if repo.archived {
            return Ok(Survey::Archived);
        }
        if project.is_empty() {
            return Ok(Survey::Empty);
        }
        if let Some((reason, hint)) = project.disabled() {
            let what = format!("GitLab: {repository}");
            return Err(Error::about(Class::Denied, what, reason).help(hint));
        }
        let base = request.base.as_ref().unwrap_or(&repo.default_branch);
        let base = base.clone();
        let Some((commit, config)) = self.head_and_config(request, &base).await? else {
            return Ok(Survey::NoBase(base));
        };
        let what = "listing the merge requests";
        let listing = self.request(repository, &["merge_requests"], what).await?;
        let listing = listing.query("state", "all");
        let newest = listing
            .clone()
            .query("order_by", "created_at")
            .query("per_page", 1);
        let newest: Vec<NumberRow> = self.http.send(&newest).await?.expect(&[200])?;
        let own = listing
            .query("source_branch", &request.branch)
            .query("target_branch", &base);
        let rows: Vec<Row> = self.http.pages(&own, Paging::NextPage).await?;
        let mut pulls: Vec<_> = rows.into_iter().map(|row| row.pull(project.id)).collect();
        pulls.retain(|pull| pull.own && pull.head == request.branch && pull.base == base);
        pulls.sort_by_key(|pull| pull.number);
        let open = pulls
            .iter()
            .rev()
            .find(|pull| pull.state == PullState::Open);
        let branch = match open {
            Some(pull) => self.commit(repository, &pull.head_commit).await?,
            None => None,
        };
        Ok(Survey::Present(Box::new(RepositoryState {
            repo,
            base,
            head: Head::of_commit(&commit),
            config,
            branch: branch.map(|commit| SurveyedBranch {
                commit,
                tree: String::new(),
            }),
            pulls,
            all_pulls: true,
            newest_pull: newest.first().map_or(0, |row| row.iid),
            requires_signatures: false,
        })))
    }

    /// The head of the base branch, and the configuration there; `None` if the branch is missing.
    async fn head_and_config(
        &self,
        request: &SurveyRequest,
        base: &str,
    ) -> Result<Option<(String, ConfigFile)>, Error> {
        let (repository, path) = (&request.repository, &request.config);
        let segments = ["repository", "files", path];
        let file = self
            .request(repository, &segments, "reading the configuration")
            .await?
            .query("ref", base);
        let file: Option<FileRow> = self.http.find(&file, &[404]).await?;
        let Some(file) = file else {
            let segments = ["repository", "branches", base];
            let branch = self.request(repository, &segments, "reading the base branch");
            let branch: Option<BranchRow> = self.http.find(&branch.await?, &[404]).await?;
            return Ok(branch.map(|branch| (branch.commit.id, ConfigFile::Missing)));
        };
        let commit = file.commit_id;
        if file.size > MAX_CONFIG_SIZE {
            return Ok(Some((commit, ConfigFile::too_large())));
        }
        let content = (file.encoding == "base64")
            .then(|| STANDARD.decode(file.content.trim()).ok())
            .flatten();
        let Some(content) = content else {
            let what = format!("GitLab: reading the configuration of {repository}");
            return Err(Error::unavailable(what, "malformed base64"));
        };
        // GitLab shows the text of a symbolic link like that of a file.
        if content.len() <= MAX_LINK && !content.contains(&b'\n') {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let entries = self.tree(repository, &commit, directory, false).await?;
            let is_file = |entry: &EntryRow| entry.path == *path && entry.mode.starts_with("100");
            if !entries.iter().any(is_file) {
                let reason = "it is not a regular file".to_owned();
                return Ok(Some((commit, ConfigFile::Unusable(reason))));
            }
        }
        Ok(Some((commit, ConfigFile::from_bytes(content))))
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        id: &str,
    ) -> Result<Option<AheadCommit>, Error> {
        let path = ["repository", "commits", id];
        let request = self.request(repository, &path, "reading a commit").await?;
        let row: Option<CommitRow> = self.http.find(&request, &[404]).await?;
        Ok(row.map(AheadCommit::from))
    }

    /// The entries of a directory at a commit; none if the commit does not have it.
    async fn tree(
        &self,
        repository: &RepositoryName,
        commit: &str,
        directory: &str,
        recursive: bool,
    ) -> Result<Vec<EntryRow>, Error> {
        let what = format!("listing the files of {commit}");
        let path = ["repository", "tree"];
        let mut request = self
            .request(repository, &path, &what)
            .await?
            .query("ref", commit)
            .query("recursive", recursive);
        if !directory.is_empty() {
            request = request.query("path", directory);
        }
        match self.http.pages(&request, Paging::NextPage).await {
            Err(error) if error.status == Some(404) => Ok(Vec::new()),
            entries => entries,
        }
    }

    pub(crate) async fn files(
        &self,
        repository: &RepositoryName,
        head: &Head,
    ) -> Result<FileListing, Error> {
        let mut listing = FileListing::default();
        for entry in self.tree(repository, &head.commit, "", true).await? {
            if entry.kind != "tree" {
                let (mode, id) = (entry.mode, entry.id);
                let entries = &mut listing.tree.entries;
                entries.insert(entry.path, TreeEntry { mode, id });
            }
        }
        Ok(listing)
    }

    pub(crate) async fn read_contents(&self, request: &ContentRequest) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        for id in request.files.values() {
            if !contents.contains_key(id) {
                let content = self.blob(&request.repository, id).await?;
                contents.insert(id.clone(), content);
            }
        }
        Ok(contents)
    }

    /// The content of a blob, verified by its id.
    async fn blob(&self, repository: &RepositoryName, id: &str) -> Result<Vec<u8>, Error> {
        let path = ["repository", "blobs", id, "raw"];
        let mut request = self.request(repository, &path, "reading a blob").await?;
        request.max = MAX_FILE;
        let reply = self.http.send(&request).await?;
        reply.check(&[200])?;
        verified(reply.body, id, &request.what)
    }

    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let mut list = RepositoryList::default();
        let (projects, has) = match query {
            ListQuery::Owner { owner, topic, has } => {
                (self.owned(owner, topic.as_deref()).await?, has.as_deref())
            }
            ListQuery::Search(text) => {
                let what = "GitLab: searching projects";
                let request = Request::new(Method::GET, ["projects"], what);
                let request = request.query("search", text);
                (self.http.pages(&request, Paging::NextPage).await?, None)
            }
        };
        for project in projects {
            let project: Project = project;
            let repo = Repo::from(&project);
            if let Some(path) = has
                && !self.has_file(&project, &repo, path).await?
            {
                continue;
            }
            list.add(repo.full_name, repo.archived);
        }
        Ok(list.sorted())
    }

    /// The projects of a group and the groups below it, or of a user.
    async fn owned(&self, owner: &str, topic: Option<&str>) -> Result<Vec<Project>, Error> {
        let what = format!("GitLab: listing the projects of {owner}");
        for kind in ["groups", "users"] {
            let mut request = Request::new(Method::GET, [kind], what.clone());
            request
                .path
                .extend([owner.to_owned(), "projects".to_owned()]);
            if kind == "groups" {
                request = request.query("include_subgroups", true);
                // Projects of other groups that are shared with this one belong to those.
                request = request.query("with_shared", false);
            }
            if let Some(topic) = topic {
                request = request.query("topic", topic);
            }
            match self.http.pages(&request, Paging::NextPage).await {
                Err(error) if error.status == Some(404) => {}
                projects => return projects,
            }
        }
        let reason = format!("the server knows no `{owner}`, or does not show it to this token");
        Err(Error::about(Class::Input, what, reason).help("check the path of the group"))
    }

    /// Whether the default branch has a file at this path.
    async fn has_file(&self, project: &Project, repo: &Repo, path: &str) -> Result<bool, Error> {
        if project.is_empty() {
            return Ok(false);
        }
        let what = format!("GitLab: looking up a file of {}", repo.full_name);
        let segments = ["repository", "files", path];
        let request = below_project(Method::GET, project.id, &segments, what);
        let request = request.query("ref", &repo.default_branch);
        let file: Option<IgnoredAny> = self.http.find(&request, &[404]).await?;
        Ok(file.is_some())
    }
}

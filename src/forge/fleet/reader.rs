//! The reader of many repositories of one forge.

use std::collections::BTreeMap;

use reqwest::Url;

use super::{
    Ancestry, ContentRequest, Contents, FileListing, ListQuery, MAX_SURVEY, Ranges, RecentHistory,
    RepositoryList, RepositoryName, Survey, SurveyRequest,
};
use crate::{
    base::error::Error,
    forge::{Head, Kind, Settings, Token, gitea::GiteaFleet, github::GithubFleet},
};

/// The repositories of one forge. The first operation sends the first request.
#[derive(Debug)]
pub(crate) enum FleetReader {
    Github(GithubFleet),
    /// Gitea or Forgejo.
    Gitea(GiteaFleet),
}

macro_rules! forward {
    ($reader:expr, $client:ident => $call:expr) => {
        match $reader {
            Self::Github($client) => $call,
            Self::Gitea($client) => $call,
        }
    };
}

impl FleetReader {
    /// The repositories below the API at `api`.
    pub(crate) fn new(
        kind: Kind,
        api: &Url,
        token: Token,
        settings: Settings,
    ) -> Result<Self, Error> {
        Ok(match kind {
            Kind::Github => Self::Github(GithubFleet::new(api, token, settings)?),
            Kind::Gitea => Self::Gitea(GiteaFleet::new(api, token, settings)?),
        })
    }

    /// The number of repositories that are best surveyed with one call.
    pub(crate) fn batch_size(&self) -> usize {
        match self {
            Self::Github(_) => MAX_SURVEY,
            Self::Gitea(_) => 1,
        }
    }

    /// The state of each repository, in the requested order. A failure that concerns all of them is
    /// the result of each.
    pub(crate) async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        forward!(self, client => client.survey(requests).await)
    }

    /// The files of a commit.
    pub(crate) async fn files(
        &self,
        repository: &RepositoryName,
        head: &Head,
    ) -> Result<FileListing, Error> {
        forward!(self, client => client.files(repository, head).await)
    }

    /// The contents of files, those of each repository in the requested order.
    pub(crate) async fn contents(
        &self,
        requests: &[ContentRequest],
    ) -> Vec<Result<Contents, Error>> {
        forward!(self, client => client.contents(requests).await)
    }

    /// The last commits up to and including `head` that touched `files`: paths, and the ids of
    /// their contents at `head`.
    pub(crate) async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        forward!(self, client => client.recent(repository, head, files).await)
    }

    /// Whether a commit removes or renames a file.
    pub(crate) async fn removes_files(
        &self,
        repository: &RepositoryName,
        commit: &str,
    ) -> Result<bool, Error> {
        forward!(self, client => client.removes_files(repository, commit).await)
    }

    /// Whether the commit `older` is `newer` or an ancestor of it.
    pub(crate) async fn is_ancestor(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Ancestry, Error> {
        forward!(self, client => client.is_ancestor(repository, older, newer).await)
    }

    /// The commits that only `newer` has, and those that only `older` has, with at most three comparisons. Both
    /// are full ids.
    pub(crate) async fn ranges(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Ranges, Error> {
        forward!(self, client => client.ranges(repository, older, newer).await)
    }

    /// The repositories of an owner, or those that a search finds.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        forward!(self, client => client.list(query).await)
    }
}

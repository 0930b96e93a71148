//! The reader of many repositories of one forge.

use futures_util::future::join_all;
use reqwest::Url;

use super::{
    ContentRequest, Contents, FileListing, Head, ListQuery, MAX_SURVEY, RepositoryList,
    RepositoryName, Survey, SurveyRequest,
};
use crate::{
    base::error::Error,
    forge::{Kind, Settings, Token, gitea::GiteaFleet, github::GithubFleet, gitlab::GitlabFleet},
};

/// The repositories of one forge. The first operation sends the first request.
#[derive(Debug)]
pub(crate) enum FleetReader {
    Github(GithubFleet),
    /// Gitea or Forgejo.
    Gitea(GiteaFleet),
    Gitlab(GitlabFleet),
}

macro_rules! forward {
    ($reader:expr, $client:ident => $call:expr) => {
        match $reader {
            Self::Github($client) => $call,
            Self::Gitea($client) => $call,
            Self::Gitlab($client) => $call,
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
            Kind::Gitlab => Self::Gitlab(GitlabFleet::new(api, token, settings)?),
        })
    }

    /// The number of repositories that are best surveyed with one call.
    pub(crate) fn batch_size(&self) -> usize {
        match self {
            Self::Github(_) => MAX_SURVEY,
            Self::Gitea(_) | Self::Gitlab(_) => 1,
        }
    }

    /// The state of each repository, in the requested order. A failure that concerns all of them is
    /// the result of each.
    pub(crate) async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        match self {
            Self::Github(github) => github.survey(requests).await,
            Self::Gitea(gitea) => {
                one_by_one(requests, async |request| gitea.survey_one(request).await).await
            }
            Self::Gitlab(gitlab) => {
                one_by_one(requests, async |request| gitlab.survey_one(request).await).await
            }
        }
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
        match self {
            Self::Github(github) => github.contents(requests).await,
            Self::Gitea(gitea) => {
                join_all(requests.iter().map(|request| gitea.read_contents(request))).await
            }
            Self::Gitlab(gitlab) => {
                join_all(requests.iter().map(|request| gitlab.read_contents(request))).await
            }
        }
    }

    /// The repositories of an owner, or those that a search finds.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        forward!(self, client => client.list(query).await)
    }
}

async fn one_by_one(
    requests: &[SurveyRequest],
    survey: impl AsyncFn(&SurveyRequest) -> Result<Survey, Error>,
) -> Vec<Survey> {
    let mut surveys = Vec::new();
    for request in requests {
        surveys.push(survey(request).await.unwrap_or_else(Survey::Failed));
    }
    surveys
}

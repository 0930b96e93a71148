//! The reader of many repositories of one forge.
//!
//! Merges the histories of paths into one sequence of commits, each with all of the files.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use reqwest::Url;

use super::{
    ContentRequest, Contents, FileListing, Head, ListQuery, MAX_SURVEY, RECENT, RecentCommit,
    RecentHistory, RepositoryList, RepositoryName, Survey, SurveyRequest,
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

/// The common directory of the files, without a trailing slash; empty for the whole repository. For one
/// file, the file itself.
pub(in crate::forge) fn common_directory(files: &BTreeMap<String, String>) -> String {
    let mut paths = files.keys();
    let Some(first) = paths.next() else {
        return String::new();
    };
    let mut common: Vec<&str> = first.split('/').collect();
    for path in paths {
        let same = common.iter().zip(path.split('/'));
        let length = same.take_while(|(one, other)| *one == other).count();
        common.truncate(length);
    }
    common.join("/")
}

/// The history of one path, the newest commit first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathHistory {
    pub(crate) path: String,
    pub(crate) versions: Vec<PathVersion>,
    /// Whether these are all commits that touched the path.
    pub(crate) is_complete: bool,
}

/// A commit that touched a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathVersion {
    pub(crate) id: String,
    pub(crate) date: String,
    pub(crate) author: String,
    pub(crate) message: String,
    /// The id of the content; `None` if the path is not a regular file in this commit.
    pub(crate) content: Option<String>,
}

/// The recent history without contents, whose first commit must have `files`, the files of the head.
/// `purpose`: the purpose of the request, for the error.
pub(crate) fn merge_up_to(
    files: &BTreeMap<String, String>,
    histories: &[PathHistory],
    purpose: &str,
) -> Result<RecentHistory, Error> {
    let (commits, is_complete) = merge(histories);
    if commits.first().is_none_or(|commit| commit.files != *files) {
        let reason = "the history does not lead to the files of the base branch's head";
        return Err(Error::unavailable(purpose, reason));
    }
    let mut additions = BTreeSet::new();
    for history in histories {
        let mut existed = !history.is_complete;
        for version in history.versions.iter().rev() {
            let exists = version.content.is_some();
            if exists && !existed {
                additions.insert(version.id.clone());
            }
            existed = exists;
        }
    }
    Ok(RecentHistory {
        commits,
        is_complete,
        additions,
        contents: Contents::new(),
    })
}

/// The commits of all histories in one order, the newest first, at most [`RECENT`], and whether
/// those are all.
///
/// Every history has the order of the forge. So the next commit is one that is not an older commit
/// of any history; if there are more, the latest one by date. The result is cut at a contradiction
/// between histories.
fn merge(histories: &[PathHistory]) -> (Vec<RecentCommit>, bool) {
    let mut rests: Vec<&[PathVersion]> = histories
        .iter()
        .map(|history| history.versions.as_slice())
        .collect();
    let mut commits = Vec::new();
    while commits.len() < RECENT {
        let older: BTreeSet<&str> = rests
            .iter()
            .flat_map(|rest| rest.iter().skip(1))
            .map(|version| version.id.as_str())
            .collect();
        let next = rests
            .iter()
            .filter_map(|rest| rest.first())
            .filter(|version| !older.contains(version.id.as_str()))
            .max_by(|one, other| one.date.cmp(&other.date));
        let Some(next) = next else {
            break;
        };
        let mut files = BTreeMap::new();
        for (history, rest) in histories.iter().zip(&rests) {
            match rest.first() {
                Some(version) => {
                    if let Some(content) = &version.content {
                        files.insert(history.path.clone(), content.clone());
                    }
                }
                None if history.is_complete => {}
                // The earlier contents of this file are unknown.
                None => return (commits, false),
            }
        }
        commits.push(RecentCommit {
            id: next.id.clone(),
            date: next.date.clone(),
            author: next.author.clone(),
            message: next.message.clone(),
            files,
        });
        for rest in &mut rests {
            if rest.first().is_some_and(|version| version.id == next.id) {
                *rest = &rest[1..];
            }
        }
    }
    let is_complete = rests.iter().all(|rest| rest.is_empty())
        && histories.iter().all(|history| history.is_complete);
    (commits, is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions as `ID=CONTENT`, dated by `dates`.
    fn history(path: &str, versions: &[&str], is_complete: bool) -> PathHistory {
        let version = |text: &&str| {
            let (id, content) = text.split_once('=').unwrap();
            PathVersion {
                id: id.to_owned(),
                date: format!("2026-01-0{}T00:00:00Z", &id[1..]),
                author: String::new(),
                message: format!("message of {id}"),
                content: (!content.is_empty()).then(|| content.to_owned()),
            }
        };
        PathHistory {
            path: path.to_owned(),
            versions: versions.iter().map(version).collect(),
            is_complete,
        }
    }

    /// Each commit as `ID PATH=CONTENT …`.
    fn merged(histories: &[PathHistory]) -> (Vec<String>, bool) {
        let (commits, is_complete) = merge(histories);
        let mut lines = Vec::new();
        for commit in commits {
            let files: Vec<_> = commit
                .files
                .iter()
                .map(|(path, content)| format!("{path}={content}"))
                .collect();
            lines.push(format!("{} {}", commit.id, files.join(" ")));
        }
        (lines, is_complete)
    }

    #[test]
    fn each_commit_contains_every_file() {
        let a = history("a", &["c4=a2", "c2=a1"], true);
        let b = history("b", &["c4=b3", "c3=b2", "c1=b1"], true);
        let all = ["c4 a=a2 b=b3", "c3 a=a1 b=b2", "c2 a=a1 b=b1", "c1 b=b1"];
        assert_eq!(
            merged(&[a.clone(), b.clone()]),
            (all.map(str::to_owned).to_vec(), true)
        );
        // The beginning of one history is unknown, and with it the file in earlier commits.
        let cut = PathHistory {
            is_complete: false,
            ..a
        };
        assert_eq!(
            merged(&[cut, b]),
            (all[..3].iter().map(|&s| s.to_owned()).collect(), false)
        );
    }

    #[test]
    fn added_files_are_listed() {
        let additions = |histories: &[PathHistory]| {
            let (commits, _) = merge(histories);
            let recent = merge_up_to(&commits[0].files, histories, "").unwrap();
            recent.additions.into_iter().collect::<Vec<_>>()
        };
        let b = history("b", &["c4=b2", "c1=b1"], true);
        assert_eq!(additions(std::slice::from_ref(&b)), ["c1"]);
        let restored = history("a", &["c4=a2", "c2=", "c1=a1"], true);
        assert_eq!(additions(&[restored, b.clone()]), ["c1", "c4"]);
        let cut = history("a", &["c4=a2", "c3=a1"], false);
        assert_eq!(additions(&[cut, b]), ["c1"]);
    }

    #[test]
    fn order_of_a_listing_precedes_dates() {
        // The dates of c2 and c9 contradict the listing that contains both.
        let a = history("a", &["c2=a2", "c9=a1"], true);
        let b = history("b", &["c9=b1"], true);
        let expected = ["c2 a=a2 b=b1", "c9 a=a1 b=b1"];
        assert_eq!(
            merged(&[b, a]),
            (expected.map(str::to_owned).to_vec(), true)
        );
        let a = history("a", &["c1=a2", "c2=a1"], true);
        let b = history("b", &["c2=b2", "c1=b1"], true);
        assert_eq!(merged(&[a, b]), (Vec::new(), false));
    }

    #[test]
    fn deleted_files_are_absent_and_commits_limited() {
        let a = history("a", &["c3=a2", "c2=", "c1=a1"], true);
        let expected = ["c3 a=a2", "c2 ", "c1 a=a1"];
        assert_eq!(merged(&[a]), (expected.map(str::to_owned).to_vec(), true));
        let version = |number: usize| PathVersion {
            id: format!("c{number}"),
            date: String::new(),
            author: String::new(),
            message: String::new(),
            content: Some(format!("a{number}")),
        };
        for (count, is_complete) in [(RECENT, true), (RECENT + 1, false)] {
            let long = PathHistory {
                path: "a".to_owned(),
                versions: (0..count).map(version).collect(),
                is_complete: true,
            };
            let (commits, all) = merge(&[long]);
            assert_eq!((commits.len(), all), (RECENT, is_complete));
        }
    }
}

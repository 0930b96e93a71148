//! Lists the repositories of an owner, or the results of a search.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};

use super::{GiteaFleet, request};
use crate::{
    base::error::Error,
    forge::{
        fleet::{ListQuery, RepositoryList, RepositoryName},
        gitea::repository::RepositoryRow,
        http::{PAGE, Paging, Request},
    },
};

#[derive(Deserialize)]
struct SearchRow {
    data: Option<Vec<Option<RepositoryRow>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ContentsRow {
    Entry {
        #[serde(rename = "type")]
        kind: String,
    },
    Directory(IgnoredAny),
}

impl GiteaFleet {
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let mut list = RepositoryList::default();
        match query {
            ListQuery::Owner { owner, topic, has } => {
                for row in self.owner_repositories(owner).await? {
                    if let Some(topic) = topic
                        && !has_topic(&row, topic)?
                    {
                        continue;
                    }
                    if let Some(path) = has
                        && !self.has_file(&row, path).await?
                    {
                        continue;
                    }
                    list.add(row.full_name, row.archived);
                }
            }
            ListQuery::Search(text) => {
                for row in self.search(text).await? {
                    list.add(row.full_name, row.archived);
                }
            }
        }
        Ok(list.sorted())
    }

    /// The repositories of an organization or of a user.
    async fn owner_repositories(&self, owner: &str) -> Result<Vec<RepositoryRow>, Error> {
        let what = format!("Gitea: listing the repositories of {owner}");
        let of = |kind| Request::new(Method::GET, [kind, owner, "repos"], what.clone());
        let requests = ["orgs", "users"].map(of);
        self.http.of_owner(requests, Paging::Counted, owner).await
    }

    async fn search(&self, text: &str) -> Result<Vec<RepositoryRow>, Error> {
        let request = Request::new(
            Method::GET,
            ["repos", "search"],
            "Gitea: searching repositories",
        )
        .query("q", text)
        .query("limit", PAGE);
        self.http
            .pages_of(&request, Paging::Counted, |reply| {
                Ok(reply.expect::<SearchRow>(&[200])?.data.unwrap_or_default())
            })
            .await
    }

    /// Whether the default branch has a file at this path.
    async fn has_file(&self, row: &RepositoryRow, path: &str) -> Result<bool, Error> {
        let Some(repository) = RepositoryName::parse(&row.full_name).filter(|_| !row.empty) else {
            return Ok(false);
        };
        let path = format!("contents/{path}");
        let request = request(&repository, &path, "looking up a file");
        let contents: Option<ContentsRow> = self.http.find(&request, &[404]).await?;
        Ok(matches!(contents, Some(ContentsRow::Entry { kind }) if kind == "file"))
    }
}

fn has_topic(row: &RepositoryRow, topic: &str) -> Result<bool, Error> {
    let Some(topics) = &row.topics else {
        let what = format!("Gitea: listing the topics of {}", row.full_name);
        return Err(Error::unavailable(what, "the server does not report them")
            .help("use --search, or upgrade the server"));
    };
    Ok(topics.iter().any(|known| known.eq_ignore_ascii_case(topic)))
}

//! The repositories of an owner, or those that the server's search finds.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};

use super::{GiteaFleet, request};
use crate::{
    error::{Class, Error},
    forge::{
        fleet::{ListQuery, RepositoryList, RepositoryName},
        gitea::repository::RepositoryRow,
        http::{PAGE, Paging, Reply, Request},
    },
};

#[derive(Deserialize)]
struct Found {
    data: Option<Vec<Option<RepositoryRow>>>,
}

impl GiteaFleet {
    pub(super) async fn read_list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let mut list = RepositoryList::default();
        match query {
            ListQuery::Owner { owner, topic, has } => {
                for row in self.of_owner(owner).await? {
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

    /// The repositories of an organization, or of a person.
    async fn of_owner(&self, owner: &str) -> Result<Vec<RepositoryRow>, Error> {
        let what = format!("Gitea: listing the repositories of {owner}");
        for top in ["orgs", "users"] {
            let request = Request::new(Method::GET, [top, owner, "repos"], what.clone());
            let first = request.clone().query("limit", 1).query("page", 1);
            if self
                .http
                .find::<IgnoredAny>(&first, &[404])
                .await?
                .is_some()
            {
                return self.http.pages(&request, Paging::Counted).await;
            }
        }
        let reason = format!("the server knows no `{owner}`, or does not show it to this token");
        Err(Error::about(Class::Input, what, reason).help("check the name of the organization"))
    }

    async fn search(&self, text: &str) -> Result<Vec<RepositoryRow>, Error> {
        let request = Request::new(
            Method::GET,
            ["repos", "search"],
            "Gitea: searching repositories",
        );
        let request = request.query("q", text).query("limit", PAGE);
        let rows = |reply: &Reply| Ok(reply.expect::<Found>(&[200])?.data.unwrap_or_default());
        self.http.pages_of(&request, Paging::Counted, rows).await
    }

    /// Whether the default branch has a file at this path.
    async fn has_file(&self, row: &RepositoryRow, path: &str) -> Result<bool, Error> {
        let Some(repository) = RepositoryName::parse(&row.full_name).filter(|_| !row.empty) else {
            return Ok(false);
        };
        let request = request(
            &repository,
            &format!("contents/{path}"),
            "looking up a file",
        );
        // A directory is a list.
        let found: Option<serde_json::Value> = self.http.find(&request, &[404]).await?;
        Ok(found.is_some_and(|file| file["type"] == "file"))
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

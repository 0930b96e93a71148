//! Lists the repositories of an owner, or the results of a search.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{GithubFleet, PageRow};
use crate::{
    base::error::{Class, Error},
    forge::{
        fleet::{ListQuery, RepositoryList},
        http::{MAX_PAGES, too_many_pages},
    },
};

/// The maximum number of results of a search (REST API, "Search", "About search").
const MAX_SEARCH: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingRow {
    page_info: PageRow,
    repository_count: Option<usize>,
    nodes: Vec<Option<RepositoryRow>>,
}

impl PageRow {
    /// The cursor of the page after that of `cursor`; `None` after the last page.
    fn next(self, cursor: Option<&str>) -> Result<Option<String>, &'static str> {
        match self.end_cursor {
            _ if !self.has_next_page => Ok(None),
            Some(next) if cursor != Some(&*next) => Ok(Some(next)),
            _ => Err("the listing is incomplete"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryRow {
    name_with_owner: String,
    is_archived: bool,
    file: Option<FileRow>,
    /// At most 20, the maximum of a repository (the documentation, "Classifying your repository with
    /// topics").
    topics: Option<TopicsRow>,
}

/// An object; only a file has an id here.
#[derive(Deserialize)]
struct FileRow {
    oid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicsRow {
    total_count: usize,
    nodes: Vec<TopicRow>,
}

#[derive(Deserialize)]
struct TopicRow {
    topic: TopicName,
}

#[derive(Deserialize)]
struct TopicName {
    name: String,
}

impl RepositoryRow {
    fn matches(&self, query: &ListQuery) -> bool {
        let ListQuery::Owner { topic, has, .. } = query else {
            return true;
        };
        let mut topics = self.topics.iter().flat_map(|topics| &topics.nodes);
        let has_topic = topic
            .as_ref()
            .is_none_or(|topic| topics.any(|row| row.topic.name.eq_ignore_ascii_case(topic)));
        let has_file = self.file.as_ref().is_some_and(|file| file.oid.is_some());
        has_topic && (has.is_none() || has_file)
    }
}

impl GithubFleet {
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let (text, mut variables, what) = match query {
            ListQuery::Owner { owner, topic, has } => (
                include_str!("../queries/owner_repositories.graphql"),
                json!({
                    "query": owner, "withTopics": topic.is_some(), "withFile": has.is_some(),
                    "file": has.as_ref().map(|path| format!("HEAD:{path}")),
                }),
                format!("listing the repositories of {owner}"),
            ),
            ListQuery::Search(text) => (
                include_str!("../queries/found_repositories.graphql"),
                json!({"query": text}),
                "searching repositories".to_owned(),
            ),
        };
        let mut list = RepositoryList::default();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            variables["after"] = json!(cursor);
            let page = self.page(text, &variables, query, &what).await?;
            for row in page.nodes.into_iter().flatten() {
                if row.matches(query) {
                    list.add(row.name_with_owner, row.is_archived);
                }
            }
            match page.page_info.next(cursor.as_deref()) {
                Ok(Some(next)) => cursor = Some(next),
                Ok(None) => return Ok(list.sorted()),
                Err(reason) => {
                    return Err(Error::unavailable(format!("GitHub: {what}"), reason));
                }
            }
        }
        Err(too_many_pages(&format!("GitHub: {what}")))
    }

    /// One page of the list; a missing part is an error.
    async fn page(
        &self,
        text: &str,
        variables: &Value,
        query: &ListQuery,
        what: &str,
    ) -> Result<ListingRow, Error> {
        let fields = self.query(text, variables, what, 1).await?;
        let what = format!("GitHub: {what}");
        if let Some(error) = fields.error_of("listing") {
            return Err(self.part_error(&what, error));
        }
        let row = fields.data.get("listing").unwrap_or(&Value::Null);
        let row = match query {
            ListQuery::Owner { owner, .. } if row.is_null() => {
                let reason =
                    format!("GitHub knows no `{owner}`, or does not show it to this token");
                return Err(Error::about(Class::Input, what, reason)
                    .help("check the name of the organization"));
            }
            ListQuery::Owner { .. } => &row["repositories"],
            ListQuery::Search(_) => row,
        };
        let row = ListingRow::deserialize(row).map_err(|error| self.malformed(&what, &error))?;
        if let Some(count) = row.repository_count.filter(|count| *count > MAX_SEARCH) {
            let reason =
                format!("the search finds {count} repositories, and GitHub shows {MAX_SEARCH}");
            return Err(Error::about(Class::Input, what, reason)
                .help("narrow the search, for example by `org:`, `topic:` or `language:`"));
        }
        for node in &row.nodes {
            // A repository that the token may not read is null.
            let is_complete = node.as_ref().is_some_and(|node| {
                let topics = node.topics.as_ref();
                topics.is_none_or(|topics| topics.nodes.len() >= topics.total_count)
            });
            if !is_complete {
                return Err(Error::unavailable(what, "the listing is incomplete"));
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_without_a_next_page_is_the_last() {
        let next = |has_next_page, end: Option<&str>, cursor| {
            let end_cursor = end.map(str::to_owned);
            let page = PageRow {
                has_next_page,
                end_cursor,
            };
            page.next(cursor)
        };
        assert_eq!(next(false, Some("a"), None), Ok(None));
        assert_eq!(next(false, None, Some("a")), Ok(None));
        assert_eq!(next(true, Some("b"), Some("a")), Ok(Some("b".to_owned())));
        let incomplete = Err("the listing is incomplete");
        assert_eq!(next(true, None, Some("a")), incomplete);
        assert_eq!(next(true, None, None), incomplete);
        assert_eq!(next(true, Some("a"), Some("a")), incomplete);
    }
}

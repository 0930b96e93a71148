//! The repositories of an owner, or those that GitHub's search finds.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{GithubFleet, PageRow};
use crate::{
    error::{Class, Error},
    forge::{
        fleet::{ListQuery, RepositoryList},
        http::PAGES_MAX,
    },
};

/// A search shows at most so many results (REST API, "Search", "About search").
const SEARCH_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingRow {
    page_info: PageRow,
    repository_count: Option<usize>,
    nodes: Vec<Option<RepositoryRow>>,
}

impl PageRow {
    /// The cursor of the page after that of `cursor`; `Ok(None)`: there is none.
    fn next(self, cursor: Option<&str>) -> Result<Option<String>, &'static str> {
        if !self.has_next_page {
            return Ok(None);
        }
        let next = self.end_cursor;
        match next.filter(|next| cursor != Some(next)) {
            Some(next) => Ok(Some(next)),
            None => Err("the listing is incomplete"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryRow {
    name_with_owner: String,
    is_archived: bool,
    file: Option<Value>,
    topics: Option<TopicsRow>,
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

/// The query for a page of the list, its variables, and the field that has the page.
struct Listing<'q> {
    query: &'q ListQuery,
    variables: BTreeMap<String, Value>,
}

impl Listing<'_> {
    fn text(&self, cursor: Option<&str>) -> String {
        let after = if cursor.is_some() { ",after:$a" } else { "" };
        let mut declared = String::from("$q:String!");
        if cursor.is_some() {
            declared += ",$a:String!";
        }
        let mut fields = String::from("nameWithOwner isArchived");
        if let ListQuery::Owner { topic, has, .. } = self.query {
            if topic.is_some() {
                // A repository has at most 20 (the documentation, "Classifying your repository with
                // topics").
                fields += " topics:repositoryTopics(first:20){totalCount nodes{topic{name}}}";
            }
            if has.is_some() {
                declared += ",$f:String!";
                fields += " file:object(expression:$f){...on Blob{oid}}";
            }
        }
        let page = "pageInfo{hasNextPage endCursor}";
        let mut text = format!("query({declared}){{");
        let _ = match self.query {
            ListQuery::Owner { .. } => write!(
                text,
                "listing:repositoryOwner(login:$q){{repositories(first:100,ownerAffiliations:[OWNER]{after}){{{page} nodes{{{fields}}}}}}}"
            ),
            ListQuery::Search(_) => write!(
                text,
                "listing:search(type:REPOSITORY,query:$q,first:100{after}){{repositoryCount {page} nodes{{...on Repository{{{fields}}}}}}}"
            ),
        };
        text + "}"
    }
}

impl RepositoryRow {
    /// Whether the list wants it.
    fn fits(&self, query: &ListQuery) -> bool {
        let ListQuery::Owner { topic, has, .. } = query else {
            return true;
        };
        let topics = || self.topics.iter().flat_map(|topics| &topics.nodes);
        let named = |topic: &String| topics().any(|row| row.topic.name.eq_ignore_ascii_case(topic));
        // What is no file has no fields.
        let is_file = |file: &Value| file["oid"].is_string();
        topic.as_ref().is_none_or(named)
            && (has.is_none() || self.file.as_ref().is_some_and(is_file))
    }
}

impl GithubFleet {
    pub(super) async fn read_list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        let mut variables = BTreeMap::new();
        let what = match query {
            ListQuery::Owner { owner, has, .. } => {
                variables.insert("q".to_owned(), json!(owner));
                if let Some(path) = has {
                    variables.insert("f".to_owned(), json!(format!("HEAD:{path}")));
                }
                format!("listing the repositories of {owner}")
            }
            ListQuery::Search(text) => {
                variables.insert("q".to_owned(), json!(text));
                "searching repositories".to_owned()
            }
        };
        let mut listing = Listing { query, variables };
        let mut list = RepositoryList::default();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let text = listing.text(cursor.as_deref());
            let page = self.page(&text, &listing.variables, query, &what).await?;
            for row in page
                .nodes
                .into_iter()
                .flatten()
                .filter(|row| row.fits(query))
            {
                list.add(row.name_with_owner, row.is_archived);
            }
            let next = page.page_info.next(cursor.as_deref());
            let next =
                next.map_err(|reason| Error::unavailable(format!("GitHub: {what}"), reason))?;
            let Some(next) = next else {
                return Ok(list.sorted());
            };
            listing.variables.insert("a".to_owned(), json!(next));
            cursor = Some(next);
        }
        let reason = format!("the listing has more than {PAGES_MAX} pages");
        Err(Error::unavailable(format!("GitHub: {what}"), reason))
    }

    /// One page of the list; whatever is missing of it is an error.
    async fn page(
        &self,
        text: &str,
        variables: &BTreeMap<String, Value>,
        query: &ListQuery,
        what: &str,
    ) -> Result<ListingRow, Error> {
        let fields = self.query(text, variables.clone(), what, 1).await?;
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
        if let Some(count) = row.repository_count.filter(|count| *count > SEARCH_MAX) {
            let reason =
                format!("the search finds {count} repositories, and GitHub shows {SEARCH_MAX}");
            return Err(Error::about(Class::Input, what, reason)
                .help("narrow the search, for example by `org:`, `topic:` or `language:`"));
        }
        let hidden = |row: &&RepositoryRow| {
            let topics = row.topics.as_ref();
            topics.is_some_and(|topics| topics.nodes.len() < topics.total_count)
        };
        // A null is a repository that the token may not see.
        if row.nodes.iter().any(Option::is_none)
            || row.nodes.iter().flatten().any(|row| hidden(&row))
        {
            return Err(Error::unavailable(what, "the listing is incomplete"));
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_leads_to_another_one_or_is_the_last() {
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

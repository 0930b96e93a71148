//! The tags of a repository (OCI distribution specification, "Listing Tags"): all of them, or an
//! error.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, LINK},
};
use serde::Deserialize;

use super::{
    Error, Remote,
    http::{Call, Reading},
    request_error::RequestError,
};
use crate::{oci::Tag, registry::Clock, untrusted::short};

/// The largest page, in bytes: docker-registry sends all tags in one.
const PAGE_MAX: u64 = 16 * 1024 * 1024;
const PAGES_MAX: usize = 5_000;
const TAGS_MAX: usize = 500_000;
/// Entries of a page; docker-registry 3 refuses more than 1000 by default.
const PAGE: usize = 1_000;
/// Linked pages in a row that may contain no new tag: some may be empty, but a circle of links has no
/// end.
const IDLE_MAX: usize = 100;
const ENDLESS: &str = "the listing does not end";
const IDLE: &str = "the listing does not end: 100 pages in a row contain no new tag";
/// How long a listing may take in all.
const WHOLE: Duration = Duration::from_secs(600);

/// The tags of a repository, and what time it was.
#[derive(Debug, Clone)]
pub struct Tags {
    /// All tags, in order; `None` if the registry has no such repository.
    pub tags: Option<Vec<Tag>>,
    /// The clocks as the last page came.
    pub clock: Clock,
}

#[derive(Deserialize)]
struct Page {
    /// May be `null`, but not missing: a page that says nothing about tags is no empty page.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All tags, in order; `None` if the registry has no such repository.
    pub async fn tags(&self) -> Result<Option<Vec<Tag>>, Error> {
        Ok(self.tags_at().await?.tags)
    }

    /// Whether the registry has such a repository; one page of its tags is requested.
    pub async fn is_there(&self) -> Result<bool, Error> {
        let ask = async {
            let page = Call {
                body: Reading::UpTo(PAGE_MAX),
                ..self.get("tags/list?n=1")?
            };
            let reply = self.ask(page, "pull").await?;
            if reply.status == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            parse(&self.success(reply)?.1).map(|_| true)
        };
        ask.await
            .map_err(|error: RequestError| self.error(error, &format!("tags of {self}")))
    }

    /// The same, with the registry's clock and the local clock.
    pub async fn tags_at(&self) -> Result<Tags, Error> {
        let mut clock = Clock {
            here: self.shared.http.now()(),
            server: None,
        };
        let tags = self
            .list(&mut clock)
            .await
            .map_err(|error| self.error(error, &format!("tags of {self}")))?;
        Ok(Tags { tags, clock })
    }

    async fn list(&self, clock: &mut Clock) -> Result<Option<Vec<Tag>>, RequestError> {
        let first = Call {
            body: Reading::UpTo(PAGE_MAX),
            ..self.get(&format!("tags/list?n={PAGE}"))?
        };
        let end = Instant::now() + WHOLE;
        let (mut pages, mut url) = (TagPages::default(), first.url.clone());
        loop {
            if Instant::now() > end {
                return Err(RequestError::unavailable(ENDLESS));
            }
            let call = Call {
                url: url.clone(),
                ..first.clone()
            };
            let reply = self.ask(call, "pull").await?;
            *clock = Clock::of(&reply.headers, self.shared.http.now());
            if reply.status == StatusCode::NOT_FOUND && pages.count == 0 {
                return Ok(None);
            }
            let (headers, bytes) = self.success(reply)?;
            let link = following(&headers, &url)?;
            url = match pages
                .take(parse(&bytes)?, link)
                .map_err(RequestError::unavailable)?
            {
                NextPage::Linked(next) => next,
                NextPage::After(tag) => self.get(&format!("tags/list?n={PAGE}&last={tag}"))?.url,
                NextPage::Complete => return Ok(Some(pages.tags.into_iter().collect())),
            };
        }
    }
}

/// The tags of a repository while their pages arrive, and the proof that the last page has arrived.
///
/// A page without `Link` does not end a listing: the header is optional (OCI distribution
/// specification, "Listing Tags"), and a page may be full. The registry is asked for the tags after
/// the last one until a response brings nothing new. A registry that ignores `n` and `last`
/// (docker-registry 2.8.2, Google's) answers with the same list again, which is nothing new.
#[derive(Debug, Default)]
pub struct TagPages {
    tags: BTreeSet<Tag>,
    /// The last entry of the last page that had one: where the next page begins.
    last: Option<Tag>,
    count: usize,
    /// Linked pages without a new tag since the last new tag.
    idle: usize,
    /// Whether pages are answers to the question for more, and no longer those that were linked.
    asking: bool,
}

/// Where a listing of tags continues; `L`: what a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage<L> {
    /// At the page that the last one links to.
    Linked(L),
    /// Behind this tag.
    After(Tag),
    /// Nowhere: the listing is complete.
    Complete,
}

impl TagPages {
    /// Takes in a page; `link`: the next page, where this one links to one. An error is a listing
    /// that does not end.
    pub fn take<L>(
        &mut self,
        page: Vec<Tag>,
        link: Option<L>,
    ) -> Result<NextPage<L>, &'static str> {
        self.count += 1;
        let (known, empty) = (self.tags.len(), page.is_empty());
        if let Some(last) = page.last() {
            self.last = Some(last.clone());
        }
        self.tags.extend(page);
        let new = self.tags.len() > known;
        self.idle = if new { 0 } else { self.idle + 1 };
        if self.idle >= IDLE_MAX {
            return Err(IDLE);
        }
        if self.count > PAGES_MAX || self.tags.len() > TAGS_MAX {
            return Err(ENDLESS);
        }
        Ok(match (link, &self.last) {
            _ if self.asking && !new && !empty => NextPage::Complete,
            (Some(link), _) => NextPage::Linked(link),
            (None, Some(last)) if new || !self.asking => {
                self.asking = true;
                NextPage::After(last.clone())
            }
            (None, _) => NextPage::Complete,
        })
    }

    /// The tags so far, in order.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter()
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Tag>, RequestError> {
    let page: Page = serde_json::from_slice(bytes).map_err(|error| {
        RequestError::unavailable(format!(
            "the response is not a list of tags: line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    let tags = page.tags.unwrap_or_default();
    let tag = |text: String| {
        let short = short(&text, 100);
        Tag::parse(&text).map_err(|_| {
            RequestError::unavailable(format!("it lists `{short}`, which is not a tag"))
        })
    };
    tags.into_iter().map(tag).collect()
}

/// The next page (RFC 8288, relation `next`), which must be at the same registry.
pub(super) fn following(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, RequestError> {
    let mut found = None;
    for value in headers.get_all(LINK) {
        let text = value
            .to_str()
            .map_err(|_| RequestError::unavailable("the link to the next page is malformed"))?;
        for link in text.split(",<").flat_map(|part| part.split(", <")) {
            let Some((target, parameters)) = link.trim_start_matches([' ', '<']).split_once('>')
            else {
                return Err(RequestError::unavailable(
                    "the link to the next page cannot be parsed",
                ));
            };
            if !parameters.split(';').any(is_next) {
                continue;
            }
            let url = page
                .join(target)
                .map_err(|_| RequestError::unavailable("the link to the next page is not a URL"))?;
            if found.replace(url).is_some() {
                return Err(RequestError::unavailable(
                    "the response links to two next pages",
                ));
            }
        }
    }
    match &found {
        Some(next)
            if next.origin() != page.origin() || super::address::check_url(next).is_err() =>
        {
            Err(RequestError::unavailable(
                "the next page is on another host",
            ))
        }
        Some(next) if next == page => {
            Err(RequestError::unavailable("the next page is the same page"))
        }
        _ => Ok(found),
    }
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let words = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && words
            .into_iter()
            .any(|word| word.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Result<Option<String>, String> {
        let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
        let page: Url = "http://127.0.0.1:1/v2/a/tags/list?n=2".parse().unwrap();
        following(&headers, &page)
            .map(|url| url.map(|url| url.to_string()))
            .map_err(|error| error.reason)
    }

    #[test]
    fn the_next_page_is_at_the_same_registry() {
        let second = Ok(Some(
            "http://127.0.0.1:1/v2/a/tags/list?last=b,c&n=2".to_owned(),
        ));
        assert_eq!(next("</v2/a/tags/list?last=b,c&n=2>; rel=\"next\""), second);
        assert_eq!(
            next("<http://127.0.0.1:1/v2/a/tags/list?last=b,c&n=2>;x=1; Rel=Next"),
            second
        );
        assert_eq!(
            next("</x>; rel=prev, </v2/a/tags/list?last=b,c&n=2>; rel=\"last next\""),
            second
        );
        assert_eq!(next("</x>; rel=\"prev\""), Ok(None));
        for bad in [
            "nonsense",
            "<http://127.0.0.1:2/x>; rel=next",
            "<//evil.example/x>; rel=next",
            "<?n=2>; rel=next",
            "<https://127.0.0.1:1/x>; rel=next",
            "<http://u:p@127.0.0.1:1/x>; rel=next",
            "</x>; rel=next, </y>; rel=next",
        ] {
            assert!(next(bad).is_err(), "{bad}: {:?}", next(bad));
        }
    }

    /// Reads pages from `answer`, which gets the tag that the question names; the tags and the
    /// number of pages.
    fn pages(
        mut answer: impl FnMut(Option<&str>, usize) -> (Vec<String>, bool),
    ) -> Result<(usize, usize), &'static str> {
        let mut pages = TagPages::default();
        let mut after = None;
        loop {
            let (page, link) = answer(after.as_deref(), pages.count);
            let page = page.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
            match pages.take(page, link.then_some(()))? {
                NextPage::Linked(()) => after = pages.last.as_ref().map(ToString::to_string),
                NextPage::After(tag) => after = Some(tag.to_string()),
                NextPage::Complete => return Ok((pages.tags.len(), pages.count)),
            }
        }
    }

    #[test]
    fn a_full_last_page_without_a_link_is_not_the_end() {
        let all: Vec<String> = (0..100_000).map(|n| format!("t{n:06}")).collect();
        for linked in [true, false] {
            let read = pages(|after, _| {
                let from =
                    all.partition_point(|tag| after.is_some_and(|last| tag.as_str() <= last));
                let page = all[from..].iter().take(1_000).cloned().collect();
                (page, linked && from + 1_000 < all.len())
            });
            assert_eq!(read, Ok((100_000, 101)), "linked: {linked}");
        }
    }

    #[test]
    fn the_same_list_again_is_nothing_new() {
        let list = || vec!["b".to_owned(), "a".to_owned()];
        assert_eq!(pages(|_, _| (list(), false)), Ok((2, 2)));
        // One that ignores the question links to its pages again.
        let read = pages(|_, count| match count {
            0 | 2 => (vec!["a".to_owned()], true),
            _ => (vec!["b".to_owned()], false),
        });
        assert_eq!(read, Ok((2, 3)));
        assert_eq!(pages(|_, _| (vec![], false)), Ok((0, 1)));
        // An empty page on the way is no end either.
        let read = pages(|_, count| match count {
            0 => (vec!["a".to_owned()], true),
            1 => (vec![], true),
            2 => (vec!["b".to_owned()], false),
            _ => (vec![], false),
        });
        assert_eq!(read, Ok((2, 4)));
    }

    #[test]
    fn a_listing_without_an_end_is_an_error() {
        let idle = Err("the listing does not end: 100 pages in a row contain no new tag");
        assert_eq!(pages(|_, _| (vec![], true)), idle);
        assert_eq!(pages(|_, n| (vec![format!("t{}", n % 3)], true)), idle);
        // A new tag on each hundredth page is progress.
        let slow = |_: Option<&str>, n: usize| (vec![format!("t{}", n / 100)], n < 1_000);
        assert_eq!(pages(slow), Ok((11, 1_002)));
        let endless = Err("the listing does not end");
        assert_eq!(pages(|_, n| (vec![format!("t{n}")], true)), endless);
        assert_eq!(pages(|_, n| (vec![format!("t{n}")], false)), endless);
    }

    #[test]
    fn a_page_is_whole_or_an_error() {
        let tags = |text: &str| {
            parse(text.as_bytes())
                .map(|tags| tags.len())
                .map_err(|error| error.reason)
        };
        assert_eq!(tags(r#"{"name":"a","tags":["x","y"]}"#), Ok(2));
        assert_eq!(tags(r#"{"tags":null}"#), Ok(0));
        assert!(tags(r#"{"errors":[]}"#).is_err());
        assert!(tags(r#"{"tags":["-x"]}"#).is_err());
        assert!(tags("<html>").is_err());
    }
}

//! The tags of a repository (OCI distribution specification, "Listing Tags"): all of them, or an
//! error.
//!
//! The referrers of a digest (OCI distribution specification, "Listing Referrers").
//!
//! A registry without the API responds with 404 or 405, or like GHCR with 303 to a page of its web
//! site; the caller then fetches the referrers tag. Any other response that is not a listing is an error: the error page of a proxy does not mean
//! that an image has no signatures.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, HeaderMap, HeaderValue, LINK},
};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;

use super::{Error, Remote, content_type, request_error::RequestError};
use crate::{
    base::{
        http::{BodyMode, Call, SeeOther},
        untrusted::short,
    },
    oci::{Descriptor, Digest, INDEX_TYPES, MAX_LISTING, Tag, document, registry::Clock},
};

/// The largest page, in bytes: docker-registry sends all tags in one page.
const MAX_PAGE: u64 = 16 * 1024 * 1024;
const MAX_PAGES: usize = 5_000;
const MAX_TAGS: usize = 500_000;
/// The number of entries of a page: Amazon ECR refuses more than 1000, and docker-registry 3 returns
/// at most 1000 by default.
const PAGE: usize = 1_000;
/// The responses of a registry that does not accept a tag as `last`. Amazon ECR accepts only its own
/// tokens there, and responds with 405 to an invalid parameter.
const LAST_REFUSED: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED];
/// The maximum number of consecutive pages without a new tag. Pages may be empty, but links may
/// also form a circle.
const MAX_IDLE: usize = 100;
const ENDLESS: &str = "the listing does not end";
const IDLE: &str = "the listing does not end: 100 pages in a row contain no new tag";
/// The time limit of a listing.
const LISTING_TIMEOUT: Duration = Duration::from_secs(600);

/// The tags of a repository, and the time of the listing.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the tags are one of its fields")]
pub(crate) struct Tags {
    /// All tags, in order; `None` if the registry has no such repository.
    pub tags: Option<Vec<Tag>>,
    /// The digests that the registry lists without a tag. Only Google's registries list them.
    pub untagged: Vec<Digest>,
    /// The clocks when the last page arrived.
    pub clock: Clock,
}

#[derive(Deserialize)]
struct Page {
    /// May be `null`, but must be present: another document is not an empty page.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<PageTags>,
    /// Every manifest with its tags: an extension of Google's registries (google/go-containerregistry,
    /// `pkg/v1/google/list.go`).
    manifest: Option<Value>,
}

/// The tags of a page, and the digests that it lists without a tag.
struct ParsedPage {
    tags: Vec<Tag>,
    untagged: Vec<Digest>,
}

/// The tags of a page up to the first one that is refused, which bounds the memory.
#[derive(Default)]
struct PageTags {
    tags: Vec<Tag>,
    refusal: Option<String>,
}

impl<'de> Deserialize<'de> for PageTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PageTagsVisitor)
    }
}

struct PageTagsVisitor;

impl<'de> Visitor<'de> for PageTagsVisitor {
    type Value = PageTags;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of tags")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<PageTags, A::Error> {
        let mut page = PageTags::default();
        while let Some(text) = seq.next_element::<Cow<'_, str>>()? {
            if page.refusal.is_none() {
                match Tag::parse(&text) {
                    Ok(_) if page.tags.len() >= MAX_TAGS => {
                        page.refusal = Some(format!("a page has more than {MAX_TAGS} tags"));
                    }
                    Ok(tag) => page.tags.push(tag),
                    Err(_) => {
                        let text = short(&text, 100);
                        page.refusal = Some(format!("it lists `{text}`, which is not a tag"));
                    }
                }
            }
        }
        Ok(page)
    }
}

impl Remote {
    /// Whether the registry has this repository; requests one page of its tags.
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        self.request_first_tag()
            .await
            .map_err(|error| self.error(error, &format!("tags of {self}")))
    }

    async fn request_first_tag(&self) -> Result<bool, RequestError> {
        let call = Call {
            body: BodyMode::Buffer(MAX_PAGE),
            ..self.get("tags/list?n=1")?
        };
        let reply = self.send(call, "pull").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let (_, bytes) = self.success(reply)?;
        parse_page(&bytes)?;
        Ok(true)
    }

    /// All tags, with the registry's clock and the local clock.
    pub(crate) async fn tags_with_clock(&self) -> Result<Tags, Error> {
        self.list_tags()
            .await
            .map_err(|error| self.error(error, &format!("tags of {self}")))
    }

    async fn list_tags(&self) -> Result<Tags, RequestError> {
        let now = self.shared.client.http.now();
        let mut call = Call {
            body: BodyMode::Buffer(MAX_PAGE),
            ..self.get(&format!("tags/list?n={PAGE}"))?
        };
        let end = Instant::now() + LISTING_TIMEOUT;
        let mut pages = TagPages::default();
        let mut untagged = BTreeSet::new();
        // A page shorter than `n` without a link is the last one (OCI distribution specification
        // 1.1), so the listing is complete if the registry refuses to confirm that.
        let mut may_be_refused = false;
        while Instant::now() <= end {
            let reply = self.send(call.clone(), "pull").await?;
            let clock = Clock::from_headers(&reply.headers, now);
            if reply.status == StatusCode::NOT_FOUND && pages.count == 0 {
                let untagged = Vec::new();
                return Ok(Tags {
                    tags: None,
                    untagged,
                    clock,
                });
            }
            if may_be_refused && LAST_REFUSED.contains(&reply.status) {
                return Ok(pages.complete(untagged, clock));
            }
            let (headers, bytes) = self.success(reply)?;
            let link = next_page(&headers, &call.url)?;
            let page = parse_page(&bytes)?;
            untagged.extend(page.untagged);
            let page = page.tags;
            let is_short = page.len() < PAGE;
            let next = pages.add(page, link).map_err(RequestError::unavailable)?;
            may_be_refused = is_short && matches!(next, NextPage::After(_));
            call.url = match next {
                NextPage::Linked(url) => url,
                NextPage::After(tag) => self.get(&format!("tags/list?n={PAGE}&last={tag}"))?.url,
                NextPage::Complete => return Ok(pages.complete(untagged, clock)),
            };
        }
        Err(RequestError::unavailable(ENDLESS))
    }
}

/// Collects the pages of a listing, and determines its end.
///
/// A page without `Link` does not end a listing: the header is optional (OCI distribution
/// specification, "Listing Tags"), and the page may be full. Further pages are requested with
/// `last` until a response contains no new tag. A registry that ignores `n` and `last`
/// (docker-registry 2.8.2, Google's) repeats its list, which contains no new tag.
#[derive(Debug, Default)]
pub(crate) struct TagPages {
    tags: BTreeSet<Tag>,
    /// The last tag of the last page that was not empty.
    last: Option<Tag>,
    count: usize,
    /// The number of consecutive pages without a new tag.
    idle: usize,
    /// Whether a page was requested with `last`, after the last linked page.
    is_past_links: bool,
}

/// The next page of a listing; `L` is the type of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextPage<L> {
    /// The page that the last one links to.
    Linked(L),
    /// The page after this tag.
    After(Tag),
    /// None: the listing is complete.
    Complete,
}

impl TagPages {
    /// Adds a page with its link to the next one; an error if the listing does not end.
    pub(crate) fn add<L>(
        &mut self,
        page: Vec<Tag>,
        link: Option<L>,
    ) -> Result<NextPage<L>, &'static str> {
        self.count += 1;
        let (known, is_empty) = (self.tags.len(), page.is_empty());
        if let Some(last) = page.last() {
            self.last = Some(last.clone());
        }
        self.tags.extend(page);
        let has_new = self.tags.len() > known;
        self.idle = if has_new { 0 } else { self.idle + 1 };
        if self.idle >= MAX_IDLE {
            return Err(IDLE);
        }
        if self.count > MAX_PAGES || self.tags.len() > MAX_TAGS {
            return Err(ENDLESS);
        }
        Ok(match (link, &self.last) {
            _ if self.is_past_links && !has_new && !is_empty => NextPage::Complete,
            (Some(link), _) => NextPage::Linked(link),
            (None, Some(last)) if has_new || !self.is_past_links => {
                self.is_past_links = true;
                NextPage::After(last.clone())
            }
            (None, _) => NextPage::Complete,
        })
    }

    fn complete(self, untagged: BTreeSet<Digest>, clock: Clock) -> Tags {
        Tags {
            tags: Some(self.tags.into_iter().collect()),
            untagged: untagged.into_iter().collect(),
            clock,
        }
    }

    /// The tags of all pages so far, in order.
    #[cfg(test)]
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter()
    }
}

fn parse_page(bytes: &[u8]) -> Result<ParsedPage, RequestError> {
    let malformed = |place: String| {
        RequestError::unavailable(format!("the response is not a list of tags: {place}"))
    };
    // serde also accepts a list of the fields of a struct.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("it is not an object".to_owned()));
    }
    let page: Page = serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("line {}, column {}", error.line(), error.column())))?;
    let tags = page.tags.unwrap_or_default();
    match tags.refusal {
        Some(reason) => Err(RequestError::unavailable(reason)),
        None => Ok(ParsedPage {
            tags: tags.tags,
            untagged: untagged(page.manifest.as_ref()),
        }),
    }
}

/// The digests without a tag in Google's extension; none if another registry has a field of this name.
fn untagged(manifests: Option<&Value>) -> Vec<Digest> {
    let mut untagged = Vec::new();
    for (digest, manifest) in manifests.and_then(Value::as_object).into_iter().flatten() {
        if manifest["tag"].as_array().is_some_and(Vec::is_empty) {
            untagged.extend(digest.parse::<Digest>());
        }
    }
    untagged
}

/// The link to the next page (RFC 8288, relation `next`), which must be at the same registry.
pub(super) fn next_page(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, RequestError> {
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
            if next.origin() != page.origin()
                || crate::base::http::address::check_url(next).is_err() =>
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
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

const MAX_REFERRER_PAGES: usize = 1_000;
/// The responses of a registry without the API. The page that GHCR redirects to is rate-limited, so
/// it is not requested.
const UNSUPPORTED: [StatusCode; 3] = [
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::SEE_OTHER,
];

impl Remote {
    /// Lists the manifests that are attached to `digest`; empty if the registry has no such API.
    pub(in crate::oci::registry) async fn referrers(
        &self,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        self.list_referrers(digest)
            .await
            .map_err(|error| self.error(error, &format!("referrers of {self}@{digest}")))
    }

    async fn list_referrers(&self, digest: Digest) -> Result<Vec<Descriptor>, RequestError> {
        let mut call = self.get(&format!("referrers/{digest}"))?;
        let index = HeaderValue::from_static(INDEX_TYPES[0]);
        call.headers.insert(ACCEPT, index);
        call.see_other = SeeOther::Return;
        let (mut listed, mut remaining) = (Vec::new(), MAX_LISTING);
        for page in 0..MAX_REFERRER_PAGES {
            call.body = BodyMode::Buffer(remaining);
            let reply = self.send(call.clone(), "pull").await?;
            if page == 0 && UNSUPPORTED.contains(&reply.status) {
                return Ok(Vec::new());
            }
            let (headers, bytes) = self.success(reply)?;
            let media_type = content_type(&headers)?.unwrap_or_default();
            if document::essence(&media_type) != INDEX_TYPES[0] {
                let media_type = short(&media_type, 100);
                let reason = format!("its Content-Type is `{media_type}`, which is not an index");
                return Err(RequestError::unavailable(reason));
            }
            remaining = remaining.saturating_sub(bytes.len() as u64);
            listed.extend(document::listing(&bytes).map_err(RequestError::unavailable)?);
            match next_page(&headers, &call.url)? {
                Some(next) => call.url = next,
                None => return Ok(listed),
            }
        }
        let reason = format!("the listing has more than {MAX_REFERRER_PAGES} pages");
        Err(RequestError::unavailable(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Result<Option<String>, String> {
        let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
        let page: Url = "http://127.0.0.1:1/v2/a/tags/list?n=2".parse().unwrap();
        next_page(&headers, &page)
            .map(|url| url.map(|url| url.to_string()))
            .map_err(|error| error.reason)
    }

    #[test]
    fn next_page_must_be_at_the_same_registry() {
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

    /// Requests pages from a registry, a function of the tag in `last` and the number of the page.
    /// It returns the page's tags and whether the page has a link. The result is the number of tags
    /// and of pages.
    fn read_pages(
        mut registry: impl FnMut(Option<&str>, usize) -> (Vec<String>, bool),
    ) -> Result<(usize, usize), &'static str> {
        let mut pages = TagPages::default();
        let mut after = None;
        loop {
            let (page, has_link) = registry(after.as_deref(), pages.count);
            let page = page.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
            match pages.add(page, has_link.then_some(()))? {
                NextPage::Linked(()) => after = pages.last.as_ref().map(ToString::to_string),
                NextPage::After(tag) => after = Some(tag.to_string()),
                NextPage::Complete => return Ok((pages.tags.len(), pages.count)),
            }
        }
    }

    #[test]
    fn full_page_without_link_is_not_the_end() {
        let all: Vec<String> = (0..100_000).map(|n| format!("t{n:06}")).collect();
        for linked in [true, false] {
            let read = read_pages(|after, _| {
                let from =
                    all.partition_point(|tag| after.is_some_and(|last| tag.as_str() <= last));
                let page = all[from..].iter().take(1_000).cloned().collect();
                (page, linked && from + 1_000 < all.len())
            });
            assert_eq!(read, Ok((100_000, 101)), "linked: {linked}");
        }
    }

    #[test]
    fn repeated_list_ends_the_listing() {
        let list = || vec!["b".to_owned(), "a".to_owned()];
        assert_eq!(read_pages(|_, _| (list(), false)), Ok((2, 2)));
        // A registry that ignores `last` repeats its linked pages.
        let read = read_pages(|_, count| match count {
            0 | 2 => (vec!["a".to_owned()], true),
            _ => (vec!["b".to_owned()], false),
        });
        assert_eq!(read, Ok((2, 3)));
        assert_eq!(read_pages(|_, _| (vec![], false)), Ok((0, 1)));
        // An empty linked page is not the end.
        let read = read_pages(|_, count| match count {
            0 => (vec!["a".to_owned()], true),
            1 => (vec![], true),
            2 => (vec!["b".to_owned()], false),
            _ => (vec![], false),
        });
        assert_eq!(read, Ok((2, 4)));
    }

    #[test]
    fn endless_listing_is_an_error() {
        let idle = Err("the listing does not end: 100 pages in a row contain no new tag");
        assert_eq!(read_pages(|_, _| (vec![], true)), idle);
        assert_eq!(read_pages(|_, n| (vec![format!("t{}", n % 3)], true)), idle);
        // A new tag on each hundredth page is progress.
        let slow = |_: Option<&str>, n: usize| (vec![format!("t{}", n / 100)], n < 1_000);
        assert_eq!(read_pages(slow), Ok((11, 1_002)));
        let endless = Err("the listing does not end");
        assert_eq!(read_pages(|_, n| (vec![format!("t{n}")], true)), endless);
        assert_eq!(read_pages(|_, n| (vec![format!("t{n}")], false)), endless);
    }

    #[test]
    fn malformed_page_is_an_error() {
        let tags = |text: &str| {
            parse_page(text.as_bytes())
                .map(|page| page.tags.len())
                .map_err(|error| error.reason)
        };
        assert_eq!(tags(r#"{"name":"a","tags":["x","y"]}"#), Ok(2));
        assert_eq!(tags(r#"{"tags":null}"#), Ok(0));
        assert!(tags(r#"{"errors":[]}"#).is_err());
        assert!(tags(r#"{"tags":["-x"]}"#).is_err());
        assert!(tags("<html>").is_err());
        assert!(tags("[null]").is_err());
        assert!(tags(r#"[["x"]]"#).is_err());
        // One tag many times: the parsed page would take far more memory than its bytes.
        let many = |count| {
            let list = vec!["\"x\""; count].join(",");
            tags(&format!("{{\"tags\":[{list}]}}"))
        };
        assert_eq!(many(MAX_TAGS), Ok(MAX_TAGS));
        assert!(
            many(MAX_TAGS + 1)
                .unwrap_err()
                .contains("more than 500000 tags")
        );
    }
}

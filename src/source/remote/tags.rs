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
    fault::Fault,
    http::{Call, Reading},
};
use crate::{
    untrusted::short,
    {image::Tag, source::Clock},
};

/// The largest page, in bytes: docker-registry sends all tags in one.
const PAGE_MAX: u64 = 16 * 1024 * 1024;
const PAGES_MAX: usize = 5_000;
const TAGS_MAX: usize = 500_000;
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

    /// Whether the registry has such a repository; one page of its tags is asked for.
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
            .map_err(|fault: Fault| self.error(fault, &format!("tags of {self}")))
    }

    /// The same, with what the registry's clock and ours said meanwhile.
    pub async fn tags_at(&self) -> Result<Tags, Error> {
        let mut clock = Clock {
            here: self.shared.http.now()(),
            server: None,
        };
        let tags = self
            .list(&mut clock)
            .await
            .map_err(|fault| self.error(fault, &format!("tags of {self}")))?;
        Ok(Tags { tags, clock })
    }

    async fn list(&self, clock: &mut Clock) -> Result<Option<Vec<Tag>>, Fault> {
        let first = Call {
            body: Reading::UpTo(PAGE_MAX),
            ..self.get("tags/list?n=1000")?
        };
        let end = Instant::now() + WHOLE;
        let (mut tags, mut next, mut pages) = (BTreeSet::new(), Some(first.url.clone()), 0);
        while let Some(url) = next.take() {
            pages += 1;
            if pages > PAGES_MAX || tags.len() > TAGS_MAX || Instant::now() > end {
                return Err(Fault::unavailable("the listing does not come to an end"));
            }
            let reply = self
                .ask(
                    Call {
                        url: url.clone(),
                        ..first.clone()
                    },
                    "pull",
                )
                .await?;
            *clock = Clock::of(&reply.headers, self.shared.http.now());
            if reply.status == StatusCode::NOT_FOUND && pages == 1 {
                return Ok(None);
            }
            let (headers, bytes) = self.success(reply)?;
            tags.extend(parse(&bytes)?);
            next = following(&headers, &url)?;
        }
        Ok(Some(tags.into_iter().collect()))
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Tag>, Fault> {
    let page: Page = serde_json::from_slice(bytes).map_err(|error| {
        Fault::unavailable(format!(
            "it is no list of tags: line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    let tags = page.tags.unwrap_or_default();
    let tag = |text: String| {
        let short = short(&text, 100);
        Tag::parse(&text)
            .map_err(|_| Fault::unavailable(format!("it lists `{short}`, which is no tag")))
    };
    tags.into_iter().map(tag).collect()
}

/// The next page (RFC 8288, relation `next`), which must be at the same registry.
fn following(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, Fault> {
    let mut found = None;
    for value in headers.get_all(LINK) {
        let text = value
            .to_str()
            .map_err(|_| Fault::unavailable("its link to the next page is no text"))?;
        for link in text.split(",<").flat_map(|part| part.split(", <")) {
            let Some((target, parameters)) = link.trim_start_matches([' ', '<']).split_once('>')
            else {
                return Err(Fault::unavailable(
                    "its link to the next page can't be parsed",
                ));
            };
            if !parameters.split(';').any(is_next) {
                continue;
            }
            let url = page
                .join(target)
                .map_err(|_| Fault::unavailable("its link to the next page is no URL"))?;
            if found.replace(url).is_some() {
                return Err(Fault::unavailable("it names two next pages"));
            }
        }
    }
    match &found {
        Some(next)
            if next.origin() != page.origin() || super::address::check_url(next).is_err() =>
        {
            Err(Fault::unavailable("its next page is at another host"))
        }
        Some(next) if next == page => Err(Fault::unavailable("its next page is the same page")),
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
            .map_err(|fault| fault.why)
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

    #[test]
    fn a_page_is_whole_or_an_error() {
        let tags = |text: &str| {
            parse(text.as_bytes())
                .map(|tags| tags.len())
                .map_err(|fault| fault.why)
        };
        assert_eq!(tags(r#"{"name":"a","tags":["x","y"]}"#), Ok(2));
        assert_eq!(tags(r#"{"tags":null}"#), Ok(0));
        assert!(tags(r#"{"errors":[]}"#).is_err());
        assert!(tags(r#"{"tags":["-x"]}"#).is_err());
        assert!(tags("<html>").is_err());
    }
}

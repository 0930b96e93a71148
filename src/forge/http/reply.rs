//! Final responses, and the errors that their statuses mean.
//!
//! The new names of renamed or transferred repositories, from the redirects of a forge.
//!
//! URLs outside of the base of the API are neither requested nor trusted.

use std::fmt::Write as _;

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Http, MESSAGE_WIDTH, Paging, Request};
use crate::{
    base::{
        error::{Class, Error},
        http::{Cause, error_body},
        untrusted::{self, Secrets},
    },
    forge::fleet::RepositoryName,
};

/// The maximum number of values in a document: two bytes of text become 32 in memory, or more.
/// GitHub's largest tree listing has 600,000.
const MAX_VALUES: usize = 1_000_000;

/// A final response: it is not retried.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether an earlier attempt may have been carried out although its response was lost.
    pub(crate) is_repeat: bool,
    pub(super) what: String,
    pub(super) secrets: Secrets,
}

impl Reply {
    /// The parsed body if the status is one of `expected`; otherwise the error that the status means.
    pub(crate) fn expect<T: DeserializeOwned>(&self, expected: &[u16]) -> Result<T, Error> {
        self.check(expected)?;
        // Characters in strings count as well: this is an upper bound of the number of values.
        if self
            .body
            .iter()
            .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
            .count()
            > MAX_VALUES
        {
            let reason = format!("the response has more than {MAX_VALUES} values");
            return Err(Error::unavailable(&self.what, reason));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            // The parser quotes the response, which may contain the token.
            let error = self.secrets.clean(&error.to_string(), MESSAGE_WIDTH);
            Error::unavailable(&self.what, format!("malformed response: {error}"))
        })
    }

    /// The entries of a listing. Gitea and Forgejo may send null for an empty one.
    pub(crate) fn expect_list<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let entries: Option<Vec<T>> = self.expect(&[200])?;
        Ok(entries.unwrap_or_default())
    }

    /// Like [`Self::expect`], for a request that changed something visible: a malformed body is an
    /// error of a run that has begun.
    pub(crate) fn expect_done<T: DeserializeOwned>(&self, expected: &[u16]) -> Result<T, Error> {
        self.check(expected)?;
        self.expect(expected).map_err(|error| Error {
            may_have_changed: true,
            ..error
        })
    }

    /// Checks that the status is one of `expected`.
    pub(crate) fn check(&self, expected: &[u16]) -> Result<(), Error> {
        if expected.contains(&self.status.as_u16()) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// The error that the status means.
    pub(crate) fn error(&self) -> Error {
        let class = match self.status {
            StatusCode::FORBIDDEN => Class::Denied,
            StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED => Class::Refused,
            _ => Class::Unavailable,
        };
        let error = Error::about(class, &self.what, self.text()).status(self.status);
        match self.header("x-accepted-github-permissions") {
            Some(permissions) if class == Class::Denied => error.help(format!(
                "GitHub requires these permissions: {}",
                self.secrets.clean(permissions, MESSAGE_WIDTH)
            )),
            _ => error,
        }
    }

    pub(crate) fn is_redirect(&self) -> bool {
        self.status.is_redirection() && self.status != StatusCode::NOT_MODIFIED
    }

    /// The purpose of its request, for messages.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status and the message of the server.
    pub(crate) fn text(&self) -> String {
        status_text(self.status, &self.body, &self.secrets)
    }

    /// Whether a listing continues after `count` entries.
    pub(crate) fn has_more(&self, paging: Paging, count: usize) -> bool {
        let links_next = self.header("link").map(|_| self.next_link().is_some());
        let total = self.header("x-total-count");
        match paging {
            Paging::Links => links_next.unwrap_or(false),
            Paging::NextPage => match self.header("x-next-page") {
                Some(next) => !next.is_empty(),
                None => links_next.unwrap_or(false),
            },
            Paging::Counted => match total.and_then(|total| total.parse::<usize>().ok()) {
                Some(total) => count < total,
                None => links_next.unwrap_or(true),
            },
        }
    }

    /// The URL of the next page in the header `Link`.
    fn next_link(&self) -> Option<&str> {
        let links = self.header("link")?.split('<').skip(1);
        let mut links = links.filter_map(|link| link.split_once('>'));
        let (url, _) = links.find(|(_, relation)| relation.contains("rel=\"next\""))?;
        Some(url)
    }

    /// The URL of the next page of a listing by keyset, which has no numbers of pages.
    pub(super) fn keyset_link(&self, paging: Paging) -> Option<&str> {
        let is_keyset = paging == Paging::NextPage && self.header("x-next-page").is_none();
        self.next_link().filter(|_| is_keyset)
    }
}

/// A status and the message of the server.
pub(super) fn status_text(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    let mut text = format!("HTTP {}", status.as_u16());
    let message = secrets.clean(&error_body::forge_message(body), MESSAGE_WIDTH);
    if !message.is_empty() {
        let _ = write!(text, " ({message})");
    }
    text
}

#[derive(Deserialize)]
struct FullName {
    full_name: String,
}

impl Http {
    /// The error of a request for a repository that was renamed or transferred. The redirect of
    /// Gitea and Forgejo contains the new name, that of GitHub the number of the repository.
    pub(super) async fn renamed(&self, request: &Request, reply: &Reply) -> Option<Error> {
        let [top, owner, name, ..] = &*request.path else {
            return None;
        };
        let target = self.below_base(reply.header("location")?)?;
        let new = match target.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["repos", owner, name, ..] => format!("{owner}/{name}"),
            ["repositories", number, ..] if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let path = ["repositories", number];
                let request = Request::new(Method::GET, path, "reading the new name");
                let row: FullName = self.exchange(&request).await.ok()?.expect(&[200]).ok()?;
                row.full_name
            }
            _ => return None,
        };
        let old = format!("{owner}/{name}");
        let is_other =
            RepositoryName::parse(&new).is_some_and(|name| name.is_plain() && !name.is(&old));
        (top == "repos" && is_other).then(|| renamed(&reply.what, &old, &new))
    }

    /// The request for the next page of a listing, whose URL must be that of the listing with another query.
    pub(super) fn linked(&self, request: &Request, link: &str) -> Result<Request, Error> {
        let listing = self.url(request);
        let next = self
            .base
            .join(link)
            .ok()
            .filter(|next| (next.origin(), next.path()) == (listing.origin(), listing.path()));
        let Some(next) = next else {
            let link = link.split(['?', '#']).next().unwrap_or_default();
            let reason = format!("its next page is at another address: {}", self.clean(link));
            return Err(Error::unavailable(&request.what, reason)
                .help("correct forge.url, or the external URL in the settings of the server"));
        };
        let query = next.query_pairs().into_owned();
        Ok(Request {
            query: query.map(|(name, value)| (name.into(), value)).collect(),
            ..request.clone()
        })
    }

    /// The segments of a URL below the base of the API; `None` if the URL is outside.
    pub(in crate::forge) fn below_base(&self, location: &str) -> Option<Vec<String>> {
        let url = self.base.join(location).ok()?;
        if url.origin() != self.base.origin() {
            return None;
        }
        let base = self.base.path().trim_end_matches('/');
        let below = url.path().strip_prefix(base)?.strip_prefix('/')?;
        Some(below.split('/').map(str::to_owned).collect())
    }
}

/// The error of a repository that was renamed. `new`: the name in a response.
pub(crate) fn renamed(what: &str, old: &str, new: &str) -> Error {
    let new = untrusted::plain(new);
    Error::about(Class::Input, what, format!("{old} was renamed to {new}")).help(format!(
        "set forge.repository to {new}; if it is not configured, correct the URL of the remote: git remote set-url origin URL"
    ))
}

/// Whether a smaller request may succeed. Users report that GitHub responds 502 or 504 to a query
/// that takes more than ten seconds.
pub(super) fn is_heavy(cause: &Cause) -> bool {
    match cause {
        Cause::TooLarge(_) | Cause::Stalled(_) | Cause::Overdue(_) => true,
        Cause::Status { status, .. } => {
            matches!(
                *status,
                StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
            )
        }
        Cause::NoClient(_)
        | Cause::Network(_)
        | Cause::Compressed
        | Cause::Parked
        | Cause::Redirect(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde::de::IgnoredAny;

    use super::*;

    fn listing(headers: &[(&'static str, &'static str)], body: String) -> Reply {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        Reply {
            status: StatusCode::OK,
            headers: headers.collect(),
            body: body.into_bytes(),
            is_repeat: false,
            what: "listing".to_owned(),
            secrets: Secrets::default(),
        }
    }

    #[test]
    fn next_page_takes_precedence_over_links() {
        let next = "<https://git.example/api/v4/x?page=1>; rel=\"prev\", <https://git.example/api/v4/x?page=3>; rel=\"next\"";
        let last = "<https://git.example/api/v4/x?page=1>; rel=\"first\"";
        for (headers, expected) in [
            (&[("x-next-page", "")][..], false),
            (&[("x-next-page", ""), ("link", next)], false),
            (&[("x-next-page", "3")], true),
            (&[("x-next-page", "3"), ("link", last)], true),
            // Listings by keyset have only links.
            (&[("link", next)], true),
            (&[("link", last)], false),
            (&[], false),
        ] {
            let reply = listing(headers, "[]".to_owned());
            for count in [0, 1, 100] {
                let more = reply.has_more(Paging::NextPage, count);
                assert_eq!(more, expected, "{headers:?} {count}");
            }
        }
    }

    #[test]
    fn documents_of_too_many_values_are_not_parsed() {
        let reply = |count: usize| listing(&[], format!("[{}0]", "0,".repeat(count - 1)));
        let fits = reply(MAX_VALUES).expect::<IgnoredAny>(&[200]);
        assert!(fits.is_ok());
        let error = reply(MAX_VALUES + 1)
            .expect::<IgnoredAny>(&[200])
            .unwrap_err();
        assert_eq!(error.class, Class::Unavailable);
        assert!(
            error.message.contains("more than 1000000 values"),
            "{error}"
        );
    }
}

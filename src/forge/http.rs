//! Requests to one API: the token, attempts, rate limits and caps.
//!
//! Nothing here knows what a request means. Redirects are never followed. A request that could
//! happen twice is sent once: if nobody can tell whether it did, the caller is told so and looks.

mod limit;
mod reply;

use std::{
    cell::Cell,
    fmt::Display,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, ErrorKind, Target, Token};
use crate::{source::Heard, untrusted::Secrets};
use limit::Wait;
pub(super) use reply::Reply;

/// How a forge is asked; all of it is handed in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sends the requests; it follows no redirect and repeats nothing on its own account.
    pub client: Client,
    /// How long an answer may make no progress: connecting, headers, or the next bytes.
    pub progress: Duration,
    /// How long one attempt may take in all; what took that long is not tried again.
    pub whole: Duration,
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one, and chance shortens
    /// it by up to a half.
    pub backoff: Duration,
    /// The longest time that a rate limit is waited for.
    pub longest_wait: Duration,
    /// The wall clock: a rate limit's end is told as a time of day.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// The times of the documentation.
    pub fn new(client: Client, now: fn() -> SystemTime) -> Self {
        let (progress, backoff) = (Duration::from_secs(30), Duration::from_millis(500));
        let (whole, longest_wait) = (Duration::from_secs(60), Duration::from_secs(60));
        Self {
            client,
            progress,
            whole,
            attempts: 5,
            backoff,
            longest_wait,
            now,
        }
    }
}

/// The largest answer that is read, in bytes: GitHub's tree listings end at 7 MB, file contents at
/// 100 MB in base64.
const ANSWER_MAX: usize = 160 * 1024 * 1024;
/// How much of an error's answer is read.
const ERROR_MAX: usize = 64 * 1024;
/// How much of what a server says is shown, in columns.
const SHOWN: usize = 300;
/// Entries of a page.
pub(super) const PAGE: usize = 100;
/// Pages that are read before a listing is given up on: then it is incomplete, and nothing is done
/// with it.
pub(super) const PAGES_MAX: usize = 300;

/// An API, asked with a token.
#[derive(Debug)]
pub(super) struct Http {
    settings: Settings,
    base: Url,
    token: Token,
    secrets: Secrets,
    headers: HeaderMap,
    heard: Cell<Option<Heard>>,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Below the API's base.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) twice: Twice,
    /// Only if it is not this any more (`ETag`).
    pub(super) unless: Option<String>,
    /// What it is for, in messages.
    pub(super) what: String,
}

/// Whether a request may happen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// The second time changes nothing.
    Harmless,
    /// There would be two of something.
    Never,
}

/// How a listing tells whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    /// By the header `Link`, which is left out where there is one page (GitHub).
    Links,
    /// By the number of all entries; where that is not told, the listing ends with an empty page
    /// (Gitea).
    Counted,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the request may have been carried out all the same.
    pub(super) unsure: bool,
    /// Whether another attempt may end otherwise.
    again: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Request {
    /// A request for `path` below the API's base; a GET, PUT, PATCH or DELETE may be sent again.
    pub(super) fn new<'p>(
        method: Method,
        path: impl IntoIterator<Item = &'p str>,
        what: impl Into<String>,
    ) -> Self {
        let twice = if method == Method::POST {
            Twice::Never
        } else {
            Twice::Harmless
        };
        let path = path
            .into_iter()
            .flat_map(|part| part.split('/'))
            .map(str::to_owned)
            .collect();
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            twice,
            unless: None,
            what: what.into(),
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Display) -> Self {
        self.query.push((name, format!("{value}")));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// A POST whose second time changes nothing.
    pub(super) fn harmless(mut self) -> Self {
        self.twice = Twice::Harmless;
        self
    }
}

impl Http {
    /// `scheme`: what stands before the token in the header.
    pub(super) fn new(
        target: &Target,
        token: Token,
        scheme: &str,
        settings: Settings,
    ) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("{scheme} {}", token.expose()));
        let mut value = value.map_err(|_| {
            Error::new(
                ErrorKind::Denied,
                "the token",
                "it does not fit into a header",
            )
        })?;
        value.set_sensitive(true);
        let secrets = Secrets::default();
        secrets.hide(token.expose());
        headers.insert(header::AUTHORIZATION, value);
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(Self {
            settings,
            base: target.api.clone(),
            token,
            secrets,
            headers,
            heard: Cell::new(None),
        })
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The API's base.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// What the server said about the time, last.
    pub(super) fn heard(&self) -> Option<Heard> {
        self.heard.get()
    }

    /// The token that requests carry.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Text from the server, fit to be shown.
    pub(super) fn clean(&self, text: &str) -> String {
        self.secrets.clean(text, SHOWN)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The final answer to `request`, after as many attempts as it takes and may be made.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Failure> {
        let mut made = 0;
        loop {
            made += 1;
            let (failure, wait) = match self.attempt(request).await {
                Ok(reply) => match limit::judge(&reply, self.settings.now) {
                    None => {
                        return self.final_answer(reply).map_err(|error| Failure {
                            error,
                            unsure: false,
                            again: false,
                        });
                    }
                    Some(wait) => {
                        let unsure = reply.status.is_server_error();
                        let error = Error::unavailable(self.what(request), reply.text());
                        (
                            Failure {
                                error,
                                unsure,
                                again: true,
                            },
                            wait,
                        )
                    }
                },
                Err(failure) => (failure, Wait::Usual),
            };
            if !failure.again || failure.unsure && request.twice == Twice::Never {
                return Err(failure);
            }
            let pause = limit::pause(wait, made, &self.settings).map_err(|why| Failure {
                error: Error {
                    why: format!("{}; {why}", failure.error.why),
                    ..failure.error
                },
                unsure: failure.unsure,
                again: false,
            })?;
            tokio::time::sleep(pause).await;
        }
    }

    /// What a request was for, and where.
    fn what(&self, request: &Request) -> String {
        format!(
            "{} ({} {})",
            request.what,
            request.method,
            self.shown(request)
        )
    }

    /// Where a request goes; what its query holds says nothing to people.
    fn shown(&self, request: &Request) -> String {
        let mut url = self.url(request);
        url.set_query(None);
        self.clean(url.as_str())
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            if let Some(from_root) = request
                .path
                .first()
                .filter(|part| part.is_empty())
                .map(|_| &request.path[1..])
            {
                path.clear().extend(from_root);
            } else {
                path.pop_if_empty().extend(&request.path);
            }
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    async fn attempt(&self, request: &Request) -> Result<Reply, Failure> {
        let what = self.what(request);
        let mut call = self
            .settings
            .client
            .request(request.method.clone(), self.url(request))
            .headers(self.headers.clone());
        call = call.timeout(self.settings.whole);
        if let Some(unless) = request
            .unless
            .as_deref()
            .and_then(|etag| HeaderValue::from_str(etag).ok())
        {
            call = call.header(header::IF_NONE_MATCH, unless);
        }
        if let Some(body) = &request.body {
            call = call
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let progress = self.settings.progress;
        let response = tokio::time::timeout(progress, call.send())
            .await
            .map_err(|_| self.silent(&what))?;
        let response = response.map_err(|error| self.broken(&what, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.heard
            .set(Heard::of(&headers, self.settings.now).or(self.heard.get()));
        let max = if status.is_success() {
            ANSWER_MAX
        } else {
            ERROR_MAX
        };
        let body = read(response, max, progress)
            .await
            .map_err(|broken| match broken {
                Broken::Network(error) => self.broken(&what, &error),
                Broken::Silent => self.silent(&what),
                Broken::TooLarge => Failure {
                    error: Error::unavailable(
                        &what,
                        format!("the answer has more than {max} bytes"),
                    ),
                    unsure: true,
                    again: false,
                },
            })?;
        Ok(Reply {
            status,
            headers,
            body,
            what,
            secrets: self.secrets.clone(),
        })
    }

    fn broken(&self, what: &str, error: &reqwest::Error) -> Failure {
        let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
            error.source()
        });
        // The outermost text holds the URL, which stands in `what` already.
        let detail = chain
            .skip(1)
            .last()
            .map_or_else(|| "no answer".to_owned(), ToString::to_string);
        let detail = self.clean(&detail);
        if error.is_connect() {
            let hint = "is forge.url right, and does the network let this machine there?";
            let error = Error::unavailable(what, format!("can't connect: {detail}")).hint(hint);
            return Failure {
                error,
                unsure: false,
                again: true,
            };
        }
        if error.is_timeout() {
            let why = format!("no whole answer within {} s", self.settings.whole.as_secs());
            return Failure {
                error: Error::unavailable(what, why),
                unsure: true,
                again: false,
            };
        }
        Failure {
            error: Error::unavailable(what, format!("the connection broke: {detail}")),
            unsure: true,
            again: true,
        }
    }

    fn silent(&self, what: &str) -> Failure {
        let why = format!("no answer within {} s", self.settings.progress.as_secs());
        Failure {
            error: Error::unavailable(what, why),
            unsure: true,
            again: true,
        }
    }

    /// Redirects and refused tokens are never what a caller could use.
    fn final_answer(&self, reply: Reply) -> Result<Reply, Error> {
        if reply.status == StatusCode::NOT_MODIFIED {
            return Ok(reply);
        }
        if reply.status.is_redirection() {
            let to = reply
                .headers
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .unwrap_or("nowhere");
            let to = self.clean(to.split(['?', '#']).next().unwrap_or_default());
            let why = format!(
                "HTTP {}: it redirects to {to}, where the token is not sent",
                reply.status.as_u16()
            );
            let hint = "the repository or the API moved: correct forge.repository or forge.url";
            return Err(Error::unavailable(&reply.what, why).hint(hint));
        }
        if reply.status == StatusCode::UNAUTHORIZED {
            let hint =
                "the token is wrong, expired or revoked, or is for another server than forge.url";
            return Err(Error::new(ErrorKind::Denied, &reply.what, reply.text()).hint(hint));
        }
        Ok(reply)
    }

    /// A pause before something is looked at again that may not have arrived yet.
    pub(super) async fn breathe(&self, round: u32) {
        let pause = limit::pause(
            Wait::Usual,
            round.clamp(1, self.settings.attempts.saturating_sub(1).max(1)),
            &self.settings,
        );
        tokio::time::sleep(pause.unwrap_or(Duration::ZERO)).await;
    }

    /// All pages of a listing that stands under `key` of each page's object.
    pub(super) async fn pages_in<T: DeserializeOwned>(
        &self,
        request: &Request,
        key: &str,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for number in 1..=PAGES_MAX {
            let request = request
                .clone()
                .query("per_page", PAGE)
                .query("page", number);
            let mut page: serde_json::Map<String, Value> =
                self.send(&request).await?.expect(&[200])?;
            let total = page.get("total_count").and_then(Value::as_u64);
            let wrong = || Error::unavailable(&request.what, "the answer is not what it should be");
            let entries: Vec<T> = serde_json::from_value(page.remove(key).unwrap_or_default())
                .map_err(|_| wrong())?;
            let got = entries.len();
            all.extend(entries);
            if got == 0 || total.is_none_or(|total| all.len() as u64 >= total) {
                return Ok(all);
            }
        }
        Err(Error::unavailable(
            &request.what,
            format!("the listing has more than {PAGES_MAX} pages"),
        ))
    }

    /// All pages of a listing; the server's idea of a page's size is its own.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        request: &Request,
        paging: Paging,
    ) -> Result<Vec<T>, Error> {
        let limit = if paging == Paging::Links {
            "per_page"
        } else {
            "limit"
        };
        let mut all = Vec::new();
        for number in 1..=PAGES_MAX {
            let request = request.clone().query(limit, PAGE).query("page", number);
            let reply = self.send(&request).await?;
            let entries: Vec<Option<T>> = reply.expect(&[200])?;
            let (got, more) = (entries.len(), reply.more(paging, all.len() + entries.len()));
            all.extend(entries);
            if got == 0 || !more {
                // What the server could not load stands there as null; it can't be passed over.
                let whole: Option<Vec<T>> = all.into_iter().collect();
                return whole
                    .ok_or_else(|| Error::unavailable(&request.what, "the listing has a hole"));
            }
        }
        Err(Error::unavailable(
            &request.what,
            format!("the listing has more than {PAGES_MAX} pages"),
        ))
    }
}

enum Broken {
    Network(reqwest::Error),
    Silent,
    TooLarge,
}

async fn read(mut response: Response, max: usize, progress: Duration) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    let next = async |response: &mut Response| {
        let chunk = tokio::time::timeout(progress, response.chunk()).await;
        chunk.map_err(|_| Broken::Silent)?.map_err(Broken::Network)
    };
    while let Some(chunk) = next(&mut response).await? {
        if body.len() + chunk.len() > max {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

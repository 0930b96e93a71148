//! Requests to one API: the token, paging, and the messages of failures; [`crate::base::http`] sends them.
//!
//! Redirects are never followed. A request that must not be carried out twice is sent once; if its
//! outcome is uncertain, the failure is marked so, and the caller checks the state of the server.

mod reply;

use std::{
    borrow::Cow,
    fmt::Display,
    time::{Duration, SystemTime},
};

use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ServerFacts, Token, TokenFacts, token::TokenHeader};
use crate::base::{
    error::{Class, Error},
    http::{
        Body, Call, Cause, Client, Effect, FORGES, Idempotency, Network, PauseListener, Policy,
        RequestPacer, ServerTime, ServerTimes, SharedDeadline, Stage, StopReason, TlsFailure,
        Transport, WaitReason, address::host_of, to_second,
    },
    untrusted::Secrets,
};
use reply::is_heavy;
pub(super) use reply::{Reply, renamed};

/// The settings of a forge's client; all are passed in.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The connections.
    pub client: Transport,
    /// The maximum time without progress: connecting, headers, or the next bytes.
    pub progress: Duration,
    /// The total time limit of one attempt; an attempt that reaches it is not retried.
    pub whole: Duration,
    /// The maximum number of attempts, including the first.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further attempt, and a random part
    /// of up to a half is subtracted.
    pub backoff: Duration,
    /// The pause after a rate limit if the server does not report its end; it doubles with each
    /// further attempt.
    pub limit_pause: Duration,
    /// The total time of the command's requests to forges.
    pub time: SharedDeadline,
    /// Spaces the requests of a process that works on many repositories; `None`: no pauses.
    pub pace: Option<RequestPacer>,
    pub facts: TokenFacts,
    pub server: ServerFacts,
    /// Whether a merge may be requested on GitLab although no pipeline exists.
    pub merges_unchecked: bool,
    /// Receives the pauses that a server requests.
    pub pause_listener: PauseListener,
    /// Receives the clocks of the servers.
    pub server_times: ServerTimes,
    /// The wall clock: a rate limit may end at a time of day, and a server may send no time.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// The documented time limits.
    pub(crate) fn new(client: Transport, now: fn() -> SystemTime) -> Self {
        Self {
            client,
            progress: FORGES.stall_timeout,
            whole: FORGES.document_timeout,
            attempts: FORGES.attempts,
            backoff: FORGES.backoff,
            limit_pause: FORGES.limit_pause,
            time: SharedDeadline::new(DEFAULT_DEADLINE, "REPIN_DEADLINE"),
            pace: None,
            facts: TokenFacts::default(),
            server: ServerFacts::default(),
            merges_unchecked: false,
            pause_listener: PauseListener::default(),
            server_times: ServerTimes::default(),
            now,
        }
    }

    fn policy(&self) -> Policy {
        Policy {
            stall_timeout: self.progress,
            document_timeout: self.whole,
            attempts: self.attempts,
            backoff: self.backoff,
            limit_pause: self.limit_pause,
            ..FORGES
        }
    }
}

/// The default of the total time of a command's requests to forges.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(900);

/// The maximum size of a response, in bytes: GitHub's tree listings end at 7 MB, and files with
/// pins are text. A whole parsed response must fit well into the memory of a run.
const MAX_RESPONSE: u64 = 32 * 1024 * 1024;
/// The maximum width of a server's message, in columns.
const MESSAGE_WIDTH: usize = 300;
/// Entries of a page.
pub(super) const PAGE: usize = 100;
/// The maximum number of pages of a listing; a longer listing is an error.
pub(super) const MAX_PAGES: usize = 300;

/// The client of an API.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    time: SharedDeadline,
    base: Url,
    token: Token,
    secrets: Secrets,
    /// `None` for anonymous requests.
    authorization: Option<(HeaderName, HeaderValue)>,
    headers: HeaderMap,
    pub(super) server: ServerFacts,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The segments below the base of the API, or below the root if the first one is empty.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(Cow<'static, str>, String)>,
    pub(super) body: Option<Value>,
    pub(super) idempotency: Idempotency,
    /// Requests the resource only if it changed since the server sent this `ETag`.
    pub(super) etag: Option<String>,
    /// The maximum size of its response, in bytes.
    pub(super) max: u64,
    pub(super) effect: Effect,
    /// The maximum number of attempts; `None`: that of the policy.
    pub(super) attempts: Option<u32>,
    /// Whether the caller handles a redirect; otherwise a redirect is an error.
    pub(super) handles_redirect: bool,
    /// Whether the caller handles 401, which GitLab also sends to a valid token; otherwise it is an error of
    /// the token.
    pub(super) handles_unauthorized: bool,
    /// The purpose in messages.
    pub(super) what: String,
}

/// How a listing shows whether more pages follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    /// By the header `Link`, which is missing if the listing has one page (GitHub).
    Links,
    /// By the total number of entries; without that number, an empty page is the last one (Gitea
    /// and Forgejo).
    Counted,
    /// By the number of the next page in a header, which is empty on the last one (GitLab). The total is
    /// missing in long listings. A listing by keyset has the URL of the next page instead, in the header `Link`
    /// (<https://docs.gitlab.com/api/rest/#keyset-based-pagination>).
    NextPage,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the request may have been carried out anyway.
    pub(super) unsure: bool,
    /// Whether a smaller request may succeed: the response was too large, or it took the server too
    /// long.
    pub(super) heavy: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Request {
    /// A request for `path` below the API's base; a GET, PUT, PATCH or DELETE is retried.
    pub(super) fn new<'p>(
        method: Method,
        path: impl IntoIterator<Item = &'p str>,
        what: impl Into<String>,
    ) -> Self {
        let idempotency = if method == Method::POST {
            Idempotency::Once
        } else {
            Idempotency::Repeatable
        };
        let effect = if method == Method::GET {
            Effect::Read
        } else {
            Effect::Write
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
            idempotency,
            etag: None,
            max: MAX_RESPONSE,
            effect,
            attempts: None,
            handles_redirect: false,
            handles_unauthorized: false,
            what: what.into(),
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Display) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// A POST without an effect on the server.
    pub(super) fn read_only(mut self) -> Self {
        self.effect = Effect::Read;
        self.repeatable()
    }

    /// A POST with an idempotent effect.
    pub(super) fn repeatable(mut self) -> Self {
        self.idempotency = Idempotency::Repeatable;
        self
    }
}

impl Http {
    pub(super) fn new(
        api: &Url,
        token: Token,
        token_header: TokenHeader,
        settings: Settings,
    ) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let secrets = Secrets::default();
        let mut authorization = None;
        if let Some(text) = token.expose() {
            secrets.hide(text);
            let (name, value) = token_header.of(&token, text);
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                Error::about(Class::Denied, "the token", "it cannot be sent in a header")
            })?;
            value.set_sensitive(true);
            authorization = Some((name, value));
        }
        let policy = settings.policy();
        let client = Client::new(settings.client, policy, settings.now, secrets.clone());
        Ok(Self {
            client: client
                .with_pause_listener(settings.pause_listener)
                .with_server_times(settings.server_times)
                .with_pace(settings.pace),
            time: settings.time,
            base: api.clone(),
            token,
            secrets,
            authorization,
            headers,
            server: settings.server,
        })
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The base of the API.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn server_time(&self) -> Option<ServerTime> {
        self.client.server_time(&self.base)
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Text from the server, cleaned for messages.
    pub(super) fn clean(&self, text: &str) -> String {
        self.secrets.clean(text, MESSAGE_WIDTH)
    }

    pub(super) fn policy(&self) -> &Policy {
        self.client.policy()
    }

    pub(super) fn now(&self) -> fn() -> SystemTime {
        self.client.now()
    }

    /// The final response to `request`, after retries. A redirect and a refused token are errors. A refused token is not
    /// sent again: GitLab blocks an address after 30 of them.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Failure> {
        if let Some(error) = self.server.refusal(&self.token) {
            return Err(certain(error));
        }
        let reply = self.exchange(request).await?;
        if reply.is_redirect() && !request.handles_redirect {
            let error = self.renamed(request, &reply).await;
            return Err(certain(error.unwrap_or_else(|| self.redirected(&reply))));
        }
        if reply.status == StatusCode::UNAUTHORIZED && !request.handles_unauthorized {
            let hint = "set a valid token for the server of forge.url: this one is wrong, expired, revoked, or for another server";
            let error = Error::about(Class::Denied, &reply.what, reply.text()).help(hint);
            self.server.refuse(&self.token, &error);
            return Err(certain(error));
        }
        Ok(reply)
    }

    /// The final response to `request` with any status.
    async fn exchange(&self, request: &Request) -> Result<Reply, Failure> {
        let what = self.describe(request);
        let call = self.call(request);
        let sent = self.client.send(&call, self.time.deadline()).await;
        let reply = sent.map_err(|failure| self.failure(&what, &failure))?;
        let Body::Complete(body) = reply.body else {
            let error = Error::unavailable(what, "the response was not read");
            return Err(certain(error));
        };
        Ok(Reply {
            status: reply.status,
            headers: reply.headers,
            body,
            is_repeat: reply.is_repeat,
            what,
            secrets: self.secrets.clone(),
        })
    }

    /// The purpose of a request, its method and its URL without the query.
    fn describe(&self, request: &Request) -> String {
        let mut url = self.url(request);
        url.set_query(None);
        let url = self.clean(url.as_str());
        format!("{} ({} {url})", request.what, request.method)
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            match request.path.split_first() {
                Some((first, below_root)) if first.is_empty() => path.clear().extend(below_root),
                _ => path.pop_if_empty().extend(&request.path),
            };
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    fn call(&self, request: &Request) -> Call {
        let mut call = Call::get(self.url(request), request.max);
        call.method = request.method.clone();
        call.headers = self.headers.clone();
        match &self.authorization {
            Some((name, value)) if *name == header::AUTHORIZATION => {
                call.authorization = Some(value.clone());
            }
            Some((name, value)) => drop(call.headers.insert(name, value.clone())),
            None => {}
        }
        call.idempotency = request.idempotency;
        call.effect = request.effect;
        call.attempts = request.attempts;
        if let Some(etag) = &request.etag
            && let Ok(etag) = HeaderValue::from_str(etag)
        {
            call.headers.insert(header::IF_NONE_MATCH, etag);
        }
        if let Some(body) = &request.body {
            let json = HeaderValue::from_static("application/json");
            call.headers.insert(header::CONTENT_TYPE, json);
            call.content = Some(body.to_string());
        }
        call
    }

    fn failure(&self, what: &str, failure: &crate::base::http::Failure) -> Failure {
        let mut error = self.cause_error(what, &failure.cause);
        let stopped = match failure.stop {
            StopReason::PastDeadline { reason, wait } => {
                error = error
                    .class(Class::Limited)
                    .help("run the command again after that time");
                self.past_deadline(reason, wait)
            }
            StopReason::Final => String::new(),
            StopReason::LongWait { requested, longest } => format!(
                "; the server asked to wait {} s; repin waits at most {} s",
                requested.as_secs(),
                longest.as_secs()
            ),
            StopReason::Attempts(1) | StopReason::Deadline(1) => "; tried once".to_owned(),
            StopReason::Attempts(made) | StopReason::Deadline(made) => {
                format!("; tried {made} times")
            }
        };
        error.message += &stopped;
        Failure {
            error,
            unsure: failure.cause.may_have_taken_effect(),
            heavy: is_heavy(&failure.cause),
        }
    }

    /// Describes a wait that would exceed the deadline.
    fn past_deadline(&self, reason: WaitReason, wait: Duration) -> String {
        let host = host_of(&self.base);
        let reason = match reason {
            WaitReason::Limit => format!("rate limited by {host}"),
            WaitReason::Busy => format!("{host} asks to wait"),
        };
        // A server may request a wait of centuries, which the number of seconds states.
        let day = Duration::from_secs(86_400);
        let end = self.now()().checked_add(wait).filter(|_| wait < day);
        let until = end.map_or_else(String::new, |end| format!("until {}, ", to_second(end)));
        format!(
            "; {reason} {until}for {} s, past this command's deadline ({})",
            wait.as_secs(),
            self.time.describe()
        )
    }

    fn cause_error(&self, what: &str, cause: &Cause) -> Error {
        let reason = match cause {
            Cause::NoClient(reason) | Cause::Redirect(reason) => reason.clone(),
            Cause::Status { status, body } => {
                let reason = reply::status_text(*status, body, &self.secrets);
                return Error::unavailable(what, reason).status(*status);
            }
            Cause::Network(network) => return self.network_error(what, network),
            Cause::Stalled(progress) => format!("no response within {} s", progress.as_secs()),
            Cause::Overdue(whole) => {
                format!("the response was not complete within {} s", whole.as_secs())
            }
            Cause::TooLarge(max) => format!("the response has more than {max} bytes"),
            Cause::Compressed => "the response is compressed".to_owned(),
            Cause::Parked => "it was not sent".to_owned(),
        };
        Error::unavailable(what, reason)
    }

    fn network_error(&self, what: &str, network: &Network) -> Error {
        if network.tls == Some(TlsFailure::NotTls) {
            let hint = "for a plain HTTP server, set forge.url to http://HOST/PATH";
            return Error::unavailable(what, "the server does not speak TLS").help(hint);
        }
        let detail = self.clean(network.detail.as_deref().unwrap_or("no response"));
        match network.stage {
            Stage::Connecting => {
                let hint = "check forge.url, and that this machine can reach the server";
                Error::unavailable(what, format!("cannot connect: {detail}")).help(hint)
            }
            Stage::Connected => {
                Error::unavailable(what, format!("the connection was interrupted: {detail}"))
            }
        }
    }

    pub(super) fn redirected(&self, reply: &Reply) -> Error {
        let target = reply
            .header("location")
            .unwrap_or("nowhere")
            .split(['?', '#'])
            .next()
            .unwrap_or_default();
        let reason = format!(
            "HTTP {}: it redirects to {}, where the token is not sent",
            reply.status.as_u16(),
            self.clean(target)
        );
        Error::unavailable(&reply.what, reason)
            .help("the repository or the API moved: correct forge.repository or forge.url")
    }

    /// Pauses before a change is read that may not be visible yet; longer with each round.
    pub(super) async fn back_off(&self, round: u32) {
        let round = round.clamp(1, self.policy().attempts.saturating_sub(1).max(1));
        tokio::time::sleep(self.policy().usual_pause(round)).await;
    }

    /// All pages of a listing under `key` of each page's object.
    pub(super) async fn pages_in<T: DeserializeOwned>(
        &self,
        request: &Request,
        key: &str,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for number in 1..=MAX_PAGES {
            let request = request
                .clone()
                .query("per_page", PAGE)
                .query("page", number);
            let mut page: serde_json::Map<String, Value> =
                self.send(&request).await?.expect(&[200])?;
            let total = page.get("total_count").and_then(Value::as_u64);
            let entries: Vec<T> = serde_json::from_value(page.remove(key).unwrap_or_default())
                .map_err(|_| Error::unavailable(&request.what, "malformed response"))?;
            let is_empty = entries.is_empty();
            all.extend(entries);
            if is_empty || total.is_none_or(|total| all.len() as u64 >= total) {
                return Ok(all);
            }
        }
        Err(too_many_pages(&request.what))
    }

    /// All pages of a listing; the server may choose another page size.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        request: &Request,
        paging: Paging,
    ) -> Result<Vec<T>, Error> {
        let limit = match paging {
            Paging::Links | Paging::NextPage => "per_page",
            Paging::Counted => "limit",
        };
        let request = request.clone().query(limit, PAGE);
        self.pages_of(&request, paging, |reply| match paging {
            Paging::Links | Paging::NextPage => reply.expect(&[200]),
            Paging::Counted => reply.expect_list(),
        })
        .await
    }

    /// All pages of a listing. `read` extracts the entries from a response.
    pub(super) async fn pages_of<T>(
        &self,
        request: &Request,
        paging: Paging,
        read: impl Fn(&Reply) -> Result<Vec<Option<T>>, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut page = request.clone().query("page", 1);
        for number in 2..=MAX_PAGES + 1 {
            let reply = self.send(&page).await?;
            let entries = read(&reply)?;
            let is_empty = entries.is_empty();
            all.extend(entries);
            if is_empty || !reply.has_more(paging, all.len()) {
                // Gitea lists null for an entry that it could not load.
                let all: Option<Vec<T>> = all.into_iter().collect();
                return all.ok_or_else(|| {
                    Error::unavailable(&request.what, "the listing contains a null entry")
                });
            }
            page = match reply.keyset_link(paging) {
                Some(link) => self.linked(request, link)?,
                None => request.clone().query("page", number),
            };
        }
        Err(too_many_pages(&request.what))
    }
}

pub(super) fn too_many_pages(what: &str) -> Error {
    let reason = format!("the listing has more than {MAX_PAGES} pages");
    Error::unavailable(what, reason)
}

/// The failure of a request that was certainly not carried out.
fn certain(error: Error) -> Failure {
    Failure {
        error,
        unsure: false,
        heavy: false,
    }
}

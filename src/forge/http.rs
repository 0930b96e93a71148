//! Requests to one API: the token, paging, and messages of failures; [`crate::http`] sends them.
//!
//! Nothing here knows what a request means. Redirects are never followed. A request that could
//! happen twice is sent once: if that remains uncertain, the
//! caller learns it and reads the outcome.

mod renamed;
mod reply;

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Token, TokenFacts};
use crate::{
    error::{Class, Error},
    http::{
        Body, Call, Cause, Client, Effect, FORGES, Idempotency, Network, Pace, PauseListener,
        Policy, ServerTime, SharedDeadline, Stage, StopReason, TlsFailure, Transport, WaitReason,
        address::host_of, time_of_day,
    },
    untrusted::Secrets,
};
pub(super) use renamed::renamed;
pub(super) use reply::Reply;

/// The settings of a forge's client; all are passed in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The connections.
    pub client: Transport,
    /// How long a response may make no progress: connecting, headers, or the next bytes.
    pub progress: Duration,
    /// The total time limit of one attempt; an attempt that reaches it is not retried.
    pub whole: Duration,
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one, and chance shortens
    /// it by up to a half.
    pub backoff: Duration,
    /// The pause after a rate limit whose end the server does not name; it doubles with each
    /// further one.
    pub limit_pause: Duration,
    /// The total time that the command waits for forges.
    pub time: SharedDeadline,
    /// When the requests of a process may begin that works on many repositories; `None`: at once.
    pub pace: Option<Pace>,
    /// What the process knows about the token.
    pub facts: TokenFacts,
    /// Receives the pauses that a server asks for.
    pub pause_listener: PauseListener,
    /// The wall clock: a rate limit's end is a time of day, of a server that may not report its own.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// The times of the documentation.
    pub fn new(client: Transport, now: fn() -> SystemTime) -> Self {
        Self {
            client,
            progress: FORGES.stall_timeout,
            whole: FORGES.document_timeout,
            attempts: FORGES.attempts,
            backoff: FORGES.backoff,
            limit_pause: FORGES.limit_pause,
            time: SharedDeadline::new(TIME, "REPIN_DEADLINE"),
            pace: None,
            facts: TokenFacts::default(),
            pause_listener: PauseListener::default(),
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

/// How long a command waits for forges in all by default.
pub const TIME: Duration = Duration::from_secs(900);

/// The maximum size of a response, in bytes: GitHub's tree listings end at 7 MB, and files with
/// pins are text. A whole parsed response must fit well into the memory of a run.
const ANSWER_MAX: u64 = 32 * 1024 * 1024;
/// The maximum width of a server's message, in columns.
const SHOWN: usize = 300;
/// Entries of a page.
pub(super) const PAGE: usize = 100;
/// Pages that are read before a listing is given up on: then it is incomplete, and nothing is done
/// with it.
pub(super) const PAGES_MAX: usize = 300;

/// An API, asked with a token.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    time: SharedDeadline,
    base: Url,
    token: Token,
    secrets: Secrets,
    authorization: HeaderValue,
    headers: HeaderMap,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Below the API's base.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) idempotency: Idempotency,
    /// Only if it changed since this `ETag`.
    pub(super) unless: Option<String>,
    /// The maximum size of its response, in bytes.
    pub(super) max: u64,
    /// Whether it changes something.
    pub(super) effect: Effect,
    /// How often it is tried at most, besides what the policy says.
    pub(super) attempts: Option<u32>,
    /// Whether the caller reads where a redirect leads; otherwise a redirect is an error.
    pub(super) may_move: bool,
    /// Its purpose, in messages.
    pub(super) what: String,
}

/// How a listing shows whether more pages follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    /// By the header `Link`, which is left out where there is one page (GitHub).
    Links,
    /// By the number of all entries; without that number, the listing ends with an empty page
    /// (Gitea).
    Counted,
}

/// The error of the request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the request may have been carried out anyway.
    pub(super) unsure: bool,
    /// Whether it may be because so much was requested at once: the response was too large, or it
    /// took the server too long.
    pub(super) heavy: bool,
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
            unless: None,
            max: ANSWER_MAX,
            effect,
            attempts: None,
            may_move: false,
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

    /// A POST that only reads.
    pub(super) fn reading(mut self) -> Self {
        self.effect = Effect::Read;
        self.harmless()
    }

    /// A POST whose second time changes nothing.
    pub(super) fn harmless(mut self) -> Self {
        self.idempotency = Idempotency::Repeatable;
        self
    }
}

impl Http {
    /// `scheme`: the word before the token in the header.
    pub(super) fn new(
        api: &Url,
        token: Token,
        scheme: &str,
        settings: Settings,
    ) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("{scheme} {}", token.expose()));
        let mut value = value.map_err(|_| {
            Error::about(Class::Denied, "the token", "it cannot be sent in a header")
        })?;
        value.set_sensitive(true);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let secrets = Secrets::default();
        secrets.hide(token.expose());
        let policy = settings.policy();
        let client = Client::new(settings.client, policy, settings.now, secrets.clone());
        Ok(Self {
            client: client
                .with_pause_listener(settings.pause_listener)
                .with_pace(settings.pace),
            time: settings.time,
            base: api.clone(),
            token,
            secrets,
            authorization: value,
            headers,
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

    /// The server's clock at its last response.
    pub(super) fn server_time(&self) -> Option<ServerTime> {
        self.client.server_time(&self.base)
    }

    /// The token that requests carry.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Text from the server, safe to show.
    pub(super) fn clean(&self, text: &str) -> String {
        self.secrets.clean(text, SHOWN)
    }

    /// How often a request is tried, the first time included.
    pub(super) fn attempts(&self) -> u32 {
        self.client.policy().attempts
    }

    /// The wall clock.
    pub(super) fn now(&self) -> fn() -> SystemTime {
        self.client.now()
    }

    /// The final response to `request`, after as many attempts as it takes and may be made.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Failure> {
        let reply = self.exchange(request).await?;
        let redirects = reply.status.is_redirection() && reply.status != StatusCode::NOT_MODIFIED;
        if redirects && request.may_move {
            return Ok(reply);
        }
        if redirects && let Some(error) = self.renamed(request, &reply).await {
            return Err(sure(error));
        }
        self.final_answer(reply).map_err(sure)
    }

    /// The response to `request`, whatever its status means.
    async fn exchange(&self, request: &Request) -> Result<Reply, Failure> {
        let what = self.what(request);
        let call = self.call(request);
        let sent = self.client.send(&call, self.time.deadline()).await;
        let reply = sent.map_err(|failure| self.failure(&what, &failure))?;
        let Body::Complete(body) = reply.body else {
            return Err(sure(Error::unavailable(what, "the response was not read")));
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

    /// What a request was for, and where.
    fn what(&self, request: &Request) -> String {
        format!(
            "{} ({} {})",
            request.what,
            request.method,
            self.shown(request)
        )
    }

    /// The URL of a request, without its query.
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

    fn call(&self, request: &Request) -> Call {
        let mut call = Call::get(self.url(request), request.max);
        call.method = request.method.clone();
        call.authorization = Some(self.authorization.clone());
        call.headers = self.headers.clone();
        call.idempotency = request.idempotency;
        call.effect = request.effect;
        call.attempts = request.attempts;
        let unless = request.unless.as_deref();
        if let Some(unless) = unless.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            call.headers.insert(header::IF_NONE_MATCH, unless);
        }
        if let Some(body) = &request.body {
            let json = HeaderValue::from_static("application/json");
            call.headers.insert(header::CONTENT_TYPE, json);
            call.content = Some(body.to_string());
        }
        call
    }

    fn failure(&self, what: &str, failure: &crate::http::Failure) -> Failure {
        let mut error = self.caused(what, &failure.cause);
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

    /// A wait that would pass the deadline: until when, and which deadline.
    fn past_deadline(&self, reason: WaitReason, wait: Duration) -> String {
        let host = host_of(&self.base);
        let reason = match reason {
            WaitReason::Limit => format!("rate limited by {host}"),
            WaitReason::Busy => format!("{host} asks to wait"),
        };
        // More than a day ahead, a time of day is ambiguous.
        let day = Duration::from_secs(86_400);
        let at = self.now()().checked_add(wait).filter(|_| wait < day);
        let until = at.map_or_else(String::new, |at| format!("until {}, ", time_of_day(at)));
        format!(
            "; {reason} {until}for {} s, past this command's deadline ({})",
            wait.as_secs(),
            self.time.describe()
        )
    }

    fn caused(&self, what: &str, cause: &Cause) -> Error {
        let reason = match cause {
            Cause::NoClient(reason) | Cause::Redirect(reason) => reason.clone(),
            Cause::Status { status, body } => {
                let reason = reply::status_text(*status, body, &self.secrets);
                return Error::unavailable(what, reason).status(*status);
            }
            Cause::Network(network) => return self.below_http(what, network),
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

    fn below_http(&self, what: &str, network: &Network) -> Error {
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

    /// Fails on a redirect and on a refused token, which no caller handles.
    fn final_answer(&self, reply: Reply) -> Result<Reply, Error> {
        if reply.status.is_redirection() && reply.status != StatusCode::NOT_MODIFIED {
            let to = reply
                .headers
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .unwrap_or("nowhere");
            let to = self.clean(to.split(['?', '#']).next().unwrap_or_default());
            let reason = format!(
                "HTTP {}: it redirects to {to}, where the token is not sent",
                reply.status.as_u16()
            );
            let hint = "the repository or the API moved: correct forge.repository or forge.url";
            return Err(Error::unavailable(&reply.what, reason).help(hint));
        }
        if reply.status == StatusCode::UNAUTHORIZED {
            let hint = "set a valid token for the server of forge.url: this one is wrong, expired, revoked, or for another server";
            return Err(Error::about(Class::Denied, &reply.what, reply.text()).help(hint));
        }
        Ok(reply)
    }

    /// A pause before reading again what may not have arrived yet; longer with each round.
    pub(super) async fn back_off(&self, round: u32) {
        let round = round.clamp(1, self.attempts().saturating_sub(1).max(1));
        tokio::time::sleep(self.client.policy().usual_pause(round)).await;
    }

    /// All pages of a listing under `key` of each page's object.
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
            let wrong = || Error::unavailable(&request.what, "malformed response");
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
        let request = request.clone().query(limit, PAGE);
        self.pages_of(&request, paging, |reply| match paging {
            Paging::Links => reply.expect(&[200]),
            Paging::Counted => reply.expect_list(),
        })
        .await
    }

    /// All pages of a listing whose entries `read` takes from a response.
    pub(super) async fn pages_of<T>(
        &self,
        request: &Request,
        paging: Paging,
        read: impl Fn(&Reply) -> Result<Vec<Option<T>>, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for number in 1..=PAGES_MAX {
            let reply = self.send(&request.clone().query("page", number)).await?;
            let entries = read(&reply)?;
            let (got, more) = (entries.len(), reply.more(paging, all.len() + entries.len()));
            all.extend(entries);
            if got == 0 || !more {
                // Gitea lists null for an entry that it could not load.
                let whole: Option<Vec<T>> = all.into_iter().collect();
                return whole.ok_or_else(|| {
                    Error::unavailable(&request.what, "the listing contains a null entry")
                });
            }
        }
        Err(Error::unavailable(
            &request.what,
            format!("the listing has more than {PAGES_MAX} pages"),
        ))
    }
}

/// The failure of a request that was certainly not carried out.
fn sure(error: Error) -> Failure {
    Failure {
        error,
        unsure: false,
        heavy: false,
    }
}

/// Whether a smaller request may do better. Reported of GitHub: 502 or 504 for a query that takes more
/// than ten seconds.
fn is_heavy(cause: &Cause) -> bool {
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

//! Single requests: places in flight, redirects, caps, and attempts.
//!
//! What a request means, which credentials it carries and whether its bytes are the right ones is
//! decided above. In: a [`Call`]. Out: a [`Reply`] with a bounded body, or with one that is still
//! to be read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    address::{check_url, host_of, shown},
    retry::{self, Clock, Failure, Fault},
    secret::Secrets,
    settings::Settings,
};
use crate::http::{Heard, Transport, error_body};

/// How many requests to one host are under way at once.
const IN_FLIGHT: usize = 8;
/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// How much of an error's body is read.
const ERROR_MAX: u64 = 8 * 1024;
/// How long it is waited for.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: Option<HeaderValue>,
    pub(super) authorization: Option<HeaderValue>,
    /// A form, which is sent to no other address than `url`.
    pub(super) form: Option<String>,
    /// The first byte wanted, when the ones before are there already.
    pub(super) from: u64,
    pub(super) body: Reading,
}

/// What to do with the body of a success.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    /// Read it, at most so many bytes.
    UpTo(u64),
    /// Leave it to be read.
    Later,
}

/// An answer that is final: no attempt would change it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from in the end.
    pub(super) url: Url,
    pub(super) body: Body,
}

/// The body of a [`Reply`].
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Read(Vec<u8>),
    /// Still to be read.
    Open(Open),
}

/// A body under way, which holds one of its host's places.
#[derive(Debug)]
pub(super) struct Open {
    response: Response,
    clock: Clock,
    place: OwnedSemaphorePermit,
}

/// All that requests share.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) settings: Settings,
    pub(super) secrets: Arc<Secrets>,
    pub(super) transport: Transport,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Hosts that a request gave up on, and why: the others need not wait as long to learn the
    /// same.
    down: Mutex<HashMap<String, Fault>>,
    /// What hosts said about the time, the last of each.
    heard: Mutex<BTreeMap<String, Heard>>,
}

impl Call {
    /// A GET of `url` whose body is a document of at most `max` bytes.
    pub(super) fn get(url: Url, max: u64) -> Self {
        let body = Reading::UpTo(max);
        Self {
            method: Method::GET,
            url,
            accept: None,
            authorization: None,
            form: None,
            from: 0,
            body,
        }
    }
}

impl Http {
    pub(super) fn new(settings: Settings, secrets: Arc<Secrets>, transport: Transport) -> Self {
        let (places, down, heard) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            settings,
            secrets,
            transport,
            places,
            down,
            heard,
        }
    }

    /// When a request that begins now makes no further attempt.
    pub(super) fn patience(&self) -> Instant {
        Instant::now() + self.settings.patience
    }

    /// The answer to `call`, after as many attempts as it takes and the settings allow.
    pub(super) async fn send(&self, call: &Call, until: Instant) -> Result<Reply, Fault> {
        let mut failed = 0;
        loop {
            let failure = match self.attempt(call).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            failed += 1;
            let document = matches!(call.body, Reading::UpTo(_));
            let silent = failure.silent && document;
            match retry::pause(failure, failed, &self.settings, until) {
                Ok(pause) => tokio::time::sleep(pause).await,
                Err(fault) => {
                    if silent {
                        lock(&self.down).insert(host_of(&call.url), fault.clone());
                    }
                    return Err(fault);
                }
            }
        }
    }

    /// What hosts said about the time, by their names.
    pub(super) fn clocks(&self) -> Vec<(String, Heard)> {
        lock(&self.heard)
            .iter()
            .map(|(host, heard)| (host.clone(), *heard))
            .collect()
    }

    async fn attempt(&self, call: &Call) -> Result<Reply, Failure> {
        let place = self.place(&call.url).await;
        if let Some(fault) = lock(&self.down).get(&host_of(&call.url)) {
            return Err(fault.clone().never());
        }
        let whole = if matches!(call.body, Reading::Later) {
            self.settings.layer
        } else {
            self.settings.whole
        };
        let clock = Clock::new(whole, self.settings.progress);
        let (mut open, url) = self.open(call, (place, clock)).await?;
        let status = open.response.status();
        let headers = open.response.headers().clone();
        if !status.is_success() {
            let body = open.some().await;
            if retry::is_transient(status) {
                let fault = Fault::unavailable(self.status_text(status, &body));
                return Err(fault.after(retry::retry_after(&headers, self.settings.now)));
            }
            return Ok(Reply {
                status,
                headers,
                url,
                body: Body::Read(body),
            });
        }
        check_encoding(&headers).map_err(Fault::never)?;
        let body = match call.body {
            Reading::Later => Body::Open(open),
            Reading::UpTo(max) => Body::Read(open.all(max, self).await?),
        };
        Ok(Reply {
            status,
            headers,
            url,
            body,
        })
    }

    /// Sends `call` and follows redirects; each host gets its own place in flight.
    async fn open(
        &self,
        call: &Call,
        (mut place, mut clock): (OwnedSemaphorePermit, Clock),
    ) -> Result<(Open, Url), Failure> {
        let mut call = call.clone();
        for _ in 0..=REDIRECTS {
            let client = self
                .transport
                .client(&call.url)
                .map_err(|why| Fault::unavailable(why).hint(ROOTS_HINT).never())?;
            let response = clock
                .run(request(client, &call).send())
                .await?
                .map_err(|error| self.network(&error))?;
            if let Some(heard) = Heard::of(response.headers(), self.settings.now) {
                lock(&self.heard).insert(host_of(&call.url), heard);
            }
            let next =
                redirect((response.status(), response.headers()), &call).map_err(Fault::never)?;
            let mut open = Open {
                response,
                clock,
                place,
            };
            let Some(next) = next else {
                return Ok((open, call.url));
            };
            // Read to its end, the connection can be used again.
            open.some().await;
            clock = open.clock;
            // Given back before another is asked for: two hosts that redirect to one another must
            // not lock up.
            drop(open.place);
            place = self.place(&next).await;
            if next.origin() != call.url.origin() {
                call.authorization = None;
            }
            call.url = next;
        }
        Err(Fault::unavailable(format!("more than {REDIRECTS} redirects")).never())
    }

    async fn place(&self, url: &Url) -> OwnedSemaphorePermit {
        let places = {
            let mut all = lock(&self.places);
            Arc::clone(
                all.entry(host_of(url))
                    .or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT))),
            )
        };
        places
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// What a status and the body of an error say, fit to be shown.
    pub(super) fn status_text(&self, status: StatusCode, body: &[u8]) -> String {
        let reason = status
            .canonical_reason()
            .map(|reason| format!(" {reason}"))
            .unwrap_or_default();
        let said = error_body::message(body)
            .map(|said| self.secrets.clean(&said))
            .filter(|said| !said.is_empty());
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        format!("HTTP {}{reason}{said}", status.as_u16())
    }

    /// What went wrong below HTTP; a certificate does not get better by asking again.
    pub(super) fn network(&self, error: &reqwest::Error) -> Failure {
        let chain = || {
            std::iter::successors(Some(error as &dyn std::error::Error), |error| {
                error.source()
            })
        };
        let tls = chain().find_map(tls_error);
        // The outermost text holds the URL, and its query may be somebody's signature.
        let texts: Vec<String> = chain().skip(1).map(ToString::to_string).collect();
        let detail = texts
            .last()
            .map(|text| self.secrets.clean(text))
            .unwrap_or_default();
        if let Some(tls) = tls {
            let why = format!("TLS failed: {}", self.secrets.clean(&tls));
            return Fault::unavailable(why).hint(ROOTS_HINT).never();
        }
        let stage = if error.is_connect() {
            "can't connect"
        } else {
            "the connection broke"
        };
        let hint = error
            .is_connect()
            .then(|| "is the host name right, and is the registry up?".to_owned());
        Fault {
            hint,
            ..Fault::unavailable(format!("{stage}: {detail}"))
        }
        .later()
        .silent()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ROOTS_HINT: &str = "a registry with a certificate of its own needs REPIN_CA_FILE=FILE.pem; \
                          one without TLS is read by `--source PREFIX=http://HOST`";

/// The text of a TLS error; I/O errors carry theirs inside, sometimes in one another, where
/// `source` skips them.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn request(client: &Client, call: &Call) -> reqwest::RequestBuilder {
    let mut request = client.request(call.method.clone(), call.url.clone());
    request = request.header(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if let Some(accept) = &call.accept {
        request = request.header(header::ACCEPT, accept);
    }
    if let Some(authorization) = &call.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if call.from > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", call.from));
    }
    if let Some(form) = &call.form {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request = request
            .header(header::CONTENT_TYPE, kind)
            .body(form.clone());
    }
    request
}

/// Where a redirect leads, if the answer is one that is followed (RFC 9110, section 15.4).
fn redirect(
    (status, headers): (StatusCode, &HeaderMap),
    call: &Call,
) -> Result<Option<Url>, Fault> {
    if call.method != Method::GET || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut places = headers.get_all(header::LOCATION).iter();
    let (Some(place), None) = (places.next(), places.next()) else {
        return Err(Fault::unavailable(
            "it redirects to no place, or to several",
        ));
    };
    let next = place
        .to_str()
        .ok()
        .and_then(|place| call.url.join(place).ok());
    let Some(mut next) = next else {
        return Err(Fault::unavailable(
            "it redirects to something that is no URL",
        ));
    };
    next.set_fragment(None);
    check_url(&next)
        .map_err(|why| Fault::unavailable(format!("it redirects to {}, {why}", shown(&next))))?;
    if call.url.scheme() == "https" && next.scheme() != "https" {
        return Err(Fault::unavailable(format!(
            "it redirects from https to {}, which is not safe",
            shown(&next)
        )));
    }
    Ok(Some(next))
}

/// A compressed answer is refused: its size says nothing about what it unpacks to, and nobody asked
/// for it.
fn check_encoding(headers: &HeaderMap) -> Result<(), Fault> {
    let identity = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"identity") || value.is_empty()
    };
    if headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(identity)
    {
        return Ok(());
    }
    Err(Fault::unavailable(
        "it is compressed (Content-Encoding), which was not asked for",
    ))
}

impl Open {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self, http: &Http) -> Result<Option<Vec<u8>>, Failure> {
        let chunk = self
            .clock
            .run(self.response.chunk())
            .await?
            .map_err(|error| http.network(&error))?;
        Ok(chunk.map(Vec::from))
    }

    /// How many bytes it says it has.
    pub(super) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// How much of its time is left.
    pub(super) fn left(&self) -> Duration {
        self.clock.left()
    }

    /// Takes over what another attempt left of the time.
    pub(super) fn limit(&mut self, left: Duration) {
        self.clock.limit(left);
    }

    /// All of a body, if it has at most `max` bytes.
    async fn all(mut self, max: u64, http: &Http) -> Result<Vec<u8>, Failure> {
        let too_large = || Fault::unavailable(format!("it has more than {max} bytes")).never();
        if self
            .response
            .content_length()
            .is_some_and(|length| length > max)
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next(http).await? {
            if bytes.len() as u64 + chunk.len() as u64 > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The beginning of the body of an error or a redirect; that it breaks off changes nothing.
    async fn some(&mut self) -> Vec<u8> {
        let mut clock = Clock::new(ERROR_TIME, ERROR_TIME);
        let mut bytes = Vec::new();
        while let Ok(Ok(Some(chunk))) = clock.run(self.response.chunk()).await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > ERROR_MAX {
                break;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(from: &str, to: &str) -> Result<Option<String>, String> {
        let headers = [(header::LOCATION, to.parse().unwrap())]
            .into_iter()
            .collect();
        let call = Call::get(from.parse().unwrap(), 1);
        let next = redirect((StatusCode::TEMPORARY_REDIRECT, &headers), &call);
        next.map(|url| url.map(|url| url.to_string()))
            .map_err(|fault| fault.why)
    }

    #[test]
    fn redirects_lead_to_http_and_never_from_tls_to_none() {
        let to = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(redirected("http://a/v2/x?y", "/z#part"), to("http://a/z"));
        assert_eq!(
            redirected("http://a/v2/x", "https://b/z"),
            to("https://b/z")
        );
        assert_eq!(redirected("https://a/v2/x", "//b/z?q"), to("https://b/z?q"));
        let unsafe_one = redirected("https://a/v2/x", "http://a/z?signature=s3cret").unwrap_err();
        assert!(
            unsafe_one.contains("http://a/z") && !unsafe_one.contains("s3cret"),
            "{unsafe_one}"
        );
        for bad in ["ftp://b/", "http://u:p@b/", "http://u@b/", "http://["] {
            let why = redirected("http://a/", bad).unwrap_err();
            assert!(!why.contains("u:p"), "{why}");
        }
    }

    #[test]
    fn only_reading_follows_and_only_these_statuses() {
        let headers = [(header::LOCATION, "/x".parse().unwrap())]
            .into_iter()
            .collect();
        let get = Call::get("http://a/".parse().unwrap(), 1);
        for status in [200, 300, 304, 305, 306, 399] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(
                redirect((status, &headers), &get).unwrap().is_none(),
                "{status}"
            );
        }
        let delete = Call {
            method: Method::DELETE,
            ..get
        };
        assert!(
            redirect((StatusCode::FOUND, &headers), &delete)
                .unwrap()
                .is_none()
        );
    }
}

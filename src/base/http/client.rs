//! The client: sends requests with limited concurrency, retries them, and follows redirects.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{
    Url, Version,
    header::{self, HeaderMap, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    AttemptError, Body, BodyMode, Call, Cause, Deadline, Encodings, ErrorBody, Failure,
    Idempotency, OpenBody, Outages, Pause, PauseListener, Policy, Redirects, Reply, RequestPacer,
    RetryAdvice, ServerTime, ServerTimes, StopReason, Transport, WaitReason,
    address::host_of,
    body::network_error,
    failure::LogRecord,
    pace::{PastDeadline, Permit},
    policy::TimeBudget,
    transport::{CONNECTIONS, STREAMS, redirect_target},
};
use crate::base::untrusted::Secrets;

/// The longest body of a redirect that is read, so that its connection can be reused.
const MAX_REDIRECT: u64 = 8 * 1024;
const REDIRECT_TIME: Duration = Duration::from_secs(5);

/// Sends requests by one policy.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    policy: Policy,
    now: fn() -> SystemTime,
    secrets: Secrets,
    pause_listener: PauseListener,
    pace: Option<RequestPacer>,
    slots: Mutex<HashMap<String, HostSlots>>,
    /// Hosts that are down, with the failure of the first request to each: later requests fail at
    /// once.
    down: Mutex<HashMap<String, Failure>>,
    /// The last time reported by each host.
    server_times: ServerTimes,
}

/// The slots for concurrent requests to one host.
#[derive(Debug)]
struct HostSlots {
    free: Arc<Semaphore>,
    /// Whether the host speaks HTTP/2 and has [`STREAMS`] slots.
    is_http2: bool,
}

/// The numbers of failed attempts of one request, by kind: each kind has its own pauses.
#[derive(Default)]
struct Failures {
    attempts: u32,
    /// A limit does not count as a failed attempt: it is temporary, and the request had no effect.
    limits: u32,
    limits_without_end: u32,
}

impl Failures {
    /// Counts a failed attempt and returns the number of those of its kind.
    fn add(&mut self, retry: RetryAdvice) -> u32 {
        let count = match retry {
            RetryAdvice::Limited(None) => &mut self.limits_without_end,
            RetryAdvice::Limited(Some(_)) => &mut self.limits,
            RetryAdvice::Never | RetryAdvice::Later | RetryAdvice::After(_) => &mut self.attempts,
        };
        *count += 1;
        *count
    }
}

impl Client {
    /// A client that uses the connections of `transport`. `now` is the wall clock; `secrets` are
    /// redacted in the request log.
    pub(crate) fn new(
        transport: Transport,
        policy: Policy,
        now: fn() -> SystemTime,
        secrets: Secrets,
    ) -> Self {
        Self {
            transport,
            policy,
            now,
            secrets,
            pause_listener: PauseListener::default(),
            pace: None,
            slots: Mutex::default(),
            down: Mutex::default(),
            server_times: ServerTimes::default(),
        }
    }

    /// Reports the pauses that servers request to `pause_listener`.
    #[must_use]
    pub(crate) fn with_pause_listener(self, pause_listener: PauseListener) -> Self {
        Self {
            pause_listener,
            ..self
        }
    }

    /// Records the clocks of servers in `times`.
    #[must_use]
    pub(crate) fn with_server_times(self, times: ServerTimes) -> Self {
        Self {
            server_times: times,
            ..self
        }
    }

    /// Starts requests at the pace of the process.
    #[must_use]
    pub(crate) fn with_pace(self, pace: Option<RequestPacer>) -> Self {
        Self { pace, ..self }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> fn() -> SystemTime {
        self.now
    }

    /// The deadline of a request that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.policy.patience)
    }

    /// The clock of each host at its last response.
    pub(crate) fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.server_times.all()
    }

    /// The clock of the host of `url` at its last response.
    pub(crate) fn server_time(&self, url: &Url) -> Option<ServerTime> {
        self.server_times.of(&host_of(url))
    }

    /// Sends `call`, retries it as the policy allows, and returns the final response.
    pub(crate) async fn send(&self, call: &Call, until: Deadline) -> Result<Reply, Failure> {
        let (mut attempt, mut is_repeat) = (0, false);
        let mut failures = Failures::default();
        loop {
            attempt += 1;
            let permit = self.permit(call, until).await?;
            let slot = self.slot(&call.url).await;
            if let Some(failure) = lock(&self.down).get(&host_of(&call.url)) {
                return Err(failure.clone());
            }
            let result = self.attempt(call, attempt, slot, permit.as_ref()).await;
            let AttemptError { cause, retry } = match result {
                Ok(reply) => return Ok(Reply { is_repeat, ..reply }),
                Err(error) => error,
            };
            is_repeat |= cause.may_have_taken_effect();
            drop(permit);
            match self.pause_before_retry(call, &cause, retry, &mut failures, until) {
                Ok(pause) => self.sleep(pause).await,
                Err(stop) => {
                    let failure = Failure { cause, stop };
                    self.record_outage(call, &failure);
                    return Err(failure);
                }
            }
        }
    }

    /// The permit for the request according to the pace of the process, if it has one.
    async fn permit(&self, call: &Call, until: Deadline) -> Result<Option<Permit>, Failure> {
        let Some(pace) = &self.pace else {
            return Ok(None);
        };
        match pace.begin(call.effect, &call.url, until).await {
            Ok(permit) => Ok(Some(permit)),
            Err(PastDeadline(wait)) => Err(Failure {
                cause: Cause::Parked,
                stop: StopReason::past_limit(wait),
            }),
        }
    }

    /// Determines the pause before the next attempt and reports it to the listener; an error if
    /// there is no further attempt.
    fn pause_before_retry(
        &self,
        call: &Call,
        cause: &Cause,
        retry: RetryAdvice,
        failures: &mut Failures,
        until: Deadline,
    ) -> Result<Duration, StopReason> {
        if call.idempotency == Idempotency::Once && cause.may_have_taken_effect() {
            return Err(StopReason::Final);
        }
        if let (Some(pace), RetryAdvice::Limited(requested)) = (&self.pace, retry) {
            let wait = pace.park(call.effect, &call.url, requested);
            if until.is_over_after(pace.timer().real_duration(wait)) {
                return Err(StopReason::past_limit(wait));
            }
            self.report_pause(&call.url, retry, wait);
            // The pace delays the next attempt, as it delays all other requests.
            return Ok(Duration::ZERO);
        }
        let count = failures.add(retry);
        if let Some(max) = call.attempts.filter(|max| failures.attempts >= *max) {
            return Err(StopReason::Attempts(max));
        }
        let pause = self.policy.pause(retry, count, until)?;
        self.report_pause(&call.url, retry, pause);
        Ok(pause)
    }

    async fn sleep(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        match &self.pace {
            Some(pace) => pace.timer().sleep(wait).await,
            None => tokio::time::sleep(wait).await,
        }
    }

    /// Reports a pause that the server requests.
    fn report_pause(&self, url: &Url, retry: RetryAdvice, pause: Duration) {
        if let (Some(reason), Some(until)) = (retry.wait_reason(), (self.now)().checked_add(pause))
        {
            self.pause_listener.notify(&Pause {
                host: host_of(url),
                reason,
                until,
            });
        }
    }

    /// Records that a host is down, if other requests to it should fail at once.
    fn record_outage(&self, call: &Call, failure: &Failure) {
        let is_document = matches!(call.body, BodyMode::Buffer(_));
        if self.policy.outages == Outages::PerHost && is_document && failure.cause.is_outage() {
            lock(&self.down).insert(host_of(&call.url), failure.clone());
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        attempt: u32,
        slot: OwnedSemaphorePermit,
        permit: Option<&Permit>,
    ) -> Result<Reply, AttemptError> {
        let (mut open, url) = self.open(call, attempt, slot).await?;
        let status = open.response.status();
        let headers = open.response.headers().clone();
        if let (Some(pace), Some(permit)) = (&self.pace, permit)
            && let Some(until) = pace.observe(permit, &url, &headers)
        {
            self.pause_listener.notify(&Pause {
                host: host_of(&url),
                reason: WaitReason::Limit,
                until: pace.to_local_time(until),
            });
        }
        let body = if status.is_success() {
            if self.policy.encodings == Encodings::Refuse && is_compressed(&headers) {
                return Err(open.failed(Cause::Compressed.without_retry()));
            }
            match call.body {
                BodyMode::Stream => Body::Open(Box::new(open)),
                BodyMode::Buffer(max) => {
                    let body = open.read_all(max).await?;
                    let limit = self
                        .policy
                        .graphql_rate_limit(&url, &headers, &body, self.now);
                    if let Some(retry) = limit {
                        return Err(Cause::Status { status, body }.with_retry(retry));
                    }
                    Body::Complete(body)
                }
            }
        } else {
            let body = match self.policy.error_body {
                ErrorBody::Prefix { max, time } => open.read_prefix(max, time).await,
                ErrorBody::Complete { max } => open.read_all(max).await?,
            };
            let temporary = self
                .policy
                .temporary_failure(status, &headers, &body, self.now);
            if let Some(retry) = temporary {
                return Err(Cause::Status { status, body }.with_retry(retry));
            }
            Body::Complete(body)
        };
        if let (Some(pace), Some(permit)) = (&self.pace, permit) {
            pace.record_success(permit, call.effect);
        }
        Ok(Reply {
            status,
            headers,
            url,
            body,
            is_repeat: false,
        })
    }

    /// Sends `call` and follows redirects. Each request occupies a slot of its own host.
    async fn open(
        &self,
        call: &Call,
        attempt: u32,
        slot: OwnedSemaphorePermit,
    ) -> Result<(OpenBody, Url), AttemptError> {
        let total = match call.body {
            BodyMode::Stream => self.policy.stream_timeout,
            BodyMode::Buffer(_) => self.policy.document_timeout,
        };
        let budget = TimeBudget::new(total, self.policy.stall_timeout);
        let mut call = call.clone();
        let mut open = self.exchange(&call, attempt, slot, budget).await?;
        let Redirects::Follow(max) = self.policy.redirects else {
            return Ok((open, call.url));
        };
        let mut followed = 0;
        loop {
            let (status, headers) = (open.response.status(), open.response.headers());
            let target = redirect_target(status, headers, &call)
                .map_err(|reason| open.failed(Cause::Redirect(reason).without_retry()))?;
            let Some(target) = target else {
                return Ok((open, call.url));
            };
            open.read_prefix(MAX_REDIRECT, REDIRECT_TIME).await;
            // The slot is freed before the next one is acquired: two hosts that redirect to each
            // other must not deadlock.
            let budget = open.close();
            if followed == max {
                let reason = format!("more than {max} redirects");
                return Err(Cause::Redirect(reason).without_retry());
            }
            followed += 1;
            if target.origin() != call.url.origin() {
                call.authorization = None;
            }
            call.url = target;
            let slot = self.slot(&call.url).await;
            open = self.exchange(&call, attempt, slot, budget).await?;
        }
    }

    /// Sends `call` once, to its own URL.
    async fn exchange(
        &self,
        call: &Call,
        attempt: u32,
        slot: OwnedSemaphorePermit,
        mut budget: TimeBudget,
    ) -> Result<OpenBody, AttemptError> {
        let after_tls_failure = self.policy.after_tls_failure;
        let client = self
            .transport
            .client(&call.url)
            .map_err(|reason| Cause::NoClient(reason).without_retry())?;
        let mut record = LogRecord::start(&call.method, &call.url, attempt, &self.secrets);
        let result = match budget.run(request(client, call).send()).await {
            Ok(result) => result.map_err(|error| network_error(&error, after_tls_failure)),
            Err(timeout) => Err(timeout.into()),
        };
        let response = result.inspect_err(|error| record.set_failure(&error.cause))?;
        record.set_status(response.status());
        if response.version() == Version::HTTP_2 {
            self.add_http2_slots(&call.url);
        }
        if let Some(time) = ServerTime::from_headers(response.headers(), self.now) {
            self.server_times.record(host_of(&call.url), time);
        }
        Ok(OpenBody {
            response,
            budget,
            slot,
            after_tls_failure,
            record,
        })
    }

    /// Raises the number of slots of a host that speaks HTTP/2.
    fn add_http2_slots(&self, url: &Url) {
        let mut hosts = lock(&self.slots);
        if let Some(slots) = hosts.get_mut(&host_of(url))
            && !slots.is_http2
        {
            slots.is_http2 = true;
            slots.free.add_permits(STREAMS - CONNECTIONS);
        }
    }

    /// A slot of the host, as soon as one is free.
    async fn slot(&self, url: &Url) -> OwnedSemaphorePermit {
        let free = {
            let mut hosts = lock(&self.slots);
            let slots = hosts.entry(host_of(url)).or_insert_with(|| HostSlots {
                free: Arc::new(Semaphore::new(CONNECTIONS)),
                is_http2: false,
            });
            Arc::clone(&slots.free)
        };
        free.acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request(client: &reqwest::Client, call: &Call) -> reqwest::RequestBuilder {
    let mut request = client
        .request(call.method.clone(), call.url.clone())
        .headers(call.headers.clone())
        .header(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    if let Some(authorization) = &call.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(content) = &call.content {
        request = request.body(content.clone());
    }
    request
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.is_empty() && !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

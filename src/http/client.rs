//! Requests: places in flight, attempts, redirects and caps.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{
    Url, Version,
    header::{self, HeaderMap, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Announce, AttemptError, Body, Call, Cause, Deadline, Encodings, ErrorBody, Failure,
    Idempotency, Open, Outages, Pace, Pause, Policy, Reading, Redirects, Reply, RetryAdvice,
    ServerTime, StopReason, Transport, WaitReason,
    address::host_of,
    body,
    budget::Budget,
    log::Entry,
    pace::{Permit, TooLong},
    redirect,
    transport::{IN_FLIGHT, STREAMS},
};
use crate::untrusted::Secrets;

/// How much of the body of a redirect is read: read to its end, the connection can be used again.
const REDIRECT_MAX: u64 = 8 * 1024;
/// How long it is waited for.
const REDIRECT_TIME: Duration = Duration::from_secs(5);

/// Makes requests by one policy, and remembers what they have in common.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    policy: Policy,
    now: fn() -> SystemTime,
    secrets: Secrets,
    announce: Announce,
    pace: Option<Pace>,
    places: Mutex<HashMap<String, Places>>,
    /// Hosts that a request gave up on, and why: the others need not wait as long to learn the
    /// same.
    down: Mutex<HashMap<String, Failure>>,
    /// The last time reported by each host.
    server_times: Mutex<BTreeMap<String, ServerTime>>,
}

/// The places for requests to one host.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// Whether there are as many as HTTP/2 may have.
    many: bool,
}

impl Client {
    /// A client over these connections; `now` is the wall clock, `secrets` stay out of the request
    /// log.
    pub fn new(
        transport: Transport,
        policy: Policy,
        now: fn() -> SystemTime,
        secrets: Secrets,
    ) -> Self {
        let (places, down, server_times) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            transport,
            policy,
            now,
            secrets,
            announce: Announce::default(),
            pace: None,
            places,
            down,
            server_times,
        }
    }

    /// The same client, which announces the pauses that servers ask for.
    #[must_use]
    pub fn announcing(self, announce: Announce) -> Self {
        Self { announce, ..self }
    }

    /// The same client, whose requests begin when `pace` lets them.
    #[must_use]
    pub fn paced(self, pace: Option<Pace>) -> Self {
        Self { pace, ..self }
    }

    /// The connections.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// How requests are made.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The wall clock.
    pub fn now(&self) -> fn() -> SystemTime {
        self.now
    }

    /// When a request that begins now makes no further attempt.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.policy.patience)
    }

    /// The clocks of hosts at their last responses, by the hosts' names.
    pub fn clocks(&self) -> Vec<(String, ServerTime)> {
        lock(&self.server_times)
            .iter()
            .map(|(host, time)| (host.clone(), *time))
            .collect()
    }

    /// The clock of the host of `url` at its last response.
    pub fn server_time(&self, url: &Url) -> Option<ServerTime> {
        lock(&self.server_times).get(&host_of(url)).copied()
    }

    /// The response to `call`, after as many attempts as it takes and the policy allows.
    pub async fn send(&self, call: &Call, until: Deadline) -> Result<Reply, Failure> {
        let (mut attempt, mut repeated) = (0, false);
        let (mut failed, mut limited, mut limited_unnamed) = (0, 0, 0);
        loop {
            attempt += 1;
            let permit = self.permit(call, until).await?;
            let place = self.place(&call.url).await;
            if let Some(failure) = lock(&self.down).get(&host_of(&call.url)) {
                return Err(failure.clone());
            }
            let made = self.attempt(call, attempt, place, permit.as_ref()).await;
            let AttemptError { cause, again } = match made {
                Ok(reply) => return Ok(Reply { repeated, ..reply }),
                Err(error) => error,
            };
            repeated |= cause.may_be_done();
            drop(permit);
            let pause = if call.idempotency == Idempotency::Once && cause.may_be_done() {
                Err(StopReason::Final)
            } else if let (Some(pace), RetryAdvice::Limited(asked)) = (&self.pace, again) {
                // The next round waits for its end, as everything else does.
                let wait = pace.limited(call.effect, &call.url, asked);
                self.announce_unless_over(call, again, wait, until)
                    .map(|()| None)
            } else {
                // A limit is no failed attempt: it ends by itself, and says that nothing was done.
                let count = match again {
                    RetryAdvice::Limited(None) => &mut limited_unnamed,
                    RetryAdvice::Limited(Some(_)) => &mut limited,
                    RetryAdvice::Never | RetryAdvice::Later | RetryAdvice::After(_) => &mut failed,
                };
                *count += 1;
                let count = *count;
                match call.attempts.filter(|most| failed >= *most) {
                    Some(most) => Err(StopReason::Attempts(most)),
                    None => self.policy.pause(again, count, until).map(Some),
                }
            };
            match pause {
                Ok(None) => {}
                Ok(Some(pause)) => {
                    self.announce(&call.url, again, pause);
                    self.sleep(pause).await;
                }
                Err(stop) => return Err(self.given_up(call, Failure { cause, stop })),
            }
        }
    }

    /// Waits until a request may begin, where requests are paced.
    async fn permit(&self, call: &Call, until: Deadline) -> Result<Option<Permit>, Failure> {
        let Some(pace) = &self.pace else {
            return Ok(None);
        };
        let permit = pace.begin(call.effect, &call.url, until).await;
        permit.map(Some).map_err(|TooLong(wait)| Failure {
            cause: Cause::Parked,
            stop: past_deadline(wait),
        })
    }

    /// Announces a wait that the pace imposes; an error if it passes the deadline.
    fn announce_unless_over(
        &self,
        call: &Call,
        again: RetryAdvice,
        wait: Duration,
        until: Deadline,
    ) -> Result<(), StopReason> {
        let real = self
            .pace
            .as_ref()
            .map_or(wait, |pace| pace.timer().real(wait));
        if until.is_over_after(real) {
            return Err(past_deadline(wait));
        }
        self.announce(&call.url, again, wait);
        Ok(())
    }

    async fn sleep(&self, wait: Duration) {
        match &self.pace {
            Some(pacing) => pacing.timer().sleep(wait).await,
            None => tokio::time::sleep(wait).await,
        }
    }

    /// Announces a pause that the server asked for.
    fn announce(&self, url: &Url, again: RetryAdvice, pause: Duration) {
        if let (Some(reason), Some(until)) = (again.reason(), (self.now)().checked_add(pause)) {
            self.announce.pause(&Pause {
                host: host_of(url),
                reason,
                until,
            });
        }
    }

    fn given_up(&self, call: &Call, failure: Failure) -> Failure {
        let document = matches!(call.body, Reading::UpTo(_));
        if self.policy.outages == Outages::Shared && document && failure.cause.is_outage() {
            lock(&self.down).insert(host_of(&call.url), failure.clone());
        }
        failure
    }

    async fn attempt(
        &self,
        call: &Call,
        attempt: u32,
        place: OwnedSemaphorePermit,
        permit: Option<&Permit>,
    ) -> Result<Reply, AttemptError> {
        let (mut open, url) = self.open(call, attempt, place).await?;
        let status = open.response.status();
        let headers = open.response.headers().clone();
        if let (Some(pace), Some(permit)) = (&self.pace, permit)
            && let Some(until) = pace.observe(permit, &url, &headers)
        {
            self.announce.pause(&Pause {
                host: host_of(&url),
                reason: WaitReason::Limit,
                until: pace.here(until),
            });
        }
        let body = if status.is_success() {
            if self.policy.encodings == Encodings::Refuse && is_compressed(&headers) {
                return Err(open.failed(Cause::Compressed.never()));
            }
            match call.body {
                Reading::Later => Body::Open(Box::new(open)),
                Reading::UpTo(max) => {
                    let body = open.all(max).await?;
                    let limited = self.policy.limited_graphql(&url, &headers, &body, self.now);
                    if let Some(again) = limited {
                        return Err(Cause::Status { status, body }.again(again));
                    }
                    Body::Read(body)
                }
            }
        } else {
            let body = match self.policy.error_body {
                ErrorBody::Beginning { max, time } => open.beginning(max, time).await,
                ErrorBody::Whole { max } => open.all(max).await?,
            };
            if let Some(again) = self.policy.passing(status, &headers, &body, self.now) {
                return Err(Cause::Status { status, body }.again(again));
            }
            Body::Read(body)
        };
        if let (Some(pace), Some(permit)) = (&self.pace, permit) {
            pace.succeeded(permit, call.effect);
        }
        Ok(Reply {
            status,
            headers,
            url,
            body,
            repeated: false,
        })
    }

    /// Sends `call` and follows redirects; each host gets its own place in flight.
    async fn open(
        &self,
        call: &Call,
        attempt: u32,
        place: OwnedSemaphorePermit,
    ) -> Result<(Open, Url), AttemptError> {
        let whole = match call.body {
            Reading::Later => self.policy.stream,
            Reading::UpTo(_) => self.policy.whole,
        };
        let budget = Budget::new(whole, self.policy.progress);
        let mut call = call.clone();
        let mut open = self.exchange(&call, attempt, place, budget).await?;
        let Redirects::Follow(most) = self.policy.redirects else {
            return Ok((open, call.url));
        };
        let mut followed = 0;
        loop {
            let (status, headers) = (open.response.status(), open.response.headers());
            let next = redirect::target(status, headers, &call)
                .map_err(|reason| open.failed(Cause::Redirect(reason).never()))?;
            let Some(next) = next else {
                return Ok((open, call.url));
            };
            open.beginning(REDIRECT_MAX, REDIRECT_TIME).await;
            // Its place is given back before another is requested: two hosts that redirect to one
            // another must not lock up.
            let budget = open.end();
            if followed == most {
                let reason = format!("more than {most} redirects");
                return Err(Cause::Redirect(reason).never());
            }
            followed += 1;
            if next.origin() != call.url.origin() {
                call.authorization = None;
            }
            call.url = next;
            let place = self.place(&call.url).await;
            open = self.exchange(&call, attempt, place, budget).await?;
        }
    }

    /// Sends `call` once, to its URL and nowhere else.
    async fn exchange(
        &self,
        call: &Call,
        attempt: u32,
        place: OwnedSemaphorePermit,
        mut budget: Budget,
    ) -> Result<Open, AttemptError> {
        let after_tls_failure = self.policy.after_tls_failure;
        let client = self
            .transport
            .client(&call.url)
            .map_err(|reason| Cause::NoClient(reason).never())?;
        let mut entry = Entry::begin(&call.method, &call.url, attempt, &self.secrets);
        let sent = match budget.run(request(client, call).send()).await {
            Ok(sent) => sent.map_err(|error| body::network(&error, after_tls_failure)),
            Err(timeout) => Err(timeout.into()),
        };
        let response = sent.inspect_err(|error| entry.failed(&error.cause))?;
        entry.answered(response.status());
        if response.version() == Version::HTTP_2 {
            self.widen(&call.url);
        }
        if let Some(time) = ServerTime::of(response.headers(), self.now) {
            lock(&self.server_times).insert(host_of(&call.url), time);
        }
        Ok(Open {
            response,
            budget,
            place,
            after_tls_failure,
            entry,
        })
    }

    /// Gives a host that speaks HTTP/2 more places.
    fn widen(&self, url: &Url) {
        let mut all = lock(&self.places);
        if let Some(places) = all.get_mut(&host_of(url)).filter(|places| !places.many) {
            places.many = true;
            places.free.add_permits(STREAMS - IN_FLIGHT);
        }
    }

    async fn place(&self, url: &Url) -> OwnedSemaphorePermit {
        let places = {
            let mut all = lock(&self.places);
            let places = all.entry(host_of(url)).or_insert_with(|| Places {
                free: Arc::new(Semaphore::new(IN_FLIGHT)),
                many: false,
            });
            Arc::clone(&places.free)
        };
        places
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}

fn past_deadline(wait: Duration) -> StopReason {
    let reason = WaitReason::Limit;
    StopReason::PastDeadline { reason, wait }
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
    let identity = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"identity") || value.is_empty()
    };
    !headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(identity)
}

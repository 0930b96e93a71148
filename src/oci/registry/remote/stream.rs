//! The stream of a layer's bytes, for a reader in a blocking thread.
//!
//! The stream never exceeds the descriptor's size, buffers few bytes, and resumes after an
//! interrupted connection. The reader verifies the hash of all bytes, so that a server cannot
//! continue with another blob.
//!
//! The remaining pulls of a registry with a limit: Docker Hub counts each GET of a manifest, and
//! reports the remaining number in a header. HEAD is not counted ("Docker Hub pull usage and
//! limits").

use std::io::{self, Read};

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE},
};
use tokio::sync::mpsc;

use super::{
    MANIFESTS, Remote, check_content_digest, content_digest, content_type,
    request_error::RequestError,
};
use crate::{
    base::{
        error::{Class, Code, Error},
        http::{Body, BodyMode, Call, OpenBody, Reply, RetryAdvice},
    },
    oci::{Descriptor, Digest, INDEX_TYPES, TagOrDigest},
};

/// The number of chunks that are buffered for a slow reader.
const BUFFERED_CHUNKS: usize = 4;

type Chunk = Result<Vec<u8>, Error>;

/// A layer that is being received.
#[derive(Debug)]
pub(crate) struct Stream {
    chunks: mpsc::Receiver<Chunk>,
    current: io::Cursor<Vec<u8>>,
}

/// The task that receives the layer and sends its chunks to the reader.
struct Download {
    remote: Remote,
    call: Call,
    size: u64,
    name: String,
    chunks: mpsc::Sender<Chunk>,
}

impl Stream {
    pub(super) async fn open(
        remote: Remote,
        descriptor: &Descriptor,
        name: &str,
    ) -> Result<Self, RequestError> {
        let mut call = remote.get(&format!("blobs/{}", descriptor.digest))?;
        call.body = BodyMode::Stream;
        let reply = remote.send(call.clone(), "pull").await?;
        check_content_digest(&reply.headers, descriptor)?;
        let body = open_body(&remote, reply, 0, descriptor.size)?;
        let (sender, chunks) = mpsc::channel(BUFFERED_CHUNKS);
        let download = Download {
            remote,
            call,
            size: descriptor.size,
            name: name.to_owned(),
            chunks: sender,
        };
        tokio::spawn(download.run(body));
        Ok(Self {
            chunks,
            current: io::Cursor::default(),
        })
    }
}

/// The body of a response, after checking that it starts at byte `from`.
fn open_body(
    remote: &Remote,
    reply: Reply,
    from: u64,
    size: u64,
) -> Result<OpenBody, RequestError> {
    let expected = if from == 0 {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    remote.check_blob_exists(&reply)?;
    if reply.status != expected {
        return Err(RequestError::unavailable(remote.status_text(&reply)));
    }
    if from > 0 {
        let range = reply
            .headers
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if range != format!("bytes {from}-{}/{size}", size - 1) {
            return Err(RequestError::unavailable(
                "the response resumed at the wrong offset",
            ));
        }
    }
    let Body::Open(open) = reply.body else {
        return Err(RequestError::unavailable(
            "the response body is not a stream",
        ));
    };
    match open.stated_length() {
        Some(length) if length != size - from => Err(RequestError::wrong_bytes(format!(
            "it has {} bytes, but its descriptor states {size}",
            length + from
        ))),
        _ => Ok(*open),
    }
}

impl Download {
    async fn run(self, body: OpenBody) {
        if let Err(error) = self.receive(body).await {
            let error = self.remote.error(error, &self.name);
            // Sending fails if the reader was dropped; then the error does not matter.
            let _ = self.chunks.send(Err(error)).await;
        }
    }

    async fn receive(&self, mut body: OpenBody) -> Result<(), RequestError> {
        let client = &self.remote.shared.client;
        let (mut received, mut failed) = (0, 0);
        loop {
            let (error, retry) = match body.next().await {
                // An error after the last byte does not matter.
                Ok(None) | Err(_) if received == self.size => return Ok(()),
                Ok(None) => {
                    let size = self.size;
                    let reason = format!("the response ended after {received} of {size} bytes");
                    (RequestError::unavailable(reason), RetryAdvice::Later)
                }
                Ok(Some(chunk)) => {
                    received += chunk.len() as u64;
                    if received > self.size {
                        return Err(RequestError::wrong_bytes(format!(
                            "it has more than {} bytes",
                            self.size
                        )));
                    }
                    if self.chunks.send(Ok(chunk)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => (
                    RequestError::from_cause(&error.cause, &client.secrets),
                    error.retry,
                ),
            };
            failed += 1;
            let policy = client.http.policy();
            match policy.pause(retry, failed, client.deadline()) {
                Ok(pause) => tokio::time::sleep(pause).await,
                Err(stop) => return Err(error.with_stop(stop)),
            }
            body = self.resume(body, received).await?;
        }
    }

    /// Requests the remaining part of the layer, within the remaining time.
    async fn resume(&self, broken: OpenBody, received: u64) -> Result<OpenBody, RequestError> {
        let time_left = broken.time_left();
        // Frees its request slot before another is acquired.
        drop(broken);
        let mut call = self.call.clone();
        if received > 0 {
            let range = HeaderValue::from_str(&format!("bytes={received}-"))
                .map_err(|_| RequestError::unavailable("the rest cannot be requested"))?;
            call.headers.insert(RANGE, range);
        }
        let reply = self.remote.send(call, "pull").await?;
        let mut body = open_body(&self.remote, reply, received, self.size)?;
        body.limit_time(time_left);
        Ok(body)
    }
}

impl Read for Stream {
    /// Blocks; must not be called on the runtime's thread.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.current = io::Cursor::new(chunk),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
    }
}

pub(crate) const PULL_HELP: &str = "log in to Docker Hub (200 pulls in 6 hours for a personal account, 100 without one), wait \
                             until the limit is reset, or read the images from a mirror (`sources`)";

/// The header, as `76;w=21600`: the number of pulls, and the window in seconds.
const REMAINING: &str = "ratelimit-remaining";

/// The description of a manifest in response headers. It serves only for an estimate, because no
/// bytes were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestEstimate {
    /// The reported digest; `None` if the manifest is missing.
    pub digest: Option<Digest>,
    pub is_index: bool,
    /// The number of remaining pulls, if the registry limits them.
    pub pulls: Option<u64>,
}

impl Remote {
    /// Requests the headers of a manifest, which does not count as a pull.
    pub(crate) async fn estimate(
        &self,
        reference: &TagOrDigest,
    ) -> Result<ManifestEstimate, Error> {
        self.read_headers(reference)
            .await
            .map_err(|error| self.error(error, &format!("{self}{reference}")))
    }

    /// The digest that the registry reports for a manifest; `None` if it is missing. Does not count as a
    /// pull.
    pub(crate) async fn reported_digest(
        &self,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.request_digest(reference)
            .await
            .map_err(|error| self.error(error, &format!("{self}{reference}")))
    }

    async fn request_digest(
        &self,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, RequestError> {
        let reply = self.head_manifest(reference).await?;
        match (reply.status, content_digest(&reply.headers)?, reference) {
            (StatusCode::NOT_FOUND, ..) => Ok(None),
            (StatusCode::OK, Some(digest), _) => Ok(Some(digest)),
            (StatusCode::OK, None, TagOrDigest::Digest(digest)) => Ok(Some(*digest)),
            (StatusCode::OK, None, TagOrDigest::Tag(_)) => Err(RequestError::unavailable(
                "the response has no Docker-Content-Digest header",
            )),
            _ => Err(RequestError::unavailable(self.status_text(&reply))),
        }
    }

    async fn head_manifest(&self, reference: &TagOrDigest) -> Result<Reply, RequestError> {
        let mut call = self.get_manifest(reference)?;
        (call.method, call.body) = (Method::HEAD, BodyMode::Stream);
        call.headers
            .insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        self.send(call, "pull").await
    }

    async fn read_headers(
        &self,
        reference: &TagOrDigest,
    ) -> Result<ManifestEstimate, RequestError> {
        let reply = self.head_manifest(reference).await?;
        let exists = reply.status == StatusCode::OK;
        let media_type = content_type(&reply.headers)?.unwrap_or_default();
        Ok(ManifestEstimate {
            digest: content_digest(&reply.headers)?.filter(|_| exists),
            is_index: INDEX_TYPES.contains(&media_type.as_str()),
            pulls: remaining_pulls(&reply.headers),
        })
    }
}

/// The error of a run that needs more pulls than Docker Hub still allows.
pub(crate) fn pull_limit_error(remaining: u64, needed: u64) -> Error {
    let message =
        format!("Docker Hub allows {remaining} more pulls, and this run needs at least {needed}");
    Error::new(Class::Unavailable, Code::PULL_LIMIT, message).help(PULL_HELP)
}

fn remaining_pulls(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(REMAINING)?.to_str().ok()?;
    let number = value.split(';').next()?.trim();
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_limit_is_ignored() {
        let parse = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REMAINING, HeaderValue::from_static(value));
            remaining_pulls(&headers)
        };
        assert_eq!(remaining_pulls(&HeaderMap::new()), None);
        for (value, number) in [("76;w=21600", 76), ("0;w=21600", 0), ("200", 200)] {
            assert_eq!(parse(value), Some(number), "{value}");
        }
        for value in ["", "-1", "+5;w=1", "many", "99999999999999999999", "1.5"] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}

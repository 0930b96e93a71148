//! The stream of a layer's bytes, for a reader in a blocking thread.
//!
//! The stream never exceeds the descriptor's size, buffers few bytes, and resumes after an
//! interrupted connection. The reader verifies the hash of all bytes, so that a server cannot
//! continue with another blob.

use std::io::{self, Read};

use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, HeaderValue, RANGE},
};
use tokio::sync::mpsc;

use super::{Remote, check_content_digest, request_error::RequestError};
use crate::{
    base::{
        error::Error,
        http::{Body, BodyMode, Call, OpenBody, Reply, RetryAdvice},
    },
    oci::Descriptor,
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

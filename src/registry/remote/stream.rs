//! The bytes of a layer as they come, for a reader in a blocking thread.
//!
//! Size and hash are the reader's to check; what is kept here is that there are never more bytes
//! than the descriptor says, that few of them are in memory, and that a broken connection is taken
//! up again where it broke. That is safe because the reader's hash is over all bytes: a server that
//! continues with another blob is found out.

use std::io::{self, Read};

use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, HeaderValue, RANGE},
};
use tokio::sync::mpsc;

use super::{
    Remote,
    http::{Body, Call, Open, Reading, Reply},
    request_error::RequestError,
};
use crate::{error::Error, http::RetryAdvice, oci::Descriptor};

/// How many pieces wait for a slow reader; each is what one read from the connection gave.
const WAITING: usize = 4;

type Piece = Result<Vec<u8>, Error>;

/// A layer in progress.
#[derive(Debug)]
pub(crate) struct Stream {
    pieces: mpsc::Receiver<Piece>,
    current: io::Cursor<Vec<u8>>,
}

/// What sends the pieces.
struct Pump {
    remote: Remote,
    call: Call,
    size: u64,
    what: String,
    pieces: mpsc::Sender<Piece>,
}

impl Stream {
    pub(super) async fn open(
        remote: Remote,
        descriptor: &Descriptor,
        what: &str,
    ) -> Result<Self, RequestError> {
        let mut call = remote.get(&format!("blobs/{}", descriptor.digest))?;
        call.body = Reading::Later;
        let reply = remote.ask(call.clone(), "pull").await?;
        super::agrees(&reply.headers, descriptor)?;
        let open = begun(&remote, reply, 0, descriptor.size)?;
        let (sender, pieces) = mpsc::channel(WAITING);
        let pump = Pump {
            remote,
            call,
            size: descriptor.size,
            what: what.to_owned(),
            pieces: sender,
        };
        tokio::spawn(pump.run(open));
        Ok(Self {
            pieces,
            current: io::Cursor::default(),
        })
    }
}

/// The open body of a response that begins at byte `from`, if it is one.
fn begun(remote: &Remote, reply: Reply, from: u64, size: u64) -> Result<Open, RequestError> {
    let expected = if from == 0 {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    if reply.status != expected {
        return Err(RequestError::unavailable(remote.said(&reply)));
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
    match open.length() {
        Some(length) if length != size - from => Err(RequestError::unavailable(format!(
            "it has {} bytes, but its descriptor states {size}",
            length + from
        ))),
        _ => Ok(*open),
    }
}

impl Pump {
    async fn run(self, open: Open) {
        if let Err(fault) = self.pump(open).await {
            let error = self.remote.error(fault, &self.what);
            // The reader is gone, so the error is dropped.
            let _ = self.pieces.send(Err(error)).await;
        }
    }

    async fn pump(&self, mut open: Open) -> Result<(), RequestError> {
        let http = &self.remote.shared.http;
        let (mut sent, mut failed) = (0, 0);
        loop {
            let (fault, again) = match open.next().await {
                // All bytes are there: that the connection ended badly after them would change
                // nothing.
                Ok(None) | Err(_) if sent == self.size => return Ok(()),
                Ok(None) => {
                    let reason = format!("the response ended after {sent} of {} bytes", self.size);
                    (RequestError::unavailable(reason), RetryAdvice::Later)
                }
                Ok(Some(piece)) => {
                    sent += piece.len() as u64;
                    if sent > self.size {
                        return Err(RequestError::unavailable(format!(
                            "it has more than {} bytes",
                            self.size
                        )));
                    }
                    if self.pieces.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => (
                    RequestError::caused(&error.cause, &http.secrets),
                    error.again,
                ),
            };
            failed += 1;
            let pause = http.client.policy().pause(again, failed, http.patience());
            tokio::time::sleep(pause.map_err(|stop| fault.stopped(stop))?).await;
            open = self.resume(open, sent).await?;
        }
    }

    /// The rest of the layer, within the time that is left.
    async fn resume(&self, broken: Open, sent: u64) -> Result<Open, RequestError> {
        let left = broken.left();
        // Its place in flight is free before another is requested.
        drop(broken);
        let mut call = self.call.clone();
        if sent > 0 {
            let range = HeaderValue::from_str(&format!("bytes={sent}-"));
            let range =
                range.map_err(|_| RequestError::unavailable("the rest cannot be requested"))?;
            call.headers.insert(RANGE, range);
        }
        let reply = self.remote.ask(call, "pull").await?;
        let mut open = begun(&self.remote, reply, sent, self.size)?;
        open.limit(left);
        Ok(open)
    }
}

impl Read for Stream {
    /// Blocks: call it from a thread that runs no requests.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.current = io::Cursor::new(piece),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
    }
}

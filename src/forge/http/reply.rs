//! Final answers, and what their statuses mean.

use std::fmt::Write as _;

use reqwest::{StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;

use super::{Paging, SHOWN};
use crate::{
    forge::{Error, ErrorKind},
    http::error_body,
    untrusted::Secrets,
};

/// An answer that is final: no attempt would change it.
#[derive(Debug)]
pub(in crate::forge) struct Reply {
    pub(in crate::forge) status: StatusCode,
    pub(in crate::forge) headers: HeaderMap,
    pub(in crate::forge) body: Vec<u8>,
    pub(super) what: String,
    pub(super) secrets: Secrets,
}

impl Reply {
    /// The answer, if its status is one of `good`; otherwise what the status means.
    pub(in crate::forge) fn expect<T: DeserializeOwned>(&self, good: &[u16]) -> Result<T, Error> {
        self.check(good)?;
        serde_json::from_slice(&self.body).map_err(|error| {
            // What the reader quotes is the server's, who knows the token.
            let error = self.secrets.clean(&error.to_string(), SHOWN);
            Error::unavailable(
                &self.what,
                format!("the answer is not what it should be: {error}"),
            )
        })
    }

    /// The same without an answer that matters.
    pub(in crate::forge) fn check(&self, good: &[u16]) -> Result<(), Error> {
        if good.contains(&self.status.as_u16()) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// What the status means.
    pub(in crate::forge) fn error(&self) -> Error {
        let kind = match self.status {
            StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED => ErrorKind::Refused,
            _ => ErrorKind::Unavailable,
        };
        let mut error = Error::new(kind, &self.what, self.text());
        if let Some(accepted) = self
            .header("x-accepted-github-permissions")
            .filter(|_| kind == ErrorKind::Denied)
        {
            error.hint = Some(format!(
                "GitHub asks for these permissions: {}",
                self.secrets.clean(accepted, SHOWN)
            ));
        }
        error
    }

    pub(in crate::forge) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status, and what the server said about it.
    pub(in crate::forge) fn text(&self) -> String {
        status_text(self.status, &self.body, &self.secrets)
    }

    /// Whether a listing goes on after `so_far` entries.
    pub(super) fn more(&self, paging: Paging, so_far: usize) -> bool {
        let next = || {
            self.header("link")
                .map(|link| link.split(',').any(|link| link.contains("rel=\"next\"")))
        };
        match (
            paging,
            self.header("x-total-count")
                .and_then(|total| total.parse::<usize>().ok()),
        ) {
            (Paging::Links, _) => next().unwrap_or(false),
            (Paging::Counted, Some(total)) => so_far < total,
            (Paging::Counted, None) => next().unwrap_or(true),
        }
    }
}

/// A status, and what the server said about it.
pub(super) fn status_text(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    let mut text = format!("HTTP {}", status.as_u16());
    let said = secrets.clean(&error_body::of_forge(body), SHOWN);
    if !said.is_empty() {
        let _ = write!(text, " ({said})");
    }
    text
}

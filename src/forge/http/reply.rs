//! Final responses, and the meaning of their statuses.

use std::fmt::Write as _;

use reqwest::{StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;

use super::{Paging, SHOWN};
use crate::{
    error::{Class, Error},
    http::error_body,
    untrusted::Secrets,
};

/// The maximum number of values in a document: two bytes of text become 32 in memory, or more.
/// GitHub's largest tree listing has 600,000.
const VALUES_MAX: usize = 1_000_000;

/// A response that is final: no attempt would change it.
#[derive(Debug)]
pub(in crate::forge) struct Reply {
    pub(in crate::forge) status: StatusCode,
    pub(in crate::forge) headers: HeaderMap,
    pub(in crate::forge) body: Vec<u8>,
    /// Whether an earlier attempt may have been carried out, although its answer was lost.
    pub(in crate::forge) is_repeat: bool,
    pub(super) what: String,
    pub(super) secrets: Secrets,
}

impl Reply {
    /// The response, if its status is one of `good`; otherwise the error that the status means.
    pub(in crate::forge) fn expect<T: DeserializeOwned>(&self, good: &[u16]) -> Result<T, Error> {
        self.check(good)?;
        let begins = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
        // Those in texts count, too: this bounds the values from above.
        if self.body.iter().filter(begins).count() > VALUES_MAX {
            let reason = format!("the response has more than {VALUES_MAX} values");
            return Err(Error::unavailable(&self.what, reason));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            // What the reader quotes is the server's, who knows the token.
            let error = self.secrets.clean(&error.to_string(), SHOWN);
            Error::unavailable(&self.what, format!("malformed response: {error}"))
        })
    }

    /// The entries of a listing. Gitea and Forgejo may send null for an empty one.
    pub(in crate::forge) fn expect_list<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let entries: Option<Vec<T>> = self.expect(&[200])?;
        Ok(entries.unwrap_or_default())
    }

    /// The same for a request that changed something visible, whatever its response looks like.
    pub(in crate::forge) fn expect_done<T: DeserializeOwned>(
        &self,
        good: &[u16],
    ) -> Result<T, Error> {
        self.check(good)?;
        self.expect(good).map_err(|error| Error {
            begun: true,
            ..error
        })
    }

    /// The same, ignoring the body.
    pub(in crate::forge) fn check(&self, good: &[u16]) -> Result<(), Error> {
        if good.contains(&self.status.as_u16()) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// The meaning of the status.
    pub(in crate::forge) fn error(&self) -> Error {
        let kind = match self.status {
            StatusCode::FORBIDDEN => Class::Denied,
            StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED => Class::Refused,
            _ => Class::Unavailable,
        };
        let mut error = Error::about(kind, &self.what, self.text()).status(self.status);
        if let Some(accepted) = self
            .header("x-accepted-github-permissions")
            .filter(|_| kind == Class::Denied)
        {
            error.help = Some(format!(
                "GitHub requires these permissions: {}",
                self.secrets.clean(accepted, SHOWN)
            ));
        }
        error
    }

    /// The purpose of its request, in messages.
    pub(in crate::forge) fn what(&self) -> &str {
        &self.what
    }

    pub(in crate::forge) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status, and the server's message.
    pub(in crate::forge) fn text(&self) -> String {
        status_text(self.status, &self.body, &self.secrets)
    }

    /// Whether a listing continues after `so_far` entries.
    pub(in crate::forge) fn more(&self, paging: Paging, so_far: usize) -> bool {
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

/// A status, and the server's message.
pub(super) fn status_text(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    let mut text = format!("HTTP {}", status.as_u16());
    let message = secrets.clean(&error_body::forge_message(body), SHOWN);
    if !message.is_empty() {
        let _ = write!(text, " ({message})");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn documents_of_too_many_values_are_not_parsed() {
        let of = |count: usize| Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: format!("[{}0]", "0,".repeat(count - 1)).into_bytes(),
            is_repeat: false,
            what: "listing".to_owned(),
            secrets: Secrets::default(),
        };
        let parsed = |count| of(count).expect::<IgnoredAny>(&[200]);
        assert!(parsed(VALUES_MAX).is_ok());
        let error = parsed(VALUES_MAX + 1).unwrap_err();
        assert_eq!(error.class, Class::Unavailable);
        assert!(
            error.message.contains("more than 1000000 values"),
            "{error}"
        );
    }
}

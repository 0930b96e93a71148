//! The remaining pulls of a registry with a limit: Docker Hub counts each GET of a manifest, and
//! reports the remaining number in a header. HEAD is not counted ("Docker Hub pull usage and
//! limits").

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderValue},
};

use super::{
    BodyMode, MANIFESTS, Remote, Reply, content_digest, content_type, request_error::RequestError,
};
use crate::{
    base::{
        code::Code,
        error::{Class, Error},
    },
    oci::{Digest, INDEX_TYPES, TagOrDigest},
};

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

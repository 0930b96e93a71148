//! How many pulls a registry still allows: Docker Hub counts each GET of a manifest, and reports the
//! rest in a header, also for HEAD, which it does not count ("Docker Hub pull usage and limits").

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderValue},
};

use super::{MANIFESTS, Reading, Remote, claimed, content_type, request_error::RequestError};
use crate::{
    error::Error,
    oci::{Digest, TagOrDigest},
};

/// The header, as `76;w=21600`: the number of pulls, and the window in seconds.
const REMAINING: &str = "ratelimit-remaining";

/// The media types of documents that lead to further manifests.
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What a registry reports about a manifest without sending it. Only good for an estimate: no byte was
/// hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEstimate {
    /// The reported digest; `None` if the manifest is missing.
    pub digest: Option<Digest>,
    /// Whether it is an index.
    pub is_index: bool,
    /// How many pulls remain, if the registry limits them.
    pub pulls: Option<u64>,
}

impl Remote {
    /// Requests the headers of a manifest, which costs no pull.
    pub async fn estimate(&self, want: &TagOrDigest) -> Result<ManifestEstimate, Error> {
        self.read_headers(want)
            .await
            .map_err(|error| self.error(error, &format!("{self}{want}")))
    }

    async fn read_headers(&self, want: &TagOrDigest) -> Result<ManifestEstimate, RequestError> {
        let mut call = self.get_manifest(want)?;
        (call.method, call.body) = (Method::HEAD, Reading::Later);
        call.headers
            .insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let reply = self.ask(call, "pull").await?;
        let exists = reply.status == StatusCode::OK;
        let media_type = content_type(&reply.headers)?.unwrap_or_default();
        Ok(ManifestEstimate {
            digest: claimed(&reply.headers)?.filter(|_| exists),
            is_index: INDEXES.contains(&media_type.as_str()),
            pulls: remaining(&reply.headers),
        })
    }
}

fn remaining(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(REMAINING)?.to_str().ok()?;
    let number = value.split(';').next()?.trim();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_limit() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REMAINING, HeaderValue::from_static(value));
            remaining(&headers)
        };
        assert_eq!(remaining(&HeaderMap::new()), None);
        for (value, number) in [("76;w=21600", 76), ("0;w=21600", 0), ("200", 200)] {
            assert_eq!(read(value), Some(number), "{value}");
        }
        for value in ["", "-1", "+5;w=1", "many", "99999999999999999999", "1.5"] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}

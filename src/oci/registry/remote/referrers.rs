//! The referrers of a digest (OCI distribution specification, "Listing Referrers").
//!
//! A registry without the API responds with 404 or 405, or like GHCR with 303 to a page of its web
//! site; the caller then fetches the referrers tag. Any other response that is not a listing is an error: the error page of a proxy does not mean
//! that an image has no signatures.

use reqwest::{
    StatusCode,
    header::{ACCEPT, HeaderValue},
};

use super::{Error, Remote, content_type, request_error::RequestError, tags::next_page};
use crate::{
    base::{
        http::{BodyMode, SeeOther},
        untrusted::short,
    },
    oci::{Descriptor, Digest, INDEX_TYPES, MAX_LISTING, document},
};

const MAX_PAGES: usize = 1_000;
/// The responses of a registry without the API. The page that GHCR redirects to is rate-limited, so
/// it is not requested.
const UNSUPPORTED: [StatusCode; 3] = [
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::SEE_OTHER,
];

impl Remote {
    /// Lists the manifests that are attached to `digest`; empty if the registry has no such API.
    pub(in crate::oci::registry) async fn referrers(
        &self,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        self.list_referrers(digest)
            .await
            .map_err(|error| self.error(error, &format!("referrers of {self}@{digest}")))
    }

    async fn list_referrers(&self, digest: Digest) -> Result<Vec<Descriptor>, RequestError> {
        let mut call = self.get(&format!("referrers/{digest}"))?;
        let index = HeaderValue::from_static(INDEX_TYPES[0]);
        call.headers.insert(ACCEPT, index);
        call.see_other = SeeOther::Return;
        let (mut listed, mut remaining) = (Vec::new(), MAX_LISTING);
        for page in 0..MAX_PAGES {
            call.body = BodyMode::Buffer(remaining);
            let reply = self.send(call.clone(), "pull").await?;
            if page == 0 && UNSUPPORTED.contains(&reply.status) {
                return Ok(Vec::new());
            }
            let (headers, bytes) = self.success(reply)?;
            let media_type = content_type(&headers)?.unwrap_or_default();
            if document::essence(&media_type) != INDEX_TYPES[0] {
                let media_type = short(&media_type, 100);
                let reason = format!("its Content-Type is `{media_type}`, which is not an index");
                return Err(RequestError::unavailable(reason));
            }
            remaining = remaining.saturating_sub(bytes.len() as u64);
            listed.extend(document::listing(&bytes).map_err(RequestError::unavailable)?);
            match next_page(&headers, &call.url)? {
                Some(next) => call.url = next,
                None => return Ok(listed),
            }
        }
        let reason = format!("the listing has more than {MAX_PAGES} pages");
        Err(RequestError::unavailable(reason))
    }
}

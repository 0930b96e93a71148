//! What is attached to a digest (OCI distribution specification, "Listing Referrers").
//!
//! A registry without the API answers 404, some 405; what is attached is then listed under a tag,
//! which the caller asks for. Any other answer that is no listing is an error: a proxy's page must
//! not look like an image without signatures.

use reqwest::{
    StatusCode,
    header::{ACCEPT, HeaderValue},
};

use super::{
    Error, Remote, content_type,
    http::{Call, Reading},
    request_error::RequestError,
    tags::following,
};
use crate::{
    oci::{Descriptor, Digest, INDEX_TYPES, LISTING_MAX, document},
    untrusted::short,
};

const PAGES_MAX: usize = 1_000;

impl Remote {
    /// The manifests that the registry lists as attached to `digest`; none where it has no such
    /// listing.
    pub(in crate::registry) async fn referrers(
        &self,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let listed = self.list_referrers(digest).await;
        listed.map_err(|error| self.error(error, &format!("referrers of {self}@{digest}")))
    }

    async fn list_referrers(&self, digest: Digest) -> Result<Vec<Descriptor>, RequestError> {
        let mut call = self.get(&format!("referrers/{digest}"))?;
        let index = HeaderValue::from_static(INDEX_TYPES[0]);
        call.headers.insert(ACCEPT, index);
        let (mut listed, mut left) = (Vec::new(), LISTING_MAX);
        for page in 0..PAGES_MAX {
            call.body = Reading::UpTo(left);
            let url = call.url.clone();
            let reply = self.ask(Call::clone(&call), "pull").await?;
            let without = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            if page == 0 && without.contains(&reply.status) {
                return Ok(Vec::new());
            }
            let (headers, bytes) = self.success(reply)?;
            let kind = content_type(&headers)?.unwrap_or_default();
            if document::essence(&kind) != INDEX_TYPES[0] {
                let kind = short(&kind, 100);
                let reason = format!("its Content-Type is `{kind}`, which is not an index");
                return Err(RequestError::unavailable(reason));
            }
            left = left.saturating_sub(bytes.len() as u64);
            listed.extend(document::listing(&bytes).map_err(RequestError::unavailable)?);
            match following(&headers, &url)? {
                Some(next) => call.url = next,
                None => return Ok(listed),
            }
        }
        let reason = format!("the listing has more than {PAGES_MAX} pages");
        Err(RequestError::unavailable(reason))
    }
}

//! Changes of a repository: deletions, and tags on existing manifests.

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::{Remote, request_error::RequestError};
use crate::{
    base::{
        error::{Class, Error},
        http::{Body, Call, Reply, error_body},
    },
    oci::{Digest, Tag, TagOrDigest},
};

/// The outcome of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The registry deleted it.
    Deleted,
    /// It was missing.
    Missing,
    /// It was missing after an attempt without a response.
    MissingAfterAttempt,
    /// The registry refused the deletion, with this message.
    Refused(String),
    /// The registry deletes the manifest only when nothing refers to it any more.
    Blocked { blocker: Blocker, reason: String },
    /// The status was 403: the account may not delete, or, on Docker Hub, something refers to the manifest.
    Forbidden(Box<Error>),
}

/// The cause of a refusal that another deletion removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocker {
    Tags,
    /// An index contains it.
    Parent,
    /// Another manifest is attached to it.
    References,
    /// Any of them.
    Unknown,
}

impl Blocker {
    /// The cause that an error code of a registry states:
    /// - Google (reports to genuinetools/reg, issue 136, and GoogleCloudPlatform/gcr-cleaner, issues 113 and 130);
    /// - GitLab (container-registry, `docs/spec/docker/v2/errors.md`).
    fn from_code(code: &str) -> Option<Self> {
        match code {
            "GOOGLE_MANIFEST_DANGLING_TAG" => Some(Self::Tags),
            "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE" | "MANIFEST_REFERENCED" => Some(Self::Parent),
            "GOOGLE_MANIFEST_REFERRING_MANIFEST" => Some(Self::References),
            _ => None,
        }
    }
}

impl Remote {
    /// Deletes the manifest with a digest, and on most registries every tag that refers to it.
    pub(crate) async fn delete(&self, digest: Digest) -> Result<Deletion, Error> {
        self.send_delete(&TagOrDigest::Digest(digest)).await
    }

    /// Deletes a tag. Only registries that refuse the digest of a tagged manifest are known to keep the manifest.
    pub(crate) async fn delete_tag(&self, tag: &Tag) -> Result<Deletion, Error> {
        self.send_delete(&TagOrDigest::Tag(tag.clone())).await
    }

    async fn send_delete(&self, reference: &TagOrDigest) -> Result<Deletion, Error> {
        let name = format!("deleting {self}{reference}");
        self.deletion(reference, &name)
            .await
            .map_err(|error| self.error(error, &name))
    }

    async fn deletion(
        &self,
        reference: &TagOrDigest,
        name: &str,
    ) -> Result<Deletion, RequestError> {
        let call = Call {
            method: Method::DELETE,
            ..self.get_manifest(reference)?
        };
        let reply = self.send_with_any_scope(call).await?;
        if reply.status == StatusCode::FORBIDDEN {
            let scope = self.scope("delete");
            let authorization = self.shared.auth.current(&scope).await?;
            let error = self.denied(&reply, authorization.as_ref(), &scope);
            return Ok(Deletion::Forbidden(Box::new(self.error(error, name))));
        }
        let codes = match &reply.body {
            Body::Complete(body) => error_body::registry_codes(body),
            Body::Open(_) => Vec::new(),
        };
        let blockers = codes.iter().filter_map(|code| Blocker::from_code(code));
        // Without its tags, an entry of an index would still remain.
        if let Some(blocker) = blockers.min_by_key(|blocker| *blocker != Blocker::Parent)
            && reply.status.is_client_error()
        {
            let reason = self.status_text(&reply);
            return Ok(Deletion::Blocked { blocker, reason });
        }
        match reply.status {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(Deletion::Deleted),
            StatusCode::NOT_FOUND if reply.is_repeat => Ok(Deletion::MissingAfterAttempt),
            StatusCode::NOT_FOUND => Ok(Deletion::Missing),
            status if status.is_client_error() => Ok(Deletion::Refused(self.status_text(&reply))),
            _ => Err(RequestError::unavailable(self.status_text(&reply))),
        }
    }

    /// Puts a tag on the manifest with a digest. The caller checks the tag before and after.
    pub(crate) async fn set_tag(&self, digest: Digest, tag: &Tag) -> Result<(), Error> {
        self.send_tag(digest, tag)
            .await
            .map_err(|error| self.error(error, &format!("tagging {self}@{digest} as {tag}")))
    }

    async fn send_tag(&self, digest: Digest, tag: &Tag) -> Result<(), RequestError> {
        let found = self.read_manifest(&TagOrDigest::Digest(digest)).await?;
        let Some(raw) = found else {
            return Err(RequestError::missing_content("the digest does not exist"));
        };
        if Digest::of(&raw.bytes) != digest {
            return Err(RequestError::wrong_bytes("the bytes have another digest"));
        }
        let (Some(media_type), Ok(content)) = (raw.media_type, String::from_utf8(raw.bytes)) else {
            let reason = "the manifest has no media type, or is not UTF-8";
            return Err(RequestError::unavailable(reason));
        };
        let media_type = HeaderValue::from_str(&media_type)
            .map_err(|_| RequestError::unavailable("the media type is malformed"))?;
        let mut call = Call {
            method: Method::PUT,
            content: Some(content),
            ..self.get(&format!("manifests/{tag}"))?
        };
        call.headers.insert(CONTENT_TYPE, media_type);
        let reply = self.send(call, "pull,push").await?;
        if reply.status.is_success() {
            return Ok(());
        }
        let reason = self.status_text(&reply);
        if reply.status.is_client_error() {
            return Err(RequestError::denied(reason));
        }
        Err(RequestError::unavailable(reason))
    }

    /// Sends a deletion. Token servers before distribution 2.7 know no action `delete`; there, `*` includes it.
    async fn send_with_any_scope(&self, call: Call) -> Result<Reply, RequestError> {
        let first = self.send_any(call.clone(), "delete").await;
        let is_refused = match &first {
            Ok((reply, _)) => reply.status == StatusCode::UNAUTHORIZED,
            Err(error) => error.class == Class::Denied,
        };
        if is_refused
            && let Ok((reply, _)) = self.send_any(call, "*").await
            && reply.status != StatusCode::UNAUTHORIZED
        {
            return Ok(reply);
        }
        let (reply, authorization) = first?;
        if reply.status == StatusCode::UNAUTHORIZED {
            return Err(self.denied(&reply, authorization.as_ref(), &self.scope("delete")));
        }
        Ok(reply)
    }
}

//! Deletions on registries that refuse a digest while tags or other manifests refer to it: first the tags, then
//! the manifests that are attached to it, then the digest.
//!
//! Only a documented refusal leads here (`Blocker`), because another registry may delete a manifest with its tag. If a
//! manifest that is attached must stay, the tags stay as well.

use std::collections::BTreeSet;

use super::Registry;
use crate::{
    base::error::{Class, Code, Error},
    oci::{
        Digest, Tag, TagOrDigest,
        registry::{Blocker, Deletion},
    },
    prune::{Node, Version, apply::Deleting},
};

/// The maximum depth of manifests that are attached to one another.
const MAX_DEPTH: usize = 4;

impl Registry {
    /// Deletes a version. The result is `Blocked` if something still refers to the digest.
    pub(super) async fn delete(
        &self,
        version: &Version,
        deleting: &Deleting<'_>,
    ) -> Result<Deletion, Error> {
        let result = self.delete_manifest(version, deleting, MAX_DEPTH).await?;
        let is_gone = matches!(
            result,
            Deletion::Deleted | Deletion::Missing | Deletion::MissingAfterAttempt
        );
        if let Some(unfinished) = self.unfinished.as_ref().filter(|_| is_gone) {
            unfinished.remove(version.digest);
        }
        Ok(result)
    }

    async fn delete_manifest(
        &self,
        version: &Version,
        deleting: &Deleting<'_>,
        depth: usize,
    ) -> Result<Deletion, Error> {
        let digest = version.digest;
        let (mut are_tags_deleted, mut are_referrers_deleted) = (version.tags.is_empty(), false);
        loop {
            let (blocker, reason) = match self.request_deletion(digest).await? {
                Deletion::Blocked { blocker, reason } => (blocker, reason),
                result => return Ok(result),
            };
            match blocker {
                // Docker Hub does not state its reason: tags are the common one.
                Blocker::Tags | Blocker::Unknown if !are_tags_deleted => {
                    // With a manifest that stays, the digest would remain without its tags.
                    if let Some(reason) = self.find_fixed(digest, deleting, depth).await? {
                        let blocker = Blocker::References;
                        return Ok(Deletion::Blocked { blocker, reason });
                    }
                    are_tags_deleted = true;
                    if let Some(refusal) = self.untag(version).await? {
                        return Ok(refusal);
                    }
                }
                Blocker::References | Blocker::Unknown if !are_referrers_deleted => {
                    are_referrers_deleted = true;
                    if !self.delete_attached(digest, deleting, depth).await? {
                        return Ok(Deletion::Blocked { blocker, reason });
                    }
                }
                // An index contains it, so it remains, and its attached manifests must remain with it.
                _ => return Ok(Deletion::Blocked { blocker, reason }),
            }
        }
    }

    /// Requests the deletion of a digest. Docker Hub refuses it with 403 while anything refers to it.
    async fn request_deletion(&self, digest: Digest) -> Result<Deletion, Error> {
        match self.remote.delete(digest).await? {
            Deletion::Forbidden(error) if self.is_on_hub => Ok(Deletion::Blocked {
                blocker: Blocker::Unknown,
                reason: error.message,
            }),
            Deletion::Forbidden(error) => Err(*error),
            result => Ok(result),
        }
    }

    /// Deletes the tags of a version. Each is read again immediately before, because a build may have moved it.
    /// Returns the result that ends the deletion.
    async fn untag(&self, version: &Version) -> Result<Option<Deletion>, Error> {
        if let Some(unfinished) = &self.unfinished {
            unfinished.add(version.digest)?;
        }
        self.untagged.borrow_mut().insert(version.digest);
        for tag in &version.tags {
            match self.resolve(&TagOrDigest::Tag(tag.clone())).await? {
                Some(digest) if digest == version.digest => {}
                None => continue,
                Some(other) => return Err(moved(tag, version.digest, other)),
            }
            match self.remote.delete_tag(tag).await? {
                Deletion::Deleted | Deletion::Missing | Deletion::MissingAfterAttempt => {}
                Deletion::Forbidden(error) => return Err(*error),
                Deletion::Refused(reason) | Deletion::Blocked { reason, .. } => {
                    let reason = format!(
                        "the digest has tags, and the registry does not delete the tag {tag}: {reason}"
                    );
                    return Ok(Some(Deletion::Refused(reason)));
                }
            }
        }
        Ok(None)
    }

    /// Deletes the manifests that are attached to a digest, with those that are attached to them. Returns whether
    /// any existed and all could be deleted: a protected or tagged one stays, and its subject with it.
    async fn delete_attached(
        &self,
        subject: Digest,
        deleting: &Deleting<'_>,
        depth: usize,
    ) -> Result<bool, Error> {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(false);
        };
        let Attached::Versions(versions) = self.attached(subject, deleting).await? else {
            return Ok(false);
        };
        for version in &versions {
            let deleted = Box::pin(self.delete_manifest(version, deleting, depth)).await?;
            match deleted {
                Deletion::Deleted => deleting.attached.borrow_mut().push(version.digest),
                Deletion::Missing | Deletion::MissingAfterAttempt => {}
                Deletion::Refused(_) | Deletion::Blocked { .. } => return Ok(false),
                Deletion::Forbidden(error) => return Err(*error),
            }
        }
        Ok(!versions.is_empty())
    }

    /// The reason why a manifest that is directly or indirectly attached to a digest must stay, without a change.
    async fn find_fixed(
        &self,
        subject: Digest,
        deleting: &Deleting<'_>,
        depth: usize,
    ) -> Result<Option<String>, Error> {
        let versions = match self.attached(subject, deleting).await? {
            Attached::Versions(versions) => versions,
            Attached::Fixed(reason) => return Ok(Some(reason)),
        };
        for Version { digest, .. } in versions {
            let Some(depth) = depth.checked_sub(1) else {
                return Ok(Some(format!(
                    "{digest} is attached to an attached manifest"
                )));
            };
            let reason = Box::pin(self.find_fixed(digest, deleting, depth)).await?;
            if reason.is_some() {
                return Ok(reason);
            }
        }
        Ok(None)
    }

    /// The manifests that are attached to a digest.
    async fn attached(&self, subject: Digest, deleting: &Deleting<'_>) -> Result<Attached, Error> {
        let mut attached: BTreeSet<Digest> = BTreeSet::new();
        for (digest, node) in &deleting.listing.nodes {
            if node.subject == Some(subject) {
                attached.insert(*digest);
            }
        }
        for referrer in self.source.referrers(subject).await? {
            // Whoever may push can put any digest into the index of a fallback tag.
            let node = match deleting.listing.nodes.get(&referrer.digest) {
                Some(node) => Some(node.clone()),
                None => self.read_node(referrer.digest).await?,
            };
            match node {
                Some(node) if node.subject == Some(subject) => attached.insert(referrer.digest),
                Some(_) => {
                    return Ok(Attached::Fixed(format!(
                        "{} is listed as attached to {subject}, which is not its `subject`",
                        referrer.digest
                    )));
                }
                None => continue,
            };
        }
        let mut versions = Vec::new();
        for digest in attached {
            let listed = deleting.listing.versions.iter();
            let listed = listed.clone().find(|version| version.digest == digest);
            let version = listed.cloned().unwrap_or(Version {
                id: None,
                digest,
                tags: Vec::new(),
            });
            if let Some(reason) = fixed(&version, subject, deleting) {
                return Ok(Attached::Fixed(reason));
            }
            versions.push(version);
        }
        Ok(Attached::Versions(versions))
    }

    async fn read_node(&self, digest: Digest) -> Result<Option<Node>, Error> {
        let wanted = TagOrDigest::Digest(digest);
        let found = self.source.manifest(&wanted, None).await?;
        Ok(found.map(|found| Node::from_manifest(&found.value)))
    }
}

/// The manifests that are attached to a digest.
enum Attached {
    /// Each may be deleted with its subject.
    Versions(Vec<Version>),
    /// One must stay, for this reason.
    Fixed(String),
}

/// The reason why a manifest that is attached to `subject` must stay: it has another tag, or it is protected, or an
/// index contains it besides that of its subject's fallback tag.
fn fixed(version: &Version, subject: Digest, deleting: &Deleting<'_>) -> Option<String> {
    let digest = version.digest;
    let subjects: Vec<Digest> = version.tag_subjects().collect();
    let has_other_tag =
        subjects.len() != version.tags.len() || subjects.iter().any(|tagged| *tagged != subject);
    if has_other_tag {
        return Some(format!(
            "{digest}, which is attached to {subject}, has another tag"
        ));
    }
    let is_kept = |digest| deleting.kept.contains(&digest) || deleting.protection.contains(digest);
    if is_kept(digest) {
        return Some(format!(
            "{digest}, which is attached to {subject}, is protected"
        ));
    }
    let listing = deleting.listing;
    let is_fallback = |index: Digest| {
        let mut versions = listing.versions.iter();
        let version = versions.find(|version| version.digest == index);
        version.is_some_and(|version| version.tag_subjects().any(|tagged| tagged == subject))
    };
    let indexes = listing.nodes.iter().filter(|(index, node)| {
        let mut children = node.children.iter();
        children.any(|child| child.digest == digest) && (!is_fallback(**index) || is_kept(**index))
    });
    let index = indexes.map(|(index, _)| *index).min()?;
    Some(format!(
        "{digest}, which is attached to {subject}, is part of the index {index}"
    ))
}

fn moved(tag: &Tag, expected: Digest, found: Digest) -> Error {
    let message = format!("{tag} was moved from {expected} to {found} before its deletion");
    Error::new(Class::Unavailable, Code::CHANGED, message)
        .help("run prune again when nothing is being pushed or tagged")
}

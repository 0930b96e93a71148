//! The order of two builds: by version, by ancestry in the clone or in the source, by the history of the set, or by the
//! creation times of the images. The first of these that gives a result decides.

use std::{cell::OnceCell, cmp::Ordering, sync::Arc, time::SystemTime};

use super::{Services, build_source::BuildSource, caches::FetchedRepository, tags};
use crate::{
    app::pull_request::reconcile::RevisionAge,
    base::error::{Error, Errors},
    config::{Config, Image},
    core::{
        checks,
        history::{
            CommitOrder, Digests, History, KnownOrder, Membership, Order, OrderEvidence,
            UnknownMembership, UnknownOrder, commit_order, is_created_before,
        },
        pins::FoundPins,
    },
    git::Git,
    oci::{Revision, registry::resolve::ImageFacts},
};

/// The order of builds at a site.
pub(crate) struct BuildOrder<'o> {
    config: &'o Config,
    /// The clone; `None` for a fleet.
    git: Option<&'o Git>,
    /// The configured source.
    source: Option<BuildSource<'o>>,
    /// Whether the images are built from the repository of the clone.
    is_built_here: OnceCell<bool>,
}

/// A set whose tags were resolved, and the pins that it would change.
pub(crate) struct ResolvedSet<'s> {
    /// The configuration with the images and their pins, which each repository of a fleet has for itself.
    pub config: &'s Config,
    pub revision: &'s Revision,
    /// Without those of unresolved tags.
    pub digests: Digests,
    pub found: &'s FoundPins,
}

impl<'o> BuildOrder<'o> {
    /// The order in a clone, if there is one, and in the configured source. Sends no request.
    pub(crate) fn new(config: &'o Config, git: Option<&'o Git>, services: &'o Services) -> Self {
        Self {
            config,
            git,
            source: BuildSource::new(config, services),
            is_built_here: OnceCell::new(),
        }
    }

    /// The configured source.
    pub(super) fn source(&self) -> Option<&BuildSource<'o>> {
        self.source.as_ref()
    }

    /// Whether the promoted branch of the clone, or the default branch of the source, contains a revision. `related`:
    /// other revisions of the set.
    pub(super) async fn membership(
        &self,
        clone: Option<(&Git, &History)>,
        revision: &Revision,
        related: &[&str],
    ) -> Result<Membership, Error> {
        if !self
            .config
            .revision
            .pattern
            .may_be_commit(revision.as_str())
        {
            return Ok(Membership::Unknown(UnknownMembership::NoCommit));
        }
        let mut found = Membership::Unknown(UnknownMembership::NoSource);
        if let Some((git, known)) = clone {
            let in_clone = known.membership(git, revision, related, &self.is_built_here);
            found = in_clone.map_err(|error| Error::from(&error))?;
        }
        let Some(source) = &self.source else {
            return Ok(found);
        };
        if let Membership::Merged = found {
            return Ok(found);
        }
        Ok(match source.contains(revision.as_str()).await {
            Ok(true) => Membership::Merged,
            Ok(false) => Membership::Unmerged {
                branch: format!("the default branch of {}", source.name()),
            },
            Err(errors) => Membership::Unknown(UnknownMembership::SourceUnavailable(errors)),
        })
    }

    /// The order of `revision` and the set with the digests `current`, before any image is read.
    pub(crate) async fn of_set(
        &self,
        history: &History,
        revision: &Revision,
        current: &Digests,
    ) -> Result<Order, Error> {
        let Some(pinned) = history.revision_of(current) else {
            return Ok(Order::Unknown(history.unrecorded()));
        };
        let order = self.of_revisions(revision, pinned).await?;
        Ok(order.or_by_history(history, revision, current))
    }

    /// The order by version or by ancestry.
    pub(super) async fn of_revisions(
        &self,
        new: &Revision,
        pinned: &Revision,
    ) -> Result<Order, Error> {
        if new == pinned {
            return Ok(Order::Same);
        }
        let known = |is_older, evidence| {
            Order::Known(KnownOrder {
                is_older,
                evidence,
                pinned: Some(pinned.clone()),
            })
        };
        let pattern = &self.config.revision.pattern;
        if let Some(order) = pattern.cmp_precedence(new, pinned) {
            return Ok(known(order == Ordering::Less, OrderEvidence::Semver));
        }
        let mut unknown = UnknownOrder::NoSource {
            pinned: pinned.clone(),
        };
        let mut revisions = [new, pinned].into_iter();
        let other = revisions.find(|revision| !pattern.may_be_commit(revision.as_str()));
        if let Some(git) = self.git {
            let order = match other {
                Some(other) => CommitOrder::NoCommit(other.clone()),
                None => commit_order(git, new, pinned).map_err(|error| Error::from(&error))?,
            };
            unknown = match order {
                CommitOrder::Known { is_older } => {
                    return Ok(known(is_older, OrderEvidence::Clone));
                }
                CommitOrder::NoCommit(revision) => UnknownOrder::NoCommit {
                    revision,
                    pinned: pinned.clone(),
                },
                CommitOrder::Shallow => UnknownOrder::Shallow,
            };
        }
        let Some(source) = &self.source else {
            return Ok(Order::Unknown(unknown));
        };
        let repository = source.name().to_owned();
        let is_older = match other {
            Some(_) => Ok(None),
            None => source.is_ancestor(new.as_str(), pinned.as_str()).await,
        };
        Ok(match is_older {
            Ok(Some(is_older)) => known(is_older, OrderEvidence::Source(repository)),
            Ok(None) => Order::Unknown(UnknownOrder::NotInSource {
                pinned: pinned.clone(),
                repository,
            }),
            Err(errors) => Order::Unknown(UnknownOrder::SourceUnavailable(errors)),
        })
    }

    /// The order of a set whose tags were resolved, if its revision did not determine that it is older: by the label of
    /// the pinned images if no commit records their revision, or if their record is wrong; by the history of the set, or
    /// by creation times. `order`: that of the revision.
    pub(crate) async fn of_images(
        &self,
        order: &Order,
        history: Option<&History>,
        set: &ResolvedSet<'_>,
        services: &Services,
    ) -> Result<Order, Errors> {
        let (config, revision) = (set.config, set.revision);
        let mut images = config.images.iter();
        if images.any(|image| image.pins > 0 && !set.digests.contains_key(&image.name)) {
            // The set is refused for another reason.
            return Ok(order.clone());
        }
        let current = checks::current_digests(config, set.found);
        let pinned = tags::ordered_images(config, &current, services).await?;
        let mut order = order.clone();
        // A commit may record the wrong revision for other digests.
        let label = match &order {
            Order::Unknown(unknown) if !unknown.is_unrecorded() => None,
            Order::Same | Order::Known(_) | Order::Unknown(_) => {
                self.label(&config.images, &pinned)
            }
        };
        if let Some(label) = &label {
            let by_label = self.of_revisions(revision, label).await?;
            let counts = match (&order, &by_label) {
                (Order::Known(_), by_label) => by_label.is_older(),
                // A revision without a commit is less important than the missing record.
                (
                    Order::Unknown(_),
                    Order::Unknown(UnknownOrder::NoCommit { .. } | UnknownOrder::NoSource { .. }),
                ) => false,
                (Order::Same | Order::Unknown(_), _) => true,
            };
            if counts {
                order = by_label;
            }
        }
        if let Some(history) = history {
            order = order.or_by_history(history, revision, &current);
        }
        if !matches!(&order, Order::Unknown(unknown) if unknown.allows_further_evidence()) {
            return Ok(order);
        }
        let new = tags::ordered_images(config, &set.digests, services).await?;
        let is_older = older_by_creation(&config.images, &new, &pinned, services);
        Ok(order.or_by_creation(is_older, label.as_ref()))
    }

    /// The commits of the source, if it is configured, revisions are commits, and this clone cannot
    /// order them relative to `pinned`.
    pub(super) async fn source_commits(
        &self,
        pinned: Option<&Revision>,
    ) -> Option<Result<Arc<FetchedRepository>, Errors>> {
        let source = self.source.as_ref()?;
        if self.config.revision.pattern.is_semver() {
            return None;
        }
        if let (Some(git), Some(pinned)) = (self.git, pinned)
            && !git.is_shallow()
            && git
                .commit_named(pinned.as_str())
                .is_ok_and(|commit| commit.is_some())
        {
            return None;
        }
        Some(source.fetched().await)
    }

    /// The revision in the label of every pinned image and platform.
    pub(super) fn label(
        &self,
        images: &[Image],
        pinned: &[Option<ImageFacts>],
    ) -> Option<Revision> {
        let mut stated = Vec::new();
        for (image, facts) in images.iter().zip(pinned) {
            if image.pins > 0 {
                stated.push(self.config.revision.stated_by(facts.as_ref()?)?);
            }
        }
        stated.dedup();
        <[Revision; 1]>::try_from(stated)
            .ok()
            .map(|[revision]| revision)
    }

    /// The age of another revision of the set relative to `revision`.
    pub(crate) async fn age(&self, other: &str, revision: &str) -> RevisionAge {
        let pattern = &self.config.revision.pattern;
        let (Ok(other), Ok(revision)) = (pattern.revision(other), pattern.revision(revision))
        else {
            return RevisionAge::Unknown;
        };
        for (older, newer, age) in [
            (&other, &revision, RevisionAge::Older),
            (&revision, &other, RevisionAge::Newer),
        ] {
            let reason = match self.of_revisions(older, newer).await {
                Ok(order) if order.is_older() => return age,
                Ok(Order::Unknown(UnknownOrder::SourceUnavailable(errors))) => {
                    errors.by_cause()[0].to_string()
                }
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            return RevisionAge::Unreadable(format!(
                "cannot determine whether revision {other} is older: {reason}"
            ));
        }
        RevisionAge::Unknown
    }
}

/// Whether every changed image is older than its pinned one, or every one is newer; `None` if the times
/// differ in direction, are equal, unknown, or in the future.
fn older_by_creation(
    images: &[Image],
    new: &[Option<ImageFacts>],
    pinned: &[Option<ImageFacts>],
    services: &Services,
) -> Option<bool> {
    let mut times = Vec::new();
    for ((image, new), pinned) in images.iter().zip(new).zip(pinned) {
        if image.pins == 0 {
            continue;
        }
        let (new, pinned) = (new.as_ref()?, pinned.as_ref()?);
        if new.digest != pinned.digest {
            let name = &image.name;
            times.push([
                created(new, &format!("the new `{name}`"), services),
                created(pinned, &format!("the pinned `{name}`"), services),
            ]);
        }
    }
    is_created_before(times)
}

/// The creation time of an image, unless it lies in the future.
pub(super) fn created(
    image: &ImageFacts,
    subject: &str,
    services: &Services,
) -> Option<SystemTime> {
    services.credible_time(subject, image.created()?)
}

//! The stages that examine images: their signatures, their contents, then the smoke command.
//!
//! Images are examined one after the other, each judged before the next, so that the facts about
//! one can be dropped. A stage ends only when every image was judged.

use std::collections::BTreeSet;

use super::{
    Approved, ApprovedImage, ChainGoal, Judged, Resolved, Stopped, VerifiedSet, warn_only,
};
use crate::{
    checks::{Check, Standard, shared_digests},
    config::SignedSubject,
    error::Error,
    history::Promoted,
    registry::resolve::ImageFacts,
};

/// The stage of signatures and attestations.
#[derive(Debug)]
pub struct Signing<'c>(Looking<'c>);

/// A chain whose images are signed, where that is required.
#[derive(Debug)]
pub struct Signed<'c>(Resolved<'c>);

/// The stage of contents.
#[derive(Debug)]
pub struct Inspection<'c>(Looking<'c>);

/// A chain whose images passed the stage of contents.
#[derive(Debug)]
pub struct Inspected<'c>(Resolved<'c>);

/// The stage of the smoke command.
#[derive(Debug)]
pub struct Trial<'c>(Looking<'c>);

/// An image and one of its platforms, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlatform {
    /// The image, in the order of the configuration.
    pub image: usize,
    /// The platform, in the order of the facts about the image.
    pub platform: usize,
}

#[derive(Debug)]
struct Looking<'c> {
    set: Resolved<'c>,
    /// The images and platforms that are not judged yet.
    open: BTreeSet<ImagePlatform>,
    judged: Judged,
}

impl<'c> Resolved<'c> {
    /// Begins the stage of signatures, in which images must also have different digests. If the
    /// configuration requires signatures, it has one place for each image, or for each of its
    /// platforms.
    pub fn signing(self) -> Signing<'c> {
        let verify = self.so_far.config.verify.as_ref();
        let subject = verify.map(|verify| verify.subject);
        let shared = self.shared_digests();
        let mut looking = Looking::new(self, |_, facts| match subject {
            None => 0,
            Some(SignedSubject::Pinned) => 1,
            Some(SignedSubject::Platforms) => facts.platforms.len(),
        });
        looking.judged.0.extend(shared);
        Signing(looking)
    }
}

impl Resolved<'_> {
    /// The checks of digests that images share.
    fn shared_digests(&self) -> Vec<Check> {
        let images = self.images.iter().enumerate();
        let digest =
            |(at, image): (usize, &ApprovedImage)| Some((at, image.facts.as_ref()?.digest));
        let digests: Vec<_> = images.filter_map(digest).collect();
        shared_digests(self.so_far.config, &digests)
    }
}

impl<'c> Signing<'c> {
    /// The images and platforms to judge, in the order of the configuration.
    pub fn open(&self) -> impl Iterator<Item = ImagePlatform> {
        self.0.open.iter().copied()
    }

    /// The facts about an image to judge.
    pub fn facts(&self, image: usize) -> Option<&ImageFacts> {
        self.0.set.images.get(image)?.facts.as_ref()
    }

    /// Records the verdict on one digest, or the errors that prevented it.
    pub fn judged(&mut self, place: ImagePlatform, verdict: Result<Vec<Check>, Vec<Error>>) {
        self.0.take(place, verdict);
    }

    /// Ends the stage.
    pub fn done(self) -> Result<Signed<'c>, Stopped> {
        self.0.end().map(Signed)
    }
}

impl<'c> Signed<'c> {
    /// Stops because the facts of the next stage could not be gathered.
    pub fn stop(self, outage: Error) -> Stopped {
        self.0.stop(outage)
    }

    /// The promoted set, if this is a rollback.
    pub fn promoted(&self) -> Option<&Promoted> {
        self.0.promoted()
    }

    /// Begins the stage of contents. `standards` has a list for each image; an image without a
    /// standard and without anything configured is not examined.
    pub fn inspect(self, standards: &[Vec<Standard<'_>>]) -> Inspection<'c> {
        let config = self.0.so_far.config;
        let wanted = |image: usize| {
            let declared = &config.images[image];
            let configured = config.inventory_of(declared).is_some() || declared.contract.is_some();
            configured
                || standards
                    .get(image)
                    .is_some_and(|standards| !standards.is_empty())
        };
        Inspection(Looking::new(self.0, |image, facts| {
            if wanted(image) {
                facts.platforms.len()
            } else {
                0
            }
        }))
    }
}

impl<'c> Inspection<'c> {
    /// The images and platforms to judge, in the order of the configuration.
    pub fn open(&self) -> impl Iterator<Item = ImagePlatform> {
        self.0.open.iter().copied()
    }

    /// The facts about an image to judge.
    pub fn facts(&self, image: usize) -> Option<&ImageFacts> {
        self.0.set.images.get(image)?.facts.as_ref()
    }

    /// Records the verdict on one platform, or the error that prevented it.
    pub fn judged(&mut self, place: ImagePlatform, verdict: Result<Vec<Check>, Error>) {
        self.0.take(place, verdict.map_err(|outage| vec![outage]));
    }

    /// Ends the stage.
    pub fn done(self) -> Result<Inspected<'c>, Stopped> {
        self.0.end().map(Inspected)
    }
}

impl<'c> Inspected<'c> {
    /// Begins the stage of the smoke command, which is empty if none is configured.
    pub fn try_out(self) -> Trial<'c> {
        let wanted = usize::from(self.0.so_far.config.smoke.is_some());
        Trial(Looking::new(self.0, |_, _| wanted))
    }
}

impl Trial<'_> {
    /// The indices of the images to judge.
    pub fn open(&self) -> impl Iterator<Item = usize> {
        self.0.open.iter().map(|place| place.image)
    }

    /// The facts about an image to judge.
    pub fn facts(&self, image: usize) -> Option<&ImageFacts> {
        self.0.set.images.get(image)?.facts.as_ref()
    }

    /// Records the verdict on an image, or the error that prevented it.
    pub fn judged(&mut self, image: usize, verdict: Result<Vec<Check>, Error>) {
        let place = ImagePlatform { image, platform: 0 };
        self.0.take(place, verdict.map_err(|outage| vec![outage]));
    }

    /// Ends the stage, and with it the chain of a set by itself.
    pub fn verified(self) -> Result<VerifiedSet, Stopped> {
        let set = self.0.end()?;
        Ok(VerifiedSet {
            revision: set.so_far.revision.clone(),
            images: set.images,
            checks: set.so_far.checks,
        })
    }

    /// Ends the stage, and with it the chain of a promote or a rollback.
    pub fn done(self) -> Result<Approved, Stopped> {
        let set = self.0.end()?;
        // A set whose pins and history nobody judged must not become a plan.
        if set.goal == ChainGoal::Set {
            let unjudged =
                Error::unavailable("the set", "its pins and its history were not judged");
            return Err(set.stop(unjudged));
        }
        Ok(Approved {
            revision: set.so_far.revision.clone(),
            images: set.images,
            checks: set.so_far.checks,
        })
    }
}

impl<'c> Looking<'c> {
    fn new(set: Resolved<'c>, platforms: impl Fn(usize, &ImageFacts) -> usize) -> Self {
        let images = set.images.iter().enumerate();
        let of_image = |(image, facts): (usize, &ImageFacts)| {
            (0..platforms(image, facts)).map(move |platform| ImagePlatform { image, platform })
        };
        let open = images
            .filter_map(|(at, image)| Some((at, image.facts.as_ref()?)))
            .flat_map(of_image)
            .collect();
        Self {
            set,
            open,
            judged: Judged::default(),
        }
    }

    fn take(&mut self, place: ImagePlatform, verdict: Result<Vec<Check>, Vec<Error>>) {
        self.open.remove(&place);
        let image = &self.set.so_far.config.images[place.image];
        let judged = match verdict {
            Ok(checks) => (checks, Vec::new()),
            Err(outages) => (Vec::new(), outages),
        };
        let (checks, outages) = if self.set.goal == ChainGoal::Rollback && image.pins == 0 {
            warn_only(image, judged)
        } else {
            judged
        };
        self.judged.0.extend(checks);
        self.judged.1.extend(outages);
    }

    fn end(mut self) -> Result<Resolved<'c>, Stopped> {
        // An image that a caller forgot must not pass.
        let config = self.set.so_far.config;
        let forgotten = self
            .open
            .iter()
            .map(|place| config.images[place.image].name.clone());
        self.judged
            .1
            .extend(forgotten.map(|image| Error::unavailable(image, "the image was not examined")));
        let so_far = self.set.so_far.stage(self.judged)?;
        Ok(Resolved { so_far, ..self.set })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        checks::{Resolution, SetAlone, Target},
        config,
        error::SourceText,
        oci::{Digest, Pattern, Tag},
    };

    #[test]
    fn set_without_judged_pins_and_history_is_never_approved() {
        let text = "version: 1\nfleet: {}\nimages: { a: { repository: ghcr.io/acme/a } }\n";
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: text.into(),
        };
        let config = config::parse(&source, Path::new("/root")).unwrap();
        let revision = Pattern::parse("[a-c]+").unwrap().revision("abc").unwrap();
        let facts = ImageFacts {
            digest: Digest::of(b"manifest"),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            platforms: Vec::new(),
        };
        let chain = || {
            let resolution = Resolution {
                target: Target {
                    tag: Tag::parse("abc").unwrap(),
                    expected: None,
                    pinned: Vec::new(),
                },
                found: Ok(Some(facts.clone())),
                old_platforms: Vec::new(),
            };
            let chain = SetAlone::new(&config, &revision, Vec::new()).unwrap();
            let signed = chain.resolved(&[resolution]).unwrap().signing().done();
            let inspected = signed.unwrap().inspect(&[]).done();
            inspected.unwrap().try_out()
        };
        assert_eq!(chain().verified().unwrap().images().len(), 1);
        let stopped = chain().done().unwrap_err();
        assert!(stopped.outages[0].to_string().contains("not judged"));
    }
}

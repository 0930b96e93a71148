//! The builds of a set: the revisions for which its registries have tags, in order, with their states.
//!
//! Pure, except for one pass over the commits of the clone: tags and facts about images in, builds out.
//! `workflow` lists the tags and reads the images.

mod ancestry;
mod candidates;
mod order;
mod state;

use std::time::SystemTime;

use crate::{
    base::error::Error,
    config::{Config, RevisionLength},
    core::history::{self, Digests},
    oci::{Digest, Revision, Tag},
};

pub(crate) use candidates::{
    Candidates, MAX_READ, Push, Selection, SelectionFacts, TagTable, is_build,
};
use order::ListOrder;
pub(crate) use state::{Proposal, SetFacts, State, is_created_before, is_current, state, unmerged};

/// The facts about a build from its registries.
#[derive(Debug)]
pub(crate) struct ReadBuild {
    /// The revision, or its abbreviation if the images do not state the same revision.
    pub text: String,
    /// `None` if the images do not state the same revision.
    pub revision: Option<Revision>,
    /// In the order of the configuration.
    pub images: Vec<BuildImage>,
}

/// An image of a build.
#[derive(Debug)]
pub(crate) enum BuildImage {
    /// No tag of the repository belongs to the revision.
    Missing,
    /// The number of tags that belong to the revision, which is not 1.
    Ambiguous(usize),
    Unreadable(Tag, Error),
    Read(Tag, ReadImage),
}

/// The facts about an image that its registry has.
#[derive(Debug, Clone)]
pub(crate) struct ReadImage {
    pub digest: Digest,
    pub time: Option<ImageTime>,
    /// The revision label, if the image was read and all platforms have the same.
    pub label: Option<String>,
}

/// The time of an image, with its origin: only times of one origin can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageTime {
    /// The creation time in the configuration of the image.
    Created(SystemTime),
    /// The time of the push.
    Pushed(SystemTime),
}

impl ImageTime {
    pub(crate) fn time(self) -> SystemTime {
        match self {
            Self::Created(time) | Self::Pushed(time) => time,
        }
    }
}

impl BuildImage {
    pub(crate) fn read(&self) -> Option<&ReadImage> {
        match self {
            Self::Read(_, image) => Some(image),
            _ => None,
        }
    }

    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Read(tag, _) | Self::Unreadable(tag, _) => Some(tag),
            Self::Missing | Self::Ambiguous(_) => None,
        }
    }
}

impl ReadBuild {
    /// Combines the images of a candidate. An abbreviation is completed by the revision label, which must
    /// be the same for all images.
    pub(crate) fn new(text: &str, images: Vec<BuildImage>, config: &Config) -> Self {
        let pattern = &config.revision.pattern;
        let revision = if is_abbreviated(config) {
            let read = images.iter().filter_map(BuildImage::read);
            let mut revisions = read.map(|image| pattern.complete(text, image.label.as_deref()?));
            let first = revisions.next().flatten();
            let agrees = revisions.all(|revision| revision == first);
            first.filter(|_| agrees)
        } else {
            pattern.revision(text).ok()
        };
        Self {
            text: revision
                .as_ref()
                .map_or(text, |revision| revision.as_str())
                .to_owned(),
            revision,
            images,
        }
    }

    /// The time of the latest image.
    pub(crate) fn created(&self) -> Option<SystemTime> {
        let images = self.images.iter().filter_map(BuildImage::read);
        images.filter_map(|image| Some(image.time?.time())).max()
    }

    /// The time of the latest image, unless it is a placeholder.
    pub(crate) fn build_time(&self) -> Option<SystemTime> {
        self.created()
            .filter(|time| !history::is_placeholder(*time))
    }

    /// The digests of the images that must be pinned.
    pub(crate) fn digests(&self, config: &Config) -> Digests {
        let mut digests = Digests::new();
        for (image, read) in config.images.iter().zip(&self.images) {
            if let Some(read) = read.read()
                && image.pins > 0
            {
                digests.insert(image.name.clone(), read.digest);
            }
        }
        digests
    }

    /// The errors of the images that could not be read.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        self.images.iter().filter_map(|image| match image {
            BuildImage::Unreadable(_, error) => Some(error),
            _ => None,
        })
    }
}

/// The tag of a revision as text.
pub(crate) fn expected_tag(config: &Config, text: &str) -> String {
    let tag = config.revision.tag.tag_of(text);
    tag.map_or_else(|_| text.to_owned(), |tag| tag.to_string())
}

/// Whether tags contain only the first digits of a revision.
pub(crate) fn is_abbreviated(config: &Config) -> bool {
    config.revision.tag.length() != RevisionLength::Full
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn placeholder_is_no_time_of_a_build() {
        let read = |seconds| {
            let image = ReadImage {
                digest: Digest::from_hex(&"a".repeat(64)).unwrap(),
                time: Some(ImageTime::Created(
                    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
                )),
                label: None,
            };
            BuildImage::Read(Tag::parse("t").unwrap(), image)
        };
        let build = |images| ReadBuild {
            text: "a".to_owned(),
            revision: None,
            images,
        };
        let reproducible = build(vec![read(0), BuildImage::Missing]);
        assert_eq!(reproducible.created(), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(reproducible.build_time(), None);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(
            build(vec![read(1_700_000_000), read(0)]).build_time(),
            Some(time)
        );
    }
}

//! The protected digests and tags, each with its uses and their places.
//!
//! [`super::guards`] collects one set for all images, and [`super::judge()`] queries it for one of them. A
//! version with one of these digests or tags is protected regardless of its age.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use super::{KeepReason, TagReason, in_use::RunningImage};
use crate::{
    core::pins::{Mentions, TagMention},
    oci::{Digest, Tag, TagPattern},
};

/// The use of a digest. The first one is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DigestUse {
    /// It is pinned for an image of the same source.
    Pin,
    /// It is or was pinned for another image, or in a file matched by `places`.
    OtherPin,
    /// A commit of the promotion history pinned it for an image of the same source.
    History,
    /// A file contains it.
    Mention,
    /// A file contains it after `sha256:`. It also is a `Mention`.
    Reference,
    /// Any configuration ever pinned it on any branch of this repository or of another.
    PastPin,
    /// A container runs with it, or with the image that has it as its config.
    Running,
    /// A container runs with it under a name of no configured image, which may be that of a mirror.
    OtherRunning,
    /// A container runs with it, and its name is unknown: it may be the digest of a config.
    RunningId,
}

/// The use of a tag. The first one is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TagUse {
    /// It is the tag of a revision that was promoted or is being promoted.
    Revision,
    /// A file contains it.
    Mention,
    /// A container runs with it.
    Running,
}

/// The place of a use, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A text such as `in the work tree (a.yaml:3)`.
    Text(String),
    Line(Arc<File>, usize),
}

/// A file in a work tree or a commit.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct File {
    path: String,
    /// The tree: `on main of origin`.
    tree: String,
}

/// The uses of digests and tags, each with the index of the image that it protects, or `None` if it
/// protects all images, and with its first place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProtectionSet {
    pub(super) digests: BTreeMap<(Digest, DigestUse, Option<usize>), Place>,
    pub(super) tags: BTreeMap<(TagPattern, TagUse, Option<usize>), Place>,
}

/// The protection of one image's versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageProtection<'s> {
    set: &'s ProtectionSet,
    image: usize,
}

impl ProtectionSet {
    /// Adds the mentions in a file of `tree`, such as `on main of origin`.
    pub(crate) fn add_mentions(&mut self, path: &[u8], tree: &str, mentions: &Mentions) {
        let file = Arc::new(File {
            path: String::from_utf8_lossy(path).into_owned(),
            tree: tree.to_owned(),
        });
        let place = |line| Place::Line(Arc::clone(&file), line);
        for TagMention { tag, image, line } in &mentions.tags {
            let key = (TagPattern::Tag(tag.clone()), TagUse::Mention, *image);
            self.tags.entry(key).or_insert_with(|| place(*line));
        }
        for mention in &mentions.digests {
            let reference = mention.algorithm.then_some(DigestUse::Reference);
            for usage in [Some(DigestUse::Mention), reference].into_iter().flatten() {
                let known = self.digests.entry((mention.digest, usage, None));
                known.or_insert_with(|| place(mention.line));
            }
        }
    }

    /// Adds an image that runs. `images`: the configured images with its name. A tag of any other name protects every
    /// image, because a mirror may have another name.
    pub(super) fn add_running(
        &mut self,
        running: &RunningImage,
        file: &str,
        images: &BTreeSet<usize>,
    ) {
        let place = Place::Text(format!("in {file} ({})", running.place));
        let usage = match &running.name {
            None => DigestUse::RunningId,
            Some(_) if images.is_empty() => DigestUse::OtherRunning,
            Some(_) => DigestUse::Running,
        };
        let images: Vec<Option<usize>> = if images.is_empty() {
            vec![None]
        } else {
            images.iter().copied().map(Some).collect()
        };
        for image in images {
            if let Some(digest) = running.digest {
                // The same bytes may be pulled under any name.
                for image in [None, image] {
                    let known = self.digests.entry((digest, usage, image));
                    known.or_insert_with(|| place.clone());
                }
            }
            if let Some(tag) = &running.tag {
                let key = (TagPattern::Tag(tag.clone()), TagUse::Running, image);
                self.tags.entry(key).or_insert_with(|| place.clone());
            }
        }
    }

    /// Adds the uses of `other`; returns whether any is new.
    pub(super) fn merge(&mut self, other: Self) -> bool {
        let before = self.digests.len() + self.tags.len();
        for (usage, place) in other.digests {
            self.digests.entry(usage).or_insert(place);
        }
        for (usage, place) in other.tags {
            self.tags.entry(usage).or_insert(place);
        }
        self.digests.len() + self.tags.len() > before
    }

    /// The protection of the image with this index.
    pub(crate) fn of(&self, image: usize) -> ImageProtection<'_> {
        ImageProtection { set: self, image }
    }
}

impl<'s> ImageProtection<'s> {
    /// All digests in order, each with its uses in order.
    fn digests(self) -> impl Iterator<Item = (Digest, DigestUse, &'s Place)> {
        let uses = self.set.digests.iter();
        uses.filter(move |((_, _, image), _)| image.is_none_or(|image| image == self.image))
            .map(|((digest, usage, _), place)| (*digest, *usage, place))
    }

    fn uses(self, digest: Digest) -> impl Iterator<Item = (DigestUse, &'s Place)> {
        let all = (digest, DigestUse::Pin, None)..=(digest, DigestUse::RunningId, Some(usize::MAX));
        let uses = self.set.digests.range(all);
        uses.filter(move |((_, _, image), _)| image.is_none_or(|image| image == self.image))
            .map(|((_, usage, _), place)| (*usage, place))
    }

    pub(super) fn contains(self, digest: Digest) -> bool {
        self.uses(digest).next().is_some()
    }

    /// Whether a file contains this digest.
    pub(super) fn is_mentioned(self, digest: Digest) -> bool {
        self.uses(digest)
            .any(|(usage, _)| usage == DigestUse::Mention)
    }

    /// The reason that protects a digest.
    pub(super) fn digest_reason(self, digest: Digest) -> Option<KeepReason> {
        let (usage, place) = self.uses(digest).next()?;
        Some(match usage {
            DigestUse::Pin | DigestUse::OtherPin | DigestUse::PastPin => {
                KeepReason::Pinned(place.to_string())
            }
            DigestUse::Running | DigestUse::OtherRunning | DigestUse::RunningId => {
                KeepReason::Running(place.to_string())
            }
            DigestUse::History => KeepReason::History,
            DigestUse::Mention | DigestUse::Reference => KeepReason::Mentioned(place.to_string()),
        })
    }

    /// The use that protects a tag.
    pub(super) fn tag_reason(self, tag: &Tag) -> Option<TagReason> {
        let exact = TagPattern::Tag(tag.clone());
        let place = |usage, image| self.set.tags.get(&(exact.clone(), usage, image));
        let revision = place(TagUse::Revision, None).or_else(|| self.revision_pattern(tag));
        if let Some(place) = revision {
            return Some(TagReason::Revision(place.to_string()));
        }
        let of_image = |usage| place(usage, None).or_else(|| place(usage, Some(self.image)));
        if let Some(mention) = of_image(TagUse::Mention) {
            return Some(TagReason::Mentioned(mention.to_string()));
        }
        of_image(TagUse::Running).map(|place| TagReason::Running(place.to_string()))
    }

    /// The place of a pattern of revisions that matches a tag.
    fn revision_pattern(self, tag: &Tag) -> Option<&'s Place> {
        // Patterns with `*` are after all tags in the order of the map.
        for ((pattern, _, _), place) in self.set.tags.iter().rev() {
            let TagPattern::Wildcard(pattern) = pattern else {
                break;
            };
            if pattern.matches(tag) {
                return Some(place);
            }
        }
        None
    }

    /// The current pins, with their places.
    pub(super) fn pins(self) -> impl Iterator<Item = (Digest, &'s Place)> {
        self.digests()
            .filter(|(_, usage, _)| *usage == DigestUse::Pin)
            .map(|(digest, _, place)| (digest, place))
    }

    /// The digests that are or were pinned for any image, or that run under a name of this image or of no
    /// configured one.
    pub(super) fn pinned(self) -> BTreeSet<Digest> {
        let is_pin = |usage, image| match usage {
            DigestUse::Mention | DigestUse::Reference | DigestUse::RunningId => false,
            DigestUse::Running => image == Some(self.image),
            DigestUse::Pin
            | DigestUse::OtherPin
            | DigestUse::History
            | DigestUse::PastPin
            | DigestUse::OtherRunning => true,
        };
        let uses = self.set.digests.keys();
        uses.filter(|(_, _, image)| image.is_none_or(|image| image == self.image))
            .filter(|(_, usage, image)| is_pin(*usage, *image))
            .map(|(digest, _, _)| *digest)
            .collect()
    }

    /// The digests that run and that may be those of configs.
    pub(super) fn running_ids(self) -> impl Iterator<Item = Digest> {
        self.digests()
            .filter(|(_, usage, _)| *usage == DigestUse::RunningId)
            .map(|(digest, _, _)| digest)
    }

    /// The digests that files contain after `sha256:`.
    pub(super) fn references(self) -> impl Iterator<Item = Digest> {
        self.digests()
            .filter(|(_, usage, _)| *usage == DigestUse::Reference)
            .map(|(digest, _, _)| digest)
    }

    /// Lists the first files with `digests`, each with the number of digests, in descending order. At
    /// most `limit` files are listed by name.
    pub(super) fn describe_files<'d>(
        self,
        digests: impl IntoIterator<Item = &'d Digest>,
        limit: usize,
    ) -> String {
        let mut counts: HashMap<&File, usize> = HashMap::new();
        for digest in digests {
            let mut places = self.uses(*digest).map(|(_, place)| place);
            let file = places.find_map(|place| match place {
                Place::Line(file, _) => Some(file.as_ref()),
                Place::Text(_) => None,
            });
            if let Some(file) = file {
                *counts.entry(file).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        let omitted = counts.len().saturating_sub(limit);
        let mut descriptions: Vec<_> = counts
            .into_iter()
            .take(limit)
            .map(|(File { path, tree }, count)| format!("{path} {tree} ({count})"))
            .collect();
        if omitted > 0 {
            descriptions.push(format!("{omitted} more files"));
        }
        descriptions.join(", ")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Line(file, line) => {
                let File { path, tree } = file.as_ref();
                // A tag may refer to a blob.
                if path.is_empty() {
                    write!(f, "in line {line} {tree}")
                } else {
                    write!(f, "in {path}:{line} {tree}")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pins::{Mention, TagMention};

    fn mentions<const N: usize>(digests: [Mention; N]) -> Mentions {
        Mentions {
            digests: digests.into(),
            tags: Vec::new(),
        }
    }

    fn mention(seed: &str, algorithm: bool) -> Mention {
        Mention {
            digest: Digest::of(seed.as_bytes()),
            algorithm,
            line: 7,
        }
    }

    fn location(set: &ProtectionSet, seed: &str) -> Option<String> {
        let reason = set.of(0).digest_reason(Digest::of(seed.as_bytes()))?;
        match reason {
            KeepReason::Mentioned(location) => Some(location),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn tags_keep_their_first_location() {
        let tag = |text: &str| Tag::parse(text).unwrap();
        let with_tag = |path: &str, image: Option<usize>, name: &str| {
            let mut set = ProtectionSet::default();
            let mentions = Mentions {
                digests: Vec::new(),
                tags: vec![TagMention {
                    tag: tag(name),
                    image,
                    line: 3,
                }],
            };
            set.add_mentions(path.as_bytes(), "in the work tree", &mentions);
            (set, mentions)
        };
        let (mut set, mentions) = with_tag("a.txt", Some(0), "v1");
        set.add_mentions(b"b.txt", "in the work tree", &mentions);
        set.merge(with_tag("c.txt", None, "v2").0);
        for (image, name, location) in [
            (0, "v1", Some("in a.txt:3 in the work tree")),
            (1, "v1", None),
            (0, "v2", Some("in c.txt:3 in the work tree")),
            (1, "v2", Some("in c.txt:3 in the work tree")),
            (0, "v3", None),
        ] {
            let expected = location.map(|location| TagReason::Mentioned(location.to_owned()));
            assert_eq!(set.of(image).tag_reason(&tag(name)), expected);
        }
        let is_new = |image, name| set.clone().merge(with_tag("d.txt", image, name).0);
        assert!(!is_new(Some(0), "v1"));
        assert!(!is_new(None, "v2"));
        assert!(is_new(Some(0), "v2"));
        assert!(is_new(Some(1), "v1"));
    }

    #[test]
    fn running_digest_is_read_where_its_name_may_be() {
        let digest = Digest::of(b"x");
        let added = |name: Option<&str>, images: &[usize]| {
            let running = RunningImage {
                name: name.map(str::to_owned),
                tag: None,
                digest: Some(digest),
                place: "line 1".to_owned(),
            };
            let mut set = ProtectionSet::default();
            set.add_running(&running, "ps.txt", &images.iter().copied().collect());
            set
        };
        for (name, images, is_read, is_id) in [
            (Some("app"), &[0][..], [true, false], false),
            (Some("mirror"), &[], [true, true], false),
            (None, &[], [false, false], true),
        ] {
            let set = added(name, images);
            for (image, is_read) in is_read.into_iter().enumerate() {
                let of = set.of(image);
                assert_eq!(of.pinned().contains(&digest), is_read, "{name:?} {image}");
                let ids: Vec<Digest> = of.running_ids().collect();
                assert_eq!(ids == [digest], is_id, "{name:?}");
                assert!(of.contains(digest), "{name:?} {image}");
            }
        }
    }

    #[test]
    fn location_is_the_first_mention() {
        let mut set = ProtectionSet::default();
        set.add_mentions(
            b"a.txt",
            "in the work tree",
            &mentions([mention("x", false)]),
        );
        set.add_mentions(
            b"b.txt",
            "on main of origin",
            &mentions([mention("x", true), mention("y", false)]),
        );
        assert_eq!(location(&set, "x").unwrap(), "in a.txt:7 in the work tree");
        assert_eq!(location(&set, "y").unwrap(), "in b.txt:7 on main of origin");
        assert_eq!(location(&set, "z"), None);
        let references: Vec<_> = set.of(0).references().collect();
        assert_eq!(references, [Digest::of(b"x")]);
    }

    #[test]
    fn merge_reports_new_digests() {
        let mut set = ProtectionSet::default();
        set.add_mentions(b"a.txt", "here", &mentions([mention("x", false)]));
        let other = |mention: Mention| {
            let mut other = ProtectionSet::default();
            other.add_mentions(b"b.txt", "there", &mentions([mention]));
            other
        };
        for (mention, known) in [
            (mention("x", false), true),
            // The digest has an algorithm now, so its version must be requested.
            (mention("x", true), false),
            (mention("x", true), true),
            (mention("y", false), false),
        ] {
            assert_eq!(set.merge(other(mention)), !known, "{mention:?}");
        }
        let [x, y] = ["x", "y"].map(|seed| Digest::of(seed.as_bytes()));
        assert_eq!(location(&set, "y").unwrap(), "in b.txt:7 there");
        assert_eq!(
            set.of(0).describe_files([&x, &y], 2),
            "a.txt here (1), b.txt there (1)"
        );
        assert_eq!(
            set.of(0).describe_files([&x, &y], 1),
            "a.txt here (1), 1 more files"
        );
    }
}

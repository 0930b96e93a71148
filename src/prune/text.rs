//! The digests and the tags in tracked files, with the first location of each, including
//! digests and tags that are not pins.
//!
//! A version with one of these digests or tags is protected.

use std::collections::HashMap;

use crate::{
    core::pins::Mentions,
    oci::{Digest, Tag},
};

/// The digests and tags in tracked files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    digests: HashMap<Digest, FirstMention>,
    /// The first location of each tag of an image, or of any image.
    tags: HashMap<(Tag, Option<usize>), Location>,
    files: Vec<File>,
}

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Location {
    /// The index in `files`.
    file: usize,
    line: usize,
}

/// The first location of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstMention {
    location: Location,
    /// Whether any mention of the digest has the prefix `sha256:`.
    has_algorithm: bool,
}

/// A file in a work tree or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    path: String,
    /// The tree: `on main of origin`.
    tree: String,
}

impl Text {
    /// Adds the mentions in a file of `tree`, such as `on main of origin`.
    pub(crate) fn add(&mut self, path: &[u8], tree: &str, mentions: &Mentions) {
        let mut file = None;
        let files = &mut self.files;
        let mut number = || {
            *file.get_or_insert_with(|| {
                files.push(File {
                    path: String::from_utf8_lossy(path).into_owned(),
                    tree: tree.to_owned(),
                });
                files.len() - 1
            })
        };
        for mention in &mentions.tags {
            let tag = self.tags.entry((mention.tag.clone(), mention.image));
            tag.or_insert_with(|| Location {
                file: number(),
                line: mention.line,
            });
        }
        for mention in &mentions.digests {
            if let Some(known) = self.digests.get_mut(&mention.digest) {
                known.has_algorithm |= mention.algorithm;
                continue;
            }
            let location = Location {
                file: number(),
                line: mention.line,
            };
            let first = FirstMention {
                location,
                has_algorithm: mention.algorithm,
            };
            self.digests.insert(mention.digest, first);
        }
    }

    /// Whether all digests, algorithms and tags of `other` are known.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.tags.keys().all(|tag| self.tags.contains_key(tag))
            && other.digests.iter().all(|(digest, mention)| {
                let known = self.digests.get(digest);
                known.is_some_and(|known| known.has_algorithm || !mention.has_algorithm)
            })
    }

    /// Adds the mentions of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        let first = self.files.len();
        self.files.extend(other.files);
        for (tag, mut location) in other.tags {
            location.file += first;
            self.tags.entry(tag).or_insert(location);
        }
        for (digest, mut mention) in other.digests {
            mention.location.file += first;
            let known = self.digests.entry(digest).or_insert(mention);
            known.has_algorithm |= mention.has_algorithm;
        }
    }

    /// Whether a file contains this digest.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// The first location of a digest: `in FILE:LINE on main of origin`.
    pub(crate) fn location(&self, digest: &Digest) -> Option<String> {
        Some(self.describe(self.digests.get(digest)?.location))
    }

    /// The first location of a tag of an image.
    pub(crate) fn tag_location(&self, image: usize, tag: &Tag) -> Option<String> {
        let images = [None, Some(image)].into_iter();
        let mut found = images.filter_map(|image| self.tags.get(&(tag.clone(), image)));
        found.next().map(|location| self.describe(*location))
    }

    fn describe(&self, location: Location) -> String {
        let (File { path, tree }, line) = (&self.files[location.file], location.line);
        // A tag may refer to a blob.
        if path.is_empty() {
            return format!("in line {line} {tree}");
        }
        format!("in {path}:{line} {tree}")
    }

    /// The digests with the prefix `sha256:`, in no particular order.
    pub(crate) fn with_algorithm(&self) -> impl Iterator<Item = Digest> {
        self.digests
            .iter()
            .filter(|(_, mention)| mention.has_algorithm)
            .map(|(digest, _)| *digest)
    }

    /// Lists the first locations of `digests`, each with the number of digests, in descending order.
    /// At most `limit` files are listed by name.
    pub(crate) fn describe_files<'d>(
        &self,
        digests: impl IntoIterator<Item = &'d Digest>,
        limit: usize,
    ) -> String {
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for digest in digests {
            if let Some(mention) = self.digests.get(digest) {
                let file = &self.files[mention.location.file];
                *counts.entry((&file.path, &file.tree)).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        let omitted = counts.len().saturating_sub(limit);
        let mut descriptions: Vec<_> = counts
            .into_iter()
            .take(limit)
            .map(|((path, tree), count)| format!("{path} {tree} ({count})"))
            .collect();
        if omitted > 0 {
            descriptions.push(format!("{omitted} more files"));
        }
        descriptions.join(", ")
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

    #[test]
    fn tags_keep_their_first_location() {
        let tag = |text: &str| Tag::parse(text).unwrap();
        let with_tag = |path: &str, image: Option<usize>, name: &str| {
            let mut text = Text::default();
            let mentions = Mentions {
                digests: Vec::new(),
                tags: vec![TagMention {
                    tag: tag(name),
                    image,
                    line: 3,
                }],
            };
            text.add(path.as_bytes(), "in the work tree", &mentions);
            (text, mentions)
        };
        let (mut text, mentions) = with_tag("a.txt", Some(0), "v1");
        text.add(b"b.txt", "in the work tree", &mentions);
        text.merge(with_tag("c.txt", None, "v2").0);
        for (image, name, location) in [
            (0, "v1", Some("in a.txt:3 in the work tree")),
            (1, "v1", None),
            (0, "v2", Some("in c.txt:3 in the work tree")),
            (1, "v2", Some("in c.txt:3 in the work tree")),
            (0, "v3", None),
        ] {
            assert_eq!(text.tag_location(image, &tag(name)).as_deref(), location);
        }
        assert!(text.covers(&with_tag("d.txt", Some(0), "v1").0));
        assert!(text.covers(&with_tag("d.txt", None, "v2").0));
        assert!(!text.covers(&with_tag("d.txt", Some(0), "v2").0));
        assert!(!text.covers(&with_tag("d.txt", Some(1), "v1").0));
    }

    #[test]
    fn location_is_the_first_mention() {
        let mut text = Text::default();
        text.add(
            b"a.txt",
            "in the work tree",
            &mentions([mention("x", false)]),
        );
        text.add(
            b"b.txt",
            "on main of origin",
            &mentions([mention("x", true), mention("y", false)]),
        );
        let location = |seed: &str| text.location(&Digest::of(seed.as_bytes()));
        assert_eq!(location("x").unwrap(), "in a.txt:7 in the work tree");
        assert_eq!(location("y").unwrap(), "in b.txt:7 on main of origin");
        assert_eq!(location("z"), None);
        let with_algorithm: Vec<_> = text.with_algorithm().collect();
        assert_eq!(with_algorithm, [Digest::of(b"x")]);
    }

    #[test]
    fn covers_reports_new_digests() {
        let mut text = Text::default();
        text.add(b"a.txt", "here", &mentions([mention("x", false)]));
        let other = |mention: Mention| {
            let mut other = Text::default();
            other.add(b"b.txt", "there", &mentions([mention]));
            other
        };
        for (mention, known) in [
            (mention("x", false), true),
            // The digest has an algorithm now, so its version must be requested.
            (mention("x", true), false),
            (mention("x", true), true),
            (mention("y", false), false),
        ] {
            let more = other(mention);
            assert_eq!(text.covers(&more), known, "{mention:?}");
            text.merge(more);
        }
        let [x, y] = ["x", "y"].map(|seed| Digest::of(seed.as_bytes()));
        assert_eq!(text.location(&y).unwrap(), "in b.txt:7 there");
        assert_eq!(
            text.describe_files([&x, &y], 2),
            "a.txt here (1), b.txt there (1)"
        );
        assert_eq!(
            text.describe_files([&x, &y], 1),
            "a.txt here (1), 1 more files"
        );
    }
}

//! The digests and the tags of images in tracked files, with the first location of each, including
//! digests and tags that are not pins.
//!
//! A version with one of these digests or tags is protected.

use std::collections::{BTreeMap, HashMap};

use crate::{
    oci::{Digest, Tag},
    pins::Mentions,
};

/// The digests and tags in tracked files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    digests: HashMap<Digest, FirstMention>,
    /// For each image the texts after its names, with the index of the first file in `files`.
    tags: HashMap<usize, BTreeMap<String, usize>>,
    files: Vec<File>,
}

/// The first location of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstMention {
    /// The index in `files`.
    file: usize,
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
        for (image, tag) in &mentions.tags {
            let tags = self.tags.entry(*image).or_default();
            if !tags.contains_key(tag.as_str()) {
                tags.insert(tag.to_string(), number());
            }
        }
        for mention in &mentions.digests {
            if let Some(known) = self.digests.get_mut(&mention.digest) {
                known.has_algorithm |= mention.algorithm;
                continue;
            }
            let first = FirstMention {
                file: number(),
                has_algorithm: mention.algorithm,
            };
            self.digests.insert(mention.digest, first);
        }
    }

    /// Whether all digests, algorithms and tags of `other` are known.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut tags = other.tags.iter().flat_map(|(image, tags)| {
            let known = self.tags.get(image);
            tags.keys().map(move |tag| (known, tag))
        });
        tags.all(|(known, tag)| known.is_some_and(|known| known.contains_key(tag)))
            && other.digests.iter().all(|(digest, mention)| {
                let known = self.digests.get(digest);
                known.is_some_and(|known| known.has_algorithm || !mention.has_algorithm)
            })
    }

    /// Adds the mentions of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        let first = self.files.len();
        self.files.extend(other.files);
        for (image, tags) in other.tags {
            let known = self.tags.entry(image).or_default();
            for (tag, file) in tags {
                known.entry(tag).or_insert(file + first);
            }
        }
        for (digest, mut mention) in other.digests {
            mention.file += first;
            let known = self.digests.entry(digest).or_insert(mention);
            known.has_algorithm |= mention.has_algorithm;
        }
    }

    /// Whether a file contains this digest.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// The first location of a digest: `in FILE on main of origin`.
    pub(crate) fn location(&self, digest: &Digest) -> Option<String> {
        let file = &self.files[self.digests.get(digest)?.file];
        Some(format!("in {} {}", file.path, file.tree))
    }

    /// The first location of a tag of an image. A period, a hyphen or an underscore after the tag may be
    /// part of a longer tag or of the text around the reference, so it protects both tags.
    pub(crate) fn tag_location(&self, image: usize, tag: &Tag) -> Option<String> {
        let tags = self.tags.get(&image)?;
        let mut file = tags.get(tag.as_str());
        for punctuation in ['.', '-', '_'] {
            let start = format!("{tag}{punctuation}");
            let mut longer = tags.range(start.clone()..);
            let first = longer.next().filter(|(text, _)| text.starts_with(&start));
            file = file.or(first.map(|(_, file)| file));
        }
        let file = &self.files[*file?];
        Some(format!("in {} {}", file.path, file.tree))
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
                let file = &self.files[mention.file];
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
    use crate::pins::Mention;

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
        }
    }

    #[test]
    fn tags_keep_their_first_location() {
        let tag = |text: &str| Tag::parse(text).unwrap();
        let with_tag = |path: &str, image: usize, name: &str| {
            let mut text = Text::default();
            let mentions = Mentions {
                digests: Vec::new(),
                tags: vec![(image, tag(name))],
            };
            text.add(path.as_bytes(), "in the work tree", &mentions);
            (text, mentions)
        };
        let (mut text, mentions) = with_tag("a.txt", 0, "v1");
        text.add(b"b.txt", "in the work tree", &mentions);
        let location = text.tag_location(0, &tag("v1"));
        assert_eq!(location.as_deref(), Some("in a.txt in the work tree"));
        assert!(text.covers(&with_tag("c.txt", 0, "v1").0));
        assert!(!text.covers(&with_tag("c.txt", 0, "v2").0));
        assert!(!text.covers(&with_tag("c.txt", 1, "v1").0));
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
        assert_eq!(location("x").unwrap(), "in a.txt in the work tree");
        assert_eq!(location("y").unwrap(), "in b.txt on main of origin");
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
        assert_eq!(text.location(&y).unwrap(), "in b.txt there");
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

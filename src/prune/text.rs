//! Digests that occur in text, and where each was seen, whatever the meaning of the text.
//!
//! Data only. A version whose digest is here is kept, whether the text is a pin or not.

use std::collections::HashMap;

use crate::{oci::Digest, pins::Mention};

/// Digests that tracked files name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    digests: HashMap<Digest, FirstSeen>,
    files: Vec<File>,
}

/// The first location of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstSeen {
    /// The place in `files`.
    file: usize,
    algorithm: bool,
}

/// A file somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    path: String,
    at: String,
}

impl Text {
    /// Adds the digests in a file; `at` names its location (`on main of origin`).
    pub fn add(&mut self, path: &[u8], at: &str, mentions: &[Mention]) {
        let mut file = None;
        for mention in mentions {
            if let Some(seen) = self.digests.get_mut(&mention.digest) {
                seen.algorithm |= mention.algorithm;
                continue;
            }
            let file = *file.get_or_insert_with(|| {
                self.files.push(File {
                    path: String::from_utf8_lossy(path).into_owned(),
                    at: at.to_owned(),
                });
                self.files.len() - 1
            });
            let seen = FirstSeen {
                file,
                algorithm: mention.algorithm,
            };
            self.digests.insert(mention.digest, seen);
        }
    }

    /// Whether everything that `other` names was known already, and asked for as much.
    pub fn covers(&self, other: &Self) -> bool {
        other.digests.iter().all(|(digest, seen)| {
            let known = self.digests.get(digest);
            known.is_some_and(|known| known.algorithm || !seen.algorithm)
        })
    }

    /// Adds the digests of `other`.
    pub fn merge(&mut self, other: Self) {
        let first = self.files.len();
        self.files.extend(other.files);
        for (digest, mut seen) in other.digests {
            seen.file += first;
            let known = self.digests.entry(digest).or_insert(seen);
            known.algorithm |= seen.algorithm;
        }
    }

    /// Whether a file names this digest.
    pub fn names(&self, digest: &Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// Where a digest was first seen: `in FILE on main of origin`.
    pub fn place(&self, digest: &Digest) -> Option<String> {
        let file = &self.files[self.digests.get(digest)?.file];
        Some(format!("in {} {}", file.path, file.at))
    }

    /// The digests behind `sha256:`, in no order.
    pub fn behind_algorithm(&self) -> impl Iterator<Item = Digest> {
        let named = self.digests.iter().filter(|(_, seen)| seen.algorithm);
        named.map(|(digest, _)| *digest)
    }

    /// The files that `digests` were first seen in, with how many of them: at most so many by name,
    /// those with the most first.
    pub fn files_of<'d>(
        &self,
        digests: impl IntoIterator<Item = &'d Digest>,
        most: usize,
    ) -> String {
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for seen in digests.into_iter().filter_map(|d| self.digests.get(d)) {
            let file = &self.files[seen.file];
            *counts.entry((&file.path, &file.at)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        let rest = counts.len().saturating_sub(most);
        let shown = counts.into_iter().take(most);
        let mut shown: Vec<_> = shown
            .map(|((path, at), count)| format!("{path} {at} ({count})"))
            .collect();
        if rest > 0 {
            shown.push(format!("{rest} more files"));
        }
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mention(seed: &str, algorithm: bool) -> Mention {
        Mention {
            digest: Digest::of(seed.as_bytes()),
            algorithm,
        }
    }

    #[test]
    fn a_digest_is_where_it_was_first_seen() {
        let mut text = Text::default();
        text.add(b"a.txt", "in the work tree", &[mention("x", false)]);
        text.add(
            b"b.txt",
            "on main of origin",
            &[mention("x", true), mention("y", false)],
        );
        let place = |seed: &str| text.place(&Digest::of(seed.as_bytes()));
        assert_eq!(place("x").unwrap(), "in a.txt in the work tree");
        assert_eq!(place("y").unwrap(), "in b.txt on main of origin");
        assert_eq!(place("z"), None);
        let named: Vec<_> = text.behind_algorithm().collect();
        assert_eq!(named, [Digest::of(b"x")]);
    }

    #[test]
    fn new_digests_are_reported_before_merging() {
        let mut text = Text::default();
        text.add(b"a.txt", "here", &[mention("x", false)]);
        let other = |mentions: &[Mention]| {
            let mut other = Text::default();
            other.add(b"b.txt", "there", mentions);
            other
        };
        for (mention, known) in [
            (mention("x", false), true),
            // Then it must be requested, which it had not to be before.
            (mention("x", true), false),
            (mention("x", true), true),
            (mention("y", false), false),
        ] {
            let more = other(&[mention]);
            assert_eq!(text.covers(&more), known, "{mention:?}");
            text.merge(more);
        }
        let [x, y] = ["x", "y"].map(|seed| Digest::of(seed.as_bytes()));
        assert_eq!(text.place(&y).unwrap(), "in b.txt there");
        assert_eq!(
            text.files_of([&x, &y], 2),
            "a.txt here (1), b.txt there (1)"
        );
        assert_eq!(text.files_of([&x, &y], 1), "a.txt here (1), 1 more files");
    }
}

//! Comments behind whole pins that name the version: `image@sha256:… # TAG`.

use std::ops::Range;

use crate::{
    config::{CommentPolicy, Config, Revisions},
    oci::Tag,
};

/// A comment behind a whole pin, on its line: one word that has the shape of the tag of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionComment {
    /// The word.
    pub tag: Tag,
    /// Its bytes in the file.
    pub at: Range<usize>,
    /// Whether the word becomes the tag of the set that the pin moves to.
    pub moves: bool,
}

/// What such a comment looks like.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    revisions: Revisions,
    moves: bool,
}

/// Blanks, quotes and brackets between the digest and the comment, and blanks at either end of the
/// word, that are passed over at most.
const PADDING: usize = 16;
/// The longest text behind a digest that is looked at, with the end of its line, in bytes.
pub(super) const LONGEST: usize = PADDING + 2 + PADDING + Tag::MAX + PADDING + 2;

impl Versions {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            revisions: config.revision.clone(),
            moves: config.comments == CommentPolicy::Tag,
        }
    }

    /// The comment in the text behind a digest; `base` is where that text begins in the file. A text
    /// shorter than [`LONGEST`] ends where the file ends.
    pub(super) fn behind(&self, text: &[u8], base: usize) -> Option<VersionComment> {
        let text = &text[..text.len().min(LONGEST)];
        let blank = |b: u8| b == b' ' || b == b'\t';
        let padding = |from: usize, which: &dyn Fn(u8) -> bool| {
            let rest = text[from..].iter().take(PADDING);
            from + rest.take_while(|b| which(**b)).count()
        };
        // YAML, shells and TOML take `#` for a comment only behind a blank.
        let mark = padding(0, &|b| blank(b) || b"\"'`,])}".contains(&b));
        let behind_blank = mark > 0 && blank(text[mark - 1]);
        let marked = text[mark..].starts_with(b"#") && behind_blank;
        let start = match &text[mark..] {
            [b'#', ..] if marked => mark + 1,
            [b'/', b'/', ..] if behind_blank => mark + 2,
            _ => return None,
        };
        let start = padding(start, &blank);
        let word = text[start..].iter().take_while(|b| b.is_ascii_graphic());
        let end = start + word.count();
        let rest = &text[padding(end, &blank)..];
        // What is cut off holds a word that is longer than any tag.
        let ends_file = rest.is_empty();
        let ends_line = rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
        if !ends_file && !ends_line {
            return None;
        }
        let word = std::str::from_utf8(&text[start..end]).ok()?;
        self.revisions.of_tag(word)?;
        Some(VersionComment {
            tag: Tag::parse(word).ok()?,
            at: base + start..base + end,
            moves: self.moves,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::SourceText;

    fn versions() -> Versions {
        let source = SourceText {
            name: "repin.yaml".into(),
            text:
                "version: 1\nfiles: [x]\nimages:\n  app: { repository: r.example/app, pins: 1 }\n\
                   revision: { pattern: \"[0-9]+\", tag: \"v{revision}\" }\ncomments: tag\n"
                    .into(),
        };
        Versions::of(&crate::config::parse(&source, Path::new("/")).unwrap())
    }

    #[test]
    fn a_single_word_with_the_shape_of_a_tag_is_a_version() {
        for (text, word) in [
            (" # v1\n", "v1"),
            ("\" # v12 \r\n", "v12"),
            ("'\t#v1", "v1"),
            ("] } , # v1  \n", "v1"),
            (" // v1\n", "v1"),
            ("`  #\tv1\n# v2\n", "v1"),
        ] {
            let found = versions().behind(text.as_bytes(), 100).expect(text);
            assert_eq!(found.tag.as_str(), word, "{text}");
            assert_eq!(&text[found.at.start - 100..found.at.end - 100], word);
            assert!(found.moves);
        }
    }

    #[test]
    fn anything_else_behind_a_digest_is_no_version() {
        let wide = format!(" #{}v1\n", " ".repeat(PADDING + 1));
        let long = format!(" # v{}", "1".repeat(LONGEST));
        for text in [
            "\n# v1\n",
            "# v1\n",
            "\"# v1\n",
            "//v1\n",
            " / v1\n",
            " v1\n",
            " # v1 again\n",
            " # see v1\n",
            " # 1\n",
            " # v1.\n",
            " # v1é\n",
            " #\n",
            " # prod\n",
            " # v1 \r",
            "x # v1\n",
            "",
            &wide,
            &long,
        ] {
            assert_eq!(versions().behind(text.as_bytes(), 0), None, "{text:?}");
        }
    }
}

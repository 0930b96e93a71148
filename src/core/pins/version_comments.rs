//! Comments after whole pins that contain the version: `image@sha256:… # TAG`.

use std::ops::Range;

use crate::{
    config::{CommentPolicy, Config, Revisions},
    oci::Tag,
};

/// A comment after a whole pin, on the same line: one word with the form of a revision's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionComment {
    /// The word.
    pub tag: Tag,
    /// The bytes of the word in the file.
    pub at: Range<usize>,
    /// Whether the word is replaced by the tag of the new revision.
    pub moves: bool,
}

/// The form of such comments.
#[derive(Debug, Clone)]
pub(super) struct VersionComments {
    revisions: Revisions,
    moves: bool,
}

/// The maximum number of blanks, quotes and brackets between the digest and the comment, and of
/// blanks on each side of the word.
const PADDING: usize = 16;
/// The maximum length of a comment with its padding and line end, in bytes.
const MAX_COMMENT: usize = PADDING + 2 + PADDING + Tag::MAX + PADDING + 2;

impl VersionComments {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            revisions: config.revision.clone(),
            moves: config.comments == CommentPolicy::Tag,
        }
    }

    /// The comment after the digest before `end`.
    pub(super) fn after(&self, content: &[u8], end: usize) -> Option<VersionComment> {
        let text = &content[end..content.len().min(end + MAX_COMMENT)];
        let is_blank = |b: u8| b == b' ' || b == b'\t';
        let mark = skip(text, 0, |b| is_blank(b) || b"\"'`,])}".contains(&b));
        // YAML, shells and TOML require a blank before `#`.
        if mark == 0 || !is_blank(text[mark - 1]) {
            return None;
        }
        let start = match &text[mark..] {
            [b'#', ..] => skip(text, mark + 1, is_blank),
            [b'/', b'/', ..] => skip(text, mark + 2, is_blank),
            _ => return None,
        };
        let length = text[start..].iter().take_while(|b| b.is_ascii_graphic());
        let word_end = start + length.count();
        let rest = &text[skip(text, word_end, is_blank)..];
        // A word that reaches the end of `text` before the end of the file is longer than any tag.
        if !rest.is_empty() && !rest.starts_with(b"\n") && !rest.starts_with(b"\r\n") {
            return None;
        }
        let word = std::str::from_utf8(&text[start..word_end]).ok()?;
        self.revisions.tag_form.revision_in(word)?;
        Some(VersionComment {
            tag: Tag::parse(word).ok()?,
            at: end + start..end + word_end,
            moves: self.moves,
        })
    }
}

/// The offset after at most [`PADDING`] bytes that `which` accepts.
fn skip(text: &[u8], from: usize, which: impl Fn(u8) -> bool) -> usize {
    let skipped = text[from..].iter().take(PADDING);
    from + skipped.take_while(|b| which(**b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comments() -> VersionComments {
        VersionComments::new(&crate::config::example(
            "version: 1\nfiles: [x]\nimages:\n  app: { repository: r.example/app, pins: 1 }\n\
                   revision: { pattern: \"[0-9]+\", tag: \"v{revision}\" }\ncomments: tag\n",
        ))
    }

    #[test]
    fn word_of_the_tag_form_is_a_version() {
        for (text, word) in [
            (" # v1\n", "v1"),
            ("\" # v12 \r\n", "v12"),
            ("'\t#v1", "v1"),
            ("] } , # v1  \n", "v1"),
            (" // v1\n", "v1"),
            ("`  #\tv1\n# v2\n", "v1"),
        ] {
            let content = format!("{}{text}", "x".repeat(100));
            let found = comments().after(content.as_bytes(), 100).expect(text);
            assert_eq!(found.tag.as_str(), word, "{text}");
            assert_eq!(&content[found.at.clone()], word);
            assert!(found.moves);
        }
    }

    #[test]
    fn unrelated_comments_are_not_versions() {
        let wide = format!(" #{}v1\n", " ".repeat(PADDING + 1));
        let long = format!(" # v{}", "1".repeat(MAX_COMMENT));
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
            assert_eq!(comments().after(text.as_bytes(), 0), None, "{text:?}");
        }
    }
}

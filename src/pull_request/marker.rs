//! The hidden line in a pull request's text by which a later run finds its own.

use std::fmt;

use crate::config::Operation;

/// The content of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The purpose of the pull request.
    pub kind: MarkerKind,
    /// The revision of the set.
    pub revision: String,
}

/// The purpose of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerKind {
    /// It moves pins to a set.
    Set(Operation),
    /// It merges one long-lived branch into another.
    Branch,
}

impl MarkerKind {
    const BRANCH: &'static str = "branch";

    fn as_str(self) -> &'static str {
        match self {
            Self::Set(operation) => operation.as_str(),
            Self::Branch => Self::BRANCH,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            Self::BRANCH => Some(Self::Branch),
            name => Operation::parse(name).map(Self::Set),
        }
    }
}

const START: &str = "<!-- repin/1 kind=";
const END: &str = " -->";

impl Marker {
    /// The last marker in a text. An earlier one may be a quotation.
    pub fn find(text: &str) -> Option<Self> {
        let mut found = None;
        for (at, _) in text.match_indices(START) {
            let rest = &text[at + START.len()..];
            found = rest
                .find(END)
                .and_then(|end| Self::parse(&rest[..end]))
                .or(found);
        }
        found
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, revision) = text.split_once(" revision=")?;
        Some(Self {
            kind: MarkerKind::parse(kind)?,
            revision: decode(revision)?,
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{} revision=", self.kind.as_str())?;
        // A revision may contain the end of a comment, so all but plain characters are escaped.
        for c in self.revision.chars() {
            if c.is_ascii_alphanumeric() || "._".contains(c) {
                write!(f, "{c}")
            } else {
                write!(f, "%{:x};", c as u32)
            }?;
        }
        f.write_str(END)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut parts = text.split('%');
    out.push_str(parts.next()?);
    for part in parts {
        let (number, rest) = part.split_once(';')?;
        out.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
        out.push_str(rest);
    }
    Some(out)
}

/// The value of the trailer `Repin-Set` in a commit's message, if its last paragraph has one.
pub fn trailer(message: &str) -> Option<&str> {
    let message = message.trim_end();
    // The subject is never a trailer.
    let (_, last) = message.rsplit_once("\n\n")?;
    last.lines()
        .find_map(|line| line.strip_prefix("Repin-Set: "))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_marker_is_read_back() {
        for revision in ["aaaa", "v1-2", "a --> b%2d;<x", "日本 @x"] {
            let marker = Marker {
                kind: MarkerKind::Set(Operation::Promotion),
                revision: revision.to_owned(),
            };
            let line = marker.to_string();
            assert_eq!(line.matches("-->").count(), 1, "{line}");
            assert_eq!(
                Marker::find(&format!("text\r\n\r\n{line}\r\n")),
                Some(marker)
            );
        }
    }

    #[test]
    fn last_marker_counts_and_other_lines_are_ignored() {
        let two =
            "<!-- repin/1 kind=promote revision=a -->\n<!-- repin/1 kind=rollback revision=b -->";
        assert_eq!(
            Marker::find(two).unwrap().kind,
            MarkerKind::Set(Operation::Rollback)
        );
        for none in [
            "",
            "<!-- repin/1 kind= revision=a -->",
            "<!-- repin/1 kind=promote -->",
            "<!-- repin/1 kind=promote revision=a%zz; -->",
        ] {
            assert_eq!(Marker::find(none), None, "{none}");
        }
    }

    #[test]
    fn trailer_is_in_the_last_paragraph() {
        assert_eq!(trailer("title\n\nRepin-Set: abc\n"), Some("abc"));
        assert_eq!(
            trailer("title\n\nbody\n\nSigned-off-by: x\nRepin-Set: abc"),
            Some("abc")
        );
        for none in [
            "Repin-Set: abc",
            "title\n\nRepin-Set: abc\n\nmore",
            "title\n\nRepin-Set: ",
            "title\n\n Repin-Set: a",
        ] {
            assert_eq!(trailer(none), None, "{none:?}");
        }
    }

    #[test]
    fn unknown_kind_is_no_marker() {
        for kind in ["Promote", "pro-mote", "promote2", "build"] {
            let text = format!("{START}{kind} revision=aaaa{END}");
            assert_eq!(Marker::find(&text), None, "{text}");
        }
    }

    #[test]
    fn trailer_without_a_value_is_none() {
        for message in [
            "a\n\nRepin-Set: \nReviewed-by: b\n",
            "a\n\nRepin-Set:  \n x\n",
        ] {
            assert_eq!(trailer(message), None, "{message}");
        }
        assert_eq!(
            trailer("a\n\nReviewed-by: b\nRepin-Set: rev2\n"),
            Some("rev2")
        );
    }
}

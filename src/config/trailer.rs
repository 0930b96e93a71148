//! The trailers of a commit: `Repin-Set`, the revision that the commit gives to a set, and
//! `Repin-Override`, a refusal that was overridden.

use super::set_path::SetPath;
use crate::git::trailer_lines;

const KEY: &str = "Repin-Set";
const OVERRIDE: &str = "Repin-Override";

/// A trailer of a commit's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer<'m> {
    pub revision: &'m str,
    /// The set, if the trailer contains its path.
    pub set: Option<SetPath>,
}

/// A refusal that a commit overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Override {
    /// The commit promotes digests that a rollback undid.
    RolledBack,
}

impl Override {
    const ROLLED_BACK: &'static str = "rolled_back";

    /// The override on a line of a message.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (key, value) = line.split_once(':')?;
        let is_override = key.eq_ignore_ascii_case(OVERRIDE) && value.trim() == Self::ROLLED_BACK;
        is_override.then_some(Self::RolledBack)
    }

    /// The line that records the override.
    pub(crate) fn line(self) -> String {
        match self {
            Self::RolledBack => format!("{OVERRIDE}: {}", Self::ROLLED_BACK),
        }
    }
}

impl<'m> Trailer<'m> {
    /// The trailers of a message, in the text after its first paragraph.
    ///
    /// A squash merge concatenates messages, so a trailer may be on any line, not only in the last
    /// paragraph (git-interpret-trailers).
    pub(crate) fn of_message(message: &'m str) -> impl Iterator<Item = Self> {
        body(message).filter_map(Self::parse)
    }

    /// The lines of a message that may be trailers, for [`Trailer::parse`].
    pub(crate) fn message_lines(message: &str) -> Vec<u8> {
        let body: Vec<_> = body(message).collect();
        trailer_lines(body.join("\n").as_bytes())
    }

    /// The trailer on a line of a message.
    pub(crate) fn parse(line: &'m str) -> Option<Self> {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        let is_trailer = key.eq_ignore_ascii_case(KEY) && !value.is_empty();
        is_trailer.then(|| Self::of_value(value))
    }

    /// The trailer with this value: `REVISION` or `REVISION (PATH)`.
    fn of_value(value: &'m str) -> Self {
        match split_path(value) {
            Some((revision, set)) => Self {
                revision,
                set: Some(set),
            },
            None => Self {
                revision: value,
                set: None,
            },
        }
    }

    /// The line that gives a set this revision.
    pub(crate) fn line(revision: &str, set: &SetPath) -> String {
        if set.is_top() && split_path(revision).is_none() {
            format!("{KEY}: {revision}")
        } else {
            format!("{KEY}: {revision} ({})", set.encoded())
        }
    }
}

/// The lines after the first paragraph.
fn body(message: &str) -> impl Iterator<Item = &str> {
    let is_blank = |line: &&str| line.trim().is_empty();
    let text = message.lines().skip_while(is_blank);
    text.skip_while(move |line| !is_blank(line))
}

/// Splits `REVISION (PATH)`.
fn split_path(value: &str) -> Option<(&str, SetPath)> {
    let (revision, path) = value.strip_suffix(')')?.rsplit_once(" (")?;
    Some((revision, SetPath::decode(path)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn set(path: &str) -> SetPath {
        SetPath::new(Path::new(path)).unwrap()
    }

    fn found(message: &str) -> Vec<(&str, Option<String>)> {
        Trailer::of_message(message)
            .map(|trailer| (trailer.revision, trailer.set.map(|set| set.to_string())))
            .collect()
    }

    #[test]
    fn line_is_read_back() {
        for (revision, path, line) in [
            ("beef", "repin.yaml", "Repin-Set: beef"),
            (
                "beef",
                "envs/prod/repin.yaml",
                "Repin-Set: beef (envs/prod/repin.yaml)",
            ),
            ("1 (x)", "repin.yaml", "Repin-Set: 1 (x) (repin.yaml)"),
            ("1", "a b/repin.yaml", "Repin-Set: 1 (a%20b/repin.yaml)"),
        ] {
            assert_eq!(Trailer::line(revision, &set(path)), line);
            let message = format!("title\n\n{line}\n");
            let read: Vec<_> = Trailer::of_message(&message).collect();
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].revision, revision);
            let read = read[0].set.clone();
            assert_eq!(read.unwrap_or_else(|| set("repin.yaml")), set(path));
        }
    }

    #[test]
    fn trailer_counts_on_any_line_of_the_body() {
        let message = "t (#1)\n\n* promote: images @a\n\nRepin-Set: a\n\n* more\r\n\r\nrepin-set: b (x/repin.yaml)\r\nCo-authored-by: c\n";
        let expected = [("a", None), ("b", Some("x/repin.yaml".to_owned()))];
        assert_eq!(found(message), expected);
    }

    #[test]
    fn unrelated_lines_are_not_trailers() {
        for message in [
            "Repin-Set: a",
            "t\nRepin-Set: a",
            "t\n\nRepin-Set:",
            "t\n\nRepin-Set:  \n",
            "t\n\n Repin-Set: a",
            "t\n\n> Repin-Set: a",
            "t\n\nsee Repin-Set: a",
            "t\n\nRepin-Set a",
        ] {
            assert_eq!(found(message), [], "{message:?}");
        }
    }

    #[test]
    fn malformed_path_is_part_of_the_value() {
        assert_eq!(found("t\n\nRepin-Set: a (../x)"), [("a (../x)", None)]);
        assert_eq!(found("t\n\nRepin-Set: (a)"), [("(a)", None)]);
    }
}

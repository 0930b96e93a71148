//! The hidden line in a pull request's text by which a later run finds its own.

use std::{collections::BTreeMap, fmt};

use crate::config::{Operation, SetPath};

/// The content of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The purpose of the pull request.
    pub kind: MarkerKind,
    /// The set; for two long-lived branches, that of the configuration that lists them.
    pub set: SetPath,
    /// The revision of the set.
    pub revision: String,
}

/// The purpose of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerKind {
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

/// Precedes a marker that contains the set path.
const START: &str = "<!-- repin/2 kind=";
/// Precedes a marker of earlier versions, which belongs to the `repin.yaml` at the top.
const START_1: &str = "<!-- repin/1 kind=";
const END: &str = " -->";

impl Marker {
    /// The last marker in a text. An earlier one may be a quotation.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let mut found = BTreeMap::new();
        for start in [START, START_1] {
            for (at, _) in text.match_indices(start) {
                let rest = &text[at + start.len()..];
                let Some((line, _)) = rest.split_once(END) else {
                    continue;
                };
                let marker = if start == START {
                    Self::parse(line)
                } else {
                    Self::parse_1(line)
                };
                found.extend(marker.map(|marker| (at, marker)));
            }
        }
        found.pop_last().map(|(_, marker)| marker)
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(" set=")?;
        let (set, revision) = rest.split_once(" revision=")?;
        Some(Self {
            kind: MarkerKind::parse(kind)?,
            set: SetPath::decode(set)?,
            revision: decode(revision)?,
        })
    }

    fn parse_1(text: &str) -> Option<Self> {
        let (kind, revision) = text.split_once(" revision=")?;
        Some(Self {
            kind: MarkerKind::parse(kind)?,
            set: SetPath::top(),
            revision: decode(revision)?,
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, set) = (self.kind.as_str(), self.set.encoded());
        write!(f, "{START}{kind} set={set} revision=")?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn marker(set: &str, revision: &str) -> Marker {
        Marker {
            kind: MarkerKind::Set(Operation::Promotion),
            set: SetPath::new(Path::new(set)).unwrap(),
            revision: revision.to_owned(),
        }
    }

    #[test]
    fn written_marker_is_read_back() {
        for set in ["repin.yaml", "envs/prod/repin.yaml", "a --> b/repin.yaml"] {
            for revision in ["aaaa", "v1-2", "a --> b%2d;<x", "日本 @x"] {
                let marker = marker(set, revision);
                let line = marker.to_string();
                assert_eq!(line.matches("-->").count(), 1, "{line}");
                let text = format!("text\r\n\r\n{line}\r\n");
                assert_eq!(Marker::find(&text), Some(marker));
            }
        }
        assert_eq!(
            marker("envs/prod/repin.yaml", "aaaa").to_string(),
            "<!-- repin/2 kind=promote set=envs/prod/repin.yaml revision=aaaa -->"
        );
    }

    #[test]
    fn first_version_belongs_to_the_top() {
        let text = "<!-- repin/1 kind=promote revision=a%2d;b -->";
        assert_eq!(Marker::find(text), Some(marker("repin.yaml", "a-b")));
    }

    #[test]
    fn last_marker_counts_and_other_lines_are_ignored() {
        let old = "<!-- repin/1 kind=promote revision=a -->";
        let new = "<!-- repin/2 kind=promote set=x/repin.yaml revision=b -->";
        let (first, second) = (marker("repin.yaml", "a"), marker("x/repin.yaml", "b"));
        assert_eq!(Marker::find(&format!("{old}\n{new}")), Some(second));
        assert_eq!(Marker::find(&format!("{new}\n{old}")), Some(first));
        for none in [
            "",
            "<!-- repin/1 kind= revision=a -->",
            "<!-- repin/1 kind=promote -->",
            "<!-- repin/1 kind=promote revision=a%zz; -->",
            "<!-- repin/2 kind=promote revision=a -->",
            "<!-- repin/2 kind=promote set=../a revision=a -->",
            "<!-- repin/2 kind=promote set= revision=a -->",
            "<!-- repin/3 kind=promote set=a revision=a -->",
        ] {
            assert_eq!(Marker::find(none), None, "{none}");
        }
    }

    #[test]
    fn unknown_kind_is_no_marker() {
        for kind in ["Promote", "pro-mote", "promote2", "build"] {
            let text = format!("{START}{kind} set=repin.yaml revision=aaaa{END}");
            assert_eq!(Marker::find(&text), None, "{text}");
        }
    }
}

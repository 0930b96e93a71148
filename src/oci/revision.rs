//! Revisions: the commits or versions from which sets of images were built, in the configured form.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use regex::Regex;
use semver::Version;
use serde::{Serialize, Serializer};

use crate::base::text::is_hex;

/// A revision that matches the configured [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(String);

/// The configured form of a revision: a regular expression for the whole string, or `semver`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// [`Pattern::COMMIT`], which most repositories use; compiling it would take a tenth of a start.
    Commit,
    Regex(Regex),
    Semver,
}

/// The error for a malformed pattern.
#[derive(Debug, Clone, thiserror::Error)]
#[error("malformed regular expression: {0}")]
pub struct PatternError(String);

/// The error for a revision that does not match the pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    #[error("malformed revision `{text}`: the whole revision must match the pattern `{pattern}`")]
    Mismatch { text: String, pattern: String },
    #[error("malformed revision `{0}`: expected a version by semver.org, without a leading `v`")]
    Version(String),
    #[error("malformed revision `{0}`: a tag cannot contain the `+` of build metadata")]
    BuildMetadata(String),
}

impl PatternError {
    /// The reason in the last line of the error; the lines before it draw the pattern.
    pub fn new(error: &regex::Error) -> Self {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        Self(last.strip_prefix("error: ").unwrap_or(last).to_owned())
    }
}

/// The minimum length of an abbreviated commit as a revision, git's default.
const MIN_COMMIT_DIGITS: usize = 7;

impl Pattern {
    /// The pattern of commits by SHA-1, the default.
    const COMMIT: &str = "[0-9a-f]{40}";

    /// The pattern of versions.
    const SEMVER: &str = "semver";

    /// A version without build metadata as a regular expression (semver.org, FAQ).
    const SEMVER_REGEX: &str = r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?";

    /// Compiles a pattern for whole revisions.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let form = match text {
            Self::COMMIT => Form::Commit,
            Self::SEMVER => Form::Semver,
            _ => Form::Regex(compile(text).map_err(|error| PatternError::new(&error))?),
        };
        Ok(Self {
            text: text.to_owned(),
            form,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern as a regular expression that can be part of another one.
    pub fn regex(&self) -> &str {
        match self.form {
            Form::Commit | Form::Regex(_) => &self.text,
            Form::Semver => Self::SEMVER_REGEX,
        }
    }

    /// Whether a text may be a commit or its first digits. A number such as that of a build may begin a
    /// commit's id by accident, so the pattern must also accept the letters of hexadecimal digits.
    pub(crate) fn may_be_commit(&self, text: &str) -> bool {
        let is_long = text.len() >= MIN_COMMIT_DIGITS;
        is_long && is_hex(text.as_bytes()) && self.revision(&"a".repeat(text.len())).is_ok()
    }

    /// Whether revisions are versions by semver.org.
    pub fn is_semver(&self) -> bool {
        matches!(self.form, Form::Semver)
    }

    /// Parses a revision that matches the pattern.
    pub fn revision(&self, text: &str) -> Result<Revision, RevisionError> {
        let is_match = match &self.form {
            Form::Commit => text.len() == 40 && is_hex(text.as_bytes()),
            // Empty revisions and control characters are refused even if the pattern allows them.
            Form::Regex(regex) => {
                regex.is_match(text) && !text.is_empty() && !text.contains(char::is_control)
            }
            Form::Semver => match Version::parse(text) {
                Ok(version) if !version.build.is_empty() => {
                    return Err(RevisionError::BuildMetadata(text.to_owned()));
                }
                Ok(_) => true,
                Err(_) => return Err(RevisionError::Version(text.to_owned())),
            },
        };
        if is_match {
            Ok(Revision(text.to_owned()))
        } else {
            Err(RevisionError::Mismatch {
                text: text.to_owned(),
                pattern: self.text.clone(),
            })
        }
    }

    /// Parses the revision in a label. One leading `v` of a version is ignored, because
    /// docker/metadata-action writes the tag into the label.
    pub fn revision_in_label(&self, text: &str) -> Result<Revision, RevisionError> {
        let version = text.strip_prefix('v').filter(|_| self.is_semver());
        self.revision(version.unwrap_or(text))
    }

    /// The revision in a label, if it begins with `abbreviation`.
    pub(crate) fn complete(&self, abbreviation: &str, label: &str) -> Option<Revision> {
        let revision = self.revision_in_label(label).ok()?;
        revision.0.starts_with(abbreviation).then_some(revision)
    }

    /// Whether a revision is a version with a pre-release, such as `2.0.0-rc.1`.
    pub fn is_prerelease(&self, revision: &Revision) -> bool {
        let version = Version::parse(&revision.0);
        self.is_semver() && version.is_ok_and(|version| !version.pre.is_empty())
    }

    /// Compares two revisions by the precedence of their versions; `None` if revisions are not
    /// versions.
    pub fn cmp_precedence(&self, left: &Revision, right: &Revision) -> Option<Ordering> {
        if !self.is_semver() {
            return None;
        }
        let versions = [left, right].map(|revision| Version::parse(&revision.0).ok());
        let [Some(left), Some(right)] = versions else {
            return None;
        };
        Some(left.cmp_precedence(&right))
    }
}

/// The maximum number of cached patterns.
const MAX_CACHED: usize = 64;

/// Compiles a regular expression for a whole text. The configurations of a repository usually have the
/// same pattern, so it is cached.
fn compile(text: &str) -> Result<Regex, regex::Error> {
    static CACHE: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = cache.get(text) {
        return Ok(regex.clone());
    }
    // Without the group, because `a)(b` is malformed but would be valid inside the group.
    Regex::new(text)?;
    let regex = Regex::new(&format!(r"\A(?:{text})\z"))?;
    if cache.len() < MAX_CACHED {
        cache.insert(text.to_owned(), regex.clone());
    }
    Ok(regex)
}

impl Revision {
    /// The revision's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_revision_must_match() {
        let pattern = Pattern::parse("[0-9a-f]{4}|v[0-9]").unwrap();
        assert_eq!(pattern.revision("beef").unwrap().as_str(), "beef");
        assert_eq!(pattern.revision("v1").unwrap().to_string(), "v1");
        for text in ["beef0", "xbeef", "beef\n", "BEEF", ""] {
            assert!(pattern.revision(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn commits_match_their_regular_expression() {
        let pattern = Pattern::parse(Pattern::COMMIT).unwrap();
        let regex = Regex::new(&format!(r"\A(?:{})\z", pattern.regex())).unwrap();
        let commit = "4f2ae9c1b7d0835a6e4f2ae9c1b7d0835a6e4f2a";
        let uppercase = commit.to_uppercase();
        let long = format!("{commit}0");
        let non_hex = commit.replace('4', "g");
        for text in [commit, "", &commit[1..], &long, &uppercase, &non_hex] {
            let is_match = pattern.revision(text).is_ok();
            assert_eq!(is_match, text == commit, "{text}");
            assert_eq!(is_match, regex.is_match(text), "{text}");
        }
        assert!(pattern.may_be_commit(commit));
        assert!(!pattern.may_be_commit(&commit[..7]));
    }

    #[test]
    fn malformed_pattern_is_refused() {
        assert!(Pattern::parse("a)(b").is_err());
        assert!(Pattern::parse("[").is_err());
    }

    #[test]
    fn control_characters_are_refused() {
        let pattern = Pattern::parse("(?s).*").unwrap();
        assert!(pattern.revision("a\u{1b}b").is_err());
    }

    #[test]
    fn versions_follow_semver() {
        let pattern = Pattern::parse("semver").unwrap();
        let regex = Regex::new(&format!(r"\A(?:{})\z", pattern.regex())).unwrap();
        for text in ["0.0.0", "1.4.2", "10.20.30-rc.1", "1.0.0--.x-1", "1.0.0-0a"] {
            assert_eq!(pattern.revision(text).unwrap().as_str(), text);
            assert!(regex.is_match(text), "{text}");
        }
        for text in [
            "v1.4.2",
            "1.4",
            "1.4.2.3",
            "01.4.2",
            "1.4.2-01",
            "1.4.2-",
            "1.4.2-a..b",
            "1.4.2 ",
            "semver",
            "",
        ] {
            let error = pattern.revision(text).unwrap_err();
            assert_eq!(error, RevisionError::Version(text.to_owned()));
            assert!(!regex.is_match(text), "{text}");
        }
        let error = pattern.revision("1.4.2+linux").unwrap_err();
        assert_eq!(error, RevisionError::BuildMetadata("1.4.2+linux".into()));
        assert!(!regex.is_match("1.4.2+linux"));
    }

    #[test]
    fn one_leading_v_of_a_versions_label_is_ignored() {
        let pattern = Pattern::parse("semver").unwrap();
        for label in ["v1.4.2", "1.4.2"] {
            assert_eq!(pattern.revision_in_label(label).unwrap().as_str(), "1.4.2");
        }
        for label in ["vv1.4.2", "V1.4.2", "v1.4.2+linux"] {
            assert!(pattern.revision_in_label(label).is_err(), "{label}");
        }
        let commits = Pattern::parse("[a-f]+").unwrap();
        assert!(commits.revision_in_label("vbeef").is_err());
    }

    #[test]
    fn versions_are_ordered_by_precedence() {
        let pattern = Pattern::parse("semver").unwrap();
        let order = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "1.10.0",
        ];
        let versions = order.map(|text| pattern.revision(text).unwrap());
        for pair in versions.windows(2) {
            let order = pattern.cmp_precedence(&pair[0], &pair[1]);
            assert_eq!(order, Some(Ordering::Less), "{pair:?}");
        }
        let commits = Pattern::parse("[a-f]+").unwrap();
        let commit = commits.revision("beef").unwrap();
        assert_eq!(commits.cmp_precedence(&commit, &commit), None);
    }
}

//! The tag of a revision as a template: `sha-{revision:7}`, `v{revision}`, `main-{revision:7}-*`.
//!
//! A template leads from a revision to its tag, or to the pattern of its tags, and back from a tag to
//! the revision in it. The way back is ambiguous for an abbreviation, and next to `*`: the caller compares
//! the result with a label.

use std::{fmt::Write as _, ops::RangeInclusive, sync::OnceLock};

use regex::Regex;

use super::template::TemplateError;
use crate::{
    base::hex::is_hex,
    oci::{Pattern, Revision, TagError, TagPattern},
};

/// The permitted lengths of an abbreviation, in hexadecimal digits. The shortest is git's default.
pub(crate) const ABBREVIATIONS: RangeInclusive<usize> = 7..=40;

/// The tags of revisions: a text with one `{revision}` or `{revision:N}`, in which `*` matches any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    text: String,
    before: String,
    after: String,
    length: RevisionLength,
}

/// The part of a revision in its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionLength {
    /// `{revision}`.
    Full,
    /// `{revision:N}`: the first characters of a commit.
    Digits(usize),
}

/// The reason that a revision has no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevisionTagError {
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(
        "`{revision}` does not begin with {digits} hexadecimal digits, as `{template}` requires"
    )]
    Digits {
        revision: String,
        digits: usize,
        template: String,
    },
}

impl TagTemplate {
    /// Parses a text on one line with one placeholder.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let at = text.find(['{', '}']).ok_or(TemplateError::NoRevision)?;
        let inner = text[at..]
            .strip_prefix('{')
            .ok_or(TemplateError::Brace('}'))?;
        let (word, after) = inner.split_once('}').ok_or(TemplateError::Brace('{'))?;
        let length = if word == "revision" {
            RevisionLength::Full
        } else if let Some(digits) = abbreviation(word) {
            RevisionLength::Digits(digits)
        } else {
            let expected = "`{revision}`, or `{revision:N}` with N from 7 to 40";
            return Err(TemplateError::Unknown(word.to_owned(), expected));
        };
        if after.contains("{revision") {
            return Err(TemplateError::SecondRevision);
        }
        if let Some(brace) = after.chars().find(|c| "{}".contains(*c)) {
            return Err(TemplateError::Brace(brace));
        }
        Ok(Self {
            text: text.to_owned(),
            before: text[..at].to_owned(),
            after: after.to_owned(),
            length,
        })
    }

    /// The text of the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part of the revision in the tag.
    pub fn length(&self) -> RevisionLength {
        self.length
    }

    /// The tag of a revision, or the pattern of its tags.
    pub fn tag(&self, revision: &Revision) -> Result<TagPattern, RevisionTagError> {
        self.tag_of(revision.as_str())
    }

    /// The tag of a revision that begins with `start`, which is long enough for this template.
    pub fn tag_of(&self, start: &str) -> Result<TagPattern, RevisionTagError> {
        let part = match self.length {
            RevisionLength::Full => start,
            RevisionLength::Digits(digits) => {
                let part = start.get(..digits).filter(|part| is_hex(part.as_bytes()));
                part.ok_or_else(|| RevisionTagError::Digits {
                    revision: start.to_owned(),
                    digits,
                    template: self.text.clone(),
                })?
            }
        };
        // `*` in a revision must not become a wildcard.
        if part.contains('*') {
            return Err(TagError::new(part).into());
        }
        Ok(TagPattern::parse(&format!(
            "{}{part}{}",
            self.before, self.after
        ))?)
    }

    /// The form of the tags of revisions that match `pattern`.
    pub(crate) fn form(&self, pattern: &Pattern) -> TagForm {
        let has_wildcard = self.before.contains('*') || self.after.contains('*');
        let revision = match self.length {
            RevisionLength::Full if !has_wildcard => {
                return TagForm::Literal {
                    before: self.before.clone(),
                    after: self.after.clone(),
                    pattern: pattern.clone(),
                };
            }
            RevisionLength::Full => format!("(?:{})", pattern.regex()),
            RevisionLength::Digits(digits) => format!("[0-9a-f]{{{digits}}}"),
        };
        let mut source = String::from(r"\A");
        push_literal(&mut source, &self.before);
        // The first group of the expression, whatever groups the pattern contains.
        let _ = write!(source, "({revision})");
        push_literal(&mut source, &self.after);
        source += r"\z";
        TagForm::Wildcard {
            source,
            regex: OnceLock::new(),
        }
    }
}

/// The number of digits in the placeholder `revision:N`.
fn abbreviation(placeholder: &str) -> Option<usize> {
    let text = placeholder.strip_prefix("revision:")?;
    let digits = text.parse().ok()?;
    // `parse` also accepts `+7` and `07`.
    let is_permitted = ABBREVIATIONS.contains(&digits) && text == digits.to_string();
    is_permitted.then_some(digits)
}

/// Appends a text of a template as a regular expression.
fn push_literal(source: &mut String, text: &str) {
    for (at, text) in text.split('*').enumerate() {
        if at > 0 {
            // Lazily, so that the revision begins as early as possible.
            *source += "[A-Za-z0-9._-]*?";
        }
        *source += &regex::escape(text);
    }
}

/// The form of the tags of revisions.
#[derive(Debug, Clone)]
pub enum TagForm {
    /// A revision between two texts.
    Literal {
        before: String,
        after: String,
        pattern: Pattern,
    },
    /// A regular expression, compiled for the first tag; `None` if it exceeds the limits of the compiler.
    Wildcard {
        source: String,
        regex: OnceLock<Option<Regex>>,
    },
}

impl TagForm {
    /// The revision in a tag, or its abbreviation, if the tag has this form. Takes linear time.
    pub fn revision_in<'t>(&self, tag: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal {
                before,
                after,
                pattern,
            } => {
                let revision = tag.strip_prefix(before)?.strip_suffix(after)?;
                pattern.revision(revision).is_ok().then_some(revision)
            }
            Self::Wildcard { source, regex } => {
                let regex = regex.get_or_init(|| Regex::new(source).ok());
                Some(regex.as_ref()?.captures(tag)?.get(1)?.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "b330f60cf4e6a1b2c3d4e5f60718293a4b5c6d7e";

    fn template(text: &str) -> TagTemplate {
        TagTemplate::parse(text).unwrap()
    }

    fn commits() -> Pattern {
        Pattern::parse("[0-9a-f]{40}").unwrap()
    }

    #[test]
    fn tag_contains_the_revision_or_its_first_digits() {
        let revision = commits().revision(COMMIT).unwrap();
        for (text, tag) in [
            ("{revision}", COMMIT),
            ("sha-{revision:7}", "sha-b330f60"),
            ("{revision:12}", "b330f60cf4e6"),
            ("{revision:40}", COMMIT),
            ("main-{revision:7}-*", "main-b330f60-*"),
            ("*{revision:8}*x*", "*b330f60c*x*"),
        ] {
            let parsed = template(text);
            assert_eq!(parsed.tag(&revision).unwrap().to_string(), tag);
            assert_eq!(parsed.as_str(), text);
        }
        assert_eq!(
            template("sha-{revision:7}")
                .tag_of("b330f60c")
                .unwrap()
                .to_string(),
            "sha-b330f60"
        );
        let any = Pattern::parse("(?s).*").unwrap();
        for (text, revision) in [
            ("sha-{revision:7}", "b330f6"),
            ("sha-{revision:7}", "b330f6x1"),
            ("sha-{revision:7}", "b330f6\u{e4}"),
            ("{revision}", "a*"),
            ("{revision}", "a b"),
            ("-{revision}", "a"),
        ] {
            let revision = any.revision(revision).unwrap();
            assert!(template(text).tag(&revision).is_err(), "{text} {revision}");
        }
    }

    #[test]
    fn malformed_template_is_refused() {
        let long = format!("{{revision:{}}}", "9".repeat(40));
        for unknown in [
            "{revision:6}",
            "{revision:41}",
            "{revision:07}",
            "{revision:+7}",
            "{revision:}",
            "{revision:7 }",
            "{rev}",
            "{set}",
            "{name}{revision}",
            &long,
        ] {
            let error = TagTemplate::parse(unknown);
            assert!(
                matches!(error, Err(TemplateError::Unknown(..))),
                "{unknown}"
            );
        }
        for (text, error) in [
            ("fixed-*", TemplateError::NoRevision),
            ("{revision", TemplateError::Brace('{')),
            ("revision}", TemplateError::Brace('}')),
            ("{revision}}", TemplateError::Brace('}')),
            ("{revision}-{revision:7}", TemplateError::SecondRevision),
            ("a\n{revision}", TemplateError::Control),
        ] {
            assert_eq!(TagTemplate::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn tag_of_the_form_contains_a_revision() {
        let form = template("main-{revision:7}-*").form(&commits());
        assert_eq!(form.revision_in("main-b330f60-1732291200"), Some("b330f60"));
        assert_eq!(form.revision_in("main-b330f60-"), Some("b330f60"));
        for other in [
            "main-b330f60",
            "main-nightly-1",
            "main-b330f6-1",
            "main-B330F60-1",
            "xmain-b330f60-1",
            "main-b330f60-\u{e4}",
            "main-b330f60-\n",
            "",
        ] {
            assert_eq!(form.revision_in(other), None, "{other}");
        }
        let full = template("{revision}*").form(&commits());
        assert_eq!(full.revision_in(&format!("{COMMIT}0-x")), Some(COMMIT));
        assert_eq!(full.revision_in("b330f60"), None);
        let dot = template("v.{revision}").form(&Pattern::parse("(a)(b)|(?i)c").unwrap());
        assert_eq!(dot.revision_in("v.ab"), Some("ab"));
        assert_eq!(dot.revision_in("v.C"), Some("C"));
        assert_eq!(dot.revision_in("vxab"), None);
        let version = template("v{revision}-*").form(&Pattern::parse("semver").unwrap());
        assert_eq!(version.revision_in("v1.4.2-rc.1-99"), Some("1.4.2-rc.1"));
        assert_eq!(version.revision_in("v1.4.2"), None);
    }

    #[test]
    fn hostile_tags_take_linear_time() {
        let form = template("*-*-*{revision}*-*-*x").form(&Pattern::parse("(a+)+").unwrap());
        let begin = std::time::Instant::now();
        assert_eq!(form.revision_in(&"a-".repeat(50_000)), None);
        assert!(begin.elapsed() < std::time::Duration::from_secs(5));
    }
}

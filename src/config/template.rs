//! Templates of branches and titles: texts with `{revision}`, `{name}` and `{set}`.
//!
//! The tag of a revision as a template: `sha-{revision:7}`, `v{revision}`, `main-{revision:7}-*`.
//!
//! A template leads from a revision to its tag, or to the pattern of its tags, and back from a tag to
//! the revision in it. The way back is ambiguous for an abbreviation, and next to `*`: the caller compares
//! the result with a label.
//!
//! The trailers of a commit: `Repin-Set`, the revision that the commit gives to a set, and
//! `Repin-Override`, a refusal that was overridden.

use std::{
    fmt::{Display, Write as _},
    ops::RangeInclusive,
    sync::OnceLock,
};

use regex::Regex;

use super::set_path::SetPath;
use crate::{
    base::text::is_hex,
    git::{BranchNameError, check_branch},
    oci::{Pattern, Revision, TagError, TagPattern},
};

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Revision,
    Name,
}

/// A malformed template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("unknown placeholder `{{{0}}}`: expected {1}")]
    Unknown(String, &'static str),
    #[error("a single `{0}`: placeholders are written `{{revision}}`")]
    Brace(char),
    #[error("`{{revision}}` is missing: two revisions would get the same text")]
    NoRevision,
    #[error("a second `{{revision}}`: a tag contains the revision once")]
    SecondRevision,
    #[error("the text contains a control character: it must be one line")]
    Control,
    #[error(transparent)]
    Branch(#[from] BranchNameError),
}

/// The placeholders that a template may contain, with the set key that replaces `{set}`.
#[derive(Debug, Clone, Copy)]
pub enum Placeholders<'s> {
    /// `{revision}` and `{set}`.
    Branch(&'s str),
    /// `{revision}`, `{name}` and `{set}`.
    Title(&'s str),
}

impl Placeholders<'_> {
    fn expected(self) -> &'static str {
        match self {
            Self::Branch(_) => "`{revision}` or `{set}`",
            Self::Title(_) => "`{revision}`, `{name}` or `{set}`",
        }
    }
}

/// The characters of which an empty `{set}` removes one.
const SEPARATORS: [char; 5] = ['/', '-', '_', '.', ' '];

impl Template {
    /// Parses a text on one line with `{revision}`.
    pub fn parse(text: &str, placeholders: Placeholders<'_>) -> Result<Self, TemplateError> {
        if text.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let mut parts = Vec::new();
        let mut before = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let inner = rest[at..]
                .strip_prefix('{')
                .ok_or(TemplateError::Brace('}'))?;
            let (word, after) = inner.split_once('}').ok_or(TemplateError::Brace('{'))?;
            before.push_str(&rest[..at]);
            rest = after;
            let part = match (word, placeholders) {
                ("revision", _) => Part::Revision,
                ("name", Placeholders::Title(_)) => Part::Name,
                ("set", Placeholders::Branch(key) | Placeholders::Title(key)) => {
                    rest = fill_set(&mut before, key, rest);
                    continue;
                }
                _ => {
                    let expected = placeholders.expected();
                    return Err(TemplateError::Unknown(word.to_owned(), expected));
                }
            };
            parts.push(Part::Text(std::mem::take(&mut before)));
            parts.push(part);
        }
        before.push_str(rest);
        parts.push(Part::Text(before));
        if parts.contains(&Part::Revision) {
            Ok(Self {
                text: text.to_owned(),
                parts,
            })
        } else {
            Err(TemplateError::NoRevision)
        }
    }

    /// Parses the template of a branch; its own text must suit a branch name
    /// (git-check-ref-format).
    pub fn branch(text: &str, set_key: &str) -> Result<Self, TemplateError> {
        let template = Self::parse(text, Placeholders::Branch(set_key))?;
        check_branch(&template.fill("0", ""))?;
        Ok(template)
    }

    /// The text for a revision of the set called `name`.
    pub fn render(&self, revision: impl Display, name: &str) -> String {
        self.fill(&revision.to_string(), name)
    }

    /// The value of `{revision}`, if `text` is this template for the set called `name`.
    pub fn revision_in<'t>(&self, text: &'t str, name: &str) -> Option<&'t str> {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Revision => 0,
            Part::Name => name.len(),
        };
        let first = self.parts.iter().position(|part| *part == Part::Revision)?;
        let before: usize = self.parts[..first].iter().map(length).sum();
        let fixed: usize = self.parts.iter().map(length).sum();
        let times = self
            .parts
            .iter()
            .filter(|part| **part == Part::Revision)
            .count();
        let revision = text.get(before..before + text.len().checked_sub(fixed)? / times)?;
        (self.fill(revision, name) == text).then_some(revision)
    }

    /// The text of the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fill(&self, revision: &str, name: &str) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Revision => revision.to_owned(),
                Part::Name => name.to_owned(),
            })
            .collect()
    }
}

/// Appends the set key to the text before it. An empty key removes the separator after it, or else
/// the one before it. Returns the text that follows.
fn fill_set<'t>(before: &mut String, key: &str, after: &'t str) -> &'t str {
    before.push_str(key);
    if !key.is_empty() {
        return after;
    }
    if let Some(after) = after.strip_prefix(SEPARATORS) {
        return after;
    }
    if before.ends_with(SEPARATORS) {
        before.pop();
    }
    after
}

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
    pub(crate) fn from_message(message: &'m str) -> impl Iterator<Item = Self> {
        body(message).filter_map(Self::parse)
    }

    /// The lines of a message that may be trailers, for [`Trailer::parse`].
    #[cfg(any(test, fuzzing))]
    pub(crate) fn message_lines(message: &str) -> Vec<u8> {
        let body: Vec<_> = body(message).collect();
        crate::git::commits::trailer_lines(body.join("\n").as_bytes())
    }

    /// The trailer on a line of a message.
    pub(crate) fn parse(line: &'m str) -> Option<Self> {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        let is_trailer = key.eq_ignore_ascii_case(KEY) && !value.is_empty();
        is_trailer.then(|| Self::from_value(value))
    }

    /// The trailer with this value: `REVISION` or `REVISION (PATH)`.
    fn from_value(value: &'m str) -> Self {
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
    use crate::oci::Pattern;

    const TITLE: Placeholders<'_> = Placeholders::Title("");

    #[test]
    fn placeholders_are_filled() {
        let revision = Pattern::parse("[a-f]+").unwrap().revision("beef").unwrap();
        let title = Template::parse("promote: {name} @{revision}", TITLE).unwrap();
        assert_eq!(
            title.render(&revision, "runtime images"),
            "promote: runtime images @beef"
        );
    }

    #[test]
    fn malformed_template_is_refused() {
        assert!(matches!(
            Template::parse("{rev}", TITLE),
            Err(TemplateError::Unknown(..))
        ));
        assert!(matches!(
            Template::parse("{revision:7}", TITLE),
            Err(TemplateError::Unknown(..))
        ));
        assert!(matches!(
            Template::parse("{name}{revision}", Placeholders::Branch("")),
            Err(TemplateError::Unknown(..))
        ));
        assert_eq!(
            Template::parse("{revision", TITLE),
            Err(TemplateError::Brace('{'))
        );
        assert_eq!(
            Template::parse("revision}", TITLE),
            Err(TemplateError::Brace('}'))
        );
        assert_eq!(
            Template::parse("fixed", TITLE),
            Err(TemplateError::NoRevision)
        );
        assert_eq!(
            Template::parse("a\n{revision}", TITLE),
            Err(TemplateError::Control)
        );
    }

    #[test]
    fn filled_template_contains_its_revision() {
        let title = Template::parse("promote: {name} @{revision}!", TITLE).unwrap();
        assert_eq!(
            title.revision_in("promote: images @beef!", "images"),
            Some("beef")
        );
        assert_eq!(title.revision_in("promote: images @!", "images"), Some(""));
        for other in [
            "promote: others @beef!",
            "promote: images @beef",
            "promote: images",
            "",
            "promote: images @be\u{e4}",
        ] {
            assert_eq!(title.revision_in(other, "images"), None, "{other}");
        }
        let twice = Template::parse("{revision} ({revision})", TITLE).unwrap();
        assert_eq!(twice.revision_in("ab (ab)", ""), Some("ab"));
        assert_eq!(twice.revision_in("ab (ac)", ""), None);
        assert_eq!(twice.revision_in("ab (abc)", ""), None);
    }

    #[test]
    fn set_key_is_filled_in() {
        let revision = Pattern::parse("[a-f]+").unwrap().revision("beef").unwrap();
        for (text, key, filled) in [
            (
                "repin/{set}/promote-{revision}",
                "prod",
                "repin/prod/promote-beef",
            ),
            ("repin/{set}/promote-{revision}", "", "repin/promote-beef"),
            ("{set}-{revision}", "", "beef"),
            ("{revision}-{set}", "", "beef"),
            ("{revision}-{set}", "prod", "beef-prod"),
            ("x{set}y{revision}", "", "xybeef"),
            ("x{set}{set}/{revision}", "", "xbeef"),
        ] {
            let template = Template::branch(text, key).unwrap();
            assert_eq!(template.render(&revision, ""), filled, "{text} {key}");
            assert_eq!(template.revision_in(filled, ""), Some("beef"));
            assert_eq!(template.as_str(), text);
        }
        let title = Template::parse("promote: {name} {set} @{revision}", TITLE).unwrap();
        assert_eq!(title.render(&revision, "images"), "promote: images @beef");
    }

    #[test]
    fn branch_names_follow_gits_rules() {
        assert!(Template::branch("repin/promote-{revision}", "").is_ok());
        for bad in [
            "-x{revision}",
            "a b{revision}",
            "a//{revision}",
            "{revision}.lock",
            "{revision}/",
            ".a/{revision}",
            "a..{revision}",
        ] {
            assert!(Template::branch(bad, "").is_err(), "{bad}");
        }
    }

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
    fn malformed_tag_template_is_refused() {
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

    fn set(path: &str) -> SetPath {
        SetPath::new(Path::new(path)).unwrap()
    }

    fn found(message: &str) -> Vec<(&str, Option<String>)> {
        Trailer::from_message(message)
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
            let read: Vec<_> = Trailer::from_message(&message).collect();
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

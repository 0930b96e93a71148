//! Templates of branches and titles: texts with `{revision}`, `{name}` and `{set}`.

use crate::git::{BranchNameError, check_branch};
use std::fmt::Display;

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

#[cfg(test)]
mod tests {
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
}

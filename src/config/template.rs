//! Templates of the configuration: text with `{revision}` and `{name}`.

use crate::oci::{Revision, Tag, TagError};

/// Text with placeholders; checked when it is parsed.
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

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that does not exist here.
    #[error("unknown placeholder `{{{0}}}`: expected {1}")]
    Unknown(String, &'static str),
    /// A brace without its other half.
    #[error("a single `{0}`: placeholders are written `{{revision}}`")]
    Brace(char),
    /// Two revisions would give the same text.
    #[error("`{{revision}}` is missing: two revisions would get the same text")]
    NoRevision,
    /// A control character, such as a line break.
    #[error("the text contains a control character: it must be one line")]
    Control,
    /// Not a branch name.
    #[error("`{0}` is not a valid branch name: {1}")]
    Branch(String, &'static str),
}

impl Template {
    /// A one-line text with `{revision}` at least once, and `{name}` where `with_name` says so.
    pub fn parse(text: &str, with_name: bool) -> Result<Self, TemplateError> {
        if text.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let inner = rest[at..]
                .strip_prefix('{')
                .ok_or(TemplateError::Brace('}'))?;
            let (word, after) = inner.split_once('}').ok_or(TemplateError::Brace('{'))?;
            parts.push(Part::Text(rest[..at].to_owned()));
            parts.push(match word {
                "revision" => Part::Revision,
                "name" if with_name => Part::Name,
                _ if with_name => {
                    return Err(TemplateError::Unknown(
                        word.into(),
                        "`{revision}` and `{name}`",
                    ));
                }
                _ => return Err(TemplateError::Unknown(word.into(), "`{revision}`")),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if parts.contains(&Part::Revision) {
            Ok(Self {
                text: text.to_owned(),
                parts,
            })
        } else {
            Err(TemplateError::NoRevision)
        }
    }

    /// A template for a branch; what surrounds the revision must be right for a branch name
    /// (git-check-ref-format).
    pub fn branch(text: &str) -> Result<Self, TemplateError> {
        let template = Self::parse(text, false)?;
        check_branch(&template.fill("0", ""))?;
        Ok(template)
    }

    /// The text for a revision of the set called `name`.
    pub fn render(&self, revision: &Revision, name: &str) -> String {
        self.fill(revision.as_str(), name)
    }

    /// The tag that a revision has.
    pub fn tag(&self, revision: &Revision) -> Result<Tag, TagError> {
        Tag::parse(&self.fill(revision.as_str(), ""))
    }

    /// The value of `{revision}` in `text`, if `text` is this template filled in for the set called
    /// `name`.
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

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fill(&self, revision: &str, name: &str) -> String {
        let fill = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Revision => revision.to_owned(),
            Part::Name => name.to_owned(),
        };
        self.parts.iter().map(fill).collect()
    }
}

/// Checks a whole branch name against git's rules (git-check-ref-format, rules 1 to 10) and a
/// leading `-`.
pub fn check_branch(name: &str) -> Result<(), TemplateError> {
    let wrong = |reason| Err(TemplateError::Branch(name.to_owned(), reason));
    if name.starts_with('-') {
        return wrong("it begins with `-`");
    }
    if name == "@" || name.contains("@{") || name.contains("..") {
        return wrong("`@{`, `..` and a lone `@` have a special meaning in git");
    }
    if name.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c)) {
        return wrong("a space, a control character or one of ~ ^ : ? * [ \\");
    }
    // Git compares `.lock` with its case.
    let component =
        |c: &str| c.is_empty() || c.starts_with('.') || c.strip_suffix(".lock").is_some();
    if name.split('/').any(component) || name.ends_with('.') {
        return wrong("an empty part, or one that begins with `.` or ends with `.lock` or `.`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Pattern;

    #[test]
    fn placeholders_are_filled() {
        let revision = Pattern::parse("[a-f]+").unwrap().revision("beef").unwrap();
        let title = Template::parse("promote: {name} @{revision}", true).unwrap();
        assert_eq!(
            title.render(&revision, "runtime images"),
            "promote: runtime images @beef"
        );
        assert_eq!(
            Template::parse("sha-{revision}", false)
                .unwrap()
                .tag(&revision)
                .unwrap()
                .as_str(),
            "sha-beef"
        );
    }

    #[test]
    fn a_template_that_could_not_work_is_refused() {
        assert!(matches!(
            Template::parse("{rev}", true),
            Err(TemplateError::Unknown(..))
        ));
        assert!(matches!(
            Template::parse("{name}{revision}", false),
            Err(TemplateError::Unknown(..))
        ));
        assert_eq!(
            Template::parse("{revision", false),
            Err(TemplateError::Brace('{'))
        );
        assert_eq!(
            Template::parse("revision}", false),
            Err(TemplateError::Brace('}'))
        );
        assert_eq!(
            Template::parse("fixed", false),
            Err(TemplateError::NoRevision)
        );
        assert_eq!(
            Template::parse("a\n{revision}", false),
            Err(TemplateError::Control)
        );
    }

    #[test]
    fn a_filled_template_gives_its_revision_back() {
        let title = Template::parse("promote: {name} @{revision}!", true).unwrap();
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
        let twice = Template::parse("{revision} ({revision})", true).unwrap();
        assert_eq!(twice.revision_in("ab (ab)", ""), Some("ab"));
        assert_eq!(twice.revision_in("ab (ac)", ""), None);
        assert_eq!(twice.revision_in("ab (abc)", ""), None);
    }

    #[test]
    fn branch_names_follow_gits_rules() {
        assert!(Template::branch("auto/runtime-promote-{revision}").is_ok());
        for bad in [
            "-x{revision}",
            "a b{revision}",
            "a//{revision}",
            "{revision}.lock",
            "{revision}/",
            ".a/{revision}",
            "a..{revision}",
        ] {
            assert!(Template::branch(bad).is_err(), "{bad}");
        }
    }
}

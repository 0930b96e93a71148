//! Forms of tags: guessed from their text. The labels of the images confirm an abbreviated commit and a
//! version.
//!
//! Derives the names of images from their repositories.

use std::collections::{BTreeMap, BTreeSet};

use super::PinnedRepository;
use crate::{
    base::text::is_hex,
    oci::{Pattern, Repository},
};

/// The characters between the parts of a tag.
const SEPARATORS: [char; 3] = ['-', '_', '.'];
/// The number of digits of a timestamp or a build number, which is no fixed text.
const NUMBER: usize = 6;

/// The form of tags with a revision, guessed from their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuessedForm {
    /// The whole commit.
    Commit {
        /// The text before the commit.
        prefix: String,
        /// The number of hexadecimal digits: 40 or 64.
        digits: usize,
    },
    /// The first digits of a commit.
    Abbreviated {
        /// The text before the commit, in which `*` matches any text.
        before: String,
        digits: usize,
        /// The text after the commit, in which `*` matches any text.
        after: String,
    },
    /// A version by semver.org.
    Version {
        /// `v` or empty.
        prefix: &'static str,
    },
}

impl GuessedForm {
    /// The form of a tag.
    pub(super) fn of(tag: &str) -> Option<Self> {
        let before_hex = tag.trim_end_matches(|c: char| matches!(c, '0'..='9' | 'a'..='f'));
        let digits = tag.len() - before_hex.len();
        if let 40 | 64 = digits {
            let prefix = before_hex.to_owned();
            return Some(Self::Commit { prefix, digits });
        }
        let (prefix, version) = match tag.strip_prefix('v') {
            Some(version) => ("v", version),
            None => ("", tag),
        };
        if Pattern::parse("semver").is_ok_and(|pattern| pattern.revision(version).is_ok()) {
            return Some(Self::Version { prefix });
        }
        let mut start = 0;
        let mut commits = Vec::new();
        for part in tag.split(SEPARATORS) {
            if (7..=40).contains(&part.len()) && is_hex(part.as_bytes()) {
                commits.push(start..start + part.len());
            }
            start += part.len() + 1;
        }
        // A part with a letter is likelier a commit than a number.
        let has_letter = |part: &&std::ops::Range<usize>| {
            let mut bytes = tag[(*part).clone()].bytes();
            bytes.any(|byte| byte.is_ascii_lowercase())
        };
        let commit = commits.iter().find(has_letter).or(commits.first())?;
        let (before, after) = (&tag[..commit.start], &tag[commit.end..]);
        let mut before = before.to_owned();
        if has_number(&before, NUMBER) {
            before = format!("*{}", &before[before.len() - 1..]);
        }
        let mut after = after.to_owned();
        if has_number(&after, 1) {
            after = format!("{}*", &after[..1]);
        }
        Some(Self::Abbreviated {
            before,
            digits: commit.len(),
            after,
        })
    }

    /// `revision.tag`.
    pub(crate) fn template(&self) -> String {
        match self {
            Self::Commit { prefix, .. } => format!("{prefix}{{revision}}"),
            Self::Version { prefix } => format!("{prefix}{{revision}}"),
            Self::Abbreviated {
                before,
                digits,
                after,
            } => format!("{before}{{revision:{digits}}}{after}"),
        }
    }

    /// `revision.pattern`, if it is not the default.
    pub(crate) fn pattern(&self) -> Option<String> {
        match self {
            Self::Commit { digits: 40, .. } | Self::Abbreviated { .. } => None,
            Self::Commit { digits, .. } => Some(format!("[0-9a-f]{{{digits}}}")),
            Self::Version { .. } => Some("semver".to_owned()),
        }
    }

    /// `revision.label`, if it is not the default.
    pub(crate) fn label(&self) -> Option<&'static str> {
        match self {
            Self::Commit { .. } | Self::Abbreviated { .. } => None,
            Self::Version { .. } => Some("org.opencontainers.image.version"),
        }
    }

    /// Whether the text of a tag is sufficient evidence: no other text has so many digits.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self, Self::Commit { .. })
    }
}

/// Whether a text has a number of at least `digits` digits.
fn has_number(text: &str, digits: usize) -> bool {
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.map(str::len).any(|length| length >= digits)
}

/// The tags of these repositories' pins, without duplicates.
pub(crate) fn tags<'s>(
    repositories: impl IntoIterator<Item = &'s PinnedRepository>,
) -> Vec<&'s str> {
    let mut tags = Vec::new();
    for pin in repositories.into_iter().flat_map(|one| &one.pins) {
        if let Some(tag) = &pin.item.tag
            && !tags.contains(&tag.as_str())
        {
            tags.push(tag.as_str());
        }
    }
    tags
}

/// The common form of the tags of these repositories.
pub(crate) fn common_form<'s>(
    repositories: impl IntoIterator<Item = &'s PinnedRepository>,
) -> Option<GuessedForm> {
    let mut forms = tags(repositories).into_iter().map(GuessedForm::of);
    let first = forms.next()??;
    forms
        .all(|form| form.as_ref() == Some(&first))
        .then_some(first)
}

/// The files with tags of each form, by its template; `None` if the form of a tag is unknown.
pub(crate) fn forms<'s>(
    repositories: impl IntoIterator<Item = &'s PinnedRepository>,
) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let mut forms: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for pin in repositories.into_iter().flat_map(|one| &one.pins) {
        if let Some(tag) = &pin.item.tag {
            let form = GuessedForm::of(tag.as_str())?;
            forms
                .entry(form.template())
                .or_default()
                .insert(pin.file.to_string());
        }
    }
    Some(forms)
}

/// The common commit in the tags of these repositories, if each has a tagged pin with a whole commit.
pub(crate) fn common_commit<'s>(
    repositories: impl IntoIterator<Item = &'s PinnedRepository> + Clone,
) -> Option<String> {
    let GuessedForm::Commit { prefix, .. } = common_form(repositories.clone())? else {
        return None;
    };
    let mut common = None;
    for one in repositories {
        let tags = tags([one]);
        if tags.is_empty() {
            return None;
        }
        for tag in tags {
            let commit = &tag[prefix.len()..];
            if *common.get_or_insert(commit) != commit {
                return None;
            }
        }
    }
    common.map(str::to_owned)
}

/// Distinct names for the repositories, and their common prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// In the order of the repositories.
    pub images: Vec<String>,
    /// The common prefix that was removed.
    pub common: Option<String>,
}

/// The last parts of the repositories without a common prefix (`runtime-review` and `runtime-fix`
/// become `review` and `fix`), or longer names if these would not differ.
pub(crate) fn names(repositories: &[&Repository]) -> Names {
    let plain: Vec<String> = repositories
        .iter()
        .map(|repository| {
            let path = repository.path();
            path.rsplit('/').next().unwrap_or(path).to_owned()
        })
        .collect();
    if !differ(&plain) {
        let joined = |text: String| text.replace(['/', ':'], "-");
        let path: Vec<_> = repositories
            .iter()
            .map(|repository| joined(repository.path().to_owned()))
            .collect();
        let whole = || {
            repositories
                .iter()
                .map(|repository| joined(repository.canonical()))
                .collect()
        };
        let images = if differ(&path) {
            path
        } else {
            numbered(whole())
        };
        return Names {
            images,
            common: None,
        };
    }
    match common_beginning(&plain) {
        0 => Names {
            images: plain,
            common: None,
        },
        end => Names {
            images: plain.iter().map(|name| name[end..].to_owned()).collect(),
            common: Some(plain[0][..end].trim_end_matches(SEPARATORS).to_owned()),
        },
    }
}

/// The length of the common beginning: up to a separator that a letter follows in each name.
fn common_beginning(names: &[String]) -> usize {
    let [first, others @ ..] = names else {
        return 0;
    };
    let ends = first
        .char_indices()
        .rev()
        .filter(|(_, c)| SEPARATORS.contains(c))
        .map(|(at, _)| at + 1);
    let letter =
        |name: &String, end: usize| name[end..].starts_with(|c: char| c.is_ascii_lowercase());
    let fits = |end: &usize| {
        letter(first, *end)
            && others
                .iter()
                .all(|name| name.starts_with(&first[..*end]) && letter(name, *end))
    };
    if others.is_empty() {
        0
    } else {
        ends.into_iter().find(fits).unwrap_or(0)
    }
}

fn differ(names: &[String]) -> bool {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Adds a number to each repeated name.
fn numbered(names: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let others = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone())
            .chain(others)
            .find(|name| !all.contains(name));
        all.push(free.unwrap_or(name));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        base::files::{WorkTree, survey},
        core::pins::discover::discover,
    };

    fn pinned(references: &[&str]) -> Vec<PinnedRepository> {
        let dir = tempfile::tempdir().unwrap();
        let digest = "a1".repeat(32);
        let pins: Vec<_> = references
            .iter()
            .map(|reference| format!("{reference}@sha256:{digest}"))
            .collect();
        fs::write(dir.path().join("a.yml"), pins.join("\n")).unwrap();
        discover(&WorkTree::new(dir.path()), survey(dir.path()), None).repositories
    }

    #[test]
    fn forms_of_tags() {
        let commit = "a1b2c3d4e5".repeat(4);
        for (tag, template) in [
            (commit.as_str(), Some("{revision}")),
            (&format!("sha-{commit}"), Some("sha-{revision}")),
            (&"ab".repeat(32), Some("{revision}")),
            ("sha-b330f60", Some("sha-{revision:7}")),
            ("b330f60", Some("{revision:7}")),
            ("1234567", Some("{revision:7}")),
            ("b330f60c1d2e", Some("{revision:12}")),
            ("main-b330f60-1732291200", Some("main-{revision:7}-*")),
            ("main-1234567-1732291200", Some("main-{revision:7}-*")),
            ("20261120.1732291200-b330f60", Some("*-{revision:7}")),
            ("202611-b330f60", Some("*-{revision:7}")),
            ("b330f60-1", Some("{revision:7}-*")),
            ("b330f60-alpine", Some("{revision:7}-alpine")),
            ("1.4.2", Some("{revision}")),
            ("v1.4.2-rc.1", Some("v{revision}")),
            ("latest", None),
            ("v1.4", None),
            ("abc123", None),
            ("B330F60", None),
            ("release-2026-11", None),
        ] {
            let form = GuessedForm::of(tag);
            let found = form.as_ref().map(GuessedForm::template);
            assert_eq!(found.as_deref(), template, "{tag}");
        }
        let version = GuessedForm::of("v1.4.2").unwrap();
        assert_eq!(version.pattern().as_deref(), Some("semver"));
        assert!(version.label().is_some() && !version.is_certain());
        assert_eq!(
            GuessedForm::of(&"ab".repeat(32))
                .unwrap()
                .pattern()
                .as_deref(),
            Some("[0-9a-f]{64}")
        );
        assert!(!GuessedForm::of("b330f60").unwrap().is_certain());
    }

    #[test]
    fn tags_of_two_forms_have_no_common_form() {
        let form = |references: &[&str]| {
            let form = common_form(&pinned(references));
            form.map(|form| form.template())
        };
        let same = form(&["a.b/x:sha-b330f60", "a.b/y:sha-0a1b2c3", "a.b/z"]);
        assert_eq!(same.as_deref(), Some("sha-{revision:7}"));
        assert_eq!(form(&["a.b/x:sha-b330f60", "a.b/y:v1.4.2"]), None);
    }

    #[test]
    fn common_commit_is_in_every_tag() {
        let [one, other] = ["b3", "c4"].map(|digits| digits.repeat(20));
        let [x, y, z] = [
            format!("a.b/x:{one}"),
            format!("a.b/y:{one}"),
            format!("a.b/z:{other}"),
        ];
        let commit = |references: &[&str]| common_commit(&pinned(references));
        assert_eq!(commit(&[&x, &y]), Some(one));
        assert_eq!(commit(&[&x, &z]), None);
        assert_eq!(commit(&[&x, "a.b/y"]), None);
    }

    #[test]
    fn equal_tags_count_once() {
        let pinned = pinned(&["a.b/x:v1", "a.b/y:v1", "a.b/x:v1", "a.b/x:v2"]);
        assert_eq!(tags(&pinned), ["v1", "v2"]);
    }

    fn named(texts: &[&str]) -> (Vec<String>, Option<String>) {
        let repositories: Vec<_> = texts
            .iter()
            .map(|text| Repository::parse(text).unwrap())
            .collect();
        let names = names(&repositories.iter().collect::<Vec<_>>());
        (names.images, names.common)
    }

    #[test]
    fn common_beginning_is_removed() {
        let (names, common) = named(&["ghcr.io/acme/runtime-review", "ghcr.io/acme/runtime-fix"]);
        assert_eq!(
            (names, common.as_deref()),
            (vec!["review".into(), "fix".into()], Some("runtime"))
        );
        assert_eq!(named(&["a.b/my-app-x", "a.b/my-app-y"]).0, ["x", "y"]);
        for kept in [
            &["a.b/app"][..],
            &["a.b/runtime-app"],
            &["a.b/app-1", "a.b/app-2"],
            &["a.b/app-1", "a.b/app-x"],
            &["a.b/app-x", "a.b/app-1"],
            &["a.b/runtime", "a.b/runtime-fix"],
            &["a.b/re", "a.b/restore"],
        ] {
            let last = |text: &&str| text.rsplit('/').next().unwrap().to_owned();
            assert_eq!(named(kept), (kept.iter().map(last).collect(), None));
        }
    }

    #[test]
    fn names_always_differ() {
        assert_eq!(
            named(&["a.b/one/app", "a.b/two/app"]).0,
            ["one-app", "two-app"]
        );
        assert_eq!(
            named(&["a.b/x/app", "c.d:5000/x/app"]).0,
            ["a.b-x-app", "c.d-5000-x-app"]
        );
        assert_eq!(
            named(&["a.b:1/x", "a.b-1/x/x", "a.b/x"]).0,
            ["a.b-1-x", "a.b-1-x-x", "a.b-x"]
        );
        assert_eq!(
            numbered(vec!["a".into(), "a".into(), "a-2".into(), "a".into()]),
            ["a", "a-2", "a-2-2", "a-3"]
        );
    }
}

//! Paths and globs inside the root.
//!
//! The names of configuration files, which listings of a repository select.

use std::{
    ffi::OsStr,
    fmt,
    hash::{Hash, Hasher},
    path::{Component, Path, PathBuf},
};

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

use crate::base::error::Span;

/// A relative path inside its directory. Symbolic links are checked when it is opened.
#[derive(Debug, Clone, Eq, PartialOrd, Ord)]
pub struct RelPath(PathBuf);

// Equal paths have equal bytes, because parsing drops `.` and repeated slashes. A `PathBuf` would compare
// component by component.
impl PartialEq for RelPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Hash for RelPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A malformed path or glob, or one that is not inside the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{0}` is absolute: paths must be relative to the directory of the configuration")]
    Absolute(String),
    #[error("`{0}` leaves the directory of the configuration: `..` is not allowed")]
    Leaves(String),
    /// The path is empty, `.`, or has a NUL byte.
    #[error("`{0}` does not name a file")]
    Nothing(String),
    #[error("malformed glob `{0}`: {1}")]
    Glob(String, String),
    #[error("the glob has {0} bytes; the maximum is {max}", max = Glob::MAX_LENGTH)]
    LongGlob(usize),
    #[error("the glob has {0} nested braces; the maximum is {max}", max = Glob::DEEPEST)]
    DeepGlob(usize),
}

impl RelPath {
    /// Parses `text` and drops `./`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.contains('\0') {
            return Err(PathError::Nothing(text.to_owned()));
        }
        Self::new(Path::new(text))
    }

    /// Checks a path that need not be UTF-8.
    pub fn new(path: &Path) -> Result<Self, PathError> {
        let text = || path.to_string_lossy().into_owned();
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir => return Err(PathError::Leaves(text())),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(PathError::Absolute(text()));
                }
            }
        }
        if clean.as_os_str().is_empty() {
            Err(PathError::Nothing(text()))
        } else {
            Ok(Self(clean))
        }
    }

    /// A file in the directory itself; `name` is a plain file name.
    pub(crate) fn file(name: &'static str) -> Self {
        Self(PathBuf::from(name))
    }

    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path's bytes, `/` between the components.
    pub fn as_bytes(&self) -> &[u8] {
        std::os::unix::ffi::OsStrExt::as_bytes(self.0.as_os_str())
    }
}

impl fmt::Display for RelPath {
    /// Bytes that are not UTF-8 are displayed as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.display(), f)
    }
}

/// A glob over paths inside the root: `*` and `?` match within a component, `**` crosses
/// components, dot files match.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    /// The length of the text before the first special character. Every match begins with it.
    literal: usize,
    matcher: Matcher,
    span: Span,
}

/// Whether the end of a path matches, after the literal beginning of a glob.
#[derive(Debug, Clone)]
enum Matcher {
    /// A path without special characters.
    Literal,
    /// One `*`, as in most globs: a regular expression would take longer to compile than to match.
    Star,
    Regex(Regex),
}

/// Lists of globs. A path matches a list if one of its globs matches and none that begins with `!`;
/// it matches all lists together if it matches one of them.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
    /// The other lists.
    others: Vec<Globs>,
}

impl Glob {
    /// The maximum length of a glob, in bytes.
    const MAX_LENGTH: usize = 4096;
    /// The maximum number of nested braces.
    const DEEPEST: usize = 4;

    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > Self::MAX_LENGTH {
            return Err(PathError::LongGlob(text.len()));
        }
        let depth = brace_depth(text);
        if depth > Self::DEEPEST {
            return Err(PathError::DeepGlob(depth));
        }
        Self::parse_bounded(text)
    }

    /// The same glob in every directory.
    pub fn anywhere(&self) -> Result<Self, PathError> {
        Self::parse_bounded(&format!("**/{}", self.text))
    }

    fn parse_bounded(text: &str) -> Result<Self, PathError> {
        RelPath::parse(text)?;
        if text.ends_with('/') {
            return Err(PathError::Glob(
                text.to_owned(),
                "it ends with `/`, so it matches no file".to_owned(),
            ));
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        let literal = text.find(SPECIAL).unwrap_or(text.len());
        let after_star = text[literal..].strip_prefix('*');
        let matcher = if literal == text.len() {
            Ok(Matcher::Literal)
        } else if after_star.is_some_and(|rest| !rest.contains(SPECIAL)) {
            Ok(Matcher::Star)
        } else {
            compile(text).map(Matcher::Regex)
        };
        match matcher {
            Ok(matcher) => Ok(Self {
                text: text.to_owned(),
                literal,
                matcher,
                span: Span { start: 0, end: 0 },
            }),
            Err(reason) => Err(PathError::Glob(text.to_owned(), reason)),
        }
    }

    pub fn matches(&self, path: &Path) -> bool {
        let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let (literal, special) = self.text.as_bytes().split_at(self.literal);
        let Some(rest) = path.strip_prefix(literal) else {
            return false;
        };
        match &self.matcher {
            Matcher::Literal => rest.is_empty(),
            Matcher::Star => {
                let within = rest.strip_suffix(&special[1..]);
                within.is_some_and(|within| !within.contains(&b'/'))
            }
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The place in the configuration; the start of the file for any other glob.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The literal beginning of the directories of all matches: `.github/workflows` for
    /// `.github/workflows/*.yml`.
    pub fn literal_directory(&self) -> PathBuf {
        let (directory, _) = self.text[..self.literal]
            .rsplit_once('/')
            .unwrap_or_default();
        directory.into()
    }
}

/// The special characters of globs.
const SPECIAL: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

fn compile(glob: &str) -> Result<Regex, String> {
    let glob = GlobBuilder::new(glob)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build();
    glob_regex(&glob.map_err(|error| error.kind().to_string())?)
}

/// Compiles a glob, with the options that globset uses. globset's own matcher panics if its regular
/// expression cannot be compiled.
pub(crate) fn glob_regex(glob: &globset::Glob) -> Result<Regex, String> {
    RegexBuilder::new(glob.regex())
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| "it is too complex".to_owned())
}

/// The number of nested braces in a glob, by globset's grammar: an escaped brace and a brace in a
/// class are literal.
fn brace_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => {
                chars.next_if(|c| matches!(c, '!' | '^'));
                // A bracket at the beginning of a class is literal.
                chars.next();
                chars.by_ref().find(|c| *c == ']');
            }
            '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl Globs {
    /// Adds a glob; one that begins with `!` excludes.
    pub fn add(&mut self, text: &str, span: Span) -> Result<(), PathError> {
        let (list, text) = match text.strip_prefix('!') {
            Some(text) => (&mut self.exclude, text),
            None => (&mut self.include, text),
        };
        list.push(Glob {
            span,
            ..Glob::parse(text)?
        });
        Ok(())
    }

    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, PathError> {
        let mut globs = Self::default();
        for text in texts {
            globs.add(text, Span { start: 0, end: 0 })?;
        }
        Ok(globs)
    }

    /// Adds another list. Its globs that begin with `!` exclude nothing from the others.
    pub fn add_list(&mut self, list: Self) {
        self.others.push(list);
    }

    pub fn matches(&self, path: &Path) -> bool {
        self.include.iter().any(|glob| glob.matches(path)) && !self.excludes_in_list(path)
            || self.others.iter().any(|list| list.matches(path))
    }

    /// Whether a glob that begins with `!` matches a path that no list matches.
    pub fn excludes(&self, path: &Path) -> bool {
        self.excludes_in_list(path) || self.others.iter().any(|list| list.excludes(path))
    }

    fn excludes_in_list(&self, path: &Path) -> bool {
        self.exclude.iter().any(|glob| glob.matches(path))
    }

    /// The globs that do not begin with `!`.
    pub fn included(&self) -> Vec<&Glob> {
        let others = self.others.iter().flat_map(Self::included);
        self.include.iter().chain(others).collect()
    }

    /// The texts of the globs; those that begin with `!` are last. An empty text separates lists.
    pub fn texts(&self) -> Vec<String> {
        let excluded = self
            .exclude
            .iter()
            .map(|glob| format!("!{}", glob.as_str()));
        let included = self.include.iter().map(|glob| glob.as_str().to_owned());
        let others = self.others.iter().flat_map(|list| {
            // No glob is empty, so equal texts are equal lists.
            std::iter::once(String::new()).chain(list.texts())
        });
        included.chain(excluded).chain(others).collect()
    }

    /// The literal beginnings of the directories of all matches.
    pub fn literal_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.included().into_iter().map(Glob::literal_directory)
    }
}

/// Whether this is the name of a configuration file: `repin.yaml`, `repin.NAME.yaml`, or one of
/// them with `.yml`. `--config` also selects other files.
fn is_config_name(name: &str) -> bool {
    let stem = name
        .strip_suffix(".yaml")
        .or_else(|| name.strip_suffix(".yml"));
    stem.is_some_and(|stem| stem == "repin" || stem.starts_with("repin."))
}

/// The directories of a forge's workflows. A workflow that runs repin may be called `repin.yml`.
const WORKFLOWS: [&str; 3] = [
    ".github/workflows",
    ".gitea/workflows",
    ".forgejo/workflows",
];

/// Whether every file of a directory is a workflow of a forge. The path begins at the top of the
/// repository.
pub(crate) fn is_workflow_directory(directory: &Path) -> bool {
    WORKFLOWS.iter().any(|name| directory.ends_with(name))
}

/// Whether a file of a repository is a configuration file, by its path from the top of the repository.
pub(crate) fn is_config_file(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let directory = path.parent().unwrap_or(Path::new(""));
    name.is_some_and(is_config_name) && !is_workflow_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_applies_at_any_position() {
        let globs = Globs::parse(["!a/skip.yml", "**/*.yml", "!b/**"]).unwrap();
        for (path, matches) in [
            ("a/x.yml", true),
            ("a/skip.yml", false),
            ("b/c/x.yml", false),
            ("x.txt", false),
        ] {
            assert_eq!(globs.matches(Path::new(path)), matches, "{path}");
        }
        assert_eq!(globs.texts(), ["**/*.yml", "!a/skip.yml", "!b/**"]);
        assert!(!Globs::parse(["!a"]).unwrap().matches(Path::new("b")));
        assert!(Globs::parse(["!../a"]).is_err());
        let literal = Globs::parse([r"\!important.yml"]).unwrap();
        assert!(literal.matches(Path::new("!important.yml")));
    }

    #[test]
    fn list_excludes_only_from_itself() {
        let mut globs = Globs::parse(["**/*.yml", "!a.yml"]).unwrap();
        globs.add_list(Globs::parse(["a.yml", "b/*", "!b/c.yml"]).unwrap());
        for (path, matches) in [
            ("a.yml", true),
            ("b/c.yml", true),
            ("b/c.txt", true),
            ("c.txt", false),
        ] {
            assert_eq!(globs.matches(Path::new(path)), matches, "{path}");
        }
        let included: Vec<_> = globs.included().into_iter().map(Glob::as_str).collect();
        assert_eq!(included, ["**/*.yml", "a.yml", "b/*"]);
        let directories: Vec<_> = globs.literal_directories().collect();
        assert_eq!(directories, ["", "", "b"].map(PathBuf::from));
    }

    #[test]
    fn paths_stay_beneath_the_root() {
        assert_eq!(RelPath::parse("./a//b/.").unwrap().to_string(), "a/b");
        assert!(matches!(
            RelPath::parse("/etc/passwd"),
            Err(PathError::Absolute(_))
        ));
        assert!(matches!(
            RelPath::parse("a/../../b"),
            Err(PathError::Leaves(_))
        ));
        assert!(matches!(RelPath::parse("."), Err(PathError::Nothing(_))));
        assert!(matches!(RelPath::parse("a\0b"), Err(PathError::Nothing(_))));
    }

    #[test]
    fn globs_match_dot_files_and_stop_at_slashes() {
        let glob = Glob::parse(".github/workflows/*.yml").unwrap();
        assert!(glob.matches(Path::new(".github/workflows/.hidden.yml")));
        assert!(!glob.matches(Path::new(".github/workflows/a/b.yml")));
        assert!(
            Glob::parse("**/*.yml")
                .unwrap()
                .matches(Path::new("top.yml"))
        );
        assert!(Glob::parse("../*.yml").is_err());
        assert!(Glob::parse("a[").is_err());
    }

    #[test]
    fn globs_have_a_maximum_length_and_depth() {
        let nested = |depth| format!("{}b{}", "{a,".repeat(depth), "}".repeat(depth));
        for (text, error) in [
            (nested(4), None),
            (nested(5), Some(PathError::DeepGlob(5))),
            (nested(125), Some(PathError::DeepGlob(125))),
            // A brace in a class or after a backslash is literal.
            (format!("{}[{{][{{]", nested(4)), None),
            (format!("{}\\{{\\{{", nested(4)), None),
            (
                format!("{{[}}]{}}}", nested(4)),
                Some(PathError::DeepGlob(5)),
            ),
            (
                format!("{{[]}}]{}}}", nested(4)),
                Some(PathError::DeepGlob(5)),
            ),
            (
                format!("{{[!]}}]{}}}", nested(4)),
                Some(PathError::DeepGlob(5)),
            ),
            (
                format!("{{\\}}{}}}", nested(4)),
                Some(PathError::DeepGlob(5)),
            ),
            ("a".repeat(4096), None),
            ("a".repeat(4097), Some(PathError::LongGlob(4097))),
        ] {
            assert_eq!(Glob::parse(&text).err(), error, "{text}");
        }
        // A glob that is derived from one of the configuration may be longer.
        assert!(Glob::parse(&"a".repeat(4096)).unwrap().anywhere().is_ok());
    }

    #[test]
    fn glob_of_any_characters_never_panics() {
        let characters: Vec<char> = "{}[]!^-,\\/*?ab\u{e9}\u{ffff}".chars().collect();
        let mut state = 1_u64;
        let mut compiled = 0;
        for _ in 0..4_000 {
            let mut text = String::new();
            for _ in 0..(state >> 40) % 14 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                text.push(characters[(state >> 33) as usize % characters.len()]);
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let Ok(glob) = Glob::parse(&text) else {
                continue;
            };
            compiled += 1;
            // The other matchers are only shortcuts.
            let regex = compile(glob.as_str()).unwrap();
            for path in [
                "a", "ab", "a/b", "a/.b", "b,", "!a^", "\u{e9}", "\\a", &text,
            ] {
                let expected = regex.is_match(path.as_bytes());
                assert_eq!(glob.matches(Path::new(path)), expected, "{text} {path}");
            }
        }
        assert!(compiled > 200, "{compiled}");
    }

    #[test]
    fn glob_with_an_oversized_expression_is_malformed() {
        let text = format!("{}{}", "{a,".repeat(200), "}".repeat(200));
        let glob = GlobBuilder::new(&text).build().unwrap();
        assert!(glob_regex(&glob).is_err());
    }

    #[test]
    fn literal_directory_ends_before_a_wildcard() {
        assert_eq!(
            Glob::parse(".github/workflows/*.yml")
                .unwrap()
                .literal_directory(),
            Path::new(".github/workflows")
        );
        assert_eq!(
            Glob::parse("*.yml").unwrap().literal_directory(),
            Path::new("")
        );
        assert_eq!(
            Glob::parse("a/{b,c/d}/e.yml").unwrap().literal_directory(),
            Path::new("a")
        );
        assert_eq!(
            Glob::parse("a/{b/c,d}/e.yml").unwrap().literal_directory(),
            Path::new("a")
        );
    }
}

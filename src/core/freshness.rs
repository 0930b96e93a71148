//! The distance between a pinned reference to another repository and the head of one of its branches.
//!
//! The reference and its relevant paths are read from files of this repository. The other repository
//! is fetched into a scratch directory, without file contents if its server supports filters.
//! `checks` decides whether the distance is acceptable.

use std::path::Path;

use crate::{
    base::{
        error::{Code, Error, Location, SourceText, Span},
        files::{Files, RelPath},
        untrusted::plain,
    },
    config::{
        Freshness,
        yaml::{self, Node, Value},
    },
    git::{
        Connections, FetchedObjects, GitError, ObjectId, Remote, ScratchRepository, check_branch,
    },
};

/// A reference to another repository, as read from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinnedReference {
    /// A full or abbreviated commit ID, a tag or a branch.
    pub name: String,
    /// The relevant paths; all if empty.
    pub paths: Vec<String>,
}

/// The distance from the pinned commit to the branch's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distance {
    /// The pinned commit, or `None` if the other repository does not contain it.
    pub pinned: Option<ObjectId>,
    /// The branch's head.
    pub head: ObjectId,
    /// The number of commits to the relevant paths between the pinned commit and the head.
    pub commits: Option<u64>,
    /// The seconds between the pinned commit and the head; negative if the head is older.
    pub gap: Option<i64>,
    pub evidence: Evidence,
}

/// The maximum number of subjects and of paths in [`Evidence`].
pub(crate) const LISTED: usize = 50;

/// The commits of a distance, as they are shown to a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The time of the pinned commit, in seconds since 1970.
    pub pinned_time: Option<i64>,
    /// The time of the head.
    pub head_time: i64,
    /// The subjects of the first commits, newest first; untrusted text.
    pub subjects: Vec<String>,
    /// The first of the relevant paths that differ, if paths are configured; untrusted text.
    pub changed_paths: Vec<String>,
    /// The number of these paths.
    pub changed: usize,
}

/// The reason that the distance is unknown.
#[derive(Debug)]
pub(crate) enum FreshnessError {
    /// git failed, or the server refused.
    Git(GitError),
    /// The other repository has no such branch.
    NoBranch,
}

impl From<GitError> for FreshnessError {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

/// Finds the pinned reference of `entry` and its relevant paths.
pub(crate) fn read_pinned_reference(
    entry: &Freshness,
    files: &dyn Files,
) -> Result<PinnedReference, Error> {
    let name = pinned_name(entry, files)?;
    let mut paths = entry.paths.clone();
    for from in &entry.paths_from {
        let file = Document::read(&from.file, files)?;
        let mut items = Vec::new();
        for node in file.values(&from.pointer)? {
            match &node.value {
                _ if node.is_null() => {}
                Value::List(listed) => items.extend(listed),
                Value::Scalar { .. } => items.push(node),
                Value::Map(_) => return Err(file.error(node.span, "expected a list or a name")),
            }
        }
        for item in items {
            let path = match &item.value {
                Value::Scalar { text, .. } if !item.is_null() => {
                    Some(from.path.replace("{}", text))
                }
                _ => None,
            };
            let Some(path) = path.filter(|path| RelPath::parse(path).is_ok()) else {
                return Err(file.error(item.span, "expected a name that can be part of a path"));
            };
            paths.push(path);
        }
    }
    // To git, an empty list of paths means every path.
    if paths.is_empty() && !entry.paths_from.is_empty() {
        let message = format!(
            "freshness `{}`: its lists of paths are empty, so nothing would ever be stale",
            entry.name
        );
        let problem = Error::input(Code::CONFIG, message)
            .help("correct `paths_from`, or remove it to count every commit");
        return Err(problem);
    }
    Ok(PinnedReference { name, paths })
}

/// The pinned reference, which is the same in every value that the pointer selects.
fn pinned_name(entry: &Freshness, files: &dyn Files) -> Result<String, Error> {
    let file = Document::read(&entry.pinned.file, files)?;
    let mut name: Option<&String> = None;
    for node in file.values(&entry.pinned.pointer)? {
        let text = match &node.value {
            Value::Scalar { text, .. } if !node.is_null() && check_branch(text).is_ok() => text,
            _ => return Err(file.error(node.span, "not a reference of a repository")),
        };
        if name.is_some_and(|name| name != text) {
            let message = format!(
                "another reference than `{}`",
                plain(name.map_or("", |name| name))
            );
            return Err(file
                .error(node.span, &message)
                .help("split the entry in `freshness`: each has one reference"));
        }
        name = Some(text);
    }
    Ok(name.cloned().unwrap_or_default())
}

/// A YAML or JSON file.
struct Document {
    source: SourceText,
    root: Node,
}

impl Document {
    fn read(path: &RelPath, files: &dyn Files) -> Result<Self, Error> {
        let unreadable =
            |reason: &str| Error::input(Code::CONFIG, format!("cannot read {path}: {reason}"));
        let bytes = files
            .read(path)
            .map_err(|error| unreadable(&error.error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))?;
        let source = SourceText {
            name: path.to_string(),
            text: text.as_str().into(),
        };
        let (root, errors) = yaml::parse(&text);
        if let Some(fault) = errors.into_iter().next() {
            return Err(
                Error::input(Code::CONFIG, fault.unquoted).at(location(&source, fault.span))
            );
        }
        Ok(Self {
            root: root.ok_or_else(|| unreadable("the file is empty"))?,
            source,
        })
    }

    /// The values at a pointer, at least one.
    fn values(&self, pointer: &str) -> Result<Vec<&Node>, Error> {
        let values = self.root.select(pointer);
        if values.is_empty() {
            let message = format!("{} has no value at `{pointer}`", self.source.name);
            return Err(Error::input(Code::CONFIG, message)
                .help("correct the file, or the pointer in `freshness`"));
        }
        Ok(values)
    }

    fn error(&self, span: Span, message: &str) -> Error {
        Error::input(Code::CONFIG, message).at(location(&self.source, span))
    }
}

fn location(source: &SourceText, span: Span) -> Location {
    Location {
        source: source.clone(),
        span,
        label: String::new(),
        quoted: false,
    }
}

const HEAD_REF: &str = "refs/repin/head";
const PINNED_REF: &str = "refs/repin/pinned";

/// Fetches the other repository into the empty directory `scratch`, and measures the distance.
pub(crate) fn measure_distance(
    scratch: &Path,
    remote: Remote,
    connections: Connections,
    branch: &str,
    pinned: &PinnedReference,
) -> Result<Distance, FreshnessError> {
    let objects = FetchedObjects::CommitsAndTrees;
    let other = ScratchRepository::init(scratch, remote, objects, connections)?;
    let git = other.git();
    if !other.fetch(&[&format!("+refs/heads/{branch}:{HEAD_REF}")])? {
        return Err(FreshnessError::NoBranch);
    }
    let head = git.commit_at(HEAD_REF)?;
    let time_of = |commit| git.commit_time(&commit)?.ok_or(GitError::Missing(commit));
    let head_time = time_of(head)?;
    let Some(commit) = resolve(&other, &pinned.name)? else {
        return Ok(Distance {
            pinned: None,
            head,
            commits: None,
            gap: None,
            evidence: Evidence {
                head_time,
                ..Evidence::default()
            },
        });
    };
    let commits = git.commits_between(&commit, &head, &pinned.paths)?;
    let pinned_time = time_of(commit)?;
    let mut changed_paths = Vec::new();
    if !pinned.paths.is_empty() {
        changed_paths = git.paths_between(&commit, &head, &pinned.paths)?;
    }
    let changed = changed_paths.len();
    changed_paths.truncate(LISTED);
    Ok(Distance {
        pinned: Some(commit),
        head,
        commits: Some(commits),
        gap: Some(head_time - pinned_time),
        evidence: Evidence {
            pinned_time: Some(pinned_time),
            head_time,
            subjects: git.subjects_between(&commit, &head, &pinned.paths, LISTED)?,
            changed_paths,
            changed,
        },
    })
}

/// Resolves a commit, or else a tag or a branch.
fn resolve(other: &ScratchRepository, name: &str) -> Result<Option<ObjectId>, GitError> {
    if let Some(commit) = other.commit(name)? {
        return Ok(Some(commit));
    }
    if ObjectId::parse(name.as_bytes()).is_some() {
        return Ok(None);
    }
    for kind in ["tags", "heads"] {
        if other.fetch(&[&format!("+refs/{kind}/{name}:{PINNED_REF}")])? {
            return other.git().commit_at(PINNED_REF).map(Some);
        }
    }
    Ok(None)
}

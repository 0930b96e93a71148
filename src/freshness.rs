//! How far a reference to another repository, pinned in a file, has fallen behind a branch of it.
//!
//! What is pinned, and to which paths it matters, comes from files here; the other repository is
//! fetched into a scratch one, commits and trees without contents where its server can. Whether
//! that is too far is for `checks` to say.

use std::path::Path;

use super::git::{Git, GitError, ObjectId, Remote};
use crate::{
    code::Code,
    config::{
        Freshness, RelPath, check_branch,
        yaml::{self, Node, Value},
    },
    error::{Error, Place, SourceText, Span},
    files::Files,
};

/// What the files here say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// A commit's full name, the beginning of one, a tag or a branch.
    pub reference: String,
    /// The paths that matter; none: all.
    pub paths: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distance {
    /// The pinned commit; `None`: the other repository has none of that name.
    pub pinned: Option<ObjectId>,
    /// The branch's head.
    pub head: ObjectId,
    /// Commits to the paths that the head has and the pinned one has not.
    pub commits: Option<u64>,
    /// From the pinned commit's time to the head's, in seconds; negative if the head is older.
    pub gap: Option<i64>,
}

/// Why the distance is unknown.
#[derive(Debug)]
pub enum FreshnessError {
    /// git, or the other side.
    Git(GitError),
    /// The other repository has no such branch.
    NoBranch,
}

impl From<GitError> for FreshnessError {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

/// Reads what is pinned.
pub fn pinned(entry: &Freshness, files: &dyn Files) -> Result<Pinned, Error> {
    let file = Document::read(&entry.file, files)?;
    let node = file.at(&entry.pointer)?;
    let reference = match &node.value {
        Value::Scalar { text, .. } if !node.is_null() && check_branch(text).is_ok() => text.clone(),
        _ => return Err(file.wrong(node.span, "not a reference of a repository")),
    };
    let mut paths = entry.paths.clone();
    for from in &entry.paths_from {
        let file = Document::read(&from.file, files)?;
        let node = file.at(&from.pointer)?;
        let Value::List(items) = &node.value else {
            return Err(file.wrong(node.span, "expected a list"));
        };
        for item in items {
            let path = match &item.value {
                Value::Scalar { text, .. } if !item.is_null() => from.path.replace("{}", text),
                _ => {
                    return Err(file.wrong(item.span, "expected a name that can be part of a path"));
                }
            };
            RelPath::parse(&path)
                .map_err(|_| file.wrong(item.span, "expected a name that can be part of a path"))?;
            paths.push(path);
        }
    }
    // No path at all would mean every path to git.
    if paths.is_empty() && !entry.paths_from.is_empty() {
        let message = format!(
            "freshness `{}`: its lists of paths are empty, so nothing would ever be stale",
            entry.name
        );
        let problem = Error::input(Code::CONFIG, message)
            .help("correct `paths_from`, or remove it to count every commit");
        return Err(problem);
    }
    Ok(Pinned { reference, paths })
}

/// A YAML or JSON file.
struct Document {
    source: SourceText,
    root: Node,
}

impl Document {
    fn read(path: &RelPath, files: &dyn Files) -> Result<Self, Error> {
        let wrong =
            |reason: String| Error::input(Code::CONFIG, format!("cannot read {path}: {reason}"));
        let bytes = files
            .read(path)
            .map_err(|error| wrong(error.error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let source = SourceText {
            name: path.to_string(),
            text: text.as_str().into(),
        };
        let (root, errors) = yaml::parse(&text);
        if let Some(fault) = errors.into_iter().next() {
            return Err(Error::input(Code::CONFIG, fault.unquoted).at(place(&source, fault.span)));
        }
        Ok(Self {
            root: root.ok_or_else(|| wrong("the file is empty".to_owned()))?,
            source,
        })
    }

    fn at(&self, pointer: &str) -> Result<&Node, Error> {
        self.root.pointer(pointer).ok_or_else(|| {
            let message = format!("{} has no value at `{pointer}`", self.source.name);
            Error::input(Code::CONFIG, message)
                .help("correct the file, or the pointer in `freshness`")
        })
    }

    fn wrong(&self, span: Span, message: &str) -> Error {
        Error::input(Code::CONFIG, message).at(place(&self.source, span))
    }
}

fn place(source: &SourceText, span: Span) -> Place {
    Place {
        source: source.clone(),
        span,
        label: String::new(),
        quoted: false,
    }
}

const HEAD: &str = "refs/repin/head";
const PIN: &str = "refs/repin/pinned";

/// Fetches the other repository into the empty directory `scratch`, and compares.
pub fn distance(
    scratch: &Path,
    remote: &Remote,
    branch: &str,
    pinned: &Pinned,
) -> Result<Distance, FreshnessError> {
    let git = Git::init(scratch)?;
    // A filter is only taken for a remote that has a name.
    git.reached("config", &["remote.origin.url", &remote.url], None)?;
    let other = OtherRepository { git: &git, remote };
    if !other.fetch(&format!("refs/heads/{branch}"), HEAD)? {
        return Err(FreshnessError::NoBranch);
    }
    let head = git.commit_at(HEAD)?;
    let Some(commit) = other.resolve(&pinned.reference)? else {
        return Ok(Distance {
            pinned: None,
            head,
            commits: None,
            gap: None,
        });
    };
    let commits = git.commits_between(&commit, &head, &pinned.paths)?;
    let gap = git.committed(&head)? - git.committed(&commit)?;
    Ok(Distance {
        pinned: Some(commit),
        head,
        commits: Some(commits),
        gap: Some(gap),
    })
}

struct OtherRepository<'a> {
    git: &'a Git,
    remote: &'a Remote,
}

impl OtherRepository<'_> {
    /// Fetches a reference or a commit; `false` if it does not exist.
    fn fetch(&self, from: &str, to: &str) -> Result<bool, GitError> {
        let options = [
            "-q",
            "--filter=blob:none",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
        ];
        let refspec = format!("+{from}:{to}");
        let args = [&options[..], &["--end-of-options", "origin", &refspec]].concat();
        let ran = self.git.reach("fetch", &args, Some(self.remote))?;
        if ran.code == Some(0) {
            return Ok(true);
        }
        let absent = ["couldn't find remote ref", "not our ref"];
        if absent.iter().any(|word| ran.stderr.contains(word)) {
            return Ok(false);
        }
        Err(GitError::refused("fetch", &ran.stderr))
    }

    /// The commit of this name; one that was forced off every branch is requested by its name.
    fn resolve(&self, reference: &str) -> Result<Option<ObjectId>, GitError> {
        if let Some(known) = self.git.commit_named(reference)? {
            return Ok(Some(known));
        }
        let whole = ObjectId::parse(reference.as_bytes()).is_some();
        let places = if whole {
            vec![reference.to_owned()]
        } else {
            ["tags", "heads"]
                .map(|kind| format!("refs/{kind}/{reference}"))
                .to_vec()
        };
        for place in places {
            if self.fetch(&place, PIN)? {
                return self.git.commit_at(PIN).map(Some);
            }
        }
        Ok(None)
    }
}

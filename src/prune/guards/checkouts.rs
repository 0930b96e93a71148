//! The work trees of the clone with their indexes, and the commits that only a work tree or a stash refers to.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use crate::{
    base::{
        error::{Class, Code, Error},
        untrusted::shell,
    },
    git::{Git, GitError, Head, ObjectId, WorkTreeEntry},
};

/// The prefix of all references.
const REFERENCES: &str = "refs/";

/// A work tree.
pub(super) struct Checkout {
    pub(super) git: Git,
    /// The contents of each file in the index.
    pub(super) index: BTreeMap<Vec<u8>, Vec<ObjectId>>,
    /// Its entry in the list of work trees; `None` for the work tree of the run.
    other: Option<WorkTreeEntry>,
}

/// Everything that git keeps in this clone only.
#[derive(Default)]
pub(super) struct Checkouts {
    /// The work tree of the run comes first.
    pub(super) trees: Vec<Checkout>,
    /// The commits of `HEAD` and of unfinished operations in every work tree.
    pub(super) heads: Vec<ObjectId>,
    /// The references of the clone, the commits of `HEAD` and of stashes, with their locations.
    pub(super) commits: Vec<(ObjectId, String)>,
}

impl Checkouts {
    pub(super) fn read(git: &Git) -> Result<Self, Error> {
        let mut checkouts = Self::default();
        git.check_references()?;
        checkouts.add(git.clone(), None)?;
        let (listed, own) = git.work_trees()?;
        let own_directory = git.own_directory()?;
        for (number, entry) in listed.into_iter().enumerate() {
            let location = if own == Some(number) {
                "at HEAD of this clone".to_owned()
            } else {
                format!("at HEAD of the work tree {}", entry.path.display())
            };
            match entry.head {
                Head::Commit(head) => {
                    checkouts.heads.push(head);
                    checkouts.commits.push((head, location));
                }
                Head::Unreadable if !entry.is_bare => {
                    return Err(unreadable(&entry, &"its HEAD cannot be read"));
                }
                Head::Unborn | Head::Unreadable => {}
            }
            if own != Some(number)
                && let Some(git) = open(&entry, &own_directory)?
            {
                checkouts.add(git, Some(entry))?;
            }
        }
        for (number, commits) in git.stashes()?.into_iter().enumerate() {
            let location = format!("at stash@{{{number}}} of this clone");
            let commits = commits.into_iter().map(|id| (id, location.clone()));
            checkouts.commits.extend(commits);
        }
        Ok(checkouts)
    }

    /// Adds a work tree with its index, and the references that it has for itself, such as those of a bisection.
    fn add(&mut self, git: Git, other: Option<WorkTreeEntry>) -> Result<(), Error> {
        let explain = |error: GitError| match &other {
            Some(other) => unreadable(other, &error),
            None => error.into(),
        };
        let index = git.tracked().map_err(explain)?;
        for (name, tip) in git.tips_below(REFERENCES).map_err(explain)? {
            let location = format!("at {REFERENCES}{name} of this clone");
            self.commits.push((tip, location));
        }
        for (commit, name) in git.unfinished_commits().map_err(explain)? {
            self.heads.push(commit);
            self.commits
                .push((commit, format!("at {name} of this clone")));
        }
        self.trees.push(Checkout { git, index, other });
        Ok(())
    }
}

impl Checkout {
    /// The location of its files.
    pub(super) fn location(&self) -> String {
        match &self.other {
            None => "in the work tree".to_owned(),
            Some(other) => format!("in the work tree {}", other.path.display()),
        }
    }

    /// The location of the contents of its index.
    pub(super) fn index_location(&self) -> String {
        match &self.other {
            None => "in the index".to_owned(),
            Some(other) => format!("in the index of the work tree {}", other.path.display()),
        }
    }

    /// The error of reading its files.
    pub(super) fn error(&self, error: Error) -> Error {
        match &self.other {
            None => error,
            Some(other) => unreadable(other, &error.message),
        }
    }
}

/// Whether a path does not exist.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Opens the work tree; `None` if it has no files. `own_directory`: repin's directory in the clone.
fn open(entry: &WorkTreeEntry, own_directory: &Path) -> Result<Option<Git>, Error> {
    if entry.is_bare {
        return Ok(None);
    }
    if entry.is_prunable {
        // Without the permission to read a directory, git considers it removed as well.
        return match fs::symlink_metadata(&entry.path) {
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(unreadable(entry, &error)),
            Ok(_) => Err(unreadable(entry, &"its .git is missing")),
        };
    }
    let git = Git::open(&entry.path).map_err(|error| unreadable(entry, &error))?;
    let path = fs::canonicalize(&entry.path).map_err(|error| unreadable(entry, &error))?;
    if git.top() != path {
        return Err(unreadable(entry, &"its .git is missing"));
    }
    let directory = git.own_directory();
    if directory.map_err(|error| unreadable(entry, &error))? != *own_directory {
        return Err(unreadable(entry, &"it belongs to another repository"));
    }
    Ok(Some(git))
}

/// The refusal, because nothing else shows what the work tree pins.
fn unreadable(entry: &WorkTreeEntry, reason: &dyn fmt::Display) -> Error {
    let path = shell(&entry.path.to_string_lossy());
    let message = format!(
        "cannot determine what the work tree {} protects: {reason}",
        entry.path.display()
    );
    let help = if entry.is_main {
        "make it readable, or run the command there".to_owned()
    } else if entry.is_locked {
        format!("make it readable, or remove it: git worktree unlock {path} && git worktree prune")
    } else {
        "make it readable (after a move: git worktree repair PATH), or remove it: git worktree prune"
            .to_owned()
    };
    Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help)
}

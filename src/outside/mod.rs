//! What names an image in the tree beside its counted pins.
//!
//! Of a work tree: every regular file that git tracks beneath the root, or, without git, every file
//! that is not ignored; of a commit: every regular file in its tree. What another configuration
//! beneath the root covers, and OCI image layouts, are left out. What could not be looked at is
//! part of the result.

mod commit;

pub use commit::commit;

use std::path::{Path, PathBuf};

use super::git::{self, GitError, TrackedFile};
use crate::{
    config::{Config, FILE_NAME, OutsidePolicy, RelPath},
    files::{ReadError, WorkTree, survey_all},
    pins::{self, Beside, Foreign, Found, Located, Rest, Searches, Sighting, Unpinned},
};

/// The file that makes a directory an OCI image layout.
const LAYOUT: &[u8] = b"oci-layout";

/// Pins and digests outside of counted pins.
#[derive(Debug, Default)]
pub struct Outside {
    /// Digests that no pin accounts for.
    pub sightings: Vec<Located<Sighting>>,
    /// Pins of repositories of the same owner that no image declares; only if it was requested.
    pub undeclared: Vec<Located<Sighting>>,
    /// References by tag alone; only if it was requested.
    pub unpinned: Vec<Located<Unpinned>>,
    /// What could not be looked at.
    pub unseen: Vec<Unreadable>,
    /// How many files were searched.
    pub files: usize,
}

/// Something that could not be looked at, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// A file; `None`: the tree.
    pub file: Option<String>,
    /// Why not.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Which files of a work tree are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that git tracks.
    Tracked,
    /// Also those that count: they are about to be changed, tracked or not.
    Counted,
    /// Also those that could be added.
    Addable,
}

/// What git says about a work tree.
struct WorkTreeState {
    tree: WorkTree,
    /// `None` without git.
    tracked: Option<Vec<TrackedFile>>,
    unseen: Option<Unreadable>,
}

/// The files of the root that count: without those that git ignores and does not track, unless the
/// configuration includes them.
pub fn work_tree(config: &Config) -> WorkTree {
    without_ignored(&config.root, &directories(config))
}

/// The same before there is a configuration.
pub fn work_tree_at(root: &Path) -> WorkTree {
    without_ignored(root, &[PathBuf::new()])
}

fn without_ignored(root: &Path, directories: &[PathBuf]) -> WorkTree {
    let tree = WorkTree::new(root);
    if directories.is_empty() || !is_in_repository(root) {
        return tree;
    }
    // If git fails, nothing is left out: more files count, and none is missed.
    tree.without(git::ignored(root, directories).unwrap_or_default())
}

/// Whether there is a `.git` in the root or above: without one no command is needed to learn that
/// there is no repository.
fn is_in_repository(root: &Path) -> bool {
    root.ancestors()
        .any(|directory| directory.join(".git").exists())
}

/// Searches the work tree: pins in the files that count, and what names an image anywhere else.
/// `loose`: also references by tag alone, and images that are not declared.
pub fn look(config: &Config, scope: Scope, loose: bool) -> Result<(Found, Outside), ReadError> {
    let around = surroundings(&config.root, &directories(config));
    let searches = Searches {
        outside: config.outside.policy != OutsidePolicy::Ignore,
        loose,
    };
    let mut outside = Outside::default();
    let mut sparse = Vec::new();
    let rest = if searches.outside {
        outside.unseen.extend(around.unseen);
        rest(config, scope, around.tracked, &mut outside, &mut sparse)
    } else {
        Rest::default()
    };
    sparse.retain(|file| leaves_in(&rest.foreign, config, &file.path));
    let (found, beside) = pins::sweep(&around.tree, config, rest, searches)?;
    outside.take(beside);
    if !sparse.is_empty() {
        commit::sparse(config, &found, sparse, &mut outside);
    }
    Ok((found, outside))
}

impl Outside {
    fn take(&mut self, beside: Beside) {
        self.sightings = beside.outside;
        self.undeclared = beside.undeclared;
        self.unpinned = beside.unpinned;
        self.files = beside.files;
        let unread = beside.unread.into_iter().map(|error| Unreadable {
            file: Some(error.path),
            reason: error.error.to_string(),
            hint: None,
        });
        self.unseen.extend(unread);
    }
}

impl Unreadable {
    /// That the tree could not be listed.
    fn tree(reason: String, hint: String) -> Self {
        Self {
            file: None,
            reason,
            hint: Some(hint),
        }
    }
}

/// Whether a file is searched for digests outside of pins.
fn leaves_in(foreign: &Foreign, config: &Config, path: &RelPath) -> bool {
    !foreign.holds(path) && !config.outside.ignore.matches(path.as_path())
}

/// Marks the directories that belong to something else.
fn foreign<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> Foreign {
    let mut foreign = Foreign::default();
    for path in paths {
        let name = path.as_path().file_name().unwrap_or_default();
        let name = name.as_encoded_bytes();
        if name == LAYOUT || name == FILE_NAME.as_bytes() {
            foreign.add_directory_of(path);
        }
    }
    foreign
}

/// The directories in which it matters what git ignores.
fn directories(config: &Config) -> Vec<PathBuf> {
    if config.ignored_files {
        Vec::new()
    } else {
        config.scanned.literal_directories().collect()
    }
}

/// What git says of the work tree; what it ignores only beneath `directories`.
fn surroundings(root: &Path, directories: &[PathBuf]) -> WorkTreeState {
    let tree = WorkTree::new(root);
    let without_git = |tree| WorkTreeState {
        tree,
        tracked: None,
        unseen: None,
    };
    if !is_in_repository(root) {
        return without_git(tree);
    }
    match git::tracking(root, directories) {
        Ok(tracking) => WorkTreeState {
            tree: tree.without(tracking.ignored),
            tracked: Some(tracking.tracked),
            unseen: None,
        },
        Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
            without_git(tree)
        }
        Err(error) => WorkTreeState {
            unseen: Some(Unreadable::tree(
                format!("cannot list the files that git tracks: {error}"),
                error.hint(),
            )),
            ..without_git(tree)
        },
    }
}

/// Which files are searched beside those that count; those that a sparse checkout leaves out go
/// into `sparse`.
fn rest(
    config: &Config,
    scope: Scope,
    tracked: Option<Vec<TrackedFile>>,
    outside: &mut Outside,
    sparse: &mut Vec<TrackedFile>,
) -> Rest {
    let Some(tracked) = tracked else {
        let survey = survey_all(&config.root);
        let unread = survey.unread.into_iter().map(|error| Unreadable {
            file: Some(error.path),
            reason: error.error.to_string(),
            hint: None,
        });
        outside.unseen.extend(unread);
        let files = survey.files.into_iter().chain(survey.unnameable);
        // Nothing is tracked: what counts is searched whatever the scope.
        return all(files.collect(), Scope::Counted);
    };
    let mut files = Vec::with_capacity(tracked.len());
    for file in tracked {
        // If the checkout has the file anyway, the work tree is read.
        if file.sparse.is_some() && !config.root.join(file.path.as_path()).exists() {
            sparse.push(file);
        } else {
            files.push(file.path);
        }
    }
    if scope == Scope::Addable {
        match git::untracked(&config.root) {
            Ok(untracked) => files.extend(untracked),
            Err(error) => outside.unseen.push(Unreadable::tree(
                format!("cannot list the files that git does not track: {error}"),
                error.hint(),
            )),
        }
    }
    let mut rest = all(files, scope);
    for file in sparse.iter() {
        rest.foreign.merge(foreign([&file.path]));
    }
    rest
}

/// These files, sorted, and the directories that belong to something else among them.
fn all(mut files: Vec<RelPath>, scope: Scope) -> Rest {
    files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let foreign = foreign(&files);
    Rest {
        files,
        counted: scope != Scope::Tracked,
        foreign,
    }
}

//! What names an image in the tree beside its counted pins.
//!
//! Of a work tree: every regular file that git tracks beneath the root, or, without git, every file
//! that is not ignored; of a commit: every regular file in its tree. The pins that another
//! configuration beneath the root counts, and the files of OCI image layouts, are left out. What
//! could not be looked at is part of the result.

mod commit;
mod layouts;
mod nested;

pub use commit::commit;

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::git::{self, Git, GitError, ObjectId, TrackedFile};
use crate::{
    config::{Config, OutsidePolicy, RelPath},
    files::{Files, ReadError, WorkTree, survey_all},
    pins::{self, Beside, Found, Layouts, Located, Lookout, Rest, Searches, Sighting, Unpinned},
};

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

/// The tree that is searched, for the few files whose content decides what else is reported.
trait Contents {
    /// A regular file, if it has at most `most` bytes and can be read.
    fn read(&mut self, path: &RelPath, most: u64) -> Option<Vec<u8>>;

    /// Whether there is a file with the name of a chart at a path.
    fn has_chart(&self, path: &Path) -> bool;
}

/// The files of a work tree, and those that a sparse checkout leaves out of it.
struct TreeContents<'t> {
    tree: &'t WorkTree,
    sparse: HashMap<RelPath, ObjectId>,
    git: Option<Git>,
}

impl<'t> TreeContents<'t> {
    fn new(tree: &'t WorkTree, sparse: &[TrackedFile]) -> Self {
        let blob = |file: &TrackedFile| Some((file.path.clone(), file.sparse?));
        let sparse: HashMap<_, _> = sparse.iter().filter_map(blob).collect();
        let git = (!sparse.is_empty()).then(|| Git::open(tree.root()).ok());
        let git = git.flatten();
        Self { tree, sparse, git }
    }
}

impl Contents for TreeContents<'_> {
    fn read(&mut self, path: &RelPath, most: u64) -> Option<Vec<u8>> {
        if let Some(id) = self.sparse.get(path) {
            let mut objects = self.git.as_ref()?.objects(|_| Ok(None::<()>)).ok()?;
            return objects.blob(*id, most).ok()?;
        }
        let mut bytes = Vec::new();
        let file = self.tree.open(path).ok()?;
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= most).then_some(bytes)
    }

    fn has_chart(&self, path: &Path) -> bool {
        let is_sparse = || RelPath::new(path).is_ok_and(|path| self.sparse.contains_key(&path));
        Files::has_chart(self.tree, path) || is_sparse()
    }
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
    let mut contents = TreeContents::new(&around.tree, &[]);
    let (mut rest, mut configs) = (Rest::default(), Vec::new());
    if searches.outside {
        outside.unseen.extend(around.unseen);
        rest = others(config, scope, around.tracked, &mut outside, &mut sparse);
        let sparse_paths = sparse.iter().map(|file| &file.path);
        let all: Vec<_> = rest.files.iter().chain(sparse_paths).collect();
        contents = TreeContents::new(&around.tree, &sparse);
        let layouts = layouts::find(&all, &mut contents);
        configs = nested::configurations(&all);
        rest.layouts = layouts;
    }
    sparse.retain(|file| leaves_in(&rest.layouts, config, &file.path));
    let (found, beside) = pins::sweep(&around.tree, config, rest, searches)?;
    outside.take(beside);
    if !sparse.is_empty() {
        commit::sparse(config, &found, sparse, &mut outside);
    }
    nested::leave_out(
        &configs,
        &config.root,
        &mut contents,
        &mut outside.sightings,
    );
    Ok((found, outside))
}

/// Searches the files that count for references by tag alone.
pub fn unpinned(files: &dyn Files, config: &Config) -> Result<Vec<Located<Unpinned>>, ReadError> {
    let lookout = Lookout::new(config);
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for path in files.list(&config.scanned)?.files {
        let in_file = lookout.unpinned_in(files.open(&path)?, &mut buffer);
        let in_file = in_file.map_err(|error| ReadError {
            path: path.to_string(),
            error,
        })?;
        let file = Arc::new(path);
        found.extend(in_file.into_iter().map(|what| Located {
            file: Arc::clone(&file),
            what,
        }));
    }
    Ok(found)
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
fn leaves_in(layouts: &Layouts, config: &Config, path: &RelPath) -> bool {
    !layouts.holds(path) && !config.outside.ignore.matches(path.as_path())
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

/// Which files are searched in addition to those that count; those that a sparse checkout leaves out go
/// into `sparse`.
fn others(
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
    all(files, scope)
}

/// These files, sorted.
fn all(mut files: Vec<RelPath>, scope: Scope) -> Rest {
    files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Rest {
        files,
        counted: scope != Scope::Tracked,
        layouts: Layouts::default(),
    }
}

//! Digests in the tracked files of a repository that no rule counts as pins.
//!
//! The search covers every regular file that git tracks in the root of the configuration (without
//! git: every file that is not ignored), or every regular file in the tree of a commit. It leaves out
//! the pins that another configuration in the root counts, and the files of OCI image layouts. The
//! files that cannot be read are part of the result. The pins of the configuration itself are found in
//! [`pins`](crate::pins) before.

mod commit;
mod layouts;
mod nested;

pub use commit::commit;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::git::{self, Git, GitError, ObjectId, TrackedFile};
use crate::{
    config::{Config, OutsidePolicy, RelPath},
    files::{Files, WorkTree, survey_all},
    oci::Digest,
    outside::layouts::Layouts,
    pins::{Found, Located, Occurrence, OccurrenceFinder, OccurrenceKind},
};

/// The digests that no rule counts.
#[derive(Debug, Default)]
pub struct Outside {
    /// Pinned digests, and digests of configured images, that are not pins.
    pub occurrences: Vec<Located<Occurrence>>,
    /// Digests of undeclared repositories of the same owners, in the files of `files:`.
    pub undeclared: Vec<Located<Occurrence>>,
    /// Files and trees that cannot be read.
    pub unread: Vec<Unreadable>,
    /// The number of files that were searched.
    pub files: usize,
}

/// A file or a tree that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// `None`: the tree.
    pub file: Option<String>,
    /// The reason.
    pub reason: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// The files of a work tree that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The tracked files.
    Tracked,
    /// Also the files of `files:`, tracked or not: they are about to be changed.
    Counted,
    /// Also the untracked files that git does not ignore.
    Addable,
}

/// Access to the few files whose content decides which occurrences are reported.
trait Contents {
    /// The content of a regular file with at most `most` bytes.
    fn read(&mut self, path: &RelPath, most: u64) -> Option<Vec<u8>>;

    /// Whether a file with the name of a chart exists at a path.
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
        let git = if sparse.is_empty() {
            None
        } else {
            Git::open(tree.root()).ok()
        };
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

/// The work tree of a configuration, with git's list of tracked files.
pub struct TrackedTree {
    files: WorkTree,
    /// `None` without git.
    tracked: Option<Vec<TrackedFile>>,
    unread: Option<Unreadable>,
}

impl TrackedTree {
    /// Lists the tracked files of the root. A failure of git is reported by [`TrackedTree::search`].
    pub fn open(config: &Config) -> Self {
        let files = WorkTree::new(&config.root);
        let without_git = |unread| Self {
            files: files.clone(),
            tracked: None,
            unread,
        };
        if !git::is_in_repository(&config.root) {
            return without_git(None);
        }
        match git::tracking(&config.root, &git::searched_directories(config)) {
            Ok(tracking) => Self {
                files: files.without(tracking.ignored),
                tracked: Some(tracking.tracked),
                unread: None,
            },
            Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
                without_git(None)
            }
            Err(error) => without_git(Some(Unreadable::tree(
                format!("cannot list the files that git tracks: {error}"),
                error.hint(),
            ))),
        }
    }

    /// The files without those that git ignores, as in [`git::work_tree`].
    pub fn files(&self) -> &WorkTree {
        &self.files
    }

    /// Searches for digests that are not pins; `found` are the pins of the same work tree.
    pub fn search(self, config: &Config, found: &Found, scope: Scope) -> Outside {
        let mut outside = Outside::default();
        if config.outside == OutsidePolicy::Ignore {
            search_files(&self.files, config, found, &[], &mut outside);
            return outside;
        }
        outside.unread.extend(self.unread);
        let (mut files, mut sparse) = (Vec::new(), Vec::new());
        let is_tracked = self.tracked.is_some();
        if let Some(tracked) = self.tracked {
            for file in tracked {
                // A file of a sparse checkout may exist in the work tree all the same.
                if file.sparse.is_some() && !config.root.join(file.path.as_path()).exists() {
                    sparse.push(file);
                } else {
                    files.push(file.path);
                }
            }
            if scope == Scope::Addable {
                match git::untracked(&config.root) {
                    Ok(untracked) => files.extend(untracked),
                    Err(error) => outside.unread.push(Unreadable::tree(
                        format!("cannot list the files that git does not track: {error}"),
                        error.hint(),
                    )),
                }
            }
        } else {
            let survey = survey_all(&config.root);
            for error in survey.unread {
                let unread = Unreadable::file(&error.path, &error.error);
                outside.unread.push(unread);
            }
            files.extend(survey.files);
            files.extend(survey.unnameable);
        }
        let all: Vec<_> = files
            .iter()
            .chain(sparse.iter().map(|file| &file.path))
            .collect();
        let mut contents = TreeContents::new(&self.files, &sparse);
        let layouts = layouts::find(&all, &mut contents);
        let configs = nested::configurations(&all);
        // Without git nothing is tracked, so the files of `files:` are searched in every scope.
        if scope != Scope::Tracked || !is_tracked {
            files.extend(found.files.iter().cloned());
        }
        files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        files.dedup();
        files.retain(|path| is_searched(&layouts, config, path));
        sparse.retain(|file| is_searched(&layouts, config, &file.path));
        search_files(&self.files, config, found, &files, &mut outside);
        if !sparse.is_empty() {
            commit::sparse(config, found, sparse, &mut outside);
        }
        nested::leave_out(&configs, config, &mut contents, &mut outside.occurrences);
        outside
    }
}

/// Searches `files` for digests outside of pins, and selects those of the files of `files:`, which were
/// found together with the pins.
fn search_files(
    tree: &WorkTree,
    config: &Config,
    found: &Found,
    files: &[RelPath],
    outside: &mut Outside,
) {
    outside.files += files.len();
    let finder = OccurrenceFinder::new(config);
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.what.digest).collect();
    let counted: HashSet<&RelPath> = found.files.iter().collect();
    let others = files.iter().filter(|path| !counted.contains(path));
    let others: Vec<RelPath> = others.cloned().collect();
    let results = Mutex::new(Vec::new());
    let visited = tree.visit(&others, &|number, opened, buffer| {
        let found = opened.and_then(|opened| {
            finder.digests(opened.content, buffer, |kind, digest| {
                is_outside(kind, digest, &pinned)
            })
        });
        if !matches!(&found, Ok(found) if found.is_empty()) {
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((number, found));
        }
    });
    if let Err(error) = visited {
        outside
            .unread
            .push(Unreadable::file(&error.path, &error.error));
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    for (number, result) in results {
        let path = &others[number];
        match result {
            Ok(found) => outside.occurrences.extend(located(path, found)),
            // The file was deleted after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => outside
                .unread
                .push(Unreadable::file(&path.to_string(), &error)),
        }
    }
    let searched: HashSet<&RelPath> = files.iter().collect();
    for occurrence in &found.other_digests {
        let Occurrence { kind, digest, .. } = &occurrence.what;
        if searched.contains(&*occurrence.file) && is_outside(kind, digest, &pinned) {
            outside.occurrences.push(occurrence.clone());
        } else if matches!(kind, OccurrenceKind::SameOwner(_)) {
            outside.undeclared.push(occurrence.clone());
        }
    }
    outside.sort();
}

/// Whether a digest that is not a pin is a problem.
fn is_outside(kind: &OccurrenceKind, digest: &Digest, pinned: &HashSet<Digest>) -> bool {
    match kind {
        OccurrenceKind::Image(_) | OccurrenceKind::Utf16Image(_) | OccurrenceKind::Mirror(..) => {
            true
        }
        OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare => pinned.contains(digest),
    }
}

/// The occurrences in a file, each with the file.
fn located(
    path: &RelPath,
    occurrences: Vec<Occurrence>,
) -> impl Iterator<Item = Located<Occurrence>> {
    let file = Arc::new(path.clone());
    occurrences.into_iter().map(move |what| Located {
        file: Arc::clone(&file),
        what,
    })
}

impl Outside {
    /// Sorts the occurrences by the bytes of their paths.
    fn sort(&mut self) {
        self.occurrences
            .sort_by(|a, b| a.file.as_bytes().cmp(b.file.as_bytes()));
    }
}

impl Unreadable {
    /// A tree that cannot be listed.
    fn tree(reason: String, hint: String) -> Self {
        Self {
            file: None,
            reason,
            hint: Some(hint),
        }
    }

    fn file(path: &str, error: &io::Error) -> Self {
        Self {
            file: Some(path.to_owned()),
            reason: error.to_string(),
            hint: None,
        }
    }
}

/// Whether a file is searched for digests outside of pins.
fn is_searched(layouts: &Layouts, config: &Config, path: &RelPath) -> bool {
    !layouts.contains(path) && !config.outside_ignore.matches(path.as_path())
}

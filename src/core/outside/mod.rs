//! Digests in the tracked files of a repository that no rule counts as pins.
//!
//! The search covers every regular file that git tracks in the root of the configuration (without
//! git: every file that is not ignored), or every regular file in the tree of a commit. It excludes
//! the pins that another configuration of the repository counts, and the files of OCI image
//! layouts. The unreadable files are part of the result, and so are the pins that two
//! configurations count. The pins of the configuration itself are found in [`pins`](crate::core::pins)
//! before.

mod commit;

pub(crate) use commit::{SharedTree, Union, commit};

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    base::files::{Files, OpenDirectory, RelPath, Snapshot, WorkTree, survey_all},
    config::{Config, OutsidePolicy, SetPath},
    core::{
        configurations::{self, Contents, OtherConfigurations, OtherPins, is_left_out},
        pins::{FoundPins, Located, Occurrence, OccurrenceKind, OtherDigestFinder},
    },
    git::{self, Git, GitError, ObjectId, TrackedFile},
    oci::{Digest, Repository},
};
use commit::{Layouts, ListedConfigurations};

/// The digests that no rule counts.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// Pinned digests, and digests of configured images, that are not pins.
    pub(crate) occurrences: Vec<Located<Occurrence>>,
    /// Digests of undeclared repositories of the same owners, in the files of `files:`, each with its
    /// repository.
    pub(crate) undeclared: Vec<(Repository, Located<Occurrence>)>,
    /// Files and trees that cannot be read.
    pub(crate) unread: Vec<Unreadable>,
    /// The number of files that were searched.
    pub(crate) files: usize,
    /// The tracked files that `files:` matches and the sparse checkout leaves out.
    pub(crate) left_out: HashSet<RelPath>,
    /// The pins of this set that other sets count too.
    pub(crate) shared: Vec<SharedPin>,
    /// Configuration files that may count pins of this set and cannot be read.
    pub(crate) unread_configurations: Vec<Unreadable>,
    /// The number of other configuration files in the repository.
    pub(crate) configurations: usize,
}

/// A pin that another set counts too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedPin {
    /// The index of the pin among those of this set.
    pub(crate) pin: usize,
    pub(crate) set: SetPath,
}

/// A file or a tree that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// `None`: the tree.
    pub(crate) file: Option<String>,
    pub(crate) reason: String,
    /// The remedy.
    pub(crate) hint: Option<String>,
}

/// The files of a work tree that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The tracked files.
    Tracked,
    /// Also the files of `files:`, tracked or not: they are about to be changed.
    Counted,
    /// Also the untracked files that git does not ignore.
    Addable,
}

/// The files of a work tree, and those outside of its sparse checkout.
struct TreeContents {
    /// The work tree from the top of the repository; without git, from the root.
    tree: WorkTree,
    /// Its top; `None` before the first file.
    top: Option<OpenDirectory>,
    /// The files that the search read.
    kept: KeptFiles,
    sparse: HashMap<RelPath, ObjectId>,
    root: PathBuf,
    is_tracked: bool,
}

/// Whether a file exists at a path from the root.
type Exists<'e> = dyn Fn(&Path) -> bool + Sync + 'e;

/// The contents of files by their paths from the top, until they are requested.
#[derive(Default)]
struct KeptFiles {
    contents: HashMap<RelPath, Vec<u8>>,
    size: usize,
}

impl KeptFiles {
    /// The maximum size of all contents, in bytes.
    const MAX_SIZE: usize = 16 * 1024 * 1024;

    /// Keeps a content that does not exceed the maximum.
    fn add(&mut self, path: RelPath, content: &[u8]) {
        let size = self.size + content.len();
        if size <= Self::MAX_SIZE {
            self.size = size;
            self.contents.insert(path, content.to_owned());
        }
    }
}

impl TreeContents {
    /// The paths of `sparse` begin at the top of the repository.
    fn new(config: &Config, sparse: HashMap<RelPath, ObjectId>, is_tracked: bool) -> Self {
        Self {
            tree: WorkTree::new(&config.top()),
            top: None,
            kept: KeptFiles::default(),
            sparse,
            root: config.root.clone(),
            is_tracked,
        }
    }
}

/// The content of an object with at most `most` bytes.
fn read_blob(git: &Git, id: ObjectId, most: u64) -> Result<Vec<u8>, String> {
    git.blob(id, most)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| too_large(most))
}

fn too_large(most: u64) -> String {
    format!("it is larger than {most} bytes")
}

/// The path of a file below the root, from the top of the repository.
fn from_top(config: &Config, file: &RelPath) -> RelPath {
    let path = config.set_path.directory().join(file.as_path());
    RelPath::new(&path).unwrap_or_else(|_| file.clone())
}

impl Contents for TreeContents {
    fn read(&mut self, path: &RelPath, most: u64) -> Result<Vec<u8>, String> {
        // A kept file is smaller than any limit, since the search read it as one block.
        if let Some(content) = self.kept.contents.remove(path) {
            return Ok(content);
        }
        if let Some(id) = self.sparse.get(path) {
            let git = Git::open(&self.root).map_err(|error| error.to_string())?;
            return read_blob(&git, *id, most);
        }
        let top = match &mut self.top {
            Some(top) => top,
            top => top.insert(self.tree.beneath().map_err(|error| error.to_string())?),
        };
        let (file, metadata) = top.open(path).map_err(|error| error.to_string())?;
        let expected = usize::try_from(metadata.len().min(most)).unwrap_or_default();
        // With one more byte, the end of the file is found without a larger buffer.
        let mut bytes = Vec::with_capacity(expected + 1);
        let read = file.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > most {
            return Err(too_large(most));
        }
        Ok(bytes)
    }

    fn has_chart(&self, path: &Path) -> bool {
        let is_sparse = || RelPath::new(path).is_ok_and(|path| self.sparse.contains_key(&path));
        Files::has_chart(&self.tree, path) || is_sparse()
    }

    fn is_ignored(&self, path: &RelPath) -> Result<bool, String> {
        if !self.is_tracked {
            return Ok(false);
        }
        let ignored = git::is_ignored(self.tree.root(), path);
        ignored.map_err(|error| format!("cannot determine whether git ignores {path}: {error}"))
    }
}

/// The work tree of a configuration, with the list of its files.
pub(crate) struct TrackedTree {
    files: WorkTree,
    listed: FileList,
    configurations: Arc<ListedConfigurations>,
    /// The cause of a missing list of git.
    unread: Option<Unreadable>,
}

/// The files of a work tree, by their paths from the root.
enum FileList {
    ByGit(Vec<TrackedFile>),
    WithoutGit {
        files: Vec<RelPath>,
        unread: Vec<Unreadable>,
    },
}

impl TrackedTree {
    /// The files of a set, from a listing for several sets unless they must be listed for this set only.
    pub(crate) fn from_shared(config: &Config, shared: &SharedTree) -> Self {
        match shared
            .tracking
            .of(&config.root, &config.searched_directories())
        {
            Ok(Some(tracking)) => Self {
                files: WorkTree::new(&config.root).without(tracking.ignored),
                listed: FileList::ByGit(tracking.tracked),
                configurations: Arc::clone(&shared.configurations),
                unread: None,
            },
            Ok(None) | Err(_) => Self::open(config),
        }
    }

    /// Lists the tracked files of the root. A failure of git is reported by [`TrackedTree::search`].
    pub(crate) fn open(config: &Config) -> Self {
        let files = WorkTree::new(&config.root);
        match git::tracking(&config.root, &config.searched_directories()) {
            Ok(tracking) => Self {
                files: files.without(tracking.ignored),
                listed: FileList::ByGit(tracking.tracked),
                configurations: Arc::new(ListedConfigurations::new(tracking.configurations)),
                unread: None,
            },
            Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
                Self::without_git(config, files, None)
            }
            Err(error) => {
                let reason = format!("cannot list the files that git tracks: {error}");
                let unread = Unreadable::tree(reason, error.hint());
                Self::without_git(config, files, Some(unread))
            }
        }
    }

    fn without_git(config: &Config, files: WorkTree, unread: Option<Unreadable>) -> Self {
        let survey = survey_all(&config.root, usize::MAX);
        let mut configurations = Vec::new();
        for file in configurations::of_survey(&survey, &config.root) {
            configurations.push(TrackedFile {
                path: from_top(config, &file),
                sparse: None,
            });
        }
        let unread_files = survey
            .unread
            .iter()
            .map(|error| Unreadable::file(&error.path, &error.error));
        let listed = FileList::WithoutGit {
            unread: unread_files.collect(),
            files: [survey.files, survey.unnameable].concat(),
        };
        Self {
            files,
            listed,
            configurations: Arc::new(ListedConfigurations::new(configurations)),
            unread,
        }
    }

    /// The files without those that git ignores, as in [`git::work_tree`].
    pub(crate) fn files(&self) -> &WorkTree {
        &self.files
    }

    /// The files that `files:` matches and the sparse checkout leaves out.
    pub(crate) fn left_out(&self, config: &Config) -> HashSet<RelPath> {
        let mut left_out = HashSet::new();
        if let FileList::ByGit(tracked) = &self.listed {
            for file in tracked {
                if file.sparse.is_some()
                    && Snapshot::lists(&config.scanned, &file.path)
                    && is_left_out(file, &config.root)
                {
                    left_out.insert(file.path.clone());
                }
            }
        }
        left_out
    }

    /// Searches for digests that are not pins, and for pins that other sets also count; `found` are the
    /// pins of the same work tree.
    pub(crate) fn search(self, config: &Config, found: &FoundPins, scope: Scope) -> Outside {
        let mut outside = Outside::default();
        outside.unread_configurations.extend(self.unread.clone());
        let configurations = self.configurations.existing(&config.top());
        let mut sparse_contents = configurations.left_out.clone();
        let is_tracked = matches!(self.listed, FileList::ByGit(_));
        outside.left_out = self.left_out(config);
        let (mut files, mut sparse) = (Vec::new(), Vec::new());
        if config.outside != OutsidePolicy::Ignore {
            outside.unread.extend(self.unread);
            (files, sparse) = searched_files(config, self.listed, scope, &mut outside);
        }
        for file in &sparse {
            let id = file.sparse.map(|id| (from_top(config, &file.path), id));
            sparse_contents.extend(id);
        }
        let mut contents = TreeContents::new(config, sparse_contents, is_tracked);
        if config.outside != OutsidePolicy::Ignore {
            let all: Vec<_> = files
                .iter()
                .chain(sparse.iter().map(|file| &file.path))
                .collect();
            let layouts = commit::find(&all, &mut |path, most| {
                contents.read(&from_top(config, path), most).ok()
            });
            // Without git no file is tracked, so the files of `files:` are searched in every scope.
            if scope != Scope::Tracked || !is_tracked {
                files.extend(found.files.iter().cloned());
            }
            files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            files.dedup();
            files.retain(|path| is_searched(&layouts, config, path));
            sparse.retain(|file| {
                outside.left_out.contains(&file.path) || is_searched(&layouts, config, &file.path)
            });
        }
        let exists = |path: &Path| contents.has_chart(&config.set_path.directory().join(path));
        let kept = search_files(&self.files, config, found, &files, &exists, &mut outside);
        if !sparse.is_empty() {
            commit::sparse(config, found, sparse, &exists, &mut outside);
        }
        contents.kept = kept;
        let others = OtherConfigurations::new(config, Arc::clone(&configurations.files));
        add_other_sets(&others, found, &mut contents, &mut outside);
        outside
    }
}

/// The files of the scope, and those outside of the sparse checkout, by their paths from the root.
fn searched_files(
    config: &Config,
    listed: FileList,
    scope: Scope,
    outside: &mut Outside,
) -> (Vec<RelPath>, Vec<TrackedFile>) {
    let (mut files, mut sparse) = (Vec::new(), Vec::new());
    let tracked = match listed {
        FileList::ByGit(tracked) => tracked,
        FileList::WithoutGit { files, unread } => {
            outside.unread.extend(unread);
            return (files, sparse);
        }
    };
    for file in tracked {
        if is_left_out(&file, &config.root) {
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
    (files, sparse)
}

/// Removes the digests that are pins of other sets, and adds the pins that other sets also count.
fn add_other_sets(
    others: &OtherConfigurations<'_>,
    found: &FoundPins,
    contents: &mut dyn Contents,
    outside: &mut Outside,
) {
    outside.configurations = others.count();
    let undeclared = outside.undeclared.iter().map(|(_, occurrence)| occurrence);
    let digests = outside.occurrences.iter().chain(undeclared);
    let files = digests.map(|occurrence| &occurrence.file);
    let mut in_files: HashMap<Arc<RelPath>, OtherPins> = HashMap::new();
    for file in files.chain(found.pins().iter().map(|pin| &pin.file)) {
        in_files
            .entry(Arc::clone(file))
            .or_insert_with(|| others.pins_in(file, contents));
    }
    let is_uncounted = |occurrence: &Located<Occurrence>| {
        let mut counted = in_files[&*occurrence.file].counted.iter();
        !counted.any(|(_, offsets)| offsets.contains(&occurrence.item.offset))
    };
    outside.occurrences.retain(is_uncounted);
    let undeclared = &mut outside.undeclared;
    undeclared.retain(|(_, occurrence)| is_uncounted(occurrence));
    let mut unknown: BTreeMap<&SetPath, &String> = BTreeMap::new();
    for (index, pin) in found.pins().iter().enumerate() {
        let others = &in_files[&*pin.file];
        for (set, offsets) in &others.counted {
            if offsets.contains(&pin.item.offset) {
                outside.shared.push(SharedPin {
                    pin: index,
                    set: set.clone(),
                });
            }
        }
        unknown.extend(others.unknown.iter().map(|(set, reason)| (set, reason)));
    }
    for (set, reason) in unknown {
        outside.unread_configurations.push(Unreadable {
            file: Some(set.to_string()),
            reason: reason.clone(),
            hint: None,
        });
    }
}

/// Searches files for digests outside of pins, and selects those of the files of `files:`, which were
/// found together with the pins. Returns files with such digests, which need not be read again.
fn search_files(
    tree: &WorkTree,
    config: &Config,
    found: &FoundPins,
    files: &[RelPath],
    exists: &Exists<'_>,
    outside: &mut Outside,
) -> KeptFiles {
    outside.files += files.len();
    let finder = OtherDigestFinder::new(config);
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.item.digest).collect();
    let counted: HashSet<&RelPath> = found.files.iter().collect();
    let others: Vec<RelPath> = files
        .iter()
        .filter(|path| !counted.contains(path))
        .cloned()
        .collect();
    let results = Mutex::new(BTreeMap::new());
    let kept = Mutex::new(KeptFiles::default());
    let visited = tree.visit(&others, &|number, opened, buffer| {
        let found = opened.and_then(|opened| {
            let places = finder.places_of(&others[number], exists);
            finder.in_file(opened.content, buffer, &places, |kind, digest| {
                is_outside(kind, digest, &pinned)
            })
        });
        if !matches!(&found, Ok(found) if found.occurrences.is_empty()) {
            if found.as_ref().is_ok_and(|found| found.is_buffered) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.add(from_top(config, &others[number]), buffer);
            }
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.insert(number, found);
        }
    });
    if let Err(error) = visited {
        outside
            .unread
            .push(Unreadable::file(&error.path, &error.error));
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (number, result) in results {
        let path = &others[number];
        match result {
            Ok(found) => outside.occurrences.extend(located(path, found.occurrences)),
            // The file was deleted after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => outside
                .unread
                .push(Unreadable::file(&path.to_string(), &error)),
        }
    }
    let searched: HashSet<&RelPath> = files.iter().collect();
    for occurrence in &found.other_digests {
        let Occurrence { kind, digest, .. } = &occurrence.item;
        if searched.contains(&*occurrence.file) && is_outside(kind, digest, &pinned) {
            outside.occurrences.push(occurrence.clone());
        } else if let OccurrenceKind::SameOwner(repository) = kind {
            let repository = repository.clone();
            outside.undeclared.push((repository, occurrence.clone()));
        }
    }
    outside.sort();
    kept.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a digest that is not a pin is a problem.
fn is_outside(kind: &OccurrenceKind, digest: &Digest, pinned: &HashSet<Digest>) -> bool {
    match kind {
        OccurrenceKind::Image(_)
        | OccurrenceKind::Embedded(_)
        | OccurrenceKind::Utf16Image(_)
        | OccurrenceKind::Mirror(..)
        | OccurrenceKind::Marked(_)
        | OccurrenceKind::Entry(..) => true,
        OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare => pinned.contains(digest),
    }
}

/// The occurrences in a file, each with the file.
fn located(
    path: &RelPath,
    occurrences: Vec<Occurrence>,
) -> impl Iterator<Item = Located<Occurrence>> {
    let file = Arc::new(path.clone());
    occurrences.into_iter().map(move |item| Located {
        file: Arc::clone(&file),
        item,
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

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;
    use crate::config;

    const CONFIG: &str =
        "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n";

    fn contents(root: &Path, kept: KeptFiles) -> TreeContents {
        TreeContents {
            tree: WorkTree::new(root),
            top: None,
            kept,
            sparse: HashMap::new(),
            root: root.to_owned(),
            is_tracked: false,
        }
    }

    /// Searches files without pins and without a chart.
    fn search(
        tree: &WorkTree,
        config: &Config,
        files: &[RelPath],
        outside: &mut Outside,
    ) -> KeptFiles {
        let found = FoundPins::default();
        search_files(tree, config, &found, files, &|_| false, outside)
    }

    #[test]
    fn only_whole_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mem"), "four").unwrap();
        let read = |root: &Path, most| {
            let mut contents = contents(root, KeptFiles::default());
            contents.read(&RelPath::parse("mem").unwrap(), most)
        };
        assert_eq!(read(directory.path(), 4), Ok(b"four".to_vec()));
        let reason = "it is larger than 3 bytes".to_owned();
        assert_eq!(read(directory.path(), 3), Err(reason));
        // Linux opens the memory of a process, and refuses to read its first page.
        let process = PathBuf::from(format!("/proc/{}", process::id()));
        let reason = read(&process, 4).unwrap_err();
        assert!(reason.contains("os error"), "{reason}");
    }

    #[test]
    fn files_are_kept_up_to_a_maximum_size() {
        let mut kept = KeptFiles::default();
        let path = |name| RelPath::parse(name).unwrap();
        kept.add(path("a"), &vec![0; KeptFiles::MAX_SIZE - 1]);
        kept.add(path("b"), b"22");
        kept.add(path("c"), b"1");
        kept.add(path("d"), b"1");
        let mut names: Vec<_> = kept.contents.keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn small_files_with_digests_are_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let digest = format!("r.example/a@sha256:{}\n", "a".repeat(64));
        let large = digest.clone() + &" ".repeat(1024 * 1024);
        let texts = [
            ("digest", &*digest),
            ("large", &*large),
            ("other", "no digest\n"),
        ];
        for (name, text) in texts {
            fs::write(root.join(name), text).unwrap();
        }
        let config = config::example(CONFIG);
        let (tree, mut outside) = (WorkTree::new(root), Outside::default());
        let files = texts.map(|(name, _)| RelPath::parse(name).unwrap());
        let kept = search(&tree, &config, &files, &mut outside);
        assert_eq!(outside.occurrences.len(), 2);
        for file in &files {
            fs::write(root.join(file.as_path()), "changed").unwrap();
        }
        let mut contents = contents(root, kept);
        let texts = files
            .each_ref()
            .map(|file| contents.read(file, 100).unwrap());
        assert_eq!(texts, [digest.as_bytes(), b"changed", b"changed"]);
    }

    #[test]
    fn embedded_reference_in_another_file_is_outside() {
        let directory = tempfile::tempdir().unwrap();
        let digest = "a".repeat(64);
        for (number, text) in [
            format!("r.example/a@sha256:sha256:{digest}"),
            format!("${{IMG:-r.example/a@sha256:{digest}}}"),
            format!(r#"{{"a": "x\nr.example/a@sha256:{digest}"}}"#),
            format!("mirror.example/r.example/a@sha256:{digest}"),
            format!("r.example/b@sha256:{digest}"),
        ]
        .iter()
        .enumerate()
        {
            let name = format!("file{number}");
            fs::write(directory.path().join(&name), text).unwrap();
            let (config, mut outside) = (config::example(CONFIG), Outside::default());
            let tree = WorkTree::new(directory.path());
            let files = [RelPath::parse(&name).unwrap()];
            search(&tree, &config, &files, &mut outside);
            let kind = outside.occurrences.first().map(|one| &one.item.kind);
            let expected = match number {
                0 | 3 => Some(&OccurrenceKind::Embedded(0)),
                1 | 2 => Some(&OccurrenceKind::Image(0)),
                _ => None,
            };
            assert_eq!(kind, expected, "{text}");
        }
    }

    #[test]
    fn unread_directories_without_git_are_reported() {
        let listed = FileList::WithoutGit {
            files: Vec::new(),
            unread: vec![Unreadable::tree("denied".to_owned(), String::new())],
        };
        let (config, mut outside) = (config::example(CONFIG), Outside::default());
        searched_files(&config, listed, Scope::Tracked, &mut outside);
        assert_eq!(outside.unread[0].reason, "denied");
    }

    #[test]
    fn missing_root_is_reported() {
        let config = config::example(CONFIG);
        let directory = tempfile::tempdir().unwrap();
        let tree = WorkTree::new(&directory.path().join("missing"));
        let mut outside = Outside::default();
        search(&tree, &config, &[], &mut outside);
        assert_eq!(outside.unread.len(), 1);
    }
}

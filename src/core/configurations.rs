//! The configuration files of a repository, and the pins that they count.
//!
//! A configuration file is a tracked file that [`is_config_file`] accepts, unless it was deleted in the
//! work tree; without git, an existing one. The presence of a configuration decides nothing by itself,
//! because everyone who may add a file to a directory could add one: each configuration is applied to the
//! files in question, and only its pins count. The pins of the set of this run are found in
//! [`pins`](crate::core::pins).
//!
//! The configuration of a set at a commit.

use crate::{
    base::{
        error::Error,
        files::{MAX_CONFIG_SIZE, RelPath, Snapshot, Survey, is_config_file, survey_all},
    },
    config::{self, Config, IgnoredFiles, SetPath},
    core::pins::{FileScanner, MAX_PINNED_FILE},
    git::{self, Git, GitError, ObjectId, TrackedFile, TreeFile},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, HashMap, HashSet},
    io::ErrorKind,
    panic::resume_unwind,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread,
};

/// The number of configurations that are read before they are parsed.
const BATCH: usize = 64;
/// The size of the configurations after which no further one is read. They remain parsed, which takes some thirty times
/// as much memory.
const MAX_TOTAL_SIZE: usize = 8 << 20;
/// The minimum number of configurations for each thread; fewer are parsed before a thread starts.
const LEAST_PER_THREAD: usize = 8;

/// The configuration files below a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted by the bytes of the paths.
    pub files: Vec<RelPath>,
    /// The files outside of the sparse checkout.
    pub sparse: Vec<RelPath>,
    /// The reasons why further files may exist.
    pub incomplete: Vec<Error>,
}

/// Lists the configuration files below `directory`. Without git, at most `most` files and directories
/// are visited.
pub(crate) fn list(directory: &Path, most: usize) -> Listing {
    let mut listing = Listing::default();
    match git::configurations(directory) {
        Ok(files) => {
            for file in existing(files, directory) {
                if is_left_out(&file, directory) {
                    listing.sparse.push(file.path);
                } else {
                    listing.files.push(file.path);
                }
            }
            return listing;
        }
        Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {}
        Err(error) => {
            listing.incomplete.push(Error::from(error));
            return listing;
        }
    }
    let survey = survey_all(directory, most);
    listing.files = of_survey(&survey, directory);
    listing.incomplete = survey.unread.into_iter().map(Error::from).collect();
    if survey.is_cut_off {
        let reason = format!("the search ended after {most} files and directories");
        listing.incomplete.push(Error::io(reason));
    }
    listing
}

/// The tracked files without those that were deleted in the work tree, whose top is `top`.
pub(crate) fn existing(files: Vec<TrackedFile>, top: &Path) -> Vec<TrackedFile> {
    let mut existing = files;
    existing.retain(|file| {
        let metadata = top.join(file.path.as_path()).symlink_metadata();
        let is_missing = metadata.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        file.sparse.is_some() || !is_missing
    });
    existing
}

/// Whether a file is outside of the sparse checkout and missing in the work tree.
pub(crate) fn is_left_out(file: &TrackedFile, top: &Path) -> bool {
    file.sparse.is_some() && !top.join(file.path.as_path()).exists()
}

/// The configuration files among the files of a tree without git below `root`, sorted by the bytes of
/// their paths.
pub(crate) fn of_survey(survey: &Survey, root: &Path) -> Vec<RelPath> {
    let mut files = Vec::new();
    for path in survey.files.iter().chain(&survey.unnameable) {
        if is_config_file(&root.join(path.as_path())) {
            files.push(path.clone());
        }
    }
    files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    files
}

/// The files of a work tree or of a commit, by their paths from the top of the repository.
pub(crate) trait Contents {
    /// The content of a regular file with at most `most` bytes, or the reason why it cannot be read.
    fn read(&mut self, path: &RelPath, most: u64) -> Result<Vec<u8>, String>;

    /// Whether a file with the name of a chart exists at a path.
    fn has_chart(&self, path: &Path) -> bool;

    /// Whether git ignores a file and does not track it, or the reason why this is unknown.
    fn is_ignored(&self, path: &RelPath) -> Result<bool, String>;
}

/// The other configurations of the repository of a set.
pub(crate) struct OtherConfigurations<'c> {
    config: &'c Config,
    files: Arc<ConfigurationFiles>,
    /// The sets of a directory are read once, since a file in question concerns all of them.
    read: RefCell<HashMap<PathBuf, Rc<[OtherSet]>>>,
    /// The size of the configurations that were read.
    size: Cell<usize>,
}

/// The paths of all configuration files of a repository.
#[derive(Debug, Default)]
pub(crate) struct ConfigurationFiles {
    /// Sorted.
    by_directory: BTreeMap<PathBuf, Vec<SetPath>>,
    count: usize,
}

impl FromIterator<RelPath> for ConfigurationFiles {
    /// The paths begin at the top of the repository.
    fn from_iter<I: IntoIterator<Item = RelPath>>(files: I) -> Self {
        let mut all = Self::default();
        for file in files {
            let path = SetPath::from(file);
            let directory = path.directory().to_owned();
            all.by_directory.entry(directory).or_default().push(path);
            all.count += 1;
        }
        for paths in all.by_directory.values_mut() {
            paths.sort();
        }
        all
    }
}

impl ConfigurationFiles {
    /// The paths in the directory of a set.
    fn next_to(&self, path: &SetPath) -> &[SetPath] {
        self.by_directory
            .get(path.directory())
            .map_or(&[], Vec::as_slice)
    }
}

struct OtherSet {
    path: SetPath,
    /// The reason if it is unreadable.
    configuration: Result<OtherConfiguration, String>,
}

struct OtherConfiguration {
    config: Config,
    /// Most configurations list no file in question.
    scanner: OnceCell<FileScanner>,
}

/// The pins of other sets in one file.
#[derive(Debug, Default)]
pub(crate) struct OtherPins {
    /// The offsets of the digests that each set counts.
    pub counted: Vec<(SetPath, HashSet<usize>)>,
    /// The sets that may count further pins, with the unresolved problem of each.
    pub unknown: Vec<(SetPath, String)>,
}

impl<'c> OtherConfigurations<'c> {
    /// The configurations among `files`, except for that of `config` itself.
    pub(crate) fn new(config: &'c Config, files: Arc<ConfigurationFiles>) -> Self {
        Self {
            config,
            files,
            read: RefCell::default(),
            size: Cell::new(0),
        }
    }

    /// The number of configurations.
    pub(crate) fn count(&self) -> usize {
        let own = self.files.next_to(&self.config.set_path).iter();
        let own = own.filter(|path| **path == self.config.set_path);
        self.files.count - own.count()
    }

    /// The other sets of a directory, with these paths.
    fn sets_of(
        &self,
        directory: &Path,
        paths: &[SetPath],
        contents: &mut dyn Contents,
    ) -> Rc<[OtherSet]> {
        if let Some(known) = self.read.borrow().get(directory) {
            return Rc::clone(known);
        }
        let others = paths.iter().filter(|path| **path != self.config.set_path);
        let sets: Rc<[OtherSet]> = self.read_all(&others.collect::<Vec<_>>(), contents).into();
        let directory = directory.to_owned();
        self.read.borrow_mut().insert(directory, Rc::clone(&sets));
        sets
    }

    /// Finds the pins of other sets in a file below the root of this set. A configuration counts files
    /// below its own directory only, so no other configuration is read.
    pub(crate) fn pins_in(&self, file: &RelPath, contents: &mut dyn Contents) -> OtherPins {
        let mut found = OtherPins::default();
        let Ok(path) = RelPath::new(&self.config.set_path.directory().join(file.as_path())) else {
            return found;
        };
        let mut content = None;
        for directory in path.as_path().ancestors().skip(1) {
            let Some(paths) = self.files.by_directory.get(directory) else {
                continue;
            };
            let Some(below) = below(&path, directory) else {
                continue;
            };
            for OtherSet {
                path: set,
                configuration,
            } in &*self.sets_of(directory, paths, contents)
            {
                let other = match configuration {
                    Ok(other) => other,
                    Err(reason) => {
                        found.unknown.push((set.clone(), reason.clone()));
                        continue;
                    }
                };
                match other.lists(&below, &path, self.config, contents) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(reason) => {
                        found.unknown.push((set.clone(), reason));
                        continue;
                    }
                }
                let read = || contents.read(&path, MAX_PINNED_FILE as u64);
                let content = match content.get_or_insert_with(read) {
                    Ok(content) => content,
                    Err(reason) => {
                        let reason = format!("cannot read {path}: {reason}");
                        found.unknown.push((set.clone(), reason));
                        continue;
                    }
                };
                let has_chart = |chart: &Path| contents.has_chart(&directory.join(chart));
                let scanner = other
                    .scanner
                    .get_or_init(|| FileScanner::new(&other.config));
                let places = scanner.places_of(&below, &has_chart);
                let pins = scanner.scan(content, &places).pins;
                let offsets = pins.into_iter().map(|pin| pin.offset).collect();
                found.counted.push((set.clone(), offsets));
            }
        }
        found
    }

    /// Reads configurations, and parses them in parallel.
    fn read_all(&self, paths: &[&SetPath], contents: &mut dyn Contents) -> Vec<OtherSet> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut sets = Vec::new();
        for batch in paths.chunks(BATCH) {
            let read: Vec<_> = batch
                .iter()
                .map(|path| (*path, self.read(path, contents)))
                .collect();
            let part = read.len().div_ceil(processors).max(LEAST_PER_THREAD);
            let mut parts = read.chunks(part);
            let first = parts.next().unwrap_or_default();
            thread::scope(|scope| {
                let threads: Vec<_> = parts.map(|part| scope.spawn(|| parse_all(part))).collect();
                sets.extend(parse_all(first));
                for thread in threads {
                    let parsed = thread.join();
                    sets.extend(parsed.unwrap_or_else(|panic| resume_unwind(panic)));
                }
            });
        }
        sets
    }

    /// The content of a configuration, unless [`MAX_TOTAL_SIZE`] was read before.
    fn read(&self, set: &SetPath, contents: &mut dyn Contents) -> Result<Vec<u8>, String> {
        if self.size.get() >= MAX_TOTAL_SIZE {
            return Err("the configurations of the other sets exceed 8 MiB".to_owned());
        }
        let content = contents.read(set.file(), MAX_CONFIG_SIZE)?;
        self.size.set(self.size.get() + content.len());
        Ok(content)
    }
}

fn parse_all(read: &[(&SetPath, Result<Vec<u8>, String>)]) -> Vec<OtherSet> {
    let mut sets = Vec::new();
    for (path, content) in read {
        let content = content.clone();
        sets.push(OtherSet {
            path: SetPath::clone(path),
            configuration: content.and_then(|content| OtherConfiguration::parse(path, content)),
        });
    }
    sets
}

/// The reason why a commit has no readable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConfig {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("it does not exist")]
    Absent,
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("{0}")]
    Malformed(String),
}

impl NoConfig {
    /// The configuration, if the commit has a readable one.
    pub(crate) fn ignore(read: Result<Config, Self>) -> Result<Option<Config>, GitError> {
        match read {
            Ok(config) => Ok(Some(config)),
            Err(Self::Git(error)) => Err(error),
            Err(Self::Absent | Self::TooLarge | Self::Malformed(_)) => Ok(None),
        }
    }
}

/// The configuration in a file below git's root at a commit. `name` is its name in messages, and `root` and
/// `set_path` are its own.
pub(crate) fn config_at(
    git: &Git,
    commit: &ObjectId,
    file: &RelPath,
    name: &str,
    root: &Path,
    set_path: &SetPath,
) -> Result<Config, NoConfig> {
    match git.file(commit, file, MAX_CONFIG_SIZE)? {
        TreeFile::Content(bytes) => parse_past(bytes, name, root, set_path),
        TreeFile::Absent => Err(NoConfig::Absent),
        TreeFile::TooLarge => Err(NoConfig::TooLarge),
    }
}

/// The configuration of a set at a commit.
pub(crate) fn config_of_set(
    git: &Git,
    commit: &ObjectId,
    set: &SetPath,
) -> Result<Config, NoConfig> {
    let root = git.top().join(set.directory());
    let top = git.with_prefix(Vec::new());
    config_at(&top, commit, set.file(), &set.to_string(), &root, set)
}

/// The configuration in a blob.
pub(crate) fn config_of_blob(
    git: &Git,
    blob: ObjectId,
    name: &str,
    root: &Path,
    set_path: &SetPath,
) -> Result<Config, NoConfig> {
    let bytes = git.blob(blob, MAX_CONFIG_SIZE)?;
    parse_past(bytes.ok_or(NoConfig::TooLarge)?, name, root, set_path)
}

fn parse_past(
    bytes: Vec<u8>,
    name: &str,
    root: &Path,
    set_path: &SetPath,
) -> Result<Config, NoConfig> {
    config::parse_bytes(bytes, name, root, set_path, config::parse_past)
        .map_err(NoConfig::Malformed)
}

/// The path of a file from a directory above it.
fn below(path: &RelPath, directory: &Path) -> Option<RelPath> {
    RelPath::new(path.as_path().strip_prefix(directory).ok()?).ok()
}

impl OtherConfiguration {
    fn parse(set: &SetPath, content: Vec<u8>) -> Result<Self, String> {
        // Parsing reads no file below the root.
        let (name, root) = (set.to_string(), set.directory());
        let config = config::parse_bytes(content, &name, root, set, config::parse)?;
        Ok(Self {
            config,
            scanner: OnceCell::new(),
        })
    }

    /// Whether the configuration counts the pins of a file with the path `below`, relative to its
    /// directory.
    fn lists(
        &self,
        below: &RelPath,
        path: &RelPath,
        own: &Config,
        contents: &dyn Contents,
    ) -> Result<bool, String> {
        if !Snapshot::lists(&self.config.scanned, below) {
            return Ok(false);
        }
        // Only this set includes ignored files.
        let may_be_ignored = (own.files_ignored, self.config.files_ignored)
            == (IgnoredFiles::Include, IgnoredFiles::Exclude);
        Ok(!may_be_ignored || !contents.is_ignored(path)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::git::tests::git;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn names(files: &[RelPath]) -> Vec<String> {
        files.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tracked_configurations_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q"]);
        for path in [
            "a/repin.yaml",
            "b/repin.yaml",
            "c/repin.yaml",
            "d/other.yaml",
            "f/repin.yaml",
        ] {
            write(root, path);
        }
        git(root, &["add", "."]);
        write(root, "e/repin.yaml");
        // Deleted in the work tree, and outside of the sparse checkout: missing, or present nevertheless.
        fs::remove_file(root.join("a/repin.yaml")).unwrap();
        git(
            root,
            &[
                "update-index",
                "--skip-worktree",
                "b/repin.yaml",
                "c/repin.yaml",
            ],
        );
        fs::remove_file(root.join("b/repin.yaml")).unwrap();
        // A path that cannot be examined is not a deleted one.
        fs::remove_dir_all(root.join("f")).unwrap();
        write(root, "f");
        let listing = list(root, 100);
        assert_eq!(names(&listing.files), ["c/repin.yaml", "f/repin.yaml"]);
        assert_eq!(names(&listing.sparse), ["b/repin.yaml"]);
        assert!(listing.incomplete.is_empty(), "{listing:?}");
        // A failure of git does not mean that there are no configurations.
        fs::write(root.join(".git/index"), "damaged").unwrap();
        let listing = list(root, 100);
        assert!(listing.files.is_empty(), "{listing:?}");
        assert_eq!(listing.incomplete.len(), 1, "{listing:?}");
    }

    #[test]
    fn search_without_git_is_complete_or_states_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["b.yaml", "b/repin.yaml", "repin.yaml", "a/repin.yaml"] {
            write(root, path);
        }
        let listing = list(root, 100);
        assert_eq!(
            names(&listing.files),
            ["a/repin.yaml", "b/repin.yaml", "repin.yaml"]
        );
        assert!(listing.incomplete.is_empty(), "{listing:?}");
        // Sorted together with paths that no configuration can contain.
        let directory = root.join(OsStr::from_bytes(b"a\xff"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("repin.yaml"), "").unwrap();
        let names = names(&list(root, 100).files);
        assert_eq!(names[1], "a\u{fffd}/repin.yaml", "{names:?}");
        let listing = list(root, 2);
        let reasons: Vec<_> = listing.incomplete.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].contains("the search ended after 2 files"),
            "{reasons:?}"
        );
        // A directory that cannot be read, because its path is too long.
        let name = "x".repeat(250);
        let mut below = rustix::fs::open(root, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20 {
            rustix::fs::mkdirat(&below, &name, Mode::RWXU).unwrap();
            below = rustix::fs::openat(&below, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(list(root, 100).incomplete.len(), 1);
    }

    /// Files by their paths; the content `unknown` of a file means that git does not respond about it.
    struct Texts(BTreeMap<String, String>);

    impl Contents for Texts {
        fn read(&mut self, path: &RelPath, _: u64) -> Result<Vec<u8>, String> {
            let text = self.0.get(path.to_string().as_str());
            text.map(|text| text.as_bytes().to_vec())
                .ok_or_else(|| "missing".to_owned())
        }

        fn has_chart(&self, _: &Path) -> bool {
            false
        }

        fn is_ignored(&self, path: &RelPath) -> Result<bool, String> {
            match self.0.get(path.to_string().as_str()).map(String::as_str) {
                Some("unknown") => Err("no response".to_owned()),
                _ => Ok(path.to_string().contains("ignored")),
            }
        }
    }

    fn set(path: &str) -> SetPath {
        SetPath::from(RelPath::parse(path).unwrap())
    }

    fn config(path: &str, ignored: &str) -> Config {
        let set = set(path);
        let content = text(ignored).into_bytes();
        config::parse_bytes(content, path, set.directory(), &set, config::parse).unwrap()
    }

    fn text(ignored: &str) -> String {
        format!(
            "version: 1\nfiles: ['*.yml', '*/*.yml']\nfiles_ignored: {ignored}\n\
             images: {{ fix: {{ repository: ghcr.io/acme/fix, pins: 1 }} }}\n"
        )
    }

    /// The sets that count a pin of a file, and those of which this is unknown, with the reasons.
    fn pins_in(ignored: &str, file: &str, texts: &[(&str, &str)]) -> [Vec<String>; 2] {
        let own = config("repin.yaml", ignored);
        let sets = ["a/3.yaml", "repin.yaml", "a/2.yaml", "b/1.yaml", "a/1.yaml"];
        let sets = sets.map(|path| RelPath::parse(path).unwrap());
        let sets: ConfigurationFiles = sets.into_iter().collect();
        let others = OtherConfigurations::new(&own, Arc::new(sets));
        let texts = texts
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let found = others.pins_in(&RelPath::parse(file).unwrap(), &mut Texts(texts.collect()));
        let counted = found
            .counted
            .iter()
            .map(|(set, offsets)| format!("{set} {offsets:?}"));
        let unknown = found
            .unknown
            .iter()
            .map(|(set, reason)| format!("{set}: {reason}"));
        [counted.collect(), unknown.collect()]
    }

    #[test]
    fn all_sets_of_a_directory_are_read_in_order() {
        for count in [0, 1, LEAST_PER_THREAD, LEAST_PER_THREAD + 1, 2 * BATCH + 3] {
            let (mut paths, mut texts) = (Vec::new(), BTreeMap::new());
            for number in 0..count {
                let path = format!("{number}.yaml");
                paths.push(set(&path));
                match number % 3 {
                    0 => texts.insert(path, text("exclude")),
                    1 => texts.insert(path, String::new()),
                    _ => None,
                };
            }
            let own = config("repin.yaml", "exclude");
            let others = OtherConfigurations::new(&own, Arc::default());
            let sets = others.read_all(&paths.iter().collect::<Vec<_>>(), &mut Texts(texts));
            assert!(sets.iter().map(|set| &set.path).eq(&paths), "{count}");
            for (number, set) in sets.iter().enumerate() {
                let reason = set.configuration.as_ref().err().map(String::as_str);
                let empty = format!("{number}.yaml:1:1: the configuration is empty");
                let expected = [None, Some(&*empty), Some("missing")];
                assert_eq!(reason, expected[number % 3], "{number}");
            }
        }
    }

    #[test]
    fn total_size_of_configurations_is_limited() {
        let own = config("repin.yaml", "exclude");
        let others = OtherConfigurations::new(&own, Arc::default());
        let (mut paths, mut texts) = (Vec::new(), BTreeMap::new());
        let padding = "#".repeat(MAX_TOTAL_SIZE / 4 - text("exclude").len());
        for number in 0..6 {
            let path = format!("{number}.yaml");
            paths.push(set(&path));
            texts.insert(path, text("exclude") + &padding);
        }
        let paths: Vec<_> = paths.iter().collect();
        // The directories have a common limit, which four configurations reach exactly.
        let (first, second) = paths.split_at(1);
        let mut texts = Texts(texts);
        let mut sets = others.read_all(first, &mut texts);
        sets.extend(others.read_all(second, &mut texts));
        let reasons: Vec<_> = sets
            .iter()
            .map(|set| set.configuration.as_ref().err().map(String::as_str))
            .collect();
        let exceeded = Some("the configurations of the other sets exceed 8 MiB");
        assert_eq!(reasons, [None, None, None, None, exceeded, exceeded]);
    }

    #[test]
    fn pins_of_other_sets_are_found_or_unknown() {
        let pin = format!("image: ghcr.io/acme/fix@sha256:{}\n", "a".repeat(64));
        let (exclude, include) = (text("exclude"), text("include"));
        let sets = [
            ("a/1.yaml", &*exclude),
            ("a/3.yaml", &include),
            ("a/app.yml", &pin),
        ];
        let at = pin.find("sha256").unwrap();
        let all = ["a/1.yaml", "a/3.yaml"].map(|set| format!("{set} {{{at}}}"));
        let missing = vec!["a/2.yaml: missing".to_owned()];
        assert_eq!(
            pins_in("include", "a/app.yml", &sets),
            [all.to_vec(), missing.clone()]
        );
        // A file that cannot be read, and one of no other set.
        let unknown = ["1", "2", "3"].map(|set| match set {
            "2" => missing[0].clone(),
            _ => format!("a/{set}.yaml: cannot read a/app.yml: missing"),
        });
        assert_eq!(
            pins_in("include", "a/app.yml", &sets[..2]),
            [vec![], unknown.to_vec()]
        );
        assert!(pins_in("include", "c/app.yml", &sets).concat().is_empty());
        // An ignored file counts only for sets that include them; this set knows whether it is ignored.
        let ignored = [
            ("a/1.yaml", &*exclude),
            ("a/3.yaml", &include),
            ("a/ignored.yml", &pin),
        ];
        let found = pins_in("include", "a/ignored.yml", &ignored);
        assert_eq!(found, [all[1..].to_vec(), missing.clone()]);
        let found = pins_in("exclude", "a/ignored.yml", &ignored);
        assert_eq!(found, [all.to_vec(), missing.clone()]);
        let unknown = [
            ("a/1.yaml", &*exclude),
            ("a/3.yaml", &include),
            ("a/app.yml", "unknown"),
        ];
        let found = pins_in("include", "a/app.yml", &unknown);
        let reasons = vec!["a/1.yaml: no response".to_owned(), missing[0].clone()];
        assert_eq!(found, [vec!["a/3.yaml {}".to_owned()], reasons]);
    }
}

//! The configuration files of a repository, and the pins that they count.
//!
//! A configuration file is a tracked file that [`is_config_file`] accepts; without git, an existing one. The presence of a configuration decides nothing by itself, because everyone who may
//! add a file to a directory could add one: each configuration is applied to the files in question, and
//! only its pins count. The pins of the set of this run are found in [`pins`](crate::pins).

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::{
    config::{self, Config, IgnoredFiles, RelPath, SetPath, is_config_file},
    error::{Error, SourceText},
    files::{Snapshot, Survey, survey_all},
    git::{self, GitError},
    pins::{FileScanner, LARGEST},
};

/// The configuration files below a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted by the bytes of the paths.
    pub files: Vec<RelPath>,
    /// The reason why further files may exist.
    pub incomplete: Option<Error>,
}

/// Lists the configuration files below `directory`. Without git, at most `most` files and directories
/// are visited.
pub(crate) fn list(directory: &Path, most: usize) -> Listing {
    let incomplete = |error| Listing {
        files: Vec::new(),
        incomplete: Some(error),
    };
    if git::is_in_repository(directory) {
        match git::configurations(directory) {
            Ok(files) => {
                return Listing {
                    files,
                    incomplete: None,
                };
            }
            Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {}
            Err(error) => return incomplete(Error::from(error)),
        }
    }
    let mut survey = survey_all(directory, most);
    let files = of_survey(&survey);
    let mut listing = match survey.unread.pop() {
        Some(error) => incomplete(Error::from(error)),
        None if survey.is_cut_off => incomplete(Error::io(format!(
            "the search ended after {most} files and directories"
        ))),
        None => Listing::default(),
    };
    listing.files = files;
    listing
}

/// The configuration files among the files of a tree without git, sorted by the bytes of their paths.
pub(crate) fn of_survey(survey: &Survey) -> Vec<RelPath> {
    let mut files = Vec::new();
    for path in survey.files.iter().chain(&survey.unnameable) {
        if is_config_file(path.as_path()) {
            files.push(path.clone());
        }
    }
    files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    files
}

/// The files of a work tree or of a commit, by their paths from the top of the repository.
pub(crate) trait Contents {
    /// The content of a regular file with at most `most` bytes.
    fn read(&mut self, path: &RelPath, most: u64) -> Option<Vec<u8>>;

    /// Whether a file with the name of a chart exists at a path.
    fn has_chart(&self, path: &Path) -> bool;

    /// Whether git ignores a file and does not track it.
    fn is_ignored(&self, path: &RelPath) -> bool;
}

/// The other configurations of the repository of a set.
pub(crate) struct OtherConfigurations<'c> {
    config: &'c Config,
    by_directory: BTreeMap<PathBuf, Vec<SetPath>>,
    /// The configurations that were read, or the reasons why they cannot be read.
    read: HashMap<SetPath, Result<OtherConfiguration, String>>,
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
    /// The sets that may count further pins, with the reasons why this is unknown.
    pub unknown: Vec<(SetPath, String)>,
}

impl<'c> OtherConfigurations<'c> {
    /// The configurations among `files`, except for that of `config` itself. The paths begin at the top
    /// of the repository.
    pub(crate) fn new(config: &'c Config, files: impl IntoIterator<Item = RelPath>) -> Self {
        let mut by_directory: BTreeMap<PathBuf, Vec<SetPath>> = BTreeMap::new();
        for file in files {
            let set = SetPath::from(file);
            if set != config.set_path {
                let directory = set.directory().to_owned();
                by_directory.entry(directory).or_default().push(set);
            }
        }
        for sets in by_directory.values_mut() {
            sets.sort();
        }
        Self {
            config,
            by_directory,
            read: HashMap::new(),
        }
    }

    /// The number of configurations.
    pub(crate) fn count(&self) -> usize {
        self.by_directory.values().map(Vec::len).sum()
    }

    /// Finds the pins of other sets in a file below the root of this set. A configuration counts files
    /// below its own directory only, so no other configuration is read.
    pub(crate) fn pins_in(&mut self, file: &RelPath, contents: &mut dyn Contents) -> OtherPins {
        let mut found = OtherPins::default();
        let Ok(path) = RelPath::new(&self.config.set_path.directory().join(file.as_path())) else {
            return found;
        };
        let mut content = None;
        for directory in path.as_path().ancestors().skip(1) {
            let Some(sets) = self.by_directory.get(directory) else {
                continue;
            };
            let Some(below) = below(&path, directory) else {
                continue;
            };
            for set in sets {
                if !self.read.contains_key(set) {
                    let read = OtherConfiguration::read(set, contents);
                    self.read.insert(set.clone(), read);
                }
                let other = match &self.read[set] {
                    Ok(other) => other,
                    Err(reason) => {
                        found.unknown.push((set.clone(), reason.clone()));
                        continue;
                    }
                };
                if !other.lists(&below, &path, self.config, contents) {
                    continue;
                }
                if content.is_none() {
                    content = Some(contents.read(&path, LARGEST as u64));
                }
                let Some(Some(content)) = &content else {
                    let reason = format!("cannot read {path}");
                    found.unknown.push((set.clone(), reason));
                    continue;
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
}

/// The path of a file from a directory above it.
fn below(path: &RelPath, directory: &Path) -> Option<RelPath> {
    RelPath::new(path.as_path().strip_prefix(directory).ok()?).ok()
}

impl OtherConfiguration {
    fn read(set: &SetPath, contents: &mut dyn Contents) -> Result<Self, String> {
        let content = contents.read(set.file(), config::MAX_SIZE);
        let content = content.ok_or("the file cannot be read, or is larger than 1 MiB")?;
        let text = String::from_utf8(content).map_err(|_| "the file is not UTF-8")?;
        let source = SourceText {
            name: set.to_string(),
            text: text.into(),
        };
        // Nothing is read from the root.
        let parsed = config::parse(&source, set.directory(), set);
        let config = parsed.map_err(|errors| match errors.first() {
            Some(error) => error.to_string(),
            None => "the configuration is malformed".to_owned(),
        })?;
        Ok(Self {
            config,
            scanner: OnceCell::new(),
        })
    }

    /// Whether the configuration counts the pins of a file, whose path `below` begins at its directory.
    fn lists(
        &self,
        below: &RelPath,
        path: &RelPath,
        own: &Config,
        contents: &dyn Contents,
    ) -> bool {
        // Only this set includes ignored files.
        let may_be_ignored = (own.files_ignored, self.config.files_ignored)
            == (IgnoredFiles::Include, IgnoredFiles::Exclude);
        Snapshot::lists(&self.config.scanned, below)
            && !(may_be_ignored && contents.is_ignored(path))
    }
}

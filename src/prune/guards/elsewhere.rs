//! Other repositories that pin the same images: the digests in files at their heads, and every digest
//! that was ever pinned there.
//!
//! Each repository is fetched completely into a scratch repository. Its first-parent history is read
//! according to every past configuration and to the current `files`. If a configuration cannot be
//! read, its files and images are unknown, so every digest in the files of its directory is
//! protected.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::reading::{self, reader};
use crate::{
    code::Code,
    config::{self, AlsoPinned, Config, FILE_NAME, Globs, RelPath},
    error::{Class, Error},
    files::Snapshot,
    git::{Git, GitError, ObjectId, Objects, Remote},
    history::{self, MAX_CONFIG_SIZE, parse_config},
    oci::{Digest, Repository},
    pins::{Finder, mentions, read_whole},
    prune::Text,
};

/// The prefix of the fetched references in the scratch repository.
const REFS: &str = "refs/repin/";

/// Another repository and its access.
#[derive(Clone)]
pub struct ExternalRepository {
    /// The configuration.
    pub entry: AlsoPinned,
    /// The URL and the token.
    pub remote: Remote,
    /// An empty directory for fetched objects.
    pub scratch: PathBuf,
}

/// The protection that another repository adds.
#[derive(Debug, Default)]
pub(super) struct ForeignProtection {
    pub(super) text: Text,
    /// The digests that were ever pinned, with their locations.
    pub(super) pinned: BTreeMap<Digest, String>,
}

/// A fetched repository and the references that were read.
pub(super) struct ForeignRepository {
    at: ExternalRepository,
    git: Git,
    tips: BTreeMap<String, ObjectId>,
}

impl ForeignRepository {
    pub(super) fn open(at: &ExternalRepository) -> Result<Self, Error> {
        Ok(Self {
            at: at.clone(),
            git: Git::init(&at.scratch)?,
            tips: BTreeMap::new(),
        })
    }

    /// Fetches the repository, and reads the references that changed since the last call.
    pub(super) fn read(&mut self, config: &Config) -> Result<ForeignProtection, Error> {
        let unreadable = |error: GitError| self.unreadable(&error);
        self.fetch().map_err(unreadable)?;
        let now = self.git.tips_below(REFS).map_err(unreadable)?;
        let new: BTreeMap<String, ObjectId> = now
            .into_iter()
            .filter(|(name, tip)| self.tips.get(name) != Some(tip))
            .collect();
        let mut found = ForeignProtection::default();
        let place = |name: &str| match name.split_once('/') {
            Some(("tags", tag)) => format!("at the tag {tag} of {}", self.at.entry.repository),
            _ => format!("on {} of {}", branch(name), self.at.entry.repository),
        };
        let tips: Vec<_> = new.iter().map(|(name, tip)| (*tip, place(name))).collect();
        reading::commits(&self.git, &tips, &mut found.text)?;
        let lines: Vec<_> = new
            .iter()
            .filter(|(name, _)| name.starts_with("heads/"))
            .map(|(_, tip)| *tip)
            .collect();
        self.history(&lines, config, &mut found)?;
        self.tips.extend(new);
        self.check_complete()?;
        Ok(found)
    }

    /// Fetches the complete history of the configured branches.
    fn fetch(&self) -> Result<(), GitError> {
        let options = [
            "-q",
            // Without this option, git silently skips incomplete references of a shallow repository.
            "--update-shallow",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--end-of-options",
        ];
        let refspecs: Vec<String> = match &self.at.entry.branches {
            Some(branches) => branches
                .iter()
                .map(|name| format!("+refs/heads/{name}:{REFS}heads/{name}"))
                .collect(),
            None => ["heads", "tags"]
                .map(|kind| format!("+refs/{kind}/*:{REFS}{kind}/*"))
                .to_vec(),
        };
        let mut args: Vec<&str> = options.to_vec();
        args.push(&self.at.remote.url);
        args.extend(refspecs.iter().map(String::as_str));
        self.git
            .run_checked("fetch", &args, Some(&self.at.remote))
            .map(drop)
    }

    /// Checks that everything requested was fetched, with its history.
    fn check_complete(&self) -> Result<(), Error> {
        let repository = &self.at.entry.repository;
        let there = |name: &String| self.tips.contains_key(&format!("heads/{name}"));
        let missing = match &self.at.entry.branches {
            Some(branches) => branches.iter().find(|name| !there(name)).cloned(),
            None if self.tips.is_empty() => Some("any branch".to_owned()),
            None => None,
        };
        if let Some(branch) = missing {
            let message = format!("prune.also_pinned_in: {repository} does not have {branch}");
            return Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
                .help("correct `branches`"));
        }
        if Git::open(&self.at.scratch)?.is_shallow() {
            let message = format!("prune.also_pinned_in: {repository} is itself a shallow clone");
            return Err(Error::new(Class::Unavailable, Code::SHALLOW, message)
                .help("name the repository that it was cloned from"));
        }
        Ok(())
    }

    fn unreadable(&self, error: &GitError) -> Error {
        let message = format!(
            "prune.also_pinned_in: cannot read {}: {error}",
            self.at.entry.repository
        );
        let refusal = match error {
            GitError::Denied { .. } => Error::new(Class::Denied, Code::DENIED, message),
            _ => Error::new(Class::Unavailable, Code::UNAVAILABLE, message),
        };
        refusal.help(match (error, &self.at.entry.token_env) {
            (GitError::Denied { .. }, Some(name)) => {
                format!("let the token in {name} read that repository")
            }
            (GitError::Denied { .. }, None) => {
                "name a variable with a token in `token_env`".to_owned()
            }
            _ => {
                "check that the repository exists and can be fetched; nothing is deleted without it"
                    .to_owned()
            }
        })
    }

    /// Everything that was ever pinned on the lines up to `tips`.
    fn history(
        &self,
        tips: &[ObjectId],
        config: &Config,
        found: &mut ForeignProtection,
    ) -> Result<(), Error> {
        let mut files: BTreeMap<Vec<u8>, BTreeSet<ObjectId>> = BTreeMap::new();
        history::each_blob(&self.git, tips, |path, blob| {
            files.entry(path.to_vec()).or_default().insert(blob);
        })?;
        let rules = Rules::read(&self.git, &files, config)?;
        let mut pins = self.git.objects(rules.scanner())?;
        let mut text = self.git.objects(reader())?;
        let (mut places, mut asked) = (BTreeMap::new(), HashSet::new());
        for (path, blobs) in &files {
            let (matched, unknown) = (rules.matches(path), rules.is_unknown(path));
            for blob in blobs.iter().filter(|_| matched || unknown) {
                places.entry(*blob).or_insert(path);
                if matched && asked.insert((*blob, true)) {
                    pins.request(*blob)?;
                }
                if unknown && asked.insert((*blob, false)) {
                    text.request(*blob)?;
                }
            }
        }
        let repository = &self.at.entry.repository;
        let then = format!("of a past commit of {repository}");
        let path = |blob: &ObjectId| places.get(blob).map_or(&[][..], |path| path.as_slice());
        for (blob, digests) in pins.finish()? {
            let file = String::from_utf8_lossy(path(&blob)).into_owned();
            for digest in digests {
                let place = format!("in {file} {then}");
                found.pinned.entry(digest).or_insert(place);
            }
        }
        for (blob, mentions) in text.finish()? {
            found.text.add(path(&blob), &then, &mentions);
        }
        Ok(())
    }
}

fn branch(name: &str) -> &str {
    name.strip_prefix("heads/").unwrap_or(name)
}

/// The files of another repository that contain pins, and the pinned repositories.
struct Rules {
    /// Directories, with a trailing `/`, and the globs of the files below them.
    globs: Vec<(Vec<u8>, Globs)>,
    repositories: HashSet<Repository>,
    /// Configurations with places, and their directories.
    placed: Vec<(Vec<u8>, Config)>,
    /// Directories with an unreadable configuration.
    unknown: Vec<Vec<u8>>,
}

impl Rules {
    /// Reads every past configuration, and adds the current one.
    fn read(
        git: &Git,
        files: &BTreeMap<Vec<u8>, BTreeSet<ObjectId>>,
        config: &Config,
    ) -> Result<Self, GitError> {
        let repositories = |config: &Config| -> Vec<Repository> {
            let images = config.images.iter();
            images.map(|image| image.repository.clone()).collect()
        };
        let mut rules = Self {
            globs: vec![(Vec::new(), config.scanned.clone())],
            repositories: repositories(config).into_iter().collect(),
            placed: Vec::new(),
            unknown: Vec::new(),
        };
        if !config.places.is_empty() {
            rules.placed.push((Vec::new(), config.clone()));
        }
        let mut objects: Objects<()> = git.objects(|_| Ok(None))?;
        for (path, blobs) in files {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            if name != FILE_NAME.as_bytes() && name != config.file_name().as_bytes() {
                continue;
            }
            let directory = path[..path.len() - name.len()].to_vec();
            for blob in blobs {
                let parsed = objects
                    .blob(*blob, MAX_CONFIG_SIZE)?
                    .and_then(|bytes| parse_config(bytes, config).ok());
                match parsed {
                    Some(then) => {
                        rules.repositories.extend(repositories(&then));
                        rules.globs.push((directory.clone(), then.scanned.clone()));
                        if !then.places.is_empty() {
                            rules.placed.push((directory.clone(), then));
                        }
                    }
                    None => rules.unknown.push(directory.clone()),
                }
            }
        }
        Ok(rules)
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.globs.iter().any(|(directory, globs)| {
            let path = path.strip_prefix(directory.as_slice());
            let path = path.and_then(|p| RelPath::new(Path::new(OsStr::from_bytes(p))).ok());
            path.is_some_and(|path| Snapshot::lists(globs, &path))
        })
    }

    /// Whether the pins of a file are unknown, or places search the file. Then every digest in it is
    /// protected.
    fn is_unknown(&self, path: &[u8]) -> bool {
        let looks = |(directory, config): &(Vec<u8>, Config)| {
            let path = path
                .strip_prefix(directory.as_slice())
                .map(OsStr::from_bytes);
            path.is_some_and(|path| {
                !config::places_of(&config.places, &config.files, Path::new(path), &|_| false)
                    .is_empty()
            })
        };
        self.unknown
            .iter()
            .any(|directory| path.starts_with(directory))
            || self.placed.iter().any(looks)
    }

    /// Returns a function that reads the pinned digests in a content of any size.
    fn scanner(
        &self,
    ) -> impl FnMut(&mut dyn Read) -> io::Result<Option<BTreeSet<Digest>>> + Send + 'static {
        let finder = Finder::of(&self.repositories);
        let mut buffer = Vec::new();
        move |content| {
            let found: BTreeSet<_> = match read_whole(&mut *content, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    // Its pins are unknown, so every digest may be one.
                    let whole = buffer.as_slice().chain(content);
                    let mentions = mentions(whole, &mut Vec::new())?;
                    mentions.iter().map(|mention| mention.digest).collect()
                }
                read => {
                    read?;
                    let pins = finder.scan(&buffer).pins;
                    pins.iter().map(|pin| pin.digest).collect()
                }
            };
            Ok(Some(found).filter(|found| !found.is_empty()))
        }
    }
}

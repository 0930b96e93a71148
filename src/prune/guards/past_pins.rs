//! Every digest that was ever pinned, and every revision that was ever promoted, on the branches of a
//! repository.
//!
//! Every commit that a branch reaches is read according to every configuration file that was ever in one
//! of these commits, and to the current configuration: a set that only a side line of a merge pinned may be
//! deployed, and an image may have had another repository. If a configuration cannot be read, its files and
//! images are unknown, so every digest in the files of its directory is protected.
//!
//! Other repositories that pin the same images: the digests and tags in files at their heads, every digest in every
//! file that a commit ever contained, and every revision that was ever promoted there. Their configurations need not
//! list all files with pins.
//!
//! Each repository is fetched completely into a scratch repository, and its past is read as that of this
//! repository is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    fmt,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use regex::bytes::Regex;

use super::{branches::BranchNames, text_search};
use crate::{
    base::{
        error::{Class, Code, Error},
        files::{Globs, MAX_CONFIG_SIZE, RelPath, Snapshot},
    },
    config::{AlsoPinned, Config, SetPath, is_config_file_of, places_of},
    core::{
        history::{self, parse_config, places_key},
        pins::{Finder, Mention, MentionFinder, Mentions, WholeFile, mentions, read_whole},
    },
    git::{Connections, Git, GitError, Login, ObjectId, Remote, Routes},
    oci::{Digest, Repository, registry::Mapping},
    prune::{DigestUse, Place, ProtectionSet, TagUse},
};

/// The facts from the configurations on the branches of a repository.
#[derive(Default)]
pub(super) struct BranchConfigurations {
    /// The commits whose past was searched.
    tips: BTreeSet<ObjectId>,
    pub(super) configs: Vec<Config>,
    /// The names that the `sources` of configurations give repositories.
    pub(super) mappings: BTreeSet<Mapping>,
    /// The formats of promotion and rollback branches.
    pub(super) branch_formats: BranchNames,
}

/// The name of a repository in messages.
#[derive(Clone, Copy)]
pub(super) enum RepositoryName<'n> {
    ThisRepository,
    Other(&'n str),
}

impl fmt::Display for RepositoryName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisRepository => "this repository",
            Self::Other(name) => name,
        })
    }
}

/// The maximum distance of a digest from the name of its image, in lines: the values of a chart have other keys between them.
const NAME_DISTANCE: usize = 8;

/// The contents of each file in the commits that were read.
type Contents = BTreeMap<Vec<u8>, BTreeSet<ObjectId>>;

impl BranchConfigurations {
    /// Searches the commits that `tips` reach in a repository, unless an earlier call did.
    pub(super) fn read(
        &mut self,
        git: &Git,
        mut tips: BTreeSet<ObjectId>,
        config: &Config,
        repository: RepositoryName<'_>,
    ) -> Result<ProtectionSet, Error> {
        tips.retain(|tip| self.tips.insert(*tip));
        let tips: Vec<_> = tips.into_iter().collect();
        let mut files = Contents::new();
        history::each_blob(git, &tips, |path, blob| {
            files.entry(path.to_vec()).or_default().insert(blob);
        })?;
        let rules = PinRules::read(git, &files, config, repository)?;
        let mut found = ProtectionSet::default();
        for (tag, revision) in history::claimed_tags(git, &tips, &rules.configs)? {
            let evidence = format!("that a commit of {repository} promoted ({revision})");
            let usage = (tag, TagUse::Revision, None);
            found.tags.insert(usage, Place::Text(evidence));
        }
        rules.read_files(git, &files, repository, &mut found)?;
        for config in &rules.configs {
            self.branch_formats.add(config);
            self.mappings.extend(config.sources.iter().cloned());
        }
        self.configs.extend(rules.configs);
        Ok(found)
    }
}

/// The past configurations of a repository, with the current one: the files that contain pins, and the
/// pinned repositories.
#[derive(Default)]
struct PinRules {
    /// The globs of files by directory, with a trailing `/`, and by their texts.
    globs: HashMap<(Vec<u8>, Vec<String>), Globs>,
    repositories: HashSet<Repository>,
    configs: Vec<Config>,
    /// The index of a configuration with these places, which search files below a directory, by the
    /// directory and by what identifies the places.
    places: HashMap<(Vec<u8>, String), usize>,
    /// Directories with an unreadable configuration.
    unknown: BTreeSet<Vec<u8>>,
    /// Whether any file may contain pins, in any format: the configurations of another repository need not list it.
    any_file: bool,
}

impl PinRules {
    /// Loads every past configuration, and adds the current one.
    fn read(
        git: &Git,
        files: &Contents,
        config: &Config,
        repository: RepositoryName<'_>,
    ) -> Result<Self, GitError> {
        let mut rules = Self {
            any_file: matches!(repository, RepositoryName::Other(_)),
            ..Self::default()
        };
        rules.add(git.prefix(), config.clone());
        for (path, blobs) in files {
            let file = Path::new(OsStr::from_bytes(path));
            if !is_config_file_of(file, &config.set_path) {
                continue;
            }
            let directory = &path[..memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1)];
            // The default names of a set depend on its path.
            let current = SetPath::new(file).ok().map(|set_path| Config {
                set_path,
                ..config.clone()
            });
            for blob in blobs {
                let bytes = git.blob(*blob, MAX_CONFIG_SIZE)?;
                let parsed = bytes.zip(current.as_ref());
                match parsed.and_then(|(bytes, current)| parse_config(bytes, current).ok()) {
                    Some(past) => rules.add(directory, past),
                    None => {
                        rules.unknown.insert(directory.to_vec());
                    }
                }
            }
        }
        Ok(rules)
    }

    fn add(&mut self, directory: &[u8], config: Config) {
        for image in &config.images {
            self.repositories.insert(image.repository.clone());
        }
        let texts = config.scanned.texts();
        let globs = self.globs.entry((directory.to_vec(), texts));
        globs.or_insert_with(|| config.scanned.clone());
        let places = (directory.to_vec(), places_key(&config));
        self.places.entry(places).or_insert(self.configs.len());
        self.configs.push(config);
    }

    /// Adds the pins in all contents of matched files, and every digest in those whose pins are unknown.
    fn read_files(
        &self,
        git: &Git,
        files: &Contents,
        repository: RepositoryName<'_>,
        found: &mut ProtectionSet,
    ) -> Result<(), Error> {
        let mut pins = git.objects(self.scanner());
        let mut digests = git.objects(self.digest_scanner());
        // The first path of each content.
        let (mut matched, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        for (path, blobs) in files {
            let (is_matched, is_protected) = (self.matches(path), self.protects_every_digest(path));
            for blob in blobs {
                if is_matched {
                    matched.entry(*blob).or_insert(path);
                }
                if is_protected {
                    unknown.entry(*blob).or_insert(path);
                }
            }
        }
        for blob in matched.keys() {
            pins.request(*blob)?;
        }
        for blob in unknown.keys() {
            digests.request(*blob)?;
        }
        let commit = format!("of a past commit of {repository}");
        for (blob, pinned) in pins.finish()? {
            let location = format!("in {} {commit}", String::from_utf8_lossy(matched[&blob]));
            for digest in pinned {
                let known = found.digests.entry((digest, DigestUse::PastPin, None));
                known.or_insert_with(|| Place::Text(location.clone()));
            }
        }
        for (blob, digests) in digests.finish()? {
            let mentions = Mentions {
                digests,
                tags: Vec::new(),
            };
            found.add_mentions(unknown[&blob], &commit, &mentions);
        }
        Ok(())
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.any_file
            || self.globs.iter().any(|((directory, _), globs)| {
                let path = path
                    .strip_prefix(directory.as_slice())
                    .and_then(|p| RelPath::new(Path::new(OsStr::from_bytes(p))).ok());
                path.is_some_and(|path| Snapshot::lists(globs, &path))
            })
    }

    /// Whether the pins of a file are unknown, or places search the file. Then every digest in it is
    /// protected.
    fn protects_every_digest(&self, path: &[u8]) -> bool {
        let mut unknown = self.unknown.iter();
        if self.any_file || unknown.any(|directory| path.starts_with(directory)) {
            return true;
        }
        self.places.iter().any(|((directory, _), config)| {
            let Some(path) = path.strip_prefix(directory.as_slice()) else {
                return false;
            };
            let config = &self.configs[*config];
            let path = Path::new(OsStr::from_bytes(path));
            !places_of(&config.places, &config.files, path, &|_| false).is_empty()
        })
    }

    /// Returns a function that finds every digest in a blob of any size. In another repository, most are of other images,
    /// and requests for all of them would exceed the limit: only those near the name of an image are requested.
    fn digest_scanner(
        &self,
    ) -> impl FnMut(&mut dyn Read) -> io::Result<Option<Vec<Mention>>> + Send + 'static {
        let names = self.any_file.then(|| {
            let paths = self
                .repositories
                .iter()
                .map(|known| regex::escape(known.path()));
            let any = paths.collect::<Vec<_>>().join("|");
            Regex::new(&any)
        });
        let (mut whole, mut buffer) = (Vec::new(), Vec::new());
        move |content| {
            // This repository, or too many names for one expression.
            let Some(Ok(names)) = &names else {
                return mentions(content, &mut buffer).map(Some);
            };
            let (mut found, near) = match read_whole(content, &mut whole)? {
                WholeFile::Complete(text) => {
                    (mentions(text, &mut buffer)?, lines_with(text, names))
                }
                WholeFile::TooLarge(content) => (mentions(content, &mut buffer)?, Vec::new()),
            };
            for mention in &mut found {
                let first = mention.line.saturating_sub(NAME_DISTANCE);
                let next = near.get(near.partition_point(|line| *line < first));
                mention.algorithm &= next.is_some_and(|line| *line <= mention.line + NAME_DISTANCE);
            }
            Ok(Some(found))
        }
    }

    /// Returns a function that finds the pinned digests in a blob of any size.
    fn scanner(
        &self,
    ) -> impl FnMut(&mut dyn Read) -> io::Result<Option<BTreeSet<Digest>>> + Send + 'static {
        let finder = Finder::for_repositories(&self.repositories);
        let mut buffer = Vec::new();
        move |content| {
            Ok(Some(match read_whole(content, &mut buffer)? {
                WholeFile::Complete(text) => {
                    let pins = finder.scan(text).pins;
                    pins.iter().map(|pin| pin.digest).collect()
                }
                // Its pins are unknown, so every digest may be one.
                WholeFile::TooLarge(content) => {
                    let mentions = mentions(content, &mut Vec::new())?;
                    mentions.iter().map(|mention| mention.digest).collect()
                }
            }))
        }
    }
}

/// The numbers of the lines with a match, in ascending order.
fn lines_with(text: &[u8], wanted: &Regex) -> Vec<usize> {
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    lines
        .filter(|(line, _)| wanted.is_match(line))
        .map(|(_, number)| number)
        .collect()
}

/// The prefix of the fetched references in the scratch repository.
const REFS: &str = "refs/repin/";

/// Another repository and its access.
#[derive(Clone)]
pub(crate) struct RepositoryAccess {
    /// The key of the configuration that contains the repository.
    pub key: &'static str,
    pub entry: AlsoPinned,
    /// The URL and the token.
    pub remote: Remote,
    /// The login with the token for the forge.
    pub login: Option<Login>,
    pub connections: Connections,
    /// An empty directory for fetched objects.
    pub scratch: PathBuf,
}

impl RepositoryAccess {
    /// Checks that the repository can be read, and that it has the branches that count. Fetches nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let other = OtherRepository::open(self)?;
        let options = ["--quiet", "--heads", "--tags", "--end-of-options"];
        let args = [&options[..], &[&self.remote.url]].concat();
        let listed = other.run("ls-remote", &args);
        let listed = listed.map_err(|error| other.unreadable(&error))?;
        let heads = Git::listed_heads(&listed);
        let branches = self.entry.branches.iter().flatten();
        let missing = branches.filter(|name| !heads.contains_key(*name));
        let missing: Vec<_> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(self.without(&format!("the branch {}", missing.join(", "))));
        }
        if listed.is_empty() {
            return Err(self.without("any branch"));
        }
        Ok(())
    }

    /// The error for a repository that does not have something.
    fn without(&self, what: &str) -> Error {
        let message = format!(
            "{}: {} does not have {what}",
            self.key, self.entry.repository
        );
        Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
    }
}

/// A fetched repository and the references that were read.
pub(super) struct OtherRepository {
    access: RepositoryAccess,
    git: Git,
    /// The references that were searched.
    tips: BTreeSet<(String, ObjectId)>,
    past: BranchConfigurations,
}

impl OtherRepository {
    pub(super) fn open(access: &RepositoryAccess) -> Result<Self, Error> {
        Ok(Self {
            access: access.clone(),
            git: Git::init(&access.scratch)?.connecting_with(access.connections.clone()),
            tips: BTreeSet::new(),
            past: BranchConfigurations::default(),
        })
    }

    /// Fetches the repository, and searches the references that changed since the last call.
    pub(super) fn read(
        &mut self,
        config: &Config,
        finder: impl FnOnce(&BranchConfigurations) -> MentionFinder,
    ) -> Result<ProtectionSet, Error> {
        let unreadable = |error: GitError| self.unreadable(&error);
        self.fetch().map_err(unreadable)?;
        let now: BTreeSet<_> = (self.git.tips_below(REFS).map_err(unreadable)?)
            .into_iter()
            .collect();
        let new = &now - &self.tips;
        let repository = &self.access.entry.repository;
        let (mut heads, mut located) = (BTreeSet::new(), Vec::new());
        for (name, tip) in &new {
            if !name.starts_with("tags/") {
                heads.insert(*tip);
            }
            let location = match name.split_once('/') {
                Some(("tags", tag)) => format!("at the tag {tag} of {repository}"),
                _ => format!("on {} of {repository}", branch(name)),
            };
            located.push((*tip, location));
        }
        let past = self
            .past
            .read(&self.git, heads, config, RepositoryName::Other(repository))?;
        let finder = Arc::new(finder(&self.past));
        let mut found = ProtectionSet::default();
        text_search::search_commits(&self.git, &located, &[], &finder, &mut found)?;
        // The first location of a digest is reported, so the past comes last.
        found.merge(past);
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
        let refspecs: Vec<String> = match &self.access.entry.branches {
            Some(branches) => branches
                .iter()
                .map(|name| format!("+refs/heads/{name}:{REFS}heads/{name}"))
                .collect(),
            // A clone may have branches of its remote only as remote-tracking ones.
            None => ["heads", "tags", "remotes"]
                .map(|kind| format!("+refs/{kind}/*:{REFS}{kind}/*"))
                .to_vec(),
        };
        let mut args: Vec<&str> = options.to_vec();
        args.push(&self.access.remote.url);
        args.extend(refspecs.iter().map(String::as_str));
        self.run("fetch", &args).map(drop)
    }

    /// Runs a command of git that connects to the repository.
    fn run(&self, command: &'static str, args: &[&str]) -> Result<Vec<u8>, GitError> {
        let run = |remote: &Remote| self.git.run_checked(command, args, Some(remote));
        let RepositoryAccess { remote, login, .. } = &self.access;
        let routes = Routes::new(remote.clone(), remote.with_login(login.clone()));
        let mut done = run(&routes.first);
        if let Err(error) = &done
            && let Some(remote) = routes.after(error)
        {
            done = run(&remote);
        }
        done
    }

    /// Checks that something was fetched, with its history.
    fn check_complete(&self) -> Result<(), Error> {
        let RepositoryAccess { key, entry, .. } = &self.access;
        let repository = &entry.repository;
        // git reports a missing branch itself.
        if self.tips.is_empty() {
            return Err(self.access.without("any branch"));
        }
        if Git::open(&self.access.scratch)?.is_shallow() {
            let message = format!("{key}: {repository} is itself a shallow clone");
            return Err(Error::new(Class::Unavailable, Code::SHALLOW, message)
                .help("name the repository that it was cloned from"));
        }
        Ok(())
    }

    fn unreadable(&self, error: &GitError) -> Error {
        let message = format!(
            "{}: cannot read {}: {error}",
            self.access.key, self.access.entry.repository
        );
        let refusal = match error {
            GitError::Denied { .. } => Error::new(Class::Denied, Code::DENIED, message),
            _ => Error::new(Class::Unavailable, Code::UNAVAILABLE, message),
        };
        refusal.help(match (error, &self.access.entry.token_env) {
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
}

fn branch(name: &str) -> &str {
    name.strip_prefix("heads/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        support::{
            histories::{self, Bytes, IMAGES, generator, oracle::Branch},
            repo::{CONFIG, Repo},
        },
    };

    /// The number of histories in one repository.
    const TOGETHER: usize = 50;

    /// Every digest that a commit pinned is protected, and no other one than those in files.
    #[test]
    fn pins_of_random_histories_are_protected() {
        let seeds: Vec<_> = histories::seeds().collect();
        for seeds in seeds.chunks(TOGETHER) {
            let made: Vec<_> = seeds.iter().map(|seed| generator::history(*seed)).collect();
            let repo = Repo::empty();
            repo.write("repin.yaml", CONFIG);
            let digest =
                |history: &histories::History, bytes: Bytes| bytes.digest(history.seed).to_string();
            let ids = histories::import(repo.path(), &made, &digest);
            let mut tips = BTreeSet::new();
            for (history, ids) in made.iter().zip(&ids) {
                let heads = history.heads.iter().chain([&history.tip]);
                tips.extend(heads.map(|head| ObjectId::parse(ids[*head].as_bytes()).unwrap()));
            }
            let git = Git::open(repo.path()).unwrap();
            let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
            let mut past = BranchConfigurations::default();
            let found = past
                .read(&git, tips, &config, RepositoryName::ThisRepository)
                .unwrap();
            for history in &made {
                let heads = || history.heads.iter().chain([&history.tip]).copied();
                let needed = Branch::needed(&history.commits, heads());
                let present = Branch::present(&history.commits, heads());
                for number in 0..IMAGES * history.builds {
                    let bytes = history.bytes(number % IMAGES, number / IMAGES);
                    let is_protected = found.of(0).contains(bytes.digest(history.seed));
                    let seed = history.seed;
                    assert!(
                        is_protected || !needed.contains(&bytes),
                        "{seed}: {bytes:?} is needed"
                    );
                    assert!(
                        !is_protected || present.contains(&bytes),
                        "{seed}: {bytes:?} is not"
                    );
                }
            }
        }
    }

    /// Only a hostile repository contains such a directory: git refuses to add it.
    #[test]
    fn unreadable_configuration_in_a_parent_directory_protects() {
        let repo = Repo::new();
        let digest = Digest::of(b"pin");
        repo.write("repin.yaml", "version: 1\n");
        repo.write("note", digest.to_string());
        repo.commit("add an environment");
        let subtree = repo.git(&["rev-parse", "HEAD^{tree}"]);
        let pairs = subtree
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap());
        let id: Vec<u8> = pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        repo.write("tree", [b"40000 ..\0", &id[..]].concat());
        let hash = ["hash-object", "-t", "tree", "-w", "--literally", "tree"];
        let tree = repo.git(&hash);
        let tip = repo.git(&["commit-tree", "-m", "hostile", &tree]);

        let git = Git::open(repo.path()).unwrap();
        let tips = [ObjectId::parse(tip.as_bytes()).unwrap()].into();
        repo.write("repin.yaml", CONFIG);
        let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
        let found = BranchConfigurations::default()
            .read(&git, tips, &config, RepositoryName::ThisRepository)
            .unwrap();
        assert_eq!(
            found.of(0).digest_reason(digest).unwrap().to_string(),
            "its digest appears in ../note:1 of a past commit of this repository"
        );
    }
}

//! Every digest that was ever pinned, and every revision that was ever promoted, on the branches of a
//! repository.
//!
//! Every commit that a branch reaches is read according to every configuration file that was ever in one
//! of these commits, and to the current configuration: a set that only a side line of a merge pinned may be
//! deployed, and an image may have had another repository. If a configuration cannot be read, its files and
//! images are unknown, so every digest in the files of its directory is protected.

use super::branches::BranchNames;
use crate::{
    base::{
        error::Error,
        files::{Globs, MAX_CONFIG_SIZE, RelPath, Snapshot},
    },
    config::{Config, SetPath, is_config_file_of, places_of},
    core::{
        history::{self, parse_config, places_key},
        pins::{Finder, Mentions, WholeFile, mentions, read_whole},
    },
    git::{Git, GitError, ObjectId},
    oci::{Digest, Repository, TagPattern, registry::Mapping},
    prune::Text,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// The protection that a repository adds.
#[derive(Debug, Default)]
pub(super) struct RepositoryProtection {
    pub(super) text: Text,
    /// The digests that were ever pinned, with their locations.
    pub(super) pinned: BTreeMap<Digest, String>,
    /// The tags of revisions that were ever promoted, with the evidence.
    pub(super) tags: BTreeMap<TagPattern, String>,
}

/// The facts from the configurations on the branches of a repository.
#[derive(Default)]
pub(super) struct BranchConfigurations {
    pub(super) configs: Vec<Config>,
    /// The names that the `sources` of configurations give repositories.
    pub(super) mappings: BTreeSet<Mapping>,
    /// The formats of promotion and rollback branches.
    pub(super) branch_formats: BranchNames,
}

/// The contents of each file in the commits that were read.
type Contents = BTreeMap<Vec<u8>, BTreeSet<ObjectId>>;

impl BranchConfigurations {
    /// Searches the commits that `tips` reach in a repository that messages call `repository`.
    pub(super) fn read(
        &mut self,
        git: &Git,
        tips: BTreeSet<ObjectId>,
        config: &Config,
        repository: &str,
    ) -> Result<RepositoryProtection, Error> {
        let tips: Vec<_> = tips.into_iter().collect();
        let mut files = Contents::new();
        history::each_blob(git, &tips, |path, blob| {
            files.entry(path.to_vec()).or_default().insert(blob);
        })?;
        let rules = PinRules::read(git, &files, config)?;
        let mut found = RepositoryProtection::default();
        for (tag, revision) in history::claimed_tags(git, &tips, &rules.configs)? {
            let evidence = format!("that a commit of {repository} promoted ({revision})");
            found.tags.insert(tag, evidence);
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
}

impl PinRules {
    /// Loads every past configuration, and adds the current one.
    fn read(git: &Git, files: &Contents, config: &Config) -> Result<Self, GitError> {
        let mut rules = Self::default();
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
        repository: &str,
        found: &mut RepositoryProtection,
    ) -> Result<(), Error> {
        let mut pins = git.objects(self.scanner());
        let mut buffer = Vec::new();
        let mut digests = git.objects(move |content| mentions(content, &mut buffer).map(Some));
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
                found
                    .pinned
                    .entry(digest)
                    .or_insert_with(|| location.clone());
            }
        }
        for (blob, digests) in digests.finish()? {
            let mentions = Mentions {
                digests,
                tags: Vec::new(),
            };
            found.text.add(unknown[&blob], &commit, &mentions);
        }
        Ok(())
    }

    fn matches(&self, path: &[u8]) -> bool {
        self.globs.iter().any(|((directory, _), globs)| {
            let path = path
                .strip_prefix(directory.as_slice())
                .and_then(|p| RelPath::new(Path::new(OsStr::from_bytes(p))).ok());
            path.is_some_and(|path| Snapshot::lists(globs, &path))
        })
    }

    /// Whether the pins of a file are unknown, or places search the file. Then every digest in it is
    /// protected.
    fn protects_every_digest(&self, path: &[u8]) -> bool {
        if self
            .unknown
            .iter()
            .any(|directory| path.starts_with(directory))
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::support::repo::{CONFIG, Repo};

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
            .read(&git, tips, &config, "it")
            .unwrap();
        assert_eq!(
            found.text.location(&digest).unwrap(),
            "in ../note:1 of a past commit of it"
        );
    }
}

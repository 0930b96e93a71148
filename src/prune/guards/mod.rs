//! The protection of versions regardless of their age: digests and tags in tracked files, pins and
//! promotion history, in this repository and others.
//!
//! It is computed in each run from the remote's current branches and tags. A clone with a different
//! base or without full history is refused, and so is unreadable content.

mod bases;
mod branches;
mod checkouts;
mod past_pins;
mod text_search;

use std::{cmp::Reverse, collections::BTreeSet, os::unix::ffi::OsStrExt, sync::Arc};

use branches::{Branches, Tips};
use checkouts::Checkouts;
use past_pins::{BranchConfigurations, OtherRepository, RepositoryName};
use regex::Regex;

use super::{DigestUse, ImageProtection, Place, ProtectionSet, RunningImage, TagUse};
use crate::{
    base::{
        error::{Class, Code, Error},
        files::{Files, Hazard, WorkTree},
    },
    config::Config,
    core::{
        history::{CommitConfig, History, commit_config},
        pins::{self, FoundPins, ImageNames, MentionFinder},
    },
    git::{self, Connections, Git, ObjectId},
    oci::{TagPattern, registry::Mapping},
};

pub(crate) use branches::{PullHead, tips_keep_moving_error};
pub(crate) use past_pins::RepositoryAccess;

/// The protection of all images, and its sources, from which it can be refreshed.
pub(crate) struct ProtectionSources {
    config: Config,
    sets: Vec<Config>,
    tags: Regex,
    /// The sources of the images.
    locations: Vec<String>,
    /// The names that the `sources` of the current configuration and of the command line give repositories.
    mappings: Vec<Mapping>,
    branches: Branches,
    past: BranchConfigurations,
    others: Vec<OtherRepository>,
    set: ProtectionSet,
}

/// The inputs of protection besides the clone.
#[derive(Clone, Copy)]
pub(crate) struct ProtectionInputs<'e> {
    /// The settings for connections to the clone's remotes.
    pub(crate) connections: &'e Connections,
    /// The default branch according to CI.
    pub(crate) branch: Option<&'e str>,
    /// The sources of the images: the pins of one image protect the others from the same source.
    pub(crate) locations: &'e [String],
    /// All mappings of `sources`.
    pub(crate) mappings: &'e [Mapping],
    /// The pattern of the tags of candidates.
    pub(crate) tags: &'e Regex,
    /// The other sets of the repository.
    pub(crate) sets: &'e [Config],
    /// The other repositories that pin images.
    pub(crate) others: &'e [RepositoryAccess],
    /// The heads of open pull requests.
    pub(crate) pulls: &'e [PullHead],
    /// The images that run, by the files that list them.
    pub(crate) running: &'e [RunningFile],
    /// Whether versions are deleted by the rules of the configuration.
    pub(crate) deletes: bool,
}

/// A file with the images that run.
pub(crate) struct RunningFile {
    /// The name in messages.
    pub(crate) name: String,
    pub(crate) images: Vec<RunningImage>,
}

/// The prefixes of references in the clone that refer to commits: branches, those of every remote, and the
/// heads of changes on forges.
const COMMIT_REFERENCES: [&str; 5] = [
    "refs/heads/",
    "refs/remotes/",
    "refs/pull/",
    "refs/merge-requests/",
    "refs/changes/",
];
/// The maximum size of a scanned file in a commit, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Gathers the protection of all images.
pub(crate) fn gather(
    config: &Config,
    inputs: &ProtectionInputs<'_>,
) -> Result<ProtectionSources, Error> {
    let git = Git::open(&config.root)?.connecting_with(inputs.connections.clone());
    check_complete_clone(&git)?;
    let mut reader = PinReader {
        config,
        set: ProtectionSet::default(),
    };
    let found = reader.add_files(&WorkTree::new(&config.root), config, "in the work tree")?;
    check_refused(&found)?;
    // Ignored files protect digests as well, but do not count.
    check_counts(config, &pins::find(&config.work_tree(), config)?)?;
    let branches = Branches::read(git, config, inputs.branch, inputs.pulls)?;
    bases::check(&branches, config, inputs.sets, inputs.deletes)?;
    let checkouts = Checkouts::read(&branches.git)?;
    let mut past = BranchConfigurations::default();
    let found_past = read_past(&mut past, &branches.git, &branches.tips, &checkouts, config)?;
    for (remote, base) in &branches.bases {
        reader.add_history(&branches.git, &format!("{remote}/{base}"))?;
    }
    for (name, tip) in &branches.tips {
        if branches.is_watched(name) {
            reader.add_commit(&branches.git, tip, &name.location())?;
        }
        if let Some(branch) = name.branch() {
            let tags = branches.tags_of(branch, &config.revision, &past.branch_formats);
            reader.add_revision(tags, branch);
        }
    }
    let mut others = Vec::new();
    for other in inputs.others {
        others.push(OtherRepository::open(other)?);
    }
    let mut sources = ProtectionSources {
        config: config.clone(),
        sets: inputs.sets.to_vec(),
        tags: inputs.tags.clone(),
        locations: inputs.locations.to_vec(),
        mappings: inputs.mappings.to_vec(),
        branches,
        past,
        others,
        set: with_other_images(&reader.set, config, inputs.locations),
    };
    sources.read_all(&checkouts, found_past)?;
    // Evidence in git has a better place.
    sources.add_running(inputs.running);
    Ok(sources)
}

/// Searches the past of `tips`, and of every branch, change and work tree of the clone.
fn read_past(
    past: &mut BranchConfigurations,
    git: &Git,
    tips: &Tips,
    checkouts: &Checkouts,
    config: &Config,
) -> Result<ProtectionSet, Error> {
    let mut heads = Branches::heads(tips);
    heads.extend(&checkouts.heads);
    heads.extend(git.tips_of(&COMMIT_REFERENCES)?);
    past.read(git, heads, config, RepositoryName::ThisRepository)
}

impl ProtectionSources {
    /// The protection of the image with this index.
    pub(crate) fn of(&self, image: usize) -> ImageProtection<'_> {
        self.set.of(image)
    }

    /// Searches every work tree, branch and tag, and the other repositories, and adds the past.
    fn read_all(&mut self, checkouts: &Checkouts, past: ProtectionSet) -> Result<(), Error> {
        self.read_trees(checkouts)?;
        let tips = self.branches.tips.clone();
        self.read_tips(&tips, checkouts)?;
        // The first location of a digest is reported, so the past comes last.
        self.set.merge(past);
        self.read_others()?;
        Ok(())
    }

    /// Searches the files of every work tree; returns whether anything was new.
    fn read_trees(&mut self, checkouts: &Checkouts) -> Result<bool, Error> {
        let mut files = ProtectionSet::default();
        let git = &self.branches.git;
        let mut roots = vec![(git.prefix().to_vec(), &self.config.scanned)];
        for set in &self.sets {
            let mut prefix = set.set_path.directory().as_os_str().as_bytes().to_vec();
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            roots.push((prefix, &set.scanned));
        }
        let finder = self.finder();
        for checkout in &checkouts.trees {
            text_search::search_work_tree(checkout, &roots, &finder, &mut files)
                .map_err(|error| checkout.error(error))?;
        }
        Ok(self.set.merge(files))
    }

    /// Searches the files of `tips`, and the commits and indexes of the clone; returns whether anything was new.
    fn read_tips(&mut self, tips: &Tips, checkouts: &Checkouts) -> Result<bool, Error> {
        let mut located = Vec::new();
        for (name, tip) in tips {
            located.push((*tip, name.location()));
        }
        located.extend_from_slice(&checkouts.commits);
        let finder = Arc::new(self.finder());
        let mut found = ProtectionSet::default();
        let (git, trees) = (&self.branches.git, &checkouts.trees);
        text_search::search_commits(git, &located, trees, &finder, &mut found)?;
        Ok(self.set.merge(found))
    }

    fn read_others(&mut self) -> Result<bool, Error> {
        let mut is_new = false;
        let mut others = std::mem::take(&mut self.others);
        for other in &mut others {
            let found = other.read(&self.config, |past| self.finder_with(Some(past)))?;
            is_new |= self.set.merge(found);
        }
        self.others = others;
        Ok(is_new)
    }

    fn add_running(&mut self, files: &[RunningFile]) {
        let names = self.names_with(None);
        let none = BTreeSet::new();
        for file in files {
            for image in &file.images {
                let name = image.name.as_deref();
                let images = name.and_then(|name| names.of_word(name)).unwrap_or(&none);
                self.set.add_running(image, &file.name, images);
            }
        }
    }

    fn finder(&self) -> MentionFinder {
        self.finder_with(None)
    }

    /// The search in texts.
    fn finder_with(&self, other: Option<&BranchConfigurations>) -> MentionFinder {
        MentionFinder::new(&self.tags, self.names_with(other))
    }

    /// The names that every configuration that was read gives the images.
    fn names_with(&self, other: Option<&BranchConfigurations>) -> ImageNames {
        let mut mappings = self.mappings.clone();
        let mut configs = Vec::new();
        for past in [Some(&self.past), other].into_iter().flatten() {
            mappings.extend(past.mappings.iter().cloned());
            configs.extend(past.configs.iter().cloned());
        }
        ImageNames::new(&self.config, &mappings, &self.locations, &configs)
    }

    /// Lists all branches and tags again just before the first deletion, and reads the changed ones and everything that only
    /// this clone contains. Refuses if a base, or a promotion or rollback branch of any set, is among the changed ones.
    /// `pulls` are the heads of open pull requests. Returns whether the use of any digest or tag is new.
    pub(crate) fn refresh(&mut self, pulls: &[PullHead]) -> Result<bool, Error> {
        let moved = self.branches.read_moved(pulls)?;
        let git = &self.branches.git;
        let checkouts = Checkouts::read(git)?;
        let past = read_past(&mut self.past, git, &moved, &checkouts, &self.config)?;
        self.branches
            .check_moved(&moved, &self.past.branch_formats)?;
        let mut is_new = self.read_trees(&checkouts)?;
        is_new |= self.read_tips(&moved, &checkouts)?;
        is_new |= self.set.merge(past);
        is_new |= self.read_others()?;
        Ok(is_new)
    }
}

/// Refuses a shallow or partial clone.
fn check_complete_clone(git: &Git) -> Result<(), Error> {
    if git.is_shallow() {
        let message = "this clone is shallow, so it does not show what was ever promoted";
        let error = Error::new(Class::Unavailable, Code::SHALLOW, message);
        return Err(error.help(git::FETCH_HISTORY));
    }
    if let Some(remote) = git.promisor_remote()? {
        let message = "this is a partial clone, so it does not show what was ever pinned";
        let hint = format!(
            "clone it without --filter, or fetch the rest: git fetch --refetch --no-filter {remote} && \
             git config --unset remote.{remote}.promisor && \
             git config --unset remote.{remote}.partialclonefilter"
        );
        return Err(Error::new(Class::Unavailable, Code::PARTIAL, message).help(hint));
    }
    Ok(())
}

/// Refuses a wrong number of pins, because a missing pin may be in a file that is not scanned.
fn check_counts(config: &Config, found: &FoundPins) -> Result<(), Error> {
    let wrong: Vec<_> = config
        .images
        .iter()
        .enumerate()
        .map(|(at, image)| (image, found.pins_of(at).count()))
        .filter(|(image, count)| image.pins != *count)
        .map(|(image, count)| {
            let pins = crate::base::text::counted(count, "pin");
            let (name, declared) = (&image.name, image.pins);
            format!("found {pins} of `{name}`, but `pins: {declared}` is declared")
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let hint = "correct `pins` or `files`; `repin check` shows where each pin was found";
    Err(Error::new(Class::Failed, Code::PIN_COUNT, wrong.join("; ")).help(hint))
}

/// Refuses an ambiguous entry, because its pin is unknown. At the heads of branches, its digest is
/// protected as text.
fn check_refused(found: &FoundPins) -> Result<(), Error> {
    let Some(refused) = found.refused.first() else {
        return Ok(());
    };
    let message = format!(
        "{}:{}:{} (in the work tree): cannot determine which digest is pinned here: {}",
        refused.file, refused.item.line, refused.item.column, refused.item.reason
    );
    let help = "change the entry so that every reader agrees, or exclude the file from the place";
    Err(Error::new(Class::Failed, Code::PIN_UNSUPPORTED, message).help(help))
}

/// Adds the pins and the history of each image to the other images. Images from one source share them.
fn with_other_images(
    found: &ProtectionSet,
    config: &Config,
    locations: &[String],
) -> ProtectionSet {
    let mut all = found.clone();
    let mut uses: Vec<_> = found.digests.iter().collect();
    // A later image and a current pin replace the place of the same digest.
    uses.sort_by_key(|((digest, usage, image), _)| (*image, Reverse(*usage), *digest));
    for ((digest, usage, image), place) in uses {
        let (Some(image), DigestUse::Pin | DigestUse::History) = (*image, *usage) else {
            continue;
        };
        for (at, location) in locations.iter().enumerate() {
            let (usage, place) = if locations.get(image) == Some(location) {
                (*usage, place.clone())
            } else {
                let place = format!("{place} as {}", config.images[image].name);
                (DigestUse::OtherPin, Place::Text(place))
            };
            all.digests.insert((*digest, usage, Some(at)), place);
        }
    }
    all
}

/// Reads the pins and the promotion history of each image.
struct PinReader<'c> {
    config: &'c Config,
    set: ProtectionSet,
}

impl PinReader<'_> {
    /// Adds the pins in `files` according to `config`.
    fn add_files(
        &mut self,
        files: &dyn Files,
        config: &Config,
        location: &str,
    ) -> Result<FoundPins, Error> {
        let found = pins::find(files, config)?;
        if let Some((path, hazard)) = found
            .hazards
            .iter()
            .find(|(_, hazard)| matches!(hazard, Hazard::Symlink | Hazard::Special))
        {
            let message = format!(
                "{path} ({location}): cannot determine which digests are pinned here: {hazard}"
            );
            return Err(Error::new(Class::Failed, Code::FILE_UNSAFE, message)
                .help("replace the link with a regular file, or remove it from `files:`"));
        }
        if let Some(malformed) = found.malformed.first() {
            let (file, line) = (&malformed.file, malformed.item.line);
            let message = format!(
                "{file}:{line} ({location}): cannot determine which digest is pinned here: `{}`",
                malformed.item.text
            );
            return Err(Error::new(Class::Failed, Code::PIN_UNSUPPORTED, message)
                .help("write the digest in full, or make it a placeholder such as `<digest>`"));
        }
        if let Some(twice) = found.double_matches.first() {
            let error = twice.error(config);
            let message = format!("{} ({location})", error.message);
            return Err(Error { message, ..error });
        }
        for pin in found.pins() {
            let usage = (pin.item.digest, DigestUse::Pin, Some(pin.item.image));
            let place = || Place::Text(format!("{location} ({}:{})", pin.file, pin.item.line));
            self.set.digests.entry(usage).or_insert_with(place);
        }
        Ok(found)
    }

    /// Adds the pins in the tree of a commit according to its own and the current configuration.
    fn add_commit(&mut self, git: &Git, commit: &ObjectId, location: &str) -> Result<(), Error> {
        let mut configs = vec![self.config.clone()];
        match commit_config(git, commit, self.config)? {
            CommitConfig::Config(own) => configs.push(Config {
                images: self.config.images.clone(),
                ..*own
            }),
            CommitConfig::Current => {}
            CommitConfig::Unreadable(reason) => {
                let message = format!(
                    "cannot determine what is pinned {location}: its configuration cannot be read: {reason}"
                );
                return Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
                    .help("fix the configuration there"));
            }
        }
        for config in configs {
            let tree = git.files_at(commit, &config.scanned, MAX_FILE)?;
            if let Some(path) = tree.too_large {
                let message = format!(
                    "cannot determine what is pinned {location}: {path} has more than 64 MiB"
                );
                return Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
                    .help("remove it from `files:`"));
            }
            self.add_files(&tree.files, &config, location)?;
        }
        Ok(())
    }

    /// Adds the tags of the revision of a promotion or rollback branch.
    fn add_revision(&mut self, tags: BTreeSet<TagPattern>, branch: &str) {
        for tag in tags {
            let known = self.set.tags.entry((tag, TagUse::Revision, None));
            known.or_insert_with(|| Place::Text(format!("that {branch} is for")));
        }
    }

    /// Adds every digest that was ever pinned on a branch, and the tags of the revisions that were
    /// promoted there.
    fn add_history(&mut self, git: &Git, branch: &str) -> Result<(), Error> {
        let history = History::for_branch(git, self.config, git.branch(Some(branch))?)?;
        for (tag, revision) in history.claimed_tags() {
            let evidence = format!("that {branch} promoted ({revision})");
            let usage = (tag, TagUse::Revision, None);
            self.set.tags.insert(usage, Place::Text(evidence));
        }
        for (image, ever_pinned) in history.pinned_digests().into_iter().enumerate() {
            for digest in ever_pinned {
                let usage = (digest, DigestUse::History, Some(image));
                let place = Place::Text("in promotion history".to_owned());
                self.set.digests.insert(usage, place);
            }
            for digest in history.place_digests() {
                let usage = (*digest, DigestUse::OtherPin, Some(image));
                let location = format!("in a file matched by `places`, in the history of {branch}");
                self.set.digests.insert(usage, Place::Text(location));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config,
        core::pins::{Mention, Mentions},
        oci::Digest,
    };

    const CONFIG: &str = "version: 1
files: [x]
images:
  app: { repository: r.example/app, pins: 1 }
  base: { repository: r.example/base, pins: 1 }
";

    #[test]
    fn images_of_one_source_share_their_protection() {
        let config = config::example(CONFIG);
        let (pin, past) = (Digest::of(b"pin"), Digest::of(b"past"));
        let mut found = ProtectionSet::default();
        let text = |text: &str| Place::Text(text.to_owned());
        for (digest, usage, place) in [
            (pin, DigestUse::Pin, "at x"),
            (past, DigestUse::History, "in promotion history"),
        ] {
            found.digests.insert((digest, usage, Some(0)), text(place));
        }
        let base = |locations: [&str; 2]| {
            let locations = locations.map(str::to_owned);
            let all = with_other_images(&found, &config, &locations);
            let uses = all.digests.into_iter();
            uses.filter(|((_, _, image), _)| *image == Some(1))
                .map(|((digest, usage, _), place)| ((digest, usage), place))
                .collect::<BTreeMap<_, _>>()
        };
        let shared = [
            ((pin, DigestUse::Pin), text("at x")),
            ((past, DigestUse::History), text("in promotion history")),
        ];
        assert_eq!(base(["r", "r"]), shared.into());
        let others = [
            ((pin, DigestUse::OtherPin), text("at x as app")),
            (
                (past, DigestUse::OtherPin),
                text("in promotion history as app"),
            ),
        ];
        assert_eq!(base(["r", "s"]), others.into());
    }

    #[test]
    fn known_protection_keeps_its_first_location() {
        let digest = Digest::of(b"pin");
        let tag = TagPattern::parse("pending-a").unwrap();
        let found = |file: &str| {
            let mentions = Mentions {
                digests: [Mention {
                    digest,
                    algorithm: true,
                    line: 1,
                }]
                .into(),
                tags: Vec::new(),
            };
            let mut found = ProtectionSet::default();
            found.add_mentions(file.as_bytes(), "here", &mentions);
            let place = Place::Text(file.to_owned());
            let usage = (digest, DigestUse::PastPin, None);
            found.digests.insert(usage, place.clone());
            found
                .tags
                .insert((tag.clone(), TagUse::Revision, None), place);
            found
        };
        let mut common = ProtectionSet::default();
        assert!(common.merge(found("a")));
        let first = common.clone();
        assert!(!common.merge(found("b")));
        assert_eq!(common, first);
    }
}

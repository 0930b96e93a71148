//! The holds of every set that a branch has or had, by the path of its configuration.
//!
//! Renames are not followed: a set whose path no longer exists may have become any other one.

use super::{
    History,
    changes::Unreadable,
    holds::{HeldDigest, by_digest},
};
use crate::{
    base::untrusted::plain,
    config::{Config, SetPath, is_config_file_of},
    core::configurations::{NoConfig, config_of_blob, config_of_set},
    git::{Branch, Git, GitError, ObjectId, commits},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    panic::resume_unwind,
    path::Path,
    sync::OnceLock,
    thread,
};

/// The minimum number of commits that a process of git compares; tests use several processes for few commits.
const LEAST_PER_PROCESS: usize = if cfg!(test) { 3 } else { 2_000 };

/// The maximum number of these processes: each holds the commits that it skips in memory.
const MAX_PROCESSES: usize = 8;

/// What a branch reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// The number of commits.
    commits: usize,
    /// Whether merges brought in other histories, as `git subtree add` does.
    has_imports: bool,
}

/// The sets of a branch.
#[derive(Debug)]
pub(crate) struct OtherSets {
    git: Git,
    branch: Branch,
    has_imports: bool,
    sets: Vec<OtherSet>,
}

#[derive(Debug)]
struct OtherSet {
    path: SetPath,
    /// The latest version of the configuration.
    config: Config,
    /// Every version of it, newest first.
    versions: Vec<ObjectId>,
    /// The names of the images in the present configuration; empty if the set no longer exists.
    images: BTreeSet<String>,
    /// Whether the set or one of its images no longer exists, once it is known.
    has_ended: OnceLock<bool>,
    /// The holds, once they are read.
    holds: OnceLock<HoldsOfSet>,
}

#[derive(Debug)]
struct HoldsOfSet {
    held: Vec<HeldDigest>,
    /// The latest commit with unknown content, which may have rolled back a set.
    blind_spot: Option<Unreadable>,
}

/// A set with a commit that may have rolled back other digests than those that are known.
#[derive(Debug, thiserror::Error)]
#[error(
    "rollbacks of the set {} may be unknown: cannot read commit {}: {}",
    plain(&.set_path.to_string()), .commit.commit.short(), plain(&.commit.reason())
)]
pub(crate) struct UnknownHolds {
    set_path: SetPath,
    commit: Unreadable,
}

/// The holds that matter to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldScope {
    /// Those that refuse a promotion.
    Refusals,
    /// Also those that warn, of sets that still exist.
    All,
}

impl History {
    /// What the branch reaches.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            commits: self.facts.commits.len(),
            has_imports: !self.shallow && self.facts.graph.joined().is_some(),
        }
    }

    /// Adds the holds of the other sets of the branch.
    pub(crate) fn with_other_sets(
        mut self,
        others: &OtherSets,
        scope: HoldScope,
    ) -> Result<Self, GitError> {
        // A set that begins in the middle of the line, or that was moved to this path, may have the path of a
        // former one.
        let with_own = self.facts.start > 0 || self.facts.paths.len() > 1;
        for held in others.held_for(self.set_path(), with_own, scope)? {
            if !self.is_released(&held) && !self.held.contains(&held) {
                self.held.push(held);
            }
        }
        self.held_by_digest = by_digest(&self.held);
        Ok(self)
    }
}

impl OtherSets {
    /// Finds the sets of every configuration file in the history of a branch. `own`: the path of the
    /// configuration of a set that asks.
    pub(crate) fn read(
        git: &Git,
        branch: &Branch,
        own: &SetPath,
        reach: Reach,
    ) -> Result<Self, GitError> {
        let mut sets = Vec::new();
        for (path, versions) in configurations(git, &branch.tip, own, reach.commits)? {
            sets.extend(OtherSet::read(git, branch, path, versions)?);
        }
        Ok(Self {
            git: git.clone(),
            branch: branch.clone(),
            has_imports: reach.has_imports,
            sets,
        })
    }

    /// The sets of which holds may be unknown, among those that were read.
    pub(crate) fn unknown_holds(&self) -> Vec<UnknownHolds> {
        let mut unknown = Vec::new();
        for set in &self.sets {
            let holds = set.holds.get();
            if let Some(commit) = holds.and_then(|holds| holds.blind_spot.clone()) {
                let set_path = set.path.clone();
                unknown.push(UnknownHolds { set_path, commit });
            }
        }
        unknown
    }

    /// The holds of the sets, as they count for the set at a path. `with_own`: whether those of a former set
    /// at this path are wanted.
    pub(super) fn held_for(
        &self,
        path: &SetPath,
        with_own: bool,
        scope: HoldScope,
    ) -> Result<Vec<HeldDigest>, GitError> {
        let mut all = Vec::new();
        for set in &self.sets {
            let is_own = set.path == *path;
            let is_wanted = if is_own {
                with_own
            } else {
                scope == HoldScope::All || self.has_imports || set.has_ended(&self.git)?
            };
            if !is_wanted {
                continue;
            }
            for held in &set.holds(&self.git, &self.branch)?.held {
                all.push(HeldDigest {
                    is_elsewhere: !is_own && !held.is_imported && set.images.contains(&held.image),
                    ..held.clone()
                });
            }
        }
        Ok(all)
    }
}

impl OtherSet {
    /// `None` if no version of the file is a configuration.
    fn read(
        git: &Git,
        branch: &Branch,
        path: SetPath,
        versions: Vec<ObjectId>,
    ) -> Result<Option<Self>, GitError> {
        let mut latest = NoConfig::ignore(config_of_set(git, &branch.tip, &path))?;
        let images = latest.as_ref().map(image_names).unwrap_or_default();
        for version in &versions {
            if latest.is_none() {
                latest = version_of(git, &path, *version)?;
            }
        }
        Ok(latest.map(|config| Self {
            path,
            config,
            versions,
            images,
            has_ended: OnceLock::new(),
            holds: OnceLock::new(),
        }))
    }

    fn has_ended(&self, git: &Git) -> Result<bool, GitError> {
        if let Some(known) = self.has_ended.get() {
            return Ok(*known);
        }
        let mut has_ended = false;
        for version in &self.versions {
            let past = version_of(git, &self.path, *version)?;
            has_ended |= past.is_some_and(|past| !image_names(&past).is_subset(&self.images));
        }
        Ok(*self.has_ended.get_or_init(|| has_ended))
    }

    fn holds(&self, git: &Git, branch: &Branch) -> Result<&HoldsOfSet, GitError> {
        if let Some(holds) = self.holds.get() {
            return Ok(holds);
        }
        let history = History::for_one_path(git, &self.config, branch.clone())?;
        Ok(self.holds.get_or_init(|| HoldsOfSet {
            blind_spot: history.blind_spot().cloned(),
            held: history.held,
        }))
    }
}

fn image_names(config: &Config) -> BTreeSet<String> {
    config
        .images
        .iter()
        .map(|image| image.name.clone())
        .collect()
}

/// A version of the configuration at a path; `None` if it cannot be read as one.
fn version_of(git: &Git, path: &SetPath, version: ObjectId) -> Result<Option<Config>, GitError> {
    let (name, root) = (path.to_string(), git.top().join(path.directory()));
    NoConfig::ignore(config_of_blob(git, version, &name, &root, path))
}

/// Every path of a configuration file in the commits up to `tip`, with the contents that it had, newest first.
///
/// Each processor compares a part of the commits. Every changed directory is read: a configuration that was removed is
/// evidence wherever it was, and neither a pathspec with a wildcard nor the commit graph finds it faster
/// (docs/decisions/0033-no-history-cache.md).
fn configurations(
    git: &Git,
    tip: &ObjectId,
    own: &SetPath,
    commits: usize,
) -> Result<BTreeMap<SetPath, Vec<ObjectId>>, GitError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let length = commits.div_ceil(processors.min(MAX_PROCESSES));
    let length = length.max(LEAST_PER_PROCESS);
    let parts: Vec<_> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for start in (0..commits).step_by(length) {
            // The last part has no end: a fetch may have added older commits since they were counted.
            let count = (start + length < commits).then_some(length);
            threads.push(scope.spawn(move || configurations_of(git, tip, own, start, count)));
        }
        let results = threads.into_iter().map(|thread| {
            let result = thread.join();
            result.unwrap_or_else(|panic| resume_unwind(panic))
        });
        results.collect::<Result<_, _>>()
    })?;
    let mut versions: BTreeMap<SetPath, Vec<ObjectId>> = BTreeMap::new();
    for (path, blob) in parts.into_iter().flatten() {
        let blobs = versions.entry(path).or_default();
        if !blobs.contains(&blob) {
            blobs.push(blob);
        }
    }
    Ok(versions)
}

/// The configuration files that a part of the log of `tip` changed ([`commits::changes_of_part`]), with their contents,
/// newest first.
fn configurations_of(
    git: &Git,
    tip: &ObjectId,
    own: &SetPath,
    skip: usize,
    count: Option<usize>,
) -> Result<Vec<(SetPath, ObjectId)>, GitError> {
    let mut found = Vec::new();
    commits::changes_of_part(git, tip, skip, count)?.each(|commit| {
        for change in commit.changes {
            let path = Path::new(OsStr::from_bytes(&change.path));
            if is_config_file_of(path, own)
                && let Some(blob) = change.blob
                && let Ok(path) = SetPath::new(path)
            {
                found.push((path, blob));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

//! The provenance of a set.
//!
//! Whether the branch that counts contains the commit that a set was built from.
//!
//! The facts about a commit: its set, and the claims for which it is evidence.
//!
//! The configurations of past commits.

use std::{
    cell::OnceCell, collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path,
    sync::Arc,
};

use super::{
    Digests, History, HistoryEntry,
    claims::Claims,
    graph::Graph,
    periods::PastImages,
    renames::ConfigPath,
    sets::Set,
    walk::{ConfigState, Content},
};
use crate::{
    base::{error::Errors, files::RelPath},
    config::{Config, SetPath},
    core::configurations::{self, NoConfig},
    git::{Git, GitError, ObjectId},
    oci::{Digest, Revision},
};

/// The evidence that makes a set available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promoted {
    /// The latest commit of the line that promoted the set or rolled back to it.
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
    /// The digest of every image that must be pinned.
    pub images: Digests,
    /// The commit that first made the set current: its tree contains the contracts under which the set
    /// was promoted, whereas `commit` may be a rollback with the contracts of the set that it undid.
    /// [`super::commit_config`] and [`crate::git::Git::file`] read them.
    pub contracts: ObjectId,
    /// The path of the configuration at that commit, if it was renamed since. [`super::promoted_config`]
    /// reads it.
    pub former_path: Option<SetPath>,
    pub introduced: Arc<Introduced>,
}

/// For each image, the commits that introduced its digests.
pub(crate) type Introduced = BTreeMap<String, BTreeMap<Digest, ObjectId>>;

/// The result of looking up a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    Found(Promoted),
    /// `require: [content]`: only the digests that the revision's tags now resolve to can identify
    /// the set; call [`History::provenance_of`] with them.
    ByContent,
    /// No commit of the line promoted this revision, or pinned these digests.
    Never,
    /// The revision was promoted, but its set lacks a currently configured image.
    Incomplete {
        /// The latest commit that claims the revision.
        commit: ObjectId,
        gaps: Vec<Gap>,
    },
    /// A commit claims this revision for digests of another one.
    OtherRevision {
        commit: ObjectId,
        revision: Revision,
        /// The commit that introduced the digests.
        introduced: ObjectId,
    },
    /// Unknown, because the clone is too shallow.
    Shallow,
}

/// The set that was current at a commit.
#[derive(Debug)]
pub(crate) enum SetAtCommit<'h> {
    /// The entry of the commit that made it current.
    Entry(&'h HistoryEntry),
    None,
    /// The commit is not on the line of the set.
    OtherLine,
}

/// The reason for which a commit's content is not available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The commit does not pin a configured image.
    NotPinned(String),
    /// The pins of an image disagree.
    Mixed(String, Vec<Digest>),
    /// The commit's configuration cannot be read, for this reason.
    Unreadable(String),
}

impl History {
    /// The provenance of `revision`: the latest commit that claims it and pins every configured image.
    pub(crate) fn provenance(&self, revision: &Revision) -> Provenance {
        if !self.config.provenance.requires_title() {
            let mut sets = self.facts.line_sets().filter_map(|(_, set)| set);
            return if sets.any(|set| self.is_whole(set)) {
                Provenance::ByContent
            } else {
                self.not_found()
            };
        }
        let mut incomplete = None;
        for index in self.claimed.get(revision).into_iter().flatten().rev() {
            let index = *index;
            // The merged claims of a doubtful commit may belong to an older merge.
            let claims = &self.facts.line_commit(index).claims;
            let is_certain =
                !self.facts.doubtful.contains(&index) || claims.revisions.contains(revision);
            match self.whole_set(index) {
                Some(set) if !is_certain || self.may_be_replaced(index, set) => {
                    return Provenance::Shallow;
                }
                Some(set) => return Provenance::Found(self.promoted(index, set)),
                None => incomplete = incomplete.or(Some(index)),
            }
        }
        match incomplete {
            Some(index) if !self.shallow => Provenance::Incomplete {
                commit: self.facts.line_commit(index).id,
                gaps: self.gaps(index),
            },
            _ => match self
                .ignored_claims()
                .into_iter()
                .rev()
                .find(|claim| claim.claimed == *revision)
            {
                Some(claim) if !self.shallow => Provenance::OtherRevision {
                    commit: claim.commit,
                    revision: claim.revision,
                    introduced: claim.introduced,
                },
                _ => self.not_found(),
            },
        }
    }

    /// Whether a later doubtful commit may have promoted the same revision with another set.
    fn may_be_replaced(&self, index: usize, set: usize) -> bool {
        let later = self.facts.doubtful.range(index + 1..);
        later
            .filter_map(|later| self.whole_set(*later))
            .any(|other| other != set)
    }

    /// The set of a commit of the line, if it is whole.
    fn whole_set(&self, index: usize) -> Option<usize> {
        let set = self.facts.line_point(index).set;
        set.filter(|set| self.is_whole(*set))
    }

    /// The provenance of a set without a title: a commit of the line that pinned exactly these digests
    /// together. Images with `pins: 0` in the current configuration are ignored.
    pub(crate) fn provenance_of(&self, digests: &Digests) -> Provenance {
        let is_same = |set: usize| self.is_whole(set) && self.agrees(set, digests);
        for event in self.line_events().rev() {
            if is_same(event.set) {
                return Provenance::Found(self.promoted(event.position, event.set));
            }
        }
        // In a shallow clone, the set of the first commit has no event.
        for (index, set) in self.facts.line_sets() {
            if let Some(set) = set
                && is_same(set)
            {
                return Provenance::Found(self.promoted(index, set));
            }
        }
        self.not_found()
    }

    /// The set that was current at a commit.
    pub(crate) fn set_at(&self, commit: &ObjectId) -> SetAtCommit<'_> {
        let line = self.facts.graph.line.iter();
        let mut positions = line.enumerate();
        let position = positions
            .find_map(|(at, index)| (self.facts.commits[*index].id == *commit).then_some(at));
        let Some(position) = position.filter(|at| *at >= self.facts.start) else {
            return SetAtCommit::OtherLine;
        };
        let mut events = self.line_events().rev().zip(self.entries());
        match events.find(|(event, _)| event.position <= position) {
            Some((_, entry)) => SetAtCommit::Entry(entry),
            None => SetAtCommit::None,
        }
    }

    /// The revision of the set with these digests: that of the newest entry with equal digests for all
    /// common images.
    pub(crate) fn revision_of(&self, digests: &Digests) -> Option<&Revision> {
        for event in self.line_events().rev() {
            let set = &self.facts.sets[event.set];
            let Some(revision) = &event.revision else {
                continue;
            };
            if set.is_mixed() {
                continue;
            }
            let mut has_common = false;
            let mut has_different = false;
            for (name, digest) in &set.digests(&self.config) {
                if let Some(other) = digests.get(name) {
                    has_common = true;
                    has_different |= digest != other;
                }
            }
            if has_common && !has_different {
                return Some(revision);
            }
        }
        None
    }

    fn agrees(&self, set: usize, digests: &Digests) -> bool {
        self.facts.sets[set]
            .digests(&self.config)
            .iter()
            .all(|(name, digest)| digests.get(name) == Some(digest))
    }

    fn not_found(&self) -> Provenance {
        if self.shallow {
            Provenance::Shallow
        } else {
            Provenance::Never
        }
    }

    fn promoted(&self, index: usize, set: usize) -> Promoted {
        let commit = self.facts.line_commit(index);
        let first = self.events.first[set].unwrap_or(index);
        Promoted {
            commit: commit.id,
            date: commit.info.date(),
            images: self.facts.sets[set].digests(&self.config),
            contracts: self.facts.line_commit(first).id,
            former_path: self.facts.former_path(first),
            introduced: Arc::clone(self.introduced.get_or_init(|| self.introduced().into())),
        }
    }

    fn introduced(&self) -> Introduced {
        let mut introduced = Introduced::new();
        let first = self.events.first.iter().enumerate();
        let oldest_first: BTreeMap<_, _> = first
            .filter_map(|(set, index)| Some(((*index)?, set)))
            .collect();
        for (index, set) in oldest_first {
            for (name, digest) in self.facts.sets[set].digests(&self.config) {
                let commit = self.facts.line_commit(index).id;
                let commits = introduced.entry(name).or_default();
                commits.entry(digest).or_insert(commit);
            }
        }
        introduced
    }

    fn gaps(&self, index: usize) -> Vec<Gap> {
        if let Content::Unknown(unknown, _) = &self.facts.line_commit(index).content {
            return vec![Gap::Unreadable(unknown.reason.to_string())];
        }
        let Some(set) = self.facts.line_point(index).set else {
            return Vec::new();
        };
        let mut gaps = Vec::new();
        let digests = self.facts.sets[set].0.iter();
        for (image, digests) in self.config.images.iter().zip(digests) {
            if image.pins == 0 {
                continue;
            }
            match digests.len() {
                0 => gaps.push(Gap::NotPinned(image.name.clone())),
                1 => {}
                _ => gaps.push(Gap::Mixed(image.name.clone(), digests.clone())),
            }
        }
        gaps
    }
}

/// Whether the branch that counts contains a revision.
#[derive(Debug, Clone)]
pub(crate) enum Membership {
    Merged,
    Unmerged {
        /// The branch, in messages.
        branch: String,
    },
    Unknown(UnknownMembership),
}

/// The reason for which the membership of a revision is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UnknownMembership {
    #[error("the revision is not a commit")]
    NoCommit,
    /// The images may be built from another repository.
    #[error(
        "no revision of this set is a commit of this repository, and `source` is not configured"
    )]
    NoSource,
    #[error("the clone is too shallow")]
    Shallow,
    #[error("the source cannot be read")]
    SourceUnavailable(Errors),
}

impl History {
    /// Whether the promoted branch contains a revision. A commit that the clone does not contain is not merged if the
    /// images are built from this repository: then a recorded revision, or one of `related`, is a commit of the clone.
    pub(crate) fn membership(
        &self,
        git: &Git,
        revision: &Revision,
        related: &[&str],
        is_built_here: &OnceCell<bool>,
    ) -> Result<Membership, GitError> {
        let commit = git.commit_named(revision.as_str())?;
        if let Some(commit) = &commit
            && git.is_ancestor(commit, &self.branch.tip)?
        {
            return Ok(Membership::Merged);
        }
        if commit.is_none() {
            let is_known = match is_built_here.get() {
                Some(is_known) => *is_known,
                None => self.contains_any(git, related)?,
            };
            if !is_built_here.get_or_init(|| is_known) {
                return Ok(Membership::Unknown(UnknownMembership::NoSource));
            }
        }
        Ok(if git.is_shallow() {
            Membership::Unknown(UnknownMembership::Shallow)
        } else {
            let branch = self.branch.name.clone();
            Membership::Unmerged { branch }
        })
    }

    /// Whether a recorded revision, or one of `related`, is a commit of the clone.
    fn contains_any(&self, git: &Git, related: &[&str]) -> Result<bool, GitError> {
        let recorded = self.claimed.keys().map(Revision::as_str);
        let texts = recorded.chain(related.iter().copied());
        let mut ids: Vec<_> = texts
            .filter_map(|text| ObjectId::parse(text.as_bytes()))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(git.missing(&ids)?.len() < ids.len())
    }
}

/// The set of a commit, and the claims for which the commit is evidence.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    /// The index of the set; `None` if the content is unknown.
    pub(super) set: Option<usize>,
    /// The digests of every slot; `None` if the content is unknown.
    pub(super) slots: Option<Set>,
    /// The images of the commit's own configuration.
    pub(super) images: PastImages,
    /// The digests that were found in unknown content, each with its slot.
    pub(super) partial_pins: Vec<(usize, Digest)>,
    pub(super) claims: Claims,
    /// Whether a merged commit with the same set has the trailer `Repin-Override`.
    pub(super) has_merged_override: bool,
    /// Whether the commit changed a file with pins.
    pub(super) has_changed_files: bool,
    pub(super) config: ConfigState,
    /// Whether the commit is a merge that took the set of another parent.
    pub(super) is_taken: bool,
    /// The last commit of the former line, if `git pull` merged it into other commits.
    pub(super) pulled: Option<usize>,
}

impl Point {
    /// Whether the configuration of the commit shows what a slot pins.
    pub(super) fn shows(&self, slot: usize) -> bool {
        let slots = self.slots.as_ref();
        self.config != ConfigState::Removed && slots.is_some_and(|slots| slots.has(slot))
    }

    /// Whether the commit promotes digests that may be held, on purpose.
    pub(super) fn is_override(&self) -> bool {
        self.claims.is_override || self.has_merged_override
    }
}

/// The position in the line of the first commit that records the set.
pub(super) fn first_record(graph: &Graph, points: &[Point], is_truncated: bool) -> Option<usize> {
    if is_truncated {
        return Some(0);
    }
    let records = points.iter().zip(&graph.positions);
    let records = records.filter(|(point, _)| point.claims.is_record());
    records.map(|(_, position)| *position).min()
}

/// The configuration with which a commit is read.
#[derive(Debug)]
pub(crate) enum CommitConfig {
    /// The commit's own configuration.
    Config(Box<Config>),
    /// The current configuration, because the commit has none.
    Current,
    /// The commit's configuration cannot be read, for this reason.
    Unreadable(String),
}

/// The configuration in the tree of `commit`, at the current path.
pub(crate) fn commit_config(
    git: &Git,
    commit: &ObjectId,
    current_config: &Config,
) -> Result<CommitConfig, GitError> {
    let file = Path::new(current_config.file_name());
    config_at(git, commit, file, current_config, &current_config.set_path)
}

/// The configuration with which a set was promoted, and the repository with its root at that time.
pub(crate) fn promoted_config(
    git: &Git,
    promoted: &Promoted,
    current_config: &Config,
) -> Result<(Git, CommitConfig), GitError> {
    let commit = &promoted.contracts;
    let Some(set_path) = &promoted.former_path else {
        let config = commit_config(git, commit, current_config)?;
        return Ok((git.clone(), config));
    };
    let path = ConfigPath::new(set_path.clone());
    let git = git.with_prefix(path.prefix.clone());
    let file = Path::new(OsStr::from_bytes(path.file_name()));
    let config = config_at(&git, commit, file, current_config, set_path)?;
    Ok((git, config))
}

fn config_at(
    git: &Git,
    commit: &ObjectId,
    file: &Path,
    current_config: &Config,
    set_path: &SetPath,
) -> Result<CommitConfig, GitError> {
    let path = match RelPath::new(file) {
        Ok(path) => path,
        Err(error) => return Ok(CommitConfig::Unreadable(error.to_string())),
    };
    let (name, root) = (current_config.file_name(), &current_config.root);
    match configurations::config_at(git, commit, &path, name, root, set_path) {
        Ok(config) => Ok(CommitConfig::Config(Box::new(config))),
        Err(NoConfig::Git(error)) => Err(error),
        Err(NoConfig::Absent) => Ok(CommitConfig::Current),
        Err(unreadable) => Ok(CommitConfig::Unreadable(unreadable.to_string())),
    }
}

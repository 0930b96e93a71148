//! Reads sets from git history: the sets that were current, the commits that made them current, and
//! the sets that are available for rollback.
//!
//! The input is a repository and the current configuration; the output is data for `checks`. The
//! history is read by one `git log` of the commits that are reachable from the tip of the
//! remote-tracking branch, and one `git cat-file --batch` for the blobs. The *line* is the first-parent
//! line of the tip.
//!
//! **Content.** A commit's content is the pins of its tree, read with its own configuration (the current
//! configuration if that file was removed or is a symlink; before the first configuration, the files and
//! images of that one and of the current one): its globs and its places, and those of its images whose
//! repository is still configured. Files are those that the work tree would list: regular files, no
//! symlinks, no submodules. Images that now have `pins: 0` do not count. A configuration that
//! cannot be read, a refused entry of a place, or a matched file of more than 16 MiB makes the commit's
//! content unknown: the commit has no set and no provenance, and the next commit is compared with the
//! last readable one. It may have been a rollback, until a later set is current. A set with a digest
//! that its changed files pin is not newer.
//!
//! **Renames.** Where a commit adds the configuration and git pairs it with a removed one, the history
//! continues with that path. If git pairs it with none of the removed configurations, the commits before
//! are not those of this set, and its past is unknown until a later promotion or rollback.
//!
//! **Sets.** A set contains the distinct digests of each image, independent of their locations and
//! number. It is *whole* if every currently configured image with `pins` above 0 has exactly one
//! digest.
//!
//! **Claims.** A commit claims a revision by the current promotion title or that of a configuration of
//! the line, exactly or followed by ` (#N)`, or by a trailer `Repin-Set` on any line of the body. The
//! claim counts only if the commit changes pins since its first parent or adds the configuration. The
//! claims of merged commits count for a merge of the line that has the same set. A claim for digests
//! that all belong to other revisions is ignored.
//!
//! **Events** are the commits whose set differs from the previous one, by content:
//! - *promote*: the set was never current before, each of its images has one digest, and the commit
//!   claims a revision; or the set was current before and the title is that of its promotion.
//! - *rollback*: the set was current before, and then another set was (also for a `git revert`).
//! - *manual*: every other change. Its revision is unknown until a later commit with the same set
//!   claims exactly one revision, as the commit that adopts repin does.
//!
//! A rollback has the revision that its set was promoted as, or else the one that it claims.
//!
//! **Holds.** A return to earlier digests undoes the digests in between, which are held until a commit pins them on purpose
//! ([`holds`]). Rollbacks in merged commits count like those of the line.
//!
//! **Shallow clones.** Commits above the boundary prove a fact if no commit below could change it:
//! the latest provenance, a hold. They do not prove absence. For a merge with a truncated side, the
//! merged commits are unknown.

mod blobs;
mod build_order;
mod changes;
mod claims;
mod events;
mod evidence;
mod graph;
mod holds;
mod other_sets;
mod periods;
mod provenance;
mod pulls;
mod read_paths;
mod renames;
mod sets;
mod state;
#[cfg(test)]
mod tests;
mod walk;
mod walk_state;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use blobs::{Readings, ScannedBlobs};
use events::{Event, Events};
use graph::Graph;
use holds::{Release, UndoneDigest};
use periods::Slots;
use provenance::{Introduced, Point};
use renames::ConfigPath;
use serde::Serialize;
use sets::Set;
use walk::{Commit, Content, Renames, UnknownContent, Walked};

use crate::{
    base::{text::words, untrusted::masked_text},
    config::{Config, Operation, SetPath, TagTemplate},
    core::pins::Finder,
    git::{Branch, Git, GitError, ObjectId, commits},
    oci::{Digest, Revision, TagPattern},
};

pub(crate) use periods::{parse as parse_config, places_key};
pub(crate) use renames::{Replaced, UnknownPast, replaced_in_index};

pub(crate) use build_order::{
    CommitOrder, KnownOrder, Order, OrderEvidence, UnknownOrder, commit_order, is_created_before,
    is_placeholder,
};
pub(crate) use changes::Unreadable;
pub(crate) use changes::{ChangedFile, PinnedFile};
#[cfg(test)]
pub(crate) use evidence::ClaimedTags;
pub(crate) use evidence::claimed_tags;
pub(crate) use holds::{HeldDigest, HeldImage, HeldSet, Hold};
pub(crate) use other_sets::{HoldScope, OtherSets};
pub(crate) use periods::{DatedCommit, ParentDate, Period, SetPeriods, Undoing};
pub(crate) use provenance::{
    CommitConfig, Gap, Membership, Promoted, Provenance, SetAtCommit, UnknownMembership,
    commit_config, promoted_config,
};
pub(crate) use pulls::ReplacedSet;
pub(crate) use read_paths::{fetch_contents, read_paths};
pub(crate) use state::EntryState;
#[cfg(test)]
pub(crate) use tests::examples::ExampleCommit;

/// The digests of the images with agreeing pins, by name.
pub(crate) type Digests = BTreeMap<String, Digest>;

words! {
    /// The kind of a change of the set.
    pub(crate) enum Kind {
        /// The set was never current before, and a title or trailer claims its revision.
        Promote = "promote",
        /// The set was current earlier.
        Rollback = "rollback",
        Manual = "manual",
    }
}

impl Kind {
    /// The operation; `None` for a manual change.
    pub(crate) const fn operation(self) -> Option<Operation> {
        match self {
            Self::Promote => Some(Operation::Promotion),
            Self::Rollback => Some(Operation::Rollback),
            Self::Manual => None,
        }
    }
}

/// A commit that changed the set; serialized as an entry of `repin.history/1`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HistoryEntry {
    pub(crate) kind: Kind,
    /// The revision of the set, if it is known.
    pub(crate) revision: Option<Revision>,
    /// The commit on the first-parent line.
    pub(crate) commit: ObjectId,
    /// The committer date (ISO 8601).
    pub(crate) date: String,
    /// The author's name, not escaped.
    pub(crate) author: String,
    /// The subject, not escaped, with U+FFFD for bytes that are not UTF-8.
    pub(crate) subject: String,
    /// The number of the pull request in the subject, in the form that a forge writes.
    pub(crate) pull_request: Option<u64>,
    pub(crate) images: Digests,
    /// The repository of each image that the commit pinned in another one than the configuration has now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) former_repositories: BTreeMap<String, String>,
    /// The latest earlier commit that made this set current, if a promotion returned to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) returns_to: Option<ObjectId>,
    /// Whether this is the current set at the branch's tip.
    pub(crate) current: bool,
    /// Whether the set is available for rollback, according to git.
    pub(crate) can_roll_back: bool,
    /// The reason for which the content, and with it the set, is unknown.
    #[serde(skip)]
    pub(crate) unreadable: Option<String>,
}

impl HistoryEntry {
    /// The kind in tables and pages; `unreadable` for a commit with unknown content.
    pub(crate) fn kind_name(&self) -> &'static str {
        if self.unreadable.is_some() {
            "unreadable"
        } else {
            self.kind.as_str()
        }
    }
}

/// A claim that is ignored, because the digests belong to the revision that introduced them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IgnoredClaim {
    pub(crate) commit: ObjectId,
    pub(crate) claimed: Revision,
    /// The commit that introduced the digests.
    pub(crate) introduced: ObjectId,
    pub(crate) revision: Revision,
}

/// The history of sets on the first-parent line of one branch.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) branch: Branch,
    /// The commits with unknown content.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Whether commits of the line or merged commits are missing in the clone.
    pub(crate) shallow: bool,
    config: Config,
    facts: LineFacts,
    /// The positions of the commits of the line that claim each revision, oldest first.
    claimed: HashMap<Revision, Vec<usize>>,
    events: Events,
    /// The held digests, those of the latest commit first.
    held: Vec<HeldDigest>,
    held_by_digest: HashMap<Digest, Vec<usize>>,
    /// The digests that commits undid, held or not.
    undone: Vec<UndoneDigest>,
    /// The commits that pin digests on purpose.
    releases: Vec<Release>,
    /// One entry for each event of the line, newest first; computed by the first call of
    /// [`History::entries`].
    entries: OnceLock<Vec<HistoryEntry>>,
    introduced: OnceLock<Arc<Introduced>>,
}

/// The commits that are reachable from the tip, and the facts about them.
#[derive(Debug, Default)]
struct LineFacts {
    graph: Graph,
    commits: Vec<Commit>,
    points: Vec<Point>,
    /// The positions in the line of the commits whose merged commits are not known for certain.
    doubtful: BTreeSet<usize>,
    sets: Vec<Set>,
    blobs: ScannedBlobs,
    slots: Slots,
    /// The tag templates of every configuration of the line.
    tags: Vec<TagTemplate>,
    /// The paths of the configuration, the present one first.
    paths: Vec<ConfigPath>,
    /// The position of the first commit of the line that belongs to the set.
    start: usize,
    /// The commit before which the past of the set is unknown, although the clone contains it.
    unknown_past: Option<UnknownPast>,
}

impl LineFacts {
    /// The commits of the line, oldest first.
    fn line(&self) -> impl DoubleEndedIterator<Item = &Commit> {
        let line = self.graph.line.iter();
        line.map(|commit| &self.commits[*commit])
    }

    fn line_commit(&self, position: usize) -> &Commit {
        &self.commits[self.graph.line[position]]
    }

    fn line_point(&self, position: usize) -> &Point {
        &self.points[self.graph.line[position]]
    }

    /// The path of the configuration at a commit of the line, unless it is the present one.
    fn former_path(&self, position: usize) -> Option<SetPath> {
        let index = self.line_commit(position).paths.trailing_zeros() as usize;
        let path = self.paths.get(index).filter(|_| index > 0)?;
        Some(path.set_path.clone())
    }

    /// The set of each commit of the line, oldest first, with the position.
    fn line_sets(&self) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
        let line = self.start..self.graph.line.len();
        line.map(|position| (position, self.line_point(position).set))
    }

    /// The last known set of the line.
    fn current_set(&self) -> Option<usize> {
        self.line_sets().rev().find_map(|(_, set)| set)
    }
}

impl History {
    /// Reads the history of `config.provenance.branch`, or of the remote's default branch.
    #[cfg(test)]
    fn read(git: &Git, config: &Config) -> Result<Self, GitError> {
        let branch = git.branch(config.provenance.branch.as_deref())?;
        Self::for_branch(git, config, branch)
    }

    /// Reads the history that ends in the tip of `branch`.
    pub(crate) fn for_branch(git: &Git, config: &Config, branch: Branch) -> Result<Self, GitError> {
        let history = Self::gather(git, config, branch, Renames::Follow);
        history.map_err(|error| git.explain(error))
    }

    /// Reads the history of the set at the present path of its configuration only.
    fn for_one_path(git: &Git, config: &Config, branch: Branch) -> Result<Self, GitError> {
        Self::gather(git, config, branch, Renames::Ignore)
    }

    fn gather(
        git: &Git,
        config: &Config,
        branch: Branch,
        renames: Renames,
    ) -> Result<Self, GitError> {
        let readings = Readings::default();
        let finder = Finder::for_images(&config.images);
        let mut objects = git.objects_by_id(readings.reader(finder));
        let Walked {
            graph,
            mut commits,
            titles,
            slots,
            paths,
            start,
            unknown_past,
        } = walk::walk(git, &branch.tip, config, renames, &mut objects, &readings)?;
        let blobs = readings.into_blobs(objects.finish()?);
        let mut found = sets::find_sets(&graph, &commits, &blobs, &slots, config);
        for (index, (path, reason)) in &found.refused {
            let file = String::from_utf8_lossy(path).into_owned();
            let unknown = UnknownContent {
                reason: format!("{file}:{reason}").into(),
                file: Some(file),
            };
            commits[*index].content = Content::Unknown(Box::new(unknown), Vec::new());
        }
        let points = evidence::points(&graph, &commits, &branch.name, &mut found);
        let mut doubtful = BTreeSet::new();
        for (commit, position) in commits.iter().zip(&graph.positions) {
            if git.is_boundary(&commit.id) {
                doubtful.insert(*position);
            }
        }
        let facts = LineFacts {
            graph,
            commits,
            points,
            doubtful,
            sets: found.distinct,
            blobs,
            slots,
            tags: titles.into_tag_templates(),
            paths,
            start,
            unknown_past,
        };
        Ok(Self::from_facts(branch, config.clone(), facts))
    }

    fn from_facts(branch: Branch, config: Config, facts: LineFacts) -> Self {
        let is_truncated =
            facts.unknown_past.is_some() || facts.start == 0 && facts.doubtful.contains(&0);
        let (graph, points) = (&facts.graph, &facts.points);
        let events = events::events(graph, points, &facts.sets, facts.start, is_truncated);
        let shallow = !facts.doubtful.is_empty();
        let unreadable = changes::unreadable_commits(&facts, config.file_name());
        let mut ignored = HashSet::new();
        for claim in &events.ignored {
            ignored.insert((claim.commit, &claim.claimed));
        }
        let mut claimed: HashMap<Revision, Vec<usize>> = HashMap::new();
        for (position, _) in facts.line_sets() {
            let commit = facts.graph.line[position];
            for revision in &facts.points[commit].claims.revisions {
                if !ignored.contains(&(commit, revision)) {
                    claimed.entry(revision.clone()).or_default().push(position);
                }
            }
        }
        let holds = holds::find_holds(graph, points, facts.start, is_truncated);
        let mut held = Vec::new();
        let joined = graph.joined().filter(|_| !shallow);
        for undone in holds.held(graph) {
            let commit = &facts.commits[undone.commit];
            held.push(HeldDigest {
                digest: undone.digest,
                set: config.set_path.clone(),
                image: undone.image.clone(),
                commit: commit.id,
                date: commit.info.date(),
                is_elsewhere: false,
                is_imported: joined.as_ref().is_some_and(|joined| !joined[undone.commit]),
                position: graph.positions[undone.commit],
            });
        }
        Self {
            branch,
            unreadable,
            shallow,
            config,
            claimed,
            held_by_digest: holds::by_digest(&held),
            held,
            undone: holds.undone,
            releases: holds.releases,
            facts,
            events,
            entries: OnceLock::new(),
            introduced: OnceLock::new(),
        }
    }

    /// The identity of the set.
    pub(crate) fn set_path(&self) -> &SetPath {
        &self.config.set_path
    }

    /// Whether the branch contains a commit.
    pub(crate) fn contains(&self, commit: &ObjectId) -> bool {
        self.facts.commits.iter().any(|known| known.id == *commit)
    }

    /// The commit that made the current set current.
    pub(crate) fn current(&self) -> Option<&HistoryEntry> {
        self.entries().first().filter(|entry| entry.current)
    }

    /// Every commit that changed the set, newest first.
    pub(crate) fn entries(&self) -> &[HistoryEntry] {
        self.entries.get_or_init(|| {
            let events = self.line_events().rev();
            events.map(|event| self.entry(event)).collect()
        })
    }

    /// Every commit that changed the set or has unknown content, newest first.
    pub(crate) fn all_entries(&self) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        for (event, entry) in self.line_events().rev().zip(self.entries()) {
            entries.push((event.position, entry.clone()));
        }
        for unreadable in &self.unreadable {
            let commit = self.facts.line_commit(unreadable.index);
            let entry = HistoryEntry {
                kind: Kind::Manual,
                revision: None,
                commit: unreadable.commit,
                date: unreadable.date.clone(),
                author: commit.info.author(),
                subject: masked_text(&String::from_utf8_lossy(commit.info.subject())),
                pull_request: claims::pull_request(&commit.info),
                images: Digests::new(),
                former_repositories: BTreeMap::new(),
                returns_to: None,
                current: false,
                can_roll_back: false,
                unreadable: Some(unreadable.reason()),
            };
            entries.push((unreadable.index, entry));
        }
        entries.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Whether a commit of the line claims a revision that begins with `text`.
    pub(crate) fn claims_beginning(&self, text: &str) -> bool {
        self.claimed
            .keys()
            .any(|revision| revision.as_str().starts_with(text))
    }

    /// The claims of the line that are ignored, because the digests belong to another revision.
    pub(crate) fn ignored_claims(&self) -> Vec<IgnoredClaim> {
        let ignored = self.events.ignored.iter();
        let claims = ignored.map(|claim| IgnoredClaim {
            commit: self.facts.commits[claim.commit].id,
            claimed: claim.claimed.clone(),
            introduced: self.facts.line_commit(claim.introduced).id,
            revision: claim.revision.clone(),
        });
        claims.collect()
    }

    /// The events of the line, oldest first.
    fn line_events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        let events = self.events.line.iter();
        events.map(|event| &self.events.all[*event])
    }

    /// The entries that a rollback to the set with these digests undoes, newest first; `None` if no
    /// entry has them.
    pub(crate) fn entries_since(&self, digests: &Digests) -> Option<&[HistoryEntry]> {
        let entries = self.entries();
        let last = entries.iter().position(|entry| entry.images == *digests)?;
        Some(&entries[..last])
    }

    /// The images whose pins disagree in the set of an entry.
    pub(crate) fn mixed_images(&self, entry: &HistoryEntry) -> Vec<String> {
        let mut events = self.line_events();
        let event = events.find(|event| self.facts.commits[event.commit].id == entry.commit);
        let set = event.map(|event| &self.facts.sets[event.set]);
        let images = self.config.images.iter().enumerate();
        let is_mixed = |index: usize| set.is_some_and(|set| set.0[index].len() > 1);
        let mixed = images.filter(|(index, _)| is_mixed(*index));
        mixed.map(|(_, image)| image.name.clone()).collect()
    }

    /// Every digest of each image in a matched file of any commit of the line, also of commits with
    /// unknown content, in the order of the configuration.
    pub(crate) fn pinned_digests(&self) -> Vec<BTreeSet<Digest>> {
        let mut digests = vec![BTreeSet::new(); self.config.images.len()];
        for blob in self.facts.blobs.pins.values() {
            for (repository, digest) in &blob.pins {
                for image in self.facts.slots.images_of(*repository) {
                    digests[image].insert(*digest);
                }
            }
        }
        digests
    }

    /// Every digest in a file that a place searches, by the current configuration or that of the
    /// commit, in any commit of the line.
    pub(crate) fn place_digests(&self) -> &BTreeSet<Digest> {
        &self.facts.blobs.place_digests
    }

    /// The tags of every revision that a commit of the line, or a merged commit, claims to promote;
    /// by the current tag template and that of every configuration of the line.
    pub(crate) fn claimed_tags(&self) -> BTreeMap<TagPattern, &Revision> {
        let mut tags = BTreeMap::new();
        for revision in self.claimed.keys() {
            for template in &self.facts.tags {
                // An invalid tag cannot exist, so it needs no protection.
                if let Ok(tag) = template.tag(revision) {
                    tags.insert(tag, revision);
                }
            }
        }
        tags
    }

    fn entry(&self, event: &Event) -> HistoryEntry {
        let commit = &self.facts.commits[event.commit];
        let set = &self.facts.sets[event.set];
        let is_last = (self.line_events().next_back()).is_some_and(|last| last == event);
        let is_on_line = self.facts.graph.is_on_line(event.commit);
        let returned = event.returns_to.map(|event| &self.events.all[event]);
        HistoryEntry {
            kind: event.kind,
            revision: event.revision.clone(),
            commit: commit.id,
            date: commit.info.date(),
            author: commit.info.author(),
            subject: masked_text(&String::from_utf8_lossy(commit.info.subject())),
            pull_request: claims::pull_request(&commit.info),
            images: set.digests(&self.config),
            former_repositories: set.former_repositories(&commit.images, &self.config),
            returns_to: returned.map(|event| self.facts.commits[event.commit].id),
            current: !set.is_empty() && is_last,
            can_roll_back: is_on_line
                && self.facts.current_set() != Some(event.set)
                && self.is_available(event),
            unreadable: None,
        }
    }

    /// Whether the set of an event has the provenance that a rollback requires.
    fn is_available(&self, event: &Event) -> bool {
        if !self.config.provenance.requires_title() {
            return self.is_whole(event.set);
        }
        let Some(revision) = &event.revision else {
            return false;
        };
        let images = self.facts.sets[event.set].digests(&self.config);
        matches!(self.provenance(revision), Provenance::Found(promoted) if promoted.images == images)
    }

    /// Whether each configured image that must be pinned has one digest.
    fn is_whole(&self, set: usize) -> bool {
        let mut images = self.config.images.iter().enumerate();
        images.all(|(index, image)| image.pins == 0 || self.facts.sets[set].digest(index).is_some())
    }
}

/// The maximum number of commits on a command line.
const MAX_TIPS: usize = 10_000;

/// Calls `each` with every blob of a file in any commit that `tips` reach, side lines of merges included, and
/// with the path of the file in the repository.
pub(crate) fn each_blob(
    git: &Git,
    tips: &[ObjectId],
    mut each: impl FnMut(&[u8], ObjectId),
) -> Result<(), GitError> {
    for tips in tips.chunks(MAX_TIPS) {
        commits::all_changes(git, tips)?.each(|commit| {
            for change in commit.changes {
                if let Some(blob) = change.blob {
                    each(&change.path, blob);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

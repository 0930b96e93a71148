//! Reads sets from git history: the sets that were current, the commits that made them current, and
//! the sets that are available for rollback.
//!
//! The input is a repository and the current configuration; the output is data for `checks`. The
//! history is read by one `git log` along the first-parent line of the remote-tracking branch, one
//! `git cat-file --batch` for the blobs, and, if that line has merges, one more `git log` for the
//! titles of the merged commits.
//!
//! **Content.** A commit's content is the pins of its tree, read with its own configuration (at the
//! current path; the current configuration if that file is missing or a symlink): its globs and its
//! places, and those of its images whose repository is still configured. Files are those that the
//! work tree would list: regular files, no symlinks, no submodules. Images that now have `pins: 0` do
//! not count. A configuration that cannot be read, a refused entry of a place, or a matched file of
//! more than 16 MiB makes the commit's content unknown: the commit has no set and no provenance, and
//! the next commit is compared with the last readable one. It may have been a rollback, until a later
//! set is current. The digests that its changed files pin still count: a later set is not newer
//! because of such a digest.
//!
//! **Sets.** A set contains the distinct digests of each image, independent of their locations and
//! number. It is *whole* if every currently configured image with `pins` above 0 has exactly one
//! digest.
//!
//! **Entries** are the commits of the line whose set differs from the previous one, by content:
//! - *rollback*: the set was current earlier on the line, and then another set was (also for a `git
//!   revert`, and for a promotion forced after a rollback). The rollback undid the sets in between:
//!   they are *held*.
//! - *promote*: the set was never current before, each of its images has one digest, and the
//!   commit, or a commit that it merged, claims a revision: by the current promotion title or that of
//!   a configuration of the line, exactly or followed by ` (#N)`, or by a trailer `Repin-Set`. A claim
//!   counts for every content before the merge.
//! - *manual*: every other change. Its revision is unknown until a later commit with the same set
//!   claims exactly one revision, as the commit that adopts repin does.
//!
//! A rollback has the revision that its set was promoted as, or else the one that it claims.
//!
//! **Holds.** A hold ends if the set becomes current again by a rollback, or with a *newer* set: one
//! that was never current before and moves an image to a digest that it never had. Adding or
//! removing an image, or mixing older digests, ends no hold.
//!
//! **Shallow clones.** Commits above the boundary prove a fact if no commit below could change it:
//! the latest provenance, a hold. They do not prove absence. For a merge with a truncated side, the
//! merged commits are unknown.

mod blobs;
mod build_order;
mod changes;
mod claims;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/properties/git_log.rs"]
pub(crate) mod fuzzing;
mod line;
mod log;
mod merged;
mod path_history;
mod provenance;
mod sets;
mod unreadable;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use blobs::{Readings, ScannedBlobs};
use claims::Titles;
use line::{Event, Events, Point};
use serde::Serialize;
use sets::{Set, Sets};
use walk::{Content, LineCommit, UnknownContent};

use super::git::{Branch, Git, GitError, ObjectId, TreeFile};
use crate::{
    config::{Config, Operation, RelPath, SetPath, Template},
    oci::{Digest, Revision, Tag},
    pins::Finder,
};

pub(crate) use walk::{MAX_CONFIG_SIZE, parse as parse_config};

pub use build_order::{Order, UnknownOrder};
pub use changes::ChangedFile;
pub use path_history::{MissingBlob, PathCommit, PathHistory};
pub use provenance::{Gap, HeldSet, Hold, Promoted, Provenance};
pub use unreadable::Unreadable;

/// The digest of each image whose pins agree, by name.
pub type Digests = BTreeMap<String, Digest>;

/// The kind of a change of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The set was never current before, and a title or trailer claims its revision.
    Promote,
    /// The set was current earlier.
    Rollback,
    Manual,
}

impl Kind {
    /// The operation; `None` for a manual change.
    pub const fn operation(self) -> Option<Operation> {
        match self {
            Self::Promote => Some(Operation::Promotion),
            Self::Rollback => Some(Operation::Rollback),
            Self::Manual => None,
        }
    }

    /// The word in tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => Operation::Promotion.as_str(),
            Self::Rollback => Operation::Rollback.as_str(),
            Self::Manual => "manual",
        }
    }
}

/// A commit that changed the set; serialized as an entry of `repin.history/1`.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryEntry {
    pub kind: Kind,
    /// The revision of the set, if it is known.
    pub revision: Option<Revision>,
    /// The commit on the first-parent line.
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
    /// The author's name, not escaped.
    pub author: String,
    /// The subject, not escaped, with U+FFFD for bytes that are not UTF-8.
    pub subject: String,
    /// The number of the pull request in the subject, in the form that a forge writes.
    pub pull_request: Option<u64>,
    pub images: Digests,
    /// Whether this is the current set at the branch's tip.
    pub current: bool,
    /// Whether the set is available for rollback, according to git.
    pub can_roll_back: bool,
    /// The reason for which the content, and with it the set, is unknown.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

impl HistoryEntry {
    /// The kind in tables and pages; `unreadable` for a commit with unknown content.
    pub fn kind_name(&self) -> &'static str {
        if self.unreadable.is_some() {
            "unreadable"
        } else {
            self.kind.as_str()
        }
    }
}

/// The history of sets on the first-parent line of one branch.
#[derive(Debug)]
pub struct History {
    pub branch: Branch,
    /// The commits with unknown content.
    pub unreadable: Vec<Unreadable>,
    /// Whether commits of the line or merged commits are missing in the clone.
    pub shallow: bool,
    config: Config,
    facts: LineFacts,
    /// The indices of the commits that claim each revision, oldest first.
    claimed: HashMap<Revision, Vec<usize>>,
    events: Events,
    /// One entry for each event, newest first; computed by the first call of [`History::entries`].
    entries: OnceLock<Vec<HistoryEntry>>,
}

/// The commits of the line, oldest first, and the facts about them.
#[derive(Debug, Default)]
struct LineFacts {
    commits: Vec<LineCommit>,
    /// The set and the claims of each commit; claims of merged commits follow its own.
    points: Vec<Point>,
    /// The indices of the commits whose merged commits are not known for certain.
    doubtful: BTreeSet<usize>,
    sets: Vec<Set>,
    blobs: ScannedBlobs,
    /// The tag templates of every configuration of the line.
    tags: Vec<Template>,
}

impl History {
    /// Reads the history of `config.provenance.branch`, or of the remote's default branch.
    pub fn read(git: &Git, config: &Config) -> Result<Self, GitError> {
        let branch = git.branch(config.provenance.branch.as_deref())?;
        Self::of_branch(git, config, branch)
    }

    /// Reads the history that ends in the tip of `branch`.
    pub fn of_branch(git: &Git, config: &Config, branch: Branch) -> Result<Self, GitError> {
        Self::gather(git, config, branch).map_err(|error| git.explain(error))
    }

    fn gather(git: &Git, config: &Config, branch: Branch) -> Result<Self, GitError> {
        let mut titles = Titles::new(config);
        let readings = Readings::default();
        let finder = Finder::new(&config.images);
        let mut objects = git.objects_by_id(readings.reader(finder))?;
        let mut commits = walk::walk(
            git,
            &branch.tip,
            config,
            &mut titles,
            &mut objects,
            &readings,
        )?;
        let blobs = readings.into_blobs(objects.finish()?);
        let mut found = sets::find_sets(&commits, &blobs, config);
        for (index, (path, reason)) in &found.refused {
            let file = String::from_utf8_lossy(path).into_owned();
            let unknown = UnknownContent {
                reason: format!("{file}:{reason}").into(),
                file: Some(file),
            };
            commits[*index].content = Content::Unknown(Box::new(unknown), Vec::new());
        }
        let mut doubtful = BTreeSet::new();
        for (index, commit) in commits.iter().enumerate() {
            if git.is_boundary(&commit.id) {
                doubtful.insert(index);
            }
        }
        let points = points(git, &commits, &mut found, &titles, &mut doubtful)?;
        let facts = LineFacts {
            commits,
            points,
            doubtful,
            sets: found.distinct,
            blobs,
            tags: titles.into_tags(),
        };
        Ok(Self::from_facts(branch, config.clone(), facts))
    }

    fn from_facts(branch: Branch, config: Config, facts: LineFacts) -> Self {
        let is_truncated = facts.doubtful.contains(&0);
        let events = line::events(&facts.points, &facts.sets, is_truncated);
        let shallow = !facts.doubtful.is_empty();
        let unreadable = unreadable::unreadable_commits(&facts, config.file_name());
        let mut claimed: HashMap<Revision, Vec<usize>> = HashMap::new();
        for (index, point) in facts.points.iter().enumerate() {
            for revision in &point.claims {
                claimed.entry(revision.clone()).or_default().push(index);
            }
        }
        Self {
            branch,
            unreadable,
            shallow,
            config,
            facts,
            claimed,
            events,
            entries: OnceLock::new(),
        }
    }

    /// The identity of the set.
    pub fn set_path(&self) -> &SetPath {
        &self.config.set_path
    }

    /// Every commit that changed the set, newest first.
    pub fn entries(&self) -> &[HistoryEntry] {
        self.entries.get_or_init(|| {
            let events = self.events.all.iter().rev();
            events.map(|event| self.entry(event)).collect()
        })
    }

    /// Every commit that changed the set or whose content is unknown, newest first.
    pub fn all_entries(&self) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        for (event, entry) in self.events.all.iter().rev().zip(self.entries()) {
            entries.push((event.index, entry.clone()));
        }
        for unreadable in &self.unreadable {
            let commit = &self.facts.commits[unreadable.index];
            let entry = HistoryEntry {
                kind: Kind::Manual,
                revision: None,
                commit: unreadable.commit,
                date: unreadable.date.clone(),
                author: commit.info.author(),
                subject: String::from_utf8_lossy(commit.info.subject()).into_owned(),
                pull_request: claims::pull_request(commit.info.subject()),
                images: Digests::new(),
                current: false,
                can_roll_back: false,
                unreadable: Some(unreadable.reason()),
            };
            entries.push((unreadable.index, entry));
        }
        entries.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The entries that a rollback to the set with these digests undoes, newest first; `None` if no
    /// entry has them.
    pub fn entries_since(&self, digests: &Digests) -> Option<&[HistoryEntry]> {
        let entries = self.entries();
        let last = entries.iter().position(|entry| entry.images == *digests)?;
        Some(&entries[..last])
    }

    /// Every digest of each image in a matched file of any commit of the line, also of commits with
    /// unknown content, in the order of the configuration.
    pub fn pinned_digests(&self) -> Vec<BTreeSet<Digest>> {
        let mut digests = vec![BTreeSet::new(); self.config.images.len()];
        for blob in self.facts.blobs.pins.values() {
            for (image, digest) in &blob.pins {
                digests[*image].insert(*digest);
            }
        }
        digests
    }

    /// Every digest in a file that a place searches, by the current configuration or that of the
    /// commit, in any commit of the line.
    pub fn place_digests(&self) -> &BTreeSet<Digest> {
        &self.facts.blobs.place_digests
    }

    /// The tags of every revision that a commit of the line, or a merged commit, claims to promote;
    /// by the current tag template and that of every configuration of the line.
    pub fn claimed_tags(&self) -> BTreeMap<Tag, &Revision> {
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
        let commit = &self.facts.commits[event.index];
        let set = &self.facts.sets[event.set];
        let is_last = (self.events.all.last()).is_some_and(|last| last.index == event.index);
        HistoryEntry {
            kind: event.kind,
            revision: event.revision.clone(),
            commit: commit.id,
            date: commit.info.date(),
            author: commit.info.author(),
            subject: String::from_utf8_lossy(commit.info.subject()).into_owned(),
            pull_request: claims::pull_request(commit.info.subject()),
            images: set.digests(&self.config),
            current: !set.is_empty() && is_last,
            can_roll_back: self.current_set() != Some(event.set) && self.is_available(event),
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

    /// The last known set.
    fn current_set(&self) -> Option<usize> {
        self.facts.points.iter().rev().find_map(|point| point.set)
    }

    /// Whether each configured image that must be pinned has one digest.
    fn is_whole(&self, set: usize) -> bool {
        let mut images = self.config.images.iter().enumerate();
        images.all(|(index, image)| image.pins == 0 || self.facts.sets[set].digest(index).is_some())
    }
}

/// Combines sets and claims; the claims of merged commits follow those of their merge.
fn points(
    git: &Git,
    commits: &[LineCommit],
    found: &mut Sets,
    titles: &Titles,
    doubtful: &mut BTreeSet<usize>,
) -> Result<Vec<Point>, GitError> {
    let mut points: Vec<Point> = Vec::with_capacity(commits.len());
    let mut merges = Vec::new();
    let mut parents = Vec::new();
    for (index, (commit, set)) in commits.iter().zip(&found.by_commit).enumerate() {
        points.push(Point {
            set: *set,
            partial_pins: found.partial_pins.remove(&index).unwrap_or_default(),
            claims: commit.claims.clone(),
            has_rollback_title: false,
        });
        if !commit.parents.others.is_empty() {
            merges.push(index);
            parents.push(&commit.parents);
        }
    }
    let Some(tip) = commits.last() else {
        return Ok(points);
    };
    let line = commits.iter().map(|commit| commit.id);
    let claims = merged::merged_claims(git, &parents, &tip.id, line, titles)?;
    for (index, merged) in merges.into_iter().zip(claims) {
        if merged.is_truncated {
            doubtful.insert(index);
        }
        let claims = &mut points[index].claims;
        for claim in merged.claims {
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
    }
    Ok(points)
}

/// Calls `each` with every blob of a file in any commit of the first-parent lines up to `tips`, and
/// with the path of the file in the repository.
pub(crate) fn each_blob(
    git: &Git,
    tips: &[ObjectId],
    mut each: impl FnMut(&[u8], ObjectId),
) -> Result<(), GitError> {
    // The length of a command line is limited.
    for tips in tips.chunks(1_000) {
        log::first_parent_lines(git, tips)?.each(|commit| {
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

/// The configuration with which a commit is read.
#[derive(Debug)]
pub enum CommitConfig {
    /// The commit's own configuration.
    Config(Box<Config>),
    /// The current configuration, because the commit has none.
    Current,
    /// The commit's configuration cannot be read, for this reason.
    Unreadable(String),
}

/// The configuration in the tree of `commit`, at the current path.
pub fn commit_config(
    git: &Git,
    commit: &ObjectId,
    current_config: &Config,
) -> Result<CommitConfig, GitError> {
    let Ok(path) = RelPath::parse(current_config.file_name()) else {
        return Ok(CommitConfig::Current);
    };
    Ok(match git.file(commit, &path, MAX_CONFIG_SIZE)? {
        TreeFile::Absent => CommitConfig::Current,
        TreeFile::TooLarge => CommitConfig::Unreadable(walk::TOO_LARGE.to_owned()),
        TreeFile::Content(bytes) => match parse_config(bytes, current_config) {
            Ok(config) => CommitConfig::Config(Box::new(config)),
            Err(reason) => CommitConfig::Unreadable(reason),
        },
    })
}

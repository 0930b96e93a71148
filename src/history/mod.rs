//! Reads sets from git history: which were current, how they became current, and which are
//! available for rollback.
//!
//! Data in (a repository, the current configuration), data out; nothing is judged, printed or
//! changed here. One `git log` along the first-parent line of the remote-tracking branch, one `git
//! cat-file --batch` for the contents, and, only where that line has merges, one more `git log` for
//! the titles that they brought along.
//!
//! **Content.** A commit's content is what its tree pins, read with its own configuration (at the
//! current path; the current configuration if that file is missing or a symlink): its globs and its
//! places, and those of its images whose repository is still configured. Files are those that the
//! work tree would list: regular ones, no symlinks, no submodules. Images that now have `pins: 0` do
//! not count. A configuration that cannot be read, a refused entry of a place, or a matched file of
//! more than 16 MiB makes the commit's content unknown: it makes no set and no provenance, and the
//! next commit is compared with the last readable one. It may have been a rollback, until a later set
//! is current. Every digest that its changed files pin still counts as seen: a later set is not newer
//! because of such a digest.
//!
//! **Sets.** A set is what a content pins: for each image the distinct digests, so that where and
//! how often does not matter. It is *whole* if every currently configured image with `pins` above 0
//! has exactly one digest.
//!
//! **Entries** are the commits of the line whose set differs from the one before, by content:
//! - *rollback*: the set was current earlier on the line, and another one after it (also for a `git
//!   revert`, and for a promote forced after a rollback). The sets in between were undone by it:
//!   they are *held*.
//! - *promote*: the set was never current before, each of its images has one digest, and the
//!   commit, or one that it merged, claims a revision: by the current promote title or that of a
//!   configuration of the line, exactly or followed by ` (#N)`, or by a trailer `Repin-Set`. Claims
//!   count whatever the content was before the merge.
//! - *manual*: everything else. Its revision is unknown until a later commit that leaves the set as it
//!   is claims exactly one, as the commit does that adopts repin.
//!
//! A rollback has the revision that its set was promoted as, else the one that it claims itself.
//!
//! **Holds.** A set that becomes current by a rollback is no longer held; and every hold ends with
//! a *newer* set: one that was never current before and moves an image to a digest that it never
//! had. Adding or dropping an image, or mixing older digests, ends nothing.
//!
//! **Shallow clones.** Commits above the boundary are evidence if nothing below could change the
//! result: the latest provenance, a hold. Absence proves nothing. For a merge with a truncated
//! side, the merged commits are unknown.

mod changes;
mod claims;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/properties/git_log.rs"]
pub(crate) mod fuzzing;
mod line;
mod log;
mod merged;
mod order;
mod provenance;
mod readings;
mod recent;
mod sets;
mod unreadable;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use claims::Titles;
use line::{Event, Events, Point};
use readings::{Contents, Readings};
use serde::Serialize;
use sets::{Set, Sets};
use walk::{Content, Unknown, Visited};

use super::git::{Branch, Git, GitError, ObjectId, TreeFile};
use crate::{
    config::{Config, Operation, RelPath, Template},
    oci::{Digest, Revision, Tag},
    pins::Finder,
};

pub(crate) use walk::{LARGEST_CONFIG, parse as parse_config};

pub use changes::ChangedFile;
pub use order::{NoOrder, Order};
pub use provenance::{Gap, HeldSet, Hold, Promoted, Provenance};
pub use recent::{CommitShown, ContentMissing, RecentLine};
pub use unreadable::Unreadable;

/// Image names and the digest that all pins of each have.
pub type Digests = BTreeMap<String, Digest>;

/// How a set became current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A set that was never current before, with a title or trailer that names its revision.
    Promote,
    /// Back to a set that was current earlier.
    Rollback,
    /// Any other change.
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

    /// Its name, as documents and pages have it.
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
pub struct Entry {
    /// How the set became current, by content.
    pub kind: Kind,
    /// Which set, where that is known.
    pub revision: Option<Revision>,
    /// The commit on the first-parent line.
    pub commit: ObjectId,
    /// When it was committed (ISO 8601), by the committer's clock.
    pub date: String,
    /// Its author's name, as it is.
    pub author: String,
    /// Its subject, as it is: with control characters, and U+FFFD for what is not UTF-8.
    pub subject: String,
    /// The number of the pull request that its subject names, in the form in which a forge writes it.
    pub pull_request: Option<u64>,
    /// The digest of each image whose pins all agreed.
    pub images: Digests,
    /// Whether this is the current set at the branch's tip.
    pub current: bool,
    /// Whether the set is available for rollback, according to git.
    pub can_roll_back: bool,
    /// Why its content, and with it the set, is unknown; `None` if it is known.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

impl Entry {
    /// What people read about how the set became current: of a commit that cannot be read, nothing
    /// is known.
    pub fn shown_kind(&self) -> &'static str {
        if self.unreadable.is_some() {
            "unreadable"
        } else {
            self.kind.as_str()
        }
    }
}

/// Everything learnt from the first-parent line of one branch.
#[derive(Debug)]
pub struct History {
    /// The branch that was read.
    pub branch: Branch,
    /// Commits that had to be left out.
    pub unreadable: Vec<Unreadable>,
    /// Whether the clone is too shallow to know all of the line and of what it merged; `git fetch
    /// --unshallow` fixes it.
    pub shallow: bool,
    config: Config,
    known: Known,
    /// The commits that claim each revision, as places in the line, oldest first.
    claimed: HashMap<Revision, Vec<usize>>,
    events: Events,
    /// One entry for each event, newest first; made by the first call of [`History::entries`].
    entries: OnceLock<Vec<Entry>>,
}

/// What was gathered about the commits of the line, oldest first.
#[derive(Debug, Default)]
struct Known {
    commits: Vec<Visited>,
    /// For each commit, its set and the claims of what it merged behind its own.
    line: Vec<Point>,
    /// The commits that may have merged more, or less, than is known, as places in the line.
    doubtful: BTreeSet<usize>,
    sets: Vec<Set>,
    contents: Contents,
    /// How a revision became a tag, by every configuration of the line.
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
        Self::gather(git, config, branch).map_err(|error| git.explained(error))
    }

    fn gather(git: &Git, config: &Config, branch: Branch) -> Result<Self, GitError> {
        let mut titles = Titles::new(config);
        let readings = Readings::default();
        let finder = Finder::new(&config.images);
        let mut objects = git.objects_by_name(readings.reader(finder))?;
        let mut commits = walk::walk(
            git,
            &branch.tip,
            config,
            &mut titles,
            &mut objects,
            &readings,
        )?;
        let contents = readings.into_contents(objects.finish()?);
        let mut found = sets::sets(&commits, &contents, config);
        for (at, (path, why)) in &found.refused {
            let file = String::from_utf8_lossy(path).into_owned();
            let why = format!("{file}:{why}").into();
            let file = Some(file);
            let why = Box::new(Unknown { file, why });
            commits[*at].content = Content::Unreadable(why, Vec::new());
        }
        let cut = |commit: &Visited| git.is_boundary(&commit.id);
        let mut doubtful = (0..commits.len()).filter(|at| cut(&commits[*at])).collect();
        let line = points(git, &commits, &mut found, &titles, &mut doubtful)?;
        let known = Known {
            commits,
            line,
            doubtful,
            sets: found.all,
            contents,
            tags: titles.into_tags(),
        };
        Ok(Self::of(branch, config.clone(), known))
    }

    fn of(branch: Branch, config: Config, known: Known) -> Self {
        let cut = known.doubtful.contains(&0);
        let events = line::events(&known.line, &known.sets, cut);
        let shallow = !known.doubtful.is_empty();
        let unreadable = unreadable::all(&known, config.file_name());
        let mut claimed: HashMap<Revision, Vec<usize>> = HashMap::new();
        for (at, point) in known.line.iter().enumerate() {
            for revision in &point.claims {
                claimed.entry(revision.clone()).or_default().push(at);
            }
        }
        Self {
            branch,
            unreadable,
            shallow,
            config,
            known,
            claimed,
            events,
            entries: OnceLock::new(),
        }
    }

    /// Every commit that changed the set, newest first.
    pub fn entries(&self) -> &[Entry] {
        let entry = |event| self.entry(event);
        self.entries
            .get_or_init(|| self.events.all.iter().rev().map(entry).collect())
    }

    /// Every commit that changed the set or whose content is unknown, newest first.
    pub fn listed(&self) -> Vec<Entry> {
        let unread = self.unreadable.iter().map(|unread| {
            let commit = &self.known.commits[unread.at];
            let entry = Entry {
                kind: Kind::Manual,
                revision: None,
                commit: unread.commit,
                date: unread.date.clone(),
                author: commit.said.author(),
                subject: String::from_utf8_lossy(commit.said.subject()).into_owned(),
                pull_request: claims::pull_request(commit.said.subject()),
                images: Digests::new(),
                current: false,
                can_roll_back: false,
                unreadable: Some(unread.reason()),
            };
            (unread.at, entry)
        });
        let events = self.events.all.iter().rev().map(|event| event.at);
        let known = events.zip(self.entries().iter().cloned());
        let mut all: Vec<_> = known.chain(unread).collect();
        all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        all.into_iter().map(|(_, entry)| entry).collect()
    }

    /// What going back to the set with these digests undoes, newest first: the entries after the
    /// last one that had them. `None` if no entry had them.
    pub fn since(&self, digests: &Digests) -> Option<&[Entry]> {
        let entries = self.entries();
        let last = entries.iter().position(|entry| entry.images == *digests)?;
        Some(&entries[..last])
    }

    /// For each image, in the order of the configuration, every digest in a matched file of any commit of
    /// the line, whatever else was wrong with that commit.
    pub fn ever_pinned(&self) -> Vec<BTreeSet<Digest>> {
        let mut ever = vec![BTreeSet::new(); self.config.images.len()];
        let blobs = self.known.contents.pins.values();
        for (image, digest) in blobs.flat_map(|blob| &blob.pins) {
            ever[*image].insert(*digest);
        }
        ever
    }

    /// Every digest in a file that a place searches, by the current configuration or that of the
    /// commit, in any commit of the line.
    pub fn in_places(&self) -> &BTreeSet<Digest> {
        &self.known.contents.in_places
    }

    /// The tags of every revision that a commit of the line, or what it merged, claims to promote;
    /// by the current tag template and that of every configuration of the line.
    pub fn claimed_tags(&self) -> BTreeMap<Tag, &Revision> {
        let all = self
            .claimed
            .keys()
            .flat_map(|revision| self.known.tags.iter().map(move |tag| (tag, revision)));
        // A text that is not a tag names nothing that could be protected.
        all.filter_map(|(tag, revision)| Some((tag.tag(revision).ok()?, revision)))
            .collect()
    }

    fn entry(&self, event: &Event) -> Entry {
        let commit = &self.known.commits[event.at];
        let set = &self.known.sets[event.set];
        let in_place = self.set_in_place();
        Entry {
            kind: event.kind,
            revision: event.revision.clone(),
            commit: commit.id,
            date: commit.said.date(),
            author: commit.said.author(),
            subject: String::from_utf8_lossy(commit.said.subject()).into_owned(),
            pull_request: claims::pull_request(commit.said.subject()),
            images: set.digests(&self.config),
            current: !set.is_empty()
                && self
                    .events
                    .all
                    .last()
                    .is_some_and(|last| last.at == event.at),
            can_roll_back: in_place != Some(event.set) && self.can_go_back(event),
            unreadable: None,
        }
    }

    fn can_go_back(&self, event: &Event) -> bool {
        if !self.config.provenance.require_title {
            return self.is_whole(event.set);
        }
        let provenance = event
            .revision
            .as_ref()
            .map(|revision| self.provenance(revision));
        let images = self.known.sets[event.set].digests(&self.config);
        matches!(provenance, Some(Provenance::Found(promoted)) if promoted.images == images)
    }

    /// The last set that could be read.
    fn set_in_place(&self) -> Option<usize> {
        self.known.line.iter().rev().find_map(|point| point.set)
    }

    /// Whether each configured image that must be pinned has one digest.
    fn is_whole(&self, set: usize) -> bool {
        let images = self.config.images.iter().enumerate();
        images
            .filter(|(_, image)| image.pins > 0)
            .all(|(at, _)| self.known.sets[set].digest(at).is_some())
    }
}

/// Puts sets and claims together; merges get the claims of what they merged behind their own.
fn points(
    git: &Git,
    commits: &[Visited],
    found: &mut Sets,
    titles: &Titles,
    doubtful: &mut BTreeSet<usize>,
) -> Result<Vec<Point>, GitError> {
    let mut line: Vec<Point> = Vec::with_capacity(commits.len());
    let mut merges = Vec::new();
    for (at, (commit, set)) in commits.iter().zip(&found.of).enumerate() {
        line.push(Point {
            set: *set,
            glimpsed: found.glimpsed.remove(&at).unwrap_or_default(),
            claims: commit.claims.clone(),
            returns: false,
        });
        if !commit.parents.others.is_empty() {
            merges.push(at);
        }
    }
    let sides: Vec<_> = merges
        .iter()
        .map(|at| merged::Merge {
            parents: commits[*at].parents.clone(),
        })
        .collect();
    let Some(tip) = commits.last() else {
        return Ok(line);
    };
    let of_merges = merged::merged_claims(
        git,
        &sides,
        &tip.id,
        commits.iter().map(|commit| commit.id),
        titles,
    )?;
    for (at, of_merge) in merges.into_iter().zip(of_merges) {
        doubtful.extend(of_merge.cut.then_some(at));
        for claim in of_merge.claims {
            if !line[at].claims.contains(&claim) {
                line[at].claims.push(claim);
            }
        }
    }
    Ok(line)
}

/// Passes on every content that a file had in any commit of the first-parent lines up to `tips`:
/// its path from the top of the repository, and the object.
pub(crate) fn contents(
    git: &Git,
    tips: &[ObjectId],
    mut each: impl FnMut(&[u8], ObjectId),
) -> Result<(), GitError> {
    // So many fit on a command line.
    for some in tips.chunks(1_000) {
        log::lines(git, some)?.each(|commit| {
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

/// The configuration that a commit is read with.
#[derive(Debug)]
pub enum CommitConfig {
    /// Its own.
    Config(Box<Config>),
    /// The commit has no configuration, so the current one counts.
    Today,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// The configuration in the tree of `commit`, at the current path.
pub fn commit_config(
    git: &Git,
    commit: &ObjectId,
    current_config: &Config,
) -> Result<CommitConfig, GitError> {
    let Ok(path) = RelPath::parse(current_config.file_name()) else {
        return Ok(CommitConfig::Today);
    };
    Ok(match git.file(commit, &path, LARGEST_CONFIG)? {
        TreeFile::Absent => CommitConfig::Today,
        TreeFile::TooLarge => CommitConfig::Unreadable(walk::TOO_LARGE.to_owned()),
        TreeFile::Content(bytes) => match parse_config(bytes, current_config) {
            Ok(config) => CommitConfig::Config(Box::new(config)),
            Err(reason) => CommitConfig::Unreadable(reason),
        },
    })
}

//! Verifies the head of a pull request before repin requests its merge.
//!
//! The text of a pull request, the messages of its commits, their authors and dates prove nothing:
//! anyone can write them. Only the files of the head count. They must be those of the base with the
//! pins of an approved set, and the merge must give the same.
//!
//! The hidden line in a pull request's text by which a later run finds its own.
//!
//! Finds the pull requests of a configuration's sets among those of its repository.
//!
//! Anyone can write a marker, so the branch of the pull request must also be the one that the
//! configuration gives, in this repository and not in a fork.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    rc::Rc,
};

use super::{
    base::{Base, below, files_of, snapshot},
    content::Content,
    origin,
};
use crate::{
    base::{
        error::{Class, Error},
        files::{Files as _, ReadError, RelPath, Snapshot},
        untrusted::plain,
    },
    config::{Config, Operation, SetPath},
    core::{
        checks::{Approved, Check, Status},
        pins,
        plan::{self, Plan, PlanError},
    },
    forge::{Forge, Pull, PullState, Pulls, Words},
    git::{AheadCommits, Comparison, ObjectId, Tree, TreeEntry, blob_id},
    oci::Revision,
};

/// Two branches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BranchPair<'a> {
    /// The source branch.
    pub from: &'a str,
    /// The target branch.
    pub to: &'a str,
}

/// The authority for the merge of a pull request.
#[derive(Clone, Copy)]
pub(crate) enum Permission<'a> {
    /// An approved set: the head must contain exactly its pins.
    Set(ApprovedSet<'a>),
    /// Two configured branches: the head must be that of the source branch.
    Branches(BranchPair<'a>),
}

/// A set that this run approved, and the pull request that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct ApprovedSet<'a> {
    /// The configuration of the base.
    pub config: &'a Config,
    /// The set.
    pub approved: &'a Approved,
    /// The base that the set was approved for.
    pub base: &'a Base,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub prefix: &'a str,
    /// The branch that the configuration gives for the set.
    pub branch: &'a str,
}

/// Whether a pull request may be merged at its head.
pub(super) enum HeadVerdict {
    /// It may.
    Verified,
    /// It must not, for the reason in the error.
    Refused(Error),
    /// The branch is at another commit than the pull request: a push is not visible everywhere yet.
    Lagging,
}

/// Builds the error for a pull request that repin does not merge.
pub(crate) fn refused(pull: &Pull, reason: impl Into<String>) -> Error {
    let what = format!("{} ({})", pull.name(), pull.url);
    let pull_request = Words::for_page(&pull.url).pull_request;
    Error::about(Class::Conflict, what, reason).help(format!(
        "review the {pull_request}; then close it, or remove the change and run the promotion or rollback again"
    ))
}

impl Permission<'_> {
    /// Fetches the head of a pull request and verifies it.
    pub(super) async fn verify(
        &self,
        content: &Content,
        pull: &Pull,
    ) -> Result<HeadVerdict, Error> {
        let (branch, base) = match self {
            Self::Set(set) => (set.branch, set.base.branch.as_str()),
            Self::Branches(pair) => (pair.from, pair.to),
        };
        if let Some(reason) = wrong_branches(pull, branch, base) {
            return Ok(HeadVerdict::Refused(refused(pull, reason)));
        }
        match self {
            Self::Set(set) => set.verify(content, pull).await,
            Self::Branches(pair) => {
                let head = content.listed(pair.from).await?;
                Ok(match head {
                    Some(head) if head.to_string() == pull.head_commit => HeadVerdict::Verified,
                    _ => HeadVerdict::Lagging,
                })
            }
        }
    }
}

/// The mismatch if a pull request does not merge `branch` of this repository into `base`.
pub(crate) fn wrong_branches(pull: &Pull, branch: &str, base: &str) -> Option<String> {
    if !pull.own {
        return Some("its branch is in another repository".to_owned());
    }
    if pull.head != branch {
        return Some(format!(
            "its branch is {}, but the configuration gives {}",
            plain(&pull.head),
            plain(branch)
        ));
    }
    (pull.base != base).then(|| format!("its base is {}, not {}", plain(&pull.base), plain(base)))
}

impl ApprovedSet<'_> {
    async fn verify(&self, content: &Content, pull: &Pull) -> Result<HeadVerdict, Error> {
        content.fetch(&[&pull.base, &pull.head]).await?;
        let Some(base) = content.head(&pull.base).await? else {
            return Ok(HeadVerdict::Lagging);
        };
        let ahead = match content.compare(&base, &pull.head).await? {
            Comparison::Absent => return Ok(HeadVerdict::Lagging),
            Comparison::Unrelated(head) => {
                let reason = format!("commit {head} has no commit in common with {}", pull.base);
                return Ok(HeadVerdict::Refused(refused(pull, reason)));
            }
            Comparison::Related(ahead) => ahead,
        };
        if ahead.head != pull.head_commit {
            return Ok(HeadVerdict::Lagging);
        }
        let mut reason = self.altered_commit(content, &ahead).await?;
        if reason.is_none() {
            let sides = Sides::read(self, content, &base, &ahead).await?;
            self.same_configuration(&sides.base)?;
            reason = sides.altered(self)?;
        }
        Ok(match reason {
            Some(reason) => {
                let reason = format!("commit {} was not approved: {reason}", ahead.head);
                HeadVerdict::Refused(refused(pull, reason))
            }
            None => HeadVerdict::Verified,
        })
    }

    /// The first foreign change of several commits. A merge by rebase replays each commit, so a
    /// change that a later commit undoes on the branch may have an effect on the base.
    async fn altered_commit(
        &self,
        content: &Content,
        ahead: &AheadCommits,
    ) -> Result<Option<String>, Error> {
        if ahead.commits.len() < 2 {
            return Ok(None);
        }
        let only_pins = plan::pin_only_filter(self.config, self.prefix);
        let foreign = origin::foreign(content, ahead, &|_, _| false, &only_pins).await?;
        Ok(foreign.map(|foreign| foreign.describe()))
    }

    /// Fails if the configuration of the base changed since the set was approved.
    fn same_configuration(&self, base: &Tree) -> Result<(), Error> {
        let path = format!("{}{}", self.prefix, self.config.file_name());
        if base.entries.get(&path) == self.base.tree.entries.get(&path) {
            return Ok(());
        }
        let what = format!("{path} on {}", self.base.branch);
        Err(Error::unavailable(what, "it changed during the run").help("run the command again"))
    }
}

/// The files of a head, of its merge base, and of the base's head.
struct Sides {
    origin: Rc<Tree>,
    base: Rc<Tree>,
    head: Rc<Tree>,
    contents: HashMap<String, Vec<u8>>,
}

/// A merge of the head into the base.
enum TrialMerge {
    Tree(Tree),
    /// The base changed the pins of this file.
    PinsDiffer(String),
}

impl Sides {
    async fn read(
        set: &ApprovedSet<'_>,
        content: &Content,
        base: &str,
        ahead: &AheadCommits,
    ) -> Result<Self, Error> {
        let [head, origin, base] =
            [&*ahead.head, &*ahead.merge_base, base].map(|id| content.tree(id));
        let (head, origin, base) = (head?, origin?, base?);
        let scanned = |path: &RelPath| Snapshot::lists(&set.config.scanned, path);
        let mut contents = HashMap::new();
        let mut missing = BTreeSet::new();
        for tree in [&head, &origin, &base] {
            for (_, TreeEntry { id, .. }) in files_of(tree, set.prefix, &scanned) {
                match set.base.blob(id) {
                    Some(content) => drop(contents.insert(id.clone(), content.to_vec())),
                    None => drop(missing.insert(id.clone())),
                }
            }
        }
        let missing: Vec<String> = missing.into_iter().collect();
        let fetched = content.blobs(&missing).await?;
        contents.extend(missing.into_iter().zip(fetched));
        Ok(Self {
            origin,
            base,
            head,
            contents,
        })
    }

    /// The difference between the head, or its merge, and the base with the pins of the set.
    fn altered(mut self, set: &ApprovedSet<'_>) -> Result<Option<String>, Error> {
        if let Some(reason) = self.wrong_pins(set, &self.head)? {
            return Ok(Some(reason));
        }
        for path in self.paths() {
            let [origin, _, head] = self.entries(&path);
            if head != origin && !self.is_planned(set, &path)? {
                return Ok(Some(format!("it changes {}", plain(&path))));
            }
        }
        match self.merged(set)? {
            TrialMerge::Tree(merged) => {
                let reason = self.wrong_pins(set, &merged)?;
                Ok(reason.map(|reason| format!("merged into the base, {reason}")))
            }
            TrialMerge::PinsDiffer(path) => Ok(Some(format!(
                "the base changed the pins in {}",
                plain(&path)
            ))),
        }
    }

    fn paths(&self) -> BTreeSet<String> {
        let trees = [&self.origin, &self.base, &self.head];
        let paths = trees.iter().flat_map(|tree| tree.entries.keys());
        paths.cloned().collect()
    }

    fn entries(&self, path: &str) -> [Option<&TreeEntry>; 3] {
        [&self.origin, &self.base, &self.head].map(|tree| tree.entries.get(path))
    }

    /// Whether the head has the content that the plan gives the file of the merge base or of the
    /// base.
    fn is_planned(&self, set: &ApprovedSet<'_>, path: &str) -> Result<bool, ReadError> {
        let Some(head) = self.head.entries.get(path) else {
            return Ok(false);
        };
        for tree in [&self.origin, &self.base] {
            if self.planned(set, tree, path)?.as_ref() == Some(head) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entry that the plan gives a scanned file of a tree; `None` if it has no such file.
    fn planned(
        &self,
        set: &ApprovedSet<'_>,
        tree: &Tree,
        path: &str,
    ) -> Result<Option<TreeEntry>, ReadError> {
        let Some(content) = self.planned_content(set, tree, path)? else {
            return Ok(None);
        };
        let entry = tree.entries.get(path);
        Ok(entry.map(|entry| TreeEntry {
            mode: entry.mode.clone(),
            id: blob_id(&content, &entry.id),
        }))
    }

    fn planned_content(
        &self,
        set: &ApprovedSet<'_>,
        tree: &Tree,
        path: &str,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let relative =
            below(set.prefix, path).filter(|path| Snapshot::lists(&set.config.scanned, path));
        let (true, Some(relative)) = (tree.entries.contains_key(path), relative) else {
            return Ok(None);
        };
        let files = snapshot(tree, &self.contents, set.prefix);
        let content = files.read(&relative)?;
        let change = Plan::of_content(set.approved, set.config, &files, &relative, content);
        Ok(Some(change.new))
    }

    /// The difference between the pins of a tree and those of the set.
    fn wrong_pins(&self, set: &ApprovedSet<'_>, tree: &Tree) -> Result<Option<String>, Error> {
        let files = snapshot(tree, &self.contents, set.prefix);
        let found = pins::find(&files, set.config)?;
        match Plan::new(set.approved, set.config, &files, &found) {
            Ok(plan) => Ok(plan
                .changes()
                .first()
                .map(|change| format!("{} has other pins than the set", change.path))),
            Err(PlanError::Counts(checks)) => {
                let failed = checks.iter().find(|check| check.status == Status::Fail);
                let reason = failed.map_or_else(String::new, Check::describe);
                Ok(Some(format!("its pins are not those of the set: {reason}")))
            }
            Err(PlanError::Read(error)) => Err(error.into()),
        }
    }

    /// A merge of the head into the base. For a file that both changed, the merge has the content of the base with the pins
    /// of the set, or there is a conflict.
    fn merged(&mut self, set: &ApprovedSet<'_>) -> Result<TrialMerge, Error> {
        let mut merged = Tree {
            id: String::new(),
            entries: BTreeMap::new(),
        };
        let pins = [&self.origin, &self.base].map(|tree| {
            let files = snapshot(tree, &self.contents, set.prefix);
            pins::find(&files, set.config)
        });
        let [before, now] = pins;
        let (before, now) = (before?, now?);
        for path in self.paths() {
            let [origin, base, head] = self.entries(&path);
            let entry = if head == origin {
                base.cloned()
            } else if head == base {
                head.cloned()
            } else {
                let of = |found: &pins::FoundPins| {
                    let relative = below(set.prefix, &path);
                    let pins = found.pins().iter();
                    let here = pins.filter(|pin| relative.as_ref() == Some(&*pin.file));
                    here.map(|pin| (pin.item.image, pin.item.digest, pin.item.tag.clone()))
                        .collect::<Vec<_>>()
                };
                let content = self.planned_content(set, &self.base, &path)?;
                let (Some(content), Some(base), true) = (content, base, of(&before) == of(&now))
                else {
                    return Ok(TrialMerge::PinsDiffer(path));
                };
                let id = blob_id(&content, &base.id);
                let mode = base.mode.clone();
                self.contents.insert(id.clone(), content);
                Some(TreeEntry { mode, id })
            };
            if let Some(entry) = entry {
                merged.entries.insert(path, entry);
            }
        }
        Ok(TrialMerge::Tree(merged))
    }
}

/// The content of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The purpose of the pull request.
    pub kind: MarkerKind,
    /// The set; for two long-lived branches, that of the configuration that lists them.
    pub set: SetPath,
    /// The revision of the set.
    pub revision: String,
}

/// The purpose of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerKind {
    /// It moves pins to a set.
    Set(Operation),
    /// It merges one long-lived branch into another.
    Branch,
}

impl MarkerKind {
    const BRANCH: &'static str = "branch";

    fn as_str(self) -> &'static str {
        match self {
            Self::Set(operation) => operation.as_str(),
            Self::Branch => Self::BRANCH,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            Self::BRANCH => Some(Self::Branch),
            name => Operation::parse(name).map(Self::Set),
        }
    }
}

/// Precedes a marker that contains the set path.
const START: &str = "<!-- repin/2 kind=";
/// Precedes a marker of earlier versions, which belongs to the `repin.yaml` at the top.
const START_1: &str = "<!-- repin/1 kind=";
const END: &str = " -->";

impl Marker {
    /// The last marker in a text. An earlier one may be a quotation.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let mut found = BTreeMap::new();
        for start in [START, START_1] {
            for (at, _) in text.match_indices(start) {
                let rest = &text[at + start.len()..];
                let Some((line, _)) = rest.split_once(END) else {
                    continue;
                };
                let marker = if start == START {
                    Self::parse(line)
                } else {
                    Self::parse_1(line)
                };
                found.extend(marker.map(|marker| (at, marker)));
            }
        }
        found.pop_last().map(|(_, marker)| marker)
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(" set=")?;
        let (set, revision) = rest.split_once(" revision=")?;
        Some(Self {
            kind: MarkerKind::parse(kind)?,
            set: SetPath::decode(set)?,
            revision: decode(revision)?,
        })
    }

    fn parse_1(text: &str) -> Option<Self> {
        let (kind, revision) = text.split_once(" revision=")?;
        Some(Self {
            kind: MarkerKind::parse(kind)?,
            set: SetPath::top(),
            revision: decode(revision)?,
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, set) = (self.kind.as_str(), self.set.encoded());
        write!(f, "{START}{kind} set={set} revision=")?;
        // A revision may contain the end of a comment, so all but plain characters are escaped.
        for c in self.revision.chars() {
            if c.is_ascii_alphanumeric() || "._".contains(c) {
                write!(f, "{c}")
            } else {
                write!(f, "%{:x};", c as u32)
            }?;
        }
        f.write_str(END)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut parts = text.split('%');
    out.push_str(parts.next()?);
    for part in parts {
        let (number, rest) = part.split_once(';')?;
        out.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
        out.push_str(rest);
    }
    Some(out)
}

/// A pull request that moves the pins to another set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequestOfSet {
    pub operation: Operation,
    /// The revision of the set.
    pub revision: Revision,
    pub pull: Pull,
}

/// The open pull requests for `base` that move pins to a set, by their numbers.
pub(crate) async fn open(
    forge: &Forge,
    config: &Config,
    base: &str,
) -> Result<Vec<PullRequestOfSet>, Error> {
    let pulls = forge.pulls(Pulls::Open).await?;
    let mut found: Vec<_> = pulls
        .into_iter()
        .filter_map(|pull| identify(pull, config).filter(|found| found.pull.base == base))
        .collect();
    found.sort_by_key(|found| found.pull.number);
    Ok(found)
}

/// The set that a pull request belongs to.
pub(crate) fn identify(pull: Pull, config: &Config) -> Option<PullRequestOfSet> {
    let marker = Marker::find(&pull.body)?;
    let MarkerKind::Set(operation) = marker.kind else {
        return None;
    };
    let revision = config.revision.pattern.revision(&marker.revision).ok()?;
    let is_ours = pull.own && gives_branch(config, &marker, &pull.head);
    is_ours.then_some(PullRequestOfSet {
        operation,
        revision,
        pull,
    })
}

/// Whether the configuration, or that of a former path, gives this branch to a pull request with this
/// marker.
pub(crate) fn gives_branch(config: &Config, marker: &Marker, branch: &str) -> bool {
    let MarkerKind::Set(operation) = marker.kind else {
        return false;
    };
    let Ok(revision) = config.revision.pattern.revision(&marker.revision) else {
        return false;
    };
    let branches = config.branches_of(&marker.set, operation, &revision);
    branches.iter().any(|given| given == branch)
}

/// The commit that made a set current, with the facts that identify its pull request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CurrentCommit<'s> {
    /// The commit on the base branch.
    pub commit: &'s ObjectId,
    /// The number in its subject.
    pub number: Option<u64>,
    /// The operation; `None` for a manual change.
    pub operation: Option<Operation>,
    /// The set's revision.
    pub revision: Option<&'s Revision>,
}

/// The pull request of this merge commit: the number in its subject, if the forge confirms it,
/// otherwise the pull request of the set's branch.
pub(crate) async fn merged(
    forge: &Forge,
    config: &Config,
    current: CurrentCommit<'_>,
) -> Result<Option<Pull>, Error> {
    let commit = current.commit.to_string();
    let is_merge =
        |pull: &Pull| matches!(&pull.state, PullState::Merged(Some(by)) if *by == commit);
    // A number in a subject may also be an issue, or belong to another repository.
    if let Some(number) = current.number
        && let Some(pull) = forge.pull(number).await?.filter(is_merge)
    {
        return Ok(Some(pull));
    }
    let (Some(operation), Some(revision)) = (current.operation, current.revision) else {
        return Ok(None);
    };
    for branch in config.branches_of(&config.set_path, operation, revision) {
        let pulls = forge.pulls(Pulls::Closed(&branch)).await?;
        if let Some(pull) = pulls.into_iter().find(is_merge) {
            return Ok(Some(pull));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn marker(set: &str, revision: &str) -> Marker {
        Marker {
            kind: MarkerKind::Set(Operation::Promotion),
            set: SetPath::new(Path::new(set)).unwrap(),
            revision: revision.to_owned(),
        }
    }

    #[test]
    fn written_marker_is_read_back() {
        for set in ["repin.yaml", "envs/prod/repin.yaml", "a --> b/repin.yaml"] {
            for revision in ["aaaa", "v1-2", "a --> b%2d;<x", "日本 @x"] {
                let marker = marker(set, revision);
                let line = marker.to_string();
                assert_eq!(line.matches("-->").count(), 1, "{line}");
                let text = format!("text\r\n\r\n{line}\r\n");
                assert_eq!(Marker::find(&text), Some(marker));
            }
        }
        assert_eq!(
            marker("envs/prod/repin.yaml", "aaaa").to_string(),
            "<!-- repin/2 kind=promote set=envs/prod/repin.yaml revision=aaaa -->"
        );
    }

    #[test]
    fn first_version_belongs_to_the_top() {
        let text = "<!-- repin/1 kind=promote revision=a%2d;b -->";
        assert_eq!(Marker::find(text), Some(marker("repin.yaml", "a-b")));
    }

    #[test]
    fn last_marker_counts_and_other_lines_are_ignored() {
        let old = "<!-- repin/1 kind=promote revision=a -->";
        let new = "<!-- repin/2 kind=promote set=x/repin.yaml revision=b -->";
        let (first, second) = (marker("repin.yaml", "a"), marker("x/repin.yaml", "b"));
        assert_eq!(Marker::find(&format!("{old}\n{new}")), Some(second));
        assert_eq!(Marker::find(&format!("{new}\n{old}")), Some(first));
        for none in [
            "",
            "<!-- repin/1 kind= revision=a -->",
            "<!-- repin/1 kind=promote -->",
            "<!-- repin/1 kind=promote revision=a%zz; -->",
            "<!-- repin/2 kind=promote revision=a -->",
            "<!-- repin/2 kind=promote set=../a revision=a -->",
            "<!-- repin/2 kind=promote set= revision=a -->",
            "<!-- repin/3 kind=promote set=a revision=a -->",
        ] {
            assert_eq!(Marker::find(none), None, "{none}");
        }
    }

    #[test]
    fn unknown_kind_is_no_marker() {
        for kind in ["Promote", "pro-mote", "promote2", "build"] {
            let text = format!("{START}{kind} set=repin.yaml revision=aaaa{END}");
            assert_eq!(Marker::find(&text), None, "{text}");
        }
    }
}

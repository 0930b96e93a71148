//! Merges one long-lived branch into another by a pull request: `staging` into `main`.
//!
//! Two branches have one pull request, which is found by the branches. Its text is written once;
//! later edits by people remain.

use super::{Marker, MarkerKind, close_with, content::ForgeRepository, merging};
pub(crate) use crate::app::pull_request::head::BranchPair;
use crate::{
    base::error::{Class, Error},
    config::{Forge as Configured, SetPath},
    forge::{
        CreateOutcome, Forge, Gate, GateState, Item, LabelOutcome, Merge, NewPull, PlannedWrites,
        Pull, Pulls, Readiness, read_gates, worst_state,
    },
    git::Comparison,
};

/// How often an attempt to open the pull request is repeated.
const ROUNDS: u32 = 5;

impl BranchPair<'_> {
    /// The hidden line by which a later run recognizes the pull request.
    pub(crate) fn marker(&self, set: &SetPath) -> Marker {
        Marker {
            kind: MarkerKind::Branch,
            set: set.clone(),
            revision: self.from.to_owned(),
        }
    }

    /// The pull requests for these branches, the lowest number first.
    fn of_branches(&self, mut open: Vec<Pull>) -> Vec<Pull> {
        open.retain(|pull| pull.own && pull.head == self.from && pull.base == self.to);
        open.sort_by_key(|pull| pull.number);
        open
    }
}

/// The commits to merge, and their state.
#[derive(Debug)]
pub(crate) struct BranchDifference {
    /// The head of the source branch.
    pub commit: String,
    /// The subjects of the commits missing on the target branch, the oldest first.
    pub subjects: Vec<String>,
    /// The required contexts of the head.
    pub gates: Vec<Gate>,
    /// The pull request, if it is open.
    pub pull: Option<Box<Pull>>,
}

/// An open pull request, and its merge.
#[derive(Debug)]
pub(crate) struct OpenedPromotion {
    /// The pull request.
    pub pull: Box<Pull>,
    /// Whether this run opened it.
    pub created: bool,
    /// The outcome of its merge; `None` if none was requested.
    pub merge: Option<Merge>,
    /// Failures that only warn.
    pub warnings: Vec<String>,
}

impl BranchDifference {
    /// The combined state of the gates.
    pub(crate) fn state(&self) -> GateState {
        worst_state(&self.gates)
    }
}

/// The result of comparing two branches.
#[derive(Debug)]
pub(crate) enum Compared {
    /// The commits that the target branch is missing.
    Offer(Box<BranchDifference>),
    /// A branch is missing.
    NoBranch(String),
}

/// A branch that is missing in the configuration: not the base branch, and not one of
/// `forge.sync_targets`. repin merges no pull request of such a branch.
pub(crate) async fn unconfigured_branch(
    forge: &Forge,
    between: BranchPair<'_>,
    configured: &Configured,
) -> Result<Option<String>, Error> {
    let targets = &configured.sync_targets;
    let mut others = [between.from, between.to].into_iter();
    let mut others = others
        .by_ref()
        .filter(|name| !targets.iter().any(|target| target == name));
    let (Some(first), second) = (others.next(), others.next()) else {
        return Ok(None);
    };
    let base = match &configured.base {
        Some(base) => base.clone(),
        None => forge.repository().await?.default_branch,
    };
    let found = [Some(first), second].into_iter().flatten();
    Ok(found
        .into_iter()
        .find(|name| *name != base)
        .map(str::to_owned))
}

/// Lists the commits that are missing on the target branch.
pub(crate) async fn compare(
    repository: &ForgeRepository,
    between: BranchPair<'_>,
    configured: &Configured,
) -> Result<Compared, Error> {
    let ForgeRepository { forge, content } = repository;
    // The forge reports that the repository was renamed, or that the token may not read it.
    forge.repository().await?;
    content.fetch(&[between.to, between.from]).await?;
    let Some(to) = content.head(between.to).await? else {
        return Ok(Compared::NoBranch(between.to.to_owned()));
    };
    let ahead = match content.compare(&to, between.from).await? {
        Comparison::Absent => return Ok(Compared::NoBranch(between.from.to_owned())),
        Comparison::Unrelated(_) => {
            let what = format!(
                "{}: comparing {} with {}",
                forge.name(),
                between.from,
                between.to
            );
            let reason = "they have no commit in common";
            return Err(Error::about(Class::Refused, what, reason));
        }
        Comparison::Related(ahead) => ahead,
    };
    let subjects = ahead
        .commits
        .iter()
        .map(|commit| commit.message.lines().next().unwrap_or_default().to_owned());
    let mut offer = BranchDifference {
        commit: ahead.head.clone(),
        subjects: subjects.collect(),
        gates: Vec::new(),
        pull: None,
    };
    if !offer.subjects.is_empty() {
        let required = required(forge, between.to, &configured.gates)
            .await?
            .unwrap_or_default();
        offer.pull = find(forge, between).await?;
        let number = offer.pull.as_ref().map(|pull| pull.number);
        offer.gates = read_gates(forge, &required, &ahead.head, number).await?;
    }
    Ok(Compared::Offer(Box::new(offer)))
}

/// The required contexts of a branch: the configured ones, otherwise those of its rules if the token may
/// read them.
pub(crate) async fn required(
    forge: &Forge,
    branch: &str,
    configured: &[String],
) -> Result<Option<Vec<String>>, Error> {
    if configured.is_empty() {
        forge.required_contexts(branch).await
    } else {
        Ok(Some(configured.to_vec()))
    }
}

async fn find(forge: &Forge, between: BranchPair<'_>) -> Result<Option<Box<Pull>>, Error> {
    let all = between.of_branches(forge.pulls(Pulls::Open).await?);
    Ok(all.into_iter().next().map(Box::new))
}

/// Keeps the pull request with the lowest number, and closes the others with a comment if repin opened
/// them.
async fn close_duplicates(forge: &Forge, all: &[Pull], ours: &Pull) -> Result<Pull, Error> {
    // A listing may be outdated.
    let first = all
        .iter()
        .chain([ours])
        .min_by_key(|pull| pull.number)
        .unwrap_or(ours)
        .clone();
    for pull in all {
        let is_branch_promotion =
            Marker::find(&pull.body).is_some_and(|marker| marker.kind == MarkerKind::Branch);
        if pull.number == first.number || !is_branch_promotion {
            continue;
        }
        let note = format!("<!-- repin/1 duplicate-of={} -->", first.number);
        let text = format!(
            "Duplicate of {}, which has the same branches.",
            first.mark()
        );
        close_with(forge, pull.number, &text, &note).await?;
    }
    Ok(first)
}

/// Opens the pull request with this title and text, unless it is open, and schedules its merge if that is
/// configured.
pub(crate) async fn promote(
    forge: &Forge,
    between: BranchPair<'_>,
    title: &str,
    body: &str,
    offer: &BranchDifference,
    configured: &Configured,
) -> Result<OpenedPromotion, Error> {
    let repo = forge.repository().await?;
    forge
        .check_permissions(&repo, PlannedWrites { workflows: false })
        .await?;
    if configured.auto_merge {
        forge.check_merge_method(between.to).await?;
    }
    let (pull, created) = match &offer.pull {
        Some(pull) => {
            let all = between.of_branches(forge.pulls(Pulls::Open).await?);
            let first = close_duplicates(forge, &all, pull).await?;
            (Box::new(first), false)
        }
        None => open(forge, between, title, body, &configured.labels).await?,
    };
    let mut warnings = Vec::new();
    let labels = &configured.labels;
    if pull.lacks_labels(labels, created) {
        match forge.add_labels(Item::Pull(pull.number), labels).await {
            Ok(LabelOutcome::Done) => {}
            Ok(LabelOutcome::NotPermitted(reason)) => {
                warnings.push(format!("cannot add the labels: {reason}"));
            }
            Err(error) => warnings.push(format!("cannot add the labels: {error}")),
        }
    }
    if configured.auto_merge && !created && offer.state() == GateState::Fail {
        // An earlier run may have scheduled it.
        forge.cancel_merge(&pull).await?;
    }
    let merge = match () {
        () if !configured.auto_merge || offer.state() == GateState::Fail => None,
        () if pull.readiness == Readiness::Draft => {
            Some(Merge::Refused("it is a draft".to_owned()))
        }
        // The gates of a new head were not checked.
        () if pull.head_commit != offer.commit => Some(Merge::Later(format!(
            "{} moved during the run: run the command again",
            between.from
        ))),
        () => Some(merging::enable_auto_merge(forge, &pull, &configured.gates).await?),
    };
    Ok(OpenedPromotion {
        pull,
        created,
        merge,
        warnings,
    })
}

/// The remaining pull request, and whether this run opened it: another run may have opened one
/// concurrently.
async fn first_of(
    forge: &Forge,
    between: BranchPair<'_>,
    opened: &Pull,
) -> Result<(Box<Pull>, bool), Error> {
    let all = between.of_branches(forge.pulls(Pulls::Open).await?);
    let first = close_duplicates(forge, &all, opened).await?;
    let created = first.number == opened.number;
    Ok((Box::new(first), created))
}

/// Opens the pull request. Another process may open it concurrently, and a recent push may not be visible
/// everywhere yet.
async fn open(
    forge: &Forge,
    between: BranchPair<'_>,
    title: &str,
    body: &str,
    labels: &[String],
) -> Result<(Box<Pull>, bool), Error> {
    let new = NewPull {
        title,
        body,
        head: between.from,
        base: between.to,
        state: Readiness::Ready,
        labels,
    };
    let mut reason = String::new();
    let mut unsure = false;
    for round in 1..=ROUNDS {
        reason = match forge.create_pull(&new).await? {
            CreateOutcome::New(pull) => return first_of(forge, between, &pull).await,
            CreateOutcome::Exists(reason) | CreateOutcome::NotYet(reason) => reason,
            CreateOutcome::Unsure(reason) => {
                unsure = true;
                reason
            }
        };
        match find(forge, between).await? {
            // The response to the request was lost.
            Some(pull) if unsure && pull.body == body => {
                return first_of(forge, between, &pull).await;
            }
            Some(pull) => return Ok((pull, false)),
            None => {}
        }
        forge.back_off(round).await;
    }
    let what = format!(
        "{}: the {} of {} into {}",
        forge.name(),
        forge.words().pull_request,
        between.from,
        between.to
    );
    Err(Error::unavailable(what, reason))
}

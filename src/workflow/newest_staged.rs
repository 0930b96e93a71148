//! `promote --revision newest` of a set with stages: the newest set that passed them. Like any choice, it
//! verifies nothing.

use super::{
    Services,
    build_order::BuildOrder,
    builds::Age,
    execution::Executor,
    newest::{Newest, note_held, unknown_age},
    stages::{Candidate, Stages},
};
use crate::{
    checks::{self, Check, Overrides, Status},
    config::Operation,
    error::Errors,
    history::{Digests, History, KnownOrder, Order},
    oci::Revision,
    pull_request::of_set::PullRequestOfSet,
    untrusted::plain,
};

/// Selects the newest set of the first stage that passes every stage and is newer than the current set, unless
/// it is older than an open pull request. With `overrides.older`, its age may be unknown; with
/// `overrides.unstaged`, it need not pass the stages.
pub(super) fn newest_staged(
    site: &dyn Executor,
    overrides: Overrides,
    services: &Services,
) -> Result<Newest, Errors> {
    let mut config = site.config().clone();
    let (found, _) = site.pins(Operation::Promotion)?;
    let history = site.history(services);
    config.former.extend(history.former_sets());
    let config = &config;
    let mut proposals = site.open_pull_requests(config, &history, services)?;
    proposals.retain(|proposal| proposal.operation == Operation::Promotion);
    let stages = Stages::open(config, &history, site.has_forge(), services)?;
    let order = BuildOrder::new(config, history.git(), None, services);
    let pinned = checks::current_digests(config, &found);
    let known = history.known()?;
    let candidates = stages.candidates()?;
    let age = AgeOfCandidates {
        order: &order,
        candidates: &candidates,
        proposals: &proposals,
        known,
        pinned: &pinned,
        services,
    };
    let Selection {
        selected,
        held,
        refused,
    } = select(&stages, &age, overrides)?;
    note_held(&held, services);
    if let Some(revision) = selected {
        let name = plain(revision.as_str());
        let source = if overrides.unstaged {
            "of the first stage"
        } else {
            "that passed every stage"
        };
        let note = format!("the newest set {source} is {name}");
        services.console.note(&note);
        return Ok(Newest::Build(revision.clone()));
    }
    if let Some((revision, reason)) = refused {
        let name = plain(revision.as_str());
        let note = format!("not selected: {name}: {reason}");
        services.console.note(&note);
    }
    let current = known.and_then(|known| known.revision_of(&pinned));
    Ok(Newest::Nothing {
        current: current.cloned(),
        found: Box::new(found),
    })
}

/// The result of a search among the candidates.
#[derive(Default)]
struct Selection<'c> {
    selected: Option<&'c Revision>,
    /// Newer sets that a rollback undid.
    held: Vec<Revision>,
    /// The newest set that does not pass a stage, and the reason.
    refused: Option<(&'c Revision, String)>,
}

/// Searches the candidates, newest first, up to the current set.
fn select<'c>(
    stages: &Stages<'_>,
    age: &AgeOfCandidates<'c>,
    overrides: Overrides,
) -> Result<Selection<'c>, Errors> {
    let mut selection = Selection::default();
    let is_current = |candidate: &Candidate| {
        let mut digests = candidate.digests.iter();
        digests.all(|(name, digest)| age.pinned.get(name) == Some(digest))
    };
    let has_current = age.candidates.iter().any(is_current);
    for (index, candidate) in age.candidates.iter().enumerate() {
        // The sets after the current one are older in the stage.
        if is_current(candidate) {
            break;
        }
        let Some(revision) = &candidate.revision else {
            continue;
        };
        let mut unknown_order = None;
        if let Some(known) = age.known {
            match age.relative_to_current(known, revision)? {
                Age::Older => continue,
                Age::Newer => {}
                // The stage shows the order.
                Age::Unknown(_) if has_current => {}
                Age::Unknown(reason) => unknown_order = Some(reason),
            }
            if known.hold(&candidate.digests, age.pinned).is_held() {
                selection.held.push(revision.clone());
                continue;
            }
        }
        match age.relative_to_proposals(index, revision)? {
            Age::Older => continue,
            Age::Newer => {}
            Age::Unknown(reason) => unknown_order = Some(reason),
        }
        if !overrides.unstaged
            && let Some(reason) = refusal(stages, &candidate.digests, age.services)?
        {
            selection.refused.get_or_insert((revision, reason));
            continue;
        }
        if let Some(reason) = unknown_order.filter(|_| !overrides.older) {
            return Err(unknown_age(revision, &reason));
        }
        selection.selected = Some(revision);
        break;
    }
    Ok(selection)
}

/// The reason for which a set does not pass a stage; an unknown stage is an error.
fn refusal(
    stages: &Stages<'_>,
    digests: &Digests,
    services: &Services,
) -> Result<Option<String>, Errors> {
    let verdicts = stages.judge(digests, services).judged;
    let (checks, unknown) = checks::check_stages(&verdicts, false).into_parts();
    if !unknown.is_empty() {
        return Err(unknown.into());
    }
    let failed = checks.iter().find(|check| check.status == Status::Fail);
    Ok(failed.map(Check::describe))
}

/// The order of the sets of a stage, the current set and the open pull requests that promote sets.
struct AgeOfCandidates<'a> {
    order: &'a BuildOrder<'a>,
    /// Newest first.
    candidates: &'a [Candidate],
    proposals: &'a [PullRequestOfSet],
    known: Option<&'a History>,
    /// The digests of the current set.
    pinned: &'a Digests,
    services: &'a Services,
}

impl AgeOfCandidates<'_> {
    /// The age of a candidate relative to the current set; the same set is not newer.
    fn relative_to_current(&self, history: &History, revision: &Revision) -> Result<Age, Errors> {
        let order = self.order.of_set(history, revision, self.pinned);
        let order = self
            .services
            .wait(order, "determining the order of builds")?;
        Ok(match order {
            Order::Same | Order::Known(KnownOrder { is_older: true, .. }) => Age::Older,
            Order::Known(_) => Age::Newer,
            Order::Unknown(_) => {
                Age::Unknown("neither commits nor the stage show its order".to_owned())
            }
        })
    }

    /// The age of the candidate at `index`. If neither versions nor commits show the order, that of the stage
    /// counts.
    fn relative_to_proposals(&self, index: usize, revision: &Revision) -> Result<Age, Errors> {
        for proposal in self.proposals {
            let proposed = &proposal.revision;
            let order = self.order.of_revisions(revision, proposed);
            let order = self
                .services
                .wait(order, "determining the order of builds")?;
            let is_proposed = |other: &Candidate| other.revision.as_ref() == Some(proposed);
            let unknown = match order {
                Order::Known(KnownOrder { is_older: true, .. }) => return Ok(Age::Older),
                Order::Same | Order::Known(_) => continue,
                Order::Unknown(unknown) => unknown,
            };
            let (before, after) = self.candidates.split_at(index);
            if before.iter().any(is_proposed) {
                return Ok(Age::Older);
            }
            if !after.iter().any(is_proposed) {
                let number = proposal.pull.number;
                let proposed = plain(proposed.as_str());
                return Ok(Age::Unknown(format!(
                    "pull request #{number} promotes {proposed}: {unknown}"
                )));
            }
        }
        Ok(Age::Newer)
    }
}

//! `promote --revision newest` of a set with stages: the newest set that passed them. Like any choice, it
//! verifies nothing.

use super::{
    Intent, RequestedRevision, Services, SiteHistory,
    build_order::{BuildOrder, ResolvedSet},
    builds::{Age, BuildList, NextBuild},
    execution::Executor,
    forge_overview::verification_pulls,
    newest::{self, Newest, Skipped, is_eligible, unknown_age},
    stages::{StagedSet, Stages},
    tags::resolve_tags,
};
use crate::{
    app::pull_request::head::PullRequestOfSet,
    base::{
        error::{Code, Errors},
        untrusted::plain,
    },
    config::{Config, Operation},
    core::{
        checks::{self, Overrides, Status, Target, resolved_digests},
        history::{
            Digests, History, KnownOrder, Membership, Order, UnknownMembership, UnknownOrder,
        },
        pins::FoundPins,
    },
    git::Git,
    oci::Revision,
};

/// The newest build of the registry, or the newest set that passed the stages.
pub(super) fn newest_set(
    overrides: Overrides,
    intent: Intent,
    site: &dyn Executor,
    services: &Services,
) -> Result<Newest, Errors> {
    let newest = if site.config().promote.after.is_empty() {
        newest::newest(site, overrides.older, services)?
    } else {
        newest_staged(site, overrides, services)?
    };
    if intent.commits() {
        return newest.or_uncommitted(site, services);
    }
    Ok(newest)
}

/// Selects the newest set of the first stage that passes every stage and is newer than the current set, unless
/// it is older than an open pull request. With `overrides.older`, its age may be unknown; with
/// `overrides.unstaged`, it need not pass the stages.
fn newest_staged(
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
    let translation = Translation {
        config,
        found: &found,
        history: &history,
        proposals: &proposals,
        services,
        builds: None,
        read: Vec::new(),
    };
    let stages = Stages::open(config, &history, site.has_forge(), services)?;
    let order = BuildOrder::new(config, history.git(), services);
    let pinned = checks::current_digests(config, &found);
    let known = history.known()?;
    let candidates = stages.candidates()?;
    let age = AgeOfCandidates {
        order: &order,
        candidates: &candidates,
        proposals: &proposals,
        known,
        clone: history.clone_of_set(),
        pinned: &pinned,
        found: &found,
        config,
        services,
    };
    let Selection {
        selected,
        skipped,
        refused,
    } = select(&stages, &age, translation, overrides)?;
    skipped.report(services);
    if let Some(revision) = selected {
        let name = plain(revision.as_str());
        let source = if overrides.unstaged {
            "of the first stage"
        } else {
            "that passed every stage"
        };
        let note = format!("the newest set {source} is {name}");
        services.console.note(&note);
        return Ok(Newest::Build(revision));
    }
    if let Some(Refusal {
        revision,
        reason,
        is_held,
    }) = refused
    {
        let name = plain(revision.as_str());
        let text = format!("not selected: {name}: {reason}");
        if is_held {
            services.console.warn(&text);
        } else {
            services.console.note(&text);
        }
    }
    let current = known.and_then(|known| known.revision_of(&pinned));
    Ok(Newest::Nothing {
        current: current.cloned(),
        found: Box::new(found),
    })
}

/// The result of a search among the candidates.
#[derive(Default)]
struct Selection {
    selected: Option<Revision>,
    /// Newer sets that may not be the newest one.
    skipped: Skipped,
    /// The newest set that does not pass a stage.
    refused: Option<Refusal>,
}

/// A set that does not pass a stage.
struct Refusal {
    revision: Revision,
    reason: String,
    /// Whether a rollback in a stage undid it.
    is_held: bool,
}

/// Searches the candidates, newest first, up to the current set.
fn select(
    stages: &Stages<'_>,
    age: &AgeOfCandidates<'_>,
    mut translation: Translation<'_>,
    overrides: Overrides,
) -> Result<Selection, Errors> {
    let mut selection = Selection::default();
    let current = age.known.and_then(|known| known.revision_of(age.pinned));
    for (index, candidate) in age.candidates.iter().enumerate() {
        // The sets after the current one are older in the stage.
        if age.is_current(candidate) {
            break;
        }
        let Some(of_stage) = &candidate.revision else {
            continue;
        };
        let Some(revision) = &translation.revision(candidate, of_stage)? else {
            let reason = "no build with a tag of this set has its digests".to_owned();
            selection.refused.get_or_insert(Refusal {
                revision: of_stage.clone(),
                reason,
                is_held: false,
            });
            continue;
        };
        if !is_eligible(revision, current, age.config) {
            selection.skipped.add_prerelease(revision);
            continue;
        }
        let mut unknown_order = None;
        match age.relative_to_current(candidate, revision)? {
            Age::Older => continue,
            Age::Newer => {}
            Age::Unknown(reason) => unknown_order = Some(reason),
        }
        if let Some(known) = age.known
            && known
                .hold_for_jobs(Some(revision), &candidate.digests, age.pinned)
                .is_some()
        {
            selection.skipped.add_held(revision);
            continue;
        }
        match age.relative_to_proposals(index, revision)? {
            Age::Older => continue,
            Age::Newer => {}
            Age::Unknown(reason) => unknown_order = Some(reason),
        }
        if age.is_unmerged(revision, overrides.older)? {
            selection.skipped.add_unmerged(revision);
            continue;
        }
        if !overrides.unstaged
            && let Some((reason, is_held)) = refusal(stages, &candidate.digests, age.services)?
        {
            selection.refused.get_or_insert(Refusal {
                revision: revision.clone(),
                reason,
                is_held,
            });
            continue;
        }
        if let Some(reason) = unknown_order.filter(|_| !overrides.older) {
            return Err(unknown_age(revision, &reason));
        }
        selection.selected = Some(revision.clone());
        break;
    }
    Ok(selection)
}

/// The reason for which a set does not pass a stage, and whether a rollback there undid it; an unknown stage is an
/// error.
fn refusal(
    stages: &Stages<'_>,
    digests: &Digests,
    services: &Services,
) -> Result<Option<(String, bool)>, Errors> {
    let verdicts = stages.judge(digests, services).judged;
    let (checks, unknown) = checks::check_stages(&verdicts, false).into_parts();
    if !unknown.is_empty() {
        return Err(unknown.into());
    }
    let failed = checks.iter().find(|check| check.status == Status::Fail);
    Ok(failed.map(|check| (check.describe(), check.code == Code::STAGE_HELD)))
}

/// The revisions of this set for the sets of a stage whose revisions have another form: those of the builds with the
/// same digests.
struct Translation<'a> {
    config: &'a Config,
    found: &'a FoundPins,
    history: &'a SiteHistory,
    proposals: &'a [PullRequestOfSet],
    services: &'a Services,
    builds: Option<BuildList<'a>>,
    /// The builds that were read so far, newest first.
    read: Vec<(Revision, Digests)>,
}

impl Translation<'_> {
    /// The revision of a candidate here; `None` if no build has its digests.
    fn revision(
        &mut self,
        candidate: &StagedSet,
        of_stage: &Revision,
    ) -> Result<Option<Revision>, Errors> {
        let pattern = &self.config.revision.pattern;
        if candidate.pattern == pattern.as_str() {
            return Ok(Some(of_stage.clone()));
        }
        let same_text = pattern.revision(of_stage.as_str()).ok();
        let found = self.find(&candidate.digests)?;
        Ok(found.or(same_text))
    }

    fn find(&mut self, digests: &Digests) -> Result<Option<Revision>, Errors> {
        let has_digests = |build: &Digests| {
            let mut digests = digests.iter();
            digests.all(|(name, digest)| build.get(name) == Some(digest))
        };
        if let Some((revision, _)) = self.read.iter().find(|(_, build)| has_digests(build)) {
            return Ok(Some(revision.clone()));
        }
        let mut builds = match self.builds.take() {
            Some(builds) => builds,
            None => BuildList::open(
                self.config,
                self.found,
                self.history,
                self.proposals,
                self.services,
            )?,
        };
        let mut found = None;
        while found.is_none()
            && let Some(listed) = builds.next(1)?
        {
            if let NextBuild::Build(build) = listed
                && let Some(revision) = build.facts.revision.clone()
            {
                let build = build.facts.digests(self.config);
                found = has_digests(&build).then(|| revision.clone());
                self.read.push((revision, build));
            }
        }
        self.builds = Some(builds);
        Ok(found)
    }
}

/// The order of the sets of a stage, the current set and the open pull requests that promote sets.
struct AgeOfCandidates<'a> {
    order: &'a BuildOrder<'a>,
    /// Newest first.
    candidates: &'a [StagedSet],
    proposals: &'a [PullRequestOfSet],
    known: Option<&'a History>,
    /// The clone with its history, if there is one.
    clone: Option<(&'a Git, &'a History)>,
    /// The digests of the current set.
    pinned: &'a Digests,
    found: &'a FoundPins,
    config: &'a Config,
    services: &'a Services,
}

impl AgeOfCandidates<'_> {
    /// Whether the branch that counts does not contain the commit of a candidate. `may_be_unknown`: a source that
    /// cannot be read is no error.
    fn is_unmerged(&self, revision: &Revision, may_be_unknown: bool) -> Result<bool, Errors> {
        let others = self
            .candidates
            .iter()
            .filter_map(|one| one.revision.as_ref());
        let related: Vec<_> = others.map(Revision::as_str).collect();
        let membership = self.order.membership(self.clone, revision, &related);
        match self
            .services
            .wait(membership, "reading the branch of builds")?
        {
            Membership::Unmerged { .. } => Ok(true),
            Membership::Unknown(UnknownMembership::SourceUnavailable(errors))
                if !may_be_unknown =>
            {
                Err(errors)
            }
            Membership::Merged | Membership::Unknown(_) => Ok(false),
        }
    }

    fn is_current(&self, candidate: &StagedSet) -> bool {
        let mut digests = candidate.digests.iter();
        digests.all(|(name, digest)| self.pinned.get(name) == Some(digest))
    }

    /// The age of a candidate relative to the current set, by the order of its explicit revision, or else by their first
    /// use in the stage: a rollback there makes no set newer. The same set is not newer.
    fn relative_to_current(
        &self,
        candidate: &StagedSet,
        revision: &Revision,
    ) -> Result<Age, Errors> {
        let mut order = if let Some(known) = self.known {
            let order = self.order.of_set(known, revision, self.pinned);
            self.services.wait_for_order(order)?
        } else {
            let reason = "there is no git history".to_owned();
            Order::Unknown(UnknownOrder::NoHistory(reason))
        };
        if let Order::Unknown(unknown) = &order
            && unknown.allows_further_evidence()
        {
            order = self.by_images(&order, revision)?;
        }
        Ok(match order {
            Order::Same | Order::Known(KnownOrder { is_older: true, .. }) => Age::Older,
            Order::Known(_) => Age::Newer,
            Order::Unknown(unknown) => {
                let mut candidates = self.candidates.iter();
                match candidates.find(|current| self.is_current(current)) {
                    Some(current) if candidate.first_use > current.first_use => Age::Older,
                    Some(_) => Age::Newer,
                    None => Age::Unknown(format!(
                        "neither commits, the stage nor the images show its order: {unknown}"
                    )),
                }
            }
        })
    }

    /// The order by the labels and the creation times of the images.
    fn by_images(&self, order: &Order, revision: &Revision) -> Result<Order, Errors> {
        let (config, found) = (self.config, self.found);
        let requested = RequestedRevision::parse(config, revision.as_str())?;
        let tag = requested.tag(config, self.services)?;
        let mut targets = Vec::new();
        for (index, _) in config.images.iter().enumerate() {
            targets.push(Target {
                pinned_tags: found.tags_of(index),
                ..Target::new(tag.clone())
            });
        }
        let pulls = verification_pulls(config);
        let resolutions = resolve_tags(config, targets, pulls, self.services)?;
        let set = ResolvedSet {
            config,
            revision,
            digests: resolved_digests(config, &resolutions),
            found,
        };
        let order = self.order.of_images(order, self.known, &set, self.services);
        self.services.wait_for_order(order)
    }

    /// The age of the candidate at `index`. If neither versions nor commits show the order, that of the stage
    /// counts.
    fn relative_to_proposals(&self, index: usize, revision: &Revision) -> Result<Age, Errors> {
        for proposal in self.proposals {
            let proposed = &proposal.revision;
            let order = self.order.of_revisions(revision, proposed);
            let order = self.services.wait_for_order(order)?;
            let is_proposed = |other: &StagedSet| other.revision.as_ref() == Some(proposed);
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
                let name = proposal.pull.name();
                let proposed = plain(proposed.as_str());
                return Ok(Age::Unknown(format!(
                    "{name} promotes {proposed}: {unknown}"
                )));
            }
        }
        Ok(Age::Newer)
    }
}

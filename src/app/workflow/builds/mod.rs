//! Reads the builds of a set from its registries, newest first, each just before it is listed.

mod pinned_set;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use futures_util::{StreamExt as _, future, stream};

use self::pinned_set::PinnedSet;
use super::{
    Access, Services, SiteHistory,
    build_order::BuildOrder,
    caches::FetchedRepository,
    connection,
    forge_overview::{self, check_remaining_pulls},
};
use crate::{
    app::pull_request::head::PullRequestOfSet,
    base::error::{Class, Error, Errors},
    config::{Config, Operation},
    core::{
        builds::{
            self, BuildImage, Candidates, ImageTime, Proposal, Push, ReadBuild, ReadImage,
            Selection, SelectionFacts, SetFacts, State,
        },
        history::{KnownOrder, Membership, Order, OrderEvidence, UnknownMembership, UnknownOrder},
        pins::FoundPins,
    },
    git::Git,
    oci::{
        Revision, Tag, TagOrDigest,
        registry::{Source, resolve},
    },
};
use pinned_set::{list_tags, packages};

/// The number of builds that are read concurrently.
const CONCURRENCY: usize = 4;
/// The number of builds that are read at once if their order is known.
const BATCH: usize = 16;

/// The builds of a set that were not listed yet.
pub(crate) struct BuildList<'s> {
    config: &'s Config,
    services: &'s Services,
    history: &'s SiteHistory,
    order: BuildOrder<'s>,
    /// The versions of each image by tag, as far as the packages API lists them.
    pushed: Vec<HashMap<Tag, Push>>,
    candidates: Candidates,
    set: PinnedSet<'s>,
    proposals: Vec<Proposal>,
    current_index: Option<usize>,
    /// For each revision, whether it is older than the current one by versions or commits.
    older: Vec<Option<bool>>,
    /// The evidence of `older`.
    evidence: OrderEvidence,
    /// The error of the first comparison that required the source.
    source_error: RefCell<Option<Errors>>,
    read: BTreeMap<usize, ReadBuild>,
}

/// A build with its state.
pub(crate) struct Build {
    pub facts: ReadBuild,
    pub state: State,
    pub detail: String,
    /// Whether this is the current set or that of an open pull request, so that later builds are older.
    pub is_boundary: bool,
    /// The order of an available or proposed build and the current set.
    order: Option<Order>,
}

/// The age of a build relative to the current set and the open pull requests.
pub(crate) enum Age {
    Older,
    Newer,
    /// For this reason.
    Unknown(String),
}

/// The next revision of a list.
pub(crate) enum NextBuild {
    Build(Box<Build>),
    /// A revision that is not read, and whether builds after it are older than the current set or an
    /// open pull request.
    Omitted {
        is_boundary: bool,
    },
}

impl<'s> BuildList<'s> {
    /// Lists the tags of every image, and selects the revisions that may be read. `pulls`: the open pull
    /// requests of the set.
    pub(crate) fn open(
        config: &'s Config,
        found: &'s FoundPins,
        history: &'s SiteHistory,
        pulls: &[PullRequestOfSet],
        services: &'s Services,
    ) -> Result<Self, Errors> {
        let (table, pushed) = list_tags(config, &packages(config, services)?, services)?;
        let order = BuildOrder::new(config, history.git(), services);
        let set = PinnedSet::read(config, found, history, &order, &pushed, services)?;
        let mut proposals = Vec::new();
        for pull in pulls {
            if pull.operation == Operation::Promotion {
                proposals.push(Proposal {
                    mark: pull.pull.mark(),
                    name: pull.pull.name(),
                    revision: pull.revision.clone(),
                });
            }
        }
        let current = set.revision.as_ref().ok();
        let fetched = fetch_commits(&order, current, services);
        let related = proposals.iter().map(|proposal| &proposal.revision);
        let candidates = table.candidates(&SelectionFacts {
            revisions: &config.revision,
            git: match &fetched {
                Some(fetched) => Some(fetched.scratch.git()),
                None => history.git(),
            },
            related: &related.chain(current).collect::<Vec<_>>(),
            pushed: &pushed,
        });
        let mut candidates = candidates.map_err(|error| Errors::from(Error::from(&error)))?;
        if let Some(reason) = history.absence()
            && candidates.all.iter().any(|candidate| candidate.is_listed)
        {
            let warning = format!("held builds are unknown: {reason}");
            services.console.warn(&warning);
        }
        let current_index = current.and_then(|current| candidates.find(current, &config.revision));
        let older_than_current = match current_index {
            Some(index) => candidates.order.older_than(index),
            None => vec![None; candidates.all.len()],
        };
        let boundaries = proposals.iter().map(|proposal| &proposal.revision);
        for revision in boundaries.chain(current) {
            if let Some(index) = candidates.find(revision, &config.revision) {
                candidates.order.set_boundary(index);
            }
        }
        Ok(Self {
            config,
            services,
            history,
            order,
            pushed,
            candidates,
            set,
            proposals,
            current_index,
            older: older_than_current,
            evidence: match (&config.source, fetched) {
                _ if config.revision.pattern.is_semver() => OrderEvidence::Semver,
                (Some(source), Some(_)) => OrderEvidence::Source(source.as_str().to_owned()),
                _ => OrderEvidence::Clone,
            },
            source_error: RefCell::default(),
            read: BTreeMap::new(),
        })
    }

    /// Whether no tag of an image has the form of `revision.tag`.
    pub(crate) fn is_empty(&self) -> bool {
        !self
            .candidates
            .all
            .iter()
            .any(|candidate| candidate.is_listed)
    }

    /// The number of revisions that are not read, and the rule that selected the others.
    pub(crate) fn left_out(&self) -> (usize, Selection) {
        (self.candidates.left_out, self.candidates.selection)
    }

    /// The revision of the current set.
    pub(crate) fn current(&self) -> Option<&Revision> {
        self.set.revision.as_ref().ok()
    }

    /// The reason that the source could not be read for the states of builds.
    pub(crate) fn source_error(&self) -> Option<Errors> {
        self.source_error.borrow().clone()
    }

    /// The next build. `wanted`: the number of builds that the caller expects to list.
    pub(crate) fn next(&mut self, wanted: usize) -> Result<Option<NextBuild>, Errors> {
        let batch = self.candidates.order.next_batch(wanted, BATCH);
        self.read(&batch)?;
        let Some(index) = self.candidates.order.pop() else {
            return Ok(None);
        };
        let is_boundary = self.candidates.order.is_boundary(index);
        let Some(build) = self.read.remove(&index) else {
            return Ok(Some(NextBuild::Omitted { is_boundary }));
        };
        let (mut state, mut detail) = builds::state(&build, &self.facts());
        let mut order = None;
        if matches!(
            state,
            State::Available | State::Proposed | State::Incomplete
        ) && let Some(branch) = self.branch_without(&build)?
        {
            (state, detail) = builds::unmerged(&build, &self.facts(), &branch);
            // Builds after this one are not older than a set that `newest` never selects.
            let revision = build.revision.as_ref();
            self.proposals
                .retain(|proposal| Some(&proposal.revision) != revision);
        }
        if matches!(state, State::Available | State::Proposed) {
            let determined = self.order_of(index, &build)?;
            if determined.is_older() && state == State::Available {
                state = State::Older;
            }
            order = Some(determined);
        }
        Ok(Some(NextBuild::Build(Box::new(Build {
            is_boundary,
            facts: build,
            state,
            detail,
            order,
        }))))
    }

    /// The branch that counts, if it does not contain the commit of a build. A source that cannot be read is read
    /// once.
    fn branch_without(&self, build: &ReadBuild) -> Result<Option<String>, Errors> {
        let Some(revision) = &build.revision else {
            return Ok(None);
        };
        if self.source_error.borrow().is_some() {
            return Ok(None);
        }
        let listed = self.candidates.all.iter();
        let listed = listed.map(|candidate| candidate.text.as_str());
        let related: Vec<&str> = listed.chain(self.current().map(Revision::as_str)).collect();
        let clone = self.history.clone_of_set();
        let membership = self.order.membership(clone, revision, &related);
        match self
            .services
            .wait(membership, "reading the branch of builds")?
        {
            Membership::Unmerged { branch } => Ok(Some(branch)),
            Membership::Unknown(UnknownMembership::SourceUnavailable(errors)) => {
                *self.source_error.borrow_mut() = Some(errors);
                Ok(None)
            }
            Membership::Merged | Membership::Unknown(_) => Ok(None),
        }
    }

    /// The order of a build and the current set.
    fn order_of(&self, index: usize, build: &ReadBuild) -> Result<Order, Errors> {
        let Some(revision) = &build.revision else {
            return Ok(Order::Unknown(UnknownOrder::NotInHistory));
        };
        let by_revision = match (&self.set.revision, self.older[index]) {
            (Err(unknown), _) => Order::Unknown(unknown.clone()),
            (Ok(pinned), Some(is_older)) => Order::Known(KnownOrder {
                is_older,
                evidence: self.evidence.clone(),
                pinned: Some(pinned.clone()),
            }),
            (Ok(pinned), None) => self.order_of_revisions(revision, pinned)?,
        };
        let order = match self.history.known()? {
            Some(history) => by_revision.or_by_history(history, revision, &self.set.digests),
            None => by_revision,
        };
        if let Order::Unknown(_) = order {
            let is_older = builds::is_created_before(build, &self.facts(), &self.set.times()?);
            return Ok(order.or_by_creation(is_older, None));
        }
        Ok(order)
    }

    /// The order of two revisions that versions and the ancestry of all revisions do not determine. A
    /// source that cannot be read is read once.
    fn order_of_revisions(&self, new: &Revision, pinned: &Revision) -> Result<Order, Errors> {
        if let Some(errors) = self.source_error() {
            return Ok(Order::Unknown(UnknownOrder::SourceUnavailable(errors)));
        }
        let order = self.order.of_revisions(new, pinned);
        let order = self.services.wait_for_order(order)?;
        if let Order::Unknown(UnknownOrder::SourceUnavailable(errors)) = &order {
            *self.source_error.borrow_mut() = Some(errors.clone());
        }
        Ok(order)
    }

    /// The age of an available or proposed build that precedes the current set in the list.
    pub(crate) fn age(&self, build: &Build) -> Result<Age, Errors> {
        let by_current = self.age_by_current_set(build)?;
        if !matches!(by_current, Age::Newer) {
            return Ok(by_current);
        }
        let Some(revision) = &build.facts.revision else {
            return Ok(by_current);
        };
        for proposal in &self.proposals {
            let proposed = &proposal.revision;
            match self.order_of_revisions(revision, proposed)? {
                Order::Known(KnownOrder { is_older: true, .. }) => return Ok(Age::Older),
                Order::Same | Order::Known(_) => {}
                Order::Unknown(_) if self.is_later(build, proposed) => {}
                Order::Unknown(unknown) => {
                    let name = &proposal.name;
                    return Ok(Age::Unknown(format!(
                        "{name} promotes {proposed}: {unknown}"
                    )));
                }
            }
        }
        Ok(Age::Newer)
    }

    fn age_by_current_set(&self, build: &Build) -> Result<Age, Errors> {
        let known = match &build.order {
            Some(Order::Known(known)) => known,
            Some(Order::Unknown(unknown)) => return Ok(Age::Unknown(unknown.to_string())),
            Some(Order::Same) | None => return Ok(Age::Older),
        };
        if known.is_older {
            return Ok(Age::Older);
        }
        let (OrderEvidence::Clone | OrderEvidence::Source(_), Ok(pinned), Some(revision)) =
            (&known.evidence, &self.set.revision, &build.facts.revision)
        else {
            return Ok(Age::Newer);
        };
        if self.order_of_revisions(pinned, revision)?.is_older() {
            return Ok(Age::Newer);
        }
        let is_older = builds::is_created_before(&build.facts, &self.facts(), &self.set.times()?);
        Ok(match is_older {
            Some(true) => Age::Older,
            Some(false) => Age::Newer,
            None => Age::Unknown(format!(
                "it is on another line of commits than {pinned}, and the creation times of the \
                 images do not determine the order"
            )),
        })
    }

    /// Whether the images of a build were created later than those of an open pull request's set.
    fn is_later(&self, build: &Build, proposed: &Revision) -> bool {
        let index = self.candidates.find(proposed, &self.config.revision);
        let read = index.and_then(|index| self.read.get(&index));
        let proposed = read.and_then(ReadBuild::build_time);
        proposed.is_some_and(|time| build.facts.build_time() > Some(time))
    }

    /// The errors of the builds that were read but not listed, and whose time is unknown: these may be
    /// newer than the listed ones.
    pub(crate) fn undated_errors(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (index, build) in &self.read {
            if build.build_time().is_none() && !self.candidates.order.has_position(*index) {
                errors.extend(build.errors().cloned());
            }
        }
        errors
    }

    fn facts(&self) -> SetFacts<'_> {
        SetFacts {
            config: self.config,
            current: self.current(),
            pinned: &self.set.digests,
            history: self.history.known().ok().flatten(),
            proposals: &self.proposals,
        }
    }

    /// Reads the images of builds, and sets the times that determine their order.
    fn read(&mut self, batch: &[usize]) -> Result<(), Errors> {
        let (listed, omitted): (Vec<usize>, Vec<usize>) = batch
            .iter()
            .partition(|index| self.candidates.all[**index].is_listed);
        for index in omitted {
            let is_dated = self.candidates.order.has_position(index);
            let time = if self.current_index == Some(index) && !is_dated {
                let times = self.set.times()?;
                times.values().map(|time| time.time()).max()
            } else {
                None
            };
            self.candidates.order.set_time(index, time);
        }
        self.check_pulls(&listed)?;
        for batch in listed.chunks(BATCH) {
            let read = self.read_batch(batch)?;
            let is_outage =
                read.len() > 1 && read.iter().all(|build| build.errors().next().is_some());
            if is_outage {
                let errors: Vec<Error> = read.iter().flat_map(ReadBuild::errors).cloned().collect();
                return Err(errors.into());
            }
            for (index, build) in batch.iter().zip(read) {
                self.candidates.order.set_time(*index, build.build_time());
                if builds::is_current(&build, &self.facts()) {
                    self.candidates.order.set_boundary(*index);
                }
                self.read.insert(*index, build);
            }
        }
        Ok(())
    }

    fn read_batch(&self, batch: &[usize]) -> Result<Vec<ReadBuild>, Errors> {
        let (config, services) = (self.config, self.services);
        let mut work = Vec::new();
        for index in batch {
            // The memory limit of sources is that of one set.
            let sources = services.sources_of_images(config)?;
            let candidate = &self.candidates.all[*index];
            work.push(async move {
                let images = sources.iter().zip(&candidate.tags).zip(&self.pushed);
                let images = images.map(|((source, tags), pushed)| async move {
                    match tags.as_slice() {
                        [] => BuildImage::Missing,
                        [tag] => read_image(source, tag, pushed.get(tag), config).await,
                        tags => BuildImage::Ambiguous(tags.len()),
                    }
                });
                let images = future::join_all(images).await;
                ReadBuild::new(&candidate.text, images, config)
            });
        }
        let work = stream::iter(work).buffered(CONCURRENCY).collect();
        let mut read: Vec<ReadBuild> = services.wait(work, "reading builds");
        for build in &mut read {
            for (image, read) in config.images.iter().zip(&mut build.images) {
                // The time of a push is the server's.
                if let BuildImage::Read(tag, read) = read
                    && let Some(ImageTime::Created(time)) = read.time
                {
                    let subject = format!("`{}` {tag}", image.name);
                    let credible = services.credible_time(&subject, time);
                    read.time = credible.map(ImageTime::Created);
                }
            }
        }
        Ok(read)
    }

    /// Refuses to read more manifests than Docker Hub still allows.
    fn check_pulls(&self, batch: &[usize]) -> Result<(), Errors> {
        let sources = self.services.sources_of_images(self.config)?;
        let mut pulls = Vec::new();
        for ((image, source), at) in self.config.images.iter().zip(&sources).zip(0..) {
            let candidates = batch.iter().map(|index| &self.candidates.all[*index]);
            let mut tags = candidates.filter_map(|candidate| match candidate.tags[at].as_slice() {
                [tag] => Some(tag),
                _ => None,
            });
            if let (Source::Remote(remote), true, Some(first)) =
                (source, image.repository.is_on_hub(), tags.next())
            {
                pulls.push((remote, first, 1 + tags.count() as u64));
            }
        }
        check_remaining_pulls(&pulls, self.services)
    }
}

/// The commits of the source if the clone does not determine the order. Without them, each build is
/// compared by itself.
fn fetch_commits(
    order: &BuildOrder<'_>,
    current: Option<&Revision>,
    services: &Services,
) -> Option<Arc<FetchedRepository>> {
    let fetched = services.wait(order.source_commits(current), "fetching the source");
    match fetched? {
        Ok(fetched) => Some(fetched),
        Err(errors) => {
            let reason = errors.by_cause()[0].to_string();
            let warning = format!("the list is not ordered by commits: {reason}");
            services.console.warn(&warning);
            None
        }
    }
}

/// The open pull requests of the set; empty without a forge or a token. A token that may not list them is
/// like none, but the user is warned.
pub(crate) fn open_pull_requests(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Vec<PullRequestOfSet>, Errors> {
    if config.forge.is_none() {
        return Ok(Vec::new());
    }
    // GitHub hides a private repository from a token that may not read it.
    let is_unlisted = |error: &Error| {
        matches!(error.class, Class::Denied | Class::Input) || error.status == Some(404)
    };
    match forge_overview::open_pull_requests(config, git, services) {
        Ok(Access::Granted(pulls)) => Ok(pulls),
        Ok(Access::NoToken(_)) => Ok(Vec::new()),
        Err(errors) if errors.iter().all(is_unlisted) => {
            let name = connection::words(config, git).pull_request;
            for error in &errors {
                let reason = error.text();
                let warning = format!("open {name}s of the set are unknown: {reason}");
                services.console.warn(&warning);
            }
            Ok(Vec::new())
        }
        Err(errors) => Err(errors),
    }
}

/// The revisions in the registry in their expected order, each with the number of images that have it.
/// Only tags are listed.
pub(crate) fn listed_revisions(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Vec<(String, usize)>, Errors> {
    let packages: Vec<_> = config.images.iter().map(|_| None).collect();
    let (table, _) = list_tags(config, &packages, services)?;
    let candidates = table.candidates(&SelectionFacts {
        revisions: &config.revision,
        git,
        related: &[],
        pushed: &[],
    });
    let mut candidates = candidates.map_err(|error| Errors::from(Error::from(&error)))?;
    let mut revisions = Vec::new();
    while let Some(index) = candidates.order.pop() {
        let candidate = &mut candidates.all[index];
        let images = candidate.tags.iter().filter(|tags| !tags.is_empty());
        revisions.push((mem::take(&mut candidate.text), images.count()));
    }
    Ok(revisions)
}

/// The revisions in the registry that begin with a text. Only tags are listed.
pub(super) fn builds_beginning_with(
    text: &str,
    config: &Config,
    services: &Services,
) -> Result<Vec<String>, Errors> {
    let packages: Vec<_> = config.images.iter().map(|_| None).collect();
    let (table, _) = list_tags(config, &packages, services)?;
    Ok(table.revisions_beginning_with(text, &config.revision))
}

async fn read_image(
    source: &Source,
    tag: &Tag,
    push: Option<&Push>,
    config: &Config,
) -> BuildImage {
    let time = push.map(|push| ImageTime::Pushed(push.time));
    let reference = match push {
        Some(push) if !builds::is_abbreviated(config) => {
            let (digest, label) = (push.digest, None);
            return BuildImage::Read(
                tag.clone(),
                ReadImage {
                    digest,
                    time,
                    label,
                },
            );
        }
        Some(push) => TagOrDigest::Digest(push.digest),
        None => TagOrDigest::Tag(tag.clone()),
    };
    match resolve::resolve(source, &reference, &[]).await {
        Ok(None) => BuildImage::Missing,
        Err(error) => BuildImage::Unreadable(tag.clone(), error),
        Ok(Some(facts)) => {
            let label = facts.common_revision(config.revision.field());
            let image = ReadImage {
                digest: facts.digest,
                time: time.or_else(|| facts.created().map(ImageTime::Created)),
                label: label.map(str::to_owned),
            };
            BuildImage::Read(tag.clone(), image)
        }
    }
}

//! Reads the builds of a set from its registries, newest first, each just before it is listed.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    mem,
    time::SystemTime,
};

use futures_util::{StreamExt as _, future, stream};
use tokio::sync::Semaphore;

use super::{
    Access, Services, SiteHistory, forge_overview,
    prune_backend::{is_on_github, package},
    pull_limit::check_remaining_pulls,
    tags,
};
use crate::{
    builds::{
        self, BuildImage, Candidates, ImageTime, Proposal, READ_MAX, ReadBuild, ReadImage,
        Selection, SelectionFacts, SetFacts, State, TagTable,
    },
    checks,
    config::{Config, Operation},
    error::{Class, Error, Errors},
    forge::{Package, PackageVersion},
    git::Git,
    history::Digests,
    oci::{Digest, Revision, Tag, TagOrDigest, date},
    pins::Found,
    pull_request::of_set::PullRequestOfSet,
    registry::{
        Source,
        resolve::{self, ImageFacts},
    },
};

/// The number of repositories whose tags are listed concurrently, which limits the memory.
const LISTINGS: usize = 2;
/// The number of builds that are read concurrently.
const CONCURRENCY: usize = 4;
/// The number of builds that are read at once if their order is known.
const BATCH: usize = 16;
/// The maximum number of versions that are listed for their times.
const VERSIONS_MAX: usize = 5_000;

/// The builds of a set that were not listed yet.
pub(crate) struct BuildList<'s> {
    config: &'s Config,
    services: &'s Services,
    found: &'s Found,
    history: &'s SiteHistory,
    /// The versions of each image by tag, as far as the packages API lists them.
    pushed: Vec<HashMap<Tag, Push>>,
    candidates: Candidates,
    /// The recorded revision of the current set.
    current: Option<Revision>,
    pinned: Digests,
    pinned_times: OnceCell<HashMap<String, ImageTime>>,
    proposals: Vec<Proposal>,
    /// The current set and the open pull requests.
    boundaries: Vec<usize>,
    /// For each revision, whether it is older than the current one.
    older: Vec<Option<bool>>,
    read: HashMap<usize, ReadBuild>,
}

/// A version that the packages API lists.
#[derive(Debug, Clone, Copy)]
struct Push {
    digest: Digest,
    time: SystemTime,
}

/// A build with its state.
pub(crate) struct Build {
    pub facts: ReadBuild,
    pub state: State,
    pub detail: String,
    /// Whether this is the current set or that of an open pull request, so that later builds are older.
    pub is_boundary: bool,
    /// Whether the build is older than the current set by versions or commits, if these determine it.
    pub is_older: Option<bool>,
}

/// The next revision of a list.
pub(crate) enum Listed {
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
        found: &'s Found,
        history: &'s SiteHistory,
        pulls: &[PullRequestOfSet],
        services: &'s Services,
    ) -> Result<Self, Errors> {
        let pinned = checks::current_digests(config, found);
        let known = history.known()?;
        let current = known.and_then(|history| history.revision_of(&pinned).cloned());
        let mut proposals = Vec::new();
        for pull in pulls {
            if pull.operation == Operation::Promotion {
                proposals.push(Proposal {
                    number: pull.pull.number,
                    revision: pull.revision.clone(),
                });
            }
        }
        let (table, pushed) = list_tags(config, &packages(config, services)?, services)?;
        let related = proposals.iter().map(|proposal| &proposal.revision);
        let mut times = HashMap::new();
        for (tag, push) in pushed.iter().flatten() {
            let time = times.entry(tag.clone()).or_insert(push.time);
            *time = push.time.max(*time);
        }
        let candidates = table.candidates(&SelectionFacts {
            revisions: &config.revision,
            git: history.git(),
            related: &related.chain(&current).collect::<Vec<_>>(),
            pushed: &times,
        });
        let candidates = candidates.map_err(|error| Errors::from(Error::from(&error)))?;
        let find = |revision| candidates.find(revision, &config.revision);
        let current_index = current.as_ref().and_then(find);
        let older = match current_index {
            Some(index) => candidates.order.older_than(index),
            None => vec![None; candidates.all.len()],
        };
        let mut boundaries = Vec::new();
        boundaries.extend(current_index);
        boundaries.extend(
            proposals
                .iter()
                .filter_map(|proposal| find(&proposal.revision)),
        );
        Ok(Self {
            config,
            services,
            found,
            history,
            pushed,
            candidates,
            current,
            pinned,
            pinned_times: OnceCell::new(),
            proposals,
            boundaries,
            older,
            read: HashMap::new(),
        })
    }

    /// The number of revisions that are not read, and the rule that selected the others.
    pub(crate) fn left_out(&self) -> (usize, Selection) {
        (self.candidates.left_out, self.candidates.selection)
    }

    /// The recorded revision of the current set.
    pub(crate) fn current(&self) -> Option<&Revision> {
        self.current.as_ref()
    }

    /// The next build. `wanted`: the number of builds that the caller expects to list.
    pub(crate) fn next(&mut self, wanted: usize) -> Result<Option<Listed>, Errors> {
        let mut batch = self.candidates.order.undecided();
        if !batch.is_empty() {
            for build in self.candidates.order.expected(wanted.min(BATCH)) {
                if batch.len() < BATCH && !batch.contains(&build) {
                    batch.push(build);
                }
            }
            self.read(&batch)?;
        }
        let Some(index) = self.candidates.order.pop() else {
            return Ok(None);
        };
        let Some(build) = self.read.remove(&index) else {
            let is_boundary = self.boundaries.contains(&index);
            return Ok(Some(Listed::Omitted { is_boundary }));
        };
        let facts = self.facts();
        let times = || self.pinned_times();
        let (state, detail) = builds::state(&build, &facts, self.older[index], times);
        Ok(Some(Listed::Build(Box::new(Build {
            is_boundary: self.boundaries.contains(&index),
            is_older: self.older[index],
            facts: build,
            state,
            detail,
        }))))
    }

    /// The errors of the builds that were read but not listed, and whose time is unknown: these may be
    /// newer than the listed ones.
    pub(crate) fn undated_errors(&self) -> Vec<Error> {
        let mut undated = Vec::new();
        for (index, build) in &self.read {
            if build.build_time().is_none() && !self.candidates.order.has_position(*index) {
                undated.push((index, build));
            }
        }
        undated.sort_by_key(|(index, _)| *index);
        let errors = undated.into_iter().flat_map(|(_, build)| build.errors());
        errors.cloned().collect()
    }

    fn facts(&self) -> SetFacts<'_> {
        SetFacts {
            config: self.config,
            current: self.current.as_ref(),
            pinned: &self.pinned,
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
            let is_current = self.candidates.all[index].text
                == self.current.as_ref().map_or("", Revision::as_str);
            let time = if is_current && !is_dated {
                self.pinned_times().values().map(|time| time.time()).max()
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
                    self.candidates.order.set_current(*index);
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
        services.wait(work, "reading builds")
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

    /// The times of the pinned images, by name. An image that cannot be read has none.
    fn pinned_times(&self) -> HashMap<String, ImageTime> {
        let times = self.pinned_times.get_or_init(|| {
            let mut times = HashMap::new();
            for (image, pushed) in self.config.images.iter().zip(&self.pushed) {
                let digest = self.pinned.get(&image.name);
                let push = pushed.values().find(|push| Some(&push.digest) == digest);
                if let Some(push) = push {
                    times.insert(image.name.clone(), ImageTime::Pushed(push.time));
                }
            }
            if times.len() < self.pinned.len()
                && let Ok(images) =
                    tags::pinned_images(self.config, self.found, |_| true, self.services)
            {
                for (image, facts) in self.config.images.iter().zip(images) {
                    if let Some(created) = facts.and_then(|facts| facts.created()) {
                        let time = times.entry(image.name.clone());
                        time.or_insert(ImageTime::Created(created));
                    }
                }
            }
            times
        });
        times.clone()
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
            for error in &errors {
                let reason = error.text();
                let warning = format!("open pull requests of the set are unknown: {reason}");
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
        pushed: &HashMap::new(),
    });
    let mut candidates = candidates.map_err(|error| Errors::from(Error::from(&error)))?;
    let mut revisions = Vec::new();
    while let Some(index) = candidates.order.pop() {
        let candidate = &mut candidates.all[index];
        if candidate.is_listed {
            let images = candidate.tags.iter().filter(|tags| !tags.is_empty());
            revisions.push((mem::take(&mut candidate.text), images.count()));
        }
    }
    Ok(revisions)
}

async fn read_image(
    source: &Source,
    tag: &Tag,
    push: Option<&Push>,
    config: &Config,
) -> BuildImage {
    let needs_label = builds::is_abbreviated(config);
    let time = push.map(|push| ImageTime::Pushed(push.time));
    let reference = match push {
        Some(push) if !needs_label => {
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
    match resolve::resolve(source, &reference).await {
        Ok(None) => BuildImage::Missing,
        Err(error) => BuildImage::Unreadable(tag.clone(), error),
        Ok(Some(facts)) => {
            let label = common_label(&facts, &config.revision.label);
            let image = ReadImage {
                digest: facts.digest,
                time: time.or_else(|| facts.created().map(ImageTime::Created)),
                label: label.filter(|_| needs_label),
            };
            BuildImage::Read(tag.clone(), image)
        }
    }
}

/// The value of a label that all platforms have.
fn common_label(facts: &ImageFacts, name: &str) -> Option<String> {
    let mut values = facts
        .platforms
        .iter()
        .map(|platform| platform.config.labels.get(name));
    let first = values.next()??;
    values
        .all(|value| value == Some(first))
        .then(|| first.clone())
}

/// The packages of images whose versions GitHub lists, if there is a token for it.
fn packages(config: &Config, services: &Services) -> Result<Vec<Option<Package>>, Errors> {
    let sources = services.sources(config)?;
    let mut packages = Vec::new();
    for (image, source) in config
        .images
        .iter()
        .zip(services.sources_of_images(config)?)
    {
        let is_layout = matches!(source, Source::Layout(_));
        packages.push(if !is_layout && is_on_github(config, image, &sources) {
            match package(config, image, services) {
                Ok(Access::Granted(package)) => Some(package),
                // Another forge than GitHub, or no token: the registry lists the tags.
                Ok(Access::NoToken(_)) | Err(_) => None,
            }
        } else {
            None
        });
    }
    Ok(packages)
}

/// Lists the tags of every image. The packages API also lists digests and times.
fn list_tags(
    config: &Config,
    packages: &[Option<Package>],
    services: &Services,
) -> Result<(TagTable, Vec<HashMap<Tag, Push>>), Errors> {
    let table = RefCell::new(TagTable::new(config.images.len()));
    let slots = Semaphore::new(LISTINGS);
    let sources = services.sources_of_images(config)?;
    let mut work = Vec::new();
    for (index, (source, package)) in sources.iter().zip(packages).enumerate() {
        let (table, slots) = (&table, &slots);
        work.push(async move {
            // The semaphore is never closed.
            let _slot = slots.acquire().await.ok();
            let (mut pushed, mut is_complete) = (HashMap::new(), false);
            if let Some(package) = package {
                (pushed, is_complete) = list_versions(package, config, services).await;
            }
            let tags = if is_complete {
                Vec::new()
            } else {
                source.tags().await?
            };
            let known = pushed.keys().cloned();
            table
                .borrow_mut()
                .add(index, known.chain(tags), &config.revision);
            Ok(pushed)
        });
    }
    let pushed = services.wait_for_all("listing tags", &config.image_names(), work)?;
    let (mut listed, mut errors) = (Vec::new(), Vec::new());
    for pushed in pushed {
        match pushed {
            Ok(pushed) => listed.push(pushed),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Errors::from(errors));
    }
    Ok((table.into_inner(), listed))
}

/// The last pushed versions of a package by tag, and whether these are all. Without the permission to list
/// them there are none.
async fn list_versions(
    package: &Package,
    config: &Config,
    services: &Services,
) -> (HashMap<Tag, Push>, bool) {
    let is_enough = |versions: &[PackageVersion]| {
        let tags = versions.iter().flat_map(|version| &version.tags);
        let builds = tags.filter(|tag| builds::is_build(&config.revision, tag));
        versions.len() >= VERSIONS_MAX || builds.count() > READ_MAX
    };
    let versions = match package.newest(is_enough).await {
        Ok(versions) => versions,
        Err(error) => {
            if error.class != Class::Denied {
                services.console.warn(&format!(
                    "the images are read for their times, because GitHub does not list the versions: {error}"
                ));
            }
            return (HashMap::new(), false);
        }
    };
    let (mut pushed, mut is_complete) = (HashMap::new(), versions.is_complete);
    for version in versions.all {
        let Some(time) = date::parse(&version.created) else {
            is_complete = false;
            continue;
        };
        for tag in version.tags {
            let digest = version.digest;
            pushed.insert(tag, Push { digest, time });
        }
    }
    (pushed, is_complete)
}

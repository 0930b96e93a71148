//! The pinned set with which builds are compared.
//!
//! The tags of every image of a set, from its registries or from GitHub's packages API.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
};

use tokio::sync::Semaphore;

use crate::{
    app::workflow::{
        Access, Services, SiteHistory,
        build_order::{BuildOrder, created as created_at},
        prune_backend::{is_on_github, package},
        tags,
    },
    base::error::{Class, Error, Errors},
    config::Config,
    core::{
        builds::{self, ImageTime, MAX_READ, Push, TagTable},
        checks,
        history::{Digests, UnknownOrder},
        pins::FoundPins,
    },
    forge::{Package, PackageVersion},
    oci::{
        Revision, Tag, date,
        registry::{Source, resolve::ImageFacts},
    },
};

pub(super) struct PinnedSet<'s> {
    config: &'s Config,
    found: &'s FoundPins,
    services: &'s Services,
    pub(super) digests: Digests,
    /// The recorded revision, otherwise that in the labels of the images, or the reason that it is unknown.
    pub(super) revision: Result<Revision, UnknownOrder>,
    images: OnceCell<Result<Vec<Option<ImageFacts>>, Errors>>,
    /// The times of the pushes that the packages API lists, by image.
    pushed: HashMap<String, ImageTime>,
}

impl<'s> PinnedSet<'s> {
    pub(super) fn read(
        config: &'s Config,
        found: &'s FoundPins,
        history: &SiteHistory,
        order: &BuildOrder<'_>,
        versions: &[HashMap<Tag, Push>],
        services: &'s Services,
    ) -> Result<Self, Errors> {
        let digests = checks::current_digests(config, found);
        let revision = match history.known()? {
            None => Err(UnknownOrder::NoHistory(
                "there is no git history".to_owned(),
            )),
            Some(known) => {
                let recorded = known.revision_of(&digests).cloned();
                recorded.ok_or_else(|| known.unrecorded())
            }
        };
        let mut pushed = HashMap::new();
        for (image, versions) in config.images.iter().zip(versions) {
            let digest = digests.get(&image.name);
            let push = versions.values().find(|push| Some(&push.digest) == digest);
            if let Some(push) = push {
                pushed.insert(image.name.clone(), ImageTime::Pushed(push.time));
            }
        }
        let mut set = Self {
            config,
            found,
            services,
            digests,
            revision,
            images: OnceCell::new(),
            pushed,
        };
        if let Err(unknown) = &set.revision
            && unknown.is_unrecorded()
            && let Some(label) = order.label(&config.images, set.images()?)
        {
            set.revision = Ok(label);
        }
        Ok(set)
    }

    /// The pinned images, in the order of the configuration; `None` for one that cannot be read.
    fn images(&self) -> Result<&[Option<ImageFacts>], Errors> {
        let images = self
            .images
            .get_or_init(|| tags::readable_images(self.config, self.found, self.services));
        images.as_deref().map_err(Errors::clone)
    }

    /// The times of the images, by name.
    pub(super) fn times(&self) -> Result<HashMap<String, ImageTime>, Errors> {
        let mut times = self.pushed.clone();
        if times.len() == self.digests.len() {
            return Ok(times);
        }
        for (image, facts) in self.config.images.iter().zip(self.images()?) {
            let subject = format!("the pinned `{}`", image.name);
            let created = facts.as_ref();
            let created = created.and_then(|facts| created_at(facts, &subject, self.services));
            if let Some(created) = created {
                let time = times.entry(image.name.clone());
                time.or_insert(ImageTime::Created(created));
            }
        }
        Ok(times)
    }
}

/// The number of repositories whose tags are listed concurrently, which limits the memory.
const LISTINGS: usize = 2;
/// The maximum number of versions that are listed for their times.
const MAX_VERSIONS: usize = 5_000;

/// The packages of images whose versions GitHub lists, if there is a token for it.
pub(super) fn packages(
    config: &Config,
    services: &Services,
) -> Result<Vec<Option<Package>>, Errors> {
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
pub(super) fn list_tags(
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
            let is_pinned = config.images[index].pins > 0;
            let tags = if is_complete {
                Vec::new()
            } else {
                match source.tags().await? {
                    None if is_pinned => return Err(unknown_repository(source)),
                    tags => tags.unwrap_or_default(),
                }
            };
            let known = pushed.keys().cloned();
            table.borrow_mut().add(index, known.chain(tags));
            Ok(pushed)
        });
    }
    let pushed = services.wait_for_all("listing tags", &config.image_names(), work);
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

/// The error for a pinned image without a repository: its pins show that the repository existed.
fn unknown_repository(source: &Source) -> Error {
    let reason = "the registry does not know the repository";
    Error::about(Class::MissingContent, format!("tags of {source}"), reason).help(
        "check the name and the credentials: a registry may hide a repository that they may not read",
    )
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
        versions.len() >= MAX_VERSIONS || builds.count() > MAX_READ
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

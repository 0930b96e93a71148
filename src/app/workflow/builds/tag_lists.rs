//! The tags of every image of a set, from its registries or from GitHub's packages API.

use std::{cell::RefCell, collections::HashMap};

use tokio::sync::Semaphore;

use crate::{
    app::workflow::{
        Access, Services,
        prune_backend::{is_on_github, package},
    },
    base::error::{Class, Error, Errors},
    config::Config,
    core::builds::{self, MAX_READ, Push, TagTable},
    forge::{Package, PackageVersion},
    oci::{Tag, date, registry::Source},
};

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

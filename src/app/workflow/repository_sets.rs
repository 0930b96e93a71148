//! The other sets of this repository, and the repositories that any set names.
//!
//! The lock of a run that changes the work tree, and recovery from an interrupted run.

use std::path::Path;

use rustix::system::uname;
use time::format_description::well_known::Rfc3339;

use super::{
    Access, Console, OtherRepository, Services,
    stage_sources::{forge_login, repository_url},
};
use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::plain,
    },
    config::{self, AlsoPinned, Config, Prune, SetPath, StageSet},
    core::{
        apply::{self, Session},
        configurations::{self, NoConfig},
    },
    git::{Git, Login},
    oci::{date, registry::Sources},
    prune::RepositoryAccess,
};

const ALSO_PINNED: &str = "prune.also_pinned_in";
const STAGE: &str = "promote.after";

/// Another repository that pins images, with a directory for its objects.
pub(crate) struct NamedRepository {
    pub(crate) access: RepositoryAccess,
    /// The directory is removed when this value is dropped.
    _directory: tempfile::TempDir,
}

/// The configurations of all other sets in the work tree. Each must be readable, because it may name a
/// repository or protect a tag.
pub(crate) fn other_sets(config: &Config, git: &Git) -> Result<Vec<Config>, Error> {
    let top = git.top();
    let mut listing = configurations::list(top, usize::MAX);
    if let Some(error) = listing.incomplete.pop() {
        return Err(error);
    }
    let mut sets = Vec::new();
    for file in listing.files.iter().chain(&listing.sparse) {
        let set_path = SetPath::from(file.clone());
        if set_path == config.set_path {
            continue;
        }
        let set = if listing.sparse.contains(file) {
            match sparse_set(git, &set_path, config) {
                Ok(set) => Ok(set),
                Err(NoConfig::Git(error)) => return Err(error.into()),
                Err(NoConfig::Absent) => Err("it is no longer tracked".to_owned()),
                Err(NoConfig::TooLarge) => Err("it is too large".to_owned()),
                Err(NoConfig::Malformed(reason)) => Err(reason),
            }
        } else {
            config::load(&top.join(file.as_path()), &file.to_string())
                .map_err(|errors| Errors::from(errors).by_cause()[0].to_string())
        };
        let set = set.map_err(|reason| {
            let message = format!("cannot determine what {file} protects: {reason}");
            let error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message);
            error.help("fix the configuration; nothing is deleted without it")
        })?;
        // The configuration of a fleet has no images.
        if set.counts_pins().is_ok() {
            sets.push(set);
        }
    }
    Ok(sets)
}

/// The configuration of a set outside of the sparse checkout, from the index.
fn sparse_set(git: &Git, set: &SetPath, config: &Config) -> Result<Config, NoConfig> {
    let tracked = crate::git::configurations(git.top())?;
    let blob = tracked.iter().find(|tracked| tracked.path == *set.file());
    let blob = blob.and_then(|tracked| tracked.sparse);
    let root = git.top().join(set.directory());
    configurations::config_of_blob(
        git,
        blob.ok_or(NoConfig::Absent)?,
        config.file_name(),
        &root,
        set,
    )
}

/// The other repositories that the sets name in `prune.also_pinned_in` and `promote.after`, each once.
pub(crate) fn named_repositories(
    sets: &[&Config],
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Vec<NamedRepository>>, Errors> {
    let mut found: Vec<NamedRepository> = Vec::new();
    for set in sets {
        for (key, entry) in entries(set, git)? {
            let other = OtherRepository {
                key: key.to_owned(),
                repository: &entry.repository,
                token_env: entry.token_env.as_deref(),
            };
            let remote = match other.remote(set, services)? {
                Access::Granted(remote) => remote,
                Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
            };
            let is_known = |known: &NamedRepository| {
                let access = &known.access;
                access.remote.url == remote.url
                    && access.entry.branches == entry.branches
                    && access.entry.token_env == entry.token_env
            };
            if found.iter().any(is_known) {
                continue;
            }
            let login: Option<Login> = match key {
                STAGE => forge_login(set, git, &remote.url, services),
                _ => None,
            };
            let directory = services.temporary_directory()?;
            found.push(NamedRepository {
                access: RepositoryAccess {
                    key,
                    entry,
                    remote,
                    login,
                    connections: services.connections(),
                    scratch: directory.path().to_owned(),
                },
                _directory: directory,
            });
        }
    }
    Ok(Access::Granted(found))
}

/// The repositories in the configuration of a set, with their keys. A stage may be deployed from any branch of
/// its repository.
fn entries(set: &Config, git: Option<&Git>) -> Result<Vec<(&'static str, AlsoPinned)>, Error> {
    let mut entries = Vec::new();
    let also = set.prune.iter().flat_map(|prune| &prune.also_pinned_in);
    entries.extend(also.map(|entry| (ALSO_PINNED, entry.clone())));
    for stage in &set.promote.after {
        let StageSet::OtherRepository(other) = &stage.set else {
            continue;
        };
        let repository = repository_url(&other.repository, set, git).map_err(|reason| {
            let message = format!("{STAGE} of {}: {reason}", set.set_path);
            Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        })?;
        let entry = AlsoPinned {
            repository,
            branches: None,
            token_env: None,
        };
        entries.push((STAGE, entry));
    }
    Ok(entries)
}

/// Adds the patterns of `prune.protect` of the other sets that have an image with this source.
pub(crate) fn with_protection(
    prune: &Prune,
    location: &str,
    sets: &[Config],
    services: &Services,
) -> Result<Prune, Errors> {
    let mut prune = prune.clone();
    for set in sets {
        if let Some(other) = &set.prune
            && locations(set, &services.sources(set)?)
                .iter()
                .any(|other| other == location)
        {
            prune.protect.extend(other.protect.iter().cloned());
        }
    }
    Ok(prune)
}

/// The source of each image; images may share one repository.
pub(crate) fn locations(config: &Config, sources: &Sources) -> Vec<String> {
    let mut locations = Vec::new();
    for image in &config.images {
        locations.push(match sources.source(&image.repository) {
            Ok(source) => source.to_string(),
            Err(_) => image.repository.canonical(),
        });
    }
    locations
}

/// Like [`begin_at`], in the root of a configuration.
pub(crate) fn begin(
    config: &Config,
    command: &str,
    services: &Services,
) -> Result<Session, Errors> {
    begin_at(&config.root, command, services)
}

/// Takes the lock of a work tree, and recovers from an interrupted run, which may be of another set in the same
/// root. So its set, its revision and its files are reported in every volume.
pub(crate) fn begin_at(root: &Path, command: &str, services: &Services) -> Result<Session, Errors> {
    let mut session = lock(root, command, services)?;
    let recovery = session.recover()?;
    if let Some(warning) = recovery.warning() {
        services.console.warn(&plain(&warning));
    }
    Ok(session)
}

/// Takes the lock of a work tree. A process that fails to take it shows this one as the holder.
pub(crate) fn lock(
    root: &Path,
    command: &str,
    services: &Services,
) -> Result<Session, apply::Error> {
    let started = date::offset((services.environment.clock)()).format(&Rfc3339);
    let holder = format!(
        "`repin {command}`, process {} on {}, since {}",
        std::process::id(),
        uname().nodename().to_string_lossy(),
        started.unwrap_or_default()
    );
    Session::begin(root, &holder)
}

/// Warns if an interrupted run left a journal; the run continues.
pub(crate) fn warn_if_interrupted(config: &Config, console: &dyn Console) {
    match apply::preview_recovery(&config.root) {
        Ok(None) => {}
        Ok(Some(recovery)) => console.warn(&plain(&recovery.notice(&config.option))),
        Err(error) => {
            let message = plain(&error.to_string());
            console.warn(&format!("{message}; {}", error.hint()));
        }
    }
}

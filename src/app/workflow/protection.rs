//! The one protection set of a repository, for `prune` and for `builds`.

use regex::Regex;

use super::{
    Access, Services, connection, environment, no_token_error, open_pulls,
    repository_sets::{
        NamedRepository, locations, named_repositories, other_sets, with_protection,
    },
};
use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::plain,
    },
    config::{Config, ForkPolicy, Prune},
    git::Git,
    oci::{Digest, Tag, registry::Mapping},
    prune::{
        self, KeepReason, ProtectionInputs, ProtectionSources, PullHead, RunningFile, Warning,
    },
};

/// The inputs of the protection set, from all sets of the repository.
pub(crate) struct ProtectionReader<'r> {
    config: &'r Config,
    services: &'r Services,
    git: Option<Git>,
    /// The sources of the images.
    locations: Vec<String>,
    /// All mappings of `sources`.
    mappings: Vec<Mapping>,
    /// The words in texts that count as tags.
    tags: Regex,
    running: &'r [RunningFile],
    /// The other sets of the repository, or the reason why they are unknown.
    sets: Result<Vec<Config>, Error>,
    others: Vec<NamedRepository>,
}

impl<'r> ProtectionReader<'r> {
    /// Finds the other sets and repositories. Reads none of their commits.
    pub(crate) fn open(
        config: &'r Config,
        tags: Regex,
        running: &'r [RunningFile],
        services: &'r Services,
    ) -> Result<Access<Self>, Errors> {
        let git = services.discover_git(config).map_err(Error::from)?;
        let sets = git
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |git| other_sets(config, git));
        let sources = services.sources(config)?;
        let mut all_sets = vec![config];
        all_sets.extend(sets.iter().flatten());
        let others = match named_repositories(&all_sets, git.as_ref(), services)? {
            Access::Granted(others) => others,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        Ok(Access::Granted(Self {
            config,
            services,
            git,
            locations: locations(config, &sources),
            mappings: sources.mappings().cloned().collect(),
            tags,
            running,
            sets,
            others,
        }))
    }

    pub(crate) fn git(&self) -> Option<&Git> {
        self.git.as_ref()
    }

    /// The rules for the image with this index, with the protection by the other sets.
    pub(crate) fn rules_of(&self, image: usize, prune: &Prune) -> Result<Prune, Errors> {
        let sets = self.sets.as_deref().unwrap_or_default();
        with_protection(prune, &self.locations[image], sets, self.services)
    }

    /// The heads of open pull requests, with the warnings about evidence that is not read. If they cannot be listed,
    /// warns or refuses.
    pub(crate) fn open_pulls(
        &self,
        prune: &Prune,
    ) -> Result<(Vec<PullHead>, Vec<Warning>), Errors> {
        let mut warnings = Vec::new();
        let mut sets = self.sets.iter().flatten().chain([self.config]);
        if let Some(set) = sets.find(|set| set.fleet.is_some()) {
            warnings.push(Warning {
                code: Code::FLEET_UNCHECKED,
                detail: format!(
                    "pins in the repositories of the fleet of {} are not read: list those that deploy the images in \
                     `prune.also_pinned_in`",
                    set.set_path
                ),
            });
        }
        let reason = match open_pulls(self.config, self.services)? {
            Access::Granted(pulls) => return Ok((pulls, warnings)),
            Access::NoToken(reason) => reason,
        };
        let code = Code::FORKS_UNCHECKED;
        let name = connection::words(self.config, self.git()).pull_request;
        let detail = format!("open {name}s of forks were not checked: {reason}");
        if prune.forks == ForkPolicy::Require {
            let help = format!(
                "add a `forge` block, and set a token that may read {name}s; or set `prune.forks` to `warn`"
            );
            return Err(Error::new(Class::Denied, code, detail).help(help).into());
        }
        warnings.push(Warning { code, detail });
        Ok((Vec::new(), warnings))
    }

    /// `deletes`: whether versions are deleted by the rules of the configuration.
    pub(crate) fn gather(
        &self,
        pulls: &[PullHead],
        deletes: bool,
    ) -> Result<ProtectionSources, Error> {
        let sets = self.sets.as_ref().map_err(Error::clone)?;
        let others = self.others.iter().map(|other| other.access.clone());
        let others: Vec<_> = others.collect();
        let branch = environment::default_branch(&self.services.environment, self.git.as_ref());
        let _progress = self.services.console.progress("reading branches and tags");
        let inputs = ProtectionInputs {
            connections: &self.services.clone_connections(),
            branch: branch.as_deref(),
            locations: &self.locations,
            mappings: &self.mappings,
            tags: &self.tags,
            others: &others,
            sets,
            pulls,
            running: self.running,
            deletes,
        };
        prune::gather(self.config, &inputs)
    }
}

/// The protection of the images of a set, for a command that deletes nothing.
pub(crate) struct SetProtection {
    sources: ProtectionSources,
    /// The rules of each image.
    rules: Vec<Prune>,
    /// The evidence that was not read.
    warnings: Vec<Warning>,
}

impl SetProtection {
    /// Reads the evidence of all sets of the repository, like `prune`.
    pub(crate) fn read(config: &Config, services: &Services) -> Result<Self, Errors> {
        let prune = prune_block(config)?;
        let reader = match ProtectionReader::open(config, prune.tags.clone(), &[], services)? {
            Access::Granted(reader) => reader,
            Access::NoToken(reason) => return Err(no_token_error(&reason)),
        };
        let mut rules = Vec::new();
        for image in 0..config.images.len() {
            rules.push(reader.rules_of(image, prune)?);
        }
        let (pulls, warnings) = reader.open_pulls(prune)?;
        for warning in &warnings {
            services.console.warn(&plain(&warning.detail));
        }
        let sources = reader.gather(&pulls, false)?;
        Ok(Self {
            sources,
            rules,
            warnings,
        })
    }

    /// The warnings about the evidence.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The evidence that keeps the image with this index in the configuration.
    pub(crate) fn reason(&self, image: usize, digest: Digest, tag: &Tag) -> Option<KeepReason> {
        prune::evidence(digest, tag, self.sources.of(image), &self.rules[image])
    }
}

/// The block `prune`, without which nothing may be deleted.
pub(crate) fn prune_block(config: &Config) -> Result<&Prune, Errors> {
    config.prune.as_ref().ok_or_else(|| {
        let message = format!(
            "{} has no `prune` block, so nothing may be deleted",
            plain(&config.set_path.to_string())
        );
        let help =
            "add `prune: {}` for the defaults: tags that start with pending-, older than 14 days";
        Error::input(Code::CONFIG, message).help(help).into()
    })
}

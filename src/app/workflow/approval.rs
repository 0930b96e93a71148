//! The permission of `wait` to merge a pull request: the set of its branch, approved by this run,
//! or two configured branches.
//!
//! The marker in the text only identifies the candidate. The set is verified as its promotion or
//! rollback would verify it now: with the configuration and the files of the base branch, and with
//! tags that are resolved in this run.

use super::{
    Goal, MissingCredential, RevisionChoice, Services, SiteHistory, Stop,
    engine::{self, SetFacts},
    run::read_standards,
    site::{BranchSite, Site},
};
use crate::{
    app::pull_request::{
        ApprovedSet, Marker, MarkerKind, Permission,
        branches::{self, BranchPair},
        head::{self, PullRequestOfSet},
        reconcile::own::shared_branch,
        refused, wrong_branches,
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::is_config_file,
        untrusted::plain,
    },
    config::{Config, Operation, SetPath},
    core::{
        checks::{Approved, Overrides, Status},
        history::HoldScope,
    },
    forge::{Forge, Pull},
};
use std::path::Path;

/// A pull request that may be merged.
pub(crate) enum MergeCandidate {
    /// It has no marker, so repin does not merge it.
    Unmarked,
    /// It has the marker or the branch of a set, and must not be merged, for this reason.
    Refused(Error),
    /// It belongs to another set with the same branch, so this run changes nothing.
    OtherSet(Error),
    /// Its set could not be verified, for this reason.
    Unverified(Error),
    /// It merges one configured branch into another.
    Branches { from: String, to: String },
    /// It moves the pins to a set that this run approved.
    Set(Box<ApprovedPull>),
}

/// A set that this run approved for a pull request.
pub(crate) struct ApprovedPull {
    site: BranchSite,
    approved: Approved,
    branch: String,
}

impl MergeCandidate {
    /// The contexts that must pass before the merge: those of the base's configuration if the set was
    /// approved with it.
    pub(crate) fn gates(&self, config: &Config) -> Vec<String> {
        let config = match self {
            Self::Set(set) => &set.site.config,
            _ => config,
        };
        config.forge_or_default().gates
    }

    pub(crate) fn permission(&self) -> Option<Permission<'_>> {
        match self {
            Self::Unmarked | Self::Refused(_) | Self::OtherSet(_) | Self::Unverified(_) => None,
            Self::Branches { from, to } => Some(Permission::Branches(BranchPair { from, to })),
            Self::Set(set) => Some(set.permission()),
        }
    }
}

impl ApprovedPull {
    fn permission(&self) -> Permission<'_> {
        Permission::Set(ApprovedSet {
            config: &self.site.config,
            approved: &self.approved,
            base: &self.site.head.base,
            prefix: &self.site.head.prefix,
            branch: &self.branch,
        })
    }
}

/// Determines whether an open pull request may be merged, with the base branch from the forge.
pub(crate) fn candidate(
    pull: &Pull,
    config: &Config,
    forge: &Forge,
    services: &Services,
) -> Result<MergeCandidate, Errors> {
    let Some(marker) = Marker::find(&pull.body) else {
        return Ok(unmarked(pull, config, services));
    };
    if !pull.own {
        let reason = "it has a marker of repin, but its branch is in another repository";
        return Ok(MergeCandidate::Refused(refused(pull, reason)));
    }
    if marker.kind == MarkerKind::Branch {
        return branches_of(pull, config, forge, services);
    }
    if config.images.is_empty() {
        return Ok(of_another_set(pull, &marker, services));
    }
    let site = BranchSite::open(config, Some(&pull.head), services)?.granted()?;
    let mut named = site.config.clone();
    named.former.extend(site.history(services).former_sets());
    let Some(pull_of_set) = head::identify(pull.clone(), &named) else {
        return unrelated(pull, &marker, &named, &site, services);
    };
    if marker.set != named.set_path {
        services.console.warn(&format!(
            "{} was opened for {}, the former path of the set {}; the next promotion or rollback to its revision supersedes it",
            pull.name(),
            plain(&marker.set.to_string()),
            plain(&named.set_path.to_string())
        ));
    }
    if let Some(reason) = wrong_branches(pull, &pull.head, &site.head.base.branch) {
        return Ok(MergeCandidate::Refused(refused(pull, reason)));
    }
    let revision = pull_of_set.revision.to_string();
    let goal = match pull_of_set.operation {
        Operation::Rollback => Goal::Rollback {
            revision: revision.clone(),
            by_digest: false,
        },
        Operation::Promotion => Goal::Promote {
            revision: RevisionChoice::Named(revision.clone()),
            digests: Vec::new(),
            overrides: Overrides::default(),
        },
    };
    let parsed = goal.parse(&revision, &site.config)?;
    let request = match parsed.request(site.files(), &site.config, services) {
        Ok(request) => request,
        Err(stop) => return Ok(MergeCandidate::Unverified(unverified(&pull_of_set, stop))),
    };
    let operation = request.operation;
    let standards = read_standards(operation, &site.config, site.files(), services)?;
    let planned = engine::plan(
        &request,
        &standards,
        &site,
        MissingCredential::Fail,
        services,
        &mut SetFacts::default(),
    );
    Ok(match planned {
        Ok(planned) => MergeCandidate::Set(Box::new(ApprovedPull {
            site,
            approved: planned.approved,
            branch: pull.head.clone(),
        })),
        Err(stop) => MergeCandidate::Unverified(unverified(&pull_of_set, stop)),
    })
}

/// A pull request without a marker.
fn unmarked(pull: &Pull, config: &Config, services: &Services) -> MergeCandidate {
    if config.images.is_empty() {
        return MergeCandidate::Unmarked;
    }
    let mut named = config.clone();
    let history = SiteHistory::for_choice(config, services);
    named.former.extend(history.former_sets());
    // A merge that repin scheduled would outlive the marker.
    if pull.own && named.has_branch(&pull.head) {
        let reason = "its branch is that of a set, but its text has no marker of repin";
        return MergeCandidate::Refused(refused(pull, reason));
    }
    MergeCandidate::Unmarked
}

/// A pull request with the marker of a set that this run does not know.
fn of_another_set(pull: &Pull, marker: &Marker, services: &Services) -> MergeCandidate {
    services.console.warn(&format!(
        "{} belongs to the set {}: this run waits for it, but does not verify or merge it",
        pull.name(),
        plain(&marker.set.to_string())
    ));
    MergeCandidate::Unmarked
}

/// A pull request whose marker is not one of this set on a branch of this set.
fn unrelated(
    pull: &Pull,
    marker: &Marker,
    config: &Config,
    site: &BranchSite,
    services: &Services,
) -> Result<MergeCandidate, Errors> {
    let MarkerKind::Set(operation) = marker.kind else {
        return Ok(MergeCandidate::Unmarked);
    };
    if !config.has_set(&marker.set) {
        if !config.has_branch(&pull.head) {
            return Ok(of_another_set(pull, marker, services));
        }
        if belongs_to_other_set(pull, marker, site, services)? {
            let subject = format!("{} ({})", pull.name(), pull.url);
            let error = shared_branch(subject, operation, &config.set_path, &marker.set);
            return Ok(MergeCandidate::OtherSet(error));
        }
    }
    let reason = format!(
        "its marker ({} {} of the set {}) does not belong to its branch {}: the configuration gives another one",
        operation.as_str(),
        plain(&marker.revision),
        plain(&marker.set.to_string()),
        plain(&pull.head)
    );
    Ok(MergeCandidate::Refused(refused(pull, reason)))
}

/// Whether the configuration of another set on the base, or that of a former path of another set, gives
/// the branch of a pull request to its marker. A configuration that cannot be read may do so.
fn belongs_to_other_set(
    pull: &Pull,
    marker: &Marker,
    site: &BranchSite,
    services: &Services,
) -> Result<bool, Errors> {
    let head = &site.head;
    let files = &head.base.tree.entries;
    let mut sets = vec![marker.set.clone()];
    if !files.contains_key(&marker.set.to_string()) {
        // It may be the former path of any other set.
        let paths = files.keys().map(Path::new);
        let paths = paths.filter(|path| is_config_file(path));
        sets = paths.filter_map(|path| SetPath::new(path).ok()).collect();
    }
    for set in sets {
        let work = head.base.configuration(&head.repository.content, &set);
        let mut config = match services.wait(work, "reading the configuration of another set")? {
            Some(Ok(config)) => config,
            Some(Err(_)) => return Ok(true),
            None => continue,
        };
        // The history is read in the clone around the root of this set.
        config.root.clone_from(&site.config.root);
        let history = match &head.history {
            Some(head) => SiteHistory::up_to(head, &config, HoldScope::Refusals, services),
            None => SiteHistory::for_choice(&config, services),
        };
        config.former = history.former_sets();
        if head::identify(pull.clone(), &config).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn branches_of(
    pull: &Pull,
    config: &Config,
    forge: &Forge,
    services: &Services,
) -> Result<MergeCandidate, Errors> {
    let configured = config.forge_or_default();
    let pair = BranchPair {
        from: &pull.head,
        to: &pull.base,
    };
    let work = branches::unconfigured_branch(forge, pair, &configured);
    Ok(match services.wait(work, "reading the default branch")? {
        Some(branch) => {
            let reason = format!(
                "its marker says that repin merges branches, but {} is neither the base nor in forge.sync_targets",
                plain(&branch)
            );
            MergeCandidate::Refused(refused(pull, reason))
        }
        None => MergeCandidate::Branches {
            from: pull.head.clone(),
            to: pull.base.clone(),
        },
    })
}

/// The error for a set that was not verified, with the failed checks and the errors.
fn unverified(set: &PullRequestOfSet, stop: Stop) -> Error {
    let pull = &set.pull;
    let (checks, errors) = stop.into_parts();
    let message = format!(
        "the set of {} ({}) was not verified, so repin does not merge it",
        pull.name(),
        pull.url
    );
    let revision = &set.revision;
    let command = match set.operation {
        Operation::Promotion => format!("repin promote --revision {revision} --pr ready"),
        Operation::Rollback => format!("repin rollback --to {revision} --pr ready"),
    };
    let mut problem = Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(format!(
        "run `{command}`, which reports every check, or merge it by hand"
    ));
    let failed = checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| format!("{}: {}", check.code, check.describe()));
    problem.notes = failed
        .chain(errors.iter().map(ToString::to_string))
        .collect();
    problem
}

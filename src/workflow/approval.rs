//! What permits `wait` to merge a pull request: the set that its branch belongs to, approved again by
//! this run, or two configured branches.
//!
//! The marker in the text only finds the candidate. The set is verified as its promotion or rollback
//! would verify it now: with the configuration and the files of the base branch, and with tags that
//! are resolved in this run.

use super::{
    Goal, Intent, Services, Stop, Unconfigured, images, kept_moving, plan_of,
    site::{BranchHead, Opened, Site, Target},
};
use crate::{
    checks::{Approved, Overrides, Status},
    code::Code,
    config::{Config, Operation},
    error::{Class, Error, Errors},
    forge::{Forge, Pull},
    pull_request::{
        ApprovedSet, Marker, MarkerKind, Permission,
        branches::{self, BranchPair},
        of_set::{is_branch_of_set, of_set},
        refused, wrong_branches,
    },
    untrusted::plain,
};

/// What a pull request is, as far as its merge is concerned.
pub enum Candidate {
    /// It has no marker, so repin does not merge it.
    Unmarked,
    /// Its marker or its branch is that of a set, and it must not be merged, for this reason.
    Refused(Error),
    /// Its set could not be verified, for this reason.
    Unverified(Error),
    /// It merges one configured branch into another.
    Branches {
        /// The source branch.
        from: String,
        /// The target branch.
        to: String,
    },
    /// It moves the pins to a set that this run approved.
    Set(Box<ApprovedPull>),
}

/// A set that this run approved for a pull request.
pub struct ApprovedPull {
    config: Config,
    head: Box<BranchHead>,
    approved: Approved,
    branch: String,
}

impl Candidate {
    /// The contexts that must pass before the merge: those of the base's configuration if the set was
    /// approved with it.
    pub fn gates(&self, config: &Config) -> Vec<String> {
        let config = match self {
            Self::Set(set) => &set.config,
            _ => config,
        };
        config.forge_or_default().gates
    }

    /// What permits the merge.
    pub fn permission(&self) -> Option<Permission<'_>> {
        match self {
            Self::Unmarked | Self::Refused(_) | Self::Unverified(_) => None,
            Self::Branches { from, to } => Some(Permission::Branches(BranchPair { from, to })),
            Self::Set(set) => Some(set.permission()),
        }
    }
}

impl ApprovedPull {
    fn permission(&self) -> Permission<'_> {
        Permission::Set(ApprovedSet {
            config: &self.config,
            approved: &self.approved,
            base: &self.head.base,
            prefix: &self.head.prefix,
            branch: &self.branch,
        })
    }
}

/// Determines what permits the merge of an open pull request.
pub fn candidate(
    pull: &Pull,
    config: &Config,
    forge: &dyn Forge,
    services: &Services,
) -> Result<Candidate, Errors> {
    let Some(marker) = Marker::find(&pull.body) else {
        // A merge that repin scheduled would outlive the marker.
        if pull.own && is_branch_of_set(config, &pull.head) {
            let reason = "its branch is that of a set, but its text has no marker of repin";
            return Ok(Candidate::Refused(refused(pull, reason)));
        }
        return Ok(Candidate::Unmarked);
    };
    if !pull.own {
        let reason = "it has a marker of repin, but its branch is in another repository";
        return Ok(Candidate::Refused(refused(pull, reason)));
    }
    let operation = match marker.kind {
        MarkerKind::Branch => return branches_of(pull, config, forge, services),
        MarkerKind::Set(operation) => operation,
    };
    // Nothing is changed, and the base branch is read from the forge.
    let intent = Intent::ShowPullRequest;
    let opened = Site::open(config, operation, intent, Unconfigured::Fails, services)?;
    let Opened::Site(site) = opened else {
        return Ok(Candidate::Unmarked);
    };
    let Target::Branch(head, _) = &site.target else {
        return Ok(Candidate::Unmarked);
    };
    let Some(found) = of_set(pull.clone(), &site.config) else {
        let reason = format!(
            "its marker ({} {}) does not belong to its branch {}: the configuration gives another one",
            operation.as_str(),
            plain(&marker.revision),
            plain(&pull.head)
        );
        return Ok(Candidate::Refused(refused(pull, reason)));
    };
    if let Some(reason) = wrong_branches(pull, &pull.head, &head.base.branch) {
        return Ok(Candidate::Refused(refused(pull, reason)));
    }
    let revision = found.revision.to_string();
    let goal = match found.operation {
        Operation::Rollback => Goal::Rollback { revision },
        Operation::Promotion => Goal::Promote {
            revision,
            digests: Vec::new(),
            overrides: Overrides::default(),
        },
    };
    site.config.counts_pins()?;
    let request = goal.checked(&site.config)?;
    let mut rows = images::declared(&site.config);
    let planned = plan_of(&request, &site, Unconfigured::Fails, services, &mut rows)?;
    let Site { config, target } = *site;
    match (planned, target) {
        (Ok(planned), Target::Branch(head, _)) => Ok(Candidate::Set(Box::new(ApprovedPull {
            config,
            head,
            approved: planned.approved,
            branch: pull.head.clone(),
        }))),
        (Ok(_), Target::WorkTree(..)) => Ok(Candidate::Unmarked),
        (Err(stop), _) => Ok(Candidate::Unverified(unverified(pull, &goal, stop))),
    }
}

fn branches_of(
    pull: &Pull,
    config: &Config,
    forge: &dyn Forge,
    services: &Services,
) -> Result<Candidate, Errors> {
    let (from, to) = (pull.head.clone(), pull.base.clone());
    let configured = config.forge_or_default();
    let between = BranchPair {
        from: &from,
        to: &to,
    };
    let work = branches::unconfigured(forge, between, &configured);
    Ok(match services.wait(work, "reading the default branch")?? {
        Some(branch) => {
            let reason = format!(
                "its marker says that repin merges branches, but {} is neither the base nor in forge.sync_targets",
                plain(&branch)
            );
            Candidate::Refused(refused(pull, reason))
        }
        None => Candidate::Branches { from, to },
    })
}

/// The error for a set that was not verified, with the checks that failed and the errors that left
/// something unjudged.
fn unverified(pull: &Pull, goal: &Goal, stop: Stop) -> Error {
    let (checks, errors) = match stop {
        Stop::Chain(stopped) => (stopped.checks, stopped.outages),
        Stop::Count(checks) => (checks, Vec::new()),
        Stop::Unconfigured(reason) => {
            let error = Error::new(Class::Denied, Code::DENIED, reason);
            (Vec::new(), vec![error])
        }
        Stop::BaseMoved => (Vec::new(), kept_moving().into_iter().collect()),
        Stop::Errors(errors) => (Vec::new(), errors.into_iter().collect()),
    };
    let message = format!(
        "the set of pull request #{} ({}) was not verified, so repin does not merge it",
        pull.number, pull.url
    );
    let (Goal::Promote { revision, .. } | Goal::Rollback { revision }) = goal;
    let command = match goal {
        Goal::Promote { .. } => format!("repin promote --revision {revision} --pr ready"),
        Goal::Rollback { .. } => format!("repin rollback --to {revision} --pr ready"),
    };
    let mut problem = Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(format!(
        "run `{command}`, which reports every check, or merge the pull request by hand"
    ));
    let failed = checks.iter().filter(|check| check.status == Status::Fail);
    let failed = failed.map(|check| format!("{}: {}", check.code, check.describe()));
    problem.notes = failed
        .chain(errors.iter().map(ToString::to_string))
        .collect();
    problem
}

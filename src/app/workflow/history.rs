//! The history of a site: complete, partial or absent.
//!
//! A clone has the history of one branch, unless it is shallow. That of a repository of a fleet is fetched. If the
//! history is absent, the error explains why.

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    Services,
    base::known_bases,
    branch_files::digests_of,
    build_order::BuildOrder,
    head_on_forge,
    history_branch::{BranchRole, HistoryBranch, history_branch},
    known_heads::HeadOnForge,
};
use crate::{
    app::pull_request::Content,
    base::error::{Code, Error, Errors},
    config::{Config, FormerSet},
    core::{
        checks::{self, DigestHistory, Extent, HistoryFacts},
        history::{
            self, Digests, EntryState, HistoryEntry, Hold, HoldScope, Membership, Order,
            Provenance, UnknownMembership, UnknownOrder,
        },
        pins::FoundPins,
    },
    git::{Branch, Git, GitError, MIN_PREFIX},
    oci::Revision,
};

pub(crate) struct SiteHistory {
    commits: Result<Commits, GitError>,
    /// The order of the promoted revision and the pinned one; unknown until it is determined.
    order: Result<Order, Error>,
    /// Whether the branch that counts contains the promoted revision; unknown until it is determined.
    membership: Membership,
    /// Keeps the repository with the history.
    _content: Option<Content>,
}

/// The progress message. Reading a long history takes seconds.
const READING: &str = "reading git history";

/// The commits of a history, and their origin.
struct Commits {
    history: history::History,
    origin: Origin,
}

pub(super) enum Origin {
    Clone {
        git: Box<Git>,
        role: BranchRole,
    },
    /// A repository of a fleet on its forge.
    Forge {
        /// Whether the fleet accepts facts that its history does not show.
        accept_unknown: bool,
    },
}

/// The part of the promoted branch's history that the clone contains, without a request to the remote;
/// `None` without a repository, or if the branch is unknown.
pub(crate) fn known_history(
    config: &Config,
    services: &Services,
) -> Result<Option<history::History>, GitError> {
    let Some(git) = services.discover_git(config)? else {
        return Ok(None);
    };
    let base = known_bases(config, &git, services).into_iter().next();
    let branch = match (config.provenance.branch.as_deref(), base) {
        (Some(name), _) => git.branch(Some(name))?,
        (None, Some(base)) => base,
        (None, None) if git.remotes()?.is_empty() => match git.head() {
            Err(GitError::Unborn) => return Ok(None),
            head => head?,
        },
        (None, None) => return Ok(None),
    };
    history::History::for_branch(&git, config, branch).map(Some)
}

fn read(
    config: &Config,
    head: Option<&HeadOnForge>,
    scope: HoldScope,
    services: &Services,
) -> Result<Commits, GitError> {
    let (git, HistoryBranch { branch, role }) = if let Some(head) = head {
        let branch = head.history_branch.clone();
        let role = BranchRole::Promoted;
        (head.git.clone(), HistoryBranch { branch, role })
    } else {
        let clone = services.git(config)?;
        let branch = history_branch(&clone, Some(config), &services.environment)?;
        (clone, branch)
    };
    let history = read_branch(&git, config, &branch, scope, services)?;
    let git = Box::new(git);
    Ok(Commits {
        history,
        origin: Origin::Clone { git, role },
    })
}

/// The history of a branch, with the holds of all of its sets.
fn read_branch(
    git: &Git,
    config: &Config,
    branch: &Branch,
    scope: HoldScope,
    services: &Services,
) -> Result<history::History, GitError> {
    let history = history::History::for_branch(git, config, branch.clone())?;
    let read = || {
        let others = services.other_sets.read(git, branch, &history)?;
        let history = history.with_other_sets(&others, scope)?;
        if scope == HoldScope::All {
            for unknown in others.unknown_holds() {
                services.console.warn(&unknown.to_string());
            }
        }
        Ok(history)
    };
    read().map_err(|error| git.explain(error))
}

impl Commits {
    /// Adds the holds that only the upstream of the checked-out branch knows: the clone may record a branch that its remote
    /// no longer promotes, and a commit in the work tree continues that branch.
    fn with_holds_of_upstream(
        mut self,
        config: &Config,
        services: &Services,
    ) -> Result<Self, GitError> {
        let Origin::Clone {
            git,
            role: BranchRole::Promoted,
        } = &self.origin
        else {
            return Ok(self);
        };
        let Some(upstream) = git.upstream_of_head()? else {
            return Ok(self);
        };
        let upstream = match git.branch(Some(&upstream.name)) {
            // It was deleted on the remote, or was never fetched.
            Err(GitError::NoBranch(_)) => return Ok(self),
            upstream => upstream?,
        };
        if !self.history.contains(&upstream.tip) {
            let other = read_branch(git, config, &upstream, HoldScope::All, services)?;
            self.history.add_holds(&other);
        }
        Ok(self)
    }
}

impl From<Result<Commits, GitError>> for SiteHistory {
    fn from(commits: Result<Commits, GitError>) -> Self {
        Self {
            commits,
            order: Ok(Order::Unknown(UnknownOrder::NotInHistory)),
            membership: Membership::Unknown(UnknownMembership::NoSource),
            _content: None,
        }
    }
}

impl SiteHistory {
    /// Reads the history up to the head of a branch on the forge.
    pub(super) fn up_to(
        head: &HeadOnForge,
        config: &Config,
        scope: HoldScope,
        services: &Services,
    ) -> Self {
        let read = |head: &HeadOnForge| {
            let _progress = services.console.progress(READING);
            Self {
                _content: Some(head.content.clone()),
                ..Self::from(read(config, Some(head), scope, services))
            }
        };
        let history = read(head);
        if !history.is_unreadable() {
            return history;
        }
        // The clone may have collected objects that were borrowed.
        let renewed = services.wait(head.renewed(), "fetching the history again");
        renewed.map_or(history, |head| read(&head))
    }

    /// The history in the clone, for lists of sets.
    pub(crate) fn for_work_tree(config: &Config, services: &Services) -> Self {
        Self::in_clone(config, HoldScope::Refusals, services)
    }

    /// The history for a verdict on the holds of digests: up to the head of its branch on the forge if that can be
    /// read, otherwise up to that in the clone.
    pub(crate) fn for_verdict(config: &Config, services: &Services) -> Self {
        Self::at_newest_head(config, HoldScope::All, services)
    }

    /// The same history for a change of the work tree, with the holds of the upstream of the checked-out branch.
    pub(super) fn for_change(config: &Config, services: &Services) -> Self {
        let history = Self::for_verdict(config, services);
        let with_upstream = |commits: Commits| commits.with_holds_of_upstream(config, services);
        Self {
            commits: history.commits.and_then(with_upstream),
            ..history
        }
    }

    /// The same history for a list from which a set is chosen: a set that a run would refuse is not offered.
    pub(crate) fn for_choice(config: &Config, services: &Services) -> Self {
        Self::at_newest_head(config, HoldScope::Refusals, services)
    }

    fn at_newest_head(config: &Config, scope: HoldScope, services: &Services) -> Self {
        match head_on_forge::find(config, services) {
            Some(head) => Self::up_to(&head, config, scope, services),
            None => Self::in_clone(config, scope, services),
        }
    }

    fn in_clone(config: &Config, scope: HoldScope, services: &Services) -> Self {
        let _progress = services.console.progress(READING);
        Self::from(read(config, None, scope, services))
    }

    /// The history of a repository of a fleet. `accept_unknown`: whether the fleet accepts facts that it does not show.
    pub(super) fn for_member(history: history::History, accept_unknown: bool) -> Self {
        let origin = Origin::Forge { accept_unknown };
        Self::from(Ok(Commits { history, origin }))
    }

    /// Whether there is a history that could not be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.commits.is_err() && self.absence().is_none()
    }

    /// Whether the branch that counts contains the revision whose order was determined.
    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Determines whether the branch that counts contains `revision`, and the order of `revision` and the pinned set
    /// before the images are read, if the history can be read.
    pub(super) async fn determine_order(
        &mut self,
        builds: &BuildOrder<'_>,
        config: &Config,
        revision: &Revision,
        found: &FoundPins,
    ) {
        match builds.membership(self.clone_of_set(), revision, &[]).await {
            Ok(membership) => self.membership = membership,
            Err(error) => {
                self.order = Err(error);
                return;
            }
        }
        if let Ok(commits) = &self.commits {
            let pinned = checks::current_digests(config, found);
            self.order = builds.of_set(&commits.history, revision, &pinned).await;
        }
    }

    /// The history of promoted sets, or the error that explains its absence.
    pub(crate) fn promoted(&self) -> Result<&history::History, Error> {
        let commits = self.commits.as_ref().map_err(Error::from)?;
        if let Origin::Clone { role, .. } = &commits.origin
            && *role == BranchRole::Local
        {
            return Err(Error::from(&GitError::NoRemote));
        }
        Ok(&commits.history)
    }

    /// The history, including that of `HEAD` in a repository without a remote, or the error that
    /// explains its absence.
    pub(crate) fn promoted_or_local(&self) -> Result<&history::History, Error> {
        let commits = self.commits.as_ref().map_err(Error::from)?;
        Ok(&commits.history)
    }

    /// The entries that are available for rollback, newest first. Without one, a shallow clone is an
    /// error.
    pub(crate) fn available(&self) -> Result<Vec<&HistoryEntry>, Error> {
        let entries = self.promoted()?.entries().iter();
        let available: Vec<_> = entries.filter(|entry| entry.can_roll_back).collect();
        if available.is_empty() && self.git().is_some_and(Git::is_shallow) {
            return Err(checks::shallow_error(
                "which sets are available for rollback",
            ));
        }
        Ok(available)
    }

    /// The sets to which an operator would return: those that are available for rollback and not held, newest first.
    /// A shallow clone is an error: a missing commit may show that a rollback undid a set.
    pub(crate) fn unheld(&self) -> Result<Vec<&HistoryEntry>, Error> {
        let known = self.promoted()?;
        if known.shallow {
            return Err(checks::shallow_error("which sets a rollback undid"));
        }
        let mut entries = self.available()?;
        entries.retain(|entry| known.state(entry) == EntryState::Available);
        Ok(entries)
    }

    /// Expands an abbreviated revision, as in the list of sets. Returns `text` unchanged if it is a
    /// complete revision, or if no set in history matches.
    pub(crate) fn expand(&self, text: &str, config: &Config) -> Result<String, Errors> {
        let is_complete = config.revision.pattern.revision(text).is_ok();
        if is_complete || text.len() < MIN_PREFIX {
            return Ok(text.to_owned());
        }
        // The rollback reports a missing history.
        let Ok(history) = self.promoted() else {
            return Ok(text.to_owned());
        };
        let revisions: BTreeSet<&str> = history
            .entries()
            .iter()
            .filter_map(|entry| entry.revision.as_ref())
            .map(Revision::as_str)
            .filter(|revision| revision.starts_with(text))
            .collect();
        if revisions.len() > 1 {
            let message =
                format!("`{text}` is ambiguous: the revisions of several sets begin with it");
            let mut error =
                Error::input(Code::REVISION_SHAPE, message).help("write more of the revision");
            error.notes = revisions.into_iter().map(str::to_owned).collect();
            return Err(error.into());
        }
        Ok(revisions
            .first()
            .map_or(text, |revision| revision)
            .to_owned())
    }

    /// The hold of the digests that the files pin, compared with the branch and the commits up to `HEAD`.
    /// `promoted`: the branches that count before the change of the work tree.
    pub(crate) fn hold_of_head(
        &self,
        config: &Config,
        digests: &Digests,
        promoted: &[Branch],
        services: &Services,
    ) -> Result<Hold, Error> {
        let base = self.promoted_or_local()?;
        let Some(git) = self.git() else {
            // A repository of a fleet has no `HEAD`.
            return Ok(base.hold(digests, digests));
        };
        let read = |branch: &Branch| {
            let history = read_branch(git, config, branch, HoldScope::All, services);
            history.map_err(|error| Error::from(&error))
        };
        let hold_beside = |base: &history::History| {
            let pinned = if base.is_current_unknown() {
                let at_base = digests_of(config, git, &base.branch);
                Cow::Owned(at_base.map_err(|errors| errors.by_cause().remove(0))?)
            } else {
                Cow::Borrowed(digests)
            };
            let hold = base.hold(digests, &pinned);
            let is_free = hold.held.is_empty() && hold.held_elsewhere.is_empty();
            if is_free && hold.blind_spot.is_none() {
                return Ok::<_, Error>(hold);
            }
            let head = git.head().map_err(|error| Error::from(&error))?;
            Ok(base.hold_of_head(&read(&head)?, digests, &pinned))
        };
        let mut hold = hold_beside(base)?;
        for branch in promoted {
            if hold.is_held() || branch.tip == base.branch.tip {
                continue;
            }
            let other = hold_beside(&read(branch)?)?;
            let is_shallow = hold.is_shallow || other.is_shallow;
            if other.is_held() || hold.latest().is_none() {
                hold = other;
            }
            hold.is_shallow = is_shallow;
        }
        Ok(hold)
    }

    /// The history, like [`Self::promoted_or_local`]; `None` if there is none.
    pub(crate) fn known(&self) -> Result<Option<&history::History>, Error> {
        match &self.commits {
            Ok(commits) => Ok(Some(&commits.history)),
            Err(error) if checks::no_history_reason(error).is_some() => Ok(None),
            Err(error) => Err(Error::from(error)),
        }
    }

    /// The reason for which there is no history; `None` if there is one, or if it cannot be read.
    pub(crate) fn absence(&self) -> Option<String> {
        checks::no_history_reason(self.commits.as_ref().err()?)
    }

    /// The set at former paths of its configuration.
    pub(crate) fn former_sets(&self) -> Vec<FormerSet> {
        let commits = self.commits.as_ref();
        commits.map_or_else(|_| Vec::new(), |commits| commits.history.former_sets())
    }

    /// The history and its origin, if the history was read.
    pub(super) fn read(&self) -> Option<(&history::History, &Origin)> {
        let commits = self.commits.as_ref().ok()?;
        Some((&commits.history, &commits.origin))
    }

    /// The clone; `None` for a forge without a clone.
    pub(crate) fn git(&self) -> Option<&Git> {
        match self.commits.as_ref().ok()?.origin {
            Origin::Clone { ref git, .. } => Some(git),
            Origin::Forge { .. } => None,
        }
    }

    /// The clone and the history of the promoted branch, if both are known.
    pub(super) fn clone_of_set(&self) -> Option<(&Git, &history::History)> {
        Some((self.git()?, self.promoted().ok()?))
    }

    /// How much of the history was read.
    pub(super) fn extent(&self) -> Extent {
        match &self.commits {
            Ok(Commits {
                origin: Origin::Forge { accept_unknown },
                ..
            }) => Extent::Fleet {
                accept_unknown: *accept_unknown,
            },
            _ => Extent::Clone,
        }
    }

    /// The order that the images may complete or contradict.
    pub(super) fn open_order(&self) -> Option<&Order> {
        self.order.as_ref().ok().filter(|order| order.is_open())
    }

    /// The order of a revision that is to be promoted.
    pub(super) fn facts(&self, revision: &Revision) -> Result<HistoryFacts<'_>, Error> {
        let Commits { history, .. } = match &self.commits {
            Ok(commits) => commits,
            Err(error) => {
                let absent = checks::no_history_reason(error).map(HistoryFacts::Absent);
                return absent.ok_or_else(|| Error::from(error));
            }
        };
        Ok(HistoryFacts::Known {
            order: self.order.clone()?,
            recorded_hold: history.recorded_hold(revision, &Digests::new()),
            blind_spot: history.blind_spot_of(revision),
            extent: self.extent(),
        })
    }

    /// The revision of the current set, if history records it.
    pub(super) fn current_revision(&self, config: &Config, found: &FoundPins) -> Option<String> {
        let commits = self.commits.as_ref().ok()?;
        let digests = checks::current_digests(config, found);
        commits
            .history
            .revision_of(&digests)
            .map(ToString::to_string)
    }
}

impl DigestHistory for SiteHistory {
    fn hold(&self, digests: &Digests, pinned: &Digests) -> Hold {
        match &self.commits {
            Ok(commits) => commits.history.hold(digests, pinned),
            // An error stopped the chain in `facts`, which also reports absent history.
            Err(_) => Hold::default(),
        }
    }

    fn provenance(&self, digests: &Digests) -> Provenance {
        match &self.commits {
            Ok(commits) => commits.history.provenance_of(digests),
            Err(_) => Provenance::Never,
        }
    }
}

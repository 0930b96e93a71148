//! The history of a site: complete, partial or absent.
//!
//! A clone has the history of the branch that counts, unless it is shallow. A forge alone shows the
//! last commits that changed the files with pins. Where there is no history, the reason is kept.

use super::{Environment, Services, ci};
use crate::{
    checks::{self, DigestHistory, Extent, HistoryFacts},
    config::Config,
    error::Error,
    git::{Branch, BranchSources, Git, GitError, ObjectId},
    history::{self, Digests, Hold, Order, Provenance},
    oci::Revision,
    pins::Found,
};

/// The head of the branch whose history counts, as the forge reports it.
#[derive(Clone)]
pub(super) struct HeadOnForge {
    /// The branch's name.
    pub(super) branch: String,
    /// The commit's name.
    pub(super) commit: String,
}

/// The history of one site.
pub struct SiteHistory(Result<Known, GitError>);

/// The step as a terminal shows it: reading a long history takes seconds.
const READING: &str = "reading git history";

struct Known {
    history: history::History,
    origin: Origin,
}

/// Where a history was read.
enum Origin {
    Clone {
        git: Git,
        standing: Standing,
    },
    /// The last commits that a forge lists.
    Forge {
        /// The order of the promoted revision and the pinned one.
        order: Order,
        /// Whether the fleet accepts facts that these commits do not show.
        suffice: bool,
    },
}

/// The commits that are read.
pub struct Line {
    /// The branch, and the commit at its tip.
    pub branch: Branch,
    /// What its commits are evidence of.
    pub standing: Standing,
}

/// What a line of commits is evidence of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the line that counts.
    Promoted,
    /// It is the line of `HEAD`, because the repository has no remote: a set that it rolled back is
    /// held, but no set on it was promoted.
    Local,
}

/// The commits that count in the repository of `config`.
pub fn line(git: &Git, config: &Config, environment: &Environment) -> Result<Line, GitError> {
    let stated = ci::default_branch(environment, Some(git));
    let forge = config.forge.as_ref();
    let sources = BranchSources {
        configured: config.provenance.branch.as_deref(),
        base: forge.and_then(|forge| forge.base.as_deref()),
        ci: stated.as_deref(),
    };
    match git.promoted_branch(&sources) {
        Ok(branch) => Ok(Line {
            branch,
            standing: Standing::Promoted,
        }),
        Err(GitError::NoRemote) => Ok(Line {
            branch: git.head()?,
            standing: Standing::Local,
        }),
        Err(error) => Err(error),
    }
}

/// The commits up to the head of a branch on the forge, which is fetched if it is missing.
fn line_of_head(git: &Git, head: &HeadOnForge) -> Result<(Git, Line), GitError> {
    let branch = &head.branch;
    let tip = ObjectId::parse(head.commit.as_bytes()).ok_or(GitError::Malformed {
        command: "fetch",
        what: "a malformed commit id as the head on the forge",
    })?;
    let git = git.with_commit(&tip, branch)?;
    let name = branch.clone();
    let (branch, standing) = (Branch { name, tip }, Standing::Promoted);
    Ok((git, Line { branch, standing }))
}

fn read(
    config: &Config,
    head: Option<&HeadOnForge>,
    environment: &Environment,
) -> Result<Known, GitError> {
    let git = Git::open(&config.root)?;
    let (git, line) = if let Some(head) = head {
        line_of_head(&git, head)?
    } else {
        let line = line(&git, config, environment)?;
        (git, line)
    };
    let history = history::History::of_branch(&git, config, line.branch)?;
    let standing = line.standing;
    let origin = Origin::Clone { git, standing };
    Ok(Known { history, origin })
}

impl SiteHistory {
    /// Reads the history of the branch that counts in the clone around the root: up to `head`, if the
    /// forge reported it.
    pub(super) fn of_clone(
        config: &Config,
        head: Option<&HeadOnForge>,
        services: &Services,
    ) -> Self {
        let _progress = services.console.progress(READING);
        Self(read(config, head, &services.environment))
    }

    /// Reads the history of the branch that counts for the work tree.
    pub fn of_work_tree(config: &Config, services: &Services) -> Self {
        Self::of_clone(config, None, services)
    }

    /// The history that the last commits on a forge show, with the order of the promoted revision and
    /// the pinned one. `suffice`: whether the fleet accepts facts that these commits do not show.
    pub(super) fn of_last_commits(history: history::History, order: Order, suffice: bool) -> Self {
        let origin = Origin::Forge { order, suffice };
        Self(Ok(Known { history, origin }))
    }

    /// The history of promoted sets, or the error that explains its absence.
    pub fn promoted(&self) -> Result<&history::History, Error> {
        match &self.0 {
            Ok(Known {
                origin:
                    Origin::Clone {
                        standing: Standing::Local,
                        ..
                    },
                ..
            }) => Err(Error::from(&GitError::NoRemote)),
            Ok(known) => Ok(&known.history),
            Err(error) => Err(Error::from(error)),
        }
    }

    /// The history, also that of `HEAD` in a repository without a remote, or the error that explains
    /// its absence.
    pub fn on_this_line(&self) -> Result<&history::History, Error> {
        let known = self.0.as_ref().map_err(Error::from)?;
        Ok(&known.history)
    }

    /// The clone that it was read from.
    pub fn git(&self) -> Option<&Git> {
        match self.0.as_ref().ok()?.origin {
            Origin::Clone { ref git, .. } => Some(git),
            Origin::Forge { .. } => None,
        }
    }

    /// The commits that were read.
    pub(super) fn extent(&self) -> Extent {
        match &self.0 {
            Ok(Known {
                history,
                origin: Origin::Forge { suffice, .. },
            }) => Extent::LastCommits {
                show_beginning: history.shows_beginning(),
                suffice: *suffice,
            },
            _ => Extent::Clone,
        }
    }

    /// The order and the hold of a revision that is to be promoted.
    pub(super) fn past(
        &self,
        config: &Config,
        revision: &Revision,
        found: &Found,
    ) -> Result<HistoryFacts<'_>, Error> {
        let Known { history, origin } = match &self.0 {
            Ok(known) => known,
            Err(error) => {
                let absent = checks::no_history_reason(error).map(HistoryFacts::Absent);
                return absent.ok_or_else(|| Error::from(error));
            }
        };
        let order = match origin {
            Origin::Forge { order, .. } => order.clone(),
            Origin::Clone { git, .. } => {
                let pinned = checks::current_digests(config, found);
                let order = history.order(git, revision, &pinned);
                order.map_err(|error| Error::from(&error))?
            }
        };
        Ok(HistoryFacts::Known {
            order,
            hold: history.hold(revision),
            blind_spot: history.blind_spot_of(revision),
            extent: self.extent(),
        })
    }

    /// The revision of the current set, if history records it.
    pub(super) fn current_revision(&self, config: &Config, found: &Found) -> Option<String> {
        let known = self.0.as_ref().ok()?;
        let digests = checks::current_digests(config, found);
        known.history.revision_of(&digests).map(ToString::to_string)
    }
}

impl DigestHistory for SiteHistory {
    fn hold(&self, digests: &Digests) -> Hold<'_> {
        match &self.0 {
            Ok(known) => known.history.hold_of_set(digests),
            Err(_) => Hold::Free,
        }
    }

    fn provenance(&self, digests: &Digests) -> Provenance {
        let Ok(Known { history, origin }) = &self.0 else {
            return Provenance::Never;
        };
        match (history.provenance_of(digests), origin) {
            // A set that the last commits do not show was not promoted there.
            (Provenance::Shallow, Origin::Forge { .. }) => Provenance::Never,
            (found, _) => found,
        }
    }
}

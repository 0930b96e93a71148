//! Git history as commands need it: read once from the commits that count, or the reason why it
//! could not be.

use std::{cell::LazyCell, mem::ManuallyDrop, panic::resume_unwind, thread};

use super::{
    Environment, Services, ci,
    workspace::{HeadOnForge, Workspace},
};
use crate::{
    checks::{self, Past},
    config::Config,
    error::Error,
    git::{Branch, BranchSources, Git, GitError, ObjectId},
    history::{self, Digests, Hold},
    oci::Revision,
    pins::Found,
};

/// The history of one run.
pub struct History<'c> {
    config: &'c Config,
    read: LazyCell<Reading, Box<dyn FnOnce() -> Reading + 'c>>,
}

/// The step as a terminal shows it: reading a long history takes seconds.
const READING: &str = "reading git history";

/// What was read of it.
type Reading = Result<Gathered, GitError>;

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

struct Gathered {
    git: Git,
    /// Never freed: freeing a long history takes a tenth of the run, which ends right after.
    history: ManuallyDrop<history::History>,
    standing: Standing,
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

impl Gathered {
    fn read(config: &Config, head: Option<&HeadOnForge>, environment: &Environment) -> Reading {
        let git = Git::open(&config.root)?;
        let (git, line) = if let Some(head) = head {
            line_of_head(&git, head)?
        } else {
            let line = line(&git, config, environment)?;
            (git, line)
        };
        let history = history::History::of_branch_and_kept(&git, config, line.branch)?;
        Ok(Self {
            git,
            history: ManuallyDrop::new(history),
            standing: line.standing,
        })
    }
}

impl<'c> History<'c> {
    /// Reads it from the branch that counts for the work tree.
    pub fn read(config: &'c Config, services: &Services) -> Self {
        let progress = services.console.progress(READING);
        let read = Gathered::read(config, None, &services.environment);
        drop(progress);
        let read = LazyCell::new(Box::new(move || read) as Box<dyn FnOnce() -> Reading + 'c>);
        Self { config, read }
    }

    /// Begins to read it for the workspace of a run, beside what the run does until it asks: under `--pr` from
    /// the head that the forge reports.
    pub(super) fn begin(workspace: &'c Workspace, services: &'c Services) -> Self {
        let config = &workspace.config;
        let reading = thread::spawn({
            let (config, head) = (config.clone(), workspace.history().cloned());
            let environment = services.environment.clone();
            move || Gathered::read(&config, head.as_ref(), &environment)
        });
        let joined = move || {
            let _progress = services.console.progress(READING);
            reading.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        let read = LazyCell::new(Box::new(joined) as Box<dyn FnOnce() -> Reading + 'c>);
        Self { config, read }
    }

    /// The history, or the error that explains its absence.
    pub fn known(&self) -> Result<&history::History, Error> {
        match &*self.read {
            Ok(gathered) if gathered.standing == Standing::Promoted => Ok(&gathered.history),
            Ok(_) => Err(Error::from(&GitError::NoRemote)),
            Err(error) => Err(Error::from(error)),
        }
    }

    /// The history, also that of `HEAD` in a repository without a remote, or the error that explains
    /// its absence.
    pub fn on_this_line(&self) -> Result<&history::History, Error> {
        let read = (*self.read).as_ref();
        read.map(|gathered| &*gathered.history).map_err(Error::from)
    }

    /// Its repository.
    pub fn git(&self) -> Option<&Git> {
        (*self.read).as_ref().ok().map(|gathered| &gathered.git)
    }

    /// The order and the hold of a revision that is to be promoted.
    pub fn past(&self, revision: &Revision, found: &Found) -> Result<Past<'_>, Error> {
        match &*self.read {
            Ok(Gathered { git, history, .. }) => {
                let pinned = checks::pinned_now(self.config, found);
                let order = history
                    .order(git, revision, &pinned)
                    .map_err(|error| Error::from(&error))?;
                Ok(Past::Known {
                    order,
                    hold: history.held(revision),
                    blind_spot: history.blind_spot_of(revision),
                })
            }
            Err(error) => match checks::without_history(error) {
                Some(reason) => Ok(Past::NoGit(reason)),
                None => Err(Error::from(error)),
            },
        }
    }

    /// Whether a rollback undid the set with these digests.
    pub fn held_set(&self, digests: &Digests) -> Hold<'_> {
        (*self.read)
            .as_ref()
            .map_or(Hold::Free, |gathered| gathered.history.held_set(digests))
    }

    /// The revision of the current set, if history records it.
    pub fn revision_now(&self, found: &Found) -> Option<Revision> {
        let gathered = (*self.read).as_ref().ok()?;
        gathered
            .history
            .revision_of(&checks::pinned_now(self.config, found))
            .cloned()
    }
}

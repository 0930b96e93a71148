//! The pull request of a plan: one commit on one deterministic branch, and one pull request,
//! whoever else does the same at the same time and wherever an earlier run broke off.
//!
//! Each round looks at how things are and takes the next step; what somebody else did meanwhile is
//! found in the next round. Nothing is judged and nothing is planned here.

mod own;
mod supersede;

use super::{
    Ahead, Base, Created, Edit, Error, ErrorKind, Forge, Labelled, Marker, Need, NewCommit,
    NewFile, NewPull, Published, Pull, PullState, State, Was, blob_id, trailer,
};
use crate::{plan::FileChange, untrusted::short};
use own::Found;

/// How often things are looked at before a run gives up on those who keep changing them.
const ROUNDS: u32 = 8;

/// Tells the branch that another revision's pull request has, if that may be superseded; `None`: it
/// is left alone.
pub type BranchOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The pull request that is wanted.
#[derive(Clone, Copy)]
pub struct Proposal<'a> {
    /// The branch.
    pub branch: &'a str,
    /// The commit's and the pull request's title.
    pub title: &'a str,
    /// The pull request's text, with the marker in it.
    pub body: &'a str,
    /// By what it is found again.
    pub marker: &'a Marker,
    /// Where the plan's paths begin: empty, or with a `/` at its end.
    pub prefix: &'a str,
    /// The files that change; at least one.
    pub changes: &'a [FileChange],
    /// Its labels.
    pub labels: &'a [String],
    /// Draft or ready.
    pub state: State,
    /// Whether one that was closed by a person may be opened again.
    pub reopen: bool,
    /// Which older ones it closes; `None`: none.
    pub supersede: Option<BranchOf<'a>>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The pull request stands.
    Stands(Standing),
    /// The base branch was moved meanwhile: what was planned has to be planned again.
    BaseMoved,
}

/// A pull request that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// What was done about it.
    pub change: Change,
    /// The older ones that it closed.
    pub superseded: Vec<u64>,
    /// What did not work and does not matter much.
    pub warnings: Vec<String>,
}

/// What was done about a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was opened.
    Created,
    /// It was there and is another now.
    Updated,
    /// It was there as it is.
    Unchanged,
}

impl Change {
    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A run's way to its pull request.
struct Work<'a> {
    forge: &'a dyn Forge,
    base: &'a Base,
    proposal: &'a Proposal<'a>,
    files: Vec<NewFile>,
    permitted: bool,
    /// Whether something that people can see may have been done.
    begun: bool,
    change: Change,
}

/// What a step led to.
enum Step {
    /// On with this pull request.
    There(Box<Pull>),
    /// Look again.
    Again(String),
    /// Plan again.
    BaseMoved,
}

/// Opens the pull request, or finds it.
pub async fn open(
    forge: &dyn Forge,
    base: &Base,
    proposal: &Proposal<'_>,
) -> Result<Outcome, Error> {
    let files = files(base, proposal)?;
    let (permitted, begun, change) = (false, false, Change::Unchanged);
    let mut work = Work {
        forge,
        base,
        proposal,
        files,
        permitted,
        begun,
        change,
    };
    work.rounds().await.map_err(|error| Error {
        begun: work.begun,
        ..error
    })
}

fn files(base: &Base, proposal: &Proposal<'_>) -> Result<Vec<NewFile>, Error> {
    let file = |change: &FileChange| {
        let path = format!("{}{}", proposal.prefix, change.path);
        let entry = base
            .tree
            .entries
            .get(&path)
            .filter(|entry| entry.id == blob_id(&change.old, &entry.id));
        // A plan is made of the base's own contents; anything else would overwrite what nobody
        // looked at.
        let entry = entry.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, &path, "the base has another content")
        })?;
        let (mode, old) = (entry.mode.clone(), entry.id.clone());
        Ok(NewFile {
            mode,
            new: blob_id(&change.new, &old),
            old,
            content: change.new.clone(),
            path,
        })
    };
    proposal.changes.iter().map(file).collect()
}

impl Work<'_> {
    async fn rounds(&mut self) -> Result<Outcome, Error> {
        let mut why = String::new();
        for round in 1..=ROUNDS {
            let open = self.forge.pulls(super::Pulls::Open).await?;
            match self.step(&open).await? {
                Step::BaseMoved => return Ok(Outcome::BaseMoved),
                Step::Again(reason) => why = reason,
                Step::There(pull) => {
                    let mut warnings = Vec::new();
                    self.dress(&pull, &mut warnings).await?;
                    let superseded = self.supersede(&pull, &open).await?;
                    let (number, url) = (pull.number, pull.url);
                    return Ok(Outcome::Stands(Standing {
                        number,
                        url,
                        change: self.change,
                        superseded,
                        warnings,
                    }));
                }
            }
            self.forge.breathe(round).await;
        }
        let what = format!(
            "{}: the pull request of {}",
            self.forge.name(),
            self.proposal.branch
        );
        Err(Error::unavailable(
            what,
            format!("looked {ROUNDS} times, and it is not as it should be: {why}"),
        ))
    }

    async fn step(&mut self, open: &[Pull]) -> Result<Step, Error> {
        let (forge, proposal) = (self.forge, self.proposal);
        let ahead = forge
            .ahead((&self.base.branch, &self.base.head), proposal.branch)
            .await?;
        if let Some(ahead) = &ahead {
            self.refuse_foreign(ahead)?;
        }
        let found = self.find(open).await?;
        if ahead.as_ref().is_some_and(|ahead| self.is_planned(ahead)) {
            return match found {
                Found::Open(pull) => Ok(Step::There(pull)),
                Found::Closed(pull) => self.reopen(&pull).await,
                Found::Nothing => self.create().await,
            };
        }
        self.permit().await?;
        let found = match found {
            // Where the branch has to be there first; `publish` opens it.
            Found::Closed(pull) if self.forge.moving_closes() => Found::Open(pull),
            // Where none is opened again whose branch moved while it was closed.
            Found::Closed(pull) => match self.reopen(&pull).await? {
                Step::There(pull) => Found::Open(pull),
                other => return Ok(other),
            },
            found => found,
        };
        let was = match ahead {
            None => Was::Absent,
            Some(ahead) if ahead.commits.is_empty() => Was::Behind(ahead.head),
            Some(ahead) => Was::Diverged(ahead.head),
        };
        if let Found::Open(pull) = &found {
            self.announce(pull, &was).await?;
        }
        self.publish(&was, found).await
    }

    /// Its branch has somebody else's commit: that is not ours to move.
    fn refuse_foreign(&self, ahead: &Ahead) -> Result<(), Error> {
        let Some(foreign) = ahead
            .commits
            .iter()
            .find(|commit| trailer(&commit.message).is_none())
        else {
            return Ok(());
        };
        let subject = short(foreign.message.lines().next().unwrap_or_default(), 100);
        let what = format!("{}: the branch {}", self.forge.name(), self.proposal.branch);
        let why = format!(
            "commit {} (`{subject}`) is somebody else's: it has no trailer Repin-Set",
            foreign.id
        );
        let hint =
            "merge or delete the branch, or take the commit off it; repin leaves it alone as it is";
        Err(Error::new(ErrorKind::Conflict, what, why).hint(hint))
    }

    /// Whether the branch, merged, gives just what was planned.
    fn is_planned(&self, ahead: &Ahead) -> bool {
        let new = |path: &str| {
            self.files
                .iter()
                .find(|file| file.path == path)
                .map(|file| &file.new)
        };
        let at_base = |path: &str| self.base.tree.entries.get(path).map(|entry| &entry.id);
        self.files
            .iter()
            .all(|file| ahead.changed.contains_key(&file.path))
            && ahead
                .changed
                .iter()
                .all(|(path, id)| id.as_ref() == new(path).or_else(|| at_base(path)))
    }

    /// What the token may do is looked at before anything is written.
    async fn permit(&mut self) -> Result<(), Error> {
        if !self.permitted {
            let workflows = self
                .files
                .iter()
                .any(|file| super::github::is_workflow(&file.path));
            self.forge
                .permit(&self.base.repo, Need { workflows })
                .await?;
            self.permitted = true;
        }
        Ok(())
    }

    /// Notes what came of a request to change something: who was refused has done nothing.
    fn tried<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.begun |= result
            .as_ref()
            .err()
            .is_none_or(|error| error.kind == ErrorKind::Unavailable);
        result
    }

    /// Its text first, then its branch: a run that breaks off in between finds another content and
    /// does both again.
    async fn announce(&mut self, pull: &Pull, was: &Was) -> Result<(), Error> {
        let closed = pull.state != PullState::Open;
        let notice = self.forge.moving_closes() && (closed || *was != Was::Absent);
        let body = if notice {
            own::while_moving(self.proposal.body)
        } else {
            self.proposal.body.to_owned()
        };
        let edit = Edit {
            title: Some((self.proposal.title, pull.draft)),
            body: Some(&body),
            open: None,
        };
        let edited = self.forge.edit_pull(pull.number, &edit).await;
        self.tried(edited)?;
        self.change = Change::Updated;
        Ok(())
    }

    async fn publish(&mut self, was: &Was, found: Found) -> Result<Step, Error> {
        let message = format!(
            "{}\n\nRepin-Set: {}\n",
            self.proposal.title, self.proposal.marker.revision
        );
        let commit = NewCommit {
            repo: &self.base.repo,
            parent: &self.base.head,
            base: &self.base.branch,
            message: &message,
            files: &self.files,
        };
        let published = self.forge.publish(&commit, self.proposal.branch, was).await;
        // Some forges take a branch away first to make it again.
        self.begun |= *was != Was::Absent && self.forge.moving_closes();
        match self.tried(published)? {
            Published::BaseMoved => return Ok(Step::BaseMoved),
            Published::Raced(why) => return Ok(Step::Again(why)),
            Published::Done(_) => {}
        }
        match found {
            Found::Open(pull) => self.stand_again(pull).await,
            _ => self.create().await,
        }
    }

    /// Opens the pull request; that there is one already is found out in the next round.
    async fn create(&mut self) -> Result<Step, Error> {
        self.permit().await?;
        let proposal = self.proposal;
        let new = NewPull {
            title: proposal.title,
            body: proposal.body,
            head: proposal.branch,
            base: &self.base.branch,
            state: proposal.state,
        };
        let created = self.forge.create_pull(&new).await;
        Ok(match self.tried(created)? {
            Created::New(pull) => {
                self.change = Change::Created;
                Step::There(pull)
            }
            Created::Exists(why) | Created::NotYet(why) => Step::Again(why),
        })
    }

    /// Labels and draft state.
    async fn dress(&mut self, pull: &Pull, warnings: &mut Vec<String>) -> Result<(), Error> {
        let labels = self.proposal.labels;
        // A person who took one off again is not contradicted; a run that broke off before had put
        // on none.
        if !labels.is_empty() && !labels.iter().any(|label| pull.labels.contains(label)) {
            self.permit().await?;
            let labelled = self.forge.label(pull.number, labels).await;
            if let Labelled::NotPermitted(said) = self.tried(labelled)? {
                warnings.push(format!("the labels could not be put on: {said}"));
            }
        }
        if pull.draft != self.proposal.state {
            self.permit().await?;
            let set = self.forge.set_state(pull, self.proposal.state).await;
            self.tried(set)?;
            if self.change == Change::Unchanged {
                self.change = Change::Updated;
            }
        }
        Ok(())
    }
}

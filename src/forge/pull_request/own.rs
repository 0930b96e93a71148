//! A run's own pull request: found by its marker and its branch, open or closed.

use super::{Change, Edit, Error, ErrorKind, Pull, Step, Work};
use crate::forge::{Marker, PullState, Pulls};

/// Stands in the text while the branch is made again, which closes the pull request on some forges:
/// a run that breaks off then leaves one behind that no person closed.
const MOVING: &str = "<!-- repin/1 moving -->";

/// The pull request, as far as there is one.
pub(super) enum Found {
    Open(Box<Pull>),
    /// Closed, and to be opened again.
    Closed(Box<Pull>),
    /// None, or merged ones.
    Nothing,
}

pub(super) fn while_moving(body: &str) -> String {
    format!("{MOVING}\n{body}")
}

fn is_moving(pull: &Pull) -> bool {
    pull.body.trim_start().starts_with(MOVING)
}

impl Work<'_> {
    /// Looks among the open ones, and if there is none, among those closed.
    pub(super) async fn find(&self, open: &[Pull]) -> Result<Found, Error> {
        let here = |pull: &&Pull| {
            pull.own && pull.head == self.proposal.branch && pull.base == self.base.branch
        };
        if let Some(pull) = open.iter().find(here) {
            if self.is_marked(pull) {
                return Ok(Found::Open(Box::new(pull.clone())));
            }
            let what = format!(
                "{}: pull request #{} ({})",
                self.forge.name(),
                pull.number,
                pull.url
            );
            let why = format!(
                "it is open for {}, but its text has not the marker of this set",
                pull.head
            );
            return Err(Error::new(ErrorKind::Conflict, what, why)
                .hint("close it, or give its branch another name"));
        }
        let closed = self
            .forge
            .pulls(Pulls::Closed(self.proposal.branch))
            .await?;
        let last = closed
            .iter()
            .filter(here)
            .filter(|pull| self.is_marked(pull))
            .max_by_key(|pull| pull.number);
        match last {
            Some(pull) if pull.state == PullState::Closed => {
                if self.proposal.reopen || is_moving(pull) {
                    return Ok(Found::Closed(Box::new(pull.clone())));
                }
                let what = format!(
                    "{}: pull request #{} ({})",
                    self.forge.name(),
                    pull.number,
                    pull.url
                );
                let why = "it was closed without being merged, and stays so";
                Err(Error::new(ErrorKind::Refused, what, why).hint("--reopen opens it again"))
            }
            _ => Ok(Found::Nothing),
        }
    }

    fn is_marked(&self, pull: &Pull) -> bool {
        Marker::find(&pull.body).as_ref() == Some(self.proposal.marker)
    }

    /// Opens a closed one again; where the forge won't, a new one takes its place.
    pub(super) async fn reopen(&mut self, pull: &Pull) -> Result<Step, Error> {
        self.permit().await?;
        let edit = Edit {
            open: Some(true),
            ..Edit::default()
        };
        let edited = self.forge.edit_pull(pull.number, &edit).await;
        match self.tried(edited) {
            Ok(mut pull) => {
                self.change = Change::Updated;
                if is_moving(&pull) {
                    pull = self.settle(&pull).await?;
                }
                Ok(Step::There(Box::new(pull)))
            }
            Err(error) if error.kind == ErrorKind::Refused => self.replace().await,
            Err(error) => Err(error),
        }
    }

    /// A new pull request for the branch, as soon as that is as it should be.
    async fn replace(&mut self) -> Result<Step, Error> {
        let ahead = self
            .forge
            .ahead((&self.base.branch, &self.base.head), self.proposal.branch)
            .await?;
        if ahead.as_ref().is_some_and(|ahead| self.is_planned(ahead)) {
            return self.create().await;
        }
        let was = match ahead {
            None => super::Was::Absent,
            Some(ahead) if ahead.commits.is_empty() => super::Was::Behind(ahead.head),
            Some(ahead) => {
                self.refuse_foreign(&ahead)?;
                super::Was::Diverged(ahead.head)
            }
        };
        Box::pin(self.publish(&was, Found::Nothing)).await
    }

    /// After its branch was moved: open it if that closed it, and take the notice off its text.
    pub(super) async fn stand_again(&mut self, pull: Box<Pull>) -> Result<Step, Error> {
        if !self.forge.moving_closes() {
            return Ok(Step::There(pull));
        }
        let edit = Edit {
            body: Some(self.proposal.body),
            open: Some(true),
            ..Edit::default()
        };
        match self.forge.edit_pull(pull.number, &edit).await {
            Ok(pull) if pull.state == PullState::Open => Ok(Step::There(Box::new(pull))),
            Ok(_) => Ok(Step::Again(
                "the pull request does not open again".to_owned(),
            )),
            Err(error) if error.kind == ErrorKind::Refused => self.create().await,
            Err(error) => Err(error),
        }
    }

    async fn settle(&self, pull: &Pull) -> Result<Pull, Error> {
        let edit = Edit {
            body: Some(self.proposal.body),
            ..Edit::default()
        };
        self.forge.edit_pull(pull.number, &edit).await
    }
}

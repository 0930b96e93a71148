//! Older pull requests of the same set: told about the newer one, and closed, so that two are never
//! merged out of order.

use super::{Change, Error, Pull, PullRequestResult, PullsBefore, Reconcile, RevisionAge, Rival};
use crate::{
    error::Class,
    pull_request::{Marker, close_with, merging, withdraw},
};

impl Reconcile<'_> {
    /// What `pull` is to `ours` if it was opened for another revision of the same set.
    fn rival(&self, pull: &Pull, ours: &Pull) -> Option<Rival> {
        let rival_of = self.proposal.supersede?;
        let marker = Marker::find(&pull.body)?;
        let other = marker.kind == self.proposal.marker.kind
            && marker.revision != self.proposal.marker.revision
            && pull.own
            && pull.base == ours.base;
        // The marker alone could be anyone's; the branch is one that only this set's configuration
        // leads to.
        rival_of(&marker.revision).filter(|rival| other && rival.branch == pull.head)
    }

    /// Closes those of `open` that were opened for another revision of the same set: before `ours`,
    /// unless they are newer, and at the same time, if they are older. A pull request with a foreign
    /// commit stays open.
    pub(super) async fn supersede(
        &mut self,
        ours: &Pull,
        open: &[Pull],
        standing: &mut PullRequestResult,
    ) -> Result<(), Error> {
        for pull in open {
            let Some(rival) = self.rival(pull, ours) else {
                continue;
            };
            let earlier = pull.number < ours.number && rival.age != RevisionAge::Newer;
            let meanwhile = self.change == Change::Created && rival.age == RevisionAge::Older;
            if !earlier && !meanwhile {
                continue;
            }
            match withdraw::permits(self.forge, pull, self.proposal.only_pins).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Conflict => {
                    let mut error = error;
                    if self.proposal.auto_merge {
                        error = merging::disarm(self.forge, pull, error).await;
                    }
                    standing.warnings.push(format!("not closed: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.close_superseded(pull.number, ours.number).await?;
            standing.superseded.push(pull.number);
        }
        Ok(())
    }

    /// Of two revisions that are promoted at the same time the newer one stays, whichever pull
    /// request was opened first: if that of a newer one is there that was not there `before`, ours is
    /// closed.
    pub(super) async fn yield_to_newer(
        &mut self,
        ours: &Pull,
        before: &PullsBefore,
        open: &[Pull],
    ) -> Result<(), Error> {
        let arrived = |pull: &&Pull| !before.contains(pull);
        let newer = open.iter().filter(arrived).find(|pull| {
            self.rival(pull, ours)
                .is_some_and(|rival| rival.age == RevisionAge::Newer)
        });
        let Some(newer) = newer else { return Ok(()) };
        self.close_superseded(ours.number, newer.number).await?;
        let what = self.named(ours);
        let reason = format!(
            "it was closed: #{} was opened at the same time and moves the same set to a newer revision",
            newer.number
        );
        Err(Error::about(Class::Refused, what, reason))
    }

    async fn close_superseded(&mut self, number: u64, by: u64) -> Result<(), Error> {
        self.permit().await?;
        let note = format!("<!-- repin/1 superseded-by={by} -->");
        let text = format!("Superseded by #{by}, which moves the same set to a newer revision.");
        close_with(self.forge, number, &text, &note).await
    }
}

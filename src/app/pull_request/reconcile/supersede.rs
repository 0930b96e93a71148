//! Closes older pull requests of the same set with a comment, so that two are never merged out of
//! order.

use std::cmp::Ordering;

use super::{
    Change, Error, Pull, PullRequestResult, PullsBefore, Reconcile, RevisionAge, own::SUPERSEDED_BY,
};
use crate::{
    app::pull_request::{Marker, close_with, merging, withdraw},
    base::error::Class,
};

impl Reconcile<'_> {
    /// The age of the revision of `pull`, if it was opened for another revision of the same set, or
    /// under a former name of the set.
    async fn rival_age(&self, pull: &Pull, ours: &Pull) -> Result<Option<RevisionAge>, Error> {
        let Some(marker) = Marker::find(&pull.body) else {
            return Ok(None);
        };
        let proposal = self.proposal;
        let is_rival = marker.kind == proposal.marker.kind
            && pull.own
            && pull.base == ours.base
            && pull.head != proposal.branch;
        // Anyone can write a marker; the branch is one that only the configuration of the set gives.
        if !is_rival || !proposal.rivals.has_branch(&marker, &pull.head) {
            return Ok(None);
        }
        if marker.revision == proposal.marker.revision {
            return Ok(Some(RevisionAge::Older));
        }
        if !proposal.supersede {
            return Ok(None);
        }
        Ok(Some(proposal.rivals.age(&marker.revision).await))
    }

    /// Closes those of `open` that were opened for another revision of the same set: before `ours`,
    /// unless they are newer, and at the same time, if they are older. A pull request with a foreign
    /// commit stays open.
    pub(super) async fn supersede(
        &mut self,
        ours: &Pull,
        open: &[Pull],
        result: &mut PullRequestResult,
    ) -> Result<(), Error> {
        for pull in open {
            let is_earlier = match pull.number.cmp(&ours.number) {
                Ordering::Less => true,
                Ordering::Greater if self.change == Change::Created => false,
                _ => continue,
            };
            match self.rival_age(pull, ours).await? {
                Some(RevisionAge::Older) => {}
                Some(RevisionAge::Unknown) if is_earlier => {}
                Some(RevisionAge::Newer | RevisionAge::Unknown) | None => continue,
                Some(RevisionAge::Unreadable(reason)) => {
                    let warning = format!("pull request #{} was not closed: {reason}", pull.number);
                    result.warnings.push(warning);
                    continue;
                }
            }
            match withdraw::permits(self.forge, pull, self.proposal.only_pins).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Conflict => {
                    let mut error = error;
                    if self.proposal.auto_merge {
                        error = merging::disarm(self.forge, pull, error).await;
                    }
                    result.warnings.push(format!("not closed: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.close_superseded(pull.number, ours.number).await?;
            result.superseded.push(pull.number);
        }
        Ok(())
    }

    /// Closes this run's pull request if a newer revision was promoted concurrently, regardless of
    /// which was opened first. A pull request counts as concurrent if it is not in `before`.
    pub(super) async fn yield_to_newer(
        &mut self,
        ours: &Pull,
        before: &PullsBefore,
        open: &[Pull],
    ) -> Result<(), Error> {
        let mut newer = None;
        for pull in open {
            if !before.contains(pull)
                && self.rival_age(pull, ours).await? == Some(RevisionAge::Newer)
            {
                newer = Some(pull);
                break;
            }
        }
        let Some(newer) = newer else { return Ok(()) };
        self.close_superseded(ours.number, newer.number).await?;
        let what = self.describe(ours);
        let reason = format!(
            "it was closed: #{} was opened at the same time and moves the same set to a newer revision",
            newer.number
        );
        Err(Error::about(Class::Refused, what, reason))
    }

    async fn close_superseded(&mut self, number: u64, by: u64) -> Result<(), Error> {
        self.permit().await?;
        let note = format!("{SUPERSEDED_BY}{by} -->");
        let text = format!(
            "Superseded by #{by}, which moves the same set to this revision or to a newer one."
        );
        close_with(self.forge, number, &text, &note).await
    }
}

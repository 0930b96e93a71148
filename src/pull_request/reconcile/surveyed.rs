//! The first round after a survey that showed neither a branch nor a pull request: they are made
//! without another look.
//!
//! A survey may be hours old when its repository's turn comes. A branch or a pull request that was
//! made since then is refused by the forge, and the next round reads everything anew; whether the
//! base moved is read from the answer that brings the pull request.

use std::collections::BTreeMap;

use super::{Error, OwnPullRequest, Pull, Reconcile, Step};
use crate::{
    forge::{BranchState, Pulls, SurveyedBase},
    pull_request::base::SurveyedRepository,
};

/// The pull requests that were open before this run opened its own.
pub(super) enum PullsBefore {
    /// All of them.
    Listed(Vec<Pull>),
    /// Those with at most this number.
    UpTo(u64),
}

impl PullsBefore {
    pub(super) fn contains(&self, pull: &Pull) -> bool {
        match self {
            Self::Listed(known) => known.iter().any(|known| known.number == pull.number),
            Self::UpTo(newest) => pull.number <= *newest,
        }
    }
}

/// What a commit on the surveyed base must be like.
pub(super) struct ExpectedBase {
    tree: Option<String>,
    requires_signatures: bool,
}

impl ExpectedBase {
    pub(super) fn of_commit(&self) -> SurveyedBase<'_> {
        SurveyedBase {
            tree: self.tree.as_deref(),
            requires_signatures: self.requires_signatures,
        }
    }
}

impl Reconcile<'_> {
    /// Looks and takes the next step; and the pull requests that were there before.
    pub(super) async fn round(&mut self, round: u32) -> Result<(Step, PullsBefore), Error> {
        let base = self.base;
        let surveyed = base.clear_for(self.proposal.branch);
        if let Some(surveyed) = surveyed.filter(|_| round == 1) {
            let step = self.begin(surveyed).await?;
            return Ok((step, PullsBefore::UpTo(surveyed.newest_pull)));
        }
        let open = self.forge.pulls(Pulls::Open).await?;
        let step = self.step(&open).await?;
        Ok((step, PullsBefore::Listed(open)))
    }

    /// Makes the branch and the pull request.
    async fn begin(&mut self, surveyed: &SurveyedRepository) -> Result<Step, Error> {
        self.permit().await?;
        let changes = self
            .files
            .iter()
            .map(|file| (file.path.clone(), file.new.clone()));
        let changes: BTreeMap<String, String> = changes.collect();
        let expected = ExpectedBase {
            tree: self.base.tree.id_with(&changes),
            requires_signatures: surveyed.requires_signatures,
        };
        let nothing = OwnPullRequest::Nothing;
        self.publish(&BranchState::Absent, nothing, Some(&expected))
            .await
    }
}

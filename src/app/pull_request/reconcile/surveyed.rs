//! The first round after a survey without a branch and a pull request: both are created without
//! fetching the state again.
//!
//! A survey may be hours old. If the branch or the pull request was created since then, the forge
//! refuses the request, and the next round fetches the state. The response with the new pull
//! request shows whether the base moved.

use std::collections::BTreeMap;

use super::{Error, OwnPullRequest, Pull, Reconcile, Step};
use crate::{
    app::pull_request::base::SurveyedRepository,
    forge::{BranchState, Pulls, SurveyedBase},
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

/// The expected properties of a commit on the surveyed base.
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
    /// Fetches the state and takes the next step. Also returns the earlier pull requests.
    pub(super) async fn round(&mut self, round: u32) -> Result<(Step, PullsBefore), Error> {
        let base = self.base;
        let surveyed = base.survey_without(self.proposal.branch);
        if let Some(surveyed) = surveyed.filter(|_| round == 1) {
            let step = self.begin(surveyed).await?;
            return Ok((step, PullsBefore::UpTo(surveyed.newest_pull)));
        }
        let open = self.forge.pulls(Pulls::Open).await?;
        let step = self.step(&open).await?;
        Ok((step, PullsBefore::Listed(open)))
    }

    /// Creates the branch and the pull request.
    async fn begin(&mut self, surveyed: &SurveyedRepository) -> Result<Step, Error> {
        self.permit().await?;
        let changes: BTreeMap<String, String> = self
            .files
            .iter()
            .map(|file| (file.path.clone(), file.new.clone()))
            .collect();
        let expected = ExpectedBase {
            tree: self.base.tree.id_with(&changes),
            requires_signatures: surveyed.requires_signatures,
        };
        let nothing = OwnPullRequest::Nothing;
        self.publish(&BranchState::Absent, nothing, Some(&expected))
            .await
    }
}

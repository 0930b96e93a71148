//! The reason for which GitLab merges a merge request or not.

/// The meaning of `detailed_merge_status`
/// (<https://docs.gitlab.com/api/merge_requests/#merge-status>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MergeStatus {
    Ready,
    /// GitLab computes it in the background; each request for the merge request starts that again.
    Checking,
    /// A pipeline has not ended, or has not begun.
    Pipeline(&'static str),
    Conflict,
    /// It must be rebased onto its target branch.
    Outdated,
    /// The reason for which it may not be merged yet: people, other systems or time may change it.
    Waiting(&'static str),
    /// The reason for which it may not be merged as it is.
    Blocked(&'static str),
    /// A word of a later version.
    Unknown(String),
}

impl MergeStatus {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "mergeable" => Self::Ready,
            "" | "unchecked" | "checking" | "preparing" | "approvals_syncing" => Self::Checking,
            "ci_still_running" => Self::Pipeline("its pipeline is still running"),
            "ci_must_pass" => Self::Pipeline("its pipeline must succeed first"),
            "conflict" | "broken_status" => Self::Conflict,
            "need_rebase" => Self::Outdated,
            "not_approved" => Self::Waiting("a required approval is missing"),
            "requested_changes" => Self::Waiting("a reviewer requested changes"),
            "discussions_not_resolved" => Self::Waiting("a thread is not resolved"),
            "merge_request_blocked" | "blocked_status" => {
                Self::Waiting("another merge request blocks it")
            }
            "status_checks_must_pass" | "external_status_checks" => {
                Self::Waiting("an external status check must pass")
            }
            "security_policy_violations" | "policies_denied" => {
                Self::Waiting("a security policy is not satisfied")
            }
            "security_policy_pipeline_check" => {
                Self::Waiting("the pipelines of a security policy must succeed")
            }
            "merge_time" => Self::Waiting("it may not be merged before the configured time"),
            "not_open" => Self::Blocked("it is not open"),
            "draft_status" => Self::Blocked("it is a draft"),
            "commits_status" => Self::Blocked("its branch is missing, or has no commits"),
            "jira_association_missing" => {
                Self::Blocked("its title or description must name a Jira issue")
            }
            "locked_paths" | "locked_lfs_files" => {
                Self::Blocked("a file is locked by another user")
            }
            "title_regex" | "title_not_matching" => {
                Self::Blocked("its title does not match the pattern of the project")
            }
            other => Self::Unknown(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_status_is_no_verdict() {
        assert_eq!(MergeStatus::parse("mergeable"), MergeStatus::Ready);
        assert_eq!(MergeStatus::parse("preparing"), MergeStatus::Checking);
        let unknown = MergeStatus::Unknown("moon_phase".to_owned());
        assert_eq!(MergeStatus::parse("moon_phase"), unknown);
    }
}

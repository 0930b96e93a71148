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
    /// The reason for which it may not be merged.
    Blocked(&'static str),
    /// A word of a later version.
    Unknown(String),
}

impl MergeStatus {
    pub(super) fn parse(word: &str) -> Self {
        let reason = match word {
            "mergeable" => return Self::Ready,
            "" | "unchecked" | "checking" | "preparing" | "approvals_syncing" => {
                return Self::Checking;
            }
            "ci_still_running" => return Self::Pipeline("its pipeline is still running"),
            "ci_must_pass" => return Self::Pipeline("its pipeline must succeed first"),
            "conflict" | "broken_status" => return Self::Conflict,
            "need_rebase" => return Self::Outdated,
            "not_open" => "it is not open",
            "draft_status" => "it is a draft",
            "not_approved" => "a required approval is missing",
            "requested_changes" => "a reviewer requested changes",
            "discussions_not_resolved" => "a thread is not resolved",
            "merge_request_blocked" | "blocked_status" => "another merge request blocks it",
            "commits_status" => "its branch is missing, or has no commits",
            "status_checks_must_pass" | "external_status_checks" => {
                "an external status check must pass"
            }
            "security_policy_violations" | "policies_denied" => {
                "a security policy is not satisfied"
            }
            "security_policy_pipeline_check" => "the pipelines of a security policy must succeed",
            "jira_association_missing" => "its title or description must name a Jira issue",
            "locked_paths" | "locked_lfs_files" => "a file is locked by another user",
            "merge_time" => "it may not be merged before the configured time",
            "title_regex" | "title_not_matching" => {
                "its title does not match the pattern of the project"
            }
            other => return Self::Unknown(other.to_owned()),
        };
        Self::Blocked(reason)
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

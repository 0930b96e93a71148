//! The reason for which GitLab merges a merge request or not.

use MergeStatus::{Change, Check, Conflict, Edit, Pipeline, Ready, Rebase};

/// Whether a merge request may be merged, or the event after which it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MergeStatus {
    Ready,
    /// Not known yet: GitLab computes it in the background; each request for the merge request starts that again.
    Check,
    /// A pipeline ends, or begins.
    Pipeline,
    Conflict,
    /// It is rebased onto its target branch.
    Rebase,
    /// People, other systems or time change it.
    Change,
    /// It is changed: as it is, it may not be merged.
    Edit,
    /// A word of a later version.
    Unknown,
}

/// The status, and the reason in messages, of a word of `detailed_merge_status`; `None` for a word of a later version
/// (<https://docs.gitlab.com/api/merge_requests/#merge-status>).
pub(super) fn parse(word: &str) -> Option<(MergeStatus, &'static str)> {
    Some(match word {
        "mergeable" => (Ready, "it can be merged"),
        "" | "unchecked" | "checking" | "preparing" | "approvals_syncing" => {
            (Check, "GitLab is still checking whether it can be merged")
        }
        "ci_still_running" => (Pipeline, "its pipeline is still running"),
        "ci_must_pass" => (Pipeline, "its pipeline must succeed first"),
        "conflict" | "broken_status" => (Conflict, "it has a conflict"),
        "need_rebase" => (Rebase, "its branch must be rebased onto its target branch"),
        "not_approved" => (Change, "a required approval is missing"),
        "requested_changes" => (Change, "a reviewer requested changes"),
        "discussions_not_resolved" => (Change, "a thread is not resolved"),
        "merge_request_blocked" | "blocked_status" => (Change, "another merge request blocks it"),
        "external_status_checks" | "status_checks_must_pass" => {
            (Change, "a status check must pass")
        }
        "policies_denied" | "security_policy_violations" => (Change, "a security policy denies it"),
        "security_policy_pipeline_check" => {
            (Change, "the pipelines of a security policy must succeed")
        }
        "merge_time" => (Change, "it may not be merged before the configured time"),
        "not_open" => (Edit, "it is not open"),
        "draft_status" => (Edit, "it is a draft"),
        "commits_status" => (Edit, "its branch is missing, or has no commits"),
        "jira_association_missing" => (Edit, "its title or description must name a Jira issue"),
        "locked_paths" | "locked_lfs_files" => (Edit, "a file is locked by another user"),
        "title_regex" | "title_not_matching" => {
            (Edit, "its title does not match the pattern of the project")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the documentation and of the source (`app/graphql/types/merge_requests/detailed_merge_status_enum.rb`).
    #[test]
    fn every_word_has_its_meaning() {
        for (words, status, reason) in [
            (&["mergeable"][..], Ready, "can be merged"),
            (
                &[
                    "unchecked",
                    "checking",
                    "preparing",
                    "approvals_syncing",
                    "",
                ],
                Check,
                "is still checking",
            ),
            (&["ci_still_running"], Pipeline, "still running"),
            (&["ci_must_pass"], Pipeline, "must succeed"),
            (&["conflict", "broken_status"], Conflict, "conflict"),
            (&["need_rebase"], Rebase, "rebased"),
            (&["not_approved"], Change, "approval"),
            (&["requested_changes"], Change, "requested changes"),
            (&["discussions_not_resolved"], Change, "thread"),
            (
                &["merge_request_blocked", "blocked_status"],
                Change,
                "another merge request",
            ),
            (
                &["status_checks_must_pass", "external_status_checks"],
                Change,
                "status check",
            ),
            (
                &["security_policy_violations", "policies_denied"],
                Change,
                "security policy",
            ),
            (
                &["security_policy_pipeline_check"],
                Change,
                "pipelines of a security policy",
            ),
            (&["merge_time"], Change, "configured time"),
            (&["not_open"], Edit, "not open"),
            (&["draft_status"], Edit, "draft"),
            (&["commits_status"], Edit, "branch is missing"),
            (&["jira_association_missing"], Edit, "Jira"),
            (&["locked_paths", "locked_lfs_files"], Edit, "locked"),
            (
                &["title_regex", "title_not_matching"],
                Edit,
                "title does not match",
            ),
        ] {
            for word in words {
                let (known, text) = parse(word).unwrap();
                assert_eq!(known, status, "{word}");
                assert!(text.contains(reason), "{word}: {text}");
            }
        }
        assert_eq!(parse("moon_phase"), None);
    }
}

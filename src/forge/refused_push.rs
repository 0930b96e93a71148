//! The errors of pushes that a server refused, by the texts of GitHub, GitLab, Gitea and Forgejo.

use super::{shared::ARCHIVED, workflows};
use crate::base::error::{Class, Error};

/// A push that the server refused, and that changed nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedPush<'p> {
    pub branch: &'p str,
    /// The message of git and the server.
    pub message: &'p str,
    /// Whether the server refused the token before it received the push.
    pub is_denied: bool,
    /// Whether files of workflows change.
    pub changes_workflows: bool,
    pub target: PushedBranch,
}

/// The kind of the branch that a push would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushedBranch {
    /// A branch of repin's own, for a pull request.
    Own,
    /// The base branch itself, by a commit of a clone with the credentials of git.
    Base,
    /// A long-lived branch, which `branch sync` merges into with these credentials.
    Synced(&'static str),
}

/// The cause of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Workflows,
    Archived,
    Secrets,
    Size,
    Rules,
    Protection,
    Permission,
    Nested,
    Hook,
}

/// Parts of messages in lower case, in the order of precedence. Each text was reported by a user, or is in the source
/// of the server:
/// `workflows`: <https://github.com/repo-sync/github-sync/issues/23>;
/// `archived`: <https://github.com/googleapis/repo-automation-bots/issues/2671>, and Gitea's `repo is archived`;
/// GH013: <https://github.com/renovatebot/renovate/pull/44819>; secrets:
/// <https://github.com/palxiao/poster-design/issues/140>; size: <https://github.com/git-lfs/git-lfs/issues/457>;
/// GH006: <https://github.com/pretis/flexpret/issues/40>;
/// GitLab: <https://github.com/gitlabhq/gitlabhq/issues/10405>, `lib/gitlab/user_access.rb`, `lib/gitlab/git_access.rb`;
/// directories: <https://github.com/remix-run/remix/issues/11004>;
/// Gitea and Forgejo: `routers/private/hook_pre_receive.go`, <https://github.com/go-gitea/gitea/issues/31525>.
const TEXTS: [(&str, Cause); 20] = [
    ("without `workflow", Cause::Workflows),
    ("was archived", Cause::Archived),
    ("is archived", Cause::Archived),
    ("an archived project", Cause::Archived),
    ("push cannot contain secrets", Cause::Secrets),
    ("gh001", Cause::Size),
    ("file size limit", Cause::Size),
    ("larger than", Cause::Size),
    ("rule violation", Cause::Rules),
    ("protected branch", Cause::Protection),
    ("protected from force push", Cause::Protection),
    ("branch is protected", Cause::Protection),
    ("permission denied", Cause::Permission),
    ("permission to ", Cause::Permission),
    ("not allowed to", Cause::Permission),
    ("not authorized", Cause::Permission),
    ("not granted", Cause::Permission),
    ("; cannot create", Cause::Nested),
    ("directory file conflict", Cause::Nested),
    ("hook declined", Cause::Hook),
];

/// The permission to push.
const CONTENTS: &str = "`contents: write` (Gitea: write:repository; GitLab: write_repository)";

/// The remedy if the base branch refuses the commit of a clone.
const NO_DIRECT_PUSH: &str = "the branch does not accept this push: push the commit to another branch and merge it on the forge, or, with `forge` in \
     the configuration, run the command with `--pr ready` instead of `--apply --commit --push`";

impl RefusedPush<'_> {
    /// The error, with the remedy. `forge`: its name.
    pub(crate) fn error(&self, forge: &str) -> Error {
        let Self {
            branch, message, ..
        } = self;
        let what = format!("{forge}: pushing {branch}");
        let text = message.to_lowercase();
        let found = TEXTS.iter().find(|(part, _)| text.contains(part));
        let mut cause = found.map(|(_, cause)| *cause);
        if self.is_denied && cause != Some(Cause::Archived) {
            cause = Some(Cause::Permission);
        }
        let error = Error::about(Class::Refused, &what, *message);
        if let (PushedBranch::Synced(credentials), Some(cause)) = (self.target, cause)
            && matches!(cause, Cause::Rules | Cause::Protection | Cause::Permission)
        {
            let class = if cause == Cause::Rules {
                Class::Refused
            } else {
                Class::Denied
            };
            return error.class(class).help(format!(
                "give {credentials} {CONTENTS}, and let their owner push to {branch} in its rule sets and its protection"
            ));
        }
        match cause {
            Some(Cause::Workflows) => workflows::missing_permission(&what, message),
            Some(Cause::Archived) => Error::about(Class::Denied, what, format!("{ARCHIVED}: {message}"))
                .help("unarchive the repository"),
            Some(Cause::Secrets) => error.help(
                "the server takes a changed line for a secret: allow it in the repository's settings for secret scanning",
            ),
            Some(Cause::Size) => error.help("a file is larger than the server accepts: make it smaller"),
            Some(Cause::Rules | Cause::Hook) if self.target == PushedBranch::Base => error.help(NO_DIRECT_PUSH),
            Some(Cause::Protection | Cause::Permission) if self.target == PushedBranch::Base => {
                error.class(Class::Denied).help(NO_DIRECT_PUSH)
            }
            Some(Cause::Rules) => error.help(format!(
                "check which rule set covers {branch}: let the token's owner bypass it, or give the branch another name (promote.branch, rollback.branch)"
            )),
            Some(Cause::Protection) => error.class(Class::Denied).help(format!(
                "allow the token's owner to push to {branch} in the branch protection, or give the branch another name (promote.branch, rollback.branch)"
            )),
            Some(Cause::Permission) if self.changes_workflows => {
                error.class(Class::Denied).help(format!(
                    "give the token {CONTENTS}; on GitHub, {}",
                    workflows::PERMISSION
                ))
            }
            Some(Cause::Permission) => error
                .class(Class::Denied)
                .help(format!("give the token {CONTENTS}")),
            Some(Cause::Nested) => error.help(format!(
                "delete the existing branch that the message contains, or give {branch} another name"
            )),
            Some(Cause::Hook) => error.help(format!(
                "ask the server's administrator: a hook refuses pushes to {branch}"
            )),
            None => error.help("fix the reason in the message of the server, and run the command again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSALS: &[(&str, Class, &str)] = &[
        (
            "[remote rejected] (refusing to allow a GitHub App to create or update workflow `.github/workflows/dlc.yml` without `workflows` permission)",
            Class::Denied,
            "`workflows: write`",
        ),
        (
            "[remote rejected] (refusing to allow a Personal Access Token to create or update workflow `.github/workflows/a.yml` without `workflow` scope)",
            Class::Denied,
            "`workflows: write`",
        ),
        (
            "[remote rejected] (push declined due to repository rule violations); remote: error: GH013: Repository rule violations found for refs/heads/x.; remote: - Changes must be made through a pull request.",
            Class::Refused,
            "rule set",
        ),
        (
            "[remote rejected] (push declined due to repository rule violations); remote: error: GH013: Repository rule violations found for refs/heads/x.; remote: - GITHUB PUSH PROTECTION; remote: - Push cannot contain secrets",
            Class::Refused,
            "secret scanning",
        ),
        (
            "[remote rejected] (protected branch hook declined); remote: error: GH006: Protected branch update failed for refs/heads/x.",
            Class::Denied,
            "branch protection",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: error: GH001: Large files detected.",
            Class::Refused,
            "smaller",
        ),
        (
            "remote: This repository was archived so it is read-only.; fatal: unable to access 'https://x/': The requested URL returned error: 403",
            Class::Denied,
            "unarchive",
        ),
        (
            "remote: You can't push code to an archived project.; fatal: unable to access 'https://x/': The requested URL returned error: 403",
            Class::Denied,
            "unarchive",
        ),
        (
            "remote: Permission to acme/flows.git denied to ada.; fatal: unable to access 'https://x/': The requested URL returned error: 403",
            Class::Denied,
            "contents: write",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: GitLab: You are not allowed to push code to protected branches on this project.",
            Class::Denied,
            "branch protection",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: GitLab: You are not allowed to force push code to a protected branch on this project.",
            Class::Denied,
            "branch protection",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: Gitea: Not allowed to push to protected branch auto/x",
            Class::Denied,
            "branch protection",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: Forgejo: branch auto/x is protected from force push",
            Class::Denied,
            "branch protection",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: Gitea: User permission denied for writing.",
            Class::Denied,
            "write:repository",
        ),
        (
            "[remote rejected] (failed to update ref); remote: error: cannot lock ref 'refs/heads/auto/x': 'refs/heads/auto' exists; cannot create 'refs/heads/auto/x'",
            Class::Refused,
            "delete the existing branch",
        ),
        (
            "[remote rejected] (pre-receive hook declined); remote: closed for the weekend",
            Class::Refused,
            "administrator",
        ),
    ];

    #[test]
    fn refusals_have_their_class_and_remedy() {
        for (message, class, help) in REFUSALS.iter().copied() {
            let refused = RefusedPush {
                branch: "auto/x",
                message,
                is_denied: message.contains("403"),
                changes_workflows: false,
                target: PushedBranch::Own,
            };
            let error = refused.error("GitHub");
            let found = error.help.clone().unwrap();
            assert_eq!(error.class, class, "{message}");
            assert!(found.contains(help), "{message}: {found}");
            assert!(error.message.contains(&message[..20]), "{error}");
            let of_token = ["token's owner", "write:repository", "administrator"];
            let of_base = RefusedPush {
                target: PushedBranch::Base,
                ..refused
            };
            let error = of_base.error("origin");
            let expected = of_token.iter().any(|part| found.contains(part));
            assert_eq!(error.help.unwrap() == NO_DIRECT_PUSH, expected, "{message}");
        }
    }
}

//! The permissions of a token, to the extent that reading can show them.
//!
//! The requests are in `repository.rs` of each forge. A permission that a forge does not report is
//! [`Verdict::Unknown`] with the reason, never a guess.

use crate::base::error::{Class, Error};

/// The reason for which every write to an archived repository is refused.
pub(super) const ARCHIVED: &str = "the repository is archived: it is read-only";

/// The remedy for a token with which no checks start.
pub(crate) const ANOTHER_TOKEN: &str = "use the token of a GitHub App (actions/create-github-app-token) or a fine-grained token of a user, \
                                 with `contents: write` and `pull-requests: write`, as REPIN_FORGE_TOKEN";

/// The permissions that a run will need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RequiredRights {
    /// Whether files of workflows change.
    pub workflows: bool,
    /// Workflows that are started once a pull request is merged.
    pub dispatch: Vec<String>,
    /// Whether versions of packages are listed and deleted through the forge.
    pub packages: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Making commits and branches.
    Contents,
    /// Opening and changing pull requests.
    PullRequests,
    /// Changing the files of workflows.
    Workflows,
    /// Starting workflows.
    Actions,
    /// Listing and deleting versions of images.
    Packages,
}

/// A permission, and whether the token has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    pub permission: Permission,
    pub verdict: Verdict,
}

/// Whether a token has a permission, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Has(String),
    /// The evidence and the remedy.
    Lacks(String, String),
    /// The forge does not report it, or nothing needs it.
    Unknown(String),
}

impl Permission {
    /// The permission with the reason if it is unnecessary; `None` if it is required.
    pub(super) fn unneeded(self, required: &RequiredRights) -> Option<Right> {
        let reason = match self {
            Self::Contents | Self::PullRequests => return None,
            Self::Workflows if required.workflows => return None,
            Self::Actions if !required.dispatch.is_empty() => return None,
            Self::Packages if required.packages => return None,
            Self::Workflows => "not needed: no pin is in .github/workflows",
            Self::Actions => "not needed: forge.dispatch names no workflow",
            Self::Packages => "not needed: nothing is pruned through the forge",
        };
        Some(self.with(Verdict::Unknown(reason.to_owned())))
    }

    pub(super) fn with(self, verdict: Verdict) -> Right {
        Right {
            permission: self,
            verdict,
        }
    }
}

impl Verdict {
    /// The verdict of a request without an effect: a refusal proves that the permission is missing,
    /// a success proves nothing about writing; `unknown` is the reason then.
    pub(super) fn of_reading(read: Result<(), Error>, unknown: &str) -> Result<Self, Error> {
        match read {
            Ok(()) => Ok(Self::Unknown(unknown.to_owned())),
            Err(error) if error.class == Class::Denied => {
                let hint = error
                    .help
                    .clone()
                    .unwrap_or_else(|| "give the token this permission".to_owned());
                Ok(Self::Lacks(format!("reading is denied: {error}"), hint))
            }
            Err(error) => Err(error),
        }
    }
}

/// The verdict by the scopes of a classic token; one of `sufficient` grants the permission.
pub(super) fn by_scopes(permission: Permission, scopes: &[String], sufficient: &[&str]) -> Right {
    let evidence = format!("its scopes are `{}`", scopes.join(", "));
    let is_granted = scopes
        .iter()
        .any(|scope| sufficient.contains(&scope.as_str()));
    permission.with(if is_granted {
        Verdict::Has(evidence)
    } else {
        let sufficient = sufficient.join("` or `");
        Verdict::Lacks(evidence, format!("give the token the scope `{sufficient}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_whole_words() {
        let verdict = |scopes: &[&str]| {
            let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            matches!(
                by_scopes(Permission::Contents, &scopes, &["repo", "public_repo"]).verdict,
                Verdict::Has(_)
            )
        };
        assert!(verdict(&["gist", "repo"]) && verdict(&["public_repo"]));
        assert!(!verdict(&["repo:status"]) && !verdict(&[]));
    }

    #[test]
    fn successful_read_leaves_write_permission_unknown() {
        let error = |kind| Err(Error::about(kind, "x", "y"));
        assert!(
            matches!(Verdict::of_reading(Ok(()), "z"), Ok(Verdict::Unknown(reason)) if reason == "z")
        );
        assert!(matches!(
            Verdict::of_reading(error(Class::Denied), "z"),
            Ok(Verdict::Lacks(..))
        ));
        assert!(Verdict::of_reading(error(Class::Unavailable), "z").is_err());
    }

    #[test]
    fn unneeded_permissions_are_reported_as_such() {
        let none = RequiredRights::default();
        assert!(
            Permission::Contents.unneeded(&none).is_none()
                && Permission::PullRequests.unneeded(&none).is_none()
        );
        let all = RequiredRights {
            workflows: true,
            dispatch: vec!["x".to_owned()],
            packages: true,
        };
        for permission in [
            Permission::Workflows,
            Permission::Actions,
            Permission::Packages,
        ] {
            assert!(permission.unneeded(&none).is_some() && permission.unneeded(&all).is_none());
        }
    }
}

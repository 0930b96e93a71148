//! The repository, and the abilities that a forge reports for it.

use crate::{base::text::words, git::NewFile};

/// A repository's description.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    /// `owner/name` as the forge spells it.
    pub full_name: String,
    /// The default target branch of pull requests.
    pub default_branch: String,
    /// Whether the token's owner may push.
    pub push: Push,
    /// The token's scopes, if the forge reports them.
    pub scopes: Option<Vec<String>>,
    /// Whether the repository is readable anonymously.
    pub public: bool,
    /// Archived repositories are read-only.
    pub archived: bool,
}

/// A branch from which no pull request into the target branch was ever opened, if
/// [`Forge::is_unused`](super::Forge::is_unused) confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnusedBranch {
    /// The highest number of a pull request of the repository, or 0.
    pub newest_pull: u64,
    /// Whether the protection of the target branch, without rule sets, requires signed commits.
    pub protection_requires_signatures: bool,
}

/// Whether the token's owner may push, as the forge reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Allowed,
    Denied,
    /// The forge does not report it.
    Unknown,
}

impl Push {
    pub(super) fn reported(allowed: Option<bool>) -> Self {
        match allowed {
            Some(true) => Self::Allowed,
            Some(false) => Self::Denied,
            None => Self::Unknown,
        }
    }
}

/// The writes of a run that need a separate permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedWrites {
    /// Whether files of workflows change.
    pub workflows: bool,
}

/// A file, and its mode as git writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMode<'a> {
    /// The path from the top of the repository.
    pub path: &'a str,
    /// The mode, such as `100644`.
    pub mode: &'a str,
}

words! {
    /// Whether commits are signed.
    pub enum Sign {
        /// The forge signs commits if the base requires signatures.
        Auto = "auto",
        /// The key of the user's git signs every commit.
        Git = "git",
        Never = "never",
    }
}

impl Sign {
    /// The signer of a commit on a forge that signs none.
    pub(super) fn pusher(self) -> CommitSigner {
        match self {
            Self::Git => CommitSigner::User,
            Self::Auto | Self::Never => CommitSigner::Nobody,
        }
    }

    /// The signer on a forge that does not show whether a base requires signatures, and signs no commit.
    pub(super) fn unreported(self) -> Signing {
        match self {
            Self::Git => Signing::User,
            Self::Auto | Self::Never => Signing::Unknown,
        }
    }
}

/// The signer of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitSigner {
    Nobody,
    /// The key of the user's git.
    User,
    /// The forge, which makes the commit.
    Forge,
}

/// A commit that the forge makes and signs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedCommit<'c> {
    /// `OWNER/NAME`.
    pub repository: &'c str,
    /// The branch that receives it, which is at its parent.
    pub branch: &'c str,
    pub parent: &'c str,
    /// The base branch, for messages.
    pub base: &'c str,
    pub message: &'c str,
    pub files: &'c [NewFile],
}

/// The outcome of a commit that the forge makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignedAttempt {
    /// The commit.
    Commit(String),
    /// Another run makes a commit for the same branch; the message of the server.
    Raced(String),
}

/// The signer of commits, if a base requires signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signing {
    /// The base requires no signature.
    NotRequired,
    /// The forge signs the commits that it makes.
    Forge,
    /// The key of the user's git signs every commit.
    User,
    /// Nothing signs; the reason and the remedy.
    Nothing(String, String),
    /// The API does not show it.
    Unknown,
}

/// Whether a forge can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ability {
    Yes,
    /// It cannot, for this reason.
    No(String),
}

//! The repository, and the abilities that a forge reports for it.

use crate::base::text::words;

/// A repository's description.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    /// `owner/name` as the forge spells it.
    pub full_name: String,
    /// The default target branch of pull requests.
    pub default_branch: String,
    /// The repository's id in GraphQL; empty on Gitea and Forgejo.
    pub node: String,
    /// Whether the token's owner may push.
    pub push: Push,
    /// The token's scopes, if the forge reports them.
    pub scopes: Option<Vec<String>>,
    /// Whether the repository is readable anonymously.
    pub public: bool,
    /// Archived repositories are read-only.
    pub archived: bool,
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
        Never = "never",
    }
}

/// The signer of commits, if a base requires signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signing {
    /// The base requires no signature.
    NotRequired,
    /// The forge signs the commits that it makes.
    Forge,
    /// The forge signs because the token is an app's.
    App,
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

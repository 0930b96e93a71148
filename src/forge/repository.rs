//! The repository: its description, the token's permissions, and its server.

use async_trait::async_trait;

use super::rights::{RequiredRights, Right};
use crate::{error::Error, http::ServerTime};

/// A repository on a forge, and the token's permissions there.
#[async_trait(?Send)]
pub trait Repository {
    /// `GitHub` or `Gitea`, for messages.
    fn name(&self) -> &'static str;

    /// Fails if the server is older than the versions that repin supports.
    async fn supported(&self) -> Result<(), Error>;

    /// The repository, and the token's permissions as far as the forge reports them.
    async fn repository(&self) -> Result<Repo, Error>;

    /// Fails if the token lacks a required permission, as far as reading can show.
    async fn permit(&self, repo: &Repo, need: PlannedWrites) -> Result<(), Error>;

    /// The token's permissions, as far as reading can show.
    async fn rights(&self, repo: &Repo, wanted: &RequiredRights) -> Result<Vec<Right>, Error>;

    /// The signer of commits for `base` that change these files.
    async fn signing(&self, base: &str, files: &[FileMode<'_>]) -> Result<Signing, Error>;

    /// The server's clock at its last response.
    fn server_time(&self) -> Option<ServerTime>;

    /// A pause before reading again, for changes that may not be visible on every server of the
    /// forge; longer with each round.
    async fn back_off(&self, round: u32);
}

/// A repository's description.
#[derive(Debug, Clone)]
pub struct Repo {
    /// `owner/name` as the forge spells it.
    pub full_name: String,
    /// The default target branch of pull requests.
    pub default_branch: String,
    /// The repository's id in the forge's other API; may be empty.
    pub node: String,
    /// Whether the token's owner may push.
    pub push: Push,
    /// The token's scopes, if the forge reports them.
    pub scopes: Option<Vec<String>>,
    /// Whether the repository is readable anonymously.
    pub public: bool,
    /// Whether it is archived: readable and not writable.
    pub archived: bool,
}

/// Whether the token's owner may push, as the forge reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// The forge reports that the owner may push.
    Allowed,
    /// The forge reports that the owner may not push.
    Denied,
    /// The forge does not report it.
    Unknown,
}

impl Push {
    /// From the field of the repository that both APIs share.
    pub(super) fn reported(allowed: Option<bool>) -> Self {
        match allowed {
            Some(true) => Self::Allowed,
            Some(false) => Self::Denied,
            None => Self::Unknown,
        }
    }
}

/// What a run is about to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedWrites {
    /// Whether files of workflows change.
    pub workflows: bool,
}

/// A file, and its mode as git writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode<'a> {
    /// The path from the top of the repository.
    pub path: &'a str,
    /// The mode, such as `100644`.
    pub mode: &'a str,
}

/// The signer of commits, if a base requires signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// The base requires no signature.
    NotRequired,
    /// The forge signs the commits that it makes.
    Forge,
    /// The forge signs because the token is an app's.
    App,
    /// Nothing signs; the reason, and what to do.
    Nothing(String, String),
    /// The forge is not asked.
    Unknown,
}

/// Whether a forge can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// It can.
    Yes,
    /// It cannot, for this reason.
    No(String),
}

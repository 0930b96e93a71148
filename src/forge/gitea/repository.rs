//! The repository, and the permissions of a token. Gitea and Forgejo report whether the owner may push;
//! only a refusal reports the scopes of the token.
//!
//! The version of the server, and the features that depend on it.
//!
//! The files of a commit, read page by page.
//!
//! The causes of refusals by Gitea and Forgejo: an archived repository, a protection, a hook, or a
//! concurrent process.

use reqwest::Method;
use serde::Deserialize;

use super::{Gitea, nullable};
use crate::{
    base::error::{Class, Error},
    forge::{
        Kind, Push, Repo, RequiredRights, Right, Verdict,
        fleet::FileListing,
        http::{Failure, Http, Reply, Request},
        shared::{self, ARCHIVED, version_numbers},
    },
    git::TreeEntry,
};

#[derive(Deserialize)]
pub(super) struct RepositoryRow {
    pub(super) full_name: String,
    default_branch: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) empty: bool,
    #[serde(default, deserialize_with = "nullable::reported_list")]
    pub(super) topics: Option<Vec<String>>,
    /// Whether pull requests are enabled; older servers do not report it.
    pub(super) has_pull_requests: Option<bool>,
    permissions: Option<Permissions>,
    /// Reported since Gitea 1.22 (<https://github.com/go-gitea/gitea/pull/23894>) and Forgejo 7; Gitea 1.22.0 reports
    /// an empty name (<https://github.com/go-gitea/gitea/issues/31117>).
    object_format_name: Option<String>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

/// The features that a repository may disable; older servers do not report them.
#[derive(Deserialize)]
pub(super) struct FeaturesRow {
    has_pull_requests: Option<bool>,
    pub(super) has_issues: Option<bool>,
}

const PUSH_HINT: &str =
    "use the token of an account that may push, with the scopes write:repository and write:issue";
const NO_PULL_REQUESTS: &str = "pull requests are disabled";
const ENABLE_PULL_REQUESTS: &str =
    "enable pull requests in the repository's settings, or use --apply in a clone and push";

/// The error of a repository without pull requests.
pub(super) fn no_pull_requests(repository: &str) -> Error {
    Error::about(
        Class::Denied,
        format!("Gitea: {repository}"),
        NO_PULL_REQUESTS,
    )
    .help(ENABLE_PULL_REQUESTS)
}

impl From<RepositoryRow> for Repo {
    fn from(row: RepositoryRow) -> Self {
        Self {
            full_name: row.full_name,
            default_branch: row.default_branch,
            push: Push::reported(row.permissions.map(|permissions| permissions.push)),
            scopes: None,
            public: !row.private,
            archived: row.archived,
        }
    }
}

impl RepositoryRow {
    /// Fails if the server is not supported. Its version is requested only if the row does not show that.
    pub(super) async fn check_server(&self, http: &Http) -> Result<(), Error> {
        if self.object_format_name.is_some() {
            return Ok(());
        }
        http.check_gitea_version().await
    }
}

impl Http {
    pub(in crate::forge) async fn check_gitea_version(&self) -> Result<(), Error> {
        let text = self.version(Kind::Gitea).await?;
        if Version::parse(&text).is_supported() {
            return Ok(());
        }
        let (major, minor) = OLDEST_GITEA;
        let oldest = format!("Gitea {major}.{minor} or Forgejo {OLDEST_FORGEJO}, or newer");
        Err(self.unsupported(Kind::Gitea, &text, &oldest))
    }
}

impl Gitea {
    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let row = reply.expect::<RepositoryRow>(&[200])?;
        row.check_server(&self.http).await?;
        let repo = Repo::from(row);
        shared::check_name(&reply, &self.full_name(), &repo)?;
        Ok(repo)
    }

    pub(crate) fn check_permissions(repo: &Repo) -> Result<(), Error> {
        let what = format!("Gitea: the token's permissions on {}", repo.full_name);
        shared::check_writable(repo, &what)?;
        if repo.push != Push::Denied {
            return Ok(());
        }
        Err(Error::about(Class::Denied, what, "the token's owner may not push").help(PUSH_HINT))
    }

    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        let evidence = if repo.push == Push::Allowed {
            "its owner may push"
        } else {
            "reading works"
        };
        let unknown = |scope: &str| {
            format!("{evidence}; Gitea does not report whether it has the scope {scope}")
        };
        let (contents, pulls) = if repo.archived {
            let lacks = Verdict::lacks(ARCHIVED, "unarchive the repository");
            (lacks.clone(), lacks)
        } else if repo.push == Push::Denied {
            let lacks = Verdict::lacks("the token's owner may not push", PUSH_HINT);
            (lacks.clone(), lacks)
        } else {
            let pulls = unknown("write:issue (labels, comments)");
            let contents = Verdict::unknown(unknown("write:repository"));
            (contents, self.pulls_verdict(&pulls).await?)
        };
        let others = [
            "Gitea has no such permission".to_owned(),
            unknown("write:repository"),
            unknown("write:package"),
        ];
        Ok(shared::rights(contents, pulls, others, Some(required)))
    }

    /// The scope `repository` covers pull requests, the scope `issue` their labels and comments.
    async fn pulls_verdict(&self, unknown: &str) -> Result<Verdict, Error> {
        for path in ["pulls", "labels"] {
            let mut request = self.request(Method::GET, path, format!("reading {path}"));
            if path == "pulls" {
                request = request.query("state", "open");
            }
            let reply = self.http.send(&request.query("limit", 1)).await?;
            if let Err(error) = reply.check(&[200]) {
                if self.has_no_pull_requests(&error).await {
                    return Ok(Verdict::lacks(NO_PULL_REQUESTS, ENABLE_PULL_REQUESTS));
                }
                return Verdict::from_reading(Err(error), unknown);
            }
        }
        Ok(Verdict::unknown(unknown))
    }

    /// The features of the repository if `error` is a 404, which is also the response for a
    /// disabled feature.
    pub(super) async fn features(&self, error: &Error) -> Option<FeaturesRow> {
        if error.status != Some(404) {
            return None;
        }
        let what = "reading which parts of the repository are enabled";
        let reply = self.http.send(&self.request(Method::GET, "", what)).await;
        reply.ok()?.expect(&[200]).ok()
    }

    async fn has_no_pull_requests(&self, error: &Error) -> bool {
        let features = self.features(error).await;
        features.is_some_and(|features| features.has_pull_requests == Some(false))
    }

    /// The error, or that pull requests are disabled.
    pub(super) async fn without_pull_requests(&self, error: Error) -> Error {
        if self.has_no_pull_requests(&error).await {
            return no_pull_requests(&self.full_name());
        }
        error
    }
}

/// The oldest versions that report the object format of a repository.
pub(super) const OLDEST_GITEA: (u32, u32) = (1, 22);
pub(super) const OLDEST_FORGEJO: u32 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Gitea(u32, u32),
    Forgejo(u32),
    /// A build without a number; treated as the oldest supported version.
    Unknown,
}

impl Version {
    /// `1.24.0`, or for Forgejo `8.0.1+gitea-1.22.0`.
    pub(super) fn parse(text: &str) -> Self {
        let own = text.split('+').next().unwrap_or_default();
        let forgejo = text
            .split_once('+')
            .is_some_and(|(_, rest)| rest.starts_with("gitea"));
        match version_numbers(own) {
            [Some(major), _] if forgejo => Self::Forgejo(major),
            [Some(major), Some(minor)] => Self::Gitea(major, minor),
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_supported(self) -> bool {
        match self {
            Self::Gitea(major, minor) => (major, minor) >= OLDEST_GITEA,
            Self::Forgejo(major) => major >= OLDEST_FORGEJO,
            Self::Unknown => true,
        }
    }

    /// Whether the server starts workflows on request.
    pub(super) fn starts_workflows(self) -> bool {
        match self {
            Self::Gitea(major, minor) => (major, minor) >= (1, 24),
            Self::Forgejo(major) => major >= 8,
            Self::Unknown => false,
        }
    }

    /// Whether one request can return multiple files of a commit (`POST file-contents`).
    pub(super) fn lists_files(self) -> bool {
        matches!(self, Self::Gitea(major, minor) if (major, minor) >= (1, 24))
    }

    /// Whether one request may return multiple blobs (`GET git/blobs`).
    pub(super) fn lists_blobs(self) -> bool {
        matches!(self, Self::Forgejo(major) if major >= 8)
    }

    /// Whether the server schedules merges by fast-forward; Gitea ignores the request to schedule one.
    pub(super) fn schedules_fast_forward(self) -> bool {
        matches!(self, Self::Forgejo(major) if major >= 8)
    }
}

impl Gitea {
    pub(super) async fn version(&self) -> Result<Version, Error> {
        self.http.parsed_version().await
    }
}

impl Http {
    pub(super) async fn parsed_version(&self) -> Result<Version, Error> {
        let text = self.version(Kind::Gitea).await?;
        Ok(Version::parse(&text))
    }
}

/// The requested size of a page; servers may return smaller ones.
pub(super) const PAGE: usize = 1000;

/// The files of a commit, and its id.
pub(super) struct CommitListing {
    pub(super) commit: String,
    pub(super) files: FileListing,
}

#[derive(Deserialize)]
struct TreeRow {
    sha: String,
    #[serde(default)]
    truncated: bool,
    // An empty tree is null.
    tree: Option<Vec<EntryRow>>,
}

#[derive(Deserialize)]
struct EntryRow {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
    size: Option<u64>,
}

impl Http {
    /// The files that `request` lists, at most `pages` pages of them; `None` if the commit or branch
    /// does not exist.
    pub(super) async fn gitea_files(
        &self,
        request: &Request,
        pages: usize,
    ) -> Result<Option<CommitListing>, Error> {
        let mut listing = CommitListing {
            commit: String::new(),
            files: FileListing::default(),
        };
        for page in 1..=pages {
            let request = request
                .clone()
                .query("recursive", true)
                .query("page", page)
                .query("per_page", PAGE);
            let reply = self.send(&request).await?;
            // Some versions respond 400 or 409 for a missing object.
            if page == 1 && matches!(reply.status.as_u16(), 400 | 404 | 409) {
                return Ok(None);
            }
            let row: TreeRow = reply.expect(&[200])?;
            if page > 1 && listing.commit != row.sha {
                let reason = "the listing changed while it was read";
                return Err(Error::unavailable(&request.what, reason));
            }
            listing.commit = row.sha;
            let entries = row.tree.unwrap_or_default();
            let is_empty = entries.is_empty();
            for entry in entries.into_iter().filter(|entry| entry.kind != "tree") {
                if let Some(size) = entry.size {
                    listing.files.sizes.insert(entry.sha.clone(), size);
                }
                let (mode, id) = (entry.mode, entry.sha);
                let entries = &mut listing.files.tree.entries;
                entries.insert(entry.path, TreeEntry { mode, id });
            }
            if !row.truncated {
                return Ok(Some(listing));
            }
            if is_empty {
                break;
            }
        }
        listing.files.truncated = true;
        Ok(Some(listing))
    }
}

/// Messages of git about a push that lost a race (`refs/files-backend.c`, `refs/reftable-backend.c`).
const RACES: [&str; 3] = [
    "cannot lock ref",
    "reference already exists",
    "incorrect old value provided",
];

/// The message of git about a branch below or above an existing branch, which is not a race.
const NESTED: &str = "; cannot create";

/// Whether a push was refused because another process created, moved or deleted the branch
/// concurrently. Gitea 1.25 and Forgejo 11 respond 500 `PushRejected`, Gitea 1.26 responds 403, both
/// with the message of git.
pub(super) fn is_race(text: &str) -> bool {
    !text.contains(NESTED) && RACES.iter().any(|race| text.contains(race))
}

/// Whether a protection or a hook refused a push: the server responds 500, which is not an outage
/// here.
pub(super) fn is_rejected(failure: &Failure) -> bool {
    failure.error.message.contains("PushRejected")
}

/// The error of a push that a protection or a hook may have refused.
pub(super) fn rejected(failure: Failure, branch: &str) -> Error {
    if !is_rejected(&failure) {
        return Error {
            may_have_changed: failure.unsure,
            ..failure.error
        };
    }
    let error = failure.error;
    if error.message.contains("protected branch") {
        let hint = format!(
            "allow the token's owner to push to {branch} in the branch protection, or give the branch another name"
        );
        return error.class(Class::Denied).help(hint);
    }
    if error.message.contains(NESTED) {
        let hint = format!(
            "delete the existing branch that the message contains, or give {branch} another name"
        );
        return error.class(Class::Refused).help(hint);
    }
    let hint = format!("ask the server's administrator: a hook refuses pushes to {branch}");
    error.class(Class::Refused).help(hint)
}

/// The error of a refused write.
pub(super) fn refused(reply: &Reply) -> Error {
    let error = reply.error();
    match reply.status.as_u16() {
        423 => error.class(Class::Denied).help("unarchive the repository"),
        403 => error.help("check that the token has the scope write:repository, and that the branch is not protected"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_and_compared() {
        for (text, version, supported) in [
            ("1.25.4", Version::Gitea(1, 25), true),
            ("1.22.0+dev-1-g12", Version::Gitea(1, 22), true),
            ("1.21.11", Version::Gitea(1, 21), false),
            ("2.0.0", Version::Gitea(2, 0), true),
            ("8.0.0+gitea-1.22.0", Version::Forgejo(8), true),
            ("7.0.3+gitea-1.21.11", Version::Forgejo(7), true),
            ("1.21.11-1+gitea-1.21.11", Version::Forgejo(1), false),
            (
                "17.0.0-dev-609-a14eb80977+gitea-1.22.0",
                Version::Forgejo(17),
                true,
            ),
            ("", Version::Unknown, true),
            ("development", Version::Unknown, true),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
            assert_eq!(version.is_supported(), supported, "{text}");
        }
    }

    #[test]
    fn features_follow_from_versions() {
        let version = Version::parse;
        assert!(version("1.24.0").starts_workflows() && !version("1.23.8").starts_workflows());
        assert!(
            version("8.0.1+gitea-1.22.0").starts_workflows() && !version("").starts_workflows()
        );
        assert!(version("1.24.0").lists_files() && !version("1.23.9").lists_files());
        assert!(
            !version("17.0.0+gitea-1.22.0").lists_files()
                && version("8.0.0+gitea-1.22.0").lists_blobs()
        );
        for without in ["1.25.0", "7.0.3+gitea-1.21.11"] {
            assert!(!version(without).lists_blobs(), "{without}");
        }
        assert!(!version("").lists_files());
    }

    #[test]
    fn race_differs_from_nested_branch_and_hook() {
        for race in [
            "PushRejected Error: - remote: error: cannot lock ref 'refs/heads/a': reference already exists",
            "! [remote rejected] a (cannot lock ref 'refs/heads/a': is at 1 but expected 2)",
            "! [remote rejected] a (reference already exists)",
            "! [remote rejected] a (incorrect old value provided)",
        ] {
            assert!(is_race(race), "{race}");
        }
        for other in [
            "PushRejected: cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'",
            "PushRejected: (pre-receive hook declined)",
            "token does not have at least one of required scope(s)",
        ] {
            assert!(!is_race(other), "{other}");
        }
    }
}

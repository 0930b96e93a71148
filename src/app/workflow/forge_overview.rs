//! The sets of a configuration on the forge, for a read-only command.
//!
//! The heads of open pull requests, which may be in forks.
//!
//! Docker Hub's limit of pulls, compared with the pulls of a run before the run begins. At the limit,
//! Docker Hub refuses every request for hours.

use std::collections::HashSet;

use super::{Access, Services, base, connect};
use crate::{
    app::{
        pull_request::{
            Marker, MarkerKind,
            head::{self, CurrentCommit, PullRequestOfSet},
        },
        report::json::OpenRow,
    },
    base::error::{Class, Error, Errors},
    config::Config,
    core::history::HistoryEntry,
    forge::{Forge, Pull, Pulls, Readiness, Target},
    git::{Git, ObjectId},
    oci::{
        Digest, Repository, Tag, TagOrDigest,
        registry::{Remote, Source, pull_limit_error},
    },
    prune::PullHead,
    trust::Verify,
};

/// The base branch and the pull requests of sets.
pub(crate) struct ForgeOverview {
    pub base: String,
    /// The commit at the head of the base branch; `None` if the branch is missing.
    pub head: Option<String>,
    /// The open pull requests of sets for the base branch; without images, those from one long-lived branch into
    /// another.
    pub open: Vec<OpenRow>,
    /// The merged pull request that made the current set current.
    pub merged: Result<Option<Pull>, Error>,
}

/// Fetches the overview from the configured forge. `current`: the entry of the current set.
pub(crate) fn forge_overview(
    config: &Config,
    git: Option<&Git>,
    current: Option<&HistoryEntry>,
    services: &Services,
) -> Result<Access<ForgeOverview>, Errors> {
    let forge = match connect_checked(config, git, services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let work = read(&forge, config, current);
    Ok(Access::Granted(services.wait(work, &reading(&forge))?))
}

/// The progress message.
fn reading(forge: &Forge) -> String {
    format!("reading {}s", forge.words().pull_request)
}

/// The open pull requests of sets for the base branch.
pub(super) fn open_pull_requests(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Vec<PullRequestOfSet>>, Errors> {
    let forge = match connect_checked(config, git, services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let work = async { head::open(&forge, config, &base_branch(&forge, config).await?).await };
    Ok(Access::Granted(services.wait(work, &reading(&forge))?))
}

/// Selects the configured forge. A checkout with another forge than its base must not receive the token.
fn connect_checked(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Forge>, Errors> {
    base::check_known_bases(config, git, services)?;
    connect(config, git, services)
}

async fn base_branch(forge: &Forge, config: &Config) -> Result<String, Error> {
    let configured = config.forge.as_ref().and_then(|forge| forge.base.clone());
    match configured {
        Some(base) => Ok(base),
        None => Ok(forge.repository().await?.default_branch),
    }
}

async fn read(
    forge: &Forge,
    config: &Config,
    current: Option<&HistoryEntry>,
) -> Result<ForgeOverview, Error> {
    let base = base_branch(forge, config).await?;
    let head = forge.branch(&base).await?;
    let open = if config.images.is_empty() {
        open_of_branches(forge).await?
    } else {
        let open = head::open(forge, config, &base).await?;
        open.iter().map(row_of_set).collect()
    };
    let merged = match current {
        Some(entry) => head::merged(forge, config, commit_of(entry)).await,
        None => Ok(None),
    };
    Ok(ForgeOverview {
        base,
        head,
        open,
        merged,
    })
}

/// The open pull requests of `branch promote`, by their numbers.
async fn open_of_branches(forge: &Forge) -> Result<Vec<OpenRow>, Error> {
    let mut rows = Vec::new();
    for pull in forge.pulls(Pulls::Open).await? {
        let marker = Marker::find(&pull.body).filter(|marker| marker.kind == MarkerKind::Branch);
        if marker.is_some_and(|marker| pull.own && marker.revision == pull.head) {
            rows.push(open_row(&pull, "branch", &pull.head));
        }
    }
    rows.sort_by_key(|row| row.number);
    Ok(rows)
}

fn row_of_set(found: &PullRequestOfSet) -> OpenRow {
    open_row(
        &found.pull,
        found.operation.as_str(),
        found.revision.as_str(),
    )
}

fn open_row(pull: &Pull, kind: &'static str, revision: &str) -> OpenRow {
    OpenRow {
        number: pull.number,
        url: pull.url.clone(),
        kind,
        revision: revision.to_owned(),
        title: pull.title.clone(),
        draft: pull.readiness == Readiness::Draft,
    }
}

fn commit_of(entry: &HistoryEntry) -> CurrentCommit<'_> {
    CurrentCommit {
        commit: &entry.commit,
        number: entry.pull_request,
        operation: entry.kind.operation(),
        revision: entry.revision.as_ref(),
    }
}

/// Lists the heads of all open pull requests of the configured forge. Returns a reason if there is no
/// forge, or if its token is missing or may not list them.
pub(crate) fn open_pulls(
    config: &Config,
    services: &Services,
) -> Result<Access<Vec<PullHead>>, Errors> {
    let unlisted = |reason: &str| Ok(Access::NoToken(reason.to_owned()));
    let Some(configured) = &config.forge else {
        return unlisted("the configuration has no `forge` block");
    };
    let git = Git::open(&config.root).map_err(Error::from)?;
    let Some(origin) = git.origin().map_err(Error::from)? else {
        return unlisted("the clone has no remote `origin`");
    };
    // Packages of an owner can be pruned without a repository on the forge.
    if let Err(error) = Target::resolve(&configured.address(), Some(&origin)) {
        return unlisted(&error.to_string());
    }
    let forge = match connect(config, Some(&git), services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
    };
    let listing = format!("listing {}s", forge.words().pull_request);
    let pulls = match services.wait(forge.pulls(Pulls::Open), &listing) {
        Ok(pulls) => pulls,
        // GitHub hides a private repository from a token that may not read it, and Gitea hides the pull
        // requests of a repository that has switched them off.
        Err(error) if error.class == Class::Denied || error.status == Some(404) => {
            return unlisted(&error.text());
        }
        Err(error) => return Err(error.into()),
    };
    let mut heads = Vec::new();
    for pull in pulls {
        let Some(commit) = ObjectId::parse(pull.head_commit.as_bytes()) else {
            let name = pull.name();
            return unlisted(&format!("the forge does not report the head of {name}"));
        };
        heads.push(PullHead {
            reference: forge.words().head_reference(pull.number),
            commit,
        });
    }
    Ok(Access::Granted(heads))
}

/// The pulls of one image in a run.
pub(crate) struct ImagePulls<'i> {
    /// The image's name in the progress message.
    pub name: &'i str,
    pub repository: &'i Repository,
    pub source: &'i Source,
    /// The manifests that the run requests.
    pub manifests: Vec<ManifestPull>,
}

/// The pulls of one manifest or index.
pub(crate) struct ManifestPull {
    pub reference: TagOrDigest,
    /// The number of requests for the manifest itself.
    pub requests: u64,
    /// Whether the manifests of its platforms are requested too.
    pub with_platforms: bool,
    /// The number of other pulls if the manifest exists: signatures, attestations, the smoke command.
    pub further: u64,
}

/// The pulls that one image needs, and those that Docker Hub still allows.
#[derive(Default)]
struct Estimate {
    needed: u64,
    remaining: Option<u64>,
}

impl ManifestPull {
    /// The pulls of a resolution, which reads the manifests of the platforms.
    pub(crate) fn resolution(reference: TagOrDigest) -> Self {
        Self {
            reference,
            requests: 1,
            with_platforms: true,
            further: 0,
        }
    }
}

/// The minimum number of manifests with signatures and attestations that are requested for an image. Each
/// required kind has a manifest of its own; an image that may be unsigned costs one request.
pub(crate) fn signature_pulls(verify: Option<&Verify>) -> u64 {
    match verify {
        None => 0,
        Some(verify) if verify.since.is_some() => 1,
        Some(verify) => verify.require.len() as u64,
    }
}

/// The minimum number of further pulls for an image that a promotion or rollback verifies. The smoke
/// command's engine pulls the image itself.
pub(crate) fn verification_pulls(config: &Config) -> u64 {
    signature_pulls(config.verify.as_ref()) + u64::from(config.smoke.is_some())
}

/// Refuses a run that needs more pulls than Docker Hub still allows. Other registries receive no
/// request.
pub(crate) fn check_pull_limit(
    images: &[ImagePulls<'_>],
    services: &Services,
) -> Result<(), Errors> {
    let on_hub = images.iter().filter_map(|image| match image.source {
        Source::Remote(remote) if image.repository.is_on_hub() => {
            Some((image.name, estimate(remote, &image.manifests)))
        }
        _ => None,
    });
    let (names, work): (Vec<_>, Vec<_>) = on_hub.unzip();
    let estimates = services.wait_for_all("reading Docker Hub's limit", &names, work);
    let needed: u64 = estimates.iter().map(|estimate| estimate.needed).sum();
    let remaining = estimates
        .iter()
        .filter_map(|estimate| estimate.remaining)
        .min();
    match remaining {
        Some(remaining) if remaining < needed => Err(pull_limit_error(remaining, needed).into()),
        _ => Ok(()),
    }
}

/// Refuses to request more manifests than Docker Hub still allows. `pulls`: for each repository on Docker
/// Hub one of the tags, and their number.
pub(super) fn check_remaining_pulls(
    pulls: &[(&Remote, &Tag, u64)],
    services: &Services,
) -> Result<(), Errors> {
    let Some((remote, first, _)) = pulls.first() else {
        return Ok(());
    };
    let reference = TagOrDigest::Tag((*first).clone());
    let estimate = services.wait(remote.estimate(&reference), "reading Docker Hub's limit");
    let needed = pulls.iter().map(|(_, _, count)| count).sum();
    // A failed request is repeated by the run, which reports its failure.
    match estimate.ok().and_then(|estimate| estimate.pulls) {
        Some(remaining) if remaining < needed => Err(pull_limit_error(remaining, needed).into()),
        _ => Ok(()),
    }
}

/// Estimates the pulls of one image. A failed request is ignored: the run repeats it and reports its
/// failure.
async fn estimate(remote: &Remote, pulls: &[ManifestPull]) -> Estimate {
    let mut estimate = Estimate::default();
    let mut counted: HashSet<Digest> = HashSet::new();
    for pull in pulls {
        let Ok(found) = remote.estimate(&pull.reference).await else {
            continue;
        };
        estimate.remaining = [estimate.remaining, found.pulls]
            .into_iter()
            .flatten()
            .min();
        if let Some(digest) = found.digest
            && counted.insert(digest)
        {
            let of_platforms = u64::from(found.is_index && pull.with_platforms);
            estimate.needed += pull.requests + of_platforms + pull.further;
        }
    }
    estimate
}

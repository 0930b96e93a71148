//! The remote of the repository, and its forge.
//!
//! The proposal of a `verify` block: one workflow that attested all images of the current set.
//!
//! The attestations of the first image are listed before the others, so that a set without
//! attestations costs one query. An unavailable registry gives a warning, and `init` continues.

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures_util::future;

use crate::{
    app::{
        report::starter::{StarterForge, StarterSigner},
        workflow::{Services, trust::Trust},
    },
    base::{
        error::{Error, Errors, Span},
        files::{RelPath, WorkTree},
    },
    config::Config,
    core::pins::FoundPins,
    forge::is_tenant,
    git::{Git, HostedRepository},
    oci::{
        Digest, TagOrDigest,
        registry::{
            Source,
            resolve::{self, ImageFacts},
        },
    },
    trust::{
        Certificate, JudgedSignature, Requirement, RootKind, RootSource, SearchResult, SignedName,
        Triggers, Verify,
    },
};

/// The remote `origin`; each value may be unknown.
#[derive(Default)]
pub(super) struct GitRemote {
    /// The owner of the repository on its forge.
    pub(super) owner: Option<String>,
    pub(super) forge: Option<StarterForge>,
    /// The default branch.
    pub(super) base: Option<String>,
}

impl GitRemote {
    pub(super) fn read(root: &Path) -> Self {
        let Ok(git) = Git::open(root) else {
            return Self::default();
        };
        let mut remote = Self::default();
        if let Ok(Some(url)) = git.origin()
            && let Some(hosted) = HostedRepository::parse(&url)
        {
            remote.forge = forge(&hosted, root);
            remote.owner = Some(hosted.owner);
        }
        if let Ok(Some(branch)) = git.known_default(None) {
            remote.base = branch.name.strip_prefix("origin/").map(str::to_owned);
        }
        remote
    }
}

/// Guesses the forge from the host of the remote, or from directories that only one kind of forge uses.
fn forge(hosted: &HostedRepository, root: &Path) -> Option<StarterForge> {
    let host = hosted.host.as_str();
    let has = |directory: &str| root.join(directory).is_dir();
    let web = match &hosted.web {
        Some(web) => web.clone(),
        None => format!("https://{host}"),
    };
    // GitHub Enterprise Server uses the default ports.
    let has_port = web.matches(':').count() > 1;
    let gitea = || Some(format!("{web}/api/v1"));
    let (kind, url, is_certain) = match host {
        "github.com" => ("github", None, true),
        "codeberg.org" | "gitea.com" => ("gitea", gitea(), true),
        "gitlab.com" => ("gitlab", None, true),
        "bitbucket.org" => return None,
        _ if is_tenant(host) => ("github", Some(format!("https://api.{host}")), true),
        _ if host.contains("gitlab") || root.join(".gitlab-ci.yml").is_file() => {
            ("gitlab", Some(web.clone()), false)
        }
        _ if has(".gitea")
            || has(".forgejo")
            || host.contains("gitea")
            || host.contains("forgejo")
            || has_port =>
        {
            ("gitea", gitea(), false)
        }
        _ if has(".github") => ("github", Some(format!("{web}/api/v3")), false),
        _ => return None,
    };
    Some(StarterForge {
        kind,
        url,
        repository: format!("{}/{}", hosted.owner, hosted.name),
        is_certain,
    })
}

/// The maximum time for all requests.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The usual files for the output of `gh attestation trusted-root`, next to the configuration.
const ROOTS: [&str; 2] = ["trusted_root.jsonl", "trusted_root.json"];

#[derive(Default)]
pub(super) struct Signers {
    /// The workflow that attested all images.
    pub(super) proposal: Option<StarterSigner>,
    /// The reason for a missing proposal, if there may be attestations.
    pub(super) warning: Option<String>,
    /// The reason why the attestations could not be listed.
    pub(super) unavailable: Option<String>,
}

/// Looks up the attestations of the pinned digests.
pub(super) fn signers(config: &Config, found: &FoundPins, services: &Services) -> Signers {
    match common_builders(config, found, services) {
        Ok(builders) => proposal(builders),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(Error::text).collect();
            Signers {
                unavailable: Some(errors.join("; ")),
                ..Signers::default()
            }
        }
    }
}

/// The workflows that attested every image for the commit in its label.
fn common_builders(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<BTreeSet<StarterSigner>, Errors> {
    let verify = lookup_policy(config);
    let trust = Trust::of(&verify, config, &WorkTree::new(&config.root))?;
    let sources = services.sources_of_images(config)?;
    let mut pinned = Vec::new();
    for image in 0..config.images.len() {
        for digest in found.digests_of(image) {
            pinned.push((image, digest));
        }
    }
    let Some((first, others)) = pinned.split_first() else {
        return Ok(BTreeSet::new());
    };
    let builders = |(image, digest): &(usize, Digest)| {
        let (source, digest) = (&sources[*image], *digest);
        builders(*image, digest, source, config, &trust, services)
    };
    let lookup = async {
        let mut common = builders(first).await?;
        if common.is_empty() {
            return Ok(common);
        }
        for builders in future::try_join_all(others.iter().map(builders)).await? {
            common.retain(|builder| builders.contains(builder));
        }
        Ok(common)
    };
    wait(lookup, "looking for attestations", services)
}

/// Waits for requests to the registries, for at most 10 s.
pub(super) fn wait<T>(
    lookup: impl Future<Output = Result<T, Error>>,
    message: &str,
    services: &Services,
) -> Result<T, Errors> {
    // The timer must be created within the runtime, which `wait` enters.
    let lookup = async { tokio::time::timeout(TIMEOUT, lookup).await };
    match services.wait(lookup, message) {
        Ok(found) => Ok(found?),
        Err(_) => Err(Error::unavailable("the registry", "no response within 10 s").into()),
    }
}

/// The image of a pinned digest.
pub(super) async fn pinned_image(source: &Source, digest: Digest) -> Result<ImageFacts, Error> {
    let want = TagOrDigest::Digest(digest);
    let facts = resolve::resolve(source, &want, &[]).await?;
    facts.ok_or_else(|| {
        let subject = format!("{source}{want}");
        Error::unavailable(subject, "the pinned digest is missing")
    })
}

/// A policy without signers, with the built-in roots and those in the work tree.
fn lookup_policy(config: &Config) -> Verify {
    let mut verify = Verify::without_signers();
    for name in ROOTS {
        if let Ok(path) = RelPath::parse(name)
            && config.root.join(name).is_file()
        {
            verify.trusted_roots.push(RootSource {
                name: name.to_owned(),
                kind: RootKind::File(path),
                span: Span { start: 0, end: 0 },
            });
        }
    }
    verify
}

/// The workflows that attested a digest for the commit in its label.
async fn builders(
    image: usize,
    digest: Digest,
    source: &Source,
    config: &Config,
    trust: &Trust<'_>,
    services: &Services,
) -> Result<BTreeSet<StarterSigner>, Error> {
    let facts = pinned_image(source, digest).await?;
    let revision = facts.first_revision(config.revision.field());
    let image = &config.images[image];
    let repositories = image.signed_repositories();
    let SearchResult {
        candidates, faults, ..
    } = trust
        .examine_everything(
            source,
            &image.name,
            &repositories,
            digest,
            revision,
            services,
        )
        .await;
    let builders: BTreeSet<_> = candidates
        .iter()
        .filter_map(|candidate| builder(candidate, revision))
        .collect();
    match faults.into_iter().next() {
        Some(fault) if builders.is_empty() => Err(fault),
        _ => Ok(builders),
    }
}

/// The workflow of a verified attestation for the revision.
fn builder(candidate: &JudgedSignature, revision: &str) -> Option<StarterSigner> {
    let verdict = &candidate.verdict;
    let proof = verdict.proof.as_ref()?;
    let certificate = proof.certificate.as_ref()?;
    let (workflow, git_ref) = certificate.workflow()?;
    let Certificate {
        issuer,
        source,
        source_ref,
        trigger,
        commit,
        runner,
        ..
    } = certificate.clone();
    let is_workflow = workflow.starts_with("https://");
    let is_named = matches!(verdict.signed_name, SignedName::Own(_));
    // The proposal uses the default triggers, and `ref` is also compared with the ref of the source.
    let is_triggered = Triggers::Trusted.allow(trigger.as_deref());
    let is_branch = git_ref.starts_with("refs/heads/")
        && source_ref.is_none_or(|source_ref| source_ref == git_ref);
    let is_for_revision = verdict.kind == Some(Requirement::Attestation) && commit? == revision;
    (is_workflow && is_named && is_triggered && is_for_revision).then_some(StarterSigner {
        workflow: workflow.to_owned(),
        git_ref: is_branch.then(|| git_ref.to_owned()),
        issuer: issuer?,
        source: source?,
        is_hosted: runner.as_deref() == Some("github-hosted"),
        root: proof.root.clone()?,
    })
}

fn proposal(builders: BTreeSet<StarterSigner>) -> Signers {
    let mut builders: Vec<_> = builders.into_iter().collect();
    if builders.len() < 2 {
        return Signers {
            proposal: builders.pop(),
            ..Signers::default()
        };
    }
    let names: Vec<_> = builders
        .iter()
        .map(|builder| builder.workflow.as_str())
        .collect();
    let warning = format!(
        "all images have attestations of several workflows, so that no `verify` is proposed: {}",
        names.join(", ")
    );
    Signers {
        warning: Some(warning),
        ..Signers::default()
    }
}

//! Who built the current set: the proposal of a `verify` block, where the attestations of all images
//! name one workflow.
//!
//! The first image is looked up alone, so that a set without attestations costs one lookup. What
//! cannot be read is a warning: a first configuration does not wait for a registry.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future;

use crate::{
    config::{Config, RelPath, Requirement, RootKind, RootSource, Triggers, Verify},
    error::{Error, Errors, Span},
    files::WorkTree,
    oci::{Digest, TagOrDigest},
    pins::Found,
    registry::{Source, resolve},
    report::starter::StarterSigner,
    trust::{Candidate, Certificate, SearchResult, SignedName},
    workflow::{Services, trust::Trust},
};

/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The files in which `gh attestation trusted-root` is usually kept, beside the configuration.
const ROOTS: [&str; 2] = ["trusted_root.jsonl", "trusted_root.json"];

/// What the images of the set carry.
#[derive(Default)]
pub(super) struct Signers {
    /// The workflow that attested all of them.
    pub(super) proposal: Option<StarterSigner>,
    /// Why nothing is proposed although something may be there.
    pub(super) warning: Option<String>,
}

/// Looks up the attestations of the pinned digests.
pub(super) fn signers(config: &Config, found: &Found, services: &Services) -> Signers {
    match common(config, found, services) {
        Ok(builders) => chosen(builders),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(Error::text).collect();
            Signers {
                warning: Some(format!(
                    "attestations were not looked up: {}",
                    errors.join("; ")
                )),
                ..Signers::default()
            }
        }
    }
}

/// The workflows that attested every image, each for the commit that its label names.
fn common(
    config: &Config,
    found: &Found,
    services: &Services,
) -> Result<BTreeSet<StarterSigner>, Errors> {
    let verify = verify(config);
    let trust = Trust::of(&verify, config, &WorkTree::new(&config.root))?;
    let sources = services.sources_of_images(config)?;
    let pinned = |at: usize| {
        found
            .digests_of(at)
            .into_iter()
            .map(move |digest| (at, digest))
    };
    let pinned: Vec<_> = (0..config.images.len()).flat_map(pinned).collect();
    let Some((first, rest)) = pinned.split_first() else {
        return Ok(BTreeSet::new());
    };
    let builders = |(at, digest): &(usize, Digest)| {
        let (source, digest) = (&sources[*at], *digest);
        builders(*at, digest, source, config, &trust, services)
    };
    let look = async {
        let mut common = builders(first).await?;
        if common.is_empty() {
            return Ok(common);
        }
        for others in future::try_join_all(rest.iter().map(builders)).await? {
            common.retain(|signer| others.contains(signer));
        }
        Ok(common)
    };
    // A timer needs the runtime that `wait` enters.
    let look = async { tokio::time::timeout(PATIENCE, look).await };
    let found: Result<Result<_, Error>, _> = services.wait(look, "looking for attestations")?;
    let late = || Error::unavailable("the registry", "no answer within 10 s");
    Ok(found.map_err(|_| late())??)
}

/// A policy without signers, within the built-in roots and those of the tree.
fn verify(config: &Config) -> Verify {
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

/// The workflows that attested a digest for the commit of its label.
async fn builders(
    at: usize,
    digest: Digest,
    source: &Source,
    config: &Config,
    trust: &Trust<'_>,
    services: &Services,
) -> Result<BTreeSet<StarterSigner>, Error> {
    let want = TagOrDigest::Digest(digest);
    let Some(facts) = resolve::resolve(source, &want).await? else {
        let subject = format!("{source}{want}");
        return Err(Error::unavailable(subject, "the pinned digest is missing"));
    };
    let revision = facts.label(&config.revision.label);
    let image = &config.images[at];
    let repositories = image.signed_repositories();
    let found = trust.examine_everything(
        source,
        &image.name,
        &repositories,
        digest,
        revision,
        services,
    );
    let SearchResult {
        candidates, faults, ..
    } = found.await;
    let builders: BTreeSet<_> = candidates
        .iter()
        .filter_map(|candidate| builder(candidate, revision))
        .collect();
    match faults.into_iter().next() {
        Some(fault) if builders.is_empty() => Err(fault),
        _ => Ok(builders),
    }
}

/// The workflow of a verified attestation that was made for the revision.
fn builder(candidate: &Candidate, revision: &str) -> Option<StarterSigner> {
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
    // The proposal has the default triggers, and `ref` is also compared with the source's.
    let is_triggered = Triggers::Trusted.allow(trigger.as_deref());
    let is_branch = git_ref.starts_with("refs/heads/")
        && source_ref.is_none_or(|source_ref| source_ref == git_ref);
    let counts = verdict.kind == Some(Requirement::Attestation) && commit? == revision;
    (is_workflow && is_named && is_triggered && counts).then_some(StarterSigner {
        workflow: workflow.to_owned(),
        git_ref: is_branch.then(|| git_ref.to_owned()),
        issuer: issuer?,
        source: source?,
        is_hosted: runner.as_deref() == Some("github-hosted"),
        root: proof.root.clone()?,
    })
}

fn chosen(builders: BTreeSet<StarterSigner>) -> Signers {
    let mut builders: Vec<_> = builders.into_iter().collect();
    if builders.len() < 2 {
        return Signers {
            proposal: builders.pop(),
            ..Signers::default()
        };
    }
    let names: Vec<_> = builders.iter().map(|one| one.workflow.as_str()).collect();
    let warning = format!(
        "all images have attestations of several workflows, so that no `verify` is proposed: {}",
        names.join(", ")
    );
    Signers {
        warning: Some(warning),
        ..Signers::default()
    }
}

//! The checks of `repin check --remote`: the pinned set against the registry and git history.

use crate::{
    app::{
        cli::context::Context,
        workflow::{
            SiteHistory,
            base_policy::{self, Bases},
            forge_overview::{ImagePulls, ManifestPull, check_pull_limit, signature_pulls},
            stages::Stages,
            trust::{self, Trust},
            untagged_pins::{self, UntaggedPin},
        },
    },
    base::error::{Code, Error, Errors},
    config::Config,
    core::{
        checks::{
            self, Check, ClaimResolution, ClaimingTag, PinnedImage, Status, TagResolution,
            TaggedManifest,
        },
        history::{Digests, Provenance},
        pins::FoundPins,
    },
    oci::{
        Digest, Manifest, Revision, TagOrDigest, TagPattern,
        registry::{NoTag, Source, resolve, select_tag},
    },
};

/// The checks that require a source and history.
#[derive(Default)]
pub(super) struct RemoteChecks {
    pub(super) checks: Vec<Check>,
    /// The errors that prevented checks.
    pub(super) errors: Vec<Error>,
    /// The revision in the labels of all images.
    pub(super) revision: Option<Revision>,
}

/// The manifests that the checks of the pinned digests request.
fn pulls<'p>(
    config: &'p Config,
    sources: &'p [Source],
    wanted: &[(usize, Digest)],
) -> Vec<ImagePulls<'p>> {
    let mut pulls = Vec::new();
    for (image, digest) in wanted {
        let manifest = ManifestPull {
            // One request by the digest, and one by the tag of the revision.
            requests: 2,
            further: signature_pulls(config.verify.as_ref()),
            ..ManifestPull::resolution(TagOrDigest::Digest(*digest))
        };
        pulls.push(ImagePulls {
            name: &config.images[*image].name,
            repository: &config.images[*image].repository,
            source: &sources[*image],
            manifests: vec![manifest],
        });
    }
    pulls
}

/// The indices of the pinned images, with the digest of each.
pub(super) fn pinned(config: &Config, found: &FoundPins) -> Vec<(usize, Digest)> {
    (0..config.images.len())
        .filter_map(|image| Some((image, *found.digests_of(image).first()?)))
        .collect()
}

/// Checks the pinned images, their tags, their history and their signatures. Without a common revision
/// of the pinned images, there is no tag to compare.
pub(super) fn check_remote(
    config: &Config,
    trust: Option<&Trust<'_>>,
    found: &FoundPins,
    bases: &Bases,
    cx: &Context,
) -> Result<RemoteChecks, Errors> {
    let history = SiteHistory::for_verdict(config, &cx.services);
    let (stages, unknown_stages) = check_stages(config, found, &history, bases, cx)?;
    let sources = cx.services.sources_of_images(config)?;
    let pinned = read_pinned(config, &sources, found, cx)?;
    let (mut checks, mut errors, revision) = checks::check_pinned_images(config, &pinned, found);
    let is_readable = errors.is_empty();
    checks.extend(stages);
    errors.extend(unknown_stages);
    match check_hold(config, found, revision.as_ref(), &history, bases, cx) {
        Ok(check) => checks.push(check),
        Err(error) => errors.push(error),
    }
    // An error is reported once.
    if is_readable {
        let revision = revision.as_ref();
        checks.extend(check_untagged(config, &sources, found, revision, cx));
    }
    let Some(revision) = revision.filter(|_| is_readable) else {
        return Ok(RemoteChecks {
            checks,
            errors,
            revision: None,
        });
    };
    let tag = match config.revision.tag.tag(&revision) {
        Ok(tag) => tag,
        Err(error) => {
            checks.push(checks::revision_without_tag(&revision, &error));
            return Ok(RemoteChecks {
                checks,
                errors,
                revision: Some(revision),
            });
        }
    };
    let tagged = resolve_tag(config, &sources, &pinned, &tag, cx);
    for (pinned, tagged) in pinned.iter().zip(&tagged) {
        let (check, error) = pinned.check_tag(config, &tag, tagged, found);
        checks.push(check);
        errors.extend(error);
    }
    let (claims, claim_errors) = check_claims(config, &sources, found, &tag, cx);
    checks.extend(claims);
    errors.extend(claim_errors);
    let digests = checks::current_digests(config, found);
    let (provenance, record) = match history.promoted() {
        Ok(history) => {
            let record = checks::PinnedRecord {
                revision: history.revision_of(&digests),
                has_any: (history.entries().iter()).any(|entry| entry.revision.is_some()),
            };
            (Ok(history.provenance(&revision)), record)
        }
        Err(error) => (Err(error.to_string()), checks::PinnedRecord::default()),
    };
    checks.push(checks::check_pinned_provenance(
        config,
        &revision,
        record,
        &provenance,
    ));
    if let Some(trust) = trust {
        let (signature_checks, signature_errors) =
            check_signatures(trust, config, &pinned, &revision, &history, cx)?;
        checks.extend(signature_checks);
        errors.extend(signature_errors);
    }
    Ok(RemoteChecks {
        checks,
        errors,
        revision: Some(revision),
    })
}

/// Warns about pinned digests without a tag; whether a digest has one may be unknown.
fn check_untagged(
    config: &Config,
    sources: &[Source],
    found: &FoundPins,
    revision: Option<&Revision>,
    cx: &Context,
) -> Vec<Check> {
    let tag = revision.and_then(|revision| config.revision.exact_tag(revision));
    let pinned = untagged_pins::pinned_digests(config, found, sources, tag.as_ref());
    let untagged = untagged_pins::untagged_pins(config, pinned, &cx.services);
    let check = |untagged: Result<UntaggedPin, Error>| match untagged {
        Ok(untagged) => untagged.check(config, found),
        Err(error) => Check::new(Code::PIN_UNTAGGED, Status::Skip, error.to_string()),
    };
    untagged.into_iter().map(check).collect()
}

/// Checks whether the files pin digests that a rollback undid, in place of those of the promoted branch.
fn check_hold(
    config: &Config,
    found: &FoundPins,
    revision: Option<&Revision>,
    history: &SiteHistory,
    bases: &Bases,
    cx: &Context,
) -> Result<Check, Error> {
    if let Some(reason) = history.absence() {
        return Ok(checks::unknown_hold(&reason));
    }
    let digests = checks::current_digests(config, found);
    // Unknown base branches are reported with the policy.
    let bases = bases.as_ref().ok().and_then(Option::as_ref);
    let promoted = bases.map_or(&[][..], |bases| &bases.promoted);
    let hold = history.hold_of_head(config, &digests, promoted, &cx.services)?;
    checks::check_pinned_hold(config, revision, &hold)
}

/// Checks the stages of the pinned set, unless it is current on every branch that may be the base.
fn check_stages(
    config: &Config,
    found: &FoundPins,
    history: &SiteHistory,
    bases: &Bases,
    cx: &Context,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let stages = Stages::open(config, history, true, &cx.services)?;
    let digests = checks::current_digests(config, found);
    if config.promote.after.is_empty()
        || base_policy::is_current_on_bases(config, &digests, history, bases)
    {
        return Ok((Vec::new(), Vec::new()));
    }
    let verdicts = stages.judge(&digests, &cx.services);
    let (mut checks, errors) = checks::check_stages(&verdicts.judged, false).into_parts();
    for error in &errors {
        checks.push(Check::new(error.code, Status::Skip, error.text()));
    }
    Ok((checks, errors))
}

/// Reads the manifest and the configs of each pinned digest.
fn read_pinned(
    config: &Config,
    sources: &[Source],
    found: &FoundPins,
    cx: &Context,
) -> Result<Vec<PinnedImage>, Errors> {
    let wanted = pinned(config, found);
    check_pull_limit(&pulls(config, sources, &wanted), &cx.services)?;
    let mut names = Vec::new();
    let mut requests = Vec::new();
    for (image, digest) in wanted {
        names.push(config.images[image].name.as_str());
        let source = &sources[image];
        requests.push(async move {
            let facts = resolve::resolve(source, &TagOrDigest::Digest(digest), &[]).await;
            PinnedImage {
                image,
                digest,
                facts,
            }
        });
    }
    let services = &cx.services;
    Ok(services.wait_for_all("reading the pinned images", &names, requests))
}

/// Resolves the tag of the revision for each pinned image.
fn resolve_tag(
    config: &Config,
    sources: &[Source],
    pinned: &[PinnedImage],
    pattern: &TagPattern,
    cx: &Context,
) -> Vec<TagResolution> {
    let mut names = Vec::new();
    let mut requests = Vec::new();
    for pinned in pinned {
        names.push(config.images[pinned.image].name.as_str());
        let source = &sources[pinned.image];
        requests.push(async move {
            let tag = select_tag(source, pattern, Some(pinned.digest)).await?;
            let manifest = source
                .manifest(&TagOrDigest::Tag(tag.clone()), None)
                .await?;
            let tagged = manifest.map(|manifest| TaggedManifest {
                tag,
                digest: manifest.digest,
                entries: match manifest.value {
                    Manifest::Index(index) => index.manifests,
                    Manifest::Image(_) => Vec::new(),
                },
            });
            tagged.ok_or(NoTag::Missing)
        });
    }
    cx.services.wait_for_all("resolving tags", &names, requests)
}

/// Resolves the tags of the pins that claim a revision, apart from the tag of the revision, which is resolved
/// already.
fn check_claims(
    config: &Config,
    sources: &[Source],
    found: &FoundPins,
    resolved: &TagPattern,
    cx: &Context,
) -> (Vec<Check>, Vec<Error>) {
    let mut claims: Vec<ClaimingTag> = Vec::new();
    for claim in checks::claiming_tags(config, found) {
        let is_same = |other: &ClaimingTag| {
            (other.image, other.digest, &other.tag) == (claim.image, claim.digest, &claim.tag)
        };
        if resolved.tag() != Some(&claim.tag) && !claims.iter().any(is_same) {
            claims.push(claim);
        }
    }
    let mut names = Vec::new();
    let mut requests = Vec::new();
    for claim in &claims {
        names.push(config.images[claim.image].name.as_str());
        let source = &sources[claim.image];
        requests.push(async move {
            let reference = TagOrDigest::Tag(claim.tag.clone());
            let manifest = source.manifest(&reference, None).await?;
            Ok(manifest.map(|manifest| manifest.digest))
        });
    }
    let results: Vec<ClaimResolution> =
        cx.services
            .wait_for_all("resolving the tags of the pins", &names, requests);
    let (mut checks, mut errors) = (Vec::new(), Vec::new());
    for (claim, result) in claims.iter().zip(&results) {
        let (check, error) = checks::check_claiming_tag(config, claim, result);
        checks.push(check);
        errors.extend(error);
    }
    (checks, errors)
}

/// Checks the signatures and attestations of the pinned digests.
fn check_signatures(
    trust: &Trust<'_>,
    config: &Config,
    pinned: &[PinnedImage],
    revision: &Revision,
    history: &SiteHistory,
    cx: &Context,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let digests: Digests = pinned
        .iter()
        .map(|pinned| (config.images[pinned.image].name.clone(), pinned.digest))
        .collect();
    let provenance = history
        .promoted()
        .map(|history| match history.provenance(revision) {
            Provenance::ByContent => history.provenance_of(&digests),
            found => found,
        });
    let promoted = match &provenance {
        Ok(Provenance::Found(promoted)) => Some(promoted),
        _ => None,
    };
    let enforcement = match trust::signature_enforcement(config, promoted, &digests, history.git())
    {
        Ok(enforcement) => enforcement,
        Err(error) => return Ok((Vec::new(), vec![error])),
    };
    let images: Vec<_> = pinned
        .iter()
        .filter_map(|pinned| Some((pinned.image, pinned.facts.as_ref().ok()?.clone()?)))
        .collect();
    trust::verify_pinned(trust, config, &images, revision, enforcement, &cx.services)
}

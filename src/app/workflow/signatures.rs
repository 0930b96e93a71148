//! The stage of signatures and attestations: the verdicts on digests, the evidence, and the effect of
//! `since`.

use std::rc::Rc;

use super::{
    Services, Stop,
    trust::{SignedDigest, Trust},
};
use crate::{
    base::{
        code::Code,
        error::{Error, Errors},
    },
    config::Config,
    core::{
        checks::{
            Check, DigestSignatures, Enforcement, ImagePlatform, Images, Signatures, Strictness,
            Tags, VerifiedRow,
        },
        history::{Digests, Promoted},
    },
    git::{FETCH_HISTORY, Git},
    oci::{Revision, registry::resolve::ImageFacts},
    trust::{SearchResult, SignedSubject, Since, Verify},
};

/// The evidence for each image, in the order of the configuration.
type Evidence = Vec<Vec<VerifiedRow>>;

/// The stage of signatures: the digest of every image, or of each of its platforms. Without a
/// policy it sends no requests.
pub(super) fn verify_signatures<'c, H: Strictness>(
    images: Images<'c, H, Tags>,
    trust: Option<&Trust<'_>>,
    config: &'c Config,
    revision: &Revision,
    enforcement: Enforcement,
    services: &Services,
) -> Result<(Images<'c, H, Signatures>, Evidence), Stop> {
    let mut evidence: Evidence = config.images.iter().map(|_| Vec::new()).collect();
    let mut stage = images.signatures();
    let Some(trust) = trust else {
        return Ok((stage.finish()?, evidence));
    };
    let verify = trust.policy.verify;
    let open: Vec<ImagePlatform> = stage.pending().collect();
    let (mut places, mut digests) = (Vec::new(), Vec::new());
    for place in open {
        if let Some(facts) = stage.facts(place.image) {
            digests.push(signed_digest(verify, place.image, place.platform, facts));
            places.push(place);
        }
    }
    let examinations = trust.examine(config, &digests, revision, services)?;
    let mut verdicts = Vec::new();
    for (digest, examination) in digests.iter().zip(&examinations) {
        let examined = examined(config, digest, examination);
        evidence[digest.image].extend(VerifiedRow::rows(&examined, verify, revision));
        verdicts.push(examined.verdict(verify, enforcement));
    }
    for (place, verdict) in places.into_iter().zip(verdicts) {
        stage.record(place, verdict);
    }
    Ok((stage.finish()?, evidence))
}

/// The checks of pinned digests, and the errors that prevented some of them.
pub(crate) fn verify_pinned(
    trust: &Trust<'_>,
    config: &Config,
    images: &[(usize, ImageFacts)],
    revision: &Revision,
    enforcement: Enforcement,
    services: &Services,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let verify = trust.policy.verify;
    let mut digests = Vec::new();
    for (image, facts) in images {
        digests.extend(signed_digests(verify, *image, facts));
    }
    let examinations = trust.examine(config, &digests, revision, services)?;
    let (mut checks, mut outages) = (Vec::new(), Vec::new());
    for (digest, examination) in digests.iter().zip(&examinations) {
        match examined(config, digest, examination).verdict(verify, enforcement) {
            Ok(found) => checks.extend(found),
            Err(errors) => outages.extend(errors),
        }
    }
    Ok((checks, outages))
}

/// The digests that must be signed: that of the image, or those of its platforms.
pub(super) fn signed_digests<'f>(
    verify: &Verify,
    image: usize,
    facts: &'f ImageFacts,
) -> Vec<SignedDigest<'f>> {
    let count = match verify.subject {
        SignedSubject::Pinned => 1,
        SignedSubject::Platforms => facts.platforms.len(),
    };
    let platforms = 0..count;
    platforms
        .map(|platform| signed_digest(verify, image, platform, facts))
        .collect()
}

/// The digest that must be signed: that of the image, or of one platform.
fn signed_digest<'f>(
    verify: &Verify,
    image: usize,
    platform: usize,
    facts: &'f ImageFacts,
) -> SignedDigest<'f> {
    let platform = match verify.subject {
        SignedSubject::Pinned => None,
        SignedSubject::Platforms => facts.platforms.get(platform),
    };
    SignedDigest {
        image,
        platform: platform.map(|platform| &platform.platform),
        digest: platform.map_or(facts.digest, |platform| platform.digest),
    }
}

fn examined<'e>(
    config: &'e Config,
    digest: &SignedDigest<'e>,
    examination: &'e Rc<SearchResult>,
) -> DigestSignatures<'e> {
    let image = &config.images[digest.image];
    DigestSignatures {
        image: &image.name,
        repository: &image.repository,
        platform: digest.platform,
        digest: digest.digest,
        found: examination,
    }
}

fn since(config: &Config) -> Option<&Since> {
    config.verify.as_ref()?.since.as_ref()
}

/// Checks that `since` is a commit of the repository. In a shallow clone this cannot be determined.
pub(crate) fn check_since(config: &Config) -> Result<(), Errors> {
    let Some(since) = since(config) else {
        return Ok(());
    };
    if let Some(git) = Git::discover(&config.root).map_err(Error::from)? {
        let commit = git
            .commit_named(&since.commit)
            .map_err(|error| Error::from(&error))?;
        if commit.is_some() || git.is_shallow() {
            return Ok(());
        }
    }
    let message = format!(
        "`since` names no commit of this repository: {}",
        since.commit
    );
    Err(Error::input(Code::CONFIG, message)
        .at(config.place(since.span, ""))
        .into())
}

/// Whether signatures decide on a set. A set may be unsigned if it was promoted up to `since` and has
/// the digests that its commit pinned.
pub(crate) fn signature_enforcement(
    config: &Config,
    promoted: Option<&Promoted>,
    digests: &Digests,
    git: Option<&Git>,
) -> Result<Enforcement, Error> {
    let (Some(since), Some(promoted), Some(git)) = (since(config), promoted, git) else {
        return Ok(Enforcement::Fail);
    };
    for image in config.images.iter().filter(|image| image.pins > 0) {
        let of_image = [&promoted.images, digests].map(|set| set.get(&image.name));
        if !matches!(of_image, [Some(promoted), Some(digest)] if promoted == digest) {
            return Ok(Enforcement::Fail);
        }
    }
    let outage = |error| Error::from(&error);
    if let Some(commit) = git.commit_named(&since.commit).map_err(outage)?
        && git
            .is_ancestor(&promoted.contracts, &commit)
            .map_err(outage)?
    {
        return Ok(Enforcement::Warn);
    }
    if git.is_shallow() {
        let reason =
            "cannot determine whether the set was promoted before `since`: the clone is shallow";
        let error = Error::unavailable("git history", reason);
        return Err(error.help(FETCH_HISTORY));
    }
    Ok(Enforcement::Fail)
}

//! The policy of a run: its keys and trusted roots, and the signatures and attestations of digests.
//!
//! Without a `verify` block, no file is opened and no request is sent.
//!
//! The stage of signatures and attestations: the verdicts on digests, the evidence, and the effect of
//! `since`.

use std::{
    io::{self, Read as _},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Services, Stop,
    caches::{ExaminationKey, PolicyId},
};
use crate::{
    base::{
        error::{Code, Error, Errors, Span},
        files::{Files, RelPath},
        untrusted::plain,
    },
    config::{Config, Image},
    core::{
        changes::{SbomPackages, read_sboms},
        checks::{
            Check, DigestSignatures, Enforcement, ImagePlatform, Images, Signatures, Strictness,
            Tags, VerifiedRow,
        },
        history::{Digests, Promoted},
    },
    git::{FETCH_HISTORY, Git},
    oci::{
        self, Digest, Platform, Repository, Revision,
        registry::{Source, resolve::ImageFacts},
    },
    trust::{
        self, BUILT_IN_DATE, BUILT_IN_SOURCE, BuiltIn, Policy, PublicKey, Root, RootKind,
        SearchExtent, SearchResult, SignedSubject, SignerIdentity, Since, Subject, Verify,
    },
};

/// The maximum size of a key or a root, in bytes.
pub(super) const MAX_MATERIAL: u64 = 4 << 20;

pub(crate) struct Trust<'c> {
    pub policy: Policy<'c>,
    id: PolicyId,
}

/// A digest that must be signed.
pub(super) struct SignedDigest<'d> {
    /// The index of the image in the configuration.
    pub(super) image: usize,
    pub(super) platform: Option<&'d Platform>,
    pub(super) digest: Digest,
}

impl<'c> Trust<'c> {
    /// Loads the keys and roots of the configuration from the files of the site. `None` without a
    /// `verify` block. The error lists all problems.
    pub(crate) fn read(config: &'c Config, files: &dyn Files) -> Result<Option<Self>, Errors> {
        let verify = config.verify.as_ref();
        verify
            .map(|verify| Self::of(verify, config, files))
            .transpose()
    }

    /// Loads the keys and roots of a policy with the locations of the configuration.
    pub(crate) fn of(
        verify: &'c Verify,
        config: &Config,
        files: &dyn Files,
    ) -> Result<Self, Errors> {
        let mut material = Material {
            config,
            files,
            digests: Vec::new(),
            problems: Vec::new(),
        };
        let mut keys = Vec::new();
        for signer in &verify.signers {
            keys.push(match &signer.who {
                SignerIdentity::Key { path, span, .. } => material.key(path, *span),
                SignerIdentity::Workflow { .. } | SignerIdentity::Certificate { .. } => None,
            });
        }
        let mut roots = Vec::new();
        for root in &verify.trusted_roots {
            roots.extend(match &root.kind {
                RootKind::Sigstore => vec![Root::built_in(BuiltIn::Sigstore)],
                RootKind::GitHub => vec![Root::built_in(BuiltIn::GitHub)],
                RootKind::File(path) => material.roots(&root.name, path, root.span),
            });
        }
        if !material.problems.is_empty() {
            return Err(material.problems.into());
        }
        let id = PolicyId {
            config: Arc::clone(&config.source_text.text),
            files: material.digests,
        };
        let policy = Policy {
            verify,
            keys,
            roots,
        };
        Ok(Self { policy, id })
    }

    /// Finds and evaluates every signature and attestation of a digest, even after the policy is
    /// satisfied.
    pub(crate) async fn examine_everything(
        &self,
        source: &Source,
        image: &str,
        repositories: &[Repository],
        digest: Digest,
        revision: &str,
        services: &Services,
    ) -> SearchResult {
        let subject = Subject {
            image,
            repositories,
            digest,
            revision,
            now: (services.environment.clock)(),
        };
        trust::search(source, &self.policy, subject, SearchExtent::All).await
    }

    /// Finds and evaluates the signatures of digests, in their order. `config`: the configuration
    /// of the policy.
    pub(super) fn examine(
        &self,
        config: &Config,
        digests: &[SignedDigest<'_>],
        revision: &Revision,
        services: &Services,
    ) -> Result<Vec<Rc<SearchResult>>, Errors> {
        let sources = services.sources_of_images(config)?;
        let work = digests.iter().map(|digest| {
            let (source, image) = (&sources[digest.image], &config.images[digest.image]);
            self.examine_once(source, image, digest.digest, revision, services)
        });
        Ok(services.wait_for_all("reading signatures", &names_of(digests, config), work))
    }

    /// The packages in the SBOMs of digests, in their order, as far as signers of the policy made them for the
    /// revision.
    pub(super) fn sboms(
        &self,
        config: &Config,
        digests: &[SignedDigest<'_>],
        revision: &str,
        services: &Services,
    ) -> Result<Vec<Result<SbomPackages, Error>>, Errors> {
        let sources = services.sources_of_images(config)?;
        let work = digests.iter().map(|digest| {
            let (source, image) = (&sources[digest.image], &config.images[digest.image]);
            async move {
                let subject = Subject {
                    image: &image.name,
                    repositories: &image.signed_repositories(),
                    digest: digest.digest,
                    revision,
                    now: (services.environment.clock)(),
                };
                read_sboms(source, &self.policy, subject).await
            }
        });
        Ok(services.wait_for_all("reading SBOMs", &names_of(digests, config), work))
    }

    /// Finds and evaluates the signatures of a digest, once in a run.
    async fn examine_once(
        &self,
        source: &Source,
        image: &Image,
        digest: Digest,
        revision: &Revision,
        services: &Services,
    ) -> Rc<SearchResult> {
        let cache = &services.trust_cache.examinations;
        let key = ExaminationKey {
            policy: self.id.clone(),
            image: image.name.clone(),
            digest,
            revision: revision.clone(),
        };
        if let Some(known) = cache.borrow().get(&key) {
            return Rc::clone(known);
        }
        let subject = Subject {
            image: &image.name,
            repositories: &image.signed_repositories(),
            digest,
            revision: revision.as_str(),
            now: (services.environment.clock)(),
        };
        let examination =
            trust::search(source, &self.policy, subject, SearchExtent::UntilSatisfied).await;
        let examination = Rc::new(examination);
        cache.borrow_mut().insert(key, Rc::clone(&examination));
        examination
    }
}

/// The name of the image of each digest.
fn names_of<'c>(digests: &[SignedDigest<'_>], config: &'c Config) -> Vec<&'c str> {
    let images = digests.iter().map(|digest| &config.images[digest.image]);
    images.map(|image| image.name.as_str()).collect()
}

/// The time before the end of a root's authorities in which a warning is shown.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60 * 86_400);
/// The age after which the built-in roots are outdated.
const BUILT_IN_MAX_AGE: Duration = Duration::from_secs(120 * 86_400);

pub(crate) struct RootLine {
    /// Its source, its authorities and their end.
    pub detail: String,
    /// The warning if the root expires soon or is outdated.
    pub warning: Option<String>,
}

impl Trust<'_> {
    /// Describes the trusted roots, in the order of the configuration.
    pub(crate) fn roots(&self, now: SystemTime) -> Vec<RootLine> {
        self.policy
            .roots
            .iter()
            .map(|root| describe(root, now))
            .collect()
    }

    /// Warns of outdated roots and of roots that expire soon, once in a run.
    pub(crate) fn warn_of_old_roots(&self, services: &Services) {
        let mut known = services.trust_cache.warnings.borrow_mut();
        for line in self.roots((services.environment.clock)()) {
            if let Some(warning) = line.warning
                && known.insert(warning.clone())
            {
                services.console.warn(&plain(&warning));
            }
        }
    }
}

fn describe(root: &Root, now: SystemTime) -> RootLine {
    let summary = root.summary();
    let built_in = ["sigstore", "github"].contains(&root.name.as_str());
    let source = if built_in {
        format!(" (built in, from {BUILT_IN_SOURCE}, {BUILT_IN_DATE})")
    } else {
        String::new()
    };
    let until = summary.until();
    let end = until.map_or_else(String::new, |end| format!(", until {}", day(end)));
    let detail = format!(
        "{}{source}: certificate authorities: {}, logs: {}, timestamp authorities: {}{end}",
        root.name, summary.authorities, summary.logs, summary.timestamp_authorities
    );
    let released = date(BUILT_IN_DATE);
    let is_outdated =
        built_in && released.is_some_and(|released| released + BUILT_IN_MAX_AGE < now);
    let warning = match until {
        Some(end) if end < now + EXPIRY_NOTICE => Some(format!(
            "the trusted root {} covers signatures until {}: renew it (repin trust update)",
            root.name,
            day(end)
        )),
        _ if is_outdated => Some(format!(
            "the built-in trusted root {} is of {BUILT_IN_DATE}: update repin, or configure a file (repin trust update --apply)",
            root.name
        )),
        _ => None,
    };
    RootLine { detail, warning }
}

/// The day of a time (ISO 8601).
fn day(time: SystemTime) -> String {
    oci::date::offset(time).date().to_string()
}

/// The beginning of a day (ISO 8601).
fn date(text: &str) -> Option<SystemTime> {
    let midnight = format!("{text}T00:00:00Z");
    OffsetDateTime::parse(&midnight, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// Loads the keys and roots of a policy.
struct Material<'m> {
    config: &'m Config,
    files: &'m dyn Files,
    /// The digests of the files that were read.
    digests: Vec<Digest>,
    problems: Vec<Error>,
}

impl Material<'_> {
    fn key(&mut self, path: &RelPath, at: Span) -> Option<PublicKey> {
        let bytes = self.file(path, at)?;
        match PublicKey::parse(&bytes) {
            Ok(key) => Some(key),
            Err(error) => {
                self.problem(format!("cannot use the key {path}: {error}"), at);
                None
            }
        }
    }

    fn roots(&mut self, name: &str, path: &RelPath, at: Span) -> Vec<Root> {
        let Some(bytes) = self.file(path, at) else {
            return Vec::new();
        };
        match Root::parse(name, &bytes) {
            Ok(roots) => roots,
            Err(error) => {
                self.problem(format!("cannot use the trusted root {path}: {error}"), at);
                Vec::new()
            }
        }
    }

    fn file(&mut self, path: &RelPath, at: Span) -> Option<Vec<u8>> {
        match read_material(self.files, path) {
            Ok(bytes) => {
                self.digests.push(Digest::of(&bytes));
                Some(bytes)
            }
            Err(error) => {
                self.problem(format!("cannot read {path}: {error}"), at);
                None
            }
        }
    }

    fn problem(&mut self, message: String, at: Span) {
        let location = self.config.location(at, "");
        self.problems
            .push(Error::input(Code::CONFIG, message).at(location));
    }
}

/// Loads a key or a trusted root.
pub(crate) fn read_material(files: &dyn Files, path: &RelPath) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = files.open(path).map_err(|error| error.error)?;
    file.take(MAX_MATERIAL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_MATERIAL {
        return Err(io::Error::other("it has more than 4 MiB"));
    }
    Ok(bytes)
}

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
    let (mut checks, mut errors) = (Vec::new(), Vec::new());
    for (digest, examination) in digests.iter().zip(&examinations) {
        match examined(config, digest, examination).verdict(verify, enforcement) {
            Ok(found) => checks.extend(found),
            Err(unavailable) => errors.extend(unavailable),
        }
    }
    Ok((checks, errors))
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
        .at(config.location(since.span, ""))
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
    let to_error = |error| Error::from(&error);
    if let Some(commit) = git.commit_named(&since.commit).map_err(to_error)?
        && git
            .is_ancestor(&promoted.contracts, &commit)
            .map_err(to_error)?
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{base::files::WorkTree, config::example};

    #[test]
    fn progress_names_the_image_of_each_digest() {
        let config = example(
            "version: 1\nfiles: [x]\nimages:\n  a: { repository: r.example/a, pins: 1 }\n  b: { repository: r.example/b, pins: 1 }\n",
        );
        let digests = [1, 0, 1].map(|image| SignedDigest {
            image,
            platform: None,
            digest: Digest::of(b""),
        });
        assert_eq!(names_of(&digests, &config), ["b", "a", "b"]);
    }

    #[test]
    fn built_in_roots_are_fresh_for_120_days() {
        let root = Root::built_in(BuiltIn::Sigstore);
        let released = date(BUILT_IN_DATE).unwrap();
        let after = |days: u64| describe(&root, released + Duration::from_secs(days * 86_400));
        assert_eq!(after(120).warning, None);
        assert!(after(0).detail.starts_with("sigstore (built in, from "));
        let warning = after(121).warning.unwrap();
        assert!(warning.contains("update repin"), "{warning}");
        // The age of a file is not limited.
        let mut file = Root::built_in(BuiltIn::Sigstore);
        "root.json".clone_into(&mut file.name);
        let later = released + Duration::from_secs(121 * 86_400);
        let described = describe(&file, later);
        assert_eq!(described.warning, None);
        assert!(described.detail.starts_with("root.json: "));
    }

    #[test]
    fn roots_are_renewed_60_days_before_their_end() {
        let mut root = Root::built_in(BuiltIn::GitHub);
        "root.json".clone_into(&mut root.name);
        let notice = root.summary().until().unwrap() - EXPIRY_NOTICE;
        assert_eq!(describe(&root, notice).warning, None);
        let warning = describe(&root, notice + Duration::from_secs(1)).warning;
        assert!(warning.unwrap().contains("renew it"));
    }

    #[test]
    fn file_of_a_key_or_root_may_have_4_mib() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("root.json");
        let read = |length: u64| {
            fs::write(&file, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
            let path = RelPath::parse("root.json").unwrap();
            read_material(&WorkTree::new(directory.path()), &path)
        };
        assert!(read(MAX_MATERIAL).is_ok());
        assert!(read(MAX_MATERIAL + 1).is_err());
    }
}

//! The stage of signatures and attestations: keys and roots of the policy, what is attached to each
//! digest, and the evidence.
//!
//! Without a `verify` block nothing is read and nothing is requested.

use std::{
    io::{self, Read as _},
    rc::Rc,
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Services, SiteHistory, Stop};
use crate::{
    checks::{
        self, DigestSignatures, Enforcement, HistoryVerdict, ImagePlatform, Images, Scope,
        Signatures, Tags, VerifiedRow,
    },
    code::Code,
    config::{Config, Image, RelPath, RootKind, SignedSubject, SignerIdentity, Verify},
    error::{Error, Errors, Span},
    files::Files,
    git::Git,
    history::{Digests, Promoted},
    oci::{Digest, Platform, Repository, Revision},
    registry::{Source, resolve::ImageFacts},
    trust::{
        self, BUILT_IN_DATE, BUILT_IN_SOURCE, BuiltIn, Policy, PublicKey, Root, SearchExtent,
        SearchResult, Subject,
    },
    untrusted::plain,
};

/// The largest key or root, in bytes.
pub(super) const MATERIAL_MAX: u64 = 4 << 20;

/// The policy of a run, and what makes it equal to another.
pub struct Trust<'c> {
    /// The policy.
    pub policy: Policy<'c>,
    /// The digest of the policy, its keys and its roots.
    id: Digest,
}

/// A digest to look up.
struct Wanted<'w> {
    image: usize,
    platform: Option<&'w Platform>,
    digest: Digest,
}

impl<'c> Trust<'c> {
    /// Reads the keys and roots of the configuration from the files that the run works on; `None`
    /// without a `verify` block. Every problem is in the error.
    pub fn read(config: &'c Config, files: &dyn Files) -> Result<Option<Self>, Errors> {
        let verify = config.verify.as_ref();
        verify
            .map(|verify| Self::of(verify, config, files))
            .transpose()
    }

    /// The same of a policy, whose places are those of the configuration.
    pub fn of(verify: &'c Verify, config: &Config, files: &dyn Files) -> Result<Self, Errors> {
        let mut material = Material {
            config,
            files,
            read: format!("{verify:?}").into_bytes(),
            problems: Vec::new(),
        };
        let keys = verify.signers.iter().map(|signer| match &signer.who {
            SignerIdentity::Key { path, at, .. } => material.key(path, *at),
            _ => None,
        });
        let keys = keys.collect();
        let roots = (verify.trusted_roots.iter()).flat_map(|root| {
            let name = root.name.as_str();
            match &root.kind {
                RootKind::Sigstore => material.built_in(BuiltIn::Sigstore, root.at),
                RootKind::GitHub => material.built_in(BuiltIn::GitHub, root.at),
                RootKind::File(path) => material.root(name, path, root.at),
            }
        });
        let roots = roots.collect();
        if !material.problems.is_empty() {
            return Err(material.problems.into());
        }
        let id = Digest::of(&material.read);
        let policy = Policy {
            verify,
            keys,
            roots,
        };
        Ok(Self { policy, id })
    }

    /// Finds and judges all that is attached to a digest, whether the policy is met or not.
    pub async fn everything(
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

    /// Finds and judges what is attached to a digest; each is looked up once in a run.
    pub async fn examine(
        &self,
        source: &Source,
        image: &Image,
        digest: Digest,
        revision: &Revision,
        services: &Services,
    ) -> Rc<SearchResult> {
        let repositories = image.signed_repositories();
        let names: Vec<_> = repositories.iter().map(Repository::canonical).collect();
        let names = names.join(" ");
        let key = format!(
            "{source}@{digest} {revision} {} {names} {}",
            image.name, self.id
        );
        if let Some(known) = services.examined(&key) {
            return known;
        }
        let revision = revision.to_string();
        let subject = Subject {
            image: &image.name,
            repositories: &repositories,
            digest,
            revision: &revision,
            now: (services.environment.clock)(),
        };
        let found =
            trust::search(source, &self.policy, subject, SearchExtent::UntilSatisfied).await;
        let found = Rc::new(found);
        services.remember_examined(key, &found);
        found
    }

    /// Looks up several digests at once, in their order.
    fn examine_all(
        &self,
        config: &Config,
        wanted: &[Wanted<'_>],
        revision: &Revision,
        services: &Services,
    ) -> Result<Vec<Rc<SearchResult>>, Errors> {
        let sources = services.sources_of_images(config)?;
        let examine = |wanted: &Wanted<'_>| {
            let (source, image) = (&sources[wanted.image], &config.images[wanted.image]);
            self.examine(source, image, wanted.digest, revision, services)
        };
        let work: Vec<_> = wanted.iter().map(examine).collect();
        let name = |wanted: &Wanted<'_>| config.images[wanted.image].name.as_str();
        let names: Vec<_> = wanted.iter().map(name).collect();
        services.wait_for_all("reading signatures", &names, work)
    }
}

/// How long before the end of a root's authorities a warning comes.
const ENDING: Duration = Duration::from_secs(60 * 86_400);
/// How long the built-in roots are taken for fresh.
const FRESH: Duration = Duration::from_secs(120 * 86_400);

/// A trusted root of the policy, described.
pub struct RootLine {
    /// Its source, its authorities and their end.
    pub detail: String,
    /// What is about to go wrong.
    pub warning: Option<String>,
}

impl Trust<'_> {
    /// Each trusted root, in the order of the configuration.
    pub fn roots(&self, now: SystemTime) -> Vec<RootLine> {
        self.policy
            .roots
            .iter()
            .map(|root| line_of(root, now))
            .collect()
    }

    /// Warns of roots that are about to end, once in a run.
    pub fn warn_of_old_roots(&self, services: &Services) {
        if !services.first_policy(self.id) {
            return;
        }
        for line in self.roots((services.environment.clock)()) {
            if let Some(warning) = line.warning {
                services.console.warn(&plain(&warning));
            }
        }
    }
}

fn line_of(root: &Root, now: SystemTime) -> RootLine {
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
    let old = built_in && released.is_some_and(|released| released + FRESH < now);
    let warning = match until {
        Some(end) if end < now + ENDING => Some(format!(
            "the trusted root {} covers signatures until {}: renew it (repin trust update)",
            root.name,
            day(end)
        )),
        _ if old => Some(format!(
            "the built-in trusted root {} is of {BUILT_IN_DATE}: update repin, or configure a file (repin trust update --apply)",
            root.name
        )),
        _ => None,
    };
    RootLine { detail, warning }
}

/// The day of a time (ISO 8601).
fn day(time: SystemTime) -> String {
    OffsetDateTime::from(time).date().to_string()
}

/// The beginning of a day (ISO 8601).
fn date(text: &str) -> Option<SystemTime> {
    let midnight = format!("{text}T00:00:00Z");
    OffsetDateTime::parse(&midnight, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// The files of a policy while they are read.
struct Material<'m> {
    config: &'m Config,
    files: &'m dyn Files,
    /// All that was read, and the policy itself.
    read: Vec<u8>,
    problems: Vec<Error>,
}

impl Material<'_> {
    fn key(&mut self, path: &RelPath, at: Span) -> Option<PublicKey> {
        let bytes = self.file(path, at)?;
        let key = PublicKey::parse(&bytes);
        key.map_err(|why| self.problem(format!("cannot use the key {path}: {why}"), at))
            .ok()
    }

    fn root(&mut self, name: &str, path: &RelPath, at: Span) -> Vec<Root> {
        let Some(bytes) = self.file(path, at) else {
            return Vec::new();
        };
        Root::parse(name, &bytes).unwrap_or_else(|why| {
            self.problem(format!("cannot use the trusted root {path}: {why}"), at);
            Vec::new()
        })
    }

    fn built_in(&mut self, which: BuiltIn, at: Span) -> Vec<Root> {
        match Root::built_in(which) {
            Ok(root) => vec![root],
            Err(why) => {
                let name = which.as_str();
                self.problem(format!("cannot use the built-in root {name}: {why}"), at);
                Vec::new()
            }
        }
    }

    fn file(&mut self, path: &RelPath, at: Span) -> Option<Vec<u8>> {
        match read_material(self.files, path) {
            Ok(bytes) => {
                self.read.extend(&bytes);
                Some(bytes)
            }
            Err(error) => {
                self.problem(format!("cannot read {path}: {error}"), at);
                None
            }
        }
    }

    fn problem(&mut self, message: String, at: Span) {
        let place = self.config.place(at, "");
        self.problems
            .push(Error::input(Code::CONFIG, message).at(place));
    }
}

/// Reads a key or a trusted root.
pub fn read_material(files: &dyn Files, path: &RelPath) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = files.open(path).map_err(|error| error.error)?;
    file.take(MATERIAL_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MATERIAL_MAX {
        return Err(io::Error::other("it has more than 4 MiB"));
    }
    Ok(bytes)
}

/// The evidence for each image, in the order of the configuration.
type Evidence = Vec<Vec<VerifiedRow>>;

/// The stage of signatures: the digest of every image, or of each of its platforms. The evidence is
/// for each image, in the order of the configuration.
pub(super) fn verify_signatures<'c, G: Scope>(
    images: Images<'c, G, Tags>,
    trust: Option<&Trust<'_>>,
    config: &'c Config,
    revision: &Revision,
    enforcement: Enforcement,
    services: &Services,
) -> Result<(Images<'c, G, Signatures>, Evidence), Stop> {
    let mut evidence: Evidence = config.images.iter().map(|_| Vec::new()).collect();
    let mut stage = images.signatures();
    let Some(trust) = trust else {
        return Ok((stage.finish()?, evidence));
    };
    let verify = trust.policy.verify;
    let places: Vec<_> = stage.pending().collect();
    let wanted = |place: &ImagePlatform| {
        let facts = stage.facts(place.image)?;
        Some(wanted(verify, place.image, place.platform, facts))
    };
    let wanted: Vec<Wanted<'_>> = places.iter().filter_map(wanted).collect();
    let found = trust.examine_all(config, &wanted, revision, services)?;
    let mut verdicts = Vec::new();
    for (wanted, found) in wanted.iter().zip(&found) {
        let examined = examined(config, wanted, found);
        evidence[wanted.image].extend(VerifiedRow::rows(&examined, verify, revision));
        verdicts.push(examined.verdict(verify, enforcement));
    }
    for (place, verdict) in places.into_iter().zip(verdicts) {
        stage.record(place, verdict);
    }
    Ok((stage.finish()?, evidence))
}

/// The verdicts on pinned digests: checks, and the errors that left some unjudged.
pub fn pinned(
    trust: &Trust<'_>,
    config: &Config,
    images: &[(usize, ImageFacts)],
    revision: &Revision,
    enforcement: Enforcement,
    services: &Services,
) -> Result<(Vec<checks::Check>, Vec<Error>), Errors> {
    let verify = trust.policy.verify;
    let mut wanted = Vec::new();
    for (image, facts) in images {
        let places = match verify.subject {
            SignedSubject::Pinned => 1,
            SignedSubject::Platforms => facts.platforms.len(),
        };
        wanted.extend((0..places).map(|platform| self::wanted(verify, *image, platform, facts)));
    }
    let found = trust.examine_all(config, &wanted, revision, services)?;
    let (mut checks, mut outages) = (Vec::new(), Vec::new());
    for (wanted, found) in wanted.iter().zip(&found) {
        match examined(config, wanted, found).verdict(verify, enforcement) {
            Ok(found) => checks.extend(found),
            Err(errors) => outages.extend(errors),
        }
    }
    Ok((checks, outages))
}

fn wanted<'f>(verify: &Verify, image: usize, platform: usize, facts: &'f ImageFacts) -> Wanted<'f> {
    let of_platform = match verify.subject {
        SignedSubject::Pinned => None,
        SignedSubject::Platforms => facts.platforms.get(platform),
    };
    Wanted {
        image,
        platform: of_platform.map(|platform| &platform.platform),
        digest: of_platform.map_or(facts.digest, |platform| platform.digest),
    }
}

fn examined<'e>(
    config: &'e Config,
    wanted: &Wanted<'e>,
    found: &'e Rc<SearchResult>,
) -> DigestSignatures<'e> {
    DigestSignatures {
        image: &config.images[wanted.image].name,
        repository: &config.images[wanted.image].repository,
        platform: wanted.platform,
        digest: wanted.digest,
        found,
    }
}

/// Whether `since` names a commit, where that can be determined.
pub fn since_exists(config: &Config) -> Result<(), Errors> {
    let since = config
        .verify
        .as_ref()
        .and_then(|verify| verify.since.as_ref());
    let Some(since) = since else { return Ok(()) };
    let unknown = || {
        let message = format!(
            "`since` names no commit of this repository: {}",
            since.commit
        );
        Errors::from(Error::input(Code::CONFIG, message).at(config.place(since.at, "")))
    };
    let Some(git) = Git::discover(&config.root).map_err(Error::from)? else {
        return Err(unknown());
    };
    let known = git
        .commit_named(&since.commit)
        .map_err(|error| Error::from(&error))?;
    if known.is_none() && !git.is_shallow() {
        return Err(unknown());
    }
    Ok(())
}

/// Whether signatures decide on a set: one that was promoted up to `since` may be unsigned, if these
/// are the digests that its commit pinned.
pub fn enforcement(
    config: &Config,
    promoted: Option<&Promoted>,
    digests: &Digests,
    git: Option<&Git>,
) -> Result<Enforcement, Error> {
    let since = config
        .verify
        .as_ref()
        .and_then(|verify| verify.since.as_ref());
    let (Some(since), Some(promoted), Some(git)) = (since, promoted, git) else {
        return Ok(Enforcement::Fail);
    };
    let pinned = config.images.iter().filter(|image| image.pins > 0);
    let same = |name: &String| {
        let then = promoted.images.get(name);
        then.is_some() && then == digests.get(name)
    };
    if !pinned.map(|image| &image.name).all(same) {
        return Ok(Enforcement::Fail);
    }
    let outage = |error| Error::from(&error);
    let commit = git.commit_named(&since.commit).map_err(outage)?;
    let before = commit.map(|commit| git.is_ancestor(&promoted.contracts, &commit));
    if before.transpose().map_err(outage)?.unwrap_or_default() {
        return Ok(Enforcement::Warn);
    }
    if git.is_shallow() {
        let why =
            "cannot determine whether the set was promoted before `since`: the clone is shallow";
        let error = Error::unavailable("git history", why);
        return Err(error.help("fetch the history: git fetch --unshallow"));
    }
    Ok(Enforcement::Fail)
}

/// Whether signatures decide on the set of a promotion or a rollback.
pub(super) fn enforcement_of(
    config: &Config,
    images: &Images<'_, HistoryVerdict, Tags>,
    history: &SiteHistory,
) -> Result<Enforcement, Error> {
    let Some(promoted) = images.promoted() else {
        return Ok(Enforcement::Fail);
    };
    enforcement(config, Some(promoted), &images.digests(), history.git())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_roots_are_fresh_for_120_days() {
        let root = Root::built_in(BuiltIn::Sigstore).unwrap();
        let released = date(BUILT_IN_DATE).unwrap();
        let after = |days: u64| line_of(&root, released + Duration::from_secs(days * 86_400));
        assert_eq!(after(120).warning, None);
        let warning = after(121).warning.unwrap();
        assert!(warning.contains("update repin"), "{warning}");
        // A file is its owner's to renew.
        let mut file = Root::built_in(BuiltIn::Sigstore).unwrap();
        "root.json".clone_into(&mut file.name);
        let later = released + Duration::from_secs(121 * 86_400);
        assert_eq!(line_of(&file, later).warning, None);
    }
}

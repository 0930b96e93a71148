//! A set that another run verified, trusted by the hash of its document.
//!
//! The hash comes from the job that verified the set. The file itself is not trusted: it may have
//! passed through any storage. A [`TrustedSet`] replaces requests to a registry.

use super::{Approved, DigestHistory, HistoryChecked, HistoryVerdict, Stopped, pinned_digests};
use crate::{
    base::error::Error,
    config::Config,
    core::{
        checks::{
            ApprovedImage, Check, Code, Expected, JudgedStage, PinnedDigest, SetDocument, SetImage,
            StageResult, Status, any_failed, check_stages_on_forge, set::check_digest,
        },
        history::{Digests, Order, Promoted},
    },
    oci::{Digest, Revision, Tag, registry::resolve::ImageFacts},
};

/// The properties that a trusted set must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expectation<'e> {
    /// The hash of the document.
    pub sha256: Digest,
    /// The hash of the configuration that the set was verified against.
    pub config_sha256: Digest,
    pub revision: &'e Revision,
}

/// A set that was verified against the same configuration.
#[derive(Debug)]
pub(crate) struct TrustedSet {
    document: SetDocument,
    images: Vec<TrustedImage>,
    sha256: Digest,
}

/// One image of a trusted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrustedImage {
    pub tag: Tag,
    /// The digest that the tag resolved to.
    pub digest: Digest,
}

impl TrustedSet {
    /// Parses the document in the file `name`, after its hash was compared.
    pub(crate) fn parse(
        name: &str,
        bytes: &[u8],
        expected: &Expectation<'_>,
        config: &Config,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| Error::input(Code::FLEET_SET, format!("{name}: {reason}"));
        let sha256 = Digest::of(bytes);
        if sha256 != expected.sha256 {
            let (found, expected) = (sha256.hex(), expected.sha256.hex());
            return Err(refuse(format!(
                "its SHA-256 is {found}, expected {expected}"
            )));
        }
        let document: SetDocument =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        for (key, found, expected) in [
            ("schema", document.schema.as_str(), SetDocument::SCHEMA),
            ("revision", &document.revision, expected.revision.as_str()),
            (
                "config_sha256",
                &document.config_sha256,
                &expected.config_sha256.hex(),
            ),
        ] {
            if found != expected {
                return Err(refuse(format!("`{key}` is {found}, expected {expected}")));
            }
        }
        if any_failed(&document.checks) {
            return Err(refuse("one of its checks failed".to_owned()));
        }
        let images = images(&document, config).map_err(refuse)?;
        Ok(Self {
            document,
            images,
            sha256,
        })
    }

    /// The images, in the order of the fleet's configuration.
    pub(crate) fn images(&self) -> &[TrustedImage] {
        &self.images
    }

    /// The images of a repository, in the order of its configuration. `indices` are their indices in
    /// the fleet's configuration.
    pub(crate) fn images_of(&self, indices: &[usize]) -> Vec<Option<ApprovedImage>> {
        let mut images = Vec::new();
        for index in indices {
            let (image, row) = (&self.images[*index], &self.document.images[*index]);
            images.push(Some(ApprovedImage {
                tag: image.tag.clone(),
                facts: ImageFacts {
                    digest: image.digest,
                    media_type: row.image.media_type.clone(),
                    platforms: Vec::new(),
                },
            }));
        }
        images
    }

    /// The images of a repository with their checks, as its configuration `own` calls them.
    pub(crate) fn trusted_images(&self, indices: &[usize], own: &Config) -> TrustedImages {
        let mut checks = Vec::new();
        for (index, image) in indices.iter().zip(&own.images) {
            let name = &self.document.images[*index].image.name;
            for check in &self.document.checks {
                if check.image.as_ref() == Some(name) {
                    let set = self.sha256.hex();
                    checks.push(Check {
                        image: Some(image.name.clone()),
                        detail: format!("{}; verified for the fleet in set {set}", check.detail),
                        ..check.clone()
                    });
                }
            }
        }
        TrustedImages {
            images: self.images_of(indices),
            checks,
        }
    }

    /// The digests of the images that a repository must pin, as its configuration `own` calls them.
    pub(crate) fn pinned_digests(&self, indices: &[usize], own: &Config) -> Digests {
        pinned_digests(own, &self.images_of(indices))
    }

    /// The hash of the document.
    pub(crate) fn sha256(&self) -> Digest {
        self.sha256
    }

    pub(crate) fn document(&self) -> &SetDocument {
        &self.document
    }
}

/// The images of one repository that another run verified.
#[derive(Debug)]
pub(crate) struct TrustedImages {
    /// In the order of the repository's configuration.
    pub(super) images: Vec<Option<ApprovedImage>>,
    /// The checks, with the image names of that configuration.
    checks: Vec<Check>,
}

impl TrustedImages {
    /// The checks of the images, or an error if an image has no verdict.
    fn evidence(&self, config: &Config) -> Result<Vec<Check>, Error> {
        for (index, image) in config.images.iter().enumerate() {
            let found = self.images.get(index).and_then(Option::as_ref);
            if found.is_none()
                || !self
                    .checks
                    .iter()
                    .any(|check| check.image.as_ref() == Some(&image.name))
            {
                let reason = format!("it has no verdict on the image `{}`", image.name);
                return Err(Error::unavailable("the set", reason));
            }
        }
        Ok(self.checks.clone())
    }

    #[cfg(test)]
    pub(super) fn example(images: Vec<Option<ApprovedImage>>, checks: Vec<Check>) -> Self {
        Self { images, checks }
    }
}

impl HistoryChecked<'_> {
    /// The last stage with a set that another run verified. `order`: that of the builds, if it was unknown
    /// before. A rollback requires the digests that were pinned by the promotion.
    pub(crate) fn trusted(
        self,
        set: TrustedImages,
        stages: &[JudgedStage],
        order: Option<Order>,
        history: &dyn DigestHistory,
    ) -> Result<Approved, Stopped> {
        let mut checked = self;
        let (state, verdict) = (&checked.state, &checked.verdict);
        let mut result = verdict.check_order(state.config, state.revision, order);
        result.add(match set.evidence(state.config) {
            Ok(evidence) => StageResult::from(evidence),
            Err(error) => StageResult::from(vec![error]),
        });
        if let Some(promoted) = checked.verdict.promoted() {
            let checks = check_promoted_digests(state.config, &set.images, promoted);
            result.checks.extend(checks);
        }
        let digests = pinned_digests(state.config, &set.images);
        result.add(checked.check_digests(&digests, history));
        let state = checked.state;
        if let HistoryVerdict::Promotion { .. } = checked.verdict {
            let after = &state.config.promote.after;
            result.checks.extend(check_stages_on_forge(after, stages));
        }
        let images = &state.config.images;
        if images
            .iter()
            .any(|image| state.config.required_platforms(image).is_none())
        {
            result.checks.push(Check::new(
                Code::PLATFORM_LOST,
                Status::Skip,
                "the platforms of the pinned digests were not compared: a fleet verifies its set once for all \
                 repositories; `platforms` of the fleet declares those that are required",
            ));
        }
        let state = state.stage(result)?;
        Ok(state.approved(set.images))
    }
}

/// Compares the digests of a trusted set with those that its promotion pinned.
fn check_promoted_digests(
    config: &Config,
    images: &[Option<ApprovedImage>],
    promoted: &Promoted,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for (image, found) in config.images.iter().zip(images) {
        if image.pins > 0
            && let Some(pinned) = PinnedDigest::of(&image.name, promoted)
            && let Some(ApprovedImage { tag, facts }) = found
        {
            checks.push(check_digest(
                config,
                image,
                tag,
                &Expected::Pinned(pinned),
                facts,
            ));
        }
    }
    checks
}

/// The images of the document, which must be those of the configuration.
fn images(document: &SetDocument, config: &Config) -> Result<Vec<TrustedImage>, String> {
    let mut pairs = document.images.iter().zip(&config.images);
    let are_declared = pairs.all(|(SetImage { image, .. }, declared)| {
        image.name == declared.name && image.repository == declared.repository.to_string()
    });
    if !are_declared || document.images.len() != config.images.len() {
        return Err("its images are not those of the configuration".to_owned());
    }
    let mut images = Vec::new();
    for SetImage { image, .. } in &document.images {
        let (name, tag, digest) = (&image.name, &image.tag, &image.digest);
        images.push(TrustedImage {
            tag: Tag::parse(tag).map_err(|error| format!("{name}: {error}"))?,
            digest: digest.parse().map_err(|error| format!("{name}: {error}"))?,
        });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{config, oci::Pattern};

    fn config() -> Config {
        let text = "version: 1\nfleet: {}\nimages: { a: { repository: ghcr.io/acme/a } }\n";
        config::example(text)
    }

    fn set() -> Value {
        let digest = format!("sha256:{}", "1".repeat(64));
        json!({
            "schema": "repin.set/1", "revision": "abc",
            "images": [{
                "name": "a", "repository": "ghcr.io/acme/a", "tag": "abc", "digest": digest,
                "media_type": "application/vnd.oci.image.manifest.v1+json",
                "platforms": [{"platform": "linux/amd64", "digest": digest, "revision": "abc"}],
                "labels": {"x": null},
                "verified": [{
                    "require": "signature", "subject": digest, "platform": null, "bundle": "b",
                    "predicate_type": null, "signer": "s", "issuer": null, "source": null,
                    "commit": null, "commit_bound": false, "runner": null, "key": null,
                    "root": null, "time": null, "log": {"url": "u", "index": 1},
                }],
            }],
            "checks": [{
                "code": "tag_missing", "image": "a", "platform": null, "item": null,
                "status": "pass", "detail": "d", "help": null,
            }],
            "inventory": {digest.clone(): {"agents": ["a", "b"]}},
            "config_sha256": "5".repeat(64),
        })
    }

    fn parse(bytes: &[u8], sha256: Digest) -> Result<TrustedSet, Error> {
        let revision = Pattern::parse("[a-c]+").unwrap().revision("abc").unwrap();
        let expected = Expectation {
            sha256,
            config_sha256: Digest::from_hex(&"5".repeat(64)).unwrap(),
            revision: &revision,
        };
        TrustedSet::parse("set.json", bytes, &expected, &config())
    }

    #[test]
    fn set_document_round_trips() {
        let bytes = set().to_string().into_bytes();
        let trusted = parse(&bytes, Digest::of(&bytes)).unwrap();
        assert_eq!(serde_json::to_value(trusted.document()).unwrap(), set());
        let image = &trusted.images()[0];
        assert_eq!(image.digest.to_string(), set()["images"][0]["digest"]);
        assert_eq!(image.tag.as_str(), "abc");
    }

    #[test]
    fn image_has_only_its_own_checks() {
        let mut set = set();
        let mut other = set["checks"][0].clone();
        other["image"] = json!("b");
        set["checks"].as_array_mut().unwrap().push(other);
        let bytes = set.to_string().into_bytes();
        let trusted = parse(&bytes, Digest::of(&bytes)).unwrap();
        let images = trusted.trusted_images(&[0], &config());
        assert_eq!((images.images.len(), images.checks.len()), (1, 1));
    }

    #[test]
    fn changed_set_document_is_refused() {
        let bytes = set().to_string().into_bytes();
        let sha256 = Digest::of(&bytes);
        for offset in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[offset] ^= 1;
            let error = parse(&changed, sha256).unwrap_err();
            assert_eq!((error.code, error.class.exit_code()), (Code::FLEET_SET, 2));
            assert!(error.message.contains("its SHA-256 is"), "{error}");
        }
        assert!(parse(&[bytes.as_slice(), b"\n"].concat(), sha256).is_err());
    }

    #[test]
    fn other_set_is_refused_with_its_own_hash() {
        for (pointer, value, reason) in [
            ("/schema", json!("repin.other"), "`schema` is repin.other"),
            ("/revision", json!("abb"), "`revision` is abb, expected abc"),
            (
                "/config_sha256",
                json!("6".repeat(64)),
                "`config_sha256` is 66",
            ),
            (
                "/checks/0/status",
                json!("fail"),
                "one of its checks failed",
            ),
            ("/checks/0/code", json!("no_such_code"), "no_such_code"),
            ("/images", json!([]), "not those of the configuration"),
            (
                "/images/0/repository",
                json!("ghcr.io/acme/b"),
                "not those of",
            ),
            ("/images/0/name", json!("b"), "not those of"),
            ("/images/0/digest", json!("sha256:1"), "a: "),
            ("/images/0/tag", json!("a b"), "a: "),
        ] {
            let mut other = set();
            *other.pointer_mut(pointer).unwrap() = value;
            let bytes = other.to_string().into_bytes();
            let error = parse(&bytes, Digest::of(&bytes)).unwrap_err();
            assert!(error.message.contains(reason), "{pointer}: {error}");
        }
    }
}

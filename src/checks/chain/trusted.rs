//! A set that another run verified, trusted by the hash of its document.
//!
//! The hash comes from the job that verified the set, and is all that is trusted: the file may have
//! been anywhere. A [`TrustedSet`] replaces requests to a registry.

use super::{Approved, ApprovedImage, ByDigests, Grounded, Stopped, pinned_digests};
use crate::{
    checks::{
        Check, Code, Expected, SetDocument, SetImage, Status, Target, any_failed, set::digest,
    },
    config::Config,
    error::Error,
    history::Promoted,
    oci::{Digest, Revision, Tag},
    registry::resolve::ImageFacts,
};

/// The properties that a trusted set must have.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'e> {
    /// The hash of its file.
    pub sha256: Digest,
    /// The hash of the configuration that it was verified against.
    pub config_sha256: Digest,
    /// Its revision.
    pub revision: &'e Revision,
}

/// A set that was verified against the same configuration.
#[derive(Debug)]
pub struct TrustedSet {
    document: SetDocument,
    images: Vec<TrustedImage>,
    sha256: Digest,
}

/// One image of a trusted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedImage {
    /// The tag of the revision.
    pub tag: Tag,
    /// The digest that the tag resolved to.
    pub digest: Digest,
}

impl TrustedSet {
    /// Reads the file `name` of a set; refuses any but the expected one before it is parsed.
    pub fn read(
        name: &str,
        bytes: &[u8],
        expected: &Expectation<'_>,
        config: &Config,
    ) -> Result<Self, Error> {
        let wrong = |reason: String| Error::input(Code::FLEET_SET, format!("{name}: {reason}"));
        let found = Digest::of(bytes);
        if found != expected.sha256 {
            let (found, wanted) = (found.hex(), expected.sha256.hex());
            return Err(wrong(format!("its SHA-256 is {found}, expected {wanted}")));
        }
        let document: SetDocument =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let pairs = [
            ("schema", document.schema.as_str(), SetDocument::SCHEMA),
            ("revision", &document.revision, expected.revision.as_str()),
            (
                "config_sha256",
                &document.config_sha256,
                &expected.config_sha256.hex(),
            ),
        ];
        if let Some((key, found, wanted)) = pairs.iter().find(|(_, found, wanted)| found != wanted)
        {
            return Err(wrong(format!("`{key}` is {found}, expected {wanted}")));
        }
        if any_failed(&document.checks) {
            return Err(wrong("one of its checks failed".to_owned()));
        }
        let images = images(&document, config).map_err(wrong)?;
        Ok(Self {
            document,
            images,
            sha256: expected.sha256,
        })
    }

    /// The images, in the order of the fleet's configuration.
    pub fn images(&self) -> &[TrustedImage] {
        &self.images
    }

    /// The images of a repository, in the order of its configuration `own`; `places`: where each is
    /// among the fleet's.
    pub fn images_of(&self, places: &[usize]) -> Vec<ApprovedImage> {
        let image = |at: &usize| {
            let (image, row) = (&self.images[*at], &self.document.images[*at]);
            ApprovedImage {
                tag: image.tag.clone(),
                facts: Some(ImageFacts {
                    digest: image.digest,
                    media_type: row.media_type.clone(),
                    platforms: Vec::new(),
                }),
            }
        };
        places.iter().map(image).collect()
    }

    /// The images of a repository with their checks, by the names that they have in `own`.
    pub fn trusted_images(&self, places: &[usize], own: &Config) -> TrustedImages {
        let mut checks = Vec::new();
        for (at, image) in places.iter().zip(&own.images) {
            let name = &self.document.images[*at].name;
            for check in &self.document.checks {
                if check.image.as_ref() == Some(name) {
                    let set = self.sha256.hex();
                    checks.push(Check {
                        image: Some(image.name.clone()),
                        detail: format!("{}; verified once, set {set}", check.detail),
                        ..check.clone()
                    });
                }
            }
        }
        TrustedImages {
            images: self.images_of(places),
            checks,
        }
    }

    /// The hash of its file.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The document.
    pub fn document(&self) -> &SetDocument {
        &self.document
    }
}

/// The images of one repository that another run verified.
#[derive(Debug)]
pub struct TrustedImages {
    /// The images, in the order of the repository's configuration.
    pub(super) images: Vec<ApprovedImage>,
    /// Their checks, with the names of that configuration.
    checks: Vec<Check>,
}

impl TrustedImages {
    /// The checks of the images, or an error if the set lacks the verdict on one of them.
    pub(super) fn evidence(&self, config: &Config) -> Result<Vec<Check>, Error> {
        for (at, image) in config.images.iter().enumerate() {
            let found = self.images.get(at).and_then(|image| image.facts.as_ref());
            let is_judged = |check: &Check| check.image.as_ref() == Some(&image.name);
            if found.is_none() || !self.checks.iter().any(is_judged) {
                let reason = format!("it has no verdict on the image `{}`", image.name);
                return Err(Error::unavailable("the set", reason));
            }
        }
        Ok(self.checks.clone())
    }

    #[cfg(test)]
    pub(super) fn example(images: Vec<ApprovedImage>, checks: Vec<Check>) -> Self {
        Self { images, checks }
    }
}

impl Grounded<'_> {
    /// The last stage with a set that was verified before: in a rollback it must be the one that was
    /// pinned then.
    pub fn trusted(self, set: TrustedImages, history: &dyn ByDigests) -> Result<Approved, Stopped> {
        let (so_far, mut ground) = (self.so_far, self.ground);
        let (mut checks, mut outages) = match set.evidence(so_far.config) {
            Ok(evidence) => (evidence, Vec::new()),
            Err(outage) => (Vec::new(), vec![outage]),
        };
        if let Some(promoted) = ground.promoted() {
            checks.extend(same_digests(so_far.config, &set.images, promoted));
        }
        let digests = pinned_digests(so_far.config, &set.images);
        let (further, unjudged) = ground.judge_digests(so_far.revision, &digests, history);
        checks.extend(further);
        outages.extend(unjudged);
        checks.push(Check::new(
            Code::PLATFORM_LOST,
            Status::Skip,
            "the platforms of the pinned digests were not compared: a repository of a fleet asks no registry",
        ));
        let so_far = so_far.stage((checks, outages))?;
        Ok(so_far.approved(set.images))
    }
}

/// The checks that a trusted set has the digests that a commit pinned.
fn same_digests(config: &Config, images: &[ApprovedImage], promoted: &Promoted) -> Vec<Check> {
    let mut checks = Vec::new();
    for (image, found) in config.images.iter().zip(images) {
        let then = promoted.images.get(&image.name).filter(|_| image.pins > 0);
        let (Some(then), Some(facts)) = (then, &found.facts) else {
            continue;
        };
        let target = Target {
            tag: found.tag.clone(),
            expected: Some(Expected::PinnedBy(promoted.commit.short(), *then)),
            pinned: Vec::new(),
        };
        checks.extend(digest(image, &target, facts));
    }
    checks
}

/// The images of the document, which must be those of the configuration.
fn images(document: &SetDocument, config: &Config) -> Result<Vec<TrustedImage>, String> {
    let declared = config.images.iter();
    let declared: Vec<_> = declared
        .map(|image| (image.name.clone(), image.repository.to_string()))
        .collect();
    let listed = document.images.iter();
    let listed: Vec<_> = listed
        .map(|image| (image.name.clone(), image.repository.clone()))
        .collect();
    if declared != listed {
        return Err("its images are not those of the configuration".to_owned());
    }
    let image = |image: &SetImage| {
        let tag = Tag::parse(&image.tag).map_err(|error| format!("{}: {error}", image.name))?;
        let digest = image.digest.parse();
        let digest = digest.map_err(|error| format!("{}: {error}", image.name))?;
        Ok(TrustedImage { tag, digest })
    };
    document.images.iter().map(image).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::{config, error::SourceText, oci::Pattern};

    fn config() -> Config {
        let text = "version: 1\nfleet: {}\nimages: { a: { repository: ghcr.io/acme/a } }\n";
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: text.into(),
        };
        config::parse(&source, Path::new("/root")).unwrap()
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

    fn read(bytes: &[u8], sha256: Digest) -> Result<TrustedSet, Error> {
        let revision = Pattern::parse("[a-c]+").unwrap().revision("abc").unwrap();
        let expected = Expectation {
            sha256,
            config_sha256: Digest::from_hex(&"5".repeat(64)).unwrap(),
            revision: &revision,
        };
        TrustedSet::read("set.json", bytes, &expected, &config())
    }

    #[test]
    fn set_is_read_as_it_was_written() {
        let bytes = set().to_string().into_bytes();
        let believed = read(&bytes, Digest::of(&bytes)).unwrap();
        assert_eq!(serde_json::to_value(believed.document()).unwrap(), set());
        let image = &believed.images()[0];
        assert_eq!(image.digest.to_string(), set()["images"][0]["digest"]);
        assert_eq!(image.tag.as_str(), "abc");
    }

    #[test]
    fn no_byte_of_a_set_can_be_changed() {
        let bytes = set().to_string().into_bytes();
        let sha256 = Digest::of(&bytes);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let error = read(&changed, sha256).unwrap_err();
            assert_eq!((error.code, error.class.exit_code()), (Code::FLEET_SET, 2));
            assert!(error.message.contains("its SHA-256 is"), "{error}");
        }
        assert!(read(&[bytes.as_slice(), b"\n"].concat(), sha256).is_err());
    }

    #[test]
    fn set_of_something_else_is_refused_even_with_its_own_hash() {
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
            let error = read(&bytes, Digest::of(&bytes)).unwrap_err();
            assert!(error.message.contains(reason), "{pointer}: {error}");
        }
    }
}

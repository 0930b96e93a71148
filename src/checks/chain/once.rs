//! The end of a chain with a set that another run verified: its images are believed, and only pins
//! and history are judged here.
//!
//! Whether the set may be believed was decided before, by its hash. Every image of the repository
//! must have a verdict in it, and none that failed.

use super::{Approved, ApprovedImage, Ordered, Proven, SoFar, Stopped};
use crate::{
    checks::{
        Check, Code, Expected, Status, Target,
        past::{hold_by_content, provenance_by_content},
        set::digest,
    },
    config::Config,
    error::Error,
    history::{Digests, Hold, Provenance},
};

/// The images of one repository, as another run verified them.
#[derive(Debug)]
pub struct VerifiedOnce {
    /// The images, in the order of the repository's configuration.
    pub images: Vec<ApprovedImage>,
    /// What was verified, with the names of that configuration.
    pub checks: Vec<Check>,
}

impl VerifiedOnce {
    /// The digests of the images that are pinned.
    fn digests(&self, config: &Config) -> Digests {
        let images = config.images.iter().zip(&self.images);
        let pinned = images.filter(|(image, _)| image.pins > 0);
        pinned
            .filter_map(|(image, found)| Some((image.name.clone(), found.facts.as_ref()?.digest)))
            .collect()
    }

    /// The evidence of a chain, or why the set says too little about the repository's images.
    fn evidence(&self, config: &Config) -> Result<Vec<Check>, Error> {
        let incomplete = |image: &str| {
            Error::unavailable(
                "the set",
                format!("it has no verdict on the image `{image}`"),
            )
        };
        for (at, image) in config.images.iter().enumerate() {
            let found = self.images.get(at).and_then(|image| image.facts.as_ref());
            let judged = self
                .checks
                .iter()
                .any(|check| check.image.as_ref() == Some(&image.name));
            if found.is_none() || !judged {
                return Err(incomplete(&image.name));
            }
        }
        Ok(self.checks.clone())
    }
}

impl SoFar<'_> {
    /// Ends a chain with a believed set and further checks about it.
    fn ended(
        self,
        set: VerifiedOnce,
        mut further: Vec<Check>,
        outages: Vec<Error>,
    ) -> Result<Approved, Stopped> {
        let (mut checks, mut stopping) = (Vec::new(), outages);
        match set.evidence(self.config) {
            Ok(evidence) => checks.extend(evidence),
            Err(outage) => stopping.push(outage),
        }
        checks.append(&mut further);
        checks.push(Check::new(
            Code::PLATFORM_LOST,
            Status::Skip,
            "the platforms of the pinned digests were not compared: a repository of a fleet asks no registry",
        ));
        let revision = self.revision.clone();
        let so_far = self.stage((checks, stopping))?;
        Ok(Approved {
            revision,
            images: set.images,
            checks: so_far.checks,
        })
    }
}

impl Ordered<'_> {
    /// The last stage of a promote with a set that was verified once. `hold` tells whether a rollback
    /// undid a set with the given digests.
    pub fn verified_once<'h>(
        self,
        set: VerifiedOnce,
        hold: impl FnOnce(&Digests) -> Hold<'h>,
    ) -> Result<Approved, Stopped> {
        let hold = hold(&set.digests(self.so_far.config));
        let undone = hold_by_content(self.so_far.revision, &hold, self.overruled.rolled_back);
        self.so_far
            .ended(set, undone.into_iter().collect(), Vec::new())
    }
}

impl Proven<'_> {
    /// The last stage of a rollback with a set that was verified once: it must be the one that was
    /// pinned then. `provenance` finds the commit that pinned digests together; it is called if no
    /// title names one.
    pub fn verified_once(
        self,
        set: VerifiedOnce,
        provenance: impl FnOnce(&Digests) -> Provenance,
    ) -> Result<Approved, Stopped> {
        let config = self.so_far.config;
        let (mut checks, mut outages) = (Vec::new(), Vec::new());
        if let Some(promoted) = &self.promoted {
            for (image, found) in config.images.iter().zip(&set.images) {
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
        } else {
            let (check, outage) = provenance_by_content(&provenance(&set.digests(config)));
            checks.push(check);
            outages.extend(outage);
        }
        self.so_far.ended(set, checks, outages)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        checks::{RecentOrder, RecentPast, chain::Counted},
        config,
        error::SourceText,
        git::ObjectId,
        history::{Order, Promoted},
        oci::{Digest, Pattern, Tag},
        pins::Found,
        registry::resolve::ImageFacts,
    };

    fn config() -> Config {
        let image =
            |(name, pins)| format!("  {name}: {{ repository: r.example/{name}, pins: {pins} }}\n");
        let images = [("a", 1), ("b", 1), ("base", 0)].map(image).concat();
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: format!("version: 1\nfiles: [x]\nimages:\n{images}").into(),
        };
        config::parse(&source, Path::new("/root")).unwrap()
    }

    fn image(digest: &[u8]) -> ApprovedImage {
        ApprovedImage {
            tag: Tag::parse("x").unwrap(),
            facts: Some(ImageFacts {
                digest: Digest::of(digest),
                media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
                platforms: Vec::new(),
            }),
        }
    }

    fn verdict(name: &str, status: Status) -> Check {
        Check::new(Code::REVISION_LABEL, status, "as expected").image(name)
    }

    fn set() -> VerifiedOnce {
        VerifiedOnce {
            images: vec![image(b"a"), image(b"b"), image(b"base")],
            checks: ["a", "b", "base"]
                .map(|name| verdict(name, Status::Pass))
                .into(),
        }
    }

    /// The digests of the images that must be pinned.
    fn pinned() -> Digests {
        let digest = |name: &str| (name.to_owned(), Digest::of(name.as_bytes()));
        ["a", "b"].map(digest).into()
    }

    /// A chain of an empty repository whose counts nobody judges here.
    fn so_far<'c>(config: &'c Config, revision: &'c crate::oci::Revision) -> SoFar<'c> {
        SoFar {
            config,
            revision,
            checks: Vec::new(),
        }
    }

    fn ordered<'c>(config: &'c Config, revision: &'c crate::oci::Revision) -> Ordered<'c> {
        let chain = Counted {
            so_far: so_far(config, revision),
        };
        let past = RecentPast {
            order: RecentOrder::Judged(Order::Same),
            hold: Hold::Free,
            blind_spot: None,
            shows_beginning: true,
            enough: false,
        };
        chain.ordered_recently(&past).unwrap()
    }

    #[test]
    fn set_with_a_verdict_on_each_image_is_approved() {
        let (config, revision) = (
            config(),
            Pattern::parse("x").unwrap().revision("x").unwrap(),
        );
        let approved = ordered(&config, &revision)
            .verified_once(set(), |digests| {
                assert_eq!(*digests, pinned());
                Hold::Free
            })
            .unwrap();
        let digests: Vec<_> = approved
            .images()
            .iter()
            .map(|image| image.facts.as_ref().unwrap().digest)
            .collect();
        let names: [&[u8]; 3] = [b"a", b"b", b"base"];
        assert_eq!(digests, names.map(Digest::of));
        let codes: Vec<_> = approved
            .checks()
            .iter()
            .map(|check| check.code.as_str())
            .collect();
        let expected = [
            "revision_order",
            "rolled_back",
            "revision_label",
            "revision_label",
            "revision_label",
            "platform_lost",
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn missing_or_failed_verdict_stops_the_chain() {
        let (config, revision) = (
            config(),
            Pattern::parse("x").unwrap().revision("x").unwrap(),
        );
        let stopped = |set| {
            let chain = ordered(&config, &revision);
            chain.verified_once(set, |_| Hold::Free).unwrap_err()
        };
        let mut without = set();
        without.checks.pop();
        assert!(
            stopped(without).outages[0]
                .to_string()
                .contains("no verdict on the image `base`")
        );
        let mut fewer = set();
        fewer.images.pop();
        assert_eq!(stopped(fewer).outages.len(), 1);
        let mut failed = set();
        failed.checks[0] = verdict("a", Status::Fail);
        assert!(stopped(failed).outages.is_empty());
        // An empty repository lacks its pins before anything else is judged.
        assert!(Counted::new(&config, &revision, &Found::default(), Vec::new()).is_err());
    }

    #[test]
    fn rollback_needs_the_digests_that_were_pinned_then() {
        let (config, revision) = (
            config(),
            Pattern::parse("x").unwrap().revision("x").unwrap(),
        );
        let proven = |b: &[u8]| Proven {
            so_far: so_far(&config, &revision),
            promoted: Some(Promoted {
                commit: ObjectId::parse(&[b'a'; 40]).unwrap(),
                date: String::new(),
                // What an image with `pins: 0` was pinned to does not matter.
                images: [("a", &b"a"[..]), ("b", b), ("base", b"other")]
                    .map(|(name, digest)| (name.to_owned(), Digest::of(digest)))
                    .into(),
                contracts: ObjectId::parse(&[b'a'; 40]).unwrap(),
            }),
        };
        let found = |_: &Digests| Provenance::Never;
        assert!(proven(b"b").verified_once(set(), found).is_ok());
        let stopped = proven(b"other").verified_once(set(), found).unwrap_err();
        let failed: Vec<_> = stopped
            .checks
            .iter()
            .filter(|check| check.status == Status::Fail)
            .map(|check| (check.code, check.image.as_deref()))
            .collect();
        assert_eq!(failed, [(Code::DIGEST_MISMATCH, Some("b"))]);
        // Without a title, the digests decide.
        let by_content = || Proven {
            so_far: so_far(&config, &revision),
            promoted: None,
        };
        let stopped = by_content().verified_once(set(), found).unwrap_err();
        assert!(
            stopped
                .checks
                .iter()
                .any(|check| check.code == Code::PROVENANCE_CONTENT)
        );
        assert!(stopped.outages.is_empty());
        let stopped = by_content().verified_once(set(), |digests| {
            assert_eq!(*digests, pinned());
            Provenance::Shallow
        });
        assert_eq!(stopped.unwrap_err().outages.len(), 1);
    }
}

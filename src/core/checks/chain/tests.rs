use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    base::error::SourceText,
    config,
    core::{
        checks::{Extent, HistoryFacts, Overrides, Resolution, set::Target},
        history::{HeldDigest, HeldImage, Hold, Order, Provenance},
        pins::FoundPins,
    },
    git::ObjectId,
    oci::{Digest, Pattern, Tag, TagPattern, registry::NoTag},
};

fn config() -> Config {
    let image =
        |(name, pins)| format!("  {name}: {{ repository: r.example/{name}, pins: {pins} }}\n");
    let images = [("a", 1), ("b", 1), ("base", 0)].map(image).concat();
    config::example(&format!("version: 1\nfiles: [x]\nimages:\n{images}"))
}

fn revision() -> Revision {
    Pattern::parse("x").unwrap().revision("x").unwrap()
}

fn image(digest: &[u8]) -> ApprovedImage {
    ApprovedImage {
        tag: crate::oci::Tag::parse("x").unwrap(),
        facts: ImageFacts {
            digest: Digest::of(digest),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            platforms: Vec::new(),
        },
    }
}

fn verdict(name: &str, status: Status) -> Check {
    Check::new(Code::REVISION_LABEL, status, "as expected").image(name)
}

/// A trusted set, without a verdict on the image `base` unless `is_complete`.
fn set(is_complete: bool, first: Status) -> TrustedImages {
    let mut checks = vec![verdict("a", first), verdict("b", Status::Pass)];
    if is_complete {
        checks.push(verdict("base", Status::Pass));
    }
    TrustedImages::example(
        [b"a" as &[u8], b"b", b"base"].map(image).map(Some).into(),
        checks,
    )
}

/// The digests of the images with pins.
fn pinned() -> Digests {
    let digest = |name: &str| (name.to_owned(), Digest::of(name.as_bytes()));
    ["a", "b"].map(digest).into()
}

/// A history without a hold, with this provenance for every set.
struct FakeHistory(Provenance);

impl DigestHistory for FakeHistory {
    fn hold(&self, digests: &Digests, _: &Digests) -> Hold {
        assert_eq!(*digests, pinned());
        Hold::default()
    }

    fn provenance(&self, digests: &Digests) -> Provenance {
        assert_eq!(*digests, pinned());
        self.0.clone()
    }
}

/// A promotion's chain after history, without counted pins.
fn not_older<'c>(config: &'c Config, revision: &'c Revision) -> HistoryChecked<'c> {
    let chain = Counted {
        state: ChainState::new(config, revision),
        pinned: Digests::new(),
    };
    let facts = HistoryFacts::Known {
        order: Order::Same,
        recorded_hold: Hold::default(),
        blind_spot: None,
        extent: Extent::Fleet {
            accept_unknown: false,
        },
    };
    chain.not_older(&facts, Overrides::default()).unwrap()
}

#[test]
fn set_with_all_verdicts_is_approved() {
    let (config, revision) = (config(), revision());
    let history = FakeHistory(Provenance::Never);
    let approved = not_older(&config, &revision)
        .trusted(set(true, Status::Pass), &[], None, &history)
        .unwrap();
    assert_eq!(approved.pinned_digests(&config), pinned());
    let digests: Vec<_> = approved
        .images()
        .iter()
        .map(|image| image.as_ref().unwrap().facts.digest)
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
        "revision_label",
        "revision_label",
        "revision_label",
        "rolled_back",
        "platform_lost",
    ];
    assert_eq!(codes, expected);
}

#[test]
fn missing_tag_does_not_hide_that_the_digests_are_held() {
    struct HeldByDigests(HeldDigest);
    impl DigestHistory for HeldByDigests {
        fn hold(&self, _: &Digests, _: &Digests) -> Hold {
            let name = "a".to_owned();
            Hold {
                held: vec![HeldImage {
                    name,
                    hold: self.0.clone(),
                }],
                ..Hold::default()
            }
        }

        fn provenance(&self, _: &Digests) -> Provenance {
            Provenance::Never
        }
    }
    let history = HeldByDigests(HeldDigest {
        digest: Digest::of(b"a"),
        set: config().set_path,
        image: "a".to_owned(),
        commit: ObjectId::parse(&[b'a'; 40]).unwrap(),
        date: String::new(),
        is_elsewhere: false,
        is_imported: false,
        position: 0,
    });
    let (config, revision) = (config(), revision());
    let mut chain = not_older(&config, &revision);
    let HistoryVerdict::Promotion { extent, .. } = &mut chain.verdict else {
        unreachable!("`not_older` is for promotions");
    };
    *extent = Some(Extent::Clone);
    let missing = |_: &_| Resolution {
        target: Target::new(TagPattern::Tag(Tag::parse("x").unwrap())),
        found: Err(NoTag::Missing),
        recorded: None,
        bypassed: None,
        old_platforms: Vec::new(),
    };
    let resolutions: Vec<_> = config.images.iter().map(missing).collect();
    let stopped = chain.resolved(&resolutions, None, &history).unwrap_err();
    let failed: Vec<_> = stopped.checks.iter().map(|check| check.code).collect();
    assert!(failed.contains(&Code::TAG_MISSING), "{failed:?}");
    let hold = |check: &&Check| check.code == Code::ROLLED_BACK && check.status == Status::Fail;
    assert_eq!(stopped.checks.iter().filter(hold).count(), 1, "{failed:?}");
}

#[test]
fn images_of_a_fleet_share_no_digest() {
    let text = |fleet: &str| {
        let images = "images: { a: { repository: r.example/a, pins: 0 }, b: { repository: r.example/b, pins: 1 } }";
        SourceText {
            name: "repin.yaml".to_owned(),
            text: format!("version: 1\nfiles: [x]\n{fleet}{images}\n").into(),
        }
    };
    let shared = |fleet| {
        let set = crate::config::SetPath::top();
        let config = config::parse(&text(fleet), Path::new("/root"), &set).unwrap();
        let digest = Digest::of(b"a");
        check_shared_digests(&config, &[(0, digest), (1, digest)]).len()
    };
    assert_eq!((shared(""), shared("fleet: {}\n")), (0, 1));
}

#[test]
fn unexamined_stage_stops_the_chain() {
    let config = config::example(
        "version: 1\nfiles: [x]\npromote: { after: [{ set: a/repin.yaml }] }\nimages:\n  a: { repository: r.example/a, pins: 1 }\n",
    );
    let revision = revision();
    let history = HistoryVerdict::Promotion {
        overrides: Overrides::default(),
        open_order: None,
        extent: None,
        rechecks_shallow_hold: false,
    };
    let images = Images::new(ChainState::new(&config, &revision), Vec::new(), history);
    assert_eq!(images.staged(&[]).unwrap_err().errors.len(), 1);
}

#[test]
fn missing_or_failed_verdict_stops_the_chain() {
    let (config, revision) = (config(), revision());
    let history = FakeHistory(Provenance::Never);
    let stopped = |set| {
        let chain = not_older(&config, &revision);
        chain.trusted(set, &[], None, &history).unwrap_err()
    };
    let incomplete = stopped(set(false, Status::Pass));
    let error = incomplete.errors[0].to_string();
    assert!(error.contains("no verdict on the image `base`"), "{error}");
    let mut fewer = set(true, Status::Pass);
    fewer.images.pop();
    assert_eq!(stopped(fewer).errors.len(), 1);
    let failed = stopped(set(true, Status::Fail));
    assert!(failed.errors.is_empty());
    // The first stage refuses a repository without pins.
    assert!(Counted::new(&config, &revision, &FoundPins::default(), Vec::new()).is_err());
}

/// The skip of an image without pins after an error in a stage of a rollback.
fn skip_after_error<S: ImageStage>() -> (Code, Status) {
    let (config, revision) = (config(), revision());
    let images = Images::<_, S>::new(
        ChainState::new(&config, &revision),
        [b"a" as &[u8], b"b", b"base"].map(image).map(Some).into(),
        HistoryVerdict::Rollback(None),
    );
    let mut stage = images.start::<S>(|_, image, _| usize::from(image == 2));
    let base = stage.pending().next().unwrap();
    stage.record(base, Err(vec![Error::unavailable("r.example", "timeout")]));
    let check = &stage.finish().unwrap().state.checks[0];
    assert_eq!(check.image.as_deref(), Some("base"));
    (check.code, check.status)
}

#[test]
fn skipped_outage_has_the_code_of_its_stage() {
    let skip = |code| (code, Status::Skip);
    assert_eq!(
        skip_after_error::<Signatures>(),
        skip(Code::SIGNATURE_MISSING)
    );
    assert_eq!(
        skip_after_error::<Contents>(),
        skip(Code::ENUMERATION_FAILED)
    );
    assert_eq!(skip_after_error::<Smoke>(), skip(Code::SMOKE_UNAVAILABLE));
}

#[test]
fn rollback_requires_the_digests_of_the_promotion() {
    let (config, revision) = (config(), revision());
    let chain = |promoted: Option<&[u8]>| {
        let promoted = promoted.map(|b| Promoted {
            former_path: None,
            introduced: Arc::default(),
            commit: ObjectId::parse(&[b'a'; 40]).unwrap(),
            date: String::new(),
            // The digest of an image with `pins: 0` does not matter.
            images: [("a", &b"a"[..]), ("b", b), ("base", b"other")]
                .map(|(name, digest)| (name.to_owned(), Digest::of(digest)))
                .into(),
            contracts: ObjectId::parse(&[b'a'; 40]).unwrap(),
        });
        HistoryChecked {
            pinned: Digests::new(),
            state: ChainState::new(&config, &revision),
            verdict: HistoryVerdict::Rollback(promoted),
        }
    };
    let trusted = |promoted, provenance| {
        chain(promoted).trusted(set(true, Status::Pass), &[], None, &FakeHistory(provenance))
    };
    assert!(trusted(Some(b"b"), Provenance::Never).is_ok());
    let stopped = trusted(Some(b"other"), Provenance::Never).unwrap_err();
    let failed: Vec<_> = stopped
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| (check.code, check.image.as_deref()))
        .collect();
    assert_eq!(failed, [(Code::DIGEST_MISMATCH, Some("b"))]);
    // Without a recorded revision, the digests identify the set.
    let stopped = trusted(None, Provenance::Never).unwrap_err();
    let is_by_content = |check: &Check| check.code == Code::PROVENANCE_CONTENT;
    assert!(stopped.checks.iter().any(is_by_content));
    assert!(stopped.errors.is_empty());
    let stopped = trusted(None, Provenance::Shallow).unwrap_err();
    assert_eq!(stopped.errors.len(), 1);
}

//! Verdicts of `check --remote`: status, locations and errors.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    base::files::RelPath,
    core::{
        checks::contents::tests::platform_facts,
        pins::{Located, Pin},
    },
    oci::Platform,
};

fn config() -> Config {
    let text = "version: 1\nfiles: [a]\nrevision: { label: rev, pattern: '[a-f]{4}' }\nimages:\n  api: { repository: x.y/api, pins: 1 }\n  web: { repository: x.y/web, pins: 1 }\n";
    crate::config::example(text)
}

fn digest(digit: char) -> Digest {
    Digest::from_hex(&digit.to_string().repeat(64)).unwrap()
}

/// One pin of each image, on the line of its place in the configuration.
fn pins() -> FoundPins {
    let pin = |image: usize| Located {
        file: Arc::new(RelPath::parse("ci.yml").unwrap()),
        item: Pin {
            tag_at: 0,
            image,
            line: image + 1,
            column: 1,
            offset: 0,
            tag: None,
            digest: digest('a'),
            split: None,
            comment: None,
        },
    };
    [pin(0), pin(1)].into_iter().collect()
}

/// An image with these labels on its platforms.
#[expect(clippy::unnecessary_wraps, reason = "the type of `PinnedImage::facts`")]
fn labeled(labels: &[Option<&str>]) -> Result<Option<ImageFacts>, Error> {
    let platforms = labels.iter().enumerate().map(|(index, label)| {
        let mut facts = platform_facts(&[]);
        facts.platform.architecture = format!("cpu{index}");
        facts.config.platform = facts.platform.clone();
        let labels = label.map(|label| ("rev".to_owned(), label.to_owned()));
        facts.config.labels.extend(labels);
        facts
    });
    Ok(Some(ImageFacts {
        digest: digest('a'),
        media_type: String::new(),
        platforms: platforms.collect(),
    }))
}

/// `status code image @lines` of each check, the number of errors, and the revision.
fn results(found: [Result<Option<ImageFacts>, Error>; 2]) -> (Vec<String>, usize, Option<String>) {
    let pinned: Vec<_> = found
        .into_iter()
        .enumerate()
        .map(|(image, facts)| PinnedImage {
            image,
            digest: digest('a'),
            facts,
        })
        .collect();
    let (checks, errors, revision) = check_pinned_images(&config(), &pinned, &pins());
    let lines = checks.iter().map(line).collect();
    (
        lines,
        errors.len(),
        revision.map(|revision| revision.to_string()),
    )
}

fn line(check: &Check) -> String {
    let lines: Vec<_> = check
        .locations
        .iter()
        .map(|location| location.line)
        .collect();
    format!(
        "{} {} {} {lines:?}",
        check.status.as_str(),
        check.code,
        check.image.as_deref().unwrap_or("-")
    )
}

#[test]
fn only_failed_checks_have_places() {
    let both = results([labeled(&[Some("beef")]), labeled(&[Some("beef")])]);
    let expected = [
        "pass digest_missing api []",
        "pass revision_label api []",
        "pass digest_missing web []",
        "pass revision_label web []",
        "pass set_disagree - []",
    ];
    assert_eq!(both.0, expected);
    assert_eq!((both.1, both.2.as_deref()), (0, Some("beef")));
    let one = results([Ok(None), labeled(&[None])]);
    let expected = [
        "fail digest_missing api [1]",
        "pass digest_missing web []",
        "fail revision_label web [2]",
    ];
    assert_eq!(
        (one.0, one.1, one.2),
        (expected.map(str::to_owned).to_vec(), 0, None)
    );
}

#[test]
fn unavailable_digest_is_an_outage_and_ambiguity_fails() {
    let unavailable = Error::unavailable("x.y/api", "timeout");
    let ambiguous = Error::about(Class::Ambiguous, "x.y/web", "two media types");
    let (lines, errors, revision) = results([Err(unavailable), Err(ambiguous)]);
    let expected = [
        "skip digest_missing api []",
        "fail manifest_ambiguous web [2]",
    ];
    assert_eq!(lines, expected);
    assert_eq!((errors, revision), (1, None));
}

#[test]
fn agreement_states_how_many_images_have_a_revision() {
    let (api, web) = ("api".to_owned(), "web".to_owned());
    let beef = config().revision.pattern.revision("beef").unwrap();
    for (other, expected) in [
        (Some(beef.clone()), "of every image is beef"),
        (None, "of 1 of 2 images is beef; the others are unknown"),
    ] {
        let mut checks = Vec::new();
        let revisions = [(&api, Some(beef.clone())), (&web, other)];
        common_revision(&revisions, &mut checks);
        assert!(checks[0].detail.ends_with(expected), "{}", checks[0].detail);
    }
}

#[test]
fn revision_requires_every_platform_of_every_image() {
    let beef = || labeled(&[Some("beef"), Some("beef")]);
    let revision = |first, second| results([first, second]).2;
    assert_eq!(revision(beef(), beef()).as_deref(), Some("beef"));
    for other in [
        labeled(&[Some("beef"), None]),
        labeled(&[Some("beef"), Some("dead")]),
        labeled(&[Some("beef"), Some("none")]),
        labeled(&[Some("dead"), Some("dead")]),
        labeled(&[None, None]),
    ] {
        assert_eq!(revision(beef(), other.clone()), None);
        assert_eq!(revision(other, beef()), None);
    }
    let (lines, ..) = results([labeled(&[Some("beef"), Some("dead")]), Ok(None)]);
    let expected = [
        "pass digest_missing api []",
        "pass revision_label api []",
        "fail revision_label api [1]",
        "fail digest_missing web [2]",
    ];
    assert_eq!(lines, expected);
    let (lines, ..) = results([beef(), labeled(&[Some("dead")])]);
    assert_eq!(lines.last().unwrap(), "fail set_disagree - []");
}

#[test]
fn moved_or_missing_tag_fails() {
    let pinned = PinnedImage {
        image: 1,
        digest: digest('a'),
        facts: Ok(None),
    };
    let config = config();
    let result = |resolved: TagResolution| {
        let tag = TagPattern::parse("beef").unwrap();
        let (check, error) = pinned.check_tag(&config, &tag, &resolved, &pins());
        (line(&check), error.is_some())
    };
    let verdict = |text: &str| (text.to_owned(), false);
    let index = |digit, entries| {
        Ok(TaggedManifest {
            tag: Tag::parse("beef").unwrap(),
            digest: digest(digit),
            entries,
        })
    };
    let tagged = |digit| index(digit, Vec::new());
    assert_eq!(result(tagged('a')), verdict("pass digest_mismatch web []"));
    assert_eq!(result(tagged('b')), verdict("fail digest_mismatch web [2]"));
    let entry = Descriptor {
        media_type: String::new(),
        digest: digest('a'),
        size: 0,
        platform: Platform::parse("linux/arm64"),
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    let part = index('b', vec![entry]);
    let (check, _) = pinned.check_tag(&config, &TagPattern::parse("beef").unwrap(), &part, &pins());
    assert!(
        check
            .detail
            .contains("is the linux/arm64 part of the index"),
        "{check:?}"
    );
    assert!(check.help.unwrap().contains("the tag was not moved"));
    assert_eq!(result(part), verdict("fail digest_mismatch web [2]"));
    assert_eq!(
        result(Err(NoTag::Missing)),
        verdict("fail tag_missing web [2]")
    );
    assert_eq!(
        result(Err(Error::about(Class::Ambiguous, "x", "y").into())),
        verdict("fail manifest_ambiguous web [2]")
    );
    for class in [Class::Unavailable, Class::Denied] {
        assert_eq!(
            result(Err(Error::about(class, "x", "y").into())),
            ("skip digest_mismatch web []".to_owned(), true)
        );
    }
}

#[test]
fn missing_provenance_of_the_pinned_set_warns() {
    let config = config();
    let [revision, other] =
        ["beef", "cafe"].map(|text| config.revision.pattern.revision(text).unwrap());
    let none = PinnedRecord::default();
    let status = |provenance| check_pinned_provenance(&config, &revision, none, &provenance).status;
    assert_eq!(status(Ok(Provenance::Never)), Status::Warn);
    let unrecorded = "no commit on the promoted branch records";
    for (revision_of_pins, has_any, detail, help) in [
        (None, false, unrecorded, "record the set before"),
        (None, true, unrecorded, "--allow-older"),
        (Some(&revision), true, unrecorded, "--allow-older"),
        (
            Some(&other),
            true,
            "records these digests as cafe",
            "only as cafe",
        ),
    ] {
        let record = PinnedRecord {
            revision: revision_of_pins,
            has_any,
        };
        let check = check_pinned_provenance(&config, &revision, record, &Ok(Provenance::Never));
        assert!(check.detail.contains(detail), "{check:?}");
        assert!(check.help.as_ref().unwrap().contains(help), "{check:?}");
    }
    assert_eq!(status(Ok(Provenance::Shallow)), Status::Warn);
    assert_eq!(status(Err("no git".to_owned())), Status::Skip);
}

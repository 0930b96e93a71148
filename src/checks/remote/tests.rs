//! What `check --remote` reports about pinned digests: status, places, and what could not be judged.

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    checks::contents::tests::platform_facts,
    config::{RelPath, parse},
    error::SourceText,
    pins::{Located, Pin},
};

fn config() -> Config {
    let text = "version: 1\nfiles: [a]\nrevision: { label: rev, pattern: '[a-f]{4}' }\nimages:\n  api: { repository: x.y/api, pins: 1 }\n  web: { repository: x.y/web, pins: 1 }\n";
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.into(),
    };
    parse(&source, Path::new("/")).unwrap()
}

fn digest(digit: char) -> Digest {
    Digest::from_hex(&digit.to_string().repeat(64)).unwrap()
}

/// One pin of each image, on the line of its place in the configuration.
fn pins() -> Found {
    let pin = |image: usize| Located {
        file: Arc::new(RelPath::parse("ci.yml").unwrap()),
        what: Pin {
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

/// An image whose platforms have these labels.
#[expect(clippy::unnecessary_wraps, reason = "the type of `Pinned::found`")]
fn labelled(labels: &[Option<&str>]) -> Result<Option<ImageFacts>, Error> {
    let platforms = labels.iter().enumerate().map(|(at, label)| {
        let mut facts = platform_facts(&[]);
        facts.platform.architecture = format!("cpu{at}");
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

/// `status code image @lines` of each check, the number of outages, and the revision.
fn judged(found: [Result<Option<ImageFacts>, Error>; 2]) -> (Vec<String>, usize, Option<String>) {
    let pinned: Vec<_> = found
        .into_iter()
        .enumerate()
        .map(|(image, found)| Pinned {
            image,
            digest: digest('a'),
            found,
        })
        .collect();
    let (checks, outages, revision) = claims(&config(), &pinned, &pins());
    let lines = checks.iter().map(line).collect();
    (
        lines,
        outages.len(),
        revision.map(|revision| revision.to_string()),
    )
}

fn line(check: &Check) -> String {
    let lines: Vec<_> = check.places.iter().map(|place| place.line).collect();
    format!(
        "{} {} {} {lines:?}",
        check.status.as_str(),
        check.code,
        check.image.as_deref().unwrap_or("-")
    )
}

#[test]
fn only_failed_checks_have_places() {
    let both = judged([labelled(&[Some("beef")]), labelled(&[Some("beef")])]);
    let expected = [
        "pass digest_missing api []",
        "pass revision_label api []",
        "pass digest_missing web []",
        "pass revision_label web []",
        "pass set_disagree - []",
    ];
    assert_eq!(both.0, expected);
    assert_eq!((both.1, both.2.as_deref()), (0, Some("beef")));
    let one = judged([Ok(None), labelled(&[None])]);
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
fn an_unavailable_digest_is_an_outage_and_an_ambiguous_one_fails() {
    let unavailable = Error::unavailable("x.y/api", "no answer");
    let ambiguous = Error::about(Class::Ambiguous, "x.y/web", "two media types");
    let (lines, outages, revision) = judged([Err(unavailable), Err(ambiguous)]);
    let expected = [
        "skip digest_missing api []",
        "fail manifest_ambiguous web [2]",
    ];
    assert_eq!(lines, expected);
    assert_eq!((outages, revision), (1, None));
}

#[test]
fn one_revision_needs_every_platform_of_every_image() {
    let beef = || labelled(&[Some("beef"), Some("beef")]);
    let revision = |first, second| judged([first, second]).2;
    assert_eq!(revision(beef(), beef()).as_deref(), Some("beef"));
    for other in [
        labelled(&[Some("beef"), None]),
        labelled(&[Some("beef"), Some("dead")]),
        labelled(&[Some("beef"), Some("none")]),
        labelled(&[Some("dead"), Some("dead")]),
        labelled(&[None, None]),
    ] {
        assert_eq!(revision(beef(), other.clone()), None);
        assert_eq!(revision(other, beef()), None);
    }
    let (lines, ..) = judged([labelled(&[Some("beef"), Some("dead")]), Ok(None)]);
    let expected = [
        "pass digest_missing api []",
        "pass revision_label api []",
        "fail revision_label api [1]",
        "fail digest_missing web [2]",
    ];
    assert_eq!(lines, expected);
    let (lines, ..) = judged([beef(), labelled(&[Some("dead")])]);
    assert_eq!(lines.last().unwrap(), "fail set_disagree - []");
}

#[test]
fn a_tag_that_names_something_else_or_nothing_fails() {
    let pinned = Pinned {
        image: 1,
        digest: digest('a'),
        found: Ok(None),
    };
    let config = config();
    let judged = |named: Tagged| {
        let tag = Tag::parse("beef").unwrap();
        let (check, outage) = pinned.tagged(&config.images[1], &tag, &named, &pins());
        (line(&check), outage.is_some())
    };
    let fails = |text: &str| (text.to_owned(), false);
    assert_eq!(
        judged(Ok(Some(digest('a')))),
        fails("pass digest_mismatch web []")
    );
    assert_eq!(
        judged(Ok(Some(digest('b')))),
        fails("fail digest_mismatch web [2]")
    );
    assert_eq!(judged(Ok(None)), fails("fail tag_missing web [2]"));
    assert_eq!(
        judged(Err(Error::about(Class::Ambiguous, "x", "y"))),
        fails("fail manifest_ambiguous web [2]")
    );
    for kind in [Class::Unavailable, Class::Denied] {
        assert_eq!(
            judged(Err(Error::about(kind, "x", "y"))),
            ("skip digest_mismatch web []".to_owned(), true)
        );
    }
}

#[test]
fn missing_provenance_of_what_is_pinned_warns() {
    let revision = config().revision.pattern.revision("beef").unwrap();
    let status = |provenance| provenance_warns(&revision, &provenance).status;
    assert_eq!(status(Ok(Provenance::Never)), Status::Warn);
    assert_eq!(status(Ok(Provenance::Shallow)), Status::Warn);
    assert_eq!(status(Err("no git".to_owned())), Status::Skip);
}

//! Tests of the search for whole pins: the grammar's edges, places, and a naive model.

use proptest::prelude::*;

use super::*;
use crate::{base::error::Span, config::Image, core::pins::reference::MAX_REFERENCE};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn finder(repositories: &[&str]) -> Finder {
    let image = |(at, text): (usize, &&str)| Image {
        signed_as: Vec::new(),
        name: format!("i{at}"),
        repository: Repository::parse(text).unwrap(),
        pins: 1,
        pins_at: Span { start: 0, end: 0 },
        inventory: crate::config::ImageInventory::OfSet,
        contract: None,
        platforms: None,
    };
    let images: Vec<_> = repositories.iter().enumerate().map(image).collect();
    Finder::for_images(&images)
}

fn acme() -> Finder {
    finder(&[
        "ghcr.io/acme/app",
        "ghcr.io/acme/app-extra",
        "localhost:5000/app",
    ])
}

/// The images of the pins found, and the number of malformed ones.
fn found(finder: &Finder, text: &str) -> (Vec<usize>, usize) {
    let scan = finder.scan(text.replace("HEX", HEX).as_bytes());
    (
        scan.pins.iter().map(|pin| pin.image).collect(),
        scan.malformed.len(),
    )
}

#[test]
fn pin_is_found_in_any_text() {
    for text in [
        "ghcr.io/acme/app@sha256:HEX",
        "image: ghcr.io/acme/app@sha256:HEX\n",
        "\"ghcr.io/acme/app@sha256:HEX\"",
        "# ghcr.io/acme/app@sha256:HEX.",
        "image=ghcr.io/acme/app@sha256:HEX-x",
        "\u{feff}ghcr.io/acme/app@sha256:HEX_",
        "uses: docker://ghcr.io/acme/app@sha256:HEX",
        "oci://ghcr.io/acme/app@sha256:HEX",
        "GHCR.io/acme/app@sha256:HEX",
        "ghcr.io/acme/app:v1.2@sha256:HEX",
        "(ghcr.io/acme/app@sha256:HEX)",
        "é ghcr.io/acme/app@sha256:HEX",
        "\0ghcr.io/acme/app@sha256:HEX\0",
    ] {
        assert_eq!(found(&acme(), text), (vec![0], 0), "{text}");
    }
}

#[test]
fn text_around_a_reference_does_not_hide_it() {
    for (text, column, tag) in [
        ("${IMG:-ghcr.io/acme/app@sha256:HEX}", 8, None),
        ("${IMG-ghcr.io/acme/app@sha256:HEX}", 7, None),
        ("${IMG:=ghcr.io/acme/app:v1@sha256:HEX}", 8, Some("v1")),
        ("${A:-${B:-ghcr.io/acme/app@sha256:HEX}}", 11, None),
        ("docker-image://ghcr.io/acme/app@sha256:HEX", 16, None),
        ("oras://ghcr.io/acme/app@sha256:HEX", 8, None),
        ("https://ghcr.io/acme/app@sha256:HEX", 9, None),
        ("https://user:word@ghcr.io/acme/app@sha256:HEX", 19, None),
        ("xdocker://ghcr.io/acme/app@sha256:HEX", 11, None),
        ("docker://docker://ghcr.io/acme/app@sha256:HEX", 19, None),
        ("oci:ghcr.io/acme/app@sha256:HEX", 5, None),
        (
            "containers-storage:ghcr.io/acme/app:v1@sha256:HEX",
            20,
            Some("v1"),
        ),
        (
            "ostree-unverified-registry:ghcr.io/acme/app@sha256:HEX",
            28,
            None,
        ),
        (
            "ostree-image-signed:docker://ghcr.io/acme/app@sha256:HEX",
            30,
            None,
        ),
        ("image:ghcr.io/acme/app@sha256:HEX", 7, None),
        ("//ghcr.io/acme/app@sha256:HEX", 3, None),
        ("_ghcr.io/acme/app@sha256:HEX_", 2, None),
        ("<!--ghcr.io/acme/app@sha256:HEX-->", 5, None),
        (r#""a\nghcr.io/acme/app@sha256:HEX\n""#, 5, None),
        (r#""a\tghcr.io/acme/app:v1@sha256:HEX""#, 5, Some("v1")),
        (r#""a\\nghcr.io/acme/app@sha256:HEX""#, 6, None),
        (r#""\u000aghcr.io/acme/app@sha256:HEX""#, 8, None),
        (r"\x0aghcr.io/acme/app@sha256:HEX", 5, None),
        (r"\U0000000aghcr.io/acme/app@sha256:HEX", 11, None),
        (r#""ghcr.io\/acme\/app:v1@sha256:HEX""#, 2, Some("v1")),
        (r#""docker:\/\/ghcr.io\/acme\/app@sha256:HEX""#, 13, None),
        (r#""ghcr.io/acme/app:v1\u0040sha256:HEX""#, 2, Some("v1")),
        (r#""ghcr.io/acme/app\\u0040sha256:HEX""#, 2, None),
        (r"ghcr.io/acme/app\x40sha256:HEX", 1, None),
        (r#""ghcr\.io\/acme\/app\@sha256:HEX""#, 2, None),
        ("ghcr.io/acme/app:${TAG:-x}@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:v1-${TAG}@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:$TAG@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:$(tag)@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:{{ .Values.tag }}@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:%TAG%@sha256:HEX", 1, None),
        ("ghcr.io/acme/app:<tag>@sha256:HEX", 1, None),
        ("ghcr.io/acme/app@${D:-sha256:HEX}", 1, None),
        ("ghcr.io/acme/app:v1@${D-sha256:HEX}", 1, Some("v1")),
        ("ghcr.io/acme/app:${T:-v1}@${D:=sha256:HEX}", 1, None),
        ("GHCR.io:443/acme/app@sha256:HEX", 1, None),
    ] {
        let text = text.replace("HEX", HEX);
        let scan = acme().scan(text.as_bytes());
        let [pin] = scan.pins.as_slice() else {
            panic!("{text}");
        };
        assert_eq!((pin.image, pin.line, pin.column), (0, 1, column), "{text}");
        assert_eq!(pin.tag.as_ref().map(Tag::as_str), tag, "{text}");
        assert_eq!(&text[pin.offset..pin.offset + 71], format!("sha256:{HEX}"));
        if let Some(tag) = tag {
            assert!(text[pin.tag_at..].starts_with(tag), "{text}");
        }
        // The tag ends where the digest's separator begins.
        let before = acme().image_before(text.as_bytes(), pin.offset);
        assert_eq!(before, Some(0), "{text}");
    }
}

#[test]
fn variable_is_not_a_name() {
    let hub = finder(&["nginx", "img", "acme/app"]);
    for (text, expected) in [
        ("${img:-nginx@sha256:HEX}", vec![0]),
        ("${img-nginx:1@sha256:HEX}", vec![0]),
        ("docker://acme/app@sha256:HEX", vec![2]),
        ("$nginx@sha256:HEX", vec![]),
        ("${REGISTRY}nginx@sha256:HEX", vec![]),
        ("git@github.com:acme/app@sha256:HEX", vec![]),
        ("pkg:docker/acme/app@sha256:HEX", vec![]),
        ("https://acme/app@sha256:HEX", vec![]),
    ] {
        assert_eq!(found(&hub, text), (expected, 0), "{text}");
    }
}

#[test]
fn unconfigured_repository_is_not_found() {
    for text in [
        "mirror.example/ghcr.io/acme/app@sha256:HEX",
        "ghcr.io/acme/app/sub@sha256:HEX",
        "xghcr.io/acme/app@sha256:HEX",
        "IMG-ghcr.io/acme/app@sha256:HEX",
        "${-ghcr.io/acme/app@sha256:HEX",
        "ghcr.io/acme/apps@sha256:HEX",
        "ghcr.io/Acme/app@sha256:HEX",
        "-ghcr.io/acme/app@sha256:HEX",
        "/ghcr.io/acme/app@sha256:HEX",
        "${MIRROR}/ghcr.io/acme/app@sha256:HEX",
        r"ghcr.io/acme\u002fapp@sha256:HEX",
        r"\u0078ghcr.io/acme/app@sha256:HEX",
        r"ghcr.io/acme/app:v1\.2@sha256:HEX",
        r"ghcr.io/acme/app:\_v1@sha256:HEX",
        "ghcr.io/acme/app${TAG}@sha256:HEX",
        "ghcr.io/acme/app@\"sha256:HEX",
        "ghcr.io/acme/app%40sha256:HEX",
        "localhost:5001/app@sha256:HEX",
        "localhost/app@sha256:HEX",
        "ghcr.io/acme/app@@sha256:HEX",
        "@sha256:HEX",
    ] {
        assert_eq!(found(&acme(), text), (vec![], 0), "{text}");
    }
    assert_eq!(
        found(&acme(), "ghcr.io/acme/app-extra@sha256:HEX"),
        (vec![1], 0)
    );
    assert_eq!(
        found(&acme(), "localhost:5000/app:5@sha256:HEX"),
        (vec![2], 0)
    );
}

#[test]
fn spellings_of_docker_hub_are_equal() {
    let hub = finder(&["nginx"]);
    for name in [
        "nginx",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx",
        "index.docker.io/library/nginx",
        "registry-1.docker.io/nginx",
        "registry.hub.docker.com/library/nginx",
        "Docker.io:443/nginx",
    ] {
        assert_eq!(
            found(&hub, &format!(" {name}:1@sha256:HEX")),
            (vec![0], 0),
            "{name}"
        );
    }
    assert_eq!(found(&hub, "acme/nginx@sha256:HEX"), (vec![], 0));
    assert_eq!(found(&hub, "quay.io/nginx@sha256:HEX"), (vec![], 0));
}

#[test]
fn malformed_pin_ends_at_a_character_boundary() {
    // The excerpt would split one of the characters.
    for filler in 0..4 {
        let text = format!(
            "ghcr.io/acme/fix@sha256:{}{}",
            "0".repeat(10 + filler),
            "\u{1f600}".repeat(40)
        );
        let scan = finder(&["ghcr.io/acme/fix"]).scan(text.as_bytes());
        let shown = &scan.malformed[0].text;
        assert!(text.starts_with(shown.as_str()), "{shown}");
    }
}

#[test]
fn malformed_digest_is_reported() {
    for text in [
        "ghcr.io/acme/app@sha256:abc",
        "ghcr.io/acme/app@sha256:HEX0",
        "ghcr.io/acme/app@sha256:HEXg",
        "ghcr.io/acme/app@sha256:HEXZ",
        "ghcr.io/acme/app@sha512:HEX",
        "ghcr.io/acme/app@SHA256:HEX",
        "ghcr.io/acme/app@sha256+b64u:HEX",
        "ghcr.io/acme/app@sha256:latest",
        "ghcr.io/acme/app:@sha256:HEX",
        "ghcr.io/acme/app:-x@sha256:HEX",
        "ghcr.io/acme/app@sha256:HEX:v1",
        "ghcr.io/acme/app@sha256:HEX:${TAG}",
        "ghcr.io/acme/app@sha256:sha256:HEX",
        "ghcr.io/acme/app@sha256:HEX@sha256:HEX",
        "ghcr.io/acme/app@${D:-sha512:HEX}",
        "${IMG:-ghcr.io/acme/app@sha256:abc}",
        r"\nghcr.io/acme/app@sha256:abc",
    ] {
        assert_eq!(found(&acme(), text), (vec![], 1), "{text}");
    }
    let upper = format!("ghcr.io/acme/app@sha256:{}", HEX.to_uppercase());
    assert_eq!(found(&acme(), &upper), (vec![], 1));
    let scan = acme().scan(b"\n  \"ghcr.io/acme/app@sha256:abc\" # x");
    let expected = Malformed {
        image: 0,
        line: 2,
        column: 4,
        digest: 21..31,
        text: "ghcr.io/acme/app@sha256:abc".into(),
    };
    assert_eq!(scan.malformed, [expected]);
}

#[test]
fn invalid_utf_8_in_a_malformed_pin_is_replaced() {
    let scan = acme().scan(b"ghcr.io/acme/app@sha256:abc\xff x");
    let text = "ghcr.io/acme/app@sha256:abc\u{fffd}";
    assert_eq!(scan.malformed[0].text, text);
}

#[test]
fn whole_pin_has_a_valid_tag_and_an_at_sign() {
    for (end, image) in [
        ("@", Some(0)),
        (":v1@", Some(0)),
        (":-x@", None),
        (" ", None),
    ] {
        let reference = format!("ghcr.io/acme/app{end}");
        let text = format!("{reference}sha256:{HEX}");
        let found = acme().image_before(text.as_bytes(), reference.len());
        assert_eq!(found, image, "{end}");
    }
}

#[test]
fn scan_with_a_problem_is_not_empty() {
    let refused = Scan {
        refused: vec![Refused {
            place: 0,
            image: None,
            line: 1,
            column: 1,
            text: String::new(),
            reason: String::new(),
        }],
        ..Scan::default()
    };
    let double = Scan {
        double_matches: vec![DoubleMatch {
            line: 1,
            column: 1,
            places: [0, 1],
        }],
        ..Scan::default()
    };
    assert!(!refused.is_empty() && !double.is_empty() && Scan::default().is_empty());
}

#[test]
fn longest_algorithm_has_32_characters() {
    let text = |length: usize| format!("ghcr.io/acme/app@{}:HEX", "a".repeat(length));
    assert_eq!(found(&acme(), &text(32)), (vec![], 1));
    assert_eq!(found(&acme(), &text(33)), (vec![], 0));
}

#[test]
fn text_without_digest_is_ignored() {
    for text in [
        "ghcr.io/acme/app@sha256:<digest>",
        "ghcr.io/acme/app@sha256:${DIGEST}",
        "ghcr.io/acme/app@sha256:",
        "ghcr.io/acme/app@sha256: abc",
        "ghcr.io/acme/app@sha256:…",
        "ghcr.io/acme/app@$DIGEST",
        "ghcr.io/acme/app@latest",
        "ghcr.io/acme/app",
    ] {
        assert_eq!(found(&acme(), text), (vec![], 0), "{text}");
    }
}

#[test]
fn pins_in_one_line_have_separate_columns() {
    let text = format!(
        "a\r\nx: ghcr.io/acme/app:v1@sha256:{HEX},docker://ghcr.io/acme/app-extra@sha256:{HEX}"
    );
    let scan = acme().scan(text.as_bytes());
    let places: Vec<_> = scan
        .pins
        .iter()
        .map(|pin| (pin.image, pin.line, pin.column))
        .collect();
    assert_eq!(places, [(0, 2, 4), (1, 2, 105)]);
    assert_eq!(scan.pins[0].tag.as_ref().map(Tag::as_str), Some("v1"));
    for pin in &scan.pins {
        assert_eq!(&text[pin.offset..pin.offset + 71], format!("sha256:{HEX}"));
    }
}

#[test]
fn overlong_text_is_not_cut_into_a_reference() {
    let reference = |length: usize| {
        let name = "ghcr.io/acme/app:";
        let tag = "t".repeat(length - name.len());
        format!("{name}{tag}@sha256:HEX")
    };
    assert_eq!(found(&acme(), &reference(MAX_REFERENCE)), (vec![], 1));
    assert_eq!(found(&acme(), &reference(MAX_REFERENCE + 1)), (vec![], 0));
    // Without its first byte, it is the reference above.
    for length in [MAX_REFERENCE, MAX_REFERENCE + 1] {
        let longer = format!("x{}", reference(length));
        assert_eq!(found(&acme(), &longer), (vec![], 0), "{length}");
    }
}

#[test]
fn longest_reference_is_found() {
    let name = format!(
        "ghcr.io/acme/{}",
        "a".repeat(Repository::MAX - "ghcr.io/acme/".len())
    );
    let pin = format!("docker://{name}:{}@sha256:{HEX}", "t".repeat(Tag::MAX));
    let scan = finder(&[&name]).scan(format!(" {pin}\n").as_bytes());
    assert_eq!(scan.pins[0].offset, 1 + pin.len() - 71);
}

#[test]
fn longest_comment_is_found() {
    let config = crate::config::example(
        "version: 1\nfiles: [x]\nimages:\n  app: { repository: ghcr.io/acme/app, pins: 1 }\n\
               revision: { pattern: \"v+\" }\n",
    );
    let finder = acme().with_version_comments(&config);
    let version = "v".repeat(Tag::MAX);
    let blanks = " ".repeat(16);
    let pin = format!("ghcr.io/acme/app@sha256:{HEX}{blanks}//{blanks}{version}{blanks}");
    for end in ["\n", "\r\n# more", ""] {
        let text = format!("{pin}{end}");
        let scan = finder.scan(text.as_bytes());
        let comment = scan.pins[0].comment.as_deref().unwrap();
        assert_eq!(&text[comment.at.clone()], version, "{end:?}");
    }
}

/// Text with pins and near misses.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(format!("ghcr.io/acme/app@sha256:{HEX}")),
        2 => Just(format!("ghcr.io/acme/app-extra:t@sha256:{HEX}")),
        1 => Just("ghcr.io/acme/app@sha256:abc".to_owned()),
        1 => Just("@".to_owned()),
        1 => Just(" docker://".to_owned()),
        2 => "[ \n\"]{0,5}",
        1 => (1..600_usize).prop_map(|n| "a".repeat(n)),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn naive_search_finds_the_same_pins(text in text()) {
        let pattern = regex::bytes::Regex::new(
            r"(?-u)(?:^|[^A-Za-z0-9._/:-])(?:[A-Za-z0-9._-]*:)*(?://)?(ghcr\.io/acme/app(?:-extra)?)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@(sha256:[0-9a-f]{64})(?:[^0-9A-Za-z:@]|:[^0-9A-Za-z_${]|:?$)",
        ).unwrap();
        let mut expected = Vec::new();
        let mut from = 0;
        while let Some(found) = pattern.captures_at(&text, from) {
            let digest = found.get(2).unwrap();
            expected.push(digest.start());
            from = digest.end();
        }
        let scan = acme().scan(&text);
        let offsets: Vec<_> = scan.pins.iter().map(|pin| pin.offset).collect();
        prop_assert_eq!(offsets, expected);
        for pin in &scan.pins {
            let before = &text[..pin.offset];
            prop_assert_eq!(pin.line, before.split(|b| *b == b'\n').count());
        }
    }
}

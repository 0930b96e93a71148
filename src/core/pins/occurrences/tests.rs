//! Tests of occurrences: references, encodings, places, tags.

use proptest::prelude::*;

use super::*;
use crate::{
    config,
    core::pins::{Finder, lines::BLOCK},
};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn config() -> Config {
    let text = "version: 1
files: ['**/*.yml']
sources:
  ghcr.io/acme: https://mirror.example/hub
  ghcr.io: http://127.0.0.1:5000
  docker.io: https://mirror.example/docker
  quay.io: oci:layouts
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  web: { repository: nginx, pins: 1 }
  local: { repository: 'localhost:5000/tool', pins: 1 }
";
    config::example(text)
}

/// Every digest in a text: the same, whether the text is read in blocks or as a whole.
fn digests(finder: &OccurrenceFinder, text: &[u8]) -> Vec<Occurrence> {
    let mut buffer = Vec::new();
    let found = finder.digests(text, &mut buffer, |_, _| true).unwrap();
    assert_eq!(
        finder.other_digests(text, &Scan::default()),
        found.occurrences
    );
    assert_eq!(found.is_buffered, text.len() < BLOCK);
    assert!(!found.is_buffered || buffer == text);
    found.occurrences
}

/// The occurrences in a text, one in each line.
fn found_in(text: &[u8]) -> Vec<String> {
    let row = |one: &Occurrence| {
        let kind = match &one.kind {
            OccurrenceKind::Image(at) => format!("image {at}"),
            OccurrenceKind::Embedded(at) => format!("embedded {at}"),
            OccurrenceKind::Utf16Image(at) => format!("wide {at}"),
            OccurrenceKind::Mirror(at, name) => format!("mirror {at} {name}"),
            OccurrenceKind::Marked(at) => format!("marked {at}"),
            OccurrenceKind::SameOwner(name) => format!("owner {name}"),
            // Only the search of a file knows its entries.
            OccurrenceKind::Entry(..) | OccurrenceKind::Bare => "digits".to_owned(),
        };
        format!("{}:{} {kind}", one.line, one.column)
    };
    let found = digests(&OccurrenceFinder::new(&config()), text);
    found.iter().map(row).collect()
}

fn in_text(text: &str) -> Vec<String> {
    found_in(text.replace("HEX", HEX).as_bytes())
}

#[test]
fn name_decides_the_kind_of_an_occurrence() {
    for (text, expected) in [
        ("\n  x: ghcr.io/acme/app@sha256:HEX", "2:6 image 0"),
        ("docker://ghcr.io/acme/app:v1@sha256:HEX\n", "1:10 image 0"),
        ("docker.io/library/nginx@sha256:HEX", "1:1 image 1"),
        (
            "mirror.example/hub/app@sha256:HEX",
            "1:1 mirror 0 mirror.example/hub/app",
        ),
        (
            "127.0.0.1:5000/acme/app:t@sha256:HEX",
            "1:1 mirror 0 127.0.0.1:5000/acme/app",
        ),
        (
            "mirror.example/docker/library/nginx@sha256:HEX",
            "1:1 mirror 1 mirror.example/docker/library/nginx",
        ),
        (
            "ghcr.io/acme/other@sha256:HEX",
            "1:1 owner ghcr.io/acme/other",
        ),
        (
            &format!("ghcr.io/acme/other@sha256:{}", "0".repeat(64)),
            "1:20 digits",
        ),
        ("postgres@sha256:HEX", "1:10 digits"),
        ("ghcr.io/other/app@sha256:HEX", "1:19 digits"),
        ("$R/ghcr.io/acme/x@sha256:HEX", "1:19 digits"),
        ("digest: sha256:HEX", "1:9 digits"),
        ("digest: HEX", "1:9 digits"),
        ("sha256-HEX.sig", "1:8 digits"),
        ("ghcr.io/acme/app sha256:HEX", "1:18 digits"),
        ("$ghcr.io/acme/x@sha256:HEX", "1:17 digits"),
    ] {
        assert_eq!(in_text(text), [expected], "{text}");
    }
}

#[test]
fn embedded_name_is_reported() {
    let text = "version: 1
files: [x]
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  web: { repository: nginx, pins: 1 }
  tool: { repository: tools/tool, pins: 1 }
";
    let finder = OccurrenceFinder::new(&config::example(text));
    let image = |text: &str| {
        let text = text.replace("HEX", HEX);
        let found = digests(&finder, text.as_bytes());
        let [one] = found.as_slice() else {
            panic!("{text}");
        };
        match one.kind {
            OccurrenceKind::Embedded(image) => Some(image),
            _ => None,
        }
    };
    for (text, expected) in [
        ("ghcr.io/acme/app@sha256:HEXz", 0),
        ("ghcr.io/acme/app@HEX", 0),
        ("ghcr.io/acme/app@@sha256:HEX", 0),
        ("ghcr.io/acme/app@sha256:sha256:HEX", 0),
        ("ghcr.io/acme/app@sha256:HEX:v1", 0),
        ("ghcr.io/acme/app:-x@sha256:HEX", 0),
        ("-ghcr.io/acme/app@sha256:HEX", 0),
        ("-ighcr.io/acme/app@sha256:HEX", 0),
        ("mirror.example/ghcr.io/acme/app@sha256:HEX", 0),
        ("${MIRROR}/ghcr.io/acme/app@sha256:HEX", 0),
        ("$MIRROR/ghcr.io/acme/app@sha256:HEX", 0),
        ("${REGISTRY:-ghcr.io}/acme/app@sha256:HEX", 0),
        ("$REGISTRY/acme/app:v1@sha256:HEX", 0),
        ("{{ registry }}acme/app@sha256:HEX", 0),
        ("${IMG:-ghcr.io/acme/app}@sha256:HEX", 0),
        ("${IMG:-ghcr.io/acme/app}:${TAG:-v1}@${D:-sha256:HEX}", 0),
        ("ghcr.io/acme/app${SUFFIX}@sha256:HEX", 0),
        ("\"ghcr.io/acme/app\"@sha256:HEX", 0),
        ("ghcr.io/acme/app@\"sha256:HEX\"", 0),
        (r"ghcr.io\u002facme\u002fapp@sha256:HEX", 0),
        (r"ghcr.io\u002facme\/app\u0040sha256:HEX", 0),
        (r"ghcr.io/acme/app:v1\.2@sha256:HEX", 0),
        ("ghcr.io%2Facme%2Fapp%40sha256%3AHEX", 0),
        ("ghcr.io%2facme%2fapp%40sha256%3aHEX", 0),
        (r"ghcr.io/acme/app@sha256\u003aHEX", 0),
        (r"ghcr.io/acme/app@sha256\x3aHEX", 0),
        ("ghcr.io/acme/app&#64;sha256:HEX", 0),
        ("ghcr.io/acme/app&#x40;sha256:HEX", 0),
        ("https://ghcr.io/v2/acme/app/manifests/sha256:HEX", 0),
        ("https://ghcr.io:443/v2/acme/app/manifests/sha256:HEX", 0),
        (
            &format!("{}/ghcr.io/acme/app@sha256:HEX", "x/".repeat(300)),
            0,
        ),
        ("$nginx@sha256:HEX", 1),
        ("docker:nginx:1@sha256:HEX", 1),
        ("${REGISTRY}/nginx@sha256:HEX", 1),
        ("/library/nginx@sha256:HEX", 1),
        (
            "https://registry-1.docker.io/v2/library/nginx/manifests/sha256:HEX",
            1,
        ),
        ("{{ registry }}tools/tool@sha256:HEX", 2),
        ("mirror.example/docker.io/tools/tool@sha256:HEX", 2),
    ] {
        assert_eq!(image(text), Some(expected), "{text}");
    }
    for text in [
        "ghcr.io/acme/app/sub@sha256:HEX",
        "ghcr.io/acme/app-other@sha256:HEX",
        "xghcr.io/acme/app@sha256:HEX",
        "my-ghcr.io/acme/app@sha256:HEX",
        "quay.io/acme/app@sha256:HEX",
        "quay.io/nginx@sha256:HEX",
        "mirror.example/tools/tool@sha256:HEX",
        "my-nginx@sha256:HEX",
        "ghcr.io/acme/app,other@sha256:HEX",
        "ghcr.io/acme/app@v1,sha256:HEX",
        "ghcr.io/acme/app other@sha256:HEX",
        "https://ghcr.io/v2/acme/app/blobs/sha256:HEX",
        "https://ghcr.io/v2/acme/other/manifests/sha256:HEX",
        r#"{"repository":"ghcr.io/acme/app","digest":"sha256:HEX"}"#,
    ] {
        assert_eq!(image(text), None, "{text}");
    }
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let bytes = |unit: u16| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    };
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn utf_16_has_line_and_column() {
    // A byte of the second character is that of a line break.
    let text = format!("a\u{a05}\n  image: ghcr.io/acme/app@sha256:{HEX}\r\nsha256:{HEX}");
    for big in [false, true] {
        for mark in [false, true] {
            let text = if mark {
                format!("\u{feff}{text}")
            } else {
                text.clone()
            };
            let bytes = utf16(&text, big);
            assert_eq!(
                found_in(&bytes),
                ["2:19 wide 0", "3:1 digits"],
                "{big} {mark}"
            );
        }
    }
}

#[test]
fn utf_16_starts_at_its_first_character() {
    let name = "ghcr.io/acme/app@";
    let digest = utf16(&format!("sha256:{HEX}"), false);
    let whole = [utf16(name, false), digest.clone()].concat();
    assert_eq!(found_in(&whole), ["1:1 wide 0"]);
    let other = utf16(name, false).into_iter().map(|byte| byte.max(b'-'));
    let part = [other.collect(), digest].concat();
    assert_eq!(found_in(&part), ["1:35 digits"]);
}

#[test]
fn lines_are_counted_across_blocks() {
    let pin = format!("ghcr.io/acme/app@sha256:{HEX}\n");
    let lines = |count| ".\n".repeat(count);
    for (width, kind) in [(1, "image"), (2, "wide")] {
        // The next block starts before the first pin.
        let before = (BLOCK - OVERLAP - OVERLAP / 2) / 2 / width;
        let text = format!("{}{pin}{}{pin}", lines(before), lines(BLOCK));
        let bytes = if width == 1 {
            text.into_bytes()
        } else {
            utf16(&text, false)
        };
        let expected = [before + 1, before + BLOCK + 2];
        assert_eq!(
            found_in(&bytes),
            expected.map(|line| format!("{line}:1 {kind} 0"))
        );
    }
}

#[test]
fn official_images_have_no_owner() {
    for (name, owner) in [
        ("nginx", None),
        ("acme/app", Some("docker.io/acme")),
        ("ghcr.io/library/app", Some("ghcr.io/library")),
    ] {
        let repository = Repository::parse(name).unwrap();
        assert_eq!(shared_owner(&repository).as_deref(), owner, "{name}");
    }
}

#[test]
fn reference_without_a_digest_is_found() {
    let finder = OccurrenceFinder::new(&config());
    let rows = |bytes: &[u8]| {
        let found = finder.tag_references(bytes);
        let row = |one: &TagReference| {
            format!(
                "{}:{} {} {}",
                one.line,
                one.column,
                one.image,
                one.tag.as_ref().unwrap()
            )
        };
        found.iter().map(row).collect::<Vec<_>>()
    };
    let found = |text: &str| {
        let text = text.replace("HEX", HEX);
        let narrow = rows(text.as_bytes());
        for big in [false, true] {
            let wide = rows(&utf16(&format!("\u{feff}{text}"), big));
            assert_eq!(wide.len(), narrow.len(), "{text} {wide:?}");
        }
        narrow
    };
    for big in [false, true] {
        let text = "\u{feff}\n image: ghcr.io/acme/app:v1\nx nginx:1.27.";
        assert_eq!(rows(&utf16(text, big)), ["2:17 0 v1", "3:5 1 1.27"]);
    }
    assert_eq!(
        found("\n image: ghcr.io/acme/app:v1 # localhost:5000/tool:x, nginx:1.27."),
        ["2:9 0 v1", "2:31 2 x", "2:54 1 1.27"]
    );
    assert_eq!(
        found("uses: docker://ghcr.io/acme/app:latest"),
        ["1:16 0 latest"]
    );
    for text in [
        "ghcr.io/acme/app:v1@sha256:HEX",
        "ghcr.io/acme/app:v1@sha256:<digest>",
        "ghcr.io/acme/app:v1:v2",
        "ghcr.io/acme/app:${TAG}",
        "ghcr.io/acme/app: v1",
        "ghcr.io/acme/app-:v1",
        "ghcr.io/acme/app/:v1",
        "ghcr.io/acme/app",
        "ghcr.io/acme/app-extra:v1",
        "mirror.example/ghcr.io/acme/app:v1",
        "$ghcr.io/acme/app:v1",
        "{{ mirror }}ghcr.io/acme/app:v1",
        // A byte of the character after the name is that of a colon.
        "ghcr.io/acme/app\u{13a}v1",
        "localhost:5000/tool",
        "http://nginx:8080/",
        "http://nginx:8080",
        "tcp://nginx:8080",
        "proxy:nginx:8080",
        "nginx:8080/path",
    ] {
        assert_eq!(found(text), [] as [&str; 0], "{text}");
    }
}

proptest! {
    /// The pins of a file are its occurrences with the repository of an image.
    #[test]
    fn occurrences_of_images_are_pins(parts in prop::collection::vec(prop_oneof![
        3 => Just(format!("ghcr.io/acme/app@sha256:{HEX}")),
        2 => Just(format!("ghcr.io/acme/app:t@sha256:{HEX}")),
        1 => Just(format!("nginx@sha256:{}", &HEX[1..])),
        1 => Just(HEX.to_owned()),
        1 => Just("docker://".to_owned()),
        1 => Just("${IMG:-".to_owned()),
        1 => Just("\\n".to_owned()),
        1 => Just("${D:-".to_owned()),
        2 => "[ \n/:a-z\"@\\\\$}]{0,4}",
        1 => (131_000..131_200_usize).prop_map(|n| " ".repeat(n)),
    ], 0..7)) {
        let text = parts.concat().into_bytes();
        let config = config();
        let found = digests(&OccurrenceFinder::new(&config), &text);
        let images = found.into_iter().filter_map(|one| match one.kind {
            OccurrenceKind::Image(at) => Some((at, one.line, one.column, one.digest)),
            _ => None,
        });
        let pins = Finder::for_images(&config.images).scan(&text).pins;
        let pins = pins.iter().map(|pin| (pin.image, pin.line, pin.column, pin.digest));
        prop_assert_eq!(images.collect::<Vec<_>>(), pins.collect::<Vec<_>>());
    }
}

/// The lines and columns of occurrences do not depend on the blocks of a long file.
#[test]
fn occurrences_are_found_across_blocks() {
    let finder = OccurrenceFinder::new(&config());
    let name = format!(
        "docker://ghcr.io/acme/{}:{}",
        "a".repeat(Repository::MAX - "ghcr.io/acme/".len()),
        "t".repeat(Tag::MAX)
    );
    for (text, column) in [(name.clone(), 10), ("ghcr.io/acme/app".into(), 1)] {
        let line = format!("{text}@sha256:{HEX}");
        for back in (0..=line.len()).step_by(3) {
            let content = format!("{}{line}\n", ".\n".repeat((BLOCK - back) / 2));
            let found = digests(&finder, content.as_bytes());
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.line, one.column, one.kind != OccurrenceKind::Bare))
                .collect();
            assert_eq!(found, [((BLOCK - back) / 2 + 1, column, true)], "{back}");
        }
    }
}

#[test]
fn mark_without_a_place_names_the_image() {
    for (text, expected) in [
        ("x = sha256:HEX # repin: app\n", "1:5 marked 0"),
        ("# repin: web\nx = sha256:HEX\n", "2:5 marked 1"),
        ("SHA=HEX # repin: app", "1:5 marked 0"),
        (
            "y\n\n<!-- repin: app -->\r\n<a>sha256:HEX</a>",
            "4:4 marked 0",
        ),
        ("ghcr.io/acme/x@sha256:HEX # repin: app\n", "1:1 marked 0"),
        ("x = sha256:HEX # repin: other\n", "1:5 digits"),
        ("x = sha256:HEX # see repin: app\n", "1:5 digits"),
        ("# repin: app\n\nx = sha256:HEX\n", "3:5 digits"),
        ("x = sha256:HEX\n# repin: app\n", "1:5 digits"),
        ("nginx@sha256:HEX # repin: app\n", "1:1 image 1"),
    ] {
        assert_eq!(in_text(text), [expected], "{text}");
    }
    let text = format!("x = sha256:{HEX} # repin: app\n");
    let searched = Scan {
        has_marks: true,
        ..Scan::default()
    };
    let found = OccurrenceFinder::new(&config()).other_digests(text.as_bytes(), &searched);
    assert_eq!(found[0].kind, OccurrenceKind::Bare);
}

//! Tests of what is seen beside pins: names, encodings, places, tags.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    config,
    error::SourceText,
    pins::{Finder, chunk::each_window},
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
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.into(),
    };
    config::parse(&source, Path::new("/root")).unwrap()
}

/// Every digest in a text: the same, whether it is read as a whole or part by part.
fn look(lookout: &Lookout, text: &[u8]) -> Vec<Sighting> {
    let mut keep = |_: &Sight, _: &Digest| true;
    let mut all = Vec::new();
    let window = Window {
        bytes: text,
        base: 0,
    };
    let mut lines = Lines::of(text);
    lookout.look(&window, 0..text.len(), &mut lines, &mut keep, &mut all);
    let parts = lookout.look_through(text, &mut Vec::new(), keep).unwrap();
    assert_eq!(all, parts);
    all
}

/// Every reference by tag alone in a text.
fn unpinned(lookout: &Lookout, text: &[u8]) -> Vec<Unpinned> {
    let mut found = Vec::new();
    each_window(text, &mut Vec::new(), OVERLAP, |window, range, lines| {
        lookout.unpinned(window, range, lines, &mut found);
    })
    .unwrap();
    found
}

/// What is seen in a text, a line each.
fn seen(text: &[u8]) -> Vec<String> {
    let lookout = Lookout::new(&config());
    let all = look(&lookout, text);
    let row = |one: &Sighting| {
        let what = match &one.sight {
            Sight::Image(at) => format!("image {at}"),
            Sight::Wide(at) => format!("wide {at}"),
            Sight::Mirror(at, name) => format!("mirror {at} {name}"),
            Sight::SameOwner(name) => format!("owner {name}"),
            Sight::Nothing => "digits".to_owned(),
        };
        format!("{}:{} {what}", one.line, one.column)
    };
    all.iter().map(row).collect()
}

fn in_text(text: &str) -> Vec<String> {
    seen(text.replace("HEX", HEX).as_bytes())
}

#[test]
fn names_decide_what_a_digest_is() {
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
        ("ghcr.io/acme/app@sha256:HEXz", "1:18 digits"),
        ("x.example/ghcr.io/acme/app@sha256:HEX", "1:28 digits"),
    ] {
        assert_eq!(in_text(text), [expected], "{text}");
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
fn utf_16_has_its_own_places() {
    let text = format!("a\n  image: ghcr.io/acme/app@sha256:{HEX}\r\nsha256:{HEX}");
    for big in [false, true] {
        for mark in [false, true] {
            let text = if mark {
                format!("\u{feff}{text}")
            } else {
                text.clone()
            };
            let bytes = utf16(&text, big);
            assert_eq!(seen(&bytes), ["2:19 wide 0", "3:1 digits"], "{big} {mark}");
        }
    }
}

#[test]
fn a_tag_alone_pins_nothing() {
    let lookout = Lookout::new(&config());
    let rows = |bytes: &[u8]| {
        let found = unpinned(&lookout, bytes);
        let row = |one: &Unpinned| format!("{}:{} {} {}", one.line, one.column, one.image, one.tag);
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
        "ghcr.io/acme/app:${TAG}",
        "ghcr.io/acme/app: v1",
        "ghcr.io/acme/app",
        "ghcr.io/acme/app-extra:v1",
        "mirror.example/ghcr.io/acme/app:v1",
        "localhost:5000/tool",
        "http://nginx:8080/",
        "nginx:8080/path",
    ] {
        assert_eq!(found(text), [] as [&str; 0], "{text}");
    }
}

proptest! {
    /// What the scanner of pins counts is exactly what is seen as an image's own.
    #[test]
    fn pins_are_what_the_scanner_counts(parts in prop::collection::vec(prop_oneof![
        3 => Just(format!("ghcr.io/acme/app@sha256:{HEX}")),
        2 => Just(format!("ghcr.io/acme/app:t@sha256:{HEX}")),
        1 => Just(format!("nginx@sha256:{}", &HEX[1..])),
        1 => Just(HEX.to_owned()),
        1 => Just("docker://".to_owned()),
        2 => "[ \n/:a-z\"]{0,4}",
        1 => (131_000..131_200_usize).prop_map(|n| " ".repeat(n)),
    ], 0..7)) {
        let text = parts.concat().into_bytes();
        let config = config();
        let lookout = Lookout::new(&config);
        let seen = look(&lookout, text.as_slice());
        let seen = seen.into_iter().filter_map(|one| match one.sight {
            Sight::Image(at) => Some((at, one.line, one.column, one.digest)),
            _ => None,
        });
        let pins = Finder::new(&config.images).scan(&text).pins;
        let pins = pins.iter().map(|pin| (pin.image, pin.line, pin.column, pin.digest));
        prop_assert_eq!(seen.collect::<Vec<_>>(), pins.collect::<Vec<_>>());
    }
}

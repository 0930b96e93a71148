//! Any bytes as a file of every kind of place: the findings are at their offsets, and a replacement
//! changes nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use std::{path::Path, sync::LazyLock};

use super::{FileScanner, RelPath};
use crate::{
    base::error::SourceText,
    config,
    core::pins::{Replacement, outline, reads_alike, replace},
    oci::{Digest, Tag},
};

const CONFIG: &str = r#"
version: 1
files: ["**"]
places:
  kustomize: { comment: tag }
  helm: { registry: ghcr.io }
  keys: { entry: "/k/**/[name=x]", tag: tag, digest: "[name=d]/value", image: app }
  marked: {}
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  hub: { repository: nginx, pins: 1 }
revision: { pattern: "[0-9a-z]+" }
comments: tag
"#;
const NAMES: [&str; 3] = ["kustomization.yaml", "values.yaml", "main.tf"];

static SCANNER: LazyLock<FileScanner> = LazyLock::new(|| {
    let source = SourceText {
        name: "repin.yaml".to_owned(),
        text: CONFIG.into(),
    };
    FileScanner::new(
        &config::parse(&source, Path::new("/"), &crate::config::SetPath::top()).unwrap(),
    )
});

/// The first byte chooses the name of the file.
pub fn places(input: &[u8]) {
    let Some((first, content)) = input.split_first() else {
        return;
    };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    let places = SCANNER.places_of(&RelPath::parse(name).unwrap(), &|_| false);
    let scan = SCANNER.scan(content, &places);
    let mut reached = 0;
    for pin in &scan.pins {
        assert!(pin.offset >= reached, "in order, each once");
        let text = pin.form().text(&pin.digest);
        assert!(content[pin.offset..].starts_with(text.as_bytes()));
        reached = pin.offset + text.len();
        let Some(split) = &pin.split else { continue };
        for edit in &split.tags {
            assert_eq!(&content[edit.at.clone()], edit.tag.as_str().as_bytes());
        }
    }
    if !(scan.refused.is_empty() && scan.double_matches.is_empty()) {
        return;
    }
    for tag in ["new", "0012"] {
        let to = Replacement {
            digest: Digest::of(b"new"),
            tag: Tag::parse(tag).unwrap(),
        };
        let new = replace(content, &scan.pins, &[Some(to.clone()), Some(to.clone())]);
        let again = SCANNER.scan(&new, &places);
        assert_eq!(again.pins.len(), scan.pins.len());
        assert!(again.pins.iter().all(|pin| to.is_done(pin)));
        assert_eq!(again.refused, []);
        assert_eq!(outline(content, &scan.pins), outline(&new, &again.pins));
        assert!(reads_alike(content, &new, &scan.pins));
    }
}

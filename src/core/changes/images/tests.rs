use super::*;
use crate::oci::{Descriptor, Digest, ImageConfig, ImageManifest, Platform, RuntimeConfig};

/// A platform whose layers are `name:size`.
fn platform(architecture: &str, layers: &[(&str, u64)], env: &[&str]) -> PlatformFacts {
    let descriptor = |text: &str, size| Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        digest: Digest::of(text.as_bytes()),
        size,
        platform: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    let platform = Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: None,
        os_version: None,
    };
    PlatformFacts {
        annotations: BTreeMap::new(),
        platform: platform.clone(),
        digest: Digest::of(format!("{architecture} {layers:?} {env:?}").as_bytes()),
        manifest: ImageManifest {
            config: descriptor("config", 2),
            layers: layers
                .iter()
                .map(|(name, size)| descriptor(name, *size))
                .collect(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        },
        config: ImageConfig {
            platform,
            created: None,
            labels: BTreeMap::new(),
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            user: String::new(),
            runtime: Ok(RuntimeConfig::default()),
            diff_ids: Vec::new(),
        },
    }
}

fn image(platforms: Vec<PlatformFacts>) -> ImageFacts {
    let digests: Vec<_> = platforms.iter().map(|platform| platform.digest).collect();
    ImageFacts {
        digest: Digest::of(format!("{digests:?}").as_bytes()),
        media_type: "application/vnd.oci.image.index.v1+json".into(),
        platforms,
    }
}

fn compared(from: Vec<PlatformFacts>, to: Vec<PlatformFacts>) -> ImageChanges {
    let reported = ["team".to_owned()];
    compare(
        "app",
        Some(&image(from)),
        Some(&image(to)),
        &reported,
        &ContentsByDigest::new(),
        &mut Vec::new(),
    )
    .unwrap()
}

#[test]
fn equal_differences_share_an_entry() {
    let old = |architecture| platform(architecture, &[("a", 1), ("b", 5)], &["A=1", "B=1"]);
    let new = |architecture| platform(architecture, &[("a", 1), ("c", 7)], &["A=2", "C=secret"]);
    let changes = compared(
        vec![old("amd64"), old("arm64"), old("s390x")],
        vec![new("arm64"), new("amd64"), platform("riscv64", &[], &[])],
    );
    assert_eq!(changes.platforms.added, ["linux/riscv64"]);
    assert_eq!(changes.platforms.removed, ["linux/s390x"]);
    let [difference] = changes.differences.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(difference.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(difference.size, Size { from: 6, to: 8 });
    let content = &difference.content;
    assert_eq!(
        content.layers,
        Layers {
            from: 2,
            to: 2,
            shared: 1
        }
    );
    assert_eq!(content.environment.added, ["C"]);
    assert_eq!(content.environment.removed, ["B"]);
    assert_eq!(content.environment.changed, ["A"]);
    let json = serde_json::to_string(&changes).unwrap();
    assert!(!json.contains("secret"), "{json}");
}

#[test]
fn only_reported_labels_have_values() {
    let labeled = |labels: &[(&str, &str)]| {
        let mut image = platform("amd64", &[], &[]);
        for (name, value) in labels {
            image
                .config
                .labels
                .insert((*name).to_owned(), (*value).to_owned());
        }
        image.digest = Digest::of(format!("{labels:?}").as_bytes());
        image
    };
    let [created, ..] = VOLATILE_LABELS;
    let base = |digest| [(BASE_NAME, "debian:12"), (BASE_DIGEST, digest)];
    let old = [
        [("team", "a"), ("x", "1"), (created, "1")].as_slice(),
        &base("d1"),
    ]
    .concat();
    let new = [
        [("team", "b"), ("y", "1"), (created, "2")].as_slice(),
        &base("d2"),
    ]
    .concat();
    let changes = compared(vec![labeled(&old)], vec![labeled(&new)]);
    let content = &changes.differences[0].content;
    let labels = serde_json::to_value(&content.labels).unwrap();
    assert_eq!(
        labels,
        serde_json::json!([
            {"name": "team", "from": "a", "to": "b", "change": "changed"},
            {"name": "x", "from": null, "to": null, "change": "removed"},
            {"name": "y", "from": null, "to": null, "change": "added"},
        ])
    );
    let base = content.base.as_ref().unwrap();
    assert_eq!(base.from.as_ref().unwrap().digest, "d1");
    assert_eq!(base.to.as_ref().unwrap().digest, "d2");
}

#[test]
fn annotations_take_precedence_for_the_base() {
    let mut image = platform("amd64", &[], &[]);
    let texts = |name: &str| {
        let texts = [(BASE_NAME, name), (BASE_DIGEST, "d")];
        texts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    image.config.labels = texts("label");
    assert_eq!(base(&image).unwrap().name, "label");
    image.manifest.annotations = texts("annotation");
    assert_eq!(base(&image).unwrap().name, "annotation");
    image.manifest.annotations.remove(BASE_DIGEST);
    assert_eq!(base(&image).unwrap().name, "label");
}

#[test]
fn changed_secrets_in_commands_are_masked() {
    let with_command = |word: &str| {
        let mut image = platform("amd64", &[], &[]);
        image.config.runtime = Ok(RuntimeConfig {
            command: vec!["serve".to_owned(), word.to_owned()],
            ..RuntimeConfig::default()
        });
        image.digest = Digest::of(word.as_bytes());
        vec![image]
    };
    let changes = compared(with_command("--token=abc"), with_command("--token=def"));
    let fields = serde_json::to_value(&changes.differences[0].content.configuration).unwrap();
    assert_eq!(
        fields,
        serde_json::json!([{"field": "command", "from": ["serve", "***"], "to": ["serve", "***"]}])
    );
}

#[test]
fn missing_images_have_no_differences() {
    let facts = image(vec![platform("amd64", &[("a", 1)], &[])]);
    let added = compare(
        "app",
        None,
        Some(&facts),
        &[],
        &ContentsByDigest::new(),
        &mut Vec::new(),
    )
    .unwrap();
    assert_eq!(added.from, None);
    assert_eq!(added.platforms.added, ["linux/amd64"]);
    assert!(added.differences.is_empty());
    let same = compare(
        "app",
        Some(&facts),
        Some(&facts),
        &[],
        &ContentsByDigest::new(),
        &mut Vec::new(),
    )
    .unwrap();
    assert!(same.differences.is_empty() && same.platforms == NameChanges::default());
}

#[test]
fn duplicate_platforms_are_not_compared() {
    let twice = [("a", 1), ("b", 1)].map(|layer| platform("amd64", &[layer], &[]));
    let facts = image(twice.into());
    let reason = compare(
        "app",
        None,
        Some(&facts),
        &[],
        &ContentsByDigest::new(),
        &mut Vec::new(),
    )
    .unwrap_err();
    assert_eq!(reason, "the index lists linux/amd64 twice");
}

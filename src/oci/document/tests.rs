//! Tests of documents, in particular of ambiguous ones.

use serde_json::{Value, json};

use super::*;

const OCI_INDEX: &str = INDEX_TYPES[0];
const OCI_MANIFEST: &str = MANIFEST_TYPES[0];

fn descriptor() -> Value {
    json!({"mediaType": "x", "digest": Digest::of(b"x").to_string(), "size": 1})
}

fn image() -> Value {
    json!({"schemaVersion": 2, "config": descriptor(), "layers": [descriptor()]})
}

fn index() -> Value {
    json!({"schemaVersion": 2, "manifests": [descriptor()]})
}

/// Adds a key to a document.
fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

/// Parses bytes with the media type of a header.
fn parse_bytes(bytes: Vec<u8>, media_type: Option<&str>) -> Result<Manifest, Error> {
    let reference = TagOrDigest::Digest(Digest::of(&bytes));
    let raw = RawManifest {
        bytes,
        media_type: media_type.map(str::to_owned),
        claimed: None,
    };
    manifest(&raw, &reference, None, "it").map(|verified| verified.value)
}

fn parse(document: &Value, media_type: Option<&str>) -> Result<Manifest, Error> {
    parse_bytes(document.to_string().into_bytes(), media_type)
}

/// Asserts that a document is refused with this class and message.
fn assert_refused(document: &Value, media_type: Option<&str>, class: Class, message: &str) {
    let error = parse(document, media_type).unwrap_err();
    assert!(
        error.class == class && error.message.contains(message),
        "{document}: {error}"
    );
}

#[test]
fn media_type_and_fields_must_agree() {
    for media_type in [None, Some(OCI_MANIFEST), Some(MANIFEST_TYPES[1])] {
        assert!(matches!(
            parse(&image(), media_type),
            Ok(Manifest::Image(_))
        ));
    }
    for media_type in [None, Some(OCI_INDEX), Some(INDEX_TYPES[1])] {
        assert!(matches!(
            parse(&index(), media_type),
            Ok(Manifest::Index(_))
        ));
    }
    // Parameters and case of a header are ignored.
    let header = format!("{}; charset=utf-8", OCI_INDEX.to_uppercase());
    assert!(matches!(
        parse(&index(), Some(&header)),
        Ok(Manifest::Index(_))
    ));
}

#[test]
fn document_that_is_index_and_manifest_is_refused() {
    use Class::Ambiguous;
    let at_once = "an index and a manifest at once";
    for key in ["config", "layers"] {
        let value = image()[key].clone();
        let both = with(index(), key, value);
        for media_type in [None, Some(OCI_INDEX), Some(OCI_MANIFEST)] {
            assert_refused(&both, media_type, Ambiguous, at_once);
        }
    }
    let both = with(image(), "manifests", json!([]));
    assert_refused(&both, Some(OCI_MANIFEST), Ambiguous, at_once);
    let message = "the document is an index but its media type is a manifest's";
    assert_refused(&index(), Some(OCI_MANIFEST), Ambiguous, message);
    let message = "the document is a manifest but its media type is an index's";
    assert_refused(&image(), Some(OCI_INDEX), Ambiguous, message);
    let message = "expected the media type";
    assert_refused(&image(), Some("application/json"), Ambiguous, message);
    assert_refused(&index(), Some("application/json"), Ambiguous, message);
    let contradiction = with(image(), "mediaType", json!(MANIFEST_TYPES[1]));
    assert_refused(
        &contradiction,
        Some(OCI_MANIFEST),
        Ambiguous,
        "but its Content-Type is",
    );
    let duplicate = with(image(), "Layers", json!([]));
    assert_refused(&duplicate, Some(OCI_MANIFEST), Ambiguous, "`Layers`");
}

/// Of keys that differ only in case, engines use the last one.
#[test]
fn keys_that_differ_only_in_case_are_ambiguous() {
    use Class::Ambiguous;
    let other = json!(format!("sha256:{}", "b".repeat(64)));
    // Simple folding maps the long s to an s.
    let duplicate = with(image(), "layer\u{17f}", json!([]));
    assert_refused(&duplicate, Some(OCI_MANIFEST), Ambiguous, "`layer\u{17f}`");
    for path in ["/config", "/layers/0"] {
        let mut duplicate = image();
        duplicate.pointer_mut(path).unwrap()["Digest"] = other.clone();
        assert_refused(&duplicate, Some(OCI_MANIFEST), Ambiguous, "`Digest`");
    }
    let mut duplicate = index();
    duplicate["manifests"][0]["DIGEST"] = other.clone();
    assert_refused(&duplicate, Some(OCI_INDEX), Ambiguous, "`DIGEST`");
    let mut duplicate = index();
    duplicate["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "a", "OS": "b"});
    assert_refused(&duplicate, Some(OCI_INDEX), Ambiguous, "`OS`");
    let duplicate = with(
        image(),
        "subject",
        json!({"mediaType": "a", "digest": other, "size": 1, "Size": 2}),
    );
    assert_refused(&duplicate, Some(OCI_MANIFEST), Ambiguous, "`Size`");
    let valid = json!({"os": "linux", "architecture": "a", "config": {"Labels": {"a": "b"}}, "rootfs": {"diff_ids": []}});
    assert!(parse_config(&valid).is_ok());
    for (path, key) in [
        ("", "Config"),
        ("/config", "labels"),
        ("/config", "USER"),
        ("/rootfs", "Diff_IDs"),
    ] {
        let mut duplicate = valid.clone();
        duplicate.pointer_mut(path).unwrap()[key] = json!(null);
        let error = parse_config(&duplicate).unwrap_err();
        assert_eq!(error.class, Ambiguous, "{key}: {error}");
    }
}

/// A value that one parser skips and another refuses must not hide an ambiguous key.
#[test]
fn value_that_only_some_parsers_accept_is_refused() {
    let text = image().to_string();
    for value in [
        format!("{}{}", "[".repeat(200), "]".repeat(200)),
        "1e999".to_owned(),
    ] {
        let text = text.replacen('{', &format!("{{\"x\":{value},\"Layers\":[],"), 1);
        let error = parse_bytes(text.into_bytes(), None).unwrap_err();
        assert!(error.message.contains("malformed manifest"), "{error}");
    }
}

#[test]
fn errors_quote_documents_shortened() {
    let long = json!({"schemaVersion": "\u{1b}[2J".repeat(100_000)});
    let error = parse_bytes(long.to_string().into_bytes(), None).unwrap_err();
    assert!(
        error.message.len() < 1_000 && !error.message.contains('\u{1b}'),
        "{error}"
    );
    let error = parse_config(&json!({"os": "x".repeat(100_000), "architecture": 1})).unwrap_err();
    assert!(error.message.len() < 1_000, "{error}");
}

#[test]
fn incomplete_schema_2_document_is_unreadable() {
    use Class::Unavailable;
    for media_type in [None, Some(OCI_MANIFEST)] {
        let first = with(image(), "schemaVersion", json!(1));
        assert_refused(&first, media_type, Unavailable, "version is 1, not 2");
        let first = with(image(), "fsLayers", json!([]));
        assert_refused(&first, media_type, Unavailable, "schema version");
        for key in ["config", "layers"] {
            let part = json!({"schemaVersion": 2, key: image()[key]});
            assert_refused(&part, media_type, Unavailable, "the document has neither");
        }
    }
    let first = with(index(), "schemaVersion", json!(1));
    assert_refused(&first, Some(OCI_INDEX), Unavailable, "version is 1, not 2");
    let twice = r#"{"a":"1","a":"2"}"#;
    let text = image()
        .to_string()
        .replace("\"size\":1", &format!("\"size\":1,\"annotations\":{twice}"));
    let error = parse_bytes(text.into_bytes(), None).unwrap_err();
    assert!(error.message.contains("duplicate key `a`"), "{error}");
}

#[test]
fn documents_are_limited_to_4_mib() {
    let parse_padded = |size: u64| {
        let mut bytes = image().to_string().into_bytes();
        bytes.resize(usize::try_from(size).unwrap(), b' ');
        parse_bytes(bytes, None)
    };
    assert!(parse_padded(MAX_DOCUMENT).is_ok());
    let error = parse_padded(MAX_DOCUMENT + 1).unwrap_err();
    assert!(error.message.contains("larger than 4 MiB"), "{error}");
}

/// Parses a config with a matching descriptor.
fn parse_config(document: &Value) -> Result<ImageConfig, Error> {
    let bytes = document.to_string().into_bytes();
    config(&bytes, &descriptor_of(&bytes), "it").map(|verified| verified.value)
}

fn descriptor_of(bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes).to_string();
    let document = json!({"mediaType": "x", "digest": digest, "size": bytes.len()});
    serde_json::from_value(document).unwrap()
}

fn image_config() -> Value {
    json!({"os": "linux", "architecture": "arm", "rootfs": {"diff_ids": []}})
}

#[test]
fn config_must_match_the_descriptor() {
    let bytes = image_config().to_string().into_bytes();
    let whole = descriptor_of(&bytes);
    assert!(config(&bytes, &whole, "it").is_ok());
    for size in [whole.size - 1, whole.size + 1] {
        let other = Descriptor {
            size,
            ..whole.clone()
        };
        let error = config(&bytes, &other, "it").unwrap_err();
        assert!(error.message.contains("its manifest states"), "{error}");
    }
    let digest = Digest::of(b"other");
    let other = Descriptor { digest, ..whole };
    let error = config(&bytes, &other, "it").unwrap_err();
    assert!(error.message.contains("its bytes hash to"), "{error}");
}

#[test]
fn duplicate_label_is_refused() {
    let text = image_config().to_string().replace(
        "\"os\":",
        r#""config":{"Labels":{"a":"1","b":"2","a":"3"}},"os":"#,
    );
    let error = config(text.as_bytes(), &descriptor_of(text.as_bytes()), "it").unwrap_err();
    let expected = "malformed image config: missing or unexpected value at line 1 column 66";
    assert_eq!(error.message, expected);
    let valid = with(
        image_config(),
        "config",
        json!({"Labels": {"a": "1", "b": "2"}}),
    );
    assert_eq!(parse_config(&valid).unwrap().labels.len(), 2);
}

#[test]
fn empty_platform_part_is_absent() {
    for (variant, expected) in [("", None), ("v7", Some("v7"))] {
        let document = with(image_config(), "variant", json!(variant));
        let document = with(document, "os.version", json!(variant));
        let platform = parse_config(&document).unwrap().platform;
        let parts = (platform.variant.as_deref(), platform.os_version.as_deref());
        assert_eq!(parts, (expected, expected));
        let mut entry = descriptor();
        entry["platform"] = document;
        let entry: Descriptor = serde_json::from_value(entry).unwrap();
        assert_eq!(entry.platform.clone(), Some(platform));
    }
}

#[test]
fn attestation_has_no_runnable_platform() {
    let is_attestation = |os: &str, architecture: &str, kind: Option<&str>| {
        let mut entry = descriptor();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if let Some(kind) = kind {
            entry["annotations"] = json!({"vnd.docker.reference.type": kind});
        }
        let entry: Descriptor = serde_json::from_value(entry).unwrap();
        entry.is_attestation()
    };
    let kind = Some("attestation-manifest");
    assert!(is_attestation("unknown", "unknown", kind));
    assert!(!is_attestation("unknown", "amd64", kind));
    assert!(!is_attestation("linux", "unknown", kind));
    assert!(!is_attestation(
        "unknown",
        "unknown",
        Some("something else")
    ));
    assert!(!is_attestation("unknown", "unknown", None));
    let without_platform: Descriptor = serde_json::from_value(descriptor()).unwrap();
    assert!(!without_platform.is_attestation());
}

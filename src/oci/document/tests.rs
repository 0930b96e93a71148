//! Tests of documents: what two readers could understand differently.

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

/// A document with one more key.
fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

/// Reads bytes that came with a media type.
fn read_bytes(bytes: Vec<u8>, media_type: Option<&str>) -> Result<Manifest, Error> {
    let want = TagOrDigest::Digest(Digest::of(&bytes));
    let raw = RawManifest {
        bytes,
        media_type: media_type.map(str::to_owned),
        claimed: None,
    };
    manifest(&raw, &want, None, "it").map(|verified| verified.value)
}

fn read(document: &Value, media_type: Option<&str>) -> Result<Manifest, Error> {
    read_bytes(document.to_string().into_bytes(), media_type)
}

/// That a document is refused for this kind of reason, in these words.
fn refused(document: &Value, media_type: Option<&str>, kind: Class, words: &str) {
    let error = read(document, media_type).unwrap_err();
    assert!(
        error.class == kind && error.message.contains(words),
        "{document}: {error}"
    );
}

#[test]
fn a_document_is_what_its_type_and_its_shape_say() {
    for media_type in [None, Some(OCI_MANIFEST), Some(MANIFEST_TYPES[1])] {
        assert!(matches!(read(&image(), media_type), Ok(Manifest::Image(_))));
    }
    for media_type in [None, Some(OCI_INDEX), Some(INDEX_TYPES[1])] {
        assert!(matches!(read(&index(), media_type), Ok(Manifest::Index(_))));
    }
    // Parameters and case of a header's value mean nothing.
    let header = format!("{}; charset=utf-8", OCI_INDEX.to_uppercase());
    assert!(matches!(
        read(&index(), Some(&header)),
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
            refused(&both, media_type, Ambiguous, at_once);
        }
    }
    let both = with(image(), "manifests", json!([]));
    refused(&both, Some(OCI_MANIFEST), Ambiguous, at_once);
    let says = "the document is an index but its media type is a manifest's";
    refused(&index(), Some(OCI_MANIFEST), Ambiguous, says);
    let says = "the document is a manifest but its media type is an index's";
    refused(&image(), Some(OCI_INDEX), Ambiguous, says);
    let other = "neither a manifest nor an index";
    refused(&image(), Some("application/json"), Ambiguous, other);
    refused(&index(), Some("application/json"), Ambiguous, other);
    let lies = with(image(), "mediaType", json!(MANIFEST_TYPES[1]));
    refused(
        &lies,
        Some(OCI_MANIFEST),
        Ambiguous,
        "but its Content-Type is",
    );
    let twin = with(image(), "Layers", json!([]));
    refused(&twin, Some(OCI_MANIFEST), Ambiguous, "`Layers`");
}

/// Among keys that differ only in case, engines use the last one.
#[test]
fn keys_that_differ_in_case_only_are_ambiguous_at_every_depth() {
    use Class::Ambiguous;
    let other = json!(format!("sha256:{}", "b".repeat(64)));
    // Simple folding also takes the long s for an s.
    let twin = with(image(), "layer\u{17f}", json!([]));
    refused(&twin, Some(OCI_MANIFEST), Ambiguous, "`layer\u{17f}`");
    for path in ["/config", "/layers/0"] {
        let mut twin = image();
        twin.pointer_mut(path).unwrap()["Digest"] = other.clone();
        refused(&twin, Some(OCI_MANIFEST), Ambiguous, "`Digest`");
    }
    let mut twin = index();
    twin["manifests"][0]["DIGEST"] = other.clone();
    refused(&twin, Some(OCI_INDEX), Ambiguous, "`DIGEST`");
    let mut twin = index();
    twin["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "a", "OS": "b"});
    refused(&twin, Some(OCI_INDEX), Ambiguous, "`OS`");
    let twin = with(
        image(),
        "subject",
        json!({"mediaType": "a", "digest": other, "size": 1, "Size": 2}),
    );
    refused(&twin, Some(OCI_MANIFEST), Ambiguous, "`Size`");
    let plain = json!({"os": "linux", "architecture": "a", "config": {"Labels": {"a": "b"}}, "rootfs": {"diff_ids": []}});
    assert!(read_config(&plain).is_ok());
    for (path, key) in [
        ("", "Config"),
        ("/config", "labels"),
        ("/config", "USER"),
        ("/rootfs", "Diff_IDs"),
    ] {
        let mut twin = plain.clone();
        twin.pointer_mut(path).unwrap()[key] = json!(null);
        let error = read_config(&twin).unwrap_err();
        assert_eq!(error.class, Ambiguous, "{key}: {error}");
    }
}

/// A value that one reader skips and another cannot read must not hide an ambiguous key.
#[test]
fn document_that_only_one_reader_can_read_is_refused() {
    let text = image().to_string();
    for odd in [
        format!("{}{}", "[".repeat(200), "]".repeat(200)),
        "1e999".to_owned(),
    ] {
        let text = text.replacen('{', &format!("{{\"x\":{odd},\"Layers\":[],"), 1);
        let error = read_bytes(text.into_bytes(), None).unwrap_err();
        assert!(error.message.contains("malformed manifest"), "{error}");
    }
}

#[test]
fn an_error_quotes_little_of_a_document() {
    let long = json!({"schemaVersion": "\u{1b}[2J".repeat(100_000)});
    let error = read_bytes(long.to_string().into_bytes(), None).unwrap_err();
    assert!(
        error.message.len() < 1_000 && !error.message.contains('\u{1b}'),
        "{error}"
    );
    let error = read_config(&json!({"os": "x".repeat(100_000), "architecture": 1})).unwrap_err();
    assert!(error.message.len() < 1_000, "{error}");
}

#[test]
fn incomplete_schema_2_document_is_unreadable() {
    use Class::Unavailable;
    for media_type in [None, Some(OCI_MANIFEST)] {
        let first = with(image(), "schemaVersion", json!(1));
        refused(&first, media_type, Unavailable, "version is 1, not 2");
        let first = with(image(), "fsLayers", json!([]));
        refused(&first, media_type, Unavailable, "schema version");
        for key in ["config", "layers"] {
            let part = json!({"schemaVersion": 2, key: image()[key]});
            refused(&part, media_type, Unavailable, "the document has neither");
        }
    }
    let first = with(index(), "schemaVersion", json!(1));
    refused(&first, Some(OCI_INDEX), Unavailable, "version is 1, not 2");
    let twice = r#"{"a":"1","a":"2"}"#;
    let text = image()
        .to_string()
        .replace("\"size\":1", &format!("\"size\":1,\"annotations\":{twice}"));
    let error = read_bytes(text.into_bytes(), None).unwrap_err();
    assert!(error.message.contains("duplicate key `a`"), "{error}");
}

#[test]
fn a_document_may_have_4_mib_and_not_a_byte_more() {
    let of = |size: u64| {
        let mut bytes = image().to_string().into_bytes();
        bytes.resize(usize::try_from(size).unwrap(), b' ');
        read_bytes(bytes, None)
    };
    assert!(of(DOCUMENT_MAX).is_ok());
    let error = of(DOCUMENT_MAX + 1).unwrap_err();
    assert!(error.message.contains("larger than 4 MiB"), "{error}");
}

/// Reads a config of whatever size and digest its manifest states.
fn read_config(document: &Value) -> Result<ImageConfig, Error> {
    let bytes = document.to_string().into_bytes();
    config(&bytes, &descriptor_of(&bytes), "it").map(|verified| verified.value)
}

fn descriptor_of(bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes).to_string();
    let document = json!({"mediaType": "x", "digest": digest, "size": bytes.len()});
    serde_json::from_value(document).unwrap()
}

fn runs_on() -> Value {
    json!({"os": "linux", "architecture": "arm", "rootfs": {"diff_ids": []}})
}

#[test]
fn config_must_match_size_and_digest_of_its_manifest() {
    let bytes = runs_on().to_string().into_bytes();
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
fn a_label_that_is_there_twice_has_no_value() {
    let text = runs_on().to_string().replace(
        "\"os\":",
        r#""config":{"Labels":{"a":"1","b":"2","a":"3"}},"os":"#,
    );
    let error = config(text.as_bytes(), &descriptor_of(text.as_bytes()), "it").unwrap_err();
    assert!(error.message.contains("duplicate key `a`"), "{error}");
    let once = with(runs_on(), "config", json!({"Labels": {"a": "1", "b": "2"}}));
    assert_eq!(read_config(&once).unwrap().labels.len(), 2);
}

#[test]
fn empty_platform_part_is_absent() {
    for (variant, expected) in [("", None), ("v7", Some("v7"))] {
        let document = with(runs_on(), "variant", json!(variant));
        let document = with(document, "os.version", json!(variant));
        let platform = read_config(&document).unwrap().platform;
        let told = (platform.variant.as_deref(), platform.os_version.as_deref());
        assert_eq!(told, (expected, expected));
        let mut entry = descriptor();
        entry["platform"] = document;
        let entry: Descriptor = serde_json::from_value(entry).unwrap();
        assert_eq!(entry.platform(), Some(platform));
    }
}

#[test]
fn attestation_has_no_runnable_platform() {
    let is = |os: &str, architecture: &str, kind: Option<&str>| {
        let mut entry = descriptor();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if let Some(kind) = kind {
            entry["annotations"] = json!({"vnd.docker.reference.type": kind});
        }
        let entry: Descriptor = serde_json::from_value(entry).unwrap();
        entry.is_attestation()
    };
    let kind = Some("attestation-manifest");
    assert!(is("unknown", "unknown", kind));
    assert!(!is("unknown", "amd64", kind));
    assert!(!is("linux", "unknown", kind));
    assert!(!is("unknown", "unknown", Some("something else")));
    assert!(!is("unknown", "unknown", None));
    let nowhere: Descriptor = serde_json::from_value(descriptor()).unwrap();
    assert!(!nowhere.is_attestation());
}

//! Manifests, indexes and configs: compared with a second reader that is as lax as the engines'
//! reader.

use serde_json::Value;

use super::text;
use crate::oci::{
    Descriptor, Digest, INDEX_TYPES, Manifest, RawManifest, Tag, TagOrDigest, Verified, document,
};

const WHAT: &str = "example.com/a:b";

fn read(
    bytes: &[u8],
    want: &TagOrDigest,
    media_type: Option<&str>,
    claimed: Option<Digest>,
) -> Option<Verified<Manifest>> {
    let raw = RawManifest {
        bytes: bytes.to_vec(),
        media_type: media_type.map(str::to_owned),
        claimed,
    };
    document::manifest(&raw, want, None, WHAT).ok()
}

/// Documents of registries and layouts.
pub fn documents(input: &[u8]) {
    let digest = Digest::of(input);
    let tag = TagOrDigest::Tag(Tag::parse("b").unwrap());
    if let Some(found) = read(input, &tag, None, None) {
        assert_eq!((found.digest, found.size), (digest, input.len() as u64));
        let type_ = Some(found.media_type.as_str());
        assert!(read(input, &TagOrDigest::Digest(digest), type_, Some(digest)).is_some());
        let other = Digest::of(b"other");
        assert!(read(input, &TagOrDigest::Digest(other), type_, None).is_none());
        assert!(read(input, &tag, type_, Some(other)).is_none());
        let index = matches!(found.value, Manifest::Index(_));
        assert_eq!(INDEX_TYPES.contains(&found.media_type.as_str()), index);
        for type_ in INDEX_TYPES.into_iter().chain(document::MANIFEST_TYPES) {
            let same = type_ == found.media_type;
            assert!(
                same || !index
                    || read(input, &tag, Some(type_), None).is_none()
                    || !declares_type(input)
            );
        }
        same(input, &found.value);
    }
    config(input);
}

/// Whether a document declares its type.
fn declares_type(input: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(input).unwrap();
    value["mediaType"].is_string()
}

/// A key as the engines' reader finds it: case-insensitive by simple folding, and the last one
/// counts.
fn get<'v>(value: &'v Entries, key: &str) -> Option<&'v Loose> {
    let fold = |text: &str| {
        text.replace('\u{17f}', "s")
            .replace('\u{212a}', "k")
            .to_lowercase()
    };
    let wanted = fold(key);
    let found = value.0.iter().rev().find(|(name, _)| fold(name) == wanted);
    found
        .map(|(_, value)| value)
        .filter(|value| !matches!(value, Loose::Null))
}

/// JSON with every entry of its objects, in their order.
#[derive(Debug)]
enum Loose {
    Null,
    Text(String),
    List(Vec<Loose>),
    Object(Entries),
    Other,
}

#[derive(Debug, Default)]
struct Entries(Vec<(String, Loose)>);

impl<'de> serde::Deserialize<'de> for Loose {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> serde::de::Visitor<'de> for Visitor {
    type Value = Loose;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }
    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(text.to_owned()))
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Loose::List(all))
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Loose::Object(Entries(all)))
    }
}

/// The digest and media type that the second reader finds in a descriptor.
fn digest_and_type(descriptor: &Loose) -> [Option<String>; 2] {
    let Loose::Object(entries) = descriptor else {
        return [None, None];
    };
    ["digest", "mediaType"].map(|key| match get(entries, key) {
        Some(Loose::Text(text)) => Some(text.clone()),
        _ => None,
    })
}

/// The second reader sees the same descriptors, and no key of the other document type.
fn same(input: &[u8], manifest: &Manifest) {
    let Loose::Object(entries) = serde_json::from_slice(input).unwrap() else {
        panic!("a manifest that is no object");
    };
    let list = |key: &str| match get(&entries, key) {
        Some(Loose::List(items)) => Some(items.iter().map(digest_and_type).collect::<Vec<_>>()),
        _ => None,
    };
    let ours = |descriptors: &[Descriptor]| {
        let digest_and_type =
            |d: &Descriptor| [Some(d.digest.to_string()), Some(d.media_type.clone())];
        Some(descriptors.iter().map(digest_and_type).collect::<Vec<_>>())
    };
    match manifest {
        Manifest::Index(index) => {
            assert_eq!(list("manifests"), ours(&index.manifests));
            assert!(get(&entries, "layers").is_none() && get(&entries, "config").is_none());
        }
        Manifest::Image(image) => {
            assert_eq!(list("layers"), ours(&image.layers));
            let config = get(&entries, "config").map(digest_and_type);
            assert_eq!(
                config.map(|config| vec![config]),
                ours(std::slice::from_ref(&image.config))
            );
            assert!(get(&entries, "manifests").is_none());
        }
    }
}

/// An image's config: the second reader sees the same labels and layers.
fn config(input: &[u8]) {
    let descriptor = |size: u64, digest: Digest| -> Descriptor {
        let text = format!(r#"{{"mediaType":"a","digest":"{digest}","size":{size}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let (size, digest) = (input.len() as u64, Digest::of(input));
    let Ok(found) = document::config(input, &descriptor(size, digest), WHAT) else {
        return;
    };
    assert!(document::config(input, &descriptor(size + 1, digest), WHAT).is_err());
    assert!(document::config(input, &descriptor(size, Digest::of(b"other")), WHAT).is_err());
    assert!(text(input).is_some());
    let Loose::Object(entries) = serde_json::from_slice(input).unwrap() else {
        // serde also reads a struct from an array, which other readers refuse.
        panic!("a config that is no object");
    };
    let text_of = |entries: &Entries, key: &str| match get(entries, key) {
        Some(Loose::Text(text)) => Some(text.clone()),
        _ => None,
    };
    assert_eq!(
        text_of(&entries, "os"),
        Some(found.value.platform.os.clone())
    );
    assert_eq!(
        text_of(&entries, "architecture"),
        Some(found.value.platform.architecture.clone())
    );
    let Some(Loose::Object(rootfs)) = get(&entries, "rootfs") else {
        panic!("a config without rootfs");
    };
    let diff_ids = match get(rootfs, "diff_ids") {
        Some(Loose::List(items)) => items.len(),
        _ => 0,
    };
    assert_eq!(diff_ids, found.value.diff_ids.len());
    let none = Entries::default();
    let runtime = match get(&entries, "config") {
        Some(Loose::Object(runtime)) => runtime,
        _ => &none,
    };
    assert_eq!(
        text_of(runtime, "User").unwrap_or_default(),
        found.value.user
    );
    let labels = match get(runtime, "Labels") {
        Some(Loose::Object(labels)) => labels.0.len(),
        _ => 0,
    };
    assert_eq!(labels, found.value.labels.len());
    for (name, value) in &found.value.labels {
        let Some(Loose::Object(labels)) = get(runtime, "Labels") else {
            continue;
        };
        let other = labels.0.iter().find(|(other, _)| other == name);
        assert!(
            matches!(other, Some((_, Loose::Text(text))) if text == value),
            "{name}"
        );
    }
}

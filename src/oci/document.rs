//! Manifests, indexes and configs: bytes into verified documents.
//!
//! Fields are those that repin reads (OCI image specification: "Image Index", "Image Manifest",
//! "Image Configuration"). Bytes count only after their SHA-256 was computed here; a document that
//! two readers could understand differently is refused: index and manifest at once
//! (CVE-2021-41190), keys that differ in case only, labels that are there twice.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use crate::{
    error::{Class, Error},
    oci::{Digest, Platform, Tag},
    untrusted::{plain, short},
};

/// The largest manifest, index or config, in bytes (OCI distribution specification, "Pushing
/// manifests", asks for 4 MiB).
pub const DOCUMENT_MAX: u64 = 4 * 1024 * 1024;

/// The most bytes of all pages of a listing of what is attached to a digest.
pub const LISTING_MAX: u64 = 10 * 1024 * 1024;

/// Media types of image indexes, OCI's and Docker's.
pub const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Media types of image manifests, OCI's and Docker's.
pub const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagOrDigest {
    /// The one that a tag names now.
    Tag(Tag),
    /// The one whose bytes have this digest.
    Digest(Digest),
}

/// A manifest or index as it was received, nothing checked but its size.
#[derive(Debug)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type that came with them: the `Content-Type` header, or the layout's descriptor.
    pub media_type: Option<String>,
    /// The digest that came with them: the `Docker-Content-Digest` header, or the layout's
    /// descriptor.
    pub claimed: Option<Digest>,
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// A value that was read from bytes whose digest was computed here.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    /// The digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// Their media type.
    pub media_type: String,
    /// What they say.
    pub value: T,
}

/// An index or a manifest.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every manifest that is kept is an image's"
)]
pub enum Manifest {
    /// A list of manifests, one a platform.
    Index(Index),
    /// One image.
    Image(ImageManifest),
}

/// An image index.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its entries.
    pub manifests: Vec<Descriptor>,
    /// What it is attached to.
    pub subject: Option<Descriptor>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An image manifest.
#[derive(Debug, Clone)]
pub struct ImageManifest {
    /// The config.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What it is attached to.
    pub subject: Option<Descriptor>,
    /// What it is, where it is no image.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A descriptor (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of what it points to.
    pub media_type: String,
    /// Its digest.
    #[serde(deserialize_with = "digest")]
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it runs on; in indexes.
    #[serde(default)]
    pub platform: Option<RawPlatform>,
    /// What the manifest that it points to is, where that is no image; in listings.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Annotations.
    #[serde(default, deserialize_with = "strings")]
    pub annotations: BTreeMap<String, String>,
}

/// A platform as written in an index.
#[derive(Debug, Clone, Deserialize)]
pub struct RawPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
}

/// An image's config, as far as repin reads it.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// What the image runs on.
    pub platform: Platform,
    /// When it was built, as it was written (RFC 3339 by the specification).
    pub created: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Environment entries, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The user that it runs as.
    pub user: String,
    /// The digests of the layers' uncompressed bytes, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// Everything that an index or a manifest may hold; which of them it is, is decided afterwards.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "strings")]
    annotations: BTreeMap<String, String>,
    /// Of Docker's first schema, which is unsupported.
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Keys that are read at the top of an index or a manifest.
const DOCUMENT_KEYS: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "subject",
    "artifactType",
    "annotations",
    "fsLayers",
];

/// Keys of a descriptor, and of the platform in it.
const DESCRIPTOR_KEYS: [&str; 6] = [
    "mediaType",
    "digest",
    "size",
    "platform",
    "artifactType",
    "annotations",
];
const PLATFORM_KEYS: [&str; 4] = ["os", "architecture", "variant", "os.version"];

/// Keys that are read at the top of a config, of what runs, and of the layers.
const CONFIG_KEYS: [&str; 7] = [
    "os",
    "architecture",
    "variant",
    "os.version",
    "created",
    "config",
    "rootfs",
];
const RUNTIME_KEYS: [&str; 3] = ["Labels", "Env", "User"];
const ROOTFS_KEYS: [&str; 1] = ["diff_ids"];

/// Verifies and reads a manifest or an index.
pub fn manifest(
    raw: &RawManifest,
    want: &TagOrDigest,
    expected: Option<&str>,
    what: &str,
) -> Result<Verified<Manifest>, Error> {
    let unavailable = |reason: String| Error::unavailable(what, reason);
    let ambiguous = |reason: String| Error::about(Class::Ambiguous, what, reason);
    let size = raw.bytes.len() as u64;
    if size > DOCUMENT_MAX {
        return Err(unavailable("the document is larger than 4 MiB".to_owned()));
    }
    let digest = Digest::of(&raw.bytes);
    let asked = if let TagOrDigest::Digest(asked) = want {
        Some(*asked)
    } else {
        None
    };
    for claim in [asked, raw.claimed].into_iter().flatten() {
        if claim != digest {
            return Err(unavailable(format!(
                "its bytes hash to {digest}, not to {claim}"
            )));
        }
    }
    let unreadable = |error: serde_json::Error| unavailable(broken("malformed manifest", &error));
    let document: Document = serde_json::from_slice(&raw.bytes).map_err(unreadable)?;
    let keys: Value = serde_json::from_slice(&raw.bytes).map_err(unreadable)?;
    let lists = ["manifests", "layers"].map(|key| keys[key].as_array());
    let descriptors = lists.into_iter().flatten().flatten();
    let descriptors = descriptors.chain(["config", "subject"].map(|key| &keys[key]));
    let twin = twin_key(&keys, &DOCUMENT_KEYS).or_else(|| {
        descriptors.into_iter().find_map(|descriptor| {
            twin_key(descriptor, &DESCRIPTOR_KEYS)
                .or_else(|| twin_key(&descriptor["platform"], &PLATFORM_KEYS))
        })
    });
    if let Some(key) = twin {
        return Err(ambiguous(two_meanings(key)));
    }
    let claimed = raw.media_type.as_deref().map(essence);
    let media_type = agreed_type(&document, [claimed.as_deref(), expected]).map_err(ambiguous)?;
    let value = shape(document, &media_type).map_err(|reason| match reason {
        Shape::Ambiguous(reason) => ambiguous(reason),
        Shape::Unreadable(reason) => unavailable(reason),
    })?;
    Ok(Verified {
        digest,
        size,
        media_type,
        value,
    })
}

enum Shape {
    Ambiguous(String),
    Unreadable(String),
}

/// The one media type that header or descriptor, body and shape agree on.
fn agreed_type(document: &Document, claims: [Option<&str>; 2]) -> Result<String, String> {
    let by_shape = if document.manifests.is_some() {
        INDEX_TYPES[0]
    } else {
        MANIFEST_TYPES[0]
    };
    let body = document.media_type.as_deref();
    let media_type = body.or(claims[0]).or(claims[1]).unwrap_or(by_shape);
    for claim in claims.into_iter().flatten() {
        if claim != media_type {
            return Err(format!(
                "its media type is `{}`, but its Content-Type is `{}`",
                safe(media_type),
                safe(claim)
            ));
        }
    }
    Ok(media_type.to_owned())
}

fn shape(document: Document, media_type: &str) -> Result<Manifest, Shape> {
    let index = INDEX_TYPES.contains(&media_type);
    if !index && !MANIFEST_TYPES.contains(&media_type) {
        return Err(Shape::Ambiguous(format!(
            "its media type `{}` is neither a manifest nor an index",
            safe(media_type)
        )));
    }
    if document.schema_version != 2 || document.fs_layers.is_some() {
        return Err(Shape::Unreadable(format!(
            "its schema version is {}, not 2",
            document.schema_version
        )));
    }
    let Document {
        config,
        layers,
        manifests,
        subject,
        artifact_type,
        annotations,
        ..
    } = document;
    match (manifests, config, layers) {
        (Some(manifests), None, None) if index => Ok(Manifest::Index(Index {
            manifests,
            subject,
            annotations,
        })),
        (None, Some(config), Some(layers)) if !index => Ok(Manifest::Image(ImageManifest {
            config,
            layers,
            subject,
            artifact_type,
            annotations,
        })),
        (Some(_), config, layers) if config.is_some() || layers.is_some() => Err(Shape::Ambiguous(
            "the document is an index and a manifest at once".to_owned(),
        )),
        (Some(_), ..) => Err(Shape::Ambiguous(
            "the document is an index but its media type is a manifest's".to_owned(),
        )),
        (None, Some(_), Some(_)) => Err(Shape::Ambiguous(
            "the document is a manifest but its media type is an index's".to_owned(),
        )),
        _ => Err(Shape::Unreadable(
            "the document has neither `manifests` nor `config` and `layers`".to_owned(),
        )),
    }
}

/// Reads a page of a listing: an index that stands for no bytes of its own.
pub fn listing(bytes: &[u8]) -> Result<Vec<Descriptor>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listing {
        schema_version: u64,
        /// May be `null`, but not missing.
        #[serde(deserialize_with = "Option::deserialize")]
        manifests: Option<Vec<Descriptor>>,
    }
    let listing: Listing =
        serde_json::from_slice(bytes).map_err(|error| broken("not an index", &error))?;
    if listing.schema_version != 2 {
        return Err("it is not an index of schema version 2".to_owned());
    }
    Ok(listing.manifests.unwrap_or_default())
}

/// Verifies the bytes of a document that a descriptor points to.
pub fn blob(bytes: &[u8], descriptor: &Descriptor, what: &str) -> Result<(), Error> {
    let size = bytes.len() as u64;
    if size != descriptor.size {
        return Err(Error::unavailable(
            what,
            format!(
                "it has {size} bytes, but its manifest states {}",
                descriptor.size
            ),
        ));
    }
    let digest = Digest::of(bytes);
    if digest != descriptor.digest {
        return Err(Error::unavailable(
            what,
            format!("its bytes hash to {digest}"),
        ));
    }
    Ok(())
}

/// Verifies and reads a config.
pub fn config(
    bytes: &[u8],
    descriptor: &Descriptor,
    what: &str,
) -> Result<Verified<ImageConfig>, Error> {
    blob(bytes, descriptor, what)?;
    let (digest, size) = (descriptor.digest, descriptor.size);
    let unreadable = |error| Error::unavailable(what, broken("malformed image config", &error));
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(unreadable)?;
    let keys: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    let twin = twin_key(&keys, &CONFIG_KEYS)
        .or_else(|| twin_key(&keys["config"], &RUNTIME_KEYS))
        .or_else(|| twin_key(&keys["rootfs"], &ROOTFS_KEYS));
    if let Some(key) = twin {
        return Err(Error::about(Class::Ambiguous, what, two_meanings(key)));
    }
    let value = ImageConfig {
        platform: Platform {
            os: raw.os,
            architecture: raw.architecture,
            variant: raw.variant.filter(|text| !text.is_empty()),
            os_version: raw.os_version.filter(|text| !text.is_empty()),
        },
        created: raw.created,
        labels: raw.config.labels,
        env: raw.config.env.unwrap_or_default(),
        user: raw.config.user.unwrap_or_default(),
        diff_ids: raw.rootfs.diff_ids,
    };
    Ok(Verified {
        digest,
        size,
        media_type: descriptor.media_type.clone(),
        value,
    })
}

#[derive(Deserialize)]
struct RawConfig {
    os: String,
    architecture: String,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: RawRuntime,
    rootfs: RawRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawRuntime {
    #[serde(default, deserialize_with = "strings")]
    labels: BTreeMap<String, String>,
    env: Option<Vec<String>>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(deserialize_with = "digests")]
    diff_ids: Vec<Digest>,
}

impl Descriptor {
    /// Whether this is an attestation that image builders put beside the platforms of an index, and
    /// nothing that runs.
    pub fn is_attestation(&self) -> bool {
        let nowhere = self
            .platform
            .as_ref()
            .is_some_and(|p| p.os == "unknown" && p.architecture == "unknown");
        let kind = self.annotations.get("vnd.docker.reference.type");
        nowhere && kind.is_some_and(|kind| kind == "attestation-manifest")
    }

    /// The platform that an index says its entry is for.
    pub fn platform(&self) -> Option<Platform> {
        let raw = self.platform.clone()?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Platform {
            os: raw.os,
            architecture: raw.architecture,
            variant: given(raw.variant),
            os_version: given(raw.os_version),
        })
    }
}

/// A media type without its parameters, in lower case (RFC 9110, section 8.3.1).
pub fn essence(media_type: &str) -> String {
    media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Foreign text, made harmless and short.
fn safe(text: &str) -> String {
    short(text, 100)
}

/// A key that equals a known one but for its case: the engines' reader takes it for the known one,
/// by Unicode's simple folding (Go, `encoding/json`).
fn twin_key<'v>(object: &'v Value, known: &[&str]) -> Option<&'v str> {
    let folded = |key: &str| {
        let key = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
        key.to_ascii_lowercase()
    };
    let is_twin = |key: &str| {
        let key_folded = folded(key);
        known
            .iter()
            .any(|known| *known != key && folded(known) == key_folded)
    };
    let mut keys = object.as_object()?.keys().map(String::as_str);
    keys.find(|key| is_twin(key))
}

fn two_meanings(key: &str) -> String {
    format!(
        "its key `{}` is ambiguous: readers interpret it differently",
        plain(key)
    )
}

/// Why JSON cannot be read; what it quotes of the document is foreign and of any length.
fn broken(what: &str, error: &serde_json::Error) -> String {
    format!("{what}: {}", short(&error.to_string(), 200))
}

fn digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| {
        serde::de::Error::custom(format!("`{}` is not a digest: {error}", safe(&text)))
    })
}

fn digests<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Digest>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            serde::de::Error::custom(format!("`{}` is not a digest: {error}", safe(text)))
        })
    };
    texts.iter().map(parse).collect()
}

/// `null` is what Go writes for an empty struct pointer.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A map of strings in which no key is there twice; `null` is an empty one.
fn strings<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Strings;
    impl<'de> Visitor<'de> for Strings {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, String>()? {
                if map.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!(
                        "duplicate key `{}`",
                        safe(&key)
                    )));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_any(Strings)
}

#[cfg(test)]
mod tests;

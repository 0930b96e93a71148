//! Verifies and parses manifests, indexes and configs.
//!
//! The types contain the fields that repin needs (OCI image specification: "Image Index", "Image
//! Manifest", "Image Configuration"). Bytes are trusted only after hashing. A document that two
//! parsers could interpret differently is refused: one that is both index and manifest
//! (CVE-2021-41190), keys that differ only in case, duplicate labels.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, error::Category};

use super::{
    Digest, Platform, Tag,
    platform::{self, RawPlatform, RuntimeConfig},
};
use crate::base::{
    error::{Class, Error},
    untrusted::{plain, short},
};

/// The maximum size of a manifest, index or config, in bytes (OCI distribution specification,
/// "Pushing manifests", requires 4 MiB).
pub(crate) const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// The maximum size of all pages of a referrers listing, in bytes.
pub(crate) const MAX_LISTING: u64 = 10 * 1024 * 1024;

/// Media types of image indexes, OCI's and Docker's.
pub(crate) const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Media types of image manifests, OCI's and Docker's.
pub(crate) const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The part of a reference that selects a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagOrDigest {
    /// The current manifest of a tag.
    Tag(Tag),
    /// The manifest with a digest.
    Digest(Digest),
}

/// A manifest or index as received; only its size is checked.
#[derive(Debug, Clone)]
pub(crate) struct RawManifest {
    /// The bytes of the document.
    pub bytes: Vec<u8>,
    /// The media type in the `Content-Type` header, or in the layout's descriptor.
    pub media_type: Option<String>,
    /// The digest in the `Docker-Content-Digest` header, or in the layout's descriptor.
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

/// A document that was parsed from verified bytes.
#[derive(Debug, Clone)]
pub(crate) struct Verified<T> {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
    /// The media type of the document.
    pub media_type: String,
    /// The parsed document.
    pub value: T,
}

/// An index or a manifest.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every manifest in memory is an image's"
)]
pub(crate) enum Manifest {
    /// An index: one manifest for each platform.
    Index(Index),
    /// The manifest of one image.
    Image(ImageManifest),
}

/// An image index.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// The entries of the index.
    pub manifests: Vec<Descriptor>,
    /// The manifest to which the index is attached.
    pub subject: Option<Descriptor>,
    /// The annotations of the index.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct ImageManifest {
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest to which this one is attached.
    pub subject: Option<Descriptor>,
    /// The type of an artifact other than an image.
    pub artifact_type: Option<String>,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A descriptor (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    #[serde(deserialize_with = "digest")]
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The platform of an index's entry.
    #[serde(default, deserialize_with = "platform::optional")]
    pub platform: Option<Platform>,
    /// The artifact type of a listed referrer.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The annotations of the descriptor.
    #[serde(default, deserialize_with = "string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// The fields of an image's config that repin needs.
#[derive(Debug, Clone)]
pub(crate) struct ImageConfig {
    /// The platform of the image.
    pub platform: Platform,
    /// The build time as written (the specification requires RFC 3339).
    pub created: Option<String>,
    /// The labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The environment, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// The user that runs the image's program.
    pub user: String,
    /// The other fields that a container is started with, or the reason that they are unknown.
    pub runtime: Result<RuntimeConfig, String>,
    /// The digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// The fields of indexes and manifests, before [`parse_kind`] distinguishes them.
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
    #[serde(default, deserialize_with = "string_map")]
    annotations: BTreeMap<String, String>,
    /// A field of Docker's first schema, which is unsupported.
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// The known keys of an index or a manifest.
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

/// The known keys of a descriptor, and of its platform.
const DESCRIPTOR_KEYS: [&str; 6] = [
    "mediaType",
    "digest",
    "size",
    "platform",
    "artifactType",
    "annotations",
];
const PLATFORM_KEYS: [&str; 4] = ["os", "architecture", "variant", "os.version"];

/// The known keys of a config, and of its objects `config` and `rootfs`.
const CONFIG_KEYS: [&str; 7] = [
    "os",
    "architecture",
    "variant",
    "os.version",
    "created",
    "config",
    "rootfs",
];
const CONTAINER_KEYS: [&str; 3] = ["Labels", "Env", "User"];
const ROOTFS_KEYS: [&str; 1] = ["diff_ids"];

/// Verifies and parses a manifest or an index. `expected` is the media type in the parent's
/// descriptor; `name` is the name of the document in errors.
pub(crate) fn manifest(
    raw: &RawManifest,
    reference: &TagOrDigest,
    expected: Option<&str>,
    name: &str,
) -> Result<Verified<Manifest>, Error> {
    let unavailable = |reason: String| Error::unavailable(name, reason);
    let ambiguous = |reason: String| Error::about(Class::Ambiguous, name, reason);
    let size = raw.bytes.len() as u64;
    if size > MAX_DOCUMENT {
        return Err(unavailable("the document is larger than 4 MiB".to_owned()));
    }
    let digest = Digest::of(&raw.bytes);
    let requested = match reference {
        TagOrDigest::Digest(digest) => Some(*digest),
        TagOrDigest::Tag(_) => None,
    };
    for stated in [requested, raw.claimed].into_iter().flatten() {
        if stated != digest {
            let reason = format!("its bytes hash to {digest}, not to {stated}");
            return Err(Error::about(Class::WrongBytes, name, reason));
        }
    }
    let malformed =
        |error: serde_json::Error| unavailable(parse_error("malformed manifest", &error));
    let document: Document = serde_json::from_slice(&raw.bytes).map_err(malformed)?;
    let json: Value = serde_json::from_slice(&raw.bytes).map_err(malformed)?;
    if let Some(key) = ambiguous_manifest_key(&json) {
        return Err(ambiguous(ambiguous_key_reason(key)));
    }
    let content_type = raw.media_type.as_deref().map(essence);
    let media_type =
        agreed_type(&document, [content_type.as_deref(), expected]).map_err(ambiguous)?;
    let value = parse_kind(document, &media_type).map_err(|error| match error {
        KindError::Ambiguous(reason) => ambiguous(reason),
        KindError::Unsupported(reason) => unavailable(reason),
    })?;
    Ok(Verified {
        digest,
        size,
        media_type,
        value,
    })
}

/// Whether a document has the form of a manifest or an index, which the specifications require to have this key.
pub(crate) fn is_manifest(bytes: &[u8]) -> bool {
    let document = serde_json::from_slice::<Value>(bytes);
    document.is_ok_and(|document| document.get("schemaVersion").is_some())
}

/// The first ambiguous key of an index or manifest, also in its descriptors.
fn ambiguous_manifest_key(json: &Value) -> Option<&str> {
    let mut descriptors = vec![&json["config"], &json["subject"]];
    for list in ["manifests", "layers"] {
        descriptors.extend(json[list].as_array().into_iter().flatten());
    }
    if let Some(key) = ambiguous_key(json, &DOCUMENT_KEYS) {
        return Some(key);
    }
    descriptors.into_iter().find_map(|descriptor| {
        ambiguous_key(descriptor, &DESCRIPTOR_KEYS)
            .or_else(|| ambiguous_key(&descriptor["platform"], &PLATFORM_KEYS))
    })
}

/// The error of a document that is not an index or a manifest.
enum KindError {
    Ambiguous(String),
    Unsupported(String),
}

/// The media type on which the document and its descriptor or header agree.
fn agreed_type(document: &Document, stated: [Option<&str>; 2]) -> Result<String, String> {
    let default = if document.manifests.is_some() {
        INDEX_TYPES[0]
    } else {
        MANIFEST_TYPES[0]
    };
    let in_document = document.media_type.as_deref();
    let media_type = in_document.or(stated[0]).or(stated[1]).unwrap_or(default);
    for other in stated.into_iter().flatten() {
        if other != media_type {
            return Err(format!(
                "its media type is `{}`, but its Content-Type is `{}`",
                safe(media_type),
                safe(other)
            ));
        }
    }
    Ok(media_type.to_owned())
}

/// Decides whether a document is an index or a manifest: its media type and its fields must agree.
fn parse_kind(document: Document, media_type: &str) -> Result<Manifest, KindError> {
    let is_index = INDEX_TYPES.contains(&media_type);
    if !is_index && !MANIFEST_TYPES.contains(&media_type) {
        return Err(KindError::Ambiguous(format!(
            "expected the media type of a manifest or an index, found `{}`",
            safe(media_type)
        )));
    }
    if document.schema_version != 2 || document.fs_layers.is_some() {
        return Err(KindError::Unsupported(format!(
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
        (Some(manifests), None, None) if is_index => Ok(Manifest::Index(Index {
            manifests,
            subject,
            annotations,
        })),
        (None, Some(config), Some(layers)) if !is_index => Ok(Manifest::Image(ImageManifest {
            config,
            layers,
            subject,
            artifact_type,
            annotations,
        })),
        (Some(_), None, None) => Err(KindError::Ambiguous(
            "the document is an index but its media type is a manifest's".to_owned(),
        )),
        (Some(_), ..) => Err(KindError::Ambiguous(
            "the document is an index and a manifest at once".to_owned(),
        )),
        (None, Some(_), Some(_)) => Err(KindError::Ambiguous(
            "the document is a manifest but its media type is an index's".to_owned(),
        )),
        _ => Err(KindError::Unsupported(
            "the document has neither `manifests` nor `config` and `layers`".to_owned(),
        )),
    }
}

/// Parses a page of a referrers listing, which has the form of an index.
pub(crate) fn listing(bytes: &[u8]) -> Result<Vec<Descriptor>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listing {
        schema_version: u64,
        /// May be `null`, but not missing.
        #[serde(deserialize_with = "Option::deserialize")]
        manifests: Option<Vec<Descriptor>>,
    }
    let listing: Listing =
        serde_json::from_slice(bytes).map_err(|error| parse_error("not an index", &error))?;
    if listing.schema_version != 2 {
        return Err("it is not an index of schema version 2".to_owned());
    }
    Ok(listing.manifests.unwrap_or_default())
}

/// Verifies the size and digest of a descriptor's bytes.
pub(crate) fn blob(bytes: &[u8], descriptor: &Descriptor, name: &str) -> Result<(), Error> {
    let (size, stated) = (bytes.len() as u64, descriptor.size);
    if size != stated {
        let reason = format!("it has {size} bytes, but its manifest states {stated}");
        return Err(Error::about(Class::WrongBytes, name, reason));
    }
    let digest = Digest::of(bytes);
    if digest != descriptor.digest {
        let reason = format!("its bytes hash to {digest}");
        return Err(Error::about(Class::WrongBytes, name, reason));
    }
    Ok(())
}

/// Verifies and parses a config. Errors contain no text of it: values of variables may be secrets.
pub(crate) fn config(
    bytes: &[u8],
    descriptor: &Descriptor,
    name: &str,
) -> Result<Verified<ImageConfig>, Error> {
    blob(bytes, descriptor, name)?;
    let malformed =
        |error| Error::unavailable(name, error_position("malformed image config", &error));
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(malformed)?;
    let json: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    let key = ambiguous_key(&json, &CONFIG_KEYS)
        .or_else(|| ambiguous_key(&json["config"], &CONTAINER_KEYS))
        .or_else(|| ambiguous_key(&json["rootfs"], &ROOTFS_KEYS));
    if let Some(key) = key {
        let reason = ambiguous_key_reason(key);
        return Err(Error::about(Class::Ambiguous, name, reason));
    }
    let value = ImageConfig {
        platform: Platform::from(RawPlatform {
            os: raw.os,
            architecture: raw.architecture,
            variant: raw.variant,
            os_version: raw.os_version,
        }),
        created: raw.created,
        labels: raw.config.labels,
        env: raw.config.env.unwrap_or_default(),
        user: raw.config.user.unwrap_or_default(),
        runtime: runtime_config(&json["config"]),
        diff_ids: raw.rootfs.diff_ids,
    };
    Ok(Verified {
        digest: descriptor.digest,
        size: descriptor.size,
        media_type: descriptor.media_type.clone(),
        value,
    })
}

/// The fields that a container is started with. They are only compared, so a malformed one does not make the
/// image unreadable.
fn runtime_config(container: &Value) -> Result<RuntimeConfig, String> {
    match ambiguous_key(container, &platform::KEYS) {
        Some(key) => Err(ambiguous_key_reason(key)),
        None => RuntimeConfig::parse(container),
    }
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
    #[serde(default, deserialize_with = "string_map")]
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
    /// Whether this entry of an index is an attestation from the image's builder, which has no
    /// platform.
    pub(crate) fn is_attestation(&self) -> bool {
        let Some(platform) = &self.platform else {
            return false;
        };
        let kind = self.annotations.get("vnd.docker.reference.type");
        platform.os == "unknown"
            && platform.architecture == "unknown"
            && kind.is_some_and(|kind| kind == "attestation-manifest")
    }
}

/// A media type without its parameters, in lower case (RFC 9110, section 8.3.1).
pub(crate) fn essence(media_type: &str) -> String {
    media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Escapes and shortens external text.
fn safe(text: &str) -> String {
    short(text, 100)
}

/// A key that differs from a known key only in case. The engines' parser (Go, `encoding/json`)
/// treats both as equal, by Unicode's simple folding.
fn ambiguous_key<'v>(object: &'v Value, known: &[&str]) -> Option<&'v str> {
    for key in object.as_object()?.keys() {
        let folded = fold_case(key);
        if known
            .iter()
            .any(|known| *known != key.as_str() && fold_case(known) == folded)
        {
            return Some(key.as_str());
        }
    }
    None
}

fn fold_case(key: &str) -> String {
    // Besides the capitals, two characters fold to ASCII letters: the long s and the Kelvin sign.
    let key = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
    key.to_ascii_lowercase()
}

fn ambiguous_key_reason(key: &str) -> String {
    format!(
        "its key `{}` is ambiguous: readers interpret it differently",
        plain(key)
    )
}

/// The message of a JSON error, escaped and shortened because it may quote the document.
fn parse_error(message: &str, error: &serde_json::Error) -> String {
    format!("{message}: {}", short(&error.to_string(), 200))
}

/// The kind and the position of a JSON error. Its text would quote the document.
fn error_position(message: &str, error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Data => "missing or unexpected value",
        Category::Syntax => "invalid JSON",
        Category::Eof | Category::Io => "unexpected end",
    };
    let (line, column) = (error.line(), error.column());
    format!("{message}: {kind} at line {line} column {column}")
}

fn digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    parse_digest(&String::deserialize(deserializer)?)
}

fn digests<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Digest>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    texts.iter().map(|text| parse_digest(text)).collect()
}

fn parse_digest<E: serde::de::Error>(text: &str) -> Result<Digest, E> {
    text.parse()
        .map_err(|error| E::custom(format!("`{}` is not a digest: {error}", safe(text))))
}

/// Accepts `null`, which Go writes for an empty struct pointer.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A map of strings without duplicate keys; `null` is an empty map.
fn string_map<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct StringMap;
    impl<'de> Visitor<'de> for StringMap {
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
    deserializer.deserialize_any(StringMap)
}

#[cfg(test)]
mod tests;

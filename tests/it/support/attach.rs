//! Signatures and attestations, attached to images in a layout, and a registry with the referrers
//! API that serves a layout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    authority::{Signing, payload},
    fake::{Fake, Reaction, Request},
    layout::{Layout, Written},
};

/// The type of a bundle.
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Its type under the fallback tag of cosign.
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A manifest that is attached to a digest.
pub(crate) struct Attachment {
    /// The digest of the bundle.
    pub(crate) bundle: String,
    /// The digest of the manifest.
    pub(crate) manifest: String,
    /// Its entry of a listing.
    pub(crate) entry: Value,
}

/// Writes the manifest of a bundle that is attached to `subject` (`sha256:…`).
pub(crate) fn bundle(layout: &Layout, subject: &str, bundle: &[u8]) -> Attachment {
    let blob = layout.blob(BUNDLE, bundle);
    artifact(layout, subject, BUNDLE, &blob)
}

/// The same of any blob.
pub(crate) fn artifact(
    layout: &Layout,
    subject: &str,
    artifact_type: &str,
    blob: &Written,
) -> Attachment {
    let config = layout.blob(EMPTY, b"{}");
    let written = layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [blob.descriptor()],
            "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 },
        }),
    );
    let mut entry = written.descriptor();
    entry["artifactType"] = json!(artifact_type);
    Attachment {
        bundle: blob.digest.clone(),
        manifest: written.digest,
        entry,
    }
}

/// Lists attachments in `index.json`, as `oras` does and a registry's API would.
pub(crate) fn list(layout: &Layout, attachments: &[&Attachment]) {
    for attachment in attachments {
        layout.add(attachment.entry.clone());
    }
}

/// Lists attachments under the tag of a digest, as registries without the API have it.
pub(crate) fn list_by_tag(layout: &Layout, subject: &str, attachments: &[&Attachment]) {
    let entries = attachments.iter().map(|attachment| {
        let mut entry = attachment.entry.clone();
        entry["artifactType"] = json!(EMPTY);
        entry
    });
    let index = layout.index(&entries.collect::<Vec<_>>());
    layout.tag(&subject.replace(':', "-"), &index);
}

/// Attaches signatures of an older cosign; the digests of the payloads.
pub(crate) fn signatures(
    layout: &Layout,
    name: &str,
    subject: &str,
    signings: &[Signing],
) -> Vec<String> {
    let payload = payload(name, subject.trim_start_matches("sha256:"));
    let layers: Vec<Value> = signings
        .iter()
        .map(|signing| {
            let mut layer = layout.blob(PAYLOAD, &payload).descriptor();
            layer["annotations"] = signing.annotations(&payload, None).into_iter().collect();
            layer
        })
        .collect();
    let config = layout.json(
        "application/vnd.oci.image.config.v1+json",
        &json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}),
    );
    let manifest = layout.json(
        MANIFEST,
        &json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers,
        }),
    );
    layout.tag(&format!("{}.sig", subject.replace(':', "-")), &manifest);
    let digest = |layer: &Value| layer["digest"].as_str().unwrap().to_owned();
    layers.iter().map(digest).collect()
}

/// A registry with the referrers API that serves the layout in `directory` under any name; `answer`
/// goes first.
pub(crate) fn serve(
    directory: &Path,
    answer: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
) -> Fake {
    let directory = directory.to_owned();
    Fake::start(move |request| answer(request).unwrap_or_else(|| of_layout(&directory, request)))
}

fn of_layout(directory: &Path, request: &Request) -> Reaction {
    let path = request.path();
    let Some((kind, reference)) = path.rsplit_once('/') else {
        return Reaction::new(404, "");
    };
    match kind.rsplit_once('/').map(|(_, kind)| kind) {
        Some("manifests") => manifest(directory, reference),
        Some("blobs") => match fs::read(blob_path(directory, reference)) {
            Ok(bytes) => Reaction::new(200, bytes),
            Err(_) => Reaction::new(404, ""),
        },
        Some("referrers") => {
            let mut entries = entries(directory);
            entries.retain(|entry| subject_of(directory, entry) == reference);
            listing(&entries)
        }
        _ => Reaction::new(404, ""),
    }
}

/// A page of the referrers API.
pub(crate) fn listing(entries: &[Value]) -> Reaction {
    let index = "application/vnd.oci.image.index.v1+json";
    let body = json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
    Reaction::new(200, body.to_string()).with("content-type", index)
}

fn manifest(directory: &Path, reference: &str) -> Reaction {
    let tagged =
        |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"] == reference;
    let digest = if reference.contains(':') {
        reference.to_owned()
    } else {
        let entry = entries(directory).into_iter().find(tagged);
        let digest = entry.and_then(|entry| Some(entry["digest"].as_str()?.to_owned()));
        let Some(digest) = digest else {
            return Reaction::new(404, "");
        };
        digest
    };
    match fs::read(blob_path(directory, &digest)) {
        Ok(bytes) => {
            let document: Value = serde_json::from_slice(&bytes).unwrap();
            let kind = document["mediaType"]
                .as_str()
                .unwrap_or(MANIFEST)
                .to_owned();
            Reaction::new(200, bytes).with("content-type", kind)
        }
        Err(_) => Reaction::new(404, ""),
    }
}

fn subject_of(directory: &Path, entry: &Value) -> String {
    let digest = entry["digest"].as_str().unwrap();
    let manifest = fs::read(blob_path(directory, digest)).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    manifest["subject"]["digest"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn entries(directory: &Path) -> Vec<Value> {
    let index = fs::read(directory.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

fn blob_path(directory: &Path, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    directory.join("blobs/sha256").join(hex)
}

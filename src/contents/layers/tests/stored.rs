//! OCI image layouts on disk, written and read by hand.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::oci::Digest;

fn blob(directory: &Path, bytes: &[u8]) -> (Digest, u64) {
    let digest = Digest::of(bytes);
    fs::write(directory.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    (digest, bytes.len() as u64)
}

/// Writes an image of plain layers, tagged `latest`.
pub(crate) fn write(directory: &Path, layers: &[Vec<u8>]) {
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    fs::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let stored: Vec<_> = layers.iter().map(|layer| blob(directory, layer)).collect();
    let diff_ids: Vec<_> = stored
        .iter()
        .map(|(digest, _)| digest.to_string())
        .collect();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let descriptor = |kind: &str, (digest, size): (Digest, u64)| json!({"mediaType": kind, "digest": digest, "size": size});
    let config = blob(directory, config.to_string().as_bytes());
    let layer =
        |stored: &(Digest, u64)| descriptor("application/vnd.oci.image.layer.v1.tar", *stored);
    let manifest = json!({"schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": stored.iter().map(layer).collect::<Vec<_>>()});
    let manifest = blob(directory, manifest.to_string().as_bytes());
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(
        directory.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [entry]}).to_string(),
    )
    .unwrap();
}

/// A layer of an image as the layout has it: media type, digest, size, diff id, stored bytes.
pub(crate) struct Stored {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// The layers of the image tagged `tag`, the lowest first.
pub(crate) fn layers(directory: &Path, tag: &str) -> Vec<Stored> {
    let path = |digest: &Value| {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        directory.join("blobs/sha256").join(digest.hex())
    };
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = json(&directory.join("index.json"));
    let tagged = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let entry = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .find(tagged)
        .unwrap();
    let manifest = json(&path(&entry["digest"]));
    let config = json(&path(&manifest["config"]["digest"]));
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), diff_ids.len());
    let layer = |(layer, diff_id): (&Value, &Value)| Stored {
        media_type: layer["mediaType"].as_str().unwrap().to_owned(),
        digest: layer["digest"].as_str().unwrap().parse().unwrap(),
        size: layer["size"].as_u64().unwrap(),
        diff_id: diff_id.as_str().unwrap().parse().unwrap(),
        bytes: fs::read(path(&layer["digest"])).unwrap(),
    };
    layers.iter().zip(diff_ids).map(layer).collect()
}

//! Images: their bytes, as a registry or a layout stores them.

use serde_json::json;

use super::Digest;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest or an index, and the blobs below it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) media_type: &'static str,
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) children: Vec<Image>,
}

impl Image {
    /// An image for one platform; `seed` makes its bytes unique.
    pub(crate) fn single(architecture: &str, seed: &str) -> Self {
        Self::created(architecture, seed, Some("2024-05-06T07:08:09Z"))
    }

    /// The same with another date in its config, or without one.
    pub(crate) fn created(architecture: &str, seed: &str, created: Option<&str>) -> Self {
        let labels = json!({"org.opencontainers.image.revision": seed});
        Self::labeled(architecture, seed, created, &labels)
    }

    pub(crate) fn labeled(
        architecture: &str,
        seed: &str,
        created: Option<&str>,
        labels: &serde_json::Value,
    ) -> Self {
        let layer =
            format!("layer of {seed} for {architecture} {}", "x".repeat(2_000)).into_bytes();
        let config = json!({
            "os": "linux", "architecture": architecture, "created": created,
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        Self {
            media_type: OCI_MANIFEST,
            manifest,
            config,
            layer,
            children: Vec::new(),
        }
    }

    pub(crate) fn index(children: Vec<Image>) -> Self {
        let entries: Vec<_> = children
            .iter()
            .map(|child| {
                let mut entry = descriptor(child.media_type, &child.manifest);
                // An index in an index has no platform.
                if let Ok(config) = serde_json::from_slice::<serde_json::Value>(&child.config) {
                    entry["platform"] =
                        json!({"os": "linux", "architecture": config["architecture"]});
                }
                entry
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        let manifest = manifest.to_string().into_bytes();
        Self {
            media_type: OCI_INDEX,
            manifest,
            config: Vec::new(),
            layer: Vec::new(),
            children,
        }
    }

    /// The same with one more key in its manifest: annotations, a subject.
    pub(crate) fn with(mut self, key: &str, value: serde_json::Value) -> Self {
        let mut manifest: serde_json::Value = serde_json::from_slice(&self.manifest).unwrap();
        manifest[key] = value;
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// All blobs by digest: configs and layers.
    pub(crate) fn blobs(&self) -> Vec<(Digest, Vec<u8>)> {
        let own = [&self.config, &self.layer]
            .into_iter()
            .filter(|bytes| !bytes.is_empty());
        let own = own.map(|bytes| (Digest::of(bytes), bytes.clone()));
        own.chain(self.children.iter().flat_map(Image::blobs))
            .collect()
    }

    /// All manifests, the children first.
    pub(crate) fn manifests(&self) -> Vec<&Image> {
        self.children
            .iter()
            .flat_map(Image::manifests)
            .chain([self])
            .collect()
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

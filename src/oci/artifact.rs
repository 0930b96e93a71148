//! Artifacts that are not images.

use super::document::ImageManifest;

/// Media types of configs of images, OCI's and Docker's.
pub(crate) const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The type of every config before Docker 1.10.
const OLD_CONFIG_TYPE: &str = "application/octet-stream";

impl ImageManifest {
    /// The type of an artifact that is not an image, such as a Helm chart; `None` for an image.
    pub(crate) fn other_artifact(&self) -> Option<&str> {
        let config = self.config.media_type.as_str();
        if CONFIG_TYPES.contains(&config) || config == OLD_CONFIG_TYPE {
            return None;
        }
        Some(self.artifact_type.as_deref().unwrap_or(config))
    }
}

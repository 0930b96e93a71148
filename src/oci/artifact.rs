//! Artifacts that are not images.

use super::document::ImageManifest;

/// Media types of configs of images. Docker before 1.10 stated the last one.
const CONFIG_TYPES: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",
];

impl ImageManifest {
    /// The type of an artifact that is not an image, such as a Helm chart; `None` for an image.
    pub(crate) fn other_artifact(&self) -> Option<&str> {
        let config = self.config.media_type.as_str();
        if CONFIG_TYPES.contains(&config) {
            return None;
        }
        Some(self.artifact_type.as_deref().unwrap_or(config))
    }
}

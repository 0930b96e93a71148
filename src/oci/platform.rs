//! Platforms of the OCI image specification (image index, `platform`).

use std::fmt;

use serde::{Serialize, Serializer};

/// What an image runs on; displayed as `os/architecture[/variant]`, with `:os.version` where one is
/// given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `os`, for example `linux`.
    pub os: String,
    /// `architecture`, for example `arm64`.
    pub architecture: String,
    /// `variant`, for example `v8`.
    pub variant: Option<String>,
    /// `os.version`; distinguishes Windows images.
    pub os_version: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distinguishing_platform_part_is_shown() {
        let mut platform = Platform {
            os: "linux".into(),
            architecture: "arm64".into(),
            variant: None,
            os_version: None,
        };
        assert_eq!(platform.to_string(), "linux/arm64");
        platform.variant = Some("v8".into());
        platform.os_version = Some("1.2".into());
        assert_eq!(platform.to_string(), "linux/arm64/v8:1.2");
    }
}

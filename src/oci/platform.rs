//! Platforms of the OCI image specification (image index, `platform`).
//!
//! The fields of an image's config that an engine starts a container with (OCI image specification, "Image
//! Configuration"; Docker's config for the health check). They are compared, not judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A platform, displayed as `os/architecture[/variant][:os.version]`.
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

impl Platform {
    /// The forms of a platform, for messages.
    pub(crate) const EXPECTED: &str = "expected OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64";

    /// Parses the displayed form; `None` if `text` has another one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (platform, version) = match text.split_once(':') {
            Some((platform, version)) => (platform, Some(version)),
            None => (text, None),
        };
        let parts: Vec<_> = platform.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return None,
        };
        let mut texts = [os, architecture].into_iter().chain(variant).chain(version);
        texts.all(|text| !text.is_empty()).then(|| Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: version.map(str::to_owned),
        })
    }

    /// Whether this platform of an index matches the platform in the image's config. The variants
    /// are compared if both have one.
    pub(crate) fn matches_config(&self, config: &Self) -> bool {
        let (listed, stated) = (self.normalized(), config.normalized());
        let have_variants = self.variant.is_some() && config.variant.is_some();
        listed.os == stated.os
            && listed.architecture == stated.architecture
            && (!have_variants || listed.variant == stated.variant)
    }

    /// The normalized form that engines compare: `arm64/v8` is `arm64`, `arm` is `arm/v7`,
    /// `amd64/v1` is `amd64` (containerd, `platforms/database.go`). Only Windows has an
    /// `os.version`.
    #[must_use]
    pub(crate) fn normalized(&self) -> Self {
        let variant = self.variant.as_ref().map(|text| text.to_ascii_lowercase());
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = match self.architecture.to_ascii_lowercase().as_str() {
            "i386" => ("386".to_owned(), None),
            "x86_64" | "x86-64" | "amd64" => (
                "amd64".to_owned(),
                variant.filter(|variant| variant != "v1"),
            ),
            "aarch64" | "arm64" => (
                "arm64".to_owned(),
                variant.filter(|variant| !matches!(variant.as_str(), "8" | "v8" | "v8.0")),
            ),
            "armhf" => ("arm".to_owned(), Some("v7".to_owned())),
            "armel" => ("arm".to_owned(), Some("v6".to_owned())),
            "arm" => {
                let variant = variant.unwrap_or_else(|| "v7".to_owned());
                let is_number = variant.starts_with(|c: char| c.is_ascii_digit());
                let prefix = if is_number { "v" } else { "" };
                ("arm".to_owned(), Some(format!("{prefix}{variant}")))
            }
            other => (other.to_owned(), variant),
        };
        let os_version = self.os_version.clone().filter(|_| os == "windows");
        Self {
            os,
            architecture,
            variant,
            os_version,
        }
    }
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

/// A platform as written in an index or a config; an empty text is an absent one.
#[derive(Deserialize)]
pub(super) struct RawPlatform {
    pub(super) os: String,
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    #[serde(default, rename = "os.version")]
    pub(super) os_version: Option<String>,
}

impl From<RawPlatform> for Platform {
    fn from(raw: RawPlatform) -> Self {
        Self {
            os: raw.os,
            architecture: raw.architecture,
            variant: raw.variant.filter(|text| !text.is_empty()),
            os_version: raw.os_version.filter(|text| !text.is_empty()),
        }
    }
}

/// Deserializes the platform of a descriptor.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Platform>, D::Error> {
    let raw = Option::<RawPlatform>::deserialize(deserializer)?;
    Ok(raw.map(Platform::from))
}

/// The keys of these fields in the object `config`, in the order of [`RuntimeConfig`].
pub(super) const KEYS: [&str; 7] = [
    "WorkingDir",
    "Entrypoint",
    "Cmd",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "Healthcheck",
];

/// The start of a container, as the config states it. Absent and empty values are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RuntimeConfig {
    pub working_dir: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub exposed_ports: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    pub stop_signal: String,
    pub health_check: HealthCheck,
}

/// The health check; durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthCheck {
    #[serde(deserialize_with = "words")]
    test: Vec<String>,
    interval: Option<i64>,
    timeout: Option<i64>,
    start_period: Option<i64>,
    start_interval: Option<i64>,
    retries: Option<i64>,
}

impl RuntimeConfig {
    /// Parses the object `config`. The error contains no value.
    pub(super) fn parse(container: &Value) -> Result<Self, String> {
        let [
            working_dir,
            entrypoint,
            command,
            exposed_ports,
            volumes,
            stop_signal,
            health_check,
        ] = KEYS;
        Ok(Self {
            working_dir: field(container, working_dir, or_default)?,
            entrypoint: field(container, entrypoint, words)?,
            command: field(container, command, words)?,
            exposed_ports: field(container, exposed_ports, keys)?,
            volumes: field(container, volumes, keys)?,
            stop_signal: field(container, stop_signal, or_default)?,
            health_check: field(container, health_check, or_default)?,
        })
    }
}

/// The value of a key; `parse` accepts the `null` of a missing one.
fn field<'v, T>(
    container: &'v Value,
    key: &str,
    parse: fn(&'v Value) -> Result<T, serde_json::Error>,
) -> Result<T, String> {
    // The text of the error would quote the value.
    parse(&container[key]).map_err(|_| format!("malformed `{key}`"))
}

impl HealthCheck {
    /// The options and the test, as in the instruction of a Containerfile; empty without a health check.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (option, value) in [
            ("--interval", self.interval),
            ("--timeout", self.timeout),
            ("--start-period", self.start_period),
            ("--start-interval", self.start_interval),
        ] {
            if let Some(value) = value.filter(|value| *value != 0) {
                words.push(format!("{option}={}", duration(value)));
            }
        }
        if let Some(retries) = self.retries.filter(|retries| *retries != 0) {
            words.push(format!("--retries={retries}"));
        }
        words.extend_from_slice(&self.test);
        words
    }
}

/// A duration in its largest unit without a fraction.
fn duration(nanoseconds: i64) -> String {
    for (unit, length) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if nanoseconds % length == 0 {
            return format!("{}{unit}", nanoseconds / length);
        }
    }
    format!("{nanoseconds}ns")
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of words. Docker also accepts a single text.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    let words = Option::<Words>::deserialize(deserializer)?;
    Ok(words.map_or_else(Vec::new, |words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

/// The keys of an object, which the specification uses as a set.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let object = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
    Ok(object.unwrap_or_default().into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_platform_are_equal() {
        for (one, other) in [
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/amd64", "Linux/x86_64/v1"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/armhf"),
            ("linux/386", "linux/i386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/amd64:1", "linux/amd64:2"),
        ] {
            assert_eq!(
                platform(one).normalized(),
                platform(other).normalized(),
                "{one}"
            );
        }
        for (one, other) in [
            ("linux/arm/v6", "linux/arm"),
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/arm64/v9", "linux/arm64"),
            ("windows/amd64:1", "windows/amd64:2"),
            ("linux/amd64", "windows/amd64"),
        ] {
            assert_ne!(
                platform(one).normalized(),
                platform(other).normalized(),
                "{one}"
            );
        }
    }

    #[test]
    fn variants_are_compared_if_both_exist() {
        for (index, config, expected) in [
            ("linux/arm/v6", "linux/arm", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("windows/amd64:1", "windows/amd64", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm64", "linux/amd64", false),
            ("linux/amd64", "windows/amd64", false),
        ] {
            let matches = platform(index).matches_config(&platform(config));
            assert_eq!(matches, expected, "{index} {config}");
        }
    }

    #[test]
    fn all_parts_are_displayed() {
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

    #[test]
    fn fields_of_both_formats_are_read() {
        let json = r#"{"WorkingDir":null,"Entrypoint":"/bin/app","Cmd":["serve"],"ExposedPorts":{"80/tcp":{}},
            "Volumes":null,"StopSignal":"SIGINT","Other":1.5,
            "Healthcheck":{"Test":["CMD","curl"],"Interval":30000000000,"Timeout":1500000000,"Retries":3}}"#;
        let parse = |json| RuntimeConfig::parse(&serde_json::from_str(json).unwrap());
        let config = parse(json).unwrap();
        assert_eq!(config.working_dir, "");
        assert_eq!(config.entrypoint, ["/bin/app"]);
        assert_eq!(config.command, ["serve"]);
        assert_eq!(Vec::from_iter(config.exposed_ports), ["80/tcp"]);
        assert_eq!(config.stop_signal, "SIGINT");
        assert_eq!(
            config.health_check.words(),
            [
                "--interval=30s",
                "--timeout=1500ms",
                "--retries=3",
                "CMD",
                "curl"
            ]
        );
        let empty = parse(r#"{"Healthcheck":null}"#).unwrap();
        assert_eq!(empty, RuntimeConfig::default());
        assert_eq!(parse("null").unwrap(), RuntimeConfig::default());
    }
}

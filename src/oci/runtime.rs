//! The fields of an image's config that an engine starts a container with (OCI image specification, "Image
//! Configuration"; Docker's config for the health check). They are compared, not judged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

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

//! Environment variables that look like secrets, by name or by value; values are never printed.

use super::{Check, Code, fail};
use crate::untrusted::has_credential;

/// Last words of the variables of secrets, whole or as a suffix (`PGPASSWORD`).
const ENDINGS: [&str; 7] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "CREDENTIALS",
];

/// Words that make a following `KEY` the name of a secret.
const KEYS: [&str; 7] = [
    "API",
    "ACCESS",
    "PRIVATE",
    "SECRET",
    "AUTH",
    "ENCRYPTION",
    "SIGNING",
];

/// A finding for each entry `NAME=VALUE` of an image's config that looks like a secret.
pub(crate) fn env_secrets(env: &[String]) -> Vec<Check> {
    let mut findings = Vec::new();
    for entry in env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let reason = if has_credential(value) {
            "the value has the form of a token, a private key or a URL with a password"
        } else if is_secret_name(name) && may_be_secret(value) {
            "the name is that of a secret, and the value is not empty"
        } else {
            continue;
        };
        let detail = format!("{reason}; anyone who can pull the image can read it");
        findings.push(fail(Code::ENV_SECRET, name, detail));
    }
    findings
}

fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut words = upper.rsplit('_').filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some("KEY"), Some(before)) => KEYS.contains(&before),
        (Some("PWD"), Some(_)) => true,
        (Some(last), _) => ENDINGS.iter().any(|ending| last.ends_with(ending)),
        (None, _) => false,
    }
}

/// Excludes empty values, switches, references to other variables and paths.
fn may_be_secret(value: &str) -> bool {
    let value = value.trim();
    let switches = [
        "", "true", "false", "yes", "no", "on", "off", "none", "null", "0", "1",
    ];
    !switches.contains(&value.to_ascii_lowercase().as_str())
        && !value.starts_with('$')
        && !value.starts_with('/')
}

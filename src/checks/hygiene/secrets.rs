//! Environment variables that look like secrets, by name or by value; values are never shown.

use super::{Check, Code, fail};
use crate::untrusted::has_credential;

/// Last words of the names of secrets, alone or as a suffix (`PGPASSWORD`).
const ENDINGS: [&str; 7] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "CREDENTIALS",
];

/// Last two words of such names.
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
pub fn env_secrets(env: &[String]) -> Vec<Check> {
    let finding = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let reason = if has_credential(value) {
            "the value has the form of a token, a private key or a URL with a password"
        } else if names_a_secret(name) && could_be_a_secret(value) {
            "the name is that of a secret, and the value is not empty"
        } else {
            return None;
        };
        let detail = format!("{reason}; anyone who can pull the image can read it");
        Some(fail(Code::ENV_SECRET, name.to_owned(), detail))
    };
    env.iter().filter_map(finding).collect()
}

fn names_a_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut words = upper.rsplit('_').filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some("KEY"), Some(before)) => KEYS.contains(&before),
        (Some("PWD"), Some(_)) => true,
        (Some(last), _) => ENDINGS.iter().any(|ending| last.ends_with(ending)),
        (None, _) => false,
    }
}

/// Not nothing, a switch, a reference to another variable or a file's path.
fn could_be_a_secret(value: &str) -> bool {
    let value = value.trim();
    let switch = [
        "", "true", "false", "yes", "no", "on", "off", "none", "null", "0", "1",
    ];
    !switch.contains(&value.to_ascii_lowercase().as_str())
        && !value.starts_with('$')
        && !value.starts_with('/')
}

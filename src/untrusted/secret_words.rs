//! Texts `NAME=VALUE` that look like secrets, by name or by value.

use super::{Forms, has_credential};

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

/// The reason that an entry `NAME=VALUE`, or a value alone, looks like a secret.
pub(crate) fn secret_reason(entry: &str) -> Option<&'static str> {
    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
    if has_credential(value) {
        Some("the value has the form of a token, a private key or a URL with a password")
    } else if is_secret_name(name) && may_be_secret(value) {
        Some("the name is that of a secret, and the value is not empty")
    } else {
        None
    }
}

/// The words of a command, with `***` in place of each word that is or contains a secret: a credential, an
/// assignment, or the value after an option such as `--password`.
pub(crate) fn masked_words(words: &[String]) -> Vec<String> {
    let mut masked: Vec<String> = Vec::new();
    let mut option: Option<&str> = None;
    for word in words {
        let parts = word.split_whitespace();
        let is_secret = has_credential(word)
            || parts
                .clone()
                .any(|part| secret_reason(part.trim_matches(['"', '\''])).is_some())
            || has_secret_option(parts)
            || option.is_some_and(|option| is_secret_of(option, word));
        option = word.starts_with('-').then_some(word);
        masked.push(if is_secret {
            "***".to_owned()
        } else {
            word.clone()
        });
    }
    masked
}

/// The text, with `***` in place of each word that is or contains a secret, as in a command.
pub(crate) fn masked_text(text: &str) -> String {
    let redacted = Forms::default().redact(text.as_bytes());
    let redacted = String::from_utf8_lossy(&redacted);
    let words: Vec<String> = redacted.split(' ').map(str::to_owned).collect();
    masked_words(&words).join(" ")
}

/// The value of a label: `***` if its name is that of a secret, otherwise without secrets.
pub(crate) fn masked_label(name: &str, value: &str) -> String {
    if is_secret_name(name) && may_be_secret(value) {
        return "***".to_owned();
    }
    masked_text(value)
}

/// Whether the value after an option is a secret.
fn is_secret_of(option: &str, value: &str) -> bool {
    secret_reason(&format!("{option}={value}")).is_some()
}

/// Whether the script of a shell contains an option of a secret and its value.
fn has_secret_option<'p>(parts: impl Iterator<Item = &'p str>) -> bool {
    let mut option: Option<&str> = None;
    for part in parts {
        if option.is_some_and(|option| is_secret_of(option, part)) {
            return true;
        }
        option = part.starts_with('-').then_some(part);
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_commands_are_masked() {
        let masked = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            masked_words(&words).join(" ")
        };
        assert_eq!(masked(&["serve", "--port", "80"]), "serve --port 80");
        assert_eq!(masked(&["API_TOKEN=abc", "serve"]), "*** serve");
        assert_eq!(masked(&["serve", "--password=abc"]), "serve ***");
        assert_eq!(
            masked(&["serve", "--password", "abc"]),
            "serve --password ***"
        );
        assert_eq!(masked(&["sh", "-c", "DB_PASSWORD='abc' run"]), "sh -c ***");
        assert_eq!(masked(&["sh", "-c", "run --token abc"]), "sh -c ***");
        for script in ["run --port 80", "print token abc"] {
            assert_eq!(masked(&["sh", "-c", script]), format!("sh -c {script}"));
        }
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMII";
        assert_eq!(masked(&["echo", key]), "echo ***");
        assert_eq!(masked(&["https://ada:pass@example.com/"]), "***");
        assert_eq!(masked(&["--token-file=/run/t"]), "--token-file=/run/t");
    }
}

//! Texts `NAME=VALUE` that look like secrets, by name or by value.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

use super::{has_credential, redacted};

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

/// Names of options and of parameters in a query, in addition to those of variables.
const PARAMETERS: [&str; 7] = [
    "REQUIREPASS",
    "MASTERAUTH",
    "KEY",
    "SIG",
    "SIGNATURE",
    "SESSION",
    "JWT",
];

/// Last words of the names of options and parameters of secrets.
const PARAMETER_ENDINGS: [&str; 3] = ["PASS", "PWD", "AUTH"];

/// Headers with credentials, in addition to the names of secrets (RFC 9110, section 11; RFC 6265).
const HEADERS: [&str; 4] = [
    "AUTHORIZATION",
    "PROXY-AUTHORIZATION",
    "COOKIE",
    "SET-COOKIE",
];

/// Schemes of the header `Authorization`. The credential is the next word.
const AUTHORIZATION_SCHEMES: [&str; 5] = ["BASIC", "BEARER", "DIGEST", "TOKEN", "APIKEY"];

/// Options of a user and a password: `-u USER:PASSWORD`.
const USER_OPTIONS: [&str; 4] = ["-u", "-U", "--user", "--proxy-user"];

const QUOTES: [char; 3] = ['"', '\'', '\\'];

/// A name before its value: `NAME=VALUE`, a header, a line of YAML, a member of JSON, `/NAME:VALUE`.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z0-9_.-]+)\\?["']?\s*[:=]\s*"#)
        .expect("the pattern is constant, and a test compiles it")
});

/// The user of a URL, which may be a token.
static URL_USER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b([a-z][a-z0-9+.-]*)://([^/\s@?#"']+)@"#)
        .expect("the pattern is constant, and a test compiles it")
});

/// The words of a command, with `***` in place of each word that is or contains a secret: a credential, an
/// assignment, a header, a URL with a user, or the value after an option such as `--password`.
pub(crate) fn masked_words(words: &[String]) -> Vec<String> {
    let mut masked: Vec<String> = Vec::new();
    let mut before = PrecedingWords::default();
    for word in words {
        let is_secret = has_secret(word) || before.make_secret(word);
        before.push(word);
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
    let words: Vec<String> = redacted(text).split(' ').map(str::to_owned).collect();
    masked_words(&words).join(" ")
}

/// The value of a label: `***` if its name is that of a secret, otherwise without secrets.
pub(crate) fn masked_label(name: &str, value: &str) -> String {
    if is_secret_name(name) && may_be_secret(value) {
        return "***".to_owned();
    }
    masked_text(value)
}

/// Masks the users of URLs, and the credentials of known formats, in a text that contains a URL.
pub(crate) fn masked_urls(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let masked = URL_USER.replace_all(text, |url: &Captures<'_>| {
        if is_secret_user(&url[1], &url[2]) {
            format!("{}://***@", &url[1])
        } else {
            url[0].to_owned()
        }
    });
    if !has_credential(&masked) {
        return masked;
    }
    redacted(&masked).into()
}

/// Whether a word, which may be the script of a shell, contains a secret.
fn has_secret(word: &str) -> bool {
    let mut users = URL_USER.captures_iter(word);
    if has_credential(word)
        || secret_reason(word).is_some()
        || has_secret_value(word)
        || users.any(|url| is_secret_user(&url[1], &url[2]))
    {
        return true;
    }
    let mut before = PrecedingWords::default();
    for part in word.split_whitespace() {
        if before.make_secret(part) {
            return true;
        }
        before.push(part);
    }
    false
}

/// Whether the value of a name in a word is a secret.
fn has_secret_value(word: &str) -> bool {
    for name in NAME.captures_iter(word) {
        let rest = name.get(0).map_or("", |found| &word[found.end()..]);
        let rest = rest.trim_start_matches(QUOTES);
        let end = rest.find(|c: char| c.is_whitespace() || r#""'\,;&}]"#.contains(c));
        if is_secret_parameter(&name[1]) && may_be_secret(&rest[..end.unwrap_or(rest.len())]) {
            return true;
        }
    }
    false
}

/// Whether the user of a URL is a secret. `git` is no token, nor is a user who logs in with a key.
fn is_secret_user(scheme: &str, user: &str) -> bool {
    let is_login = scheme.to_ascii_lowercase().contains("ssh") || user == "git";
    let secret = user.split_once(':').map_or(user, |(_, password)| password);
    !is_login && !secret.is_empty() && !secret.starts_with('$') && secret != "***"
}

/// The words before a word of a command.
#[derive(Default)]
struct PrecedingWords<'w> {
    option: Option<&'w str>,
    /// Whether the next word is the value of a header.
    is_header: bool,
}

impl<'w> PrecedingWords<'w> {
    fn make_secret(&self, word: &str) -> bool {
        let word = word.trim_matches(QUOTES);
        let Some(option) = self.option else {
            return self.is_header && may_be_secret(word);
        };
        // The numbers of a user and a group are no secret.
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let pair = word
            .split_once(':')
            .filter(|_| USER_OPTIONS.contains(&option));
        let is_user = pair.is_some_and(|(user, secret)| !is_number(user) || !is_number(secret));
        is_user || is_secret_parameter(option) && may_be_secret(word)
    }

    fn push(&mut self, word: &'w str) {
        let word = word.trim_matches(QUOTES);
        let is_scheme = AUTHORIZATION_SCHEMES.contains(&word.to_ascii_uppercase().as_str());
        let name = word.strip_suffix(':');
        self.is_header = name.is_some_and(is_secret_parameter) || self.is_header && is_scheme;
        self.option = (word.starts_with('-') && !word.contains('=')).then_some(word);
    }
}

/// Whether the value of an option, a header, a member or a parameter with this name is a secret.
pub(crate) fn is_secret_parameter(name: &str) -> bool {
    let name = name.trim_start_matches('-');
    let upper = name.to_ascii_uppercase();
    let last = upper.rsplit(['-', '_', '.']).next().unwrap_or_default();
    HEADERS.contains(&upper.as_str())
        || PARAMETERS.contains(&upper.as_str())
        || PARAMETER_ENDINGS.contains(&last)
        || is_secret_name(name)
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

    #[test]
    fn every_form_of_a_secret_is_masked() {
        for words in [
            &["curl", "-H", "Authorization: Basic s3cret"][..],
            &["curl", "-H", "authorization:Bearer s3cret"],
            &["curl", "--header=X-Api-Key: s3cret"],
            &["curl", "-H", "Cookie: id=s3cret"],
            &["curl", "Authorization:", "Bearer", "s3cret"],
            &["run", "{\"db\": {\"password\": \"s3cret\"}}"],
            &["run", "{\\\"api_key\\\":\\\"s3cret\\\"}"],
            &["run", "{'client-secret': 's3cret'}"],
            &["run", "a: b\npassword: s3cret\n"],
            &["sqlcmd", "/password:s3cret"],
            &["run", "--pass", "s3cret"],
            &["run", "--pass=s3cret"],
            &["run", "--db-pass", "s3cret"],
            &["run", "--pwd", "s3cret"],
            &["redis-server", "--requirepass", "s3cret"],
            &["sh", "-c", "redis-server --requirepass 's3cret'"],
            &["curl", "-u", "ada:s3cret"],
            &["curl", "--user", "ada:s3cret"],
            &["sh", "-c", "curl -u ada:s3cret https://example.com"],
            &["git", "clone", "https://s3cret@example.com/x"],
            &["run", "amqp://s3cret@example.com"],
            &["curl", "https://example.com/x?a=b&access_token=s3cret"],
            &["curl", "https://example.com/?key=s3cret"],
            &["curl", "https://example.com/?sig=s3cret#x"],
            &["run", "Server=x;Password=s3cret;"],
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let masked = masked_words(&words).join(" ");
            assert!(!masked.contains("s3cret"), "{masked}");
            assert!(masked.contains("***"), "{masked}");
        }
    }

    #[test]
    fn ordinary_words_are_not_masked() {
        for words in [
            &["run", "--user", "1000:1000"][..],
            &["git", "clone", "ssh://git@example.com/x"],
            &["curl", "https://example.com:8080/x?page=2&sort=key"],
            &["curl", "-H", "Accept: text/html", "-u", "$USER"],
            &["run", "--password=$PASSWORD", "--key-file", "x"],
            &["run", "{\"level\": \"debug\", \"keys\": 3}"],
            &["run", "--bypass", "proxy", "--compass", "north"],
            &["/srv/app", "listen: 0.0.0.0:80"],
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(masked_words(&words), words);
        }
    }

    #[test]
    fn tokens_in_urls_are_masked() {
        let token = concat!("gh", "p_0123456789abcdefghijABCDEFGHIJ012345");
        for (url, masked) in [
            (format!("https://{token}@h/x"), "https://***@h/x".to_owned()),
            (
                "https://s3cret@h/x".to_owned(),
                "https://***@h/x".to_owned(),
            ),
            ("https://a:b@h/x".to_owned(), "https://***@h/x".to_owned()),
            (format!("https://h/{token}/x"), "https://h/***/x".to_owned()),
            (format!("http://h/?a={token}"), "http://h/?a=***".to_owned()),
            ("ssh://ada@h/x".to_owned(), "ssh://ada@h/x".to_owned()),
            ("no URL, a@b".to_owned(), "no URL, a@b".to_owned()),
        ] {
            assert_eq!(masked_urls(&url), masked);
            assert_eq!(masked_urls(&masked), masked);
        }
    }
}

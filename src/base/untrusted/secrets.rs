//! The secrets of a run, and their redaction.
//!
//! The environment variables with the credentials of a job.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Forms, forms::percent_decoded, short};

/// A password or a token. It has no `Display`, and `Debug` omits it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret text, for a request.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secrets of a run; clones share them.
///
/// Every message of a server or a helper is redacted here before it is shown, because a server may
/// echo the credentials in a request.
#[derive(Default, Clone)]
pub(crate) struct Secrets(Arc<Mutex<Forms>>);

impl Secrets {
    /// Adds a secret, which is redacted in all its encodings.
    pub(crate) fn hide(&self, secret: &str) {
        self.forms().add(secret.as_bytes());
    }

    /// Adds a password, and the pair `user:password` of Basic authentication.
    pub(crate) fn hide_basic(&self, user: &str, password: &str) {
        if password.is_empty() {
            return;
        }
        self.hide(password);
        // A short password is not recognized in the base64 of the pair.
        let pair = format!("{user}:{password}");
        self.hide(&pair);
        // Some servers encode the header's value a second time.
        self.hide(&STANDARD.encode(pair));
    }

    /// Adds user and password as written in a URL, and decoded as in requests.
    pub(crate) fn hide_userinfo(&self, user: &str, password: &str) {
        self.hide(password);
        self.hide_basic(&percent_decoded(user), &percent_decoded(password));
    }

    /// Redacts the secrets in a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        let redacted = self.forms().redact(text.as_bytes());
        String::from_utf8_lossy(&redacted).into_owned()
    }

    /// Redacts secrets, escapes hidden characters, and shortens a text to `columns`.
    pub(crate) fn clean(&self, text: &str, columns: usize) -> String {
        short(&self.redact(text.trim()), columns)
    }

    fn forms(&self) -> MutexGuard<'_, Forms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The variables with a token for the forge (docs/forges.md, "Token"), each with the one for a file.
pub(crate) const FORGE_TOKENS: [[&str; 2]; 6] = [
    ["REPIN_FORGE_TOKEN", "REPIN_FORGE_TOKEN_FILE"],
    ["GITHUB_TOKEN", "GITHUB_TOKEN_FILE"],
    ["GH_TOKEN", "GH_TOKEN_FILE"],
    ["GITEA_TOKEN", "GITEA_TOKEN_FILE"],
    ["GITLAB_TOKEN", "GITLAB_TOKEN_FILE"],
    ["CI_JOB_TOKEN", "CI_JOB_TOKEN_FILE"],
];

/// The variables with the credentials of the job: a configuration cannot pass them on, and child
/// processes that need none do not receive them.
pub(crate) fn job_secrets() -> impl Iterator<Item = &'static str> {
    FORGE_TOKENS.into_iter().flatten().chain([
        "FORGEJO_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RUNTIME_TOKEN",
        "DOCKER_AUTH_CONFIG",
        // They contain the value of CI_JOB_TOKEN (https://docs.gitlab.com/ci/variables/predefined_variables/).
        "CI_REGISTRY_PASSWORD",
        "CI_DEPENDENCY_PROXY_PASSWORD",
        "CI_REPOSITORY_URL",
        // Credentials of a project, and tokens for other services, which GitLab had until 17.0.
        "CI_DEPLOY_PASSWORD",
        "CI_JOB_JWT",
        "CI_JOB_JWT_V1",
        "CI_JOB_JWT_V2",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_in_all_encodings() {
        let secrets = Secrets::default();
        secrets.hide("p/ss wörd");
        secrets.hide("p/ss");
        let echo = format!(
            "got p/ss wörd, {} and p%2Fss+w%C3%B6rd",
            STANDARD.encode("p/ss wörd")
        );
        assert_eq!(secrets.clean(&echo, 200), "got ***, *** and ***");
        assert_eq!(secrets.clean("", 200), "");
        secrets.hide_basic("ada", "x1");
        let basic = STANDARD.encode("ada:x1");
        assert_eq!(secrets.redact(&format!("Basic {basic}")), "Basic ***");
        assert_eq!(secrets.redact(&STANDARD.encode(basic)), "***");
        secrets.hide_userinfo("a%40", "p%C3%A4%zz");
        let basic = STANDARD.encode("a@:pä%zz");
        assert_eq!(secrets.redact(&format!("{basic} p%C3%A4%zz")), "*** ***");
        // A client may also send it without decoding.
        assert_eq!(secrets.redact(&STANDARD.encode("p%C3%A4%zz")), "***");
        secrets.hide_basic("ada", "");
        assert_eq!(secrets.clone().redact("ada:x1 ada:"), "*** ada:");
    }

    #[test]
    fn short_secrets_are_not_hidden() {
        let secrets = Secrets::default();
        secrets.hide("e");
        secrets.hide_basic("me", "abc");
        let text = "the registry refused abc: expected e";
        assert_eq!(secrets.redact(text), text);
        let basic = STANDARD.encode("me:abc");
        assert_eq!(secrets.redact(&format!("Basic {basic}")), "Basic ***");
        secrets.hide("abcd");
        assert_eq!(secrets.redact("abc abcd"), "abc ***");
    }

    #[test]
    fn external_text_is_escaped_and_shortened() {
        let text = format!("a\u{1b}[2J\n\"b\" {}", "x".repeat(500));
        let clean = Secrets::default().clean(&text, 200);
        assert!(
            clean.starts_with("a\\u{1b}[2J\\n\"b\" xxx") && clean.ends_with("x…"),
            "{clean}"
        );
        assert!(clean.len() < 250, "{clean}");
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let secret = Secret::new("s3cret".to_owned());
        let secrets = Secrets::default();
        secrets.hide(secret.expose());
        assert_eq!(format!("{secret:?} {secrets:?}"), "*** ***");
        assert_eq!(
            secrets.clean("you sent s3cret\u{1b}[1m \"x\"", 300),
            "you sent ***\\u{1b}[1m \"x\""
        );
        assert!(secrets.clean(&"x".repeat(400), 300).len() < 310);
    }
}

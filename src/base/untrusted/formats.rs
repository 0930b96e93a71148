//! The formats of tokens and keys, as their issuers publish them. Redaction hides matches, and
//! `env_secret` reports them.
//!
//! A format without a prefix (an AWS secret access key, a Gitea token) is not listed, because it would
//! also match digests and checksums.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

/// The maximum length of a credential that is recognized across the end of a buffer, in bytes. It
/// exceeds GitHub's tokens of about 520 characters, and a private key of 4096 bits.
pub(super) const MAX_SECRET: usize = 4 * 1024;

/// A pattern for each kind of credential. If the pattern has a group, only the group is secret.
/// `(?:\b|_)` also accepts an underscore before a token, which is a word character.
const FORMATS: &[&str] = &[
    // GitHub: `ghs_APPID_JWT` contains `_`, `.` and `-` and has about 520 characters.
    // https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
    // https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/
    r"gh[pousr]_[0-9A-Za-z_.-]{36,}",
    r"github_pat_[0-9A-Za-z_]{22,}",
    // GitLab: the prefixes of all kinds of tokens; routable tokens contain `.`.
    // https://docs.gitlab.com/security/tokens/#token-prefixes
    r"(?:\b|_)gl(?:pat|oas|dt|rtr?|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[0-9A-Za-z_.-]{20,}",
    // AWS: access keys, temporary keys, bearer tokens, context-specific credentials.
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    r"(?:\b|_)(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16,}\b",
    // AWS and Google: the signature and the session token of a signed URL.
    // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    // https://docs.cloud.google.com/storage/docs/authentication/signatures
    r"(?i)X-(?:Amz|Goog)-(?:Signature|Security-Token)=([0-9A-Za-z%+/=_-]{20,})",
    // Google: standard API keys (`AIza`) and authorization keys (`AQ.`, which Google AI Studio creates
    // since 2026); access tokens and client secrets of OAuth 2.0.
    // https://docs.cloud.google.com/docs/authentication/api-keys
    // https://ai.google.dev/gemini-api/docs/api-key
    // https://developers.google.com/identity/protocols/oauth2
    r"(?:\b|_)AIza[0-9A-Za-z_-]{35}",
    r"(?:\b|_)AQ\.[0-9A-Za-z_-]{30,}",
    r"(?:\b|_)ya29\.[0-9A-Za-z_.-]{20,}",
    r"(?:\b|_)GOCSPX-[0-9A-Za-z_-]{20,}",
    // Azure: keys with Microsoft's common annotation, as Azure DevOps and Azure AI issue them.
    // https://devblogs.microsoft.com/engineering-at-microsoft/common-annotated-security-keys/
    r"[0-9A-Za-z]{52}JQQJ9[9DH][0-9A-Za-z]{20,}={0,2}",
    // Azure: keys in connection strings, signatures of shared access, client secrets of Entra ID.
    // https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string
    // https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas
    // https://learn.microsoft.com/en-us/purview/sit-defn-azure-ad-client-secret
    r"(?i)\b(?:Account|SharedAccess|Access)Key=([0-9A-Za-z+/_-]{40,}={0,2})",
    r"(?i)[?&;]sig=([0-9A-Za-z%+/=_-]{40,})",
    r"[0-9A-Za-z_~.-]{3}[0-9]Q~[0-9A-Za-z_~.-]{31,34}",
    // npm. https://github.blog/security/announcing-npms-new-access-token-format/
    r"(?:\b|_)npm_[0-9A-Za-z]{36,}",
    // PyPI. https://docs.pypi.org/api/secrets/
    r"(?:\b|_)pypi-[0-9A-Za-z_-]{50,}",
    // Slack: bot, user, app-level, workflow, configuration and refresh tokens; webhooks.
    // https://docs.slack.dev/authentication/tokens
    // https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    r"(?:\b|_)x(?:ox[a-z]|app|wfp)-[0-9A-Za-z-]{10,}",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/([0-9A-Za-z/_-]{20,})",
    // Stripe: secret, restricted and organization keys; secrets of webhooks.
    // https://docs.stripe.com/keys and https://docs.stripe.com/webhooks/signature
    r"(?:\b|_)(?:[sr]k_(?:live|test)|sk_org)_[0-9A-Za-z_]{10,}",
    r"(?:\b|_)whsec_[0-9A-Za-z+/=]{20,}",
    // Docker Hub: personal and organization tokens.
    // https://docs.docker.com/security/access-tokens/
    r"(?:\b|_)dckr_[op]at_[0-9A-Za-z_-]{20,}",
    // Hugging Face. https://huggingface.co/docs/hub/security-tokens
    r"(?:\b|_)hf_[0-9A-Za-z]{30,}",
    // Anthropic and OpenAI.
    // https://platform.claude.com/docs/en/manage-claude/authentication
    // https://platform.openai.com/docs/api-reference/authentication
    r"(?:\b|_)sk-[0-9A-Za-z_-]{20,}",
    // JSON Web Tokens: signed (RFC 7515, section 7.1) and encrypted (RFC 7516, section 7.1). A JSON object
    // in base64url begins with `eyJ` (`{"`), `eyA` (`{ `), `ewo` or `ew0` (`{` and a line break).
    r"e(?:y[JA]|w[o0])[0-9A-Za-z_-]{8,}\.e(?:y[JA]|w[o0])[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{10,}",
    r"e(?:y[JA]|w[o0])[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}",
    // Private keys: PKCS #1, PKCS #8, SEC 1 and OpenPGP, up to their end if there is one.
    // https://www.rfc-editor.org/rfc/rfc7468 and https://www.rfc-editor.org/rfc/rfc9580 (section 6.2)
    r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    // The password of a URL (RFC 3986, section 3.2.1).
    r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s:@$]+)@",
];

static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    let all = FORMATS.iter().map(|format| format!("(?:{format})"));
    RegexBuilder::new(&all.collect::<Vec<_>>().join("|"))
        .unicode(false)
        .build()
        .expect("the formats are constant, and a test compiles them")
});

/// Whether the text contains a credential in a known format.
pub(crate) fn has_credential(text: &str) -> bool {
    PATTERN.is_match(text.as_bytes())
}

/// Replaces each byte of a credential in a known format, except line breaks, so that offsets remain valid.
pub(crate) fn masked_credentials(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut mask = vec![false; bytes.len()];
    mark(text.as_bytes(), &mut mask);
    for (byte, is_secret) in bytes.iter_mut().zip(mask) {
        if is_secret && *byte != b'\n' {
            *byte = b'*';
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Marks the bytes of every credential in a known format.
pub(super) fn mark(bytes: &[u8], mask: &mut [bool]) {
    for found in PATTERN.captures_iter(bytes) {
        let mut parts = found.iter().flatten();
        let whole = parts.next();
        // At most one group of the matching format is set.
        if let Some(secret) = parts.next().or(whole) {
            mask[secret.range()].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> String {
        let mut mask = vec![false; text.len()];
        mark(text.as_bytes(), &mut mask);
        let shown = super::super::starred(text.as_bytes(), &mask);
        String::from_utf8(shown).unwrap()
    }

    /// A token of this prefix and length, assembled here so that no scanner reports this file.
    fn token(prefix: &[&str], length: usize) -> String {
        prefix.concat() + &"aB3".repeat(length)[..length]
    }

    fn jwt() -> String {
        let part = token(&["ey", "J"], 40);
        format!("{part}.{part}.{}", token(&[], 43))
    }

    fn tokens() -> Vec<String> {
        let stateless = format!("ghs{}1234567_{}", "_", jwt());
        let mut all = vec![stateless, jwt()];
        for kind in ["p", "o", "u", "s", "r"] {
            all.push(token(&["gh", kind, "_"], 36));
        }
        for kind in [
            "pat", "oas", "dt", "rt", "rtr", "cbt", "ptt", "ft", "imt", "agent", "wt", "soat",
            "ffct",
        ] {
            all.push(token(&["gl", kind, "-"], 20));
        }
        for kind in ["AKIA", "ASIA", "ABIA", "ACCA"] {
            all.push(kind.to_owned() + &"A1".repeat(8));
        }
        for kind in ["xoxb", "xoxp", "xoxe", "xapp", "xwfp"] {
            all.push(token(&[kind, "-1-"], 40));
        }
        for kind in ["sk_live", "sk_test", "rk_live", "sk_org"] {
            all.push(token(&[kind, "_"], 24));
        }
        all.extend([
            token(&["github", "_pat_"], 82),
            token(&["gl", "pat-"], 27) + ".01." + &token(&[], 9),
            token(&["AI", "za"], 35),
            token(&["AQ", "."], 50),
            token(&["ya", "29."], 60),
            token(&["GOC", "SPX-"], 28),
            token(&[], 52) + "JQQJ99" + &token(&[], 26),
            format!("aB3{}Q~{}", 8, token(&[], 34)),
            token(&["np", "m_"], 36),
            token(&["py", "pi-"], 90),
            token(&["wh", "sec_"], 32),
            token(&["dckr", "_pat_"], 27),
            token(&["dckr", "_oat_"], 28),
            token(&["h", "f_"], 34),
            token(&["sk", "-ant-api03-"], 90),
            format!(
                "{}..{}.{}.{}",
                token(&["ey", "J"], 40),
                token(&[], 16),
                token(&[], 50),
                token(&[], 22)
            ),
            format!(
                "{}.{}.{}",
                token(&["ew", "o"], 40),
                token(&["ey", "A"], 40),
                token(&[], 43)
            ),
        ]);
        all
    }

    #[test]
    fn every_format_is_recognized() {
        for token in tokens() {
            assert!(has_credential(&token), "{token}");
            for (before, after) in [("", ""), ("A=", "\n"), ("a_", " b"), ("\"", "\"")] {
                let shown = marked(&format!("{before}{token}{after}"));
                assert!(
                    shown.ends_with(&format!("***{after}")) && shown.len() < 10,
                    "{before}{token}: {shown}"
                );
            }
        }
    }

    #[test]
    fn only_the_secret_part_is_hidden() {
        let key = token(&[], 86);
        for (text, shown) in [
            (
                format!("AccountName=a;AccountKey={key}==;x"),
                "AccountName=a;AccountKey=***;x",
            ),
            (
                format!("https://h/b?sv=1&sig={key}&se=2"),
                "https://h/b?sv=1&sig=***&se=2",
            ),
            (
                format!("https://h/b?X-Amz-Signature={key}"),
                "https://h/b?X-Amz-Signature=***",
            ),
            (
                format!("https://hooks.slack.com/services/T0/B0/{key}"),
                "https://hooks.slack.com/services/***",
            ),
            (
                "https://user:hunter2@h/x".to_owned(),
                "https://user:***@h/x",
            ),
        ] {
            assert_eq!(marked(&text), shown);
        }
    }

    #[test]
    fn private_key_is_hidden_to_its_end() {
        for kind in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
            let begin = format!("-----BEGIN {kind}{}-----", "PRIVATE KEY");
            let end = format!("-----END {kind}{}-----", "PRIVATE KEY");
            assert!(has_credential(&begin));
            assert_eq!(marked(&format!("a {begin}\nabc\n{end} b")), "a *** b");
            let masked = masked_credentials(&format!("a {begin}\nabc\n{end} b"));
            let lines: Vec<_> = masked.lines().collect();
            assert_eq!((lines.len(), lines[1]), (3, "***"));
            // Its end was cut off.
            assert_eq!(marked(&format!("a {begin}\nabc")), "a ***");
        }
        let begin = concat!("-----BEGIN PGP ", "PRIVATE KEY BLOCK-----");
        let end = concat!("-----END PGP ", "PRIVATE KEY BLOCK-----");
        assert_eq!(marked(&format!("{begin}\nabc\n{end} b")), "*** b");
    }

    #[test]
    fn ordinary_text_is_no_credential() {
        for text in [
            "ghcr.io/acme/app:4b1d7f0e92c35a68d1f4073be6a98c25170f3d6e",
            "sha256:42a1c30318ab067633eaa89924c6e385fd070a10fdc4513389548f7d4c563160",
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
            "https://registry.example.org:5000/v2/a/b@c",
            "docker://127.0.0.1:5000/team/app@sha256:00",
            "english-language-pack-for-everybody",
            "task-with-a-rather-long-name-and-more",
            "newohiodeals.examplesite.example.com.internal",
            "npm_config_registry npm_package_name_of_something",
            "gh pr create; github_pat_ is a prefix, as are ghs_ and glpat-",
            "-----BEGIN CERTIFICATE-----",
            "AKIAEXAMPLE",
            "FAQ.a-heading-that-is-longer-than-thirty-characters AQ. and so on",
            "eyJub3QiOiJ0b2tlbiJ9",
            "postgres://db:$PASSWORD@h/x",
            "2026-11-22T10:00:00.123456789Z",
        ] {
            assert!(!has_credential(text), "{text}");
            assert_eq!(marked(text), text);
        }
    }
}

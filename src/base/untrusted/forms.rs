//! Finds secrets in bytes, in all their encodings.
//!
//! The search is for the secret and its base64, in the text and in the text decoded from JSON and
//! percent-encoding. It therefore does not depend on the characters that a server encodes.
//!
//! The formats of tokens and keys, as their issuers publish them. Redaction hides matches, and
//! `env_secret` reports them.
//!
//! A format without a prefix (an AWS secret access key, a Gitea token) is not listed, because it would
//! also match digests and checksums.

use std::{cell::LazyCell, sync::LazyLock};

use regex::bytes::{Regex, RegexBuilder};

use crate::base::text::hex_value;

/// The minimum length of a secret that is hidden by its value. A shorter one occurs in other text by
/// chance: hiding it would make messages unreadable, and show where it occurs.
const MIN_SECRET: usize = 4;
/// The minimum length of base64 that is recognized as a part of a secret; shorter text is
/// ambiguous.
const PIECE: usize = 6;
/// The maximum length of an encoded character, such as `\u0022`.
const GROWTH: usize = 6;
/// The characters of base64 around a piece: one at each end, and the padding.
const AROUND: usize = 4;

/// The alphabets (RFC 4648, sections 4 and 5); they differ in the last two characters.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The encodings of secrets. They have no `Debug`.
#[derive(Default, Clone)]
pub(crate) struct Forms(Vec<Form>);

#[derive(Clone, PartialEq, Eq)]
struct Form {
    bytes: Vec<u8>,
    /// Whether the previous character of base64 contains bits of the secret.
    before: bool,
    /// Whether the next character does, and padding may follow.
    after: bool,
}

impl Forms {
    /// Adds a secret in all its encodings. A secret shorter than `MIN_SECRET` is ignored.
    pub(crate) fn add(&mut self, secret: &[u8]) {
        if secret.len() < MIN_SECRET {
            return;
        }
        self.push(Form {
            bytes: secret.to_vec(),
            before: false,
            after: false,
        });
        for alphabet in [STANDARD, URL_SAFE] {
            for form in in_base64(secret, alphabet) {
                self.push(form);
            }
        }
    }

    fn push(&mut self, form: Form) {
        if !self.0.contains(&form) {
            self.0.push(form);
        }
    }

    /// The maximum length of an encoded secret, or of a credential in a known format.
    pub(crate) fn longest(&self) -> usize {
        let mut longest = MAX_SECRET;
        for form in &self.0 {
            longest = longest.max((form.bytes.len() + AROUND) * GROWTH);
        }
        longest
    }

    /// Marks each byte that belongs to a secret, or to a credential in a known format.
    pub(crate) fn mask(&self, bytes: &[u8]) -> Vec<bool> {
        let mut mask = vec![false; bytes.len()];
        mark(bytes, &mut mask);
        let views = LazyCell::new(|| View::all(bytes));
        for form in &self.0 {
            for view in &*views {
                form.mark(view, &mut mask);
            }
        }
        mask
    }

    /// Replaces each secret with `***`.
    pub(crate) fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        starred(bytes, &self.mask(bytes))
    }
}

/// Replaces each run of masked bytes with `***`.
pub(crate) fn starred(bytes: &[u8], mask: &[bool]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        if !mask[index] {
            out.push(*byte);
        } else if index == 0 || !mask[index - 1] {
            out.extend(b"***");
        }
    }
    out
}

impl Form {
    /// Marks all occurrences, including overlapping ones.
    fn mark(&self, view: &View, mask: &mut [bool]) {
        let finder = memchr::memmem::Finder::new(&self.bytes);
        let mut from = 0;
        while let Some(at) = view.bytes.get(from..).and_then(|rest| finder.find(rest)) {
            let (mut start, mut end) = (from + at, from + at + self.bytes.len());
            from = start + 1;
            if self.before && start > 0 && is_base64(view.bytes[start - 1]) {
                start -= 1;
            }
            if self.after {
                end += usize::from(view.bytes.get(end).copied().is_some_and(is_base64));
                let padding = view.bytes[end..].iter().take(2);
                end += padding.take_while(|byte| **byte == b'=').count();
            }
            mask[view.source[start].0..view.source[end - 1].1].fill(true);
        }
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The base64 of a secret: encoded separately, and as a part of a longer text, at each of the three
/// offsets in a group. In a longer text, the characters at both ends also contain bits of the
/// neighbors.
fn in_base64(secret: &[u8], alphabet: &[u8; 64]) -> Vec<Form> {
    let mut forms = Vec::new();
    if secret.len() < PIECE {
        let mut bytes = encoded(secret, alphabet);
        // The base64 of one or two bytes is too short to be recognized without padding.
        bytes.resize(bytes.len().max(4), b'=');
        forms.push(Form {
            bytes,
            before: false,
            after: true,
        });
    }
    for offset in 0..3 {
        let shifted = [&[0; 2][..offset], secret].concat();
        let whole = encoded(&shifted, alphabet);
        // The characters that contain only bits of the secret.
        let from = (8 * offset).div_ceil(6);
        let to = 8 * shifted.len() / 6;
        if to >= from + PIECE {
            forms.push(Form {
                bytes: whole[from..to].to_vec(),
                before: offset > 0,
                after: 8 * shifted.len() % 6 != 0,
            });
        }
    }
    forms
}

/// Base64 without padding.
fn encoded(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0, |bits, (at, byte)| {
            bits | usize::from(*byte) << (16 - 8 * at)
        });
        out.extend((0..=group.len()).map(|at| alphabet[bits >> (18 - 6 * at) & 63]));
    }
    out
}

/// Decoded bytes, each with its range in the original.
struct View {
    bytes: Vec<u8>,
    /// The start and the end in the original.
    source: Vec<(usize, usize)>,
}

impl View {
    /// The original bytes.
    fn original(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            source: (0..bytes.len()).map(|index| (index, index + 1)).collect(),
        }
    }

    /// The original bytes, and their different decodings.
    fn all(bytes: &[u8]) -> Vec<Self> {
        let mut views = vec![Self::original(bytes)];
        views.extend(views[0].read(b'\\', json_escape));
        for index in 0..views.len() {
            // A form encodes a space as `+`, and a plus sign with a percent sign.
            let form = views[index].read(b'+', |_| Some((1, vec![b' '])));
            let percent = views[index].read(b'%', percent_escape);
            if let Some(form) = form {
                views.extend(form.read(b'%', percent_escape));
                views.push(form);
            }
            views.extend(percent);
        }
        views
    }

    /// Decodes each sequence that begins with `mark`; `None` if the view has no `mark`. `decode`
    /// returns the length of the sequence and its value.
    fn read(&self, mark: u8, decode: impl Fn(&[u8]) -> Option<(usize, Vec<u8>)>) -> Option<Self> {
        memchr::memchr(mark, &self.bytes)?;
        let (mut bytes, mut source) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.bytes.len() {
            let decoded = if self.bytes[at] == mark {
                decode(&self.bytes[at..])
            } else {
                None
            };
            let (length, value) = decoded.unwrap_or_else(|| (1, vec![self.bytes[at]]));
            let range = (self.source[at].0, self.source[at + length - 1].1);
            source.extend(value.iter().map(|_| range));
            bytes.extend(value);
            at += length;
        }
        Some(Self { bytes, source })
    }
}

/// Decodes percent-encoded text.
pub(super) fn percent_decoded(text: &str) -> String {
    match View::original(text.as_bytes()).read(b'%', percent_escape) {
        Some(view) => String::from_utf8_lossy(&view.bytes).into_owned(),
        None => text.to_owned(),
    }
}

/// `%2F` (RFC 3986, section 2.1).
fn percent_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    Some((3, vec![u8::try_from(hex_value(text.get(1..3)?)?).ok()?]))
}

/// `\"` or `\u002f` (RFC 8259, section 7), and `\u{2f}` as in Rust and in repin's output.
fn json_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let byte = match text.get(1)? {
        c @ (b'"' | b'\\' | b'/' | b'\'') => *c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((2, vec![byte]))
}

fn unicode_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let utf8 = |c: char| c.to_string().into_bytes();
    if text.get(2) == Some(&b'{') {
        let end = text.iter().take(10).position(|byte| *byte == b'}')?;
        let c = char::from_u32(hex_value(&text[3..end])?)?;
        return Some((end + 1, utf8(c)));
    }
    let unit = |at: usize| u16::try_from(hex_value(text.get(at..at + 4)?)?).ok();
    let first = unit(2)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some((6, utf8(c)));
    }
    let second = unit(8).filter(|_| text[6..8] == *b"\\u")?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((12, utf8(c)))
}

/// The text with `***` in place of each credential in a known format.
pub(crate) fn redacted(text: &str) -> String {
    String::from_utf8_lossy(&Forms::default().redact(text.as_bytes())).into_owned()
}

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
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    };

    use super::*;

    fn without(secret: &str, text: &str) -> String {
        let mut forms = Forms::default();
        forms.add(secret.as_bytes());
        String::from_utf8(forms.redact(text.as_bytes())).unwrap()
    }

    #[test]
    fn base64_is_found_at_every_offset() {
        // High bytes distinguish the alphabets; some secrets share a `+`, `/`, `-` or `_` with the
        // text before them.
        for secret in [
            "s3cret",
            "pass?>word~~",
            "päß~wörd>?>",
            "abcde",
            "€uro-s",
            "😀s3",
        ] {
            for before in ["", "u", "s", "us", "so", "use", "user:", "x-access-token:"] {
                for after in ["", "a", "bc", "def"] {
                    let text = format!("{before}{secret}{after}");
                    for form in [
                        STANDARD.encode(&text),
                        STANDARD_NO_PAD.encode(&text),
                        URL_SAFE.encode(&text),
                        URL_SAFE_NO_PAD.encode(&text),
                    ] {
                        let shown = without(secret, &format!("sent <{form}>"));
                        assert!(shown.contains("***"), "{secret} {text} {form}: {shown}");
                        // No character with a bit of the secret remains, and all characters without
                        // one do.
                        let known = before.len() / 3 * 4 + before.len() % 3;
                        let left = shown.find("***").unwrap() - "sent <".len();
                        assert_eq!(left, known, "{text} {form}: {shown}");
                        let right = shown.len() - shown.rfind("***").unwrap() - "***>".len();
                        let trailing = form.len() - (8 * (before.len() + secret.len())).div_ceil(6);
                        let known = if after.is_empty() { 0 } else { trailing };
                        assert_eq!(right, known, "{text} {form}: {shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn truncated_base64_is_found_exactly() {
        for before in ["u", "us"] {
            let text = STANDARD_NO_PAD.encode(format!("{before}s3cret-s3cret"));
            // The first character after the cut contains only bits of the secret.
            let cut = &text[(8 * before.len()).div_ceil(6)..];
            assert_eq!(without("s3cret-s3cret", cut), "***");
            assert_eq!(without("s3cret-s3cret", &format!("<{cut}>")), "<***>");
        }
    }

    #[test]
    fn encoded_short_secrets_are_found() {
        for secret in ["abcd", "abcde", "abcdef"] {
            let form = STANDARD.encode(secret);
            assert_eq!(without(secret, &format!("<{form}>")), "<***>", "{secret}");
        }
        assert_eq!(without("zzzz", "more text"), "more text");
        // A shorter secret occurs in other text by chance.
        for secret in ["a", "ab", "abc"] {
            let text = format!("<abc>, {}", STANDARD.encode(secret));
            assert_eq!(without(secret, &text), text, "{secret}");
        }
    }

    #[test]
    fn json_and_percent_encodings_are_found() {
        let secret = "p/s \"ö+\\%&";
        for form in [
            r#"p/s "ö+\%&"#,
            "p%2Fs+%22%C3%B6%2B%5C%25%26",
            "p%2fs%20%22%c3%b6%2b%5c%25%26",
            "p/s%20%22ö+%5C%25&",
            "%70%2F%73%20%22%C3%B6%2B%5C%25%26",
            r#"p\/s \"ö+\\%&"#,
            r#"p/s \"\u00f6+\\%\u0026"#,
            r"p\u002Fs\u0020\u0022\u00F6\u002B\u005C\u0025\u0026",
            r"p/s \u{22}ö+\\%&",
        ] {
            assert_eq!(without(secret, &format!("<{form}>")), "<***>", "{form}");
        }
        assert_eq!(without("pass word", "<pass+word>"), "<***>");
        let lines = "a\nb\rc\td\u{8}e\u{c}f";
        assert_eq!(without(lines, r"<a\nb\rc\td\be\ff>"), "<***>");
        // A malformed escape is not decoded.
        assert_eq!(without("a\nb", "<a%+Ab>"), "<a%+Ab>");
        let text = r"<a\ud83d..de00b>";
        assert_eq!(without("a😀b", text), text);
        assert_eq!(
            without("a😀b", r"a\ud83d\ude00b \ud83d \u{} %zz %"),
            r"*** \ud83d \u{} %zz %"
        );
        // Base64 in a URL, and in JSON that escapes the slash.
        let text = STANDARD.encode("u:???>>>~~~");
        let url = text
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        assert_eq!(without("u:???>>>~~~", &format!("<{url}>")), "<***>");
        let json = text.replace('/', "\\/");
        assert_eq!(without("u:???>>>~~~", &format!("<{json}>")), "<***>");
    }

    #[test]
    fn repeated_secrets_and_plain_text_are_searched_once() {
        let mut forms = Forms::default();
        forms.add(b"s3cret");
        let count = forms.0.len();
        forms.add(b"s3cret");
        assert_eq!(forms.0.len(), count);
        assert_eq!(View::all(b"plain").len(), 1);
        assert_eq!(View::all(b"%70lain").len(), 2);
    }

    #[test]
    fn credential_in_a_known_format_is_redacted_without_a_secret() {
        let key = concat!("AK", "IAIOSFODNN7EXAMPLE");
        assert_eq!(without("", &format!("key {key} of x")), "key *** of x");
    }

    #[test]
    fn overlapping_and_empty_secrets_are_redacted() {
        assert_eq!(without("abba", "xabbabbax"), "x***x");
        assert_eq!(without("", "abc"), "abc");
        let mut forms = Forms::default();
        assert_eq!(forms.longest(), MAX_SECRET);
        forms.add(&[b'x'; MAX_SECRET]);
        assert!(forms.longest() > MAX_SECRET);
        let mut forms = Forms::default();
        forms.add(b"p/ss");
        forms.add(b"p/ss w");
        assert_eq!(forms.redact(b"p/ss w, p/ss"), b"***, ***");
    }

    fn marked(text: &str) -> String {
        let mut mask = vec![false; text.len()];
        mark(text.as_bytes(), &mut mask);
        let shown = crate::base::untrusted::starred(text.as_bytes(), &mask);
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

//! References and templates: compared with grammars written as regular expressions, and parsed
//! again.

use std::sync::LazyLock;

use regex::Regex;

use super::text;
use crate::{
    app::{
        pull_request::{Marker, MarkerKind},
        report::{
            body,
            json::{FileRow, ImageRow, PlanDocument},
        },
    },
    config::{Operation, Placeholders, SetPath, Template},
    git::check_branch,
    oci::{Digest, Pattern, Reference, Repository, Tag},
};

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\A([^@]*?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?\z")
});
static PATH: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z")
});
static HOST: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
    regex(&format!(r"\A{label}(?:\.{label})*(?::0*([0-9]{{1,5}}))?\z"))
});
static LIKE_A_HOST: LazyLock<Regex> = LazyLock::new(|| regex(r"\Alocalhost\z|[.:A-Z]"));
static DIGEST: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?:sha256:)?([0-9a-f]{64})\z"));

/// Whether a name matches the grammar.
pub(crate) fn is_repository(name: &str) -> bool {
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if LIKE_A_HOST.is_match(first) => (Some(first), rest),
        _ => (None, name),
    };
    let implied = match (host, path.contains('/')) {
        (None, false) => "docker.io/library/".len(),
        (None, true) => "docker.io/".len(),
        (Some(_), _) => 0,
    };
    let host = host.is_none_or(|host| {
        HOST.captures(host).is_some_and(|parts| {
            parts
                .get(1)
                .is_none_or(|port| port.as_str().parse::<u32>().unwrap() < 65_536)
        })
    });
    name.len() + implied <= 255 && host && PATH.is_match(path)
}

/// References and digests, compared with the grammar.
pub fn references(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let expected = WHOLE.captures(text).and_then(|parts| {
        let part = |at| parts.get(at).map(|part| part.as_str());
        let (tag, digest) = (part(2), part(3));
        let whole = is_repository(&parts[1]) && (tag.is_some() || digest.is_some());
        whole.then(|| (parts[1].to_owned(), tag, digest))
    });
    match (Reference::parse(text), expected) {
        (Ok(reference), Some((name, tag, digest))) => {
            assert_eq!(reference.repository.as_str(), name);
            assert_eq!(reference.tag.as_ref().map(Tag::as_str), tag);
            assert_eq!(
                reference.digest.map(|digest| digest.to_string()).as_deref(),
                digest
            );
            let canonical = Repository::parse(&reference.repository.canonical()).unwrap();
            assert_eq!(canonical, reference.repository);
            assert_eq!(canonical.canonical(), reference.repository.canonical());
        }
        (Err(_), None) => {}
        (parsed, expected) => panic!("{text:?}: {parsed:?}, and the grammar expects {expected:?}"),
    }
    assert_eq!(
        Repository::parse(text).is_ok(),
        is_repository(text),
        "{text:?}"
    );
    let digits = DIGEST.captures(text).map(|parts| parts[1].to_owned());
    let digest = Digest::parse_input(text).ok();
    assert_eq!(digest.map(|digest| digest.hex()), digits);
    assert_eq!(
        text.parse::<Digest>().ok(),
        digest.filter(|_| text.starts_with("sha256:"))
    );
}

/// Templates of the configuration, and the body of pull requests: one line each for the template,
/// the revision and the name, and the rest for the body.
pub fn templates(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (template, revision, name, body) = (part(), part(), part(), part());
    let pattern = Pattern::parse("(?s).*").unwrap();
    if let Ok(parsed) = Template::parse(template, Placeholders::Title(name)) {
        assert!(template.contains("{revision}") && !template.contains(char::is_control));
        assert_eq!(parsed.as_str(), template);
        if let Ok(revision) = pattern.revision(revision) {
            let filled = parsed.render(&revision, name);
            assert_eq!(parsed.revision_in(&filled, name), Some(revision.as_str()));
        }
    }
    if let Ok(branch) = Template::branch(template, "") {
        let hex = pattern.revision(&"0123abcd".repeat(5)).unwrap();
        assert!(is_branch(&branch.render(&hex, "")), "{template:?}");
    }
    let controls = revision.chars().any(|c| ('\u{80}'..'\u{a0}').contains(&c));
    assert_eq!(
        check_branch(revision).is_ok(),
        is_branch(revision) && !controls,
        "{revision:?}"
    );
    rendered(revision, name, body);
}

/// The rules of git-check-ref-format, byte by byte, and no option.
fn is_branch(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut good = !bytes.is_empty() && bytes != b"@" && bytes[0] != b'-';
    for (at, &byte) in bytes.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let first = before.is_none_or(|byte| byte == b'/');
        good &= byte > b' ' && byte != 0x7f && !b"~^:?*[\\".contains(&byte);
        good &= !(byte == b'.' && (first || before == Some(b'.')));
        good &= !(byte == b'/' && first);
        good &= !(byte == b'{' && before == Some(b'@'));
        let part = matches!(bytes.get(at + 1), None | Some(b'/'));
        good &= !(part && bytes[..=at].ends_with(b".lock"));
    }
    good && !name.ends_with(['/', '.'])
}

/// A body has at most the maximum length and ends with its marker, whatever the template and the
/// values are.
fn rendered(revision: &str, name: &str, template: &str) {
    let document = document(revision, name);
    let own = body::render(
        &document,
        &body::TemplateContext::default(),
        None,
        &body::TemplateJob::render,
    )
    .unwrap();
    check_body(&own, revision);
    // The author of a template is responsible for its loops; costly templates only slow the search.
    let costly = [
        "for",
        "macro",
        "range",
        "*",
        "indent",
        "%",
        "import",
        "include",
        "recursive",
    ];
    let mut rest = template.replacen("for", "", 1).replacen('%', "", 4);
    rest.make_ascii_lowercase();
    if costly.iter().any(|word| rest.contains(word)) {
        return;
    }
    if let Ok(body) = body::render(
        &document,
        &body::TemplateContext::default(),
        Some(template),
        &body::TemplateJob::render,
    ) {
        check_body(&body, revision);
    }
}

fn check_body(body: &str, revision: &str) {
    assert!(body.chars().count() <= body::MAX);
    let found = Marker::find(body).unwrap();
    assert_eq!(
        (found.kind, found.revision.as_str()),
        (MarkerKind::Set(Operation::Promotion), revision)
    );
}

fn document(revision: &str, name: &str) -> PlanDocument {
    PlanDocument {
        changes: None,
        schema: "repin.plan/1",
        kind: Operation::Promotion,
        set_path: SetPath::top(),
        revision: revision.to_owned(),
        approved: true,
        applied: false,
        changed: true,
        images: vec![ImageRow {
            verified: Vec::new(),
            name: name.to_owned(),
            repository: Repository::parse("ghcr.io/acme/app").unwrap(),
            from: vec![Digest::of(name.as_bytes())],
            to: Some(Digest::of(revision.as_bytes())),
            pins: 2,
            places: Vec::new(),
            platforms: vec![name.to_owned()],
            labels: [(revision.to_owned(), Some(name.to_owned()))].into(),
        }],
        files: vec![FileRow {
            path: name.to_owned(),
            pins: 1,
            old_sha256: "0".to_owned(),
            new_sha256: "1".to_owned(),
        }],
        checks: Vec::new(),
        branch: format!("auto/{revision}"),
        title: format!("promote: {name} @{revision}"),
        trailers: Vec::new(),
        body: None,
        diff: None,
        pull_request: None,
        wait: None,
        error: None,
    }
}

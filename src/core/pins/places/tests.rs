//! Each form of a split pin before and after a move, and each refusal.

mod conformance;
mod large;
mod property;

use std::path::Path;

use super::{unreadable::contains_name, *};
use crate::core::pins::{Replacement, outline, reads_alike, replace};

const CONFIG: &str = r#"
version: 1
files: ["**"]
places: { PLACES }
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  web: { repository: ghcr.io/acme/web, pins: 1 }
  hub: { repository: nginx, pins: 1 }
revision: { pattern: "(rev-)?[0-9a-z]+" }
"#;

fn config(places: &str) -> Config {
    crate::config::example(&CONFIG.replace("PLACES", places))
}

#[test]
fn names_occur_as_a_whole() {
    for text in ["acme/app", "x/acme/app:1", "(acme/app)"] {
        assert!(contains_name(text.as_bytes(), "acme/app"), "{text}");
    }
    for text in [
        "acme/app-x",
        "acme/app.x",
        "acme/app_x",
        "acme/app1",
        "my-acme/app",
    ] {
        assert!(!contains_name(text.as_bytes(), "acme/app"), "{text}");
    }
}

fn old() -> String {
    Digest::of(b"old").to_string()
}

fn new() -> String {
    Digest::of(b"new").to_string()
}

/// Replaces `OLD` and `NEW` by the digests, and `HEX` and `NEX` by their digits.
fn text(text: &str) -> String {
    text.replace("OLD", &old())
        .replace("NEW", &new())
        .replace("HEX", &Digest::of(b"old").hex())
        .replace("NEX", &Digest::of(b"new").hex())
}

/// The digits as UTF-16.
fn wide() -> Vec<u8> {
    let digits = text("HEX");
    digits.bytes().flat_map(|byte| [byte, 0]).collect()
}

/// The places of a configuration, and the name of a file. Contents are scanned in memory.
struct Scene {
    config: Config,
    scanner: FileScanner,
    file: &'static str,
}

fn scene(places: &str, file: &'static str) -> Scene {
    let config = config(places);
    Scene {
        scanner: FileScanner::new(&config),
        config,
        file,
    }
}

fn kustomize() -> Scene {
    scene("kustomize: {}", "a/kustomization.yaml")
}

fn helm() -> Scene {
    scene("helm: {}", "values.yaml")
}

fn marked() -> Scene {
    scene("marked: {}", "main.tf")
}

impl Scene {
    fn scan(&self, content: &[u8]) -> Scan {
        let path = RelPath::parse(self.file).unwrap();
        let places = self.scanner.places_of(&path, &|_| false);
        let scan = self.scanner.scan(content, &places);
        assert!(scan.pins.is_sorted_by_key(|pin| pin.offset));
        assert!(
            scan.refused
                .is_sorted_by_key(|refused| (refused.line, refused.column))
        );
        scan
    }

    /// The pins and refusals, one in each line: `image pointer tag` or `line:column why`.
    fn found(&self, content: &str) -> String {
        let scan = self.scan(text(content).as_bytes());
        let mut lines = Vec::new();
        for pin in &scan.pins {
            let split = pin.split.as_deref();
            let pointer = split.and_then(|split| split.pointer.clone());
            let tag = pin.tag.as_ref().map_or("-", Tag::as_str);
            lines.push(format!(
                "{} {} {tag}",
                self.config.images[pin.image].name,
                pointer.as_deref().unwrap_or("-"),
            ));
        }
        for refused in &scan.refused {
            lines.push(format!(
                "{}:{} {}",
                refused.line, refused.column, refused.reason
            ));
        }
        lines.join("\n")
    }

    /// The content after all pins moved to `NEW` and this tag; checks it as the planner does.
    fn moved_to(&self, tag: &str, content: &str) -> String {
        let old = text(content).into_bytes();
        let to = Replacement {
            digest: Digest::of(b"new"),
            tag: Tag::parse(tag).unwrap(),
        };
        let was = self.scan(&old);
        assert_eq!(was.refused, [], "{content}");
        let new = replace(&old, &was.pins, &vec![Some(to.clone()); 3]);
        let is = self.scan(&new);
        assert_eq!(is.refused, [], "{content}");
        assert_eq!(is.pins.len(), was.pins.len(), "{content}");
        assert!(is.pins.iter().all(|pin| to.is_done(pin)), "{content}");
        assert_eq!(
            outline(&old, &was.pins),
            outline(&new, &is.pins),
            "{content}"
        );
        assert!(reads_alike(&old, &new, &was.pins), "{content}");
        String::from_utf8(new).unwrap()
    }

    fn moves(&self, before: &str, after: &str) {
        assert_eq!(self.moved_to("rev-2", before), text(after));
    }

    fn refuses(&self, content: &str, at: &str, reason: &str) {
        let found = self.found(content);
        let mut lines = found.lines().filter(|line| line.contains(':'));
        let line = lines.next().unwrap_or_default();
        assert!(
            line.starts_with(&format!("{at} ")) && line.contains(reason),
            "{content}\n{found}"
        );
    }

    /// A refusal at the position of `§`, which is removed.
    fn refuses_at_mark(&self, content: &str, reason: &str) {
        let before = text(content.split('§').next().unwrap());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().len() + 1;
        self.refuses(
            &content.replace('§', ""),
            &format!("{line}:{column}"),
            reason,
        );
    }

    fn ignores(&self, content: &str) {
        assert_eq!(self.found(content), "", "{content}");
    }
}

#[test]
fn kustomize_moves_digests_and_new_tags() {
    kustomize().moves(
        "images:\n- name: x\n  newName: ghcr.io/acme/app\n  newTag: \"v1\"\n  digest: OLD # note\n- name: nginx\n  digest: 'OLD'\n",
        "images:\n- name: x\n  newName: ghcr.io/acme/app\n  newTag: \"rev-2\"\n  digest: NEW # note\n- name: nginx\n  digest: 'NEW'\n",
    );
    kustomize().moves(
        "kind: Component\nimages:\n- {name: ghcr.io/acme/app, newTag: v1@OLD}\n- {name: ghcr.io/acme/other, digest: OLD}\n",
        "kind: Component\nimages:\n- {name: ghcr.io/acme/app, newTag: rev-2@NEW}\n- {name: ghcr.io/acme/other, digest: OLD}\n",
    );
    assert_eq!(
        kustomize().found("images:\n- name: GHCR.io/acme/app\n  digest: OLD\n- name: docker.io/library/nginx\n  newTag: '1'\n  digest: OLD\n"),
        "app /images/0/digest -\nhub /images/1/digest 1"
    );
}

#[test]
fn only_kustomizations_are_kustomizations() {
    kustomize().ignores("kind: Deployment\nimages:\n- name: nginx\n  digest: OLD\n");
    let explicit = scene("flux: { kind: kustomize, files: ['*.yaml'] }", "app.yaml");
    explicit.ignores("images:\n- name: nginx\n  digest: OLD\n");
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  images:\n  - name: nginx\n    digest: OLD\n";
    assert_eq!(explicit.found(flux), "hub /spec/images/0/digest -");
    assert_eq!(
        explicit.found("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n- name: nginx\n  digest: OLD\n"),
        "hub /images/0/digest -"
    );
    for other in [
        flux.replace("kind: Kustomization", "kind: HelmRelease"),
        flux.replace("kustomize.toolkit.fluxcd.io/v1", "v1"),
        "apiVersion: example.org/v1\nkind: Kustomization\nimages:\n- name: nginx\n  digest: OLD\n"
            .into(),
    ] {
        explicit.ignores(&other);
    }
    // kustomize recognizes the name in any directory.
    let elsewhere = scene("kustomize: {}", "a/images.yaml");
    elsewhere.ignores("kind: Kustomization\nimages:\n- name: nginx\n  digest: OLD\n");
}

#[test]
fn images_without_a_kind_are_reported() {
    let explicit = scene("flux: { kind: kustomize, files: ['*.yaml'] }", "app.yaml");
    let without_kind = |scene: &Scene, content: &str| {
        let scan = scene.scan(text(content).as_bytes());
        let rows = scan.without_kind.iter();
        rows.map(|one| (one.line, one.column)).collect::<Vec<_>>()
    };
    let images = "images:\n- name: nginx\n  digest: OLD\n";
    assert_eq!(
        without_kind(&explicit, &format!("x: 1\n---\n{images}")),
        [(3, 1)]
    );
    for other in [
        format!("kind: Kustomization\n{images}"),
        format!("kind: Deployment\n{images}"),
        "images: [a, b]\n".to_owned(),
        "images: { name: nginx }\n".to_owned(),
    ] {
        assert_eq!(without_kind(&explicit, &other), [], "{other}");
    }
    assert_eq!(without_kind(&kustomize(), images), []);
}

#[test]
fn parts_of_places_are_met_by_their_values() {
    let places =
        "k: { kind: keys, entry: /i, registry: host, repository: repo, tag: tag, digest: sum }";
    let met = |scene: &Scene, content: &str| {
        let scan = scene.scan(text(content).as_bytes());
        scan.met
            .iter()
            .map(|met| format!("{:?}", met.part))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let keys = scene(places, "a.yaml");
    for (content, expected) in [
        ("j: {}\n", ""),
        ("i: {}\n", "Entry"),
        ("i: { repo: other }\n", "Entry Repository"),
        (
            "i: { host: x, repo: y, tag: v1, sum: '' }\n",
            "Entry Registry Repository Tag Digest",
        ),
    ] {
        assert_eq!(met(&keys, content), expected, "{content}");
    }
    assert_eq!(met(&helm(), "a: { repository: other }\n"), "Entry");
    assert_eq!(met(&helm(), "a: { repo: other }\n"), "");
    assert_eq!(met(&kustomize(), "images: [{ name: other }]\n"), "Entry");
    assert_eq!(met(&kustomize(), "resources: []\n"), "");
    assert_eq!(met(&marked(), "OLD # repin: app\n"), "Entry");
    assert_eq!(met(&marked(), "OLD\n"), "");
}

#[test]
fn kustomize_refuses_ambiguous_entries() {
    kustomize().refuses(
        "images:\n- name: nginx\n  newTag: v1@OLD\n  digest: OLD\n",
        "3:11",
        "kustomize uses `digest` and ignores `newTag`",
    );
    kustomize().refuses(
        "images:\n- name: x\n  newName: ghcr.io/acme/app:v1\n  digest: OLD\n",
        "3:12",
        "`newName` holds a whole reference",
    );
    kustomize().refuses(
        "images:\n- name: x\n  newName: ghcr.io/acme/app:v1\n  newTag: v2@OLD\n",
        "3:12",
        "`newName` holds a whole reference",
    );
    kustomize().refuses(
        "images:\n- name: nginx\n  tagSuffix: -x\n  digest: OLD\n",
        "3:14",
        "`tagSuffix`",
    );
    // For kustomize, a name with a tag is a name, which no image has.
    kustomize().ignores("images:\n- name: nginx:1.2\n  digest: OLD\n");
    // An empty value is a missing value.
    kustomize().moves(
        "images:\n- name: nginx\n  newName: ''\n  tagSuffix: ''\n  digest: OLD\n",
        "images:\n- name: nginx\n  newName: ''\n  tagSuffix: ''\n  digest: NEW\n",
    );
    kustomize().moves(
        "images:\n- name: nginx\n  newName:\n  tagSuffix:\n  digest: OLD\n",
        "images:\n- name: nginx\n  newName:\n  tagSuffix:\n  digest: NEW\n",
    );
    // An item counts once, regardless of the number of aliases to it.
    let twice =
        kustomize().found("images:\n- &i { name: nginx, tagSuffix: -x, digest: OLD }\n- *i\n");
    assert_eq!(twice.lines().count(), 1, "{twice}");
    // A whole reference is a whole pin.
    assert_eq!(
        kustomize().found("images:\n- name: x\n  newName: ghcr.io/acme/app@OLD\n"),
        "app - -"
    );
}

#[test]
fn helm_moves_digests_and_tags() {
    helm().moves(
        "a:\r\n  image:\r\n    registry: ghcr.io\r\n    repository: acme/app\r\n    tag: v1\r\n    digest: \"OLD\"\r\n",
        "a:\r\n  image:\r\n    registry: ghcr.io\r\n    repository: acme/app\r\n    tag: rev-2\r\n    digest: \"NEW\"\r\n",
    );
    helm().moves(
        "\u{feff}x: 1\n---\nlist:\n- repository: ghcr.io/acme/web\n  tag: 'v1@OLD'",
        "\u{feff}x: 1\n---\nlist:\n- repository: ghcr.io/acme/web\n  tag: 'rev-2@NEW'",
    );
    helm().moves(
        r#"{"image": {"repository": "ghcr.io/acme/app", "tag": "v1", "digest": "OLD"}}"#,
        r#"{"image": {"repository": "ghcr.io/acme/app", "tag": "rev-2", "digest": "NEW"}}"#,
    );
    // Empty and null tags stay; a text that looks like null is a tag.
    for tag in ["", "\"\"", "null", "~"] {
        let content = format!("i:\n  repository: nginx\n  tag: {tag}\n  digest: OLD\n");
        helm().moves(&content, &content.replace("OLD", "NEW"));
    }
    helm().moves(
        "i: { repository: nginx, tag: 'null', digest: OLD }\n",
        "i: { repository: nginx, tag: 'rev-2', digest: NEW }\n",
    );
    // Null before a digest is a tag too.
    for tag in ["'@OLD'", "'{{ .x }}@OLD'"] {
        let content = format!("i: {{ repository: nginx, tag: {tag} }}\n");
        helm().moves(&content, &content.replace("OLD", "NEW"));
    }
    assert_eq!(
        helm().found(
            "x: é\ncontrollers:\n  a/b:\n  - image: { repository: nginx, tag: '1', digest: OLD }\n"
        ),
        "hub /controllers/a~1b/0/image/digest 1"
    );
}

#[test]
fn registry_of_the_place_is_a_default() {
    let scene = scene("helm: { registry: ghcr.io }", "values.yaml");
    assert_eq!(
        scene.found("a: { repository: acme/app, digest: OLD }\nb: { repository: docker.io/nginx, digest: OLD }\nc: { registry: '', repository: acme/web, digest: OLD }\nd: { registry: docker.io, repository: nginx, digest: OLD }\n"),
        "app /a/digest -\nhub /b/digest -\nweb /c/digest -\nhub /d/digest -"
    );
    scene.ignores("a: { registry: docker.io, repository: acme/app, digest: OLD }\n");
    // A mirror is another repository.
    scene.ignores("a: { repository: mirror.example/acme/app, digest: OLD }\n");
    // Another port is another registry.
    scene.ignores("a: { repository: 'ghcr.io:8443/acme/app', digest: OLD }\n");
    helm().ignores("a: { repository: acme/app, digest: OLD }\n");
    // A repository that starts with a host has a registry.
    for host in ["localhost", "Host"] {
        scene.ignores(&format!(
            "a: {{ repository: {host}/acme/app, digest: OLD }}\n"
        ));
    }
}

#[test]
fn other_spelling_of_a_repository_is_found() {
    for name in [
        "ghcr.io:443/acme/app",
        "GHCR.io/acme/app",
        "oci://ghcr.io/acme/app",
        "docker://ghcr.io:443/acme/app",
    ] {
        let text = format!("a: {{ repository: '{name}', digest: OLD }}\n");
        assert_eq!(helm().found(&text), "app /a/digest -", "{name}");
    }
    for (registry, name) in [
        ("registry-1.docker.io", "library/nginx"),
        ("registry.hub.docker.com", "nginx"),
        ("oci://index.docker.io", "nginx"),
        ("https://docker.io:443/", "nginx"),
    ] {
        let text = format!("a: {{ registry: '{registry}', repository: '{name}', digest: OLD }}\n");
        assert_eq!(helm().found(&text), "hub /a/digest -", "{registry}");
    }
    let kustomize = scene("kustomize: {}", "kustomization.yaml");
    for name in ["oci://ghcr.io/acme/app", "ghcr.io:443/acme/app"] {
        let text = format!("images:\n- name: x\n  newName: {name}\n  digest: OLD\n");
        assert_eq!(kustomize.found(&text), "app /images/0/digest -", "{name}");
    }
    helm().ignores("a: { repository: 'oci://ghcr.io/acme/other', digest: OLD }\n");
}

#[test]
fn numeric_tag_is_quoted() {
    let before = "i:\n  repository: nginx\n  tag: v1\n  digest: OLD\n";
    for tag in ["1234e56", "0012", "yes"] {
        assert_eq!(
            helm().moved_to(tag, before),
            text(&format!(
                "i:\n  repository: nginx\n  tag: \"{tag}\"\n  digest: NEW\n"
            ))
        );
        assert_eq!(
            helm().moved_to(tag, &before.replace("v1", "'v1'")),
            text(&format!(
                "i:\n  repository: nginx\n  tag: '{tag}'\n  digest: NEW\n"
            ))
        );
    }
    // After an `@` it is text.
    assert_eq!(
        helm().moved_to("0012", "i: {repository: nginx, tag: v1@OLD}\n"),
        text("i: {repository: nginx, tag: 0012@NEW}\n")
    );
}

#[test]
fn placeholders_are_ignored() {
    for digest in [
        "\"\"",
        "\"{{ .Values.digest }}\"",
        "${DIGEST}",
        "<digest>",
        "sha256:<digest>",
        "sha256:ab${REST}",
        "{{ .x }}",
        "",
        "~",
        "null",
        "NULL",
    ] {
        helm().ignores(&format!(
            "x: OLD\ni:\n  repository: nginx\n  digest: {digest}\n"
        ));
    }
    helm().ignores("i:\n  repository: nginx\n  tag: v1\n# OLD\n");
    helm().ignores("i:\n  repository: \"{{ .Values.x }}\"\n  digest: OLD\n");
    helm().ignores("i:\n  repository: [nginx]\n  digest: OLD\n");
    helm().ignores("256: x\n");
    // A template may replace only the tag.
    for tag in ["\"{{ .x }}\"", "${TAG}", "<tag>"] {
        let content = format!("i:\n  repository: nginx\n  tag: {tag}\n  digest: OLD\n");
        helm().moves(&content, &content.replace("OLD", "NEW"));
    }
    helm().moves(
        "i:\n  repository: nginx\n  tag: |\n    {{ .x }}\n  digest: OLD\n",
        "i:\n  repository: nginx\n  tag: |\n    {{ .x }}\n  digest: NEW\n",
    );
    for tag in ["<v1", "v1>"] {
        helm().refuses(
            &format!("i: {{ repository: nginx, tag: {tag}, digest: OLD }}\n"),
            "1:30",
            "the tag next to the digest is malformed",
        );
    }
}

#[test]
fn text_in_place_of_a_digest_is_refused() {
    for digest in [
        "latest",
        "'null'",
        "false",
        "'a b:c'",
        "'v1:x@y'",
        "v1:x/y",
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk:x",
        "sha256-HEX",
        "'@OLD'",
        "r.example/x@OLD",
        "$DIGEST",
        "' '",
        "[]",
        "[OLD]",
        "{ x: OLD }",
        "*unknown",
    ] {
        let refused = |scene: Scene, content: String, at| {
            scene.refuses(&content, at, "not of the form");
        };
        let helm_entry = format!("i:\n  repository: nginx\n  digest: {digest}\n");
        refused(helm(), helm_entry, "3:11");
        let kustomization = format!("images:\n- name: nginx\n  digest: {digest}\n");
        refused(kustomize(), kustomization, "3:11");
        let keys = scene(
            "k: { kind: keys, entry: /i, digest: d, image: hub }",
            "a.yaml",
        );
        refused(keys, format!("i:\n  d: {digest}\n"), "2:6");
        // Another image may have anything.
        helm().ignores(&format!("i:\n  repository: other\n  digest: {digest}\n"));
    }
    for tag in ["v1@HEX", "v1@sha256-HEX", "v1@latest", "a@b@OLD"] {
        helm().refuses(
            &format!("i: {{ repository: nginx, tag: '{tag}' }}\n"),
            "1:30",
            "not of the form",
        );
    }
    for tag in ["'v1@'", "'v1@<digest>'", "HEX", "sha256-HEX"] {
        helm().ignores(&format!("i: {{ repository: nginx, tag: {tag} }}\n"));
    }
}

#[test]
fn digits_alone_move_as_digits() {
    let form = |text: &str, key: &str| text.replace("KEY", key);
    for key in ["sha", "digest"] {
        helm().moves(
            &form("i:\n  repository: nginx\n  tag: v1\n  KEY: HEX # x\n", key),
            &form(
                "i:\n  repository: nginx\n  tag: rev-2\n  KEY: NEX # x\n",
                key,
            ),
        );
        helm().moves(
            &form("i: { repository: nginx, KEY: \"HEX\" }\n", key),
            &form("i: { repository: nginx, KEY: \"NEX\" }\n", key),
        );
        helm().moves(
            &form("i: { repository: nginx, KEY: OLD }\n", key),
            &form("i: { repository: nginx, KEY: NEW }\n", key),
        );
        helm().refuses(
            &form("i: { repository: nginx, KEY: HEXa }\n", key),
            &format!("1:{}", 27 + key.len()),
            "not of the form",
        );
        let upper = text("HEX").to_uppercase();
        helm().refuses(
            &form(&format!("i: {{ repository: nginx, KEY: {upper} }}\n"), key),
            &format!("1:{}", 27 + key.len()),
            "not of the form",
        );
    }
    let keys = scene(
        "k: { kind: keys, entry: /i, digest: d, image: hub }",
        "a.yaml",
    );
    keys.moves("i: { d: HEX }\nj: HEX\n", "i: { d: NEX }\nj: HEX\n");
    // An empty key leaves the other one, and a commit is no digest.
    for other in ["digest: ''", "digest: <digest>"] {
        let content = format!("i: {{ repository: nginx, sha: HEX, {other} }}\n");
        helm().moves(&content, &content.replace("HEX", "NEX"));
    }
    for other in [
        "sha: ''",
        "sha: 1f3c9d2",
        "sha: '0123456789012345678901234567890123456789'",
    ] {
        let content = format!("i: {{ repository: nginx, digest: OLD, {other} }}\n");
        helm().moves(&content, &content.replace("OLD", "NEW"));
    }
    helm().refuses(
        "i: { repository: nginx, sha: HEX, digest: OLD }\n",
        "1:30",
        "in `digest` and in `sha`",
    );
    let zeros = "0".repeat(64);
    helm().refuses(
        &format!("i: {{ repository: nginx, sha: {zeros} }}\n"),
        "1:30",
        "are a number",
    );
    let quoted = format!("i: {{ repository: nginx, sha: '{zeros}' }}\n");
    assert_eq!(helm().found(&quoted), "hub /i/sha -");
    // kustomize joins the name and the digest with an `@`.
    kustomize().refuses(
        "images:\n- name: nginx\n  digest: HEX\n",
        "3:11",
        "not of the form",
    );
    let cut = "a: [\nrepository: ghcr.io/acme/app\nsha: HEX\n";
    helm().refuses(cut, "3:6", "cannot be read as YAML");
}

#[test]
fn malformed_digest_of_a_place_is_refused() {
    let cut = text("HEX")[..63].to_owned();
    for (digest, reason) in [
        (format!("sha256:{cut}"), "not of the form"),
        (
            text("sha256:HEX")
                .to_uppercase()
                .replace("SHA256", "sha256"),
            "not of the form",
        ),
        (text("SHA256:HEX"), "not of the form"),
        (text("sha512:HEXHEX"), "not of the form"),
        ("multihash+base58:QmRZ".to_owned(), "not of the form"),
        (format!("{}:x", "k".repeat(32)), "not of the form"),
        (text("\"sha256:HEX \""), "not of the form"),
        (
            format!(
                "\"{}\"",
                old().replacen(
                    &old()[10..11],
                    &format!("\\x{:02x}", old().as_bytes()[10]),
                    1
                )
            ),
            "an escape",
        ),
        (text("|\n    sha256:HEX"), "block scalar"),
        (text(">-\n    sha256:HEX"), "block scalar"),
        (
            format!("\"{}\\\n    {}\"", &old()[..20], &old()[20..]),
            "several lines",
        ),
        (text("!!binary sha256:HEX"), "YAML tag"),
    ] {
        let content = format!("y: OLD\ni:\n  repository: nginx\n  digest: {digest}\n");
        let at = match &digest[..1] {
            "!" => "4:20",
            "|" | ">" => "5:5",
            _ => "4:11",
        };
        helm().refuses(&content, at, reason);
    }
    helm().moves(
        "i: { repository: nginx, digest: !!str OLD }\n",
        "i: { repository: nginx, digest: !!str NEW }\n",
    );
    helm().refuses(
        "i: { repository: nginx, tag: v1@OLDa }\n",
        "1:30",
        "not of the form",
    );
    helm().refuses(
        "i: { repository: nginx, tag: v1@OLD, digest: OLD }\n",
        "1:30",
        "templates of the chart",
    );
    helm().refuses(
        "i: { repository: nginx, tag: 'a b', digest: OLD }\n",
        "1:30",
        "the tag next to the digest is malformed",
    );
    helm().refuses(
        "i:\n  repository: nginx\n  tag: |\n    v1\n  digest: OLD\n",
        "4:5",
        "the tag is in a block scalar",
    );
    helm().refuses(
        "i:\n  repository: nginx\n  tag: v1\n    x\n  digest: OLD\n",
        "3:8",
        "the tag is written with an escape or over several lines",
    );
    helm().refuses(
        "i: { repository: nginx, tag: ~@OLD }\n",
        "1:30",
        "the tag next to the digest is malformed",
    );
    helm().refuses(
        "i: { repository: nginx, digest: \"sha\\x3256:HEX\" }\n",
        "1:33",
        "an escape",
    );
    // An entry without an image may contain anything.
    helm().ignores(&format!(
        "i: {{ repository: other, digest: sha256:{cut} }}\n"
    ));
}

#[test]
fn duplicate_keys_are_refused_at_the_second() {
    helm().refuses(
        "i:\n  repository: nginx\n  digest: OLD\n  digest: OLD\n",
        "4:3",
        "duplicate key `digest`",
    );
    helm().refuses(
        "i:\n  repository: nginx\n  tag: a\n  digest: OLD\n  tag: b\n",
        "5:3",
        "duplicate key `tag`",
    );
    helm().refuses(
        "i:\n  j: { repository: nginx, digest: OLD }\ni: {}\n",
        "3:1",
        "duplicate key `i`",
    );
    assert_eq!(
        helm().found("x: 1\nx: 2\ni: { repository: nginx, digest: OLD, other: 1, other: 2 }\n"),
        "hub /i/digest -"
    );
}

#[test]
fn duplicate_key_is_refused_whichever_value_is_ours() {
    for (content, key) in [
        (
            "{ repository: other, §repository: nginx, digest: OLD }",
            "repository",
        ),
        (
            "{ repository: nginx, §repository: other, digest: OLD }",
            "repository",
        ),
        (
            "{ registry: a.b, §registry: docker.io, repository: nginx, digest: OLD }",
            "registry",
        ),
        (
            "{ registry: docker.io, §registry: a.b, repository: nginx, digest: OLD }",
            "registry",
        ),
        ("{ repository: nginx, digest: '', §digest: OLD }", "digest"),
        ("{ repository: nginx, digest: OLD, §digest: '' }", "digest"),
        ("{ repository: nginx, tag: a, §tag: a@OLD }", "tag"),
        ("{ repository: nginx, tag: a@OLD, §tag: a }", "tag"),
        ("{ repository: nginx, tag: a, §tag: b, digest: OLD }", "tag"),
        (
            "{ repository: a, §repository: b, repository: nginx, digest: OLD }",
            "repository",
        ),
        // Quotes, escapes and aliases are the same key, and JSON is YAML.
        (
            "{ repository: other, §\"repository\": nginx, digest: OLD }",
            "repository",
        ),
        (
            "{ repository: other, §'repository': nginx, digest: OLD }",
            "repository",
        ),
        (
            "{ repository: other, §\"\\x72epository\": nginx, digest: OLD }",
            "repository",
        ),
        (
            "{ &k repository: other, §*k : nginx, digest: OLD }",
            "repository",
        ),
        (
            "{ repository: other, ? §repository : nginx, digest: OLD }",
            "repository",
        ),
        (
            "{\"repository\":\"other\",§\"repository\":\"nginx\",\"digest\":\"OLD\"}",
            "repository",
        ),
    ] {
        helm().refuses_at_mark(&format!("i: {content}"), &format!("duplicate key `{key}`"));
    }
    // An alias as a key is a key.
    assert_eq!(
        helm().found("x: &k repository\ni: { *k : nginx, digest: OLD }\n"),
        "hub /i/digest -"
    );
    // Entries of other images are not refused.
    helm().ignores("i: { repository: a, repository: b, digest: OLD, digest: OLD }\n");
}

/// No reader uses it, but it is a digest next to the key of an image.
#[test]
fn value_between_two_duplicates_is_refused() {
    let scene = scene(
        "k: { kind: keys, entry: /a, digest: d, image: hub }",
        "a.yaml",
    );
    let found = scene.found("a: { d: x }\na: { d: OLD }\na: { d: y }\n");
    assert!(found.contains("duplicate key `a`"), "{found}");
}

#[test]
fn duplicate_key_of_a_merge_is_refused() {
    helm().refuses_at_mark(
        "b: &b { repository: other, §repository: nginx, digest: OLD }\ni: { <<: *b }\n",
        "duplicate key `repository`",
    );
    for entry in [
        "i: { <<: *a, <<: *b }",
        "i: { <<: *b, <<: *a }",
        // In a merge of a merge.
        "c: &c { <<: *a, <<: *b }\ni: { <<: *c }",
    ] {
        let content = format!(
            "a: &a {{ repository: other }}\nb: &b {{ repository: nginx, digest: OLD }}\n{entry}\n"
        );
        let found = helm().found(&content);
        assert!(
            found.contains("a duplicate key in this document decides"),
            "{found}"
        );
    }
}

#[test]
fn duplicate_key_above_an_entry_is_refused() {
    kustomize().refuses_at_mark(
        "images: []\n§images: [{ name: nginx, digest: OLD }]\n",
        "duplicate key `images`",
    );
    for kinds in [
        "kind: Other\nkind: Kustomization",
        "kind: Kustomization\nkind: Other",
    ] {
        kustomize().refuses_at_mark(
            &format!("{kinds}\nimages: [{{ name: nginx, digest: §OLD }}]\n"),
            "a duplicate key in this document decides",
        );
    }
    helm().refuses_at_mark(
        "i: {}\n§i: { repository: nginx, digest: OLD }\n",
        "duplicate key `i`",
    );
    let keys = scene(
        "n: { kind: keys, entry: /a/b, image: hub, digest: digest }",
        "a.yaml",
    );
    for content in [
        "a: {}\n§a: { b: { digest: OLD } }\n",
        "a: { b: { digest: x, §digest: OLD } }\n",
    ] {
        keys.refuses_at_mark(content, "duplicate key");
    }
}

#[test]
fn kustomize_refuses_duplicate_and_miscased_keys() {
    for (item, reason) in [
        (
            "{ name: other, §name: nginx, digest: OLD }",
            "duplicate key `name`",
        ),
        (
            "{ name: x, newName: other, §newName: nginx, digest: OLD }",
            "duplicate key `newName`",
        ),
        (
            "{ name: x, §name: y, newName: nginx, digest: OLD }",
            "duplicate key `name`",
        ),
        (
            "{ name: nginx, newTag: a, §newTag: b, digest: OLD }",
            "duplicate key `newTag`",
        ),
        (
            "{ name: nginx, digest: x, §digest: OLD }",
            "duplicate key `digest`",
        ),
        (
            "{ name: nginx, §Digest: OLD }",
            "takes the key `Digest` for `digest`",
        ),
        (
            "{ §Name: nginx, digest: OLD }",
            "takes the key `Name` for `name`",
        ),
        (
            "{ name: x, §newname: nginx, digest: OLD }",
            "takes the key `newname` for `newName`",
        ),
        ("{ name: nginx, §dige\u{17f}t: OLD }", "for `digest`"),
        (
            "{ name: nginx, digest: OLD, §TagSuffix: x }",
            "for `tagSuffix`",
        ),
    ] {
        kustomize().refuses_at_mark(&format!("images: [{item}]\n"), reason);
    }
    kustomize().refuses_at_mark(
        "§Images: [{ name: nginx, digest: OLD }]\n",
        "takes the key `Images` for `images`",
    );
    // The exact key counts if both exist.
    assert_eq!(
        kustomize().found("Images: []\nimages: [{ name: nginx, digest: OLD }]\n"),
        "hub /images/0/digest -"
    );
    // Keys of merged mappings, of several ones, and of a mapping that merges itself.
    for merge in [
        "- &a { §NewTag: x }\n- { <<: *a, name: nginx, digest: OLD }",
        "- &a { §NewTag: x }\n- &b { x: y }\n- { <<: [*a, *b], name: nginx, digest: OLD }",
        "- &a { §NewTag: x }\n- &b { <<: *a }\n- { <<: *b, name: nginx, digest: OLD }",
        "- &a { <<: *a, §NewTag: x, name: nginx, digest: OLD }",
    ] {
        kustomize().refuses_at_mark(&format!("images:\n{merge}\n"), "for `newTag`");
    }
    kustomize().ignores("images: [{ name: other, Digest: OLD }]\n");
    assert_eq!(
        kustomize().found("Other: 1\nother: 2\nimages: [{ name: nginx, digest: OLD, Note: x }]\n"),
        "hub /images/0/digest -"
    );
}

#[test]
fn anchor_with_aliases_counts_once() {
    helm().moves(
        "a: { repository: nginx, tag: &t v1, digest: &d OLD }\nb: { repository: nginx, tag: *t, digest: *d }\n",
        "a: { repository: nginx, tag: &t rev-2, digest: &d NEW }\nb: { repository: nginx, tag: *t, digest: *d }\n",
    );
    helm().moves(
        "x-digest: &d OLD\na: { repository: nginx, digest: *d }\nb: { repository: nginx, digest: *d }\n",
        "x-digest: &d NEW\na: { repository: nginx, digest: *d }\nb: { repository: nginx, digest: *d }\n",
    );
    assert_eq!(
        helm().found("x-digest: &d OLD\na: { repository: nginx, digest: *d }\n"),
        "hub /x-digest -"
    );
    // The tag in the entry moves although its digest is an alias.
    helm().moves(
        "a: { repository: nginx, digest: &d OLD }\nb: { repository: nginx, tag: v1, digest: *d }\n",
        "a: { repository: nginx, digest: &d NEW }\nb: { repository: nginx, tag: rev-2, digest: *d }\n",
    );
    // A literal digest of an entry moves even if other entries use it.
    for entry in ["digest: &d OLD", "tag: &d v1@OLD"] {
        let content = format!("a: {{ repository: nginx, {entry} }}\nb: *d\n");
        let moved = content.replace("OLD", "NEW").replace("v1", "rev-2");
        helm().moves(&content, &moved);
    }
    // An alias of a whole entry changes with it.
    helm().moves(
        "a: &a { repository: nginx, tag: v1, digest: OLD }\nb: *a\n",
        "a: &a { repository: nginx, tag: rev-2, digest: NEW }\nb: *a\n",
    );
    // The same with an alias in a key.
    let in_a_key = "? { x: &d OLD }\n: 1\ni: { repository: nginx, digest: *d }\n";
    assert!(helm().found(in_a_key).starts_with("hub "));
    assert_eq!(
        helm().found("i: { x: *d, repository: nginx, digest: OLD }\n"),
        "hub /i/digest -"
    );
    // An alias as repository or registry is followed.
    assert_eq!(
        helm().found(
            "r: &r acme/app\nh: &h ghcr.io\na: { registry: *h, repository: *r, digest: OLD }\n"
        ),
        "app /a/digest -"
    );
    // Anchors are those of their document.
    assert_eq!(
        helm().found("a: { repository: nginx, digest: &d OLD }\n---\na: { repository: nginx, digest: &d OLD }\n"),
        "hub /a/digest -\nhub /a/digest -"
    );
}

#[test]
fn alias_shared_with_another_image_is_refused() {
    helm().refuses(
        "a: { repository: nginx, digest: &d OLD }\nb: { repository: ghcr.io/acme/app, digest: *d }\n",
        "2:44",
        "another image",
    );
    helm().refuses(
        "a: { repository: nginx, digest: &d OLD }\nb: { repository: other, digest: *d }\n",
        "2:33",
        "another image",
    );
    helm().refuses(
        "a: { repository: other, digest: &d OLD }\nb: { repository: nginx, digest: *d }\nc: { repository: nginx, digest: *d }\n",
        "2:33",
        "another image",
    );
    // An entry without a digest keeps its tag.
    helm().refuses(
        "a: { repository: nginx, tag: &t v1, digest: OLD }\nb: { repository: nginx, tag: *t }\n",
        "2:30",
        "an entry that does not move",
    );
    helm().refuses(
        "x: &d OLD\na: { repository: nginx, digest: *d }\nb: *d\n",
        "3:4",
        "belongs to no entry",
    );
    helm().refuses(
        "a: { repository: nginx, tag: &t v1, digest: OLD }\nb: { repository: other, tag: *t }\n",
        "2:30",
        "an entry that does not move",
    );
    // The refusal is reported once, at the first entry.
    helm().refuses(
        "a: { repository: nginx, tag: &t v1, digest: OLD }\nb: { repository: other, tag: *t }\nc: { repository: other, tag: *t }\n",
        "3:30",
        "an entry that does not move",
    );
    // Also with a mapping that both entries merge.
    helm().refuses(
        "m: &m { tag: v1 }\na: { <<: *m, repository: nginx, digest: OLD }\nb: { <<: *m, repository: other }\n",
        "3:6",
        "an entry that does not move",
    );
    helm().refuses(
        "a: { repository: nginx, tag: &t v1, digest: OLD }\nb: *t\n",
        "2:4",
        "belongs to no entry that moves",
    );
    for (field, entry, reason) in [
        (
            "tag: v1",
            "repository: nginx, digest: OLD",
            "no entry that moves",
        ),
        ("digest: OLD", "repository: nginx", "belongs to no entry"),
    ] {
        for other in ["{ <<: *m, image: other }", "*m", "[*m]"] {
            let merged = format!("m: &m {{ {field} }}\na: {{ <<: *m, {entry} }}\n");
            let found = helm().found(&format!("{merged}b: {other}\n"));
            assert!(found.starts_with("3:") && found.contains(reason), "{found}");
        }
    }
    helm().moves(
        "m: &m { tag: v1 }\na: { <<: *m, repository: nginx, digest: OLD }\nb: { <<: [*m], repository: nginx, digest: OLD }\n",
        "m: &m { tag: rev-2 }\na: { <<: *m, repository: nginx, digest: NEW }\nb: { <<: [*m], repository: nginx, digest: NEW }\n",
    );
}

#[test]
fn merges_are_followed_if_readers_agree() {
    helm().moves(
        "a: &a { repository: nginx, tag: v1, digest: OLD }\nb: { <<: *a, pullPolicy: Always }\n",
        "a: &a { repository: nginx, tag: rev-2, digest: NEW }\nb: { <<: *a, pullPolicy: Always }\n",
    );
    helm().refuses(
        "a: &a { repository: nginx }\nb: { <<: *a, digest: OLD }\n",
        "2:6",
        "provides the repository",
    );
    helm().refuses(
        "a: &a { repository: nginx, digest: OLD }\nb: { <<: *a, repository: ghcr.io/acme/app }\n",
        "2:6",
        "another image",
    );
    // A merge of a merge is followed each time.
    let all = helm().found(
        "a: &a { repository: nginx, digest: OLD }\nm: &m { <<: *a }\nb: { <<: *m }\nc: { <<: *m, repository: ghcr.io/acme/app }\n",
    );
    let foreign = all.lines().filter(|line| line.contains("another image"));
    assert_eq!(foreign.count(), 4, "{all}");
}

#[test]
fn global_registry_is_refused() {
    for global in ["imageRegistry: r.example", "image: { registry: r.example }"] {
        helm().refuses(
            &format!("global: {{ {global} }}\ni: {{ repository: nginx, digest: OLD }}\n"),
            "2:33",
            "`global.imageRegistry` is `r.example`",
        );
    }
    // The values of a resource, and those of a subchart.
    helm().refuses(
        "spec: { values: { global: { imageRegistry: r.example }, i: { repository: nginx, digest: OLD } } }\n",
        "1:89",
        "`global.imageRegistry` is `r.example`",
    );
    helm().moves(
        "a: { global: { imageRegistry: r.example } }\nb: { i: { repository: nginx, digest: OLD } }\n",
        "a: { global: { imageRegistry: r.example } }\nb: { i: { repository: nginx, digest: NEW } }\n",
    );
    // An entry that the registry might make a configured image's.
    helm().refuses(
        "global: { imageRegistry: ghcr.io }\ni: { repository: acme/app, digest: OLD }\n",
        "2:36",
        "`global.imageRegistry` is `ghcr.io`",
    );
    helm().ignores("global: { imageRegistry: ghcr.io }\ni: { repository: other, digest: OLD }\n");
    for empty in ["''", "~", "null"] {
        let content = format!(
            "global: {{ imageRegistry: {empty} }}\ni: {{ repository: nginx, digest: OLD }}\n"
        );
        helm().moves(&content, &content.replace("OLD", "NEW"));
    }
    let keys = scene(
        "k: { kind: keys, entry: /i, digest: digest, image: hub }",
        "values.yaml",
    );
    keys.moves(
        "global: { imageRegistry: r.example }\ni: { repository: nginx, digest: OLD }\n",
        "global: { imageRegistry: r.example }\ni: { repository: nginx, digest: NEW }\n",
    );
}

#[test]
fn document_signed_by_sops_is_refused() {
    let entry = "i: { repository: nginx, digest: OLD }\n";
    helm().refuses(
        &format!("{entry}sops: {{ mac: x }}\n"),
        "1:33",
        "SOPS signed",
    );
    // Without a signature it is not signed.
    assert_eq!(
        helm().found(&format!("{entry}sops: {{ kms: [] }}\n")),
        "hub /i/digest -"
    );
    let only = "sops: { mac: x, mac_only_encrypted: true }\n";
    assert_eq!(helm().found(&format!("{entry}{only}")), "hub /i/digest -");
    helm().refuses(
        &format!("i: {{ repository: nginx, digest: OLD, p: 'ENC[x]' }}\n{only}"),
        "1:33",
        "SOPS signed",
    );
}

#[test]
fn keys_follow_their_pointers() {
    let clouds = scene(
        "clouds: { kind: keys, entry: '/clouds/**/image', registry: reg, repository: repo, tag: tag, digest: sum }",
        "config.yaml",
    );
    clouds.moves(
        "clouds:\n  image: { repo: nginx, sum: OLD }\n  a:\n    b:\n      image: { reg: ghcr.io, repo: acme/app, tag: v1, sum: OLD, digest: OLD }\nimage: { repo: nginx, sum: OLD }\n",
        "clouds:\n  image: { repo: nginx, sum: NEW }\n  a:\n    b:\n      image: { reg: ghcr.io, repo: acme/app, tag: rev-2, sum: NEW, digest: OLD }\nimage: { repo: nginx, sum: OLD }\n",
    );
    let chroot = scene(
        "chroot: { kind: keys, entry: '/controller/*', digest: digestChroot, image: hub }",
        "values.yaml",
    );
    chroot.moves(
        "controller: { image: { digest: OLD, digestChroot: OLD } }\n",
        "controller: { image: { digest: OLD, digestChroot: NEW } }\n",
    );
    let params = scene(
        "p: { kind: keys, entry: /spec/params, digest: '[name=image.digest]/value', tag: '[name=image.tag]/value', image: app }",
        "app.yaml",
    );
    params.moves(
        "spec:\n  params:\n  - { name: other, value: OLD }\n  - { name: image.digest, value: OLD }\n  - { name: image.tag, value: v1 }\n",
        "spec:\n  params:\n  - { name: other, value: OLD }\n  - { name: image.digest, value: NEW }\n  - { name: image.tag, value: rev-2 }\n",
    );
    params.refuses(
        "spec:\n  params:\n  - { name: image.digest, value: OLD }\n  - { name: image.digest, value: OLD }\n",
        "4:5",
        "a second item",
    );
    let lists = scene(
        "l: { kind: keys, entry: '/a/*/b/1', digest: c/0/d, image: app }",
        "a.yaml",
    );
    lists.moves(
        "a:\n- b: [{ c: [{ d: OLD }] }, { c: [{ d: OLD }, { d: OLD }] }]\n- &b\n  b: [1, { c: [{ d: OLD }] }]\n- *b\n- { <<: *b, x: 1 }\n",
        "a:\n- b: [{ c: [{ d: OLD }] }, { c: [{ d: NEW }, { d: OLD }] }]\n- &b\n  b: [1, { c: [{ d: NEW }] }]\n- *b\n- { <<: *b, x: 1 }\n",
    );
    let deep = scene(
        "d: { kind: keys, entry: /a/**/b, digest: d, image: app }",
        "a.yaml",
    );
    // The same below `**`, with the anchor anywhere, and in a cycle.
    deep.moves(
        "x: &x { c: { b: { d: OLD } } }\na: &a { x: *x, y: [*x, *a] }\nb: { d: OLD }\n",
        "x: &x { c: { b: { d: NEW } } }\na: &a { x: *x, y: [*x, *a] }\nb: { d: OLD }\n",
    );
    deep.moves(
        "m: &m { b: { d: OLD } }\nn: &n { c: { b: { d: OLD } } }\na: { c: { <<: [*m, *n] } }\n",
        "m: &m { b: { d: NEW } }\nn: &n { c: { b: { d: NEW } } }\na: { c: { <<: [*m, *n] } }\n",
    );
    let any = scene(
        "a: { kind: keys, entry: '/a/*', digest: d, image: app }",
        "a.yaml",
    );
    for merged in ["*m", "[*m]", "[*m, [*m]]"] {
        let content = |digest: &str| {
            format!("m: &m {{ d: OLD, k: {{ d: {digest} }} }}\na: {{ <<: {merged} }}\n")
        };
        any.moves(&content("OLD"), &content("NEW"));
    }
    let path = scene(
        "p: { kind: keys, entry: /a/b, digest: d, image: app }",
        "a.yaml",
    );
    // Aliases and merges are followed on the way, and each of two equal keys.
    for way in ["a: { b: *x }", "a: { <<: *m }"] {
        let content = format!("x: &x {{ d: OLD }}\nm: &m {{ b: *x }}\n{way}\n");
        path.moves(&content, &content.replace("OLD", "NEW"));
    }
    // A written value takes precedence over a merged one.
    path.moves(
        "m: &m { b: { d: OLD } }\na: { <<: *m, b: { d: OLD } }\n",
        "m: &m { b: { d: OLD } }\na: { <<: *m, b: { d: NEW } }\n",
    );
    path.refuses(
        "a: { b: {} }\na: { b: { d: OLD } }\n",
        "2:1",
        "duplicate key `a`",
    );
    let named = scene(
        "n: { kind: keys, entry: /b, repository: repository, digest: digest }",
        "a.yaml",
    );
    named.refuses(
        "a: &a { repository: nginx }\nb: { <<: *a, digest: OLD }\n",
        "2:6",
        "provides the repository",
    );
    let tag = scene(
        "t: { kind: keys, entry: '/a/[n=x]', tag: t, image: app }",
        "a.json",
    );
    tag.moves(
        r#"{"a": [{"n": "y", "t": "v1@OLD"}, {"n": "x", "t": "v1@OLD"}]}"#,
        r#"{"a": [{"n": "y", "t": "v1@OLD"}, {"n": "x", "t": "rev-2@NEW"}]}"#,
    );
}

#[test]
fn comments_move_with_comment_tag() {
    let scene = scene("helm: { comment: tag }", "values.yaml");
    scene.moves(
        "a: # x y\n  repository: nginx # one two\n  digest: OLD # v1\nb: { repository: nginx, digest: 'OLD', c: \"# no\" }   #v1  \n",
        "a: # x y\n  repository: nginx # one two\n  digest: NEW # rev-2\nb: { repository: nginx, digest: 'NEW', c: \"# no\" }   #rev-2  \n",
    );
    scene.moves(
        "a: { repository: nginx, digest: OLD }",
        "a: { repository: nginx, digest: NEW }",
    );
    // The brackets of a collection may be on several lines.
    scene.moves(
        "a: { repository: nginx, digest: OLD, b: [ # v1\n ] }\n",
        "a: { repository: nginx, digest: NEW, b: [ # rev-2\n ] }\n",
    );
    // The name of an anchor may contain `#`.
    scene.moves(
        "a: { repository: nginx, digest: OLD, b: &c#v1\n { d: 1 } }\n",
        "a: { repository: nginx, digest: NEW, b: &c#v1\n { d: 1 } }\n",
    );
    scene.refuses(
        "a:\n  repository: nginx\n  digest: OLD # two words\n",
        "3:85",
        "not a single word",
    );
    let longest = format!(
        "a: {{ repository: nginx, digest: OLD }} #v1{}",
        " ".repeat(1_022)
    );
    assert_eq!(scene.found(&longest), "hub /a/digest -");
    for (comment, column) in [
        ("", 84),
        (" a/b", 85),
        (&*format!(" v1{}", " ".repeat(1_022)), 84),
    ] {
        scene.refuses(
            &format!("a:\n  repository: nginx\n  digest: OLD #{comment}\n"),
            &format!("3:{column}"),
            "not a single word",
        );
    }
}

#[test]
fn each_kind_has_its_file_names() {
    let places = "kustomize: {}, helm: {}, k: { kind: keys, entry: /i, digest: d, image: hub }, marked: {}, own: { kind: helm, files: ['**/a.txt', '!b/**'] }";
    let scanner = scene(places, "").scanner;
    for (path, expected) in [
        ("kustomization.yaml", &[0, 1, 2, 3][..]),
        ("a/kustomization.yml", &[0, 1, 2, 3]),
        ("a/Kustomization", &[0, 3]),
        ("a/values.yaml", &[1, 2, 3]),
        ("a/values.yml", &[1, 2, 3]),
        ("a/values.json", &[1, 2, 3]),
        ("a/values.toml", &[3]),
        ("chart/templates/x.yaml", &[3]),
        ("chart/templates/sub/x.yaml", &[3]),
        ("other/templates/x.yaml", &[1, 2, 3]),
        ("a/a.txt", &[3, 4]),
        ("b/a.txt", &[3]),
    ] {
        let chart = |path: &Path| path == Path::new("chart/Chart.yaml");
        let places = scanner.places_of(&RelPath::parse(path).unwrap(), &chart);
        assert_eq!(places.numbers, expected, "{path}");
    }
}

#[test]
fn comments_is_the_default_of_every_place() {
    let before = "a: { repository: nginx, digest: OLD } # v1\n";
    let after = |word: &str| before.replace("OLD", "NEW").replace("v1", word);
    for (top, place, word) in [
        ("tag", "helm: {}", "rev-2"),
        ("tag", "helm: { comment: keep }", "v1"),
        ("keep", "helm: {}", "v1"),
        ("keep", "helm: { comment: tag }", "rev-2"),
    ] {
        let places = format!("{place} }}\ncomments: {top}\nsources: {{");
        scene(&places, "values.yaml").moves(before, &after(word));
    }
}

#[test]
fn values_in_a_literal_string_move() {
    let values =
        "image:\n  repository: nginx\n  tag: v1 # x\n  digest: OLD # y\n\n# z\nother: \"x\"\n";
    let indented = |values: &str, indent: &str| {
        let lines = values.split_inclusive('\n').map(|line| match line {
            "\n" => line.to_owned(),
            _ => format!("{indent}{line}"),
        });
        lines.collect::<String>()
    };
    // Argo CD, a ConfigMap that Flux reads, and a list in the column of its key.
    for (before, indent, after) in [
        (
            "spec:\n  source:\n    helm:\n      values: |\n",
            "        ",
            "      x: 1\n",
        ),
        (
            "kind: HelmRelease\n---\nkind: ConfigMap\ndata:\n  values.yaml: |-\n",
            "    ",
            "  other: a\n",
        ),
        ("a:\n- |+\n\n \n", "  ", "\n\n- x\n"),
        ("a: |2\n", "  ", ""),
    ] {
        let content = format!("{before}{}{after}", indented(values, indent));
        let moved = content
            .replace("OLD", "NEW")
            .replace("tag: v1", "tag: rev-2");
        helm().moves(&content, &moved);
        let crlf = content.replace('\n', "\r\n");
        helm().moves(&crlf, &moved.replace('\n', "\r\n"));
    }
    let content = |digest: &str| {
        format!(
            "x: {{}}\n---\nspec:\n  values: |\n    a/b:\n      repository: nginx\n      sha: {digest}\n"
        )
    };
    helm().moves(&content("HEX"), &content("NEX"));
    assert_eq!(helm().found(&content("OLD")), "hub /spec/values/a~1b/sha -");
    let scan = helm().scan(text(&content("OLD")).as_bytes());
    let split = scan.pins[0].split.as_ref().unwrap();
    assert_eq!(
        (scan.pins[0].line, scan.pins[0].column, split.document),
        (7, 12, Some(1))
    );
    // A number in quotes, a comment, and a string in a string.
    let nested = "a: |\n  b: |\n    repository: nginx\n    tag: v1\n    digest: OLD # v1\n";
    let moved = nested
        .replace("OLD # v1", "NEW # 0012")
        .replace("tag: v1", "tag: \"0012\"");
    let comments = scene("helm: { comment: tag }", "values.yaml");
    assert_eq!(comments.moved_to("0012", nested), text(&moved));
    // A mapping moves in the same file, and JSON is YAML.
    let both = "valuesObject: { image: { repository: nginx, digest: OLD } }\nvalues: |\n  {\"i\": {\"repository\": \"nginx\", \"digest\": \"OLD\"}}\n";
    helm().moves(both, &both.replace("OLD", "NEW"));
    // Other texts with the key are ignored.
    for other in [
        "the repository: [nginx",
        "repository: other\n  digest: latest",
        "repository: nginx",
        "repository: nginx\n  digest: <digest>",
        "repository: {{ .x }}\n  digest: OLD",
    ] {
        helm().ignores(&format!("a: |\n  {other}\n"));
    }
}

#[test]
fn values_in_another_string_are_refused() {
    let entry = "repository: nginx\n  digest: OLD\n";
    let bytes = "bytes are not its text";
    for (content, reason) in [
        (
            "a: >\n  §image:\n    repository: nginx\n    digest: OLD\n".to_owned(),
            bytes,
        ),
        ("a: §'{repository: nginx, digest: OLD}'\n".to_owned(), bytes),
        (
            "a: §\"repository: nginx\\ndigest: OLD\"\n".to_owned(),
            bytes,
        ),
        (
            "a: §\"repository: nginx\\ndigest: latest\"\n".to_owned(),
            bytes,
        ),
        (format!("a: !!binary |\n  §{entry}"), bytes),
        (format!("a: |\n  §{entry}a: x\n"), "duplicate key `a`"),
        (
            format!("a: |\n  §{entry}sops: {{ mac: x }}\n"),
            "SOPS signed",
        ),
        (
            format!("a: |\n  {}", entry.replace("OLD", "§sha256-HEX")),
            "not of the form",
        ),
        (
            "a: |\n  §repository: [ghcr.io/acme/app\n  digest: OLD\n".to_owned(),
            "cannot be read as YAML",
        ),
        (
            format!(
                "a: |\n  global: {{ imageRegistry: r.example }}\n  {}",
                entry.replace("OLD", "§OLD")
            ),
            "imageRegistry",
        ),
    ] {
        helm().refuses_at_mark(&content, reason);
    }
    // A carriage return alone ends a line as well, and a pointer has a maximum length.
    helm().refuses_at_mark(
        "a: |\r  §repository: nginx\r  digest: OLD\r",
        "lines differ from its text",
    );
    let (long, short) = ("k".repeat(600), "k".repeat(300));
    let content = |key: &str| {
        format!("{key}: |\n  {key}:\n    {entry}").replace("\n  digest", "\n    digest")
    };
    helm().refuses_at_mark(&content(&long).replace("OLD", "§OLD"), "too long");
    helm().moves(&content(&short), &content(&short).replace("OLD", "NEW"));
    // Four strings in strings are read, the fifth is not.
    let nested = |depth: usize| {
        let mut content = "repository: ghcr.io/acme/app\ndigest: OLD\n".to_owned();
        for _ in 0..depth {
            let lines = content.lines().map(|line| format!("  {line}\n"));
            content = format!("a: |\n{}", lines.collect::<String>());
        }
        content
    };
    helm().moves(&nested(4), &nested(4).replace("OLD", "NEW"));
    let found = helm().found(&nested(5));
    assert!(found.contains("more than 4 strings"), "{found}");
    // Only values of Helm are in strings.
    let keys = scene(
        "k: { kind: keys, entry: /a, digest: digest, image: hub }",
        "a.yaml",
    );
    keys.ignores(&format!("a: |\n  {entry}"));
}

#[test]
fn file_with_an_image_must_be_yaml() {
    helm().refuses(
        "a: [\nrepository: ghcr.io/acme/app\ndigest: OLD\n",
        "3:9",
        "cannot be read as YAML: line 3: ",
    );
    helm().refuses(
        "a: {{ x }}\n\tb: 'acme/app'\ndigest: OLD\n",
        "3:9",
        "cannot be read as YAML",
    );
    helm().ignores("a: [\nrepository: ghcr.io/acme/application\ndigest: OLD\n");
    helm().ignores("a: [\nrepository: ghcr.io/acme/app\ndigest: sha256:x\n");
    assert_eq!(
        helm().found("a: [\nimage: ghcr.io/acme/app@OLD\nother: HEX\n"),
        "app - -"
    );
    helm().refuses(
        "a: [\nrepository: ghcr.io/acme/app\ndigest: OLD\nother: OLD\n",
        "3:9",
        "cannot be read as YAML",
    );
    // Digits of UTF-16 after it are no digest.
    let content = [b"a: [\nacme/app sha256:", &*wide()].concat();
    assert_eq!(helm().scan(&content).refused, []);
    // Whole and marked pins are counted in any text.
    assert_eq!(
        helm().found("a: [\nimage: ghcr.io/acme/app@OLD\n"),
        "app - -"
    );
    let both = scene("helm: {}, marked: {}", "values.yaml");
    let whole = "image: ghcr.io/acme/app@OLD\n";
    let content = format!("a: [\n{whole}x: OLD # repin: app\n{whole}y: OLD # repin: app\n");
    assert_eq!(both.found(&content), ["app - -"; 4].join("\n"));
    // The excerpt is limited to its line.
    let refused = helm().scan(text("a: [\nacme/app OLD\nmore\n").as_bytes());
    assert_eq!(refused.refused[0].text, old());
    let deep = format!(
        "{}x{}\nrepository: ghcr.io/acme/app OLD",
        "[".repeat(80),
        "]".repeat(80)
    );
    helm().refuses(&deep, "2:30", "cannot be read as YAML");
    let mut bytes = text("a: acme/app\nb: OLD\nc: ").into_bytes();
    bytes.push(0xff);
    assert_eq!(helm().scan(&bytes).refused.len(), 1);
}

#[test]
fn marked_lines_of_any_text() {
    let revision = "rev-1";
    for (before, after) in [
        (
            "image = \"ghcr.io/x/y:rev-1@OLD\" # repin: app\n",
            "image = \"ghcr.io/x/y:rev-2@NEW\" # repin: app\n",
        ),
        (
            "x = \"OLD\" // repin: app\r\n",
            "x = \"NEW\" // repin: app\r\n",
        ),
        ("x = 'OLD' -- repin: app", "x = 'NEW' -- repin: app"),
        ("x: OLD ; repin: app\n", "x: NEW ; repin: app\n"),
        ("x: OLD /* repin: app */\n", "x: NEW /* repin: app */\n"),
        (
            "# repin: app\nARG DIGEST=OLD\n",
            "# repin: app\nARG DIGEST=NEW\n",
        ),
        ("  // repin:app\n  x(OLD)", "  // repin:app\n  x(NEW)"),
        ("tag = v1.0@OLD # repin: app", "tag = v1.0@NEW # repin: app"),
        (
            "<a>OLD</a> <!-- repin: app -->\n",
            "<a>NEW</a> <!-- repin: app -->\n",
        ),
        (
            "<!-- repin: app --><a>OLD</a>\n",
            "<!-- repin: app --><a>NEW</a>\n",
        ),
        (
            "<!-- repin: app -->\r\n<a>OLD</a>\n",
            "<!-- repin: app -->\r\n<a>NEW</a>\n",
        ),
        ("{# repin: app #}\nOLD", "{# repin: app #}\nNEW"),
        ("{#- repin: app -#}\nOLD", "{#- repin: app -#}\nNEW"),
        (
            "{{- /* repin: app */ -}}\nOLD",
            "{{- /* repin: app */ -}}\nNEW",
        ),
        ("{{/* repin: app */}}\nOLD", "{{/* repin: app */}}\nNEW"),
        ("{{!-- repin: app --}}\nOLD", "{{!-- repin: app --}}\nNEW"),
        ("<%-- repin: app --%>\nOLD", "<%-- repin: app --%>\nNEW"),
        (
            "REM repin: app\r\nset X=OLD\r\n",
            "REM repin: app\r\nset X=NEW\r\n",
        ),
        ("set X=OLD & rem repin: app", "set X=NEW & rem repin: app"),
        ("@rem repin: app\nset X=OLD", "@rem repin: app\nset X=NEW"),
        (":: repin: app\nset X=OLD", ":: repin: app\nset X=NEW"),
        ("\\def\\x{OLD} % repin: app", "\\def\\x{NEW} % repin: app"),
        ("%% repin: app\nOLD", "%% repin: app\nNEW"),
        (
            "x = 'OLD' --[[ repin: app ]]",
            "x = 'NEW' --[[ repin: app ]]",
        ),
        ("-- repin: app\nx = 'OLD'", "-- repin: app\nx = 'NEW'"),
        ("/// repin: app\nOLD", "/// repin: app\nNEW"),
        ("/** repin: app **/\nOLD", "/** repin: app **/\nNEW"),
        ("x = OLD <# repin: app #>", "x = NEW <# repin: app #>"),
        (
            "(* repin: app *) let x = \"OLD\"",
            "(* repin: app *) let x = \"NEW\"",
        ),
        ("{- repin: app -}\nx = OLD", "{- repin: app -}\nx = NEW"),
        (
            "dnl repin: app\ndefine(x, OLD)",
            "dnl repin: app\ndefine(x, NEW)",
        ),
        (".. repin: app\nOLD", ".. repin: app\nNEW"),
        // The digits alone, unless there is a digest with its algorithm.
        ("SHA=HEX # repin: app\n", "SHA=NEX # repin: app\n"),
        (
            "{\"sha\": \"HEX\"} // repin: app\n",
            "{\"sha\": \"NEX\"} // repin: app\n",
        ),
        ("HEX OLD # repin: app\n", "HEX NEW # repin: app\n"),
    ] {
        marked().moves(before, after);
    }
    assert_eq!(
        marked().found(&format!("x = y:{revision}@OLD # repin: app")),
        "app - rev-1"
    );
    for none in [
        "x = OLD # see repin: app later",
        "repin: app OLD",
        "title: 'repin: app' OLD",
        "https://repin:8080/x OLD",
        "lorem repin: app OLD",
        "lorem_rem repin: app OLD",
        "# Repin: a tool for OLD",
        "a :: repin: app OLD",
        "# repinned: app OLD",
    ] {
        marked().ignores(none);
    }
}

#[test]
fn comment_that_begins_like_a_mark_is_refused() {
    let other = "the name of one image must follow `repin:`";
    for (content, reason) in [
        ("# §repin: a b\nOLD", other),
        ("x OLD # §repin:", other),
        ("x OLD # §repin: app, web", other),
        ("x OLD # §repin: 'app'", other),
        ("# §repin: app=OLD", other),
        ("x OLD # §repin: app # more", other),
        ("x OLD <!-- §repin: -->", other),
        ("x OLD /* §repin: app", "does not end on its line"),
        ("<!-- §repin: app\n-->\nOLD", "does not end on its line"),
        ("<!--\n§repin: app\n-->\nOLD", "begins on another line"),
        ("/**\n * §repin: app\n */\nOLD", "begins on another line"),
        ("x OLD # §Repin: app", "is written `repin: NAME`"),
        ("x OLD # §REPIN: app", "is written `repin: NAME`"),
        ("x OLD # §repin : app", "is written `repin: NAME`"),
    ] {
        marked().refuses_at_mark(content, reason);
    }
    for big in [0, 1] {
        let wide = |text: &str| {
            let units = text.bytes().flat_map(|byte| [byte, 0]);
            [vec![0; big], units.collect()].concat()
        };
        let refused = marked().scan(&wide("x = y # repin: app\r\n")).refused;
        assert!(refused[0].reason.contains("in UTF-16"), "{refused:?}");
        assert_eq!(
            marked().scan(&wide("x = y, see repin: app\r\n")).refused,
            []
        );
    }
    let long = format!("x OLD <!-- repin: app -->{}\n", " ".repeat(9_000));
    marked().refuses(&long, "1:80", "longer than 8192 bytes");
    for digits in [
        "sha256-HEX",
        "blake3:HEX",
        "@HEX",
        "HEX.sig",
        "HEX-x",
        "x/HEX",
    ] {
        let found = marked().found(&format!("{digits} # repin: app\n"));
        assert!(found.contains("holds no digest"), "{found}");
    }
}

#[test]
fn ambiguous_marker_is_refused() {
    marked().refuses("x = 1 # repin: app\n", "1:9", "holds no digest");
    marked().refuses("# repin: app\n\nx = OLD\n", "1:3", "holds no digest");
    marked().refuses("x # repin: app", "1:5", "holds no digest");
    // A part of a longer word is no digest.
    for (none, column) in [("OLDz", 76), ("zOLD", 76)] {
        marked().refuses(
            &format!("{none} # repin: app\n"),
            &format!("1:{column}"),
            "holds no digest",
        );
    }
    let scan = marked().scan(&[b"sha256:\0", &wide()[..127], b" # repin: app"].concat());
    assert_eq!((scan.pins.len(), scan.refused.len()), (0, 1));
    marked().refuses("OLD # repin: no-body\n", "1:75", "not a configured image");
    marked().refuses(
        &format!("{}# repin: app\nx = OLD\n", " ".repeat(9_000)),
        "1:9003",
        "longer than 8192 bytes",
    );
    marked().refuses("OLD OLD # repin: app\n", "1:73", "more than one digest");
    marked().refuses("OLD # repin: unknown\n", "1:75", "not a configured image");
    marked().refuses(
        "ghcr.io/acme/web@OLD # repin: app\n",
        "1:18",
        "another image",
    );
    assert_eq!(
        marked().found("ghcr.io/acme/app@OLD # repin: app\n"),
        "app - -"
    );
    let pin = &marked()
        .scan(text("ghcr.io/acme/app@OLD # repin: app\n").as_bytes())
        .pins[0];
    assert_eq!(pin.split, None, "it counts once, as a whole pin");
    marked().refuses(
        "# repin: web\nx = OLD # repin: app\n",
        "2:5",
        "to different images",
    );
    let twice = marked().scan(text("# repin: app\nx = OLD # repin: app\n").as_bytes());
    assert_eq!((twice.pins.len(), twice.double_matches.len()), (1, 0));
    assert_eq!(twice.refused, []);
}

#[test]
fn digest_of_two_places_is_reported() {
    let both = scene(
        "helm: {}, k: { kind: keys, entry: /i, digest: digest, image: hub }",
        "values.yaml",
    );
    let scan = both.scan(text("i: { repository: nginx, digest: OLD }\n").as_bytes());
    let mut places = scan.double_matches[0].places;
    places.sort_unstable();
    assert_eq!((places, scan.double_matches.len()), ([0, 1], 1));
    // The two places assign the digest to different images.
    let scan = both.scan(text("i: { repository: ghcr.io/acme/app, digest: OLD }\n").as_bytes());
    assert_eq!((scan.double_matches.len(), scan.refused.len()), (1, 0));
    // A refusal by one of them is reported.
    let other = scene(
        "k: { kind: keys, entry: /i, digest: digest, image: hub }, helm: {}",
        "values.yaml",
    );
    other.refuses(
        "global: { imageRegistry: r.example }\ni: { repository: nginx, digest: OLD }\n",
        "2:33",
        "`global.imageRegistry` is `r.example`",
    );
    // A whole reference that is also the tag of an entry is one pin.
    assert_eq!(
        helm().found("i: { repository: nginx, tag: nginx@OLD }\n"),
        "hub - -"
    );
}

#[test]
fn comment_of_flux_is_found() {
    let managed = |content: &str| {
        let scan = kustomize().scan(text(content).as_bytes());
        scan.pins[0].split.as_ref().unwrap().managed
    };
    assert!(managed(
        "images:\n- name: nginx\n  newTag: v1 # {\"$imagepolicy\": \"x:y:tag\"}\n  digest: OLD\n"
    ));
    assert!(!managed(
        "images:\n- name: nginx\n  newTag: v1\n  digest: OLD\n- name: x # {\"$imagepolicy\": \"x:y:tag\"}\n"
    ));
}

#[test]
fn every_position_is_that_of_the_digest() {
    let content = text("é: 1\ni: { repository: nginx, tag: v1@OLD }\n");
    let pin = &helm().scan(content.as_bytes()).pins[0];
    assert_eq!((pin.line, pin.column), (2, 33));
    assert!(content[pin.offset..].starts_with("sha256:"));
    assert_eq!(pin.split.as_ref().unwrap().document, Some(0));
    let second = helm()
        .scan(format!("x: 1\n---\n{content}").as_bytes())
        .pins
        .remove(0);
    assert_eq!(second.split.unwrap().document, Some(1));
}

#[test]
fn all_kinds_of_pins_move_together() {
    let scene = scene("helm: {}, marked: {}", "values.yaml");
    scene.moves(
        "a: { repository: nginx, digest: OLD }\nb: 'ghcr.io/acme/app@OLD'\nc: |\n  x OLD # repin: web\nd: OLD # repin: web\n",
        "a: { repository: nginx, digest: NEW }\nb: 'ghcr.io/acme/app@NEW'\nc: |\n  x NEW # repin: web\nd: NEW # repin: web\n",
    );
}

#[test]
fn other_changes_are_not_a_move() {
    let quoted = text("a: { repository: nginx, tag: 'v1', digest: OLD }\n");
    let pins = helm().scan(quoted.as_bytes()).pins;
    let doubled = quoted.replace("'v1'", "\"v1\"");
    assert!(!reads_alike(quoted.as_bytes(), doubled.as_bytes(), &pins));
    let old = text("a: { repository: nginx, tag: v1, digest: OLD }\nb: 1\n");
    let pins = helm().scan(old.as_bytes()).pins;
    let moved = old
        .replace(&super::tests::old(), &new())
        .replace("v1", "\"v2\"");
    assert!(reads_alike(old.as_bytes(), moved.as_bytes(), &pins));
    for (from, to) in [
        ("b: 1", "b: 2"),
        ("b: 1", "b: 1\nc: 1"),
        ("b: 1", "b: &a 1"),
        ("\"v2\"", "[v2]"),
        ("\"v2\"", "&t \"v2\""),
        ("\"v2\"", "!!str v2"),
        ("\"v2\"", "'v2'"),
        ("nginx", "other"),
        ("b: 1", "b: [1"),
    ] {
        let other = moved.replace(from, to);
        assert_ne!(other, moved);
        assert!(
            !reads_alike(old.as_bytes(), other.as_bytes(), &pins),
            "{other}"
        );
    }
}

/// The numbers of pins and refusals of the standard places.
fn standard(file: &str, content: &[u8]) -> (usize, usize) {
    let mut scan = helm().scanner.finder.scan(content);
    let path = RelPath::parse(file).unwrap();
    let image = |_| Some(0);
    let standard = StandardPlaces::new();
    let places = standard.places_of(&path, &|_| false);
    standard.add(&mut scan, content, &places, &image);
    (scan.pins.len(), scan.refused.len())
}

#[test]
fn standard_places_depend_on_file_names() {
    let entry = text("i: { repository: any/name, digest: OLD }\n#");
    let images = text("images: [{ name: any/name, digest: OLD }]\n");
    for (file, content, expected) in [
        ("values.yaml", &entry, (1, 0)),
        ("values.toml", &entry, (0, 0)),
        ("values.yaml", &images, (0, 0)),
        ("kustomization.yaml", &images, (1, 0)),
    ] {
        let found = standard(file, content.as_bytes());
        assert_eq!(found, expected, "{file} {}", content.len());
    }
    // The tag of an entry is not a repository, even if the entry is refused.
    let tag = "i: { repository: any/name, tag: nginx@OLD }\n";
    assert_eq!(standard("values.yaml", text(tag).as_bytes()), (1, 0));
    let global = format!("global: {{ imageRegistry: r.example }}\n{tag}");
    assert_eq!(standard("values.yaml", text(&global).as_bytes()), (0, 1));
}

#[test]
fn shared_nodes_are_visited_once() {
    use std::fmt::Write as _;
    let entry = "/*".repeat(20);
    let places = format!("k: {{ kind: keys, entry: '{entry}', digest: d, image: hub }}");
    let mut content = "- &l0 [{ d: OLD }]\n".to_owned();
    for at in 1..20 {
        let below = at - 1;
        let _ = writeln!(
            content,
            "- &l{at} [{}]",
            vec![format!("*l{below}"); 9].join(", ")
        );
    }
    let found = scene(places.leak(), "a.yaml").found(&content);
    assert_eq!(found, "hub /0/0/d -");
}

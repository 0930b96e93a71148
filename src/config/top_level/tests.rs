//! Tests of the whole configuration: defaults, and mistakes with their places.

use super::*;
use crate::config::WhenUnavailable;

const MINIMAL: &str =
    "version: 1\nfiles: [a.yml]\nimages: { a: { repository: ghcr.io/acme/a, pins: 1 } }\n";

fn parse_text(text: &str) -> Result<Config, Vec<Error>> {
    parse(
        &SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        },
        Path::new("/root"),
        &SetPath::top(),
    )
}

/// The problems of a text with their places, one on each line.
fn problems(text: &str) -> String {
    let errors = parse_text(text).expect_err("the text is malformed");
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn defaults_are_filled_in() {
    let config = parse_text(MINIMAL).unwrap();
    assert_eq!(config.name, "images");
    assert_eq!(config.revision.pattern.as_str(), "[0-9a-f]{40}");
    assert_eq!(config.revision.tag.as_str(), "{revision}");
    assert_eq!(config.revision.label, "org.opencontainers.image.revision");
    assert_eq!(
        config.promote.branch.as_str(),
        "repin/{set}/promote-{revision}"
    );
    assert_eq!(config.promote.title.as_str(), "promote: {name} @{revision}");
    assert_eq!(
        config.rollback.branch.as_str(),
        "repin/{set}/rollback-{revision}"
    );
    assert_eq!(
        config.rollback.title.as_str(),
        "rollback: {name} @{revision}"
    );
    assert!(
        config.promote.supersede
            && config.provenance.requires_title()
            && config.provenance.branch.is_none()
    );
    assert!(
        config.inventory.is_none()
            && config.smoke.is_none()
            && config.prune.is_none()
            && config.forge.is_none()
    );
    let blocks = parse_text(&format!(
        "{MINIMAL}prune: {{}}\nsmoke: {{ command: [x] }}\nforge: {{}}\ninventory: {{}}\n"
    ))
    .unwrap();
    let prune = blocks.prune.unwrap();
    assert_eq!(
        (
            prune.tags.as_str(),
            prune.limit,
            prune.untagged,
            prune.older_than.as_secs()
        ),
        ("^pending-", 50, false, 14 * 86_400)
    );
    let smoke = blocks.smoke.unwrap();
    assert_eq!(
        (
            smoke.network,
            smoke.timeout.as_secs(),
            smoke.when_unavailable == WhenUnavailable::Skip
        ),
        (false, 60, false)
    );
}

#[test]
fn every_problem_has_a_location() {
    for (line, message) in [
        ("nam: x", "4:1: unknown key `nam`"),
        (
            "name: a\nname: b",
            "5:1: the key `name` is a duplicate: first defined on line 4",
        ),
        ("name: &x a", "anchors are not allowed"),
        ("name: !!str a", "tags are not allowed"),
        ("name: [a]", "4:7: expected a string, found a list"),
        ("name:", "expected a string, found nothing"),
        ("name: \"a\\nb\"", "4:7: the name contains"),
        ("sources: { ghcr.io: oci:../x }", "`..` is not allowed"),
        ("sources: { ghcr.io: oci:/x }", "is absolute"),
        ("sources: { 'A B': oci:x }", "4:12: the prefix `A B`"),
        ("sources: { ghcr.io: ftp://x }", "expected `oci:DIR`"),
        ("realms: { 'a b': c.example }", "`a b` is not a host name"),
        (
            "realms: { a.example: 'https://b' }",
            "not a host name with an optional port",
        ),
        ("revision: { pattern: '[' }", "expression: unclosed"),
        ("revision: { pattern: 'a)(b' }", "expression: unopened"),
        ("revision: { tag: x }", "`{revision}` is missing"),
        ("revision: { tag: '{rev}' }", "unknown placeholder `{rev}`"),
        ("revision: { label: '' }", "a nonempty string"),
        ("report: { template: ../x }", "`..` is not allowed"),
        ("provenance: { require: [title] }", "`content` is required"),
        (
            "provenance: { require: [tittle] }",
            "one of `title`, `content`",
        ),
        ("provenance: { branch: '-x' }", "not a valid branch name"),
        (
            "promote: { branch: 'a..{revision}' }",
            "not a valid branch name",
        ),
        ("promote: { supersede: yes }", "expected `true` or `false`"),
        ("rollback: { supersede: true }", "unknown key `supersede`"),
        ("inventory: { root: relative }", "not an absolute path"),
        ("inventory: { root: /a/../b }", "`..` is not allowed"),
        (
            "inventory: { kinds: { a: { paths: ['x'] } } }",
            "exactly one capture group",
        ),
        (
            "inventory: { kinds: { a: { paths: ['(x'] } } }",
            "expression: unclosed",
        ),
        (
            "inventory: { kinds: { a: {} } }",
            "the key `paths` is missing",
        ),
        (
            "inventory: { kinds: { a: { paths: ['(x)'], must_not_contain: no } } }",
            "one of `supported`, `unsupported`",
        ),
        ("inventory: { modes: { files: '0999' } }", "not a mode"),
        ("inventory: { required_files: ['/x'] }", "is absolute"),
        (
            "smoke: { command: [x], env: ['A=b'] }",
            "not the name of an environment variable",
        ),
        (
            "smoke: { command: [x], timeout: 60 }",
            "malformed duration `60`",
        ),
        (
            "smoke: { command: [x], engine: runc }",
            "one of `auto`, `podman`, `docker`",
        ),
        ("prune: { tags: '(' }", "expression: unclosed"),
        (
            "prune: { limit: -1 }",
            "expected a whole number, found `-1`",
        ),
        ("prune: { older_than: 2w }", "malformed duration `2w`"),
        ("freshness: { name: x }", "expected a list"),
        (
            "freshness: [{ name: x, pinned: { file: a, pointer: b }, repository: r }]",
            "not a JSON pointer",
        ),
        (
            "freshness: [{ name: x, pinned: { file: a, pointer: /b }, repository: 'https://u:p@h/r' }]",
            "must not contain a password",
        ),
        ("forge: { kind: bitbucket }", "`gitea`, `gitlab`"),
        ("forge: { kind: gitlab, dispatch: [a.yml] }", "not possible"),
        ("forge: { repository: acme }", "not OWNER/NAME"),
        ("forge: { url: 'https://u@h' }", "not the base URL"),
        ("forge: { base: 'a b' }", "not a valid branch name"),
    ] {
        let found = problems(&format!("{MINIMAL}{line}\n"));
        assert!(found.contains(message), "{line}\n{found}");
        assert!(found.starts_with("repin.yaml:"), "{line}\n{found}");
    }
}

#[test]
fn required_keys_are_required() {
    assert_eq!(problems(""), "repin.yaml:1:1: the configuration is empty");
    // A file that cannot be parsed is not reported as empty.
    assert_eq!(problems("a: ["), "repin.yaml:1:4: unclosed bracket '['");
    assert!(problems("[a]").contains("expected a mapping"));
    assert!(problems("{").contains("repin.yaml:1:"));
    let missing = problems("name: x");
    for key in ["version", "files", "images"] {
        assert!(
            missing.contains(&format!("the key `{key}` is missing")),
            "{missing}"
        );
    }
    assert!(
        problems(&MINIMAL.replace("version: 1", "version: 2"))
            .contains("version 2 is not supported")
    );
    assert!(problems(&MINIMAL.replace("version: 1", "version: '1'")).contains("unquoted"));
    assert!(problems(&MINIMAL.replace("[a.yml]", "[]")).contains("`files` is empty"));
    assert!(problems(&MINIMAL.replace("a.yml", "/a.yml")).contains("is absolute"));
    assert!(problems(&MINIMAL.replace("a.yml", "'a/../../*.yml'")).contains("`..` is not allowed"));
    assert!(problems(&format!("{MINIMAL}---\na: b\n")).contains("second document"));
}

#[test]
fn images_are_distinct_and_pinned() {
    let images =
        |text: &str| MINIMAL.replace("{ a: { repository: ghcr.io/acme/a, pins: 1 } }", text);
    assert!(problems(&images("{}")).contains("`images` is empty"));
    assert!(
        problems(&images("{ a: { repository: ghcr.io/acme/a, pins: 0 } }"))
            .contains("every image has `pins: 0`")
    );
    let duplicate = "{ a: { repository: nginx, pins: 1 }, b: { repository: docker.io/library/nginx, pins: 1 } }";
    assert!(problems(&images(duplicate)).contains("`a` and `b` have the same repository"));
    for (one, other) in [
        ("nginx", "registry-1.docker.io/library/nginx"),
        ("docker.io/nginx", "registry.hub.docker.com/nginx"),
        ("ghcr.io/acme/app", "GHCR.io:443/acme/app"),
    ] {
        let text = format!(
            "{{ a: {{ repository: '{one}', pins: 1 }}, b: {{ repository: '{other}', pins: 1 }} }}"
        );
        let found = problems(&images(&text));
        assert!(
            found.contains("`a` and `b` have the same repository"),
            "{found}"
        );
    }
    assert!(
        problems(&images("{ -a: { repository: x, pins: 1 } }"))
            .contains("is not a valid image name")
    );
    assert!(
        problems(&images("{ a: { repository: 'x:tag', pins: 1 } }")).contains("repository name")
    );
    for pins in [
        "-1",
        "1.0",
        "01",
        "0x1",
        "'1'",
        "1e3",
        "two",
        "99999999999999999999",
    ] {
        let text = images(&format!("{{ a: {{ repository: x, pins: {pins} }} }}"));
        assert!(problems(&text).contains("whole number"), "{pins}");
    }
    let contract = images("{ a: { repository: x, pins: 1, contract: ../c.yaml } }");
    assert!(problems(&contract).contains("`..` is not allowed"));
}

#[test]
fn all_problems_are_reported_in_file_order() {
    let found = problems("version: 3\nfiles: [/a, ../b]\nimages: { a: { pins: x } }\nnope: 1\n");
    let lines: Vec<_> = found
        .lines()
        .map(|line| line.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["1", "2", "2", "3", "3", "4"], "{found}");
}

#[test]
fn rules_of_several_keys_apply_despite_other_problems() {
    let workflow = "workflow: https://github.com/acme/app/.github/workflows/b.yml";
    for (text, rule) in [
        (
            "images: { a: { repository: x, pins: 1 }, b: { repository: x, pins: 1 } }\nfiles: 1\n"
                .to_owned(),
            "`a` and `b` have the same repository",
        ),
        (
            "images: { a: { repository: x }, b: { repository: 'X:1', pins: 1 } }\nfiles: [a]\n"
                .to_owned(),
            "the key `pins` is missing",
        ),
        (
            format!("{MINIMAL}verify: {{ signers: [{{ {workflow}, ref: '{{', log: 'off' }}] }}\n"),
            "`log` is only for signers with `key`",
        ),
        (
            format!("{MINIMAL}places: {{ helm: {{ files: 1, registry: 'A B' }} }}\n"),
            "`A B`",
        ),
        (
            format!("{MINIMAL}places: {{ keys: {{ files: 1, digest: d, image: a }} }}\n"),
            "the key `entry` is missing",
        ),
    ] {
        let text = if text.starts_with("version") {
            text
        } else {
            format!("version: 1\n{text}")
        };
        let found = problems(&text);
        assert!(
            found.contains(rule) && found.lines().count() > 1,
            "{text}{found}"
        );
    }
}

#[test]
fn mistake_is_reported_once() {
    for (text, problem) in [
        (
            "places: { helm: { kind: x, entry: /a } }",
            "expected one of `kustomize`",
        ),
        (
            "places: { helm: { registry: [a] } }",
            "expected a string, found a list",
        ),
        (
            "places: { keys: { entry: /a, kind: helm } }",
            "`entry` does not apply",
        ),
        ("verify: { signers: [{}] }", "a signer is exactly one of"),
        ("smoke: {}", "the key `command` is missing"),
    ] {
        let found = problems(&format!("{MINIMAL}{text}\n"));
        assert!(found.contains(problem), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    // The images are unknown, so no signer signs an unknown one.
    let images = "images: { a: { pins: 1 } }";
    let signers = "{ key: k, commit: off, images: [a] }";
    let found = problems(&format!(
        "version: 1\nfiles: [a]\n{images}\nverify: {{ signers: [{signers}] }}\n"
    ));
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn mistakes_of_a_policy_are_reported() {
    let workflow = "workflow: https://github.com/acme/app/.github/workflows/b.yml";
    for (policy, message) in [
        ("{}", "the key `signers` is missing"),
        ("signers: []", "`signers` is empty"),
        ("signers: [{}]", "exactly one of `workflow`, `identity`"),
        (
            "signers: [{ W, identity: a, issuer: b }]",
            "exactly one of `workflow`, `identity`",
        ),
        ("require: [], signers: [{ W }]", "`require` is empty"),
        (
            "require: [sbom], signers: [{ W }]",
            "one of `attestation`, `signature`",
        ),
        ("signers: [{ workflow: 'x@y' }]", "write the ref in `ref`"),
        (
            "signers: [{ workflow: 'https://h/x' }]",
            "cannot derive the repository",
        ),
        ("signers: [{ W, ref: '{name}' }]", "only `{revision}`"),
        (
            "signers: [{ W, log: 'off' }]",
            "`log` is only for signers with `key`",
        ),
        (
            "signers: [{ W, images: [b] }]",
            "`b` in `images` of a signer is not an image",
        ),
        (
            "signers: [{ identity: a, issuer: b }]",
            "the key `commit` is missing",
        ),
        (
            "signers: [{ identity: a, commit: off }]",
            "the key `issuer` is missing",
        ),
        (
            "signers: [{ identity: a, issuer: b, commit: off, ref: x }]",
            "`ref` is only for signers with `workflow`",
        ),
        (
            "signers: [{ identity: a, issuer: b, commit: predicate }]",
            "`commit: predicate` needs `source`",
        ),
        (
            "signers: [{ identity_pattern: 'a)(', issuer: b, commit: off }]",
            "malformed regular expression: unopened group",
        ),
        ("signers: [{ key: a.pub }]", "the key `commit` is missing"),
        (
            "signers: [{ key: a.pub, commit: certificate }]",
            "a key has no certificate",
        ),
        (
            "signers: [{ key: a.pub, commit: off, runner: any }]",
            "`runner` is only for signers with `workflow` or `identity` or `identity_pattern`",
        ),
        (
            "signers: [{ key: ../a, commit: off }]",
            "`..` is not allowed",
        ),
        (
            "require: [signature], signers: [{ W, commit: predicate }]",
            "a signature has no predicate",
        ),
        (
            "signers: [{ W }], trusted_roots: []",
            "`trusted_roots` is empty",
        ),
        ("signers: [{ W }], trusted_roots: [/x]", "is absolute"),
        (
            "signers: [{ W }], predicate_types: []",
            "`predicate_types` is empty",
        ),
        (
            "signers: [{ W }], subject: index",
            "one of `pinned`, `platforms`",
        ),
        (
            "signers: [{ W }], since: abc",
            "not the full id of a commit",
        ),
    ] {
        let policy = policy.replace('W', workflow);
        let found = problems(&format!("{MINIMAL}verify: {{ {policy} }}\n"));
        assert!(found.contains(message), "{policy}\n{found}");
        assert!(found.starts_with("repin.yaml:4:"), "{policy}\n{found}");
    }
}

#[test]
fn image_without_a_signer_is_refused() {
    let signer = "workflow: https://github.com/acme/app/.github/workflows/b.yml, images: [a]";
    let text = "version: 1\nfiles: [x]\nimages: { a: { repository: h.example/a, pins: 1 }, b: \
                { repository: h.example/b, pins: 0 } }\n";
    let found = problems(&format!("{text}verify: {{ signers: [{{ {signer} }}] }}\n"));
    assert!(found.contains("no signer signs `b`"), "{found}");
}

#[test]
fn source_of_a_workflow_is_its_own_repository() {
    for (workflow, source) in [
        (
            "https://github.com/acme/app/.github/workflows/b.yml",
            "https://github.com/acme/app",
        ),
        (
            "https://gitlab.com/group/app//.gitlab-ci.yml",
            "https://gitlab.com/group/app",
        ),
    ] {
        let config = parse_text(&format!(
            "{MINIMAL}verify: {{ signers: [{{ workflow: {workflow} }}], since: null }}\n"
        ))
        .unwrap();
        let verify = config.verify.unwrap();
        assert_eq!(verify.signers[0].source.as_deref(), Some(source));
        assert_eq!(verify.trusted_roots[0].name, "sigstore");
        assert!(verify.since.is_none());
    }
}

#[test]
fn inventory_of_an_image_replaces_the_set() {
    let text = |own: &str| {
        format!(
            "version: 1\nfiles: [a.yml]\nimages: {{ a: {{ repository: r.example/a, pins: 1{own} }} }}\n\
             inventory: {{ root: /set }}\n"
        )
    };
    let root = |own: &str| {
        let config = parse_text(&text(own)).unwrap();
        let inventory = config.inventory_of(&config.images[0]);
        inventory.map(|inventory| inventory.root.clone())
    };
    assert_eq!(root(""), Some("/set".to_owned()));
    assert_eq!(root(", inventory: null"), Some("/set".to_owned()));
    assert_eq!(root(", inventory: { root: /own }"), Some("/own".to_owned()));
    assert_eq!(root(", inventory: {}"), Some("/".to_owned()));
    assert_eq!(root(", inventory: false"), None);
    for wrong in ["true", "'false'", "[]", "no"] {
        let problems = problems(&text(&format!(", inventory: {wrong}")));
        assert!(
            problems.contains("expected `false`, or a mapping that replaces the set's `inventory`"),
            "{wrong}: {problems}"
        );
    }
    assert!(problems(&text(", inventory: { rot: /x }")).contains("rot"));
}

use std::fs;

use super::*;
use crate::base::files::survey;

/// The images in a tree: `FILE:LINE TEXT`, with `!` before refused ones.
fn images(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = find(&WorkTree::new(dir.path()), &survey(dir.path()));
    assert_eq!(found.unread, [""; 0]);
    let described = found.images.iter().map(|image| {
        let mark = match &image.item.kind {
            UnpinnedKind::Pinnable(_) => "",
            UnpinnedKind::Refused(_) => "!",
        };
        format!(
            "{}:{} {mark}{}",
            image.file, image.item.line, image.item.text
        )
    });
    described.collect()
}

fn one(file: &str, text: &str) -> Vec<String> {
    images(&[(file, text)])
}

#[test]
fn images_of_compose_are_found() {
    let text = "services:\n  db: { image: postgres:16 }\n  api:\n    image: acme/api:1\n    build: .\n  web:\n    image: \
                'acme/web'\n    volumes:\n      - { type: image, source: acme/data, target: /d }\n      - { type: bind, source: \
                /x, target: /x }\n  own: { image: acme/own, pull_policy: build }\nx-other: { image: logo }\n";
    let expected = [
        "compose.yaml:2 postgres:16",
        "compose.yaml:7 acme/web",
        "compose.yaml:9 acme/data",
    ];
    assert_eq!(one("compose.yaml", text), expected);
    let merged =
        "x: &x { image: acme/api:1 }\nservices:\n  a: { <<: *x, build: . }\n  b: { <<: [*x] }\n";
    assert_eq!(one("compose.yaml", merged), [""; 0]);
    let merged = merged.replace(", build: .", "");
    assert_eq!(one("compose.yaml", &merged), ["compose.yaml:1 acme/api:1"]);
}

#[test]
fn images_that_compose_builds_are_refused() {
    for (file, text, expected) in [
        (
            "compose.yaml",
            "services:\n  web: { build: ., image: acme/app:1 }\n  worker: { image: acme/app:1 }\n  db: { image: acme/db:1 }\n",
            &["compose.yaml:3 !acme/app:1", "compose.yaml:4 acme/db:1"][..],
        ),
        (
            "compose.yaml",
            "services:\n  worker: { image: 'docker.io/acme/app:latest' }\n  more: { image: '${I:-acme/app}' }\n  web: { build: ., image: acme/app }\n  other: { image: acme/app:2 }\n",
            &[
                "compose.yaml:2 !docker.io/acme/app:latest",
                "compose.yaml:3 !${I:-acme/app}",
                "compose.yaml:5 acme/app:2",
            ],
        ),
        (
            "compose.yaml",
            "services:\n  web: { build: ., image: &i acme/app:1 }\n  worker: { image: *i }\n",
            &["compose.yaml:2 !acme/app:1"],
        ),
        (
            "compose.yaml",
            "x: &i acme/app:1\nservices:\n  web: { pull_policy: build, image: *i }\n  worker: { image: *i }\n",
            &["compose.yaml:1 !acme/app:1"],
        ),
        (
            "x.yaml",
            "services:\n  web:\n    build: .\n    image: ${I:-acme/app:1}\n---\nservices:\n  worker:\n    image: acme/app:1\n",
            &["x.yaml:8 !acme/app:1"],
        ),
    ] {
        assert_eq!(one(file, text), expected, "{text}");
    }
    let built = "services: { web: { build: ., image: acme/app:1 } }\n";
    let used = "services: { web: { image: acme/app:1 } }\n";
    let other = "image: acme/app:1\n";
    let found = images(&[
        ("a/compose.yaml", built),
        ("a/compose.prod.yaml", used),
        ("a/other.yaml", other),
        ("b/compose.yaml", used),
    ]);
    let expected = [
        "a/compose.prod.yaml:1 !acme/app:1",
        "a/other.yaml:1 acme/app:1",
        "b/compose.yaml:1 acme/app:1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn images_of_workflows_are_found() {
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: node\n    services:\n      db: { image: postgres }\n    \
                steps:\n      - uses: docker://alpine:3\n      - uses: actions/checkout@v5\n      - uses: x/y@v1\n        with: { \
                repository: a/b, tag: v1, image: logo }\n  b:\n    container: { image: node:22 }\n";
    let expected = [
        "w.yml:5 node",
        "w.yml:7 postgres",
        "w.yml:9 docker://alpine:3",
        "w.yml:14 node:22",
    ];
    assert_eq!(one("w.yml", text), expected);
    let text = "image: ruby\ntest:\n  image: { name: go:1 }\n  services: [redis, { name: pg:1 }]\n";
    let expected = ["ruby", "go:1", "redis", "pg:1"];
    let found = one(".gitlab-ci.yml", text);
    let texts = found
        .iter()
        .map(|line| line.split(' ').next_back().unwrap());
    assert_eq!(texts.collect::<Vec<_>>(), expected);
}

#[test]
fn manifests_and_kustomizations_are_found() {
    let manifest = "apiVersion: v1\nkind: Pod\nspec:\n  initContainers: [{ image: busybox }]\n  containers:\n    - image: app\n    \
                    - image: acme/web:1\n    - image: acme/web:1@sha256:0\n  other: { image: logo }\n";
    let kustomization = "images:\n  - name: app\n    newName: ghcr.io/acme/app\n    newTag: v1\n  - { name: b/c, newTag: v2, digest: \
                         'sha256:1' }\n  - { name: d/e, newTag: v2, tagSuffix: -x }\n  - name: f/g\n";
    let found = images(&[
        ("k/pod.yaml", manifest),
        ("k/kustomization.yaml", kustomization),
    ]);
    let expected = [
        "k/kustomization.yaml:4 ghcr.io/acme/app:v1",
        "k/kustomization.yaml:6 !d/e:v2",
        "k/pod.yaml:4 busybox",
        "k/pod.yaml:6 !app",
        "k/pod.yaml:7 acme/web:1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn values_of_charts_are_found() {
    let values = "image:\n  registry: ghcr.io\n  repository: acme/app\n  tag: v1\nb: { image: { repository: c/d, tag: '', digest: '' \
                  } }\ne: { repository: f/g, tag: &t v1 }\nh: { repository: i/j, tag: *t }\nk: { repository: l/m, tag: v1, digest: \
                  sha256:0 }\nn: { repository: https://example.org/o.git, tag: v1 }\n";
    let expected = [
        "values.yaml:4 ghcr.io/acme/app:v1",
        "values.yaml:5 !c/d:",
        "values.yaml:6 !f/g:v1",
    ];
    assert_eq!(one("values.yaml", values)[..3], expected);
    let chart = |template: &str| {
        images(&[
            ("c/Chart.yaml", "name: c\n"),
            ("c/values.yaml", "image: { repository: a/b, tag: v1 }\n"),
            ("c/templates/a.yaml", template),
        ])
    };
    assert_eq!(
        chart("image: {{ .Values.image.digest }}:v1"),
        ["c/values.yaml:1 a/b:v1"]
    );
    assert_eq!(
        chart("image: {{ .Values.image.tag }}:v1"),
        ["c/values.yaml:1 !a/b:v1"]
    );
    let global = "global: { imageRegistry: r.example }\nimage: { repository: a/b, tag: v1 }\n";
    assert_eq!(one("values.yaml", global), ["values.yaml:2 !a/b:v1"]);
}

#[test]
fn registry_above_an_entry_may_be_its_own() {
    let entry = "tool:\n  image: { repository: a/b, tag: v1 }\n";
    for (above, expected) in [
        ("imageRegistry: r.example\n", "values.yaml:3 !a/b:v1"),
        ("registry: &r r.example\n", "values.yaml:3 !a/b:v1"),
        ("docker_registry: ''\n", "values.yaml:3 a/b:v1"),
        ("registry: { enabled: true }\n", "values.yaml:3 a/b:v1"),
        (
            "other: { imageRegistry: r.example }\n",
            "values.yaml:3 a/b:v1",
        ),
    ] {
        assert_eq!(one("values.yaml", &format!("{above}{entry}")), [expected]);
    }
    let own = "imageRegistry: r.example\na: { registry: ghcr.io, repository: a/b, tag: v1 }\n";
    assert_eq!(one("values.yaml", own), ["values.yaml:2 ghcr.io/a/b:v1"]);
}

#[test]
fn shared_parts_of_an_entry_are_refused() {
    for (text, expected) in [
        (
            "a: { repository: b/c, tag: &t v1 }\nd: { repository: e/f, tag: *t }\n",
            &["1 !b/c:v1", "2 !e/f:v1"][..],
        ),
        (
            "a: &a { repository: b/c, tag: v1 }\nd: { <<: *a, x: 1 }\n",
            &["1 !b/c:v1", "2 !b/c:v1"],
        ),
        (
            "a: &a { repository: b/c, tag: v1 }\nd: { <<: [*a], tag: v2 }\n",
            &["1 !b/c:v1", "2 !b/c:v2"],
        ),
        ("a: &a { repository: b/c, tag: v1 }\nd: *a\n", &["1 b/c:v1"]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|one| format!("values.yaml:{one}"))
            .collect();
        assert_eq!(one("values.yaml", text), expected, "{text}");
    }
}

#[test]
fn kustomization_without_an_extension_is_read() {
    let text = "images: [{ name: a/b, newTag: v1 }]\n";
    assert_eq!(one("k/Kustomization", text), ["k/Kustomization:1 a/b:v1"]);
    assert_eq!(one("k/Other", text), [""; 0]);
}

#[test]
fn ambiguous_scalars_are_refused() {
    for text in [
        "image: \"a\\x2fb:v1\"",
        "image: !x a/b:v1",
        "image: a/b:v1\nimage: a/b:v2",
        "image: a/b:v1 # {\"$imagepolicy\": \"x\"}",
        "image: a/b:v1\nsops: { mac: x }",
        "image: a/b:$TAG",
    ] {
        let found = one("a.yaml", text);
        assert!(
            !found.is_empty() && found.iter().all(|line| line.contains(" !")),
            "{text}: {found:?}"
        );
    }
    assert_eq!(
        one("a.yaml", "x: &i a/b:v1\nimage: *i\nother: { image: *i }"),
        ["a.yaml:1 a/b:v1"]
    );
}

#[test]
fn unreadable_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "image: [").unwrap();
    fs::write(dir.path().join("Dockerfile"), b"FROM \xff").unwrap();
    fs::write(dir.path().join("Containerfile"), "FROM a:1\nRUN <<EOF\n").unwrap();
    let found = find(&WorkTree::new(dir.path()), &survey(dir.path()));
    let files: Vec<_> = found
        .unread
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(files, ["Containerfile", "Dockerfile", "a.yaml"]);
}

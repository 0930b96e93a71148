//! The versions that `prune` keeps for references by tag, other branches, other configurations, pull
//! requests of forks, and indexes. On a real docker-registry and real git.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    prune_guards::{Other, also, deletes, digest, kept, pushed_meanwhile, shimmed, with},
    support::{
        Digest,
        fake::{Fake, Reaction},
        forge,
        images::Image,
        pruned::{Real, config, old, pinned, push, refused},
        scene::tags,
        world::{REV_A, REV_B, Ran, git},
    },
};

#[test]
fn reference_by_tag_in_any_text_protects() {
    let real = with(&[
        "whole", "script", "wide", "branch", "tagged", "message", "digest", "word", "other",
    ]);
    let app = real.app();
    real.scene
        .write("compose.yaml", format!("image: {app}:pending-whole\n"));
    real.scene.write(
        "bin/run.sh",
        format!("#!/bin/sh\ndocker run docker://{app}:pending-script.\n"),
    );
    let wide = format!("image={app}:pending-wide\r\n");
    let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
    real.scene.write("windows.reg", wide);
    // The tag may have moved since the digest was written.
    let none = Digest::of(b"nowhere");
    real.scene.write(
        "notes.md",
        format!(
            "{app}:pending-digest@{none}\npending-word\n{}/other/app:pending-other\n",
            real.registry.host
        ),
    );
    real.scene.commit("references");
    let elsewhere = |branch: &str, tag: &str| {
        let text = format!("image: {app}:{tag}\n");
        real.scene.elsewhere(branch, &[("deploy.yaml", &text)]);
    };
    elsewhere("release", "pending-branch");
    elsewhere("gone", "pending-tagged");
    let origin = real.scene.path().join("origin.git");
    let message = format!("deploys {app}:pending-message");
    let user = ["-c", "user.name=A", "-c", "user.email=a@b", "tag"];
    git(&origin, &["tag", "v1", "gone"]);
    git(
        &origin,
        &[&user[..], &["-a", "-m", &message, "v2", "main"]].concat(),
    );
    git(&origin, &["update-ref", "-d", "refs/heads/gone"]);
    let document = deletes(&real, &["pending-stale"]);
    for (tag, place) in [
        ("pending-digest", "in notes.md:1 in the work tree"),
        ("pending-word", "in notes.md:2 in the work tree"),
        ("pending-other", "in notes.md:3 in the work tree"),
        ("pending-whole", "in compose.yaml:1"),
        ("pending-script", "in bin/run.sh:2"),
        ("pending-wide", "in windows.reg:1"),
        ("pending-branch", "in deploy.yaml:1 on release of origin"),
        ("pending-tagged", "in deploy.yaml:1 at the tag v1 of origin"),
        (
            "pending-message",
            "in the message:6 at the tag v2 of origin",
        ),
    ] {
        kept(&document, tag, &format!("{tag} is used {place}"));
    }
}

#[test]
fn version_of_a_chart_protects_its_tag() {
    let versions = ["1.0.0_build.5", "1.0.0_build.6", "1.0.0_build.7"];
    let images = versions.map(|version| (version, old(version)));
    let pinned = pinned();
    let mut all = vec![("main", &pinned)];
    all.extend(images.iter().map(|(version, image)| (*version, image)));
    let real = Real::new(r"tags: '^\d+\.\d+\.\d+_'", &all);
    let text = "source: { chart: app, targetRevision: 1.0.0+build.5 }\n";
    real.scene.write("argo.yaml", text);
    real.scene
        .write("values.json", r#"{"version": "1.0.0\u002bbuild.6"}"#);
    real.scene.commit("charts");
    let document = deletes(&real, &["1.0.0_build.7"]);
    kept(&document, "1.0.0_build.5", "is used in argo.yaml:1");
    kept(&document, "1.0.0_build.6", "is used in values.json:1");
}

#[test]
fn reference_by_tag_protects_the_second_image() {
    let real = with(&[]);
    let base = format!("{}/acme/base", real.registry.host);
    let all = [
        ("pending-used", &old("used")),
        ("pending-stale", &old("stale")),
    ];
    push(&real.registry, "acme/base", &all);
    let text = format!("image: {base}:pending-used\n");
    real.scene.write("compose.yaml", text);
    real.scene.commit("a reference");
    let document = real.scene.prune(&["--apply", "--image", "base"], 0);
    let deleted = tags(&document["images"][0]["deleted"]);
    assert_eq!(deleted, ["pending-stale"], "{document}");
    kept(&document, "pending-used", "is used in compose.yaml");
}

#[test]
fn punctuation_next_to_a_reference_protects() {
    let names = [
        "under", "close", "html", "dots", "dashes", "line", "suffix", "lost",
    ];
    let real = with(&names);
    let app = real.app();
    let text = format!(
        "_{app}:pending-under\nAlso __{app}:pending-close__ and\n<!--{app}:pending-html-->\n\
         see...{app}:pending-dots...\n--{app}:pending-dashes--\n\"a\\n{app}:pending-line\\n\"\n\
         {app}:pending-suffix_amd64.tar\n"
    );
    real.scene.write("notes.md", text);
    // Control: longer words.
    let others = format!("{app}:pending-losty {app}:xpending-lost {app}:pending-lost0\n");
    real.scene.write("others.md", others);
    real.scene.commit("references");
    let document = deletes(&real, &["pending-lost", "pending-stale"]);
    for name in &names[..names.len() - 1] {
        kept(&document, &format!("pending-{name}"), "is used in notes.md");
    }
}

/// Files, each with a tag in another format.
fn formats(app: &str) -> Vec<(&'static str, String, usize)> {
    let (host, path) = app.split_once('/').unwrap();
    let (_, port) = host.split_once(':').unwrap();
    vec![
        (
            "kustomize",
            format!("images:\n- name: x\n  newName: {app}\n  newTag: pending-kustomize\n"),
            4,
        ),
        (
            "suffix",
            format!("images:\n- newName: {app}\n  newTag: pending-suf\n  tagSuffix: fix\n"),
            3,
        ),
        (
            "helm",
            format!("image: {{ registry: '{host}', repository: {path}, tag: pending-helm }}\n"),
            1,
        ),
        (
            "parameters",
            "helm:\n  parameters:\n  - name: image.tag\n    value: pending-parameters\n".to_owned(),
            4,
        ),
        (
            "inline",
            format!("helm:\n  values: |\n    repository: {app}\n    tag: pending-inline\n"),
            4,
        ),
        (
            "helmfile",
            "set:\n- name: image.tag\n  value: pending-helmfile\n".to_owned(),
            3,
        ),
        (
            "flux",
            format!("kind: OCIRepository\nurl: oci://{app}\nref: {{ tag: pending-flux }}\n"),
            3,
        ),
        (
            "version",
            format!("image: {{ name: {app}, version: pending-version }}\n"),
            1,
        ),
        (
            "imagetag",
            format!("image: {app}\nimageTag: pending-imagetag\n"),
            2,
        ),
        (
            "split",
            format!("registry: {host}\nname: {path}\ntag: pending-split\n"),
            3,
        ),
        ("list", "tags: [pending-x, pending-list]\n".to_owned(), 1),
        (
            "port",
            format!("image: {}:{port}0/{path}:pending-port\n", &host[..3]),
            1,
        ),
        ("json", "{\"tag\": \"pending\\u002djson\"}\n".to_owned(), 1),
        (
            "nested",
            "{\"a\":\n\"{\\\"tag\\\": \\\"\\\\npending\\\\u002dnested\\\"}\"}\n".to_owned(),
            2,
        ),
        ("yaml", "tag: \"pending\\x2dyaml\"\n".to_owned(), 1),
        ("folded", "tag: \"pending-\\\n  folded\"\n".to_owned(), 1),
        (
            "url",
            format!("docker://{}%3Apending-url\n", app.replace('/', "%2F")),
            1,
        ),
        (
            "template",
            "{{- if 1 }}\ntag: pending-template\n{{- end }}\n".to_owned(),
            2,
        ),
        (
            "terraform",
            "variable \"tag\" {\n  default = \"pending-terraform\"\n}\n".to_owned(),
            2,
        ),
        ("shell", "TAG=${TAG:-pending-shell}\n".to_owned(), 1),
        (
            "lines",
            format!(
                "{{\"image\": \"{}:pending-lines\\n\"}}\n",
                app.replace('/', "\\/")
            ),
            1,
        ),
    ]
}

#[test]
fn tag_in_any_format_protects() {
    let names: Vec<_> = formats("x:1/y").iter().map(|(name, ..)| *name).collect();
    let mut all = names.clone();
    all.extend(["little", "big", "branch", "other"]);
    let real = with(&all);
    for (name, text, _) in formats(&real.app()) {
        real.scene.write(&format!("deploy/{name}"), text);
    }
    for (name, encode) in [
        ("little", u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("big", u16::to_be_bytes),
    ] {
        let text = format!("\n\ntag: pending-{name}\n");
        let text: Vec<u8> = text.encode_utf16().flat_map(encode).collect();
        real.scene.write(&format!("deploy/{name}"), text);
    }
    let text = "params:\n  - pending-branch\n";
    real.scene.elsewhere("release", &[("app.yaml", text)]);
    // Control: a longer word.
    real.scene.write("deploy/other", "tag: pending-others\n");
    real.scene.commit("formats");
    let document = deletes(&real, &["pending-other", "pending-stale"]);
    for (name, _, line) in formats("x:1/y") {
        let place = format!("is used in deploy/{name}:{line} in the work tree");
        kept(&document, &format!("pending-{name}"), &place);
    }
    kept(&document, "pending-little", "is used in deploy/little:3");
    kept(&document, "pending-big", "is used in deploy/big:3");
    kept(
        &document,
        "pending-branch",
        "is used in app.yaml:2 on release of origin",
    );
}

#[test]
fn common_word_protects_next_to_image_name() {
    let (pinned, names) = (
        pinned(),
        [
            "key", "path", "mirror", "layout", "theirs", "branch", "escaped", "lost", "longer",
            "web",
        ],
    );
    let images = names.map(old);
    let mut all = vec![("main", &pinned)];
    all.extend(names.into_iter().zip(&images));
    let real = Real::new("tags: '^[a-z]+$'", &all);
    let (app, host) = (real.app(), &real.registry.host);
    let sources = format!(
        "sources: {{ images.example/shop/server: 'http://{host}/acme/app', '{host}/acme/app': 'oci:layouts/disk' }}\n"
    );
    let text = config(host, "tags: '^[a-z]+$'").replace("  app: {", "  backend: {");
    let text = text.replace(&format!("'{app}'"), "images.example/shop/server");
    real.scene.write("repin.yaml", text + &sources);
    real.scene
        .pin("images.example/shop/server", pinned.digest());
    let theirs = format!(
        "version: 1\nfiles: [a.txt]\nimages: {{ frontend: {{ repository: '{app}', pins: 1 }} }}\n"
    );
    real.scene.write("envs/eu/repin.yaml", &theirs);
    real.scene.write("envs/eu/a.txt", "nothing\n");
    for (file, text) in [
        ("key", "version = \"key\" # repin: backend\n"),
        ("path", "image: server\nversion: path\n"),
        ("mirror", "docker run $REGISTRY/app $TAG # mirror\n"),
        ("layout", "skopeo copy oci:layouts/disk:layout dir:x\n"),
        ("theirs", "frontend: { tag: theirs }\n"),
        (
            "escaped",
            "{\"name\": \"serv\\u0065r\", \"tag\": \"escaped\"}\n",
        ),
        // Control: without a name, with a longer one, and with that of another image.
        ("lost", "tag: lost\n"),
        ("longer", "image: servers\ntag: longer\n"),
        ("web", "image: base\ntag: web\n"),
    ] {
        real.scene.write(&format!("deploy/{file}"), text);
    }
    real.scene.commit("names");
    let branch = theirs
        .replace("frontend", "edge")
        .replace("{ edge", "{ proxy");
    real.scene.elsewhere(
        "release",
        &[("repin.us.yaml", &branch), ("tags", "proxy=branch\n")],
    );
    let document = deletes(&real, &["longer", "lost", "web"]);
    for tag in ["key", "path", "mirror", "layout", "theirs", "escaped"] {
        kept(&document, tag, &format!("is used in deploy/{tag}:"));
    }
    kept(
        &document,
        "branch",
        "is used in tags:1 on release of origin",
    );
}

/// A registry with these, and one pending tag of a revision.
fn with_revision(names: &[&str]) -> Real {
    let real = with(names);
    let tag = format!("pending-{REV_A}");
    push(&real.registry, "acme/app", &[(&tag, &old("revision"))]);
    real
}

/// A commit on a branch of the remote with these files and this message.
fn push_commit(real: &Real, branch: &str, message: &str, files: &[(&str, String)]) {
    let clone = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    let run = |args: &[&str]| git(clone.path(), args);
    run(&["clone", "-q", origin.to_str().unwrap(), "."]);
    let remote = format!("origin/{branch}");
    let start = if run(&["branch", "-r"]).contains(&remote) {
        remote
    } else {
        "origin/main".to_owned()
    };
    run(&["checkout", "-q", "-B", branch, &start]);
    for (path, text) in files {
        let path = clone.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    run(&["add", "-A"]);
    run(&["commit", "-q", "--allow-empty", "-m", message]);
    run(&["push", "-q", "origin", branch]);
}

#[test]
fn sets_promoted_on_another_branch_stay() {
    let real = with_revision(&["pinned", "fetched"]);
    let workflow = ".github/workflows/a.yml";
    let pin = |digest| vec![(workflow, format!("image: {}@{digest}\n", real.app()))];
    let tagged = config(&real.registry.host, "").replace(
        "\nprune",
        "\nrevision: { tag: 'pending-{revision}' }\nprune",
    );
    let mut files = pin(digest("pinned"));
    files.push(("repin.yaml", tagged));
    let title = format!("promote: test images @{REV_A}");
    push_commit(&real, "release", &title, &files);
    // Another set replaced it there.
    push_commit(&real, "release", "next", &pin(pinned().digest()));
    // The clone has a branch of another remote.
    let fork = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    git(
        fork.path(),
        &["clone", "-q", "--bare", origin.to_str().unwrap(), "."],
    );
    push_commit(&real, "long", "pin", &pin(digest("fetched")));
    push_commit(&real, "long", "next", &pin(pinned().digest()));
    git(
        fork.path(),
        &["fetch", "-q", origin.to_str().unwrap(), "long:long"],
    );
    git(&origin, &["update-ref", "-d", "refs/heads/long"]);
    let upstream = fork.path().to_str().unwrap();
    real.scene.git(&["remote", "add", "upstream", upstream]);
    real.scene.git(&["fetch", "-q", "upstream"]);
    let document = deletes(&real, &["pending-stale"]);
    let past = "pinned in .github/workflows/a.yml of a past commit of this repository";
    kept(&document, "pending-pinned", past);
    kept(&document, "pending-fetched", past);
    let tag = format!("pending-{REV_A}");
    kept(
        &document,
        &tag,
        "is the tag of a revision that a commit of this repository promoted",
    );
}

#[test]
fn sets_of_another_configuration_stay() {
    for (message, is_kept) in [
        (format!("promote: envs-eu @{REV_A}"), true),
        (
            format!("deploy\n\nRepin-Set: {REV_A} (envs/eu/repin.yaml)\n\nmore"),
            true,
        ),
        (format!("promote: us @{REV_A}"), false),
    ] {
        let real = with_revision(&["theirs"]);
        let (app, tag) = (real.app(), format!("pending-{REV_A}"));
        real.scene.write("envs/eu/repin.yaml", other_set(&real));
        real.scene
            .write("envs/eu/a.txt", format!("{app}@{}\n", digest("theirs")));
        real.scene.commit(&message);
        real.scene.write("envs/eu/a.txt", "nothing\n");
        real.scene.commit("next");
        let document = if is_kept {
            let document = deletes(&real, &["pending-stale"]);
            kept(&document, &tag, "is the tag of a revision");
            document
        } else {
            deletes(&real, &[&tag, "pending-stale"])
        };
        let reason = "pinned in envs/eu/a.txt of a past commit";
        kept(&document, "pending-theirs", reason);
    }
}

/// A configuration of another set with the same image.
fn other_set(real: &Real) -> String {
    format!(
        "version: 1\nfiles: [a.txt]\nrevision: {{ tag: 'pending-{{revision}}' }}\n\
         images: {{ web: {{ repository: '{}', pins: 1 }} }}\n",
        real.app()
    )
}

#[test]
fn revision_on_a_branch_of_another_set_stays() {
    let real = with_revision(&[]);
    let stale = format!("pending-{REV_B}");
    push(&real.registry, "acme/app", &[(&stale, &old("unrelated"))]);
    let files = [("envs/eu/repin.yaml", other_set(&real))];
    // Only another branch has the configuration.
    push_commit(&real, "release", "a set", &files);
    let branch = format!("repin/envs-eu/promote-{REV_A}");
    push_commit(&real, &branch, "proposed", &[]);
    let unknown = format!("repin/envs-us/promote-{REV_B}");
    push_commit(&real, &unknown, "no such set", &[]);
    let document = deletes(&real, &[&stale, "pending-stale"]);
    let reason = format!("is the tag of a revision that {branch} is for");
    kept(&document, &format!("pending-{REV_A}"), &reason);
}

#[test]
fn moved_branch_of_another_set_refuses() {
    for (set, exit) in [("envs-eu", 3), ("envs-us", 0)] {
        let real = with(&[]);
        let files = [("envs/eu/repin.yaml", other_set(&real))];
        push_commit(&real, "release", "a set", &files);
        // Otherwise the first listing is repeated after the fetch.
        real.scene.git(&["fetch", "-q", "origin"]);
        let other = tempfile::tempdir().unwrap();
        let origin = real.scene.path().join("origin.git");
        let run = |args: &[&str]| git(other.path(), args);
        run(&["clone", "-q", origin.to_str().unwrap(), "."]);
        run(&["commit", "-q", "--allow-empty", "-m", "proposed"]);
        let reference = format!("refs/heads/repin/{set}/promote-{REV_A}");
        let (_shim, path) = pushed_meanwhile(&real, other.path(), &reference);
        let document = shimmed(&real, &path, exit);
        let image = &document["images"][0];
        if exit == 0 {
            assert_eq!(tags(&image["deleted"]), ["pending-stale"], "{document}");
        } else {
            assert_eq!(image["code"], "base_moved", "{document}");
            assert_eq!(image["deleted"], json!([]), "{document}");
        }
    }
}

#[test]
fn another_repository_protects_by_tag() {
    let real = with_revision(&["inline", "used"]);
    let other = Other::new();
    other.commit("main", &[("repin.eu.yaml", &other_set(&real))]);
    let title = format!("promote: eu @{REV_A}");
    git(
        &other.work(),
        &["commit", "-q", "--allow-empty", "-m", &title],
    );
    let text = format!("image: {}:pending-used\n", real.app());
    other.commit("main", &[("compose.yaml", &text)]);
    let inline = format!(
        "values: |\n  repository: {}\n  tag: pending-inline\n",
        real.app()
    );
    other.commit("main", &[("app.yaml", &inline)]);
    also(&real, &format!("repository: '{}'", other.bare().display()));
    let document = deletes(&real, &["pending-stale"]);
    kept(
        &document,
        "pending-used",
        "is used in compose.yaml:1 on main of ",
    );
    kept(
        &document,
        "pending-inline",
        "is used in app.yaml:3 on main of ",
    );
    kept(
        &document,
        &format!("pending-{REV_A}"),
        "is the tag of a revision",
    );
}

#[test]
fn reference_by_tag_pushed_during_the_run_protects() {
    let real = with(&["inline", "meanwhile"]);
    let other = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    git(
        other.path(),
        &["clone", "-q", origin.to_str().unwrap(), "."],
    );
    let text = format!("image: {}:pending-meanwhile\n", real.app());
    fs::write(other.path().join("compose.yaml"), text).unwrap();
    let inline = format!(
        "values: |\n  repository: {}\n  tag: pending-inline\n",
        real.app()
    );
    fs::write(other.path().join("app.yaml"), inline).unwrap();
    git(other.path(), &["add", "-A"]);
    git(other.path(), &["commit", "-q", "-m", "meanwhile"]);
    let (_shim, path) = pushed_meanwhile(&real, other.path(), "refs/heads/unrelated");
    let document = shimmed(&real, &path, 0);
    kept(&document, "pending-meanwhile", "is used in compose.yaml");
    kept(&document, "pending-inline", "is used in app.yaml");
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
}

#[test]
fn index_of_a_pinned_manifest_stays() {
    let (platform, other) = (old("platform"), old("other"));
    let index = Image::index(vec![platform.clone(), old("second")]);
    let nested = Image::index(vec![index.clone()]);
    let unrelated = Image::index(vec![other]);
    let real = Real::new(
        "",
        &[
            ("main", &platform),
            ("pending-index", &index),
            ("pending-nested", &nested),
            ("pending-unrelated", &unrelated),
            ("edge", &pinned()),
        ],
    );
    let document = deletes(&real, &["pending-unrelated"]);
    let reason = format!(
        "contains {}, which is in use by its digest",
        platform.digest()
    );
    kept(&document, "pending-index", &reason);
    let reason = format!("contains {}", index.digest());
    kept(&document, "pending-nested", &reason);
}

/// A forge that lists these pull requests, with the commits of their heads, all of them in forks.
fn forge(respond: impl Fn(usize) -> Reaction + Send + Sync + 'static) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::start(move |request| {
        assert!(
            request.target.contains("/repos/acme/flows/pulls?"),
            "{}",
            request.target
        );
        respond(count.fetch_add(1, Ordering::SeqCst))
    })
}

fn url(fake: &Fake) -> String {
    format!("http://{}", fake.host())
}

fn pulls(all: &[(u64, &str)]) -> Reaction {
    let side = |branch: &str, sha: &str, repository: &str| json!({"label": branch, "ref": branch, "sha": sha, "repo": {"full_name": repository}});
    let base = "0".repeat(40);
    let row = |(number, sha): &(u64, &str)| {
        json!({
            "number": number, "html_url": "https://forge.example/1", "node_id": "P_1", "title": "patch",
            "body": "", "state": "open", "draft": false, "merged_at": null, "merge_commit_sha": null,
            "head": side("patch", sha, "someone/flows"), "base": side("main", &base, "acme/flows"),
            "labels": [], "auto_merge": null,
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    Reaction::new(200, json!(rows).to_string())
        .with("content-type", "application/json")
        .with("x-total-count", all.len().to_string())
}

/// Adds a `forge` block, and pushes the head of a pull request that is on no branch.
fn proposed(real: &Real, api: &str, kind: &str, policy: &str, text: &str) -> String {
    let clone = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    let path = if kind == "gitea" { "/api/v1" } else { "" };
    let block = format!("forge: {{ kind: {kind}, url: '{api}{path}', repository: acme/flows }}\n");
    let policy = format!("forks: {policy}");
    real.scene
        .write("repin.yaml", config(&real.registry.host, &policy) + &block);
    real.scene.commit("a forge");
    let run = |args: &[&str]| git(clone.path(), args);
    run(&["clone", "-q", origin.to_str().unwrap(), "."]);
    fs::write(clone.path().join("values.yaml"), text).unwrap();
    run(&["add", "-A"]);
    run(&["commit", "-q", "-m", "patch"]);
    let pull = if kind == "gitlab" {
        "HEAD:refs/merge-requests/7/head"
    } else {
        "HEAD:refs/pull/7/head"
    };
    run(&["push", "-q", "--force", "origin", pull]);
    run(&["rev-parse", "HEAD"])
}

fn prune_with_token(real: &Real, exit: i32) -> Value {
    let args = ["prune", "--apply", "--format", "json"];
    let ran = real
        .scene
        .run_with(&args, &[("REPIN_FORGE_TOKEN", forge::TOKEN)]);
    ran.exits(exit).json()
}

fn builds(real: &Real) -> Ran {
    let args = ["builds", "--protected", "--format", "json"];
    real.scene.run(&args)
}

#[test]
fn open_pull_request_of_a_fork_protects() {
    for kind in ["github", "gitea"] {
        let real = with(&["digest", "tag"]);
        let head = Arc::new(std::sync::OnceLock::<String>::new());
        let listed = Arc::clone(&head);
        let fake = forge(move |_| pulls(&[(7, listed.get().unwrap())]));
        let text = format!(
            "digest: {}\nimage: {}:pending-tag\n",
            digest("digest"),
            real.app()
        );
        head.set(proposed(&real, &url(&fake), kind, "require", &text))
            .unwrap();
        let document = prune_with_token(&real, 0);
        assert_eq!(
            tags(&document["images"][0]["deleted"]),
            ["pending-stale"],
            "{kind}"
        );
        assert_eq!(document["warnings"], json!([]), "{kind}");
        let place = "in values.yaml:1 in pull request #7 of origin";
        kept(&document, "pending-digest", place);
        kept(&document, "pending-tag", &place.replace(":1 ", ":2 "));
    }
}

#[test]
fn open_merge_request_of_a_fork_protects() {
    let real = with(&["digest"]);
    let fake = forge::Fake::start(forge::Kind::Gitlab);
    let text = format!("digest: {}\n", digest("digest"));
    let head = proposed(&real, &fake.api(), "gitlab", "require", &text);
    {
        let mut store = fake.store();
        store.push("main", "as it is", &[("x", "y")]);
        // Number 7, after six that were closed.
        for _ in 0..6 {
            store.number();
        }
        store.open_pull("patch", &head);
    }
    let document = prune_with_token(&real, 0);
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    let place = "in values.yaml:1 in merge request !7 of origin";
    kept(&document, "pending-digest", place);
    fake.store().close(7);
    fake.store().gitlab.merge_requests = "disabled";
    // They are hidden, which is not the same as none.
    let document = prune_with_token(&real, 4);
    assert_eq!(document["images"][0]["code"], "forks_unchecked");
    let ran = real.scene.run(&["prune"]).exits(4);
    let reason = "open merge requests of forks were not checked: no token is set";
    assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    assert!(!ran.stderr.contains("pull request"), "{}", ran.stderr);
}

#[test]
fn pull_request_of_a_branch_needs_no_fetch() {
    let real = with(&["digest"]);
    let head = Arc::new(std::sync::OnceLock::<String>::new());
    let listed = Arc::clone(&head);
    let fake = forge(move |_| pulls(&[(7, listed.get().unwrap())]));
    let text = format!("digest: {}\n", digest("digest"));
    head.set(proposed(&real, &url(&fake), "github", "require", &text))
        .unwrap();
    // The head is a branch now, and the remote has no reference of the pull request.
    let origin = real.scene.path().join("origin.git");
    git(
        &origin,
        &["update-ref", "refs/heads/patch", head.get().unwrap()],
    );
    git(&origin, &["update-ref", "-d", "refs/pull/7/head"]);
    let document = prune_with_token(&real, 0);
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    kept(
        &document,
        "pending-digest",
        "in values.yaml:1 on patch of origin",
    );
}

#[test]
fn pull_request_opened_during_the_run_protects() {
    let real = with(&["meanwhile"]);
    let head = Arc::new(std::sync::OnceLock::<String>::new());
    let listed = Arc::clone(&head);
    let fake = forge(move |request| match request {
        0 => pulls(&[]),
        _ => pulls(&[(7, listed.get().unwrap())]),
    });
    let text = format!("digest: {}\n", digest("meanwhile"));
    head.set(proposed(&real, &url(&fake), "github", "warn", &text))
        .unwrap();
    let document = prune_with_token(&real, 0);
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    kept(&document, "pending-meanwhile", "in pull request #7");
}

#[test]
fn unchecked_forks_are_reported() {
    let real = with(&["fork"]);
    let fake = forge(|request| {
        let status = if request == 0 { 403 } else { 404 };
        Reaction::new(status, "{\"message\": \"Resource not accessible\"}")
    });
    let text = format!("digest: {}\n", digest("fork"));
    proposed(&real, &url(&fake), "github", "warn", &text);
    // Without a token, and with one that may not list pull requests.
    for with_token in [false, true] {
        let document = if with_token {
            prune_with_token(&real, 0)
        } else {
            real.scene.prune(&[], 0)
        };
        assert_eq!(
            document["warnings"][0]["code"], "forks_unchecked",
            "{document}"
        );
        let detail = document["warnings"][0]["detail"].as_str().unwrap();
        let said = "open pull requests of forks were not checked: ";
        assert!(detail.starts_with(said), "{detail}");
        let rows = if with_token { "deleted" } else { "candidates" };
        let expected = ["pending-fork", "pending-stale"];
        assert_eq!(tags(&document["images"][0][rows]), expected, "{document}");
        if !with_token {
            let builds = builds(&real).exits(0).json();
            assert_eq!(builds["warnings"], document["warnings"], "{builds}");
        }
    }
    let said = "warning: open pull requests of forks were not checked: no token is set";
    for ran in [real.scene.run(&["prune"]), builds(&real)] {
        let ran = ran.exits(0);
        assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn required_check_of_forks_refuses_without_a_token() {
    let real = with(&["fork"]);
    let fake = forge(|_| Reaction::new(403, "{\"message\": \"Resource not accessible\"}"));
    proposed(&real, &url(&fake), "github", "require", "nothing\n");
    refused(&real, 4, "forks_unchecked");
    let document = builds(&real).exits(4).json();
    assert_eq!(
        document["errors"][0]["code"], "forks_unchecked",
        "{document}"
    );
    let document = prune_with_token(&real, 4);
    assert_eq!(document["images"][0]["code"], "forks_unchecked");
    // Without a forge, too.
    real.scene
        .write("repin.yaml", config(&real.registry.host, "forks: require"));
    real.scene.commit("no forge");
    refused(&real, 4, "forks_unchecked");
}

#[test]
fn pull_requests_that_cannot_be_read_refuse() {
    let real = with(&["fork"]);
    let fake = forge(|_| Reaction::new(500, "{}"));
    proposed(&real, &url(&fake), "github", "warn", "nothing\n");
    let document = prune_with_token(&real, 3);
    assert_eq!(document["images"][0]["deleted"], json!([]));
    // The forge lists a head that the remote does not have.
    let missing = "1".repeat(40);
    let fake = forge(move |_| pulls(&[(7, &missing)]));
    proposed(&real, &url(&fake), "github", "warn", "nothing\n");
    let document = prune_with_token(&real, 3);
    assert_eq!(document["images"][0]["code"], "base_moved", "{document}");
    assert_eq!(document["images"][0]["deleted"], json!([]));
}

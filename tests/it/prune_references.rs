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
        images::Image,
        pruned::{Real, config, old, pinned, push, refused},
        scene::tags,
        world::{REV_A, REV_B, git},
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
    let document = deletes(&real, &["pending-other", "pending-stale", "pending-word"]);
    for (tag, place) in [
        ("pending-digest", "in notes.md"),
        ("pending-whole", "in compose.yaml"),
        ("pending-script", "in bin/run.sh"),
        ("pending-wide", "in windows.reg"),
        ("pending-branch", "in deploy.yaml on release of origin"),
        ("pending-tagged", "in deploy.yaml at the tag v1 of origin"),
        ("pending-message", "in the message at the tag v2 of origin"),
    ] {
        kept(&document, tag, &format!("{tag} is used {place}"));
    }
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
    // Control: other repositories, and a longer word.
    let others = format!(
        "{app}-x:pending-lost x/{app}:pending-lost {app}_y:pending-lost {app}:pending-losty\n"
    );
    real.scene.write("others.md", others);
    real.scene.commit("references");
    let document = deletes(&real, &["pending-lost", "pending-stale"]);
    for name in &names[..names.len() - 1] {
        kept(&document, &format!("pending-{name}"), "is used in notes.md");
    }
}

#[test]
fn tag_of_an_entry_protects() {
    let real = with(&[
        "kustomize",
        "suffix",
        "helm",
        "digest",
        "keys",
        "theirs",
        "marked",
        "foreign",
    ]);
    push(
        &real.registry,
        "acme/app",
        &[("pending-suffix-x", &old("suffix"))],
    );
    let (app, host) = (real.app(), &real.registry.host);
    let entry = |tag: &str| format!("- name: app\n  newName: {app}\n  newTag: {tag}\n");
    let kustomize = format!(
        "images:\n{}{}  tagSuffix: -x\n",
        entry("pending-kustomize"),
        entry("pending-suffix")
    );
    real.scene.write("deploy/kustomization.yaml", kustomize);
    let helm = |repository: &str, rest: &str| {
        format!("{{ registry: '{host}', repository: {repository}, {rest} }}\n")
    };
    // A chart may ignore the digest.
    let values = format!(
        "a: {}b: {}c: {}",
        helm("acme/app", "tag: pending-helm"),
        helm(
            "acme/app",
            &format!("tag: pending-digest, digest: '{}'", Digest::of(b"x"))
        ),
        helm("other/app", "tag: pending-foreign"),
    );
    real.scene.write("chart/values.yaml", values);
    let places = "places: { params: { kind: keys, files: [one.yaml], entry: /app, tag: build, digest: sum, image: app }, marked: { files: [one.tf] } }\n";
    real.scene.write("repin.yaml", config(host, "") + places);
    real.scene.write("one.yaml", "a: 1\n");
    real.scene.write("one.tf", "a = 1\n");
    real.scene
        .write("params.yaml", "app: { build: pending-keys }\n");
    real.scene
        .write("main.tf", "version = \"pending-marked\" # repin: app\n");
    // Another configuration of the repository, with a separate place.
    let theirs = format!(
        "version: 1\nfiles: [x]\nimages: {{ web: {{ repository: '{app}', pins: 1 }} }}\n\
         places: {{ keys: {{ files: [y.yaml], entry: /web, tag: release, digest: sum, image: web }} }}\n"
    );
    real.scene.write("envs/prod/repin.eu.yaml", theirs);
    real.scene
        .write("envs/prod/y.yaml", "web: { release: pending-theirs }\n");
    real.scene.commit("entries");
    let document = deletes(&real, &["pending-foreign", "pending-stale"]);
    for (tag, file) in [
        ("pending-kustomize", "deploy/kustomization.yaml"),
        ("pending-suffix", "deploy/kustomization.yaml"),
        ("pending-helm", "chart/values.yaml"),
        ("pending-digest", "chart/values.yaml"),
        ("pending-keys", "params.yaml"),
        ("pending-marked", "main.tf"),
        ("pending-theirs", "envs/prod/y.yaml"),
    ] {
        kept(&document, tag, &format!("is used in {file}"));
    }
}

#[test]
fn entry_that_is_not_parsed_protects() {
    let forms = [
        "argo", "object", "block", "after", "before", "little", "big", "bom", "deep", "many",
        "escaped", "branch",
    ];
    let others: Vec<String> = forms.iter().map(|form| format!("other-{form}")).collect();
    let mut names = forms.to_vec();
    names.extend(others.iter().map(String::as_str));
    let real = with(&names);
    // Each form with the configured repository, and with another one.
    for (repository, prefix) in [
        (real.app(), ""),
        (format!("{}/acme/web", real.registry.host), "other-"),
    ] {
        let values = |form: &str, indent: &str| {
            format!(
                "{indent}image:\n{indent}  repository: {repository}\n{indent}  tag: pending-{prefix}{form}\n"
            )
        };
        let write = |form: &str, text: Vec<u8>| real.scene.write(&format!("{prefix}{form}"), text);
        let argo = |key: &str, form: &str| {
            format!(
                "spec:\n  source:\n    helm:\n      {key}\n{}",
                values(form, "        ")
            )
        };
        write("argo", argo("values: |", "argo").into_bytes());
        write("object", argo("valuesObject:", "object").into_bytes());
        let block = format!("data:\n  values.yaml: |\n{}", values("block", "    "));
        write("block", block.into_bytes());
        let condition = "{{- if eq .Environment.Name \"prod\" }}\n";
        let after = format!(
            "{}{condition}replicas: 3\n{{{{- end }}}}\n",
            values("after", "")
        );
        write("after", after.into_bytes());
        let before = format!("{condition}{}{{{{- end }}}}\n", values("before", ""));
        write("before", before.into_bytes());
        let wide = |text: String, encode: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(encode).collect()
        };
        write("little", wide(values("little", ""), u16::to_le_bytes));
        write("big", wide(values("big", ""), u16::to_be_bytes));
        let bom = format!("\u{feff}{}", values("bom", ""));
        write("bom", wide(bom, u16::to_le_bytes));
        let deep = format!(
            "{}x: {}{}\n",
            values("deep", ""),
            "[".repeat(70),
            "]".repeat(70)
        );
        write("deep", deep.into_bytes());
        let many = format!("{}x: [{}]\n", values("many", ""), "1,".repeat(500_000));
        write("many", many.into_bytes());
        let escaped = format!("{repository}:pending-{prefix}escaped").replace('/', "\\/");
        write(
            "escaped",
            format!("{{\"image\": \"{escaped}\"}}\n").into_bytes(),
        );
        let text = argo("values: |", "branch");
        let branch = format!("{prefix}release");
        real.scene.elsewhere(&branch, &[("app.yaml", &text)]);
    }
    real.scene.commit("entries");
    let mut deleted: Vec<_> = others
        .iter()
        .map(|form| format!("pending-{form}"))
        .collect();
    deleted.push("pending-stale".to_owned());
    deleted.sort();
    let deleted: Vec<_> = deleted.iter().map(String::as_str).collect();
    let document = deletes(&real, &deleted);
    for form in &forms[..forms.len() - 1] {
        kept(
            &document,
            &format!("pending-{form}"),
            &format!("is used in {form} in the work tree"),
        );
    }
    kept(
        &document,
        "pending-branch",
        "is used in app.yaml on release of origin",
    );
}

#[test]
fn reference_by_any_name_of_a_source_protects() {
    let real = with(&[
        "mirror", "name", "alias", "variable", "make", "slash", "quoted", "layout", "other",
    ]);
    let host = &real.registry.host;
    let name = "images.example/acme/app";
    let sources = format!(
        "sources: {{ images.example/acme: 'http://{host}/acme', alias.example: 'http://{host}/acme', images.example: 'oci:layouts' }}\n"
    );
    let configured = config(host, "").replace(&format!("{host}/acme"), "images.example/acme");
    real.scene.write("repin.yaml", configured + &sources);
    real.scene.pin(name, pinned().digest());
    real.scene.write(
        "notes.txt",
        format!(
            "{host}/acme/app:pending-mirror {name}:pending-name alias.example/app:pending-alias\n\
             image: \"{{{{ .Values.registry }}}}/acme/app:pending-variable\"\n\
             docker run $(REGISTRY)/acme/app:pending-make ${{REGISTRY}}acme/app:pending-slash\n\
             image = registry + \"/acme/app:pending-quoted\"\n\
             skopeo copy oci:layouts/acme/app:pending-layout dir:x\n\
             images.example/other/app:pending-other\n"
        ),
    );
    real.scene.commit("names");
    let document = deletes(&real, &["pending-other", "pending-stale"]);
    for tag in [
        "mirror", "name", "alias", "variable", "make", "slash", "quoted", "layout",
    ] {
        kept(&document, &format!("pending-{tag}"), "is used in notes.txt");
    }
}

#[test]
fn name_that_another_configuration_gives_protects() {
    let real = with(&["alias", "mirror", "branch", "other"]);
    let (app, host) = (real.app(), &real.registry.host);
    real.scene.write("notes.txt", "alias.example/x/app:pending-alias mirror.example/app:pending-mirror third.example/app:pending-branch fourth.example/app:pending-other\n");
    let theirs = |sources: &str| {
        other_set(&real).replace(&app, "alias.example/x/app") + "sources: { " + sources + " }\n"
    };
    let sources =
        format!("alias.example/x: 'http://{host}/acme', '{host}/acme': 'https://mirror.example'");
    real.scene.write("envs/eu/repin.yaml", theirs(&sources));
    real.scene.write("envs/eu/a.txt", "nothing\n");
    real.scene.commit("names");
    let sources = format!("third.example: 'http://{host}/acme'");
    let theirs = theirs(&sources);
    real.scene
        .elsewhere("release", &[("repin.us.yaml", &theirs)]);
    let document = deletes(&real, &["pending-other", "pending-stale"]);
    for tag in ["alias", "mirror", "branch"] {
        kept(&document, &format!("pending-{tag}"), "is used in notes.txt");
    }
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
        "is used in compose.yaml on main of ",
    );
    kept(
        &document,
        "pending-inline",
        "is used in app.yaml on main of ",
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
fn proposed(real: &Real, fake: &Fake, kind: &str, policy: &str, text: &str) -> String {
    let clone = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    let path = if kind == "gitea" { "/api/v1" } else { "" };
    let block = format!(
        "forge: {{ kind: {kind}, url: 'http://{}{path}', repository: acme/flows }}\n",
        fake.host()
    );
    let policy = format!("forks: {policy}");
    real.scene
        .write("repin.yaml", config(&real.registry.host, &policy) + &block);
    real.scene.commit("a forge");
    let run = |args: &[&str]| git(clone.path(), args);
    run(&["clone", "-q", origin.to_str().unwrap(), "."]);
    fs::write(clone.path().join("values.yaml"), text).unwrap();
    run(&["add", "-A"]);
    run(&["commit", "-q", "-m", "patch"]);
    run(&["push", "-q", "--force", "origin", "HEAD:refs/pull/7/head"]);
    run(&["rev-parse", "HEAD"])
}

fn prune_with_token(real: &Real, exit: i32) -> Value {
    let args = ["prune", "--apply", "--format", "json"];
    let ran = real
        .scene
        .run_with(&args, &[("REPIN_FORGE_TOKEN", "secret-token")]);
    ran.exits(exit).json()
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
        head.set(proposed(&real, &fake, kind, "require", &text))
            .unwrap();
        let document = prune_with_token(&real, 0);
        assert_eq!(
            tags(&document["images"][0]["deleted"]),
            ["pending-stale"],
            "{kind}"
        );
        assert_eq!(document["warnings"], json!([]), "{kind}");
        let place = "in values.yaml in pull request #7 of origin";
        kept(&document, "pending-digest", place);
        kept(&document, "pending-tag", place);
    }
}

#[test]
fn pull_request_of_a_branch_needs_no_fetch() {
    let real = with(&["digest"]);
    let head = Arc::new(std::sync::OnceLock::<String>::new());
    let listed = Arc::clone(&head);
    let fake = forge(move |_| pulls(&[(7, listed.get().unwrap())]));
    let text = format!("digest: {}\n", digest("digest"));
    head.set(proposed(&real, &fake, "github", "require", &text))
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
        "in values.yaml on patch of origin",
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
    head.set(proposed(&real, &fake, "github", "warn", &text))
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
    proposed(&real, &fake, "github", "warn", &text);
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
    }
    let ran = real.scene.run(&["prune"]).exits(0);
    let said = "warning: open pull requests of forks were not checked: no token is set";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{}", ran.stderr);
}

#[test]
fn required_check_of_forks_refuses_without_a_token() {
    let real = with(&["fork"]);
    let fake = forge(|_| Reaction::new(403, "{\"message\": \"Resource not accessible\"}"));
    proposed(&real, &fake, "github", "require", "nothing\n");
    refused(&real, 4, "forks_unchecked");
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
    proposed(&real, &fake, "github", "warn", "nothing\n");
    let document = prune_with_token(&real, 3);
    assert_eq!(document["images"][0]["deleted"], json!([]));
    // The forge lists a head that the remote does not have.
    let missing = "1".repeat(40);
    let fake = forge(move |_| pulls(&[(7, &missing)]));
    proposed(&real, &fake, "github", "warn", "nothing\n");
    let document = prune_with_token(&real, 3);
    assert_eq!(document["images"][0]["code"], "base_moved", "{document}");
    assert_eq!(document["images"][0]["deleted"], json!([]));
}

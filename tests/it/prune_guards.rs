//! Versions that `prune` protects because of a reference: text of the work tree and of every branch
//! and tag, other names of a registry, other repositories. On a real docker-registry and real git.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{
    Digest,
    fake::{Fake, Reaction},
    images::{Image, descriptor},
    pruned::{Real, config, old, pinned, push, refused, set, young},
    scene::{protection, tags},
    world::git,
};

/// A registry with a pinned version, a stale one, and these; all of them pending and old.
pub fn with(names: &[&str]) -> Real {
    let images: Vec<_> = names
        .iter()
        .map(|name| (format!("pending-{name}"), old(name)))
        .collect();
    let (pinned, stale) = (pinned(), old("stale"));
    let mut all = vec![("main", &pinned), ("pending-stale", &stale)];
    all.extend(images.iter().map(|(tag, image)| (tag.as_str(), image)));
    Real::new("", &all)
}

pub fn digest(name: &str) -> Digest {
    old(name).digest()
}

/// Runs with `--apply`, which must delete these and no others.
pub fn deletes(real: &Real, expected: &[&str]) -> Value {
    let document = real.scene.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        expected,
        "{document}"
    );
    document
}

/// Checks that the reason for the protection of a version contains this text.
pub fn kept(document: &Value, tag: &str, says: &str) {
    let reason = protection(&document["images"][0], tag);
    assert!(reason.contains(says), "{tag}: {reason}");
}

#[test]
fn a_digest_in_any_tracked_file_protects() {
    let real = with(&[
        "kustomize",
        "helm",
        "docker",
        "unmatched",
        "utf16le",
        "utf16be",
        "script",
        "ignored",
        "modified",
        "nobody",
    ]);
    let write = |path: &str, text: String| real.scene.write(path, text);
    let utf16 = |name: &str, big: bool| -> Vec<u8> {
        let text = format!("\u{feff}digest = sha256:{}\r\n", digest(name).hex());
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    write(
        "deploy/kustomization.yaml",
        format!(
            "images:\n  - name: app\n    digest: {}\n",
            digest("kustomize")
        ),
    );
    write(
        "deploy/values.yaml",
        format!("image:\n  tag: x\n  digest: '{}'\n", digest("helm")),
    );
    write(
        "Dockerfile",
        format!("ARG SUM={}\nFROM app@sha256:$SUM\n", digest("docker").hex()),
    );
    // `files` says `*.yml`.
    write(
        ".github/workflows/preview.yaml",
        format!("image: {}@{}\n", real.app(), digest("unmatched")),
    );
    write("bin/tool", format!("\0\x01{}\0", digest("script").hex()));
    real.scene.write("windows.reg", utf16("utf16le", false));
    real.scene.write("network.txt", utf16("utf16be", true));
    write("notes.md", "nothing yet\n".to_owned());
    write(
        ".gitignore",
        "/origin.git\n/ignored.txt\n.github/workflows/local.yml\n".to_owned(),
    );
    real.scene.commit("everything");
    // Tracked, and not committed; matched by `files`, and ignored; neither.
    write("notes.md", format!("now: {}\n", digest("modified")));
    write(
        ".github/workflows/local.yml",
        format!("x: {}\n", digest("ignored")),
    );
    write("ignored.txt", format!("x: {}\n", digest("nobody")));
    write("untracked.txt", format!("x: {}\n", digest("nobody")));
    let document = deletes(&real, &["pending-nobody", "pending-stale"]);
    for (tag, file) in [
        ("pending-kustomize", "deploy/kustomization.yaml"),
        ("pending-helm", "deploy/values.yaml"),
        ("pending-docker", "Dockerfile"),
        ("pending-unmatched", "preview.yaml"),
        ("pending-script", "bin/tool"),
        ("pending-utf16le", "windows.reg"),
        ("pending-utf16be", "network.txt"),
        ("pending-modified", "notes.md"),
        ("pending-ignored", "local.yml"),
    ] {
        kept(&document, tag, "its digest appears in ");
        kept(&document, tag, file);
    }
}

#[test]
fn digest_after_an_escape_protects() {
    let real = with(&["url", "nested", "json", "yaml", "gson"]);
    let app = real.app();
    for (name, before) in [
        ("url", "purl: pkg:oci/app@sha256%3a".to_owned()),
        (
            "nested",
            format!("https://example.com/?to={app}%40sha256%253a"),
        ),
        ("json", format!(r#"{{"image": "{app}@sha256\u003a"#)),
        ("yaml", format!(r#"image: "{app}@sha256\x3a"#)),
        ("gson", r#"{"args": "--set image.sha\u003d"#.to_owned()),
    ] {
        let text = format!("{before}{}\"\n", digest(name).hex());
        real.scene.write(&format!("deploy/{name}"), text);
    }
    real.scene.commit("escapes");
    let document = deletes(&real, &["pending-stale"]);
    for name in ["url", "nested", "json", "yaml", "gson"] {
        let reason = format!("its digest appears in deploy/{name}");
        kept(&document, &format!("pending-{name}"), &reason);
    }
}

#[test]
fn whole_repository_protects_with_any_root() {
    let real = with(&["above", "beside"]);
    let ops = real.scene.path().join("ops");
    fs::create_dir_all(ops.join(".github/workflows")).unwrap();
    for file in ["repin.yaml", ".github/workflows/a.yml"] {
        fs::rename(real.scene.path().join(file), ops.join(file)).unwrap();
    }
    real.scene
        .write("top.txt", format!("{}\n", digest("above")));
    real.scene
        .write("other/deep/x", format!("{}\n", digest("beside")));
    real.scene
        .commit("the root is a directory of the repository");
    let ran = real
        .scene
        .run(&[
            "prune",
            "--config",
            "ops/repin.yaml",
            "--apply",
            "--format",
            "json",
        ])
        .exits(0);
    let document = ran.json();
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    kept(&document, "pending-above", "in top.txt:1 in the work tree");
    kept(&document, "pending-beside", "in other/deep/x");
}

#[test]
fn every_remote_branch_and_tag_protects() {
    let real = with(&["branch", "light", "annotated", "blob", "local", "gone"]);
    let text = |name: &str| format!("digest: {}\n", digest(name));
    let elsewhere = |branch: &str, name: &str| {
        real.scene
            .elsewhere(branch, &[("values.yaml", &text(name))]);
    };
    let origin = real.scene.path().join("origin.git");
    elsewhere("feature/x", "branch");
    // A version that only a tag refers to may be deployed by its tag.
    for (branch, tag, name) in [("a", "v1", "light"), ("b", "v2", "annotated")] {
        elsewhere(branch, name);
        let annotate = ["-c", "user.name=A", "-c", "user.email=a@b", "tag"];
        let args: &[&str] = match tag {
            "v1" => &["v1", "a"],
            _ => &["-a", "-m", "two", "v2", "b"],
        };
        git(&origin, &[&annotate[..], args].concat());
        git(
            &origin,
            &["update-ref", "-d", &format!("refs/heads/{branch}")],
        );
    }
    // A tag of no commit at all.
    real.scene.write("blob", text("blob"));
    let blob = real.scene.git(&["hash-object", "-w", "blob"]);
    fs::remove_file(real.scene.path().join("blob")).unwrap();
    real.scene
        .git(&["push", "-q", "origin", &format!("{blob}:refs/tags/a-blob")]);
    // Only in this clone, and not on the remote.
    real.scene.git(&["checkout", "-q", "-b", "mine"]);
    real.scene.write("mine.txt", text("local"));
    real.scene.git(&["add", "mine.txt"]);
    real.scene.git(&["commit", "-q", "-m", "mine"]);
    real.scene.git(&["checkout", "-q", "main"]);
    // The branch was fetched, then deleted on the remote.
    elsewhere("over", "gone");
    real.scene.git(&["fetch", "-q", "origin"]);
    git(&origin, &["update-ref", "-d", "refs/heads/over"]);
    elsewhere("new", "branch");
    let refs = real.scene.git(&["for-each-ref"]);
    let document = deletes(&real, &["pending-stale"]);
    kept(
        &document,
        "pending-branch",
        "in values.yaml:1 on feature/x of origin",
    );
    kept(&document, "pending-light", "at the tag v1 of origin");
    kept(&document, "pending-annotated", "at the tag v2 of origin");
    kept(
        &document,
        "pending-blob",
        "in line 1 at the tag a-blob of origin",
    );
    kept(
        &document,
        "pending-local",
        "in mine.txt:1 at refs/heads/mine of this clone",
    );
    kept(
        &document,
        "pending-gone",
        "in values.yaml:1 at refs/remotes/origin/over of this clone",
    );
    assert_eq!(real.scene.git(&["for-each-ref"]), refs, "objects only");
    real.scene.git(&["fetch", "-q", "--prune", "origin"]);
    deletes(&real, &["pending-gone"]);
}

/// A directory with a `git` that runs `script` first; `$real` is the real one. Comes first on PATH.
fn shim(script: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let real = path
        .split(':')
        .map(|part| PathBuf::from(part).join("git"))
        .find(|git| git.is_file())
        .unwrap();
    let here = directory.path().display().to_string();
    let text = format!(
        "#!/bin/sh\nreal='{}'\nhere='{here}'\n{script}\nexec \"$real\" \"$@\"\n",
        real.display()
    );
    let file = directory.path().join("git");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    (directory, format!("{here}:{path}"))
}

pub fn shimmed(real: &Real, path: &str, exit: i32) -> Value {
    let ran = real
        .scene
        .run_with(&["prune", "--apply", "--format", "json"], &[("PATH", path)]);
    ran.exits(exit).json()
}

/// Pushes `reference` from the clone `from` just before the remote is queried the second time.
pub fn pushed_meanwhile(real: &Real, from: &Path, reference: &str) -> (tempfile::TempDir, String) {
    let origin = real.scene.path().join("origin.git");
    shim(&format!(
        "case \" $* \" in *' ls-remote '*'refs/heads/'*) echo x >>\"$here/asked\"\n\
         if [ \"$(wc -l <\"$here/asked\")\" -eq 2 ]; then\n\
         (unset GIT_ALLOW_PROTOCOL; \"$real\" -C '{}' push -q '{}' 'HEAD:{reference}') || exit 99\nfi;; esac",
        from.display(),
        origin.display()
    ))
}

#[test]
fn push_to_an_unrelated_branch_is_read() {
    let real = with(&["meanwhile"]);
    let other = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    git(
        other.path(),
        &["clone", "-q", origin.to_str().unwrap(), "."],
    );
    let (_shim, path) = pushed_meanwhile(&real, other.path(), "refs/heads/unrelated");
    // It refers to no other digest.
    let document = shimmed(&real, &path, 0);
    let deleted = tags(&document["images"][0]["deleted"]);
    assert_eq!(deleted, ["pending-meanwhile", "pending-stale"]);

    let real = with(&["meanwhile"]);
    let origin = real.scene.path().join("origin.git");
    let other = tempfile::tempdir().unwrap();
    git(
        other.path(),
        &["clone", "-q", origin.to_str().unwrap(), "."],
    );
    fs::write(
        other.path().join("deploy.yaml"),
        format!("digest: {}\n", digest("meanwhile")),
    )
    .unwrap();
    git(other.path(), &["add", "-A"]);
    git(other.path(), &["commit", "-q", "-m", "meanwhile"]);
    for reference in ["refs/heads/unrelated", "refs/tags/v7"] {
        let (_shim, path) = pushed_meanwhile(&real, other.path(), reference);
        let document = shimmed(&real, &path, 0);
        kept(&document, "pending-meanwhile", "in deploy.yaml");
        push(
            &real.registry,
            "acme/app",
            &[("pending-stale", &old("stale"))],
        );
        git(&origin, &["update-ref", "-d", reference]);
    }
    // A promotion that was opened during the run refuses it.
    let (_shim, path) = pushed_meanwhile(&real, other.path(), "refs/heads/repin/promote-now");
    let document = shimmed(&real, &path, 3);
    assert_eq!(document["images"][0]["code"], "base_moved", "{document}");
    assert_eq!(document["images"][0]["deleted"], json!([]));
}

/// The files and the commits of the clone are read again before the first deletion.
#[test]
fn change_of_the_clone_during_the_run_protects() {
    for how in ["work tree", "local branch"] {
        let real = with(&["meanwhile"]);
        let root = real.scene.path().to_owned();
        let file = root.join("deploy.yaml");
        fs::write(&file, "digest: none\n").unwrap();
        real.scene.git(&["add", "deploy.yaml"]);
        let commit = match how {
            "work tree" => String::new(),
            _ => format!(
                "\"$real\" -C '{0}' checkout -q -b wip && \"$real\" -C '{0}' -c user.name=A -c user.email=a@b commit -qam wip && \"$real\" -C '{0}' checkout -q main",
                root.display()
            ),
        };
        let change = format!(
            "echo 'digest: {}' >'{}'; {commit}",
            digest("meanwhile"),
            file.display()
        );
        // Just before the remote is queried the second time.
        let (_shim, path) = shim(&format!(
            "case \" $* \" in *' ls-remote '*'refs/heads/'*) echo x >>\"$here/asked\"\n\
             if [ \"$(wc -l <\"$here/asked\")\" -eq 2 ]; then\n{change}\nfi;; esac"
        ));
        let document = shimmed(&real, &path, 0);
        kept(&document, "pending-meanwhile", "deploy.yaml");
        let deleted = tags(&document["images"][0]["deleted"]);
        assert_eq!(deleted, ["pending-stale"], "{how}");
    }
}

#[test]
fn damaged_reference_or_work_tree_refuses() {
    let real = with(&[]);
    let git_directory = real.scene.path().join(".git");
    let branch = git_directory.join("refs/heads/wip");
    fs::write(&branch, "").unwrap();
    let document = real.scene.prune(&["--apply"], 3);
    let refused = document.to_string();
    assert!(refused.contains("refs/heads/wip"), "{refused}");
    fs::remove_file(branch).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let linked = outside.path().join("wt");
    let linked = linked.to_str().unwrap();
    real.scene
        .git(&["worktree", "add", "-q", "--detach", linked]);
    let registered = git_directory.join("worktrees/wt/gitdir");
    let content = fs::read(&registered).unwrap();
    fs::write(&registered, "").unwrap();
    let document = real.scene.prune(&["--apply"], 3);
    let refused = document.to_string();
    assert!(refused.contains("of 2 work trees"), "{refused}");
    fs::write(&registered, content).unwrap();
    // A dangling symbolic reference refers to no commit.
    let dangling = git_directory.join("refs/heads/alias");
    fs::write(dangling, "ref: refs/heads/gone\n").unwrap();
    deletes(&real, &["pending-stale"]);
}

#[test]
fn promotion_during_the_run_keeps_its_set() {
    let old_pin = pinned().digest();
    for reference in ["refs/heads/main", "refs/heads/repin/promote-now"] {
        let real = with(&["meanwhile"]);
        let origin = real.scene.path().join("origin.git");
        let other = tempfile::tempdir().unwrap();
        git(
            other.path(),
            &["clone", "-q", origin.to_str().unwrap(), "."],
        );
        for name in git(other.path(), &["grep", "-l", old_pin.hex().as_str()]).lines() {
            let path = other.path().join(name);
            let text = fs::read_to_string(&path).unwrap();
            let promoted = text.replace(&old_pin.to_string(), &digest("meanwhile").to_string());
            fs::write(path, promoted).unwrap();
        }
        git(other.path(), &["commit", "-qam", "promote: meanwhile"]);
        let (_shim, path) = pushed_meanwhile(&real, other.path(), reference);
        let document = shimmed(&real, &path, 3);
        assert_eq!(document["images"][0]["code"], "base_moved", "{document}");
        assert_eq!(document["images"][0]["deleted"], json!([]), "{reference}");
        // The next run reads the new state.
        if reference.ends_with("main") {
            real.scene.git(&["pull", "-q", "origin", "main"]);
        }
        let document = deletes(&real, &["pending-stale"]);
        assert!(!protection(&document["images"][0], "pending-meanwhile").is_empty());
    }
}

#[test]
fn a_branch_that_cannot_be_fetched_refuses() {
    let real = with(&["branch"]);
    let text = format!("{}\n", digest("branch"));
    real.scene.elsewhere("feature", &[("x.txt", &text)]);
    let (shims, path) = shim(
        "case \" $* \" in *' fetch '*) echo x >>\"$here/fetches\"; echo 'fatal: no' >&2; exit 128;; esac",
    );
    let document = shimmed(&real, &path, 3);
    assert_eq!(document["images"][0]["code"], "unavailable", "{document}");
    assert_eq!(real.deletions(), [] as [&str; 0]);
    // Once may be a race; twice is certain.
    let fetches = fs::read_to_string(shims.path().join("fetches")).unwrap();
    assert_eq!(fetches.lines().count(), 2);
    let (_shim, path) = shim(
        "case \" $* \" in *' fetch '*) if ! [ -e \"$here/failed\" ]; then\n\
         touch \"$here/failed\"; echo 'fatal: no' >&2; exit 128; fi;; esac",
    );
    let document = shimmed(&real, &path, 0);
    kept(
        &document,
        "pending-branch",
        "in x.txt:1 on feature of origin",
    );
    push(
        &real.registry,
        "acme/app",
        &[("pending-stale", &old("stale"))],
    );
    deletes(&real, &["pending-stale"]);
}

#[test]
fn branch_that_vanishes_before_fetching_is_relisted() {
    let real = with(&["branch"]);
    let text = format!("{}\n", digest("branch"));
    real.scene.elsewhere("feature", &[("x.txt", &text)]);
    let origin = real.scene.path().join("origin.git");
    let (_shim, path) = shim(&format!(
        "case \" $* \" in *' fetch '*) \"$real\" -C '{}' update-ref -d refs/heads/feature;; esac",
        origin.display()
    ));
    let document = shimmed(&real, &path, 0);
    assert_eq!(
        tags(&document["images"][0]["deleted"]),
        ["pending-branch", "pending-stale"],
        "{document}"
    );
}

#[test]
fn base_that_moves_during_fetching_refuses() {
    let real = with(&["branch"]);
    real.scene.elsewhere("feature", &[("x.txt", "x")]);
    real.scene.elsewhere("other", &[("y.txt", "y")]);
    let origin = real.scene.path().join("origin.git");
    // The first fetch does not find a deleted branch, so repin relists all branches.
    let (_shim, path) = shim(&format!(
        "case \" $* \" in *' fetch '*) cd '{}' && \"$real\" update-ref refs/heads/main refs/heads/other &&\n\
         \"$real\" update-ref -d refs/heads/feature; cd \"$OLDPWD\";; esac",
        origin.display()
    ));
    let document = shimmed(&real, &path, 3);
    assert_eq!(document["images"][0]["code"], "base_behind", "{document}");
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

#[test]
fn refused_entry_of_work_tree_refuses() {
    let real = with(&[]);
    let block = "places: { marked: { files: ['*.tf'] } }\n";
    let config = config(&real.registry.host, "");
    real.scene.write("repin.yaml", config + block);
    real.scene.write(
        "main.tf",
        format!("x: \"{}\" # repin: nobody\n", digest("stale")),
    );
    real.scene.commit("an entry of no image");
    let document = real.scene.prune(&["--apply"], 1);
    assert_eq!(
        document["images"][0]["code"], "pin_unsupported",
        "{document}"
    );
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

#[test]
fn partial_clone_refuses_to_prune() {
    let real = with(&[]);
    let root = real.scene.path();
    git(
        &root.join("origin.git"),
        &["config", "uploadpack.allowFilter", "true"],
    );
    fs::rename(root.join(".git"), root.join("whole.git")).unwrap();
    let origin = format!("file://{}", root.join("origin.git").display());
    let clone = tempfile::tempdir().unwrap();
    git(
        clone.path(),
        &["clone", "-q", "--filter=blob:none", &origin, "."],
    );
    fs::rename(clone.path().join(".git"), root.join(".git")).unwrap();
    let document = refused(&real, 3, "partial");
    let hint = document["images"][0]["hint"].as_str().unwrap();
    assert!(hint.contains("--refetch"), "{hint}");
    // The remedy in the hint.
    let path = std::env::var("PATH").unwrap();
    let ran = std::process::Command::new("sh")
        .args(["-ec", hint.split_once("fetch the rest: ").unwrap().1])
        .current_dir(root)
        .env_clear()
        .env("PATH", path)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    deletes(&real, &["pending-stale"]);
}

#[test]
fn parts_of_index_in_text_stay() {
    let real = with(&["part", "bare"]);
    // No tag refers to the indexes.
    let index = |part: &str| Image::index(vec![old(part), young(part)]);
    for part in ["part", "bare"] {
        push(
            &real.registry,
            "acme/app",
            &[("edge", &index(part)), ("edge", &young("edge"))],
        );
    }
    let text = format!(
        "digest: {}\nnot asked for: {}\n",
        index("part").digest(),
        index("bare").digest().hex()
    );
    real.scene.write("values.yaml", text);
    real.scene.commit("an index");
    let before = real.registry.requests().len();
    let document = deletes(&real, &["pending-bare", "pending-stale"]);
    kept(&document, "pending-part", "part of the index");
    let received = real.registry.requests()[before..].join("\n");
    assert!(
        received.contains(&index("part").digest().hex()),
        "{received}"
    );
    assert!(
        !received.contains(&index("bare").digest().hex()),
        "{received}"
    );
}

#[test]
fn past_pins_are_requested_only_if_needed() {
    for (tag, is_requested) in [("kept", false), ("pending-stale", true)] {
        let (pinned, past) = (pinned(), digest("past"));
        let real = Real::new("", &[("main", &pinned), (tag, &old("stale"))]);
        for digest in [past, pinned.digest()] {
            real.scene.pin(&real.app(), digest);
            real.scene.commit("another pin");
        }
        let before = real.registry.requests().len();
        real.scene.prune(&[], 0);
        let requests = real.registry.requests()[before..].join("\n");
        assert_eq!(requests.contains(&past.hex()), is_requested, "{requests}");
    }
}

#[test]
fn attestation_of_a_candidate_is_not_requested() {
    let (part, note) = (old("part"), old("note"));
    let entry = |image: &Image, platform: &str| {
        let mut entry = descriptor(image.media_type, &image.manifest);
        entry["platform"] = json!({"os": platform, "architecture": platform});
        entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        entry
    };
    let entries = json!([entry(&part, "linux"), entry(&note, "unknown")]);
    let index = Image::index(vec![part.clone(), note.clone()]).with("manifests", entries);
    let real = Real::new("", &[("main", &pinned()), ("pending-stale", &index)]);
    let before = real.registry.requests().len();
    let document = real.scene.prune(&[], 0);
    assert_eq!(
        tags(&document["images"][0]["candidates"]),
        ["pending-stale"]
    );
    let requests = real.registry.requests()[before..].join("\n");
    assert!(requests.contains(&part.digest().hex()), "{requests}");
    assert!(!requests.contains(&note.digest().hex()), "{requests}");
}

/// A lock file with `count` digests after `sha256:`.
fn lock(digests: usize) -> String {
    let lines = (0..digests).map(|n| format!("hash = \"{}\"", Digest::of(&n.to_be_bytes())));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn too_many_digests_in_text_refuse() {
    let real = with(&[]);
    real.scene.write("locks/uv.lock", lock(2_001));
    real.scene.commit("a lock file");
    let document = refused(&real, 3, "too_many_digests");
    let message = document["images"][0]["refused"].as_str().unwrap();
    for part in ["2001 digests", "locks/uv.lock in the work tree (2001)"] {
        assert!(message.contains(part), "{message}");
    }
    // Without `sha256:` they are not digests, and without a candidate no request is sent.
    real.scene
        .write("locks/uv.lock", lock(2_001).replace("sha256:", ""));
    real.scene.commit("bare");
    assert_eq!(
        tags(&real.scene.prune(&[], 0)["images"][0]["candidates"]),
        ["pending-stale"]
    );
    real.scene.write("locks/uv.lock", lock(2_001));
    real.scene.commit("a lock file again");
    real.scene.prune(&["--older-than", "90d"], 0);
    // One less is requested, in each repository.
    real.scene.write("locks/uv.lock", lock(2_000));
    real.scene.commit("a shorter lock file");
    deletes(&real, &["pending-stale"]);
}

#[test]
fn links_submodules_and_odd_files_do_no_harm() {
    let real = with(&["target", "untracked", "module"]);
    let root = real.scene.path();
    let module = tempfile::tempdir().unwrap();
    git(module.path(), &["init", "-q", "-b", "main"]);
    fs::write(module.path().join("x"), format!("{}\n", digest("module"))).unwrap();
    git(module.path(), &["add", "-A"]);
    git(module.path(), &["commit", "-q", "-m", "module"]);
    let url = module.path().to_str().unwrap();
    real.scene
        .git(&["submodule", "--quiet", "add", url, "module"]);
    real.scene
        .write("docs/target.txt", format!("{}\n", digest("target")));
    real.scene
        .write("elsewhere/hidden.txt", format!("{}\n", digest("untracked")));
    symlink("docs/target.txt", root.join("link.txt")).unwrap();
    symlink("elsewhere/hidden.txt", root.join("lost.txt")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    real.scene
        .write(".gitignore", "/origin.git\n/elsewhere\n/no-home\n");
    real.scene.write("deleted.txt", "x");
    real.scene.write("replaced.txt", "x");
    real.scene.write("directory.txt", "x");
    real.scene.write("caf\u{e9} \"x\"\n.txt", "x");
    real.scene.commit("odd files");
    fs::remove_file(root.join("deleted.txt")).unwrap();
    fs::remove_file(root.join("replaced.txt")).unwrap();
    symlink("docs/target.txt", root.join("replaced.txt")).unwrap();
    fs::remove_file(root.join("directory.txt")).unwrap();
    fs::create_dir(root.join("directory.txt")).unwrap();
    // A submodule is another repository: `also_pinned_in` protects its references.
    let document = deletes(
        &real,
        &["pending-module", "pending-stale", "pending-untracked"],
    );
    kept(&document, "pending-target", "in docs/target.txt");
}

#[test]
fn file_of_64_mib_of_digits_protects_nothing() {
    let real = with(&["after"]);
    let mut text = vec![b'a'; 64 * 1024 * 1024];
    text.extend(format!("\n{}\n", digest("after")).bytes());
    real.scene.write("huge.txt", text);
    real.scene.commit("huge");
    let document = deletes(&real, &["pending-stale"]);
    kept(&document, "pending-after", "in huge.txt");
}

#[test]
fn digest_of_an_oversized_file_in_history_stays() {
    let real = with(&["then"]);
    let path = ".github/workflows/large.yml";
    let mut text = vec![b' '; 16 * 1024 * 1024];
    text.extend(format!("\nsha256:{}\n", digest("then").hex()).bytes());
    real.scene.write(path, text);
    real.scene.commit("large");
    fs::remove_file(real.scene.path().join(path)).unwrap();
    real.scene.commit("small");
    let document = deletes(&real, &["pending-stale"]);
    kept(&document, "pending-then", "in the history of origin/main");
}

#[test]
fn hard_linked_workflow_is_read() {
    let real = with(&[]);
    let root = real.scene.path();
    fs::hard_link(root.join(".github/workflows/a.yml"), root.join("copy")).unwrap();
    deletes(&real, &["pending-stale"]);
}

#[test]
fn branches_of_origin_protect_with_other_history() {
    let real = with(&["fork"]);
    let text = format!("sha256:{}\n", digest("fork").hex());
    real.scene.elsewhere("feature/x", &[("deployed", &text)]);
    let git = |args: &[&str]| real.scene.git(args);
    git(&["init", "-q", "--bare", "-b", "main", ".git/upstream.git"]);
    git(&["remote", "add", "upstream", "./.git/upstream.git"]);
    let config = config(&real.registry.host, "") + "provenance: { branch: upstream/main }\n";
    real.scene.write("repin.yaml", config);
    real.scene.commit("history is upstream");
    git(&["push", "-q", "upstream", "main"]);
    git(&["fetch", "-q", "upstream"]);
    // No reference of upstream is fetched, so none is missing.
    git(&["push", "-q", "upstream", "main:known"]);
    git(&["update-ref", "-d", "refs/remotes/upstream/known"]);
    let references = git(&["for-each-ref"]);
    let document = deletes(&real, &["pending-stale"]);
    kept(&document, "pending-fork", "on feature/x of origin");
    assert_eq!(git(&["for-each-ref"]), references);
    // No other remote receives a request.
    git(&["remote", "add", "mine", "http://127.0.0.1:1/mine.git"]);
    real.scene.prune(&[], 0);
}

#[test]
fn missing_objects_come_from_their_remote() {
    let real = with(&["fork", "upstream"]);
    let text = |name: &str| format!("sha256:{}\n", digest(name).hex());
    real.scene
        .elsewhere("feature/x", &[("deployed", &text("fork"))]);
    let here = |args: &[&str]| real.scene.git(args);
    here(&["init", "-q", "--bare", "-b", "main", ".git/upstream.git"]);
    here(&["remote", "add", "upstream", "./.git/upstream.git"]);
    here(&["push", "-q", "upstream", "main"]);
    let config = config(&real.registry.host, "") + "provenance: { branch: upstream/main }\n";
    real.scene.write("repin.yaml", config);
    real.scene.commit("history is upstream");
    here(&["push", "-q", "upstream", "main"]);
    here(&["fetch", "-q", "upstream"]);
    let other = tempfile::tempdir().unwrap();
    let upstream = real.scene.path().join(".git/upstream.git");
    git(
        other.path(),
        &["clone", "-q", upstream.to_str().unwrap(), "."],
    );
    fs::write(other.path().join("deployed"), text("upstream")).unwrap();
    git(other.path(), &["add", "-A"]);
    git(other.path(), &["commit", "-q", "-m", "elsewhere"]);
    git(
        other.path(),
        &["push", "-q", "origin", "HEAD:only-upstream"],
    );
    let document = deletes(&real, &["pending-stale"]);
    kept(&document, "pending-fork", "on feature/x of origin");
    kept(
        &document,
        "pending-upstream",
        "on only-upstream of upstream",
    );
}

#[test]
fn file_of_promotion_branch_over_64_mib_refuses() {
    let real = with(&[]);
    let large = "x".repeat(64 * 1024 * 1024 + 1);
    let branch = format!("repin/promote-{}", "b".repeat(40));
    real.scene
        .elsewhere(&branch, &[(".github/workflows/large.yml", &large)]);
    let document = refused(&real, 3, "unavailable");
    let reason = document["images"][0]["refused"].as_str().unwrap();
    let expected = "large.yml has more than 64 MiB";
    assert!(
        reason.contains(&branch) && reason.contains(expected),
        "{reason}"
    );
}

#[test]
fn work_tree_of_200_000_files_is_read() {
    let real = with(&["last"]);
    let root = real.scene.path();
    for directory in 0..200 {
        let first = format!("many/{directory}/0");
        real.scene.write(&first, "x\n");
        for file in 1..1_000 {
            let link = root.join(format!("many/{directory}/{file}"));
            fs::hard_link(root.join(&first), link).unwrap();
        }
    }
    real.scene.commit("many");
    // Tracked, and in no commit.
    real.scene
        .write("zzz/last.txt", format!("{}\n", digest("last")));
    real.scene.git(&["add", "zzz"]);
    let document = deletes(&real, &["pending-stale"]);
    kept(&document, "pending-last", "in zzz/last.txt");
}

#[test]
fn no_process_is_started_for_a_branch() {
    let real = with(&["last"]);
    let (directory, path) = shim("echo \"$*\" >>\"$here/log\"");
    let started = |exit| {
        let _ = fs::remove_file(directory.path().join("log"));
        let ran = real
            .scene
            .run_with(&["prune", "--format", "json"], &[("PATH", &path)])
            .exits(exit);
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        (ran.json(), log.lines().count())
    };
    let branch = |n: usize, text: &str| {
        let name = format!("feature-{n:03}");
        real.scene.git(&["checkout", "-q", "-B", &name, "main"]);
        real.scene.write("deep/er/x.txt", text);
        real.scene.git(&["add", "-A"]);
        real.scene.git(&["commit", "-q", "-m", &name]);
    };
    branch(0, "0");
    real.scene.git(&["push", "-q", "origin", "--all"]);
    real.scene.git(&["checkout", "-q", "main"]);
    let (_, one) = started(0);
    for n in 1..40 {
        branch(n, &n.to_string());
    }
    branch(40, &format!("{}\n", digest("last")));
    real.scene.git(&["push", "-q", "origin", "--all"]);
    real.scene.git(&["checkout", "-q", "main"]);
    let (document, many) = started(0);
    kept(
        &document,
        "pending-last",
        "in deep/er/x.txt:1 on feature-040",
    );
    assert_eq!(many, one);
}

#[test]
fn wrong_pin_count_refuses_the_run() {
    let real = with(&["mistyped"]);
    // `*.yaml` was intended, too: `check` fails, so `prune` must fail as well.
    let text = config(&real.registry.host, "").replace("pins: 1", "pins: 2");
    real.scene.write("repin.yaml", &text);
    real.scene.write(
        ".github/workflows/b.yaml",
        format!("image: {}@{}\n", real.app(), digest("mistyped")),
    );
    real.scene.commit("a second pin");
    let document = refused(&real, 1, "pin_count");
    let message = document["images"][1]["refused"].as_str().unwrap();
    assert_eq!(message, "found 1 pin of `app`, but `pins: 2` is declared");
    // For each image of the run.
    let document = real.scene.prune(&["--apply", "--image", "base"], 1);
    assert_eq!(document["images"][0]["code"], "pin_count", "{document}");
    assert_eq!(real.deletions(), [] as [&str; 0]);
    real.scene.write(
        "repin.yaml",
        text.replace("['.github/workflows/*.yml']", "['.github/workflows/*']"),
    );
    deletes(&real, &["pending-stale"]);
}

#[test]
fn pin_under_another_host_name_protects() {
    let real = with(&["child", "then"]);
    let index = |part: &str| Image::index(vec![old(part), young(part)]);
    for part in ["child", "then"] {
        push(
            &real.registry,
            "acme/app",
            &[("edge", &index(part)), ("edge", &young("edge"))],
        );
    }
    // repin cannot determine that this is the same registry.
    let host = &real.registry.host;
    let other = format!("{}/acme/app", host.replace("127.0.0.1", "localhost"));
    let images = format!("\nimages:\n  twin: {{ repository: '{other}', pins: 1 }}");
    real.scene
        .write("repin.yaml", config(host, "").replace("\nimages:", &images));
    let pin = |digest: Digest| {
        real.scene
            .write(".github/workflows/b.yml", format!("x: {other}@{digest}\n"));
    };
    pin(index("then").digest());
    real.scene.commit("a twin");
    pin(index("child").digest());
    real.scene.commit("another twin");
    let document = real.scene.prune(&["--apply", "--image", "app"], 0);
    let image = &document["images"][0];
    assert_eq!(tags(&image["deleted"]), ["pending-stale"], "{document}");
    kept(&document, "pending-child", "part of the index");
    kept(&document, "pending-then", "part of the index");
    assert_eq!(
        real.left(),
        set(&["edge", "main", "pending-child", "pending-then"])
    );
}

/// Another repository, bare and with a work tree.
pub struct Other {
    directory: tempfile::TempDir,
}

impl Other {
    pub fn new() -> Self {
        let other = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(other.work()).unwrap();
        git(&other.work(), &["init", "-q", "-b", "main"]);
        git(
            &other.work(),
            &["init", "-q", "--bare", "-b", "main", "../other.git"],
        );
        other
    }

    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn bare(&self) -> PathBuf {
        self.directory.path().join("other.git")
    }

    /// A commit of these files, pushed to a branch.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        git(&self.work(), &["add", "-A"]);
        git(
            &self.work(),
            &["commit", "-q", "--allow-empty", "-m", "work"],
        );
        let to = format!("HEAD:refs/heads/{branch}");
        git(
            &self.work(),
            &["push", "-q", "--force", "../other.git", &to],
        );
    }
}

/// Checks the line of `doctor` about other repositories.
fn diagnosed(real: &Real, status: &str, says: &str) {
    let document = real.scene.run(&["doctor", "--format", "json"]).json();
    let mut rows = document["checks"].as_array().unwrap().iter();
    let row = rows.find(|row| row["code"] == "other_repositories");
    let row = row.unwrap();
    assert_eq!(row["status"], status, "{row}");
    assert!(row["detail"].as_str().unwrap().contains(says), "{row}");
}

/// The configuration with another repository.
pub fn also(real: &Real, entry: &str) {
    let block = format!("also_pinned_in: [{{ {entry} }}]");
    real.scene
        .write("repin.yaml", config(&real.registry.host, &block));
    real.scene.commit("another repository");
}

#[test]
fn remote_branches_of_another_checkout_protect() {
    let real = with(&["production"]);
    let other = Other::new();
    let text = |name: &str| format!("digest: {}\n", digest(name));
    other.commit("main", &[("x", "y\n")]);
    other.commit("production", &[("a.txt", &text("production"))]);
    let bare = other.bare();
    let clone = other.work().join("clone");
    let clone = clone.to_str().unwrap();
    git(
        &other.work(),
        &["clone", "-q", bare.to_str().unwrap(), clone],
    );
    also(&real, &format!("repository: {clone}"));
    let document = real.scene.prune(&[], 0);
    let image = &document["images"][0];
    let reason = protection(image, "pending-production");
    assert!(reason.contains("remotes/origin/production"), "{reason}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story of one repository")]
fn references_of_another_repository_protect() {
    let real = with(&[
        "head",
        "branch",
        "tag",
        "own",
        "today",
        "broken",
        "mentioned",
        "comment",
        "index",
        "fleeting",
    ]);
    let index = Image::index(vec![old("index"), young("index")]);
    push(
        &real.registry,
        "acme/app",
        &[("edge", &index), ("edge", &young("edge"))],
    );
    let other = Other::new();
    let text = |name: &str| format!("digest: {}\n", digest(name));
    let pin = |app: &str, digest: Digest| format!("image: {app}@{digest}\n");
    // By the configuration of that time, with another name of the image; then by the current one.
    let theirs = "version: 1\nfiles: ['*.txt']\nimages: { theirs: { repository: mirror.example/x, pins: 1 } }\n";
    other.commit(
        "main",
        &[
            ("envs/repin.yaml", theirs),
            ("envs/a.txt", &pin("mirror.example/x", digest("own"))),
            // No glob ever matched this one, and another configuration does not matter.
            ("notes/old.md", &pin(&real.app(), digest("mentioned"))),
            (".github/workflows/d.yml", &text("comment")),
        ],
    );
    other.commit(
        "main",
        &[
            ("envs/a.txt", "nothing\n"),
            ("notes/old.md", "nothing\n"),
            (
                ".github/workflows/d.yml",
                &pin(&real.app(), digest("today")),
            ),
        ],
    );
    // An index that only their history contains.
    other.commit(
        "main",
        &[(".github/workflows/d.yml", &pin(&real.app(), index.digest()))],
    );
    // The files that this pattern matched cannot be determined.
    other.commit(
        "main",
        &[
            (".github/workflows/d.yml", "nothing\n"),
            ("odd/repin.yaml", "version: 99\n"),
            ("odd/any.txt", &text("broken")),
        ],
    );
    other.commit(
        "main",
        &[
            ("odd/repin.yaml", theirs),
            ("odd/any.txt", "nothing\n"),
            ("kustomization.yaml", &text("head")),
        ],
    );
    other.commit("release", &[("values.yaml", &text("branch"))]);
    fs::remove_file(other.work().join("values.yaml")).unwrap();
    // For a commit that only a tag refers to, its text counts, but not its history.
    let fleeting = pin(&real.app(), digest("fleeting"));
    other.commit("gone", &[(".github/workflows/d.yml", &fleeting)]);
    other.commit(
        "gone",
        &[
            (".github/workflows/d.yml", "nothing\n"),
            ("tagged.txt", &text("tag")),
        ],
    );
    git(&other.bare(), &["tag", "v1", "gone"]);
    git(&other.bare(), &["update-ref", "-d", "refs/heads/gone"]);

    let there = other.bare();
    also(&real, &format!("repository: '{}'", there.display()));
    let document = real.scene.prune(&[], 0);
    let image = &document["images"][0];
    assert_eq!(
        tags(&image["candidates"]),
        ["pending-fleeting", "pending-stale"],
        "{document}"
    );
    kept(
        &document,
        "pending-head",
        "in kustomization.yaml:1 on main of ",
    );
    kept(
        &document,
        "pending-branch",
        "in values.yaml:1 on release of ",
    );
    kept(
        &document,
        "pending-tag",
        "in tagged.txt:1 at the tag v1 of ",
    );
    kept(
        &document,
        "pending-own",
        "in envs/a.txt:1 of a past commit of ",
    );
    for (tag, path) in [
        ("pending-today", ".github/workflows/d.yml"),
        ("pending-comment", ".github/workflows/d.yml"),
        ("pending-mentioned", "notes/old.md"),
    ] {
        kept(&document, tag, &format!("in {path}:1 of a past commit of "));
    }
    kept(
        &document,
        "pending-broken",
        "in odd/any.txt:1 of a past commit of ",
    );
    kept(&document, "pending-index", "part of the index");
    // A path is relative to the root, and only the configured branches count.
    symlink(&there, real.scene.path().join("other")).unwrap();
    also(&real, "repository: other, branches: [main]");
    let document = deletes(
        &real,
        &[
            "pending-branch",
            "pending-fleeting",
            "pending-stale",
            "pending-tag",
        ],
    );
    kept(&document, "pending-head", "on main of other");
}

#[test]
fn every_digest_of_former_places_protects() {
    let real = with(&["today", "own", "refused", "placeholder", "nobody", "later"]);
    let write = |path: &str, text: &str| real.scene.write(path, text);
    let places = |block: &str| {
        let config = config(&real.registry.host, "");
        real.scene.write("repin.yaml", config + block);
    };
    // A commit before the first places: the current places apply, with any entries.
    let entry = |name: &str| format!("images:\n- name: other\n  digest: {}\n", digest(name));
    write("deploy/kustomization.yaml", &entry("today"));
    write("lost.txt", &format!("x: {}\n", digest("nobody")));
    real.scene.commit("no places");
    write("deploy/kustomization.yaml", "images: []\n");
    write("lost.txt", "nothing\n");
    // A place of that time; one entry is refused, and one is no entry.
    places("places: { helm: { files: ['values.yaml'] } }\n");
    let (own, refused) = (digest("own"), digest("refused"));
    let app = real.app();
    write(
        "values.yaml",
        &format!(
            "a: {{ repository: '{app}', tag: 'x@{refused}', digest: '{own}' }}\n# {}\n",
            digest("placeholder")
        ),
    );
    real.scene.commit("a place of its time");
    write("values.yaml", "a: 1\n");
    real.scene.commit("nothing in it");
    places("places: { kustomize: { files: ['deploy/*.yaml'] } }\n");
    // No current place matches the file, but a former one did.
    write("values.yaml", &format!("x: {}\n", digest("later")));
    real.scene.commit("another place");
    write("values.yaml", "a: 1\n");
    real.scene.commit("nothing in it again");
    let document = real.scene.prune(&[], 0);
    let image = &document["images"][0];
    assert_eq!(
        tags(&image["candidates"]),
        ["pending-nobody", "pending-stale"],
        "{document}"
    );
    kept(
        &document,
        "pending-later",
        "in values.yaml:1 of a past commit of this repository",
    );
    for tag in ["today", "own", "refused", "placeholder"] {
        kept(
            &document,
            &format!("pending-{tag}"),
            "in a file matched by `places`, in the history of origin/main",
        );
    }
}

/// Commits these files to this repository, and then their deletion.
fn past(real: &Real, files: &[(&str, &str)]) {
    for (path, text) in files {
        real.scene.write(path, text);
    }
    real.scene.commit("as it was");
    for (path, _) in files {
        fs::remove_file(real.scene.path().join(path)).unwrap();
    }
    real.scene.commit("as it is");
}

#[test]
fn panicking_glob_of_the_past_protects() {
    let real = with(&["beside", "apart"]);
    let glob = format!("{}{}", "{a,".repeat(200), "}".repeat(200));
    let theirs = format!(
        "version: 1\nfiles: ['{glob}']\nimages: {{ theirs: {{ repository: mirror.example/x, pins: 1 }} }}\n"
    );
    let text = |name: &str| format!("digest: {}\n", digest(name));
    past(
        &real,
        &[
            ("odd/repin.yaml", &theirs),
            ("odd/README", &text("beside")),
            ("README", &text("apart")),
        ],
    );
    let document = deletes(&real, &["pending-apart", "pending-stale"]);
    let says = "in odd/README:1 of a past commit of this repository";
    kept(&document, "pending-beside", says);
}

#[test]
fn oversized_file_of_the_past_protects() {
    let real = with(&["large", "small"]);
    let theirs = "version: 1\nfiles: ['*.txt']\nimages: { theirs: { repository: mirror.example/x, pins: 1 } }\n";
    let small = format!("digest: {}\n", digest("small"));
    let large = format!(
        "{}digest: {}\n",
        " ".repeat(16 * 1024 * 1024),
        digest("large")
    );
    past(
        &real,
        &[
            ("was/repin.yaml", theirs),
            ("was/large.txt", &large),
            ("was/small.txt", &small),
        ],
    );
    let document = deletes(&real, &["pending-small", "pending-stale"]);
    let says = "in was/large.txt of a past commit of this repository";
    kept(&document, "pending-large", says);
}

/// Pushes the commit of the other repository right before the second query of the remote.
fn pushing_before_the_second_look(other: &Other) -> String {
    format!(
        "case \" $* \" in *' ls-remote '*'refs/heads/'*) echo x >>\"$here/asked\"\n\
         if [ \"$(wc -l <\"$here/asked\")\" -eq 2 ]; then\n\
         (unset GIT_ALLOW_PROTOCOL; \"$real\" -C '{}' push -q ../other.git HEAD:main) || exit 99\nfi;; esac",
        other.work().display(),
    )
}

#[test]
fn another_repository_is_reread_before_deletions() {
    let real = with(&["meanwhile"]);
    let other = Other::new();
    other.commit("main", &[("x", "y")]);
    also(&real, &format!("repository: '{}'", other.bare().display()));
    fs::write(
        other.work().join("deploy.yaml"),
        format!("digest: {}\n", digest("meanwhile")),
    )
    .unwrap();
    git(&other.work(), &["add", "-A"]);
    git(&other.work(), &["commit", "-q", "-m", "meanwhile"]);
    let (_shim, path) = shim(&pushing_before_the_second_look(&other));
    let document = shimmed(&real, &path, 0);
    kept(
        &document,
        "pending-meanwhile",
        "in deploy.yaml:1 on main of ",
    );
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
}

/// Split pins of the past, by the places of another set and by those of this one, and a file next to an
/// unreadable configuration with any name.
#[test]
fn split_pins_of_the_past_protect() {
    let real = with(&["theirs", "ours", "beside", "apart"]);
    let split = |name: &str, repository: &str| {
        let digest = digest(name);
        format!("images:\n- name: x\n  newName: {repository}\n  digest: {digest}\n")
    };
    let place = "places: { kustomize: { files: ['k/*.yaml'] } }\n";
    let theirs = format!(
        "version: 1\nfiles: ['*.txt']\nimages: {{ theirs: {{ repository: mirror.example/x, pins: 1 }} }}\n{place}"
    );
    let text = |name: &str| format!("digest: {}\n", digest(name));
    real.scene.write("k/here.yaml", "images: []\n");
    let config = config(&real.registry.host, "") + place;
    real.scene.write("repin.yaml", config);
    past(
        &real,
        &[
            ("a/repin.yaml", &theirs),
            ("a/k/prod.yaml", &split("theirs", "mirror.example/x")),
            ("k/prod.yaml", &split("ours", &real.app())),
            ("odd/repin.yaml", "version: 99\n"),
            ("odd/README", &text("beside")),
            ("README", &text("apart")),
        ],
    );
    let document = deletes(&real, &["pending-apart", "pending-stale"]);
    for (tag, place) in [
        ("pending-theirs", "in a/k/prod.yaml:4 of a past commit of "),
        ("pending-beside", "in odd/README:1 of a past commit of "),
    ] {
        kept(&document, tag, place);
    }
    let places = "in a file matched by `places`, in the history of origin/main";
    kept(&document, "pending-ours", places);
}

/// A read error is not treated as a missing file.
#[test]
fn a_tracked_file_that_cannot_be_read_refuses() {
    let real = with(&[]);
    real.scene.write("notes/odd.txt", "nothing\n");
    real.scene.commit("a file");
    let root = real.scene.path().canonicalize().unwrap();
    for calls in ["open,openat", "open,openat,stat,lstat,statx,newfstatat"] {
        let program = real.scene.command(&["prune", "--apply"]);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(root.join("notes/odd.txt"))
            // Opened by its name, in its directory.
            .args(["-P", "odd.txt"])
            .args(["-e", &format!("inject={calls}:error=EIO"), "--"])
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir(&root);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        let output = strace.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{calls}: {printed}");
        assert!(printed.contains("notes/odd.txt"), "{calls}: {printed}");
        assert_eq!(real.left(), set(&["main", "pending-stale"]), "{calls}");
    }
}

/// It was pinned and unpinned between the two reads: only the history of the other repository shows
/// this.
#[test]
fn momentary_pin_of_another_repository_protects() {
    let real = with(&["moment"]);
    let other = Other::new();
    other.commit("main", &[("x", "y")]);
    also(&real, &format!("repository: '{}'", other.bare().display()));
    let app = format!("{}/acme/app", real.registry.host);
    for text in [
        format!("image: {app}@{}\n", digest("moment")),
        "nothing\n".to_owned(),
    ] {
        let path = other.work().join(".github/workflows/a.yml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        git(&other.work(), &["add", "-A"]);
        git(&other.work(), &["commit", "-q", "-m", "a moment"]);
    }
    let (_shim, path) = shim(&pushing_before_the_second_look(&other));
    let document = shimmed(&real, &path, 0);
    kept(&document, "pending-moment", "of a past commit of ");
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
}

/// Two places find one digest, so its image cannot be determined.
#[test]
fn a_digest_of_two_places_refuses() {
    let real = with(&[]);
    let places = "places:\n  one: { kind: keys, files: ['deploy/*.yaml'], entry: /app, repository: image, digest: digest }\n  \
                  two: { kind: keys, files: ['deploy/a.yaml'], entry: /app, repository: image, digest: digest }\n";
    let config = config(&real.registry.host, "").replace("pins: 1", "pins: 2") + places;
    real.scene.write("repin.yaml", config);
    let app = format!("{}/acme/app", real.registry.host);
    let text = format!("app:\n  image: {app}\n  digest: {}\n", pinned().digest());
    real.scene.write("deploy/a.yaml", text);
    real.scene.commit("two places");
    let ran = real.scene.run(&["prune", "--apply"]).exits(2);
    let says = "the places `one` and `two` both find this digest";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    assert_eq!(real.left(), set(&["main", "pending-stale"]));
}

#[test]
fn another_repository_that_cannot_be_read_refuses() {
    let real = with(&[]);
    let other = Other::new();
    let there = other.bare();
    let there = there.display();
    for (entry, code, says) in [
        ("repository: nowhere".to_owned(), "unavailable", "nowhere"),
        (
            "repository: 'http://127.0.0.1:1/x.git'".to_owned(),
            "unavailable",
            "127.0.0.1:1",
        ),
        // The remote is empty.
        (
            format!("repository: '{there}'"),
            "unavailable",
            "any branch",
        ),
        (
            format!("repository: '{there}', branches: [main]"),
            "unavailable",
            "main",
        ),
    ] {
        also(&real, &entry);
        let document = refused(&real, 3, code);
        let message = document["images"][0]["refused"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        diagnosed(&real, "fail", says);
    }
    other.commit("main", &[("x", "1")]);
    other.commit("main", &[("x", "2")]);
    also(
        &real,
        &format!("repository: '{there}', branches: [main, other]"),
    );
    refused(&real, 3, "unavailable");
    diagnosed(&real, "fail", "the branch other");
    also(
        &real,
        &format!("repository: '{there}', branches: [main], token_env: NO_SUCH_TOKEN"),
    );
    diagnosed(&real, "fail", "NO_SUCH_TOKEN");
    also(&real, &format!("repository: '{there}', branches: [main]"));
    diagnosed(&real, "pass", &there.to_string());
    // A shallow clone does not have all former pins, although one of its branches is complete.
    let shallow = tempfile::tempdir().unwrap();
    git(
        shallow.path(),
        &["clone", "-q", "--depth=1", &format!("file://{there}"), "."],
    );
    git(shallow.path(), &["checkout", "-q", "--orphan", "whole"]);
    git(shallow.path(), &["commit", "-q", "-m", "whole"]);
    also(
        &real,
        &format!("repository: '{}'", shallow.path().display()),
    );
    refused(&real, 3, "shallow");
}

/// A web server that serves the files of a bare repository to clients with the token.
fn served(repository: &Path, token: &str) -> Fake {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    git(repository, &["update-server-info"]);
    let expected = format!(
        "Basic {}",
        STANDARD.encode(format!("x-access-token:{token}"))
    );
    let repository = repository.to_owned();
    Fake::start(move |request| {
        if request.header("authorization") != Some(expected.as_str()) {
            return Reaction::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let path = request.path().strip_prefix("/other.git/");
        match path.and_then(|path| fs::read(repository.join(path)).ok()) {
            Some(bytes) => Reaction::new(200, bytes),
            None => Reaction::new(404, ""),
        }
    })
}

#[test]
fn another_repository_receives_only_its_token() {
    let real = with(&["head"]);
    let other = Other::new();
    other.commit("main", &[("x", &format!("{}\n", digest("head")))]);
    let server = served(&other.bare(), "s3cret");
    let entry = format!(
        "repository: 'http://{}/other.git', token_env: DEPLOY_TOKEN",
        server.host()
    );
    also(&real, &entry);
    let args = ["prune", "--apply", "--format", "json"];
    let run = |args: &[&str], token: Option<&str>, exit| {
        let env: Vec<_> = token
            .map(|token| ("DEPLOY_TOKEN", token))
            .into_iter()
            .collect();
        let ran = real.scene.run_with(args, &env).exits(exit);
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            token.is_none_or(|token| !printed.contains(token)),
            "{printed}"
        );
        printed
    };
    // Missing, or not the right one.
    assert!(run(&args, None, 4).contains("DEPLOY_TOKEN is not set"));
    let denied = run(&args, Some("wr0ng"), 4);
    let hint = "let the token in DEPLOY_TOKEN read that repository";
    assert!(
        denied.contains("denied") && denied.contains(hint),
        "{denied}"
    );
    also(&real, entry.split(',').next().unwrap());
    let denied = run(&args, None, 4);
    assert!(
        denied.contains("name a variable with a token in `token_env`"),
        "{denied}"
    );
    also(&real, &entry);
    let skipped = [&args[..], &["--if-unconfigured", "skip"]].concat();
    assert!(run(&skipped, None, 0).contains("DEPLOY_TOKEN is not set"));
    assert_eq!(real.deletions(), [] as [&str; 0]);
    let document: Value = serde_json::from_str(
        &run(&args, Some("s3cret"), 0)
            .lines()
            .take_while(|line| !line.starts_with("deleted "))
            .collect::<String>(),
    )
    .unwrap();
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    kept(&document, "pending-head", "on main of ");
}

#[test]
fn job_token_is_for_no_other_repository() {
    let real = with(&[]);
    for name in [
        "REPIN_FORGE_TOKEN",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GITEA_TOKEN",
        "GITHUB_TOKEN_FILE",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    ] {
        also(&real, &format!("repository: other, token_env: {name}"));
        let ran = real.scene.run(&["prune"]).exits(2);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
    for wrong in [
        "repository: other, branches: []",
        "branches: [main]",
        "repository: other, branches: ['a b']",
        "repository: 'https://ada:s3cret@git.example/x'",
    ] {
        also(&real, wrong);
        real.scene.run(&["prune"]).exits(2);
    }
}

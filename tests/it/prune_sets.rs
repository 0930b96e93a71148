//! The versions that `prune` keeps because of other sets of the repository, references that only the clone has, the
//! index, side lines of merges, and former names of a repository. On a real docker-registry and real git.

use std::{fs, path::Path};

use crate::{
    prune_guards::{Other, also, deletes, digest, kept, with},
    support::{
        Digest,
        images::Image,
        pruned::{Real, config, old, push, refused, young},
        scene::tags,
        world::git,
    },
};

/// Another set of the repository with the image, and further lines.
fn write_set(real: &Real, directory: &str, image: &str, more: &str) {
    let text = format!(
        "version: 1\nfiles: ['*.txt']\nimages: {{ {image}: {{ repository: '{}', pins: 1 }} }}\n{more}",
        real.app().replace("/app", &format!("/{image}"))
    );
    real.scene.write(&format!("{directory}/repin.yaml"), text);
    real.scene.write(&format!("{directory}/a.txt"), "nothing\n");
}

fn stage(path: &Path) -> String {
    format!(
        "promote: {{ after: [{{ set: {{ repository: '{}', config: repin.yaml }} }}] }}\n",
        path.display()
    )
}

#[test]
fn repositories_that_any_set_names_protect() {
    let real = with(&["own", "staged", "also", "matched", "foreign"]);
    let others = [Other::new(), Other::new(), Other::new()];
    for (other, tag) in others.iter().zip(["own", "staged", "also"]) {
        let text = format!("value: pending-{tag}\n");
        other.commit("release", &[("values.yaml", &text)]);
    }
    let block = config(&real.registry.host, "") + &stage(&others[0].bare());
    real.scene.write("repin.yaml", block);
    write_set(&real, "envs/eu", "app", &stage(&others[1].bare()));
    let also = format!(
        "prune: {{ protect: ['^pending-m.tched$'], also_pinned_in: [{{ repository: '{}' }}] }}\n",
        others[2].bare().display()
    );
    write_set(&real, "envs/us", "app", &also);
    // Control: the patterns of a set without the image.
    write_set(
        &real,
        "envs/web",
        "web",
        "prune: { protect: ['^pending-f.reign$'] }\n",
    );
    real.scene.commit("sets");
    let document = deletes(&real, &["pending-foreign", "pending-stale"]);
    for tag in ["own", "staged", "also"] {
        kept(
            &document,
            &format!("pending-{tag}"),
            "is used in values.yaml:1 on release of ",
        );
    }
    kept(&document, "pending-matched", "matches prune.protect");
}

#[test]
fn set_that_cannot_be_read_refuses() {
    let missing = tempfile::tempdir().unwrap();
    let missing = missing.path().join("gone.git");
    let also = format!(
        "prune: {{ also_pinned_in: [{{ repository: '{}' }}] }}\n",
        missing.display()
    );
    for (more, says) in [
        (stage(&missing), "promote.after: cannot read"),
        (also, "prune.also_pinned_in: cannot read"),
        (
            "unknown: 1\n".to_owned(),
            "cannot determine what envs/eu/repin.yaml protects",
        ),
    ] {
        let real = with(&[]);
        write_set(&real, "envs/eu", "app", &more);
        real.scene.commit("a set");
        let document = refused(&real, 3, "unavailable");
        let reason = document["images"][0]["refused"].as_str().unwrap();
        assert!(reason.contains(says), "{reason}");
        // Control: without the set.
        fs::remove_dir_all(real.scene.path().join("envs")).unwrap();
        real.scene.commit("no set");
        deletes(&real, &["pending-stale"]);
    }
}

#[test]
fn past_of_another_repository_protects() {
    let real = with(&["pinned", "split", "part", "apart"]);
    let [index, apart] = ["part", "apart"].map(|name| Image::index(vec![old(name), young(name)]));
    let all = [("edge", &index), ("edge", &apart), ("edge", &young("part"))];
    push(&real.registry, "acme/app", &all);
    let other = Other::new();
    let pin = |digest: Digest| format!("image: {}@{digest}\n", real.app());
    let split = format!("images:\n- name: app\n  digest: {}\n", digest("split"));
    // More digests of other images than may be requested.
    let lock: Vec<_> = (0..2_001)
        .map(|n| digest(&n.to_string()).to_string())
        .collect();
    let files = [
        ("x.yaml", pin(digest("pinned"))),
        ("k/y.yaml", split),
        (
            "k/z.yaml",
            format!(
                "app:\n  repository: acme/app\n  tag: edge\n  digest: {}\n",
                apart.digest()
            ),
        ),
        ("lock", lock.join("\n")),
    ];
    other.commit(
        "main",
        &files.each_ref().map(|(path, text)| (*path, text.as_str())),
    );
    other.commit("main", &[("x.yaml", &pin(index.digest()))]);
    let nothing = files.each_ref().map(|(path, _)| (*path, "nothing\n"));
    other.commit("main", &nothing);
    also(&real, &format!("repository: '{}'", other.bare().display()));
    let document = real.scene.prune(&[], 0);
    let candidates = tags(&document["images"][0]["candidates"]);
    assert_eq!(candidates, ["pending-stale"], "{document}");
    kept(
        &document,
        "pending-pinned",
        "in x.yaml:1 of a past commit of ",
    );
    kept(
        &document,
        "pending-split",
        "in k/y.yaml:3 of a past commit of ",
    );
    kept(&document, "pending-part", "part of the index");
    kept(&document, "pending-apart", "part of the index");
    // A configuration need not list all of them.
    let theirs = format!(
        "version: 1\nfiles: ['*.txt']\nimages: {{ app: {{ repository: '{}', pins: 1 }} }}\n",
        real.app()
    );
    other.commit("main", &[("repin.yaml", &theirs)]);
    deletes(&real, &["pending-stale"]);
}

/// A commit with this file that only a reference of the clone contains.
fn reference(real: &Real, name: &str, text: &str) {
    let run = |args: &[&str]| real.scene.git(args);
    run(&["checkout", "-q", "--detach"]);
    real.scene.write("only.txt", text);
    run(&["add", "only.txt"]);
    run(&["commit", "-q", "-m", "only here"]);
    run(&["update-ref", name, "HEAD"]);
    run(&["checkout", "-q", "main"]);
}

#[test]
fn every_reference_of_the_clone_protects() {
    let references = [
        ("upstream", "refs/remotes/upstream/x"),
        ("merge", "refs/merge-requests/1/head"),
        ("change", "refs/changes/01/1/1"),
        ("pull", "refs/pull/7/head"),
        ("local", "refs/heads/local"),
        ("stash", "refs/stash"),
        ("tag", "refs/tags/local"),
    ];
    let mut names: Vec<_> = references.iter().map(|(name, _)| *name).collect();
    names.extend(["digest", "past", "lost"]);
    let real = with(&names);
    for (tag, name) in references {
        reference(&real, name, &format!("pending-{tag}\n"));
    }
    reference(
        &real,
        "refs/merge-requests/2/head",
        &format!("x@{}\n", digest("digest")),
    );
    // A former pin of a change.
    let text = format!("image: {}@{}\n", real.app(), digest("past"));
    real.scene.git(&["checkout", "-q", "--detach"]);
    for text in [text, "nothing\n".to_owned()] {
        real.scene.write(".github/workflows/past.yml", text);
        real.scene.git(&["add", "-A"]);
        real.scene.git(&["commit", "-q", "-m", "past"]);
    }
    real.scene
        .git(&["update-ref", "refs/changes/02/2/1", "HEAD"]);
    real.scene.git(&["checkout", "-q", "main"]);
    // Control: a commit without a reference.
    reference(&real, "refs/pull/8/head", "pending-lost\n");
    real.scene.git(&["update-ref", "-d", "refs/pull/8/head"]);
    let document = deletes(&real, &["pending-lost", "pending-stale"]);
    for (tag, name) in references {
        let place = format!("is used in only.txt:1 at {name} of this clone");
        kept(&document, &format!("pending-{tag}"), &place);
    }
    kept(
        &document,
        "pending-digest",
        "in only.txt:1 at refs/merge-requests/2/head of this clone",
    );
    kept(
        &document,
        "pending-past",
        "pinned in .github/workflows/past.yml of a past commit",
    );
}

#[test]
fn index_and_untracked_files_of_every_set_protect() {
    let real = with(&["index", "untracked", "other"]);
    write_set(&real, "envs/eu", "app", "");
    real.scene.commit("a set");
    real.scene.write("staged.txt", "a\npending-index\n");
    real.scene.git(&["add", "staged.txt"]);
    real.scene.write("staged.txt", "nothing\n");
    real.scene.write("envs/eu/new.txt", "pending-untracked\n");
    // Control: a file that no set matches.
    real.scene.write("envs/eu/new.md", "pending-other\n");
    let document = deletes(&real, &["pending-other", "pending-stale"]);
    kept(
        &document,
        "pending-index",
        "is used in staged.txt:2 in the index",
    );
    kept(
        &document,
        "pending-untracked",
        "is used in envs/eu/new.txt:1 in the work tree",
    );
}

#[test]
fn side_lines_of_merges_protect() {
    let real = with(&["dropped", "renamed", "elsewhere"]);
    let app = real.app();
    let run = |args: &[&str]| real.scene.git(args);
    let pin = |repository: &str, name: &str| {
        let text = format!("image: {repository}@{}\n", digest(name));
        real.scene.write(".github/workflows/a.yml", text);
        run(&["commit", "-qam", name]);
    };
    // The merge drops the set of the side line.
    run(&["checkout", "-q", "-b", "side"]);
    pin(&app, "dropped");
    run(&["checkout", "-q", "main"]);
    run(&["merge", "-q", "-s", "ours", "--no-ff", "-m", "drop", "side"]);
    // The registry had another name on another side line.
    run(&["checkout", "-q", "-b", "old"]);
    let text = config(&real.registry.host, "").replace(&app, "old.example/shop/server");
    real.scene.write("repin.yaml", text);
    pin("old.example/shop/server", "renamed");
    // Control: a repository that no configuration contained.
    pin("other.example/app", "elsewhere");
    run(&["checkout", "-q", "main"]);
    run(&["merge", "-q", "-s", "ours", "--no-ff", "-m", "drop", "old"]);
    run(&["branch", "-q", "-D", "side", "old"]);
    run(&["push", "-q", "origin", "main"]);
    let document = deletes(&real, &["pending-elsewhere", "pending-stale"]);
    let reason = "pinned by a set in promotion history";
    kept(&document, "pending-dropped", reason);
    kept(&document, "pending-renamed", reason);
}

#[test]
fn entry_that_is_no_repository_hides_nothing() {
    let real = with(&["used"]);
    real.scene.write("notes", "pending-used\n");
    let below = real.scene.path().join("deploy");
    fs::create_dir(&below).unwrap();
    real.scene.git(&["mv", "repin.yaml", ".github", "deploy/"]);
    real.scene.commit("below the top");
    let git_dir = below.join(".git");
    for kind in ["empty", "link", "fifo"] {
        match kind {
            "empty" => fs::create_dir(&git_dir).unwrap(),
            "link" => std::os::unix::fs::symlink("nowhere", &git_dir).unwrap(),
            _ => {
                let made = std::process::Command::new("mkfifo").arg(&git_dir).status();
                assert!(made.unwrap().success());
            }
        }
        let ran = real
            .scene
            .run(&["prune", "--format", "json", "--config", "deploy/repin.yaml"]);
        let document = ran.exits(0).json();
        kept(
            &document,
            "pending-used",
            "is used in notes:1 in the work tree",
        );
        let removed = fs::remove_dir(&git_dir).or_else(|_| fs::remove_file(&git_dir));
        removed.unwrap();
    }
    // git refuses a file that names no repository, and so does repin.
    fs::write(&git_dir, "gitdir: nowhere\n").unwrap();
    let ran = real.scene.run(&[
        "prune",
        "--apply",
        "--format",
        "json",
        "--config",
        "deploy/repin.yaml",
    ]);
    ran.exits(3);
    fs::remove_file(&git_dir).unwrap();
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

#[test]
fn clone_of_a_fork_loses_no_protection() {
    let real = with(&["upstream"]);
    let upstream = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    git(
        upstream.path(),
        &["clone", "-q", "--bare", origin.to_str().unwrap(), "."],
    );
    let work = tempfile::tempdir().unwrap();
    git(
        work.path(),
        &["clone", "-q", upstream.path().to_str().unwrap(), "."],
    );
    fs::write(work.path().join("new"), "pending-upstream\n").unwrap();
    git(work.path(), &["add", "-A"]);
    git(work.path(), &["commit", "-q", "-m", "a rollback, say"]);
    git(work.path(), &["push", "-q", "origin", "main"]);
    real.scene.git(&[
        "remote",
        "add",
        "upstream",
        upstream.path().to_str().unwrap(),
    ]);
    real.scene.git(&["fetch", "-q", "upstream"]);
    let document = refused(&real, 3, "unavailable");
    let reason = document["images"][0]["refused"].as_str().unwrap();
    assert!(
        reason.contains("origin/main does not contain all commits of upstream/main"),
        "{reason}"
    );
    for command in [&["history"][..], &["rollback"]] {
        let ran = real.scene.run(command).exits(3);
        assert!(
            ran.stderr.contains("upstream/main"),
            "{command:?} {}",
            ran.stderr
        );
    }
    // The remote of the local branch counts.
    real.scene
        .git(&["config", "branch.main.remote", "upstream"]);
    real.scene
        .git(&["config", "branch.main.merge", "refs/heads/main"]);
    let document = deletes(&real, &["pending-stale"]);
    kept(
        &document,
        "pending-upstream",
        "is used in new:1 on main of upstream",
    );
}

#[test]
fn unread_pins_of_a_fleet_are_reported() {
    let real = with(&[]);
    let text = config(&real.registry.host, "");
    real.scene.write("repin.yaml", text + "fleet: {}\n");
    real.scene.commit("a fleet");
    let document = real.scene.prune(&[], 0);
    let candidates = &document["images"][0]["candidates"];
    assert_eq!(tags(candidates), ["pending-stale"], "{document}");
    let warnings = document["warnings"].as_array().unwrap();
    let fleet = warnings.iter().find(|row| row["code"] == "fleet_unchecked");
    let detail = fleet.unwrap()["detail"].to_string();
    assert!(detail.contains("prune.also_pinned_in"), "{document}");
    let ran = real.scene.run(&["prune"]).exits(0);
    assert!(
        ran.stderr.contains("of the fleet of repin.yaml"),
        "{}",
        ran.stderr
    );
    let document = real
        .scene
        .run(&["builds", "--protected", "--format", "json"])
        .json();
    assert!(
        document["warnings"].to_string().contains("fleet_unchecked"),
        "{document}"
    );
}

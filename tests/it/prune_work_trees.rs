//! The versions that `prune` keeps because of other work trees of the clone and of stashes. On a real docker-registry
//! and real git.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    prune_guards::{deletes, digest, kept, with},
    support::{
        pruned::{Real, config, refused},
        scene::tags,
        world::git,
    },
};

/// A new work tree of the clone in a directory.
fn work_tree(real: &Real, path: &Path, options: &[&str]) -> PathBuf {
    let add = ["worktree", "add", "-q", path.to_str().unwrap()];
    real.scene.git(&[&add[..], options].concat());
    path.canonicalize().unwrap()
}

fn detached(real: &Real, path: &Path) -> PathBuf {
    work_tree(real, path, &["--detach"])
}

fn write(tree: &Path, file: &str, text: &str) {
    let path = tree.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn commit(tree: &Path, file: &str, text: &str) {
    write(tree, file, text);
    git(tree, &["add", "-A"]);
    git(tree, &["commit", "-q", "-m", "here"]);
}

/// A commit with a file that neither the work tree nor the index contains.
fn commit_only(tree: &Path, file: &str, text: &str) {
    commit(tree, file, text);
    write(tree, file, "nothing\n");
    git(tree, &["add", file]);
}

fn refusal(document: &Value) -> &str {
    document["images"][0]["refused"].as_str().unwrap()
}

#[test]
fn every_work_tree_protects() {
    let real = with(&[
        "head", "past", "bisect", "staged", "modified", "matched", "gone", "own", "other",
    ]);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let head = detached(&real, &directory.join("head"));
    let workflow = ".github/workflows/past.yml";
    let pin = format!("image: {}@{}\n", real.app(), digest("past"));
    commit(&head, workflow, &pin);
    commit(&head, workflow, "nothing\n");
    commit(&head, "only.txt", "pending-bisect\n");
    git(&head, &["update-ref", "refs/bisect/bad", "HEAD"]);
    commit_only(&head, "only.txt", "pending-head\n");
    let files = work_tree(&real, &directory.join("files"), &["-b", "files"]);
    commit(&files, "modified.txt", "nothing\n");
    write(&files, "staged.txt", "a\npending-staged\n");
    git(&files, &["add", "-A"]);
    write(&files, "staged.txt", "nothing\n");
    write(&files, "modified.txt", "pending-modified\n");
    write(&files, ".github/workflows/new.yml", "pending-matched\n");
    // Control: a file that git does not track and no set matches.
    write(&files, "notes.md", "pending-other\n");
    let gone = detached(&real, &directory.join("gone"));
    commit(&gone, "only.txt", "pending-gone\n");
    fs::remove_dir_all(&gone).unwrap();
    real.scene.git(&["checkout", "-q", "--detach"]);
    commit_only(real.scene.path(), "own.txt", "pending-own\n");

    let document = deletes(&real, &["pending-other", "pending-stale"]);
    let at_head =
        |tree: &Path| format!("in only.txt:1 at HEAD of the work tree {}", tree.display());
    kept(&document, "pending-head", &at_head(&head));
    kept(&document, "pending-gone", &at_head(&gone));
    kept(
        &document,
        "pending-past",
        "pinned in .github/workflows/past.yml of a past commit of this repository",
    );
    kept(
        &document,
        "pending-bisect",
        "in only.txt:1 at refs/bisect/bad of this clone",
    );
    let files = files.display();
    let staged = format!("in staged.txt:2 in the index of the work tree {files}");
    kept(&document, "pending-staged", &staged);
    for (tag, file) in [
        ("pending-modified", "modified.txt"),
        ("pending-matched", ".github/workflows/new.yml"),
    ] {
        let place = format!("in {file}:1 in the work tree {files}");
        kept(&document, tag, &place);
    }
    kept(
        &document,
        "pending-own",
        "in own.txt:1 at HEAD of this clone",
    );
}

/// Runs in another work tree.
fn prune_in(real: &Real, tree: &Path, exit: i32) -> Value {
    let args = ["prune", "--apply", "--format", "json"];
    real.scene.run_in(tree, &args, &[]).exits(exit).json()
}

#[test]
fn main_work_tree_protects_in_a_linked_one() {
    let real = with(&["staged", "modified"]);
    let directory = tempfile::tempdir().unwrap();
    let origin = real.scene.path().join("origin.git");
    let set_url = ["remote", "set-url", "origin", origin.to_str().unwrap()];
    real.scene.git(&set_url);
    let linked = work_tree(&real, &directory.path().join("linked"), &["-b", "linked"]);
    let main = real.scene.path();
    write(main, "staged.txt", "pending-staged\n");
    real.scene.git(&["add", "staged.txt"]);
    write(main, "staged.txt", "pending-modified\n");
    // git lists the git directory as the path of the main work tree.
    let separate = directory.path().join("separate.git");
    let separate = separate.to_str().unwrap();
    real.scene
        .git(&["init", "-q", "--separate-git-dir", separate]);
    let document = prune_in(&real, &linked, 3);
    let reason = refusal(&document);
    assert!(reason.contains(separate), "{reason}");
    let document = prune_in(&real, main, 0);
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
    kept(&document, "pending-staged", "in staged.txt:1 in the index");

    fs::remove_file(main.join(".git")).unwrap();
    fs::rename(separate, main.join(".git")).unwrap();
    git(main, &["worktree", "repair"]);
    let document = prune_in(&real, &linked, 0);
    let main = main.canonicalize().unwrap();
    let main = main.display();
    let staged = format!("in staged.txt:1 in the index of the work tree {main}");
    kept(&document, "pending-staged", &staged);
    let modified = format!("in staged.txt:1 in the work tree {main}");
    kept(&document, "pending-modified", &modified);
}

#[test]
fn work_tree_that_cannot_be_read_refuses() {
    type Break = fn(&Path, &Real);
    let cases: [(&str, Break); 5] = [
        ("No such file or directory", |tree, real| {
            let tree_text = tree.to_str().unwrap();
            real.scene.git(&["worktree", "lock", tree_text]);
            fs::remove_dir_all(tree).unwrap();
        }),
        ("its .git is missing", |tree, _| {
            fs::remove_file(tree.join(".git")).unwrap();
        }),
        // The directory is in the main work tree, so that another repository would be found.
        ("its .git is missing", |tree, real| {
            let tree_text = tree.to_str().unwrap();
            real.scene.git(&["worktree", "lock", tree_text]);
            fs::remove_file(tree.join(".git")).unwrap();
        }),
        ("it belongs to another repository", |tree, _| {
            fs::remove_dir_all(tree).unwrap();
            fs::create_dir(tree).unwrap();
            git(tree, &["init", "-q", "-b", "main"]);
        }),
        ("its HEAD cannot be read", |_, real| {
            let head = real.scene.path().join(".git/worktrees/tree/HEAD");
            fs::write(head, "nothing\n").unwrap();
        }),
    ];
    for (says, break_tree) in cases {
        let real = with(&[]);
        let tree = detached(&real, &real.scene.path().join("tree"));
        break_tree(&tree, &real);
        let document = refused(&real, 3, "unavailable");
        let reason = refusal(&document);
        let start = format!(
            "cannot determine what the work tree {} protects",
            tree.display()
        );
        assert!(
            reason.starts_with(&start) && reason.contains(says),
            "{reason}"
        );
        // The remedy.
        let _ = std::process::Command::new("git")
            .args(["worktree", "unlock", "tree"])
            .current_dir(real.scene.path())
            .output();
        if tree.join(".git").exists() {
            fs::remove_dir_all(&tree).unwrap();
        }
        real.scene.git(&["worktree", "prune"]);
        deletes(&real, &["pending-stale"]);
    }
}

#[test]
fn every_stash_protects() {
    let real = with(&["newest", "index", "untracked", "file", "base", "dropped"]);
    let path = real.scene.path();
    let stash = |options: &[&str]| {
        let push = ["stash", "push", "-q"];
        real.scene.git(&[&push[..], options].concat());
    };
    write(path, "a.txt", "nothing\n");
    real.scene.commit("a file");
    // The commit that a stash is based on, which `git stash branch` checks out.
    real.scene.git(&["checkout", "-q", "--detach"]);
    commit(path, "a.txt", "pending-base\n");
    write(path, "a.txt", "pending-index\n");
    real.scene.git(&["add", "a.txt"]);
    write(path, "a.txt", "pending-file\n");
    write(path, "new.txt", "pending-untracked\n");
    stash(&["--include-untracked"]);
    real.scene.git(&["checkout", "-q", "main"]);
    // Control: a stash that was dropped.
    for name in ["dropped", "newest"] {
        write(path, "a.txt", &format!("pending-{name}\n"));
        stash(&[]);
        if name == "dropped" {
            real.scene.git(&["stash", "drop", "-q"]);
        }
    }
    let document = deletes(&real, &["pending-dropped", "pending-stale"]);
    kept(
        &document,
        "pending-newest",
        "in a.txt:1 at refs/stash of this clone",
    );
    for (tag, file) in [
        ("pending-file", "a.txt"),
        ("pending-index", "a.txt"),
        ("pending-untracked", "new.txt"),
        ("pending-base", "a.txt"),
    ] {
        let place = format!("in {file}:1 at stash@{{1}} of this clone");
        kept(&document, tag, &place);
    }
}

/// Runs a command of git that stops for the user.
fn stops(real: &Real, args: &[&str]) {
    let identity = ["-c", "user.name=A", "-c", "user.email=a@b.example"];
    let mut git = std::process::Command::new("git");
    git.args(identity).args(args).current_dir(real.scene.path());
    assert!(!git.output().unwrap().status.success(), "{args:?}");
}

#[test]
fn commits_of_unfinished_operations_protect() {
    for (command, name) in [
        (["rebase", "--autostash", "main"], "rebase-merge/autostash"),
        (["merge", "--autostash", "main"], "MERGE_AUTOSTASH"),
    ] {
        let real = with(&["stashed", "staged", "other"]);
        let tree = real.scene.path().to_owned();
        commit(&tree, "other.txt", "nothing\n");
        commit(&tree, "notes.txt", "base\n");
        git(&tree, &["checkout", "-q", "-b", "topic"]);
        commit(&tree, "notes.txt", "topic\n");
        git(&tree, &["checkout", "-q", "main"]);
        commit(&tree, "notes.txt", "main pending-other\n");
        git(&tree, &["checkout", "-q", "topic"]);
        write(&tree, "other.txt", "pending-staged\n");
        git(&tree, &["add", "other.txt"]);
        write(&tree, "other.txt", "pending-stashed\n");
        stops(&real, &command);
        assert_eq!(
            fs::read_to_string(tree.join("other.txt")).unwrap(),
            "nothing\n"
        );
        let document = deletes(&real, &["pending-stale"]);
        let at = format!("in other.txt:1 at {name} of this clone");
        kept(&document, "pending-stashed", &at);
        kept(&document, "pending-staged", &at);
    }
    // `REBASE_HEAD` remains after the end of a rebase, also without its commit.
    let real = with(&[]);
    let tree = real.scene.path().to_owned();
    git(&tree, &["checkout", "-q", "-b", "topic"]);
    commit(&tree, "notes.txt", "topic\n");
    git(&tree, &["checkout", "-q", "main"]);
    commit(&tree, "notes.txt", "main\n");
    git(&tree, &["checkout", "-q", "topic"]);
    stops(&real, &["rebase", "main"]);
    let stopped = git(&tree, &["rev-parse", "REBASE_HEAD"]);
    write(&tree, "notes.txt", "both\n");
    git(&tree, &["add", "notes.txt"]);
    git(&tree, &["-c", "core.editor=true", "rebase", "--continue"]);
    git(
        &tree,
        &["reflog", "expire", "--expire-unreachable=now", "--all"],
    );
    git(&tree, &["gc", "-q", "--prune=now"]);
    stops(&real, &["cat-file", "-e", &stopped]);
    assert_eq!(git(&tree, &["rev-parse", "REBASE_HEAD"]), stopped);
    // So does that of a commit that is gone.
    write(&tree, ".git/CHERRY_PICK_HEAD", &format!("{stopped}\n"));
    deletes(&real, &["pending-stale"]);
    // The merged branch exists no longer.
    let real = with(&["merged"]);
    let tree = real.scene.path().to_owned();
    git(&tree, &["checkout", "-q", "-b", "topic"]);
    commit(&tree, "notes.txt", "pending-merged\n");
    git(&tree, &["checkout", "-q", "main"]);
    commit(&tree, "notes.txt", "main\n");
    stops(&real, &["merge", "topic"]);
    git(&tree, &["branch", "-q", "-D", "topic"]);
    write(&tree, "notes.txt", "main\n");
    git(&tree, &["add", "notes.txt"]);
    let document = deletes(&real, &["pending-stale"]);
    kept(
        &document,
        "pending-merged",
        "in notes.txt:1 at MERGE_HEAD of this clone",
    );
}

#[test]
fn configuration_of_the_base_counts_in_an_outdated_work_tree() {
    let real = with(&[]);
    let host = real.registry.host.clone();
    let one_image = config(&host, "").replace("base:", "#base:");
    for case in ["rules", "image", "removed", "moved"] {
        match case {
            "rules" => real
                .scene
                .write("repin.yaml", config(&host, "older_than: 20d")),
            "image" => real.scene.write("repin.yaml", &one_image),
            "removed" => drop(real.scene.git(&["rm", "-q", "repin.yaml"])),
            _ => {
                fs::create_dir_all(real.scene.path().join("x")).unwrap();
                real.scene.git(&["mv", "repin.yaml", "x/repin.yaml"]);
            }
        }
        real.scene.commit("on the base");
        real.scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
        let document = refused(&real, 3, "base_behind");
        let reason = refusal(&document);
        assert!(reason.contains("repin.yaml differs"), "{case}: {reason}");
        let update = "git merge --ff-only origin/main";
        assert!(document.to_string().contains(update), "{document}");
        // A run that deletes nothing.
        real.scene
            .run(&["prune", "--tag-protected", "keep-"])
            .exits(0);
        real.scene.git(&["push", "-q", "-f", "origin", "HEAD:main"]);
    }
    // The base has another change, or the work tree has one that is not merged.
    real.scene.write("notes", "x");
    real.scene.commit("on the base");
    real.scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
    real.scene.run(&["prune"]).exits(0);
    real.scene
        .git(&["switch", "-q", "-c", "topic", "origin/main"]);
    real.scene.write("repin.yaml", config(&host, "limit: 61"));
    real.scene.git(&["commit", "-qam", "another limit"]);
    real.scene.run(&["prune"]).exits(0);
}

#[test]
fn protection_that_only_the_base_has_refuses() {
    let tools = |block: &str| {
        format!(
            "version: 1\nfiles: [app.yml]\nimages:\n  x: {{ repository: x.example/x, pins: 1 }}\nprune: {{ {block} }}\n"
        )
    };
    let other = "also_pinned_in: [{ repository: '/nowhere/other.git' }]";
    let stage =
        "promote: { after: [{ set: { repository: '/nowhere/other.git', config: repin.yaml } }] }\n";
    let real = with(&[]);
    let host = real.registry.host.clone();
    for (file, text, says) in [
        (
            "repin.yaml",
            config(&host, other),
            "`also_pinned_in` /nowhere/other.git",
        ),
        (
            "repin.yaml",
            config(&host, "protect: ['^keep-']"),
            "`protect` ^keep-",
        ),
        (
            "repin.yaml",
            config(&host, "") + stage,
            "a stage in another repository",
        ),
        (
            "tools/repin.yaml",
            tools(other),
            "`also_pinned_in` /nowhere/other.git",
        ),
        (
            "tools/repin.yaml",
            "nothing\n".to_owned(),
            "cannot determine what tools/repin.yaml on origin/main protects",
        ),
    ] {
        real.scene.write(file, &text);
        real.scene.commit("on the base");
        real.scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
        let document = refused(&real, 3, "base_behind");
        let reason = refusal(&document);
        assert!(reason.contains(says), "{says}: {reason}");
        real.scene.git(&["push", "-q", "-f", "origin", "HEAD:main"]);
    }
    // Control: the work tree has it, too.
    let text = config(&host, "protect: ['^keep-']");
    real.scene.write("repin.yaml", text);
    real.scene.commit("on the base");
    // But not for the image of the other set.
    real.scene
        .write("tools/repin.yaml", tools("protect: ['^keep-']"));
    real.scene.commit("on the base");
    real.scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let document = refused(&real, 3, "base_behind");
    let reason = refusal(&document);
    assert!(
        reason.contains("tools/repin.yaml on origin/main has `protect` ^keep-"),
        "{reason}"
    );
    real.scene.git(&["push", "-q", "-f", "origin", "HEAD:main"]);
    // A file with the name of a configuration that only `--config` selects is none.
    real.scene.git(&["mv", "repin.yaml", "images.yaml"]);
    real.scene.write("charts/images.yaml", "nothing\n");
    real.scene.commit("another name");
    let args = [
        "prune",
        "--apply",
        "--config",
        "images.yaml",
        "--format",
        "json",
    ];
    let document = real.scene.run(&args).exits(0).json();
    assert_eq!(tags(&document["images"][0]["deleted"]), ["pending-stale"]);
}

//! Which history `promote` and `rollback` trust, in clones as CI makes them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::support::{
    forge::{Fake, Fault, JOB_TOKEN, Kind, TOKEN, When, error},
    hosted::{FORGES, PROPOSE_C},
    sweep::one_of,
    world::{REV_A, REV_B, REV_C, Ran, World, details, failed, git, world},
};

const PROMOTE_B: [&str; 5] = ["promote", "--revision", REV_B, "--format", "json"];
const TO_A: [&str; 5] = ["rollback", "--to", REV_A, "--format", "json"];
/// The pins before the first promotion.
const FIRST: &str = "dddddddddddddddddddddddddddddddddddddddd";
const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];
const CHECK: [&str; 4] = ["check", "--remote", "--format", "json"];

fn title(revision: &str) -> String {
    format!("promote: test images @{revision}")
}

/// A repository with the default branch `trunk`: A was promoted, then B, and an operator went back
/// to A.
fn rolled_back() -> World {
    rolled_back_with("")
}

/// The same, with more in its configuration from the beginning.
fn rolled_back_with(more: &str) -> World {
    let mut world = world();
    world.build(REV_C);
    world.build(FIRST);
    world.pin(FIRST);
    world.write("repin.yaml", world.read("repin.yaml") + more);
    world.write(".gitignore", "/images\n/origin.git\n/event.json\n/clone*\n");
    world.git(&["init", "-q", "-b", "trunk"]);
    world.git(&["init", "-q", "--bare", "-b", "trunk", "origin.git"]);
    world.git(&["remote", "add", "origin", "./origin.git"]);
    world.commit("chore: begin");
    set(&world, REV_A, &title(REV_A));
    set(&world, REV_B, &title(REV_B));
    set(&world, REV_A, &format!("rollback: test images @{REV_A}"));
    world
}

/// Pins a set, commits and pushes it.
fn set(world: &World, revision: &'static str, subject: &str) -> String {
    world.pin(revision);
    let commit = world.commit(subject);
    world.git(&["push", "-q", "origin", "HEAD"]);
    commit
}

/// The refs that `actions/checkout` of a workflow fetches.
#[derive(Clone, Copy)]
enum Fetch {
    /// `fetch-depth: 0`.
    All,
    /// The default: one commit of the branch that the event is for.
    One(&'static str),
    /// The default in the workflow of a pull request: the forge's merge commit.
    Merge,
}

/// A clone as actions/checkout v4 makes it (the commands of its log): no `git clone`, so that there
/// is no refs/remotes/origin/HEAD, and no branch but those that were fetched.
fn checkout(world: &World, name: &str, fetch: Fetch) -> PathBuf {
    let clone = world.path(name);
    fs::create_dir_all(&clone).unwrap();
    let run = |args: &[&str]| git(&clone, args);
    let url = format!("file://{}", world.path("origin.git").display());
    run(&["init", "-q"]);
    run(&["remote", "add", "origin", &url]);
    run(&["config", "--local", "gc.auto", "0"]);
    let tip = world.head();
    let (options, refspecs, checked_out): (&[&str], Vec<String>, &[&str]) = match fetch {
        Fetch::All => (
            &[],
            vec![
                "+refs/heads/*:refs/remotes/origin/*".into(),
                "+refs/tags/*:refs/tags/*".into(),
            ],
            &["-B", "trunk", "refs/remotes/origin/trunk"],
        ),
        Fetch::One(branch) => (
            &["--no-tags", "--depth=1"],
            vec![format!("+{tip}:refs/remotes/origin/{branch}")],
            &["--detach", "FETCH_HEAD"],
        ),
        Fetch::Merge => (
            &["--no-tags", "--depth=1"],
            vec![format!("+{tip}:refs/remotes/pull/7/merge")],
            &["refs/remotes/pull/7/merge"],
        ),
    };
    let fetch = ["-c", "protocol.version=2", "fetch", "-q", "--prune"];
    let refspecs: Vec<&str> = refspecs.iter().map(String::as_str).collect();
    run(&[
        &fetch,
        options,
        &["--no-recurse-submodules", "origin"],
        &refspecs,
    ]
    .concat());
    run(&[&["checkout", "-q", "--force"], checked_out].concat());
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    clone
}

fn event(world: &World, text: &str) -> String {
    world.write("event.json", text);
    world.path("event.json").to_str().unwrap().to_owned()
}

/// The remote is unreachable.
fn unreachable(clone: &Path) {
    git(
        clone,
        &["remote", "set-url", "origin", "/nowhere/origin.git"],
    );
}

fn hint(document: &serde_json::Value) -> String {
    let error = &document["error"];
    assert_eq!(error["code"], "unavailable", "{document}");
    error["hint"].as_str().unwrap().to_owned()
}

/// The row of a diagnosis.
fn row(ran: &Ran, code: &str) -> (String, String, String) {
    let document = ran.json();
    let rows = document["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["code"] == code).unwrap();
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("detail"), text("hint"))
}

// The branch that counts.

#[test]
fn hold_does_not_depend_on_branch_name() {
    let world = rolled_back();
    // An old branch with a usual name, from before the rollback, is no reason to look there.
    world.git(&["push", "-q", "origin", "HEAD~1:refs/heads/main"]);
    let clone = checkout(&world, "clone", Fetch::All);
    let refused = |env: &[(&str, &str)]| {
        let document = world.run_in(&clone, &PROMOTE_B, env).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
    };
    // The remote reports its default branch.
    refused(&[]);
    // CI reports it if the remote is unreachable.
    unreachable(&clone);
    let path = event(
        &world,
        r#"{"ref":"x","repository":{"default_branch":"trunk"}}"#,
    );
    refused(&[("GITHUB_EVENT_PATH", &path)]);
    refused(&[("CI_DEFAULT_BRANCH", "trunk")]);
    // The comparison with the policy of the base needs no more than that.
    for (branch, is_unknown) in [("trunk", false), ("", true)] {
        let env = [("CI_DEFAULT_BRANCH", branch)];
        let check = ["check", "--remote"];
        let ran = world.run_in(&clone, &check, &env);
        let unknown = ran.stderr.contains("cannot compare the policy");
        assert_eq!(unknown, is_unknown, "{}{}", ran.stdout, ran.stderr);
    }
    // The configuration does.
    let config = world.read("repin.yaml");
    for more in [
        "provenance: { branch: origin/trunk }\n",
        "forge: { base: trunk }\n",
    ] {
        fs::write(clone.join("repin.yaml"), format!("{config}{more}")).unwrap();
        refused(&[]);
    }
}

/// The clone records the former default branch of its remote.
#[test]
fn rollback_on_the_upstream_holds() {
    let world = rolled_back();
    world.git(&["push", "-q", "origin", "HEAD~1:refs/heads/main"]);
    world.git(&["fetch", "-q"]);
    world.git(&["remote", "set-head", "origin", "main"]);
    world.git(&["branch", "-q", "-u", "origin/trunk"]);
    let refused = || {
        let document = world.run(&PROMOTE_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
    };
    refused();
    world.write("notes.txt", "x");
    world.commit("later");
    refused();
    let rollback = world.git(&["rev-parse", "HEAD~1"]);
    // The branch of the remote decides about the digests that it rolled back or released.
    let forced = format!("{}\n\nRepin-Override: rolled_back", title(REV_B));
    world.git(&["checkout", "-q", "-B", "forced", &rollback]);
    world.pin(REV_B);
    world.commit(&forced);
    world.git(&["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
    world.git(&["fetch", "-q"]);
    let passes = || {
        let ran = world.run(&PROMOTE_B);
        assert_eq!(failed(&ran.json()), Vec::<String>::new(), "{}", ran.stderr);
    };
    world.git(&["checkout", "-q", "-B", "topic", &rollback]);
    world.write("notes.txt", "x");
    world.commit("a topic that began before the override");
    world.git(&["push", "-q", "-u", "origin", "topic"]);
    passes();
    world.git(&["checkout", "-q", "-B", "picked", &format!("{rollback}~1")]);
    world.write("notes.txt", "x");
    world.commit("a topic that began before the rollback");
    world.git(&["cherry-pick", &rollback]);
    world.git(&["push", "-q", "-u", "origin", "picked"]);
    passes();
}

#[test]
fn the_strongest_source_names_the_branch() {
    let world = rolled_back();
    for branch in ["p", "f", "h", "e", "c", "r", "main"] {
        let refspec = format!("HEAD:refs/heads/{branch}");
        world.git(&["push", "-q", "origin", &refspec]);
    }
    git(
        &world.path("origin.git"),
        &["symbolic-ref", "HEAD", "refs/heads/r"],
    );
    let clone = checkout(&world, "clone", Fetch::All);
    let config = world.read("repin.yaml");
    let write =
        |more: &str| fs::write(clone.join("repin.yaml"), format!("{config}{more}")).unwrap();
    let path = event(&world, r#"{"repository":{"default_branch":"e"}}"#);
    let both = [
        ("GITHUB_EVENT_PATH", path.as_str()),
        ("CI_DEFAULT_BRANCH", "c"),
    ];
    let counts = |env: &[(&str, &str)], branch: &str| {
        let ran = world.run_in(&clone, &["history"], env).exits(0);
        let legend = format!("origin/{branch}: * is current");
        assert!(ran.stderr.contains(&legend), "{branch}: {}", ran.stderr);
    };
    git(&clone, &["remote", "set-head", "origin", "h"]);
    write("provenance: { branch: origin/p }\nforge: { base: f }\n");
    counts(&both, "p");
    write("forge: { base: f }\n");
    counts(&both, "f");
    write("");
    counts(&both, "h");
    git(&clone, &["remote", "set-head", "origin", "--delete"]);
    counts(&both, "e");
    counts(&both[1..], "c");
    // A statement about another repository than `origin` does not count.
    let other = r#"{"repository":{"default_branch":"e","full_name":"acme/other"}}"#;
    let other = event(&world, other);
    git(
        &clone,
        &[
            "remote",
            "set-url",
            "origin",
            "https://git.invalid/acme/flows",
        ],
    );
    counts(&[("GITHUB_EVENT_PATH", &other), both[1]], "c");
    let own = r#"{"repository":{"default_branch":"e","full_name":"Acme/Flows"}}"#;
    let own = event(&world, own);
    counts(&[("GITHUB_EVENT_PATH", &own), both[1]], "e");
    git(
        &clone,
        &[
            "remote",
            "set-url",
            "origin",
            world.path("origin.git").to_str().unwrap(),
        ],
    );
    let empty = event(&world, r#"{"repository":{"default_branch":""}}"#);
    counts(&[("GITHUB_EVENT_PATH", &empty), both[1]], "c");
    // A broken event states nothing.
    let broken = event(&world, "{");
    counts(&[("GITHUB_EVENT_PATH", &broken)], "r");
    counts(&[], "r");
    // `main` counts if the remote is unreachable, and only if no other branch was fetched.
    unreachable(&clone);
    world.run_in(&clone, &["history"], &[]).exits(3);
    for branch in ["p", "f", "h", "e", "c", "r", "trunk"] {
        let name = format!("refs/remotes/origin/{branch}");
        git(&clone, &["update-ref", "-d", &name]);
    }
    counts(&[], "main");
    git(&clone, &["update-ref", "refs/remotes/origin/other", "HEAD"]);
    world.run_in(&clone, &["history"], &[]).exits(3);
}

#[test]
fn missing_configured_branch_must_be_fetched() {
    let world = rolled_back();
    let clone = checkout(&world, "clone", Fetch::One("feature"));
    let config = world.read("repin.yaml");
    let refused = |env: &[(&str, &str)], what: &str| {
        for args in [&PROMOTE_B, &TO_A] {
            let document = world.run_in(&clone, args, env).exits(3).json();
            assert!(hint(&document).contains(what), "{document}");
        }
        let ran = world.run_in(&clone, &DOCTOR, env);
        let (status, _, hint) = row(&ran, "remote");
        assert!(status == "fail" && hint.contains(what), "{}", ran.stdout);
    };
    let fetch = "git fetch origin trunk:refs/remotes/origin/trunk";
    refused(&[], fetch);
    unreachable(&clone);
    refused(&[("CI_DEFAULT_BRANCH", "trunk")], fetch);
    let path = event(&world, r#"{"repository":{"default_branch":"trunk"}}"#);
    refused(&[("GITHUB_EVENT_PATH", &path)], fetch);
    fs::write(
        clone.join("repin.yaml"),
        format!("{config}forge: {{ base: trunk }}\n"),
    )
    .unwrap();
    refused(&[], fetch);
    fs::write(clone.join("repin.yaml"), &config).unwrap();
    // A symbolic reference to a branch that was pruned or never fetched.
    let head = [
        "symbolic-ref",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/trunk",
    ];
    git(&clone, &head);
    refused(&[("CI_DEFAULT_BRANCH", "feature")], fetch);
    // The command in the hint helps.
    let url = world.path("origin.git");
    git(
        &clone,
        &["remote", "set-url", "origin", url.to_str().unwrap()],
    );
    git(
        &clone,
        &[
            "fetch",
            "-q",
            "origin",
            "trunk:refs/remotes/origin/trunk",
            "--unshallow",
        ],
    );
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
}

#[test]
fn checkout_of_pull_request_keeps_default_branch() {
    let world = rolled_back();
    let clone = checkout(&world, "clone", Fetch::Merge);
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(3).json();
    assert!(hint(&document).contains("origin/trunk"), "{document}");
}

#[test]
fn unknown_branch_is_reported_with_both_remedies() {
    let world = rolled_back();
    for fetch in [Fetch::One("trunk"), Fetch::Merge] {
        let name = if matches!(fetch, Fetch::Merge) {
            "clone-m"
        } else {
            "clone-o"
        };
        let clone = checkout(&world, name, fetch);
        unreachable(&clone);
        for args in [&PROMOTE_B, &TO_A] {
            let document = world.run_in(&clone, args, &[]).exits(3).json();
            let hint = hint(&document);
            assert!(
                hint.contains("git remote set-head origin --auto")
                    && hint.contains("provenance.branch"),
                "{hint}"
            );
            // The message also has the error of the remote.
            let message = document["error"]["message"].as_str().unwrap();
            assert!(message.contains("/nowhere/origin.git"), "{message}");
        }
        let ran = world.run_in(&clone, &DOCTOR, &[]).exits(3);
        assert_eq!(row(&ran, "remote").0, "fail", "{}", ran.stdout);
    }
}

#[test]
fn remotes_without_origin_are_ambiguous() {
    let world = rolled_back();
    let clone = checkout(&world, "clone", Fetch::All);
    git(&clone, &["remote", "rename", "origin", "up"]);
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    git(&clone, &["remote", "add", "fork", "/nowhere/fork.git"]);
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(3).json();
    assert!(hint(&document).contains("provenance.branch"), "{document}");
}

// Without a remote, without git, without commits.

#[test]
fn without_a_remote_head_holds_its_rollbacks() {
    let world = rolled_back();
    world.git(&["remote", "remove", "origin"]);
    let document = world.run(&PROMOTE_B).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    let document = world
        .run(&["promote", "--revision", REV_C, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(details(&document, "rolled_back", "pass").len(), 1);
    let document = world.run(&CHECK).json();
    assert_eq!(details(&document, "rolled_back", "pass").len(), 1);
    world.pin(REV_B);
    let document = world.run(&CHECK).exits(1).json();
    assert!(
        failed(&document).contains(&"rolled_back".to_owned()),
        "{document}"
    );
    world.git(&["checkout", "-q", "."]);
    // That branch has no promoted set, so no set is available for rollback.
    let document = world.run(&TO_A).exits(3).json();
    assert!(
        hint(&document).contains("git remote add origin"),
        "{document}"
    );
    let ran = world.run(&DOCTOR);
    assert_eq!(row(&ran, "remote").0, "skip", "{}", ran.stdout);
    // The rollback of a side branch does not count, but that of the checkout does.
    world.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
    world.run(&["promote", "--revision", REV_B]).exits(0);
}

#[test]
fn without_a_remote_an_older_build_is_refused() {
    let mut world = rolled_back();
    world.git(&["remote", "remove", "origin"]);
    let older: &'static str = world.commit("source: older").leak();
    let newer: &'static str = world.commit("source: newer").leak();
    world.build(older);
    world.build(newer);
    world.pin(newer);
    world.commit(&title(newer));
    let document = world
        .run(&["promote", "--revision", older, "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(failed(&document), ["revision_order"], "{document}");
}

#[test]
fn without_history_both_checks_warn_everywhere() {
    let empty = world();
    empty.git(&["init", "-q"]);
    for (world, why, env) in [
        (world(), "is not in a git repository", vec![]),
        (
            world(),
            "is not in a git repository",
            vec![("PATH", "/nonexistent")],
        ),
        (empty, "has no commits yet", vec![]),
    ] {
        let document = world.run_with(&PROMOTE_B, &env).exits(0).json();
        let codes = ["revision_order", "rolled_back"];
        for code in codes {
            let warned = details(&document, code, "warn");
            assert!(warned.len() == 1 && warned[0].contains(why), "{document}");
        }
        let checked = world.run_with(&CHECK, &env).json();
        let warned = details(&checked, "rolled_back", "warn");
        assert!(warned.len() == 1 && warned[0].contains(why), "{checked}");
        let body = document["body"].as_str().unwrap();
        let ran = world
            .run_with(&["promote", "--revision", REV_B], &env)
            .exits(0);
        let summary = world.path("summary");
        let mut actions = env.clone();
        actions.push(("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()));
        let github = ["promote", "--revision", REV_B, "--format", "github"];
        let annotated = world.run_with(&github, &actions).exits(0);
        let summary = fs::read_to_string(&summary).unwrap();
        for code in codes {
            let warning = format!("warning[{code}]: cannot determine");
            assert_eq!(ran.stderr.matches(&warning).count(), 1, "{}", ran.stderr);
            assert!(!ran.stdout.contains(code), "{}", ran.stdout);
            let annotation = format!("::warning title={code}::cannot determine");
            assert!(
                annotated.stdout.contains(&annotation),
                "{}",
                annotated.stdout
            );
            let in_body = format!("| warn | `{code}` |");
            assert!(
                body.contains(&in_body) && summary.contains(&in_body),
                "{body}{summary}"
            );
        }
    }
}

#[test]
fn unknown_order_is_a_warning() {
    let world = rolled_back();
    let args = ["promote", "--revision", REV_C];
    let ran = world.run(&args).exits(0);
    assert!(
        ran.stderr.contains("warning[revision_order]"),
        "{}",
        ran.stderr
    );
    let ran = world
        .run(&[&args[..], &["--format", "github"]].concat())
        .exits(0);
    assert!(
        ran.stdout.contains("::warning title=revision_order::"),
        "{}",
        ran.stdout
    );
}

#[test]
fn unreferenced_commit_is_not_missing_history() {
    let world = rolled_back();
    let clone = world.path("clone");
    fs::create_dir(&clone).unwrap();
    let url = format!("file://{}", world.path("origin.git").display());
    git(&clone, &["init", "-q"]);
    git(&clone, &["remote", "add", "origin", &url]);
    git(&clone, &["fetch", "-q", "origin", &world.head()]);
    git(&clone, &["checkout", "-q", "FETCH_HEAD"]);
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(3).json();
    assert!(
        hint(&document).contains("refs/remotes/origin/trunk"),
        "{document}"
    );
    unreachable(&clone);
    let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(3).json();
    assert!(hint(&document).contains("set-head"), "{document}");
}

// Clones that lack something.

#[test]
fn too_shallow_clone_is_refused_unless_overridden() {
    let world = rolled_back();
    let clone = checkout(&world, "clone", Fetch::One("trunk"));
    for args in [&PROMOTE_B, &TO_A] {
        let document = world.run_in(&clone, args, &[]).exits(3).json();
        assert!(
            hint(&document).contains("git fetch --unshallow"),
            "{document}"
        );
    }
    // Each flag overrides one check; the other check still fails.
    for flag in ["--allow-older", "--force-after-rollback"] {
        let args = [&PROMOTE_B[..], &[flag]].concat();
        let document = world.run_in(&clone, &args, &[]).exits(3).json();
        assert!(
            hint(&document).contains("git fetch --unshallow"),
            "{flag}: {document}"
        );
    }
    let forced = [&PROMOTE_B[..], &["--allow-older", "--force-after-rollback"]].concat();
    let document = world.run_in(&clone, &forced, &[]).exits(0).json();
    for code in ["revision_order", "rolled_back"] {
        assert_eq!(details(&document, code, "warn").len(), 1, "{document}");
    }
}

#[test]
fn manual_set_is_held_after_its_revert() {
    let world = rolled_back();
    set(&world, REV_C, "images: by hand");
    set(&world, REV_A, "Revert \"images: by hand\"");
    let promote = ["promote", "--revision", REV_C, "--format", "json"];
    let document = world.run(&promote).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    let forced = [&promote[..], &["--force-after-rollback"]].concat();
    let document = world.run(&forced).exits(0).json();
    assert_eq!(details(&document, "rolled_back", "warn").len(), 1);
}

#[test]
fn partial_clone_names_the_fetch_command() {
    let world = rolled_back();
    git(
        &world.path("origin.git"),
        &["config", "uploadpack.allowFilter", "true"],
    );
    let url = format!("file://{}", world.path("origin.git").display());
    for filter in ["blob:none", "tree:0"] {
        let name = format!("clone-{}", &filter[..4]);
        let filtered = format!("--filter={filter}");
        world.git(&["clone", "-q", &filtered, &url, &name]);
        let clone = world.path(&name);
        std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
        let command = "git fetch --refetch --no-filter";
        for args in [&PROMOTE_B, &TO_A] {
            let document = world.run_in(&clone, args, &[]).exits(3).json();
            assert!(hint(&document).contains(command), "{filter}: {document}");
        }
        let ran = world.run_in(&clone, &DOCTOR, &[]).exits(3);
        let (status, _, hint) = row(&ran, "shallow");
        assert!(status == "fail" && hint.contains(command), "{}", ran.stdout);
        git(&clone, &["fetch", "-q", "--refetch", "--no-filter"]);
        let document = world.run_in(&clone, &PROMOTE_B, &[]).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
    }
}

// The base branch's head on a forge.

/// The same repository on a forge, which calls `trunk` its default branch.
fn hosted(kind: Kind) -> (World, Fake) {
    let fake = Fake::start(kind);
    fake.store().default_branch = "trunk";
    let name = kind.name();
    let world = rolled_back_with(&format!(
        "forge: {{ kind: {name}, url: '{}', repository: acme/flows }}\n",
        fake.api()
    ));
    (world, fake)
}

/// The forge's `trunk` is the commit that is checked out.
fn mirrored(world: &World, fake: &Fake) -> String {
    let files = [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ];
    let files: Vec<_> = files.iter().map(|path| (*path, world.read(path))).collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let head = world.head();
    let mut store = fake.store();
    store.push("trunk", "as it is", &files);
    store.name_head("trunk", &head, world.root());
    head
}

const ENV: [(&str, &str); 1] = [("REPIN_FORGE_TOKEN", TOKEN)];

fn open(world: &World, clone: &Path, revision: &str) -> Ran {
    let args = [
        "promote",
        "--revision",
        revision,
        "--format",
        "json",
        "--pr",
        "draft",
    ];
    world.run_in(clone, &args, &ENV)
}

#[test]
fn pull_request_uses_the_forges_head() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind);
        // The clone was fetched before the rollback.
        world.git(&["push", "-q", "--force", "origin", "HEAD~1:refs/heads/trunk"]);
        let clone = checkout(&world, "clone", Fetch::All);
        world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
        let head = mirrored(&world, &fake);
        let before = git(&clone, &["for-each-ref"]);
        assert!(!before.contains(&head));

        let document = open(&world, &clone, REV_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        assert!(
            details(&document, "rolled_back", "fail")[0].contains(&head[..10]),
            "{document}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        assert_eq!(
            before,
            git(&clone, &["for-each-ref"]),
            "no reference was moved"
        );
        let args = [&TO_A[..], &["--pr", "draft"]].concat();
        let document = world.run_in(&clone, &args, &ENV).exits(0).json();
        assert_eq!(document["changed"], false, "{document}");
        // A promotion in the work tree uses the branch of the clone.
        world
            .run_in(&clone, &["promote", "--revision", REV_B], &[])
            .exits(0);

        // Also in a clone that has no branch at all.
        let merge = checkout(&world, "clone-m", Fetch::Merge);
        git(&merge, &["fetch", "-q", "--unshallow", "origin"]);
        let document = open(&world, &merge, REV_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        // Also in a linked work tree.
        let linked = world.path("clone-linked");
        git(
            &clone,
            &[
                "worktree",
                "add",
                "-q",
                "--detach",
                linked.to_str().unwrap(),
            ],
        );
        std::os::unix::fs::symlink(world.path("images"), linked.join("images")).unwrap();
        let document = open(&world, &linked, REV_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        // A shallow one gets what it does not have from the forge, and stays shallow.
        let shallow = checkout(&world, "clone-s", Fetch::Merge);
        unreachable(&shallow);
        let boundary = fs::read(shallow.join(".git/shallow")).unwrap();
        let document = open(&world, &shallow, REV_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        assert_eq!(fs::read(shallow.join(".git/shallow")).unwrap(), boundary);
        git(&shallow, &["fsck", "--no-dangling"]);
    }
}

/// The checkout of a job of GitLab CI: one commit, without a branch. Its own token cannot open merge requests.
#[test]
fn job_of_gitlab_promotes_in_a_shallow_checkout() {
    let (world, fake) = hosted(Kind::Gitlab);
    world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
    let head = mirrored(&world, &fake);
    let clone = checkout(&world, "clone", Fetch::One("trunk"));
    git(&clone, &["checkout", "-q", "--detach", "HEAD"]);
    unreachable(&clone);
    let server = fake.server.url();
    let job = [
        ("GITLAB_CI", "true"),
        ("CI_SERVER_URL", &*server),
        ("CI_JOB_TOKEN", JOB_TOKEN),
        ("CI_COMMIT_BRANCH", "trunk"),
        ("CI_COMMIT_SHA", &*head),
    ];
    world.run_in(&clone, &PROPOSE_C, &job).exits(4);
    assert_eq!(fake.writes(), [] as [String; 0]);
    let env = [&job[..], &ENV].concat();
    let document = world.run_in(&clone, &PROPOSE_C, &env).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "created", "{document}");
    let store = fake.store();
    let commit = store.commit(&store.refs[&store.pulls[0].head]);
    assert_eq!(commit.parents, [head]);
}

#[test]
fn work_tree_is_judged_by_the_forges_head() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind);
        // The clone was fetched before the rollback.
        world.git(&["push", "-q", "--force", "origin", "HEAD~1:refs/heads/trunk"]);
        let stale = checkout(&world, "clone", Fetch::All);
        // A branch that began before the promotion of B pins it.
        git(&stale, &["reset", "-q", "--hard", "origin/trunk~1"]);
        git(&stale, &["checkout", "-q", "origin/trunk", "--", "."]);
        git(&stale, &["commit", "-q", "-m", "pin B"]);
        world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
        mirrored(&world, &fake);
        let before = git(&stale, &["for-each-ref"]);
        let check = ["check", "--remote", "--format", "json"];
        world.run_in(&stale, &check, &[]).exits(0);
        let document = world.run_in(&stale, &check, &ENV).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        let args = [&PROMOTE_B[..], &["--apply"]].concat();
        let document = world.run_in(&stale, &args, &ENV).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        assert_eq!(before, git(&stale, &["for-each-ref"]), "no reference moved");

        // The list of sets to roll back to: A was current before B, and is again.
        let available = |env: &[(&str, &str)]| {
            let ran = world.run_in(&stale, &["rollback", "--format", "json"], env);
            let sets = ran.exits(0).json()["entries"].as_array().unwrap().clone();
            let sets = sets.iter().map(|set| {
                let revision = set["revision"].as_str().map(str::to_owned);
                (revision, set["current"] == true)
            });
            sets.collect::<Vec<_>>()
        };
        let (in_clone, on_forge) = (available(&[]), available(&ENV));
        let entry = |revision: &str, is_current| (Some(revision.to_owned()), is_current);
        assert_eq!(in_clone[0], entry(REV_B, true));
        assert_eq!(on_forge[..2], [entry(REV_A, true), entry(REV_B, false)]);
        let document = world.run_in(&stale, &["rollback", "--apply", "--format", "json"], &ENV);
        let document = document.exits(2).json();
        assert!(!document.to_string().contains(REV_B), "{document}");

        // A shallow clone lacks the first promotion.
        let shallow = checkout(&world, "clone-s", Fetch::One("trunk"));
        let status = |env: &[(&str, &str)]| {
            let document = world.run_in(&shallow, &check, env).exits(0).json();
            let checks = document["checks"].as_array().unwrap().clone();
            let of_title = |check: &&serde_json::Value| check["code"] == "provenance_title";
            checks.iter().find(of_title).unwrap()["status"].clone()
        };
        assert_eq!(status(&[]), "warn");
        assert_eq!(status(&ENV), "pass");
        git(&shallow, &["fsck", "--no-dangling"]);

        // The forge cannot be reached: the clone counts, with a warning.
        fake.forget();
        fake.fault(("GET", "/info/refs"), 99, Fault::Instead(error(403, "no")));
        let ran = world.run_in(&stale, &check, &ENV).exits(0);
        let warning = "the history is that of this clone, which may be outdated: ";
        assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn policy_is_compared_with_that_on_the_forge() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind);
        let strict =
            world.read("repin.yaml") + "promote: { after: [{ set: staging/repin.yaml }] }\n";
        let lax = world.read("repin.yaml");
        world.write("repin.yaml", strict);
        world.commit("strict");
        world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
        mirrored(&world, &fake);
        // The checkout of a pull request that removes the stage.
        world.write("repin.yaml", lax);
        world.commit("lax");
        world.git(&["push", "-q", "origin", "HEAD:refs/pull/7/merge"]);
        let clone = checkout(&world, "clone", Fetch::Merge);
        // git itself may not read the forge's repository.
        let url = format!("{}/acme/flows.git", fake.server.url());
        git(&clone, &["remote", "set-url", "origin", &url]);
        let check = ["check", "--remote", "--format", "json"];
        let policy = |env: &[(&str, &str)], status: &str| {
            let document = world.run_in(&clone, &check, env).json();
            details(&document, "policy_weakened", status)
        };
        assert_eq!(policy(&[], "skip").len(), 1, "{kind:?}");
        assert_eq!(policy(&ENV, "skip"), [""; 0], "{kind:?}");
        let expected = ["weaker than on origin/trunk: promote.after"];
        assert_eq!(policy(&ENV, "warn"), expected, "{kind:?}");

        // The default branch counts too if the configuration selects another base.
        {
            let mut store = fake.store();
            let head = store.refs["trunk"].clone();
            store.refs.insert("other".to_owned(), head);
        }
        let config = fs::read_to_string(clone.join("repin.yaml")).unwrap();
        let selects = config.replace(
            "repository: acme/flows",
            "repository: acme/flows, base: other",
        );
        fs::write(clone.join("repin.yaml"), selects).unwrap();
        let event = event(&world, r#"{"repository": {"default_branch": "trunk"}}"#);
        let env = [&ENV[..], &[("GITHUB_EVENT_PATH", &*event)]].concat();
        let warned = policy(&env, "warn");
        assert_eq!(warned.len(), 2, "{kind:?} {warned:?}");
        // The base branches cannot be fetched after the head.
        fake.fault_after(
            1,
            ("GET", "/info/refs"),
            99,
            Fault::Instead(error(403, "no")),
        );
        let unknown = policy(&env, "skip");
        let is_reported = unknown.iter().any(|reason| reason.contains("trunk"));
        assert!(is_reported, "{kind:?} {unknown:?}");
    }
}

#[test]
fn next_plan_reads_the_forges_head_again() {
    let (world, fake) = hosted(Kind::Github);
    set(&world, REV_C, &title(REV_C));
    let clone = checkout(&world, "clone", Fetch::One("trunk"));
    // Another operator goes back, and pushes between the commit and the push.
    world.pin(REV_A);
    world.commit(&format!("rollback: test images @{REV_A}"));
    let rival = mirrored(&world, &fake);
    world.git(&["checkout", "-q", "--detach", "HEAD~1"]);
    mirrored(&world, &fake);
    let hook = clone.join(".git/hooks/post-commit");
    let root = world.root().display();
    let user = [("user.name", "A"), ("user.email", "a@example.com")];
    for (key, value) in user {
        git(&clone, &["config", key, value]);
    }
    let script = format!(
        "#!/bin/sh\nunset $(git rev-parse --local-env-vars)\ngit -C '{root}' push -q origin {rival}:refs/heads/trunk\n"
    );
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fake.at(When::Before, "GET", "/info/refs", 2, move |store| {
        store.refs.insert("trunk".to_owned(), rival);
    });
    let previous = [
        "rollback", "--to", "previous", "--apply", "--commit", "--push",
    ];
    let ran = world.run_in(&clone, &previous, &ENV).exits(5);
    for part in ["planning again", "another process changed the current set"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn unconfirmed_forge_receives_no_request() {
    let (world, fake) = hosted(Kind::Github);
    mirrored(&world, &fake);
    // A pull request could name a repository of its author, and this clone has no branch that confirms it.
    let merge = checkout(&world, "clone", Fetch::Merge);
    let check = ["check", "--remote", "--format", "json"];
    world.run_in(&merge, &check, &ENV);
    assert_eq!(fake.asked(), [] as [String; 0]);
    let own = format!("{}/acme/flows.git", fake.api().trim_end_matches("/api/v3"));
    git(&merge, &["remote", "set-url", "origin", &own]);
    world.run_in(&merge, &check, &ENV).exits(0);
    assert_ne!(fake.asked(), [] as [String; 0]);
}

#[test]
fn head_that_cannot_be_fetched_is_unavailable() {
    let (world, fake) = hosted(Kind::Github);
    world.git(&["push", "-q", "--force", "origin", "HEAD~1:refs/heads/trunk"]);
    let clone = checkout(&world, "clone", Fetch::All);
    // The remote of the clone is not asked.
    unreachable(&clone);
    mirrored(&world, &fake);
    for (status, exit, hint) in [(502, 3, "git ls-remote"), (403, 4, "contents: read")] {
        let refusal = error(status, "no");
        fake.forget();
        fake.fault(("GET", "/info/refs"), 9, Fault::Instead(refusal));
        let ran = open(&world, &clone, REV_B).exits(exit);
        let document = ran.json();
        let error = document["errors"].to_string();
        assert!(error.contains("cannot fetch trunk"), "{error}");
        assert!(error.contains(hint), "{error}");
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    fake.forget();
    let document = open(&world, &clone, REV_B).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
}

#[test]
fn mirror_outlives_a_collection_in_the_clone() {
    let (world, fake) = hosted(Kind::Github);
    world.git(&["push", "-q", "--force", "origin", "HEAD~2:refs/heads/trunk"]);
    let clone = checkout(&world, "clone", Fetch::All);
    // The mirror borrows this commit while a reference of the clone reaches it.
    let borrowed = world.git(&["rev-parse", "HEAD~1"]);
    world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
    let refspec = format!("{borrowed}:refs/remotes/origin/topic");
    git(&clone, &["fetch", "-q", "--no-tags", "origin", &refspec]);
    mirrored(&world, &fake);
    for _ in 0..2 {
        let document = open(&world, &clone, REV_B).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        git(&clone, &["update-ref", "-d", "refs/remotes/origin/topic"]);
        git(&clone, &["gc", "-q", "--prune=now"]);
    }
    let kept = git(
        &clone,
        &["cat-file", "--batch-check", "--batch-all-objects"],
    );
    assert!(!kept.contains(&borrowed));
}

#[test]
fn forge_is_enough_without_a_remote() {
    let (world, fake) = hosted(Kind::Github);
    let clone = checkout(&world, "clone", Fetch::All);
    git(&clone, &["remote", "remove", "origin"]);
    world.commit("chore: later");
    mirrored(&world, &fake);
    let document = open(&world, &clone, REV_B).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    open(&world, &clone, REV_C).exits(0);
    assert_eq!(fake.store().open_pulls().len(), 1);
}

#[test]
fn configured_branch_counts_at_the_forge() {
    let fake = Fake::start(Kind::Github);
    let world = rolled_back_with(&format!(
        "forge: {{ kind: github, url: '{}', repository: acme/flows, base: next }}\nprovenance: {{ branch: origin/trunk }}\n",
        fake.api()
    ));
    world.git(&["push", "-q", "--force", "origin", "HEAD~1:refs/heads/trunk"]);
    let clone = checkout(&world, "clone", Fetch::All);
    world.git(&["push", "-q", "origin", "HEAD:refs/heads/trunk"]);
    mirrored(&world, &fake);
    let files: Vec<_> = [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ]
    .map(|path| (path, world.read(path)))
    .into();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    fake.store().push("next", "as it is", &files);
    fake.store().borrow(world.root());
    let document = open(&world, &clone, REV_B).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    fake.store().refs.remove("trunk");
    let ran = open(&world, &clone, REV_B).exits(3);
    assert!(
        ran.stdout.contains("`provenance.branch` names"),
        "{}",
        ran.stdout
    );
}

#[test]
fn fork_on_the_forge_does_not_replace_the_configured_remote() {
    let fake = Fake::start(Kind::Github);
    fake.store().default_branch = "trunk";
    let world = rolled_back_with(&format!(
        "forge: {{ kind: github, url: '{}', repository: acme/flows }}\nprovenance: {{ branch: upstream/trunk }}\n",
        fake.api()
    ));
    let clone = checkout(&world, "clone", Fetch::All);
    git(&clone, &["remote", "rename", "origin", "upstream"]);
    git(&clone, &["remote", "add", "origin", "/nowhere/fork.git"]);
    // The fork lacks the rollback.
    world.git(&["checkout", "-q", "--detach", "HEAD~1"]);
    mirrored(&world, &fake);
    let document = world.run_in(&clone, &PROMOTE_B, &ENV).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
}

// Commits that cannot be read.

const BROKEN: &str = "version: 1\nfiles: 7\n";

/// A and B were promoted; then the configuration was broken, and mended later.
fn unreadable(meanwhile: impl FnOnce(&World)) -> (World, String) {
    let world = rolled_back();
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let commit = broken_and_repaired(&world, meanwhile);
    (world, commit)
}

/// Breaks the configuration and repairs it later; the commit that breaks it.
fn broken_and_repaired(world: &World, meanwhile: impl FnOnce(&World)) -> String {
    let config = world.read("repin.yaml");
    world.write("repin.yaml", BROKEN);
    let commit = world.commit("chore: break the configuration");
    meanwhile(world);
    world.write("repin.yaml", config);
    world.commit("fix: mend the configuration");
    world.git(&["push", "-q", "--force", "origin", "trunk"]);
    commit
}

#[test]
fn unreadable_commit_never_hides_a_rollback() {
    let (world, commit) = unreadable(|world| {
        // An operator goes back to A and, before anyone mends the configuration, C is promoted.
        world.pin(REV_A);
        world.commit("images: back to what worked");
        world.pin(REV_B);
        world.commit("images: again");
    });
    for revision in [REV_A, REV_B, REV_C] {
        let args = ["promote", "--revision", revision, "--format", "json"];
        let document = world.run(&args).exits(1).json();
        assert_eq!(failed(&document), ["rolled_back"], "{document}");
        let failures = details(&document, "rolled_back", "fail");
        let mut named = failures.iter();
        assert!(
            named.any(|detail| detail.contains(&commit) && detail.contains("repin.yaml:")),
            "{failures:?}"
        );
        // The mended commit returned from A to B.
        let is_held = failures
            .iter()
            .any(|detail| detail.contains("was rolled back"));
        assert_eq!(is_held, revision == REV_A, "{failures:?}");
        // The pass that ignores that commit is missing.
        assert_eq!(details(&document, "rolled_back", "pass").len(), 0);
        let refused = world.run(&["promote", "--revision", revision]).exits(1);
        assert!(
            refused.stderr.contains("git show ")
                && refused.stderr.contains("add --force-after-rollback"),
            "{}",
            refused.stderr
        );
        // The flag in the help is enough.
        let forced = [&args[..], &["--force-after-rollback"]].concat();
        let document = world.run(&forced).exits(0).json();
        let warned = details(&document, "rolled_back", "warn");
        assert!(
            warned[0].contains(&commit) && warned[0].contains("--force-after-rollback"),
            "{document}"
        );
    }
    let ran = world.run(&DOCTOR).exits(1);
    let (status, detail, _) = row(&ran, "shallow");
    assert!(
        status == "fail" && detail.contains(&commit),
        "{}",
        ran.stdout
    );
    // The hold is over after a newer set.
    set(&world, REV_C, &title(REV_C));
    world.run(&["promote", "--revision", REV_B]).exits(0);
    world.run(&DOCTOR).exits(0);
}

#[test]
fn previous_set_before_an_unreadable_commit_is_refused() {
    let (world, commit) = unreadable(|world| {
        world.pin(REV_A);
        world.commit("images: back to what worked");
        world.pin(REV_C);
        world.commit("images: the next build");
    });
    let previous = ["rollback", "--to", "previous"];
    let refused = world.run(&previous).exits(2);
    let unread = format!("cannot read commit {}", &commit[..10]);
    assert!(refused.stderr.contains(&unread), "{}", refused.stderr);
    assert!(refused.stderr.contains(REV_B), "{}", refused.stderr);
    let warned = world.run(&["rollback", "--to", REV_B]).exits(0);
    let warning = format!("warning[rolled_back]: {unread}");
    assert!(warned.stderr.contains(&warning), "{}", warned.stderr);
    // A later set ends the doubt.
    set(&world, REV_A, &title(REV_A));
    world.run(&previous).exits(0);
}

#[test]
fn later_set_resolves_an_unreadable_commit() {
    let (world, _) = unreadable(|_| {});
    world.run(&["promote", "--revision", REV_C]).exits(1);
    // A is no newer set: it was current before B.
    set(&world, REV_A, &title(REV_A));
    world.run(&["promote", "--revision", REV_C]).exits(0);
    world.run(&DOCTOR).exits(0);
    // The hold on B is known.
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let document = world.run(&promote).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
}

#[test]
fn set_revealed_by_the_repair_ends_no_doubt() {
    let (world, commit) = unreadable(|world| {
        world.pin(REV_A);
        world.commit("images: back to what worked");
    });
    let promote = ["promote", "--revision", REV_C, "--format", "json"];
    let document = world.run(&promote).exits(1).json();
    let detail = &details(&document, "rolled_back", "fail")[0];
    assert!(detail.contains(&commit), "{detail}");
}

#[test]
fn promotion_in_unreadable_commit_may_be_undone() {
    let (world, _) = unreadable(|world| {
        world.pin(REV_C);
        world.commit(&title(REV_C));
        world.pin(REV_B);
        world.commit("images: again");
    });
    set(&world, REV_A, &title(REV_A));
    let promote = ["promote", "--revision", REV_C, "--format", "json"];
    let document = world.run(&promote).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    let forced = [&promote[..], &["--force-after-rollback"]].concat();
    world.run(&forced).exits(0);
    // Once its promotion can be read, no flag is needed.
    set(&world, REV_C, &title(REV_C));
    world.run(&promote).exits(0);
}

#[test]
fn known_rollback_and_unreadable_commit_are_both_reported() {
    let world = rolled_back();
    let rollback = world.head();
    let commit = broken_and_repaired(&world, |_| {});
    let document = world.run(&PROMOTE_B).exits(1).json();
    let named = details(&document, "rolled_back", "fail");
    assert_eq!(named.len(), 2, "{document}");
    assert!(
        named[0].contains(&rollback[..10]) && named[1].contains(&commit),
        "{named:?}"
    );
}

#[test]
fn set_pinned_by_unreadable_commit_is_not_newer() {
    let (world, _) = unreadable(|world| {
        world.pin(REV_C);
        world.commit(&title(REV_C));
        world.pin(REV_A);
        world.commit(&format!("rollback: test images @{REV_A}"));
    });
    // C was current in an unreadable commit, so a manual commit of C ends no hold.
    set(&world, REV_C, "images: by hand");
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
}

#[test]
fn history_shows_a_commit_that_cannot_be_read() {
    let (world, commit) = unreadable(|_| {});
    let document = world.run(&["history", "--format", "json"]).exits(0).json();
    let entries = document["entries"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry["kind"].as_str().unwrap(),
                entry["images"] == serde_json::json!({}),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("manual", true),
            ("promote", false),
            ("promote", false),
            ("manual", false)
        ]
    );
    let entry = &entries[0];
    assert_eq!(entry["commit"], commit);
    assert_eq!(entry["subject"], "chore: break the configuration");
    assert!(entry["revision"].is_null(), "{entry}");
    assert_eq!(
        (&entry["current"], &entry["can_roll_back"]),
        (&false.into(), &false.into())
    );
    let ran = world.run(&["history"]).exits(0);
    assert!(ran.stdout.contains("unreadable"), "{}", ran.stdout);
    let why = format!(
        "commit {} is unknown: cannot read its configuration: repin.yaml:1:1:",
        &commit[..10]
    );
    assert!(ran.stderr.contains(&why), "{}", ran.stderr);
    let limited = world
        .run(&["history", "--limit", "1", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(limited["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn past_commit_uses_its_configuration_under_pr() {
    let (world, fake) = hosted(Kind::Github);
    let config = world.read("repin.yaml");
    world.write("repin.yaml", BROKEN);
    let commit = world.commit("chore: break the configuration");
    world.write("repin.yaml", config);
    world.commit("fix: mend the configuration");
    world.git(&["push", "-q", "origin", "trunk"]);
    mirrored(&world, &fake);
    let clone = checkout(&world, "clone", Fetch::All);
    let document = open(&world, &clone, REV_C).exits(1).json();
    assert_eq!(failed(&document), ["rolled_back"], "{document}");
    let detail = &details(&document, "rolled_back", "fail")[0];
    assert!(
        detail.contains(&commit) && detail.contains("repin.yaml:"),
        "{detail}"
    );
}

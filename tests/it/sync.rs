//! `branch sync` on real repositories: pushes, refusals, and unchanged files.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, Fault, Kind, TOKEN, error},
    hosted::{SERVERS, hosted, run},
    sweep::one_of,
    world::{Ran, World, git, world},
};

pub const SYNC: [&str; 6] = ["branch", "sync", "--from", "main", "--to", "staging"];

/// A world with a bare remote that has `main` and `staging`, both at the same commit.
pub fn repository() -> World {
    let world = world();
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "forge: { sync_targets: [staging] }\n",
    );
    let world = world.with_git();
    world.git(&["push", "-q", "origin", "main:staging"]);
    world
}

/// A commit on a branch of the remote, created in a separate clone.
fn elsewhere(world: &World, branch: &str, files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (clone, at) = (directory.path().join("clone"), world.path("origin.git"));
    let (clone, at) = (clone.to_str().unwrap(), at.to_str().unwrap());
    world.git(&["clone", "-q", "-b", branch, at, clone]);
    for (path, text) in files {
        fs::write(PathBuf::from(clone).join(path), text).unwrap();
    }
    world.git(&["-C", clone, "add", "-A"]);
    world.git(&["-C", clone, "commit", "-q", "-m", &format!("on {branch}")]);
    world.git(&["-C", clone, "push", "-q", "origin", branch]);
    world.git(&["-C", clone, "rev-parse", "HEAD"])
}

/// Every reference of the remote.
fn refs(world: &World) -> BTreeMap<String, String> {
    let listed = world.git(&[
        "--git-dir=origin.git",
        "for-each-ref",
        "--format=%(refname:short) %(objectname)",
    ]);
    listed
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect()
}

/// The clone without its objects and the remote-tracking branch of the push: files, index,
/// references, settings.
fn here(world: &World) -> BTreeMap<PathBuf, (String, u64, u32, i64)> {
    let mut files = world.snapshot();
    let known = [
        ".git/refs/remotes/origin/staging",
        ".git/logs/refs/remotes/origin/staging",
    ];
    let outside = [&["origin.git", ".git/objects"], &known[..]].concat();
    let outside: Vec<_> = outside.iter().map(|path| world.path(path)).collect();
    files.retain(|path, _| !outside.iter().any(|directory| path.starts_with(directory)));
    assert!(files.keys().any(|path| path.ends_with(".git/index")));
    files
}

fn apply(world: &World) -> Ran {
    world.run(&[&SYNC[..], &["--apply", "--format", "json"]].concat())
}

fn hook(world: &World, name: &str, script: &str) {
    let path = world.path(&format!("origin.git/hooks/{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn outdated_branch_is_fast_forwarded() {
    let world = repository();
    let document = apply(&world).exits(0).json();
    assert_eq!(
        (&document["state"], &document["commit"]),
        (&json!("in_sync"), &json!(refs(&world)["main"]))
    );
    assert_eq!(
        (&document["schema"], &document["action"]),
        (&json!("repin.branch/1"), &json!("sync"))
    );
    let new = elsewhere(&world, "main", &[("x", "1")]);
    world.git(&["tag", "here"]);
    let (before, there) = (here(&world), refs(&world));
    // A dry run reports the push without pushing.
    for forbid in [&[][..], &["--apply", "--dry-run", "true"]] {
        let document = world
            .run(&[&SYNC[..], forbid, &["--format", "json"]].concat())
            .exits(0)
            .json();
        assert_eq!(
            (&document["state"], &document["commit"]),
            (&json!("planned"), &json!(new))
        );
    }
    assert_eq!(refs(&world), there);
    let document = apply(&world).exits(0).json();
    assert_eq!(
        (&document["state"], &document["commit"]),
        (&json!("fast_forwarded"), &json!(new))
    );
    let mut expected = there;
    expected.insert("staging".to_owned(), new);
    assert_eq!(refs(&world), expected, "one branch, and no tag");
    assert_eq!(here(&world), before, "the clone is as it was");
    assert_eq!(apply(&world).exits(0).json()["state"], "in_sync");
    // The other way round there is nothing to bring.
    world.replace("repin.yaml", "[staging]", "[staging, main]");
    let back = [
        "branch", "sync", "--from", "staging", "--to", "main", "--apply",
    ];
    let ran = world.run(&back).exits(0);
    assert!(
        ran.stdout.contains("staging → main: in sync"),
        "{}",
        ran.stdout
    );
}

#[test]
fn diverged_branches_are_merged_outside_work_tree() {
    let world = repository();
    let main = elsewhere(&world, "main", &[("x", "1")]);
    let staging = elsewhere(&world, "staging", &[("y", "1")]);
    // Someone is in the middle of something here.
    world.write("x", "unfinished");
    world.write(".github/workflows/a.yml", "unfinished");
    world.git(&["add", "x"]);
    let before = here(&world);
    let document = world
        .run(&[&SYNC[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(
        (&document["state"], &document["commit"]),
        (&json!("planned"), &Value::Null)
    );
    let document = apply(&world).exits(0).json();
    assert_eq!(document["state"], "merged");
    let merge = refs(&world)["staging"].clone();
    assert_eq!(document["commit"], merge);
    let there = |args: &[&str]| world.git(&[&["--git-dir=origin.git"], args].concat());
    assert_eq!(
        there(&["log", "-1", "--format=%P", "staging"]),
        format!("{staging} {main}")
    );
    assert_eq!(
        there(&["log", "-1", "--format=%s|%an", "staging"]),
        "Merge branch 'main' into staging|repin"
    );
    assert_eq!(there(&["show", "staging:x", "staging:y"]), "11");
    assert_eq!(here(&world), before);
    // The author is the user of git's configuration.
    elsewhere(&world, "main", &[("x", "2")]);
    let env = [
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@x"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@x"),
    ];
    world
        .run_with(&[&SYNC[..], &["--apply"]].concat(), &env)
        .exits(0);
    assert_eq!(
        there(&["log", "-1", "--format=%an %ce", "staging"]),
        "Ada ada@x"
    );
}

#[test]
fn conflict_lists_files_and_pushes_nothing() {
    let world = repository();
    elsewhere(&world, "main", &[("x", "1"), ("y", "1"), ("z", "1")]);
    elsewhere(&world, "staging", &[("x", "2"), ("y", "2"), ("a", "2")]);
    let (before, there) = (here(&world), refs(&world));
    let ran = apply(&world).exits(1);
    assert_eq!(
        (&ran.json()["state"], &ran.json()["commit"]),
        (&json!("conflict"), &Value::Null)
    );
    assert!(
        ran.stderr.contains("conflict: x") && ran.stderr.contains("conflict: y"),
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("conflict: z") && !ran.stderr.contains("conflict: a"),
        "{}",
        ran.stderr
    );
    assert_eq!((here(&world), refs(&world)), (before, there));
    world.run(&SYNC).exits(1);
}

#[test]
fn unlisted_target_is_refused_before_fetching() {
    let world = repository();
    // A request to this remote would fail with another error.
    world.git(&["remote", "set-url", "origin", "./nowhere.git"]);
    for (from, to) in [
        ("staging", "main"),
        ("main", "refs/heads/staging"),
        ("main", "stagin"),
        ("main", "Staging"),
    ] {
        let args = [
            "branch", "sync", "--from", from, "--to", to, "--apply", "--format", "json",
        ];
        let document = world.run(&args).exits(2).json();
        assert!(
            document["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains("forge.sync_targets"),
            "{document}"
        );
    }
    for (from, to) in [
        ("main", "main"),
        ("-x", "staging"),
        ("main", "staging:main"),
        ("main", "+staging"),
    ] {
        let ran = world.run(&[
            "branch",
            "sync",
            &format!("--from={from}"),
            &format!("--to={to}"),
            "--apply",
        ]);
        assert_eq!(ran.code, 2, "{from} {to}: {}", ran.stderr);
    }
    let ran = apply(&world).exits(3);
    assert!(
        ran.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("ls-remote"),
        "{}",
        ran.stdout
    );
    world.replace("repin.yaml", "forge: {", "# forge: {");
    assert!(world.run(&SYNC).exits(2).stderr.contains("which is empty"));
}

/// With the token for the forge, neither git's credentials nor a whole clone are needed. Both branches change the same
/// file, so that the merge reads contents that were not fetched with the commits.
#[test]
fn token_merges_without_a_clone_and_from_a_shallow_one() {
    for kind in one_of(SERVERS) {
        let (world, fake) = hosted(kind, "sync_targets: [staging]");
        let text = |first: &str, last: &str| format!("{first}\n{}{last}\n", "-\n".repeat(9));
        let push = |branch: &str, text: &str| fake.store().push(branch, "x", &[("both", text)]);
        push("main", &text("a", "a"));
        push("staging", &text("a", "b"));
        push("main", &text("c", "a"));
        let before = fake.store().refs["staging"].clone();
        let planned = run(&world, &[&SYNC[..], &["--format", "json"]].concat()).exits(0);
        assert_eq!(planned.json()["state"], "planned", "{}", planned.stdout);
        assert_eq!(fake.store().refs["staging"], before);
        let apply = [&SYNC[..], &["--apply", "--format", "json"]].concat();
        let document = run(&world, &apply).exits(0).json();
        assert_eq!(document["state"], "merged", "{document}");
        assert_eq!(fake.store().content("staging", "both"), text("c", "b"));

        push("main", &text("d", "a"));
        world.git(&["init", "-q"]);
        for message in ["first", "second"] {
            world.git(&["add", "-A"]);
            world.git(&["commit", "-q", "--allow-empty", "-m", message]);
        }
        let url = format!("file://{}", world.root().display());
        world.git(&["clone", "-q", "--depth=1", &url, "shallow"]);
        let shallow = world.path("shallow");
        let env = [("REPIN_FORGE_TOKEN", TOKEN)];
        let references = git(&shallow, &["for-each-ref"]);
        let document = world.run_in(&shallow, &apply, &env).exits(0).json();
        assert_eq!(document["state"], "merged", "{document}");
        assert_eq!(fake.store().content("staging", "both"), text("d", "b"));
        assert_eq!(git(&shallow, &["for-each-ref"]), references);

        push("staging", &text("e", "b"));
        let document = run(&world, &apply).exits(0).json();
        assert_eq!(document["state"], "in_sync", "{document}");
        push("main", &text("f", "a"));
        let document = run(&world, &apply).exits(1).json();
        assert_eq!(document["state"], "conflict", "{document}");
        fake.store()
            .push("main", "other", &[("both", &text("d", "a")), ("other", "")]);
        let refused = Fault::Instead(error(403, "no"));
        fake.fault(("GET", "/info/refs?service=git-receive-pack"), 9, refused);
        let document = run(&world, &apply).exits(4).json();
        let hint = document["errors"][0]["hint"].as_str().unwrap();
        let start = "give the token for the forge `contents: write`";
        assert!(hint.starts_with(start), "{document}");
    }
}

/// A merge without a work tree has the result of one in a clone.
#[test]
fn merge_on_the_forge_follows_attributes_and_renames() {
    let apply = [&SYNC[..], &["--apply", "--format", "json"]].concat();
    let text = |first: &str, last: &str| format!("{first}\n{}{last}\n", "-\n".repeat(9));
    let (own, both) = (text("a", "b"), text("c", "b"));
    for (attributes, target, state, merged) in [
        ("f -merge\n", &own, "conflict", &own),
        ("", &own, "merged", &both),
        (
            "f merge=union\n",
            &text("d", "a"),
            "merged",
            &(String::from("d\n") + &text("c", "a")),
        ),
    ] {
        let (world, fake) = hosted(Kind::Github, "sync_targets: [staging]");
        let push = |branch: &str, path: &str, text: &str| {
            fake.store().push(branch, "x", &[(path, text)]);
        };
        push("main", ".gitattributes", attributes);
        push("main", "f", &text("a", "a"));
        push("staging", "f", target);
        push("main", "f", &text("c", "a"));
        let exit = i32::from(state == "conflict");
        let document = run(&world, &apply).exits(exit).json();
        assert_eq!(document["state"], state, "{attributes}: {document}");
        assert_eq!(
            &fake.store().content("staging", "f"),
            merged,
            "{attributes}"
        );
    }

    // The push reads the renamed content, which the merge took by its id.
    let (world, fake) = hosted(Kind::Github, "sync_targets: [staging]");
    fake.store().push("main", "x", &[("a/f", &text("a", "a"))]);
    fake.store()
        .push("staging", "x", &[("a/f", &text("a", "b"))]);
    fake.store().rename("main", "a/f", "b/f");
    let document = run(&world, &apply).exits(0).json();
    assert_eq!(document["state"], "merged", "{document}");
    assert_eq!(fake.store().content("staging", "b/f"), text("a", "b"));
}

#[test]
fn missing_branch_is_not_created() {
    let world = repository();
    world.replace("repin.yaml", "[staging]", "[staging, other]");
    let there = refs(&world);
    for (from, to) in [("main", "other"), ("other", "staging")] {
        let ran = world
            .run(&["branch", "sync", "--from", from, "--to", to, "--apply"])
            .exits(2);
        assert!(ran.stderr.contains("no branch `other`"), "{}", ran.stderr);
    }
    assert_eq!(refs(&world), there);
}

#[test]
fn refused_push_reports_the_missing_permission() {
    for (name, text, right) in [
        (
            "pre-receive",
            "GH006: Protected branch update failed",
            "contents: write",
        ),
        (
            "update",
            "GH006: Protected branch update failed",
            "contents: write",
        ),
        (
            "pre-receive",
            "GitLab: You are not allowed to push code to protected branches on this project.",
            "GitLab: write_repository",
        ),
    ] {
        let world = repository();
        elsewhere(&world, "main", &[("x", "1")]);
        hook(&world, name, &format!("echo '{text}' >&2; exit 1"));
        let there = refs(&world);
        let document = apply(&world).exits(4).json();
        let error = &document["errors"][0];
        assert_eq!(error["code"], "denied");
        let (message, hint) = (
            error["message"].as_str().unwrap(),
            error["hint"].as_str().unwrap(),
        );
        assert!(
            message.contains(text) && message.contains("declined"),
            "{name}: {message}"
        );
        assert!(hint.contains(right), "{hint}");
        assert_eq!(refs(&world), there);
    }
}

#[test]
fn refusals_of_a_push_have_their_remedy() {
    for (text, remedy) in [
        (
            "GH013: Repository rule violations found for refs/heads/staging.",
            "let their owner push to staging in its rule sets",
        ),
        ("no pushes on fridays", "a hook refuses pushes to staging"),
    ] {
        let world = repository();
        elsewhere(&world, "main", &[("x", "1")]);
        hook(&world, "pre-receive", &format!("echo '{text}' >&2; exit 1"));
        let there = refs(&world);
        let document = apply(&world).exits(1).json();
        let error = &document["errors"][0];
        assert!(error["message"].as_str().unwrap().contains(text), "{error}");
        assert!(error["hint"].as_str().unwrap().contains(remedy), "{error}");
        assert_eq!(refs(&world), there);
    }
}

/// The branch on the server decides after a lost answer.
#[test]
fn lost_answer_to_a_push_is_settled() {
    let apply = [&SYNC[..], &["--apply", "--format", "json"]].concat();
    for (fault, code, state) in [
        (Fault::Silence, 0, "fast_forwarded"),
        (Fault::Instead(error(502, "bad gateway")), 3, ""),
    ] {
        let (world, fake) = hosted(Kind::Github, "sync_targets: [staging]");
        fake.store().push("main", "x", &[("f", "1")]);
        let head = fake.store().refs["main"].clone();
        let branch = fake.store().refs["main"].clone();
        fake.store().refs.insert("staging".to_owned(), branch);
        fake.store().push("main", "x", &[("f", "2")]);
        fake.fault(("POST", "/git-receive-pack"), 1, fault);
        let document = run(&world, &apply).exits(code).json();
        let newest = fake.store().refs["main"].clone();
        if code == 0 {
            assert_eq!(document["state"], state, "{document}");
            assert_eq!(fake.store().refs["staging"], newest);
        } else {
            assert_eq!(fake.store().refs["staging"], head);
            let hint = document["errors"][0]["hint"].as_str().unwrap();
            assert_eq!(hint, "run the command again");
        }
    }
}

#[test]
fn rejected_credentials_are_denied() {
    for (status, says) in [(401, "could not read Username"), (403, "403")] {
        let world = repository();
        let server = fakes::server::Server::start(move |_| {
            Some(
                fakes::Reply::json(status, Value::Null)
                    .with("www-authenticate", "Basic realm=\"x\""),
            )
        });
        world.git(&[
            "remote",
            "set-url",
            "origin",
            &format!("{}/acme/flows.git", server.url()),
        ]);
        let document = apply(&world).exits(4).json();
        let error = &document["errors"][0];
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{document}"
        );
        assert!(
            error["hint"].as_str().unwrap().contains("contents: write"),
            "{document}"
        );
        // A password in the URL is not shown.
        let url = server.url().replace("//", "//ada:s3cret@");
        world.git(&[
            "remote",
            "set-url",
            "origin",
            &format!("{url}/acme/flows.git"),
        ]);
        let ran = apply(&world).exits(4);
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains("s3cret"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn faster_concurrent_run_loses_nothing() {
    let world = repository();
    elsewhere(&world, "main", &[("x", "1")]);
    let theirs = elsewhere(&world, "staging", &[("y", "1")]);
    let base = world.head();
    world.git(&[
        "--git-dir=origin.git",
        "update-ref",
        "refs/heads/staging",
        &base,
    ]);
    // During the check of the push, another push arrives.
    hook(
        &world,
        "pre-receive",
        &format!(
            "[ -e raced ] && exit 0; touch raced; env -u GIT_QUARANTINE_PATH git update-ref refs/heads/staging {theirs}"
        ),
    );
    assert_eq!(apply(&world).exits(0).json()["state"], "merged");
    let parents = world.git(&[
        "--git-dir=origin.git",
        "log",
        "-1",
        "--format=%P",
        "staging",
    ]);
    assert!(parents.starts_with(&theirs), "{parents}");
    assert!(world.path("origin.git/raced").exists());
}

#[test]
fn commit_pushed_before_the_push_is_not_lost() {
    let world = repository();
    elsewhere(&world, "main", &[("x", "1")]);
    let theirs = elsewhere(&world, "staging", &[("y", "1")]);
    let base = world.head();
    world.git(&[
        "--git-dir=origin.git",
        "update-ref",
        "refs/heads/staging",
        &base,
    ]);
    // A git before git, to be right in between.
    let (bin, git) = (
        tempfile::tempdir().unwrap(),
        String::from_utf8(which("git")).unwrap(),
    );
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" push \"*) [ -e {0}/raced ] || {{ touch {0}/raced; {1} --git-dir=origin.git update-ref refs/heads/staging {theirs}; }};; esac\nexec {1} \"$@\"\n",
        bin.path().display(),
        git.trim()
    );
    fs::write(bin.path().join("git"), script).unwrap();
    fs::set_permissions(bin.path().join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap()
    );
    let ran = world
        .run_with(
            &[&SYNC[..], &["--apply", "--format", "json"]].concat(),
            &[("PATH", &path)],
        )
        .exits(0);
    assert_eq!(ran.json()["state"], "merged");
    assert!(bin.path().join("raced").exists());
    let parents = world.git(&[
        "--git-dir=origin.git",
        "log",
        "-1",
        "--format=%P",
        "staging",
    ]);
    assert!(parents.starts_with(&theirs), "{parents}");
}

fn which(name: &str) -> Vec<u8> {
    std::process::Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap()
        .stdout
}

#[test]
fn settings_and_hooks_of_this_side_change_nothing() {
    let world = repository();
    let new = elsewhere(&world, "main", &[("x", "1")]);
    world.git(&["tag", "-a", "-m", "x", "v1"]);
    for (key, value) in [
        ("push.followTags", "true"),
        ("remote.origin.push", "refs/heads/*:refs/heads/*"),
        ("push.default", "matching"),
        ("fetch.prune", "true"),
        ("remote.origin.tagOpt", "--tags"),
        ("push.recurseSubmodules", "check"),
    ] {
        world.git(&["config", key, value]);
    }
    world.write(".git/hooks/pre-push", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(
        world.path(".git/hooks/pre-push"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let mut expected = refs(&world);
    apply(&world).exits(0);
    expected.insert("staging".to_owned(), new);
    assert_eq!(refs(&world), expected);
}

#[test]
fn shallow_clone_and_unrelated_histories_are_not_merged() {
    let world = repository();
    elsewhere(&world, "main", &[("x", "1")]);
    elsewhere(&world, "staging", &[("y", "1")]);
    let at = format!("file://{}", world.path("origin.git").display());
    let directory = tempfile::tempdir().unwrap();
    let clone = directory.path().join("clone");
    world.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        "--no-single-branch",
        &at,
        clone.to_str().unwrap(),
    ]);
    let ran = world
        .run_in(&clone, &[&SYNC[..], &["--apply"]].concat(), &[])
        .exits(3);
    assert!(
        ran.stderr.contains("git fetch --unshallow"),
        "{}",
        ran.stderr
    );

    world.git(&["checkout", "-q", "--orphan", "lonely"]);
    world.git(&["commit", "-q", "-m", "alone"]);
    world.git(&["push", "-q", "--force", "origin", "lonely:staging"]);
    let ran = world.run(&[&SYNC[..], &["--apply"]].concat()).exits(1);
    assert!(ran.stderr.contains("no commit in common"), "{}", ran.stderr);
}

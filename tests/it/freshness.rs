//! `freshness` on real repositories: stale pins, their reports, and the issue.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::support::{
    forge::{self as fakes, Fake, Fault, Kind, TOKEN, error, server::Server},
    hosted::FORGES,
    sweep::one_of,
    world::{Ran, World, world},
};

const DAY: u64 = 86_400;
const TITLE: &str = "Pinned configs are stale";

/// Another repository, and a world with a manifest that pins a commit of the repository.
struct Pinning {
    world: World,
    directory: tempfile::TempDir,
}

impl Pinning {
    /// Pinned at the first commit; `settings` besides name, pin and repository, a line each.
    fn new(settings: &str) -> Self {
        let pinning = Self {
            world: world(),
            directory: tempfile::tempdir().unwrap(),
        };
        pinning.git(0, &["init", "-q", "--bare", "-b", "main", "../other.git"]);
        pinning.git(
            0,
            &[
                "config",
                "--file",
                "../other.git/config",
                "uploadpack.allowFilter",
                "true",
            ],
        );
        pinning.git(0, &["init", "-q", "-b", "main"]);
        let first = pinning.commit(
            0,
            &[
                ("CLAUDE.md", "1"),
                ("agents/ops.md", "1"),
                ("other.md", "1"),
            ],
        );
        pinning.entry(settings);
        pinning.pin(&first);
        pinning
    }

    fn other(&self) -> PathBuf {
        self.directory.path().join("other.git")
    }

    fn work(&self) -> PathBuf {
        let path = self.directory.path().join("work");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs git in the other repository's work tree, with the date of commits.
    fn git(&self, day: u64, args: &[&str]) -> String {
        let date = format!("{} +0000", 1_700_000_000 + day * DAY);
        let mut git = Command::new("git");
        git.current_dir(self.work())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        git.env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date);
        let output = git
            .args(["-c", "user.name=A", "-c", "user.email=a@b"])
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// A commit on a day, pushed by force.
    fn commit(&self, day: u64, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(day, &["add", "-A"]);
        self.git(day, &["commit", "-q", "--allow-empty", "-m", "work"]);
        self.git(day, &["push", "-q", "--force", "../other.git", "HEAD:main"]);
        self.git(day, &["rev-parse", "HEAD"])
    }

    fn entry(&self, settings: &str) {
        let entry = format!(
            "freshness:\n  - name: configs\n    pinned: {{ file: runtime/manifest.yaml, pointer: /sources/private/ref }}\n    repository: '{}'\n",
            self.other().display()
        );
        let lines = settings
            .lines()
            .fold(String::new(), |all, line| all + "    " + line + "\n");
        self.world.write(
            "repin.yaml",
            self.world.read("repin.yaml") + &entry + &lines,
        );
    }

    fn pin(&self, reference: &str) {
        let text = format!(
            "sources:\n  private:\n    ref: '{reference}'\nshared:\n  agents: [ops, code-writer]\n  none: []\n"
        );
        self.world.write("runtime/manifest.yaml", text);
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.world.run_with(
            &[&["freshness"], args].concat(),
            &[("REPIN_FORGE_TOKEN", TOKEN)],
        )
    }

    /// The first entry of the document.
    fn entry_of(&self, args: &[&str], exit: i32) -> Value {
        let document = self
            .run(&[args, &["--format", "json"]].concat())
            .exits(exit)
            .json();
        assert_eq!(document["schema"], "repin.freshness/1");
        document["entries"][0].clone()
    }
}

/// The same with an issue, on a forge.
fn hosted(kind: Kind) -> (Pinning, Fake) {
    let (pinning, fake) = (
        Pinning::new(&format!("issue: {{ title: '{TITLE}', labels: [ci] }}")),
        Fake::start(kind),
    );
    let forge = kind.name();
    let block = format!(
        "forge: {{ kind: {forge}, url: '{}', repository: acme/flows }}\n",
        fake.api()
    );
    pinning
        .world
        .write("repin.yaml", pinning.world.read("repin.yaml") + &block);
    (pinning, fake)
}

#[test]
fn reference_is_stale_after_its_gap() {
    let pinning = Pinning::new("max_gap: 14d");
    let entry = pinning.entry_of(&[], 0);
    let mut keys: Vec<_> = entry
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "commits", "gap_days", "head", "issue", "name", "pinned", "reason", "state"
        ]
    );
    assert_eq!(
        (&entry["state"], &entry["commits"], &entry["gap_days"]),
        (&json!("fresh"), &json!(0), &json!(0))
    );
    pinning.commit(9, &[("CLAUDE.md", "2")]);
    let entry = pinning.entry_of(&[], 0);
    assert_eq!(
        (&entry["state"], &entry["commits"], &entry["gap_days"]),
        (&json!("fresh"), &json!(1), &json!(9))
    );
    let head = pinning.commit(15, &[("CLAUDE.md", "3")]);
    let entry = pinning.entry_of(&[], 1);
    assert_eq!(
        (&entry["state"], &entry["commits"], &entry["gap_days"]),
        (&json!("stale"), &json!(2), &json!(15))
    );
    assert_eq!(
        (&entry["head"], &entry["name"]),
        (&json!(head), &json!("configs"))
    );
    assert!(
        entry["issue"].is_null()
            && entry["reason"]
                .as_str()
                .unwrap()
                .contains("2 commits in 15 days"),
        "{entry}"
    );
    pinning.pin(&head);
    assert_eq!(pinning.entry_of(&[], 0)["state"], "fresh");
}

#[test]
fn only_commits_to_its_paths_count() {
    let pinning = Pinning::new(
        "paths: ['*.md', CLAUDE.md]\npaths_from: [{ file: runtime/manifest.yaml, pointer: /shared/agents, path: 'agents/{}.md' }]",
    );
    // `*.md` is a file's name here, and no pattern.
    pinning.commit(90, &[("other.md", "2")]);
    let entry = pinning.entry_of(&[], 0);
    assert_eq!(
        (&entry["state"], &entry["commits"], &entry["gap_days"]),
        (&json!("fresh"), &json!(0), &json!(90))
    );
    pinning.commit(91, &[("agents/code-writer.md", "1")]);
    assert_eq!(pinning.entry_of(&[], 1)["commits"], 1);
    pinning.commit(92, &[("CLAUDE.md", "2")]);
    assert_eq!(pinning.entry_of(&[], 1)["commits"], 2);
}

#[test]
fn lists_of_every_overlay_count() {
    let pinning = Pinning::new(
        "paths_from: [{ file: overlays.yaml, pointer: '/overlays/*/agents', path: 'agents/{}.md' }]",
    );
    let overlays = |text: &str| pinning.world.write("overlays.yaml", text);
    for agent in ["one", "two", "three", "four"] {
        pinning.commit(20, &[(&format!("agents/{agent}.md"), "1")]);
    }
    for (text, commits) in [
        // A mapping and a list of overlays, without the list, with none, and with a single name.
        (
            "overlays: { a: { agents: [one, two] }, b: {}, c: { agents: }, d: { agents: three } }\n",
            3,
        ),
        ("overlays: [{ agents: [one] }, { agents: [] }]\n", 1),
        (
            "overlays: [{ agents: [one] }, { agents: [two, four] }]\n",
            2 + 1,
        ),
        (r#"{"overlays": {"a": {"agents": "four"}}}"#, 1),
    ] {
        overlays(text);
        assert_eq!(pinning.entry_of(&[], 1)["commits"], commits, "{text}");
    }
    for (text, expected) in [
        (
            "overlays: { a: {}, b: {} }\n",
            "no value at `/overlays/*/agents`",
        ),
        ("overlays: {}\n", "no value at `/overlays/*/agents`"),
        (
            "overlays: { a: { agents: [] }, b: { agents: } }\n",
            "lists of paths are empty",
        ),
        (
            "overlays: { a: { agents: [one] }, b: { agents: { x: y } } }\n",
            "expected a list or a name",
        ),
        (
            "overlays: { a: { agents: [one] }, b: { agents: [../x] } }\n",
            "part of a path",
        ),
    ] {
        overlays(text);
        let ran = pinning.run(&[]).exits(2);
        assert!(ran.stderr.contains(expected), "{text}: {}", ran.stderr);
    }
}

#[test]
fn references_of_one_pointer_are_equal() {
    let pinning = Pinning::new("max_gap: 1d");
    pinning
        .world
        .replace("repin.yaml", "/sources/private/ref", "'/sources/*/ref'");
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    let write = |other: &str| {
        let text = format!("sources: {{ a: {{ ref: '{first}' }}, b: {{ ref: '{other}' }} }}\n");
        pinning.world.write("runtime/manifest.yaml", text);
    };
    write(&first);
    assert_eq!(pinning.entry_of(&[], 0)["pinned"], first);
    write("main");
    let ran = pinning.run(&[]).exits(2);
    assert!(
        ran.stderr.contains("another reference than"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("manifest.yaml:1:"), "{}", ran.stderr);
}

#[test]
fn freshness_needs_no_images() {
    let pinning = Pinning::new("max_gap: 1d");
    let text = pinning.world.read("repin.yaml");
    let (_, entry) = text.split_once("freshness:").unwrap();
    let alone = format!("version: 1\nfreshness:{entry}");
    pinning.world.write("repin.yaml", alone);
    pinning.commit(5, &[("CLAUDE.md", "2")]);
    assert_eq!(pinning.entry_of(&[], 1)["state"], "stale");
}

#[test]
fn a_head_older_than_the_pin_warns() {
    let pinning = Pinning::new("max_gap: 1d");
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    let later = pinning.commit(40, &[("CLAUDE.md", "2")]);
    pinning.pin(&later);
    // Someone forces the branch back, and on another way.
    pinning.git(0, &["reset", "-q", "--hard", &first]);
    let head = pinning.commit(10, &[("CLAUDE.md", "3")]);
    let ran = pinning.run(&["--format", "json"]).exits(0);
    let entry = &ran.json()["entries"][0];
    assert_eq!(
        (&entry["state"], &entry["gap_days"], &entry["commits"]),
        (&json!("ahead"), &json!(-30), &json!(1))
    );
    assert_eq!(
        (&entry["pinned"], &entry["head"]),
        (&json!(later), &json!(head))
    );
    assert!(
        ran.stderr
            .contains("warning: configs: the branch's head is 30 days older"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rewritten_history_is_compared() {
    let pinning = Pinning::new("paths: [CLAUDE.md]");
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    let pinned = pinning.commit(1, &[("CLAUDE.md", "2")]);
    pinning.pin(&pinned);
    pinning.git(0, &["reset", "-q", "--hard", &first]);
    pinning.commit(30, &[("CLAUDE.md", "3"), ("x", "y")]);
    // No branch contains the commit, but the object still exists.
    let entry = pinning.entry_of(&[], 1);
    assert_eq!(
        (&entry["pinned"], &entry["commits"], &entry["gap_days"]),
        (&json!(pinned), &json!(1), &json!(29))
    );
    // The object was deleted.
    let other = pinning.other();
    pinning.git(
        0,
        &[
            "--git-dir",
            other.to_str().unwrap(),
            "gc",
            "-q",
            "--prune=now",
        ],
    );
    let entry = pinning.entry_of(&[], 1);
    assert_eq!(
        (&entry["state"], &entry["commits"], &entry["gap_days"]),
        (&json!("stale"), &Value::Null, &Value::Null)
    );
    assert!(
        entry["reason"].as_str().unwrap().contains("rewritten"),
        "{entry}"
    );
}

#[test]
fn tags_branches_and_short_names_are_references_too() {
    let pinning = Pinning::new("max_gap: 1d");
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    pinning.git(0, &["tag", "-a", "-m", "x", "v1"]);
    pinning.git(0, &["push", "-q", "../other.git", "v1", "HEAD:release/one"]);
    pinning.commit(5, &[("CLAUDE.md", "2")]);
    for name in ["v1", "release/one", &first[..10], &first] {
        pinning.pin(name);
        let entry = pinning.entry_of(&[], 1);
        assert_eq!(
            (&entry["pinned"], &entry["commits"]),
            (&json!(first), &json!(1)),
            "{name}"
        );
    }
    pinning.pin("v9");
    let entry = pinning.entry_of(&[], 1);
    assert_eq!(
        (&entry["pinned"], &entry["state"]),
        (&json!("v9"), &json!("stale"))
    );
}

#[test]
fn unreadable_reference_is_reported_with_its_location() {
    for (settings, manifest, expected) in [
        ("", "sources: {}\n", "no value at `/sources/private/ref`"),
        (
            "",
            "sources: { private: { ref: [a] } }\n",
            "manifest.yaml:1:",
        ),
        (
            "",
            "sources: { private: { ref: '--upload-pack=x' } }\n",
            "not a reference of a repository",
        ),
        (
            "",
            "sources: { private: { ref: '../x y' } }\n",
            "not a reference of a repository",
        ),
        (
            "",
            "sources: { private: { ref: } }\n",
            "not a reference of a repository",
        ),
        ("", "a: 1\na: 2\n", "duplicate"),
        ("", "", "the file is empty"),
        ("branch: nowhere", "", ""),
        (
            "paths_from: [{ file: runtime/manifest.yaml, pointer: /shared/none, path: '{}' }]",
            "",
            "lists of paths are empty",
        ),
        (
            "paths_from: [{ file: runtime/manifest.yaml, pointer: /shared, path: '{}' }]",
            "",
            "expected a list",
        ),
    ] {
        let pinning = Pinning::new(settings);
        if !manifest.is_empty() || expected == "the file is empty" {
            pinning.world.write("runtime/manifest.yaml", manifest);
        }
        let ran = pinning.run(&["--format", "json"]).exits(2);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        let entry = &ran.json()["entries"][0];
        assert!(
            entry["state"].is_null() && entry["reason"].is_string(),
            "{entry}"
        );
    }
    let pinning = Pinning::new(
        "paths_from: [{ file: runtime/manifest.yaml, pointer: /shared/agents, path: 'a/{}' }]",
    );
    pinning
        .world
        .replace("runtime/manifest.yaml", "ops", "../../x");
    assert!(
        pinning
            .run(&[])
            .exits(2)
            .stderr
            .contains("expected a name that can be part of a path")
    );
    assert!(
        world()
            .run(&["freshness"])
            .exits(2)
            .stderr
            .contains("no `freshness`")
    );
}

#[test]
fn unavailable_repository_hides_no_other() {
    let pinning = Pinning::new("max_gap: 1d");
    pinning.commit(5, &[("CLAUDE.md", "2")]);
    let more = "  - name: lost\n    pinned: { file: runtime/manifest.yaml, pointer: /sources/private/ref }\n    repository: ./nowhere.git\n";
    let text = pinning
        .world
        .read("repin.yaml")
        .replace("freshness:\n", &format!("freshness:\n{more}"));
    pinning.world.write("repin.yaml", text);
    let ran = pinning.run(&["--format", "json"]).exits(1);
    let document = ran.json();
    assert!(
        document["entries"][0]["state"].is_null() && document["entries"][1]["state"] == "stale",
        "{document}"
    );
    assert!(
        ran.stderr.contains("freshness: lost: not checked")
            && ran.stderr.contains("freshness: configs: stale"),
        "{}",
        ran.stderr
    );
    pinning
        .world
        .replace("repin.yaml", "max_gap: 1d", "max_gap: 9d");
    pinning.run(&[]).exits(3);
}

#[test]
fn commits_and_trees_come_and_contents_do_not() {
    let pinning = Pinning::new("paths: [CLAUDE.md]");
    pinning.commit(20, &[("CLAUDE.md", "2")]);
    // The other side's record of the requests.
    let (log, script) = (
        pinning.directory.path().join("log"),
        pinning.directory.path().join("hook"),
    );
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$@\" >> {}\nexec \"$@\"\n", log.display()),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let config = pinning.directory.path().join("config");
    fs::write(
        &config,
        format!("[uploadpack]\n\tpackObjectsHook = {}\n", script.display()),
    )
    .unwrap();
    let scratch = pinning.directory.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let env = [
        ("GIT_CONFIG_GLOBAL", config.to_str().unwrap()),
        ("TMPDIR", scratch.to_str().unwrap()),
    ];
    pinning.world.run_with(&["freshness"], &env).exits(1);
    let packs = fs::read_to_string(log).unwrap();
    assert!(
        packs.lines().count() == 1 && packs.contains("--filter=blob:none"),
        "{packs}"
    );
    assert_eq!(
        fs::read_dir(scratch).unwrap().count(),
        0,
        "no temporary file remains"
    );
}

#[test]
fn server_that_sends_all_objects_is_accepted() {
    let pinning = Pinning::new("paths: [CLAUDE.md]");
    pinning.git(
        0,
        &[
            "config",
            "--file",
            "../other.git/config",
            "uploadpack.allowFilter",
            "false",
        ],
    );
    pinning.commit(20, &[("CLAUDE.md", "2")]);
    assert_eq!(pinning.entry_of(&[], 1)["commits"], 1);
}

#[test]
fn missing_token_is_denied_or_skipped() {
    let pinning = Pinning::new("token_env: CONFIGS_TOKEN");
    let ran = pinning.run(&["--format", "json"]).exits(4);
    assert!(
        ran.stderr.contains("CONFIGS_TOKEN is not set"),
        "{}",
        ran.stderr
    );
    let entry = pinning.entry_of(&["--if-unconfigured", "skip"], 0);
    assert_eq!(entry["state"], "skipped");
    assert!(
        entry["reason"]
            .as_str()
            .unwrap()
            .contains("CONFIGS_TOKEN is not set"),
        "{entry}"
    );
    let ran = pinning.run(&["--if-unconfigured", "skip"]).exits(0);
    assert!(
        ran.stderr.contains("freshness: configs: skipped") && ran.stdout.contains("skipped"),
        "{}",
        ran.stderr
    );
    for (value, exit) in [("t0ken", 0), ("two words", 2)] {
        pinning
            .world
            .run_with(&["freshness"], &[("CONFIGS_TOKEN", value)])
            .exits(exit);
    }
}

/// A server that responds to every request with a status, and the authorization headers of the
/// requests.
fn answering(status: u16, location: &str) -> (Server, Arc<Mutex<Vec<Option<String>>>>) {
    let (seen, location) = (Arc::new(Mutex::new(Vec::new())), location.to_owned());
    let log = Arc::clone(&seen);
    let server = Server::start(move |asked| {
        log.lock()
            .unwrap()
            .push(asked.header("authorization").map(str::to_owned));
        Some(
            fakes::Reply::json(status, Value::Null)
                .with("location", &format!("{location}{}", asked.path)),
        )
    });
    (server, seen)
}

#[test]
fn token_is_sent_only_to_its_server() {
    let pinning = Pinning::new("token_env: CONFIGS_TOKEN");
    let (elsewhere, unseen) = answering(403, "");
    for (status, exit) in [(401, 4), (403, 4), (302, 3), (500, 3)] {
        let (server, seen) = answering(status, &elsewhere.url());
        let text = pinning.world.read("repin.yaml");
        let url = format!("{}/acme/configs.git", server.url());
        pinning
            .world
            .replace("repin.yaml", pinning.other().to_str().unwrap(), &url);
        let env = [
            ("CONFIGS_TOKEN", "s3cret"),
            ("GIT_TRACE_CURL", "1"),
            ("GIT_TRACE_REDACT", "0"),
        ];
        let ran = pinning.world.run_with(&["freshness"], &env).exits(exit);
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains("s3cret"),
            "{}",
            ran.stderr
        );
        assert!(
            !ran.stderr.contains("eC1hY2Nlc3MtdG9rZW46czNjcmV0"),
            "{}",
            ran.stderr
        );
        let sent = seen.lock().unwrap()[0].clone();
        assert_eq!(
            sent.as_deref(),
            Some("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"),
            "{status}"
        );
        if exit == 4 {
            let ran = pinning
                .world
                .run_with(
                    &["freshness", "--if-unconfigured", "skip", "--format", "json"],
                    &env,
                )
                .exits(0);
            assert_eq!(ran.json()["entries"][0]["state"], "skipped");
        }
        pinning.world.write("repin.yaml", text);
    }
    assert!(
        unseen.lock().unwrap().is_empty(),
        "no redirect was followed"
    );
    pinning.world.replace(
        "repin.yaml",
        pinning.other().to_str().unwrap(),
        "http://git.example/configs.git",
    );
    let ran = pinning
        .world
        .run_with(&["freshness"], &[("CONFIGS_TOKEN", "s3cret")])
        .exits(2);
    assert!(
        ran.stderr.contains("not sent over plain HTTP"),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_finished_run_reports_its_result() {
    let pinning = Pinning::new("max_gap: 14d");
    let summary = pinning.directory.path().join("summary");
    for (format, quiet) in [("human", "-v"), ("json", "-q"), ("github", "-q")] {
        let _ = fs::remove_file(&summary);
        let env = [
            ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
            ("TZ", "CET-1"),
        ];
        let ran = pinning
            .world
            .run_with(&["freshness", "--format", format, quiet], &env)
            .exits(0);
        let written = fs::read_to_string(&summary).unwrap();
        // The page is the same for every reader.
        for (text, zone) in [(&ran.stderr, "+01:00\n"), (&written, "Z\n")] {
            assert!(text.contains("configs: fresh"), "{text}");
            let (_, time) = text.split_once("; checked 20").unwrap();
            assert!(time.contains(zone), "{text}");
        }
    }
    pinning.commit(50, &[("x", "y")]);
    let ran = pinning.run(&["--format", "github"]).exits(1);
    assert!(
        ran.stdout
            .contains("::error title=freshness::configs: stale"),
        "{}",
        ran.stdout
    );
}

#[test]
fn one_issue_is_opened_updated_and_closed() {
    for kind in one_of(FORGES) {
        let (pinning, fake) = hosted(kind);
        // A closed issue with the title, other issues with similar titles, and multiple pages.
        for at in 0..130 {
            fake.store().make_issue(&format!("other {at}"), "");
        }
        fake.store().make_issue(TITLE, "an old one");
        let old = fake.store().issues.last().unwrap().number;
        fake.store().edit_issue(old, &json!({"state": "closed"}));
        fake.store()
            .make_issue(&format!("{TITLE}!"), "another title");
        fake.store()
            .make_issue(&TITLE.to_lowercase(), "another case");
        let before = fake.store().open_issues().len();
        // Fresh: no issue exists, and no issue is created.
        assert_eq!(pinning.entry_of(&["--apply"], 0)["issue"], Value::Null);
        let head = pinning.commit(20, &[("CLAUDE.md", "@team 2")]);
        fake.forget();
        assert_eq!(pinning.entry_of(&[], 1)["issue"], Value::Null, "{kind:?}");
        assert_eq!(
            pinning.entry_of(&["--apply", "--dry-run", "true"], 1)["state"],
            "stale"
        );
        assert_eq!(
            fake.asked(),
            [] as [String; 0],
            "a dry run sends no request"
        );

        let entry = pinning.entry_of(&["--apply"], 0);
        assert_eq!(
            (&entry["state"], &entry["issue"]["state"]),
            (&json!("stale"), &json!("created")),
            "{entry}"
        );
        let number = entry["issue"]["number"].as_u64().unwrap();
        assert!(
            number > old && fake.store().open_issues().len() == before + 1,
            "a closed issue is not reused"
        );
        let issue = fake.store().issues.last().unwrap().clone();
        assert_eq!(
            (issue.number, issue.title.as_str(), issue.labels.clone()),
            (number, TITLE, vec!["ci".to_owned()])
        );
        assert!(
            issue.body.contains(&head) && issue.body.contains("last checked: "),
            "{}",
            issue.body
        );

        // Text that users write into the issue stays.
        fake.store().edit_issue(
            number,
            &json!({"body": format!("I'm on it\n\n{}", issue.body)}),
        );
        let head = pinning.commit(21, &[("CLAUDE.md", "3")]);
        let entry = pinning.entry_of(&["--apply"], 0);
        assert_eq!(
            (&entry["issue"]["number"], &entry["issue"]["state"]),
            (&json!(number), &json!("updated"))
        );
        let body = fake.store().issues.last().unwrap().body.clone();
        assert!(
            body.starts_with("I'm on it\n") && body.contains(&head),
            "{body}"
        );
        assert_eq!(body.matches("last checked").count(), 1, "{body}");

        pinning.pin(&head);
        let entry = pinning.entry_of(&["--apply"], 0);
        assert_eq!(
            (&entry["state"], &entry["issue"]["state"]),
            (&json!("fresh"), &json!("closed")),
            "{kind:?}"
        );
        assert_eq!(fake.store().open_issues().len(), before);
        assert_eq!(pinning.entry_of(&["--apply"], 0)["issue"], Value::Null);
    }
}

#[test]
fn issue_lists_commits_paths_and_steps() {
    let (pinning, fake) = hosted(Kind::Github);
    let text = pinning.world.read("repin.yaml");
    let text = text.replace("    issue:", "    paths: [CLAUDE.md, agents]\n    issue:");
    pinning.world.write("repin.yaml", text);
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let subject = format!("end <!-- /repin --> @team [x](http://y) {secret}");
    fs::write(pinning.work().join("CLAUDE.md"), "2").unwrap();
    pinning.git(3, &["commit", "-q", "-a", "-m", &subject]);
    pinning.commit(4, &[("elsewhere.md", "1")]);
    for number in 0..50 {
        fs::create_dir_all(pinning.work().join("agents")).unwrap();
        fs::write(pinning.work().join(format!("agents/{number}.md")), "1").unwrap();
        pinning.git(20, &["add", "-A"]);
        pinning.git(20, &["commit", "-q", "-m", "work"]);
    }
    pinning.commit(20, &[("agents/50.md", "1")]);
    let head = pinning.git(0, &["rev-parse", "HEAD"]);
    assert_eq!(
        pinning.entry_of(&["--apply"], 0)["issue"]["state"],
        "created"
    );
    let body = fake.store().issues.last().unwrap().body.clone();
    let row =
        format!("| configs | stale | {first} of 2023-11-14 | {head} of 2023-12-04 | 20 | 52 |");
    for part in [
        &*row,
        "52 commits in 20 days, at most 14 days allowed.",
        "\n- work\n",
        "\n- … and 2 more\n",
        "\nChanged paths:\n\n- CLAUDE.md\n- agents/0.md\n",
        "2. Set /sources/private/ref in runtime/manifest.yaml to ",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("elsewhere.md"), "{body}");
    assert_eq!(body.matches("- work\n").count(), 50, "{body}");

    // Fewer commits: the foreign subject is listed, without markup and without the secret.
    pinning.git(0, &["reset", "-q", "--hard", "HEAD~52"]);
    let pushed = pinning.commit(22, &[("agents/new.md", "1")]);
    assert_eq!(
        pinning.entry_of(&["--apply"], 0)["issue"]["state"],
        "updated"
    );
    let body = fake.store().issues.last().unwrap().body.clone();
    assert!(body.contains(&pushed), "{body}");
    assert!(
        body.contains("\\<\\!-- /repin --\\>") && !body.contains("a1B2"),
        "{body}"
    );
    assert!(
        !body.contains("@team") && !body.contains("[x](http"),
        "{body}"
    );
    for once in ["<!-- /repin -->", "last checked: ", "### configs"] {
        assert_eq!(body.matches(once).count(), 1, "{once}: {body}");
    }
}

#[test]
fn entries_with_one_title_share_an_issue() {
    let (pinning, fake) = hosted(Kind::Gitea);
    let other = format!(
        "  - name: other\n    pinned: {{ file: other.yaml, pointer: /ref }}\n    repository: '{}'\n    issue: {{ title: '{TITLE}' }}\n",
        pinning.other().display()
    );
    let text = pinning.world.read("repin.yaml");
    let text = text.replace("freshness:\n", &format!("freshness:\n{other}"));
    pinning.world.write("repin.yaml", text);
    let pin_other = |reference: &str| {
        pinning
            .world
            .write("other.yaml", format!("ref: {reference}\n"));
    };
    let first = pinning.git(0, &["rev-parse", "HEAD"]);
    let head = pinning.commit(30, &[("CLAUDE.md", "2")]);
    pin_other(&head);
    let states = |exit: i32| {
        let document = pinning
            .run(&["--apply", "--format", "json"])
            .exits(exit)
            .json();
        let entries = document["entries"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["state"], entry["issue"]["state"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(0), [r#""fresh" "created""#, r#""stale" "created""#]);
    let body = fake.store().issues.last().unwrap().body.clone();
    assert!(
        body.contains("| other | fresh | ") && body.contains("| configs | stale | "),
        "{body}"
    );
    assert!(
        body.contains("### configs") && !body.contains("### other"),
        "{body}"
    );
    assert_eq!(fake.store().open_issues().len(), 1);
    // Another entry becomes stale, and then the first one is fresh.
    pin_other(&first);
    pinning.pin(&head);
    assert_eq!(states(0), [r#""stale" "updated""#, r#""fresh" "updated""#]);
    // An entry that cannot be checked does not close the issue.
    pin_other("'--x'");
    assert_eq!(states(2), [r#"null "updated""#, r#""fresh" "updated""#]);
    assert_eq!(fake.store().open_issues().len(), 1);
    pin_other(&head);
    assert_eq!(states(0), [r#""fresh" "closed""#, r#""fresh" "closed""#]);
    assert_eq!(fake.store().open_issues().len(), 0);
}

#[test]
fn older_head_does_not_change_the_issue() {
    for kind in FORGES {
        let (pinning, fake) = hosted(kind);
        let first = pinning.git(0, &["rev-parse", "HEAD"]);
        let later = pinning.commit(40, &[("CLAUDE.md", "2")]);
        let entry = pinning.entry_of(&["--apply"], 0);
        assert_eq!(entry["issue"]["state"], "created");
        pinning.pin(&later);
        pinning.git(
            0,
            &[
                "push",
                "-q",
                "--force",
                "../other.git",
                &format!("{first}:main"),
            ],
        );
        let entry = pinning.entry_of(&["--apply"], 0);
        assert_eq!(
            (&entry["state"], &entry["issue"]["state"]),
            (&json!("ahead"), &json!("updated")),
            "{kind:?}"
        );
        let number = entry["issue"]["number"].as_u64().unwrap();
        fake.store().edit_issue(number, &json!({"state": "closed"}));
        assert_eq!(pinning.entry_of(&["--apply"], 0)["issue"], Value::Null);
    }
}

#[test]
fn rehearsal_opens_an_issue_until_the_next_run() {
    for kind in FORGES {
        let (pinning, fake) = hosted(kind);
        let entry = pinning.entry_of(&["--simulate-stale", "true"], 1);
        assert_eq!(
            (&entry["state"], &entry["commits"]),
            (&json!("stale"), &json!(0))
        );
        assert!(
            entry["reason"].as_str().unwrap().contains("simulated"),
            "{entry}"
        );
        assert_eq!(fake.asked(), [] as [String; 0]);
        let entry = pinning.entry_of(&["--simulate-stale", "true", "--apply"], 0);
        assert_eq!(entry["issue"]["state"], "created", "{kind:?}");
        assert!(fake.store().issues[0].body.contains("simulated"));
        // An input that was left empty pretends nothing.
        assert_eq!(
            pinning.entry_of(&["--simulate-stale="], 0)["state"],
            "fresh"
        );
        let entry = pinning.entry_of(&["--simulate-stale", "false", "--apply"], 0);
        assert_eq!(
            (&entry["state"], &entry["issue"]["state"]),
            (&json!("fresh"), &json!("closed"))
        );
        pinning.run(&["--simulate-stale", "yes"]).exits(2);
    }
}

#[test]
fn missing_forge_permission_is_denied_or_skipped() {
    for kind in FORGES {
        let (pinning, fake) = hosted(kind);
        let apply = ["freshness", "--apply", "--format", "json"];
        let skip = [&apply[..], &["--if-unconfigured", "skip"]].concat();
        assert_eq!(
            pinning.world.run(&apply).exits(4).json()["errors"][0]["code"],
            "denied"
        );
        // Fresh needs none.
        assert_eq!(
            pinning.world.run(&skip).exits(0).json()["entries"][0]["state"],
            "fresh"
        );
        pinning.commit(20, &[("CLAUDE.md", "2")]);
        let entry = pinning.world.run(&skip).exits(0).json()["entries"][0].clone();
        let reason = entry["reason"].as_str().unwrap();
        assert!(
            entry["state"] == "skipped" && reason.contains("stale (1 commit in 20 days"),
            "{entry}"
        );
        assert!(reason.contains("REPIN_FORGE_TOKEN"), "{entry}");

        let refused = || {
            fake.fault(
                ("POST", "/issues"),
                1,
                Fault::Instead(error(403, "Resource not accessible")),
            );
        };
        refused();
        let ran = pinning.run(&["--apply"]).exits(4);
        assert!(ran.stderr.contains("issue"), "{}", ran.stderr);
        refused();
        let entry = pinning.entry_of(&["--apply", "--if-unconfigured", "skip"], 0);
        assert!(
            entry["state"] == "skipped"
                && entry["reason"].as_str().unwrap().contains("not accessible"),
            "{entry}"
        );
        fake.forget();
        let refused = Fault::Instead(error(403, "403 Forbidden"));
        fake.fault(("GET", "/issues"), 1, refused);
        let ran = pinning.run(&["--apply"]).exits(4);
        let permission = match kind {
            Kind::Github => "give the token `issues: write`",
            Kind::Gitea | Kind::Forgejo => "give the token write:issue",
            Kind::Gitlab => "role Reporter",
        };
        assert!(ran.stderr.contains(permission), "{}", ran.stderr);
        fake.forget();
        // GitLab has another answer, which `issues_that_are_switched_off_are_named` tests.
        if kind == Kind::Gitlab {
            continue;
        }
        fake.fault(
            ("POST", "/issues"),
            1,
            Fault::Instead(error(410, "Issues are disabled for this repo")),
        );
        let ran = pinning
            .run(&["--apply", "--if-unconfigured", "skip"])
            .exits(1);
        assert!(
            ran.stderr
                .contains("enable issues in the repository's settings"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn issues_that_are_switched_off_are_named() {
    for kind in [Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let (pinning, fake) = hosted(kind);
        let rehearsed = || {
            let args = [
                "freshness",
                "--simulate-stale",
                "true",
                "--apply",
                "--format",
                "json",
            ];
            let api = fake.api();
            let server = fake.server.url();
            let env = match kind {
                Kind::Gitlab => [("CI_SERVER_URL", server.as_str()), ("GITLAB_TOKEN", TOKEN)],
                _ => [("GITHUB_API_URL", api.as_str()), ("GITEA_TOKEN", TOKEN)],
            };
            pinning.world.run_with(&args, &env)
        };
        fake.store().gitea.issues = false;
        fake.store().gitlab.issues = "disabled";
        let ran = rehearsed();
        let message = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 1, "{kind:?} {message}");
        assert!(message.contains("enable issues"), "{kind:?} {message}");
        fake.store().gitea.issues = true;
        fake.store().gitlab.issues = "enabled";
        rehearsed().exits(0);
        assert_eq!(fake.store().open_issues().len(), 1, "{kind:?}");
    }
}

#[test]
fn concurrent_runs_create_one_issue() {
    for kind in one_of(FORGES) {
        for fault in [
            Fault::After(fakes::broken()),
            Fault::Silence,
            Fault::Instead(fakes::broken()),
        ] {
            let (pinning, fake) = hosted(kind);
            pinning.commit(20, &[("CLAUDE.md", "2")]);
            fake.fault(("POST", "/issues"), 1, fault);
            assert_eq!(
                pinning.entry_of(&["--apply"], 0)["issue"]["state"],
                "created",
                "{kind:?}"
            );
            assert_eq!(fake.store().open_issues().len(), 1, "{kind:?}");
        }
        let (pinning, fake) = hosted(kind);
        pinning.commit(20, &[("CLAUDE.md", "2")]);
        let start = |_| {
            let mut command = pinning.world.command(&["freshness", "--apply"]);
            command
                .env("REPIN_FORGE_TOKEN", TOKEN)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let runs: Vec<_> = (0..4).map(start).collect();
        for run in runs {
            let output = run.wait_with_output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert_eq!(
            fake.store().open_issues().len(),
            1,
            "{kind:?}: {:?}",
            fake.store().issues
        );
    }
}

#[test]
fn older_of_two_issues_stays() {
    for kind in FORGES {
        let (pinning, fake) = hosted(kind);
        pinning.commit(20, &[("CLAUDE.md", "2")]);
        fake.store().rival = true;
        let entry = pinning.entry_of(&["--apply"], 0);
        let open: Vec<_> = fake
            .store()
            .open_issues()
            .iter()
            .map(|issue| issue.number)
            .collect();
        assert_eq!(
            (open, &entry["issue"]["number"]),
            (vec![1], &json!(1)),
            "{kind:?}"
        );
        // An issue that a user opened with this title is not a duplicate.
        fake.store().make_issue(TITLE, "mine");
        assert_eq!(pinning.entry_of(&["--apply"], 0)["issue"]["number"], 1);
        assert_eq!(fake.store().open_issues().len(), 2);
    }
}

#[test]
fn the_work_tree_stays_as_it_is() {
    let pinning = Pinning::new("max_gap: 14d");
    let before = pinning.world.snapshot();
    pinning.run(&[]).exits(0);
    assert_eq!(pinning.world.snapshot(), before);
    assert!(Path::new(&pinning.other()).exists());
}

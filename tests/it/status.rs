//! `repin status`: one screen, one document, and an exit code that shows whether all information
//! was read.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    forge::{Fake, Fault, Kind, TOKEN, error},
    hosted::{FORGES, PROMOTE, document, hosted, run},
    repo::{Repo, revision},
    strace::{self, Point},
    sweep::one_of,
    world::{REV_A, REV_B, REV_C, Ran, World, world},
};

fn status(world: &World, exit: i32) -> Value {
    let args = ["status", "--format", "json"];
    world.run(&args).exits(exit).json()
}

/// A world in which only an undeclared image is off.
fn in_order() -> World {
    let world = world();
    let ignore = "outside_ignore: [.github/workflows/b.yml]\n";
    world.write("repin.yaml", world.read("repin.yaml") + ignore);
    world
}

/// A was promoted, then B, then A; all on the remote's branch.
fn rolled_back() -> World {
    let world = in_order().with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    world.commit(&format!(
        "rollback: test images @{REV_A} (#12)\n\nRepin-Set: {REV_A}"
    ));
    world.push();
    world
}

/// The screen, with the variable parts replaced.
fn screen(ran: &Ran) -> String {
    let mut text = ran.stdout.clone();
    for (pattern, with) in [
        (r"sha256:[0-9a-f]+", "sha256:<digest>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d\S+", "<date>"),
        (r"\((just now|\d+ \w+ ago|in the future[^)]*)\)", "(<age>)"),
        (r"\b[0-9a-f]{10}\b", "<commit>"),
    ] {
        let pattern = regex::Regex::new(pattern).unwrap();
        text = pattern.replace_all(&text, with).into_owned();
    }
    text
}

#[test]
fn one_screen_shows_the_set_and_its_holds() {
    let world = rolled_back();
    let ran = world.run(&["status"]).exits(0);
    assert!(
        ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.lines().count() <= 24, "{}", ran.stdout);
    insta::assert_snapshot!("screen", screen(&ran));
    assert_eq!(ran.stderr, "");
    // Layouts have no tags that could be missing.
    world.write("repin.yaml", world.read("repin.yaml") + "prune: {}\n");
    let with_prune = screen(&world.run(&["status"]).exits(0));
    let queried = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("not queried"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(queried(&with_prune), queried(&screen(&ran)));
}

#[test]
fn set_of_merge_and_commit_is_held_once() {
    let world = in_order().with_git();
    world.promoted(REV_A);
    world.git(&["checkout", "-q", "-b", "side"]);
    world.promoted(REV_B);
    world.git(&["checkout", "-q", "main"]);
    let message = format!("promote: test images @{REV_B}\n\nRepin-Set: {REV_B}");
    world.git(&["merge", "-q", "--no-ff", "-m", &message, "side"]);
    world.push();
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    world.commit(&format!(
        "rollback: test images @{REV_A}\n\nRepin-Set: {REV_A}"
    ));
    world.push();
    let document = status(&world, 0);
    let held = document["holds"].as_array().unwrap().iter();
    let held: Vec<_> = held.map(|hold| &hold["revision"]).collect();
    assert_eq!(held, [REV_B], "{document}");
}

#[test]
fn claim_for_known_digests_is_reported_as_ignored() {
    let world = in_order().with_git();
    let introduced = world.promoted(REV_A);
    world.promoted(REV_B);
    world.pin(REV_A);
    let claiming = world.commit(&format!("promote: test images @{REV_C}"));
    world.push();
    let document = status(&world, 0);
    let claim = json!({
        "commit": claiming, "claimed": REV_C, "introduced": introduced, "revision": REV_A,
    });
    assert_eq!(document["ignored_claims"], json!([claim]), "{document}");
    assert_eq!(document["set"]["revision"], REV_A);
    let text = [
        format!("commit {} claims {REV_C}", &claiming[..10]),
        format!(
            "its digests belong to {REV_A}, since commit {}",
            &introduced[..10]
        ),
    ];
    let screen = world.run(&["status"]).exits(0).stdout;
    let screen: Vec<&str> = screen.split_whitespace().collect();
    let all = world.run(&["status", "--all"]).exits(0).stderr;
    for part in &text {
        assert!(screen.join(" ").contains(part), "{part}: {screen:?}");
        assert!(all.contains(part), "{part}: {all}");
    }
    assert_eq!(status(&rolled_back(), 0)["ignored_claims"], json!([]));
}

#[test]
fn status_document_has_set_author_and_holds() {
    let world = rolled_back();
    let document = status(&world, 0);
    let entries = world.run(&["history", "--format", "json"]).exits(0).json();
    let newest = &entries["entries"][0];
    assert_eq!(document["schema"], "repin.status/1");
    assert_eq!(
        document["set"],
        json!({
            "revision": REV_A, "kind": "rollback", "commit": newest["commit"], "date": newest["date"],
            "subject": format!("rollback: test images @{REV_A} (#12)"), "images": newest["images"],
        })
    );
    assert_eq!(
        document["author"],
        world.git(&["log", "-1", "--format=%an"])
    );
    assert_eq!(document["pull_request"], json!({"number": 12, "url": null}));
    assert_eq!(document["branch"]["name"], "origin/main");
    assert_eq!(document["branch"]["commit"], world.head());
    let undone = &entries["entries"][1];
    assert_eq!(
        document["holds"],
        json!([{"revision": REV_B, "commit": newest["commit"], "date": newest["date"], "images": undone["images"]}])
    );
    let current: Vec<_> = document["work_tree"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["image"], &row["pins"], &row["current"]))
        .map(|(image, pins, current)| json!([image, pins, current]))
        .collect();
    assert_eq!(
        current,
        [
            json!(["review", 3, true]),
            json!(["fix", 2, true]),
            json!(["base", 0, null])
        ]
    );
    assert_eq!(document["pins"].as_array().unwrap().len(), 1);
    for list in ["outside", "unpinned", "unreadable"] {
        assert_eq!(document[list], json!([]), "{list}");
    }
    assert_eq!(document["pull_requests"], Value::Null);
    assert_eq!(document["not_read"][0]["what"], "pull_requests");
    assert_eq!(
        (
            &document["interrupted"],
            &document["recovery"],
            &document["running"]
        ),
        (&json!(false), &Value::Null, &Value::Null)
    );
}

#[test]
fn problems_do_not_change_the_exit_code() {
    let world = rolled_back();
    let digest = world.digest("review", REV_A);
    world.write("docs/notes.md", format!("ghcr.io/acme/review@{digest}\n"));
    world.write(
        ".github/workflows/c.yml",
        "image: ghcr.io/acme/fix:latest\n",
    );
    world.replace("repin.yaml", "pins: 2", "pins: 1");
    world.commit("what is off");
    let document = status(&world, 0);
    let codes = |list: &str| {
        let rows = document[list].as_array().unwrap();
        rows.iter()
            .map(|row| row["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(codes("pins"), ["pin_count", "image_undeclared"]);
    assert_eq!(codes("outside"), ["pin_outside"]);
    assert_eq!(codes("unpinned"), ["image_unpinned"]);
    let ran = world.run(&["status"]).exits(0);
    for expected in [
        "outside       docs/notes.md:1:1 (review: pin_outside)\n",
        "unpinned      .github/workflows/c.yml:1:8 (fix: image_unpinned)\n",
        "\nnot OK: 1 failed pin check, 1 pin warning, 1 outside digest, 1 unpinned\nreference\n",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
    }
    world.run(&["check"]).exits(1);
}

#[test]
fn differing_work_tree_is_shown_with_deployed_set() {
    let world = rolled_back();
    world.pin(REV_B);
    let document = status(&world, 0);
    assert_eq!(document["set"]["revision"], REV_A);
    assert_eq!(document["work_tree"][0]["current"], false);
    let ran = world.run(&["status"]).exits(0);
    let digest = &world.digest("review", REV_B)[..19];
    assert!(
        ran.stdout.contains(&format!("work tree: {digest}\n")),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("not OK: 1 pin warning, 2 differing images"),
        "{}",
        ran.stdout
    );
}

#[test]
fn image_without_any_pin_is_not_current() {
    let world = rolled_back();
    let images = "images:\n";
    let new = "  new: { repository: ghcr.io/acme/new, pins: 1 }\n";
    world.replace("repin.yaml", images, &(images.to_owned() + new));
    let document = status(&world, 0);
    let rows = document["work_tree"].as_array().unwrap();
    let row = rows.iter().find(|row| row["image"] == "new").unwrap();
    assert_eq!((&row["pins"], &row["current"]), (&json!(0), &Value::Null));
}

#[test]
fn running_apply_is_not_reported_as_interrupted() {
    let mut world = rolled_back();
    world.build(REV_C);
    let exchange = Point {
        name: "renameat2".to_owned(),
        nth: 1,
    };
    let promotion = world.command(&["promote", "--revision", REV_C, "--apply"]);
    let stopped = strace::stop_after(&promotion, &exchange, &[]);
    let document = status(&world, 0);
    assert_eq!(document["interrupted"], false);
    let running = document["running"].as_str().unwrap();
    assert!(running.contains("`repin promote`, process "), "{running}");
    assert!(stopped.go_on().output.status.success());
    assert_eq!(status(&world, 0)["running"], Value::Null);
}

#[test]
fn interrupted_apply_is_reported_with_its_recovery() {
    let world = rolled_back();
    let state = find(&world.path(".git"), "lock");
    std::fs::write(state.with_file_name("journal"), "no journal").unwrap();
    let document = status(&world, 5);
    assert_eq!(document["interrupted"], true);
    assert_eq!(document["not_read"][0]["what"], "journal");
    assert_eq!(document["set"]["revision"], REV_A);
    std::fs::rename(
        state.with_file_name("journal"),
        state.with_file_name("journal.new"),
    )
    .unwrap();
    let document = status(&world, 0);
    assert_eq!(
        (&document["interrupted"], &document["recovery"]),
        (&json!(true), &json!("dropped"))
    );
    let ran = world.run(&["status"]).exits(0);
    assert!(
        ran.stdout
            .contains("not OK: 1 pin warning, an interrupted --apply\n"),
        "{}",
        ran.stdout
    );
}

/// The file of this name below a directory.
fn find(directory: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().unwrap() == name {
                return path;
            }
        }
    }
    panic!("{name} not found");
}

#[test]
fn without_git_status_shows_only_pins() {
    let world = in_order();
    let document = status(&world, 3);
    assert_eq!(document["set"], Value::Null);
    assert_eq!(document["branch"], Value::Null);
    assert_eq!(document["not_read"][0]["what"], "history");
    let ran = world.run(&["status"]).exits(3);
    let digest = &world.digest("review", REV_A)[..19];
    assert!(ran.stdout.contains(digest), "{}", ran.stdout);
    assert!(
        ran.stdout.ends_with("\nnot OK: 1 pin warning\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn unreadable_commit_since_current_set_is_shown() {
    let world = rolled_back();
    let config = world.read("repin.yaml");
    world.write("repin.yaml", "version: 9\n");
    let broken = world.commit("break the configuration");
    world.push();
    world.write("repin.yaml", config);
    let document = status(&world, 0);
    assert_eq!(document["set"]["revision"], REV_A);
    assert_eq!(document["unreadable"][0]["commit"], broken);
    let ran = world.run(&["status"]).exits(0);
    assert!(
        ran.stdout
            .contains("not OK: 1 pin warning, 1 unreadable commit\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn unpushed_adoption_is_reported() {
    let world = in_order();
    let config = world.read("repin.yaml");
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let world = world.with_git();
    world.write("repin.yaml", config);
    let uncommitted = json!({"branch": "origin/main", "commit": null});
    assert_eq!(status(&world, 0)["adoption"], uncommitted);
    let ran = world.run(&["status"]).exits(0);
    let text = "adoption      repin.yaml is not committed: commit it, and push it to origin/main\n";
    assert!(ran.stdout.contains(text), "{}", ran.stdout);
    let adopted = world.commit("adopt repin");
    // A later change of the file is not its adoption.
    world.write("repin.yaml", world.read("repin.yaml") + "# changed\n");
    world.commit("describe the set");
    let unpushed = json!({"branch": "origin/main", "commit": adopted});
    assert_eq!(status(&world, 0)["adoption"], unpushed);
    let ran = world.run(&["status"]).exits(0);
    let text = format!("commit {} adds repin.yaml and is not on", &adopted[..10]);
    assert!(ran.stdout.contains(&text), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("the configuration is not pushed\n"),
        "{}",
        ran.stdout
    );
    world.push();
    assert_eq!(status(&world, 0)["adoption"], Value::Null);
    let ran = world.run(&["status"]).exits(0);
    assert!(!ran.stdout.contains("adoption"), "{}", ran.stdout);
    // The branch contains an earlier adoption, which it removed again.
    let config = world.read("repin.yaml");
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.commit("remove repin");
    world.push();
    world.write("repin.yaml", config);
    let again = world.commit("adopt repin again");
    assert_eq!(status(&world, 0)["adoption"]["commit"], again);
}

#[test]
fn adoption_on_the_branch_is_complete() {
    let world = in_order().with_git();
    world.git(&["rm", "-q", "--cached", "repin.yaml"]);
    world.git(&["commit", "-q", "-m", "remove repin"]);
    assert_eq!(status(&world, 0)["adoption"], Value::Null);
}

#[test]
fn adoption_without_a_remote_is_complete() {
    let world = in_order();
    world.git(&["init", "-q", "-b", "main"]);
    world.write("unrelated", "");
    world.git(&["add", "unrelated"]);
    world.git(&["commit", "-q", "-m", "begin"]);
    let document = status(&world, 0);
    assert_eq!(document["branch"]["name"], "HEAD");
    assert_eq!(document["adoption"], Value::Null);
}

#[test]
fn unpushed_set_is_reported() {
    let world = in_order().with_git();
    world.promoted(REV_A);
    assert_eq!(status(&world, 0)["unpushed"], Value::Null);
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    // A change that is not committed cannot be pushed.
    assert_eq!(status(&world, 0)["unpushed"], Value::Null);
    let promoted = world.commit(&format!("promote: test images @{REV_B}"));
    let unpushed = json!({
        "branch": "origin/main", "commit": promoted, "kind": "promote", "revision": REV_B
    });
    assert_eq!(status(&world, 0)["unpushed"], unpushed);
    let ran = world.run(&["status"]).exits(0);
    let text = format!("not pushed    commit {} (promote ", &promoted[..10]);
    for part in [&*text, "not OK: ", "the set of HEAD is not pushed"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    // A later commit without pins does not change the answer, and a squashed commit is the same set.
    world.write("other.txt", "other\n");
    world.commit("other");
    assert_eq!(status(&world, 0)["unpushed"]["commit"], promoted);
    world.git(&["checkout", "-q", "-b", "squashed", "origin/main"]);
    world.git(&["merge", "-q", "--squash", "main"]);
    world.commit(&format!("promote: test images @{REV_B} (#1)"));
    world.git(&["push", "-q", "origin", "HEAD:main"]);
    world.git(&["checkout", "-q", "main"]);
    assert_eq!(status(&world, 0)["unpushed"], Value::Null);
}

#[test]
fn unpushed_rollback_is_reported() {
    let world = rolled_back();
    assert_eq!(status(&world, 0)["unpushed"], Value::Null);
    let args = ["promote", "--revision", REV_B, "--force-after-rollback"];
    world.run(&[&args[..], &["--apply"]].concat()).exits(0);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    let commit = world.commit(&format!("rollback: test images @{REV_A}"));
    let unpushed = status(&world, 0)["unpushed"].clone();
    assert_eq!(
        (&unpushed["kind"], &unpushed["commit"]),
        (&json!("rollback"), &json!(commit))
    );
}

#[test]
fn queried_systems_are_distinguished() {
    let (world, fake) = hosted(Kind::Github, "base: main");
    let world = world.with_git();
    fake.forget();
    let ran = world.run(&["status"]).exits(0);
    assert!(
        ran.stdout
            .contains("not queried   registry (repin check --remote), forge\n"),
        "{}",
        ran.stdout
    );
    let systems = |found: &Value| found["not_queried"].clone();
    assert_eq!(systems(&status(&world, 0)), json!(["registry", "forge"]));
    assert_eq!(fake.asked(), [] as [String; 0]);
    let found = document(&world, &["status"], 0);
    assert_eq!(systems(&found), json!(["registry"]));
    assert_ne!(fake.asked(), [] as [String; 0]);
}

#[test]
fn a_shallow_clone_is_reported() {
    let world = rolled_back();
    world.git(&["update-ref", "refs/heads/all", "HEAD"]);
    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", world.root().display());
    let ran = std::process::Command::new("git")
        .args(["clone", "-q", "--depth", "1", &from, "."])
        .current_dir(clone.path())
        .output()
        .unwrap();
    assert!(ran.status.success());
    let ran = world
        .run_in(clone.path(), &["status", "--format", "json"], &[])
        .exits(0);
    assert_eq!(ran.json()["not_read"][0]["what"], "older_sets");
}

// The forge.

#[test]
fn only_open_pull_requests_of_sets_are_listed() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "");
        run(&world, &PROMOTE).exits(0);
        let opened = fake.store().pulls[0].clone();
        // A marker on a branch that the configuration does not lead to, and one from a fork.
        let mut foreign = opened.clone();
        (foreign.number, foreign.head) = (fake.store().number(), "feature".to_owned());
        let mut forked = opened.clone();
        (forked.number, forked.head_repo) = (fake.store().number(), "someone/flows".to_owned());
        let mut elsewhere = opened.clone();
        (elsewhere.number, elsewhere.base) = (fake.store().number(), "staging".to_owned());
        let head = fake.store().refs["main"].clone();
        fake.store().refs.insert("feature".to_owned(), head.clone());
        fake.store().refs.insert("staging".to_owned(), head.clone());
        // A rollback that was opened later, which forges list first.
        let mut back = opened.clone();
        back.head = opened.head.replace("promote", "rollback");
        back.body = opened.body.replace("kind=promote", "kind=rollback");
        back.number = fake.store().number();
        fake.store().refs.insert(back.head.clone(), head.clone());
        let others = [foreign, forked, elsewhere, back.clone()];
        fake.store().pulls.extend(others);
        fake.forget();
        let found = document(&world, &["status"], 3);
        let open = found["pull_requests"].as_array().unwrap();
        let rows: Vec<_> = open
            .iter()
            .map(|row| (&row["number"], &row["kind"]))
            .collect();
        assert_eq!(
            rows,
            [
                (&json!(opened.number), &json!("promote")),
                (&json!(back.number), &json!("rollback"))
            ],
            "{kind:?}"
        );
        assert_eq!(
            (&open[0]["kind"], &open[0]["revision"], &open[0]["draft"]),
            (&json!("promote"), &json!(REV_B), &json!(false))
        );
        // The world is not in git, so its history was not read.
        assert_eq!(found["not_read"][0]["what"], "history");
        assert_eq!(found["not_read"].as_array().unwrap().len(), 1);
        let ran = run(&world, &["status"]).exits(3);
        // A longer URL is on the next line.
        let row = format!("open          #{} promote {}", opened.number, &REV_B[..12]);
        assert!(ran.stdout.contains(&kind.spelled(&row)), "{}", ran.stdout);
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn a_missing_token_is_reported_and_no_error() {
    let (world, fake) = hosted(Kind::Github, "");
    let ran = world.run(&["status", "--format", "json"]).exits(3);
    let not_read = ran.json()["not_read"].clone();
    assert_eq!(not_read[1]["what"], "pull_requests");
    assert!(
        not_read[1]["reason"]
            .as_str()
            .unwrap()
            .contains("no token is set")
    );
    let world = world.with_git();
    let ran = world.run(&["status", "--format", "json"]).exits(0);
    assert_eq!(ran.json()["pull_requests"], Value::Null);
    assert_eq!(fake.asked(), [] as [String; 0]);
}

#[test]
fn failing_forge_determines_the_exit_code() {
    for (code, exit) in [(500, 3), (403, 4)] {
        let (world, fake) = hosted(Kind::Github, "base: main");
        let world = world.with_git();
        fake.fault(
            ("GET", "/pulls"),
            99,
            Fault::Instead(error(code, "not today")),
        );
        let env = [("REPIN_FORGE_TOKEN", TOKEN)];
        let ran = world
            .run_with(&["status", "--format", "json"], &env)
            .exits(exit);
        let found = ran.json();
        assert_eq!(found["pull_requests"], Value::Null);
        assert_eq!(found["not_read"][0]["what"], "pull_requests");
        assert_eq!(found["set"]["kind"], "manual");
    }
}

#[test]
fn forge_confirms_the_pull_request_of_commit() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "base: main");
        run(&world, &PROMOTE).exits(0);
        let number = fake.store().pulls[0].number;
        let world = world.with_git();
        let merged = fake.store().merge(number);
        let found = document(&world, &["status"], 0);
        assert_eq!(found["pull_requests"], json!([]));
        assert_eq!(found["branch"]["head"], merged, "{kind:?}");
        let ran = run(&world, &["status"]).exits(0);
        assert!(
            ran.stdout.contains("the clone is behind the forge"),
            "{}",
            ran.stdout
        );
        // The same set in this clone, by a commit that is not the forge's.
        world.promoted(REV_A);
        world.pin(REV_B);
        world.commit(&format!("promote: test images @{REV_B} (#{number})"));
        world.push();
        let found = document(&world, &["status"], 0);
        assert_eq!(found["pull_request"], Value::Null, "{kind:?}");
        let ours = found["set"]["commit"].as_str().unwrap().to_owned();
        fake.store().pull_mut(number).unwrap().merged = Some(ours);
        let found = document(&world, &["status"], 0);
        assert_eq!(found["pull_request"]["number"], number, "{kind:?}");
        let url = found["pull_request"]["url"].as_str().unwrap();
        assert!(url.contains(&number.to_string()), "{url}");
    }
}

#[test]
fn checkout_with_another_forge_gets_no_token() {
    for name in ["repin.yaml", "repin.renamed.yaml"] {
        let (world, fake) = hosted(Kind::Github, "base: main");
        let other = Fake::start(Kind::Github);
        let world = world.with_git();
        world.replace("repin.yaml", &fake.api(), &other.api());
        fs::rename(world.path("repin.yaml"), world.path(name)).unwrap();
        let found = document(&world, &["--config", name, "status"], 2);
        assert_eq!(found["pull_requests"], Value::Null);
        let reason = found["not_read"][0]["reason"].as_str().unwrap();
        assert!(
            reason.contains("`forge` in the work tree names"),
            "{reason}"
        );
        assert_eq!(other.asked(), [] as [String; 0]);
        assert_eq!(fake.asked(), [] as [String; 0]);
        if name == "repin.yaml" {
            assert_eq!(found["set"]["kind"], "manual");
        }
    }
}

#[test]
fn branch_with_similar_name_is_not_base() {
    let (world, _fake) = hosted(Kind::Github, "base: main");
    let world = world.with_git();
    world.git(&["push", "--quiet", "origin", "HEAD:refs/heads/feature/main"]);
    world.git(&["fetch", "--quiet", "origin"]);
    let found = document(&world, &["status"], 0);
    assert_ne!(found["branch"]["head"], Value::Null);
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        format!("{config}provenance: {{ branch: origin/feature/main }}\n"),
    );
    let found = document(&world, &["status"], 0);
    assert_eq!(found["branch"]["name"], "origin/feature/main");
    assert_eq!(found["branch"]["head"], Value::Null);
}

#[test]
fn rebase_merge_is_found_by_set_branch() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "base: main");
        run(&world, &PROMOTE).exits(0);
        let number = fake.store().pulls[0].number;
        fake.store().close(number);
        let world = world.with_git();
        // Its subject has no number, or that of something else.
        world.promoted(REV_B);
        for other in ["", " (#4711)"] {
            let title = format!("promote: test images @{REV_B}{other}");
            world.git(&["commit", "--amend", "-q", "-m", &title]);
            world.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
            let commit = world.head();
            let mut numbers = Vec::new();
            for merged in [None, Some("0".repeat(40)), Some(commit)] {
                fake.store().pull_mut(number).unwrap().merged = merged;
                let found = document(&world, &["status"], 0);
                assert_eq!(found["set"]["kind"], "promote");
                numbers.push(found["pull_request"]["number"].clone());
            }
            assert_eq!(
                numbers,
                [Value::Null, Value::Null, json!(number)],
                "{kind:?}{other}"
            );
        }
        // Merged from a branch of another name, and named by the subject.
        let title = format!("promote: test images @{REV_B} (#{number})");
        world.git(&["commit", "--amend", "-q", "-m", &title]);
        world.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
        let merged = world.head();
        {
            let mut store = fake.store();
            let pull = store.pull_mut(number).unwrap();
            (pull.head, pull.merged) = ("another-name".to_owned(), Some(merged));
        }
        let found = document(&world, &["status"], 0);
        assert_eq!(found["pull_request"]["number"], number, "{kind:?}");
    }
}

#[test]
fn without_a_remote_head_is_shown() {
    let repo = Repo::new();
    repo.promote('a');
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_repin"))
        .args(["status", "--format", "json"])
        .current_dir(repo.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["set"]["revision"], revision('a'));
    assert_eq!(found["branch"]["name"], "HEAD");
    assert_eq!(found["branch"]["head"], Value::Null);
}

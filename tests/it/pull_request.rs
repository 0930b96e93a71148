//! `--pr` as a whole: from the base branch's head on a forge to the pull request.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{
    forge::{Fake, Fault, Kind, TOKEN, When, error},
    hosted::{FILES, FORGES, hosted, hosted_in, promote, publish, run},
    shop,
    sweep::{one_of, with_each},
    world::{REV_A, REV_B, REV_C, World, details},
};

#[test]
fn malformed_digest_costs_no_request() {
    for revision in [REV_B, "newest"] {
        let (world, fake) = hosted(Kind::Github, "");
        let mistake = ["--digest", "fix"];
        let ran = run(&world, &[&promote(revision)[..], &mistake].concat()).exits(2);
        assert!(ran.stdout.contains("NAME=DIGEST"), "{}", ran.stdout);
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

#[test]
fn newer_pull_request_supersedes_an_unchanged_one() {
    for kind in one_of(FORGES) {
        let (mut world, fake) = hosted(kind, "labels: [ci]");
        let before = world.snapshot();
        let document = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(document["pull_request"]["state"], "created", "{document}");
        assert_eq!(
            (&document["applied"], &document["changed"]),
            (&false.into(), &true.into())
        );
        let branch = document["branch"].as_str().unwrap().to_owned();
        {
            let store = fake.store();
            let text = store.content(&branch, ".github/workflows/a.yml");
            assert!(
                text.contains(world.digest("review", REV_B))
                    && !text.contains(world.digest("review", REV_A)),
                "{text}"
            );
            let pull = store.open_pulls()[0];
            assert_eq!(
                pull.body.as_str(),
                document["body"],
                "the body equals the reported one"
            );
            assert_eq!(pull.labels, ["ci"]);
            let message = &store.commit(&store.refs[&branch]).message;
            assert_eq!(
                *message,
                format!(
                    "{}\n\nRepin-Set: {REV_B}\n",
                    document["title"].as_str().unwrap()
                )
            );
        }
        assert_eq!(before, world.snapshot(), "the work tree stays as it is");
        fake.forget();
        let again = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(again["pull_request"]["state"], "unchanged");
        assert_eq!(fake.writes(), [] as [String; 0]);
        world.build(REV_C);
        let newer = run(&world, &promote(REV_C)).exits(0);
        let note =
            kind.spelled("note: pull request #1 was closed: this pull request supersedes it\n");
        assert!(newer.stderr.contains(&note), "{}", newer.stderr);
        let newer = newer.json();
        assert_eq!(newer["pull_request"]["state"], "created");
        let open: Vec<_> = fake
            .store()
            .open_pulls()
            .iter()
            .map(|pull| pull.number)
            .collect();
        assert_eq!(newer["pull_request"]["number"], open[0]);
        assert_eq!(open.len(), 1);
    }
}

#[test]
fn head_of_base_counts_for_pull_requests() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        // The work tree has another count and other files; the base branch is correct.
        world.replace("repin.yaml", "review, pins: 3", "review, pins: 9");
        world.replace("repin.yaml", "name: test images", "name: local");
        fs::remove_file(world.path(".github/workflows/b.yml")).unwrap();
        let document = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(document["title"], format!("promote: test images @{REV_B}"));
        assert_eq!(document["files"].as_array().unwrap().len(), 2);
        // And the other way round.
        let (world, _fake) = {
            drop(fake);
            let (world, fake) = hosted(kind, "labels: [ci]");
            fake.store().push(
                "main",
                "more",
                &[(
                    ".github/workflows/c.yml",
                    &format!("ghcr.io/acme/fix@{}", world.digest("fix", REV_A)),
                )],
            );
            (world, fake)
        };
        let document = run(&world, &promote(REV_B)).exits(1).json();
        assert!(
            details(&document, "pin_count", "fail")[0].contains("c.yml"),
            "{document}"
        );
        assert!(document["pull_request"].is_null());
        run(&world, &["promote", "--revision", REV_B]).exits(0);
    }
}

/// Where the contents of the base branch's head are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtHand {
    WorkTree,
    /// Only its objects: the work tree is outdated.
    Clone,
}

#[test]
fn a_second_run_needs_few_requests() {
    for kind in FORGES {
        for present in [AtHand::WorkTree, AtHand::Clone] {
            let (world, fake) = hosted(kind, "labels: [ci]");
            if present == AtHand::Clone {
                git(&world, &["init", "-q"]);
                git(&world, &["add", "-A", "."]);
                git(&world, &["commit", "-qm", "x"]);
                at_the_forge(&world, &fake);
                for path in &FILES[1..] {
                    world.write(path, "another branch's");
                }
            }
            run(&world, &promote(REV_B)).exits(0);
            fake.forget();
            let document = run(&world, &promote(REV_B)).exits(0).json();
            assert_eq!(document["pull_request"]["state"], "unchanged");
            let asked = fake.asked();
            let git = asked.iter().filter(|line| line.contains(".git/")).count();
            // A list of the branches; without a clone also a fetch of the commits, and one of the contents of files.
            let most = if present == AtHand::Clone { 2 } else { 6 };
            assert!(git <= most, "{kind:?} {present:?} {asked:#?}");
            let most = if kind == Kind::Github { 2 } else { 4 };
            assert!(asked.len() - git <= most, "{kind:?} {present:?} {asked:#?}");
        }
    }
}

#[test]
fn configuration_of_the_base_must_count_pins() {
    let (world, fake) = hosted(Kind::Gitea, "");
    let fleet = "version: 1\nfleet: {}\nimages: { fix: { repository: ghcr.io/acme/fix } }\n";
    fake.store()
        .push("main", "a fleet", &[("repin.yaml", fleet)]);
    let ran = run(&world, &promote(REV_B)).exits(2);
    assert!(ran.stdout.contains("describes a fleet"), "{}", ran.stdout);
    assert_eq!(fake.writes(), [""; 0]);
}

#[test]
fn repeated_run_writes_nothing() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: [ci]");
        run(&world, &promote(REV_B)).exits(0);
        let writes: Vec<_> = fake
            .writes()
            .iter()
            .map(|line| match line.split_once("/projects/7/") {
                Some((_, below)) => below.to_owned(),
                None => line.split("/acme/flows").nth(1).unwrap()[1..].to_owned(),
            })
            .collect();
        let labels = ["labels", "issues/1/labels"];
        let number = fake.store().open_pulls()[0].number;
        let put_on = format!("issues/{number}/labels");
        let expected: Vec<&str> = match kind {
            Kind::Github => {
                vec!["git/git-receive-pack", "pulls", &put_on, labels[0], &put_on]
            }
            Kind::Gitea | Kind::Forgejo => {
                vec!["git/git-receive-pack", "pulls", labels[0], &put_on]
            }
            // The creation contains the labels, and creates missing ones.
            Kind::Gitlab => vec!["git/git-receive-pack", "merge_requests"],
        };
        assert_eq!(writes, expected, "{kind:?}");
    }
}

#[test]
fn four_programs_at_once_make_one_of_each() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let start = |_| {
            let mut command = world.command(&promote(REV_B));
            command
                .env("REPIN_FORGE_TOKEN", TOKEN)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..4).map(start).collect();
        let mut numbers: Vec<u64> = Vec::new();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{kind:?} {text} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            numbers.push(document["pull_request"]["number"].as_u64().unwrap());
        }
        let store = fake.store();
        assert!(
            store.pulls.len() == 1 && numbers.iter().all(|number| *number == numbers[0]),
            "{kind:?} {numbers:?}"
        );
        let branches: Vec<_> = store.refs.keys().filter(|name| *name != "main").collect();
        assert_eq!(branches.len(), 1);
        assert_eq!(
            store
                .ahead(&store.refs["main"], &store.refs[branches[0]])
                .len(),
            1,
            "{kind:?}: one commit"
        );
    }
}

#[test]
fn root_below_top_is_found_on_the_forge() {
    for kind in FORGES {
        let (world, fake) = hosted_in(kind, "labels: [ci]", "sub/directory/");
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("sub/directory");
        fs::create_dir_all(root.parent().unwrap()).unwrap();
        assert!(
            Command::new("cp")
                .arg("-r")
                .args([world.root(), &root])
                .status()
                .unwrap()
                .success()
        );
        assert!(
            Command::new("git")
                .args(["init", "-q"])
                .current_dir(top.path())
                .status()
                .unwrap()
                .success()
        );
        let api = fake.api();
        let env = [
            ("GITHUB_API_URL", api.as_str()),
            ("GH_TOKEN", TOKEN),
            ("GITEA_TOKEN", "other"),
        ];
        let document = world.run_in(&root, &promote(REV_B), &env).exits(0).json();
        let branch = document["branch"].as_str().unwrap();
        let text = fake
            .store()
            .content(branch, "sub/directory/.github/workflows/a.yml");
        assert!(text.contains(world.digest("review", REV_B)), "{text}");
    }
}

#[test]
fn skipped_run_reports_an_unreadable_template() {
    let (world, fake) = hosted(Kind::Github, "labels: [ci]");
    let config = world.read("repin.yaml");
    let with_template = config.replace("report: {", "report: { template: missing.j2,");
    assert_ne!(with_template, config);
    world.write("repin.yaml", with_template);
    let mut skip = promote(REV_B).to_vec();
    skip.extend(["--if-unconfigured", "skip"]);
    let ran = world.run(&skip).exits(2);
    assert_eq!(ran.json()["errors"][0]["code"], "template");
    assert_eq!(fake.asked(), [] as [String; 0]);
}

#[test]
fn template_is_that_of_the_base_branch() {
    let (world, fake) = hosted(Kind::Github, "labels: [ci]");
    world.replace("repin.yaml", "report: {", "report: { template: body.j2,");
    publish(&world, &fake, "a template");
    fake.store()
        .push("main", "a body", &[("body.j2", "of the branch")]);
    world.write("body.j2", "of the work tree");
    run(&world, &promote(REV_B)).exits(0);
    let body = fake.store().pulls[0].body.clone();
    assert!(body.starts_with("of the branch"), "{body}");
}

#[test]
fn without_a_token_no_request_is_sent() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let ran = world.run(&promote(REV_B)).exits(4);
        assert_eq!(ran.json()["errors"][0]["code"], "denied");
        let mut skip = promote(REV_B).to_vec();
        skip.extend(["--if-unconfigured", "skip"]);
        let document = world.run(&skip).exits(0).json();
        assert!(
            details(&document, "unconfigured", "skip")[0].contains("REPIN_FORGE_TOKEN"),
            "{document}"
        );
        let ran = world
            .run(&[
                "promote",
                "--revision",
                REV_B,
                "--pr",
                "draft",
                "--if-unconfigured",
                "skip",
            ])
            .exits(0);
        assert!(ran.stderr.contains("skipped: no token"), "{}", ran.stderr);
        let api = fake.api();
        let job = ("GITHUB_API_URL", api.as_str());
        world
            .run_with(&skip, &[job, ("GITHUB_TOKEN", "two words")])
            .exits(2);
        world
            .run_with(&skip, &[job, ("GITHUB_TOKEN_FILE", "nowhere")])
            .exits(2);
        assert_eq!(fake.asked(), [] as [String; 0]);
        // A file, and the first of several.
        world.write("token", format!("{TOKEN}\n"));
        world
            .run_with(
                &promote(REV_B),
                &[job, ("GITHUB_TOKEN_FILE", "token"), ("GH_TOKEN", "other")],
            )
            .exits(0);
        assert_eq!(
            world
                .run_with(
                    &promote(REV_B),
                    &[("REPIN_FORGE_TOKEN", "other"), ("GH_TOKEN", TOKEN)]
                )
                .code,
            4
        );
    }
}

#[test]
fn rehearsal_writes_nothing_to_the_forge() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        for forbid in [&["--dry-run", "true"][..], &["--dry-run="]] {
            let document = run(&world, &[&promote(REV_B), forbid].concat())
                .exits(0)
                .json();
            assert!(
                document["pull_request"].is_null() && document["changed"] == true,
                "{document}"
            );
        }
        assert_eq!(fake.writes(), [] as [String; 0]);
        run(&world, &[&promote(REV_B)[..], &["--apply"]].concat()).exits(2);
        run(&world, &["promote", "--revision", REV_B, "--reopen"]).exits(2);
        run(&world, &["promote", "--revision", "no", "--pr", "draft"]).exits(2);
        let document = run(
            &world,
            &[&promote(REV_B)[..], &["--dry-run", "false"]].concat(),
        )
        .exits(0)
        .json();
        assert_eq!(document["pull_request"]["state"], "created");
        world.replace("repin.yaml", "forge:", "# forge:");
        let ran = run(&world, &["promote", "--revision", REV_B, "--pr", "draft"]).exits(2);
        assert!(ran.stderr.contains("no `forge`"), "{}", ran.stderr);
    }
}

#[test]
fn each_obstacle_has_its_exit() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let document = run(&world, &promote(REV_B)).exits(0).json();
        let (number, branch) = (
            document["pull_request"]["number"].as_u64().unwrap(),
            document["branch"].as_str().unwrap(),
        );
        fake.store().close(number);
        let ran = run(&world, &promote(REV_B)).exits(1).json();
        assert!(
            ran["error"]["hint"].as_str().unwrap().contains("--reopen")
                && ran["error"]["code"] == "conflict",
            "{ran}"
        );
        let ran = run(&world, &[&promote(REV_B)[..], &["--reopen"]].concat())
            .exits(0)
            .json();
        assert_eq!(
            (
                &ran["pull_request"]["number"],
                &ran["pull_request"]["state"]
            ),
            (&number.into(), &"updated".into())
        );
        fake.store().push(branch, "mine", &[("x", "y")]);
        assert_eq!(
            run(&world, &promote(REV_B)).exits(5).json()["error"]["code"],
            "conflict"
        );
        let human = run(&world, &["promote", "--revision", REV_B, "--pr", "ready"]).exits(5);
        assert!(
            human.stderr.contains("(`mine`) is a foreign commit"),
            "{}",
            human.stderr
        );
    }
}

#[test]
fn a_base_that_moves_meanwhile_is_planned_again() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        fake.store().intruder = Some(("README.md".to_owned(), "other".to_owned()));
        let ran = run(&world, &promote(REV_B)).exits(0);
        assert!(ran.stderr.contains("planning again"), "{}", ran.stderr);
        let store = fake.store();
        let head = &store.refs[ran.json()["branch"].as_str().unwrap()];
        assert_eq!(store.commit(head).parents, [store.refs["main"].clone()]);
    }
}

#[test]
fn moving_base_is_replanned_three_times() {
    for (kind, (restless, exit)) in with_each(&[(1, 0), (2, 3), (9, 3)], &FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        // A file that the plan also changes: the result for its old content is not the result
        // wanted.
        let edited = format!("{}\n# ", world.read(".github/workflows/b.yml"));
        fake.store().intruder = Some((".github/workflows/b.yml".to_owned(), edited));
        fake.store().restless = restless;
        let ran = run(&world, &promote(REV_B)).exits(exit);
        assert_eq!(
            ran.stderr.matches("planning again").count(),
            2,
            "{}",
            ran.stderr
        );
        let document = ran.json();
        assert_eq!(document["pull_request"].is_null(), exit == 3, "{document}");
        if exit == 3 {
            assert!(
                document["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("3 times"),
                "{document}"
            );
            assert_eq!(fake.store().pulls.len(), 0);
            run(
                &world,
                &[
                    "promote",
                    "--revision",
                    REV_B,
                    "--dry-run",
                    "true",
                    "--pr",
                    "draft",
                ],
            )
            .exits(0);
        }
    }
}

#[test]
fn the_base_branchs_contracts_count() {
    for kind in FORGES {
        let (world, fake) = (shop::shop(), Fake::start(kind));
        let block = format!(
            "forge: {{ kind: {}, url: '{}', repository: acme/flows }}\n",
            kind.name(),
            fake.api()
        );
        world.write("repin.yaml", world.read("repin.yaml") + &block);
        let files: Vec<_> = FILES
            .iter()
            .map(|path| ((*path).to_owned(), world.read(path)))
            .collect();
        let mut files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        files.push(("contracts/review.yaml", shop::CONTRACT));
        fake.store().push("main", "as it is", &files);
        // First the work tree has another one, then the base branch.
        let more = shop::CONTRACT.replace("[ops, review]", "[ops, review, absent]");
        world.write("contracts/review.yaml", &more);
        let dry = [&promote(REV_B)[..], &["--dry-run", "true"]].concat();
        run(&world, &dry).exits(0);
        fake.store()
            .push("main", "more", &[("contracts/review.yaml", &more)]);
        world.write("contracts/review.yaml", shop::CONTRACT);
        let document = run(&world, &dry).exits(1).json();
        let failed = details(&document, "inventory_must_contain_missing", "fail");
        assert!(
            failed.iter().all(|detail| detail.contains("absent")) && !failed.is_empty(),
            "{document}"
        );
    }
}

#[test]
fn the_first_token_counts() {
    let names = [
        "REPIN_FORGE_TOKEN",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GITEA_TOKEN",
    ];
    let (world, fake) = hosted(Kind::Github, "labels: [ci]");
    world.write("token", format!("{TOKEN}\n"));
    for first in 0..names.len() {
        let mut env: Vec<_> = names[first + 1..]
            .iter()
            .map(|name| ((*name).to_owned(), "another".to_owned()))
            .collect();
        env.push(("GITHUB_API_URL".to_owned(), fake.api()));
        env.push((names[first].to_owned(), TOKEN.to_owned()));
        let shown = |env: &[(String, String)]| {
            let env: Vec<_> = env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            world
                .run_with(
                    &[&promote(REV_B)[..], &["--dry-run", "true"]].concat(),
                    &env,
                )
                .exits(0);
        };
        shown(&env);
        env.pop();
        env.push((format!("{}_FILE", names[first]), "token".to_owned()));
        shown(&env);
    }
}

#[test]
fn pinned_set_opens_no_pull_request() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let document = run(&world, &promote(REV_A)).exits(0).json();
        assert!(
            document["pull_request"].is_null() && document["changed"] == false,
            "{document}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn a_workflow_learns_the_number_and_the_url() {
    let (world, _fake) = hosted(Kind::Github, "labels: [ci]");
    let output = world.path("output");
    let env = [
        ("REPIN_FORGE_TOKEN", TOKEN),
        ("GITHUB_OUTPUT", output.to_str().unwrap()),
    ];
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--pr",
        "draft",
        "--format",
        "github",
    ];
    let ran = world.run_with(&args, &env).exits(0);
    assert!(
        ran.stderr.contains("pull request #") && ran.stderr.contains("created"),
        "{}",
        ran.stderr
    );
    let text = fs::read_to_string(output).unwrap();
    let outputs = crate::github::outputs(&text);
    let url = format!(
        "https://github.example/acme/flows/pull/{}",
        outputs["pull-request"]
    );
    assert_eq!(outputs["pull-request-url"], url);
}

/// Gives the head of the forge's base branch the name of `HEAD` in the work tree.
fn at_the_forge(world: &World, fake: &Fake) {
    let head = git(world, &["rev-parse", "HEAD"]);
    fake.store().name_head("main", &head, world.root());
}

fn git(world: &World, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args([
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(args);
    let output = command
        .current_dir(world.root())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn late_build_does_not_close_newer_pull_request() {
    let (mut world, fake) = hosted(Kind::Github, "labels: [ci]");
    git(&world, &["init", "-q"]);
    let mut commits = Vec::new();
    git(&world, &["add", "repin.yaml", ".github"]);
    for name in ["older", "newer"] {
        git(&world, &["commit", "-q", "--allow-empty", "-m", name]);
        let commit: &'static str = git(&world, &["rev-parse", "HEAD"]).leak();
        world.build(commit);
        commits.push(commit);
    }
    at_the_forge(&world, &fake);
    for commit in commits.iter().rev() {
        run(&world, &promote(commit)).exits(0);
    }
    assert_eq!(
        fake.store().open_pulls().len(),
        2,
        "the newer one stays open"
    );
}

/// Two revisions are promoted at once, and the pull request of the newer one has the lower number:
/// regardless of the order of the runs, only the newer one stays open.
#[test]
fn newer_of_two_concurrent_revisions_stays() {
    for kind in one_of(FORGES) {
        for last in ["newer", "older"] {
            let (mut world, fake) = hosted(kind, "labels: [ci]");
            git(&world, &["init", "-q"]);
            git(&world, &["add", "repin.yaml", ".github"]);
            let mut commit = |name: &str| -> &'static str {
                git(&world, &["commit", "-q", "--allow-empty", "-m", name]);
                let commit = git(&world, &["rev-parse", "HEAD"]).leak();
                world.build(commit);
                commit
            };
            let (older, newer) = (commit("older"), commit("newer"));
            at_the_forge(&world, &fake);
            let (mine, other) = if last == "newer" {
                (newer, older)
            } else {
                (older, newer)
            };
            // The other run's pull request, which this run does not see before it has opened its
            // own.
            run(&world, &promote(other)).exits(0);
            let mut theirs = fake.store().pulls.remove(0);
            theirs.number = if last == "newer" { 99 } else { theirs.number };
            let number = theirs.number;
            fake.at(When::After, "POST", "/pulls", 1, move |store| {
                store.pulls.push(theirs);
            });
            let exit = i32::from(last == "older");
            let document = run(&world, &promote(mine)).exits(exit).json();
            let ours = document["pull_request"]["number"].as_u64().unwrap();
            let stays = if last == "newer" { ours } else { number };
            let store = fake.store();
            let open: Vec<_> = store.open_pulls().iter().map(|pull| pull.number).collect();
            assert_eq!(open, [stays], "{kind:?} {last}");
            let closed = ours + number - stays;
            let note = kind.spelled(&format!("Superseded by #{stays}"));
            assert!(
                store.comments[&closed][0].contains(&note),
                "{kind:?} {last}"
            );
        }
    }
}

#[test]
fn older_pull_request_with_foreign_commit_stays_open() {
    for kind in one_of(FORGES) {
        for (file, text, open) in [
            (".github/workflows/none.yml", "on: issues\n".to_owned(), 2),
            // A change of pins is not foreign.
            (".github/workflows/a.yml", String::new(), 1),
        ] {
            let (mut world, fake) = hosted(kind, "labels: [ci]");
            world.build(REV_C);
            run(&world, &promote(REV_B)).exits(0);
            let head = fake.store().pulls[0].head.clone();
            let text = if text.is_empty() {
                let other = format!("sha256:{}", "e".repeat(64));
                let text = fake.store().content(&head, file);
                text.replace(world.digest("review", REV_B), &other)
            } else {
                text
            };
            fake.store().push(&head, "fix: by hand", &[(file, &text)]);
            let ran = run(&world, &promote(REV_C)).exits(0);
            assert_eq!(fake.store().open_pulls().len(), open, "{kind:?} {file}");
            let warned =
                ran.stderr.contains("not closed: ") && ran.stderr.contains(&kind.spelled("#1"));
            assert_eq!(warned, open == 2, "{kind:?} {file}: {}", ran.stderr);
        }
    }
}

#[test]
fn superseding_can_be_switched_off() {
    for (setting, open) in [("supersede: true", 1), ("supersede: false", 2)] {
        let (mut world, fake) = hosted(Kind::Gitea, "labels: [ci]");
        world.build(REV_C);
        world.write(
            "repin.yaml",
            world.read("repin.yaml") + &format!("promote: {{ {setting} }}\n"),
        );
        publish(&world, &fake, "as it is");
        run(&world, &promote(REV_B)).exits(0);
        run(&world, &promote(REV_C)).exits(0);
        assert_eq!(fake.store().open_pulls().len(), open, "{setting}");
    }
}

#[test]
fn rollback_is_a_draft_and_closes_nothing() {
    for kind in one_of(FORGES) {
        let (mut world, fake) = hosted(kind, "labels: [ci]");
        world.build(REV_C);
        let origin = tempfile::tempdir().unwrap();
        git(&world, &["init", "-q", "-b", "main"]);
        for (revision, title) in [
            (REV_A, "promote: test images @"),
            (REV_B, "promote: test images @"),
        ] {
            world.pin(revision);
            git(&world, &["add", "-A", "."]);
            git(
                &world,
                &["commit", "-q", "-m", &format!("{title}{revision}")],
            );
        }
        git(
            &world,
            &[
                "init",
                "-q",
                "--bare",
                "-b",
                "main",
                origin.path().to_str().unwrap(),
            ],
        );
        git(
            &world,
            &["remote", "add", "origin", origin.path().to_str().unwrap()],
        );
        git(&world, &["push", "-q", "origin", "main"]);
        git(&world, &["remote", "set-head", "origin", "main"]);
        publish(&world, &fake, "as it is");
        let head = crate::support::world::git(world.root(), &["rev-parse", "HEAD"]);
        fake.store().name_head("main", &head, world.root());
        run(&world, &promote(REV_C)).exits(0);
        let document = run(
            &world,
            &[
                "rollback", "--to", REV_A, "--pr", "draft", "--format", "json",
            ],
        )
        .exits(0)
        .json();
        assert_eq!(document["pull_request"]["state"], "created", "{document}");
        let store = fake.store();
        assert_eq!(store.open_pulls().len(), 2, "{kind:?}");
        let pull = store.open_pulls()[1];
        assert!(
            pull.body.contains("kind=rollback")
                && (pull.draft
                    || ["WIP", "Draft"].contains(&pull.title.split(": rollback:").next().unwrap())),
            "{pull:?}"
        );
        let branch = document["branch"].as_str().unwrap();
        assert!(
            store
                .content(branch, ".github/workflows/a.yml")
                .contains(world.digest("review", REV_A))
        );
    }
}

#[test]
fn started_writes_are_reported() {
    for kind in one_of(FORGES) {
        // Nothing that anyone sees.
        let (world, fake) = hosted(kind, "labels: [ci]");
        let push = ("GET", "/info/refs?service=git-receive-pack");
        fake.fault(push, 1, Fault::Instead(error(403, "no")));
        let args = ["promote", "--revision", REV_B, "--pr", "ready"];
        let ran = run(&world, &args).exits(4);
        assert!(
            ran.stderr.contains("nothing was changed") && !ran.stderr.contains("continues"),
            "{}",
            ran.stderr
        );
        // A branch.
        fake.fault(("POST", "/pulls"), 1, Fault::Instead(error(403, "no")));
        let ran = run(&world, &args).exits(4);
        assert!(
            ran.stderr.contains("the next run continues")
                && ran.stderr.contains("run the command again"),
            "{}",
            ran.stderr
        );
        assert!(
            !ran.stderr.contains("nothing was changed"),
            "{}",
            ran.stderr
        );
        let ran = run(&world, &args).exits(0);
        assert!(ran.stderr.contains("created"), "{}", ran.stderr);
        let ran = run(&world, &[&args[..], &["--dry-run", "true"]].concat()).exits(0);
        assert!(
            ran.stderr
                .contains("--pr would change 5 pins in 2 files on repin/")
                && !ran.stderr.contains("--apply"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn interrupted_run_is_finished_by_the_next() {
    let steps = [
        ("GET", "/info/refs"),
        ("POST", "/git-upload-pack"),
        ("POST", "/git-receive-pack"),
        ("POST", "/pulls"),
        ("POST", "/labels"),
    ];
    for (kind, (method, path)) in with_each(&steps, &FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let (method, path) = match (kind, path) {
            // The creation contains the labels.
            (Kind::Gitlab, "/labels") => continue,
            (Kind::Gitlab, "/pulls") => ("POST", "/merge_requests"),
            _ => (method, path),
        };
        fake.fault((method, path), 1, Fault::Hang);
        let mut command = world.command(&promote(REV_B));
        let command = command
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let wanted = format!("{method} ");
        let arrived = |line: &String| {
            line.starts_with(&wanted) && line.split('?').next().unwrap().ends_with(path)
        };
        let limit = Instant::now() + Duration::from_secs(60);
        while !fake.asked().iter().any(arrived) {
            assert!(Instant::now() < limit, "never came to {method} {path}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(!child.wait().unwrap().success(), "{kind:?} {method} {path}");
        let document = run(&world, &promote(REV_B)).exits(0).json();
        let store = fake.store();
        assert_eq!(
            store.open_pulls().len(),
            1,
            "{kind:?} {method} {path}: {document}"
        );
        assert_eq!(
            store.open_pulls()[0].labels.first().map(String::as_str),
            Some("ci")
        );
        let branch = document["branch"].as_str().unwrap();
        assert_eq!(
            store.ahead(&store.refs["main"], &store.refs[branch]).len(),
            1,
            "one commit"
        );
    }
}

#[test]
fn silent_forge_is_unavailable() {
    for kind in one_of(FORGES) {
        let (world, fake) = hosted(kind, "labels: [ci]");
        fake.fault(("GET", "/acme/flows"), 9, Fault::Hang);
        let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_HTTP_TIMEOUT", "1s")];
        let document = world
            .run_with(&["doctor", "--format", "json"], &env)
            .exits(3)
            .json();
        let line = document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["code"] == "forge")
            .unwrap()
            .clone();
        assert!(
            line["detail"]
                .as_str()
                .unwrap()
                .contains("no response within 1 s; tried 2 times"),
            "{line}"
        );
    }
}

#[test]
fn message_has_the_address_and_next_step() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "labels: [ci]");
        let ran = world
            .run_with(
                &promote(REV_B),
                &[("GITHUB_API_URL", &fake.api()), ("GH_TOKEN", "other")],
            )
            .exits(4);
        let error = &ran.json()["errors"][0];
        let method = if kind == Kind::Github { "POST" } else { "GET" };
        let address = format!("{method} {}/", fake.api());
        assert!(
            error["message"].as_str().unwrap().contains(&address),
            "{error}"
        );
        world.replace(
            "repin.yaml",
            "acme/flows, labels",
            "acme/flows, base: mian, labels",
        );
        let error = run(&world, &promote(REV_B)).exits(2).json()["errors"][0].clone();
        assert!(
            error["code"] == "config" && error["hint"].as_str().unwrap().contains("forge.base"),
            "{error}"
        );
        world.replace("repin.yaml", &fake.api(), "http://127.0.0.1:1/api/v1");
        let error = run(&world, &promote(REV_B)).exits(3).json()["errors"][0].clone();
        assert!(
            error["hint"].as_str().unwrap().contains("forge.url"),
            "{error}"
        );
    }
}

#[test]
fn skipped_run_still_reads_the_configuration() {
    let (world, _fake) = hosted(FORGES[0], "");
    let args = [
        "--pr",
        "ready",
        "--if-unconfigured",
        "skip",
        "--format",
        "json",
    ];
    let args = [&["promote", "--revision", REV_B], &args[..]].concat();
    let document = world.run(&args).exits(0).json();
    assert_eq!(document["checks"][0]["code"], "unconfigured", "{document}");
    assert_eq!(document["revision"], REV_B);
    world.replace(
        "repin.yaml",
        "pins: 3 }",
        "pins: 3, contract: contract.yaml }",
    );
    world.write("contract.yaml", "agents: [");
    let ran = world.run(&args).exits(2);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("contract.yaml"), "{text}");
}

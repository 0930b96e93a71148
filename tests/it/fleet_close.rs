//! `repin fleet close` as a whole: it closes only pull requests of repin and of the set.

use std::fs;

use serde_json::Value;

use crate::support::{
    fleet::Fleet,
    forge::{
        Kind, PullRow,
        thousand::{Options, Trouble, contents::PINNED},
    },
    hosted::FORGES,
    sweep::one_of,
    world::{REV_A, REV_B, Ran},
};

fn close(fleet: &Fleet, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let close = ["fleet", "close", "--revision", REV_B, "--list", "list.txt"];
    fleet.run_with(&[&close, args].concat(), env)
}

/// Puts a commit that moves the pins, and its pull request, into a repository.
fn propose(fleet: &Fleet, number: usize, change: impl FnOnce(&mut PullRow)) -> String {
    let mut store = fleet.forge.store(number);
    let pull = store.add_pull(&format!("repin/promote-{REV_B}"), "main");
    pull.body = body("promote", REV_B);
    change(pull);
    let branch = pull.head.clone();
    let files = PINNED.map(|path| (path, store.content("main", path).replace("aaaa", "cccc")));
    let files: Vec<_> = files.iter().map(|(path, new)| (*path, &**new)).collect();
    let message = format!("promote: images @{REV_B}\n\nRepin-Set: {REV_B}\n");
    store.push(&branch, &message, &files)
}

fn comments(fleet: &Fleet, number: usize) -> Vec<String> {
    let store = fleet.forge.store(number);
    store.comments.values().flatten().cloned().collect()
}

/// `NUMBER OUTCOME` of each entry, and its pull request if it has one.
fn outcomes(ran: &Ran) -> Vec<String> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], "repin.fleet-close/1");
    let rows = document["repositories"].as_array().unwrap();
    let shown = rows.iter().map(|row| {
        let name = row["repository"].as_str().unwrap();
        let number = name.trim_start_matches("acme/app-000");
        let outcome = row["outcome"].as_str().unwrap();
        let pull = match row["pull_request"]["kind"].as_str() {
            Some(kind) => format!(" {kind} #{}", row["pull_request"]["number"]),
            None => String::new(),
        };
        format!("{number} {outcome}{pull}")
    });
    shown.collect()
}

fn body(kind: &str, revision: &str) -> String {
    format!("what moves\n\n<!-- repin/2 kind={kind} set=repin.yaml revision={revision} -->\n")
}

#[test]
fn only_pull_requests_of_the_set_are_shown() {
    for kind in one_of(FORGES) {
        let fleet = Fleet::new(Options::new(kind, 10));
        propose(&fleet, 0, |_| {});
        // Foreign pull requests with any texts: of another set, from a fork, on another branch, for
        // another base, closed.
        propose(&fleet, 1, |pull| {
            pull.head = format!("repin/promote-{REV_A}");
            pull.body = body("promote", REV_A);
        });
        propose(&fleet, 2, |pull| pull.head_repo = "fork/flows".to_owned());
        propose(&fleet, 3, |pull| pull.head = "mine".to_owned());
        propose(&fleet, 4, |pull| pull.body = "mine".to_owned());
        propose(&fleet, 5, |_| {});
        fleet.forge.store(5).close(1);
        fleet
            .forge
            .store(6)
            .push("release", "release", &[("x", "y")]);
        propose(&fleet, 6, |pull| pull.base = "release".to_owned());
        propose(&fleet, 7, |pull| {
            pull.head = format!("repin/rollback-{REV_B}");
            pull.body = body("rollback", REV_B);
        });
        let own = fleet.forge.store(8).content("main", "repin.yaml")
            + "promote: { branch: 'bot/{revision}' }\nsmoke: { command: [./run] }\n";
        fleet
            .forge
            .store(8)
            .push("main", "own branch", &[("repin.yaml", &own)]);
        propose(&fleet, 8, |pull| pull.head = format!("bot/{REV_B}"));
        // Rollbacks under the fleet's name, and under that of the repository.
        let config = fleet.read("repin.yaml") + "rollback: { branch: 'fleet-back/{revision}' }\n";
        fleet.write("repin.yaml", config);
        let own = fleet.forge.store(1).content("main", "repin.yaml")
            + "rollback: { branch: 'own-back/{revision}' }\n";
        fleet
            .forge
            .store(1)
            .push("main", "own branch", &[("repin.yaml", &own)]);
        for branch in ["fleet-back", "own-back"] {
            propose(&fleet, 1, |pull| {
                pull.head = format!("{branch}/{REV_B}");
                pull.body = body("rollback", REV_B);
            });
        }

        // More than a survey shows, which lists the latest ones; the first one is repin's.
        propose(&fleet, 9, |_| {});
        propose(&fleet, 9, |pull| pull.head_repo = "fork/flows".to_owned());
        propose(&fleet, 9, |pull| pull.head = "mine".to_owned());
        propose(&fleet, 9, |pull| pull.base = "release".to_owned());
        propose(&fleet, 9, |pull| pull.body = body("promote", REV_A));
        fleet
            .forge
            .store(9)
            .push("release", "release", &[("x", "y")]);
        for _ in 0..60 {
            propose(&fleet, 9, |pull| pull.open = false);
        }

        let shown = close(&fleet, &["--format", "json"], &[]).exits(0);
        let expected = [
            "0 open promote #1",
            "1 open rollback #2",
            "1 open rollback #3",
            "2 none",
            "3 none",
            "4 none",
            "5 none",
            "6 none",
            "7 open rollback #1",
            "8 open promote #1",
            "9 open promote #1",
        ];
        assert_eq!(outcomes(&shown), expected, "{kind:?}");
        let conclusion = kind.spelled("6 pull requests would be closed");
        assert!(shown.stderr.contains(&conclusion), "{}", shown.stderr);
        let text = close(&fleet, &[], &[]).exits(0);
        assert_eq!(text.stdout.lines().count(), 7, "{}", text.stdout);
        let title = kind.spelled("pull request").to_uppercase();
        assert!(text.stdout.contains(&title), "{}", text.stdout);
        assert!(
            text.stdout.contains("acme/app-0008  open"),
            "{}",
            text.stdout
        );
        assert!(fleet.forge.log().iter().all(|logged| !logged.write));
    }
}

#[test]
fn foreign_commits_keep_a_pull_request_open() {
    for kind in one_of(FORGES) {
        let fleet = Fleet::new(Options::new(kind, 2));
        let ours = propose(&fleet, 0, |_| {});
        let theirs = {
            propose(&fleet, 1, |_| {});
            let mut store = fleet.forge.store(1);
            let branch = format!("repin/promote-{REV_B}");
            store.push(
                &branch,
                "fix: by hand",
                &[("src/part0/file0.txt", "mine\n")],
            )
        };
        let shown = close(&fleet, &["--format", "json"], &[]).exits(5);
        let expected = ["0 open promote #1", "1 foreign_commit promote #1"];
        assert_eq!(outcomes(&shown), expected, "{kind:?}");
        let closed = close(&fleet, &["--apply", "--format", "json"], &[]).exits(5);
        let expected = ["0 closed promote #1", "1 foreign_commit promote #1"];
        assert_eq!(outcomes(&closed), expected, "{kind:?}");
        assert!(closed.stdout.contains(&theirs), "{}", closed.stdout);
        let conclusion = kind.spelled("closed 1 pull request; 1 left open");
        assert!(closed.stderr.contains(&conclusion), "{}", closed.stderr);
        assert_eq!(fleet.forge.open_pulls(), [(1, 1)], "{kind:?}");
        // The branch stays.
        let branch = format!("repin/promote-{REV_B}");
        assert_eq!(fleet.forge.store(0).refs[&branch], ours);
        assert!(comments(&fleet, 0)[0].contains("repin fleet close"));
        assert!(comments(&fleet, 1).is_empty());
        let hasty = fleet.forge.hasty_writes();
        assert!(hasty.is_empty(), "{hasty:#?}");
        // A second run closes nothing and sends no write.
        let before = fleet.forge.log().len();
        let again = close(&fleet, &["--apply", "--format", "json"], &[]).exits(5);
        let expected = ["0 none", "1 foreign_commit promote #1"];
        assert_eq!(outcomes(&again), expected, "{kind:?}");
        assert!(fleet.forge.log()[before..].iter().all(|it| !it.write));
        // A user reopened it.
        fleet.forge.store(0).pulls[0].open = true;
        fleet.write("list.txt", "acme/app-0000\n");
        let summary = fleet.path("summary.md");
        fs::write(&summary, "").unwrap();
        let env = [("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
        close(&fleet, &["--apply", "--format", "github"], &env).exits(0);
        assert_eq!(fleet.forge.open_pulls(), [(1, 1)], "{kind:?}");
        assert_eq!(comments(&fleet, 0).len(), 1, "{kind:?}");
        let summary = fs::read_to_string(&summary).unwrap();
        assert!(summary.contains("| closed |"), "{summary}");
    }
}

#[test]
fn worst_exit_of_the_repositories_counts() {
    for kind in one_of(FORGES) {
        let options = Options::new(kind, 7)
            .trouble(0, Trouble::Archived)
            .trouble(1, Trouble::Empty)
            .trouble(2, Trouble::Missing)
            .trouble(3, Trouble::Renamed)
            .trouble(5, Trouble::Unconfigured);
        let fleet = Fleet::new(options);
        let wrong = [("repin.yaml", "version: 1\nimages: 3\n")];
        fleet.forge.store(4).push("main", "wrong", &wrong);
        // The branch by the configuration of the fleet, if the repository has none.
        propose(&fleet, 5, |_| {});
        propose(&fleet, 6, |_| {});
        let shown = close(&fleet, &["--format", "json"], &[]).exits(2);
        let expected = [
            "0 archived",
            "1 unconfigured",
            "2 unconfigured",
            "3 moved",
            "4 refused",
            "5 open promote #1",
            "6 open promote #1",
        ];
        assert_eq!(outcomes(&shown), expected, "{kind:?}");
        assert!(shown.stdout.contains("acme/app-0003-renamed"));
        fleet.write("list.txt", "acme/app-0000\nacme/app-0001\nacme/app-0002\n");
        close(&fleet, &[], &[]).exits(0);
        let config = fleet.read("repin.yaml");
        let config = config.replace("fleet: {}", "fleet: { when_unconfigured: fail }");
        fleet.write("repin.yaml", config);
        let failed = close(&fleet, &["--format", "github"], &[]).exits(2);
        let annotated = "title=archived%3A acme/app-0000::acme/app-0000 is archived";
        assert!(failed.stdout.contains(annotated), "{}", failed.stdout);
    }
}

#[test]
fn limit_beyond_the_deadline_leaves_repositories_pending() {
    let options = Options::new(Kind::Github, 3)
        .trouble(0, Trouble::Denied)
        .trouble(1, Trouble::Limited);
    let fleet = Fleet::new(options);
    for number in 0..3 {
        propose(&fleet, number, |_| {});
    }
    fleet.write("list.txt", "acme/app-0001\nacme/app-0002\n");
    let env = [("REPIN_DEADLINE", "40s")];
    let ran = close(&fleet, &["--apply", "--format", "json"], &env).exits(3);
    let expected = ["1 pending promote #1", "2 pending promote #1"];
    assert_eq!(outcomes(&ran), expected);
    assert_eq!(fleet.forge.open_pulls().len(), 3);
    fleet.write("list.txt", "acme/app-0000\n");
    let ran = close(&fleet, &["--apply", "--format", "json"], &[]).exits(4);
    assert_eq!(outcomes(&ran), ["0 denied promote #1"]);
}

#[test]
fn repositories_after_the_deadline_are_not_read() {
    let fleet = Fleet::new(Options::new(Kind::Gitea, 6).trouble(0, Trouble::Silent));
    for number in 0..6 {
        propose(&fleet, number, |_| {});
    }
    let env = [("REPIN_DEADLINE", "1s"), ("REPIN_HTTP_TIMEOUT", "2s")];
    let ran = close(&fleet, &["--apply", "--format", "json"], &env);
    let outcomes = outcomes(&ran);
    assert_eq!(outcomes[4..], ["4 pending", "5 pending"], "{outcomes:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    for number in 1..6 {
        let message = document["repositories"][number]["error"]["message"].to_string();
        assert!(message.contains("the time is over"), "{message}");
    }
    let log = fleet.forge.log();
    let read = log.iter().filter(|logged| logged.repository > Some(3));
    assert_eq!(read.count(), 0);
}

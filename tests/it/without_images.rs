//! Configurations without images: the commands about the forge work, those about pins report that there are none.

use serde_json::json;

use crate::support::{
    forge::{Fake, Kind},
    hosted::{FORGES, document, run},
    world::{World, world},
};

/// A directory whose configuration only describes a forge, with its base branch and `staging`.
fn hosted(kind: Kind) -> (World, Fake) {
    let (world, fake) = (World::empty(), Fake::start(kind));
    let name = kind.name();
    let config = format!(
        "version: 1\nname: flows\nforge: {{ kind: {name}, url: '{}', repository: acme/flows, gates: [ci], \
         auto_merge: true, sync_targets: [staging] }}\n",
        fake.api()
    );
    world.write("repin.yaml", &config);
    fake.store()
        .push("main", "first", &[("repin.yaml", &config)]);
    fake.store().push("staging", "work", &[("x", "y")]);
    (world, fake)
}

#[test]
fn forge_alone_is_enough_for_gates_and_merges() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        fake.store().report("ci", "success");
        let gates = document(&world, &["gates", "--ref", "staging"], 0);
        assert_eq!(gates["state"], "pass", "{kind:?}");
        let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
        let planned = document(&world, &promote, 0);
        assert_eq!(planned["state"], "planned", "{kind:?}");
        let opened = document(&world, &[&promote[..], &["--apply"]].concat(), 0);
        let number = opened["pull_request"]["number"].to_string();
        let waited = document(&world, &["wait", "--pr", &number, "--timeout", "1m"], 0);
        assert_eq!(waited["state"], "merged", "{kind:?}");
        assert_eq!(fake.store().content("main", "x"), "y");
    }
}

#[test]
fn pull_request_of_a_set_is_not_merged() {
    let (world, fake) = hosted(Kind::Github);
    let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
    run(&world, &[&promote[..], &["--apply"]].concat()).exits(0);
    let marker = "<!-- repin/2 kind=promote set=repin.yaml revision=abc -->";
    fake.store().pull_mut(1).unwrap().body = marker.to_owned();
    fake.forget();
    fake.store().report("ci", "success");
    let ran = run(&world, &["wait", "--pr", "1", "--timeout", "0s"]).exits(3);
    assert!(
        ran.stderr.contains("does not verify or merge it"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.writes(), [] as [String; 0]);
}

#[test]
fn status_and_doctor_report_only_the_forge() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        let ran = run(&world, &["status"]).exits(0);
        assert_eq!(
            ran.stdout,
            kind.spelled("set           flows: no images, so there are no pins\nopen          no pull request\n\nno problem found\n"),
            "{kind:?}"
        );
        let status = document(&world, &["status"], 0);
        assert_eq!(
            [
                &status["work_tree"],
                &status["pull_requests"],
                &status["not_queried"]
            ],
            [&json!([]); 3],
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        let promote = ["branch", "promote", "--from", "staging", "--to", "main"];
        fake.store().report("ci", "pending");
        let opened = document(&world, &[&promote[..], &["--apply"]].concat(), 0);
        let number = opened["pull_request"]["number"].as_u64().unwrap();
        let mut foreign = fake.store().pulls[0].clone();
        (foreign.number, foreign.head) = (99, "main".to_owned());
        fake.store().pulls.push(foreign);
        let listed = document(&world, &["status"], 0)["pull_requests"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{kind:?} {listed}");
        assert_eq!(
            [
                &listed[0]["number"],
                &listed[0]["kind"],
                &listed[0]["revision"]
            ],
            [&json!(number), &json!("branch"), &json!("staging")]
        );
        let ran = run(&world, &["status"]).exits(0);
        assert!(ran.stdout.contains(" branch staging"), "{}", ran.stdout);
        fake.forget();
        let doctor = document(&world, &["doctor"], 0);
        let checks = doctor["checks"].as_array().unwrap();
        for code in ["files", "rehearsal", "registry"] {
            let row = checks.iter().find(|row| row["code"] == code).unwrap();
            assert_eq!(row["status"], "skip", "{row}");
        }
        for code in ["configuration", "forge", "token", "base"] {
            let row = checks.iter().find(|row| row["code"] == code).unwrap();
            assert_eq!(row["status"], "pass", "{row}");
        }
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[test]
fn commands_about_pins_report_that_there_are_none() {
    let (world, _fake) = hosted(Kind::Github);
    let world = world.with_git();
    for args in [
        &["check"][..],
        &["scan"],
        &["history"],
        &["builds"],
        &["rehearse"],
        &["prune"],
        &["promote", "--revision", "newest"],
        &["rollback", "--to", "abc"],
        &["resolve", "--revision", "abc"],
        &["set", "--revision", "abc", "--out", "set.json"],
        &["fleet", "list", "--org", "acme"],
    ] {
        let ran = world.run(&[args, &["--format", "json"]].concat()).exits(2);
        let error = &ran.json()["errors"][0];
        assert_eq!(error["code"], "config", "{args:?}");
        assert_eq!(
            error["message"], "repin.yaml has no `images`, so there are no pins for this command",
            "{args:?}"
        );
    }
    for command in ["check", "status"] {
        let ran = world.run(&[command, "--all"]).exits(0);
        assert!(
            ran.stdout.contains("skipped: it has no images"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn branches_are_synchronized_without_images() {
    let world = world();
    world.write(
        "repin.yaml",
        "version: 1\nforge: { sync_targets: [staging] }\n",
    );
    let world = world.with_git();
    world.git(&["push", "-q", "origin", "main:staging"]);
    let sync = [
        "branch", "sync", "--from", "main", "--to", "staging", "--format", "json",
    ];
    assert_eq!(world.run(&sync).exits(0).json()["state"], "in_sync");
}

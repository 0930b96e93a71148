//! Which files count: globs that exclude, globs that match nothing, files that git ignores, and a
//! configuration under another name.

use std::fs;

use crate::support::world::{REV_A, REV_B, World, details, failed, world};

const FILES: &str = "files: ['.github/workflows/*.yml']";

fn with_files(globs: &str) -> World {
    let world = world();
    world.replace("repin.yaml", FILES, &format!("files: [{globs}]"));
    world.with_git()
}

#[test]
fn unmatched_glob_fails_check_and_prune() {
    let world = with_files("'.github/workflows/*.yml', \"Dokerfile\", 'x/**/*.yml'");
    world.write("repin.yaml", world.read("repin.yaml") + "prune: {}\n");
    for command in ["check", "prune"] {
        let ran = world.run(&[command]).exits(2);
        for message in [
            "files: \"Dokerfile\" matches no file",
            "files: \"x/**/*.yml\" matches no file",
        ] {
            assert!(ran.stderr.contains(message), "{}", ran.stderr);
        }
        assert!(ran.stderr.contains("repin.yaml:3:36"), "{}", ran.stderr);
    }
    let document = world.run(&["check", "--format", "json"]).exits(2).json();
    assert_eq!(document["schema"], "repin.error/1");
    let error = &document["errors"][0];
    assert_eq!(
        (&error["code"], &error["line"], &error["column"]),
        (&"config".into(), &3.into(), &36.into())
    );
    world.write("Dokerfile", "");
    world.write("x/a/b.yml", "");
    world.run(&["check"]).exits(0);
}

#[test]
fn unmatched_glob_warns_in_promote_and_rollback() {
    let world = with_files("'.github/workflows/*.yml'");
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    world.replace(
        "repin.yaml",
        FILES,
        "files: ['.github/workflows/*.yml', Dokerfile]",
    );
    let warned = ["files: \"Dokerfile\" matches no file"];
    for args in [
        ["promote", "--revision", REV_B],
        ["rollback", "--to", REV_A],
    ] {
        let ran = world.run(&args).exits(0);
        assert!(
            ran.stderr
                .contains(&format!("warning[pin_count]: {}", warned[0])),
            "{}",
            ran.stderr
        );
        let json = [&args[..], &["--format", "json"]].concat();
        let document = world.run(&json).exits(0).json();
        assert_eq!(details(&document, "pin_count", "warn"), warned);
        assert!(
            document["body"]
                .as_str()
                .unwrap()
                .contains(r#"files: "Dokerfile" matches no file"#),
            "{document}"
        );
    }
}

#[test]
fn a_configuration_of_the_past_may_match_nothing() {
    let world = with_files("'.github/workflows/*.yml', gone.txt");
    world.write("gone.txt", "");
    world.adopt(REV_A);
    fs::remove_file(world.path("gone.txt")).unwrap();
    world.commit("a file goes, its glob stays");
    world.replace("repin.yaml", ", gone.txt", "");
    world.commit("its glob goes");
    world.push();
    world.promoted(REV_B);
    let ran = world.run(&["rollback", "--to", REV_A]).exits(0);
    assert!(!ran.stderr.contains("matches no file"), "{}", ran.stderr);
}

#[test]
fn exclamation_mark_excludes_files() {
    let world = with_files("'**/*.yml', '!testdata/**'");
    let fix = world.digest("fix", REV_A).to_owned();
    let pin = format!("ghcr.io/acme/fix@{fix}\n");
    world.write("testdata/a/b.yml", &pin);
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "outside_ignore: ['testdata/**']\n",
    );
    world.run(&["check"]).exits(0);
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    assert_eq!(world.read("testdata/a/b.yml"), pin);
    // The excluded file is reported, like any file that is not scanned.
    world.git(&["add", "-A"]);
    world.replace(
        "repin.yaml",
        "outside_ignore: ['testdata/**']",
        "outside: refuse",
    );
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    assert_eq!(failed(&document), ["pin_outside"]);
    // A glob with only excluded matches is an error.
    world.replace("repin.yaml", "'!testdata/**'", "'!**'");
    let ran = world.run(&["check"]).exits(2);
    assert!(
        ran.stderr.contains("a glob that starts with `!` excludes"),
        "{}",
        ran.stderr
    );
    world.replace("repin.yaml", "'**/*.yml', ", "");
    let ran = world.run(&["check"]).exits(2);
    assert!(ran.stderr.contains("`files` is empty"), "{}", ran.stderr);
}

#[test]
fn history_obeys_the_exclusions_of_its_time() {
    let world = with_files("'**/*.yml', '!testdata/**'");
    world.write(
        "testdata/a.yml",
        format!("ghcr.io/acme/fix@{}\n", world.digest("fix", REV_B)),
    );
    world.adopt(REV_A);
    world.push();
    world.promoted(REV_B);
    // With the excluded file the set of A would hold two digests of `fix`.
    world.run(&["rollback", "--to", REV_A]).exits(0);
}

#[test]
fn ignored_untracked_files_do_not_count() {
    let world = with_files("'**/*.yml'");
    let pin = format!("ghcr.io/acme/fix@{}\n", world.digest("fix", REV_A));
    world.write(
        ".gitignore",
        "/images\n/origin.git\nnode_modules\n*.gen.yml\n!keep.gen.yml\n",
    );
    world.write("web/node_modules/deep/dep/a.yml", &pin);
    world.write("web/x.gen.yml", &pin);
    world.run(&["check"]).exits(0);
    world.run(&["promote", "--revision", REV_B]).exits(0);
    assert_eq!(world.run(&["scan"]).exits(0).stdout.lines().count(), 5);
    // A tracked file counts although a rule ignores it, and so does a file that no rule ignores.
    world.git(&["add", "-f", "web/node_modules/deep/dep/a.yml"]);
    let failing = |count: &str| {
        let ran = world.run(&["check"]).exits(1);
        assert!(ran.stderr.contains(count), "{}", ran.stderr);
    };
    failing("found 3 pins of `fix`");
    world.write("web/keep.gen.yml", &pin);
    failing("found 4 pins of `fix`");
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "files_ignored: include\n",
    );
    failing("found 5 pins of `fix`");
}

#[test]
fn glob_matching_only_ignored_files_is_reported() {
    let world = with_files("'.github/workflows/*.yml', 'build/*.yml'");
    world.write(".gitignore", "/images\n/origin.git\n/build\n");
    world.write("build/a.yml", "");
    let ran = world.run(&["check"]).exits(2);
    for part in [
        "files: \"build/*.yml\" matches no file",
        "git ignores 1 matching file",
        "files_ignored: include",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    world.replace("repin.yaml", "build/*.yml", "buidl/*.yml");
    let ran = world.run(&["check"]).exits(2);
    assert!(!ran.stderr.contains("excludes"), "{}", ran.stderr);
    world.replace("repin.yaml", "buidl/*.yml", "build/*.yml");
    world.write(
        "repin.yaml",
        world.read("repin.yaml") + "files_ignored: include\n",
    );
    world.run(&["check"]).exits(0);
}

#[test]
fn repository_that_ignores_the_root_is_skipped() {
    let outer = with_files("'.github/workflows/*.yml'");
    outer.write(".gitignore", "*\n");
    for deep in ["inner", "inner/deeper"] {
        for path in [
            "repin.yaml",
            ".github/workflows/a.yml",
            ".github/workflows/b.yml",
        ] {
            outer.write(&format!("{deep}/{path}"), outer.read(path));
        }
        outer.write(
            &format!("{deep}/x.md"),
            format!("ghcr.io/acme/fix@sha256:{}", "1".repeat(64)),
        );
        let ran = outer.run_in(&outer.path(deep), &["check"], &[]).exits(0);
        assert!(
            ran.stderr.contains("pin_outside]: fix: x.md:1:1"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_configuration_under_the_other_name_is_reported() {
    let world = with_files("'.github/workflows/*.yml'");
    world.write("repin.yml", "");
    let warning = |ran: &str| ran.contains("warning: repin.yml is not read");
    for args in [
        &["check"][..],
        &["--config", "repin.yaml", "scan"],
        &["scan", "--format", "json"],
    ] {
        let ran = world.run(args).exits(0);
        assert!(warning(&ran.stderr), "{}", ran.stderr);
    }
    // Instead of the right one, and nearer than it.
    world.write("sub/repin.yml", "");
    let ran = world.run_in(&world.path("sub"), &["scan"], &[]).exits(0);
    assert!(warning(&ran.stderr), "{}", ran.stderr);
    fs::rename(world.path("repin.yaml"), world.path("other.yaml")).unwrap();
    fs::remove_file(world.path("repin.yml")).unwrap();
    let ran = world.run_in(&world.path("sub"), &["scan"], &[]).exits(2);
    assert!(
        ran.stderr.contains("repin.yaml not found in "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("sub/repin.yml: rename it to repin.yaml"),
        "{}",
        ran.stderr
    );
    // Named, it is the configuration.
    fs::rename(world.path("other.yaml"), world.path("repin.yml")).unwrap();
    let ran = world.run(&["--config", "repin.yml", "scan"]).exits(0);
    assert!(!warning(&ran.stderr), "{}", ran.stderr);
}

/// A glob that panics in globset 0.4.21: more than 124 nested braces.
fn panicking() -> String {
    format!("{}{}", "{a,".repeat(200), "}".repeat(200))
}

#[test]
fn globs_have_limits() {
    let refused = |globs: &str, reason: &str| {
        let world = with_files(globs);
        let ran = world.run(&["check"]).exits(2);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    };
    let list = |count: usize| vec!["'.github/workflows/*.yml'"; count].join(", ");
    refused(
        &list(1_001),
        "found 1001 globs; the maximum in a list is 1000",
    );
    refused(
        &list(20_000),
        "found 20000 globs; the maximum in a list is 1000",
    );
    refused(
        &format!("'{}'", "a".repeat(4_097)),
        "the glob has 4097 bytes",
    );
    refused(
        &format!("'{}'", panicking()),
        "the glob has 200 nested braces",
    );
    refused(
        "'{{{{{a}}}}}'",
        "the glob has 5 nested braces; the maximum is 4",
    );
    let allowed = format!("'{{{{{{{{.github/workflows/*.yml}}}}}}}}', {}", list(999));
    with_files(&allowed).run(&["check"]).exits(0);
}

#[test]
fn every_list_of_globs_has_limits() {
    let many = format!("[{}]", vec!["a"; 1_001].join(", "));
    let deep = format!("['{}']", panicking());
    for block in [
        "outside_ignore: GLOBS",
        "places: { helm: { files: GLOBS } }",
        "inventory: { required_files: GLOBS }",
        "inventory: { forbidden_files: GLOBS }",
    ] {
        for (globs, reason) in [(&many, "1001 globs"), (&deep, "200 nested braces")] {
            let world = with_files("'.github/workflows/*.yml'");
            let text = world.read("repin.yaml");
            world.write("repin.yaml", text + &block.replace("GLOBS", globs) + "\n");
            let ran = world.run(&["check"]).exits(2);
            assert!(ran.stderr.contains(reason), "{block}: {}", ran.stderr);
        }
    }
}

#[test]
fn lists_of_globs_have_a_limit_together() {
    let world = with_files("'.github/workflows/*.yml'");
    let list = vec!["a"; 1_000].join(", ");
    let places: Vec<_> = (0..20)
        .map(|at| format!("p{at}: {{ kind: helm, files: [{list}] }}"))
        .collect();
    let text = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        format!("{text}places: {{ {} }}\n", places.join(", ")),
    );
    let ran = world.run(&["check"]).exits(2);
    assert!(
        ran.stderr
            .contains("the maximum in all lists together is 5000"),
        "{}",
        ran.stderr
    );
}

#[test]
fn panicking_glob_in_history_makes_its_commit_unknown() {
    let world = with_files("'.github/workflows/*.yml'");
    world.adopt(REV_A);
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        config.replace("'.github/workflows/*.yml'", &format!("'{}'", panicking())),
    );
    world.commit("a glob that panics");
    world.write("repin.yaml", config);
    world.commit("a glob that works");
    world.push();
    world.run(&["history"]).exits(0);
    // A set may be promoted, or rolled back, by the commit that cannot be read.
    let promote = ["promote", "--revision", REV_B];
    let ran = world.run(&promote).exits(1);
    assert!(ran.stderr.contains("cannot read commit"), "{}", ran.stderr);
    assert!(ran.stderr.contains("200 nested braces"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let overruled = [&promote[..], &["--allow-older", "--force-after-rollback"]].concat();
    world.run(&overruled).exits(0);
}

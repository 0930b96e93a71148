//! `init --update`: files that no glob matches.

use std::fs;

use crate::init::{Tree, tree};

const APP: &str = "ghcr.io/acme/app";

fn digest(digit: char) -> String {
    format!("sha256:{}1", digit.to_string().repeat(63))
}

fn pin(digit: char) -> String {
    format!("{APP}@{}\n", digest(digit))
}

/// A git repository with `files` in its configuration, and a pin in `a/x.yml`.
fn repository(files: &str) -> Tree {
    let repository = tree(&[("a/x.yml", &pin('a'))]);
    repository.write(
        "repin.yaml",
        format!("version: 1\n{files}images:\n  app: {{ repository: {APP}, pins: 1 }} # all\n"),
    );
    repository.git(&["init", "-q"]);
    repository.git(&["add", "-A"]);
    repository
}

/// The diff in the output of `init --update`.
fn printed_diff(stdout: &str) -> &str {
    let end = stdout.find("\ndry run").unwrap_or(stdout.len());
    &stdout[stdout.find("--- ").unwrap()..end]
}

fn config(repository: &Tree) -> String {
    fs::read_to_string(repository.path("repin.yaml")).unwrap()
}

#[test]
fn update_adds_files_that_no_glob_matches() {
    for (before, after) in [
        (
            "files:\n  - \"a/*.yml\" # first\n  - '!a/no.yml'\n",
            "files:\n  - \"a/*.yml\" # first\n  - b/x.yml\n  - '!a/no.yml'\n",
        ),
        ("files: [a/x.yml]\n", "files: [a/x.yml, b/x.yml]\n"),
        (
            "files: [ 'a/*.yml', \"c*\" ] # two\n",
            "files: [ 'a/*.yml', \"c*\", b/x.yml ] # two\n",
        ),
        (
            "files:\r\n- a/x.yml\r\n",
            "files:\r\n- a/x.yml\r\n- b/x.yml\r\n",
        ),
    ] {
        let repository = repository(before);
        repository.write("c.txt", "");
        repository.write("b/other.yml", "");
        repository.write("b/x.yml", pin('a'));
        let old = config(&repository);
        let checked = repository.run(&["check"]).exits(0);
        assert!(!checked.stderr.contains("pin_outside"));
        repository.git(&["add", "-A"]);
        let checked = repository.run(&["check"]).exits(0);
        assert!(checked.stderr.contains("pin_outside"), "{}", checked.stderr);
        let dry = repository.run(&["init", "--update", "--dry-run"]).exits(0);
        assert!(dry.stdout.contains("b/x.yml"), "{}", dry.stdout);
        let expected = "1 count would change, 1 glob would be added to `files`";
        assert!(dry.stderr.contains(expected), "{}", dry.stderr);
        assert_eq!(config(&repository), old);
        let ran = repository.run(&["init", "--update", "--config", "repin.yaml"]);
        let ran = ran.exits(0);
        let expected = "wrote repin.yaml: 1 count changed, 1 glob added to `files`; \
                        run `repin check --config repin.yaml`";
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        let expected = old.replace(before, after).replace("pins: 1", "pins: 2");
        assert_eq!(config(&repository), expected);
        // The diff that was printed before is the change.
        repository.write("repin.yaml", &old);
        repository.write("init.diff", printed_diff(&dry.stdout));
        repository.git(&["apply", "init.diff"]);
        assert_eq!(config(&repository), expected);
        let checked = repository.run(&["check"]).exits(0);
        assert_eq!(checked.stderr, "");
        let again = repository.run(&["init", "--update"]).exits(0);
        assert_eq!(again.stdout, "repin.yaml: every count is up to date\n");
    }
}

#[test]
fn list_at_the_end_is_extended() {
    let repository = repository("");
    let text = format!(
        "version: 1\nimages:\n  app: {{ repository: {APP}, pins: 1 }}\nfiles:\n  - a/*.yml"
    );
    repository.write("repin.yaml", &text);
    // The file is not added to git yet, but the next commit may contain it.
    repository.write("b/x.yml", pin('a'));
    repository.write("b/other.yml", "");
    let ran = repository.run(&["init", "--update"]).exits(0);
    let expected = text.replace("pins: 1", "pins: 2") + "\n  - b/x.yml\n";
    assert_eq!(config(&repository), expected);
    repository.write("repin.yaml", &text);
    repository.write("init.diff", printed_diff(&ran.stdout));
    repository.git(&["apply", "init.diff"]);
    assert_eq!(config(&repository), expected);
}

#[test]
fn excluded_files_are_not_added() {
    let repository = repository("files: [a/x.yml, '!b/**']\noutside_ignore: [CHANGELOG.md]\n");
    repository.write("CHANGELOG.md", pin('a'));
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(ran.stdout.contains("up to date"), "{}", ran.stdout);
    repository.write("b/x.yml", pin('a'));
    repository.git(&["add", "-A"]);
    let before = config(&repository);
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(
        ran.stderr.contains("pin_outside: b/x.yml"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stdout.contains("up to date"), "{}", ran.stdout);
    assert_eq!(config(&repository), before);
}

#[test]
fn digest_outside_is_never_up_to_date() {
    let repository = repository("files: [a/x.yml]\n");
    repository.write("values.txt", format!("digest: {}\n", digest('a')));
    repository.git(&["add", "-A"]);
    let checked = repository.run(&["check"]).exits(0);
    assert!(checked.stderr.contains("digest_outside"));
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert_eq!(ran.stdout, "repin.yaml: no change; 1 warning\n");
    let document = repository.run(&["init", "--update", "--format", "json"]);
    let document = document.exits(0).json();
    assert_eq!(document["diff"], serde_json::Value::Null);
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("digest_outside: values.txt:1:9"));
}

#[test]
fn missing_list_of_files_is_reported() {
    let repository = repository("places: { kustomize: { files: [k/kustomization.yaml] } }\n");
    let text = format!("images: [{{ name: {APP}, digest: {} }}]\n", digest('a'));
    repository.write("k/kustomization.yaml", text);
    let before = config(&repository);
    let ran = repository.run(&["init", "--update"]).exits(0);
    let expected = "`files` cannot be edited; add to it: a/*.{yml,yaml}";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    assert!(!ran.stdout.contains("up to date"), "{}", ran.stdout);
    assert_eq!(config(&repository), before);
}

#[test]
fn pins_of_another_configuration_are_not_added() {
    let repository = repository("files: [a/x.yml]\n");
    repository.write("b/x.yml", pin('b'));
    let nested =
        format!("version: 1\nfiles: [x.yml]\nimages:\n  app: {{ repository: {APP}, pins: 1 }}\n");
    repository.write("b/repin.yaml", nested);
    repository.git(&["add", "-A"]);
    let before = config(&repository);
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert_eq!(ran.stdout, "repin.yaml: every count is up to date\n");
    assert_eq!(config(&repository), before);
    // Control: without the other configuration, the file is added.
    repository.git(&["rm", "-q", "--cached", "b/repin.yaml"]);
    fs::remove_file(repository.path("b/repin.yaml")).unwrap();
    repository.run(&["init", "--update"]).exits(0);
    assert!(config(&repository).contains("b/*.{yml,yaml}"));
}

#[test]
fn update_refuses_the_counts_of_a_sparse_checkout() {
    let repository = repository("files: ['*/x.yml']\n");
    repository.write("b/x.yml", pin('a'));
    repository.write("c/x.yml", "no pin\n");
    repository.replace("repin.yaml", "pins: 1", "pins: 2");
    repository.commit("two pins");
    repository.run(&["check"]).exits(0);
    repository.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/b/", "!/c/"]);
    let old = config(&repository);
    for policy in ["", "outside: ignore\n"] {
        // A set without any remaining pin would be another error.
        for pins in ["pins: 1", "pins: 2"] {
            let text = old.replace("pins: 2", pins) + policy;
            repository.write("repin.yaml", &text);
            let ran = repository.run(&["init", "--update"]).exits(1);
            for part in [
                "leaves out: b/x.yml",
                "include the 2 files that `files:` matches",
            ] {
                assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
            }
            assert_eq!(config(&repository), text);
        }
    }
    // The files without a pin do not matter, unless a count is lowered.
    repository.write("repin.yaml", &old);
    repository.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/c/"]);
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(ran.stdout.contains("up to date"), "{}", ran.stdout);
    repository.write("repin.yaml", old.replace("pins: 2", "pins: 3"));
    let ran = repository.run(&["init", "--update"]).exits(1);
    assert!(
        ran.stderr.contains("cannot lower a count"),
        "{}",
        ran.stderr
    );
    repository.git(&["sparse-checkout", "disable"]);
    repository.run(&["init", "--update"]).exits(0);
    assert_eq!(config(&repository), old);
}

#[test]
fn update_proposes_the_record_of_added_images() {
    let web = "ghcr.io/acme/web";
    let revision = "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa";
    let repository = repository("files: [a/x.yml]\n");
    repository.commit("one image");
    repository.write("b/x.yml", format!("{web}@{}\n", digest('b')));
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(!ran.stderr.contains("git commit"), "{}", ran.stderr);
    let text = config(&repository) + &format!("  web: {{ repository: {web}, pins: 2 }}\n");
    repository.write("repin.yaml", &text);
    let ran = repository.run(&["init", "--update", "--dry-run"]).exits(0);
    assert!(!ran.stderr.contains("git commit"), "{}", ran.stderr);
    let ran = repository.run(&["init", "--update"]).exits(0);
    let command = "git commit -m 'add images' -m 'Repin-Set: REVISION' -- repin.yaml b/x.yml";
    for part in [command, "`repin check --remote` shows it"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // Also if every count is right, and with the revision if each image has its tag.
    repository.write("a/x.yml", format!("{APP}:{revision}@{}\n", digest('a')));
    repository.write("b/x.yml", format!("{web}:{revision}@{}\n", digest('b')));
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(ran.stdout.contains("up to date"), "{}", ran.stdout);
    let command = format!("'Repin-Set: {revision}' -- repin.yaml a/x.yml b/x.yml");
    assert!(ran.stderr.contains(&command), "{}", ran.stderr);
    repository.commit("two images");
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(!ran.stderr.contains("git commit"), "{}", ran.stderr);
}

#[test]
fn untracked_configuration_here_is_not_in_a_parent() {
    let repository = repository("files: [a/x.yml]\n");
    repository.git(&["rm", "-q", "--cached", "repin.yaml"]);
    let ran = repository.run(&["check", "--all"]).exits(2);
    assert!(
        ran.stderr.contains("help: git does not track"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("parent"), "{}", ran.stderr);
}

#[test]
fn init_reports_files_outside_of_the_sparse_checkout() {
    let repository = repository("files: ['*/x.yml']\n");
    repository.write("b/x.yml", pin('a'));
    repository.write("b/y.yml", "");
    repository.commit("two pins");
    fs::remove_file(repository.path("repin.yaml")).unwrap();
    let warning = "2 tracked files not searched, because the sparse checkout leaves them out";
    for args in [&["init", "--dry-run"][..], &["init", "--pin"]] {
        repository.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/b/"]);
        let ran = repository.run(args).exits(0);
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
        repository.git(&["sparse-checkout", "disable"]);
        let ran = repository.run(args).exits(0);
        assert!(!ran.stderr.contains("sparse"), "{}", ran.stderr);
    }
}

#[test]
fn update_warns_of_another_environment() {
    let repository = repository("files: [staging/x.yml]\n");
    for (directory, build) in [("staging", 'a'), ("prod", 'a')] {
        repository.write(&format!("{directory}/x.yml"), pin(build));
    }
    repository.git(&["add", "-A"]);
    let args = ["init", "--update", "--dry-run"];
    let ran = repository.run(&args).exits(0);
    let environment = "below prod, which has the name of another environment";
    assert!(ran.stderr.contains(environment), "{}", ran.stderr);
    assert!(!ran.stderr.contains("pin_disagree"), "{}", ran.stderr);
    repository.write("prod/x.yml", pin('b'));
    let ran = repository.run(&args).exits(0);
    for part in ["pin_disagree", "a promotion is half-finished"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // Control: directories without such names.
    repository.git(&["mv", "prod", "more"]);
    repository.write("more/x.yml", pin('a'));
    let ran = repository.run(&args).exits(0);
    assert!(!ran.stderr.contains("environment"), "{}", ran.stderr);
}

#[test]
fn update_warns_of_references_that_lost_their_digest() {
    let repository = repository("files: ['a/*.yml']\n");
    // `kustomize edit set image` and similar commands write a tag in place of the digest.
    repository.write("a/x.yml", format!("{}image: {APP}:v2\n", pin('a')));
    repository.replace("repin.yaml", "pins: 1", "pins: 2");
    let remedy = "repin init --pin --apply";
    let checked = repository.run(&["check"]).exits(1);
    for part in ["a/x.yml:2:8, which has only a tag", remedy, "set `pins: 1`"] {
        assert!(checked.stderr.contains(part), "{}", checked.stderr);
    }
    let ran = repository.run(&["init", "--update"]).exits(0);
    for part in ["image_unpinned", remedy] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    // The reference was there before.
    let ran = repository.run(&["init", "--update"]).exits(0);
    assert!(!ran.stderr.contains(remedy), "{}", ran.stderr);
}

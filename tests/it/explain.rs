//! `repin explain`, and messages that lead to it: one remedy for each cause.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    codes::{self, explanation},
    fake::{Fake, Reaction},
    world::{REV_A, REV_B, details, world},
};

#[test]
fn code_is_explained_as_text_and_document() {
    let world = world();
    let page = world.run(&["explain", "rolled_back"]).exits(0).stdout;
    for part in [
        "rolled_back (check, exit 1)",
        "--force-after-rollback",
        "Common causes:",
        "Example:",
    ] {
        assert!(page.contains(part), "{page}");
    }
    let document = world
        .run(&["explain", "rolled_back", "--format", "json"])
        .exits(0)
        .json();
    let found = explanation("rolled_back");
    assert_eq!(
        document,
        json!({
            "schema": "repin.explain/1", "code": "rolled_back", "kind": "check",
            "summary": found.summary, "meaning": found.meaning, "causes": found.causes,
            "remedy": found.remedy, "example": found.example, "exits": [1], "codes": [],
        })
    );
}

#[test]
fn without_a_code_every_code_is_listed() {
    let world = world();
    let list = world.run(&["explain"]).exits(0).stdout;
    let document = world.run(&["explain", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&document["schema"], &document["code"]),
        (&json!("repin.explain/1"), &Value::Null)
    );
    let codes: Vec<_> = document["codes"].as_array().unwrap().iter().collect();
    assert_eq!(codes.len(), codes::all().len());
    for found in codes::all() {
        assert!(list.contains(&found.summary), "{}", found.code);
        let row = json!({"code": found.code, "kind": found.kind, "summary": found.summary});
        assert!(codes.contains(&&row), "{}", found.code);
    }
}

#[test]
fn an_unknown_code_suggests_the_nearest_one() {
    let world = world();
    let ran = world.run(&["explain", "pin_counts"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `pin_count`?"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    let document = world
        .run(&["explain", "zzz", "--format", "json"])
        .exits(2)
        .json();
    assert_eq!(document["errors"][0]["code"], "usage");
    assert_eq!(
        document["errors"][0]["hint"],
        "run `repin explain` to list every code"
    );
}

#[test]
fn renamed_code_is_explained_by_its_new_name() {
    let ran = world().run(&["explain", "enumeration_no_persona"]).exits(2);
    let help = "the code was renamed: run `repin explain kinds_all_empty`";
    assert!(ran.stderr.contains(help), "{}", ran.stderr);
}

#[test]
fn explain_needs_no_configuration() {
    let world = world();
    let elsewhere = tempfile::tempdir().unwrap();
    world
        .run_in(elsewhere.path(), &["explain", "config"], &[])
        .exits(0);
}

#[test]
fn failure_suggests_the_command_that_explains_it() {
    let world = world();
    world.layout("review").untag(REV_B);
    let args = ["promote", "--revision", REV_B];
    let ran = world.run(&args).exits(1);
    let lines: Vec<_> = ran.stderr.lines().collect();
    let help = lines
        .iter()
        .position(|line| line.trim_start().starts_with("= help: build and push"))
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    assert_eq!(
        lines[help + 1..],
        ["for more: repin explain tag_missing", "nothing was changed"]
    );
    let quiet = world.run(&["-q", "promote", "--revision", REV_B]).exits(1);
    assert!(!quiet.stderr.contains("for more"), "{}", quiet.stderr);
    let document = world.refuses_to(&args, 1, &["tag_missing"]);
    let checks = document["checks"].as_array().unwrap();
    for check in checks {
        match check["status"].as_str().unwrap() {
            "fail" => assert!(check["help"].is_string(), "{check}"),
            "pass" | "skip" => assert!(check["help"].is_null(), "{check}"),
            _ => {}
        }
    }
}

#[test]
fn missing_tags_are_one_error_for_all_images() {
    let world = world();
    for image in ["review", "fix", "base"] {
        world.layout(image).untag(REV_B);
    }
    let args = ["promote", "--revision", REV_B];
    let ran = world.run(&args).exits(1);
    let stderr = &ran.stderr;
    assert_eq!(stderr.matches("error[").count(), 1, "{stderr}");
    let named = format!("error[tag_missing]: review, fix, base: tag `{REV_B}` does not exist");
    assert!(stderr.contains(&named), "{stderr}");
    for image in ["review", "fix", "base"] {
        let note = format!("= note: ghcr.io/acme/{image}:{REV_B} does not exist");
        assert_eq!(stderr.matches(&note).count(), 1, "{stderr}");
    }
    let summary = world.path("summary");
    let ran = world
        .run_with(
            &[&args[..], &["--format", "github"]].concat(),
            &[("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())],
        )
        .exits(1);
    let annotations: Vec<_> = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("::error "))
        .collect();
    assert_eq!(annotations.len(), 1, "{}", ran.stdout);
    assert!(
        annotations[0].starts_with("::error title=tag_missing (review%2C fix%2C base)::")
            && annotations[0].contains("%0Ahelp: build and push"),
        "{annotations:?}"
    );
    let summary = fs::read_to_string(summary).unwrap();
    assert_eq!(summary.matches("`tag_missing`").count(), 1, "{summary}");
    assert!(summary.contains("  - help: build and push"), "{summary}");
    let document = world.refuses_to(&args, 1, &["tag_missing"]);
    assert_eq!(details(&document, "tag_missing", "fail").len(), 3);
}

#[test]
fn pinned_digests_that_are_missing_are_one_error() {
    let world = world();
    let absent = format!("sha256:{}", "0".repeat(64));
    for file in ["a.yml", "b.yml"] {
        let file = format!(".github/workflows/{file}");
        let text = ["review", "fix"]
            .iter()
            .fold(world.read(&file), |text, image| {
                text.replace(world.digest(image, REV_A), &absent)
            });
        world.write(&file, text);
    }
    let ran = world.run(&["check", "--remote"]).exits(1);
    assert_eq!(ran.stderr.matches("error[").count(), 1, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("error[digest_missing]: review, fix: the pinned digest does not exist"),
        "{}",
        ran.stderr
    );
}

#[test]
fn missing_login_is_one_error_for_all_images() {
    let world = world();
    let registry =
        Fake::start(|_| Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"acme\""));
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host());
    let ran = world
        .run(&["promote", "--revision", REV_B, "--source", &source])
        .exits(4);
    let stderr = &ran.stderr;
    assert_eq!(stderr.matches("error[denied]").count(), 1, "{stderr}");
    for image in ["review", "fix", "base"] {
        let named = format!("= note: {}/acme/{image}:{REV_B}", registry.host());
        assert_eq!(stderr.matches(&named).count(), 1, "{stderr}");
    }
    assert_eq!(
        stderr.matches("= help: run `docker login").count(),
        1,
        "{stderr}"
    );
}

#[test]
fn missing_login_is_one_error_of_prune() {
    let world = world().with_git();
    world.promoted(REV_A);
    world.push();
    world.write("repin.yaml", world.read("repin.yaml") + "prune: {}\n");
    let registry =
        Fake::start(|_| Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"acme\""));
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host());
    let ran = world.run(&["prune", "--source", &source]).exits(4);
    let stderr = &ran.stderr;
    assert_eq!(stderr.matches("error[denied]").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("= help: ").count(), 1, "{stderr}");
    for image in ["review", "fix", "base"] {
        let named = format!("= note: {image}: tags of {}/acme/{image}", registry.host());
        assert_eq!(stderr.matches(&named).count(), 1, "{stderr}");
    }
}

#[test]
fn registry_without_tls_gets_the_http_option() {
    let world = world();
    // The response of a plain HTTP server to the first bytes of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!(
        "ghcr.io/acme=https://{}/acme",
        listener.local_addr().unwrap()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let ran = world
        .run(&["promote", "--revision", REV_B, "--source", &source])
        .exits(3);
    for part in [
        "error[unavailable]: the server does not speak TLS",
        "= help: for a plain HTTP registry, use `--source PREFIX=http://HOST`",
    ] {
        assert_eq!(ran.stderr.matches(part).count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn check_reports_skipped_steps() {
    let world = world();
    let ran = world.run(&["check", "--remote"]).exits(0);
    assert!(
        ran.stderr.contains("skip[provenance_title]: ") && ran.stderr.contains("git repository"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.starts_with("OK: "), "{}", ran.stdout);
    // The table of every check contains it.
    let verbose = world.run(&["check", "--remote", "-v"]).exits(0);
    assert!(!verbose.stderr.contains("skip["), "{}", verbose.stderr);
    assert!(
        verbose.stdout.contains("skip  provenance_title"),
        "{}",
        verbose.stdout
    );
}

#[test]
fn check_reports_an_outage_once() {
    let world = world();
    let sources = [("REPIN_SOURCES", "ghcr.io/acme=http://127.0.0.1:1/acme")];
    let ran = world.run_with(&["check", "--remote"], &sources).exits(3);
    assert_eq!(
        ran.stderr.matches("cannot connect").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("skip["), "{}", ran.stderr);
}

#[test]
fn a_shallow_clone_is_one_error() {
    let world = world().with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    // The only commit of the clone does not show when the pinned set became current.
    world.git(&["commit", "-q", "--allow-empty", "-m", "unrelated"]);
    world.push();
    let url = format!("file://{}", world.path("origin.git").display());
    world.git(&["clone", "-q", "--depth", "1", &url, "clone"]);
    let clone = world.path("clone");
    std::os::unix::fs::symlink(world.path("images"), clone.join("images")).unwrap();
    // The order of this revision and a rollback of its set are unknown.
    let ran = world
        .run_in(&clone, &["promote", "--revision", REV_A], &[])
        .exits(3);
    let stderr = &ran.stderr;
    assert_eq!(stderr.matches("error[").count(), 1, "{stderr}");
    for question in ["this build is older", "a rollback undid this set"] {
        let note = format!("= note: cannot determine whether {question}");
        assert_eq!(stderr.matches(&note).count(), 1, "{stderr}");
    }
    assert_eq!(
        stderr.matches("git fetch --unshallow").count(),
        1,
        "{stderr}"
    );
}

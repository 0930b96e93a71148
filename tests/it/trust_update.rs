//! `repin trust update`: the current trusted roots by TUF, against honest and hostile repositories.

use std::{fs, ops::Deref};

use serde_json::{Value, json};

use crate::support::{
    fake::{Fake, Reaction},
    tuf::{LATER, OVER, Repository, Responses, put, serve, signed, timestamp, timestamp_with},
    world::{Ran, World},
};

const SIGSTORE: &str = include_str!("../../src/trust/roots/sigstore.json");
const GITHUB: &str = include_str!("../../src/trust/roots/github.json");
const FILE: &str = "trusted_root.json";

/// A world with a configuration.
struct Scratch(World);

impl Deref for Scratch {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Scratch {
    /// A configuration with these trusted roots; an empty list: without `verify`.
    fn new(roots: &str) -> Self {
        let scratch = Self(World::empty());
        let verify = format!(
            "verify:\n  signers: [{{ workflow: 'https://github.com/acme/app/.github/workflows/build.yml', ref: refs/heads/main }}]\n  trusted_roots: [{roots}]\n"
        );
        let config = "version: 1\nfiles: [a.yml]\nimages: { app: { repository: ghcr.io/acme/app, pins: 1 } }\n";
        let verify = if roots.is_empty() { "" } else { &verify };
        scratch.write("repin.yaml", format!("{config}{verify}"));
        scratch
    }

    /// The same with an old root of Sigstore as a configured file.
    fn with_old_root() -> Self {
        let scratch = Self::new(FILE);
        scratch.write(FILE, old_root());
        scratch
    }

    /// The names of all files but those of the lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != ".repin").collect();
        names.sort();
        names
    }

    /// Updates the root of one instance from a server, beginning with the repository's first root
    /// document.
    fn update(&self, name: &str, repository: &Repository, server: &Fake, args: &[&str]) -> Ran {
        self.write("first.root.json", repository.first_root());
        let mirror = format!("http://{}", server.host());
        let all = [
            "trust",
            "update",
            name,
            "--root",
            "first.root.json",
            "--mirror",
            &mirror,
        ];
        let ran = self.run(&[&all[..], args].concat());
        fs::remove_file(self.path("first.root.json")).unwrap();
        ran
    }
}

/// Sigstore's root without its newest log.
fn old_root() -> String {
    let mut root: Value = serde_json::from_str(SIGSTORE).unwrap();
    root["tlogs"].as_array_mut().unwrap().pop();
    root.to_string()
}

/// Sigstore's root with an expired authority.
fn ended_root() -> String {
    let mut root: Value = serde_json::from_str(SIGSTORE).unwrap();
    root["certificateAuthorities"][1]["validFor"]["end"] = json!("2026-11-01T00:00:00Z");
    serde_json::to_string_pretty(&root).unwrap()
}

fn code(ran: &Ran) -> String {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let errors = document["errors"].as_array().unwrap();
    errors[0]["code"].as_str().unwrap().to_owned()
}

#[test]
fn difference_is_shown_and_written_on_request() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(ended_root());
    let server = serve(repository.responses());
    let ran = scratch
        .update("sigstore", &repository, &server, &[])
        .exits(0);
    insta::assert_snapshot!(ran.stdout, @r"
    sigstore (trusted_root.json): 2 differences
      ended: certificate authority
        sigstore.dev, sigstore, https://fulcio.sigstore.dev
        sha256:15d795348226b4649f750f5802592c393bee7cc53c3b86982175b7ad087efe47
        valid from 2022-04-13 20:06Z until 2026-11-01 00:00Z
        before: valid from 2022-04-13 20:06Z, without end
      added: transparency log
        https://log2025-1.rekor.sigstore.dev
        zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A=
        valid from 2025-09-23 00:00Z, without end
    ");
    assert!(
        ran.stdout.lines().all(|line| line.len() <= 80),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("dry run: nothing was written"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.read(FILE), old_root());

    let ran = scratch.update(
        "sigstore",
        &repository,
        &server,
        &["--apply", "--format", "json"],
    );
    let document = ran.exits(0).json();
    assert_eq!(document["written"], true);
    assert_eq!(document["roots"][0]["file"], FILE);
    let changes = document["roots"][0]["changes"].as_array().unwrap();
    let kinds: Vec<_> = changes.iter().map(|change| &change["change"]).collect();
    assert_eq!(kinds, ["ended", "added"]);
    // Exactly the bytes that the repository signs.
    assert_eq!(scratch.read(FILE), ended_root());
    assert_eq!(scratch.names(), ["repin.yaml", FILE]);

    let ran = scratch
        .update("sigstore", &repository, &server, &["--apply"])
        .exits(0);
    assert_eq!(ran.stdout, "sigstore (trusted_root.json): current\n");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn built_in_root_is_replaced_by_a_file() {
    let scratch = Scratch::new("sigstore, github");
    let repository = Repository::new(ended_root());
    let server = serve(repository.responses());
    let update = |args: &[&str]| {
        scratch
            .update("sigstore", &repository, &server, args)
            .exits(0)
    };
    let ran = update(&[]);
    assert!(
        ran.stdout
            .starts_with("sigstore (built in): 1 difference\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(scratch.names(), ["repin.yaml"]);
    let ran = update(&["--apply"]);
    let line = "set `trusted_roots: [trusted_root.sigstore.json, github]` under `verify`";
    assert!(ran.stderr.contains(line), "{}", ran.stderr);
    assert_eq!(scratch.read("trusted_root.sigstore.json"), ended_root());
    // The line is shown until it is followed.
    let ran = update(&["--apply"]);
    assert_eq!(
        ran.stdout,
        "sigstore (trusted_root.sigstore.json): current\n"
    );
    assert!(ran.stderr.contains(line), "{}", ran.stderr);
    let config = scratch.read("repin.yaml");
    scratch.write(
        "repin.yaml",
        config.replace("[sigstore,", "[trusted_root.sigstore.json,"),
    );
    assert_eq!(update(&["--apply"]).stderr, "");
}

#[test]
fn other_roots_of_a_file_stay() {
    let one_line = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
    let scratch = Scratch::new("roots.jsonl");
    let other = crate::support::authority::root().to_string();
    let lines = [old_root(), one_line(GITHUB), other];
    scratch.write("roots.jsonl", lines.join("\n"));
    let repository = Repository::new(SIGSTORE);
    let server = serve(repository.responses());
    let ran = scratch
        .update("sigstore", &repository, &server, &["--apply"])
        .exits(0);
    let note = "a root of neither Sigstore nor GitHub is left as it is";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
    let written = scratch.read("roots.jsonl");
    let expected = [one_line(SIGSTORE), lines[1].clone(), lines[2].clone()].join("\n") + "\n";
    assert_eq!(written, expected);
}

#[test]
fn rotated_root_keys_are_followed() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(SIGSTORE);
    let mut responses = repository.responses();
    put(
        &mut responses,
        "/2.root.json",
        repository.second_root(LATER),
    );
    let server = serve(responses);
    scratch
        .update("sigstore", &repository, &server, &["--apply"])
        .exits(0);
    assert_eq!(scratch.read(FILE), SIGSTORE);
    assert_eq!(server.log()[..2], ["GET /2.root.json", "GET /3.root.json"]);
}

type Attack = fn(&Repository, &mut Responses);

/// The attacks of a server in between, with the reported reasons.
const ATTACKS: [(&str, &str, Attack); 15] = [
    (
        "timestamp by another key",
        "threshold not met for role timestamp",
        |r, all| {
            let timestamp = timestamp(LATER, &r.snapshot(2, LATER), &r.stranger);
            put(all, "/timestamp.json", timestamp);
        },
    ),
    (
        "expired timestamp",
        "timestamp metadata expired",
        |r, all| {
            let timestamp = timestamp(OVER, &r.snapshot(2, LATER), &r.online);
            put(all, "/timestamp.json", timestamp);
        },
    ),
    ("root by one of two old keys", "role root: 1/2", |r, all| {
        let ([a, _], [c, d]) = (&r.root_keys, &r.next_keys);
        let root = signed(&r.root(2, LATER, &r.next_keys), &[a, c, d]);
        put(all, "/2.root.json", root);
    }),
    ("root by one of two new keys", "role root: 1/2", |r, all| {
        let ([a, b], [c, _]) = (&r.root_keys, &r.next_keys);
        let root = signed(&r.root(2, LATER, &r.next_keys), &[a, b, c]);
        put(all, "/2.root.json", root);
    }),
    (
        "root of an older version",
        "root version must increment",
        |r, all| {
            put(all, "/2.root.json", r.first_root());
        },
    ),
    ("expired root", "root metadata expired", |r, all| {
        put(all, "/2.root.json", r.second_root(OVER));
    }),
    (
        "endless chain of roots",
        "exceeded 32 root rotations",
        |r, all| {
            let [a, b] = &r.root_keys;
            for version in 2..60 {
                let root = signed(&r.root(version, LATER, &r.root_keys), &[a, b]);
                put(all, &format!("/{version}.root.json"), root);
            }
        },
    ),
    (
        "older snapshot",
        "integrity check failed: snapshot.json",
        |r, all| {
            put(all, "/2.snapshot.json", r.snapshot(1, LATER));
        },
    ),
    (
        "older snapshot that is not hashed",
        "snapshot version 1 does not match",
        |r, all| {
            let timestamp = timestamp_with(LATER, &json!({"version": 2}), &r.online);
            put(all, "/timestamp.json", timestamp);
            put(all, "/2.snapshot.json", r.snapshot(1, LATER));
        },
    ),
    ("expired snapshot", "snapshot metadata expired", |r, all| {
        let snapshot = r.snapshot(2, OVER);
        put(
            all,
            "/timestamp.json",
            timestamp(LATER, &snapshot, &r.online),
        );
        put(all, "/2.snapshot.json", snapshot);
    }),
    ("targets of another version", "targets", |r, all| {
        put(
            all,
            "/3.targets.json",
            r.targets(2, LATER, "trusted_root.json"),
        );
    }),
    ("expired targets", "targets metadata expired", |r, all| {
        put(
            all,
            "/3.targets.json",
            r.targets(3, OVER, "trusted_root.json"),
        );
    }),
    (
        "another target of the same length",
        "integrity check failed",
        |r, all| {
            let target = String::from_utf8(r.target.clone()).unwrap();
            put(
                all,
                &r.target_path(),
                target.replace("2021", "2020").into_bytes(),
            );
        },
    ),
    (
        "no trusted root among the targets",
        "is not listed by any",
        |r, all| {
            put(all, "/3.targets.json", r.targets(3, LATER, "other.json"));
        },
    ),
    ("no JSON", "failed to parse JSON", |_, all| {
        put(all, "/timestamp.json", b"<html>".to_vec());
    }),
];

#[test]
fn metadata_that_does_not_verify_is_refused() {
    let scratch = Scratch::with_old_root();
    for (name, reason, attack) in ATTACKS {
        let repository = Repository::new(SIGSTORE);
        let mut responses = repository.responses();
        attack(&repository, &mut responses);
        let server = serve(responses);
        let args = ["--apply", "--format", "json"];
        let ran = scratch
            .update("sigstore", &repository, &server, &args)
            .exits(3);
        assert_eq!(code(&ran), "root_unverified", "{name}: {}", ran.stdout);
        assert!(ran.stdout.contains(reason), "{name}: {}", ran.stdout);
        assert_eq!(scratch.read(FILE), old_root(), "{name}");
        assert_eq!(scratch.names(), ["repin.yaml", FILE], "{name}");
    }
    // Another repository with separate keys.
    let (ours, theirs) = (Repository::new(SIGSTORE), Repository::new(SIGSTORE));
    let server = serve(theirs.responses());
    let ran = scratch
        .update("sigstore", &ours, &server, &["--apply"])
        .exits(3);
    assert!(
        ran.stderr.contains("error[root_unverified]"),
        "{}",
        ran.stderr
    );
    // A repository that publishes something else than a trusted root.
    let repository = Repository::new("{\"mediaType\": \"text/plain\"}");
    let server = serve(repository.responses());
    let ran = scratch
        .update("sigstore", &repository, &server, &["--apply"])
        .exits(3);
    assert!(
        ran.stderr.contains("cannot use the trusted root"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.read(FILE), old_root());
}

#[test]
fn oversized_files_are_not_read() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(SIGSTORE);
    let flood = |head: &str| {
        let head = format!("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{head}");
        Reaction::Flood(head.into_bytes(), 200)
    };
    for (path, limit) in [
        ("/2.root.json", 512_000),
        ("/timestamp.json", 16_384),
        (&*repository.target_path(), SIGSTORE.len()),
    ] {
        let mut responses = repository.responses();
        responses.insert(path.to_owned(), flood("{"));
        let server = serve(responses);
        let ran = scratch
            .update("sigstore", &repository, &server, &["--apply"])
            .exits(3);
        let reason = format!("the response has more than {limit} bytes");
        assert!(ran.stderr.contains(&reason), "{path}: {}", ran.stderr);
        assert_eq!(scratch.read(FILE), old_root(), "{path}");
    }
}

#[test]
fn failed_update_writes_no_root() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(SIGSTORE);
    for path in repository.responses().keys().skip(1) {
        let mut responses = repository.responses();
        responses.insert(path.clone(), Reaction::new(401, "no"));
        let server = serve(responses);
        let ran = scratch
            .update("sigstore", &repository, &server, &["--apply"])
            .exits(3);
        assert!(ran.stderr.contains("HTTP 401"), "{path}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("--mirror URL"),
            "{path}: {}",
            ran.stderr
        );
        assert_eq!(scratch.read(FILE), old_root(), "{path}");
        assert_eq!(scratch.names(), ["repin.yaml", FILE], "{path}");
    }
}

#[test]
fn configured_files_are_exchanged_together() {
    let scratch = Scratch::new("a.json, b.json, a.json");
    let repository = Repository::new(SIGSTORE);
    let server = serve(repository.responses());
    scratch.write("a.json", old_root());
    scratch.write("b.json", old_root());
    // A file with two names cannot be exchanged.
    fs::hard_link(scratch.path("b.json"), scratch.path("c.json")).unwrap();
    let apply = || scratch.update("sigstore", &repository, &server, &["--apply"]);
    let ran = apply();
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(scratch.read("a.json"), old_root());
    fs::remove_file(scratch.path("c.json")).unwrap();
    apply().exits(0);
    assert_eq!(scratch.read("a.json"), SIGSTORE);
    assert_eq!(scratch.read("b.json"), SIGSTORE);
}

#[test]
fn file_edited_during_the_update_is_kept() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(SIGSTORE);
    let (responses, file) = (repository.responses(), scratch.path(FILE));
    let server = Fake::start(move |request| {
        if request.path() == "/timestamp.json" {
            fs::write(&file, "edited").unwrap();
        }
        let response = responses.get(request.path()).cloned();
        response.unwrap_or_else(|| Reaction::new(404, ""))
    });
    scratch
        .update("sigstore", &repository, &server, &["--apply"])
        .exits(5);
    assert_eq!(scratch.read(FILE), "edited");
}

#[test]
fn older_root_is_refused_unless_accepted() {
    let scratch = Scratch::new(FILE);
    let present = ended_root();
    for older in [old_root(), SIGSTORE.to_owned()] {
        scratch.write(FILE, &present);
        let repository = Repository::new(older.clone());
        let server = serve(repository.responses());
        for args in [&["--format", "json"][..], &["--apply", "--format", "json"]] {
            let ran = scratch
                .update("sigstore", &repository, &server, args)
                .exits(1);
            assert_eq!(code(&ran), "root_rollback");
            assert_eq!(scratch.read(FILE), present);
        }
        let ran = scratch
            .update("sigstore", &repository, &server, &["--apply"])
            .exits(1);
        assert!(ran.stderr.contains("--allow-removed"), "{}", ran.stderr);
        let accepted = ["--apply", "--allow-removed"];
        scratch
            .update("sigstore", &repository, &server, &accepted)
            .exits(0);
        assert_eq!(scratch.read(FILE), older);
    }
}

#[test]
fn only_trust_update_connects_to_the_repositories() {
    let proxy = Fake::start(|_| Reaction::new(403, ""));
    let scratch = Scratch::new("sigstore, github");
    let url = format!("http://{}", proxy.host());
    let env = [("HTTPS_PROXY", url.as_str()), ("REPIN_HTTP_TIMEOUT", "1s")];
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/trusted/repin.yaml");
    let check = ["--config", example, "check", "--remote"];
    scratch.run_with(&check, &env).exits(0);
    assert_eq!(proxy.connections(), 0);
    let ran = scratch
        .run_with(&["trust", "update", "--apply"], &env)
        .exits(3);
    let contacted: Vec<String> = proxy.requests().iter().map(|r| r.target.clone()).collect();
    for host in ["tuf-repo-cdn.sigstore.dev:443", "tuf-repo.github.com:443"] {
        assert!(
            contacted.iter().any(|target| target == host),
            "{contacted:?}"
        );
        assert!(
            ran.stderr.contains(host.trim_end_matches(":443")),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(scratch.names(), ["repin.yaml"]);
}

#[test]
fn unusable_arguments_are_refused_before_any_request() {
    let scratch = Scratch::new("sigstore");
    for (args, reason) in [
        (
            &["--mirror", "https://tuf.example"][..],
            "require exactly one NAME",
        ),
        (
            &["sigstore", "github", "--root", "x"],
            "require exactly one NAME",
        ),
        (
            &["sigstore", "--mirror", "http://tuf.example"],
            "is not an https URL",
        ),
        (
            &["sigstore", "--mirror", "ftp://localhost"],
            "is not an https URL",
        ),
        (
            &["sigstore", "--mirror", "https://a:secret@tuf.example"],
            "must not contain credentials",
        ),
        (
            &["sigstore", "--mirror", "https://tuf.example/?x"],
            "has a query or a fragment",
        ),
        (&["sigstore", "--root", "nowhere"], "/nowhere: No such file"),
    ] {
        let ran = scratch.run(&[&["trust", "update"], args].concat()).exits(2);
        assert!(ran.stderr.contains(reason), "{args:?} {}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    scratch.write(FILE, "{}");
    scratch.write("repin.yaml", Scratch::new(FILE).read("repin.yaml"));
    let ran = scratch.run(&["trust", "update"]).exits(2);
    assert!(
        ran.stderr.contains("cannot use the trusted root"),
        "{}",
        ran.stderr
    );
}

#[test]
fn dry_run_variable_forbids_writing() {
    let scratch = Scratch::with_old_root();
    let repository = Repository::new(SIGSTORE);
    let server = serve(repository.responses());
    scratch.write("first.root.json", repository.first_root());
    let mirror = format!("http://{}", server.host());
    let args = [
        "trust",
        "update",
        "sigstore",
        "--apply",
        "--root",
        "first.root.json",
        "--mirror",
        &mirror,
    ];
    scratch
        .run_with(&args, &[("REPIN_DRY_RUN", "true")])
        .exits(0);
    assert_eq!(scratch.read(FILE), old_root());
    scratch.run(&args).exits(0);
    assert_eq!(scratch.read(FILE), SIGSTORE);
}

//! Requests to registries and forges: the clock that counts, and the log of `-vv`.

use std::process::Stdio;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;

use crate::support::{
    fake::{Fake, Reaction},
    forge::{self, Fault, Kind, TOKEN},
    hosted::{FORGES, hosted},
    registry::{PASSWORD, Protection, Registry, USER, docker_config, run},
    token::{Grants, TokenServer},
    world::{REV_B, Ran, World, world},
};

const IMAGES: [&str; 3] = ["review", "fix", "base"];

/// A time decades after this machine's clock, and one decades before.
const YEAR_2099: &str = "Thu, 01 Jan 2099 00:00:00 GMT";
const YEAR_2099_IN_SECONDS: &str = "4070908800";
const YEAR_2001: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const AN_HOUR_LATER: &str = "Mon, 01 Jan 2001 01:00:00 GMT";
const AN_HOUR_LATER_IN_SECONDS: &str = "978310800";

/// The storage of a registry that holds the world's images at B.
fn stored(world: &World) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    for image in IMAGES {
        let from = format!("oci:{}:{REV_B}", world.path("images").join(image).display());
        let to = format!("docker://{}/acme/{image}:{REV_B}", registry.host);
        let flags = ["-q", "--all", "--preserve-digests", "--insecure-policy"];
        let tail = ["--dest-tls-verify=false", &from, &to];
        run("skopeo", &[&["copy"], &flags[..], &tail].concat());
    }
    directory
}

/// Resolves the set at `host`.
fn resolve(world: &World, host: &str, flags: &[&str], env: &[(&str, &str)]) -> Ran {
    let source = format!("ghcr.io/acme=http://{host}/acme");
    let args = ["resolve", "--revision", REV_B, "--source", &source];
    world.run_with(&[&args, flags].concat(), env)
}

/// A server with this response to its first request, which redirects all others to `host`.
fn once_before(host: &str, first: Reaction) -> Fake {
    let host = host.to_owned();
    Fake::start(move |request| match request.number {
        0 => first.clone(),
        _ => Reaction::new(307, "").with("Location", format!("http://{host}{}", request.target)),
    })
}

/// Queries the gates of the forge's main branch; none has reported.
fn gates(world: &World, flags: &[&str]) -> Ran {
    let args = [&["gates", "--ref", "main"], flags].concat();
    world.run_with(&args, &[("REPIN_FORGE_TOKEN", TOKEN)])
}

#[test]
fn dates_of_registry_use_its_clock() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let busy = |date: &str, after: &str| {
        let busy = Reaction::new(429, "")
            .with("Date", date)
            .with("Retry-After", after);
        once_before(&registry.host, busy)
    };
    let now = busy(YEAR_2099, YEAR_2099);
    resolve(&world, &now.host(), &[], &[]).exits(0);
    let later = busy(YEAR_2001, AN_HOUR_LATER);
    let ran = resolve(&world, &later.host(), &[], &[]).exits(3);
    assert!(
        ran.stderr.contains("asked to wait 3600 s"),
        "{}",
        ran.stderr
    );
}

#[test]
fn dates_of_forge_use_its_clock() {
    for kind in FORGES {
        let (world, fake) = hosted(kind, "gates: [ci]");
        let limited = |date: &str, when: (&str, &str)| {
            let reply = forge::error(429, "slow down").with("date", date);
            let reply = match when {
                ("reset", seconds) => reply
                    .with("x-ratelimit-remaining", "0")
                    .with("x-ratelimit-reset", seconds),
                (name, value) => reply.with(name, value),
            };
            fake.fault(("GET", ""), 1, Fault::Instead(reply));
        };
        for when in [("retry-after", YEAR_2099), ("reset", YEAR_2099_IN_SECONDS)] {
            limited(YEAR_2099, when);
            // No gate has reported, according to the forge after the wait.
            let document = gates(&world, &["--format", "json"]).exits(1).json();
            assert_eq!(document["state"], "absent", "{kind:?} {when:?}");
        }
        for when in [
            ("retry-after", AN_HOUR_LATER),
            ("reset", AN_HOUR_LATER_IN_SECONDS),
        ] {
            limited(YEAR_2001, when);
            let ran = gates(&world, &[]).exits(3);
            let why = "for 3600 s, past this command's deadline (REPIN_DEADLINE, 900 s)";
            assert!(
                ran.stderr.contains(why),
                "{kind:?} {when:?}: {}",
                ran.stderr
            );
        }
    }
}

/// One line of the request log.
#[derive(Debug)]
struct Line {
    method: String,
    url: String,
    status: String,
    bytes: u64,
    attempt: u32,
    error: Option<String>,
}

impl Line {
    /// `METHOD PATH STATUS`, as in the log of the registry.
    fn short(&self, host: &str) -> String {
        let base = format!("http://{host}");
        let path = self.url.strip_prefix(&base).unwrap_or(&self.url);
        format!("{} {path} {}", self.method, self.status)
    }
}

/// The standard error; every line must belong to the request log.
fn logged(ran: &Ran) -> Vec<Line> {
    let shape = r"^([A-Z]+) (\S+) (\d{3}|-) (\d+) bytes (\d+) ms attempt (\d+)(?: \(([^()]+)\))?$";
    let shape = Regex::new(shape).unwrap();
    let line = |line: &str| {
        let parts = shape.captures(line);
        let parts = parts.unwrap_or_else(|| panic!("{line:?} in {}", ran.stderr));
        Line {
            method: parts[1].to_owned(),
            url: parts[2].to_owned(),
            status: parts[3].to_owned(),
            bytes: parts[4].parse().unwrap(),
            attempt: parts[6].parse().unwrap(),
            error: parts.get(7).map(|error| error.as_str().to_owned()),
        }
    };
    ran.stderr.lines().map(line).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// The password in each form that it travels in.
fn has_no_password(ran: &Ran) {
    let text = format!("{}{}", ran.stdout, ran.stderr);
    let pair = format!("{USER}:{PASSWORD}");
    for secret in [PASSWORD, &STANDARD.encode(PASSWORD), &STANDARD.encode(pair)] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn registry_requests_are_logged_at_vv() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::Password);
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let env = [("DOCKER_CONFIG", config.to_str().unwrap())];
    let ran = resolve(&world, &registry.host, &["-vv", "--format", "json"], &env).exits(0);
    assert_eq!(ran.json()["schema"], "repin.resolve/1");
    has_no_password(&ran);
    let lines = logged(&ran);
    let shown = lines
        .iter()
        .map(|line| line.short(&registry.host))
        .collect();
    assert_eq!(sorted(shown), sorted(registry.requests()));
    let refused = lines.iter().filter(|line| line.status == "401").count();
    assert_eq!(refused, 3, "{lines:#?}");
    for line in &lines {
        assert_eq!((line.attempt, &line.error), (1, &None), "{line:?}");
        assert!(line.bytes > 0, "{line:?}");
    }
    for flags in [&["-v"][..], &[], &["-q"]] {
        let ran = resolve(&world, &registry.host, flags, &env).exits(0);
        assert!(!ran.stderr.contains("http://"), "{flags:?}: {}", ran.stderr);
    }
    let twice = ["-v", "--verbose"];
    let ran = resolve(&world, &registry.host, &twice, &env).exits(0);
    assert_eq!(logged(&ran).len(), lines.len());
}

#[test]
fn manifest_is_requested_once_in_a_run() {
    let world = world();
    // The pinned digests are missing, those of B are present.
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    for revision in [REV_B, "newest"] {
        for args in [
            &["promote", "--revision", revision, "--allow-older"][..],
            &["diff", "--revision", revision],
            &["builds"],
        ] {
            let before = registry.requests().len();
            let ran = world.run(&[args, &["--source", &source]].concat());
            assert!([0, 1].contains(&ran.code), "{args:?} {}", ran.stderr);
            let mut manifests = registry.requests().split_off(before);
            manifests.retain(|line| line.contains("/manifests/"));
            assert!(!manifests.is_empty(), "{args:?}");
            let mut distinct = manifests.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), manifests.len(), "{args:?} {manifests:#?}");
        }
    }
}

#[test]
fn token_requests_are_logged_without_secrets() {
    let world = world();
    let directory = stored(&world);
    let server = TokenServer::start(directory.path(), Grants::Login);
    let protection = Protection::Token {
        realm: &server.realm(),
        certificate: &server.certificate,
    };
    let registry = Registry::start(directory.path(), &protection);
    let realms = format!(
        "realms: {{ '{}': '{}' }}\n",
        registry.host,
        server.fake.host()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &realms);
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let env = [("DOCKER_CONFIG", config.to_str().unwrap())];
    let ran = resolve(&world, &registry.host, &["-vv"], &env).exits(0);
    has_no_password(&ran);
    // The tokens are JWTs, and those begin with `{"`.
    assert!(!ran.stderr.contains("eyJ"), "{}", ran.stderr);
    let realm = server.realm();
    let tokens = logged(&ran);
    let tokens: Vec<_> = tokens
        .iter()
        .filter(|line| line.url.starts_with(&realm))
        .collect();
    assert_eq!(tokens.len(), 3, "{}", ran.stderr);
    for line in tokens {
        assert_eq!(line.url, format!("{realm}?service=***&scope=***"));
        assert_eq!((line.status.as_str(), line.method.as_str()), ("200", "GET"));
    }
}

#[test]
fn attempts_and_redirects_are_logged_separately() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let busy = Reaction::new(503, "busy").with("Retry-After", "0");
    let fake = once_before(&registry.host, busy);
    let lines = logged(&resolve(&world, &fake.host(), &["-vv"], &[]).exits(0));
    let at = |host: &str| {
        let base = format!("http://{host}/");
        lines.iter().filter(move |line| line.url.starts_with(&base))
    };
    let count = |status: &str| {
        at(&fake.host())
            .filter(|line| line.status == status)
            .count()
    };
    assert_eq!((count("503"), count("307")), (1, fake.requests().len() - 1));
    assert_eq!(at(&registry.host).count(), registry.requests().len());
    let busy = lines.iter().find(|line| line.status == "503").unwrap();
    assert_eq!((busy.attempt, busy.bytes), (1, 4));
    let again = at(&fake.host()).find(|line| line.url == busy.url && line.status == "307");
    assert_eq!(again.unwrap().attempt, 2);
    let followed = at(&registry.host).filter(|line| line.attempt == 2).count();
    assert_eq!(followed, 1, "{lines:#?}");
}

#[test]
fn failed_request_reports_its_cause() {
    // Nothing listens at this port.
    let nowhere = "http://127.0.0.1:1/x".to_owned();
    let place = nowhere.clone();
    let fake = Fake::start(move |request| match request.number {
        0 => Reaction::new(307, "").with("Location", &place),
        1 => Reaction::Raw(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nab".to_vec()),
        2 => Reaction::Reset,
        _ => Reaction::new(404, ""),
    });
    let ran = resolve(&world(), &fake.host(), &["-vv"], &[]).exits(1);
    let failed: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("GET ") && line.ends_with(')'))
        .collect();
    let has = |parts: [&str; 3]| {
        let found = |line: &&&str| parts.iter().all(|part| line.contains(part));
        assert_eq!(
            failed.iter().filter(found).count(),
            1,
            "{parts:?}: {failed:#?}"
        );
    };
    has([&nowhere, " - 0 bytes ", " attempt 1 (cannot connect)"]);
    has([
        "/v2/acme/",
        " 200 2 bytes ",
        " attempt 1 (connection broken)",
    ]);
    has(["/v2/acme/", " - 0 bytes ", " attempt 1 (connection broken)"]);
    assert_eq!(failed.len(), 3, "{failed:#?}");
}

#[test]
fn secrets_in_urls_of_a_server_are_redacted() {
    let world = world();
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    // Signed URLs, as in the storage of a registry, and of a form that no server should send.
    let place = format!(
        "/echo/{PASSWORD}/{pair}/a%1b%5b31mb?X-Amz-Signature=0123abcd&{PASSWORD}&n=7#{pair}"
    );
    let fake = Fake::start(move |request| match request.header("authorization") {
        _ if request.target.starts_with("/echo/") => Reaction::new(404, ""),
        Some(_) => Reaction::new(307, "").with("Location", place.clone()),
        None => Reaction::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let directory = tempfile::tempdir().unwrap();
    let config = docker_config(directory.path(), &fake.host(), (USER, PASSWORD));
    let env = [("DOCKER_CONFIG", config.to_str().unwrap())];
    let ran = resolve(&world, &fake.host(), &["-vv"], &env).exits(1);
    has_no_password(&ran);
    let shown = format!(
        "GET http://{}/echo/***/***/a%1b%5b31mb?X-Amz-Signature=***&***&n=7 404 ",
        fake.host()
    );
    assert_eq!(ran.stderr.matches(&shown).count(), 3, "{}", ran.stderr);
    assert!(!ran.stderr.contains("0123abcd"), "{}", ran.stderr);
}

#[test]
fn forge_requests_are_logged_at_vv() {
    let hidden = Regex::new("(filter|head_sha|status)=[^&]*").unwrap();
    // The log masks more parameters of GitLab, and shows its paths encoded.
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(kind, "gates: [ci]");
        let ran = gates(&world, &["-vv", "--format", "json"]).exits(1);
        assert_eq!(ran.json()["state"], "absent");
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN));
        let shown: Vec<_> = ran
            .stderr
            .lines()
            .filter(|line| line.contains(" bytes "))
            .map(|line| line.replace(&fake.server.url(), ""))
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        let asked: Vec<_> = fake
            .asked()
            .iter()
            .map(|line| hidden.replace_all(line, "$1=***").into_owned())
            .collect();
        assert_eq!(shown, asked, "{kind:?}");
        assert!(!shown.is_empty(), "{kind:?}");
        // The token comes back in a text, in a header and in a place to go to.
        let echo = forge::error(302, TOKEN).with("location", &format!("/{TOKEN}?{TOKEN}"));
        fake.fault(("GET", ""), 1, Fault::Instead(echo.with("x-echo", TOKEN)));
        let ran = gates(&world, &["-vv"]).exits(3);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN));
        let ran = gates(&world, &["-v"]).exits(1);
        assert!(!ran.stderr.contains("http://"), "{}", ran.stderr);
    }
}

#[test]
fn unread_request_log_stops_nothing() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let mut child = world
        .command(&["-vv", "resolve", "--revision", REV_B, "--source", &source])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
}

//! Rate limits of forges: waited out within the command's deadline and announced, or refused at
//! once.

use std::{thread::sleep, time::Duration};

use serde_json::json;

use crate::support::{
    attach,
    forge::{Fake, Fault, Kind, Reply, TOKEN, error},
    hosted::{self, FILES, FORGES, PROMOTE},
    runner,
    world::{Ran, World},
};

/// A world with a base branch on a forge that requires the status `ci`, which has not reported.
fn hosted(kind: Kind) -> (World, Fake) {
    hosted::hosted(kind, "gates: [ci]")
}

fn run(world: &World, args: &[&str], deadline: &str) -> Ran {
    let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_DEADLINE", deadline)];
    hosted::run_with(world, args, &env)
}

const GATES: [&str; 3] = ["gates", "--ref", "main"];

/// The host of a forge, as it is announced.
fn host(fake: &Fake) -> String {
    fake.server.url().trim_start_matches("http://").to_owned()
}

/// GitHub's response to an excess of concurrent requests (REST API, "Rate limits", "Exceeding the
/// rate limit"): a minute is requested in the documentation, and often by no header.
fn secondary() -> Reply {
    error(
        403,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    )
}

/// That standard error names a time between the two texts.
fn names_a_time(stderr: &str, before: &str, after: &str) {
    let found = stderr.lines().any(|line| {
        let rest = line.split_once(before).map(|(_, rest)| rest);
        let time = rest
            .and_then(|rest| rest.split_once(after))
            .map(|(time, _)| time);
        time.is_some_and(|time| {
            let is_part = |byte: u8| byte.is_ascii_digit() || b" -:".contains(&byte);
            time.len() == 19 && time.bytes().all(is_part)
        })
    });
    assert!(found, "{before}HH:MM:SS{after}: {stderr}");
}

#[test]
fn slow_registry_does_not_shorten_the_deadline_of_the_forge() {
    let (world, fake) = hosted::hosted(Kind::Github, "labels: []");
    let registry = attach::serve(&world.path("images/fix"), |request| {
        if request.number == 0 {
            sleep(Duration::from_secs(6));
        }
        None
    });
    let source = format!("ghcr.io/acme/fix: 'http://{}/acme/fix'", registry.host());
    world.replace(
        "repin.yaml",
        "sources: {",
        &format!("sources: {{ {source},"),
    );
    hosted::publish(&world, &fake, "another registry");
    let limited = error(429, "slow down").with("retry-after", "1");
    fake.fault(("POST", "/pulls"), 1, Fault::Instead(limited));
    run(&world, &PROMOTE, "6s").exits(0);
}

#[test]
fn wait_for_a_limit_is_always_announced() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        for flags in [
            &[][..],
            &["--quiet"],
            &["--format", "json"],
            &["--format", "github"],
        ] {
            let limit = secondary().with("retry-after", "1");
            fake.fault(("GET", ""), 1, Fault::Instead(limit));
            // No gate has reported, according to the forge after the pause.
            let ran = run(&world, &[&GATES, flags].concat(), "").exits(1);
            let announced = format!("rate limited by {}, resuming at ", host(&fake));
            names_a_time(&ran.stderr, &announced, "Z");
            assert_eq!(runner::obeyed(&ran.stderr), [], "{flags:?}");
        }
    }
}

#[test]
fn busy_server_with_a_time_is_announced() {
    let (world, fake) = hosted(Kind::Github);
    let busy = error(503, "maintenance").with("retry-after", "1");
    fake.fault(("GET", ""), 1, Fault::Instead(busy));
    let ran = run(&world, &GATES, "").exits(1);
    names_a_time(&ran.stderr, " is busy, resuming at ", "Z");
    let busy = error(503, "maintenance").with("retry-after", "1");
    fake.fault(("GET", ""), 1, Fault::Instead(busy));
    let zone = [("REPIN_FORGE_TOKEN", TOKEN), ("TZ", "CET-1")];
    let ran = world.run_with(&GATES, &zone).exits(1);
    names_a_time(&ran.stderr, " is busy, resuming at ", "+01:00");
}

/// Every response that means a limit, and names no time.
fn limits() -> Vec<Reply> {
    vec![
        secondary(),
        error(403, "You have triggered an abuse detection mechanism."),
        error(403, "API rate limit exceeded for user ID 1."),
        error(429, "Too Many Requests"),
        Reply {
            status: 429,
            headers: Vec::new(),
            body: b"<html>slow down</html>".to_vec(),
        },
        error(403, "API rate limit exceeded").with("x-ratelimit-remaining", "0"),
    ]
}

/// Checks that a run stopped after `requests` requests and reported the end of the limit and the
/// deadline.
fn given_up(ran: &Ran, fake: &Fake, (requests, deadline): (usize, &str)) {
    let before = format!("rate limited by {} until ", host(fake));
    let after = format!("Z, for 60 s, past this command's deadline ({deadline})");
    names_a_time(&ran.stderr, &before, &after);
    assert!(!ran.stderr.contains("resuming at"), "{}", ran.stderr);
    let received = fake.asked();
    assert_eq!(received.len(), requests, "{received:#?}");
    fake.forget();
}

#[test]
fn short_deadline_refuses_a_limit_at_once() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        for limit in limits() {
            fake.fault(("GET", ""), 9, Fault::Instead(limit));
            let ran = run(&world, &GATES, "30s").exits(3);
            given_up(&ran, &fake, (1, "REPIN_DEADLINE, 30 s"));
        }
    }
}

#[test]
fn submitted_too_quickly_is_a_rate_limit() {
    let (world, fake) = hosted(Kind::Github);
    // Reported by users who open pull requests in a row: cli/cli#4801, Azure/azure-sdk-tools#7226.
    let quick = Reply::json(
        422,
        json!({"message": "Validation Failed", "errors": [{
            "resource": "PullRequest", "code": "custom", "message": "was submitted too quickly",
        }]}),
    );
    fake.fault(("POST", "/pulls"), 9, Fault::Instead(quick.clone()));
    let ran = run(&world, &PROMOTE, "30s").exits(3);
    let opened = |fake: &Fake| {
        let received = fake.asked();
        received
            .iter()
            .filter(|received| received.ends_with("/pulls"))
            .count()
    };
    let requests = fake.asked().len();
    assert_eq!(opened(&fake), 1);
    given_up(&ran, &fake, (requests, "REPIN_DEADLINE, 30 s"));
    // With a time it is waited out, although a pull request may not be opened twice.
    fake.fault(
        ("POST", "/pulls"),
        1,
        Fault::Instead(quick.with("retry-after", "1")),
    );
    run(&world, &PROMOTE, "").exits(0);
    assert_eq!((opened(&fake), fake.store().open_pulls().len()), (2, 1));
}

#[test]
fn graphql_limits_in_a_success() {
    for (kind, message) in [
        ("RATE_LIMITED", "API rate limit exceeded for user ID 1."),
        ("", "You have exceeded a secondary rate limit."),
        ("UNPROCESSABLE", "was submitted too quickly"),
    ] {
        let (world, fake) = hosted(Kind::Github);
        // Files that differ in the work tree are fetched from the forge, in one request.
        for file in &FILES[1..] {
            world.write(file, "on: push\n");
        }
        let limit = Reply::json(
            200,
            json!({"data": null, "errors": [{"type": kind, "message": message}]}),
        );
        fake.fault(("POST", "/graphql"), 9, Fault::Instead(limit.clone()));
        let ran = run(&world, &PROMOTE, "30s").exits(3);
        let requests = fake.asked().len();
        let last = fake.asked().pop();
        assert_eq!(last.as_deref(), Some("POST /graphql"), "{message}");
        given_up(&ran, &fake, (requests, "REPIN_DEADLINE, 30 s"));
        let limit = limit.with("retry-after", "1");
        fake.fault(("POST", "/graphql"), 1, Fault::Instead(limit));
        let ran = run(&world, &PROMOTE, "").exits(0);
        names_a_time(&ran.stderr, "resuming at ", "Z");
    }
}

#[test]
fn other_403_is_denied_at_once() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        let denied = error(403, "Resource not accessible by integration")
            .with("x-ratelimit-remaining", "4999")
            .with("x-ratelimit-reset", "4102444800");
        // GitLab's answer to an address with too many failed logins.
        let blocked = Reply {
            status: 403,
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: b"Forbidden\n".to_vec(),
        };
        for refusal in [denied, blocked] {
            fake.forget();
            fake.fault(("GET", ""), 9, Fault::Instead(refusal));
            let ran = run(&world, &GATES, "30s").exits(4);
            assert!(!ran.stderr.contains("rate limited"), "{}", ran.stderr);
            let received = fake.asked();
            assert_eq!(received.len(), 1, "{received:#?}");
        }
    }
}

#[test]
fn the_timeout_of_wait_replaces_the_deadline() {
    let (world, fake) = hosted(Kind::Github);
    run(&world, &PROMOTE, "").exits(0);
    fake.forget();
    fake.fault(("GET", "/pulls/1"), 9, Fault::Instead(secondary()));
    let args = ["wait", "--pr", "1", "--timeout", "30s", "--format", "json"];
    let ran = run(&world, &args, "15m").exits(3);
    assert_eq!(ran.json()["state"], "unknown");
    given_up(&ran, &fake, (1, "--timeout, 30 s"));
}

#[test]
fn a_wait_that_no_clock_reaches_is_refused() {
    let (world, fake) = hosted(Kind::Github);
    let limit = secondary().with("retry-after", "99999999999999999999999");
    fake.fault(("GET", ""), 1, Fault::Instead(limit));
    let ran = run(&world, &GATES, "").exits(3);
    let why = format!(
        "for {} s, past this command's deadline (REPIN_DEADLINE, 900 s)",
        u64::MAX
    );
    assert!(ran.stderr.contains(&why), "{}", ran.stderr);
}

#[test]
fn doctor_waits_for_no_limit() {
    let (world, fake) = hosted(Kind::Github);
    fake.fault(("GET", ""), 9, Fault::Instead(secondary()));
    let ran = run(&world, &["doctor"], "15m").exits(3);
    let told = "past this command's deadline (set by this command, 10 s)";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
}

#[test]
fn a_deadline_is_a_duration() {
    let (world, fake) = hosted(Kind::Github);
    let ran = run(&world, &GATES, "soon").exits(2);
    assert!(ran.stderr.contains("REPIN_DEADLINE: "), "{}", ran.stderr);
    assert_eq!(fake.asked(), [] as [String; 0]);
}

//! How requests are made, to registries and forges alike: whose clock counts, and what `-vv` shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests, which clippy does not see"
)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/fake.rs"]
mod fake;
#[allow(missing_docs, unreachable_pub, reason = "shared with other tests")]
#[path = "support/forge/mod.rs"]
mod forge;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/images.rs"]
mod images;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/registry.rs"]
mod registry;
#[allow(missing_docs, unreachable_pub, reason = "shared with other tests")]
mod support;

use fake::{Fake, Reaction};
use forge::{Fault, Kind, TOKEN};
use registry::{Protection, Registry, run};
use support::world::{REV_B, Ran, World, world};

const IMAGES: [&str; 3] = ["review", "fix", "base"];

/// A time that this machine's clock is decades before, and one that it is decades behind.
const YEAR_2099: &str = "Thu, 01 Jan 2099 00:00:00 GMT";
const YEAR_2099_IN_SECONDS: &str = "4070908800";
const YEAR_2001: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const AN_HOUR_LATER: &str = "Mon, 01 Jan 2001 01:00:00 GMT";
const AN_HOUR_LATER_IN_SECONDS: &str = "978310800";

/// The storage of a registry that holds the world's images at B.
fn stored(world: &World) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), &Protection::None);
    for image in IMAGES {
        let from = format!("oci:{}:{REV_B}", world.path("images").join(image).display());
        let to = format!("docker://{}/acme/{image}:{REV_B}", registry.host);
        let flags = ["-q", "--all", "--preserve-digests", "--insecure-policy"];
        let tail = ["--dest-tls-verify=false", &from, &to];
        run("skopeo", &[&["copy"], &flags[..], &tail].concat());
    }
    folder
}

/// Resolves the set at `host`.
fn resolve(world: &World, host: &str, flags: &[&str], env: &[(&str, &str)]) -> Ran {
    let source = format!("ghcr.io/acme=http://{host}/acme");
    let args = ["resolve", "--revision", REV_B, "--source", &source];
    world.run_with(&[&args, flags].concat(), env)
}

/// A server that answers its first request like this, and leads all others to `host`.
fn once_before(host: &str, first: Reaction) -> Fake {
    let host = host.to_owned();
    Fake::start(move |request| match request.number {
        0 => first.clone(),
        _ => Reaction::new(307, "").with("Location", format!("http://{host}{}", request.target)),
    })
}

/// A world with a forge that requires the status `ci`.
fn with_forge(kind: Kind) -> (World, forge::Fake) {
    let (world, fake) = (world(), forge::Fake::start(kind));
    let name = if kind == Kind::Github {
        "github"
    } else {
        "gitea"
    };
    let block = format!(
        "forge: {{ kind: {name}, url: '{}', repository: acme/flows, gates: [ci] }}\n",
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    fake.store().push("main", "as it is", &[("a", "b")]);
    (world, fake)
}

/// Asks for the gates of the forge's main branch; none has reported.
fn gates(world: &World, flags: &[&str]) -> Ran {
    let args = [&["gates", "--ref", "main"], flags].concat();
    world.run_with(&args, &[("REPIN_FORGE_TOKEN", TOKEN)])
}

#[test]
fn a_registrys_dates_are_measured_by_its_own_clock() {
    let world = world();
    let folder = stored(&world);
    let registry = Registry::start(folder.path(), &Protection::None);
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
    assert!(ran.stderr.contains("asks to wait 3600 s"), "{}", ran.stderr);
}

#[test]
fn a_forges_dates_and_resets_are_measured_by_its_own_clock() {
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = with_forge(kind);
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
            // No gate has reported, which is what the forge says after the wait.
            let document = gates(&world, &["--format", "json"]).exits(1).json();
            assert_eq!(document["state"], "absent", "{kind:?} {when:?}");
        }
        for when in [
            ("retry-after", AN_HOUR_LATER),
            ("reset", AN_HOUR_LATER_IN_SECONDS),
        ] {
            limited(YEAR_2001, when);
            let ran = gates(&world, &[]).exits(3);
            let why = "asks to wait 3600 s";
            assert!(
                ran.stderr.contains(why),
                "{kind:?} {when:?}: {}",
                ran.stderr
            );
        }
    }
}

//! Docker Hub's limit of pulls, and registries that archive images: the program against a proxy that
//! behaves like them, in front of a real registry.
//!
//! Docker Hub ("Docker Hub pull usage and limits"): each GET of a manifest is a pull, HEAD is none;
//! each response about a manifest has `ratelimit-limit` and `ratelimit-remaining` with the window
//! in seconds; at the limit, the response to GET is 429 and `TOOMANYREQUESTS`.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use crate::registries::forwarded;
use crate::support::{
    authority,
    fake::{Fake, Reaction, Request},
    images::Image,
    pruned::{self, old},
    registry::{Protection, Registry, run},
    scene::days_ago,
    world::{REV_A, REV_B, Ran, World, world},
};
use crate::verify::POLICY;

/// A registry with a limit, and the pulls that remain.
struct Hub {
    fake: Fake,
    remaining: Arc<Mutex<u64>>,
    registry: Registry,
    _directory: tempfile::TempDir,
}

/// Pushes the images of the world, at both revisions.
fn push(world: &World, registry: &Registry) {
    for image in ["review", "fix", "base"] {
        for revision in [REV_A, REV_B] {
            let layout = world.path("images").join(image);
            let from = format!("oci:{}:{revision}", layout.display());
            let to = format!("docker://{}/acme/{image}:{revision}", registry.host);
            let flags = [
                "copy",
                "-q",
                "--all",
                "--preserve-digests",
                "--insecure-policy",
                "--dest-tls-verify=false",
            ];
            run("skopeo", &[&flags[..], &[&from, &to]].concat());
        }
    }
}

fn hub(world: &World, remaining: Option<u64>) -> Hub {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    push(world, &registry);
    let left = Arc::new(Mutex::new(remaining.unwrap_or(0)));
    let (counter, host) = (Arc::clone(&left), registry.host.clone());
    let limited = remaining.is_some();
    let fake = Fake::start(move |request| {
        let is_manifest = request.path().contains("/manifests/");
        if !limited || !is_manifest {
            return forwarded(&host, request);
        }
        let mut left = counter.lock().unwrap();
        if request.method == "GET" && *left == 0 {
            let refused =
                b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return limit(refused.to_vec(), 0);
        }
        let response = relayed(&host, request);
        if request.method == "GET" && response.starts_with(b"HTTP/1.1 200") {
            *left -= 1;
        }
        limit(response, *left)
    });
    Hub {
        fake,
        remaining: left,
        registry,
        _directory: directory,
    }
}

/// The response with Docker Hub's headers.
fn limit(mut response: Vec<u8>, left: u64) -> Reaction {
    let headers = format!(
        "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: {left};w=21600\r\ndocker-ratelimit-source: 192.0.2.1\r\n"
    );
    let status_line = response.windows(2).position(|pair| pair == b"\r\n");
    let after = status_line.unwrap() + 2;
    response.splice(after..after, headers.into_bytes());
    Reaction::Raw(response)
}

/// The response of the registry.
fn relayed(host: &str, request: &Request) -> Vec<u8> {
    match forwarded(host, request) {
        Reaction::Raw(response) => response,
        other => panic!("{other:?}"),
    }
}

/// The world with its images on this host.
fn world_on(host: &str) -> World {
    let world = world();
    for file in [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ] {
        world.replace(file, "ghcr.io/acme", &format!("{host}/acme"));
    }
    world
}

impl Hub {
    fn run(&self, world: &World, args: &[&str]) -> Ran {
        self.run_for("docker.io", world, args)
    }

    fn run_for(&self, host: &str, world: &World, args: &[&str]) -> Ran {
        let source = format!("{host}/acme=http://{}/acme", self.fake.host());
        world.run(&[args, &["--source", &source]].concat())
    }

    fn pulls(&self) -> usize {
        let log = self.fake.log();
        let pull = |line: &&String| line.starts_with("GET ") && line.contains("/manifests/");
        log.iter().filter(pull).count()
    }
}

const PROMOTE: [&str; 3] = ["promote", "--revision", REV_B];

#[test]
fn run_beyond_the_pull_limit_is_refused() {
    let world = world_on("docker.io");
    let hub = hub(&world, Some(100));
    hub.run(&world, &PROMOTE).exits(0);
    // At least three tags, a platform of the index, and two replaced digests.
    let needed = hub.pulls();
    assert!(needed >= 6, "{needed}: {:?}", hub.fake.log());
    for (left, exit) in [(5, 3), (100, 0)] {
        *hub.remaining.lock().unwrap() = left;
        let before = hub.pulls();
        let ran = hub.run(&world, &PROMOTE).exits(exit);
        if exit == 3 {
            let message =
                "error[pull_limit]: Docker Hub allows 5 more pulls, and this run needs at least 6";
            assert!(ran.stderr.contains(message), "{}", ran.stderr);
            assert!(
                ran.stderr.contains("log in to Docker Hub"),
                "{}",
                ran.stderr
            );
            assert_eq!(hub.pulls(), before, "nothing was pulled");
        }
    }
    // The tags of the current set and its pins are the same images: three, of which one has two platforms.
    *hub.remaining.lock().unwrap() = 5;
    hub.run(&world, &["promote", "--revision", REV_A]).exits(0);
}

#[test]
fn every_reading_command_respects_the_limit() {
    let world = world_on("docker.io");
    let hub = hub(&world, Some(1));
    world.write("repin.yaml", world.read("repin.yaml") + FURTHER_BLOCKS);
    let world = world.with_git();
    let build = format!("docker.io/acme/review:{REV_B}");
    for args in [
        &["resolve", "--revision", REV_B][..],
        &["check", "--remote"],
        &["promote", "--revision", REV_B, "--apply"],
        &["set", "--revision", REV_B, "--out", "set.json"],
        &["trust", "show", "review"],
        &["trust", "show", &build],
        &["inventory", "check"],
        &["inventory", "check", "--revision", REV_B],
        &["inventory", "enumerate", "review"],
        &["inventory", "init", &build],
        &["prune"],
        &["builds"],
        &["promote", "--revision", "newest"],
    ] {
        let ran = hub.run(&world, args).exits(3);
        assert!(
            ran.stderr.contains("error[pull_limit]"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    assert_eq!(hub.pulls(), 0);
}

#[test]
fn builds_need_a_pull_for_each_tag() {
    let world = world_on("docker.io");
    let hub = hub(&world, Some(0));
    let world = world.with_git();
    world.adopt(REV_A);
    world.push();
    for (left, is_refused) in [(5, true), (6, false)] {
        *hub.remaining.lock().unwrap() = left;
        let before = hub.pulls();
        let ran = hub.run(&world, &["builds"]);
        let says = format!(
            "error[pull_limit]: Docker Hub allows {left} more pulls, and this run needs at least 6"
        );
        assert_eq!(ran.stderr.contains(&says), is_refused, "{}", ran.stderr);
        assert_eq!(hub.pulls() == before, is_refused, "{left}");
    }
}

#[test]
fn prune_may_use_the_whole_limit() {
    let world = world_on("docker.io");
    world.write("repin.yaml", world.read("repin.yaml") + FURTHER_BLOCKS);
    let world = world.with_git();
    // The tags of the two revisions.
    let hub = hub(&world, Some(2));
    hub.run(&world, &["prune", "--image", "review"]).exits(0);
    assert_eq!((hub.pulls(), *hub.remaining.lock().unwrap()), (2, 0));
}

/// Only the first listing pulls: HEAD is no pull, and a deletion is proved by its absence.
#[test]
fn prune_pulls_each_manifest_once() {
    let cache = tempfile::tempdir().unwrap();
    // With the cache, the tags of the refused run are not pulled again.
    for (cache, needed) in [("", 7), (cache.path().to_str().unwrap(), 3)] {
        let world = world_on("docker.io").env("XDG_CACHE_HOME", cache);
        world.write("repin.yaml", world.read("repin.yaml") + FURTHER_BLOCKS);
        let world = world.with_git();
        let hub = hub(&world, Some(0));
        // Another date than that of `pending-old`, so that no further date is read.
        let platform = |name| Image::created(name, "a", Some(&days_ago(41)));
        let platforms = vec![platform("amd64"), platform("arm64")];
        let all = [
            ("pending-old", &old("old")),
            ("pending-index", &Image::index(platforms)),
        ];
        pruned::push(&hub.registry, "acme/review", &all);
        let args = ["prune", "--image", "review", "--apply"];
        // The tags of two revisions, two further ones, a pinned digest without a tag, and two platforms.
        *hub.remaining.lock().unwrap() = 6;
        let ran = hub.run(&world, &args).exits(3);
        let says = "Docker Hub allows 1 more pulls, and this run needs at least 2";
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        *hub.remaining.lock().unwrap() = needed;
        hub.run(&world, &args).exits(0);
        assert_eq!(*hub.remaining.lock().unwrap(), 0);
        let left = pruned::get(&hub.registry.host, "/v2/acme/review/tags/list");
        assert!(!left.contains("pending"), "{left}");
    }
}

/// The blocks that further commands need.
const FURTHER_BLOCKS: &str =
    "inventory: { kinds: { skills: { paths: ['^skills/([^/]+)'] } } }\nprune: {}\n";

/// Signatures and the smoke command need further pulls: those that the run certainly requests.
#[test]
fn pulls_of_signatures_and_smoke_command_count() {
    let both = POLICY.replace(
        "verify:\n",
        "verify:\n  require: [attestation, signature]\n",
    );
    let smoke = "smoke: { command: [x], engine: docker }\n";
    // An image that may be unsigned costs one request.
    let since = format!("{both}  since: HEAD\n");
    for (block, promotion, check) in [
        ("", 6, 5),
        (POLICY, 9, 7),
        (&both, 12, 9),
        (&since, 9, 7),
        (smoke, 9, 5),
    ] {
        let world = world_on("docker.io");
        world.write("root.json", authority::root().to_string());
        let world = world.with_git();
        let block = block.replace("HEAD", &world.head());
        world.write("repin.yaml", world.read("repin.yaml") + &block);
        let hub = hub(&world, Some(0));
        for (args, needed) in [(&PROMOTE[..], promotion), (&["check", "--remote"], check)] {
            for (left, is_refused) in [(needed - 1, true), (needed, false), (100, false)] {
                *hub.remaining.lock().unwrap() = left;
                let ran = hub.run(&world, args);
                let says = format!(
                    "error[pull_limit]: Docker Hub allows {left} more pulls, and this run needs at least {needed}"
                );
                let is_said = ran.stderr.contains(&says);
                assert_eq!(is_said, is_refused, "{block} {args:?}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn registry_without_a_limit_gets_no_query() {
    let world = world_on("docker.io");
    let hub = hub(&world, None);
    hub.run(&world, &PROMOTE).exits(0);
    // Other registries receive no further request, even with such headers.
    let world = world_on("ghcr.io");
    let hub = self::hub(&world, Some(100));
    *hub.remaining.lock().unwrap() = 100;
    hub.run_for("ghcr.io", &world, &PROMOTE).exits(0);
    assert!(!hub.fake.log().iter().any(|line| line.starts_with("HEAD ")));
}

#[test]
fn doctor_shows_the_rest_of_the_limit() {
    let world = world_on("docker.io");
    let hub = hub(&world, Some(50));
    let ran = hub.run(&world, &["doctor", "--format", "json"]);
    let lines = |ran: &Ran| {
        let document = ran.json();
        let checks = document["checks"].as_array().unwrap().clone();
        let of = |row: &serde_json::Value| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (row["code"] == "registry").then(|| (text("status"), text("detail"), text("hint")))
        };
        checks.iter().filter_map(of).collect::<Vec<_>>()
    };
    let shown = lines(&ran);
    assert!(
        shown.iter().any(|(status, detail, _)| {
            status == "pass" && detail.contains("; Docker Hub allows 4")
        }),
        "{shown:?}"
    );
    *hub.remaining.lock().unwrap() = 3;
    let shown = lines(&hub.run(&world, &["doctor", "--format", "json"]).exits(3));
    let failed = shown.iter().find(|(status, ..)| status == "fail").unwrap();
    assert!(
        failed.1.contains("a promotion needs at least 5") && failed.2.contains("log in"),
        "{failed:?}"
    );
}

#[test]
fn missing_image_of_ecr_may_be_archived() {
    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let (world, other) = (world_on(ECR), world_on("ghcr.io"));
    let hub = hub(&world, None);
    let missing = "c".repeat(40);
    for (host, world, archived) in [(ECR, &world, true), ("ghcr.io", &other, false)] {
        for args in [
            &["promote", "--revision", &missing][..],
            &["resolve", "--revision", &missing],
        ] {
            let ran = hub.run_for(host, world, args).exits(1);
            assert_eq!(
                ran.stderr.contains("or is archived (Amazon ECR)")
                    && ran.stderr.contains("aws ecr update-image-storage-class"),
                archived,
                "{args:?}: {}",
                ran.stderr
            );
        }
    }
    let path = Path::new(".github/workflows/a.yml").display().to_string();
    let pinned = world.digest("review", REV_A).to_owned();
    let gone = format!("sha256:{}", "0".repeat(64));
    world.replace(&path, &pinned, &gone);
    world.replace(".github/workflows/b.yml", &pinned, &gone);
    for args in [&["check", "--remote"][..], &["doctor"]] {
        let ran = hub.run_for(ECR, &world, args).exits(1);
        let text = ran.stdout + &ran.stderr;
        assert!(
            text.contains("is archived (Amazon ECR)"),
            "{args:?}: {text}"
        );
    }
}

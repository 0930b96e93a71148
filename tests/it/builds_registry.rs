//! `repin builds` and `promote --revision newest` on registries: docker-registry, GitHub's packages API, and
//! a registry with 100,000 tags.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    fake::{Fake, Reaction},
    forge::server::Reply,
    images::Image,
    layout::{Layout, Platform},
    packages::{Packages, TOKEN},
    registry::{Protection, Registry},
    scene::{Scene, days_ago},
    world::{CONFIG, REV_A, REV_B, World, repin, whole, world},
};

const IMAGES: [&str; 3] = ["review", "fix", "base"];

/// Pushes layouts of a world to a registry.
fn push(world: &World, images: &[&str], registry: &Registry) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for image in images {
        let (name, layout) = (format!("acme/{image}"), world.path("images").join(image));
        runtime.block_on(registry.push_layout(&name, &layout));
    }
}

#[test]
fn registry_lists_the_builds_of_its_layouts() {
    let world = world();
    world.layout("fix").untag(REV_B);
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    push(&world, &IMAGES, &registry);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let args = ["builds", "--format", "json"];
    let layouts = world.run(&args).exits(0).json();
    let remote = world
        .run(&[&args[..], &["--source", &source]].concat())
        .exits(0)
        .json();
    assert_eq!(layouts, remote);
    assert_eq!(remote["builds"][0]["state"], "incomplete");
    // Nothing listens here, unlike on the port of a stopped registry, which another process may get.
    let host = "127.0.0.1:1";
    let source = format!("ghcr.io/acme=http://{host}/acme");
    for args in [&["builds"][..], &["promote", "--revision", "newest"]] {
        let ran = world.run(&[args, &["--source", &source]].concat()).exits(3);
        for image in IMAGES {
            assert!(
                ran.stderr.contains(&format!("{host}/acme/{image}")),
                "{}",
                ran.stderr
            );
        }
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn protection_costs_no_request_of_the_registry() {
    let world = world();
    let config = format!("{CONFIG}prune: {{ tags: '.', protect: [] }}\n");
    world.write("repin.yaml", config);
    let world = world.with_git();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    push(&world, &IMAGES, &registry);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let requests = |args: &[&str]| {
        let before = registry.requests().len();
        world.run(&[args, &["--source", &source]].concat()).exits(0);
        registry.requests().len() - before
    };
    let without = requests(&["builds"]);
    assert!(without > 0);
    assert_eq!(requests(&["builds", "--protected"]), without);
}

#[test]
fn unknown_repository_of_a_pinned_image_is_an_error() {
    let world = world();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let run = |args: &[&str]| world.run(&[args, &["--source", &source]].concat());
    push(&world, &["review"], &registry);
    for args in [&["builds"][..], &["promote", "--revision", "newest"]] {
        let ran = run(args).exits(3);
        let reason = "/acme/fix: the registry does not know the repository";
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
    // `base` has no pins: it may be a new image without a build.
    push(&world, &["fix"], &registry);
    assert!(run(&["builds"]).exits(0).stdout.contains("incomplete"));
}

#[test]
fn newest_reads_only_builds_after_the_current_set() {
    let mut commits = Vec::new();
    let world = world().with_git();
    for _ in 0..30 {
        let commit = world.commit("source");
        for image in IMAGES {
            let platform = crate::support::layout::Platform::new("linux/amd64", &commit);
            world.layout(image).image(&commit, &whole(image, platform));
        }
        commits.push(commit);
    }
    world.push();
    for image in IMAGES {
        for revision in [REV_A, REV_B] {
            world.layout(image).untag(revision);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    push(&world, &IMAGES, &registry);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let run = |args: &[&str]| world.run(&[args, &["--source", &source]].concat()).exits(0);
    let newest = ["promote", "--revision", "newest", "--apply"];
    // The pinned images are not in the registry.
    run(&[&newest[..], &["--allow-older"]].concat());
    let newer = commits.last().unwrap();
    world.commit(&format!("promote: test images @{newer}"));
    world.push();
    let read = |from: usize| {
        let requests = registry.requests().split_off(from);
        let tags = commits.iter().filter(|commit| {
            requests
                .iter()
                .any(|line| line.contains(&format!("/manifests/{commit}")))
        });
        tags.count()
    };
    let from = registry.requests().len();
    let ran = run(&newest[..3]);
    assert_eq!(ran.stderr, "nothing newer than the current set\n");
    assert_eq!(read(from), 1);
    let from = registry.requests().len();
    let ran = run(&["builds", "--limit", "5"]);
    assert_eq!(ran.stdout.lines().count(), 6, "{}", ran.stdout);
    assert_eq!(read(from), 5);
}

/// A package with builds of these revisions, pushed one day apart, the first one pinned.
fn hosted(revisions: &[String]) -> (Packages, Scene) {
    let packages = Packages::start("orgs");
    let mut pinned = None;
    for (revision, age) in revisions.iter().zip((1..=revisions.len() as u64).rev()) {
        let image = Image::index(vec![Image::single("amd64", revision)]);
        packages.store().push(&[revision], &image, &days_ago(age));
        pinned.get_or_insert(image.digest());
    }
    let url = packages.url();
    let config = format!(
        "version: 1\nname: test images\nfiles: ['.github/workflows/*.yml']\nsources: {{ ghcr.io: '{url}' }}\n\
         images: {{ app: {{ repository: ghcr.io/acme/team/app, pins: 1 }} }}\n\
         forge: {{ kind: github, url: '{url}' }}\n"
    );
    let scene = Scene::new(&config, "ghcr.io/acme/team/app", pinned.unwrap());
    scene.adopt(&revisions[0]);
    scene.git(&["push", "-q", "--force", "origin", "main"]);
    (packages, scene)
}

/// The document of a run, and the requests that it sent.
fn builds(packages: &Packages, scene: &Scene, token: &str) -> (Value, Vec<String>) {
    packages.forget();
    let args = ["builds", "--format", "json"];
    let ran = scene
        .run_with(&args, &[("REPIN_FORGE_TOKEN", token)])
        .exits(0);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN));
    packages.is_content();
    let log = packages.store().log.clone();
    (ran.json(), log)
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{number:040x}")).collect()
}

#[test]
fn packages_api_lists_digests_and_times() {
    let revisions = numbered(3);
    let (packages, scene) = hosted(&revisions);
    let (document, log) = builds(&packages, &scene, TOKEN);
    let rows = document["builds"].as_array().unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (&row["revision"], &row["state"]))
        .collect();
    assert_eq!(
        found,
        [
            (&json!(revisions[2]), &json!("available")),
            (&json!(revisions[1]), &json!("available")),
            (&json!(revisions[0]), &json!("current")),
        ]
    );
    let pushed = packages
        .store()
        .versions
        .iter()
        .find(|row| row.tags == [revisions[1].clone()])
        .unwrap()
        .clone();
    assert_eq!(rows[1]["images"][0]["digest"], pushed.digest.to_string());
    assert_eq!(
        rows[1]["created"].as_str().unwrap()[..16],
        pushed.created[..16]
    );
    assert!(!log.iter().any(|line| line.contains("/v2/")), "{log:?}");
}

#[test]
fn registry_serves_versions_denied_by_packages_api() {
    let revisions = numbered(3);
    let (packages, scene) = hosted(&revisions);
    for token in ["", "ghp_anotherTokenThatIsUnknown0123456789"] {
        let (document, log) = builds(&packages, &scene, token);
        assert_eq!(
            document["builds"].as_array().unwrap().len(),
            3,
            "{document}"
        );
        assert_eq!(document["builds"][0]["created"], "2024-05-06T07:08:09Z");
        assert!(
            log.iter().any(|line| line.contains("/tags/list")),
            "{log:?}"
        );
    }
}

#[test]
fn unlisted_versions_are_reported_unless_denied() {
    let (packages, scene) = hosted(&numbered(1));
    let is_reported = |token| {
        let env = [("REPIN_FORGE_TOKEN", token)];
        let ran = scene.run_with(&["builds"], &env).exits(0);
        ran.stderr.contains("GitHub does not list the versions")
    };
    assert!(!is_reported("ghp_anotherTokenThatIsUnknown0123456789"));
    let malformed = Reply::json(200, json!("versions"));
    packages.store().hook("/versions", |_| Some(malformed));
    assert!(is_reported(TOKEN));
}

#[test]
fn other_registries_have_no_versions() {
    let (packages, scene) = hosted(&numbered(2));
    for file in ["repin.yaml", ".github/workflows/a.yml"] {
        scene.replace(file, "ghcr.io", "quay.io");
    }
    let (document, log) = builds(&packages, &scene, TOKEN);
    assert_eq!(document["builds"].as_array().unwrap().len(), 2);
    assert!(
        !log.iter().any(|line| line.contains("/packages/")),
        "{log:?}"
    );
}

#[test]
fn last_pushed_versions_are_selected() {
    let revisions = numbered(400);
    let (packages, scene) = hosted(&revisions);
    let (document, log) = builds(&packages, &scene, TOKEN);
    assert_eq!(
        (
            document["left_out"].clone(),
            document["builds"].as_array().unwrap().len()
        ),
        (json!(0), 400)
    );
    assert!(!log.iter().any(|line| line.contains("/v2/")), "{log:?}");
    let revisions = numbered(700);
    let (packages, scene) = hosted(&revisions);
    let (document, log) = builds(&packages, &scene, TOKEN);
    assert_eq!(document["left_out"], 200);
    let rows = document["builds"].as_array().unwrap();
    // The current set is always listed.
    let found: Vec<_> = rows
        .iter()
        .map(|row| row["revision"].as_str().unwrap())
        .collect();
    let newer = revisions[201..].iter().rev().map(String::as_str);
    let expected: Vec<_> = newer.chain([revisions[0].as_str()]).collect();
    assert_eq!(found, expected);
    let pages = log.iter().filter(|line| line.contains("/versions")).count();
    // Each build has two versions: the index and its platform.
    assert_eq!(pages, 11, "{log:?}");
    // Only the pinned image, an index with one platform, is read, by its tag and by its digest: its push
    // is not among the last. The platform is requested once.
    let manifests = log.iter().filter(|line| line.contains("/manifests/"));
    assert_eq!(manifests.count(), 3, "{log:?}");
}

#[test]
fn versions_are_listed_until_there_are_enough_builds() {
    let other = |scene: &(Packages, Scene), count: usize| {
        for number in 0..count {
            let image = Image::single("amd64", &number.to_string());
            let tag = format!("cache-{number}");
            scene.0.store().push(&[&tag], &image, &days_ago(0));
        }
    };
    let pages = |(packages, scene): &(Packages, Scene)| {
        let (document, log) = builds(packages, scene, TOKEN);
        assert_eq!(document["builds"].as_array().unwrap().len(), 2);
        log.iter().filter(|line| line.contains("/versions")).count()
    };
    let package = hosted(&numbered(2));
    other(&package, 600);
    // Two builds have four versions, and the last page is empty.
    assert_eq!(pages(&package), 7 + 1);
    other(&package, 5_000);
    assert_eq!(pages(&package), 50);
}

#[test]
fn layout_has_no_versions() {
    let revisions = numbered(2);
    let (packages, scene) = hosted(&revisions);
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::at(&directory.path().join("app"));
    layout.image(
        &revisions[0],
        &[Platform::new("linux/amd64", &revisions[0])],
    );
    let source = format!("ghcr.io/acme/team=oci:{}", directory.path().display());
    packages.forget();
    let args = ["builds", "--format", "json", "--source", &source];
    let ran = scene.run_with(&args, &[("REPIN_FORGE_TOKEN", TOKEN)]);
    let document = ran.exits(0).json();
    assert_eq!(document["builds"].as_array().unwrap().len(), 1);
    let log = packages.store().log.clone();
    assert!(
        !log.iter().any(|line| line.contains("/versions")),
        "{log:?}"
    );
}

#[test]
fn labels_complete_abbreviations_of_the_packages_api() {
    let revisions: Vec<String> = ["a", "b"].map(|digit| digit.repeat(40)).to_vec();
    let (packages, scene) = hosted(&revisions);
    let config = scene.read("repin.yaml");
    let tag = "revision: { tag: '{revision:7}' }\n";
    scene.write("repin.yaml", config + tag);
    for revision in &revisions {
        let image = Image::index(vec![Image::single("amd64", revision)]);
        packages
            .store()
            .push(&[&revision[..7]], &image, &days_ago(1));
    }
    let (document, _) = builds(&packages, &scene, TOKEN);
    let rows = document["builds"].as_array().unwrap();
    let found: Vec<_> = rows.iter().map(|row| row["revision"].as_str()).collect();
    assert_eq!(found, [Some(&*revisions[1]), Some(&*revisions[0])]);
    // The times are those of the pushes.
    let pushed = [&days_ago(1)[..10], &days_ago(2)[..10]];
    for (row, pushed) in rows.iter().zip(pushed) {
        assert!(
            row["created"].as_str().unwrap().starts_with(pushed),
            "{document}"
        );
    }
}

/// A registry with 100,000 tags for two images, each for one manifest, in one page like docker-registry 2.
fn registry_of_many() -> Fake {
    let image = Image::single("amd64", REV_A);
    let tags: Vec<String> = (0..100_000)
        .map(|number| format!("{:040x}", number * 7_919))
        .collect();
    let page = json!({"name": "app", "tags": tags}).to_string();
    Fake::start(move |request| {
        let path = request.path();
        if path.ends_with("/tags/list") {
            return Reaction::new(200, page.clone());
        }
        if path.contains("/blobs/") {
            return Reaction::new(200, image.config.clone());
        }
        Reaction::new(200, image.manifest.clone()).with("Content-Type", image.media_type)
    })
}

/// Runs with at most 64 MiB of private memory (`RLIMIT_DATA`).
fn limited(world: &World, args: &[&str], source: &str) -> Value {
    let program = repin(world.root(), &[args, &["--format", "json"]].concat());
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -d 65536; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(world.root())
        .env("REPIN_SOURCES", source);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn hundred_thousand_tags_fit_in_64_mib() {
    let world = World::empty();
    world.write(
        "repin.yaml",
        "version: 1\nname: test images\nfiles: ['*.yml']\nimages:\n  app: { repository: ghcr.io/acme/app, pins: 1 }\n  web: { repository: ghcr.io/acme/web, pins: 1 }\n",
    );
    world.write("a.yml", "on: push\n");
    let fake = registry_of_many();
    let source = format!("ghcr.io/acme=http://{}/acme", fake.host());
    let document = limited(&world, &["builds"], &source);
    assert_eq!(document["left_out"], 99_500);
    assert_eq!(document["builds"].as_array().unwrap().len(), 500);
    assert_eq!(fake.count("/manifests/"), 1_000);
    assert_eq!(fake.count("/tags/list"), 4);
}

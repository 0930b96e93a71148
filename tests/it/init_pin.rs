//! `init --pin`: digests for images that have only a tag, from a real registry.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    images::Image,
    registry::{Protection, Registry},
    strace,
    world::World,
};

/// A registry with images, and a repository whose files name them by tags.
struct Small {
    world: World,
    registry: Registry,
    api: String,
    web: String,
    _storage: TempDir,
}

fn two_platforms(seed: &str) -> Image {
    Image::index(vec![
        Image::single("amd64", seed),
        Image::single("arm64", seed),
    ])
}

fn small() -> Small {
    let storage = tempfile::tempdir().unwrap();
    let registry = Registry::start(storage.path(), &Protection::None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut digests = Vec::new();
    for name in ["acme/api", "acme/web"] {
        let image = two_platforms(name);
        runtime.block_on(registry.push(name, "v1", &image));
        digests.push(image.digest().to_string());
    }
    let world = World::empty()
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    world.git(&["init", "-q"]);
    let small = Small {
        world,
        api: digests.remove(0),
        web: digests.remove(0),
        registry,
        _storage: storage,
    };
    for (path, text) in FILES {
        small
            .world
            .write(path, text.replace("HOST", &small.registry.host));
    }
    small.world.git(&["add", "-A"]);
    small
}

/// One file for each way to name an image.
const FILES: [(&str, &str); 7] = [
    (
        "compose.yaml",
        "services:\n  api:\n    image: HOST/acme/api:v1 # ours\n  built:\n    image: HOST/acme/own:v1\n    build: .\n",
    ),
    (
        "Dockerfile",
        "ARG BASE=HOST/acme/web:v1\nFROM ${BASE} AS base\nFROM base\nCOPY --from=HOST/acme/api:v1 /a /a\n",
    ),
    (
        ".github/workflows/ci.yml",
        "on: push\njobs:\n  t:\n    runs-on: ubuntu-latest\n    container: HOST/acme/api:v1\n    steps:\n      - uses: docker://HOST/acme/web:v1\n",
    ),
    (
        "k8s/pod.yaml",
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: a\n      image: \"HOST/acme/api:v1\"\n",
    ),
    (
        "k8s/kustomization.yaml",
        "resources: [pod.yaml]\nimages:\n  - name: app\n    newName: HOST/acme/web\n    newTag: v1\n",
    ),
    (
        "values.yaml",
        "image:\n  repository: HOST/acme/api\n  tag: v1\n  pullPolicy: Always\n",
    ),
    (
        "other.yml",
        "tool: { image: 'HOST/acme/api:v1' }\nvariable: { image: HOST/acme/api:$TAG }\n",
    ),
];

impl Small {
    /// The expected contents after the change.
    fn expected(&self) -> Vec<(&'static str, String)> {
        let (api, web) = (&self.api, &self.web);
        let files = FILES.map(|(path, text)| {
            let mut new = text
                .replace(
                    "COPY --from=HOST/acme/api:v1",
                    &format!("COPY --from=HOST/acme/api:v1@{api}"),
                )
                .replace(
                    "BASE=HOST/acme/web:v1",
                    &format!("BASE=HOST/acme/web:v1@{web}"),
                )
                .replace(
                    "container: HOST/acme/api:v1",
                    &format!("container: HOST/acme/api:v1@{api}"),
                )
                .replace(
                    "docker://HOST/acme/web:v1",
                    &format!("docker://HOST/acme/web:v1@{web}"),
                )
                .replace(
                    "image: HOST/acme/api:v1 #",
                    &format!("image: HOST/acme/api:v1@{api} #"),
                )
                .replace(
                    "\"HOST/acme/api:v1\"",
                    &format!("\"HOST/acme/api:v1@{api}\""),
                )
                .replace("'HOST/acme/api:v1'", &format!("'HOST/acme/api:v1@{api}'"))
                .replace("newTag: v1\n", &format!("newTag: v1\n    digest: {web}\n"))
                .replace("  tag: v1\n", &format!("  tag: v1\n  digest: {api}\n"));
            new = new.replace("HOST", &self.registry.host);
            (path, new)
        });
        files.to_vec()
    }
}

/// Whether a line of a table begins with these words.
fn lists(table: &str, row: &str) -> bool {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    table.lines().any(|line| words(line).starts_with(row))
}

fn is_unchanged(world: &World) {
    assert_eq!(world.git(&["diff"]), "");
}

#[test]
fn tags_become_pins_that_check_accepts() {
    let small = small();
    let world = &small.world;
    let before = world.snapshot();
    let shown = world.run(&["init", "--pin"]).exits(0);
    assert_eq!(world.snapshot(), before);
    let row = format!(
        "compose.yaml:3:12 {}/acme/api:v1 {}",
        small.registry.host, small.api
    );
    assert!(lists(&shown.stdout, &row), "{}", shown.stdout);
    assert!(
        shown
            .stdout
            .contains("not pinned: a variable is part of the reference"),
        "{}",
        shown.stdout
    );
    assert!(
        shown
            .stderr
            .contains("dry run: 9 digests in 7 files would be written"),
        "{}",
        shown.stderr
    );
    // The shown diff is the change.
    let diff = &shown.stdout[shown.stdout.find("--- a/").unwrap()..];
    fs::write(world.path("../change.diff"), diff).unwrap();
    world.git(&["apply", "--check", "../change.diff"]);

    let document = world
        .run(&["init", "--pin", "--apply", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        (&document["schema"], &document["written"]),
        (&json!("repin.pin/1"), &json!(true))
    );
    assert_eq!(document["diff"], json!(diff));
    for (path, text) in small.expected() {
        assert_eq!(world.read(path), text, "{path}");
    }
    // A second run has nothing to do, and the new pins are a set.
    let again = world
        .run(&["init", "--pin", "--apply", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        (&again["written"], &again["diff"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(again["images"].as_array().unwrap().len(), 1, "{again}");
    world.run(&["init"]).exits(0);
    world.git(&["add", "-A"]);
    world.run(&["check"]).exits(0);
}

#[test]
fn init_with_tags_only_lists_their_digests() {
    let small = small();
    let ran = small.world.run(&["init"]).exits(2);
    let host = &small.registry.host;
    for line in [
        "error[init]: no image is pinned by digest; 7 files scanned; 10 images with only a tag found".to_owned(),
        format!("found: compose.yaml:3:12: {host}/acme/api:v1 is {} now", small.api),
        format!("found: k8s/kustomization.yaml:5:13: {host}/acme/web:v1 is {} now", small.web),
        format!("found: other.yml:2:20: {host}/acme/api:$TAG cannot be pinned: a variable"),
        "`repin init --pin`".to_owned(),
    ] {
        assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
    }
    assert!(!small.world.path("repin.yaml").exists());
}

#[test]
fn unreachable_registry_changes_nothing() {
    let Small {
        world, registry, ..
    } = small();
    let host = registry.host.clone();
    drop(registry);
    let ran = world.run(&["init", "--pin", "--apply"]).exits(3);
    assert!(
        lists(
            &ran.stdout,
            &format!("compose.yaml:3:12 {host}/acme/api:v1 unknown: ")
        ),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("error[unavailable]"), "{}", ran.stderr);
    let ran = world.run(&["init"]).exits(2);
    assert!(
        ran.stderr.contains(&format!(
            "compose.yaml:3:12: {host}/acme/api:v1 has an unknown digest"
        )),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("reason for unknown digests: "),
        "{}",
        ran.stderr
    );
    is_unchanged(&world);
}

#[test]
fn missing_tag_stops_all_unless_a_glob_leaves_it_out() {
    let small = small();
    let world = &small.world;
    world.write(
        "more.yaml",
        format!("image: {}/acme/gone:v9\n", small.registry.host),
    );
    let ran = world.run(&["init", "--pin", "--apply"]).exits(1);
    assert!(ran.stderr.contains("error[tag_missing]"), "{}", ran.stderr);
    is_unchanged(world);
    let ran = world
        .run(&["init", "--pin", "no.example/*", "--apply"])
        .exits(2);
    let repository = format!("{}/acme/gone", small.registry.host);
    for part in ["matches no repository", &repository] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    // A variable can't be pinned, which is not concealed by a glob.
    world.write(
        "variable.yaml",
        format!("image: {}/acme/web:$TAG\n", small.registry.host),
    );
    let glob = format!("{}/acme/web", small.registry.host);
    let ran = world.run(&["init", "--pin", &glob, "--apply"]).exits(0);
    let variable = "not pinned: a variable is part of the reference";
    assert!(ran.stdout.contains(variable), "{}", ran.stdout);
    let changed = world.git(&["diff", "--name-only"]);
    assert_eq!(
        changed,
        ".github/workflows/ci.yml\nDockerfile\nk8s/kustomization.yaml"
    );
}

#[test]
fn shared_tag_stops_no_other_image() {
    let small = small();
    let world = &small.world;
    let host = &small.registry.host;
    let shared = format!(
        "a: {{ repository: {host}/acme/api, tag: &v v1 }}\nb: {{ repository: {host}/acme/web, tag: *v }}\n\
         c: &c {{ repository: {host}/acme/api, tag: v1 }}\nd: {{ <<: *c }}\n"
    );
    world.write("shared/values.yaml", &shared);
    let ran = world.run(&["init", "--pin", "--apply"]).exits(0);
    let reason = "not pinned: an alias or a merge uses a part of the entry elsewhere";
    assert_eq!(ran.stdout.matches(reason).count(), 2, "{}", ran.stdout);
    assert_eq!(world.read("shared/values.yaml"), shared);
    assert_eq!(world.read("compose.yaml"), small.expected()[0].1);
}

#[test]
fn last_line_gets_the_line_break_of_others() {
    let small = small();
    let (world, host) = (&small.world, &small.registry.host);
    let text = format!("images:\r\n- name: {host}/acme/api\r\n  newTag: v1");
    world.write("a/Kustomization", &text);
    world.write("b/kustomization.yaml", text.replace('\r', ""));
    world.run(&["init", "--pin", "--apply"]).exits(0);
    let new = format!("{text}\r\n  digest: {}", small.api);
    assert_eq!(world.read("a/Kustomization"), new);
    assert_eq!(world.read("b/kustomization.yaml"), new.replace('\r', ""));
}

#[test]
fn changes_need_apply() {
    let small = small();
    let world = &small.world;
    world
        .run(&["init", "--pin", "--apply", "--dry-run", "true"])
        .exits(0);
    world
        .run_with(&["init", "--pin", "--apply"], &[("REPIN_DRY_RUN", "true")])
        .exits(0);
    world.run(&["init", "--apply"]).exits(2);
    world.run(&["init", "--pin", "--update"]).exits(2);
    is_unchanged(world);
    world.run(&["init", "--pin", "--dry-run", "false"]).exits(0);
    assert_eq!(world.read("compose.yaml"), small.expected()[0].1);
}

/// A run that is killed between two files is undone or finished by the next one.
#[test]
fn killed_run_is_recovered_by_the_next_one() {
    let small = small();
    let world = &small.world;
    let command: Command = world.command(&["init", "--pin", "--apply"]);
    let kill = "renameat2:signal=KILL:when=3".to_owned();
    let killed = strace::inject(&command, &[kill]);
    assert!(!killed.status.success());
    let expected = small.expected();
    let pinned = |world: &World| {
        expected
            .iter()
            .filter(|(path, text)| world.read(path) == *text)
            .count()
    };
    let halfway = pinned(world);
    assert!((1..expected.len()).contains(&halfway), "{halfway}");
    // Also without a configuration.
    world.run(&["recover", "--dry-run", "true"]).exits(0);
    assert_eq!(pinned(world), halfway);
    let ran = world.run(&["init", "--pin", "--apply"]).exits(0);
    assert!(ran.stderr.contains("interrupted run"), "{}", ran.stderr);
    world.run(&["recover"]).exits(2);
    assert_eq!(pinned(world), expected.len());
}

//! `init`: environments that the names of files divide, and facts that the pinned images show.

use crate::{
    init::{Tree, tree},
    support::{
        images::Image,
        registry::{Protection, Registry},
        world::{REV_A, REV_B, World},
    },
};

fn pin(name: &str, digit: char) -> String {
    let digits = digit.to_string().repeat(63);
    format!("image: ghcr.io/acme/{name}@sha256:{digits}1\n")
}

fn values(digit: char) -> String {
    let digits = digit.to_string().repeat(63);
    format!("image: {{ repository: ghcr.io/acme/api, digest: 'sha256:{digits}1' }}\n")
}

fn repository(files: &[(&str, String)]) -> Tree {
    let repository = tree(&[]);
    for (file, text) in files {
        repository.write(file, text);
    }
    repository.git(&["init", "-q"]);
    repository.git(&["remote", "add", "origin", "https://github.com/acme/deploy"]);
    repository.git(&["add", "-A"]);
    repository
}

/// The number of pins that `check` counts with a configuration, which it accepts.
fn pins(repository: &Tree, config: &str) -> u64 {
    repository.git(&["add", "-A"]);
    repository.run(&["--config", config, "check"]).exits(0);
    let scan = ["--config", config, "scan", "--format", "json"];
    let scan = repository.run(&scan).exits(0).json();
    let images = scan["images"].as_array().unwrap().iter();
    images.map(|image| image["found"].as_u64().unwrap()).sum()
}

#[test]
fn files_of_environments_get_a_configuration_each() {
    let repository = repository(&[
        ("chart/values-staging.yaml", values('a')),
        ("chart/extra-staging.yaml", values('a')),
        ("chart/values-prod.yaml", values('b')),
        ("jobs/run-prod.yaml", pin("web", 'c')),
        ("jobs/other.yaml", pin("web", 'c')),
    ]);
    let ran = repository.run(&["init"]).exits(0);
    let table = "SET PATH            IMAGES  PINS  FILES\nrepin.prod.yaml          2     2      2\nrepin.staging.yaml       1     2      2\n";
    assert_eq!(ran.stdout, format!("wrote 2 configurations\n\n{table}"));
    for expected in [
        "the digests of ghcr.io/acme/api differ between chart/values-prod.yaml, jobs/run-prod.yaml, chart/extra-staging.yaml, chart/values-staging.yaml",
        "images are pinned in none of these files: ghcr.io/acme/web (jobs/other.yaml:1:8)",
        "`rm -- repin.prod.yaml repin.staging.yaml && repin --config repin.yaml init`",
        "-m 'Repin-Set: REVISION (repin.prod.yaml)'",
    ] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    assert_eq!(pins(&repository, "repin.prod.yaml"), 2);
    assert_eq!(pins(&repository, "repin.staging.yaml"), 2);
    repository.run(&["check", "--all"]).exits(0);
    // A new file of another environment belongs to none of them.
    let text = repository.read("repin.staging.yaml");
    assert!(
        text.contains("      - chart/values-staging.yaml\n"),
        "{text}"
    );
    repository.run(&["init"]).exits(0);
    assert_eq!(pins(&repository, "repin.yaml"), 1);
}

#[test]
fn file_without_a_name_is_an_environment_next_to_named_ones() {
    let repository = repository(&[
        ("docker-compose.yml", pin("api", 'a')),
        ("docker-compose.prod.yml", pin("api", 'b')),
    ]);
    repository.run(&["init"]).exits(0);
    for config in ["repin.yaml", "repin.prod.yaml"] {
        assert_eq!(pins(&repository, config), 1, "{config}");
    }
}

#[test]
fn one_configuration_remains_possible() {
    let repository = repository(&[
        ("v-staging.yaml", pin("api", 'a')),
        ("v-prod.yaml", pin("api", 'b')),
    ]);
    repository.run(&["--config", "repin.yaml", "init"]).exits(0);
    let ran = repository.run(&["init", "--force"]).exits(2);
    assert!(
        ran.stderr
            .contains("the digests differ between v-prod.yaml, v-staging.yaml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn equal_digests_are_separated_on_request() {
    let repository = repository(&[
        ("v-staging.yaml", pin("api", 'a')),
        ("v-prod.yaml", pin("api", 'a')),
        ("v.yaml", pin("api", 'a')),
    ]);
    let shown = repository.run(&["init", "--dry-run"]).exits(0);
    let command = "`repin init --each v-prod.yaml v-staging.yaml`";
    assert!(shown.stderr.contains(command), "{}", shown.stderr);
    let ran = repository.run(&["init", "--each", "v*.yaml"]).exits(2);
    assert!(
        ran.stderr
            .contains("v.yaml, whose name contains no environment"),
        "{}",
        ran.stderr
    );
    repository.run(&["init", "--each", "v-*.yaml"]).exits(0);
    for config in ["repin.prod.yaml", "repin.staging.yaml"] {
        assert_eq!(pins(&repository, config), 1, "{config}");
    }
    let ran = repository.run(&["init", "--each", "v-*.yaml"]).exits(2);
    assert!(
        ran.stderr.contains("repin.prod.yaml already counts pins"),
        "{}",
        ran.stderr
    );
    let ran = repository.run(&["init", "--each", "w-*.yaml"]).exits(2);
    assert!(
        ran.stderr
            .contains("matches no directory, and no file with pins"),
        "{}",
        ran.stderr
    );
}

#[test]
fn mixed_forms_of_tags_are_two_environments() {
    let tagged = |tag: &str| pin("api", 'a').replace('@', &format!(":{tag}@"));
    let repository = repository(&[
        ("a.yaml", tagged("sha-0a1b2c3")),
        ("b.yaml", tagged("v1.4.2")),
    ]);
    let ran = repository.run(&["init"]).exits(0);
    let expected = "the pinned tags have two forms: `sha-{revision:7}` in a.yaml, `v{revision}` in b.yaml. They are probably \
                    of two environments";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    let text = repository.read("repin.yaml");
    assert!(text.contains("the pinned tags have two forms"), "{text}");
}

/// `init` with pins of images in a real registry whose labels contain these revisions.
fn started(revisions: [&str; 2], is_reachable: bool) -> String {
    let storage = tempfile::tempdir().unwrap();
    let registry = Registry::start(storage.path(), &Protection::None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = World::empty()
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    world.git(&["init", "-q"]);
    let mut text = String::new();
    for (name, revision) in ["acme/api", "acme/web"].iter().zip(revisions) {
        let platforms = ["amd64", "arm64"].map(|platform| Image::single(platform, revision));
        let image = Image::index(platforms.to_vec());
        runtime.block_on(registry.push(name, "any", &image));
        text = format!("{text}image: {}/{name}@{}\n", registry.host, image.digest());
    }
    world.write("a.yaml", text);
    if !is_reachable {
        drop(registry);
    }
    world.run(&["init"]).exits(0).stderr
}

#[test]
fn adoption_commit_contains_the_revision_of_the_labels() {
    let stderr = started([REV_A, REV_A], true);
    let trailer = format!("-m 'Repin-Set: {REV_A}'");
    assert!(stderr.contains(&trailer), "{stderr}");
    assert!(!stderr.contains("REVISION"), "{stderr}");
    for (revisions, is_reachable) in [
        ([REV_A, REV_B], true),
        (["v1", "v1"], true),
        ([REV_A, REV_A], false),
    ] {
        let stderr = started(revisions, is_reachable);
        assert!(
            stderr.contains("-m 'Repin-Set: REVISION'"),
            "{revisions:?}: {stderr}"
        );
    }
}

//! The nightly job of examples/nightly, on docker-registry: it deletes exactly the stale pending
//! tags.

use std::{fs, path::Path, process::Command};

use crate::support::{
    images::Image,
    registry::{Protection, Registry},
    scene::{Scene, days_ago},
};

fn example(path: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/nightly")
            .join(path),
    )
    .unwrap()
}

/// The step that prunes, as a shell runs it.
fn step() -> String {
    let workflow = example(".github/workflows/prune.yml");
    let line = workflow
        .lines()
        .find(|line| line.contains("run: repin "))
        .unwrap();
    line.split_once("run: ").unwrap().1.to_owned()
}

/// Images of different ages, by repository and tag; the first is pinned.
fn images() -> Vec<(&'static str, &'static str, Image)> {
    let of = |seed: &str, days| Image::created("amd64", seed, Some(&days_ago(days)));
    let both = of("both", 60);
    let index = Image::index(vec![
        of("x", 30),
        Image::created("arm64", "x", Some(&days_ago(31))),
    ]);
    vec![
        (
            "runtime-review",
            "main",
            Image::single("amd64", "what is pinned in examples/nightly"),
        ),
        ("runtime-review", "pending-12", of("12", 15)),
        ("runtime-review", "pending-13", of("13", 13)),
        ("runtime-review", "pending-14", index),
        ("runtime-review", "pending-15", both.clone()),
        ("runtime-review", "v1.0", both),
        (
            "runtime-review",
            "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa",
            of("promoted", 100),
        ),
        ("runtime-base", "pending-12", of("base 12", 15)),
        ("runtime-base", "pending-13", of("base 13", 2)),
        (
            "runtime-base",
            "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa",
            of("base", 100),
        ),
    ]
}

/// The tags that resolve to a manifest, according to the registry.
fn left(registry: &Registry) -> Vec<String> {
    let mut left = Vec::new();
    for name in ["runtime-review", "runtime-base"] {
        let image = format!("docker://{}/acme/{name}", registry.host);
        let output = Command::new("skopeo")
            .args(["list-tags", "--tls-verify=false", &image])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        left.extend(
            list["Tags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tag| format!("{name}:{}", tag.as_str().unwrap())),
        );
    }
    left.sort();
    left
}

#[test]
fn nightly_job_deletes_only_stale_tags() {
    let storage = tempfile::tempdir().unwrap();
    let registry = Registry::start(storage.path(), &Protection::None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let all = images();
    for (name, tag, image) in &all {
        runtime.block_on(registry.push(&format!("acme/{name}"), tag, image));
    }
    let pinned = all[0].2.digest();
    let scene = Scene::new(
        &example("repin.yaml"),
        "ghcr.io/acme/runtime-review",
        pinned,
    );
    scene.write(
        ".github/workflows/prune.yml",
        example(".github/workflows/prune.yml"),
    );
    scene.write(
        ".github/workflows/review.yml",
        example(".github/workflows/review.yml"),
    );
    fs::remove_file(scene.path().join(".github/workflows/a.yml")).unwrap();
    scene.commit("the example");
    assert!(
        example(".github/workflows/review.yml").contains(&format!("@{pinned}\n")),
        "pin {pinned} there"
    );
    let scene = scene.env(
        "REPIN_SOURCES",
        &format!("ghcr.io=http://{}", registry.host),
    );
    let night = |dry_run: &str| {
        let path = Path::new(env!("CARGO_BIN_EXE_repin")).parent().unwrap();
        let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
        let surroundings = scene.command(&[]);
        let mut command = Command::new("bash");
        command.current_dir(scene.path()).env_clear();
        command.envs(
            surroundings
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
            .args(["-e", "-c", &step()])
            .env("PATH", path)
            .env("DRY_RUN", dry_run);
        let output = command
            .env("GITHUB_STEP_SUMMARY", "summary.md")
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let before = left(&registry);
    assert_eq!(before.len(), all.len());
    // On its schedule no input is set, and the variable only once someone is sure.
    for dry_run in ["", "true"] {
        let text = night(dry_run);
        assert!(
            text.contains("dry run: nothing was deleted; --apply would delete 3 versions"),
            "{text}"
        );
        assert_eq!(left(&registry), before);
    }
    night("false");
    let stale = [
        "runtime-base:pending-12",
        "runtime-review:pending-12",
        "runtime-review:pending-14",
    ];
    let kept: Vec<_> = before
        .into_iter()
        .filter(|tag| !stale.contains(&tag.as_str()))
        .collect();
    assert_eq!(left(&registry), kept);
    assert!(
        fs::read_to_string(scene.path().join("summary.md"))
            .unwrap()
            .contains("2 deleted")
    );
    assert!(night("false").contains("deleted: 0 versions"));
}

#[test]
fn the_guide_shows_the_job_as_it_is() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/prune.md");
    let text = fs::read_to_string(guide).unwrap();
    let job = text
        .split("```yaml\n")
        .find(|block| block.starts_with("on:"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    assert_eq!(job, example(".github/workflows/prune.yml"));
}

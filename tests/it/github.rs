//! `--format github`: annotations, outputs and the summary, as a workflow's runner reads them.

use std::collections::BTreeMap;

use crate::support::{
    layout::{Platform, REVISION_LABEL},
    world::{REV_B, world},
};

/// Reads an output file as the runner does: `NAME<<DELIMITER`, lines, `DELIMITER`.
pub(crate) fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").unwrap_or_else(|| panic!("{line}"));
        let value: Vec<_> = lines
            .by_ref()
            .take_while(|line| *line != delimiter)
            .collect();
        assert!(
            values.insert(name.to_owned(), value.join("\n")).is_none(),
            "{name} is there twice"
        );
    }
    values
}

/// The workflow commands that the runner would obey.
fn commands(stdout: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut stopped: Option<String> = None;
    for line in stdout.lines() {
        match &stopped {
            Some(token) if line == format!("::{token}::") => stopped = None,
            Some(_) => {}
            None => match line.strip_prefix("::stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                None if line.starts_with("::") => commands.push(line.to_owned()),
                None => {}
            },
        }
    }
    commands
}

#[test]
fn approved_promotion_fills_outputs_and_summary() {
    let world = world();
    world.write("out", "earlier=1\n");
    let out = world.path("out");
    let summary = world.path("summary");
    let env = [
        ("GITHUB_OUTPUT", out.to_str().unwrap()),
        ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
    ];
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--format",
        "github",
        "--body-file",
        "b.md",
        "--apply",
    ];
    world.run_with(&args, &env).exits(0);
    let values = outputs(world.read("out").strip_prefix("earlier=1\n").unwrap());
    let names: Vec<_> = values.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "body-file",
            "branch",
            "changed",
            "diff-file",
            "digests",
            "kind",
            "merge-commit",
            "pull-request",
            "pull-request-state",
            "pull-request-url",
            "revision",
            "set-path",
            "title"
        ]
    );
    assert_eq!(
        (
            values["changed"].as_str(),
            values["kind"].as_str(),
            values["body-file"].as_str()
        ),
        ("true", "promote", "b.md")
    );
    let digests: serde_json::Value = serde_json::from_str(&values["digests"]).unwrap();
    assert_eq!(digests["review"], world.digest("review", REV_B));
    assert!(world.read("summary").contains("### Review checklist"));
}

#[test]
fn hostile_labels_and_files_give_no_commands() {
    let mut world = world();
    let hostile = "x\n::add-mask::a\r::error::b%0A\nrepin";
    let arm = Platform::new("linux/arm64", REV_B).label(REVISION_LABEL, hostile);
    world.rebuild(
        "review",
        REV_B,
        &[
            Platform::new("linux/amd64", REV_B).label("dev.acme.version", hostile),
            arm,
        ],
    );
    let out = world.path("out");
    let env = [("GITHUB_OUTPUT", out.to_str().unwrap())];
    let ran = world
        .run_with(
            &["promote", "--revision", REV_B, "--format", "github"],
            &env,
        )
        .exits(1);
    // That there is no git here is a warning for each check of history.
    let beside_history = |text: &str| {
        let mut commands = commands(text);
        let before = commands.len();
        commands.retain(|command| {
            !["revision_order", "rolled_back"]
                .iter()
                .any(|code| command.starts_with(&format!("::warning title={code}::")))
        });
        assert_eq!(before - commands.len(), 2);
        commands
    };
    // The digest of `fix` after another repository warns.
    let beside_digests = |text: &str| {
        let mut commands = beside_history(text);
        commands.retain(|command| !command.contains("title=digest_outside (fix)::"));
        commands
    };
    let commands = beside_digests(&ran.stdout);
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert!(
        commands[0].starts_with("::error title=revision_label (review linux/arm64)::"),
        "{commands:?}"
    );
    assert!(
        !ran.stderr.lines().any(|line| line.starts_with("::")),
        "{}",
        ran.stderr
    );
    assert_eq!(outputs(&world.read("out"))["changed"], "false");

    world.build(REV_B);
    let text = world.read(".github/workflows/a.yml");
    world.write(
        ".github/workflows/a.yml",
        format!("::error::from a file\n{text}"),
    );
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--format",
        "github",
        "--diff-file",
        "-",
        "--body-file",
        "-",
    ];
    let ran = world.run(&args).exits(0);
    assert!(
        ran.stdout.contains("+++ b/.github/workflows/a.yml")
            && ran.stdout.contains("### Review checklist")
    );
    assert_eq!(beside_digests(&ran.stdout), [] as [&str; 0]);
}

#[test]
fn annotations_have_paths_of_the_runner() {
    let world = world();
    world.write(".github/workflows/c.yml", "ghcr.io/acme/fix@sha256:abc\n");
    let ran = world.run(&["check", "--format", "github"]).exits(1);
    assert!(
        ran.stdout.contains(
            "::error file=.github/workflows/c.yml,line=1,col=1,title=pin_unsupported (fix)::"
        ),
        "{}",
        ran.stdout
    );
    let above = world.root().parent().unwrap();
    let name = world.root().file_name().unwrap().to_str().unwrap();
    let config = format!("{name}/repin.yaml");
    let ran = world
        .run_in(
            above,
            &["check", "--format", "github", "--config", &config],
            &[],
        )
        .exits(1);
    assert!(
        ran.stdout.contains(&format!(
            "::error file={name}/.github/workflows/c.yml,line=1"
        )),
        "{}",
        ran.stdout
    );
}

#[test]
fn summary_stays_below_the_runners_limit() {
    let world = world();
    let summary = world.path("summary");
    let env = [("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    world.write("summary", "x".repeat(1024 * 1024 - 300));
    world
        .run_with(
            &["promote", "--revision", REV_B, "--format", "github"],
            &env,
        )
        .exits(0);
    let text = world.read("summary");
    assert!(text.len() <= 1024 * 1024, "{}", text.len());
    assert!(
        text.contains("The rest was left out"),
        "{}",
        &text[text.len() - 300..]
    );
    world.write("summary", "x".repeat(1024 * 1024));
    world
        .run_with(
            &["promote", "--revision", REV_B, "--format", "github"],
            &env,
        )
        .exits(0);
    assert_eq!(world.read("summary").len(), 1024 * 1024);
}

#[test]
fn unwritable_outputs_stop_before_any_change() {
    let world = world();
    let before = world.read(".github/workflows/b.yml");
    for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let args = [
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "github",
        ];
        let ran = world.run_with(&args, &[(name, "/nowhere/file")]).exits(3);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
        assert_eq!(world.read(".github/workflows/b.yml"), before);
    }
}

#[test]
fn wrong_count_is_annotated_once() {
    let world = world();
    world.replace("repin.yaml", "pins: 2", "pins: 5");
    let summary = world.path("summary");
    let env = [("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let ran = world
        .run_with(&["check", "--format", "github"], &env)
        .exits(1);
    let errors: Vec<_> = commands(&ran.stdout)
        .into_iter()
        .filter(|command| command.starts_with("::error"))
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("::error file=repin.yaml,line=7,col=46,title=pin_count (fix)::"),
        "{errors:?}"
    );
    assert!(
        errors[0].contains("%0Afound: .github/workflows/b.yml:1:"),
        "{errors:?}"
    );
    assert!(errors[0].contains("%0Ahelp: "), "{errors:?}");
    let summary = world.read("summary");
    assert!(
        summary.starts_with("## check: test images\n\n5 pins of 3 images in 2 files: "),
        "{summary}"
    );
    assert!(summary.contains("- fail `pin_count` fix: "), "{summary}");
    assert!(summary.contains("\n  - help: "), "{summary}");
}

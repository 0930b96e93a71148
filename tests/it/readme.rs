//! The README shows the real output of the program, and its commands work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{markdown, quickstart};

/// The README's fenced blocks of one language, with the heading that they are under.
fn blocks(language: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = markdown::blocks(&text).into_iter();
    blocks
        .filter(|block| block.language == language)
        .map(|block| (block.heading, block.text))
        .collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn quickstart() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("quickstart");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart"),
        &directory,
    );
    (dir, directory)
}

/// Standard output and standard error of a run, in this order, and its success.
fn repin(directory: &Path, args: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = command
        .args(args)
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (text, output.status.success())
}

/// The commands of each group in the README, and in the output of `repin` without arguments.
#[test]
fn commands_are_grouped_as_in_the_short_help() {
    let (_dir, directory) = quickstart();
    let (short, _) = repin(&directory, &[]);
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut group = String::new();
    for line in short.lines().skip(1) {
        if let Some(title) = line.strip_suffix(':') {
            group = title.to_lowercase();
        } else if let Some(command) = line.strip_prefix("  ") {
            let name = command.split(' ').next().unwrap().to_owned();
            shown.entry(group.clone()).or_default().insert(name);
        }
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, commands) = text.split_once("\n## Commands\n").unwrap();
    let (commands, _) = commands.split_once("\n## ").unwrap();
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in commands.lines() {
        let Some(row) = line.strip_prefix("| ") else {
            continue;
        };
        let (first, about) = row.split_once(" | ").unwrap();
        if about == "what it does |" {
            group = first.to_lowercase();
        }
        let names = first.split('`').skip(1).step_by(2);
        let names = names.map(|name| name.split(' ').next().unwrap().to_owned());
        listed.entry(group.clone()).or_default().extend(names);
    }
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(listed, shown);
}

#[test]
fn the_examples_are_real_output() {
    let (_dir, directory) = quickstart();
    let examples = blocks("console");
    assert!(!examples.is_empty());
    for (_, example) in examples {
        let (command, expected) = example.split_once('\n').unwrap();
        let args: Vec<_> = command
            .strip_prefix("$ repin ")
            .unwrap()
            .split(' ')
            .collect();
        let (printed, success) = repin(&directory, &args);
        assert!(success, "{printed}");
        // A line `[…]` matches any number of lines.
        let mut rest = printed.as_str();
        for part in expected.split("[…]\n") {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("not printed:\n{part}\nbut:\n{rest}"));
            rest = &rest[at + part.len()..];
        }
        assert_eq!(rest, "", "the example is incomplete");
    }
}

#[test]
fn quick_start_commands_work_as_described() {
    let commands: Vec<_> = blocks("sh")
        .into_iter()
        .filter(|(heading, _)| heading == "Quick start")
        .collect();
    let first = commands[0]
        .1
        .trim()
        .strip_prefix("cargo run -- --config examples/quickstart/repin.yaml ")
        .unwrap();
    let (_dir, directory) = quickstart();
    let (printed, success) = repin(&directory, &first.split(' ').collect::<Vec<_>>());
    assert!(
        success && printed.contains("### Review checklist") && printed.contains("+++ b/"),
        "{printed}"
    );
    assert_eq!(commands[1].1, "scripts/test\n");

    assert_eq!(commands.len(), 2, "the quick start is two commands");
    let copy: Vec<_> = blocks("sh")
        .into_iter()
        .filter(|(heading, _)| heading == "Apply it to a copy")
        .collect();
    let apply = copy[0].1.lines().nth(1).unwrap();
    let args: Vec<_> = apply
        .split("repin.yaml ")
        .nth(1)
        .unwrap()
        .split(' ')
        .collect();
    let (printed, success) = repin(&directory, &args);
    assert!(
        success && printed.contains("applied: 7 pins in 5 files"),
        "{printed}"
    );
    let (printed, _) = repin(&directory, &["scan"]);
    assert_eq!(printed.matches("ae63a20ff14c").count(), 3, "{printed}");
    let placeholders = fs::read_to_string(directory.join(".github/workflows/triage.yml")).unwrap();
    assert!(
        placeholders.contains("sha256:${TRIAGE_DIGEST}") && placeholders.contains(&"0".repeat(64))
    );
}

#[test]
fn examples_have_no_warnings() {
    let (_dir, copied) = quickstart();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for directory in ["quickstart", "nightly", "gitops", "trusted", "action"]
        .map(|name| here.join(name))
        .into_iter()
        .chain([copied])
    {
        let (printed, success) = repin(&directory, &["check", "--format", "github"]);
        assert!(success && !printed.contains("::warning"), "{printed}");
    }
}

#[test]
fn example_images_match_their_generator() {
    let dir = tempfile::tempdir().unwrap();
    quickstart::write(dir.path());
    let gitops = tempfile::tempdir().unwrap();
    quickstart::write_gitops(gitops.path());
    assert!(
        tree(dir.path()) == tree(&images("quickstart"))
            && tree(gitops.path()) == tree(&images("gitops")),
        "run `cargo test --test it write_example_images -- --ignored`"
    );
}

#[test]
#[ignore = "overwrites the images in examples"]
fn write_example_images() {
    quickstart::write(&images("quickstart"));
    quickstart::write_gitops(&images("gitops"));
}

fn images(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{example}/images"))
}

fn tree(directory: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.insert(
                    path.strip_prefix(directory).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    files
}

/// The workflows of the README and the guides, as they stand there.
fn workflows() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = fs::read_dir(root.join("docs/guides")).unwrap();
    let mut pages: Vec<_> = guides.map(|entry| entry.unwrap().path()).collect();
    pages.extend(["README.md", "docs/build.md"].map(|name| root.join(name)));
    pages.sort();
    let blocks = pages.iter().flat_map(|path| {
        let text = fs::read_to_string(path).unwrap();
        markdown::blocks(&text)
    });
    let is_workflow = |text: &String| ["on:", "\njobs:\n"].iter().all(|key| text.contains(key));
    blocks
        .filter(|block| block.language == "yaml")
        .map(|block| block.text)
        .filter(is_workflow)
        .collect()
}

#[test]
fn the_workflows_call_the_program_as_it_is() {
    let workflows = workflows();
    assert!(
        workflows.len() >= 3,
        "one for each kind of forge, and one without"
    );
    let (_dir, directory) = quickstart();
    for workflow in workflows {
        if workflow.contains("--config envs/") {
            // The tests of this example run it.
            continue;
        }
        let mut lines = workflow
            .lines()
            .filter_map(|line| line.split("run: repin ").nth(1))
            .peekable();
        assert!(lines.peek().is_some(), "{workflow}");
        for line in lines {
            let line = line.replace("\"$REVISION\"", "c93f5a17e08b64d2ab7013f9485ce6d20917b3fa");
            let line = line
                .replace("\"$PULL_REQUEST\"", "7")
                .replace("\"$SIMULATE\"", "false");
            for state in ["draft", "ready"] {
                let line = line
                    .replace("\"$STATE\"", state)
                    .replace("\"$DRY_RUN\"", "true");
                let args: Vec<_> = line.split(' ').collect();
                let (printed, success) = repin(&directory, &args);
                // Not every block is in the quick start's configuration: beyond that there is
                // nothing wrong with the call.
                let absent = ["has no `", "not in forge.sync_targets"];
                assert!(
                    success || absent.iter().any(|why| printed.contains(why)),
                    "{line}: {printed}"
                );
            }
        }
    }
}

#[test]
fn pull_request_workflows_have_minimal_permissions() {
    let workflows: Vec<_> = workflows()
        .into_iter()
        .filter(|text| text.contains("--pr \"$STATE\"") && text.contains("workflow_dispatch"))
        .collect();
    assert_eq!(
        workflows.len(),
        4,
        "promote on GitHub, on Gitea and Forgejo; of one environment; rollback"
    );
    for workflow in workflows {
        let permissions = workflow
            .lines()
            .find(|line| line.starts_with("permissions:"));
        assert!(
            permissions.is_none_or(|line| !line.contains("write")),
            "{workflow}"
        );
        // Text from outside reaches the shell through variables only.
        let run = workflow
            .lines()
            .find(|line| line.contains("- run:"))
            .unwrap();
        assert!(
            !run.contains("${{") && run.contains("\"$REVISION\""),
            "{run}"
        );
        assert!(
            workflow.contains("persist-credentials: false"),
            "{workflow}"
        );
    }
}

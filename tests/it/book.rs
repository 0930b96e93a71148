//! The book in docs/: `scripts/first-hour` runs its commands, and their output equals that of the
//! pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use regex::Regex;

use crate::{
    readme::copy,
    support::{
        markdown::{Block, blocks},
        world::git,
    },
};

const TUTORIAL: &str = "docs/tutorial.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the book: their paths, with `docs/`.
fn pages() -> Vec<String> {
    fn collect(directory: &Path, pages: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let path = path.strip_prefix(root()).unwrap();
                pages.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut pages = Vec::new();
    collect(&root().join("docs"), &mut pages);
    pages.sort();
    pages
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A repository with the files of this one that the tutorial needs, and a cargo that runs the
/// program under test. It runs a script instead of single commands, so it is not a `World`.
struct Hour {
    dir: tempfile::TempDir,
}

impl Hour {
    fn new() -> Self {
        let hour = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let repository = hour.path("origin");
        for directory in ["docs", "examples"] {
            copy(&root().join(directory), &repository.join(directory));
        }
        fs::create_dir(repository.join("scripts")).unwrap();
        let script = "scripts/first-hour";
        fs::copy(root().join(script), repository.join(script)).unwrap();
        git(&repository, &["init", "-q"]);
        hour.committed();
        hour.program(
            "cargo",
            &format!(
                "[ \"$1 $2\" = 'run --' ] && [ -d examples ] || exit 101
                 shift 2
                 mkdir -p target/debug && ln -sf {} target/debug/repin
                 echo '   Compiling repin' >&2
                 exec target/debug/repin \"$@\"",
                env!("CARGO_BIN_EXE_repin")
            ),
        );
        hour
    }

    /// The same with another tutorial.
    fn with(tutorial: &str) -> Self {
        let hour = Self::new();
        fs::write(hour.path("origin").join(TUTORIAL), tutorial).unwrap();
        hour.committed();
        hour
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn committed(&self) {
        git(&self.path("origin"), &["add", "-A"]);
        git(&self.path("origin"), &["commit", "-q", "-m", "all"]);
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the script with a fixed author and date, and without the caller's configuration.
    fn run(&self, args: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(self.path("origin/scripts/first-hour"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        for (name, value) in [
            ("PATH", &*format!("{}:{path}", self.path("bin").display())),
            ("HOME", self.dir.path().to_str().unwrap()),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "CET-1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "Ann Example"),
            ("GIT_AUTHOR_EMAIL", "ann@example.com"),
            ("GIT_AUTHOR_DATE", "2025-11-20T14:02:00+01:00"),
            ("GIT_COMMITTER_NAME", "Ann Example"),
            ("GIT_COMMITTER_EMAIL", "ann@example.com"),
            ("GIT_COMMITTER_DATE", "2025-11-20T14:02:00+01:00"),
        ] {
            command.env(name, value);
        }
        command.output().unwrap()
    }
}

/// The output of the script for each block, by the page and the line of its fence.
fn printed(output: &Output) -> BTreeMap<(String, usize), String> {
    let marker = Regex::new(r"^# (docs/[a-z0-9/-]+\.md):([0-9]+)$").unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut blocks = BTreeMap::<_, String>::new();
    let mut at = None;
    for line in text.lines() {
        if let Some(found) = marker.captures(line) {
            at = Some((found[1].to_owned(), found[2].parse().unwrap()));
        } else if let Some(at) = &at {
            blocks.entry(at.clone()).or_default().extend([line, "\n"]);
        }
    }
    // Each marker has an empty line before it, which is not the block's.
    for text in blocks.values_mut() {
        *text = just_now(text.trim_end()) + "\n";
    }
    blocks
}

/// Replaces every age of a commit with that of a new commit, which a reader has.
fn just_now(text: &str) -> String {
    let age = Regex::new(r"\((?:just now|[0-9]+ [a-z]+ ago)\)").unwrap();
    age.replace_all(text, "(just now)").into_owned()
}

/// Whether a block shows the output. A line `[…]` matches any number of lines. A commit
/// id matches any other, because it depends on every byte of the commit.
fn shows(block: &Block, printed: &str) -> bool {
    let commit = Regex::new(r"\b[0-9a-f]{10}\b").unwrap();
    let [shown, printed] = [&block.text, printed].map(|text| commit.replace_all(text, "COMMIT"));
    let parts: Vec<_> = shown.split("[…]\n").map(regex::escape).collect();
    let pattern = format!("^{}$", parts.join("(?s:.*)"));
    Regex::new(&pattern).unwrap().is_match(&printed)
}

/// `UPDATE_DOCS=1` writes the output into the blocks instead, except in blocks with omitted lines.
#[test]
fn every_command_of_the_book_prints_its_output() {
    let pages = pages();
    let hour = Hour::new();
    let output = hour.run(&pages.iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{stderr}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(stderr, "");
    let printed = printed(&output);
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let mut compared = 0;
    for path in &pages {
        let mut text = page(path);
        let run = blocks(&text).into_iter();
        let run = run.filter(|block| block.is_commands() && block.not_run.is_none());
        for block in run.collect::<Vec<_>>().iter().rev() {
            let Some(printed) = printed.get(&(path.clone(), block.line)) else {
                panic!("{path}:{}: the block was not run", block.line);
            };
            // The ids of commits on all pages are then from one run.
            let is_written = update && !block.text.contains("[…]\n");
            if block.language != "console" || !is_written && shows(block, printed) {
                compared += usize::from(block.language == "console");
                continue;
            }
            assert!(
                is_written,
                "{path}:{}: the output differs; with UPDATE_DOCS=1, this test writes it where no \
                 lines are left out\nshown:\n{}\nprinted:\n{printed}",
                block.line, block.text
            );
            let lines: Vec<_> = text.lines().collect();
            let end = block.line + block.text.lines().count();
            text = [
                &lines[..block.line],
                &printed.lines().collect::<Vec<_>>(),
                &lines[end..],
            ]
            .concat()
            .join("\n")
                + "\n";
            fs::write(root().join(path), &text).unwrap();
        }
    }
    assert!(compared > 10 || update);
}

/// The anchors of a page's headings, as forges and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let in_block = |open: &mut bool, line: &str| {
        *open ^= line.starts_with("```");
        Some((*open, line.to_owned()))
    };
    let lines = text.lines().scan(false, in_block);
    let headings = lines.filter(|(block, line)| !block && line.starts_with('#'));
    let anchor = |(_, line): (bool, String)| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Whether a file is a page of the book: the other pages are for contributors, or are references that the program
/// prints itself.
fn is_in_book(path: &str) -> bool {
    let outside = ["docs/json.md", "docs/testing.md"];
    let is_page = path.starts_with("docs/")
        && Path::new(path)
            .extension()
            .is_some_and(|found| found == "md");
    is_page && !outside.contains(&path) && !path.starts_with("docs/decisions/")
}

#[test]
fn every_link_between_files_has_a_target() {
    let link = Regex::new(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)").unwrap();
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "benches/README.md",
    ];
    let mut links = 0;
    for path in pages().into_iter().chain(others.map(str::to_owned)) {
        let text = page(&path);
        for found in link.captures_iter(&text) {
            let of_repository = found[1].strip_prefix("https://github.com/OWNER/repin/blob/main/");
            if found[1].contains("://") && of_repository.is_none() {
                continue;
            }
            let here = root().join(&path);
            let target = match (&found[1], of_repository) {
                (_, Some(target)) => root().join(target),
                ("", None) => here,
                (target, None) => here.with_file_name("").join(target),
            };
            assert!(target.exists(), "{path} links to {}", &found[0]);
            // A page of the book leads to pages, wherever it is read.
            let target = target.canonicalize().unwrap();
            let file = target.strip_prefix(root()).unwrap().to_str().unwrap();
            assert!(
                !is_in_book(&path) || is_in_book(file) || of_repository.is_some(),
                "{path} links out of the book: {}",
                &found[0]
            );
            if let Some(anchor) = found.get(2) {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                let there = anchors.contains(anchor.as_str());
                assert!(there, "{path} links to {}", &found[0]);
            }
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
}

/// `UPDATE_DOCS=1` writes the list instead of comparing it.
#[test]
fn each_decision_is_listed() {
    let index = "docs/decisions/README.md";
    let mut list =
        "# Decisions\n\nThe reasons for choices that a reader of the code would question.\n\n"
            .to_owned();
    for path in pages() {
        if let Some(file) = path.strip_prefix("docs/decisions/")
            && path != index
        {
            let title = page(&path).lines().next().unwrap().replacen("# ", "", 1);
            let _ = writeln!(list, "- [{title}]({file})");
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(index), &list).unwrap();
    }
    assert!(
        page(index) == list,
        "{index} lists other decisions; run: UPDATE_DOCS=1 cargo nextest run each_decision_is_listed"
    );
}

#[test]
fn the_book_has_every_page() {
    let summary = "docs/SUMMARY.md";
    let mut pages = pages();
    pages.retain(|path| path != summary && is_in_book(path));
    let text = page(summary);
    let listing = Regex::new(r"\]\(([a-z0-9A-Z/-]+\.md)\)").unwrap();
    let mut listed: Vec<_> = listing
        .captures_iter(&text)
        .map(|found| format!("docs/{}", &found[1]))
        .collect();
    listed.sort();
    assert_eq!(listed, pages, "{summary} lists each page once");
}

#[test]
fn unrun_blocks_of_commands_have_a_reason() {
    let known = [
        "sh",
        "console",
        "text",
        "yaml",
        "json",
        "diff",
        "dockerfile",
    ];
    for path in pages() {
        for block in blocks(&page(&path)) {
            let at = format!("{path}:{}", block.line);
            assert!(
                known.contains(&block.language.as_str()),
                "{at}: unknown language {}",
                block.language
            );
            let hidden = !block.is_commands() && block.text.lines().any(|l| l.starts_with("$ "));
            assert!(!hidden, "{at}: commands belong in a `console` block");
            // Output without its command is compared with nothing.
            let default = match block.language.as_str() {
                "text" => "",
                _ => "it is run here",
            };
            let reason = block.not_run.as_deref().unwrap_or(default);
            assert!(reason.split(' ').count() > 2, "{at}: no reason: {reason}");
        }
    }
}

/// The calls of the program in a line of a shell, each with its arguments.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split("# ").next().unwrap_or_default();
    let commands = line.split(['|', ';', '(', ')', '>']);
    let commands = commands.flat_map(|command| command.split("&&"));
    let words = commands.map(|command| {
        let words = command.split_whitespace();
        words.map(|word| word.trim_matches(['"', '\'']).to_owned())
    });
    words
        .filter_map(|mut words| (words.next()? == "repin").then(|| words.collect()))
        .collect()
}

/// Commands with values of the reader are not run, but their options must exist.
#[test]
fn unrun_commands_are_commands_of_the_program() {
    let mut parsed = 0;
    for path in pages().into_iter().chain(["README.md".to_owned()]) {
        for block in blocks(&page(&path)) {
            let runs = path != "README.md" && block.not_run.is_none();
            if runs || !block.is_commands() {
                continue;
            }
            for call in block.commands().flat_map(calls) {
                let mut command = Command::new(env!("CARGO_BIN_EXE_repin"));
                // Placeholders of numbers, and of a hash.
                let sha256 = "a".repeat(64);
                let call = call.iter().map(|word| match word.as_str() {
                    "ID" | "N" => "7",
                    "$SHA256" => &sha256,
                    word => word,
                });
                let call: Vec<_> = call.collect();
                let output = command.args(&call).arg("--help").output().unwrap();
                assert!(
                    output.status.success(),
                    "{path}:{}: {call:?}: {}",
                    block.line,
                    String::from_utf8_lossy(&output.stderr)
                );
                parsed += 1;
            }
        }
    }
    assert!(parsed > 80, "{parsed}");
}

/// Runs a tutorial of these blocks; returns its success and its output.
fn first_hour(tutorial: &str) -> (bool, String, String) {
    let output = Hour::with(tutorial).run(&[]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_command_that_fails_ends_the_first_hour() {
    for block in [
        "```sh\ntrue\nfalse\necho more\n```\n",
        "```console\n$ true\n$ false\n$ echo more\n```\n",
        "```sh\nfalse\n```\n\n```sh\necho more\n```\n",
    ] {
        let (success, stdout, stderr) = first_hour(block);
        assert!(!success && !stdout.contains("more"), "{block}{stdout}");
        assert!(stderr.contains("docs/tutorial.md:"), "{stderr}");
        assert!(stderr.ends_with("exit 1: false\n"), "{stderr}");
    }
    let (success, _, stderr) = first_hour("```sh\ntrue # exit 3\n```\n");
    assert!(!success && stderr.contains("exit 0, not 3"), "{stderr}");
    let (success, stdout, stderr) = first_hour(
        "```console\n$ (exit 3)\n$ echo $?\n3\n```\n\n```sh\n(exit 4) # exit 4: refused\n```\n",
    );
    assert!(
        success && stdout.contains("$ echo $?\n3\n"),
        "{stdout}{stderr}"
    );
}

#[test]
fn pages_start_where_the_tutorial_stopped() {
    let (success, stdout, stderr) = first_hour(
        "```sh\nmkdir a && cd a\nfor x in 1 2; do\n  echo \\\n    $x\ndone\ncat <<'EOF'\n$x\nEOF\n```\n\
         <!-- not run: a reason -->\n\n```sh\necho skipped\n```\n\n```text\necho shown\n```\n\n\
         <!-- run in: a -->\n```console\n$ basename \"$PWD\" \\\n> .d\n```\n\
         <!-- not run on this page: a reason -->\n```sh\necho skipped\n```\n",
    );
    assert!(success, "{stderr}");
    let expected = "\n# docs/tutorial.md:1\n$ mkdir a && cd a\n$ for x in 1 2; do\n>   echo \\\n>     $x\n\
        > done\n1\n2\n$ cat <<'EOF'\n> $x\n> EOF\n$x\n\n# docs/tutorial.md:22\n\
        $ basename \"$PWD\" \\\n> .d\na\n";
    assert_eq!(stdout, expected);

    let hour = Hour::with("```sh\nmkdir shop shop.git\ncd shop\nx=1\n```\n");
    for page in ["docs/a.md", "docs/b.md"] {
        let text = "```console\n$ ls\n$ touch left\n$ echo $x; x=2\n```\n";
        fs::write(hour.path("origin").join(page), text).unwrap();
    }
    hour.committed();
    let output = hour.run(&["--keep", "kept", "docs/a.md", "docs/b.md"]);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let page = "$ ls\n$ touch left\n$ echo $x; x=2\n1\n";
    assert_eq!(stdout.matches(page).count(), 2, "{stdout}");
    assert!(hour.path("kept/shop/left").exists());
    for args in [
        &["docs/none.md"][..],
        &["--keep", "kept"],
        &["--keep"],
        &["-x"],
    ] {
        let output = hour.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains("usage: scripts/first-hour"), "{stderr}");
    }
}

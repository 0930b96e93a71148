//! Compares docs/ with the program: fields of documents, codes of checks and errors, help, tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use syn::{Fields, Item, ItemStruct};

use crate::support::{
    codes::{self, explanation},
    world::world,
};

/// Serialized types that are not documents: variables of the built-in templates.
const INTERNAL: [&str; 27] = [
    "AllVariables",
    "TemplateJob",
    "TemplateContext",
    "StageRow",
    "Undone",
    "Variables",
    "Page",
    "ChangesOfPage",
    "FilesOfPage",
    "FileOfPage",
    "CommitsOfPage",
    "CommitOfPage",
    "ImageRowOfPage",
    "RowOfPage",
    "CellOfPage",
    "Gap",
    "HeldItem",
    "EntryLink",
    "SetOfPage",
    "ImageOfSet",
    "DiffRun",
    "Deployed",
    "DeployedSet",
    "BackCommand",
    "Badge",
    "EnvironmentOfPage",
    "Reduced",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn doc(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// First cells of tables, without their backquotes, with the whole row.
fn rows(text: &str) -> BTreeMap<String, String> {
    let cell = Regex::new(r"^\| `([^`]+)` \|").unwrap();
    let row = |line: &str| Some((cell.captures(line)?[1].to_owned(), line.to_owned()));
    text.lines().filter_map(row).collect()
}

/// Every source of the program that is not a test.
fn sources() -> Vec<String> {
    fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    collect(&path, files);
                }
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort();
    files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Types that serialize, field by field: in this program those are the parts of its documents.
fn serialised() -> Vec<ItemStruct> {
    let derives = |item: &ItemStruct| {
        let derive = item
            .attrs
            .iter()
            .find(|attribute| attribute.path().is_ident("derive"));
        derive
            .and_then(|derive| derive.meta.require_list().ok())
            .is_some_and(|list| {
                list.tokens
                    .to_string()
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|word| word == "Serialize")
            })
    };
    let of_file = |text: &String| {
        let items = syn::parse_file(text).unwrap().items.into_iter();
        let structs = items.filter_map(|item| {
            if let Item::Struct(item) = item {
                Some(item)
            } else {
                None
            }
        });
        structs
            .filter(derives)
            .filter(|item| matches!(item.fields, Fields::Named(_)))
            .collect::<Vec<_>>()
    };
    sources().iter().flat_map(of_file).collect()
}

#[test]
fn every_field_of_every_document_is_described() {
    let text = doc("json.md");
    let described: BTreeSet<String> = rows(&text)
        .into_keys()
        .map(|cell| {
            cell.rsplit('.')
                .next()
                .unwrap_or_default()
                .trim_end_matches("[]")
                .to_owned()
        })
        .collect();
    let structs: Vec<_> = serialised()
        .into_iter()
        .filter(|item| !INTERNAL.iter().any(|name| item.ident == name))
        .collect();
    assert!(structs.len() > 10, "only {} types serialise", structs.len());
    for item in structs {
        for field in &item.fields {
            let attributes = field.attrs.iter();
            let options: Vec<String> = attributes
                .filter(|attribute| attribute.path().is_ident("serde"))
                .filter_map(|attribute| attribute.meta.require_list().ok())
                .map(|list| list.tokens.to_string())
                .collect();
            let skipped = options
                .iter()
                .any(|option| ["skip", "flatten"].contains(&option.as_str()));
            let renamed = options
                .iter()
                .find_map(|option| option.strip_prefix("rename = \"")?.strip_suffix('"'));
            let name = field.ident.as_ref().unwrap().to_string();
            // A keyword that is a field's name.
            let name = renamed.unwrap_or_else(|| name.trim_start_matches("r#"));
            assert!(
                skipped || name == "schema" || described.contains(name),
                "docs/json.md does not describe {}.{name}",
                item.ident
            );
        }
    }
}

#[test]
fn every_document_has_its_heading_and_command() {
    let text = doc("json.md");
    let name = Regex::new(r#""(repin\.[a-z-]+/[0-9]+)""#).unwrap();
    let mut documents = BTreeSet::new();
    for source in sources() {
        let found = name.captures_iter(&source).map(|found| found[1].to_owned());
        // A line of a report is not a document.
        documents.extend(found.filter(|name| !name.starts_with("repin.fleet-line/")));
    }
    assert!(documents.contains("repin.fleet-close/1"), "{documents:?}");
    for name in &documents {
        assert!(
            text.contains(&format!("\n## {name}\n")),
            "docs/json.md has no heading for {name}"
        );
    }
    let (_, table) = text.split_once("\n| printed by | document |\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let listed = |regex: &str, text: &str| -> BTreeSet<String> {
        let found = Regex::new(regex).unwrap();
        found
            .captures_iter(text)
            .map(|found| found[1].to_owned())
            .collect()
    };
    assert_eq!(listed(r"\[`([^`]+)`\]", table), documents);
    let reference = doc("reference.md");
    let is_group = |command: &str| reference.contains(&format!("\n### repin {command} "));
    let mut commands = listed(r"(?m)^### repin ([a-z ]+)$", &reference);
    // `prune` also works without another command.
    commands.retain(|command| command == "prune" || !is_group(command));
    let printed_by: String = table
        .lines()
        .filter_map(|row| row.split(" | ").next())
        .collect();
    assert_eq!(
        listed(r"`([a-z]+(?: [a-z]+)?)(?: --[a-z]+)?`", &printed_by),
        commands
    );
}

/// The codes of this kind: `check`, `error` or `doctor`.
fn codes_of(kind: &str) -> BTreeSet<&'static str> {
    let codes = codes::all().iter().filter(|code| code.kind == kind);
    codes.map(|code| code.code.as_str()).collect()
}

/// docs/checks.md with generated rows: a comment before a table lists its checks.
fn checks_md() -> String {
    let mut missing = codes_of("check");
    assert!(missing.contains("pin_count"), "{missing:?}");
    let mut page = String::new();
    let text = doc("checks.md");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(page, "{line}");
        let listed = line.strip_prefix("<!-- checks: ");
        let Some(listed) = listed.and_then(|list| list.strip_suffix(" -->")) else {
            continue;
        };
        for head in lines.by_ref().take(2) {
            let _ = writeln!(page, "{head}");
        }
        while lines.next_if(|line| line.starts_with('|')).is_some() {}
        for code in listed.split(' ') {
            assert!(
                missing.remove(code),
                "docs/checks.md: {code} is unknown or a duplicate"
            );
            let found = explanation(code);
            let _ = write!(page, "| `{code}` |");
            for cell in found.verifies.iter().chain(&found.advice) {
                let _ = write!(page, " {cell} |");
            }
            page.push('\n');
        }
    }
    assert!(
        missing.is_empty(),
        "docs/checks.md: no table lists {missing:?}"
    );
    page
}

/// `UPDATE_DOCS=1` writes the page instead of comparing it.
fn compare_or_write(name: &str, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs").join(name), expected).unwrap();
    }
    assert!(
        doc(name) == expected,
        "docs/{name} differs from the help or from src/base/codes.yaml; run: \
         UPDATE_DOCS=1 cargo nextest run md_is_generated"
    );
}

#[test]
fn checks_md_is_generated() {
    compare_or_write("checks.md", &checks_md());
}

#[test]
fn check_that_only_warns_never_fails() {
    for code in codes_of("check") {
        let found = explanation(code);
        let only_warns = found.verifies.as_ref().unwrap().contains("Only warns");
        assert_eq!(found.exits == [0], only_warns, "{code}");
    }
}

#[test]
fn every_line_of_doctor_is_described() {
    let report = world().run(&["doctor", "--format", "json"]).json();
    let lines: BTreeSet<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["code"].as_str().unwrap())
        .collect();
    let mut explained = codes_of("doctor");
    // The codes of errors with the same cause.
    explained.extend(["shallow", "clock"]);
    assert_eq!(lines, explained);
    for code in lines {
        let found = explanation(code);
        let own = found.kind == "doctor";
        assert!(own || found.meaning.contains("`repin doctor`"), "{code}");
    }
    let text = doc("doctor.md");
    let statuses = ["pass", "fail", "warn", "skip"];
    let described: BTreeSet<_> = rows(&text)
        .into_keys()
        .filter(|cell| !statuses.contains(&cell.as_str()))
        .collect();
    assert_eq!(
        described,
        explained.into_iter().map(str::to_owned).collect()
    );
}

/// The exit codes that the sources give each code of an error.
fn error_codes() -> BTreeMap<String, BTreeSet<u8>> {
    let exits = |class: &str| match class {
        "Failed" | "Ambiguous" | "Refused" => 1,
        "Input" => 2,
        "Unavailable" | "Limited" => 3,
        "Denied" => 4,
        "Conflict" => 5,
        class => panic!("unknown class {class}"),
    };
    let code = Regex::new(
        r"(?x) (?: Error | Self ) :: (?:
            (?: new\( \s* Class::(?<class>[A-Za-z]+), | (?<input>input\() | (?<failed>failed\() )
            \s* Code::(?<code>[A-Z_]+) )
        | \( Class::(?<class2>[A-Za-z]+), \s Code::(?<code2>[A-Z_]+) \)",
    )
    .unwrap();
    let mut codes = BTreeMap::<String, BTreeSet<u8>>::new();
    for source in sources() {
        for found in code.captures_iter(&source) {
            let name = |group: &str| found.name(group).map(|text| text.as_str().to_owned());
            let class = match (name("input"), name("failed")) {
                (Some(_), _) => "Input".to_owned(),
                (_, Some(_)) => "Failed".to_owned(),
                _ => name("class").or_else(|| name("class2")).unwrap(),
            };
            let code = name("code").or_else(|| name("code2")).unwrap();
            codes
                .entry(code.to_lowercase())
                .or_default()
                .insert(exits(&class));
        }
    }
    codes
}

#[test]
fn explanations_list_every_exit_of_an_error() {
    let codes = error_codes();
    let expected = ["limit", "protected_missing", "locked", "usage", "config"];
    assert!(
        expected.iter().all(|code| codes.contains_key(*code)) && codes.len() > 25,
        "{codes:?}"
    );
    for (code, exits) in codes {
        // A signal and `--if-unconfigured skip` determine these exits, not the class.
        if ["interrupted", "skip"].contains(&code.as_str()) {
            continue;
        }
        let listed = &explanation(&code).exits;
        for exit in exits {
            assert!(
                listed.contains(&exit),
                "{code} exits with {exit}, src/base/codes.yaml lists {listed:?}"
            );
        }
    }
}

/// Appends the explanations of all codes.
fn explain_codes(text: &mut String) {
    for section in codes::all().chunk_by(|one, next| one.section == next.section) {
        let _ = write!(text, "\n## {}\n", section[0].section);
        for found in section {
            let exits: Vec<_> = found.exits.iter().map(u8::to_string).collect();
            let _ = write!(
                text,
                "\n### {}\n\n{}, exit {}. {} {}\n\n",
                found.code,
                match found.kind.as_str() {
                    "check" => "Check",
                    "error" => "Error",
                    _ => "Line of `repin doctor`",
                },
                exits.join(" or "),
                found.summary,
                found.meaning
            );
            for cause in &found.causes {
                let _ = writeln!(text, "- {cause}");
            }
            let _ = write!(
                text,
                "\n**Remedy:** {}\n\n```sh\n{}\n```\n",
                found.remedy, found.example
            );
        }
    }
}

/// The commands in the help of a command, by their names.
fn subcommands(help: &str) -> Vec<String> {
    let command = Regex::new(r"^  ([a-z]+)  ").unwrap();
    let before_options = help.split("\nOptions:").next().unwrap_or_default();
    let names = before_options.lines().filter_map(|line| {
        let name = command.captures(line)?[1].to_owned();
        (name != "help").then_some(name)
    });
    names.collect()
}

/// Appends the help of a command and of those below it.
fn help_of(path: &[String], text: &mut String) {
    let world = world();
    let args: Vec<_> = path.iter().map(String::as_str).collect();
    let help = world
        .run(&[&args[..], &["--help"]].concat())
        .exits(0)
        .stdout;
    let help = help.replace("\n\nGlobal options: repin help global", "");
    // Each command has this option.
    let only_help = Regex::new(r"\n\nOptions:\n +-h, --help +Print help(\n\n|\n*$)").unwrap();
    let help = only_help.replace(&help, "$1");
    let help = Regex::new(r"\n +-h, --help +Print help[^\n]*")
        .unwrap()
        .replace(&help, "");
    let name = ["repin"]
        .into_iter()
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ");
    let _ = write!(text, "\n### {name}\n\n```text\n{}\n```\n", help.trim_end());
    for command in subcommands(&help) {
        help_of(&[path, &[command]].concat(), text);
    }
}

const REFERENCE: &str = "# Commands and codes

You know the name of a command or the code of a message, and want its options, or the causes and the remedy.
`repin COMMAND --help` and `repin explain CODE` print the same sections in a terminal. [checks.md](checks.md) describes what
each check verifies and when it only warns, [doctor.md](doctor.md) what each line of `repin doctor` checks. This page is
generated from the help and from `src/base/codes.yaml`.

<!-- not run on this page: a test generates it; another one parses the examples, which contain values of the reader -->

## Commands
";

#[test]
fn reference_md_is_generated() {
    let mut expected = REFERENCE.to_owned();
    help_of(&[], &mut expected);
    explain_codes(&mut expected);
    for section in [
        "repin promote",
        "repin prune restore",
        "repin man",
        "pin_count",
    ] {
        assert!(
            expected.contains(&format!("\n### {section}\n")),
            "{section}"
        );
    }
    compare_or_write("reference.md", &expected);
}

/// Without this check, a renamed or deleted test would leave its promise untested.
#[test]
fn every_test_and_script_on_the_pages_exists() {
    fn functions(directory: &Path, names: &mut BTreeSet<String>) {
        let function = Regex::new(r"\bfn ([a-z0-9_]+)").unwrap();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                functions(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                names.extend(
                    function
                        .captures_iter(&text)
                        .map(|found| found[1].to_owned()),
                );
            }
        }
    }
    let mut known = BTreeSet::new();
    for directory in ["src", "tests"] {
        functions(&root().join(directory), &mut known);
    }
    let testing = doc("testing.md");
    let (guards, evidence) = testing
        .split_once("\n## Versions that `prune` protects\n")
        .unwrap();
    let text = doc("reliability.md") + evidence;
    // The name of a test has at least four words; an ellipsis replaces the end of a name.
    let sentence = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){3,}_?)(…?)`").unwrap();
    let tests: Vec<_> = sentence.captures_iter(&text).collect();
    assert!(tests.len() > 100, "found {} names of tests", tests.len());
    for found in tests {
        let (name, rest) = (&found[1], &found[2]);
        let exists = known.contains(name)
            || !rest.is_empty() && known.iter().any(|known| known.starts_with(name));
        assert!(exists, "docs/testing.md: {name} does not exist");
    }
    // The last column of the guards' tables contains only tests.
    let rows = guards.lines().filter_map(|line| line.strip_suffix(" |"));
    for row in rows.filter(|row| row.contains('`')) {
        let (_, tests) = row.rsplit_once(" | ").unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(
            !names.is_empty(),
            "docs/testing.md: a guard without a test: {row}"
        );
        for name in names {
            let name = name.rsplit("::").next().unwrap();
            assert!(
                known.contains(name),
                "docs/testing.md: {name} does not exist"
            );
        }
    }
    let path = Regex::new(r"`((?:scripts|src|tests|docs|fuzz|testdata|benches)/[A-Za-z0-9_./-]+)")
        .unwrap();
    for page in ["docs/reliability.md", "docs/testing.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for found in path.captures_iter(&text) {
            let exists = root().join(&found[1]).exists();
            assert!(exists, "{page}: {} does not exist", &found[1]);
        }
    }
}

#[test]
fn walks_pass_each_file_once() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let row = Regex::new(r"^\| `(src/[a-z0-9_/]+\.rs)` \| `([a-z_]+)` \|").unwrap();
    let mut walks = Vec::new();
    for line in text.lines() {
        if line == "| file | function | step |" {
            walks.push(BTreeSet::new());
        }
        let (Some(walk), Some(found)) = (walks.last_mut(), row.captures(line)) else {
            continue;
        };
        let (file, function) = (&found[1], &found[2]);
        let source = fs::read_to_string(root().join(file)).unwrap();
        let defines = ["(", "<"].map(|next| source.contains(&format!("fn {function}{next}")));
        assert!(defines.contains(&true), "{file} has no function {function}");
        assert!(walk.insert(file.to_owned()), "{file} is passed twice");
    }
    let lengths: Vec<_> = walks.iter().map(BTreeSet::len).collect();
    assert_eq!(lengths, [10, 11, 13]);
}

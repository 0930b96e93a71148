//! Other people's tests: their cases, fed to repin's own readers, and every difference explained.
//!
//! `scripts/conformance DIR…` runs [`checkouts`]; which suite a directory is, is seen from what it
//! holds. `suites` extracts the cases. Reasons for differences stand in `scripts/conformance.yaml`,
//! by the names of cases; a difference without a reason fails, and so does a listed one that no
//! longer differs. Nothing of the suites is part of this repository.

mod suites;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use repin::config::yaml::{self, Node, Value};
use suites::{Case, Suite};

/// Why some cases differ.
#[derive(Debug, Clone)]
struct Reason {
    why: String,
    /// What the refusal must say for the reason to hold.
    says: Option<String>,
    cases: BTreeSet<String>,
}

/// Reasons by suite and by their short names.
type Reasons = BTreeMap<String, BTreeMap<String, Reason>>;

fn text(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        other => panic!("expected a text, found {other:?}"),
    }
}

fn entries(node: &Node) -> &[(yaml::Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        other => panic!("expected a mapping, found {other:?}"),
    }
}

fn reasons(document: &str) -> Reasons {
    let (root, faults) = yaml::parse(document);
    assert!(faults.is_empty(), "{faults:?}");
    let reason = |node: &Node| Reason {
        why: text(node.pointer("/why").unwrap()),
        says: node.pointer("/says").map(text),
        cases: match &node.pointer("/cases").unwrap().value {
            Value::List(items) => items.iter().map(text).collect(),
            other => panic!("expected a list of cases, found {other:?}"),
        },
    };
    let suite = |node: &Node| {
        let reasons = entries(node).iter();
        reasons
            .map(|(key, node)| (key.text.clone(), reason(node)))
            .collect()
    };
    let root = root.unwrap();
    let suites = entries(&root).iter();
    suites
        .map(|(key, node)| (key.text.clone(), suite(node)))
        .collect()
}

/// What a suite's cases gave, and whether every difference has its reason.
fn report(suite: &Suite, reasons: &Reasons) -> (String, bool) {
    let none = BTreeMap::new();
    let reasons = reasons.get(suite.name).unwrap_or(&none);
    let differing: Vec<&Case> = suite.cases.iter().filter(|case| !case.agrees()).collect();
    let (all, differ) = (suite.cases.len(), differing.len());
    let mut out = format!(
        "{}: {all} cases, {} agree, {differ} differ\n",
        suite.name,
        all - differ
    );
    let mut good = !suite.cases.is_empty();
    if suite.cases.is_empty() {
        out += "  no case was found: the suite changed its form\n";
    }
    let mut explained = BTreeSet::new();
    for (name, reason) in reasons {
        let holds = |case: &&&Case| {
            let said = case.found.as_ref().err();
            reason.cases.contains(&case.name)
                && reason
                    .says
                    .as_ref()
                    .is_none_or(|says| said.is_some_and(|said| said.contains(says)))
        };
        let cases: Vec<_> = differing
            .iter()
            .filter(holds)
            .map(|case| case.name.as_str())
            .collect();
        let stale: Vec<_> = reason
            .cases
            .iter()
            .filter(|name| !cases.contains(&name.as_str()))
            .collect();
        if !cases.is_empty() {
            let _ = writeln!(
                out,
                "  {name} ({}): {}\n    {}",
                cases.len(),
                reason.why,
                cases.join(" ")
            );
        }
        for stale in stale {
            good = false;
            let _ = writeln!(out, "  {name}: {stale} does not differ for this reason");
        }
        explained.extend(cases);
    }
    for case in differing
        .iter()
        .filter(|case| !explained.contains(case.name.as_str()))
    {
        good = false;
        let Case {
            name,
            expected,
            found,
        } = case;
        let _ = writeln!(
            out,
            "  no reason: {name}: expected {expected:?}, found {found:?}"
        );
    }
    (out, good)
}

/// Where bundles are, which the library's own tests verify (`src/trust/tests/conformance.rs`).
const SIGNATURES: [&str; 3] = [
    "test/assets/bundle-verify",
    "pkg/cmd/attestation/test/data",
    "pkg/testing/data/bundles",
];

/// The reports of all directories, and whether all is explained.
fn run(directories: &[PathBuf], reasons: &Reasons) -> (String, bool) {
    let (mut out, mut good) = (String::new(), true);
    for directory in directories {
        let (text, fine) = match suites::of(directory) {
            Some(suite) => report(&suite, reasons),
            None if SIGNATURES.iter().any(|path| directory.join(path).is_dir()) => continue,
            None => (
                format!("{}: no suite that is known here\n", directory.display()),
                false,
            ),
        };
        out += &text;
        good &= fine;
    }
    (out, good)
}

fn listed() -> Reasons {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/conformance.yaml");
    reasons(&fs::read_to_string(file).unwrap())
}

#[test]
#[ignore = "scripts/conformance runs it on checkouts"]
fn checkouts() {
    let directories = std::env::var("REPIN_CONFORMANCE").expect("scripts/conformance sets it");
    let directories: Vec<_> = directories.lines().map(PathBuf::from).collect();
    let (out, good) = run(&directories, &listed());
    print!("{out}");
    assert!(
        good,
        "a difference has no reason, or a reason no difference"
    );
}

/// A directory in the shape of a suite, with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn names(suite: &Suite) -> (Vec<&str>, Vec<&str>) {
    let (agree, differ): (Vec<_>, Vec<_>) = suite.cases.iter().partition(|case| case.agrees());
    let names = |cases: Vec<&'_ Case>| -> Vec<&str> {
        suite
            .cases
            .iter()
            .filter(|case| cases.iter().any(|other| other.name == case.name))
            .map(|case| case.name.as_str())
            .collect()
    };
    (names(agree), names(differ))
}

const GRAMMAR: &str = r#"
func TestReferenceParse(t *testing.T) {
	tests := []struct {
	}{
		// A comment.
		{
			input:      "a/b:c",
			repository: "a/b",
			tag:        "c", // another
		},
		{
			input: strings.Repeat("a/", 128) + "A",
			err:   ErrNameTooLong,
		},
		{
			input:      "a/b:d",
			repository: "a/c",
			tag:        "d",
		},
	}
	for _, tc := range tests {
}
"#;

#[test]
fn cases_of_the_reference_grammar_are_read() {
    let dir = directory(&[
        ("reference_test.go", GRAMMAR),
        (
            "normalize_test.go",
            "\tvalidRepoNames := []string{\n\t\t\"a\",\n\t\t\"[::1]/x\",\n\t}\n\tinvalidRepoNames := []string{\n\t\t\"-a\",\n\t}\n",
        ),
    ]);
    let suite = suites::of(dir.path()).unwrap();
    assert_eq!(suite.name, "reference");
    let agree = vec!["parse/1", "parse/2", "valid/1", "invalid/1"];
    assert_eq!(names(&suite), (agree, vec!["parse/3", "valid/2"]));
}

#[test]
fn cases_of_the_image_specification_are_read() {
    let digest = "a".repeat(64);
    let descriptor = format!(r#"{{"mediaType":"a/b","digest":"sha256:{digest}","size":1}}"#);
    let file = format!(
        "{{ descriptor: `{descriptor}`,\n fail: false, }},\n{{ descriptor: `{{}}`,\n fail: true, }},\n{{ descriptor: `[`, }},\n"
    );
    let dir = directory(&[
        ("schema/manifest_test.go", ""),
        ("schema/descriptor_test.go", &file),
    ]);
    let suite = suites::of(dir.path()).unwrap();
    assert_eq!(suite.name, "image-spec");
    assert_eq!(
        names(&suite),
        (vec!["descriptor/1", "descriptor/2"], vec!["descriptor/3"])
    );
}

#[test]
fn cases_of_the_yaml_suite_are_read() {
    let file = "- name: x\n  yaml: |\n    a: 1\n    b:␣[x]∎\n  json: |\n    {\"a\": 1, \"b\": [\"x\"]}\n- fail: true\n  yaml: |\n    [\n- yaml: |\n    &a b\n  json: |\n    \"b\"\n- yaml: |\n    a\n  json: |\n    \"b\"\n";
    let dir = directory(&[("src/AB12.yaml", file)]);
    let suite = suites::of(dir.path()).unwrap();
    assert_eq!(suite.name, "yaml-test-suite");
    assert_eq!(
        names(&suite),
        (vec!["AB12/1", "AB12/2"], vec!["AB12/3", "AB12/4"])
    );
}

#[test]
fn cases_of_containers_image_are_read() {
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let dir = directory(&[
        ("manifest/fixtures/i.json", index),
        ("manifest/fixtures/n.json", "x"),
        (
            "manifest/manifest_test.go",
            "func TestGuessMIMEType(t *testing.T) {\n\t{\"i.json\", imgspecv1.MediaTypeImageIndex},\n\t{\"n.json\", \"\"}, // none\n}\n",
        ),
        (
            "manifest/oci_index_test.go",
            "func TestOCI1IndexFromManifest(t *testing.T) {\n\tx(\"fixtures\", \"i.json\")\n\ttestManifestFixturesAreRejected(t, parser, []string{\n\t\t\"n.json\", \"i.json\",\n\t})\n\ttestValidManifestWithExtraFieldsIsRejected(t, parser, v, []string{\"layers\", \"x\"})\n}\n",
        ),
    ]);
    let suite = suites::of(dir.path()).unwrap();
    assert_eq!(suite.name, "containers-image");
    let agree = vec!["type/i.json", "type/n.json", "index/n.json", "index+layers"];
    assert_eq!(names(&suite), (agree, vec!["index/i.json", "index+x"]));
}

#[test]
fn differences_need_their_reasons_and_reasons_their_differences() {
    let file = "- yaml: |\n    &a b\n- yaml: |\n    a\n";
    let dir = directory(&[("src/AB12.yaml", file)]);
    let with = |reasons: &str| run(&[dir.path().to_owned()], &self::reasons(reasons));
    let right = "yaml-test-suite:\n  anchors:\n    why: Anchors are refused.\n    says: anchors\n    cases: [AB12/1]\n";
    let (out, good) = with(right);
    assert!(good, "{out}");
    assert_eq!(
        out,
        "yaml-test-suite: 2 cases, 1 agree, 1 differ\n  anchors (1): Anchors are refused.\n    AB12/1\n"
    );
    for (wrong, says) in [
        ("yaml-test-suite: {}\n".to_owned(), "no reason: AB12/1"),
        (
            right.replace("AB12/1", "AB12/1, AB12/2"),
            "AB12/2 does not differ",
        ),
        (
            right.replace("says: anchors", "says: tags"),
            "no reason: AB12/1",
        ),
    ] {
        let (out, good) = with(&wrong);
        assert!(!good && out.contains(says), "{out}");
    }
    let nothing = directory(&[("a", "b")]);
    let (out, good) = run(&[nothing.path().to_owned()], &listed());
    assert!(!good && out.contains("no suite"), "{out}");
}

//! Runs repin's parsers on the test suites of other projects; every difference needs a reason.
//!
//! `scripts/conformance DIR…` runs [`checkouts`], which recognizes the suite of a directory by its
//! files, and the suites of `pins::places` and `trust`. `suites` extracts the cases.
//! `scripts/conformance.yaml` lists the differences by case, with their reasons. A difference
//! without a reason fails the run, and so does a listed case without a difference. No part of the
//! suites is in this repository.

pub(crate) mod suites;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// One case, and its difference from the program.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) difference: Option<String>,
    /// The reason why the program refuses the case.
    pub(crate) refusal: Option<String>,
}

/// The cases of a suite in its order.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// A justified difference of some cases.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    why: String,
    /// A text that the refusal must contain.
    says: Option<String>,
    cases: BTreeSet<String>,
}

/// Reasons by suite and by an abbreviation.
type Reasons = BTreeMap<String, BTreeMap<String, Reason>>;

fn reasons(document: &str) -> Reasons {
    serde_yaml_ng::from_str(document).unwrap()
}

/// The result of a suite, and whether every difference has its reason.
fn report(suite: &Suite, reasons: &Reasons) -> (String, bool) {
    let none = BTreeMap::new();
    let reasons = reasons.get(suite.name).unwrap_or(&none);
    let mut unexplained = BTreeMap::new();
    for case in &suite.cases {
        if let Some(difference) = &case.difference {
            let refusal = case.refusal.as_deref().unwrap_or_default();
            unexplained.insert(case.name.as_str(), (difference, refusal));
        }
    }
    let (all, differ) = (suite.cases.len(), unexplained.len());
    let mut out = format!(
        "{}: {all} cases, {} agree, {differ} differ\n",
        suite.name,
        all - differ
    );
    let mut is_explained = !suite.cases.is_empty();
    if suite.cases.is_empty() {
        out += "  no case was found: the suite changed its form\n";
    }
    for (name, reason) in reasons {
        let (holds, stale): (Vec<_>, Vec<_>) = reason.cases.iter().partition(|case| {
            let difference = unexplained.get(case.as_str());
            let says = reason.says.as_deref().unwrap_or_default();
            difference.is_some_and(|(_, refusal)| refusal.contains(says))
        });
        if !holds.is_empty() {
            let cases: Vec<_> = holds.iter().map(|case| case.as_str()).collect();
            let (count, cases) = (cases.len(), cases.join(" "));
            let _ = writeln!(out, "  {name} ({count}): {}\n    {cases}", reason.why);
        }
        for case in stale {
            is_explained = false;
            let _ = writeln!(out, "  {name}: {case} does not differ for this reason");
        }
        for case in holds {
            unexplained.remove(case.as_str());
        }
    }
    for (name, (difference, _)) in unexplained {
        is_explained = false;
        let _ = writeln!(out, "  no reason: {name}: {difference}");
    }
    (out, is_explained)
}

/// Prints the result of a suite, and fails unless every difference has its reason.
pub(crate) fn check(name: &'static str, cases: Vec<Case>) {
    print_and_assert(report(&Suite { name, cases }, &listed()));
}

fn print_and_assert((out, is_explained): (String, bool)) {
    print!("{out}");
    assert!(
        is_explained,
        "a difference has no reason, or a reason no difference"
    );
}

/// The directories of bundles, which the tests of `trust` verify.
const SIGNATURES: [&str; 3] = [
    "test/assets/bundle-verify",
    "pkg/cmd/attestation/test/data",
    "pkg/testing/data/bundles",
];

/// The reports of all directories, and whether every difference has its reason.
fn run(directories: &[PathBuf], reasons: &Reasons) -> (String, bool) {
    let (mut out, mut is_explained) = (String::new(), true);
    for directory in directories {
        let (text, passed) = match suites::of(directory) {
            Some(suite) => report(&suite, reasons),
            None if SIGNATURES.iter().any(|path| directory.join(path).is_dir()) => continue,
            None => (format!("{}: no known suite\n", directory.display()), false),
        };
        out += &text;
        is_explained &= passed;
    }
    (out, is_explained)
}

fn listed() -> Reasons {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/conformance.yaml");
    reasons(&fs::read_to_string(file).unwrap())
}

/// The directories that `scripts/conformance` was given.
pub(crate) fn directories() -> Vec<PathBuf> {
    let directories = std::env::var("REPIN_CONFORMANCE").expect("scripts/conformance sets it");
    directories.lines().map(PathBuf::from).collect()
}

#[test]
#[ignore = "scripts/conformance runs it on checkouts"]
fn checkouts() {
    print_and_assert(run(&directories(), &listed()));
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

/// The cases that agree, and those that differ.
fn names(suite: &Suite) -> (Vec<&str>, Vec<&str>) {
    let (mut agreeing, mut differing) = (Vec::new(), Vec::new());
    for case in &suite.cases {
        match case.difference {
            None => agreeing.push(case.name.as_str()),
            Some(_) => differing.push(case.name.as_str()),
        }
    }
    (agreeing, differing)
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
fn unexplained_and_stale_differences_fail() {
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
    assert!(!good && out.contains("no known suite"), "{out}");
}

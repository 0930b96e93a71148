//! Contracts: problems with their places, and violations.

use proptest::prelude::*;

use super::*;
use crate::contents::inventory::tests::inventory;

const KINDS: &str = "kinds:
  agents: { paths: ['^a/(.+)$'] }
  skills: { paths: ['^s/(.+)$'], must_not_contain: unsupported }
  plugins: { paths: ['^p/(.+)$'] }";

fn kinds() -> Vec<Kind> {
    inventory(KINDS).kinds
}

fn accepted(text: &str) -> (Contract, Vec<String>) {
    let (contract, warnings) = parse("e.yaml", text.as_bytes(), &kinds()).unwrap();
    (
        contract,
        warnings.into_iter().map(|warning| warning.detail).collect(),
    )
}

/// `code line:column message` of every problem.
fn refused(text: &str) -> Vec<String> {
    let problems = parse("e.yaml", text.as_bytes(), &kinds()).unwrap_err();
    let line = |problem: Error| {
        assert!(problem.help.is_some() || problem.code != Code::EXPECTED_YAML_EMPTY);
        let (line, column) = problem
            .location
            .as_ref()
            .map_or((0, 0), |location| location.line_column());
        format!("{} {line}:{column} {}", problem.code, problem.message)
    };
    let starts = problems.iter().map(|problem| {
        let location = problem.location.as_ref();
        location.map_or(0, |location| location.span.start)
    });
    assert!(starts.is_sorted(), "{text}");
    problems.into_iter().map(line).collect()
}

fn found(kinds: &[(&str, &[&str])]) -> Enumeration {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let kinds = kinds
        .iter()
        .map(|(kind, list)| ((*kind).to_owned(), names(list)))
        .collect();
    Enumeration {
        kinds,
        not_utf8: Vec::new(),
    }
}

fn findings(contract: &str, found: &Enumeration) -> Vec<String> {
    check(&accepted(contract).0, found)
        .into_iter()
        .map(|finding| format!("{} {}", finding.code, finding.item.unwrap()))
        .collect()
}

#[test]
fn image_that_meets_the_contract_passes() {
    let image = found(&[
        ("agents", &["code-writer", "ops"]),
        ("skills", &["git"]),
        ("plugins", &[]),
    ]);
    let contract = "must_contain:\n  agents: [ops, code-writer]\n  skills: [git]\nmust_not_contain:\n  agents: [old]\n";
    assert_eq!(findings(contract, &image), [] as [&str; 0]);
}

#[test]
fn violations_are_listed_in_the_order_of_kinds() {
    let image = found(&[
        ("agents", &["ops", "old"]),
        ("skills", &[]),
        ("plugins", &["x"]),
    ]);
    let contract = "must_not_contain: {plugins: [x], agents: [old]}\nmust_contain: {skills: [git], agents: [z, ops, B]}\n";
    assert_eq!(
        findings(contract, &image),
        [
            "inventory_must_contain_missing agents/B",
            "inventory_must_contain_missing agents/z",
            "inventory_must_not_contain_present agents/old",
            "inventory_must_contain_missing skills/git",
            "inventory_must_not_contain_present plugins/x"
        ]
    );
    let two = "must_contain: {agents: [ops, absent]}\nmust_not_contain: {agents: [old]}";
    assert_eq!(findings(two, &image).len(), 2);
}

#[test]
fn names_are_exact() {
    let image = found(&[
        ("agents", &["ops-extra", "Ops", "012", "yes"]),
        ("skills", &[]),
        ("plugins", &[]),
    ]);
    assert_eq!(
        findings("must_contain: {agents: [ops]}", &image),
        ["inventory_must_contain_missing agents/ops"]
    );
    assert_eq!(
        findings("must_contain: {agents: [012, yes, \"Ops\"]}", &image),
        [] as [&str; 0]
    );
    assert_eq!(
        findings("must_contain: {agents: [12]}", &image),
        ["inventory_must_contain_missing agents/12"]
    );
}

#[test]
fn contract_without_assertions_is_refused() {
    for empty in ["", "\n", "# comment\n", "---\n", "null\n"] {
        assert_eq!(
            refused(empty),
            ["expected_yaml_empty 1:1 the contract is empty"],
            "{empty:?}"
        );
    }
    for nothing in [
        "{}",
        "must_contain: {}\n",
        "must_contain:\nmust_not_contain:\n",
        "must_contain: {agents: [], skills: []}",
        "must_contain: {agents: }",
        "must_contain: {agents: [\"\"]}",
    ] {
        let expected = "expected_yaml_no_assertions 1:1 the contract asserts nothing: it would accept every image";
        assert_eq!(refused(nothing), [expected], "{nothing:?}");
    }
}

#[test]
fn malformed_contract_is_reported_with_its_location() {
    assert!(refused("must_contain: [\n")[0].starts_with("expected_yaml_parse_failed "));
    assert!(refused("must_contain: {agents: *x}\n")[0].starts_with("expected_yaml_parse_failed "));
    assert_eq!(
        refused("must_contain: {agents: [a]}\nmust_contain: {agents: [b]}\n"),
        ["expected_yaml_parse_failed 2:1 the key is a duplicate: first defined on line 1"]
    );
    assert_eq!(
        refused("must_contain:\n  agents: [a]\n  agents: [b]\n"),
        ["expected_yaml_parse_failed 3:3 the key is a duplicate: first defined on line 2"]
    );
    assert!(refused("must_contain: {agents: [a]}\n---\nx: y\n")[0].contains("second document"));
    let problems = parse("e.yaml", b"must_contain: {agents: [\xff]}", &kinds()).unwrap_err();
    assert_eq!(problems[0].code, Code::EXPECTED_YAML_PARSE_FAILED);
    assert_eq!(
        parse("e.yaml", &vec![b'#'; MAX + 1], &kinds()).unwrap_err()[0].code,
        Code::EXPECTED_YAML_PARSE_FAILED
    );
    assert_eq!(
        not_found("e.yaml", "no such file").code,
        Code::EXPECTED_YAML_NOT_FOUND
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "must_contain:
  agents: ops
  skill: [git]
  skills: { git: }
  plugins: [a, [b], {c: d}, ~, 3]
must_not_contain:
  skills: []
  agents: [old]
must_contian: {}
";
    assert_eq!(
        refused(text),
        [
            "expected_yaml_invalid_type 2:11 `must_contain.agents` must be a list of names: write `[…]`",
            "expected_yaml_unknown_kind 3:3 unknown kind",
            "expected_yaml_invalid_type 4:11 `must_contain.skills` must be a list of names: write `[…]`",
            "expected_yaml_invalid_type 5:16 `must_contain.plugins` must contain only names",
            "expected_yaml_invalid_type 5:21 `must_contain.plugins` must contain only names",
            "expected_yaml_invalid_type 5:29 `must_contain.plugins` must contain only names",
            "expected_yaml_unsupported_field 7:3 `must_not_contain` is not supported for `skills`",
            "expected_yaml_unknown_top_level_key 9:1 unknown key"
        ]
    );
    for (text, at) in [
        ("[agents]", "1:1"),
        ("agents", "1:1"),
        ("must_contain: [a]", "1:15"),
        ("must_contain: x", "1:15"),
    ] {
        let problems = refused(text);
        assert!(
            problems.len() == 1
                && problems[0].starts_with(&format!("expected_yaml_invalid_type {at} ")),
            "{text}"
        );
    }
    let hint = |text: &str| {
        parse("e", text.as_bytes(), &kinds()).unwrap_err()[0]
            .help
            .clone()
            .unwrap()
    };
    assert_eq!(hint("must_contian: {}"), "did you mean `must_contain`?");
    assert_eq!(
        hint("must_contain: {zzz: []}"),
        "expected one of: agents, skills, plugins"
    );
}

#[test]
fn empty_and_repeated_names_warn() {
    let (contract, warnings) = accepted(
        "must_contain:\n  agents: [a, '', a]\n  skills:\nmust_not_contain: {plugins: [x]}\n",
    );
    assert_eq!(contract.must_contain[0].1.len(), 1);
    assert_eq!(
        warnings,
        [
            "`must_contain.agents` has an empty name, which asserts nothing",
            "`must_contain.agents` lists `a` more than once",
            "`must_contain.skills` lists nothing"
        ]
    );
}

#[test]
fn contract_above_the_size_limit_is_refused() {
    let start = "must_contain: { agents: [a] }\n#";
    let text = format!("{start}{}", "x".repeat(MAX - start.len()));
    assert_eq!(accepted(&text).0.must_contain.len(), 1);
    assert_eq!(
        refused(&(text + "x")),
        ["expected_yaml_parse_failed 0:0 the contract e.yaml is larger than 1 MiB"]
    );
}

#[test]
fn invisible_characters_are_escaped() {
    assert_eq!(scalar("a\u{a0}b"), r#""a\u00a0b""#);
    assert_eq!(scalar("a\u{202e}b"), r#""a\u202eb""#);
    assert_eq!(scalar("a\u{e0041}b"), r#""a\U000e0041b""#);
    assert_eq!(scalar("a\u{e4}b"), "\"a\u{e4}b\"");
}

#[test]
fn generated_contract_accepts_its_image() {
    let image = found(&[
        ("agents", &["ops", "yes", "a b", "012", "null"]),
        ("skills", &[]),
        ("plugins", &["p.q-r_s"]),
    ]);
    let text = "must_contain:
  agents:
    - \"012\"
    - \"a b\"
    - \"null\"
    - ops
    - \"yes\"
  skills: []
  plugins:
    - p.q-r_s
";
    assert_eq!(write(&image), text);
    assert_eq!(check(&accepted(text).0, &image), []);
    assert_eq!(write(&found(&[])), "must_contain: {}\n");
}

proptest! {
    #[test]
    fn written_contract_is_read_back(
        agents in prop::collection::btree_set(any::<String>().prop_filter("no name", |name| !name.is_empty()), 1..5),
        plugins in prop::collection::btree_set("[\\PC\\n\\t\"'\\\\:#{}\\[\\]&*!|>%@`~-]{1,9}", 0..5),
    ) {
        let kinds_found = [("agents", agents.clone()), ("skills", BTreeSet::new()), ("plugins", plugins.clone())];
        let image = Enumeration {
            kinds: kinds_found.into_iter().map(|(kind, names)| (kind.to_owned(), names)).collect(),
            not_utf8: Vec::new(),
        };
        let text = write(&image);
        let (contract, warnings) = parse("e.yaml", text.as_bytes(), &kinds()).map_err(|problems| {
            TestCaseError::fail(format!("{text}: {problems:?}"))
        })?;
        prop_assert_eq!(warnings, []);
        prop_assert_eq!(&contract.must_contain, &image.kinds);
    }
}

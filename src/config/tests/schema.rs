//! The schema of repin.yaml and its parser have the same keys, rules and defaults.
//!
//! A schema cannot express every rule for values: only the parser checks, for example, that a
//! regular expression is well-formed.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    base::error::{Error, SourceText},
    config::{
        self, Config,
        yaml::{self, Node},
    },
    support::schema::Schema,
};

fn schema() -> Value {
    config::schema()
}

fn validator() -> Schema {
    Schema::new(&schema())
}

/// The configuration with every key, as text and as JSON.
fn full() -> (String, Value) {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/full.yaml"))
            .unwrap();
    let (tree, faults) = yaml::parse(&text);
    assert_eq!(faults, []);
    let value = to_json(&tree.unwrap());
    (text, value)
}

fn parse(text: &str) -> Result<Config, Vec<Error>> {
    config::parse(
        &SourceText {
            name: "repin.yaml".to_owned(),
            text: text.into(),
        },
        Path::new("/root"),
        &config::SetPath::top(),
    )
}

/// A value as an editor sees it (YAML 1.2, core schema).
fn to_json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar { text, plain: true } => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            _ if node.is_null() => Value::Null,
            _ => text
                .parse::<u64>()
                .map_or_else(|_| json!(text), |number| json!(number)),
        },
        yaml::Value::Scalar { text, .. } => json!(text),
        yaml::Value::List(items) => items.iter().map(to_json).collect(),
        yaml::Value::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.text.clone(), to_json(value)))
                .collect(),
        ),
    }
}

/// A mapping of the schema with fixed keys: the location of an example in the full configuration,
/// and the keys.
struct Mapping {
    pointer: String,
    keys: Map<String, Value>,
}

/// Every such mapping, the outermost first.
fn mappings(schema: &Value, at: &Value, example: &Value, pointer: &str) -> Vec<Mapping> {
    let at = resolved(schema, at);
    if let Some(items) = at.get("items") {
        let Some(first) = example.get(0) else {
            return Vec::new();
        };
        return mappings(schema, items, first, &format!("{pointer}/0"));
    }
    if let Some(any) = at.get("additionalProperties").filter(|any| any.is_object()) {
        let Some((name, value)) = example.as_object().and_then(|map| map.iter().next()) else {
            return Vec::new();
        };
        return mappings(
            schema,
            any,
            value,
            &format!("{pointer}/{}", name.replace('/', "~1")),
        );
    }
    let Some(keys) = at.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    assert_eq!(
        at["additionalProperties"], false,
        "{pointer} lets every key through"
    );
    let below = keys.iter().flat_map(|(key, value)| {
        let example = example.get(key).unwrap_or(&Value::Null);
        mappings(schema, value, example, &format!("{pointer}/{key}"))
    });
    let here = Mapping {
        pointer: pointer.to_owned(),
        keys: keys.clone(),
    };
    std::iter::once(here).chain(below).collect()
}

/// The target of a `$ref` in the schema, with the values next to the `$ref`.
fn resolved(schema: &Value, at: &Value) -> Value {
    let Some(target) = at.get("$ref").and_then(Value::as_str) else {
        return at.clone();
    };
    let mut whole = resolved(
        schema,
        schema.pointer(target.trim_start_matches('#')).unwrap(),
    );
    let own = at
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| *key != "$ref");
    whole
        .as_object_mut()
        .unwrap()
        .extend(own.map(|(key, value)| (key.clone(), value.clone())));
    whole
}

/// Every mapping of the schema with an example of it in the full configuration.
fn all() -> Vec<Mapping> {
    let schema = schema();
    let found = mappings(&schema, &schema, &full().1, "");
    // Fewer would mean that a block has no example.
    let blocks = found
        .iter()
        .map(|mapping| mapping.pointer.as_str())
        .collect::<Vec<_>>();
    for block in [
        "/images/review",
        "/inventory/kinds/agents",
        "/freshness/0/paths_from/0",
        "/freshness/0/issue",
        "/rehearse/issue",
    ] {
        assert!(blocks.contains(&block), "{blocks:?}");
    }
    found
}

/// The full configuration with one key set to `value`, or taken out.
fn changed(pointer: &str, key: &str, value: Option<Value>) -> Value {
    let (_, mut config) = full();
    let map = config
        .pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap();
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
    config
}

/// JSON is YAML.
fn problems(config: &Value) -> Vec<Error> {
    parse(&config.to_string()).err().unwrap_or_default()
}

/// The values of a configuration, without locations in its text.
fn meaning(config: &Value) -> String {
    let Config {
        name,
        sources,
        revision,
        report,
        inventory,
        smoke,
        verify,
        provenance,
        promote,
        rollback,
        prune,
        freshness,
        rehearse,
        forge,
        fleet,
        ..
    } = parse(&config.to_string()).unwrap();
    // Locations in the text of these blocks depend on the preceding text.
    let located = format!("{verify:?} {promote:?}");
    let located = regex::Regex::new("span: Span [^}]*}")
        .unwrap()
        .replace_all(&located, "");
    let blocks = (inventory, smoke, provenance, rollback);
    let forges = (prune, freshness, rehearse, forge, fleet);
    format!(
        "{:?} {located} {blocks:?} {forges:?}",
        (name, sources, revision, report)
    )
}

#[test]
fn schema_is_a_valid_json_schema() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    // `Schema::new` validates the schema against its `$schema`.
    Schema::new(&schema);
}

#[test]
#[should_panic(expected = "ValidationError")]
fn malformed_schema_is_refused() {
    Schema::new(&json!({"type": "objekt"}));
}

#[test]
fn full_configuration_passes_schema_and_parser() {
    let (text, value) = full();
    assert_eq!(validator().validate(&value), Ok(()));
    let problems: Vec<_> = parse(&text)
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems, [] as [&str; 0]);
}

#[test]
fn quick_start_passes_the_schema() {
    let text = include_str!("../../../examples/quickstart/repin.yaml");
    let value = to_json(&yaml::parse(text).0.unwrap());
    assert_eq!(validator().validate(&value), Ok(()));
}

#[test]
fn schema_and_parser_have_the_same_keys() {
    for Mapping { pointer, keys } in all() {
        // The parser lists all keys if an unknown key resembles none of them.
        let problems = problems(&changed(&pointer, "zzzzzz", Some(json!(1))));
        let hint = problems.iter().find_map(|problem| {
            problem
                .message
                .contains("unknown key `zzzzzz`")
                .then(|| problem.help.clone().unwrap_or_default())
        });
        let hint = hint.unwrap_or_else(|| format!("no complaint: {problems:?}"));
        let known: BTreeSet<_> = hint.split('`').skip(1).step_by(2).collect();
        assert_eq!(
            known,
            keys.keys().map(String::as_str).collect(),
            "{pointer}: {hint}"
        );
    }
}

#[test]
fn schema_and_parser_refuse_wrong_types() {
    let (schema, validator) = (schema(), validator());
    for Mapping { pointer, keys } in all() {
        for (key, rule) in keys {
            let kind = resolved(&schema, &rule)
                .get("type")
                .cloned()
                .unwrap_or_default();
            let wrong = if kind == "object" || kind == "array" {
                json!("wrong")
            } else {
                json!({"wrong": 1})
            };
            let config = changed(&pointer, &key, Some(wrong));
            assert!(
                !validator.is_valid(&config),
                "the schema lets {config} through at {pointer}/{key}"
            );
            let problems = problems(&config);
            assert!(
                !problems.is_empty(),
                "the parser lets a wrong {pointer}/{key} through"
            );
            let unknown = problems
                .iter()
                .find(|problem| problem.message.contains("unknown key"));
            assert!(
                unknown.is_none_or(|problem| problem.message.contains("`wrong`")),
                "{pointer}/{key}: {unknown:?}"
            );
        }
    }
}

#[test]
fn schema_and_parser_require_the_same_keys() {
    let validator = validator();
    for Mapping { pointer, keys } in all() {
        for key in keys.keys() {
            let config = changed(&pointer, key, None);
            assert_eq!(
                validator.is_valid(&config),
                problems(&config).is_empty(),
                "{pointer}/{key} taken out"
            );
        }
    }
}

#[test]
fn defaults_of_schema_and_parser_are_equal() {
    let mut seen = 0;
    for Mapping { pointer, keys } in all() {
        for (key, rule) in keys {
            // An empty list of gates is written on purpose: it waives the gate of GitLab.
            let has_meaning = pointer == "/forge" && key == "gates";
            if let Some(default) = rule.get("default").filter(|_| !has_meaning) {
                let absent = meaning(&changed(&pointer, &key, None));
                let written = meaning(&changed(&pointer, &key, Some(default.clone())));
                assert_eq!(absent, written, "{pointer}/{key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} keys have a default");
}

#[test]
fn every_key_of_the_schema_is_described() {
    for Mapping { pointer, keys } in all() {
        for (key, rule) in keys {
            assert!(
                rule["description"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')),
                "{pointer}/{key}"
            );
        }
    }
}

#[test]
fn schema_errors_are_refused_by_the_parser() {
    let validator = validator();
    for (pointer, key, wrong) in [
        ("", "version", json!(2)),
        ("", "name", json!("two\nlines")),
        ("", "files", json!([])),
        ("", "files", json!(["../x.yml"])),
        ("", "files", json!(["/etc/*"])),
        ("", "sources", json!({"ghcr.io": "images"})),
        ("", "sources", json!({"ghcr.io": "https://user:word@host/"})),
        ("", "images", json!({})),
        (
            "",
            "images",
            json!({"-x": {"repository": "a/b", "pins": 1}}),
        ),
        ("/revision", "tag", json!("latest")),
        ("/images/review", "repository", json!("ghcr.io/Acme/x")),
        ("/images/review", "repository", json!("ghcr.io/acme/x:tag")),
        ("/images/review", "pins", json!(-1)),
        ("/images/review", "pins", json!("2")),
        ("/inventory", "root", json!("relative")),
        ("/inventory", "required_files", json!(["a/../../b"])),
        ("/inventory/modes", "files", json!("0888")),
        (
            "/inventory/kinds/agents",
            "must_not_contain",
            json!("never"),
        ),
        ("/smoke", "env", json!(["NAME=value"])),
        ("/smoke", "timeout", json!("60")),
        ("/smoke", "network", json!("false")),
        ("/provenance", "require", json!(["title"])),
        ("/provenance", "branch", json!("-x")),
        ("/provenance", "branch", json!("a b")),
        ("/promote", "title", json!("no placeholder")),
        ("/prune", "limit", json!(1.5)),
        ("/prune", "backend", json!("other")),
        ("/freshness/0/pinned", "pointer", json!("a/b")),
        ("/freshness/0/paths_from/0", "path", json!("agents/x.md")),
        ("/freshness/0", "repository", json!("--upload-pack=x")),
        ("/forge", "url", json!("https://token@host")),
        ("/forge", "repository", json!("acme")),
        ("/fleet", "source", json!("auto")),
        ("/fleet", "history", json!("none")),
        ("/fleet", "own_policy", json!(true)),
    ] {
        let config = changed(pointer, key, Some(wrong.clone()));
        assert!(
            !validator.is_valid(&config),
            "the schema lets {wrong} through at {pointer}/{key}"
        );
        assert!(
            !problems(&config).is_empty(),
            "the parser lets {wrong} through at {pointer}/{key}"
        );
    }
}

#[test]
fn files_and_counts_are_optional_in_fleets_only() {
    let validator = validator();
    for (pointer, key) in [("", "files"), ("/images/review", "pins")] {
        let mut config = changed(pointer, key, None);
        assert!(
            validator.is_valid(&config) && problems(&config).is_empty(),
            "{key} is required with a fleet: {:?}",
            problems(&config)
        );
        config.as_object_mut().unwrap().remove("fleet");
        assert!(
            !validator.is_valid(&config),
            "{key} is optional in the schema"
        );
        assert!(
            !problems(&config).is_empty(),
            "{key} is optional in the parser"
        );
    }
}

#[test]
fn images_are_optional_for_a_forge_or_freshness_only() {
    let validator = validator();
    let freshness = json!([{
        "name": "a",
        "pinned": {"file": "a.yaml", "pointer": "/a"},
        "repository": "https://example.com/a",
    }]);
    for (config, is_accepted) in [
        (json!({"version": 1, "forge": {}}), true),
        (
            json!({"version": 1, "name": "a", "forge": {}, "freshness": freshness}),
            true,
        ),
        (json!({"version": 1, "freshness": freshness}), true),
        (json!({"version": 1}), false),
        (json!({"version": 1, "name": "a"}), false),
        (json!({"version": 1, "forge": {}, "files": ["a"]}), false),
        (json!({"version": 1, "forge": {}, "prune": {}}), false),
        (json!({"version": 1, "forge": {}, "fleet": {}}), false),
        (json!({"version": 1, "forge": {}, "images": {}}), false),
        (json!({"version": 1, "forge": {}, "image": {}}), false),
    ] {
        assert_eq!(validator.is_valid(&config), is_accepted, "schema: {config}");
        let problems = problems(&config);
        assert_eq!(
            problems.is_empty(),
            is_accepted,
            "parser: {config} {problems:?}"
        );
    }
}

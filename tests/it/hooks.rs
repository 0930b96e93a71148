//! `.pre-commit-hooks.yaml`: its form, and its commands in the program. `scripts/test-pre-commit` runs the hooks with
//! pre-commit itself.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::world::world;

fn hooks() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pre-commit-hooks.yaml");
    serde_yaml_ng::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs a hook's entry, as pre-commit splits it.
fn entry(hook: &Value) -> Vec<String> {
    let words = hook["entry"].as_str().unwrap().split(' ');
    let mut words = words.map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("repin"));
    words.collect()
}

#[test]
fn hooks_have_the_required_fields() {
    let ids: Vec<_> = hooks().iter().map(|hook| hook["id"].clone()).collect();
    assert_eq!(ids, ["repin-check", "repin-scan"]);
    for hook in hooks() {
        for key in ["id", "name", "description", "entry"] {
            assert!(
                hook[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {hook}"
            );
        }
        // The commands take no file names, and a pin may be anywhere.
        assert_eq!(
            (&hook["pass_filenames"], &hook["always_run"]),
            (&false.into(), &true.into())
        );
        assert_eq!(hook["language"], "rust");
    }
}

#[test]
fn hooks_run_commands_of_the_program() {
    let world = world();
    let run = |hook: &Value| {
        let entry = entry(hook);
        let words: Vec<_> = entry.iter().map(String::as_str).collect();
        world.run(&words)
    };
    for hook in hooks() {
        run(&hook).exits(0);
    }
    world.replace("repin.yaml", "pins: 2", "pins: 3");
    let exits: Vec<_> = hooks().iter().map(|hook| run(hook).code).collect();
    assert_eq!(exits, [1, 0]);
    world.write("repin.yaml", "version: 2\n");
    let exits: Vec<_> = hooks().iter().map(|hook| run(hook).code).collect();
    assert_eq!(exits, [2, 2]);
}

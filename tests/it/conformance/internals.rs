//! The cases of other projects against their reasons in `scripts/conformance.yaml`, for suites that
//! test internals.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_yaml_ng::Value;

/// One case, and its difference.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) difference: Option<String>,
}

/// The directories that `scripts/conformance` was given.
pub(crate) fn directories() -> Vec<PathBuf> {
    let directories = std::env::var("REPIN_CONFORMANCE").expect("scripts/conformance sets it");
    directories.lines().map(PathBuf::from).collect()
}

/// Prints what differs, and fails unless each difference has a reason and each reason a difference.
pub(crate) fn report(suite: &str, cases: &[Case]) {
    let reasons = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/conformance.yaml");
    let reasons: Value = serde_yaml_ng::from_str(&fs::read_to_string(reasons).unwrap()).unwrap();
    let reasons = reasons.get(suite).and_then(Value::as_mapping);
    let differing: Vec<_> = cases
        .iter()
        .filter_map(|case| Some((case.name.as_str(), case.difference.as_ref()?)))
        .collect();
    println!("{suite}: {} cases, {} differ", cases.len(), differing.len());
    for (name, difference) in &differing {
        println!("  {name}: {difference}");
    }
    let mut unexplained: BTreeMap<_, _> = differing.into_iter().collect();
    for (_, reason) in reasons.into_iter().flatten() {
        let says = reason
            .get("says")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for name in reason["cases"].as_sequence().unwrap() {
            let name = name.as_str().unwrap();
            let difference = unexplained.remove(name);
            let difference = difference.unwrap_or_else(|| panic!("{name} does not differ"));
            assert!(difference.contains(says), "{name}: {difference}");
        }
    }
    assert!(unexplained.is_empty(), "without a reason: {unexplained:?}");
    assert!(!cases.is_empty(), "the suite changed its form");
}

//! The jobs of `docs/guides/gitlab-ci.md` and the components in `templates/`, held against GitLab's schema
//! (testdata/gitlab-ci) and a shell.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{
    components::{Component, scripts},
    markdown,
    schema::Schema,
};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Schema {
    let text = fs::read_to_string(top().join("testdata/gitlab-ci/schema.json")).unwrap();
    Schema::new(&serde_json::from_str(&text).unwrap())
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

fn guide_text() -> String {
    fs::read_to_string(top().join("docs/guides/gitlab-ci.md")).unwrap()
}

/// The guide's blocks that belong to one file.
fn guide() -> Value {
    let mut file = String::new();
    for block in markdown::blocks(&guide_text()) {
        let is_part = !block.text.starts_with("spec:") && !block.text.starts_with("include:");
        if block.language == "yaml" && is_part {
            file += &block.text;
            file.push('\n');
        }
    }
    yaml(&file)
}

/// The guide's block with inputs.
fn guide_with_inputs() -> Component {
    let text = guide_text();
    let mut blocks = markdown::blocks(&text).into_iter();
    let block = blocks.find(|block| block.text.starts_with("spec:"));
    Component::parse(&block.unwrap().text)
}

/// The components, and inputs that they require.
fn components() -> [(Component, &'static [(&'static str, &'static str)]); 3] {
    [
        (Component::read("check.yml"), &[]),
        (Component::read("repin.yml"), &[("command", "check")]),
        (guide_with_inputs(), &[]),
    ]
}

fn jobs(file: &Value) -> BTreeMap<&String, &Value> {
    let entries = file.as_object().unwrap().iter();
    entries
        .filter(|(_, job)| job["script"].is_array())
        .collect()
}

#[test]
fn jobs_of_gitlab_follow_its_schema() {
    let schema = schema();
    assert!(!schema.is_valid(&yaml("job: { script: [x], rules: 3 }")));
    assert_eq!(schema.validate(&guide()), Ok(()));
    for (component, inputs) in components() {
        assert_eq!(schema.validate(&component.jobs(inputs)), Ok(()));
        assert_eq!(schema.validate(&component.header), Ok(()));
    }
}

#[test]
fn rollback_with_inputs_equals_the_one_without() {
    let (guide, with_inputs) = (guide(), guide_with_inputs().jobs(&[]));
    assert_eq!(with_inputs["rollback"], guide["rollback"]);
    assert_eq!(guide["rollback"]["variables"]["ROLLBACK_TO"], "previous");
    let group = &guide["rollback"]["resource_group"];
    assert!(group.is_string() && *group == guide["promote"]["resource_group"]);
}

#[test]
fn every_job_of_gitlab_installs_repin() {
    let guide = guide();
    let stages: Vec<_> = guide["stages"].as_array().unwrap().clone();
    let jobs = jobs(&guide);
    for name in [
        "repin-check",
        "build",
        "promote",
        "rollback",
        "prune",
        "rehearse",
    ] {
        let job = jobs[&name.to_owned()];
        assert!(stages.contains(&job["stage"]), "{name}");
        assert!(
            job["rules"].is_array(),
            "{name} would run in every pipeline"
        );
        let calls = scripts(job).iter().any(|line| line.contains("repin "));
        assert_eq!(
            calls && name != "build",
            job["extends"] == ".repin",
            "{name}"
        );
    }
    let [(check, inputs), (repin, command), _] = components();
    let (check, repin) = (check.jobs(inputs), repin.jobs(command));
    for job in [&guide[".repin"], &check["repin-check"], &repin["repin"]] {
        let lines = scripts(job);
        let at = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
        assert!(at("curl") < at("sha256sum --check") && at("sha256sum") < at("tar -xzf"));
    }
}

/// A change of the policy in a merge request is compared with the target branch only with `--remote`.
#[test]
fn checks_of_merge_requests_compare_the_policy() {
    let (guide, check) = (guide(), Component::read("check.yml").jobs(&[]));
    for job in [&guide["repin-check"], &check["repin-check"]] {
        let lines = scripts(job);
        let call = lines
            .iter()
            .position(|line| line.starts_with("repin check --remote "));
        let fetch = lines.iter().position(|line| {
            line.contains("refs/remotes/origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
        });
        assert!(fetch.is_some() && fetch < call, "{lines:#?}");
        assert_eq!(job["variables"]["GIT_DEPTH"], "0");
    }
}

#[test]
fn scripts_of_gitlab_are_shell() {
    let mut count = 0;
    let with_inputs = components().map(|(component, inputs)| component.jobs(inputs));
    for file in with_inputs.into_iter().chain([guide()]) {
        for job in file.as_object().unwrap().values() {
            for line in scripts(job) {
                count += 1;
                let parsed = Command::new("bash")
                    .args(["-n", "-c", &line])
                    .output()
                    .unwrap();
                let errors = String::from_utf8_lossy(&parsed.stderr);
                assert!(parsed.status.success(), "{line}: {errors}");
                // An event can fill these variables.
                let unquoted = line.contains(" $CI_MERGE_REQUEST") || line.contains(" $ROLLBACK");
                assert!(!unquoted, "{line}");
            }
        }
    }
    assert!(count > 20, "{count}");
}

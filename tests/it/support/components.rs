//! Files of GitLab CI with inputs, as GitLab inserts them.

use std::{collections::BTreeMap, fs, path::Path};

use regex::{Captures, Regex};
use serde_json::Value;

/// A file with a header and jobs.
pub(crate) struct Component {
    pub(crate) header: Value,
    jobs: String,
    patterns: BTreeMap<String, Regex>,
    blocks: Regex,
}

impl Component {
    /// The component with this file name in `templates/`.
    pub(crate) fn read(name: &str) -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::parse(&fs::read_to_string(top.join("templates").join(name)).unwrap())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let (header, jobs) = text.split_once("\n---\n").unwrap();
        let header: Value = serde_yaml_ng::from_str(header).unwrap();
        let mut patterns = BTreeMap::new();
        for (name, facts) in header["spec"]["inputs"].as_object().unwrap() {
            if let Some(pattern) = facts["regex"].as_str() {
                patterns.insert(name.clone(), Regex::new(pattern).unwrap());
            }
        }
        Self {
            header,
            jobs: jobs.to_owned(),
            patterns,
            blocks: Regex::new(r"\$\[\[ inputs\.([a-z_-]+) \]\]").unwrap(),
        }
    }

    /// The text of the jobs with inputs, or the name of one that its pattern refuses. GitLab inserts them before it parses
    /// the text, and a pattern has no slashes around it (`lib/ci/pipeline_creation/inputs/string_input.rb`,
    /// `lib/gitlab/ci/config/interpolation/text_template.rb`).
    pub(crate) fn text(&self, inputs: &[(&str, &str)]) -> Result<String, String> {
        let declared = self.header["spec"]["inputs"].as_object().unwrap();
        for (input, _) in inputs {
            assert!(declared.contains_key(*input), "{input}");
        }
        let value = |name: &str| {
            let default = &declared[name]["default"];
            let given = inputs.iter().find(|(input, _)| *input == name);
            let given = given.map(|(_, value)| (*value).to_owned());
            given.unwrap_or_else(|| default.as_str().map_or(default.to_string(), str::to_owned))
        };
        for (name, pattern) in &self.patterns {
            let value = value(name);
            // Older versions of GitLab compare no blank value with a pattern, and refuse it.
            if value.trim().is_empty() || !pattern.is_match(&value) {
                return Err(name.clone());
            }
        }
        let text = self
            .blocks
            .replace_all(&self.jobs, |found: &Captures<'_>| value(&found[1]));
        Ok(text.into_owned())
    }

    /// The jobs with inputs.
    pub(crate) fn jobs(&self, inputs: &[(&str, &str)]) -> Value {
        serde_yaml_ng::from_str(&self.text(inputs).unwrap()).unwrap()
    }
}

/// The lines of a job's scripts.
pub(crate) fn scripts(job: &Value) -> Vec<String> {
    let lists = ["before_script", "script"].map(|key| job[key].as_array());
    let lines = lists.into_iter().flatten().flatten();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

//! What rule sets say about a branch: how it is merged into, and which commits it takes.

use reqwest::Method;
use serde_json::Value;

use super::Github;
use crate::{
    config::MergeMethod,
    error::Error,
    forge::http::{PAGE, Paging},
};

/// The methods of merging, in the order of preference.
pub(super) const METHODS: [MergeMethod; 3] =
    [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase];

/// The rules of a branch, as far as the token may read them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    /// Whether its commits must have verified signatures.
    pub(super) signatures: bool,
    /// Whether merge commits are refused.
    pub(super) linear: bool,
    /// The methods that each rule about pull requests allows; a method must be in all of them.
    methods: Vec<Vec<MergeMethod>>,
}

impl Rules {
    fn of(rules: &[Value]) -> Self {
        let has = |kind: &str| rules.iter().any(|rule| rule["type"] == kind);
        let listed = rules
            .iter()
            .filter(|rule| rule["type"] == "pull_request")
            .filter_map(|rule| rule["parameters"]["allowed_merge_methods"].as_array());
        let allowed = |names: &Vec<Value>| {
            METHODS
                .into_iter()
                .filter(|method| names.iter().any(|name| name == method.as_str()))
                .collect()
        };
        Self {
            signatures: has("required_signatures"),
            linear: has("required_linear_history"),
            methods: listed.map(allowed).collect(),
        }
    }

    /// Whether the rules let a pull request be merged so.
    pub(super) fn allow(&self, method: MergeMethod) -> bool {
        let excluded = match method {
            MergeMethod::Merge => self.linear,
            // "Base branch requires signed commits. Rebase merges cannot be automatically signed by
            // GitHub."
            MergeMethod::Rebase => self.signatures,
            MergeMethod::Auto | MergeMethod::Squash => false,
        };
        !excluded && self.methods.iter().all(|methods| methods.contains(&method))
    }
}

impl Github {
    /// The rules of all active rule sets for a branch. A token that may not read them, and a server
    /// that has none, tell of no rule: then the forge itself refuses what a rule forbids.
    pub(super) async fn rules(&self, branch: &str) -> Result<Rules, Error> {
        let what = format!("reading the rules of {branch}");
        let request = self.request(Method::GET, &format!("rules/branches/{branch}"), what);
        let first = request.clone().query("per_page", PAGE).query("page", 1);
        let reply = self.http.send(&first).await?;
        if matches!(reply.status.as_u16(), 403 | 404) {
            return Ok(Rules::default());
        }
        let mut rules: Vec<Value> = reply.expect(&[200])?;
        if rules.len() >= PAGE {
            rules = self.http.pages(&request, Paging::Links).await?;
        }
        Ok(Rules::of(&rules))
    }
}

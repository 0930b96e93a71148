//! The rule sets and the protection of a branch: allowed merge methods, required signatures and required
//! contexts.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::Github;
use crate::{
    base::error::Error,
    forge::{MergeMethod, http::Paging},
};

/// The merge methods in the order of preference.
pub(super) const METHODS: [MergeMethod; 3] =
    [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase];

/// The rules of a branch in all active rule sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    /// Whether its commits must have verified signatures.
    pub(super) signatures: bool,
    /// Whether merge commits are refused.
    pub(super) linear: bool,
    /// Whether a pull request must contain the branch's head.
    pub(super) up_to_date: bool,
    /// The contexts that must pass.
    pub(super) contexts: Vec<String>,
    /// The methods that each rule about pull requests allows; a method must be in all of them.
    methods: Vec<Vec<MergeMethod>>,
}

#[derive(Deserialize)]
struct RuleRow {
    r#type: String,
    parameters: Option<ParametersRow>,
}

/// The parameters of rules of all types.
#[derive(Deserialize, Default)]
struct ParametersRow {
    allowed_merge_methods: Option<Vec<String>>,
    required_status_checks: Option<Vec<CheckRow>>,
    #[serde(default)]
    strict_required_status_checks_policy: bool,
}

#[derive(Deserialize)]
struct CheckRow {
    context: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefRow {
    /// The protection of the branch, as every reader of the repository sees it.
    pub(super) ref_update_rule: Option<RefUpdateRuleRow>,
}

impl RefRow {
    pub(super) fn requires_signatures(&self) -> bool {
        let rule = self.ref_update_rule.as_ref();
        rule.is_some_and(|rule| rule.requires_signatures)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefUpdateRuleRow {
    #[serde(default)]
    pub(super) requires_linear_history: bool,
    #[serde(default)]
    pub(super) requires_signatures: bool,
}

#[derive(Deserialize)]
struct RefData {
    r#ref: Option<RefRow>,
}

#[derive(Deserialize)]
struct StrictRow {
    #[serde(default)]
    strict: bool,
}

impl Rules {
    fn new(rows: Vec<RuleRow>) -> Self {
        let mut rules = Self::default();
        for RuleRow { r#type, parameters } in rows {
            let parameters = parameters.unwrap_or_default();
            match r#type.as_str() {
                "required_signatures" => rules.signatures = true,
                "required_linear_history" => rules.linear = true,
                "required_status_checks" => {
                    rules.up_to_date |= parameters.strict_required_status_checks_policy;
                    let checks = parameters.required_status_checks.unwrap_or_default();
                    let contexts = checks.into_iter().map(|check| check.context);
                    rules.contexts.extend(contexts);
                }
                "pull_request" => {
                    if let Some(names) = parameters.allowed_merge_methods {
                        let mut methods = METHODS.to_vec();
                        methods.retain(|method| names.iter().any(|name| name == method.as_str()));
                        rules.methods.push(methods);
                    }
                }
                _ => {}
            }
        }
        rules
    }

    /// Whether the rules allow merges by this method.
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
    /// Requests the rules of all active rule sets for a branch, none on a server without rule sets
    /// (older Enterprise Servers); `None` if the token may not see them.
    pub(super) async fn read_rules(&self, branch: &str) -> Result<Option<Rules>, Error> {
        let what = format!("reading the rules of {branch}");
        let request = self.request(Method::GET, &format!("rules/branches/{branch}"), what);
        let rules = match self.http.pages(&request, Paging::Links).await {
            Ok(rows) => Some(Rules::new(rows)),
            Err(error) if error.status == Some(404) => Some(Rules::default()),
            Err(error) if error.status == Some(403) => None,
            Err(error) => return Err(error),
        };
        self.rules
            .borrow_mut()
            .insert(branch.to_owned(), rules.clone());
        Ok(rules)
    }

    /// The latest rules of this run. They are requested before a commit is published, and with the
    /// required contexts, repeatedly during a long wait; every other decision uses the last result.
    /// Invisible rules count as none, because the forge itself enforces them.
    pub(super) async fn rules(&self, branch: &str) -> Result<Rules, Error> {
        let known = self.rules.borrow().get(branch).cloned();
        let rules = match known {
            Some(rules) => rules,
            None => self.read_rules(branch).await?,
        };
        Ok(rules.unwrap_or_default())
    }

    /// Whether a branch requires signed commits, by its current rules or its protection, which rule sets do not
    /// contain. `protected`: whether its protection does, if that is known.
    pub(super) async fn requires_signatures(
        &self,
        branch: &str,
        protected: Option<bool>,
    ) -> Result<bool, Error> {
        if protected == Some(true) {
            return Ok(true);
        }
        let rules = self.read_rules(branch).await?;
        if rules.is_some_and(|rules| rules.signatures) {
            return Ok(true);
        }
        if let Some(protected) = protected {
            return Ok(protected);
        }
        let query = include_str!("queries/required_signatures.graphql");
        let variables = json!({"ref": format!("refs/heads/{branch}")});
        let what = format!("reading the protection of {branch}");
        let data: Option<RefData> = self.query_repository(query, variables, &what).await?;
        let row = data.and_then(|data| data.r#ref);
        Ok(row.is_some_and(|row| row.requires_signatures()))
    }

    /// Whether a branch accepts only pull requests that contain its head, by a rule set or by the
    /// protection, which only tokens of administrators may read.
    pub(super) async fn requires_up_to_date(&self, branch: &str) -> Result<bool, Error> {
        if self.rules(branch).await?.up_to_date {
            return Ok(true);
        }
        let what = format!("reading whether {branch} requires up-to-date branches");
        let path = format!("branches/{branch}/protection/required_status_checks");
        let request = self.request(Method::GET, &path, what);
        let protection: Option<StrictRow> = self.http.find(&request, &[403, 404]).await?;
        Ok(protection.is_some_and(|protection| protection.strict))
    }
}

//! What rule sets and protections require of a branch: how it is merged into, which commits it
//! takes, and which contexts must pass.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Github;
use crate::{
    config::MergeMethod,
    error::Error,
    forge::{Head, http::Paging},
};

/// The methods of merging, in the order of preference.
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

/// A branch's head, and whether the branch has a protection, which rule sets do not show.
#[derive(Debug)]
pub(super) struct BranchHead {
    pub(super) head: Head,
    pub(super) protected: bool,
}

#[derive(Deserialize)]
struct Branch {
    commit: BranchCommit,
    #[serde(default)]
    protected: bool,
}

#[derive(Deserialize)]
struct BranchCommit {
    sha: String,
    commit: CommitObject,
}

#[derive(Deserialize)]
struct CommitObject {
    tree: TreeName,
}

#[derive(Deserialize)]
struct TreeName {
    sha: String,
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
        let checks = || {
            rules
                .iter()
                .filter(|rule| rule["type"] == "required_status_checks")
                .map(|rule| &rule["parameters"])
        };
        let contexts = checks()
            .filter_map(|parameters| parameters["required_status_checks"].as_array())
            .flatten()
            .filter_map(|check| check["context"].as_str());
        Self {
            signatures: has("required_signatures"),
            linear: has("required_linear_history"),
            up_to_date: checks()
                .any(|parameters| parameters["strict_required_status_checks_policy"] == true),
            contexts: contexts.map(str::to_owned).collect(),
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
    /// Reads the rules of all active rule sets for a branch, none on a server without rule sets
    /// (older Enterprise Servers); `None` if the token may not read them.
    pub(super) async fn read_rules(&self, branch: &str) -> Result<Option<Rules>, Error> {
        let what = format!("reading the rules of {branch}");
        let request = self.request(Method::GET, &format!("rules/branches/{branch}"), what);
        let rules = match self.http.pages::<Value>(&request, Paging::Links).await {
            Ok(rules) => Some(Rules::of(&rules)),
            Err(error) if error.status == Some(404) => Some(Rules::default()),
            Err(error) if error.status == Some(403) => None,
            Err(error) => return Err(error),
        };
        let mut known = self.rules.borrow_mut();
        known.insert(branch.to_owned(), rules.clone());
        Ok(rules)
    }

    /// The rules as this run read them last. A run reads them before it publishes a commit, and
    /// with the required contexts, which a long wait asks for again and again; whatever else
    /// depends on rules in between goes by the same reading. Rules that the token may not read count
    /// as none: then the forge itself refuses what a rule forbids.
    pub(super) async fn rules(&self, branch: &str) -> Result<Rules, Error> {
        let known = self.rules.borrow().get(branch).cloned();
        let rules = match known {
            Some(rules) => rules,
            None => self.read_rules(branch).await?,
        };
        Ok(rules.unwrap_or_default())
    }

    /// A branch's head, and whether the branch is protected; `None` if the branch is missing.
    pub(super) async fn branch_head(&self, name: &str) -> Result<Option<BranchHead>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| BranchHead {
            head: Head {
                commit: branch.commit.sha,
                tree: branch.commit.commit.tree.sha,
            },
            protected: branch.protected,
        }))
    }

    /// Whether a branch requires signed commits. `protected`: whether it has a protection, which
    /// rule sets do not show.
    pub(super) async fn requires_signatures(
        &self,
        branch: &str,
        protected: bool,
    ) -> Result<bool, Error> {
        if self.rules(branch).await?.signatures {
            return Ok(true);
        }
        Ok(protected && self.protection_requires_signatures(branch).await?)
    }

    /// The same by its protection alone, as everyone who may read the repository sees it.
    pub(super) async fn protection_requires_signatures(&self, branch: &str) -> Result<bool, Error> {
        let query = "query($owner:String!,$name:String!,$ref:String!)\
            {repository(owner:$owner,name:$name)\
            {ref(qualifiedName:$ref){refUpdateRule{requiresSignatures}}}}";
        let variables = json!({"owner": self.owner, "name": self.name,
                               "ref": format!("refs/heads/{branch}")});
        let what = format!("reading the protection of {branch}");
        let row = self.read_of_repository(query, variables, &what).await?;
        Ok(row.is_some_and(|row| row["ref"]["refUpdateRule"]["requiresSignatures"] == true))
    }

    /// Whether a branch takes only pull requests that contain its head: by a rule set, or by a
    /// protection where the token may read that, which only administrators may.
    pub(super) async fn requires_up_to_date(&self, branch: &str) -> Result<bool, Error> {
        if self.rules(branch).await?.up_to_date {
            return Ok(true);
        }
        let what = format!("reading whether {branch} requires up-to-date branches");
        let path = format!("branches/{branch}/protection/required_status_checks");
        let protection: Option<Value> = self
            .http
            .find(&self.request(Method::GET, &path, what), &[403, 404])
            .await?;
        Ok(protection.is_some_and(|protection| protection["strict"] == true))
    }
}

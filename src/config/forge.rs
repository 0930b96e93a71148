//! Where pull requests are opened: the block `forge`.
//!
//! One set for many repositories: the block `fleet`.

use std::marker::PhantomData;

use reqwest::Url;
use serde_json::json;

use super::{
    keys::{self, KeyType, Shape, block, choice, choices},
    reader::ErrorCollector,
    types::{Branch, Text, text_type},
    yaml::{Key, Node, Value},
};
use crate::{
    base::files::RelPath,
    forge::{Address, Kind, MergeMethod, NO_DISPATCH, Sign},
};

block! {
    /// The configured forge.
    pub struct Forge {
        /// Which forge; `auto` derives it from the remote.
        kind: ForgeKind = "auto",
        /// The base URL of its API (Gitea: with /api/v1; GitLab: the URL of the server; GitHub Enterprise Cloud with data residency:
        /// `https://api.TENANT.ghe.com`); `auto` for public forges.
        url: Auto<ApiUrl> = "auto",
        /// The repository as OWNER/NAME, on GitLab also GROUP/SUBGROUP/NAME; `auto` derives it from the remote.
        repository: Auto<OwnerName> = "auto",
        /// The base branch of pull requests. Absent: the repository's default branch.
        base: Option<Branch>,
        /// Labels of pull requests.
        labels: Vec<Text> = [],
        /// Status contexts that must pass.
        gates: Vec<Text> = [],
        /// Whether a pull request is merged automatically once its gates pass.
        auto_merge: bool = false,
        /// How a pull request is merged; `auto`: the first method that the base and the
        /// repository allow.
        merge_method: MergeMethod = "auto",
        /// Whether GitHub signs commits if the base requires signatures.
        sign: Sign = "auto",
        /// Workflows to start after the merge: names, started only if the merge starts none itself, or
        /// mappings `{ workflow: NAME, when: always }`, started after every merge.
        dispatch: Vec<DispatchedWorkflow> = [],
        /// Whether repin deletes its own branches after the merge of their pull requests.
        delete_branch: bool = true,
        /// Branches that `branch sync` may push to. With `auto_merge`, the source and the target
        /// of `branch promote` must be in this list or be the base branch.
        sync_targets: Vec<Branch> = [],
    }
    with |fields| {
        /// Whether `gates` is written.
        has_gates: bool = fields.has("gates"),
        /// The API of the server of a job of GitLab CI, which a run adds.
        job: Option<Url> = None,
    }
    rules |fields| {
        let names_workflows = dispatch.as_ref().is_some_and(|list| !list.is_empty());
        if let (Some(ForgeKind::Gitlab), Some(node)) = (&kind, fields.node("dispatch"))
            && names_workflows
        {
            let message = format!("`dispatch` is not possible on GitLab: {NO_DISPATCH}");
            fields.problems.report(node.span, message);
        }
    }
}

choices! {
    pub enum ForgeKind {
        Auto = "auto",
        Github = "github",
        /// Gitea or Forgejo.
        Gitea = "gitea",
        Gitlab = "gitlab",
    }
}

choice!(MergeMethod);
choice!(Sign);

impl ForgeKind {
    /// The configured kind; `None`: it is derived.
    fn known(self) -> Option<Kind> {
        match self {
            Self::Auto => None,
            Self::Github => Some(Kind::Github),
            Self::Gitea => Some(Kind::Gitea),
            Self::Gitlab => Some(Kind::Gitlab),
        }
    }
}

/// A workflow that is started after a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchedWorkflow {
    pub workflow: String,
    pub when: DispatchWhen,
}

choices! {
    pub enum DispatchWhen {
        /// Only after a merge that starts no workflow itself.
        Auto = "auto",
        /// After every merge, for a workflow that does not listen to pushes.
        Always = "always",
    }
}

block! {
    /// The keys of a workflow that is started after a merge.
    struct DispatchKeys {
        /// The file name of the workflow.
        workflow: Text,
        /// `auto`: only after a merge that starts no workflow itself; `always`: after every merge.
        when: DispatchWhen = "auto",
    }
}

impl KeyType for DispatchedWorkflow {
    type Value = Self;

    fn shape() -> Shape {
        let either = [Text::shape().schema, DispatchKeys::shape().schema];
        Shape::new("workflow", json!({"anyOf": either}))
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        if let Value::Map(_) = node.value {
            let DispatchKeys { workflow, when } = DispatchKeys::read(key, node, problems)?;
            return Some(Self { workflow, when });
        }
        Some(Self {
            workflow: Text::read(key, node, problems)?,
            when: DispatchWhen::Auto,
        })
    }
}

impl Forge {
    /// The configured part of the address.
    pub fn address(&self) -> Address {
        Address {
            kind: self.kind.known(),
            api: self.url.clone(),
            repository: self.repository.clone(),
            job: self.job.clone(),
        }
    }

    /// Whether a merge may be requested on GitLab although no pipeline exists: `gates` is written, and empty.
    pub fn merges_unchecked(&self) -> bool {
        self.auto_merge && self.has_gates && self.gates.is_empty()
    }

    /// Whether pull requests wait for checks: for `gates`, or to be merged automatically.
    pub fn waits_for_checks(&self) -> bool {
        self.auto_merge || !self.gates.is_empty()
    }
}

impl Default for Forge {
    fn default() -> Self {
        keys::defaults::<Self>()
    }
}

/// A text, or `auto`, which is `None`.
pub struct Auto<T>(PhantomData<T>);

impl<T: KeyType> KeyType for Auto<T> {
    type Value = Option<T::Value>;

    fn shape() -> Shape {
        let Shape { name, schema, .. } = T::shape();
        Shape::new(&name, json!({"anyOf": [{"const": "auto"}, schema]}))
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        match &node.value {
            Value::Scalar { text, .. } if text == "auto" => Some(None),
            _ => T::read(key, node, problems).map(Some),
        }
    }
}

pub struct ApiUrl;
text_type!(
    ApiUrl => String,
    "text",
    {"type": "string", "pattern": "^https?://[^@?#]+$"},
    api_url
);

fn api_url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!(
            "`{text}` is not the base URL of an API: http[s]://HOST[/PATH], without user name and query"
        )),
    }
}

/// A repository of a forge.
pub struct OwnerName;
text_type!(
    OwnerName => String,
    "text",
    {"type": "string", "pattern": "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$"},
    owner_name
);

fn owner_name(text: &str) -> Result<String, String> {
    if is_owner_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not OWNER/NAME"))
    }
}

/// Whether a text is `OWNER/NAME`, or the path of a project of GitLab in groups.
pub(crate) fn is_owner_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    text.contains('/') && text.split('/').all(is_part)
}

block! {
    /// The rules for the repositories of a fleet.
    pub struct Fleet {
        /// The configuration file of each repository, from the top of the repository.
        config: RelPath = "repin.yaml",
        /// Whether a repository is refused if its history does not show a fact, such as the order of
        /// two builds (`required`), or the check is skipped and reported (`recent`).
        history: FleetHistory = "required",
        /// Whether a repository without a configuration is skipped (`skip`) or a failure
        /// (`fail`).
        when_unconfigured: WhenUnconfigured = "skip",
        /// Whether a repository with a configuration that has `verify`, `inventory`, a contract,
        /// `smoke` or `outside: refuse` is refused (`refuse`), or promoted without them (`ignore`).
        own_policy: OwnPolicy = "refuse",
    }
}

choices! {
    pub enum FleetHistory {
        Required = "required",
        Recent = "recent",
    }
}

choices! {
    pub enum WhenUnconfigured {
        Skip = "skip",
        Fail = "fail",
    }
}

choices! {
    pub enum OwnPolicy {
        Refuse = "refuse",
        Ignore = "ignore",
    }
}

impl Default for Fleet {
    fn default() -> Self {
        keys::defaults::<Self>()
    }
}

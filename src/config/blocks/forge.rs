//! Where pull requests go: the block `forge`.

use super::branch;
use crate::config::{raw::ErrorCollector, yaml::Node};

/// The forge, as far as it is configured.
#[derive(Debug, Clone, Default)]
pub struct Forge {
    /// Which one.
    pub kind: ForgeKind,
    /// The API's base; `None`: by the remote.
    pub url: Option<String>,
    /// `owner/name`; `None`: by the remote.
    pub repository: Option<String>,
    /// The base branch; `None`: the repository's default.
    pub base: Option<String>,
    /// Labels of pull requests.
    pub labels: Vec<String>,
    /// Required status contexts.
    pub gates: Vec<String>,
    /// Whether merging is armed.
    pub auto_merge: bool,
    /// How pull requests are merged.
    pub merge_method: MergeMethod,
    /// Whether the forge may be asked to sign commits.
    pub sign: Sign,
    /// Workflows to start after the merge.
    pub dispatch: Vec<String>,
    /// Branches that may be pushed to by a sync.
    pub sync_targets: Vec<String>,
}

impl Forge {
    /// Whether something waits for the checks of a pull request: gates, or a merge by itself.
    pub fn waits_for_checks(&self) -> bool {
        self.auto_merge || !self.gates.is_empty()
    }
}

/// Kinds of forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForgeKind {
    /// By the remote.
    #[default]
    Auto,
    /// GitHub.
    Github,
    /// Gitea or Forgejo.
    Gitea,
}

/// How a pull request is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergeMethod {
    /// As the base and the repository allow.
    #[default]
    Auto,
    /// With a merge commit.
    Merge,
    /// As one commit.
    Squash,
    /// Commit by commit, without a merge commit.
    Rebase,
}

impl MergeMethod {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Merge => "merge",
            Self::Squash => "squash",
            Self::Rebase => "rebase",
        }
    }
}

/// Whether the forge may be asked to sign commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sign {
    /// Where the base requires signed commits.
    #[default]
    Auto,
    /// Never.
    Never,
}

pub(in crate::config) fn forge(g: &ErrorCollector, node: &Node) -> Option<Forge> {
    let fields = g.map(node)?;
    let kinds = [
        ("auto", ForgeKind::Auto),
        ("github", ForgeKind::Github),
        ("gitea", ForgeKind::Gitea),
    ];
    let automatic =
        |found: Option<Option<String>>| found.map(|inner| inner.filter(|text| text != "auto"));
    let kind = fields.or("kind", ForgeKind::Auto, |n| g.choice(n, &kinds));
    let url = automatic(fields.optional("url", |n| g.parsed(n, api)));
    let repository = automatic(fields.optional("repository", |n| g.parsed(n, owner_name_or_auto)));
    let base = fields.optional("base", |n| g.parsed(n, branch));
    let labels = fields.or("labels", Vec::new(), |n| g.strings(n));
    let gates = fields.or("gates", Vec::new(), |n| g.strings(n));
    let auto_merge = fields.or("auto_merge", false, |n| g.boolean(n));
    let methods = [
        MergeMethod::Auto,
        MergeMethod::Merge,
        MergeMethod::Squash,
        MergeMethod::Rebase,
    ]
    .map(|method| (method.as_str(), method));
    let merge_method = fields.or("merge_method", MergeMethod::Auto, |n| g.choice(n, &methods));
    let signs = [("auto", Sign::Auto), ("never", Sign::Never)];
    let sign = fields.or("sign", Sign::Auto, |n| g.choice(n, &signs));
    let dispatch = fields.or("dispatch", Vec::new(), |n| g.strings(n));
    let sync_targets = fields.or("sync_targets", Vec::new(), |n| g.each(n, branch));
    fields.done();
    Some(Forge {
        kind: kind?,
        url: url?,
        repository: repository?,
        base: base?,
        labels: labels?,
        gates: gates?,
        auto_merge: auto_merge?,
        merge_method: merge_method?,
        sign: sign?,
        dispatch: dispatch?,
        sync_targets: sync_targets?,
    })
}

fn api(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        _ if text == "auto" => Ok(text.to_owned()),
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!(
            "`{text}` is not the base URL of an API: http[s]://HOST[/PATH], without user name and query"
        )),
    }
}

/// Whether a text is `OWNER/NAME`.
pub fn is_owner_name(text: &str) -> bool {
    let good = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| good(owner) && good(name))
}

fn owner_name_or_auto(text: &str) -> Result<String, String> {
    match text {
        "auto" => Ok(text.to_owned()),
        _ => owner_name(text),
    }
}

pub(super) fn owner_name(text: &str) -> Result<String, String> {
    if is_owner_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not OWNER/NAME"))
    }
}

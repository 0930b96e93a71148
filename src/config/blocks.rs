//! The optional blocks of the configuration: inventory, smoke, prune, freshness, forge.

use std::time::Duration;

use regex::bytes::Regex;

use super::{
    duration,
    path::{Glob, RelPath},
    raw::Gather,
    template::check_branch,
    yaml::{Key, Node},
};

/// What an image has to contain.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The absolute folder in the image that is listed.
    pub root: String,
    /// The user whose permissions count; `None`: everything can be read.
    pub user: Option<String>,
    /// What is counted, in the order of the file.
    pub kinds: Vec<Kind>,
    /// Globs under the root that must each match a file.
    pub required_files: Vec<Glob>,
    /// Globs of files that must not be there; without a slash they match base names.
    pub forbidden_files: Vec<Glob>,
    /// The exact mode of every folder under the root.
    pub directory_mode: Option<u32>,
    /// The exact mode of every file under the root.
    pub file_mode: Option<u32>,
    /// Labels that must be there and not be empty.
    pub required_labels: Vec<String>,
    /// The absolute path of a copy of the contract in the image.
    pub embedded_contract: Option<String>,
}

/// One kind of thing that an image contains.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its name: a key of contracts and of listings.
    pub name: String,
    /// Patterns against paths relative to the root; the capture group is the thing's name.
    pub paths: Vec<Regex>,
    /// Whether contracts may list what must not be there.
    pub must_not_contain: bool,
    /// Whether there has to be at least one.
    pub non_empty: bool,
}

/// A command that has to work in the image.
#[derive(Debug, Clone)]
pub struct Smoke {
    /// The arguments.
    pub command: Vec<String>,
    /// The user to run as.
    pub user: Option<String>,
    /// Names of environment variables that are passed on.
    pub env: Vec<String>,
    /// Whether the network can be reached.
    pub network: bool,
    /// After this it is killed.
    pub timeout: Duration,
    /// What runs it.
    pub engine: Engine,
    /// Flags of the engine's run command.
    pub engine_args: Vec<String>,
    /// Whether an unavailable engine is a `skip` instead of a failure.
    pub skip_when_unavailable: bool,
}

/// Container engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Whichever works.
    Auto,
    /// podman.
    Podman,
    /// docker.
    Docker,
}

/// What may be deleted.
#[derive(Debug, Clone)]
pub struct Prune {
    /// How versions are listed and deleted.
    pub backend: PruneBackend,
    /// Every tag of a candidate matches.
    pub tags: regex::Regex,
    /// Candidates are older.
    pub older_than: Duration,
    /// More candidates of one image than this: nothing is deleted.
    pub limit: usize,
    /// Tags that protect their version.
    pub protect: Vec<regex::Regex>,
    /// Whether untagged versions are candidates.
    pub untagged: bool,
}

/// How versions are listed and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneBackend {
    /// By the registry's host.
    Auto,
    /// GitHub's packages API.
    Ghcr,
    /// The OCI distribution API.
    Registry,
}

/// A pinned reference to another repository.
#[derive(Debug, Clone)]
pub struct Freshness {
    /// Its name in reports.
    pub name: String,
    /// The file that holds the pinned reference.
    pub file: RelPath,
    /// Where in the file (RFC 6901).
    pub pointer: String,
    /// A URL or a path.
    pub repository: String,
    /// The environment variable that holds the token.
    pub token_env: Option<String>,
    /// The branch that it is compared with.
    pub branch: String,
    /// Only commits that touch these count; empty: all.
    pub paths: Vec<String>,
    /// Lists in files that give more paths.
    pub paths_from: Vec<PathsFrom>,
    /// The calendar gap that is still fresh.
    pub max_gap: Duration,
    /// The issue that is kept while it is stale.
    pub issue: Option<Issue>,
}

/// A list in a file, each item of which gives a path.
#[derive(Debug, Clone)]
pub struct PathsFrom {
    /// The YAML or JSON file.
    pub file: RelPath,
    /// The list in it (RFC 6901).
    pub pointer: String,
    /// The path; `{}` is the item.
    pub path: String,
}

/// An issue of a forge.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Its exact title.
    pub title: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// The forge, as far as it is configured.
#[derive(Debug, Clone)]
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
    /// Workflows to start after the merge.
    pub dispatch: Vec<String>,
    /// Branches that may be pushed to by a sync.
    pub sync_targets: Vec<String>,
}

/// Kinds of forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    /// By the remote.
    Auto,
    /// GitHub.
    Github,
    /// Gitea or Forgejo.
    Gitea,
}

fn text(g: &Gather, node: &Node) -> Option<String> {
    g.nonempty(node).map(str::to_owned)
}

fn absolute(g: &Gather, node: &Node) -> Option<String> {
    g.parsed(node, |text| match text.strip_prefix('/').map(RelPath::parse) {
        Some(Ok(path)) => Ok(format!("/{path}")),
        Some(Err(_)) if text == "/" => Ok(text.to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("`{text}` is not an absolute path in the image")),
    })
}

pub(super) fn inventory(g: &Gather, node: &Node) -> Option<Inventory> {
    let fields = g.map(node)?;
    let root = fields.or("root", "/".to_owned(), |n| absolute(g, n));
    let user = fields.optional("user", |n| text(g, n));
    let kinds = fields.or("kinds", Vec::new(), |n| {
        let kinds: Vec<_> = g.map(n)?.entries().iter().map(|(key, value)| kind(g, key, value)).collect();
        kinds.into_iter().collect()
    });
    let required_files = fields.or("required_files", Vec::new(), |n| g.each(n, Glob::parse));
    let forbidden_files = fields.or("forbidden_files", Vec::new(), |n| g.each(n, Glob::parse));
    let modes = fields.or("modes", (None, None), |n| modes(g, n));
    let required_labels = fields.or("required_labels", Vec::new(), |n| g.strings(n));
    let embedded_contract = fields.optional("embedded_contract", |n| absolute(g, n));
    fields.done();
    let (directory_mode, file_mode) = modes?;
    Some(Inventory {
        root: root?,
        user: user?,
        kinds: kinds?,
        required_files: required_files?,
        forbidden_files: forbidden_files?,
        directory_mode,
        file_mode,
        required_labels: required_labels?,
        embedded_contract: embedded_contract?,
    })
}

fn kind(g: &Gather, key: &Key, node: &Node) -> Option<Kind> {
    if key.text.is_empty() {
        g.report(key.span, "a kind needs a name");
    }
    let fields = g.map(node)?;
    let paths = fields.required("paths", |n| g.each(n, name_pattern));
    let must_not_contain =
        fields.or("must_not_contain", true, |n| g.choice(n, &[("supported", true), ("unsupported", false)]));
    let non_empty = fields.or("non_empty", false, |n| g.boolean(n));
    fields.done();
    Some(Kind { name: key.text.clone(), paths: paths?, must_not_contain: must_not_contain?, non_empty: non_empty? })
}

/// A pattern with one capture group, for paths that need not be UTF-8.
fn name_pattern(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|e| format!("the pattern does not compile: {e}"))?;
    match regex.captures_len() {
        2 => Ok(regex),
        _ => Err("the pattern needs exactly one capture group: the name".to_owned()),
    }
}

fn modes(g: &Gather, node: &Node) -> Option<(Option<u32>, Option<u32>)> {
    let mode = |n: &Node| {
        g.parsed(n, |text| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mode),
            _ => Err(format!("`{text}` is not a mode: up to four octal digits, such as \"0644\"")),
        })
    };
    let fields = g.map(node)?;
    let directories = fields.optional("directories", mode);
    let files = fields.optional("files", mode);
    fields.done();
    Some((directories?, files?))
}

pub(super) fn smoke(g: &Gather, node: &Node) -> Option<Smoke> {
    let fields = g.map(node)?;
    let engines = [("auto", Engine::Auto), ("podman", Engine::Podman), ("docker", Engine::Docker)];
    let command = fields.required("command", |n| g.strings(n));
    let user = fields.optional("user", |n| text(g, n));
    let env = fields.or("env", Vec::new(), |n| g.each(n, variable));
    let network = fields.or("network", false, |n| g.boolean(n));
    let timeout = fields.or("timeout", Duration::from_secs(60), |n| g.parsed(n, duration::parse));
    let engine = fields.or("engine", Engine::Auto, |n| g.choice(n, &engines));
    let engine_args = fields.or("engine_args", Vec::new(), |n| g.strings(n));
    let skip = fields.or("when_unavailable", false, |n| g.choice(n, &[("refuse", false), ("skip", true)]));
    fields.done();
    Some(Smoke {
        command: command?,
        user: user?,
        env: env?,
        network: network?,
        timeout: timeout?,
        engine: engine?,
        engine_args: engine_args?,
        skip_when_unavailable: skip?,
    })
}

/// The name of an environment variable.
fn variable(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.bytes().all(good) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the name of an environment variable (its value has no place here)"))
    }
}

fn branch(text: &str) -> Result<String, String> {
    check_branch(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| format!("the pattern does not compile: {error}"))
}

pub(super) fn prune(g: &Gather, node: &Node) -> Option<Prune> {
    let fields = g.map(node)?;
    let backends = [("auto", PruneBackend::Auto), ("ghcr", PruneBackend::Ghcr), ("registry", PruneBackend::Registry)];
    let backend = fields.or("backend", PruneBackend::Auto, |n| g.choice(n, &backends));
    let tags = fields.or("tags", regex("^pending-").ok()?, |n| g.parsed(n, regex));
    let older_than = fields.or("older_than", Duration::from_secs(14 * 86_400), |n| g.parsed(n, duration::parse));
    let limit = fields.or("limit", 50, |n| g.number(n));
    let protect = fields.or("protect", vec![regex("^[0-9a-f]{40}$").ok()?], |n| g.each(n, regex));
    let untagged = fields.or("untagged", false, |n| g.boolean(n));
    fields.done();
    Some(Prune {
        backend: backend?,
        tags: tags?,
        older_than: older_than?,
        limit: limit?,
        protect: protect?,
        untagged: untagged?,
    })
}

pub(super) fn freshness(g: &Gather, node: &Node) -> Option<Vec<Freshness>> {
    let entries: Vec<_> = g.list(node)?.iter().map(|item| fresh(g, item)).collect();
    entries.into_iter().collect()
}

fn fresh(g: &Gather, node: &Node) -> Option<Freshness> {
    let fields = g.map(node)?;
    let name = fields.required("name", |n| text(g, n));
    let pinned = fields.required("pinned", |n| {
        let fields = g.map(n)?;
        let file = fields.required("file", |n| g.parsed(n, RelPath::parse));
        let pointer = fields.required("pointer", |n| g.parsed(n, pointer));
        fields.done();
        Some((file?, pointer?))
    });
    let repository = fields.required("repository", |n| g.parsed(n, remote));
    let token_env = fields.optional("token_env", |n| g.parsed(n, variable));
    let branch = fields.or("branch", "main".to_owned(), |n| g.parsed(n, branch));
    let path = |text: &str| RelPath::parse(text).map(|_| text.to_owned());
    let paths = fields.or("paths", Vec::new(), |n| g.each(n, path));
    let paths_from = fields.or("paths_from", Vec::new(), |n| {
        let items: Vec<_> = g.list(n)?.iter().map(|item| paths_from(g, item)).collect();
        items.into_iter().collect()
    });
    let max_gap = fields.or("max_gap", Duration::from_secs(14 * 86_400), |n| g.parsed(n, duration::parse));
    let issue = fields.optional("issue", |n| {
        let fields = g.map(n)?;
        let title = fields.required("title", |n| text(g, n));
        let labels = fields.or("labels", Vec::new(), |n| g.strings(n));
        fields.done();
        Some(Issue { title: title?, labels: labels? })
    });
    fields.done();
    let (file, pointer) = pinned?;
    Some(Freshness {
        name: name?,
        file,
        pointer,
        repository: repository?,
        token_env: token_env?,
        branch: branch?,
        paths: paths?,
        paths_from: paths_from?,
        max_gap: max_gap?,
        issue: issue?,
    })
}

fn paths_from(g: &Gather, node: &Node) -> Option<PathsFrom> {
    let fields = g.map(node)?;
    let file = fields.required("file", |n| g.parsed(n, RelPath::parse));
    let at = fields.required("pointer", |n| g.parsed(n, pointer));
    let path = fields.required("path", |n| {
        g.parsed(n, |text| match RelPath::parse(text) {
            Ok(_) if text.contains("{}") => Ok(text.to_owned()),
            Ok(_) => Err("`{}` is missing: it stands for the item".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    });
    fields.done();
    Some(PathsFrom { file: file?, pointer: at?, path: path? })
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a JSON pointer (RFC 6901): it begins with `/`"))
    }
}

/// A git remote; user names and passwords don't belong in a file.
fn remote(text: &str) -> Result<String, String> {
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    let authority = after_scheme.map(|rest| rest.split('/').next().unwrap_or_default());
    if authority.is_some_and(|a| a.contains('@') && a.contains(':')) {
        return Err("a password has no place here: name its variable in `token_env`".into());
    }
    if text.starts_with('-') || text.contains(char::is_control) || text.contains("::") {
        return Err("this is neither a URL nor a path".into());
    }
    Ok(text.to_owned())
}

pub(super) fn forge(g: &Gather, node: &Node) -> Option<Forge> {
    let fields = g.map(node)?;
    let kinds = [("auto", ForgeKind::Auto), ("github", ForgeKind::Github), ("gitea", ForgeKind::Gitea)];
    let automatic = |found: Option<Option<String>>| found.map(|inner| inner.filter(|text| text != "auto"));
    let kind = fields.or("kind", ForgeKind::Auto, |n| g.choice(n, &kinds));
    let url = automatic(fields.optional("url", |n| g.parsed(n, api)));
    let repository = automatic(fields.optional("repository", |n| g.parsed(n, owner_name)));
    let base = fields.optional("base", |n| g.parsed(n, branch));
    let labels = fields.or("labels", Vec::new(), |n| g.strings(n));
    let gates = fields.or("gates", Vec::new(), |n| g.strings(n));
    let auto_merge = fields.or("auto_merge", false, |n| g.boolean(n));
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
        dispatch: dispatch?,
        sync_targets: sync_targets?,
    })
}

fn api(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        _ if text == "auto" => Ok(text.to_owned()),
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("`{text}` is not the base URL of an API: http[s]://HOST[/PATH], without user name and query")),
    }
}

fn owner_name(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match text.split_once('/') {
        _ if text == "auto" => Ok(text.to_owned()),
        Some((owner, name)) if good(owner) && good(name) => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not OWNER/NAME")),
    }
}

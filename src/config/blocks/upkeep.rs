//! What is kept, and how old it may be: the blocks `prune` and `freshness`.

use std::time::Duration;

use super::{branch, handed_on, text};
use crate::{
    config::{duration, path::RelPath, raw::ErrorCollector, yaml::Node},
    oci::PatternError,
};

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
    /// Other repositories that pin the images.
    pub also_pinned_in: Vec<AlsoPinned>,
}

/// Another repository that pins images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlsoPinned {
    /// A URL or a path.
    pub repository: String,
    /// The branches that count; `None`: every branch, and every tag.
    pub branches: Option<Vec<String>>,
    /// The environment variable that holds the token.
    pub token_env: Option<String>,
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

fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| PatternError::new(&error).to_string())
}

pub(in crate::config) fn prune(g: &ErrorCollector, node: &Node) -> Option<Prune> {
    let fields = g.map(node)?;
    let backends = [
        ("auto", PruneBackend::Auto),
        ("ghcr", PruneBackend::Ghcr),
        ("registry", PruneBackend::Registry),
    ];
    let backend = fields.or("backend", PruneBackend::Auto, |n| g.choice(n, &backends));
    let tags = fields.or("tags", regex("^pending-").ok()?, |n| g.parsed(n, regex));
    let older_than = fields.or("older_than", Duration::from_secs(14 * 86_400), |n| {
        g.parsed(n, duration::parse)
    });
    let limit = fields.or("limit", 50, |n| g.number(n));
    let protect = fields.or("protect", vec![regex("^[0-9a-f]{40}$").ok()?], |n| {
        g.each(n, regex)
    });
    let untagged = fields.or("untagged", false, |n| g.boolean(n));
    let also_pinned_in = fields.or("also_pinned_in", Vec::new(), |n| {
        let entries: Vec<_> = g.list(n)?.iter().map(|item| also_pinned(g, item)).collect();
        entries.into_iter().collect()
    });
    fields.done();
    Some(Prune {
        backend: backend?,
        tags: tags?,
        older_than: older_than?,
        limit: limit?,
        protect: protect?,
        untagged: untagged?,
        also_pinned_in: also_pinned_in?,
    })
}

fn also_pinned(g: &ErrorCollector, node: &Node) -> Option<AlsoPinned> {
    let fields = g.map(node)?;
    let repository = fields.required("repository", |n| g.parsed(n, remote));
    let branches = fields.optional("branches", |n| {
        let branches = g.each(n, branch)?;
        if branches.is_empty() {
            g.report_hint(
                n.span,
                "the list of branches is empty",
                "leave `branches` out for every branch",
            );
            return None;
        }
        Some(branches)
    });
    let token_env = fields.optional("token_env", |n| g.parsed(n, handed_on(g)));
    fields.done();
    Some(AlsoPinned {
        repository: repository?,
        branches: branches?,
        token_env: token_env?,
    })
}

pub(in crate::config) fn freshness(g: &ErrorCollector, node: &Node) -> Option<Vec<Freshness>> {
    let entries: Vec<_> = g.list(node)?.iter().map(|item| fresh(g, item)).collect();
    entries.into_iter().collect()
}

fn fresh(g: &ErrorCollector, node: &Node) -> Option<Freshness> {
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
    let token_env = fields.optional("token_env", |n| g.parsed(n, handed_on(g)));
    let branch = fields.or("branch", "main".to_owned(), |n| g.parsed(n, branch));
    let path = |text: &str| RelPath::parse(text).map(|_| text.to_owned());
    let paths = fields.or("paths", Vec::new(), |n| g.each(n, path));
    let paths_from = fields.or("paths_from", Vec::new(), |n| {
        let items: Vec<_> = g.list(n)?.iter().map(|item| paths_from(g, item)).collect();
        items.into_iter().collect()
    });
    let max_gap = fields.or("max_gap", Duration::from_secs(14 * 86_400), |n| {
        g.parsed(n, duration::parse)
    });
    let issue = fields.optional("issue", |n| {
        let fields = g.map(n)?;
        let title = fields.required("title", |n| text(g, n));
        let labels = fields.or("labels", Vec::new(), |n| g.strings(n));
        fields.done();
        Some(Issue {
            title: title?,
            labels: labels?,
        })
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

fn paths_from(g: &ErrorCollector, node: &Node) -> Option<PathsFrom> {
    let fields = g.map(node)?;
    let file = fields.required("file", |n| g.parsed(n, RelPath::parse));
    let at = fields.required("pointer", |n| g.parsed(n, pointer));
    let path = fields.required("path", |n| {
        g.parsed(n, |text| match RelPath::parse(text) {
            Ok(_) if text.contains("{}") => Ok(text.to_owned()),
            Ok(_) => Err("`{}` (the item) is missing".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    });
    fields.done();
    Some(PathsFrom {
        file: file?,
        pointer: at?,
        path: path?,
    })
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a JSON pointer (RFC 6901): it must start with `/`"
        ))
    }
}

/// A git remote; user names and passwords don't belong in a file.
fn remote(text: &str) -> Result<String, String> {
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    let authority = after_scheme.map(|rest| rest.split('/').next().unwrap_or_default());
    if authority.is_some_and(|a| a.contains('@') && a.contains(':')) {
        return Err("the URL must not contain a password: name a variable in `token_env`".into());
    }
    if text.starts_with('-') || text.contains(char::is_control) || text.contains("::") {
        return Err("neither a URL nor a path".into());
    }
    Ok(text.to_owned())
}

//! The deletion of old versions: the block `prune`.

use std::time::Duration;

use super::{
    keys::{block, choices, refined_type},
    reader::ErrorCollector,
    types::{Branch, Remote, Variable},
    yaml::Node,
};

/// The default of `protect`: tags that are the id of a commit.
pub(crate) const COMMIT_TAGS: &str = "^[0-9a-f]{40}$";

block! {
    /// The versions of images that may be deleted.
    pub struct Prune {
        /// How versions are listed and deleted; `auto` uses GitHub's packages API (`ghcr`) for
        /// `ghcr.io`, unless `sources` redirects it and `forge` is absent, Amazon ECR's API (`ecr`) for its hosts,
        /// unless `sources` redirects them, and the distribution API (`registry`) for every other registry.
        backend: PruneBackend = "auto",
        /// A regular expression that every tag of a candidate must match.
        tags: regex::Regex = "^pending-",
        /// Minimum age of a candidate.
        older_than: Duration = "14d",
        /// Maximum number of candidates of an image; with more, no version is deleted.
        limit: usize = 50,
        /// Regular expressions; a tag that matches one protects its version.
        protect: Vec<regex::Regex> = [COMMIT_TAGS],
        /// Whether versions without any tag are candidates.
        untagged: bool = false,
        /// The behavior if the open pull requests of forks cannot be checked: report it, or delete
        /// nothing (exit 4).
        forks: ForkPolicy = "warn",
        /// Other repositories that pin the images; every digest and tag that they contain, ever
        /// pinned or promoted is protected.
        also_pinned_in: Vec<AlsoPinned> = [],
    }
}

block! {
    /// Another repository that pins images.
    #[derive(PartialEq, Eq)]
    pub struct AlsoPinned {
        /// The other repository: a URL without a password, or a path.
        repository: Remote,
        /// The branches that count. Absent: every branch, and the files of every tag.
        branches: Option<Branches>,
        /// The environment variable that contains the token for it; a forge token's name,
        /// `ACTIONS_*` and `DOCKER_AUTH_CONFIG` are refused.
        token_env: Option<Variable>,
    }
}

choices! {
    pub enum PruneBackend {
        /// The backend depends on the registry's host.
        Auto = "auto",
        /// GitHub's packages API.
        Ghcr = "ghcr",
        /// The OCI distribution API.
        Registry = "registry",
        /// The native API of Amazon ECR.
        Ecr = "ecr",
    }
}

choices! {
    pub enum ForkPolicy {
        /// The run reports it, and may delete.
        Warn = "warn",
        /// The run deletes nothing.
        Require = "require",
    }
}

/// At least one branch.
pub struct Branches;
refined_type!(Branches => Vec<Branch>, {"minItems": 1}, check_branches);

fn check_branches(branches: &[String], node: &Node, problems: &ErrorCollector) -> bool {
    if branches.is_empty() {
        problems.report_hint(
            node.span,
            "the list of branches is empty",
            "leave `branches` out for every branch",
        );
    }
    !branches.is_empty()
}

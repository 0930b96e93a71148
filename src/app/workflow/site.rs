//! The site of a run: the repository in which a set is promoted.
//!
//! A site provides the files with pins, the history of the set, and the place that receives the
//! plan. There are three: the work tree with its clone, the head of a branch on a forge with the
//! clone around the root, and the head of a branch on a forge without a clone, as in a fleet.

use std::collections::HashMap;

use super::{
    Access, OpenRequest, Services, SiteHistory, base_forge, connect, history::HeadOnForge,
};
use crate::{
    app::pull_request::Base,
    base::{
        code::Code,
        error::{Class, Error, Errors, SourceText},
        files::{Files, RelPath, Snapshot, WorkTree},
    },
    config::{self, Config, Operation},
    core::{
        apply::Session,
        checks::{self, Check, Status},
        history::HoldScope,
        outside::{self, Scope, TrackedTree},
        pins::{self, Found},
    },
    forge::{Forge, blob_id},
    git::{self, Git, ObjectId},
    trust::Verify,
};

/// The maximum size of a blob that is read from a local clone, in bytes.
pub(super) const MAX_LOCAL: u64 = 64 * 1024 * 1024;

/// Where a set is promoted.
pub(super) trait Site {
    /// The configuration at the site.
    fn config(&self) -> &Config;

    fn files(&self) -> &dyn Files;

    /// Whether the run sends requests to the forge.
    fn has_forge(&self) -> bool {
        false
    }

    /// Finds the pins, and checks the files as a whole: references outside the counted pins, and globs
    /// that match nothing.
    fn pins(&self, operation: Operation) -> Result<(Found, Vec<Check>), Errors>;

    /// The history for the site; by default that of the clone around the root.
    fn history(&self, services: &Services) -> SiteHistory {
        SiteHistory::for_verdict(self.config(), services)
    }
}

/// The work tree, with the clone around it.
pub(super) struct WorkTreeSite {
    pub(super) config: Config,
    pub(super) files: WorkTree,
    /// `None`: the plan is only shown.
    pub(super) change: Option<WorkTreeChange>,
}

/// The permission to change the work tree.
pub(super) struct WorkTreeChange {
    /// The lock.
    pub(super) session: Session,
    pub(super) commit: bool,
}

/// The head of a branch on a forge.
pub(super) struct BranchSite {
    pub(super) config: Config,
    pub(super) head: BranchHead,
    /// `None`: the pull request is only shown.
    pub(super) open: Option<OpenRequest>,
}

/// The head of the branch that receives pull requests.
pub(super) struct BranchHead {
    pub(super) forge: Forge,
    pub(super) base: Base,
    pub(super) files: Snapshot,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub(super) prefix: String,
    /// The branch of the history in the clone around the root; `None` without a clone.
    pub(super) history: Option<HeadOnForge>,
}

impl WorkTreeSite {
    pub(super) fn new(config: &Config, change: Option<WorkTreeChange>) -> Self {
        Self {
            config: config.clone(),
            files: WorkTree::new(&config.root),
            change,
        }
    }
}

impl Site for WorkTreeSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.files
    }

    fn pins(&self, operation: Operation) -> Result<(Found, Vec<Check>), Errors> {
        let config = &self.config;
        // The history is read after the files.
        git::start_version_check();
        let tree = TrackedTree::open(config);
        let found = pins::find(tree.files(), config)?;
        let outside = tree.search(config, &found, Scope::Counted);
        let outside = checks::check_outside(config, &found, &outside, operation);
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }
}

impl BranchSite {
    /// Reads the base branch from the forge, to show a pull request. It is read for each plan because it
    /// may have moved.
    pub(super) fn open(config: &Config, services: &Services) -> Result<Access<Self>, Errors> {
        let git = Git::discover(&config.root).map_err(Error::from)?;
        base_forge::check_known_bases(config, git.as_ref(), services)?;
        let forge = match connect(config, git.as_ref(), services)? {
            Access::Granted(forge) => forge,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        let work = read(config, git.as_ref(), forge);
        let (config, head) = services.wait(work, "reading the base branch")?;
        Ok(Access::Granted(Self {
            config,
            head,
            open: None,
        }))
    }
}

impl Site for BranchSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.head.files
    }

    fn has_forge(&self) -> bool {
        true
    }

    fn pins(&self, operation: Operation) -> Result<(Found, Vec<Check>), Errors> {
        let (config, base) = (&self.config, &self.head.base);
        let found = pins::find(&self.head.files, config)?;
        let outside = if self.head.history.is_some() {
            let outside = outside::commit(config, &base.head.commit, &base.branch, &found);
            checks::check_outside(config, &found, &outside, operation)
        } else {
            let reason = "a fleet reads no files but those that `files` matches";
            [
                Code::PIN_COUNTED_TWICE,
                Code::PIN_OUTSIDE,
                Code::DIGEST_OUTSIDE,
            ]
            .map(|code| Check::new(code, Status::Skip, reason))
            .to_vec()
        };
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }

    fn history(&self, services: &Services) -> SiteHistory {
        SiteHistory::of_clone(
            &self.config,
            self.head.history.as_ref(),
            HoldScope::All,
            services,
        )
    }
}

/// The checks of the files as a whole. `outside`: those of references outside the counted pins.
pub(super) fn checks_of_files(
    config: &Config,
    found: &Found,
    outside: Vec<Check>,
    operation: Operation,
) -> Vec<Check> {
    let mut checks = checks::check_unmatched_globs(config, found);
    checks.extend(outside);
    if operation == Operation::Promotion {
        checks.extend(checks::check_unpinned(config, found));
    }
    checks
}

/// Fetches the configuration and the files of the base branch's head.
async fn read(
    local: &Config,
    git: Option<&Git>,
    forge: Forge,
) -> Result<(Config, BranchHead), Errors> {
    let prefix = git.map_or_else(String::new, |git| {
        String::from_utf8_lossy(git.prefix()).into_owned()
    });
    let path = format!("{prefix}{}", local.file_name());
    let branch = local.forge.as_ref().and_then(|forge| forge.base.as_deref());
    let mut base = Base::read(&forge, branch).await?;
    let mut clone = git;

    // The files that the local configuration needs are likely those that the base's needs. Then one
    // round of requests is enough.
    let mut paths = base.paths(&prefix, &local.scanned, &listed_files(local));
    paths.push(path.clone());
    let mut same = unchanged_contents(local, &base, &prefix, &paths);
    let mut local_content = |id: &str| same.remove(id).or_else(|| content(&mut clone, id));
    base.fetch(&forge, &paths, &mut local_content).await?;
    let config = parse(local, &base, &path)?;
    base_forge::check_same(local, &config, &base.branch, git)?;
    let history = history_of(&forge, &base, &config).await?;
    let paths = base.paths(&prefix, &config.scanned, &listed_files(&config));
    base.fetch(&forge, &paths, &mut local_content).await?;
    let files = base.snapshot(&prefix);
    let head = BranchHead {
        forge,
        base,
        files,
        prefix,
        history: Some(history),
    };
    Ok((config, head))
}

/// The promoted branch and its head on the forge: the branch in `provenance.branch`, or else the
/// base branch.
async fn history_of(forge: &Forge, base: &Base, config: &Config) -> Result<HeadOnForge, Errors> {
    let configured = config.provenance.branch.as_deref();
    let name = configured.map_or(base.branch.as_str(), |branch| {
        branch.split_once('/').map_or(branch, |(_, name)| name)
    });
    if name == base.branch {
        return Ok(HeadOnForge {
            branch: base.branch.clone(),
            commit: base.head.commit.clone(),
        });
    }
    let head = forge.branch(name).await?.ok_or_else(|| {
        let message = format!(
            "{} has no branch {name}, which `provenance.branch` names",
            base.repo.full_name
        );
        let file = config.file_name();
        let hint = format!("push the branch, or correct `provenance.branch` in {file}");
        Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(hint))
    })?;
    Ok(HeadOnForge {
        branch: name.to_owned(),
        commit: head.commit,
    })
}

/// The contents of files that are the same in the work tree and on the base branch, by their ids.
fn unchanged_contents(
    local: &Config,
    base: &Base,
    prefix: &str,
    paths: &[String],
) -> HashMap<String, Vec<u8>> {
    let tree = WorkTree::new(&local.root);
    paths
        .iter()
        .filter_map(|path| {
            let id = &base.tree.entries.get(path)?.id;
            let path = RelPath::parse(path.strip_prefix(prefix)?).ok()?;
            let content = tree.read(&path).ok()?;
            (blob_id(&content, id) == *id).then(|| (id.clone(), content))
        })
        .collect()
}

/// The files that the configuration lists one by one.
pub(super) fn listed_files(config: &Config) -> Vec<RelPath> {
    let mut files = Vec::new();
    for image in &config.images {
        files.extend(image.contract.clone());
    }
    files.extend(config.report.template.clone());
    if let Some(verify) = &config.verify {
        files.extend(Verify::files(verify).cloned());
    }
    files
}

fn parse(local: &Config, base: &Base, path: &str) -> Result<Config, Errors> {
    let name = format!("{} ({path})", base.branch);
    let unusable = |reason: &str| {
        let problem = Error::input(
            Code::CONFIG,
            format!("the base branch's head has no usable configuration: {name} {reason}"),
        );
        Errors::from(problem.help(format!("merge {} into the base branch first", local.file)))
    };
    let content = base
        .content(path)
        .ok_or_else(|| unusable("does not exist"))?;
    let text = std::str::from_utf8(content).map_err(|_| unusable("is not UTF-8"))?;
    let source = SourceText {
        text: text.into(),
        name,
    };
    let config = Config {
        file: local.file.clone(),
        option: local.option.clone(),
        ..config::parse(&source, &local.root, &local.set_path)?
    };
    config.counts_pins()?;
    Ok(config)
}

/// A blob from the local clone; the first missing object disables the clone.
fn content(clone: &mut Option<&Git>, id: &str) -> Option<Vec<u8>> {
    let id = ObjectId::parse(id.as_bytes())?;
    let content = (*clone)?.blob(id, MAX_LOCAL).ok().flatten();
    if content.is_none() {
        *clone = None;
    }
    content
}

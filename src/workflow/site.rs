//! The site of a run: where a set is promoted.
//!
//! A site provides the files with pins, the history that judges the set, and the place that receives
//! the plan. There are three: the work tree with its clone, the head of a branch on a forge with the
//! clone around the root, and the head of a branch on a forge alone, as fleets have it.

use std::collections::HashMap;

use super::{
    Access, Intent, OpenRequest, Services, SiteHistory, Stop, Unconfigured, base_forge, connect,
    history::HeadOnForge, session,
};
use crate::{
    apply::Session,
    checks::{self, Check, Status},
    code::Code,
    config::{self, Config, Operation, RelPath, Verify},
    error::{Class, Error, Errors, SourceText},
    files::{Files, Snapshot, WorkTree},
    forge::{Forge, blob_id},
    git::{Git, ObjectId, Objects},
    outside::{self, Scope, TrackedTree},
    pins::{self, Found},
    pull_request::Base,
};

/// The maximum size of a content that is read from a local clone, in bytes.
const LOCAL_MAX: u64 = 64 * 1024 * 1024;

/// Where a set is promoted.
pub(super) struct Site {
    /// The configuration that counts there.
    pub(super) config: Config,
    pub(super) target: Target,
}

/// The place that receives a plan, with the change that the run may make.
pub(super) enum Target {
    /// The work tree. `None`: the plan is only shown.
    WorkTree(WorkTree, Option<WorkTreeChange>),
    /// A branch on a forge. `None`: the pull request is only shown.
    Branch(Box<BranchHead>, Option<OpenRequest>),
}

/// The permission to change the work tree.
pub(super) struct WorkTreeChange {
    /// The lock.
    pub(super) session: Session,
    /// Whether the change is committed.
    pub(super) commit: bool,
}

/// The head of the branch that receives pull requests.
pub(super) struct BranchHead {
    pub(super) forge: Box<dyn Forge>,
    pub(super) base: Base,
    pub(super) files: Snapshot,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub(super) prefix: String,
    /// The branch whose history the clone around the root can read; `None` without a clone.
    pub(super) history: Option<HeadOnForge>,
}

/// The result of an attempt to open a site.
pub(super) enum Opened {
    Site(Box<Site>),
    /// The lock is taken, or the token is missing and the run may be skipped.
    Stopped(Stop),
}

impl Site {
    /// Opens the site that `intent` requires: the work tree, or the base branch on the forge, which is
    /// read each time because it may have moved. A run that changes the work tree takes its lock and
    /// recovers from an interrupted run before any file is read.
    pub(super) fn open(
        config: &Config,
        operation: Operation,
        intent: Intent,
        unconfigured: Unconfigured,
        services: &Services,
    ) -> Result<Opened, Errors> {
        let open = match intent {
            Intent::Show => {
                session::warn_if_interrupted(config, &*services.console);
                return Ok(Self::work_tree(config, None));
            }
            Intent::Apply { commit } => {
                return Ok(match session::begin(config, operation.as_str(), services) {
                    Ok(session) => {
                        let change = WorkTreeChange { session, commit };
                        Self::work_tree(config, Some(change))
                    }
                    Err(errors) => Opened::Stopped(errors.into()),
                });
            }
            Intent::ShowPullRequest => None,
            Intent::OpenPullRequest(request) => Some(request),
        };
        let git = Git::discover(&config.root).map_err(Error::from)?;
        base_forge::known_here(config, git.as_ref(), services)?;
        let forge = match connect(config, git.as_ref(), services)? {
            Access::NoToken(reason) if unconfigured == Unconfigured::Skips => {
                return Ok(Opened::Stopped(Stop::Unconfigured(reason)));
            }
            access => access.granted()?,
        };
        let reading = read(config, git.as_ref(), forge);
        let (config, head) = services.wait(reading, "reading the base branch")??;
        let target = Target::Branch(Box::new(head), open);
        Ok(Opened::Site(Box::new(Self { config, target })))
    }

    fn work_tree(config: &Config, change: Option<WorkTreeChange>) -> Opened {
        let target = Target::WorkTree(WorkTree::new(&config.root), change);
        let config = config.clone();
        Opened::Site(Box::new(Self { config, target }))
    }

    pub(super) fn files(&self) -> &dyn Files {
        match &self.target {
            Target::WorkTree(files, _) => files,
            Target::Branch(head, _) => &head.files,
        }
    }

    /// The history in the clone.
    pub(super) fn history(&self, services: &Services) -> SiteHistory {
        let head = match &self.target {
            Target::WorkTree(..) => None,
            Target::Branch(head, _) => head.history.as_ref(),
        };
        SiteHistory::of_clone(&self.config, head, services)
    }

    /// The pins of the files, and the checks of the files as a whole: references outside the counted
    /// pins, and globs that match nothing.
    pub(super) fn pins(&self, operation: Operation) -> Result<(Found, Vec<Check>), Errors> {
        let config = &self.config;
        let (found, outside) = match &self.target {
            Target::WorkTree(..) => {
                let tree = TrackedTree::open(config);
                let found = pins::find(tree.files(), config)?;
                let outside = tree.search(config, &found, Scope::Counted);
                (found, outside)
            }
            Target::Branch(head, _) => {
                let found = pins::find(&head.files, config)?;
                let outside = if head.history.is_some() {
                    let (commit, branch) = (&head.base.head.commit, &head.base.branch);
                    outside::commit(config, commit, branch, &found)
                } else {
                    outside::Outside::default()
                };
                (found, outside)
            }
        };
        let mut checks = checks::unmatched_globs(config, &found);
        if self.reads_every_file() {
            checks.extend(checks::outside(config, &found, &outside, operation));
        } else {
            checks.extend([Code::PIN_OUTSIDE, Code::DIGEST_OUTSIDE].map(not_searched));
        }
        if operation == Operation::Promotion {
            checks.extend(checks::unpinned(config, &found));
        }
        Ok((found, checks))
    }

    /// Whether the site has more files than those that `files` matches.
    fn reads_every_file(&self) -> bool {
        match &self.target {
            Target::WorkTree(..) => true,
            Target::Branch(head, _) => head.history.is_some(),
        }
    }
}

/// A check of the whole repository that did not run.
fn not_searched(code: Code) -> Check {
    let reason = "a fleet reads no files but those that `files` matches";
    Check::new(code, Status::Skip, reason)
}

/// Reads the configuration and the files of the base branch's head.
async fn read(
    local: &Config,
    git: Option<&Git>,
    forge: Box<dyn Forge>,
) -> Result<(Config, BranchHead), Errors> {
    let prefix = git.map_or_else(String::new, |git| {
        String::from_utf8_lossy(git.prefix()).into_owned()
    });
    let path = format!("{prefix}{}", local.file_name());
    let branch = local.forge.as_ref().and_then(|forge| forge.base.as_deref());
    let mut base = Base::read(&*forge, branch).await?;
    let mut objects = git.and_then(|git| git.objects(|_| Ok(None)).ok());

    // What the local configuration needs is likely what the base's needs: then one round of
    // requests gets it all.
    let mut paths = base.paths(&prefix, &local.scanned, &named(local));
    paths.push(path.clone());
    let mut alike = alike(local, &base, &prefix, &paths);
    let mut at_hand = |id: &str| alike.remove(id).or_else(|| content(&mut objects, id));
    base.fetch(&*forge, &paths, &mut at_hand).await?;
    let config = parse(local, &base, &path)?;
    base_forge::same(local, &config, &base.branch, git)?;
    let history = history_of(&*forge, &base, &config).await?;
    let paths = base.paths(&prefix, &config.scanned, &named(&config));
    base.fetch(&*forge, &paths, &mut at_hand).await?;
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

/// The branch whose history counts, and its head on the forge: the base branch, unless
/// `provenance.branch` names another one.
async fn history_of(
    forge: &dyn Forge,
    base: &Base,
    config: &Config,
) -> Result<HeadOnForge, Errors> {
    let named = config.provenance.branch.as_deref();
    let named = named.map(|branch| branch.split_once('/').map_or(branch, |(_, name)| name));
    let Some(other) = named.filter(|name| *name != base.branch) else {
        return Ok(HeadOnForge {
            branch: base.branch.clone(),
            commit: base.head.commit.clone(),
        });
    };
    let head = forge.branch(other).await?.ok_or_else(|| {
        let message = format!(
            "{} has no branch {other}, which `provenance.branch` names",
            base.repo.full_name
        );
        let file = config.file_name();
        let hint = format!("push the branch, or correct `provenance.branch` in {file}");
        Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(hint))
    })?;
    Ok(HeadOnForge {
        branch: other.to_owned(),
        commit: head.commit,
    })
}

/// The contents of files that are the same in the work tree and on the base branch, by their ids.
fn alike(local: &Config, base: &Base, prefix: &str, paths: &[String]) -> HashMap<String, Vec<u8>> {
    let tree = WorkTree::new(&local.root);
    let same = |path: &String| {
        let id = &base.tree.entries.get(path)?.id;
        let content = tree
            .read(&RelPath::parse(path.strip_prefix(prefix)?).ok()?)
            .ok()?;
        (blob_id(&content, id) == *id).then(|| (id.clone(), content))
    };
    paths.iter().filter_map(same).collect()
}

/// Files that the configuration names one by one.
fn named(config: &Config) -> Vec<RelPath> {
    let contracts = config
        .images
        .iter()
        .filter_map(|image| image.contract.clone());
    let verify = config.verify.iter();
    let verified = verify.flat_map(Verify::files).cloned();
    let template = config.report.template.clone();
    contracts.chain(template).chain(verified).collect()
}

fn parse(local: &Config, base: &Base, path: &str) -> Result<Config, Errors> {
    let shown = format!("{} ({path})", base.branch);
    let fail = |reason: &str| {
        let problem = Error::input(
            Code::CONFIG,
            format!("the base branch's head has no usable configuration: {shown} {reason}"),
        );
        Errors::from(problem.help(format!("merge {} into the base branch first", local.file)))
    };
    let content = base.content(path).ok_or_else(|| fail("does not exist"))?;
    let text = std::str::from_utf8(content).map_err(|_| fail("is not UTF-8"))?;
    let source = SourceText {
        name: shown,
        text: text.into(),
    };
    Ok(Config {
        file: local.file.clone(),
        ..config::parse(&source, &local.root)?
    })
}

/// A content from the local clone's objects; after the first missing object the clone is not used
/// again.
fn content(objects: &mut Option<Objects<()>>, id: &str) -> Option<Vec<u8>> {
    let found = objects
        .as_mut()?
        .blob(ObjectId::parse(id.as_bytes())?, LOCAL_MAX)
        .ok()
        .flatten();
    if found.is_none() {
        *objects = None;
    }
    found
}

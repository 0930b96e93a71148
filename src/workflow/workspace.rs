//! The origin of a run's configuration and files and the target of its plan: the work tree, or the
//! base branch on a forge.

use std::collections::HashMap;

use super::{Access, Intent, Options, Services, Stop, Unconfigured, base_forge, connect};
use crate::{
    checks::{self, Check, Direction},
    config::{self, Config, RelPath, Verify},
    error::{Class, Error, Errors, SourceText},
    files::{Files, Snapshot, WorkTree},
    forge::{Forge, blob_id},
    git::{Git, ObjectId, Objects},
    outside::{self, Scope},
    pins::{self, Found},
    pull_request::Base,
};

/// The maximum size of a content that is read from a local clone, in bytes.
const LOCAL_MAX: u64 = 64 * 1024 * 1024;

/// Where a run works.
pub(super) struct Workspace {
    /// The configuration that counts there.
    pub(super) config: Config,
    pub(super) at: At,
}

pub(super) enum At {
    Tree(WorkTree),
    Forge(Box<Site>),
    /// The token is missing, and the run may be skipped.
    Unconfigured(String, WorkTree),
}

/// The head of the branch whose history counts, as the forge reports it.
#[derive(Clone)]
pub(super) struct HeadOnForge {
    /// The branch's name.
    pub(super) branch: String,
    /// The commit's name.
    pub(super) commit: String,
}

/// The base branch's head on a forge.
pub(super) struct Site {
    pub(super) forge: Box<dyn Forge>,
    pub(super) base: Base,
    history: HeadOnForge,
    pub(super) files: Snapshot,
    /// The root's path in the repository: empty, or with a `/` at its end.
    pub(super) prefix: String,
}

impl Workspace {
    /// Opens the workspace that `options` request. Under `--pr` it is read from the forge each
    /// time, because the base branch may have moved.
    pub(super) fn open(
        config: &Config,
        options: &Options,
        services: &Services,
    ) -> Result<Self, Errors> {
        let tree = WorkTree::new(&config.root);
        let here = |at| Self {
            config: config.clone(),
            at,
        };
        if matches!(options.intent, Intent::Show | Intent::Apply) {
            return Ok(here(At::Tree(tree)));
        }
        let git = Git::discover(&config.root).map_err(Error::from)?;
        base_forge::known_here(config, git.as_ref(), services)?;
        let forge = match connect(config, git.as_ref(), services)? {
            Access::NoToken(reason) if options.unconfigured == Unconfigured::Skips => {
                return Ok(here(At::Unconfigured(reason, tree)));
            }
            access => access.granted()?,
        };
        let work = read(config, git.as_ref(), forge);
        services.wait(work, "reading the base branch")?
    }

    pub(super) fn files(&self) -> &dyn Files {
        match &self.at {
            At::Tree(files) | At::Unconfigured(_, files) => files,
            At::Forge(site) => &site.files,
        }
    }

    /// Under `--pr`, the branch whose history counts and its head on the forge.
    pub(super) fn history(&self) -> Option<&HeadOnForge> {
        match &self.at {
            At::Forge(site) => Some(&site.history),
            At::Tree(_) | At::Unconfigured(..) => None,
        }
    }

    /// The pins of the files, and the other checks of the first stage: references outside the
    /// counted pins, and globs that match nothing.
    pub(super) fn look(&self, direction: Direction) -> Result<(Found, Vec<Check>), Errors> {
        let config = &self.config;
        let (found, outside) = match &self.at {
            At::Tree(_) | At::Unconfigured(..) => {
                outside::look(config, Scope::Counted, direction == Direction::Forward)?
            }
            At::Forge(site) => {
                let found = pins::find(&site.files, config)?;
                let (commit, branch) = (&site.base.head.commit, &site.base.branch);
                let mut outside = outside::commit(config, commit, branch, &found);
                if direction == Direction::Forward {
                    outside.unpinned = outside::unpinned(&site.files, config)?;
                }
                (found, outside)
            }
        };
        super::globs::places_differ(config, &found)?;
        let mut checks = checks::unmatched(config, &found);
        checks.extend(checks::outside(config, &found, &outside, direction));
        checks.extend(checks::unpinned(config, &outside.unpinned));
        Ok((found, checks))
    }

    /// Stops a run that has no token and may be skipped.
    pub(super) fn configured(&self) -> Result<(), Stop> {
        match &self.at {
            At::Unconfigured(reason, _) => Err(Stop::Unconfigured(reason.clone())),
            At::Tree(_) | At::Forge(_) => Ok(()),
        }
    }
}

/// The configuration and files of the base branch's head.
async fn read(
    local: &Config,
    git: Option<&Git>,
    forge: Box<dyn Forge>,
) -> Result<Workspace, Errors> {
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
    Ok(Workspace {
        config,
        at: At::Forge(Box::new(Site {
            forge,
            base,
            history,
            files,
            prefix,
        })),
    })
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
        Errors::from(Error::new(Class::Unavailable, "unavailable", message).help(hint))
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
            "config",
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

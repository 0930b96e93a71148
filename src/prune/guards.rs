//! What protects versions whatever their age and tags: pins here and on the remote's branches, and promote history.
//!
//! Computed anew in each run. The base branch and the open promote and rollback branches are those that the remote has
//! now; of a clone that knows another base, or not all of its history, nothing is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Refusal, refusal::Kind};
use crate::{
    config::{Config, Glob, Template},
    facts::{
        git::{Git, ObjectId},
        history::{History, Own, own_config},
    },
    files::{Files, Hazard, WorkTree},
    image::{Digest, Tag},
    pins,
};

/// What protects versions of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Digests that are pinned now, and where.
    pub pins: BTreeMap<Digest, String>,
    /// Digests that were pinned by any commit of promote history.
    pub history: BTreeSet<Digest>,
    /// Tags of revisions that were promoted or are being promoted, and where that is said.
    pub tags: BTreeMap<Tag, String>,
}

/// The branches that protect, as the remote had them.
#[derive(Debug)]
pub struct Branches {
    git: Git,
    remotes: BTreeSet<String>,
    bases: BTreeSet<(String, String)>,
    templates: Vec<(Template, String)>,
    tips: Tips,
}

/// Last commits by remote and branch.
type Tips = BTreeMap<(String, String), ObjectId>;

/// The largest file that is scanned in a commit's tree, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Gathers what protects each image, in the order of the configuration. `chosen`: the images that the run is about; what is
/// wrong with the pins of others does not matter to it.
pub fn gather(config: &Config, chosen: &[usize]) -> Result<(Vec<Guards>, Branches), Refusal> {
    let git = Git::open(&config.root)?;
    if git.is_shallow() {
        let message = "this clone is shallow, so what was ever promoted can't be told";
        let hint = "fetch the rest: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)";
        return Err(Refusal::later("shallow", message).hint(hint));
    }
    let branches = Branches::read(git, config)?;
    let mut gathering = Gathering { config, chosen, guards: vec![Guards::default(); config.images.len()] };
    gathering.files(&WorkTree::new(&config.root), config, "in the work tree")?;
    for (remote, base) in &branches.bases {
        gathering.history(&branches.git, &format!("{remote}/{base}"))?;
    }
    for ((remote, branch), tip) in &branches.tips {
        gathering.commit(&branches.git, tip, &format!("on {branch} of {remote}"))?;
        gathering.revision(branch, &branches.templates);
    }
    Ok((gathering.guards, branches))
}

/// Whether the branches that protect are still the same; asked again just before the first deletion.
pub fn unmoved(branches: &Branches) -> Result<(), Refusal> {
    let now = branches.ask()?;
    let moved = now.iter().find(|(name, tip)| branches.tips.get(*name) != Some(*tip));
    let gone = branches.bases.iter().find(|base| !now.contains_key(*base));
    match moved.map(|(name, _)| name).or(gone) {
        None => Ok(()),
        Some((remote, branch)) => {
            let message = format!("{branch} of {remote} was moved while this run looked at what it pins");
            Err(Refusal::later("base_moved", message).hint("run it again"))
        }
    }
}

impl Branches {
    fn read(git: Git, config: &Config) -> Result<Self, Refusal> {
        let history = git.branch(config.provenance.branch.as_deref())?;
        let (remote, name) = git.remote_of(&history)?;
        let mut bases = BTreeSet::from([(remote.clone(), name)]);
        let heads = git.heads(&remote)?;
        let configured = config.forge.as_ref().and_then(|forge| forge.base.clone());
        bases.extend(configured.or(heads.default).map(|base| (remote.clone(), base)));
        let mut templates = templates(config);
        for (remote, base) in &bases {
            let tip = git.branch(Some(&format!("{remote}/{base}")))?.tip;
            let there = heads.tips.get(base);
            if there != Some(&tip) {
                return Err(behind(remote, base, (&tip, there)));
            }
            // How the branches are called may have been changed there.
            if let Own::Config(there) = own_config(&git, &tip, config)? {
                templates.extend(self::templates(&there));
            }
        }
        // Pull requests may come from another place than history.
        let remotes = git.remotes()?.into_iter().filter(|name| *name == remote || name == "origin").collect();
        let mut branches = Self { git, remotes, bases, templates, tips: Tips::new() };
        branches.tips = branches.ask()?;
        branches.fetch()?;
        Ok(branches)
    }

    /// What the remotes have now.
    fn ask(&self) -> Result<Tips, Refusal> {
        let mut tips = Tips::new();
        for remote in &self.remotes {
            for (branch, tip) in self.git.heads(remote)?.tips {
                let name = (remote.clone(), branch);
                if self.bases.contains(&name) || revision_of(&name.1, &self.templates).is_some() {
                    tips.insert(name, tip);
                }
            }
        }
        Ok(tips)
    }

    /// Brings along the commits that are not here yet.
    fn fetch(&self) -> Result<(), Refusal> {
        for remote in &self.remotes {
            let mut missing = Vec::new();
            for ((_, branch), tip) in self.tips.iter().filter(|((of, _), _)| of == remote) {
                if !self.git.has_commit(tip)? {
                    missing.push((branch.as_str(), tip));
                }
            }
            if missing.is_empty() {
                continue;
            }
            let names: Vec<_> = missing.iter().map(|(branch, _)| *branch).collect();
            self.git.fetch_objects(remote, &names)?;
            for (branch, tip) in missing {
                if !self.git.has_commit(tip)? {
                    let message = format!("{branch} of {remote} was moved while it was fetched");
                    return Err(Refusal::later("base_moved", message).hint("run it again"));
                }
            }
        }
        Ok(())
    }
}

fn behind(remote: &str, base: &str, (here, there): (&ObjectId, Option<&ObjectId>)) -> Refusal {
    let there = there.map_or_else(|| "not there any more".to_owned(), ObjectId::short);
    let message = format!("{remote}/{base} is {} here, and on the remote it is {there}", here.short());
    Refusal::later("base_behind", message).hint(format!("fetch it: git fetch {remote}"))
}

fn templates(config: &Config) -> Vec<(Template, String)> {
    [&config.promote, &config.rollback].map(|naming| (naming.branch.clone(), config.name.clone())).into()
}

/// The revision that a branch of ours is for.
fn revision_of<'b>(branch: &'b str, templates: &[(Template, String)]) -> Option<&'b str> {
    let of = |(template, name): &(Template, String)| template.revision_in(branch, name).filter(|r| !r.is_empty());
    templates.iter().find_map(of)
}

struct Gathering<'c> {
    config: &'c Config,
    chosen: &'c [usize],
    guards: Vec<Guards>,
}

impl Gathering<'_> {
    /// What `files` pin; `config` says which of them count.
    fn files(&mut self, files: &dyn Files, config: &Config, place: &str) -> Result<(), Refusal> {
        let found = pins::find(files, config)?;
        if let Some((path, hazard)) =
            found.hazards.iter().find(|(_, hazard)| matches!(hazard, Hazard::Symlink | Hazard::Special))
        {
            let message = format!("what {path} {place} pins can't be told: {hazard}");
            return Err(Refusal::new(Kind::Failed, "file_unsafe", message)
                .hint("replace the link by a file of its own, or take it out of `files:`"));
        }
        if let Some(malformed) = found.malformed.iter().find(|pin| self.chosen.contains(&pin.what.image)) {
            let (file, line) = (&malformed.file, malformed.what.line);
            let message = format!("what {file}:{line} {place} pins can't be told: `{}`", malformed.what.text);
            return Err(Refusal::new(Kind::Failed, "pin_unsupported", message)
                .hint("write the digest in full, or make it a placeholder such as `<digest>`"));
        }
        for pin in found.pins {
            let told = || format!("{place} ({}:{})", pin.file, pin.what.line);
            self.guards[pin.what.image].pins.entry(pin.what.digest).or_insert_with(told);
        }
        Ok(())
    }

    /// What the tree of a commit pins, by its own configuration and by that of today.
    fn commit(&mut self, git: &Git, commit: &ObjectId, place: &str) -> Result<(), Refusal> {
        let mut globs: Vec<Glob> = self.config.files.clone();
        match own_config(git, commit, self.config)? {
            Own::Config(own) => globs.extend(own.files),
            Own::Today => {}
            Own::Unreadable(why) => {
                let message = format!("what is pinned {place} can't be told: its configuration can't be read: {why}");
                return Err(Refusal::later("unavailable", message).hint("mend the configuration there"));
            }
        }
        let at = git.files_at(commit, &globs, LARGEST)?;
        if let Some(path) = at.too_large {
            let message = format!("what is pinned {place} can't be told: {path} has more than 64 MiB");
            return Err(Refusal::later("unavailable", message).hint("take it out of `files:`"));
        }
        let config = Config { files: globs, ..self.config.clone() };
        self.files(&at.files, &config, place)
    }

    /// The revision that an open branch is for.
    fn revision(&mut self, branch: &str, templates: &[(Template, String)]) {
        let Some(text) = revision_of(branch, templates) else { return };
        let revision = self.config.revision.pattern.revision(text).ok();
        let tag = revision.and_then(|revision| self.config.revision.tag.tag(&revision).ok());
        if let Some(tag) = tag {
            for guards in &mut self.guards {
                guards.tags.entry(tag.clone()).or_insert_with(|| format!("that {branch} is for"));
            }
        }
    }

    /// Everything that was ever pinned on a branch, and the tags of what was promoted there.
    fn history(&mut self, git: &Git, branch: &str) -> Result<(), Refusal> {
        let mut config = self.config.clone();
        config.provenance.branch = Some(branch.to_owned());
        let history = History::read(git, &config)?;
        let tags = history.claimed_tags();
        for (image, guards) in config.images.iter().zip(&mut self.guards) {
            guards.history.extend(history.ever_pinned(&image.name).into_iter().flatten());
            let told = |revision: &_| format!("that {branch} promoted ({revision})");
            let tags = tags.iter().map(|(tag, revision)| (tag.clone(), told(*revision)));
            guards.tags.extend(tags);
        }
        Ok(())
    }
}

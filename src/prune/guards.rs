//! What protects versions whatever their age and tags: pins here and on the remote's branches, and
//! promote history.
//!
//! Computed anew in each run. The base branch and the open promote and rollback branches are those
//! that the remote has now; of a clone that knows another base, or not all of its history, nothing
//! is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Refusal, refusal::Kind};
use crate::{
    config::{Config, RelPath, Revisions, Template},
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
    /// Digests that are or were pinned for other images, and where: bytes are the same under every
    /// name.
    pub others: BTreeMap<Digest, String>,
}

/// The branches that protect, as the remote had them.
#[derive(Debug)]
pub struct Branches {
    git: Git,
    remotes: BTreeSet<String>,
    bases: BTreeSet<(String, String)>,
    namings: Vec<Ours>,
    tips: Tips,
}

/// Last commits by remote and branch.
type Tips = BTreeMap<(String, String), ObjectId>;

/// The largest file that is scanned in a commit's tree, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// How a configuration calls its branches, and the tags of its revisions.
#[derive(Debug)]
struct Ours {
    branch: Template,
    name: String,
    revisions: Revisions,
}

/// Gathers what protects each image, in the order of the configuration. `chosen`: the images that
/// the run is about; what is wrong with the pins of others does not matter to it. `places`: where
/// each image is read from; what is pinned for one protects the others that are read from there.
pub fn gather(
    config: &Config,
    chosen: &[usize],
    places: &[String],
) -> Result<(Vec<Guards>, Branches), Refusal> {
    let git = Git::open(&config.root)?;
    if git.is_shallow() {
        let message = "this clone is shallow, so what was ever promoted can't be told";
        let hint =
            "fetch the rest: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)";
        return Err(Refusal::later("shallow", message).hint(hint));
    }
    let branches = Branches::read(git, config)?;
    let mut gathering = Gathering {
        config,
        chosen,
        guards: vec![Guards::default(); config.images.len()],
    };
    gathering.files(&WorkTree::new(&config.root), config, "in the work tree")?;
    for (remote, base) in &branches.bases {
        gathering.history(&branches.git, &format!("{remote}/{base}"))?;
    }
    for ((remote, branch), tip) in &branches.tips {
        gathering.commit(&branches.git, tip, &format!("on {branch} of {remote}"))?;
        gathering.revision(branch, &branches.namings);
    }
    Ok((shared(&gathering.guards, config, places), branches))
}

/// What protects each image, with what others add.
fn shared(guards: &[Guards], config: &Config, places: &[String]) -> Vec<Guards> {
    let mut all = guards.to_vec();
    for (at, own) in all.iter_mut().enumerate() {
        for (other, theirs) in guards.iter().enumerate().filter(|(other, _)| *other != at) {
            if places.get(at) == places.get(other) {
                own.pins.extend(theirs.pins.clone());
                own.history.extend(&theirs.history);
                own.tags.extend(theirs.tags.clone());
                continue;
            }
            let name = &config.images[other].name;
            let pins = theirs
                .pins
                .iter()
                .map(|(digest, place)| (*digest, format!("{place} as {name}")));
            let history = theirs
                .history
                .iter()
                .map(|digest| (*digest, format!("in promote history as {name}")));
            own.others.extend(history.chain(pins));
        }
    }
    all
}

/// Whether the branches that protect are still the same; asked again just before the first
/// deletion.
pub fn unmoved(branches: &Branches) -> Result<(), Refusal> {
    let now = branches.ask()?;
    let moved = now
        .iter()
        .find(|(name, tip)| branches.tips.get(*name) != Some(*tip));
    let gone = branches.bases.iter().find(|base| !now.contains_key(*base));
    match moved.map(|(name, _)| name).or(gone) {
        None => Ok(()),
        Some((remote, branch)) => {
            let message =
                format!("{branch} of {remote} was moved while this run looked at what it pins");
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
        bases.extend(
            configured
                .or(heads.default)
                .map(|base| (remote.clone(), base)),
        );
        let mut namings = Vec::from(namings(config));
        for (remote, base) in &bases {
            let tip = git.branch(Some(&format!("{remote}/{base}")))?.tip;
            let there = heads.tips.get(base);
            if there != Some(&tip) {
                return Err(behind(remote, base, (&tip, there)));
            }
            // How branches are called may have been changed there: those that are open bear the
            // name of their time.
            if let Ok(path) = RelPath::parse(config.file_name()) {
                for commit in git.changes_of(&tip, &path)? {
                    if let Own::Config(then) = own_config(&git, &commit, config)? {
                        namings.extend(self::namings(&then));
                    }
                }
            }
        }
        // Pull requests may come from another place than history.
        let remotes = git
            .remotes()?
            .into_iter()
            .filter(|name| *name == remote || name == "origin")
            .collect();
        let mut branches = Self {
            git,
            remotes,
            bases,
            namings,
            tips: Tips::new(),
        };
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
                if self.bases.contains(&name)
                    || self
                        .namings
                        .iter()
                        .any(|ours| ours.revision_of(&name.1).is_some())
                {
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
    let message = format!(
        "{remote}/{base} is {} here, and on the remote it is {there}",
        here.short()
    );
    Refusal::later("base_behind", message).hint(format!("fetch it: git fetch {remote}"))
}

fn namings(config: &Config) -> [Ours; 2] {
    [&config.promote, &config.rollback].map(|naming| Ours {
        branch: naming.branch.clone(),
        name: config.name.clone(),
        revisions: config.revision.clone(),
    })
}

impl Ours {
    /// The revision that a branch of this name is for.
    fn revision_of<'b>(&self, branch: &'b str) -> Option<&'b str> {
        self.branch
            .revision_in(branch, &self.name)
            .filter(|revision| !revision.is_empty())
    }

    fn tag_of(&self, branch: &str, revisions: &Revisions) -> Option<Tag> {
        let revision = revisions.pattern.revision(self.revision_of(branch)?).ok()?;
        revisions.tag.tag(&revision).ok()
    }
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
        if let Some((path, hazard)) = found
            .hazards
            .iter()
            .find(|(_, hazard)| matches!(hazard, Hazard::Symlink | Hazard::Special))
        {
            let message = format!("what {path} {place} pins can't be told: {hazard}");
            return Err(Refusal::new(Kind::Failed, "file_unsafe", message)
                .hint("replace the link by a file of its own, or take it out of `files:`"));
        }
        if let Some(malformed) = found
            .malformed
            .iter()
            .find(|pin| self.chosen.contains(&pin.what.image))
        {
            let (file, line) = (&malformed.file, malformed.what.line);
            let message = format!(
                "what {file}:{line} {place} pins can't be told: `{}`",
                malformed.what.text
            );
            return Err(Refusal::new(Kind::Failed, "pin_unsupported", message)
                .hint("write the digest in full, or make it a placeholder such as `<digest>`"));
        }
        for pin in found.pins {
            let told = || format!("{place} ({}:{})", pin.file, pin.what.line);
            self.guards[pin.what.image]
                .pins
                .entry(pin.what.digest)
                .or_insert_with(told);
        }
        Ok(())
    }

    /// What the tree of a commit pins, by its own configuration and by that of today.
    fn commit(&mut self, git: &Git, commit: &ObjectId, place: &str) -> Result<(), Refusal> {
        let mut each = vec![self.config.files.clone()];
        match own_config(git, commit, self.config)? {
            Own::Config(own) => each.push(own.files),
            Own::Today => {}
            Own::Unreadable(why) => {
                let message = format!(
                    "what is pinned {place} can't be told: its configuration can't be read: {why}"
                );
                return Err(
                    Refusal::later("unavailable", message).hint("mend the configuration there")
                );
            }
        }
        for globs in each {
            let at = git.files_at(commit, &globs, LARGEST)?;
            if let Some(path) = at.too_large {
                let message =
                    format!("what is pinned {place} can't be told: {path} has more than 64 MiB");
                return Err(Refusal::later("unavailable", message).hint("take it out of `files:`"));
            }
            let config = Config {
                files: globs,
                ..self.config.clone()
            };
            self.files(&at.files, &config, place)?;
        }
        Ok(())
    }

    /// The revision that an open branch is for: its tag as it is made today, and as it was made by
    /// whoever called it so.
    fn revision(&mut self, branch: &str, namings: &[Ours]) {
        let tags = |ours: &Ours| {
            [&ours.revisions, &self.config.revision].map(|revisions| ours.tag_of(branch, revisions))
        };
        let tags: BTreeSet<Tag> = namings.iter().flat_map(tags).flatten().collect();
        for guards in &mut self.guards {
            for tag in &tags {
                guards
                    .tags
                    .entry(tag.clone())
                    .or_insert_with(|| format!("that {branch} is for"));
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
            guards
                .history
                .extend(history.ever_pinned(&image.name).into_iter().flatten());
            let told = |revision: &_| format!("that {branch} promoted ({revision})");
            let tags = tags
                .iter()
                .map(|(tag, revision)| (tag.clone(), told(*revision)));
            guards.tags.extend(tags);
        }
        Ok(())
    }
}

//! The current branches and tags of the remotes, their objects, and the promotion and rollback branches
//! among them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    code::Code,
    config::{Config, RelPath, Revisions, Template},
    error::{Class, Error},
    git::{BranchSources, Git, GitError, ObjectId},
    history::{CommitConfig, commit_config},
    oci::Tag,
};

/// The prefix of a branch's full name.
const BRANCHES: &str = "refs/heads/";
/// The prefix of a tag's full name.
const TAGS: &str = "refs/tags/";
/// The maximum number of fetches of a reference that moves during the fetch.
const ROUNDS: usize = 4;

/// A branch or a tag of a remote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TipName {
    pub(super) remote: String,
    /// `refs/heads/main`, `refs/tags/v1`.
    reference: String,
}

impl TipName {
    /// The name of the branch; `None` for a tag.
    pub(super) fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix(BRANCHES)
    }

    /// The location of its files.
    pub(super) fn place(&self) -> String {
        let remote = &self.remote;
        match self.reference.strip_prefix(TAGS) {
            Some(tag) => format!("at the tag {tag} of {remote}"),
            None => format!(
                "on {} of {remote}",
                self.branch().unwrap_or(&self.reference)
            ),
        }
    }
}

/// The object of each branch and tag.
pub(super) type Tips = BTreeMap<TipName, ObjectId>;

/// The branches and tags of the remotes.
#[derive(Debug)]
pub(super) struct Branches {
    pub(super) git: Git,
    remotes: BTreeSet<String>,
    /// The branches that sets are promoted to, with their remotes.
    pub(super) bases: BTreeSet<(String, String)>,
    namings: Vec<BranchNames>,
    pub(super) tips: Tips,
}

/// A configuration's names of branches and of the tags of revisions.
#[derive(Debug)]
struct BranchNames {
    branch: Template,
    name: String,
    revisions: Revisions,
}

impl Branches {
    /// Reads the branches and tags. `stated` is the default branch according to CI.
    pub(super) fn read(git: Git, config: &Config, stated: Option<&str>) -> Result<Self, Error> {
        let history = git.promoted_branch(&BranchSources {
            configured: config.provenance.branch.as_deref(),
            base: None,
            ci: stated,
        })?;
        let (remote, name) = git.remote_of(&history)?;
        // Pull requests may use another remote than promote history.
        let remotes = git.remotes()?.into_iter();
        let remotes = remotes
            .filter(|name| *name == remote || name == "origin")
            .collect();
        let mut branches = Self {
            git,
            remotes,
            bases: BTreeSet::from([(remote.clone(), name)]),
            namings: namings(config),
            tips: Tips::new(),
        };
        let default = branches.list()?.remove(&remote);
        let configured = config.forge.as_ref().and_then(|forge| forge.base.clone());
        let base = configured.or(default);
        branches.bases.extend(base.map(|base| (remote, base)));
        branches.add_past_namings(config)?;
        branches.fetch()?;
        // Checked last, because a base may move while branches are fetched.
        branches.check_bases()?;
        Ok(branches)
    }

    /// Lists the current references of the remotes. Returns the default branch of each, if stated.
    fn list(&mut self) -> Result<BTreeMap<String, String>, Error> {
        let mut defaults = BTreeMap::new();
        self.tips.clear();
        for remote in &self.remotes {
            let references = self.git.remote_references(remote)?;
            for (reference, tip) in references.tips {
                let remote = remote.clone();
                self.tips.insert(TipName { remote, reference }, tip);
            }
            defaults.extend(references.default.map(|name| (remote.clone(), name)));
        }
        Ok(defaults)
    }

    /// Refuses a clone whose bases differ from the remote.
    fn check_bases(&self) -> Result<(), Error> {
        for (remote, base) in &self.bases {
            let tip = self.git.branch(Some(&format!("{remote}/{base}")))?.tip;
            let remote_tip = self.tips.get(&TipName {
                remote: remote.clone(),
                reference: format!("{BRANCHES}{base}"),
            });
            if remote_tip != Some(&tip) {
                return Err(outdated(remote, base, &tip, remote_tip));
            }
        }
        Ok(())
    }

    /// Adds the branch names of every past configuration of the bases, because an open branch has the
    /// name of its time.
    fn add_past_namings(&mut self, config: &Config) -> Result<(), Error> {
        let Ok(path) = RelPath::parse(config.file_name()) else {
            return Ok(());
        };
        for (remote, base) in &self.bases {
            let tip = self.git.branch(Some(&format!("{remote}/{base}")))?.tip;
            for commit in self.git.changes_of(&tip, &path)? {
                if let CommitConfig::Config(then) = commit_config(&self.git, &commit, config)? {
                    self.namings.extend(namings(&then));
                }
            }
        }
        Ok(())
    }

    /// Fetches missing objects. References that move or vanish in the meantime are listed again.
    fn fetch(&mut self) -> Result<(), Error> {
        let mut failed: Option<GitError> = None;
        for round in 0..ROUNDS {
            if round > 0 {
                self.list()?;
            }
            let tips: Vec<ObjectId> = self.tips.values().copied().collect();
            let missing: HashSet<ObjectId> = self.git.missing(&tips)?.into_iter().collect();
            if missing.is_empty() {
                return Ok(());
            }
            // The first failure may be a race with an update of the remote.
            if let Some(error) = failed.take().filter(|_| round > 1) {
                return Err(error.into());
            }
            for remote in &self.remotes {
                let names = self.names_of(remote, &missing);
                if !names.is_empty() {
                    failed = self.git.fetch_references(remote, &names).err().or(failed);
                }
            }
        }
        Err(failed.map_or_else(moving, Error::from))
    }

    fn names_of(&self, remote: &str, tips: &HashSet<ObjectId>) -> Vec<&str> {
        let of = self.tips.iter().filter(|(name, _)| name.remote == remote);
        of.filter(|(_, tip)| tips.contains(tip))
            .map(|(name, _)| name.reference.as_str())
            .collect()
    }

    /// Lists and fetches the branches and tags that are new or have moved. Refuses if a base, or a
    /// promotion or rollback branch, is among them.
    pub(super) fn again(&mut self) -> Result<Tips, Error> {
        let before = std::mem::take(&mut self.tips);
        self.list()?;
        self.fetch()?;
        let gone = self.bases.iter().find(|(remote, base)| {
            !self.tips.contains_key(&TipName {
                remote: remote.clone(),
                reference: format!("{BRANCHES}{base}"),
            })
        });
        let moved: Tips = self
            .tips
            .iter()
            .filter(|(name, tip)| before.get(*name) != Some(*tip))
            .map(|(name, tip)| (name.clone(), *tip))
            .collect();
        let stops = moved.keys().find(|name| self.is_watched(name));
        let stops = stops.map(|name| (name.remote.as_str(), name.branch().unwrap_or_default()));
        match stops.or(gone.map(|(remote, base)| (remote.as_str(), base.as_str()))) {
            None => Ok(moved),
            Some((remote, branch)) => {
                let message = format!("{branch} of {remote} moved while this run was reading it");
                Err(Error::new(Class::Unavailable, Code::BASE_MOVED, message)
                    .help("run the command again"))
            }
        }
    }

    /// Whether a branch is a base or a promotion or rollback branch.
    pub(super) fn is_watched(&self, name: &TipName) -> bool {
        name.branch().is_some_and(|branch| {
            self.bases
                .contains(&(name.remote.clone(), branch.to_owned()))
                || self.namings.iter().any(|n| n.revision_of(branch).is_some())
        })
    }

    /// The tags of the revision of a branch, by the current template and by those of past
    /// configurations.
    pub(super) fn tags_of(&self, name: &TipName, current: &Revisions) -> BTreeSet<Tag> {
        let Some(branch) = name.branch() else {
            return BTreeSet::new();
        };
        let tags = |naming: &BranchNames| {
            [&naming.revisions, current].map(|revisions| naming.tag_of(branch, revisions))
        };
        self.namings.iter().flat_map(tags).flatten().collect()
    }
}

/// The refusal if references keep moving.
pub(super) fn moving() -> Error {
    let message = "branches of the remote keep moving while they are read";
    Error::new(Class::Unavailable, Code::BASE_MOVED, message).help("run the command again")
}

fn outdated(remote: &str, base: &str, local: &ObjectId, remote_tip: Option<&ObjectId>) -> Error {
    let remote_tip = remote_tip.map_or_else(|| "missing".to_owned(), ObjectId::short);
    let message = format!(
        "{remote}/{base} is at {} in this clone, but at {remote_tip} on the remote",
        local.short()
    );
    Error::new(Class::Unavailable, Code::BASE_BEHIND, message)
        .help(format!("fetch it: git fetch {remote}"))
}

fn namings(config: &Config) -> Vec<BranchNames> {
    let names = config.branch_names().into_iter();
    let namings = names.map(|(branch, name)| BranchNames {
        branch,
        name,
        revisions: config.revision.clone(),
    });
    namings.collect()
}

impl BranchNames {
    /// The revision in the name of a branch.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config::parse, error::SourceText};

    #[test]
    fn branch_without_revision_is_no_promotion_branch() {
        let text =
            "version: 1\nname: set\nfiles: [a]\nimages:\n  a: { repository: x.y/a, pins: 1 }\n";
        let source = SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        };
        let config = parse(&source, Path::new("/"), &crate::config::SetPath::top()).unwrap();
        let revision = "a".repeat(40);
        for (naming, template) in namings(&config)
            .iter()
            .zip([&config.promote.branch, &config.rollback.branch])
        {
            let whole = config.revision.pattern.revision(&revision).unwrap();
            let branch = template.render(&whole, "set");
            let empty = branch.replace(&revision, "");
            assert_eq!(naming.revision_of(&branch), Some(revision.as_str()));
            assert_eq!(naming.revision_of(&empty), None, "{empty}");
            assert_eq!(naming.revision_of("main"), None);
        }
        let former = format!("auto/runtime-promote-{revision}");
        let namings = namings(&config);
        assert!(
            namings
                .iter()
                .any(|naming| naming.revision_of(&former) == Some(revision.as_str()))
        );
    }
}

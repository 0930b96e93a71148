//! The branches that may be the base of the work tree.
//!
//! A pull request contains the configuration that selects its base branch, and could select itself. So
//! its choice counts alone only if the configuration on the default branch makes the same choice.
//!
//! They are those on the forge if its head was read for a verdict, because the clone is outdated or shallow; otherwise
//! those in the clone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Services,
    base::{
        BaseConfig, SelectingKeys, base_config, distinct, known_defaults, remote_branch,
        selecting_keys,
    },
    environment, head_on_forge,
    known_heads::HeadOnForge,
};
use crate::{
    base::error::Error,
    config::Config,
    git::{Branch, BranchSources, Git, GitError, ObjectId},
};

/// The branches that may be the base of the work tree.
pub(crate) struct BaseBranches {
    pub(super) branches: Vec<Branch>,
    /// The branches for history that the configurations on the target and the default branches select, if the work tree
    /// selects others. Those of the default branches do not count if the configuration on the selected branch selects it, too.
    pub(crate) promoted: Vec<Branch>,
    /// The reasons why further branches are unknown.
    pub(super) unknown: Vec<String>,
    /// The repository with their commits.
    pub(super) git: Git,
    /// The clone of the work tree.
    pub(super) clone: Git,
    /// Keeps that repository.
    _head: Option<HeadOnForge>,
}

impl BaseBranches {
    /// Finds the branches. The remote is queried for its default branch if neither the forge nor the clone reports it.
    pub(super) fn find(
        config: &Config,
        clone: &Git,
        services: &Services,
    ) -> Result<Self, GitError> {
        let keys = selecting_keys(config);
        let forge = ForgeBranches::fetch(config, clone, services);
        let source = BranchSource {
            clone,
            forge: forge.as_ref(),
        };
        let mut branches = Vec::new();
        for branch in source.selected(keys) {
            branches.push(branch?);
        }
        let failure = forge.as_ref().and_then(|forge| forge.failure.as_ref());
        let mut unknown: Vec<_> = failure.map(ToString::to_string).into_iter().collect();
        // The target of a pull request may differ from both.
        let mut targets = Vec::new();
        if let Some(target) = environment::target_branch(&services.environment, Some(clone)) {
            match source.branch(&target, keys.history) {
                Ok(branch) => targets.push(branch),
                Err(error) => unknown.push(error.to_string()),
            }
        }
        branches.extend(targets.iter().cloned());
        let mut defaults = source.defaults(config, services);
        if defaults.is_empty() {
            match clone.promoted_branch(&BranchSources {
                remote_of: keys.history,
                ..BranchSources::default()
            }) {
                Ok(default) => defaults.push(default),
                Err(error) if keys.base.is_none() && branches.is_empty() => return Err(error),
                Err(error) => unknown.push(error.to_string()),
            }
        }
        if keys.base.is_none()
            && let Some(default) = defaults.first()
        {
            // Pull requests are for the default branch, whatever `provenance.branch` selects.
            branches.push(default.clone());
        }
        let git = forge.as_ref().map_or(clone, |forge| &forge.head.git);
        let mut bases = Self {
            branches,
            promoted: Vec::new(),
            unknown,
            git: git.clone(),
            clone: clone.clone(),
            _head: forge.as_ref().map(|forge| forge.head.clone()),
        };
        if source.selected(keys).is_empty() {
            // Without a choice, its own history counts.
            bases.promoted.clone_from(&targets);
        }
        let by_target = bases.add_choices(config, targets, &source);
        bases.promoted.extend(by_target);
        let by_default = bases.add_choices(config, defaults, &source);
        if !bases.selects_itself(config, &source) {
            bases.promoted.extend(by_default);
        }
        bases.branches = distinct(bases.branches.into_iter());
        bases.promoted = distinct(bases.promoted.into_iter());
        Ok(bases)
    }

    /// Adds the branches that the configurations on `selecting` select, if the work tree selects others; returns those for
    /// history.
    fn add_choices(
        &mut self,
        config: &Config,
        selecting: Vec<Branch>,
        source: &BranchSource<'_>,
    ) -> Vec<Branch> {
        let keys = selecting_keys(config);
        let mut promoted = Vec::new();
        for branch in selecting {
            match base_config(config, &self.git, &self.clone, &branch.tip) {
                Ok(BaseConfig::Found(base)) => {
                    let base_keys = selecting_keys(&base);
                    if base_keys == keys {
                        continue;
                    }
                    let selected = source.selected(base_keys);
                    // The last one is that for history.
                    match selected.last() {
                        Some(last) => promoted.extend(last.as_ref().ok().cloned()),
                        None => promoted.push(branch.clone()),
                    }
                    self.branches.push(branch);
                    for branch in selected {
                        match branch {
                            Ok(branch) => self.branches.push(branch),
                            Err(error) => self.unknown.push(error.to_string()),
                        }
                    }
                }
                // The branch requires nothing of a new set.
                Ok(BaseConfig::New) => promoted.push(branch),
                Ok(BaseConfig::Unpaired(_)) | Err(_) => {
                    promoted.push(branch.clone());
                    self.branches.push(branch);
                }
            }
        }
        promoted
    }

    /// Whether the configuration on the selected branch selects it, too, as that of an environment does.
    fn selects_itself(&self, config: &Config, source: &BranchSource<'_>) -> bool {
        let keys = selecting_keys(config);
        let Some(Ok(selected)) = source.selected(keys).pop() else {
            return false;
        };
        let base = base_config(config, &self.git, &self.clone, &selected.tip);
        matches!(base, Ok(BaseConfig::Found(base)) if selecting_keys(&base) == keys)
    }
}

/// Where branches are looked up.
struct BranchSource<'s> {
    clone: &'s Git,
    forge: Option<&'s ForgeBranches>,
}

impl BranchSource<'_> {
    /// A branch of the remote.
    fn branch(&self, name: &str, history: Option<&str>) -> Result<Branch, GitError> {
        match self.forge.and_then(|forge| forge.branch(name)) {
            Some(branch) => Ok(branch),
            None => remote_branch(name, history, self.clone),
        }
    }

    fn selected(&self, keys: SelectingKeys<'_>) -> Vec<Result<Branch, GitError>> {
        let base = keys.base.map(|base| self.branch(base, keys.history));
        let history = keys.history.map(|name| {
            let on_forge = self.forge.and_then(|forge| forge.tracked(name));
            on_forge.map_or_else(|| self.clone.branch(Some(name)), Ok)
        });
        base.into_iter().chain(history).collect()
    }

    /// The default branch as the forge, CI and the clone know it.
    fn defaults(&self, config: &Config, services: &Services) -> Vec<Branch> {
        let known = known_defaults(config, self.clone, services);
        let Some(forge) = self.forge else {
            return known;
        };
        let stated = environment::default_branch(&services.environment, Some(self.clone));
        let stated = stated.and_then(|name| forge.branch(&name));
        let known = known.into_iter();
        let known = known.map(|branch| forge.tracked(&branch.name).unwrap_or(branch));
        distinct(forge.default.clone().into_iter().chain(stated).chain(known))
    }
}

/// The branches on the forge that a configuration may select.
struct ForgeBranches {
    head: HeadOnForge,
    /// The remote of the clone in names of branches.
    remote: String,
    tips: BTreeMap<String, ObjectId>,
    /// The default branch, if the configuration selects no other one.
    default: Option<Branch>,
    /// The error of fetching them: then those in the clone count.
    failure: Option<Error>,
}

impl ForgeBranches {
    /// Fetches the branches together; `None` if those in the clone count.
    fn fetch(config: &Config, clone: &Git, services: &Services) -> Option<Self> {
        let head = head_on_forge::find(config, services)?;
        let name = &head.history_branch.name;
        let remote = name
            .strip_suffix(&head.branch)?
            .strip_suffix('/')?
            .to_owned();
        let keys = selecting_keys(config);
        let in_remote =
            |name: &str| Some(name.strip_prefix(&remote)?.strip_prefix('/')?.to_owned());
        let mut names = BTreeSet::new();
        names.extend(keys.base.map(str::to_owned));
        names.extend(keys.history.and_then(in_remote));
        names.extend(environment::target_branch(
            &services.environment,
            Some(clone),
        ));
        names.extend(environment::default_branch(
            &services.environment,
            Some(clone),
        ));
        let known = known_defaults(config, clone, services);
        names.extend(known.iter().filter_map(|branch| in_remote(&branch.name)));
        names.remove(&head.branch);
        let mut tips = BTreeMap::from([(head.branch.clone(), head.history_branch.tip)]);
        let mut failure = None;
        if !names.is_empty() {
            let wanted: Vec<_> = names.iter().map(String::as_str).collect();
            let work = async {
                head.content.fetch(&wanted).await?;
                let mut fetched = Vec::new();
                for name in &wanted {
                    fetched.push(head.content.head(name).await?);
                }
                Ok::<_, Error>(fetched)
            };
            match services.wait(work, "fetching the base branches") {
                Ok(fetched) => {
                    for (name, tip) in names.into_iter().zip(fetched) {
                        let tip = tip.and_then(|tip| ObjectId::parse(tip.as_bytes()));
                        tips.extend(tip.map(|tip| (name, tip)));
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        let selects_none = keys.base.is_none() && keys.history.is_none();
        let default = selects_none.then(|| head.history_branch.clone());
        Some(Self {
            head,
            remote,
            tips,
            default,
            failure,
        })
    }

    fn branch(&self, name: &str) -> Option<Branch> {
        let tip = *self.tips.get(name)?;
        let name = format!("{}/{name}", self.remote);
        Some(Branch { name, tip })
    }

    /// A remote-tracking branch, as it is on the forge.
    fn tracked(&self, name: &str) -> Option<Branch> {
        self.branch(name.strip_prefix(&self.remote)?.strip_prefix('/')?)
    }
}

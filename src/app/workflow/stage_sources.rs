//! The sets of `promote.after`, from this clone or from fetched repositories: their configurations, and the
//! branches of their histories.

use super::{
    Access, Services, SiteHistory,
    base::selecting_keys,
    caches::FetchedRepository,
    connection::{connect_repository, open, token},
    history_branch::{
        BranchRole, HistoryBranch, configured_branch, history_branch, name_on_remote,
    },
    known_heads::HeadOnForge,
    repositories::{self, Fetch, FetchOutcome, OtherRepository},
};
use crate::{
    app::pull_request::{Content, ForgeRepository},
    base::error::{Code, Error, Errors},
    config::{self, Config, OtherRepositorySet, SetPath, SourceRepository, Stage, StageSet},
    core::{
        configurations::{NoConfig, config_of_set},
        history::History,
    },
    forge::{Forge, Target},
    git::{
        Branch, BranchSources, FetchedObjects, Git, GitError, HostedRepository, Login, ObjectId,
        Routes,
    },
};
use std::{cell::OnceCell, collections::HashMap, path::PathBuf, rc::Rc};

/// The reference of a fetched branch.
const FETCHED: &str = "refs/repin/stage";

/// The maximum number of stages that lead to each other.
const MAX_DEPTH: usize = 32;

/// The set of a stage, with the repository of its history.
pub(super) struct StageHistory {
    pub(super) repository: Rc<Repository>,
    pub(super) branch: Branch,
    /// The configuration of the stage, in which only the common images are pinned.
    pub(super) config: Config,
    /// The names of each common image: here and in the stage.
    pub(super) common: Vec<[String; 2]>,
    /// The images of this set that the stage does not have.
    pub(super) missing: Vec<String>,
    /// The forge that merges pull requests of the stage, and the branch there.
    pub(super) forge: Option<(Forge, String)>,
    /// Read once, or the reason why it cannot be read.
    pub(super) history: OnceCell<Result<History, String>>,
}

/// The set of a stage, if it can be read.
pub(super) enum OpenedSet {
    Known(Box<StageHistory>),
    /// The reason why the stage is unknown.
    Unknown(String),
}

/// A repository with configurations of stages.
pub(super) struct Repository {
    pub(super) git: Git,
    /// The normalized URL or path; empty for this repository.
    key: String,
    /// The fetched branch; `None` for this clone.
    fetched: Option<Branch>,
    /// Removed when dropped.
    _directory: Option<FetchedRepository>,
    /// Keeps the repository with the history.
    _content: Option<Content>,
}

impl Repository {
    /// This repository.
    fn here(git: Git) -> Self {
        Self {
            git,
            key: String::new(),
            fetched: None,
            _directory: None,
            _content: None,
        }
    }
}

/// The URL, the branch, and whether the whole history was fetched.
type FetchId = (String, Option<String>, bool);

/// A repository, and the commit at which its sets are read; `None` for the work tree.
type Place = Option<(Rc<Repository>, ObjectId)>;

/// Reads a stage of the set with this configuration at a place.
type Follow<'f> = dyn FnMut(&Place, &Config, &StageSet) -> Option<(Place, Config)> + 'f;

/// Opens the stages of a set.
pub(super) struct Opener<'o> {
    config: &'o Config,
    history: &'o SiteHistory,
    /// Whether the forge is queried for merges.
    has_forge: bool,
    services: &'o Services,
    /// The fetched repositories, or the reasons why they cannot be fetched.
    fetched: HashMap<FetchId, Result<Rc<Repository>, String>>,
}

impl<'o> Opener<'o> {
    /// Reads nothing. `has_forge`: whether a token for the forge may be used.
    pub(super) fn new(
        config: &'o Config,
        history: &'o SiteHistory,
        has_forge: bool,
        services: &'o Services,
    ) -> Self {
        Self {
            config,
            history,
            has_forge,
            services,
            fetched: HashMap::new(),
        }
    }

    /// Opens a stage. An error is a mistake in the configuration; the reason of an unknown stage is a value.
    pub(super) fn open(&mut self, rule: &Stage) -> Result<OpenedSet, Errors> {
        let own = self.config;
        let opened = match &rule.set {
            StageSet::SameRepository(set) => self.open_here(set),
            StageSet::OtherRepository(set) => self.open_elsewhere(set),
        };
        let (repository, branch, config) = match opened {
            Ok(opened) => opened,
            Err(reason) => return Ok(OpenedSet::Unknown(reason)),
        };
        let place = Some((Rc::clone(&repository), branch.tip));
        check_cycle(own, rule, &place, &config, &mut |place, config, next| {
            self.follow(place, config, next)
        })?;
        let common = common_images(own, &config);
        if common.is_empty() {
            return Err(no_common_image(own, rule).into());
        }
        let forge = self.forge(rule, &branch)?;
        let config = restricted(config, &common);
        Ok(OpenedSet::Known(Box::new(StageHistory {
            repository,
            branch,
            config,
            missing: missing_images(own, &common),
            common,
            forge,
            history: OnceCell::new(),
        })))
    }

    /// The set of this repository, at the head of its base branch.
    fn open_here(&self, set: &SetPath) -> Result<(Rc<Repository>, Branch, Config), String> {
        let own = self.history.promoted().map_err(|error| error.to_string())?;
        let Some(git) = self.history.git() else {
            return Err("this repository has no clone".to_owned());
        };
        // The configuration of the stage selects its branch, so it is read at a branch of this set first.
        let mut config = read_config(git, &own.branch, set);
        if config.is_err()
            && let Ok(default) = git.promoted_branch(&BranchSources::default())
        {
            config = read_config(git, &default, set).or(config);
        }
        let (repository, branch) = self.base_of(git, own.branch.clone(), &config?)?;
        let config = read_config(&repository.git, &branch, set)?;
        Ok((Rc::new(repository), branch, config))
    }

    /// The base branch of another set of this repository.
    fn base_of(
        &self,
        git: &Git,
        own: Branch,
        other: &Config,
    ) -> Result<(Repository, Branch), String> {
        if selecting_keys(other) == selecting_keys(self.config) {
            return Ok((Repository::here(git.clone()), own));
        }
        let found = history_branch(git, Some(other), &self.services.environment);
        if self.has_forge && self.config.forge.is_some() {
            let cause = |errors: Errors| errors.by_cause()[0].to_string();
            let name = configured_branch(other).map(str::to_owned);
            let access = connect_repository(self.config, Some(git), self.services);
            match (access.map_err(cause)?, name) {
                (Access::Granted(repository), Some(name)) => {
                    return self.head_on_forge(&repository, name);
                }
                (Access::Granted(repository), None) => {
                    // The clone knows the same branch, but perhaps an old head of it.
                    let is_promoted = |found: &&HistoryBranch| found.role == BranchRole::Promoted;
                    let name = if let Some(found) = found.as_ref().ok().filter(is_promoted) {
                        name_on_remote(&found.branch.name).to_owned()
                    } else {
                        let read = repository.forge.repository();
                        let read = self.services.wait(read, "reading the branch of a stage");
                        read.map_err(|error| error.to_string())?.default_branch
                    };
                    return self.head_on_forge(&repository, name);
                }
                (Access::NoToken(missing), Some(_)) => return Err(missing),
                (Access::NoToken(_), None) => {}
            }
        }
        let found = found.map_err(|error| error.to_string())?;
        match found.role {
            BranchRole::Promoted => Ok((Repository::here(git.clone()), found.branch)),
            BranchRole::Local => Err(GitError::NoRemote.to_string()),
        }
    }

    /// A branch of this repository at its head on the forge.
    fn head_on_forge(
        &self,
        repository: &ForgeRepository,
        name: String,
    ) -> Result<(Repository, Branch), String> {
        let reason = |error: Error| error.to_string();
        let content = &repository.content;
        let read = (self.services).wait(content.head(&name), "reading the branch of a stage");
        let head = read.map_err(reason)?;
        let head = head.ok_or_else(|| format!("the forge has no branch {name}"))?;
        let head = HeadOnForge::new(name, &head, content).map_err(reason)?;
        let repository = Repository {
            _content: Some(head.content),
            ..Repository::here(head.git)
        };
        Ok((repository, head.history_branch))
    }

    /// A set of another repository, which is fetched.
    fn open_elsewhere(
        &mut self,
        set: &OtherRepositorySet,
    ) -> Result<(Rc<Repository>, Branch, Config), String> {
        let url = self.url(&set.repository, self.config)?;
        let repository = self.fetch(&url, set.branch.as_deref(), FetchedObjects::All)?;
        let Some(branch) = repository.fetched.clone() else {
            return Err("no branch was fetched".to_owned());
        };
        let config = read_config(&repository.git, &branch, &set.set_path)?;
        Ok((repository, branch, config))
    }

    fn url(&self, repository: &SourceRepository, config: &Config) -> Result<String, String> {
        repository_url(repository, config, self.history.git())
    }

    /// `OWNER/NAME` on the configured forge.
    fn target(&self, name: &str, config: &Config) -> Result<Target, String> {
        forge_target(name, config, self.history.git())
    }

    /// Fetches a branch, or the default branch, once.
    fn fetch(
        &mut self,
        url: &str,
        branch: Option<&str>,
        objects: FetchedObjects,
    ) -> Result<Rc<Repository>, String> {
        let is_whole = objects == FetchedObjects::All;
        let id = (url.to_owned(), branch.map(str::to_owned), is_whole);
        if let Some(known) = self.fetched.get(&id) {
            return known.clone();
        }
        let fetched = self.fetch_now(url, branch, objects).map(Rc::new);
        self.fetched.insert(id, fetched.clone());
        fetched
    }

    fn fetch_now(
        &self,
        url: &str,
        branch: Option<&str>,
        objects: FetchedObjects,
    ) -> Result<Repository, String> {
        let cause = |errors: Errors| errors.by_cause()[0].to_string();
        let other = OtherRepository {
            key: "promote.after".to_owned(),
            repository: url,
            token_env: None,
        };
        let remote = other.remote(self.config, self.services);
        let remote = remote.and_then(Access::granted).map_err(cause)?;
        let mut key = repository_key(&remote.url);
        if key == self.own_key() {
            key = String::new();
        }
        let name = branch.unwrap_or("HEAD").to_owned();
        let source = branch.map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let login = forge_login(self.config, self.history.git(), &remote.url, self.services);
        let with_token = remote.with_login(login);
        let wanted = Fetch {
            refspecs: vec![format!("+{source}:{FETCHED}")],
            objects,
            attempts: 1,
        };
        let routes = Routes::new(remote, with_token);
        let work = repositories::fetch(routes, &wanted, self.services);
        let fetched = self.services.wait(work, "fetching a stage");
        let fetched = match fetched.map_err(cause)? {
            FetchOutcome::Done(fetched) => *fetched,
            FetchOutcome::Failed(error) => return Err(error.to_string()),
        };
        if !fetched.has_references {
            return Err(format!("the repository has no branch {name}"));
        }
        let git = fetched.scratch.git().clone();
        let tip = git.commit_at(FETCHED).map_err(|error| error.to_string())?;
        Ok(Repository {
            key,
            fetched: Some(Branch { name, tip }),
            _directory: Some(fetched),
            ..Repository::here(git)
        })
    }

    /// The identity of this repository: the URL of its remote, or its path.
    fn own_key(&self) -> String {
        let git = self.history.git();
        let origin = git.and_then(|git| git.origin().ok().flatten());
        match (origin, git) {
            (Some(origin), _) => repository_key(&origin),
            (None, Some(git)) => repository_key(&git.top().to_string_lossy()),
            (None, None) => String::new(),
        }
    }

    /// The configuration of a stage of the set at `place`, and its own place; `None` if it cannot be read.
    fn follow(
        &mut self,
        place: &Place,
        config: &Config,
        next: &StageSet,
    ) -> Option<(Place, Config)> {
        let ((repository, commit), set) = match next {
            StageSet::SameRepository(set) => (place.clone()?, set),
            StageSet::OtherRepository(set) => {
                let url = self.url(&set.repository, config).ok()?;
                let branch = set.branch.as_deref();
                let fetched = self.fetch(&url, branch, FetchedObjects::Heads).ok()?;
                let tip = fetched.fetched.as_ref()?.tip;
                ((fetched, tip), &set.set_path)
            }
        };
        let config = config_of_set(&repository.git, &commit, set).ok()?;
        Some((Some((repository, commit)), config))
    }

    /// The forge that merges the pull requests of a stage, if a token for it may be used.
    fn forge(&self, rule: &Stage, branch: &Branch) -> Result<Option<(Forge, String)>, Errors> {
        if !self.has_forge {
            return Ok(None);
        }
        let Some(configured) = &self.config.forge else {
            return Ok(None);
        };
        let git = self.history.git();
        let own = super::connection::target(configured, git)?;
        let target = match &rule.set {
            StageSet::SameRepository(_) => own,
            StageSet::OtherRepository(set) => {
                let hosted = match &set.repository {
                    SourceRepository::OnForge(name) => self.target(name, self.config).ok(),
                    SourceRepository::Location(url) => own.on_same_host(url),
                };
                let Some(target) = hosted else {
                    return Ok(None);
                };
                target
            }
        };
        let credential = match token(&target.api, git, &self.services.environment)? {
            Access::Granted(credential) => credential,
            Access::NoToken(_) => return Ok(None),
        };
        let forge = open(&target, credential.token, configured, self.services)?;
        let branch = match &rule.set {
            StageSet::SameRepository(_) => short_name(&branch.name).to_owned(),
            StageSet::OtherRepository(OtherRepositorySet {
                branch: Some(branch),
                ..
            }) => branch.clone(),
            StageSet::OtherRepository(_) => {
                let read = forge.repository();
                let read = self
                    .services
                    .wait(read, "reading the repository of a stage");
                read?.default_branch
            }
        };
        Ok(Some((forge, branch)))
    }
}

/// Refuses stages of this work tree that do not exist, have no common image, or lead to a set a second time.
/// [`Opener`] reads those of a branch.
pub(crate) fn check_work_tree(config: &Config) -> Result<(), Errors> {
    let top = config.top();
    for rule in &config.promote.after {
        let StageSet::SameRepository(set) = &rule.set else {
            continue;
        };
        if is_absent(config, set)? {
            let message = format!("the stage {set} does not exist in this repository");
            let help = "correct the path, which is relative to this file";
            return Err(error(config, rule, message).help(help).into());
        }
        let load = |set: &SetPath| config::load(&top.join(set.as_path()), &set.to_string()).ok();
        let Some(stage) = load(set) else { continue };
        if common_images(config, &stage).is_empty() {
            return Err(no_common_image(config, rule).into());
        }
        check_cycle(config, rule, &None, &stage, &mut |_, _, next| match next {
            StageSet::SameRepository(set) => Some((None, load(set)?)),
            StageSet::OtherRepository(_) => None,
        })?;
    }
    Ok(())
}

/// Whether neither the work tree, which may be sparse, nor its commit has the configuration of a set.
fn is_absent(config: &Config, set: &SetPath) -> Result<bool, Error> {
    if config.top().join(set.as_path()).symlink_metadata().is_ok() {
        return Ok(false);
    }
    let Some(git) = Git::discover(&config.root)? else {
        return Ok(true);
    };
    // A repository without a commit has no head.
    let Ok(head) = git.head() else {
        return Ok(true);
    };
    match config_of_set(&git, &head.tip, set) {
        Err(NoConfig::Absent) => Ok(true),
        Err(NoConfig::Git(error)) => Err(error.into()),
        Ok(_) | Err(NoConfig::TooLarge | NoConfig::Malformed(_)) => Ok(false),
    }
}

/// Refuses a stage that leads to a set a second time.
fn check_cycle(
    own: &Config,
    rule: &Stage,
    place: &Place,
    stage: &Config,
    follow: &mut Follow<'_>,
) -> Result<(), Errors> {
    let mut path = vec![(String::new(), own.set_path.clone())];
    if !leads_to_itself(place, stage, &mut path, follow) {
        return Ok(());
    }
    let sets: Vec<_> = path.iter().map(|(_, set)| set.to_string()).collect();
    let message = format!("`promote.after` is a cycle: {}", sets.join(" → "));
    let help = "remove one of these sets from the `promote.after` of the set before it";
    Err(error(own, rule, message).help(help).into())
}

/// Whether a set leads to one of `path`, the keys of repositories with set paths, which then ends with it. Stages
/// that cannot be read lead nowhere.
fn leads_to_itself(
    place: &Place,
    config: &Config,
    path: &mut Vec<(String, SetPath)>,
    follow: &mut Follow<'_>,
) -> bool {
    let key = place.as_ref().map_or("", |(repository, _)| &repository.key);
    let node = (key.to_owned(), config.set_path.clone());
    let is_cycle = path.contains(&node);
    path.push(node);
    if is_cycle || path.len() > MAX_DEPTH {
        return true;
    }
    for next in &config.promote.after {
        if let Some((place, config)) = follow(place, config, &next.set)
            && leads_to_itself(&place, &config, path, follow)
        {
            return true;
        }
    }
    path.pop();
    false
}

fn error(config: &Config, rule: &Stage, message: String) -> Error {
    Error::input(Code::CONFIG, message).at(config.location(rule.span, ""))
}

fn no_common_image(config: &Config, rule: &Stage) -> Error {
    let item = rule.item();
    let message = format!("the stage {item} pins none of the images of this set");
    error(config, rule, message).help("list a set that pins an image of the same repository")
}

/// The name of a branch without its remote.
fn short_name(branch: &str) -> &str {
    branch.strip_prefix("origin/").unwrap_or(branch)
}

/// The configuration of a set at the tip of a branch, or the reason why it cannot be read.
fn read_config(git: &Git, branch: &Branch, set: &SetPath) -> Result<Config, String> {
    config_of_set(git, &branch.tip, set).map_err(|error| match error {
        NoConfig::Git(error) => git.explain(error).to_string(),
        NoConfig::Absent => format!("{} has no {set}", branch.name),
        NoConfig::TooLarge => format!("{set} has more than 1 MiB"),
        NoConfig::Malformed(reason) => format!("{set} is invalid on {}: {reason}", branch.name),
    })
}

/// The names of the images that both sets pin: here and in the other set.
pub(super) fn common_images(own: &Config, other: &Config) -> Vec<[String; 2]> {
    let mut common = Vec::new();
    for image in own.images.iter().filter(|image| image.pins > 0) {
        let mut others = other.images.iter().filter(|image| image.pins > 0);
        if let Some(same) = others.find(|other| other.repository == image.repository) {
            common.push([image.name.clone(), same.name.clone()]);
        }
    }
    common
}

/// The images that only this set pins.
pub(super) fn missing_images(own: &Config, common: &[[String; 2]]) -> Vec<String> {
    let pinned = own.images.iter().filter(|image| image.pins > 0);
    let names = pinned.map(|image| image.name.clone());
    names
        .filter(|name| common.iter().all(|[own, _]| own != name))
        .collect()
}

/// The configuration in which only the common images are pinned, so that no other image makes a commit a
/// promotion or a rollback.
pub(super) fn restricted(mut config: Config, common: &[[String; 2]]) -> Config {
    for image in &mut config.images {
        if !common.iter().any(|[_, name]| *name == image.name) {
            image.pins = 0;
        }
    }
    config
}

/// The URL of a repository in a configuration.
pub(super) fn repository_url(
    repository: &SourceRepository,
    config: &Config,
    git: Option<&Git>,
) -> Result<String, String> {
    match repository {
        SourceRepository::Location(location) => Ok(location.clone()),
        SourceRepository::OnForge(name) => {
            let target = forge_target(name, config, git)?;
            target
                .clone_url()
                .ok_or_else(|| format!("the URL of {name} is unknown: write it in `repository`"))
        }
    }
}

/// `OWNER/NAME` on the configured forge.
fn forge_target(name: &str, config: &Config, git: Option<&Git>) -> Result<Target, String> {
    let origin = git.and_then(|git| git.origin().ok().flatten());
    Target::on_forge(
        &config.forge_or_default().address(),
        origin.as_deref(),
        name,
    )
    .map_err(|error| error.to_string())
}

/// The login for a repository on the host of the configured forge, if a token is set.
pub(super) fn forge_login(
    config: &Config,
    git: Option<&Git>,
    url: &str,
    services: &Services,
) -> Option<Login> {
    let own = super::connection::target(config.forge.as_ref()?, git).ok()?;
    let target = own.on_same_host(url)?;
    match token(&target.api, git, &services.environment).ok()? {
        Access::Granted(credential) => credential.token.git_login(url).ok().flatten(),
        Access::NoToken(_) => None,
    }
}

/// The identity of a repository: the host, the owner and the name, or the path.
fn repository_key(url: &str) -> String {
    if let Some(hosted) = HostedRepository::parse(url) {
        let HostedRepository {
            host, owner, name, ..
        } = hosted;
        return format!("{host}/{owner}/{name}").to_ascii_lowercase();
    }
    let path = PathBuf::from(url.strip_prefix("file://").unwrap_or(url));
    let path = path.canonicalize().unwrap_or(path);
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_repository_have_one_key() {
        let key = "github.com/acme/app";
        for url in [
            "https://GitHub.com/Acme/app.git",
            "https://x@github.com/acme/app",
            "git@github.com:acme/app.git",
            "ssh://git@github.com/acme/app",
        ] {
            assert_eq!(repository_key(url), key, "{url}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let other = path.join("x/..");
        std::fs::create_dir(path.join("x")).unwrap();
        for url in [
            format!("file://{}", path.display()),
            other.display().to_string(),
        ] {
            assert_eq!(repository_key(&url), path.to_str().unwrap(), "{url}");
        }
    }
}

//! The repository that the images are built from: whether one of its commits is an ancestor of another.
//!
//! The forge compares the commits, if a token for it is available or the repository is public. Otherwise
//! git fetches the commits, without trees and files, into a temporary directory.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use tokio::sync::Mutex;

use super::{
    Access, Services,
    caches::FetchedRepository,
    connection::{settings, token_for},
    repositories::{self, Fetch, OtherRepository},
};
use crate::{
    base::{
        error::{Error, Errors},
        http::RequestPacer,
        untrusted::plain,
    },
    config::{Config, SourceRepository},
    forge::{
        Forge, Settings, Target, Token,
        fleet::{Ancestry, FleetReader, Ranges, RepositoryName},
    },
    git::{CommitRange, FetchedObjects, Git, ObjectId},
};

/// The source repository of a configuration. The first comparison sends the first request.
pub(crate) struct BuildSource<'s> {
    config: &'s Config,
    repository: &'s SourceRepository,
    pace: Option<RequestPacer>,
    services: &'s Services,
    hosted: OnceCell<Result<Option<Hosted>, Errors>>,
    /// Whether the first revision of a pair is an ancestor of the second. Locked during a request, so that
    /// no pair is requested twice.
    known: Mutex<HashMap<[String; 2], Option<bool>>>,
    /// The head of the default branch; locked in the same way.
    head: Mutex<Option<String>>,
    /// Locked in the same way.
    ranges: Mutex<HashMap<[ObjectId; 2], BothRanges>>,
}

/// The commits that the second revision adds and those that it takes away, or the reason why they are unknown.
type BothRanges = Result<[CommitRange; 2], String>;

/// The repository on a forge.
struct Hosted {
    reader: FleetReader,
    name: RepositoryName,
    forge: Forge,
    token: Token,
    is_anonymous: bool,
}

/// The destination of the default branch in the fetched repository.
const HEAD_REF: &str = "refs/repin/HEAD";

impl Hosted {
    /// The head of the default branch.
    async fn head(&self) -> Result<String, Error> {
        let repository = self.forge.repository().await?;
        let name = repository.default_branch;
        let head = self.forge.branch(&name).await?;
        head.ok_or_else(|| {
            let subject = format!("the source {}", repository.full_name);
            let reason = format!("its default branch {} does not exist", plain(&name));
            Error::unavailable(subject, reason)
        })
    }
}

impl<'s> BuildSource<'s> {
    /// The configured source. Sends no request.
    pub(super) fn new(
        config: &'s Config,
        pace: Option<RequestPacer>,
        services: &'s Services,
    ) -> Option<Self> {
        let source = Self::at(config.source.as_ref()?, config, services);
        Some(Self { pace, ..source })
    }

    /// A repository. Sends no request.
    pub(super) fn at(
        repository: &'s SourceRepository,
        config: &'s Config,
        services: &'s Services,
    ) -> Self {
        Self {
            config,
            repository,
            pace: None,
            services,
            hosted: OnceCell::new(),
            known: Mutex::default(),
            head: Mutex::default(),
            ranges: Mutex::default(),
        }
    }

    /// The commits that `newer` adds to `older`, and those that it takes away, from the forge with at most three
    /// comparisons, once in a run. The error is the reason that they are unknown.
    pub(super) async fn ranges(&self, older: &ObjectId, newer: &ObjectId) -> BothRanges {
        let mut known = self.ranges.lock().await;
        if let Some(ranges) = known.get(&[*older, *newer]) {
            return ranges.clone();
        }
        let ranges = self.read_ranges(older, newer).await;
        known.insert([*older, *newer], ranges.clone());
        ranges
    }

    async fn read_ranges(&self, older: &ObjectId, newer: &ObjectId) -> BothRanges {
        let hosted = self
            .hosted()
            .map_err(|errors| errors.by_cause()[0].text())?;
        let Some(Hosted { reader, name, .. }) = hosted else {
            return Err("it is not on a known forge".to_owned());
        };
        let (older, newer) = (older.to_string(), newer.to_string());
        match reader.ranges(name, &older, &newer).await {
            Ok(Ranges::Commits { added, removed }) => Ok([added, removed]),
            Ok(Ranges::Unknown) => Err("the forge does not show both revisions".to_owned()),
            Ok(Ranges::Unrelated) => Err("the revisions have no common ancestor".to_owned()),
            Err(error) => Err(error.text()),
        }
    }

    /// The name in messages.
    pub(super) fn name(&self) -> &str {
        self.repository.as_str()
    }

    /// Whether the commit `older` is `newer` or an ancestor of it; `None` if one of them is not a commit
    /// of the source. Both are hexadecimal digits: other texts could be a branch or a tag.
    pub(super) async fn is_ancestor(
        &self,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Errors> {
        let mut known = self.known.lock().await;
        let pair = [older.to_owned(), newer.to_owned()];
        if let Some(is_ancestor) = known.get(&pair) {
            return Ok(*is_ancestor);
        }
        let fetched = self.url().ok().and_then(|url| self.known_commits(&url));
        if let Some(fetched) = fetched {
            return self.compare_fetched(fetched, older, newer).await;
        }
        let is_ancestor = self.compare(older, newer).await?;
        known.insert(pair, is_ancestor);
        Ok(is_ancestor)
    }

    /// Whether the default branch contains a commit, which is given by hexadecimal digits.
    pub(super) async fn contains(&self, commit: &str) -> Result<bool, Errors> {
        let head = self.head().await?;
        if commit == head {
            return Ok(true);
        }
        Ok(self.is_ancestor(commit, &head).await? == Some(true))
    }

    /// The head of the default branch, by the forge, otherwise by git.
    async fn head(&self) -> Result<String, Errors> {
        let mut head = self.head.lock().await;
        if let Some(known) = &*head {
            return Ok(known.clone());
        }
        let fetched = self.url().ok().and_then(|url| self.known_commits(&url));
        let mut refused = None;
        if fetched.is_none()
            && let Some(hosted) = self.hosted()?
        {
            match hosted.head().await {
                Ok(id) => return Ok(head.insert(id).clone()),
                // Relevant only if git cannot read the source either.
                Err(error) if hosted.is_anonymous || error.status == Some(404) => {
                    refused = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match self.fetched_head().await {
            Ok(id) => Ok(head.insert(id).clone()),
            Err(errors) => Err(refused.into_iter().chain(errors).collect::<Vec<_>>().into()),
        }
    }

    /// The head of the default branch, fetched by git.
    async fn fetched_head(&self) -> Result<String, Errors> {
        let fetched = self.fetched().await?;
        let read = tokio::task::spawn_blocking(move || fetched.scratch.git().commit_at(HEAD_REF));
        let reason = match read.await {
            Ok(Ok(head)) => return Ok(head.to_string()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let reason = format!("its default branch cannot be read: {reason}");
        Err(self.unavailable(reason).into())
    }

    /// The result of the forge, otherwise that of git.
    async fn compare(&self, older: &str, newer: &str) -> Result<Option<bool>, Errors> {
        let mut refused = None;
        if let Some(hosted) = self.hosted()? {
            match hosted.reader.is_ancestor(&hosted.name, older, newer).await {
                Ok(Ancestry::Ancestor) => return Ok(Some(true)),
                Ok(Ancestry::NotAncestor) => return Ok(Some(false)),
                Ok(Ancestry::NoCommit) => return Ok(None),
                Ok(Ancestry::NoRepository) => {}
                // Relevant only if git cannot read the source either.
                Err(error) if hosted.is_anonymous => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match self.fetched().await {
            Ok(fetched) => self.compare_fetched(fetched, older, newer).await,
            Err(errors) => Err(refused.into_iter().chain(errors).collect::<Vec<_>>().into()),
        }
    }

    fn hosted(&self) -> Result<Option<&Hosted>, Errors> {
        let hosted = self.hosted.get_or_init(|| self.open_hosted());
        hosted.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn open_hosted(&self) -> Result<Option<Hosted>, Errors> {
        let Some(target) = self.target()? else {
            return Ok(None);
        };
        let git = Git::discover(&self.config.root).map_err(Error::from)?;
        let token_use = repositories::token_use(self.config, &target.api);
        let environment = &self.services.environment;
        let credential = match token_for(&target.api, token_use, git.as_ref(), environment)? {
            Access::Granted(credential) => Some(credential.token),
            Access::NoToken(_) => None,
        };
        let is_anonymous = credential.is_none();
        let settings = settings(&target.api, self.services)?;
        let settings = Settings {
            pace: self.pace.clone(),
            // A fetch is better than the end of the limit for anonymous requests.
            attempts: if is_anonymous { 1 } else { settings.attempts },
            ..settings
        };
        let token = credential.unwrap_or(Token::ANONYMOUS);
        let reader = FleetReader::new(target.kind, &target.api, token.clone(), settings.clone())?;
        let configured = self.config.forge_or_default();
        let (method, sign) = (configured.merge_method, configured.sign);
        let forge = Forge::new(&target, token.clone(), settings, method, sign)?;
        let name = RepositoryName {
            owner: target.owner,
            name: target.name,
        };
        Ok(Some(Hosted {
            reader,
            name,
            forge,
            token,
            is_anonymous,
        }))
    }

    /// The repository on the configured or a public forge; `None` if neither hosts it.
    pub(super) fn target(&self) -> Result<Option<Target>, Errors> {
        repositories::target(self.repository, self.config)
    }

    /// The result of git, with the commits of all branches and tags.
    async fn compare_fetched(
        &self,
        fetched: Arc<FetchedRepository>,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Errors> {
        let (older, newer) = (older.to_owned(), newer.to_owned());
        let compared = tokio::task::spawn_blocking(move || {
            let scratch = &fetched.scratch;
            let (Some(older), Some(newer)) = (scratch.commit(&older)?, scratch.commit(&newer)?)
            else {
                return Ok(None);
            };
            scratch.git().is_ancestor(&older, &newer).map(Some)
        });
        let reason = match compared.await {
            Ok(Ok(is_ancestor)) => return Ok(is_ancestor),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(self.unavailable(reason).into())
    }

    /// The commits of all branches and tags, fetched once in a run. git uses its own credentials; if these
    /// do not suffice, it uses the token for the forge.
    pub(super) async fn fetched(&self) -> Result<Arc<FetchedRepository>, Errors> {
        let url = self.url()?;
        if let Some(fetched) = self.known_commits(&url) {
            return Ok(fetched);
        }
        let other = OtherRepository {
            key: "source".to_owned(),
            repository: &url,
            token_env: None,
        };
        let remote = other.remote(self.config, self.services)?.granted()?;
        let login = match self.hosted() {
            Ok(Some(hosted)) => hosted.token.git_login(&remote.url).ok().flatten(),
            Ok(None) | Err(_) => None,
        };
        let mut fetch = Fetch {
            refspecs: vec![
                format!("+HEAD:{HEAD_REF}"),
                "+refs/heads/*:refs/repin/heads/*".to_owned(),
                "+refs/tags/*:refs/repin/tags/*".to_owned(),
            ],
            objects: FetchedObjects::Commits,
        };
        let services = self.services;
        let mut fetched =
            repositories::fetch(remote.clone(), login.clone(), &fetch, services).await?;
        if matches!(&fetched, Ok(fetched) if !fetched.has_references) {
            // Without its default branch, which does not exist.
            fetch.refspecs.remove(0);
            fetched = repositories::fetch(remote, login, &fetch, services).await?;
        }
        let fetched = Arc::new(fetched.map_err(|reason| self.unavailable(reason))?);
        let mut sources = self.services.fetched_sources.borrow_mut();
        sources.insert(url, Arc::clone(&fetched));
        Ok(fetched)
    }

    /// Fetches the commits if no known forge hosts the repository, such as that at a path.
    pub(super) async fn fetch_unhosted(&self) -> Result<(), Errors> {
        if self.target()?.is_none() {
            self.fetched().await?;
        }
        Ok(())
    }

    /// The commits that this run fetched, without a request.
    pub(super) fn fetched_before(&self) -> Option<Arc<FetchedRepository>> {
        self.known_commits(&self.url().ok()?)
    }

    /// The commits that this run fetched from `url`.
    fn known_commits(&self, url: &str) -> Option<Arc<FetchedRepository>> {
        self.services.fetched_sources.borrow().get(url).cloned()
    }

    /// The URL for git.
    fn url(&self) -> Result<String, Errors> {
        match self.repository {
            SourceRepository::Location(location) => Ok(location.clone()),
            SourceRepository::OnForge(name) => {
                let target = self.target()?.and_then(|target| target.clone_url());
                Ok(target.ok_or_else(|| {
                    let reason = "the forge does not show it, and its URL is unknown";
                    Error::unavailable(format!("the source {name}"), reason)
                        .help("write the URL of the repository in `source`")
                })?)
            }
        }
    }

    fn unavailable(&self, reason: String) -> Error {
        let subject = format!("the source {}", self.name());
        let help = "check that the repository exists and that git may read it";
        Error::unavailable(subject, reason).help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::workflow::services::tests::services, config::example, git::tests::git};

    #[test]
    fn source_is_fetched_once() {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        git(
            directory.path(),
            &["commit", "-q", "--allow-empty", "-m", "first"],
        );
        let config = example(&format!(
            "version: 1\nfiles: [x]\nsource: '{}'\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n",
            directory.path().display()
        ));
        let services = services();
        // A later list of builds has another source.
        let [first, second] = [(); 2].map(|()| {
            let source = BuildSource::new(&config, None, &services).unwrap();
            services.wait(source.fetched(), "fetching").unwrap()
        });
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn default_branch_may_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(directory.path(), args);
        run(&["init", "-q", "-b", "main"]);
        run(&["commit", "-q", "--allow-empty", "-m", "first"]);
        let commit = String::from_utf8(run(&["rev-parse", "HEAD"])).unwrap();
        let commit = commit.trim_end();
        let config = example(&format!(
            "version: 1\nfiles: [x]\nsource: '{}'\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n",
            directory.path().display()
        ));
        let contains = || {
            let services = services();
            let source = BuildSource::new(&config, None, &services).unwrap();
            services.wait(source.contains(commit), "fetching")
        };
        assert!(contains().unwrap());
        run(&["symbolic-ref", "HEAD", "refs/heads/none"]);
        let error = format!("{:?}", contains().unwrap_err());
        assert!(
            error.contains("its default branch cannot be read"),
            "{error}"
        );
    }
}

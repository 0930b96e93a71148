//! The repository that the images are built from: whether one of its commits is an ancestor of another, and the
//! commits between two of them.
//!
//! git fetches the commits of all branches and tags, without trees and files, into a temporary directory, once in a run.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{Mutex, OnceCell};

use super::{
    Access, Services,
    caches::FetchedRepository,
    connection::token_for,
    repositories::{self, Fetch, FetchOutcome, OtherRepository},
};
use crate::{
    base::error::{Error, Errors},
    config::{Config, SourceRepository},
    core::changes::CommitList,
    forge::{Target, Token},
    git::{
        CommitRange, FetchedObjects, Git, GitError, ObjectId, Remote, Routes, ScratchRepository,
    },
};

/// The source repository of a configuration. The first comparison fetches its commits.
pub(crate) struct BuildSource<'s> {
    config: &'s Config,
    repository: &'s SourceRepository,
    services: &'s Services,
    /// The commits, or the reason why they cannot be read, once in a plan or a fleet.
    fetched: OnceCell<Result<Arc<FetchedRepository>, Errors>>,
    /// Whether the first revision of a pair is an ancestor of the second. Locked during a comparison, which may fetch
    /// a commit, so that no pair is compared twice.
    known: Mutex<HashMap<[String; 2], Option<bool>>>,
    /// Locked in the same way.
    ranges: Mutex<HashMap<[ObjectId; 2], BothRanges>>,
}

/// The commits that the second revision adds and those that it takes away, or the reason why they are unknown.
type BothRanges = Result<[CommitRange; 2], String>;

/// The destination of the default branch in the fetched repository.
const HEAD_REF: &str = "refs/repin/HEAD";

/// The prefix of the destination of the default branch of the remote `origin` of a source that is a clone.
const ORIGIN: &str = "refs/repin/origin/";

impl<'s> BuildSource<'s> {
    /// The configured source. Fetches nothing.
    pub(super) fn new(config: &'s Config, services: &'s Services) -> Option<Self> {
        Some(Self::at(config.source.as_ref()?, config, services))
    }

    /// A repository. Fetches nothing.
    pub(super) fn at(
        repository: &'s SourceRepository,
        config: &'s Config,
        services: &'s Services,
    ) -> Self {
        Self {
            config,
            repository,
            services,
            fetched: OnceCell::new(),
            known: Mutex::default(),
            ranges: Mutex::default(),
        }
    }

    /// The commits that `newer` adds to `older`, and those that it takes away, once in a run. The error is the reason
    /// that they are unknown.
    pub(super) async fn ranges(&self, older: &ObjectId, newer: &ObjectId) -> BothRanges {
        let mut known = self.ranges.lock().await;
        if let Some(ranges) = known.get(&[*older, *newer]) {
            return ranges.clone();
        }
        let ranges = self.read_ranges(*older, *newer).await;
        known.insert([*older, *newer], ranges.clone());
        ranges
    }

    async fn read_ranges(&self, older: ObjectId, newer: ObjectId) -> BothRanges {
        let read = self.read(move |source| {
            for revision in [&older, &newer] {
                if source.commit(&revision.to_string())?.is_none() {
                    return Ok(None);
                }
            }
            let ranges = source.git().ranges(&older, &newer, CommitList::MAX);
            ranges.map(Some)
        });
        match read.await {
            Ok(Some(ranges)) => Ok(ranges),
            Ok(None) => {
                let name = self.name();
                Err(format!("the source {name} does not contain both revisions"))
            }
            Err(errors) => Err(errors.by_cause()[0].text()),
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
        let [older, newer] = pair.clone();
        let compared = self.read(move |source| {
            let (Some(older), Some(newer)) = (source.commit(&older)?, source.commit(&newer)?)
            else {
                return Ok(None);
            };
            source.git().is_ancestor(&older, &newer).map(Some)
        });
        let is_ancestor = compared.await?;
        known.insert(pair, is_ancestor);
        Ok(is_ancestor)
    }

    /// Whether the default branch contains a commit, which is given by hexadecimal digits.
    pub(super) async fn contains(&self, commit: &str) -> Result<bool, Errors> {
        let head = self.read(|source| {
            let git = source.git();
            if let Some(head) = git.tips_below(ORIGIN)?.remove("HEAD") {
                return Ok(Ok(head));
            }
            let head = git.commit_at(HEAD_REF);
            Ok(head.map_err(|error| error.to_string()))
        });
        let head = head.await?.map_err(|reason| {
            self.unavailable(format!("its default branch cannot be read: {reason}"))
        })?;
        let head = head.to_string();
        if commit == head {
            return Ok(true);
        }
        Ok(self.is_ancestor(commit, &head).await? == Some(true))
    }

    /// Reads the fetched commits, while other requests continue.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ScratchRepository) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, Errors> {
        let fetched = self.fetched().await?;
        let read = tokio::task::spawn_blocking(move || work(&fetched.scratch));
        let reason = match read.await {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(self.unavailable(reason).into())
    }

    /// The repository on the configured or a public forge; `None` if neither hosts it.
    pub(super) fn target(&self) -> Result<Option<Target>, Errors> {
        repositories::target(self.repository, self.config)
    }

    /// The commits of all branches and tags.
    pub(super) async fn fetched(&self) -> Result<Arc<FetchedRepository>, Errors> {
        let fetched = self.fetched.get_or_init(|| self.fetch());
        fetched.await.clone()
    }

    /// Fetches the commits, once in a run. The token for the forge is sent only to the URL of the repository on that
    /// forge; git uses its own credentials if none is set or it does not suffice.
    async fn fetch(&self) -> Result<Arc<FetchedRepository>, Errors> {
        let target = self.target()?;
        let url = match self.repository {
            SourceRepository::Location(location) => location.clone(),
            SourceRepository::OnForge(_) => {
                target.as_ref().map(Target::git_url).unwrap_or_default()
            }
        };
        let sources = &self.services.fetched_sources;
        if let Some(fetched) = sources.borrow().get(&url) {
            return Ok(Arc::clone(fetched));
        }
        let other = OtherRepository {
            key: "source".to_owned(),
            repository: &url,
            token_env: None,
        };
        let own = other.remote(self.config, self.services)?.granted()?;
        let on_forge = target.map(|target| self.remote_on_forge(&target));
        let on_forge = on_forge.transpose()?;
        let is_hosted = on_forge.is_some();
        let mut fetch = Fetch {
            refspecs: vec![
                format!("+HEAD:{HEAD_REF}"),
                "+refs/heads/*:refs/repin/heads/*".to_owned(),
                "+refs/tags/*:refs/repin/tags/*".to_owned(),
            ],
            objects: FetchedObjects::Commits,
            // Forges limit and refuse requests for a while.
            attempts: if is_hosted {
                self.services.attempts()
            } else {
                1
            },
        };
        if url.starts_with(['/', '.']) || url.starts_with("file:") {
            // `HEAD` of a clone is what is checked out there. The pattern matches nothing if the default branch of `origin`
            // is unknown.
            let origin = format!("+refs/remotes/origin/HEA*:{ORIGIN}HEA*");
            fetch.refspecs.push(origin);
        }
        let routes = Routes::new(own, on_forge);
        let services = self.services;
        let mut fetched = repositories::fetch(routes.clone(), &fetch, services).await?;
        if matches!(&fetched, FetchOutcome::Done(fetched) if !fetched.has_references) {
            // Without its default branch, which does not exist.
            fetch.refspecs.remove(0);
            fetched = repositories::fetch(routes, &fetch, services).await?;
        }
        let fetched = match fetched {
            FetchOutcome::Done(fetched) => Arc::<FetchedRepository>::from(fetched),
            FetchOutcome::Failed(error) => return Err(self.unavailable(error.to_string()).into()),
        };
        let has_commits = fetched.scratch.git().has_any_commit();
        if !has_commits.map_err(|error| self.unavailable(error.to_string()))? {
            let reason = "the server lists neither branches nor tags".to_owned();
            return Err(self.unavailable(reason).into());
        }
        sources.borrow_mut().insert(url, Arc::clone(&fetched));
        Ok(fetched)
    }

    /// The repository on its forge, with the token for that forge if one is set.
    fn remote_on_forge(&self, target: &Target) -> Result<Remote, Errors> {
        let git = Git::discover(&self.config.root).map_err(Error::from)?;
        let token_use = repositories::token_use(self.config, &target.api);
        let environment = &self.services.environment;
        let token = match token_for(&target.api, token_use, git.as_ref(), environment)? {
            Access::Granted(credential) => credential.token,
            Access::NoToken(_) => Token::ANONYMOUS,
        };
        let url = target.git_url();
        let login = token.git_login(&url).ok().flatten();
        Ok(Remote { url, login })
    }

    fn unavailable(&self, reason: String) -> Error {
        let subject = format!("the source {}", self.name());
        let help = "check that the repository exists and that git may read it";
        Error::unavailable(subject, reason).help(help)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        app::workflow::services::tests::services,
        config::example,
        git::tests::{answering, git},
    };

    fn built_from(source: &str) -> Config {
        example(&format!(
            "version: 1\nfiles: [x]\nsource: '{source}'\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n"
        ))
    }

    #[test]
    fn source_is_fetched_once() {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        git(
            directory.path(),
            &["commit", "-q", "--allow-empty", "-m", "first"],
        );
        let config = built_from(directory.path().to_str().unwrap());
        let services = services();
        // A later list of builds has another source.
        let [first, second] = [(); 2].map(|()| {
            let source = BuildSource::new(&config, &services).unwrap();
            services.wait(source.fetched(), "fetching").unwrap()
        });
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn default_branch_of_a_clone_is_that_of_its_origin() {
        let directory = tempfile::tempdir().unwrap();
        let (origin, clone) = (
            directory.path().join("origin"),
            directory.path().join("clone"),
        );
        let commit = |root: &Path| {
            git(root, &["commit", "-q", "--allow-empty", "-m", "x"]);
            String::from_utf8(git(root, &["rev-parse", "HEAD"])).unwrap()
        };
        git(directory.path(), &["init", "-q", "-b", "main", "origin"]);
        let merged = commit(&origin);
        git(directory.path(), &["clone", "-q", "origin", "clone"]);
        git(&clone, &["checkout", "-q", "-b", "topic"]);
        let topic = commit(&clone);
        let config = built_from(clone.to_str().unwrap());
        let contains = |commit: &str| {
            let services = services();
            let source = BuildSource::new(&config, &services).unwrap();
            let contains = source.contains(commit.trim_end());
            services.wait(contains, "fetching").unwrap()
        };
        assert!(contains(&merged) && !contains(&topic));
        git(&clone, &["remote", "remove", "origin"]);
        assert!(contains(&topic));
    }

    #[test]
    fn answer_that_is_no_list_is_no_empty_source() {
        let config = built_from(&answering("ok"));
        let services = services();
        let source = BuildSource::new(&config, &services).unwrap();
        let error = services.wait(source.contains("0"), "fetching").unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("lists neither branches nor tags"), "{error}");
    }

    #[test]
    fn default_branch_may_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(directory.path(), args);
        run(&["init", "-q", "-b", "main"]);
        run(&["commit", "-q", "--allow-empty", "-m", "first"]);
        let commit = String::from_utf8(run(&["rev-parse", "HEAD"])).unwrap();
        let commit = commit.trim_end();
        let config = built_from(directory.path().to_str().unwrap());
        let contains = || {
            let services = services();
            let source = BuildSource::new(&config, &services).unwrap();
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

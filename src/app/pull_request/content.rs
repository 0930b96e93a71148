//! The content of a repository on a forge: its branches and files, read and written by git.
//!
//! `git::Mirror` has the objects. What a fetch showed of a branch counts until the next fetch of it; a push shows
//! whether it still does.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    base::{error::Error, http::Policy, text::size},
    forge::{Forge, PushedBranch, RefusedPush, is_workflow},
    git::{
        Comparison, Connections, Git, GitError, Mirror, NewCommit, ObjectId, Pushed, RefUpdate,
        Remote, Tree,
        merge::{self, SyncOutcome, SyncSite},
    },
};

/// The beginning of the names of repin's own branches, which it may delete.
pub(super) const OWN_BRANCHES: &str = "repin/";

/// The time after which a fetch is reported, with its size.
const SLOW_FETCH: Duration = Duration::from_secs(3);

type Callback = dyn Fn(&str) + Send + Sync;

/// Receives notes, also on another thread.
#[derive(Clone, Default)]
pub(crate) struct NoteListener(Option<Arc<Callback>>);

impl NoteListener {
    /// Calls `callback` with each note.
    pub(crate) fn new(callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    fn notify(&self, note: Option<String>) {
        if let (Some(callback), Some(note)) = (&self.0, note) {
            callback(&note);
        }
    }
}

impl fmt::Debug for NoteListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoteListener")
    }
}

/// A repository on a forge: its pull requests by the forge's API, and its content by git.
#[derive(Debug)]
pub(crate) struct ForgeRepository {
    pub forge: Forge,
    pub content: Content,
}

/// The directory and the connection for the content of a repository.
#[derive(Debug)]
pub(crate) struct ContentPlace {
    pub directory: PathBuf,
    /// The clone whose objects are borrowed.
    pub clone: Option<Git>,
    pub remote: Remote,
    pub connections: Connections,
    pub notes: NoteListener,
    /// Removes the directory with the content.
    pub _temporary: Option<tempfile::TempDir>,
}

/// The content of a repository. The first operation fetches.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    place: Arc<ContentPlace>,
    mirror: Arc<Mutex<Option<Mirror>>>,
    /// How often a connection is attempted, and the pauses between two attempts.
    retries: Policy,
    /// The time of commits, in seconds since 1970.
    seconds: i64,
    /// Trees by commit: they never change.
    trees: Rc<RefCell<HashMap<String, Rc<Tree>>>>,
}

/// The outcome of moving a branch to a commit.
#[derive(Debug, Clone)]
pub(crate) enum PushOutcome {
    Done,
    /// Another process created or moved the branch concurrently.
    Raced(String),
    /// Another process moved the base branch concurrently.
    BaseMoved,
    /// The answer was lost: the branch may be at the commit.
    Unsure(String),
    /// The server refused, for the reason in the error.
    Refused(Error),
}

impl Content {
    /// The content in `place`, with the present time of `clock` as that of commits.
    pub(crate) fn new(place: ContentPlace, retries: Policy, clock: fn() -> SystemTime) -> Self {
        let seconds = clock()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            place: Arc::new(place),
            mirror: Arc::default(),
            retries,
            seconds: i64::try_from(seconds).unwrap_or_default(),
            trees: Rc::default(),
        }
    }

    /// Fetches branches with their history.
    pub(crate) async fn fetch(&self, branches: &[&str]) -> Result<(), Error> {
        self.fetch_with(branches, None).await.map(drop)
    }

    /// Fetches branches as [`Self::fetch`] does, and returns the heads of the branches whose names begin with `prefix`.
    pub(crate) async fn fetch_and_list(
        &self,
        branches: &[&str],
        prefix: &str,
    ) -> Result<BTreeMap<String, ObjectId>, Error> {
        self.fetch_with(branches, Some(prefix)).await
    }

    async fn fetch_with(
        &self,
        branches: &[&str],
        prefix: Option<&str>,
    ) -> Result<BTreeMap<String, ObjectId>, Error> {
        let names: Vec<_> = branches.iter().map(|name| (*name).to_owned()).collect();
        let prefix = prefix.map(str::to_owned);
        let packs = self.place.directory.join(".git/objects/pack");
        let (start, before) = (Instant::now(), packed_bytes(&packs));
        let fetched = self.repeat(move |mirror| {
            let branches: Vec<_> = names.iter().map(String::as_str).collect();
            mirror.fetch(&branches, prefix.as_deref())
        });
        let listed = fetched
            .await
            .map_err(|error| self.not_fetched(&branches.join(", "), error))?;
        let bytes = packed_bytes(&packs).saturating_sub(before);
        let note = slow_fetch(start.elapsed(), bytes, &self.place.remote.url);
        self.place.notes.notify(note);
        Ok(listed)
    }

    /// Fetches a commit of a branch with its history, as the head of the branch.
    pub(crate) async fn fetch_commit(&self, branch: &str, commit: &str) -> Result<(), Error> {
        self.fetch_commit_with(branch, commit, false).await
    }

    /// Fetches a commit of a branch without its history. Only for content in a temporary directory: others would miss
    /// the history.
    pub(crate) async fn fetch_only_commit(&self, branch: &str, commit: &str) -> Result<(), Error> {
        self.fetch_commit_with(branch, commit, true).await
    }

    async fn fetch_commit_with(
        &self,
        branch: &str,
        commit: &str,
        is_shallow: bool,
    ) -> Result<(), Error> {
        let (name, commit) = (branch.to_owned(), object_id(commit)?);
        let fetched = self.repeat(move |mirror| mirror.fetch_commit(&name, &commit, is_shallow));
        fetched
            .await
            .map_err(|error| self.not_fetched(branch, error))
    }

    /// Reads the history of a branch, with the contents that are missing here; repeats it if the connection fails.
    pub(crate) async fn read_history<T: Send + 'static>(
        &self,
        branch: &str,
        work: impl Fn(&Git) -> Result<T, GitError> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let read = self.repeat(move |mirror| work(mirror.git())).await;
        read.map_err(|error| self.not_fetched(branch, error))
    }

    fn not_fetched(&self, branch: &str, error: GitError) -> Error {
        let is_denied = matches!(error, GitError::Denied { .. });
        match error {
            GitError::NoGit | GitError::TooOld(_) | GitError::Unreadable { .. } => error.into(),
            error => GitError::NotFetched {
                branch: branch.to_owned(),
                url: self.place.remote.url.clone(),
                reason: error.to_string(),
                is_denied,
            }
            .into(),
        }
    }

    pub(crate) fn has_fetched(&self, branch: &str) -> Result<bool, Error> {
        Ok(self.with(|mirror| Ok(mirror.has_fetched(branch)))?)
    }

    /// The head of a branch, as the last fetch of it showed it; it is fetched if there was none.
    pub(crate) async fn head(&self, branch: &str) -> Result<Option<String>, Error> {
        if !self.has_fetched(branch)? {
            self.fetch(&[branch]).await?;
        }
        let head = self.with(|mirror| Ok(mirror.head(branch)))?;
        Ok(head.map(|head| head.to_string()))
    }

    /// The repository of git, with everything that was fetched.
    pub(crate) fn git(&self) -> Result<Git, Error> {
        Ok(self.with(|mirror| Ok(mirror.git().clone()))?)
    }

    /// Removes what was fetched, and fetches it again: a clone may have collected objects that were borrowed.
    pub(crate) async fn renew(&self) -> Result<(), Error> {
        let opened = self
            .mirror
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(opened) = opened else {
            return Ok(());
        };
        let fetched = opened.fetched();
        opened.discard()?;
        let fetched: Vec<_> = fetched.iter().map(String::as_str).collect();
        self.fetch(&fetched).await
    }

    /// All files of a commit.
    pub(crate) fn tree(&self, commit: &str) -> Result<Rc<Tree>, Error> {
        if let Some(tree) = self.trees.borrow().get(commit) {
            return Ok(Rc::clone(tree));
        }
        let id = object_id(commit)?;
        let tree = Rc::new(self.with(|mirror| mirror.git().tree(&id))?);
        let mut trees = self.trees.borrow_mut();
        trees.insert(commit.to_owned(), Rc::clone(&tree));
        Ok(tree)
    }

    /// The contents of blobs in the requested order; each is requested once. Those that are missing are fetched together.
    pub(crate) async fn blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let parsed: Vec<_> = ids
            .iter()
            .map(|id| object_id(id))
            .collect::<Result<_, _>>()?;
        let read = self.repeat(move |mirror| {
            let mut objects = mirror.git().objects_by_id(|_, content| {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            });
            for id in &parsed {
                objects.request(*id)?;
            }
            let mut contents = objects.finish()?;
            let in_order = parsed
                .iter()
                .map(|id| contents.remove(id).ok_or(GitError::Missing(*id)));
            in_order.collect()
        });
        read.await.map_err(|error| self.not_fetched("files", error))
    }

    /// The changes of `branch` since the commit `base`, as the last fetch showed the branch.
    pub(crate) async fn compare(&self, base: &str, branch: &str) -> Result<Comparison, Error> {
        let Some(head) = self.head(branch).await? else {
            return Ok(Comparison::Absent);
        };
        let (base, head) = (object_id(base)?, object_id(&head)?);
        Ok(self.with(|mirror| mirror.git().compare(&base, &head))?)
    }

    /// Makes a commit, which no branch contains yet.
    pub(crate) fn commit(&self, new: NewCommit) -> Result<String, Error> {
        let new = NewCommit {
            seconds: self.seconds + new.seconds,
            ..new
        };
        Ok(self
            .with(|mirror| mirror.git().make_commit(&new))?
            .to_string())
    }

    /// Moves branches on the server: all of them, or none. The first one is settled if the answer is lost.
    pub(crate) async fn push(
        &self,
        updates: &[RefUpdate],
        paths: &[&str],
        forge: &'static str,
    ) -> Result<PushOutcome, Error> {
        let Some(first) = updates.first() else {
            return Ok(PushOutcome::Done);
        };
        let refused = |message: &str, is_denied| {
            let refused = RefusedPush {
                branch: &first.branch,
                message,
                is_denied,
                changes_workflows: paths.iter().any(|path| is_workflow(path)),
                target: PushedBranch::Own,
            };
            refused.error(forge)
        };
        for attempt in 1.. {
            let sent = updates.to_vec();
            let (reason, raced) = match self.run(move |mirror| mirror.push(&sent)).await {
                Ok(Pushed::Done) => return Ok(PushOutcome::Done),
                // libcurl repeats a request if a kept connection is lost, and then the first one may be the rival.
                Ok(Pushed::Raced(reason)) => (reason, true),
                Ok(Pushed::BaseMoved) => return Ok(PushOutcome::BaseMoved),
                Ok(Pushed::Refused(reason)) => {
                    return Ok(PushOutcome::Refused(refused(&reason, false)));
                }
                Err(GitError::Denied { message, .. }) => return Err(refused(&message, true)),
                Ok(Pushed::Unsure(reason)) => (reason, false),
                Err(error) => (error.to_string(), false),
            };
            let head = match self.listed(&first.branch).await {
                Ok(head) => head,
                Err(_) if raced => return Ok(PushOutcome::Raced(reason)),
                Err(_) => return Ok(PushOutcome::Unsure(reason)),
            };
            match Pushed::by_head(first, head) {
                Some(Pushed::Done) => return Ok(PushOutcome::Done),
                None if !raced => {}
                Some(_) | None => return Ok(PushOutcome::Raced(reason)),
            }
            if !self.pause_before_retry(attempt).await {
                let what = format!("{forge}: pushing {}", first.branch);
                return Err(Error::unavailable(what, reason).help("run the command again"));
            }
        }
        Err(Error::internal())
    }

    /// Merges the branch `from` into the branch `to` on the server; without `apply`, tests it.
    pub(crate) async fn sync(
        &self,
        [from, to]: [String; 2],
        apply: bool,
        refused: impl Fn(&str, bool) -> Error + Send + 'static,
    ) -> Result<SyncOutcome, Error> {
        let synced = self.run(move |mirror| {
            let site = SyncSite::Forge(mirror);
            Ok(merge::sync(site, [&from, &to], apply, refused))
        });
        synced.await?
    }

    /// Tests whether the token may push to branches; returns those that are missing.
    pub(crate) async fn check_push(&self, branches: &[String]) -> Result<Vec<String>, Error> {
        let branches = branches.to_vec();
        let checked =
            self.run(move |mirror| Ok(merge::check_push(SyncSite::Forge(mirror), &branches)));
        checked.await?
    }

    /// The commit of a branch on the server now.
    pub(crate) async fn listed(&self, branch: &str) -> Result<Option<ObjectId>, Error> {
        let name = branch.to_owned();
        let listed = self.repeat(move |mirror| mirror.listed(&[&name])).await;
        let listed = listed.map_err(|error| self.not_fetched(branch, error))?;
        Ok(listed.get(branch).copied())
    }

    async fn pause_before_retry(&self, failed: u32) -> bool {
        let connections = &self.place.connections;
        connections.pause_before_retry(failed, &self.retries).await
    }

    /// Runs git with a connection; repeats it if the connection fails.
    async fn repeat<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Mirror) -> Result<T, GitError> + Send + Sync + 'static,
    ) -> Result<T, GitError> {
        let work = Arc::new(work);
        let mut attempt = 1;
        loop {
            let once = Arc::clone(&work);
            match self.run(move |mirror| once(mirror)).await {
                Err(error) if error.is_transient() && self.pause_before_retry(attempt).await => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Runs git with a connection, while other requests continue.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Mirror) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let (place, mirror) = (Arc::clone(&self.place), Arc::clone(&self.mirror));
        let ran = tokio::task::spawn_blocking(move || with(&place, &mirror, work));
        ran.await.unwrap_or_else(|error| {
            Err(GitError::Io {
                command: "fetch",
                error: io::Error::other(error),
            })
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Mirror) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        with(&self.place, &self.mirror, work)
    }
}

/// Opens the mirror if it is not open, and works with it.
fn with<T>(
    place: &ContentPlace,
    mirror: &Mutex<Option<Mirror>>,
    work: impl FnOnce(&mut Mirror) -> Result<T, GitError>,
) -> Result<T, GitError> {
    let mut opened = mirror.lock().unwrap_or_else(PoisonError::into_inner);
    let mirror = match &mut *opened {
        Some(mirror) => mirror,
        closed => {
            let ContentPlace {
                directory,
                clone,
                remote,
                connections,
                ..
            } = place;
            let (clone, remote) = (clone.as_ref(), remote.clone());
            let connections = connections.clone();
            closed.insert(Mirror::open(directory, clone, remote, connections)?)
        }
    };
    work(mirror)
}

/// The size of the packs in a directory, which may not exist yet.
fn packed_bytes(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        bytes += entry.metadata().map_or(0, |metadata| metadata.len());
    }
    bytes
}

/// The note about a fetch that took long.
fn slow_fetch(time: Duration, bytes: u64, url: &str) -> Option<String> {
    let (size, seconds) = (size(bytes.into()), time.as_secs());
    (time > SLOW_FETCH).then(|| format!("note: git fetched {size} from {url} in {seconds} s"))
}

pub(super) fn object_id(id: &str) -> Result<ObjectId, Error> {
    ObjectId::parse(id.as_bytes())
        .ok_or_else(|| Error::unavailable("git", format!("malformed object id `{id}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_fetch_is_reported_with_its_size() {
        let note =
            |seconds, bytes| slow_fetch(Duration::from_secs(seconds), bytes, "https://h/a/b.git");
        assert_eq!(note(3, 99_000_000), None);
        assert_eq!(
            note(12, 3 * 1024 * 1024 + 600_000).as_deref(),
            Some("note: git fetched 3.6 MiB from https://h/a/b.git in 12 s")
        );
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(packed_bytes(&directory.path().join("absent")), 0);
        fs::write(directory.path().join("a.pack"), [0; 70]).unwrap();
        fs::write(directory.path().join("a.idx"), [0; 30]).unwrap();
        assert_eq!(packed_bytes(directory.path()), 100);
    }
}

//! A repository of repin's own with the content of a repository on a forge. It is in a clone's directory of git, or
//! in a temporary one. It borrows the objects of the clone, and never changes the clone.
//!
//! It has the remotes and the references of the clone, too, so that a branch of the clone is found in it. A fetch
//! leaves out the contents of files; those that are read are fetched together. Deleting the directory costs
//! only time. Runs wait for each other only while they open it or fetch into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::FlockOperation;
use sha2::Digest as _;

use super::{
    BRANCHES, Connections, FORGE, Git, GitError, IdleProcess, Object, ObjectId, Remote, Settings,
    command, commits::parents, connection::without_users, location::Location, settings::Setting,
};

/// The fetched branches, by the SHA-256 of their names: so none of them can be a directory of another one, and no name is
/// too long for a file.
const FETCHED: &str = "refs/repin/heads/";

/// The maximum number of objects of a fetch; their ids must fit into a command line.
const MAX_WANTED: usize = 10_000;

/// The file with the forge's repository and the settings of the clone, which the configuration includes.
const CONFIG: &str = "repin.config";

/// Locks of git that a killed run may have left.
const LOCKS: [&str; 4] = [
    "config.lock",
    "shallow.lock",
    "packed-refs.lock",
    "HEAD.lock",
];

/// Options of every fetch.
const FETCH: [&str; 6] = [
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-gc",
    "--recurse-submodules=no",
    "--filter=blob:none",
];

/// The repository, and where its content comes from.
#[derive(Debug)]
pub(crate) struct Mirror {
    git: Git,
    remote: Arc<Remote>,
    directory: PathBuf,
    /// Keeps other runs from removing the repository.
    used: fs::File,
    /// The heads of the branches that were fetched; `None`: the branch is missing.
    heads: BTreeMap<String, Option<ObjectId>>,
    /// Commits of references and of pushes. Unless the repository is shallow, it has their whole history.
    pub(super) complete: BTreeSet<ObjectId>,
}

/// What another repository takes over from a clone.
struct Lent {
    objects: PathBuf,
    /// The boundary of a shallow clone.
    shallow: BTreeSet<ObjectId>,
    format: String,
    prefix: Vec<u8>,
    /// The remotes, and the upstreams of branches.
    config: Vec<u8>,
    /// The content of `packed-refs`.
    references: String,
    /// The commits of these references.
    tips: BTreeSet<ObjectId>,
    /// Symbolic references, by their names.
    symbolic: Vec<(String, String)>,
    /// The content of `HEAD`.
    head: Option<String>,
}

impl Mirror {
    /// Opens the repository in `directory`, or creates it. It borrows the objects of `clone`.
    pub(crate) fn open(
        directory: &Path,
        clone: Option<&Git>,
        remote: Remote,
        connections: Connections,
    ) -> Result<Self, GitError> {
        let _lock = locked(directory)?;
        let packs = fs::read_dir(directory.join(".git/objects/pack"));
        if packs.map_or(0, Iterator::count) > 3 * MAX_PACKS {
            remove_unused(directory)?;
        }
        let used = in_use(directory, FlockOperation::LockShared)?;
        let mut mirror = Self {
            used,
            git: Git {
                program: clone.map_or_else(
                    || OsString::from(command::PROGRAM),
                    |clone| clone.program.clone(),
                ),
                place: Location::outside(directory),
                shallow: BTreeSet::new(),
                identity: None,
                fetches_lazily: false,
                idle: IdleProcess::default(),
                settings: Settings::default(),
                kept: None,
                source: None,
                connections,
            },
            remote: Arc::new(remote),
            directory: directory.to_owned(),
            heads: BTreeMap::new(),
            complete: BTreeSet::new(),
        };
        mirror.create(clone)?;
        mirror.git.source = Some(Arc::clone(&mirror.remote));
        Ok(mirror)
    }

    fn create(&mut self, clone: Option<&Git>) -> Result<(), GitError> {
        let lent = clone.map(Git::lend).transpose()?;
        self.git.place = Location::outside(&self.directory);
        command::check_version(&self.git.program)?;
        let repository = self.directory.join(".git");
        fs::create_dir_all(&repository).map_err(|error| self.unreadable(error))?;
        for name in LOCKS {
            let _ = fs::remove_file(repository.join(name));
        }
        let format = lent.as_ref().map(|lent| lent.format.clone());
        let format = format.map(|format| format!("--object-format={format}"));
        let mut args = vec!["-q", "--template="];
        args.extend(format.as_deref());
        self.git.run_checked("init", &args, None)?;
        self.git.place = Location::own(&self.directory);
        let mut config = self.forge_config();
        config.extend(lent.iter().flat_map(|lent| &lent.config));
        let written = replace(&repository.join(CONFIG), &config);
        written.map_err(|error| self.unreadable(error))?;
        let included = include(&repository.join("config"));
        included.map_err(|error| self.unreadable(error))?;
        if let Some(lent) = lent {
            self.borrow(&lent).map_err(|error| self.unreadable(error))?;
            self.git.place.prefix = lent.prefix;
            self.shorten(lent.shallow)?;
            self.complete = lent.tips;
        }
        self.git.shallow = self.git.boundary()?;
        self.remove_lost()
    }

    /// Removes references to commits that the clone has collected since the last run: while they exist, git refuses a fetch
    /// without a filter.
    fn remove_lost(&mut self) -> Result<(), GitError> {
        let fetched = self.git.tips_below(FETCHED)?;
        let tips: Vec<_> = fetched.values().copied().collect();
        let lost = self.git.missing(&tips)?;
        for (name, _) in fetched.iter().filter(|(_, tip)| lost.contains(tip)) {
            let path = self.directory.join(".git").join(FETCHED).join(name);
            fs::remove_file(path).map_err(|error| self.unreadable(error))?;
        }
        let kept = tips.into_iter().filter(|tip| !lost.contains(tip));
        self.complete.extend(kept);
        Ok(())
    }

    /// The remote of the forge: git accepts a filter only for a named one. Its URL is a placeholder, so that no
    /// `url.<base>.insteadOf` of the user applies to it, and commits are not sent elsewhere. Names of files are compared
    /// exactly on every system.
    fn forge_config(&self) -> Vec<u8> {
        let url = quoted(self.remote.url.as_bytes());
        [
            b"[core]\n\tignorecase = false\n\tprecomposeunicode = false\n",
            format!("[remote \"{FORGE}\"]\n\turl = {FORGE}:\n\tpushurl = {FORGE}:\n[url ")
                .as_bytes(),
            &url,
            format!("]\n\tinsteadOf = {FORGE}:\n").as_bytes(),
        ]
        .concat()
    }

    fn unreadable(&self, error: std::io::Error) -> GitError {
        GitError::Unreadable {
            path: self.directory.clone(),
            error,
        }
    }

    fn borrow(&self, lent: &Lent) -> std::io::Result<()> {
        let repository = self.directory.join(".git");
        let mut line = lent.objects.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        fs::create_dir_all(repository.join("objects/info"))?;
        replace(&repository.join("objects/info/alternates"), &line)?;
        replace(&repository.join("packed-refs"), lent.references.as_bytes())?;
        for (name, target) in &lent.symbolic {
            let path = repository.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&repository))?;
            replace(&path, format!("ref: {target}\n").as_bytes())?;
        }
        if let Some(head) = &lent.head {
            replace(&repository.join("HEAD"), head.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the boundary: each known one with a parent that is missing here.
    fn shorten(&mut self, mut boundary: BTreeSet<ObjectId>) -> Result<(), GitError> {
        boundary.extend(self.git.boundary()?);
        let mut lines = String::new();
        for commit in boundary {
            let Some(Object::Commit(text)) = self.git.object(commit)? else {
                continue;
            };
            if !self.git.missing(&parents(&text))?.is_empty() {
                lines.extend([commit.to_string().as_str(), "\n"]);
            }
        }
        let path = self.directory.join(".git/shallow");
        let written = if lines.is_empty() {
            fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        } else {
            replace(&path, lines.as_bytes())
        };
        self.git.idle = IdleProcess::default();
        written.map_err(|error| GitError::Unreadable { path, error })
    }

    /// Removes the repository, unless another run uses it. The next run creates it with all objects.
    pub(crate) fn discard(self) -> Result<(), GitError> {
        let Self {
            directory, used, ..
        } = self;
        drop(used);
        let _lock = locked(&directory)?;
        remove_unused(&directory)
    }

    /// The repository, with the prefix of the clone.
    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    #[cfg(test)]
    pub(super) fn set_program(&mut self, program: &str) {
        self.git.program = program.into();
    }

    /// The names of the branches that were fetched, with those that were missing.
    pub(crate) fn fetched(&self) -> Vec<String> {
        self.heads.keys().cloned().collect()
    }

    pub(crate) fn has_fetched(&self, branch: &str) -> bool {
        self.heads.contains_key(branch)
    }

    /// The head of a branch when it was fetched; `None`: it did not exist.
    pub(crate) fn head(&self, branch: &str) -> Option<ObjectId> {
        self.heads.get(branch).copied().flatten()
    }

    /// Fetches branches with their history, without the contents of files; git connects only once if their commits are here.
    /// Returns the heads of the branches whose names begin with `prefix`, which are only listed.
    pub(crate) fn fetch(
        &mut self,
        branches: &[&str],
        prefix: Option<&str>,
    ) -> Result<BTreeMap<String, ObjectId>, GitError> {
        let _lock = locked(&self.directory)?;
        // Another run may have fetched since.
        self.git.shallow = self.git.boundary()?;
        let others = prefix.map(|prefix| format!("{prefix}*"));
        let mut names = branches.to_vec();
        names.extend(others.as_deref());
        // A branch may move before the fetch, and a replica of the server may not have its commit yet.
        for _ in 0..2 {
            let mut listed = self.listed(&names)?;
            let head = |name: &&str| ((*name).to_owned(), listed.get(*name).copied());
            let heads = branches.iter().map(head).collect();
            if self.fetch_heads(&heads, false)? {
                self.heads.extend(heads);
                listed.retain(|name, _| prefix.is_some_and(|prefix| name.starts_with(prefix)));
                return Ok(listed);
            }
        }
        Err(self.lost_commit())
    }

    /// Fetches a commit of a branch with its history, without the contents of files, as the head of the branch. `is_shallow`:
    /// without its history, which other runs would miss in the same directory.
    pub(crate) fn fetch_commit(
        &mut self,
        branch: &str,
        commit: &ObjectId,
        is_shallow: bool,
    ) -> Result<(), GitError> {
        let _lock = locked(&self.directory)?;
        self.git.shallow = self.git.boundary()?;
        let heads = BTreeMap::from([(branch.to_owned(), Some(*commit))]);
        if !self.fetch_heads(&heads, is_shallow)? {
            return Err(self.lost_commit());
        }
        self.heads.extend(heads);
        Ok(())
    }

    fn lost_commit(&self) -> GitError {
        self.refused("fetch", "the commit of a branch is missing on the server")
    }

    /// The error of a command that the state of the server does not permit.
    pub(super) fn refused(&self, command: &'static str, reason: &str) -> GitError {
        GitError::Remote {
            remote: without_users(&self.remote.url),
            command,
            reason: reason.to_owned(),
        }
    }

    /// Fetches commits by their ids, so that git connects only if one is missing here, and does not list the branches
    /// again; `false` if the server lacks one. With names for them, git 2.48 and 2.49 would always connect.
    fn fetch_heads(
        &mut self,
        heads: &BTreeMap<String, Option<ObjectId>>,
        is_shallow: bool,
    ) -> Result<bool, GitError> {
        let mut args: Vec<String> = FETCH.map(str::to_owned).to_vec();
        if is_shallow {
            args.push("--depth=1".to_owned());
        } else if self.git.is_shallow() {
            args.push("--unshallow".to_owned());
        }
        args.extend(["--end-of-options", FORGE].map(str::to_owned));
        let ids: BTreeSet<_> = heads.values().flatten().copied().collect();
        args.extend(ids.iter().map(ToString::to_string));
        let is_complete = !self.git.is_shallow() && ids.is_subset(&self.complete);
        // Without an id, git would fetch the default branch.
        if !ids.is_empty() && !is_complete {
            let ran = self.git.run("fetch", &args, Some(&self.remote))?;
            if !ran.found_references(&self.remote)? {
                return Ok(false);
            }
        }
        for (branch, head) in heads {
            self.refer(branch, *head)
                .map_err(|error| self.unreadable(error))?;
        }
        self.git.shallow = self.git.boundary()?;
        self.git.idle = IdleProcess::default();
        self.complete.extend(ids);
        Ok(true)
    }

    /// Writes the reference to the head of a branch, which keeps its objects; removes it if the branch is missing.
    fn refer(&self, branch: &str, head: Option<ObjectId>) -> std::io::Result<()> {
        let repository = self.directory.join(".git");
        let directory = repository.join(FETCHED);
        let path = directory.join(encoded(branch));
        if let Some(head) = head {
            fs::create_dir_all(directory)?;
            // Outside of the references, among which git would find the file of a killed run.
            let new = repository.join("repin.reference");
            fs::write(&new, format!("{head}\n"))?;
            return fs::rename(new, path);
        }
        fs::remove_file(path).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
    }
}

/// The number of packs above which the repository is created again. Each fetch adds one; repacking could remove objects
/// that another run needs.
const MAX_PACKS: usize = 100;

/// The name of a fetched branch.
fn encoded(branch: &str) -> String {
    hex::encode(sha2::Sha256::digest(branch))
}

/// Writes a file so that a process that reads it finds the old or the new content.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|current| current == content) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// Makes a configuration file of git include [`CONFIG`].
fn include(config: &Path) -> std::io::Result<()> {
    let mut text = fs::read_to_string(config)?;
    let section = format!("[include]\n\tpath = {CONFIG}\n");
    if !text.contains(&section) {
        text.push_str(&section);
        replace(config, text.as_bytes())?;
    }
    Ok(())
}

impl Git {
    /// What a mirror takes over.
    fn lend(&self) -> Result<Lent, GitError> {
        let args = [
            "--path-format=absolute",
            "--git-path",
            "objects",
            "--show-object-format",
        ];
        let printed = self.output("rev-parse", &args)?;
        let mut lines = printed.split(|byte| *byte == b'\n');
        let (objects, format) = (lines.next(), lines.next());
        let objects = objects.unwrap_or_default().to_vec();
        let (mut references, mut symbolic) = (String::new(), Vec::new());
        let mut tips = BTreeSet::new();
        for (name, reference) in self.references(&["refs/"])? {
            if name.starts_with("refs/repin/") {
                continue;
            }
            if reference.target.is_empty() {
                let id = reference.tip.to_string();
                references.extend([id.as_str(), " ", &name, "\n"]);
                tips.insert(reference.tip);
            } else {
                symbolic.push((name, reference.target));
            }
        }
        let head = match self.checked_out()? {
            Some(branch) => Some(format!("ref: {BRANCHES}{branch}\n")),
            None => self.head().ok().map(|head| format!("{}\n", head.tip)),
        };
        Ok(Lent {
            objects: PathBuf::from(OsString::from_vec(objects)),
            shallow: self.shallow.clone(),
            format: String::from_utf8_lossy(format.unwrap_or_default()).into_owned(),
            prefix: self.prefix().to_vec(),
            config: self.lent_config()?,
            references,
            tips,
            symbolic,
            head,
        })
    }

    /// The settings of remotes, of the upstreams of branches, and of the author and the signature of commits, as a
    /// file of git.
    fn lent_config(&self) -> Result<Vec<u8>, GitError> {
        let mut text = Vec::new();
        let own = format!("remote.{FORGE}.");
        for Setting { key, value } in self.settings()? {
            let (Some((first, _)), Some((subsection, name))) =
                (key.split_once('.'), key.rsplit_once('.'))
            else {
                continue;
            };
            let is_lent = match first {
                "remote" => ["url", "fetch"].contains(&name) && !key.starts_with(&own),
                "branch" => ["remote", "merge"].contains(&name),
                _ => ["user", "author", "committer", "gpg"].contains(&first),
            };
            if !is_lent {
                continue;
            }
            text.push(b'[');
            text.extend(first.as_bytes());
            if first.len() < subsection.len() {
                text.push(b' ');
                text.extend(quoted(&subsection.as_bytes()[first.len() + 1..]));
            }
            text.extend([b"]\n\t", name.as_bytes()].concat());
            if let Some(value) = value {
                text.extend(b" = ");
                text.extend(quoted(value));
            }
            text.push(b'\n');
        }
        Ok(text)
    }

    /// The directory for repin's own files in the repository, which all of its work trees share.
    pub(crate) fn own_directory(&self) -> Result<PathBuf, GitError> {
        let args = ["--path-format=absolute", "--git-common-dir"];
        let printed = self.output("rev-parse", &args)?;
        let directory = Path::new(OsStr::from_bytes(printed.trim_ascii_end()));
        Ok(directory.join("repin"))
    }

    /// Fetches contents that are missing here, if this repository has a source for them.
    pub(crate) fn fetch_missing(&self, ids: &[ObjectId]) -> Result<bool, GitError> {
        let Some(source) = &self.source else {
            return Ok(false);
        };
        for ids in ids.chunks(MAX_WANTED) {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let mut args: Vec<&str> = FETCH.to_vec();
            args.extend(["--end-of-options", FORGE]);
            args.extend(ids.iter().map(String::as_str));
            // A server expects a shallow repository to have all contents of its commits, and would send none of them.
            let settings = ["fetch.negotiationAlgorithm=noop"];
            self.run_with("fetch", &args, Some(source), &[], &settings)?
                .required("fetch")?;
        }
        Ok(true)
    }
}

/// A value of a configuration file, or a path of git-fast-import (git-config, "Syntax"; git-fast-import, "`<path>`").
pub(super) fn quoted(value: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(b"\\n"),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
    text
}

/// Waits until no other run opens or fetches into the directory.
fn locked(directory: &Path) -> Result<fs::File, GitError> {
    fs::create_dir_all(directory).map_err(|error| GitError::Unreadable {
        path: directory.to_owned(),
        error,
    })?;
    flock(
        directory.with_extension("lock"),
        FlockOperation::LockExclusive,
    )
}

/// The lock of the runs that use the directory.
fn in_use(directory: &Path, operation: FlockOperation) -> Result<fs::File, GitError> {
    flock(directory.with_extension("used"), operation)
}

/// Removes the directory, unless another run uses it.
fn remove_unused(directory: &Path) -> Result<(), GitError> {
    if in_use(directory, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(|error| GitError::Unreadable {
        path: directory.to_owned(),
        error,
    })
}

fn flock(path: PathBuf, operation: FlockOperation) -> Result<fs::File, GitError> {
    let open = || {
        let file = fs::File::create(&path)?;
        rustix::fs::flock(&file, operation)?;
        Ok(file)
    };
    open().map_err(|error| GitError::Unreadable { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::files::RelPath,
        git::{
            TreeFile,
            tests::{answering, git, id, remote},
        },
    };

    /// A repository on a server with the file `f`, which each of `count` commits changes.
    fn server(count: usize) -> tempfile::TempDir {
        let server = tempfile::tempdir().unwrap();
        git(server.path(), &["init", "-q", "-b", "main"]);
        git(server.path(), &["config", "uploadpack.allowFilter", "true"]);
        git(
            server.path(),
            &["config", "uploadpack.allowAnySHA1InWant", "true"],
        );
        for number in 0..count {
            change(server.path(), number);
        }
        server
    }

    fn change(repository: &Path, number: usize) {
        fs::write(repository.join("f"), format!("{number}\n")).unwrap();
        git(repository, &["add", "-A"]);
        let name = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        git(
            repository,
            &[&name[..], &["commit", "-q", "-m", "x"]].concat(),
        );
    }

    fn cloned(server: &Path, options: &[&str]) -> tempfile::TempDir {
        let clone = tempfile::tempdir().unwrap();
        let url = format!("file://{}", server.display());
        let target = clone.path().to_str().unwrap();
        git(
            server,
            &[&["clone", "-q"], options, &[&url, target]].concat(),
        );
        clone
    }

    /// Every file of a repository with its content, except repin's.
    fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if !path.ends_with(".git/repin") {
                        open.push(path);
                    }
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    fn mirror_of(clone: &Path, server: &Path) -> Mirror {
        let git = Git::open(clone).unwrap();
        let directory = git.own_directory().unwrap().join("forge");
        let connections = Connections::default();
        Mirror::open(&directory, Some(&git), remote(server), connections).unwrap()
    }

    /// A mirror without a clone. The directory is removed when it is dropped.
    fn mirror_alone(remote: Remote) -> (tempfile::TempDir, Mirror) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("forge");
        let connections = Connections::default();
        let mirror = Mirror::open(&directory, None, remote, connections);
        (parent, mirror.unwrap())
    }

    fn fetched(mirror: &mut Mirror, branch: &str) -> Option<ObjectId> {
        mirror.fetch(&[branch], None).unwrap();
        mirror.head(branch)
    }

    /// The number of commits up to `tip`, and the content of `f` in the first one.
    fn history(mirror: &Mirror, tip: &ObjectId) -> (usize, Vec<u8>) {
        let git = mirror.git();
        let listed = git.output("rev-list", &[tip.to_string()]).unwrap();
        let commits: Vec<_> = listed
            .split(|byte| *byte == b'\n')
            .filter_map(ObjectId::parse)
            .collect();
        let path = RelPath::parse("f").unwrap();
        let first = git.file(&commits[commits.len() - 1], &path, 100).unwrap();
        let TreeFile::Content(content) = first else {
            panic!("{first:?}")
        };
        (commits.len(), content)
    }

    #[test]
    fn every_kind_of_clone_gets_the_history_of_the_branch_and_stays_as_it_is() {
        let server = server(5);
        for options in [
            &[][..],
            &["--depth=1"],
            &["--depth=3"],
            &["--filter=blob:none"],
            &["--depth=1", "--no-checkout"],
        ] {
            let clone = cloned(server.path(), options);
            if !options.contains(&"--no-checkout") {
                git(clone.path(), &["checkout", "-q", "--detach"]);
            }
            let before = files(clone.path());
            let tip = id(server.path(), "main");
            for _ in 0..2 {
                let mut mirror = mirror_of(clone.path(), server.path());
                assert_eq!(fetched(&mut mirror, "main"), Some(tip), "{options:?}");
                assert_eq!(history(&mirror, &tip), (5, b"0\n".to_vec()), "{options:?}");
                assert!(!mirror.git().is_shallow(), "{options:?}");
            }
            assert_eq!(files(clone.path()), before, "{options:?}");
            git(clone.path(), &["fsck", "--no-dangling"]);
        }
    }

    #[test]
    fn commits_that_the_clone_does_not_have_are_fetched() {
        let server = server(2);
        let clone = cloned(server.path(), &["--depth=1"]);
        let work = tempfile::tempdir().unwrap();
        let linked = work.path().join("linked");
        git(
            clone.path(),
            &[
                "worktree",
                "add",
                "-q",
                "--detach",
                linked.to_str().unwrap(),
            ],
        );
        for count in 3..5 {
            change(server.path(), count);
            let mut mirror = mirror_of(&linked, server.path());
            let tip = fetched(&mut mirror, "main").unwrap();
            assert_eq!(history(&mirror, &tip).0, count);
            assert!(clone.path().join(".git/repin/forge/.git").exists());
        }
        let mut mirror = mirror_of(&linked, server.path());
        assert_eq!(fetched(&mut mirror, "missing"), None);
    }

    #[test]
    fn remotes_and_references_of_the_clone_are_found() {
        let server = server(2);
        git(server.path(), &["branch", "stage"]);
        let clone = cloned(server.path(), &["--depth=1", "--no-single-branch"]);
        git(clone.path(), &["remote", "add", "a.b", "ssh://h/\"x\\y"]);
        let mut mirror = mirror_of(clone.path(), server.path());
        fetched(&mut mirror, "main");
        let own = Git::open(clone.path()).unwrap();
        let other = mirror.git();
        assert_eq!(other.origin().unwrap(), own.origin().unwrap());
        let stage = own.branch(Some("origin/stage")).unwrap();
        assert_eq!(other.branch(Some("origin/stage")).unwrap(), stage);
        assert_eq!(
            other.known_default(None).unwrap(),
            own.known_default(None).unwrap()
        );
        assert_eq!(other.head().unwrap().tip, own.head().unwrap().tip);
        assert_eq!(other.checked_out().unwrap(), own.checked_out().unwrap());
        assert_eq!(
            other.upstream("main").unwrap(),
            own.upstream("main").unwrap()
        );
        let url = |git: &Git| git.output("config", &["--get", "remote.a.b.url"]).unwrap();
        assert_eq!(url(other), url(&own));
    }

    #[test]
    fn long_and_similar_names_are_fetched() {
        let server = server(1);
        let long = "x".repeat(200);
        let longer = format!("{long}{}", "y".repeat(40));
        for name in [&*long, &*longer, "a/b/c", "a/b/C"] {
            git(server.path(), &["branch", name]);
        }
        let clone = cloned(server.path(), &[]);
        let mut mirror = mirror_of(clone.path(), server.path());
        let branches = ["main", "a/b/c", "a/b/C", &long];
        for _ in 0..2 {
            let listed = mirror.fetch(&branches, Some("a/")).unwrap();
            let listed: Vec<_> = listed.keys().map(String::as_str).collect();
            assert_eq!(listed, ["a/b/C", "a/b/c"]);
            let tip = mirror.head("main");
            assert!(tip.is_some());
            for name in [&*long, "a/b/c", "a/b/C"] {
                assert_eq!(mirror.head(name), tip, "{name}");
            }
        }
        git(server.path(), &["branch", "-D", "-q", &long]);
        mirror.fetch(&branches, None).unwrap();
        assert!(mirror.has_fetched(&long) && mirror.head(&long).is_none());
    }

    #[test]
    fn commit_that_the_clone_collected_stops_no_fetch() {
        for other in ["side", "main"] {
            let server = server(1);
            let side = |number| {
                git(server.path(), &["checkout", "-q", "-B", "side", "main"]);
                change(server.path(), number);
                git(server.path(), &["checkout", "-q", "main"]);
            };
            side(7);
            let clone = cloned(server.path(), &[]);
            let mut mirror = mirror_of(clone.path(), server.path());
            let old = fetched(&mut mirror, "side");
            drop(mirror);
            side(8);
            git(clone.path(), &["fetch", "-q", "origin"]);
            git(clone.path(), &["reflog", "expire", "--expire=now", "--all"]);
            git(clone.path(), &["gc", "-q", "--prune=now"]);
            // Only the server has these.
            change(server.path(), 9);
            side(10);
            let mut mirror = mirror_of(clone.path(), server.path());
            let new = fetched(&mut mirror, other);
            assert!(new.is_some() && new != old, "{other}");
            let (commits, _) = history(&mirror, &new.unwrap());
            assert_eq!(commits, if other == "main" { 2 } else { 3 }, "{other}");
            let kept = mirror.git().tips_below(FETCHED).unwrap();
            assert_eq!(kept.into_values().collect::<Vec<_>>(), [new.unwrap()]);
        }
    }

    #[test]
    fn commit_that_the_clone_collected_is_fetched_again() {
        let server = server(1);
        git(server.path(), &["checkout", "-q", "-b", "side"]);
        change(server.path(), 7);
        let clone = cloned(server.path(), &[]);
        git(clone.path(), &["checkout", "-q", "--detach", "HEAD^"]);
        let mut mirror = mirror_of(clone.path(), server.path());
        let tip = fetched(&mut mirror, "side").unwrap();
        drop(mirror);
        git(clone.path(), &["branch", "-D", "side"]);
        git(
            clone.path(),
            &["update-ref", "-d", "refs/remotes/origin/HEAD"],
        );
        git(
            clone.path(),
            &["update-ref", "-d", "refs/remotes/origin/side"],
        );
        git(clone.path(), &["reflog", "expire", "--expire=now", "--all"]);
        git(clone.path(), &["gc", "-q", "--prune=now"]);
        let mut mirror = mirror_of(clone.path(), server.path());
        assert_eq!(mirror.git().missing(&[tip]).unwrap(), [tip]);
        assert_eq!(fetched(&mut mirror, "side"), Some(tip));
        assert_eq!(history(&mirror, &tip).0, 2);
        // What an earlier run fetched is here, so that git need not start.
        drop(mirror);
        let mut mirror = mirror_of(clone.path(), server.path());
        mirror.set_program("/nowhere/git");
        mirror.fetch_commit("side", &tip, false).unwrap();
    }

    /// A command or a credential of the clone would run, or be sent, with repin's connections.
    #[test]
    fn only_settings_of_remotes_and_people_are_lent() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        let tip = git(clone.path(), &["rev-parse", "HEAD"]);
        let tip = str::from_utf8(tip.trim_ascii_end()).unwrap();
        git(clone.path(), &["update-ref", "refs/repin/heads/x", tip]);
        let own = format!("remote.{FORGE}.url");
        for (key, value) in [
            ("remote.origin.uploadpack", "secret"),
            ("remote.origin.proxy", "secret"),
            ("branch.main.description", "secret"),
            ("http.extraHeader", "secret"),
            ("credential.helper", "secret"),
            ("url.secret.insteadOf", "https://"),
            ("core.hooksPath", "secret"),
            (&own, "secret"),
            ("user.name", "Ada"),
            ("gpg.ssh.allowedSignersFile", "signers"),
        ] {
            git(clone.path(), &["config", key, value]);
        }
        let mirror = mirror_of(clone.path(), server.path());
        let text = fs::read(mirror.directory.join(".git").join(CONFIG)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.to_lowercase().contains("secret"), "{text}");
        for lent in [
            "[remote \"origin\"]\n\tfetch = \"+refs/heads/*:refs/remotes/origin/*\"\n",
            "[branch \"main\"]\n\tmerge = \"refs/heads/main\"\n",
            "[user]\n\tname = \"Ada\"\n",
            "[gpg \"ssh\"]\n\tallowedsignersfile = \"signers\"\n",
        ] {
            assert!(text.contains(lent), "{lent}{text}");
        }
        assert_eq!(mirror.git().tips_below(FETCHED).unwrap(), BTreeMap::new());
    }

    #[test]
    fn commit_is_fetched_without_its_history_on_request() {
        let server = server(3);
        let tip = id(server.path(), "main");
        for (is_shallow, commits) in [(true, 1), (false, 3)] {
            let (_directory, mut mirror) = mirror_alone(remote(server.path()));
            mirror.fetch_commit("main", &tip, is_shallow).unwrap();
            assert_eq!(mirror.head("main"), Some(tip));
            assert_eq!(mirror.git().is_shallow(), is_shallow);
            let listed = mirror.git().output("rev-list", &[tip.to_string()]).unwrap();
            assert_eq!(listed.split(|byte| *byte == b'\n').count(), commits + 1);
            let blob = id(server.path(), "main:f");
            assert!(mirror.git().fetch_missing(&[blob]).unwrap());
            let content = mirror
                .git()
                .output("cat-file", &["blob", &blob.to_string()]);
            assert_eq!(content.unwrap(), b"2\n");
            let missing = ObjectId::parse("1".repeat(40).as_bytes()).unwrap();
            assert!(mirror.fetch_commit("x", &missing, is_shallow).is_err());
            assert!(!mirror.has_fetched("x"));
        }
    }

    #[test]
    fn answer_that_is_no_list_is_no_empty_repository() {
        for body in ["", "ok", "{}"] {
            let remote = Remote {
                url: answering(body),
                login: None,
            };
            let (_directory, mut mirror) = mirror_alone(remote);
            let error = mirror.fetch(&["main"], None).unwrap_err();
            assert!(error.to_string().contains("lists no branches"), "{error}");
        }
    }

    #[test]
    fn shallow_server_is_an_error() {
        let complete = server(3);
        let server = cloned(complete.path(), &["--depth=1"]);
        let (_directory, mut mirror) = mirror_alone(remote(server.path()));
        let error = mirror.fetch(&["main"], None).unwrap_err().to_string();
        assert!(error.contains("shallow"), "{error}");
    }

    #[test]
    fn configuration_is_included_once() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        let directory = mirror_of(clone.path(), server.path()).directory.clone();
        drop(mirror_of(clone.path(), server.path()));
        let text = fs::read_to_string(directory.join(".git/config")).unwrap();
        assert_eq!(text.matches(CONFIG).count(), 1, "{text}");
        assert_eq!(quoted(b"a\"b\\c\nd"), br#""a\"b\\c\nd""#);
    }

    #[test]
    fn message_of_a_commit_has_no_parents() {
        let [parent, other] = ["1", "2"].map(|digit| digit.repeat(40));
        let text = format!("tree {other}\nparent {parent}\n\nparent {other}\n");
        let found = parents(text.as_bytes());
        assert_eq!(found, [ObjectId::parse(parent.as_bytes()).unwrap()]);
    }

    #[test]
    fn unchanged_file_is_not_written() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let inode = || fs::metadata(&path).unwrap().ino();
        replace(&path, b"one").unwrap();
        let before = inode();
        replace(&path, b"one").unwrap();
        assert_eq!(inode(), before);
        // The number of a file that is open is not used again.
        let open = fs::File::open(&path).unwrap();
        replace(&path, b"two").unwrap();
        assert_ne!(inode(), before);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        drop(open);
    }

    #[test]
    fn repository_of_many_packs_is_created_again() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        drop(mirror_of(clone.path(), server.path()));
        let packs = clone.path().join(".git/repin/forge/.git/objects/pack");
        for number in 0..3 * MAX_PACKS {
            fs::write(packs.join(number.to_string()), "").unwrap();
        }
        drop(mirror_of(clone.path(), server.path()));
        assert_eq!(fs::read_dir(&packs).unwrap().count(), 3 * MAX_PACKS);
        fs::write(packs.join("last"), "").unwrap();
        drop(mirror_of(clone.path(), server.path()));
        assert_eq!(fs::read_dir(&packs).unwrap().count(), 0);
    }

    #[test]
    fn missing_branch_does_not_complete_a_shallow_repository() {
        let server = server(2);
        let clone = cloned(server.path(), &["--depth=1"]);
        let mut mirror = mirror_of(clone.path(), server.path());
        assert_eq!(fetched(&mut mirror, "missing"), None);
        assert!(mirror.git().is_shallow());
    }

    #[test]
    fn commit_that_the_server_lost_is_an_error() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        git(server.path(), &["checkout", "-q", "-b", "side"]);
        change(server.path(), 7);
        let head = id(server.path(), "HEAD").to_string();
        let path = format!(".git/objects/{}/{}", &head[..2], &head[2..]);
        fs::remove_file(server.path().join(path)).unwrap();
        let mut mirror = mirror_of(clone.path(), server.path());
        let error = mirror.fetch(&["main", "side"], None).unwrap_err();
        assert!(matches!(error, GitError::Remote { .. }), "{error}");
    }

    #[test]
    fn branch_that_moves_between_list_and_fetch_is_listed_again() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        let first = id(server.path(), "HEAD");
        change(server.path(), 7);
        let head = id(server.path(), "HEAD").to_string();
        let object = format!(".git/objects/{}/{}", &head[..2], &head[2..]);
        let object = server.path().join(object).display().to_string();
        // The first fetch finds that the server removed the commit.
        let script = server.path().join("wrapper");
        let text = format!(
            "#!/bin/sh\ncase \" $* \" in *' fetch '*)\n  [ ! -e '{object}' ] || {{ rm -f '{object}'; echo {first} >'{}/.git/refs/heads/main'; }};;\nesac\nexec git \"$@\"\n",
            server.path().display()
        );
        fs::write(&script, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).unwrap();
        let git = Git::open_with(script.as_os_str(), clone.path()).unwrap();
        let directory = git.own_directory().unwrap().join("forge");
        let connections = Connections::default();
        let mut mirror =
            Mirror::open(&directory, Some(&git), remote(server.path()), connections).unwrap();
        assert_eq!(fetched(&mut mirror, "main"), Some(first));
    }

    #[test]
    fn another_run_may_have_fetched_the_history() {
        let server = server(3);
        let clone = cloned(server.path(), &["--depth=1"]);
        let mut first = mirror_of(clone.path(), server.path());
        let mut second = mirror_of(clone.path(), server.path());
        for mirror in [&mut first, &mut second] {
            let tip = fetched(mirror, "main").unwrap();
            assert_eq!(history(mirror, &tip).0, 3);
        }
    }

    #[test]
    fn repository_in_use_is_not_removed() {
        let server = server(1);
        let clone = cloned(server.path(), &[]);
        let directory = clone.path().join(".git/repin/forge");
        let mirror = mirror_of(clone.path(), server.path());
        let other = mirror_of(clone.path(), server.path());
        let packs = directory.join(".git/objects/pack");
        fs::create_dir_all(&packs).unwrap();
        for number in 0..=3 * MAX_PACKS {
            fs::write(packs.join(number.to_string()), "").unwrap();
        }
        mirror.discard().unwrap();
        drop(mirror_of(clone.path(), server.path()));
        assert!(packs.join("0").exists());
        drop(other);
        // It has many packs.
        drop(mirror_of(clone.path(), server.path()));
        assert!(!packs.join("0").exists());
        mirror_of(clone.path(), server.path()).discard().unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn locks_of_a_killed_run_are_removed_and_runs_wait_for_each_other() {
        let server = server(2);
        let clone = cloned(server.path(), &["--depth=1"]);
        let directory = clone.path().join(".git/repin/forge");
        let lock = locked(&directory).unwrap();
        let repository = directory.join(".git");
        fs::create_dir_all(&repository).unwrap();
        for name in LOCKS {
            fs::write(repository.join(name), "").unwrap();
        }
        let (path, url) = (clone.path().to_owned(), server.path().to_owned());
        let other = std::thread::spawn(move || {
            let mut mirror = mirror_of(&path, &url);
            let tip = fetched(&mut mirror, "main").unwrap();
            history(&mirror, &tip).0
        });
        assert!(!other.is_finished());
        drop(lock);
        assert_eq!(other.join().unwrap(), 2);
    }
}

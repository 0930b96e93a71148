//! A repository of repin's own with the content of a repository on a forge. It is beside a clone, whose
//! objects it borrows, and it never changes that clone.
//!
//! A fetch leaves out the contents of files; those that are read are fetched together. Deleting the
//! directory costs only time.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BRANCHES, Git, GitError, IdleProcess, Object, ObjectId, Remote, command, location::Location,
    without_users,
};

/// The fetched branches.
const FETCHED: &str = "refs/repin/heads/";

/// The maximum number of objects of a fetch; their ids must fit into a command line.
const MAX_WANTED: usize = 10_000;

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
}

/// The objects of a clone for another repository.
struct Lent {
    objects: PathBuf,
    /// The boundary of a shallow clone.
    shallow: BTreeSet<ObjectId>,
    format: String,
    prefix: Vec<u8>,
}

impl Mirror {
    /// Opens the repository in `directory`, or creates it. It borrows the objects of `clone`.
    pub(crate) fn open(
        directory: &Path,
        clone: Option<&Git>,
        remote: Remote,
    ) -> Result<Self, GitError> {
        let io = |error| GitError::Unreadable {
            path: directory.to_owned(),
            error,
        };
        let lent = clone.map(Git::lend).transpose()?;
        let mut git = Git {
            program: clone.map_or_else(
                || OsString::from(command::PROGRAM),
                |clone| clone.program.clone(),
            ),
            place: Location::outside(directory),
            shallow: BTreeSet::new(),
            identity: None,
            fetches_lazily: false,
            idle: IdleProcess::default(),
            kept: None,
            source: None,
        };
        command::check_version(&git.program)?;
        fs::create_dir_all(directory).map_err(io)?;
        if !directory.join(".git/HEAD").exists() {
            let format = lent.as_ref().map(|lent| lent.format.clone());
            let format = format.map(|format| format!("--object-format={format}"));
            let mut args = vec!["-q", "--template="];
            args.extend(format.as_deref());
            git.run_checked("init", &args, None)?;
        }
        git.place = Location::own(directory);
        // git accepts a filter only for a named remote.
        git.run_checked("config", &["remote.origin.url", &remote.url], None)?;
        let mut mirror = Self {
            git,
            remote: Arc::new(remote),
            directory: directory.to_owned(),
        };
        if let Some(lent) = lent {
            mirror.borrow(&lent).map_err(io)?;
            mirror.git.place.prefix = lent.prefix;
            mirror.shorten(lent.shallow)?;
        }
        mirror.git.shallow = mirror.git.boundary()?;
        mirror.git.source = Some(Arc::clone(&mirror.remote));
        Ok(mirror)
    }

    /// Whether the head of a fetched branch is missing: the clone collected objects that this repository borrows.
    pub(crate) fn has_lost_objects(&self) -> Result<bool, GitError> {
        for tip in self.git.tips_below(FETCHED)?.values() {
            if !self.git.has_commit(tip)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Another mirror of the same content; this one is unusable, because a clone lost objects that it borrowed.
    pub(crate) fn remake(&self, clone: Option<&Git>) -> Result<Self, GitError> {
        fs::remove_dir_all(&self.directory).map_err(|error| GitError::Unreadable {
            path: self.directory.clone(),
            error,
        })?;
        let remote = Remote {
            url: self.remote.url.clone(),
            login: self.remote.login.clone(),
        };
        Self::open(&self.directory, clone, remote)
    }

    fn borrow(&self, lent: &Lent) -> std::io::Result<()> {
        let mut line = lent.objects.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        let path = self.directory.join(".git/objects/info");
        fs::create_dir_all(&path)?;
        fs::write(path.join("alternates"), line)
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
            fs::write(&path, lines)
        };
        self.git.idle = IdleProcess::default();
        written.map_err(|error| GitError::Unreadable { path, error })
    }

    /// The repository, with the prefix of the clone.
    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// Fetches a branch with its complete history, without the contents of files; returns its head. `None`: there
    /// is no such branch.
    pub(crate) fn fetch(&mut self, branch: &str) -> Result<Option<ObjectId>, GitError> {
        let fetched = format!("{FETCHED}{branch}");
        let mut args: Vec<&str> = FETCH.to_vec();
        if self.git.is_shallow() {
            args.push("--unshallow");
        }
        let refspec = format!("+{BRANCHES}{branch}:{fetched}");
        args.extend(["--end-of-options", "origin", &refspec]);
        let ran = self.git.run("fetch", &args, Some(&self.remote))?;
        // git skips the references of a shallow server, with a warning.
        if ran.stderr.contains("shallow") {
            return Err(GitError::Remote {
                remote: without_users(&self.remote.url),
                command: "fetch",
                reason: "the repository is shallow".to_owned(),
            });
        }
        if ran.code != Some(0) {
            if ran.stderr.contains("couldn't find remote ref") {
                return Ok(None);
            }
            return Err(GitError::refused("fetch", &ran.stderr));
        }
        self.git.shallow = self.git.boundary()?;
        self.git.idle = IdleProcess::default();
        self.git.commit_at(&fetched).map(Some)
    }
}

impl Git {
    /// What another repository needs to borrow the objects of this one.
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
        Ok(Lent {
            objects: PathBuf::from(OsString::from_vec(objects)),
            shallow: self.shallow.clone(),
            format: String::from_utf8_lossy(format.unwrap_or_default()).into_owned(),
            prefix: self.prefix().to_vec(),
        })
    }

    /// The directory for repin's own files in the repository, which all of its work trees share.
    pub(crate) fn own_directory(&self) -> Result<PathBuf, GitError> {
        let args = ["--path-format=absolute", "--git-common-dir"];
        let printed = self.output("rev-parse", &args)?;
        let directory = Path::new(OsStr::from_bytes(printed.trim_ascii_end()));
        Ok(directory.join("repin"))
    }

    /// Fetches contents that are missing here, if this repository has a source for them.
    pub(super) fn fetch_missing(&self, ids: &[ObjectId]) -> Result<bool, GitError> {
        let Some(source) = &self.source else {
            return Ok(false);
        };
        for ids in ids.chunks(MAX_WANTED) {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let mut args: Vec<&str> = FETCH.to_vec();
            args.extend(["--end-of-options", "origin"]);
            args.extend(ids.iter().map(String::as_str));
            self.run_checked("fetch", &args, Some(source))?;
        }
        *self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        Ok(true)
    }
}

/// The parents of a commit.
fn parents(text: &[u8]) -> Vec<ObjectId> {
    let headers = text.split(|byte| *byte == b'\n');
    headers
        .take_while(|line| !line.is_empty())
        .filter_map(|line| ObjectId::parse(line.strip_prefix(b"parent ")?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::files::RelPath,
        git::{
            TreeFile,
            tests::{git, id},
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

    fn remote(server: &Path) -> Remote {
        Remote {
            url: format!("file://{}", server.display()),
            login: None,
        }
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
        Mirror::open(&directory, Some(&git), remote(server)).unwrap()
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
                assert_eq!(mirror.fetch("main").unwrap(), Some(tip), "{options:?}");
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
            let tip = mirror.fetch("main").unwrap().unwrap();
            assert_eq!(history(&mirror, &tip).0, count);
            assert!(clone.path().join(".git/repin/forge/.git").exists());
        }
        assert_eq!(
            mirror_of(&linked, server.path()).fetch("missing").unwrap(),
            None
        );
    }

    #[test]
    fn mirror_without_the_objects_that_it_borrowed_is_made_again() {
        let server = server(3);
        let clone = cloned(server.path(), &[]);
        let tip = mirror_of(clone.path(), server.path())
            .fetch("main")
            .unwrap()
            .unwrap();
        fs::remove_dir_all(clone.path().join(".git/objects")).unwrap();
        fs::create_dir_all(clone.path().join(".git/objects/info")).unwrap();
        git(
            clone.path(),
            &["update-ref", "-d", "refs/remotes/origin/main"],
        );
        fs::remove_file(clone.path().join(".git/HEAD")).unwrap();
        fs::write(clone.path().join(".git/HEAD"), "ref: refs/heads/none\n").unwrap();
        let mut mirror = mirror_of(clone.path(), server.path());
        assert!(mirror.has_lost_objects().unwrap());
        let git = Git::open(clone.path()).unwrap();
        mirror = mirror.remake(Some(&git)).unwrap();
        assert!(!mirror.has_lost_objects().unwrap());
        assert_eq!(mirror.fetch("main").unwrap(), Some(tip));
        assert_eq!(history(&mirror, &tip).0, 3);
    }
}
